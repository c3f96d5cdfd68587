/* SPDX-License-Identifier: Apache-2.0 */
/* Both sides of the HTTP/1.1 mux, one at a time against scripted bytes over a socket pair. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "http/mux.h"
#include "loop/loop.h"
#include "net/transport.h"

/* What happened to one exchange, as text: "head 200;data abc;end;over 0;" */
struct seen {
	struct exchange exchange;
	struct arena arena;
	char log[1024];
};

struct fixture {
	struct transport *transport;
	struct mux *mux;
	int peer;        /* the other end of the socket pair */
	struct seen seen[4];
	size_t count;    /* exchanges accepted or opened */
	unsigned idle;
	bool closed;
	int closed_error;
};

static struct seen *seen_of(struct exchange *exchange)
{
	return (struct seen *)exchange;
}

static void note(struct exchange *exchange, const char *format, ...)
{
	struct seen *seen = seen_of(exchange);
	size_t len = strlen(seen->log);
	va_list args;

	va_start(args, format);
	vsnprintf(seen->log + len, sizeof(seen->log) - len, format, args);
	va_end(args);
}

static void on_head(struct exchange *e, struct http_head *head, bool end)
{
	if (head->status)
		note(e, "head %d;", head->status);
	else
		note(e, "head %.*s %.*s;", (int)head->method.len, head->method.data, (int)head->path.len, head->path.data);
}

static void on_interim(struct exchange *e, struct http_head *head)
{
	note(e, "interim %d;", head->status);
}

static bool pause_at_data;

static void on_data(struct exchange *e, struct mesh_slice data)
{
	note(e, "data %.*s;", data.len > 20 ? 20 : (int)data.len, data.data);
	if (pause_at_data)
		mesh_exchange_pause(e, true);
}

static void on_end(struct exchange *e, struct headers *trailers)
{
	note(e, trailers ? "trailers %zu;" : "end;", trailers ? trailers->count : 0);
}

static void on_writable(struct exchange *e)
{
	note(e, "writable;");
}

static void on_over(struct exchange *e, int error, const char *why, bool unprocessed)
{
	note(e, "over %s%s;", mesh_error_name(error), unprocessed ? " unprocessed" : "");
}

static const struct exchange_events events = {on_head, on_interim, on_data, on_end, on_writable, on_over};

static struct seen *next_seen(struct fixture *f)
{
	struct seen *seen = &f->seen[f->count++];

	memset(seen, 0, sizeof(*seen));
	mesh_arena_init(&seen->arena, &mesh_mem_default, 0);
	seen->exchange.events = &events;
	seen->exchange.arena = &seen->arena;
	return seen;
}

static struct exchange *accept_one(struct mux *mux)
{
	return &next_seen(mux->user)->exchange;
}

static void dirty(struct mux *mux)
{
}

static void idle(struct mux *mux)
{
	((struct fixture *)mux->user)->idle++;
}

static void closed(struct mux *mux, int error, const char *why)
{
	struct fixture *f = mux->user;

	assert_false(f->closed);
	f->closed = true;
	f->closed_error = error;
}

static const struct mux_owner owner = {accept_one, dirty, dirty, idle, closed};

/* `head`: what the owner has read already. */
static void open_fixture_with(struct fixture *f, bool server, struct mesh_slice head)
{
	int fds[2];

	memset(f, 0, sizeof(*f));
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
	f->peer = fds[1];
	assert_int_equal(mesh_transport_plain_new(&mesh_mem_default, fds[0], &f->transport), 0);
	f->transport->ready = true;
	assert_int_equal(mesh_mux_http1_new(&mesh_mem_default, f->transport, server, &owner, &mesh_mux_limits_default,
					    head, &f->mux), 0);
	f->mux->user = f;
}

static void open_fixture(struct fixture *f, bool server)
{
	open_fixture_with(f, server, (struct mesh_slice){NULL, 0});
}

static void close_fixture(struct fixture *f)
{
	mesh_mux_free(f->mux);
	mesh_transport_free(f->transport);
	for (size_t i = 0; i < f->count; i++)
		mesh_arena_free(&f->seen[i].arena);
	close(f->peer);
}

/* The peer writes; the mux reads, and flushes as a loop would. */
static void receive(struct fixture *f, const char *text)
{
	assert_int_equal(write(f->peer, text, strlen(text)), strlen(text));
	mesh_mux_ready(f->mux, LOOP_READ);
	if (!f->closed)
		mesh_mux_flush(f->mux);
}

static void assert_sent(struct fixture *f, const char *expected)
{
	char text[4096];
	ssize_t n;

	if (!f->closed)
		mesh_mux_flush(f->mux);
	n = read(f->peer, text, sizeof(text) - 1);
	text[n > 0 ? n : 0] = '\0';
	assert_string_equal(text, expected);
}

static struct seen *send_get(struct fixture *f, const char *method)
{
	struct http_head head = {.method = mesh_slice_of(method), .authority = {"a", 1}, .path = {"/", 1}, .content_length = 0};
	struct seen *seen = next_seen(f);

	assert_int_equal(mesh_exchange_open(f->mux, &seen->exchange), 0);
	assert_int_equal(mesh_exchange_send_head(&seen->exchange, &head, true), 0);
	mesh_mux_flush(f->mux);
	return seen;
}

static void answer(struct seen *seen, int status, const char *body)
{
	struct http_head head = {.status = status, .content_length = (int64_t)strlen(body)};

	assert_int_equal(mesh_exchange_send_head(&seen->exchange, &head, !*body), 0);
	if (*body)
		assert_int_equal(mesh_exchange_send_data(&seen->exchange, mesh_slice_of(body), true), 0);
}

static void test_client_keep_alive(void **state)
{
	struct fixture f;
	struct seen *seen;

	open_fixture(&f, false);
	for (int i = 0; i < 3; i++) {
		seen = send_get(&f, "GET");
		assert_sent(&f, "GET / HTTP/1.1\r\nhost: a\r\n\r\n");
		assert_int_equal(mesh_mux_capacity(f.mux), 0);
		receive(&f, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
		assert_string_equal(seen->log, "head 200;data ok;end;over OK;");
		assert_int_equal(mesh_mux_capacity(f.mux), 1);
	}
	assert_int_equal(f.idle, 3);
	close_fixture(&f);
}

static void test_client_interim_head_and_chunks(void **state)
{
	struct fixture f;
	struct seen *seen;

	open_fixture(&f, false);
	seen = send_get(&f, "GET");
	receive(&f, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab");
	receive(&f, "\r\n1\r\nc\r\n0\r\nX-T: 1\r\n\r\n");
	assert_string_equal(seen->log, "interim 100;interim 103;head 200;data ab;data c;trailers 1;over OK;");
	seen = send_get(&f, "HEAD");
	receive(&f, "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n");
	assert_string_equal(seen->log, "head 200;end;over OK;");
	assert_int_equal(mesh_mux_capacity(f.mux), 1);
	close_fixture(&f);
}

static void test_client_until_close(void **state)
{
	struct fixture f;
	struct seen *seen;

	open_fixture(&f, false);
	seen = send_get(&f, "GET");
	receive(&f, "HTTP/1.1 200 OK\r\n\r\nabc");
	shutdown(f.peer, SHUT_WR);
	mesh_mux_ready(f.mux, LOOP_READ);
	assert_string_equal(seen->log, "head 200;data abc;end;over OK;");
	assert_true(f.closed);
	assert_int_equal(f.closed_error, 0);
	close_fixture(&f);
}

static void test_client_connection_close(void **state)
{
	struct fixture f;
	struct seen *seen;

	open_fixture(&f, false);
	seen = send_get(&f, "GET");
	receive(&f, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
	assert_string_equal(seen->log, "head 200;end;over OK;");
	assert_true(f.closed);
	assert_int_equal(f.idle, 0);
	close_fixture(&f);
}

static void test_client_peer_vanishes(void **state)
{
	static const char *const before[] = {"", "HTTP/1.1 2", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab"};
	static const char *const expected[] = {"over RESET;", "over PROTOCOL;", "head 200;data ab;over RESET;"};

	for (int i = 0; i < 3; i++) {
		struct fixture f;
		struct seen *seen;

		open_fixture(&f, false);
		seen = send_get(&f, "GET");
		if (*before[i])
			receive(&f, before[i]);
		shutdown(f.peer, SHUT_WR);
		mesh_mux_ready(f.mux, LOOP_READ);
		assert_string_equal(seen->log, expected[i]);
		assert_true(f.closed);
		close_fixture(&f);
	}
}

static void test_client_unasked_bytes(void **state)
{
	struct fixture f;

	open_fixture(&f, false);
	receive(&f, "HTTP/1.1 200 OK\r\n\r\n");
	assert_true(f.closed);
	assert_int_equal(f.closed_error, MESH_ERROR_PROTOCOL);
	close_fixture(&f);
}

static void test_client_never_written(void **state)
{
	struct http_head head = {.method = {"GET", 3}, .authority = {"a", 1}, .path = {"/", 1}, .content_length = 0};
	struct fixture f;
	struct seen *seen;

	open_fixture(&f, false);
	seen = next_seen(&f);
	assert_int_equal(mesh_exchange_open(f.mux, &seen->exchange), 0);
	assert_int_equal(mesh_exchange_send_head(&seen->exchange, &head, true), 0);
	shutdown(f.peer, SHUT_RDWR);
	mesh_mux_flush(f.mux);
	assert_string_equal(seen->log, "over RESET unprocessed;");
	close_fixture(&f);
}

static void test_server_answers_in_order(void **state)
{
	struct fixture f;

	open_fixture(&f, true);
	receive(&f, "GET /1 HTTP/1.1\r\nHost: a\r\n\r\nPOST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nxyGET /3 HTTP/1.1\r\nHost: a\r\n\r\n");
	assert_int_equal(f.count, 1); /* the others wait */
	assert_int_equal(mesh_mux_wants(f.mux) & LOOP_READ, 0);
	answer(&f.seen[0], 200, "one");
	assert_sent(&f, "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\none");
	assert_int_equal(f.count, 2);
	assert_string_equal(f.seen[1].log, "head POST /2;data xy;end;");
	answer(&f.seen[1], 204, "");
	assert_sent(&f, "HTTP/1.1 204 No Content\r\n\r\n");
	answer(&f.seen[2], 404, "no");
	assert_sent(&f, "HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\n\r\nno");
	assert_string_equal(f.seen[2].log, "head GET /3;end;over OK;");
	assert_false(f.closed);
	close_fixture(&f);
}

static void test_server_early_answer_wastes_the_body(void **state)
{
	struct fixture f;

	open_fixture(&f, true);
	receive(&f, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nab");
	answer(&f.seen[0], 403, "no");
	assert_sent(&f, "HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno");
	receive(&f, "cdefGET /next HTTP/1.1\r\nHost: a\r\n\r\n");
	assert_int_equal(f.count, 2);
	assert_string_equal(f.seen[1].log, "head GET /next;end;");
	close_fixture(&f);
}

static void test_server_refuses_and_closes(void **state)
{
	struct fixture f;

	open_fixture(&f, true);
	receive(&f, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n");
	assert_sent(&f, "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
	assert_true(f.closed);
	assert_true(f.count <= 1);
	close_fixture(&f);
}

static void test_server_continue_and_close(void **state)
{
	struct fixture f;

	open_fixture(&f, true);
	receive(&f, "PUT / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n");
	assert_int_equal(mesh_exchange_send_interim(&f.seen[0].exchange, &(struct http_head){.status = 100, .content_length = -1}), 0);
	assert_sent(&f, "HTTP/1.1 100 Continue\r\n\r\n");
	receive(&f, "x");
	answer(&f.seen[0], 200, "");
	assert_sent(&f, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
	assert_true(f.closed);
	assert_int_equal(f.closed_error, 0);
	close_fixture(&f);
}

static void test_server_half_close_is_answered(void **state)
{
	struct fixture f;

	open_fixture(&f, true);
	receive(&f, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
	shutdown(f.peer, SHUT_WR);
	mesh_mux_ready(f.mux, LOOP_READ);
	assert_false(f.closed);
	assert_int_equal(mesh_mux_wants(f.mux) & LOOP_READ, 0);
	answer(&f.seen[0], 200, "ok");
	assert_sent(&f, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok");
	assert_true(f.closed);
	close_fixture(&f);
}

static void test_server_drain(void **state)
{
	struct fixture f;

	open_fixture(&f, true);
	receive(&f, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
	mesh_mux_drain(f.mux);
	answer(&f.seen[0], 200, "");
	assert_sent(&f, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
	assert_true(f.closed);
	close_fixture(&f);
	open_fixture(&f, true);
	mesh_mux_drain(f.mux);
	mesh_mux_flush(f.mux);
	assert_true(f.closed);
	close_fixture(&f);
}

static void test_server_streams_with_backpressure(void **state)
{
	struct http_head head = {.status = 200, .content_length = -1};
	static char piece[16000];
	struct fixture f;
	int rc, accepted = 0;
	char waste[65536];

	open_fixture(&f, true);
	receive(&f, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
	assert_int_equal(mesh_exchange_send_head(&f.seen[0].exchange, &head, false), 0);
	do {
		rc = mesh_exchange_send_data(&f.seen[0].exchange, mesh_slice_make(piece, sizeof(piece)), false);
		accepted += rc == 0;
	} while (rc == 0 && accepted < 1000);
	assert_int_equal(rc, MESH_ERROR_AGAIN);
	assert_true(accepted >= 4 && accepted < 10);
	mesh_mux_flush(f.mux);
	for (int i = 0; i < 100; i++) {
		if (read(f.peer, waste, sizeof(waste)) < 0)
			break;
		mesh_mux_ready(f.mux, LOOP_WRITE);
		mesh_mux_flush(f.mux);
	}
	assert_non_null(strstr(f.seen[0].log, "writable;"));
	close_fixture(&f);
}

/* The body goes behind a head that is not written yet. */
static void test_server_sends_a_large_body_at_once(void **state)
{
	static char body[300000];
	struct http_head head = {.status = 200, .content_length = sizeof(body)};
	struct fixture f;

	open_fixture(&f, true);
	receive(&f, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
	assert_int_equal(mesh_exchange_send_head(&f.seen[0].exchange, &head, false), 0);
	assert_int_equal(mesh_exchange_send_data(&f.seen[0].exchange, mesh_slice_make(body, sizeof(body)), true), 0);
	close_fixture(&f);
}

/* A whole request that was read while sniffing: nothing more will come to wake us. */
static void test_server_takes_what_was_sniffed(void **state)
{
	struct fixture f;

	open_fixture_with(&f, true, MESH_SLICE("GET /sniffed HTTP/1.1\r\nHost: a\r\n\r\n"));
	assert_int_equal(f.count, 0);
	mesh_mux_ready(f.mux, LOOP_READ);
	assert_int_equal(f.count, 1);
	assert_non_null(strstr(f.seen[0].log, "/sniffed"));
	close_fixture(&f);
}

static void test_pause_holds_data_back(void **state)
{
	struct fixture f;

	open_fixture(&f, true);
	receive(&f, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nab");
	mesh_exchange_pause(&f.seen[0].exchange, true);
	assert_int_equal(mesh_mux_wants(f.mux) & LOOP_READ, 0);
	receive(&f, "cd");
	assert_string_equal(f.seen[0].log, "head POST /;data ab;");
	mesh_exchange_pause(&f.seen[0].exchange, false);
	mesh_mux_ready(f.mux, LOOP_READ);
	mesh_mux_flush(f.mux);
	assert_string_equal(f.seen[0].log, "head POST /;data ab;data cd;end;");
	close_fixture(&f);
}

/* Whoever pauses while taking the last bytes is told of the end afterwards, though there is nothing left to read. */
static void test_pause_at_the_last_bytes(void **state)
{
	struct fixture f;

	open_fixture(&f, true);
	pause_at_data = true;
	receive(&f, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab");
	pause_at_data = false;
	assert_string_equal(f.seen[0].log, "head POST /;data ab;");
	mesh_exchange_pause(&f.seen[0].exchange, false);
	mesh_mux_flush(f.mux);
	assert_string_equal(f.seen[0].log, "head POST /;data ab;end;");
	close_fixture(&f);
}

static void test_promised_length_is_kept(void **state)
{
	struct http_head head = {.status = 200, .content_length = 3};
	struct fixture f;

	open_fixture(&f, true);
	receive(&f, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
	assert_int_equal(mesh_exchange_send_head(&f.seen[0].exchange, &head, false), 0);
	assert_int_equal(mesh_exchange_send_data(&f.seen[0].exchange, MESH_SLICE("abcd"), true), MESH_ERROR_INVALID);
	assert_int_equal(mesh_exchange_send_data(&f.seen[0].exchange, MESH_SLICE("ab"), true), MESH_ERROR_INVALID);
	assert_int_equal(mesh_exchange_send_data(&f.seen[0].exchange, MESH_SLICE("abc"), true), 0);
	close_fixture(&f);
}

static void test_headers_cannot_end_lines(void **state)
{
	static const struct mesh_header bad[] = {
		{{"x", 1}, {"a\r\nb: c", 7}}, {{"x", 1}, {"a\nb", 3}}, {{"x y", 3}, {"a", 1}}, {{"", 0}, {"a", 1}}, {{"x", 1}, {"a\0b", 3}},
	};
	struct fixture f;

	open_fixture(&f, true);
	receive(&f, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct mesh_header one = bad[i];
		struct http_head head = {.status = 200, .content_length = 0, .headers = {&one, 1, 1}};

		assert_int_equal(mesh_exchange_send_head(&f.seen[0].exchange, &head, true), MESH_ERROR_INVALID);
	}
	answer(&f.seen[0], 200, "");
	assert_sent(&f, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
	close_fixture(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_client_keep_alive),
		cmocka_unit_test(test_client_interim_head_and_chunks),
		cmocka_unit_test(test_client_until_close),
		cmocka_unit_test(test_client_connection_close),
		cmocka_unit_test(test_client_peer_vanishes),
		cmocka_unit_test(test_client_unasked_bytes),
		cmocka_unit_test(test_client_never_written),
		cmocka_unit_test(test_server_answers_in_order),
		cmocka_unit_test(test_server_early_answer_wastes_the_body),
		cmocka_unit_test(test_server_refuses_and_closes),
		cmocka_unit_test(test_server_continue_and_close),
		cmocka_unit_test(test_server_half_close_is_answered),
		cmocka_unit_test(test_server_drain),
		cmocka_unit_test(test_server_streams_with_backpressure),
		cmocka_unit_test(test_server_sends_a_large_body_at_once),
		cmocka_unit_test(test_server_takes_what_was_sniffed),
		cmocka_unit_test(test_pause_holds_data_back),
		cmocka_unit_test(test_pause_at_the_last_bytes),
		cmocka_unit_test(test_promised_length_is_kept),
		cmocka_unit_test(test_headers_cannot_end_lines),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
