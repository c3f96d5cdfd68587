/* SPDX-License-Identifier: Apache-2.0 */
/* Where a redirect sends a request. Pure. */
#ifndef MESH_POLICY_REDIRECT_H
#define MESH_POLICY_REDIRECT_H

#include "policy/rewrite.h"
#include "policy/route_match.h"

/* The whole address, in the arena; absent: no memory, or a path that is none. `rewrite`: of the route, with its facts. */
struct mesh_slice mesh_redirect_to(const struct rewrite *rewrite, const struct route_request *request, struct arena *arena);
/* The same without facts. */
struct mesh_slice mesh_redirect_location(const struct route *route, const struct route_request *request,
					 struct arena *arena);

/*
 * What a route of a direct response answers: its body, put together where it is to be (in the arena), its content type
 * (absent: none), and in `headers` the request's own address where its status goes with one. NOMEM.
 */
int mesh_direct_answer(const struct rewrite *rewrite, const struct route_request *request, struct arena *arena,
		       struct headers *headers, struct mesh_slice *body, struct mesh_slice *type);

#endif
