/* SPDX-License-Identifier: Apache-2.0 */
/* Heads and trailers of the HTTP/2 mux: what is told of those received, which are refused, what is never sent. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <stdio.h>

#include <mesh/error.h>

#include "support/http2_pair.h"

static const struct mesh_slice nothing = {NULL, 0};

/* "name: value\n" lines as a header block. */
static void put_block(struct buf *block, const char *lines)
{
	mesh_buf_init(block, &mesh_mem_default, 0);
	while (*lines) {
		const char *colon = strchr(lines + 1, ':'), *end = strchr(lines, '\n');
		char name[64], value[256];

		snprintf(name, sizeof(name), "%.*s", (int)(colon - lines), lines);
		snprintf(value, sizeof(value), "%.*s", (int)(end - colon - 2), colon + 2);
		http2_raw_field(block, name, value);
		lines = end + 1;
	}
}

static void send_block(struct buf *to, uint8_t flags, uint32_t id, const char *lines)
{
	struct buf block;

	put_block(&block, lines);
	http2_raw_frame(to, 1, flags | 4, id, mesh_buf_slice(&block));
	mesh_buf_free(&block);
}

static void begin(struct http2_pair *p, const struct mux_limits *limits)
{
	http2_server_open(p, limits, nothing);
	http2_raw_start(&p->up);
	http2_raw_frame(&p->up, 4, 1, 0, nothing);
	http2_pair_pump(p);
	mesh_buf_clear(&p->down);
}

static void sent(struct http2_pair *p, const char *expected)
{
	char text[4096];

	http2_pair_pump(p);
	http2_raw_seen(&p->down, text, sizeof(text));
	assert_string_equal(text, expected);
}

#define START ":method: GET\n:scheme: http\n:path: /\n"

static void test_good_requests(void **state)
{
	static const struct {
		const char *lines, *log, *headers, *authority;
	} cases[] = {
		{START ":authority: a\nx-one: 1\n", "head GET /;end;", "x-one=1;", "a"},
		{START "host: h:80\n", "head GET /;end;", "", "h:80"},
		{START ":authority: A\nhost: a\n", "head GET /;end;", "", "A"},
		{START ":authority: a\ncookie: a=1\nx: y\ncookie: b=2\ncookie: c=3\n", "head GET /;end;",
		 "cookie=a=1; b=2; c=3;x=y;", "a"},
		{START ":authority: a\ncookie: a=1\n", "head GET /;end;", "cookie=a=1;", "a"},
		{START ":authority: a\nte: trailers\ntrailer: x\nexpect: 100-continue\n", "head GET /;end;",
		 "te=trailers;", "a"},
		{START ":authority: a\ncontent-length: 0\nx: \n", "head GET /;end;", "content-length=0;x=;", "a"},
		{":method: OPTIONS\n:scheme: https\n:path: *\n:authority: a\n", "head OPTIONS *;end;", "", "a"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct http2_pair p;

		begin(&p, NULL);
		p.server.read_max = i & 1 ? 1 : 0;
		send_block(&p.up, 1, 1, cases[i].lines);
		http2_pair_pump(&p);
		assert_int_equal(p.server.count, 1);
		assert_string_equal(p.server.seen[0]->log, cases[i].log);
		assert_string_equal(p.server.seen[0]->headers, cases[i].headers);
		assert_string_equal(p.server.seen[0]->authority, cases[i].authority);
		assert_int_equal(p.server.seen[0]->content_length, 0);
		assert_false(p.server.seen[0]->expects_continue);
		http2_pair_close(&p);
	}
}

/* Malformed: the connection ends, or where configuration says so, the stream. */
static void test_malformed_requests(void **state)
{
	static const char *const cases[] = {
		START ":authority: a\nUpper: 1\n",
		START ":authority: a\nconnection: close\n",
		START ":authority: a\ntransfer-encoding: chunked\n",
		START ":authority: a\nupgrade: x\n",
		START ":authority: a\nkeep-alive: x\n",
		START ":authority: a\nproxy-connection: x\n",
		START ":authority: a\nte: gzip\n",
		START ":authority: a\nx y: 1\n",
		START ":authority: a\nx: a\rb\n",
		START ":authority: a\n:unknown: 1\n",
		START ":authority: a\n:status: 200\n",
		START ":authority: a\n:protocol: websocket\n",
		START ":authority: a\nx: 1\n:path: /again\n",
		START ":authority: a\n:path: /again\n",
		START ":authority: a\ncontent-length: 1\ncontent-length: 1\n",
		START ":authority: a\ncontent-length: -1\n",
		START "x: 1\n",
		":method: GET\n:scheme: http\n:authority: a\n",
		":method: GET\n:path: /\n:authority: a\n",
		":scheme: http\n:path: /\n:authority: a\n",
		":method: G T\n:scheme: http\n:path: /\n:authority: a\n",
		":method: CONNECT\n:scheme: http\n:path: /\n:authority: a\n",
	};

	for (size_t i = 0; i < 2 * sizeof(cases) / sizeof(cases[0]); i++) {
		struct mux_limits limits = mesh_mux_limits_default;
		struct http2_pair p;

		limits.http2.invalid_message_resets_stream = i & 1;
		begin(&p, &limits);
		send_block(&p.up, 1, 1, cases[i / 2]);
		if (i & 1) {
			sent(&p, "RST_STREAM 1 PROTOCOL_ERROR;");
			send_block(&p.up, 1, 3, START ":authority: a\n");
			http2_pair_pump(&p);
			assert_int_equal(p.server.count, 1);
			assert_string_equal(p.server.seen[0]->log, "head GET /;end;");
		} else {
			/* nghttp2 may have queued a reset of the stream before */
			http2_pair_pump(&p);
			assert_int_equal(p.server.count, 0);
			assert_true(p.server.closed);
			assert_int_equal(p.server.closed_error, MESH_ERROR_DOWNSTREAM_PROTOCOL);
			assert_string_equal(p.server.closed_why, "HTTP/2: malformed message");
		}
		http2_pair_close(&p);
	}
}

/* Well-formed for HTTP/2, but nothing that may be served: answered on the stream, and nobody else is hurt. */
static void test_refused_requests(void **state)
{
	static const char *const cases[] = {
		START ":authority: user@a\n",
		START ":authority: a\nhost: b\n",
		":method: GET\n:scheme: http\n:path: /#x\n:authority: a\n",
		":method: GET\n:scheme: ftp\n:path: /\n:authority: a\n",
		":method: GET\n:scheme: foo\n:path: x\n:authority: a\n",
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct http2_pair p;

		begin(&p, NULL);
		send_block(&p.up, 1, 1, cases[i]);
		sent(&p, "HEADERS 1 end;");
		send_block(&p.up, 0, 3, cases[i]);
		sent(&p, "HEADERS 3 end;RST_STREAM 3 NO_ERROR;");
		assert_int_equal(p.server.count, 0);
		send_block(&p.up, 1, 5, START ":authority: a\n");
		http2_pair_pump(&p);
		assert_string_equal(p.server.seen[0]->log, "head GET /;end;");
		http2_pair_close(&p);
	}
}

/* Each costs its stream alone; so many of them cost the connection. */
static void test_malformed_without_end(void **state)
{
	struct mux_limits limits = mesh_mux_limits_default;
	struct http2_pair p;

	limits.http2.invalid_message_resets_stream = true;
	begin(&p, &limits);
	send_block(&p.up, 0, 1, START ":authority: a\n");
	send_block(&p.up, 1, 1, "Upper: 1\n"); /* trailers */
	http2_pair_pump(&p);
	assert_string_equal(p.server.seen[0]->log, "head GET /;over DOWNSTREAM_PROTOCOL;");
	assert_string_equal(p.server.seen[0]->why, "HTTP/2: malformed message");
	for (unsigned i = 1; i < 201; i++)
		send_block(&p.up, 1, 2 * i + 1, START ":authority: a\nte: gzip\n");
	http2_pair_pump(&p);
	assert_false(p.server.closed);
	send_block(&p.up, 1, 403, START ":authority: a\nte: gzip\n");
	http2_pair_pump(&p);
	assert_true(p.server.closed);
	assert_string_equal(p.server.closed_why, "HTTP/2: flood of wrong frames");
	http2_pair_close(&p);
}

/* More answers at once than may wait. */
static void test_queue_is_bounded(void **state)
{
	struct mux_limits limits = mesh_mux_limits_default;
	struct http2_pair p;

	limits.http2.outbound_frames_max = 20;
	begin(&p, &limits);
	for (unsigned i = 0; i < 21; i++)
		send_block(&p.up, 1, 2 * i + 1, ":method: GET\n:scheme: ftp\n:path: /\n:authority: a\n");
	http2_pair_pump(&p);
	assert_true(p.server.closed);
	assert_int_equal(p.server.closed_error, MESH_ERROR_DOWNSTREAM_PROTOCOL);
	assert_string_equal(p.server.closed_why, "HTTP/2: too many frames wait for a peer that does not read");
	http2_pair_close(&p);
}

static void test_large_requests(void **state)
{
	struct mux_limits limits = mesh_mux_limits_default;
	struct http2_pair p;

	limits.head_bytes_max = 100;
	limits.header_count_max = 8;
	begin(&p, &limits);
	/* 4 fields and 38 bytes, and exactly as much more as is allowed */
	send_block(&p.up, 1, 1, START ":authority: a\na: 1\nb: 2\nc: 3\nd: 4\n");
	send_block(&p.up, 1, 3,
		   START ":authority: a\na: 1234567890123456789012345678901234567890123456789012345678901\n");
	sent(&p, "");
	assert_int_equal(p.server.count, 2);
	send_block(&p.up, 1, 5, START ":authority: a\na: 1\nb: 2\nc: 3\nd: 4\ne: 5\n");
	sent(&p, "HEADERS 5 end;");
	send_block(&p.up, 0, 7,
		   START ":authority: a\na: 12345678901234567890123456789012345678901234567890123456789012\n");
	sent(&p, "HEADERS 7 end;RST_STREAM 7 NO_ERROR;");
	/* any number of cookies is one field */
	send_block(&p.up, 1, 9,
		   START ":authority: a\ncookie: 1\ncookie: 2\ncookie: 3\ncookie: 4\ncookie: 5\ncookie: 6\n");
	sent(&p, "");
	assert_string_equal(p.server.seen[2]->headers, "cookie=1; 2; 3; 4; 5; 6;");
	http2_pair_close(&p);
}

static void test_large_trailers(void **state)
{
	struct mux_limits limits = mesh_mux_limits_default;
	struct http2_pair p;

	limits.header_count_max = 5;
	for (unsigned answered = 0; answered < 2; answered++) {
		begin(&p, &limits);
		send_block(&p.up, 0, 1, START ":authority: a\n");
		http2_pair_pump(&p);
		if (answered) {
			http2_answer(p.server.seen[0], 200, NULL);
			sent(&p, "HEADERS 1;");
		}
		send_block(&p.up, 1, 1, "a: 1\nb: 1\nc: 1\nd: 1\ne: 1\nf: 1\n");
		sent(&p, answered ? "RST_STREAM 1 PROTOCOL_ERROR;" : "HEADERS 1 end;");
		assert_string_equal(p.server.seen[0]->log, "head GET /;over DOWNSTREAM_PROTOCOL;");
		assert_string_equal(p.server.seen[0]->why, "HTTP/2: too many headers");
		assert_false(p.server.closed);
		http2_pair_close(&p);
	}
}

static void test_responses(void **state)
{
	static const struct {
		const char *lines, *log, *why;
		bool closes;
	} cases[] = {
		{":status: 200\nx: 1\n", "head 200;end;over OK;", "", false},
		{":status: 099\n", "over PROTOCOL;", "HTTP/2: status not expected", false},
		{":status: 20x\n", "over PROTOCOL;", "HTTP/2: malformed message", true},
		{":status: 101\n", "over PROTOCOL;", "HTTP/2: malformed message", true},
		{":status: 200\n:status: 200\n", "over PROTOCOL;", "HTTP/2: malformed message", true},
		{"x: 1\n", "over PROTOCOL;", "HTTP/2: malformed message", true},
		{":status: 200\nconnection: close\n", "over PROTOCOL;", "HTTP/2: malformed message", true},
		{":status: 200\ncontent-length: 3\n", "over PROTOCOL;", "HTTP/2: malformed message", true},
		{":status: 200\na: 1\nb: 1\nc: 1\nd: 1\ne: 1\n", "over PROTOCOL;", "HTTP/2: too many headers", false},
		{":status: 100\n", "over PROTOCOL;", "HTTP/2: malformed message",
		 true}, /* the end, without a response */
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct mux_limits limits = mesh_mux_limits_default;
		struct http2_pair p;
		struct http2_seen *call;

		limits.header_count_max = 5;
		http2_client_open(&p, &limits);
		http2_raw_frame(&p.down, 4, 0, 0, nothing);
		call = http2_get(&p, "/");
		http2_pair_pump(&p);
		send_block(&p.down, 1, 1, cases[i].lines);
		http2_pair_pump(&p);
		assert_string_equal(call->log, cases[i].log);
		assert_string_equal(call->why, cases[i].why);
		assert_int_equal(p.client.closed, cases[i].closes);
		http2_pair_close(&p);
	}
}

static void test_interim_without_end(void **state)
{
	struct mux_limits limits = mesh_mux_limits_default;
	struct http2_pair p;
	struct http2_seen *call;

	limits.head_bytes_max = 1000;
	http2_client_open(&p, &limits);
	http2_raw_frame(&p.down, 4, 0, 0, nothing);
	call = http2_get(&p, "/");
	http2_pair_pump(&p);
	for (unsigned i = 0; i < 100; i++)
		send_block(&p.down, 0, 1, ":status: 103\nlink: somewhere\n");
	http2_pair_pump(&p);
	assert_string_equal(call->why, "HTTP/2: interim responses without end");
	assert_int_equal(call->error, MESH_ERROR_PROTOCOL);
	http2_pair_close(&p);
}

static void test_what_is_never_sent(void **state)
{
	struct mesh_header items[] = {
		{{"Connection", 10}, {"close", 5}},          {{"Keep-Alive", 10}, {"1", 1}},
		{{"Transfer-Encoding", 17}, {"chunked", 7}}, {{"Upgrade", 7}, {"x", 1}},
		{{"Proxy-Connection", 16}, {"x", 1}},        {{"Host", 4}, {"other", 5}},
		{{"TE", 2}, {"gzip, trailers", 14}},         {{"Content-Length", 14}, {"77", 2}},
		{{"X-Mixed-Case", 12}, {"Kept", 4}},         {{"Te", 2}, {"trailers", 8}},
	};
	struct http_head head = {.method = {"POST", 4}, .authority = {"a", 1}, .path = {"/", 1}, .content_length = 0};
	struct mesh_header bad[] = {{{"x", 1}, {"a\nb", 3}}};
	struct http2_pair p;
	struct http2_seen *call;

	head.headers = (struct headers){items, 10, 10};
	http2_pair_open(&p, NULL, NULL);
	http2_call(&p, &head, true);
	http2_pair_pump(&p);
	assert_string_equal(p.server.seen[0]->headers, "x-mixed-case=Kept;te=trailers;content-length=0;");
	call = http2_seen_new(&p.client);
	assert_int_equal(mesh_exchange_open(p.client.mux, &call->exchange), 0);
	head.headers = (struct headers){bad, 1, 1};
	assert_int_equal(mesh_exchange_send_head(&call->exchange, &head, true), MESH_ERROR_INVALID);
	head.headers.count = 0;
	head.path = MESH_SLICE("/a b");
	assert_int_equal(mesh_exchange_send_head(&call->exchange, &head, true), MESH_ERROR_INVALID);
	head.path = MESH_SLICE("/ok");
	assert_int_equal(mesh_exchange_send_head(&call->exchange, &head, true), 0);
	http2_pair_pump(&p);
	assert_string_equal(p.server.seen[1]->log, "head POST /ok;end;");
	for (unsigned i = 0; i < 2; i++)
		http2_answer(p.server.seen[i], 200, "");
	http2_pair_pump(&p);
	http2_pair_close(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good_requests),
		cmocka_unit_test(test_malformed_requests),
		cmocka_unit_test(test_refused_requests),
		cmocka_unit_test(test_malformed_without_end),
		cmocka_unit_test(test_queue_is_bounded),
		cmocka_unit_test(test_large_requests),
		cmocka_unit_test(test_large_trailers),
		cmocka_unit_test(test_responses),
		cmocka_unit_test(test_interim_without_end),
		cmocka_unit_test(test_what_is_never_sent),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
