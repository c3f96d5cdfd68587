/* SPDX-License-Identifier: Apache-2.0 */
/* What a cluster of type ORIGINAL_DST says of the address it sends to. */
#include "xds/decode.h"

#include "envoy/config/cluster/v3/cluster.pb-c.h"
#include "google/protobuf/wrappers.pb-c.h"

void mesh_decode_original_dst(struct decode *d, const Envoy__Config__Cluster__V3__Cluster *message,
			      struct cluster_config *cluster)
{
	const Envoy__Config__Cluster__V3__Cluster__OriginalDstLbConfig *lb = NULL;
	struct original_dst_config *config = &cluster->original_dst;

	config->cleanup_ns =
		mesh_decode_duration_positive(d, "cleanup_interval", message->cleanup_interval, 5 * MESH_DECODE_NS);
	if (message->lb_config_case == ENVOY__CONFIG__CLUSTER__V3__CLUSTER__LB_CONFIG_ORIGINAL_DST_LB_CONFIG)
		lb = message->original_dst_lb_config;
	if (!lb || cluster->kind != CLUSTER_ORIGINAL_DST)
		return;
	mesh_decode_push(d, "original_dst_lb_config");
	if (lb->use_http_header)
		config->header = mesh_decode_lower(d, lb->http_header_name[0] ? lb->http_header_name
									      : "x-envoy-original-dst-host");
	else if (lb->http_header_name[0])
		mesh_decode_fail_field(d, "http_header_name", "\"%.80s\": use_http_header is not set",
				       lb->http_header_name);
	if (lb->upstream_port_override) {
		uint32_t port = lb->upstream_port_override->value;

		if (port > UINT16_MAX)
			mesh_decode_fail_field(d, "upstream_port_override", "%u: must be 65535 or less", port);
		config->port = (uint16_t)port;
	}
	/* metadata_key: of metadata that filters add to a request; none of ours does, so that there never is any */
	mesh_decode_pop(d);
}
