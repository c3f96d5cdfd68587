/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A table of a prime number of places that endpoints fill in turn, as often as they weigh, each walking through it in an
 * order of its own; a request's hash names a place. The table is Envoy's. Most places keep their endpoint when others
 * come or go.
 */
#include <math.h>
#include <stdlib.h>

#include <mesh/error.h>

#include "base/hash.h"
#include "lb/weights.h"

#define TABLE_SIZE 65537 /* when nothing is said */

struct maglev {
	size_t size; /* 0: nobody */
	uint32_t places[];
};

struct filler {
	struct mesh_slice key;
	uint32_t member;
	double weight, due; /* its next turn comes when weight times rounds has reached it */
	uint64_t offset, skip, next;
};

/* The table must not depend on the order in which endpoints were told. */
static int order(const void *left, const void *right)
{
	const struct filler *a = left, *b = right;
	int by_key = mesh_slice_compare(a->key, b->key);

	return by_key ? by_key : (a->member > b->member) - (a->member < b->member);
}

static size_t gather(const struct lb_group *group, const struct lb_weights *weights, size_t size,
		     struct filler *fillers)
{
	size_t count = 0;

	for (uint32_t i = 0; i < group->count; i++) {
		struct mesh_slice key = group->endpoints[group->members[i]].key;

		if (weights->of[i] <= 0)
			continue;
		fillers[count++] = (struct filler){.key = key, .member = i, .weight = weights->of[i],
						   .offset = mesh_hash_xx64(key, 0) % size,
						   .skip = mesh_hash_xx64(key, 1) % (size - 1) + 1};
	}
	qsort(fillers, count, sizeof(*fillers), order);
	return count;
}

static void take_place(struct maglev *maglev, struct filler *filler)
{
	size_t place;

	do
		place = (filler->offset + filler->skip * filler->next++) % maglev->size;
	while (maglev->places[place] != MESH_LB_NOBODY);
	maglev->places[place] = filler->member;
}

/* The next round in which it has a turn; the whole table is filled long before the last number. */
static uint64_t next_round(const struct filler *filler, uint64_t round)
{
	double guess = ceil(filler->due / filler->weight);
	uint64_t next = guess < UINT32_MAX ? (uint64_t)guess : UINT32_MAX;

	while (next > round + 1 && (double)(next - 1) * filler->weight >= filler->due)
		next--;
	while (next < UINT32_MAX && (double)next * filler->weight < filler->due)
		next++;
	return next > round ? next : round + 1;
}

/* A heap whose first gives way to a later turn. */
static void replace_first(uint64_t *turns, size_t count, uint64_t turn)
{
	size_t at = 0, child;

	while ((child = 2 * at + 1) < count) {
		if (child + 1 < count && turns[child + 1] < turns[child])
			child++;
		if (turns[child] >= turn)
			break;
		turns[at] = turns[child];
		at = child;
	}
	turns[at] = turn;
}

/*
 * Round by round, in each those that are due, in order. `turns` has the round each is due in, and behind it (in the lower 32
 * bits) who it is: where weights differ greatly most are due in few rounds, and nobody is looked at in vain.
 */
static void fill(struct maglev *maglev, struct filler *fillers, uint64_t *turns, size_t count,
		 const struct lb_weights *weights)
{
	bool even = weights->least == weights->most; /* all are due in each round */

	memset(maglev->places, 0xff, maglev->size * sizeof(maglev->places[0]));
	for (size_t i = 0; i < count; i++)
		turns[i] = UINT64_C(1) << 32 | i;
	for (size_t taken = 0; taken < maglev->size; taken++) {
		uint32_t who = (uint32_t)(even ? taken % count : turns[0]);

		fillers[who].due += weights->most;
		take_place(maglev, &fillers[who]);
		if (!even)
			replace_first(turns, count, next_round(&fillers[who], turns[0] >> 32) << 32 | who);
	}
}

static int prepare(const struct mesh_mem *mem, const struct cluster_config *cluster, const struct lb_group *group,
		   struct rand *rand, void **state)
{
	size_t size = cluster->maglev_size ? (size_t)cluster->maglev_size : TABLE_SIZE;
	struct filler *fillers = NULL;
	uint64_t *turns = NULL;
	struct maglev *maglev = NULL;
	struct lb_weights weights;
	int rc = mesh_lb_weights_new(mem, group, &weights);

	if (rc < 0)
		return rc;
	fillers = mesh_mem_array(mem, group->count, sizeof(*fillers));
	turns = mesh_mem_array(mem, group->count, sizeof(*turns));
	maglev = mesh_mem_zalloc(mem, sizeof(*maglev) + size * sizeof(maglev->places[0]));
	if (!fillers || !turns || !maglev) {
		mesh_mem_free(mem, maglev);
		rc = MESH_ERROR_NOMEM;
		goto done;
	}
	maglev->size = weights.count ? size : 0;
	fill(maglev, fillers, turns, gather(group, &weights, size, fillers), &weights);
	*state = maglev;
done:
	mesh_mem_free(mem, fillers);
	mesh_mem_free(mem, turns);
	mesh_lb_weights_free(mem, &weights);
	return rc;
}

static uint32_t pick(void *state, const struct lb_group *group, struct rand *rand, const struct lb_key *key)
{
	const struct maglev *maglev = state;
	uint64_t hash = key->hash;

	if (!maglev->size)
		return MESH_LB_NOBODY;
	if (key->attempt) /* far away from where it was */
		hash ^= 0 - (uint64_t)key->attempt;
	return maglev->places[hash % maglev->size];
}

static void destroy(const struct mesh_mem *mem, void *state)
{
	mesh_mem_free(mem, state);
}

const struct lb_ops mesh_lb_maglev = {"maglev", true, prepare, pick, destroy};
