/* SPDX-License-Identifier: Apache-2.0 */
/* What a peer of the HTTP/2 mux may not do: floods, bounds, frames out of order; each with its code and words. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <mesh/error.h>

#include "support/http2_pair.h"

static const struct mesh_slice nothing = {NULL, 0};

static void begin(struct http2_pair *p, const struct mux_limits *limits)
{
	char text[256];

	http2_server_open(p, limits, nothing);
	http2_raw_start(&p->up);
	http2_pair_pump(p);
	http2_raw_seen(&p->down, text, sizeof(text));
	assert_string_equal(text, "SETTINGS;SETTINGS ack;WINDOW_UPDATE;");
	http2_raw_frame(&p->up, 4, 1, 0, nothing);
}

/* The last frame the server sent, and what its owner heard. */
static void ends(struct http2_pair *p, const char *last, const char *words)
{
	char text[60000];
	size_t len;

	http2_pair_pump(p);
	http2_raw_seen(&p->down, text, sizeof(text));
	len = strlen(text) < strlen(last) ? 0 : strlen(text) - strlen(last);
	assert_string_equal(text + len, last);
	assert_true(p->server.closed);
	assert_int_equal(p->server.closed_error, MESH_ERROR_DOWNSTREAM_PROTOCOL);
	if (!strstr(p->server.closed_why, words))
		assert_string_equal(p->server.closed_why, words);
	http2_pair_close(p);
}

static void goes_on(struct http2_pair *p)
{
	http2_pair_pump(p);
	assert_false(p->server.closed);
}

static void test_ping_and_settings_flood(void **state)
{
	struct mux_limits limits = mesh_mux_limits_default;
	struct http2_pair p;

	limits.http2.outbound_control_frames_max = 20;
	for (unsigned settings = 0; settings < 2; settings++) {
		begin(&p, &limits);
		for (unsigned i = 0; i < 1000; i++) { /* answered in time: none */
			http2_raw_frame(&p.up, settings ? 4 : 6, 0, 0, settings ? nothing : MESH_SLICE("12345678"));
			if (i % 20 == 19)
				goes_on(&p);
		}
		for (unsigned i = 0; i < 21; i++)
			http2_raw_frame(&p.up, settings ? 4 : 6, 0, 0, settings ? nothing : MESH_SLICE("12345678"));
		ends(&p, "GOAWAY 0 ENHANCE_YOUR_CALM;", "flood of PING or SETTINGS");
	}
}

static void test_rapid_reset(void **state)
{
	struct http2_pair p;
	unsigned i;

	begin(&p, NULL);
	for (i = 0; i < 150; i++) {
		http2_raw_get(&p.up, 2 * i + 1, 1, "/");
		http2_raw_frame(&p.up, 3, 0, 2 * i + 1, MESH_SLICE("\0\0\0\x8"));
	}
	goes_on(&p);
	for (; i < 201; i++) {
		http2_raw_get(&p.up, 2 * i + 1, 1, "/");
		http2_raw_frame(&p.up, 3, 0, 2 * i + 1, MESH_SLICE("\0\0\0\x8"));
	}
	http2_pair_pump(&p);
	assert_true(p.server.seen[0]->over);
	ends(&p, "GOAWAY 401 ENHANCE_YOUR_CALM;", "flood of RST_STREAM");
}

/* Answered ones too, when there are too many a second. */
static void test_reset_rate(void **state)
{
	struct mux_limits limits = mesh_mux_limits_default;
	struct http2_pair p;

	limits.http2.reset_burst = 10;
	limits.http2.reset_rate = 1;
	begin(&p, &limits);
	for (unsigned i = 0; i < 30 && !p.server.closed; i++) {
		http2_raw_get(&p.up, 2 * i + 1, 1, "/");
		http2_pair_pump(&p);
		http2_answer(p.server.seen[i], 200, NULL);
		http2_raw_frame(&p.up, 3, 0, 2 * i + 1, MESH_SLICE("\0\0\0\x8"));
		http2_pair_pump(&p);
	}
	assert_in_range(p.server.count, 11, 15);
	ends(&p, " INTERNAL_ERROR;", "flood of RST_STREAM");
}

static void test_empty_frames(void **state)
{
	struct http2_pair p;

	for (unsigned padded = 0; padded < 2; padded++) {
		struct mesh_slice payload = padded ? MESH_SLICE("\x2\0\0") : nothing;

		begin(&p, NULL);
		http2_raw_get(&p.up, 1, 0, "/");
		for (unsigned i = 0; i < 10; i++) {
			http2_raw_frame(&p.up, 0, padded ? 8 : 0, 1, payload);
			http2_raw_frame(&p.up, 0, 0, 1, MESH_SLICE("x"));
		}
		goes_on(&p);
		assert_int_equal(p.server.seen[0]->received, 10);
		http2_raw_frame(&p.up, 0, padded ? 8 : 0, 1, payload);
		http2_raw_frame(&p.up, 0, padded ? 8 : 0, 1, payload);
		ends(&p, "GOAWAY 1 ENHANCE_YOUR_CALM;", "flood of empty frames");
	}
}

static void test_continuation_flood(void **state)
{
	struct http2_pair p;
	struct buf block;

	mesh_buf_init(&block, &mesh_mem_default, 0);
	for (unsigned i = 0; i < 20; i++)
		http2_raw_field(&block, "x-filler", "0123456789012345678901234567890123456789");
	begin(&p, NULL);
	http2_raw_frame(&p.up, 1, 1, 1, mesh_buf_slice(&block));
	goes_on(&p);
	assert_true(mesh_mux_receiving_head(p.server.mux));
	for (unsigned i = 0; i < 40; i++)
		http2_raw_frame(&p.up, 9, 0, 1, mesh_buf_slice(&block));
	http2_pair_pump(&p);
	assert_int_equal(p.server.count, 0);
	mesh_buf_free(&block);
	ends(&p, "GOAWAY 1 ENHANCE_YOUR_CALM;", "flood of CONTINUATION");
}

/* Kilobytes that stand for megabytes. */
static void test_hpack_bomb(void **state)
{
	struct http2_pair p;
	struct buf block;
	char value[3001], bomb[10000];

	memset(value, 'v', 3000);
	value[3000] = '\0';
	memset(bomb, 0x80 | 62, sizeof(bomb)); /* the newest entry, again and again */
	mesh_buf_init(&block, &mesh_mem_default, 0);
	http2_raw_field(&block, "x", value);
	block.data[block.start] = 0x40; /* kept in the table */
	assert_int_equal(mesh_buf_append(&block, mesh_slice_make(bomb, sizeof(bomb))), 0);
	begin(&p, NULL);
	http2_raw_frame(&p.up, 1, 5, 1, mesh_buf_slice(&block));
	mesh_buf_free(&block);
	http2_pair_pump(&p);
	assert_int_equal(p.server.count, 0);
	ends(&p, "GOAWAY 1 ENHANCE_YOUR_CALM;", "far too large");
}

static void test_priority_flood(void **state)
{
	struct http2_pair p;

	begin(&p, NULL);
	for (unsigned i = 0; i < 100; i++)
		http2_raw_frame(&p.up, 2, 0, 2 * i + 1, MESH_SLICE("\0\0\0\0\x10"));
	goes_on(&p);
	http2_raw_frame(&p.up, 2, 0, 3, MESH_SLICE("\0\0\0\0\x10"));
	ends(&p, "GOAWAY 0 ENHANCE_YOUR_CALM;", "flood of PRIORITY");
	begin(&p, NULL);
	http2_raw_frame(&p.up, 2, 0, 3, MESH_SLICE("\0\0\0\x3\x10"));
	ends(&p, "GOAWAY 0 PROTOCOL_ERROR;", "depends on itself");
	begin(&p, NULL);
	http2_raw_frame(&p.up, 2, 0, 0, MESH_SLICE("\0\0\0\x3\x10"));
	ends(&p, "GOAWAY 0 PROTOCOL_ERROR;", "PRIORITY without a stream");
}

static void test_window_update_flood(void **state)
{
	struct http2_pair p;

	begin(&p, NULL);
	for (unsigned i = 0; i < 5; i++)
		http2_raw_frame(&p.up, 8, 0, 0, MESH_SLICE("\0\0\0\x1"));
	goes_on(&p);
	http2_raw_frame(&p.up, 8, 0, 0, MESH_SLICE("\0\0\0\x1"));
	ends(&p, "GOAWAY 0 ENHANCE_YOUR_CALM;", "flood of WINDOW_UPDATE");
}

static void test_windows_overrun(void **state)
{
	static char large[16384];
	struct mux_limits limits = mesh_mux_limits_default;
	struct http2_pair p;
	char text[4096];

	/* the connection's, upwards */
	begin(&p, NULL);
	http2_raw_frame(&p.up, 8, 0, 0, MESH_SLICE("\x7f\xff\xff\xff"));
	ends(&p, "GOAWAY 0 FLOW_CONTROL_ERROR;", "FLOW_CONTROL_ERROR");
	/* a stream's, upwards: it alone */
	begin(&p, NULL);
	http2_raw_get(&p.up, 1, 1, "/");
	http2_raw_frame(&p.up, 8, 0, 1, MESH_SLICE("\x7f\xff\xff\xff"));
	goes_on(&p);
	http2_raw_seen(&p.down, text, sizeof(text));
	assert_string_equal(text, "RST_STREAM 1 FLOW_CONTROL_ERROR;");
	assert_int_equal(p.server.seen[0]->error, MESH_ERROR_DOWNSTREAM_PROTOCOL);
	http2_pair_close(&p);
	/* a stream's, by more data than it allows */
	limits.http2.stream_window_bytes = 65535;
	begin(&p, &limits);
	http2_raw_get(&p.up, 1, 0, "/");
	http2_pair_pump(&p);
	mesh_exchange_pause(&p.server.seen[0]->exchange, true);
	for (unsigned i = 0; i < 4; i++)
		http2_raw_frame(&p.up, 0, 0, 1, mesh_slice_make(large, sizeof(large)));
	http2_raw_frame(&p.up, 0, 0, 1, MESH_SLICE("xx"));
	http2_pair_pump(&p);
	http2_raw_seen(&p.down, text, sizeof(text));
	assert_non_null(strstr(text, "RST_STREAM 1 FLOW_CONTROL_ERROR;"));
	assert_int_equal(p.server.seen[0]->error, MESH_ERROR_DOWNSTREAM_PROTOCOL);
	http2_pair_close(&p);
}

static void test_streams_over_the_bound(void **state)
{
	struct mux_limits limits = mesh_mux_limits_default;
	struct http2_pair p;

	limits.http2.streams_max = 2;
	begin(&p, &limits);
	for (unsigned i = 0; i < 3; i++)
		http2_raw_get(&p.up, 2 * i + 1, 1, "/");
	ends(&p, "GOAWAY 3 PROTOCOL_ERROR;", "max concurrent streams");
}

static void test_streams_out_of_order(void **state)
{
	struct http2_pair p;

	begin(&p, NULL);
	http2_raw_get(&p.up, 5, 1, "/");
	goes_on(&p);
	http2_raw_get(&p.up, 3, 1, "/");
	ends(&p, "GOAWAY 5 PROTOCOL_ERROR;", "smaller than those before");
	for (unsigned i = 0; i < 2; i++) {
		begin(&p, NULL);
		http2_raw_frame(&p.up, (uint8_t)i, 5, 0, MESH_SLICE("\x82"));
		ends(&p, "GOAWAY 0 PROTOCOL_ERROR;", "stream_id == 0");
	}
	begin(&p, NULL);
	http2_raw_get(&p.up, 2, 1, "/");
	ends(&p, "GOAWAY 0 PROTOCOL_ERROR;", "invalid stream_id");
	begin(&p, NULL);
	http2_raw_get(&p.up, 1, 1, "/");
	http2_raw_frame(&p.up, 0, 1, 1, MESH_SLICE("late"));
	http2_pair_pump(&p);
	ends(&p, " STREAM_CLOSED;", "its sender ended");
	begin(&p, NULL);
	http2_raw_get(&p.up, 1, 0, "/");
	http2_raw_frame(&p.up, 3, 0, 1, MESH_SLICE("\0\0\0\x8"));
	http2_raw_frame(&p.up, 1, 5, 1, MESH_SLICE("\x82"));
	ends(&p, " STREAM_CLOSED;", "its sender ended");
}

/* A body that is not what content-length says ends that stream alone. */
static void test_content_length(void **state)
{
	static const char *const bodies[] = {"12", "1234"};

	for (unsigned i = 0; i < 2; i++) {
		struct http2_pair p;
		struct buf block;
		char text[256];

		mesh_buf_init(&block, &mesh_mem_default, 0);
		begin(&p, NULL);
		http2_raw_field(&block, ":method", "POST");
		http2_raw_field(&block, ":scheme", "https");
		http2_raw_field(&block, ":path", "/");
		http2_raw_field(&block, "host", "b");
		http2_raw_field(&block, "content-length", "3");
		http2_raw_frame(&p.up, 1, 4, 1, mesh_buf_slice(&block));
		http2_raw_frame(&p.up, 0, 1, 1, mesh_slice_of(bodies[i]));
		http2_pair_pump(&p);
		http2_raw_seen(&p.down, text, sizeof(text));
		assert_string_equal(text, "RST_STREAM 1 PROTOCOL_ERROR;");
		assert_int_equal(p.server.seen[0]->error, MESH_ERROR_DOWNSTREAM_PROTOCOL);
		assert_string_equal(p.server.seen[0]->authority, "b");
		assert_false(p.server.seen[0]->exchange.received_end);
		assert_false(p.server.closed);
		mesh_buf_free(&block);
		http2_pair_close(&p);
	}
}

static void test_no_preface(void **state)
{
	struct http2_pair p;

	http2_server_open(&p, NULL, nothing);
	assert_int_equal(mesh_buf_append(&p.up, MESH_SLICE("GET / HTTP/1.1\r\nHost: a\r\n\r\n")), 0);
	ends(&p, "GOAWAY 0 PROTOCOL_ERROR;", "no connection preface");
	http2_server_open(&p, NULL, nothing);
	assert_int_equal(mesh_buf_append(&p.up, MESH_SLICE("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")), 0);
	http2_raw_frame(&p.up, 6, 0, 0, MESH_SLICE("12345678"));
	ends(&p, "GOAWAY 0 PROTOCOL_ERROR;", "SETTINGS expected");
}

/* The owner says when a head has come too slowly. */
static void test_slow_head(void **state)
{
	struct http2_pair p;

	http2_server_open(&p, NULL, nothing);
	assert_false(mesh_mux_receiving_head(p.server.mux));
	assert_int_equal(mesh_buf_append(&p.up, MESH_SLICE("PRI * HT")), 0);
	http2_pair_pump(&p);
	assert_true(mesh_mux_receiving_head(p.server.mux));
	http2_pair_close(&p);
	begin(&p, NULL);
	goes_on(&p);
	assert_false(mesh_mux_receiving_head(p.server.mux));
	http2_raw_get(&p.up, 1, 1, "/");
	http2_raw_frame(&p.up, 1, 1, 3, MESH_SLICE("\x82"));
	goes_on(&p);
	assert_true(mesh_mux_receiving_head(p.server.mux));
	mesh_mux_refuse(p.server.mux, 408, "a head took too long");
	ends(&p, "GOAWAY 3 ENHANCE_YOUR_CALM;", "took too long");
}

static void test_no_memory_to_accept(void **state)
{
	struct http2_pair p;

	begin(&p, NULL);
	p.server.refuse_accept = 1;
	http2_raw_get(&p.up, 1, 1, "/");
	http2_pair_pump(&p);
	assert_true(p.server.closed);
	assert_int_equal(p.server.closed_error, MESH_ERROR_NOMEM);
	http2_pair_close(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ping_and_settings_flood),
		cmocka_unit_test(test_rapid_reset),
		cmocka_unit_test(test_reset_rate),
		cmocka_unit_test(test_empty_frames),
		cmocka_unit_test(test_continuation_flood),
		cmocka_unit_test(test_hpack_bomb),
		cmocka_unit_test(test_priority_flood),
		cmocka_unit_test(test_window_update_flood),
		cmocka_unit_test(test_windows_overrun),
		cmocka_unit_test(test_streams_over_the_bound),
		cmocka_unit_test(test_streams_out_of_order),
		cmocka_unit_test(test_content_length),
		cmocka_unit_test(test_no_preface),
		cmocka_unit_test(test_slow_head),
		cmocka_unit_test(test_no_memory_to_accept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
