/* SPDX-License-Identifier: Apache-2.0 */
/* Does an arena align, bound, reuse and give back what it hands out? */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "support/failing_mem.h"

#include "base/arena.h"
#include "base/rand.h"
#include "base/slice.h"

static void aligned_and_apart(void **state)
{
	struct arena arena;
	struct rand rand;
	struct {
		unsigned char *at;
		size_t bytes;
	} pieces[500];

	mesh_rand_seed(&rand, 7);
	mesh_arena_init(&arena, &mesh_mem_default, 0);
	for (int i = 0; i < 500; i++) {
		pieces[i].bytes = mesh_rand_below(&rand, i % 50 ? 200 : 100000);
		pieces[i].at = mesh_arena_alloc(&arena, pieces[i].bytes);
		assert_non_null(pieces[i].at);
		assert_int_equal((uintptr_t)pieces[i].at % 16, 0);
		memset(pieces[i].at, i & 0xff, pieces[i].bytes);
	}
	for (int i = 0; i < 500; i++)
		for (size_t j = 0; j < pieces[i].bytes; j++)
			if (pieces[i].at[j] != (i & 0xff))
				fail_msg("piece %d was overwritten", i);
	mesh_arena_free(&arena);
	assert_int_equal(arena.total, 0);
	assert_null(arena.first);
}

static void warm_allocates_nothing(void **state)
{
	struct failing_mem failing;
	struct arena arena;
	size_t calls;

	failing_mem_init(&failing, 0);
	mesh_arena_init(&arena, &failing.mem, 0);
	assert_int_equal(failing.calls, 0);
	for (int round = 0; round < 5; round++) {
		for (int i = 0; i < 20; i++)
			assert_non_null(mesh_arena_alloc(&arena, 64));
		if (round)
			assert_int_equal(failing.calls, calls);
		calls = failing.calls;
		assert_int_equal(calls, 1);
		mesh_arena_reset(&arena);
	}
	for (int i = 0; i < 100; i++)
		assert_non_null(mesh_arena_alloc(&arena, 1000));
	assert_true(failing.blocks > 1);
	mesh_arena_reset(&arena);
	assert_int_equal(failing.blocks, 1);
	mesh_arena_free(&arena);
	mesh_arena_free(&arena);
	mesh_arena_reset(&arena); /* of an empty one: harmless */
	assert_int_equal(failing.blocks, 0);
}

/* What outgrows the first block finds a larger one next time; a very large one is not kept for it. */
static void warm_after_growth(void **state)
{
	struct failing_mem failing;
	struct arena arena;
	size_t calls = 0;

	failing_mem_init(&failing, 0);
	mesh_arena_init(&arena, &failing.mem, 0);
	for (int round = 0; round < 5; round++) {
		for (int i = 0; i < 50; i++) {
			char *piece = mesh_arena_alloc(&arena, 100);

			assert_non_null(piece);
			memset(piece, i, 100);
		}
		if (round >= 2)
			assert_int_equal(failing.calls, calls);
		calls = failing.calls;
		mesh_arena_reset(&arena);
		assert_int_equal(failing.blocks, 1);
	}
	assert_non_null(mesh_arena_alloc(&arena, 100000));
	mesh_arena_reset(&arena);
	assert_int_equal(failing.blocks, 1);
	assert_true(arena.total < 10000);
	mesh_arena_free(&arena);
	assert_int_equal(failing.blocks, 0);
}

static void limit(void **state)
{
	struct arena arena;
	size_t taken = 0;

	mesh_arena_init(&arena, &mesh_mem_default, 10000);
	while (mesh_arena_alloc(&arena, 100))
		taken += 112;
	assert_in_range(taken, 7000, 10000);
	assert_true(arena.total <= 10000);
	mesh_arena_free(&arena);
	assert_non_null(mesh_arena_alloc(&arena, 10000)); /* all in one, the limit exactly */
	assert_null(mesh_arena_alloc(&arena, 1));
	mesh_arena_free(&arena);
	assert_null(mesh_arena_alloc(&arena, 10001));
	assert_null(mesh_arena_alloc(&arena, SIZE_MAX));
	assert_null(mesh_arena_alloc(&arena, SIZE_MAX / 2));
	assert_null(mesh_arena_array(&arena, SIZE_MAX / 8, 9));
	mesh_arena_free(&arena);
}

static void zeroed(void **state)
{
	struct failing_mem failing; /* its memory is full of junk */
	struct arena arena;
	char *memory;

	failing_mem_init(&failing, 0);
	mesh_arena_init(&arena, &failing.mem, 0);
	memory = mesh_arena_zalloc(&arena, 300);
	for (int i = 0; i < 300; i++)
		assert_int_equal(memory[i], 0);
	memory = mesh_arena_array(&arena, 10, 7);
	for (int i = 0; i < 70; i++)
		assert_int_equal(memory[i], 0);
	mesh_arena_free(&arena);
}

static void slices_and_text(void **state)
{
	const char text[] = "abc";
	struct mesh_slice copy;
	struct arena arena;
	bool failed = false;

	mesh_arena_init(&arena, &mesh_mem_default, 100);
	copy = mesh_arena_slice(&arena, mesh_slice_of(text), &failed);
	assert_ptr_not_equal(copy.data, text);
	assert_memory_equal(copy.data, "abc", 4);
	assert_int_equal(copy.len, 3);
	copy = mesh_arena_slice(&arena, mesh_slice_make(NULL, 0), &failed);
	assert_null(copy.data); /* absent stays absent */
	copy = mesh_arena_slice(&arena, MESH_SLICE(""), &failed);
	assert_string_equal(copy.data, ""); /* empty stays empty */
	copy = mesh_arena_printf(&arena, "%d-%s", 12, "x");
	assert_string_equal(copy.data, "12-x");
	assert_int_equal(copy.len, 4);
	assert_false(failed);
	copy = mesh_arena_printf(&arena, "%200d", 1);
	assert_null(copy.data);
	copy = mesh_arena_slice(&arena, mesh_slice_make(text, 3), NULL);
	assert_non_null(copy.data);
	while (mesh_arena_alloc(&arena, 1))
		;
	copy = mesh_arena_slice(&arena, mesh_slice_of(text), &failed);
	assert_null(copy.data);
	assert_true(failed);
	mesh_arena_free(&arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(aligned_and_apart),
		cmocka_unit_test(warm_allocates_nothing),
		cmocka_unit_test(warm_after_growth),
		cmocka_unit_test(limit),
		cmocka_unit_test(zeroed),
		cmocka_unit_test(slices_and_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
