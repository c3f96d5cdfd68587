/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of a compiled configuration object: one count, one arena, its expressions and the objects it points into go
 * together. Refuses to know what kind of configuration it is.
 */
#include "config/object.h"

#include <mesh/error.h>

static void object_destroy(struct ref *ref)
{
	struct config_object *object = (struct config_object *)ref;
	const struct mesh_mem *mem = object->arena.mem;

	for (size_t i = 0; i < object->regex_count; i++)
		mesh_regex_free(object->regexes[i]);
	mesh_mem_free(mem, object->regexes);
	for (struct config_held *held = object->held; held; held = held->next)
		mesh_config_object_release(held->object);
	mesh_arena_free(&object->arena);
	mesh_mem_free(mem, object);
}

void *mesh_config_object_new(const struct mesh_mem *mem, size_t bytes, struct mesh_slice name)
{
	struct config_object *object = mesh_mem_zalloc(mem, bytes);
	bool failed = false;

	if (!object)
		return NULL;
	mesh_ref_init(&object->item.ref, object_destroy);
	mesh_arena_init(&object->arena, mem, 0);
	object->item.name = mesh_arena_slice(&object->arena, name, &failed);
	if (!failed)
		return object;
	mesh_config_object_release(object);
	return NULL;
}

int mesh_config_object_regex(struct config_object *object, struct mesh_slice pattern, struct regex **regex, struct why *why)
{
	int rc;

	if (object->regex_count == object->regex_room) {
		size_t room = object->regex_room ? object->regex_room * 2 : 4;
		struct regex **grown = mesh_mem_resize(object->arena.mem, object->regexes, room * sizeof(*grown));

		if (!grown)
			return MESH_ERROR_NOMEM;
		object->regexes = grown;
		object->regex_room = room;
	}
	rc = mesh_regex_new(pattern, regex, why);
	if (rc == 0)
		object->regexes[object->regex_count++] = *regex;
	return rc;
}

int mesh_config_object_hold(struct config_object *object, struct config_object *held)
{
	struct config_held *entry = mesh_arena_alloc(&object->arena, sizeof(*entry));

	if (!entry)
		return MESH_ERROR_NOMEM;
	entry->object = held;
	entry->next = object->held;
	object->held = entry;
	return 0;
}
