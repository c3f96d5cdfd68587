/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a route asks of a request. A condition that is not understood must not let the request fall through to a later
 * route: the route keeps the conditions that are understood and fails closed.
 */
#include "xds/decode.h"

#include "config/metadata_match.h"

#include "envoy/config/core/v3/base.pb-c.h"
#include "envoy/config/core/v3/extension.pb-c.h"
#include "envoy/config/route/v3/route_components.pb-c.h"
#include "google/protobuf/wrappers.pb-c.h"

typedef Envoy__Config__Route__V3__RouteMatch match_message;

static void closed(struct decode *d, struct route *route, const char *field)
{
	struct mesh_slice reason;

	mesh_decode_push(d, field);
	reason = mesh_decode_note(d, "unknown condition");
	mesh_decode_pop(d);
	mesh_decode_route_close(route, reason);
}

static void separated_prefix(struct decode *d, const char *path, struct route_match *match)
{
	size_t len = strlen(path);

	match->kind = PATH_MATCH_SEPARATED_PREFIX;
	match->path = mesh_decode_required(d, "path_separated_prefix", path);
	if (strpbrk(path, "?#") || (len > 0 && path[len - 1] == '/'))
		mesh_decode_fail_field(d, "path_separated_prefix", "\"%.60s\": must be a path that does not end in \"/\"", path);
}

static void path_policy(struct decode *d, const Envoy__Config__Core__V3__TypedExtensionConfig *extension, struct route *route)
{
	route->match.kind = PATH_MATCH_REGEX;
	mesh_decode_push(d, "path_match_policy");
	route->match.regex = mesh_decode_uri_template(d, extension->typed_config);
	mesh_decode_pop(d);
	if (route->match.regex)
		return;
	route->match.kind = PATH_MATCH_PREFIX; /* every path: it is not known which were meant */
	closed(d, route, "path_match_policy");
}

static void path(struct decode *d, const match_message *message, struct route *route)
{
	struct route_match *match = &route->match;

	switch (message->path_specifier_case) {
	case ENVOY__CONFIG__ROUTE__V3__ROUTE_MATCH__PATH_SPECIFIER_PREFIX:
		match->kind = PATH_MATCH_PREFIX;
		match->path = mesh_decode_text(d, message->prefix);
		break;
	case ENVOY__CONFIG__ROUTE__V3__ROUTE_MATCH__PATH_SPECIFIER_PATH:
		match->kind = PATH_MATCH_EXACT;
		match->path = mesh_decode_text(d, message->path);
		break;
	case ENVOY__CONFIG__ROUTE__V3__ROUTE_MATCH__PATH_SPECIFIER_PATH_SEPARATED_PREFIX:
		separated_prefix(d, message->path_separated_prefix, match);
		break;
	case ENVOY__CONFIG__ROUTE__V3__ROUTE_MATCH__PATH_SPECIFIER_SAFE_REGEX:
		match->kind = PATH_MATCH_REGEX;
		mesh_decode_push(d, "safe_regex");
		match->regex = mesh_decode_regex(d, message->safe_regex);
		match->path = mesh_decode_text(d, message->safe_regex->regex);
		mesh_decode_pop(d);
		break;
	case ENVOY__CONFIG__ROUTE__V3__ROUTE_MATCH__PATH_SPECIFIER_PATH_MATCH_POLICY:
		path_policy(d, message->path_match_policy, route);
		break;
	case ENVOY__CONFIG__ROUTE__V3__ROUTE_MATCH__PATH_SPECIFIER_CONNECT_MATCHER:
		match->never = true; /* CONNECT requests only, which there are none of */
		break;
	default:
		if (message->base.n_unknown_fields == 0)
			mesh_decode_fail_field(d, "path_specifier", "is required");
	}
}

static void cookies(struct decode *d, const match_message *message, struct route *route)
{
	struct route_match *match = &route->match;

	match->cookies = mesh_decode_array(d, message->n_cookies, sizeof(*match->cookies));
	for (size_t i = 0; match->cookies && i < message->n_cookies && d->rc == 0; i++) {
		const Envoy__Config__Route__V3__CookieMatcher *cookie = message->cookies[i];
		struct cookie_match *own = &match->cookies[match->cookie_count];

		mesh_decode_push_item(d, "cookies", i);
		own->name = mesh_decode_required(d, "name", cookie->name);
		own->invert = cookie->invert_match;
		mesh_decode_push(d, "string_match");
		if (!cookie->base.n_unknown_fields && mesh_decode_string_match(d, cookie->string_match, &own->string))
			match->cookie_count++;
		else
			closed(d, route, "match_pattern");
		mesh_decode_pop(d);
		mesh_decode_pop(d);
	}
}

static void metadata(struct decode *d, const match_message *message, struct route *route)
{
	struct metadata_match *conditions = mesh_decode_array(d, message->n_dynamic_metadata, sizeof(*conditions));
	struct route_match *match = &route->match;

	match->metadata = conditions;
	for (size_t i = 0; conditions && i < message->n_dynamic_metadata && d->rc == 0; i++) {
		mesh_decode_push_item(d, "dynamic_metadata", i);
		if (mesh_decode_metadata_match(d, message->dynamic_metadata[i], &conditions[match->metadata_count]))
			match->metadata_count++;
		else
			closed(d, route, "value");
		mesh_decode_pop(d);
	}
}

static enum tls_match tls_match(const Google__Protobuf__BoolValue *value)
{
	return !value ? TLS_MATCH_ANY : value->value ? TLS_MATCH_YES : TLS_MATCH_NO;
}

static void tls_context(struct decode *d, const Envoy__Config__Route__V3__RouteMatch__TlsContextMatchOptions *options,
			struct route *route)
{
	if (!options)
		return;
	route->match.presented = tls_match(options->presented);
	route->match.validated = tls_match(options->validated);
	route->match.asks_tls = options->presented || options->validated;
	if (options->base.n_unknown_fields)
		closed(d, route, "tls_context");
}

void mesh_decode_route_match(struct decode *d, const match_message *message, struct route *route)
{
	struct route_match *match = &route->match;

	path(d, message, route);
	match->ignore_case = !mesh_decode_bool(message->case_sensitive, true) && match->kind != PATH_MATCH_REGEX;
	mesh_decode_push(d, "runtime_fraction");
	match->runtime_fraction = mesh_decode_fraction(d, message->runtime_fraction);
	mesh_decode_pop(d);
	match->grpc_only = message->grpc != NULL;
	match->headers = mesh_decode_array(d, message->n_headers, sizeof(*match->headers));
	for (size_t i = 0; match->headers && i < message->n_headers && d->rc == 0; i++) {
		mesh_decode_push_item(d, "headers", i);
		if (mesh_decode_header_match(d, message->headers[i], &match->headers[match->header_count]))
			match->header_count++;
		else
			closed(d, route, "header_match_specifier");
		mesh_decode_pop(d);
	}
	match->queries = mesh_decode_array(d, message->n_query_parameters, sizeof(*match->queries));
	for (size_t i = 0; match->queries && i < message->n_query_parameters && d->rc == 0; i++) {
		mesh_decode_push_item(d, "query_parameters", i);
		if (mesh_decode_query_match(d, message->query_parameters[i], &match->queries[match->query_count]))
			match->query_count++;
		else
			closed(d, route, "query_parameter_match_specifier");
		mesh_decode_pop(d);
	}
	cookies(d, message, route);
	metadata(d, message, route);
	tls_context(d, message->tls_context, route);
	if (message->n_filter_state)
		closed(d, route, "filter_state");
	if (message->base.n_unknown_fields)
		closed(d, route, "(unknown field)");
}
