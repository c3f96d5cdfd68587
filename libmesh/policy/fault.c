/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides whether a request is delayed and whether it is aborted, and with what. Delay and abort are drawn apart. Refuses to
 * wait, to answer, and to count what acts.
 */
#include "policy/fault.h"

#include "policy/header_match.h"

#define NS_PER_MS 1000000ull

static const uint64_t delay_ms_max = 100ull * 365 * 24 * 3600 * 1000; /* a century, as durations of the configuration */

/* The first value is the one that counts: whoever sends several is not to be trusted with a choice. */
static bool asked(const struct route_request *request, struct mesh_slice name, uint64_t *number)
{
	struct mesh_slice value =
		request->headers ? mesh_headers_get(request->headers, name) : (struct mesh_slice){NULL, 0};

	return value.data && mesh_slice_to_u64(mesh_slice_trim(value), number);
}

/* A request may ask for fewer faults than configured, never for more. */
static bool drawn(struct fraction share, bool by_header, const struct route_request *request, struct mesh_slice name,
		  uint64_t random)
{
	uint64_t number;

	if (by_header && asked(request, name, &number) && number < share.numerator)
		share.numerator = (uint32_t)number;
	return mesh_fraction_hits(&share, random);
}

static bool concerns(const struct fault_config *config, const struct route_request *request, struct mesh_slice cluster,
		     struct arena *scratch)
{
	struct mesh_slice node = {NULL, 0};
	bool found = config->node_count == 0;

	if (config->upstream_cluster.len && !mesh_slice_equal(config->upstream_cluster, cluster))
		return false;
	if (!found && request->headers)
		node = mesh_headers_get(request->headers, MESH_SLICE("x-envoy-downstream-service-node"));
	for (size_t i = 0; node.data && !found && i < config->node_count; i++)
		found = mesh_slice_equal(config->nodes[i], node);
	for (size_t i = 0; found && i < config->header_count; i++)
		found = mesh_header_matches(&config->headers[i], request, scratch, false);
	return found;
}

static uint64_t choose_delay(const struct fault_config *config, const struct route_request *request, uint64_t random)
{
	uint64_t ms;

	if (!config->delay_ns && !config->delay_header)
		return 0;
	if (!drawn(config->delay_share, config->delay_header, request,
		   MESH_SLICE("x-envoy-fault-delay-request-percentage"), random))
		return 0;
	if (!config->delay_header)
		return config->delay_ns;
	if (!asked(request, MESH_SLICE("x-envoy-fault-delay-request"), &ms))
		return 0;
	return (ms < delay_ms_max ? ms : delay_ms_max) * NS_PER_MS;
}

static void abort_with_grpc(struct fault *fault, uint32_t status)
{
	fault->grpc = true;
	fault->grpc_status = status;
	fault->http_status = 200;
}

static void choose_abort(const struct fault_config *config, const struct route_request *request, uint64_t random,
			 struct fault *fault)
{
	bool by_header = config->abort == FAULT_ABORT_HEADER;
	uint64_t number;

	if (config->abort == FAULT_ABORT_NONE || !drawn(config->abort_share, by_header, request,
							MESH_SLICE("x-envoy-fault-abort-request-percentage"), random))
		return;
	if (config->abort == FAULT_ABORT_HTTP)
		fault->http_status = config->abort_status;
	else if (config->abort == FAULT_ABORT_GRPC)
		abort_with_grpc(fault, config->abort_status);
	else if (asked(request, MESH_SLICE("x-envoy-fault-abort-request"), &number) && number >= 200 && number < 600)
		fault->http_status = (uint32_t)number;
	else if (asked(request, MESH_SLICE("x-envoy-fault-abort-grpc-request"), &number) && number <= UINT32_MAX)
		abort_with_grpc(fault, (uint32_t)number);
}

const struct fault_config *mesh_fault_in_force(const struct fault_config *outer, struct mesh_slice filter,
					       const struct route *route, const struct weighted_cluster *weighted)
{
	if (weighted && weighted->fault && mesh_slice_equal(weighted->fault_filter, filter))
		return weighted->fault;
	if (route && route->fault && mesh_slice_equal(route->fault_filter, filter))
		return route->fault;
	return outer;
}

void mesh_fault_choose(const struct fault_config *config, const struct route_request *request,
		       struct mesh_slice cluster, uint32_t active, uint64_t delay_random, uint64_t abort_random,
		       struct arena *scratch, struct fault *fault)
{
	*fault = (struct fault){0};
	if ((config->has_active_max && active >= config->active_max) || !concerns(config, request, cluster, scratch))
		return;
	fault->delay_ns = choose_delay(config, request, delay_random);
	choose_abort(config, request, abort_random, fault);
}
