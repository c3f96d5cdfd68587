/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides which files are read, what they hold and which node gets what. Refuses to know streams; a directory with one
 * bad file is no catalog at all, so that what is served stays the last good one.
 */
#include "resources.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <jansson.h>
#include <mesh/error.h>
#include <openssl/evp.h>

#include "files.h"
#include "xds/json.h"
#include "yaml_json.h"

#define FILE_BYTES_MAX ((size_t)64 << 20)
#define RESOURCES_MAX  200000

static const struct mesh_mem *const mem = &mesh_mem_default;

struct loader {
	struct cp_catalog *catalog;
	struct cp_scope *scope;
	const char *path; /* of the file being read */
	size_t index;	  /* resources seen in it */
	struct why *why;
};

/* ---- one resource ---- */

static int compare(const struct cp_resource *a, const struct cp_resource *b)
{
	int order = strcmp(a->type_url, b->type_url);

	return order ? order : strcmp(a->name, b->name);
}

static int compare_items(const void *a, const void *b)
{
	return compare(*(const struct cp_resource *const *)a, *(const struct cp_resource *const *)b);
}

static bool set_version(struct cp_resource *resource)
{
	uint8_t digest[EVP_MAX_MD_SIZE];

	if (EVP_Digest(resource->bytes.data, resource->bytes.len, digest, NULL, EVP_sha256(), NULL) != 1)
		return false;
	for (size_t i = 0; i < (CP_VERSION_BYTES - 1) / 2; i++)
		snprintf(resource->version + 2 * i, 3, "%02x", digest[i]);
	return true;
}

static const char *name_of(const json_t *json)
{
	static const char *const members[] = {"name", "clusterName", "cluster_name"};

	for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
		const char *name = json_string_value(json_object_get(json, members[i]));

		if (name)
			return name;
	}
	return "";
}

static int append_item(struct cp_scope *scope, struct cp_resource *resource)
{
	size_t room = scope->room ? 2 * scope->room : 64;
	struct cp_resource **items = scope->items;

	if (scope->count == scope->room) {
		items = mesh_mem_resize(mem, items, room * sizeof(*items));
		if (!items)
			return MESH_ERROR_NOMEM;
		scope->items = items;
		scope->room = room;
	}
	items[scope->count++] = resource;
	return 0;
}

static int add_resource(struct loader *l, const json_t *json)
{
	struct arena *arena = &l->catalog->arena;
	struct cp_resource *resource = mesh_arena_zalloc(arena, sizeof(*resource));
	struct why why = {""};
	const char *type_url;
	struct buf bytes;
	bool failed = false;
	int rc;

	l->index++;
	if (++l->catalog->count > RESOURCES_MAX)
		return mesh_why(l->why, MESH_ERROR_TOO_LARGE, "%s: more than %d resources", l->path, RESOURCES_MAX);
	mesh_buf_init(&bytes, mem, FILE_BYTES_MAX);
	rc = resource ? mesh_json_decode_any(&bytes, json, 0, &type_url, &why) : MESH_ERROR_NOMEM;
	if (rc < 0) {
		mesh_why(l->why, rc, "%s: resource %zu: %s", l->path, l->index,
			 why.text[0] ? why.text : "out of memory");
		goto done;
	}
	resource->type_url = mesh_arena_slice(arena, mesh_slice_of(type_url), &failed).data;
	resource->name = mesh_arena_slice(arena, mesh_slice_of(name_of(json)), &failed).data;
	resource->bytes = mesh_arena_slice(arena, mesh_buf_slice(&bytes), &failed);
	if (!resource->name)
		resource->name = "";
	if (failed || !set_version(resource) || append_item(l->scope, resource) < 0)
		rc = mesh_why(l->why, MESH_ERROR_NOMEM, "%s: out of memory", l->path);
done:
	mesh_buf_free(&bytes);
	return rc;
}

/* A resource, an array of what a file may hold, or an object with "resources". */
static int add_value(struct loader *l, const json_t *json)
{
	const json_t *list = json_is_array(json) ? json : NULL;
	int rc = 0;

	if (json_is_object(json) && !json_object_get(json, "@type"))
		list = json_object_get(json, "resources");
	if (!list)
		return add_resource(l, json);
	for (size_t i = 0; i < json_array_size(list) && rc == 0; i++)
		rc = add_resource(l, json_array_get(list, i));
	return rc;
}

/* ---- files and directories ---- */

static bool has_suffix(const char *name, const char *suffix)
{
	return mesh_slice_suffix(mesh_slice_of(name), mesh_slice_of(suffix));
}

static json_t *parse_file(struct loader *l, struct mesh_slice text)
{
	struct why why = {""};
	json_error_t error;
	json_t *json;

	if (!has_suffix(l->path, ".json")) {
		json = cp_yaml_load(text, &why);
		if (!json)
			mesh_why(l->why, MESH_ERROR_INVALID, "%s: %s", l->path, why.text);
		return json;
	}
	json = json_loadb(text.data ? text.data : "", text.len, JSON_REJECT_DUPLICATES, &error);
	if (!json) {
		mesh_why(l->why, MESH_ERROR_INVALID, "%s: line %d: %s", l->path, error.line, error.text);
		return NULL;
	}
	return json;
}

static int load_file(struct loader *l)
{
	struct buf text;
	json_t *json = NULL;
	int rc;

	mesh_buf_init(&text, mem, FILE_BYTES_MAX);
	l->index = 0;
	rc = cp_file_read(&text, l->path, l->why);
	if (rc == 0) {
		json = parse_file(l, mesh_buf_slice(&text));
		rc = json ? 0 : MESH_ERROR_INVALID;
	}
	if (rc == 0 && has_suffix(l->path, ".json"))
		rc = add_value(l, json);
	for (size_t i = 0; rc == 0 && !has_suffix(l->path, ".json") && i < json_array_size(json); i++)
		rc = add_value(l, json_array_get(json, i));
	json_decref(json);
	mesh_buf_free(&text);
	return rc;
}

static int is_visible(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

static bool is_resource_file(const char *name)
{
	return has_suffix(name, ".json") || has_suffix(name, ".yaml") || has_suffix(name, ".yml");
}

/* Calls `each` for what lies in a directory, by name; a directory that is not there holds nothing. */
static int each_entry(struct loader *l, const char *dir,
		      int (*each)(struct loader *l, const char *path, const char *name))
{
	struct dirent **entries;
	int count = scandir(dir, &entries, is_visible, alphasort);
	int rc = 0;

	if (count < 0 && errno == ENOENT)
		return 0;
	if (count < 0)
		return mesh_why(l->why, MESH_ERROR_SYSTEM, "%s: %s", dir, strerror(errno));
	for (int i = 0; i < count; i++) {
		char path[PATH_MAX];

		if (rc == 0 && snprintf(path, sizeof(path), "%s/%s", dir, entries[i]->d_name) < (int)sizeof(path))
			rc = each(l, path, entries[i]->d_name);
		free(entries[i]); /* scandir's own */
	}
	free(entries);
	return rc;
}

static int load_entry(struct loader *l, const char *path, const char *name)
{
	struct stat info;

	if (!is_resource_file(name) || stat(path, &info) < 0 || !S_ISREG(info.st_mode))
		return 0;
	l->path = path;
	return load_file(l);
}

static int load_scope(struct loader *l, const char *path, const char *name)
{
	struct arena *arena = &l->catalog->arena;
	struct cp_scope *scope = mesh_arena_zalloc(arena, sizeof(*scope));
	bool failed = false;
	struct stat info;

	if (stat(path, &info) < 0 || !S_ISDIR(info.st_mode))
		return 0;
	if (!scope)
		return MESH_ERROR_NOMEM;
	scope->name = mesh_arena_slice(arena, mesh_slice_of(name), &failed).data;
	if (failed)
		return MESH_ERROR_NOMEM;
	scope->next = l->catalog->scopes;
	l->catalog->scopes = l->scope = scope;
	return each_entry(l, path, load_entry);
}

static int sort_scope(struct cp_scope *scope, struct why *why)
{
	if (scope->count > 0)
		qsort(scope->items, scope->count, sizeof(*scope->items), compare_items);
	for (size_t i = 1; i < scope->count; i++) {
		if (compare(scope->items[i - 1], scope->items[i]) == 0)
			return mesh_why(why, MESH_ERROR_INVALID, "%s%s: two resources are named \"%s\" (%s)",
					scope->name[0] ? "nodes/" : "common", scope->name, scope->items[i]->name,
					scope->items[i]->type_url);
	}
	return 0;
}

int cp_catalog_load(struct cp_catalog *catalog, const char *dir, struct why *why)
{
	struct loader l = {.catalog = catalog, .why = why};
	struct cp_scope *common;
	char path[PATH_MAX];
	struct stat info;
	int rc;

	*catalog = (struct cp_catalog){.scopes = NULL};
	mesh_arena_init(&catalog->arena, mem, 0);
	if (stat(dir, &info) < 0 || !S_ISDIR(info.st_mode))
		return mesh_why(why, MESH_ERROR_INVALID, "%s: not a directory", dir);
	common = mesh_arena_zalloc(&catalog->arena, sizeof(*common));
	if (!common)
		return MESH_ERROR_NOMEM;
	common->name = "";
	catalog->scopes = l.scope = common;
	rc = each_entry(&l, dir, load_entry);
	if (rc == 0 && snprintf(path, sizeof(path), "%s/common", dir) < (int)sizeof(path))
		rc = each_entry(&l, path, load_entry);
	if (rc == 0 && snprintf(path, sizeof(path), "%s/nodes", dir) < (int)sizeof(path))
		rc = each_entry(&l, path, load_scope);
	for (struct cp_scope *scope = catalog->scopes; scope && rc == 0; scope = scope->next)
		rc = sort_scope(scope, why);
	return rc;
}

void cp_catalog_free(struct cp_catalog *catalog)
{
	for (struct cp_scope *scope = catalog->scopes; scope; scope = scope->next)
		mesh_mem_free(mem, scope->items);
	catalog->scopes = NULL;
	mesh_arena_free(&catalog->arena);
}
