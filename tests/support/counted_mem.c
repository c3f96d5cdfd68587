/* SPDX-License-Identifier: Apache-2.0 */
/* Counts what is asked for; what is given back is not its business. */
#include "support/counted_mem.h"

#include <stdlib.h>

static void *counted_alloc(void *user, size_t bytes)
{
	atomic_fetch_add((atomic_ulong *)user, 1);
	return malloc(bytes);
}

static void *counted_resize(void *user, void *memory, size_t bytes)
{
	atomic_fetch_add((atomic_ulong *)user, 1);
	return realloc(memory, bytes);
}

static void counted_release(void *user, void *memory)
{
	free(memory);
}

struct mesh_mem counted_mem(atomic_ulong *count)
{
	return (struct mesh_mem){counted_alloc, counted_resize, counted_release, count};
}
