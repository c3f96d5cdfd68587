/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Streams between two meshes of one process, one of them short of memory; everything on borrowed workers of this thread, so
 * that the n-th allocation is the same one each time. A stream ends or carries its bytes, and what was taken is given back.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <stdio.h>

#include <mesh/mesh.h>

#include "support/data_plane.h"
#include "support/failing_mem.h"
#include "support/test_ca.h"

static const char protocol[] = "istio-peer-exchange";
/* an id and nothing else */
static const char greeting[] =
	"\x3d\x23\x04\x67\0\0\0\x57\x0a\x2atype.googleapis.com/google.protobuf.Struct\x12\x29\x0a\x27\x0a\x18"
	"x-envoy-peer-metadata-id\x12\x0b\x1a\x09"
	"sidecar~x";

static const struct tls_config client_tls = {
	.min = TLS_VERSION_1_2,
	.alpn = {"\x13istio-peer-exchange", 20},
	.certificate_name = {"default", 7},
	.roots_name = {"ROOTCA", 6},
};
static const struct tls_config server_tls = {
	.min = TLS_VERSION_1_2,
	.alpn = {"\x13istio-peer-exchange", 20},
	.certificate_name = {"default", 7},
	.roots_name = {"ROOTCA", 6},
	.require_client_certificate = true,
};

struct world {
	struct secret *certificate, *roots;
	bool server;          /* which side is short */
	size_t from;          /* the allocation to fail, counted from when the meshes are up */
	bool on;              /* and all behind it */
	size_t asked, failed; /* allocations of the last run; refused of these */
};

/* ---- configuration */

static void edit_chain(struct data_plane *plane, struct chain *chain, struct arena *arena, bool inbound)
{
	chain->kind = CHAIN_TCP;
	chain->http = NULL;
	chain->tcp_cluster = mesh_slice_of("outbound|9080||reviews");
	chain->tcp_idle_timeout_ns = -1;
	chain->tcp_duration_max_ns = 3600000000000;
	chain->tcp_connect_attempts = 2;
	chain->metadata_exchange = inbound;
	chain->metadata_exchange_protocol = mesh_slice_of(protocol);
}

/* The client's first bytes are looked at before it is known where they go. */
static void edit_listener(struct data_plane *plane, struct listener_config *listener, bool inbound)
{
	static struct mesh_slice nobody = {"nobody.example", 14};

	if (inbound)
		return;
	listener->tls_inspector = listener->http_inspector = true;
	listener->filters_timeout_ns = 3600000000000;
	listener->default_chain = &listener->chains[1];
	listener->chains[1] = listener->chains[0];
	listener->chains[0].match.server_names = &nobody;
	listener->chains[0].match.server_name_count = 1;
}

static void edit_cluster(struct data_plane *plane, struct cluster_config *cluster)
{
	cluster->metadata_exchange = true;
	cluster->metadata_exchange_protocol = mesh_slice_of(protocol);
}

static void open_plane(struct world *world, struct data_plane *plane, const struct mesh_mem *mem)
{
	assert_int_equal(data_plane_open(plane, 0, mem), 0);
	assert_int_equal(mesh_buf_append(&plane->mesh->greeting, mesh_slice_make(greeting, sizeof(greeting) - 1)), 0);
	plane->certificate = world->certificate;
	plane->roots = world->roots;
	plane->inbound = DATA_PLANE_STRICT;
	plane->client_tls = &client_tls;
	plane->server_tls = &server_tls;
	plane->edit_chain = edit_chain;
	plane->edit_listener = edit_listener;
	plane->edit_cluster = edit_cluster;
}

/* ---- an echo of few words */

static void echo(struct mesh_stream *stream, void *user)
{
	char data[64];
	int64_t n;

	while ((n = mesh_stream_read(stream, data, sizeof(data))) > 0)
		if (mesh_stream_write(stream, (struct mesh_slice){data, (size_t)n}) < 0)
			break;
	if (n != MESH_ERROR_AGAIN && mesh_stream_result(stream)->status == 0)
		mesh_stream_close(stream);
}

static void echo_closed(struct mesh_stream *stream, void *user)
{
	assert_true(mesh_stream_result(stream)->why.len > 0);
	mesh_stream_close(stream);
}

static void handler(struct mesh_stream *stream, void *user)
{
	static const struct mesh_stream_events events = {
		.size = sizeof(events), .readable = echo, .closed = echo_closed};

	assert_int_equal(mesh_stream_on(stream, &events, user), 0);
}

/* True: the words came back. */
static bool run_stream(struct data_plane *client, struct mesh_worker *caller, struct mesh_worker *callee, size_t at)
{
	struct mesh_stream_options options = {.size = sizeof(options),
					      .target = mesh_slice_of("10.0.0.1:9080"),
					      .worker = caller,
					      .connect_timeout_ms = 3600000};
	struct mesh_stream *stream;
	char back[8];
	size_t sent = 0, got = 0;
	int64_t n;
	int rounds = 0, rc = mesh_stream_dial(client->mesh, &options, NULL, NULL, &stream);

	if (rc) {
		assert_int_equal(rc, MESH_ERROR_NOMEM);
		return false;
	}
	do {
		n = sent < 8 ? mesh_stream_write(stream, (struct mesh_slice){"\x01 words!" + sent, 8 - sent}) : 0;
		sent += n > 0 ? (size_t)n : 0;
		if (n >= 0 || n == MESH_ERROR_AGAIN)
			n = mesh_stream_read(stream, back + got, 8 - got);
		got += n > 0 ? (size_t)n : 0;
		mesh_worker_run(caller, 0);
		mesh_worker_run(callee, n == MESH_ERROR_AGAIN ? 1 : 0);
	} while (got < 8 && (n > 0 || n == MESH_ERROR_AGAIN) && ++rounds < 4000);
	if (rounds == 4000)
		fail_msg("allocation %zu: the stream hangs", at);
	if (n < 0)
		assert_true(mesh_stream_result(stream)->why.len > 0);
	if (got == 8)
		assert_memory_equal(back, "\x01 words!", 8);
	mesh_stream_close(stream);
	for (int i = 0; i < 5; i++) {
		mesh_worker_run(caller, 0);
		mesh_worker_run(callee, 0);
	}
	return got == 8;
}

static void run_world(struct world *world)
{
	struct failing_mem mems[2], *failing = &mems[world->server];
	struct data_plane client, server;
	struct mesh_worker *caller, *callee;
	struct mesh_listener *listener;
	struct mesh_listen_options options = {
		.size = sizeof(options), .stream_handler = handler, .address = "127.0.0.1", .grace_ms = 1};
	size_t start;

	failing_mem_init(&mems[0], 0);
	failing_mem_init(&mems[1], 0);
	open_plane(world, &client, &mems[0].mem);
	open_plane(world, &server, &mems[1].mem);
	assert_int_equal(mesh_worker_new(client.mesh, &caller), 0);
	assert_int_equal(mesh_worker_new(server.mesh, &callee), 0);
	options.worker = callee;
	assert_int_equal(mesh_listen(server.mesh, &options, &listener), 0);
	client.ports[client.port_count++] = mesh_listener_port(listener);
	data_plane_publish(&client);
	data_plane_publish(&server);
	start = atomic_load(&failing->calls);
	failing->fail_at = start + world->from;
	failing->fail_on = world->on;
	run_stream(&client, caller, callee, world->from);
	world->asked = atomic_load(&failing->calls) - start;
	world->failed = atomic_load(&failing->failed);
	failing->fail_at = 0;
	if (!run_stream(&client, caller, callee, world->from)) /* memory came back: so do streams */
		fail_msg("allocation %zu%s: no stream afterwards", world->from, world->on ? " and on" : "");
	mesh_worker_free(caller);
	mesh_listener_close(listener);
	mesh_worker_free(callee);
	data_plane_close(&client);
	data_plane_close(&server);
	for (int i = 0; i < 2; i++)
		if (atomic_load(&mems[i].blocks))
			fail_msg("allocation %zu%s: %zu blocks left at the %s", world->from, world->on ? " and on" : "",
				 atomic_load(&mems[i].blocks), i ? "server" : "client");
}

static void each_allocation(struct world *world)
{
	struct test_ca ca;
	unsigned failures = 0;

	test_ca_make(&ca);
	world->certificate =
		test_ca_secret(&ca, &(struct test_leaf){.uri = "spiffe://cluster.local/ns/default/sa/bob"});
	world->roots = test_ca_roots(&ca);
	for (int on = 0; on < 2; on++) {
		world->on = on;
		world->from = 0;
		do {
			world->from++;
			run_world(world);
			failures += world->failed > 0;
		} while (world->asked >= world->from);
	}
	assert_true(failures > 10);
	mesh_secret_release(world->certificate);
	mesh_secret_release(world->roots);
	test_ca_free(&ca);
}

static void test_client_short_of_memory(void **state)
{
	each_allocation(&(struct world){.server = false});
}

static void test_server_short_of_memory(void **state)
{
	each_allocation(&(struct world){.server = true});
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_client_short_of_memory),
		cmocka_unit_test(test_server_short_of_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
