/* SPDX-License-Identifier: Apache-2.0 */
/* How tries of a call wait, are limited and follow one another: connections that are short, answers that stall, pushes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <sys/socket.h>
#include <unistd.h>

#include <mesh/mesh.h>

#include "support/data_plane.h"
#include "support/failing_call.h"
#include "support/raw_peer.h"

#define EMPTY "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"

enum { MS = 1000000, WAIT_MS = 10000 };

struct scene {
	struct failing_mem mem;
	struct data_plane plane;
	struct raw_server server, second;
	struct mesh_worker *worker; /* one for all calls: they share its connections */
	atomic_uint requests;
	_Atomic(const char *) first, rest; /* answers to the first request and to those behind it; "": none */
	pthread_mutex_t publishing;        /* a server does it too */
};

static void serve(struct raw_server *server, int fd, unsigned number)
{
	struct scene *scene = (struct scene *)server->user;
	char request[4096];

	while (raw_response(fd, request, sizeof(request))) {
		const char *answer = atomic_fetch_add(&scene->requests, 1) ? scene->rest : scene->first;

		raw_say(fd, answer);
	}
}

static int open_scene(void **state)
{
	struct scene *scene = calloc(1, sizeof(*scene));

	pthread_mutex_init(&scene->publishing, NULL);
	failing_mem_init(&scene->mem, 0);
	assert_int_equal(data_plane_open(&scene->plane, 1, &scene->mem.mem), 0);
	assert_int_equal(mesh_worker_new(scene->plane.mesh, &scene->worker), 0);
	scene->plane.user = scene;
	scene->first = EMPTY;
	scene->rest = EMPTY;
	scene->server.serve = scene->second.serve = serve;
	scene->server.user = scene->second.user = scene;
	raw_server_start(&scene->server);
	scene->plane.ports[scene->plane.port_count++] = scene->server.port;
	*state = scene;
	return 0;
}

static int close_scene(void **state)
{
	struct scene *scene = *state;

	mesh_worker_free(scene->worker);
	data_plane_close(&scene->plane);
	raw_server_stop(&scene->server);
	if (scene->second.port)
		raw_server_stop(&scene->second);
	assert_int_equal(atomic_load(&scene->mem.blocks), 0);
	pthread_mutex_destroy(&scene->publishing);
	free(scene);
	return 0;
}

static void publish(struct scene *scene)
{
	pthread_mutex_lock(&scene->publishing);
	data_plane_publish(&scene->plane);
	pthread_mutex_unlock(&scene->publishing);
}

static struct mesh_call *start(struct scene *scene, bool more, uint32_t timeout_ms)
{
	struct mesh_request request = {.size = sizeof(request), .authority = mesh_slice_of("reviews:9080"),
				       .method = mesh_slice_of(more ? "PUT" : "GET"), .more_body = more,
				       .timeout_ms = timeout_ms, .worker = scene->worker};
	struct mesh_call *call;

	assert_int_equal(mesh_call_start(scene->plane.mesh, &request, NULL, NULL, &call), 0);
	return call;
}

static void expect(struct mesh_call *call, int status, int http, unsigned attempts)
{
	assert_int_equal(mesh_call_wait(call, WAIT_MS), status);
	assert_int_equal(mesh_call_http_status(call), http);
	assert_int_equal(mesh_call_result(call)->attempts, attempts);
	mesh_call_release(call);
}

static void test_refused_while_others_wait(void **state)
{
	struct scene *scene = *state;
	struct mesh_call *calls[4];
	uint16_t port;

	close(raw_listen(&port)); /* nobody listens there any more */
	scene->plane.ports[0] = port;
	scene->plane.breaker.connections = 1;
	publish(scene);
	for (int i = 0; i < 4; i++)
		calls[i] = start(scene, false, 0);
	for (int i = 0; i < 4; i++)
		expect(calls[i], MESH_ERROR_CONNECT, 0, 1);
}

static void test_waiting_calls_are_not_requests_yet(void **state)
{
	struct scene *scene = *state;
	struct mesh_call *calls[4];

	scene->plane.breaker.connections = 1;
	scene->plane.breaker.requests = 2;
	publish(scene);
	for (int i = 0; i < 4; i++)
		calls[i] = start(scene, false, 0);
	for (int i = 0; i < 4; i++)
		expect(calls[i], 0, 200, 1);
	assert_int_equal(atomic_load(&scene->server.accepted), 1);
}

/* The limit is met on a connection that is ready: whoever it was for fails, the connection serves later ones. */
static void test_requests_at_the_limit(void **state)
{
	struct scene *scene = *state;
	struct mesh_call *silent, *calls[3];

	raw_server_start(&scene->second); /* one connection after the other is served: they need one each */
	scene->first = "";
	scene->plane.breaker.requests = 1;
	publish(scene);
	silent = start(scene, false, 0);
	while (!atomic_load(&scene->requests))
		assert_int_equal(mesh_call_wait(silent, 10), MESH_ERROR_AGAIN);
	scene->plane.ports[0] = scene->second.port;
	scene->plane.breaker.connections = 1;
	publish(scene);
	for (int i = 0; i < 3; i++)
		calls[i] = start(scene, false, 0);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(mesh_call_wait(calls[i], WAIT_MS), MESH_ERROR_OVERFLOW);
		assert_string_equal(mesh_call_result(calls[i])->flag, "UO");
		mesh_call_release(calls[i]);
	}
	expect(start(scene, false, 0), MESH_ERROR_OVERFLOW, 0, 1); /* on the connection kept */
	mesh_call_cancel(silent);
	expect(silent, MESH_ERROR_CANCELLED, 0, 1);
	expect(start(scene, false, 0), 0, 200, 1);
	assert_int_equal(atomic_load(&scene->second.accepted), 1);
}

static struct retry_config retry_5xx = {.on = RETRY_5XX, .retries = 2, .backoff_base_ns = MS, .backoff_max_ns = 2 * MS};

static void test_retry_does_not_wait_for_a_body(void **state)
{
	struct scene *scene = *state;
	unsigned accepted;

	scene->plane.retry = &retry_5xx;
	publish(scene);
	scene->first = "HTTP/1.1 503 No\r\nContent-Length: 100\r\n\r\nabc";
	expect(start(scene, false, 0), 0, 200, 2);
	atomic_store(&scene->requests, 0);
	scene->first = "HTTP/1.1 503 No\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n";
	expect(start(scene, false, 0), 0, 200, 2);
	/* what came whole leaves the connection usable */
	atomic_store(&scene->requests, 0);
	scene->first = "HTTP/1.1 503 No\r\nContent-Length: 3\r\n\r\nabc";
	accepted = atomic_load(&scene->server.accepted);
	expect(start(scene, false, 0), 0, 200, 2);
	assert_int_equal(atomic_load(&scene->server.accepted), accepted);
}

static void test_route_timeout_begins_after_the_request(void **state)
{
	static struct retry_config per_try = {.on = RETRY_5XX, .per_try_timeout_ns = 50 * MS};
	struct scene *scene = *state;
	struct mesh_call *call;

	scene->first = "";
	scene->rest = "";
	for (int i = 0; i < 2; i++) { /* the route's for all tries, then the one of each */
		scene->plane.timeout_ns = i ? 0 : 50 * MS;
		scene->plane.retry = i ? &per_try : NULL;
		publish(scene);
		call = start(scene, true, 0);
		assert_int_equal(mesh_call_send(call, mesh_slice_of("x"), false), 0);
		assert_int_equal(mesh_call_wait(call, 200), MESH_ERROR_AGAIN);
		assert_int_equal(mesh_call_send(call, mesh_slice_of("y"), true), 0);
		assert_int_equal(mesh_call_wait(call, WAIT_MS), MESH_ERROR_TIMEOUT);
		/* as in Envoy: the policy would have it tried again, and has no more tries */
		assert_string_equal(mesh_call_result(call)->flag, i ? "UT,URX" : "UT");
		mesh_call_release(call);
	}
	/* the application's own is for all of it */
	call = start(scene, true, 50);
	assert_int_equal(mesh_call_wait(call, WAIT_MS), MESH_ERROR_TIMEOUT);
	mesh_call_release(call);
}

static void no_idle_timeout(struct data_plane *plane, struct route_config *routes, bool inbound)
{
	routes->hosts[0].routes[0].idle_timeout_ns = 0;
}

/* Whatever there is no memory for, a call that nobody answers comes to its end. */
static void test_no_memory_for_a_time_limit(void **state)
{
	struct mesh_request request = {.size = sizeof(request), .authority = mesh_slice_of("reviews:9080")};
	struct scene *scene = *state;
	size_t n = 0;
	bool failed;
	int rc;

	scene->first = "";
	scene->rest = "";
	scene->plane.timeout_ns = 50 * MS;
	scene->plane.edit_routes = no_idle_timeout;
	publish(scene);
	do {
		failed = failing_call(scene->plane.mesh, &scene->mem, ++n, &request, NULL, &rc);
		assert_true(rc == MESH_ERROR_TIMEOUT || rc == MESH_ERROR_NOMEM);
	} while (failed);
}

/* Resets each connection, after the configuration was published anew. */
static void push_and_reset(struct raw_server *server, int fd, unsigned number)
{
	struct scene *scene = (struct scene *)server->user;
	char request[4096];

	if (!raw_response(fd, request, sizeof(request)))
		return;
	publish(scene);
	raw_reset(fd);
}

static void test_tried_endpoints_survive_a_push(void **state)
{
	static struct retry_config retry = {.on = RETRY_RESET, .retries = 1, .previous_hosts = true, .host_selection_attempts = 30,
					    .backoff_base_ns = MS, .backoff_max_ns = 2 * MS};
	struct scene *scene = *state;

	raw_server_start(&scene->second);
	scene->server.serve = push_and_reset;
	scene->plane.ports[scene->plane.port_count++] = scene->second.port;
	scene->plane.retry = &retry;
	publish(scene);
	for (int i = 0; i < 30; i++) {
		struct mesh_call *call = start(scene, false, 0);

		assert_int_equal(mesh_call_wait(call, WAIT_MS), 0);
		mesh_call_release(call);
	}
	assert_true(atomic_load(&scene->server.accepted) > 0);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, open_scene, close_scene)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_refused_while_others_wait),
		CASE(test_waiting_calls_are_not_requests_yet),
		CASE(test_requests_at_the_limit),
		CASE(test_retry_does_not_wait_for_a_body),
		CASE(test_route_timeout_begins_after_the_request),
		CASE(test_no_memory_for_a_time_limit),
		CASE(test_tried_endpoints_survive_a_push),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
