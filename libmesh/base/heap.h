/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Binary min-heap of items ordered by a 64-bit key, for timers. Items know their place, so removal is O(log n). Of
 * equal keys any may come first.
 */
#ifndef MESH_BASE_HEAP_H
#define MESH_BASE_HEAP_H

#include "base/mem.h"

struct heap_item {
	uint64_t key;
	size_t place; /* 1-based; 0: not in a heap */
};

struct heap {
	const struct mesh_mem *mem;
	struct heap_item **items;
	size_t count;
	size_t room;
};

void mesh_heap_init(struct heap *heap, const struct mesh_mem *mem);
void mesh_heap_free(struct heap *heap);
int mesh_heap_put(struct heap *heap, struct heap_item *item, uint64_t key); /* moves it when already there; NOMEM */
void mesh_heap_remove(struct heap *heap, struct heap_item *item);           /* harmless when not there */
struct heap_item *mesh_heap_first(const struct heap *heap);                 /* NULL when empty */

#endif
