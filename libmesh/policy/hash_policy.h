/* SPDX-License-Identifier: Apache-2.0 */
/* One number for what of a request chooses its endpoint. */
#ifndef MESH_POLICY_HASH_POLICY_H
#define MESH_POLICY_HASH_POLICY_H

#include "policy/route_match.h"

/*
 * Envoy's hash of the request by the route's policies; 0: none of them finds anything. `source_ip` is the caller's address
 * as text, absent when there is none. NOMEM, TOO_LARGE (a rewritten value).
 */
int mesh_hash_policy(const struct route *route, const struct route_request *request, struct mesh_slice source_ip,
		     struct arena *scratch, uint64_t *hash);

#endif
