/* SPDX-License-Identifier: Apache-2.0 */
/* Calls over real sockets between the client and the server path of one process, without a control plane. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include <mesh/mesh.h>

#include "net/socket.h"
#include "support/data_plane.h"

static struct mesh_slice text(const char *s)
{
	return mesh_slice_of(s);
}

/* Answers with the method, path and body length; /chunked in two pieces with a trailer; /fail with 503. */
static void handler(struct mesh_call *call, void *user)
{
	struct mesh_slice path = mesh_call_path(call);
	char answer[256];

	if (user)
		(*(int *)user)++;
	if (mesh_slice_equal(path, text("/chunked"))) {
		struct mesh_header trailer = {text("x-end"), text("yes")};

		assert_int_equal(mesh_call_respond(call, 200, NULL, 0, text("one,"), false), 0);
		assert_int_equal(mesh_call_send(call, text("two"), false), 0);
		assert_int_equal(mesh_call_send_trailers(call, &trailer, 1), 0);
		return;
	}
	snprintf(answer, sizeof(answer), "%.*s %.*s %zu %.*s", (int)mesh_call_method(call).len, mesh_call_method(call).data,
		 (int)path.len, path.data, mesh_call_body(call).len, (int)mesh_call_header(call, "x-envoy-attempt-count").len,
		 mesh_call_header(call, "x-envoy-attempt-count").data);
	mesh_call_respond(call, mesh_slice_equal(path, text("/fail")) ? 503 : 200, NULL, 0, text(answer), true);
}

static struct mesh_listener *listen_on(struct data_plane *plane, int *calls)
{
	struct mesh_listen_options options = {.size = sizeof(options), .handler = handler, .user = calls,
					      .request_bytes_max = 1 << 24, .address = "127.0.0.1"};
	struct mesh_listener *listener;

	assert_int_equal(mesh_listen(plane->mesh, &options, &listener), 0);
	plane->ports[plane->port_count++] = mesh_listener_port(listener);
	return listener;
}

static int open_plane(void **state)
{
	struct data_plane *plane = calloc(1, sizeof(*plane));

	assert_int_equal(data_plane_open(plane, 1, NULL), 0);
	*state = plane;
	return 0;
}

static int close_plane(void **state)
{
	data_plane_close(*state);
	free(*state);
	return 0;
}

static struct mesh_call *call_path(struct data_plane *plane, const char *path, struct mesh_slice body)
{
	struct mesh_request request = {.size = sizeof(request), .authority = text("reviews:9080"), .path = text(path),
				       .body = body, .method = text(body.len ? "POST" : "GET")};
	struct mesh_call *call;

	assert_int_equal(mesh_call_start(plane->mesh, &request, NULL, NULL, &call), 0);
	mesh_call_wait(call, 10000);
	return call;
}

static void assert_body(struct mesh_call *call, const char *expected)
{
	struct mesh_slice body = mesh_call_body(call);

	assert_int_equal(mesh_call_result(call)->status, 0);
	assert_int_equal(body.len, strlen(expected));
	assert_memory_equal(body.data, expected, body.len);
}

static void test_blocking_call(void **state)
{
	struct data_plane *plane = *state;
	struct mesh_call *call;

	listen_on(plane, NULL);
	data_plane_publish(plane);
	for (int i = 0; i < 3; i++) {
		call = call_path(plane, "/a?b=c", (struct mesh_slice){NULL, 0});
		assert_body(call, "GET /a?b=c 0 1");
		assert_int_equal(mesh_call_http_status(call), 200);
		assert_int_equal(mesh_call_header(call, "server").len, 11);
		assert_true(mesh_call_header(call, "date").len == 29);
		assert_int_equal(mesh_call_result(call)->attempts, 1);
		assert_true(i == 0 || mesh_call_result(call)->connect_us == 0);
		mesh_call_release(call);
	}
}

static void test_bodies_of_all_sizes(void **state)
{
	static const size_t sizes[] = {1, 100, 16383, 16384, 65536, 65537, 1000000, 10000000};
	struct data_plane *plane = *state;
	char *body = malloc(10000000);

	memset(body, 'x', 10000000);
	listen_on(plane, NULL);
	data_plane_publish(plane);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		char expected[64];
		struct mesh_call *call = call_path(plane, "/", (struct mesh_slice){body, sizes[i]});

		snprintf(expected, sizeof(expected), "POST / %zu 1", sizes[i]);
		assert_body(call, expected);
		mesh_call_release(call);
	}
	free(body);
}

static void test_chunked_with_trailer(void **state)
{
	struct data_plane *plane = *state;
	struct mesh_call *call;

	listen_on(plane, NULL);
	data_plane_publish(plane);
	call = call_path(plane, "/chunked", (struct mesh_slice){NULL, 0});
	assert_body(call, "one,two");
	assert_int_equal(mesh_call_trailer(call, "x-end").len, 3);
	mesh_call_release(call);
}

static void test_streamed_request(void **state)
{
	struct data_plane *plane = *state;
	struct mesh_request request = {.size = sizeof(request), .authority = text("reviews:9080"), .method = text("PUT"),
				       .more_body = true};
	struct mesh_call *call;
	char piece[10000];
	int rc;

	memset(piece, 'y', sizeof(piece));
	listen_on(plane, NULL);
	data_plane_publish(plane);
	assert_int_equal(mesh_call_start(plane->mesh, &request, NULL, NULL, &call), 0);
	for (int i = 0; i < 200; i++) {
		while ((rc = mesh_call_send(call, (struct mesh_slice){piece, sizeof(piece)}, i == 199)) == MESH_ERROR_AGAIN)
			assert_int_equal(mesh_call_wait_writable(call, 10000), 0);
		assert_int_equal(rc, 0);
	}
	assert_int_equal(mesh_call_wait(call, 10000), 0);
	assert_body(call, "PUT / 2000000 1");
	mesh_call_release(call);
}

static void test_not_ready_and_no_route(void **state)
{
	struct data_plane *plane = *state;
	struct mesh_request request = {.size = sizeof(request), .authority = text("other:9080")};
	struct mesh_call *call = call_path(plane, "/", (struct mesh_slice){NULL, 0});

	assert_int_equal(mesh_call_result(call)->status, MESH_ERROR_NOT_READY);
	mesh_call_release(call);
	data_plane_publish(plane);
	assert_int_equal(mesh_call_start(plane->mesh, &request, NULL, NULL, &call), 0);
	assert_null(mesh_call_result(call) && false ? "" : NULL);
	assert_int_equal(mesh_call_wait(call, 1000), MESH_ERROR_NO_ROUTE);
	assert_string_equal(mesh_call_result(call)->flag, "NR");
	assert_int_equal(mesh_call_result(call)->local_status, 404);
	mesh_call_release(call);
	call = call_path(plane, "/", (struct mesh_slice){NULL, 0});
	assert_int_equal(mesh_call_result(call)->status, MESH_ERROR_NO_ENDPOINT);
	mesh_call_release(call);
}

static uint16_t dead_port(void)
{
	struct address at;
	int fd;

	mesh_address_parse(&at, text("127.0.0.1"), 0);
	assert_int_equal(mesh_socket_listen(&at, 1, false, &fd, NULL), 0);
	mesh_socket_local(fd, &at);
	close(fd);
	return mesh_address_port(&at);
}

static void test_retry_on_dead_endpoint(void **state)
{
	static struct retry_config retry = {.on = RETRY_CONNECT_FAILURE, .retries = 2, .previous_hosts = true,
					    .host_selection_attempts = 5, .backoff_base_ns = 1000000, .backoff_max_ns = 10000000};
	struct data_plane *plane = *state;
	unsigned retried = 0;

	plane->retry = &retry;
	plane->ports[plane->port_count++] = dead_port();
	listen_on(plane, NULL);
	data_plane_publish(plane);
	for (int i = 0; i < 10; i++) {
		struct mesh_call *call = call_path(plane, "/", (struct mesh_slice){NULL, 0});

		assert_int_equal(mesh_call_result(call)->status, 0);
		retried += mesh_call_result(call)->attempts == 2;
		mesh_call_release(call);
	}
	assert_true(retried > 0);
	plane->retry = NULL;
	plane->port_count = 1;
	data_plane_publish(plane);
	struct mesh_call *call = call_path(plane, "/", (struct mesh_slice){NULL, 0});

	assert_int_equal(mesh_call_result(call)->status, MESH_ERROR_CONNECT);
	assert_string_equal(mesh_call_result(call)->flag, "UF");
	assert_true(mesh_call_result(call)->why.len > 0);
	mesh_call_release(call);
}

static void test_retry_on_status(void **state)
{
	static struct retry_config retry = {.on = RETRY_5XX, .retries = 2, .backoff_base_ns = 1000000, .backoff_max_ns = 2000000};
	struct data_plane *plane = *state;
	int calls = 0;
	struct mesh_call *call;

	plane->retry = &retry;
	listen_on(plane, &calls);
	data_plane_publish(plane);
	call = call_path(plane, "/fail", text("abc"));
	assert_body(call, "POST /fail 3 3");
	assert_int_equal(mesh_call_http_status(call), 503);
	assert_string_equal(mesh_call_result(call)->flag, "URX");
	assert_int_equal(mesh_call_result(call)->attempts, 3);
	assert_int_equal(calls, 3);
	mesh_call_release(call);
}

static void on_done(struct mesh_call *call, void *user)
{
	atomic_fetch_add((atomic_int *)user, 1);
}

static void test_library_worker(void **state)
{
	struct data_plane *plane = *state;
	struct mesh_request request = {.size = sizeof(request), .authority = text("reviews:9080")};
	struct mesh_call_events events = {.size = sizeof(events), .done = on_done};
	struct mesh_call *calls[50];
	atomic_int done = 0;

	listen_on(plane, NULL);
	data_plane_publish(plane);
	assert_int_equal(mesh_worker_library(plane->mesh, &request.worker), 0);
	for (int i = 0; i < 50; i++)
		assert_int_equal(mesh_call_start(plane->mesh, &request, &events, &done, &calls[i]), 0);
	for (int i = 0; i < 50; i++) {
		assert_int_equal(mesh_call_wait(calls[i], 10000), 0);
		assert_body(calls[i], "GET / 0 1");
		mesh_call_release(calls[i]);
	}
	assert_int_equal(atomic_load(&done), 50);
}

static void test_own_loop(void **state)
{
	struct data_plane *plane = *state;
	struct mesh_request request = {.size = sizeof(request), .authority = text("reviews:9080")};
	struct mesh_call_events events = {.size = sizeof(events), .done = on_done};
	struct mesh_call *calls[20];
	struct mesh_worker *worker;
	atomic_int done = 0;

	listen_on(plane, NULL);
	data_plane_publish(plane);
	assert_int_equal(mesh_worker_new(plane->mesh, &worker), 0);
	request.worker = worker;
	for (int i = 0; i < 20; i++)
		assert_int_equal(mesh_call_start(plane->mesh, &request, &events, &done, &calls[i]), 0);
	while (atomic_load(&done) < 20) {
		struct pollfd io = {.fd = mesh_worker_fd(worker), .events = POLLIN};

		assert_true(poll(&io, 1, 10000) == 1);
		assert_true(mesh_worker_run(worker, 0) >= 0);
	}
	for (int i = 0; i < 20; i++) {
		assert_body(calls[i], "GET / 0 1");
		mesh_call_release(calls[i]);
	}
	mesh_worker_free(worker);
}

static void test_timeout_and_cancel(void **state)
{
	struct data_plane *plane = *state;
	struct mesh_request request = {.size = sizeof(request), .authority = text("reviews:9080"), .timeout_ms = 50};
	struct address at;
	struct mesh_call *call;
	int fd;

	mesh_address_parse(&at, text("127.0.0.1"), 0);
	assert_int_equal(mesh_socket_listen(&at, 8, false, &fd, NULL), 0); /* accepts, never answers */
	mesh_socket_local(fd, &at);
	plane->ports[plane->port_count++] = mesh_address_port(&at);
	data_plane_publish(plane);
	assert_int_equal(mesh_call_start(plane->mesh, &request, NULL, NULL, &call), 0);
	assert_int_equal(mesh_call_wait(call, 5000), MESH_ERROR_TIMEOUT);
	assert_int_equal(mesh_call_result(call)->local_status, 504);
	mesh_call_release(call);
	request.timeout_ms = 0;
	assert_int_equal(mesh_call_start(plane->mesh, &request, NULL, NULL, &call), 0);
	assert_int_equal(mesh_call_wait(call, 20), MESH_ERROR_AGAIN);
	mesh_call_cancel(call);
	assert_int_equal(mesh_call_wait(call, 1000), MESH_ERROR_CANCELLED);
	mesh_call_release(call);
	assert_int_equal(mesh_call_start(plane->mesh, &request, NULL, NULL, &call), 0);
	mesh_call_release(call); /* gives it up */
	close(fd);
}

static void test_connection_closed_while_idle(void **state)
{
	struct data_plane *plane = *state;
	struct mesh_listener *listener;

	listener = listen_on(plane, NULL);
	data_plane_publish(plane);
	mesh_call_release(call_path(plane, "/", (struct mesh_slice){NULL, 0}));
	mesh_listener_close(listener);
	plane->port_count = 0;
	listen_on(plane, NULL);
	data_plane_publish(plane);
	for (int i = 0; i < 5; i++) {
		struct mesh_call *call = call_path(plane, "/", text("x"));

		assert_body(call, "POST / 1 1");
		mesh_call_release(call);
	}
}

static void test_circuit_breakers(void **state)
{
	struct data_plane *plane = *state;
	struct mesh_request request = {.size = sizeof(request), .authority = text("reviews:9080"), .timeout_ms = 300};
	struct mesh_call *first, *second;
	struct address at;
	int fd;

	mesh_address_parse(&at, text("127.0.0.1"), 0);
	assert_int_equal(mesh_socket_listen(&at, 8, false, &fd, NULL), 0);
	mesh_socket_local(fd, &at);
	plane->ports[plane->port_count++] = mesh_address_port(&at);
	plane->breaker.requests = 1;
	data_plane_publish(plane);
	assert_int_equal(mesh_call_start(plane->mesh, &request, NULL, NULL, &first), 0);
	assert_int_equal(mesh_call_start(plane->mesh, &request, NULL, NULL, &second), 0);
	assert_int_equal(mesh_call_wait(second, 1000), MESH_ERROR_OVERFLOW);
	assert_string_equal(mesh_call_result(second)->flag, "UO");
	assert_int_equal(mesh_call_wait(first, 1000), MESH_ERROR_TIMEOUT);
	mesh_call_release(first);
	mesh_call_release(second);
	close(fd);
}

struct caller {
	struct data_plane *plane;
	atomic_int failed;
	atomic_bool stop;
};

static void *call_in_a_loop(void *argument)
{
	struct caller *caller = argument;

	while (!atomic_load(&caller->stop)) {
		struct mesh_call *call = call_path(caller->plane, "/", (struct mesh_slice){NULL, 0});

		if (mesh_call_result(call)->status)
			atomic_fetch_add(&caller->failed, 1);
		mesh_call_release(call);
	}
	return NULL;
}

static void test_endpoints_change_under_load(void **state)
{
	struct data_plane *plane = *state;
	struct caller caller = {.plane = plane};
	pthread_t threads[4];
	uint16_t ports[2];

	listen_on(plane, NULL);
	listen_on(plane, NULL);
	memcpy(ports, plane->ports, sizeof(ports));
	data_plane_publish(plane);
	for (int i = 0; i < 4; i++)
		pthread_create(&threads[i], NULL, call_in_a_loop, &caller);
	for (int i = 0; i < 100; i++) {
		plane->port_count = 1 + i % 2;
		plane->ports[0] = ports[i / 2 % 2];
		plane->ports[1] = ports[1 - i / 2 % 2];
		data_plane_publish(plane);
		usleep(2000);
	}
	atomic_store(&caller.stop, true);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(atomic_load(&caller.failed), 0);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, open_plane, close_plane)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_blocking_call),
		CASE(test_bodies_of_all_sizes),
		CASE(test_chunked_with_trailer),
		CASE(test_streamed_request),
		CASE(test_not_ready_and_no_route),
		CASE(test_retry_on_dead_endpoint),
		CASE(test_retry_on_status),
		CASE(test_library_worker),
		CASE(test_own_loop),
		CASE(test_timeout_and_cancel),
		CASE(test_connection_closed_while_idle),
		CASE(test_circuit_breakers),
		CASE(test_endpoints_change_under_load),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
