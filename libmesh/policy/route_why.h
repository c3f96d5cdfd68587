/* SPDX-License-Identifier: Apache-2.0 */
/* Why a route did not take a request, in words. Cold path: asked by explanations alone. */
#ifndef MESH_POLICY_ROUTE_WHY_H
#define MESH_POLICY_ROUTE_WHY_H

#include "base/why.h"
#include "policy/route_match.h"

/* True as mesh_route_matches; else `why` names the first condition that failed, and what it met. */
bool mesh_route_why(const struct route_match *match, const struct route_request *request, struct arena *scratch,
		    struct why *why);
/* "prefix /v1", "regex ..": the condition on the path, in the words of a VirtualService. */
void mesh_route_path_words(const struct route_match *match, struct why *words);

#endif
