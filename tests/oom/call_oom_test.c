/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls between two meshes of one process, one of them short of memory. With borrowed workers everything runs on this
 * thread, so that the n-th allocation is the same one each time: the client's or the server's, TLS transports included.
 * With library workers it is about the hand-over between threads.
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

struct world {
	struct secret *certificate, *roots;
	bool server;          /* which side is short */
	bool library;         /* library workers on both sides */
	bool http2;
	size_t from;          /* the allocation to fail, counted from when the meshes are up */
	bool on;              /* and all behind it */
	size_t asked, failed; /* allocations of the last run; refused of these */
	unsigned good, bad;   /* calls by outcome */
};

static struct mesh_slice text(const char *s)
{
	return mesh_slice_of(s);
}

static void handler(struct mesh_call *call, void *user)
{
	static const struct mesh_header header = {{"x-app", 5}, {"some value", 10}}, trailer = {{"x-end", 5}, {"yes", 3}};

	if (!mesh_slice_equal(mesh_call_path(call), mesh_slice_of("/chunked"))) {
		mesh_call_respond(call, 200, &header, 1, mesh_call_body(call), true);
		return;
	}
	if (mesh_call_respond(call, 200, &header, 1, mesh_slice_of("one"), false))
		return;
	if (!mesh_call_send(call, mesh_slice_of("two"), false))
		mesh_call_send_trailers(call, &trailer, 1);
}

/* All that adds something to a request or a timer to a call. */
static void edit_chain(struct data_plane *plane, struct chain *chain, struct arena *arena, bool inbound)
{
	struct http_config *http = chain->http;

	http->forward_cert = FORWARD_CERT_SANITIZE_SET;
	http->xfcc_cert = http->xfcc_chain = http->xfcc_subject = http->xfcc_uri = http->xfcc_dns = true;
	http->use_remote_address = http->strip_any_host_port = true;
}

static void edit_routes(struct data_plane *plane, struct route_config *routes, bool inbound)
{
	routes->hosts[0].routes[0].idle_timeout_ns = 20000000000;
}

/* The end of an outlier detector's interval comes with each pick. */
static void edit_cluster(struct data_plane *plane, struct cluster_config *cluster)
{
	cluster->outlier = (struct outlier_config){.on = true, .interval_ns = 1, .base_ejection_ns = 1, .max_ejection_ns = 1};
}

/* Without an ALPN in common: the server finds it out from the first bytes. */
static void edit_http2(struct data_plane *plane, struct cluster_config *cluster)
{
	edit_cluster(plane, cluster);
	cluster->protocol = UPSTREAM_HTTP2;
}

static void open_plane(struct world *world, struct data_plane *plane, const struct mesh_mem *mem)
{
	assert_int_equal(data_plane_open(plane, world->library, mem), 0);
	plane->certificate = world->certificate;
	plane->roots = world->roots;
	plane->inbound = DATA_PLANE_STRICT;
	plane->client_tls = &data_plane_istio_client;
	plane->timeout_ns = 20000000000;
	plane->edit_chain = edit_chain;
	plane->edit_routes = edit_routes;
	plane->edit_cluster = world->http2 ? edit_http2 : edit_cluster;
}

/* Drives both loops until the call is over. A call that memory failed in must end, not hang. */
static void finish(struct world *world, struct mesh_call *call, struct mesh_worker *client, struct mesh_worker *server)
{
	const struct mesh_result *result;

	if (world->library)
		mesh_call_wait(call, 10000);
	for (int i = 0; !world->library && i < 4000 && !mesh_call_result(call); i++) {
		mesh_worker_run(client, 0);
		mesh_worker_run(server, mesh_call_result(call) ? 0 : 1);
	}
	result = mesh_call_result(call);
	if (!result) {
		fprintf(stderr, "allocation %zu%s: the call hangs\n", world->from, world->on ? " and on" : "");
		assert_non_null(result);
	}
	/* a whole answer, or a named failure */
	if (result->status == 0)
		assert_true(mesh_call_http_status(call) == 200 || mesh_call_http_status(call) == 500);
	else
		assert_true(result->why.len > 0);
	if (result->status == 0 && mesh_call_http_status(call) == 200)
		world->good++;
	else
		world->bad++;
	mesh_call_release(call);
}

/* Whatever cannot be sent any more, the call ends: it is given up here as an application would. */
static void send_rest(struct mesh_call *call)
{
	static const struct mesh_header trailer = {{"x-end", 5}, {"yes", 3}};
	int rc = mesh_call_send(call, mesh_slice_of("more"), false);

	if (!rc)
		rc = mesh_call_send_trailers(call, &trailer, 1);
	if (rc)
		mesh_call_cancel(call);
}

static void run_calls(struct world *world, struct data_plane *client, struct mesh_worker *caller, struct mesh_worker *server)
{
	static char large[70000];
	static const struct mesh_header header = {{"x-app", 5}, {"1", 1}};
	const struct mesh_slice bodies[] = {{NULL, 0}, {"small", 5}, {large, sizeof(large)}, {NULL, 0}};

	for (int i = 0; i < 4; i++) {
		struct mesh_request request = {.size = sizeof(request), .authority = text("reviews:9080"), .body = bodies[i],
					       .path = text(i == 3 ? "/chunked" : "/"), .method = text(i ? "PUT" : "GET"),
					       .headers = &header, .header_count = 1, .worker = caller, .more_body = i == 1};
		struct mesh_call *call;
		int rc = mesh_call_start(client->mesh, &request, NULL, NULL, &call);

		if (rc) {
			assert_int_equal(rc, MESH_ERROR_NOMEM);
			world->bad++;
			continue;
		}
		if (request.more_body)
			send_rest(call);
		finish(world, call, caller, server);
	}
}

static void run_world(struct world *world)
{
	struct failing_mem mems[2], *failing = &mems[world->server];
	struct data_plane client, server;
	struct mesh_worker *caller, *callee;
	struct mesh_listener *listener;
	struct mesh_listen_options options = {.size = sizeof(options), .handler = handler, .address = "127.0.0.1",
					      .request_bytes_max = 100000, .grace_ms = 1};
	size_t start;

	failing_mem_init(&mems[0], 0);
	failing_mem_init(&mems[1], 0);
	open_plane(world, &client, &mems[0].mem);
	open_plane(world, &server, &mems[1].mem);
	if (world->library) {
		assert_int_equal(mesh_worker_library(client.mesh, &caller), 0);
		callee = NULL; /* whichever accepts */
	} else {
		assert_int_equal(mesh_worker_new(client.mesh, &caller), 0);
		assert_int_equal(mesh_worker_new(server.mesh, &callee), 0);
	}
	options.worker = callee;
	assert_int_equal(mesh_listen(server.mesh, &options, &listener), 0);
	client.ports[client.port_count++] = mesh_listener_port(listener);
	data_plane_publish(&client);
	data_plane_publish(&server);
	start = atomic_load(&failing->calls);
	world->good = world->bad = 0;
	failing->fail_at = start + world->from;
	failing->fail_on = world->on;
	run_calls(world, &client, caller, callee);
	world->asked = atomic_load(&failing->calls) - start;
	world->failed = atomic_load(&failing->failed);
	failing->fail_at = 0;
	/* memory came back: so do the calls */
	world->good = 0;
	run_calls(world, &client, caller, callee);
	if (world->good != 4)
		fail_msg("allocation %zu%s: %u of 4 calls good afterwards", world->from, world->on ? " and on" : "", world->good);
	if (!world->library)
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
	world->certificate = test_ca_secret(&ca, &(struct test_leaf){.uri = "spiffe://cluster.local/ns/default/sa/bob"});
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
	assert_true(failures > 20);
	mesh_secret_release(world->certificate);
	mesh_secret_release(world->roots);
	test_ca_free(&ca);
}

static void test_client_short_of_memory(void **state)
{
	struct world world = {.server = false};

	each_allocation(&world);
}

static void test_server_short_of_memory(void **state)
{
	struct world world = {.server = true};

	each_allocation(&world);
}

static void test_http2_short_of_memory(void **state)
{
	struct world world = {.http2 = true};

	each_allocation(&world);
	world.server = true;
	each_allocation(&world);
}

static void test_library_workers_short_of_memory(void **state)
{
	struct world world = {.library = true};

	each_allocation(&world);
	world.server = true;
	each_allocation(&world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_client_short_of_memory),
		cmocka_unit_test(test_server_short_of_memory),
		cmocka_unit_test(test_http2_short_of_memory),
		cmocka_unit_test(test_library_workers_short_of_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
