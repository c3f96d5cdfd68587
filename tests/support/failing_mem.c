/* SPDX-License-Identifier: Apache-2.0 */
/* Counts, refuses and finds leaks. Knows nothing of what is tested. */
#include "support/failing_mem.h"

#include <stdio.h>
#include <stdlib.h>

#include <mesh/error.h>

enum { RUNS_MAX = 100000, JUNK = 0xa5 };

struct block {
	_Alignas(16) size_t bytes;
	char data[] __attribute__((aligned(16)));
};

static bool refuse(struct failing_mem *failing)
{
	size_t call = atomic_fetch_add(&failing->calls, 1) + 1;

	if (!failing->fail_at || (failing->fail_on ? call < failing->fail_at : call != failing->fail_at))
		return false;
	atomic_fetch_add(&failing->failed, 1);
	return true;
}

static struct block *block_of(void *memory)
{
	return (struct block *)((char *)memory - offsetof(struct block, data));
}

static void note_peak(struct failing_mem *failing, size_t now)
{
	size_t peak = atomic_load(&failing->peak);

	while (now > peak && !atomic_compare_exchange_weak(&failing->peak, &peak, now))
		;
}

static void *take(void *user, size_t bytes)
{
	struct failing_mem *failing = user;
	struct block *block;

	if (refuse(failing))
		return NULL;
	block = malloc(sizeof(*block) + bytes);
	if (!block)
		return NULL;
	block->bytes = bytes;
	memset(block->data, JUNK, bytes);
	atomic_fetch_add(&failing->blocks, 1);
	note_peak(failing, atomic_fetch_add(&failing->bytes, bytes) + bytes);
	return block->data;
}

static void give(void *user, void *memory)
{
	struct failing_mem *failing = user;
	struct block *block = block_of(memory);

	atomic_fetch_sub(&failing->blocks, 1);
	atomic_fetch_sub(&failing->bytes, block->bytes);
	memset(block->data, JUNK, block->bytes);
	free(block);
}

static void *resize(void *user, void *memory, size_t bytes)
{
	size_t before = block_of(memory)->bytes;
	void *moved = take(user, bytes);

	if (!moved)
		return NULL;
	memcpy(moved, memory, before < bytes ? before : bytes);
	give(user, memory);
	return moved;
}

void failing_mem_init(struct failing_mem *failing, size_t fail_at)
{
	memset(failing, 0, sizeof(*failing));
	failing->mem = (struct mesh_mem){take, resize, give, failing};
	failing->fail_at = fail_at;
}

/* True when this run was right. *reached: the allocation to fail was asked for. */
static bool run_once(oom_scenario_fn *scenario, void *user, size_t fail_at, bool fail_on, bool *reached)
{
	struct failing_mem failing;
	size_t blocks, failed;
	int rc;

	failing_mem_init(&failing, fail_at);
	failing.fail_on = fail_on;
	rc = scenario(&failing.mem, user);
	failed = atomic_load(&failing.failed);
	blocks = atomic_load(&failing.blocks);
	*reached = failed > 0;
	if (blocks)
		fprintf(stderr, "allocation %zu%s failed: %zu blocks (%zu bytes) leaked\n", fail_at,
			fail_on ? " and on" : "", blocks, atomic_load(&failing.bytes));
	if (rc && !(rc == MESH_ERROR_NOMEM && failed))
		fprintf(stderr, "allocation %zu%s failed: the scenario returned %d (%s)\n", fail_at,
			fail_on ? " and on" : "", rc, mesh_error_name(rc));
	if (!fail_at && !atomic_load(&failing.calls))
		fprintf(stderr, "the scenario allocates nothing\n");
	return !blocks && (!rc || (rc == MESH_ERROR_NOMEM && failed)) && (fail_at || atomic_load(&failing.calls));
}

int oom_run(oom_scenario_fn *scenario, void *user)
{
	bool reached, reached_on;

	if (!run_once(scenario, user, 0, false, &reached))
		return -1;
	for (int n = 1; n <= RUNS_MAX; n++) {
		if (!run_once(scenario, user, (size_t)n, false, &reached) ||
		    !run_once(scenario, user, (size_t)n, true, &reached_on))
			return -1;
		if (!reached && !reached_on)
			return n - 1;
	}
	fprintf(stderr, "the scenario makes more than %d allocations\n", RUNS_MAX);
	return -1;
}
