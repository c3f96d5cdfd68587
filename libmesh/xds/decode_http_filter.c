/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The list of HTTP filters. Known ones are compiled or, where they only measure, left out; any other stands in the list as
 * a place where every request is refused.
 */
#include "xds/decode.h"

#include "envoy/config/filter/http/alpn/v2alpha1/config.pb-c.h"
#include "envoy/extensions/filters/http/cors/v3/cors.pb-c.h"
#include "envoy/extensions/filters/http/fault/v3/fault.pb-c.h"
#include "envoy/extensions/filters/http/jwt_authn/v3/config.pb-c.h"
#include "envoy/extensions/filters/http/rbac/v3/rbac.pb-c.h"
#include "envoy/extensions/filters/http/router/v3/router.pb-c.h"
#include "envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager.pb-c.h"
#include "envoy/extensions/stats/config.pb-c.h"
#include "google/protobuf/any.pb-c.h"

typedef Envoy__Extensions__Filters__Network__HttpConnectionManager__V3__HttpFilter filter_message;
typedef Istio__Envoy__Config__Filter__Http__Alpn__V2alpha1__FilterConfig alpn_message;

/* Compiles one filter. False: nothing of it stays in the list. */
typedef bool filter_fn(struct decode *d, const Google__Protobuf__Any *any, struct http_filter *filter);

static bool fail_closed(struct http_filter *filter, struct mesh_slice reason)
{
	filter->kind = HTTP_FILTER_FAIL_CLOSED;
	filter->reason = reason;
	return true;
}

static bool decode_router(struct decode *d, const Google__Protobuf__Any *any, struct http_filter *filter)
{
	Envoy__Extensions__Filters__Http__Router__V3__Router *message;

	filter->kind = HTTP_FILTER_ROUTER;
	message = mesh_decode_any_open(d, "typed_config", any, &envoy__extensions__filters__http__router__v3__router__descriptor);
	filter->suppress_envoy_headers = message && message->suppress_envoy_headers;
	if (message && message->n_upstream_http_filters)
		fail_closed(filter, mesh_decode_note(d, "upstream_http_filters: not supported"));
	mesh_decode_any_close(d);
	return true;
}

static bool decode_rbac(struct decode *d, const Google__Protobuf__Any *any, struct http_filter *filter)
{
	Envoy__Extensions__Filters__Http__Rbac__V3__RBAC *message;

	filter->kind = HTTP_FILTER_AUTHZ;
	message = mesh_decode_any_open(d, "typed_config", any, &envoy__extensions__filters__http__rbac__v3__rbac__descriptor);
	if (message)
		filter->authz = mesh_decode_authz_http(d, message);
	mesh_decode_any_close(d);
	return true;
}

static struct mesh_slice alpn_wire(struct decode *d,
				   const Istio__Envoy__Config__Filter__Http__Alpn__V2alpha1__FilterConfig__AlpnOverride *message)
{
	size_t bytes = 0;
	char *list;

	for (size_t i = 0; i < message->n_alpn_override; i++) {
		size_t len = strlen(message->alpn_override[i]);

		if (len == 0 || len > 255) {
			mesh_decode_push_item(d, "alpn_override", i);
			mesh_decode_fail(d, "\"%.60s\": must have 1..255 bytes", message->alpn_override[i]);
			mesh_decode_pop(d);
		}
		bytes += len + 1;
	}
	if (bytes > UINT16_MAX)
		mesh_decode_fail_field(d, "alpn_override", "too long");
	list = mesh_decode_array(d, bytes, 1);
	for (size_t i = 0, at = 0; list && i < message->n_alpn_override; i++) {
		size_t len = strlen(message->alpn_override[i]);

		list[at] = (char)len;
		memcpy(list + at + 1, message->alpn_override[i], len);
		at += len + 1;
	}
	return mesh_slice_make(list, list ? bytes : 0);
}

static bool decode_alpn(struct decode *d, const Google__Protobuf__Any *any, struct http_filter *filter)
{
	alpn_message *message;

	filter->kind = HTTP_FILTER_ALPN;
	message = mesh_decode_any_open(d, "typed_config", any,
				       &istio__envoy__config__filter__http__alpn__v2alpha1__filter_config__descriptor);
	for (size_t i = 0; message && i < message->n_alpn_override; i++) {
		struct mesh_slice list;

		mesh_decode_push_item(d, "alpn_override", i);
		list = alpn_wire(d, message->alpn_override[i]);
		switch ((int)message->alpn_override[i]->upstream_protocol) {
		case ISTIO__ENVOY__CONFIG__FILTER__HTTP__ALPN__V2ALPHA1__FILTER_CONFIG__PROTOCOL__HTTP10:
			filter->alpn_http10 = list;
			break;
		case ISTIO__ENVOY__CONFIG__FILTER__HTTP__ALPN__V2ALPHA1__FILTER_CONFIG__PROTOCOL__HTTP11:
			filter->alpn_http11 = list;
			break;
		case ISTIO__ENVOY__CONFIG__FILTER__HTTP__ALPN__V2ALPHA1__FILTER_CONFIG__PROTOCOL__HTTP2:
			filter->alpn_http2 = list;
			break;
		default:
			mesh_decode_fail_field(d, "upstream_protocol", "%d: unknown",
					       (int)message->alpn_override[i]->upstream_protocol);
		}
		mesh_decode_pop(d);
	}
	mesh_decode_any_close(d);
	return true;
}

static bool decode_fault(struct decode *d, const Google__Protobuf__Any *any, struct http_filter *filter)
{
	filter->kind = HTTP_FILTER_FAULT;
	filter->fault = mesh_decode_fault(d, "typed_config", any);
	return true;
}

static bool decode_cors(struct decode *d, const Google__Protobuf__Any *any, struct http_filter *filter)
{
	filter->kind = HTTP_FILTER_CORS;
	return true;
}

static bool decode_stats(struct decode *d, const Google__Protobuf__Any *any, struct http_filter *filter)
{
	filter->kind = HTTP_FILTER_STATS;
	return true;
}

static bool decode_nothing(struct decode *d, const Google__Protobuf__Any *any, struct http_filter *filter)
{
	return false;
}

/* It changes where or in which dress a request goes on, never whether it may. */
static bool decode_warned(struct decode *d, const Google__Protobuf__Any *any, struct http_filter *filter)
{
	struct mesh_slice type = mesh_decode_any_type(any);

	mesh_decode_warning(d, "HTTP filter %.*s: passed over", (int)(type.len < 100 ? type.len : 100), type.data);
	return false;
}

/* One that asks nothing of any request is no filter at all. */
static bool decode_jwt(struct decode *d, const Google__Protobuf__Any *any, struct http_filter *filter)
{
	Envoy__Extensions__Filters__Http__JwtAuthn__V3__JwtAuthentication *message;
	bool empty;

	message = mesh_decode_any_open(d, "typed_config", any,
				       &envoy__extensions__filters__http__jwt_authn__v3__jwt_authentication__descriptor);
	empty = message && message->n_providers == 0 && message->n_rules == 0 && !message->filter_state_rules &&
		message->n_requirement_map == 0 && message->base.n_unknown_fields == 0;
	if (!empty)
		fail_closed(filter, mesh_decode_note(d, "tokens cannot be verified yet"));
	mesh_decode_any_close(d);
	return !empty;
}

static const struct {
	const char *type;
	filter_fn *decode;
} known[] = {
	{"envoy.extensions.filters.http.router.v3.Router", decode_router},
	{"envoy.extensions.filters.http.rbac.v3.RBAC", decode_rbac},
	{"envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication", decode_jwt},
	{"envoy.extensions.filters.http.fault.v3.HTTPFault", decode_fault},
	{"envoy.extensions.filters.http.cors.v3.Cors", decode_cors},
	{"envoy.extensions.filters.http.grpc_stats.v3.FilterConfig", decode_nothing},
	{"envoy.extensions.filters.http.grpc_web.v3.GrpcWeb", decode_warned},
	{"envoy.extensions.filters.http.stateful_session.v3.StatefulSession", decode_warned},
	{"istio.envoy.config.filter.http.alpn.v2alpha1.FilterConfig", decode_alpn},
	{"stats.PluginConfig", decode_stats},
};

/*
 * An optional filter is for those who have it. A proxy has all that come with Envoy, so where it would ask a filter of these
 * whether a request may pass, leaving it out would let through what the proxy does not.
 */
static bool of_envoy(struct mesh_slice type)
{
	return mesh_slice_prefix(type, MESH_SLICE("envoy."));
}

static bool typed_filter(struct decode *d, const filter_message *message, struct http_filter *filter)
{
	const Google__Protobuf__Any *any = message->typed_config;
	struct mesh_slice type = mesh_decode_any_type(any), inner = mesh_decode_typed_struct(d, any);

	if (mesh_slice_equal(inner, MESH_SLICE("io.istio.http.peer_metadata.Config"))) {
		filter->kind = HTTP_FILTER_PEER_METADATA;
		return true;
	}
	for (size_t i = 0; !inner.data && i < sizeof(known) / sizeof(known[0]); i++) {
		if (mesh_slice_equal(type, mesh_slice_of(known[i].type)))
			return known[i].decode(d, any, filter);
	}
	if (mesh_slice_equal(inner, MESH_SLICE("stats.PluginConfig")))
		return decode_stats(d, any, filter);
	type = inner.data ? inner : type;
	if (message->is_optional && !of_envoy(type)) {
		mesh_decode_warning(d, "optional HTTP filter \"%.80s\": passed over", message->name);
		return false;
	}
	return fail_closed(filter, mesh_decode_note(d, "\"%.60s\" (%.*s): unknown HTTP filter", message->name,
						    (int)(type.len < 100 ? type.len : 100), type.data));
}

/*
 * On for single routes only. A route that has settings of its own needs a place among the filters where they are in force;
 * what turns on any other filter closes the route.
 */
static bool disabled_filter(const filter_message *message, struct http_filter *filter)
{
	const Google__Protobuf__Any *any = message->typed_config;

	filter->kind = HTTP_FILTER_AUTHZ;
	if (message->config_type_case !=
	    ENVOY__EXTENSIONS__FILTERS__NETWORK__HTTP_CONNECTION_MANAGER__V3__HTTP_FILTER__CONFIG_TYPE_TYPED_CONFIG)
		return false;
	if (mesh_decode_any_is(any, &envoy__extensions__filters__http__fault__v3__httpfault__descriptor))
		filter->kind = HTTP_FILTER_FAULT;
	else if (mesh_decode_any_is(any, &envoy__extensions__filters__http__cors__v3__cors__descriptor))
		filter->kind = HTTP_FILTER_CORS;
	else
		return mesh_decode_any_is(any, &envoy__extensions__filters__http__rbac__v3__rbac__descriptor);
	return true;
}

static bool http_filter(struct decode *d, const filter_message *message, struct http_filter *filter)
{
	filter->name = mesh_decode_required(d, "name", message->name);
	if (message->disabled)
		return disabled_filter(message, filter);
	switch (message->config_type_case) {
	case ENVOY__EXTENSIONS__FILTERS__NETWORK__HTTP_CONNECTION_MANAGER__V3__HTTP_FILTER__CONFIG_TYPE_TYPED_CONFIG:
		return typed_filter(d, message, filter);
	case ENVOY__EXTENSIONS__FILTERS__NETWORK__HTTP_CONNECTION_MANAGER__V3__HTTP_FILTER__CONFIG_TYPE_CONFIG_DISCOVERY:
		return fail_closed(filter, mesh_decode_note(d, "\"%.60s\": config_discovery is not supported", message->name));
	default:
		break;
	}
	if (strcmp(message->name, "envoy.filters.http.router") == 0) {
		filter->kind = HTTP_FILTER_ROUTER;
		return true;
	}
	if (message->is_optional) {
		mesh_decode_warning(d, "optional HTTP filter \"%.80s\": passed over", message->name);
		return false;
	}
	return fail_closed(filter, mesh_decode_note(d, "\"%.60s\": without a typed_config", message->name));
}

void mesh_decode_http_filters(struct decode *d, size_t count, filter_message **messages, struct http_config *http)
{
	if (!mesh_decode_count(d, "http_filters", count, MESH_DECODE_FILTERS))
		return;
	http->filters = mesh_decode_array(d, count, sizeof(*http->filters));
	for (size_t i = 0; http->filters && i < count && d->rc == 0; i++) {
		struct http_filter *filter = &http->filters[http->filter_count];

		mesh_decode_push_item(d, "http_filters", i);
		if (http_filter(d, messages[i], filter))
			http->filter_count++;
		else
			*filter = (struct http_filter){0};
		if (filter->kind == HTTP_FILTER_ROUTER && i + 1 < count)
			mesh_decode_fail(d, "the router must be the last filter");
		mesh_decode_pop(d);
	}
	if (d->rc == 0 && http->filter_count)
		http->suppress_envoy_headers = http->filters[http->filter_count - 1].suppress_envoy_headers;
	/* One that fails closed may stand for a router with settings that are not understood. */
	if (d->rc == 0 && (http->filter_count == 0 || (http->filters[http->filter_count - 1].kind != HTTP_FILTER_ROUTER &&
						       http->filters[http->filter_count - 1].kind != HTTP_FILTER_FAIL_CLOSED)))
		mesh_decode_fail_field(d, "http_filters", "the last filter must be the router");
}
