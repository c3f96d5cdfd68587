/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a route sends a request and how: clusters, timeouts, retries, rewrites. What would change where or what is sent
 * and is not understood closes the route; what only adds work beside it (mirrors) is passed over.
 */
#include "xds/decode.h"

#include <mesh/error.h>

#include "base/header.h"
#include "envoy/config/core/v3/base.pb-c.h"
#include "envoy/config/route/v3/route_components.pb-c.h"
#include "envoy/type/matcher/v3/regex.pb-c.h"
#include "google/protobuf/wrappers.pb-c.h"

typedef Envoy__Config__Route__V3__RouteAction action_message;

static void closed(struct decode *d, struct route *route, const char *field)
{
	struct mesh_slice reason;

	mesh_decode_push(d, field);
	reason = mesh_decode_note(d, "not supported");
	mesh_decode_pop(d);
	mesh_decode_route_close(route, reason);
}

static struct mesh_slice authority(struct decode *d, const char *text)
{
	struct mesh_slice host = mesh_decode_text(d, text);

	if (host.data && !mesh_header_value_valid(host))
		mesh_decode_fail_field(d, "host_rewrite_literal", "\"%.60s\": not a header value", text);
	return host;
}

static void weighted_cluster(struct decode *d, const Envoy__Config__Route__V3__WeightedCluster__ClusterWeight *message,
			     struct route *route, struct weighted_cluster *cluster)
{
	struct route_scope scope = {0};
	struct mesh_slice reason = {NULL, 0};

	if (message->name[0] == '\0' && message->cluster_header[0] != '\0')
		closed(d, route, "cluster_header");
	else
		cluster->name = mesh_decode_required(d, "name", message->name);
	cluster->hash = mesh_slice_hash(cluster->name);
	cluster->weight = mesh_decode_u32(message->weight, 0);
	mesh_decode_mutations(d, MESH_DECODE_MUTATIONS(message), &cluster->mutations, &reason);
	if (message->host_rewrite_specifier_case ==
	    ENVOY__CONFIG__ROUTE__V3__WEIGHTED_CLUSTER__CLUSTER_WEIGHT__HOST_REWRITE_SPECIFIER_HOST_REWRITE_LITERAL)
		cluster->host_rewrite = authority(d, message->host_rewrite_literal);
	if (message->base.n_unknown_fields)
		closed(d, route, "(unknown field)");
	cluster->has_subset = message->metadata_match != NULL;
	if (cluster->has_subset)
		mesh_decode_warning(d, "metadata_match of a weighted cluster: passed over");
	for (size_t i = 0; i < message->n_typed_per_filter_config && d->rc == 0; i++)
		mesh_decode_per_filter(d, message->typed_per_filter_config[i]->key, message->typed_per_filter_config[i]->value,
				       &scope);
	cluster->fault = scope.fault;
	cluster->fault_filter = scope.fault_filter;
	cluster->cors = scope.cors;
	cluster->cors_filter = scope.cors_filter;
	if (scope.authz_filter.data)
		closed(d, route, "typed_per_filter_config"); /* authorization by the cluster drawn */
	if (scope.reason.data || reason.data)
		mesh_decode_route_close(route, scope.reason.data ? scope.reason : reason);
}

static void weighted_clusters(struct decode *d, const Envoy__Config__Route__V3__WeightedCluster *message, struct route *route)
{
	uint64_t total = 0;

	mesh_decode_push(d, "weighted_clusters");
	if (message->n_clusters == 0)
		mesh_decode_fail_field(d, "clusters", "must not be empty");
	route->weighted = mesh_decode_array(d, message->n_clusters, sizeof(*route->weighted));
	route->weighted_count = route->weighted ? message->n_clusters : 0;
	for (size_t i = 0; i < route->weighted_count && d->rc == 0; i++) {
		mesh_decode_push_item(d, "clusters", i);
		weighted_cluster(d, message->clusters[i], route, &route->weighted[i]);
		mesh_decode_pop(d);
		total += route->weighted[i].weight;
	}
	if (d->rc == 0 && (total == 0 || total > UINT32_MAX))
		mesh_decode_fail_field(d, "clusters", "the sum of weights is %llu: must be within 1..%u",
				       (unsigned long long)total, UINT32_MAX);
	route->weighted_total = (uint32_t)total;
	if (message->base.n_unknown_fields)
		closed(d, route, "(unknown field)");
	if (message->random_value_specifier_case != ENVOY__CONFIG__ROUTE__V3__WEIGHTED_CLUSTER__RANDOM_VALUE_SPECIFIER__NOT_SET)
		mesh_decode_warning(d, "random_value_specifier of weighted clusters: passed over, drawn at random");
	mesh_decode_pop(d);
}

static void destination(struct decode *d, const action_message *message, struct route *route)
{
	switch (message->cluster_specifier_case) {
	case ENVOY__CONFIG__ROUTE__V3__ROUTE_ACTION__CLUSTER_SPECIFIER_CLUSTER:
		route->cluster = mesh_decode_required(d, "cluster", message->cluster);
		route->cluster_hash = mesh_slice_hash(route->cluster);
		break;
	case ENVOY__CONFIG__ROUTE__V3__ROUTE_ACTION__CLUSTER_SPECIFIER_CLUSTER_HEADER:
		mesh_decode_required(d, "cluster_header", message->cluster_header);
		route->cluster_header = mesh_decode_lower(d, message->cluster_header);
		break;
	case ENVOY__CONFIG__ROUTE__V3__ROUTE_ACTION__CLUSTER_SPECIFIER_WEIGHTED_CLUSTERS:
		weighted_clusters(d, message->weighted_clusters, route);
		break;
	case ENVOY__CONFIG__ROUTE__V3__ROUTE_ACTION__CLUSTER_SPECIFIER_CLUSTER_SPECIFIER_PLUGIN:
	case ENVOY__CONFIG__ROUTE__V3__ROUTE_ACTION__CLUSTER_SPECIFIER_INLINE_CLUSTER_SPECIFIER_PLUGIN:
		closed(d, route, "cluster_specifier_plugin");
		break;
	default:
		if (message->base.n_unknown_fields == 0)
			mesh_decode_fail_field(d, "cluster_specifier", "is required");
	}
	switch ((int)message->cluster_not_found_response_code) {
	case ENVOY__CONFIG__ROUTE__V3__ROUTE_ACTION__CLUSTER_NOT_FOUND_RESPONSE_CODE__NOT_FOUND:
		route->cluster_not_found_status = 404;
		break;
	case ENVOY__CONFIG__ROUTE__V3__ROUTE_ACTION__CLUSTER_NOT_FOUND_RESPONSE_CODE__INTERNAL_SERVER_ERROR:
		route->cluster_not_found_status = 500;
		break;
	default:
		route->cluster_not_found_status = 503;
	}
}

static void regex_rewrite(struct decode *d, const Envoy__Type__Matcher__V3__RegexMatchAndSubstitute *message,
			  struct route *route)
{
	struct buf tried;
	int rc;

	mesh_decode_push(d, "regex_rewrite");
	mesh_decode_push(d, "pattern");
	route->regex_rewrite = mesh_decode_regex(d, message->pattern);
	mesh_decode_pop(d);
	route->regex_rewrite_with = mesh_decode_text(d, message->substitution);
	mesh_buf_init(&tried, d->mem, 0);
	rc = route->regex_rewrite ? mesh_regex_replace(route->regex_rewrite, MESH_SLICE(""), route->regex_rewrite_with, &tried)
				  : 0;
	mesh_buf_free(&tried);
	if (rc == MESH_ERROR_NOMEM)
		mesh_decode_nomem(d);
	else if (rc < 0) /* of a group that is not there, say: every request would fail */
		closed(d, route, "substitution");
	mesh_decode_pop(d);
}

static void path_rewrite(struct decode *d, const action_message *message, struct route *route)
{
	if (message->prefix_rewrite[0] != '\0' && message->regex_rewrite)
		mesh_decode_fail_field(d, "regex_rewrite", "must not be set beside prefix_rewrite");
	route->has_prefix_rewrite = message->prefix_rewrite[0] != '\0';
	route->prefix_rewrite = mesh_decode_text(d, message->prefix_rewrite);
	if (route->prefix_rewrite.data && !mesh_header_value_valid(route->prefix_rewrite))
		mesh_decode_fail_field(d, "prefix_rewrite", "\"%.60s\": not a header value", message->prefix_rewrite);
	if (message->regex_rewrite)
		regex_rewrite(d, message->regex_rewrite, route);
	if (message->path_rewrite_policy)
		closed(d, route, "path_rewrite_policy");
	if (message->path_rewrite[0] != '\0')
		closed(d, route, "path_rewrite");
}

static void host_rewrite(struct decode *d, const action_message *message, struct route *route)
{
	route->append_forwarded_host = message->append_x_forwarded_host;
	switch (message->host_rewrite_specifier_case) {
	case ENVOY__CONFIG__ROUTE__V3__ROUTE_ACTION__HOST_REWRITE_SPECIFIER__NOT_SET:
		break;
	case ENVOY__CONFIG__ROUTE__V3__ROUTE_ACTION__HOST_REWRITE_SPECIFIER_HOST_REWRITE_LITERAL:
		route->host_rewrite = authority(d, message->host_rewrite_literal);
		break;
	case ENVOY__CONFIG__ROUTE__V3__ROUTE_ACTION__HOST_REWRITE_SPECIFIER_AUTO_HOST_REWRITE:
		route->auto_host_rewrite = mesh_decode_bool(message->auto_host_rewrite, false);
		break;
	default:
		closed(d, route, "host_rewrite_specifier");
	}
}

static void stream_limits(struct decode *d, const action_message *message, struct route *route)
{
	const Envoy__Config__Route__V3__RouteAction__MaxStreamDuration *limits = message->max_stream_duration;

	route->has_stream_limits = limits != NULL;
	route->max_stream_duration_ns = -1;
	if (!limits) {
		route->grpc_timeout_max_ns = mesh_decode_duration(d, "max_grpc_timeout", message->max_grpc_timeout, -1);
		route->grpc_timeout_offset_ns = mesh_decode_duration(d, "grpc_timeout_offset", message->grpc_timeout_offset, 0);
		return;
	}
	mesh_decode_push(d, "max_stream_duration");
	route->max_stream_duration_ns = mesh_decode_duration(d, "max_stream_duration", limits->max_stream_duration, -1);
	route->grpc_timeout_max_ns = mesh_decode_duration(d, "grpc_timeout_header_max", limits->grpc_timeout_header_max, -1);
	route->grpc_timeout_offset_ns =
		mesh_decode_duration(d, "grpc_timeout_header_offset", limits->grpc_timeout_header_offset, 0);
	mesh_decode_pop(d);
}

/* Protocols that requests of this route may, or may not, change to whatever the listener says. */
static void upgrades(struct decode *d, const action_message *message, struct route *route)
{
	if (!message->n_upgrade_configs ||
	    !mesh_decode_count(d, "upgrade_configs", message->n_upgrade_configs, MESH_DECODE_FILTERS))
		return;
	route->upgrades = mesh_decode_array(d, message->n_upgrade_configs, sizeof(*route->upgrades));
	for (size_t i = 0; route->upgrades && i < message->n_upgrade_configs && d->rc == 0; i++) {
		const Envoy__Config__Route__V3__RouteAction__UpgradeConfig *upgrade = message->upgrade_configs[i];
		struct route_upgrade *own = &route->upgrades[route->upgrade_count++];

		own->protocol = mesh_decode_lower(d, upgrade->upgrade_type);
		own->allowed = mesh_decode_bool(upgrade->enabled, true);
		for (size_t j = 0; j + 1 < route->upgrade_count; j++)
			if (mesh_slice_equal(route->upgrades[j].protocol, own->protocol))
				mesh_decode_fail_field(d, "upgrade_configs", "\"%.60s\": twice", upgrade->upgrade_type);
		if (upgrade->connect_config)
			mesh_decode_warning(d, "connect_config of a route: passed over");
	}
}

static void passed_over(struct decode *d, const action_message *message)
{
	if (message->n_request_mirror_policies)
		mesh_decode_warning(d, "request_mirror_policies of a route: passed over");
	if (message->metadata_match)
		mesh_decode_warning(d, "metadata_match of a route: passed over");
	if (message->cors)
		mesh_decode_warning(d, "cors of a route: passed over");
	if (message->hedge_policy)
		mesh_decode_warning(d, "hedge_policy of a route: passed over");
	if (message->internal_redirect_policy || message->internal_redirect_action)
		mesh_decode_warning(d, "internal_redirect_policy of a route: passed over");
	if (message->retry_policy_typed_config)
		mesh_decode_warning(d, "retry_policy_typed_config of a route: passed over");
}

void mesh_decode_route_action(struct decode *d, const action_message *message, struct route *route)
{
	mesh_decode_push(d, "route");
	route->kind = ROUTE_CLUSTER;
	destination(d, message, route);
	route->timeout_ns = mesh_decode_duration(d, "timeout", message->timeout, -1);
	route->idle_timeout_ns = mesh_decode_duration(d, "idle_timeout", message->idle_timeout, -1);
	stream_limits(d, message, route);
	upgrades(d, message, route);
	mesh_decode_hash_policies(d, message->n_hash_policy, message->hash_policy, route);
	route->retry = mesh_decode_retry(d, message->retry_policy);
	path_rewrite(d, message, route);
	host_rewrite(d, message, route);
	passed_over(d, message);
	if (message->n_rate_limits)
		closed(d, route, "rate_limits");
	if (message->base.n_unknown_fields)
		closed(d, route, "(unknown field)");
	mesh_decode_pop(d);
}
