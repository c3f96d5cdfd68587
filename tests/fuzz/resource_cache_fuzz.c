/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Responses of any type from the input, applied one after the other. A record is a byte (type; 8: whole; 16: a name
 * that is removed; 32: the name is given; 64: more of the same response follows), two bytes of length, and that many
 * bytes. After each response the counts of what is asked for must be what walking all that is held gives; at the end
 * the dump must be JSON.
 */
#include <stdlib.h>

#include <jansson.h>
#include <mesh/error.h>

#include "xds/proto_scan.h"
#include "xds/resource_state.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { WHOLE = 8, REMOVED = 16, NAMED = 32, MORE = 64, RECORDS_MAX = 64, REJECTS_MAX = 17408 };

static void promise(bool kept)
{
	if (!kept)
		__builtin_trap();
}

/* ---- what must hold ---- */

struct count {
	const struct resource_state *state;
	enum xds_type type;
	size_t unanswered;
	struct map asked[XDS_TYPES]; /* how many times, by name */
};

static int ask(void *user, enum xds_type type, struct mesh_slice name)
{
	struct count *count = user;
	uintptr_t times = (uintptr_t)mesh_map_get(&count->asked[type], name);

	return mesh_map_put(&count->asked[type], name, (void *)(times + 1), NULL);
}

static int check_object(struct table_item *item, void *user)
{
	struct count *count = user;
	const struct resource_entry *entry = mesh_resource_state_get(count->state, count->type, item->name);

	promise(entry && entry->object == item);
	promise(mesh_resource_state_wants(count->state, count->type, item->name));
	return mesh_resource_links(count->type, item, ask, count);
}

static int check_entry(struct table_item *item, void *user)
{
	const struct count *count = user;
	const struct resource_entry *entry = (const struct resource_entry *)item;

	promise(entry->object == mesh_table_get(count->state->objects[count->type], item->name));
	promise(entry->object || entry->failure.len > 0);
	promise(!entry->object || (entry->version && (entry->bytes || count->type == XDS_SECRET)));
	promise(mesh_resource_state_wants(count->state, count->type, item->name));
	return 0;
}

static int check_want(struct table_item *item, void *user)
{
	struct count *count = user;
	const struct resource_want *want = (const struct resource_want *)item;

	promise(want->count > 0 && want->count == (uintptr_t)mesh_map_get(&count->asked[count->type], item->name));
	count->unanswered += !want->answered;
	return 0;
}

static void check(const struct resource_state *state)
{
	struct count count = {.state = state};

	for (count.type = 0; count.type < XDS_TYPES; count.type++)
		mesh_map_init(&count.asked[count.type], &mesh_mem_default);
	for (count.type = 0; count.type < XDS_TYPES; count.type++) {
		promise(mesh_table_each(state->objects[count.type], check_object, &count) == 0);
		promise(mesh_table_each(state->entries[count.type], check_entry, &count) == 0);
	}
	for (count.type = 0; count.type < XDS_TYPES; count.type++) {
		count.unanswered = 0;
		mesh_table_each(state->wants[count.type], check_want, &count);
		promise(count.unanswered == state->missing[count.type]);
		promise(mesh_table_count(state->wants[count.type]) == count.asked[count.type].count);
		promise(!state->unwanted[count.type]);
		mesh_map_free(&count.asked[count.type]);
	}
}

/* ---- responses ---- */

struct response {
	struct xds_resource resources[RECORDS_MAX];
	size_t count;
	struct mesh_slice removed[RECORDS_MAX];
	size_t removed_count;
};

static void apply(struct resource_cache *cache, const struct response *response, unsigned flags)
{
	struct buf rejects;
	int rc;

	mesh_buf_init(&rejects, &mesh_mem_default, 0);
	rc = mesh_resource_cache_apply(cache, (enum xds_type)((flags & 7) % XDS_TYPES), response->resources,
				       response->count, response->removed, response->removed_count, flags & WHOLE,
				       &rejects);
	promise(rc == 0);
	promise(mesh_buf_len(&rejects) < REJECTS_MAX);
	mesh_buf_free(&rejects);
	check(&cache->state);
}

static void add(struct response *response, unsigned flags, struct mesh_slice bytes)
{
	struct xds_resource *resource = &response->resources[response->count];

	if (flags & REMOVED) {
		response->removed[response->removed_count++] = bytes;
		return;
	}
	*resource = (struct xds_resource){.version = MESH_SLICE("v"),
					  .bytes = bytes,
					  .type_url = mesh_slice_of(mesh_xds_type_urls[(flags & 7) % XDS_TYPES])};
	if (flags & NAMED)
		mesh_proto_text(bytes, 1, &resource->name);
	response->count++;
}

static void show(struct resource_cache *cache)
{
	struct snapshot *snapshot = NULL;
	struct buf out;
	json_t *json;

	promise(mesh_resource_cache_snapshot(cache, 1, &snapshot) == 0);
	mesh_snapshot_release(snapshot);
	mesh_buf_init(&out, &mesh_mem_default, 0);
	promise(mesh_resource_cache_dump(cache, mesh_slice_make(NULL, 0), &out) == 0);
	json = json_loadb(mesh_buf_slice(&out).data, mesh_buf_len(&out), 0, NULL);
	promise(json != NULL);
	json_decref(json);
	mesh_buf_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct log quiet = {NULL, NULL, MESH_LOG_ERROR};
	struct response *response = calloc(1, sizeof(*response));
	struct resource_cache *cache = NULL;

	promise(response && mesh_resource_cache_new(&mesh_mem_default, &quiet, NULL, &cache) == 0);
	while (size >= 3) {
		unsigned flags = data[0];
		size_t len = (size_t)data[1] | (size_t)data[2] << 8;

		if (len > size - 3)
			len = size - 3;
		add(response, flags, mesh_slice_make(data + 3, len));
		data += 3 + len;
		size -= 3 + len;
		if (flags & MORE && response->count < RECORDS_MAX && response->removed_count < RECORDS_MAX && size >= 3)
			continue;
		apply(cache, response, flags);
		response->count = response->removed_count = 0;
	}
	show(cache);
	mesh_resource_cache_free(cache);
	free(response);
	return 0;
}
