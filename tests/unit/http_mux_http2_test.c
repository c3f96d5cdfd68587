/* SPDX-License-Identifier: Apache-2.0 */
/* The HTTP/2 mux: a client and a server against each other over memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "support/http2_pair.h"

static void test_request_and_response(void **state)
{
	struct http2_pair p;
	struct http2_seen *call;

	http2_pair_open(&p, NULL, NULL);
	for (unsigned i = 0; i < 3; i++) {
		call = http2_get(&p, "/hello?x=1");
		http2_pair_pump(&p);
		assert_string_equal(p.server.seen[i]->log, "head GET /hello?x=1;end;");
		http2_answer(p.server.seen[i], 200, "ok");
		http2_pair_pump(&p);
		assert_string_equal(call->log, "head 200;data ok;end;over OK;");
		assert_string_equal(p.server.seen[i]->log, "head GET /hello?x=1;end;over OK;");
		assert_int_equal(p.client.mux->active, 0);
		assert_int_equal(p.server.mux->active, 0);
	}
	assert_int_equal(p.client.idle, 4); /* one for the peer's settings */
	assert_int_equal(p.client.mux->carried, 3);
	http2_pair_close(&p);
}

static void test_bodies_and_trailers(void **state)
{
	for (size_t piece = 1; piece < 100000; piece *= 31) {
		struct http2_pair p;
		struct http2_seen *call, *served;
		struct mesh_header items[] = {{{"X-Sum", 5}, {"a b", 3}}, {{"connection", 10}, {"close", 5}}};
		struct headers trailers = {items, 2, 2};
		struct http_head head = {
			.method = {"POST", 4}, .authority = {"a", 1}, .path = {"/", 1}, .content_length = -1};

		http2_pair_open(&p, NULL, NULL);
		p.client.read_max = p.server.read_max = piece;
		call = http2_call(&p, &head, false);
		assert_int_equal(mesh_exchange_send_data(&call->exchange, mesh_slice_of("abc"), false), 0);
		assert_int_equal(mesh_exchange_send_trailers(&call->exchange, &trailers), 0);
		assert_int_equal(mesh_exchange_send_data(&call->exchange, mesh_slice_of("x"), true), MESH_ERROR_STATE);
		http2_pair_pump(&p);
		served = p.server.seen[0];
		assert_string_equal(served->body, "abc");
		assert_string_equal(served->trailers, "x-sum=a b;");
		http2_answer(served, 200, NULL);
		assert_int_equal(mesh_exchange_send_data(&served->exchange, mesh_slice_of("body"), false), 0);
		http2_pair_pump(&p);
		assert_string_equal(call->body, "body");
		assert_int_equal(mesh_exchange_send_trailers(&served->exchange, &trailers), 0);
		http2_pair_pump(&p);
		assert_string_equal(call->trailers, "x-sum=a b;");
		assert_true(call->over && !call->error && served->over && !served->error);
		http2_pair_close(&p);
	}
}

/* Far more than the windows hold, both ways at once, with streams taking turns. */
static void test_windows_and_turns(void **state)
{
	enum { BYTES = 900000 };
	struct http_head head = {
		.method = {"POST", 4}, .authority = {"a", 1}, .path = {"/", 1}, .content_length = BYTES};
	struct http2_pair p;
	struct http2_seen *calls[3];
	size_t smallest = 0, largest = 0;

	http2_pair_open(&p, NULL, NULL);
	for (unsigned i = 0; i < 3; i++) {
		calls[i] = http2_call(&p, &head, false);
		http2_send_much(calls[i], BYTES);
		assert_true(calls[i]->to_send > 0); /* AGAIN came */
	}
	for (unsigned round = 0; !largest || largest < BYTES / 2; round++) {
		assert_true(round < 10000);
		http2_side_step(&p.client);
		http2_side_step(&p.server);
		smallest = BYTES, largest = 0;
		for (unsigned i = 0; i < p.server.count; i++) {
			smallest = p.server.seen[i]->received < smallest ? p.server.seen[i]->received : smallest;
			largest = p.server.seen[i]->received > largest ? p.server.seen[i]->received : largest;
		}
	}
	assert_true(largest - smallest < 140000);
	http2_pair_pump(&p);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(p.server.seen[i]->received, BYTES);
		http2_answer(p.server.seen[i], 200, NULL);
		http2_send_much(p.server.seen[i], BYTES);
	}
	for (largest = 0; largest < BYTES / 2;) {
		http2_side_step(&p.server);
		http2_side_step(&p.client);
		smallest = BYTES, largest = 0;
		for (unsigned i = 0; i < 3; i++) {
			smallest = calls[i]->received < smallest ? calls[i]->received : smallest;
			largest = calls[i]->received > largest ? calls[i]->received : largest;
		}
	}
	assert_true(largest - smallest < 140000);
	http2_pair_pump(&p);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(calls[i]->received, BYTES);
		assert_true(calls[i]->over && !calls[i]->error);
	}
	http2_pair_close(&p);
}

/* What a paused exchange does not take stays at the sender, but for its window; others go on. */
static void test_pause(void **state)
{
	struct http_head head = {.method = {"POST", 4}, .authority = {"a", 1}, .path = {"/", 1}, .content_length = -1};
	struct mux_limits limits = mesh_mux_limits_default;
	struct http2_pair p;
	struct http2_seen *call, *served, *other;
	size_t before;

	limits.http2.stream_window_bytes = 100000;
	http2_pair_open(&p, NULL, &limits);
	call = http2_call(&p, &head, false);
	http2_pair_pump(&p);
	served = p.server.seen[0];
	mesh_exchange_pause(&served->exchange, true);
	http2_send_much(call, 1000000);
	http2_pair_pump(&p);
	assert_int_equal(served->received, 0);
	assert_in_range(call->to_send, 1000000 - 100000 - 3 * 65536, 1000000 - 100000);
	other = http2_get(&p, "/other");
	http2_pair_pump(&p);
	http2_answer(p.server.seen[1], 204, "");
	http2_pair_pump(&p);
	assert_string_equal(other->log, "head 204;end;over OK;");
	before = served->received;
	mesh_exchange_pause(&served->exchange, false);
	assert_int_equal(served->received, before); /* not inside */
	http2_pair_pump(&p);
	assert_int_equal(served->received, 1000000);
	assert_non_null(strstr(served->log, "data"));
	assert_true(served->exchange.received_end);
	http2_pair_close(&p);
}

static void pause_at_data(struct http2_seen *seen, const char *event)
{
	if (!strcmp(event, "data"))
		mesh_exchange_pause(&seen->exchange, true);
}

/* Paused inside an event, and the connection is gone before the rest was taken. */
static void test_paused_response_survives_the_connection(void **state)
{
	struct http2_pair p;
	struct http2_seen *call;

	http2_pair_open(&p, NULL, NULL);
	p.client.hook = pause_at_data;
	call = http2_get(&p, "/");
	http2_pair_pump(&p);
	http2_answer(p.server.seen[0], 200, NULL);
	assert_int_equal(mesh_exchange_send_data(&p.server.seen[0]->exchange, mesh_slice_of("one"), false), 0);
	http2_pair_pump(&p);
	assert_int_equal(mesh_exchange_send_data(&p.server.seen[0]->exchange, mesh_slice_of("two"), true), 0);
	http2_pair_pump(&p);
	assert_string_equal(call->log, "head 200;data one;");
	p.server.ended = true;
	http2_pair_pump(&p);
	assert_string_equal(call->log, "head 200;data one;");
	mesh_exchange_pause(&call->exchange, false);
	http2_pair_pump(&p);
	assert_string_equal(call->log, "head 200;data one;data two;");
	mesh_exchange_pause(&call->exchange, false);
	http2_pair_pump(&p);
	assert_string_equal(call->log, "head 200;data one;data two;end;over OK;");
	assert_true(p.client.closed);
	http2_pair_close(&p);
}

static void test_room_to_send(void **state)
{
	static char large[200000];
	struct http_head head = {
		.method = {"POST", 4}, .authority = {"a", 1}, .path = {"/", 1}, .content_length = 200002};
	struct http2_pair p;
	struct http2_seen *call;

	http2_pair_open(&p, NULL, NULL);
	call = http2_call(&p, &head, false);
	assert_int_equal(mesh_exchange_send_data(&call->exchange, mesh_slice_make(large, sizeof(large)), false), 0);
	assert_int_equal(mesh_exchange_send_data(&call->exchange, MESH_SLICE("ab"), true), MESH_ERROR_AGAIN);
	http2_pair_pump(&p);
	assert_string_equal(call->log, "writable;");
	assert_int_equal(mesh_exchange_send_data(&call->exchange, MESH_SLICE("abc"), true), MESH_ERROR_INVALID);
	assert_int_equal(mesh_exchange_send_data(&call->exchange, MESH_SLICE("a"), true), MESH_ERROR_INVALID);
	assert_int_equal(mesh_exchange_send_data(&call->exchange, MESH_SLICE("ab"), true), 0);
	http2_pair_pump(&p);
	assert_int_equal(p.server.seen[0]->received, 200002);
	http2_answer(p.server.seen[0], 204, "");
	http2_pair_pump(&p);
	assert_string_equal(call->log, "writable;head 204;end;over OK;");
	http2_pair_close(&p);
}

/* Answered before the request was whole: both exchanges were good, and the connection goes on. */
static void test_early_answer(void **state)
{
	struct http_head head = {.method = {"POST", 4}, .authority = {"a", 1}, .path = {"/", 1}, .content_length = -1};
	struct http2_pair p;
	struct http2_seen *call;

	http2_pair_open(&p, NULL, NULL);
	for (unsigned i = 0; i < 4; i++) {
		call = http2_call(&p, &head, false);
		http2_send_much(call, 300000);
		for (unsigned n = 0; n < 4 && p.server.count == i; n++)
			http2_side_step(&p.client), http2_side_step(&p.server);
		http2_answer(p.server.seen[i], 413, i & 1 ? "" : "too much");
		http2_pair_pump(&p);
		assert_true(call->over && !call->error);
		assert_non_null(strstr(call->log, "head 413;"));
		assert_true(p.server.seen[i]->over && !p.server.seen[i]->error);
		assert_int_equal(p.client.mux->active + p.server.mux->active, 0);
	}
	call = http2_get(&p, "/after");
	http2_pair_pump(&p);
	http2_answer(p.server.seen[4], 200, "");
	http2_pair_pump(&p);
	assert_string_equal(call->log, "head 200;end;over OK;");
	http2_pair_close(&p);
}

static void test_interim(void **state)
{
	struct http_head head = {.method = {"PUT", 3}, .authority = {"a", 1}, .path = {"/", 1}, .content_length = 2};
	struct mesh_header items[] = {{{"expect", 6}, {"100-continue", 12}}};
	struct http_head interim = {.status = 100};
	struct http2_pair p;
	struct http2_seen *call, *served;

	head.headers = (struct headers){items, 1, 1};
	http2_pair_open(&p, NULL, NULL);
	call = http2_call(&p, &head, false);
	http2_pair_pump(&p);
	served = p.server.seen[0];
	assert_true(served->expects_continue);
	assert_int_equal(served->content_length, 2);
	assert_int_equal(mesh_exchange_send_interim(&served->exchange, &interim), 0);
	assert_int_equal(mesh_exchange_send_interim(&served->exchange, &interim), 0); /* once is enough */
	interim.status = 103;
	assert_int_equal(mesh_exchange_send_interim(&served->exchange, &interim), 0);
	http2_pair_pump(&p);
	assert_string_equal(call->log, "interim 100;interim 103;");
	assert_int_equal(mesh_exchange_send_data(&call->exchange, MESH_SLICE("ab"), true), 0);
	http2_pair_pump(&p);
	http2_answer(served, 200, "");
	assert_int_equal(mesh_exchange_send_interim(&served->exchange, &interim), MESH_ERROR_STATE);
	http2_pair_pump(&p);
	assert_string_equal(call->log, "interim 100;interim 103;head 200;end;over OK;");
	http2_pair_close(&p);
}

/* Without a table for compression, and with very many headers. */
static void test_many_headers(void **state)
{
	struct http_head head = {.method = {"GET", 3}, .authority = {"a", 1}, .path = {"/", 1}, .content_length = -1};
	struct mux_limits limits = mesh_mux_limits_default;
	struct mesh_header items[90];
	struct http2_pair p;
	struct http2_seen *call;

	for (size_t i = 0; i < 90; i++)
		items[i] = (struct mesh_header){{"x-name", 6}, {"value", 5}};
	head.headers = (struct headers){items, 90, 90};
	limits.http2.hpack_table_set = true;
	http2_pair_open(&p, &limits, &limits);
	for (unsigned i = 0; i < 3; i++) {
		call = http2_call(&p, &head, true);
		http2_pair_pump(&p);
		assert_int_equal(strlen(p.server.seen[i]->headers), 90 * 13);
		http2_answer(p.server.seen[i], 200, "");
		http2_pair_pump(&p);
		assert_string_equal(call->log, "head 200;end;over OK;");
	}
	http2_pair_close(&p);
}

/* Identifiers, new each time, do not drive what comes again out of the table both ends keep. */
static void test_identifiers_leave_the_table_alone(void **state)
{
	struct http_head head = {.method = {"GET", 3}, .authority = {"a", 1}, .path = {"/", 1}, .content_length = -1};
	char id[9] = "00000000"; /* digits whose codes are of one length */
	struct mesh_header items[] = {{{"x-request-id", 12}, {id, 8}}, {{"x-constant", 10}, {"the same as before", 18}}};
	struct http2_pair p;
	uint64_t each = 0;

	head.headers = (struct headers){items, 2, 2};
	http2_pair_open(&p, NULL, NULL);
	for (unsigned i = 0; i < 200; i++) {
		uint64_t before = p.client.mux->written_bytes;

		for (unsigned at = 0, n = i; at < 8; at++, n /= 3)
			id[at] = (char)('0' + n % 3);
		http2_call(&p, &head, true);
		http2_pair_pump(&p);
		assert_non_null(strstr(p.server.seen[i]->headers, id));
		http2_answer(p.server.seen[i], 200, "");
		http2_pair_pump(&p);
		if (i > 2)
			assert_int_equal(p.client.mux->written_bytes - before, each);
		each = p.client.mux->written_bytes - before;
	}
	assert_in_range(each, 9, 40);
	http2_pair_close(&p);
}

static void test_head_request(void **state)
{
	struct http_head head = {.method = {"HEAD", 4}, .authority = {"a", 1}, .path = {"/", 1}, .content_length = -1};
	struct http_head answer = {.status = 200, .content_length = 99};
	struct http2_pair p;
	struct http2_seen *call;

	http2_pair_open(&p, NULL, NULL);
	call = http2_call(&p, &head, true);
	http2_pair_pump(&p);
	assert_int_equal(mesh_exchange_send_head(&p.server.seen[0]->exchange, &answer, false), 0);
	assert_int_equal(mesh_exchange_send_data(&p.server.seen[0]->exchange, MESH_SLICE("x"), true),
			 MESH_ERROR_INVALID);
	assert_int_equal(mesh_exchange_send_data(&p.server.seen[0]->exchange, MESH_SLICE(""), true), 0);
	http2_pair_pump(&p);
	assert_string_equal(call->log, "head 200;end;over OK;");
	assert_string_equal(call->headers, "content-length=99;");
	http2_pair_close(&p);
}

/* What was read while sniffing, in any length. */
static void test_sniffed_bytes(void **state)
{
	struct buf all;

	mesh_buf_init(&all, &mesh_mem_default, 0);
	http2_raw_start(&all);
	http2_raw_get(&all, 1, 1, "/sniffed");
	for (size_t len = 0; len <= mesh_buf_len(&all); len++) {
		struct http2_pair p;

		http2_server_open(&p, NULL, mesh_slice_make(all.data, len));
		assert_int_equal(mesh_buf_append(&p.up, mesh_slice_make(all.data + len, mesh_buf_len(&all) - len)), 0);
		mesh_mux_ready(p.server.mux, 1);
		assert_int_equal(p.server.count, 1);
		assert_string_equal(p.server.seen[0]->log, "head GET /sniffed;end;");
		http2_pair_close(&p);
	}
	mesh_buf_free(&all);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_request_and_response),
		cmocka_unit_test(test_bodies_and_trailers),
		cmocka_unit_test(test_windows_and_turns),
		cmocka_unit_test(test_pause),
		cmocka_unit_test(test_paused_response_survives_the_connection),
		cmocka_unit_test(test_room_to_send),
		cmocka_unit_test(test_early_answer),
		cmocka_unit_test(test_interim),
		cmocka_unit_test(test_many_headers),
		cmocka_unit_test(test_identifiers_leave_the_table_alone),
		cmocka_unit_test(test_head_request),
		cmocka_unit_test(test_sniffed_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
