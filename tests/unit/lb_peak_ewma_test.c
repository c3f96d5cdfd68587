/* SPDX-License-Identifier: Apache-2.0 */
/* Latency of late, and balancing by it: rises at once, falls in time, failures cost, and slow endpoints get less. */
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "lb/latency.h"

#define MS    UINT64_C(1000000)
#define DECAY MESH_LATENCY_DECAY_NS
#define COUNT 4

static bool near(double a, double b)
{
	return fabs(a - b) <= b * 0.001;
}

static void average(void **state)
{
	struct lb_latency latency = {0};

	assert_true(mesh_latency_now(&latency, 5000 * MS, DECAY) == 0);
	mesh_latency_add(&latency, 20 * MS, false, 5000 * MS, DECAY);
	assert_true(near(mesh_latency_now(&latency, 5000 * MS, DECAY), 20e6));
	mesh_latency_add(&latency, 50 * MS, false, 5001 * MS, DECAY); /* a rise is believed at once */
	assert_true(near(mesh_latency_now(&latency, 5001 * MS, DECAY), 50e6));
	mesh_latency_add(&latency, 10 * MS, false, 15001 * MS, DECAY); /* a fall by 1 - 1/e after ten seconds */
	assert_true(near(mesh_latency_now(&latency, 15001 * MS, DECAY), 50e6 / M_E + 10e6 * (1 - 1 / M_E)));
	mesh_latency_add(&latency, 10 * MS, false, 15001 * MS, DECAY); /* not by many at the same time */
	assert_true(near(mesh_latency_now(&latency, 15001 * MS, DECAY), 50e6 / M_E + 10e6 * (1 - 1 / M_E)));
	mesh_latency_add(&latency, 2 * MS, true, 15002 * MS, DECAY);
	assert_true(near(mesh_latency_now(&latency, 15002 * MS, DECAY), 1e9));
	assert_true(near(mesh_latency_now(&latency, 25002 * MS, DECAY), 1e9 / M_E)); /* forgiven in time */
	assert_true(mesh_latency_now(&latency, 25002 * MS, DECAY) > mesh_latency_now(&latency, 26002 * MS, DECAY));
	assert_true(near(mesh_latency_now(&latency, 15001 * MS, DECAY), 1e9)); /* a clock read a little earlier */
}

static void *add_many(void *user)
{
	for (unsigned i = 0; i < 20000; i++)
		mesh_latency_add(user, (5 + i % 10) * MS, false, 1000 * MS + i, DECAY);
	return NULL;
}

static void many_workers(void **state)
{
	struct lb_latency latency = {0};
	pthread_t threads[3];

	for (size_t i = 0; i < 3; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, add_many, &latency), 0);
	for (size_t i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	assert_true(near(mesh_latency_now(&latency, 1000 * MS, DECAY), 14e6));
}

struct scene {
	struct cluster_config cluster;
	struct endpoint_set set;
	struct locality locality;
	struct lb_endpoint endpoints[COUNT];
	struct lb_latency latency[COUNT];
	atomic_uint active[COUNT];
	unsigned picks[COUNT];
	struct balancer *balancer;
};

static struct scene s;

static void start(void)
{
	memset(&s, 0, sizeof(s));
	s.cluster.lb = LB_LEAST_REQUEST;
	s.cluster.panic_percent = 50;
	s.set = (struct endpoint_set){.localities = &s.locality, .count = 1, .priority_count = 1};
	for (size_t i = 0; i < COUNT; i++)
		s.endpoints[i] = (struct lb_endpoint){
			.weight = 1, .healthy = true, .active = &s.active[i], .latency = &s.latency[i]};
	assert_int_equal(mesh_balancer_new(&mesh_mem_default, &s.cluster, &s.set, s.endpoints, COUNT, 5, &s.balancer),
			 0);
}

static void run(uint64_t now_ns)
{
	struct lb_choice choice = {.now_ns = now_ns};

	memset(s.picks, 0, sizeof(s.picks));
	for (unsigned i = 0; i < 20000; i++)
		s.picks[mesh_balancer_pick(s.balancer, &choice)]++;
}

static void by_cost(void **state)
{
	start();
	run(MS); /* nothing is known: the second of two that cost the same is not better */
	for (size_t i = 0; i < COUNT; i++)
		assert_in_range(s.picks[i], 4700, 5300);
	for (size_t i = 0; i < COUNT; i++)
		mesh_latency_add(&s.latency[i], (i + 1) * 10 * MS, false, MS, DECAY);
	run(MS); /* the best of each pair: 1/2, 1/3, 1/6, never */
	assert_in_range(s.picks[0], 9700, 10300);
	assert_in_range(s.picks[1], 6367, 6967);
	assert_int_equal(s.picks[3], 0);
	s.active[0] = 4; /* 10 times 5 against 20, 30 and 40 */
	run(MS);
	assert_int_equal(s.picks[0], 0);
	s.endpoints[0].weight = 10;
	run(MS);
	assert_in_range(s.picks[0], 9700, 10300);
	mesh_balancer_free(s.balancer);
}

/* One that has requests and never answered is the last that is taken; a failure makes one worse than the slow. */
static void bad_ones(void **state)
{
	start();
	for (size_t i = 0; i < 3; i++)
		mesh_latency_add(&s.latency[i], 500 * MS, false, MS, DECAY);
	run(MS);
	assert_in_range(s.picks[3], 9700, 10300); /* not known, and idle: 10 ms */
	s.active[3] = 1;
	run(MS);
	assert_int_equal(s.picks[3], 0);
	mesh_latency_add(&s.latency[0], 0, true, MS, DECAY);
	s.active[3] = 0;
	run(MS);
	assert_int_equal(s.picks[0], 0);
	mesh_balancer_free(s.balancer);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(average),
		cmocka_unit_test(many_workers),
		cmocka_unit_test(by_cost),
		cmocka_unit_test(bad_ones),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
