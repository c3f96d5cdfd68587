/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Puts resources into tables and takes them out, and keeps count of what they ask for: what nothing asks for any more
 * goes with the last that did. Refuses to know protocols and responses.
 */
#include "xds/resource_state.h"

#include <mesh/error.h>

/* ---- texts, entries, wants ---- */

static void text_destroy(struct ref *ref)
{
	struct resource_text *text = (struct resource_text *)ref;

	mesh_mem_free(text->mem, text);
}

int mesh_resource_text_new(const struct mesh_mem *mem, struct mesh_slice bytes, struct resource_text **result)
{
	struct resource_text *text = mesh_mem_zalloc(mem, sizeof(*text) + bytes.len + 1);

	if (!text)
		return MESH_ERROR_NOMEM;
	mesh_ref_init(&text->ref, text_destroy);
	text->mem = mem;
	if (bytes.len)
		memcpy(text + 1, bytes.data, bytes.len);
	text->text = mesh_slice_make(text + 1, bytes.len);
	*result = text;
	return 0;
}

static void entry_destroy(struct ref *ref)
{
	struct resource_entry *entry = (struct resource_entry *)ref;

	mesh_ref_drop(entry->object ? &entry->object->ref : NULL);
	mesh_resource_text_release(entry->bytes);
	mesh_resource_text_release(entry->version);
	mesh_resource_text_release(entry->failure_bytes);
	mesh_resource_text_release(entry->failure_version);
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
	size_t bytes = sizeof(*like) + name.len + like->notes.len + like->failure.len;
	struct resource_entry *entry = mesh_mem_zalloc(mem, bytes);
	char *at = (char *)(entry + 1);

	if (!entry)
		return NULL;
	*entry = *like;
	mesh_ref_init(&entry->item.ref, entry_destroy);
	entry->mem = mem;
	entry->item.name = place(&at, name);
	entry->notes = place(&at, like->notes);
	entry->failure = place(&at, like->failure);
	if (entry->object)
		mesh_ref_take(&entry->object->ref);
	mesh_resource_text_retain(entry->bytes);
	mesh_resource_text_retain(entry->version);
	mesh_resource_text_retain(entry->failure_bytes);
	mesh_resource_text_retain(entry->failure_version);
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
		mesh_table_retain(to->unwanted[i]);
		mesh_resource_text_retain(to->versions[i]);
	}
}

void mesh_resource_state_free(struct resource_state *state)
{
	for (size_t i = 0; i < XDS_TYPES; i++) {
		mesh_table_release(state->entries[i]);
		mesh_table_release(state->objects[i]);
		mesh_table_release(state->wants[i]);
		mesh_table_release(state->unwanted[i]);
		mesh_resource_text_release(state->versions[i]);
	}
	memset(state, 0, sizeof(*state));
}

struct resource_entry *mesh_resource_state_get(const struct resource_state *state, enum xds_type type,
					       struct mesh_slice name)
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

static const struct resource_want *want_of(const struct resource_state *state, enum xds_type type,
					   struct mesh_slice name)
{
	return (const struct resource_want *)mesh_table_get(state->wants[type], name);
}

static int want_change(const struct follow *follow, enum xds_type type, struct mesh_slice name, size_t count,
		       bool answered)
{
	struct resource_want *want = want_new(follow->mem, name, count, answered);
	int rc;

	if (!want)
		return MESH_ERROR_NOMEM;
	rc = table_put(follow->mem, &follow->state->wants[type], &want->item);
	if (rc == 0 && count == 0)
		rc = table_put(follow->mem, &follow->state->unwanted[type], &want->item);
	mesh_ref_drop(&want->item.ref);
	return rc;
}

static int want_more(void *user, enum xds_type type, struct mesh_slice name)
{
	const struct follow *follow = user;
	const struct resource_want *want = want_of(follow->state, type, name);
	int rc = want_change(follow, type, name, want ? want->count + 1 : 1, want && want->answered);

	if (rc == 0 && !want)
		follow->state->missing[type]++;
	return rc;
}

int mesh_resource_state_want(const struct mesh_mem *mem, struct resource_state *state, enum xds_type type,
			     struct mesh_slice name)
{
	struct follow follow = {mem, state};

	return want_more(&follow, type, name);
}

static int want_less(void *user, enum xds_type type, struct mesh_slice name)
{
	const struct follow *follow = user;
	const struct resource_want *want = want_of(follow->state, type, name);

	return want && want->count ? want_change(follow, type, name, want->count - 1, want->answered) : 0;
}

int mesh_resource_state_answer(const struct mesh_mem *mem, struct resource_state *state, enum xds_type type,
			       struct mesh_slice name)
{
	const struct resource_want *want = want_of(state, type, name);
	struct follow follow = {mem, state};
	int rc;

	if (!want || want->answered)
		return 0;
	rc = want_change(&follow, type, name, want->count, true);
	if (rc == 0)
		state->missing[type]--;
	return rc;
}

struct giving_up {
	const struct mesh_mem *mem;
	struct resource_state *state;
	enum xds_type type;
};

static int give_up_one(struct table_item *item, void *user)
{
	const struct giving_up *giving_up = user;

	return mesh_resource_state_answer(giving_up->mem, giving_up->state, giving_up->type, item->name);
}

int mesh_resource_state_give_up(const struct mesh_mem *mem, struct resource_state *state)
{
	int rc = 0;

	for (enum xds_type type = 0; type < XDS_TYPES && rc == 0; type++) {
		struct giving_up giving_up = {mem, state, type};
		struct table *before = mesh_table_retain(state->wants[type]); /* walked while its successors are made */

		if (state->missing[type])
			rc = mesh_table_each(before, give_up_one, &giving_up);
		mesh_table_release(before);
	}
	return rc;
}

struct sweep {
	const struct mesh_mem *mem;
	struct resource_state *state;
	enum xds_type type;
};

static int sweep_one(struct table_item *item, void *user)
{
	const struct sweep *sweep = user;
	struct resource_state *state = sweep->state;
	const struct resource_want *want = want_of(state, sweep->type, item->name);
	int rc;

	if (!want || want->count)
		return 0;
	if (!want->answered)
		state->missing[sweep->type]--;
	rc = table_remove(sweep->mem, &state->wants[sweep->type], item->name);
	if (rc == 0)
		rc = table_remove(sweep->mem, &state->entries[sweep->type], item->name);
	return rc < 0 ? rc : table_remove(sweep->mem, &state->objects[sweep->type], item->name);
}

int mesh_resource_state_sweep(const struct mesh_mem *mem, struct resource_state *state)
{
	int rc = 0;

	for (enum xds_type type = 0; type < XDS_TYPES && rc == 0; type++) {
		struct sweep sweep = {mem, state, type};

		rc = mesh_table_each(state->unwanted[type], sweep_one, &sweep);
		mesh_table_release(state->unwanted[type]);
		state->unwanted[type] = NULL;
	}
	return rc;
}

bool mesh_resource_state_complete(const struct resource_state *state)
{
	bool complete = state->seen[XDS_CLUSTER] && state->seen[XDS_LISTENER];

	for (size_t i = 0; i < XDS_TYPES; i++)
		complete = complete && state->missing[i] == 0;
	return complete;
}

static int not_answered(void *user, enum xds_type type, struct mesh_slice name)
{
	const struct resource_want *want = want_of(user, type, name);

	return want && !want->answered;
}

static int listener_waits(struct table_item *item, void *user)
{
	return mesh_resource_links(XDS_LISTENER, item, not_answered, user);
}

bool mesh_resource_state_listeners_complete(const struct resource_state *state)
{
	if (state->missing[XDS_ROUTE] == 0 && state->missing[XDS_SECRET] == 0)
		return true; /* as good as always: no listener is looked at */
	return mesh_table_each(state->objects[XDS_LISTENER], listener_waits, (void *)state) == 0;
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

	if (!entry || entry->own)
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
