/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides what one response does to what is held: which resources are taken, which are refused in which words, which
 * go. Works on a copy, so that a response is applied as a whole or not at all. Refuses to know streams and answers.
 */
#include <stdio.h>

#include <mesh/error.h>

#include "base/text.h"
#include "loop/loop.h"
#include "xds/proto_scan.h"
#include "xds/resource_state.h"

#define NAME_FIELD	  1 /* of all five types */
#define NAME_BYTES_MAX	  4096
#define LINE_BYTES	  768
#define REJECTS_BYTES_MAX 16384

/* What a response says about one name. */
struct named {
	struct mesh_slice name; /* absent: cannot be told */
	size_t times;
	bool removed; /* too */
};

struct apply {
	struct resource_cache *cache;
	const struct mesh_mem *mem;
	enum xds_type type;
	const struct xds_resource *resources;
	size_t count;
	struct resource_state next;
	struct named *named; /* of each resource */
	struct map names;    /* the first of each name */
	bool nameless;	     /* there is a resource that cannot be told by name */
	struct buf *rejects;
	size_t rejects_from;
	size_t said, unsaid;
	int64_t now_ms;
};

/* ---- words ---- */

static int say(struct apply *a, struct mesh_slice name, struct mesh_slice what)
{
	char line[LINE_BYTES];
	int shown = name.len < 200 ? (int)name.len : 200, words = what.len < 500 ? (int)what.len : 500;
	int rc = MESH_ERROR_TOO_LARGE;

	snprintf(line, sizeof(line), "%.*s: %.*s", shown, name.data, words, what.data);
	mesh_text_make_plain(line); /* a protobuf string has to carry it */
	if (mesh_buf_len(a->rejects) - a->rejects_from + strlen(line) < REJECTS_BYTES_MAX)
		rc = mesh_buf_printf(a->rejects, "%s\n", line);
	if (rc == MESH_ERROR_TOO_LARGE)
		a->unsaid++;
	else
		a->said++;
	return rc == MESH_ERROR_TOO_LARGE ? 0 : rc;
}

static int say_lines(struct apply *a, struct mesh_slice name, struct mesh_slice lines)
{
	int rc = 0;

	while (lines.len > 0 && rc == 0) {
		struct mesh_slice line = mesh_slice_cut(&lines, '\n');

		rc = line.len ? say(a, name, line) : 0;
	}
	return rc;
}

static int say_rest(struct apply *a)
{
	int rc;

	if (!a->unsaid)
		return 0;
	if (!a->said) /* nothing written would read as nothing refused */
		return MESH_ERROR_TOO_LARGE;
	rc = mesh_buf_printf(a->rejects, "and %zu more\n", a->unsaid);
	return rc == MESH_ERROR_TOO_LARGE ? 0 : rc;
}

/* ---- names ---- */

static const char *name_field(enum xds_type type)
{
	return type == XDS_ENDPOINT ? "cluster_name" : "name";
}

static bool right_type(const struct apply *a, const struct xds_resource *resource)
{
	return mesh_slice_equal(resource->type_url, mesh_slice_of(mesh_xds_type_urls[a->type]));
}

/* Even of a resource that cannot be decoded, so that its last good version is kept and the refusal has a name. */
static struct mesh_slice name_of(const struct apply *a, const struct xds_resource *resource)
{
	struct mesh_slice name = resource->name;

	if (!name.data && right_type(a, resource))
		mesh_proto_text(resource->bytes, NAME_FIELD, &name);
	if (name.len == 0 || name.len > NAME_BYTES_MAX || memchr(name.data, '\0', name.len))
		return mesh_slice_make(NULL, 0);
	return name;
}

static int name_all(struct apply *a)
{
	a->named = mesh_mem_array(a->mem, a->count, sizeof(*a->named));
	if (!a->named)
		return MESH_ERROR_NOMEM;
	for (size_t i = 0; i < a->count; i++) {
		struct named *named = &a->named[i], *first;

		named->name = name_of(a, &a->resources[i]);
		if (!named->name.data) {
			a->nameless = true;
			continue;
		}
		first = mesh_map_get(&a->names, named->name);
		if (!first && mesh_map_put(&a->names, named->name, named, NULL) < 0)
			return MESH_ERROR_NOMEM;
		if (!first)
			first = named;
		first->times++;
	}
	return 0;
}

/* ---- what goes ---- */

static int remove_unless_named(struct table_item *item, void *user)
{
	struct apply *a = user;

	if (mesh_map_get(&a->names, item->name))
		return 0;
	return mesh_resource_state_remove(a->mem, &a->next, a->type, item->name);
}

static int remove_all(struct apply *a, const struct mesh_slice *removed, size_t count, bool whole)
{
	int rc = 0;

	for (size_t i = 0; i < count && rc == 0; i++) {
		struct named *named = mesh_map_get(&a->names, removed[i]);

		if (named) {
			named->removed = true;
			continue;
		}
		rc = mesh_resource_state_remove(a->mem, &a->next, a->type, removed[i]);
		if (rc == 0)
			rc = mesh_resource_state_answer(a->mem, &a->next, a->type, removed[i]);
	}
	/* One of those not named may be the one that cannot be told. */
	if (whole && !a->nameless && (a->type == XDS_CLUSTER || a->type == XDS_LISTENER) && rc == 0)
		rc = mesh_table_each(a->cache->state.entries[a->type], remove_unless_named, a);
	return rc;
}

/* ---- what comes ---- */

/* The resources of a response mostly share one. */
static struct resource_text *version_of(struct apply *a, struct mesh_slice version)
{
	struct resource_text **last = &a->next.versions[a->type];
	struct resource_text *made = NULL;

	if (*last && mesh_slice_equal((*last)->text, version))
		return *last;
	if (mesh_resource_text_new(a->mem, version, &made) < 0)
		return NULL;
	mesh_resource_text_release(*last);
	*last = made;
	return made;
}

static int put(struct apply *a, struct mesh_slice name, const struct resource_entry *like)
{
	struct resource_entry *entry = mesh_resource_entry_new(a->mem, name, like);
	int rc;

	if (!entry)
		return MESH_ERROR_NOMEM;
	rc = mesh_resource_state_put(a->mem, &a->next, a->type, entry);
	mesh_ref_drop(&entry->item.ref);
	return rc;
}

/* The last good one stays; why and what was refused is kept for the dump. */
static int refuse(struct apply *a, struct mesh_slice name, const struct xds_resource *resource, const char *why)
{
	const struct resource_entry *before = mesh_resource_state_get(&a->next, a->type, name);
	struct resource_entry like = before ? *before : (struct resource_entry){.mem = a->mem};
	struct resource_text *bytes = NULL;
	int rc = 0;

	if (a->type != XDS_SECRET && right_type(a, resource) &&
	    resource->bytes.len <= a->cache->limits.resource_bytes_max)
		rc = mesh_resource_text_new(a->mem, resource->bytes, &bytes);
	like.failure = mesh_slice_of(why);
	like.failure_bytes = bytes;
	like.failure_version = version_of(a, resource->version);
	like.failure_ms = a->now_ms;
	if (!like.failure_version)
		rc = MESH_ERROR_NOMEM;
	if (rc == 0)
		rc = put(a, name, &like);
	mesh_resource_text_release(bytes);
	return rc < 0 ? rc : say(a, name, mesh_slice_of(why));
}

/* What was held is good: what changes is the version it goes by, and that nothing newer stands refused. */
static int keep(struct apply *a, struct resource_entry *before, const struct xds_resource *resource)
{
	struct resource_entry like = *before;
	int rc = 0;

	like.version = version_of(a, resource->version);
	if (!like.version)
		return MESH_ERROR_NOMEM;
	like.failure = mesh_slice_make(NULL, 0);
	like.failure_bytes = like.failure_version = NULL;
	like.failure_ms = 0;
	mesh_ref_take(&before->item.ref); /* `like` borrows from it */
	if (before->failure.data || !mesh_slice_equal(before->version->text, like.version->text))
		rc = put(a, before->item.name, &like);
	if (rc == 0)
		rc = say_lines(a, before->item.name, before->notes);
	mesh_ref_drop(&before->item.ref);
	return rc;
}

static int adopt(struct apply *a, struct mesh_slice name, const struct xds_resource *resource,
		 struct table_item *object)
{
	struct mesh_slice notes = mesh_buf_slice(&a->cache->decode.notes);
	struct resource_entry like = {.mem = a->mem, .object = object, .notes = notes, .updated_ms = a->now_ms};
	int rc = 0;

	like.version = version_of(a, resource->version);
	if (!like.version)
		rc = MESH_ERROR_NOMEM;
	if (rc == 0 && a->type != XDS_SECRET)
		rc = mesh_resource_text_new(a->mem, resource->bytes, &like.bytes);
	if (rc == 0)
		rc = put(a, name, &like);
	mesh_resource_text_release(like.bytes);
	return rc < 0 ? rc : say_lines(a, name, notes);
}

static struct table_item *decode(struct decode *d, enum xds_type type, struct mesh_slice bytes)
{
	switch (type) {
	case XDS_CLUSTER:
		return (struct table_item *)mesh_decode_cluster(d, bytes);
	case XDS_ENDPOINT:
		return (struct table_item *)mesh_decode_endpoints(d, bytes);
	case XDS_LISTENER:
		return (struct table_item *)mesh_decode_listener(d, bytes);
	case XDS_ROUTE:
		return (struct table_item *)mesh_decode_routes(d, bytes);
	default:
		return (struct table_item *)mesh_decode_secret(d, bytes);
	}
}

/* What can be said against a resource before it is decoded; false: nothing. */
static bool objection(const struct apply *a, const struct named *named, const struct xds_resource *resource,
		      struct why *why)
{
	const struct xds_limits *limits = &a->cache->limits;
	struct mesh_slice inner = {NULL, 0};

	if (named->times > 1)
		mesh_why(why, 0, "%s: comes %zu times in one response", name_field(a->type), named->times);
	else if (named->removed)
		mesh_why(why, 0, "%s: is among the removed ones too", name_field(a->type));
	else if (!right_type(a, resource))
		mesh_why(why, 0, "type_url: \"%.*s\": must be %s",
			 resource->type_url.len < 100 ? (int)resource->type_url.len : 100,
			 resource->type_url.data ? resource->type_url.data : "", mesh_xds_type_urls[a->type]);
	else if (resource->bytes.len > limits->resource_bytes_max)
		mesh_why(why, 0, "%zu bytes: more than resource_bytes_max (%zu)", resource->bytes.len,
			 limits->resource_bytes_max);
	else if (mesh_proto_text(resource->bytes, NAME_FIELD, &inner) && inner.len > 0 &&
		 !mesh_slice_equal(inner, named->name))
		mesh_why(why, 0, "%s: \"%.*s\": must be the name it was sent under", name_field(a->type),
			 inner.len < 100 ? (int)inner.len : 100, inner.data);
	return why->text[0] != '\0';
}

static int decode_and_adopt(struct apply *a, struct mesh_slice name, const struct xds_resource *resource)
{
	struct resource_entry *before = mesh_resource_state_get(&a->next, a->type, name);
	struct decode *d = &a->cache->decode;
	struct table_item *object = decode(d, a->type, resource->bytes);
	int rc;

	if (!object)
		return d->rc == MESH_ERROR_NOMEM ? d->rc : refuse(a, name, resource, d->why.text);
	/* the bytes of a secret are not kept: its contents are compared */
	if (a->type == XDS_SECRET && before && before->object &&
	    mesh_secret_same((const struct secret *)before->object, (const struct secret *)object))
		rc = keep(a, before, resource);
	else
		rc = adopt(a, name, resource, object);
	mesh_ref_drop(&object->ref);
	return rc;
}

static int take_named(struct apply *a, const struct named *named, const struct xds_resource *resource)
{
	struct resource_entry *before = mesh_resource_state_get(&a->next, a->type, named->name);
	const struct xds_limits *limits = &a->cache->limits;
	struct why why = {""};
	int rc;

	if (!mesh_resource_state_wants(&a->next, a->type, named->name) || (before && before->own))
		return 0;
	rc = mesh_resource_state_answer(a->mem, &a->next, a->type, named->name);
	if (rc < 0)
		return rc;
	if (!before && mesh_table_count(a->next.entries[a->type]) >= limits->resources_max) {
		mesh_why(&why, 0, "there are resources_max (%zu) resources already", limits->resources_max);
		return say(a, named->name, mesh_slice_of(why.text));
	}
	if (objection(a, named, resource, &why))
		return refuse(a, named->name, resource, why.text);
	if (before && before->object && before->bytes && mesh_slice_equal(before->bytes->text, resource->bytes))
		return keep(a, before, resource);
	return decode_and_adopt(a, named->name, resource);
}

/* Nothing is known of it but its place. */
static int refuse_nameless(struct apply *a, size_t index)
{
	const struct xds_resource *resource = &a->resources[index];
	struct why why = {""};
	char place[40];

	snprintf(place, sizeof(place), "resources[%zu]", index);
	if (!right_type(a, resource))
		objection(a, &a->named[index], resource, &why);
	else
		mesh_why(&why, 0, "%s: must be 1..%d bytes of text", name_field(a->type), NAME_BYTES_MAX);
	return say(a, mesh_slice_of(place), mesh_slice_of(why.text));
}

static int take_all(struct apply *a)
{
	int rc = 0;

	for (size_t i = 0; i < a->count && rc == 0; i++) {
		const struct named *named = &a->named[i];

		if (!named->name.data)
			rc = refuse_nameless(a, i);
		else if (named->times > 0) /* else it was dealt with where its name came first */
			rc = take_named(a, named, &a->resources[i]);
	}
	return rc;
}

int mesh_resource_cache_apply(struct resource_cache *cache, enum xds_type type, const struct xds_resource *resources,
			      size_t count, const struct mesh_slice *removed, size_t removed_count, bool whole,
			      struct buf *rejects)
{
	struct apply a = {.cache = cache,
			  .mem = cache->mem,
			  .type = type,
			  .resources = resources,
			  .count = count,
			  .rejects = rejects,
			  .rejects_from = mesh_buf_len(rejects),
			  .now_ms = mesh_time_wall_ms()};
	int rc;

	mesh_map_init(&a.names, cache->mem);
	mesh_resource_state_copy(&a.next, &cache->state);
	rc = name_all(&a);
	rc = rc ? rc : remove_all(&a, removed, removed_count, whole);
	rc = rc ? rc : take_all(&a);
	rc = rc ? rc : mesh_resource_state_sweep(cache->mem, &a.next);
	rc = rc ? rc : say_rest(&a);
	if (rc < 0)
		rejects->end = rejects->start + a.rejects_from;
	a.next.seen[type] = true;
	mesh_resource_cache_replace(cache, &a.next, rc == 0);
	mesh_mem_free(cache->mem, a.named);
	mesh_map_free(&a.names);
	return rc;
}
