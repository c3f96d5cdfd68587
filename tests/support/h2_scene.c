/* SPDX-License-Identifier: Apache-2.0 */
/* Runs the script of each connection in a thread of its own. Refuses to know what a test expects. */
#include "support/h2_scene.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <stdio.h>
#include <unistd.h>

#include "call/worker.h"

enum { MS = 1000000, WAIT_MS = 10000 };

static void serve(struct raw_server *server, int fd, unsigned number)
{
	struct h2_scene *scene = (struct h2_scene *)server->user;
	const struct h2_step *steps = scene->plays[number < scene->play_count ? number : scene->play_count - 1];
	struct h2_peer peer;

	h2_peer_init(&peer, fd);
	if (h2_peer_take_preface(&peer)) {
		for (size_t i = 0; i < H2_STEPS && (steps[i].heard || steps[i].say); i++) {
			if (steps[i].heard && !strstr(h2_peer_until(&peer, steps[i].heard), steps[i].heard))
				break;
			if (steps[i].say) {
				h2_say(&peer.out, steps[i].say);
				h2_peer_say(&peer);
			}
		}
		h2_peer_rest(&peer);
	}
	if (number < H2_CONNECTIONS)
		scene->stories[number] = strdup(h2_peer_until(&peer, "closed;"));
	h2_peer_free(&peer);
}

/* One connection after the other is served in a thread of its own. */
struct served {
	struct raw_server *server;
	int fd;
	unsigned number;
};

static void *serve_one(void *argument)
{
	struct served *served = argument;

	serve(served->server, served->fd, served->number);
	close(served->fd);
	free(served);
	return NULL;
}

static pthread_t threads[64];
static atomic_uint thread_count;

static void serve_beside(struct raw_server *server, int fd, unsigned number)
{
	struct served *served = malloc(sizeof(*served));

	*served = (struct served){server, dup(fd), number};
	pthread_create(&threads[atomic_fetch_add(&thread_count, 1)], NULL, serve_one, served);
}

static void edit_cluster(struct data_plane *plane, struct cluster_config *cluster)
{
	struct h2_scene *scene = plane->user;

	cluster->protocol = scene->protocol;
	cluster->http2 = scene->http2;
	cluster->requests_per_connection_max = scene->requests_max;
	cluster->idle_timeout_ns = scene->idle_ns;
	cluster->connection_duration_max_ns = scene->duration_ns;
}

int h2_scene_open(void **state)
{
	struct h2_scene *scene = calloc(1, sizeof(*scene));

	failing_mem_init(&scene->mem, 0);
	assert_int_equal(data_plane_open(&scene->plane, 1, &scene->mem.mem), 0);
	assert_int_equal(mesh_worker_new(scene->plane.mesh, &scene->worker), 0);
	scene->plane.user = scene;
	scene->plane.edit_cluster = edit_cluster;
	scene->protocol = UPSTREAM_HTTP2;
	scene->idle_ns = -1;
	scene->server.serve = serve_beside;
	scene->server.user = scene;
	raw_server_start(&scene->server);
	scene->plane.ports[scene->plane.port_count++] = scene->server.port;
	*state = scene;
	return 0;
}

void h2_scene_end(struct h2_scene *scene)
{
	if (!scene->worker)
		return;
	mesh_worker_free(scene->worker);
	scene->worker = NULL;
	data_plane_close(&scene->plane);
	raw_server_stop(&scene->server);
	for (unsigned i = 0; i < atomic_load(&thread_count); i++)
		pthread_join(threads[i], NULL);
	atomic_store(&thread_count, 0);
}

int h2_scene_close(void **state)
{
	struct h2_scene *scene = *state;

	h2_scene_end(scene);
	assert_int_equal(atomic_load(&scene->mem.blocks), 0);
	for (int i = 0; i < H2_CONNECTIONS; i++)
		free(scene->stories[i]);
	free(scene);
	return 0;
}

struct mesh_request h2_scene_request(struct h2_scene *scene, const char *method, const char *path)
{
	return (struct mesh_request){.size = sizeof(struct mesh_request), .authority = mesh_slice_of("reviews:9080"),
				     .method = mesh_slice_of(method), .path = mesh_slice_of(path), .worker = scene->worker};
}

struct mesh_call *h2_scene_start(struct h2_scene *scene, const struct mesh_request *request,
				    const struct mesh_call_events *events, void *user)
{
	struct mesh_call *call;

	assert_int_equal(mesh_call_start(scene->plane.mesh, request, events, user, &call), 0);
	return call;
}

struct mesh_call *h2_scene_call(struct h2_scene *scene, const char *method, const char *path)
{
	struct mesh_request request = h2_scene_request(scene, method, path);

	return h2_scene_start(scene, &request, NULL, NULL);
}

void h2_scene_expect(struct mesh_call *call, int status, int http, unsigned attempts)
{
	if (mesh_call_wait(call, WAIT_MS) != status)
		fail_msg("%d: %.*s", mesh_call_result(call) ? mesh_call_result(call)->status : 1,
			 mesh_call_result(call) ? (int)mesh_call_result(call)->why.len : 7,
			 mesh_call_result(call) ? mesh_call_result(call)->why.data : "no end");
	assert_int_equal(mesh_call_http_status(call), http);
	assert_int_equal(mesh_call_result(call)->attempts, attempts);
	mesh_call_release(call);
}

/* Until nothing more happens for a while. */
void h2_scene_run(struct h2_scene *scene, int ms)
{
	uint64_t until = mesh_time_now_ns() + (uint64_t)ms * MS;

	while (mesh_time_now_ns() < until)
		assert_true(mesh_worker_run(scene->worker, 5) >= 0);
}

uint64_t h2_scene_stat(struct h2_scene *scene, const char *name)
{
	char line[128];
	struct buf out;
	const char *at;
	uint64_t value;

	mesh_buf_init(&out, &mesh_mem_default, 0);
	assert_int_equal(mesh_registry_stats(&scene->plane.mesh->registry, &out), 0);
	assert_int_equal(mesh_buf_append(&out, MESH_SLICE("\0")), 0);
	snprintf(line, sizeof(line), "cluster.outbound|9080||reviews.%s: ", name);
	at = strstr(mesh_buf_slice(&out).data, line);
	assert_non_null(at);
	value = strtoull(at + strlen(line), NULL, 10);
	mesh_buf_free(&out);
	return value;
}
