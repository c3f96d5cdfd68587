/* SPDX-License-Identifier: Apache-2.0 */
/* Subsets of a cluster by what endpoints say of themselves (metadata envoy.lb), each balanced on its own. */
#ifndef MESH_LB_SUBSET_H
#define MESH_LB_SUBSET_H

#include "lb/locality.h"

#define MESH_SUBSET_KEYS_MAX 32 /* of one selector */

struct lb_subsets;

/* Makes them all; what is beyond our bounds is not made, and who asks for it gets the fallback. NOMEM. */
int mesh_lb_subsets_new(const struct mesh_mem *mem, const struct lb_ops *ops, const struct lb_sources *from,
			struct rand *rand, struct lb_subsets **subsets);
void mesh_lb_subsets_free(struct lb_subsets *subsets); /* NULL allowed */
/* Health of some endpoints changed: only subsets that have them are made anew. `all`: all are. NOMEM keeps the others. */
int mesh_lb_subsets_update(struct lb_subsets *subsets, const struct lb_sources *from, struct rand *rand, bool all);
int64_t mesh_lb_subsets_pick(struct lb_subsets *subsets, struct lb_draw *draw); /* an index, or NO_ENDPOINT */

#endif
