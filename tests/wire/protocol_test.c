/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Between two workloads: which version of HTTP a call goes out with, as its cluster, its own version and ALPN say; many
 * calls at once; changes of protocol over either version.
 */
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
#include "support/raw_peer.h"
#include "support/test_ca.h"

#define BOB "spiffe://cluster.local/ns/default/sa/bob"
#define EVE "spiffe://cluster.local/ns/default/sa/eve"

enum { WAIT_MS = 10000, MANY = 1000 };

/* Chains of the outbound listener: which they take, and whether they carry it or close; a default one. */
struct outbound {
	bool inspects;
	struct {
		const char *alpn; /* NULL: any */
		enum chain_kind kind;
	} chains[2], otherwise;
	enum http_codec codec;
	int http1, http2; /* how a call of that version ends */
};

struct pair {
	struct failing_mem mem;
	struct test_ca ca;
	struct data_plane server, client;
	struct mesh_listener *listener;
	struct mesh_worker *worker; /* the client's */
	enum upstream_protocol protocol;
	struct tls_config tls, server_tls;
	struct http_filter filters[2];
	bool upgrades;
	const struct outbound *outbound; /* NULL: one chain for everything */
	struct route_upgrade route_upgrade; /* with a protocol: of the route */
	atomic_uint upgraded;
	uint32_t streams_max;	    /* what the server takes at once; 0: as it is by default */
	uint64_t server_requests, client_requests; /* a connection carries, as either side has it */
};

static struct mesh_slice text(const char *text)
{
	return mesh_slice_of(text);
}

static void echo(struct mesh_call *call, struct mesh_slice data, void *user)
{
	mesh_call_send(call, data, false);
}

static void echo_end(struct mesh_call *call, void *user)
{
	mesh_call_send(call, text(""), true);
}

/* Answers with the version it was called in; a change of protocol is agreed to and echoes. */
static void handler(struct mesh_call *call, void *user)
{
	struct pair *pair = user;
	const struct mesh_call_events events = {.size = sizeof(events), .data = echo, .end = echo_end};

	if (mesh_call_upgrade(call).len) {
		atomic_fetch_add(&pair->upgraded, 1);
		mesh_call_on(call, &events, NULL);
		mesh_call_respond(call, 101, NULL, 0, text(""), false);
		return;
	}
	mesh_call_respond(call, 200, NULL, 0, mesh_call_peer(call)->protocol, true);
}

static struct mesh_slice websocket = {"websocket", 9};

static void edit_chain(struct data_plane *plane, struct chain *chain, struct arena *arena, bool inbound)
{
	struct pair *pair = plane->user;

	if (inbound) {
		chain->http->http2.streams_max = pair->streams_max;
		chain->http->requests_per_connection_max = pair->server_requests;
	}
	if (pair->upgrades) {
		chain->http->upgrades = &websocket;
		chain->http->upgrade_count = 1;
		chain->http->http2.allow_connect = true;
	}
	if (!inbound && pair->filters[0].kind) {
		chain->http->filters = pair->filters;
		chain->http->filter_count = 1;
	}
}

static void edit_listener(struct data_plane *plane, struct listener_config *listener, bool inbound)
{
	const struct outbound *outbound = ((struct pair *)plane->user)->outbound;
	static struct mesh_slice alpn[2];
	static struct chain otherwise;

	if (inbound || !outbound)
		return;
	listener->http_inspector = outbound->inspects;
	listener->chains[0].http->codec = outbound->codec;
	otherwise = listener->chains[1] = listener->chains[0];
	listener->chain_count = 2;
	for (int i = 0; i < 2; i++) {
		listener->chains[i].kind = outbound->chains[i].kind;
		alpn[i] = mesh_slice_of(outbound->chains[i].alpn);
		listener->chains[i].match.alpn = &alpn[i];
		listener->chains[i].match.alpn_count = alpn[i].data != NULL;
	}
	otherwise.kind = outbound->otherwise.kind;
	listener->default_chain = &otherwise;
}

static void edit_cluster(struct data_plane *plane, struct cluster_config *cluster)
{
	struct pair *pair = plane->user;

	cluster->protocol = pair->protocol;
	cluster->requests_per_connection_max = pair->client_requests;
}

static void edit_routes(struct data_plane *plane, struct route_config *routes, bool inbound)
{
	struct pair *pair = plane->user;

	if (!inbound && pair->route_upgrade.protocol.len) {
		routes->hosts[0].routes[0].upgrades = &pair->route_upgrade;
		routes->hosts[0].routes[0].upgrade_count = 1;
	}
}

static int open_pair(void **state)
{
	struct pair *pair = calloc(1, sizeof(*pair));
	struct mesh_listen_options options = {.size = sizeof(options), .handler = handler, .user = pair,
					      .address = "127.0.0.1", .grace_ms = 100};

	failing_mem_init(&pair->mem, 0);
	test_ca_make(&pair->ca);
	assert_int_equal(data_plane_open(&pair->client, 1, &pair->mem.mem), 0);
	assert_int_equal(data_plane_open(&pair->server, 1, &pair->mem.mem), 0);
	pair->client.user = pair->server.user = pair;
	pair->client.edit_chain = pair->server.edit_chain = edit_chain;
	pair->client.edit_cluster = edit_cluster;
	pair->client.edit_routes = edit_routes;
	pair->client.edit_listener = edit_listener;
	pair->server.certificate = test_ca_secret(&pair->ca, &(struct test_leaf){.uri = BOB});
	pair->client.certificate = test_ca_secret(&pair->ca, &(struct test_leaf){.uri = EVE});
	pair->server.roots = test_ca_roots(&pair->ca);
	pair->client.roots = test_ca_roots(&pair->ca);
	pair->tls = data_plane_istio_client;
	pair->server_tls = data_plane_istio_server;
	pair->server.server_tls = &pair->server_tls;
	assert_int_equal(mesh_listen(pair->server.mesh, &options, &pair->listener), 0);
	assert_int_equal(mesh_worker_new(pair->client.mesh, &pair->worker), 0);
	pair->client.ports[pair->client.port_count++] = mesh_listener_port(pair->listener);
	*state = pair;
	return 0;
}

static int close_pair(void **state)
{
	struct pair *pair = *state;

	mesh_worker_free(pair->worker);
	data_plane_close(&pair->client);
	data_plane_close(&pair->server);
	mesh_secret_release(pair->client.certificate);
	mesh_secret_release(pair->client.roots);
	mesh_secret_release(pair->server.certificate);
	mesh_secret_release(pair->server.roots);
	test_ca_free(&pair->ca);
	assert_int_equal(atomic_load(&pair->mem.blocks), 0);
	free(pair);
	return 0;
}

static void publish(struct pair *pair, enum upstream_protocol protocol, bool tls)
{
	pair->protocol = protocol;
	pair->client.client_tls = tls ? &pair->tls : NULL;
	pair->server.inbound = tls ? DATA_PLANE_STRICT : DATA_PLANE_DISABLE;
	data_plane_publish(&pair->server);
	data_plane_publish(&pair->client);
}

static struct mesh_request request_of(struct pair *pair, enum mesh_http_version version)
{
	return (struct mesh_request){.size = sizeof(struct mesh_request), .authority = text("reviews:9080"),
				     .worker = pair->worker, .version = version};
}

static struct mesh_call *start(struct pair *pair, enum mesh_http_version version)
{
	struct mesh_request request = request_of(pair, version);
	struct mesh_call *call;

	assert_int_equal(mesh_call_start(pair->client.mesh, &request, NULL, NULL, &call), 0);
	return call;
}

static void expect_ok(struct mesh_call *call)
{
	if (mesh_call_wait(call, WAIT_MS))
		fail_msg("%.*s", (int)mesh_call_result(call)->why.len, mesh_call_result(call)->why.data);
	assert_int_equal(mesh_call_http_status(call), 200);
}

/* The same seen from either end. */
static void expect_protocol(struct mesh_call *call, const char *protocol)
{
	expect_ok(call);
	assert_int_equal(mesh_call_body(call).len, strlen(protocol));
	assert_memory_equal(mesh_call_body(call).data, protocol, strlen(protocol));
	assert_true(mesh_slice_equal(mesh_call_peer(call)->protocol, text(protocol)));
	mesh_call_release(call);
}

static void test_which_version_goes_out(void **state)
{
	static const struct {
		enum upstream_protocol protocol;
		bool tls;
		enum mesh_http_version version;
		const char *expected;
	} cases[] = {
		{UPSTREAM_HTTP1, false, MESH_HTTP_1_1, "http/1.1"},	 {UPSTREAM_HTTP1, false, MESH_HTTP_2, "http/1.1"},
		{UPSTREAM_HTTP2, false, MESH_HTTP_1_1, "h2"},		 {UPSTREAM_HTTP2, false, MESH_HTTP_2, "h2"},
		{UPSTREAM_DOWNSTREAM, false, MESH_HTTP_1_1, "http/1.1"}, {UPSTREAM_DOWNSTREAM, false, MESH_HTTP_2, "h2"},
		{UPSTREAM_AUTO, false, MESH_HTTP_1_1, "http/1.1"},	 {UPSTREAM_AUTO, false, MESH_HTTP_2, "http/1.1"},
		{UPSTREAM_HTTP1, true, MESH_HTTP_1_1, "http/1.1"},	 {UPSTREAM_HTTP1, true, MESH_HTTP_2, "http/1.1"},
		{UPSTREAM_HTTP2, true, MESH_HTTP_1_1, "h2"},		 {UPSTREAM_HTTP2, true, MESH_HTTP_2, "h2"},
		{UPSTREAM_DOWNSTREAM, true, MESH_HTTP_1_1, "http/1.1"},	 {UPSTREAM_DOWNSTREAM, true, MESH_HTTP_2, "h2"},
		{UPSTREAM_AUTO, true, MESH_HTTP_1_1, "h2"},		 {UPSTREAM_AUTO, true, MESH_HTTP_2, "h2"},
	};
	struct pair *pair = *state;

	pair->tls.alpn = (struct mesh_slice){NULL, 0}; /* what the protocol itself calls for */
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		publish(pair, cases[i].protocol, cases[i].tls);
		expect_protocol(start(pair, cases[i].version), cases[i].expected);
		expect_protocol(start(pair, cases[i].version), cases[i].expected); /* and on a kept connection */
	}
}

/* Where the peer has no HTTP/2 to choose, AUTO is HTTP/1.1. */
static void test_auto_follows_the_peer(void **state)
{
	struct pair *pair = *state;
	struct mesh_call *calls[3];

	pair->tls.alpn = (struct mesh_slice){NULL, 0};
	pair->server_tls.alpn = (struct mesh_slice){"\x08http/1.1", 9};
	publish(pair, UPSTREAM_AUTO, true);
	/* all three wait for one connection that could have carried them, and then does not */
	for (int i = 0; i < 3; i++)
		calls[i] = start(pair, MESH_HTTP_2);
	for (int i = 0; i < 3; i++)
		expect_protocol(calls[i], "http/1.1");
}

/* Either version has connections of its own, with its own list of istio.alpn. */
static const struct connection *idle_one(struct pair *pair, enum pool_protocol protocol)
{
	const struct mesh_slice name = text("outbound|9080||reviews");
	struct cluster *cluster;

	assert_int_equal(mesh_cluster_get(&pair->worker->env, name, mesh_slice_hash(name), &cluster), 0);
	assert_int_equal(cluster->count, 1);
	return mesh_list_empty(&cluster->active[0]->pools[protocol].idle)
		       ? NULL
		       : MESH_CONTAINER(cluster->active[0]->pools[protocol].idle.next, struct connection, link);
}

static void test_alpn_lists_by_version(void **state)
{
	struct pair *pair = *state;
	const struct connection *first, *second;

	pair->filters[0] = (struct http_filter){.kind = HTTP_FILTER_ALPN,
						.alpn_http11 = {"\x03one\x08http/1.1", 13},
						.alpn_http2 = {"\x03two\x02h2", 7}};
	pair->server_tls.alpn = (struct mesh_slice){"\x03one\x02h2", 7};
	publish(pair, UPSTREAM_DOWNSTREAM, true);
	expect_protocol(start(pair, MESH_HTTP_1_1), "http/1.1");
	expect_protocol(start(pair, MESH_HTTP_2), "h2");
	expect_protocol(start(pair, MESH_HTTP_1_1), "http/1.1");
	first = idle_one(pair, POOL_HTTP1);
	second = idle_one(pair, POOL_HTTP2);
	assert_true(first && second && !idle_one(pair, POOL_AUTO));
	assert_true(mesh_slice_equal(first->dial.transport->peer.alpn, text("one")));
	assert_true(mesh_slice_equal(second->dial.transport->peer.alpn, text("h2")));
	assert_int_equal(first->mux->carried, 2);
}

/* As the sidecar's inspector would find it; what no chain is for goes to the default one. */
static void test_which_chain_takes_it(void **state)
{
	static const struct outbound cases[] = {
		{true, {{"http/1.1", CHAIN_HTTP}, {"h2c", CHAIN_FAIL_CLOSED}}, {NULL, CHAIN_TCP}, HTTP_CODEC_AUTO, 0,
		 MESH_ERROR_FAIL_CLOSED},
		{true, {{"http/1.1", CHAIN_FAIL_CLOSED}, {"h2c", CHAIN_HTTP}}, {NULL, CHAIN_TCP}, HTTP_CODEC_AUTO,
		 MESH_ERROR_FAIL_CLOSED, 0},
		{true, {{NULL, CHAIN_FAIL_CLOSED}, {"h2c", CHAIN_HTTP}}, {NULL, CHAIN_HTTP}, HTTP_CODEC_AUTO,
		 MESH_ERROR_FAIL_CLOSED, 0}, /* what was sniffed goes first, wherever it stands */
		{true, {{NULL, CHAIN_TCP}, {"http/1.1", CHAIN_HTTP}}, {NULL, CHAIN_TCP}, HTTP_CODEC_AUTO, 0,
		 MESH_ERROR_NO_CLUSTER}, /* taken as bytes, by a TCP proxy whose cluster is not there */
		{true, {{"http/1.0", CHAIN_HTTP}, {"h2c", CHAIN_HTTP}}, {NULL, CHAIN_FAIL_CLOSED}, HTTP_CODEC_AUTO,
		 MESH_ERROR_FAIL_CLOSED, 0},
		{false, {{"http/1.1", CHAIN_HTTP}, {"h2c", CHAIN_HTTP}}, {NULL, CHAIN_TCP}, HTTP_CODEC_AUTO, MESH_ERROR_NO_CLUSTER,
		 MESH_ERROR_NO_CLUSTER}, /* nobody looks */
		{false, {{NULL, CHAIN_HTTP}, {NULL, CHAIN_TCP}}, {NULL, CHAIN_TCP}, HTTP_CODEC_AUTO, 0, 0},
		{false, {{NULL, CHAIN_HTTP}, {NULL, CHAIN_TCP}}, {NULL, CHAIN_TCP}, HTTP_CODEC_HTTP1, 0,
		 MESH_ERROR_DOWNSTREAM_PROTOCOL},
		{false, {{NULL, CHAIN_HTTP}, {NULL, CHAIN_TCP}}, {NULL, CHAIN_TCP}, HTTP_CODEC_HTTP2,
		 MESH_ERROR_DOWNSTREAM_PROTOCOL, 0},
	};
	struct pair *pair = *state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		pair->outbound = &cases[i];
		publish(pair, UPSTREAM_DOWNSTREAM, false);
		for (int http2 = 0; http2 < 2; http2++) {
			struct mesh_call *call = start(pair, http2 ? MESH_HTTP_2 : MESH_HTTP_1_1);

			if (mesh_call_wait(call, WAIT_MS) != (http2 ? cases[i].http2 : cases[i].http1))
				fail_msg("case %zu, HTTP/%d: %d", i, 1 + http2, mesh_call_result(call)->status);
			mesh_call_release(call);
		}
	}
}

static char heard[4096]; /* by the server below */

static void hear(struct raw_server *server, int fd, unsigned number)
{
	if (raw_until(fd, heard, sizeof(heard), "\r\n\r\n"))
		raw_say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
}

/* What of an application's HTTP/2 request has no place in HTTP/1.1 stays behind. */
static void test_translation_to_http1(void **state)
{
	static const struct mesh_header headers[] = {{{"te", 2}, {"trailers", 8}}, {{"connection", 10}, {"x-a", 3}},
						     {{"x-a", 3}, {"kept", 4}}, {{"keep-alive", 10}, {"5", 1}},
						     {{"upgrade", 7}, {"h2c", 3}}, {{"content-length", 14}, {"99", 2}}};
	struct raw_server server = {.serve = hear};
	struct pair *pair = *state;
	struct mesh_request request = request_of(pair, MESH_HTTP_2);
	struct mesh_call *call;

	raw_server_start(&server);
	pair->client.ports[0] = server.port;
	publish(pair, UPSTREAM_HTTP1, false);
	request.headers = headers;
	request.header_count = sizeof(headers) / sizeof(headers[0]);
	request.method = text("POST");
	request.body = text("body");
	assert_int_equal(mesh_call_start(pair->client.mesh, &request, NULL, NULL, &call), 0);
	expect_ok(call);
	mesh_call_release(call);
	raw_server_stop(&server);
	assert_non_null(strstr(heard, "POST / HTTP/1.1\r\nhost: reviews:9080\r\n"));
	assert_non_null(strstr(heard, "\r\ncontent-length: 4\r\n"));
	assert_non_null(strstr(heard, "\r\nx-a: kept\r\n"));
	assert_null(strcasestr(heard, "\r\nte:"));
	assert_null(strcasestr(heard, "\r\nconnection:"));
	assert_null(strcasestr(heard, "\r\nkeep-alive:"));
	assert_null(strcasestr(heard, "\r\nupgrade:"));
	assert_null(strstr(heard, "content-length: 99"));
}

static void test_many_at_once(void **state)
{
	struct pair *pair = *state;
	struct mesh_call **calls = calloc(MANY, sizeof(*calls));

	publish(pair, UPSTREAM_HTTP2, true);
	for (int i = 0; i < MANY; i++)
		calls[i] = start(pair, MESH_HTTP_2);
	for (int i = 0; i < MANY; i++)
		expect_protocol(calls[i], "h2");
	assert_int_equal(idle_one(pair, POOL_HTTP2)->mux->carried, MANY);
	free(calls);
}

/*
 * Connections that end all the time, by either side's hand, and streams given up at any moment: every other call gets its
 * answer, also those that must not be sent twice. No retry is configured.
 */
static void test_nothing_is_lost_in_disorder(void **state)
{
	struct pair *pair = *state;
	struct mesh_call *calls[64] = {NULL};
	unsigned state_of_dice = 1, cancelled = 0;

	pair->streams_max = 8;
	pair->server_requests = 23;
	pair->client_requests = 41;
	publish(pair, UPSTREAM_HTTP2, true);
	for (int i = 0; i < 3000; i++) {
		unsigned slot = (unsigned)i % 64, dice = (state_of_dice = state_of_dice * 1103515245 + 12345) >> 16;
		struct mesh_request request = request_of(pair, MESH_HTTP_2);

		if (calls[slot])
			expect_protocol(calls[slot], "h2");
		request.method = text(dice & 64 ? "POST" : "GET");
		for (int again = 0; again < 2; again++) {
			assert_int_equal(mesh_call_start(pair->client.mesh, &request, NULL, NULL, &calls[slot]), 0);
			if (dice & 128)
				assert_true(mesh_worker_run(pair->worker, 0) >= 0);
			if (again || dice & 7 || mesh_call_result(calls[slot]))
				break;
			mesh_call_cancel(calls[slot]);
			assert_int_equal(mesh_call_wait(calls[slot], WAIT_MS), MESH_ERROR_CANCELLED);
			mesh_call_release(calls[slot]);
			cancelled++;
		}
	}
	for (int i = 0; i < 64; i++)
		expect_protocol(calls[i], "h2");
	assert_true(cancelled > 100);
}

struct tunnel {
	char said[64];
	size_t len;
	int status;
};

static void tunnel_head(struct mesh_call *call, void *user)
{
	((struct tunnel *)user)->status = mesh_call_http_status(call);
}

static void tunnel_data(struct mesh_call *call, struct mesh_slice data, void *user)
{
	struct tunnel *tunnel = user;

	assert_true(tunnel->len + data.len <= sizeof(tunnel->said));
	memcpy(tunnel->said + tunnel->len, data.data, data.len);
	tunnel->len += data.len;
	if (tunnel->len == 8)
		assert_int_equal(mesh_call_send(call, text(""), true), 0);
}

static struct mesh_call *start_upgrade(struct pair *pair, struct tunnel *tunnel)
{
	const struct mesh_call_events events = {.size = sizeof(events), .head = tunnel_head, .data = tunnel_data};
	struct mesh_request request = request_of(pair, MESH_HTTP_1_1);
	struct mesh_call *call;

	request.upgrade = text("WebSocket");
	request.more_body = true;
	assert_int_equal(mesh_call_start(pair->client.mesh, &request, &events, tunnel, &call), 0);
	return call;
}

static void test_upgrade(void **state)
{
	struct pair *pair = *state;

	pair->upgrades = true;
	for (int i = 0; i < 4; i++) {
		struct tunnel tunnel = {.len = 0};
		struct mesh_call *call;

		publish(pair, i & 1 ? UPSTREAM_HTTP2 : UPSTREAM_HTTP1, i & 2);
		call = start_upgrade(pair, &tunnel);
		assert_int_equal(mesh_call_send(call, text("ping"), false), 0); /* waits for the answer */
		while (!tunnel.status)
			assert_true(mesh_worker_run(pair->worker, WAIT_MS) > 0);
		assert_int_equal(tunnel.status, 101);
		assert_int_equal(mesh_call_send(call, text("pong"), false), 0);
		assert_int_equal(mesh_call_wait(call, WAIT_MS), 0);
		assert_memory_equal(tunnel.said, "pingpong", 8);
		assert_true(mesh_slice_equal(mesh_call_peer(call)->protocol, text(i & 1 ? "h2" : "http/1.1")));
		mesh_call_release(call);
	}
	assert_int_equal(atomic_load(&pair->upgraded), 4);
}

static void expect_forbidden(struct pair *pair)
{
	struct tunnel tunnel = {.len = 0};
	struct mesh_call *call = start_upgrade(pair, &tunnel);

	assert_int_equal(mesh_call_wait(call, WAIT_MS), MESH_ERROR_DENIED);
	assert_int_equal(mesh_call_result(call)->local_status, 403);
	assert_string_equal(mesh_call_result(call)->flag, "-");
	assert_int_equal(mesh_call_result(call)->attempts, 0);
	mesh_call_release(call);
}

static void test_upgrade_not_enabled(void **state)
{
	struct pair *pair = *state;

	publish(pair, UPSTREAM_HTTP1, false);
	expect_forbidden(pair); /* the listener names none */
	pair->upgrades = true;
	pair->route_upgrade = (struct route_upgrade){text("websocket"), false};
	publish(pair, UPSTREAM_HTTP1, false);
	expect_forbidden(pair); /* the route says no */
	assert_int_equal(atomic_load(&pair->upgraded), 0);
}

static void test_upgrade_arguments(void **state)
{
	struct pair *pair = *state;
	struct mesh_request request;
	struct mesh_call *call;

	publish(pair, UPSTREAM_HTTP1, false);
	request = request_of(pair, (enum mesh_http_version)1);
	assert_int_equal(mesh_call_start(pair->client.mesh, &request, NULL, NULL, &call), MESH_ERROR_INVALID);
	request = request_of(pair, MESH_HTTP_1_1);
	request.upgrade = text("websocket"); /* without more_body */
	assert_int_equal(mesh_call_start(pair->client.mesh, &request, NULL, NULL, &call), MESH_ERROR_INVALID);
	request.more_body = true;
	request.method = text("POST");
	assert_int_equal(mesh_call_start(pair->client.mesh, &request, NULL, NULL, &call), MESH_ERROR_INVALID);
	request.method = text("GET");
	request.upgrade = text("web socket");
	assert_int_equal(mesh_call_start(pair->client.mesh, &request, NULL, NULL, &call), MESH_ERROR_INVALID);
	request.upgrade = text("a/b/c");
	assert_int_equal(mesh_call_start(pair->client.mesh, &request, NULL, NULL, &call), MESH_ERROR_INVALID);
	request.upgrade = text("");
	assert_int_equal(mesh_call_start(pair->client.mesh, &request, NULL, NULL, &call), MESH_ERROR_INVALID);
	assert_null(call);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_pair, close_pair)
	const struct CMUnitTest tests[] = {
		TEST(test_which_version_goes_out),
		TEST(test_auto_follows_the_peer),
		TEST(test_alpn_lists_by_version),
		TEST(test_which_chain_takes_it),
		TEST(test_translation_to_http1),
		TEST(test_many_at_once),
		TEST(test_nothing_is_lost_in_disorder),
		TEST(test_upgrade),
		TEST(test_upgrade_not_enabled),
		TEST(test_upgrade_arguments),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
