/* SPDX-License-Identifier: Apache-2.0 */
/* How traffic is shared among priorities and, within one, among localities; and the groups that follow from it. */
#ifndef MESH_LB_LOCALITY_H
#define MESH_LB_LOCALITY_H

#include "lb/edf.h"
#include "lb/lb.h"

/* Endpoints that can be used at all, of one priority or locality. */
struct lb_census {
	uint32_t total, healthy, degraded;
};

/* Percent of the traffic a priority takes: by its healthy endpoints and by its degraded ones. In panic: by all it has. */
struct lb_share {
	uint32_t healthy, degraded;
	bool panic;
};

/* Shares add up to 100 whatever the health. count > 0. */
void mesh_locality_share(const struct lb_census *census, size_t count, uint32_t overprovisioning, double panic_percent,
			 struct lb_share *share);
/* What a locality weighs with `eligible` of its `total` endpoints able to serve. */
double mesh_locality_weight(uint32_t weight, uint32_t eligible, uint32_t total, uint32_t overprovisioning);

/* One group with its algorithm's state. */
struct lb_slot {
	struct lb_group group;
	void *state;
	double weight; /* in the turns of its side */
};

/* The groups of one priority's healthy (or degraded) endpoints: one, or one for each locality with weighted turns. */
struct lb_side {
	uint32_t share;
	uint32_t first; /* of its members in the plan's */
	struct lb_slot *slots;
	size_t count;
	struct edf turns; /* over slots, when count > 1 */
};

struct lb_level {
	bool panic; /* sides[0] holds all endpoints then, and both shares choose it */
	struct lb_side sides[2];
};

struct lb_plan {
	const struct mesh_mem *mem;
	const struct lb_ops *ops;
	struct lb_level *levels;
	size_t level_count;
	struct lb_slot *slots;
	size_t slot_count;
	struct edf_entry *entries;
	uint32_t *members;
};

struct lb_sources {
	const struct cluster_config *cluster;
	const struct endpoint_set *set;
	const struct lb_endpoint *endpoints;
	size_t count;
};

int mesh_lb_plan_new(const struct mesh_mem *mem, const struct lb_ops *ops, const struct lb_sources *from,
		     struct rand *rand, struct lb_plan **plan); /* NOMEM */
void mesh_lb_plan_free(struct lb_plan *plan); /* NULL allowed */
struct lb_slot *mesh_lb_side_turn(struct lb_side *side); /* the slot whose turn it is; NULL: there is none */

#endif
