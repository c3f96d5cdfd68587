/* SPDX-License-Identifier: Apache-2.0 */
/* A client's calls to nghttpd, a server of another hand: plaintext and TLS, many at once, bodies both ways, keepalive. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <stdio.h>

#include <mesh/mesh.h>

#include "call/worker.h"
#include "cluster/connection.h"
#include "support/data_plane.h"
#include "support/failing_mem.h"
#include "support/nghttpd.h"
#include "support/test_ca.h"

#define BOB "spiffe://cluster.local/ns/default/sa/bob"

enum { MS = 1000000, WAIT_MS = 20000, MANY = 1000, FILE_BYTES = 1000, MIB = 1024 * 1024 };

struct scene {
	struct failing_mem mem;
	struct test_ca ca;
	struct data_plane plane;
	struct mesh_worker *worker;
	struct nghttpd server;
	enum upstream_protocol protocol;
	struct http2_config http2;
	struct tls_config tls;
};

static void edit_cluster(struct data_plane *plane, struct cluster_config *cluster)
{
	struct scene *scene = plane->user;

	cluster->protocol = scene->protocol;
	cluster->http2 = scene->http2;
}

static int open_scene(void **state)
{
	struct scene *scene = calloc(1, sizeof(*scene));

	failing_mem_init(&scene->mem, 0);
	test_ca_make(&scene->ca);
	assert_int_equal(data_plane_open(&scene->plane, 1, &scene->mem.mem), 0);
	assert_int_equal(mesh_worker_new(scene->plane.mesh, &scene->worker), 0);
	scene->plane.user = scene;
	scene->plane.edit_cluster = edit_cluster;
	scene->protocol = UPSTREAM_HTTP2;
	*state = scene;
	return 0;
}

static int close_scene(void **state)
{
	struct scene *scene = *state;

	mesh_worker_free(scene->worker);
	data_plane_close(&scene->plane);
	nghttpd_stop(&scene->server);
	mesh_secret_release(scene->plane.certificate);
	mesh_secret_release(scene->plane.roots);
	test_ca_free(&scene->ca);
	assert_int_equal(atomic_load(&scene->mem.blocks), 0);
	free(scene);
	return 0;
}

static void begin(struct scene *scene, const char *const *options, bool tls)
{
	scene->plane.certificate = test_ca_secret(&scene->ca, &(struct test_leaf){.uri = BOB});
	scene->plane.roots = test_ca_roots(&scene->ca);
	assert_true(nghttpd_start(&scene->server, options, tls ? scene->plane.certificate->key_pem.data : NULL,
				  scene->plane.certificate->chain_pem.data, FILE_BYTES));
	scene->plane.ports[0] = scene->server.port;
	scene->plane.port_count = 1;
	scene->tls = data_plane_istio_client;
	scene->tls.alpn = (struct mesh_slice){NULL, 0};
	scene->plane.client_tls = tls ? &scene->tls : NULL;
	data_plane_publish(&scene->plane);
}

static struct mesh_request request_of(struct scene *scene, const char *method, const char *path)
{
	return (struct mesh_request){.size = sizeof(struct mesh_request), .authority = mesh_slice_of("reviews:9080"),
				     .method = mesh_slice_of(method), .path = mesh_slice_of(path), .worker = scene->worker,
				     .version = MESH_HTTP_2};
}

static struct mesh_call *get(struct scene *scene)
{
	struct mesh_request request = request_of(scene, "GET", "/file");
	struct mesh_call *call;

	assert_int_equal(mesh_call_start(scene->plane.mesh, &request, NULL, NULL, &call), 0);
	return call;
}

static void expect_file(struct mesh_call *call)
{
	if (mesh_call_wait(call, WAIT_MS))
		fail_msg("%.*s", (int)mesh_call_result(call)->why.len, mesh_call_result(call)->why.data);
	assert_int_equal(mesh_call_http_status(call), 200);
	assert_int_equal(mesh_call_body(call).len, FILE_BYTES);
	assert_true(mesh_slice_equal(mesh_call_peer(call)->protocol, MESH_SLICE("h2")));
	mesh_call_release(call);
}

static struct pool *pool_of(struct scene *scene, enum pool_protocol protocol)
{
	const struct mesh_slice name = MESH_SLICE("outbound|9080||reviews");
	struct cluster *cluster;

	assert_int_equal(mesh_cluster_get(&scene->worker->env, name, mesh_slice_hash(name), &cluster), 0);
	return &cluster->active[0]->pools[protocol];
}

static size_t count(const struct link *list)
{
	size_t n = 0;

	MESH_LIST_EACH(at, list)
		n++;
	return n;
}

/* nghttpd takes 100 streams; what is beyond goes to further connections, and nothing is refused. */
static void many_at_once(struct scene *scene)
{
	struct mesh_call **calls = calloc(MANY, sizeof(*calls));
	struct pool *pool;
	size_t connections;

	for (int i = 0; i < MANY; i++)
		calls[i] = get(scene);
	for (int i = 0; i < MANY; i++)
		expect_file(calls[i]);
	free(calls);
	while (mesh_worker_run(scene->worker, 20) > 0) /* connections nobody waited for to the end say hello, too */
		;
	pool = pool_of(scene, scene->protocol == UPSTREAM_AUTO ? POOL_AUTO : POOL_HTTP2);
	connections = count(&pool->idle);
	assert_true(connections >= 2 && connections <= 10);
	assert_int_equal(count(&pool->busy) + count(&pool->sharing) + count(&pool->opening), 0);
	assert_int_equal(pool->opening_room, 0);
}

static void test_plaintext(void **state)
{
	begin(*state, NULL, false);
	expect_file(get(*state));
	many_at_once(*state);
}

static void test_tls(void **state)
{
	struct scene *scene = *state;

	begin(scene, NULL, true);
	expect_file(get(scene));
	assert_int_equal(count(&pool_of(scene, POOL_HTTP2)->idle), 1);
	many_at_once(scene);
}

static void test_tls_by_alpn(void **state)
{
	struct scene *scene = *state;

	scene->protocol = UPSTREAM_AUTO;
	begin(scene, NULL, true);
	many_at_once(scene);
}

struct upload {
	size_t sent, received;
	bool wrong;
};

static void send_more(struct mesh_call *call, void *user)
{
	static char piece[16384];
	struct upload *upload = user;

	memset(piece, 'u', sizeof(piece));
	while (upload->sent < 4 * MIB) {
		bool end = upload->sent + sizeof(piece) == 4 * MIB;

		if (mesh_call_send(call, mesh_slice_make(piece, sizeof(piece)), end))
			return;
		upload->sent += sizeof(piece);
	}
}

static void take(struct mesh_call *call, struct mesh_slice data, void *user)
{
	struct upload *upload = user;

	for (size_t i = 0; i < data.len; i++)
		upload->wrong |= data.data[i] != 'u';
	upload->received += data.len;
}

static void test_large_bodies_both_ways(void **state)
{
	static const char *const echo[] = {"--echo-upload", "--trailer", "x-sum: right", NULL};
	const struct mesh_call_events events = {.size = sizeof(events), .data = take, .writable = send_more};
	struct scene *scene = *state;
	struct mesh_request request = request_of(scene, "POST", "/echo");
	struct upload upload = {0};
	struct mesh_call *call;

	begin(scene, echo, true);
	request.more_body = true;
	assert_int_equal(mesh_call_start(scene->plane.mesh, &request, &events, &upload, &call), 0);
	send_more(call, &upload);
	assert_int_equal(mesh_call_wait(call, WAIT_MS), 0);
	assert_int_equal(mesh_call_result(call)->sent_bytes, 4 * MIB);
	assert_int_equal(upload.received, 4 * MIB);
	assert_false(upload.wrong);
	assert_true(mesh_slice_equal(mesh_call_trailer(call, "x-sum"), MESH_SLICE("right")));
	mesh_call_release(call);
}

/* It answers pings, however many: the connection stays. */
static void test_keepalive(void **state)
{
	struct scene *scene = *state;
	const struct connection *connection;
	uint64_t until;

	scene->http2.ping_interval_ns = 5 * MS;
	scene->http2.ping_timeout_ns = 2000 * (int64_t)MS;
	scene->http2.ping_idle_ns = MS;
	begin(scene, NULL, false);
	expect_file(get(scene));
	connection = MESH_CONTAINER(pool_of(scene, POOL_HTTP2)->idle.next, struct connection, link);
	for (int i = 0; i < 3; i++) {
		until = mesh_time_now_ns() + 30 * MS;
		while (mesh_time_now_ns() < until)
			assert_true(mesh_worker_run(scene->worker, 2) >= 0);
		expect_file(get(scene));
	}
	assert_int_equal(count(&pool_of(scene, POOL_HTTP2)->idle), 1);
	assert_ptr_equal(MESH_CONTAINER(pool_of(scene, POOL_HTTP2)->idle.next, struct connection, link), connection);
	assert_int_equal(connection->mux->carried, 4);
	assert_true(connection->ping_ns > 0 || mesh_timer_running(&connection->ping));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_scene, close_scene)
	const struct CMUnitTest tests[] = {
		TEST(test_plaintext), TEST(test_tls), TEST(test_tls_by_alpn), TEST(test_large_bodies_both_ways),
		TEST(test_keepalive),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
