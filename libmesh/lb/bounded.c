/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Consistent hashing with bounded loads: the endpoint a hash names, unless it carries more than its share of the requests
 * in flight times a factor; then the first of the others, in an order that the hash alone decides, that does not, else the
 * least overloaded. The order is Envoy's: a shuffle by the Mersenne twister. Counts all requests of the cluster for each
 * pick; who turns this on pays for it.
 */
#include <math.h>

#include <mesh/error.h>

#include "lb/weights.h"

#define TWISTER_WORDS 624
#define TWISTER_AHEAD 397

struct twister {
	uint32_t words[TWISTER_WORDS];
	size_t at;
};

struct bounded {
	const struct lb_ops *plain;
	void *plain_state;
	uint32_t factor;
	struct lb_weights weights;
	uint32_t *members;  /* those with a weight, in order */
	uint32_t *shuffled; /* room for a pick */
	struct twister twister;
};

static void twister_seed(struct twister *twister, uint32_t seed)
{
	twister->words[0] = seed;
	for (uint32_t i = 1; i < TWISTER_WORDS; i++) {
		uint32_t last = twister->words[i - 1];

		twister->words[i] = 1812433253u * (last ^ last >> 30) + i;
	}
	twister->at = TWISTER_WORDS;
}

static void twist(struct twister *twister)
{
	uint32_t *words = twister->words;

	for (size_t i = 0; i < TWISTER_WORDS; i++) {
		uint32_t mixed = (words[i] & 0x80000000u) | (words[(i + 1) % TWISTER_WORDS] & 0x7fffffffu);

		words[i] = words[(i + TWISTER_AHEAD) % TWISTER_WORDS] ^ mixed >> 1 ^ (mixed & 1 ? 0x9908b0dfu : 0);
	}
	twister->at = 0;
}

static uint32_t twister_next(struct twister *twister)
{
	uint32_t word;

	if (twister->at == TWISTER_WORDS)
		twist(twister);
	word = twister->words[twister->at++];
	word ^= word >> 11;
	word ^= word << 7 & 0x9d2c5680u;
	word ^= word << 15 & 0xefc60000u;
	return word ^ word >> 18;
}

/* 0..bound-1, each as likely. */
static uint32_t twister_below(struct twister *twister, uint32_t bound)
{
	uint32_t number;

	do
		number = (uint32_t)(twister_next(twister) / ((UINT64_C(1) << 32) / bound));
	while (number >= bound);
	return number;
}

static uint32_t busy(const struct lb_endpoint *endpoint)
{
	return endpoint->active ? atomic_load_explicit(endpoint->active, memory_order_relaxed) : 0;
}

/* Requests it has by those it may have: above 1 it is overloaded. */
static double overload(const struct bounded *bounded, const struct lb_group *group, uint32_t member, uint64_t all)
{
	double slots = ceil((double)(((all + 1) * bounded->factor + 99) / 100) * bounded->weights.of[member]);

	return busy(&group->endpoints[group->members[member]]) / (slots > 1 ? slots : 1);
}

static uint32_t another(struct bounded *bounded, const struct lb_group *group, uint32_t named, double least,
			uint64_t all, uint64_t hash)
{
	uint32_t count = (uint32_t)bounded->weights.count, best = named;

	twister_seed(&bounded->twister, (uint32_t)hash);
	memcpy(bounded->shuffled, bounded->members, count * sizeof(*bounded->shuffled));
	for (uint32_t i = 0; i < count; i++) {
		uint32_t j = i + twister_below(&bounded->twister, count - i), member = bounded->shuffled[j];
		double load;

		bounded->shuffled[j] = bounded->shuffled[i];
		bounded->shuffled[i] = member;
		if (member == named)
			continue;
		load = overload(bounded, group, member, all);
		if (load <= 1)
			return member;
		if (load < least) {
			least = load;
			best = member;
		}
	}
	return best;
}

static uint32_t pick(void *state, const struct lb_group *group, struct rand *rand, const struct lb_key *key)
{
	struct bounded *bounded = state;
	uint32_t named = bounded->plain->pick(bounded->plain_state, group, rand, key);
	uint64_t all = 0;
	double load;

	if (named == MESH_LB_NOBODY)
		return named;
	for (size_t i = 0; i < group->endpoint_count; i++)
		all += busy(&group->endpoints[i]);
	load = overload(bounded, group, named, all);
	return load <= 1 ? named : another(bounded, group, named, load, all, key->hash);
}

static void destroy(const struct mesh_mem *mem, void *state)
{
	struct bounded *bounded = state;

	if (bounded->plain_state)
		bounded->plain->destroy(mem, bounded->plain_state);
	mesh_lb_weights_free(mem, &bounded->weights);
	mesh_mem_free(mem, bounded->members);
	mesh_mem_free(mem, bounded->shuffled);
	mesh_mem_free(mem, bounded);
}

static int prepare(const struct mesh_mem *mem, const struct cluster_config *cluster, const struct lb_group *group,
		   struct rand *rand, void **state)
{
	struct bounded *bounded = mesh_mem_zalloc(mem, sizeof(*bounded));
	size_t placed = 0;
	int rc;

	if (!bounded)
		return MESH_ERROR_NOMEM;
	bounded->plain = cluster->lb == LB_RING_HASH ? &mesh_lb_ring_hash : &mesh_lb_maglev;
	bounded->factor = cluster->balance.hash_balance_factor;
	bounded->members = mesh_mem_array(mem, group->count, sizeof(*bounded->members));
	bounded->shuffled = mesh_mem_array(mem, group->count, sizeof(*bounded->shuffled));
	rc = bounded->members && bounded->shuffled ? mesh_lb_weights_new(mem, group, &bounded->weights)
						   : MESH_ERROR_NOMEM;
	if (!rc)
		rc = bounded->plain->prepare(mem, cluster, group, rand, &bounded->plain_state);
	if (rc < 0) {
		destroy(mem, bounded);
		return rc;
	}
	for (uint32_t i = 0; i < group->count; i++)
		if (bounded->weights.of[i] > 0)
			bounded->members[placed++] = i;
	*state = bounded;
	return MESH_OK;
}

const struct lb_ops mesh_lb_bounded = {"bounded load", true, prepare, pick, destroy};
