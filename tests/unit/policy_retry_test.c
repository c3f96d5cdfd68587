/* SPDX-License-Identifier: Apache-2.0 */
/* Which outcome asks for a retry under which words, and what a request may add. */
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

	return mesh_retry_decide(&config, &outcome, &arena) == RETRY_WITH_BACKOFF;
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
	assert_int_equal(mesh_retry_decide(NULL, &(struct retry_outcome){.status = 503}, &arena), RETRY_NOT);
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

/* What can become of a try, and under which words Envoy's router makes another: all words, all outcomes. */
static void every_word_and_outcome(void **state)
{
	static const char *const all[] = {
		"5xx", "gateway-error", "reset", "reset-before-request", "connect-failure", "envoy-ratelimited", "retriable-4xx",
		"refused-stream", "retriable-status-codes", "retriable-headers", "http3-post-connect-failure", "cancelled",
		"deadline-exceeded", "internal", "resource-exhausted", "unavailable",
	};
	static const struct {
		struct retry_outcome outcome;
		const char *header, *value; /* of the response */
		const char *retried_by;     /* words, each with a comma behind */
	} rows[] = {
		{{.status = 200}, NULL, NULL, ""},
		{{.status = 404}, NULL, NULL, ""},
		{{.status = 409}, NULL, NULL, "retriable-4xx,"},
		{{.status = 418}, NULL, NULL, "retriable-status-codes,"},
		{{.status = 500}, NULL, NULL, "5xx,"},
		{{.status = 501}, NULL, NULL, "5xx,"},
		{{.status = 502}, NULL, NULL, "5xx,gateway-error,"},
		{{.status = 503}, NULL, NULL, "5xx,gateway-error,retriable-status-codes,"},
		{{.status = 504}, NULL, NULL, "5xx,gateway-error,"},
		{{.status = 505}, NULL, NULL, "5xx,"},
		{{.status = 599}, NULL, NULL, "5xx,"},
		{{.status = 429}, "x-envoy-ratelimited", "true", "envoy-ratelimited,"},
		{{.status = 503}, "x-envoy-ratelimited", "true", "envoy-ratelimited,"},
		{{.status = 200}, "x-again", "", "retriable-headers,"},
		{{.status = 503}, "x-again", "", "5xx,gateway-error,retriable-status-codes,retriable-headers,"},
		{{.status = 200}, "grpc-status", "0", ""},
		{{.status = 200}, "grpc-status", "1", "cancelled,"},
		{{.status = 200}, "grpc-status", "2", ""},
		{{.status = 200}, "grpc-status", "4", "deadline-exceeded,"},
		{{.status = 200}, "grpc-status", "8", "resource-exhausted,"},
		{{.status = 200}, "grpc-status", "13", "internal,"},
		{{.status = 200}, "grpc-status", "14", "unavailable,"},
		{{.status = 200}, "grpc-status", "99", ""},
		{{.error = MESH_ERROR_CONNECT, .connect_failed = true, .unprocessed = true}, NULL, NULL,
		 "5xx,gateway-error,reset,reset-before-request,connect-failure,"},
		{{.error = MESH_ERROR_CONNECT_TIMEOUT, .connect_failed = true, .unprocessed = true}, NULL, NULL,
		 "5xx,gateway-error,reset,reset-before-request,connect-failure,"},
		{{.error = MESH_ERROR_TLS, .connect_failed = true, .unprocessed = true}, NULL, NULL,
		 "5xx,gateway-error,reset,reset-before-request,connect-failure,"},
		{{.error = MESH_ERROR_RESET, .unprocessed = false}, NULL, NULL, "5xx,gateway-error,reset,reset-before-request,"},
		{{.error = MESH_ERROR_RESET, .request_sent = true}, NULL, NULL, "5xx,gateway-error,reset,"},
		{{.error = MESH_ERROR_REMOTE_RESET, .request_sent = true}, NULL, NULL, "5xx,gateway-error,reset,"},
		{{.error = MESH_ERROR_PROTOCOL, .request_sent = true}, NULL, NULL, "5xx,gateway-error,reset,"},
		{{.error = MESH_ERROR_REFUSED, .request_sent = true, .unprocessed = true}, NULL, NULL,
		 "5xx,gateway-error,reset,refused-stream,"},
		{{.error = MESH_ERROR_TIMEOUT, .request_sent = true, .per_try_timeout = true}, NULL, NULL,
		 "5xx,gateway-error,reset,"},
		{{.error = MESH_ERROR_TIMEOUT, .request_sent = true}, NULL, NULL, ""},
		{{.error = MESH_ERROR_OVERFLOW, .unprocessed = true}, NULL, NULL, ""},
		{{.error = MESH_ERROR_NO_ENDPOINT, .unprocessed = true}, NULL, NULL, ""},
	};
	uint32_t codes[] = {418, 503};
	struct header_match again = {.name = S("x-again"), .kind = HEADER_MATCH_PRESENT};

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct headers headers = {0};
		struct retry_outcome outcome = rows[i].outcome;

		outcome.headers = outcome.error ? NULL : &headers;
		if (rows[i].header)
			assert_int_equal(mesh_headers_add(&headers, &arena, S(rows[i].header), S(rows[i].value)), 0);
		for (size_t k = 0; k < COUNT(all); k++) {
			struct retry_config config = {.on = parse(all[k]), .status_codes = codes, .status_code_count = 2,
						      .retriable_headers = &again, .retriable_header_count = 1};
			struct mesh_slice rest = S(rows[i].retried_by);
			bool expected = false;

			while (rest.len)
				expected |= mesh_slice_equal(mesh_slice_cut(&rest, ','), S(all[k]));
			if ((mesh_retry_decide(&config, &outcome, &arena) == RETRY_WITH_BACKOFF) != expected)
				fail_msg("row %zu: %s", i, all[k]);
			outcome.head_received = true;
			assert_int_equal(mesh_retry_decide(&config, &outcome, &arena), RETRY_NOT);
			outcome.head_received = false;
		}
	}
}

static void too_early(void **state)
{
	uint32_t codes[] = {425};
	struct retry_config config = {.on = RETRY_RETRIABLE_STATUS_CODES, .status_codes = codes, .status_code_count = 1};
	struct retry_outcome outcome = {.status = 425};

	assert_int_equal(mesh_retry_decide(&config, &outcome, &arena), RETRY_AT_ONCE);
	outcome.early = true;
	assert_int_equal(mesh_retry_decide(&config, &outcome, &arena), RETRY_NOT);
	config.on = RETRY_RETRIABLE_4XX;
	assert_int_equal(mesh_retry_decide(&config, &outcome, &arena), RETRY_NOT);
}

static bool hedged(bool configured, struct headers *headers)
{
	struct route_request request = {.headers = headers};
	const struct retry_config *use;

	assert_int_equal(mesh_retry_policy(NULL, &request, true, &configured, &arena, &use), 0);
	assert_null(use); /* it is no retry policy */
	return configured;
}

static void hedging(void **state)
{
	struct headers none = {0}, yes = {0}, no = {0}, odd = {0};
	struct retry_config base = {.on = RETRY_5XX, .retries = 3}, limited = base;
	struct header_match never = {.name = S("x-may"), .kind = HEADER_MATCH_PRESENT};
	struct route_request request = {.headers = &none};
	const struct retry_config *use;
	bool on = true;

	mesh_headers_add(&yes, &arena, S("X-Envoy-Hedge-On-Per-Try-Timeout"), S("true"));
	mesh_headers_add(&no, &arena, S("x-envoy-hedge-on-per-try-timeout"), S("false"));
	mesh_headers_add(&odd, &arena, S("x-envoy-hedge-on-per-try-timeout"), S("True"));
	assert_false(hedged(false, &none));
	assert_true(hedged(false, &yes));
	assert_false(hedged(false, &odd));
	assert_true(hedged(true, &none));
	assert_true(hedged(true, &odd));
	assert_false(hedged(true, &no));
	/* who may not be retried is hedged all the same */
	limited.retriable_request_headers = &never;
	limited.retriable_request_header_count = 1;
	assert_int_equal(mesh_retry_policy(&limited, &request, true, &on, &arena, &use), 0);
	assert_int_equal(use->on, 0);
	assert_int_equal(use->retries, 3);
	on = false;
	assert_int_equal(mesh_retry_policy(&limited, &request, true, &on, &arena, &use), 0);
	assert_null(use);
}

static void endpoints_left_out(void **state)
{
	struct mesh_slice items[] = {S("x"), S("new")};
	struct lb_label plain[] = {{.key = S("a"), .value = S("b")}, {.key = S("stage"), .value = S("new")}},
			several[] = {{.key = S("stage"), .list = true, .items = items, .item_count = 2}},
			canary[] = {{.key = S("canary"), .value = S("true")}};
	struct label stage[] = {{S("stage"), S("new")}}, both[] = {{S("a"), S("b")}, {S("stage"), S("old")}};
	struct retry_config config = {.omit = stage, .omit_count = 1}, none = {0}, canaries = {.omit_canary = true};

	assert_true(mesh_retry_omits(&config, plain, 2));
	assert_true(mesh_retry_omits(&config, several, 1));
	assert_false(mesh_retry_omits(&config, canary, 1));
	assert_false(mesh_retry_omits(&config, NULL, 0));
	config.omit = both;
	config.omit_count = 2;
	assert_false(mesh_retry_omits(&config, plain, 2)); /* all of them */
	assert_false(mesh_retry_omits(&none, plain, 2));
	assert_true(mesh_retry_omits(&canaries, canary, 1));
	assert_false(mesh_retry_omits(&canaries, plain, 2));
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

	assert_int_equal(mesh_retry_decide(&config, &outcome, &arena), RETRY_NOT);
	outcome.status = 425;
	assert_int_equal(mesh_retry_decide(&config, &outcome, &arena), RETRY_WITH_BACKOFF);
	outcome.status = 200;
	mesh_headers_add(&headers, &arena, S("X-Again"), S(""));
	assert_int_equal(mesh_retry_decide(&config, &outcome, &arena), RETRY_WITH_BACKOFF);
	config.on = RETRY_5XX;
	assert_int_equal(mesh_retry_decide(&config, &outcome, &arena), RETRY_NOT);
}

static const struct retry_config *policy(const struct retry_config *base, struct headers *headers, bool internal)
{
	struct route_request request = {.headers = headers};
	const struct retry_config *use = (const void *)1;
	bool on = false;

	assert_int_equal(mesh_retry_policy(base, &request, internal, &on, &arena, &use), 0);
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
	assert_int_equal(policy(&base, &only_max, true)->retries, UINT32_MAX); /* as in Envoy: breakers bound it */
	mesh_headers_set(&only_max, &arena, S("x-envoy-max-retries"), S("99999999999"));
	assert_int_equal(policy(&base, &only_max, true)->retries, UINT32_MAX);
	mesh_headers_set(&only_max, &arena, S("x-envoy-max-retries"), S("many"));
	assert_int_equal(policy(&base, &only_max, true)->retries, 2);

	mesh_headers_add(&names, &arena, S("x-envoy-retry-on"), S("retriable-headers"));
	mesh_headers_add(&names, &arena, S("x-envoy-retriable-header-names"), S("x-one, X-Two"));
	use = policy(NULL, &names, true);
	assert_int_equal(use->retries, 1);
	assert_int_equal(use->retriable_header_count, 2);
	struct headers response = {0};
	assert_int_equal(mesh_retry_decide(use, &(struct retry_outcome){.status = 200, .headers = &response}, &arena), RETRY_NOT);
	mesh_headers_add(&response, &arena, S("x-two"), S("1"));
	assert_int_equal(mesh_retry_decide(use, &(struct retry_outcome){.status = 200, .headers = &response}, &arena), RETRY_WITH_BACKOFF);
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
	bool on = false;

	mesh_headers_add(&headers, &arena, S("x-envoy-retry-on"), S("5xx"));
	mesh_arena_init(&tiny, &mesh_mem_default, 1);
	assert_int_equal(mesh_retry_policy(NULL, &request, true, &on, &tiny, &use), MESH_ERROR_NOMEM);
	assert_null(use);
	mesh_arena_free(&tiny);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(words), cmocka_unit_test(statuses), cmocka_unit_test(failures), cmocka_unit_test(grpc),
		cmocka_unit_test(every_word_and_outcome), cmocka_unit_test(too_early),
		cmocka_unit_test(hedging), cmocka_unit_test(endpoints_left_out),
		cmocka_unit_test(ratelimited), cmocka_unit_test(response_headers), cmocka_unit_test(merging),
		cmocka_unit_test(request_headers), cmocka_unit_test(merging_without_memory),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
