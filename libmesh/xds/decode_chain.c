/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One filter chain: how its connections are secured, and whether HTTP or bytes come of them. A network filter that is not
 * understood closes the chain: every connection that takes it is ended at once.
 */
#include "xds/decode.h"

#include "base/header.h"
#include "envoy/config/core/v3/base.pb-c.h"
#include "envoy/config/listener/v3/listener_components.pb-c.h"
#include "envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager.pb-c.h"
#include "envoy/extensions/filters/network/rbac/v3/rbac.pb-c.h"
#include "envoy/extensions/filters/network/tcp_proxy/v3/tcp_proxy.pb-c.h"
#include "envoy/type/v3/hash_policy.pb-c.h"
#include "google/protobuf/any.pb-c.h"
#include "google/protobuf/wrappers.pb-c.h"

#define BLACK_HOLE "BlackHoleCluster"

typedef Envoy__Config__Listener__V3__Filter filter_message;
typedef Envoy__Extensions__Filters__Network__TcpProxy__V3__TcpProxy tcp_message;
typedef Envoy__Extensions__Filters__Network__TcpProxy__V3__TcpProxy__TunnelingConfig tunnel_message;

void mesh_decode_chain_close(struct chain *chain, struct mesh_slice reason)
{
	chain->kind = CHAIN_FAIL_CLOSED;
	if (!chain->reason.data)
		chain->reason = reason;
}

static void rbac(struct decode *d, const Google__Protobuf__Any *any, struct chain *chain)
{
	struct authz_config *authz = &chain->authz[chain->authz_count];
	Envoy__Extensions__Filters__Network__Rbac__V3__RBAC *message;

	message = mesh_decode_any_open(d, "typed_config", any, &envoy__extensions__filters__network__rbac__v3__rbac__descriptor);
	if (message) {
		chain->authz_count++;
		authz->rules = mesh_decode_authz(d, "rules", message->rules, false);
		authz->shadow = mesh_decode_authz(d, "shadow_rules", message->shadow_rules, true);
		authz->stat_prefix = mesh_decode_required(d, "stat_prefix", message->stat_prefix);
		authz->shadow_prefix = mesh_decode_text(d, message->shadow_rules_stat_prefix);
		if (message->base.n_unknown_fields) {
			mesh_decode_note(d, "matcher or another unknown field: not supported");
			authz->rules = mesh_decode_authz_refuse(d);
		}
	}
	mesh_decode_any_close(d);
}

static void tcp_clusters(struct decode *d, const tcp_message *message, struct chain *chain)
{
	uint64_t total = 0;
	size_t n;

	switch (message->cluster_specifier_case) {
	case ENVOY__EXTENSIONS__FILTERS__NETWORK__TCP_PROXY__V3__TCP_PROXY__CLUSTER_SPECIFIER_CLUSTER:
		chain->tcp_cluster = mesh_decode_required(d, "cluster", message->cluster);
		return;
	case ENVOY__EXTENSIONS__FILTERS__NETWORK__TCP_PROXY__V3__TCP_PROXY__CLUSTER_SPECIFIER_WEIGHTED_CLUSTERS:
		break;
	default:
		mesh_decode_fail_field(d, "cluster_specifier", "is required");
		return;
	}
	mesh_decode_push(d, "weighted_clusters");
	n = message->weighted_clusters->n_clusters;
	chain->tcp_weighted = mesh_decode_array(d, n, sizeof(*chain->tcp_weighted));
	chain->tcp_weighted_count = chain->tcp_weighted ? n : 0;
	for (size_t i = 0; i < chain->tcp_weighted_count && d->rc == 0; i++) {
		struct weighted_cluster *cluster = &chain->tcp_weighted[i];

		mesh_decode_push_item(d, "clusters", i);
		cluster->name = mesh_decode_required(d, "name", message->weighted_clusters->clusters[i]->name);
		cluster->hash = mesh_slice_hash(cluster->name);
		cluster->weight = message->weighted_clusters->clusters[i]->weight;
		if (cluster->weight == 0)
			mesh_decode_fail_field(d, "weight", "0: must be greater than 0");
		total += cluster->weight;
		mesh_decode_pop(d);
	}
	if (d->rc == 0 && (total == 0 || total > UINT32_MAX))
		mesh_decode_fail_field(d, "clusters", "the sum of weights must be within 1..%u", UINT32_MAX);
	chain->tcp_weighted_total = (uint32_t)total;
	mesh_decode_pop(d);
}

static void tcp_hash(struct decode *d, const tcp_message *message, struct chain *chain)
{
	if (!message->n_hash_policy)
		return;
	switch (message->hash_policy[0]->policy_specifier_case) {
	case ENVOY__TYPE__V3__HASH_POLICY__POLICY_SPECIFIER_SOURCE_IP:
		chain->tcp_hash_source = true;
		break;
	case ENVOY__TYPE__V3__HASH_POLICY__POLICY_SPECIFIER_FILTER_STATE:
		mesh_decode_warning(d, "hash_policy of a TCP proxy by filter_state: passed over");
		break;
	default:
		mesh_decode_fail_field(d, "hash_policy[0].policy_specifier", "is required");
	}
}

static void tcp_limits(struct decode *d, const tcp_message *message, struct chain *chain)
{
	chain->tcp_connect_attempts = mesh_decode_u32(message->max_connect_attempts, 1);
	if (!chain->tcp_connect_attempts)
		mesh_decode_fail_field(d, "max_connect_attempts", "0: must be greater than 0");
	chain->tcp_idle_timeout_ns = mesh_decode_duration(d, "idle_timeout", message->idle_timeout, -1);
	chain->tcp_duration_max_ns =
		mesh_decode_duration(d, "max_downstream_connection_duration", message->max_downstream_connection_duration, 0);
	if (mesh_decode_count(d, "hash_policy", message->n_hash_policy, 1)) /* as Envoy */
		tcp_hash(d, message, chain);
	if (message->metadata_match)
		mesh_decode_warning(d, "metadata_match of a TCP proxy: passed over");
}

/* Texts of it may stand for facts of the connection ("%..%"): those that do are not understood. */
static bool plain_text(const char *text)
{
	return text && text[0] && mesh_header_value_valid(mesh_slice_of(text)) && !strchr(text, '%');
}

static bool tunnel_headers(struct decode *d, const tunnel_message *message, struct tunnel_config *tunnel)
{
	tunnel->headers = mesh_decode_array(d, message->n_headers_to_add, sizeof(*tunnel->headers));
	tunnel->header_count = tunnel->headers ? message->n_headers_to_add : 0;
	for (size_t i = 0; i < tunnel->header_count; i++) {
		const Envoy__Config__Core__V3__HeaderValue *header = message->headers_to_add[i]->header;

		if (!header || !mesh_header_name_valid(mesh_slice_of(header->key)) || !plain_text(header->value) ||
		    header->raw_value.len || message->headers_to_add[i]->append_action)
			return false;
		tunnel->headers[i].name = mesh_decode_lower(d, header->key);
		tunnel->headers[i].value = mesh_decode_text(d, header->value);
	}
	return true;
}

static void tunnel(struct decode *d, const tunnel_message *message, struct chain *chain)
{
	struct tunnel_config *tunnel = mesh_decode_array(d, 1, sizeof(*tunnel));
	const char *what = NULL;

	if (!tunnel || !mesh_decode_count(d, "tunneling_config.headers_to_add", message->n_headers_to_add, MESH_DECODE_FILTERS))
		return;
	tunnel->target = mesh_decode_required(d, "tunneling_config.hostname", message->hostname);
	if (message->use_post || message->post_path[0])
		what = "tunneling_config.use_post: not supported";
	else if (!plain_text(message->hostname) || !mesh_header_word_valid(mesh_slice_of(message->hostname)))
		what = "tunneling_config.hostname: only plain text is supported";
	else if (!tunnel_headers(d, message, tunnel))
		what = "tunneling_config.headers_to_add: only plain text is supported";
	else if (message->request_id_extension || message->n_formatters || message->base.n_unknown_fields)
		what = "tunneling_config: request_id_extension, formatters or an unknown field: not supported";
	if (what && d->rc == 0)
		mesh_decode_chain_close(chain, mesh_decode_note(d, "%s", what));
	chain->tunnel = tunnel;
}

static void tcp_proxy(struct decode *d, const Google__Protobuf__Any *any, struct chain *chain)
{
	tcp_message *message;

	message = mesh_decode_any_open(d, "typed_config", any,
				       &envoy__extensions__filters__network__tcp_proxy__v3__tcp_proxy__descriptor);
	if (message) {
		chain->kind = chain->kind == CHAIN_FAIL_CLOSED ? CHAIN_FAIL_CLOSED : CHAIN_TCP;
		chain->tcp_stat_prefix = mesh_decode_required(d, "stat_prefix", message->stat_prefix);
		tcp_clusters(d, message, chain);
		tcp_limits(d, message, chain);
		if (chain->kind == CHAIN_TCP && mesh_slice_equal(chain->tcp_cluster, MESH_SLICE(BLACK_HOLE)))
			chain->kind = CHAIN_BLACKHOLE;
		if (message->tunneling_config)
			tunnel(d, message->tunneling_config, chain);
		if (message->on_demand)
			mesh_decode_chain_close(chain, mesh_decode_note(d, "on_demand: not supported"));
		if (message->n_access_log)
			mesh_decode_warning(d, "access_log of a TCP proxy: passed over");
	}
	mesh_decode_any_close(d);
}

void mesh_decode_chain_http(struct decode *d, const Google__Protobuf__Any *any, struct chain *chain)
{
	Envoy__Extensions__Filters__Network__HttpConnectionManager__V3__HttpConnectionManager *message;
	struct mesh_slice reason;

	message = mesh_decode_any_open(
		d, "typed_config", any,
		&envoy__extensions__filters__network__http_connection_manager__v3__http_connection_manager__descriptor);
	if (message) {
		chain->kind = chain->kind == CHAIN_FAIL_CLOSED ? CHAIN_FAIL_CLOSED : CHAIN_HTTP;
		chain->http = mesh_decode_http(d, message, &reason);
		if (reason.data)
			mesh_decode_chain_close(chain, reason);
	}
	mesh_decode_any_close(d);
}

/* True: the filter ends the chain. */
static bool network_filter(struct decode *d, const filter_message *message, struct chain *chain)
{
	bool typed = message->config_type_case == ENVOY__CONFIG__LISTENER__V3__FILTER__CONFIG_TYPE_TYPED_CONFIG;
	const Google__Protobuf__Any *any = typed ? message->typed_config : NULL;
	const Google__Protobuf__Struct *body;
	struct mesh_slice type = mesh_decode_typed_struct_open(d, any, &body);

	mesh_decode_required(d, "name", message->name);
	if (!type.data)
		type = mesh_decode_any_type(any);
	if (mesh_slice_equal(type, MESH_SLICE("envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"))) {
		mesh_decode_chain_http(d, any, chain);
		return true;
	}
	if (mesh_slice_equal(type, MESH_SLICE("envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"))) {
		tcp_proxy(d, any, chain);
		return true;
	}
	if (mesh_slice_equal(type, MESH_SLICE("envoy.extensions.filters.network.rbac.v3.RBAC")))
		rbac(d, any, chain);
	else if (mesh_slice_equal(type, MESH_SLICE("envoy.tcp.metadataexchange.config.MetadataExchange"))) {
		chain->metadata_exchange = true;
		chain->metadata_exchange_protocol = mesh_decode_exchange_protocol(d, body);
	} else if (mesh_slice_equal(type, MESH_SLICE("envoy.extensions.filters.network.mongo_proxy.v3.MongoProxy")))
		/* istiod's default for a port named mongo: it only counts what passes */
		mesh_decode_warning(d, "mongo_proxy: its statistics are not kept");
	else if (!mesh_slice_equal(type, MESH_SLICE("stats.PluginConfig")))
		mesh_decode_chain_close(chain, mesh_decode_note(d, "\"%.60s\" (%.*s): unknown network filter", message->name,
								(int)(type.len < 100 ? type.len : 100), type.data));
	return false;
}

static void network_filters(struct decode *d, const Envoy__Config__Listener__V3__FilterChain *message, struct chain *chain)
{
	bool ended = false;

	if (!mesh_decode_count(d, "filters", message->n_filters, MESH_DECODE_FILTERS))
		return;
	if (message->n_filters == 0 && chain->kind != CHAIN_FAIL_CLOSED)
		chain->kind = CHAIN_BLACKHOLE; /* Envoy closes a connection that no filter takes */
	chain->authz = mesh_decode_array(d, message->n_filters, sizeof(*chain->authz));
	for (size_t i = 0; i < message->n_filters && d->rc == 0; i++) {
		mesh_decode_push_item(d, "filters", i);
		if (ended)
			mesh_decode_fail(d, "after a filter that ends the chain");
		ended = network_filter(d, message->filters[i], chain);
		mesh_decode_pop(d);
	}
	if (d->rc == 0 && message->n_filters > 0 && !ended && chain->kind != CHAIN_FAIL_CLOSED)
		mesh_decode_fail_field(d, "filters", "the last one must be a connection manager or a TCP proxy");
}

void mesh_decode_chain(struct decode *d, const Envoy__Config__Listener__V3__FilterChain *message, struct chain *chain)
{
	struct mesh_slice reason;

	chain->name = mesh_decode_text(d, message->name);
	mesh_decode_chain_match(d, message->filter_chain_match, chain);
	network_filters(d, message, chain);
	chain->tls = mesh_decode_transport(d, "transport_socket", message->transport_socket, false, &reason);
	if (reason.data)
		mesh_decode_chain_close(chain, reason);
	chain->transport_timeout_ns =
		mesh_decode_duration(d, "transport_socket_connect_timeout", message->transport_socket_connect_timeout, 0);
	if (mesh_decode_bool(message->use_proxy_proto, false))
		mesh_decode_chain_close(chain, mesh_decode_note(d, "use_proxy_proto: not supported"));
	if (message->base.n_unknown_fields)
		mesh_decode_chain_close(chain, mesh_decode_note(d, "unknown field: not supported"));
}
