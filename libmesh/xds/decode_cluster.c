/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Clusters: where the endpoints come from, how to connect, limits and ejection. A cluster whose kind or filters are not
 * understood stays in force as one that no call can use, so that nothing is sent where it was not meant to go.
 */
#include "xds/decode.h"

#include "envoy/config/cluster/v3/cluster.pb-c.h"
#include "envoy/config/core/v3/base.pb-c.h"
#include "google/protobuf/any.pb-c.h"
#include "google/protobuf/struct.pb-c.h"
#include "google/protobuf/wrappers.pb-c.h"

typedef Envoy__Config__Cluster__V3__Cluster cluster_message;

static enum cluster_kind cluster_kind(struct decode *d, const cluster_message *message)
{
	int type = (int)message->type;
	enum cluster_kind kind = CLUSTER_UNSUPPORTED;

	if (message->cluster_discovery_type_case == ENVOY__CONFIG__CLUSTER__V3__CLUSTER__CLUSTER_DISCOVERY_TYPE_CLUSTER_TYPE) {
		mesh_decode_push(d, "cluster_type");
		mesh_decode_required(d, "name", message->cluster_type->name);
		if (!mesh_decode_dns_kind(d, message->cluster_type->typed_config, &kind))
			mesh_decode_note(d, "\"%.100s\": unknown cluster type", message->cluster_type->name);
		mesh_decode_pop(d);
		return kind;
	}
	if (message->cluster_discovery_type_case != ENVOY__CONFIG__CLUSTER__V3__CLUSTER__CLUSTER_DISCOVERY_TYPE_TYPE)
		return CLUSTER_STATIC; /* the value 0 of the enum */
	switch (type) {
	case ENVOY__CONFIG__CLUSTER__V3__CLUSTER__DISCOVERY_TYPE__STATIC:
		return CLUSTER_STATIC;
	case ENVOY__CONFIG__CLUSTER__V3__CLUSTER__DISCOVERY_TYPE__STRICT_DNS:
		return CLUSTER_STRICT_DNS;
	case ENVOY__CONFIG__CLUSTER__V3__CLUSTER__DISCOVERY_TYPE__LOGICAL_DNS:
		return CLUSTER_LOGICAL_DNS;
	case ENVOY__CONFIG__CLUSTER__V3__CLUSTER__DISCOVERY_TYPE__EDS:
		return CLUSTER_EDS;
	case ENVOY__CONFIG__CLUSTER__V3__CLUSTER__DISCOVERY_TYPE__ORIGINAL_DST:
		return CLUSTER_ORIGINAL_DST;
	default:
		mesh_decode_fail_field(d, "type", "%d: unknown", type);
		return CLUSTER_UNSUPPORTED;
	}
}

/* As Envoy, which takes the one endpoint as of the first priority, whatever is written. */
static void logical(struct decode *d, struct endpoint_set *set)
{
	if (set->endpoint_count != 1 || set->count != 1) {
		mesh_decode_fail(d, "must have one locality with one endpoint for type LOGICAL_DNS");
		return;
	}
	set->localities[0].priority = 0;
	set->priority_count = 1;
}

static void discovery(struct decode *d, const cluster_message *message, struct cluster_config *cluster)
{
	const Envoy__Config__Cluster__V3__Cluster__EdsClusterConfig *eds = message->eds_cluster_config;
	bool names = cluster->kind == CLUSTER_STRICT_DNS || cluster->kind == CLUSTER_LOGICAL_DNS;

	if (cluster->kind == CLUSTER_EDS) {
		if (!eds || !eds->eds_config)
			mesh_decode_fail_field(d, "eds_cluster_config.eds_config", "is required for type EDS");
		cluster->eds_name = mesh_decode_text(d, eds ? eds->service_name : "");
		if (!cluster->eds_name.data)
			cluster->eds_name = cluster->object.item.name;
		return;
	}
	if (eds)
		mesh_decode_fail_field(d, "eds_cluster_config", "must not be set but for type EDS");
	if (!names && cluster->kind != CLUSTER_STATIC)
		return;
	mesh_decode_push(d, "load_assignment");
	if (d->rc == 0)
		cluster->inline_endpoints =
			mesh_decode_assignment(d, message->load_assignment, cluster->object.item.name, names);
	if (cluster->inline_endpoints &&
	    mesh_config_object_hold(&cluster->object, &cluster->inline_endpoints->object) < 0) {
		mesh_config_object_release(cluster->inline_endpoints);
		mesh_decode_nomem(d);
	} else if (cluster->inline_endpoints && cluster->kind == CLUSTER_LOGICAL_DNS) {
		logical(d, cluster->inline_endpoints);
	}
	mesh_decode_pop(d);
}

static void transport_choice(struct decode *d, const char *name, const Google__Protobuf__Struct *match,
			     const Envoy__Config__Core__V3__TransportSocket *socket, struct transport_choice *choice)
{
	struct mesh_slice reason;

	choice->name = mesh_decode_text(d, name);
	mesh_decode_push(d, "match");
	choice->match = mesh_decode_labels(d, match, &choice->match_count);
	mesh_decode_pop(d);
	if (!socket) /* left out it would be a raw one */
		mesh_decode_fail_field(d, "transport_socket", "is required");
	choice->tls = mesh_decode_transport(d, "transport_socket", socket, true, &reason);
	choice->unsupported = reason.data != NULL;
}

static void transports(struct decode *d, const cluster_message *message, struct cluster_config *cluster)
{
	struct mesh_slice reason;
	size_t count = message->n_transport_socket_matches;

	cluster->matches = mesh_decode_array(d, count, sizeof(*cluster->matches));
	cluster->match_count = cluster->matches ? count : 0;
	for (size_t i = 0; i < cluster->match_count && d->rc == 0; i++) {
		const Envoy__Config__Cluster__V3__Cluster__TransportSocketMatch *match = message->transport_socket_matches[i];

		mesh_decode_push_item(d, "transport_socket_matches", i);
		mesh_decode_required(d, "name", match->name);
		transport_choice(d, match->name, match->match, match->transport_socket, &cluster->matches[i]);
		mesh_decode_pop(d);
	}
	cluster->fallback.name = mesh_decode_text(d, message->transport_socket ? message->transport_socket->name : "");
	cluster->fallback.tls = mesh_decode_transport(d, "transport_socket", message->transport_socket, true, &reason);
	cluster->fallback.unsupported = reason.data != NULL;
}

static void istio_metadata(struct decode *d, const cluster_message *message, struct cluster_config *cluster)
{
	const Google__Protobuf__Struct *istio = mesh_decode_metadata(message->metadata, "istio");
	const Google__Protobuf__Value *services = mesh_decode_struct_get(istio, "services");
	const Google__Protobuf__Value *first = NULL;
	const char *alpn = mesh_decode_value_text(mesh_decode_struct_get(istio, "alpn_override"));
	const char *host, *name, *scope;

	cluster->alpn_override = !alpn || strcmp(alpn, "false") != 0;
	if (services && services->kind_case == GOOGLE__PROTOBUF__VALUE__KIND_LIST_VALUE && services->list_value->n_values > 0)
		first = services->list_value->values[0];
	if (!first || first->kind_case != GOOGLE__PROTOBUF__VALUE__KIND_STRUCT_VALUE)
		return;
	host = mesh_decode_value_text(mesh_decode_struct_get(first->struct_value, "host"));
	name = mesh_decode_value_text(mesh_decode_struct_get(first->struct_value, "name"));
	scope = mesh_decode_value_text(mesh_decode_struct_get(first->struct_value, "namespace"));
	cluster->metadata_istio_services = mesh_arena_printf(&d->object->arena, "%s;%s;%s", host ? host : "", name ? name : "",
							     scope ? scope : "");
	if (!cluster->metadata_istio_services.data)
		mesh_decode_nomem(d);
}

static void keepalive(struct decode *d, const Envoy__Config__Cluster__V3__UpstreamConnectionOptions *message,
		      struct cluster_config *cluster)
{
	const Envoy__Config__Core__V3__TcpKeepalive *keepalive = message ? message->tcp_keepalive : NULL;

	if (!keepalive)
		return;
	cluster->tcp_keepalive = true;
	cluster->tcp_keepalive_probes = mesh_decode_u32(keepalive->keepalive_probes, 0);
	cluster->tcp_keepalive_time_s = mesh_decode_u32(keepalive->keepalive_time, 0);
	cluster->tcp_keepalive_interval_s = mesh_decode_u32(keepalive->keepalive_interval, 0);
}

/* Network filters on the way out: Istio's own is known, any other would be left out silently. */
static void filters(struct decode *d, const cluster_message *message, struct cluster_config *cluster)
{
	for (size_t i = 0; i < message->n_filters && d->rc == 0; i++) {
		const Envoy__Config__Cluster__V3__Filter *filter = message->filters[i];
		const Google__Protobuf__Struct *body;
		struct mesh_slice type;

		mesh_decode_push_item(d, "filters", i);
		mesh_decode_required(d, "name", filter->name);
		type = mesh_decode_typed_struct_open(d, filter->typed_config, &body);
		if (!type.data)
			type = mesh_decode_any_type(filter->typed_config);
		if (mesh_slice_equal(type, MESH_SLICE("envoy.tcp.metadataexchange.config.MetadataExchange"))) {
			cluster->metadata_exchange = true;
			cluster->metadata_exchange_protocol = mesh_decode_exchange_protocol(d, body);
		} else {
			mesh_decode_note(d, "\"%.80s\" (%.*s): unknown filter", filter->name, (int)type.len, type.data);
			cluster->kind = CLUSTER_UNSUPPORTED;
		}
		mesh_decode_pop(d);
	}
}

static void passed_over(struct decode *d, const cluster_message *message)
{
	if (message->upstream_config)
		mesh_decode_warning(d, "upstream_config of a cluster: passed over");
}

static void cluster_fields(struct decode *d, const cluster_message *message, struct cluster_config *cluster)
{
	cluster->hash = mesh_slice_hash(cluster->object.item.name);
	cluster->kind = cluster_kind(d, message);
	cluster->connect_timeout_ns =
		mesh_decode_duration_positive(d, "connect_timeout", message->connect_timeout, 5 * MESH_DECODE_NS);
	discovery(d, message, cluster);
	mesh_decode_cluster_dns(d, message, cluster);
	mesh_decode_cluster_lb(d, message, cluster);
	mesh_decode_original_dst(d, message, cluster);
	transports(d, message, cluster);
	mesh_decode_breakers(d, message, cluster);
	mesh_decode_outlier(d, message->outlier_detection, &cluster->outlier);
	mesh_decode_cluster_http(d, message, cluster);
	mesh_decode_health_checks(d, message->n_health_checks, message->health_checks, cluster);
	keepalive(d, message->upstream_connection_options, cluster);
	istio_metadata(d, message, cluster);
	filters(d, message, cluster);
	passed_over(d, message);
	cluster->close_on_health_failure = message->close_connections_on_host_health_failure;
	cluster->ignore_health_on_removal = message->ignore_health_on_host_removal;
	if (message->base.n_unknown_fields > 0) { /* one of them chooses the transport socket */
		mesh_decode_note(d, "transport_socket_matcher or another unknown field: not supported");
		cluster->kind = CLUSTER_UNSUPPORTED;
	}
}

struct cluster_config *mesh_decode_cluster(struct decode *d, struct mesh_slice bytes)
{
	struct cluster_config *cluster = NULL;
	cluster_message *message;

	mesh_decode_begin(d);
	message = mesh_decode_unpack(d, bytes, &envoy__config__cluster__v3__cluster__descriptor);
	if (message && message->name[0] == '\0')
		mesh_decode_fail_field(d, "name", "must not be empty");
	if (message && d->rc == 0) {
		cluster = mesh_config_object_new(d->mem, sizeof(*cluster), mesh_slice_of(message->name));
		if (!cluster)
			mesh_decode_nomem(d);
	}
	if (cluster) {
		d->object = &cluster->object;
		cluster_fields(d, message, cluster);
		cluster->stat_name = mesh_decode_text(d, message->alt_stat_name);
	}
	return mesh_decode_end(d, cluster);
}
