/* SPDX-License-Identifier: Apache-2.0 */
/* Endpoints that fail are ejected for all workers of the process, and come back. Peers answer, refuse, reset and hang. */
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
#include <mesh/stream.h>

#include "call/worker.h"
#include "support/data_plane.h"
#include "support/failing_mem.h"
#include "support/raw_peer.h"

#define GOOD "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
#define BAD  "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"
/* Peers take one connection after the other, and both workers have theirs. */
#define GOOD_ONCE "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
#define BAD_ONCE  "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"

enum { MS = 1000000, WAIT_MS = 10000, HOSTS = 2, TEXT_BYTES = 65536 };

struct scene {
	struct failing_mem mem;
	struct data_plane plane;
	struct raw_server servers[HOSTS];
	atomic_uint requests[HOSTS];
	_Atomic(const char *) answers[HOSTS]; /* NULL: reset, "": none */
	struct mesh_worker *workers[2];
	struct outlier_config outlier;
	bool close_on_failure;
	int64_t slow_start_ns;
	char text[TEXT_BYTES];
};

static void serve(struct raw_server *server, int fd, unsigned number)
{
	struct scene *scene = (struct scene *)server->user;
	size_t i = (size_t)(server - scene->servers);
	char request[4096];

	while (raw_response(fd, request, sizeof(request))) {
		const char *answer = scene->answers[i];

		atomic_fetch_add(&scene->requests[i], 1);
		if (!answer) {
			raw_reset(fd);
			return;
		}
		raw_say(fd, answer);
		if (strstr(answer, "close"))
			return;
	}
}

static void edit_cluster(struct data_plane *plane, struct cluster_config *cluster)
{
	struct scene *scene = plane->user;

	cluster->panic_percent = 0;
	cluster->outlier = scene->outlier;
	cluster->close_on_health_failure = scene->close_on_failure;
	cluster->balance.slow_start.window_ns = scene->slow_start_ns;
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
	scene->outlier = (struct outlier_config){
		.on = true,
		.consecutive_5xx = 3,
		.consecutive_gateway = 3,
		.consecutive_local = 3,
		.enforcing_5xx = 100,
		.enforcing_local = 100,
		.success_rate_minimum_hosts = 100,
		.failure_minimum_hosts = 100,
		.interval_ns = 50 * MS,
		.base_ejection_ns = 200 * MS,
		.max_ejection_ns = 1000 * MS,
		.max_ejection_percent = 100,
	};
	for (int i = 0; i < HOSTS; i++) {
		scene->answers[i] = GOOD_ONCE;
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

	for (int i = 0; i < 2; i++)
		mesh_worker_free(scene->workers[i]);
	data_plane_close(&scene->plane);
	for (int i = 0; i < HOSTS; i++)
		raw_server_stop(&scene->servers[i]);
	assert_int_equal(atomic_load(&scene->mem.blocks), 0);
	free(scene);
	return 0;
}

/* The outcome of a call: its HTTP status, or an error. */
static int ask(struct scene *scene, int worker, uint32_t timeout_ms)
{
	struct mesh_request request = {.size = sizeof(request), .authority = mesh_slice_of("reviews:9080"),
				       .timeout_ms = timeout_ms, .worker = scene->workers[worker]};
	struct mesh_call *call;
	int rc;

	assert_int_equal(mesh_call_start(scene->plane.mesh, &request, NULL, NULL, &call), 0);
	rc = mesh_call_wait(call, WAIT_MS);
	rc = rc ? rc : mesh_call_http_status(call);
	mesh_call_release(call);
	return rc;
}

static void sleep_ms(unsigned ms)
{
	nanosleep(&(struct timespec){ms / 1000, (long)(ms % 1000) * MS}, NULL);
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

static void assert_says(struct scene *scene, bool stats, const char *format, ...)
{
	char line[256];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(line, sizeof(line), format, arguments);
	va_end(arguments);
	scene->text[0] = '\0';
	assert_int_equal(stats ? mesh_admin_stats(scene->plane.mesh, append, scene->text)
			       : mesh_admin_clusters(scene->plane.mesh, append, scene->text), 0);
	if (!strstr(scene->text, line))
		fail_msg("no \"%s\" in:\n%s", line, scene->text);
}

static void assert_flags(struct scene *scene, int host, const char *flags)
{
	assert_says(scene, false, "outbound|9080||reviews::127.0.0.1:%u::health_flags::%s\n", scene->servers[host].port, flags);
}

static void assert_ejected(struct scene *scene, const char *cause)
{
	assert_flags(scene, 0, "/failed_outlier_check");
	assert_flags(scene, 1, "healthy");
	assert_says(scene, true, "outlier_detection.ejections_active: 1\n");
	assert_says(scene, true, "outlier_detection.ejections_enforced_%s: 1\n", cause);
	assert_says(scene, true, "outlier_detection.ejections_detected_%s: 1\n", cause);
	assert_says(scene, true, "outlier_detection.ejections_enforced_total: 1\n");
}

/* Both workers go to the second host alone. */
static void assert_gone_for_all(struct scene *scene)
{
	unsigned before = atomic_load(&scene->requests[0]);

	for (int i = 0; i < 8; i++)
		assert_int_equal(ask(scene, i % 2, 0), 200);
	assert_int_equal(atomic_load(&scene->requests[0]), before);
}

/* Within a while, requests of both workers reach the first host again. */
static void assert_comes_back(struct scene *scene)
{
	for (int worker = 0; worker < 2; worker++) {
		unsigned before = atomic_load(&scene->requests[0]);

		for (int i = 0; i < 200 && atomic_load(&scene->requests[0]) == before; i++) {
			sleep_ms(20);
			assert_int_equal(ask(scene, worker, 0), 200);
		}
		assert_true(atomic_load(&scene->requests[0]) > before);
	}
	assert_flags(scene, 0, "healthy");
	assert_says(scene, true, "outlier_detection.ejections_active: 0\n");
}

static void test_errors(void **state)
{
	struct scene *scene = *state;
	int bad = 0;

	scene->answers[0] = BAD_ONCE;
	data_plane_publish(&scene->plane);
	for (int i = 0; i < 12; i++) /* of both workers: the run is one */
		bad += ask(scene, i % 2, 0) == 503;
	assert_int_equal(bad, 3);
	assert_ejected(scene, "consecutive_5xx");
	assert_says(scene, true, "outlier_detection.ejections_detected_consecutive_gateway_failure: 1\n");
	assert_gone_for_all(scene);
	scene->answers[0] = GOOD_ONCE;
	assert_comes_back(scene);
}

static void test_an_ejection_survives_a_push(void **state)
{
	struct scene *scene = *state;

	scene->outlier.base_ejection_ns = scene->outlier.max_ejection_ns = 600000000000;
	scene->answers[0] = BAD_ONCE;
	data_plane_publish(&scene->plane);
	for (int i = 0; i < 12; i++)
		ask(scene, 0, 0);
	data_plane_publish(&scene->plane);
	assert_gone_for_all(scene);
	assert_ejected(scene, "consecutive_5xx");
	/* it leaves the cluster, and what comes back is new */
	scene->plane.port_count = 0;
	data_plane_publish(&scene->plane);
	for (int i = 0; i < 2; i++)
		assert_int_equal(ask(scene, i, 0), MESH_ERROR_NO_ENDPOINT);
	scene->plane.port_count = HOSTS;
	scene->answers[0] = GOOD_ONCE;
	data_plane_publish(&scene->plane);
	assert_comes_back(scene);
}

/* Two names of a DNS cluster may be one address: it is one host whatever the push. */
static void test_one_address_twice(void **state)
{
	struct scene *scene = *state;

	scene->outlier.base_ejection_ns = scene->outlier.max_ejection_ns = 600000000000;
	scene->plane.ports[2] = scene->plane.ports[1];
	scene->plane.ports[1] = scene->plane.ports[0];
	scene->plane.port_count = 3;
	for (int push = 0; push < 3; push++) {
		data_plane_publish(&scene->plane);
		for (int i = 0; i < 2; i++)
			assert_int_equal(ask(scene, i, 0), 200);
	}
	scene->answers[0] = BAD_ONCE;
	for (int i = 0; i < 12; i++)
		ask(scene, i % 2, 0);
	assert_gone_for_all(scene);
	assert_ejected(scene, "consecutive_5xx");
}

/* Somebody still has a connection to it: for balancing it begins anew all the same, as Envoy's new host. */
static void test_what_comes_back_is_new(void **state)
{
	struct scene *scene = *state;
	char address[32];
	struct cluster_shared *cluster;
	struct endpoint_shared *endpoint;
	uint64_t since;

	scene->slow_start_ns = 60000ll * MS;
	data_plane_publish(&scene->plane);
	assert_int_equal(ask(scene, 0, 0), 200);
	snprintf(address, sizeof(address), "127.0.0.1:%u", scene->servers[0].port);
	cluster = mesh_cluster_shared_get(&scene->plane.mesh->registry, mesh_slice_of("outbound|9080||reviews"));
	endpoint = mesh_endpoint_shared_get(cluster, mesh_slice_of(address));
	since = atomic_load(&endpoint->since_ns);
	assert_true(since > 0);
	atomic_store(&endpoint->latency.seen, 1);
	scene->plane.port_count = 0;
	data_plane_publish(&scene->plane);
	assert_int_equal(ask(scene, 0, 0), MESH_ERROR_NO_ENDPOINT);
	scene->plane.port_count = HOSTS;
	data_plane_publish(&scene->plane);
	sleep_ms(2);
	assert_int_equal(ask(scene, 0, 0), 200);
	assert_true(atomic_load(&endpoint->since_ns) > since);
	assert_int_equal(atomic_load(&endpoint->latency.seen), 0);
	mesh_endpoint_shared_release(cluster, endpoint);
	mesh_cluster_shared_release(cluster);
}

/* One worker follows a push late, when another is past it: what is gone in the old one is not gone. */
static void test_a_worker_that_is_behind(void **state)
{
	struct scene *scene = *state;
	struct mesh_slice name = mesh_slice_of("outbound|9080||reviews");
	struct cluster *cluster;

	data_plane_publish(&scene->plane);
	for (int i = 0; i < 4; i++)
		assert_int_equal(ask(scene, i % 2, 0), 200);
	scene->plane.port_count = 0;
	data_plane_publish(&scene->plane);
	assert_int_equal(ask(scene, 0, 0), MESH_ERROR_NO_ENDPOINT);
	mesh_worker_refresh(scene->workers[1]);
	scene->plane.port_count = HOSTS;
	scene->answers[0] = BAD_ONCE;
	data_plane_publish(&scene->plane);
	ask(scene, 0, 0);
	assert_int_equal(mesh_cluster_get(&scene->workers[1]->env, name, mesh_slice_hash(name), &cluster), 0);
	assert_int_equal(cluster->count, 0);
	for (int i = 0; i < 12; i++)
		ask(scene, 0, 0);
	assert_ejected(scene, "consecutive_5xx");
}

/* A limit below a run that is under way: counting begins again, as in Envoy, and does not run past it for ever. */
static void test_a_lower_limit(void **state)
{
	struct scene *scene = *state;

	scene->outlier.consecutive_5xx = scene->outlier.consecutive_gateway = 50;
	scene->answers[0] = BAD_ONCE;
	data_plane_publish(&scene->plane);
	while (atomic_load(&scene->requests[0]) < 6)
		ask(scene, 0, 0);
	scene->outlier.consecutive_5xx = 3;
	data_plane_publish(&scene->plane);
	for (int i = 0; i < 12; i++)
		ask(scene, i % 2, 0);
	assert_ejected(scene, "consecutive_5xx");
	assert_gone_for_all(scene);
}

/* It is ejected for a moment, but the detector would look at it in ten minutes only: until that is changed. */
static void test_a_shorter_interval(void **state)
{
	struct scene *scene = *state;

	scene->outlier.interval_ns = 600000000000;
	scene->answers[0] = BAD_ONCE;
	data_plane_publish(&scene->plane);
	for (int i = 0; i < 12; i++)
		ask(scene, i % 2, 0);
	assert_ejected(scene, "consecutive_5xx");
	scene->answers[0] = GOOD_ONCE;
	sleep_ms(300);
	assert_gone_for_all(scene);
	scene->outlier.interval_ns = 50 * MS;
	data_plane_publish(&scene->plane);
	assert_comes_back(scene);
}

static void test_the_detector_goes(void **state)
{
	struct scene *scene = *state;

	scene->outlier.base_ejection_ns = scene->outlier.max_ejection_ns = 600000000000;
	scene->answers[0] = BAD_ONCE;
	data_plane_publish(&scene->plane);
	for (int i = 0; i < 12; i++)
		ask(scene, 0, 0);
	assert_flags(scene, 0, "/failed_outlier_check");
	scene->answers[0] = GOOD_ONCE;
	scene->outlier.on = false;
	data_plane_publish(&scene->plane);
	for (int worker = 0; worker < 2; worker++) {
		unsigned before = atomic_load(&scene->requests[0]);

		for (int i = 0; i < 4; i++)
			assert_int_equal(ask(scene, worker, 0), 200);
		assert_true(atomic_load(&scene->requests[0]) > before);
	}
	assert_flags(scene, 0, "healthy");
}

static void test_resets(void **state)
{
	struct scene *scene = *state;
	int bad = 0;

	scene->answers[0] = NULL;
	data_plane_publish(&scene->plane);
	for (int i = 0; i < 12; i++)
		bad += ask(scene, i % 2, 0) < 0;
	assert_int_equal(bad, 3);
	assert_ejected(scene, "consecutive_5xx");
	assert_gone_for_all(scene);
	scene->answers[0] = GOOD_ONCE;
	assert_comes_back(scene);
}

static void test_hanging(void **state)
{
	struct scene *scene = *state;
	int bad = 0;

	scene->answers[0] = "";
	scene->plane.timeout_ns = 100 * MS;
	data_plane_publish(&scene->plane);
	for (int i = 0; i < 10; i++)
		bad += ask(scene, i % 2, 0) == MESH_ERROR_TIMEOUT;
	assert_true(bad >= 3 && bad <= 4); /* it may be back by the last ones */
	assert_says(scene, true, "outlier_detection.ejections_enforced_consecutive_5xx: 1\n");
}

static void test_refused(void **state)
{
	struct scene *scene = *state;
	uint16_t port, real = scene->plane.ports[0];
	int bad = 0;

	close(raw_listen(&port));
	scene->plane.ports[0] = port;
	data_plane_publish(&scene->plane);
	for (int i = 0; i < 12; i++)
		bad += ask(scene, i % 2, 0) == MESH_ERROR_CONNECT;
	assert_int_equal(bad, 3);
	assert_says(scene, false, "127.0.0.1:%u::health_flags::/failed_outlier_check\n", port);
	assert_says(scene, true, "outlier_detection.ejections_active: 1\n");
	scene->plane.ports[0] = real;
}

/* Answers and failures to connect told apart: refused connections count as the latter alone. */
static void test_refused_told_apart(void **state)
{
	struct scene *scene = *state;
	uint16_t port;
	int bad = 0;

	close(raw_listen(&port));
	scene->plane.ports[0] = port;
	scene->outlier.split_local = true;
	scene->outlier.consecutive_5xx = scene->outlier.consecutive_gateway = 1;
	data_plane_publish(&scene->plane);
	for (int i = 0; i < 12; i++)
		bad += ask(scene, i % 2, 0) == MESH_ERROR_CONNECT;
	assert_int_equal(bad, 3);
	assert_says(scene, true, "outlier_detection.ejections_enforced_consecutive_local_origin_failure: 1\n");
	assert_says(scene, true, "outlier_detection.ejections_detected_consecutive_5xx: 0\n");
}

static void test_only_as_many_as_may_be(void **state)
{
	struct scene *scene = *state;

	scene->outlier.max_ejection_percent = 50;
	scene->outlier.base_ejection_ns = scene->outlier.max_ejection_ns = 600000000000;
	scene->answers[0] = scene->answers[1] = BAD_ONCE;
	data_plane_publish(&scene->plane);
	for (int i = 0; i < 20; i++)
		assert_int_equal(ask(scene, i % 2, 0), 503);
	assert_says(scene, true, "outlier_detection.ejections_active: 1\n");
	assert_says(scene, true, "outlier_detection.ejections_enforced_total: 1\n");
	scene->text[0] = '\0';
	assert_int_equal(mesh_admin_stats(scene->plane.mesh, append, scene->text), 0);
	assert_null(strstr(scene->text, "ejections_overflow: 0\n"));
}

static void test_failure_percentage(void **state)
{
	struct scene *scene = *state;

	scene->outlier.consecutive_5xx = scene->outlier.consecutive_gateway = 0;
	scene->outlier.enforcing_failure = 100;
	scene->outlier.failure_threshold = 85;
	scene->outlier.failure_minimum_hosts = 2;
	scene->outlier.failure_request_volume = 5;
	scene->outlier.success_rate_minimum_hosts = 2;
	scene->outlier.success_rate_request_volume = 5;
	scene->outlier.interval_ns = 400 * MS;
	scene->outlier.base_ejection_ns = scene->outlier.max_ejection_ns = 600000000000;
	scene->answers[0] = BAD_ONCE;
	data_plane_publish(&scene->plane);
	for (int i = 0; i < 20; i++)
		ask(scene, i % 2, 0);
	sleep_ms(450);
	ask(scene, 0, 0);
	assert_ejected(scene, "failure_percentage");
	assert_says(scene, false, "127.0.0.1:%u::success_rate::0\n", scene->servers[0].port);
	assert_says(scene, false, "127.0.0.1:%u::success_rate::100\n", scene->servers[1].port);
	assert_says(scene, false, "reviews::outlier::success_rate_average::50\n");
	assert_gone_for_all(scene);
}

/* Idle connections to what was ejected are not kept where that was asked for. */
static void test_connections_end(void **state)
{
	struct scene *scene = *state;

	scene->close_on_failure = true;
	scene->outlier.base_ejection_ns = scene->outlier.max_ejection_ns = 600000000000;
	scene->answers[0] = BAD;
	scene->answers[1] = GOOD;
	data_plane_publish(&scene->plane);
	for (int i = 0; i < 12; i++)
		ask(scene, 0, 0);
	for (int i = 0; i < 4; i++)
		assert_int_equal(ask(scene, 0, 0), 200);
	assert_says(scene, false, "127.0.0.1:%u::cx_active::0\n", scene->servers[0].port);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_scene, close_scene)
		TEST(test_errors),
		TEST(test_an_ejection_survives_a_push),
		TEST(test_one_address_twice),
		TEST(test_what_comes_back_is_new),
		TEST(test_a_worker_that_is_behind),
		TEST(test_a_lower_limit),
		TEST(test_a_shorter_interval),
		TEST(test_the_detector_goes),
		TEST(test_resets),
		TEST(test_hanging),
		TEST(test_refused),
		TEST(test_refused_told_apart),
		TEST(test_only_as_many_as_may_be),
		TEST(test_failure_percentage),
		TEST(test_connections_end),
#undef TEST
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
