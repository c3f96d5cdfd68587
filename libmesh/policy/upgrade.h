/* SPDX-License-Identifier: Apache-2.0 */
/* May a request change the protocol? */
#ifndef MESH_POLICY_UPGRADE_H
#define MESH_POLICY_UPGRADE_H

#include "config/listener.h"

/* As Envoy: the route's own word counts, else the listener's; never with filters of its own. `route` may be NULL: none found. */
bool mesh_upgrade_allowed(const struct http_config *http, const struct route *route, struct mesh_slice protocol);

#endif
