/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One route: its match and its action, and what filters are told for it alone. Decides what closes a route; an unknown
 * setting for a filter does, since that filter may be the one that refuses.
 */
#include "xds/decode.h"

#include "base/header.h"
#include "envoy/config/core/v3/base.pb-c.h"
#include "envoy/config/core/v3/substitution_format_string.pb-c.h"
#include "envoy/config/route/v3/route_components.pb-c.h"
#include "envoy/extensions/filters/http/cors/v3/cors.pb-c.h"
#include "envoy/extensions/filters/http/fault/v3/fault.pb-c.h"
#include "envoy/extensions/filters/http/rbac/v3/rbac.pb-c.h"
#include "google/protobuf/any.pb-c.h"
#include "google/protobuf/wrappers.pb-c.h"

typedef Envoy__Config__Route__V3__Route route_message;

void mesh_decode_route_close(struct route *route, struct mesh_slice reason)
{
	route->kind = ROUTE_FAIL_CLOSED;
	if (!route->fail_reason.data)
		route->fail_reason = reason;
}

/* For the filter of that name alone; rules for a second filter are more than a route here can say. */
static void per_route_rbac(struct decode *d, const char *name, const Google__Protobuf__Any *config, struct route_scope *scope)
{
	Envoy__Extensions__Filters__Http__Rbac__V3__RBACPerRoute *message;
	struct mesh_slice reason;

	if (scope->authz_filter.data && !mesh_slice_equal(scope->authz_filter, mesh_slice_of(name))) {
		reason = mesh_decode_note(d, "rules for a second RBAC filter besides \"%.*s\": not supported",
					  (int)(scope->authz_filter.len < 100 ? scope->authz_filter.len : 100), scope->authz_filter.data);
		scope->reason = scope->reason.data ? scope->reason : reason;
		return;
	}

	message = mesh_decode_any_open(d, "value", config, &envoy__extensions__filters__http__rbac__v3__rbacper_route__descriptor);
	if (message) {
		scope->authz_filter = mesh_decode_required(d, "key", name);
		mesh_decode_push(d, "rbac");
		scope->authz = message->rbac ? mesh_decode_authz_http(d, message->rbac) : NULL;
		mesh_decode_pop(d);
	}
	mesh_decode_any_close(d);
}

/* Settings for two filters of a kind are more than a route here can say. */
static bool same_filter(struct decode *d, const char *name, struct mesh_slice *filter)
{
	if (filter->data && !mesh_slice_equal(*filter, mesh_slice_of(name))) {
		mesh_decode_warning(d, "settings for a second filter of the kind, \"%.80s\": passed over", name);
		return false;
	}
	*filter = mesh_decode_required(d, "key", name);
	return true;
}

static void per_route_fault(struct decode *d, const char *name, const Google__Protobuf__Any *config, struct route_scope *scope)
{
	if (same_filter(d, name, &scope->fault_filter))
		scope->fault = mesh_decode_fault(d, "value", config);
}

static void per_route_cors(struct decode *d, const char *name, const Google__Protobuf__Any *config, struct route_scope *scope)
{
	struct cors_config *cors;

	if (!same_filter(d, name, &scope->cors_filter))
		return;
	cors = mesh_decode_cors(d, "value", config);
	if (cors && scope->cors)
		mesh_decode_cors_fill(cors, scope->cors);
	scope->cors = cors;
}

void mesh_decode_per_filter(struct decode *d, const char *name, const Google__Protobuf__Any *config,
			    struct route_scope *scope)
{
	struct mesh_slice type = mesh_decode_any_type(config);
	struct mesh_slice reason;

	mesh_decode_push_key(d, "typed_per_filter_config", name);
	if (mesh_decode_any_is(config, &envoy__extensions__filters__http__rbac__v3__rbacper_route__descriptor)) {
		per_route_rbac(d, name, config, scope);
	} else if (mesh_decode_any_is(config, &envoy__extensions__filters__http__fault__v3__httpfault__descriptor)) {
		per_route_fault(d, name, config, scope);
	} else if (mesh_decode_any_is(config, &envoy__extensions__filters__http__cors__v3__cors_policy__descriptor)) {
		per_route_cors(d, name, config, scope);
	} else if (mesh_slice_equal(type, MESH_SLICE("stats.PluginConfig")) ||
		   mesh_slice_equal(type, MESH_SLICE("envoy.extensions.filters.http.stateful_session.v3.StatefulSessionPerRoute"))) {
		mesh_decode_warning(d, "typed_per_filter_config \"%.80s\" of a route: passed over", name);
	} else {
		reason = mesh_decode_note(d, "%.*s: unknown setting of a filter", (int)(type.len < 100 ? type.len : 100), type.data);
		scope->reason = scope->reason.data ? scope->reason : reason;
	}
	mesh_decode_pop(d);
}

static void unknown_fields(struct decode *d, const ProtobufCMessage *message, struct route *route)
{
	if (message->n_unknown_fields)
		mesh_decode_route_close(route, mesh_decode_note(d, "unknown field: not supported"));
}

static void redirect_path(struct decode *d, const Envoy__Config__Route__V3__RedirectAction *message, struct route *route)
{
	switch (message->path_rewrite_specifier_case) {
	case ENVOY__CONFIG__ROUTE__V3__REDIRECT_ACTION__PATH_REWRITE_SPECIFIER__NOT_SET:
		return;
	case ENVOY__CONFIG__ROUTE__V3__REDIRECT_ACTION__PATH_REWRITE_SPECIFIER_PATH_REDIRECT:
		route->redirect_path = mesh_decode_text(d, message->path_redirect);
		return;
	case ENVOY__CONFIG__ROUTE__V3__REDIRECT_ACTION__PATH_REWRITE_SPECIFIER_PREFIX_REWRITE:
		route->redirect_prefix = true;
		route->redirect_path = mesh_decode_text(d, message->prefix_rewrite);
		return;
	case ENVOY__CONFIG__ROUTE__V3__REDIRECT_ACTION__PATH_REWRITE_SPECIFIER_REGEX_REWRITE:
		mesh_decode_substitution(d, "regex_rewrite", message->regex_rewrite, &route->redirect_regex,
					 &route->redirect_path, route);
		return;
	case ENVOY__CONFIG__ROUTE__V3__REDIRECT_ACTION__PATH_REWRITE_SPECIFIER_PATH_REWRITE:
		route->redirect_format = mesh_decode_format(d, "path_rewrite", mesh_slice_of(message->path_rewrite),
							    &route->redirect_path);
		return;
	default:
		return;
	}
}

static uint32_t redirect_status(struct decode *d, int code)
{
	switch (code) {
	case ENVOY__CONFIG__ROUTE__V3__REDIRECT_ACTION__REDIRECT_RESPONSE_CODE__MOVED_PERMANENTLY:
		return 301;
	case ENVOY__CONFIG__ROUTE__V3__REDIRECT_ACTION__REDIRECT_RESPONSE_CODE__FOUND:
		return 302;
	case ENVOY__CONFIG__ROUTE__V3__REDIRECT_ACTION__REDIRECT_RESPONSE_CODE__SEE_OTHER:
		return 303;
	case ENVOY__CONFIG__ROUTE__V3__REDIRECT_ACTION__REDIRECT_RESPONSE_CODE__TEMPORARY_REDIRECT:
		return 307;
	case ENVOY__CONFIG__ROUTE__V3__REDIRECT_ACTION__REDIRECT_RESPONSE_CODE__PERMANENT_REDIRECT:
		return 308;
	default:
		mesh_decode_fail_field(d, "response_code", "%d: unknown", code);
		return 0;
	}
}

/* What becomes part of a header must not be able to end it. */
static void header_text(struct decode *d, const char *field, struct mesh_slice text)
{
	if (text.data && !mesh_header_value_valid(text))
		mesh_decode_fail_field(d, field, "\"%.60s\": not a header value", text.data);
}

static void redirect(struct decode *d, const Envoy__Config__Route__V3__RedirectAction *message, struct route *route)
{
	mesh_decode_push(d, "redirect");
	route->kind = ROUTE_REDIRECT;
	route->redirect_status = redirect_status(d, (int)message->response_code);
	route->redirect_host = mesh_decode_text(d, message->host_redirect);
	route->redirect_port = mesh_decode_port(d, "port_redirect", message->port_redirect);
	route->redirect_strip_query = message->strip_query;
	if (message->scheme_rewrite_specifier_case ==
	    ENVOY__CONFIG__ROUTE__V3__REDIRECT_ACTION__SCHEME_REWRITE_SPECIFIER_SCHEME_REDIRECT)
		route->redirect_scheme = mesh_decode_text(d, message->scheme_redirect);
	else if (message->scheme_rewrite_specifier_case ==
			 ENVOY__CONFIG__ROUTE__V3__REDIRECT_ACTION__SCHEME_REWRITE_SPECIFIER_HTTPS_REDIRECT &&
		 message->https_redirect)
		route->redirect_scheme = mesh_decode_text(d, "https");
	redirect_path(d, message, route);
	unknown_fields(d, &message->base, route);
	header_text(d, "host_redirect", route->redirect_host);
	header_text(d, "scheme_redirect", route->redirect_scheme);
	header_text(d, "path_redirect", route->redirect_path);
	mesh_decode_pop(d);
}

/* Text alone; what it is put together from is the body, too. */
static struct mesh_slice body_format(struct decode *d, const Envoy__Config__Core__V3__SubstitutionFormatString *message,
				     struct route *route)
{
	struct mesh_slice text = {NULL, 0}, literal = {NULL, 0};

	route->direct_type = mesh_decode_text(d, message->content_type);
	header_text(d, "content_type", route->direct_type);
	switch (message->format_case) {
	case ENVOY__CONFIG__CORE__V3__SUBSTITUTION_FORMAT_STRING__FORMAT_TEXT_FORMAT:
		text = mesh_slice_of(message->text_format);
		break;
	case ENVOY__CONFIG__CORE__V3__SUBSTITUTION_FORMAT_STRING__FORMAT_TEXT_FORMAT_SOURCE:
		if (!mesh_decode_source(message->text_format_source, &text))
			return mesh_decode_note(d, "body_format.text_format_source: only an inline one is supported");
		break;
	case ENVOY__CONFIG__CORE__V3__SUBSTITUTION_FORMAT_STRING__FORMAT__NOT_SET:
		mesh_decode_fail_field(d, "body_format", "a format is required");
		return text;
	default:
		return mesh_decode_note(d, "body_format: only text is supported");
	}
	if (message->n_formatters)
		return mesh_decode_note(d, "body_format.formatters: not supported");
	mesh_decode_push(d, "body_format");
	route->direct_format = mesh_decode_format(d, "text_format", text, &literal);
	mesh_decode_pop(d);
	if (!route->direct_format)
		route->direct_format = mesh_decode_whole(d, literal);
	route->direct_omits_empty = message->omit_empty_values;
	return (struct mesh_slice){NULL, 0};
}

static void direct_response(struct decode *d, const Envoy__Config__Route__V3__DirectResponseAction *message,
			    const struct route_scope *scope, struct route *route)
{
	struct mesh_slice body = {NULL, 0}, reason = {NULL, 0};

	mesh_decode_push(d, "direct_response");
	route->kind = ROUTE_DIRECT_RESPONSE;
	route->direct_status = message->status;
	if (message->status < 200 || message->status > 599)
		mesh_decode_fail_field(d, "status", "%u: must be 200..599", message->status);
	if (message->body && !mesh_decode_source(message->body, &body))
		reason = mesh_decode_note(d, "body: only an inline one is supported");
	else if (message->body_format)
		reason = body_format(d, message->body_format, route);
	if (body.len > scope->body_max)
		mesh_decode_fail_field(d, "body", "%zu bytes: longer than max_direct_response_body_size_bytes", body.len);
	route->direct_body = mesh_decode_bytes(d, body);
	if (reason.data)
		mesh_decode_route_close(route, reason);
	unknown_fields(d, &message->base, route);
	mesh_decode_pop(d);
}

static void action(struct decode *d, const route_message *message, const struct route_scope *scope, struct route *route)
{
	switch (message->action_case) {
	case ENVOY__CONFIG__ROUTE__V3__ROUTE__ACTION_ROUTE:
		mesh_decode_route_action(d, message->route, message->match, scope, route);
		break;
	case ENVOY__CONFIG__ROUTE__V3__ROUTE__ACTION_REDIRECT:
		redirect(d, message->redirect, route);
		break;
	case ENVOY__CONFIG__ROUTE__V3__ROUTE__ACTION_DIRECT_RESPONSE:
		direct_response(d, message->direct_response, scope, route);
		break;
	case ENVOY__CONFIG__ROUTE__V3__ROUTE__ACTION_NON_FORWARDING_ACTION:
		route->kind = ROUTE_NON_FORWARDING;
		break;
	case ENVOY__CONFIG__ROUTE__V3__ROUTE__ACTION_FILTER_ACTION:
		mesh_decode_route_close(route, mesh_decode_note(d, "filter_action: not supported"));
		break;
	default:
		if (message->base.n_unknown_fields == 0)
			mesh_decode_fail_field(d, "action", "is required");
	}
}

void mesh_decode_route(struct decode *d, const route_message *message, const struct route_scope *outer, struct route *route)
{
	struct route_scope scope = *outer;
	struct mesh_slice reason = {NULL, 0};

	route->name = mesh_decode_text(d, message->name);
	route->timeout_ns = route->idle_timeout_ns = -1;
	route->cluster_not_found_status = 503;
	action(d, message, &scope, route);
	mesh_decode_push(d, "match");
	if (message->match)
		mesh_decode_route_match(d, message->match, route);
	else
		mesh_decode_fail(d, "is required");
	mesh_decode_pop(d);
	route->match.no_parameters = scope.no_parameters;
	mesh_decode_mutations(d, MESH_DECODE_MUTATIONS(message), &route->mutations);
	for (size_t i = 0; i < message->n_typed_per_filter_config && d->rc == 0; i++)
		mesh_decode_per_filter(d, message->typed_per_filter_config[i]->key, message->typed_per_filter_config[i]->value,
				       &scope);
	if (message->base.n_unknown_fields)
		reason = mesh_decode_note(d, "unknown field: not supported");
	if (scope.reason.data || reason.data)
		mesh_decode_route_close(route, scope.reason.data ? scope.reason : reason);
	route->authz = scope.authz;
	route->authz_filter = scope.authz_filter;
	route->fault = scope.fault;
	route->fault_filter = scope.fault_filter;
	route->cors = scope.cors;
	route->cors_filter = scope.cors_filter;
	for (size_t i = 0; i < route->weighted_count; i++) {
		struct weighted_cluster *cluster = &route->weighted[i];

		if (cluster->cors && route->cors && mesh_slice_equal(cluster->cors_filter, route->cors_filter))
			mesh_decode_cors_fill(cluster->cors, route->cors);
	}
}
