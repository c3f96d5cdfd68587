/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a route sends a request and how: clusters, timeouts, retries, rewrites. What would change where or what is sent
 * and is not understood closes the route; what only adds work beside it is passed over.
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

	if (message->name[0] == '\0' && message->cluster_header[0] != '\0')
		cluster->cluster_header = mesh_decode_lower(d, message->cluster_header);
	else
		cluster->name = mesh_decode_required(d, "name", message->name);
	if (message->name[0] != '\0' && message->cluster_header[0] != '\0')
		mesh_decode_fail_field(d, "cluster_header", "must not be set beside name");
	if (!message->weight)
		mesh_decode_fail_field(d, "weight", "is required");
	cluster->hash = mesh_slice_hash(cluster->name);
	cluster->weight = mesh_decode_u32(message->weight, 0);
	mesh_decode_mutations(d, MESH_DECODE_MUTATIONS(message), &cluster->mutations);
	if (message->host_rewrite_specifier_case ==
	    ENVOY__CONFIG__ROUTE__V3__WEIGHTED_CLUSTER__CLUSTER_WEIGHT__HOST_REWRITE_SPECIFIER_HOST_REWRITE_LITERAL)
		cluster->host_rewrite = authority(d, message->host_rewrite_literal);
	if (message->base.n_unknown_fields)
		closed(d, route, "(unknown field)");
	cluster->subset = mesh_decode_subset(d, message->metadata_match, route->subset);
	for (size_t i = 0; i < message->n_typed_per_filter_config && d->rc == 0; i++)
		mesh_decode_per_filter(d, message->typed_per_filter_config[i]->key, message->typed_per_filter_config[i]->value,
				       &scope);
	cluster->fault = scope.fault;
	cluster->fault_filter = scope.fault_filter;
	cluster->cors = scope.cors;
	cluster->cors_filter = scope.cors_filter;
	if (scope.authz_filter.data)
		closed(d, route, "typed_per_filter_config"); /* authorization by the cluster drawn */
	if (scope.reason.data)
		mesh_decode_route_close(route, scope.reason);
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
	if (message->random_value_specifier_case == ENVOY__CONFIG__ROUTE__V3__WEIGHTED_CLUSTER__RANDOM_VALUE_SPECIFIER_HEADER_NAME)
		route->weighted_header = mesh_decode_lower(d, message->header_name);
	else if (message->random_value_specifier_case ==
		 ENVOY__CONFIG__ROUTE__V3__WEIGHTED_CLUSTER__RANDOM_VALUE_SPECIFIER_USE_HASH_POLICY)
		route->weighted_by_hash = mesh_decode_bool(message->use_hash_policy, false);
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

void mesh_decode_substitution(struct decode *d, const char *field,
			      const Envoy__Type__Matcher__V3__RegexMatchAndSubstitute *message, struct regex **regex,
			      struct mesh_slice *with, struct route *route)
{
	struct buf tried;
	int rc;

	mesh_decode_push(d, field);
	mesh_decode_push(d, "pattern");
	*regex = mesh_decode_regex(d, message->pattern);
	mesh_decode_pop(d);
	*with = mesh_decode_text(d, message->substitution);
	mesh_buf_init(&tried, d->mem, 0);
	rc = *regex ? mesh_regex_replace(*regex, MESH_SLICE(""), *with, &tried) : 0;
	mesh_buf_free(&tried);
	if (rc == MESH_ERROR_NOMEM)
		mesh_decode_nomem(d);
	else if (rc < 0) /* of a group that is not there, say: every request would fail */
		closed(d, route, "substitution");
	mesh_decode_pop(d);
}

static void path_rewrite(struct decode *d, const action_message *message, const Envoy__Config__Route__V3__RouteMatch *match,
			 struct route *route)
{
	const Envoy__Config__Core__V3__TypedExtensionConfig *policy =
		match && match->path_specifier_case ==
				 ENVOY__CONFIG__ROUTE__V3__ROUTE_MATCH__PATH_SPECIFIER_PATH_MATCH_POLICY
			? match->path_match_policy
			: NULL;
	struct mesh_slice literal;

	if ((message->prefix_rewrite[0] != '\0') + (message->regex_rewrite != NULL) + (message->path_rewrite_policy != NULL) +
		    (message->path_rewrite[0] != '\0') >
	    1)
		mesh_decode_fail_field(d, "regex_rewrite",
				       "only one of prefix_rewrite, regex_rewrite, path_rewrite_policy and path_rewrite");
	if (message->prefix_rewrite[0] != '\0' && policy)
		mesh_decode_fail_field(d, "prefix_rewrite", "must not be set beside path_match_policy");
	route->has_prefix_rewrite = message->prefix_rewrite[0] != '\0';
	route->prefix_rewrite = mesh_decode_text(d, message->prefix_rewrite);
	if (route->prefix_rewrite.data && !mesh_header_value_valid(route->prefix_rewrite))
		mesh_decode_fail_field(d, "prefix_rewrite", "\"%.60s\": not a header value", message->prefix_rewrite);
	if (message->regex_rewrite)
		mesh_decode_substitution(d, "regex_rewrite", message->regex_rewrite, &route->regex_rewrite,
					 &route->regex_rewrite_with, route);
	if (message->path_rewrite_policy &&
	    !mesh_decode_uri_rewrite(d, message->path_rewrite_policy, policy, route))
		closed(d, route, "path_rewrite_policy");
	if (message->path_rewrite[0] != '\0') {
		route->path_format = mesh_decode_format(d, "path_rewrite", mesh_slice_of(message->path_rewrite), &literal);
		if (!route->path_format)
			route->path_format = mesh_decode_whole(d, literal);
	}
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
	case ENVOY__CONFIG__ROUTE__V3__ROUTE_ACTION__HOST_REWRITE_SPECIFIER_HOST_REWRITE_HEADER:
		route->host_rewrite_header = mesh_decode_lower(d, message->host_rewrite_header);
		break;
	case ENVOY__CONFIG__ROUTE__V3__ROUTE_ACTION__HOST_REWRITE_SPECIFIER_HOST_REWRITE_PATH_REGEX:
		mesh_decode_substitution(d, "host_rewrite_path_regex", message->host_rewrite_path_regex,
					 &route->host_rewrite_regex, &route->host_rewrite_with, route);
		break;
	case ENVOY__CONFIG__ROUTE__V3__ROUTE_ACTION__HOST_REWRITE_SPECIFIER_HOST_REWRITE:
		route->host_format = mesh_decode_format(d, "host_rewrite", mesh_slice_of(message->host_rewrite),
							&route->host_rewrite);
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
	if (message->cors)
		mesh_decode_warning(d, "cors of a route: passed over");
}

void mesh_decode_route_action(struct decode *d, const action_message *message,
			      const Envoy__Config__Route__V3__RouteMatch *match, const struct route_scope *scope,
			      struct route *route)
{
	mesh_decode_push(d, "route");
	route->kind = ROUTE_CLUSTER;
	route->subset = mesh_decode_subset(d, message->metadata_match, NULL);
	destination(d, message, route);
	route->timeout_ns = mesh_decode_duration(d, "timeout", message->timeout, -1);
	route->idle_timeout_ns = mesh_decode_duration(d, "idle_timeout", message->idle_timeout, -1);
	stream_limits(d, message, route);
	upgrades(d, message, route);
	mesh_decode_hash_policies(d, message->n_hash_policy, message->hash_policy, &route->hash_policies,
				  &route->hash_policy_count);
	route->retry = mesh_decode_retry_any(d, message->retry_policy, message->retry_policy_typed_config);
	route->hedge = mesh_decode_hedge(d, message->hedge_policy);
	route->high_priority = message->priority == ENVOY__CONFIG__CORE__V3__ROUTING_PRIORITY__HIGH;
	path_rewrite(d, message, match, route);
	host_rewrite(d, message, route);
	route->mirrors = mesh_decode_mirrors(d, message->n_request_mirror_policies, message->request_mirror_policies,
					     scope->mirrors);
	route->internal_redirect = mesh_decode_internal_redirect(d, message);
	passed_over(d, message);
	if (message->n_rate_limits)
		closed(d, route, "rate_limits");
	if (message->base.n_unknown_fields)
		closed(d, route, "(unknown field)");
	mesh_decode_pop(d);
}
