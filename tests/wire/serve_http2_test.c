/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Many requests on one HTTP/2 connection to a listener: found out to be one, each request with its own answer and end, from
 * any thread; the connection lives on, or drains when it has to go.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <unistd.h>

#include "call/listener.h"
#include "support/raw_peer.h"
#include "support/served.h"

static struct mesh_slice text(const char *s)
{
	return mesh_slice_of(s);
}

#define VERSION_HTTP1 "GET /version HTTP/1.1\r\nHost: reviews\r\nConnection: close\r\n\r\n"
#define PREFACE       "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

/* In plaintext the first bytes tell, however they come. */
static void test_version_by_first_bytes(void **state)
{
	struct served *served = *state;
	struct h2_peer peer;
	int fd;

	for (int network = 0; network < 2; network++) {
		served->network_only = network;
		if (served->listener)
			data_plane_publish(&served->plane);
		else
			served_listen(served);
		served_assert_http1(served, VERSION_HTTP1, "http/1.1");
		served_assert_http1(served, "PRI * HTTP/1.1\r\nHost: reviews\r\nConnection: close\r\n\r\n",
				    "HTTP/1.1 ");
		served_connect(served, &peer);
		served_ask(&peer, 1, "/version");
		served_assert_heard(&peer, "data 1 2 END;");
		served_disconnect(&peer);
		fd = raw_connect(served->port);
		assert_true(raw_drip(fd, PREFACE, strlen(PREFACE)));
		h2_peer_init(&peer, fd);
		h2_frame(&peer.out, H2_SETTINGS, 0, 0, NULL, 0);
		h2_get(&peer.out, 1, "/version");
		assert_true(h2_peer_say(&peer));
		served_assert_heard(&peer, "data 1 2 END;");
		served_disconnect(&peer);
	}
}

/* Where configuration says the version, nobody looks. */
static void test_version_by_configuration(void **state)
{
	struct served *served = *state;
	struct h2_peer peer;

	served->http.codec = HTTP_CODEC_HTTP1;
	served_listen(served);
	served_assert_http1(served, VERSION_HTTP1, "http/1.1");
	served_assert_http1(served, PREFACE, "HTTP/1.1 505 ");
	served->http.codec = HTTP_CODEC_HTTP2;
	data_plane_publish(&served->plane);
	served_connect(served, &peer);
	served_ask(&peer, 1, "/version");
	served_assert_heard(&peer, "data 1 2 END;");
	served_disconnect(&peer);
	h2_peer_init(&peer, raw_connect(served->port));
	raw_say(peer.fd, VERSION_HTTP1);
	assert_null(strstr(h2_peer_rest(&peer), "headers"));
	served_disconnect(&peer);
}

/* All of them wait at once, and are answered by another thread in the reverse order. */
static void test_a_thousand_at_once(void **state)
{
	enum { COUNT = 1000 };
	struct served *served = *state;
	struct h2_peer peer;
	char word[32];

	served_listen(served);
	served_connect(served, &peer);
	for (unsigned i = 0; i < COUNT; i++)
		h2_get(&peer.out, 2 * i + 1, "/hold");
	assert_true(h2_peer_say(&peer));
	served_await(&served->held_count, COUNT);
	for (unsigned i = COUNT; i-- > 0;)
		assert_int_equal(mesh_call_respond(served->held[i], 200, NULL, 0, text("ok"), true), 0);
	for (unsigned i = 0; i < COUNT; i++) {
		snprintf(word, sizeof(word), "data %u 2 END;", 2 * i + 1);
		served_assert_heard(&peer, word);
	}
	served_await(&served->done, COUNT);
	assert_int_equal(atomic_load(&served->last_error), 0);
	served_disconnect(&peer);
}

/* Either side gives one up; the others do not notice. */
static void test_one_of_two_given_up(void **state)
{
	struct served *served = *state;
	struct h2_peer peer;

	served_listen(served);
	served_connect(served, &peer);
	served_ask(&peer, 1, "/hold");
	served_ask(&peer, 3, "/hold");
	served_ask(&peer, 5, "/begun");
	served_await(&served->held_count, 3);
	h2_rst(&peer.out, 1, H2_CANCEL);
	h2_peer_say(&peer);
	served_await(&served->done, 1);
	mesh_call_cancel(served->held[2]);
	served_assert_heard(&peer, "rst 5 CANCEL;");
	assert_int_equal(mesh_call_respond(served->held[1], 200, NULL, 0, text("ok"), true), 0);
	served_assert_heard(&peer, "data 3 2 END;");
	served_disconnect(&peer);
}

/* One that is not taken from is slowed down alone. */
static void test_paused_alone(void **state)
{
	struct served *served = *state;
	struct h2_peer peer;

	served->http.http2.stream_window_bytes = 65535;
	served_listen(served);
	served_connect(served, &peer);
	h2_headers(&peer.out, 1, H2_END_HEADERS, ":method: POST\n:scheme: http\n:authority: reviews\n:path: /paused\n");
	for (unsigned i = 0; i < 60; i++)
		h2_frame(&peer.out, H2_DATA, 0, 1, served->large, 1000);
	served_ask(&peer, 3, "/version");
	served_assert_heard(&peer, "data 3 2 END;");
	served_assert_not_heard(&peer, "window 1 ");
	assert_int_equal(atomic_load(&served->taken), 0);
	mesh_call_resume(served->held[0]);
	served_assert_heard(&peer, "window 1 ");
	served_await(&served->taken, 60000);
	served_disconnect(&peer);
}

/* An answer larger than all windows and bounds goes out as the peer takes it, whole. */
static void test_large_answers_side_by_side(void **state)
{
	struct served *served = *state;
	struct h2_peer peer;

	served_listen(served);
	served_connect(served, &peer);
	for (unsigned i = 0; i < 8; i++)
		h2_get(&peer.out, 2 * i + 1, "/large");
	h2_peer_say(&peer);
	served_assert_heard(&peer, "data "); /* the windows are closed soon */
	assert_true(h2_peer_sync(&peer));
	assert_true(peer.data_bytes <= 65535);
	h2_window_update(&peer.out, 0, 0x7fff0000 - 65535);
	for (unsigned i = 0; i < 8; i++)
		h2_window_update(&peer.out, 2 * i + 1, LARGE_BYTES);
	h2_peer_say(&peer);
	while (peer.data_bytes < 8 * (uint64_t)LARGE_BYTES && !peer.ended)
		if (!h2_peer_sync(&peer))
			break;
	assert_int_equal(peer.data_bytes, 8 * (uint64_t)LARGE_BYTES);
	served_disconnect(&peer);
}

/* The listener goes: no more, but what is under way ends well. */
static void *close_listener(void *listener)
{
	mesh_listener_close(listener);
	return NULL;
}

static void test_drain_with_requests(void **state)
{
	struct served *served = *state;
	struct mesh_listener *listener;
	struct h2_peer peer, idle;
	pthread_t thread;

	served_listen(served);
	served_connect(served, &peer);
	served_connect(served, &idle);
	assert_true(h2_peer_sync(&idle));
	served_ask(&peer, 1, "/hold");
	served_ask(&peer, 3, "/begun");
	served_await(&served->held_count, 2);
	listener = served->listener;
	served->listener = NULL;
	assert_int_equal(pthread_create(&thread, NULL, close_listener, listener), 0);
	served_hear_drain(&peer);
	served_hear_drain(&idle);
	h2_peer_rest(&idle);
	assert_int_equal(mesh_call_respond(served->held[0], 200, NULL, 0, text("ok"), true), 0);
	served_assert_heard(&peer, "data 1 2 END;");
	assert_int_equal(mesh_call_send(served->held[1], text("end"), true), 0);
	served_assert_heard(&peer, "data 3 3 END;");
	h2_peer_rest(&peer);
	pthread_join(thread, NULL);
	assert_int_equal(atomic_load(&served->last_error), 0);
	served_disconnect(&peer);
	served_disconnect(&idle);
}

/* When the grace time is over what is left is cut off, and its peer told. */
static void test_grace_over(void **state)
{
	struct served *served = *state;
	struct h2_peer peer;

	served->grace_ms = SHORT_MS;
	served_listen(served);
	served_connect(served, &peer);
	served_ask(&peer, 1, "/hold");
	served_ask(&peer, 3, "/begun");
	served_await(&served->held_count, 2);
	assert_int_equal(atomic_load(&served->listener->stats.cx_http2), 1);
	mesh_listener_close(served->listener);
	served->listener = NULL;
	assert_int_equal(atomic_load(&served->done), 2);
	assert_int_equal(atomic_load(&served->last_error), MESH_ERROR_CLOSED);
	h2_peer_rest(&peer);
	served_assert_heard(&peer, "goaway ");
	served_assert_heard(&peer, "rst 1 CANCEL;");
	served_assert_heard(&peer, "rst 3 CANCEL;");
	served_disconnect(&peer);
}

/* The configuration no longer takes the connection: the same. */
static void test_superseded(void **state)
{
	struct served *served = *state;
	struct h2_peer peer;

	served->plane.inbound = DATA_PLANE_PERMISSIVE;
	served_listen(served);
	served_connect(served, &peer);
	served_ask(&peer, 1, "/hold");
	served_await(&served->held_count, 1);
	served->plane.inbound = DATA_PLANE_STRICT;
	data_plane_publish(&served->plane);
	mesh_workers_wake(served->plane.mesh);
	served_hear_drain(&peer);
	assert_int_equal(mesh_call_respond(served->held[0], 200, NULL, 0, text("ok"), true), 0);
	served_assert_heard(&peer, "data 1 2 END;");
	h2_peer_rest(&peer);
	served_disconnect(&peer);
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, served_open, served_close)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_version_by_first_bytes),
		CASE(test_version_by_configuration),
		CASE(test_a_thousand_at_once),
		CASE(test_one_of_two_given_up),
		CASE(test_paused_alone),
		CASE(test_large_answers_side_by_side),
		CASE(test_drain_with_requests),
		CASE(test_grace_over),
		CASE(test_superseded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
