/* SPDX-License-Identifier: Apache-2.0 */
/* Shadows of calls: what they say and to whom, and that nothing they do is felt by the call. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "support/mirror_scene.h"

static struct header_mutations removed_user, added_mark;

/* One header of what a server received, with its name; absent: "". */
static void header_of(const struct mirror_peer *peer, const char *name, char *line, size_t room)
{
	const char *at = strcasestr(peer->request, name);

	snprintf(line, room, "%.*s", at ? (int)strcspn(at, "\r") : 0, at ? at : "");
}

static void test_copy(void **state)
{
	struct mesh_header headers[] = {{mesh_slice_of("X-User"), mesh_slice_of("jason")},
					{mesh_slice_of("x-forwarded-for"), mesh_slice_of("9.9.9.9")},
					{mesh_slice_of("x-envoy-max-retries"), mesh_slice_of("3")}};
	struct mesh_request request = {.method = mesh_slice_of("POST"),
				       .path = mesh_slice_of("/a?b=c"),
				       .headers = headers,
				       .header_count = 3,
				       .body = mesh_slice_of("some words, THE END")};
	struct mirror_scene *scene = *state;
	struct mesh_call *call = mirror_scene_start(scene, &request);
	char id[2][100];

	assert_int_equal(mesh_call_wait(call, WAIT_MS), 0);
	assert_int_equal(mesh_call_result(call)->attempts, 1);
	assert_true(mesh_slice_equal(mesh_call_result(call)->cluster, mesh_slice_of(MIRROR_MAIN)));
	mesh_call_release(call);
	mirror_scene_await(scene, &scene->other, 1);
	assert_int_equal(atomic_load(&scene->main.requests), 1);
	assert_in(scene->main.request, "host: reviews:9080\r\n");
	assert_not_in(scene->main.request, "x-envoy-internal");
	assert_not_in(scene->main.request, "10.1.2.3");
	assert_in(scene->other.request, "POST /a?b=c HTTP/1.1\r\n");
	assert_in(scene->other.request, "host: reviews-shadow:9080\r\n");
	assert_in(scene->other.request, "x-user: jason\r\n");
	assert_in(scene->other.request, "x-envoy-internal: true\r\n");
	assert_in(scene->other.request, "x-forwarded-for: 9.9.9.9,10.1.2.3\r\n");
	assert_in(scene->other.request, "x-envoy-attempt-count: 1\r\n");
	assert_in(scene->other.request, "\r\n\r\nsome words, THE END");
	assert_not_in(scene->other.request, "max-retries");
	header_of(&scene->main, "x-request-id:", id[0], sizeof(id[0]));
	header_of(&scene->other, "x-request-id:", id[1], sizeof(id[1]));
	assert_string_equal(id[0], id[1]);
	mirror_scene_await_shadows(scene, 0);
	assert_int_equal(registry_counter(scene->plane.mesh, "cluster." MIRROR_OTHER ".upstream_rq_total"), 1);
	assert_int_equal(registry_counter(scene->plane.mesh, "cluster." MIRROR_OTHER ".upstream_rq_2xx"), 1);
	assert_int_equal(registry_counter(scene->plane.mesh, "cluster." MIRROR_MAIN ".upstream_rq_total"), 1);
}

static void test_authorities(void **state)
{
	struct mirror_scene *scene = *state;
	unsigned n = 0;

	scene->policies[0].cluster = (struct mesh_slice){NULL, 0};
	scene->policies[0].cluster_header = mesh_slice_of("x-to");
	scene->policies[0].keep_authority = true;
	mirror_scene_publish(scene);
	mirror_scene_get(scene); /* without the header: no shadow */
	for (int i = 0; i < 2; i++) {
		struct mesh_header to = {mesh_slice_of("X-To"), mesh_slice_of(MIRROR_OTHER)};

		scene->policies[0].authority = i ? mesh_slice_of("elsewhere:1") : (struct mesh_slice){NULL, 0};
		mirror_scene_publish(scene);
		mirror_scene_expect(
			mirror_scene_start(scene, &(struct mesh_request){.headers = &to, .header_count = 1}), 0, 200);
		mirror_scene_await(scene, &scene->other, ++n);
		assert_in(scene->other.request, i ? "host: elsewhere:1\r\n" : "host: reviews:9080\r\n");
		mirror_scene_await_shadows(scene, 0);
	}
}

/* What the route made of the authority is what is marked; a bracketed address is one host. */
static void test_rewritten_authority(void **state)
{
	static const char *const rows[][2] = {{"other", "host: other-shadow\r\n"},
					      {"other:81", "host: other-shadow:81\r\n"},
					      {"[::1]", "host: [::1]-shadow\r\n"},
					      {"[::1]:81", "host: [::1]-shadow:81\r\n"}};
	struct mirror_scene *scene = *state;

	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		scene->host_rewrite = mesh_slice_of(rows[i][0]);
		mirror_scene_publish(scene);
		mirror_scene_get(scene);
		mirror_scene_await(scene, &scene->other, i + 1);
		assert_in(scene->other.request, rows[i][1]);
		mirror_scene_await_shadows(scene, 0);
	}
}

static void test_header_changes(void **state)
{
	static struct mesh_slice user = {"x-user", 6};
	static struct header_mutation mark = {
		.how = HEADER_OVERWRITE_OR_ADD, .name = {"x-mark", 6}, .value = {"shadow", 6}};
	struct mirror_change changes[3] = {{.headers = &removed_user},
					   {.headers = &added_mark},
					   {.remove = {STRING_MATCH_PREFIX, false, {"x-secret-", 9}, NULL}}};
	struct mesh_header headers[] = {{mesh_slice_of("X-User"), mesh_slice_of("jason")},
					{mesh_slice_of("X-Secret-One"), mesh_slice_of("1")},
					{mesh_slice_of("x-secret-two"), mesh_slice_of("2")},
					{mesh_slice_of("x-kept"), mesh_slice_of("3")}};
	struct mirror_scene *scene = *state;

	removed_user = (struct header_mutations){.request_remove = &user, .request_remove_count = 1};
	added_mark = (struct header_mutations){.request_add = &mark, .request_add_count = 1};
	scene->policies[0].changes = changes;
	scene->policies[0].change_count = 3;
	mirror_scene_publish(scene);
	mirror_scene_expect(mirror_scene_start(scene, &(struct mesh_request){.headers = headers, .header_count = 4}), 0,
			    200);
	mirror_scene_await(scene, &scene->other, 1);
	assert_in(scene->main.request, "x-user: jason\r\n");
	assert_in(scene->main.request, "x-secret-one: 1\r\n");
	assert_not_in(scene->main.request, "x-mark");
	assert_not_in(scene->other.request, "x-user");
	assert_not_in(scene->other.request, "x-secret");
	assert_in(scene->other.request, "x-mark: shadow\r\n");
	assert_in(scene->other.request, "x-kept: 3\r\n");
}

/* Each policy is decided apart, by what the request itself was given at random. */
static void test_share(void **state)
{
	struct mirror_scene *scene = *state;
	unsigned shadows;

	scene->other.answer = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
	scene->policies[0].share = (struct fraction){0, 100};
	scene->policies[1] = scene->policies[0];
	scene->policies[1].share = (struct fraction){100, 100};
	scene->mirrors.count = 2;
	mirror_scene_publish(scene);
	for (unsigned i = 1; i <= 20; i++) {
		mirror_scene_get(scene);
		mirror_scene_await(scene, &scene->other, i);
	}
	mirror_scene_await_shadows(scene, 0);
	atomic_store(&scene->other.requests, 0);
	scene->policies[0].share = (struct fraction){2500, 10000};
	scene->mirrors.count = 1;
	mirror_scene_publish(scene);
	for (int i = 0; i < 200; i++) {
		mirror_scene_get(scene);
		mirror_scene_await_shadows(scene, 0);
	}
	shadows = atomic_load(&scene->other.requests);
	if (shadows < 30 || shadows > 70)
		fail_msg("%u of 200", shadows);
	scene->policies[0].share = (struct fraction){0, 10000};
	mirror_scene_publish(scene);
	for (int i = 0; i < 20; i++)
		mirror_scene_get(scene);
	assert_int_equal(atomic_load(&scene->other.requests), shadows);
}

/* A copy goes to the cluster of the route itself, and is not copied again. */
static void test_no_loop(void **state)
{
	struct mirror_scene *scene = *state;

	scene->main.answer = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
	scene->policies[0].cluster = mesh_slice_of(MIRROR_MAIN);
	mirror_scene_publish(scene);
	mirror_scene_get(scene);
	mirror_scene_await(scene, &scene->main, 2);
	mirror_scene_await_shadows(scene, 0);
	assert_int_equal(atomic_load(&scene->main.requests), 2);
	assert_int_equal(registry_counter(scene->plane.mesh, "cluster." MIRROR_MAIN ".upstream_rq_total"), 2);
}

/* Whatever becomes of a shadow, the call is as without. */
static void test_not_felt(void **state)
{
	struct mirror_scene *scene = *state;
	uint16_t closed;

	scene->other.manner = MIRROR_RESETS;
	mirror_scene_get(scene);
	mirror_scene_await_shadows(scene, 0);
	scene->other.manner = MIRROR_HANGS;
	mirror_scene_get(scene);
	mirror_scene_await(scene, &scene->other, 2);
	assert_int_equal(scene->worker->shadows, 1);
	scene->policies[0].cluster = mesh_slice_of("unheard of");
	mirror_scene_publish(scene);
	mirror_scene_get(scene);
	mirror_scene_await_shadows(scene, 1); /* the one that hangs */
	close(raw_listen(&closed));
	scene->plane.more[1] = (struct data_plane_cluster){"refuses", closed};
	scene->plane.more[2] = (struct data_plane_cluster){"empty", 0};
	scene->plane.more_count = 3;
	for (int i = 1; i < 3; i++) {
		scene->policies[0].cluster = mesh_slice_of(scene->plane.more[i].name);
		mirror_scene_publish(scene);
		mirror_scene_get(scene);
		mirror_scene_await_shadows(scene, 1);
	}
	assert_int_equal(registry_counter(scene->plane.mesh, "cluster.refuses.upstream_cx_connect_fail"), 1);
	assert_int_equal(atomic_load(&scene->main.requests), 5);
}

static void test_no_retries(void **state)
{
	static struct retry_config retry = {
		.on = RETRY_5XX, .retries = 2, .backoff_base_ns = MS, .backoff_max_ns = 2 * MS};
	struct mirror_scene *scene = *state;

	scene->other.answer = "HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n";
	scene->plane.retry = &retry;
	mirror_scene_publish(scene);
	mirror_scene_get(scene);
	mirror_scene_await(scene, &scene->other, 1);
	mirror_scene_await_shadows(scene, 0);
	/* and one shadow for all tries of the call */
	scene->main.answer = scene->other.answer;
	scene->other.answer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
	mirror_scene_expect(mirror_scene_start(scene, &(struct mesh_request){.path = mesh_slice_of("/")}), 0, 503);
	mirror_scene_await_shadows(scene, 0);
	assert_int_equal(atomic_load(&scene->main.requests), 4);
	assert_int_equal(atomic_load(&scene->other.requests), 2);
}

/* A call without anybody to go to has none; one whose peer cannot be reached has. */
static void test_without_the_call(void **state)
{
	struct mirror_scene *scene = *state;

	close(raw_listen(&scene->plane.ports[0]));
	mirror_scene_publish(scene);
	mirror_scene_expect(mirror_scene_start(scene, &(struct mesh_request){.path = mesh_slice_of("/")}),
			    MESH_ERROR_CONNECT, 0);
	mirror_scene_await(scene, &scene->other, 1);
	scene->plane.port_count = 0;
	mirror_scene_publish(scene);
	mirror_scene_expect(mirror_scene_start(scene, &(struct mesh_request){.path = mesh_slice_of("/")}),
			    MESH_ERROR_NO_ENDPOINT, 0);
	mirror_scene_await_shadows(scene, 0);
	assert_int_equal(atomic_load(&scene->other.requests), 1);
}

static void test_route_timeout(void **state)
{
	struct mirror_scene *scene = *state;

	scene->other.manner = MIRROR_HANGS;
	scene->plane.timeout_ns = 50 * MS;
	mirror_scene_publish(scene);
	mirror_scene_get(scene);
	mirror_scene_await(scene, &scene->other, 1);
	mirror_scene_await_shadows(scene, 0);
	assert_int_equal(registry_counter(scene->plane.mesh, "cluster." MIRROR_OTHER ".upstream_rq_timeout"), 1);
	assert_int_equal(registry_counter(scene->plane.mesh, "cluster." MIRROR_MAIN ".upstream_rq_timeout"), 0);
}

/* The limit on a try is not the copy's, but what the request was told of it the copy is told too. */
static void test_limit_of_a_try(void **state)
{
	static struct retry_config retry = {.on = RETRY_5XX, .retries = 1, .backoff_base_ns = MS, .backoff_max_ns = 2 * MS,
					    .per_try_timeout_ns = 4000 * (int64_t)MS};
	struct mirror_scene *scene = *state;

	scene->plane.retry = &retry;
	for (unsigned i = 0; i < 2; i++) {
		scene->plane.timeout_ns = i ? 9000 * (int64_t)MS : 0;
		mirror_scene_publish(scene);
		mirror_scene_get(scene);
		mirror_scene_await(scene, &scene->other, i + 1);
		mirror_scene_await_shadows(scene, 0);
		assert_in(scene->main.request, "x-envoy-expected-rq-timeout-ms: 4000\r\n");
		assert_in(scene->other.request, i ? "x-envoy-expected-rq-timeout-ms: 9000\r\n"
						  : "x-envoy-expected-rq-timeout-ms: 4000\r\n");
	}
}

static void test_breaker(void **state)
{
	struct mirror_scene *scene = *state;

	scene->other.manner = MIRROR_HANGS;
	scene->plane.breaker.requests = 1;
	mirror_scene_publish(scene);
	mirror_scene_get(scene);
	mirror_scene_await(scene, &scene->other, 1);
	mirror_scene_get(scene);
	mirror_scene_await_shadows(scene, 1);
	assert_int_equal(registry_counter(scene->plane.mesh, "cluster." MIRROR_OTHER ".upstream_rq_pending_overflow"),
			 1);
	assert_int_equal(registry_counter(scene->plane.mesh, "cluster." MIRROR_MAIN ".upstream_rq_pending_overflow"),
			 0);
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, mirror_scene_open, mirror_scene_close)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_copy),           CASE(test_authorities), CASE(test_rewritten_authority),
		CASE(test_header_changes), CASE(test_share),       CASE(test_no_loop),
		CASE(test_not_felt),       CASE(test_no_retries),  CASE(test_without_the_call),
		CASE(test_route_timeout),  CASE(test_breaker),    CASE(test_limit_of_a_try),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
