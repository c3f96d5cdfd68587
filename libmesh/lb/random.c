/* SPDX-License-Identifier: Apache-2.0 */
/* Any one of the group, weights notwithstanding, as Envoy's random policy. */
#include <mesh/error.h>

#include "lb/lb.h"

static int prepare(const struct mesh_mem *mem, const struct cluster_config *cluster, const struct lb_group *group,
		   struct rand *rand, void **state)
{
	*state = NULL;
	return MESH_OK;
}

static uint32_t pick(void *state, const struct lb_group *group, struct rand *rand, const struct lb_key *key)
{
	return (uint32_t)mesh_rand_below(rand, group->count);
}

static void destroy(const struct mesh_mem *mem, void *state)
{
}

const struct lb_ops mesh_lb_random = {"random", false, prepare, pick, destroy};
