/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Do calls and streams go to the endpoints of a cluster of names, under the host name where the route says so, to the newest
 * address of LOGICAL_DNS without giving up connections; and does a call that finds none say which name it is and why?
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include <mesh/mesh.h>

#include "support/data_plane.h"
#include "support/raw_peer.h"
#include "support/tcp_pair.h"

enum { SERVERS = 2, WAIT_MS = 10000 };

struct scene {
	struct data_plane plane;
	struct raw_server servers[SERVERS];
	struct mesh_worker *worker;
	enum cluster_kind kind;
	bool rewrite, forwarded, names;
	const char *reason; /* given: no endpoint */
	char seen[4096];    /* the last request */
};

/* Answers one request after the other, until the client goes. */
static void serve(struct raw_server *server, int fd, unsigned number)
{
	struct scene *scene = (struct scene *)server->user;
	char request[sizeof(scene->seen)] = "";

	while (raw_until(fd, request, sizeof(request), "\r\n\r\n")) {
		memcpy(scene->seen, request, sizeof(request));
		request[0] = '\0';
		raw_say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
	}
}

static void edit_cluster(struct data_plane *plane, struct cluster_config *cluster)
{
	cluster->kind = ((struct scene *)plane->user)->kind;
}

static void edit_routes(struct data_plane *plane, struct route_config *routes, bool inbound)
{
	struct scene *scene = plane->user;

	if (inbound)
		return;
	routes->hosts[0].routes[0].auto_host_rewrite = scene->rewrite;
	routes->hosts[0].routes[0].append_forwarded_host = scene->forwarded;
}

static void edit_endpoints(struct data_plane *plane, struct endpoint_set *set)
{
	struct scene *scene = plane->user;
	struct endpoint_config *endpoints = set->localities[0].endpoints;

	if (scene->reason) {
		set->localities[0].count = set->endpoint_count = 0;
		set->reason = mesh_slice_of(scene->reason);
		return;
	}
	for (size_t i = 0; scene->names && i < set->localities[0].count; i++)
		endpoints[i].hostname = mesh_arena_printf(&set->object.arena, "Host-%u.example", endpoints[i].port);
	if (scene->kind != CLUSTER_LOGICAL_DNS)
		return;
	endpoints[0].text = mesh_slice_of("a.example:80");
	endpoints[0].hash = mesh_slice_hash(endpoints[0].text);
	set->localities[0].count = set->endpoint_count = 1;
}

static int open_scene(void **state)
{
	struct scene *scene = calloc(1, sizeof(*scene));

	assert_int_equal(data_plane_open(&scene->plane, 1, &mesh_mem_default), 0);
	assert_int_equal(mesh_worker_new(scene->plane.mesh, &scene->worker), 0);
	scene->plane.user = scene;
	scene->plane.edit_cluster = edit_cluster;
	scene->plane.edit_routes = edit_routes;
	scene->plane.edit_endpoints = edit_endpoints;
	scene->kind = CLUSTER_STRICT_DNS;
	scene->names = true;
	for (size_t i = 0; i < SERVERS; i++) {
		scene->servers[i].serve = serve;
		scene->servers[i].user = scene;
		raw_server_start(&scene->servers[i]);
		scene->plane.ports[scene->plane.port_count++] = scene->servers[i].port;
	}
	*state = scene;
	return 0;
}

static int close_scene(void **state)
{
	struct scene *scene = *state;

	mesh_worker_free(scene->worker);
	data_plane_close(&scene->plane);
	for (size_t i = 0; i < SERVERS; i++)
		raw_server_stop(&scene->servers[i]);
	free(scene);
	return 0;
}

static struct mesh_call *call(struct scene *scene, int error)
{
	struct mesh_request request = {
		.size = sizeof(request), .authority = mesh_slice_of("reviews:9080"), .worker = scene->worker};
	struct mesh_call *call;

	assert_int_equal(mesh_call_start(scene->plane.mesh, &request, NULL, NULL, &call), 0);
	assert_int_equal(mesh_call_wait(call, WAIT_MS), error);
	return call;
}

/* The next answer for the only name: what is published shares all but that with what was. */
static void move(struct scene *scene, uint16_t port)
{
	struct mesh *mesh = scene->plane.mesh;
	struct snapshot *now = mesh_publisher_get(&mesh->publisher), *next = NULL;
	struct mesh_slice name = MESH_SLICE("outbound|9080||reviews");
	const struct endpoint_set *from = (const struct endpoint_set *)mesh_table_get(now->resolved, name);
	struct endpoint_set *set = mesh_config_object_new(&mesh->mem, sizeof(*set), name);
	struct config_object own = set->object;
	struct table *resolved = NULL;
	struct locality *locality;

	*set = *from;
	set->object = own;
	locality = set->localities = mesh_arena_array(&set->object.arena, 1, sizeof(*locality));
	locality->weight = 1;
	locality->count = 1;
	locality->endpoints = mesh_arena_array(&set->object.arena, 1, sizeof(*locality->endpoints));
	locality->endpoints[0] = from->localities[0].endpoints[0];
	locality->endpoints[0].hostname.len = 0; /* the old set's memory */
	mesh_address_set_port(&locality->endpoints[0].address, port);
	assert_int_equal(mesh_table_put(&mesh->mem, now->resolved, &set->object.item, &resolved), 0);
	assert_int_equal(mesh_snapshot_next(&mesh->mem, now, ++scene->plane.version, now->listeners, now->routes,
					    now->clusters, now->endpoints, now->secrets, true, &next),
			 0);
	mesh_snapshot_resolve(next, resolved);
	mesh_publisher_set(&mesh->publisher, next);
	mesh_config_object_release(set);
	mesh_table_release(resolved);
	mesh_snapshot_release(now);
}

/* Which of the servers took it. */
static size_t port_of(struct mesh_call *call)
{
	struct mesh_slice endpoint = mesh_call_result(call)->endpoint, host;
	uint16_t port = 0;

	assert_true(mesh_address_split(endpoint, &host, &port));
	return port;
}

static void says(struct scene *scene, const char *header, bool expected)
{
	if ((strstr(scene->seen, header) != NULL) != expected)
		fail_msg("%s%s in %s", expected ? "no " : "", header, scene->seen);
}

/* --- */

static void under_its_name(void **state)
{
	struct scene *scene = *state;
	char expected[64];

	scene->rewrite = scene->forwarded = true;
	data_plane_publish(&scene->plane);
	for (int i = 0; i < 4; i++) { /* each endpoint under its own */
		struct mesh_call *one = call(scene, 0);

		snprintf(expected, sizeof(expected), "host: Host-%zu.example\r\n", port_of(one));
		says(scene, expected, true);
		says(scene, "x-forwarded-host: reviews:9080\r\n", true);
		mesh_call_release(one);
	}
	scene->forwarded = false;
	data_plane_publish(&scene->plane);
	mesh_call_release(call(scene, 0));
	says(scene, "host: Host-", true);
	says(scene, "x-forwarded-host", false);
}

static void as_it_was_said(void **state)
{
	struct scene *scene = *state;

	data_plane_publish(&scene->plane);
	mesh_call_release(call(scene, 0));
	says(scene, "host: reviews:9080\r\n", true);
	/* an endpoint without a name takes what was said, too */
	scene->rewrite = scene->forwarded = true;
	scene->names = false;
	data_plane_publish(&scene->plane);
	mesh_call_release(call(scene, 0));
	says(scene, "host: reviews:9080\r\n", true);
	says(scene, "x-forwarded-host", false);
	/* those of EDS have one as well where it was sent */
	scene->kind = CLUSTER_EDS;
	scene->names = true;
	data_plane_publish(&scene->plane);
	mesh_call_release(call(scene, 0));
	says(scene, "host: Host-", true);
}

static void logical_moves(void **state)
{
	struct scene *scene = *state;
	struct mesh_request request = {.size = sizeof(request),
				       .authority = mesh_slice_of("reviews:9080"),
				       .worker = scene->worker,
				       .method = mesh_slice_of("POST"),
				       .more_body = true};
	struct mesh_call *one, *open;

	scene->kind = CLUSTER_LOGICAL_DNS;
	data_plane_publish(&scene->plane);
	one = call(scene, 0);
	assert_true(mesh_slice_equal(mesh_call_result(one)->endpoint, MESH_SLICE("a.example:80")));
	mesh_call_release(one);
	assert_int_equal(scene->servers[0].accepted, 1);
	move(scene, scene->servers[1].port);
	mesh_call_release(call(scene, 0)); /* by the connection that is there */
	assert_int_equal(scene->servers[0].accepted, 1);
	assert_int_equal(scene->servers[1].accepted, 0);
	/* it is in use: a new one goes to the newest address */
	assert_int_equal(mesh_call_start(scene->plane.mesh, &request, NULL, NULL, &open), 0);
	mesh_call_release(call(scene, 0));
	assert_int_equal(scene->servers[1].accepted, 1);
	mesh_call_cancel(open);
	mesh_call_release(open);
}

static void none_and_why(void **state)
{
	struct scene *scene = *state;
	struct mesh_call *one;

	scene->reason = "api.example: no such name";
	data_plane_publish(&scene->plane);
	one = call(scene, MESH_ERROR_NO_ENDPOINT);
	assert_string_equal(mesh_call_result(one)->flag, "UH");
	assert_true(mesh_slice_equal(
		mesh_call_result(one)->why,
		MESH_SLICE("no endpoint in cluster outbound|9080||reviews: api.example: no such name")));
	mesh_call_release(one);
	scene->reason = NULL;
	data_plane_publish(&scene->plane);
	mesh_call_release(call(scene, 0)); /* as soon as there is one */
}

static void names(struct tcp_pair *pair, struct cluster_config *cluster)
{
	cluster->kind = CLUSTER_STRICT_DNS;
}

static void streams_too(void **state)
{
	struct tcp_pair *pair = *state;
	struct mesh_stream *stream;
	char got[8] = "";
	size_t len = 0;

	pair->edit_cluster = names;
	tcp_pair_publish(pair);
	stream = tcp_pair_dial(pair);
	assert_non_null(stream);
	assert_int_equal(tcp_pair_write(stream, "hello", 5), 0);
	assert_int_equal(tcp_pair_read(stream, got, 5, &len), 0);
	assert_string_equal(got, "hello");
	mesh_stream_close(stream);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_scene, close_scene)
	const struct CMUnitTest tests[] = {
		TEST(under_its_name),
		TEST(as_it_was_said),
		TEST(logical_moves),
		TEST(none_and_why),
		cmocka_unit_test_setup_teardown(streams_too, tcp_pair_setup, tcp_pair_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
