/* SPDX-License-Identifier: Apache-2.0 */
/* Do seeds repeat, are bounds kept and results even? */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "base/rand.h"

static void repeats(void **state)
{
	struct rand a, b, c;
	int different = 0;

	mesh_rand_seed(&a, 1);
	mesh_rand_seed(&b, 1);
	mesh_rand_seed(&c, 2);
	for (int i = 0; i < 100; i++) {
		uint64_t next = mesh_rand_next(&a);

		assert_true(next == mesh_rand_next(&b));
		different += next != mesh_rand_next(&c);
	}
	assert_int_equal(different, 100);
	mesh_rand_seed(&a, 0); /* a poor seed is a good one */
	assert_true(mesh_rand_next(&a) != mesh_rand_next(&a));
	mesh_rand_seed_system(&a);
	mesh_rand_seed_system(&b);
	assert_true(mesh_rand_next(&a) != mesh_rand_next(&b));
}

static void bounds(void **state)
{
	static const uint64_t limits[] = {1, 2, 3, 1000, (uint64_t)1 << 63, ((uint64_t)1 << 63) + 1, UINT64_MAX};
	struct rand rand;

	mesh_rand_seed(&rand, 1);
	assert_int_equal(mesh_rand_below(&rand, 0), 0);
	for (size_t n = 0; n < sizeof(limits) / sizeof(limits[0]); n++)
		for (int i = 0; i < 1000; i++)
			assert_true(mesh_rand_below(&rand, limits[n]) < limits[n]);
}

static void even(void **state)
{
	/* a bound of 3/4 of 2^64: without refusing some draws the remainders by 3 would come 1/2, 1/4, 1/4 of the time
	 */
	const uint64_t bound = 3 * ((uint64_t)1 << 62);
	unsigned small[7] = {0}, large[3] = {0};
	struct rand rand;

	mesh_rand_seed(&rand, 4);
	for (int i = 0; i < 70000; i++)
		small[mesh_rand_below(&rand, 7)]++;
	for (int i = 0; i < 7; i++)
		assert_in_range(small[i], 9500, 10500); /* deviation 93 */
	for (int i = 0; i < 30000; i++)
		large[mesh_rand_below(&rand, bound) % 3]++;
	for (int i = 0; i < 3; i++)
		assert_in_range(large[i], 9500, 10500);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(repeats), cmocka_unit_test(bounds), cmocka_unit_test(even)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
