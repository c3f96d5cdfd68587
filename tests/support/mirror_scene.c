/* SPDX-License-Identifier: Apache-2.0 */
/* Runs both servers in threads of their own and the mesh in the test's. */
#include "support/mirror_scene.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <string.h>
#include <unistd.h>

static bool receive(struct mirror_peer *peer, int fd)
{
	char *text = peer->reading;

	text[0] = '\0';
	if (!raw_until(fd, text, MIRROR_ROOM, "\r\n\r\n"))
		return false;
	if (strstr(text, "chunked"))
		return strstr(text, "\r\n0\r\n") || raw_until(fd, text, MIRROR_ROOM, "\r\n0\r\n");
	if (strcasestr(text, "content-length: 0\r\n") || !strcasestr(text, "content-length:"))
		return true;
	return raw_until(fd, text, MIRROR_ROOM, "THE END");
}

static void serve(struct raw_server *server, int fd, unsigned number)
{
	struct mirror_peer *peer = (struct mirror_peer *)server->user;
	char rest[100];

	while (atomic_load(&peer->manner) == MIRROR_IGNORES && !atomic_load(&peer->go))
		usleep(1000);
	for (;;) {
		char *before = peer->request;

		if (!receive(peer, fd))
			return;
		peer->request = peer->reading;
		peer->reading = before;
		atomic_fetch_add(&peer->requests, 1);
		switch (atomic_load(&peer->manner)) {
		case MIRROR_IGNORES:
		case MIRROR_ANSWERS:
			raw_say(fd, peer->answer);
			if (strstr(peer->answer, "close"))
				return;
			break;
		case MIRROR_HANGS:
			raw_rest(fd, rest, sizeof(rest));
			return;
		case MIRROR_RESETS:
			raw_reset(fd);
			return;
		}
	}
}

static void start_peer(struct mirror_peer *peer)
{
	peer->answer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
	peer->request = malloc(MIRROR_ROOM);
	peer->request[0] = '\0';
	peer->reading = malloc(MIRROR_ROOM);
	peer->server.serve = serve;
	peer->server.user = peer;
	raw_server_start(&peer->server);
}

static void stop_peer(struct mirror_peer *peer)
{
	atomic_store(&peer->go, true);
	raw_server_stop(&peer->server);
	free(peer->request);
	free(peer->reading);
}

static void edit_routes(struct data_plane *plane, struct route_config *routes, bool inbound)
{
	struct mirror_scene *scene = plane->user;

	if (inbound)
		return;
	routes->hosts[0].routes[0].mirrors = &scene->mirrors;
	routes->hosts[0].routes[0].host_rewrite = scene->host_rewrite;
}

void mirror_scene_publish(struct mirror_scene *scene)
{
	for (size_t i = 0; i < 2; i++)
		scene->policies[i].cluster_hash = mesh_slice_hash(scene->policies[i].cluster);
	data_plane_publish(&scene->plane);
}

int mirror_scene_open(void **state)
{
	struct mirror_scene *scene = calloc(1, sizeof(*scene));

	failing_mem_init(&scene->mem, 0);
	assert_int_equal(data_plane_open(&scene->plane, 1, &scene->mem.mem), 0);
	strcpy(scene->plane.mesh->pod_ip, "10.1.2.3");
	assert_int_equal(mesh_worker_new(scene->plane.mesh, &scene->worker), 0);
	mesh_rand_seed(&scene->worker->env.rand, 7);
	start_peer(&scene->main);
	start_peer(&scene->other);
	scene->plane.ports[scene->plane.port_count++] = scene->main.server.port;
	scene->plane.more[scene->plane.more_count++] =
		(struct data_plane_cluster){MIRROR_OTHER, scene->other.server.port};
	scene->plane.edit_routes = edit_routes;
	scene->plane.user = scene;
	scene->policies[0].cluster = mesh_slice_of(MIRROR_OTHER);
	scene->mirrors = (struct mirror_config){scene->policies, 1};
	mirror_scene_publish(scene);
	*state = scene;
	return 0;
}

int mirror_scene_close(void **state)
{
	struct mirror_scene *scene = *state;

	mesh_worker_free(scene->worker);
	data_plane_close(&scene->plane);
	stop_peer(&scene->main);
	stop_peer(&scene->other);
	assert_int_equal(atomic_load(&scene->mem.blocks), 0);
	free(scene);
	return 0;
}

struct mesh_call *mirror_scene_start(struct mirror_scene *scene, struct mesh_request *request)
{
	struct mesh_call *call;

	request->size = sizeof(*request);
	if (!request->authority.data)
		request->authority = mesh_slice_of("reviews:9080");
	request->worker = scene->worker;
	assert_int_equal(mesh_call_start(scene->plane.mesh, request, NULL, NULL, &call), 0);
	return call;
}

void mirror_scene_expect(struct mesh_call *call, int status, int http)
{
	assert_int_equal(mesh_call_wait(call, WAIT_MS), status);
	assert_int_equal(mesh_call_http_status(call), http);
	mesh_call_release(call);
}

void mirror_scene_get(struct mirror_scene *scene)
{
	mirror_scene_expect(mirror_scene_start(scene, &(struct mesh_request){.path = mesh_slice_of("/a?b=c")}), 0, 200);
}

/* Drives the worker until that many requests came there. */
void mirror_scene_await(struct mirror_scene *scene, struct mirror_peer *peer, unsigned requests)
{
	for (int i = 0; i < WAIT_MS && atomic_load(&peer->requests) < requests; i++)
		mesh_worker_run(scene->worker, 1);
	assert_int_equal(atomic_load(&peer->requests), requests);
}

void mirror_scene_await_shadows(struct mirror_scene *scene, unsigned shadows)
{
	for (int i = 0; i < WAIT_MS && scene->worker->shadows != shadows; i++)
		mesh_worker_run(scene->worker, 1);
	assert_int_equal(scene->worker->shadows, shadows);
}

uint64_t registry_counter(struct mesh *mesh, const char *name)
{
	struct buf text;
	uint64_t value;
	char *at;

	mesh_buf_init(&text, &mesh_mem_default, 0);
	assert_int_equal(mesh_registry_stats(&mesh->registry, &text), 0);
	assert_int_equal(mesh_buf_append(&text, (struct mesh_slice){"", 1}), 0);
	at = strstr(text.data + text.start, name);
	assert_non_null(at);
	value = strtoull(at + strlen(name) + 2, NULL, 10);
	mesh_buf_free(&text);
	return value;
}

void assert_in(const char *text, const char *what)
{
	if (!strcasestr(text, what))
		fail_msg("no \"%s\" in:\n%s", what, text);
}

void assert_not_in(const char *text, const char *what)
{
	if (strcasestr(text, what))
		fail_msg("\"%s\" in:\n%s", what, text);
}
