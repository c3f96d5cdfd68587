/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides whether one string, header, query parameter or address satisfies one matcher of the configuration, as Envoy
 * decides it. Knows nothing of what a match leads to: routes, retries and authorization ask it alike.
 */
#include "policy/header_match.h"

#include <mesh/error.h>

/* Digits with an optional sign; blanks around are allowed. */
static bool integer(struct mesh_slice text, int64_t *value)
{
	return mesh_slice_to_i64(mesh_slice_trim(text), value);
}

bool mesh_header_value_matches(const struct header_match *match, struct mesh_slice value)
{
	int64_t number;
	bool hit;

	if (match->kind == HEADER_MATCH_PRESENT)
		return (value.data || match->missing_as_empty) != match->invert;
	/* A missing header satisfies no condition on its value, nor the inverse of one, unless it counts as empty. */
	if (!value.data && !match->missing_as_empty)
		return false;
	if (!value.data)
		value = MESH_SLICE("");
	if (match->kind == HEADER_MATCH_RANGE)
		hit = integer(value, &number) && number >= match->from && number < match->to;
	else
		hit = mesh_string_matches(&match->string, value);
	return hit != match->invert;
}

static struct mesh_slice pseudo_value(const struct route_request *request, struct mesh_slice name)
{
	if (mesh_slice_equal(name, MESH_SLICE(":path")))
		return request->path;
	if (mesh_slice_equal(name, MESH_SLICE(":method")))
		return request->method;
	if (mesh_slice_equal(name, MESH_SLICE(":authority")))
		return request->authority;
	if (mesh_slice_equal(name, MESH_SLICE(":scheme")))
		return request->scheme;
	return (struct mesh_slice){NULL, 0};
}

/* What HTTP/1.1 says by fields of the connection and HTTP/2 in its own way: rules and routes see it as the former. */
static struct mesh_slice upgrade_value(const struct route_request *request, struct mesh_slice name)
{
	if (request->upgrade.len && mesh_slice_equal_fold(name, MESH_SLICE("upgrade")))
		return request->upgrade;
	if (request->upgrade.len && mesh_slice_equal_fold(name, MESH_SLICE("connection")))
		return MESH_SLICE("upgrade");
	return (struct mesh_slice){NULL, 0};
}

/* True: the value, or that there is none, is not for the list of headers to say. */
static bool whole_value(const struct route_request *request, struct mesh_slice name, struct mesh_slice *value)
{
	*value = (struct mesh_slice){NULL, 0};
	if (!name.len)
		return true;
	if (name.data[0] == ':') {
		*value = pseudo_value(request, name);
		return true;
	}
	/* The authority is the one truth about the host, whatever else a request carries under that name. */
	if (name.len == 4 && mesh_slice_equal_fold(name, MESH_SLICE("host")) && request->authority.data) {
		*value = request->authority;
		return true;
	}
	*value = upgrade_value(request, name);
	return value->data != NULL;
}

/*
 * Those of an Envoy with all its extensions, asked one by one (tests/interop/differential) but for what its own hop
 * never lets through.
 */
bool mesh_header_kept_once(struct mesh_slice name)
{
	static const char *const names[] = {
		"accept", "accept-encoding", "access-control-request-headers", "access-control-request-method", "authorization",
		"cache-control", "content-encoding", "content-type", "expect", "grpc-accept-encoding", "grpc-timeout",
		"if-match", "if-modified-since", "if-none-match", "if-range", "if-unmodified-since", "origin", "pragma",
		"proxy-status", "referer", "te", "user-agent", "via",
		"x-client-trace-id", "x-envoy-attempt-count", "x-envoy-decorator-operation",
		"x-envoy-downstream-service-cluster", "x-envoy-downstream-service-node", "x-envoy-expected-rq-timeout-ms",
		"x-envoy-external-address", "x-envoy-force-trace", "x-envoy-hedge-on-per-try-timeout", "x-envoy-internal",
		"x-envoy-ip-tags", "x-envoy-is-timeout-retry", "x-envoy-max-retries", "x-envoy-original-host",
		"x-envoy-original-path", "x-envoy-original-url", "x-envoy-retriable-header-names",
		"x-envoy-retriable-status-codes", "x-envoy-retry-grpc-on", "x-envoy-retry-on", "x-envoy-upstream-alt-stat-name",
		"x-envoy-upstream-rq-per-try-timeout-ms", "x-envoy-upstream-rq-timeout-alt-response",
		"x-envoy-upstream-rq-timeout-ms", "x-envoy-upstream-stream-duration-ms", "x-forwarded-client-cert",
		"x-forwarded-for", "x-forwarded-host", "x-forwarded-port", "x-forwarded-proto", "x-request-id",
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (mesh_slice_equal_fold(name, mesh_slice_of(names[i])))
			return true;
	return false;
}

/* All values as one: of what is kept once those that are not empty, else all. */
static struct mesh_slice joined(const struct headers *headers, struct arena *scratch, struct mesh_slice name,
				bool *failed)
{
	struct mesh_slice all = MESH_SLICE("");

	if (mesh_headers_count(headers, name) < 2 || !mesh_header_kept_once(name))
		return mesh_headers_joined(headers, scratch, name, failed);
	for (size_t i = 0; i < headers->count && !*failed; i++) {
		struct mesh_slice value = headers->items[i].value;

		if (!value.len || !mesh_slice_equal_fold(headers->items[i].name, name))
			continue;
		if (all.len)
			value = mesh_arena_printf(scratch, "%.*s,%.*s", (int)all.len, all.data, (int)value.len, value.data);
		*failed = !value.data;
		all = value;
	}
	return all;
}

int mesh_header_value(const struct route_request *request, struct mesh_slice name, struct arena *scratch,
		      struct mesh_slice *value)
{
	bool failed = false;

	*value = (struct mesh_slice){NULL, 0};
	if (!whole_value(request, name, value) && request->headers)
		*value = joined(request->headers, scratch, name, &failed);
	return failed ? MESH_ERROR_NOMEM : MESH_OK;
}

static bool any_value_matches(const struct header_match *match, const struct headers *headers)
{
	for (size_t i = 0; i < headers->count; i++)
		if (mesh_slice_equal_fold(headers->items[i].name, match->name) &&
		    mesh_header_value_matches(match, headers->items[i].value) != match->invert)
			return !match->invert;
	return match->invert;
}

bool mesh_header_matches(const struct header_match *match, const struct route_request *request, struct arena *scratch,
			 bool doubt)
{
	struct mesh_slice value = {NULL, 0};
	bool failed = false;
	size_t count;

	if (whole_value(request, match->name, &value) || !request->headers)
		return mesh_header_value_matches(match, value);
	count = mesh_headers_count(request->headers, match->name);
	if (!count)
		return mesh_header_value_matches(match, value);
	if (count == 1 || !mesh_header_kept_once(match->name))
		return any_value_matches(match, request->headers);
	value = joined(request->headers, scratch, match->name, &failed);
	return failed ? doubt : mesh_header_value_matches(match, value);
}

static struct mesh_slice cookie_value(struct mesh_slice value)
{
	if (value.len >= 2 && value.data[0] == '"' && value.data[value.len - 1] == '"')
		return mesh_slice_make(value.data + 1, value.len - 2);
	return value.data ? value : MESH_SLICE("");
}

static bool find_cookie(const struct headers *headers, struct mesh_slice name, struct mesh_slice *value)
{
	for (size_t i = 0; headers && i < headers->count; i++) {
		struct mesh_slice rest = headers->items[i].value;

		if (!mesh_slice_equal_fold(headers->items[i].name, MESH_SLICE("cookie")))
			continue;
		while (rest.data) {
			*value = mesh_slice_trim(mesh_slice_cut(&rest, ';'));
			if (mesh_slice_equal(mesh_slice_cut(value, '='), name) && value->data) {
				*value = cookie_value(*value);
				return true;
			}
		}
	}
	return false;
}

bool mesh_cookie_matches(const struct cookie_match *match, const struct headers *headers)
{
	struct mesh_slice value;

	return (find_cookie(headers, match->name, &value) && mesh_string_matches(&match->string, value)) != match->invert;
}

bool mesh_query_value(struct mesh_slice path, struct mesh_slice name, struct mesh_slice *value)
{
	ptrdiff_t mark = mesh_slice_find(path, '?');
	struct mesh_slice rest, pair;

	if (mark < 0)
		return false;
	rest = mesh_slice_make(path.data + mark + 1, path.len - (size_t)mark - 1);
	while (rest.data && rest.len) {
		pair = mesh_slice_cut(&rest, '&');
		*value = pair;
		if (mesh_slice_equal(mesh_slice_cut(value, '='), name)) {
			if (!value->data)
				*value = MESH_SLICE("");
			return true;
		}
	}
	return false;
}

bool mesh_query_matches(const struct query_match *match, struct mesh_slice path, struct arena *scratch)
{
	struct mesh_slice value;

	if (!mesh_query_value(path, match->name, &value))
		return match->absent;
	if (match->absent)
		return false;
	return match->present_only || mesh_string_matches(&match->string, value);
}

bool mesh_cidr_contains(const struct cidr *cidr, const struct address *address)
{
	const uint8_t *bytes;
	bool v6;
	unsigned whole, rest;

	if (!address || !address->len)
		return false;
	if (address->any.sa_family == AF_INET) {
		v6 = false;
		bytes = (const uint8_t *)&address->v4.sin_addr;
	} else if (address->any.sa_family == AF_INET6) {
		bytes = (const uint8_t *)&address->v6.sin6_addr;
		/* An IPv4 peer of a dual-stack socket is an IPv4 peer. */
		v6 = !IN6_IS_ADDR_V4MAPPED(&address->v6.sin6_addr);
		if (!v6)
			bytes += 12;
	} else {
		return false;
	}
	if (v6 != cidr->v6 || cidr->bits > (v6 ? 128 : 32))
		return false;
	whole = cidr->bits / 8;
	rest = cidr->bits % 8;
	if (memcmp(bytes, cidr->bytes, whole) != 0)
		return false;
	return rest == 0 || (uint8_t)((bytes[whole] ^ cidr->bytes[whole]) >> (8 - rest)) == 0;
}

bool mesh_fraction_hits(const struct fraction *fraction, uint64_t random)
{
	return fraction->denominator == 0 || random % fraction->denominator < fraction->numerator;
}
