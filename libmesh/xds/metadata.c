/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Collects node metadata from the places where Istio's injector and the kubelet put it. Decides what is well-formed;
 * refuses to know which keys matter.
 */
#include "xds/metadata.h"

#include <jansson.h>

#include "base/slice.h"
#include "control/file.h"

static const char meta_prefix[] = "ISTIO_META_";
static const char json_prefix[] = "ISTIO_METAJSON_";

const char *mesh_environment_get(const char *const *environment, const char *name)
{
	size_t len = strlen(name);

	for (; environment && *environment; environment++)
		if (!strncmp(*environment, name, len) && (*environment)[len] == '=')
			return (*environment)[len + 1] ? *environment + len + 1 : NULL;
	return NULL;
}

struct json_t *mesh_metadata_object(const char *name, const char *text, struct why *why)
{
	json_error_t error;
	json_t *json = json_loads(text, JSON_REJECT_DUPLICATES, &error);

	if (!json) {
		mesh_why(why, MESH_ERROR_BOOTSTRAP, "%s: a JSON object was expected: line %d, column %d: %.120s", name,
			 error.line, error.column, error.text);
		return NULL;
	}
	if (json_is_object(json))
		return json;
	json_decref(json);
	mesh_why(why, MESH_ERROR_BOOTSTRAP, "%s: a JSON object was expected", name);
	return NULL;
}

/* One variable without its prefix; `json` tells how its value is written. */
static int add_variable(json_t *metadata, struct mesh_slice name, struct mesh_slice key, const char *text, bool is_json,
			struct why *why)
{
	json_error_t error;
	json_t *value;

	if (!key.len || !*text)
		return 0;
	value = is_json ? json_loads(text, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, &error) : json_string(text);
	if (!value && is_json)
		return mesh_why(why, MESH_ERROR_BOOTSTRAP, "%.*s: JSON was expected: line %d, column %d: %.120s", (int)name.len,
				name.data, error.line, error.column, error.text);
	if (!value || json_object_setn_new(metadata, key.data, key.len, value))
		return mesh_why(why, MESH_ERROR_BOOTSTRAP, "%.*s: UTF-8 text was expected", (int)name.len, name.data);
	return 0;
}

static struct mesh_slice after(struct mesh_slice name, const char *prefix)
{
	size_t len = strlen(prefix);

	return mesh_slice_make(name.data + len, name.len - len);
}

static int add_pair(json_t *metadata, struct mesh_slice name, const char *value, struct why *why)
{
	if (mesh_slice_prefix(name, mesh_slice_of(json_prefix)))
		return add_variable(metadata, name, after(name, json_prefix), value, true, why);
	if (mesh_slice_prefix(name, mesh_slice_of(meta_prefix)))
		return add_variable(metadata, name, after(name, meta_prefix), value, false, why);
	return 0;
}

int mesh_metadata_add_environment(struct json_t *metadata, const char *const *environment, struct why *why)
{
	int rc = 0;

	for (; environment && *environment && !rc; environment++) {
		const char *equals = strchr(*environment, '=');

		if (equals)
			rc = add_pair(metadata, mesh_slice_make(*environment, (size_t)(equals - *environment)), equals + 1, why);
	}
	return rc;
}

int mesh_metadata_add_proxy(struct json_t *metadata, const struct json_t *proxy_config, struct why *why)
{
	json_t *all = json_object_get(proxy_config, "proxyMetadata"), *value;
	const char *name;
	int rc = 0;

	json_object_foreach(all, name, value) {
		if (!rc && json_is_string(value))
			rc = add_pair(metadata, mesh_slice_of(name), json_string_value(value), why);
	}
	return rc;
}

int mesh_metadata_labels_json(const char *name, const char *text, struct json_t **labels, struct why *why)
{
	json_t *object = mesh_metadata_object(name, text, why), *value;
	const char *key;

	if (!object)
		return MESH_ERROR_BOOTSTRAP;
	json_object_foreach(object, key, value) {
		if (json_is_string(value))
			continue;
		mesh_why(why, MESH_ERROR_BOOTSTRAP, "%s: a JSON object of strings was expected, but \"%.100s\" is no string",
			 name, key);
		json_decref(object);
		return MESH_ERROR_BOOTSTRAP;
	}
	*labels = object;
	return 0;
}

/* Undoes the quoting of the downward API in place; label values need no more of it than backslash and quote. */
static bool unquote(struct mesh_slice quoted, char *into, size_t *len)
{
	size_t used = 0;

	if (quoted.len < 2 || quoted.data[0] != '"' || quoted.data[quoted.len - 1] != '"')
		return false;
	for (size_t i = 1; i + 1 < quoted.len; i++) {
		if (quoted.data[i] == '"')
			return false;
		if (quoted.data[i] == '\\' && (i + 2 >= quoted.len || !strchr("\\\"", quoted.data[++i])))
			return false;
		into[used++] = quoted.data[i];
	}
	*len = used;
	return true;
}

static int add_label(json_t *labels, struct mesh_slice line, char *room)
{
	ptrdiff_t equals = mesh_slice_find(line, '=');
	json_t *value;
	size_t len;

	if (equals <= 0 || !unquote(mesh_slice_make(line.data + equals + 1, line.len - (size_t)equals - 1), room, &len))
		return MESH_ERROR_BOOTSTRAP;
	value = json_stringn(room, len);
	if (!value || json_object_setn_new(labels, line.data, (size_t)equals, value))
		return MESH_ERROR_BOOTSTRAP;
	return 0;
}

static int parse_label_lines(json_t *labels, const char *path, struct mesh_slice text, char *room, struct why *why)
{
	for (unsigned number = 1; text.data; number++) {
		struct mesh_slice line = mesh_slice_cut(&text, '\n');

		if (line.len && line.data[line.len - 1] == '\r')
			line.len--;
		if (line.len && add_label(labels, line, room))
			return mesh_why(why, MESH_ERROR_BOOTSTRAP, "labels file %s: line %u: key=\"value\" was expected", path,
					number);
	}
	return 0;
}

int mesh_metadata_labels_file(const struct mesh_mem *mem, const char *path, struct json_t **labels, struct why *why)
{
	json_t *object = json_object();
	struct file_stamp stamp;
	struct buf text;
	char *room = NULL;
	int rc;

	mesh_buf_init(&text, mem, 0);
	mesh_file_stamp(path, &stamp);
	rc = object ? 0 : MESH_ERROR_NOMEM;
	/* a pod without labels has an empty file */
	if (!rc && !(stamp.inode && !stamp.bytes))
		rc = mesh_file_read(path, "labels", &text, why);
	if (!rc && mesh_buf_len(&text)) {
		room = mesh_mem_alloc(mem, mesh_buf_len(&text));
		rc = room ? parse_label_lines(object, path, mesh_buf_slice(&text), room, why) : MESH_ERROR_NOMEM;
	}
	mesh_mem_free(mem, room);
	mesh_buf_free(&text);
	if (rc)
		json_decref(object);
	else
		*labels = object;
	return rc;
}
