/* SPDX-License-Identifier: Apache-2.0 */
/* Authorization decided: Envoy RBAC over a connection (network) or a request (HTTP). */
#ifndef MESH_POLICY_RBAC_H
#define MESH_POLICY_RBAC_H

#include "base/address.h"
#include "config/authz.h"
#include "policy/route_match.h"

struct authz_request {
	const struct route_request *http;   /* NULL: connection level; HTTP rules do not match then */
	bool authenticated;                 /* the peer's certificate was verified */
	const struct mesh_slice *uri_sans;
	size_t uri_san_count;
	const struct mesh_slice *dns_sans;
	size_t dns_san_count;
	struct mesh_slice subject;
	const struct address *source;       /* downstream remote address */
	const struct address *direct;       /* peer of the connection */
	const struct address *destination;
	struct mesh_slice server_name;      /* SNI */
};

struct authz_result {
	bool allowed;
	struct mesh_slice policy;        /* that decided; absent when none matched */
	bool shadow_checked, shadow_allowed;
	struct mesh_slice shadow_policy;
};

void mesh_rbac_check(const struct authz_config *config, const struct authz_request *request, struct arena *scratch,
		     struct authz_result *result);

#endif
