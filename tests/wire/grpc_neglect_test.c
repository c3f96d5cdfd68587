/* SPDX-License-Identifier: Apache-2.0 */
/* gRPC peers that say much with little, and applications that use a call from the wrong place: bounded, and told so. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <stdatomic.h>
#include <unistd.h>

#include <mesh/grpc.h>
#include <mesh/mesh.h>

#include "call/call.h"
#include "config/cluster.h"
#include "support/data_plane.h"
#include "support/grpc_fixture.h"

#define S(literal) ((struct mesh_slice){literal, sizeof(literal) - 1})

enum { COMMAS = 25000 };

static struct data_plane plane;
static struct mesh_listener *listener;
static char commas[COMMAS];
static struct mesh_header list = {{"x-list-bin", 10}, {commas, COMMAS}};

/* A server of bytes: what it answers is the path's matter. */
static void answer(struct mesh_call *call, void *user)
{
	struct mesh_header head[] = {
		{S("content-type"), S("application/grpc")}, list, {S("x-some-bin"), S("AQ,Ag,,Aw==")}};
	struct mesh_header zstd[] = {head[0], {S("grpc-encoding"), S("zstd")}, {S("grpc-status"), S("12")}};
	struct mesh_header trailers[] = {{S("grpc-status"), S("0")}, list};
	struct mesh_slice message = {"\0\0\0\0\1x\0\0\0\0\1y", 12};

	if (mesh_slice_equal(mesh_call_path(call), S("/s/zstd"))) {
		mesh_call_respond(call, 200, zstd, 3, (struct mesh_slice){NULL, 0}, true);
		return;
	}
	mesh_call_respond(call, 200, head, 3, message, false);
	mesh_call_send_trailers(call, trailers, 2);
}

static void speak_http2(struct data_plane *data_plane, struct cluster_config *cluster)
{
	cluster->protocol = UPSTREAM_HTTP2;
}

static int setup(void **state)
{
	struct mesh_listen_options listen = {
		.size = sizeof(listen), .address = "127.0.0.1", .handler = answer, .grace_ms = 50};

	memset(commas, ',', sizeof(commas));
	assert_int_equal(data_plane_open(&plane, 2, NULL), 0);
	plane.edit_cluster = speak_http2;
	assert_int_equal(mesh_listen(plane.mesh, &listen, &listener), 0);
	plane.ports[plane.port_count++] = mesh_listener_port(listener);
	data_plane_publish(&plane);
	return 0;
}

static int teardown(void **state)
{
	mesh_listener_close(listener);
	data_plane_close(&plane);
	return 0;
}

static struct mesh_grpc_request request_to(const char *path)
{
	return (struct mesh_grpc_request){.size = sizeof(struct mesh_grpc_request),
					  .authority = S("reviews:9080"),
					  .path = mesh_slice_of(path),
					  .deadline_ms = 10000};
}

/* An application that looks at all metadata holds no more for it than a few times what came. */
static void lists_of_nothing(void **state)
{
	struct mesh_grpc_request request = request_to("/s/list");
	struct mesh_grpc_call *call;
	const struct mesh_grpc_result *result;
	size_t others = 0;

	assert_int_equal(mesh_grpc_call_start(plane.mesh, &request, NULL, NULL, &call), 0);
	assert_int_equal(mesh_grpc_end(call), 0);
	while (mesh_grpc_receive(call, 10000, NULL, NULL) > 0)
		;
	assert_int_equal(mesh_grpc_wait(call, 10000), MESH_GRPC_OK);
	for (size_t i = 0; i < 20; i++) {
		struct mesh_header pair = mesh_grpc_metadata_at(call, i);

		assert_false(mesh_slice_equal(pair.name, S("x-list-bin")));
		others += mesh_slice_equal(pair.name, S("x-some-bin"));
	}
	assert_int_equal(others, 4);
	assert_true(mesh_slice_equal(mesh_grpc_metadata(call, "x-some-bin"), S("\1")));
	result = mesh_grpc_result(call);
	assert_int_equal(result->metadata_count, 0);
	assert_in_range(mesh_grpc_transport(call)->arena.total, 0, 10 * COMMAS);
	mesh_grpc_release(call);
}

/* What nobody takes is kept, and the call waits for that: to its deadline, or until it is taken. */
static void kept_until_taken(void **state)
{
	struct mesh_grpc_request request = request_to("/s/list");

	for (unsigned taken = 0; taken < 2; taken++) {
		struct mesh_grpc_call *call;

		request.deadline_ms = taken ? 10000 : 300;
		assert_int_equal(mesh_grpc_call_start(plane.mesh, &request, NULL, NULL, &call), 0);
		assert_int_equal(mesh_grpc_end(call), 0);
		assert_int_equal(mesh_grpc_wait(call, 100), MESH_ERROR_AGAIN);
		while (taken && mesh_grpc_receive(call, 10000, NULL, NULL) > 0)
			;
		assert_int_equal(mesh_grpc_wait(call, 10000), taken ? MESH_GRPC_OK : MESH_GRPC_DEADLINE_EXCEEDED);
		mesh_grpc_release(call);
	}
}

/* A refusal that names what the server would have liked: the code is the server's. */
static void refused_in_an_encoding(void **state)
{
	struct mesh_grpc_request request = request_to("/s/zstd");
	struct mesh_grpc_call *call;

	assert_int_equal(mesh_grpc_call_start(plane.mesh, &request, NULL, NULL, &call), 0);
	assert_int_equal(mesh_grpc_end(call), 0);
	assert_int_equal(mesh_grpc_wait(call, 10000), MESH_GRPC_UNIMPLEMENTED);
	mesh_grpc_release(call);
}

/* Its worker takes what comes: nobody else may, whatever is there. */
static void receive_on_a_library_worker(void **state)
{
	struct mesh_grpc_request request = request_to("/s/list");
	struct mesh_grpc_call *call;

	assert_int_equal(mesh_worker_library(plane.mesh, &request.worker), 0);
	assert_int_equal(mesh_grpc_call_start(plane.mesh, &request, NULL, NULL, &call), 0);
	assert_int_equal(mesh_grpc_end(call), 0);
	assert_int_equal(mesh_grpc_receive(call, 0, NULL, NULL), MESH_ERROR_THREAD);
	usleep(200000); /* it is there by now */
	assert_int_equal(mesh_grpc_receive(call, 0, NULL, NULL), MESH_ERROR_THREAD);
	mesh_grpc_release(call);
}

struct seen {
	atomic_uint messages, done;
};

static void pause_there(struct mesh_grpc_call *call, const struct ProtobufCMessage *message, struct mesh_slice bytes,
			void *user)
{
	mesh_grpc_pause(call);
	atomic_fetch_add(&((struct seen *)user)->messages, 1);
}

static void told(struct mesh_grpc_call *call, void *user)
{
	assert_int_equal(mesh_grpc_result(call)->code, MESH_GRPC_CANCELLED);
	atomic_fetch_add(&((struct seen *)user)->done, 1);
}

/* Given back by two others while its worker has paused it: given up, and told once. */
static void released_while_paused(void **state)
{
	static const struct mesh_grpc_events events = {.size = sizeof(events), .message = pause_there, .done = told};
	struct mesh_grpc_request request = request_to("/s/list");

	for (unsigned i = 0; i < 20; i++) {
		struct seen seen = {0};
		struct mesh_grpc_call *call;

		assert_int_equal(mesh_worker_library(plane.mesh, &request.worker), 0);
		assert_int_equal(mesh_grpc_call_start(plane.mesh, &request, &events, &seen, &call), 0);
		assert_int_equal(mesh_grpc_end(call), 0);
		mesh_grpc_retain(call);
		while (!atomic_load(&seen.messages))
			usleep(100);
		mesh_grpc_release(call);
		mesh_grpc_release(call);
		for (unsigned n = 0; n < 50000 && !atomic_load(&seen.done); n++)
			usleep(100);
		assert_int_equal(atomic_load(&seen.done), 1);
		assert_int_equal(atomic_load(&seen.messages), 1);
	}
}

struct leaving {
	const char *moment;
	unsigned released, done;
};

static void leave_at(struct mesh_grpc_call *call, struct leaving *leaving, const char *moment)
{
	if (strcmp(leaving->moment, moment) || leaving->released++)
		return;
	mesh_grpc_release(call);
}

static void leave_at_headers(struct mesh_grpc_call *call, void *user)
{
	leave_at(call, user, "headers");
}

static void leave_at_message(struct mesh_grpc_call *call, const struct ProtobufCMessage *message,
			     struct mesh_slice bytes, void *user)
{
	leave_at(call, user, "message");
	assert_int_equal(bytes.len, 1);
	assert_in_range(bytes.data[0], 'x', 'y');
}

static void leave_at_done(struct mesh_grpc_call *call, void *user)
{
	leave_at(call, user, "done");
	((struct leaving *)user)->done++;
}

/* The last reference goes inside an event: what it was told of is there until it returns, and `done` still comes. */
static void released_inside_events(void **state)
{
	static const char *const moments[] = {"headers", "message", "done"};
	static const struct mesh_grpc_events events = {.size = sizeof(events),
						       .headers = leave_at_headers,
						       .message = leave_at_message,
						       .done = leave_at_done};
	struct mesh_grpc_request request = request_to("/s/list");

	assert_int_equal(mesh_worker_new(plane.mesh, &request.worker), 0);
	for (unsigned i = 0; i < 3; i++) {
		struct leaving leaving = {.moment = moments[i]};
		struct mesh_grpc_call *call;

		assert_int_equal(mesh_grpc_call_start(plane.mesh, &request, &events, &leaving, &call), 0);
		assert_int_equal(mesh_grpc_end(call), 0);
		for (unsigned n = 0; n < 1000 && !leaving.done; n++)
			mesh_worker_run(request.worker, 10);
		assert_int_equal(leaving.done, 1);
		assert_true(leaving.released > 0);
	}
	mesh_worker_free(request.worker);
}

/* "No bound" is a large one, not one that wraps around. */
static void bound_as_large_as_it_goes(void **state)
{
	struct mesh_grpc_request request = grpc_request_to("UnaryCall");
	struct mesh_grpc_call *call;

	request.message_bytes_max = SIZE_MAX;
	call = grpc_unary_with(&request, 1000000, 0);
	grpc_assert_code(call, MESH_GRPC_OK);
	mesh_grpc_release(call);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(lists_of_nothing),
		TEST(kept_until_taken),
		TEST(refused_in_an_encoding),
		TEST(receive_on_a_library_worker),
		TEST(released_while_paused),
		TEST(released_inside_events),
		cmocka_unit_test_setup_teardown(bound_as_large_as_it_goes, grpc_fixture_setup, grpc_fixture_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
