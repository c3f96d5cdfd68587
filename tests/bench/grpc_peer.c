/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One side of a libmesh pair that speaks gRPC, as mesh_peer.c otherwise: `grpc_peer server DIR` prints its port and
 * echoes messages until its input ends; `grpc_peer client DIR PORT IN_FLIGHT WARM CALLS SERVER_PID` calls it with 1
 * KiB and prints what measure.h says. The service is generated code at both ends. `grpc_peer allocations DIR` prints
 * how often each side's allocator was asked per warm call; protobuf-c's messages come from it too.
 */
#include <mesh/grpc.h>
#include <mesh/worker.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "echo.pb-c.h"
#include "measure.h"
#include "mesh_plane.h"
#include "support/counted_mem.h"

enum { MESSAGE = 1024 };

static uint8_t text[MESSAGE];
static Bench__Bytes question = BENCH__BYTES__INIT;
static struct mesh_grpc_request request = {.size = sizeof(request),
					   .authority = {"reviews:9080", 12},
					   .service =
						   (const struct ProtobufCServiceDescriptor *)&bench__echo__descriptor,
					   .method = "Say"};

static void fail(const char *what, const char *why)
{
	fprintf(stderr, "grpc_peer: %s: %s\n", what, why);
	exit(1);
}

static void say(Bench__Echo_Service *service, const Bench__Bytes *input, Bench__Bytes_Closure closure, void *data)
{
	closure(input, data);
}

static Bench__Echo_Service echo = BENCH__ECHO__INIT();

static struct mesh_grpc_server *server_new(struct data_plane *plane)
{
	struct mesh_grpc_server *server;

	echo.say = say;
	if (mesh_grpc_server_new(plane->mesh, NULL, &server) || mesh_grpc_server_add(server, (ProtobufCService *)&echo))
		fail("server", "cannot be made");
	return server;
}

static void check(const struct mesh_grpc_call *call, size_t received)
{
	const struct mesh_grpc_result *result = mesh_grpc_result(call);

	if (result->code || received != MESSAGE)
		fail("call", result->message.len ? result->message.data : "unexpected answer");
}

static void call_blocking(struct data_plane *plane, struct measure *measure)
{
	while (measure->ended < measure->warm + measure->calls) {
		uint64_t since = measure_now_ns();
		struct mesh_grpc_call *call;
		const Bench__Bytes *reply;

		if (mesh_grpc_unary(plane->mesh, &request, &question.base, &call) < 0)
			fail("call", "cannot be started");
		reply = (const Bench__Bytes *)mesh_grpc_reply(call);
		check(call, reply ? reply->value.len : 0);
		mesh_grpc_release(call);
		measure_call(measure, since);
	}
}

struct slot {
	struct data_plane *plane;
	struct measure *measure;
	uint64_t since;
	size_t received;
};

static void start(struct slot *slot);

static void message(struct mesh_grpc_call *call, const ProtobufCMessage *message, struct mesh_slice bytes, void *user)
{
	struct slot *slot = user;

	slot->received += ((const Bench__Bytes *)message)->value.len;
}

static void done(struct mesh_grpc_call *call, void *user)
{
	struct slot *slot = user;

	check(call, slot->received);
	mesh_grpc_release(call);
	measure_call(slot->measure, slot->since);
	start(slot);
}

static const struct mesh_grpc_events events = {.size = sizeof(events), .message = message, .done = done};

static void start(struct slot *slot)
{
	struct mesh_grpc_call *call;

	if (slot->measure->started == slot->measure->warm + slot->measure->calls)
		return;
	slot->measure->started++;
	slot->since = measure_now_ns();
	slot->received = 0;
	if (mesh_grpc_call_start_with(slot->plane->mesh, &request, &question.base, &events, slot, &call))
		fail("call", "cannot be started");
}

static void call_many(struct data_plane *plane, struct measure *measure, size_t in_flight)
{
	struct slot *slots = calloc(in_flight, sizeof(*slots));

	if (!slots || mesh_worker_new(plane->mesh, &request.worker))
		fail("worker", "cannot be made");
	for (size_t i = 0; i < in_flight; i++) {
		slots[i] = (struct slot){plane, measure, 0, 0};
		start(&slots[i]);
	}
	while (measure->ended < measure->warm + measure->calls)
		if (mesh_worker_run(request.worker, 10000) < 0)
			fail("worker", "failed");
	mesh_worker_free(request.worker);
	free(slots);
}

static void count_allocations(const char *dir)
{
	static atomic_ulong counts[2];
	struct mesh_mem mem[2];
	struct data_plane planes[2]; /* client, server */
	struct mesh_grpc_server *server;
	struct mesh_listener *listener;
	struct measure measure;

	for (int i = 0; i < 2; i++) {
		mem[i] = counted_mem(&counts[i]);
		mesh_plane_open(&planes[i], dir, i == 1, MESH_PLANE_HTTP2, &mem[i]);
	}
	server = server_new(&planes[1]);
	listener = mesh_plane_listen(&planes[1], mesh_grpc_handle, server, 0);
	planes[0].ports[planes[0].port_count++] = mesh_listener_port(listener);
	data_plane_publish(&planes[0]);
	measure_open(&measure, 200, 1000, 0);
	measure.calls = 0;
	call_blocking(&planes[0], &measure);
	atomic_store(&counts[0], 0);
	atomic_store(&counts[1], 0);
	measure.calls = 1000;
	call_blocking(&planes[0], &measure);
	printf("%.3f %.3f\n", (double)atomic_load(&counts[0]) / 1000, (double)atomic_load(&counts[1]) / 1000);
	free(measure.took_ns);
	mesh_listener_close(listener);
	mesh_grpc_server_free(server);
	for (int i = 0; i < 2; i++)
		mesh_plane_close(&planes[i]);
}

static void serve(const char *dir)
{
	struct data_plane plane;
	struct mesh_grpc_server *server;

	mesh_plane_open(&plane, dir, true, MESH_PLANE_HTTP2, NULL);
	server = server_new(&plane);
	mesh_plane_serve(&plane, mesh_grpc_handle, server, 0);
	mesh_grpc_server_free(server);
	mesh_plane_close(&plane);
}

static void client(char **argv)
{
	size_t in_flight = strtoul(argv[4], NULL, 10);
	struct measure measure;
	struct data_plane plane;

	mesh_plane_open(&plane, argv[2], false, MESH_PLANE_HTTP2, NULL);
	plane.ports[plane.port_count++] = (uint16_t)strtoul(argv[3], NULL, 10);
	measure_open(&measure, strtoul(argv[5], NULL, 10), strtoul(argv[6], NULL, 10),
		     (pid_t)strtol(argv[7], NULL, 10));
	data_plane_publish(&plane);
	if (in_flight <= 1)
		call_blocking(&plane, &measure);
	else
		call_many(&plane, &measure, in_flight);
	measure_close(&measure);
	mesh_plane_close(&plane);
}

int main(int argc, char **argv)
{
	memset(text, 'x', sizeof(text));
	question.value = (ProtobufCBinaryData){sizeof(text), text};
	if (argc == 3 && !strcmp(argv[1], "server"))
		serve(argv[2]);
	else if (argc == 3 && !strcmp(argv[1], "allocations"))
		count_allocations(argv[2]);
	else if (argc == 8 && !strcmp(argv[1], "client"))
		client(argv);
	else
		fail("usage", "server DIR | allocations DIR | client DIR PORT IN_FLIGHT WARM CALLS SERVER_PID");
	return 0;
}
