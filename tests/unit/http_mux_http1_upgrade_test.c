/* SPDX-License-Identifier: Apache-2.0 */
/* A change to another protocol on an HTTP/1.1 connection, both sides, against scripted bytes over a socket pair. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "http/mux.h"
#include "loop/loop.h"
#include "net/transport.h"

/* What happened to one exchange, as text: "head 101 websocket;data abc;end;over OK;" */
struct seen {
	struct exchange exchange;
	struct arena arena;
	char log[1024];
};

struct fixture {
	struct transport *transport;
	struct mux *mux;
	int peer; /* the other end of the socket pair */
	struct seen seen[2];
	size_t count;
	bool closed;
	int closed_error;
};

static void note(struct exchange *exchange, const char *format, ...)
{
	struct seen *seen = (struct seen *)exchange;
	size_t len = strlen(seen->log);
	va_list args;

	va_start(args, format);
	vsnprintf(seen->log + len, sizeof(seen->log) - len, format, args);
	va_end(args);
}

static void on_head(struct exchange *e, struct http_head *head, bool end)
{
	if (head->status)
		note(e, "head %d", head->status);
	else
		note(e, "head %.*s", (int)head->path.len, head->path.data);
	if (head->upgrade.len)
		note(e, " %.*s", (int)head->upgrade.len, head->upgrade.data);
	note(e, end ? " alone;" : ";");
	for (size_t i = 0; i < head->headers.count; i++)
		note(e, "%.*s;", (int)head->headers.items[i].name.len, head->headers.items[i].name.data);
}

static void on_interim(struct exchange *e, struct http_head *head)
{
	note(e, "interim %d;", head->status);
}

static void on_data(struct exchange *e, struct mesh_slice data)
{
	note(e, "data %.*s;", (int)data.len, data.data);
}

static void on_end(struct exchange *e, struct headers *trailers)
{
	note(e, trailers ? "trailers;" : "end;");
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
	struct seen *seen;

	assert_true(f->count < 2);
	seen = &f->seen[f->count++];
	mesh_arena_init(&seen->arena, &mesh_mem_default, 0);
	seen->exchange.events = &events;
	seen->exchange.arena = &seen->arena;
	return seen;
}

static struct exchange *accept_one(struct mux *mux)
{
	return &next_seen(mux->user)->exchange;
}

static void nothing(struct mux *mux)
{
}

static void closed(struct mux *mux, int error, const char *why)
{
	struct fixture *f = mux->user;

	assert_false(f->closed);
	f->closed = true;
	f->closed_error = error;
}

static const struct mux_owner owner = {accept_one, nothing, nothing, nothing, closed};

static void open_fixture(struct fixture *f, bool server, bool http_10)
{
	struct mux_limits limits = mesh_mux_limits_default;
	int fds[2];

	memset(f, 0, sizeof(*f));
	limits.http_10 = http_10;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
	f->peer = fds[1];
	assert_int_equal(mesh_transport_plain_new(&mesh_mem_default, fds[0], &f->transport), 0);
	f->transport->ready = true;
	assert_int_equal(mesh_mux_http1_new(&mesh_mem_default, f->transport, server, &owner, &limits,
					    (struct mesh_slice){NULL, 0}, &f->mux),
			 0);
	f->mux->user = f;
}

static void close_fixture(struct fixture *f)
{
	mesh_mux_free(f->mux);
	mesh_transport_free(f->transport);
	for (size_t i = 0; i < f->count; i++)
		mesh_arena_free(&f->seen[i].arena);
	close(f->peer);
}

/* What the loop would do with the mux now. */
static void turn(struct fixture *f)
{
	if (!f->closed)
		mesh_mux_ready(f->mux, (mesh_mux_wants(f->mux) & LOOP_READ) | LOOP_WRITE);
	if (!f->closed)
		mesh_mux_flush(f->mux);
}

static void receive(struct fixture *f, const char *text)
{
	assert_int_equal(write(f->peer, text, strlen(text)), strlen(text));
	turn(f);
}

static void peer_ends(struct fixture *f)
{
	shutdown(f->peer, SHUT_WR);
	turn(f);
}

static void assert_sent(struct fixture *f, const char *expected)
{
	char text[4096];
	ssize_t n;

	turn(f);
	n = read(f->peer, text, sizeof(text) - 1);
	text[n > 0 ? n : 0] = '\0';
	assert_string_equal(text, expected);
}

/* 1: the peer sees the end of our direction, 0: it would wait for more. */
static int our_end_seen(struct fixture *f)
{
	char byte;

	turn(f);
	return recv(f->peer, &byte, 1, MSG_PEEK) == 0;
}

static int respond(struct fixture *f, int status, const char *upgrade, const char *body)
{
	struct http_head head = {.status = status, .content_length = -1, .upgrade = mesh_slice_of(upgrade)};
	struct exchange *exchange = &f->seen[f->count - 1].exchange;
	int rc;

	if (body)
		head.content_length = (int64_t)strlen(body);
	rc = mesh_exchange_send_head(exchange, &head, body && !*body);
	return rc || !body || !*body ? rc : mesh_exchange_send_data(exchange, mesh_slice_of(body), true);
}

static int say(struct fixture *f, const char *text, bool end)
{
	return mesh_exchange_send_data(&f->seen[f->count - 1].exchange, mesh_slice_of(text), end);
}

static struct seen *ask(struct fixture *f, const char *protocol, bool end)
{
	struct http_head head = {.method = {"GET", 3},
				 .authority = {"a", 1},
				 .path = {"/", 1},
				 .content_length = -1,
				 .upgrade = mesh_slice_of(protocol)};
	struct seen *seen = next_seen(f);

	assert_int_equal(mesh_exchange_open(f->mux, &seen->exchange), 0);
	assert_int_equal(mesh_exchange_send_head(&seen->exchange, &head, end), 0);
	mesh_mux_flush(f->mux);
	return seen;
}

#define ASKS   "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n"
#define AGREES "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n"

static void test_server_agrees(void **state)
{
	struct fixture f;

	open_fixture(&f, true, false);
	receive(&f, ASKS "Sec-WebSocket-Key: x\r\n\r\n");
	assert_string_equal(f.seen[0].log, "head /chat websocket;Sec-WebSocket-Key;");
	assert_int_equal(respond(&f, 101, NULL, NULL), 0);
	assert_sent(&f, AGREES "\r\n");
	receive(&f, "ping");
	assert_int_equal(say(&f, "pong", false), 0);
	assert_sent(&f, "pong");
	receive(&f, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"); /* bytes like any other */
	assert_int_equal(f.count, 1);
	assert_false(our_end_seen(&f));
	peer_ends(&f);
	assert_false(f.closed);
	assert_int_equal(say(&f, "last", true), 0);
	assert_sent(&f, "last");
	assert_string_equal(f.seen[0].log, "head /chat websocket;Sec-WebSocket-Key;data ping;"
					   "data GET / HTTP/1.1\r\nHost: a\r\n\r\n;end;over OK;");
	assert_true(f.closed);
	assert_int_equal(f.closed_error, 0);
	close_fixture(&f);
}

static void test_server_ends_first(void **state)
{
	struct fixture f;

	open_fixture(&f, true, false);
	receive(&f, ASKS "\r\n");
	assert_int_equal(respond(&f, 101, "websocket", NULL), 0);
	assert_int_equal(say(&f, "bye", true), 0);
	assert_sent(&f, AGREES "\r\nbye");
	assert_true(our_end_seen(&f));
	assert_int_equal(say(&f, "more", false), MESH_ERROR_STATE);
	receive(&f, "still here");
	assert_false(f.closed);
	peer_ends(&f);
	assert_string_equal(f.seen[0].log, "head /chat websocket;data still here;end;over OK;");
	assert_true(f.closed);
	assert_int_equal(f.closed_error, 0);
	close_fixture(&f);
}

/* What follows the head is bytes at once: a proxy before us may have passed them on as such. */
static void test_server_takes_early_bytes(void **state)
{
	static const char *const framing[] = {"", "Content-Length: 3\r\n", "Transfer-Encoding: chunked\r\n"};

	for (int i = 0; i < 3; i++) {
		struct fixture f;
		char request[300];

		open_fixture(&f, true, false);
		snprintf(request, sizeof(request), "%s%s\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n", ASKS,
			 framing[i]);
		receive(&f, request);
		assert_non_null(strstr(f.seen[0].log, "data 0\r\n\r\nGET /smuggled HTTP/1.1"));
		assert_int_equal(respond(&f, 101, NULL, NULL), 0);
		receive(&f, "more");
		assert_non_null(strstr(f.seen[0].log, ";data more;"));
		assert_int_equal(f.count, 1);
		close_fixture(&f);
	}
}

/* Refused: whatever comes behind it is not read as a request, and the connection ends. */
static void test_server_refuses(void **state)
{
	struct fixture f;

	open_fixture(&f, true, false);
	receive(&f, ASKS "\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n");
	assert_int_equal(respond(&f, 403, NULL, "no"), 0);
	assert_sent(&f, "HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno");
	assert_string_equal(f.seen[0].log,
			    "head /chat websocket;data GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n;over OK;");
	assert_true(f.closed);
	assert_int_equal(f.closed_error, 0);
	assert_int_equal(f.count, 1);
	close_fixture(&f);
}

static void test_server_answers_only_what_was_asked(void **state)
{
	struct fixture f;

	open_fixture(&f, true, false);
	receive(&f, ASKS "\r\n");
	assert_int_equal(respond(&f, 101, "chess", NULL), MESH_ERROR_INVALID);
	assert_int_equal(respond(&f, 200, "websocket", NULL), MESH_ERROR_INVALID);
	assert_int_equal(mesh_exchange_send_interim(&f.seen[0].exchange, &(struct http_head){.status = 101}),
			 MESH_ERROR_INVALID);
	assert_int_equal(respond(&f, 101, "WEBSOCKET", NULL), 0);
	assert_sent(&f, AGREES "\r\n");
	close_fixture(&f);
	open_fixture(&f, true, false);
	receive(&f, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
	assert_int_equal(respond(&f, 101, "websocket", NULL), MESH_ERROR_STATE);
	assert_int_equal(respond(&f, 101, NULL, NULL), MESH_ERROR_STATE);
	assert_int_equal(respond(&f, 200, NULL, ""), 0);
	assert_sent(&f, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
	close_fixture(&f);
}

/* Asked for in a way that is no asking: an ordinary request, and the next one is read behind it. */
static void test_server_goes_on_without(void **state)
{
	static const char *const fields[] = {
		"Upgrade: websocket\r\n", /* not named by Connection */
		"Connection: upgrade\r\n",
		"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: H2C\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n",
		"Connection: Upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n",
	};

	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		struct fixture f;
		char request[400];

		open_fixture(&f, true, false);
		snprintf(request, sizeof(request),
			 "GET /1 HTTP/1.1\r\nHost: a\r\n%s\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n", fields[i]);
		receive(&f, request);
		assert_string_equal(f.seen[0].log, "head /1 alone;end;");
		assert_int_equal(respond(&f, 200, NULL, ""), 0);
		assert_sent(&f, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
		assert_string_equal(f.seen[1].log, "head /2 alone;end;");
		close_fixture(&f);
	}
}

static void test_server_http_10_closes(void **state)
{
	struct fixture f;

	open_fixture(&f, true, true);
	receive(&f, "GET /1 HTTP/1.0\r\nHost: a\r\nConnection: keep-alive, upgrade\r\nUpgrade: websocket\r\n\r\nGET /2 "
		    "HTTP/1.0\r\n\r\n");
	assert_string_equal(f.seen[0].log, "head /1 alone;end;");
	assert_int_equal(respond(&f, 200, NULL, ""), 0);
	turn(&f);
	assert_true(f.closed);
	assert_int_equal(f.count, 1);
	close_fixture(&f);
}

static void test_server_refuses_two_protocols_fields(void **state)
{
	struct fixture f;

	open_fixture(&f, true, false);
	receive(&f, ASKS "Upgrade: other\r\n\r\n");
	assert_sent(&f, "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
	assert_true(f.closed);
	close_fixture(&f);
}

static void test_server_half_closed_before_the_answer(void **state)
{
	struct fixture f;

	open_fixture(&f, true, false);
	receive(&f, ASKS "\r\nearly");
	peer_ends(&f);
	assert_false(f.closed);
	assert_int_equal(respond(&f, 101, NULL, NULL), 0);
	assert_int_equal(say(&f, "answer", true), 0);
	assert_sent(&f, AGREES "\r\nanswer");
	assert_string_equal(f.seen[0].log, "head /chat websocket;data early;end;over OK;");
	close_fixture(&f);
}

static void test_pause_holds_bytes_and_the_end_back(void **state)
{
	struct fixture f;

	open_fixture(&f, true, false);
	receive(&f, ASKS "\r\n");
	assert_int_equal(respond(&f, 101, NULL, NULL), 0);
	turn(&f);
	mesh_exchange_pause(&f.seen[0].exchange, true);
	assert_int_equal(mesh_mux_wants(f.mux) & LOOP_READ, 0);
	receive(&f, "held");
	peer_ends(&f);
	assert_string_equal(f.seen[0].log, "head /chat websocket;");
	mesh_exchange_pause(&f.seen[0].exchange, false);
	turn(&f);
	turn(&f);
	assert_string_equal(f.seen[0].log, "head /chat websocket;data held;end;");
	close_fixture(&f);
}

static void test_sending_waits_for_a_slow_peer(void **state)
{
	static char piece[16000];
	char waste[65536];
	struct fixture f;
	size_t taken = 0, read_back = 0;
	ssize_t n;
	int rc;

	open_fixture(&f, true, false);
	receive(&f, ASKS "\r\n");
	assert_int_equal(respond(&f, 101, NULL, NULL), 0);
	do {
		rc = mesh_exchange_send_data(&f.seen[0].exchange, mesh_slice_make(piece, sizeof(piece)), false);
		taken += rc ? 0 : sizeof(piece);
	} while (!rc && taken < 10000000);
	assert_int_equal(rc, MESH_ERROR_AGAIN);
	assert_true(taken < 200000);
	for (int i = 0; i < 200; i++) {
		turn(&f);
		while ((n = read(f.peer, waste, sizeof(waste))) > 0)
			read_back += (size_t)n;
	}
	assert_int_equal(read_back, taken + strlen(AGREES "\r\n"));
	assert_non_null(strstr(f.seen[0].log, "writable;"));
	close_fixture(&f);
}

static void test_client_changes(void **state)
{
	struct fixture f;
	struct seen *seen;

	open_fixture(&f, false, false);
	seen = ask(&f, "WebSocket", false);
	assert_sent(&f, "GET / HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: WebSocket\r\n\r\n");
	assert_int_equal(say(&f, "early", false), MESH_ERROR_AGAIN);
	turn(&f);
	assert_string_equal(seen->log, ""); /* no room before the answer */
	assert_sent(&f, "");
	receive(&f, "HTTP/1.1 100 Continue\r\n\r\n" AGREES "x: 1\r\n\r\nhello");
	assert_string_equal(seen->log, "interim 100;head 101 websocket;x;data hello;writable;");
	assert_int_equal(say(&f, "early", false), 0);
	assert_sent(&f, "early");
	assert_int_equal(say(&f, "", true), 0);
	assert_true(our_end_seen(&f));
	assert_false(f.closed);
	receive(&f, "rest");
	peer_ends(&f);
	assert_non_null(strstr(seen->log, "data rest;end;over OK;"));
	assert_true(f.closed);
	assert_int_equal(f.closed_error, 0);
	assert_int_equal(mesh_mux_capacity(f.mux), 0);
	close_fixture(&f);
}

static void test_client_has_nothing_to_say(void **state)
{
	struct fixture f;
	struct seen *seen;

	open_fixture(&f, false, false);
	seen = ask(&f, "feed", true);
	assert_sent(&f, "GET / HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: feed\r\n\r\n");
	assert_false(our_end_seen(&f));
	receive(&f, "HTTP/1.1 101 x\r\nConnection: Upgrade\r\nUpgrade: Feed\r\n\r\n1");
	assert_true(our_end_seen(&f));
	peer_ends(&f);
	assert_string_equal(seen->log, "head 101 feed;data 1;end;over OK;");
	close_fixture(&f);
}

/* Another final answer: HTTP goes on, and so does the connection. */
static void test_client_is_refused(void **state)
{
	struct fixture f;
	struct seen *seen;

	open_fixture(&f, false, false);
	seen = ask(&f, "websocket", false);
	assert_int_equal(say(&f, "early", false), MESH_ERROR_AGAIN);
	receive(&f, "HTTP/1.1 426 No\r\nConnection: Upgrade\r\nUpgrade: other\r\nContent-Length: 2\r\n\r\nno");
	assert_string_equal(seen->log, "head 426;Content-Length;data no;end;over OK;");
	assert_int_equal(mesh_mux_capacity(f.mux), 1);
	seen = ask(&f, "", true);
	receive(&f, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
	assert_string_equal(seen->log, "head 200 alone;Content-Length;end;over OK;");
	close_fixture(&f);
}

static void test_client_is_cheated(void **state)
{
	static const struct {
		const char *asked, *answer;
	} cases[] = {
		{"", AGREES "\r\n"},
		{"chess", AGREES "\r\n"},
		{"websocket", "HTTP/1.1 101 x\r\nUpgrade: websocket\r\n\r\n"},
		{"websocket", "HTTP/1.1 101 x\r\nConnection: upgrade\r\n\r\n"},
		{"websocket", "HTTP/1.0 101 x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"},
		{"websocket", AGREES "Content-Length: 5\r\n\r\nhello"},
		{"websocket", AGREES "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct fixture f;
		struct seen *seen;

		open_fixture(&f, false, false);
		seen = ask(&f, cases[i].asked, !*cases[i].asked);
		receive(&f, cases[i].answer);
		assert_string_equal(seen->log, "over PROTOCOL;");
		assert_true(f.closed);
		assert_int_equal(f.closed_error, MESH_ERROR_PROTOCOL);
		close_fixture(&f);
	}
}

static void test_client_asks_properly(void **state)
{
	struct http_head head = {
		.method = {"GET", 3}, .authority = {"a", 1}, .path = {"/", 1}, .upgrade = {"a\r\nb: c", 7}};
	struct fixture f;
	struct seen *seen;

	open_fixture(&f, false, false);
	seen = next_seen(&f);
	assert_int_equal(mesh_exchange_open(f.mux, &seen->exchange), 0);
	assert_int_equal(mesh_exchange_send_head(&seen->exchange, &head, false), MESH_ERROR_INVALID);
	head.upgrade = mesh_slice_of("websocket");
	head.content_length = 3;
	assert_int_equal(mesh_exchange_send_head(&seen->exchange, &head, false), MESH_ERROR_INVALID);
	head.content_length = -1;
	assert_int_equal(mesh_exchange_send_head(&seen->exchange, &head, false), 0);
	assert_sent(&f, "GET / HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n");
	close_fixture(&f);
}

static void test_reset_and_vanished_peers(void **state)
{
	struct fixture f;

	open_fixture(&f, true, false);
	receive(&f, ASKS "\r\n");
	assert_int_equal(respond(&f, 101, NULL, NULL), 0);
	assert_sent(&f, AGREES "\r\n");
	close(f.peer);
	turn(&f);
	assert_string_equal(f.seen[0].log, "head /chat websocket;end;");
	assert_int_equal(say(&f, "lost", false), 0);
	turn(&f);
	assert_string_equal(f.seen[0].log, "head /chat websocket;end;over RESET;");
	assert_int_equal(f.closed_error, MESH_ERROR_RESET);
	f.peer = -1;
	close_fixture(&f);
	open_fixture(&f, true, false);
	receive(&f, ASKS "\r\n");
	assert_int_equal(respond(&f, 101, NULL, NULL), 0);
	turn(&f);
	mesh_exchange_reset(&f.seen[0].exchange, MESH_ERROR_CANCELLED);
	turn(&f);
	assert_true(f.closed);
	assert_string_equal(f.seen[0].log, "head /chat websocket;");
	close_fixture(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_server_agrees),
		cmocka_unit_test(test_server_ends_first),
		cmocka_unit_test(test_server_takes_early_bytes),
		cmocka_unit_test(test_server_refuses),
		cmocka_unit_test(test_server_answers_only_what_was_asked),
		cmocka_unit_test(test_server_goes_on_without),
		cmocka_unit_test(test_server_http_10_closes),
		cmocka_unit_test(test_server_refuses_two_protocols_fields),
		cmocka_unit_test(test_server_half_closed_before_the_answer),
		cmocka_unit_test(test_pause_holds_bytes_and_the_end_back),
		cmocka_unit_test(test_sending_waits_for_a_slow_peer),
		cmocka_unit_test(test_client_changes),
		cmocka_unit_test(test_client_has_nothing_to_say),
		cmocka_unit_test(test_client_is_refused),
		cmocka_unit_test(test_client_is_cheated),
		cmocka_unit_test(test_client_asks_properly),
		cmocka_unit_test(test_reset_and_vanished_peers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
