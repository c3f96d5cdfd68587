/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls and a stream that leave by their address or a name that is looked up, through a proxy too, with one allocation after
 * the other failing: each ends, and what was taken is given back.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <stdio.h>

#include <mesh/mesh.h>

#include "call/worker.h"
#include "loop/resolver.h"
#include "support/data_plane.h"
#include "support/dns_server.h"
#include "support/failing_mem.h"
#include "support/raw_peer.h"

enum { WAIT_MS = 10000 };

struct world {
	struct raw_server server;
	struct dns_server dns;
	struct address dns_address;
	struct resolver_options resolver;
	bool bytes, names;
};

static void answer(struct raw_server *server, int fd, unsigned number)
{
	char request[4096] = "";

	while (raw_until(fd, request, sizeof(request), "\r\n\r\n")) {
		if (!raw_say(fd, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"))
			break;
		request[0] = '\0';
	}
}

static struct tunnel_config tunnel = {.target = {"far.test:1", 10}};

static void edit_chain(struct data_plane *plane, struct chain *chain, struct arena *arena, bool inbound)
{
	struct world *world = plane->user;

	if (inbound || !world->bytes)
		return;
	chain->kind = CHAIN_TCP;
	chain->http = NULL;
	chain->tcp_cluster = mesh_slice_of("outbound|9080||reviews");
	chain->tcp_idle_timeout_ns = -1;
	chain->tunnel = world->names ? &tunnel : NULL;
}

static void edit_listener(struct data_plane *plane, struct listener_config *listener, bool inbound)
{
	listener->use_original_dst = true;
}

static void edit_routes(struct data_plane *plane, struct route_config *routes, bool inbound)
{
	routes->any = &routes->hosts[0];
}

static void edit_cluster(struct data_plane *plane, struct cluster_config *cluster)
{
	struct world *world = plane->user;

	cluster->kind = CLUSTER_ORIGINAL_DST;
	cluster->lb = LB_CLUSTER_PROVIDED;
	cluster->names.wanted = world->names;
}

static void call(struct data_plane *plane, const char *authority)
{
	struct mesh_request request = {
		.size = sizeof(request), .authority = mesh_slice_of(authority), .timeout_ms = 5000};
	struct mesh_call *one;

	if (mesh_call_start(plane->mesh, &request, NULL, NULL, &one))
		return;
	mesh_call_wait(one, WAIT_MS);
	assert_non_null(mesh_call_result(one));
	mesh_call_release(one);
}

static void dial(struct data_plane *plane, const char *target)
{
	struct mesh_stream_options options = {.size = sizeof(options),
					      .target = mesh_slice_of(target),
					      .server_first = true,
					      .connect_timeout_ms = 5000};
	struct mesh_stream *stream;

	if (mesh_stream_dial(plane->mesh, &options, NULL, NULL, &stream))
		return;
	assert_true(mesh_stream_wait(stream, MESH_STREAM_OPENED, WAIT_MS) != MESH_ERROR_AGAIN);
	mesh_stream_close(stream);
}

/* How many allocations failed. */
static size_t run(struct world *world, size_t from)
{
	struct failing_mem mem;
	struct data_plane plane;
	struct mesh_worker *worker;
	char by_name[64], by_address[64];
	size_t failed;

	failing_mem_init(&mem, SIZE_MAX);
	assert_int_equal(data_plane_open(&plane, 0, &mem.mem), 0);
	plane.user = world;
	plane.edit_chain = edit_chain;
	plane.edit_listener = edit_listener;
	plane.edit_routes = edit_routes;
	plane.edit_cluster = edit_cluster;
	plane.mesh->resolver = &world->resolver;
	data_plane_publish(&plane);
	assert_int_equal(mesh_worker_implicit(plane.mesh, &worker), 0);
	snprintf(by_name, sizeof(by_name), "api.test:%u", world->server.port);
	snprintf(by_address, sizeof(by_address), "127.0.0.1:%u", world->server.port);
	mem.fail_at = atomic_load(&mem.calls) + from;
	call(&plane, by_name);
	call(&plane, by_address);
	if (world->bytes)
		dial(&plane, by_name);
	failed = atomic_load(&mem.failed);
	mem.fail_at = SIZE_MAX;
	data_plane_close(&plane);
	assert_int_equal(atomic_load(&mem.blocks), 0);
	return failed;
}

static void test_all(void **state)
{
	struct world world = {.server = {.serve = answer}};

	raw_server_start(&world.server);
	dns_server_start(&world.dns);
	dns_server_set(&world.dns, "api.test", "127.0.0.1", 60);
	world.dns_address = dns_server_address(&world.dns);
	world.resolver = (struct resolver_options){
		.servers = &world.dns_address, .server_count = 1, .timeout_ms = 500, .tries = 1, .no_search = true};
	for (int i = 0; i < 4; i++) {
		size_t from = 1;

		world.bytes = i & 1;
		world.names = i & 2;
		while (run(&world, from))
			from++;
		assert_true(from > 10);
	}
	dns_server_stop(&world.dns);
	raw_server_stop(&world.server);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_all)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
