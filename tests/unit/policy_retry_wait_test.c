/* SPDX-License-Identifier: Apache-2.0 */
/* How long to wait before another try: as the peer asks, or longer each time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <mesh/error.h>

#include "config/cluster.h"
#include "policy/retry.h"

#define S(text) mesh_slice_of(text)
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define MS 1000000ll

static struct arena arena;

static int setup(void **state)
{
	mesh_arena_init(&arena, &mesh_mem_default, 0);
	return 0;
}

static int teardown(void **state)
{
	mesh_arena_free(&arena);
	return 0;
}

static uint64_t reset_after(const struct retry_config *config, const char *name, const char *value, uint64_t now_s)
{
	struct headers headers = {0};
	struct rand rand;

	mesh_rand_seed(&rand, 7);
	assert_int_equal(mesh_headers_add(&headers, &arena, S(name), S(value)), 0);
	return mesh_retry_reset_ns(config, &headers, now_s, &rand);
}

static void reset_headers(void **state)
{
	struct reset_header names[] = {{S("retry-after"), false}, {S("x-ratelimit-reset"), true}};
	struct retry_config config = {.reset_headers = names, .reset_header_count = 2, .reset_max_ns = 300 * 1000 * MS};
	uint64_t second = 1000 * MS;

	/* as long as was asked, and up to half of it more */
	assert_in_range(reset_after(&config, "Retry-After", "2", 1000), 2 * second, 3 * second - 1);
	assert_in_range(reset_after(&config, "x-ratelimit-reset", "1010", 1000), 10 * second, 15 * second - 1);
	assert_in_range(reset_after(&config, "retry-after", "300", 1000), 300 * second, 450 * second);
	assert_int_equal(reset_after(&config, "retry-after", "301", 1000), 0);
	assert_int_equal(reset_after(&config, "retry-after", "0", 1000), 0);
	assert_int_equal(reset_after(&config, "retry-after", "Wed, 21 Oct 2026 07:28:00 GMT", 1000), 0);
	assert_int_equal(reset_after(&config, "retry-after", "99999999999999999999999", 1000), 0);
	assert_int_equal(reset_after(&config, "x-ratelimit-reset", "999", 1000), 0); /* past */
	assert_int_equal(reset_after(&config, "x-ratelimit-reset", "18446744073709551615", 1000), 0);
	assert_int_equal(reset_after(&config, "x-other", "2", 1000), 0);
}

/* Highest wait seen in many draws before each retry: just under the window, which doubles up to the limit. */
static void backoff(void **state)
{
	static const uint64_t windows_ms[] = {25, 50, 100, 200, 250, 250, 250};
	struct retry_config config = {0}, odd = {.backoff_base_ns = 10 * MS, .backoff_max_ns = 3 * MS},
			    own = {.backoff_base_ns = 10 * MS, .backoff_max_ns = 35 * MS};
	struct rand rand;

	mesh_rand_seed(&rand, 1);
	for (unsigned number = 1; number <= COUNT(windows_ms); number++) {
		uint64_t high = 0, sum = 0;

		for (unsigned i = 0; i < 5000; i++) {
			uint64_t ns = mesh_retry_backoff_ns(&config, number, &rand);

			high = ns > high ? ns : high;
			sum += ns;
		}
		assert_true(high < windows_ms[number - 1] * MS);
		assert_true(high > windows_ms[number - 1] * MS * 99 / 100);
		assert_in_range(sum / 5000, windows_ms[number - 1] * MS * 48 / 100, windows_ms[number - 1] * MS * 52 / 100);
	}
	for (unsigned i = 0; i < 1000; i++) {
		assert_true(mesh_retry_backoff_ns(&odd, 1, &rand) < 3 * MS);
		assert_true(mesh_retry_backoff_ns(&own, 2, &rand) < 20 * MS);
		assert_true(mesh_retry_backoff_ns(&own, 3, &rand) < 35 * MS);
		assert_true(mesh_retry_backoff_ns(&own, 4000000000u, &rand) < 35 * MS);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(reset_headers), cmocka_unit_test(backoff)};

	return cmocka_run_group_tests(tests, setup, teardown);
}
