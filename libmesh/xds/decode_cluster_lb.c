/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a cluster balances and ejects: the old enum and its options, the policy extensions that replace it, panic and
 * locality settings, outlier detection. An unknown policy refuses the cluster by name.
 */
#include "xds/decode.h"

#include <math.h>

#include "envoy/config/cluster/v3/cluster.pb-c.h"
#include "envoy/config/core/v3/base.pb-c.h"
#include "envoy/extensions/load_balancing_policies/client_side_weighted_round_robin/v3/client_side_weighted_round_robin.pb-c.h"
#include "envoy/extensions/load_balancing_policies/least_request/v3/least_request.pb-c.h"
#include "envoy/extensions/load_balancing_policies/random/v3/random.pb-c.h"
#include "envoy/extensions/load_balancing_policies/round_robin/v3/round_robin.pb-c.h"
#include "envoy/extensions/load_balancing_policies/wrr_locality/v3/wrr_locality.pb-c.h"
#include "google/protobuf/any.pb-c.h"
#include "google/protobuf/wrappers.pb-c.h"

typedef Envoy__Config__Cluster__V3__Cluster cluster_message;

static void locality_config(struct decode *d, const Envoy__Extensions__LoadBalancingPolicies__Common__V3__LocalityLbConfig *message,
			    struct cluster_config *cluster)
{
	if (!message)
		return;
	switch (message->locality_config_specifier_case) {
	case ENVOY__EXTENSIONS__LOAD_BALANCING_POLICIES__COMMON__V3__LOCALITY_LB_CONFIG__LOCALITY_CONFIG_SPECIFIER_LOCALITY_WEIGHTED_LB_CONFIG:
		cluster->locality_weighted = true;
		break;
	case ENVOY__EXTENSIONS__LOAD_BALANCING_POLICIES__COMMON__V3__LOCALITY_LB_CONFIG__LOCALITY_CONFIG_SPECIFIER_ZONE_AWARE_LB_CONFIG:
		cluster->fail_traffic_on_panic = message->zone_aware_lb_config->fail_traffic_on_panic;
		break;
	default:
		break;
	}
}

static void choices(struct decode *d, const Google__Protobuf__UInt32Value *count,
		    const Envoy__Config__Core__V3__RuntimeDouble *bias, struct cluster_config *cluster)
{
	cluster->least_request_choices = mesh_decode_u32(count, 2);
	if (cluster->least_request_choices < 2)
		mesh_decode_fail_field(d, "choice_count", "%u: must be 2 or more", cluster->least_request_choices);
	cluster->least_request_bias = bias ? bias->default_value : 1.0;
	if (isnan(cluster->least_request_bias) || cluster->least_request_bias < 0)
		mesh_decode_fail_field(d, "active_request_bias", "must not be negative");
}

static void slow_start(struct decode *d, const Google__Protobuf__Duration *window, struct cluster_config *cluster)
{
	cluster->slow_start_ns = mesh_decode_duration(d, "slow_start_config.slow_start_window", window, 0);
}

static bool policy_list(struct decode *d, const Envoy__Config__Cluster__V3__LoadBalancingPolicy *message,
			struct cluster_config *cluster);

#define ONE_OF(policy, version) envoy__extensions__load_balancing_policies__##policy##__##version##__descriptor

static bool simple_policy(struct decode *d, const Google__Protobuf__Any *any, struct cluster_config *cluster)
{
	if (mesh_decode_any_is(any, &ONE_OF(round_robin__v3, round_robin))) {
		Envoy__Extensions__LoadBalancingPolicies__RoundRobin__V3__RoundRobin *robin;

		robin = mesh_decode_any_open(d, "typed_config", any, &ONE_OF(round_robin__v3, round_robin));
		cluster->lb = LB_ROUND_ROBIN;
		if (robin) {
			locality_config(d, robin->locality_lb_config, cluster);
			slow_start(d, robin->slow_start_config ? robin->slow_start_config->slow_start_window : NULL, cluster);
		}
		mesh_decode_any_close(d);
		return true;
	}
	if (mesh_decode_any_is(any, &ONE_OF(least_request__v3, least_request))) {
		Envoy__Extensions__LoadBalancingPolicies__LeastRequest__V3__LeastRequest *least;

		least = mesh_decode_any_open(d, "typed_config", any, &ONE_OF(least_request__v3, least_request));
		cluster->lb = LB_LEAST_REQUEST;
		if (least) {
			choices(d, least->choice_count, least->active_request_bias, cluster);
			locality_config(d, least->locality_lb_config, cluster);
			slow_start(d, least->slow_start_config ? least->slow_start_config->slow_start_window : NULL, cluster);
		}
		mesh_decode_any_close(d);
		return true;
	}
	if (mesh_decode_any_is(any, &ONE_OF(random__v3, random))) {
		Envoy__Extensions__LoadBalancingPolicies__Random__V3__Random *random;

		random = mesh_decode_any_open(d, "typed_config", any, &ONE_OF(random__v3, random));
		cluster->lb = LB_RANDOM;
		locality_config(d, random ? random->locality_lb_config : NULL, cluster);
		mesh_decode_any_close(d);
		return true;
	}
	return false;
}

static bool policy(struct decode *d, const Envoy__Config__Core__V3__TypedExtensionConfig *extension,
		   struct cluster_config *cluster)
{
	const Google__Protobuf__Any *any = extension->typed_config;
	bool known;

	if (simple_policy(d, any, cluster) || mesh_decode_hashing_policy(d, any, cluster))
		return true;
	if (mesh_decode_any_is(any, &ONE_OF(client_side_weighted_round_robin__v3, client_side_weighted_round_robin))) {
		cluster->lb = LB_ROUND_ROBIN; /* weights from load reports never arrive, and without them it is round robin */
		mesh_decode_warning(d, "client_side_weighted_round_robin: load reports are not read, plain round robin");
		return true;
	}
	if (mesh_decode_any_is(any, &ONE_OF(wrr_locality__v3, wrr_locality))) {
		Envoy__Extensions__LoadBalancingPolicies__WrrLocality__V3__WrrLocality *wrapper;

		wrapper = mesh_decode_any_open(d, "typed_config", any, &ONE_OF(wrr_locality__v3, wrr_locality));
		mesh_decode_push(d, "endpoint_picking_policy");
		known = wrapper && policy_list(d, wrapper->endpoint_picking_policy, cluster);
		mesh_decode_pop(d);
		mesh_decode_any_close(d);
		cluster->locality_weighted = true;
		return known;
	}
	if (mesh_slice_equal(mesh_decode_any_type(any),
			     MESH_SLICE("envoy.extensions.load_balancing_policies.cluster_provided.v3.ClusterProvided"))) {
		cluster->lb = LB_CLUSTER_PROVIDED;
		return true;
	}
	return false;
}

/* The first policy that is known is taken, as Envoy does. */
static bool policy_list(struct decode *d, const Envoy__Config__Cluster__V3__LoadBalancingPolicy *message,
			struct cluster_config *cluster)
{
	const char *name = "";

	for (size_t i = 0; message && i < message->n_policies && d->rc == 0; i++) {
		const Envoy__Config__Core__V3__TypedExtensionConfig *extension = message->policies[i]->typed_extension_config;
		bool known;

		mesh_decode_push_item(d, "policies", i);
		if (!extension)
			mesh_decode_fail_field(d, "typed_extension_config", "is required");
		mesh_decode_push(d, "typed_extension_config");
		known = d->rc == 0 && policy(d, extension, cluster);
		mesh_decode_pop(d);
		mesh_decode_pop(d);
		if (known)
			return true;
		name = extension ? extension->name : "";
	}
	mesh_decode_fail_field(d, "policies", "\"%.100s\": no known load balancing policy", name);
	return false;
}

static void old_policy(struct decode *d, const cluster_message *message, struct cluster_config *cluster)
{
	switch ((int)message->lb_policy) {
	case ENVOY__CONFIG__CLUSTER__V3__CLUSTER__LB_POLICY__ROUND_ROBIN:
		cluster->lb = LB_ROUND_ROBIN;
		break;
	case ENVOY__CONFIG__CLUSTER__V3__CLUSTER__LB_POLICY__LEAST_REQUEST:
		cluster->lb = LB_LEAST_REQUEST;
		break;
	case ENVOY__CONFIG__CLUSTER__V3__CLUSTER__LB_POLICY__RING_HASH:
		cluster->lb = LB_RING_HASH;
		break;
	case ENVOY__CONFIG__CLUSTER__V3__CLUSTER__LB_POLICY__RANDOM:
		cluster->lb = LB_RANDOM;
		break;
	case ENVOY__CONFIG__CLUSTER__V3__CLUSTER__LB_POLICY__MAGLEV:
		cluster->lb = LB_MAGLEV;
		break;
	case ENVOY__CONFIG__CLUSTER__V3__CLUSTER__LB_POLICY__CLUSTER_PROVIDED:
		cluster->lb = LB_CLUSTER_PROVIDED;
		break;
	default:
		mesh_decode_fail_field(d, "lb_policy", "%d: unknown", (int)message->lb_policy);
	}
}

static void old_options(struct decode *d, const cluster_message *message, struct cluster_config *cluster)
{
	switch (message->lb_config_case) {
	case ENVOY__CONFIG__CLUSTER__V3__CLUSTER__LB_CONFIG_LEAST_REQUEST_LB_CONFIG:
		mesh_decode_push(d, "least_request_lb_config");
		choices(d, message->least_request_lb_config->choice_count, message->least_request_lb_config->active_request_bias,
			cluster);
		if (message->least_request_lb_config->slow_start_config)
			slow_start(d, message->least_request_lb_config->slow_start_config->slow_start_window, cluster);
		mesh_decode_pop(d);
		break;
	case ENVOY__CONFIG__CLUSTER__V3__CLUSTER__LB_CONFIG_ROUND_ROBIN_LB_CONFIG:
		mesh_decode_push(d, "round_robin_lb_config");
		if (message->round_robin_lb_config->slow_start_config)
			slow_start(d, message->round_robin_lb_config->slow_start_config->slow_start_window, cluster);
		mesh_decode_pop(d);
		break;
	case ENVOY__CONFIG__CLUSTER__V3__CLUSTER__LB_CONFIG_RING_HASH_LB_CONFIG:
		mesh_decode_ring_hash(d, message->ring_hash_lb_config, cluster);
		break;
	case ENVOY__CONFIG__CLUSTER__V3__CLUSTER__LB_CONFIG_MAGLEV_LB_CONFIG:
		mesh_decode_maglev(d, message->maglev_lb_config, cluster);
		break;
	case ENVOY__CONFIG__CLUSTER__V3__CLUSTER__LB_CONFIG_ORIGINAL_DST_LB_CONFIG:
		if (message->original_dst_lb_config->use_http_header || message->original_dst_lb_config->metadata_key)
			mesh_decode_warning(d, "original_dst_lb_config of a cluster: passed over");
		break;
	default:
		break;
	}
}

/* `typed`: a policy with settings of its own is in force. */
static void common_options(struct decode *d, const Envoy__Config__Cluster__V3__Cluster__CommonLbConfig *message, bool typed,
			   struct cluster_config *cluster)
{
	cluster->panic_percent = 50;
	if (!message)
		return;
	mesh_decode_push(d, "common_lb_config");
	if (message->healthy_panic_threshold)
		cluster->panic_percent =
			mesh_decode_share(d, "healthy_panic_threshold", message->healthy_panic_threshold->value);
	switch (message->locality_config_specifier_case) {
	case ENVOY__CONFIG__CLUSTER__V3__CLUSTER__COMMON_LB_CONFIG__LOCALITY_CONFIG_SPECIFIER_LOCALITY_WEIGHTED_LB_CONFIG:
		cluster->locality_weighted = true;
		break;
	case ENVOY__CONFIG__CLUSTER__V3__CLUSTER__COMMON_LB_CONFIG__LOCALITY_CONFIG_SPECIFIER_ZONE_AWARE_LB_CONFIG:
		cluster->fail_traffic_on_panic = message->zone_aware_lb_config->fail_traffic_on_panic;
		break;
	default:
		break;
	}
	if (!typed)
		mesh_decode_consistent_hashing(d, message->consistent_hashing_lb_config, cluster);
	mesh_decode_pop(d);
}

void mesh_decode_cluster_lb(struct decode *d, const cluster_message *message, struct cluster_config *cluster)
{
	cluster->least_request_choices = 2;
	cluster->least_request_bias = 1.0;
	mesh_decode_hashing_defaults(cluster);
	common_options(d, message->common_lb_config, message->load_balancing_policy != NULL, cluster);
	if (message->load_balancing_policy) {
		mesh_decode_push(d, "load_balancing_policy");
		policy_list(d, message->load_balancing_policy, cluster);
		mesh_decode_pop(d);
	} else {
		old_policy(d, message, cluster);
		old_options(d, message, cluster);
	}
	if (cluster->kind == CLUSTER_ORIGINAL_DST && cluster->lb != LB_CLUSTER_PROVIDED)
		mesh_decode_fail_field(d, "lb_policy", "must be CLUSTER_PROVIDED for type ORIGINAL_DST");
	if (cluster->kind != CLUSTER_ORIGINAL_DST && cluster->kind != CLUSTER_UNSUPPORTED && cluster->lb == LB_CLUSTER_PROVIDED)
		mesh_decode_fail_field(d, "lb_policy", "CLUSTER_PROVIDED is for type ORIGINAL_DST only");
}

static void ejection_times(struct decode *d, const Envoy__Config__Cluster__V3__OutlierDetection *message,
			   struct outlier_config *outlier)
{
	outlier->interval_ns = mesh_decode_duration_positive(d, "interval", message->interval, 10 * MESH_DECODE_NS);
	outlier->base_ejection_ns =
		mesh_decode_duration_positive(d, "base_ejection_time", message->base_ejection_time, 30 * MESH_DECODE_NS);
	outlier->max_ejection_ns =
		mesh_decode_duration_positive(d, "max_ejection_time", message->max_ejection_time, 300 * MESH_DECODE_NS);
	if (outlier->max_ejection_ns < outlier->base_ejection_ns)
		outlier->max_ejection_ns = outlier->base_ejection_ns;
	outlier->max_ejection_jitter_ns =
		mesh_decode_duration(d, "max_ejection_time_jitter", message->max_ejection_time_jitter, 0);
}

void mesh_decode_outlier(struct decode *d, const Envoy__Config__Cluster__V3__OutlierDetection *message,
			 struct outlier_config *outlier)
{
	if (!message)
		return;
	mesh_decode_push(d, "outlier_detection");
	outlier->on = true;
	outlier->consecutive_5xx = mesh_decode_u32(message->consecutive_5xx, 5);
	outlier->consecutive_gateway = mesh_decode_u32(message->consecutive_gateway_failure, 5);
	outlier->consecutive_local = mesh_decode_u32(message->consecutive_local_origin_failure, 5);
	outlier->enforcing_5xx = mesh_decode_percent(d, "enforcing_consecutive_5xx", message->enforcing_consecutive_5xx, 100);
	outlier->enforcing_gateway = mesh_decode_percent(d, "enforcing_consecutive_gateway_failure",
							 message->enforcing_consecutive_gateway_failure, 0);
	outlier->enforcing_local = mesh_decode_percent(d, "enforcing_consecutive_local_origin_failure",
						       message->enforcing_consecutive_local_origin_failure, 100);
	outlier->enforcing_success_rate =
		mesh_decode_percent(d, "enforcing_success_rate", message->enforcing_success_rate, 100);
	outlier->success_rate_minimum_hosts = mesh_decode_u32(message->success_rate_minimum_hosts, 5);
	outlier->success_rate_request_volume = mesh_decode_u32(message->success_rate_request_volume, 100);
	outlier->success_rate_stdev_factor = mesh_decode_u32(message->success_rate_stdev_factor, 1900);
	outlier->enforcing_failure =
		mesh_decode_percent(d, "enforcing_failure_percentage", message->enforcing_failure_percentage, 0);
	outlier->failure_threshold =
		mesh_decode_percent(d, "failure_percentage_threshold", message->failure_percentage_threshold, 85);
	outlier->failure_minimum_hosts = mesh_decode_u32(message->failure_percentage_minimum_hosts, 5);
	outlier->failure_request_volume = mesh_decode_u32(message->failure_percentage_request_volume, 50);
	outlier->max_ejection_percent = mesh_decode_percent(d, "max_ejection_percent", message->max_ejection_percent, 10);
	outlier->split_local = message->split_external_local_origin_errors;
	outlier->always_eject_one = mesh_decode_bool(message->always_eject_one_host, false);
	ejection_times(d, message, outlier);
	mesh_decode_pop(d);
}
