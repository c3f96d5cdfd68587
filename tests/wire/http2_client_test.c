/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client's HTTP/2 connections against a scripted server: how calls share them, when another opens, and what follows when
 * the server goes away, falls silent, or is replaced.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <unistd.h>

#include "support/h2_scene.h"

enum { MS = 1000000, WAIT_MS = 10000 };

static void test_many_on_one_connection(void **state)
{
	struct h2_scene *scene = *state;
	struct mesh_call *calls[5];

	H2_PLAY(scene, {{NULL, "settings; ack;"}, {"headers 9 ", H2_OK(9) H2_OK(1) H2_OK(7) H2_OK(3) H2_OK(5)}});
	for (int i = 0; i < 5; i++)
		calls[i] = h2_scene_call(scene, "GET", "/");
	for (int i = 0; i < 5; i++) {
		assert_int_equal(mesh_call_wait(calls[i], WAIT_MS), 0);
		assert_true(mesh_slice_equal(mesh_call_peer(calls[i])->protocol, MESH_SLICE("h2")));
		h2_scene_expect(calls[i], 0, 200, 1);
	}
	assert_int_equal(h2_scene_stat(scene, "upstream_cx_http2_total"), 1);
	assert_int_equal(h2_scene_stat(scene, "upstream_cx_http1_total"), 0);
	assert_int_equal(h2_scene_stat(scene, "upstream_rq_total"), 5);
	h2_scene_end(scene);
	assert_int_equal(scene->server.accepted, 1);
}

/* Some while the connection is idle, some while it carries others. */
static void test_kept_and_shared(void **state)
{
	struct h2_scene *scene = *state;
	struct mesh_call *held;

	H2_PLAY(scene, {{NULL, "settings; ack;"}, {"headers 1 ", H2_OK(1)}, {"headers 3 ", NULL}, {"headers 5 ", H2_OK(5)},
		     {"headers 7 ", H2_OK(7) H2_OK(3)}});
	h2_scene_expect(h2_scene_call(scene, "POST", "/"), 0, 200, 1);
	held = h2_scene_call(scene, "GET", "/held");
	h2_scene_run(scene, 20);
	h2_scene_expect(h2_scene_call(scene, "POST", "/"), 0, 200, 1);
	h2_scene_expect(h2_scene_call(scene, "POST", "/"), 0, 200, 1);
	h2_scene_expect(held, 0, 200, 1);
	assert_int_equal(h2_scene_stat(scene, "upstream_cx_total"), 1);
}

static void test_stream_limit_opens_another(void **state)
{
	struct h2_scene *scene = *state;
	struct mesh_call *first, *second, *third;

	H2_PLAY(scene, {{NULL, "settings 3=2; ack;"}, {"headers 1 ", H2_OK(1)}, {"headers 5 ", NULL}, {"rst 3 CANCEL", NULL}},
	     {{NULL, "settings 3=2; ack;"}, {"headers 1 ", H2_OK(1)}});
	h2_scene_expect(h2_scene_call(scene, "GET", "/"), 0, 200, 1);
	first = h2_scene_call(scene, "GET", "/a");
	second = h2_scene_call(scene, "GET", "/b");
	third = h2_scene_call(scene, "GET", "/c");
	h2_scene_expect(third, 0, 200, 1);
	assert_int_equal(h2_scene_stat(scene, "upstream_cx_total"), 2);
	mesh_call_cancel(first);
	h2_scene_expect(first, MESH_ERROR_CANCELLED, 0, 1);
	mesh_call_cancel(second);
	h2_scene_expect(second, MESH_ERROR_CANCELLED, 0, 1);
	h2_scene_end(scene);
	assert_non_null(strstr(scene->stories[0], "rst 3 CANCEL"));
	assert_non_null(strstr(scene->stories[0], "rst 5 CANCEL"));
	assert_null(strstr(scene->stories[0], "headers 7 "));
}

/* A limit of streams known from before: as many connections as it takes, none refused. */
static void test_many_waiters_at_a_known_limit(void **state)
{
	struct h2_scene *scene = *state;
	struct mesh_call *calls[6];

	H2_PLAY(scene, {{NULL, "settings 3=2; ack;"}, {"headers 1 ", H2_OK(1)}, {"headers 5 ", NULL}},
	     {{NULL, "settings 3=2; ack;"}, {"headers 3 ", H2_OK(1) H2_OK(3)}});
	h2_scene_expect(h2_scene_call(scene, "GET", "/"), 0, 200, 1);
	for (int i = 0; i < 6; i++)
		calls[i] = h2_scene_call(scene, "GET", "/");
	for (int i = 2; i < 6; i++)
		h2_scene_expect(calls[i], 0, 200, 1);
	assert_int_equal(h2_scene_stat(scene, "upstream_cx_total"), 3);
	for (int i = 0; i < 2; i++) {
		mesh_call_cancel(calls[i]);
		h2_scene_expect(calls[i], MESH_ERROR_CANCELLED, 0, 1);
	}
}

/* All who wait for one connection are told when it does not come. */
static void test_no_connection_for_any(void **state)
{
	struct h2_scene *scene = *state;
	struct mesh_call *calls[5];

	close(raw_listen(&scene->plane.ports[0])); /* nobody listens there any more */
	H2_PLAY(scene, {{NULL, NULL}});
	for (int i = 0; i < 5; i++)
		calls[i] = h2_scene_call(scene, "GET", "/");
	for (int i = 0; i < 5; i++)
		h2_scene_expect(calls[i], MESH_ERROR_CONNECT, 0, 1);
	assert_int_equal(h2_scene_stat(scene, "upstream_cx_connect_fail"), 1);
	assert_int_equal(h2_scene_stat(scene, "upstream_rq_pending_failure_eject"), 5);
	assert_int_equal(h2_scene_stat(scene, "upstream_rq_pending_active"), 0);
}

/* At max_connections who finds no room waits for it to come back. */
static void test_room_at_the_connection_limit(void **state)
{
	struct h2_scene *scene = *state;
	struct mesh_call *held, *next;

	scene->plane.breaker.connections = 1;
	H2_PLAY(scene, {{NULL, "settings 3=1; ack;"}, {"headers 1 ", H2_OK(1)}, {"headers 3 ", H2_HEAD(3) "ping;"},
		     {"ping ack", NULL},
		     {"rst 3 CANCEL", NULL}, {"headers 5 ", H2_OK(5)}});
	h2_scene_expect(h2_scene_call(scene, "GET", "/"), 0, 200, 1);
	held = h2_scene_call(scene, "GET", "/");
	next = h2_scene_call(scene, "GET", "/");
	h2_scene_run(scene, 20);
	assert_int_equal(h2_scene_stat(scene, "upstream_rq_pending_active"), 1);
	mesh_call_cancel(held);
	h2_scene_expect(held, MESH_ERROR_CANCELLED, 200, 1);
	h2_scene_expect(next, 0, 200, 1);
	assert_int_equal(h2_scene_stat(scene, "upstream_cx_total"), 1);
	assert_true(h2_scene_stat(scene, "upstream_cx_overflow") > 0);
}

/* Under new settings, and when its endpoint leaves, a connection ends what it carries and begins nothing. */
static void test_new_settings_and_endpoints(void **state)
{
	struct h2_scene *scene = *state;
	struct mesh_call *first, *second;

	H2_PLAY(scene, {{NULL, "settings; ack;"}, {"headers 1 ", H2_HEAD(1)}, {"window 1 ", NULL}},
	     {{NULL, "settings; ack;"}, {"headers 1 ", H2_HEAD(1)}}, {{NULL, "settings; ack;"}, {"headers 1 ", H2_OK(1)}});
	first = h2_scene_call(scene, "GET", "/");
	while (!mesh_call_http_status(first))
		h2_scene_run(scene, 5);
	data_plane_publish(&scene->plane);
	second = h2_scene_call(scene, "GET", "/");
	while (!mesh_call_http_status(second))
		h2_scene_run(scene, 5);
	assert_int_equal(h2_scene_stat(scene, "upstream_cx_total"), 2);
	scene->plane.port_count = 0;
	data_plane_publish(&scene->plane);
	h2_scene_expect(h2_scene_call(scene, "GET", "/"), MESH_ERROR_NO_ENDPOINT, 0, 1);
	scene->plane.port_count = 1;
	data_plane_publish(&scene->plane);
	h2_scene_expect(h2_scene_call(scene, "GET", "/"), 0, 200, 1);
	assert_int_equal(h2_scene_stat(scene, "upstream_cx_total"), 3);
	assert_int_equal(h2_scene_stat(scene, "upstream_cx_active"), 3);
	assert_true(!mesh_call_result(first) && !mesh_call_result(second));
	mesh_call_cancel(first);
	mesh_call_cancel(second);
	h2_scene_run(scene, 20);
	assert_int_equal(h2_scene_stat(scene, "upstream_cx_active"), 1);
	h2_scene_expect(first, MESH_ERROR_CANCELLED, 200, 1);
	h2_scene_expect(second, MESH_ERROR_CANCELLED, 200, 1);
}

/* What was begun ends there; what was not goes elsewhere, bodies and methods that must not go twice included. */
static void test_goaway_loses_nothing(void **state)
{
	struct h2_scene *scene = *state;
	struct mesh_call *begun, *not_begun;
	struct mesh_request request = h2_scene_request(scene, "POST", "/");

	H2_PLAY(scene, {{NULL, "settings; ack;"}, {"data 3 4 END", "goaway 1 0;"}, {NULL, H2_HEAD(1)}, {"ping", NULL}},
	     {{NULL, "settings; ack;"}, {"data 1 4 END", H2_OK(1)}});
	request.body = mesh_slice_of("body");
	begun = h2_scene_start(scene, &request, NULL, NULL);
	not_begun = h2_scene_start(scene, &request, NULL, NULL);
	h2_scene_expect(not_begun, 0, 200, 1);
	assert_int_equal(h2_scene_stat(scene, "upstream_cx_total"), 2);
	assert_int_equal(h2_scene_stat(scene, "upstream_rq_retry"), 0);
	for (int i = 0; i < 100 && !mesh_call_http_status(begun); i++)
		h2_scene_run(scene, 5);
	assert_int_equal(mesh_call_http_status(begun), 200);
	mesh_call_cancel(begun);
	h2_scene_expect(begun, MESH_ERROR_CANCELLED, 200, 1);
	h2_scene_end(scene);
	assert_null(strstr(scene->stories[0], "headers 5 "));
	assert_non_null(strstr(scene->stories[0], "rst 1 CANCEL"));
	assert_true(strstr(scene->stories[0], "closed;") || strstr(scene->stories[0], "reset;"));
}

/* The connection that was told to go away ends by itself when its last exchange does. */
static void test_goaway_ends_when_done(void **state)
{
	struct h2_scene *scene = *state;
	struct mesh_call *call;

	H2_PLAY(scene, {{NULL, "settings; ack;"}, {"headers 1 ", H2_HEAD(1) "goaway 1 0; ping;"}, {"ping ack", "data 1 1 late;"}},
	     {{NULL, "settings; ack;"}, {"headers 1 ", H2_OK(1)}});
	call = h2_scene_call(scene, "GET", "/");
	h2_scene_expect(call, 0, 200, 1);
	h2_scene_expect(h2_scene_call(scene, "POST", "/"), 0, 200, 1);
	h2_scene_run(scene, 20);
	assert_int_equal(h2_scene_stat(scene, "upstream_cx_total"), 2);
	assert_int_equal(h2_scene_stat(scene, "upstream_cx_destroy"), 1);
}

static void test_silent_peer_is_given_up(void **state)
{
	struct h2_scene *scene = *state;
	struct mesh_call *call;

	scene->http2.ping_interval_ns = 30 * MS;
	scene->http2.ping_timeout_ns = 60 * MS;
	H2_PLAY(scene, {{NULL, "settings; ack;"}, {"ping ", NULL}});
	call = h2_scene_call(scene, "POST", "/");
	assert_int_equal(mesh_call_wait(call, WAIT_MS), MESH_ERROR_RESET);
	assert_non_null(strstr(mesh_call_result(call)->why.data, "PING"));
	mesh_call_release(call);
	assert_int_equal(h2_scene_stat(scene, "http2.keepalive_timeout"), 1);
}

/* A connection that was idle is asked for a sign of life before it carries more. */
static void test_ping_after_idle(void **state)
{
	struct h2_scene *scene = *state;

	scene->http2.ping_idle_ns = 20 * MS;
	scene->http2.ping_timeout_ns = 60 * MS;
	H2_PLAY(scene, {{NULL, "settings; ack;"}, {"headers 1 ", H2_OK(1)}, {"headers 3 ", H2_OK(3)}});
	h2_scene_expect(h2_scene_call(scene, "GET", "/"), 0, 200, 1);
	h2_scene_run(scene, 30);
	h2_scene_expect(h2_scene_call(scene, "GET", "/"), 0, 200, 1); /* the answer to it does not wait for that of the ping */
	h2_scene_run(scene, 100);
	assert_int_equal(h2_scene_stat(scene, "http2.keepalive_timeout"), 1);
	assert_int_equal(h2_scene_stat(scene, "upstream_cx_active"), 0);
	h2_scene_end(scene);
	assert_non_null(strstr(scene->stories[0], "ping "));
	assert_true(strstr(scene->stories[0], "ping ") < strstr(scene->stories[0], "headers 3 "));
}

static void test_requests_per_connection(void **state)
{
	struct h2_scene *scene = *state;
	struct mesh_call *calls[4];

	scene->requests_max = 2;
	H2_PLAY(scene, {{NULL, "settings; ack;"}, {"headers 3 ", H2_OK(1) H2_OK(3)}});
	for (int i = 0; i < 4; i++)
		calls[i] = h2_scene_call(scene, "GET", "/");
	for (int i = 0; i < 4; i++)
		h2_scene_expect(calls[i], 0, 200, 1);
	h2_scene_run(scene, 20);
	assert_int_equal(h2_scene_stat(scene, "upstream_cx_total"), 2);
	assert_int_equal(h2_scene_stat(scene, "upstream_cx_max_requests"), 2);
	assert_int_equal(h2_scene_stat(scene, "upstream_cx_active"), 0);
}

static void test_idle_ends_but_not_in_use(void **state)
{
	struct h2_scene *scene = *state;
	struct mesh_call *held;

	scene->idle_ns = 40 * MS;
	H2_PLAY(scene, {{NULL, "settings; ack;"}, {"headers 1 ", H2_OK(1)}, {"headers 3 ", NULL},
			 {"headers 5 ", H2_OK(5) H2_OK(3)}});
	h2_scene_expect(h2_scene_call(scene, "GET", "/"), 0, 200, 1);
	held = h2_scene_call(scene, "GET", "/held");
	h2_scene_run(scene, 100);
	assert_int_equal(h2_scene_stat(scene, "upstream_cx_idle_timeout"), 0);
	h2_scene_expect(h2_scene_call(scene, "GET", "/"), 0, 200, 1);
	h2_scene_expect(held, 0, 200, 1);
	h2_scene_run(scene, 100);
	assert_int_equal(h2_scene_stat(scene, "upstream_cx_idle_timeout"), 1);
	assert_int_equal(h2_scene_stat(scene, "upstream_cx_total"), 1);
	assert_int_equal(h2_scene_stat(scene, "upstream_cx_active"), 0);
}

static void test_longest_duration(void **state)
{
	struct h2_scene *scene = *state;
	struct mesh_call *held;

	scene->duration_ns = 40 * MS;
	H2_PLAY(scene, {{NULL, "settings; ack;"}, {"headers 1 ", NULL}},
	     {{NULL, "settings; ack;"}, {"headers 1 ", H2_OK(1)}});
	held = h2_scene_call(scene, "GET", "/held");
	h2_scene_run(scene, 80);
	h2_scene_expect(h2_scene_call(scene, "GET", "/"), 0, 200, 1); /* on another */
	assert_int_equal(h2_scene_stat(scene, "upstream_cx_active"), 2);
	mesh_call_cancel(held);
	h2_scene_expect(held, MESH_ERROR_CANCELLED, 0, 1);
	h2_scene_run(scene, 10);
	assert_int_equal(h2_scene_stat(scene, "upstream_cx_active"), 1);
	h2_scene_run(scene, 60); /* an idle one ends at once */
	assert_int_equal(h2_scene_stat(scene, "upstream_cx_active"), 0);
}

/* The application did not drive its worker while the peer went away: looked at before a request that must not go twice. */
static void test_unwatched_end_is_noticed(void **state)
{
	struct h2_scene *scene = *state;

	H2_PLAY(scene, {{NULL, "settings; ack;"}, {"headers 1 ", H2_OK(1) "goaway 1 0;"}},
	     {{NULL, "settings; ack;"}, {"headers 1 ", H2_OK(1)}});
	h2_scene_expect(h2_scene_call(scene, "POST", "/"), 0, 200, 1);
	usleep(50000);
	h2_scene_expect(h2_scene_call(scene, "POST", "/"), 0, 200, 1);
	assert_int_equal(h2_scene_stat(scene, "upstream_cx_total"), 2);
	assert_int_equal(h2_scene_stat(scene, "upstream_rq_rx_reset"), 0);
}

/* The same while the connection carries another call, whose events must not come from inside mesh_call_start. */
static void test_unwatched_end_beside_another_call(void **state)
{
	struct h2_scene *scene = *state;
	struct mesh_call *held, *next;

	H2_PLAY(scene, {{NULL, "settings; ack;"}, {"headers 1 ", H2_HEAD(1) "goaway 1 0;"}},
	     {{NULL, "settings; ack;"}, {"headers 1 ", H2_OK(1)}});
	held = h2_scene_call(scene, "GET", "/held");
	for (int i = 0; i < 1000 && !atomic_load(&scene->server.accepted); i++)
		h2_scene_run(scene, 1);
	h2_scene_run(scene, 1);
	usleep(50000);
	next = h2_scene_call(scene, "POST", "/");
	h2_scene_expect(next, 0, 200, 1);
	assert_int_equal(mesh_call_http_status(held), 200);
	mesh_call_cancel(held);
	h2_scene_expect(held, MESH_ERROR_CANCELLED, 200, 1);
	assert_int_equal(h2_scene_stat(scene, "upstream_cx_total"), 2);
}

/* Answers one request, then repeats its settings. */
static void say_settings_for_ever(struct raw_server *server, int fd, unsigned number)
{
	struct h2_peer peer;

	h2_peer_init(&peer, fd);
	if (h2_peer_take_preface(&peer)) {
		h2_say(&peer.out, "settings; ack;");
		h2_peer_say(&peer);
		h2_peer_until(&peer, "headers 1 ");
		h2_say(&peer.out, H2_OK(1));
		for (int i = 0; i < 200 && h2_peer_say(&peer); i++) {
			usleep(20 * 1000);
			h2_say(&peer.out, "settings;");
		}
	}
	h2_peer_free(&peer);
}

/* A peer that talks of the connection alone does not keep it. */
static void test_settings_are_no_use_of_it(void **state)
{
	struct h2_scene *scene = *state;

	scene->server.serve = say_settings_for_ever;
	scene->idle_ns = 200 * (int64_t)MS;
	data_plane_publish(&scene->plane);
	h2_scene_expect(h2_scene_call(scene, "GET", "/"), 0, 200, 1);
	for (int i = 0; i < 150 && !h2_scene_stat(scene, "upstream_cx_idle_timeout"); i++)
		h2_scene_run(scene, 10);
	assert_int_equal(h2_scene_stat(scene, "upstream_cx_idle_timeout"), 1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, h2_scene_open, h2_scene_close)
	const struct CMUnitTest tests[] = {
		TEST(test_many_on_one_connection),
		TEST(test_kept_and_shared),
		TEST(test_stream_limit_opens_another),
		TEST(test_many_waiters_at_a_known_limit),
		TEST(test_no_connection_for_any),
		TEST(test_room_at_the_connection_limit),
		TEST(test_new_settings_and_endpoints),
		TEST(test_goaway_loses_nothing),
		TEST(test_goaway_ends_when_done),
		TEST(test_silent_peer_is_given_up),
		TEST(test_ping_after_idle),
		TEST(test_requests_per_connection),
		TEST(test_idle_ends_but_not_in_use),
		TEST(test_longest_duration),
		TEST(test_unwatched_end_is_noticed),
		TEST(test_unwatched_end_beside_another_call),
		TEST(test_settings_are_no_use_of_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
