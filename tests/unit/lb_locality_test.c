/* SPDX-License-Identifier: Apache-2.0 */
/* Shares of priorities and weights of localities: rows worked out by hand from Envoy's rules, and properties at random. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "base/rand.h"
#include "lb/locality.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define LEVELS 3

struct row {
	double panic_percent;
	struct {
		uint32_t total, healthy, degraded;
	} census[LEVELS];
	struct {
		uint32_t healthy, degraded;
		bool panic;
	} share[LEVELS];
};

static void shares(void **state)
{
	static const struct row rows[] = {
		{50, {{10, 10, 0}, {10, 10, 0}, {0, 0, 0}}, {{100, 0, false}, {0, 0, false}, {0, 0, false}}},
		/* 140 % of 72 % is 100 %; of 71 % it is 99 % */
		{50, {{100, 72, 0}, {100, 100, 0}, {0, 0, 0}}, {{100, 0, false}, {0, 0, false}, {0, 0, false}}},
		{50, {{100, 71, 0}, {100, 100, 0}, {0, 0, 0}}, {{99, 0, false}, {1, 0, false}, {0, 0, false}}},
		{50, {{10, 5, 0}, {10, 10, 0}, {0, 0, 0}}, {{70, 0, false}, {30, 0, false}, {0, 0, false}}},
		{50, {{10, 0, 0}, {10, 10, 0}, {0, 0, 0}}, {{0, 0, false}, {100, 0, false}, {0, 0, false}}},
		{50, {{0, 0, 0}, {10, 10, 0}, {0, 0, 0}}, {{0, 0, false}, {100, 0, false}, {0, 0, false}}},
		/* 35 % + 42 % + 14 %: not enough in all, so scaled up; 91 % is below 100, so panic is looked at */
		{0, {{100, 25, 0}, {100, 30, 0}, {100, 10, 0}}, {{39, 0, false}, {46, 0, false}, {15, 0, false}}},
		{50, {{100, 25, 0}, {100, 30, 0}, {100, 10, 0}}, {{34, 0, true}, {33, 0, true}, {33, 0, true}}},
		{28, {{100, 25, 0}, {100, 30, 0}, {100, 10, 0}}, {{39, 0, true}, {46, 0, false}, {15, 0, true}}},
		/* degraded endpoints take what healthy ones cannot */
		{50, {{10, 5, 5}, {0, 0, 0}, {0, 0, 0}}, {{70, 30, false}, {0, 0, false}, {0, 0, false}}},
		{50, {{10, 0, 10}, {0, 0, 0}, {0, 0, 0}}, {{0, 100, false}, {0, 0, false}, {0, 0, false}}},
		{50, {{10, 5, 5}, {10, 10, 0}, {0, 0, 0}}, {{70, 0, false}, {30, 0, false}, {0, 0, false}}},
		{50, {{100, 10, 20}, {100, 20, 10}, {100, 10, 0}}, {{34, 0, true}, {33, 0, true}, {33, 0, true}}},
		{0, {{100, 10, 20}, {100, 20, 10}, {100, 10, 0}}, {{16, 28, false}, {28, 14, false}, {14, 0, false}}},
		/* nobody is healthy: by size, or nowhere when panic is off */
		{50, {{10, 0, 0}, {0, 0, 0}, {0, 0, 0}}, {{100, 0, true}, {0, 0, true}, {0, 0, true}}},
		{50, {{5, 0, 0}, {15, 0, 0}, {0, 0, 0}}, {{25, 0, true}, {75, 0, true}, {0, 0, true}}},
		{50, {{0, 0, 0}, {1, 0, 0}, {2, 0, 0}}, {{0, 0, true}, {34, 0, true}, {66, 0, true}}},
		{50, {{0, 0, 0}, {0, 0, 0}, {0, 0, 0}}, {{100, 0, true}, {0, 0, true}, {0, 0, true}}},
		{0, {{10, 0, 0}, {10, 0, 0}, {0, 0, 0}}, {{100, 0, false}, {0, 0, false}, {0, 0, false}}},
		/* 49 % healthy is panic below 50, but only when all of it is not enough */
		{50, {{100, 49, 0}, {0, 0, 0}, {0, 0, 0}}, {{100, 0, true}, {0, 0, true}, {0, 0, true}}},
		{50, {{100, 50, 0}, {0, 0, 0}, {0, 0, 0}}, {{100, 0, false}, {0, 0, true}, {0, 0, true}}},
		{50, {{100, 30, 0}, {100, 100, 0}, {0, 0, 0}}, {{42, 0, false}, {58, 0, false}, {0, 0, false}}},
		{100, {{100, 71, 0}, {0, 0, 0}, {0, 0, 0}}, {{100, 0, true}, {0, 0, true}, {0, 0, true}}},
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct lb_census census[LEVELS] = {{0}};
		struct lb_share share[LEVELS];

		for (size_t l = 0; l < LEVELS; l++) {
			census[l].total = rows[i].census[l].total;
			census[l].healthy = rows[i].census[l].healthy;
			census[l].degraded = rows[i].census[l].degraded;
		}
		mesh_locality_share(census, LEVELS, 140, rows[i].panic_percent, share);
		for (size_t l = 0; l < LEVELS; l++) {
			if (share[l].healthy != rows[i].share[l].healthy || share[l].degraded != rows[i].share[l].degraded ||
			    share[l].panic != rows[i].share[l].panic)
				fail_msg("row %zu priority %zu: %u %u %d", i, l, share[l].healthy, share[l].degraded,
					 share[l].panic);
		}
	}
}

static void shares_add_up(void **state)
{
	struct rand rand;

	mesh_rand_seed(&rand, 5);
	for (unsigned round = 0; round < 50000; round++) {
		size_t count = 1 + mesh_rand_below(&rand, 8);
		struct lb_census census[8] = {{0}};
		struct lb_share share[8];
		uint32_t sum = 0;

		for (size_t i = 0; i < count; i++) {
			census[i].total = (uint32_t)mesh_rand_below(&rand, 20);
			census[i].healthy = (uint32_t)mesh_rand_below(&rand, census[i].total + 1);
			census[i].degraded = (uint32_t)mesh_rand_below(&rand, census[i].total - census[i].healthy + 1);
		}
		mesh_locality_share(census, count, 100 + (uint32_t)mesh_rand_below(&rand, 100), (double)mesh_rand_below(&rand, 101),
				    share);
		for (size_t i = 0; i < count; i++)
			sum += share[i].healthy + share[i].degraded;
		assert_int_equal(sum, 100);
	}
}

/* A priority that gets healthier never takes less, and what follows it never more. */
static void shares_are_monotonic(void **state)
{
	uint32_t first = 0, last = 100;

	for (uint32_t healthy = 0; healthy <= 100; healthy++) {
		struct lb_census census[2] = {{.total = 100, .healthy = healthy}, {.total = 100, .healthy = 100}};
		struct lb_share share[2];

		mesh_locality_share(census, 2, 140, 50, share);
		assert_true(share[0].healthy >= first && share[1].healthy <= last);
		first = share[0].healthy;
		last = share[1].healthy;
	}
	assert_int_equal(first, 100);
	assert_int_equal(last, 0);
}

static void weights(void **state)
{
	assert_true(mesh_locality_weight(10, 10, 10, 140) == 10);
	assert_true(mesh_locality_weight(10, 8, 10, 140) == 10); /* overprovisioned */
	assert_true(mesh_locality_weight(10, 5, 10, 140) == 7);
	assert_true(mesh_locality_weight(10, 0, 10, 140) == 0);
	assert_true(mesh_locality_weight(0, 10, 10, 140) == 0);
	assert_true(mesh_locality_weight(10, 0, 0, 140) == 0);
}

static void turns_follow_weights(void **state)
{
	static const double weight[] = {1, 2, 3, 10};
	struct edf_entry room[4];
	struct edf edf;
	unsigned taken[4] = {0}, last = 99, repeats = 0;

	mesh_edf_init(&edf, room);
	for (uint32_t i = 0; i < 4; i++)
		mesh_edf_add(&edf, i, weight[i]);
	for (unsigned n = 0; n < 1600; n++) {
		uint32_t item = mesh_edf_first(&edf);

		mesh_edf_renew(&edf, weight[item]);
		taken[item]++;
		repeats += item == last;
		last = item;
	}
	for (size_t i = 0; i < 4; i++)
		assert_in_range(taken[i], 100 * (unsigned)weight[i] - 1, 100 * (unsigned)weight[i] + 1);
	assert_true(repeats < 900); /* interleaved, not in bursts */
}

static void equal_weights_take_turns(void **state)
{
	struct edf_entry room[5];
	struct edf edf;
	uint32_t order[5];

	mesh_edf_init(&edf, room);
	for (uint32_t i = 0; i < 5; i++)
		mesh_edf_add(&edf, i, 3);
	for (size_t n = 0; n < 50; n++) {
		uint32_t item = mesh_edf_first(&edf);

		mesh_edf_renew(&edf, 3);
		if (n >= 5)
			assert_int_equal(item, order[n % 5]);
		order[n % 5] = item;
	}
}

/* Only the sum of one locality's weights is bounded, and overprovisioning_factor by its 32 bits. */
static void great_weights(void **state)
{
	const uint64_t whole = UINT64_C(1) << 34;
	struct lb_census census[2] = {
		{.total = 5, .healthy = 5, .total_weight = whole, .healthy_weight = whole},
		{.total = 5, .healthy = 5, .total_weight = whole, .healthy_weight = whole},
	};
	struct lb_share share[2];

	mesh_locality_share(census, 2, UINT32_C(1) << 30, 50, share);
	assert_int_equal(share[0].available[0], 100);
	assert_int_equal(share[0].healthy, 100);
	census[0].healthy_weight = whole / 4; /* 35 % of it */
	mesh_locality_share(census, 2, 140, 50, share);
	assert_int_equal(share[0].healthy, 35);
	assert_int_equal(share[1].healthy, 65);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(shares), cmocka_unit_test(shares_add_up), cmocka_unit_test(shares_are_monotonic),
		cmocka_unit_test(weights), cmocka_unit_test(turns_follow_weights), cmocka_unit_test(equal_weights_take_turns),
		cmocka_unit_test(great_weights),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
