/* SPDX-License-Identifier: Apache-2.0 */
/* One number for what of a request chooses its endpoint. */
#ifndef MESH_POLICY_HASH_POLICY_H
#define MESH_POLICY_HASH_POLICY_H

#include "base/rand.h"
#include "policy/route_match.h"

/* What the request comes from. */
struct hash_origin {
	struct mesh_slice source_ip; /* the caller's address as text; absent when there is none */
	struct rand *rand;           /* makes cookies differ; NULL: none are made */
};

struct hash_result {
	uint64_t hash;               /* 0: none of the policies finds anything */
	struct mesh_slice set_cookie; /* for the response: a cookie that was made for this request; absent: none */
};

/* Envoy's hash of the request by these policies, the route's or the cluster's. NOMEM, TOO_LARGE (a rewritten value). */
int mesh_hash_policies(const struct hash_policy *policies, size_t count, const struct route_request *request,
		       const struct hash_origin *origin, struct arena *scratch, struct hash_result *result);

#endif
