/* SPDX-License-Identifier: Apache-2.0 */
/*
 * In turn: from a random start when all weigh the same, by weighted turns otherwise. Knows nothing of health or localities;
 * every member of the group may be taken.
 */
#include <mesh/error.h>

#include "lb/edf.h"
#include "lb/lb.h"

struct turns {
	uint32_t next; /* unweighted */
	struct edf edf;
	struct edf_entry entries[];
};

static double weight_of(const struct lb_group *group, uint32_t member)
{
	uint32_t weight = group->endpoints[group->members[member]].weight;

	return weight ? weight : 1;
}

static uint32_t take_turn(struct turns *turns, const struct lb_group *group)
{
	uint32_t member = mesh_edf_first(&turns->edf);

	mesh_edf_renew(&turns->edf, weight_of(group, member));
	return member;
}

static int prepare(const struct mesh_mem *mem, const struct cluster_config *cluster, const struct lb_group *group,
		   struct rand *rand, void **state)
{
	size_t weighted = group->weighted ? group->count : 0;
	struct turns *turns = mesh_mem_zalloc(mem, sizeof(*turns) + weighted * sizeof(turns->entries[0]));

	if (!turns)
		return MESH_ERROR_NOMEM;
	/* Workers must not all begin with the same endpoint. */
	turns->next = (uint32_t)mesh_rand_below(rand, group->count);
	mesh_edf_init(&turns->edf, turns->entries);
	for (uint32_t i = 0; i < weighted; i++)
		mesh_edf_add(&turns->edf, i, weight_of(group, i));
	for (uint32_t i = 0; weighted && i < turns->next; i++)
		take_turn(turns, group);
	*state = turns;
	return MESH_OK;
}

static uint32_t pick(void *state, const struct lb_group *group, struct rand *rand, const struct lb_key *key)
{
	struct turns *turns = state;
	uint32_t member;

	if (turns->edf.count)
		return take_turn(turns, group);
	member = turns->next;
	turns->next = member + 1 == group->count ? 0 : member + 1;
	return member;
}

static void destroy(const struct mesh_mem *mem, void *state)
{
	mesh_mem_free(mem, state);
}

const struct lb_ops mesh_lb_round_robin = {"round_robin", false, prepare, pick, destroy};
