/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides which endpoint takes the next attempt: a priority by its share, a locality in turn, an endpoint by the cluster's
 * algorithm. Knows neither clock nor socket; health is what the cluster says it is.
 */
#include "lb/lb.h"

#include <mesh/error.h>

#include "lb/locality.h"

struct balancer {
	const struct mesh_mem *mem;
	const struct lb_ops *ops;
	struct lb_sources from;
	struct rand rand;
	struct lb_plan *plan;
	bool panicking; /* the last pick was made in panic */
};

static const struct lb_ops *ops_of(enum lb_kind kind)
{
	switch (kind) {
	case LB_LEAST_REQUEST:
		return &mesh_lb_least_request;
	case LB_RANDOM:
		return &mesh_lb_random;
	case LB_RING_HASH:
		return &mesh_lb_ring_hash;
	case LB_MAGLEV:
		return &mesh_lb_maglev;
	default:
		return &mesh_lb_round_robin;
	}
}

int mesh_balancer_new(const struct mesh_mem *mem, const struct cluster_config *cluster, const struct endpoint_set *set,
		      const struct lb_endpoint *endpoints, size_t count, uint64_t seed, struct balancer **balancer)
{
	struct balancer *made = mesh_mem_zalloc(mem, sizeof(*made));
	int rc;

	*balancer = NULL;
	if (!made)
		return MESH_ERROR_NOMEM;
	made->mem = mem;
	made->ops = ops_of(cluster->lb);
	made->from = (struct lb_sources){.cluster = cluster, .set = set, .endpoints = endpoints, .count = count};
	mesh_rand_seed(&made->rand, seed);
	rc = mesh_balancer_update(made);
	if (rc < 0) {
		mesh_balancer_free(made);
		return rc;
	}
	*balancer = made;
	return MESH_OK;
}

void mesh_balancer_free(struct balancer *balancer)
{
	if (!balancer)
		return;
	mesh_lb_plan_free(balancer->plan);
	mesh_mem_free(balancer->mem, balancer);
}

int mesh_balancer_update(struct balancer *balancer)
{
	struct lb_plan *plan;
	int rc = mesh_lb_plan_new(balancer->mem, balancer->ops, &balancer->from, &balancer->rand, &plan);

	if (rc < 0)
		return rc;
	mesh_lb_plan_free(balancer->plan);
	balancer->plan = plan;
	return MESH_OK;
}

/* A priority and one of its sides, by their shares of 100. Requests of one hash stay in one of them. */
static struct lb_side *choose_side(struct balancer *balancer, const struct lb_key *key)
{
	struct lb_plan *plan = balancer->plan;
	uint32_t point = (uint32_t)(balancer->ops->consistent ? key->hash % 100 : mesh_rand_below(&balancer->rand, 100));
	uint32_t sum = 0;

	for (size_t side = 0; side < 2; side++) {
		for (size_t i = 0; i < plan->level_count; i++) {
			struct lb_level *level = &plan->levels[i];

			sum += level->sides[side].share;
			if (point >= sum)
				continue;
			balancer->panicking = level->panic;
			return &level->sides[level->panic ? 0 : side];
		}
	}
	return NULL;
}

static int64_t pick_once(struct balancer *balancer, const struct lb_key *key)
{
	struct lb_side *side = choose_side(balancer, key);
	struct lb_slot *slot;
	uint32_t member;

	if (!side || (balancer->panicking && balancer->from.cluster->fail_traffic_on_panic))
		return MESH_ERROR_NO_ENDPOINT;
	slot = mesh_lb_side_turn(side);
	if (!slot)
		return MESH_ERROR_NO_ENDPOINT;
	member = balancer->ops->pick(slot->state, &slot->group, &balancer->rand, key);
	if (member == MESH_LB_NOBODY)
		return MESH_ERROR_NO_ENDPOINT;
	/* Excluded since the plan was made, and no memory for a new one: the next that is not. */
	for (size_t i = 0; i < slot->group.count; i++) {
		uint32_t index = slot->group.members[member];

		if (!balancer->from.endpoints[index].excluded)
			return index;
		member = member + 1 == slot->group.count ? 0 : member + 1;
	}
	return MESH_ERROR_NO_ENDPOINT;
}

static bool avoided(const struct lb_choice *choice, int64_t index)
{
	for (size_t i = 0; i < choice->avoid_count; i++) {
		if (choice->avoid[i] == index)
			return true;
	}
	return false;
}

int64_t mesh_balancer_pick(struct balancer *balancer, const struct lb_choice *choice)
{
	struct lb_key key = {.hash = choice && choice->hash ? choice->hash : mesh_rand_next(&balancer->rand)};
	unsigned attempts = choice && choice->avoid_count ? choice->avoid_attempts : 0;
	int64_t index = pick_once(balancer, &key);

	while (index >= 0 && attempts-- && avoided(choice, index)) {
		key.attempt++;
		index = pick_once(balancer, &key);
	}
	return index;
}

const char *mesh_balancer_name(const struct balancer *balancer)
{
	return balancer->ops->name;
}

bool mesh_balancer_panicking(const struct balancer *balancer)
{
	return balancer->panicking;
}
