/* SPDX-License-Identifier: Apache-2.0 */
/* Tries that are late and go on beside the next: who is heard in the end, and what a try tells its server. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support/tried.h"

static struct retry_config hedge_retry = {.on = RETRY_5XX,
					  .retries = 1,
					  .per_try_timeout_ns = 50 * TRIED_MS,
					  .backoff_base_ns = TRIED_MS,
					  .backoff_max_ns = 2 * TRIED_MS,
					  .previous_hosts = true,
					  .host_selection_attempts = 30};

/* Who is late goes on, and who answers first is heard. */
static void test_hedge_the_second_wins(void **state)
{
	struct tried *tried = *state;

	tried->plane.retry = &hedge_retry;
	tried->hedged = true;
	tried->answers[0].after_ms = 800;
	tried_begin(tried);
	assert_in_range(tried_expect(tried_start(tried), 0, 200, 2, "-"), 50000, 500000);
	tried_counted(tried, "upstream_rq_total", "2");
	tried_counted(tried, "upstream_rq_tx_reset", "1");
	tried_counted(tried, "upstream_rq_per_try_timeout", "0");
	tried_counted(tried, "upstream_rq_active", "0");
	assert_int_equal(atomic_load(&tried->asked[0]), 1);
	assert_int_equal(atomic_load(&tried->asked[1]), 1);
}

static void test_hedge_the_first_wins(void **state)
{
	struct tried *tried = *state;

	tried->plane.retry = &hedge_retry;
	tried->hedged = true;
	tried->answers[0].after_ms = 200;
	tried->answers[1].after_ms = 900;
	tried_begin(tried);
	/* the second is late too, and there is none left to follow it */
	assert_in_range(tried_expect(tried_start(tried), 0, 200, 2, "URX"), 150000, 700000);
	tried_counted(tried, "upstream_rq_active", "0");
	tried_counted(tried, "circuit_breakers.default.rq_retry_open", "0");
}

/* A bad answer is not taken while another may be better; the limit that was met stays told. */
static void test_hedge_a_bad_answer_waits(void **state)
{
	struct tried *tried = *state;

	tried->plane.retry = &hedge_retry;
	tried->hedged = true;
	tried->answers[0].after_ms = 250;
	tried->answers[1].text = TRIED_FAILED;
	tried_begin(tried);
	assert_in_range(tried_expect(tried_start(tried), 0, 200, 2, "URX"), 200000, 900000);
	tried_counted(tried, "upstream_rq_retry_limit_exceeded", "1");
}

/* All are bad: the last one is told. */
static void test_hedge_all_bad(void **state)
{
	struct tried *tried = *state;

	tried->plane.retry = &hedge_retry;
	tried->hedged = true;
	tried->answers[0] = (struct tried_answer){TRIED_FAILED, 150};
	tried->answers[1] = (struct tried_answer){TRIED_FAILED, 0};
	tried_begin(tried);
	tried_expect(tried_start(tried), 0, 503, 2, "URX");
	/* the same of resets: who is late is not the last */
	atomic_store(&tried->requests, 0);
	tried->answers[0] = (struct tried_answer){NULL, 150};
	tried->answers[1] = (struct tried_answer){NULL, 0};
	data_plane_publish(&tried->plane); /* on new connections: one that was kept may have ended before */
	tried_expect(tried_start(tried), MESH_ERROR_RESET, 0, 2, "UC,URX");
	tried_counted(tried, "upstream_rq_active", "0");
}

static unsigned seen_number(struct tried *tried, unsigned request, const char *name)
{
	const char *at = strcasestr(tried_request(tried, request), name);

	if (!at)
		fail_msg("no %s in %s", name, tried_request(tried, request));
	return (unsigned)strtoul(at + strlen(name), NULL, 10);
}

/* What is left of the time, and the why of the second. */
static void test_a_try_says_how_long_it_may_take(void **state)
{
	struct retry_config retry = hedge_retry;
	struct tried *tried = *state;

	retry.per_try_timeout_ns = 500 * TRIED_MS;
	tried->plane.retry = &retry;
	tried->plane.timeout_ns = 900 * TRIED_MS;
	tried->answers[0].after_ms = 800;
	tried->timeout_retry = true;
	tried_begin(tried);
	tried_expect(tried_start(tried), 0, 200, 2, "-");
	assert_int_equal(seen_number(tried, 0, "x-envoy-expected-rq-timeout-ms: "), 500);
	assert_in_range(seen_number(tried, 1, "x-envoy-expected-rq-timeout-ms: "), 1, 400); /* less than a try may take: what is left */
	assert_int_equal(seen_number(tried, 0, "x-envoy-attempt-count: "), 1);
	assert_int_equal(seen_number(tried, 1, "x-envoy-attempt-count: "), 2);
	assert_null(strcasestr(tried_request(tried, 0), "x-envoy-is-timeout-retry"));
	assert_non_null(strcasestr(tried_request(tried, 1), "x-envoy-is-timeout-retry: true\r\n"));
}

/* Without it the same try is given up. */
static void test_no_hedge(void **state)
{
	struct tried *tried = *state;

	tried->plane.retry = &hedge_retry;
	tried->answers[0].after_ms = 300;
	tried->answers[1].after_ms = 300;
	tried_begin(tried);
	tried_expect(tried_start(tried), MESH_ERROR_TIMEOUT, 0, 2, "UT,URX");
	tried_counted(tried, "upstream_rq_per_try_timeout", "2");
}

static void test_hedge_ends_with_the_call(void **state)
{
	struct tried *tried = *state;

	tried->plane.retry = &hedge_retry;
	tried->plane.timeout_ns = 150 * TRIED_MS;
	tried->hedged = true;
	tried->answers[0].after_ms = tried->answers[1].after_ms = 400;
	tried_begin(tried);
	tried_expect(tried_start(tried), MESH_ERROR_TIMEOUT, 0, 2, "UT,URX");
	tried_counted(tried, "upstream_rq_timeout", "2");
	tried_counted(tried, "upstream_rq_active", "0");
}

/* Whatever there is no memory for, a hedged call comes to its end and leaves nothing behind. */
static void test_no_memory_for_a_hedge(void **state)
{
	struct tried *tried = *state;
	size_t failed = 1;

	tried->plane.retry = &hedge_retry;
	tried->plane.timeout_ns = 3000LL * TRIED_MS;
	tried->hedged = true;
	tried_begin(tried);
	tried_expect(tried_start(tried), 0, 200, 1, "-");
	tried_expect(tried_start(tried), 0, 200, 1, "-");
	for (size_t n = 1; failed; n++) {
		struct mesh_request request = {
			.size = sizeof(request), .authority = mesh_slice_of("reviews:9080"), .worker = tried->worker};
		struct mesh_call *call;

		atomic_store(&tried->requests, 0);
		tried->answers[0].after_ms = 120;
		atomic_store(&tried->mem.failed, 0);
		tried->mem.fail_at = atomic_load(&tried->mem.calls) + n;
		if (!mesh_call_start(tried->plane.mesh, &request, NULL, NULL, &call)) {
			int rc = mesh_call_wait(call, TRIED_WAIT_MS);

			if (rc && rc != MESH_ERROR_NOMEM)
				fail_msg("allocation %zu: %s", n, mesh_call_result(call)->why.data);
			mesh_call_release(call);
		}
		tried->mem.fail_at = 0;
		failed = atomic_load(&tried->mem.failed);
	}
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, tried_open, tried_close)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_hedge_the_second_wins),           CASE(test_hedge_the_first_wins),
		CASE(test_hedge_a_bad_answer_waits),        CASE(test_hedge_all_bad),
		CASE(test_a_try_says_how_long_it_may_take), CASE(test_no_hedge),
		CASE(test_hedge_ends_with_the_call),        CASE(test_no_memory_for_a_hedge),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
