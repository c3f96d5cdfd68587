/* SPDX-License-Identifier: Apache-2.0 */
/* Memory of one mesh: the only place that calls malloc. */
#ifndef MESH_BASE_MEM_H
#define MESH_BASE_MEM_H

#include <mesh/types.h>

struct mesh_mem {
	void *(*alloc)(void *user, size_t bytes);
	void *(*resize)(void *user, void *memory, size_t bytes);
	void (*release)(void *user, void *memory);
	void *user;
};

/* The C library's allocator. */
extern const struct mesh_mem mesh_mem_default;

/* NULL when out of memory; 0 bytes give a valid block. */
void *mesh_mem_alloc(const struct mesh_mem *mem, size_t bytes);
void *mesh_mem_zalloc(const struct mesh_mem *mem, size_t bytes); /* zeroed */
void *mesh_mem_array(const struct mesh_mem *mem, size_t count, size_t each); /* zeroed, overflow checked */
void *mesh_mem_resize(const struct mesh_mem *mem, void *memory, size_t bytes);
void mesh_mem_free(const struct mesh_mem *mem, void *memory); /* NULL allowed */
char *mesh_mem_text(const struct mesh_mem *mem, struct mesh_slice slice); /* NUL-terminated copy */
void mesh_mem_wipe(void *memory, size_t bytes); /* never optimised away */

#endif
