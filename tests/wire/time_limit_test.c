/* SPDX-License-Identifier: Apache-2.0 */
/* Limits of time as configured: on a connection that says nothing, on a try and on a call in which nothing moves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include <mesh/mesh.h>

#include "call/listener.h"
#include "support/data_plane.h"
#include "support/raw_peer.h"
#include "support/test_ca.h"

#define HEAD "GET / HTTP/1.1\r\nHost: reviews\r\n\r\n"
#define BOB "spiffe://cluster.local/ns/default/sa/bob"

enum { MS = 1000000, SHORT_MS = 200, LONG_MS = 20000 };

struct limits {
	struct data_plane plane;
	struct test_ca ca;
	struct raw_server server;
	struct mesh_listener *listener;
	uint16_t port;
	atomic_int calls;
	struct retry_config retry;
	int64_t filters_ns, listener_idle_ns, route_idle_ns, inbound_idle_ns;
	bool go_on;
	_Atomic(const char *) answer; /* of the server: in pieces of 20 bytes, each SHORT_MS / 4 after the last; then silence */
	atomic_uint requests;
	atomic_uint silent; /* of these, so many are not answered */
};

static struct mesh_slice text(const char *s)
{
	return mesh_slice_of(s);
}

static void handler(struct mesh_call *call, void *user)
{
	struct limits *limits = user;

	static const struct mesh_call_events none = {.size = sizeof(none)};

	atomic_fetch_add(&limits->calls, 1);
	if (mesh_slice_equal(mesh_call_path(call), text("/never")))
		assert_int_equal(mesh_call_on(call, &none, NULL), 0);
	else
		mesh_call_respond(call, 200, NULL, 0, text("hello"), true);
}

/* As for a port without a protocol: what is HTTP has a chain of its own. */
static void look_for_http(struct listener_config *listener)
{
	static struct mesh_slice versions[] = {{"http/1.1", 8}, {"h2c", 3}};
	struct chain *chains = mesh_arena_array(&listener->object.arena, listener->chain_count + 1, sizeof(*chains));

	assert_non_null(chains);
	memcpy(chains, listener->chains, listener->chain_count * sizeof(*chains));
	chains[listener->chain_count] = chains[1];
	chains[listener->chain_count].match.alpn = versions;
	chains[listener->chain_count].match.alpn_count = 2;
	listener->chains = chains;
	listener->chain_count++;
	listener->http_inspector = true;
}

static void edit_listener(struct data_plane *plane, struct listener_config *listener, bool inbound)
{
	struct limits *limits = plane->user;

	listener->filters_timeout_ns = limits->filters_ns;
	listener->continue_on_timeout = limits->go_on;
	if (inbound && limits->plane.inbound == DATA_PLANE_PERMISSIVE)
		look_for_http(listener);
}

static void edit_chain(struct data_plane *plane, struct chain *chain, struct arena *arena, bool inbound)
{
	struct limits *limits = plane->user;

	if (!inbound)
		chain->http->stream_idle_timeout_ns = limits->listener_idle_ns;
}

static void edit_routes(struct data_plane *plane, struct route_config *routes, bool inbound)
{
	struct limits *limits = plane->user;

	routes->hosts[0].routes[0].idle_timeout_ns = inbound ? limits->inbound_idle_ns : limits->route_idle_ns;
}

/* The whole answer slowly, one request after the other. */
static void serve(struct raw_server *server, int fd, unsigned number)
{
	struct limits *limits = (struct limits *)server->user;
	char got[8192];

	while (raw_response(fd, got, sizeof(got))) {
		const char *at = atomic_load(&limits->answer);

		if (atomic_fetch_add(&limits->requests, 1) < atomic_load(&limits->silent))
			continue;
		while (*at) {
			size_t len = strlen(at) < 20 ? strlen(at) : 20;

			if (!raw_send(fd, at, len))
				return;
			at += len;
			usleep(SHORT_MS * 1000 / 4);
		}
	}
}

static int open_limits(void **state)
{
	struct limits *limits = calloc(1, sizeof(*limits));
	struct mesh_listen_options options = {.size = sizeof(options), .handler = handler, .user = limits,
					      .address = "127.0.0.1"};

	assert_int_equal(data_plane_open(&limits->plane, 1, NULL), 0);
	test_ca_make(&limits->ca);
	limits->plane.certificate = test_ca_secret(&limits->ca, &(struct test_leaf){.uri = BOB});
	limits->plane.roots = test_ca_roots(&limits->ca);
	limits->plane.user = limits;
	limits->plane.edit_listener = edit_listener;
	limits->plane.edit_chain = edit_chain;
	limits->plane.edit_routes = edit_routes;
	limits->filters_ns = (int64_t)LONG_MS * MS;
	limits->inbound_idle_ns = -1;
	limits->server.serve = serve;
	limits->server.user = limits;
	raw_server_start(&limits->server);
	limits->plane.ports[limits->plane.port_count++] = limits->server.port;
	assert_int_equal(mesh_listen(limits->plane.mesh, &options, &limits->listener), 0);
	limits->port = mesh_listener_port(limits->listener);
	*state = limits;
	return 0;
}

static int close_limits(void **state)
{
	struct limits *limits = *state;

	data_plane_close(&limits->plane);
	raw_server_stop(&limits->server);
	mesh_secret_release(limits->plane.certificate);
	mesh_secret_release(limits->plane.roots);
	test_ca_free(&limits->ca);
	free(limits);
	return 0;
}

static unsigned late(struct limits *limits)
{
	return (unsigned)atomic_load(&limits->listener->stats.cx_pre_timeout);
}

/* Silent, or in the middle of what would show what it speaks: ended when listener_filters_timeout is over. */
static void test_silent_connections_end(void **state)
{
	static const char *const begun[] = {"", "GE", "\x16\x03", "PRI * HTTP"};
	struct limits *limits = *state;

	limits->plane.inbound = DATA_PLANE_PERMISSIVE;
	limits->filters_ns = (int64_t)SHORT_MS * MS;
	data_plane_publish(&limits->plane);
	for (unsigned i = 0; i < sizeof(begun) / sizeof(begun[0]); i++) {
		int fd = raw_connect(limits->port);

		assert_true(raw_say(fd, begun[i]));
		assert_true(raw_closed(fd));
		close(fd);
		assert_int_equal(late(limits), i + 1);
	}
	assert_int_equal(atomic_load(&limits->calls), 0);
}

/* A limit that is not over does nothing, nor does one that is turned off. */
static void test_slow_beginnings_are_served(void **state)
{
	struct limits *limits = *state;
	char got[4096];

	limits->plane.inbound = DATA_PLANE_PERMISSIVE;
	for (int off = 0; off < 2; off++) {
		int fd;

		limits->filters_ns = off ? 0 : (int64_t)LONG_MS * MS;
		data_plane_publish(&limits->plane);
		fd = raw_connect(limits->port);
		usleep(2 * SHORT_MS * 1000);
		assert_true(raw_say(fd, HEAD));
		got[0] = '\0';
		assert_true(raw_response(fd, got, sizeof(got)));
		assert_non_null(strstr(got, " 200 "));
		close(fd);
	}
	assert_int_equal(late(limits), 0);
}

/* continue_on_listener_filters_timeout: taken for plaintext, which PERMISSIVE has a chain for and STRICT has none. */
static void test_silent_connections_go_on(void **state)
{
	struct limits *limits = *state;
	char got[4096] = "";
	int fd;

	limits->filters_ns = (int64_t)SHORT_MS * MS;
	limits->go_on = true;
	limits->plane.inbound = DATA_PLANE_PERMISSIVE;
	data_plane_publish(&limits->plane);
	fd = raw_connect(limits->port);
	assert_true(raw_say(fd, "GE"));
	while (!late(limits))
		usleep(1000);
	assert_true(raw_say(fd, HEAD + 2));
	assert_true(raw_response(fd, got, sizeof(got)));
	assert_non_null(strstr(got, " 200 "));
	close(fd);
	limits->plane.inbound = DATA_PLANE_STRICT;
	data_plane_publish(&limits->plane);
	fd = raw_connect(limits->port);
	assert_true(raw_say(fd, "\x16"));
	assert_true(raw_closed(fd));
	assert_int_equal(late(limits), 2);
	assert_int_equal(atomic_load(&limits->calls), 1);
	close(fd);
}

/* What came late is judged by the rules of then, not by those of when the connection came. */
static void test_late_bytes_meet_new_rules(void **state)
{
	struct limits *limits = *state;
	int fd;

	limits->plane.inbound = DATA_PLANE_PERMISSIVE;
	data_plane_publish(&limits->plane);
	fd = raw_connect(limits->port);
	assert_true(raw_say(fd, "GET / HT"));
	usleep(SHORT_MS * 1000);
	limits->plane.inbound = DATA_PLANE_STRICT;
	data_plane_publish(&limits->plane);
	assert_true(raw_say(fd, HEAD + 8));
	assert_true(raw_closed(fd));
	assert_int_equal(atomic_load(&limits->calls), 0);
	close(fd);
}

/* PERMISSIVE turns STRICT: what a plaintext connection has begun to ask gets an answer, which says that it is the last. */
static void test_open_plaintext_gets_one_last_answer(void **state)
{
	struct limits *limits = *state;
	char got[8192] = "";
	int fd;

	limits->plane.inbound = DATA_PLANE_PERMISSIVE;
	data_plane_publish(&limits->plane);
	fd = raw_connect(limits->port);
	assert_true(raw_say(fd, HEAD "GET / "));
	assert_true(raw_response(fd, got, sizeof(got)));
	assert_null(strcasestr(got, "connection: close"));
	limits->plane.inbound = DATA_PLANE_STRICT;
	data_plane_publish(&limits->plane);
	assert_true(raw_say(fd, &HEAD[strlen("GET / ")]));
	raw_say(fd, HEAD); /* may find it closed */
	got[0] = '\0';
	raw_rest(fd, got, sizeof(got));
	assert_non_null(strcasestr(got, "\r\nconnection: close\r\n"));
	assert_int_equal(atomic_load(&limits->calls), 2);
	close(fd);
}

static struct mesh_call *call(struct limits *limits)
{
	struct mesh_request request = {.size = sizeof(request), .authority = text("reviews:9080"), .path = text("/"),
				       .method = text("GET")};
	struct mesh_call *call;

	data_plane_publish(&limits->plane);
	assert_int_equal(mesh_call_start(limits->plane.mesh, &request, NULL, NULL, &call), 0);
	assert_int_not_equal(mesh_call_wait(call, 10000), MESH_ERROR_AGAIN);
	return call;
}

static void expect(struct limits *limits, int status, const char *flag, unsigned attempts)
{
	struct mesh_call *made = call(limits);
	const struct mesh_result *result = mesh_call_result(made);

	if (result->status != status)
		fail_msg("expected %s, got %s: %.*s", mesh_error_name(status), mesh_error_name(result->status),
			 (int)result->why.len, result->why.data ? result->why.data : "");
	assert_string_equal(result->flag, flag);
	assert_int_equal(result->attempts, attempts);
	if (status) {
		assert_true(result->local_status == 504);
		assert_true(result->duration_us >= SHORT_MS * 1000);
	}
	mesh_call_release(made);
}

#define SLOW "HTTP/1.1 200 OK\r\nContent-Length: 200\r\n\r\n"
#define HUNDRED "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"

/* The listener's limit, the route's in its place, and the route's 0, which means none. */
static void test_stream_idle_timeout(void **state)
{
	struct limits *limits = *state;

	limits->answer = "";
	limits->route_idle_ns = -1;
	limits->listener_idle_ns = (int64_t)SHORT_MS * MS;
	expect(limits, MESH_ERROR_IDLE_TIMEOUT, "SI", 1);
	limits->listener_idle_ns = (int64_t)LONG_MS * MS;
	limits->route_idle_ns = (int64_t)SHORT_MS * MS;
	expect(limits, MESH_ERROR_IDLE_TIMEOUT, "SI", 1);
	/* a response that stops half way */
	limits->answer = SLOW HUNDRED;
	expect(limits, MESH_ERROR_IDLE_TIMEOUT, "SI", 1);
	/* one that takes longer than the limit and never rests so long */
	limits->answer = SLOW HUNDRED HUNDRED;
	expect(limits, 0, "-", 1);
	limits->answer = SLOW HUNDRED HUNDRED;
	limits->listener_idle_ns = (int64_t)SHORT_MS * MS / 8;
	limits->route_idle_ns = 0;
	expect(limits, 0, "-", 1);
}

/* On the inbound side the route's limit is in force as well, from the request on that takes it. */
static void test_handler_that_never_answers(void **state)
{
	struct limits *limits = *state;
	char got[8192] = "";
	int fd;

	limits->inbound_idle_ns = (int64_t)SHORT_MS * MS;
	data_plane_publish(&limits->plane);
	fd = raw_connect(limits->port);
	assert_true(raw_say(fd, HEAD));
	assert_true(raw_response(fd, got, sizeof(got)));
	assert_true(raw_say(fd, "GET /never HTTP/1.1\r\nHost: reviews\r\n\r\n"));
	got[0] = '\0';
	raw_rest(fd, got, sizeof(got));
	assert_non_null(strstr(got, "HTTP/1.1 504 "));
	close(fd);
}

/* Of each try: the next one follows where a retry is allowed, and nothing does where none is. */
static void test_per_try_idle_timeout(void **state)
{
	struct limits *limits = *state;

	limits->plane.retry = &limits->retry;
	limits->retry = (struct retry_config){.on = RETRY_GATEWAY_ERROR, .retries = 2, .backoff_base_ns = MS,
					      .backoff_max_ns = 2 * MS, .host_selection_attempts = 1,
					      .per_try_idle_timeout_ns = (int64_t)SHORT_MS * MS};
	limits->answer = SLOW HUNDRED HUNDRED;
	expect(limits, 0, "-", 1);
	atomic_store(&limits->silent, atomic_load(&limits->requests) + 1);
	expect(limits, 0, "-", 2);
	/* the head is there: no other try, and no end either */
	limits->answer = SLOW HUNDRED;
	expect(limits, MESH_ERROR_TIMEOUT, "UT", 1);
	/* in force without a word on retries */
	limits->retry.on = 0;
	atomic_store(&limits->silent, atomic_load(&limits->requests) + 1);
	expect(limits, MESH_ERROR_TIMEOUT, "UT", 1);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, open_limits, close_limits)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_silent_connections_end),
		CASE(test_slow_beginnings_are_served),
		CASE(test_silent_connections_go_on),
		CASE(test_late_bytes_meet_new_rules),
		CASE(test_open_plaintext_gets_one_last_answer),
		CASE(test_stream_idle_timeout),
		CASE(test_per_try_idle_timeout),
		CASE(test_handler_that_never_answers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
