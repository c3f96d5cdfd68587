/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes the groups of endpoints that an algorithm picks from: by priority and health, and by locality when those are
 * weighted. Built anew when health changes, so that a pick costs nothing but the pick. Decides no share and picks nothing.
 */
#include <mesh/error.h>

#include "lb/locality.h"

/* Where a locality's endpoints go among the members. */
struct place {
	struct lb_census census;
	uint32_t at[2]; /* next free place, healthy (in panic: any) and degraded */
};

struct building {
	struct lb_plan *plan;
	const struct lb_sources *from;
	struct rand *rand;
	struct place *places; /* by locality */
	struct lb_census *census; /* by priority */
	struct lb_share *shares;
	size_t entries_used;
};

static bool usable(const struct lb_sources *from, size_t i)
{
	const struct lb_endpoint *endpoint = &from->endpoints[i];

	return !endpoint->excluded && endpoint->locality < from->set->count &&
	       from->set->localities[endpoint->locality].priority < from->set->priority_count;
}

static void count_endpoints(struct building *b)
{
	for (size_t i = 0; i < b->from->count; i++) {
		const struct lb_endpoint *endpoint = &b->from->endpoints[i];
		struct lb_census *census;

		if (!usable(b->from, i))
			continue;
		census = &b->places[endpoint->locality].census;
		census->total++;
		census->healthy += endpoint->healthy;
		census->degraded += !endpoint->healthy && endpoint->degraded;
	}
	for (size_t l = 0; l < b->from->set->count; l++) {
		const struct lb_census *census = &b->places[l].census;
		struct lb_census *sum;

		if (!census->total)
			continue;
		sum = &b->census[b->from->set->localities[l].priority];
		sum->total += census->total;
		sum->healthy += census->healthy;
		sum->degraded += census->degraded;
	}
}

static uint32_t side_count(const struct lb_census *census, bool panic, size_t side)
{
	if (panic)
		return side == 0 ? census->total : 0;
	return side == 0 ? census->healthy : census->degraded;
}

/* Gives every locality its stretch of members: those of one side of one priority lie together. */
static void lay_out(struct building *b)
{
	uint32_t next = 0;

	for (size_t level = 0; level < b->plan->level_count; level++) {
		for (size_t side = 0; side < 2; side++) {
			b->plan->levels[level].sides[side].first = next;
			for (size_t l = 0; l < b->from->set->count; l++) {
				if (b->from->set->localities[l].priority != level)
					continue;
				b->places[l].at[side] = next;
				next += side_count(&b->places[l].census, b->shares[level].panic, side);
			}
		}
	}
	for (size_t i = 0; i < b->from->count; i++) {
		const struct lb_endpoint *endpoint = &b->from->endpoints[i];
		bool panic;

		if (!usable(b->from, i))
			continue;
		panic = b->shares[b->from->set->localities[endpoint->locality].priority].panic;
		if (panic || endpoint->healthy)
			b->plan->members[b->places[endpoint->locality].at[0]++] = (uint32_t)i;
		else if (endpoint->degraded)
			b->plan->members[b->places[endpoint->locality].at[1]++] = (uint32_t)i;
	}
}

static int add_slot(struct building *b, size_t level, struct lb_side *side, uint32_t first, uint32_t count, double weight)
{
	const uint32_t *members = b->plan->members + first;
	struct lb_plan *plan = b->plan;
	struct lb_slot *slot = &plan->slots[plan->slot_count];
	int rc;

	slot->weight = weight;
	slot->group = (struct lb_group){.endpoints = b->from->endpoints, .members = members, .count = count,
					.set = b->from->set, .priority = (uint32_t)level};
	for (uint32_t i = 1; i < count && !slot->group.weighted; i++)
		slot->group.weighted = b->from->endpoints[members[i]].weight != b->from->endpoints[members[0]].weight;
	rc = plan->ops->prepare(plan->mem, b->from->cluster, &slot->group, b->rand, &slot->state);
	if (rc < 0)
		return rc;
	plan->slot_count++;
	side->count++;
	return MESH_OK;
}

/* One slot for each locality with a weight and someone to serve. */
static int add_localities(struct building *b, size_t level, size_t which, struct lb_side *side)
{
	const struct endpoint_set *set = b->from->set;
	uint32_t factor = set->overprovisioning ? set->overprovisioning : 140;
	uint64_t start;
	int rc;

	mesh_edf_init(&side->turns, b->plan->entries + b->entries_used);
	for (size_t l = 0; l < set->count; l++) {
		const struct lb_census *census = &b->places[l].census;
		uint32_t eligible = side_count(census, false, which);
		double weight;

		if (set->localities[l].priority != level || !eligible)
			continue;
		weight = mesh_locality_weight(set->localities[l].weight, eligible, census->total, factor);
		if (weight <= 0)
			continue;
		rc = add_slot(b, level, side, b->places[l].at[which] - eligible, eligible, weight);
		if (rc < 0)
			return rc;
		mesh_edf_add(&side->turns, (uint32_t)side->count - 1, weight);
		b->entries_used++;
	}
	start = mesh_rand_below(b->rand, side->count); /* workers must not all begin with the same one */
	while (start--)
		mesh_lb_side_turn(side);
	return MESH_OK;
}

struct lb_slot *mesh_lb_side_turn(struct lb_side *side)
{
	struct lb_slot *slot;

	if (side->count <= 1)
		return side->count ? side->slots : NULL;
	slot = &side->slots[mesh_edf_first(&side->turns)];
	mesh_edf_renew(&side->turns, slot->weight);
	return slot;
}

static int build_side(struct building *b, size_t level, size_t which)
{
	struct lb_side *side = &b->plan->levels[level].sides[which];
	const struct lb_share *share = &b->shares[level];
	uint32_t count = side_count(&b->census[level], share->panic, which);
	int rc = MESH_OK;

	side->share = which == 0 ? share->healthy : share->degraded;
	side->slots = b->plan->slots + b->plan->slot_count;
	if (!count || (!side->share && !share->panic))
		return MESH_OK;
	if (b->from->cluster->locality_weighted && !share->panic && !b->plan->ops->consistent)
		rc = add_localities(b, level, which, side);
	if (rc < 0 || side->count)
		return rc;
	return add_slot(b, level, side, side->first, count, 1);
}

static int build(struct building *b)
{
	int rc;

	for (size_t level = 0; level < b->plan->level_count; level++) {
		b->plan->levels[level].panic = b->shares[level].panic;
		for (size_t side = 0; side < 2; side++) {
			rc = build_side(b, level, side);
			if (rc < 0)
				return rc;
		}
	}
	return MESH_OK;
}

static struct lb_plan *plan_alloc(const struct mesh_mem *mem, const struct lb_ops *ops, const struct lb_sources *from)
{
	struct lb_plan *plan = mesh_mem_zalloc(mem, sizeof(*plan));
	size_t slots = 2 * (from->set->count + from->set->priority_count);

	if (!plan)
		return NULL;
	plan->mem = mem;
	plan->ops = ops;
	plan->level_count = from->set->priority_count;
	plan->levels = mesh_mem_array(mem, plan->level_count, sizeof(*plan->levels));
	plan->slots = mesh_mem_array(mem, slots, sizeof(*plan->slots));
	plan->entries = mesh_mem_array(mem, slots, sizeof(*plan->entries));
	plan->members = mesh_mem_array(mem, from->count, sizeof(*plan->members));
	if (plan->levels && plan->slots && plan->entries && plan->members)
		return plan;
	mesh_lb_plan_free(plan);
	return NULL;
}

int mesh_lb_plan_new(const struct mesh_mem *mem, const struct lb_ops *ops, const struct lb_sources *from,
		     struct rand *rand, struct lb_plan **plan)
{
	struct building b = {.plan = plan_alloc(mem, ops, from), .from = from, .rand = rand};
	int rc = MESH_ERROR_NOMEM;

	*plan = NULL;
	b.places = mesh_mem_array(mem, from->set->count, sizeof(*b.places));
	b.census = mesh_mem_array(mem, from->set->priority_count, sizeof(*b.census));
	b.shares = mesh_mem_array(mem, from->set->priority_count, sizeof(*b.shares));
	if (!b.plan || !b.places || !b.census || !b.shares)
		goto done;
	rc = MESH_OK;
	if (b.plan->level_count) {
		count_endpoints(&b);
		mesh_locality_share(b.census, b.plan->level_count,
				    from->set->overprovisioning ? from->set->overprovisioning : 140,
				    from->cluster->panic_percent, b.shares);
		lay_out(&b);
		rc = build(&b);
	}
done:
	mesh_mem_free(mem, b.places);
	mesh_mem_free(mem, b.census);
	mesh_mem_free(mem, b.shares);
	if (rc < 0)
		mesh_lb_plan_free(b.plan);
	else
		*plan = b.plan;
	return rc;
}

void mesh_lb_plan_free(struct lb_plan *plan)
{
	if (!plan)
		return;
	for (size_t i = 0; i < plan->slot_count; i++)
		plan->ops->destroy(plan->mem, plan->slots[i].state);
	mesh_mem_free(plan->mem, plan->levels);
	mesh_mem_free(plan->mem, plan->slots);
	mesh_mem_free(plan->mem, plan->entries);
	mesh_mem_free(plan->mem, plan->members);
	mesh_mem_free(plan->mem, plan);
}
