/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One side of a libmesh pair: `mesh_peer server DIR` prints its port and answers 1 KiB until its input ends;
 * `mesh_peer client DIR PORT IN_FLIGHT WARM CALLS SERVER_PID` calls it and prints what measure.h says. Routing, balancing,
 * mutual TLS and RBAC as a mesh has them, published without a control plane. `egress` in place of `client` offers "http/1.1"
 * and not "istio", for a server that is no part of a mesh. One in flight is a blocking call on the main
 * thread, more are asynchronous calls on a worker that this thread drives. `mesh_peer allocations DIR` prints how often each
 * side's allocator was asked per warm call (memory OpenSSL takes for itself does not come from there). DIR holds ca.pem, client.pem, client.key,
 * server.pem and server.key.
 */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "measure.h"
#include "support/data_plane.h"

#define ALICE "spiffe://cluster.local/ns/default/sa/alice"

static struct authz_rule any = {.kind = AUTHZ_ANY};
static struct authz_rule caller = {.kind = AUTHZ_AUTHENTICATED,
				   .has_string = true,
				   .string = {STRING_MATCH_EXACT, false, {ALICE, sizeof(ALICE) - 1}, NULL}};
static struct authz_policy policy = {.name = {"callers", 7},
				     .permissions = &any,
				     .permission_count = 1,
				     .principals = &caller,
				     .principal_count = 1};
static struct authz_rules rules = {.action = AUTHZ_ALLOW, .policies = &policy, .count = 1};
static struct authz_config authz = {.rules = &rules};
static char answer[1024];

static void fail(const char *what, const char *why)
{
	fprintf(stderr, "mesh_peer: %s: %s\n", what, why);
	exit(1);
}

static struct mesh_slice read_file(const char *dir, const char *name)
{
	static char text[8][16384];
	static size_t used;
	char path[512], *into = text[used++];
	size_t n;
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	file = fopen(path, "r");
	if (!file)
		fail(path, "cannot be read");
	n = fread(into, 1, sizeof(text[0]), file);
	fclose(file);
	return (struct mesh_slice){into, n};
}

static void edit_chain(struct data_plane *plane, struct chain *chain, struct arena *arena, bool inbound)
{
	if (!inbound)
		return;
	chain->http->filters = mesh_arena_array(arena, 1, sizeof(*chain->http->filters));
	if (!chain->http->filters)
		fail("filter", "out of memory");
	chain->http->filter_count = 1;
	chain->http->filters[0].kind = HTTP_FILTER_AUTHZ;
	chain->http->filters[0].name = mesh_slice_of("envoy.filters.http.rbac");
	chain->http->filters[0].authz = &authz;
}

/* As in the mesh, but for the protocol's name. */
static const struct tls_config *egress_tls(void)
{
	static struct tls_config tls;

	tls = data_plane_istio_client;
	tls.alpn = (struct mesh_slice){"\x08http/1.1", 9};
	return &tls;
}

static void open_plane(struct data_plane *plane, const char *dir, const char *who, const struct mesh_mem *mem)
{
	char pem[32], key[32];
	struct mesh_slice none = {NULL, 0};

	snprintf(pem, sizeof(pem), "%s.pem", who);
	snprintf(key, sizeof(key), "%s.key", who);
	if (data_plane_open(plane, 1, mem) ||
	    mesh_secret_new(&mesh_mem_default, mesh_slice_of("default"), read_file(dir, pem), read_file(dir, key), none,
			    &plane->certificate) ||
	    mesh_secret_new(&mesh_mem_default, mesh_slice_of("ROOTCA"), none, none, read_file(dir, "ca.pem"), &plane->roots))
		fail("mesh", "cannot be opened");
	plane->inbound = DATA_PLANE_STRICT;
	plane->client_tls = &data_plane_istio_client;
	plane->edit_chain = edit_chain;
}

static void handler(struct mesh_call *call, void *user)
{
	struct mesh_header type = {mesh_slice_of("content-type"), mesh_slice_of("application/octet-stream")};

	mesh_call_respond(call, 200, &type, 1, (struct mesh_slice){answer, sizeof(answer)}, true);
}

static struct mesh_listener *listen_any(struct data_plane *plane)
{
	struct mesh_listen_options options = {.size = sizeof(options), .handler = handler, .address = "127.0.0.1",
					      .request_bytes_max = 65536, .grace_ms = 100};
	struct mesh_listener *listener;

	memset(answer, 'x', sizeof(answer));
	data_plane_publish(plane);
	if (mesh_listen(plane->mesh, &options, &listener))
		fail("listener", "cannot be opened");
	return listener;
}

static void serve(struct data_plane *plane)
{
	struct mesh_listener *listener = listen_any(plane);
	char byte;

	printf("%u\n", mesh_listener_port(listener));
	fflush(stdout);
	while (read(STDIN_FILENO, &byte, 1) > 0)
		;
	mesh_listener_close(listener);
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

static void *counted_alloc(void *user, size_t bytes)
{
	atomic_fetch_add((atomic_ulong *)user, 1);
	return malloc(bytes);
}

static void *counted_resize(void *user, void *memory, size_t bytes)
{
	atomic_fetch_add((atomic_ulong *)user, 1);
	return realloc(memory, bytes);
}

static void counted_release(void *user, void *memory)
{
	free(memory);
}

static void count_allocations(const char *dir)
{
	static atomic_ulong counts[2];
	struct mesh_mem mem[2];
	struct data_plane planes[2]; /* client, server */
	struct mesh_listener *listener;
	struct measure measure;

	for (int i = 0; i < 2; i++) {
		mem[i] = (struct mesh_mem){counted_alloc, counted_resize, counted_release, &counts[i]};
		open_plane(&planes[i], dir, i ? "server" : "client", &mem[i]);
	}
	listener = listen_any(&planes[1]);
	planes[0].ports[planes[0].port_count++] = mesh_listener_port(listener);
	data_plane_publish(&planes[0]);
	measure_open(&measure, 200, 0, 0);
	call_blocking(&planes[0], &measure);
	atomic_store(&counts[0], 0);
	atomic_store(&counts[1], 0);
	measure.calls = 1000;
	free(measure.took_ns);
	measure.took_ns = calloc(measure.calls, sizeof(*measure.took_ns));
	call_blocking(&planes[0], &measure);
	printf("%.3f %.3f\n", (double)atomic_load(&counts[0]) / 1000, (double)atomic_load(&counts[1]) / 1000);
	free(measure.took_ns);
	mesh_listener_close(listener);
	for (int i = 0; i < 2; i++) {
		data_plane_close(&planes[i]);
		mesh_secret_release(planes[i].certificate);
		mesh_secret_release(planes[i].roots);
	}
}

int main(int argc, char **argv)
{
	bool server = argc == 3 && !strcmp(argv[1], "server"), egress;
	struct measure measure;
	struct data_plane plane;
	size_t in_flight;

	if (argc == 3 && !strcmp(argv[1], "allocations")) {
		count_allocations(argv[2]);
		return 0;
	}
	egress = argc == 8 && !strcmp(argv[1], "egress");
	if (!server && !egress && (argc != 8 || strcmp(argv[1], "client")))
		fail("usage", "server DIR | allocations DIR | client|egress DIR PORT IN_FLIGHT WARM CALLS SERVER_PID");
	open_plane(&plane, argv[2], server ? "server" : "client", NULL);
	if (egress)
		plane.client_tls = egress_tls();
	if (server) {
		serve(&plane);
	} else {
		in_flight = strtoul(argv[4], NULL, 10);
		plane.ports[plane.port_count++] = (uint16_t)strtoul(argv[3], NULL, 10);
		measure_open(&measure, strtoul(argv[5], NULL, 10), strtoul(argv[6], NULL, 10), (pid_t)strtol(argv[7], NULL, 10));
		data_plane_publish(&plane);
		if (in_flight <= 1)
			call_blocking(&plane, &measure);
		else
			call_many(&plane, &measure, in_flight);
		measure_close(&measure);
	}
	data_plane_close(&plane);
	mesh_secret_release(plane.certificate);
	mesh_secret_release(plane.roots);
	return 0;
}
