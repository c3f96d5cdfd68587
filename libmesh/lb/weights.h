/* SPDX-License-Identifier: Apache-2.0 */
/* Which part of a priority's traffic each of its members is to have under consistent hashing. */
#ifndef MESH_LB_WEIGHTS_H
#define MESH_LB_WEIGHTS_H

#include "lb/lb.h"

struct lb_weights {
	double *of; /* by member: parts of 1; 0: none at all */
	double least, most; /* of those above 0 */
	size_t count; /* of those above 0 */
};

int mesh_lb_weights_new(const struct mesh_mem *mem, const struct lb_group *group, struct lb_weights *weights); /* NOMEM */
void mesh_lb_weights_free(const struct mesh_mem *mem, struct lb_weights *weights);

#endif
