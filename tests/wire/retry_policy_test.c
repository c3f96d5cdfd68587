/* SPDX-License-Identifier: Apache-2.0 */
/* What a retry policy and circuit breakers make of real peers: how long they wait, how many, where to, and what is counted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support/tried.h"

static void test_the_peer_says_how_long(void **state)
{
	static struct reset_header names[] = {{{"retry-after", 11}, false}};
	static struct retry_config retry = {.on = RETRY_5XX,
					    .retries = 2,
					    .backoff_base_ns = TRIED_MS,
					    .backoff_max_ns = 2 * TRIED_MS,
					    .reset_headers = names,
					    .reset_header_count = 1,
					    .reset_max_ns = 2000LL * TRIED_MS};
	struct tried *tried = *state;

	tried->plane.retry = &retry;
	tried->answers[0].text = "HTTP/1.1 503 No\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n";
	tried->answers[1].text =
		"HTTP/1.1 503 No\r\nRetry-After: 3\r\nContent-Length: 0\r\n\r\n"; /* too long to be heeded */
	tried_begin(tried);
	assert_in_range(tried_expect(tried_start(tried), 0, 200, 3, "-"), 1000000, 1900000);
	tried_counted(tried, "upstream_rq_retry", "2");
	tried_counted(tried, "upstream_rq_retry_success", "1");
	tried_counted(tried, "upstream_rq_retry_backoff_ratelimited", "1");
	tried_counted(tried, "upstream_rq_retry_backoff_exponential", "1");
}

static void test_retry_budget(void **state)
{
	static struct retry_config retry = {
		.on = RETRY_5XX, .retries = 5, .backoff_base_ns = TRIED_MS, .backoff_max_ns = 2 * TRIED_MS};
	struct tried *tried = *state;

	tried->plane.retry = &retry;
	tried->plane.breaker.has_budget = true; /* nothing of nothing */
	tried->plane.breaker.track_remaining = true;
	tried->answers[0].text = TRIED_FAILED;
	tried_begin(tried);
	tried_expect(tried_start(tried), 0, 503, 1, "UO");
	tried_counted(tried, "upstream_rq_retry_overflow", "1");
	tried_counted(tried, "upstream_rq_retry", "0");
	tried_counted(tried, "circuit_breakers.default.rq_retry_open", "1");
	tried_counted(tried, "circuit_breakers.default.remaining_retries", "0");
	/* a least number of them */
	tried->plane.breaker.budget_min = 1;
	atomic_store(&tried->requests, 0);
	data_plane_publish(&tried->plane);
	tried_expect(tried_start(tried), 0, 200, 2, "-");
	tried_counted(tried, "circuit_breakers.default.remaining_retries", "1");
}

/* However many calls fail at once, no more are repeated than the breaker lets. */
static void test_retry_storm_is_bounded(void **state)
{
	static struct retry_config retry = {
		.on = RETRY_5XX, .retries = 100, .backoff_base_ns = 20 * TRIED_MS, .backoff_max_ns = 20 * TRIED_MS};
	enum { CALLS = 24 };
	struct tried *tried = *state;
	struct mesh_call *calls[CALLS];
	unsigned attempts = 0;

	tried->plane.retry = &retry;
	tried->plane.breaker.retries = 2;
	tried->plane.timeout_ns = 400 * TRIED_MS;
	for (int i = 0; i < TRIED_ANSWERS; i++)
		tried->answers[i].text = TRIED_FAILED;
	tried_begin(tried);
	for (int i = 0; i < CALLS; i++)
		calls[i] = tried_start(tried);
	for (int i = 0; i < CALLS; i++) {
		mesh_call_wait(calls[i], TRIED_WAIT_MS);
		attempts += mesh_call_result(calls[i])->attempts;
		mesh_call_release(calls[i]);
	}
	/* two at a time, one each 10 ms on average, for less than half a second */
	assert_in_range(attempts, CALLS, CALLS + 150);
	tried_counted(tried, "circuit_breakers.default.rq_retry_open", "0");
}

static void test_high_priority_has_limits_of_its_own(void **state)
{
	struct tried *tried = *state;

	tried->plane.breaker.requests = 0;
	tried->breaker_high = (struct circuit_breaker){
		.connections = 4, .pending = 4, .requests = 4, .retries = 4, .track_remaining = true};
	tried_begin(tried);
	tried_expect(tried_start(tried), MESH_ERROR_OVERFLOW, 0, 1, "UO");
	tried->high = true;
	data_plane_publish(&tried->plane);
	tried_expect(tried_start(tried), 0, 200, 1, "-");
	tried_counted(tried, "circuit_breakers.default.rq_open", "1");
	tried_counted(tried, "circuit_breakers.high.rq_open", "0");
	tried_counted(tried, "circuit_breakers.high.remaining_rq", "4");
	tried_counted(tried, "circuit_breakers.high.remaining_cx", "3"); /* its connection is kept for such requests */
	tried->breaker_high.requests = 0;
	tried->plane.breaker.requests = 1;
	data_plane_publish(&tried->plane);
	tried_expect(tried_start(tried), MESH_ERROR_OVERFLOW, 0, 1, "UO");
	tried->high = false;
	data_plane_publish(&tried->plane);
	tried_expect(tried_start(tried), 0, 200, 1, "-");
}

static void test_previous_priorities(void **state)
{
	static struct retry_config retry = {.on = RETRY_5XX,
					    .retries = 1,
					    .backoff_base_ns = TRIED_MS,
					    .backoff_max_ns = 2 * TRIED_MS,
					    .previous_priorities = true,
					    .previous_priorities_update = 1};
	struct tried *tried = *state;

	tried->priorities = true;
	tried->plane.retry = &retry;
	tried_begin(tried);
	for (unsigned i = 1; i <= 10; i++) { /* the first always goes to the first priority, the other to the second */
		atomic_store(&tried->requests, 0);
		tried->answers[0].text = TRIED_FAILED;
		tried_expect(tried_start(tried), 0, 200, 2, "-");
		assert_int_equal(atomic_load(&tried->asked[0]), i);
		assert_int_equal(atomic_load(&tried->asked[1]), i);
	}
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, tried_open, tried_close)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_the_peer_says_how_long), CASE(test_retry_budget),
		CASE(test_retry_storm_is_bounded), CASE(test_high_priority_has_limits_of_its_own),
		CASE(test_previous_priorities),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
