/* SPDX-License-Identifier: Apache-2.0 */
/* Streams of gRPC messages: both ways, held back, paused, by path, on workers that end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <stdio.h>

#include "support/grpc_fixture.h"

static struct mesh_slice text(const char *s)
{
	return mesh_slice_of(s);
}

static void bidirectional(void **state)
{
	struct mesh_grpc_request request = grpc_request_to("FullDuplexCall");
	Grpc__Testing__StreamingOutputCallRequest message = GRPC__TESTING__STREAMING_OUTPUT_CALL_REQUEST__INIT;
	Grpc__Testing__Payload payload = GRPC__TESTING__PAYLOAD__INIT;
	const struct ProtobufCMessage *reply;
	struct mesh_grpc_call *call;

	message.payload = &payload;
	assert_int_equal(mesh_grpc_call_start(grpc_now->plane.mesh, &request, NULL, NULL, &call), 0);
	for (int i = 0; i < 5; i++) {
		uint8_t body[3] = {1, 2, (uint8_t)i};

		payload.body.data = body;
		payload.body.len = sizeof(body);
		assert_int_equal(mesh_grpc_send(call, &message.base), 0);
		assert_int_equal(mesh_grpc_receive(call, 5000, &reply, NULL), 1);
		assert_int_equal(((const Grpc__Testing__StreamingOutputCallResponse *)reply)->payload->body.data[2], i);
		assert_int_equal(mesh_grpc_receive(call, 0, &reply, NULL), MESH_ERROR_AGAIN);
	}
	assert_int_equal(mesh_grpc_end(call), 0);
	assert_int_equal(mesh_grpc_end(call), MESH_ERROR_STATE);
	assert_int_equal(mesh_grpc_wait(call, 5000), MESH_GRPC_OK); /* no message is left: the end needs no asking */
	assert_int_equal(mesh_grpc_receive(call, 5000, &reply, NULL), 0);
	mesh_grpc_release(call);
	assert_int_equal(grpc_wait_done(), MESH_GRPC_OK);
}

static void flood_is_held_back(void **state)
{
	struct mesh_grpc_request request = grpc_request_to("StreamingOutputCall");
	Grpc__Testing__StreamingOutputCallRequest message = GRPC__TESTING__STREAMING_OUTPUT_CALL_REQUEST__INIT;
	Grpc__Testing__ResponseParameters one = GRPC__TESTING__RESPONSE_PARAMETERS__INIT, *all = &one;
	const struct ProtobufCMessage *reply;
	struct mesh_grpc_call *call;
	int seen = 0, rc;

	one.size = 1000; /* messages of 10000 bytes */
	message.response_parameters = &all;
	message.n_response_parameters = 1;
	assert_int_equal(mesh_grpc_call_start_with(grpc_now->plane.mesh, &request, &message.base, NULL, NULL, &call),
			 0);
	assert_int_equal(mesh_grpc_wait(call, 200), MESH_ERROR_AGAIN); /* nobody takes them: it does not end */
	while ((rc = mesh_grpc_receive(call, 5000, &reply, NULL)) == 1)
		seen += ((const Grpc__Testing__StreamingOutputCallResponse *)reply)->payload->body.len == 10000;
	assert_int_equal(rc, 0);
	assert_int_equal(seen, 1000);
	assert_int_equal(mesh_grpc_wait(call, 5000), MESH_GRPC_OK);
	mesh_grpc_release(call);
}

struct pushed {
	int heads;
	int seen;
	int pauses;
	bool done;
};

static void pushed_message(struct mesh_grpc_call *call, const struct ProtobufCMessage *message, struct mesh_slice bytes,
			   void *user)
{
	struct pushed *pushed = user;

	assert_false(pushed->done);
	assert_int_equal(pushed->heads, 1);
	if (++pushed->seen % 100)
		return;
	pushed->pauses++;
	mesh_grpc_pause(call);
}

static void pushed_head(struct mesh_grpc_call *call, void *user)
{
	((struct pushed *)user)->heads++;
}

static void pushed_done(struct mesh_grpc_call *call, void *user)
{
	((struct pushed *)user)->done = true;
}

static void paused_and_resumed(void **state)
{
	static const struct mesh_grpc_events events = {
		.size = sizeof(events), .headers = pushed_head, .message = pushed_message, .done = pushed_done};
	struct mesh_grpc_request request = grpc_request_to("StreamingOutputCall");
	Grpc__Testing__StreamingOutputCallRequest message = GRPC__TESTING__STREAMING_OUTPUT_CALL_REQUEST__INIT;
	Grpc__Testing__ResponseParameters one = GRPC__TESTING__RESPONSE_PARAMETERS__INIT, *all = &one;
	struct pushed pushed = {0};
	struct mesh_grpc_call *call;

	one.size = 500;
	message.response_parameters = &all;
	message.n_response_parameters = 1;
	assert_int_equal(
		mesh_grpc_call_start_with(grpc_now->plane.mesh, &request, &message.base, &events, &pushed, &call), 0);
	while (!pushed.done) {
		int seen = pushed.seen;

		if (mesh_grpc_wait(call, 30) == MESH_ERROR_AGAIN && pushed.seen == seen) /* it stands still */
			mesh_grpc_resume(call);
	}
	assert_int_equal(pushed.seen, 500);
	assert_int_equal(pushed.pauses, 5);
	grpc_assert_code(call, MESH_GRPC_OK);
	mesh_grpc_release(call);
}

static void send_all(struct mesh_grpc_call *call, struct mesh_slice bytes)
{
	int rc;

	while ((rc = mesh_grpc_send_bytes(call, bytes)) == MESH_ERROR_AGAIN)
		assert_int_equal(mesh_grpc_wait_writable(call, 5000), 0);
	assert_int_equal(rc, 0);
}

/* The worker goes while a call that is complete waits to be resumed. */
static void worker_ends_while_paused(void **state)
{
	static const struct mesh_grpc_events events = {
		.size = sizeof(events), .headers = pushed_head, .message = pushed_message, .done = pushed_done};
	struct mesh_grpc_request request = grpc_request_to("StreamingOutputCall");
	Grpc__Testing__StreamingOutputCallRequest message = GRPC__TESTING__STREAMING_OUTPUT_CALL_REQUEST__INIT;
	Grpc__Testing__ResponseParameters one = GRPC__TESTING__RESPONSE_PARAMETERS__INIT, *all = &one;
	struct pushed pushed = {.seen = 99}; /* pauses at the first */
	struct mesh_grpc_call *call;

	one.size = 1;
	message.response_parameters = &all;
	message.n_response_parameters = 1;
	assert_int_equal(mesh_worker_new(grpc_now->plane.mesh, &request.worker), 0);
	assert_int_equal(
		mesh_grpc_call_start_with(grpc_now->plane.mesh, &request, &message.base, &events, &pushed, &call), 0);
	for (int i = 0; i < 100 && !pushed.pauses; i++)
		mesh_worker_run(request.worker, 100);
	assert_int_equal(pushed.pauses, 1);
	mesh_worker_run(request.worker, 20);
	mesh_worker_free(request.worker);
	mesh_grpc_resume(call);
	assert_true(pushed.done);
	mesh_grpc_release(call);
}

static void bytes_by_path(void **state)
{
	struct mesh_grpc_request request = {.size = sizeof(request),
					    .authority = text("reviews:9080"),
					    .path = text("/raw.Bytes/Count"),
					    .encoding = MESH_GRPC_GZIP};
	static char body[100000];
	struct mesh_slice reply;
	struct mesh_grpc_call *call;

	assert_int_equal(mesh_grpc_call_start(grpc_now->plane.mesh, &request, NULL, NULL, &call), 0);
	assert_int_equal(mesh_grpc_send_bytes(call, mesh_slice_make(body, sizeof(body))), 0);
	assert_int_equal(mesh_grpc_compress(call, false), 0);
	for (int i = 0; i < 50; i++)
		send_all(call, mesh_slice_make(body, sizeof(body)));
	send_all(call, text(""));
	assert_int_equal(mesh_grpc_end(call), 0);
	assert_int_equal(mesh_grpc_receive(call, 5000, NULL, &reply), 1);
	assert_true(mesh_slice_equal(reply, text("5100000")));
	assert_int_equal(mesh_grpc_receive(call, 5000, NULL, &reply), 0);
	assert_int_equal(mesh_grpc_wait(call, 5000), MESH_GRPC_OK);
	mesh_grpc_release(call);
}

static void library_worker(void **state)
{
	static const struct mesh_grpc_events events = {
		.size = sizeof(events), .headers = pushed_head, .message = pushed_message, .done = pushed_done};
	struct mesh_grpc_request request = grpc_request_to("FullDuplexCall");
	Grpc__Testing__StreamingOutputCallRequest message = GRPC__TESTING__STREAMING_OUTPUT_CALL_REQUEST__INIT;
	struct pushed pushed = {0};
	struct mesh_grpc_call *call;

	assert_int_equal(mesh_worker_library(grpc_now->plane.mesh, &request.worker), 0);
	assert_int_equal(mesh_grpc_call_start(grpc_now->plane.mesh, &request, &events, &pushed, &call), 0);
	for (int i = 0; i < 50; i++)
		assert_int_equal(mesh_grpc_send(call, &message.base), 0);
	assert_int_equal(mesh_grpc_end(call), 0);
	assert_int_equal(mesh_grpc_receive(call, 0, NULL, NULL), MESH_ERROR_STATE);
	assert_int_equal(mesh_grpc_wait(call, 10000), MESH_GRPC_OK);
	assert_int_equal(pushed.seen, 50);
	mesh_grpc_release(call);
	request.method = "UnaryCall";
	call = grpc_unary_with(&request, 1000, 0);
	grpc_assert_code(call, MESH_GRPC_OK);
	mesh_grpc_release(call);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, grpc_fixture_setup, grpc_fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(bidirectional), TEST(flood_is_held_back), TEST(paused_and_resumed), TEST(worker_ends_while_paused),
		TEST(bytes_by_path), TEST(library_worker),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
