/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory for nghttp2: blocks of a few sizes are kept per connection when it gives them back, because it asks for the
 * same ones with every request. Refuses to know what is in them.
 *
 * nghttp2 1.52 keeps a pointer to a DATA item that it freed when queueing it failed for want of memory, and frees it
 * again with its stream. Once memory has failed the session only dies; until then all it gives back stays here, and
 * what comes back twice is known.
 */
#include "http/mux_http2.h"

enum { SMALLEST = 64, KEPT_BYTES = 96 * 1024, LARGE = HTTP2_MEM_CLASSES };

struct http2_block {
	union {
		struct http2_block *next; /* spare */
		size_t bytes;             /* in use: what may be written to */
	};
	uint32_t order;
	bool is_spare;
	char data[] __attribute__((aligned(16)));
};

static struct http2_block *block_of(void *memory)
{
	return (struct http2_block *)((char *)memory - offsetof(struct http2_block, data));
}

static void *pool_take(size_t bytes, void *user)
{
	struct http2_mem *pool = user;
	struct http2_block *block;
	size_t order = 0;

	while (order < LARGE && bytes > (size_t)SMALLEST << order)
		order++;
	if (order < LARGE) {
		bytes = (size_t)SMALLEST << order;
		block = pool->spare[order];
		if (block) {
			pool->spare[order] = block->next;
			pool->kept -= bytes;
			block->is_spare = false;
			block->bytes = bytes;
			return block->data;
		}
	}
	block = bytes > SIZE_MAX / 2 ? NULL : mesh_mem_alloc(pool->mem, sizeof(*block) + bytes);
	if (!block) {
		pool->failed = true;
		return NULL;
	}
	block->order = (uint32_t)order;
	block->is_spare = false;
	block->bytes = bytes;
	return block->data;
}

static void pool_give(void *memory, void *user)
{
	struct http2_mem *pool = user;
	struct http2_block *block;
	size_t order, bytes;

	if (!memory)
		return;
	block = block_of(memory);
	if (block->is_spare)
		return;
	order = block->order;
	bytes = (size_t)SMALLEST << order;
	if (order == LARGE || (!pool->failed && pool->kept + bytes > KEPT_BYTES)) {
		mesh_mem_free(pool->mem, block);
		return;
	}
	block->is_spare = true;
	block->next = pool->spare[order];
	pool->spare[order] = block;
	pool->kept += bytes;
}

static void *pool_take_zeroed(size_t count, size_t each, void *user)
{
	size_t bytes;
	void *memory;

	if (__builtin_mul_overflow(count, each, &bytes))
		return NULL;
	memory = pool_take(bytes, user);
	return memory ? memset(memory, 0, bytes) : NULL;
}

static void *pool_resize(void *memory, size_t bytes, void *user)
{
	void *moved;

	if (memory && bytes <= block_of(memory)->bytes)
		return memory;
	moved = pool_take(bytes, user);
	if (moved && memory) {
		memcpy(moved, memory, block_of(memory)->bytes);
		pool_give(memory, user);
	}
	return moved;
}

void mesh_mux_http2_mem_init(struct http2_mem *pool, const struct mesh_mem *mem)
{
	memset(pool, 0, sizeof(*pool));
	pool->mem = mem;
	pool->table = (nghttp2_mem){pool, pool_take, pool_give, pool_take_zeroed, pool_resize};
}

void mesh_mux_http2_mem_free(struct http2_mem *pool)
{
	for (size_t order = 0; order < LARGE; order++)
		while (pool->spare[order]) {
			struct http2_block *block = pool->spare[order];

			pool->spare[order] = block->next;
			mesh_mem_free(pool->mem, block);
		}
}
