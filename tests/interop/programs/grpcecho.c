/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The gRPC part of Istio's test application, on libmesh: what Istio's own client and server can talk to.
 *
 *	lab-grpcecho serve PORT               answers with who asks and the words; ends on SIGTERM, draining first
 *	lab-grpcecho call HOST:PORT WORDS     prints one line of JSON; exit status 0 when the answer was OK, else 1
 */
#include <mesh/grpc.h>
#include <mesh/mesh.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "echo.pb-c.h"

enum { READY_MS = 30000, CALL_MS = 10000, DRAIN_MS = 5000, ANSWER_BYTES_MAX = 65536 };

static void echo(Proto__EchoTestService_Service *service, const Proto__EchoRequest *request,
		 Proto__EchoResponse_Closure closure, void *closure_data)
{
	struct mesh_grpc_call *call = closure_data;
	const struct mesh_peer *peer = mesh_call_peer(mesh_grpc_transport(call));
	struct mesh_slice identity = peer ? peer->identity : (struct mesh_slice){0};
	Proto__EchoResponse response = PROTO__ECHO_RESPONSE__INIT;
	char answer[ANSWER_BYTES_MAX];

	/* the form in which Istio's client looks for these */
	snprintf(answer, sizeof(answer), "StatusCode=200\nPeer=%.*s\nEcho=%s\n", (int)identity.len,
		 identity.data ? identity.data : "", request->message);
	response.message = answer;
	closure(&response, closure_data);
}

static int serve(struct mesh *mesh, const char *port)
{
	Proto__EchoTestService_Service service = PROTO__ECHO_TEST_SERVICE__INIT();
	struct mesh_listen_options options = {
		.size = sizeof(options), .port = (uint16_t)strtoul(port, NULL, 10), .handler = mesh_grpc_handle};
	struct mesh_listener *listener = NULL;
	struct mesh_grpc_server *server;
	sigset_t ends;
	int rc, number;

	service.echo = echo;
	rc = mesh_grpc_server_new(mesh, NULL, &server);
	if (rc)
		return rc;
	rc = mesh_grpc_server_add(server, &service.base);
	options.user = server;
	if (!rc)
		rc = mesh_listen(mesh, &options, &listener);
	if (!rc) {
		sigemptyset(&ends);
		sigaddset(&ends, SIGTERM);
		sigwait(&ends, &number);
		mesh_drain(mesh, DRAIN_MS);
	}
	mesh_listener_close(listener);
	mesh_grpc_server_free(server);
	return rc;
}

/* Prints text as JSON does. */
static void print_json(const char *name, struct mesh_slice text)
{
	printf("\"%s\": \"", name);
	for (size_t i = 0; i < text.len; i++) {
		unsigned char byte = (unsigned char)text.data[i];

		if (byte < 0x20 || byte == '"' || byte == '\\')
			printf("\\u%04x", byte);
		else
			putchar(byte);
	}
	putchar('"');
}

static int call_once(struct mesh *mesh, const char *authority, char *words)
{
	struct mesh_grpc_request to = {.size = sizeof(to),
				       .authority = mesh_slice_of(authority),
				       .method = "Echo",
				       .service = &proto__echo_test_service__descriptor,
				       .deadline_ms = CALL_MS};
	Proto__EchoRequest request = PROTO__ECHO_REQUEST__INIT;
	const Proto__EchoResponse *response;
	const struct mesh_peer *peer;
	struct mesh_grpc_call *call;
	int code;

	request.message = words;
	code = mesh_grpc_unary(mesh, &to, &request.base, &call);
	if (code < 0) {
		fprintf(stderr, "lab-grpcecho: %s\n", mesh_error_text(code));
		return code;
	}
	response = (const Proto__EchoResponse *)mesh_grpc_reply(call);
	peer = mesh_call_peer(mesh_grpc_transport(call));
	printf("{\"code\": \"%s\", ", mesh_grpc_code_name(code));
	print_json("words", mesh_grpc_result(call)->message);
	printf(", ");
	print_json("peer_identity", peer ? peer->identity : (struct mesh_slice){0});
	printf(", ");
	print_json("message", mesh_slice_of(response ? response->message : ""));
	printf("}\n");
	mesh_grpc_release(call);
	return code;
}

static void log_line(void *user, enum mesh_log_level level, const char *subject, const char *text)
{
	fprintf(stderr, "lab-grpcecho: %s: %s\n", subject, text);
}

int main(int argc, char **argv)
{
	struct mesh_options options = {.size = sizeof(options), .log = log_line};
	bool serves = argc == 3 && !strcmp(argv[1], "serve"), calls = argc == 4 && !strcmp(argv[1], "call");
	struct mesh *mesh = NULL;
	sigset_t ends;
	int rc;

	if (!serves && !calls) {
		fprintf(stderr, "usage: lab-grpcecho serve PORT | call HOST:PORT WORDS\n");
		return 2;
	}
	sigemptyset(&ends);
	sigaddset(&ends, SIGTERM);
	if (serves)
		pthread_sigmask(SIG_BLOCK, &ends, NULL); /* before the library starts threads, which inherit it */
	rc = mesh_open(&options, &mesh);
	if (!rc && calls)
		rc = mesh_wait_ready(mesh, READY_MS);
	if (!rc)
		rc = serves ? serve(mesh, argv[2]) : call_once(mesh, argv[2], argv[3]);
	if (rc < 0)
		fprintf(stderr, "lab-grpcecho: %s\n", mesh_error_text(rc));
	mesh_close(mesh);
	return rc ? 1 : 0;
}
