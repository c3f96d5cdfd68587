/* SPDX-License-Identifier: Apache-2.0 */
/* How connections of the HTTP/2 mux end: going away, a transport that breaks; and how many exchanges they take. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <mesh/error.h>

#include "loop/loop.h"

#include "support/http2_pair.h"

static const struct http_head post = {
	.method = {"POST", 4}, .authority = {"a", 1}, .path = {"/", 1}, .content_length = -1};

static void test_server_drains(void **state)
{
	struct http2_pair p;
	struct http2_seen *call, *late, *none;

	http2_pair_open(&p, NULL, NULL);
	call = http2_get(&p, "/1");
	http2_pair_pump(&p);
	mesh_mux_drain(p.server.mux);
	late = http2_get(&p, "/late"); /* on its way while the notice is on the other */
	http2_side_step(&p.server);
	http2_pair_pump(&p);
	assert_int_equal(mesh_mux_capacity(p.client.mux), 0);
	none = http2_seen_new(&p.client);
	assert_int_equal(mesh_exchange_open(p.client.mux, &none->exchange), MESH_ERROR_STATE);
	assert_int_equal(p.server.count, 2);
	assert_false(p.server.closed || p.client.closed);
	http2_answer(p.server.seen[0], 200, "");
	http2_answer(p.server.seen[1], 200, "");
	http2_pair_pump(&p);
	assert_string_equal(call->log, "head 200;end;over OK;");
	assert_string_equal(late->log, "head 200;end;over OK;");
	assert_true(p.server.closed && p.client.closed);
	assert_int_equal(p.server.closed_error, 0);
	assert_int_equal(p.client.closed_error, 0);
	http2_pair_close(&p);
}

/* What was answered leaves before the end, and the end is not told before. */
static void test_drains_as_far_as_the_peer_reads(void **state)
{
	struct http2_pair p;
	struct http2_seen *call;

	http2_pair_open(&p, NULL, NULL);
	call = http2_get(&p, "/");
	http2_pair_pump(&p);
	mesh_mux_drain(p.server.mux);
	http2_pair_pump(&p);
	p.server.write_room = 10;
	http2_answer(p.server.seen[0], 200, "some words");
	http2_pair_pump(&p);
	assert_false(p.server.closed);
	assert_string_equal(call->log, "");
	p.server.write_room = SIZE_MAX;
	http2_pair_pump(&p);
	assert_string_equal(call->log, "head 200;data some words;end;over OK;");
	assert_true(p.server.closed && p.client.closed);
	assert_int_equal(p.server.closed_error, 0);
	http2_pair_close(&p);
}

static void test_client_drains(void **state)
{
	for (unsigned busy = 0; busy < 2; busy++) {
		struct http2_pair p;
		struct http2_seen *call = NULL;

		http2_pair_open(&p, NULL, NULL);
		if (busy)
			call = http2_get(&p, "/1");
		http2_pair_pump(&p);
		mesh_mux_drain(p.client.mux);
		http2_pair_pump(&p);
		assert_int_equal(mesh_mux_capacity(p.client.mux), 0);
		if (busy) {
			assert_false(p.client.closed);
			http2_answer(p.server.seen[0], 200, "");
			http2_pair_pump(&p);
			assert_string_equal(call->log, "head 200;end;over OK;");
		}
		assert_true(p.client.closed && p.server.closed);
		assert_int_equal(p.client.closed_error, 0);
		assert_int_equal(p.server.closed_error, 0);
		http2_pair_close(&p);
	}
}

static void test_goaway_tells_what_was_not_begun(void **state)
{
	struct http2_pair p;
	struct http2_seen *calls[3];
	char text[256];

	http2_client_open(&p, NULL);
	http2_raw_frame(&p.down, 4, 0, 0, (struct mesh_slice){NULL, 0});
	for (unsigned i = 0; i < 3; i++)
		calls[i] = http2_get(&p, "/");
	http2_pair_pump(&p);
	mesh_buf_consume(&p.up, 24);
	http2_raw_seen(&p.up, text, sizeof(text));
	assert_string_equal(text, "SETTINGS;SETTINGS ack;WINDOW_UPDATE;HEADERS 1 end;HEADERS 3 end;HEADERS 5 end;");
	http2_raw_frame(&p.down, 7, 0, 0, MESH_SLICE("\0\0\0\3\0\0\0\xb"));
	http2_raw_frame(&p.down, 3, 0, 3, MESH_SLICE("\0\0\0\x7"));
	http2_raw_frame(&p.down, 1, 5, 1, MESH_SLICE("\x89")); /* :status 204 */
	http2_pair_pump(&p);
	assert_string_equal(calls[0]->log, "head 204;end;over OK;");
	assert_string_equal(calls[1]->log, "over REFUSED unprocessed;");
	assert_string_equal(calls[2]->log, "over REFUSED unprocessed;");
	assert_non_null(strstr(calls[2]->why, "ENHANCE_YOUR_CALM"));
	assert_true(p.client.closed);
	assert_int_equal(p.client.closed_error, 0);
	http2_pair_close(&p);
}

static void test_peer_vanishes(void **state)
{
	struct http2_pair p;
	struct http2_seen *call, *unsent;

	http2_pair_open(&p, NULL, NULL);
	call = http2_get(&p, "/1");
	http2_pair_pump(&p);
	unsent = http2_get(&p, "/2");
	p.server.ended = true;
	mesh_mux_ready(p.client.mux, 1);
	assert_string_equal(call->log, "over RESET;");
	assert_string_equal(unsent->log, "over RESET unprocessed;");
	assert_true(p.client.closed);
	assert_int_equal(p.client.closed_error, MESH_ERROR_RESET);
	p.client.ended = true;
	mesh_mux_ready(p.server.mux, 1);
	assert_string_equal(p.server.seen[0]->log, "head GET /1;end;over RESET;");
	assert_true(p.server.closed);
	http2_pair_close(&p);
	/* told by the poll alone */
	http2_pair_open(&p, NULL, NULL);
	call = http2_get(&p, "/1");
	http2_pair_pump(&p);
	mesh_mux_ready(p.client.mux, LOOP_ERROR);
	assert_string_equal(call->why, "the connection was reset");
	assert_true(p.client.closed);
	http2_pair_close(&p);
	/* with nothing under way it is an orderly end */
	http2_pair_open(&p, NULL, NULL);
	http2_pair_pump(&p);
	p.server.ended = true;
	mesh_mux_ready(p.client.mux, 1);
	assert_true(p.client.closed);
	assert_int_equal(p.client.closed_error, 0);
	http2_pair_close(&p);
}

static void pause_now(struct http2_seen *seen, const char *event)
{
	if (!strcmp(event, "head"))
		mesh_exchange_pause(&seen->exchange, true);
}

/* An answer that came whole outlives the connection, though its request had not ended and it is not taken yet. */
static void test_whole_answer_outlives_the_connection(void **state)
{
	struct http2_pair p;
	struct http2_seen *call;

	http2_pair_open(&p, NULL, NULL);
	p.client.hook = pause_now;
	call = http2_call(&p, &post, false);
	http2_pair_pump(&p);
	http2_answer(p.server.seen[0], 200, "body");
	for (unsigned i = 0; i < 3; i++)
		http2_side_step(&p.server);
	mesh_mux_ready(p.client.mux, 1);
	p.server.ended = true;
	mesh_mux_ready(p.client.mux, 1);
	assert_string_equal(call->log, "head 200;");
	mesh_exchange_pause(&call->exchange, false);
	http2_pair_pump(&p);
	assert_string_equal(call->log, "head 200;data body;end;over OK;");
	assert_true(p.client.closed);
	http2_pair_close(&p);
}

static void test_writing_fails(void **state)
{
	struct http2_pair p;
	struct http2_seen *call, *unsent;

	http2_pair_open(&p, NULL, NULL);
	call = http2_get(&p, "/1");
	http2_pair_pump(&p);
	http2_answer(p.server.seen[0], 200, "answered before");
	http2_side_step(&p.server);
	unsent = http2_get(&p, "/2");
	p.client.write_fails = true;
	mesh_mux_flush(p.client.mux);
	assert_string_equal(call->log, "head 200;data answered before;end;over OK;");
	assert_string_equal(unsent->log, "over RESET unprocessed;");
	assert_true(p.client.closed);
	assert_string_equal(p.client.closed_why, "send: broken");
	http2_pair_close(&p);
}

static void test_capacity(void **state)
{
	struct mux_limits few = mesh_mux_limits_default, fewer = mesh_mux_limits_default;
	struct http2_pair p;
	struct http2_seen *calls[3];

	few.http2.streams_max = 3;
	fewer.http2.streams_max = 2;
	http2_pair_open(&p, NULL, NULL);
	assert_int_equal(mesh_mux_capacity(p.client.mux), 100); /* until the peer said more */
	assert_int_equal(mesh_mux_capacity(p.server.mux), 0);
	http2_pair_pump(&p);
	assert_int_equal(mesh_mux_capacity(p.client.mux), 1024);
	assert_int_equal(p.client.idle, 1);
	http2_pair_close(&p);
	http2_pair_open(&p, &few, &fewer);
	assert_int_equal(mesh_mux_capacity(p.client.mux), 3);
	for (unsigned i = 0; i < 3; i++)
		calls[i] = http2_get(&p, "/");
	assert_int_equal(mesh_mux_capacity(p.client.mux), 0);
	http2_pair_pump(&p);
	/* one more than the server takes, sent before it could know */
	assert_int_equal(p.server.count, 2);
	assert_string_equal(calls[2]->log, "over REFUSED unprocessed;");
	assert_int_equal(mesh_mux_capacity(p.client.mux), 0);
	http2_answer(p.server.seen[0], 200, "");
	http2_answer(p.server.seen[1], 200, "");
	http2_pair_pump(&p);
	for (unsigned i = 0; i < 2; i++)
		assert_string_equal(calls[i]->log, "head 200;end;over OK;");
	assert_int_equal(mesh_mux_capacity(p.client.mux), 2);
	http2_pair_close(&p);
}

static void test_requests_max(void **state)
{
	for (unsigned server = 0; server < 2; server++) {
		struct mux_limits limits = mesh_mux_limits_default;
		struct http2_pair p;
		struct http2_seen *call;

		limits.requests_max = 2;
		http2_pair_open(&p, server ? NULL : &limits, server ? &limits : NULL);
		for (unsigned i = 0; i < 2; i++) {
			http2_pair_pump(&p);
			assert_false(p.client.closed || p.server.closed);
			call = http2_get(&p, "/");
			http2_pair_pump(&p);
			http2_answer(p.server.seen[i], 200, "");
		}
		assert_int_equal(mesh_mux_capacity(p.client.mux), 0);
		http2_pair_pump(&p);
		assert_string_equal(call->log, "head 200;end;over OK;");
		assert_true(p.client.closed && p.server.closed);
		assert_int_equal(p.client.closed_error + p.server.closed_error, 0);
		http2_pair_close(&p);
	}
}

static void test_ping(void **state)
{
	struct http2_pair p;

	http2_pair_open(&p, NULL, NULL);
	mesh_mux_ping(p.client.mux);
	mesh_mux_ping(p.client.mux);
	mesh_mux_ping(p.server.mux);
	assert_int_equal(p.client.mux->pings, 2);
	http2_pair_pump(&p);
	assert_int_equal(p.client.mux->pings, 0);
	assert_int_equal(p.server.mux->pings, 0);
	http2_pair_close(&p);
}

static void test_abort(void **state)
{
	struct http2_pair p;
	struct http2_seen *call;

	http2_pair_open(&p, NULL, NULL);
	call = http2_get(&p, "/");
	http2_pair_pump(&p);
	mesh_mux_abort(p.server.mux, MESH_ERROR_TIMEOUT, "too long");
	assert_false(p.server.closed); /* not inside */
	http2_pair_pump(&p);
	assert_true(p.server.closed);
	assert_int_equal(p.server.closed_error, MESH_ERROR_TIMEOUT);
	assert_string_equal(p.server.closed_why, "too long");
	assert_string_equal(p.server.seen[0]->log, "head GET /;end;over TIMEOUT;");
	assert_true(call->over && call->error);
	assert_true(p.client.closed);
	http2_pair_close(&p);
}

/* A peer that reads nothing: reading stops, and what it asked for is bounded. */
static void test_peer_does_not_read(void **state)
{
	struct http2_pair p;
	char body[1001];

	memset(body, 'b', 1000);
	body[1000] = '\0';
	http2_server_open(&p, NULL, (struct mesh_slice){NULL, 0});
	http2_raw_start(&p.up);
	http2_pair_pump(&p);
	p.server.write_room = 0;
	for (unsigned i = 0; i < 400; i++) {
		http2_raw_get(&p.up, 2 * i + 1, 1, "/");
		http2_pair_pump(&p);
		if (p.server.count > i)
			http2_answer(p.server.seen[i], 200, body);
	}
	assert_false(p.server.closed);
	assert_in_range(p.server.count, 10, 300);
	assert_false(mesh_mux_wants(p.server.mux) & 1);
	p.server.write_room = SIZE_MAX;
	http2_pair_pump(&p);
	assert_int_equal(p.server.count, 400);
	http2_pair_close(&p);
}

/* A transport that takes little at a time, and gives little. */
static void test_slow_transport(void **state)
{
	struct http2_pair p;
	struct http2_seen *calls[3];

	http2_pair_open(&p, NULL, NULL);
	p.client.read_max = p.server.read_max = 100;
	for (unsigned i = 0; i < 3; i++) {
		calls[i] = http2_call(&p, &post, false);
		http2_send_much(calls[i], 100000);
	}
	for (unsigned i = 0; i < 100000 && !(calls[0]->over && calls[1]->over && calls[2]->over); i++) {
		p.client.write_room = i % 3 * 1000;
		p.server.write_room = i % 5 * 70;
		http2_side_step(&p.client);
		http2_side_step(&p.server);
		for (unsigned n = 0; n < p.server.count; n++)
			if (p.server.seen[n]->exchange.received_end && !p.server.seen[n]->exchange.head_sent) {
				http2_answer(p.server.seen[n], 200, NULL);
				http2_send_much(p.server.seen[n], 30000);
			}
	}
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(p.server.seen[i]->received, 100000);
		assert_int_equal(calls[i]->received, 30000);
		assert_true(calls[i]->over && !calls[i]->error);
	}
	http2_pair_close(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_server_drains),
		cmocka_unit_test(test_drains_as_far_as_the_peer_reads),
		cmocka_unit_test(test_client_drains),
		cmocka_unit_test(test_goaway_tells_what_was_not_begun),
		cmocka_unit_test(test_peer_vanishes),
		cmocka_unit_test(test_whole_answer_outlives_the_connection),
		cmocka_unit_test(test_writing_fails),
		cmocka_unit_test(test_capacity),
		cmocka_unit_test(test_requests_max),
		cmocka_unit_test(test_ping),
		cmocka_unit_test(test_abort),
		cmocka_unit_test(test_peer_does_not_read),
		cmocka_unit_test(test_slow_transport),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
