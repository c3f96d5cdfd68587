/* SPDX-License-Identifier: Apache-2.0 */
/* A plan while it is made: what plan.c and plan_zone.c share. */
#ifndef MESH_LB_PLAN_ZONE_H
#define MESH_LB_PLAN_ZONE_H

#include "lb/locality.h"

/* Where a locality's endpoints go among the members. */
struct plan_place {
	struct lb_census census;
	uint32_t at[2]; /* next free place, healthy (in panic: any) and degraded; in the end behind the last one */
	uint32_t zone;  /* plan_zone.c */
};

struct plan_building {
	struct lb_plan *plan;
	const struct lb_sources *from;
	struct rand *rand;
	uint32_t overprovisioning;
	struct plan_place *places; /* by locality */
	struct lb_census *census;  /* by priority */
	struct lb_share *shares;
	size_t entries_used;
	uint32_t *order; /* of localities: zones of the first priority together, the own one first; NULL: as they are */
	struct lb_zone_count *zone_counts; /* by zone */
};

/* A slot of `count` members from `first`; none: nobody is picked from it. NOMEM. */
int mesh_lb_plan_add(struct plan_building *b, size_t level, struct lb_side *side, uint32_t first, uint32_t count,
		     double weight);
/* Decides whether zones matter, and how: plan->zone, order. After the census. NOMEM. */
int mesh_lb_plan_zones(struct plan_building *b);
int mesh_lb_plan_add_zones(struct plan_building *b, size_t which, struct lb_side *side); /* a slot for each. NOMEM */

#endif
