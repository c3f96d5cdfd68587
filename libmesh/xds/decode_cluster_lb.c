/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a cluster balances and ejects: the old enum and its options, the policy extensions that replace it, panic and
 * locality settings. An unknown policy refuses the cluster by name.
 */
#include "xds/decode.h"

#include <math.h>

#include "envoy/config/cluster/v3/cluster.pb-c.h"
#include "envoy/config/core/v3/base.pb-c.h"
#include "envoy/extensions/load_balancing_policies/client_side_weighted_round_robin/v3/client_side_weighted_round_robin.pb-c.h"
#include "envoy/extensions/load_balancing_policies/least_request/v3/least_request.pb-c.h"
#include "envoy/extensions/load_balancing_policies/override_host/v3/override_host.pb-c.h"
#include "contrib/envoy/extensions/load_balancing_policies/peak_ewma/v3alpha/peak_ewma.pb-c.h"
#include "envoy/extensions/load_balancing_policies/random/v3/random.pb-c.h"
#include "envoy/extensions/load_balancing_policies/round_robin/v3/round_robin.pb-c.h"
#include "envoy/extensions/load_balancing_policies/subset/v3/subset.pb-c.h"
#include "envoy/extensions/load_balancing_policies/wrr_locality/v3/wrr_locality.pb-c.h"
#include "envoy/type/v3/percent.pb-c.h"
#include "google/protobuf/any.pb-c.h"
#include "google/protobuf/wrappers.pb-c.h"

typedef Envoy__Config__Cluster__V3__Cluster cluster_message;

typedef Envoy__Extensions__LoadBalancingPolicies__Common__V3__LocalityLbConfig typed_locality;

/* Envoy rounds it to a whole number. */
static void zone_basics(struct decode *d, const Envoy__Type__V3__Percent *routing, const Google__Protobuf__UInt64Value *size,
			struct zone_config *zone)
{
	double percent = routing ? mesh_decode_share(d, "zone_aware_lb_config.routing_enabled", routing->value) : 100;

	zone->on = true;
	zone->routing_percent = (uint32_t)(percent + 0.5);
	zone->min_cluster_size = size ? size->value : 6;
}

static void zone_config(struct decode *d, const Envoy__Extensions__LoadBalancingPolicies__Common__V3__LocalityLbConfig__ZoneAwareLbConfig *message,
			struct cluster_config *cluster)
{
	struct zone_config *zone = &cluster->balance.zone;

	zone_basics(d, message->routing_enabled, message->min_cluster_size, zone);
	cluster->fail_traffic_on_panic = message->fail_traffic_on_panic;
	zone->force_local = message->force_local_zone || message->force_locality_direct_routing;
	zone->force_min = message->force_local_zone ? mesh_decode_u32(message->force_local_zone->min_size, 1) : 1;
	switch ((int)message->locality_basis) {
	case ENVOY__EXTENSIONS__LOAD_BALANCING_POLICIES__COMMON__V3__LOCALITY_LB_CONFIG__ZONE_AWARE_LB_CONFIG__LOCALITY_BASIS__HEALTHY_HOSTS_NUM:
		break;
	case ENVOY__EXTENSIONS__LOAD_BALANCING_POLICIES__COMMON__V3__LOCALITY_LB_CONFIG__ZONE_AWARE_LB_CONFIG__LOCALITY_BASIS__HEALTHY_HOSTS_WEIGHT:
		zone->by_weight = true;
		break;
	default:
		mesh_decode_fail_field(d, "zone_aware_lb_config.locality_basis", "%d: unknown", (int)message->locality_basis);
	}
}

static void locality_config(struct decode *d, const typed_locality *message, struct cluster_config *cluster)
{
	if (!message)
		return;
	mesh_decode_push(d, "locality_lb_config");
	switch (message->locality_config_specifier_case) {
	case ENVOY__EXTENSIONS__LOAD_BALANCING_POLICIES__COMMON__V3__LOCALITY_LB_CONFIG__LOCALITY_CONFIG_SPECIFIER_LOCALITY_WEIGHTED_LB_CONFIG:
		cluster->locality_weighted = true;
		break;
	case ENVOY__EXTENSIONS__LOAD_BALANCING_POLICIES__COMMON__V3__LOCALITY_LB_CONFIG__LOCALITY_CONFIG_SPECIFIER_ZONE_AWARE_LB_CONFIG:
		zone_config(d, message->zone_aware_lb_config, cluster);
		break;
	default:
		break;
	}
	mesh_decode_pop(d);
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

static void selection(struct decode *d, const Envoy__Extensions__LoadBalancingPolicies__LeastRequest__V3__LeastRequest *least,
		      struct cluster_config *cluster)
{
	switch ((int)least->selection_method) {
	case ENVOY__EXTENSIONS__LOAD_BALANCING_POLICIES__LEAST_REQUEST__V3__LEAST_REQUEST__SELECTION_METHOD__N_CHOICES:
		cluster->balance.full_scan = false;
		break;
	case ENVOY__EXTENSIONS__LOAD_BALANCING_POLICIES__LEAST_REQUEST__V3__LEAST_REQUEST__SELECTION_METHOD__FULL_SCAN:
		cluster->balance.full_scan = true;
		break;
	default:
		mesh_decode_fail_field(d, "selection_method", "%d: unknown", (int)least->selection_method);
	}
	cluster->balance.full_scan |= mesh_decode_bool(least->enable_full_scan, false); /* the older name of it */
}

/* The old and the new message have the same fields. An aggression that is none is 1, as in Envoy. */
static void slow_start(struct decode *d, const Google__Protobuf__Duration *window,
		       const Envoy__Config__Core__V3__RuntimeDouble *aggression, const Envoy__Type__V3__Percent *least,
		       struct cluster_config *cluster)
{
	struct slow_start_config *config = &cluster->balance.slow_start;
	double wanted = aggression ? aggression->default_value : 1;

	mesh_decode_push(d, "slow_start_config");
	config->window_ns = mesh_decode_duration(d, "slow_start_window", window, 0);
	config->least = least ? mesh_decode_share(d, "min_weight_percent", least->value) / 100 : 0.1;
	if (isnan(wanted) || wanted <= 0)
		mesh_decode_warning(d, "aggression of a slow_start_config is not above 0: taken as 1");
	else
		config->aggression = wanted;
	mesh_decode_pop(d);
}

#define SLOW_START(d, message, cluster) \
	do { \
		if (message) \
			slow_start(d, (message)->slow_start_window, (message)->aggression, (message)->min_weight_percent, \
				   cluster); \
	} while (0)

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
			SLOW_START(d, robin->slow_start_config, cluster);
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
			SLOW_START(d, least->slow_start_config, cluster);
			selection(d, least, cluster);
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

static bool peak_ewma(struct decode *d, const Google__Protobuf__Any *any, struct cluster_config *cluster)
{
	Envoy__Extensions__LoadBalancingPolicies__PeakEwma__V3alpha__PeakEwma *peak;
	struct ewma_config *ewma = &cluster->balance.ewma;

	if (!mesh_decode_any_is(any, &ONE_OF(peak_ewma__v3alpha, peak_ewma)))
		return false;
	peak = mesh_decode_any_open(d, "typed_config", any, &ONE_OF(peak_ewma__v3alpha, peak_ewma));
	cluster->lb = LB_LEAST_REQUEST;
	ewma->on = true;
	if (peak) {
		ewma->decay_ns = mesh_decode_duration_positive(d, "decay_time", peak->decay_time, 10 * MESH_DECODE_NS);
		ewma->unknown_ns = mesh_decode_duration_positive(d, "default_rtt", peak->default_rtt, MESH_DECODE_NS / 100);
	}
	mesh_decode_any_close(d);
	return true;
}

/* Policies that choose something and leave the endpoint to another one. */
static bool outer_policy(struct decode *d, const Google__Protobuf__Any *any, struct cluster_config *cluster, bool *known)
{
	if (mesh_decode_any_is(any, &ONE_OF(subset__v3, subset))) {
		Envoy__Extensions__LoadBalancingPolicies__Subset__V3__Subset *subset;

		subset = mesh_decode_any_open(d, "typed_config", any, &ONE_OF(subset__v3, subset));
		if (cluster->balance.subset)
			mesh_decode_fail(d, "subsets of subsets: not supported");
		mesh_decode_push(d, "subset_lb_policy");
		*known = subset && policy_list(d, subset->subset_lb_policy, cluster);
		mesh_decode_pop(d);
		if (subset && d->rc == 0)
			mesh_decode_subset_policy(d, any, subset->allow_redundant_keys, cluster);
		mesh_decode_any_close(d);
		return true;
	}
	if (mesh_decode_any_is(any, &ONE_OF(override_host__v3, override_host))) {
		Envoy__Extensions__LoadBalancingPolicies__OverrideHost__V3__OverrideHost *outer;

		outer = mesh_decode_any_open(d, "typed_config", any, &ONE_OF(override_host__v3, override_host));
		mesh_decode_warning(d, "override_host: no request names its endpoint here, the fallback_policy balances all");
		mesh_decode_push(d, "fallback_policy");
		*known = outer && policy_list(d, outer->fallback_policy, cluster);
		mesh_decode_pop(d);
		mesh_decode_any_close(d);
		return true;
	}
	return false;
}

static bool policy(struct decode *d, const Envoy__Config__Core__V3__TypedExtensionConfig *extension,
		   struct cluster_config *cluster)
{
	const Google__Protobuf__Any *any = extension->typed_config;
	bool known = false;

	if (simple_policy(d, any, cluster) || mesh_decode_hashing_policy(d, any, cluster) || peak_ewma(d, any, cluster))
		return true;
	if (outer_policy(d, any, cluster, &known))
		return known;
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
		SLOW_START(d, message->least_request_lb_config->slow_start_config, cluster);
		mesh_decode_pop(d);
		break;
	case ENVOY__CONFIG__CLUSTER__V3__CLUSTER__LB_CONFIG_ROUND_ROBIN_LB_CONFIG:
		mesh_decode_push(d, "round_robin_lb_config");
		SLOW_START(d, message->round_robin_lb_config->slow_start_config, cluster);
		mesh_decode_pop(d);
		break;
	case ENVOY__CONFIG__CLUSTER__V3__CLUSTER__LB_CONFIG_RING_HASH_LB_CONFIG:
		mesh_decode_ring_hash(d, message->ring_hash_lb_config, cluster);
		break;
	case ENVOY__CONFIG__CLUSTER__V3__CLUSTER__LB_CONFIG_MAGLEV_LB_CONFIG:
		mesh_decode_maglev(d, message->maglev_lb_config, cluster);
		break;
	case ENVOY__CONFIG__CLUSTER__V3__CLUSTER__LB_CONFIG_ORIGINAL_DST_LB_CONFIG:
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
		zone_basics(d, message->zone_aware_lb_config->routing_enabled, message->zone_aware_lb_config->min_cluster_size,
			    &cluster->balance.zone);
		cluster->fail_traffic_on_panic = message->zone_aware_lb_config->fail_traffic_on_panic;
		break;
	default:
		break;
	}
	cluster->ignore_unchecked = message->ignore_new_hosts_until_first_hc;
	cluster->close_on_set_change = message->close_connections_on_host_set_change;
	if (!typed)
		mesh_decode_consistent_hashing(d, message->consistent_hashing_lb_config, cluster);
	mesh_decode_pop(d);
}

/* What a policy with settings of its own says must not be said elsewhere too, as in Envoy. */
static void check_combination(struct decode *d, const cluster_message *message)
{
	const Envoy__Config__Cluster__V3__Cluster__CommonLbConfig *common = message->common_lb_config;

	if (message->lb_subset_config)
		mesh_decode_fail_field(d, "lb_subset_config", "cannot be combined with load_balancing_policy");
	if (common && (common->locality_config_specifier_case || common->consistent_hashing_lb_config))
		mesh_decode_fail_field(d, "common_lb_config",
				       "zone_aware_lb_config, locality_weighted_lb_config and consistent_hashing_lb_config "
				       "cannot be combined with load_balancing_policy");
}

void mesh_decode_cluster_lb(struct decode *d, const cluster_message *message, struct cluster_config *cluster)
{
	cluster->least_request_choices = 2;
	cluster->least_request_bias = 1.0;
	mesh_decode_hashing_defaults(cluster);
	if (message->load_balancing_policy)
		check_combination(d, message);
	common_options(d, message->common_lb_config, message->load_balancing_policy != NULL, cluster);
	if (message->load_balancing_policy) {
		mesh_decode_push(d, "load_balancing_policy");
		policy_list(d, message->load_balancing_policy, cluster);
		mesh_decode_pop(d);
	} else {
		old_policy(d, message, cluster);
		old_options(d, message, cluster);
		mesh_decode_subset_config(d, message, cluster);
	}
	if (cluster->kind == CLUSTER_ORIGINAL_DST && cluster->lb != LB_CLUSTER_PROVIDED)
		mesh_decode_fail_field(d, "lb_policy", "must be CLUSTER_PROVIDED for type ORIGINAL_DST");
	if (cluster->kind != CLUSTER_ORIGINAL_DST && cluster->kind != CLUSTER_UNSUPPORTED && cluster->lb == LB_CLUSTER_PROVIDED)
		mesh_decode_fail_field(d, "lb_policy", "CLUSTER_PROVIDED is for type ORIGINAL_DST only");
}
