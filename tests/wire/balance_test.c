/* SPDX-License-Identifier: Apache-2.0 */
/* Balancing as a call meets it: cookies that are made for who has none, latency that is learned from answers, subsets and zones. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include <mesh/mesh.h>

#include "config/subset_wish.h"
#include "lb/lb.h"
#include "support/data_plane.h"
#include "support/raw_peer.h"

enum { SERVERS = 4, WAIT_MS = 10000, SLOW_MS = 40 };

struct scene {
	struct data_plane plane;
	struct raw_server servers[SERVERS];
	struct mesh_worker *worker;
	void (*edit)(struct cluster_config *cluster);
	void (*edit_set)(struct endpoint_set *set);
	const struct subset_wish *wish;
	bool slow; /* the first server is */
};

static void serve(struct raw_server *server, int fd, unsigned number)
{
	const struct scene *scene = server->user;
	char request[4096];

	if (!raw_response(fd, request, sizeof(request)))
		return;
	if (scene->slow && server == scene->servers)
		nanosleep(&(struct timespec){.tv_nsec = SLOW_MS * 1000000}, NULL);
	raw_say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
}

static void edit_cluster(struct data_plane *plane, struct cluster_config *cluster)
{
	((struct scene *)plane->user)->edit(cluster);
}

static void edit_endpoints(struct data_plane *plane, struct endpoint_set *set)
{
	struct scene *scene = plane->user;

	if (scene->edit_set)
		scene->edit_set(set);
}

static void edit_routes(struct data_plane *plane, struct route_config *routes, bool inbound)
{
	if (!inbound)
		routes->hosts[0].routes[0].subset = ((struct scene *)plane->user)->wish;
}

static int open_scene(void **state)
{
	struct scene *scene = calloc(1, sizeof(*scene));

	assert_int_equal(data_plane_open(&scene->plane, 1, &mesh_mem_default), 0);
	snprintf(scene->plane.mesh->locality, sizeof(scene->plane.mesh->locality), "r/here");
	assert_int_equal(mesh_worker_new(scene->plane.mesh, &scene->worker), 0);
	scene->plane.user = scene;
	scene->plane.edit_cluster = edit_cluster;
	scene->plane.edit_endpoints = edit_endpoints;
	scene->plane.edit_routes = edit_routes;
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

/* Which server a call went to; the cookie it was given, empty: none. */
static size_t call(struct scene *scene, const char *cookie, char *given, size_t bytes)
{
	struct mesh_header header = {mesh_slice_of("cookie"), mesh_slice_of(cookie)};
	struct mesh_request request = {.size = sizeof(request),
				       .authority = mesh_slice_of("reviews:9080"),
				       .headers = &header,
				       .header_count = cookie[0] ? 1 : 0,
				       .worker = scene->worker};
	struct mesh_slice value = {NULL, 0};
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
	if (given) {
		value = mesh_call_header(call, "set-cookie");
		snprintf(given, bytes, "%.*s", (int)value.len, value.len ? value.data : "");
	}
	mesh_call_release(call);
	return i;
}

/* The cluster's own policy, which comes before the route's. */
static void by_cookie(struct cluster_config *cluster)
{
	static struct hash_policy policies[] = {
		{.source = HASH_COOKIE, .name = {"stick", 5}, .cookie_tail = {"; Max-Age=60; Path=/; HttpOnly", 30}}};

	cluster->lb = LB_MAGLEV;
	cluster->balance.hash_policies = policies;
	cluster->balance.hash_policy_count = 1;
}

static void cookies(void **state)
{
	struct scene *scene = *state;
	bool seen[SERVERS] = {false};

	scene->edit = by_cookie;
	data_plane_publish(&scene->plane);
	for (int i = 0; i < 24; i++) {
		char given[128], sent[128], none[128];
		size_t server = call(scene, "", given, sizeof(given));

		assert_memory_equal(given, "stick=\"", 7);
		assert_string_equal(given + 23, "\"; Max-Age=60; Path=/; HttpOnly");
		snprintf(sent, sizeof(sent), "other=1; stick=%.16s", given + 7);
		assert_int_equal(call(scene, sent, none, sizeof(none)), server);
		assert_string_equal(none, ""); /* it has one */
		seen[server] = true;
	}
	for (size_t i = 0; i < SERVERS; i++)
		assert_true(seen[i]);
}

static void by_latency(struct cluster_config *cluster)
{
	cluster->lb = LB_LEAST_REQUEST;
	cluster->least_request_choices = 2;
	cluster->balance.ewma.on = true;
}

/* One that is slow is found out by its first answers, and then left alone; without that it has its quarter. */
static void latency(void **state)
{
	struct scene *scene = *state;
	unsigned slow = 0;

	scene->edit = by_latency;
	scene->slow = true;
	data_plane_publish(&scene->plane);
	for (int i = 0; i < 80; i++)
		slow += call(scene, "", NULL, 0) == 0;
	assert_in_range(slow, 0, 4);
}

static void full_scan(struct cluster_config *cluster)
{
	cluster->lb = LB_LEAST_REQUEST;
	cluster->balance.full_scan = true;
}

static void everybody(void **state)
{
	struct scene *scene = *state;
	unsigned seen[SERVERS] = {0};

	scene->edit = full_scan;
	data_plane_publish(&scene->plane);
	for (int i = 0; i < 120; i++)
		seen[call(scene, "", NULL, 0)]++;
	for (size_t i = 0; i < SERVERS; i++)
		assert_in_range(seen[i], 10, 55);
}

static void by_version(struct cluster_config *cluster)
{
	static struct mesh_slice keys[] = {{"version", 7}};
	static struct subset_selector selector = {.keys = keys, .key_count = 1};
	static const struct subset_config subset = {.fallback = SUBSET_NOBODY, .selectors = &selector, .selector_count = 1};

	cluster->balance.subset = &subset;
}

/* The third says that it is v2, the others v1. */
static void say_version(struct endpoint_set *set)
{
	static struct lb_label labels[2] = {{.key = {"version", 7}, .value = {"v1", 2}},
					    {.key = {"version", 7}, .value = {"v2", 2}}};

	for (size_t i = 0; i < set->localities[0].count; i++) {
		set->localities[0].endpoints[i].lb_labels = &labels[i == 2];
		set->localities[0].endpoints[i].lb_label_count = 1;
	}
}

/* A route asks for endpoints of one version, and for one that none has. */
static void subsets(void **state)
{
	static struct label v2 = {{"version", 7}, {"v2", 2}}, v3 = {{"version", 7}, {"v3", 2}};
	static const struct subset_wish wishes[] = {{.match = {&v2, 1}}, {.match = {&v3, 1}}};
	struct scene *scene = *state;
	struct mesh_request request = {.size = sizeof(request),
				       .authority = mesh_slice_of("reviews:9080"),
				       .worker = scene->worker};
	struct mesh_call *none;

	scene->edit = by_version;
	scene->edit_set = say_version;
	scene->wish = &wishes[0];
	data_plane_publish(&scene->plane);
	for (int i = 0; i < 12; i++)
		assert_int_equal(call(scene, "", NULL, 0), 2);
	scene->wish = &wishes[1];
	data_plane_publish(&scene->plane);
	assert_int_equal(mesh_call_start(scene->plane.mesh, &request, NULL, NULL, &none), 0);
	mesh_call_wait(none, WAIT_MS);
	assert_int_equal(mesh_call_result(none)->status, MESH_ERROR_NO_ENDPOINT);
	mesh_call_release(none);
}

static void by_zone(struct cluster_config *cluster)
{
	cluster->balance.zone = (struct zone_config){.on = true, .routing_percent = 100, .min_cluster_size = 1};
}

/* Of the servers one in four is here, of our own cluster one in two. */
static void two_zones(struct endpoint_set *set)
{
	static struct locality zones[2][2];
	bool local = mesh_slice_equal(set->object.item.name, MESH_SLICE(MESH_LOCAL_CLUSTER));
	struct locality *made = zones[local];
	struct locality all = set->localities[0];

	made[0] = made[1] = all;
	made[0].region = made[1].region = MESH_SLICE("r");
	made[0].zone = MESH_SLICE("here");
	made[1].zone = MESH_SLICE("there");
	if (!local) {
		made[0].count = 1;
		made[1].endpoints = all.endpoints + 1;
		made[1].count = all.count - 1;
	} else {
		set->endpoint_count = 2;
	}
	set->localities = made;
	set->count = 2;
}

/* Half of us are here, and a quarter of the servers: half of our calls stay. Without a local cluster a quarter. */
static void zones(void **state)
{
	struct scene *scene = *state;
	unsigned here = 0;

	scene->edit = by_zone;
	scene->edit_set = two_zones;
	scene->plane.more[0] = (struct data_plane_cluster){MESH_LOCAL_CLUSTER, 1};
	scene->plane.more_count = 1;
	data_plane_publish(&scene->plane);
	for (int i = 0; i < 300; i++)
		here += call(scene, "", NULL, 0) == 0;
	assert_in_range(here, 115, 185);
	scene->plane.more_count = 0;
	data_plane_publish(&scene->plane);
	here = 0;
	for (int i = 0; i < 300; i++)
		here += call(scene, "", NULL, 0) == 0;
	assert_in_range(here, 45, 105);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(cookies, open_scene, close_scene),
		cmocka_unit_test_setup_teardown(latency, open_scene, close_scene),
		cmocka_unit_test_setup_teardown(subsets, open_scene, close_scene),
		cmocka_unit_test_setup_teardown(zones, open_scene, close_scene),
		cmocka_unit_test_setup_teardown(everybody, open_scene, close_scene),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
