/* SPDX-License-Identifier: Apache-2.0 */
/* Bump allocation: everything given out is freed together. Not thread-safe. */
#ifndef MESH_BASE_ARENA_H
#define MESH_BASE_ARENA_H

#include "base/mem.h"

struct arena_block;

struct arena {
	const struct mesh_mem *mem;
	struct arena_block *first;
	struct arena_block *last;
	char *next;                /* free space in `last` */
	char *end;
	size_t total;              /* bytes held in blocks */
	size_t limit;              /* 0: none; more than this fails as out of memory */
	bool full;                 /* the limit was what failed, since the last reset */
};

void mesh_arena_init(struct arena *arena, const struct mesh_mem *mem, size_t limit); /* allocates nothing */
void mesh_arena_reset(struct arena *arena); /* keeps a block for reuse: a warm arena allocates nothing */
void mesh_arena_free(struct arena *arena);
void *mesh_arena_alloc(struct arena *arena, size_t bytes);  /* 16-aligned; NULL when out of memory or over the limit */
void *mesh_arena_zalloc(struct arena *arena, size_t bytes);
void *mesh_arena_array(struct arena *arena, size_t count, size_t each); /* zeroed, overflow checked */
/* Copy with a NUL behind it; absent stays absent. Without memory {NULL, 0}, and sets *failed when failed != NULL. */
struct mesh_slice mesh_arena_slice(struct arena *arena, struct mesh_slice slice, bool *failed);
struct mesh_slice mesh_arena_printf(struct arena *arena, const char *format, ...)
	__attribute__((format(printf, 2, 3))); /* {NULL, 0} when out of memory */

#endif
