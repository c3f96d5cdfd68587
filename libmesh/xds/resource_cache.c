/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is held between responses, and the views of it: names to ask for, versions to tell, a snapshot for the workers.
 * How a response changes it is resource_apply.c's to decide.
 */
#include "xds/resource_cache.h"

#include <stdlib.h>

#include <mesh/error.h>

#include "loop/loop.h"
#include "xds/resource_state.h"

#define RESOURCE_BYTES_MAX ((size_t)16 << 20)
#define RESOURCES_MAX	   200000
#define NESTING_MAX	   64
#define WARNED_MAX	   256 /* texts remembered; others are counted and no more */

const char *const mesh_xds_type_urls[XDS_TYPES] = {
	[XDS_CLUSTER] = "type.googleapis.com/envoy.config.cluster.v3.Cluster",
	[XDS_ENDPOINT] = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
	[XDS_LISTENER] = "type.googleapis.com/envoy.config.listener.v3.Listener",
	[XDS_ROUTE] = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
	[XDS_SECRET] = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret",
};

int mesh_xds_type_of(struct mesh_slice url)
{
	for (int i = 0; i < XDS_TYPES; i++) {
		if (mesh_slice_equal(url, mesh_slice_of(mesh_xds_type_urls[i])))
			return i;
	}
	return -1;
}

/* ---- life ---- */

static void warn(void *user, const char *what)
{
	struct resource_cache *cache = user;
	struct mesh_slice words = mesh_slice_of(what);
	char *text;

	cache->warnings++;
	if (cache->warned.count >= WARNED_MAX || mesh_map_get(&cache->warned, words))
		return;
	text = mesh_mem_text(cache->mem, words);
	if (text && mesh_map_put(&cache->warned, mesh_slice_of(text), text, NULL) < 0)
		mesh_mem_free(cache->mem, text); /* told again next time, which is no harm */
	MESH_LOG_W(cache->log, "xds", "%s", what);
}

int mesh_resource_cache_new(const struct mesh_mem *mem, const struct log *log, const struct xds_limits *limits,
			    struct resource_cache **result)
{
	struct resource_cache *cache = mesh_mem_zalloc(mem, sizeof(*cache));

	if (!cache)
		return MESH_ERROR_NOMEM;
	cache->mem = mem;
	cache->log = log;
	if (limits)
		cache->limits = *limits;
	if (!cache->limits.resource_bytes_max)
		cache->limits.resource_bytes_max = RESOURCE_BYTES_MAX;
	if (!cache->limits.resources_max)
		cache->limits.resources_max = RESOURCES_MAX;
	if (!cache->limits.nesting_max)
		cache->limits.nesting_max = NESTING_MAX;
	cache->started_ms = mesh_time_wall_ms();
	mesh_map_init(&cache->warned, mem);
	mesh_decode_init(&cache->decode, mem, cache->limits.nesting_max, warn, cache);
	*result = cache;
	return 0;
}

int mesh_resource_cache_want(struct resource_cache *cache, enum xds_type type, struct mesh_slice name)
{
	return mesh_resource_state_want(cache->mem, &cache->state, type, name);
}

void mesh_resource_cache_free(struct resource_cache *cache)
{
	if (!cache)
		return;
	mesh_snapshot_release(cache->last);
	mesh_resource_state_free(&cache->state);
	for (size_t i = 0; i < XDS_TYPES; i++) {
		mesh_table_release(cache->wanted_of[i]);
		mesh_mem_free(cache->mem, cache->wanted[i]);
		mesh_mem_free(cache->mem, cache->held[i]);
	}
	MESH_MAP_EACH(slot, &cache->warned)
		mesh_mem_free(cache->mem, slot->value);
	mesh_map_free(&cache->warned);
	mesh_decode_free(&cache->decode);
	mesh_mem_free(cache->mem, cache);
}

uint64_t mesh_resource_cache_warnings(const struct resource_cache *cache)
{
	return cache->warnings;
}

/* ---- names and versions ---- */

/* Of the pod's own file system: no control plane is asked for it. */
static bool is_file(struct mesh_slice name)
{
	return mesh_slice_prefix(name, MESH_SLICE("file-cert:")) || mesh_slice_prefix(name, MESH_SLICE("file-root:"));
}

/* Those of files last. */
static int name_order(const void *left, const void *right)
{
	struct mesh_slice a = *(const struct mesh_slice *)left, b = *(const struct mesh_slice *)right;

	if (is_file(a) != is_file(b))
		return is_file(a) ? 1 : -1;
	return mesh_slice_compare(a, b);
}

static int put_name(struct table_item *item, void *user)
{
	struct mesh_slice **next = user;

	*(*next)++ = item->name;
	return 0;
}

static int list_wanted(struct resource_cache *cache, enum xds_type type, const struct mesh_slice **names, size_t *count)
{
	struct table *wants = cache->state.wants[type];
	size_t total = mesh_table_count(wants);
	struct mesh_slice *list, *next;

	if (cache->wanted_of[type] != wants) {
		list = next = mesh_mem_array(cache->mem, total, sizeof(*list));
		if (!list)
			return MESH_ERROR_NOMEM;
		mesh_table_each(wants, put_name, &next);
		if (total > 1)
			qsort(list, total, sizeof(*list), name_order);
		mesh_mem_free(cache->mem, cache->wanted[type]);
		mesh_table_release(cache->wanted_of[type]);
		cache->wanted[type] = list;
		cache->wanted_of[type] = mesh_table_retain(wants);
	}
	*names = cache->wanted[type];
	*count = total;
	return 0;
}

int mesh_resource_cache_wanted(struct resource_cache *cache, enum xds_type type, const struct mesh_slice **names,
			       size_t *count)
{
	int rc = list_wanted(cache, type, names, count);

	while (!rc && type == XDS_SECRET && *count && is_file((*names)[*count - 1]))
		--*count;
	return rc;
}

int mesh_resource_cache_files(struct resource_cache *cache, const struct mesh_slice **names, size_t *count)
{
	size_t served, all;
	int rc = list_wanted(cache, XDS_SECRET, names, &all);

	rc = rc ? rc : mesh_resource_cache_wanted(cache, XDS_SECRET, names, &served);
	*count = rc ? 0 : all - served;
	if (*count)
		*names += served;
	return rc;
}

static int held_order(const void *left, const void *right)
{
	return mesh_slice_compare(((const struct xds_held *)left)->name, ((const struct xds_held *)right)->name);
}

static int put_held(struct table_item *item, void *user)
{
	const struct resource_entry *entry = (const struct resource_entry *)item;
	struct xds_held **next = user;

	if (entry->object && !entry->own)
		*(*next)++ = (struct xds_held){item->name, entry->version->text};
	return 0;
}

int mesh_resource_cache_held(struct resource_cache *cache, enum xds_type type, const struct xds_held **held,
			     size_t *count)
{
	size_t room = mesh_table_count(cache->state.entries[type]);
	struct xds_held *list = mesh_mem_array(cache->mem, room, sizeof(*list)), *next = list;

	if (!list)
		return MESH_ERROR_NOMEM;
	mesh_table_each(cache->state.entries[type], put_held, &next);
	*count = (size_t)(next - list);
	if (*count > 1)
		qsort(list, *count, sizeof(*list), held_order);
	mesh_mem_free(cache->mem, cache->held[type]);
	cache->held[type] = list;
	*held = list;
	return 0;
}

/* ---- changes that are not responses, snapshots ---- */

void mesh_resource_cache_replace(struct resource_cache *cache, struct resource_state *next, bool good)
{
	struct resource_state gone = good ? cache->state : *next;

	if (good)
		cache->state = *next;
	mesh_resource_state_free(&gone);
}

bool mesh_resource_cache_listeners_complete(const struct resource_cache *cache)
{
	return mesh_resource_state_listeners_complete(&cache->state);
}

int mesh_resource_cache_give_up(struct resource_cache *cache)
{
	struct resource_state next;
	int rc;

	mesh_resource_state_copy(&next, &cache->state);
	rc = mesh_resource_state_give_up(cache->mem, &next);
	mesh_resource_cache_replace(cache, &next, rc == 0);
	return rc;
}

int mesh_resource_cache_set_secret(struct resource_cache *cache, struct secret *secret)
{
	struct resource_entry like = {.object = &secret->item, .own = true, .updated_ms = mesh_time_wall_ms()};
	struct resource_entry *entry = mesh_resource_entry_new(cache->mem, secret->item.name, &like);
	struct resource_state next;
	int rc;

	if (!entry)
		return MESH_ERROR_NOMEM;
	mesh_resource_state_copy(&next, &cache->state);
	rc = mesh_resource_state_put(cache->mem, &next, XDS_SECRET, entry);
	if (rc == 0)
		rc = mesh_resource_state_answer(cache->mem, &next, XDS_SECRET, secret->item.name);
	mesh_ref_drop(&entry->item.ref);
	mesh_resource_cache_replace(cache, &next, rc == 0);
	return rc;
}

int mesh_resource_cache_absent_secret(struct resource_cache *cache, struct mesh_slice name)
{
	struct resource_state next;
	int rc;

	mesh_resource_state_copy(&next, &cache->state);
	rc = mesh_resource_state_answer(cache->mem, &next, XDS_SECRET, name);
	mesh_resource_cache_replace(cache, &next, rc == 0);
	return rc;
}

int mesh_resource_cache_snapshot(struct resource_cache *cache, uint64_t version, struct snapshot **result)
{
	const struct resource_state *state = &cache->state;
	struct snapshot *snapshot = NULL;
	int rc =
		mesh_snapshot_next(cache->mem, cache->last, version, state->objects[XDS_LISTENER],
				   state->objects[XDS_ROUTE], state->objects[XDS_CLUSTER], state->objects[XDS_ENDPOINT],
				   state->objects[XDS_SECRET], mesh_resource_state_complete(state), &snapshot);

	if (rc < 0)
		return rc;
	mesh_snapshot_release(cache->last);
	cache->last = mesh_snapshot_retain(snapshot);
	*result = snapshot;
	return 0;
}
