/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A listener against HTTP/2 clients that stay within the rules of framing and want it to work or to remember without end:
 * floods, bombs, windows that never open, readers that never read. It ends them, in bounded memory, and serves others.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "support/h2_server.h"
#include "support/raw_peer.h"

#define GET  ":method: GET|:scheme: http|:authority: reviews|:path: /"
#define POST ":method: POST|:scheme: http|:authority: reviews|:path: /"

static const size_t flood_bytes = 4000000; /* what one connection may cost while it floods, its answers included */

/* Says it in pieces as the peer takes them, and reads nothing. False: it ended. */
static bool pour(struct h2_peer *peer)
{
	while (mesh_buf_len(&peer->out)) {
		struct mesh_slice bytes = mesh_buf_slice(&peer->out);
		ssize_t n = send(peer->fd, bytes.data, bytes.len, MSG_NOSIGNAL);

		if (n <= 0)
			return false;
		mesh_buf_consume(&peer->out, (size_t)n);
	}
	return true;
}

static const struct {
	const char *what;
	const char *said;
} floods[] = {
	{"streams opened and reset", "3000*(get + /hold; rst = 8)"},
	{"streams opened and reset in turn", "3000*(get + /; get + /hold; rst = 8)"},
	{"PING", "30000*(ping)"},
	{"SETTINGS", "30000*(settings 4=65535)"},
	{"PRIORITY", "300*(priority 1 0)"},
	{"PRIORITY of a stream", "get 1 /hold; 3000*(priority 1 0)"},
	{"empty DATA", "headers 1 4 " POST "hold; 3*(data 1 0 )"},
	{"empty padded DATA", "headers 1 4 " POST "hold; 3*(frame 0 8 1 0100)"},
	{"empty HEADERS", "frame 1 0 1 -; 3*(frame 9 0 1 -)"},
	{"WINDOW_UPDATE", "300*(window 0 1)"},
	{"WINDOW_UPDATE of a stream", "get 1 /hold; 300*(window 1 1)"},
};

static void test_floods(void **state)
{
	struct h2_server *server = *state;
	unsigned complaints = 0;

	h2_server_listen(server);
	for (size_t i = 0; i < sizeof(floods) / sizeof(floods[0]); i++) {
		unsigned calls = atomic_load(&server->calls);
		struct h2_peer peer;
		const char *story;
		size_t grown;

		h2_server_mark_memory(server);
		h2_server_connect(server, &peer, "preface; ack");
		peer.what = floods[i].what;
		h2_say(&peer.out, floods[i].said);
		pour(&peer);
		story = h2_peer_rest(&peer);
		grown = h2_server_grown(server);
		calls = atomic_load(&server->calls) - calls;
		if (!strstr(story, "ENHANCE_YOUR_CALM") || grown > flood_bytes || calls > 2000) {
			print_error("%s: %zu bytes, %u calls: %.600s\n", floods[i].what, grown, calls,
				    strlen(story) > 600 ? story + strlen(story) - 600 : story);
			complaints++;
		}
		h2_server_disconnect(&peer);
	}
	assert_int_equal(complaints, 0);
	h2_server_assert_serves(server);
}

static void test_malformed_without_end(void **state)
{
	struct h2_server *server = *state;
	struct h2_peer peer;

	server->http2.invalid_message_resets_stream = true;
	h2_server_listen(server);
	h2_server_mark_memory(server);
	h2_server_connect(server, &peer, "preface; ack; 3000*(headers + 5 " GET "|te: gzip)");
	assert_non_null(strstr(h2_peer_rest(&peer), "ENHANCE_YOUR_CALM"));
	assert_true(h2_server_grown(server) < flood_bytes);
	assert_int_equal(atomic_load(&server->calls), 0);
	h2_server_disconnect(&peer);
	h2_server_assert_serves(server);
}

/* Honest use in numbers that no bound may take for a flood. */
static void test_busy_is_no_flood(void **state)
{
	struct h2_server *server = *state;
	struct h2_peer peer;

	server->body_max = 1000;
	h2_server_listen(server);
	h2_server_connect(server, &peer, "preface; ack");
	for (int round = 0; round < 50; round++) {
		char last[32];

		for (int i = 0; i < 20; i++) {
			char line[300];

			snprintf(line, sizeof(line),
				 "headers %u 4 " POST
				 "; data = 0 ; data = 0 a; data = 1 ; priority = 0; window 0 50; ping",
				 (unsigned)(round * 40 + 2 * i + 1));
			h2_say(&peer.out, line);
		}
		assert_true(h2_peer_say(&peer));
		snprintf(last, sizeof(last), "data %d 9 END;", round * 40 + 39);
		assert_non_null(strstr(h2_peer_until(&peer, last), last));
	}
	assert_true(h2_peer_sync(&peer));
	assert_null(strstr(h2_peer_until(&peer, "settings"), "goaway"));
	assert_int_equal(atomic_load(&server->calls), 1000);
	h2_server_disconnect(&peer);
}

/* A field of 4000 bytes put into the table once and named 16000 times in as many bytes. */
static void test_header_bomb(void **state)
{
	static char value[4000];
	struct h2_server *server = *state;
	struct h2_peer peer;
	struct mesh_slice bytes;
	struct buf block;
	const char *story;

	h2_server_listen(server);
	mesh_buf_init(&block, &mesh_mem_default, 0);
	h2_fields(&block, ":method: GET\n:scheme: http\n:authority: reviews\n:path: /\n");
	h2_integer(&block, 0x40, 6, 0); /* with incremental indexing */
	h2_integer(&block, 0, 7, 1);
	h2_bytes(&block, "x", 1);
	memset(value, 'b', sizeof(value));
	h2_integer(&block, 0, 7, sizeof(value));
	h2_bytes(&block, value, sizeof(value));
	for (int i = 0; i < 16000; i++)
		h2_bytes(&block, "\xbe", 1);
	h2_server_connect(server, &peer, "preface; ack");
	assert_true(h2_peer_sync(&peer));
	h2_server_mark_memory(server);
	bytes = mesh_buf_slice(&block);
	assert_true(bytes.len > 16384 && bytes.len < 2 * 16384);
	h2_frame(&peer.out, H2_HEADERS, H2_END_STREAM, 1, bytes.data, 16384);
	h2_frame(&peer.out, H2_CONTINUATION, H2_END_HEADERS, 1, bytes.data + 16384, bytes.len - 16384);
	h2_say(&peer.out, "get 3 /other");
	h2_peer_say(&peer);
	story = h2_peer_rest(&peer); /* to look at all of it for the sake of a 431 would be what it is sent for */
	assert_non_null(strstr(story, "ENHANCE_YOUR_CALM HTTP/2: headers far too large"));
	assert_true(h2_server_grown(server) < 300000);
	assert_int_equal(atomic_load(&server->calls), 0);
	mesh_buf_free(&block);
	h2_server_disconnect(&peer);
	h2_server_assert_serves(server);
}

static void test_header_count(void **state)
{
	static const struct {
		unsigned fields;
		const char *status;
	} cases[] = {{96, "200"}, {97, "431"}, {2000, "431"}}; /* with the four pseudo fields: 100 are let through */
	struct h2_server *server = *state;

	h2_server_listen(server);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char expected[64];
		struct h2_peer peer;
		struct mesh_slice bytes;
		struct buf block;

		mesh_buf_init(&block, &mesh_mem_default, 0);
		h2_fields(&block, ":method: GET\n:scheme: http\n:authority: reviews\n:path: /\n");
		for (unsigned field = 0; field < cases[i].fields; field++)
			h2_field(&block, "x", 1, "y", 1);
		bytes = mesh_buf_slice(&block);
		assert_true(bytes.len <= 16384);
		h2_server_connect(server, &peer, "preface; ack");
		h2_frame(&peer.out, H2_HEADERS, H2_WHOLE, 1, bytes.data, bytes.len);
		h2_peer_say(&peer);
		snprintf(expected, sizeof(expected), "headers 1 :status=%s", cases[i].status);
		if (!strstr(h2_peer_until(&peer, "headers 1 :status"), expected))
			fail_msg("%u fields: %s", cases[i].fields, h2_peer_until(&peer, "headers 1"));
		h2_server_disconnect(&peer);
		mesh_buf_free(&block);
	}
}

/* More streams than were offered: refused as long as the client cannot know, and there is room again later. */
static void test_streams_past_the_bound(void **state)
{
	struct h2_server *server = *state;
	struct h2_peer peer;
	const char *story;

	server->http2.streams_max = 5;
	h2_server_listen(server);
	h2_server_connect(server, &peer, "preface; 5*(get + /hold)");
	h2_server_await(&server->calls, 5);
	h2_say(&peer.out, "get 11 /; get 13 /");
	h2_peer_say(&peer);
	h2_peer_until(&peer, "rst 11 REFUSED_STREAM;");
	story = h2_peer_until(&peer, "rst 13 REFUSED_STREAM;");
	assert_non_null(strstr(story, "settings 3=5"));
	assert_non_null(strstr(story, "rst 11 REFUSED_STREAM;"));
	h2_say(&peer.out, "rst 1 8; get 15 /");
	h2_peer_say(&peer);
	story = h2_peer_until(&peer, "headers 15 :status=200");
	assert_non_null(strstr(story, "headers 15 :status=200"));
	assert_null(strstr(story, "goaway"));
	assert_int_equal(atomic_load(&server->calls), 6);
	/* it knows now: that is no accident any more */
	h2_say(&peer.out, "ack; get 17 /hold; get 19 /hold; get 21 /hold");
	h2_peer_say(&peer);
	story = h2_peer_rest(&peer);
	assert_true(strstr(story, "PROTOCOL_ERROR") || strstr(story, "REFUSED_STREAM"));
	assert_true(atomic_load(&server->calls) <= 7);
	h2_server_disconnect(&peer);
	h2_server_assert_serves(server);
}

/* The window never opens: little is made in advance, and the idle time ends the streams, not the connection. */
static void test_window_never_opens(void **state)
{
	struct h2_server *server = *state;
	struct h2_peer peer;
	const char *story;
	char expected[32];

	server->large_bytes = 100000000;
	server->stream_idle_ns = 300000000;
	h2_server_listen(server);
	h2_server_connect(server, &peer, "preface; ack; settings 4=0");
	assert_true(h2_peer_sync(&peer));
	h2_server_mark_memory(server);
	h2_say(&peer.out, "20*(get + /large)");
	h2_peer_say(&peer);
	for (unsigned id = 1; id < 40; id += 2) {
		snprintf(expected, sizeof(expected), "rst %u ", id);
		story = h2_peer_until(&peer, expected);
		if (!strstr(story, expected))
			fail_msg("stream %u: %s", id, story);
	}
	assert_true(h2_server_grown(server) < 20 * 150000);
	h2_server_await(&server->failed, 20);
	assert_int_equal(atomic_load(&server->error), MESH_ERROR_IDLE_TIMEOUT);
	assert_true(*server->why);
	h2_say(&peer.out, "settings 4=65535; get 101 /other");
	h2_peer_say(&peer);
	assert_non_null(strstr(h2_peer_until(&peer, "headers 101 :status=200"), "headers 101 :status=200"));
	h2_server_disconnect(&peer);
}

/* Windows as wide as they go and nobody who reads: what is made in advance stays bounded all the same. */
static void test_peer_that_does_not_read(void **state)
{
	struct h2_server *server = *state;
	struct h2_peer peer;

	server->large_bytes = 100000000;
	h2_server_listen(server);
	h2_server_mark_memory(server);
	h2_server_connect(server, &peer, "preface; ack; settings 4=0x7fffffff; window 0 0x7fff0000; 20*(get + /large)");
	h2_server_await(&server->calls, 20);
	h2_server_assert_serves(server);
	assert_true(h2_server_grown(server) < 20 * 150000);
	raw_reset(peer.fd);
	h2_server_disconnect(&peer);
	h2_server_await(&server->failed, 20);
	assert_int_equal(atomic_load(&server->error), MESH_ERROR_CLOSED);
}

/* PINGs, and requests, of a peer that reads no answer: it is not listened to any more, or ended. */
static void test_floods_without_reading(void **state)
{
	static const char *const lines[] = {"20000*(ping)", "20000*(settings 4=65535)", "20000*(get + /; rst = 8)"};
	struct h2_server *server = *state;

	h2_server_listen(server);
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		struct timeval wait = {.tv_usec = 200000}; /* not taken for so long: it stopped listening */
		struct h2_peer peer;

		h2_server_mark_memory(server);
		h2_server_connect(server, &peer, "preface; ack; settings 4=0");
		setsockopt(peer.fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait));
		h2_say(&peer.out, lines[i]);
		pour(&peer);
		h2_server_assert_serves(server);
		if (h2_server_grown(server) > flood_bytes)
			fail_msg("%s: the mesh held %zu bytes more, %u calls", lines[i], h2_server_grown(server),
				 atomic_load(&server->calls));
		raw_reset(peer.fd);
		h2_server_disconnect(&peer);
	}
}

/* More bytes than the window: the stream of a handler that does not read, or the connection, ends. */
static void test_window_is_overrun(void **state)
{
	struct h2_server *server = *state;
	struct h2_peer peer;
	const char *story;

	server->http2.stream_window_bytes = 70000;
	h2_server_listen(server);
	h2_server_connect(server, &peer, "preface; ack; headers 1 4 " POST "pause");
	h2_peer_until(&peer, "settings ack;");
	h2_server_mark_memory(server);
	h2_say(&peer.out, "4*(pad 1 0 16384); pad 1 0 4464; pad 1 0 1");
	h2_peer_say(&peer);
	story = h2_peer_until(&peer, "FLOW_CONTROL_ERROR");
	assert_non_null(strstr(story, "FLOW_CONTROL_ERROR"));
	assert_true(h2_server_grown(server) < 300000);
	h2_server_await(&server->failed, 1);
	h2_server_disconnect(&peer);
}

/* Every code a client may end its stream with: the handler is told, and nobody else. */
static void test_reset_with_each_code(void **state)
{
	struct h2_server *server = *state;
	struct h2_peer peer;

	h2_server_listen(server);
	h2_server_connect(server, &peer, "preface; ack");
	for (uint32_t code = 0; code < 16; code++) {
		char line[100], expected[32];

		snprintf(line, sizeof(line), "get %u /hold", 4 * code + 1);
		h2_say(&peer.out, line);
		h2_peer_say(&peer);
		h2_server_await(&server->calls, 2 * code + 1);
		snprintf(line, sizeof(line), "rst %u %u; get %u /other", 4 * code + 1, code == 15 ? 0xffffffff : code,
			 4 * code + 3);
		h2_say(&peer.out, line);
		h2_peer_say(&peer);
		snprintf(expected, sizeof(expected), "headers %u :status=200", 4 * code + 3);
		assert_non_null(strstr(h2_peer_until(&peer, expected), expected));
		h2_server_await(&server->failed, code + 1);
		assert_true(atomic_load(&server->error) == MESH_ERROR_REMOTE_RESET ||
			    atomic_load(&server->error) == MESH_ERROR_CLOSED);
		assert_true(*server->why);
	}
	h2_server_disconnect(&peer);
}

/* A client that says it goes: what it asked for before is still answered. */
static void test_goaway_in_flight(void **state)
{
	struct h2_server *server = *state;
	struct h2_peer peer;
	const char *story;

	server->large_bytes = 300000;
	h2_server_listen(server);
	h2_server_connect(server, &peer, "preface; ack; settings 4=1000; get 1 /large; get 3 /other; goaway 0 0");
	h2_peer_until(&peer, "data 1 1000;");
	h2_say(&peer.out, "settings 4=400000; window 0 400000; window 1 1");
	h2_peer_say(&peer);
	h2_peer_until(&peer, "data 3 12 END;");
	while (peer.data_bytes < 300012 && !peer.ended) {
		mesh_buf_clear(&peer.story);
		h2_peer_until(&peer, "data 1 ");
	}
	story = h2_peer_until(&peer, " ");
	if (peer.data_bytes != 300012)
		fail_msg("%llu bytes: %s", (unsigned long long)peer.data_bytes, story);
	h2_server_disconnect(&peer);
}

/* The connection is gone, in whatever way: each call on it hears so. */
static void test_gone_with_calls_on_it(void **state)
{
	struct h2_server *server = *state;

	h2_server_listen(server);
	for (unsigned way = 0; way < 3; way++) {
		struct h2_peer peer;

		h2_server_connect(server, &peer, "preface; ack; 3*(get + /hold)");
		h2_server_await(&server->calls, 3 * way + 3);
		if (way == 0)
			shutdown(peer.fd, SHUT_WR);
		else if (way == 1)
			raw_reset(peer.fd);
		if (way == 0)
			h2_peer_rest(&peer);
		h2_server_disconnect(&peer);
		h2_server_await(&server->failed, 3 * way + 3);
		assert_true(*server->why);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_floods, h2_server_open, h2_server_close),
		cmocka_unit_test_setup_teardown(test_malformed_without_end, h2_server_open, h2_server_close),
		cmocka_unit_test_setup_teardown(test_busy_is_no_flood, h2_server_open, h2_server_close),
		cmocka_unit_test_setup_teardown(test_header_bomb, h2_server_open, h2_server_close),
		cmocka_unit_test_setup_teardown(test_header_count, h2_server_open, h2_server_close),
		cmocka_unit_test_setup_teardown(test_streams_past_the_bound, h2_server_open, h2_server_close),
		cmocka_unit_test_setup_teardown(test_window_never_opens, h2_server_open, h2_server_close),
		cmocka_unit_test_setup_teardown(test_peer_that_does_not_read, h2_server_open, h2_server_close),
		cmocka_unit_test_setup_teardown(test_floods_without_reading, h2_server_open, h2_server_close),
		cmocka_unit_test_setup_teardown(test_window_is_overrun, h2_server_open, h2_server_close),
		cmocka_unit_test_setup_teardown(test_reset_with_each_code, h2_server_open, h2_server_close),
		cmocka_unit_test_setup_teardown(test_goaway_in_flight, h2_server_open, h2_server_close),
		cmocka_unit_test_setup_teardown(test_gone_with_calls_on_it, h2_server_open, h2_server_close),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
