/* SPDX-License-Identifier: Apache-2.0 */
/* What every compiled configuration object begins with: a count, a name, an arena that holds all of it. */
#ifndef MESH_CONFIG_OBJECT_H
#define MESH_CONFIG_OBJECT_H

#include "base/arena.h"
#include "base/list.h"
#include "base/table.h"
#include "config/match.h"

/* Another object that this one points into, referenced as long as this one lives. */
struct config_held {
	struct config_held *next;
	struct config_object *object;
};

struct config_object {
	struct table_item item; /* first */
	struct arena arena;
	struct config_held *held;
	struct regex **regexes; /* to free with the object */
	size_t regex_count;
	size_t regex_room;
};

/* Allocates a zeroed object of `bytes` (>= sizeof(struct config_object)) with one reference and a copied name. NULL: no memory. */
void *mesh_config_object_new(const struct mesh_mem *mem, size_t bytes, struct mesh_slice name);
/* Compiles a pattern that lives as long as the object. INVALID with words, NOMEM. */
int mesh_config_object_regex(struct config_object *object, struct mesh_slice pattern, struct regex **regex, struct why *why);
/* Takes over the caller's reference on `held` until `object` goes. NOMEM: the reference stays the caller's. */
int mesh_config_object_hold(struct config_object *object, struct config_object *held);

static inline void mesh_config_object_release(void *object) /* NULL allowed */
{
	if (object)
		mesh_ref_drop(&((struct config_object *)object)->item.ref);
}

static inline void *mesh_config_object_retain(const void *object)
{
	if (object)
		mesh_ref_take(&((struct config_object *)object)->item.ref);
	return (void *)object;
}

#endif
