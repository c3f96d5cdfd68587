/* SPDX-License-Identifier: Apache-2.0 */
/* Zone-aware balancing: shares worked out by hand from Envoy's rules, when it is in force at all, and that nobody gets more. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <mesh/error.h>

#include "lb/zone_aware.h"
#include "lb/lb.h"

#define ZONES 4
#define EACH  40
#define PICKS 40000

static void arithmetic(void **state)
{
	static const struct {
		struct lb_zone_count zones[ZONES];
		uint64_t local_total;
		bool own;
		enum lb_zone_mode mode;
		uint64_t local_part, residual[ZONES];
	} rows[] = {
		{{{1, 1}, {1, 1}}, 2, true, ZONE_DIRECT, 0, {0}},
		{{{1, 2}, {3, 2}}, 4, true, ZONE_DIRECT, 0, {0}},
		{{{2, 1}, {1, 2}, {1, 1}}, 4, true, ZONE_RESIDUAL, 5000, {0, 2500, 2500}},
		/* 40 % 40 % 20 % against 25 % 50 % 25 % */
		{{{4, 1}, {4, 2}, {2, 1}}, 10, true, ZONE_RESIDUAL, 6250, {0, 1000, 1500}},
		{{{1, 0}, {1, 1}, {0, 1}}, 2, true, ZONE_RESIDUAL, 0, {0, 0, 5000}},
		{{{1, 1}, {1, 1}}, 4, false, ZONE_RESIDUAL, 0, {2500, 5000}},
		{{{3, 1}, {0, 2}, {0, 1}, {1, 0}}, 4, true, ZONE_RESIDUAL, 3333, {0, 5000, 7500, 7500}},
	};
	struct zone_config config = {.on = true, .routing_percent = 100};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint64_t residual[ZONES] = {0};
		struct lb_zone zone = {.routing_percent = 100, .residual = residual};
		size_t count = i < 2 || i == 5 ? 2 : i == 6 ? 4 : 3;

		mesh_zone_route(&config, rows[i].zones, count, rows[i].local_total, rows[i].own,
				rows[i].zones[0].upstream, &zone);
		if (zone.mode != rows[i].mode || zone.local_part != rows[i].local_part)
			fail_msg("row %zu: mode %d, local part %llu", i, (int)zone.mode,
				 (unsigned long long)zone.local_part);
		for (size_t z = 0; zone.mode == ZONE_RESIDUAL && z < count; z++)
			assert_int_equal(residual[z], rows[i].residual[z]);
	}
}

static void forced(void **state)
{
	struct lb_zone_count zones[2] = {{9, 1}, {1, 9}};
	struct zone_config config = {.on = true, .force_local = true, .force_min = 1};
	uint64_t residual[2];
	struct lb_zone zone = {.residual = residual};

	mesh_zone_route(&config, zones, 2, 10, true, 1, &zone);
	assert_int_equal(zone.mode, ZONE_DIRECT);
	config.force_min = 2;
	mesh_zone_route(&config, zones, 2, 10, true, 1, &zone);
	assert_int_equal(zone.mode, ZONE_RESIDUAL);
	mesh_zone_route(&config, zones, 2, 10, false, 1, &zone);
	assert_int_equal(zone.mode, ZONE_RESIDUAL);
}

/* ---- the whole way */

struct scene {
	struct cluster_config cluster;
	struct endpoint_set set, local;
	struct locality localities[ZONES], own[ZONES];
	struct endpoint_config instances[ZONES][EACH];
	struct lb_endpoint endpoints[ZONES * EACH];
	size_t count;
	struct balancer *balancer;
	unsigned zones[ZONES];
};

static struct scene s;

static void make(const unsigned *upstream, const unsigned *local, size_t zones)
{
	static const char *const names[ZONES] = {"a", "b", "c", "d"};

	memset(&s, 0, sizeof(s));
	s.cluster.lb = LB_LEAST_REQUEST;
	s.cluster.least_request_choices = 2;
	s.cluster.panic_percent = 50;
	s.cluster.balance.zone = (struct zone_config){.on = true, .routing_percent = 100, .min_cluster_size = 6};
	s.set = (struct endpoint_set){.localities = s.localities, .count = zones, .priority_count = 1};
	s.local = (struct endpoint_set){.localities = s.own, .count = zones, .priority_count = 1};
	for (size_t z = 0; z < zones; z++) {
		s.localities[z].zone = s.own[z].zone = mesh_slice_of(names[z]);
		s.localities[z].count = upstream[z];
		s.own[z].count = local[z];
		s.own[z].endpoints = s.instances[z];
		for (unsigned i = 0; i < upstream[z]; i++)
			s.endpoints[s.count++] =
				(struct lb_endpoint){.weight = 1, .healthy = true, .locality = (uint32_t)z};
	}
}

static void go(const char *where)
{
	struct lb_local local = {.set = &s.local, .zone = mesh_slice_of(where)};

	assert_int_equal(mesh_balancer_new(&mesh_mem_default, &s.cluster, &s.set, s.endpoints, s.count, 3, &s.balancer),
			 0);
	mesh_balancer_local(s.balancer, &local);
	assert_int_equal(mesh_balancer_update(s.balancer), 0);
	memset(s.zones, 0, sizeof(s.zones));
	for (unsigned i = 0; i < PICKS; i++) {
		int64_t index = mesh_balancer_pick(s.balancer, NULL);

		if (index >= 0)
			s.zones[s.endpoints[index].locality]++;
	}
	mesh_balancer_free(s.balancer);
}

static void expect(size_t zone, double share)
{
	double seen = (double)s.zones[zone] / PICKS;

	if (seen < share - 0.015 || seen > share + 0.015)
		fail_msg("zone %zu: %.3f, not %.3f", zone, seen, share);
}

static void shares(void **state)
{
	make((unsigned[]){5, 5}, (unsigned[]){3, 3}, 2);
	go("b");
	assert_int_equal(s.zones[1], PICKS);
	make((unsigned[]){5, 10, 5}, (unsigned[]){4, 4, 2}, 3);
	go("a"); /* 62.5 % stay, the rest two to one */
	expect(0, 0.625);
	expect(1, 0.25);
	expect(2, 0.125);
	s.cluster.balance.zone.routing_percent = 0;
	go("a");
	expect(1, 0.5);
	s.cluster.balance.zone.routing_percent = 100;
	s.cluster.balance.zone.force_local = true;
	go("a");
	assert_int_equal(s.zones[0], PICKS);
}

static void by_weight(void **state)
{
	make((unsigned[]){5, 5}, (unsigned[]){4, 4}, 2);
	for (size_t z = 0; z < 2; z++)
		for (size_t i = 0; i < 4; i++)
			s.instances[z][i].weight = 1;
	for (size_t i = 0; i < 5; i++)
		s.endpoints[i].weight = 1, s.endpoints[5 + i].weight = 3;
	s.cluster.balance.zone.by_weight = true;
	go("a"); /* 50 % of us, 25 % of the weight */
	expect(0, 0.5);
	go("b");
	assert_int_equal(s.zones[1], PICKS);
}

/* Where it is not in force, all endpoints are alike. */
static void off(void **state)
{
	make((unsigned[]){2, 3}, (unsigned[]){3, 3}, 2); /* too few */
	go("a");
	expect(0, 0.4);
	make((unsigned[]){4, 6}, (unsigned[]){3, 0}, 2); /* we are all in one zone */
	go("a");
	expect(0, 0.4);
	make((unsigned[]){4, 6}, (unsigned[]){0, 3, 3}, 2); /* nobody where we are */
	go("a");
	expect(0, 0.4);
	make((unsigned[]){4, 6}, (unsigned[]){3, 3}, 2);
	s.cluster.balance.zone.on = false;
	go("a");
	expect(0, 0.4);
	make((unsigned[]){4, 6}, (unsigned[]){3, 3}, 2);
	for (size_t i = 0; i < 3; i++)
		s.instances[0][i].health = s.instances[1][i].health = ENDPOINT_UNHEALTHY; /* we are in panic */
	go("a");
	expect(0, 0.4);
	s.cluster.fail_traffic_on_panic = true;
	go("a");
	assert_int_equal(s.zones[0] + s.zones[1], 0);
}

/* With everybody balancing so, no endpoint of a zone gets more than one elsewhere, by more than rounding. */
static void nobody_gets_more(void **state)
{
	struct rand rand;

	mesh_rand_seed(&rand, 4);
	for (unsigned round = 0; round < 60; round++) {
		static const char *const names[ZONES] = {"a", "b", "c", "d"};
		unsigned upstream[ZONES], local[ZONES], all = 0, ours = 0;
		double load[ZONES] = {0};

		for (size_t z = 0; z < ZONES; z++) {
			all += upstream[z] = 2 + (unsigned)mesh_rand_below(&rand, EACH - 2);
			ours += local[z] = 1 + (unsigned)mesh_rand_below(&rand, EACH - 1);
		}
		for (size_t from = 0; from < ZONES; from++) {
			make(upstream, local, ZONES);
			go(names[from]);
			for (size_t z = 0; z < ZONES; z++)
				load[z] += (double)s.zones[z] / PICKS * local[from] / ours;
		}
		for (size_t z = 0; z < ZONES; z++)
			if (load[z] > (double)upstream[z] / all + 0.01)
				fail_msg("round %u zone %zu: %.3f of the load, %.3f of the endpoints", round, z,
					 load[z], (double)upstream[z] / all);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(arithmetic), cmocka_unit_test(forced), cmocka_unit_test(shares),
		cmocka_unit_test(by_weight),  cmocka_unit_test(off),    cmocka_unit_test(nobody_gets_more),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
