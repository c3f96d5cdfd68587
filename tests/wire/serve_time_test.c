/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every limit of time a listener has for a connection and the requests on it: who is told what, and who lives on.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <unistd.h>

#include "support/raw_peer.h"
#include "support/served.h"

static struct mesh_slice text(const char *s)
{
	return mesh_slice_of(s);
}

/* Their time is each one's own: one is told so, the other has all of its. */
static void test_silent_requests_end_alone(void **state)
{
	struct served *served = *state;
	struct h2_peer peer;

	served->http.stream_idle_timeout_ns = (int64_t)SHORT_MS * MS;
	served_listen(served);
	served_connect(served, &peer);
	served_ask(&peer, 1, "/hold");
	served_ask(&peer, 3, "/begun");
	h2_headers(&peer.out, 5, H2_END_HEADERS, ":method: POST\n:scheme: http\n:authority: reviews\n:path: /hold\n");
	h2_peer_say(&peer);
	served_assert_heard(&peer, "headers 1 :status=504");
	served_assert_heard(&peer, "rst 3 CANCEL;");
	served_assert_heard(&peer, "headers 5 :status=408");
	served_assert_heard(&peer, "rst 5 ");
	assert_non_null(strstr(h2_peer_until(&peer, "settings"), "headers 3 :status=200"));
	served_await(&served->done, 3);
	assert_int_equal(atomic_load(&served->last_error), MESH_ERROR_IDLE_TIMEOUT);
	h2_headers(&peer.out, 7, H2_WHOLE, GRPC_POST("/hold"));
	h2_headers(&peer.out, 9, H2_END_HEADERS, GRPC_POST("/hold"));
	h2_peer_say(&peer);
	served_assert_heard(&peer, "grpc-status=14 grpc-message=stream timeout");
	served_assert_heard(&peer, "grpc-status=2 grpc-message=stream timeout");
	served_ask(&peer, 11, "/version");
	served_assert_heard(&peer, "data 11 2 END;");
	served_assert_not_heard(&peer, "goaway");
	served_disconnect(&peer);
}

/* One that moves lives as long as it does, beside one that does not. */
static void test_moving_requests_live_on(void **state)
{
	struct served *served = *state;
	struct h2_peer peer;

	served->route_idle_ns = (int64_t)SHORT_MS * MS;
	served_listen(served);
	served_connect(served, &peer);
	h2_headers(&peer.out, 1, H2_END_HEADERS, ":method: POST\n:scheme: http\n:authority: reviews\n:path: /hold\n");
	served_ask(&peer, 3, "/hold");
	for (unsigned i = 0; i < 10; i++) {
		usleep(SHORT_MS * 1000 / 3);
		h2_data(&peer.out, 1, 0, "more");
		assert_true(h2_peer_say(&peer));
	}
	served_assert_heard(&peer, "headers 3 :status=504");
	served_assert_not_heard(&peer, "headers 1 ");
	assert_int_equal(mesh_call_respond(served->held[0], 200, NULL, 0, text("ok"), true), 0);
	served_assert_heard(&peer, "data 1 2 END;");
	served_disconnect(&peer);
}

static void test_request_and_stream_duration(void **state)
{
	struct served *served = *state;
	struct h2_peer peer;

	served->http.request_timeout_ns = (int64_t)SHORT_MS * MS;
	served_listen(served);
	served_connect(served, &peer);
	h2_headers(&peer.out, 1, H2_END_HEADERS, ":method: POST\n:scheme: http\n:authority: reviews\n:path: /hold\n");
	served_ask(&peer, 3, "/hold");
	served_assert_heard(&peer, "headers 1 :status=408");
	served_assert_not_heard(&peer, "headers 3 "); /* it was received whole */
	served_disconnect(&peer);
	served_await(&served->done, 2);
	served->http.request_timeout_ns = 0;
	served->http.stream_duration_max_ns = (int64_t)SHORT_MS * MS;
	data_plane_publish(&served->plane);
	served_connect(served, &peer);
	served_ask(&peer, 1, "/hold");
	h2_headers(&peer.out, 3, H2_WHOLE, GRPC_POST("/hold"));
	served_ask(&peer, 5, "/begun");
	served_assert_heard(&peer, "headers 1 :status=504");
	served_assert_heard(&peer, "grpc-status=4 grpc-message=downstream duration timeout");
	served_assert_heard(&peer, "rst 5 CANCEL;");
	served_await(&served->done, 5);
	assert_int_equal(atomic_load(&served->last_error), MESH_ERROR_DURATION);
	served_ask(&peer, 7, "/version");
	served_assert_heard(&peer, "data 7 2 END;");
	served_disconnect(&peer);
}

/* A peer that takes an answer slowly has all the time it needs, one that takes nothing of it has not. */
static void test_slow_readers(void **state)
{
	struct served *served = *state;
	struct h2_peer peer;

	served->http.stream_idle_timeout_ns = (int64_t)SHORT_MS * MS;
	served_listen(served);
	served_connect(served, &peer);
	h2_window_update(&peer.out, 0, 0x7fff0000 - 65535);
	served_ask(&peer, 1, "/large");
	served_ask(&peer, 3, "/large");
	for (unsigned i = 0; i < 12; i++) {
		h2_window_update(&peer.out, 1, 1000);
		assert_true(h2_peer_sync(&peer));
		usleep(SHORT_MS * 1000 / 3);
	}
	served_assert_heard(&peer, "rst 3 CANCEL;");
	served_assert_not_heard(&peer, "rst 1 ");
	h2_window_update(&peer.out, 1, LARGE_BYTES);
	h2_peer_say(&peer);
	while (peer.data_bytes < LARGE_BYTES + 65535 && h2_peer_sync(&peer))
		;
	assert_int_equal(peer.data_bytes, LARGE_BYTES + 65535);
	served_disconnect(&peer);
}

static void test_connection_duration_and_requests(void **state)
{
	struct served *served = *state;
	struct h2_peer peer;

	served->http.connection_duration_max_ns = (int64_t)SHORT_MS * MS;
	served_listen(served);
	served_connect(served, &peer);
	served_ask(&peer, 1, "/hold");
	served_await(&served->held_count, 1);
	served_hear_drain(&peer);
	assert_int_equal(mesh_call_respond(served->held[0], 200, NULL, 0, text("ok"), true), 0);
	served_assert_heard(&peer, "data 1 2 END;");
	h2_peer_rest(&peer);
	served_disconnect(&peer);
	/* HTTP/1.1: between two requests */
	served_assert_http1(served, "GET /version HTTP/1.1\r\nHost: reviews\r\n\r\n", "http/1.1");
	served->http.connection_duration_max_ns = 0;
	served->http.requests_per_connection_max = 2;
	data_plane_publish(&served->plane);
	served_connect(served, &peer);
	served_ask(&peer, 1, "/version");
	served_assert_heard(&peer, "data 1 2 END;");
	served_ask(&peer, 3, "/version");
	served_assert_heard(&peer, "data 3 2 END;");
	served_hear_drain(&peer);
	h2_peer_rest(&peer);
	served_assert_heard(&peer, "goaway 3 NO_ERROR");
	served_disconnect(&peer);
}

/* A peer that does not say that it heard has the drain time, and what it begins then is not served. */
static void test_drain_that_is_not_heard(void **state)
{
	struct served *served = *state;
	struct h2_peer peer;
	const char *story;

	served->http.connection_duration_max_ns = served->http.drain_timeout_ns = (int64_t)SHORT_MS * MS;
	served_listen(served);
	served_connect(served, &peer);
	served_ask(&peer, 1, "/hold");
	served_assert_heard(&peer, "goaway 2147483647 NO_ERROR");
	served_ask(&peer, 3, "/version"); /* on its way when the peer heard */
	served_assert_heard(&peer, "data 3 2 END;");
	served_assert_heard(&peer, "goaway 3 NO_ERROR");
	served_ask(&peer, 5, "/version");
	assert_int_equal(mesh_call_respond(served->held[0], 200, NULL, 0, text("ok"), true), 0);
	served_assert_heard(&peer, "data 1 2 END;");
	story = h2_peer_rest(&peer);
	assert_null(strstr(story, "headers 5"));
	assert_int_equal(atomic_load(&served->calls), 2);
	served_disconnect(&peer);
}

/* Asked now and then, a peer that says nothing is gone, with what it had asked. */
static void test_keepalive(void **state)
{
	struct served *served = *state;
	struct h2_peer peer;
	const char *story;

	served->http.http2.ping_interval_ns = (int64_t)SHORT_MS * MS;
	served->http.http2.ping_timeout_ns = (int64_t)SHORT_MS * MS;
	served_listen(served);
	served_connect(served, &peer);
	served_ask(&peer, 1, "/hold");
	for (unsigned i = 0; i < 3; i++) { /* an answer has the question's eight bytes */
		char eight[9] = "";

		story = h2_peer_until(&peer, "ping ");
		memcpy(eight, strstr(story, "ping ") + 5, 8);
		mesh_buf_clear(&peer.story);
		h2_ping(&peer.out, H2_ACK, eight);
		assert_true(h2_peer_say(&peer));
	}
	assert_int_equal(atomic_load(&served->done), 0);
	story = h2_peer_rest(&peer);
	assert_non_null(strstr(story, "ping "));
	served_await(&served->done, 1);
	assert_int_equal(atomic_load(&served->last_error), MESH_ERROR_CLOSED);
	served_disconnect(&peer);
}

/* HTTP/2 without a request for too long is said goodbye to. */
static void test_idle_connection(void **state)
{
	struct served *served = *state;
	struct h2_peer peer;

	served->http.idle_timeout_ns = (int64_t)SHORT_MS * MS;
	served_listen(served);
	served_connect(served, &peer);
	served_hear_drain(&peer);
	assert_non_null(strstr(h2_peer_rest(&peer), "goaway 0 NO_ERROR"));
	served_disconnect(&peer);
	/* what it says without asking for anything is no reason to keep it */
	served_connect(served, &peer);
	served_ask(&peer, 1, "/version");
	for (unsigned i = 0; i < 4; i++) {
		usleep(SHORT_MS * 1000 / 3);
		assert_true(h2_peer_sync(&peer));
	}
	served_assert_heard(&peer, "goaway 2147483647 NO_ERROR");
	served_disconnect(&peer);
	/* not even a first byte */
	h2_peer_init(&peer, raw_connect(served->port));
	assert_string_equal(h2_peer_rest(&peer), "closed;");
	served_disconnect(&peer);
}

/* HTTP on a TCP chain has that one's limits, which are about bytes. */
static void test_tcp_limits(void **state)
{
	struct served *served = *state;
	struct h2_peer peer;

	served->network_only = true;
	served->http.idle_timeout_ns = (int64_t)SHORT_MS * MS;
	served_listen(served);
	served_connect(served, &peer);
	served_ask(&peer, 1, "/hold");
	for (unsigned i = 0; i < 6; i++) {
		usleep(SHORT_MS * 1000 / 3);
		assert_true(h2_peer_sync(&peer));
	}
	assert_int_equal(atomic_load(&served->done), 0);
	h2_peer_rest(&peer);
	served_await(&served->done, 1);
	served_disconnect(&peer);
	served->http.idle_timeout_ns = 0;
	served->http.connection_duration_max_ns = (int64_t)SHORT_MS * MS;
	data_plane_publish(&served->plane);
	served_connect(served, &peer);
	served_ask(&peer, 1, "/hold");
	h2_peer_rest(&peer);
	served_await(&served->done, 2);
	served_disconnect(&peer);
}

/* A request that begins and does not end its head holds the connection for so long only. */
static void test_head_without_end(void **state)
{
	struct served *served = *state;
	struct h2_peer peer;

	served->http.request_headers_timeout_ns = (int64_t)SHORT_MS * MS;
	served_listen(served);
	served_connect(served, &peer);
	h2_headers(&peer.out, 1, 0, ":method: GET\n:scheme: http\n:authority: reviews\n:path: /version\n");
	h2_peer_say(&peer);
	h2_peer_rest(&peer);
	served_disconnect(&peer);
	h2_peer_init(&peer, raw_connect(served->port)); /* nor does half of a preface */
	raw_say(peer.fd, "PRI * HT");
	h2_peer_rest(&peer);
	served_disconnect(&peer);
	assert_int_equal(atomic_load(&served->calls), 0);
	served_connect(served, &peer); /* it is no limit of anything else */
	served_ask(&peer, 1, "/hold");
	usleep(3 * SHORT_MS * 1000);
	served_ask(&peer, 3, "/version");
	served_assert_heard(&peer, "data 3 2 END;");
	served_disconnect(&peer);
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, served_open, served_close)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_silent_requests_end_alone),
		CASE(test_moving_requests_live_on),
		CASE(test_request_and_stream_duration),
		CASE(test_slow_readers),
		CASE(test_connection_duration_and_requests),
		CASE(test_drain_that_is_not_heard),
		CASE(test_keepalive),
		CASE(test_idle_connection),
		CASE(test_tcp_limits),
		CASE(test_head_without_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
