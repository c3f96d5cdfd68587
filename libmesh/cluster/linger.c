/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides which endpoints stay although configuration has them no more: as in Envoy, where a cluster is checked actively and
 * does not say otherwise, those that still pass. What is in force then is a set of both. Refuses to know who is checked.
 */
#include "cluster/health.h"

/* Both sets, and which of the old one stay. */
struct merge {
	struct cluster *cluster;
	const struct endpoint_set *wanted;
	struct map by_text; /* of `wanted` */
	size_t staying;
};

bool mesh_cluster_lingers(const struct cluster_config *config)
{
	return config->health_check && !config->ignore_health_on_removal;
}

static bool stays(const struct merge *merge, size_t active, const struct endpoint_config *config)
{
	const struct endpoint *endpoint = merge->cluster->active[active];

	if (mesh_map_get(&merge->by_text, config->text) || config->unsupported || (config->check && config->check->off))
		return false;
	return config->health != ENDPOINT_UNHEALTHY &&
	       !(atomic_load_explicit(&endpoint->shared->health, memory_order_relaxed) & HEALTH_FAILED_CHECK);
}

static struct mesh_slice copy_slice(struct arena *arena, struct mesh_slice slice, bool *failed)
{
	return slice.data ? mesh_arena_slice(arena, slice, failed) : slice;
}

static void *copy_array(struct arena *arena, const void *from, size_t count, size_t each, bool *failed)
{
	void *to = count ? mesh_arena_array(arena, count, each) : NULL;

	if (to)
		memcpy(to, from, count * each);
	else if (count)
		*failed = true;
	return to;
}

static void copy_label(struct arena *arena, const struct lb_label *from, struct lb_label *to, bool *failed)
{
	to->key = copy_slice(arena, from->key, failed);
	to->value = copy_slice(arena, from->value, failed);
	to->items = copy_array(arena, from->items, from->item_count, sizeof(*from->items), failed);
	for (size_t i = 0; to->items && i < from->item_count; i++)
		to->items[i] = copy_slice(arena, from->items[i], failed);
}

/* With all it points to: the set it was in goes. */
static bool copy_endpoint(struct arena *arena, const struct endpoint_config *from, struct endpoint_config *to)
{
	bool failed = false;

	*to = *from;
	to->text = copy_slice(arena, from->text, &failed);
	to->hostname = copy_slice(arena, from->hostname, &failed);
	to->hash_key = copy_slice(arena, from->hash_key, &failed);
	to->workload = copy_slice(arena, from->workload, &failed);
	to->transport_labels = copy_array(arena, from->transport_labels, from->transport_label_count, sizeof(struct label), &failed);
	for (size_t i = 0; to->transport_labels && i < to->transport_label_count; i++) {
		to->transport_labels[i].key = copy_slice(arena, from->transport_labels[i].key, &failed);
		to->transport_labels[i].value = copy_slice(arena, from->transport_labels[i].value, &failed);
	}
	to->lb_labels = copy_array(arena, from->lb_labels, from->lb_label_count, sizeof(struct lb_label), &failed);
	for (size_t i = 0; to->lb_labels && i < to->lb_label_count; i++)
		copy_label(arena, &from->lb_labels[i], &to->lb_labels[i], &failed);
	to->check = copy_array(arena, from->check, from->check ? 1 : 0, sizeof(*from->check), &failed);
	if (to->check)
		to->check->hostname = copy_slice(arena, from->check->hostname, &failed);
	return !failed;
}

static size_t count_staying(const struct merge *merge, const struct locality *locality, size_t active)
{
	size_t count = 0;

	for (size_t i = 0; i < locality->count; i++)
		count += stays(merge, active + i, &locality->endpoints[i]);
	return count;
}

static bool same_place(const struct locality *a, const struct locality *b)
{
	return a->priority == b->priority && mesh_slice_equal(a->region, b->region) && mesh_slice_equal(a->zone, b->zone) &&
	       mesh_slice_equal(a->subzone, b->subzone);
}

/*
 * The wanted locality that is the one they were in, with room for them; else one behind the wanted ones, which as in Envoy has
 * no weight: nobody says any more what it weighs. NULL: no memory.
 */
static struct locality *place(struct endpoint_set *set, const struct locality *from, size_t staying)
{
	struct arena *arena = &set->object.arena;
	struct endpoint_config *endpoints;
	struct locality *to = NULL;
	bool failed = false;

	for (size_t l = 0; l < set->count && !to; l++)
		if (same_place(&set->localities[l], from))
			to = &set->localities[l];
	if (!to) {
		to = &set->localities[set->count++];
		*to = (struct locality){.priority = from->priority};
		to->region = copy_slice(arena, from->region, &failed);
		to->zone = copy_slice(arena, from->zone, &failed);
		to->subzone = copy_slice(arena, from->subzone, &failed);
		if (to->priority >= set->priority_count)
			set->priority_count = to->priority + 1;
	}
	endpoints = mesh_arena_array(arena, to->count + staying, sizeof(*endpoints));
	if (failed || !endpoints)
		return NULL;
	if (to->count)
		memcpy(endpoints, to->endpoints, to->count * sizeof(*endpoints));
	to->endpoints = endpoints;
	return to;
}

/* Each in the locality it was in, behind those that are wanted there. */
static bool add_staying(struct merge *merge, struct endpoint_set *set)
{
	const struct endpoint_set *old = merge->cluster->set;
	size_t n = 0;

	for (size_t l = 0; l < old->count; n += old->localities[l++].count) {
		const struct locality *from = &old->localities[l];
		size_t staying = count_staying(merge, from, n);
		struct locality *to = staying ? place(set, from, staying) : NULL;

		if (staying && !to)
			return false;
		for (size_t i = 0; staying && i < from->count; i++) {
			if (!stays(merge, n + i, &from->endpoints[i]))
				continue;
			staying--; /* and no more than there is room for: other workers' checks go on */
			if (!copy_endpoint(&set->object.arena, &from->endpoints[i], &to->endpoints[to->count]))
				return false;
			to->count++;
			set->endpoint_count++;
		}
	}
	return true;
}

/* By priority again; those of one keep their order. Few are out of place. */
static void sort(struct endpoint_set *set)
{
	for (size_t i = 1; i < set->count; i++) {
		struct locality one = set->localities[i];
		size_t to = i;

		for (; to && set->localities[to - 1].priority > one.priority; to--)
			set->localities[to] = set->localities[to - 1];
		set->localities[to] = one;
	}
}

static int make(struct merge *merge, struct endpoint_set **result)
{
	const struct mesh_mem *mem = merge->cluster->env->mem;
	const struct endpoint_set *wanted = merge->wanted;
	struct endpoint_set *set = mesh_config_object_new(mem, sizeof(*set), wanted->object.item.name);

	if (!set)
		return MESH_ERROR_NOMEM;
	set->localities = mesh_arena_array(&set->object.arena, wanted->count + merge->cluster->set->count,
					   sizeof(*set->localities));
	if (!set->localities || mesh_config_object_hold(&set->object, (struct config_object *)&wanted->object)) {
		mesh_config_object_release(set);
		return MESH_ERROR_NOMEM;
	}
	mesh_config_object_retain(wanted); /* the hold has it */
	if (wanted->count)
		memcpy(set->localities, wanted->localities, wanted->count * sizeof(*set->localities));
	set->count = wanted->count;
	set->priority_count = wanted->priority_count;
	set->endpoint_count = wanted->endpoint_count;
	set->overprovisioning = wanted->overprovisioning;
	set->weighted_priority_health = wanted->weighted_priority_health;
	if (!add_staying(merge, set)) {
		mesh_config_object_release(set);
		return MESH_ERROR_NOMEM;
	}
	sort(set);
	*result = set;
	return 0;
}

int mesh_cluster_linger(struct cluster *cluster, const struct endpoint_set *wanted, struct endpoint_set **set)
{
	struct merge merge = {.cluster = cluster, .wanted = wanted};
	size_t n = 0;
	int rc = 0;

	*set = NULL;
	mesh_map_init(&merge.by_text, cluster->env->mem);
	for (size_t l = 0; l < wanted->count; l++)
		for (size_t i = 0; i < wanted->localities[l].count && !rc; i++) {
			struct endpoint_config *config = &wanted->localities[l].endpoints[i];

			rc = mesh_map_put(&merge.by_text, config->text, config, NULL);
		}
	for (size_t l = 0; !rc && cluster->set && l < cluster->set->count; l++)
		for (size_t i = 0; i < cluster->set->localities[l].count; i++, n++)
			merge.staying += stays(&merge, n, &cluster->set->localities[l].endpoints[i]);
	if (!rc && merge.staying)
		rc = make(&merge, set);
	mesh_map_free(&merge.by_text);
	return rc;
}
