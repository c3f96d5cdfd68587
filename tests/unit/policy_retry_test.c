/* SPDX-License-Identifier: Apache-2.0 */
/* Which outcome asks for a retry under which words, what a request may add, and how long to wait. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <mesh/error.h>

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

static uint32_t parse(const char *words)
{
	uint32_t on;

	assert_int_equal(mesh_retry_on_parse(S(words), &arena, &on, NULL, NULL), 0);
	return on;
}

static void words(void **state)
{
	uint32_t on, *codes;
	size_t count;

	assert_int_equal(parse(""), 0);
	assert_int_equal(parse("5xx"), RETRY_5XX);
	assert_int_equal(parse(" 5xx , reset "), RETRY_5XX | RETRY_RESET);
	assert_int_equal(parse("gateway-error,reset-before-request,connect-failure,envoy-ratelimited,retriable-4xx"),
			 RETRY_GATEWAY_ERROR | RETRY_RESET_BEFORE_REQUEST | RETRY_CONNECT_FAILURE |
				 RETRY_ENVOY_RATELIMITED | RETRY_RETRIABLE_4XX);
	assert_int_equal(parse("refused-stream,retriable-status-codes,retriable-headers,http3-post-connect-failure"),
			 RETRY_REFUSED_STREAM | RETRY_RETRIABLE_STATUS_CODES | RETRY_RETRIABLE_HEADERS |
				 RETRY_HTTP3_POST_CONNECT_FAILURE);
	assert_int_equal(parse("cancelled,deadline-exceeded,internal,resource-exhausted,unavailable"),
			 RETRY_GRPC_CANCELLED | RETRY_GRPC_DEADLINE_EXCEEDED | RETRY_GRPC_INTERNAL |
				 RETRY_GRPC_RESOURCE_EXHAUSTED | RETRY_GRPC_UNAVAILABLE);
	assert_int_equal(parse("nonsense,5XX,,reset"), RETRY_RESET); /* what is unknown is ignored */
	assert_int_equal(mesh_retry_on_parse(S("503, reset,99,600,429,x5"), &arena, &on, &codes, &count), 0);
	assert_int_equal(on, RETRY_RESET);
	assert_int_equal(count, 2);
	assert_int_equal(codes[0], 503);
	assert_int_equal(codes[1], 429);
}

static bool wanted(const char *on, struct retry_outcome outcome)
{
	uint32_t codes[] = {418, 503};
	struct retry_config config = {.on = parse(on), .status_codes = codes, .status_code_count = 2};

	return mesh_retry_wanted(&config, &outcome, &arena);
}

static void statuses(void **state)
{
	static const struct {
		const char *on;
		int status;
		bool retry;
	} rows[] = {
		{"5xx", 500, true}, {"5xx", 599, true}, {"5xx", 499, false}, {"5xx", 200, false}, {"5xx", 600, false},
		{"gateway-error", 500, false}, {"gateway-error", 502, true}, {"gateway-error", 503, true},
		{"gateway-error", 504, true}, {"gateway-error", 505, false},
		{"retriable-4xx", 409, true}, {"retriable-4xx", 429, false},
		{"retriable-status-codes", 418, true}, {"retriable-status-codes", 503, true},
		{"retriable-status-codes", 500, false},
		{"reset,connect-failure,refused-stream,reset-before-request", 503, false},
		{"retriable-headers", 503, false}, {"unavailable", 503, false},
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		if (wanted(rows[i].on, (struct retry_outcome){.status = rows[i].status}) != rows[i].retry)
			fail_msg("row %zu: %s on %d", i, rows[i].on, rows[i].status);
	}
	assert_false(wanted("5xx", (struct retry_outcome){.status = 503, .head_received = true}));
	assert_false(mesh_retry_wanted(NULL, &(struct retry_outcome){.status = 503}, &arena));
}

static void failures(void **state)
{
	static const struct {
		const char *on;
		struct retry_outcome outcome;
		bool retry;
	} rows[] = {
		{"connect-failure", {.error = MESH_ERROR_CONNECT, .connect_failed = true}, true},
		{"connect-failure", {.error = MESH_ERROR_TLS, .connect_failed = true}, true},
		{"connect-failure", {.error = MESH_ERROR_PEER_IDENTITY, .connect_failed = true}, true},
		{"connect-failure", {.error = MESH_ERROR_CONNECT_TIMEOUT, .connect_failed = true}, true},
		{"connect-failure", {.error = MESH_ERROR_CERTIFICATE, .connect_failed = true}, true},
		{"connect-failure", {.error = MESH_ERROR_RESET, .request_sent = true}, false},
		{"connect-failure", {.error = MESH_ERROR_TIMEOUT, .connect_failed = true, .per_try_timeout = true}, false},
		{"5xx", {.error = MESH_ERROR_CONNECT, .connect_failed = true}, true},
		{"5xx", {.error = MESH_ERROR_RESET, .request_sent = true}, true},
		{"5xx", {.error = MESH_ERROR_PROTOCOL, .request_sent = true}, true},
		{"5xx", {.error = MESH_ERROR_TIMEOUT, .request_sent = true, .per_try_timeout = true}, true},
		{"5xx", {.error = MESH_ERROR_TIMEOUT, .request_sent = true}, false}, /* the whole request's time is up */
		{"gateway-error", {.error = MESH_ERROR_RESET, .request_sent = true}, true},
		{"reset", {.error = MESH_ERROR_RESET, .request_sent = true}, true},
		{"reset", {.error = MESH_ERROR_REMOTE_RESET, .request_sent = true}, true},
		{"reset", {.error = MESH_ERROR_CONNECT, .connect_failed = true}, true},
		{"reset", {.error = MESH_ERROR_TIMEOUT, .per_try_timeout = true, .request_sent = true}, true},
		{"reset-before-request", {.error = MESH_ERROR_RESET, .request_sent = true}, false},
		{"reset-before-request", {.error = MESH_ERROR_RESET}, true},
		{"reset-before-request", {.error = MESH_ERROR_CONNECT, .connect_failed = true}, true},
		{"refused-stream", {.error = MESH_ERROR_REFUSED, .request_sent = true, .unprocessed = true}, true},
		{"refused-stream", {.error = MESH_ERROR_RESET, .request_sent = true, .unprocessed = true}, true},
		{"refused-stream", {.error = MESH_ERROR_RESET, .request_sent = true}, false},
		{"refused-stream", {.error = MESH_ERROR_CONNECT, .connect_failed = true, .unprocessed = true}, false},
		{"retriable-status-codes,retriable-4xx,unavailable", {.error = MESH_ERROR_RESET}, false},
		{"5xx,reset", {.error = MESH_ERROR_OVERFLOW}, false},
		{"5xx,reset,connect-failure", {.error = MESH_ERROR_NO_ENDPOINT}, false},
		{"5xx,reset", {.error = MESH_ERROR_CANCELLED}, false},
		{"5xx,reset", {.error = MESH_ERROR_NOMEM}, false},
		{"5xx,reset", {.error = MESH_ERROR_DENIED}, false},
		{"5xx,reset", {.error = MESH_ERROR_RESET, .head_received = true}, false},
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		if (wanted(rows[i].on, rows[i].outcome) != rows[i].retry)
			fail_msg("row %zu: %s", i, rows[i].on);
	}
}

static void grpc(void **state)
{
	static const struct {
		const char *on, *status;
		bool retry;
	} rows[] = {
		{"cancelled", "1", true}, {"deadline-exceeded", "4", true}, {"resource-exhausted", "8", true},
		{"internal", "13", true}, {"unavailable", "14", true}, {"unavailable", "13", false}, {"cancelled", "0", false},
		{"cancelled", "x", false}, {"5xx", "14", false}, {"cancelled,unavailable", "14", true},
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct headers headers = {0};

		mesh_headers_add(&headers, &arena, S("grpc-status"), S(rows[i].status));
		if (wanted(rows[i].on, (struct retry_outcome){.status = 200, .headers = &headers}) != rows[i].retry)
			fail_msg("row %zu: %s on %s", i, rows[i].on, rows[i].status);
	}
}

static void ratelimited(void **state)
{
	struct headers headers = {0};
	struct retry_outcome outcome = {.status = 503, .headers = &headers};

	mesh_headers_add(&headers, &arena, S("x-envoy-ratelimited"), S("true"));
	assert_false(wanted("5xx", outcome)); /* the header decides alone */
	assert_true(wanted("envoy-ratelimited", outcome));
	outcome.status = 200;
	assert_true(wanted("envoy-ratelimited", outcome));
	headers.count = 0;
	assert_false(wanted("envoy-ratelimited", outcome));
}

static void response_headers(void **state)
{
	struct header_match matches[2] = {
		{.name = S("x-again"), .kind = HEADER_MATCH_PRESENT},
		{.name = S(":status"), .kind = HEADER_MATCH_STRING, .string = {.kind = STRING_MATCH_EXACT, .text = S("425")}},
	};
	struct retry_config config = {.on = RETRY_RETRIABLE_HEADERS, .retriable_headers = matches, .retriable_header_count = 2};
	struct headers headers = {0};
	struct retry_outcome outcome = {.status = 200, .headers = &headers};

	assert_false(mesh_retry_wanted(&config, &outcome, &arena));
	outcome.status = 425;
	assert_true(mesh_retry_wanted(&config, &outcome, &arena));
	outcome.status = 200;
	mesh_headers_add(&headers, &arena, S("X-Again"), S(""));
	assert_true(mesh_retry_wanted(&config, &outcome, &arena));
	config.on = RETRY_5XX;
	assert_false(mesh_retry_wanted(&config, &outcome, &arena));
}

static const struct retry_config *policy(const struct retry_config *base, struct headers *headers, bool internal)
{
	struct route_request request = {.headers = headers};
	const struct retry_config *use = (const void *)1;

	assert_int_equal(mesh_retry_policy(base, &request, internal, &arena, &use), 0);
	return use;
}

static void merging(void **state)
{
	uint32_t codes[] = {503};
	struct retry_config base = {.on = RETRY_CONNECT_FAILURE, .retries = 2, .status_codes = codes, .status_code_count = 1,
				    .previous_hosts = true};
	struct retry_config off = {.retries = 2};
	struct headers none = {0}, some = {0}, only_max = {0}, names = {0};
	const struct retry_config *use;

	assert_null(policy(NULL, &none, true));
	assert_null(policy(NULL, NULL, true));
	assert_null(policy(&off, &none, true));
	assert_ptr_equal(policy(&base, &none, true), &base);

	mesh_headers_add(&some, &arena, S("X-Envoy-Retry-On"), S("5xx, unavailable"));
	mesh_headers_add(&some, &arena, S("x-envoy-retry-grpc-on"), S("cancelled,reset"));
	mesh_headers_add(&some, &arena, S("x-envoy-max-retries"), S("7"));
	mesh_headers_add(&some, &arena, S("x-envoy-retriable-status-codes"), S("429, x, 500"));
	assert_ptr_equal(policy(&base, &some, false), &base); /* not from a stranger */
	use = policy(&base, &some, true);
	assert_int_equal(use->on, RETRY_CONNECT_FAILURE | RETRY_5XX | RETRY_GRPC_CANCELLED);
	assert_int_equal(use->retries, 7);
	assert_int_equal(use->status_code_count, 3);
	assert_int_equal(use->status_codes[0], 503);
	assert_int_equal(use->status_codes[1], 429);
	assert_int_equal(use->status_codes[2], 500);
	assert_true(use->previous_hosts);
	assert_int_equal(base.status_code_count, 1);
	assert_int_equal(base.on, RETRY_CONNECT_FAILURE);

	use = policy(NULL, &some, true);
	assert_int_equal(use->on, RETRY_5XX | RETRY_GRPC_CANCELLED);
	assert_int_equal(use->retries, 7);
	assert_int_equal(use->backoff_base_ns, 25 * MS);

	mesh_headers_add(&only_max, &arena, S("x-envoy-max-retries"), S("9"));
	assert_null(policy(NULL, &only_max, true)); /* asks for nothing */
	assert_int_equal(policy(&base, &only_max, true)->retries, 9);
	mesh_headers_set(&only_max, &arena, S("x-envoy-max-retries"), S("4294967295"));
	assert_int_equal(policy(&base, &only_max, true)->retries, 32); /* no request asks without end */

	mesh_headers_add(&names, &arena, S("x-envoy-retry-on"), S("retriable-headers"));
	mesh_headers_add(&names, &arena, S("x-envoy-retriable-header-names"), S("x-one, X-Two"));
	use = policy(NULL, &names, true);
	assert_int_equal(use->retries, 1);
	assert_int_equal(use->retriable_header_count, 2);
	struct headers response = {0};
	assert_false(mesh_retry_wanted(use, &(struct retry_outcome){.status = 200, .headers = &response}, &arena));
	mesh_headers_add(&response, &arena, S("x-two"), S("1"));
	assert_true(mesh_retry_wanted(use, &(struct retry_outcome){.status = 200, .headers = &response}, &arena));
}

static void request_headers(void **state)
{
	struct header_match matches[2] = {
		{.name = S("x-may"), .kind = HEADER_MATCH_PRESENT},
		{.name = S("x-too"), .kind = HEADER_MATCH_PRESENT},
	};
	struct retry_config base = {.on = RETRY_5XX, .retriable_request_headers = matches, .retriable_request_header_count = 2};
	struct headers headers = {0};

	assert_null(policy(&base, &headers, true));
	assert_null(policy(&base, &headers, false));
	mesh_headers_add(&headers, &arena, S("x-too"), S(""));
	assert_ptr_equal(policy(&base, &headers, false), &base);
}

static void merging_without_memory(void **state)
{
	struct headers headers = {0};
	struct route_request request = {.headers = &headers};
	const struct retry_config *use;
	struct arena tiny;

	mesh_headers_add(&headers, &arena, S("x-envoy-retry-on"), S("5xx"));
	mesh_arena_init(&tiny, &mesh_mem_default, 1);
	assert_int_equal(mesh_retry_policy(NULL, &request, true, &tiny, &use), MESH_ERROR_NOMEM);
	assert_null(use);
	mesh_arena_free(&tiny);
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
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(words), cmocka_unit_test(statuses), cmocka_unit_test(failures), cmocka_unit_test(grpc),
		cmocka_unit_test(ratelimited), cmocka_unit_test(response_headers), cmocka_unit_test(merging),
		cmocka_unit_test(request_headers), cmocka_unit_test(merging_without_memory), cmocka_unit_test(backoff),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
