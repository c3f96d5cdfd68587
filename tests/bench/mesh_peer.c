/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One side of a libmesh pair: `mesh_peer server DIR` prints its port and answers 1 KiB until its input ends;
 * `mesh_peer client DIR PORT IN_FLIGHT WARM CALLS SERVER_PID` calls it by HTTP/1.1, `client2` by HTTP/2, and prints
 * what measure.h says; in the mesh that mesh_plane.h sets up. `egress` in place of `client` offers "http/1.1" and not
 * "istio", for a server that is no part of a mesh. One in flight is a blocking call on the main thread, more are
 * asynchronous calls on a worker that this thread drives. `mesh_peer allocations DIR`, or `allocations2`, prints how
 * often each side's allocator was asked per warm call (memory OpenSSL takes for itself does not come from there).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "measure.h"
#include "mesh_plane.h"
#include "support/counted_mem.h"

static char answer[1024];

static void fail(const char *what, const char *why)
{
	fprintf(stderr, "mesh_peer: %s: %s\n", what, why);
	exit(1);
}

/* As in the mesh, but for the protocol's name. */
static const struct tls_config *egress_tls(void)
{
	static struct tls_config tls;

	tls = data_plane_istio_client;
	tls.alpn = (struct mesh_slice){"\x08http/1.1", 9};
	return &tls;
}

static void handler(struct mesh_call *call, void *user)
{
	struct mesh_header type = {mesh_slice_of("content-type"), mesh_slice_of("application/octet-stream")};

	mesh_call_respond(call, 200, &type, 1, (struct mesh_slice){answer, sizeof(answer)}, true);
}

static struct mesh_request request = {.size = sizeof(request), .authority = {"reviews:9080", 12}, .path = {"/1k", 3}};

static void check(const struct mesh_call *call)
{
	const struct mesh_result *result = mesh_call_result(call);

	if (result->status || result->http_status != 200 || mesh_call_body(call).len != sizeof(answer))
		fail("call", result->why.len ? result->why.data : "unexpected answer");
}

static void call_blocking(struct data_plane *plane, struct measure *measure)
{
	while (measure->ended < measure->warm + measure->calls) {
		uint64_t since = measure_now_ns();
		struct mesh_call *call;

		if (mesh_call_start(plane->mesh, &request, NULL, NULL, &call))
			fail("call", "cannot be started");
		mesh_call_wait(call, 10000);
		check(call);
		mesh_call_release(call);
		measure_call(measure, since);
	}
}

struct slot {
	struct data_plane *plane;
	struct measure *measure;
	uint64_t since;
};

static void start(struct slot *slot);

static void done(struct mesh_call *call, void *user)
{
	struct slot *slot = user;

	check(call);
	mesh_call_release(call);
	measure_call(slot->measure, slot->since);
	start(slot);
}

static const struct mesh_call_events events = {.size = sizeof(events), .done = done};

static void start(struct slot *slot)
{
	struct mesh_call *call;

	if (slot->measure->started == slot->measure->warm + slot->measure->calls)
		return;
	slot->measure->started++;
	slot->since = measure_now_ns();
	if (mesh_call_start(slot->plane->mesh, &request, &events, slot, &call))
		fail("call", "cannot be started");
}

static void call_many(struct data_plane *plane, struct measure *measure, size_t in_flight)
{
	struct slot *slots = calloc(in_flight, sizeof(*slots));

	if (!slots || mesh_worker_new(plane->mesh, &request.worker))
		fail("worker", "cannot be made");
	for (size_t i = 0; i < in_flight; i++) {
		slots[i] = (struct slot){plane, measure, 0};
		start(&slots[i]);
	}
	while (measure->ended < measure->warm + measure->calls)
		if (mesh_worker_run(request.worker, 10000) < 0)
			fail("worker", "failed");
	mesh_worker_free(request.worker);
	free(slots);
}

static void count_allocations(const char *dir, enum mesh_plane_protocol protocol)
{
	static atomic_ulong counts[2];
	struct mesh_mem mem[2];
	struct data_plane planes[2]; /* client, server */
	struct mesh_listener *listener;
	struct measure measure;

	for (int i = 0; i < 2; i++) {
		mem[i] = counted_mem(&counts[i]);
		mesh_plane_open(&planes[i], dir, i == 1, protocol, &mem[i]);
	}
	listener = mesh_plane_listen(&planes[1], handler, NULL, 65536);
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
	for (int i = 0; i < 2; i++)
		mesh_plane_close(&planes[i]);
}

static const char *const modes[] = {"client", "egress", "client2", "allocations", "allocations2", "server"};
enum mode { CLIENT, EGRESS, CLIENT2, ALLOCATIONS, ALLOCATIONS2, SERVER, NONE };

static enum mode mode_of(int argc, char **argv)
{
	enum mode mode = CLIENT;

	while (mode < NONE && (argc < 3 || strcmp(argv[1], modes[mode])))
		mode++;
	return argc == (mode < ALLOCATIONS ? 8 : 3) ? mode : NONE;
}

static void call_all(struct data_plane *plane, char **argv)
{
	size_t in_flight = strtoul(argv[4], NULL, 10);
	struct measure measure;

	plane->ports[plane->port_count++] = (uint16_t)strtoul(argv[3], NULL, 10);
	measure_open(&measure, strtoul(argv[5], NULL, 10), strtoul(argv[6], NULL, 10),
		     (pid_t)strtol(argv[7], NULL, 10));
	data_plane_publish(plane);
	if (in_flight <= 1)
		call_blocking(plane, &measure);
	else
		call_many(plane, &measure, in_flight);
	measure_close(&measure);
}

int main(int argc, char **argv)
{
	enum mode mode = mode_of(argc, argv);
	enum mesh_plane_protocol protocol =
		mode == CLIENT2 || mode == ALLOCATIONS2 ? MESH_PLANE_HTTP2 : MESH_PLANE_HTTP1;
	struct data_plane plane;

	if (mode == NONE)
		fail("usage", "server DIR | allocations[2] DIR | client|client2|egress DIR PORT IN_FLIGHT WARM CALLS "
			      "SERVER_PID");
	memset(answer, 'x', sizeof(answer));
	if (protocol == MESH_PLANE_HTTP2)
		request.version = MESH_HTTP_2;
	if (mode == ALLOCATIONS || mode == ALLOCATIONS2) {
		count_allocations(argv[2], protocol);
		return 0;
	}
	mesh_plane_open(&plane, argv[2], mode == SERVER, protocol, NULL);
	if (mode == EGRESS)
		plane.client_tls = egress_tls();
	if (mode == SERVER)
		mesh_plane_serve(&plane, handler, NULL, 65536);
	else
		call_all(&plane, argv);
	mesh_plane_close(&plane);
	return 0;
}
