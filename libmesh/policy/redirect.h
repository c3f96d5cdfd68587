/* SPDX-License-Identifier: Apache-2.0 */
/* Where a redirect sends a request. Pure. */
#ifndef MESH_POLICY_REDIRECT_H
#define MESH_POLICY_REDIRECT_H

#include "policy/route_match.h"

/* The whole address, in the arena; absent: no memory. */
struct mesh_slice mesh_redirect_location(const struct route *route, const struct route_request *request,
					 struct arena *arena);

#endif
