/* SPDX-License-Identifier: Apache-2.0 */
/* The one file that calls malloc. Decides nothing; sizes are checked here so that callers need not. */
#include "base/mem.h"

#include <stdlib.h>

static void *default_alloc(void *user, size_t bytes)
{
	return malloc(bytes);
}

static void *default_resize(void *user, void *memory, size_t bytes)
{
	return realloc(memory, bytes);
}

static void default_release(void *user, void *memory)
{
	free(memory);
}

const struct mesh_mem mesh_mem_default = {default_alloc, default_resize, default_release, NULL};

void *mesh_mem_alloc(const struct mesh_mem *mem, size_t bytes)
{
	return mem->alloc(mem->user, bytes ? bytes : 1);
}

void *mesh_mem_zalloc(const struct mesh_mem *mem, size_t bytes)
{
	void *memory = mesh_mem_alloc(mem, bytes);

	return memory ? memset(memory, 0, bytes) : NULL;
}

void *mesh_mem_array(const struct mesh_mem *mem, size_t count, size_t each)
{
	size_t bytes;

	if (__builtin_mul_overflow(count, each, &bytes))
		return NULL;
	return mesh_mem_zalloc(mem, bytes);
}

void *mesh_mem_resize(const struct mesh_mem *mem, void *memory, size_t bytes)
{
	if (!memory)
		return mesh_mem_alloc(mem, bytes);
	return mem->resize(mem->user, memory, bytes ? bytes : 1);
}

void mesh_mem_free(const struct mesh_mem *mem, void *memory)
{
	if (memory)
		mem->release(mem->user, memory);
}

char *mesh_mem_text(const struct mesh_mem *mem, struct mesh_slice slice)
{
	char *text = slice.len == SIZE_MAX ? NULL : mesh_mem_alloc(mem, slice.len + 1);

	if (!text)
		return NULL;
	if (slice.len)
		memcpy(text, slice.data, slice.len);
	text[slice.len] = '\0';
	return text;
}

void mesh_mem_wipe(void *memory, size_t bytes)
{
	if (bytes)
		explicit_bzero(memory, bytes);
}
