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

int mesh_header_value(const struct route_request *request, struct mesh_slice name, struct arena *scratch,
		      struct mesh_slice *value)
{
	bool failed = false;

	*value = (struct mesh_slice){NULL, 0};
	if (!whole_value(request, name, value) && request->headers)
		*value = mesh_headers_joined(request->headers, scratch, name, &failed);
	return failed ? MESH_ERROR_NOMEM : MESH_OK;
}

/* Fields that Envoy keeps once: values that came in several become one, with commas, before any rule sees them. */
static bool kept_once(struct mesh_slice name)
{
	static const struct mesh_slice names[] = {
		{"user-agent", 10}, {"content-type", 12}, {"x-forwarded-for", 15}, {"x-request-id", 12}, {"via", 3},
		{"te", 2},	    {"origin", 6},	  {"authorization", 13},   {"accept", 6},
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (mesh_slice_equal_fold(name, names[i]))
			return true;
	return false;
}

bool mesh_header_matches(const struct header_match *match, const struct route_request *request, struct arena *scratch)
{
	struct mesh_slice value = {NULL, 0};
	bool any = false, failed = false;

	if (whole_value(request, match->name, &value) || !request->headers)
		return mesh_header_value_matches(match, value);
	if (kept_once(match->name) && mesh_headers_count(request->headers, match->name) > 1) {
		value = mesh_headers_joined(request->headers, scratch, match->name, &failed);
		if (!failed)
			return mesh_header_value_matches(match, value);
	}
	for (size_t i = 0; i < request->headers->count; i++) {
		const struct mesh_header *header = &request->headers->items[i];

		if (!mesh_slice_equal_fold(header->name, match->name))
			continue;
		any = true;
		if (mesh_header_value_matches(match, header->value) != match->invert)
			return !match->invert;
	}
	return any ? match->invert : mesh_header_value_matches(match, value);
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
