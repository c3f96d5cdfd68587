/* SPDX-License-Identifier: Apache-2.0 */
#include "support/wiped_mem.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/slice.h"

struct block {
	_Alignas(16) size_t bytes;
	char data[] __attribute__((aligned(16)));
};

static void *take(void *user, size_t bytes)
{
	struct block *block = calloc(1, sizeof(*block) + bytes);

	if (!block)
		return NULL;
	block->bytes = bytes;
	return block->data;
}

static void give(void *user, void *memory)
{
	struct block *block = (struct block *)((char *)memory - offsetof(struct block, data));
	struct mesh_slice bytes = mesh_slice_make(block->data, block->bytes);

	if (mesh_slice_contains(bytes, MESH_SLICE("PRIVATE KEY")) || mesh_slice_contains(bytes, MESH_SLICE(WIPED_MEM_SECRET))) {
		fprintf(stderr, "a secret was left in a block of %zu bytes\n", block->bytes);
		abort();
	}
	free(block);
}

static void *move(void *user, void *memory, size_t bytes)
{
	struct block *block = (struct block *)((char *)memory - offsetof(struct block, data));
	void *moved = take(user, bytes);

	if (!moved)
		return NULL;
	memcpy(moved, memory, block->bytes < bytes ? block->bytes : bytes);
	give(user, memory);
	return moved;
}

const struct mesh_mem wiped_mem = {take, move, give, NULL};
