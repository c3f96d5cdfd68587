/* SPDX-License-Identifier: Apache-2.0 */
/* Peers that do not keep to gRPC, on either side: each ends with the code that says what was wrong, and harms nobody. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <stdio.h>

#include <mesh/grpc.h>
#include <mesh/mesh.h>

#include "config/cluster.h"
#include "grpc/testing/test.pb-c.h"
#include "support/data_plane.h"

#define SERVICE (&grpc__testing__test_service__descriptor)
#define S(literal) ((struct mesh_slice){literal, sizeof(literal) - 1})

static struct data_plane plane;
static struct mesh_grpc_server *server;
static struct mesh_listener *listener;
static Grpc__Testing__TestService_Service service;

static void empty(Grpc__Testing__TestService_Service *unused, const Grpc__Testing__Empty *request,
		  Grpc__Testing__Empty_Closure closure, void *closure_data)
{
	Grpc__Testing__Empty reply = GRPC__TESTING__EMPTY__INIT;

	closure(&reply, closure_data);
}

static void unary(Grpc__Testing__TestService_Service *unused, const Grpc__Testing__SimpleRequest *request,
		  Grpc__Testing__SimpleResponse_Closure closure, void *closure_data)
{
	closure(NULL, closure_data);
}

static void speak_http2(struct data_plane *data_plane, struct cluster_config *cluster)
{
	cluster->protocol = UPSTREAM_HTTP2;
}

static void open_with(mesh_handler_fn *handler, void *user, size_t request_bytes_max)
{
	struct mesh_listen_options listen = {.size = sizeof(listen), .address = "127.0.0.1", .handler = handler, .user = user,
					     .grace_ms = 50, .request_bytes_max = request_bytes_max};

	assert_int_equal(mesh_listen(plane.mesh, &listen, &listener), 0);
	plane.ports[plane.port_count++] = mesh_listener_port(listener);
	data_plane_publish(&plane);
}

static int setup(void **state)
{
	assert_int_equal(data_plane_open(&plane, 1, NULL), 0);
	plane.edit_cluster = speak_http2;
	assert_int_equal(mesh_grpc_server_new(plane.mesh, NULL, &server), 0);
	service.base = (ProtobufCService){SERVICE, protobuf_c_service_invoke_internal, NULL};
	service.empty_call = empty;
	service.unary_call = unary;
	assert_int_equal(mesh_grpc_server_add(server, &service.base), 0);
	return 0;
}

static int teardown(void **state)
{
	mesh_listener_close(listener);
	mesh_grpc_server_free(server);
	data_plane_close(&plane);
	return 0;
}

/* ---- a client that does not keep to it ---- */

struct ask {
	const char *method, *path;
	struct mesh_header headers[3];
	size_t count;
	struct mesh_slice body;
	int http, code; /* what comes back; code -1: no grpc-status */
};

static int status_of(struct mesh_call *call)
{
	struct mesh_slice text = mesh_call_header(call, "grpc-status");

	if (!text.data)
		text = mesh_call_trailer(call, "grpc-status");
	return text.data ? atoi(text.data) : -1;
}

static void ask(const struct ask *ask)
{
	struct mesh_request request = {.size = sizeof(request), .authority = S("reviews:9080"), .version = MESH_HTTP_2,
				       .method = mesh_slice_of(ask->method), .path = mesh_slice_of(ask->path),
				       .headers = ask->headers, .header_count = ask->count, .body = ask->body};
	struct mesh_call *call;

	assert_int_equal(mesh_call_start(plane.mesh, &request, NULL, NULL, &call), 0);
	assert_int_equal(mesh_call_wait(call, 5000), 0);
	if (mesh_call_http_status(call) != ask->http || status_of(call) != ask->code)
		fail_msg("%s: HTTP %d and code %d instead of %d and %d", ask->path, mesh_call_http_status(call), status_of(call),
			 ask->http, ask->code);
	mesh_call_release(call);
}

#define GRPC {{"content-type", 12}, {"application/grpc", 16}}
#define EMPTY "/grpc.testing.TestService/EmptyCall"
#define UNARY "/grpc.testing.TestService/UnaryCall"

static void ask_all(size_t request_bytes_max)
{
	static char deep[2000];
	const struct ask asks[] = {
		{"POST", EMPTY, {GRPC}, 1, S("\0\0\0\0\0"), 200, MESH_GRPC_OK},
		{"GET", EMPTY, {GRPC}, 1, {NULL, 0}, 415, -1},
		{"POST", EMPTY, {{S("content-type"), S("application/json")}}, 1, S("{}"), 415, -1},
		{"POST", EMPTY, {{S("content-type"), S("application/grpc-web")}}, 1, S("\0\0\0\0\0"), 415, -1},
		{"POST", "/grpc.testing.TestService/Emptycall", {GRPC}, 1, S("\0\0\0\0\0"), 200, MESH_GRPC_UNIMPLEMENTED},
		{"POST", "/", {GRPC}, 1, S("\0\0\0\0\0"), 200, MESH_GRPC_UNIMPLEMENTED},
		{"POST", EMPTY, {GRPC}, 1, {NULL, 0}, 200, MESH_GRPC_UNIMPLEMENTED},
		{"POST", EMPTY, {GRPC}, 1, S("\0\0\0\0\0\0\0\0\0\0"), 200, MESH_GRPC_UNIMPLEMENTED},
		{"POST", EMPTY, {GRPC}, 1, S("\0\0\0"), 200, MESH_GRPC_INTERNAL},
		{"POST", EMPTY, {GRPC}, 1, S("\0\0\0\0\5ab"), 200, MESH_GRPC_INTERNAL},
		{"POST", EMPTY, {GRPC}, 1, S("\2\0\0\0\0"), 200, MESH_GRPC_INTERNAL},
		{"POST", EMPTY, {GRPC}, 1, S("\0\x7f\xff\xff\xff"), 200, MESH_GRPC_RESOURCE_EXHAUSTED},
		{"POST", EMPTY, {GRPC}, 1, S("\1\0\0\0\0"), 200, MESH_GRPC_INTERNAL},
		{"POST", EMPTY, {GRPC, {S("grpc-encoding"), S("gzip")}}, 2, S("\1\0\0\0\3abc"), 200, MESH_GRPC_INTERNAL},
		{"POST", EMPTY, {GRPC, {S("grpc-encoding"), S("zstd")}}, 2, S("\0\0\0\0\0"), 200, MESH_GRPC_UNIMPLEMENTED},
		{"POST", EMPTY, {GRPC, {S("grpc-timeout"), S("1s")}}, 2, S("\0\0\0\0\0"), 200, MESH_GRPC_INTERNAL},
		{"POST", EMPTY, {GRPC, {S("grpc-timeout"), S("99999999H")}}, 2, S("\0\0\0\0\0"), 200, MESH_GRPC_OK},
		{"POST", EMPTY, {GRPC, {S("grpc-timeout"), S("0n")}}, 2, S("\0\0\0\0\0"), 200, MESH_GRPC_DEADLINE_EXCEEDED},
		{"POST", UNARY, {GRPC}, 1, S("\0\0\0\0\2\x1a\x05"), 200, MESH_GRPC_INTERNAL},	    /* cut off inside */
		{"POST", UNARY, {GRPC}, 1, S("\0\0\0\0\0"), 200, MESH_GRPC_INTERNAL},		    /* it gives no answer */
		{"POST", UNARY, {GRPC}, 1, S("\0\0\0\0\5:\3\x12\1\xff"), 200, MESH_GRPC_INTERNAL}, /* no UTF-8 */
		{"POST", EMPTY, {GRPC}, 1, {deep, sizeof(deep)}, 200, MESH_GRPC_INTERNAL},
	};

	deep[0] = 3;
	open_with(mesh_grpc_handle, server, request_bytes_max);
	for (size_t i = 0; i < sizeof(asks) / sizeof(asks[0]); i++)
		ask(&asks[i]);
}

static void strange_requests(void **state)
{
	ask_all(0);
}

/* The same where the listener collects requests first. */
static void strange_requests_collected(void **state)
{
	ask_all(1 << 20);
}

/* ---- a server that does not keep to it ---- */

static const struct strange {
	const char *path;
	int http;
	struct mesh_header headers[3];
	size_t count;
	struct mesh_slice body;
	const char *status; /* in the trailers; NULL: none */
	int code;	    /* that the client makes of it */
} stranges[] = {
	{"/s/good", 200, {GRPC}, 1, {"\0\0\0\0\0", 5}, "0", MESH_GRPC_OK},
	{"/s/unavailable", 503, {{{"content-type", 12}, {"text/plain", 10}}}, 1, {"down", 4}, NULL, MESH_GRPC_UNAVAILABLE},
	{"/s/unauthorized", 401, {GRPC}, 1, {NULL, 0}, NULL, MESH_GRPC_UNAUTHENTICATED},
	{"/s/forbidden", 403, {{{"x", 1}, {"y", 1}}}, 1, {NULL, 0}, NULL, MESH_GRPC_PERMISSION_DENIED},
	{"/s/missing", 404, {{{"x", 1}, {"y", 1}}}, 1, {NULL, 0}, NULL, MESH_GRPC_UNIMPLEMENTED},
	{"/s/teapot", 418, {GRPC}, 1, {NULL, 0}, NULL, MESH_GRPC_UNKNOWN},
	{"/s/silent", 200, {GRPC}, 1, {"\0\0\0\0\0", 5}, NULL, MESH_GRPC_UNKNOWN},
	{"/s/json", 200, {{{"content-type", 12}, {"application/json", 16}}}, 1, {"{}", 2}, NULL, MESH_GRPC_UNKNOWN},
	{"/s/words", 200, {GRPC}, 1, {NULL, 0}, "ok", MESH_GRPC_UNKNOWN},
	{"/s/high", 200, {GRPC}, 1, {NULL, 0}, "99", MESH_GRPC_UNKNOWN},
	{"/s/only", 200, {GRPC, {{"grpc-status", 11}, {"9", 1}}}, 2, {NULL, 0}, NULL, MESH_GRPC_FAILED_PRECONDITION},
	{"/s/proxy", 503, {GRPC, {{"grpc-status", 11}, {"8", 1}}}, 2, {NULL, 0}, NULL, MESH_GRPC_RESOURCE_EXHAUSTED},
	{"/s/flag", 200, {GRPC}, 1, {"\7\0\0\0\0", 5}, "0", MESH_GRPC_INTERNAL},
	{"/s/cut", 200, {GRPC}, 1, {"\0\0\0\0\5abc", 8}, "0", MESH_GRPC_INTERNAL},
	{"/s/long", 200, {GRPC}, 1, {"\0\0\x10\0\1", 5}, "0", MESH_GRPC_RESOURCE_EXHAUSTED},
	{"/s/packed", 200, {GRPC}, 1, {"\1\0\0\0\1x", 6}, "0", MESH_GRPC_INTERNAL},
	{"/s/gzip", 200, {GRPC, {{"grpc-encoding", 13}, {"gzip", 4}}}, 2, {"\1\0\0\0\1x", 6}, "0", MESH_GRPC_INTERNAL},
	{"/s/zstd", 200, {GRPC, {{"grpc-encoding", 13}, {"zstd", 4}}}, 2, {"\0\0\0\0\0", 5}, "0", MESH_GRPC_INTERNAL},
};
static const size_t strange_count = sizeof(stranges) / sizeof(stranges[0]);

static void answer_strangely(struct mesh_call *call, void *user)
{
	struct mesh_slice path = mesh_call_path(call);

	for (size_t i = 0; i < strange_count; i++) {
		const struct strange *one = &stranges[i];
		struct mesh_header status = {S("grpc-status"), mesh_slice_of(one->status)};

		if (path.len != strlen(one->path) || memcmp(path.data, one->path, path.len))
			continue;
		mesh_call_respond(call, one->http, one->headers, one->count, one->body, !one->status);
		if (one->status)
			mesh_call_send_trailers(call, &status, 1);
		return;
	}
	mesh_call_cancel(call);
}

static int code_of(const char *path)
{
	struct mesh_grpc_request request = {.size = sizeof(request), .authority = S("reviews:9080"), .path = mesh_slice_of(path),
					    .deadline_ms = 5000, .message_bytes_max = 1 << 20};
	struct mesh_grpc_call *call;
	int code;

	assert_int_equal(mesh_grpc_call_start(plane.mesh, &request, NULL, NULL, &call), 0);
	assert_int_equal(mesh_grpc_send_bytes(call, S("")), 0);
	assert_int_equal(mesh_grpc_end(call), 0);
	while (mesh_grpc_receive(call, 5000, NULL, NULL) == 1)
		;
	code = mesh_grpc_wait(call, 5000);
	if (code)
		assert_true(mesh_grpc_result(call)->message.len > 0 || mesh_grpc_result(call)->code > 0);
	mesh_grpc_release(call);
	return code;
}

static void strange_answers(void **state)
{
	open_with(answer_strangely, NULL, 0);
	for (size_t i = 0; i < strange_count; i++) {
		int code = code_of(stranges[i].path);

		if (code != stranges[i].code)
			fail_msg("%s: %s instead of %s", stranges[i].path, mesh_grpc_code_name(code),
				 mesh_grpc_code_name(stranges[i].code));
	}
	assert_int_equal(code_of("/s/reset"), MESH_GRPC_CANCELLED);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {TEST(strange_requests), TEST(strange_requests_collected), TEST(strange_answers)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
