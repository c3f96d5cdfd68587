/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The less busy ones: of a few drawn at random, or of all, the one with the fewest requests in flight when all weigh the
 * same; by weighted turns with a weight that sinks with the requests in flight otherwise. Knows nothing of health or
 * localities.
 */
#include <math.h>

#include <mesh/error.h>

#include "lb/edf.h"
#include "lb/lb.h"

#define CHOICES_MAX 100 /* what a configuration may ask for */

struct least {
	uint32_t choices;
	double bias;
	struct edf edf; /* weighted */
	struct edf_entry entries[];
};

static uint32_t busy(const struct lb_group *group, uint32_t member)
{
	const atomic_uint *active = group->endpoints[group->members[member]].active;

	return active ? atomic_load_explicit(active, memory_order_relaxed) : 0;
}

double mesh_lb_least_weight(double bias, const struct lb_group *group, uint32_t member)
{
	uint32_t weight = group->endpoints[group->members[member]].weight;
	double load = (double)busy(group, member) + 1;

	if (bias == 0)
		load = 1;
	else if (bias != 1.0)
		load = pow(load, bias);
	return (weight ? weight : 1) / load;
}

static double weight_of(const struct least *least, const struct lb_group *group, uint32_t member)
{
	return mesh_lb_least_weight(least->bias, group, member);
}

static uint32_t take_turn(struct least *least, const struct lb_group *group)
{
	uint32_t member = mesh_edf_first(&least->edf);

	mesh_edf_renew(&least->edf, weight_of(least, group, member));
	return member;
}

static int prepare(const struct mesh_mem *mem, const struct cluster_config *cluster, const struct lb_group *group,
		   struct rand *rand, void **state)
{
	size_t weighted = group->weighted ? group->count : 0;
	struct least *least = mesh_mem_zalloc(mem, sizeof(*least) + weighted * sizeof(least->entries[0]));
	uint64_t start;

	if (!least)
		return MESH_ERROR_NOMEM;
	least->choices = cluster->least_request_choices ? cluster->least_request_choices : 2;
	if (least->choices > CHOICES_MAX)
		least->choices = CHOICES_MAX;
	least->bias = cluster->least_request_bias >= 0 ? cluster->least_request_bias : 1.0;
	mesh_edf_init(&least->edf, least->entries);
	for (uint32_t i = 0; i < weighted; i++)
		mesh_edf_add(&least->edf, i, weight_of(least, group, i));
	/* Workers must not all begin with the same endpoint. */
	start = mesh_rand_below(rand, weighted);
	while (start--)
		take_turn(least, group);
	*state = least;
	return MESH_OK;
}

static uint32_t pick(void *state, const struct lb_group *group, struct rand *rand, const struct lb_key *key)
{
	struct least *least = state;
	uint32_t best = 0, best_busy = UINT32_MAX;
	uint64_t bits = 0;

	if (least->edf.count)
		return take_turn(least, group);
	if (group->count == 1)
		return 0;
	for (uint32_t i = 0; i < least->choices; i++) {
		uint32_t member, now;

		bits = i % 2 ? bits << 32 : mesh_rand_next(rand); /* one number is good for two draws */
		member = (uint32_t)(((bits >> 32) * group->count) >> 32);
		now = busy(group, member);
		if (i && now >= best_busy)
			continue;
		best = member;
		best_busy = now;
	}
	return best;
}

/* The least busy of all; of several each with the same chance, in one pass: the nth of them replaces the best with 1/n. */
static uint32_t scan(void *state, const struct lb_group *group, struct rand *rand, const struct lb_key *key)
{
	struct least *least = state;
	uint32_t best = 0, best_busy = UINT32_MAX, tied = 0;

	if (least->edf.count)
		return take_turn(least, group);
	for (uint32_t i = 0; i < group->count; i++) {
		uint32_t now = busy(group, i);

		if (now > best_busy)
			continue;
		tied = now < best_busy ? 1 : tied + 1;
		best_busy = now;
		if (tied == 1 || !mesh_rand_below(rand, tied))
			best = i;
	}
	return best;
}

static void destroy(const struct mesh_mem *mem, void *state)
{
	mesh_mem_free(mem, state);
}

const struct lb_ops mesh_lb_least_request = {"least_request", false, prepare, pick, destroy};
const struct lb_ops mesh_lb_least_scan = {"least_request full scan", false, prepare, scan, destroy};
