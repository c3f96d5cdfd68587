/* SPDX-License-Identifier: Apache-2.0 */
/* A listener against peers that say what no honest client says: answered as Envoy would, and the handler sees nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include <mesh/mesh.h>

#include "support/data_plane.h"
#include "support/failing_mem.h"
#include "support/raw_peer.h"

#define HEAD "GET / HTTP/1.1\r\nHost: reviews\r\n"
#define POST "POST / HTTP/1.1\r\nHost: reviews\r\n"
#define CHUNKED POST "Transfer-Encoding: chunked\r\n\r\n"
#define SMUGGLED "GET /smuggled HTTP/1.1\r\nHost: reviews\r\n\r\n"

struct server {
	struct failing_mem mem; /* never fails: counts what the mesh holds */
	struct data_plane plane;
	struct mesh_listener *listener;
	uint16_t port;
	size_t body_max;
	atomic_int calls, ended, failed; /* handler calls; calls that were over; of these, with an error */
	atomic_size_t taken;             /* body bytes of streamed requests */
	atomic_bool hold;                /* streamed: do not read on */
	struct mesh_call *_Atomic held;
	atomic_int writable;
};

static struct mesh_slice text(const char *s)
{
	return mesh_slice_of(s);
}

/* The path, then the body or its trailers: what a request looked like when it was let through. */
static void answer(struct mesh_call *call, void *user)
{
	struct server *server = user;
	struct mesh_slice path = mesh_call_path(call), body = mesh_call_body(call), end = mesh_call_trailer(call, "x-end");
	static const struct mesh_header length = {{"content-length", 14}, {"5", 1}};
	char said[512];
	int len = snprintf(said, sizeof(said), "%.*s|%.*s|%.*s|%.*s", (int)(path.len > 200 ? 200 : path.len), path.data,
			   (int)mesh_call_authority(call).len, mesh_call_authority(call).data, (int)(body.len > 100 ? 100 : body.len), body.len ? body.data : "",
			   (int)end.len, end.data ? end.data : "");

	atomic_fetch_add(&server->calls, 1);
	if (mesh_slice_equal(path, text("/204")))
		assert_int_equal(mesh_call_respond(call, 204, NULL, 0, text(""), true), 0);
	else if (mesh_slice_equal(path, text("/304")))
		assert_int_equal(mesh_call_respond(call, 304, &length, 1, text(""), true), 0);
	else
		mesh_call_respond(call, 200, NULL, 0, mesh_slice_make(said, (size_t)len), true);
}

static int open_server(void **state)
{
	struct server *server = calloc(1, sizeof(*server));

	failing_mem_init(&server->mem, 0);
	assert_int_equal(data_plane_open(&server->plane, 1, &server->mem.mem), 0);
	server->body_max = 1000;
	*state = server;
	return 0;
}

static int close_server(void **state)
{
	struct server *server = *state;

	if (server->listener)
		mesh_listener_close(server->listener);
	data_plane_close(&server->plane);
	assert_int_equal(atomic_load(&server->mem.blocks), 0);
	free(server);
	return 0;
}

static void listen_with(struct server *server, mesh_handler_fn *handler)
{
	struct mesh_listen_options options = {.size = sizeof(options), .handler = handler, .user = server, .grace_ms = 3000,
					      .request_bytes_max = server->body_max, .address = "127.0.0.1"};

	data_plane_publish(&server->plane);
	assert_int_equal(mesh_listen(server->plane.mesh, &options, &server->listener), 0);
	server->port = mesh_listener_port(server->listener);
}

static int status_of(const char *response)
{
	return strncmp(response, "HTTP/1.1 ", 9) ? -1 : atoi(response + 9);
}

/* The connection must still work for others and the request as a whole be good. */
static void assert_serves(struct server *server)
{
	char got[4096];
	int fd = raw_connect(server->port);

	assert_true(raw_say(fd, HEAD "\r\n"));
	assert_true(raw_response(fd, got, sizeof(got)));
	assert_int_equal(status_of(got), 200);
	close(fd);
}

struct wrong {
	const char *what;
	const char *request;
	size_t len; /* 0: a string */
	int status;
};

static const struct wrong wrongs[] = {
	/* two readers, two lengths */
	{"length and encoding", POST "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" SMUGGLED, 0, 400},
	{"encoding and length", POST "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n0\r\n\r\n" SMUGGLED, 0, 400},
	{"two lengths", POST "Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcde" SMUGGLED, 0, 400},
	{"the same length twice", POST "Content-Length: 5\r\nContent-Length: 5\r\n\r\nabcde" SMUGGLED, 0, 400},
	{"a list of lengths", POST "Content-Length: 5, 5\r\n\r\nabcde" SMUGGLED, 0, 400},
	{"signed length", POST "Content-Length: +5\r\n\r\nabcde" SMUGGLED, 0, 400},
	{"negative length", POST "Content-Length: -1\r\n\r\n" SMUGGLED, 0, 400},
	{"empty length", POST "Content-Length: \r\n\r\n" SMUGGLED, 0, 400},
	{"hex length", POST "Content-Length: 0x5\r\n\r\nabcde" SMUGGLED, 0, 400},
	{"length with a blank", POST "Content-Length: 1 0\r\n\r\nabcde" SMUGGLED, 0, 400},
	{"length past 64 bits", POST "Content-Length: 18446744073709551617\r\n\r\n" SMUGGLED, 0, 400},
	{"length past 63 bits", POST "Content-Length: 9223372036854775808\r\n\r\n" SMUGGLED, 0, 400},
	{"two encodings", POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" SMUGGLED, 0, 400},
	{"gzip encoding", POST "Transfer-Encoding: gzip\r\n\r\n" SMUGGLED, 0, 501},
	{"gzip, chunked", POST "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n" SMUGGLED, 0, 501},
	{"chunked, identity", POST "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n" SMUGGLED, 0, 501},
	{"encoding in quotes", POST "Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n" SMUGGLED, 0, 501},
	{"encoding of HTTP/1.0", "POST / HTTP/1.0\r\nHost: reviews\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" SMUGGLED, 0, 426},
	{"vertical tab before chunked", POST "Transfer-Encoding: \vchunked\r\n\r\n0\r\n\r\n" SMUGGLED, 0, 400},
	/* lines */
	{"folded line", HEAD "X-A: b\r\n c\r\n\r\n", 0, 400},
	{"folded encoding", POST "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n" SMUGGLED, 0, 501},
	{"folded first line", "GET / HTTP/1.1\r\n Host: reviews\r\n\r\n", 0, 400},
	{"bare CR in a value", HEAD "X-A: b\rContent-Length: 5\r\n\r\n", 0, 400},
	{"bare CR in a name", HEAD "X\rA: b\r\n\r\n", 0, 400},
	{"bare LF", HEAD "X-A: b\nX-B: c\r\n\r\n", 0, 400},
	{"LF alone ends the head", "GET / HTTP/1.1\nHost: reviews\n\n", 0, 400},
	{"CR CR LF", HEAD "X-A: b\r\r\n\r\n", 0, 400},
	{"NUL in a value", HEAD "X-A: b\0c\r\n\r\n", sizeof(HEAD "X-A: b\0c\r\n\r\n") - 1, 400},
	{"NUL in a name", HEAD "X\0A: b\r\n\r\n", sizeof(HEAD "X\0A: b\r\n\r\n") - 1, 400},
	{"NUL in the path", "GET /\0 HTTP/1.1\r\nHost: reviews\r\n\r\n", sizeof("GET /\0 HTTP/1.1\r\nHost: reviews\r\n\r\n") - 1, 400},
	{"DEL in a value", HEAD "X-A: \x7f\r\n\r\n", 0, 400},
	{"blank before the colon", POST "Content-Length : 5\r\n\r\nabcde" SMUGGLED, 0, 400},
	{"tab before the colon", POST "Transfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n" SMUGGLED, 0, 400},
	{"blank in a name", HEAD "X A: b\r\n\r\n", 0, 400},
	{"no name", HEAD ": b\r\n\r\n", 0, 400},
	{"no colon", HEAD "X-A\r\n\r\n", 0, 400},
	{"name of high bytes", HEAD "X-\xc3\xa4: b\r\n\r\n", 0, 400},
	{"name with a bracket", HEAD "X(A): b\r\n\r\n", 0, 400},
	{"three empty lines first", "\r\n\r\n\r\n" HEAD "\r\n", 0, 400},
	/* request line */
	{"no version", "GET /\r\n\r\n", 0, 400},
	{"no target", "GET HTTP/1.1\r\nHost: reviews\r\n\r\n", 0, 400},
	{"two blanks", "GET  / HTTP/1.1\r\nHost: reviews\r\n\r\n", 0, 400},
	{"blank in the target", "GET /a b HTTP/1.1\r\nHost: reviews\r\n\r\n", 0, 400},
	{"blank first", " GET / HTTP/1.1\r\nHost: reviews\r\n\r\n", 0, 400},
	{"tab for blank", "GET\t/ HTTP/1.1\r\nHost: reviews\r\n\r\n", 0, 400},
	{"method in brackets", "(GET) / HTTP/1.1\r\nHost: reviews\r\n\r\n", 0, 400},
	{"lower version", "GET / http/1.1\r\nHost: reviews\r\n\r\n", 0, 400},
	{"one-part version", "GET / HTTP/1\r\nHost: reviews\r\n\r\n", 0, 400},
	{"blank behind the version", "GET / HTTP/1.1 \r\nHost: reviews\r\n\r\n", 0, 400},
	{"HTTP/2.0", "GET / HTTP/2.0\r\nHost: reviews\r\n\r\n", 0, 505},
	{"no HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSN\r\n\r\n", 0, 505},
	{"HTTP/0.9 by name", "GET / HTTP/0.9\r\n\r\n", 0, 505},
	{"HTTP/1.0", "GET / HTTP/1.0\r\nHost: reviews\r\n\r\n", 0, 426},
	{"HTTP/1.10", "GET / HTTP/1.10\r\nHost: reviews\r\n\r\n", 0, 400},
	{"relative target", "GET a HTTP/1.1\r\nHost: reviews\r\n\r\n", 0, 400},
	{"star for GET", "GET * HTTP/1.1\r\nHost: reviews\r\n\r\n", 0, 400},
	{"another scheme", "GET ftp://reviews/ HTTP/1.1\r\nHost: reviews\r\n\r\n", 0, 400},
	{"absolute without a host", "GET http:///a HTTP/1.1\r\nHost: reviews\r\n\r\n", 0, 400},
	{"absolute with a user", "GET http://reviews@other/ HTTP/1.1\r\nHost: reviews\r\n\r\n", 0, 400},
	{"absolute, no Host", "GET http://reviews/ HTTP/1.1\r\n\r\n", 0, 400},
	{"fragment", "GET /a#b HTTP/1.1\r\nHost: reviews\r\n\r\n", 0, 400},
	{"CONNECT", "CONNECT reviews:80 HTTP/1.1\r\nHost: reviews:80\r\n\r\n", 0, 405},
	/* other protocols */
	{"an upgrade nobody offers", HEAD "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n" SMUGGLED, 0, 403},
	{"an upgrade with a length", POST "Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 3\r\n\r\nabc" SMUGGLED, 0, 403},
	{"an upgrade with chunks", POST "Connection: Upgrade\r\nUpgrade: websocket\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" SMUGGLED,
	 0, 403},
	{"an upgrade to TLS", HEAD "Connection: Upgrade\r\nUpgrade: TLS/1.2\r\n\r\n" SMUGGLED, 0, 403},
	{"two upgrades", HEAD "Connection: Upgrade\r\nUpgrade: websocket\r\nUpgrade: other\r\n\r\n", 0, 400},
	/* host */
	{"no Host", "GET / HTTP/1.1\r\n\r\n", 0, 400},
	{"two Hosts", HEAD "Host: other\r\n\r\n", 0, 400},
	{"the same Host twice", HEAD "Host: reviews\r\n\r\n", 0, 400},
	{"Host with a blank", "GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 0, 400},
	{"Host with a path", "GET / HTTP/1.1\r\nHost: reviews/a\r\n\r\n", 0, 400},
	{"Host with a user", "GET / HTTP/1.1\r\nHost: a@reviews\r\n\r\n", 0, 400},
	/* chunks */
	{"chunk without a size", CHUNKED "\r\n\r\n", 0, 400},
	{"chunk size not hex", CHUNKED "g\r\n\r\n", 0, 400},
	{"chunk size with 0x", CHUNKED "0x5\r\nabcde\r\n0\r\n\r\n" SMUGGLED, 0, 400},
	{"negative chunk size", CHUNKED "-1\r\n\r\n", 0, 400},
	{"blank before the chunk size", CHUNKED " 5\r\nabcde\r\n0\r\n\r\n", 0, 400},
	{"chunk size past 64 bits", CHUNKED "10000000000000005\r\nabcde\r\n0\r\n\r\n" SMUGGLED, 0, 400},
	{"chunk size of many zeros", CHUNKED "00000000000000005\r\nabcde\r\n0\r\n\r\n", 0, 400},
	{"chunk shorter than its size", CHUNKED "6\r\nabcde\r\n0\r\n\r\n" SMUGGLED, 0, 400},
	{"chunk longer than its size", CHUNKED "4\r\nabcde\r\n0\r\n\r\n" SMUGGLED, 0, 400},
	{"LF alone behind the size", CHUNKED "5\nabcde\r\n0\r\n\r\n" SMUGGLED, 0, 400},
	{"LF alone behind the bytes", CHUNKED "5\r\nabcde\n0\r\n\r\n" SMUGGLED, 0, 400},
	{"CR in an extension", CHUNKED "5;a\rb\r\nabcde\r\n0\r\n\r\n", 0, 400},
	{"LF in an extension", CHUNKED "5;a\nb\r\nabcde\r\n0\r\n\r\n", 0, 400},
	{"NUL in an extension", CHUNKED "5;\0\r\nabcde\r\n0\r\n\r\n", sizeof(CHUNKED "5;\0\r\nabcde\r\n0\r\n\r\n") - 1, 400},
	{"trailer without a name", CHUNKED "0\r\n: a\r\n\r\n", 0, 400},
	{"folded trailer", CHUNKED "0\r\nX-A: b\r\n c\r\n\r\n", 0, 400},
	{"trailer with a bare LF", CHUNKED "0\r\nX-A: b\n\r\n", 0, 400},
	{"smuggled trailer", CHUNKED "0\r\nX-A\r\n\r\n" SMUGGLED, 0, 400},
	/* TLS and noise on a plaintext port */
	{"noise", "\x16\x03\x01\r\n\r\n", 0, 400},
};

static void assert_refused(struct server *server, const struct wrong *wrong, bool drip)
{
	size_t len = wrong->len ? wrong->len : strlen(wrong->request);
	char got[8192];
	int fd = raw_connect(server->port);

	if (drip)
		raw_drip(fd, wrong->request, len); /* the answer may come before the last byte */
	else
		raw_send(fd, wrong->request, len);
	raw_rest(fd, got, sizeof(got));
	if (status_of(got) != wrong->status || !strcasestr(got, "\r\nconnection: close\r\n") || strstr(got + 1, "HTTP/1.1") ||
	    atomic_load(&server->calls))
		fail_msg("%s%s: expected %d and the end, got \"%s\", handler calls %d", wrong->what, drip ? ", byte by byte" : "",
			 wrong->status, got, atomic_load(&server->calls));
	close(fd);
}

static void test_what_two_readers_could_take_differently(void **state)
{
	struct server *server = *state;

	listen_with(server, answer);
	for (size_t i = 0; i < sizeof(wrongs) / sizeof(wrongs[0]); i++) {
		assert_refused(server, &wrongs[i], false);
		assert_refused(server, &wrongs[i], true);
	}
	assert_serves(server);
}

/* The same behind a good request on the same connection: that one is answered, the bad one refused. */
static void test_bad_request_behind_a_good_one(void **state)
{
	struct server *server = *state;
	char got[8192];

	listen_with(server, answer);
	for (size_t i = 0; i < sizeof(wrongs) / sizeof(wrongs[0]); i++) {
		int fd = raw_connect(server->port);

		atomic_store(&server->calls, 0);
		raw_say(fd, HEAD "\r\n");
		raw_send(fd, wrongs[i].request, wrongs[i].len ? wrongs[i].len : strlen(wrongs[i].request));
		assert_true(raw_response(fd, got, sizeof(got)));
		assert_int_equal(status_of(got), 200);
		raw_rest(fd, got, sizeof(got));
		if (status_of(got) != wrongs[i].status || atomic_load(&server->calls) != 1)
			fail_msg("%s: expected %d, got \"%s\", handler calls %d", wrongs[i].what, wrongs[i].status, got,
				 atomic_load(&server->calls));
		close(fd);
	}
}

/* `count` times `piece` between two texts. */
static void assert_long(struct server *server, const char *before, const char *piece, size_t count, const char *after,
			int status)
{
	size_t size = strlen(before) + count * strlen(piece) + strlen(after) + 1, len;
	char *request = malloc(size), got[4096];
	int fd = raw_connect(server->port);

	len = (size_t)sprintf(request, "%s", before);
	for (size_t i = 0; i < count; i++, len += strlen(piece))
		memcpy(request + len, piece, strlen(piece));
	len += (size_t)sprintf(request + len, "%s", after);
	raw_send(fd, request, len);
	if (status == 200)
		assert_true(raw_response(fd, got, sizeof(got)));
	else
		raw_rest(fd, got, sizeof(got));
	if (status_of(got) != status)
		fail_msg("%s.. %zu x \"%.40s\": expected %d, got \"%s\"", before, count, piece, status, got);
	close(fd);
	free(request);
}

static void test_sizes(void **state)
{
	struct server *server = *state;

	listen_with(server, answer);
	assert_long(server, "GET /", "a", 30000, " HTTP/1.1\r\nHost: reviews\r\n\r\n", 200);
	assert_long(server, "GET /", "a", 33000, " HTTP/1.1\r\nHost: reviews\r\n\r\n", 414);
	assert_long(server, "GET /", "a", 100000, "", 431); /* its line never ends */
	assert_long(server, HEAD "X-A: ", "b", 50000, "\r\n\r\n", 200);
	assert_long(server, HEAD "X-A: ", "b", 70000, "\r\n\r\n", 431);
	assert_long(server, HEAD, "X-A: b\r\n", 99, "\r\n", 200);
	assert_long(server, HEAD, "X-A: b\r\n", 100, "\r\n", 431);
	assert_long(server, "", "M", 100, " / HTTP/1.1\r\nHost: reviews\r\n\r\n", 400);
	assert_long(server, CHUNKED "5;", "e", 1000, "\r\nabcde\r\n0\r\n\r\n", 200);
	assert_long(server, CHUNKED "5;", "e", 2000, "\r\nabcde\r\n0\r\n\r\n", 400);
	assert_long(server, CHUNKED "0\r\n", "X-A: b\r\n", 101, "\r\n", 400);
	assert_long(server, CHUNKED "0\r\nX-A: ", "b", 70000, "\r\n\r\n", 431);
	assert_long(server, POST "Content-Length: 1000\r\n\r\n", "abcdefghij", 100, "", 200);
	assert_long(server, CHUNKED, "a\r\nabcdefghij\r\n", 100, "0\r\n\r\n", 200);
	atomic_store(&server->calls, 0);
	{
		static const struct wrong large = {"body past the bound", POST "Connection: close\r\nContent-Length: 1001\r\n\r\n", 0, 413};
		char body[1002], got[4096];
		int fd = raw_connect(server->port);

		memset(body, 'x', sizeof(body));
		raw_say(fd, large.request);
		raw_send(fd, body, 1001);
		raw_rest(fd, got, sizeof(got));
		assert_int_equal(status_of(got), 413);
		assert_int_equal(atomic_load(&server->calls), 0);
		close(fd);
	}
	assert_serves(server);
}

static void exchange_once(int fd, const char *request, int status, const char *body)
{
	char got[4096];

	assert_true(raw_say(fd, request));
	assert_true(raw_response(fd, got, sizeof(got)));
	if (status_of(got) != status || !strstr(got, body))
		fail_msg("%s: expected %d and \"%s\", got \"%s\"", request, status, body, got);
}

static void test_good_forms(void **state)
{
	struct server *server = *state;
	int fd;

	listen_with(server, answer);
	fd = raw_connect(server->port);
	exchange_once(fd, "\r\n" HEAD "\r\n", 200, "/|reviews||");
	exchange_once(fd, POST "content-LENGTH: 5\r\n\r\nabcde", 200, "/|reviews|abcde|");
	exchange_once(fd, POST "Content-Length:\t 05 \t\r\n\r\nabcde", 200, "/|reviews|abcde|");
	exchange_once(fd, POST "Transfer-Encoding: Chunked\r\n\r\n5;a=\"b\"\r\nabcde\r\n0005 \r\nfghij\r\n0\r\n\r\n", 200,
		      "/|reviews|abcdefghij|");
	exchange_once(fd, CHUNKED "A\r\nabcdefghij\r\n0\r\nX-End: yes\r\nContent-Length: 3\r\n\r\n", 200,
		      "/|reviews|abcdefghij|yes");
	exchange_once(fd, "GET http://other:80/a?b HTTP/1.1\r\nHost: reviews\r\n\r\n", 200, "/a?b|other:80||");
	exchange_once(fd, "GET HTTP://other HTTP/1.1\r\nHost: reviews\r\n\r\n", 200, "/|other||");
	exchange_once(fd, "OPTIONS * HTTP/1.1\r\nHost: reviews\r\n\r\n", 404, ""); /* no route begins with it, as in Envoy */
	exchange_once(fd, HEAD "X-A: \xc3\xa4\r\nX-Empty:\r\n\r\n", 200, "/|reviews||");
	exchange_once(fd, "GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", 200, "/|[::1]:80||");
	assert_int_equal(atomic_load(&server->calls), 9);
	close(fd);
}

static void test_answers_without_a_body(void **state)
{
	struct server *server = *state;
	char got[4096] = "";
	int fd;

	listen_with(server, answer);
	fd = raw_connect(server->port);
	assert_true(raw_say(fd, "HEAD / HTTP/1.1\r\nHost: reviews\r\n\r\nGET /204 HTTP/1.1\r\nHost: reviews\r\n\r\n"
				"GET /304 HTTP/1.1\r\nHost: reviews\r\n\r\n" HEAD "Connection: close\r\n\r\n"));
	assert_true(raw_until(fd, got, sizeof(got), "/|reviews||"));
	char *first = strstr(got, "HTTP/1.1 200"), *second = strstr(got, "HTTP/1.1 204"), *third = strstr(got, "HTTP/1.1 304");
	char *last = third ? strstr(third, "HTTP/1.1 200") : NULL;

	assert_true(first == got && second && third > second && last);
	assert_non_null(strcasestr(first, "content-length: 11\r\n"));
	assert_memory_equal(second - 4, "\r\n\r\n", 4); /* HEAD: its length told, no byte of it sent */
	*third = '\0';
	assert_null(strcasestr(second, "content-length"));
	assert_null(strcasestr(second, "transfer-encoding"));
	assert_memory_equal(third - 4, "\r\n\r\n", 4);
	assert_memory_equal(last - 4, "\r\n\r\n", 4);
	assert_true(raw_closed(fd));
	close(fd);
}

static void test_pipelined_answered_in_order(void **state)
{
	struct server *server = *state;
	char *requests = calloc(1, 300 * 100), *at = requests, got[4096], expected[64];
	int fd;

	listen_with(server, answer);
	for (int i = 0; i < 300; i++)
		at += i % 2 ? sprintf(at, "GET /r%d HTTP/1.1\r\nHost: r\r\n\r\n", i)
			    : sprintf(at, "PUT /r%d HTTP/1.1\r\nHost: r\r\nContent-Length: 3\r\n\r\nabc", i);
	for (int drip = 0; drip < 2; drip++) {
		fd = raw_connect(server->port);
		assert_true(drip ? raw_drip(fd, requests, (size_t)(at - requests)) : raw_send(fd, requests, (size_t)(at - requests)));
		for (int i = 0; i < 300; i++) {
			assert_true(raw_response(fd, got, sizeof(got)));
			snprintf(expected, sizeof(expected), "\r\n\r\n/r%d|r|%s|", i, i % 2 ? "" : "abc");
			if (!strstr(got, expected))
				fail_msg("request %d: got \"%s\"", i, got);
		}
		close(fd);
	}
	assert_int_equal(atomic_load(&server->calls), 600);
	free(requests);
}

static void test_expect_continue(void **state)
{
	struct server *server = *state;
	char got[4096] = "";
	int fd;

	listen_with(server, answer);
	fd = raw_connect(server->port);
	assert_true(raw_say(fd, POST "Expect: 100-continue\r\nContent-Length: 5\r\n\r\n"));
	assert_true(raw_response(fd, got, sizeof(got)));
	assert_string_equal(got, "HTTP/1.1 100 Continue\r\n\r\n");
	assert_int_equal(atomic_load(&server->calls), 0);
	exchange_once(fd, "abcde", 200, "|abcde|");
	exchange_once(fd, HEAD "Expect: 100-continue\r\n\r\n", 200, "/|reviews||"); /* nothing follows: no 100 */
	close(fd);
}

/* Refused before it was asked to go on: whether the body comes is the client's choice, so the connection ends. */
static void test_expect_continue_refused(void **state)
{
	struct server *server = *state;
	char got[4096];
	int fd;

	listen_with(server, answer);
	fd = raw_connect(server->port);
	assert_true(raw_say(fd, "POST / HTTP/1.1\r\nHost: reviews\r\nExpect: 100-continue\r\nContent-Length: 2000\r\n\r\n"));
	assert_true(raw_say(fd, SMUGGLED));
	raw_rest(fd, got, sizeof(got));
	/* longer than the handler's bound: 413 at once, without asking for what would be refused */
	assert_int_equal(status_of(got), 413);
	assert_non_null(strcasestr(got, "\r\nconnection: close\r\n"));
	assert_null(strstr(got + 1, "HTTP/1.1"));
	assert_int_equal(atomic_load(&server->calls), 0);
	close(fd);
}

/* The rest of a body nobody wants is read past, trailers included, and the connection goes on; it is never answered twice. */
static void test_rest_of_a_refused_request(void **state)
{
	struct server *server = *state;
	char got[4096], chunk[2100];
	int fd;

	listen_with(server, answer);
	memset(chunk, 'x', sizeof(chunk));
	fd = raw_connect(server->port);
	for (int i = 0; i < 3; i++) {
		assert_true(raw_say(fd, CHUNKED "834\r\n") && raw_send(fd, chunk, 2100));
		assert_true(raw_response(fd, got, sizeof(got)));
		assert_int_equal(status_of(got), 413);
		assert_true(raw_say(fd, "\r\n5\r\nabcde\r\n0\r\nX-End: yes\r\nX-More: 1\r\n\r\n"));
		exchange_once(fd, HEAD "\r\n", 200, "/|reviews||");
	}
	assert_true(raw_say(fd, CHUNKED "834\r\n") && raw_send(fd, chunk, 2100));
	assert_true(raw_response(fd, got, sizeof(got)));
	assert_int_equal(status_of(got), 413);
	assert_true(raw_say(fd, "no end of a chunk\r\n\r\n" SMUGGLED));
	assert_int_equal(raw_rest(fd, got, sizeof(got)), 0);
	assert_int_equal(atomic_load(&server->calls), 3);
	close(fd);
}

static void test_half_closed_peer_gets_its_answers(void **state)
{
	struct server *server = *state;
	char got[8192];
	int fd;

	listen_with(server, answer);
	fd = raw_connect(server->port);
	assert_true(raw_say(fd, HEAD "\r\n" POST "Content-Length: 3\r\n\r\nabc"));
	shutdown(fd, SHUT_WR);
	assert_true(raw_response(fd, got, sizeof(got)));
	assert_non_null(strstr(got, "/|reviews||"));
	assert_true(raw_response(fd, got, sizeof(got)));
	assert_non_null(strstr(got, "/|reviews|abc|"));
	assert_true(raw_closed(fd));
	close(fd);
}

/* Ends the request after each of its bytes, in an orderly way and by reset. */
static void test_ended_at_every_byte(void **state)
{
	static const char request[] = "POST /a HTTP/1.1\r\nHost: reviews\r\nTransfer-Encoding: chunked\r\n\r\n"
				      "5\r\nabcde\r\n0\r\nX-End: yes\r\n\r\n";
	struct server *server = *state;
	char got[4096];

	listen_with(server, answer);
	for (size_t len = 0; len < sizeof(request) - 1; len++) {
		int fd = raw_connect(server->port);

		assert_true(raw_send(fd, request, len));
		shutdown(fd, SHUT_WR);
		raw_rest(fd, got, sizeof(got));
		assert_null(strstr(got, " 200 "));
		close(fd);
		fd = raw_connect(server->port);
		assert_true(raw_send(fd, request, len));
		raw_reset(fd);
		close(fd);
	}
	assert_int_equal(atomic_load(&server->calls), 0);
	assert_serves(server);
}

static void short_head_timeout(struct data_plane *plane, struct chain *chain, struct arena *arena, bool inbound)
{
	chain->http->request_headers_timeout_ns = inbound ? 200000000 : 0;
}

/* Each byte is a sign of life, but a head that does not end is not waited for. */
static void test_head_that_never_ends(void **state)
{
	struct server *server = *state;
	char got[4096] = "";
	struct pollfd io = {.events = POLLIN};
	bool open = true;

	server->plane.edit_chain = short_head_timeout;
	listen_with(server, answer);
	io.fd = raw_connect(server->port);
	assert_true(raw_say(io.fd, HEAD "X-Slow: "));
	for (int i = 0; i < 1000 && open; i++) {
		open = raw_say(io.fd, "x");
		if (poll(&io, 1, 10) == 1)
			open = false;
	}
	assert_false(open);
	raw_rest(io.fd, got, sizeof(got));
	assert_int_equal(status_of(got), 408);
	assert_int_equal(atomic_load(&server->calls), 0);
	close(io.fd);
	assert_serves(server);
}

static void short_request_timeout(struct data_plane *plane, struct chain *chain, struct arena *arena, bool inbound)
{
	chain->http->request_timeout_ns = inbound ? 200000000 : 0;
}

static void short_stream_idle_timeout(struct data_plane *plane, struct chain *chain, struct arena *arena, bool inbound)
{
	chain->http->stream_idle_timeout_ns = inbound ? 200000000 : 0;
}

/* A body that never ends, byte by byte, and one that stops coming. */
static void test_body_that_never_ends(void **state)
{
	struct server *server = *state;
	struct pollfd io = {.events = POLLIN};
	char got[4096] = "";

	server->plane.edit_chain = short_request_timeout;
	listen_with(server, answer);
	for (int silent = 0; silent < 2; silent++) {
		if (silent) {
			server->plane.edit_chain = short_stream_idle_timeout;
			data_plane_publish(&server->plane);
		}
		io.fd = raw_connect(server->port);
		assert_true(raw_say(io.fd, POST "Content-Length: 900\r\n\r\n"));
		for (int i = 0; i < 800 && poll(&io, 1, silent ? 10000 : 10) == 0; i++)
			assert_true(silent || raw_say(io.fd, "x"));
		raw_rest(io.fd, got, sizeof(got));
		assert_int_equal(status_of(got), 408);
		assert_non_null(strcasestr(got, "\r\nconnection: close\r\n"));
		assert_int_equal(atomic_load(&server->calls), 0);
		close(io.fd);
	}
	assert_serves(server);
}

static void on_data(struct mesh_call *call, struct mesh_slice data, void *user)
{
	struct server *server = user;

	atomic_fetch_add(&server->taken, data.len);
	if (atomic_load(&server->hold) && !atomic_load(&server->held)) {
		mesh_call_pause(call);
		atomic_store(&server->held, mesh_call_retain(call));
	}
}

static void on_end(struct mesh_call *call, void *user)
{
	mesh_call_respond(call, 200, NULL, 0, mesh_slice_of("all"), true);
}

static void on_done(struct mesh_call *call, void *user)
{
	struct server *server = user;

	atomic_fetch_add(&server->ended, 1);
	if (mesh_call_result(call)->status)
		atomic_fetch_add(&server->failed, 1);
}

static void stream_in(struct mesh_call *call, void *user)
{
	static const struct mesh_call_events events = {.size = sizeof(events), .data = on_data, .end = on_end, .done = on_done};

	assert_int_equal(mesh_call_on(call, &events, user), 0);
}

/* What the peer can push into a connection nobody reads from: the sockets' buffers and little more. */
static size_t push_until_blocked(int fd, size_t most)
{
	static char piece[65536];
	size_t sent = 0;
	struct pollfd io = {.fd = fd, .events = POLLOUT};

	while (sent < most && poll(&io, 1, 500) == 1) {
		ssize_t n = send(fd, piece, sizeof(piece), MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0)
			break;
		sent += (size_t)n;
	}
	return sent;
}

static void test_paused_reader_slows_the_peer(void **state)
{
	struct server *server = *state;
	size_t all = 64u << 20, sent;
	char head[128], got[4096];
	int fd, small = 65536;

	server->body_max = 0;
	atomic_store(&server->hold, true);
	listen_with(server, stream_in);
	fd = raw_connect(server->port);
	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
	snprintf(head, sizeof(head), POST "Content-Length: %zu\r\n\r\n", all);
	assert_true(raw_say(fd, head));
	sent = push_until_blocked(fd, all);
	assert_true(sent < all);
	assert_true(atomic_load(&server->taken) < 1u << 20);
	assert_true(atomic_load(&server->mem.bytes) < 1u << 20);
	while (!atomic_load(&server->held))
		usleep(1000);
	atomic_store(&server->hold, false);
	mesh_call_resume(atomic_load(&server->held));
	for (char *piece = calloc(1, 65536); piece;) {
		size_t n = all - sent < 65536 ? all - sent : 65536;

		assert_true(raw_send(fd, piece, n));
		sent += n;
		if (sent == all) {
			free(piece);
			piece = NULL;
		}
	}
	assert_true(raw_response(fd, got, sizeof(got)));
	assert_int_equal(status_of(got), 200);
	assert_int_equal(atomic_load(&server->taken), all);
	mesh_call_release(atomic_load(&server->held));
	close(fd);
}

static void keep_silent(struct mesh_call *call, void *user)
{
	static const struct mesh_call_events events = {.size = sizeof(events), .done = on_done};

	assert_int_equal(mesh_call_on(call, &events, user), 0);
}

static void test_handler_that_never_answers(void **state)
{
	struct server *server = *state;
	char got[4096] = "";
	int fd;

	server->plane.edit_chain = short_stream_idle_timeout;
	listen_with(server, keep_silent);
	fd = raw_connect(server->port);
	assert_true(raw_say(fd, HEAD "\r\n"));
	raw_rest(fd, got, sizeof(got));
	assert_int_equal(status_of(got), 504);
	close(fd);
	while (!atomic_load(&server->ended))
		usleep(1000);
	assert_int_equal(atomic_load(&server->failed), 1); /* the application is told too */
}

struct flood {
	struct server *server;
	size_t left;
};

enum { FLOOD_BYTES = 32 << 20 };

static void flood(struct mesh_call *call, void *user)
{
	struct flood *flood = user;
	static char piece[16384];
	int rc = 0;

	while (flood->left && !rc) {
		rc = mesh_call_send(call, mesh_slice_make(piece, sizeof(piece)), flood->left == sizeof(piece));
		flood->left -= rc ? 0 : sizeof(piece);
	}
	if (rc == MESH_ERROR_AGAIN)
		atomic_fetch_add(&flood->server->writable, 1);
}

static void flood_done(struct mesh_call *call, void *user)
{
	struct flood *flood = user;

	on_done(call, flood->server);
	free(flood);
}

static void stream_out(struct mesh_call *call, void *user)
{
	static const struct mesh_call_events events = {.size = sizeof(events), .writable = flood, .done = flood_done};
	struct flood *made = malloc(sizeof(*made));

	*made = (struct flood){.server = user, .left = FLOOD_BYTES};
	assert_int_equal(mesh_call_on(call, &events, made), 0);
	assert_int_equal(mesh_call_respond(call, 200, NULL, 0, mesh_slice_of(""), false), 0);
	flood(call, made);
}

/* De-chunks what comes and returns how much it was. */
static size_t read_chunks(int fd)
{
	char *all = malloc(FLOOD_BYTES * 2), *at;
	size_t len = raw_rest(fd, all, FLOOD_BYTES * 2), sum = 0, n;

	at = len ? strstr(all, "\r\n\r\n") : NULL;
	if (at)
		for (at += 4; (n = strtoul(at, &at, 16)) > 0 && at + n + 4 <= all + len; at += n + 4)
			sum += n;
	free(all);
	return sum;
}

static void test_peer_that_does_not_read_slows_the_handler(void **state)
{
	struct server *server = *state;
	int fd;

	server->body_max = 0;
	listen_with(server, stream_out);
	fd = raw_connect(server->port);
	assert_true(raw_say(fd, HEAD "Connection: close\r\n\r\n"));
	while (!atomic_load(&server->writable))
		usleep(1000);
	usleep(100000); /* the sockets fill up */
	assert_true(atomic_load(&server->mem.bytes) < 1u << 20);
	assert_int_equal(read_chunks(fd), FLOOD_BYTES);
	close(fd);
	/* and one that goes away instead: its call ends */
	fd = raw_connect(server->port);
	assert_true(raw_say(fd, HEAD "\r\n"));
	for (char got[2] = ""; !got[0];)
		assert_true(raw_until(fd, got, sizeof(got), "H"));
	raw_reset(fd);
	close(fd);
	while (atomic_load(&server->ended) < 2)
		usleep(1000);
	assert_int_equal(atomic_load(&server->failed), 1);
}

/* Pipelined requests behind one that is not answered yet wait in the peer's socket, not here. */
static void keep(struct mesh_call *call, void *user)
{
	struct server *server = user;

	atomic_store(&server->held, mesh_call_retain(call));
	atomic_fetch_add(&server->calls, 1);
}

static void test_pipelined_flood_waits_outside(void **state)
{
	struct server *server = *state;
	char *requests = malloc(4096 * 40), *at = requests;
	size_t sent = 0;
	int fd;

	for (int i = 0; i < 4096; i++)
		at += sprintf(at, HEAD "\r\n");
	listen_with(server, keep);
	fd = raw_connect(server->port);
	for (struct pollfd io = {.fd = fd, .events = POLLOUT}; sent < 64u << 20 && poll(&io, 1, 300) == 1;) {
		ssize_t n = send(fd, requests, (size_t)(at - requests), MSG_DONTWAIT | MSG_NOSIGNAL);

		sent += n > 0 ? (size_t)n : 0;
	}
	assert_true(sent < 64u << 20);
	assert_int_equal(atomic_load(&server->calls), 1);
	assert_true(atomic_load(&server->mem.bytes) < 1u << 20);
	raw_reset(fd);
	close(fd);
	mesh_call_release(atomic_load(&server->held));
	free(requests);
}

static void *close_listener(void *argument)
{
	struct server *server = argument;

	mesh_listener_close(server->listener);
	return NULL;
}

/* A request under way is finished with Connection: close, idle connections end, new ones are refused. */
static void test_drain(void **state)
{
	struct server *server = *state;
	char got[4096] = "";
	pthread_t closing;
	int idle, busy;

	listen_with(server, keep);
	idle = raw_connect(server->port);
	busy = raw_connect(server->port);
	assert_true(raw_say(busy, HEAD "\r\n"));
	while (!atomic_load(&server->held))
		usleep(1000);
	pthread_create(&closing, NULL, close_listener, server);
	assert_true(raw_closed(idle));
	assert_int_equal(mesh_call_respond(atomic_load(&server->held), 200, NULL, 0, mesh_slice_of("late"), true), 0);
	raw_rest(busy, got, sizeof(got));
	assert_int_equal(status_of(got), 200);
	assert_non_null(strcasestr(got, "\r\nconnection: close\r\n"));
	assert_non_null(strstr(got, "late"));
	mesh_call_release(atomic_load(&server->held));
	close(idle);
	close(busy);
	pthread_join(closing, NULL);
	server->listener = NULL;
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, open_server, close_server)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_what_two_readers_could_take_differently),
		CASE(test_bad_request_behind_a_good_one),
		CASE(test_sizes),
		CASE(test_good_forms),
		CASE(test_answers_without_a_body),
		CASE(test_pipelined_answered_in_order),
		CASE(test_expect_continue),
		CASE(test_expect_continue_refused),
		CASE(test_rest_of_a_refused_request),
		CASE(test_half_closed_peer_gets_its_answers),
		CASE(test_ended_at_every_byte),
		CASE(test_head_that_never_ends),
		CASE(test_body_that_never_ends),
		CASE(test_handler_that_never_answers),
		CASE(test_paused_reader_slows_the_peer),
		CASE(test_peer_that_does_not_read_slows_the_handler),
		CASE(test_pipelined_flood_waits_outside),
		CASE(test_drain),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
