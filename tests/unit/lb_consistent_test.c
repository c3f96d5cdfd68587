/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rings and tables are Envoy's: positions and choices that its own tests expect of the same endpoints. And what makes them
 * worth having: shares by weight, and few requests that move when endpoints come and go.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

#include <mesh/error.h>

#include "lb/lb.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define MAX 1024

struct scene {
	struct cluster_config cluster;
	struct endpoint_set set;
	struct locality localities[4];
	struct lb_endpoint endpoints[MAX];
	char keys[MAX][24];
	size_t count;
	struct balancer *balancer;
};

static struct scene scene;

/* Endpoints 127.0.0.1:port, port + 1 .. in one locality. */
static void scene_make(enum lb_kind lb, size_t count, unsigned port)
{
	memset(&scene, 0, sizeof(scene));
	scene.cluster.lb = lb;
	scene.cluster.panic_percent = 50;
	scene.set = (struct endpoint_set){.localities = scene.localities, .count = 1, .priority_count = 1};
	scene.count = count;
	for (size_t i = 0; i < count; i++) {
		snprintf(scene.keys[i], sizeof(scene.keys[i]), "127.0.0.1:%u", port + (unsigned)i);
		scene.endpoints[i] =
			(struct lb_endpoint){.weight = 1, .healthy = true, .key = mesh_slice_of(scene.keys[i])};
	}
}

static void ring_size(uint64_t low, uint64_t high)
{
	scene.cluster.ring_min = low;
	scene.cluster.ring_max = high;
}

/* Each endpoint in a locality of its own, of these weights. */
static void spread(const uint32_t *weights, size_t count)
{
	scene.cluster.locality_weighted = true;
	scene.set.count = count;
	for (size_t i = 0; i < count; i++) {
		scene.localities[i].weight = weights[i];
		scene.localities[i].count = 1;
		scene.endpoints[i].locality = (uint32_t)i;
	}
}

static void start(void)
{
	assert_int_equal(mesh_balancer_new(&mesh_mem_default, &scene.cluster, &scene.set, scene.endpoints, scene.count, 1,
					   &scene.balancer),
			 0);
}

static void finish(void)
{
	mesh_balancer_free(scene.balancer);
	scene.balancer = NULL;
}

static int64_t pick(uint64_t hash)
{
	return mesh_balancer_pick(scene.balancer, &(struct lb_choice){.hash = hash});
}

static int64_t pick_avoiding(uint64_t hash, const uint32_t *avoid, size_t count, unsigned attempts)
{
	struct lb_choice choice = {.hash = hash, .avoid = avoid, .avoid_count = count, .avoid_attempts = attempts};

	return mesh_balancer_pick(scene.balancer, &choice);
}

struct place {
	uint64_t hash;
	uint32_t endpoint;
};

/* Exactly these points, in this order: each is the answer up to itself, and behind it the next begins. */
static void expect_ring(const struct place *places, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		assert_int_equal(pick(places[i].hash), places[i].endpoint);
		assert_int_equal(pick(places[i].hash + 1), places[(i + 1) % count].endpoint);
		assert_int_equal(pick(places[(i + 1) % count].hash - 1), places[(i + 1) % count].endpoint);
	}
	assert_int_equal(pick(1), places[0].endpoint);
	assert_int_equal(pick(UINT64_MAX), places[0].endpoint);
}

static const struct place ring_of_six[] = {
	{833437586790550860u, 4},   {928266305478181108u, 2},	{1033482794131418490u, 0},  {3551244743356806947u, 5},
	{3851675632748031481u, 3},  {5583722120771150861u, 1},	{6311230543546372928u, 1},  {7700377290971790572u, 3},
	{13144177310400110813u, 5}, {13444792449719432967u, 2}, {15516499411664133160u, 4}, {16117243373044804889u, 0},
};

static void ring_positions(void **state)
{
	static const struct place murmur[] = {
		{1358027074129602068u, 5},  {4361834613929391114u, 3},	{7224494972555149682u, 4},
		{7701421856454313576u, 1},  {8649315368077433379u, 2},	{8739448859063030639u, 4},
		{9887544217113020895u, 1},  {10150910876324007731u, 2}, {15168472011420622455u, 3},
		{15427156902705414897u, 0}, {16375050414328759093u, 5}, {17613279263364193813u, 0},
	};
	static const struct place by_name[] = {
		{1975508444536362413u, 5}, {2376063919839173711u, 5},  {2386806903309390596u, 3},
		{6749904478991551885u, 4}, {6803900775736438537u, 3},  {7225015537174310577u, 2},
		{8787465352164086522u, 0}, {11282020843382717940u, 2}, {13723418369486627818u, 1},
		{13776502110861797421u, 0}, {14338313586354474791u, 1}, {15364271037087512980u, 4},
	};

	scene_make(LB_RING_HASH, 6, 90);
	ring_size(12, 8388608);
	start();
	expect_ring(ring_of_six, COUNT(ring_of_six));
	finish();
	for (size_t i = 0; i < 6; i++)
		scene.endpoints[i].healthy = false;
	start(); /* in panic */
	expect_ring(ring_of_six, COUNT(ring_of_six));
	assert_true(mesh_balancer_panicking(scene.balancer));
	finish();
	for (size_t i = 0; i < 6; i++) {
		scene.endpoints[i].healthy = true;
		scene.endpoints[i].key = mesh_slice_of(scene.keys[i] + strlen("127.0.0.1:"));
	}
	start();
	expect_ring(by_name, COUNT(by_name));
	finish();
	scene_make(LB_RING_HASH, 6, 80);
	ring_size(12, 8388608);
	scene.cluster.ring_murmur = true;
	start();
	expect_ring(murmur, COUNT(murmur));
	finish();
}

static void ring_rounds_up(void **state)
{
	static const struct place places[] = {
		{5454692015285649509u, 0}, {7859399908942313493u, 1}, {13838424394637650569u, 0}, {16064866803292627174u, 1}};

	scene_make(LB_RING_HASH, 2, 80);
	ring_size(3, 8388608);
	start();
	expect_ring(places, COUNT(places));
	finish();
}

static void ring_by_weight(void **state)
{
	static const struct place tiny[] = {{928266305478181108u, 2},  {4443673547860492590u, 2},  {5583722120771150861u, 1},
					    {6311230543546372928u, 1}, {13444792449719432967u, 2}, {16117243373044804889u, 0}};
	static const unsigned expected[4] = {987, 1932, 3081, 0};

	for (int by_locality = 0; by_locality < 2; by_locality++) {
		unsigned counts[4] = {0};

		scene_make(LB_RING_HASH, by_locality ? 4 : 3, 90);
		for (size_t i = 0; i < 3 && !by_locality; i++)
			scene.endpoints[i].weight = (uint32_t)i + 1;
		if (by_locality)
			spread((const uint32_t[]){1, 2, 3, 0}, 4);
		ring_size(6, 6);
		start();
		expect_ring(tiny, COUNT(tiny));
		finish();
		ring_size(6144, 8388608);
		start();
		for (uint64_t i = 0; i < 6000; i++)
			counts[pick(i ? i * (UINT64_MAX / 6000) : 1)]++;
		for (size_t i = 0; i < 4; i++)
			assert_int_equal(counts[i], expected[i]);
		finish();
	}
}

/* Weights in localities of different weights: two endpoints each. */
static void ring_by_both_weights(void **state)
{
	static const struct place places[] = {
		{928266305478181108u, 2},   {3851675632748031481u, 3},	{5583722120771150861u, 1},
		{6311230543546372928u, 1},  {7700377290971790572u, 3},	{12559126875973811811u, 3},
		{13444792449719432967u, 2}, {13784988426630141778u, 3}, {16117243373044804889u, 0},
	};
	static const unsigned expected[4] = {924, 2009, 2053, 4014};
	unsigned counts[4] = {0};

	scene_make(LB_RING_HASH, 4, 90);
	spread((const uint32_t[]){1, 2}, 2);
	for (size_t i = 0; i < 4; i++) {
		scene.endpoints[i].locality = (uint32_t)i / 2;
		scene.endpoints[i].weight = (uint32_t)i % 2 + 1;
	}
	ring_size(9, 9);
	start();
	expect_ring(places, COUNT(places));
	finish();
	ring_size(9216, 8388608);
	start();
	for (uint64_t i = 0; i < 9000; i++)
		counts[pick(i ? i * (UINT64_MAX / 9000) : 1)]++;
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(counts[i], expected[i]);
	finish();
}

static void ring_retries(void **state)
{
	static const uint32_t all[] = {0, 1, 2, 3, 4, 5}, first[] = {4};

	scene_make(LB_RING_HASH, 6, 90);
	ring_size(12, 8388608);
	start();
	assert_int_equal(pick_avoiding(1, first, 1, 0), 4);
	assert_int_equal(pick_avoiding(1, all, 6, 2), 0);
	assert_int_equal(pick_avoiding(1, first, 1, 2), 2); /* the next in the ring */
	assert_int_equal(pick_avoiding(1, all, 6, 13), 2);  /* once around */
	finish();
}

static void ring_bounds(void **state)
{
	/* a thousandth of a millionth of the weight wants more points than are allowed */
	scene_make(LB_RING_HASH, 2, 90);
	scene.endpoints[1].weight = UINT32_MAX - 1;
	ring_size(1024, 4096);
	start();
	for (uint64_t i = 1; i < 1000; i++)
		assert_in_range(pick(i * (UINT64_MAX / 1000)), 0, 1);
	finish();
	/* more endpoints than points: some have none, none has more than one */
	scene_make(LB_RING_HASH, 4, 90);
	ring_size(2, 2);
	start();
	for (uint64_t i = 1, seen[4] = {0}; i < 1000; i++) {
		seen[pick(i * (UINT64_MAX / 1000))]++;
		if (i == 999)
			assert_int_equal((seen[0] > 0) + (seen[1] > 0) + (seen[2] > 0) + (seen[3] > 0), 2);
	}
	finish();
}

static void expect_table(const uint32_t *table, size_t size)
{
	scene.cluster.maglev_size = size;
	start();
	for (uint64_t i = size; i < 4 * size; i++)
		assert_int_equal(pick(i), table[i % size]);
}

static void table_places(void **state)
{
	static const uint32_t plain[] = {2, 4, 0, 1, 5, 0, 3}, by_name[] = {2, 5, 0, 3, 4, 1, 0}, all[] = {0, 1, 2, 3, 4, 5},
			      second[] = {1};

	scene_make(LB_MAGLEV, 6, 90);
	expect_table(plain, COUNT(plain));
	assert_int_equal(pick_avoiding(10, second, 1, 0), 1);
	assert_int_equal(pick_avoiding(10, second, 1, 2), 0);
	assert_int_equal(pick_avoiding(10, all, 6, 2), 5);
	finish();
	for (size_t i = 0; i < 6; i++)
		scene.endpoints[i].key = mesh_slice_of(scene.keys[i] + strlen("127.0.0.1:"));
	expect_table(by_name, COUNT(by_name));
	finish();
}

static void table_by_weight(void **state)
{
	static const uint32_t weighted[] = {1, 0, 0, 1, 0, 1, 1, 0, 1, 1, 1, 1, 1, 0, 1, 0, 1},
			      equal[] = {1, 0, 0, 1, 0, 1, 1, 0, 0, 1, 0, 1, 0, 0, 1, 0, 1},
			      lopsided[] = {1, 0, 0, 0, 0, 0, 1, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0};

	scene_make(LB_MAGLEV, 2, 90);
	scene.endpoints[1].weight = 2;
	expect_table(weighted, COUNT(weighted));
	finish();
	spread((const uint32_t[]){1, 1}, 2);
	expect_table(equal, COUNT(equal)); /* weights in different localities do not meet */
	finish();
	scene.endpoints[0].healthy = scene.endpoints[1].healthy = false;
	expect_table(equal, COUNT(equal)); /* nor in panic */
	finish();
	scene_make(LB_MAGLEV, 3, 90);
	spread((const uint32_t[]){8, 2, 0}, 3);
	expect_table(lopsided, COUNT(lopsided));
	finish();
}

/* One endpoint of nearly all weight: the others have one place each, whatever their part is. */
static void table_lopsided(void **state)
{
	static unsigned counts[MAX];

	scene_make(LB_MAGLEV, MAX, 0);
	spread((const uint32_t[]){127, 1}, 2);
	for (size_t i = 0; i < MAX; i++)
		scene.endpoints[i].locality = i > 0;
	start();
	memset(counts, 0, sizeof(counts));
	for (uint64_t i = 65537; i < 2 * 65537; i++)
		counts[pick(i)]++;
	assert_int_equal(counts[0], 65537 - (MAX - 1));
	for (size_t i = 1; i < MAX; i++)
		assert_int_equal(counts[i], 1);
	finish();
}

/* Localities without weight serve nobody, as in Envoy. */
static void no_weight_at_all(void **state)
{
	static const enum lb_kind kinds[] = {LB_RING_HASH, LB_MAGLEV};

	for (size_t i = 0; i < COUNT(kinds); i++) {
		scene_make(kinds[i], 2, 90);
		spread((const uint32_t[]){0, 0}, 2);
		start();
		assert_int_equal(pick(5), MESH_ERROR_NO_ENDPOINT);
		finish();
	}
}

/* Removing one of ten moves its own requests, and few of the others: a ring gives those that stay more points each. */
static void disruption(void **state)
{
	static const struct {
		enum lb_kind kind;
		unsigned others_max; /* of 10,000 */
	} rows[] = {{LB_RING_HASH, 900}, {LB_MAGLEV, 900}};
	static int64_t before[10001];

	for (size_t row = 0; row < COUNT(rows); row++) {
		unsigned own = 0, others = 0;

		scene_make(rows[row].kind, 10, 90);
		start();
		for (uint64_t i = 1; i <= 10000; i++)
			before[i] = pick(i * 0x9e3779b97f4a7c15u);
		scene.endpoints[3].healthy = false;
		assert_int_equal(mesh_balancer_update(scene.balancer), 0);
		for (uint64_t i = 1; i <= 10000; i++) {
			int64_t now = pick(i * 0x9e3779b97f4a7c15u);

			assert_int_not_equal(now, 3);
			own += before[i] == 3;
			others += before[i] != 3 && now != before[i];
		}
		assert_in_range(own, 700, 1300);
		assert_in_range(others, 0, rows[row].others_max);
		scene.endpoints[3].healthy = true;
		assert_int_equal(mesh_balancer_update(scene.balancer), 0);
		for (uint64_t i = 1; i <= 10000; i++)
			assert_int_equal(pick(i * 0x9e3779b97f4a7c15u), before[i]);
		finish();
	}
}

/* The order in which endpoints are told does not matter, nor which worker asks. */
static void order_and_seed(void **state)
{
	static const enum lb_kind kinds[] = {LB_RING_HASH, LB_MAGLEV};
	int64_t before[1000];

	for (size_t row = 0; row < COUNT(kinds); row++) {
		scene_make(kinds[row], 8, 90);
		start();
		for (uint64_t i = 1; i < 1000; i++)
			before[i] = pick(i * 0x9e3779b97f4a7c15u);
		finish();
		for (size_t i = 0; i < 8; i++)
			scene.endpoints[i].key = mesh_slice_of(scene.keys[7 - i]);
		assert_int_equal(mesh_balancer_new(&mesh_mem_default, &scene.cluster, &scene.set, scene.endpoints, 8, 77,
						   &scene.balancer),
				 0);
		for (uint64_t i = 1; i < 1000; i++)
			assert_int_equal(7 - pick(i * 0x9e3779b97f4a7c15u), before[i]);
		finish();
	}
}

/* Where two priorities share the traffic, a hash stays with one of them. */
static void one_priority_for_a_hash(void **state)
{
	unsigned second = 0;

	scene_make(LB_RING_HASH, 4, 90);
	scene.set.count = scene.set.priority_count = 2;
	scene.localities[1].priority = 1;
	scene.endpoints[2].locality = scene.endpoints[3].locality = 1;
	scene.endpoints[1].healthy = false; /* 70 of 100 stay */
	start();
	for (uint64_t i = 1; i <= 1000; i++) {
		int64_t index = pick(i);

		for (int again = 0; again < 5; again++)
			assert_int_equal(pick(i), index);
		assert_int_equal(index >= 2, i % 100 >= 70);
		second += index >= 2;
	}
	assert_int_equal(second, 300);
	finish();
}

/* A request without a hash goes anywhere. */
static void without_hash(void **state)
{
	unsigned picks[4] = {0};

	scene_make(LB_MAGLEV, 4, 90);
	start();
	for (int i = 0; i < 4000; i++)
		picks[mesh_balancer_pick(scene.balancer, NULL)]++;
	for (size_t i = 0; i < 4; i++)
		assert_in_range(picks[i], 800, 1200);
	finish();
}

/* Where one weighs more than all others, most rounds are its alone: they must not cost a look at everybody. */
static void table_in_time(void **state)
{
	enum { MANY = 20000 };
	struct lb_endpoint *endpoints = calloc(MANY, sizeof(*endpoints));
	char(*keys)[24] = calloc(MANY, sizeof(*keys));
	struct balancer *balancer;
	unsigned heavy = 0;

	assert_true(endpoints && keys);
	scene_make(LB_MAGLEV, 0, 0);
	scene.cluster.maglev_size = 5000011;
	scene.localities[0].count = MANY;
	for (size_t i = 0; i < MANY; i++) {
		snprintf(keys[i], sizeof(keys[i]), "127.0.0.1:%zu", i);
		endpoints[i] = (struct lb_endpoint){
			.weight = i ? 1 : 100000000, .healthy = true, .key = mesh_slice_of(keys[i])};
	}
	alarm(30);
	assert_int_equal(mesh_balancer_new(&mesh_mem_default, &scene.cluster, &scene.set, endpoints, MANY, 1, &balancer), 0);
	alarm(0);
	for (uint64_t hash = 1; hash <= 10000; hash++)
		heavy += mesh_balancer_pick(balancer, &(struct lb_choice){.hash = hash}) == 0;
	assert_in_range(heavy, 9930, 9985); /* each of the others has its first turn all the same: 20000 of 5000011 */
	mesh_balancer_free(balancer);
	free(endpoints);
	free(keys);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ring_positions),
		cmocka_unit_test(ring_rounds_up),
		cmocka_unit_test(ring_by_weight),
		cmocka_unit_test(ring_by_both_weights),
		cmocka_unit_test(ring_retries),
		cmocka_unit_test(ring_bounds),
		cmocka_unit_test(table_places),
		cmocka_unit_test(table_by_weight),
		cmocka_unit_test(table_lopsided),
		cmocka_unit_test(table_in_time),
		cmocka_unit_test(no_weight_at_all),
		cmocka_unit_test(disruption),
		cmocka_unit_test(order_and_seed),
		cmocka_unit_test(one_priority_for_a_hash),
		cmocka_unit_test(without_hash),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
