/* SPDX-License-Identifier: Apache-2.0 */
/* Is the first always the least through any mix of puts, moves and removals? */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include <mesh/error.h>

#include "support/failing_mem.h"

#include "base/heap.h"
#include "base/rand.h"

enum { ITEMS = 200 };

static void sorts(void **state)
{
	struct heap_item items[ITEMS] = {0}, *first;
	uint64_t last = 0;
	struct rand rand;
	struct heap heap;

	mesh_rand_seed(&rand, 2);
	mesh_heap_init(&heap, &mesh_mem_default);
	assert_null(mesh_heap_first(&heap));
	for (int i = 0; i < ITEMS; i++)
		assert_int_equal(mesh_heap_put(&heap, &items[i], i % 7 ? mesh_rand_next(&rand) : UINT64_MAX), 0);
	for (int i = 0; i < ITEMS; i++) {
		first = mesh_heap_first(&heap);
		assert_true(first->key >= last);
		last = first->key;
		mesh_heap_remove(&heap, first);
		assert_int_equal(first->place, 0);
		mesh_heap_remove(&heap, first); /* harmless */
	}
	assert_null(mesh_heap_first(&heap));
	mesh_heap_free(&heap);
}

static uint64_t least(const struct heap_item *items)
{
	uint64_t key = UINT64_MAX;

	for (int i = 0; i < ITEMS; i++)
		if (items[i].place && items[i].key < key)
			key = items[i].key;
	return key;
}

/* Every item knows its place, and no parent is greater than its child. */
static void assert_heap(const struct heap *heap)
{
	for (size_t i = 0; i < heap->count; i++) {
		assert_int_equal(heap->items[i]->place, i + 1);
		assert_true(i == 0 || heap->items[(i - 1) / 2]->key <= heap->items[i]->key);
	}
}

static void against_model(void **state)
{
	struct heap_item items[ITEMS] = {0};
	bool there[ITEMS] = {0};
	struct failing_mem failing;
	struct rand rand;
	struct heap heap;
	size_t count = 0;

	failing_mem_init(&failing, 0);
	mesh_rand_seed(&rand, 9);
	mesh_heap_init(&heap, &failing.mem);
	for (int n = 0; n < 50000; n++) {
		size_t i = mesh_rand_below(&rand, ITEMS);

		if (mesh_rand_below(&rand, 2)) {
			assert_int_equal(mesh_heap_put(&heap, &items[i], mesh_rand_below(&rand, 1000)), 0);
			count += !there[i];
			there[i] = true;
		} else {
			mesh_heap_remove(&heap, &items[i]);
			count -= there[i];
			there[i] = false;
		}
		assert_int_equal(items[i].place != 0, there[i]);
		assert_int_equal(heap.count, count);
		assert_heap(&heap);
		if (count)
			assert_true(mesh_heap_first(&heap)->key == least(items));
		else
			assert_null(mesh_heap_first(&heap));
	}
	assert_true(failing.calls <= 5); /* a grown heap allocates no more */
	mesh_heap_free(&heap);
	assert_int_equal(failing.blocks, 0);
}

static void no_memory(void **state)
{
	struct heap_item items[17] = {0};
	struct failing_mem failing;
	struct heap heap;

	failing_mem_init(&failing, 2);
	mesh_heap_init(&heap, &failing.mem);
	for (int i = 0; i < 16; i++)
		assert_int_equal(mesh_heap_put(&heap, &items[i], 100 - (uint64_t)i), 0);
	assert_int_equal(mesh_heap_put(&heap, &items[16], 1), MESH_ERROR_NOMEM);
	assert_int_equal(items[16].place, 0);
	assert_ptr_equal(mesh_heap_first(&heap), &items[15]);
	assert_int_equal(mesh_heap_put(&heap, &items[0], 1), 0); /* moving needs no memory */
	assert_ptr_equal(mesh_heap_first(&heap), &items[0]);
	mesh_heap_free(&heap);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sorts),
		cmocka_unit_test(against_model),
		cmocka_unit_test(no_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
