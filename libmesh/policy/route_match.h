/* SPDX-License-Identifier: Apache-2.0 */
/* Which virtual host and which route a request takes: first match wins, as Envoy decides it. */
#ifndef MESH_POLICY_ROUTE_MATCH_H
#define MESH_POLICY_ROUTE_MATCH_H

#include "base/header.h"
#include "config/route.h"
#include "policy/metadata_match.h"

struct route_request {
	struct mesh_slice method, scheme, authority;
	struct mesh_slice path; /* with query */
	struct mesh_slice upgrade; /* protocol to change to; absent: none */
	const struct headers *headers;
	const struct request_metadata *metadata; /* what filters have said of it; NULL: nothing */
	bool peer_presented, peer_validated; /* whose certificate the client showed */
	uint64_t random;        /* decides runtime fractions and weights: the same request decides the same way throughout */
};

/* NULL: none. Domains match in Envoy's order: exact, longest "*suffix", longest "prefix*", "*". */
const struct virtual_host *mesh_route_find_host(const struct route_config *routes, struct mesh_slice authority,
						struct arena *scratch);
/* NULL: none. What did not come over TLS, as x-forwarded-proto says, where that is required, is sent there. */
const struct route *mesh_route_find(const struct virtual_host *host, const struct route_request *request,
				    struct arena *scratch);
/* `authority`, or what stands in its place for finding the virtual host. */
struct mesh_slice mesh_route_host_name(const struct route_config *routes, const struct route_request *request);
bool mesh_route_matches(const struct route_match *match, const struct route_request *request, struct arena *scratch);
/* As Envoy knows a gRPC request: "application/grpc" alone or with a format behind a plus; gRPC-Web is HTTP. */
bool mesh_route_grpc_type(struct mesh_slice content_type);
/* The cluster of a ROUTE_CLUSTER route: single, drawn by weight, or by header. Absent: none (header missing). */
struct mesh_slice mesh_route_cluster(const struct route *route, const struct route_request *request, uint32_t *hash,
				     const struct weighted_cluster **weighted);

#endif
