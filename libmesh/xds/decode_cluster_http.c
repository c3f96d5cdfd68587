/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The HTTP side of a cluster: which protocol goes out, its settings and the limits of its connections, from the typed
 * extension or, when that is absent, from the older fields beside it.
 */
#include "xds/decode.h"

#include "envoy/config/cluster/v3/cluster.pb-c.h"
#include "envoy/config/core/v3/protocol.pb-c.h"
#include "envoy/extensions/upstreams/http/v3/http_protocol_options.pb-c.h"
#include "google/protobuf/any.pb-c.h"
#include "google/protobuf/wrappers.pb-c.h"

typedef Envoy__Extensions__Upstreams__Http__V3__HttpProtocolOptions http_options;

static void connections(struct decode *d, const Envoy__Config__Core__V3__HttpProtocolOptions *message,
			struct cluster_config *cluster)
{
	cluster->idle_timeout_ns = -1;
	if (!message)
		return;
	mesh_decode_push(d, "common_http_protocol_options");
	cluster->idle_timeout_ns = mesh_decode_duration(d, "idle_timeout", message->idle_timeout, -1);
	cluster->connection_duration_max_ns =
		mesh_decode_duration(d, "max_connection_duration", message->max_connection_duration, 0);
	cluster->requests_per_connection_max = mesh_decode_u32(message->max_requests_per_connection, 0);
	cluster->header_count_max = mesh_decode_u32(message->max_headers_count, 0);
	if (message->max_headers_count && cluster->header_count_max == 0)
		mesh_decode_fail_field(d, "max_headers_count", "0: must be greater than 0");
	mesh_decode_pop(d);
}

/*
 * Server names and peer names from the request's host concern every TLS of the cluster. A name to check without roots to
 * check it by would be no check: such a choice is unusable.
 */
static void automatic_names(struct decode *d, const Envoy__Config__Core__V3__UpstreamHttpProtocolOptions *message,
			    struct cluster_config *cluster)
{
	bool noted = false;

	if (!message || !(message->auto_sni || message->auto_san_validation))
		return;
	mesh_decode_push(d, "upstream_http_protocol_options");
	cluster->names.header = mesh_decode_lower(d, message->override_auto_sni_header);
	mesh_decode_push(d, "auto_san_validation");
	for (size_t i = 0; i <= cluster->match_count; i++) {
		struct transport_choice *choice = i < cluster->match_count ? &cluster->matches[i] : &cluster->fallback;

		if (!choice->tls)
			continue;
		choice->tls->upstream_auto_sni |= message->auto_sni;
		choice->tls->upstream_auto_san |= message->auto_san_validation;
		cluster->names.wanted = true;
		if (!message->auto_san_validation || choice->tls->roots_name.data)
			continue;
		choice->unsupported = true;
		if (!noted)
			mesh_decode_note(d, "a name to check without roots to check it by");
		noted = true;
	}
	mesh_decode_pop(d);
	mesh_decode_pop(d);
}

static void unusable(struct decode *d, struct cluster_config *cluster, const char *field, const char *what)
{
	mesh_decode_push(d, field);
	mesh_decode_note(d, "%s", what);
	mesh_decode_pop(d);
	cluster->kind = CLUSTER_UNSUPPORTED;
}

static void protocol(struct decode *d, const http_options *message, struct cluster_config *cluster)
{
	const Envoy__Extensions__Upstreams__Http__V3__HttpProtocolOptions__ExplicitHttpConfig *explicit;

	switch (message->upstream_protocol_options_case) {
	case ENVOY__EXTENSIONS__UPSTREAMS__HTTP__V3__HTTP_PROTOCOL_OPTIONS__UPSTREAM_PROTOCOL_OPTIONS_EXPLICIT_HTTP_CONFIG:
		explicit = message->explicit_http_config;
		switch (explicit->protocol_config_case) {
		case ENVOY__EXTENSIONS__UPSTREAMS__HTTP__V3__HTTP_PROTOCOL_OPTIONS__EXPLICIT_HTTP_CONFIG__PROTOCOL_CONFIG_HTTP_PROTOCOL_OPTIONS:
			cluster->protocol = UPSTREAM_HTTP1;
			return;
		case ENVOY__EXTENSIONS__UPSTREAMS__HTTP__V3__HTTP_PROTOCOL_OPTIONS__EXPLICIT_HTTP_CONFIG__PROTOCOL_CONFIG_HTTP2_PROTOCOL_OPTIONS:
			cluster->protocol = UPSTREAM_HTTP2;
			mesh_decode_http2(d, "explicit_http_config.http2_protocol_options",
					  explicit->http2_protocol_options, &cluster->http2);
			return;
		case ENVOY__EXTENSIONS__UPSTREAMS__HTTP__V3__HTTP_PROTOCOL_OPTIONS__EXPLICIT_HTTP_CONFIG__PROTOCOL_CONFIG_HTTP3_PROTOCOL_OPTIONS:
			unusable(d, cluster, "explicit_http_config.http3_protocol_options", "HTTP/3 is not supported");
			return;
		default:
			mesh_decode_fail_field(d, "explicit_http_config", "a protocol is required");
			return;
		}
	case ENVOY__EXTENSIONS__UPSTREAMS__HTTP__V3__HTTP_PROTOCOL_OPTIONS__UPSTREAM_PROTOCOL_OPTIONS_USE_DOWNSTREAM_PROTOCOL_CONFIG:
		cluster->protocol = UPSTREAM_DOWNSTREAM;
		mesh_decode_http2(d, "use_downstream_protocol_config.http2_protocol_options",
				  message->use_downstream_protocol_config->http2_protocol_options, &cluster->http2);
		return;
	case ENVOY__EXTENSIONS__UPSTREAMS__HTTP__V3__HTTP_PROTOCOL_OPTIONS__UPSTREAM_PROTOCOL_OPTIONS_AUTO_CONFIG:
		cluster->protocol = UPSTREAM_AUTO;
		mesh_decode_http2(d, "auto_config.http2_protocol_options", message->auto_config->http2_protocol_options,
				  &cluster->http2);
		return;
	default:
		mesh_decode_fail_field(d, "upstream_protocol_options", "is required");
	}
}

static void upstream_filters(struct decode *d, const http_options *message, struct cluster_config *cluster)
{
	if (message->n_request_mirror_policies)
		mesh_decode_warning(d, "request_mirror_policies of a cluster: passed over");
	for (size_t i = 0; i < message->n_http_filters && d->rc == 0; i++) {
		const Envoy__Extensions__Filters__Network__HttpConnectionManager__V3__HttpFilter *filter =
			message->http_filters[i];
		bool typed =
			filter->config_type_case ==
			ENVOY__EXTENSIONS__FILTERS__NETWORK__HTTP_CONNECTION_MANAGER__V3__HTTP_FILTER__CONFIG_TYPE_TYPED_CONFIG;

		if (mesh_slice_equal(mesh_decode_any_type(typed ? filter->typed_config : NULL),
				     MESH_SLICE("envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec")))
			continue;
		mesh_decode_push_item(d, "http_filters", i);
		if (filter->is_optional)
			mesh_decode_warning(d, "optional upstream HTTP filter \"%.80s\": passed over", filter->name);
		else
			unusable(d, cluster, "typed_config", "unknown upstream HTTP filter");
		mesh_decode_pop(d);
	}
}

static void typed_options(struct decode *d, const Google__Protobuf__Any *any, struct cluster_config *cluster)
{
	http_options *message;

	message = mesh_decode_any_open(d, "value", any,
				       &envoy__extensions__upstreams__http__v3__http_protocol_options__descriptor);
	if (message) {
		connections(d, message->common_http_protocol_options, cluster);
		automatic_names(d, message->upstream_http_protocol_options, cluster);
		protocol(d, message, cluster);
		upstream_filters(d, message, cluster);
	}
	mesh_decode_any_close(d);
}

void mesh_decode_cluster_http(struct decode *d, const Envoy__Config__Cluster__V3__Cluster *message,
			      struct cluster_config *cluster)
{
	const char *name = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
	bool downstream = message->protocol_selection ==
			  ENVOY__CONFIG__CLUSTER__V3__CLUSTER__CLUSTER_PROTOCOL_SELECTION__USE_DOWNSTREAM_PROTOCOL;

	connections(d, message->common_http_protocol_options, cluster);
	automatic_names(d, message->upstream_http_protocol_options, cluster);
	if (message->max_requests_per_connection)
		cluster->requests_per_connection_max = message->max_requests_per_connection->value;
	cluster->protocol = downstream ? UPSTREAM_DOWNSTREAM : message->http2_protocol_options ? UPSTREAM_HTTP2 : UPSTREAM_HTTP1;
	mesh_decode_http2(d, "http2_protocol_options", message->http2_protocol_options, &cluster->http2);
	for (size_t i = 0; i < message->n_typed_extension_protocol_options && d->rc == 0; i++) {
		const Envoy__Config__Cluster__V3__Cluster__TypedExtensionProtocolOptionsEntry *entry =
			message->typed_extension_protocol_options[i];

		mesh_decode_push_key(d, "typed_extension_protocol_options", entry->key);
		if (strcmp(entry->key, name) == 0)
			typed_options(d, entry->value, cluster);
		else
			mesh_decode_warning(d, "typed_extension_protocol_options \"%.100s\": passed over", entry->key);
		mesh_decode_pop(d);
	}
}
