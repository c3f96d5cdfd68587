/* SPDX-License-Identifier: Apache-2.0 */
/* How traffic is shared among priorities and, within one, among localities; and the groups that follow from it. */
#ifndef MESH_LB_LOCALITY_H
#define MESH_LB_LOCALITY_H

#include "lb/edf.h"
#include "lb/lb.h"
#include "lb/zone_aware.h"

#define MESH_LB_PRIORITIES_MAX 129 /* what an endpoint set may have */

/* Endpoints that can be used at all, of one priority or locality. */
struct lb_census {
	uint32_t total, healthy, degraded;
	uint32_t uncounted; /* of the total: they are unhealthy, and no reason to panic */
	uint64_t total_weight, healthy_weight, degraded_weight; /* where health goes by weight; 0: by number */
};

static inline uint32_t mesh_census_counted(const struct lb_census *census)
{
	return census->total - census->uncounted;
}

/* Percent of the traffic a priority takes: by its healthy endpoints and by its degraded ones. In panic: by all it has. */
struct lb_share {
	uint32_t healthy, degraded;
	bool panic;
	uint32_t available[2]; /* percent it could take, healthy and degraded */
};

/* Shares add up to 100 whatever the health. count > 0. */
void mesh_locality_share(const struct lb_census *census, size_t count, uint32_t overprovisioning, double panic_percent,
			 struct lb_share *share);
/* Too few of them can serve, by a threshold in percent. */
bool mesh_locality_panic(const struct lb_census *census, double panic_percent);
/* What a locality weighs with `eligible` of its `total` endpoints able to serve. */
double mesh_locality_weight(uint32_t weight, uint32_t eligible, uint32_t total, uint32_t overprovisioning);
/*
 * Shares of a try after others (Envoy's previous_priorities): `tried` in order, and each `update` of them those tried so
 * far are left out. Reads share[].available; false: the present shares stay in force.
 */
bool mesh_locality_retry_share(struct lb_share *share, size_t count, const uint32_t *tried, size_t tried_count,
			       uint32_t update);

/* One group with its algorithm's state. */
struct lb_slot {
	struct lb_group group;
	void *state;
	double weight; /* in the turns of its side */
};

/*
 * The groups of one priority's healthy (or degraded) endpoints: one, or one for each locality with weighted turns, or one
 * for each zone and one of all of them.
 */
struct lb_side {
	uint32_t share;
	uint32_t first; /* of its members in the plan's */
	struct lb_slot *slots;
	size_t count;
	struct edf turns; /* over slots, when count > 1 */
	const struct lb_zone *zone; /* chooses instead of turns; the last slot is that of all */
};

struct lb_level {
	bool panic; /* sides[0] holds all endpoints then, and both shares choose it */
	uint32_t available[2];
	struct lb_side sides[2];
};

struct lb_plan {
	const struct mesh_mem *mem;
	const struct lb_ops *ops;
	struct lb_level *levels;
	size_t level_count;
	struct lb_side *only; /* takes everything; NULL: shares decide */
	struct lb_slot *alone; /* of it, when it has no other: neither is a turn to be taken */
	bool only_panics;
	struct lb_slot *slots;
	size_t slot_count;
	struct edf_entry *entries;
	uint32_t *members;
	struct lb_zone zone;
};

struct lb_sources {
	const struct cluster_config *cluster;
	const struct endpoint_set *set;
	const struct lb_endpoint *endpoints;
	size_t count;
	const uint32_t *members; /* those of a subset; NULL: all */
	size_t member_count;
	const uint32_t *locality_weights; /* by locality; NULL: the set's own */
	size_t points_max;       /* of a ring; 0: as configured */
	bool unweighted;         /* localities are not weighted, whatever the cluster says */
	struct lb_local local;
};

/* Of an endpoint, what a plan is made by; below 0x80. */
static inline uint8_t mesh_lb_health(const struct lb_endpoint *endpoint)
{
	return (uint8_t)(endpoint->healthy | endpoint->degraded << 1 | endpoint->excluded << 2 | endpoint->uncounted << 3);
}

int mesh_lb_plan_new(const struct mesh_mem *mem, const struct lb_ops *ops, const struct lb_sources *from,
		     struct rand *rand, struct lb_plan **plan); /* NOMEM */
void mesh_lb_plan_free(struct lb_plan *plan); /* NULL allowed */
/* The slot whose turn it is; NULL: there is none. */
struct lb_slot *mesh_lb_side_turn(struct lb_side *side, struct rand *rand);

/* A pick within one plan. */
struct lb_draw {
	struct rand *rand;
	const struct lb_choice *choice; /* may be NULL */
	const struct lb_endpoint *endpoints;
	bool fail_on_panic;
	bool panicking; /* out: the pick was made without regard to health */
};
int64_t mesh_lb_plan_pick(struct lb_plan *plan, struct lb_draw *draw);

#endif
