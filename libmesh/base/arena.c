/* SPDX-License-Identifier: Apache-2.0 */
/* Bump allocation in blocks that double up to a bound. A block survives a reset: warm use allocates nothing. */
#include "base/arena.h"

#include <stdarg.h>
#include <stdio.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ARENA_POISON
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define ARENA_POISON
#endif

/* So that the sanitizer sees use after a reset, which is otherwise quiet. */
#ifdef ARENA_POISON
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(at, bytes)   ((void)(at), (void)(bytes))
#define ASAN_UNPOISON_MEMORY_REGION(at, bytes) ((void)(at), (void)(bytes))
#endif

struct arena_block {
	struct arena_block *next;
	size_t room;
	_Alignas(16) char data[];
};

static const size_t block_min = 2048 - sizeof(struct arena_block);
static const size_t block_max = 64 * 1024;
static const size_t keep_max = 8 * 1024;

void mesh_arena_init(struct arena *arena, const struct mesh_mem *mem, size_t limit)
{
	memset(arena, 0, sizeof(*arena));
	arena->mem = mem;
	arena->limit = limit;
}

static void free_from(struct arena *arena, struct arena_block *block)
{
	while (block) {
		struct arena_block *next = block->next;

		arena->total -= block->room;
		ASAN_UNPOISON_MEMORY_REGION(block->data, block->room);
		mesh_mem_free(arena->mem, block);
		block = next;
	}
}

/* The largest that is not too large to keep, so that what did not fit once fits next time, goes to the front. */
static void choose_kept(struct arena *arena)
{
	struct arena_block **best = &arena->first, *kept;

	for (struct arena_block **at = &arena->first->next; *at; at = &(*at)->next)
		if ((*at)->room > (*best)->room && (*at)->room <= keep_max)
			best = at;
	kept = *best;
	*best = kept->next;
	kept->next = arena->first;
	arena->first = kept;
}

void mesh_arena_reset(struct arena *arena)
{
	arena->full = false;
	if (!arena->first)
		return;
	if (arena->first->next)
		choose_kept(arena);
	free_from(arena, arena->first->next);
	arena->first->next = NULL;
	arena->last = arena->first;
	arena->next = arena->first->data;
	arena->end = arena->next + arena->first->room;
	ASAN_POISON_MEMORY_REGION(arena->next, arena->first->room);
}

void mesh_arena_free(struct arena *arena)
{
	free_from(arena, arena->first);
	mesh_arena_init(arena, arena->mem, arena->limit);
}

static bool grow(struct arena *arena, size_t bytes)
{
	size_t room = arena->last ? arena->last->room * 2 : block_min;
	struct arena_block *block;

	if (room > block_max)
		room = block_max;
	if (room < bytes)
		room = bytes;
	if (arena->limit && arena->total + room > arena->limit)
		room = bytes;
	if (arena->limit && arena->total + room > arena->limit) {
		arena->full = true;
		return false;
	}
	block = mesh_mem_alloc(arena->mem, sizeof(*block) + room);
	if (!block)
		return false;
	block->next = NULL;
	block->room = room;
	if (arena->last)
		arena->last->next = block;
	else
		arena->first = block;
	arena->last = block;
	arena->next = block->data;
	arena->end = block->data + room;
	arena->total += room;
	ASAN_POISON_MEMORY_REGION(block->data, room);
	return true;
}

void *mesh_arena_alloc(struct arena *arena, size_t bytes)
{
	size_t rounded;
	void *memory;

	if (bytes > SIZE_MAX / 2)
		return NULL;
	rounded = bytes ? (bytes + 15) & ~(size_t)15 : 16;
	if ((size_t)(arena->end - arena->next) < rounded && !grow(arena, rounded))
		return NULL;
	memory = arena->next;
	arena->next += rounded;
	ASAN_UNPOISON_MEMORY_REGION(memory, bytes);
	return memory;
}

void *mesh_arena_zalloc(struct arena *arena, size_t bytes)
{
	void *memory = mesh_arena_alloc(arena, bytes);

	return memory ? memset(memory, 0, bytes) : NULL;
}

void *mesh_arena_array(struct arena *arena, size_t count, size_t each)
{
	size_t bytes;

	if (__builtin_mul_overflow(count, each, &bytes))
		return NULL;
	return mesh_arena_zalloc(arena, bytes);
}

struct mesh_slice mesh_arena_slice(struct arena *arena, struct mesh_slice slice, bool *failed)
{
	struct mesh_slice copy = {NULL, 0};
	char *text;

	if (!slice.data)
		return copy;
	text = mesh_arena_alloc(arena, slice.len + 1);
	if (!text) {
		if (failed)
			*failed = true;
		return copy;
	}
	memcpy(text, slice.data, slice.len);
	text[slice.len] = '\0';
	copy.data = text;
	copy.len = slice.len;
	return copy;
}

struct mesh_slice mesh_arena_printf(struct arena *arena, const char *format, ...)
{
	struct mesh_slice result = {NULL, 0};
	va_list args;
	char *text;
	int len;

	va_start(args, format);
	len = vsnprintf(NULL, 0, format, args);
	va_end(args);
	text = len < 0 ? NULL : mesh_arena_alloc(arena, (size_t)len + 1);
	if (!text)
		return result;
	va_start(args, format);
	vsnprintf(text, (size_t)len + 1, format, args);
	va_end(args);
	result.data = text;
	result.len = (size_t)len;
	return result;
}
