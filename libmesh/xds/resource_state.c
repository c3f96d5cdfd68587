/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Puts resources into tables and takes them out, and keeps count of what they ask for: what nothing asks for any more
 * goes with the last that did. Refuses to know protocols and responses.
 */
#include "xds/resource_state.h"

#include <mesh/error.h>

/* ---- versions, entries, wants ---- */

static void version_destroy(struct ref *ref)
{
	struct resource_version *version = (struct resource_version *)ref;

	mesh_mem_free(version->mem, version);
}

int mesh_resource_version_new(const struct mesh_mem *mem, struct mesh_slice text, struct resource_version **result)
{
	struct resource_version *version = mesh_mem_zalloc(mem, sizeof(*version) + text.len + 1);

	if (!version)
		return MESH_ERROR_NOMEM;
	mesh_ref_init(&version->ref, version_destroy);
	version->mem = mem;
	if (text.len)
		memcpy(version + 1, text.data, text.len);
	version->text = mesh_slice_make(version + 1, text.len);
	*result = version;
	return 0;
}

static void entry_destroy(struct ref *ref)
{
	struct resource_entry *entry = (struct resource_entry *)ref;

	mesh_ref_drop(entry->object ? &entry->object->ref : NULL);
	mesh_resource_version_release(entry->version);
	mesh_resource_version_release(entry->failure_version);
	mesh_mem_free(entry->mem, entry);
}

static struct mesh_slice place(char **at, struct mesh_slice text)
{
	struct mesh_slice placed = mesh_slice_make(text.data ? *at : NULL, text.len);

	if (text.len)
		memcpy(*at, text.data, text.len);
	*at += text.len;
	return placed;
}

struct resource_entry *mesh_resource_entry_new(const struct mesh_mem *mem, struct mesh_slice name,
					       const struct resource_entry *like)
{
	size_t bytes = sizeof(*like) + name.len + like->bytes.len + like->notes.len + like->failure.len;
	struct resource_entry *entry = mesh_mem_zalloc(mem, bytes);
	char *at = (char *)(entry + 1);

	if (!entry)
		return NULL;
	*entry = *like;
	mesh_ref_init(&entry->item.ref, entry_destroy);
	entry->mem = mem;
	entry->item.name = place(&at, name);
	entry->bytes = place(&at, like->bytes);
	entry->notes = place(&at, like->notes);
	entry->failure = place(&at, like->failure);
	if (entry->object)
		mesh_ref_take(&entry->object->ref);
	if (entry->version)
		mesh_ref_take(&entry->version->ref);
	if (entry->failure_version)
		mesh_ref_take(&entry->failure_version->ref);
	return entry;
}

static void want_destroy(struct ref *ref)
{
	struct resource_want *want = (struct resource_want *)ref;

	mesh_mem_free(want->mem, want);
}

static struct resource_want *want_new(const struct mesh_mem *mem, struct mesh_slice name, size_t count, bool answered)
{
	struct resource_want *want = mesh_mem_zalloc(mem, sizeof(*want) + name.len);

	if (!want)
		return NULL;
	mesh_ref_init(&want->item.ref, want_destroy);
	want->mem = mem;
	memcpy(want + 1, name.data, name.len);
	want->item.name = mesh_slice_make(want + 1, name.len);
	want->count = count;
	want->answered = answered;
	return want;
}

/* ---- tables ---- */

static int table_put(const struct mesh_mem *mem, struct table **table, struct table_item *item)
{
	struct table *next = NULL;
	int rc = mesh_table_put(mem, *table, item, &next);

	if (rc < 0)
		return rc;
	mesh_table_release(*table);
	*table = next;
	return 0;
}

static int table_remove(const struct mesh_mem *mem, struct table **table, struct mesh_slice name)
{
	struct table *next = NULL;
	int rc;

	if (!mesh_table_get(*table, name))
		return 0;
	rc = mesh_table_remove(mem, *table, name, &next);
	if (rc < 0)
		return rc;
	mesh_table_release(*table);
	*table = next;
	return 0;
}

void mesh_resource_state_copy(struct resource_state *to, const struct resource_state *from)
{
	*to = *from;
	for (size_t i = 0; i < XDS_TYPES; i++) {
		mesh_table_retain(to->entries[i]);
		mesh_table_retain(to->objects[i]);
		mesh_table_retain(to->wants[i]);
	}
}

void mesh_resource_state_free(struct resource_state *state)
{
	for (size_t i = 0; i < XDS_TYPES; i++) {
		mesh_table_release(state->entries[i]);
		mesh_table_release(state->objects[i]);
		mesh_table_release(state->wants[i]);
	}
	memset(state, 0, sizeof(*state));
}

struct resource_entry *mesh_resource_state_get(const struct resource_state *state, enum xds_type type, struct mesh_slice name)
{
	return (struct resource_entry *)mesh_table_get(state->entries[type], name);
}

bool mesh_resource_state_wants(const struct resource_state *state, enum xds_type type, struct mesh_slice name)
{
	return type == XDS_CLUSTER || type == XDS_LISTENER || mesh_table_get(state->wants[type], name) != NULL;
}

/* ---- wants ---- */

struct follow {
	const struct mesh_mem *mem;
	struct resource_state *state;
};

static int want_change(const struct follow *follow, enum xds_type type, struct mesh_slice name, size_t count, bool answered)
{
	struct resource_want *want = want_new(follow->mem, name, count, answered);
	int rc;

	if (!want)
		return MESH_ERROR_NOMEM;
	rc = table_put(follow->mem, &follow->state->wants[type], &want->item);
	mesh_ref_drop(&want->item.ref);
	return rc;
}

static int want_more(void *user, enum xds_type type, struct mesh_slice name)
{
	const struct follow *follow = user;
	const struct resource_want *want = (struct resource_want *)mesh_table_get(follow->state->wants[type], name);
	int rc = want_change(follow, type, name, want ? want->count + 1 : 1, want && want->answered);

	if (rc == 0 && !want)
		follow->state->missing[type]++;
	return rc;
}

static int want_less(void *user, enum xds_type type, struct mesh_slice name)
{
	const struct follow *follow = user;
	const struct resource_want *want = (struct resource_want *)mesh_table_get(follow->state->wants[type], name);
	int rc;

	if (!want)
		return 0;
	if (want->count > 1)
		return want_change(follow, type, name, want->count - 1, want->answered);
	if (!want->answered)
		follow->state->missing[type]--;
	rc = table_remove(follow->mem, &follow->state->wants[type], name);
	if (rc == 0)
		rc = table_remove(follow->mem, &follow->state->entries[type], name);
	return rc < 0 ? rc : table_remove(follow->mem, &follow->state->objects[type], name);
}

int mesh_resource_state_answer(const struct mesh_mem *mem, struct resource_state *state, enum xds_type type,
			       struct mesh_slice name)
{
	const struct resource_want *want = (struct resource_want *)mesh_table_get(state->wants[type], name);
	struct follow follow = {mem, state};
	int rc;

	if (!want || want->answered)
		return 0;
	rc = want_change(&follow, type, name, want->count, true);
	if (rc == 0)
		state->missing[type]--;
	return rc;
}

/* ---- resources ---- */

int mesh_resource_state_put(const struct mesh_mem *mem, struct resource_state *state, enum xds_type type,
			    struct resource_entry *entry)
{
	struct table_item *before = mesh_table_get(state->objects[type], entry->item.name);
	struct follow follow = {mem, state};
	int rc = 0;

	if (before)
		mesh_ref_take(&before->ref);
	/* First what is new, then what is gone: what both ask for stays. */
	if (entry->object && entry->object != before) {
		rc = mesh_resource_links(type, entry->object, want_more, &follow);
		if (rc == 0 && before)
			rc = mesh_resource_links(type, before, want_less, &follow);
		if (rc == 0)
			rc = table_put(mem, &state->objects[type], entry->object);
	}
	if (rc == 0)
		rc = table_put(mem, &state->entries[type], &entry->item);
	mesh_ref_drop(before ? &before->ref : NULL);
	return rc;
}

int mesh_resource_state_remove(const struct mesh_mem *mem, struct resource_state *state, enum xds_type type,
			       struct mesh_slice name)
{
	struct table_item *before = mesh_table_get(state->objects[type], name);
	struct resource_entry *entry = mesh_resource_state_get(state, type, name);
	struct follow follow = {mem, state};
	int rc = 0;

	if (!entry) /* what is held without an entry (our own secrets) is not the control plane's to remove */
		return 0;
	mesh_ref_take(&entry->item.ref); /* holds the object; `name` may be its own */
	if (before)
		rc = mesh_resource_links(type, before, want_less, &follow);
	if (rc == 0)
		rc = table_remove(mem, &state->objects[type], name);
	if (rc == 0)
		rc = table_remove(mem, &state->entries[type], name);
	mesh_ref_drop(&entry->item.ref);
	return rc;
}
