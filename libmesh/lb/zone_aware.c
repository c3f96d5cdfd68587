/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides which part of the traffic stays in the own zone, as Envoy does: all of it when the called cluster has at least
 * the share of its endpoints here that our own cluster has, else so much that no zone gets more than its share. Whether
 * zones are to matter at all is the plan's business.
 */
#include "lb/zone_aware.h"

static uint64_t part_of(uint64_t count, uint64_t total)
{
	return total ? MESH_ZONE_WHOLE * count / total : 0;
}

/* A zone of the called cluster where nobody is healthy has no part, nor have ours in it. */
static struct lb_zone_count parts(const struct lb_zone_count *zone, uint64_t local_total, uint64_t upstream_total)
{
	if (!zone->upstream)
		return (struct lb_zone_count){0, 0};
	return (struct lb_zone_count){part_of(zone->local, local_total), part_of(zone->upstream, upstream_total)};
}

void mesh_zone_route(const struct zone_config *config, const struct lb_zone_count *zones, size_t count,
		     uint64_t local_total, bool own, uint64_t own_healthy, struct lb_zone *zone)
{
	uint64_t upstream_total = 0, room = 0;
	struct lb_zone_count first;

	for (size_t i = 0; i < count; i++)
		upstream_total += zones[i].upstream;
	first = parts(&zones[0], local_total, upstream_total);
	zone->count = count;
	zone->local_part = 0;
	zone->mode = ZONE_DIRECT;
	if (own && ((first.upstream && first.upstream >= first.local) ||
		    (config->force_local && own_healthy >= config->force_min)))
		return;
	zone->mode = ZONE_RESIDUAL;
	if (own && first.local)
		zone->local_part = first.upstream * MESH_ZONE_WHOLE / first.local;
	for (size_t i = 0; i < count; i++) {
		struct lb_zone_count one = parts(&zones[i], local_total, upstream_total);

		if (!(own && i == 0) && one.upstream > one.local)
			room += one.upstream - one.local;
		zone->residual[i] = room;
	}
}

size_t mesh_zone_pick(const struct lb_zone *zone, struct rand *rand)
{
	uint64_t point;
	size_t i = 0;

	if (zone->routing_percent < 100 && mesh_rand_below(rand, 100) >= zone->routing_percent)
		return zone->count;
	if (zone->mode == ZONE_REFUSE)
		return MESH_ZONE_NONE;
	if (zone->mode == ZONE_DIRECT || mesh_rand_below(rand, MESH_ZONE_WHOLE) < zone->local_part)
		return 0;
	if (!zone->residual[zone->count - 1]) /* rounding left no room anywhere */
		return mesh_rand_below(rand, zone->count);
	point = mesh_rand_below(rand, zone->residual[zone->count - 1]);
	while (point >= zone->residual[i])
		i++;
	return i;
}
