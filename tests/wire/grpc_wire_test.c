/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gRPC with peers that lie, frame by frame: a client against scripted servers and a server against scripted clients. Whatever
 * they say there is one outcome: the code that the gRPC documents give it, and words.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <stdio.h>
#include <unistd.h>

#include <mesh/grpc.h>
#include <mesh/mesh.h>

#include "grpc/testing/test.pb-c.h"
#include "support/data_plane.h"
#include "support/failing_mem.h"
#include "support/h2_script.h"
#include "support/raw_peer.h"

#define GRPC_TYPE  "content-type: application/grpc"
#define HEAD       "headers 1 4 :status: 200|" GRPC_TYPE
#define MESSAGE    "frame 0 0 1 0000000003616263"
#define LAST       "frame 0 1 1 0000000003616263"
#define TRAILERS   "headers 1 5 grpc-status: 0"
#define GOOD       "; " MESSAGE "; " TRAILERS
#define POST(path) ":method: POST|:scheme: http|:authority: reviews|:path: " path
#define CALL(path) POST(path) "|te: trailers|" GRPC_TYPE
#define ECHO       "headers 1 4 " CALL("/test.Liar/Echo")
#define UNARY      "headers 1 4 " CALL("/grpc.testing.TestService/UnaryCall")

static unsigned complaints; /* of a test: all that is wrong is told before it fails */

/* ---- a client, and a server that says what a test tells it ---- */

struct client {
	struct failing_mem mem;
	struct data_plane plane;
	struct raw_server server;
	pthread_mutex_t lock; /* of both behind it */
	const char *said;
	bool ends; /* and closes behind it */
};

static void serve(struct raw_server *server, int fd, unsigned number)
{
	struct client *client = (struct client *)server->user;
	const char *said;
	struct h2_peer peer;
	bool ends;

	h2_peer_init(&peer, fd);
	pthread_mutex_lock(&client->lock);
	said = client->said;
	ends = client->ends;
	pthread_mutex_unlock(&client->lock);
	if (h2_peer_take_preface(&peer) && strstr(h2_peer_until(&peer, "data 1 8"), "data 1 8")) {
		h2_say(&peer.out, "settings 3=100; ack");
		h2_say(&peer.out, said);
		h2_peer_say(&peer);
		if (!ends)
			h2_peer_rest(&peer);
	}
	h2_peer_free(&peer);
}

static void speak_http2(struct data_plane *plane, struct cluster_config *cluster)
{
	cluster->protocol = UPSTREAM_HTTP2;
	cluster->http2.invalid_message_resets_stream = true;
}

static void open_world(struct client *client)
{
	assert_int_equal(data_plane_open(&client->plane, 1, &client->mem.mem), 0);
	client->plane.timeout_ns = -1;
	client->plane.edit_cluster = speak_http2;
	client->plane.ports[client->plane.port_count++] = client->server.port;
	data_plane_publish(&client->plane);
}

static int open_client(void **state)
{
	struct client *client = calloc(1, sizeof(*client));

	pthread_mutex_init(&client->lock, NULL);
	failing_mem_init(&client->mem, 0);
	client->server.serve = serve;
	client->server.user = client;
	raw_server_start(&client->server);
	open_world(client);
	*state = client;
	return 0;
}

static int close_client(void **state)
{
	struct client *client = *state;

	data_plane_close(&client->plane);
	raw_server_stop(&client->server);
	assert_int_equal(atomic_load(&client->mem.blocks), 0);
	pthread_mutex_destroy(&client->lock);
	free(client);
	return 0;
}

struct lie {
	const char *what;
	const char *said;
	int code;
	const char *message; /* in the result's words; NULL: any */
};

/* A call by path: one message "abc" goes, and what comes is taken. */
static void check_client(struct client *client, const struct lie *lie, bool ends)
{
	struct mesh_grpc_request request = {.size = sizeof(request),
					    .authority = mesh_slice_of("reviews:9080"),
					    .path = mesh_slice_of("/test.Liar/Call"),
					    .message_bytes_max = 100000};
	const struct mesh_grpc_result *result;
	struct mesh_grpc_call *call;
	struct mesh_slice bytes;
	char words[300];
	int code;

	pthread_mutex_lock(&client->lock);
	client->said = lie->said;
	client->ends = ends;
	pthread_mutex_unlock(&client->lock);
	assert_int_equal(mesh_grpc_call_start(client->plane.mesh, &request, NULL, NULL, &call), 0);
	assert_int_equal(mesh_grpc_send_bytes(call, mesh_slice_of("abc")), 0);
	assert_int_equal(mesh_grpc_end(call), 0);
	while (mesh_grpc_receive(call, 10000, NULL, &bytes) == 1)
		;
	code = mesh_grpc_wait(call, 10000);
	result = mesh_grpc_result(call);
	assert_non_null(result);
	snprintf(words, sizeof(words), "%.*s", (int)result->message.len,
		 result->message.len ? result->message.data : "");
	if (code != lie->code || (code && !*words) || (lie->message && !strstr(words, lie->message))) {
		print_error("%s: expected %s \"%s\", got %s \"%s\"\n", lie->what, mesh_grpc_code_name(lie->code),
			    lie->message ? lie->message : "", mesh_grpc_code_name(code), words);
		complaints++;
	}
	mesh_grpc_release(call);
}

/* Each on a connection of its own: the call is stream 1 every time. */
static void check_clients(struct client *client, const struct lie *lies, size_t count, bool ends)
{
	complaints = 0;
	for (size_t i = 0; i < count; i++) {
		check_client(client, &lies[i], ends);
		data_plane_close(&client->plane);
		open_world(client);
	}
	assert_int_equal(complaints, 0);
}

static void test_heads_and_trailers(void **state)
{
	static const struct lie lies[] = {
		{"a good answer", HEAD GOOD, MESH_GRPC_OK, NULL},
		{"a good answer, named in full", "headers 1 4 :status: 200|content-type: application/grpc+proto" GOOD,
		 MESH_GRPC_OK, NULL},
		{"text", "headers 1 4 :status: 200|content-type: text/html; data 1 1 hello", MESH_GRPC_UNKNOWN,
		 "text/html"},
		{"no content-type", "headers 1 4 :status: 200" GOOD, MESH_GRPC_UNKNOWN, NULL},
		{"a content-type that begins so", "headers 1 4 :status: 200|content-type: application/grpcs" GOOD,
		 MESH_GRPC_UNKNOWN, NULL},
		{"grpc-web", "headers 1 4 :status: 200|content-type: application/grpc-web" GOOD, MESH_GRPC_UNKNOWN,
		 NULL},
		{"no grpc-status", HEAD "; " MESSAGE "; headers 1 5 x-a: b", MESH_GRPC_UNKNOWN, "no grpc-status"},
		{"no trailers", HEAD "; " LAST, MESH_GRPC_UNKNOWN, "no grpc-status"},
		{"grpc-status of letters", HEAD "; headers 1 5 grpc-status: ok", MESH_GRPC_UNKNOWN, NULL},
		{"an empty grpc-status", HEAD "; headers 1 5 grpc-status: ", MESH_GRPC_UNKNOWN, NULL},
		{"a negative grpc-status", HEAD "; headers 1 5 grpc-status: -1", MESH_GRPC_UNKNOWN, NULL},
		{"a grpc-status of no meaning", HEAD "; headers 1 5 grpc-status: 77", MESH_GRPC_UNKNOWN, NULL},
		{"a grpc-status past 32 bits", HEAD "; headers 1 5 grpc-status: 4294967296", MESH_GRPC_UNKNOWN, NULL},
		{"a failure with words", HEAD "; headers 1 5 grpc-status: 5|grpc-message: not%20here%21",
		 MESH_GRPC_NOT_FOUND, "not here!"},
		{"words that are no escapes", HEAD "; headers 1 5 grpc-status: 5|grpc-message: 100% %zz",
		 MESH_GRPC_NOT_FOUND, "100% %zz"},
		{"binary trailers that are none",
		 HEAD "; headers 1 5 grpc-status: 5|grpc-message: a|x-bin: !!|grpc-status-details-bin: %%",
		 MESH_GRPC_NOT_FOUND, NULL},
		{"trailers alone", "headers 1 5 :status: 200|" GRPC_TYPE "|grpc-status: 16|grpc-message: who",
		 MESH_GRPC_UNAUTHENTICATED, "who"},
		{"trailers alone and a body", "headers 1 4 :status: 200|" GRPC_TYPE "|grpc-status: 0; " LAST,
		 MESH_GRPC_UNKNOWN, "no grpc-status"},
	};

	check_clients(*state, lies, sizeof(lies) / sizeof(lies[0]), false);
}

static void test_messages(void **state)
{
	static const struct lie lies[] = {
		{"a message shorter than it says", HEAD "; frame 0 0 1 0000000009616263; " TRAILERS, MESH_GRPC_INTERNAL,
		 NULL},
		{"half a prefix", HEAD "; frame 0 0 1 000000; " TRAILERS, MESH_GRPC_INTERNAL, NULL},
		{"a good one and half a prefix", HEAD "; " MESSAGE "; frame 0 0 1 000000; " TRAILERS,
		 MESH_GRPC_INTERNAL, NULL},
		{"a message past the bound", HEAD "; frame 0 0 1 00000186a1", MESH_GRPC_RESOURCE_EXHAUSTED, NULL},
		{"a message of 4 GiB", HEAD "; frame 0 0 1 00ffffffff", MESH_GRPC_RESOURCE_EXHAUSTED, NULL},
		{"an unknown flag", HEAD "; frame 0 0 1 0200000003616263; " TRAILERS, MESH_GRPC_INTERNAL, NULL},
		{"an encoding nobody knows", HEAD "|grpc-encoding: snappy; frame 0 0 1 0100000003616263; " TRAILERS,
		 MESH_GRPC_INTERNAL, NULL},
		{"compressed without an encoding", HEAD "; frame 0 0 1 0100000003616263; " TRAILERS, MESH_GRPC_INTERNAL,
		 NULL},
		{"compressed as identity", HEAD "|grpc-encoding: identity; frame 0 0 1 0100000003616263; " TRAILERS,
		 MESH_GRPC_INTERNAL, NULL},
		{"compressed and broken", HEAD "|grpc-encoding: gzip; frame 0 0 1 0100000003616263; " TRAILERS,
		 MESH_GRPC_INTERNAL, NULL},
		{"no :status", "headers 1 5 " GRPC_TYPE "|grpc-status: 0", MESH_GRPC_INTERNAL, NULL},
		{"a body longer than it says", HEAD "|content-length: 1" GOOD, MESH_GRPC_INTERNAL, NULL},
	};

	check_clients(*state, lies, sizeof(lies) / sizeof(lies[0]), false);
}

static void test_http_says_no(void **state)
{
	static const struct lie lies[] = {
		{"400", "headers 1 5 :status: 400", MESH_GRPC_INTERNAL, NULL},
		{"401", "headers 1 5 :status: 401", MESH_GRPC_UNAUTHENTICATED, NULL},
		{"403", "headers 1 4 :status: 403|content-type: text/plain; data 1 1 RBAC: access denied",
		 MESH_GRPC_PERMISSION_DENIED, NULL},
		{"404", "headers 1 5 :status: 404", MESH_GRPC_UNIMPLEMENTED, NULL},
		{"418", "headers 1 5 :status: 418", MESH_GRPC_UNKNOWN, NULL},
		{"429", "headers 1 5 :status: 429", MESH_GRPC_UNAVAILABLE, NULL},
		{"500", "headers 1 5 :status: 500", MESH_GRPC_UNKNOWN, NULL},
		{"502", "headers 1 5 :status: 502", MESH_GRPC_UNAVAILABLE, NULL},
		{"503", "headers 1 4 :status: 503|content-type: text/plain; data 1 1 no healthy upstream",
		 MESH_GRPC_UNAVAILABLE, NULL},
		{"504", "headers 1 5 :status: 504", MESH_GRPC_UNAVAILABLE, NULL},
		{"503 that is gRPC after all",
		 "headers 1 5 :status: 503|" GRPC_TYPE "|grpc-status: 8|grpc-message: full",
		 MESH_GRPC_RESOURCE_EXHAUSTED, "full"},
	};

	check_clients(*state, lies, sizeof(lies) / sizeof(lies[0]), false);
}

static void test_resets(void **state)
{
	static const struct lie lies[] = {
		{"NO_ERROR", "rst 1 0", MESH_GRPC_INTERNAL, NULL},
		{"PROTOCOL_ERROR", "rst 1 1", MESH_GRPC_INTERNAL, NULL},
		{"INTERNAL_ERROR", HEAD "; rst 1 2", MESH_GRPC_INTERNAL, NULL},
		{"FLOW_CONTROL_ERROR", "rst 1 3", MESH_GRPC_INTERNAL, NULL},
		{"SETTINGS_TIMEOUT", "rst 1 4", MESH_GRPC_INTERNAL, NULL},
		{"FRAME_SIZE_ERROR", "rst 1 6", MESH_GRPC_INTERNAL, NULL},
		{"CANCEL", HEAD "; rst 1 8", MESH_GRPC_CANCELLED, NULL},
		{"COMPRESSION_ERROR", "rst 1 9", MESH_GRPC_INTERNAL, NULL},
		{"CONNECT_ERROR", "rst 1 10", MESH_GRPC_INTERNAL, NULL},
		{"ENHANCE_YOUR_CALM", "rst 1 11", MESH_GRPC_RESOURCE_EXHAUSTED, NULL},
		{"INADEQUATE_SECURITY", "rst 1 12", MESH_GRPC_PERMISSION_DENIED, NULL},
		{"a code of no name", "rst 1 0xffffffff", MESH_GRPC_UNKNOWN, NULL},
		{"behind the trailers", HEAD GOOD "; rst 1 8", MESH_GRPC_OK, NULL},
	};

	check_clients(*state, lies, sizeof(lies) / sizeof(lies[0]), false);
}

static void test_connection_ends(void **state)
{
	static const struct lie lies[] = {
		{"before an answer", "ping", MESH_GRPC_UNAVAILABLE, NULL},
		{"behind the head", HEAD, MESH_GRPC_UNAVAILABLE, NULL},
		{"in the middle of a message", HEAD "; frame 0 0 1 0000000009616263", MESH_GRPC_UNAVAILABLE, NULL},
		{"behind the trailers", HEAD GOOD, MESH_GRPC_OK, NULL},
	};

	check_clients(*state, lies, sizeof(lies) / sizeof(lies[0]), true);
}

/* ---- a server, and a client that says what a test tells it ---- */

struct server {
	struct failing_mem mem;
	struct data_plane plane;
	struct mesh_grpc_server *grpc;
	struct mesh_listener *listener;
	Grpc__Testing__TestService_Service service;
	uint16_t port;
	atomic_int done, code; /* calls of "/test.Liar/Wait" that were over; the code of the last */
};

static void echo(struct mesh_grpc_call *call, const struct ProtobufCMessage *message, struct mesh_slice bytes,
		 void *user)
{
	mesh_grpc_send_bytes(call, bytes);
}

static void finish(struct mesh_grpc_call *call, void *user)
{
	mesh_grpc_finish(call, NULL);
}

static void echo_call(struct mesh_grpc_call *call, void *user)
{
	static const struct mesh_grpc_events events = {.size = sizeof(events), .message = echo, .end = finish};

	assert_int_equal(mesh_grpc_on(call, &events, user), 0);
}

static void note_done(struct mesh_grpc_call *call, void *user)
{
	struct server *server = user;

	atomic_store(&server->code, mesh_grpc_result(call)->code);
	atomic_fetch_add(&server->done, 1);
}

static void wait_call(struct mesh_grpc_call *call, void *user)
{
	static const struct mesh_grpc_events events = {.size = sizeof(events), .done = note_done};

	assert_int_equal(mesh_grpc_on(call, &events, user), 0);
}

static void unary(Grpc__Testing__TestService_Service *service, const Grpc__Testing__SimpleRequest *request,
		  Grpc__Testing__SimpleResponse_Closure closure, void *closure_data)
{
	Grpc__Testing__SimpleResponse response = GRPC__TESTING__SIMPLE_RESPONSE__INIT;

	closure(&response, closure_data);
}

static int open_server(void **state)
{
	struct server *server = calloc(1, sizeof(*server));
	struct mesh_grpc_server_options options = {.size = sizeof(options), .message_bytes_max = 100000};
	struct mesh_listen_options listen = {
		.size = sizeof(listen), .address = "127.0.0.1", .handler = mesh_grpc_handle};

	failing_mem_init(&server->mem, 0);
	assert_int_equal(data_plane_open(&server->plane, 1, &server->mem.mem), 0);
	assert_int_equal(mesh_grpc_server_new(server->plane.mesh, &options, &server->grpc), 0);
	server->service.base =
		(ProtobufCService){&grpc__testing__test_service__descriptor, protobuf_c_service_invoke_internal, NULL};
	server->service.unary_call = unary;
	assert_int_equal(mesh_grpc_server_add(server->grpc, &server->service.base), 0);
	assert_int_equal(mesh_grpc_server_on_path(server->grpc, mesh_slice_of("/test.Liar/Echo"), echo_call, server),
			 0);
	assert_int_equal(mesh_grpc_server_on_path(server->grpc, mesh_slice_of("/test.Liar/Wait"), wait_call, server),
			 0);
	listen.user = server->grpc;
	data_plane_publish(&server->plane);
	assert_int_equal(mesh_listen(server->plane.mesh, &listen, &server->listener), 0);
	server->port = mesh_listener_port(server->listener);
	*state = server;
	return 0;
}

static int close_server(void **state)
{
	struct server *server = *state;

	mesh_listener_close(server->listener);
	mesh_grpc_server_free(server->grpc);
	data_plane_close(&server->plane);
	assert_int_equal(atomic_load(&server->mem.blocks), 0);
	free(server);
	return 0;
}

struct request {
	const char *what;
	const char *said;
	const char *expected;
};

/* The call beside it is answered, whatever this one is. */
static void check_server(struct server *server, const struct request *request)
{
	struct h2_peer peer;
	const char *story;

	h2_peer_init(&peer, raw_connect(server->port));
	peer.what = request->what;
	h2_say(&peer.out, "preface; ack");
	h2_say(&peer.out, request->said);
	h2_say(&peer.out, "headers 3 4 " CALL("/test.Liar/Echo") "; frame 0 1 3 0000000003616263");
	h2_peer_say(&peer);
	h2_peer_until(&peer, request->expected);
	story = h2_peer_until(&peer, "headers 3 grpc-status=0");
	if (!strstr(story, request->expected) || !strstr(story, "headers 3 grpc-status=0") || strstr(story, "goaway")) {
		print_error("%s: expected %s, got: %s\n", request->what, request->expected, story);
		complaints++;
	}
	close(peer.fd);
	h2_peer_free(&peer);
}

static void test_requests(void **state)
{
	static const struct request requests[] = {
		{"a good call", ECHO "; " LAST, "headers 1 grpc-status=0"},
		{"a good call in pieces",
		 ECHO "; frame 0 0 1 00; frame 0 0 1 000000; frame 0 0 1 0361; frame 0 1 1 6263",
		 "headers 1 grpc-status=0"},
		/* heads */
		{"text", "headers 1 5 " POST("/test.Liar/Echo") "|content-type: text/plain", "headers 1 :status=415"},
		{"no content-type", "headers 1 5 " POST("/test.Liar/Echo"), "headers 1 :status=415"},
		{"a content-type that begins so",
		 "headers 1 5 " POST("/test.Liar/Echo") "|content-type: application/grpcs", "headers 1 :status=415"},
		{"GET", "headers 1 5 :method: GET|:scheme: http|:authority: reviews|:path: /test.Liar/Echo|" GRPC_TYPE,
		 "headers 1 :status=4"},
		{"a method nobody has", "headers 1 5 " CALL("/test.Liar/None"), "grpc-status=12"},
		{"a path that is none", "headers 1 5 " CALL("/none"), "grpc-status=12"},
		{"an encoding nobody knows", ECHO "|grpc-encoding: snappy; frame 0 1 1 0100000003616263",
		 "grpc-status=12"},
		/* deadlines */
		{"a time without a unit", ECHO "|grpc-timeout: 5; " LAST, "grpc-status=13"},
		{"a time of an unknown unit", ECHO "|grpc-timeout: 5X; " LAST, "grpc-status=13"},
		{"a negative time", ECHO "|grpc-timeout: -5S; " LAST, "grpc-status=13"},
		{"a time of nine digits", ECHO "|grpc-timeout: 123456789S; " LAST, "grpc-status=13"},
		{"an empty time", ECHO "|grpc-timeout: ; " LAST, "grpc-status=13"},
		{"a unit alone", ECHO "|grpc-timeout: S; " LAST, "grpc-status=13"},
		{"the longest time", ECHO "|grpc-timeout: 99999999H; " LAST, "headers 1 grpc-status=0"},
		{"a time that is over", "headers 1 4 " CALL("/test.Liar/Wait") "|grpc-timeout: 1n", "grpc-status=4"},
		/* messages */
		{"a message shorter than it says", ECHO "; frame 0 1 1 0000000009616263", "grpc-status=13"},
		{"half a prefix", ECHO "; frame 0 1 1 000000", "grpc-status=13"},
		{"a message past the bound", ECHO "; frame 0 0 1 00000186a1", "grpc-status=8"},
		{"a message of 4 GiB", ECHO "; frame 0 0 1 00ffffffff", "grpc-status=8"},
		{"compressed without an encoding", ECHO "; frame 0 1 1 0100000003616263", "grpc-status=13"},
		{"compressed and broken", ECHO "|grpc-encoding: gzip; frame 0 1 1 0100000003616263", "grpc-status=13"},
		{"an unknown flag", ECHO "; frame 0 1 1 0200000003616263", "grpc-status=13"},
		{"no protobuf", UNARY "; frame 0 1 1 0000000003ffffff", "grpc-status=13"},
		{"no message where one is due", "headers 1 5 " CALL("/grpc.testing.TestService/UnaryCall"),
		 "grpc-status=12"},
		{"two messages where one is due", UNARY "; frame 0 1 1 00000000000000000000", "grpc-status=12"},
		/* metadata: not understood is not there */
		{"binary metadata that is none", ECHO "|x-bin: !!; " LAST, "headers 1 grpc-status=0"},
	};

	complaints = 0;
	for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++)
		check_server(*state, &requests[i]);
	assert_int_equal(complaints, 0);
}

/* The client goes: the method is told so, whatever way it went. */
static void test_clients_that_leave(void **state)
{
	static const char *const ways[] = {"rst 1 8", "rst 1 0", "rst 1 2", "frame 4 0 1 -", ""};
	struct server *server = *state;

	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
		struct h2_peer peer;

		h2_peer_init(&peer, raw_connect(server->port));
		h2_say(&peer.out, "preface; ack; headers 1 4 " CALL("/test.Liar/Wait"));
		h2_peer_say(&peer);
		assert_true(h2_peer_sync(&peer));
		h2_say(&peer.out, ways[i]);
		h2_peer_say(&peer);
		if (!*ways[i])
			raw_reset(peer.fd);
		else
			h2_peer_sync(&peer);
		close(peer.fd);
		h2_peer_free(&peer);
		for (int n = 0; atomic_load(&server->done) < (int)i + 1; n++) {
			if (n > 10000)
				fail_msg("\"%s\": the method is not told", ways[i]);
			usleep(1000);
		}
		assert_int_equal(atomic_load(&server->code), MESH_GRPC_CANCELLED);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_heads_and_trailers, open_client, close_client),
		cmocka_unit_test_setup_teardown(test_messages, open_client, close_client),
		cmocka_unit_test_setup_teardown(test_http_says_no, open_client, close_client),
		cmocka_unit_test_setup_teardown(test_resets, open_client, close_client),
		cmocka_unit_test_setup_teardown(test_connection_ends, open_client, close_client),
		cmocka_unit_test_setup_teardown(test_requests, open_server, close_server),
		cmocka_unit_test_setup_teardown(test_clients_that_leave, open_server, close_server),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
