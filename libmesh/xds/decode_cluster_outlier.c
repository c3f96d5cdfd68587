/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A cluster's outlier detection: Envoy's defaults where nothing is said. Refuses to know when an endpoint is an outlier.
 */
#include "xds/decode.h"

#include "envoy/config/cluster/v3/outlier_detection.pb-c.h"
#include "google/protobuf/wrappers.pb-c.h"

typedef Envoy__Config__Cluster__V3__OutlierDetection outlier_message;

static void times(struct decode *d, const outlier_message *message, struct outlier_config *outlier)
{
	int64_t usual = 300 * MESH_DECODE_NS;

	outlier->interval_ns = mesh_decode_duration_positive(d, "interval", message->interval, 10 * MESH_DECODE_NS);
	outlier->base_ejection_ns =
		mesh_decode_duration_positive(d, "base_ejection_time", message->base_ejection_time, 30 * MESH_DECODE_NS);
	if (outlier->base_ejection_ns > usual)
		usual = outlier->base_ejection_ns;
	outlier->max_ejection_ns =
		mesh_decode_duration_positive(d, "max_ejection_time", message->max_ejection_time, usual);
	if (outlier->max_ejection_ns < outlier->base_ejection_ns)
		mesh_decode_fail_field(d, "max_ejection_time", "must not be less than base_ejection_time");
	outlier->max_ejection_jitter_ns =
		mesh_decode_duration(d, "max_ejection_time_jitter", message->max_ejection_time_jitter, 0);
}

static void consecutive(struct decode *d, const outlier_message *message, struct outlier_config *outlier)
{
	outlier->consecutive_5xx = mesh_decode_u32(message->consecutive_5xx, 5);
	outlier->consecutive_gateway = mesh_decode_u32(message->consecutive_gateway_failure, 5);
	outlier->consecutive_local = mesh_decode_u32(message->consecutive_local_origin_failure, 5);
	outlier->enforcing_5xx = mesh_decode_percent(d, "enforcing_consecutive_5xx", message->enforcing_consecutive_5xx, 100);
	outlier->enforcing_gateway = mesh_decode_percent(d, "enforcing_consecutive_gateway_failure",
							 message->enforcing_consecutive_gateway_failure, 0);
	outlier->enforcing_local = mesh_decode_percent(d, "enforcing_consecutive_local_origin_failure",
						       message->enforcing_consecutive_local_origin_failure, 100);
}

static void rates(struct decode *d, const outlier_message *message, struct outlier_config *outlier)
{
	outlier->enforcing_success_rate =
		mesh_decode_percent(d, "enforcing_success_rate", message->enforcing_success_rate, 100);
	outlier->enforcing_local_success_rate = mesh_decode_percent(d, "enforcing_local_origin_success_rate",
								    message->enforcing_local_origin_success_rate, 100);
	outlier->success_rate_minimum_hosts = mesh_decode_u32(message->success_rate_minimum_hosts, 5);
	outlier->success_rate_request_volume = mesh_decode_u32(message->success_rate_request_volume, 100);
	outlier->success_rate_stdev_factor = mesh_decode_u32(message->success_rate_stdev_factor, 1900);
	outlier->enforcing_failure =
		mesh_decode_percent(d, "enforcing_failure_percentage", message->enforcing_failure_percentage, 0);
	outlier->enforcing_local_failure = mesh_decode_percent(d, "enforcing_failure_percentage_local_origin",
							       message->enforcing_failure_percentage_local_origin, 0);
	outlier->failure_threshold =
		mesh_decode_percent(d, "failure_percentage_threshold", message->failure_percentage_threshold, 85);
	outlier->failure_minimum_hosts = mesh_decode_u32(message->failure_percentage_minimum_hosts, 5);
	outlier->failure_request_volume = mesh_decode_u32(message->failure_percentage_request_volume, 50);
}

void mesh_decode_outlier(struct decode *d, const outlier_message *message, struct outlier_config *outlier)
{
	if (!message)
		return;
	mesh_decode_push(d, "outlier_detection");
	outlier->on = true;
	consecutive(d, message, outlier);
	rates(d, message, outlier);
	outlier->max_ejection_percent = mesh_decode_percent(d, "max_ejection_percent", message->max_ejection_percent, 10);
	outlier->split_local = message->split_external_local_origin_errors;
	outlier->always_eject_one = mesh_decode_bool(message->always_eject_one_host, false);
	outlier->check_unejects = mesh_decode_bool(message->successful_active_health_check_uneject_host, true);
	times(d, message, outlier);
	if (message->n_monitors)
		mesh_decode_warning(d, "outlier_detection.monitors of a cluster: passed over");
	if (mesh_decode_bool(message->detect_degraded_hosts, false))
		mesh_decode_warning(d, "outlier_detection.detect_degraded_hosts of a cluster: passed over");
	mesh_decode_pop(d);
}
