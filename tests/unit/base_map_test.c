/* SPDX-License-Identifier: Apache-2.0 */
/* Does the map agree with an array of names through any sequence of puts and removals? */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "support/failing_mem.h"

#include "base/map.h"
#include "base/rand.h"

enum { NAMES = 300 };

static void basics(void **state)
{
	int one = 1, two = 2;
	char key[] = "a"; /* equal, elsewhere */
	void *previous = &one;
	struct map map;

	mesh_map_init(&map, &mesh_mem_default);
	assert_null(mesh_map_get(&map, MESH_SLICE("a")));
	assert_null(mesh_map_remove(&map, MESH_SLICE("a")));
	MESH_MAP_EACH(slot, &map)
		fail();
	assert_int_equal(mesh_map_put(&map, MESH_SLICE("a"), &one, &previous), 0);
	assert_null(previous);
	assert_int_equal(mesh_map_put(&map, mesh_slice_make(key, 1), &two, &previous), 0);
	assert_ptr_equal(previous, &one);
	assert_int_equal(map.count, 1);
	MESH_MAP_EACH(slot, &map)
		assert_ptr_equal(slot->key.data, key);				       /* the key goes with the value */
	assert_int_equal(mesh_map_put(&map, mesh_slice_make(NULL, 0), &one, NULL), 0); /* the empty name is a name */
	assert_ptr_equal(mesh_map_get(&map, MESH_SLICE("")), &one);
	assert_ptr_equal(mesh_map_get_hashed(&map, MESH_SLICE("a"), mesh_slice_hash(MESH_SLICE("a"))), &two);
	assert_ptr_equal(mesh_map_remove(&map, MESH_SLICE("a")), &two);
	assert_null(mesh_map_get(&map, MESH_SLICE("a")));
	mesh_map_free(&map);
	assert_int_equal(map.count, 0);
	assert_null(mesh_map_get_hashed(&map, MESH_SLICE("a"), 0));
	mesh_map_free(&map);
}

static void against_model(void **state)
{
	char names[NAMES][24];
	void *model[NAMES] = {0};
	struct failing_mem failing;
	struct rand rand;
	struct map map;
	size_t count = 0;

	failing_mem_init(&failing, 0);
	mesh_rand_seed(&rand, 11);
	for (int i = 0; i < NAMES; i++)
		snprintf(names[i], sizeof(names[i]), "name-%d", i);
	mesh_map_init(&map, &failing.mem);
	for (int n = 0; n < 50000; n++) {
		size_t i = mesh_rand_below(&rand, NAMES), seen = 0;
		size_t phase = n / 5000 % 2 ? 3 : 1; /* grows, then shrinks */
		void *value = &names[mesh_rand_below(&rand, NAMES)], *previous;

		if (mesh_rand_below(&rand, 4) < phase) {
			assert_ptr_equal(mesh_map_remove(&map, mesh_slice_of(names[i])), model[i]);
			count -= model[i] != NULL;
			model[i] = NULL;
		} else {
			assert_int_equal(mesh_map_put(&map, mesh_slice_of(names[i]), value, &previous), 0);
			assert_ptr_equal(previous, model[i]);
			count += model[i] == NULL;
			model[i] = value;
		}
		assert_int_equal(map.count, count);
		i = mesh_rand_below(&rand, NAMES);
		assert_ptr_equal(mesh_map_get(&map, mesh_slice_of(names[i])), model[i]);
		if (n % 500)
			continue;
		for (i = 0; i < NAMES; i++)
			assert_ptr_equal(mesh_map_get(&map, mesh_slice_of(names[i])), model[i]);
		MESH_MAP_EACH(slot, &map)
			seen++;
		assert_int_equal(seen, count);
	}
	assert_true(map.room <= 512); /* removals leave nothing behind that would make it grow */
	mesh_map_free(&map);
	assert_int_equal(failing.blocks, 0);
}

/* A put without memory changes nothing. */
static void no_memory(void **state)
{
	static char names[7][2] = {"a", "b", "c", "d", "e", "f", "g"};
	struct failing_mem failing;
	struct map map;

	failing_mem_init(&failing, 2);
	mesh_map_init(&map, &failing.mem);
	for (int i = 0; i < 6; i++)
		assert_int_equal(mesh_map_put(&map, mesh_slice_of(names[i]), names[i], NULL), 0);
	assert_true(mesh_map_put(&map, mesh_slice_of(names[6]), names[6], NULL) < 0);
	assert_int_equal(map.count, 6);
	for (int i = 0; i < 7; i++)
		assert_ptr_equal(mesh_map_get(&map, mesh_slice_of(names[i])), i < 6 ? names[i] : NULL);
	mesh_map_free(&map);
}

/* Whoever replaces what is there counts on it: the old key's memory may be about to go. */
static void replacing_needs_none(void **state)
{
	char names[6][8];
	struct failing_mem failing;
	int other = 0;
	struct map map;

	failing_mem_init(&failing, 2);
	failing.fail_on = true;
	mesh_map_init(&map, &failing.mem);
	for (int i = 0; i < 6; i++) {
		snprintf(names[i], sizeof(names[i]), "name-%d", i);
		assert_int_equal(mesh_map_put(&map, mesh_slice_of(names[i]), names[i], NULL), 0);
	}
	assert_int_equal(mesh_map_put(&map, mesh_slice_of(names[3]), &other, NULL), 0);
	assert_ptr_equal(mesh_map_get(&map, mesh_slice_of(names[3])), &other);
	assert_int_equal(map.count, 6);
	assert_int_equal(failing.calls, 1);
	mesh_map_free(&map);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(basics),
		cmocka_unit_test(against_model),
		cmocka_unit_test(no_memory),
		cmocka_unit_test(replacing_needs_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
