/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides what a redirect keeps of a request's address and what it replaces, as Envoy decides. Refuses to know the answer
 * around it.
 */
#include "policy/redirect.h"

#include <stdio.h>

#include <mesh/error.h>

/* The request's own, less a port that another one replaces, or that was its scheme's. */
static struct mesh_slice host_of(const struct route *route, const struct route_request *request,
				 struct mesh_slice scheme)
{
	struct mesh_slice host = request->authority, port;
	ptrdiff_t colon = mesh_slice_find_last(host, ':');

	if (route->redirect_host.len)
		return route->redirect_host;
	if (route->redirect_to_tls)
		return host;
	if (colon < 0 || mesh_slice_find(mesh_slice_make(host.data + colon, host.len - (size_t)colon), ']') >= 0)
		return host; /* an IPv6 address without a port ends in a bracket */
	port = mesh_slice_make(host.data + colon, host.len - (size_t)colon);
	if (route->redirect_port ||
	    (!mesh_slice_equal(scheme, request->scheme) &&
	     mesh_slice_equal(port, mesh_slice_equal(request->scheme, MESH_SLICE("https")) ? MESH_SLICE(":443")
											   : MESH_SLICE(":80"))))
		host.len = (size_t)colon;
	return host;
}

/* Another path in whole, if one is said. */
static int whole_path(const struct rewrite *rewrite, struct arena *arena, struct mesh_slice *path)
{
	*path = rewrite->route->redirect_path;
	if (!rewrite->route->redirect_format)
		return 0;
	*path = mesh_rewrite_format(rewrite, rewrite->route->redirect_format, MESH_SLICE(""), (struct mesh_slice){NULL, 0},
				    arena);
	if (!path->data)
		return MESH_ERROR_NOMEM;
	return path->len && !mesh_header_word_valid(*path) ? MESH_ERROR_INVALID : 0;
}

/* A new path that brings a query keeps it; one without takes over the request's. */
static int path_of(const struct rewrite *rewrite, const struct route_request *request, struct arena *arena,
		   struct mesh_slice *path)
{
	const struct route *route = rewrite->route;
	ptrdiff_t query = mesh_slice_find(request->path, '?');
	struct mesh_slice whole = {NULL, 0};
	int rc = 0;

	*path = request->path;
	if (route->redirect_regex)
		rc = mesh_rewrite_regex(route->redirect_regex, route->redirect_path, arena, path);
	else if (route->redirect_prefix && route->redirect_path.len)
		rc = mesh_rewrite_prefix(&route->match, route->redirect_path, arena, path);
	else if (!route->redirect_prefix)
		rc = whole_path(rewrite, arena, &whole);
	if (rc)
		return rc;
	if (whole.len) {
		*path = whole;
		if (mesh_slice_find(*path, '?') >= 0)
			return 0;
		if (query >= 0)
			*path = mesh_arena_printf(arena, "%.*s%.*s", (int)path->len, path->data,
						  (int)(request->path.len - (size_t)query), request->path.data + query);
		if (!path->data)
			return MESH_ERROR_NOMEM;
	}
	query = mesh_slice_find(*path, '?');
	if (route->redirect_strip_query && query >= 0)
		path->len = (size_t)query;
	return 0;
}

struct mesh_slice mesh_redirect_location(const struct route *route, const struct route_request *request,
					 struct arena *arena)
{
	return mesh_redirect_to(&(struct rewrite){.route = route}, request, arena);
}

struct mesh_slice mesh_redirect_to(const struct rewrite *rewrite, const struct route_request *request, struct arena *arena)
{
	const struct route *route = rewrite->route;
	struct mesh_slice scheme = route->redirect_scheme.len ? route->redirect_scheme : request->scheme, host, path;
	char port[sizeof(":65535")] = "";
	const char *slash;

	if (path_of(rewrite, request, arena, &path))
		return (struct mesh_slice){NULL, 0};
	slash = path.len && path.data[0] != '/' ? "/" : ""; /* one that a format made need not begin with it */
	host = host_of(route, request, scheme);
	if (route->redirect_port)
		snprintf(port, sizeof(port), ":%u", route->redirect_port & 0xffff);
	return mesh_arena_printf(arena, "%.*s://%.*s%s%s%.*s", (int)scheme.len, scheme.data, (int)host.len, host.data,
				 port, slash, (int)path.len, path.data);
}

int mesh_direct_answer(const struct rewrite *rewrite, const struct route_request *request, struct arena *arena,
		       struct headers *headers, struct mesh_slice *body, struct mesh_slice *type)
{
	const struct route *route = rewrite->route;
	struct mesh_slice location;

	*body = route->direct_body;
	if (route->direct_format) {
		*body = mesh_rewrite_format(rewrite, route->direct_format, route->direct_omits_empty ? MESH_SLICE("") : MESH_SLICE("-"),
					    *body, arena);
		if (!body->data)
			return MESH_ERROR_NOMEM;
	}
	*type = !body->len ? (struct mesh_slice){NULL, 0} : route->direct_type.len ? route->direct_type : MESH_SLICE("text/plain");
	if (route->direct_status != 201 && route->direct_status / 100 != 3)
		return 0;
	location = mesh_redirect_to(rewrite, request, arena);
	return location.data ? mesh_headers_add(headers, arena, MESH_SLICE("location"), location) : MESH_ERROR_NOMEM;
}
