/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client's calls over HTTP/2 against a scripted server: what of a message arrives, what is tried again, deadlines, and the
 * window of a call that is not read.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>

#include "support/h2_scene.h"

enum { MS = 1000000, WAIT_MS = 10000 };

static void test_refused_is_repeated_once(void **state)
{
	struct h2_scene *scene = *state;
	struct mesh_call *call;
	struct mesh_request request = h2_scene_request(scene, "POST", "/");

	H2_PLAY(scene, {{NULL, "settings; ack;"}, {"headers 1 ", "rst 1 7;"}, {"data 3 4 END", H2_OK(3)},
			 {"headers 5 ", "rst 5 7;"},
		     {"headers 7 ", "rst 7 7;"}});
	request.body = mesh_slice_of("body");
	h2_scene_expect(h2_scene_start(scene, &request, NULL, NULL), 0, 200, 1);
	call = h2_scene_call(scene, "GET", "/");
	h2_scene_expect(call, MESH_ERROR_REFUSED, 0, 1);
	assert_int_equal(h2_scene_stat(scene, "upstream_rq_retry"), 0);
}

static struct retry_config retry_of(uint32_t on, uint32_t retries)
{
	return (struct retry_config){.on = on, .retries = retries, .backoff_base_ns = MS, .backoff_max_ns = 2 * MS,
				     .host_selection_attempts = 1};
}

static void test_refused_is_retried_by_policy(void **state)
{
	struct h2_scene *scene = *state;
	struct retry_config retry = retry_of(RETRY_REFUSED_STREAM, 2);

	scene->plane.retry = &retry;
	H2_PLAY(scene, {{NULL, "settings; ack;"}, {"headers 1 ", "rst 1 7;"}, {"headers 3 ", "rst 3 7;"},
		     {"headers 5 ", "rst 5 7;"}, {"headers 7 ", H2_OK(7)}});
	h2_scene_expect(h2_scene_call(scene, "POST", "/"), 0, 200, 3);
	assert_int_equal(h2_scene_stat(scene, "upstream_rq_retry"), 2);
	assert_int_equal(h2_scene_stat(scene, "upstream_cx_total"), 1);
}

/* A reset stream concerns itself alone, and is retried by policy only. */
static void test_reset_stream(void **state)
{
	struct h2_scene *scene = *state;
	struct mesh_call *reset, *other;

	H2_PLAY(scene, {{NULL, "settings; ack;"}, {"headers 3 ", "rst 1 2;" H2_OK(3)}});
	reset = h2_scene_call(scene, "GET", "/");
	other = h2_scene_call(scene, "GET", "/");
	h2_scene_expect(reset, MESH_ERROR_REMOTE_RESET, 0, 1);
	h2_scene_expect(other, 0, 200, 1);
	assert_int_equal(h2_scene_stat(scene, "upstream_cx_total"), 1);
}

static void test_grpc_status_in_the_head_is_retried(void **state)
{
	struct h2_scene *scene = *state;
	struct retry_config retry = retry_of(RETRY_GRPC_UNAVAILABLE, 1);
	struct mesh_request request = h2_scene_request(scene, "POST", "/s/m");
	const struct mesh_header headers[] = {{mesh_slice_of("te"), mesh_slice_of("trailers")},
					      {mesh_slice_of("content-type"), mesh_slice_of("application/grpc")}};
	struct mesh_call *call;

	scene->plane.retry = &retry;
	H2_PLAY(scene, {{NULL, "settings; ack;"}, {"headers 1 ", "headers 1 5 :status: 200|grpc-status: 14;"},
		     {"headers 3 ", H2_HEAD(3) "headers 3 5 grpc-status: 14|x-last: yes;"}});
	request.headers = headers;
	request.header_count = 2;
	request.version = MESH_HTTP_2;
	call = h2_scene_start(scene, &request, NULL, NULL);
	assert_int_equal(mesh_call_wait(call, WAIT_MS), 0); /* behind a head it is the caller's */
	assert_true(mesh_slice_equal(mesh_call_trailer(call, "grpc-status"), MESH_SLICE("14")));
	assert_true(mesh_slice_equal(mesh_call_trailer_at(call, 1).value, MESH_SLICE("yes")));
	h2_scene_expect(call, 0, 200, 2);
	h2_scene_end(scene);
	assert_non_null(strstr(scene->stories[0], "te=trailers"));
}

/* As a sidecar has it of who speaks HTTP/2: the cookies are crumbs of one, and one of nothing is none. */
static void test_cookies_are_one(void **state)
{
	struct h2_scene *scene = *state;
	const struct mesh_header headers[] = {{mesh_slice_of("cookie"), mesh_slice_of("a=1")},
					      {mesh_slice_of("x-a"), mesh_slice_of("kept")},
					      {mesh_slice_of("Cookie"), mesh_slice_of("")},
					      {mesh_slice_of("cookie"), mesh_slice_of("b=2")}};
	struct mesh_request request = h2_scene_request(scene, "GET", "/");

	H2_PLAY(scene, {{NULL, "settings; ack;"}, {"headers 1 ", H2_OK(1)}, {"headers 3 ", H2_OK(3)}});
	request.version = MESH_HTTP_2;
	request.headers = headers;
	request.header_count = 4;
	h2_scene_expect(h2_scene_start(scene, &request, NULL, NULL), 0, 200, 1);
	request.headers = &headers[1];
	request.header_count = 2;
	h2_scene_expect(h2_scene_start(scene, &request, NULL, NULL), 0, 200, 1);
	h2_scene_end(scene);
	assert_non_null(strstr(scene->stories[0], "cookie=a=1; ; b=2"));
	assert_null(strstr(strstr(scene->stories[0], "headers 3"), "cookie"));
	assert_non_null(strstr(strstr(scene->stories[0], "headers 3"), "x-a=kept"));
}

static void test_trailers_go_both_ways(void **state)
{
	struct h2_scene *scene = *state;
	struct mesh_request request = h2_scene_request(scene, "POST", "/");
	const struct mesh_header trailer = {mesh_slice_of("x-sum"), mesh_slice_of("9")};
	struct mesh_call *call;

	H2_PLAY(scene, {{NULL, "settings; ack;"}, {"headers 1 x-sum=9 END", H2_HEAD(1) "data 1 0 abc; headers 1 5 x-end: 1;"}});
	request.more_body = true;
	call = h2_scene_start(scene, &request, NULL, NULL);
	assert_int_equal(mesh_call_send(call, MESH_SLICE("hello"), false), 0);
	assert_int_equal(mesh_call_send_trailers(call, &trailer, 1), 0);
	assert_int_equal(mesh_call_wait(call, WAIT_MS), 0);
	assert_true(mesh_slice_equal(mesh_call_body(call), MESH_SLICE("abc")));
	assert_true(mesh_slice_equal(mesh_call_trailer(call, "x-end"), MESH_SLICE("1")));
	h2_scene_expect(call, 0, 200, 1);
}

static void count_interim(struct mesh_call *call, int status, const struct mesh_header *headers, size_t count, void *user)
{
	assert_int_equal(status, 103);
	assert_true(count == 1 && mesh_slice_equal(headers[0].name, MESH_SLICE("link")));
	++*(int *)user;
}

static void test_interim(void **state)
{
	struct h2_scene *scene = *state;
	const struct mesh_call_events events = {.size = sizeof(events), .interim = count_interim};
	struct mesh_request request = h2_scene_request(scene, "GET", "/");
	int seen = 0;

	H2_PLAY(scene, {{NULL, "settings; ack;"}, {"headers 1 ", "headers 1 4 :status: 103|link: a;" H2_OK(1)}});
	h2_scene_expect(h2_scene_start(scene, &request, &events, &seen), 0, 200, 1);
	assert_int_equal(seen, 1);
	assert_int_equal(h2_scene_stat(scene, "upstream_rq_1xx"), 1);
}

/* A deadline that the route heeds ends the call, whatever the route's own timeout. */
static void deadline_route(struct data_plane *plane, struct route_config *routes, bool inbound)
{
	struct route *route = &routes->hosts[0].routes[0];

	route->has_stream_limits = true;
	route->max_stream_duration_ns = 0;
	route->grpc_timeout_max_ns = 0;
	route->grpc_timeout_offset_ns = 10 * MS;
}

static void test_grpc_deadline(void **state)
{
	struct h2_scene *scene = *state;
	struct mesh_request request = h2_scene_request(scene, "POST", "/s/m");
	const struct mesh_header headers[] = {{mesh_slice_of("grpc-timeout"), mesh_slice_of("60m")},
					      {mesh_slice_of("content-type"), mesh_slice_of("application/grpc")}};
	struct mesh_call *call;

	scene->plane.edit_routes = deadline_route;
	H2_PLAY(scene, {{NULL, "settings; ack;"}, {"headers 1 ", H2_HEAD(1)}});
	request.headers = headers;
	request.header_count = 2;
	call = h2_scene_start(scene, &request, NULL, NULL);
	assert_int_equal(mesh_call_wait(call, WAIT_MS), MESH_ERROR_DURATION);
	assert_string_equal(mesh_call_result(call)->flag, "DT");
	assert_int_equal(mesh_call_result(call)->local_status, 504);
	assert_true(mesh_call_result(call)->duration_us >= 50000 && mesh_call_result(call)->duration_us < 5000000);
	mesh_call_release(call);
	h2_scene_end(scene);
	assert_non_null(strstr(scene->stories[0], "grpc-timeout=50m"));
	assert_non_null(strstr(scene->stories[0], "rst 1 CANCEL"));
}

static void allow_websocket(struct data_plane *plane, struct chain *chain, struct arena *arena, bool inbound)
{
	static struct mesh_slice websocket = {"websocket", 9};

	chain->http->upgrades = &websocket;
	chain->http->upgrade_count = 1;
}

/* The peer says in its settings whether it knows changes of protocol; before that nothing is asked. */
static void test_upgrade_the_peer_does_not_know(void **state)
{
	struct h2_scene *scene = *state;
	struct mesh_request request = h2_scene_request(scene, "GET", "/");
	struct mesh_call *call;

	scene->plane.edit_chain = allow_websocket;
	H2_PLAY(scene, {{NULL, "settings; ack;"}, {"headers 1 ", H2_OK(1)}},
		{{NULL, "settings 8=1; ack;"}, {"headers 1 ", H2_OK(1)}});
	request.upgrade = mesh_slice_of("websocket");
	request.more_body = true;
	call = h2_scene_start(scene, &request, NULL, NULL);
	assert_int_equal(mesh_call_wait(call, WAIT_MS), MESH_ERROR_PROTOCOL);
	mesh_call_release(call);
	h2_scene_expect(h2_scene_call(scene, "GET", "/"), 0, 200, 1); /* the connection is none the worse */
	assert_int_equal(h2_scene_stat(scene, "upstream_cx_total"), 1);
	h2_scene_end(scene);
	assert_null(strstr(scene->stories[0], "CONNECT"));
}

/* It leaves nothing behind on a connection that knows already: that one grows old as others do. */
static void test_upgrade_on_a_kept_connection(void **state)
{
	struct h2_scene *scene = *state;
	struct mesh_request request = h2_scene_request(scene, "GET", "/");
	struct mesh_call *call;

	scene->plane.edit_chain = allow_websocket;
	scene->idle_ns = 100000000;
	H2_PLAY(scene, {{NULL, "settings; ack;"}, {"headers 1 ", H2_OK(1)}});
	h2_scene_expect(h2_scene_call(scene, "GET", "/"), 0, 200, 1);
	request.upgrade = mesh_slice_of("websocket");
	request.more_body = true;
	call = h2_scene_start(scene, &request, NULL, NULL);
	assert_int_equal(mesh_call_wait(call, WAIT_MS), MESH_ERROR_PROTOCOL);
	mesh_call_release(call);
	for (int i = 0; i < 300 && !h2_scene_stat(scene, "upstream_cx_idle_timeout"); i++)
		h2_scene_run(scene, 10);
	assert_int_equal(h2_scene_stat(scene, "upstream_cx_idle_timeout"), 1);
}

/* What the application sends between two tries follows all of what went out by the first. */
static void test_body_between_two_tries(void **state)
{
	static struct retry_config retry = {.on = RETRY_5XX, .retries = 1, .backoff_base_ns = 1000000000,
					    .backoff_max_ns = 1000000000};
	static char body[60000];
	struct h2_scene *scene = *state;
	struct mesh_request request = h2_scene_request(scene, "POST", "/");
	struct mesh_call *call;
	size_t bytes = 0;
	unsigned one;

	scene->plane.retry = &retry;
	H2_PLAY(scene, {{NULL, "settings 4=1000000; window 0 1000000; ack;"}, {"data 1 ", "headers 1 5 :status: 503;"},
			{"END", H2_OK(3)}});
	request.more_body = true;
	call = h2_scene_start(scene, &request, NULL, NULL);
	assert_int_equal(mesh_call_send(call, mesh_slice_make(body, sizeof(body)), false), 0);
	for (int i = 0; i < 300 && !h2_scene_stat(scene, "upstream_rq_5xx"); i++)
		h2_scene_run(scene, 10);
	assert_null(mesh_call_result(call));
	for (int last = 0; last < 2; last++) /* with these it is too long to keep */
		while (mesh_call_send(call, mesh_slice_make(body, 10000), last) == MESH_ERROR_AGAIN)
			assert_int_equal(mesh_call_wait_writable(call, WAIT_MS), 0);
	h2_scene_expect(call, 0, 200, 2);
	h2_scene_end(scene);
	for (const char *at = scene->stories[0]; (at = strstr(at, "data 3 ")); at++)
		if (sscanf(at, "data 3 %u", &one) == 1)
			bytes += one;
	assert_int_equal(bytes, sizeof(body) + 20000);
}

static void test_window_of_a_paused_call(void **state)
{
	struct h2_scene *scene = *state;
	const struct mesh_call_events none = {.size = sizeof(none)};
	struct mesh_request request = h2_scene_request(scene, "GET", "/");
	struct mesh_call *slow, *quick;

	scene->http2.stream_window_bytes = 65535;
	/* the window of stream 1 is used up; stream 3 goes on meanwhile */
	H2_PLAY(scene, {{NULL, "settings; ack;"}, {"headers 3 ", H2_HEAD(1) "4*(pad 1 0 16000)" ";" H2_OK(3)},
		     {"window 1 ", "pad 1 1 16000;"}});
	slow = h2_scene_start(scene, &request, &none, NULL);
	mesh_call_pause(slow);
	quick = h2_scene_call(scene, "GET", "/");
	h2_scene_expect(quick, 0, 200, 1);
	h2_scene_run(scene, 20);
	assert_null(mesh_call_result(slow));
	mesh_call_resume(slow);
	assert_int_equal(mesh_call_wait(slow, WAIT_MS), 0);
	assert_int_equal(mesh_call_result(slow)->received_bytes, 80000);
	mesh_call_release(slow);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, h2_scene_open, h2_scene_close)
	const struct CMUnitTest tests[] = {
		TEST(test_refused_is_repeated_once),
		TEST(test_refused_is_retried_by_policy),
		TEST(test_reset_stream),
		TEST(test_grpc_status_in_the_head_is_retried),
		TEST(test_cookies_are_one),
		TEST(test_trailers_go_both_ways),
		TEST(test_interim),
		TEST(test_grpc_deadline),
		TEST(test_upgrade_the_peer_does_not_know),
		TEST(test_upgrade_on_a_kept_connection),
		TEST(test_body_between_two_tries),
		TEST(test_window_of_a_paused_call),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
