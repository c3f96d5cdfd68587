/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The HTTP connection manager. What would change which requests pass or what they look like to the rules, and is not
 * understood, gives a reason: the filter chain then fails closed.
 */
#include "xds/decode.h"

#include "base/header.h"
#include "envoy/config/core/v3/protocol.pb-c.h"
#include "envoy/config/route/v3/route.pb-c.h"
#include "envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager.pb-c.h"
#include "envoy/extensions/request_id/uuid/v3/uuid.pb-c.h"
#include "google/protobuf/any.pb-c.h"
#include "google/protobuf/wrappers.pb-c.h"

typedef Envoy__Extensions__Filters__Network__HttpConnectionManager__V3__HttpConnectionManager http_message;

static void closed(struct decode *d, struct mesh_slice *reason, const char *field)
{
	struct mesh_slice note;

	mesh_decode_push(d, field);
	note = mesh_decode_note(d, "not supported");
	mesh_decode_pop(d);
	if (!reason->data)
		*reason = note;
}

static void routes(struct decode *d, const http_message *message, struct http_config *http, struct mesh_slice *reason)
{
	switch (message->route_specifier_case) {
	case ENVOY__EXTENSIONS__FILTERS__NETWORK__HTTP_CONNECTION_MANAGER__V3__HTTP_CONNECTION_MANAGER__ROUTE_SPECIFIER_RDS:
		mesh_decode_push(d, "rds");
		http->route_name = mesh_decode_required(d, "route_config_name", message->rds->route_config_name);
		mesh_decode_pop(d);
		return;
	case ENVOY__EXTENSIONS__FILTERS__NETWORK__HTTP_CONNECTION_MANAGER__V3__HTTP_CONNECTION_MANAGER__ROUTE_SPECIFIER_ROUTE_CONFIG:
		break;
	case ENVOY__EXTENSIONS__FILTERS__NETWORK__HTTP_CONNECTION_MANAGER__V3__HTTP_CONNECTION_MANAGER__ROUTE_SPECIFIER_SCOPED_ROUTES:
		closed(d, reason, "scoped_routes");
		return;
	default:
		mesh_decode_fail_field(d, "route_specifier", "is required");
		return;
	}
	mesh_decode_push(d, "route_config");
	if (d->rc == 0)
		http->inline_routes = mesh_decode_route_config(d, message->route_config);
	mesh_decode_pop(d);
	if (http->inline_routes && mesh_config_object_hold(d->object, &http->inline_routes->object) < 0) {
		mesh_config_object_release(http->inline_routes);
		http->inline_routes = NULL;
		mesh_decode_nomem(d);
	}
}

static enum escaped_slashes escaped_slashes(struct decode *d, int action)
{
	switch (action) {
	case ENVOY__EXTENSIONS__FILTERS__NETWORK__HTTP_CONNECTION_MANAGER__V3__HTTP_CONNECTION_MANAGER__PATH_WITH_ESCAPED_SLASHES_ACTION__IMPLEMENTATION_SPECIFIC_DEFAULT:
	case ENVOY__EXTENSIONS__FILTERS__NETWORK__HTTP_CONNECTION_MANAGER__V3__HTTP_CONNECTION_MANAGER__PATH_WITH_ESCAPED_SLASHES_ACTION__KEEP_UNCHANGED:
		return ESCAPED_SLASHES_KEEP;
	case ENVOY__EXTENSIONS__FILTERS__NETWORK__HTTP_CONNECTION_MANAGER__V3__HTTP_CONNECTION_MANAGER__PATH_WITH_ESCAPED_SLASHES_ACTION__REJECT_REQUEST:
		return ESCAPED_SLASHES_REJECT;
	case ENVOY__EXTENSIONS__FILTERS__NETWORK__HTTP_CONNECTION_MANAGER__V3__HTTP_CONNECTION_MANAGER__PATH_WITH_ESCAPED_SLASHES_ACTION__UNESCAPE_AND_REDIRECT:
		return ESCAPED_SLASHES_UNESCAPE_REDIRECT;
	case ENVOY__EXTENSIONS__FILTERS__NETWORK__HTTP_CONNECTION_MANAGER__V3__HTTP_CONNECTION_MANAGER__PATH_WITH_ESCAPED_SLASHES_ACTION__UNESCAPE_AND_FORWARD:
		return ESCAPED_SLASHES_UNESCAPE_FORWARD;
	default:
		mesh_decode_fail_field(d, "path_with_escaped_slashes_action", "%d: unknown", action);
		return ESCAPED_SLASHES_REJECT;
	}
}

static void client_certificate(struct decode *d, const http_message *message, struct http_config *http,
			       struct mesh_slice *reason)
{
	const Envoy__Extensions__Filters__Network__HttpConnectionManager__V3__HttpConnectionManager__SetCurrentClientCertDetails
		*details = message->set_current_client_cert_details;

	/* The values of the two enums are the same. */
	if ((int)message->forward_client_cert_details < 0 ||
	    (int)message->forward_client_cert_details > FORWARD_CERT_ALWAYS_FORWARD_ONLY)
		mesh_decode_fail_field(d, "forward_client_cert_details", "%d: unknown", (int)message->forward_client_cert_details);
	http->forward_cert = (enum forward_client_cert)message->forward_client_cert_details;
	if (!details)
		return;
	http->xfcc_subject = mesh_decode_bool(details->subject, false);
	http->xfcc_dns = details->dns;
	http->xfcc_uri = details->uri;
	http->xfcc_cert = details->cert;
	http->xfcc_chain = details->chain;
	if (details->format)
		closed(d, reason, "set_current_client_cert_details.format");
}

static void identity(struct decode *d, const http_message *message, struct http_config *http, struct mesh_slice *reason)
{
	client_certificate(d, message, http, reason);
	http->server_name = mesh_decode_text(d, message->server_name[0] ? message->server_name : "envoy");
	if (!mesh_header_value_valid(http->server_name))
		mesh_decode_fail_field(d, "server_name", "not a header value");
	http->server_overwrite =
		message->server_header_transformation ==
		ENVOY__EXTENSIONS__FILTERS__NETWORK__HTTP_CONNECTION_MANAGER__V3__HTTP_CONNECTION_MANAGER__SERVER_HEADER_TRANSFORMATION__OVERWRITE;
	http->use_remote_address = mesh_decode_bool(message->use_remote_address, false);
	http->skip_xff_append = message->skip_xff_append;
	http->xff_trusted_hops = message->xff_num_trusted_hops;
	http->generate_request_id = mesh_decode_bool(message->generate_request_id, true);
	http->preserve_request_id = message->preserve_external_request_id;
	http->proxy_100_continue = message->proxy_100_continue;
	http->strip_host_port = message->strip_matching_host_port;
	if (message->strip_port_mode_case ==
	    ENVOY__EXTENSIONS__FILTERS__NETWORK__HTTP_CONNECTION_MANAGER__V3__HTTP_CONNECTION_MANAGER__STRIP_PORT_MODE_STRIP_ANY_HOST_PORT)
		http->strip_any_host_port = message->strip_any_host_port;
	http->normalize_path = mesh_decode_bool(message->normalize_path, false);
	http->merge_slashes = message->merge_slashes;
	http->escaped_slashes = escaped_slashes(d, (int)message->path_with_escaped_slashes_action);
	if (message->n_original_ip_detection_extensions)
		closed(d, reason, "original_ip_detection_extensions");
	if (message->n_early_header_mutation_extensions)
		closed(d, reason, "early_header_mutation_extensions");
	if (message->path_normalization_options)
		closed(d, reason, "path_normalization_options");
	if (message->strip_trailing_host_dot)
		closed(d, reason, "strip_trailing_host_dot");
	if (message->typed_header_validation_config) /* stands in for normalize_path and the rest above */
		closed(d, reason, "typed_header_validation_config");
}

static void limits(struct decode *d, const http_message *message, struct http_config *http)
{
	const Envoy__Config__Core__V3__HttpProtocolOptions *common = message->common_http_protocol_options;

	http->request_head_kb_max = mesh_decode_u32(message->max_request_headers_kb, 0);
	if (message->max_request_headers_kb && (http->request_head_kb_max == 0 || http->request_head_kb_max > 8192))
		mesh_decode_fail_field(d, "max_request_headers_kb", "%u: must be 1..8192", http->request_head_kb_max);
	http->idle_timeout_ns = -1;
	http->stream_idle_timeout_ns = mesh_decode_duration(d, "stream_idle_timeout", message->stream_idle_timeout, -1);
	http->request_timeout_ns = mesh_decode_duration(d, "request_timeout", message->request_timeout, 0);
	http->request_headers_timeout_ns =
		mesh_decode_duration(d, "request_headers_timeout", message->request_headers_timeout, 0);
	http->drain_timeout_ns = mesh_decode_duration(d, "drain_timeout", message->drain_timeout, -1);
	http->accept_http_10 = message->http_protocol_options && message->http_protocol_options->accept_http_10;
	mesh_decode_http2(d, "http2_protocol_options", message->http2_protocol_options, &http->http2);
	if (message->stream_error_on_invalid_http_message &&
	    !(message->http2_protocol_options &&
	      message->http2_protocol_options->override_stream_error_on_invalid_http_message))
		http->http2.invalid_message_resets_stream = message->stream_error_on_invalid_http_message->value;
	if (!common)
		return;
	mesh_decode_push(d, "common_http_protocol_options");
	http->idle_timeout_ns = mesh_decode_duration(d, "idle_timeout", common->idle_timeout, -1);
	http->connection_duration_max_ns =
		mesh_decode_duration(d, "max_connection_duration", common->max_connection_duration, 0);
	http->stream_duration_max_ns = mesh_decode_duration(d, "max_stream_duration", common->max_stream_duration, 0);
	http->header_count_max = mesh_decode_u32(common->max_headers_count, 0);
	if (common->max_headers_count && http->header_count_max == 0)
		mesh_decode_fail_field(d, "max_headers_count", "0: must be greater than 0");
	http->requests_per_connection_max = mesh_decode_u32(common->max_requests_per_connection, 0);
	http->reject_underscores =
		common->headers_with_underscores_action ==
		ENVOY__CONFIG__CORE__V3__HTTP_PROTOCOL_OPTIONS__HEADERS_WITH_UNDERSCORES_ACTION__REJECT_REQUEST;
	http->drop_underscores = common->headers_with_underscores_action ==
				 ENVOY__CONFIG__CORE__V3__HTTP_PROTOCOL_OPTIONS__HEADERS_WITH_UNDERSCORES_ACTION__DROP_HEADER;
	mesh_decode_pop(d);
}

static enum http_codec codec(struct decode *d, const http_message *message, struct mesh_slice *reason)
{
	switch ((int)message->codec_type) {
	case ENVOY__EXTENSIONS__FILTERS__NETWORK__HTTP_CONNECTION_MANAGER__V3__HTTP_CONNECTION_MANAGER__CODEC_TYPE__AUTO:
		return HTTP_CODEC_AUTO;
	case ENVOY__EXTENSIONS__FILTERS__NETWORK__HTTP_CONNECTION_MANAGER__V3__HTTP_CONNECTION_MANAGER__CODEC_TYPE__HTTP1:
		return HTTP_CODEC_HTTP1;
	case ENVOY__EXTENSIONS__FILTERS__NETWORK__HTTP_CONNECTION_MANAGER__V3__HTTP_CONNECTION_MANAGER__CODEC_TYPE__HTTP2:
		return HTTP_CODEC_HTTP2;
	case ENVOY__EXTENSIONS__FILTERS__NETWORK__HTTP_CONNECTION_MANAGER__V3__HTTP_CONNECTION_MANAGER__CODEC_TYPE__HTTP3:
		closed(d, reason, "codec_type");
		return HTTP_CODEC_AUTO;
	default:
		mesh_decode_fail_field(d, "codec_type", "%d: unknown", (int)message->codec_type);
		return HTTP_CODEC_AUTO;
	}
}

/*
 * Protocols a request may change to. With filters of their own they would pass others than the rules of this connection
 * manager, so such a one is refused, also where a route would enable it.
 */
static void upgrades(struct decode *d, const http_message *message, struct http_config *http)
{
	if (!mesh_decode_count(d, "upgrade_configs", message->n_upgrade_configs, MESH_DECODE_FILTERS))
		return;
	http->upgrades = mesh_decode_array(d, message->n_upgrade_configs, sizeof(*http->upgrades));
	http->closed_upgrades = mesh_decode_array(d, message->n_upgrade_configs, sizeof(*http->closed_upgrades));
	for (size_t i = 0; http->upgrades && http->closed_upgrades && i < message->n_upgrade_configs && d->rc == 0; i++) {
		const Envoy__Extensions__Filters__Network__HttpConnectionManager__V3__HttpConnectionManager__UpgradeConfig
			*upgrade = message->upgrade_configs[i];

		mesh_decode_push_item(d, "upgrade_configs", i);
		if (upgrade->n_filters) {
			mesh_decode_note(d, "\"%.60s\": filters of its own are not supported", upgrade->upgrade_type);
			http->closed_upgrades[http->closed_upgrade_count++] = mesh_decode_lower(d, upgrade->upgrade_type);
		} else if (mesh_decode_bool(upgrade->enabled, true) && upgrade->upgrade_type[0])
			http->upgrades[http->upgrade_count++] = mesh_decode_lower(d, upgrade->upgrade_type);
		mesh_decode_pop(d);
	}
}

static void share(struct decode *d, const char *field, const Envoy__Type__V3__Percent *percent)
{
	if (percent)
		mesh_decode_share(d, field, percent->value);
}

/* What only measures: nothing is sent to a tracer, and a bad value is a bad resource all the same. */
static void tracing(struct decode *d, const http_message *message)
{
	if (!message->tracing)
		return;
	mesh_decode_push(d, "tracing");
	share(d, "client_sampling", message->tracing->client_sampling);
	share(d, "random_sampling", message->tracing->random_sampling);
	share(d, "overall_sampling", message->tracing->overall_sampling);
	mesh_decode_pop(d);
	if (message->tracing->provider)
		mesh_decode_warning(d, "tracing provider of a connection manager: passed over");
}

static void passed_over(struct decode *d, const http_message *message)
{
	const Envoy__Extensions__Filters__Network__HttpConnectionManager__V3__RequestIDExtension *id =
		message->request_id_extension;

	if (id && !mesh_decode_any_is(id->typed_config,
				      &envoy__extensions__request_id__uuid__v3__uuid_request_id_config__descriptor))
		mesh_decode_warning(d, "request_id_extension of another kind than uuid: request ids are uuids all the same");
	if (message->n_access_log)
		mesh_decode_warning(d, "access_log of a connection manager: passed over");
	if (message->local_reply_config)
		mesh_decode_warning(d, "local_reply_config of a connection manager: passed over");
}

struct http_config *mesh_decode_http(struct decode *d, const http_message *message, struct mesh_slice *reason)
{
	struct http_config *http = mesh_decode_array(d, 1, sizeof(*http));

	*reason = mesh_slice_make(NULL, 0);
	if (!http)
		return NULL;
	http->stat_prefix = mesh_decode_text(d, message->stat_prefix); /* istiod's GENERATOR=grpc gives none */
	http->codec = codec(d, message, reason);
	identity(d, message, http, reason);
	limits(d, message, http);
	upgrades(d, message, http);
	routes(d, message, http, reason);
	mesh_decode_http_filters(d, message->n_http_filters, message->http_filters, http);
	tracing(d, message);
	passed_over(d, message);
	if (message->base.n_unknown_fields)
		closed(d, reason, "forward_client_cert_matcher or another unknown field");
	return http;
}
