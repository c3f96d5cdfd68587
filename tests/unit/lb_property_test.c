/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What holds for every set and every seed: distributions within what chance allows (chi-square), bounded loads never above
 * their factor, few moves when an endpoint leaves, spill-over by Envoy's formula, tries that go elsewhere than before, and
 * health of one in ten thousand that costs no more than a look at each.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <cmocka.h>

#include <mesh/error.h>

#include "lb/locality.h"

#define MAX 10000

struct scene {
	struct cluster_config cluster;
	struct endpoint_set set;
	struct locality localities[4];
	struct lb_endpoint endpoints[MAX];
	atomic_uint active[MAX];
	unsigned picks[MAX];
	char keys[MAX][32];
	size_t count;
	struct balancer *balancer;
};

static struct scene s;

static void make(enum lb_kind lb, size_t count)
{
	memset(&s, 0, sizeof(s));
	s.cluster.lb = lb;
	s.cluster.least_request_choices = 2;
	s.cluster.least_request_bias = 1;
	s.cluster.panic_percent = 50;
	s.cluster.maglev_size = 2039;
	s.set = (struct endpoint_set){
		.localities = s.localities, .count = 1, .priority_count = 1, .overprovisioning = 140};
	s.localities[0].count = count;
	s.count = count;
	for (size_t i = 0; i < count; i++) {
		snprintf(s.keys[i], sizeof(s.keys[i]), "10.0.%zu.%zu:80", i / 250, i % 250);
		s.endpoints[i] = (struct lb_endpoint){
			.weight = 1, .healthy = true, .active = &s.active[i], .key = mesh_slice_of(s.keys[i])};
	}
}

static void start(uint64_t seed)
{
	assert_int_equal(
		mesh_balancer_new(&mesh_mem_default, &s.cluster, &s.set, s.endpoints, s.count, seed, &s.balancer), 0);
}

static void finish(void)
{
	mesh_balancer_free(s.balancer);
	s.balancer = NULL;
}

static void run(unsigned n)
{
	memset(s.picks, 0, sizeof(s.picks));
	for (unsigned i = 0; i < n; i++)
		s.picks[mesh_balancer_pick(s.balancer, NULL)]++;
}

/* Within what one in ten thousand seeds would exceed: n + 3.72 sqrt(2n) + 9.2 bounds the quantile from above. */
static void expect_even(unsigned n)
{
	double chi = 0, even = (double)n / (double)s.count, degrees = (double)s.count - 1;

	for (size_t i = 0; i < s.count; i++)
		chi += (s.picks[i] - even) * (s.picks[i] - even) / even;
	if (chi > degrees + 3.72 * sqrt(2 * degrees) + 9.2)
		fail_msg("chi-square %.1f of %.0f degrees", chi, degrees);
}

static void even_by_chance(void **state)
{
	static const enum lb_kind kinds[] = {LB_RANDOM, LB_LEAST_REQUEST, LB_ROUND_ROBIN};

	for (uint64_t seed = 1; seed <= 30; seed++)
		for (size_t k = 0; k < 3; k++)
			for (int scan = 0; scan < 2; scan++) {
				make(kinds[k], 2 + seed * 3 % 40);
				s.cluster.balance.full_scan = scan;
				start(seed);
				run(20000);
				expect_even(20000);
				finish();
			}
}

/* All at once: only the least busy are taken, each of them as often. */
static void full_scan(void **state)
{
	make(LB_LEAST_REQUEST, 20);
	s.cluster.balance.full_scan = true;
	for (size_t i = 0; i < 20; i++)
		s.active[i] = i < 5 ? 1 : 2 + (unsigned)i % 3;
	start(3);
	run(20000);
	for (size_t i = 5; i < 20; i++)
		assert_int_equal(s.picks[i], 0);
	s.count = 5;
	expect_even(20000);
	s.count = 20;
	memset(s.active, 0, sizeof(s.active));
	for (unsigned i = 0; i < 2000; i++) /* requests that stay: never one more than another */
		s.active[mesh_balancer_pick(s.balancer, NULL)]++;
	for (size_t i = 0; i < 20; i++)
		assert_int_equal(s.active[i], 100);
	s.endpoints[0].weight = 7; /* by turns then */
	finish();
	start(3);
	run(2600);
	assert_in_range(s.picks[0], 690, 710);
	finish();
}

/* Envoy: a priority takes what it can by 140 % of its healthy part, the next the rest; below 100 in all they are scaled. */
static void spill_over(void **state)
{
	for (uint32_t total = 1; total <= 40; total += 3)
		for (uint32_t first = 0; first <= total; first++)
			for (uint32_t second = 0; second <= total; second += 5) {
				struct lb_census census[2] = {{.total = total, .healthy = first},
							      {.total = total, .healthy = second}};
				struct lb_share share[2];
				uint32_t a = 140 * first / total, b = 140 * second / total, all, want;

				a = a < 100 ? a : 100;
				b = b < 100 ? b : 100;
				all = a + b < 100 ? a + b : 100;
				if (!all)
					continue;
				want = a * 100 / all;
				mesh_locality_share(census, 2, 140, 0, share);
				if (a && !(share[0].healthy >= want && share[0].healthy <= want + 1))
					fail_msg("%u, %u of %u: %u", first, second, total, share[0].healthy);
				assert_int_equal(share[0].healthy + share[1].healthy, 100);
			}
}

/* policy.weighted_priority_health */
static void by_weight(void **state)
{
	struct lb_census census[2] = {{.total = 10, .healthy = 9, .total_weight = 100, .healthy_weight = 10},
				      {.total = 10, .healthy = 10, .total_weight = 10, .healthy_weight = 10}};
	struct lb_share share[2];

	mesh_locality_share(census, 2, 140, 50, share);
	assert_int_equal(share[0].healthy, 14);
	assert_int_equal(share[1].healthy, 86);
}

static void tried_priorities(void **state)
{
	static const struct {
		uint32_t available[3], tried[4];
		size_t count;
		uint32_t update;
		bool changed;
		uint32_t share[3];
	} rows[] = {
		{{100, 100, 100}, {0}, 0, 1, false, {0}},
		{{100, 100, 100}, {0}, 1, 2, false, {0}},
		{{100, 100, 100}, {0}, 1, 1, true, {0, 100, 0}},
		{{100, 100, 100}, {0, 1}, 2, 1, true, {0, 0, 100}},
		{{100, 100, 100}, {0, 0}, 2, 2, true, {0, 100, 0}},
		{{100, 100, 100}, {0, 0, 1}, 3, 2, true, {0, 100, 0}},
		{{100, 60, 100}, {0}, 1, 1, true, {0, 60, 40}},
		{{100, 20, 20}, {0}, 1, 1, true, {0, 50, 50}},
		/* none is left: all again, and what was tried is forgotten */
		{{100, 100, 0}, {0, 1}, 2, 1, true, {100, 0, 0}},
		{{100, 100, 0}, {0, 1, 0}, 3, 1, true, {0, 100, 0}},
		{{0, 0, 0}, {0}, 1, 1, false, {0}},
		{{100, 100, 100}, {7}, 1, 1, true, {100, 0, 0}}, /* it left meanwhile */
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct lb_share share[3];

		for (size_t p = 0; p < 3; p++)
			share[p] = (struct lb_share){.available = {rows[i].available[p], 0}};
		if (mesh_locality_retry_share(share, 3, rows[i].tried, rows[i].count, rows[i].update) !=
		    rows[i].changed)
			fail_msg("row %zu: changed or not", i);
		for (size_t p = 0; rows[i].changed && p < 3; p++)
			if (share[p].healthy != rows[i].share[p])
				fail_msg("row %zu priority %zu: %u", i, p, share[p].healthy);
	}
}

/* The same through a balancer: the second try is of the other priority, which takes nothing otherwise. */
static void retries_go_elsewhere(void **state)
{
	uint32_t tried[] = {0};
	struct lb_choice choice = {.tried_priorities = tried, .tried_priority_count = 1, .priority_update = 1};

	make(LB_ROUND_ROBIN, 10);
	s.set.count = s.set.priority_count = 2;
	s.localities[1].priority = 1;
	for (size_t i = 5; i < 10; i++)
		s.endpoints[i].locality = 1;
	start(1);
	for (unsigned i = 0; i < 100; i++) {
		assert_true(mesh_balancer_pick(s.balancer, NULL) < 5);
		assert_true(mesh_balancer_pick(s.balancer, &choice) >= 5);
	}
	finish();
}

static uint64_t mix(uint64_t n)
{
	n = (n ^ n >> 30) * 0xbf58476d1ce4e5b9u;
	n = (n ^ n >> 27) * 0x94d049bb133111ebu;
	return n ^ n >> 31;
}

static int64_t pick(uint64_t n)
{
	return mesh_balancer_pick(s.balancer, &(struct lb_choice){.hash = mix(n + 1)});
}

/* Requests that stay in flight: nobody has more than its part of all times the factor, rounded up. */
static void bounded_load(void **state)
{
	static const enum lb_kind kinds[] = {LB_RING_HASH, LB_MAGLEV};

	for (size_t k = 0; k < 2; k++)
		for (uint32_t factor = 100; factor <= 200; factor += 25) {
			unsigned weights = 0;

			make(kinds[k], 12);
			s.cluster.balance.hash_balance_factor = factor;
			for (size_t i = 0; i < 12; i++)
				weights += s.endpoints[i].weight = 1 + (uint32_t)i % 3;
			start(1);
			for (uint64_t n = 1; n <= 3000; n++) {
				int64_t index = pick(n % 40); /* few keys: some would carry far too much */
				double part = (double)s.endpoints[index].weight / weights;
				double most = ceil((double)((n * factor + 99) / 100) * part);

				s.active[index]++;
				if (s.active[index] > most + 1)
					fail_msg("kind %zu factor %u: %u requests, at most %.0f", k, factor,
						 s.active[index], most);
			}
			finish();
		}
}

/* Nothing is overloaded: the same choice as without a bound. And an overloaded one hands over to the same one each time. */
static void bounded_otherwise_the_same(void **state)
{
	int64_t plain[500], other;

	make(LB_MAGLEV, 12);
	start(1);
	for (unsigned i = 0; i < 500; i++)
		plain[i] = pick(i);
	finish();
	s.cluster.balance.hash_balance_factor = 150;
	start(2);
	for (unsigned i = 0; i < 500; i++)
		assert_int_equal(pick(i), plain[i]);
	s.active[plain[7]] = 50;
	other = pick(7);
	assert_int_not_equal(other, plain[7]);
	for (unsigned i = 0; i < 20; i++)
		assert_int_equal(pick(7), other);
	finish();
}

/* Envoy's order for hash 1 among six of the same weight is the Mersenne twister's, worked out elsewhere. */
static void bounded_order(void **state)
{
	static const int64_t order[] = {2, 5, 4, 1, 0, 3};
	bool taken[6] = {false};

	make(LB_MAGLEV, 6);
	s.cluster.balance.hash_balance_factor = 100;
	start(1);
	for (size_t i = 0; i < 6; i++) {
		int64_t index = mesh_balancer_pick(s.balancer, &(struct lb_choice){.hash = 1});
		size_t at = 0;

		if (i > 0) {
			while (at < 6 && (taken[order[at]]))
				at++;
			assert_int_equal(index, order[at]);
		}
		taken[index] = true;
		s.active[index] = 1000;
		for (size_t rest = 0; rest < 6; rest++)
			if (!taken[rest])
				s.active[rest] = 0;
	}
	finish();
}

/*
 * One of n leaves: what it had moves, and little else. A ring keeps its size, so each of the others gets some points more,
 * and with them about one in n of the requests.
 */
static void disruption(void **state)
{
	static const enum lb_kind kinds[] = {LB_RING_HASH, LB_MAGLEV};
	enum { KEYS = 4000 };
	static int64_t before[KEYS];

	for (size_t k = 0; k < 2; k++)
		for (size_t count = 4; count <= 32; count *= 2) {
			unsigned moved = 0, had = 0;

			make(kinds[k], count);
			s.cluster.maglev_size = 65537;
			start(1);
			for (unsigned i = 0; i < KEYS; i++)
				before[i] = pick(i);
			s.endpoints[1].excluded = true;
			assert_int_equal(mesh_balancer_update(s.balancer), 0);
			for (unsigned i = 0; i < KEYS; i++) {
				int64_t now = pick(i);

				assert_int_not_equal(now, 1);
				had += before[i] == 1;
				moved += now != before[i];
			}
			assert_true(moved >= had);
			if (moved > had + (kinds[k] == LB_RING_HASH ? 2 * KEYS / count : KEYS / 8))
				fail_msg("kind %zu of %zu: %u moved, %u had to", k, count, moved, had);
			finish();
		}
}

static double update_ms(size_t count, unsigned rounds)
{
	struct timespec from, to;

	make(LB_LEAST_REQUEST, count);
	start(1);
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &from);
	for (unsigned i = 0; i < rounds; i++) {
		s.endpoints[i * 7 % count].healthy = !s.endpoints[i * 7 % count].healthy;
		assert_int_equal(mesh_balancer_update(s.balancer), 0);
	}
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &to);
	finish();
	return ((double)(to.tv_sec - from.tv_sec) * 1e3 + (double)(to.tv_nsec - from.tv_nsec) / 1e6) / rounds;
}

/* Ten times the endpoints cost about ten times as much, not a hundred. */
static void updates_are_linear(void **state)
{
	double few = update_ms(1000, 400), many = update_ms(10000, 100);

	if (many > few * 40)
		fail_msg("%.3f ms for 1,000, %.3f ms for 10,000", few, many);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(even_by_chance),     cmocka_unit_test(full_scan),
		cmocka_unit_test(spill_over),         cmocka_unit_test(by_weight),
		cmocka_unit_test(tried_priorities),   cmocka_unit_test(retries_go_elsewhere),
		cmocka_unit_test(bounded_load),       cmocka_unit_test(bounded_otherwise_the_same),
		cmocka_unit_test(bounded_order),      cmocka_unit_test(disruption),
		cmocka_unit_test(updates_are_linear),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
