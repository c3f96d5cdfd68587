/* SPDX-License-Identifier: Apache-2.0 */
/* What subset.c and subset_build.c share. */
#ifndef MESH_LB_SUBSET_BUILD_H
#define MESH_LB_SUBSET_BUILD_H

#include "lb/subset.h"

#define MESH_SUBSET_POINTS_MAX 16777216 /* of the rings of all subsets together */

struct lb_subset {
	struct lb_subset *next; /* of the same bucket */
	uint64_t hash;
	const struct subset_selector *selector;
	struct mesh_slice *values; /* by key of the selector: the endpoint set's memory */
	uint32_t *members;         /* in the order of the cluster's endpoints */
	size_t count, room;
	uint32_t *locality_weights; /* scale_locality_weight; NULL: as the cluster's */
	struct lb_plan *plan;       /* NULL: a single one, members[0] */
	bool stale;                 /* its plan is older than the health of its members */
};

struct lb_subsets {
	const struct mesh_mem *mem;
	const struct lb_ops *ops;
	struct lb_sources from;
	const struct subset_config *config;
	struct lb_subset **buckets;
	size_t bucket_count; /* a power of two */
	size_t count;
	size_t memberships;
	struct lb_subset *any, *fallback; /* NULL: never asked for; of all, of default_subset */
	bool *fallback_said;              /* by selector: its fallback is in force */
	uint8_t *health;                  /* by endpoint: what the plans were made of */
};

/* Of keys and values in order: equal for equal ones. */
uint64_t mesh_subset_hash(uint64_t hash, struct mesh_slice key, struct mesh_slice value);
/* Puts every endpoint into the subsets of every selector. NOMEM. */
int mesh_subset_collect(struct lb_subsets *subsets);
struct lb_subset *mesh_subset_find(const struct lb_subsets *subsets, const struct label *labels, size_t count);
int mesh_subset_join(struct lb_subsets *subsets, struct lb_subset *subset, uint32_t index); /* NOMEM */
void mesh_subset_free(struct lb_subsets *subsets, struct lb_subset *subset);                /* NULL allowed */

#endif
