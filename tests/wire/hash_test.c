/* SPDX-License-Identifier: Apache-2.0 */
/* Calls of one hash go to one endpoint, the one of Envoy's ring, whichever worker makes them; the rest go anywhere. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include <mesh/mesh.h>

#include "base/hash.h"
#include "lb/lb.h"
#include "support/data_plane.h"
#include "support/raw_peer.h"

enum { SERVERS = 4, USERS = 25, WAIT_MS = 10000 };

struct scene {
	struct data_plane plane;
	struct raw_server servers[SERVERS];
	struct mesh_worker *workers[2];
	enum lb_kind kind;
	enum { LEAVE, REPLACE, REMOVE } change; /* what the route does with the header that is hashed */
};

static void serve(struct raw_server *server, int fd, unsigned number)
{
	char request[4096];

	/* one connection at a time: the other worker's call waits for this one to end */
	if (raw_response(fd, request, sizeof(request)))
		raw_say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
}

static void edit_cluster(struct data_plane *plane, struct cluster_config *cluster)
{
	cluster->lb = ((struct scene *)plane->user)->kind;
}

/* Where the route is told to change the header, too: what is hashed is the request as the route has changed it. */
static void edit_routes(struct data_plane *plane, struct route_config *routes, bool inbound)
{
	static struct hash_policy policies[] = {{.source = HASH_HEADER, .name = {"x-user", 6}}};
	static struct mesh_slice removed[] = {{"x-user", 6}};
	static struct header_mutation replaced[] = {
		{.how = HEADER_OVERWRITE_OR_ADD, .name = {"x-user", 6}, .value = {"by the route", 12}}};
	struct route *route = &routes->hosts[0].routes[0];
	struct scene *scene = plane->user;

	if (inbound)
		return;
	route->hash_policies = policies;
	route->hash_policy_count = 1;
	route->mutations.request_remove = removed;
	route->mutations.request_remove_count = scene->change == REMOVE;
	route->mutations.request_add = replaced;
	route->mutations.request_add_count = scene->change == REPLACE;
}

static int open_scene(void **state)
{
	struct scene *scene = calloc(1, sizeof(*scene));

	assert_int_equal(data_plane_open(&scene->plane, 1, &mesh_mem_default), 0);
	for (size_t i = 0; i < 2; i++)
		assert_int_equal(mesh_worker_new(scene->plane.mesh, &scene->workers[i]), 0);
	scene->plane.user = scene;
	scene->plane.edit_cluster = edit_cluster;
	scene->plane.edit_routes = edit_routes;
	for (size_t i = 0; i < SERVERS; i++) {
		scene->servers[i].serve = serve;
		raw_server_start(&scene->servers[i]);
		scene->plane.ports[scene->plane.port_count++] = scene->servers[i].port;
	}
	*state = scene;
	return 0;
}

static int close_scene(void **state)
{
	struct scene *scene = *state;

	for (size_t i = 0; i < 2; i++)
		mesh_worker_free(scene->workers[i]);
	data_plane_close(&scene->plane);
	for (size_t i = 0; i < SERVERS; i++)
		raw_server_stop(&scene->servers[i]);
	free(scene);
	return 0;
}

/* Which server a call went to. */
static size_t call(struct scene *scene, size_t worker, const char *user)
{
	struct mesh_header header = {mesh_slice_of("x-user"), mesh_slice_of(user)};
	struct mesh_request request = {.size = sizeof(request), .authority = mesh_slice_of("reviews:9080"),
				       .headers = &header, .header_count = user[0] ? 1 : 0,
				       .worker = scene->workers[worker]};
	struct mesh_call *call;
	size_t i;

	assert_int_equal(mesh_call_start(scene->plane.mesh, &request, NULL, NULL, &call), 0);
	assert_int_equal(mesh_call_wait(call, WAIT_MS), 0);
	for (i = 0; i < SERVERS; i++) {
		char text[32];

		snprintf(text, sizeof(text), "127.0.0.1:%u", scene->servers[i].port);
		if (mesh_slice_equal(mesh_call_result(call)->endpoint, mesh_slice_of(text)))
			break;
	}
	assert_true(i < SERVERS);
	mesh_call_release(call);
	return i;
}

/* The same endpoints balanced on their own. */
static struct balancer *reference(struct scene *scene, char (*keys)[32], struct lb_endpoint *endpoints)
{
	static struct locality locality;
	static struct endpoint_set set = {.localities = &locality, .count = 1, .priority_count = 1};
	static struct cluster_config cluster;
	struct balancer *balancer;

	cluster.lb = scene->kind;
	for (size_t i = 0; i < SERVERS; i++) {
		snprintf(keys[i], sizeof(keys[i]), "127.0.0.1:%u", scene->servers[i].port);
		endpoints[i] = (struct lb_endpoint){.weight = 1, .healthy = true, .key = mesh_slice_of(keys[i])};
	}
	assert_int_equal(mesh_balancer_new(&mesh_mem_default, &cluster, &set, endpoints, SERVERS, 1, &balancer), 0);
	return balancer;
}

static void one_endpoint_for_a_hash(void **state)
{
	static const enum lb_kind kinds[] = {LB_RING_HASH, LB_MAGLEV};
	struct scene *scene = *state;

	for (size_t row = 0; row < sizeof(kinds) / sizeof(kinds[0]); row++) {
		struct lb_endpoint endpoints[SERVERS];
		char keys[SERVERS][32];
		struct balancer *balancer;

		scene->kind = kinds[row];
		data_plane_publish(&scene->plane);
		balancer = reference(scene, keys, endpoints);
		for (int i = 0; i < USERS; i++) {
			char user[16];
			struct lb_choice choice;
			int64_t expected;

			snprintf(user, sizeof(user), "user-%d", i);
			choice = (struct lb_choice){.hash = mesh_hash_xx64(mesh_slice_of(user), 0)};
			expected = mesh_balancer_pick(balancer, &choice);
			for (size_t again = 0; again < 4; again++)
				assert_int_equal(call(scene, again % 2, user), expected);
		}
		mesh_balancer_free(balancer);
	}
}

static void hashed_as_the_route_changed_it(void **state)
{
	struct scene *scene = *state;
	struct lb_endpoint endpoints[SERVERS];
	char keys[SERVERS][32];
	struct lb_choice choice = {.hash = mesh_hash_xx64(MESH_SLICE("by the route"), 0)};
	struct balancer *balancer;
	int64_t expected;

	scene->kind = LB_RING_HASH;
	scene->change = REPLACE;
	data_plane_publish(&scene->plane);
	balancer = reference(scene, keys, endpoints);
	expected = mesh_balancer_pick(balancer, &choice);
	for (int i = 0; i < USERS; i++) {
		char user[16];

		snprintf(user, sizeof(user), "user-%d", i);
		assert_int_equal(call(scene, (size_t)i % 2, user), expected);
	}
	mesh_balancer_free(balancer);
}

static void call_anywhere(struct scene *scene, const char *user)
{
	unsigned seen[SERVERS] = {0};

	scene->kind = LB_RING_HASH;
	data_plane_publish(&scene->plane);
	for (int i = 0; i < 200; i++)
		seen[call(scene, 0, user)]++;
	for (size_t i = 0; i < SERVERS; i++)
		assert_true(seen[i] > 0);
}

static void anywhere_without_a_hash(void **state)
{
	call_anywhere(*state, "");
}

static void anywhere_without_what_the_route_removed(void **state)
{
	struct scene *scene = *state;

	scene->change = REMOVE;
	call_anywhere(scene, "user");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(one_endpoint_for_a_hash, open_scene, close_scene),
		cmocka_unit_test_setup_teardown(hashed_as_the_route_changed_it, open_scene, close_scene),
		cmocka_unit_test_setup_teardown(anywhere_without_a_hash, open_scene, close_scene),
		cmocka_unit_test_setup_teardown(anywhere_without_what_the_route_removed, open_scene, close_scene),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
