/* SPDX-License-Identifier: Apache-2.0 */
/*
 * grpc.testing.TestService on libmesh, as the description of gRPC's interop cases has it: server --port P [--address A].
 * Joins as the environment says; ends on SIGTERM. Its answers need no clock: requests for a pause are refused.
 */
#include <mesh/grpc.h>
#include <mesh/mesh.h>

#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "grpc/testing/test.pb-c.h"

enum { SIZE_MAX_BYTES = 64 * 1024 * 1024 };

static const char initial_name[] = "x-grpc-test-echo-initial", trailing_name[] = "x-grpc-test-echo-trailing-bin";
static uint8_t *zeros;

/* How a call ends: OK with the trailing metadata the client asked for, unless a code says otherwise. */
static void finish(struct mesh_grpc_call *call, int code, const char *words)
{
	struct mesh_header trailing = {mesh_slice_of(trailing_name), mesh_grpc_metadata(call, trailing_name)};
	struct mesh_grpc_result result = {.size = sizeof(result),
					  .code = code,
					  .message = mesh_slice_of(words),
					  .metadata = &trailing,
					  .metadata_count = trailing.value.data != NULL};

	mesh_grpc_finish(call, &result);
}

static bool fails(struct mesh_grpc_call *call, const Grpc__Testing__EchoStatus *status)
{
	if (!status || !status->code)
		return false;
	finish(call, status->code, status->message);
	return true;
}

static bool compression_as_expected(struct mesh_grpc_call *call, const Grpc__Testing__BoolValue *expected)
{
	if (!expected || mesh_grpc_was_compressed(call) == (bool)expected->value)
		return true;
	finish(call, MESH_GRPC_INVALID_ARGUMENT, "the message is not compressed as it says");
	return false;
}

static void send_head(struct mesh_grpc_call *call)
{
	struct mesh_header initial = {mesh_slice_of(initial_name), mesh_grpc_metadata(call, initial_name)};

	mesh_grpc_send_metadata(call, &initial, initial.value.data != NULL);
}

static Grpc__Testing__Payload payload_of(int32_t size)
{
	Grpc__Testing__Payload payload = GRPC__TESTING__PAYLOAD__INIT;

	payload.body.data = zeros;
	payload.body.len = (size_t)size;
	return payload;
}

/* ---- unary ---- */

static void empty_call(Grpc__Testing__TestService_Service *service, const Grpc__Testing__Empty *request,
		       Grpc__Testing__Empty_Closure closure, void *closure_data)
{
	Grpc__Testing__Empty empty = GRPC__TESTING__EMPTY__INIT;

	closure(&empty, closure_data);
}

static void unary_call(Grpc__Testing__TestService_Service *service, const Grpc__Testing__SimpleRequest *request,
		       Grpc__Testing__SimpleResponse_Closure closure, void *closure_data)
{
	Grpc__Testing__SimpleResponse response = GRPC__TESTING__SIMPLE_RESPONSE__INIT;
	Grpc__Testing__Payload payload = payload_of(request->response_size);
	struct mesh_grpc_call *call = closure_data; /* as mesh/grpc.h says */

	response.payload = &payload;
	if (request->response_size < 0 || request->response_size > SIZE_MAX_BYTES) {
		finish(call, MESH_GRPC_INVALID_ARGUMENT, "response_size");
		return;
	}
	if (!compression_as_expected(call, request->expect_compressed))
		return;
	mesh_grpc_compress(call, request->response_compressed && request->response_compressed->value);
	send_head(call);
	if (fails(call, request->response_status))
		return;
	if (mesh_grpc_send(call, &response.base))
		finish(call, MESH_GRPC_INTERNAL, "the answer was not taken");
	else
		finish(call, MESH_GRPC_OK, NULL);
}

/* ---- streams ---- */

/* What a call still owes: sizes of messages, in order. */
struct stream {
	struct due {
		int32_t size;
		bool compressed;
	} * due;
	size_t count, next, room;
	size_t received;  /* bytes */
	bool ended, half; /* HalfDuplexCall answers when all was said */
};

/* Sends what is due and has room; the end follows the client's. */
static void go_on(struct mesh_grpc_call *call, void *user)
{
	Grpc__Testing__StreamingOutputCallResponse response = GRPC__TESTING__STREAMING_OUTPUT_CALL_RESPONSE__INIT;
	struct stream *stream = user;

	if (stream->half && !stream->ended)
		return;
	for (; stream->next < stream->count; stream->next++) {
		Grpc__Testing__Payload payload = payload_of(stream->due[stream->next].size);

		response.payload = &payload;
		mesh_grpc_compress(call, stream->due[stream->next].compressed);
		if (mesh_grpc_send(call, &response.base)) /* AGAIN: this comes again; else the call is over */
			return;
	}
	if (stream->ended)
		finish(call, MESH_GRPC_OK, NULL);
}

static bool owe(struct stream *stream, const Grpc__Testing__ResponseParameters *one)
{
	if (one->size < 0 || one->size > SIZE_MAX_BYTES || one->interval_us)
		return false;
	if (stream->count == stream->room) {
		size_t room = stream->room ? stream->room * 2 : 8;
		struct due *due = realloc(stream->due, room * sizeof(*due));

		if (!due)
			return false;
		stream->due = due;
		stream->room = room;
	}
	stream->due[stream->count++] = (struct due){one->size, one->compressed && one->compressed->value};
	return true;
}

static void output_message(struct mesh_grpc_call *call, const struct ProtobufCMessage *message, struct mesh_slice bytes,
			   void *user)
{
	const Grpc__Testing__StreamingOutputCallRequest *request = (const void *)message;
	struct stream *stream = user;

	if (fails(call, request->response_status))
		return;
	for (size_t i = 0; i < request->n_response_parameters; i++)
		if (!owe(stream, request->response_parameters[i])) {
			finish(call, MESH_GRPC_INVALID_ARGUMENT,
			       "response_parameters: a size that is none, or a pause");
			return;
		}
	go_on(call, user);
}

static void output_end(struct mesh_grpc_call *call, void *user)
{
	((struct stream *)user)->ended = true;
	go_on(call, user);
}

static void stream_done(struct mesh_grpc_call *call, void *user)
{
	free(((struct stream *)user)->due);
	free(user);
}

static void begin(struct mesh_grpc_call *call, const struct mesh_grpc_events *events, bool half)
{
	struct stream *stream = calloc(1, sizeof(*stream));

	if (!stream)
		return; /* unanswered, the call fails */
	stream->half = half;
	mesh_grpc_on(call, events, stream);
	mesh_grpc_compress(call, true); /* the head says that messages may be */
	send_head(call);
}

/* `user` is not NULL for HalfDuplexCall. */
static void output_call(struct mesh_grpc_call *call, void *user)
{
	static const struct mesh_grpc_events events = {.size = sizeof(events),
						       .message = output_message,
						       .end = output_end,
						       .writable = go_on,
						       .done = stream_done};

	begin(call, &events, user != NULL);
}

static void input_message(struct mesh_grpc_call *call, const struct ProtobufCMessage *message, struct mesh_slice bytes,
			  void *user)
{
	const Grpc__Testing__StreamingInputCallRequest *request = (const void *)message;

	if (compression_as_expected(call, request->expect_compressed) && request->payload)
		((struct stream *)user)->received += request->payload->body.len;
}

static void input_end(struct mesh_grpc_call *call, void *user)
{
	Grpc__Testing__StreamingInputCallResponse response = GRPC__TESTING__STREAMING_INPUT_CALL_RESPONSE__INIT;

	response.aggregated_payload_size = (int32_t)((struct stream *)user)->received;
	mesh_grpc_send(call, &response.base);
	finish(call, MESH_GRPC_OK, NULL);
}

static void input_call(struct mesh_grpc_call *call, void *user)
{
	static const struct mesh_grpc_events events = {
		.size = sizeof(events), .message = input_message, .end = input_end, .done = stream_done};

	begin(call, &events, false);
}

/* ---- the program ---- */

static void not_here(struct mesh_grpc_call *call, void *user)
{
	finish(call, MESH_GRPC_UNIMPLEMENTED, "UnimplementedCall");
}

static int add_methods(struct mesh_grpc_server *server, Grpc__Testing__TestService_Service *service)
{
	const ProtobufCServiceDescriptor *descriptor = &grpc__testing__test_service__descriptor;
	int rc = mesh_grpc_server_on(server, descriptor, "StreamingOutputCall", output_call, NULL);

	if (!rc)
		rc = mesh_grpc_server_on(server, descriptor, "FullDuplexCall", output_call, NULL);
	if (!rc)
		rc = mesh_grpc_server_on(server, descriptor, "HalfDuplexCall", output_call, server);
	if (!rc)
		rc = mesh_grpc_server_on(server, descriptor, "StreamingInputCall", input_call, NULL);
	if (!rc)
		rc = mesh_grpc_server_on(server, descriptor, "UnimplementedCall", not_here, NULL);
	service->base = (ProtobufCService){descriptor, protobuf_c_service_invoke_internal, NULL};
	service->empty_call = empty_call;
	service->unary_call = service->cacheable_unary_call = unary_call;
	if (!rc)
		rc = mesh_grpc_server_add(server, &service->base);
	return rc ? rc : mesh_grpc_health_add(server);
}

static int serve(struct mesh *mesh, struct mesh_grpc_server *server, struct mesh_listen_options *listen,
		 const sigset_t *ends)
{
	struct mesh_listener *listener = NULL;
	int rc = mesh_wait_ready(mesh, 30000), number;
	char why[512] = "";

	listen->handler = mesh_grpc_handle;
	listen->user = server;
	if (!rc)
		rc = mesh_listen(mesh, listen, &listener);
	if (!rc) {
		printf("ready on port %u\n", mesh_listener_port(listener));
		fflush(stdout);
		sigwait(ends, &number);
		mesh_drain(mesh, 1000);
	} else {
		mesh_status_text(mesh, why, sizeof(why));
		fprintf(stderr, "server: %s: %s\n", mesh_error_text(rc), why);
	}
	mesh_listener_close(listener);
	return rc;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"port", required_argument, NULL, 'p'}, {"address", required_argument, NULL, 'a'}, {NULL, 0, NULL, 0}};
	static Grpc__Testing__TestService_Service service;
	struct mesh_listen_options listen = {.size = sizeof(listen)};
	struct mesh_grpc_server *server = NULL;
	struct mesh *mesh = NULL;
	sigset_t ends;
	int option, rc;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 'p')
			listen.port = (uint16_t)atoi(optarg);
		else if (option == 'a')
			listen.address = optarg;
		else
			return fputs("usage: server --port P [--address A]\n", stderr), 2;
	}
	zeros = calloc(1, SIZE_MAX_BYTES);
	sigemptyset(&ends);
	sigaddset(&ends, SIGTERM);
	pthread_sigmask(SIG_BLOCK, &ends, NULL); /* before there are threads */
	rc = zeros ? mesh_open(NULL, &mesh) : MESH_ERROR_NOMEM;
	if (!rc)
		rc = mesh_grpc_server_new(mesh, NULL, &server);
	if (!rc)
		rc = add_methods(server, &service);
	if (!rc)
		rc = serve(mesh, server, &listen, &ends);
	if (rc)
		fprintf(stderr, "server: %s\n", mesh_error_text(rc));
	mesh_grpc_server_free(server);
	mesh_close(mesh);
	free(zeros);
	return rc ? 1 : 0;
}
