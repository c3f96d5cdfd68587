/* SPDX-License-Identifier: Apache-2.0 */
/* Faults to be injected into requests, compiled. Immutable. */
#ifndef MESH_CONFIG_FAULT_H
#define MESH_CONFIG_FAULT_H

#include "config/match.h"

enum fault_abort {
	FAULT_ABORT_NONE,
	FAULT_ABORT_HTTP,
	FAULT_ABORT_GRPC,
	FAULT_ABORT_HEADER, /* as the request itself asks */
};

struct fault_config {
	uint64_t delay_ns; /* 0: none, or as the request itself asks */
	bool delay_header;
	struct fraction delay_share; /* of requests; the denominator is always set */
	enum fault_abort abort;
	uint32_t abort_status; /* of HTTP or gRPC */
	struct fraction abort_share;
	struct mesh_slice upstream_cluster; /* absent: any */
	struct header_match *headers;       /* all must match */
	size_t header_count;
	struct mesh_slice *nodes; /* x-envoy-downstream-service-node; none: any */
	size_t node_count;
	bool has_active_max;
	uint32_t active_max; /* faults acting at one time */
};

#endif
