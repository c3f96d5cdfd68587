/* SPDX-License-Identifier: Apache-2.0 */
/* Binary min-heap whose items know their place. */
#include "base/heap.h"

#include <mesh/error.h>

void mesh_heap_init(struct heap *heap, const struct mesh_mem *mem)
{
	memset(heap, 0, sizeof(*heap));
	heap->mem = mem;
}

void mesh_heap_free(struct heap *heap)
{
	mesh_mem_free(heap->mem, heap->items);
	mesh_heap_init(heap, heap->mem);
}

static void set(struct heap *heap, size_t place, struct heap_item *item)
{
	heap->items[place - 1] = item;
	item->place = place;
}

static void rise(struct heap *heap, size_t place, struct heap_item *item)
{
	while (place > 1 && heap->items[place / 2 - 1]->key > item->key) {
		set(heap, place, heap->items[place / 2 - 1]);
		place /= 2;
	}
	set(heap, place, item);
}

static void sink(struct heap *heap, size_t place, struct heap_item *item)
{
	for (;;) {
		size_t child = place * 2;

		if (child > heap->count)
			break;
		if (child < heap->count && heap->items[child]->key < heap->items[child - 1]->key)
			child++;
		if (heap->items[child - 1]->key >= item->key)
			break;
		set(heap, place, heap->items[child - 1]);
		place = child;
	}
	set(heap, place, item);
}

static void settle(struct heap *heap, size_t place, struct heap_item *item)
{
	if (place > 1 && heap->items[place / 2 - 1]->key > item->key)
		rise(heap, place, item);
	else
		sink(heap, place, item);
}

int mesh_heap_put(struct heap *heap, struct heap_item *item, uint64_t key)
{
	item->key = key;
	if (item->place) {
		settle(heap, item->place, item);
		return 0;
	}
	if (heap->count == heap->room) {
		size_t room = heap->room ? heap->room * 2 : 16;
		struct heap_item **items = mesh_mem_resize(heap->mem, heap->items, room * sizeof(*items));

		if (!items)
			return MESH_ERROR_NOMEM;
		heap->items = items;
		heap->room = room;
	}
	rise(heap, ++heap->count, item);
	return 0;
}

void mesh_heap_remove(struct heap *heap, struct heap_item *item)
{
	size_t place = item->place;
	struct heap_item *last;

	if (!place)
		return;
	item->place = 0;
	last = heap->items[--heap->count];
	if (last != item)
		settle(heap, place, last);
}

struct heap_item *mesh_heap_first(const struct heap *heap)
{
	return heap->count ? heap->items[0] : NULL;
}
