/* SPDX-License-Identifier: Apache-2.0 */
/* Open addressing with linear probing and backward-shift removal: no tombstones, so a long life costs nothing. */
#include "base/map.h"

#include <mesh/error.h>

void mesh_map_init(struct map *map, const struct mesh_mem *mem)
{
	memset(map, 0, sizeof(*map));
	map->mem = mem;
}

void mesh_map_free(struct map *map)
{
	mesh_mem_free(map->mem, map->slots);
	mesh_map_init(map, map->mem);
}

static struct map_slot *find(const struct map *map, struct mesh_slice key, uint32_t hash)
{
	size_t mask = map->room - 1, at = hash & mask;

	while (map->slots[at].value && !(map->slots[at].hash == hash && mesh_slice_equal(map->slots[at].key, key)))
		at = (at + 1) & mask;
	return &map->slots[at];
}

void *mesh_map_get_hashed(const struct map *map, struct mesh_slice key, uint32_t hash)
{
	return map->room ? find(map, key, hash)->value : NULL;
}

void *mesh_map_get(const struct map *map, struct mesh_slice key)
{
	return map->count ? find(map, key, mesh_slice_hash(key))->value : NULL;
}

static int grow(struct map *map)
{
	struct map larger = {.mem = map->mem, .room = map->room ? map->room * 2 : 8};

	larger.slots = mesh_mem_array(map->mem, larger.room, sizeof(*larger.slots));
	if (!larger.slots)
		return MESH_ERROR_NOMEM;
	MESH_MAP_EACH(slot, map)
		*find(&larger, slot->key, slot->hash) = *slot;
	larger.count = map->count;
	mesh_mem_free(map->mem, map->slots);
	*map = larger;
	return 0;
}

int mesh_map_put(struct map *map, struct mesh_slice key, void *value, void **previous)
{
	uint32_t hash = mesh_slice_hash(key);
	struct map_slot *slot = map->count ? find(map, key, hash) : NULL;
	bool fresh = !slot || !slot->value;

	if (previous)
		*previous = fresh ? NULL : slot->value;
	if (fresh && (map->count + 1) * 4 > map->room * 3) {
		if (grow(map))
			return MESH_ERROR_NOMEM;
		slot = NULL;
	}
	if (!slot)
		slot = find(map, key, hash);
	map->count += fresh;
	slot->key = key;
	slot->hash = hash;
	slot->value = value;
	return 0;
}

void *mesh_map_remove(struct map *map, struct mesh_slice key)
{
	size_t mask, hole, at;
	struct map_slot *slot;
	void *value;

	if (!map->count)
		return NULL;
	slot = find(map, key, mesh_slice_hash(key));
	value = slot->value;
	if (!value)
		return NULL;
	mask = map->room - 1;
	hole = (size_t)(slot - map->slots);
	for (at = (hole + 1) & mask; map->slots[at].value; at = (at + 1) & mask) {
		size_t home = map->slots[at].hash & mask;

		/* an entry may fill the hole unless its home lies behind it */
		if (((at - home) & mask) >= ((at - hole) & mask)) {
			map->slots[hole] = map->slots[at];
			hole = at;
		}
	}
	memset(&map->slots[hole], 0, sizeof(map->slots[hole]));
	map->count--;
	return value;
}
