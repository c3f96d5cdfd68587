/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Endpoints at many points of a ring of hashes, each as often as it weighs; a request goes to the next point at or behind
 * its own hash. The points are Envoy's. When endpoints come or go, only what lay next to their points moves.
 */
#include <math.h>
#include <stdlib.h>

#include <mesh/error.h>

#include "base/hash.h"
#include "lb/weights.h"

#define RING_MIN   1024 /* when nothing is said */
#define RING_MAX   8388608
#define KEY_DIGITS 21 /* _18446744073709551615 */

struct point {
	uint64_t hash;
	uint32_t member;
};

struct ring {
	size_t count, room;
	struct point points[];
};

static int order(const void *left, const void *right)
{
	const struct point *a = left, *b = right;

	if (a->hash != b->hash)
		return a->hash < b->hash ? -1 : 1;
	return (a->member > b->member) - (a->member < b->member);
}

/* Writes "_n" to `at`, returns its length. */
static size_t put_number(char *at, uint64_t n)
{
	char digits[KEY_DIGITS];
	size_t len = 0;

	do
		digits[len++] = (char)('0' + n % 10);
	while (n /= 10);
	*at++ = '_';
	for (size_t i = 0; i < len; i++)
		at[i] = digits[len - 1 - i];
	return len + 1;
}

/* The next points of one member until all points so far are `target`. */
static void add_points(struct ring *ring, uint32_t member, char *text, size_t len, double target, bool murmur)
{
	for (uint64_t n = 0; (double)ring->count < target && ring->count < ring->room; n++) {
		struct mesh_slice key = mesh_slice_make(text, len + put_number(text + len, n));
		uint64_t hash = murmur ? mesh_hash_murmur2(key) : mesh_hash_xx64(key, 0);

		ring->points[ring->count++] = (struct point){hash, member};
	}
}

static int fill(const struct mesh_mem *mem, const struct cluster_config *cluster, const struct lb_group *group,
		const struct lb_weights *weights, double scale, struct ring *ring)
{
	size_t longest = 0;
	double target = 0;
	char *text;

	for (size_t i = 0; i < group->count; i++) {
		size_t len = group->endpoints[group->members[i]].key.len;

		if (len > longest)
			longest = len;
	}
	text = mesh_mem_alloc(mem, longest + KEY_DIGITS);
	if (!text)
		return MESH_ERROR_NOMEM;
	for (uint32_t i = 0; i < group->count; i++) {
		struct mesh_slice key = group->endpoints[group->members[i]].key;

		if (weights->of[i] <= 0)
			continue;
		if (key.len)
			memcpy(text, key.data, key.len);
		target += scale * weights->of[i];
		add_points(ring, i, text, key.len, target, cluster->ring_murmur);
	}
	mesh_mem_free(mem, text);
	qsort(ring->points, ring->count, sizeof(ring->points[0]), order);
	return MESH_OK;
}

/* As many points that the lightest has a whole number of them, within what is allowed. */
static double points_wanted(const struct cluster_config *cluster, const struct lb_group *group,
			    const struct lb_weights *weights)
{
	double low = (double)(cluster->ring_max ? cluster->ring_min : RING_MIN);
	double high = (double)(cluster->ring_max && cluster->ring_max < RING_MAX ? cluster->ring_max : RING_MAX);

	if (group->points_max && (double)group->points_max < high)
		high = (double)group->points_max;
	return weights->count ? fmin(ceil(weights->least * low) / weights->least, high) : 0;
}

static int prepare(const struct mesh_mem *mem, const struct cluster_config *cluster, const struct lb_group *group,
		   struct rand *rand, void **state)
{
	struct lb_weights weights;
	struct ring *ring = NULL;
	double scale;
	size_t room;
	int rc = mesh_lb_weights_new(mem, group, &weights);

	if (rc < 0)
		return rc;
	scale = points_wanted(cluster, group, &weights);
	room = (size_t)ceil(scale) + 1; /* sums of parts may end above the whole */
	ring = mesh_mem_zalloc(mem, sizeof(*ring) + room * sizeof(ring->points[0]));
	rc = MESH_ERROR_NOMEM;
	if (ring) {
		ring->room = room;
		rc = fill(mem, cluster, group, &weights, scale, ring);
	}
	mesh_lb_weights_free(mem, &weights);
	if (rc < 0)
		mesh_mem_free(mem, ring);
	else
		*state = ring;
	return rc;
}

static uint32_t pick(void *state, const struct lb_group *group, struct rand *rand, const struct lb_key *key)
{
	const struct ring *ring = state;
	size_t from = 0, to = ring->count;

	if (!ring->count)
		return MESH_LB_NOBODY;
	while (from < to) {
		size_t middle = from + (to - from) / 2;

		if (ring->points[middle].hash < key->hash)
			from = middle + 1;
		else
			to = middle;
	}
	if (from == ring->count)
		from = 0;
	return ring->points[(from + key->attempt) % ring->count].member;
}

static void destroy(const struct mesh_mem *mem, void *state)
{
	mesh_mem_free(mem, state);
}

const struct lb_ops mesh_lb_ring_hash = {"ring_hash", true, prepare, pick, destroy};
