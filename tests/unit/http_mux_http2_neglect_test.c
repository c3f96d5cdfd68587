/* SPDX-License-Identifier: Apache-2.0 */
/* Peers of the HTTP/2 mux that keep to the letter and do not do their part: what they may make us hold, and for how long. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <mesh/error.h>

#include "loop/loop.h"
#include "support/http2_pair.h"

static const struct mesh_slice nothing = {NULL, 0};
static const struct mesh_slice ok_block = {"\x88", 1}; /* :status 200 */
static const struct http_head post = {
	.method = {"POST", 4}, .authority = {"a", 1}, .path = {"/", 1}, .content_length = -1};

static void begin_client(struct http2_pair *p)
{
	http2_client_open(p, NULL);
	http2_raw_frame(&p->down, 4, 0, 0, nothing);
	http2_raw_frame(&p->down, 4, 1, 0, nothing);
	http2_pair_pump(p);
	mesh_buf_consume(&p->up, 24); /* the preface, which is no frame */
}

/* Answered whole, but the window for the body never opens: neither the body nor the stream is kept for that. */
static void test_answer_before_the_body(void **state)
{
	struct http2_pair p;
	char text[60000];

	begin_client(&p);
	for (uint32_t i = 0; i < 20; i++) {
		struct http2_seen *call = http2_call(&p, &post, false);

		http2_send_much(call, 100000);
		http2_pair_pump(&p);
		http2_raw_frame(&p.down, 1, 5, 2 * i + 1, ok_block);
		http2_pair_pump(&p);
		http2_send_much(call, 0);
		assert_true(call->over);
	}
	assert_int_equal(mesh_mux_capacity(p.client.mux), 1024);
	http2_raw_seen(&p.up, text, sizeof(text));
	assert_non_null(strstr(text, "RST_STREAM 39 NO_ERROR;"));
	http2_pair_close(&p);
}

/* The whole body is with the mux, and so is its end. */
static void test_answer_before_all_left(void **state)
{
	static char body[200000];
	struct http2_pair p;

	begin_client(&p);
	for (uint32_t i = 0; i < 20; i++) {
		struct http2_seen *call = http2_call(&p, &post, false);

		assert_int_equal(mesh_exchange_send_data(&call->exchange, mesh_slice_make(body, sizeof(body)), true),
				 0);
		http2_pair_pump(&p);
		http2_raw_frame(&p.down, 1, 5, 2 * i + 1, ok_block);
		http2_pair_pump(&p);
		assert_string_equal(call->log, "head 200;end;over OK;");
	}
	assert_int_equal(mesh_mux_capacity(p.client.mux), 1024);
	http2_pair_close(&p);
}

/* It answers, says that it leaves, and reads no more: our goodbye does not wait for it. */
static void test_goodbye_nobody_reads(void **state)
{
	struct http2_pair p;
	struct http2_seen *call;

	begin_client(&p);
	call = http2_call(&p, &post, false);
	p.client.write_room = 100;
	http2_send_much(call, 60000);
	http2_pair_pump(&p);
	http2_raw_frame(&p.down, 1, 5, 1, ok_block);
	http2_raw_frame(&p.down, 7, 0, 0, MESH_SLICE("\0\0\0\1\0\0\0\0"));
	http2_pair_pump(&p);
	assert_true(call->over);
	assert_int_equal(call->error, 0);
	assert_true(p.client.closed);
	assert_int_equal(p.client.closed_error, 0);
	http2_pair_close(&p);
}

/* What did not leave before the peer said that it goes was refused, not wrong. */
static void test_leaving_before_the_request_left(void **state)
{
	struct http2_pair p;
	struct http2_seen *call;

	begin_client(&p);
	call = http2_get(&p, "/");
	http2_raw_frame(&p.down, 7, 0, 0, MESH_SLICE("\0\0\0\0\0\0\0\0"));
	http2_pair_pump(&p);
	assert_string_equal(call->log, "over REFUSED unprocessed;");
	assert_non_null(strstr(call->why, "going away"));
	http2_pair_close(&p);
}

/* Fewer at once than are under way, none at all, then some: nobody is lost and nobody comes early. */
static void test_fewer_streams_than_there_are(void **state)
{
	struct http2_pair p;
	struct http2_seen *calls[4];

	begin_client(&p);
	for (unsigned i = 0; i < 3; i++)
		calls[i] = http2_get(&p, "/");
	http2_pair_pump(&p);
	http2_raw_frame(&p.down, 4, 0, 0, MESH_SLICE("\0\3\0\0\0\0"));
	http2_pair_pump(&p);
	assert_int_equal(mesh_mux_capacity(p.client.mux), 0);
	for (uint32_t i = 0; i < 3; i++)
		http2_raw_frame(&p.down, 1, 5, 2 * i + 1, ok_block);
	http2_pair_pump(&p);
	for (unsigned i = 0; i < 3; i++)
		assert_string_equal(calls[i]->log, "head 200;end;over OK;");
	assert_int_equal(mesh_mux_capacity(p.client.mux), 0);
	p.client.idle = 0;
	http2_raw_frame(&p.down, 4, 0, 0, MESH_SLICE("\0\3\0\0\0\2"));
	http2_pair_pump(&p);
	assert_int_equal(p.client.idle, 1);
	assert_int_equal(mesh_mux_capacity(p.client.mux), 2);
	calls[3] = http2_get(&p, "/");
	http2_pair_pump(&p);
	http2_raw_frame(&p.down, 1, 5, 7, ok_block);
	http2_pair_pump(&p);
	assert_string_equal(calls[3]->log, "head 200;end;over OK;");
	http2_pair_close(&p);
}

/* Handed to the mux, but the peer takes none by then: given up, they leave no trace. */
static void test_given_up_while_none_is_taken(void **state)
{
	struct http2_pair p;
	struct http2_seen *calls[10];
	char text[4096];

	begin_client(&p);
	for (unsigned i = 0; i < 10; i++)
		calls[i] = http2_get(&p, "/");
	http2_raw_frame(&p.down, 4, 0, 0, MESH_SLICE("\0\3\0\0\0\0"));
	http2_pair_pump(&p);
	for (unsigned i = 0; i < 10; i++)
		mesh_exchange_reset(&calls[i]->exchange, MESH_ERROR_TIMEOUT);
	http2_pair_pump(&p);
	assert_int_equal(p.client.mux->active, 0);
	http2_raw_frame(&p.down, 4, 0, 0, MESH_SLICE("\0\3\0\0\0\x64"));
	http2_pair_pump(&p);
	assert_int_equal(mesh_mux_capacity(p.client.mux), 100);
	http2_raw_seen(&p.up, text, sizeof(text));
	assert_null(strstr(text, "HEADERS"));
	http2_pair_close(&p);
}

/* GOAWAY below what is under way, then data on it all the same: refused, and the data is nobody's. */
static void test_data_of_what_was_refused(void **state)
{
	struct http2_pair p;
	struct http2_seen *calls[2];
	static char body[16000];

	begin_client(&p);
	for (unsigned i = 0; i < 2; i++)
		calls[i] = http2_get(&p, "/");
	http2_pair_pump(&p);
	http2_raw_frame(&p.down, 1, 4, 3, ok_block);
	http2_raw_frame(&p.down, 7, 0, 0, MESH_SLICE("\0\0\0\1\0\0\0\0"));
	http2_raw_frame(&p.down, 0, 0, 3, mesh_slice_make(body, sizeof(body)));
	http2_raw_frame(&p.down, 1, 4, 1, ok_block);
	http2_raw_frame(&p.down, 0, 1, 1, MESH_SLICE("one"));
	http2_pair_pump(&p);
	assert_string_equal(calls[0]->log, "head 200;data one;end;over OK;");
	assert_int_equal(calls[1]->error, MESH_ERROR_REFUSED);
	assert_false(calls[1]->unprocessed); /* it answered: it has acted */
	assert_true(p.client.closed);
	http2_pair_close(&p);
}

/* A window made negative by SETTINGS stops a body, and opens again. */
static void test_window_below_nothing(void **state)
{
	struct http2_pair p;
	struct http2_seen *call;
	size_t got;

	begin_client(&p);
	call = http2_call(&p, &post, false);
	http2_send_much(call, 100000);
	http2_pair_pump(&p);
	got = mesh_buf_len(&p.up);
	assert_in_range(got, 65535, 65535 + 200);
	http2_raw_frame(&p.down, 4, 0, 0, MESH_SLICE("\0\4\0\0\0\1"));
	http2_raw_frame(&p.down, 8, 0, 0, MESH_SLICE("\0\1\0\0"));
	http2_raw_frame(&p.down, 8, 0, 1, MESH_SLICE("\0\0\xff\xfe"));
	http2_pair_pump(&p);
	assert_in_range(mesh_buf_len(&p.up), got, got + 9 + 200); /* exactly nothing: the window is 0 */
	http2_raw_frame(&p.down, 8, 0, 1, MESH_SLICE("\0\1\0\0"));
	http2_pair_pump(&p);
	assert_int_equal(call->to_send, 0);
	assert_int_equal(call->exchange.left_bytes, 100000);
	http2_raw_frame(&p.down, 1, 5, 1, ok_block);
	http2_pair_pump(&p);
	assert_string_equal(call->log, "head 200;end;over OK;");
	http2_pair_close(&p);
}

/* A crumb of a cookie is a byte on the wire, and must not cost many times what a header may be large. */
static void test_crumbs(void **state)
{
	struct http2_pair p;
	struct buf block;
	char crumbs[9000];

	http2_server_open(&p, NULL, nothing);
	http2_raw_start(&p.up);
	http2_raw_frame(&p.up, 4, 1, 0, nothing);
	memset(crumbs, 0x80 | 62, sizeof(crumbs));
	mesh_buf_init(&block, &mesh_mem_default, 0);
	http2_raw_field(&block, ":method", "GET");
	http2_raw_field(&block, ":scheme", "http");
	http2_raw_field(&block, ":authority", "a");
	http2_raw_field(&block, ":path", "/");
	assert_int_equal(mesh_buf_append(&block, MESH_SLICE("\x40\x06"
							    "cookie\0")),
			 0);
	assert_int_equal(mesh_buf_append(&block, mesh_slice_make(crumbs, sizeof(crumbs))), 0);
	http2_raw_frame(&p.up, 1, 5, 1, mesh_buf_slice(&block));
	mesh_buf_free(&block);
	http2_pair_pump(&p);
	assert_int_equal(p.server.count, 1);
	assert_in_range(p.server.seen[0]->arena.total, 0, 4 * mesh_mux_limits_default.head_bytes_max);
	http2_pair_close(&p);
}

/* Reset before its first bytes, read while sniffing, were looked at: nothing is begun. */
static void test_lost_before_the_first_look(void **state)
{
	struct http2_pair p;
	struct buf head;

	mesh_buf_init(&head, &mesh_mem_default, 0);
	http2_raw_start(&head);
	http2_raw_get(&head, 1, 1, "/");
	http2_server_open(&p, NULL, mesh_buf_slice(&head));
	mesh_buf_free(&head);
	mesh_mux_ready(p.server.mux, LOOP_ERROR);
	http2_pair_pump(&p);
	assert_int_equal(p.server.count, 0);
	assert_true(p.server.closed);
	http2_pair_close(&p);
}

/* It was told how many it may send, and does not answer the ping that asks whether it heard. */
static void test_more_requests_than_allowed(void **state)
{
	struct mux_limits limits = mesh_mux_limits_default;
	struct http2_pair p;

	limits.requests_max = 2;
	limits.http2.streams_max = 3;
	http2_server_open(&p, &limits, nothing);
	http2_raw_start(&p.up);
	http2_raw_frame(&p.up, 4, 1, 0, nothing);
	for (uint32_t i = 0; i < 40; i++) {
		size_t before = p.server.count;

		http2_raw_get(&p.up, 2 * i + 1, 1, "/");
		http2_pair_pump(&p);
		if (p.server.count > before)
			http2_answer(p.server.seen[before], 200, "");
		http2_pair_pump(&p);
	}
	assert_in_range(p.server.count, 2, 5);
	assert_true(p.server.closed);
	http2_pair_close(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_answer_before_the_body),
		cmocka_unit_test(test_answer_before_all_left),
		cmocka_unit_test(test_goodbye_nobody_reads),
		cmocka_unit_test(test_leaving_before_the_request_left),
		cmocka_unit_test(test_fewer_streams_than_there_are),
		cmocka_unit_test(test_given_up_while_none_is_taken),
		cmocka_unit_test(test_data_of_what_was_refused),
		cmocka_unit_test(test_window_below_nothing),
		cmocka_unit_test(test_crumbs),
		cmocka_unit_test(test_lost_before_the_first_look),
		cmocka_unit_test(test_more_requests_than_allowed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
