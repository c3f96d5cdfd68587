/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides which subsets there are and who belongs to them: for each selector one for every combination of values that an
 * endpoint has for all of its keys. Bounds how many. Knows nothing of health.
 */
#include "lb/subset_build.h"

#include <mesh/error.h>

#include "base/hash.h"

#define SUBSETS_MAX      65536
#define CONSISTENT_MAX   1024   /* each has a ring or a table for each priority */
#define LEVELS_MAX       262144 /* subsets times priorities */
#define PLANNED_MAX      67108864 /* times localities: time goes by it */
#define PLACES_MAX       67108864 /* of all Maglev tables together */
#define MEMBERSHIPS_MAX  4194304
#define COMBINATIONS_MAX 1024 /* of one endpoint's lists for one selector */

/* The values an endpoint has for the keys of a selector; lists are gone through like the wheels of a counter. */
struct combination {
	const struct lb_label *labels[MESH_SUBSET_KEYS_MAX];
	size_t at[MESH_SUBSET_KEYS_MAX];
	struct mesh_slice values[MESH_SUBSET_KEYS_MAX];
};

uint64_t mesh_subset_hash(uint64_t hash, struct mesh_slice key, struct mesh_slice value)
{
	return mesh_hash_xx64(value, mesh_hash_xx64(key, hash));
}

static bool is_of(const struct lb_subset *subset, const struct label *labels, size_t count)
{
	if (subset->selector->key_count != count)
		return false;
	for (size_t i = 0; i < count; i++)
		if (!mesh_slice_equal(subset->selector->keys[i], labels[i].key) ||
		    !mesh_slice_equal(subset->values[i], labels[i].value))
			return false;
	return true;
}

struct lb_subset *mesh_subset_find(const struct lb_subsets *subsets, const struct label *labels, size_t count)
{
	uint64_t hash = 0;

	for (size_t i = 0; i < count; i++)
		hash = mesh_subset_hash(hash, labels[i].key, labels[i].value);
	for (struct lb_subset *at = subsets->buckets[hash & (subsets->bucket_count - 1)]; at; at = at->next)
		if (at->hash == hash && is_of(at, labels, count))
			return at;
	return NULL;
}

static size_t least(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* How many rings or tables there is memory for. */
static size_t tables_max(const struct cluster_config *cluster)
{
	uint64_t size = cluster->lb == LB_RING_HASH ? cluster->ring_min : cluster->maglev_size;

	return (cluster->lb == LB_RING_HASH ? MESH_SUBSET_POINTS_MAX : PLACES_MAX) / (size ? (size_t)size : 65537);
}

static bool full(const struct lb_subsets *subsets)
{
	size_t most = subsets->ops->consistent ? CONSISTENT_MAX : SUBSETS_MAX,
	       levels = subsets->from.set->priority_count;

	levels = levels ? levels : 1;
	most = least(most, LEVELS_MAX / levels);
	most = least(most, PLANNED_MAX / levels / (subsets->from.set->count + 1));
	if (subsets->ops->consistent)
		most = least(most, tables_max(subsets->from.cluster) / levels);
	return subsets->count >= most;
}

void mesh_subset_free(struct lb_subsets *subsets, struct lb_subset *subset)
{
	if (!subset)
		return;
	mesh_lb_plan_free(subset->plan);
	mesh_mem_free(subsets->mem, subset->members);
	mesh_mem_free(subsets->mem, subset->values);
	mesh_mem_free(subsets->mem, subset->locality_weights);
	mesh_mem_free(subsets->mem, subset);
}

static struct lb_subset *subset_new(struct lb_subsets *subsets, const struct subset_selector *selector,
				    const struct mesh_slice *values, uint64_t hash)
{
	struct lb_subset *subset = mesh_mem_zalloc(subsets->mem, sizeof(*subset));
	struct lb_subset **bucket = &subsets->buckets[hash & (subsets->bucket_count - 1)];

	if (!subset)
		return NULL;
	subset->values = mesh_mem_array(subsets->mem, selector->key_count, sizeof(*values));
	if (!subset->values) {
		mesh_mem_free(subsets->mem, subset);
		return NULL;
	}
	for (size_t i = 0; i < selector->key_count; i++)
		subset->values[i] = values[i];
	subset->hash = hash;
	subset->selector = selector;
	subset->next = *bucket;
	*bucket = subset;
	subsets->count++;
	return subset;
}

static uint32_t priority(const struct lb_subsets *subsets, uint32_t index)
{
	uint32_t locality = subsets->from.endpoints[index].locality;

	return locality < subsets->from.set->count ? subsets->from.set->localities[locality].priority : UINT32_MAX;
}

int mesh_subset_join(struct lb_subsets *subsets, struct lb_subset *subset, uint32_t index)
{
	if (subset->count && subset->members[subset->count - 1] == index)
		return MESH_OK; /* the same element twice in a list */
	if (subset->selector && subset->selector->single && subset->count) {
		if (priority(subsets, index) < priority(subsets, subset->members[0]))
			subset->members[0] = index;
		return MESH_OK;
	}
	if (subset->count == subset->room) {
		size_t room = subset->room ? 2 * subset->room : 1;
		uint32_t *members = mesh_mem_resize(subsets->mem, subset->members, room * sizeof(*members));

		if (!members)
			return MESH_ERROR_NOMEM;
		subset->members = members;
		subset->room = room;
	}
	subset->members[subset->count++] = index;
	subsets->memberships++;
	return MESH_OK;
}

/* Into the subset of these values, which is made when it is new. */
static int put(struct lb_subsets *subsets, const struct subset_selector *selector, const struct mesh_slice *values,
	       uint32_t index)
{
	struct label labels[MESH_SUBSET_KEYS_MAX];
	struct lb_subset *subset;
	uint64_t hash = 0;

	if (subsets->memberships >= MEMBERSHIPS_MAX)
		return MESH_OK;
	for (size_t i = 0; i < selector->key_count; i++) {
		labels[i] = (struct label){selector->keys[i], values[i]};
		hash = mesh_subset_hash(hash, labels[i].key, labels[i].value);
	}
	subset = mesh_subset_find(subsets, labels, selector->key_count);
	if (!subset && full(subsets))
		return MESH_OK;
	if (!subset)
		subset = subset_new(subsets, selector, values, hash);
	return subset ? mesh_subset_join(subsets, subset, index) : MESH_ERROR_NOMEM;
}

static const struct lb_label *label_of(const struct lb_endpoint *endpoint, struct mesh_slice key)
{
	for (size_t i = 0; i < endpoint->label_count; i++)
		if (mesh_slice_equal(endpoint->labels[i].key, key))
			return &endpoint->labels[i];
	return NULL;
}

static bool as_any(const struct lb_subsets *subsets, const struct lb_label *label)
{
	return subsets->config->list_as_any && label->list;
}

/* False: it lacks one of the keys. */
static bool first_combination(const struct lb_subsets *subsets, const struct subset_selector *selector,
			      const struct lb_endpoint *endpoint, struct combination *now)
{
	for (size_t k = 0; k < selector->key_count; k++) {
		const struct lb_label *label = label_of(endpoint, selector->keys[k]);

		if (!label || (as_any(subsets, label) && !label->item_count))
			return false;
		now->labels[k] = label;
		now->at[k] = 0;
		now->values[k] = as_any(subsets, label) ? label->items[0] : label->value;
	}
	return true;
}

static bool next_combination(const struct lb_subsets *subsets, size_t keys, struct combination *now)
{
	for (size_t k = 0; k < keys; k++) {
		if (!as_any(subsets, now->labels[k]))
			continue;
		if (++now->at[k] < now->labels[k]->item_count) {
			now->values[k] = now->labels[k]->items[now->at[k]];
			return true;
		}
		now->at[k] = 0;
		now->values[k] = now->labels[k]->items[0];
	}
	return false;
}

static bool same_keys(const struct subset_selector *a, const struct subset_selector *b, size_t count)
{
	if (a->key_count < count || b->key_count < count)
		return false;
	for (size_t i = 0; i < count; i++)
		if (!mesh_slice_equal(a->keys[i], b->keys[i]))
			return false;
	return true;
}

/*
 * Of several selectors with the same keys the first counts. And as in Envoy the fallback of one whose keys begin an
 * earlier one's is not heeded.
 */
static bool told_before(const struct subset_config *config, size_t which, bool *fallback_said)
{
	const struct subset_selector *selector = &config->selectors[which];

	*fallback_said = true;
	for (size_t i = 0; i < which; i++) {
		if (!same_keys(&config->selectors[i], selector, selector->key_count))
			continue;
		*fallback_said = false;
		if (config->selectors[i].key_count == selector->key_count)
			return true;
	}
	return false;
}

int mesh_subset_collect(struct lb_subsets *subsets)
{
	for (size_t s = 0; s < subsets->config->selector_count; s++) {
		const struct subset_selector *selector = &subsets->config->selectors[s];

		if (told_before(subsets->config, s, &subsets->fallback_said[s]))
			continue;
		for (uint32_t i = 0; i < subsets->from.count; i++) {
			struct combination now;
			size_t left = COMBINATIONS_MAX;

			if (!first_combination(subsets, selector, &subsets->from.endpoints[i], &now))
				continue;
			do {
				int rc = put(subsets, selector, now.values, i);

				if (rc < 0)
					return rc;
			} while (--left && next_combination(subsets, selector->key_count, &now));
		}
	}
	return MESH_OK;
}
