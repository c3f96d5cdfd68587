/* SPDX-License-Identifier: Apache-2.0 */
/* Headers by which a mesh speaks to itself: what a peer must not say, and what an application says to us alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include <mesh/mesh.h>

#include "call/listener.h"
#include "net/socket.h"
#include "support/data_plane.h"
#include "support/raw_peer.h"

struct house {
	struct data_plane plane;
	struct mesh_listener *listener;
	uint16_t port;
	char seen[4096];           /* names of the handler's last request, each between spaces */
	bool tcp;                  /* the inbound chain is no HTTP one */
	const struct route *route; /* outbound, in place of the usual one */
	bool attempts;             /* are to be in the response */
};

static struct mesh_slice text(const char *s)
{
	return mesh_slice_of(s);
}

static void handler(struct mesh_call *call, void *user)
{
	struct house *house = user;
	size_t len = 0;

	house->seen[len++] = ' ';
	for (size_t i = 0; mesh_call_header_at(call, i).name.data; i++) {
		struct mesh_slice name = mesh_call_header_at(call, i).name;

		len += (size_t)snprintf(house->seen + len, sizeof(house->seen) - len, "%.*s ", (int)name.len,
					name.data);
		assert_true(len < sizeof(house->seen));
	}
	mesh_call_respond(call, 200, NULL, 0, text("ok"), true);
}

static void edit_listener(struct data_plane *plane, struct listener_config *listener, bool inbound)
{
	struct house *house = plane->user;

	if (inbound && house->tcp) {
		listener->chains[0].kind = CHAIN_TCP;
		listener->chains[0].http = NULL;
	}
}

static void edit_routes(struct data_plane *plane, struct route_config *routes, bool inbound)
{
	struct house *house = plane->user;

	if (inbound) {
		routes->internal_only_headers = mesh_arena_array(&routes->object.arena, 1, sizeof(struct mesh_slice));
		routes->internal_only_headers[0] = text("x-ours");
		routes->internal_only_header_count = 1;
		return;
	}
	routes->hosts[0].include_attempt_count_response = house->attempts;
	if (house->route)
		routes->hosts[0].routes[0] = *house->route;
}

static int open_house(void **state)
{
	struct house *house = calloc(1, sizeof(*house));
	struct mesh_listen_options options = {
		.size = sizeof(options), .handler = handler, .user = house, .address = "127.0.0.1"};

	assert_int_equal(data_plane_open(&house->plane, 1, NULL), 0);
	house->plane.edit_listener = edit_listener;
	house->plane.edit_routes = edit_routes;
	house->plane.user = house;
	assert_int_equal(mesh_listen(house->plane.mesh, &options, &house->listener), 0);
	house->port = mesh_listener_port(house->listener);
	house->plane.ports[house->plane.port_count++] = house->port;
	*state = house;
	return 0;
}

static int close_house(void **state)
{
	struct house *house = *state;

	data_plane_close(&house->plane);
	free(house);
	return 0;
}

static void ask(struct house *house, const char *name)
{
	char request[512], got[4096] = "";
	int fd = raw_connect(house->port);

	snprintf(request, sizeof(request), "GET / HTTP/1.1\r\nHost: reviews\r\n%s: 1\r\nX-Kept: 1\r\n%s: 2\r\n\r\n",
		 name, name);
	assert_true(raw_say(fd, request));
	assert_true(raw_response(fd, got, sizeof(got)));
	close(fd);
	assert_memory_equal(got, "HTTP/1.1 200", 12);
	assert_non_null(strcasestr(house->seen, " x-kept "));
}

static bool saw(const struct house *house, const char *name)
{
	char word[100];

	snprintf(word, sizeof(word), " %s ", name);
	return strcasestr(house->seen, word) != NULL;
}

static void test_a_peer_does_not_say(void **state)
{
	struct house *house = *state;
	static const char *const names[] = {
		"x-envoy-internal",
		"X-Envoy-Retry-On",
		"x-envoy-retry-grpc-on",
		"x-envoy-max-retries",
		"x-envoy-retriable-status-codes",
		"x-envoy-retriable-header-names",
		"x-envoy-upstream-rq-timeout-ms",
		"x-envoy-upstream-rq-per-try-timeout-ms",
		"x-envoy-upstream-rq-timeout-alt-response",
		"x-envoy-force-trace",
		"x-envoy-original-url",
		"x-envoy-expected-rq-timeout-ms",
		"x-envoy-ip-tags",
		"x-envoy-upstream-stream-duration-ms",
		"x-envoy-decorator-operation",
		"x-envoy-hedge-on-per-try-timeout",
		"x-envoy-peer-metadata",
		"x-envoy-peer-metadata-id",
		"x-envoy-upstream-alt-stat-name",
		"X-Ours",
	};

	data_plane_publish(&house->plane);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		ask(house, names[i]);
		if (saw(house, names[i]))
			fail_msg("%s reached the application", names[i]);
	}
	ask(house, "x-envoy-attempt-count"); /* from the caller's proxy, for us */
	assert_true(saw(house, "x-envoy-attempt-count"));
}

/* Where no HTTP policy is in force nobody has checked for whom a peer speaks. */
static void test_no_forged_certificate_without_policy(void **state)
{
	struct house *house = *state;

	house->tcp = true;
	data_plane_publish(&house->plane);
	ask(house, "X-Forwarded-Client-Cert");
	assert_false(saw(house, "x-forwarded-client-cert"));
}

static struct mesh_call *call(struct house *house, const char *authority, const char *path,
			      const struct mesh_header *headers, size_t count)
{
	struct mesh_request request = {.size = sizeof(request),
				       .authority = text(authority),
				       .path = text(path),
				       .headers = headers,
				       .header_count = count};
	struct mesh_call *made;

	assert_int_equal(mesh_call_start(house->plane.mesh, &request, NULL, NULL, &made), 0);
	assert_int_not_equal(mesh_call_wait(made, 10000), MESH_ERROR_AGAIN);
	return made;
}

static void unavailable(struct raw_server *server, int fd, unsigned number)
{
	char got[4096] = "";

	while (raw_until(fd, got, sizeof(got), "\r\n\r\n")) {
		if (strcasestr(got, "x-envoy-retry") || strcasestr(got, "x-envoy-max") ||
		    strcasestr(got, "x-envoy-upstream-rq"))
			raw_say(fd, "HTTP/1.1 500 seen\r\ncontent-length: 0\r\n\r\n");
		else
			raw_say(fd, "HTTP/1.1 503 no\r\ncontent-length: 0\r\n\r\n");
		got[0] = '\0';
	}
}

/* The knobs are obeyed, and nobody behind us is asked for the same again. */
static void test_knobs_are_for_us(void **state)
{
	struct house *house = *state;
	static const struct mesh_header knobs[] = {
		{{"X-Envoy-Retry-On", 16}, {"gateway-error", 13}},
		{{"x-envoy-max-retries", 19}, {"2", 1}},
		{{"x-envoy-upstream-rq-timeout-ms", 30}, {"9000", 4}},
	};
	struct raw_server server = {.serve = unavailable};
	struct mesh_call *made;

	raw_server_start(&server);
	house->plane.ports[0] = server.port;
	house->attempts = true;
	data_plane_publish(&house->plane);
	made = call(house, "reviews:9080", "/", knobs, 3);
	assert_int_equal(mesh_call_result(made)->http_status, 503);
	assert_int_equal(mesh_call_result(made)->attempts, 3);
	assert_true(mesh_slice_equal(mesh_call_header(made, "x-envoy-attempt-count"), text("3")));
	mesh_call_release(made);
	house->attempts = false;
	data_plane_publish(&house->plane);
	made = call(house, "reviews:9080", "/", NULL, 0);
	assert_null(mesh_call_header(made, "x-envoy-attempt-count").data);
	mesh_call_release(made);
	mesh_teardown(house->plane.mesh); /* its connections end the server's wait */
	raw_server_stop(&server);
	assert_int_equal(data_plane_open(&house->plane, 1, NULL), 0);
}

#define REDIRECT                                                                                                       \
	.kind = ROUTE_REDIRECT, .redirect_status = 301, .match = {.kind = PATH_MATCH_PREFIX, .path = {"/old", 4}}

static void test_redirects(void **state)
{
	struct house *house = *state;
	static const struct {
		struct route route;
		const char *authority, *path, *location;
	} rows[] = {
		{{REDIRECT, .redirect_port = 8443}, "reviews:9080", "/old", "http://reviews:8443/old"},
		{{REDIRECT, .redirect_prefix = true, .redirect_path = {"/new", 4}},
		 "reviews:9080",
		 "/old/a/b?q=1",
		 "http://reviews:9080/new/a/b?q=1"},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct mesh_call *made;
		struct mesh_slice location;

		house->route = &rows[i].route;
		data_plane_publish(&house->plane);
		made = call(house, rows[i].authority, rows[i].path, NULL, 0);
		assert_int_equal(mesh_call_result(made)->http_status, 301);
		location = mesh_call_header(made, "location");
		if (!mesh_slice_equal(location, text(rows[i].location)))
			fail_msg("expected %s, got %.*s", rows[i].location, (int)location.len, location.data);
		mesh_call_release(made);
	}
}

/* A route's own answer is a body less for HEAD and for a status that has none. */
static void test_own_answer(void **state)
{
	struct house *house = *state;
	static const struct {
		uint32_t status;
		const char *method, *body;
	} rows[] = {{200, "GET", "said"}, {200, "HEAD", ""}, {204, "GET", ""}, {304, "GET", ""}, {503, "POST", "said"}};
	struct route route = {.kind = ROUTE_DIRECT_RESPONSE, .match = {.kind = PATH_MATCH_PREFIX, .path = {"/", 1}},
			      .direct_body = {"said", 4}};

	house->route = &route;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct mesh_request request = {.size = sizeof(request), .method = text(rows[i].method),
					       .authority = text("reviews:9080")};
		struct mesh_call *made;

		route.direct_status = rows[i].status;
		data_plane_publish(&house->plane);
		assert_int_equal(mesh_call_start(house->plane.mesh, &request, NULL, NULL, &made), 0);
		assert_int_equal(mesh_call_wait(made, 10000), 0);
		assert_int_equal(mesh_call_result(made)->http_status, rows[i].status);
		if (!mesh_slice_equal(mesh_call_body(made), text(rows[i].body)))
			fail_msg("%s, %u: %zu bytes", rows[i].method, rows[i].status, mesh_call_body(made).len);
		mesh_call_release(made);
	}
	house->route = NULL;
}

static void test_no_such_cluster(void **state)
{
	struct house *house = *state;
	struct route route = {.kind = ROUTE_CLUSTER,
			      .match = {.kind = PATH_MATCH_PREFIX, .path = {"/", 1}},
			      .cluster = text("gone"),
			      .cluster_hash = mesh_slice_hash(text("gone")),
			      .cluster_not_found_status = 404};
	struct mesh_call *made;

	house->route = &route;
	data_plane_publish(&house->plane);
	made = call(house, "reviews:9080", "/", NULL, 0);
	assert_int_equal(mesh_call_result(made)->status, MESH_ERROR_NO_CLUSTER);
	assert_int_equal(mesh_call_result(made)->local_status, 404);
	mesh_call_release(made);
	route.cluster_not_found_status = 0;
	data_plane_publish(&house->plane);
	made = call(house, "reviews:9080", "/", NULL, 0);
	assert_int_equal(mesh_call_result(made)->local_status, 503);
	mesh_call_release(made);
}

static int option(int fd, int level, int name)
{
	int value = -1;
	socklen_t len = sizeof(value);

	assert_int_equal(getsockopt(fd, level, name, &value, &len), 0);
	return value;
}

static void test_keepalive(void **state)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0), interval = option(fd, IPPROTO_TCP, TCP_KEEPINTVL);

	mesh_socket_keepalive(fd, 3, 60, 0);
	assert_int_equal(option(fd, SOL_SOCKET, SO_KEEPALIVE), 1);
	assert_int_equal(option(fd, IPPROTO_TCP, TCP_KEEPCNT), 3);
	assert_int_equal(option(fd, IPPROTO_TCP, TCP_KEEPIDLE), 60);
	assert_int_equal(option(fd, IPPROTO_TCP, TCP_KEEPINTVL), interval);
	mesh_socket_keepalive(fd, UINT32_MAX, UINT32_MAX, UINT32_MAX); /* as much as the system takes */
	assert_int_equal(option(fd, IPPROTO_TCP, TCP_KEEPCNT), 127);
	assert_int_equal(option(fd, IPPROTO_TCP, TCP_KEEPIDLE), INT16_MAX);
	close(fd);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, open_house, close_house)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_a_peer_does_not_say), CASE(test_no_forged_certificate_without_policy),
		CASE(test_knobs_are_for_us),    CASE(test_redirects),
		CASE(test_own_answer),          CASE(test_no_such_cluster),
		cmocka_unit_test(test_keepalive),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
