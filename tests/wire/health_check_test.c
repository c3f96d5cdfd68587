/* SPDX-License-Identifier: Apache-2.0 */
/* Active health checks run without any request, and what they find holds for all workers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <mesh/admin.h>
#include <mesh/mesh.h>

#include "support/data_plane.h"
#include "support/failing_mem.h"
#include "support/raw_peer.h"

#define GOOD "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
#define BAD  "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"
/* Peers take one connection after the other, and both workers have theirs. */
#define GOOD_ONCE "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"

enum { MS = 1000000, WAIT_MS = 10000, HOSTS = 2, TEXT_BYTES = 65536 };

/* Each host is for requests and checks alike, a connection in a thread of its own would be: so checks go elsewhere. */
struct scene {
	struct failing_mem mem;
	struct data_plane plane;
	struct raw_server servers[HOSTS], checked[HOSTS];
	atomic_uint requests[HOSTS], checks[HOSTS];
	_Atomic(const char *) answers[HOSTS]; /* to checks; NULL: reset, "": none */
	struct mesh_worker *workers[2];
	struct health_check_config check;
	struct outlier_config outlier;
	bool on, ignore_unchecked, ignore_on_removal;
	enum endpoint_health health[HOSTS]; /* as configured */
	double panic;
	atomic_bool go_on; /* for serve_once_told */
	char seen[4096]; /* the last check's request */
	char text[TEXT_BYTES];
};

static void serve_requests(struct raw_server *server, int fd, unsigned number)
{
	struct scene *scene = (struct scene *)server->user;
	char request[4096];

	if (!raw_response(fd, request, sizeof(request)))
		return;
	atomic_fetch_add(&scene->requests[server - scene->servers], 1);
	raw_say(fd, GOOD_ONCE);
}

static void serve_checks(struct raw_server *server, int fd, unsigned number)
{
	struct scene *scene = (struct scene *)server->user;
	size_t i = (size_t)(server - scene->checked);
	char request[4096];

	if (scene->check.kind == HEALTH_CHECK_TCP) {
		request[0] = '\0';
		if (scene->check.receive_count && raw_until(fd, request, sizeof(request), "ping"))
			raw_say(fd, scene->answers[i]);
		atomic_fetch_add(&scene->checks[i], 1);
		raw_rest(fd, request, sizeof(request));
		return;
	}
	while (raw_response(fd, request, sizeof(request))) {
		const char *answer = scene->answers[i];

		if (i == 0)
			memcpy(scene->seen, request, sizeof(scene->seen));
		atomic_fetch_add(&scene->checks[i], 1);
		if (!answer) {
			raw_reset(fd);
			return;
		}
		raw_say(fd, answer);
	}
}

/* Hears the first check out, and answers when it is told to; the connections that follow speak HTTP. */
static void serve_once_told(struct raw_server *server, int fd, unsigned number)
{
	struct scene *scene = (struct scene *)server->user;
	char request[4096] = "";

	if (number) {
		serve_checks(server, fd, number);
		return;
	}
	if (!raw_until(fd, request, sizeof(request), "ping"))
		return;
	atomic_fetch_add(&scene->checks[0], 1);
	while (!atomic_load(&scene->go_on))
		nanosleep(&(struct timespec){0, MS}, NULL);
	raw_say(fd, "pong");
	raw_rest(fd, request, sizeof(request));
}

static void edit_cluster(struct data_plane *plane, struct cluster_config *cluster)
{
	struct scene *scene = plane->user;

	cluster->panic_percent = scene->panic;
	cluster->outlier = scene->outlier;
	cluster->ignore_unchecked = scene->ignore_unchecked;
	cluster->ignore_health_on_removal = scene->ignore_on_removal;
	if (!scene->on)
		return;
	cluster->health_check = mesh_arena_array(&cluster->object.arena, 1, sizeof(scene->check));
	*cluster->health_check = scene->check;
}

static void edit_endpoints(struct data_plane *plane, struct endpoint_set *set)
{
	struct scene *scene = plane->user;

	for (size_t i = 0; i < set->localities[0].count; i++) {
		struct endpoint_check *check = mesh_arena_array(&set->object.arena, 1, sizeof(*check));

		check->port = scene->checked[i].port;
		set->localities[0].endpoints[i].check = check;
		set->localities[0].endpoints[i].health = scene->health[i];
	}
}

static int open_scene(void **state)
{
	struct scene *scene = calloc(1, sizeof(*scene));

	failing_mem_init(&scene->mem, 0);
	assert_int_equal(data_plane_open(&scene->plane, 1, &scene->mem.mem), 0);
	for (int i = 0; i < 2; i++)
		assert_int_equal(mesh_worker_new(scene->plane.mesh, &scene->workers[i]), 0);
	scene->plane.user = scene;
	scene->plane.edit_cluster = edit_cluster;
	scene->plane.edit_endpoints = edit_endpoints;
	scene->on = true;
	scene->check = (struct health_check_config){
		.kind = HEALTH_CHECK_HTTP,
		.method = {"GET", 3},
		.path = {"/healthz", 8},
		.timeout_ns = 1000 * MS,
		.interval_ns = 20 * MS,
		.no_traffic_ns = 20 * MS,
		.no_traffic_healthy_ns = 20 * MS,
		.unhealthy_ns = 20 * MS,
		.unhealthy_edge_ns = 20 * MS,
		.healthy_edge_ns = 20 * MS,
		.unhealthy_threshold = 2,
		.healthy_threshold = 2,
		.reuse_connection = true,
	};
	for (int i = 0; i < HOSTS; i++) {
		scene->answers[i] = GOOD;
		scene->servers[i].serve = serve_requests;
		scene->checked[i].serve = serve_checks;
		scene->servers[i].user = scene->checked[i].user = scene;
		raw_server_start(&scene->servers[i]);
		raw_server_start(&scene->checked[i]);
		scene->plane.ports[scene->plane.port_count++] = scene->servers[i].port;
	}
	*state = scene;
	return 0;
}

static int close_scene(void **state)
{
	struct scene *scene = *state;

	for (int i = 0; i < 2; i++)
		mesh_worker_free(scene->workers[i]);
	data_plane_close(&scene->plane);
	for (int i = 0; i < HOSTS; i++) {
		raw_server_stop(&scene->servers[i]);
		raw_server_stop(&scene->checked[i]);
	}
	assert_int_equal(atomic_load(&scene->mem.blocks), 0);
	free(scene);
	return 0;
}

static int ask(struct scene *scene, int worker)
{
	struct mesh_request request = {.size = sizeof(request), .authority = mesh_slice_of("reviews:9080"),
				       .worker = scene->workers[worker]};
	struct mesh_call *call;
	int rc;

	assert_int_equal(mesh_call_start(scene->plane.mesh, &request, NULL, NULL, &call), 0);
	rc = mesh_call_wait(call, WAIT_MS);
	if (rc && rc != MESH_ERROR_NO_ENDPOINT)
		print_error("%.*s\n", (int)mesh_call_result(call)->why.len, mesh_call_result(call)->why.data);
	rc = rc ? rc : mesh_call_http_status(call);
	mesh_call_release(call);
	return rc;
}

static int append(void *user, struct mesh_slice text)
{
	char *into = user;
	size_t have = strlen(into);

	assert_true(have + text.len < TEXT_BYTES);
	memcpy(into + have, text.data, text.len);
	into[have + text.len] = '\0';
	return 0;
}

/* Until /clusters (or, with host -1, the statistics) has the line. */
static void await(struct scene *scene, int host, const char *flags)
{
	char line[256];

	if (host < 0)
		snprintf(line, sizeof(line), "%s\n", flags);
	else
		snprintf(line, sizeof(line), "reviews::127.0.0.1:%u::health_flags::%s\n", scene->servers[host].port, flags);
	for (int i = 0; i < 500; i++) {
		scene->text[0] = '\0';
		assert_int_equal(host < 0 ? mesh_admin_stats(scene->plane.mesh, append, scene->text)
					  : mesh_admin_clusters(scene->plane.mesh, append, scene->text), 0);
		if (strstr(scene->text, line))
			return;
		nanosleep(&(struct timespec){0, 10 * MS}, NULL);
	}
	fail_msg("no \"%s\" in:\n%s", line, scene->text);
}

/* Both workers reach the second host alone, or (`both`) either. */
static void assert_reached(struct scene *scene, bool both)
{
	for (int worker = 0; worker < 2; worker++) {
		unsigned first = atomic_load(&scene->requests[0]), second = atomic_load(&scene->requests[1]);

		for (int i = 0; i < 6; i++)
			assert_int_equal(ask(scene, worker), 200);
		first = atomic_load(&scene->requests[0]) - first;
		second = atomic_load(&scene->requests[1]) - second;
		assert_int_equal(first + second, 6);
		assert_true(second && !first == !both);
	}
}

static void test_http(void **state)
{
	struct scene *scene = *state;

	data_plane_publish(&scene->plane);
	await(scene, 0, "healthy");
	await(scene, 1, "healthy");
	assert_reached(scene, true);
	assert_non_null(strstr(scene->seen, "GET /healthz HTTP/1.1\r\n"));
	assert_non_null(strstr(scene->seen, "outbound|9080||reviews\r\n"));
	assert_non_null(strstr(scene->seen, "Envoy/HC\r\n"));
	scene->answers[0] = BAD;
	await(scene, 0, "/failed_active_hc");
	assert_reached(scene, false);
	scene->answers[0] = GOOD;
	await(scene, 0, "healthy");
	assert_reached(scene, true);
	await(scene, -1, "health_check.healthy: 2");
	await(scene, -1, "upstream_cx_active: 0"); /* those of checks are not among them */
	assert_int_equal(atomic_load(&scene->checked[0].accepted), 1);
}

static void test_reset_and_hanging(void **state)
{
	struct scene *scene = *state;

	scene->check.timeout_ns = 100 * MS;
	data_plane_publish(&scene->plane);
	await(scene, 0, "healthy");
	scene->answers[0] = NULL;
	await(scene, 0, "/failed_active_hc");
	assert_reached(scene, false);
	scene->answers[0] = "";
	await(scene, 0, "/failed_active_hc/active_hc_timeout");
	scene->answers[0] = GOOD;
	await(scene, 0, "healthy");
	assert_reached(scene, true);
}

static void test_unchecked_is_unhealthy(void **state)
{
	struct scene *scene = *state;

	scene->answers[0] = scene->answers[1] = "";
	data_plane_publish(&scene->plane);
	assert_int_equal(ask(scene, 0), MESH_ERROR_NO_ENDPOINT);
	await(scene, 0, "/failed_active_hc");
	scene->panic = 50; /* none is healthy: panic takes any */
	data_plane_publish(&scene->plane);
	assert_int_equal(ask(scene, 0), 200);
}

/* What was not checked yet is no reason to panic: the one that was takes all. */
static void test_unchecked_does_not_count(void **state)
{
	struct scene *scene = *state;

	scene->panic = 90;
	scene->ignore_unchecked = true;
	scene->answers[0] = "";
	data_plane_publish(&scene->plane);
	await(scene, 1, "healthy");
	await(scene, 0, "/failed_active_hc/pending_active_hc");
	assert_reached(scene, false);
}

static void test_degraded_by_its_answer(void **state)
{
	struct scene *scene = *state;

	scene->answers[0] = "HTTP/1.1 200 OK\r\nX-Envoy-Degraded: 1\r\nContent-Length: 0\r\n\r\n";
	data_plane_publish(&scene->plane);
	await(scene, 0, "/degraded_active_hc");
	await(scene, 1, "healthy");
	await(scene, -1, "health_check.degraded: 1");
}

static void test_what_the_body_must_say(void **state)
{
	static struct mesh_slice expected[] = {{"ready", 5}, {"now", 3}};
	struct scene *scene = *state;

	scene->check.receive = expected;
	scene->check.receive_count = 2;
	scene->check.response_max = 1024;
	scene->answers[0] = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nready now";
	scene->answers[1] = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nnow ready";
	data_plane_publish(&scene->plane);
	await(scene, 0, "healthy");
	await(scene, 1, "/failed_active_hc");
	await(scene, -1, "health_check.healthy: 1");
}

static void test_tcp(void **state)
{
	static struct mesh_slice expected[] = {{"pong", 4}};
	struct scene *scene = *state;

	scene->check.kind = HEALTH_CHECK_TCP;
	scene->check.send = MESH_SLICE("ping");
	scene->check.receive = expected;
	scene->check.receive_count = 1;
	scene->check.reuse_connection = false;
	scene->check.timeout_ns = 100 * MS;
	scene->answers[0] = "pong";
	scene->answers[1] = "pang";
	data_plane_publish(&scene->plane);
	await(scene, 0, "healthy");
	await(scene, 1, "/failed_active_hc/active_hc_timeout");
	assert_int_equal(ask(scene, 0), 200);
	scene->answers[1] = "xpong";
	await(scene, 1, "healthy");
	assert_reached(scene, true);
}

static void test_tcp_that_it_can_be_connected_to(void **state)
{
	struct scene *scene = *state;
	uint16_t real = scene->checked[0].port, port;

	scene->check.kind = HEALTH_CHECK_TCP;
	close(raw_listen(&port));
	scene->checked[0].port = port;
	data_plane_publish(&scene->plane);
	await(scene, 1, "healthy");
	await(scene, 0, "/failed_active_hc");
	scene->checked[0].port = real;
	data_plane_publish(&scene->plane);
	await(scene, 0, "healthy");
	assert_reached(scene, true);
}

static void test_checks_come_and_go(void **state)
{
	struct scene *scene = *state;
	unsigned checks;

	scene->on = false;
	data_plane_publish(&scene->plane);
	assert_reached(scene, true);
	scene->on = true;
	scene->answers[0] = BAD;
	data_plane_publish(&scene->plane);
	await(scene, 0, "/failed_active_hc");
	assert_reached(scene, false);
	scene->plane.port_count = 1; /* an endpoint goes while it is checked */
	data_plane_publish(&scene->plane);
	await(scene, 0, "/failed_active_hc");
	scene->plane.port_count = 2;
	scene->on = false;
	data_plane_publish(&scene->plane);
	assert_reached(scene, true);
	nanosleep(&(struct timespec){0, 100 * MS}, NULL);
	checks = atomic_load(&scene->checks[0]);
	nanosleep(&(struct timespec){0, 100 * MS}, NULL);
	assert_int_equal(atomic_load(&scene->checks[0]), checks);
}

/* Configuration has it no more, and it passes: it stays until it does not. */
static void test_removed_and_healthy(void **state)
{
	struct scene *scene = *state;
	unsigned before;

	data_plane_publish(&scene->plane);
	await(scene, 0, "healthy");
	await(scene, 1, "healthy");
	assert_reached(scene, true);
	scene->plane.port_count = 1;
	data_plane_publish(&scene->plane);
	assert_reached(scene, true);
	data_plane_publish(&scene->plane); /* from one to the next */
	assert_reached(scene, true);
	scene->answers[1] = BAD;
	await(scene, -1, "health_check.healthy: 1");
	for (int worker = 0; worker < 2; worker++)
		assert_int_equal(ask(scene, worker), 200);
	before = atomic_load(&scene->requests[1]);
	for (int i = 0; i < 6; i++)
		assert_int_equal(ask(scene, i % 2), 200);
	assert_int_equal(atomic_load(&scene->requests[1]), before);
}

static void test_removed_at_once(void **state)
{
	struct scene *scene = *state;
	unsigned before;

	scene->ignore_on_removal = true;
	data_plane_publish(&scene->plane);
	await(scene, 0, "healthy");
	await(scene, 1, "healthy");
	assert_reached(scene, true);
	scene->plane.port_count = 1;
	data_plane_publish(&scene->plane);
	before = atomic_load(&scene->requests[1]);
	for (int i = 0; i < 6; i++)
		assert_int_equal(ask(scene, i % 2), 200);
	assert_int_equal(atomic_load(&scene->requests[1]), before);
}

/* As configuration has it, while it is in use. */
static void test_configured_health(void **state)
{
	static const enum endpoint_health bad[] = {ENDPOINT_UNHEALTHY, ENDPOINT_DRAINING};
	static const char *const shown[] = {"/failed_eds_health", "/eds_status_draining"};
	struct scene *scene = *state;

	scene->on = false;
	for (int i = 0; i < 2; i++) {
		scene->panic = 0;
		scene->health[0] = ENDPOINT_HEALTHY;
		data_plane_publish(&scene->plane);
		assert_reached(scene, true);
		scene->health[0] = bad[i];
		data_plane_publish(&scene->plane);
		assert_reached(scene, false);
		await(scene, 0, shown[i]);
		scene->panic = 100; /* what drains is no reason to panic, what fails is one */
		data_plane_publish(&scene->plane);
		assert_reached(scene, bad[i] == ENDPOINT_UNHEALTHY);
	}
	scene->health[1] = ENDPOINT_DRAINING;
	data_plane_publish(&scene->plane);
	assert_reached(scene, true); /* in panic, as Envoy, also what drains */
	scene->panic = 0;
	data_plane_publish(&scene->plane);
	assert_int_equal(ask(scene, 0), MESH_ERROR_NO_ENDPOINT);
}

/* What outlier detection ejected is back with the next check that succeeds. */
static void test_a_good_check_ends_an_ejection(void **state)
{
	struct scene *scene = *state;

	scene->check.interval_ns = scene->check.no_traffic_healthy_ns = 500 * MS;
	scene->outlier = (struct outlier_config){
		.on = true,
		.consecutive_5xx = 1,
		.enforcing_5xx = 100,
		.interval_ns = 600000000000,
		.base_ejection_ns = 600000000000,
		.max_ejection_ns = 600000000000,
		.max_ejection_percent = 100,
		.check_unejects = true,
	};
	data_plane_publish(&scene->plane);
	await(scene, 0, "healthy");
	await(scene, 1, "healthy");
	raw_server_stop(&scene->servers[0]); /* for requests alone */
	for (int i = 0; i < 4; i++)
		ask(scene, 0);
	await(scene, 0, "/failed_outlier_check");
	await(scene, 0, "healthy");
	await(scene, -1, "outlier_detection.ejections_enforced_consecutive_5xx: 1");
	scene->servers[0].serve = serve_requests;
	raw_server_start(&scene->servers[0]);
}

static void await_checks(struct scene *scene, int host, unsigned more)
{
	unsigned from = atomic_load(&scene->checks[host]);

	for (int i = 0; i < 500 && atomic_load(&scene->checks[host]) < from + more; i++)
		nanosleep(&(struct timespec){0, 10 * MS}, NULL);
	assert_true(atomic_load(&scene->checks[host]) >= from + more);
}

/* A push changes the kind of check while one is out: what is answered to it is of no use to the new kind. */
static void test_another_kind_meanwhile(void **state)
{
	static struct mesh_slice expected[] = {{"pong", 4}};
	struct scene *scene = *state;
	struct health_check_config http = scene->check;

	raw_server_stop(&scene->checked[0]);
	scene->checked[0].serve = serve_once_told;
	raw_server_start(&scene->checked[0]);
	scene->check.kind = HEALTH_CHECK_TCP;
	scene->check.send = MESH_SLICE("ping");
	scene->check.receive = expected;
	scene->check.receive_count = 1;
	scene->plane.port_count = 1;
	scene->check.timeout_ns = http.timeout_ns = 5000ll * MS;
	data_plane_publish(&scene->plane);
	for (int i = 0; i < 500 && !atomic_load(&scene->checks[0]); i++)
		nanosleep(&(struct timespec){0, 10 * MS}, NULL);
	scene->check = http;
	data_plane_publish(&scene->plane);
	nanosleep(&(struct timespec){0, 100 * MS}, NULL);
	atomic_store(&scene->go_on, true);
	await_checks(scene, 0, 3);
	await(scene, 0, "healthy");
	assert_non_null(strstr(scene->seen, "GET /healthz HTTP/1.1\r\n"));
}

/* The endpoint's own port for checks changes, and nothing of its cluster: the connection to the old one is not kept. */
static void test_another_port(void **state)
{
	struct scene *scene = *state;
	uint16_t first = scene->checked[0].port;
	unsigned before;

	scene->plane.port_count = 1;
	data_plane_publish(&scene->plane);
	await(scene, 0, "healthy");
	await_checks(scene, 0, 2);
	data_plane_publish_endpoints(&scene->plane); /* nothing of the check: its connection stays */
	await_checks(scene, 0, 3);
	assert_int_equal(atomic_load(&scene->checked[0].accepted), 1);
	scene->checked[0].port = scene->checked[1].port;
	data_plane_publish_endpoints(&scene->plane);
	await_checks(scene, 1, 3);
	before = atomic_load(&scene->checks[0]);
	await_checks(scene, 1, 3);
	assert_int_equal(atomic_load(&scene->checks[0]), before);
	scene->checked[0].port = first;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_scene, close_scene)
		TEST(test_http),
		TEST(test_reset_and_hanging),
		TEST(test_unchecked_is_unhealthy),
		TEST(test_unchecked_does_not_count),
		TEST(test_degraded_by_its_answer),
		TEST(test_what_the_body_must_say),
		TEST(test_tcp),
		TEST(test_tcp_that_it_can_be_connected_to),
		TEST(test_checks_come_and_go),
		TEST(test_removed_and_healthy),
		TEST(test_removed_at_once),
		TEST(test_configured_health),
		TEST(test_a_good_check_ends_an_ejection),
		TEST(test_another_kind_meanwhile),
		TEST(test_another_port),
#undef TEST
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
