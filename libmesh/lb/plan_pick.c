/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides which endpoint of a plan takes a request: a priority by its share, a locality in turn or a zone by what it can
 * take, an endpoint by the plan's algorithm. Makes nothing, and knows nothing of subsets.
 */
#include <mesh/error.h>

#include "lb/locality.h"

#define AVOID_ATTEMPTS_MAX 1024 /* whatever a configuration says: there may be nobody who is not to be avoided */

struct lb_slot *mesh_lb_side_turn(struct lb_side *side, struct rand *rand)
{
	struct lb_slot *slot;

	if (side->count <= 1)
		return side->count ? side->slots : NULL;
	if (side->zone) {
		size_t zone = mesh_zone_pick(side->zone, rand);

		return zone == MESH_ZONE_NONE ? NULL : &side->slots[zone];
	}
	slot = &side->slots[mesh_edf_first(&side->turns)];
	mesh_edf_renew(&side->turns, slot->weight);
	return slot;
}

static struct lb_side *side_of(struct lb_plan *plan, size_t level, size_t side, struct lb_draw *draw)
{
	draw->panicking = plan->levels[level].panic;
	return &plan->levels[level].sides[draw->panicking || plan->ops->consistent ? 0 : side];
}

/* The side of a try that previous priorities keep away from some. */
static struct lb_side *choose_again(struct lb_plan *plan, struct lb_draw *draw, uint32_t point)
{
	struct lb_share share[MESH_LB_PRIORITIES_MAX];
	uint32_t sum = 0;

	if (plan->level_count > MESH_LB_PRIORITIES_MAX)
		return NULL;
	for (size_t i = 0; i < plan->level_count; i++) {
		share[i].available[0] = plan->levels[i].available[0];
		share[i].available[1] = plan->levels[i].available[1];
	}
	if (!mesh_locality_retry_share(share, plan->level_count, draw->choice->tried_priorities,
				       draw->choice->tried_priority_count, draw->choice->priority_update))
		return NULL;
	for (size_t side = 0; side < 2; side++) {
		for (size_t i = 0; i < plan->level_count; i++) {
			sum += side ? share[i].degraded : share[i].healthy;
			if (point < sum)
				return side_of(plan, i, side, draw);
		}
	}
	return NULL;
}

/* A priority and one of its sides, by their shares of 100. Requests of one hash stay in one of them. */
static struct lb_side *choose_side(struct lb_plan *plan, const struct lb_key *key, struct lb_draw *draw, bool again)
{
	struct lb_side *found;
	uint32_t point, sum = 0;

	if (plan->only && !again) {
		draw->panicking = plan->only_panics;
		return plan->only;
	}
	point = (uint32_t)(plan->ops->consistent ? key->hash % 100 : mesh_rand_below(draw->rand, 100));
	found = again ? choose_again(plan, draw, point) : NULL;
	for (size_t side = 0; side < 2 && !found; side++) {
		for (size_t i = 0; i < plan->level_count && !found; i++) {
			sum += plan->levels[i].sides[side].share;
			if (point < sum)
				found = side_of(plan, i, side, draw);
		}
	}
	return found;
}

/* Excluded since the plan was made, and no memory for a new one: the next that is not. */
static int64_t pick_next(const struct lb_group *group, uint32_t member, const struct lb_draw *draw)
{
	for (size_t i = 0; i < group->count; i++) {
		member = member + 1 == group->count ? 0 : member + 1;
		if (!draw->endpoints[group->members[member]].excluded)
			return group->members[member];
	}
	return MESH_ERROR_NO_ENDPOINT;
}

static struct lb_slot *choose_slot(struct lb_plan *plan, const struct lb_key *key, struct lb_draw *draw)
{
	bool again = draw->choice && draw->choice->priority_update && draw->choice->tried_priority_count &&
		     !plan->ops->consistent;
	struct lb_side *side;

	if (plan->alone && !again) {
		draw->panicking = plan->only_panics;
		return plan->alone;
	}
	side = choose_side(plan, key, draw, again);
	return side ? mesh_lb_side_turn(side, draw->rand) : NULL;
}

static int64_t pick_once(struct lb_plan *plan, const struct lb_key *key, struct lb_draw *draw)
{
	struct lb_slot *slot = choose_slot(plan, key, draw);
	uint32_t member;

	if (!slot || !slot->group.count || (draw->panicking && draw->fail_on_panic))
		return MESH_ERROR_NO_ENDPOINT;
	member = plan->ops->pick(slot->state, &slot->group, draw->rand, key);
	if (member == MESH_LB_NOBODY)
		return MESH_ERROR_NO_ENDPOINT;
	if (draw->endpoints[slot->group.members[member]].excluded)
		return pick_next(&slot->group, member, draw);
	return slot->group.members[member];
}

static bool avoided(const struct lb_choice *choice, int64_t index)
{
	for (size_t i = 0; i < choice->avoid_count; i++) {
		if (choice->avoid[i] == index)
			return true;
	}
	return false;
}

int64_t mesh_lb_plan_pick(struct lb_plan *plan, struct lb_draw *draw)
{
	const struct lb_choice *choice = draw->choice;
	struct lb_key key = {.hash = choice ? choice->hash : 0, .now_ns = choice ? choice->now_ns : 0};
	unsigned attempts;
	int64_t index;

	if (plan->ops->consistent && !key.hash)
		key.hash = mesh_rand_next(draw->rand);
	index = pick_once(plan, &key, draw);
	if (!choice || !choice->avoid_count)
		return index;
	attempts = choice->avoid_attempts < AVOID_ATTEMPTS_MAX ? choice->avoid_attempts : AVOID_ATTEMPTS_MAX;
	while (index >= 0 && attempts-- && avoided(choice, index)) {
		key.attempt++;
		index = pick_once(plan, &key, draw);
	}
	return index;
}
