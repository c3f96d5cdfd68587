/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Turns weights of endpoints, and of localities where those are weighted, into parts of one whole, in the arithmetic of
 * Envoy: rings and tables come out the same to the last entry. Knows nothing of hashes. Unlike turns, it takes a
 * locality's weight as it is, however few of its endpoints can serve.
 */
#include "lb/weights.h"

#include <mesh/error.h>

static const struct lb_endpoint *member(const struct lb_group *group, size_t i)
{
	return &group->endpoints[group->members[i]];
}

/* Members from..to have `part` of the whole among them. */
static void share_out(const struct lb_group *group, size_t from, size_t to, double part, struct lb_weights *weights)
{
	uint64_t sum = 0;

	for (size_t i = from; i < to; i++)
		sum += member(group, i)->weight;
	for (size_t i = from; sum && i < to; i++) {
		double weight = member(group, i)->weight * part / (double)sum;

		if (weight <= 0)
			continue;
		weights->of[i] = weight;
		weights->count++;
		if (weight < weights->least)
			weights->least = weight;
		if (weight > weights->most)
			weights->most = weight;
	}
}

static uint32_t locality_weight(const struct lb_group *group, size_t locality)
{
	return group->locality_weights ? group->locality_weights[locality] : group->set->localities[locality].weight;
}

static void share_out_localities(const struct lb_group *group, struct lb_weights *weights)
{
	const struct locality *localities = group->set->localities;
	uint64_t sum = 0;
	size_t to;

	for (size_t l = 0; l < group->set->count; l++)
		if (localities[l].priority == group->priority && localities[l].count)
			sum += locality_weight(group, l);
	for (size_t from = 0; sum && from < group->count; from = to) {
		uint32_t locality = member(group, from)->locality;

		for (to = from + 1; to < group->count && member(group, to)->locality == locality;)
			to++;
		share_out(group, from, to, locality_weight(group, locality) / (double)sum, weights);
	}
}

int mesh_lb_weights_new(const struct mesh_mem *mem, const struct lb_group *group, struct lb_weights *weights)
{
	*weights = (struct lb_weights){.of = mesh_mem_array(mem, group->count, sizeof(double)), .least = 1};
	if (!weights->of)
		return MESH_ERROR_NOMEM;
	if (group->by_locality)
		share_out_localities(group, weights);
	else
		share_out(group, 0, group->count, 1, weights);
	return MESH_OK;
}

void mesh_lb_weights_free(const struct mesh_mem *mem, struct lb_weights *weights)
{
	mesh_mem_free(mem, weights->of);
	weights->of = NULL;
}
