/* SPDX-License-Identifier: Apache-2.0 */
/* Faults injected into a client's calls: what the application gets, what the peer sees, and which times run meanwhile. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <string.h>

#include <mesh/mesh.h>

#include "call/worker.h"
#include "support/data_plane.h"
#include "support/failing_call.h"
#include "support/grpc_fixture.h"
#include "support/raw_peer.h"

enum { MS = 1000000, WAIT_MS = 10000 };

struct scene {
	struct failing_mem mem;
	struct data_plane plane;
	struct raw_server server;
	struct mesh_worker *worker;
	atomic_uint requests;
	_Atomic(const char *) answer;
	char request[4096]; /* the last one */
};

static const struct fraction all = {100, 100};
static struct fault_config fault;
static int64_t idle_ns; /* of the route */
static struct header_match jason = {
	.name = {"x-user", 6}, .kind = HEADER_MATCH_STRING, .string = {.text = {"jason", 5}}};

static void serve(struct raw_server *server, int fd, unsigned number)
{
	struct scene *scene = (struct scene *)server->user;

	while (raw_response(fd, scene->request, sizeof(scene->request))) {
		atomic_fetch_add(&scene->requests, 1);
		raw_say(fd, scene->answer);
	}
}

/* One request in chunks. */
static void serve_body(struct raw_server *server, int fd, unsigned number)
{
	struct scene *scene = (struct scene *)server->user;
	char rest[100];

	scene->request[0] = '\0';
	if (!raw_until(fd, scene->request, sizeof(scene->request), "\r\n0\r\n\r\n"))
		return;
	atomic_fetch_add(&scene->requests, 1);
	raw_say(fd, scene->answer);
	raw_rest(fd, rest, sizeof(rest));
}

static void edit_chain(struct data_plane *plane, struct chain *chain, struct arena *arena, bool inbound)
{
	if (inbound)
		return;
	chain->http->filters = mesh_arena_array(arena, 2, sizeof(*chain->http->filters));
	chain->http->filter_count = 2;
	chain->http->filters[0].kind = HTTP_FILTER_FAULT;
	chain->http->filters[0].name = mesh_slice_of("fault");
	chain->http->filters[1].kind = HTTP_FILTER_ROUTER;
}

static void edit_routes(struct data_plane *plane, struct route_config *routes, bool inbound)
{
	if (inbound)
		return;
	routes->hosts[0].routes[0].idle_timeout_ns = idle_ns;
	routes->hosts[0].routes[0].fault = &fault;
	routes->hosts[0].routes[0].fault_filter = mesh_slice_of("fault");
}

static void use_fault(struct data_plane *plane)
{
	plane->edit_chain = edit_chain;
	plane->edit_routes = edit_routes;
}

static int open_scene(void **state)
{
	struct scene *scene = calloc(1, sizeof(*scene));

	failing_mem_init(&scene->mem, 0);
	assert_int_equal(data_plane_open(&scene->plane, 1, &scene->mem.mem), 0);
	assert_int_equal(mesh_worker_new(scene->plane.mesh, &scene->worker), 0);
	scene->answer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
	scene->server.serve = serve;
	scene->server.user = scene;
	raw_server_start(&scene->server);
	scene->plane.ports[scene->plane.port_count++] = scene->server.port;
	use_fault(&scene->plane);
	fault = (struct fault_config){.delay_share = all, .abort_share = all};
	idle_ns = 0;
	*state = scene;
	return 0;
}

static int close_scene(void **state)
{
	struct scene *scene = *state;

	assert_int_equal(atomic_load(&scene->plane.mesh->faults), 0);
	mesh_worker_free(scene->worker);
	data_plane_close(&scene->plane);
	raw_server_stop(&scene->server);
	assert_int_equal(atomic_load(&scene->mem.blocks), 0);
	free(scene);
	return 0;
}

static struct mesh_call *start_with(struct scene *scene, const struct mesh_header *headers, size_t count, bool more,
				    uint32_t timeout_ms)
{
	struct mesh_request request = {.size = sizeof(request),
				       .authority = mesh_slice_of("reviews:9080"),
				       .headers = headers,
				       .method = mesh_slice_of(more ? "PUT" : "GET"),
				       .header_count = count,
				       .more_body = more,
				       .timeout_ms = timeout_ms,
				       .worker = scene->worker};
	struct mesh_call *call;

	assert_int_equal(mesh_call_start(scene->plane.mesh, &request, NULL, NULL, &call), 0);
	return call;
}

static struct mesh_call *start(struct scene *scene)
{
	return start_with(scene, NULL, 0, false, 0);
}

static void expect(struct mesh_call *call, int status, const char *flag, int local_status)
{
	assert_int_equal(mesh_call_wait(call, WAIT_MS), status);
	assert_string_equal(mesh_call_result(call)->flag, flag);
	assert_int_equal(mesh_call_result(call)->local_status, local_status);
	mesh_call_release(call);
}

static void test_abort(void **state)
{
	struct scene *scene = *state;
	struct mesh_call *call;

	fault.abort = FAULT_ABORT_HTTP;
	fault.abort_status = 418;
	data_plane_publish(&scene->plane);
	call = start(scene);
	assert_int_equal(mesh_call_wait(call, WAIT_MS), MESH_ERROR_FAULT_ABORT);
	assert_true(mesh_slice_equal(mesh_call_result(call)->why, mesh_slice_of("fault filter abort")));
	assert_int_equal(mesh_call_result(call)->attempts, 0);
	expect(call, MESH_ERROR_FAULT_ABORT, "FI", 418);
	fault.abort = FAULT_ABORT_GRPC; /* who is no gRPC client has no word for it */
	data_plane_publish(&scene->plane);
	expect(start(scene), MESH_ERROR_FAULT_ABORT, "FI", 200);
	assert_int_equal(atomic_load(&scene->requests), 0);
}

static void test_only_for_some(void **state)
{
	struct mesh_header header = {mesh_slice_of("X-User"), mesh_slice_of("jason")};
	struct scene *scene = *state;

	fault.abort = FAULT_ABORT_HTTP;
	fault.abort_status = 500;
	fault.headers = &jason;
	fault.header_count = 1;
	fault.upstream_cluster = mesh_slice_of("outbound|9080||reviews");
	data_plane_publish(&scene->plane);
	expect(start(scene), 0, "-", 0);
	expect(start_with(scene, &header, 1, false, 0), MESH_ERROR_FAULT_ABORT, "FI", 500);
	fault.upstream_cluster = mesh_slice_of("another");
	data_plane_publish(&scene->plane);
	expect(start_with(scene, &header, 1, false, 0), 0, "-", 0);
}

static void test_delay(void **state)
{
	struct scene *scene = *state;
	struct mesh_call *call;

	scene->server.serve = serve_body;
	fault.delay_ns = 150 * MS;
	scene->plane.timeout_ns = 100 * MS; /* is for what goes to the peer */
	data_plane_publish(&scene->plane);
	call = start_with(scene, NULL, 0, true, 0);
	assert_int_equal(mesh_call_send(call, mesh_slice_of("body"), true), 0);
	assert_int_equal(mesh_call_wait(call, 50), MESH_ERROR_AGAIN);
	assert_int_equal(atomic_load(&scene->requests), 0);
	assert_int_equal(atomic_load(&scene->plane.mesh->faults), 1);
	assert_int_equal(mesh_call_wait(call, WAIT_MS), 0);
	assert_true(mesh_call_result(call)->duration_us >= 150000);
	assert_int_equal(mesh_call_http_status(call), 200);
	expect(call, 0, "DI", 0);
	assert_int_equal(atomic_load(&scene->requests), 1);
	assert_non_null(strstr(scene->request, "\r\nbody\r\n")); /* what was sent meanwhile */
	scene->answer = "";                                      /* the timeout is in force behind it */
	call = start_with(scene, NULL, 0, true, 0);
	assert_int_equal(mesh_call_send(call, mesh_slice_of("body"), true), 0);
	expect(call, MESH_ERROR_TIMEOUT, "DI,UT", 504);
}

static void test_delay_then_abort(void **state)
{
	struct scene *scene = *state;
	struct mesh_call *call;

	fault.delay_ns = 100 * MS;
	fault.abort = FAULT_ABORT_HTTP;
	fault.abort_status = 503;
	data_plane_publish(&scene->plane);
	call = start(scene);
	assert_int_equal(mesh_call_wait(call, WAIT_MS), MESH_ERROR_FAULT_ABORT);
	assert_true(mesh_call_result(call)->duration_us >= 100000);
	expect(call, MESH_ERROR_FAULT_ABORT, "DI,FI", 503);
	assert_int_equal(atomic_load(&scene->requests), 0);
}

/* The application's patience and the route's idle timeout do not wait for the fault. */
static void test_delay_is_within_the_call(void **state)
{
	struct scene *scene = *state;
	struct mesh_call *call;

	fault.delay_ns = 60000ull * MS;
	data_plane_publish(&scene->plane);
	expect(start_with(scene, NULL, 0, false, 50), MESH_ERROR_TIMEOUT, "DI,UT", 504);
	call = start(scene);
	assert_int_equal(mesh_call_wait(call, 20), MESH_ERROR_AGAIN);
	data_plane_publish(&scene->plane); /* it keeps what it began with */
	mesh_call_cancel(call);
	expect(call, MESH_ERROR_CANCELLED, "DI,DC", 0);
	idle_ns = 50 * MS;
	data_plane_publish(&scene->plane);
	expect(start(scene), MESH_ERROR_IDLE_TIMEOUT, "DI,SI", 504);
	assert_int_equal(atomic_load(&scene->plane.mesh->faults), 0);
	assert_int_equal(atomic_load(&scene->requests), 0);
}

static void test_most_at_one_time(void **state)
{
	struct scene *scene = *state;
	struct mesh_call *calls[2];

	fault.delay_ns = 60000ull * MS;
	fault.has_active_max = true;
	fault.active_max = 2;
	data_plane_publish(&scene->plane);
	for (int i = 0; i < 2; i++)
		calls[i] = start(scene);
	expect(start(scene), 0, "-", 0);
	for (int i = 0; i < 2; i++) {
		mesh_call_cancel(calls[i]);
		expect(calls[i], MESH_ERROR_CANCELLED, "DI,DC", 0);
	}
}

static void test_share(void **state)
{
	struct scene *scene = *state;
	int aborted = 0, again = 0;

	fault.abort = FAULT_ABORT_HTTP;
	fault.abort_status = 503;
	fault.abort_share = (struct fraction){300000, 1000000};
	data_plane_publish(&scene->plane);
	for (int round = 0; round < 2; round++) {
		mesh_rand_seed(&scene->worker->env.rand, 42);
		for (int i = 0; i < 200; i++) {
			struct mesh_call *call = start(scene);

			*(round ? &again : &aborted) += mesh_call_wait(call, WAIT_MS) == MESH_ERROR_FAULT_ABORT;
			mesh_call_release(call);
		}
	}
	assert_in_range(aborted, 40, 80);
	assert_in_range(again, 40, 80);
	assert_int_equal(atomic_load(&scene->requests), 400 - aborted - again);
}

static void test_headers_ask(void **state)
{
	struct mesh_header headers[] = {{mesh_slice_of("x-envoy-fault-abort-request"), mesh_slice_of("429")},
					{mesh_slice_of("x-envoy-fault-delay-request"), mesh_slice_of("30")}};
	struct scene *scene = *state;

	fault.abort = FAULT_ABORT_HEADER;
	fault.delay_header = true;
	data_plane_publish(&scene->plane);
	expect(start(scene), 0, "-", 0);
	expect(start_with(scene, headers, 1, false, 0), MESH_ERROR_FAULT_ABORT, "FI", 429);
	expect(start_with(scene, headers, 2, false, 0), MESH_ERROR_FAULT_ABORT, "DI,FI", 429);
	expect(start_with(scene, headers + 1, 1, false, 0), 0, "DI", 0);
}

static void test_no_memory(void **state)
{
	struct mesh_request request = {.size = sizeof(request), .authority = mesh_slice_of("reviews:9080")};
	struct scene *scene = *state;
	size_t n = 0;
	bool failed;
	int rc;

	fault.delay_ns = 1 * MS;
	fault.abort = FAULT_ABORT_HTTP;
	fault.abort_status = 503;
	data_plane_publish(&scene->plane);
	do {
		failed = failing_call(scene->plane.mesh, &scene->mem, ++n, &request, NULL, &rc);
		assert_true(rc == MESH_ERROR_FAULT_ABORT || rc == MESH_ERROR_NOMEM);
	} while (failed);
}

static void expect_code(int code)
{
	struct mesh_grpc_request request = grpc_request_to("UnaryCall");
	struct mesh_grpc_call *call = grpc_unary_with(&request, 10, 0);

	grpc_assert_code(call, code);
	mesh_grpc_release(call);
}

/* A gRPC client is told in its own words, whichever kind of status is configured. */
static void test_grpc(void **state)
{
	struct data_plane *plane = &grpc_now->plane;

	fault = (struct fault_config){
		.delay_share = all, .abort_share = all, .abort = FAULT_ABORT_GRPC, .abort_status = 9};
	use_fault(plane);
	data_plane_publish(plane);
	expect_code(MESH_GRPC_FAILED_PRECONDITION);
	fault.abort = FAULT_ABORT_HTTP;
	fault.abort_status = 403;
	data_plane_publish(plane);
	expect_code(MESH_GRPC_PERMISSION_DENIED);
	fault.delay_ns = 20 * MS;
	fault.abort = FAULT_ABORT_GRPC;
	data_plane_publish(plane);
	fault.abort_status = 8;
	expect_code(MESH_GRPC_RESOURCE_EXHAUSTED);
	fault.abort = FAULT_ABORT_NONE;
	data_plane_publish(plane);
	expect_code(MESH_GRPC_OK);
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, open_scene, close_scene)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_abort),
		CASE(test_only_for_some),
		CASE(test_delay),
		CASE(test_delay_then_abort),
		CASE(test_delay_is_within_the_call),
		CASE(test_most_at_one_time),
		CASE(test_share),
		CASE(test_headers_ask),
		CASE(test_no_memory),
		cmocka_unit_test_setup_teardown(test_grpc, grpc_fixture_setup, grpc_fixture_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
