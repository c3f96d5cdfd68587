/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides what a redirect keeps of a request's address and what it replaces, as Envoy decides. Refuses to know the answer
 * around it.
 */
#include "policy/redirect.h"

#include <stdio.h>

#include "policy/rewrite.h"

/* The request's own, less a port that another one replaces, or that was its scheme's. */
static struct mesh_slice host_of(const struct route *route, const struct route_request *request,
				 struct mesh_slice scheme)
{
	struct mesh_slice host = request->authority, port;
	ptrdiff_t colon = mesh_slice_find_last(host, ':');

	if (route->redirect_host.len)
		return route->redirect_host;
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

/* A new path that brings a query keeps it; one without takes over the request's. */
static int path_of(const struct route *route, const struct route_request *request, struct arena *arena,
		   struct mesh_slice *path)
{
	ptrdiff_t query = mesh_slice_find(request->path, '?');

	*path = request->path;
	if (route->redirect_prefix) {
		int rc = mesh_rewrite_prefix(&route->match, route->redirect_path, arena, path);

		if (rc)
			return rc;
	} else if (route->redirect_path.len) {
		*path = route->redirect_path;
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
	struct mesh_slice scheme = route->redirect_scheme.len ? route->redirect_scheme : request->scheme, host, path;
	char port[sizeof(":65535")] = "";

	if (path_of(route, request, arena, &path))
		return (struct mesh_slice){NULL, 0};
	host = host_of(route, request, scheme);
	if (route->redirect_port)
		snprintf(port, sizeof(port), ":%u", route->redirect_port & 0xffff);
	return mesh_arena_printf(arena, "%.*s://%.*s%s%.*s", (int)scheme.len, scheme.data, (int)host.len, host.data,
				 port, (int)path.len, path.data);
}
