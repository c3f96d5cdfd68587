/* SPDX-License-Identifier: Apache-2.0 */
/* Hash map from names to pointers; open addressing. Keys are borrowed: the value usually holds its own name. */
#ifndef MESH_BASE_MAP_H
#define MESH_BASE_MAP_H

#include "base/mem.h"
#include "base/slice.h"

struct map_slot {
	struct mesh_slice key;
	uint32_t hash;
	void *value; /* NULL: free */
};

struct map {
	const struct mesh_mem *mem;
	struct map_slot *slots;
	size_t room; /* power of two, 0 before the first put */
	size_t count;
};

void mesh_map_init(struct map *map, const struct mesh_mem *mem); /* allocates nothing */
void mesh_map_free(struct map *map);
void *mesh_map_get(const struct map *map, struct mesh_slice key);
void *mesh_map_get_hashed(const struct map *map, struct mesh_slice key, uint32_t hash); /* of mesh_slice_hash(key) */
/*
 * value != NULL. Replaces key and value when the key is there, which cannot fail; *previous (may be NULL) gets the value it
 * had. NOMEM.
 */
int mesh_map_put(struct map *map, struct mesh_slice key, void *value, void **previous);
void *mesh_map_remove(struct map *map, struct mesh_slice key); /* the value taken out, NULL when absent */

/* Put or remove nothing inside the loop: removal moves slots. */
#define MESH_MAP_EACH(slot, map) \
	for (struct map_slot *slot = (map)->slots; slot && slot < (map)->slots + (map)->room; slot++) \
		if (slot->value)

#endif
