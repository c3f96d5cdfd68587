/* SPDX-License-Identifier: Apache-2.0 */
/* Shadows of calls: bodies as they come, bounds, and how they end on workers of every kind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "support/failing_call.h"
#include "support/grpc_fixture.h"
#include "support/h2_server.h"
#include "support/mirror_scene.h"

static void send_some(struct mirror_scene *scene, struct mesh_call *call, const char *text, bool end)
{
	int rc;

	while ((rc = mesh_call_send(call, mesh_slice_of(text), end)) == MESH_ERROR_AGAIN)
		mesh_worker_run(scene->worker, 1);
	assert_int_equal(rc, 0);
}

static void test_streamed(void **state)
{
	struct mesh_request request = {
		.method = mesh_slice_of("PUT"), .more_body = true, .body = mesh_slice_of("zero ")};
	struct mesh_header trailer = {mesh_slice_of("x-sum"), mesh_slice_of("42")};
	struct mirror_scene *scene = *state;
	struct mesh_call *call = mirror_scene_start(scene, &request);

	send_some(scene, call, "one ", false);
	mesh_worker_run(scene->worker, 20);
	send_some(scene, call, "two ", false);
	send_some(scene, call, "three", false);
	assert_int_equal(mesh_call_send_trailers(call, &trailer, 1), 0);
	mirror_scene_expect(call, 0, 200);
	mirror_scene_await(scene, &scene->other, 1);
	for (int i = 0; i < 2; i++) {
		const char *text = i ? scene->other.request : scene->main.request;

		assert_in(text, "one ");
		assert_in(text, "two ");
		assert_in(text, "three\r\n0\r\n");
		assert_in(text, "zero ");
	}
	mirror_scene_await_shadows(scene, 0);
}

/* The request is never whole: its copy ends with it. */
static void test_streamed_and_cancelled(void **state)
{
	struct mesh_request request = {.method = mesh_slice_of("PUT"), .more_body = true};
	struct mirror_scene *scene = *state;
	struct mesh_call *call = mirror_scene_start(scene, &request);

	send_some(scene, call, "one ", false);
	mesh_worker_run(scene->worker, 20);
	assert_int_equal(scene->worker->shadows, 1);
	mesh_call_cancel(call);
	mirror_scene_expect(call, MESH_ERROR_CANCELLED, 0);
	mirror_scene_await_shadows(scene, 0);
	assert_int_equal(atomic_load(&scene->other.requests), 0);
	assert_int_equal(registry_counter(scene->plane.mesh, "cluster." MIRROR_MAIN ".retry_or_shadow_abandoned"), 1);
}

static char *large(size_t bytes)
{
	char *body = malloc(bytes);

	memset(body, 'x', bytes);
	memcpy(body + bytes - 7, "THE END", 7);
	return body;
}

/* A large body is there whole: its copy gets all of it, though it is slower than the call. */
static void test_large(void **state)
{
	enum { BYTES = 5 << 20 };
	struct mirror_scene *scene = *state;
	char *body = large(BYTES);
	struct mesh_request request = {.method = mesh_slice_of("POST"), .body = {body, BYTES}};

	for (unsigned i = 1; i <= 2; i++) {
		atomic_store(&scene->other.go, false);
		scene->other.manner = i == 1 ? MIRROR_ANSWERS : MIRROR_IGNORES;
		mirror_scene_expect(mirror_scene_start(scene, &request), 0, 200);
		atomic_store(&scene->other.go, true);
		mirror_scene_await(scene, &scene->other, i);
		assert_non_null(memmem(scene->other.request, MIRROR_ROOM, "xxTHE END", 9));
		assert_true(strlen(scene->other.request) > BYTES);
		mirror_scene_await_shadows(scene, 0);
	}
	free(body);
}

/* What is streamed past a copy that takes nothing is not kept for it. */
static void test_too_slow(void **state)
{
	enum { PIECE = 32768, PIECES = 200 };
	struct mesh_request request = {.method = mesh_slice_of("PUT"), .more_body = true};
	struct mirror_scene *scene = *state;
	struct mesh_call *call;
	char *piece = calloc(1, PIECE + 1);

	memset(piece, 'x', PIECE);
	scene->other.manner = MIRROR_IGNORES;
	call = mirror_scene_start(scene, &request);
	for (int i = 0; i < PIECES; i++)
		send_some(scene, call, piece, false);
	send_some(scene, call, "", true);
	mirror_scene_expect(call, 0, 200);
	mirror_scene_await_shadows(scene, 0);
	assert_int_equal(registry_counter(scene->plane.mesh, "cluster." MIRROR_MAIN ".retry_or_shadow_abandoned"), 1);
	assert_int_equal(atomic_load(&scene->other.requests), 0);
	free(piece);
}

/* At most so many at one time; the calls go on, and what is left when the worker ends goes with it. */
static void test_many(void **state)
{
	struct mirror_scene *scene = *state;

	scene->other.manner = MIRROR_IGNORES;
	for (int i = 0; i < 300; i++)
		mirror_scene_get(scene);
	assert_int_equal(scene->worker->shadows, 256);
	assert_int_equal(registry_counter(scene->plane.mesh, "cluster." MIRROR_MAIN ".retry_or_shadow_abandoned"), 44);
	assert_int_equal(atomic_load(&scene->main.requests), 300);
}

static void test_not_waited_for(void **state)
{
	struct mirror_scene *scene = *state;

	scene->other.manner = MIRROR_HANGS;
	mirror_scene_get(scene);
	mirror_scene_await(scene, &scene->other, 1);
	assert_int_equal(scene->worker->shadows, 1);
	assert_int_equal(atomic_load(&scene->plane.mesh->running), 0);
	assert_int_equal(mesh_drain_all(scene->plane.mesh, 5000), 0);
}

/* A thread that only ever blocks in calls of its own drives with the later ones what the earlier ones left. */
static void test_implicit_worker(void **state)
{
	struct mesh_request request = {.size = sizeof(request), .authority = mesh_slice_of("reviews:9080")};
	struct mirror_scene *scene = *state;

	scene->other.answer = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
	for (int i = 0; i < WAIT_MS && atomic_load(&scene->other.requests) < 5; i++) {
		struct mesh_call *call;

		assert_int_equal(mesh_call_start(scene->plane.mesh, &request, NULL, NULL, &call), 0);
		mirror_scene_expect(call, 0, 200);
	}
	assert_true(atomic_load(&scene->other.requests) >= 5);
	assert_true(atomic_load(&scene->main.requests) >= atomic_load(&scene->other.requests));
}

static void test_library_worker(void **state)
{
	struct mesh_request request = {.size = sizeof(request),
				       .authority = mesh_slice_of("reviews:9080"),
				       .method = mesh_slice_of("POST"),
				       .body = mesh_slice_of("THE END")};
	struct mirror_scene *scene = *state;

	scene->other.answer = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
	assert_int_equal(mesh_worker_library(scene->plane.mesh, &request.worker), 0);
	for (unsigned i = 1; i <= 50; i++) {
		struct mesh_call *call;

		assert_int_equal(mesh_call_start(scene->plane.mesh, &request, NULL, NULL, &call), 0);
		mirror_scene_expect(call, 0, 200);
	}
	for (int i = 0; i < WAIT_MS && atomic_load(&scene->other.requests) < 50; i++)
		usleep(1000);
	assert_int_equal(atomic_load(&scene->other.requests), 50);
	atomic_store(&scene->other.manner, MIRROR_HANGS); /* the mesh is closed with one under way on its own worker */
	for (int i = 0; i < 3; i++) {
		struct mesh_call *call;

		assert_int_equal(mesh_call_start(scene->plane.mesh, &request, NULL, NULL, &call), 0);
		mirror_scene_expect(call, 0, 200);
	}
}

static void speak_http2(struct data_plane *plane, struct cluster_config *cluster)
{
	cluster->protocol = UPSTREAM_HTTP2;
}

/* Both on one connection of streams; the body comes in pieces, with trailers behind it. */
static void test_http2(void **state)
{
	struct mesh_request request = {.method = mesh_slice_of("PUT"), .version = MESH_HTTP_2, .more_body = true};
	struct mesh_header trailer = {mesh_slice_of("x-end"), mesh_slice_of("42")};
	struct mirror_scene *scene = *state;
	struct mesh_call *call;
	struct h2_server *server;
	char *body = large(200000);
	void *server_state;

	h2_server_open(&server_state);
	server = server_state;
	h2_server_listen(server);
	scene->plane.ports[0] = scene->plane.more[0].port = server->port;
	scene->plane.edit_cluster = speak_http2;
	mirror_scene_publish(scene);
	body[100000] = '\0';
	call = mirror_scene_start(scene, &request);
	for (int i = 0; i < 5; i++)
		send_some(scene, call, body + 60000, false);
	assert_int_equal(mesh_call_send_trailers(call, &trailer, 1), 0);
	mirror_scene_expect(call, 0, 200);
	mirror_scene_await_shadows(scene, 0);
	assert_int_equal(atomic_load(&server->calls), 2);
	assert_int_equal(atomic_load(&server->taken), 2 * 5 * 40000);
	assert_int_equal(registry_counter(scene->plane.mesh, "cluster." MIRROR_OTHER ".upstream_rq_2xx"), 1);
	mesh_worker_free(scene->worker); /* its connections go before the server does */
	assert_int_equal(mesh_worker_new(scene->plane.mesh, &scene->worker), 0);
	h2_server_close(&server_state);
	free(body);
}

static struct mirror_policy to_itself = {.cluster = {MIRROR_MAIN, sizeof(MIRROR_MAIN) - 1}};
static struct mirror_config to_itself_alone = {&to_itself, 1};

static void mirror_grpc(struct data_plane *plane, struct route_config *routes, bool inbound)
{
	if (!inbound)
		routes->hosts[0].routes[0].mirrors = &to_itself_alone;
}

static void test_grpc(void **state)
{
	struct data_plane *plane = &grpc_now->plane;
	unsigned calls = 0;

	to_itself.cluster_hash = mesh_slice_hash(to_itself.cluster);
	plane->edit_routes = mirror_grpc;
	data_plane_publish(plane);
	/* the later ones drive the shadows of those before */
	do {
		struct mesh_grpc_request request = grpc_request_to("UnaryCall");
		struct mesh_grpc_call *call = grpc_unary_with(&request, 1000, 0);

		grpc_assert_code(call, MESH_GRPC_OK);
		mesh_grpc_release(call);
		calls++;
	} while (calls < 100 && registry_counter(plane->mesh, "cluster." MIRROR_MAIN ".upstream_rq_2xx") < 40);
	assert_true(calls >= 20 && calls <= 30);
	assert_int_equal(registry_counter(plane->mesh, "cluster." MIRROR_MAIN ".upstream_rq_total"), 2 * calls);
}

static void shadows_end(struct mesh_worker *worker)
{
	for (int i = 0; i < 1000 && worker->shadows; i++)
		mesh_worker_run(worker, 1);
	assert_int_equal(worker->shadows, 0);
}

static void test_no_memory(void **state)
{
	struct mesh_request request = {.size = sizeof(request),
				       .authority = mesh_slice_of("reviews:9080"),
				       .method = mesh_slice_of("POST"),
				       .body = mesh_slice_of("THE END")};
	struct mirror_scene *scene = *state;
	size_t n = 0;
	bool failed;
	int rc;

	do {
		failed = failing_call(scene->plane.mesh, &scene->mem, ++n, &request, shadows_end, &rc);
		if (rc != 0 && rc != MESH_ERROR_NOMEM && rc != MESH_ERROR_RESET && rc != MESH_ERROR_CLOSED)
			fail_msg("%zu: %s", n, mesh_error_name(rc));
	} while (failed);
}

/* Takes the head and goes away when nobody looks. */
static void reset_behind_the_head(struct raw_server *server, int fd, unsigned number)
{
	struct mirror_peer *peer = (struct mirror_peer *)server->user;
	char head[4096] = "";

	raw_until(fd, head, sizeof(head), "\r\n\r\n");
	atomic_fetch_add(&peer->requests, 1);
	usleep(100000);
	raw_reset(fd);
}

/* The shadow ends at once as a piece of the body is sent to it, inside the application's own call. */
static void test_a_shadow_ends_as_it_is_fed(void **state)
{
	struct mirror_scene *scene = *state;
	struct mesh_request request = {.size = sizeof(request), .method = mesh_slice_of("PUT"), .more_body = true};
	struct mesh_call *call;

	scene->other.server.serve = reset_behind_the_head;
	mirror_scene_publish(scene);
	call = mirror_scene_start(scene, &request);
	mirror_scene_await(scene, &scene->other, 1);
	usleep(300000);
	assert_int_equal(mesh_call_send(call, mesh_slice_of("hello"), false), 0);
	assert_int_equal(mesh_call_send(call, mesh_slice_of("world"), true), 0);
	mirror_scene_expect(call, 0, 200);
	mirror_scene_await_shadows(scene, 0);
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, mirror_scene_open, mirror_scene_close)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_streamed),
		CASE(test_streamed_and_cancelled),
		CASE(test_large),
		CASE(test_too_slow),
		CASE(test_many),
		CASE(test_not_waited_for),
		CASE(test_implicit_worker),
		CASE(test_library_worker),
		CASE(test_http2),
		cmocka_unit_test_setup_teardown(test_grpc, grpc_fixture_setup, grpc_fixture_teardown),
		CASE(test_no_memory),
		CASE(test_a_shadow_ends_as_it_is_fed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
