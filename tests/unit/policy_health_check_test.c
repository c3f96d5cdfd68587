/* SPDX-License-Identifier: Apache-2.0 */
/* Active health checks: thresholds, intervals, what is a good answer, by Envoy's rules. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "policy/health_check.h"

static const struct health_check_config usual = {
	.interval_ns = 1000000000,
	.timeout_ns = 500000000,
	.unhealthy_threshold = 3,
	.healthy_threshold = 2,
	.no_traffic_ns = 60000000000,
	.no_traffic_healthy_ns = 50000000000,
	.unhealthy_ns = 4000000000,
	.unhealthy_edge_ns = 5000000000,
	.healthy_edge_ns = 6000000000,
};

static const uint64_t none[2];

static enum check_change take(struct check_state *state, enum check_result result)
{
	return mesh_check_take(state, &usual, result);
}

static void test_the_first_good_check_is_enough(void **state)
{
	struct check_state host = {.failed = true};

	assert_int_equal(take(&host, CHECK_SUCCEEDED), CHECK_CHANGED);
	assert_false(host.failed);
	assert_int_equal(take(&host, CHECK_SUCCEEDED), CHECK_UNCHANGED);
}

static void test_thresholds(void **state)
{
	struct check_state host = {.failed = true};

	assert_int_equal(take(&host, CHECK_NETWORK), CHECK_UNCHANGED);
	assert_int_equal(take(&host, CHECK_SUCCEEDED), CHECK_ON_EDGE); /* not the first of all any more */
	assert_int_equal(take(&host, CHECK_NETWORK), CHECK_UNCHANGED);
	assert_int_equal(take(&host, CHECK_SUCCEEDED), CHECK_ON_EDGE);
	assert_int_equal(take(&host, CHECK_SUCCEEDED), CHECK_CHANGED);
	assert_int_equal(take(&host, CHECK_NETWORK), CHECK_ON_EDGE);
	assert_int_equal(take(&host, CHECK_TIMEOUT), CHECK_ON_EDGE);
	assert_int_equal(take(&host, CHECK_SUCCEEDED), CHECK_UNCHANGED); /* and the run of bad ones is over */
	assert_int_equal(take(&host, CHECK_RETRIABLE), CHECK_ON_EDGE);
	assert_int_equal(take(&host, CHECK_NETWORK), CHECK_ON_EDGE);
	assert_int_equal(take(&host, CHECK_TIMEOUT), CHECK_CHANGED);
	assert_true(host.failed && host.timeout);
	assert_int_equal(take(&host, CHECK_NETWORK), CHECK_UNCHANGED);
	assert_false(host.timeout);
}

static void test_an_answer_that_says_no_is_enough(void **state)
{
	struct check_state host = {.checked = true};

	assert_int_equal(take(&host, CHECK_FAILED), CHECK_CHANGED);
	assert_true(host.failed);
}

static void test_degraded(void **state)
{
	struct check_state host = {.failed = true};

	assert_int_equal(take(&host, CHECK_DEGRADED), CHECK_CHANGED);
	assert_true(host.degraded && !host.failed);
	assert_int_equal(take(&host, CHECK_DEGRADED), CHECK_UNCHANGED);
	assert_int_equal(take(&host, CHECK_SUCCEEDED), CHECK_CHANGED);
	assert_false(host.degraded);
}

static void test_intervals(void **state)
{
	struct health_check_config config = usual;
	const uint64_t draws[2] = {1234567890123, 777777777};

	assert_int_equal(mesh_check_interval(&config, true, CHECK_UNCHANGED, true, none), 1000000000);
	assert_int_equal(mesh_check_interval(&config, true, CHECK_CHANGED, true, none), 1000000000);
	assert_int_equal(mesh_check_interval(&config, true, CHECK_ON_EDGE, true, none), 6000000000);
	assert_int_equal(mesh_check_interval(&config, false, CHECK_ON_EDGE, true, none), 5000000000);
	assert_int_equal(mesh_check_interval(&config, false, CHECK_UNCHANGED, true, none), 4000000000);
	assert_int_equal(mesh_check_interval(&config, true, CHECK_UNCHANGED, false, none), 50000000000);
	assert_int_equal(mesh_check_interval(&config, true, CHECK_ON_EDGE, false, none), 60000000000);
	assert_int_equal(mesh_check_interval(&config, false, CHECK_UNCHANGED, false, none), 60000000000);
	config.interval_jitter_percent = 50;
	assert_int_equal(mesh_check_interval(&config, true, CHECK_UNCHANGED, true, draws), 1000000000 + 1234567890123 % 500000000);
	config.interval_jitter_percent = UINT32_MAX; /* bounded, and no overflow */
	config.interval_ns = INT64_MAX;
	assert_true(mesh_check_interval(&config, true, CHECK_UNCHANGED, true, draws) > 0);
	config = usual;
	config.interval_jitter_ns = 1000;
	assert_int_equal(mesh_check_interval(&config, true, CHECK_UNCHANGED, true, draws), 1000000777);
	config.interval_ns = 1;
	config.interval_jitter_ns = 0;
	assert_int_equal(mesh_check_interval(&config, true, CHECK_UNCHANGED, true, draws), 1000000);
}

static void test_the_first_one(void **state)
{
	struct health_check_config config = usual;

	assert_int_equal(mesh_check_first(&config, 5), 0);
	config.initial_jitter_ns = 3000000000;
	assert_int_equal(mesh_check_first(&config, 7000000000), 1000000000);
}

static void test_statuses(void **state)
{
	struct status_range good[] = {{200, 299}, {404, 404}}, again[] = {{503, 503}};
	struct health_check_config config = usual;

	assert_int_equal(mesh_check_status(&config, 200), CHECK_SUCCEEDED);
	assert_int_equal(mesh_check_status(&config, 204), CHECK_FAILED);
	config.expected = good;
	config.expected_count = 2;
	config.retriable = again;
	config.retriable_count = 1;
	assert_int_equal(mesh_check_status(&config, 204), CHECK_SUCCEEDED);
	assert_int_equal(mesh_check_status(&config, 300), CHECK_FAILED);
	assert_int_equal(mesh_check_status(&config, 404), CHECK_SUCCEEDED);
	assert_int_equal(mesh_check_status(&config, 503), CHECK_RETRIABLE);
}

static void test_pieces_in_their_order(void **state)
{
	struct mesh_slice pieces[] = {{"ab", 2}, {"b", 1}};
	struct health_check_config config = usual;

	assert_true(mesh_check_received(&config, MESH_SLICE("")));
	config.receive = pieces;
	config.receive_count = 2;
	assert_false(mesh_check_received(&config, MESH_SLICE("")));
	assert_false(mesh_check_received(&config, MESH_SLICE("bab")));
	assert_true(mesh_check_received(&config, MESH_SLICE("xabxxb")));
	assert_true(mesh_check_received(&config, MESH_SLICE("abb")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_first_good_check_is_enough),
		cmocka_unit_test(test_thresholds),
		cmocka_unit_test(test_an_answer_that_says_no_is_enough),
		cmocka_unit_test(test_degraded),
		cmocka_unit_test(test_intervals),
		cmocka_unit_test(test_the_first_one),
		cmocka_unit_test(test_statuses),
		cmocka_unit_test(test_pieces_in_their_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
