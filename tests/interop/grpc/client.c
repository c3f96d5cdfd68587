/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The cases of gRPC's interop description for a client, on libmesh: client --authority HOST:PORT CASE.. (or --list).
 * One line per case; the exit status is the number of those that failed. Joins as the environment says.
 */
#include <mesh/grpc.h>
#include <mesh/mesh.h>

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "grpc/testing/test.pb-c.h"

enum { REQUEST_BYTES = 271828, RESPONSE_BYTES = 314159, WAIT_MS = 10000, SOAK_CALLS = 1000, SOAK_CHANNELS = 20 };

static struct mesh *mesh;
static struct mesh_slice authority;
static uint8_t zeros[REQUEST_BYTES];
static char failure[512]; /* words for the first check that failed in this case */

static bool check(bool good, const char *format, ...)
{
	va_list args;

	if (good || failure[0])
		return good;
	va_start(args, format);
	vsnprintf(failure, sizeof(failure), format, args);
	va_end(args);
	return false;
}

static struct mesh_grpc_request to(const char *method)
{
	return (struct mesh_grpc_request){.size = sizeof(struct mesh_grpc_request),
					  .authority = authority,
					  .service = &grpc__testing__test_service__descriptor,
					  .method = method,
					  .deadline_ms = WAIT_MS,
					  .wait_for_ready = true};
}

static bool has_code(struct mesh_grpc_call *call, int code)
{
	int got = mesh_grpc_wait(call, WAIT_MS);
	const struct mesh_grpc_result *result = mesh_grpc_result(call);

	return check(got == code, "%s (%.*s) instead of %s", got < 0 ? mesh_error_name(got) : mesh_grpc_code_name(got),
		     result ? (int)result->message.len : 0, result && result->message.data ? result->message.data : "",
		     mesh_grpc_code_name(code));
}

static Grpc__Testing__Payload payload_of(size_t size)
{
	Grpc__Testing__Payload payload = GRPC__TESTING__PAYLOAD__INIT;

	payload.body.data = zeros;
	payload.body.len = size;
	return payload;
}

/* ---- unary ---- */

struct simple {
	Grpc__Testing__SimpleRequest message;
	Grpc__Testing__Payload payload;
	Grpc__Testing__BoolValue flag;
	Grpc__Testing__EchoStatus status;
};

static void simple_init(struct simple *simple, size_t request_bytes, int32_t response_bytes)
{
	grpc__testing__simple_request__init(&simple->message);
	grpc__testing__bool_value__init(&simple->flag);
	grpc__testing__echo_status__init(&simple->status);
	simple->payload = payload_of(request_bytes);
	simple->message.payload = &simple->payload;
	simple->message.response_size = response_bytes;
}

static struct mesh_grpc_call *unary(const struct mesh_grpc_request *request, const ProtobufCMessage *message, int code)
{
	struct mesh_grpc_call *call = NULL;
	int rc = mesh_grpc_unary(mesh, request, message, &call);

	if (check(rc >= 0, "not started: %s", mesh_error_text(rc)))
		has_code(call, code);
	return call;
}

static void simple_call(const struct mesh_grpc_request *request, const struct simple *simple, int code)
{
	struct mesh_grpc_call *call = unary(request, &simple->message.base, code);
	const Grpc__Testing__SimpleResponse *reply = (const void *)mesh_grpc_reply(call);

	if (reply)
		check((int32_t)reply->payload->body.len == simple->message.response_size, "%zu bytes instead of %d",
		      reply->payload->body.len, simple->message.response_size);
	else
		check(code != MESH_GRPC_OK, "no answer");
	mesh_grpc_release(call);
}

static void empty_unary(void)
{
	Grpc__Testing__Empty empty = GRPC__TESTING__EMPTY__INIT;
	struct mesh_grpc_request request = to("EmptyCall");

	mesh_grpc_release(unary(&request, &empty.base, MESH_GRPC_OK));
}

static void large_unary(void)
{
	struct mesh_grpc_request request = to("UnaryCall");
	struct simple simple;

	simple_init(&simple, REQUEST_BYTES, RESPONSE_BYTES);
	simple_call(&request, &simple, MESH_GRPC_OK);
}

/* Not of the official cases: what grpc-go makes of our gzip, and we of its. */
static void gzip_unary(void)
{
	struct mesh_grpc_request request = to("UnaryCall");
	struct simple simple;

	request.encoding = MESH_GRPC_GZIP;
	simple_init(&simple, REQUEST_BYTES, RESPONSE_BYTES);
	simple_call(&request, &simple, MESH_GRPC_OK);
}

static void client_compressed_unary(void)
{
	struct mesh_grpc_request request = to("UnaryCall");
	struct simple simple;

	simple_init(&simple, REQUEST_BYTES, RESPONSE_BYTES);
	simple.message.expect_compressed = &simple.flag;
	simple.flag.value = true;
	simple_call(&request, &simple, MESH_GRPC_INVALID_ARGUMENT); /* the server looks */
	request.encoding = MESH_GRPC_GZIP;
	simple_call(&request, &simple, MESH_GRPC_OK);
	request.encoding = MESH_GRPC_IDENTITY;
	simple.flag.value = false;
	simple_call(&request, &simple, MESH_GRPC_OK);
}

static void server_compressed_unary(void)
{
	struct mesh_grpc_request request = to("UnaryCall");
	struct simple simple;

	simple_init(&simple, REQUEST_BYTES, RESPONSE_BYTES);
	simple.message.response_compressed = &simple.flag;
	for (int compressed = 1; compressed >= 0; compressed--) {
		struct mesh_grpc_call *call;

		simple.flag.value = compressed;
		call = unary(&request, &simple.message.base, MESH_GRPC_OK);
		check(mesh_grpc_was_compressed(call) == (bool)compressed, "compressed: %d was expected", compressed);
		mesh_grpc_release(call);
	}
}

static void unimplemented_method(void)
{
	Grpc__Testing__Empty empty = GRPC__TESTING__EMPTY__INIT;
	struct mesh_grpc_request request = to("UnimplementedCall");

	mesh_grpc_release(unary(&request, &empty.base, MESH_GRPC_UNIMPLEMENTED));
}

static void unimplemented_service(void)
{
	Grpc__Testing__Empty empty = GRPC__TESTING__EMPTY__INIT;
	struct mesh_grpc_request request = to("UnimplementedCall");

	request.service = &grpc__testing__unimplemented_service__descriptor;
	mesh_grpc_release(unary(&request, &empty.base, MESH_GRPC_UNIMPLEMENTED));
}

static void rpc_soak(void)
{
	for (int i = 0; i < SOAK_CALLS && !failure[0]; i++)
		large_unary();
}

/* A channel of ours is what a worker has: each call on a new one opens a connection of its own. */
static void channel_soak(void)
{
	for (int i = 0; i < SOAK_CHANNELS && !failure[0]; i++) {
		struct mesh_grpc_request request = to("UnaryCall");
		struct mesh_grpc_call *call = NULL;
		struct simple simple;

		simple_init(&simple, REQUEST_BYTES, RESPONSE_BYTES);
		if (!check(!mesh_worker_new(mesh, &request.worker), "no worker"))
			return;
		if (check(!mesh_grpc_call_start_with(mesh, &request, &simple.message.base, NULL, NULL, &call),
			  "not started") &&
		    check(mesh_grpc_receive(call, WAIT_MS, NULL, NULL) == 1, "no answer")) {
			mesh_grpc_receive(call, WAIT_MS, NULL, NULL);
			has_code(call, MESH_GRPC_OK);
		}
		mesh_grpc_release(call);
		mesh_worker_free(request.worker);
	}
}

/* ---- streams ---- */

static struct mesh_grpc_call *stream_to(struct mesh_grpc_request *request)
{
	struct mesh_grpc_call *call = NULL;
	int rc = mesh_grpc_call_start(mesh, request, NULL, NULL, &call);

	check(!rc, "not started: %s", mesh_error_text(rc));
	return call;
}

static bool send(struct mesh_grpc_call *call, const ProtobufCMessage *message)
{
	int rc;

	while ((rc = mesh_grpc_send(call, message)) == MESH_ERROR_AGAIN && !mesh_grpc_wait_writable(call, WAIT_MS))
		;
	return check(!rc, "sending: %s", mesh_error_text(rc));
}

static bool send_output(struct mesh_grpc_call *call, size_t request_bytes, const int32_t *sizes, size_t count,
			int compressed)
{
	Grpc__Testing__StreamingOutputCallRequest message = GRPC__TESTING__STREAMING_OUTPUT_CALL_REQUEST__INIT;
	Grpc__Testing__Payload payload = payload_of(request_bytes);
	Grpc__Testing__ResponseParameters parameters[4], *all[4];
	Grpc__Testing__BoolValue flags[4];

	for (size_t i = 0; i < count; i++) {
		grpc__testing__response_parameters__init(&parameters[i]);
		grpc__testing__bool_value__init(&flags[i]);
		flags[i].value = (i + 1) % 2; /* the first, not the second */
		parameters[i].size = sizes[i];
		parameters[i].compressed = compressed ? &flags[i] : NULL;
		all[i] = &parameters[i];
	}
	message.payload = request_bytes ? &payload : NULL;
	message.response_parameters = all;
	message.n_response_parameters = count;
	return send(call, &message.base);
}

static bool receive(struct mesh_grpc_call *call, int32_t size)
{
	const struct ProtobufCMessage *message = NULL;
	int rc = mesh_grpc_receive(call, WAIT_MS, &message, NULL);
	const Grpc__Testing__StreamingOutputCallResponse *reply = (const void *)message;

	return check(rc == 1, "no message: %d", rc) && check((int32_t)reply->payload->body.len == size,
							     "%zu bytes instead of %d", reply->payload->body.len, size);
}

static void ends_well(struct mesh_grpc_call *call)
{
	int rc = mesh_grpc_receive(call, WAIT_MS, NULL, NULL);

	check(rc == 0, "one message too many, or none of it: %d", rc);
	has_code(call, MESH_GRPC_OK);
}

static const int32_t request_sizes[] = {27182, 8, 1828, 45904}, response_sizes[] = {31415, 9, 2653, 58979};

static bool send_input(struct mesh_grpc_call *call, size_t size, int expect_compressed)
{
	Grpc__Testing__StreamingInputCallRequest message = GRPC__TESTING__STREAMING_INPUT_CALL_REQUEST__INIT;
	Grpc__Testing__Payload payload = payload_of(size);
	Grpc__Testing__BoolValue flag = GRPC__TESTING__BOOL_VALUE__INIT;

	flag.value = expect_compressed > 0;
	message.payload = &payload;
	message.expect_compressed = expect_compressed < 0 ? NULL : &flag;
	return send(call, &message.base);
}

static void input_result(struct mesh_grpc_call *call, int32_t sum)
{
	const struct ProtobufCMessage *message = NULL;

	mesh_grpc_end(call);
	if (check(mesh_grpc_receive(call, WAIT_MS, &message, NULL) == 1, "no answer"))
		check(((const Grpc__Testing__StreamingInputCallResponse *)message)->aggregated_payload_size == sum,
		      "a wrong sum");
	ends_well(call);
}

static void client_streaming(void)
{
	struct mesh_grpc_request request = to("StreamingInputCall");
	struct mesh_grpc_call *call = stream_to(&request);

	for (size_t i = 0; call && i < 4; i++)
		send_input(call, (size_t)request_sizes[i], -1);
	if (call)
		input_result(call, 27182 + 8 + 1828 + 45904);
	mesh_grpc_release(call);
}

static void client_compressed_streaming(void)
{
	struct mesh_grpc_request request = to("StreamingInputCall");
	struct mesh_grpc_call *call = stream_to(&request);

	if (call && send_input(call, 27182, 1)) { /* it says so and is not: the server looks */
		mesh_grpc_end(call);
		mesh_grpc_receive(call, WAIT_MS, NULL, NULL);
		has_code(call, MESH_GRPC_INVALID_ARGUMENT);
	}
	mesh_grpc_release(call);
	request.encoding = MESH_GRPC_GZIP;
	call = stream_to(&request);
	if (call && send_input(call, 27182, 1)) {
		mesh_grpc_compress(call, false);
		send_input(call, 45904, 0);
		input_result(call, 27182 + 45904);
	}
	mesh_grpc_release(call);
}

static void server_stream(int compressed)
{
	struct mesh_grpc_request request = to("StreamingOutputCall");
	struct mesh_grpc_call *call = stream_to(&request);
	size_t count = compressed ? 2 : 4;
	const int32_t sizes[] = {31415, compressed ? 92653 : 9, 2653, 58979};

	if (call && send_output(call, 0, sizes, count, compressed)) {
		mesh_grpc_end(call);
		for (size_t i = 0; i < count && receive(call, sizes[i]); i++)
			check(!compressed || mesh_grpc_was_compressed(call) == (i == 0),
			      "message %zu is not compressed as asked", i);
		ends_well(call);
	}
	mesh_grpc_release(call);
}

static void server_streaming(void)
{
	server_stream(0);
}

static void server_compressed_streaming(void)
{
	server_stream(1);
}

static void ping_pong(void)
{
	struct mesh_grpc_request request = to("FullDuplexCall");
	struct mesh_grpc_call *call = stream_to(&request);

	for (size_t i = 0; call && i < 4; i++)
		if (send_output(call, (size_t)request_sizes[i], &response_sizes[i], 1, 0))
			receive(call, response_sizes[i]);
	if (call && !mesh_grpc_end(call))
		ends_well(call);
	mesh_grpc_release(call);
}

static void empty_stream(void)
{
	struct mesh_grpc_request request = to("FullDuplexCall");
	struct mesh_grpc_call *call = stream_to(&request);

	if (call && !mesh_grpc_end(call))
		ends_well(call);
	mesh_grpc_release(call);
}

static void cancel_after_begin(void)
{
	struct mesh_grpc_request request = to("StreamingInputCall");
	struct mesh_grpc_call *call = stream_to(&request);

	mesh_grpc_cancel(call);
	if (call)
		has_code(call, MESH_GRPC_CANCELLED);
	mesh_grpc_release(call);
}

static void cancel_after_first_response(void)
{
	struct mesh_grpc_request request = to("FullDuplexCall");
	struct mesh_grpc_call *call = stream_to(&request);

	if (call && send_output(call, 27182, response_sizes, 1, 0) && receive(call, 31415)) {
		mesh_grpc_cancel(call);
		has_code(call, MESH_GRPC_CANCELLED);
	}
	mesh_grpc_release(call);
}

static void timeout_on_sleeping_server(void)
{
	struct mesh_grpc_request request = to("FullDuplexCall");
	struct mesh_grpc_call *call;

	request.deadline_ms = 1;
	call = stream_to(&request);
	if (call) {
		Grpc__Testing__StreamingOutputCallRequest message = GRPC__TESTING__STREAMING_OUTPUT_CALL_REQUEST__INIT;
		Grpc__Testing__Payload payload = payload_of(27182);

		message.payload = &payload;
		mesh_grpc_send(call, &message.base); /* which may come too late already */
		has_code(call, MESH_GRPC_DEADLINE_EXCEEDED);
	}
	mesh_grpc_release(call);
}

/* ---- metadata and status ---- */

static struct mesh_header echoed[] = {{{"x-grpc-test-echo-initial", 24}, {"test_initial_metadata_value", 27}},
				      {{"x-grpc-test-echo-trailing-bin", 29}, {"\xab\xab\xab", 3}}};

static bool equal(struct mesh_slice a, struct mesh_slice b)
{
	return a.len == b.len && !memcmp(a.data ? a.data : "", b.data ? b.data : "", a.len);
}

static void metadata_came_back(struct mesh_grpc_call *call)
{
	const struct mesh_grpc_result *result = mesh_grpc_result(call);
	bool trailing = false;

	check(equal(mesh_grpc_metadata(call, "x-grpc-test-echo-initial"), echoed[0].value), "initial metadata");
	for (size_t i = 0; result && i < result->metadata_count; i++)
		trailing |= equal(result->metadata[i].name, echoed[1].name) &&
			    equal(result->metadata[i].value, echoed[1].value);
	check(trailing, "trailing metadata");
}

static void custom_metadata(void)
{
	struct mesh_grpc_request request = to("UnaryCall");
	struct mesh_grpc_call *call;
	struct simple simple;

	simple_init(&simple, REQUEST_BYTES, RESPONSE_BYTES);
	request.metadata = echoed;
	request.metadata_count = 2;
	call = unary(&request, &simple.message.base, MESH_GRPC_OK);
	metadata_came_back(call);
	mesh_grpc_release(call);
	request.method = "FullDuplexCall";
	call = stream_to(&request);
	if (call && send_output(call, REQUEST_BYTES, (const int32_t[]){RESPONSE_BYTES}, 1, 0) &&
	    receive(call, RESPONSE_BYTES)) {
		mesh_grpc_end(call);
		ends_well(call);
		metadata_came_back(call);
	}
	mesh_grpc_release(call);
}

static void status_comes_back(int code, const char *words, bool streaming)
{
	struct mesh_grpc_request request = to("UnaryCall");
	struct mesh_grpc_call *call;
	struct simple simple;

	simple_init(&simple, 0, 0);
	simple.message.response_status = &simple.status;
	simple.status.code = code;
	simple.status.message = (char *)words;
	call = unary(&request, &simple.message.base, code);
	check(call && equal(mesh_grpc_result(call)->message, mesh_slice_of(words)), "the words");
	mesh_grpc_release(call);
	if (!streaming)
		return;
	request.method = "FullDuplexCall";
	call = stream_to(&request);
	if (call) {
		Grpc__Testing__StreamingOutputCallRequest message = GRPC__TESTING__STREAMING_OUTPUT_CALL_REQUEST__INIT;

		message.response_status = &simple.status;
		send(call, &message.base);
		mesh_grpc_end(call);
		has_code(call, code);
		check(equal(mesh_grpc_result(call)->message, mesh_slice_of(words)), "the words of a stream");
	}
	mesh_grpc_release(call);
}

static void status_code_and_message(void)
{
	status_comes_back(MESH_GRPC_UNKNOWN, "test status message", true);
}

static void special_status_message(void)
{
	status_comes_back(MESH_GRPC_UNKNOWN,
			  "\t\ntest with whitespace\r\nand Unicode BMP \xe2\x98\xba and non-BMP \xf0\x9f\x98\x88\t\n",
			  false);
}

/* ---- the program ---- */

static const struct {
	const char *name;
	void (*run)(void);
} cases[] = {
	{"empty_unary", empty_unary},
	{"large_unary", large_unary},
	{"client_compressed_unary", client_compressed_unary},
	{"server_compressed_unary", server_compressed_unary},
	{"gzip_unary", gzip_unary},
	{"client_streaming", client_streaming},
	{"client_compressed_streaming", client_compressed_streaming},
	{"server_streaming", server_streaming},
	{"server_compressed_streaming", server_compressed_streaming},
	{"ping_pong", ping_pong},
	{"empty_stream", empty_stream},
	{"custom_metadata", custom_metadata},
	{"status_code_and_message", status_code_and_message},
	{"special_status_message", special_status_message},
	{"unimplemented_method", unimplemented_method},
	{"unimplemented_service", unimplemented_service},
	{"cancel_after_begin", cancel_after_begin},
	{"cancel_after_first_response", cancel_after_first_response},
	{"timeout_on_sleeping_server", timeout_on_sleeping_server},
	{"rpc_soak", rpc_soak},
	{"channel_soak", channel_soak},
};

static int run_case(const char *name)
{
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		if (strcmp(cases[i].name, name))
			continue;
		failure[0] = '\0';
		cases[i].run();
		printf("%s: %s%s%s\n", name, failure[0] ? "FAILED" : "passed", failure[0] ? ": " : "", failure);
		return failure[0] != '\0';
	}
	printf("%s: FAILED: no such case\n", name);
	return 1;
}

int main(int argc, char **argv)
{
	char why[512] = "";
	struct mesh_options options = {.size = sizeof(options), .error_buffer = why, .error_buffer_bytes = sizeof(why)};
	int rc, failed = 0;

	if (argc < 4 || strcmp(argv[1], "--authority"))
		return fputs("usage: client --authority HOST:PORT CASE..\n", stderr), 2;
	authority = mesh_slice_of(argv[2]);
	rc = mesh_open(&options, &mesh);
	if (!rc)
		rc = mesh_wait_ready(mesh, 30000);
	if (rc) {
		if (mesh)
			mesh_status_text(mesh, why, sizeof(why));
		fprintf(stderr, "client: %s: %s\n", mesh_error_text(rc), why);
	}
	for (int i = 3; i < argc && !rc; i++) {
		failed += run_case(argv[i]);
		fflush(stdout);
	}
	mesh_close(mesh);
	return rc ? 2 : failed > 0;
}
