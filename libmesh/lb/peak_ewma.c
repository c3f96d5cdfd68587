/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Of two endpoints drawn at random the one that costs less: its latency of late times the requests it would then have, by
 * its weight. One that has requests but never answered costs more than any that did. Knows nothing of health.
 */
#include <mesh/error.h>

#include "lb/latency.h"

#define NEVER_ANSWERED 1e15 /* nanoseconds: eleven days */

struct peak {
	double decay, unknown;
};

static double cost(const struct peak *peak, const struct lb_group *group, uint32_t member, uint64_t now_ns)
{
	const struct lb_endpoint *endpoint = &group->endpoints[group->members[member]];
	uint32_t active = endpoint->active ? atomic_load_explicit(endpoint->active, memory_order_relaxed) : 0;
	double latency = endpoint->latency ? mesh_latency_now(endpoint->latency, now_ns, (int64_t)peak->decay) : 0;

	if (latency <= 0)
		latency = active ? NEVER_ANSWERED : peak->unknown;
	return latency * ((double)active + 1) / (endpoint->weight ? endpoint->weight : 1);
}

static int prepare(const struct mesh_mem *mem, const struct cluster_config *cluster, const struct lb_group *group,
		   struct rand *rand, void **state)
{
	struct peak *peak = mesh_mem_zalloc(mem, sizeof(*peak));
	const struct ewma_config *config = &cluster->balance.ewma;

	if (!peak)
		return MESH_ERROR_NOMEM;
	peak->decay = (double)(config->decay_ns > 0 ? config->decay_ns : MESH_LATENCY_DECAY_NS);
	peak->unknown = (double)(config->unknown_ns > 0 ? config->unknown_ns : MESH_LATENCY_UNKNOWN_NS);
	*state = peak;
	return MESH_OK;
}

static uint32_t pick(void *state, const struct lb_group *group, struct rand *rand, const struct lb_key *key)
{
	uint32_t first, second;

	if (group->count == 1)
		return 0;
	first = (uint32_t)mesh_rand_below(rand, group->count);
	second = (uint32_t)mesh_rand_below(rand, group->count - 1);
	second += second >= first; /* never the same one twice */
	return cost(state, group, second, key->now_ns) < cost(state, group, first, key->now_ns) ? second : first;
}

static void destroy(const struct mesh_mem *mem, void *state)
{
	mesh_mem_free(mem, state);
}

const struct lb_ops mesh_lb_peak_ewma = {"peak_ewma", false, prepare, pick, destroy};
