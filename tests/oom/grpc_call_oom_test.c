/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gRPC calls between two meshes of one process, one of them short of memory: does every allocation that fails end the call
 * with a code, and nothing leak? With borrowed workers all runs on this thread, so that the n-th allocation is the same one
 * each time.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <stdio.h>

#include <mesh/grpc.h>
#include <mesh/mesh.h>

#include "grpc/testing/test.pb-c.h"
#include "support/data_plane.h"
#include "support/failing_mem.h"

#define SERVICE (&grpc__testing__test_service__descriptor)

struct world {
	bool server; /* which side is short */
	bool on;     /* all behind the first that fails, too */
	size_t from; /* the allocation to fail, counted from when both are up; 0: none */
	size_t asked, failed;
	unsigned good, bad;
	struct mesh_worker *caller, *callee;
};

static uint8_t body[3000];

static void unary(Grpc__Testing__TestService_Service *service, const Grpc__Testing__SimpleRequest *request,
		  Grpc__Testing__SimpleResponse_Closure closure, void *closure_data)
{
	Grpc__Testing__SimpleResponse response = GRPC__TESTING__SIMPLE_RESPONSE__INIT;
	struct mesh_header back = {{"x-back-bin", 10}, {"\1\2\3", 3}};

	mesh_grpc_send_metadata(closure_data, &back, 1);
	response.payload = request->payload;
	closure(&response, closure_data);
}

static void echo_message(struct mesh_grpc_call *call, const struct ProtobufCMessage *message, struct mesh_slice bytes,
			 void *user)
{
	Grpc__Testing__StreamingOutputCallResponse response = GRPC__TESTING__STREAMING_OUTPUT_CALL_RESPONSE__INIT;
	struct mesh_grpc_result failed = {.size = sizeof(failed), .code = MESH_GRPC_RESOURCE_EXHAUSTED};

	response.payload = ((const Grpc__Testing__StreamingOutputCallRequest *)message)->payload;
	if (mesh_grpc_send(call, &response.base) && mesh_grpc_finish(call, &failed) == MESH_ERROR_NOMEM)
		mesh_grpc_cancel(call);
}

static void echo_end(struct mesh_grpc_call *call, void *user)
{
	struct mesh_header trailing = {{"x-end-bin", 9}, {"\0", 1}};
	struct mesh_grpc_result result = {.size = sizeof(result),
					  .message = {"a \xc3\xa4", 4},
					  .details = {"d", 1},
					  .metadata = &trailing,
					  .metadata_count = 1};

	if (mesh_grpc_finish(call, &result) == MESH_ERROR_NOMEM)
		mesh_grpc_cancel(call);
}

static void echo(struct mesh_grpc_call *call, void *user)
{
	static const struct mesh_grpc_events events = {
		.size = sizeof(events), .message = echo_message, .end = echo_end};

	mesh_grpc_on(call, &events, NULL);
}

static void speak_http2(struct data_plane *plane, struct cluster_config *cluster)
{
	cluster->protocol = UPSTREAM_HTTP2;
}

/* Drives both sides until it is over; one that memory failed in must end, not hang. */
static void finish(struct world *world, struct mesh_grpc_call *call)
{
	for (int i = 0; i < 4000 && !mesh_grpc_result(call); i++) {
		mesh_worker_run(world->caller, 0);
		mesh_worker_run(world->callee, mesh_grpc_result(call) ? 0 : 1);
	}
	if (!mesh_grpc_result(call)) {
		fprintf(stderr, "allocation %zu%s: the call hangs\n", world->from, world->on ? " and on" : "");
		fail();
	}
	if (mesh_grpc_result(call)->code == MESH_GRPC_OK)
		world->good++;
	else
		world->bad++;
	mesh_grpc_metadata(call, "x-back-bin");
	mesh_grpc_release(call);
}

static struct mesh_grpc_request request_to(struct world *world, const char *method)
{
	static const struct mesh_header metadata = {{"x-in-bin", 8}, {"\xff", 1}};

	return (struct mesh_grpc_request){.size = sizeof(struct mesh_grpc_request),
					  .authority = {"reviews:9080", 12},
					  .service = SERVICE,
					  .method = method,
					  .deadline_ms = 20000,
					  .encoding = MESH_GRPC_GZIP,
					  .metadata = &metadata,
					  .metadata_count = 1,
					  .worker = world->caller};
}

static void unary_call(struct world *world, struct mesh *mesh)
{
	struct mesh_grpc_request request = request_to(world, "UnaryCall");
	Grpc__Testing__SimpleRequest message = GRPC__TESTING__SIMPLE_REQUEST__INIT;
	Grpc__Testing__Payload payload = GRPC__TESTING__PAYLOAD__INIT;
	struct mesh_grpc_call *call;
	int rc;

	payload.body.data = body;
	payload.body.len = sizeof(body);
	message.payload = &payload;
	rc = mesh_grpc_call_start_with(mesh, &request, &message.base, NULL, NULL, &call);
	if (rc) {
		assert_int_equal(rc, MESH_ERROR_NOMEM);
		assert_null(call);
		world->bad++;
		return;
	}
	for (int i = 0; i < 4000 && mesh_grpc_receive(call, 0, NULL, NULL) != 0; i++)
		mesh_worker_run(world->callee, 1);
	finish(world, call);
}

static void stream_call(struct world *world, struct mesh *mesh)
{
	struct mesh_grpc_request request = request_to(world, "FullDuplexCall");
	Grpc__Testing__StreamingOutputCallRequest message = GRPC__TESTING__STREAMING_OUTPUT_CALL_REQUEST__INIT;
	Grpc__Testing__Payload payload = GRPC__TESTING__PAYLOAD__INIT;
	struct mesh_grpc_call *call;
	struct mesh_slice bytes;
	int rc = mesh_grpc_call_start(mesh, &request, NULL, NULL, &call);

	if (rc) {
		assert_int_equal(rc, MESH_ERROR_NOMEM);
		world->bad++;
		return;
	}
	payload.body.data = body;
	payload.body.len = sizeof(body);
	message.payload = &payload;
	for (int i = 0; i < 2 && !rc; i++)
		rc = mesh_grpc_send(call, &message.base);
	if (!rc)
		rc = mesh_grpc_end(call);
	if (rc)
		mesh_grpc_cancel(call);
	for (int i = 0; i < 4000 && mesh_grpc_receive(call, 0, NULL, &bytes) != 0; i++)
		mesh_worker_run(world->callee, 1);
	finish(world, call);
}

static void open_side(struct data_plane *plane, const struct mesh_mem *mem, struct mesh_worker **worker)
{
	assert_int_equal(data_plane_open(plane, 0, mem), 0);
	plane->edit_cluster = speak_http2;
	assert_int_equal(mesh_worker_new(plane->mesh, worker), 0);
}

static void run(struct world *world)
{
	Grpc__Testing__TestService_Service service = {.base = {SERVICE, protobuf_c_service_invoke_internal, NULL},
						      .unary_call = unary};
	struct data_plane client, server;
	struct mesh_listen_options listen = {
		.size = sizeof(listen), .address = "127.0.0.1", .handler = mesh_grpc_handle};
	struct mesh_grpc_server_options options = {.size = sizeof(options), .compress = true};
	struct mesh_grpc_server *methods;
	struct mesh_listener *listener;
	struct failing_mem mem;

	failing_mem_init(&mem, 0);
	open_side(&client, world->server ? NULL : &mem.mem, &world->caller);
	open_side(&server, world->server ? &mem.mem : NULL, &world->callee);
	assert_int_equal(mesh_grpc_server_new(server.mesh, &options, &methods), 0);
	assert_int_equal(mesh_grpc_server_on(methods, SERVICE, "FullDuplexCall", echo, NULL), 0);
	assert_int_equal(mesh_grpc_server_add(methods, &service.base), 0);
	listen.user = methods;
	listen.worker = world->callee;
	assert_int_equal(mesh_listen(server.mesh, &listen, &listener), 0);
	client.ports[client.port_count++] = mesh_listener_port(listener);
	data_plane_publish(&server);
	data_plane_publish(&client);
	world->good = world->bad = 0;
	mem.fail_on = world->on;
	mem.fail_at = world->from ? atomic_load(&mem.calls) + world->from : 0;
	world->asked = atomic_load(&mem.calls);
	unary_call(world, client.mesh);
	stream_call(world, client.mesh);
	mem.fail_at = 0;
	world->asked = atomic_load(&mem.calls) - world->asked;
	world->failed = atomic_load(&mem.failed);
	unary_call(world, client.mesh); /* nothing is broken for good */
	mesh_listener_close(listener);
	mesh_worker_free(world->caller);
	mesh_worker_free(world->callee);
	mesh_grpc_server_free(methods);
	data_plane_close(&client);
	data_plane_close(&server);
	assert_int_equal(atomic_load(&mem.blocks), 0);
}

static void each_allocation(bool server)
{
	struct world world = {.server = server};
	size_t asked;

	run(&world);
	assert_int_equal(world.good, 3);
	asked = world.asked;
	assert_true(asked > 10);
	for (size_t from = 1; from <= asked; from++) {
		world.from = from;
		world.on = false;
		run(&world);
		assert_int_equal(world.good + world.bad, 3);
		assert_true(world.failed > 0 || from > world.asked);
		world.on = true;
		run(&world);
		assert_int_equal(world.good + world.bad, 3);
	}
}

static void client_is_short(void **state)
{
	each_allocation(false);
}

static void server_is_short(void **state)
{
	each_allocation(true);
}

/* ---- what is made before there are calls ---- */

static int make_server(const struct mesh_mem *mem, void *user)
{
	struct mesh_grpc_request request = {.size = sizeof(request), .authority = {"a", 1}};
	Grpc__Testing__TestService_Service service = {.base = {SERVICE, protobuf_c_service_invoke_internal, NULL}};
	struct mesh_grpc_server *server = NULL;
	ProtobufCService *stubs = NULL;
	struct data_plane plane;
	int rc;

	rc = data_plane_open(&plane, 0, mem);
	if (rc)
		return rc;
	rc = mesh_grpc_server_new(plane.mesh, NULL, &server);
	if (!rc)
		rc = mesh_grpc_server_on_path(server, mesh_slice_of("/a/b"), echo, NULL);
	if (!rc)
		rc = mesh_grpc_server_add(server, &service.base);
	if (!rc)
		rc = mesh_grpc_health_add(server);
	if (!rc)
		rc = mesh_grpc_health_set(server, "a", MESH_GRPC_HEALTH_SERVING);
	if (!rc)
		rc = mesh_grpc_client_service(plane.mesh, SERVICE, &request, NULL, NULL, &stubs);
	if (stubs)
		protobuf_c_service_destroy(stubs);
	mesh_grpc_server_free(server);
	data_plane_close(&plane);
	return rc;
}

static void servers_and_stubs(void **state)
{
	assert_true(oom_run(make_server, NULL) > 5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(client_is_short),
		cmocka_unit_test(server_is_short),
		cmocka_unit_test(servers_and_stubs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
