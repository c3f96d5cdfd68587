/* SPDX-License-Identifier: Apache-2.0 */
/* What a browser's page of another site may do with a route, as Envoy's CORS filter decides. Pure. */
#ifndef MESH_POLICY_CORS_H
#define MESH_POLICY_CORS_H

#include "config/cors.h"
#include "policy/route_match.h"

enum cors_verdict {
	CORS_GO_ON,  /* the request goes on as if nobody had looked */
	CORS_MARK,   /* it goes on, its answer is marked for `origin` */
	CORS_ANSWER, /* a preflight: answered 200 in place of the application, `origin` absent when it is not allowed */
};

/* `random` decides whether a policy for a share of the requests is for this one. `origin`: of the request, where allowed. */
enum cors_verdict mesh_cors_check(const struct cors_config *config, const struct route_request *request,
				  uint64_t random, struct arena *scratch, struct mesh_slice *origin);
/* What is in force under that filter name: the weighted cluster's, else the route's. NULL: nothing. */
const struct cors_config *mesh_cors_in_force(struct mesh_slice filter, const struct route *route,
					     const struct weighted_cluster *weighted);
/* The headers of a preflight's answer. NOMEM. */
int mesh_cors_preflight(const struct cors_config *config, const struct route_request *request, struct mesh_slice origin,
			struct arena *arena, struct headers *headers);
/* Marks the answer to a simple request, over what is there. NOMEM. */
int mesh_cors_mark(const struct cors_config *config, struct mesh_slice origin, struct arena *arena,
		   struct headers *headers);

#endif
