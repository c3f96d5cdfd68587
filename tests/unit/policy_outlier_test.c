/* SPDX-License-Identifier: Apache-2.0 */
/* Outlier detection: who is detected, ejected, for how long. Numbers are worked out from Envoy's rules by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/rand.h"
#include "policy/outlier.h"

#define SECOND 1000000000ull

static const struct outlier_config usual = {
	.on = true,
	.consecutive_5xx = 5,
	.consecutive_gateway = 5,
	.consecutive_local = 5,
	.enforcing_5xx = 100,
	.enforcing_local = 100,
	.enforcing_success_rate = 100,
	.enforcing_local_success_rate = 100,
	.success_rate_minimum_hosts = 5,
	.success_rate_request_volume = 100,
	.success_rate_stdev_factor = 1900,
	.failure_threshold = 85,
	.failure_minimum_hosts = 5,
	.failure_request_volume = 50,
	.interval_ns = 10 * SECOND,
	.base_ejection_ns = 30 * SECOND,
	.max_ejection_ns = 300 * SECOND,
	.max_ejection_percent = 10,
};

static unsigned answer(struct outlier_runs *runs, const struct outlier_config *config, int status)
{
	struct outlier_verdict verdict = mesh_outlier_judge(config, status, false, false, false);

	return mesh_outlier_count(runs, config, &verdict);
}

static unsigned failure(struct outlier_runs *runs, const struct outlier_config *config, bool timeout, bool connected)
{
	struct outlier_verdict verdict = mesh_outlier_judge(config, 0, true, timeout, connected);

	return mesh_outlier_count(runs, config, &verdict);
}

static void test_runs_of_errors(void **state)
{
	struct outlier_runs runs = {0};

	for (int i = 0; i < 4; i++)
		assert_int_equal(answer(&runs, &usual, 500), 0);
	assert_int_equal(answer(&runs, &usual, 200), 0); /* ends the run */
	for (int i = 0; i < 4; i++)
		assert_int_equal(answer(&runs, &usual, 599), 0);
	assert_int_equal(answer(&runs, &usual, 500), 1u << OUTLIER_5XX);
	assert_int_equal(answer(&runs, &usual, 500), 0); /* told once, until somebody has decided on it */
	mesh_outlier_forget_run(&runs, OUTLIER_5XX);
	for (int i = 0; i < 4; i++)
		assert_int_equal(answer(&runs, &usual, 501), 0);
	assert_int_equal(answer(&runs, &usual, 501), 1u << OUTLIER_5XX);
}

static void test_gateway_errors_are_502_to_504(void **state)
{
	static const int statuses[] = {502, 503, 504, 502};
	struct outlier_runs runs = {0};

	for (int i = 0; i < 4; i++)
		assert_int_equal(answer(&runs, &usual, statuses[i]), 0);
	assert_int_equal(answer(&runs, &usual, 503), 1u << OUTLIER_GATEWAY | 1u << OUTLIER_5XX);
	mesh_outlier_forget_runs(&runs);
	for (int i = 0; i < 4; i++)
		answer(&runs, &usual, 503);
	assert_int_equal(answer(&runs, &usual, 500), 1u << OUTLIER_5XX); /* an error, and none of a gateway */
	assert_int_equal(answer(&runs, &usual, 503), 0);
	assert_int_equal(answer(&runs, &usual, 499), 0);
	assert_int_equal(answer(&runs, &usual, 600), 0);
	assert_int_equal(atomic_load(&runs.errors), 0);
}

static void test_a_limit_of_none_is_never_reached(void **state)
{
	struct outlier_config config = usual;
	struct outlier_runs runs = {0};

	config.consecutive_5xx = config.consecutive_gateway = 0;
	for (int i = 0; i < 1000; i++)
		assert_int_equal(answer(&runs, &config, 503), 0);
}

static void test_failures_on_our_side(void **state)
{
	struct outlier_config config = usual;
	struct outlier_runs runs = {0};

	assert_int_equal(mesh_outlier_judge(&config, 0, true, true, true).status, 504);
	assert_int_equal(mesh_outlier_judge(&config, 0, true, false, false).status, 503);
	for (int i = 0; i < 4; i++)
		failure(&runs, &config, i % 2, i % 2);
	assert_int_equal(failure(&runs, &config, false, false), 1u << OUTLIER_GATEWAY | 1u << OUTLIER_5XX);
	mesh_outlier_forget_runs(&runs);
	config.split_local = true; /* told apart: neither run knows of the other */
	for (int i = 0; i < 4; i++)
		assert_int_equal(failure(&runs, &config, false, false), 0);
	for (int i = 0; i < 4; i++)
		assert_int_equal(answer(&runs, &config, 503), 0);
	assert_int_equal(failure(&runs, &config, true, false), 1u << OUTLIER_LOCAL);
	assert_int_equal(answer(&runs, &config, 503), 1u << OUTLIER_GATEWAY | 1u << OUTLIER_5XX);
	mesh_outlier_forget_runs(&runs);
	for (int i = 0; i < 20; i++) { /* a connection that came about ends the run each time */
		struct outlier_verdict connected = {.connected = true};

		assert_int_equal(mesh_outlier_count(&runs, &config, &connected), 0);
		assert_int_equal(failure(&runs, &config, true, false), 0);
	}
}

static void test_room(void **state)
{
	struct outlier_config config = usual;

	assert_true(mesh_outlier_room(&config, 0, 10));
	assert_false(mesh_outlier_room(&config, 1, 10));
	assert_false(mesh_outlier_room(&config, 0, 9)); /* 11.1 % */
	assert_false(mesh_outlier_room(&config, 0, 1));
	config.always_eject_one = true;
	assert_true(mesh_outlier_room(&config, 0, 1));
	assert_false(mesh_outlier_room(&config, 1, 2));
	config.max_ejection_percent = 100;
	assert_true(mesh_outlier_room(&config, 1, 2));
	assert_false(mesh_outlier_room(&config, 2, 2));
	config.max_ejection_percent = 0;
	config.always_eject_one = false;
	assert_false(mesh_outlier_room(&config, 0, 1000));
}

static void test_enforcement(void **state)
{
	struct outlier_config config = usual;

	config.enforcing_5xx = 30;
	assert_true(mesh_outlier_enforced(&config, OUTLIER_5XX, 129));
	assert_false(mesh_outlier_enforced(&config, OUTLIER_5XX, 130));
	assert_false(mesh_outlier_enforced(&config, OUTLIER_GATEWAY, 0));
	assert_true(mesh_outlier_enforced(&config, OUTLIER_LOCAL, 99));
	assert_true(mesh_outlier_enforced(&config, OUTLIER_LOCAL_SUCCESS_RATE, 99));
	assert_false(mesh_outlier_enforced(&config, OUTLIER_LOCAL_FAILURE, 0));
}

static void test_ejections_grow_and_shrink(void **state)
{
	struct outlier_history history = {0};
	uint64_t now = 1000 * SECOND;

	for (uint32_t i = 1; i <= 12; i++) { /* 30, 60, .. up to 300 s; the multiplier stops at 11 */
		uint64_t expected = (i < 10 ? i : 10) * 30 * SECOND;

		mesh_outlier_eject(&history, &usual, now, 7);
		assert_int_equal(history.multiplier, i < 11 ? i : 11);
		assert_int_equal(mesh_outlier_duration(&history, &usual), expected);
		assert_false(mesh_outlier_due(&history, &usual, now + expected - 1));
		assert_true(mesh_outlier_due(&history, &usual, now + expected));
		now += expected;
		mesh_outlier_return(&history, now);
	}
	assert_int_equal(history.ejections, 12);
	mesh_outlier_calm(&history, &usual, now + 10 * SECOND - 1);
	assert_int_equal(history.multiplier, 11);
	for (uint32_t left = 11; left--;) {
		now += 10 * SECOND;
		mesh_outlier_calm(&history, &usual, now);
		assert_int_equal(history.multiplier, left);
	}
	mesh_outlier_calm(&history, &usual, now + 10 * SECOND);
	assert_int_equal(history.multiplier, 0);
}

static void test_jitter_in_milliseconds(void **state)
{
	struct outlier_config config = usual;
	struct outlier_history history = {0};

	config.max_ejection_jitter_ns = 2 * SECOND;
	mesh_outlier_eject(&history, &config, 0, 2000);
	assert_int_equal(mesh_outlier_duration(&history, &config), 32 * SECOND);
	mesh_outlier_eject(&history, &config, 0, 2001); /* % 2001 */
	assert_int_equal(mesh_outlier_duration(&history, &config), 60 * SECOND);
	mesh_outlier_eject(&history, &config, 0, 2002);
	assert_int_equal(mesh_outlier_duration(&history, &config), 90 * SECOND + 1000000);
}

/* {50, 100, 100, 100, 100}: mean 90, deviation 20, threshold 90 - 1.9 * 20 = 52. */
static void test_success_rates(void **state)
{
	struct outlier_rate rates[6] = {{.success = 50, .volume = 100}, {.success = 100, .volume = 100},
					{.success = 100, .volume = 100}, {.success = 100, .volume = 100},
					{.success = 100, .volume = 100}, {.success = 0, .volume = 49}};
	struct outlier_level level;

	mesh_outlier_rate(&usual, rates, 6, &level);
	assert_float_equal(level.mean, 90, 1e-9);
	assert_float_equal(level.threshold, 52, 1e-9);
	assert_int_equal(rates[0].causes, 1u << OUTLIER_SUCCESS_RATE);
	assert_int_equal(rates[1].causes, 0);
	assert_int_equal(rates[5].causes, 0); /* too few answers */
	assert_true(rates[4].shown);
	assert_false(rates[5].shown);
	rates[5] = (struct outlier_rate){.success = 15, .volume = 50}; /* 85 % failed */
	for (int i = 0; i < 5; i++)
		rates[i].success = 100;
	mesh_outlier_rate(&usual, rates, 6, &level);
	assert_float_equal(level.threshold, 100, 1e-9);
	assert_int_equal(rates[5].causes, 1u << OUTLIER_FAILURE);
	rates[0].ejected = true; /* four are left that count for success, five for failure */
	mesh_outlier_rate(&usual, rates, 6, &level);
	assert_float_equal(level.threshold, -1, 0);
	assert_int_equal(rates[5].causes, 1u << OUTLIER_FAILURE);
	mesh_outlier_rate(&usual, rates + 2, 4, &level); /* too few there are */
	assert_int_equal(rates[5].causes, 0);
	assert_false(rates[5].shown);
	mesh_outlier_rate(&usual, NULL, 0, &level);
	assert_float_equal(level.mean, -1, 0);
}

/* Ticks nobody was there for give what they would have given one by one. */
static void test_catching_up(void **state)
{
	struct rand rand;

	mesh_rand_seed(&rand, 5);
	for (int round = 0; round < 20000; round++) {
		struct outlier_config config = usual;
		struct outlier_history slow = {.multiplier = (uint32_t)mesh_rand_below(&rand, 12)}, quick;
		uint64_t first = 1000 * SECOND, ticks = mesh_rand_below(&rand, 60);
		bool returned = false, expected;

		config.interval_ns = (int64_t)(1 + mesh_rand_below(&rand, 20)) * (int64_t)SECOND;
		if (mesh_rand_below(&rand, 2))
			mesh_outlier_return(&slow, first - mesh_rand_below(&rand, 100) * SECOND);
		if (mesh_rand_below(&rand, 2))
			mesh_outlier_eject(&slow, &config, first - mesh_rand_below(&rand, 400) * SECOND, 0);
		quick = slow;
		for (uint64_t i = 0; i < ticks; i++) {
			uint64_t now = first + i * (uint64_t)config.interval_ns;

			if (mesh_outlier_due(&slow, &config, now)) {
				mesh_outlier_return(&slow, now);
				returned = true;
			}
			mesh_outlier_calm(&slow, &config, now);
		}
		expected = mesh_outlier_catch_up(&quick, &config, first, ticks);
		assert_int_equal(returned, expected);
		assert_memory_equal(&slow, &quick, sizeof(slow));
	}
}

enum { HOSTS_MAX = 40 };

/* Whatever answers come: never more are ejected than may be, and nobody for longer than may be. */
static void test_bounds_hold(void **state)
{
	struct rand rand;

	mesh_rand_seed(&rand, 11);
	for (int round = 0; round < 300; round++) {
		struct outlier_config config = usual;
		struct outlier_runs runs[HOSTS_MAX] = {{0}};
		struct outlier_history history[HOSTS_MAX] = {{0}};
		uint32_t hosts = 1 + (uint32_t)mesh_rand_below(&rand, HOSTS_MAX), ejected = 0, most;

		config.consecutive_5xx = 1 + (uint32_t)mesh_rand_below(&rand, 4);
		config.max_ejection_percent = (uint32_t)mesh_rand_below(&rand, 101);
		config.always_eject_one = mesh_rand_below(&rand, 2);
		config.max_ejection_jitter_ns = (int64_t)(mesh_rand_below(&rand, 5) * SECOND);
		most = hosts * config.max_ejection_percent / 100;
		most = !most && config.always_eject_one ? 1 : most;
		for (uint64_t now = SECOND; now < 3000 * SECOND; now += SECOND) {
			uint32_t i = (uint32_t)mesh_rand_below(&rand, hosts);

			for (uint32_t h = 0; h < hosts && now % (10 * SECOND) == 0; h++) {
				if (mesh_outlier_due(&history[h], &config, now)) {
					mesh_outlier_return(&history[h], now);
					ejected--;
				}
				mesh_outlier_calm(&history[h], &config, now);
			}
			if (answer(&runs[i], &config, 500) && !history[i].ejected &&
			    mesh_outlier_room(&config, ejected, hosts)) {
				mesh_outlier_eject(&history[i], &config, now, mesh_rand_next(&rand));
				ejected++;
				mesh_outlier_forget_runs(&runs[i]);
			}
			assert_true(ejected <= most);
			assert_true(mesh_outlier_duration(&history[i], &config) <=
				    (uint64_t)(config.max_ejection_ns + config.max_ejection_jitter_ns));
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_runs_of_errors),
		cmocka_unit_test(test_gateway_errors_are_502_to_504),
		cmocka_unit_test(test_a_limit_of_none_is_never_reached),
		cmocka_unit_test(test_failures_on_our_side),
		cmocka_unit_test(test_room),
		cmocka_unit_test(test_enforcement),
		cmocka_unit_test(test_ejections_grow_and_shrink),
		cmocka_unit_test(test_jitter_in_milliseconds),
		cmocka_unit_test(test_success_rates),
		cmocka_unit_test(test_catching_up),
		cmocka_unit_test(test_bounds_hold),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
