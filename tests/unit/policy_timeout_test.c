/* SPDX-License-Identifier: Apache-2.0 */
/* Which time limit is in force where a route, its listener, the application and a gRPC deadline each name one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "config/listener.h"
#include "policy/timeout.h"
#include "policy/upgrade.h"

#define MS   1000000ll
#define S    (1000 * MS)
#define NONE (-1)

static void grpc_timeout_is_parsed(void **state)
{
	static const struct {
		const char *text;
		int64_t ms; /* NONE: refused */
	} cases[] = {
		{"1H", 3600000}, {"2M", 120000},  {"3S", 3000}, {"4m", 4},     {"1u", 1},	{"1000u", 1}, {"1001u", 2},
		{"1n", 1},	 {"0m", 0},	  {"0n", 0},	{"99999999H", 99999999ll * 3600000},
		{"", NONE},	 {"m", NONE},	  {"5", NONE},	{"-5m", NONE}, {"5 m", NONE},	{"5s", NONE}, {"5mm", NONE},
		{"100000000m", NONE}, /* nine digits */
	};
	uint64_t ms;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		bool taken = mesh_timeout_parse_grpc(mesh_slice_of(cases[i].text), &ms);

		if (taken != (cases[i].ms != NONE) || (taken && ms != (uint64_t)cases[i].ms))
			fail_msg("%s: %d %llu", cases[i].text, taken, taken ? (unsigned long long)ms : 0ull);
	}
}

struct limits {
	const char *what;
	struct route route; /* 0 is "none", as configured */
	int64_t per_try_ns, listener_ns;
	const char *headers; /* "name: value\n" */
	int64_t response_ns, stream_ns, expected_per_try_ns; /* stream NONE: no such limit */
	const char *grpc_timeout; /* as it goes out; NULL: none */
};

#define OLD(timeout, max) .timeout_ns = (timeout), .max_stream_duration_ns = -1, .grpc_timeout_max_ns = (max)
#define ROUTE(timeout)	  OLD(timeout, -1)
#define GRPC		  "content-type: application/grpc\n"

static const struct limits cases[] = {
	{"nothing said", {ROUTE(-1)}, 0, 0, "", 15 * S, NONE, 0, NULL},
	{"the route's", {ROUTE(3 * S)}, 0, 0, "", 3 * S, NONE, 0, NULL},
	{"none", {ROUTE(0)}, 0, 0, "", 0, NONE, 0, NULL},
	{"the listener's stream", {ROUTE(0)}, 0, 7 * S, "", 0, 7 * S, 0, NULL},
	{"Istio's route without a timeout",
	 {.timeout_ns = 0, .has_stream_limits = true, .max_stream_duration_ns = 0, .grpc_timeout_max_ns = 0},
	 0, 7 * S, "", 0, NONE, 0, NULL},
	{"the same of a gRPC request with a deadline",
	 {.timeout_ns = 0, .has_stream_limits = true, .max_stream_duration_ns = 0, .grpc_timeout_max_ns = 0},
	 0, 0, GRPC "grpc-timeout: 2S\n", 0, 2 * S, 0, "2000m"},
	{"a stream limit replaces the timeout",
	 {.timeout_ns = 3 * S, .has_stream_limits = true, .max_stream_duration_ns = 5 * S, .grpc_timeout_max_ns = -1},
	 0, 7 * S, "", 0, 5 * S, 0, NULL},
	{"a deadline nobody asked to heed",
	 {.has_stream_limits = true, .max_stream_duration_ns = 5 * S, .grpc_timeout_max_ns = -1},
	 0, 0, GRPC "grpc-timeout: 2S\n", 0, 5 * S, 0, "5000m"},
	{"a deadline past the cap",
	 {.has_stream_limits = true, .max_stream_duration_ns = 0, .grpc_timeout_max_ns = S},
	 0, 0, GRPC "grpc-timeout: 2S\n", 0, S, 0, "1000m"},
	{"a deadline less its offset",
	 {.has_stream_limits = true, .max_stream_duration_ns = 0, .grpc_timeout_max_ns = 0, .grpc_timeout_offset_ns = 500 * MS},
	 0, 0, GRPC "grpc-timeout: 2S\n", 0, 1500 * MS, 0, "1500m"},
	{"an offset larger than it",
	 {.has_stream_limits = true, .max_stream_duration_ns = 0, .grpc_timeout_max_ns = 0, .grpc_timeout_offset_ns = 3 * S},
	 0, 0, GRPC "grpc-timeout: 2S\n", 0, 0, 0, "0m"},
	{"a deadline of another request counts too, but is left as it is",
	 {.has_stream_limits = true, .max_stream_duration_ns = 0, .grpc_timeout_max_ns = 0},
	 0, 0, "content-type: application/grpc-web\ngrpc-timeout: 2S\n", 0, 2 * S, 0, "2S"},
	{"a deadline that is none",
	 {.has_stream_limits = true, .max_stream_duration_ns = 4 * S, .grpc_timeout_max_ns = 0},
	 0, 0, GRPC "grpc-timeout: soon\n", 0, 4 * S, 0, "4000m"},
	/* the older way: max_grpc_timeout */
	{"old, no deadline", {OLD(9 * S, 3 * S)}, 0, 0, GRPC, 3 * S, NONE, 0, "3000m"},
	{"old, a deadline", {OLD(9 * S, 3 * S)}, 0, 0, GRPC "grpc-timeout: 2S\n", 2 * S, NONE, 0, "2000m"},
	{"old, a deadline past the cap", {OLD(9 * S, 3 * S)}, 0, 0, GRPC "grpc-timeout: 1M\n", 3 * S,
	 NONE, 0, "3000m"},
	{"old, without a cap", {OLD(9 * S, 0)}, 0, 0, GRPC "grpc-timeout: 1M\n", 60 * S, NONE, 0, "60000m"},
	{"old, without a cap or deadline", {OLD(9 * S, 0)}, 0, 0, GRPC, 0, NONE, 0, NULL},
	{"old, an offset", {OLD(9 * S, 0), .grpc_timeout_offset_ns = S}, 0, 0,
	 GRPC "grpc-timeout: 3S\n", 2 * S, NONE, 0, "2000m"},
	{"old, an offset larger than it does not count", {OLD(9 * S, 0), .grpc_timeout_offset_ns = 4 * S},
	 0, 0, GRPC "grpc-timeout: 3S\n", 3 * S, NONE, 0, "3000m"},
	{"old, of another request", {OLD(9 * S, 3 * S)}, 0, 0, "grpc-timeout: 2S\n", 9 * S, NONE, 0, "2S"},
	{"old, a try", {OLD(9 * S, 3 * S)}, S, 0, GRPC, 3 * S, NONE, S, "1000m"},
	/* tries, and what the application asks for */
	{"a try", {ROUTE(3 * S)}, S, 0, "", 3 * S, NONE, S, NULL},
	{"a try as long as all", {ROUTE(3 * S)}, 3 * S, 0, "", 3 * S, NONE, 0, NULL},
	{"a try where all may last for ever", {ROUTE(0)}, 3 * S, 0, "", 0, NONE, 3 * S, NULL},
	{"asked for", {ROUTE(3 * S)}, S, 0, "X-Envoy-Upstream-Rq-Timeout-Ms: 100\n", 100 * MS, NONE, 0, NULL},
	{"asked for no limit", {ROUTE(3 * S)}, 0, 0, "x-envoy-upstream-rq-timeout-ms: 0\n", 0, NONE, 0, NULL},
	{"a try asked for", {ROUTE(3 * S)}, S, 0, "x-envoy-upstream-rq-per-try-timeout-ms: 200\n", 3 * S, NONE, 200 * MS, NULL},
	{"asked for in words", {ROUTE(3 * S)}, S, 0, "x-envoy-upstream-rq-timeout-ms: soon\n", 3 * S, NONE, S, NULL},
};

static void add_headers(struct headers *headers, struct arena *arena, const char *text)
{
	struct mesh_slice rest = mesh_slice_of(text);

	while (rest.len) {
		struct mesh_slice value = mesh_slice_cut(&rest, '\n');
		struct mesh_slice name = mesh_slice_cut(&value, ':');

		assert_int_equal(mesh_headers_add(headers, arena, name, mesh_slice_trim(value)), 0);
	}
}

static void limits_in_force(void **state)
{
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct limits *c = &cases[i];
		const struct retry_config retry = {.per_try_timeout_ns = c->per_try_ns};
		struct headers headers = {0};
		struct timeouts timeouts;
		struct mesh_slice out;
		struct arena arena;

		mesh_arena_init(&arena, &mesh_mem_default, 0);
		add_headers(&headers, &arena, c->headers);
		assert_int_equal(mesh_timeout_choose(&c->route, c->per_try_ns ? &retry : NULL, (uint64_t)c->listener_ns,
						     &headers, &arena, &timeouts),
				 0);
		out = mesh_headers_get(&headers, MESH_SLICE("grpc-timeout"));
		if (timeouts.response_ns != (uint64_t)c->response_ns || timeouts.has_stream != (c->stream_ns != NONE) ||
		    (timeouts.has_stream && timeouts.stream_ns != (uint64_t)c->stream_ns) ||
		    timeouts.per_try_ns != (uint64_t)c->expected_per_try_ns ||
		    !mesh_slice_equal(out, mesh_slice_of(c->grpc_timeout)))
			fail_msg("%s: response %llu, stream %d %llu, try %llu, grpc-timeout %.*s", c->what,
				 (unsigned long long)timeouts.response_ns, timeouts.has_stream,
				 (unsigned long long)timeouts.stream_ns, (unsigned long long)timeouts.per_try_ns, (int)out.len,
				 out.data ? out.data : "");
		mesh_arena_free(&arena);
	}
	(void)state;
}

/* What eight digits of milliseconds do not reach goes out in a coarser unit. */
static void long_deadlines(void **state)
{
	static const struct {
		const char *in, *out;
	} each[] = {{"99999999m", "99999999m"}, {"100000S", "100000S"}, {"99999999S", "99999999S"}, {"2000000H", "2000000H"},
		    {"99999999M", "99999999M"}, {"99999999H", "2562047H"}}; /* past what a clock holds */
	const struct route route = {.has_stream_limits = true};

	(void)state;
	for (size_t i = 0; i < sizeof(each) / sizeof(each[0]); i++) {
		struct headers headers = {0};
		struct timeouts timeouts;
		struct arena arena;

		mesh_arena_init(&arena, &mesh_mem_default, 0);
		add_headers(&headers, &arena, GRPC);
		mesh_headers_add(&headers, &arena, MESH_SLICE("grpc-timeout"), mesh_slice_of(each[i].in));
		assert_int_equal(mesh_timeout_choose(&route, NULL, 0, &headers, &arena, &timeouts), 0);
		assert_true(mesh_slice_equal(mesh_headers_get(&headers, MESH_SLICE("grpc-timeout")), mesh_slice_of(each[i].out)));
		mesh_arena_free(&arena);
	}
}

static void upgrades(void **state)
{
	struct mesh_slice listed[] = {MESH_SLICE("websocket"), MESH_SLICE("spdy/3.1")};
	struct route_upgrade own[] = {{MESH_SLICE("websocket"), false}, {MESH_SLICE("chat"), true}};
	const struct http_config http = {.upgrades = listed, .upgrade_count = 2}, none = {0};
	const struct http_config closed = {.closed_upgrades = &own[1].protocol, .closed_upgrade_count = 1};
	const struct route route = {.upgrades = own, .upgrade_count = 2}, silent = {0};

	(void)state;
	assert_true(mesh_upgrade_allowed(&http, NULL, MESH_SLICE("WebSocket")));
	assert_true(mesh_upgrade_allowed(&http, &silent, MESH_SLICE("spdy/3.1")));
	assert_false(mesh_upgrade_allowed(&http, &silent, MESH_SLICE("spdy")));
	assert_false(mesh_upgrade_allowed(&http, &route, MESH_SLICE("websocket")));
	assert_false(mesh_upgrade_allowed(&closed, &route, MESH_SLICE("chat"))); /* whose filters would not be run */
	assert_true(mesh_upgrade_allowed(&http, &route, MESH_SLICE("spdy/3.1")));
	assert_true(mesh_upgrade_allowed(&none, &route, MESH_SLICE("CHAT")));
	assert_false(mesh_upgrade_allowed(&none, &silent, MESH_SLICE("chat")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(grpc_timeout_is_parsed),
		cmocka_unit_test(limits_in_force),
		cmocka_unit_test(long_deadlines),
		cmocka_unit_test(upgrades),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
