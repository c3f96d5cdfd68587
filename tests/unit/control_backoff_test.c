/* SPDX-License-Identifier: Apache-2.0 */
/* Do delays double, stay within half of a step to all of it, stop at the bound and differ between two that fail together? */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "control/backoff.h"

#define MS 1000000ull

static void steps(void **state)
{
	static const uint64_t expected_ms[] = {500, 1000, 2000, 4000, 8000, 16000, 30000, 30000};
	struct backoff backoff;

	mesh_backoff_init(&backoff, 0, 0);
	for (int seed = 0; seed < 200; seed++) {
		mesh_rand_seed(&backoff.rand, (uint64_t)seed);
		for (size_t i = 0; i < 8; i++) {
			uint64_t delay = mesh_backoff_failed_ns(&backoff);

			assert_in_range(delay, expected_ms[i] * MS / 2, expected_ms[i] * MS);
		}
		/* forgotten: the next failure is a first one */
		assert_true(mesh_backoff_soon_ns(&backoff) < 500 * MS);
		assert_int_equal(backoff.failures, 0);
	}
}

static void spread(void **state)
{
	uint64_t low = UINT64_MAX, high = 0, soon_low = UINT64_MAX, soon_high = 0;
	struct backoff backoff;

	mesh_backoff_init(&backoff, 1000, 1000);
	mesh_rand_seed(&backoff.rand, 7);
	for (int i = 0; i < 2000; i++) {
		uint64_t delay = mesh_backoff_failed_ns(&backoff), soon = mesh_backoff_soon_ns(&backoff);

		low = delay < low ? delay : low;
		high = delay > high ? delay : high;
		soon_low = soon < soon_low ? soon : soon_low;
		soon_high = soon > soon_high ? soon : soon_high;
	}
	assert_true(low < 520 * MS && high > 980 * MS);
	assert_true(soon_low < 20 * MS && soon_high > 980 * MS);
}

static void bounds(void **state)
{
	struct backoff backoff, other;

	mesh_backoff_init(&backoff, UINT32_MAX, 1); /* the longer of the two holds */
	for (int i = 0; i < 100; i++)
		assert_in_range(mesh_backoff_failed_ns(&backoff), UINT32_MAX * MS / 2, UINT32_MAX * MS);
	mesh_backoff_init(&backoff, 1, UINT32_MAX);
	for (int i = 0; i < 100; i++)
		assert_true(mesh_backoff_failed_ns(&backoff) <= UINT32_MAX * MS);
	/* nobody seeds it: two processes that lose the same server come back at different times */
	mesh_backoff_init(&backoff, 0, 0);
	mesh_backoff_init(&other, 0, 0);
	assert_int_not_equal(mesh_backoff_failed_ns(&backoff), mesh_backoff_failed_ns(&other));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(steps),
		cmocka_unit_test(spread),
		cmocka_unit_test(bounds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
