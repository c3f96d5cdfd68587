/* SPDX-License-Identifier: Apache-2.0 */
/* Decides how a response in JSON becomes what the resource cache takes. Refuses to know what is in the resources. */
#include "support/xds_sample.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <jansson.h>

#include "control/message.h"
#include "envoy/service/discovery/v3/discovery.pb-c.h"
#include "google/protobuf/any.pb-c.h"
#include "xds/json.h"

static struct mesh_slice keep(struct arena *arena, struct mesh_slice bytes)
{
	bool failed = false;
	struct mesh_slice kept = mesh_arena_slice(arena, bytes, &failed);

	assert_false(failed);
	return kept;
}

static struct mesh_slice text_of(struct arena *arena, const json_t *object, const char *name)
{
	const char *text = json_string_value(json_object_get(object, name));

	return text ? keep(arena, mesh_slice_of(text)) : mesh_slice_make(NULL, 0);
}

static struct xds_resource pack(struct arena *arena, const json_t *any)
{
	struct xds_resource resource = {.name = {NULL, 0}};
	const char *url = NULL;
	struct why why = {""};
	struct buf bytes;

	mesh_buf_init(&bytes, &mesh_mem_default, 0);
	if (mesh_json_decode_any(&bytes, any, 0, &url, &why) < 0)
		fail_msg("%s", why.text);
	resource.type_url = keep(arena, mesh_slice_of(url));
	resource.bytes = mesh_buf_len(&bytes) ? keep(arena, mesh_buf_slice(&bytes)) : MESH_SLICE("");
	mesh_buf_free(&bytes);
	return resource;
}

static struct xds_resource *load_json(struct arena *arena, const char *path, size_t *count)
{
	json_error_t error;
	json_t *response = json_load_file(path, 0, &error), *list, *item;
	struct mesh_slice version;
	struct xds_resource *resources;
	size_t i;

	if (!response)
		fail_msg("%s: %s", path, error.text);
	version = text_of(arena, response, "versionInfo");
	list = json_object_get(response, "resources");
	*count = json_array_size(list);
	resources = mesh_arena_array(arena, *count + 1, sizeof(*resources));
	assert_non_null(resources);
	json_array_foreach(list, i, item)
	{
		json_t *inner = json_object_get(item, "resource");

		resources[i] = pack(arena, inner ? inner : item);
		resources[i].name = inner ? text_of(arena, item, "name") : mesh_slice_make(NULL, 0);
		resources[i].version = inner ? text_of(arena, item, "version") : version;
	}
	json_decref(response);
	return resources;
}

static struct xds_resource of_any(const Google__Protobuf__Any *any, const char *name, const char *version)
{
	return (struct xds_resource){.name = mesh_slice_make(name, name ? strlen(name) : 0),
				     .version = mesh_slice_of(version),
				     .type_url = mesh_slice_of(any->type_url),
				     .bytes = mesh_slice_make(any->value.data, any->value.len)};
}

static struct xds_resource *load_delta(struct arena *arena, struct mesh_slice bytes, size_t *count)
{
	ProtobufCMessage *message = NULL;
	const Envoy__Service__Discovery__V3__DeltaDiscoveryResponse *response;
	struct xds_resource *resources;

	assert_int_equal(mesh_message_unpack(&envoy__service__discovery__v3__delta_discovery_response__descriptor,
					     bytes, 0, arena, NULL, &message),
			 0);
	response = (const void *)message;
	*count = response->n_resources;
	resources = mesh_arena_array(arena, *count + 1, sizeof(*resources));
	assert_non_null(resources);
	for (size_t i = 0; i < *count; i++)
		resources[i] = of_any(response->resources[i]->resource, response->resources[i]->name,
				      response->resources[i]->version);
	return resources;
}

static struct xds_resource *load_whole(struct arena *arena, struct mesh_slice bytes, size_t *count)
{
	ProtobufCMessage *message = NULL;
	const Envoy__Service__Discovery__V3__DiscoveryResponse *response;
	struct xds_resource *resources;

	assert_int_equal(mesh_message_unpack(&envoy__service__discovery__v3__discovery_response__descriptor, bytes, 0,
					     arena, NULL, &message),
			 0);
	response = (const void *)message;
	*count = response->n_resources;
	resources = mesh_arena_array(arena, *count + 1, sizeof(*resources));
	assert_non_null(resources);
	for (size_t i = 0; i < *count; i++)
		resources[i] = of_any(response->resources[i], NULL, response->version_info);
	return resources;
}

static struct xds_resource *load_packed(struct arena *arena, const char *path, size_t *count)
{
	FILE *file = fopen(path, "rb");
	struct mesh_slice bytes;
	long size;
	char *data;

	if (!file)
		fail_msg("cannot open %s", path);
	fseek(file, 0, SEEK_END);
	size = ftell(file);
	rewind(file);
	assert_true(size > 0);
	data = mesh_arena_alloc(arena, (size_t)size);
	assert_non_null(data);
	assert_int_equal(fread(data, 1, (size_t)size, file), size);
	fclose(file);
	bytes = mesh_slice_make(data, (size_t)size);
	return strstr(path, "delta") ? load_delta(arena, bytes, count) : load_whole(arena, bytes, count);
}

struct xds_resource *xds_sample_load(struct arena *arena, const char *path, size_t *count)
{
	return mesh_slice_suffix(mesh_slice_of(path), MESH_SLICE(".pb")) ? load_packed(arena, path, count)
									 : load_json(arena, path, count);
}

static void complete_types(json_t *json)
{
	const char *name = json_string_value(json_object_get(json, "@type")), *key;
	json_t *value;
	size_t i;

	if (name && !strchr(name, '/'))
		json_object_set_new(json, "@type", json_sprintf("type.googleapis.com/%s", name));
	json_object_foreach(json, key, value) complete_types(value);
	json_array_foreach(json, i, value) complete_types(value);
}

struct xds_resource xds_sample_json(struct arena *arena, const char *version, const char *format, ...)
{
	struct xds_resource resource;
	json_error_t error;
	va_list args;
	json_t *json;
	char *text;

	va_start(args, format);
	assert_true(vasprintf(&text, format, args) >= 0);
	va_end(args);
	for (char *quote = text; (quote = strchr(quote, '\''));)
		*quote = '"';
	json = json_loads(text, 0, &error);
	if (!json)
		fail_msg("%s in %s", error.text, text);
	complete_types(json);
	resource = pack(arena, json);
	resource.version = keep(arena, mesh_slice_of(version));
	json_decref(json);
	free(text);
	return resource;
}
