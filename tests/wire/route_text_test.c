/* SPDX-License-Identifier: Apache-2.0 */
/* What routes put together from a request: headers of answers at a listener and of requests and answers of a client. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "support/raw_peer.h"
#include "support/served.h"

#define GET(path) "GET " path " HTTP/1.1\r\nHost: reviews\r\nConnection: close\r\nX-A: AAA\r\n\r\n"
#define PIECE(kind, ...) {.op = kind, .max = SIZE_MAX, __VA_ARGS__}

static const struct format_piece pieces[] = {
	PIECE(FORMAT_TEXT, .text = {"[", 1}),
	PIECE(FORMAT_REQ, .text = {"x-a", 3}),
	PIECE(FORMAT_TEXT, .text = {"|", 1}),
	PIECE(FORMAT_PROTOCOL, .text = {"", 0}),
	PIECE(FORMAT_TEXT, .text = {"|", 1}),
	PIECE(FORMAT_RESPONSE_CODE, .text = {"", 0}),
	PIECE(FORMAT_TEXT, .text = {"|", 1}),
	PIECE(FORMAT_DIRECT_REMOTE_ONLY, .text = {"", 0}),
	PIECE(FORMAT_TEXT, .text = {"|", 1}),
	PIECE(FORMAT_PEER_URI_SAN, .text = {"", 0}),
	PIECE(FORMAT_TEXT, .text = {"|", 1}),
	PIECE(FORMAT_RESPONSE_CODE_DETAILS, .text = {"", 0}),
	PIECE(FORMAT_TEXT, .text = {"]", 1}),
};
static const struct format told = {pieces, sizeof(pieces) / sizeof(pieces[0])};
static const struct format_piece upstream_piece = PIECE(FORMAT_UPSTREAM_ADDRESS_ONLY, .text = {"", 0});
static const struct format upstream = {&upstream_piece, 1};
static struct header_mutation answer[] = {
	{HEADER_APPEND, {"x-told", 6}, {NULL, 0}, false, &told},
	{HEADER_APPEND, {"x-upstream", 10}, {NULL, 0}, false, &upstream},
};
static struct route inbound_route, secure = {.kind = ROUTE_REDIRECT, .redirect_to_tls = true, .redirect_status = 301,
					     .redirect_scheme = {"https", 5}};
static bool require_tls;
static void (*served_routes)(struct data_plane *plane, struct route_config *routes, bool inbound);

static void edit_routes(struct data_plane *plane, struct route_config *routes, bool inbound)
{
	struct route *route = &routes->hosts[0].routes[0];

	served_routes(plane, routes, inbound);
	route->mutations.response_add = answer;
	route->mutations.response_add_count = 2;
	if (!inbound)
		return;
	routes->hosts[0].tls_route = require_tls ? &secure : NULL;
	if (inbound_route.kind == ROUTE_CLUSTER)
		return;
	route->kind = inbound_route.kind;
	route->direct_status = inbound_route.direct_status;
	route->direct_body = inbound_route.direct_body;
	route->redirect_status = inbound_route.redirect_status;
	route->redirect_path = inbound_route.redirect_path;
}

static int open_texts(void **state)
{
	struct served *served;

	served_open(state);
	served = *state;
	served_routes = served->plane.edit_routes;
	served->plane.edit_routes = edit_routes;
	inbound_route = (struct route){.kind = ROUTE_CLUSTER};
	require_tls = false;
	return 0;
}

static void test_listener(void **state)
{
	struct served *served = *state;

	served_listen(served);
	/* an address behind the listener is not known, so nothing is said of it */
	served_assert_http1(served, GET("/version"), "x-told: [AAA|HTTP/1.1|200|127.0.0.1||via_upstream]\r\n");
	assert_int_equal(atomic_load(&served->calls), 1);
}

static void test_direct_answer(void **state)
{
	struct served *served = *state;

	inbound_route = (struct route){.kind = ROUTE_DIRECT_RESPONSE, .direct_status = 201, .direct_body = {"hello", 5}};
	served_listen(served);
	served_assert_http1(served, GET("/x?y"), "HTTP/1.1 201 ");
	served_assert_http1(served, GET("/x?y"), "location: http://reviews/x?y\r\n");
	served_assert_http1(served, GET("/x?y"), "content-type: text/plain\r\n");
	served_assert_http1(served, GET("/x?y"), "x-told: [AAA|HTTP/1.1|0|127.0.0.1||direct_response]\r\n");
	served_assert_http1(served, GET("/x?y"), "\r\n\r\nhello");
	assert_int_equal(atomic_load(&served->calls), 0);
}

/* An answer that has no body ends with its head, whatever the route has for one: else the next would begin in the middle. */
static void test_answers_without_body(void **state)
{
	static const struct {
		const char *method, *head;
		unsigned status;
	} rows[] = {{"HEAD", "HTTP/1.1 200 ", 200}, {"GET", "HTTP/1.1 204 ", 204}, {"GET", "HTTP/1.1 304 ", 304}};
	struct served *served = *state;
	char text[256], got[4096];

	for (unsigned i = 0; i < 3; i++) {
		int fd;

		inbound_route = (struct route){.kind = ROUTE_DIRECT_RESPONSE, .direct_status = rows[i].status,
					       .direct_body = {"HTTP/1.1 200 forged", 19}};
		if (i)
			data_plane_publish(&served->plane);
		else
			served_listen(served);
		snprintf(text, sizeof(text), "%s /x HTTP/1.1\r\nHost: reviews\r\nConnection: close\r\n\r\n", rows[i].method);
		fd = raw_connect(served->port);
		raw_say(fd, text);
		raw_rest(fd, got, sizeof(got));
		close(fd);
		if (strncmp(got, rows[i].head, strlen(rows[i].head)) != 0 || !strstr(got, "\r\n\r\n") ||
		    strstr(got, "\r\n\r\n")[4])
			fail_msg("%s to %u: \"%s\"", rows[i].method, rows[i].status, got);
	}
}

/* Nor has a refusal one where only the head was asked for. */
static void test_refused_head(void **state)
{
	struct served *served = *state;
	struct h2_peer peer;
	char got[4096];
	int fd;

	served->deny = true;
	served_listen(served);
	fd = raw_connect(served->port);
	raw_say(fd, "HEAD /x HTTP/1.1\r\nHost: reviews\r\nConnection: close\r\n\r\n");
	raw_rest(fd, got, sizeof(got));
	close(fd);
	if (!strstr(got, "HTTP/1.1 403 ") || !strstr(got, "content-length: 19\r\n") || strstr(got, "\r\n\r\n")[4])
		fail_msg("\"%s\"", got);
	served_connect(served, &peer);
	h2_headers(&peer.out, 1, H2_WHOLE, ":method: HEAD\n:scheme: http\n:authority: reviews\n:path: /x\n");
	assert_true(h2_peer_sync(&peer));
	served_assert_heard(&peer, "headers 1 :status=403");
	assert_null(strstr(h2_peer_until(&peer, "settings"), "data 1 "));
	served_disconnect(&peer);
}

static void test_redirect(void **state)
{
	struct served *served = *state;

	inbound_route = (struct route){.kind = ROUTE_REDIRECT, .redirect_status = 302, .redirect_path = {"/np", 3}};
	served_listen(served);
	served_assert_http1(served, GET("/x?y"), "HTTP/1.1 302 ");
	served_assert_http1(served, GET("/x?y"), "location: http://reviews/np?y\r\n");
	assert_int_equal(atomic_load(&served->calls), 0);
}

static void test_tls_is_required(void **state)
{
	struct served *served = *state;

	require_tls = true;
	served_listen(served);
	served_assert_http1(served, GET("/x?y"), "HTTP/1.1 301 ");
	served_assert_http1(served, GET("/x?y"), "location: https://reviews/x?y\r\n");
	assert_int_equal(atomic_load(&served->calls), 0);
}

static void test_client(void **state)
{
	struct served *served = *state;
	struct mesh_header header = {mesh_slice_of("X-A"), mesh_slice_of("B")};
	struct mesh_request request = {.size = sizeof(request), .authority = mesh_slice_of("reviews:9080"),
				       .path = mesh_slice_of("/version"), .headers = &header, .header_count = 1};
	struct mesh_slice text;
	struct mesh_call *call;

	served_listen(served);
	served->plane.ports[0] = served->port;
	served->plane.port_count = 1;
	data_plane_publish(&served->plane);
	assert_int_equal(mesh_call_start(served->plane.mesh, &request, NULL, NULL, &call), 0);
	if (mesh_call_wait(call, 10000))
		fail_msg("%.*s", (int)mesh_call_result(call)->why.len, mesh_call_result(call)->why.data);
	text = mesh_call_header(call, "x-upstream");
	assert_true(mesh_slice_equal(text, mesh_slice_of("127.0.0.1")));
	mesh_call_release(call);
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, open_texts, served_close)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_listener), CASE(test_direct_answer), CASE(test_answers_without_body), CASE(test_refused_head),
		CASE(test_redirect), CASE(test_tls_is_required), CASE(test_client),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
