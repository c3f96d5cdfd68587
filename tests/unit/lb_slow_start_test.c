/* SPDX-License-Identifier: Apache-2.0 */
/* Slow start: the factor by Envoy's formula, and the shares that follow from it. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "lb/slow_start.h"

#define SECOND UINT64_C(1000000000)
#define MAX    8

struct scene {
	struct cluster_config cluster;
	struct endpoint_set set;
	struct locality locality;
	struct lb_endpoint endpoints[MAX];
	atomic_uint active[MAX];
	unsigned picks[MAX];
	size_t count;
	struct balancer *balancer;
};

static void make(struct scene *s, enum lb_kind lb, size_t count)
{
	memset(s, 0, sizeof(*s));
	s->cluster.lb = lb;
	s->cluster.least_request_choices = 2;
	s->cluster.least_request_bias = 1;
	s->cluster.panic_percent = 50;
	s->cluster.balance.slow_start =
		(struct slow_start_config){.window_ns = 60 * (int64_t)SECOND, .aggression = 1, .least = 0.1};
	s->locality.count = count;
	s->set = (struct endpoint_set){.localities = &s->locality, .count = 1, .priority_count = 1};
	s->count = count;
	for (size_t i = 0; i < count; i++)
		s->endpoints[i] =
			(struct lb_endpoint){.weight = 1, .healthy = true, .active = &s->active[i], .since_ns = SECOND};
}

static void run(struct scene *s, uint64_t now_ns, unsigned n)
{
	struct lb_choice choice = {.now_ns = now_ns};

	memset(s->picks, 0, sizeof(s->picks));
	for (unsigned i = 0; i < n; i++)
		s->picks[mesh_balancer_pick(s->balancer, &choice)]++;
}

static void start(struct scene *s)
{
	assert_int_equal(
		mesh_balancer_new(&mesh_mem_default, &s->cluster, &s->set, s->endpoints, s->count, 5, &s->balancer), 0);
}

static void factors(void **state)
{
	static const struct {
		double aggression, least, age_s, factor;
	} rows[] = {
		{1, 0.1, 0, 0.1},
		{1, 0.1, 3, 0.1},
		{1, 0.1, 6, 0.1},
		{1, 0.1, 30, 0.5},
		{1, 0.1, 59, 59.0 / 60},
		{1, 0.1, 60, 1},
		{1, 0, 30, 0.5},
		{2, 0.1, 15, 0.5},
		{2, 0, 3.75, 0.25},
		{0.5, 0.1, 30, 0.25},
		{0.5, 0.5, 30, 0.5},
		{1, 0, 0, 1.0 / 60000},
		{0, 0.1, 30, 0.5},
		{1, 0, 0.0005, 1.0 / 60000},
		{1, 0, 0.0019, 1.0 / 60000},
		{1, 1, 0, 1},
	};
	struct lb_endpoint endpoint = {.healthy = true, .since_ns = 5 * SECOND};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct slow_start_config config = {60 * (int64_t)SECOND, rows[i].aggression, rows[i].least};
		double factor =
			mesh_slow_start_factor(&config, &endpoint, 5 * SECOND + (uint64_t)(rows[i].age_s * 1e9));

		if (fabs(factor - rows[i].factor) > 1e-9)
			fail_msg("row %zu: %.6f, not %.6f", i, factor, rows[i].factor);
	}
}

static void not_new(void **state)
{
	struct slow_start_config config = {60 * (int64_t)SECOND, 1, 0.1};
	struct lb_endpoint endpoint = {.healthy = false, .since_ns = 5 * SECOND};

	assert_true(mesh_slow_start_factor(&config, &endpoint, 6 * SECOND) == 1);
	endpoint.healthy = true;
	assert_true(mesh_slow_start_factor(&config, &endpoint, 4 * SECOND) == 0.1); /* a clock read a little earlier */
	endpoint.since_ns = 0;
	assert_true(mesh_slow_start_factor(&config, &endpoint, 6 * SECOND) == 1);
}

static void never_falls(void **state)
{
	for (double aggression = 0.25; aggression < 5; aggression *= 2) {
		struct slow_start_config config = {10 * (int64_t)SECOND, aggression, 0.05};
		struct lb_endpoint endpoint = {.healthy = true, .since_ns = SECOND};
		double before = 0;

		for (uint64_t now = SECOND; now < 12 * SECOND; now += SECOND / 50) {
			double factor = mesh_slow_start_factor(&config, &endpoint, now);

			assert_true(factor >= before && factor >= 0.05 && factor <= 1);
			before = factor;
		}
		assert_true(before == 1);
	}
}

/* One new among three old ones: its share grows, and at the end it is one of four. */
static void shares(void **state)
{
	static const enum lb_kind kinds[] = {LB_ROUND_ROBIN, LB_LEAST_REQUEST};

	for (size_t k = 0; k < 2; k++) {
		struct scene s;

		make(&s, kinds[k], 4);
		s.endpoints[3].since_ns = 100 * SECOND;
		start(&s);
		for (unsigned age = 0; age <= 70; age += 10) {
			double factor = age < 6 ? 0.1 : age < 60 ? age / 60.0 : 1, share = factor / (3 + factor);

			run(&s, (100 + age) * SECOND, 20000);
			run(&s, (100 + age) * SECOND, 20000); /* turns made out before have passed */
			if (fabs(s.picks[3] / 20000.0 - share) > 0.01)
				fail_msg("kind %zu age %u: %.3f, not %.3f", k, age, s.picks[3] / 20000.0, share);
		}
		mesh_balancer_free(s.balancer);
	}
}

/* All new together: nobody is favoured. */
static void all_new(void **state)
{
	struct scene s;

	make(&s, LB_ROUND_ROBIN, 4);
	start(&s);
	run(&s, SECOND, 4000);
	for (size_t i = 0; i < 4; i++)
		assert_in_range(s.picks[i], 999, 1001);
	mesh_balancer_free(s.balancer);
}

/* Nobody new with the first pick: least request draws, and sees what is busy; weights stay in force. */
static void nobody_new(void **state)
{
	struct scene s;

	make(&s, LB_LEAST_REQUEST, 4);
	start(&s);
	s.active[0] = 9;
	run(&s, 1000 * SECOND, 40000);
	assert_in_range(s.picks[0], 40000 / 16 - 200, 40000 / 16 + 200); /* both draws hit it */
	mesh_balancer_free(s.balancer);
	make(&s, LB_ROUND_ROBIN, 2);
	s.endpoints[1].weight = 3;
	start(&s);
	run(&s, 1000 * SECOND, 4000);
	assert_in_range(s.picks[1], 2990, 3010);
	mesh_balancer_free(s.balancer);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(factors), cmocka_unit_test(not_new), cmocka_unit_test(never_falls),
		cmocka_unit_test(shares),  cmocka_unit_test(all_new), cmocka_unit_test(nobody_new),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
