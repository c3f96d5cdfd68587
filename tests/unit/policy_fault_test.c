/* SPDX-License-Identifier: Apache-2.0 */
/* Which requests a fault concerns, how large a share of them it hits, and what headers may ask for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <mesh/error.h>

#include "base/rand.h"
#include "policy/fault.h"

#define S(text) mesh_slice_of(text)
#define MS      1000000ull

static const struct fraction all = {100, 100}, none = {0, 100};
static struct arena arena;
static struct headers headers;
static struct route_request request = {.headers = &headers};

static int setup(void **state)
{
	mesh_arena_init(&arena, &mesh_mem_default, 0);
	mesh_headers_clear(&headers);
	return 0;
}

static int teardown(void **state)
{
	mesh_headers_clear(&headers);
	mesh_arena_free(&arena);
	return 0;
}

static void say(const char *name, const char *value)
{
	assert_int_equal(mesh_headers_set(&headers, &arena, S(name), S(value)), 0);
}

static struct fault choose(const struct fault_config *config, const char *cluster, uint32_t active)
{
	struct fault fault;

	mesh_fault_choose(config, &request, S(cluster), active, 0, 0, &arena, &fault);
	return fault;
}

static void assert_fault(struct fault fault, uint64_t delay_ns, uint32_t status)
{
	assert_int_equal(fault.delay_ns, delay_ns);
	assert_int_equal(fault.http_status, status);
}

static void test_delay_and_abort_are_drawn_apart(void **state)
{
	struct fault_config config = {
		.delay_ns = 5, .delay_share = all, .abort = FAULT_ABORT_HTTP, .abort_status = 503, .abort_share = all};

	assert_fault(choose(&config, "c", 0), 5, 503);
	config.abort_share = none;
	assert_fault(choose(&config, "c", 0), 5, 0);
	config.abort_share = all;
	config.delay_share = none;
	assert_fault(choose(&config, "c", 0), 0, 503);
	config.abort = FAULT_ABORT_GRPC;
	config.abort_status = 14;
	assert_fault(choose(&config, "c", 0), 0, 200);
	assert_true(choose(&config, "c", 0).grpc);
	assert_int_equal(choose(&config, "c", 0).grpc_status, 14);
	assert_fault(choose(&(struct fault_config){0}, "c", 0), 0, 0);
}

static void test_whom_it_concerns(void **state)
{
	struct mesh_slice nodes[] = {{"a", 1}, {"b", 1}};
	struct header_match match = {
		.name = {"x-user", 6}, .kind = HEADER_MATCH_STRING, .string = {.text = {"jason", 5}}};
	struct fault_config config = {.abort = FAULT_ABORT_HTTP, .abort_status = 500, .abort_share = all};

	config.upstream_cluster = S("other");
	assert_fault(choose(&config, "c", 0), 0, 0);
	assert_fault(choose(&config, "other", 0), 0, 500);
	config.upstream_cluster = (struct mesh_slice){NULL, 0};
	config.nodes = nodes;
	config.node_count = 2;
	assert_fault(choose(&config, "c", 0), 0, 0);
	say("x-envoy-downstream-service-node", "c");
	assert_fault(choose(&config, "c", 0), 0, 0);
	say("x-envoy-downstream-service-node", "b");
	assert_fault(choose(&config, "c", 0), 0, 500);
	config.headers = &match;
	config.header_count = 1;
	assert_fault(choose(&config, "c", 0), 0, 0);
	say("x-user", "jason");
	assert_fault(choose(&config, "c", 0), 0, 500);
	config.has_active_max = true;
	config.active_max = 3;
	assert_fault(choose(&config, "c", 2), 0, 500);
	assert_fault(choose(&config, "c", 3), 0, 0);
	config.active_max = 0;
	assert_fault(choose(&config, "c", 0), 0, 0);
}

static void test_headers_ask(void **state)
{
	struct fault_config config = {
		.delay_header = true, .delay_share = all, .abort = FAULT_ABORT_HEADER, .abort_share = all};

	assert_fault(choose(&config, "c", 0), 0, 0);
	say("x-envoy-fault-delay-request", "20");
	say("x-envoy-fault-abort-request", "418");
	assert_fault(choose(&config, "c", 0), 20 * MS, 418);
	say("x-envoy-fault-delay-request", "18446744073709551615"); /* cut, not wrapped */
	assert_true(choose(&config, "c", 0).delay_ns > 365ull * 24 * 3600 * 1000 * MS);
	say("x-envoy-fault-delay-request", "-1");
	say("x-envoy-fault-abort-request", "600");
	assert_fault(choose(&config, "c", 0), 0, 0);
	say("x-envoy-fault-abort-grpc-request", "7");
	assert_fault(choose(&config, "c", 0), 0, 200);
	assert_int_equal(choose(&config, "c", 0).grpc_status, 7);
	say("x-envoy-fault-abort-request", "199"); /* the other way is still open */
	assert_int_equal(choose(&config, "c", 0).grpc_status, 7);
	say("x-envoy-fault-abort-request-percentage", "0");
	assert_fault(choose(&config, "c", 0), 0, 0);
	/* never more than is configured, and not where the configuration has the word */
	say("x-envoy-fault-abort-request-percentage", "100");
	config.abort_share = none;
	assert_fault(choose(&config, "c", 0), 0, 0);
	say("x-envoy-fault-abort-request-percentage", "0");
	config.abort = FAULT_ABORT_HTTP;
	config.abort_status = 503;
	config.abort_share = all;
	assert_fault(choose(&config, "c", 0), 0, 503);
}

static void test_shares(void **state)
{
	static const struct fraction shares[] = {{25, 100}, {3000, 10000}, {55000, 1000000}};
	static const int expected[] = {2500, 3000, 550};
	struct rand rand;

	mesh_rand_seed(&rand, 5);
	for (size_t i = 0; i < 3; i++) {
		struct fault_config config = {.delay_ns = 1,
					      .delay_share = shares[i],
					      .abort = FAULT_ABORT_HTTP,
					      .abort_status = 503,
					      .abort_share = shares[i]};
		int delays = 0, aborts = 0, both = 0;

		for (int n = 0; n < 10000; n++) {
			struct fault fault;

			mesh_fault_choose(&config, &request, S("c"), 0, mesh_rand_next(&rand), mesh_rand_next(&rand),
					  &arena, &fault);
			delays += fault.delay_ns != 0;
			aborts += fault.http_status != 0;
			both += fault.delay_ns && fault.http_status;
		}
		assert_in_range(delays, expected[i] - 200, expected[i] + 200);
		assert_in_range(aborts, expected[i] - 200, expected[i] + 200);
		assert_in_range(both, 0, expected[i] / 2); /* independent: about the square of the share */
	}
}

static void test_most_specific_is_in_force(void **state)
{
	static struct fault_config outer, of_route, of_cluster;
	struct route route = {.fault = &of_route, .fault_filter = {"f", 1}};
	struct weighted_cluster weighted = {.fault = &of_cluster, .fault_filter = {"f", 1}};

	assert_ptr_equal(mesh_fault_in_force(&outer, S("f"), NULL, NULL), &outer);
	assert_ptr_equal(mesh_fault_in_force(&outer, S("f"), &route, NULL), &of_route);
	assert_ptr_equal(mesh_fault_in_force(&outer, S("f"), &route, &weighted), &of_cluster);
	assert_ptr_equal(mesh_fault_in_force(&outer, S("g"), &route, &weighted), &outer);
	assert_null(mesh_fault_in_force(NULL, S("g"), &route, &weighted));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_delay_and_abort_are_drawn_apart, setup, teardown),
		cmocka_unit_test_setup_teardown(test_whom_it_concerns, setup, teardown),
		cmocka_unit_test_setup_teardown(test_headers_ask, setup, teardown),
		cmocka_unit_test_setup_teardown(test_shares, setup, teardown),
		cmocka_unit_test(test_most_specific_is_in_force),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
