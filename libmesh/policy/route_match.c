/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides which virtual host, route and cluster a request takes; the first route that matches wins, as in Envoy. Knows
 * nothing of endpoints or of whether the cluster exists, and decides alike for the same request and the same `random`.
 */
#include "policy/route_match.h"

#include "policy/header_match.h"

#define AUTHORITY_ON_STACK 256

/* Where ":port" begins; the length when there is none. The colons of a bracketed IPv6 address are not it. */
static size_t host_length(struct mesh_slice authority)
{
	ptrdiff_t colon = mesh_slice_find_last(authority, ':');

	if (colon < 0 || mesh_slice_find_last(authority, ']') > colon)
		return authority.len;
	return (size_t)colon;
}

/* The same text in lower case: itself, in `room`, or in the arena. Absent: no memory. */
static struct mesh_slice lower(struct mesh_slice text, char *room, size_t room_len, struct arena *scratch)
{
	size_t i = 0;
	char *copy = room;

	while (i < text.len && !(text.data[i] >= 'A' && text.data[i] <= 'Z'))
		i++;
	if (i == text.len)
		return text;
	if (text.len > room_len)
		copy = mesh_arena_alloc(scratch, text.len);
	if (!copy)
		return (struct mesh_slice){NULL, 0};
	for (i = 0; i < text.len; i++)
		copy[i] = mesh_char_lower(text.data[i]);
	return mesh_slice_make(copy, text.len);
}

static struct virtual_host *find_exact(const struct route_config *routes, struct mesh_slice host)
{
	size_t low = 0, high = routes->exact_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		struct mesh_slice text = routes->exact[middle].text;
		int order = memcmp(host.data, text.data, host.len < text.len ? host.len : text.len);

		if (order == 0 && host.len == text.len)
			return routes->exact[middle].host;
		if (order > 0 || (order == 0 && host.len > text.len))
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

/* The star stands for at least one character. */
static struct virtual_host *find_wildcard(const struct domain_entry *entries, size_t count, struct mesh_slice host,
					  bool suffix)
{
	for (size_t i = 0; i < count; i++) {
		struct mesh_slice text = entries[i].text;

		if (text.len >= host.len)
			continue;
		if (memcmp(suffix ? host.data + host.len - text.len : host.data, text.data, text.len) == 0)
			return entries[i].host;
	}
	return NULL;
}

const struct virtual_host *mesh_route_find_host(const struct route_config *routes, struct mesh_slice authority,
						struct arena *scratch)
{
	char room[AUTHORITY_ON_STACK];
	struct mesh_slice host = authority;
	struct virtual_host *found;

	if (!routes->exact_count && !routes->suffix_count && !routes->prefix_count)
		return routes->any;
	if (!host.data)
		return NULL;
	if (routes->ignore_port)
		host.len = host_length(host);
	host = lower(host, room, sizeof(room), scratch);
	if (!host.data)
		return NULL;
	found = find_exact(routes, host);
	if (!found)
		found = find_wildcard(routes->suffix, routes->suffix_count, host, true);
	if (!found)
		found = find_wildcard(routes->prefix, routes->prefix_count, host, false);
	return found ? found : routes->any;
}

/* Paths are matched without query and fragment. */
static struct mesh_slice bare_path(struct mesh_slice path)
{
	size_t len = 0;

	while (len < path.len && path.data[len] != '?' && path.data[len] != '#')
		len++;
	return mesh_slice_make(path.data, len);
}

static bool path_matches(const struct route_match *match, struct mesh_slice path)
{
	bool prefix;

	switch (match->kind) {
	case PATH_MATCH_EXACT:
		return match->ignore_case ? mesh_slice_equal_fold(path, match->path) : mesh_slice_equal(path, match->path);
	case PATH_MATCH_PREFIX:
	case PATH_MATCH_SEPARATED_PREFIX:
		prefix = match->ignore_case ? mesh_slice_prefix_fold(path, match->path) : mesh_slice_prefix(path, match->path);
		if (match->kind == PATH_MATCH_PREFIX || !prefix)
			return prefix;
		return path.len == match->path.len || path.data[match->path.len] == '/';
	case PATH_MATCH_REGEX:
		return match->regex && mesh_regex_match(match->regex, path);
	}
	return false;
}

bool mesh_route_grpc_type(struct mesh_slice content_type)
{
	const struct mesh_slice grpc = MESH_SLICE("application/grpc");

	return mesh_slice_prefix(content_type, grpc) &&
	       (content_type.len == grpc.len || content_type.data[grpc.len] == '+');
}

static bool is_grpc(const struct route_request *request)
{
	return request->headers && mesh_route_grpc_type(mesh_headers_get(request->headers, MESH_SLICE("content-type")));
}

static bool tls_matches(const struct route_match *match, const struct route_request *request)
{
	if (match->presented != TLS_MATCH_ANY && (match->presented == TLS_MATCH_YES) != request->peer_presented)
		return false;
	return match->validated == TLS_MATCH_ANY || (match->validated == TLS_MATCH_YES) == request->peer_validated;
}

/* Behind the first ";" is not looked at, whatever it is. */
static struct mesh_slice without_parameters(struct mesh_slice path)
{
	ptrdiff_t mark = mesh_slice_find(path, ';');

	return mark < 0 ? path : mesh_slice_make(path.data, (size_t)mark);
}

/* `path`: the request's, bare. */
static bool matches(const struct route_match *match, const struct route_request *request, struct mesh_slice path,
		    struct arena *scratch)
{
	if (match->never || !path.len)
		return false;
	if (match->no_parameters)
		path = without_parameters(path);
	if (!path_matches(match, path))
		return false;
	if (match->runtime_fraction.denominator && !mesh_fraction_hits(&match->runtime_fraction, request->random))
		return false;
	if (match->grpc_only && !is_grpc(request))
		return false;
	for (size_t i = 0; i < match->header_count; i++) {
		if (!mesh_header_matches(&match->headers[i], request, scratch, false))
			return false;
	}
	for (size_t i = 0; i < match->query_count; i++) {
		if (!mesh_query_matches(&match->queries[i], request->path, scratch))
			return false;
	}
	for (size_t i = 0; i < match->cookie_count; i++) {
		if (!mesh_cookie_matches(&match->cookies[i], request->headers))
			return false;
	}
	if (match->asks_tls && !tls_matches(match, request))
		return false;
	for (size_t i = 0; i < match->metadata_count; i++) {
		if (!mesh_metadata_matches(&match->metadata[i], request->metadata))
			return false;
	}
	return true;
}

bool mesh_route_matches(const struct route_match *match, const struct route_request *request, struct arena *scratch)
{
	return matches(match, request, bare_path(request->path), scratch);
}

static bool came_secure(const struct route_request *request)
{
	struct mesh_slice said =
		request->headers ? mesh_headers_get(request->headers, MESH_SLICE("x-forwarded-proto")) : (struct mesh_slice){NULL, 0};

	return mesh_slice_equal_fold(said, MESH_SLICE("https"));
}

struct mesh_slice mesh_route_host_name(const struct route_config *routes, const struct route_request *request)
{
	if (!routes->host_header.len)
		return request->authority;
	return request->headers ? mesh_headers_get(request->headers, routes->host_header) : (struct mesh_slice){NULL, 0};
}

const struct route *mesh_route_find(const struct virtual_host *host, const struct route_request *request,
				    struct arena *scratch)
{
	struct mesh_slice path = bare_path(request->path);

	if (host->tls_route && !came_secure(request))
		return host->tls_route;
	for (size_t i = 0; i < host->route_count; i++) {
		if (matches(&host->routes[i].match, request, path, scratch))
			return &host->routes[i];
	}
	return NULL;
}

/* The number of a header draws where there is one such header, and it is a number. */
static uint64_t chance(const struct route *route, const struct route_request *request)
{
	uint64_t number;

	if (route->weighted_header.len && request->headers && mesh_headers_count(request->headers, route->weighted_header) == 1 &&
	    mesh_slice_to_u64(mesh_slice_trim(mesh_headers_get(request->headers, route->weighted_header)), &number))
		return number;
	return request->random;
}

static const struct weighted_cluster *draw(const struct route *route, const struct route_request *request)
{
	uint64_t at, end = 0;

	if (!route->weighted_total)
		return NULL;
	at = chance(route, request) % route->weighted_total;
	for (size_t i = 0; i < route->weighted_count; i++) {
		end += route->weighted[i].weight;
		if (at < end)
			return &route->weighted[i];
	}
	return NULL;
}

/* A cluster is named by the first value of a header, not by several joined. */
static struct mesh_slice named_cluster(struct mesh_slice name, const struct route_request *request)
{
	struct mesh_slice value = {NULL, 0};

	if (name.data[0] == ':')
		(void)mesh_header_value(request, name, NULL, &value); /* pseudo headers need no memory */
	else if (request->headers)
		value = mesh_headers_get(request->headers, name);
	return value.len ? value : (struct mesh_slice){NULL, 0};
}

struct mesh_slice mesh_route_cluster(const struct route *route, const struct route_request *request, uint32_t *hash,
				     const struct weighted_cluster **weighted)
{
	struct mesh_slice name = {NULL, 0};

	*weighted = NULL;
	*hash = 0;
	if (route->weighted_count) {
		*weighted = draw(route, request);
		if (*weighted) {
			name = (*weighted)->name;
			*hash = (*weighted)->hash;
			if ((*weighted)->cluster_header.len) {
				name = named_cluster((*weighted)->cluster_header, request);
				*hash = name.data ? mesh_slice_hash(name) : 0;
			}
		}
	} else if (route->cluster.data) {
		name = route->cluster;
		*hash = route->cluster_hash;
	} else if (route->cluster_header.len) {
		name = named_cluster(route->cluster_header, request);
		*hash = name.data ? mesh_slice_hash(name) : 0;
	}
	return name;
}
