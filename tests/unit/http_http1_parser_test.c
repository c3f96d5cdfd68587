/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/1.1 messages, good ones and every way to be ambiguous; each fed whole and byte by byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <stdio.h>

#include "base/buf.h"
#include "http/http1_parser.h"

struct outcome {
	int rc;      /* 0 whole, AGAIN more needed, else the error */
	int status;  /* to answer with */
	struct http_head head;
	struct headers trailers;
	struct buf body;
	size_t left; /* bytes behind the message */
	struct why why;
};

/* Feeds input in steps of `step` bytes as a mux would: kept until a head is whole, bodies as they come. */
static void feed(struct outcome *o, struct arena *arena, struct mesh_slice input, size_t step, bool response, bool to_head)
{
	struct http1_parser parser;
	struct buf kept;
	bool in_body = false;

	memset(o, 0, sizeof(*o));
	mesh_buf_init(&kept, &mesh_mem_default, 0);
	mesh_buf_init(&o->body, &mesh_mem_default, 0);
	mesh_http1_parser_init(&parser, 60 * 1024, 100, false);
	o->rc = MESH_ERROR_AGAIN;
	for (size_t at = 0; at < input.len && o->rc == MESH_ERROR_AGAIN;) {
		size_t n = input.len - at < step ? input.len - at : step;
		struct mesh_slice rest;

		mesh_buf_append(&kept, mesh_slice_make(input.data + at, n));
		at += n;
		rest = mesh_buf_slice(&kept);
		for (bool more = true; more && o->rc == MESH_ERROR_AGAIN;) {
			struct mesh_slice data = {NULL, 0};
			ssize_t len;

			if (!in_body) {
				len = mesh_http1_find_head(&parser, rest);
				if (len < 0)
					o->rc = (int)len;
				if (len <= 0)
					break;
				o->rc = response ? mesh_http1_parse_response(&parser, mesh_slice_make(rest.data, (size_t)len), to_head,
									     arena, &o->head)
						 : mesh_http1_parse_request(&parser, mesh_slice_make(rest.data, (size_t)len), arena,
									    &o->head);
				rest.data += len;
				rest.len -= (size_t)len;
				in_body = true;
				if (!o->rc)
					o->rc = MESH_ERROR_AGAIN;
				continue;
			}
			switch (mesh_http1_body(&parser, &rest, &data, arena, &o->trailers)) {
			case HTTP1_MORE:
				more = false;
				break;
			case HTTP1_DATA:
				mesh_buf_append(&o->body, data);
				break;
			case HTTP1_END:
				o->rc = 0;
				o->left = rest.len + (input.len - at);
				break;
			case HTTP1_WRONG:
				o->rc = MESH_ERROR_PROTOCOL;
				break;
			}
		}
		mesh_buf_consume(&kept, mesh_buf_len(&kept) - rest.len);
	}
	o->status = parser.status;
	o->why = parser.why;
	mesh_buf_free(&kept);
}

struct vector {
	const char *text;
	int status;             /* 0: accepted, -1: more needed, else the status to answer with */
	const char *body;       /* accepted: what the body is */
	bool response, to_head;
};

static void check(const struct vector *v, size_t step)
{
	struct arena arena;
	struct outcome o;

	mesh_arena_init(&arena, &mesh_mem_default, 0);
	feed(&o, &arena, mesh_slice_of(v->text), step, v->response, v->to_head);
	if (v->status == 0 && o.rc)
		fail_msg("step %zu: refused (%s): %s", step, o.why.text, v->text);
	if (v->status == -1 && o.rc != MESH_ERROR_AGAIN)
		fail_msg("step %zu: not waited for more (%d %s): %s", step, o.rc, o.why.text, v->text);
	if (v->status > 0 && (o.rc != MESH_ERROR_PROTOCOL || o.status != v->status))
		fail_msg("step %zu: %d status %d (%s), expected %d: %s", step, o.rc, o.status, o.why.text, v->status, v->text);
	if (v->body && (mesh_buf_len(&o.body) != strlen(v->body) ||
			memcmp(mesh_buf_slice(&o.body).data ? mesh_buf_slice(&o.body).data : "", v->body, strlen(v->body))))
		fail_msg("step %zu: body \"%.*s\", expected \"%s\"", step, (int)mesh_buf_len(&o.body), mesh_buf_slice(&o.body).data,
			 v->body);
	mesh_buf_free(&o.body);
	mesh_arena_free(&arena);
}

static void check_all(const struct vector *vectors, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		check(&vectors[i], SIZE_MAX);
		check(&vectors[i], 1);
		check(&vectors[i], 3);
	}
}

#define H "Host: a\r\n"

static void test_good_requests(void **state)
{
	static const struct vector vectors[] = {
		{"GET / HTTP/1.1\r\n" H "\r\n", 0, "", 0, 0},
		{"POST /x HTTP/1.1\r\n" H "Content-Length: 3\r\n\r\nabc", 0, "abc", 0, 0},
		{"POST /x HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n", 0, "abcde", 0, 0},
		{"POST /x HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n0\r\nX-T: 1\r\n\r\n", 0, "", 0, 0},
		{"POST /x HTTP/1.1\r\n" H "transfer-encoding: CHUNKED\r\n\r\nA\r\n0123456789\r\n00\r\n\r\n", 0, "0123456789", 0, 0},
		{"OPTIONS * HTTP/1.1\r\n" H "\r\n", 0, "", 0, 0},
		{"GET http://b/p HTTP/1.1\r\n" H "\r\n", 0, "", 0, 0},
		{"GET / HTTP/1.1\r\n" H "X:\t padded \t\r\n\r\n", 0, "", 0, 0},
		{"GET / HTTP/1.1\r\n" H, -1, NULL, 0, 0},
		{"POST /x HTTP/1.1\r\n" H "Content-Length: 4\r\n\r\nabc", -1, NULL, 0, 0},
	};

	check_all(vectors, sizeof(vectors) / sizeof(vectors[0]));
}

static void test_ambiguous_requests(void **state)
{
	static const struct vector vectors[] = {
		/* two lengths */
		{"POST / HTTP/1.1\r\n" H "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, NULL, 0, 0},
		{"POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n", 400, NULL, 0, 0},
		{"POST / HTTP/1.1\r\n" H "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc", 400, NULL, 0, 0},
		{"POST / HTTP/1.1\r\n" H "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc", 400, NULL, 0, 0},
		{"POST / HTTP/1.1\r\n" H "Content-Length: 3, 3\r\n\r\nabc", 400, NULL, 0, 0},
		{"POST / HTTP/1.1\r\n" H "Content-Length: +3\r\n\r\nabc", 400, NULL, 0, 0},
		{"POST / HTTP/1.1\r\n" H "Content-Length: -3\r\n\r\nabc", 400, NULL, 0, 0},
		{"POST / HTTP/1.1\r\n" H "Content-Length: 0x3\r\n\r\nabc", 400, NULL, 0, 0},
		{"POST / HTTP/1.1\r\n" H "Content-Length:\r\n\r\nabc", 400, NULL, 0, 0},
		{"POST / HTTP/1.1\r\n" H "Content-Length: 99999999999999999999\r\n\r\n", 400, NULL, 0, 0},
		{"POST / HTTP/1.1\r\n" H "Content-Length: 9223372036854775808\r\n\r\n", 400, NULL, 0, 0},
		/* transfer-encoding in disguise */
		{"POST / HTTP/1.1\r\n" H "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 501, NULL, 0, 0},
		{"POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", 501, NULL, 0, 0},
		{"POST / HTTP/1.1\r\n" H "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501, NULL, 0, 0},
		{"POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, NULL, 0, 0},
		{"POST / HTTP/1.1\r\n" H "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n", 400, NULL, 0, 0},
		{"POST / HTTP/1.1\r\n" H "Transfer-Encoding:\x0b" "chunked\r\n\r\n0\r\n\r\n", 400, NULL, 0, 0},
		/* lines */
		{"GET / HTTP/1.1\r\n" H "X: a\r\n b\r\n\r\n", 400, NULL, 0, 0},
		{"GET / HTTP/1.1\r\n" H "X: a\nY: b\r\n\r\n", 400, NULL, 0, 0},
		{"GET / HTTP/1.1\n" H "\r\n", 400, NULL, 0, 0},
		{"GET / HTTP/1.1\r\n" H "X: a\rb\r\n\r\n", 400, NULL, 0, 0},
		{"GET / HTTP/1.1\r\n" H "X: a\r\n\n", 400, NULL, 0, 0},
		{"GET / HTTP/1.1\r\n" H ": nameless\r\n\r\n", 400, NULL, 0, 0},
		{"GET / HTTP/1.1\r\n" H "no colon\r\n\r\n", 400, NULL, 0, 0},
		{"GET / HTTP/1.1\r\n" H "X(: a\r\n\r\n", 400, NULL, 0, 0},
		{"GET / HTTP/1.1\r\n" H "X\x80: a\r\n\r\n", 400, NULL, 0, 0},
		{"GET / HTTP/1.1\r\n" H "X: a\x01\r\n\r\n", 400, NULL, 0, 0},
		{"GET / HTTP/1.1\r\n" H "X: a\x7f\r\n\r\n", 400, NULL, 0, 0},
		/* hosts */
		{"GET / HTTP/1.1\r\n\r\n", 400, NULL, 0, 0},
		{"GET / HTTP/1.1\r\n" H H "\r\n", 400, NULL, 0, 0},
		{"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400, NULL, 0, 0},
		{"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400, NULL, 0, 0},
		{"GET http://a@b/ HTTP/1.1\r\n" H "\r\n", 400, NULL, 0, 0},
		/* request line */
		{"GET  / HTTP/1.1\r\n" H "\r\n", 400, NULL, 0, 0},
		{"GET /a b HTTP/1.1\r\n" H "\r\n", 400, NULL, 0, 0},
		{" GET / HTTP/1.1\r\n" H "\r\n", 400, NULL, 0, 0},
		{"GET / HTTP/1.1 \r\n" H "\r\n", 400, NULL, 0, 0},
		{"GET /\r\n" H "\r\n", 400, NULL, 0, 0},
		{"GE(T / HTTP/1.1\r\n" H "\r\n", 400, NULL, 0, 0},
		{"GET /\x01 HTTP/1.1\r\n" H "\r\n", 400, NULL, 0, 0},
		{"GET /#f HTTP/1.1\r\n" H "\r\n", 400, NULL, 0, 0},
		{"GET x HTTP/1.1\r\n" H "\r\n", 400, NULL, 0, 0},
		{"GET * HTTP/1.1\r\n" H "\r\n", 400, NULL, 0, 0},
		{"GET ftp://a/ HTTP/1.1\r\n" H "\r\n", 400, NULL, 0, 0},
		{"GET / HTTP/2.0\r\n" H "\r\n", 505, NULL, 0, 0},
		{"GET / HTTP/1.a\r\n" H "\r\n", 505, NULL, 0, 0},
		{"GET / http/1.1\r\n" H "\r\n", 400, NULL, 0, 0},
		{"GET / HTTP/1.0\r\n" H "\r\n", 426, NULL, 0, 0},
		{"CONNECT a:80 HTTP/1.1\r\n" H "\r\n", 405, NULL, 0, 0},
	};

	check_all(vectors, sizeof(vectors) / sizeof(vectors[0]));
}

#define CHUNKED "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n"

static void test_bad_chunks(void **state)
{
	static const struct vector vectors[] = {
		{CHUNKED "\r\nabc", 400, NULL, 0, 0},
		{CHUNKED "g\r\n", 400, NULL, 0, 0},
		{CHUNKED "-1\r\n", 400, NULL, 0, 0},
		{CHUNKED "0x3\r\nabc", 400, NULL, 0, 0},
		{CHUNKED "10000000000000000\r\n", 400, NULL, 0, 0},
		{CHUNKED "3\nabc\r\n", 400, NULL, 0, 0},
		{CHUNKED "3\rxabc\r\n", 400, NULL, 0, 0},
		{CHUNKED "3\r\nabcd\r\n", 400, NULL, 0, 0},
		{CHUNKED "3\r\nabc\n0\r\n\r\n", 400, NULL, 0, 0},
		{CHUNKED "3\r\nabc\rx", 400, NULL, 0, 0},
		{CHUNKED "3;a\x01\r\nabc\r\n", 400, NULL, 0, 0},
		{CHUNKED "3;a\nb\r\nabc\r\n", 400, NULL, 0, 0},
		{CHUNKED "0\r\nbad trailer\r\n\r\n", 400, NULL, 0, 0},
		{CHUNKED "0\r\nX: a\nY: b\r\n\r\n", 400, NULL, 0, 0},
		{CHUNKED "0\r\n X: folded\r\n\r\n", 400, NULL, 0, 0},
	};

	check_all(vectors, sizeof(vectors) / sizeof(vectors[0]));
}

static void test_responses(void **state)
{
	static const struct vector vectors[] = {
		{"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 0, "ok", 1, 0},
		{"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok", 0, "ok", 1, 0},
		{"HTTP/1.1 204 No Content\r\n\r\n", 0, "", 1, 0},
		{"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", 0, "", 1, 0},
		{"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", 0, "", 1, 1},
		{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nT: v\r\n\r\n", 0, "x", 1, 0},
		{"HTTP/1.1 200 OK\r\n\r\nuntil close", -1, "until close", 1, 0},
		{"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n", 502, NULL, 1, 0},
		{"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n", 400, NULL, 1, 0},
		{"HTTP/1.1 20x OK\r\n\r\n", 502, NULL, 1, 0},
		{"HTTP/1.1 099 OK\r\n\r\n", 502, NULL, 1, 0},
		{"HTTP/1.1 101 Switching\r\n\r\n", 502, NULL, 1, 0},
		{"HTTP/1.1 101 Switching\r\nUpgrade: a\r\n\r\n", 502, NULL, 1, 0},
		{"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\n\r\n", 502, NULL, 1, 0},
		{"HTTP/1.0 101 Switching\r\nConnection: upgrade\r\nUpgrade: a\r\n\r\n", 502, NULL, 1, 0},
		{"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: a\r\nContent-Length: 1\r\n\r\n", 502, NULL, 1, 0},
		{"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: a\r\nTransfer-Encoding: chunked\r\n\r\n", 502, NULL, 1, 0},
		{"HTTP/1.1 100 Continue\r\nContent-Length: 1\r\n\r\n", 502, NULL, 1, 0},
		{"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n", 502, NULL, 1, 0},
		{"HTTP/1.12 200 OK\r\n\r\n", 502, NULL, 1, 0},
		{"HTTP/3.1 200 OK\r\n\r\n", 505, NULL, 1, 0},
		{"ICY 200 OK more\r\n\r\n", 502, NULL, 1, 0},
		{"HTTP/1.1 200 OK\r\nX: a\n\r\n\r\n", 400, NULL, 1, 0},
	};

	check_all(vectors, sizeof(vectors) / sizeof(vectors[0]));
}

static void test_nul_bytes(void **state)
{
	static const char texts[][64] = {"GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\0\r\n\r\n",
					 "GET / HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n", "G\0T / HTTP/1.1\r\nHost: a\r\n\r\n"};
	static const size_t lens[] = {29, 30, 34, 28};

	for (size_t i = 0; i < 4; i++)
		for (size_t step = 1; step < 64; step += 62) {
			struct arena arena;
			struct outcome o;

			mesh_arena_init(&arena, &mesh_mem_default, 0);
			feed(&o, &arena, mesh_slice_make(texts[i], lens[i]), step, false, false);
			assert_int_equal(o.rc, MESH_ERROR_PROTOCOL);
			assert_int_equal(o.status, 400);
			mesh_buf_free(&o.body);
			mesh_arena_free(&arena);
		}
}

static void expect_large(const char *prefix, const char *piece, size_t times, const char *suffix, int status)
{
	struct buf text;
	struct arena arena;
	struct outcome o;

	mesh_buf_init(&text, &mesh_mem_default, 0);
	mesh_arena_init(&arena, &mesh_mem_default, 0);
	mesh_buf_append(&text, mesh_slice_of(prefix));
	for (size_t i = 0; i < times; i++)
		mesh_buf_append(&text, mesh_slice_of(piece));
	mesh_buf_append(&text, mesh_slice_of(suffix));
	for (size_t step = 1000; step; step = step == 1000 ? SIZE_MAX : 0) {
		feed(&o, &arena, mesh_buf_slice(&text), step, false, false);
		assert_int_equal(o.rc, MESH_ERROR_PROTOCOL);
		assert_int_equal(o.status, status);
		mesh_buf_free(&o.body);
	}
	mesh_buf_free(&text);
	mesh_arena_free(&arena);
}

static void test_too_large(void **state)
{
	expect_large("GET /", "aaaaaaaaaa", 4000, " HTTP/1.1\r\n" H "\r\n", 414);
	expect_large("GET / HTTP/1.1\r\n" H "X: ", "aaaaaaaaaa", 7000, "\r\n\r\n", 431);
	expect_large("GET / HTTP/1.1\r\n" H, "X: a\r\n", 101, "\r\n", 431);
	expect_large("GET / HTTP/1.1\r\n" H "X: ", "aaaaaaaaaa", 100000, "", 431); /* never ends */
	expect_large(CHUNKED "3;", "aaaaaaaaaa", 200, "\r\nabc\r\n", 400);
	expect_large(CHUNKED "0\r\n", "X: a\r\n", 200, "\r\n", 400);
}

static void test_what_is_kept(void **state)
{
	struct arena arena;
	struct outcome o;

	mesh_arena_init(&arena, &mesh_mem_default, 0);
	feed(&o, &arena,
	     MESH_SLICE("GET http://b:1/p?q HTTP/1.1\r\nHost: a\r\nConnection: close, X-Keep, drop\r\nX-Keep: 1\r\nDrop: 2\r\n"
			"TE: trailers\r\nUpgrade: h2c\r\nKeep-Alive: 5\r\nExpect: 100-continue\r\n\r\n"),
	     SIZE_MAX, false, false);
	assert_int_equal(o.rc, 0);
	assert_true(mesh_slice_equal(o.head.authority, MESH_SLICE("b:1")));
	assert_true(mesh_slice_equal(o.head.path, MESH_SLICE("/p?q")));
	assert_true(o.head.expects_continue);
	assert_int_equal(o.head.headers.count, 2); /* x-keep and te */
	assert_non_null(mesh_headers_get(&o.head.headers, MESH_SLICE("x-keep")).data);
	mesh_buf_free(&o.body);
	feed(&o, &arena,
	     MESH_SLICE(CHUNKED "0\r\nX-A: 1\r\nContent-Length: 5\r\nHost: x\r\nX-Forwarded-For: y\r\n\r\nGET "), SIZE_MAX, false, false);
	assert_int_equal(o.rc, 0);
	assert_int_equal(o.left, 4);
	assert_int_equal(o.trailers.count, 1);
	mesh_buf_free(&o.body);
	mesh_arena_free(&arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good_requests), cmocka_unit_test(test_ambiguous_requests),
		cmocka_unit_test(test_bad_chunks),    cmocka_unit_test(test_responses),
		cmocka_unit_test(test_nul_bytes),     cmocka_unit_test(test_too_large),
		cmocka_unit_test(test_what_is_kept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
