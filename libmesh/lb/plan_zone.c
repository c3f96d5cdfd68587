/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides whether a plan's first priority is balanced by zone: only where the mesh knows its own cluster, both clusters lie
 * in several zones, we are in one of them and there are endpoints enough. Localities that are the same zone are one. The
 * arithmetic is zone_aware.c's.
 */
#include "lb/plan_zone.h"

#include <mesh/error.h>

static bool same_zone(const struct locality *a, const struct locality *b)
{
	return mesh_slice_equal(a->region, b->region) && mesh_slice_equal(a->zone, b->zone) &&
	       mesh_slice_equal(a->subzone, b->subzone);
}

static bool is_own(const struct lb_local *local, const struct locality *locality)
{
	return mesh_slice_equal(local->region, locality->region) && mesh_slice_equal(local->zone, locality->zone) &&
	       mesh_slice_equal(local->subzone, locality->subzone);
}

/* The local cluster, endpoints of its only priority. */
struct local_census {
	struct lb_census all;
	uint64_t healthy; /* by number or weight */
	size_t zones;
	bool own; /* some are where we are */
};

static uint64_t healthy_of(const struct locality *locality, bool by_weight)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < locality->count; i++)
		if (locality->endpoints[i].health == ENDPOINT_HEALTHY)
			sum += by_weight ? locality->endpoints[i].weight : 1;
	return sum;
}

static bool seen_before(const struct endpoint_set *set, size_t at)
{
	for (size_t i = 0; i < at; i++)
		if (set->localities[i].priority == 0 && set->localities[i].count &&
		    same_zone(&set->localities[i], &set->localities[at]))
			return true;
	return false;
}

static void count_local(const struct lb_local *local, bool by_weight, struct local_census *census)
{
	for (size_t l = 0; l < local->set->count; l++) {
		const struct locality *locality = &local->set->localities[l];

		if (locality->priority || !locality->count)
			continue;
		census->all.total += (uint32_t)locality->count;
		census->all.healthy += (uint32_t)healthy_of(locality, false);
		for (size_t i = 0; i < locality->count; i++)
			census->all.degraded += locality->endpoints[i].health == ENDPOINT_DEGRADED;
		census->healthy += healthy_of(locality, by_weight);
		census->zones += !seen_before(local->set, l);
		census->own = census->own || is_own(local, locality);
	}
}

static uint64_t local_in(const struct lb_local *local, const struct locality *zone, bool by_weight)
{
	uint64_t sum = 0;

	for (size_t l = 0; l < local->set->count; l++)
		if (local->set->localities[l].priority == 0 && same_zone(&local->set->localities[l], zone))
			sum += healthy_of(&local->set->localities[l], by_weight);
	return sum;
}

/* Takes the localities of one zone that have endpoints, and counts them. */
static void take_zone(struct plan_building *b, const struct locality *zone, uint32_t number, size_t *placed)
{
	bool by_weight = b->from->cluster->balance.zone.by_weight;
	struct lb_zone_count *count = &b->zone_counts[number];

	*count = (struct lb_zone_count){.local = local_in(&b->from->local, zone, by_weight)};
	for (size_t l = 0; l < b->from->set->count; l++) {
		struct plan_place *place = &b->places[l];

		if (b->from->set->localities[l].priority || place->zone != UINT32_MAX ||
		    !same_zone(&b->from->set->localities[l], zone))
			continue;
		place->zone = number;
		b->order[(*placed)++] = (uint32_t)l;
		count->upstream += by_weight ? place->census.healthy_weight : place->census.healthy;
	}
}

/* Numbers the zones, the own one first; returns how many there are. */
static size_t number_zones(struct plan_building *b, bool *own, uint64_t *own_healthy)
{
	const struct endpoint_set *set = b->from->set;
	size_t zones = 0, placed = 0;

	for (size_t l = 0; l < set->count; l++)
		b->places[l].zone = UINT32_MAX;
	for (size_t l = 0; l < set->count; l++) {
		if (set->localities[l].priority || !b->places[l].census.total ||
		    !is_own(&b->from->local, &set->localities[l]))
			continue;
		*own_healthy += b->places[l].census.healthy;
		if (!*own)
			take_zone(b, &set->localities[l], (uint32_t)zones++, &placed);
		*own = true;
	}
	for (size_t l = 0; l < set->count; l++)
		if (!set->localities[l].priority && b->places[l].census.total && b->places[l].zone == UINT32_MAX)
			take_zone(b, &set->localities[l], (uint32_t)zones++, &placed);
	for (size_t l = 0; l < set->count; l++)
		if (b->places[l].zone == UINT32_MAX)
			b->order[placed++] = (uint32_t)l;
	return zones;
}

int mesh_lb_plan_zones(struct plan_building *b)
{
	const struct zone_config *config = &b->from->cluster->balance.zone;
	struct lb_zone *zone = &b->plan->zone;
	struct local_census local = {0};
	uint64_t own_healthy = 0;
	bool own = false;
	size_t zones;

	if (!config->on || !b->from->local.set || b->plan->ops->consistent || b->from->cluster->locality_weighted)
		return MESH_OK;
	count_local(&b->from->local, config->by_weight, &local);
	if ((local.zones < 2 && !config->force_local) || !local.own || b->census[0].healthy < config->min_cluster_size)
		return MESH_OK;
	b->order = mesh_mem_array(b->plan->mem, b->from->set->count, sizeof(*b->order));
	b->zone_counts = mesh_mem_array(b->plan->mem, b->from->set->count, sizeof(*b->zone_counts));
	zone->residual = mesh_mem_array(b->plan->mem, b->from->set->count, sizeof(*zone->residual));
	if (!b->order || !b->zone_counts || !zone->residual)
		return MESH_ERROR_NOMEM;
	zones = number_zones(b, &own, &own_healthy);
	if (zones < 2)
		return MESH_OK;
	mesh_zone_route(config, b->zone_counts, zones, local.healthy, own, own_healthy, zone);
	zone->routing_percent = config->routing_percent;
	if (mesh_locality_panic(&local.all, b->from->cluster->panic_percent))
		zone->mode = b->from->cluster->fail_traffic_on_panic ? ZONE_REFUSE : ZONE_OFF;
	return MESH_OK;
}

int mesh_lb_plan_add_zones(struct plan_building *b, size_t which, struct lb_side *side)
{
	const struct endpoint_set *set = b->from->set;
	uint32_t first = side->first;
	size_t at = 0;

	for (uint32_t zone = 0; zone < b->plan->zone.count; zone++) {
		uint32_t count = 0;
		int rc;

		for (; at < set->count && b->places[b->order[at]].zone == zone; at++) {
			const struct lb_census *census = &b->places[b->order[at]].census;

			count += which == 0 ? census->healthy : census->degraded;
		}
		rc = mesh_lb_plan_add(b, 0, side, first, count, 1);
		if (rc < 0)
			return rc;
		first += count;
	}
	side->zone = &b->plan->zone;
	return MESH_OK;
}
