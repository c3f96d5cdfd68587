/* SPDX-License-Identifier: Apache-2.0 */
/* Calls to servers that break off, lie, stall or babble: what the application is told, and what is tried again. */
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

#define OK "HTTP/1.1 200 OK\r\n"
#define EMPTY OK "Content-Length: 0\r\n\r\n"

enum ending { STAY, CLOSE, RESET };

/* What a server says to each request it has read whole. */
struct script {
	const char *answer;
	size_t len; /* 0: a string */
	bool drip;
	enum ending ending; /* STAY: until the client closes */
};

struct client {
	struct failing_mem mem; /* counts what the mesh holds */
	struct data_plane plane;
	struct raw_server server, second;
	pthread_mutex_t lock; /* of the scripts */
	struct script script, scripts[8];
	char *answers[16];   /* made for a test, kept to its end: the server may still be sending them */
	size_t answer_count;
	size_t script_count; /* > 0: the n-th request gets the n-th, the last one those behind it too */
	atomic_uint requests, closed;
	char seen[8][4096]; /* the requests, as they came */
};

static struct mesh_slice text(const char *s)
{
	return mesh_slice_of(s);
}

static void set_script(struct client *client, struct script script)
{
	pthread_mutex_lock(&client->lock);
	client->script = script;
	pthread_mutex_unlock(&client->lock);
}

static struct script get_script(struct client *client, unsigned n)
{
	struct script script;

	pthread_mutex_lock(&client->lock);
	script = !client->script_count	   ? client->script
		 : n < client->script_count ? client->scripts[n]
					    : client->scripts[client->script_count - 1];
	pthread_mutex_unlock(&client->lock);
	return script;
}

/* A request head and the body its content-length tells of. */
static bool read_request(int fd, char *into, size_t room)
{
	return raw_response(fd, into, room);
}

static bool play(const struct script *script, int fd)
{
	size_t len = script->len ? script->len : strlen(script->answer);

	return script->drip ? raw_drip(fd, script->answer, len) : raw_send(fd, script->answer, len);
}

static void serve(struct raw_server *server, int fd, unsigned number)
{
	struct client *client = (struct client *)server->user;
	char request[80000];

	while (read_request(fd, request, sizeof(request))) {
		unsigned n = atomic_fetch_add(&client->requests, 1);
		struct script script = get_script(client, n);

		if (n < 8)
			snprintf(client->seen[n], sizeof(client->seen[n]), "%.*s", (int)sizeof(client->seen[n]) - 1, request);
		play(&script, fd);
		if (script.ending == RESET)
			raw_reset(fd);
		if (script.ending != STAY)
			break;
	}
}

static int open_client(void **state)
{
	struct client *client = calloc(1, sizeof(*client));

	pthread_mutex_init(&client->lock, NULL);
	failing_mem_init(&client->mem, 0);
	assert_int_equal(data_plane_open(&client->plane, 1, &client->mem.mem), 0);
	client->plane.timeout_ns = -1;
	client->server.serve = client->second.serve = serve;
	client->server.user = client->second.user = client;
	raw_server_start(&client->server);
	client->plane.ports[client->plane.port_count++] = client->server.port;
	client->plane.user = client;
	*state = client;
	return 0;
}

static int close_client(void **state)
{
	struct client *client = *state;

	data_plane_close(&client->plane); /* closes its connections: a server that waits for that goes on */
	raw_server_stop(&client->server);
	if (client->second.port)
		raw_server_stop(&client->second);
	assert_int_equal(atomic_load(&client->mem.blocks), 0);
	for (size_t i = 0; i < client->answer_count; i++)
		free(client->answers[i]);
	pthread_mutex_destroy(&client->lock);
	free(client);
	return 0;
}

static struct mesh_request request_to(const char *path, const char *body)
{
	struct mesh_request request = {.size = sizeof(request), .authority = text("reviews:9080"), .path = text(path),
				       .method = text(body ? "POST" : "GET"), .body = text(body ? body : "")};

	return request;
}

static struct mesh_call *run(struct client *client, const struct mesh_request *request)
{
	struct mesh_call *call;

	assert_int_equal(mesh_call_start(client->plane.mesh, request, NULL, NULL, &call), 0);
	assert_int_not_equal(mesh_call_wait(call, 10000), MESH_ERROR_AGAIN);
	return call;
}

/* A call whose end is known. */
static void expect(struct client *client, const struct mesh_request *request, int status, int http, const char *body)
{
	struct mesh_call *call = run(client, request);
	const struct mesh_result *result = mesh_call_result(call);
	struct mesh_slice got = mesh_call_body(call);

	if (result->status != status || result->http_status != http || (body && !mesh_slice_equal(got, text(body))))
		fail_msg("\"%.60s\": expected %s %d \"%s\", got %s %d \"%.*s\" (%.*s)",
			 client->script.answer ? client->script.answer : "", mesh_error_name(status), http, body ? body : "",
			 mesh_error_name(result->status), result->http_status, (int)got.len, got.data ? got.data : "",
			 (int)result->why.len, result->why.data ? result->why.data : "");
	assert_true(status == 0 || result->why.len > 0);
	mesh_call_release(call);
}

struct wrong {
	const char *answer;
	int status;
	size_t len;
};

static const struct wrong wrongs[] = {
	{"", MESH_ERROR_RESET, 0},
	{"H", MESH_ERROR_PROTOCOL, 0},
	{"HTTP/1.1 200 OK\r\nContent-Le", MESH_ERROR_PROTOCOL, 0},
	{OK "Content-Length: 10\r\n\r\n", MESH_ERROR_RESET, 0},
	{OK "Content-Length: 10\r\n\r\nabc", MESH_ERROR_RESET, 0},
	{OK "Transfer-Encoding: chunked\r\n\r\n", MESH_ERROR_RESET, 0},
	{OK "Transfer-Encoding: chunked\r\n\r\n5\r\nab", MESH_ERROR_RESET, 0},
	{OK "Transfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\n", MESH_ERROR_RESET, 0},
	{"HTTP/1.1 100 Continue\r\n\r\n", MESH_ERROR_RESET, 0},
	{"hello\r\n\r\n", MESH_ERROR_PROTOCOL, 0},
	{"\r\n\r\n" EMPTY, MESH_ERROR_PROTOCOL, 0},
	{"HTTP/1.1 200\n\n", MESH_ERROR_PROTOCOL, 0},
	{"HTTP/1.1 20 OK\r\n\r\n", MESH_ERROR_PROTOCOL, 0},
	{"HTTP/1.1 2000 OK\r\n\r\n", MESH_ERROR_PROTOCOL, 0},
	{"HTTP/1.1 -20 OK\r\n\r\n", MESH_ERROR_PROTOCOL, 0},
	{"HTTP/1.1 099 No\r\n\r\n", MESH_ERROR_PROTOCOL, 0},
	{"HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n", MESH_ERROR_PROTOCOL, 0},
	{"HTTP/2.0 200 OK\r\n\r\n", MESH_ERROR_PROTOCOL, 0},
	{"HTTP/0.9 200 OK\r\n\r\n", MESH_ERROR_PROTOCOL, 0},
	{"http/1.1 200 OK\r\n\r\n", MESH_ERROR_PROTOCOL, 0},
	{"ICY 200 OK\r\n\r\n", MESH_ERROR_PROTOCOL, 0},
	{OK "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", MESH_ERROR_PROTOCOL, 0},
	{OK "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", MESH_ERROR_PROTOCOL, 0},
	{OK "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc", MESH_ERROR_PROTOCOL, 0},
	{OK "Content-Length: -3\r\n\r\n", MESH_ERROR_PROTOCOL, 0},
	{OK "Content-Length: 99999999999999999999\r\n\r\n", MESH_ERROR_PROTOCOL, 0},
	{OK "Transfer-Encoding: gzip\r\n\r\n", MESH_ERROR_PROTOCOL, 0},
	{OK "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", MESH_ERROR_PROTOCOL, 0},
	{OK "Transfer-Encoding: chunked\r\n\r\nxyz\r\n", MESH_ERROR_PROTOCOL, 0},
	{OK "Transfer-Encoding: chunked\r\n\r\n5\r\nabcdefg\r\n", MESH_ERROR_PROTOCOL, 0},
	{OK "Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n", MESH_ERROR_PROTOCOL, 0},
	{OK "Transfer-Encoding: chunked\r\n\r\n0\r\nbad trailer\r\n\r\n", MESH_ERROR_PROTOCOL, 0},
	{OK "X-A: b\r\n c\r\n\r\n", MESH_ERROR_PROTOCOL, 0},
	{OK "X-A: b\nX-B: c\r\n\r\n", MESH_ERROR_PROTOCOL, 0},
	{OK "X-A: b\rX-B: c\r\n\r\n", MESH_ERROR_PROTOCOL, 0},
	{OK "X-A: b\0c\r\n\r\n", MESH_ERROR_PROTOCOL, sizeof(OK "X-A: b\0c\r\n\r\n") - 1},
	{OK "X A: b\r\n\r\n", MESH_ERROR_PROTOCOL, 0},
	{OK "X-A : b\r\n\r\n", MESH_ERROR_PROTOCOL, 0},
	{OK ": b\r\n\r\n", MESH_ERROR_PROTOCOL, 0},
};

static void test_broken_answers(void **state)
{
	struct client *client = *state;
	struct mesh_request get = request_to("/", NULL);

	data_plane_publish(&client->plane);
	for (size_t i = 0; i < sizeof(wrongs) / sizeof(wrongs[0]); i++)
		for (int drip = 0; drip < 2; drip++) {
			bool head = strstr(wrongs[i].answer, "\r\n\r\n") && !strncmp(wrongs[i].answer, OK "C", 18);
			struct mesh_call *call;

			set_script(client, (struct script){wrongs[i].answer, wrongs[i].len, drip, CLOSE});
			call = run(client, &get);
			if (mesh_call_result(call)->status != wrongs[i].status)
				fail_msg("\"%s\"%s: expected %s, got %s (%.*s)", wrongs[i].answer, drip ? " byte by byte" : "",
					 mesh_error_name(wrongs[i].status), mesh_error_name(mesh_call_result(call)->status),
					 (int)mesh_call_result(call)->why.len, mesh_call_result(call)->why.data);
			assert_string_equal(mesh_call_result(call)->flag, wrongs[i].status == MESH_ERROR_RESET ? "UC" : "UPE");
			assert_true(mesh_call_result(call)->why.len > 0 || head);
			assert_int_equal(mesh_call_result(call)->attempts, 1);
			mesh_call_release(call);
		}
	set_script(client, (struct script){EMPTY, 0, false, STAY});
	expect(client, &get, 0, 200, "");
}

/* `count` times `piece` in an answer's head. */
static void expect_long(struct client *client, const char *before, const char *piece, size_t count, int status, int http)
{
	size_t each = strlen(piece);
	char *answer = malloc(strlen(before) + each * count + 64), *at = answer + sprintf(answer, "%s", before);
	struct mesh_request get = request_to("/", NULL);

	client->answers[client->answer_count++] = answer;
	for (size_t i = 0; i < count; i++, at += each)
		memcpy(at, piece, each);
	strcpy(at, "\r\nContent-Length: 0\r\n\r\n");
	set_script(client, (struct script){answer, 0, false, CLOSE});
	expect(client, &get, status, http, NULL);
}

static void test_sizes_of_answers(void **state)
{
	struct client *client = *state;

	data_plane_publish(&client->plane);
	expect_long(client, OK "X-A: ", "b", 50000, 0, 200);
	expect_long(client, OK "X-A: ", "b", 70000, MESH_ERROR_PROTOCOL, 0);
	expect_long(client, OK "X-A: b", "\r\nX-A: b", 98, 0, 200);
	expect_long(client, OK "X-A: b", "\r\nX-A: b", 99, MESH_ERROR_PROTOCOL, 0);
	expect_long(client, "HTTP/1.1 200 ", "O", 70000, MESH_ERROR_PROTOCOL, 0);
	expect_long(client, OK "Transfer-Encoding: chunked\r\n\r\n1;", "x", 5000, MESH_ERROR_PROTOCOL, 200);
}

static void test_good_answers(void **state)
{
	struct client *client = *state;
	struct mesh_request get = request_to("/", NULL), head = get;
	struct mesh_call *call;

	head.method = text("HEAD");
	data_plane_publish(&client->plane);
	for (int drip = 0; drip < 2; drip++) {
		set_script(client, (struct script){"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" OK
						 "Content-Length: 3\r\n\r\nabc", 0, drip, STAY});
		expect(client, &get, 0, 200, "abc");
		set_script(client, (struct script){OK "Transfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n02\r\nde\r\n0\r\nX-End: yes\r\n\r\n",
						 0, drip, STAY});
		call = run(client, &get);
		assert_true(mesh_slice_equal(mesh_call_body(call), text("abcde")));
		assert_true(mesh_slice_equal(mesh_call_trailer(call, "x-end"), text("yes")));
		mesh_call_release(call);
		set_script(client, (struct script){OK "Content-Length: 3\r\n\r\n", 0, drip, STAY});
		expect(client, &head, 0, 200, "");
		set_script(client, (struct script){"HTTP/1.1 204 No Content\r\n\r\n", 0, drip, STAY});
		expect(client, &get, 0, 204, "");
		set_script(client, (struct script){"HTTP/1.1 304 Not Modified\r\nContent-Length: 3\r\n\r\n", 0, drip, STAY});
		expect(client, &get, 0, 304, "");
		set_script(client, (struct script){"HTTP/1.1 599 \r\nContent-Length: 0\r\n\r\n", 0, drip, STAY});
		expect(client, &get, 0, 599, "");
	}
	assert_int_equal(atomic_load(&client->server.accepted), 1); /* all of them keep the connection */
	for (int drip = 0; drip < 2; drip++) {
		set_script(client, (struct script){OK "\r\nuntil the end", 0, drip, CLOSE});
		expect(client, &get, 0, 200, "until the end");
		set_script(client, (struct script){"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nold", 0, drip, CLOSE});
		expect(client, &get, 0, 200, "old");
		set_script(client, (struct script){OK "Connection: close\r\nContent-Length: 3\r\n\r\nend", 0, drip, CLOSE});
		expect(client, &get, 0, 200, "end");
		/* more than was asked for: the answer is good, the connection is not */
		set_script(client, (struct script){OK "Content-Length: 3\r\n\r\nabcHTTP/1.1 200 Smuggled\r\n\r\n", 0, false, STAY});
		expect(client, &get, 0, 200, "abc");
	}
	set_script(client, (struct script){OK "Connection: X-Hop, keep-alive\r\nKeep-Alive: timeout=5\r\nX-Hop: 1\r\nX-End: 2\r\n"
					 "Hop: 3\r\nProxy-Connection: x\r\nUpgrade: h2c\r\nTrailer: x\r\nContent-Length: 0\r\n\r\n", 0, false, STAY});
	call = run(client, &get);
	assert_int_equal(mesh_call_result(call)->status, 0);
	assert_null(mesh_call_header(call, "connection").data);
	assert_null(mesh_call_header(call, "keep-alive").data);
	assert_null(mesh_call_header(call, "proxy-connection").data);
	assert_null(mesh_call_header(call, "upgrade").data);
	assert_null(mesh_call_header(call, "transfer-encoding").data);
	assert_int_equal(mesh_call_header(call, "x-end").len, 1);
	mesh_call_release(call);
}

/* Interim answers without end must not fill memory. */
static void babble(struct raw_server *server, int fd, unsigned number)
{
	struct client *client = (struct client *)server->user;
	char request[4096], hint[2048];

	if (!read_request(fd, request, sizeof(request)))
		return;
	snprintf(hint, sizeof(hint), "HTTP/1.1 103 Early Hints\r\nLink: %01500d\r\n\r\n", 1);
	for (unsigned i = 0; i < 200000 && raw_say(fd, hint); i++)
		atomic_store(&client->requests, i);
}

static void test_interim_answers_without_end(void **state)
{
	struct client *client = *state;
	struct mesh_request get = request_to("/", NULL);
	struct mesh_call *call;

	client->server.serve = babble;
	get.timeout_ms = 8000;
	data_plane_publish(&client->plane);
	call = run(client, &get);
	assert_int_equal(mesh_call_result(call)->status, MESH_ERROR_PROTOCOL);
	assert_true(atomic_load(&client->requests) < 100000);
	assert_true(atomic_load(&client->mem.bytes) < 1u << 20);
	mesh_call_release(call);
}

/* Breaks off after each byte of a good answer: only the whole one is a success. */
static void test_ended_at_every_byte(void **state)
{
	static const char answer[] = OK "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-End: yes\r\n\r\n";
	struct client *client = *state;
	struct mesh_request get = request_to("/", NULL);

	data_plane_publish(&client->plane);
	for (size_t len = 1; len <= sizeof(answer) - 1; len++)
		for (enum ending ending = CLOSE; ending <= RESET; ending++) {
			bool whole = len == sizeof(answer) - 1;
			struct mesh_call *call;

			set_script(client, (struct script){answer, len, false, ending});
			call = run(client, &get);
			/* a reset may overtake bytes that were sent before it */
			assert_true(mesh_call_result(call)->status == MESH_ERROR_RESET ||
				    (!whole && mesh_call_result(call)->status == MESH_ERROR_PROTOCOL) ||
				    (whole && mesh_call_result(call)->status == 0));
			assert_true(!whole || ending == RESET || mesh_call_result(call)->status == 0);
			mesh_call_release(call);
		}
}

/* Answers from the head alone and lets the body lie. */
static void answer_early(struct raw_server *server, int fd, unsigned number)
{
	char request[4096] = "", rest[65536];

	if (!raw_until(fd, request, sizeof(request), "\r\n\r\n"))
		return;
	raw_say(fd, "HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 3\r\n\r\nbig");
	if (number % 2)
		return; /* unread bytes: the close is a reset */
	shutdown(fd, SHUT_WR);
	while (recv(fd, rest, sizeof(rest), 0) > 0)
		;
}

static void test_answer_before_the_request_was_sent(void **state)
{
	struct client *client = *state;
	struct mesh_request post = request_to("/", "x");
	size_t size = 8u << 20;
	char *body = calloc(1, size);

	client->server.serve = answer_early;
	post.body = mesh_slice_make(body, size);
	data_plane_publish(&client->plane);
	for (int i = 0; i < 40; i++) {
		struct mesh_call *call = run(client, &post);

		if (i % 2 == 0) {
			assert_int_equal(mesh_call_result(call)->status, 0);
			assert_int_equal(mesh_call_http_status(call), 413);
			assert_true(mesh_slice_equal(mesh_call_body(call), text("big")));
		} else { /* what came before a reset is kept by the kernel or not: a clean end either way */
			assert_true(mesh_call_result(call)->status == 0 || mesh_call_result(call)->status == MESH_ERROR_RESET);
		}
		mesh_call_release(call);
	}
	free(body);
}

/* Answers from the head alone, keeps the connection and never reads the rest. */
static void answer_and_ignore(struct raw_server *server, int fd, unsigned number)
{
	struct client *client = (struct client *)server->user;
	char request[4096] = "";

	if (raw_until(fd, request, sizeof(request), "\r\n\r\n") && raw_say(fd, EMPTY))
		while (!atomic_load(&client->closed))
			usleep(1000);
}

static bool stats_have(struct client *client, const char *line)
{
	struct buf stats;
	bool found;

	mesh_buf_init(&stats, &mesh_mem_default, 0);
	assert_int_equal(mesh_registry_stats(&client->plane.mesh->registry, &stats), 0);
	found = memmem(mesh_buf_slice(&stats).data, mesh_buf_len(&stats), line, strlen(line)) != NULL;
	mesh_buf_free(&stats);
	return found;
}

static void test_answered_early_and_not_read(void **state)
{
	struct client *client = *state;
	struct mesh_request post = request_to("/", "x");
	size_t size = 32u << 20;
	char *body = calloc(1, size);

	client->server.serve = answer_and_ignore;
	post.body = mesh_slice_make(body, size);
	data_plane_publish(&client->plane);
	expect(client, &post, 0, 200, "");
	assert_true(stats_have(client, "upstream_cx_destroy: 1\n"));
	atomic_store(&client->closed, 1);
	free(body);
}

/* One good answer, then the connection ends unannounced. */
static void answer_and_leave(struct raw_server *server, int fd, unsigned number)
{
	struct client *client = (struct client *)server->user;
	char request[4096];

	if (read_request(fd, request, sizeof(request)))
		raw_say(fd, OK "Content-Length: 2\r\n\r\nok");
	if (number % 2)
		raw_reset(fd);
	shutdown(fd, number % 2 ? SHUT_RD : SHUT_RDWR);
	atomic_fetch_add(&client->closed, 1);
}

static void calls_over_closing_connections(struct client *client, struct mesh_worker *worker)
{
	atomic_store(&client->closed, 0);
	for (unsigned i = 0; i < 100; i++) {
		struct mesh_request request = request_to("/", i % 2 ? "body" : NULL);

		request.worker = worker;
		expect(client, &request, 0, 200, "ok");
		while (atomic_load(&client->closed) <= i)
			usleep(100);
	}
}

static void test_closed_while_idle_never_fails_a_call(void **state)
{
	struct client *client = *state;
	struct mesh_worker *worker;

	client->server.serve = answer_and_leave;
	data_plane_publish(&client->plane);
	calls_over_closing_connections(client, NULL);
	assert_int_equal(mesh_worker_library(client->plane.mesh, &worker), 0);
	calls_over_closing_connections(client, worker);
	/* a borrowed worker that was not driven meanwhile, driven by its owner alone */
	assert_int_equal(mesh_worker_new(client->plane.mesh, &worker), 0);
	calls_over_closing_connections(client, worker);
	mesh_worker_free(worker);
}

static void test_timeouts(void **state)
{
	static struct retry_config retry = {.on = RETRY_5XX, .retries = 1, .per_try_timeout_ns = 100000000,
					    .backoff_base_ns = 1000000, .backoff_max_ns = 2000000};
	struct client *client = *state;
	struct mesh_request get = request_to("/", NULL);
	struct mesh_call *call;

	client->plane.timeout_ns = 100000000;
	data_plane_publish(&client->plane);
	set_script(client, (struct script){"", 0, false, STAY});
	call = run(client, &get);
	assert_int_equal(mesh_call_result(call)->status, MESH_ERROR_TIMEOUT);
	assert_string_equal(mesh_call_result(call)->flag, "UT");
	assert_int_equal(mesh_call_result(call)->local_status, 504);
	mesh_call_release(call);
	set_script(client, (struct script){OK "Content-Length: 10\r\n\r\nabc", 0, false, STAY});
	call = run(client, &get);
	assert_int_equal(mesh_call_result(call)->status, MESH_ERROR_TIMEOUT);
	assert_int_equal(mesh_call_http_status(call), 200); /* begun, never whole */
	mesh_call_release(call);
	/* each try on its own: the second is answered */
	client->plane.timeout_ns = 0;
	client->plane.retry = &retry;
	data_plane_publish(&client->plane);
	atomic_store(&client->requests, 0);
	client->scripts[0] = (struct script){"", 0, false, STAY};
	client->scripts[1] = (struct script){EMPTY, 0, false, STAY};
	client->script_count = 2;
	call = run(client, &get);
	assert_int_equal(mesh_call_result(call)->status, 0);
	assert_int_equal(mesh_call_result(call)->attempts, 2);
	mesh_call_release(call);
	/* and when none is */
	atomic_store(&client->requests, 0);
	client->script_count = 1;
	call = run(client, &get);
	assert_int_equal(mesh_call_result(call)->status, MESH_ERROR_TIMEOUT);
	assert_string_equal(mesh_call_result(call)->flag, "UT,URX");
	assert_int_equal(mesh_call_result(call)->attempts, 2);
	mesh_call_release(call);
}

static struct mesh_slice seen_header(const struct client *client, unsigned request, const char *name)
{
	char line[64];
	const char *at;

	snprintf(line, sizeof(line), "\r\n%s: ", name);
	at = strcasestr(client->seen[request], line);
	if (!at)
		return (struct mesh_slice){NULL, 0};
	at += strlen(line);
	return mesh_slice_make(at, strcspn(at, "\r"));
}

static void test_retried_request_is_the_same(void **state)
{
	static uint32_t teapot[] = {418};
	static struct retry_config retry = {.on = RETRY_RESET | RETRY_GATEWAY_ERROR | RETRY_RETRIABLE_STATUS_CODES, .retries = 4,
					    .status_codes = teapot, .status_code_count = 1,
					    .backoff_base_ns = 1000000, .backoff_max_ns = 2000000};
	struct client *client = *state;
	struct mesh_request post = request_to("/a?b", "the body");
	struct mesh_header header = {text("x-app"), text("1")};
	struct mesh_call *call;

	post.headers = &header;
	post.header_count = 1;
	client->plane.retry = &retry;
	client->scripts[0] = (struct script){"", 0, false, RESET};
	client->scripts[1] = (struct script){"HTTP/1.1 503 No\r\nContent-Length: 4\r\n\r\nbusy", 0, false, STAY};
	client->scripts[2] = (struct script){"HTTP/1.1 418 Teapot\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n", 0, false, STAY};
	client->scripts[3] = (struct script){"HTTP/1.1 502 Bad\r\n\r\nuntil close", 0, false, CLOSE};
	client->scripts[4] = (struct script){"HTTP/1.1 500 Own\r\nContent-Length: 4\r\n\r\nmine", 0, false, STAY};
	client->script_count = 5;
	data_plane_publish(&client->plane);
	call = run(client, &post);
	assert_int_equal(mesh_call_result(call)->status, 0);
	assert_int_equal(mesh_call_http_status(call), 500); /* not asked to be retried */
	assert_true(mesh_slice_equal(mesh_call_body(call), text("mine")));
	assert_int_equal(mesh_call_result(call)->attempts, 5);
	mesh_call_release(call);
	for (unsigned i = 0; i < 5; i++) {
		char count[2] = {(char)('1' + i), '\0'};

		assert_memory_equal(client->seen[i], "POST /a?b HTTP/1.1\r\n", 20);
		assert_non_null(strstr(client->seen[i], "\r\n\r\nthe body"));
		assert_true(mesh_slice_equal(seen_header(client, i, "x-envoy-attempt-count"), text(count)));
		assert_true(mesh_slice_equal(seen_header(client, i, "host"), text("reviews:9080")));
		assert_true(mesh_slice_equal(seen_header(client, i, "x-app"), text("1")));
		assert_int_equal(seen_header(client, i, "x-request-id").len, 36);
		assert_true(mesh_slice_equal(seen_header(client, i, "x-request-id"), seen_header(client, 0, "x-request-id")));
		assert_true(mesh_slice_equal(seen_header(client, i, "x-forwarded-proto"), text("http")));
	}
}

static void test_what_is_not_retried(void **state)
{
	static struct retry_config connect = {.on = RETRY_CONNECT_FAILURE, .retries = 3, .backoff_base_ns = 1000000};
	static struct retry_config reset = {.on = RETRY_RESET | RETRY_5XX, .retries = 3, .backoff_base_ns = 1000000,
					    .backoff_max_ns = 2000000};
	struct client *client = *state;
	struct mesh_request post = request_to("/", "x"), stream = post;
	static char piece[50000];
	struct mesh_call *call;

	/* a reset is not a connection that failed */
	client->plane.retry = &connect;
	set_script(client, (struct script){"", 0, false, RESET});
	data_plane_publish(&client->plane);
	expect(client, &post, MESH_ERROR_RESET, 0, NULL);
	assert_int_equal(atomic_load(&client->requests), 1);
	/* an answer that began reached the application: what follows is final */
	client->plane.retry = &reset;
	data_plane_publish(&client->plane);
	set_script(client, (struct script){OK "Content-Length: 10\r\n\r\nabc", 0, false, RESET});
	atomic_store(&client->requests, 0);
	expect(client, &post, MESH_ERROR_RESET, 200, NULL);
	assert_int_equal(atomic_load(&client->requests), 1);
	/* a streamed body longer than what is kept cannot be sent again */
	set_script(client, (struct script){"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n", 0, false, STAY});
	atomic_store(&client->requests, 0);
	static const struct mesh_header length = {{"content-length", 14}, {"100000", 6}};
	stream.body = text("");
	stream.more_body = true;
	stream.headers = &length;
	stream.header_count = 1;
	assert_int_equal(mesh_call_start(client->plane.mesh, &stream, NULL, NULL, &call), 0);
	for (int i = 0; i < 2; i++) {
		int rc;

		while ((rc = mesh_call_send(call, mesh_slice_make(piece, sizeof(piece)), i == 1)) == MESH_ERROR_AGAIN)
			assert_int_equal(mesh_call_wait_writable(call, 10000), 0);
		assert_int_equal(rc, 0);
	}
	assert_int_equal(mesh_call_wait(call, 10000), 0);
	assert_int_equal(mesh_call_http_status(call), 503);
	assert_int_equal(mesh_call_result(call)->attempts, 1);
	mesh_call_release(call);
	assert_int_equal(atomic_load(&client->requests), 1);
}

/* Another endpoint is tried where the policy says so. */
static void test_previous_hosts(void **state)
{
	static struct retry_config retry = {.on = RETRY_RESET, .retries = 1, .previous_hosts = true, .host_selection_attempts = 5,
					    .backoff_base_ns = 1000000, .backoff_max_ns = 2000000};
	struct client *client = *state;
	struct mesh_request get = request_to("/", NULL);

	client->second.serve = answer_and_leave;
	raw_server_start(&client->second);
	client->plane.ports[client->plane.port_count++] = client->second.port;
	client->plane.retry = &retry;
	set_script(client, (struct script){"", 0, false, RESET});
	data_plane_publish(&client->plane);
	for (int i = 0; i < 10; i++)
		expect(client, &get, 0, 200, "ok");
	assert_true(atomic_load(&client->server.accepted) > 0);
}

static void two_requests(struct data_plane *plane, struct cluster_config *cluster)
{
	cluster->requests_per_connection_max = 2;
}

static void test_requests_per_connection(void **state)
{
	struct client *client = *state;
	struct mesh_request get = request_to("/", NULL);

	client->plane.edit_cluster = two_requests;
	set_script(client, (struct script){EMPTY, 0, false, STAY});
	data_plane_publish(&client->plane);
	for (int i = 0; i < 6; i++)
		expect(client, &get, 0, 200, "");
	assert_int_equal(atomic_load(&client->server.accepted), 3);
}

static void short_idle(struct data_plane *plane, struct cluster_config *cluster)
{
	cluster->idle_timeout_ns = 50000000;
}

static void answer_and_wait(struct raw_server *server, int fd, unsigned number)
{
	struct client *client = (struct client *)server->user;
	char request[4096];

	if (read_request(fd, request, sizeof(request)) && raw_say(fd, EMPTY) && raw_closed(fd))
		atomic_fetch_add(&client->closed, 1);
}

static void test_idle_timeout(void **state)
{
	struct client *client = *state;
	struct mesh_request get = request_to("/", NULL);

	client->server.serve = answer_and_wait;
	client->plane.edit_cluster = short_idle;
	data_plane_publish(&client->plane);
	assert_int_equal(mesh_worker_library(client->plane.mesh, &get.worker), 0);
	expect(client, &get, 0, 200, "");
	for (int i = 0; i < 10000 && !atomic_load(&client->closed); i++)
		usleep(1000);
	assert_int_equal(atomic_load(&client->closed), 1);
}

static void start_silent(struct client *client, struct mesh_call **call)
{
	struct mesh_request get = request_to("/", NULL);

	assert_int_equal(mesh_call_start(client->plane.mesh, &get, NULL, NULL, call), 0);
}

static void give_up(struct mesh_call **calls, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		mesh_call_cancel(calls[i]);
		assert_int_equal(mesh_call_wait(calls[i], 5000), MESH_ERROR_CANCELLED);
		mesh_call_release(calls[i]);
	}
}

static void test_circuit_breakers(void **state)
{
	static struct retry_config retry = {.on = RETRY_5XX, .retries = 3, .backoff_base_ns = 1000000, .backoff_max_ns = 2000000};
	struct client *client = *state;
	struct mesh_request get = request_to("/", NULL);
	struct mesh_call *calls[4];

	set_script(client, (struct script){"", 0, false, STAY});
	client->plane.breaker.pending = 2;
	data_plane_publish(&client->plane);
	for (int i = 0; i < 2; i++)
		start_silent(client, &calls[i]);
	expect(client, &get, MESH_ERROR_OVERFLOW, 0, NULL); /* two wait for connections */
	give_up(calls, 2);
	/* one connection: the second call waits for it, and the first one's end lets it go */
	client->plane.breaker.pending = UINT32_MAX;
	client->plane.breaker.connections = 1;
	data_plane_publish(&client->plane);
	start_silent(client, &calls[0]);
	start_silent(client, &calls[1]);
	assert_int_equal(mesh_call_wait(calls[1], 100), MESH_ERROR_AGAIN);
	assert_string_equal(mesh_call_result(calls[1]) ? "over" : "waits", "waits");
	set_script(client, (struct script){EMPTY, 0, false, STAY});
	give_up(calls, 1);
	assert_int_equal(mesh_call_wait(calls[1], 5000), 0);
	mesh_call_release(calls[1]);
	/* no retries at a time */
	client->plane.breaker.connections = UINT32_MAX;
	client->plane.breaker.retries = 0;
	client->plane.retry = &retry;
	set_script(client, (struct script){"HTTP/1.1 503 No\r\nContent-Length: 4\r\n\r\nbusy", 0, false, STAY});
	data_plane_publish(&client->plane);
	atomic_store(&client->requests, 0);
	expect(client, &get, 0, 503, "busy");
	assert_int_equal(atomic_load(&client->requests), 1);
}

/* The limit on connections never leaves an endpoint without any: Envoy opens one all the same. */
static void test_each_endpoint_has_a_connection(void **state)
{
	struct client *client = *state;
	struct mesh_request get = request_to("/", NULL);

	raw_server_start(&client->second);
	client->plane.ports[client->plane.port_count++] = client->second.port;
	client->plane.breaker.connections = 1;
	set_script(client, (struct script){EMPTY, 0, false, STAY});
	data_plane_publish(&client->plane);
	for (int i = 0; i < 6; i++)
		expect(client, &get, 0, 200, "");
	assert_int_equal(atomic_load(&client->server.accepted), 1);
	assert_int_equal(atomic_load(&client->second.accepted), 1);
}

static void test_application_headers(void **state)
{
	static const struct mesh_header hop[] = {
		{{"connection", 10}, {"x-app", 5}}, {{"keep-alive", 10}, {"1", 1}}, {{"transfer-encoding", 17}, {"chunked", 7}},
		{{"upgrade", 7}, {"h2c", 3}}, {{"host", 4}, {"other", 5}}, {{"x-bad\r\nx", 8}, {"1", 1}}, {{"x-a", 3}, {"1\r\nx: y", 7}},
	};
	struct client *client = *state;
	struct mesh_call *call;

	set_script(client, (struct script){EMPTY, 0, false, STAY});
	data_plane_publish(&client->plane);
	for (size_t i = 0; i < sizeof(hop) / sizeof(hop[0]); i++) {
		struct mesh_request get = request_to("/", NULL);
		int rc;

		get.headers = &hop[i];
		get.header_count = 1;
		rc = mesh_call_start(client->plane.mesh, &get, NULL, NULL, &call);
		if (rc) { /* refused outright */
			assert_int_equal(rc, MESH_ERROR_INVALID);
			continue;
		}
		assert_int_equal(mesh_call_wait(call, 5000), 0);
		mesh_call_release(call);
	}
	for (unsigned i = 0; i < atomic_load(&client->requests); i++) {
		assert_null(strcasestr(client->seen[i], "\r\ntransfer-encoding"));
		assert_null(strcasestr(client->seen[i], "\r\nupgrade"));
		assert_null(strcasestr(client->seen[i], "\r\nconnection: x-app"));
		assert_null(strcasestr(client->seen[i], "\r\nkeep-alive"));
		assert_true(mesh_slice_equal(seen_header(client, i, "host"), text("reviews:9080")));
		assert_null(strstr(strcasestr(client->seen[i], "\r\nhost:") + 2, "\r\nhost:"));
	}
}

static void stall(struct raw_server *server, int fd, unsigned number)
{
	static char piece[65536];
	struct client *client = (struct client *)server->user;
	char request[4096];

	if (!read_request(fd, request, sizeof(request)) || !raw_say(fd, OK "Content-Length: 33554432\r\n\r\n"))
		return;
	for (int i = 0; i < 512 && raw_send(fd, piece, sizeof(piece)); i++)
		atomic_fetch_add(&client->requests, 1);
}

static void pause_at_first(struct mesh_call *call, struct mesh_slice data, void *user)
{
	size_t *taken = user;

	if (!*taken)
		mesh_call_pause(call);
	*taken += data.len;
}

static void test_paused_reader_slows_the_server(void **state)
{
	struct client *client = *state;
	struct mesh_request get = request_to("/", NULL);
	struct mesh_call_events events = {.size = sizeof(events), .data = pause_at_first};
	struct mesh_call *call;
	size_t taken = 0;

	client->server.serve = stall;
	data_plane_publish(&client->plane);
	assert_int_equal(mesh_call_start(client->plane.mesh, &get, &events, &taken, &call), 0);
	assert_int_equal(mesh_call_wait(call, 500), MESH_ERROR_AGAIN);
	assert_true(atomic_load(&client->requests) < 512);
	assert_true(taken > 0 && taken < 1u << 20);
	assert_true(atomic_load(&client->mem.bytes) < 1u << 20);
	mesh_call_resume(call);
	assert_int_equal(mesh_call_wait(call, 10000), 0);
	assert_int_equal(taken, 32u << 20);
	mesh_call_release(call);
	/* kept bodies are bounded */
	get.response_bytes_max = 1000000;
	call = run(client, &get);
	assert_int_equal(mesh_call_result(call)->status, MESH_ERROR_TOO_LARGE);
	mesh_call_release(call);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, open_client, close_client)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_broken_answers),
		CASE(test_sizes_of_answers),
		CASE(test_good_answers),
		CASE(test_interim_answers_without_end),
		CASE(test_ended_at_every_byte),
		CASE(test_answer_before_the_request_was_sent),
		CASE(test_answered_early_and_not_read),
		CASE(test_closed_while_idle_never_fails_a_call),
		CASE(test_timeouts),
		CASE(test_retried_request_is_the_same),
		CASE(test_what_is_not_retried),
		CASE(test_previous_hosts),
		CASE(test_requests_per_connection),
		CASE(test_idle_timeout),
		CASE(test_circuit_breakers),
		CASE(test_each_endpoint_has_a_connection),
		CASE(test_application_headers),
		CASE(test_paused_reader_slows_the_server),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
