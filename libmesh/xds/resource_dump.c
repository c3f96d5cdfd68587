/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shows what is held in the form of Envoy's /config_dump, which istioctl and others read. Decides where in that form
 * each resource stands and what its status is. Refuses to know what is in a resource.
 */
#include <stdlib.h>

#include <mesh/error.h>

#include "xds/json.h"
#include "xds/json_form.h"
#include "xds/json_writer.h"
#include "xds/resource_state.h"

#define FLAGS (MESH_JSON_INDENT | MESH_JSON_PROTO_NAMES)

static const struct section {
	const char *type;
	const char *active;
	const char *waiting; /* where those without a good version stand; NULL: with the others, by name alone */
	const char *field;
	const char *name; /* of the resource's own name */
} sections[XDS_TYPES] = {
	[XDS_CLUSTER] = {"ClustersConfigDump", "dynamic_active_clusters", "dynamic_warming_clusters", "cluster",
			 "name"},
	[XDS_ENDPOINT] = {"EndpointsConfigDump", "dynamic_endpoint_configs", NULL, "endpoint_config", "cluster_name"},
	[XDS_LISTENER] = {"ListenersConfigDump", "dynamic_listeners", NULL, "listener", "name"},
	[XDS_ROUTE] = {"RoutesConfigDump", "dynamic_route_configs", NULL, "route_config", "name"},
	[XDS_SECRET] = {"SecretsConfigDump", "dynamic_active_secrets", "dynamic_warming_secrets", "secret", "name"},
};

/* A name with what is known of it; without an entry it is only asked for. */
struct shown {
	struct mesh_slice name;
	const struct resource_entry *entry;
	bool answered;
};

struct dump {
	struct json_writer w;
	const struct resource_state *state;
	const struct mesh_mem *mem;
	struct shown *shown[XDS_TYPES];
	size_t count[XDS_TYPES];
};

/* ---- pieces ---- */

static void member(struct dump *d, bool *first, const char *name)
{
	mesh_json_writer_item(&d->w, first);
	mesh_json_writer_name(&d->w, mesh_slice_of(name));
}

static void text_member(struct dump *d, bool *first, const char *name, struct mesh_slice text)
{
	if (!text.len)
		return;
	member(d, first, name);
	mesh_json_writer_text(&d->w, text);
}

static void time_member(struct dump *d, bool *first, const char *name, int64_t ms)
{
	char text[MESH_JSON_TIME_BYTES];

	mesh_json_timestamp_text(ms / 1000, (int32_t)(ms % 1000) * 1000000, text);
	text_member(d, first, name, mesh_slice_of(text));
}

static void type_member(struct dump *d, bool *first, enum xds_type type)
{
	text_member(d, first, "@type", mesh_slice_of(mesh_xds_type_urls[type]));
}

/* Named and no more. */
static void put_stub(struct dump *d, enum xds_type type, struct mesh_slice name)
{
	bool first = true;

	if (!mesh_json_writer_open(&d->w, "{"))
		return;
	type_member(d, &first, type);
	text_member(d, &first, sections[type].name, name);
	mesh_json_writer_close(&d->w, "}", first);
}

/* One that nests deeper than JSON readers stand is shown by name. */
static void put_resource(struct dump *d, enum xds_type type, struct mesh_slice name, struct mesh_slice bytes)
{
	int rc;

	if (d->w.rc < 0)
		return;
	rc = mesh_json_encode_any(d->w.out, mesh_slice_of(mesh_xds_type_urls[type]), bytes, FLAGS, d->w.depth, NULL);
	if (rc == MESH_ERROR_TOO_LARGE)
		put_stub(d, type, name);
	else if (rc < 0)
		mesh_json_writer_fail(&d->w, rc);
}

static void bytes_source(struct dump *d, bool *first, const char *name, struct mesh_slice bytes)
{
	bool inner = true;

	member(d, first, name);
	if (!mesh_json_writer_open(&d->w, "{"))
		return;
	member(d, &inner, "inline_bytes");
	mesh_json_writer_base64(&d->w, bytes);
	mesh_json_writer_close(&d->w, "}", inner);
}

static void put_secret(struct dump *d, const struct secret *secret)
{
	bool first = true, inner = true;

	if (!mesh_json_writer_open(&d->w, "{"))
		return;
	type_member(d, &first, XDS_SECRET);
	text_member(d, &first, "name", secret->item.name);
	member(d, &first, secret->roots_pem.data ? "validation_context" : "tls_certificate");
	if (mesh_json_writer_open(&d->w, "{")) {
		if (secret->roots_pem.data) {
			bytes_source(d, &inner, "trusted_ca", secret->roots_pem);
		} else {
			bytes_source(d, &inner, "certificate_chain", secret->chain_pem);
			bytes_source(d, &inner, "private_key", MESH_SLICE("[redacted]"));
		}
		mesh_json_writer_close(&d->w, "}", inner);
	}
	mesh_json_writer_close(&d->w, "}", first);
}

/* ---- one resource ---- */

static const char *status(const struct shown *shown)
{
	if (!shown->entry)
		return shown->answered ? "DOES_NOT_EXIST" : "REQUESTED";
	return shown->entry->failure.data ? "NACKED" : "ACKED";
}

static void put_error(struct dump *d, bool *outer, enum xds_type type, const struct resource_entry *entry)
{
	bool first = true;

	member(d, outer, "error_state");
	if (!mesh_json_writer_open(&d->w, "{"))
		return;
	if (entry->failure_bytes) {
		member(d, &first, "failed_configuration");
		put_resource(d, type, entry->item.name, entry->failure_bytes->text);
	}
	time_member(d, &first, "last_update_attempt", entry->failure_ms);
	text_member(d, &first, "details", entry->failure);
	text_member(d, &first, "version_info", entry->failure_version->text);
	mesh_json_writer_close(&d->w, "}", first);
}

/* Version, resource and time, as members of the group that is open. */
static void put_held(struct dump *d, bool *first, enum xds_type type, const struct shown *shown)
{
	const struct resource_entry *entry = shown->entry;
	bool good = entry && entry->object;

	if (good && entry->version)
		text_member(d, first, "version_info", entry->version->text);
	member(d, first, sections[type].field);
	if (!good)
		put_stub(d, type, shown->name);
	else if (type == XDS_SECRET)
		put_secret(d, (const struct secret *)entry->object);
	else
		put_resource(d, type, shown->name, entry->bytes->text);
	if (good)
		time_member(d, first, "last_updated", entry->updated_ms);
}

static void put_shown(struct dump *d, enum xds_type type, const struct shown *shown)
{
	bool first = true, inner = true, good = shown->entry && shown->entry->object;

	if (!mesh_json_writer_open(&d->w, "{"))
		return;
	if (type == XDS_LISTENER || type == XDS_SECRET)
		text_member(d, &first, "name", shown->name);
	if (type != XDS_LISTENER) {
		put_held(d, &first, type, shown);
	} else if (good) {
		member(d, &first, "active_state");
		if (mesh_json_writer_open(&d->w, "{")) {
			put_held(d, &inner, type, shown);
			mesh_json_writer_close(&d->w, "}", inner);
		}
	}
	if (shown->entry && shown->entry->failure.data)
		put_error(d, &first, type, shown->entry);
	text_member(d, &first, "client_status", mesh_slice_of(status(shown)));
	mesh_json_writer_close(&d->w, "}", first);
}

/* ---- resources inside others ---- */

struct inner {
	struct dump *dump;
	bool first;
	const struct resource_entry *entry; /* what it lies in */
};

static int put_inner(void *user, enum xds_type type, struct mesh_slice bytes)
{
	struct inner *inner = user;
	struct dump *d = inner->dump;
	bool first = true;

	mesh_json_writer_item(&d->w, &inner->first);
	if (!mesh_json_writer_open(&d->w, "{"))
		return d->w.rc;
	member(d, &first, sections[type].field);
	put_resource(d, type, inner->entry->item.name, bytes);
	time_member(d, &first, "last_updated", inner->entry->updated_ms);
	mesh_json_writer_close(&d->w, "}", first);
	return d->w.rc;
}

/* The group `name`, left out when nothing of `type` has one inside. */
static void put_inner_all(struct dump *d, bool *outer, const char *name, enum xds_type type)
{
	struct inner inner = {d, true, NULL};
	size_t before = mesh_buf_len(d->w.out);
	bool was_first = *outer;

	member(d, outer, name);
	if (!mesh_json_writer_open(&d->w, "["))
		return;
	for (size_t i = 0; i < d->count[type] && d->w.rc == 0; i++) {
		inner.entry = d->shown[type][i].entry;
		if (inner.entry && inner.entry->object)
			mesh_resource_inner(type, inner.entry->bytes->text, put_inner, &inner);
	}
	mesh_json_writer_close(&d->w, "]", inner.first);
	if (inner.first && d->w.rc == 0) {
		d->w.out->end = d->w.out->start + before;
		*outer = was_first;
	}
}

/* ---- sections ---- */

static bool section_open(struct dump *d, bool *outer, bool *first, const char *type)
{
	mesh_json_writer_item(&d->w, outer);
	if (!mesh_json_writer_open(&d->w, "{"))
		return false;
	member(d, first, "@type");
	mesh_json_writer_raw(&d->w, MESH_SLICE("\"type.googleapis.com/envoy.admin.v3."));
	mesh_json_writer_raw(&d->w, mesh_slice_of(type));
	mesh_json_writer_raw(&d->w, MESH_SLICE("\""));
	return true;
}

/* Those with a good version, those without, or both. */
static void put_group(struct dump *d, bool *outer, const char *name, enum xds_type type, bool with, bool without)
{
	bool first = true;

	for (size_t i = 0; i < d->count[type] && d->w.rc == 0; i++) {
		const struct shown *shown = &d->shown[type][i];
		bool good = shown->entry && shown->entry->object;

		if (good ? !with : !without)
			continue;
		if (first) {
			member(d, outer, name);
			if (!mesh_json_writer_open(&d->w, "["))
				return;
		}
		mesh_json_writer_item(&d->w, &first);
		put_shown(d, type, shown);
	}
	if (!first)
		mesh_json_writer_close(&d->w, "]", first);
}

static void put_section(struct dump *d, bool *outer, enum xds_type type)
{
	const struct section *section = &sections[type];
	const struct resource_text *version = d->state->versions[type];
	bool first = true;

	if (!section_open(d, outer, &first, section->type))
		return;
	if (version && (type == XDS_CLUSTER || type == XDS_LISTENER))
		text_member(d, &first, "version_info", version->text);
	if (type == XDS_ENDPOINT)
		put_inner_all(d, &first, "static_endpoint_configs", XDS_CLUSTER);
	if (type == XDS_ROUTE)
		put_inner_all(d, &first, "static_route_configs", XDS_LISTENER);
	put_group(d, &first, section->active, type, true, !section->waiting);
	if (section->waiting)
		put_group(d, &first, section->waiting, type, false, true);
	mesh_json_writer_close(&d->w, "}", first);
}

static void put_bootstrap(struct dump *d, bool *outer, struct mesh_slice bootstrap_json, int64_t started_ms)
{
	bool first = true;

	if (!section_open(d, outer, &first, "BootstrapConfigDump"))
		return;
	member(d, &first, "bootstrap");
	mesh_json_writer_raw(&d->w, bootstrap_json);
	time_member(d, &first, "last_updated", started_ms);
	mesh_json_writer_close(&d->w, "}", first);
}

/* ---- what to show, in order ---- */

struct collected {
	struct dump *dump;
	enum xds_type type;
};

static int collect_entry(struct table_item *item, void *user)
{
	const struct collected *to = user;
	struct dump *d = to->dump;

	d->shown[to->type][d->count[to->type]++] =
		(struct shown){item->name, (const struct resource_entry *)item, true};
	return 0;
}

static int collect_want(struct table_item *item, void *user)
{
	const struct collected *to = user;
	struct dump *d = to->dump;

	if (!mesh_resource_state_get(d->state, to->type, item->name))
		d->shown[to->type][d->count[to->type]++] =
			(struct shown){item->name, NULL, ((const struct resource_want *)item)->answered};
	return 0;
}

static int shown_order(const void *left, const void *right)
{
	return mesh_slice_compare(((const struct shown *)left)->name, ((const struct shown *)right)->name);
}

static int collect(struct dump *d, enum xds_type type)
{
	size_t room = mesh_table_count(d->state->entries[type]) + mesh_table_count(d->state->wants[type]);
	struct collected to = {d, type};

	d->shown[type] = mesh_mem_array(d->mem, room, sizeof(*d->shown[type]));
	if (!d->shown[type])
		return MESH_ERROR_NOMEM;
	mesh_table_each(d->state->entries[type], collect_entry, &to);
	mesh_table_each(d->state->wants[type], collect_want, &to);
	if (d->count[type] > 1)
		qsort(d->shown[type], d->count[type], sizeof(*d->shown[type]), shown_order);
	return 0;
}

int mesh_resource_cache_dump(struct resource_cache *cache, struct mesh_slice bootstrap_json, struct buf *out)
{
	static const enum xds_type order[XDS_TYPES] = {XDS_CLUSTER, XDS_ENDPOINT, XDS_LISTENER, XDS_ROUTE, XDS_SECRET};
	struct dump d = {.w = {.out = out, .flags = FLAGS}, .state = &cache->state, .mem = cache->mem};
	size_t before = mesh_buf_len(out);
	bool first = true;

	for (enum xds_type type = 0; type < XDS_TYPES && d.w.rc == 0; type++)
		d.w.rc = collect(&d, type);
	mesh_json_writer_raw(&d.w, MESH_SLICE("{\n  \"configs\": "));
	d.w.depth = 1;
	if (d.w.rc == 0 && mesh_json_writer_open(&d.w, "[")) {
		if (bootstrap_json.len)
			put_bootstrap(&d, &first, bootstrap_json, cache->started_ms);
		for (size_t i = 0; i < XDS_TYPES && d.w.rc == 0; i++)
			put_section(&d, &first, order[i]);
		mesh_json_writer_close(&d.w, "]", first);
	}
	mesh_json_writer_raw(&d.w, MESH_SLICE("\n}\n"));
	for (size_t i = 0; i < XDS_TYPES; i++)
		mesh_mem_free(cache->mem, d.shown[i]);
	if (d.w.rc < 0)
		out->end = out->start + before;
	return d.w.rc;
}
