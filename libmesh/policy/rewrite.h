/* SPDX-License-Identifier: Apache-2.0 */
/* What a route changes in a request that takes it and in the response that comes back. Pure. */
#ifndef MESH_POLICY_REWRITE_H
#define MESH_POLICY_REWRITE_H

#include "base/header.h"
#include "config/route.h"
#include "policy/format.h"

/* Who has something to change; each but the route may be NULL. */
struct rewrite {
	const struct weighted_cluster *weighted;
	const struct route *route;
	const struct virtual_host *host;
	const struct route_config *config;
	/* Fills what is known of the request, for text that is put together from it: asked where there is such text only. */
	void (*facts)(const struct rewrite *rewrite, struct format_facts *facts);
};

/*
 * Headers, then authority, then path (with query) as Envoy's router changes them; new text in the arena. NOMEM; INVALID
 * when the rewritten path or authority is none; TOO_LARGE.
 */
int mesh_rewrite_request(const struct rewrite *rewrite, struct arena *arena, struct mesh_slice *authority,
			 struct mesh_slice *path, struct headers *headers);
/* Without query and fragment. */
struct mesh_slice mesh_rewrite_bare(struct mesh_slice path);
/* The part of the path that the match took becomes `prefix`; what follows it, the query too, stays. NOMEM */
int mesh_rewrite_prefix(const struct route_match *match, struct mesh_slice prefix, struct arena *arena,
			struct mesh_slice *path);
/* What matches in the path without its query. A path that comes out empty stays as it was. NOMEM, INVALID, TOO_LARGE. */
int mesh_rewrite_regex(const struct regex *regex, struct mesh_slice with, struct arena *arena, struct mesh_slice *path);
/* Text put together for this request; absent: no memory. */
struct mesh_slice mesh_rewrite_format(const struct rewrite *rewrite, const struct format *format, struct mesh_slice missing,
				      struct mesh_slice body, struct arena *arena);
/* NOMEM. */
int mesh_rewrite_response(const struct rewrite *rewrite, struct arena *arena, struct headers *headers);

#endif
