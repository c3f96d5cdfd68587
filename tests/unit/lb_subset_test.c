/* SPDX-License-Identifier: Apache-2.0 */
/* Subsets: who is in them, what happens when there is none, and that a pick never leaves the one it asked for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include <mesh/error.h>

#include "lb/subset.h"

#define MAX 64
#define S   MESH_SLICE

struct scene {
	struct cluster_config cluster;
	struct subset_config subset;
	struct subset_selector selectors[4];
	struct endpoint_set set;
	struct locality localities[2];
	struct lb_endpoint endpoints[MAX];
	struct lb_label labels[MAX][3];
	size_t count;
	struct balancer *balancer;
};

static struct scene s;

/* Endpoint i says version v(i % 3), stage of i / 8 % 2. */
static void make(size_t count)
{
	static const char *const versions[] = {"v0", "v1", "v2"}, *const stages[] = {"dev", "prod"};

	memset(&s, 0, sizeof(s));
	s.cluster.lb = LB_RANDOM;
	s.cluster.panic_percent = 0;
	s.cluster.balance.subset = &s.subset;
	s.subset.fallback = SUBSET_NOBODY;
	s.subset.selectors = s.selectors;
	s.set = (struct endpoint_set){
		.localities = s.localities, .count = 2, .priority_count = 1, .overprovisioning = 140};
	s.count = count;
	for (size_t i = 0; i < count; i++) {
		s.labels[i][0] = (struct lb_label){.key = S("stage"), .value = mesh_slice_of(stages[i / 8 % 2])};
		s.labels[i][1] = (struct lb_label){.key = S("version"), .value = mesh_slice_of(versions[i % 3])};
		s.endpoints[i] = (struct lb_endpoint){
			.weight = 1, .healthy = true, .locality = i % 2, .labels = s.labels[i], .label_count = 2};
		s.localities[i % 2].count++;
	}
}

static struct subset_selector *ask(struct mesh_slice *keys, size_t count)
{
	struct subset_selector *made = &s.selectors[s.subset.selector_count++];

	*made = (struct subset_selector){.keys = keys, .key_count = count};
	return made;
}

static struct mesh_slice version[] = {S("version")}, both[] = {S("stage"), S("version")}, stage[] = {S("stage")};

static void start(void)
{
	assert_int_equal(mesh_balancer_new(&mesh_mem_default, &s.cluster, &s.set, s.endpoints, s.count, 7, &s.balancer),
			 0);
}

static void finish(void)
{
	mesh_balancer_free(s.balancer);
	s.balancer = NULL;
}

/* Which endpoints are picked, as bits; 0: none. */
static uint64_t picked(struct label *labels, size_t count)
{
	struct lb_choice choice = {.subset = labels, .subset_count = count};
	uint64_t seen = 0;

	for (unsigned i = 0; i < 1500; i++) {
		int64_t index = mesh_balancer_pick(s.balancer, &choice);

		if (index < 0)
			return 0;
		seen |= UINT64_C(1) << index;
	}
	return seen;
}

static uint64_t those(const char *wanted_stage, const char *wanted_version)
{
	uint64_t bits = 0;

	for (size_t i = 0; i < s.count; i++)
		if ((!wanted_stage || mesh_slice_equal(s.labels[i][0].value, mesh_slice_of(wanted_stage))) &&
		    (!wanted_version || mesh_slice_equal(s.labels[i][1].value, mesh_slice_of(wanted_version))))
			bits |= UINT64_C(1) << i;
	return bits;
}

static struct label v1[] = {{S("version"), S("v1")}}, v9[] = {{S("version"), S("v9")}};
static struct label prod_v1[] = {{S("stage"), S("prod")}, {S("version"), S("v1")}};
static struct label prod_v9[] = {{S("stage"), S("prod")}, {S("version"), S("v9")}};

static void members(void **state)
{
	make(24);
	ask(version, 1);
	ask(both, 2);
	start();
	assert_int_equal(picked(v1, 1), those(NULL, "v1"));
	assert_int_equal(picked(prod_v1, 2), those("prod", "v1"));
	assert_int_equal(picked(v9, 1), 0);
	assert_int_equal(picked(prod_v1, 1), 0); /* the stage alone is no selector */
	assert_int_equal(picked(NULL, 0), 0);
	assert_int_equal(mesh_balancer_pick(s.balancer, NULL), MESH_ERROR_NO_ENDPOINT);
	finish();
}

static void fallbacks(void **state)
{
	make(24);
	ask(version, 1);
	s.subset.fallback = SUBSET_ANY;
	start();
	assert_int_equal(picked(v9, 1), those(NULL, NULL));
	assert_int_equal(picked(NULL, 0), those(NULL, NULL));
	finish();
	s.subset.fallback = SUBSET_DEFAULT;
	s.subset.default_labels = prod_v1;
	s.subset.default_label_count = 2;
	start();
	assert_int_equal(picked(v9, 1), those("prod", "v1"));
	assert_int_equal(picked(v1, 1), those(NULL, "v1"));
	finish();
	s.subset.default_labels = prod_v9; /* nobody is in it */
	start();
	assert_int_equal(picked(v9, 1), 0);
	finish();
	s.subset.panic_any = true;
	start();
	assert_int_equal(picked(v9, 1), those(NULL, NULL));
	finish();
}

static void selectors_have_their_own(void **state)
{
	struct subset_selector *pair;

	make(24);
	ask(version, 1)->fallback = SUBSET_ANY;
	pair = ask(both, 2);
	pair->fallback = SUBSET_KEYS;
	pair->fallback_keys = version;
	pair->fallback_key_count = 1;
	start();
	assert_int_equal(picked(v9, 1), those(NULL, NULL));
	s.labels[0][0].value = S("dev");
	assert_int_equal(picked((struct label[]){{S("stage"), S("test")}, {S("version"), S("v1")}}, 2),
			 those(NULL, "v1"));
	assert_int_equal(picked(prod_v9, 2), those(NULL, NULL)); /* again, and then any */
	assert_int_equal(picked(NULL, 0), 0);                    /* the cluster's own is nobody */
	finish();
	s.selectors[1].fallback = SUBSET_NOBODY;
	start();
	assert_int_equal(picked(prod_v9, 2), 0);
	finish();
	/* keys that begin those of an earlier selector: its fallback is not heeded, as in Envoy */
	make(24);
	ask(both, 2);
	ask(stage, 1)->fallback = SUBSET_ANY;
	start();
	assert_int_equal(picked((struct label[]){{S("stage"), S("test")}}, 1), 0);
	assert_int_equal(picked((struct label[]){{S("stage"), S("dev")}}, 1), those("dev", NULL));
	finish();
}

static void redundant_keys(void **state)
{
	struct label many[] = {{S("other"), S("x")}, {S("stage"), S("prod")}, {S("version"), S("v1")}};

	make(24);
	ask(version, 1);
	ask(both, 2);
	start();
	assert_int_equal(picked(many, 3), 0);
	finish();
	s.subset.redundant_keys = true;
	start();
	assert_int_equal(picked(many, 3), those(NULL, "v1")); /* the first selector that fits */
	finish();
}

static void lists(void **state)
{
	static struct mesh_slice items[] = {S("v1"), S("v7"), S("v1")};

	make(6);
	ask(version, 1);
	s.labels[0][1] = (struct lb_label){
		.key = S("version"), .value = S("\1list"), .items = items, .item_count = 3, .list = true};
	start();
	assert_int_equal(picked((struct label[]){{S("version"), S("v7")}}, 1), 0);
	finish();
	s.subset.list_as_any = true;
	start();
	assert_int_equal(picked((struct label[]){{S("version"), S("v7")}}, 1), 1);
	assert_int_equal(picked(v1, 1), 1 | those(NULL, "v1"));
	finish();
}

static void single(void **state)
{
	make(24);
	ask(version, 1)->single = true;
	for (size_t i = 0; i < 24; i++)
		s.endpoints[i].healthy = false; /* whatever its health */
	start();
	assert_int_equal(picked(v1, 1), 2);
	s.endpoints[1].excluded = true;
	assert_int_equal(mesh_balancer_update(s.balancer), 0);
	assert_int_equal(picked(v1, 1), 0);
	finish();
}

static void fallback_list(void **state)
{
	struct subset_match matches[] = {{v9, 1}, {v1, 1}};
	struct lb_choice choice = {
		.subset = prod_v1, .subset_count = 2, .subset_fallbacks = matches, .subset_fallback_count = 2};

	make(24);
	ask(version, 1);
	start();
	assert_int_equal(mesh_balancer_pick(s.balancer, &choice), MESH_ERROR_NO_ENDPOINT);
	finish();
	s.subset.fallback_list = true;
	start();
	for (unsigned i = 0; i < 100; i++)
		assert_int_equal(mesh_balancer_pick(s.balancer, &choice) % 3, 1);
	finish();
}

/* Localities of a subset weigh what the cluster's do, or that by what is left of them. */
static void locality_weights(void **state)
{
	unsigned first[3] = {0};

	for (int way = 0; way < 3; way++) {
		make(24);
		ask(version, 1);
		s.cluster.locality_weighted = true;
		s.localities[0].weight = 90;
		s.localities[1].weight = 10;
		s.subset.locality_weight_aware = way > 0;
		s.subset.scale_locality_weight = way > 1;
		for (size_t i = 0; i < 24; i++) /* v1 is one of twelve in the first, all in the second */
			s.labels[i][1].value = i == 0 || i % 2 ? S("v1") : S("v2");
		start();
		for (unsigned i = 0; i < 20000; i++) {
			struct lb_choice choice = {.subset = v1, .subset_count = 1};

			first[way] += mesh_balancer_pick(s.balancer, &choice) == 0;
		}
		finish();
	}
	assert_in_range(first[0], 20000 / 13 - 200, 20000 / 13 + 200);
	assert_in_range(first[1], 18000 - 200, 18000 + 200);
	assert_in_range(first[2], 20000 * 8 / 18 - 300, 20000 * 8 / 18 + 300); /* 90 / 12 is 8 */
}

/* Health of a few changes: their subsets follow, and no pick leaves its subset or takes who is out. */
static void follows_health(void **state)
{
	struct rand rand;

	mesh_rand_seed(&rand, 9);
	make(48);
	ask(version, 1);
	ask(both, 2);
	start();
	for (unsigned round = 0; round < 400; round++) {
		size_t changed = mesh_rand_below(&rand, 48);
		uint64_t healthy = 0, in = those(NULL, "v1"), seen;

		s.endpoints[changed].healthy = !s.endpoints[changed].healthy;
		s.endpoints[mesh_rand_below(&rand, 48)].excluded = mesh_rand_below(&rand, 2);
		assert_int_equal(mesh_balancer_update(s.balancer), 0);
		for (size_t i = 0; i < 48; i++)
			if (s.endpoints[i].healthy && !s.endpoints[i].excluded)
				healthy |= UINT64_C(1) << i;
		seen = picked(v1, 1);
		assert_int_equal(seen, in & healthy);
	}
	finish();
}

/* Far more values than are kept: what is not made gets the fallback, and nothing else happens. */
static void bounded(void **state)
{
	static struct lb_label labels[3000];
	static struct lb_endpoint endpoints[3000];
	static char names[3000][8];
	struct balancer *balancer;
	struct lb_choice choice = {.subset_count = 1};
	size_t found = 0;

	make(0);
	ask(version, 1);
	s.cluster.lb = LB_RING_HASH;
	for (size_t i = 0; i < 3000; i++) {
		snprintf(names[i], sizeof(names[i]), "n%zu", i);
		labels[i] = (struct lb_label){.key = S("version"), .value = mesh_slice_of(names[i])};
		endpoints[i] = (struct lb_endpoint){.weight = 1,
						    .healthy = true,
						    .labels = &labels[i],
						    .label_count = 1,
						    .key = mesh_slice_of(names[i])};
	}
	s.cluster.ring_min = s.cluster.ring_max = 4;
	assert_int_equal(mesh_balancer_new(&mesh_mem_default, &s.cluster, &s.set, endpoints, 3000, 1, &balancer), 0);
	for (size_t i = 0; i < 3000; i++) {
		struct label label = {S("version"), mesh_slice_of(names[i])};

		choice.subset = &label;
		found += mesh_balancer_pick(balancer, &choice) == (int64_t)i;
	}
	assert_int_equal(found, 1024);
	mesh_balancer_free(balancer);
}

static void *limited_alloc(void *user, size_t bytes)
{
	unsigned *left = user;

	return (*left)-- ? malloc(bytes) : ((*left)++, NULL);
}

static void *limited_resize(void *user, void *memory, size_t bytes)
{
	unsigned *left = user;

	return (*left)-- ? realloc(memory, bytes) : ((*left)++, NULL);
}

static void limited_release(void *user, void *memory)
{
	free(memory);
}

/* 1 MiB at a time. */
static void *small_alloc(void *user, size_t bytes)
{
	return bytes <= 1048576 ? malloc(bytes) : NULL;
}

static void *small_resize(void *user, void *memory, size_t bytes)
{
	return bytes <= 1048576 ? realloc(memory, bytes) : NULL;
}

static void out_of_memory(void **state)
{
	unsigned left = 0, failures = 0;
	struct mesh_mem mem = {limited_alloc, limited_resize, limited_release, &left};
	int rc = MESH_ERROR_NOMEM;

	make(12);
	ask(both, 2);
	s.cluster.locality_weighted = s.subset.locality_weight_aware = s.subset.scale_locality_weight = true;
	s.localities[0].weight = s.localities[1].weight = 1;
	s.subset.fallback = SUBSET_DEFAULT;
	s.subset.panic_any = true;
	for (unsigned n = 0; rc < 0; n++) {
		left = n;
		rc = mesh_balancer_new(&mem, &s.cluster, &s.set, s.endpoints, s.count, 1, &s.balancer);
		failures += rc < 0;
	}
	assert_true(failures > 30);
	s.endpoints[9].healthy = false;
	left = 3;
	assert_int_equal(mesh_balancer_update(s.balancer), MESH_ERROR_NOMEM);
	left = 10000;
	assert_int_equal(mesh_balancer_update(s.balancer), 0); /* what was not made then is made now */
	assert_int_equal(picked((struct label[]){{S("stage"), S("prod")}, {S("version"), S("v0")}}, 2), 0);
	finish();
}

/* Tables and rings of all priorities of all subsets: what one push may make a worker hold has an end. */
static void tables_bounded(void **state)
{
	static struct lb_label labels[2];
	static struct mesh_slice items[200];
	static char names[200][8];
	size_t found[2] = {0};

	for (size_t i = 0; i < 200; i++) {
		snprintf(names[i], sizeof(names[i]), "n%zu", i);
		items[i] = mesh_slice_of(names[i]);
	}
	for (size_t n = 0; n < 2; n++) {
		struct mesh_mem mem = {small_alloc, small_resize, limited_release, NULL};

		make(2);
		ask(version, 1);
		s.subset.list_as_any = true;
		s.cluster.lb = n ? LB_RING_HASH : LB_MAGLEV;
		s.cluster.ring_min = 1024;
		s.cluster.ring_max = 8388608;
		s.set.priority_count = 129;
		for (size_t i = 0; i < 2; i++) {
			labels[i] = (struct lb_label){.key = S("version"), .items = items, .item_count = 200, .list = true};
			s.endpoints[i].labels = &labels[i];
			s.endpoints[i].label_count = 1;
			s.endpoints[i].key = i ? S("a") : S("b");
			s.endpoints[i].weight = i ? UINT32_MAX - 1 : 1;
		}
		assert_int_equal(mesh_balancer_new(&mem, &s.cluster, &s.set, s.endpoints, 2, 1, &s.balancer), 0);
		for (size_t i = 0; i < 200; i++)
			found[n] += picked((struct label[]){{S("version"), items[i]}}, 1) != 0;
		finish();
	}
	assert_int_equal(found[0], 67108864 / 65537 / 129);
	assert_int_equal(found[1], 16777216 / 1024 / 129);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(members),
		cmocka_unit_test(fallbacks),
		cmocka_unit_test(selectors_have_their_own),
		cmocka_unit_test(redundant_keys),
		cmocka_unit_test(lists),
		cmocka_unit_test(single),
		cmocka_unit_test(fallback_list),
		cmocka_unit_test(locality_weights),
		cmocka_unit_test(follows_health),
		cmocka_unit_test(bounded),
		cmocka_unit_test(tables_bounded),
		cmocka_unit_test(out_of_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
