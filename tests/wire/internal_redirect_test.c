/* SPDX-License-Identifier: Apache-2.0 */
/* Redirects that a route follows: what the next request says and where it goes, and which ones are the application's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include <mesh/mesh.h>

#include "support/failing_call.h"
#include "support/mirror_scene.h"

#define MAIN                 MIRROR_MAIN
#define OTHER                MIRROR_OTHER
#define OK_200               "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
#define TO(status, location) "HTTP/1.1 " status " Go\r\nContent-Length: 0\r\nLocation: " location "\r\n\r\n"

enum { REQUESTS = 16, ROUTES = 3 };

struct peer {
	struct raw_server server;
	const char *answers[REQUESTS]; /* to each request; behind them, and where NULL: 200 */
	char requests[REQUESTS][4096];
	atomic_uint count;
};

struct scene {
	struct failing_mem mem;
	struct data_plane plane;
	struct peer main, other;
	struct mesh_worker *worker;
	struct internal_redirect_config config;
	bool everywhere; /* the other routes follow, too */
	bool shadows;
};

static struct mirror_policy to_other = {.cluster = {OTHER, sizeof(OTHER) - 1}};
static struct mirror_config mirrors = {&to_other, 1};

static void serve(struct raw_server *server, int fd, unsigned number)
{
	struct peer *peer = (struct peer *)server->user;
	char request[4096];

	while (raw_response(fd, request, sizeof(request))) {
		unsigned n = atomic_load(&peer->count);
		const char *answer = n < REQUESTS && peer->answers[n] ? peer->answers[n] : OK_200;

		if (n < REQUESTS)
			memcpy(peer->requests[n], request, sizeof(request));
		atomic_store(&peer->count, n + 1);
		raw_say(fd, answer);
	}
}

/* "/b.." goes to the other cluster, "/c.." is answered here, all else to the first cluster, which follows redirects. */
static void edit_routes(struct data_plane *plane, struct route_config *routes, bool inbound)
{
	struct scene *scene = plane->user;
	struct route *base = &routes->hosts[0].routes[0], *list;

	if (inbound)
		return;
	list = mesh_arena_array(&routes->object.arena, ROUTES, sizeof(*list));
	for (size_t i = 0; i < ROUTES; i++)
		list[i] = *base;
	list[0].name = mesh_slice_of("b");
	list[0].match.path = mesh_slice_of("/b");
	list[0].cluster = mesh_slice_of(OTHER);
	list[0].cluster_hash = mesh_slice_hash(list[0].cluster);
	list[0].internal_redirect = scene->everywhere ? &scene->config : NULL;
	list[1].name = mesh_slice_of("c");
	list[1].match.path = mesh_slice_of("/c");
	list[1].kind = ROUTE_DIRECT_RESPONSE;
	list[1].direct_status = 418;
	list[2].name = mesh_slice_of("a");
	list[2].internal_redirect = &scene->config;
	list[2].mirrors = scene->shadows ? &mirrors : NULL;
	routes->hosts[0].routes = list;
	routes->hosts[0].route_count = ROUTES;
}

static void start_peer(struct peer *peer)
{
	peer->server.serve = serve;
	peer->server.user = peer;
	raw_server_start(&peer->server);
}

static int open_scene(void **state)
{
	struct scene *scene = calloc(1, sizeof(*scene));

	failing_mem_init(&scene->mem, 0);
	assert_int_equal(data_plane_open(&scene->plane, 1, &scene->mem.mem), 0);
	assert_int_equal(mesh_worker_new(scene->plane.mesh, &scene->worker), 0);
	start_peer(&scene->main);
	start_peer(&scene->other);
	scene->plane.ports[scene->plane.port_count++] = scene->main.server.port;
	scene->plane.more[scene->plane.more_count++] = (struct data_plane_cluster){OTHER, scene->other.server.port};
	scene->plane.edit_routes = edit_routes;
	scene->plane.user = scene;
	scene->config = (struct internal_redirect_config){.codes = REDIRECT_302, .max = 1};
	to_other.cluster_hash = mesh_slice_hash(to_other.cluster);
	data_plane_publish(&scene->plane);
	*state = scene;
	return 0;
}

static int close_scene(void **state)
{
	struct scene *scene = *state;

	mesh_worker_free(scene->worker);
	data_plane_close(&scene->plane);
	raw_server_stop(&scene->main.server);
	raw_server_stop(&scene->other.server);
	assert_int_equal(atomic_load(&scene->mem.blocks), 0);
	free(scene);
	return 0;
}

static void forget(struct scene *scene)
{
	atomic_store(&scene->main.count, 0);
	atomic_store(&scene->other.count, 0);
}

static struct mesh_call *start(struct scene *scene, const char *method, const char *path, const char *body)
{
	struct mesh_header headers[] = {{mesh_slice_of("x-kept"), mesh_slice_of("1")},
					{mesh_slice_of("x-copied"), mesh_slice_of("old")}};
	struct mesh_request request = {.size = sizeof(request),
				       .authority = mesh_slice_of("reviews:9080"),
				       .method = mesh_slice_of(method),
				       .path = mesh_slice_of(path),
				       .headers = headers,
				       .header_count = 2,
				       .worker = scene->worker};
	struct mesh_call *call;

	if (body)
		request.body = mesh_slice_of(body);
	assert_int_equal(mesh_call_start(scene->plane.mesh, &request, NULL, NULL, &call), 0);
	return call;
}

static void expect(struct mesh_call *call, int status, int http)
{
	assert_int_equal(mesh_call_wait(call, WAIT_MS), status);
	assert_int_equal(mesh_call_http_status(call), http);
	mesh_call_release(call);
}

static void asked(struct scene *scene, unsigned main, unsigned other)
{
	assert_int_equal(atomic_load(&scene->main.count), main);
	assert_int_equal(atomic_load(&scene->other.count), other);
}

static void test_followed(void **state)
{
	struct scene *scene = *state;
	struct mesh_call *call;

	scene->main.answers[0] = TO("302", "http://reviews:80/b/x?y=1#z");
	call = start(scene, "POST", "/a?q=1", "body");
	assert_int_equal(mesh_call_wait(call, WAIT_MS), 0);
	assert_int_equal(mesh_call_http_status(call), 200);
	assert_true(mesh_slice_equal(mesh_call_result(call)->cluster, mesh_slice_of(OTHER)));
	assert_true(mesh_slice_equal(mesh_call_result(call)->route, mesh_slice_of("b")));
	assert_int_equal(mesh_call_result(call)->attempts, 2);
	mesh_call_release(call);
	asked(scene, 1, 1);
	assert_in(scene->main.requests[0], "POST /a?q=1 HTTP/1.1\r\n");
	assert_in(scene->other.requests[0], "POST /b/x?y=1 HTTP/1.1\r\n");
	assert_in(scene->other.requests[0], "host: reviews:80\r\n");
	assert_in(scene->other.requests[0], "x-envoy-original-url: http://reviews:9080/a?q=1\r\n");
	assert_in(scene->other.requests[0], "x-forwarded-proto: http\r\n");
	assert_in(scene->other.requests[0], "x-envoy-attempt-count: 1\r\n");
	assert_in(scene->other.requests[0], "x-kept: 1\r\n");
	assert_in(scene->other.requests[0], "\r\n\r\nbody");
	assert_int_equal(
		registry_counter(scene->plane.mesh, "cluster." MAIN ".upstream_internal_redirect_succeeded_total"), 1);
	assert_int_equal(registry_counter(scene->plane.mesh, "cluster." MAIN ".upstream_rq_3xx"), 1);
	assert_int_equal(registry_counter(scene->plane.mesh, "cluster." OTHER ".upstream_rq_2xx"), 1);
}

static void test_paths(void **state)
{
	static const struct {
		const char *answer, *line;
	} rows[] = {
		{TO("302", "http://reviews"), "GET / HTTP/1.1\r\n"},
		{TO("302", "HTTP://reviews?x=1"), "GET /?x=1 HTTP/1.1\r\n"},
		{TO("302", "http://REVIEWS/#"), "GET / HTTP/1.1\r\n"},
	};
	struct scene *scene = *state;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		forget(scene);
		scene->main.answers[0] = rows[i].answer;
		expect(start(scene, "GET", "/a", NULL), 0, 200);
		asked(scene, 2, 0);
		assert_in(scene->main.requests[1], rows[i].line);
	}
}

/* The redirect is the application's, with all there is in it. */
static void test_passed_on(void **state)
{
	struct redirect_stats *stats = &((struct scene *)*state)->plane.mesh->redirects;
	const struct {
		const char *answer;
		_Atomic uint64_t *counter;
	} rows[] = {
		{TO("302", "/b"), &stats->bad_location},
		{TO("302", "reviews/b"), &stats->bad_location},
		{TO("302", "http://"), &stats->bad_location},
		{TO("302", "http:///b"), &stats->bad_location},
		{TO("302", "http://me@reviews/b"), &stats->bad_location},
		{TO("302", "http://reviews:0/b"), &stats->bad_location},
		{TO("302", "http://reviews:65536/b"), &stats->bad_location},
		{TO("302", "http://reviews:/b"), &stats->bad_location},
		{TO("302", "http://reviews/b c"), &stats->bad_location},
		{TO("302", "1http://reviews/b"), &stats->bad_location},
		{TO("302", ""), &stats->bad_location},
		{"HTTP/1.1 302 Go\r\nContent-Length: 0\r\n\r\n", NULL},
		{TO("302", "https://reviews/b"), &stats->unsafe_scheme},
		{TO("302", "ftp://reviews/b"), &stats->unsafe_scheme},
		{TO("302", "http://details/b"), &stats->no_route},
	};
	struct scene *scene = *state;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint64_t before = rows[i].counter ? *rows[i].counter : 0;

		forget(scene);
		scene->main.answers[0] = rows[i].answer;
		expect(start(scene, "GET", "/a", NULL), 0, 302);
		asked(scene, 1, 0);
		assert_int_equal(
			registry_counter(scene->plane.mesh, "cluster." MAIN ".upstream_internal_redirect_failed_total"),
			i + 1);
		if (rows[i].counter && *rows[i].counter != before + 1)
			fail_msg("not counted: %s", rows[i].answer);
	}
	forget(scene); /* a code that is not asked for is no redirect */
	scene->main.answers[0] = TO("301", "http://reviews/b");
	expect(start(scene, "GET", "/a", NULL), 0, 301);
	assert_int_equal(
		registry_counter(scene->plane.mesh, "cluster." MAIN ".upstream_internal_redirect_failed_total"),
		sizeof(rows) / sizeof(rows[0]));
	assert_int_equal(
		registry_counter(scene->plane.mesh, "cluster." MAIN ".upstream_internal_redirect_succeeded_total"), 0);
}

static void test_at_most(void **state)
{
	struct scene *scene = *state;

	scene->config.max = 3;
	data_plane_publish(&scene->plane);
	for (int i = 0; i < REQUESTS; i++)
		scene->main.answers[i] = TO("302", "http://reviews/a");
	expect(start(scene, "GET", "/a", NULL), 0, 302);
	asked(scene, 4, 0);
	assert_int_equal(scene->plane.mesh->redirects.too_many, 1);
	assert_int_equal(
		registry_counter(scene->plane.mesh, "cluster." MAIN ".upstream_internal_redirect_succeeded_total"), 3);
}

static void test_cross_scheme(void **state)
{
	static struct redirect_predicate safe = {.kind = REDIRECT_SAFE_CROSS_SCHEME};
	struct scene *scene = *state;

	scene->config.allow_cross_scheme = true;
	data_plane_publish(&scene->plane);
	scene->main.answers[0] = TO("302", "https://reviews/b");
	expect(start(scene, "GET", "/a", NULL), 0, 200);
	asked(scene, 1, 1);
	forget(scene);
	scene->config.predicates = &safe;
	scene->config.predicate_count = 1;
	data_plane_publish(&scene->plane);
	expect(start(scene, "GET", "/a", NULL), 0, 302);
	asked(scene, 1, 0);
	assert_int_equal(scene->plane.mesh->redirects.predicate, 1);
	forget(scene);
	scene->main.answers[0] = TO("302", "http://reviews/b");
	expect(start(scene, "GET", "/a", NULL), 0, 200);
}

static void test_allowed_routes(void **state)
{
	static struct mesh_slice names[] = {{"x", 1}, {"b", 1}};
	static struct redirect_predicate allowed = {REDIRECT_ALLOWED_ROUTES, names, 2};
	struct scene *scene = *state;

	scene->config.predicates = &allowed;
	scene->config.predicate_count = 1;
	data_plane_publish(&scene->plane);
	scene->main.answers[0] = TO("302", "http://reviews/b");
	expect(start(scene, "GET", "/a", NULL), 0, 200);
	forget(scene);
	scene->main.answers[0] = TO("302", "http://reviews/a");
	expect(start(scene, "GET", "/a", NULL), 0, 302);
	asked(scene, 1, 0);
}

/* From a route to the same other one once: a, b, a, and the second redirect to b is the application's. */
static void test_previous_routes(void **state)
{
	static struct redirect_predicate previous = {.kind = REDIRECT_PREVIOUS_ROUTES};
	struct scene *scene = *state;

	scene->config.max = 10;
	scene->config.predicates = &previous;
	scene->config.predicate_count = 1;
	scene->everywhere = true;
	data_plane_publish(&scene->plane);
	for (int i = 0; i < REQUESTS; i++) {
		scene->main.answers[i] = TO("302", "http://reviews/b");
		scene->other.answers[i] = TO("302", "http://reviews/a");
	}
	expect(start(scene, "GET", "/a", NULL), 0, 302);
	asked(scene, 2, 1);
	assert_int_equal(scene->plane.mesh->redirects.predicate, 1);
}

static void test_headers_copied(void **state)
{
	static struct mesh_slice copied[] = {{"x-copied", 8}, {"x-new", 5}, {"x-kept", 6}};
	struct scene *scene = *state;

	scene->config.copied = copied;
	scene->config.copied_count = 3;
	data_plane_publish(&scene->plane);
	scene->main.answers[0] =
		"HTTP/1.1 302 Go\r\nContent-Length: 0\r\nLocation: http://reviews/b\r\nX-Copied: new\r\n"
		"X-New: 1\r\nX-New: 2\r\n\r\n";
	expect(start(scene, "GET", "/a", NULL), 0, 200);
	assert_in(scene->other.requests[0], "x-copied: new\r\n");
	assert_not_in(scene->other.requests[0], "x-copied: old");
	assert_in(scene->other.requests[0], "x-new: 1\r\nx-new: 2\r\n");
	assert_not_in(scene->other.requests[0], "x-kept"); /* the response has none */
}

/* What was tried with another address is not in what goes out later. */
static void test_refused_leaves_no_trace(void **state)
{
	static struct mesh_slice copied[] = {{"x-kept", 6}};
	static struct retry_config retry = {
		.on = RETRY_RETRIABLE_STATUS_CODES, .retries = 1, .backoff_base_ns = MS, .backoff_max_ns = 2 * MS};
	static uint32_t codes[] = {302};
	struct scene *scene = *state;

	scene->config.copied = copied;
	scene->config.copied_count = 1;
	retry.status_codes = codes;
	retry.status_code_count = 1;
	scene->plane.retry = &retry;
	data_plane_publish(&scene->plane);
	scene->main.answers[0] = scene->main.answers[1] = TO("302", "http://details/b");
	expect(start(scene, "GET", "/a", NULL), 0, 302);
	asked(scene, 2, 0); /* a retry comes first */
	assert_in(scene->main.requests[1], "GET /a HTTP/1.1\r\n");
	assert_in(scene->main.requests[1], "x-kept: 1\r\n");
}

static void test_see_other(void **state)
{
	struct scene *scene = *state;

	scene->config.codes = REDIRECT_303 | REDIRECT_307;
	data_plane_publish(&scene->plane);
	scene->main.answers[0] = TO("303", "http://reviews/b");
	expect(start(scene, "POST", "/a", "body"), 0, 200);
	assert_in(scene->other.requests[0], "GET /b HTTP/1.1\r\n");
	assert_not_in(scene->other.requests[0], "body");
	forget(scene);
	scene->main.answers[0] = TO("307", "http://reviews/b");
	expect(start(scene, "POST", "/a", "body"), 0, 200);
	assert_in(scene->other.requests[0], "POST /b HTTP/1.1\r\n");
	assert_in(scene->other.requests[0], "\r\n\r\nbody");
	forget(scene);
	scene->main.answers[0] = TO("303", "http://reviews/b");
	expect(start(scene, "HEAD", "/a", NULL), 0, 200);
	assert_in(scene->other.requests[0], "HEAD /b HTTP/1.1\r\n");
}

/* To a route that is answered without a peer. */
static void test_to_direct_response(void **state)
{
	struct scene *scene = *state;

	scene->main.answers[0] = TO("302", "http://reviews/c");
	expect(start(scene, "GET", "/a", NULL), 0, 418);
	asked(scene, 1, 0);
}

/* A body that is still coming cannot be sent again. */
static void test_request_not_whole(void **state)
{
	struct mesh_request request = {.size = sizeof(request),
				       .authority = mesh_slice_of("reviews:9080"),
				       .method = mesh_slice_of("PUT"),
				       .more_body = true};
	struct scene *scene = *state;
	struct mesh_call *call;

	request.worker = scene->worker;
	scene->main.answers[0] = TO("302", "http://reviews/b");
	assert_int_equal(mesh_call_start(scene->plane.mesh, &request, NULL, NULL, &call), 0);
	while (!mesh_call_http_status(call))
		mesh_worker_run(scene->worker, 10);
	assert_int_equal(mesh_call_http_status(call), 302);
	assert_int_equal(
		registry_counter(scene->plane.mesh, "cluster." MAIN ".upstream_internal_redirect_failed_total"), 1);
	mesh_call_cancel(call);
	mesh_call_wait(call, WAIT_MS);
	mesh_call_release(call);
}

/* The redirect has a body that never ends: it is not waited for. */
static void test_body_is_dropped(void **state)
{
	struct scene *scene = *state;

	scene->main.answers[0] = "HTTP/1.1 302 Go\r\nContent-Length: 1000\r\nLocation: http://reviews/b\r\n\r\nabc";
	expect(start(scene, "GET", "/a", NULL), 0, 200);
	asked(scene, 1, 1);
}

/* The application's limit is for all of it, and is not begun anew. */
static void test_timeout_of_the_application(void **state)
{
	struct mesh_request request = {.size = sizeof(request),
				       .authority = mesh_slice_of("reviews:9080"),
				       .path = mesh_slice_of("/a"),
				       .timeout_ms = 150};
	struct scene *scene = *state;
	struct mesh_call *call;

	request.worker = scene->worker;
	scene->main.answers[0] = TO("302", "http://reviews/b");
	scene->other.answers[0] = "";
	assert_int_equal(mesh_call_start(scene->plane.mesh, &request, NULL, NULL, &call), 0);
	expect(call, MESH_ERROR_TIMEOUT, 0);
	asked(scene, 1, 1);
}

static void test_shadows_of_each(void **state)
{
	struct scene *scene = *state;

	scene->shadows = true;
	data_plane_publish(&scene->plane);
	scene->main.answers[0] = TO("302", "http://reviews/again");
	for (int i = 0; i < 2; i++) /* one connection after the other is served */
		scene->other.answers[i] = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
	expect(start(scene, "GET", "/a", NULL), 0, 200);
	for (int i = 0; i < WAIT_MS && (atomic_load(&scene->other.count) < 1 || scene->worker->shadows); i++)
		mesh_worker_run(scene->worker, 1);
	assert_int_equal(atomic_load(&scene->main.count), 2);
	assert_in(scene->other.requests[0], "GET /a HTTP/1.1\r\n");
}

static void test_no_memory(void **state)
{
	struct mesh_request request = {.size = sizeof(request),
				       .authority = mesh_slice_of("reviews:9080"),
				       .path = mesh_slice_of("/a")};
	struct scene *scene = *state;
	size_t n = 0;
	bool failed;
	int rc;

	scene->config.max = 50;
	data_plane_publish(&scene->plane);
	do {
		forget(scene);
		scene->main.answers[0] = TO("302", "http://reviews/b");
		failed = failing_call(scene->plane.mesh, &scene->mem, ++n, &request, NULL, &rc);
		if (rc != 0 && rc != MESH_ERROR_NOMEM && rc != MESH_ERROR_RESET && rc != MESH_ERROR_CLOSED)
			fail_msg("%zu: %s", n, mesh_error_name(rc));
	} while (failed);
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, open_scene, close_scene)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_followed),
		CASE(test_paths),
		CASE(test_passed_on),
		CASE(test_at_most),
		CASE(test_cross_scheme),
		CASE(test_allowed_routes),
		CASE(test_previous_routes),
		CASE(test_headers_copied),
		CASE(test_refused_leaves_no_trace),
		CASE(test_see_other),
		CASE(test_to_direct_response),
		CASE(test_request_not_whole),
		CASE(test_body_is_dropped),
		CASE(test_timeout_of_the_application),
		CASE(test_shadows_of_each),
		CASE(test_no_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
