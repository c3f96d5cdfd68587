/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A table of a prime number of places that endpoints fill in turn, as often as they weigh, each walking through it in an
 * order of its own; a request's hash names a place. The table is Envoy's. Most places keep their endpoint when others
 * come or go.
 */
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

static void fill(struct maglev *maglev, struct filler *fillers, size_t count, double most)
{
	size_t taken = 0;

	memset(maglev->places, 0xff, maglev->size * sizeof(maglev->places[0]));
	for (uint32_t round = 1; taken < maglev->size; round++) {
		for (size_t i = 0; i < count && taken < maglev->size; i++) {
			if (round * fillers[i].weight < fillers[i].due)
				continue;
			fillers[i].due += most;
			take_place(maglev, &fillers[i]);
			taken++;
		}
	}
}

static int prepare(const struct mesh_mem *mem, const struct cluster_config *cluster, const struct lb_group *group,
		   struct rand *rand, void **state)
{
	size_t size = cluster->maglev_size ? (size_t)cluster->maglev_size : TABLE_SIZE;
	struct filler *fillers = NULL;
	struct maglev *maglev = NULL;
	struct lb_weights weights;
	int rc = mesh_lb_weights_new(mem, group, &weights);

	if (rc < 0)
		return rc;
	fillers = mesh_mem_array(mem, group->count, sizeof(*fillers));
	maglev = mesh_mem_zalloc(mem, sizeof(*maglev) + size * sizeof(maglev->places[0]));
	if (!fillers || !maglev) {
		mesh_mem_free(mem, maglev);
		rc = MESH_ERROR_NOMEM;
		goto done;
	}
	maglev->size = weights.count ? size : 0;
	fill(maglev, fillers, gather(group, &weights, size, fillers), weights.most);
	*state = maglev;
done:
	mesh_mem_free(mem, fillers);
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
