/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes the groups of endpoints that an algorithm picks from: by priority and health, and by locality or zone where those
 * matter. Built anew when health changes, in time that grows with the number of endpoints, so that a pick costs nothing but
 * the pick (plan_pick.c). Decides no share and picks nothing.
 */
#include <mesh/error.h>

#include "lb/locality.h"
#include "lb/plan_zone.h"

static size_t source_count(const struct lb_sources *from)
{
	return from->members ? from->member_count : from->count;
}

static size_t source(const struct lb_sources *from, size_t n)
{
	return from->members ? from->members[n] : n;
}

static bool usable(const struct lb_sources *from, size_t i)
{
	const struct lb_endpoint *endpoint = &from->endpoints[i];

	return !endpoint->excluded && endpoint->locality < from->set->count &&
	       from->set->localities[endpoint->locality].priority < from->set->priority_count;
}

static void count_weight(const struct lb_endpoint *endpoint, struct lb_census *census)
{
	uint32_t weight = endpoint->weight ? endpoint->weight : 1;

	if (!endpoint->uncounted)
		census->total_weight += weight;
	if (endpoint->healthy)
		census->healthy_weight += weight;
	else if (endpoint->degraded)
		census->degraded_weight += weight;
}

static void add_census(struct lb_census *sum, const struct lb_census *census)
{
	sum->total += census->total;
	sum->uncounted += census->uncounted;
	sum->healthy += census->healthy;
	sum->degraded += census->degraded;
	sum->total_weight += census->total_weight;
	sum->healthy_weight += census->healthy_weight;
	sum->degraded_weight += census->degraded_weight;
}

static void count_endpoints(struct plan_building *b)
{
	bool by_weight = b->from->set->weighted_priority_health || b->from->cluster->balance.zone.by_weight;

	for (size_t n = 0; n < source_count(b->from); n++) {
		const struct lb_endpoint *endpoint = &b->from->endpoints[source(b->from, n)];
		struct lb_census *census;

		if (!usable(b->from, source(b->from, n)))
			continue;
		census = &b->places[endpoint->locality].census;
		census->total++;
		census->uncounted += endpoint->uncounted;
		census->healthy += endpoint->healthy;
		census->degraded += !endpoint->healthy && endpoint->degraded;
		if (by_weight)
			count_weight(endpoint, census);
	}
	for (size_t l = 0; l < b->from->set->count; l++) {
		const struct lb_census *census = &b->places[l].census;

		if (census->total)
			add_census(&b->census[b->from->set->localities[l].priority], census);
	}
	for (size_t level = 0; level < b->plan->level_count && !b->from->set->weighted_priority_health; level++)
		b->census[level].total_weight = 0; /* counted for zones alone */
}

static uint32_t side_count(const struct lb_census *census, bool panic, size_t side)
{
	if (panic)
		return side == 0 ? census->total : 0;
	return side == 0 ? census->healthy : census->degraded;
}

/* Gives every locality its stretch of members: those of one side of one priority lie together. */
static void lay_out(struct plan_building *b)
{
	uint32_t next = 0;

	for (size_t level = 0; level < b->plan->level_count; level++) {
		for (size_t side = 0; side < 2; side++) {
			b->plan->levels[level].sides[side].first = next;
			for (size_t n = 0; n < b->from->set->count; n++) {
				size_t l = b->order ? b->order[n] : n;

				if (b->from->set->localities[l].priority != level)
					continue;
				b->places[l].at[side] = next;
				next += side_count(&b->places[l].census, b->shares[level].panic, side);
			}
		}
	}
	for (size_t n = 0; n < source_count(b->from); n++) {
		size_t i = source(b->from, n);
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

int mesh_lb_plan_add(struct plan_building *b, size_t level, struct lb_side *side, uint32_t first, uint32_t count,
		     double weight)
{
	const uint32_t *members = b->plan->members + first;
	struct lb_plan *plan = b->plan;
	struct lb_slot *slot = &plan->slots[plan->slot_count];
	int rc = MESH_OK;

	slot->weight = weight;
	slot->group = (struct lb_group){.endpoints = b->from->endpoints, .members = members, .count = count,
					.set = b->from->set, .priority = (uint32_t)level,
					.by_locality = b->from->cluster->locality_weighted && !b->from->unweighted,
					.locality_weights = b->from->locality_weights, .endpoint_count = b->from->count,
					.points_max = b->from->points_max};
	for (uint32_t i = 1; i < count && !slot->group.weighted; i++)
		slot->group.weighted = b->from->endpoints[members[i]].weight != b->from->endpoints[members[0]].weight;
	if (count)
		rc = plan->ops->prepare(plan->mem, b->from->cluster, &slot->group, b->rand, &slot->state);
	if (rc < 0)
		return rc;
	plan->slot_count++;
	side->count++;
	return MESH_OK;
}

/* One slot for each locality with a weight and someone to serve. */
static int add_localities(struct plan_building *b, size_t level, size_t which, struct lb_side *side)
{
	const struct endpoint_set *set = b->from->set;
	uint64_t start;
	int rc;

	mesh_edf_init(&side->turns, b->plan->entries + b->entries_used);
	for (size_t l = 0; l < set->count; l++) {
		const struct lb_census *census = &b->places[l].census;
		uint32_t eligible = side_count(census, false, which);
		uint32_t said = b->from->locality_weights ? b->from->locality_weights[l] : set->localities[l].weight;
		double weight;

		if (set->localities[l].priority != level || !eligible)
			continue;
		weight = mesh_locality_weight(said, eligible, mesh_census_counted(census), b->overprovisioning);
		if (weight <= 0)
			continue;
		rc = mesh_lb_plan_add(b, level, side, b->places[l].at[which] - eligible, eligible, weight);
		if (rc < 0)
			return rc;
		mesh_edf_add(&side->turns, (uint32_t)side->count - 1, weight);
		b->entries_used++;
	}
	start = mesh_rand_below(b->rand, side->count); /* workers must not all begin with the same one */
	while (start--)
		mesh_lb_side_turn(side, b->rand);
	return MESH_OK;
}

/* Also of priorities that take no share now: a retry may go where the first try does not. */
static int build_side(struct plan_building *b, size_t level, size_t which)
{
	struct lb_side *side = &b->plan->levels[level].sides[which];
	const struct lb_share *share = &b->shares[level];
	uint32_t count = side_count(&b->census[level], share->panic, which);
	int rc = MESH_OK;

	side->share = which == 0 ? share->healthy : share->degraded;
	side->slots = b->plan->slots + b->plan->slot_count;
	if (!count || (b->plan->ops->consistent && which == 1))
		return MESH_OK; /* rings and tables are of the healthy alone, as in Envoy */
	if (b->from->cluster->locality_weighted && !b->from->unweighted && !share->panic && !b->plan->ops->consistent)
		rc = add_localities(b, level, which, side);
	else if (level == 0 && b->plan->zone.mode != ZONE_OFF && !share->panic)
		rc = mesh_lb_plan_add_zones(b, which, side);
	if (rc < 0 || (side->count && !side->zone))
		return rc;
	return mesh_lb_plan_add(b, level, side, side->first, count, 1);
}

/* The side that takes all requests: nothing is to be drawn then. */
static void find_only(struct lb_plan *plan)
{
	for (size_t level = 0; level < plan->level_count; level++) {
		for (size_t side = 0; side < 2; side++) {
			struct lb_level *at = &plan->levels[level];

			if (at->sides[side].share != 100)
				continue;
			plan->only = &at->sides[at->panic || plan->ops->consistent ? 0 : side];
			plan->alone = plan->only->count == 1 ? plan->only->slots : NULL;
			plan->only_panics = at->panic;
		}
	}
}

static int build(struct plan_building *b)
{
	for (size_t level = 0; level < b->plan->level_count; level++) {
		struct lb_level *at = &b->plan->levels[level];

		at->panic = b->shares[level].panic;
		at->available[0] = b->shares[level].available[0];
		at->available[1] = b->shares[level].available[1];
		for (size_t side = 0; side < 2; side++) {
			int rc = build_side(b, level, side);

			if (rc < 0)
				return rc;
		}
	}
	find_only(b->plan);
	return MESH_OK;
}

static struct lb_plan *plan_alloc(const struct mesh_mem *mem, const struct lb_ops *ops, const struct lb_sources *from)
{
	struct lb_plan *plan = mesh_mem_zalloc(mem, sizeof(*plan));
	size_t most = from->members && from->member_count < from->set->count ? from->member_count : from->set->count;
	size_t slots = 2 * (most + from->set->priority_count);

	if (!plan)
		return NULL;
	plan->mem = mem;
	plan->ops = ops;
	plan->level_count = from->set->priority_count;
	plan->levels = mesh_mem_array(mem, plan->level_count, sizeof(*plan->levels));
	plan->slots = mesh_mem_array(mem, slots, sizeof(*plan->slots));
	plan->entries = mesh_mem_array(mem, slots, sizeof(*plan->entries));
	plan->members = mesh_mem_array(mem, source_count(from), sizeof(*plan->members));
	if (plan->levels && plan->slots && plan->entries && plan->members)
		return plan;
	mesh_lb_plan_free(plan);
	return NULL;
}

int mesh_lb_plan_new(const struct mesh_mem *mem, const struct lb_ops *ops, const struct lb_sources *from,
		     struct rand *rand, struct lb_plan **plan)
{
	struct plan_building b = {.plan = plan_alloc(mem, ops, from), .from = from, .rand = rand};
	int rc = MESH_ERROR_NOMEM;

	*plan = NULL;
	b.overprovisioning = from->set->overprovisioning ? from->set->overprovisioning : 140;
	b.places = mesh_mem_array(mem, from->set->count, sizeof(*b.places));
	b.census = mesh_mem_array(mem, from->set->priority_count, sizeof(*b.census));
	b.shares = mesh_mem_array(mem, from->set->priority_count, sizeof(*b.shares));
	if (!b.plan || !b.places || !b.census || !b.shares)
		goto done;
	rc = MESH_OK;
	if (b.plan->level_count) {
		count_endpoints(&b);
		mesh_locality_share(b.census, b.plan->level_count, b.overprovisioning, from->cluster->panic_percent, b.shares);
		rc = mesh_lb_plan_zones(&b);
		if (rc < 0)
			goto done;
		lay_out(&b);
		rc = build(&b);
	}
done:
	mesh_mem_free(mem, b.places);
	mesh_mem_free(mem, b.census);
	mesh_mem_free(mem, b.shares);
	mesh_mem_free(mem, b.order);
	mesh_mem_free(mem, b.zone_counts);
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
		if (plan->slots[i].group.count)
			plan->ops->destroy(plan->mem, plan->slots[i].state);
	mesh_mem_free(plan->mem, plan->levels);
	mesh_mem_free(plan->mem, plan->slots);
	mesh_mem_free(plan->mem, plan->entries);
	mesh_mem_free(plan->mem, plan->members);
	mesh_mem_free(plan->mem, plan->zone.residual);
	mesh_mem_free(plan->mem, plan);
}
