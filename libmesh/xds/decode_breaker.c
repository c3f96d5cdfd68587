/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a cluster may have in use at once, for requests of either priority, how many connections are made ahead of need, and
 * from where. Decides no more than the defaults, which are Envoy's.
 */
#include "xds/decode.h"

#include "envoy/config/cluster/v3/cluster.pb-c.h"
#include "envoy/config/core/v3/address.pb-c.h"
#include "envoy/config/core/v3/base.pb-c.h"
#include "google/protobuf/wrappers.pb-c.h"

typedef Envoy__Config__Cluster__V3__CircuitBreakers__Thresholds thresholds_message;

static const struct circuit_breaker defaults = {.connections = 1024, .pending = 1024, .requests = 1024, .retries = 3};

static struct circuit_breaker *breaker_of(struct decode *d, const thresholds_message *limits,
					  struct cluster_config *cluster)
{
	int priority = (int)limits->priority;

	if (priority == ENVOY__CONFIG__CORE__V3__ROUTING_PRIORITY__DEFAULT)
		return &cluster->breaker;
	if (priority == ENVOY__CONFIG__CORE__V3__ROUTING_PRIORITY__HIGH)
		return &cluster->breaker_high;
	mesh_decode_fail_field(d, "priority", "%d: unknown", priority);
	return NULL;
}

static void thresholds(struct decode *d, const thresholds_message *limits, struct circuit_breaker *breaker)
{
	breaker->connections = mesh_decode_u32(limits->max_connections, defaults.connections);
	breaker->pending = mesh_decode_u32(limits->max_pending_requests, defaults.pending);
	breaker->requests = mesh_decode_u32(limits->max_requests, defaults.requests);
	breaker->retries = mesh_decode_u32(limits->max_retries, defaults.retries);
	breaker->track_remaining = limits->track_remaining;
	breaker->has_budget = limits->retry_budget != NULL;
	if (!limits->retry_budget)
		return;
	breaker->budget_percent = 20;
	if (limits->retry_budget->budget_percent)
		breaker->budget_percent = mesh_decode_share(d, "retry_budget.budget_percent",
							    limits->retry_budget->budget_percent->value);
	breaker->budget_min = mesh_decode_u32(limits->retry_budget->min_retry_concurrency, 3);
}

static double ratio(struct decode *d, const char *field, const Google__Protobuf__DoubleValue *value)
{
	if (!value)
		return 1;
	if (!(value->value >= 1 && value->value <= 3))
		mesh_decode_fail_field(d, field, "%g: must be from 1 to 3", value->value);
	return value->value;
}

static void preconnect(struct decode *d, const Envoy__Config__Cluster__V3__Cluster__PreconnectPolicy *message,
		       struct cluster_config *cluster)
{
	if (!message)
		return;
	mesh_decode_push(d, "preconnect_policy");
	cluster->preconnect = ratio(d, "per_upstream_preconnect_ratio", message->per_upstream_preconnect_ratio);
	cluster->preconnect_ahead = ratio(d, "predictive_preconnect_ratio", message->predictive_preconnect_ratio);
	mesh_decode_pop(d);
}

/* Where connections come from. More than one such address is for peers of several families, which are not told apart here. */
static void source(struct decode *d, const Envoy__Config__Core__V3__BindConfig *message, struct cluster_config *cluster)
{
	const Envoy__Config__Core__V3__SocketAddress *address = message ? message->source_address : NULL;

	if (!message)
		return;
	mesh_decode_push(d, "upstream_bind_config");
	if (message->n_socket_options)
		mesh_decode_warning(d, "upstream_bind_config.socket_options of a cluster: passed over");
	if (message->n_extra_source_addresses || message->n_additional_source_addresses ||
	    message->local_address_selector)
		mesh_decode_warning(d, "upstream_bind_config.extra_source_addresses of a cluster: passed over");
	cluster->bind_anywhere = mesh_decode_bool(message->freebind, false);
	if (address && mesh_address_parse(&cluster->bind, mesh_slice_of(address->address),
					  mesh_decode_port(d, "source_address.port_value", address->port_value)))
		mesh_decode_fail_field(d, "source_address.address", "\"%.60s\": not an IP address", address->address);
	mesh_decode_pop(d);
}

void mesh_decode_breakers(struct decode *d, const Envoy__Config__Cluster__V3__Cluster *message,
			  struct cluster_config *cluster)
{
	const Envoy__Config__Cluster__V3__CircuitBreakers *breakers = message->circuit_breakers;
	struct circuit_breaker *breaker;

	cluster->breaker = cluster->breaker_high = defaults;
	preconnect(d, message->preconnect_policy, cluster);
	source(d, message->upstream_bind_config, cluster);
	for (size_t i = breakers ? breakers->n_thresholds : 0; i-- > 0;) { /* the first of a priority is in force */
		mesh_decode_push_item(d, "circuit_breakers.thresholds", i);
		breaker = breaker_of(d, breakers->thresholds[i], cluster);
		if (breaker)
			thresholds(d, breakers->thresholds[i], breaker);
		mesh_decode_pop(d);
	}
	for (size_t i = breakers ? breakers->n_per_host_thresholds : 0; i-- > 0;) {
		const thresholds_message *limits = breakers->per_host_thresholds[i];

		mesh_decode_push_item(d, "circuit_breakers.per_host_thresholds", i);
		breaker = breaker_of(d, limits, cluster);
		if (limits->max_pending_requests || limits->max_requests || limits->max_retries ||
		    limits->max_connection_pools || limits->retry_budget)
			mesh_decode_fail(d, "only max_connections may be set");
		if (breaker) {
			breaker->host_limited = limits->max_connections != NULL;
			breaker->host_connections = mesh_decode_u32(limits->max_connections, 0);
		}
		mesh_decode_pop(d);
	}
}
