/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides the order of changes as Envoy does: weighted cluster, route, virtual host, whole configuration; each removes
 * before it adds; then the authority and the path. Refuses to know who asked, and where the request goes.
 */
#include "policy/rewrite.h"

#include <mesh/error.h>

#include "base/regex.h"

static const size_t path_bytes_max = 64 * 1024; /* of a rewritten one */

enum { LEVELS = 4 };

static void levels(const struct rewrite *rewrite, const struct header_mutations *list[LEVELS])
{
	list[0] = rewrite->weighted ? &rewrite->weighted->mutations : NULL;
	list[1] = &rewrite->route->mutations;
	list[2] = rewrite->host ? &rewrite->host->mutations : NULL;
	list[3] = rewrite->config ? &rewrite->config->mutations : NULL;
}

/* Copied: a response is read when the configuration may be gone. */
static int change(struct headers *headers, struct arena *arena, const struct header_mutation *mutation)
{
	bool there = mesh_headers_get(headers, mutation->name).data != NULL, failed = false;
	struct mesh_slice name, value;

	if (!mutation->value.len && !mutation->keep_empty)
		return 0;
	if (mutation->how == HEADER_ADD_IF_ABSENT ? there : mutation->how == HEADER_OVERWRITE_IF_EXISTS && !there)
		return 0;
	name = mesh_arena_slice(arena, mutation->name, &failed);
	value = mesh_arena_slice(arena, mutation->value, &failed);
	if (failed)
		return MESH_ERROR_NOMEM;
	if (mutation->how == HEADER_APPEND || mutation->how == HEADER_ADD_IF_ABSENT)
		return mesh_headers_add(headers, arena, name, value);
	return mesh_headers_set(headers, arena, name, value);
}

static int change_all(struct headers *headers, struct arena *arena, const struct mesh_slice *remove, size_t remove_count,
		      const struct header_mutation *add, size_t add_count)
{
	int rc = 0;

	for (size_t i = 0; i < remove_count; i++)
		mesh_headers_remove(headers, remove[i]);
	for (size_t i = 0; i < add_count && !rc; i++)
		rc = change(headers, arena, &add[i]);
	return rc;
}

static int change_authority(const struct rewrite *rewrite, struct arena *arena, struct mesh_slice *authority,
			    struct headers *headers)
{
	struct mesh_slice name = MESH_SLICE("x-forwarded-host"), to = rewrite->route->host_rewrite;
	int rc = 0;

	if (rewrite->weighted && rewrite->weighted->host_rewrite.len)
		to = rewrite->weighted->host_rewrite;
	if (!to.len)
		return 0;
	if (rewrite->route->append_forwarded_host)
		rc = mesh_headers_add(headers, arena, name, *authority);
	*authority = mesh_arena_slice(arena, to, NULL); /* read when the configuration may be gone, too */
	return rc || authority->data ? rc : MESH_ERROR_NOMEM;
}

/* Behind the part of the path that the route's match took; a regular expression takes all but the query. */
static size_t matched_bytes(const struct route_match *match, struct mesh_slice path)
{
	ptrdiff_t query = mesh_slice_find(path, '?');
	size_t bare = query < 0 ? path.len : (size_t)query;

	if (match->kind == PATH_MATCH_EXACT || match->kind == PATH_MATCH_REGEX)
		return bare;
	return match->path.len < bare ? match->path.len : bare;
}

int mesh_rewrite_prefix(const struct route_match *match, struct mesh_slice prefix, struct arena *arena,
			struct mesh_slice *path)
{
	size_t taken = matched_bytes(match, *path);
	struct mesh_slice rest = mesh_slice_make(path->data + taken, path->len - taken);

	*path = mesh_arena_printf(arena, "%.*s%.*s", (int)prefix.len, prefix.data, (int)rest.len, rest.data);
	return path->data ? 0 : MESH_ERROR_NOMEM;
}

static int replace_regex(const struct route *route, struct arena *arena, struct mesh_slice *path)
{
	ptrdiff_t query = mesh_slice_find(*path, '?');
	size_t bare = query < 0 ? path->len : (size_t)query;
	bool failed = false;
	struct buf text;
	int rc;

	mesh_buf_init(&text, arena->mem, path_bytes_max);
	rc = mesh_regex_replace(route->regex_rewrite, mesh_slice_make(path->data, bare), route->regex_rewrite_with, &text);
	if (!rc)
		rc = mesh_buf_append(&text, mesh_slice_make(path->data + bare, path->len - bare));
	if (!rc)
		*path = mesh_arena_slice(arena, mesh_buf_slice(&text), &failed);
	mesh_buf_free(&text);
	return rc ? rc : failed ? MESH_ERROR_NOMEM : 0;
}

static int change_path(const struct route *route, struct arena *arena, struct mesh_slice *path, struct headers *headers)
{
	struct mesh_slice before = *path;
	int rc = 0;

	if (route->has_prefix_rewrite)
		rc = mesh_rewrite_prefix(&route->match, route->prefix_rewrite, arena, path);
	else if (route->regex_rewrite)
		rc = replace_regex(route, arena, path);
	if (rc || mesh_slice_equal(before, *path))
		return rc;
	if (!path->len || path->data[0] != '/')
		return MESH_ERROR_INVALID;
	return mesh_headers_set(headers, arena, MESH_SLICE("x-envoy-original-path"), before);
}

int mesh_rewrite_request(const struct rewrite *rewrite, struct arena *arena, struct mesh_slice *authority,
			 struct mesh_slice *path, struct headers *headers)
{
	const struct header_mutations *list[LEVELS];
	int rc = 0;

	levels(rewrite, list);
	for (int i = 0; i < LEVELS && !rc; i++)
		if (list[i])
			rc = change_all(headers, arena, list[i]->request_remove, list[i]->request_remove_count,
					list[i]->request_add, list[i]->request_add_count);
	if (!rc)
		rc = change_authority(rewrite, arena, authority, headers);
	return rc ? rc : change_path(rewrite->route, arena, path, headers);
}

int mesh_rewrite_response(const struct rewrite *rewrite, struct arena *arena, struct headers *headers)
{
	const struct header_mutations *list[LEVELS];
	int rc = 0;

	levels(rewrite, list);
	for (int i = 0; i < LEVELS && !rc; i++)
		if (list[i])
			rc = change_all(headers, arena, list[i]->response_remove, list[i]->response_remove_count,
					list[i]->response_add, list[i]->response_add_count);
	return rc;
}
