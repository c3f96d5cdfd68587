/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides which subset of a cluster a request goes to, and what happens when there is none: the fallback of the selector
 * it asked by, else the cluster's. Subsets are made with the endpoint set; a pick looks one up. Who belongs to them is
 * subset_build.c's, which endpoint of one is taken its plan's.
 */
#include "lb/subset_build.h"

#include <math.h>

#include <mesh/error.h>

#define BUCKETS_MAX 131072

/* Weights of localities by how many of their endpoints are in the subset. */
static int scale_weights(struct lb_subsets *subsets, struct lb_subset *subset)
{
	const struct endpoint_set *set = subsets->from.set;
	uint32_t *counts = mesh_mem_array(subsets->mem, set->count, sizeof(*counts));

	if (!counts)
		return MESH_ERROR_NOMEM;
	for (size_t i = 0; i < subset->count; i++) {
		uint32_t locality = subsets->from.endpoints[subset->members[i]].locality;

		if (locality < set->count)
			counts[locality]++;
	}
	for (size_t l = 0; l < set->count; l++) {
		const struct locality *locality = &set->localities[l];
		float product = (float)((double)locality->weight * counts[l]);

		counts[l] = locality->count ? (uint32_t)roundf(product / (float)locality->count) : 0;
	}
	mesh_mem_free(subsets->mem, subset->locality_weights);
	subset->locality_weights = counts;
	return MESH_OK;
}

/* Where weights differ greatly a ring may have millions of points, and here are many rings. */
static size_t most_points(const struct lb_subsets *subsets)
{
	size_t levels = subsets->from.set->priority_count ? subsets->from.set->priority_count : 1;
	size_t most = MESH_SUBSET_POINTS_MAX / levels / (subsets->count + 2); /* the two fallbacks */

	return most ? most : 1;
}

static int make_plan(struct lb_subsets *subsets, struct lb_subset *subset, struct rand *rand)
{
	struct lb_sources from = subsets->from;
	struct lb_plan *plan;
	int rc = MESH_OK;

	if (subset->selector && subset->selector->single)
		return MESH_OK;
	subset->stale = true;
	if (subsets->config->locality_weight_aware && subsets->config->scale_locality_weight &&
	    !subset->locality_weights)
		rc = scale_weights(subsets, subset);
	from.members = subset->members;
	from.member_count = subset->count;
	from.locality_weights = subset->locality_weights;
	from.points_max = most_points(subsets);
	from.unweighted = !subsets->config->locality_weight_aware;
	if (rc < 0)
		return rc;
	rc = mesh_lb_plan_new(subsets->mem, subsets->ops, &from, rand, &plan);
	if (rc < 0)
		return rc;
	mesh_lb_plan_free(subset->plan);
	subset->plan = plan;
	subset->stale = false;
	return MESH_OK;
}

static bool affected(const struct lb_subsets *subsets, const struct lb_subset *subset)
{
	for (size_t i = 0; i < subset->count; i++)
		if (subsets->health[subset->members[i]] & 0x80)
			return true;
	return subset->stale;
}

static int refresh(struct lb_subsets *subsets, struct lb_subset *subset, struct rand *rand, bool all)
{
	return subset && (all || affected(subsets, subset)) ? make_plan(subsets, subset, rand) : MESH_OK;
}

int mesh_lb_subsets_update(struct lb_subsets *subsets, const struct lb_sources *from, struct rand *rand, bool all)
{
	int rc = MESH_OK, one;

	subsets->from = *from;
	for (size_t i = 0; i < from->count; i++) {
		uint8_t now = mesh_lb_health(&from->endpoints[i]);

		subsets->health[i] = now | (now != (subsets->health[i] & 0x7f) ? 0x80 : 0);
	}
	for (size_t b = 0; b < subsets->bucket_count; b++)
		for (struct lb_subset *at = subsets->buckets[b]; at; at = at->next) {
			one = refresh(subsets, at, rand, all);
			rc = rc ? rc : one;
		}
	one = refresh(subsets, subsets->any, rand, all);
	rc = rc ? rc : one;
	one = refresh(subsets, subsets->fallback, rand, all);
	rc = rc ? rc : one;
	for (size_t i = 0; i < from->count; i++)
		subsets->health[i] &= 0x7f;
	return rc;
}

static bool has_value(const struct lb_subsets *subsets, const struct lb_label *label, struct mesh_slice value)
{
	if (mesh_slice_equal(label->value, value))
		return true;
	for (size_t i = 0; subsets->config->list_as_any && label->list && i < label->item_count; i++)
		if (mesh_slice_equal(label->items[i], value))
			return true;
	return false;
}

static bool is_default(const struct lb_subsets *subsets, const struct lb_endpoint *endpoint)
{
	for (size_t d = 0; d < subsets->config->default_label_count; d++) {
		const struct label *wanted = &subsets->config->default_labels[d];
		bool found = false;

		for (size_t i = 0; i < endpoint->label_count && !found; i++)
			found = mesh_slice_equal(endpoint->labels[i].key, wanted->key) &&
				has_value(subsets, &endpoint->labels[i], wanted->value);
		if (!found)
			return false;
	}
	return true;
}

static int make_fallback(struct lb_subsets *subsets, bool any, struct lb_subset **made)
{
	int rc = MESH_OK;

	*made = mesh_mem_zalloc(subsets->mem, sizeof(**made));
	if (!*made)
		return MESH_ERROR_NOMEM;
	for (uint32_t i = 0; i < subsets->from.count && !rc; i++)
		if (any || is_default(subsets, &subsets->from.endpoints[i]))
			rc = mesh_subset_join(subsets, *made, i);
	return rc;
}

static int make_fallbacks(struct lb_subsets *subsets)
{
	const struct subset_config *config = subsets->config;
	bool any = config->fallback == SUBSET_ANY || config->panic_any, other = config->fallback == SUBSET_DEFAULT;
	int rc = MESH_OK;

	for (size_t s = 0; s < config->selector_count; s++) {
		any = any || config->selectors[s].fallback == SUBSET_ANY;
		other = other || config->selectors[s].fallback == SUBSET_DEFAULT;
	}
	if (any)
		rc = make_fallback(subsets, true, &subsets->any);
	if (!rc && other)
		rc = make_fallback(subsets, false, &subsets->fallback);
	return rc;
}

int mesh_lb_subsets_new(const struct mesh_mem *mem, const struct lb_ops *ops, const struct lb_sources *from,
			struct rand *rand, struct lb_subsets **subsets)
{
	struct lb_subsets *made = mesh_mem_zalloc(mem, sizeof(*made));
	int rc = MESH_ERROR_NOMEM;

	*subsets = NULL;
	if (!made)
		return MESH_ERROR_NOMEM;
	made->mem = mem;
	made->ops = ops;
	made->from = *from;
	made->config = from->cluster->balance.subset;
	for (made->bucket_count = 16; made->bucket_count < 2 * from->count && made->bucket_count < BUCKETS_MAX;)
		made->bucket_count *= 2;
	made->buckets = mesh_mem_array(mem, made->bucket_count, sizeof(struct lb_subset *));
	made->fallback_said = mesh_mem_array(mem, made->config->selector_count, sizeof(bool));
	made->health = mesh_mem_array(mem, from->count, 1);
	if (made->buckets && made->fallback_said && made->health)
		rc = mesh_subset_collect(made);
	if (!rc)
		rc = make_fallbacks(made);
	if (!rc)
		rc = mesh_lb_subsets_update(made, from, rand, true);
	if (rc < 0)
		mesh_lb_subsets_free(made);
	else
		*subsets = made;
	return rc;
}

void mesh_lb_subsets_free(struct lb_subsets *subsets)
{
	if (!subsets)
		return;
	for (size_t b = 0; subsets->buckets && b < subsets->bucket_count; b++)
		for (struct lb_subset *at = subsets->buckets[b], *next; at; at = next) {
			next = at->next;
			mesh_subset_free(subsets, at);
		}
	mesh_subset_free(subsets, subsets->any);
	mesh_subset_free(subsets, subsets->fallback);
	mesh_mem_free(subsets->mem, subsets->buckets);
	mesh_mem_free(subsets->mem, subsets->fallback_said);
	mesh_mem_free(subsets->mem, subsets->health);
	mesh_mem_free(subsets->mem, subsets);
}

/* ---- a pick */

static int64_t pick_from(struct lb_subset *subset, struct lb_draw *draw)
{
	if (!subset || !subset->count)
		return MESH_ERROR_NO_ENDPOINT;
	if (subset->plan)
		return mesh_lb_plan_pick(subset->plan, draw);
	draw->panicking = false;
	return draw->endpoints[subset->members[0]].excluded ? MESH_ERROR_NO_ENDPOINT : (int64_t)subset->members[0];
}

static bool has_key(const struct mesh_slice *keys, size_t count, struct mesh_slice key)
{
	for (size_t i = 0; i < count; i++)
		if (mesh_slice_equal(keys[i], key))
			return true;
	return false;
}

/* Labels of a request as they are narrowed. */
struct asked {
	struct label labels[MESH_SUBSET_KEYS_MAX];
	size_t count;
};

/* Those with one of these keys; how many. More than fit match nothing anyway. */
static size_t keep(const struct label *labels, size_t count, const struct mesh_slice *keys, size_t key_count,
		   struct asked *asked)
{
	size_t kept = 0;

	for (size_t i = 0; i < count; i++)
		if (has_key(keys, key_count, labels[i].key) && kept < MESH_SUBSET_KEYS_MAX)
			asked->labels[kept++] = labels[i];
	return asked->count = kept;
}

/* Without the keys that the first selector that fits does not ask for. */
static void drop_redundant(const struct subset_config *config, struct asked *asked)
{
	struct asked kept;

	for (size_t s = 0; s < config->selector_count; s++) {
		const struct subset_selector *selector = &config->selectors[s];

		if (keep(asked->labels, asked->count, selector->keys, selector->key_count, &kept) !=
		    selector->key_count)
			continue;
		*asked = kept;
		return;
	}
}

/* The selector these keys are exactly, when it says what to do. */
static const struct subset_selector *selector_of(const struct lb_subsets *subsets, const struct asked *asked)
{
	for (size_t s = 0; s < subsets->config->selector_count; s++) {
		const struct subset_selector *selector = &subsets->config->selectors[s];
		bool same = subsets->fallback_said[s] && selector->key_count == asked->count;

		for (size_t i = 0; same && i < asked->count; i++)
			same = mesh_slice_equal(selector->keys[i], asked->labels[i].key);
		if (same)
			return selector->fallback == SUBSET_UNDEFINED ? NULL : selector;
	}
	return NULL;
}

static int64_t pick_fallback(struct lb_subsets *subsets, struct lb_draw *draw)
{
	const struct subset_config *config = subsets->config;
	int64_t index;

	if (config->fallback == SUBSET_NOBODY)
		return MESH_ERROR_NO_ENDPOINT;
	index = pick_from(config->fallback == SUBSET_ANY ? subsets->any : subsets->fallback, draw);
	return index < 0 && config->panic_any ? pick_from(subsets->any, draw) : index;
}

static int64_t pick_labels(struct lb_subsets *subsets, const struct label *labels, size_t count, struct lb_draw *draw)
{
	struct asked asked = {.count = 0}, kept;
	const struct subset_selector *selector;

	for (size_t i = 0; i < count && count <= MESH_SUBSET_KEYS_MAX; i++)
		if (!subsets->config->fallback_list || !mesh_slice_equal(labels[i].key, MESH_SLICE("fallback_list")))
			asked.labels[asked.count++] = labels[i];
	while (asked.count) { /* each time with fewer keys */
		struct lb_subset *subset;

		if (subsets->config->redundant_keys)
			drop_redundant(subsets->config, &asked);
		subset = mesh_subset_find(subsets, asked.labels, asked.count);
		if (subset)
			return pick_from(subset, draw);
		selector = selector_of(subsets, &asked);
		if (!selector)
			break;
		if (selector->fallback != SUBSET_KEYS)
			return pick_from(selector->fallback == SUBSET_ANY       ? subsets->any
					 : selector->fallback == SUBSET_DEFAULT ? subsets->fallback
										: NULL,
					 draw);
		keep(asked.labels, asked.count, selector->fallback_keys, selector->fallback_key_count, &kept);
		asked = kept;
	}
	return pick_fallback(subsets, draw);
}

int64_t mesh_lb_subsets_pick(struct lb_subsets *subsets, struct lb_draw *draw)
{
	const struct lb_choice *choice = draw->choice;
	int64_t index = MESH_ERROR_NO_ENDPOINT;

	if (!choice)
		return pick_fallback(subsets, draw);
	if (!subsets->config->fallback_list || !choice->subset_fallback_count)
		return pick_labels(subsets, choice->subset, choice->subset_count, draw);
	for (size_t i = 0; i < choice->subset_fallback_count && index < 0; i++)
		index = pick_labels(subsets, choice->subset_fallbacks[i].labels,
				    choice->subset_fallbacks[i].label_count, draw);
	return index;
}
