/* SPDX-License-Identifier: Apache-2.0 */
/* Picks: who is picked how often, and who never is. Seeded, so each run is the same. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

#include <mesh/error.h>

#include "lb/lb.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define MAX 64

/* A cluster of endpoints spread over localities, all healthy, weight 1. */
struct scene {
	struct cluster_config cluster;
	struct endpoint_set set;
	struct locality localities[8];
	struct lb_endpoint endpoints[MAX];
	atomic_uint active[MAX];
	size_t count;
	struct balancer *balancer;
	unsigned picks[MAX];
};

static void scene_make(struct scene *scene, enum lb_kind lb, size_t localities, size_t each)
{
	memset(scene, 0, sizeof(*scene));
	scene->cluster.lb = lb;
	scene->cluster.least_request_choices = 2;
	scene->cluster.least_request_bias = 1;
	scene->cluster.panic_percent = 50;
	scene->set = (struct endpoint_set){.localities = scene->localities, .count = localities, .priority_count = 1,
					   .overprovisioning = 140};
	for (size_t l = 0; l < localities; l++) {
		scene->localities[l].count = each;
		scene->localities[l].weight = 1;
	}
	scene->count = localities * each;
	for (size_t i = 0; i < scene->count; i++)
		scene->endpoints[i] = (struct lb_endpoint){.weight = 1, .locality = (uint32_t)(i / each), .healthy = true,
							   .active = &scene->active[i]};
}

static void scene_priority(struct scene *scene, size_t locality, uint32_t priority)
{
	scene->localities[locality].priority = priority;
	if (scene->set.priority_count <= priority)
		scene->set.priority_count = priority + 1;
}

static void start(struct scene *scene, uint64_t seed)
{
	assert_int_equal(mesh_balancer_new(&mesh_mem_default, &scene->cluster, &scene->set, scene->endpoints, scene->count, seed,
					   &scene->balancer),
			 0);
}

/* Picks n times and counts; the share of endpoint i is picks[i] / n. */
static void run(struct scene *scene, unsigned n)
{
	memset(scene->picks, 0, sizeof(scene->picks));
	for (unsigned i = 0; i < n; i++) {
		int64_t index = mesh_balancer_pick(scene->balancer, NULL);

		assert_true(index >= 0 && (size_t)index < scene->count);
		assert_false(scene->endpoints[index].excluded);
		scene->picks[index]++;
	}
}

static void finish(struct scene *scene)
{
	mesh_balancer_free(scene->balancer);
	scene->balancer = NULL;
}

static void expect_share(const struct scene *scene, size_t index, unsigned n, double share)
{
	double seen = (double)scene->picks[index] / n;

	if (seen < share - 0.02 || seen > share + 0.02)
		fail_msg("endpoint %zu: %.3f, not %.3f", index, seen, share);
}

static void round_robin_in_turn(void **state)
{
	bool starts[5] = {false};

	for (uint64_t seed = 0; seed < 40; seed++) {
		struct scene s;
		int64_t before;

		scene_make(&s, LB_ROUND_ROBIN, 1, 5);
		start(&s, seed);
		before = mesh_balancer_pick(s.balancer, NULL);
		starts[before] = true;
		for (unsigned i = 0; i < 20; i++) {
			int64_t index = mesh_balancer_pick(s.balancer, NULL);

			assert_int_equal(index, (before + 1) % 5);
			before = index;
		}
		finish(&s);
	}
	for (size_t i = 0; i < 5; i++)
		assert_true(starts[i]);
}

static void round_robin_weighted(void **state)
{
	struct scene s;

	scene_make(&s, LB_ROUND_ROBIN, 1, 4);
	s.endpoints[1].weight = 2;
	s.endpoints[2].weight = 3;
	s.endpoints[3].weight = 0; /* counts as one */
	start(&s, 1);
	run(&s, 7000);
	for (size_t i = 0; i < 4; i++)
		assert_in_range(s.picks[i], 999 * (i == 3 ? 1 : i + 1), 1001 * (i == 3 ? 1 : i + 1));
	finish(&s);
}

static void random_ignores_weights(void **state)
{
	struct scene s;

	scene_make(&s, LB_RANDOM, 1, 4);
	s.endpoints[0].weight = 1000;
	start(&s, 1);
	run(&s, 40000);
	for (size_t i = 0; i < 4; i++)
		expect_share(&s, i, 40000, 0.25);
	finish(&s);
}

static void least_request_avoids_the_busy(void **state)
{
	struct scene s;
	double busiest;

	scene_make(&s, LB_LEAST_REQUEST, 1, 10);
	start(&s, 1);
	run(&s, 40000);
	for (size_t i = 0; i < 10; i++)
		expect_share(&s, i, 40000, 0.1);
	s.active[3] = 50;
	run(&s, 40000);
	busiest = (double)s.picks[3] / 40000; /* only when both draws hit it */
	assert_true(busiest > 0.005 && busiest < 0.015);
	finish(&s);

	scene_make(&s, LB_LEAST_REQUEST, 1, 10);
	s.cluster.least_request_choices = 5;
	s.active[3] = 1;
	start(&s, 1);
	run(&s, 40000);
	assert_true(s.picks[3] < 10);
	finish(&s);
	scene_make(&s, LB_LEAST_REQUEST, 1, 1);
	start(&s, 1);
	run(&s, 10);
	finish(&s);
}

/* Requests that stay in flight for a while end up spread evenly. */
static void least_request_evens_out(void **state)
{
	struct scene s;

	scene_make(&s, LB_LEAST_REQUEST, 1, 8);
	start(&s, 2);
	for (unsigned i = 0; i < 800; i++)
		s.active[mesh_balancer_pick(s.balancer, NULL)]++;
	for (size_t i = 0; i < 8; i++)
		assert_in_range(s.active[i], 96, 104);
	finish(&s);
}

static void least_request_weighted(void **state)
{
	struct scene s;

	scene_make(&s, LB_LEAST_REQUEST, 1, 2);
	s.endpoints[1].weight = 3;
	start(&s, 1);
	run(&s, 4000);
	expect_share(&s, 0, 4000, 0.25);
	s.active[1] = 2; /* 3 / (2 + 1) */
	run(&s, 4000);
	expect_share(&s, 0, 4000, 0.5);
	finish(&s);
	s.cluster.least_request_bias = 0; /* the load does not count */
	start(&s, 1);
	run(&s, 4000);
	expect_share(&s, 0, 4000, 0.25);
	finish(&s);
	s.cluster.least_request_bias = 2; /* 3 / (2 + 1)^2 */
	start(&s, 1);
	run(&s, 4000);
	expect_share(&s, 0, 4000, 0.75);
	finish(&s);
}

static void unknown_kinds_are_round_robin(void **state)
{
	struct scene s;

	scene_make(&s, LB_CLUSTER_PROVIDED, 1, 3);
	start(&s, 1);
	run(&s, 300);
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(s.picks[i], 100);
	finish(&s);
}

static void health_and_exclusion(void **state)
{
	struct scene s;

	scene_make(&s, LB_RANDOM, 1, 10);
	s.endpoints[0].healthy = false;
	s.endpoints[1].excluded = true;
	start(&s, 1);
	run(&s, 20000);
	assert_int_equal(s.picks[0] + s.picks[1], 0);
	assert_false(mesh_balancer_panicking(s.balancer));
	expect_share(&s, 2, 20000, 0.125);
	/* excluded without an update: still never picked */
	s.endpoints[2].excluded = true;
	run(&s, 20000);
	assert_int_equal(mesh_balancer_update(s.balancer), 0);
	run(&s, 20000);
	/* below half: panic, all but the excluded */
	for (size_t i = 3; i < 8; i++)
		s.endpoints[i].healthy = false;
	assert_int_equal(mesh_balancer_update(s.balancer), 0);
	run(&s, 20000);
	assert_true(mesh_balancer_panicking(s.balancer));
	expect_share(&s, 0, 20000, 0.125);
	expect_share(&s, 5, 20000, 0.125);
	finish(&s);
	s.cluster.fail_traffic_on_panic = true;
	start(&s, 1);
	assert_int_equal(mesh_balancer_pick(s.balancer, NULL), MESH_ERROR_NO_ENDPOINT);
	for (size_t i = 0; i < 10; i++)
		s.endpoints[i].healthy = true;
	assert_int_equal(mesh_balancer_update(s.balancer), 0);
	run(&s, 100);
	assert_false(mesh_balancer_panicking(s.balancer));
	finish(&s);
}

static void nobody(void **state)
{
	struct scene s;

	scene_make(&s, LB_LEAST_REQUEST, 1, 3);
	for (size_t i = 0; i < 3; i++)
		s.endpoints[i].excluded = true;
	start(&s, 1);
	assert_int_equal(mesh_balancer_pick(s.balancer, NULL), MESH_ERROR_NO_ENDPOINT);
	finish(&s);
	scene_make(&s, LB_ROUND_ROBIN, 1, 3);
	s.cluster.panic_percent = 0;
	for (size_t i = 0; i < 3; i++)
		s.endpoints[i].healthy = false;
	start(&s, 1);
	assert_int_equal(mesh_balancer_pick(s.balancer, NULL), MESH_ERROR_NO_ENDPOINT);
	finish(&s);
	scene_make(&s, LB_ROUND_ROBIN, 0, 0);
	s.set.priority_count = 0;
	start(&s, 1);
	assert_int_equal(mesh_balancer_pick(s.balancer, NULL), MESH_ERROR_NO_ENDPOINT);
	finish(&s);
}

static void priorities(void **state)
{
	struct scene s;
	unsigned first = 0;

	scene_make(&s, LB_RANDOM, 2, 10);
	scene_priority(&s, 1, 1);
	start(&s, 1);
	run(&s, 10000);
	for (size_t i = 10; i < 20; i++)
		assert_int_equal(s.picks[i], 0);
	for (size_t i = 0; i < 5; i++)
		s.endpoints[i].healthy = false;
	assert_int_equal(mesh_balancer_update(s.balancer), 0);
	run(&s, 40000);
	for (size_t i = 0; i < 10; i++)
		first += s.picks[i];
	assert_in_range(first, 40000 * 68 / 100, 40000 * 72 / 100);
	expect_share(&s, 0, 40000, 0);
	expect_share(&s, 9, 40000, 0.14);
	expect_share(&s, 19, 40000, 0.03);
	finish(&s);
}

static void degraded(void **state)
{
	struct scene s;

	scene_make(&s, LB_ROUND_ROBIN, 1, 10);
	for (size_t i = 0; i < 5; i++) {
		s.endpoints[i].healthy = false;
		s.endpoints[i].degraded = true;
	}
	start(&s, 1);
	run(&s, 40000);
	expect_share(&s, 0, 40000, 0.06);
	expect_share(&s, 9, 40000, 0.14);
	finish(&s);
}

static void localities_by_weight(void **state)
{
	struct scene s;

	scene_make(&s, LB_ROUND_ROBIN, 3, 10);
	s.cluster.locality_weighted = true;
	s.localities[0].weight = 6;
	s.localities[1].weight = 4;
	s.localities[2].weight = 0; /* takes nothing */
	start(&s, 1);
	run(&s, 20000);
	expect_share(&s, 0, 20000, 0.06);
	expect_share(&s, 10, 20000, 0.04);
	assert_int_equal(s.picks[20], 0);
	for (size_t i = 0; i < 5; i++)
		s.endpoints[i].healthy = false;
	assert_int_equal(mesh_balancer_update(s.balancer), 0);
	run(&s, 40000); /* 6 * 0.7 = 4.2 against 4 */
	assert_int_equal(s.picks[0], 0);
	expect_share(&s, 9, 40000, 4.2 / 8.2 / 5);
	expect_share(&s, 10, 40000, 4 / 8.2 / 10);
	s.localities[0].weight = s.localities[1].weight = 0; /* no weights at all: all endpoints alike */
	finish(&s);
	start(&s, 1);
	run(&s, 40000);
	expect_share(&s, 29, 40000, 0.04);
	s.cluster.locality_weighted = false;
	s.localities[0].weight = 1000;
	finish(&s);
	start(&s, 1);
	run(&s, 40000);
	expect_share(&s, 29, 40000, 0.04);
	finish(&s);
}

static void localities_of_priorities(void **state)
{
	struct scene s;

	scene_make(&s, LB_LEAST_REQUEST, 4, 4);
	s.cluster.locality_weighted = true;
	scene_priority(&s, 2, 1);
	scene_priority(&s, 3, 1);
	s.localities[1].weight = 3;
	s.localities[3].weight = 3;
	for (size_t i = 0; i < 8; i += 2)
		s.endpoints[i].healthy = false;
	start(&s, 9);
	run(&s, 40000); /* half of priority 0 is healthy: 70 to 30 */
	expect_share(&s, 1, 40000, 0.7 * 0.25 / 2);
	expect_share(&s, 5, 40000, 0.7 * 0.75 / 2);
	expect_share(&s, 8, 40000, 0.3 * 0.25 / 4);
	expect_share(&s, 12, 40000, 0.3 * 0.75 / 4);
	finish(&s);
}

static void tried_before(void **state)
{
	struct scene s;
	uint32_t avoid[] = {1, 2};
	struct lb_choice choice = {.avoid = avoid, .avoid_count = 2, .avoid_attempts = 5};
	unsigned again = 0;

	scene_make(&s, LB_RANDOM, 1, 4);
	start(&s, 1);
	for (unsigned i = 0; i < 20000; i++) {
		int64_t index = mesh_balancer_pick(s.balancer, &choice);

		again += index == 1 || index == 2;
	}
	assert_in_range(again, 20000 / 64 - 100, 20000 / 64 + 100); /* six draws of one in two */
	choice.avoid_attempts = 0;
	again = 0;
	for (unsigned i = 0; i < 20000; i++) {
		int64_t index = mesh_balancer_pick(s.balancer, &choice);

		again += index == 1 || index == 2;
	}
	assert_in_range(again, 9600, 10400);
	finish(&s);
	scene_make(&s, LB_ROUND_ROBIN, 1, 3); /* in turn, one more draw is enough */
	start(&s, 1);
	choice.avoid_count = 1;
	choice.avoid_attempts = 1;
	for (unsigned i = 0; i < 100; i++)
		assert_int_not_equal(mesh_balancer_pick(s.balancer, &choice), 1);
	finish(&s);
}

/* An endpoint that is out is never picked, whatever the rest looks like. */
static void never_an_excluded_one(void **state)
{
	struct rand rand;

	mesh_rand_seed(&rand, 11);
	for (unsigned round = 0; round < 2000; round++) {
		size_t localities = 1 + mesh_rand_below(&rand, 5), each = 1 + mesh_rand_below(&rand, 6), usable = 0;
		struct scene s;

		scene_make(&s, (enum lb_kind)mesh_rand_below(&rand, 3), localities, each);
		s.cluster.locality_weighted = mesh_rand_below(&rand, 2);
		for (size_t l = 0; l < localities; l++) {
			scene_priority(&s, l, (uint32_t)mesh_rand_below(&rand, 3));
			s.localities[l].weight = (uint32_t)mesh_rand_below(&rand, 4);
		}
		for (size_t i = 0; i < s.count; i++) {
			s.endpoints[i].weight = 1 + (uint32_t)mesh_rand_below(&rand, 3);
			s.endpoints[i].healthy = mesh_rand_below(&rand, 3);
			s.endpoints[i].degraded = !s.endpoints[i].healthy && mesh_rand_below(&rand, 2);
			s.endpoints[i].excluded = mesh_rand_below(&rand, 3) == 0;
			usable += !s.endpoints[i].excluded;
		}
		start(&s, round);
		for (unsigned n = 0; n < 50; n++) {
			int64_t index = mesh_balancer_pick(s.balancer, NULL);

			if (index < 0)
				assert_int_equal(usable, 0);
			else if (s.endpoints[index].excluded)
				fail_msg("round %u: %d is out", round, (int)index);
			else if (!mesh_balancer_panicking(s.balancer))
				assert_true(s.endpoints[index].healthy || s.endpoints[index].degraded);
		}
		finish(&s);
	}
}

static void *limited_alloc(void *user, size_t bytes)
{
	unsigned *left = user;

	return (*left)-- ? malloc(bytes) : ((*left)++, NULL);
}

static void *limited_resize(void *user, void *memory, size_t bytes)
{
	return realloc(memory, bytes);
}

static void limited_release(void *user, void *memory)
{
	free(memory);
}

static void out_of_memory(void **state)
{
	unsigned left = 0, failures = 0;
	struct mesh_mem mem = {limited_alloc, limited_resize, limited_release, &left};
	struct scene s;
	int rc = MESH_ERROR_NOMEM;

	scene_make(&s, LB_LEAST_REQUEST, 3, 3);
	s.cluster.locality_weighted = true;
	s.endpoints[0].weight = 7;
	for (unsigned n = 0; rc < 0; n++) {
		left = n;
		rc = mesh_balancer_new(&mem, &s.cluster, &s.set, s.endpoints, s.count, 1, &s.balancer);
		if (rc < 0) {
			assert_int_equal(rc, MESH_ERROR_NOMEM);
			assert_null(s.balancer);
			failures++;
		}
	}
	assert_true(failures > 5);
	s.endpoints[0].excluded = true;
	left = 2;
	assert_int_equal(mesh_balancer_update(s.balancer), MESH_ERROR_NOMEM);
	run(&s, 1000); /* the old groups go on, without what is out */
	finish(&s);
}

/* Rings and tables, with and without a bound, and turns that warm up fail at each allocation, and leave nothing behind. */
static void out_of_memory_others(void **state)
{
	static const enum lb_kind kinds[] = {LB_RING_HASH, LB_MAGLEV, LB_RING_HASH, LB_ROUND_ROBIN};

	for (size_t i = 0; i < COUNT(kinds); i++) {
		unsigned left = 0, failures = 0;
		struct mesh_mem mem = {limited_alloc, limited_resize, limited_release, &left};
		struct scene s;
		int rc = MESH_ERROR_NOMEM;

		scene_make(&s, kinds[i], 1, 3);
		s.cluster.balance.hash_balance_factor = i == 2 ? 150 : 0;
		s.cluster.balance.slow_start.window_ns = 1000000000;
		for (unsigned n = 0; rc < 0; n++) {
			left = n;
			rc = mesh_balancer_new(&mem, &s.cluster, &s.set, s.endpoints, s.count, 1, &s.balancer);
			if (rc < 0) {
				assert_int_equal(rc, MESH_ERROR_NOMEM);
				assert_null(s.balancer);
				failures++;
			}
		}
		assert_true(failures > 9);
		finish(&s);
	}
}

/* A push that changes nobody's health, or a word of it that was heard already, costs no new ring. */
static void nothing_changed(void **state)
{
	unsigned left = 100;
	struct mesh_mem mem = {limited_alloc, limited_resize, limited_release, &left};
	struct scene s;

	scene_make(&s, LB_RING_HASH, 1, 3);
	assert_int_equal(mesh_balancer_new(&mem, &s.cluster, &s.set, s.endpoints, s.count, 1, &s.balancer), 0);
	left = 0;
	assert_int_equal(mesh_balancer_update(s.balancer), 0);
	s.endpoints[1].healthy = false;
	assert_int_equal(mesh_balancer_update(s.balancer), MESH_ERROR_NOMEM);
	left = 100;
	assert_int_equal(mesh_balancer_update(s.balancer), 0); /* what was not made then is made now */
	run(&s, 100);
	assert_int_equal(s.picks[1], 0);
	finish(&s);
}

/* host_selection_retry_max_attempts may be any number: who has nobody else to go to must not pick for minutes. */
static void avoided_for_ever(void **state)
{
	uint32_t avoid[] = {0};
	struct lb_choice choice = {.avoid = avoid, .avoid_count = 1, .avoid_attempts = UINT32_MAX};
	struct scene s;

	scene_make(&s, LB_ROUND_ROBIN, 1, 1);
	start(&s, 1);
	alarm(5);
	assert_int_equal(mesh_balancer_pick(s.balancer, &choice), 0);
	alarm(0);
	finish(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(round_robin_in_turn), cmocka_unit_test(round_robin_weighted),
		cmocka_unit_test(random_ignores_weights), cmocka_unit_test(least_request_avoids_the_busy),
		cmocka_unit_test(least_request_evens_out), cmocka_unit_test(least_request_weighted),
		cmocka_unit_test(unknown_kinds_are_round_robin), cmocka_unit_test(health_and_exclusion), cmocka_unit_test(nobody),
		cmocka_unit_test(priorities), cmocka_unit_test(degraded), cmocka_unit_test(localities_by_weight),
		cmocka_unit_test(localities_of_priorities), cmocka_unit_test(tried_before),
		cmocka_unit_test(never_an_excluded_one), cmocka_unit_test(out_of_memory),
		cmocka_unit_test(out_of_memory_others), cmocka_unit_test(avoided_for_ever),
		cmocka_unit_test(nothing_changed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
