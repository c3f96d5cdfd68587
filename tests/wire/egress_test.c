/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls that leave the mesh or name an address: passed through to where the application would have connected, or nowhere;
 * and TLS under the name the request has.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <stdio.h>
#include <unistd.h>

#include <mesh/mesh.h>

#include "call/worker.h"
#include "loop/resolver.h"
#include "support/data_plane.h"
#include "support/dns_server.h"
#include "support/failing_mem.h"
#include "support/raw_peer.h"
#include "support/test_ca.h"

enum { WAIT_MS = 10000 };

struct scene {
	struct failing_mem mem; /* never fails: nothing may stay */
	struct data_plane plane;
	struct mesh_worker *worker;
	struct raw_server server;
	struct dns_server dns;
	struct resolver_options resolver;
	struct address resolver_address;
	char heard[4096];     /* the last request */
	enum chain_kind kind; /* of virtualOutbound's chain */
	const char *bytes_to; /* its cluster, of a TCP proxy */
	bool bound;           /* the listener is for an address of its own */
	struct original_dst_config original_dst;
	int64_t idle_timeout_ns;
	/* TLS */
	struct test_ca ca;
	struct data_plane peer;
	struct mesh_listener *listener;
	struct tls_config client_tls, server_tls;
	enum cluster_kind cluster_kind;
	struct mesh_slice name_header;
	struct tunnel_config *tunnel; /* of the chain */
	char endless[65536];          /* heads that are no answer */
	const char *proxy_says;
};

static void answer(struct raw_server *server, int fd, unsigned number)
{
	struct scene *scene = (struct scene *)server->user;
	char request[4096] = "";

	while (raw_until(fd, request, sizeof(request), "\r\n\r\n")) {
		memcpy(scene->heard, request, sizeof(request));
		if (!raw_say(fd, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"))
			break;
		request[0] = '\0';
	}
}

static void edit_chain(struct data_plane *plane, struct chain *chain, struct arena *arena, bool inbound)
{
	struct scene *scene = plane->user;

	if (inbound || scene->kind == CHAIN_HTTP)
		return;
	chain->kind = scene->kind;
	chain->http = NULL;
	chain->tcp_cluster = mesh_slice_of(scene->bytes_to);
	chain->tunnel = scene->tunnel;
	chain->tcp_idle_timeout_ns = -1;
	chain->name = mesh_slice_of("virtualOutbound-catchall-tcp");
}

static void edit_listener(struct data_plane *plane, struct listener_config *listener, bool inbound)
{
	struct scene *scene = plane->user;

	if (inbound)
		return;
	listener->use_original_dst = !scene->bound; /* what no other listener takes, on any port */
	if (scene->bound)
		listener->address = mesh_slice_of("127.0.0.1");
	if (scene->bound)
		listener->port = scene->server.port;
}

static void edit_routes(struct data_plane *plane, struct route_config *routes, bool inbound)
{
	if (!inbound)
		routes->any = &routes->hosts[0]; /* allow_any */
}

static void edit_cluster(struct data_plane *plane, struct cluster_config *cluster)
{
	struct scene *scene = plane->user;

	cluster->kind = scene->cluster_kind;
	cluster->lb = scene->cluster_kind == CLUSTER_ORIGINAL_DST ? LB_CLUSTER_PROVIDED : LB_ROUND_ROBIN;
	cluster->original_dst = scene->original_dst;
	cluster->names.wanted = scene->client_tls.upstream_auto_sni || scene->client_tls.upstream_auto_san;
	cluster->names.header = scene->name_header;
	if (scene->idle_timeout_ns)
		cluster->idle_timeout_ns = scene->idle_timeout_ns;
}

static int open_scene(void **state)
{
	struct scene *scene = calloc(1, sizeof(*scene));

	failing_mem_init(&scene->mem, SIZE_MAX);
	assert_int_equal(data_plane_open(&scene->plane, 0, &scene->mem.mem), 0);
	scene->server.serve = answer;
	scene->server.user = scene;
	raw_server_start(&scene->server);
	dns_server_start(&scene->dns);
	scene->resolver_address = dns_server_address(&scene->dns);
	scene->resolver = (struct resolver_options){.servers = &scene->resolver_address,
						    .server_count = 1,
						    .timeout_ms = 500,
						    .tries = 1,
						    .no_search = true};
	scene->plane.mesh->resolver = &scene->resolver;
	scene->plane.user = scene;
	scene->plane.edit_chain = edit_chain;
	scene->plane.edit_listener = edit_listener;
	scene->plane.edit_routes = edit_routes;
	scene->plane.edit_cluster = edit_cluster;
	scene->bytes_to = "outbound|9080||reviews";
	scene->cluster_kind = CLUSTER_ORIGINAL_DST;
	data_plane_publish(&scene->plane);
	assert_int_equal(mesh_worker_implicit(scene->plane.mesh, &scene->worker), 0);
	*state = scene;
	return 0;
}

static int close_scene(void **state)
{
	struct scene *scene = *state;

	data_plane_close(&scene->plane);
	if (scene->listener) {
		data_plane_close(&scene->peer);
		mesh_secret_release(scene->peer.certificate);
		mesh_secret_release(scene->plane.roots);
		test_ca_free(&scene->ca);
	}
	raw_server_stop(&scene->server);
	dns_server_stop(&scene->dns);
	assert_int_equal((int)atomic_load(&scene->mem.blocks), 0);
	free(scene);
	return 0;
}

static struct mesh_call *call(struct scene *scene, const char *authority, const struct mesh_header *header)
{
	struct mesh_request request = {
		.size = sizeof(request), .authority = mesh_slice_of(authority), .timeout_ms = 5000};
	struct mesh_call *call;

	request.headers = header;
	request.header_count = header != NULL;
	assert_int_equal(mesh_call_start(scene->plane.mesh, &request, NULL, NULL, &call), 0);
	mesh_call_wait(call, WAIT_MS);
	return call;
}

static void assert_ends(struct scene *scene, const char *authority, int status, const char *flag, const char *words)
{
	struct mesh_call *one = call(scene, authority, NULL);
	const struct mesh_result *result = mesh_call_result(one);

	if (result->local_status != status || strcmp(result->flag, flag) != 0 ||
	    !strstr(result->why.data ? result->why.data : "", words))
		fail_msg("%s: status %d flag \"%s\" why \"%s\", not %d \"%s\" \"%s\"", authority, result->local_status,
			 result->flag, result->why.data ? result->why.data : "", status, flag, words);
	mesh_call_release(one);
}

static void assert_carried(struct scene *scene, const char *authority, const char *endpoint)
{
	struct mesh_call *one = call(scene, authority, NULL);
	const struct mesh_result *result = mesh_call_result(one);

	if (result->http_status != 200)
		fail_msg("%s: %d %s %s", authority, result->http_status, result->flag, result->why.data);
	if (endpoint)
		assert_string_equal(result->endpoint.data, endpoint);
	mesh_call_release(one);
}

static const char *at(char text[64], const char *host, uint16_t port)
{
	snprintf(text, 64, "%s:%u", host, port);
	return text;
}

static struct cluster *cluster_of(struct scene *scene)
{
	struct mesh_slice name = mesh_slice_of("outbound|9080||reviews");
	struct cluster *cluster;

	assert_int_equal(mesh_cluster_get(&scene->worker->env, name, mesh_slice_hash(name), &cluster), 0);
	return cluster;
}

/* ---- where to */

static void test_address(void **state)
{
	struct scene *scene = *state;
	char target[64];

	at(target, "127.0.0.1", scene->server.port);
	for (int i = 0; i < 3; i++)
		assert_carried(scene, target, target);
	assert_int_equal(scene->server.accepted, 1); /* kept for the next */
	assert_non_null(strstr(scene->heard, "x-request-id"));
	assert_ends(scene, "127.0.0.1:1", 503, "UF", "connect");
}

static void test_name(void **state)
{
	struct scene *scene = *state;
	char target[64], endpoint[64];

	dns_server_set(&scene->dns, "api.example.test", "127.0.0.1", 60);
	at(target, "api.example.test", scene->server.port);
	at(endpoint, "127.0.0.1", scene->server.port);
	for (int i = 0; i < 3; i++)
		assert_carried(scene, target, endpoint);
	assert_int_equal(scene->server.accepted, 1);
	assert_true(dns_server_asked(&scene->dns, "api.example.test", false) <= 2); /* once, for either family */
	assert_non_null(strstr(scene->heard, "host: api.example.test"));
	at(target, "nowhere.example.test", scene->server.port);
	assert_ends(scene, target, 503, "DF", "nowhere.example.test");
	dns_server_set(&scene->dns, "nowhere.example.test", "127.0.0.1",
		       60); /* that there was none is not remembered */
	assert_carried(scene, target, endpoint);
}

/* Many at once share a question; what is given up while it is open is gone. */
static void test_together(void **state)
{
	struct scene *scene = *state;
	struct mesh_call *calls[20];
	struct mesh_request request = {.size = sizeof(request)};

	dns_server_set(&scene->dns, "api.example.test", "127.0.0.1", 60);
	request.authority = mesh_slice_of("api.example.test:1"); /* where nobody listens */
	for (int i = 0; i < 20; i++)
		assert_int_equal(mesh_call_start(scene->plane.mesh, &request, NULL, NULL, &calls[i]), 0);
	mesh_call_cancel(calls[3]);
	for (int i = 0; i < 20; i++) {
		mesh_call_wait(calls[i], WAIT_MS);
		assert_int_equal(mesh_call_result(calls[i])->status,
				 i == 3 ? MESH_ERROR_CANCELLED : MESH_ERROR_CONNECT);
		mesh_call_release(calls[i]);
	}
	assert_true(dns_server_asked(&scene->dns, "api.example.test", false) <= 2);
}

static void test_silent_names(void **state)
{
	struct scene *scene = *state;
	struct mesh_request request = {
		.size = sizeof(request), .authority = mesh_slice_of("slow.example.test:80"), .timeout_ms = 100};
	struct mesh_call *one;

	dns_server_behave(&scene->dns, "slow.example.test", DNS_SILENT);
	assert_int_equal(mesh_call_start(scene->plane.mesh, &request, NULL, NULL, &one), 0);
	mesh_call_wait(one, WAIT_MS);
	assert_int_equal(mesh_call_result(one)->status, MESH_ERROR_TIMEOUT);
	mesh_call_release(one);
}

static void test_header_and_port(void **state)
{
	struct scene *scene = *state;
	char target[64];
	struct mesh_header header = {mesh_slice_of("x-envoy-original-dst-host"), {NULL, 0}};
	struct mesh_call *one;

	at(target, "127.0.0.1", scene->server.port);
	header.value = mesh_slice_of(target);
	scene->original_dst.header = mesh_slice_of("x-envoy-original-dst-host");
	data_plane_publish(&scene->plane);
	one = call(scene, "no.such.name.test", &header);
	assert_int_equal(mesh_call_result(one)->http_status, 200);
	mesh_call_release(one);
	assert_int_equal(dns_server_asked(&scene->dns, "no.such.name.test", false), 0);
	header.value = mesh_slice_of("elsewhere"); /* is no address: as if it were not there */
	one = call(scene, "127.0.0.1:1", &header);
	assert_string_equal(mesh_call_result(one)->flag, "UF");
	mesh_call_release(one);
	scene->original_dst = (struct original_dst_config){.port = scene->server.port};
	data_plane_publish(&scene->plane);
	assert_carried(scene, "127.0.0.1:1", target);
}

/* What nobody uses any more is not kept, and settings that change are followed. */
static void test_cleanup(void **state)
{
	struct scene *scene = *state;
	char target[64];
	int rounds = 0;

	scene->original_dst.cleanup_ns = 20000000;
	scene->idle_timeout_ns = 10000000;
	data_plane_publish(&scene->plane);
	assert_carried(scene, at(target, "127.0.0.1", scene->server.port), target);
	assert_ends(scene, "127.0.0.1:1", 503, "UF", "connect");
	assert_int_equal(cluster_of(scene)->addresses.count, 2);
	data_plane_publish(&scene->plane);
	assert_carried(scene, target, target);
	assert_int_equal(scene->server.accepted, 2); /* the first was of other settings */
	while (cluster_of(scene)->addresses.count && rounds++ < 500)
		mesh_loop_run(scene->worker->env.loop, 20);
	assert_int_equal(cluster_of(scene)->addresses.count, 0);
	assert_true(mesh_list_empty(&cluster_of(scene)->endpoints));
	assert_carried(scene, target, target);
}

/* ---- ports without HTTP in the mesh */

static void test_bytes(void **state)
{
	struct scene *scene = *state;
	struct mesh_header header = {mesh_slice_of("x-envoy-max-retries"), mesh_slice_of("3")};
	char target[64];
	struct mesh_call *one;

	scene->kind = CHAIN_TCP;
	data_plane_publish(&scene->plane);
	one = call(scene, at(target, "127.0.0.1", scene->server.port), &header);
	assert_int_equal(mesh_call_result(one)->http_status, 200);
	mesh_call_release(one);
	/* a TCP proxy sees bytes: nothing is added, and nothing is taken for itself */
	assert_null(strstr(scene->heard, "x-request-id"));
	assert_null(strstr(scene->heard, "x-forwarded-proto"));
	assert_non_null(strstr(scene->heard, "x-envoy-max-retries: 3"));
	dns_server_set(&scene->dns, "api.example.test", "127.0.0.1", 60);
	assert_carried(scene, at(target, "api.example.test", scene->server.port), NULL);
	scene->bytes_to = "gone";
	data_plane_publish(&scene->plane);
	assert_ends(scene, target, 503, "NC", "gone");
}

static void test_black_hole(void **state)
{
	struct scene *scene = *state;

	scene->kind = CHAIN_BLACKHOLE;
	scene->bytes_to = "BlackHoleCluster";
	data_plane_publish(&scene->plane);
	assert_ends(scene, "127.0.0.1:9", 503, "UH", "nothing in the mesh is at 127.0.0.1:9");
	assert_ends(scene, "api.example.test:9", 503, "UH", "nothing else may be called");
	assert_int_equal(dns_server_asked(&scene->dns, "api.example.test", false), 0);
}

/* One listener, of one address, and nothing for what is elsewhere. */
static void test_nothing_else(void **state)
{
	struct scene *scene = *state;
	char target[64];

	scene->bound = true;
	data_plane_publish(&scene->plane);
	dns_server_set(&scene->dns, "other.example.test", "127.0.0.1", 60);
	assert_carried(scene, at(target, "127.0.0.1", scene->server.port), target);
	assert_ends(scene, at(target, "other.example.test", scene->server.port), 404, "NR",
		    "no outbound HTTP listener");
}

/* ---- streams */

static struct mesh_stream *dial(struct scene *scene, const char *target)
{
	struct mesh_stream_options options = {.size = sizeof(options),
					      .target = mesh_slice_of(target),
					      .server_first = true,
					      .connect_timeout_ms = 5000};
	struct mesh_stream *stream;

	assert_int_equal(mesh_stream_dial(scene->plane.mesh, &options, NULL, NULL, &stream), 0);
	return stream;
}

static void test_stream(void **state)
{
	struct scene *scene = *state;
	struct mesh_stream *stream;
	char target[64];

	scene->kind = CHAIN_TCP;
	data_plane_publish(&scene->plane);
	dns_server_set(&scene->dns, "db.example.test", "127.0.0.1", 60);
	stream = dial(scene, at(target, "db.example.test", scene->server.port));
	assert_int_equal(mesh_stream_wait(stream, MESH_STREAM_OPENED, WAIT_MS), MESH_STREAM_OPENED);
	at(target, "127.0.0.1", scene->server.port);
	assert_string_equal(mesh_stream_result(stream)->endpoint.data, target);
	mesh_stream_close(stream);
	stream = dial(scene, "nowhere.example.test:5432");
	assert_int_equal(mesh_stream_wait(stream, MESH_STREAM_OPENED, WAIT_MS), MESH_ERROR_DNS);
	mesh_stream_close(stream);
	stream = dial(scene, "slow.example.test:5432"); /* closed while the name is looked up */
	mesh_stream_close(stream);
	scene->kind = CHAIN_BLACKHOLE;
	scene->bytes_to = "BlackHoleCluster";
	data_plane_publish(&scene->plane);
	stream = dial(scene, "db.example.test:5432");
	assert_int_equal(mesh_stream_wait(stream, MESH_STREAM_OPENED, WAIT_MS), MESH_ERROR_NO_ENDPOINT);
	assert_string_equal(mesh_stream_result(stream)->flag, "UH");
	mesh_stream_close(stream);
}

/* A proxy that answers CONNECT in two pieces, the second with the first bytes of the tunnel, and then says them back. */
static void proxy(struct raw_server *server, int fd, unsigned number)
{
	struct scene *scene = (struct scene *)server->user;
	char request[4096] = "", bytes[4096] = "";

	if (!raw_until(fd, request, sizeof(request), "\r\n\r\n"))
		return;
	memcpy(scene->heard, request, sizeof(request));
	raw_say(fd, "HTTP/1.1 ");
	usleep(10000);
	raw_say(fd, scene->proxy_says);
	if (raw_until(fd, bytes, sizeof(bytes), "ping"))
		raw_say(fd, "pong");
	raw_until(fd, bytes, sizeof(bytes), "never");
}

static void read_exactly(struct mesh_stream *stream, const char *expected)
{
	char bytes[64] = "";
	size_t have = 0;

	while (have < strlen(expected)) {
		int64_t n = mesh_stream_read(stream, bytes + have, strlen(expected) - have);

		if (n == MESH_ERROR_AGAIN)
			assert_true(mesh_stream_wait(stream, MESH_STREAM_READABLE, WAIT_MS) > 0);
		else if (n <= 0)
			fail_msg("%d: %s", (int)n, mesh_stream_result(stream)->why.data);
		else
			have += (size_t)n;
	}
	assert_string_equal(bytes, expected);
}

static void test_tunnel(void **state)
{
	static struct tunnel_header header = {{"x-from", 6}, {"mesh", 4}};
	static struct tunnel_config tunnel = {{"db.example.test:5432", 20}, &header, 1};
	struct scene *scene = *state;
	struct mesh_stream *stream;
	char target[64];

	strcpy(scene->endless, "102 Processing\r\n\r\n");
	for (int i = 0; i < 2000; i++)
		strcat(scene->endless, "HTTP/1.1 102 Processing\r\n\r\n");
	scene->server.serve = proxy;
	scene->kind = CHAIN_TCP;
	scene->tunnel = &tunnel;
	data_plane_publish(&scene->plane);
	at(target, "127.0.0.1", scene->server.port);
	scene->proxy_says = "200 OK\r\ncontent-length: 5\r\n\r\nhello";
	stream = dial(scene, target);
	assert_int_equal(mesh_stream_wait(stream, MESH_STREAM_OPENED, WAIT_MS), MESH_STREAM_OPENED);
	read_exactly(stream, "hello");
	assert_int_equal(mesh_stream_write(stream, mesh_slice_of("ping")), 4);
	read_exactly(stream, "pong");
	assert_string_equal(
		scene->heard,
		"CONNECT db.example.test:5432 HTTP/1.1\r\nhost: db.example.test:5432\r\nx-from: mesh\r\n\r\n");
	mesh_stream_close(stream);
	mesh_loop_run(scene->worker->env.loop, 0);
	/* what a proxy says meanwhile is no answer yet */
	scene->proxy_says = "100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nlink: a\r\n\r\nHTTP/1.1 200 OK\r\n\r\nhello";
	stream = dial(scene, target);
	if (mesh_stream_wait(stream, MESH_STREAM_OPENED, WAIT_MS) != MESH_STREAM_OPENED)
		fail_msg("%s", mesh_stream_result(stream)->why.data);
	read_exactly(stream, "hello");
	mesh_stream_close(stream);
	mesh_loop_run(scene->worker->env.loop, 0);
	scene->proxy_says = scene->endless;
	stream = dial(scene, target);
	assert_true(mesh_stream_wait(stream, MESH_STREAM_OPENED, WAIT_MS) < 0);
	assert_non_null(strstr(mesh_stream_result(stream)->why.data, "interim"));
	mesh_stream_close(stream);
	mesh_loop_run(scene->worker->env.loop, 0);
	scene->proxy_says = "101 Switching\r\n\r\n"; /* to what nobody asked for */
	stream = dial(scene, target);
	assert_true(mesh_stream_wait(stream, MESH_STREAM_OPENED, WAIT_MS) < 0);
	mesh_stream_close(stream);
	mesh_loop_run(scene->worker->env.loop, 0);
	scene->proxy_says = "407 Who Are You\r\ncontent-length: 0\r\n\r\n";
	stream = dial(scene, target);
	assert_int_equal(mesh_stream_wait(stream, MESH_STREAM_OPENED, WAIT_MS), MESH_ERROR_CONNECT);
	assert_non_null(strstr(mesh_stream_result(stream)->why.data, "answered 407"));
	mesh_stream_close(stream);
	mesh_loop_run(scene->worker->env.loop, 0);
	scene->proxy_says = "no number\r\n\r\n";
	stream = dial(scene, target);
	assert_true(mesh_stream_wait(stream, MESH_STREAM_OPENED, WAIT_MS) < 0);
	mesh_stream_close(stream);
	mesh_loop_run(scene->worker->env.loop, 0);
	stream = dial(scene, target); /* closed while the proxy is asked */
	mesh_loop_run(scene->worker->env.loop, 100);
	mesh_stream_close(stream);
	assert_ends(scene, target, 503, "UAEX", "calls through a tunnel are not supported");
}

/* ---- TLS by the request's name */

static void say_hello(struct mesh_call *call, void *user)
{
	mesh_call_respond(call, 200, NULL, 0, mesh_slice_of("hello"), true);
}

static void open_tls(struct scene *scene, const char *dns)
{
	struct mesh_listen_options options = {.size = sizeof(options), .handler = say_hello, .address = "127.0.0.1"};

	test_ca_make(&scene->ca);
	assert_int_equal(data_plane_open(&scene->peer, 1, NULL), 0);
	scene->server_tls = (struct tls_config){.certificate_name = {"default", 7}};
	scene->peer.server_tls = &scene->server_tls;
	scene->peer.inbound = DATA_PLANE_STRICT;
	scene->peer.certificate = test_ca_secret(&scene->ca, &(struct test_leaf){.dns = dns});
	data_plane_publish(&scene->peer);
	assert_int_equal(mesh_listen(scene->peer.mesh, &options, &scene->listener), 0);
	scene->client_tls =
		(struct tls_config){.roots_name = {"ROOTCA", 6}, .upstream_auto_sni = true, .upstream_auto_san = true};
	scene->cluster_kind = CLUSTER_EDS;
	scene->plane.client_tls = &scene->client_tls;
	scene->plane.roots = test_ca_roots(&scene->ca);
	scene->plane.ports[scene->plane.port_count++] = mesh_listener_port(scene->listener);
	data_plane_publish(&scene->plane);
}

static uint64_t connections(struct scene *scene)
{
	return mesh_counter_read(&cluster_of(scene)->stats->cx_total);
}

static void test_tls_names(void **state)
{
	struct scene *scene = *state;
	struct mesh_header header = {mesh_slice_of("x-host"), mesh_slice_of("c.example.test")};
	struct mesh_call *one;

	open_tls(scene, "*.example.test");
	assert_carried(scene, "a.example.test:9080", NULL);
	assert_carried(scene, "A.Example.Test:9080", NULL); /* the same name */
	assert_int_equal(connections(scene), 1);
	assert_carried(scene, "b.example.test:9080", NULL); /* another: its own connection */
	assert_int_equal(connections(scene), 2);
	assert_carried(scene, "a.example.test:9080", NULL);
	assert_int_equal(connections(scene), 2);
	assert_ends(scene, "a.b.example.test:9080", 503, "UF", "is not for \"a.b.example.test\"");
	assert_ends(scene, "example.test:9080", 503, "UF", "is not for \"example.test\"");
	assert_ends(scene, "a.example.test.evil.test:9080", 503, "UF", "is not for");
	assert_ends(scene, "127.0.0.1:9080", 503, "UF", "is not for \"127.0.0.1\"");
	scene->name_header = mesh_slice_of("x-host");
	data_plane_publish(&scene->plane);
	one = call(scene, "elsewhere.test:9080", &header);
	assert_int_equal(mesh_call_result(one)->http_status, 200);
	mesh_call_release(one);
	assert_ends(scene, "elsewhere.test:9080", 503, "UF", "is not for \"elsewhere.test\"");
	scene->client_tls.roots_name = (struct mesh_slice){NULL, 0}; /* nothing to check a name by */
	data_plane_publish(&scene->plane);
	assert_ends(scene, "a.example.test:9080", 503, "-", "no roots to check a name by");
}

static void test_tls_bad_names(void **state)
{
	struct scene *scene = *state;

	open_tls(scene, "*.example.test");
	assert_ends(scene, "a!b.example.test:9080", 400, "-", "gives no name for the TLS");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_address, open_scene, close_scene),
		cmocka_unit_test_setup_teardown(test_name, open_scene, close_scene),
		cmocka_unit_test_setup_teardown(test_together, open_scene, close_scene),
		cmocka_unit_test_setup_teardown(test_silent_names, open_scene, close_scene),
		cmocka_unit_test_setup_teardown(test_header_and_port, open_scene, close_scene),
		cmocka_unit_test_setup_teardown(test_cleanup, open_scene, close_scene),
		cmocka_unit_test_setup_teardown(test_bytes, open_scene, close_scene),
		cmocka_unit_test_setup_teardown(test_black_hole, open_scene, close_scene),
		cmocka_unit_test_setup_teardown(test_nothing_else, open_scene, close_scene),
		cmocka_unit_test_setup_teardown(test_stream, open_scene, close_scene),
		cmocka_unit_test_setup_teardown(test_tunnel, open_scene, close_scene),
		cmocka_unit_test_setup_teardown(test_tls_names, open_scene, close_scene),
		cmocka_unit_test_setup_teardown(test_tls_bad_names, open_scene, close_scene),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
