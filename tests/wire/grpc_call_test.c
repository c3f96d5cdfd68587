/* SPDX-License-Identifier: Apache-2.0 */
/* gRPC calls between a client and a server of one process over HTTP/2: messages, metadata, status, deadlines, bounds, stubs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <stdio.h>
#include <unistd.h>

#include "config/route.h"
#include "support/grpc_fixture.h"

static struct mesh_slice text(const char *s)
{
	return mesh_slice_of(s);
}

static void unary_of_all_sizes(void **state)
{
	static const size_t sizes[] = {0, 1, 1024, 16384, 65536, 1000000, 4000000};
	struct mesh_grpc_request request = grpc_request_to("UnaryCall");

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct mesh_grpc_call *call = grpc_unary_with(&request, sizes[i], 0);

		grpc_assert_code(call, MESH_GRPC_OK);
		assert_non_null(mesh_grpc_reply(call));
		assert_true(mesh_slice_equal(mesh_call_peer(mesh_grpc_transport(call))->protocol, text("h2")));
		mesh_grpc_release(call);
	}
}

static void metadata_both_ways(void **state)
{
	struct mesh_header metadata[] = {{text("x-in"), text("words")}, {text("x-in-bin"), {"\0\xab\n,", 4}}};
	struct mesh_grpc_request request = grpc_request_to("UnaryCall");
	struct mesh_grpc_call *call;
	struct mesh_header pair;
	unsigned seen = 0;

	request.metadata = metadata;
	request.metadata_count = 2;
	call = grpc_unary_with(&request, 10, 0);
	grpc_assert_code(call, MESH_GRPC_OK);
	assert_true(mesh_slice_equal(mesh_grpc_metadata(call, "x-back"), metadata[0].value));
	assert_true(mesh_slice_equal(mesh_grpc_metadata(call, "x-back-bin"), metadata[1].value));
	assert_null(mesh_grpc_metadata(call, "x-other").data);
	for (size_t i = 0; (pair = mesh_grpc_metadata_at(call, i)).name.data; i++)
		seen += mesh_slice_equal(pair.name, text("x-back")) || mesh_slice_equal(pair.name, text("x-back-bin"));
	assert_int_equal(seen, 2);
	mesh_grpc_release(call);
}

static void failure_with_details(void **state)
{
	struct mesh_header metadata = {text("x-in-bin"), {"\xff\xfe", 2}};
	struct mesh_grpc_request request = grpc_request_to("UnaryCall");
	Grpc__Testing__SimpleRequest message = GRPC__TESTING__SIMPLE_REQUEST__INIT;
	Grpc__Testing__EchoStatus status = GRPC__TESTING__ECHO_STATUS__INIT;
	struct mesh_grpc_call *call;
	const struct mesh_grpc_result *result;

	request.metadata = &metadata;
	request.metadata_count = 1;
	status.code = MESH_GRPC_ABORTED;
	status.message = (char *)"\tno\nway: 100% \xc3\xa4 ";
	message.response_status = &status;
	assert_int_equal(mesh_grpc_unary(grpc_now->plane.mesh, &request, &message.base, &call), MESH_GRPC_ABORTED);
	result = mesh_grpc_result(call);
	assert_true(mesh_slice_equal(result->message, text(status.message)));
	assert_true(mesh_slice_equal(result->details, text("det\x01ils")));
	assert_null(mesh_grpc_reply(call));
	assert_true(result->metadata_count >= 2);
	for (size_t i = 0; i < result->metadata_count; i++)
		if (mesh_slice_equal(result->metadata[i].name, text("x-back-bin")))
			assert_true(mesh_slice_equal(result->metadata[i].value, metadata.value));
	mesh_grpc_release(call);
}

/* The route's policy is about gRPC's codes, where the answer is trailers alone. */
static void retried_on_codes(void **state)
{
	static struct retry_config policy = {
		.on = RETRY_GRPC_UNAVAILABLE, .retries = 2, .backoff_base_ns = 1000000, .backoff_max_ns = 2000000};
	struct mesh_grpc_request request = grpc_request_to("UnaryCall");
	Grpc__Testing__SimpleRequest message = GRPC__TESTING__SIMPLE_REQUEST__INIT;
	Grpc__Testing__EchoStatus status = GRPC__TESTING__ECHO_STATUS__INIT;

	grpc_now->plane.retry = &policy;
	data_plane_publish(&grpc_now->plane);
	message.response_status = &status;
	for (int i = 0; i < 2; i++) {
		struct mesh_grpc_call *call;

		status.code = i ? MESH_GRPC_ABORTED : MESH_GRPC_UNAVAILABLE;
		assert_int_equal(mesh_grpc_unary(grpc_now->plane.mesh, &request, &message.base, &call), status.code);
		assert_int_equal(mesh_call_result(mesh_grpc_transport(call))->attempts, i ? 1 : 3);
		mesh_grpc_release(call);
	}
}

static void answered_later_elsewhere(void **state)
{
	struct mesh_grpc_request request = grpc_request_to("EmptyCall");
	Grpc__Testing__Empty message = GRPC__TESTING__EMPTY__INIT;
	struct mesh_grpc_call *call;

	assert_int_equal(mesh_grpc_unary(grpc_now->plane.mesh, &request, &message.base, &call), MESH_GRPC_OK);
	mesh_grpc_release(call);
	grpc_wait_late();
}

/* The client left before the answer: it goes nowhere, and harms nobody. */
static void answered_too_late(void **state)
{
	struct mesh_grpc_request request = grpc_request_to("EmptyCall");
	Grpc__Testing__Empty message = GRPC__TESTING__EMPTY__INIT;
	struct mesh_grpc_call *call;

	request.deadline_ms = 5;
	assert_int_equal(mesh_grpc_unary(grpc_now->plane.mesh, &request, &message.base, &call),
			 MESH_GRPC_DEADLINE_EXCEEDED);
	mesh_grpc_release(call);
	grpc_wait_late();
}

static void deadline_is_told(void **state)
{
	struct mesh_grpc_request request = grpc_request_to("UnimplementedCall");
	Grpc__Testing__Empty message = GRPC__TESTING__EMPTY__INIT;
	struct mesh_grpc_call *call;
	int code;

	request.deadline_ms = 50;
	assert_int_equal(mesh_grpc_unary(grpc_now->plane.mesh, &request, &message.base, &call),
			 MESH_GRPC_DEADLINE_EXCEEDED);
	mesh_grpc_release(call);
	code = grpc_wait_done();
	assert_true(code == MESH_GRPC_DEADLINE_EXCEEDED || code == MESH_GRPC_CANCELLED);
}

/* The mesh gives up before the application would, or where it would not: as if nobody was there. */
static void route_timeout_is_no_deadline(void **state)
{
	static const uint32_t deadlines_ms[] = {0, 10000};
	Grpc__Testing__Empty message = GRPC__TESTING__EMPTY__INIT;
	struct mesh_grpc_request request = grpc_request_to("UnimplementedCall");
	struct mesh_grpc_call *call;

	grpc_now->plane.timeout_ns = 30000000;
	data_plane_publish(&grpc_now->plane);
	for (size_t i = 0; i < sizeof(deadlines_ms) / sizeof(deadlines_ms[0]); i++) {
		request.deadline_ms = deadlines_ms[i];
		assert_int_equal(mesh_grpc_unary(grpc_now->plane.mesh, &request, &message.base, &call),
				 MESH_GRPC_UNAVAILABLE);
		assert_int_equal(mesh_call_result(mesh_grpc_transport(call))->status, MESH_ERROR_TIMEOUT);
		mesh_grpc_release(call);
		grpc_wait_done();
	}
}

static void cancel_is_told(void **state)
{
	struct mesh_grpc_request request = grpc_request_to("UnimplementedCall");
	Grpc__Testing__Empty message = GRPC__TESTING__EMPTY__INIT;
	struct mesh_grpc_call *call;

	assert_int_equal(mesh_grpc_call_start_with(grpc_now->plane.mesh, &request, &message.base, NULL, NULL, &call),
			 0);
	assert_int_equal(mesh_grpc_wait(call, 50), MESH_ERROR_AGAIN);
	mesh_grpc_release(mesh_grpc_retain(call));
	mesh_grpc_cancel(call);
	assert_int_equal(mesh_grpc_wait(call, -1), MESH_GRPC_CANCELLED);
	mesh_grpc_release(call);
	/* the frame that says so leaves with the next round */
	call = grpc_unary_with(&(struct mesh_grpc_request){.size = sizeof(request),
							   .authority = request.authority,
							   .service = GRPC_TEST_SERVICE,
							   .method = "UnaryCall"},
			       1, 0);
	mesh_grpc_release(call);
	assert_int_equal(grpc_wait_done(), MESH_GRPC_CANCELLED);
}

static void compressed(void **state)
{
	struct mesh_grpc_request request = grpc_request_to("UnaryCall");
	struct mesh_grpc_call *call;

	request.encoding = MESH_GRPC_GZIP;
	call = grpc_unary_with(&request, 300000, 0);
	grpc_assert_code(call, MESH_GRPC_OK);
	assert_true(mesh_call_result(mesh_grpc_transport(call))->sent_bytes < 50000);
	mesh_grpc_release(call);
}

static void bounds(void **state)
{
	struct mesh_grpc_request request = grpc_request_to("UnaryCall");
	struct mesh_grpc_call *call;

	call = grpc_unary_with(&request, 4 * 1024 * 1024, 0); /* and what is around it: the server's bound */
	grpc_assert_code(call, MESH_GRPC_RESOURCE_EXHAUSTED);
	mesh_grpc_release(call);
	request.encoding = MESH_GRPC_GZIP; /* small on the wire */
	call = grpc_unary_with(&request, 5 * 1024 * 1024, 0);
	grpc_assert_code(call, MESH_GRPC_RESOURCE_EXHAUSTED);
	mesh_grpc_release(call);
	request.encoding = MESH_GRPC_IDENTITY;
	request.message_bytes_max = 1000;
	call = grpc_unary_with(&request, 1, 2000);
	grpc_assert_code(call, MESH_GRPC_RESOURCE_EXHAUSTED);
	mesh_grpc_release(call);
	call = grpc_unary_with(&request, 1, 900);
	grpc_assert_code(call, MESH_GRPC_OK);
	mesh_grpc_release(call);
}

static void not_there(void **state)
{
	struct mesh_grpc_request request = {
		.size = sizeof(request), .authority = text("reviews:9080"), .path = text("/no.Such/Method")};
	struct mesh_grpc_call *call;

	assert_int_equal(mesh_grpc_call_start(grpc_now->plane.mesh, &request, NULL, NULL, &call), 0);
	assert_int_equal(mesh_grpc_wait(call, 5000), MESH_GRPC_UNIMPLEMENTED);
	mesh_grpc_release(call);
	request = grpc_request_to("HalfDuplexCall"); /* its handler does nothing */
	assert_int_equal(mesh_grpc_call_start(grpc_now->plane.mesh, &request, NULL, NULL, &call), 0);
	assert_int_equal(mesh_grpc_wait(call, 5000), MESH_GRPC_INTERNAL);
	mesh_grpc_release(call);
	request = grpc_request_to("UnaryCall");
	request.authority = text("nobody:9080");
	call = grpc_unary_with(&request, 1, 0);
	grpc_assert_code(call, MESH_GRPC_UNIMPLEMENTED);
	mesh_grpc_release(call);
}

static void refused_at_once(void **state)
{
	struct mesh_grpc_request request = grpc_request_to("NoSuchMethod");
	struct mesh_header bad = {text("X-Upper"), text("v")};
	struct mesh_grpc_call *call;

	assert_int_equal(mesh_grpc_call_start(grpc_now->plane.mesh, &request, NULL, NULL, &call), MESH_ERROR_INVALID);
	assert_null(call);
	request = grpc_request_to("UnaryCall");
	request.metadata = &bad;
	request.metadata_count = 1;
	assert_int_equal(mesh_grpc_call_start(grpc_now->plane.mesh, &request, NULL, NULL, &call), MESH_ERROR_INVALID);
	request = grpc_request_to("UnaryCall");
	request.authority.len = 0;
	assert_int_equal(mesh_grpc_call_start(grpc_now->plane.mesh, &request, NULL, NULL, &call), MESH_ERROR_INVALID);
	request = grpc_request_to("EmptyCall");
	assert_int_equal(mesh_grpc_call_start(grpc_now->plane.mesh, &request, NULL, NULL, &call), 0);
	assert_int_equal(mesh_grpc_send(call, &(ProtobufCMessage){.descriptor = &grpc__testing__payload__descriptor}),
			 MESH_ERROR_INVALID);
	mesh_grpc_release(call); /* while it runs */
}

static void plain_http_beside(void **state)
{
	struct mesh_request request = {
		.size = sizeof(request), .authority = text("reviews:9080"), .path = text("/plain")};
	struct mesh_call *call;

	assert_int_equal(mesh_call_start(grpc_now->plane.mesh, &request, NULL, NULL, &call), 0);
	assert_int_equal(mesh_call_wait(call, 5000), 0);
	assert_true(mesh_slice_equal(mesh_call_body(call), text("plain")));
	mesh_call_release(call);
}

/* ---- stubs ---- */

struct stub_seen {
	int code;
	unsigned answers;
	bool reply;
};

static void stub_outcome(struct ProtobufCService *service, const struct mesh_grpc_result *result, void *user)
{
	((struct stub_seen *)user)->code = result->code;
}

static void stub_answer(const Grpc__Testing__SimpleResponse *reply, void *user)
{
	struct stub_seen *seen = user;

	seen->reply = reply && reply->payload->body.len == 4;
	seen->answers++;
}

static void stub_call(ProtobufCService *service, struct stub_seen *seen, int code)
{
	Grpc__Testing__SimpleRequest message = GRPC__TESTING__SIMPLE_REQUEST__INIT;
	Grpc__Testing__Payload payload = GRPC__TESTING__PAYLOAD__INIT;
	Grpc__Testing__EchoStatus status = GRPC__TESTING__ECHO_STATUS__INIT;

	payload.body.data = (uint8_t *)"body";
	payload.body.len = 4;
	message.payload = &payload;
	status.code = code;
	if (code)
		message.response_status = &status;
	grpc__testing__test_service__unary_call(service, &message, stub_answer, seen);
}

static void stubs_that_block(void **state)
{
	struct mesh_grpc_request request = {
		.size = sizeof(request), .authority = text("reviews:9080"), .deadline_ms = 5000};
	struct stub_seen seen = {.code = -1};
	ProtobufCService *service;

	assert_int_equal(mesh_grpc_client_service(grpc_now->plane.mesh, GRPC_TEST_SERVICE, &request, stub_outcome,
						  &seen, &service),
			 0);
	stub_call(service, &seen, 0);
	assert_true(seen.reply && seen.code == MESH_GRPC_OK && seen.answers == 1);
	stub_call(service, &seen, MESH_GRPC_NOT_FOUND);
	assert_true(!seen.reply && seen.code == MESH_GRPC_NOT_FOUND && seen.answers == 2);
	protobuf_c_service_destroy(service);
}

static void stubs_on_a_worker(void **state)
{
	struct mesh_grpc_request request = {
		.size = sizeof(request), .authority = text("reviews:9080"), .deadline_ms = 5000};
	struct stub_seen seen = {.code = -1};
	ProtobufCService *service;

	assert_int_equal(mesh_worker_new(grpc_now->plane.mesh, &request.worker), 0);
	assert_int_equal(mesh_grpc_client_service(grpc_now->plane.mesh, GRPC_TEST_SERVICE, &request, stub_outcome,
						  &seen, &service),
			 0);
	for (int i = 0; i < 10; i++)
		stub_call(service, &seen, 0);
	assert_int_equal(seen.answers, 0);
	while (seen.answers < 10)
		mesh_worker_run(request.worker, 1000);
	assert_true(seen.reply && seen.code == MESH_GRPC_OK);
	mesh_worker_free(request.worker);
	protobuf_c_service_destroy(service);
}

static void *publish_later(void *argument)
{
	usleep(60000);
	grpc_now->plane.port_count = 1;
	data_plane_publish(&grpc_now->plane);
	return NULL;
}

static void waits_for_an_endpoint(void **state)
{
	struct mesh_grpc_request request = grpc_request_to("UnaryCall");
	struct mesh_grpc_call *call;
	pthread_t thread;

	grpc_now->plane.port_count = 0;
	data_plane_publish(&grpc_now->plane);
	call = grpc_unary_with(&request, 1, 0);
	grpc_assert_code(call, MESH_GRPC_UNAVAILABLE);
	mesh_grpc_release(call);
	request.wait_for_ready = true;
	request.deadline_ms = 40;
	call = grpc_unary_with(&request, 1, 0);
	grpc_assert_code(call, MESH_GRPC_DEADLINE_EXCEEDED);
	mesh_grpc_release(call);
	request.deadline_ms = 10000;
	assert_int_equal(pthread_create(&thread, NULL, publish_later, NULL), 0);
	call = grpc_unary_with(&request, 1, 0);
	grpc_assert_code(call, MESH_GRPC_OK);
	mesh_grpc_release(call);
	pthread_join(thread, NULL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, grpc_fixture_setup, grpc_fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(unary_of_all_sizes),
		TEST(metadata_both_ways),
		TEST(failure_with_details),
		TEST(retried_on_codes),
		TEST(answered_later_elsewhere),
		TEST(answered_too_late),
		TEST(deadline_is_told),
		TEST(route_timeout_is_no_deadline),
		TEST(cancel_is_told),
		TEST(compressed),
		TEST(bounds),
		TEST(not_there),
		TEST(refused_at_once),
		TEST(plain_http_beside),
		TEST(stubs_that_block),
		TEST(stubs_on_a_worker),
		TEST(waits_for_an_endpoint),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
