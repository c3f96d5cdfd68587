/* SPDX-License-Identifier: Apache-2.0 */
/* Serves the methods that the tests of gRPC call, and keeps what the server was told. */
#include "support/grpc_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "config/cluster.h"

struct grpc_fixture *grpc_now;

static struct mesh_slice text(const char *s)
{
	return mesh_slice_of(s);
}

static void tell_done(struct mesh_grpc_call *call, void *user)
{
	pthread_mutex_lock(&grpc_now->seen.lock);
	grpc_now->seen.done_code = mesh_grpc_result(call)->code;
	pthread_cond_broadcast(&grpc_now->seen.changed);
	pthread_mutex_unlock(&grpc_now->seen.lock);
}

int grpc_wait_done(void)
{
	struct timespec until;
	int code;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += 10;
	pthread_mutex_lock(&grpc_now->seen.lock);
	while (grpc_now->seen.done_code < 0 &&
	       !pthread_cond_timedwait(&grpc_now->seen.changed, &grpc_now->seen.lock, &until))
		;
	code = grpc_now->seen.done_code;
	pthread_mutex_unlock(&grpc_now->seen.lock);
	return code;
}

void grpc_wait_late(void)
{
	pthread_mutex_lock(&grpc_now->seen.lock);
	while (!grpc_now->seen.late)
		pthread_cond_wait(&grpc_now->seen.changed, &grpc_now->seen.lock);
	pthread_mutex_unlock(&grpc_now->seen.lock);
}

/* ---- the server: an echo that does what the request's status says ---- */

static void unary(Grpc__Testing__TestService_Service *service, const Grpc__Testing__SimpleRequest *request,
		  Grpc__Testing__SimpleResponse_Closure closure, void *closure_data)
{
	Grpc__Testing__SimpleResponse response = GRPC__TESTING__SIMPLE_RESPONSE__INIT;
	Grpc__Testing__Payload payload = GRPC__TESTING__PAYLOAD__INIT;
	struct mesh_grpc_call *call = closure_data;
	struct mesh_header back[2] = {{text("x-back-bin"), mesh_grpc_metadata(call, "x-in-bin")},
				      {text("x-back"), mesh_grpc_metadata(call, "x-in")}};
	struct mesh_grpc_result failed = {.size = sizeof(failed), .metadata = back, .metadata_count = 2};

	if (request->response_status) {
		failed.code = request->response_status->code;
		failed.message = text(request->response_status->message);
		failed.details = text("det\x01ils");
		assert_int_equal(mesh_grpc_finish(call, &failed), 0);
		return;
	}
	if (back[1].value.data)
		assert_int_equal(mesh_grpc_send_metadata(call, back, 2), 0);
	if (request->payload)
		payload = *request->payload;
	if (request->response_size) {
		payload.body.len = (size_t)request->response_size;
		payload.body.data = calloc(1, payload.body.len);
	}
	response.payload = &payload;
	response.username = (char *)mesh_grpc_path(call).data;
	closure(&response, closure_data);
	if (request->response_size)
		free(payload.body.data);
}

struct late {
	Grpc__Testing__Empty_Closure closure;
	void *closure_data;
};

static void *answer_late(void *argument)
{
	struct late *late = argument;
	Grpc__Testing__Empty empty = GRPC__TESTING__EMPTY__INIT;

	usleep(20000);
	late->closure(&empty, late->closure_data);
	free(late);
	pthread_mutex_lock(&grpc_now->seen.lock);
	grpc_now->seen.late++;
	pthread_cond_broadcast(&grpc_now->seen.changed);
	pthread_mutex_unlock(&grpc_now->seen.lock);
	return NULL;
}

/* From a thread of its own, after the function returned. */
static void empty(Grpc__Testing__TestService_Service *service, const Grpc__Testing__Empty *request,
		  Grpc__Testing__Empty_Closure closure, void *closure_data)
{
	struct late *late = malloc(sizeof(*late));
	pthread_t thread;

	late->closure = closure;
	late->closure_data = closure_data;
	assert_int_equal(pthread_create(&thread, NULL, answer_late, late), 0);
	pthread_detach(thread);
}

static void echo_message(struct mesh_grpc_call *call, const struct ProtobufCMessage *message, struct mesh_slice bytes,
			 void *user)
{
	const Grpc__Testing__StreamingOutputCallRequest *request = (const void *)message;
	Grpc__Testing__StreamingOutputCallResponse response = GRPC__TESTING__STREAMING_OUTPUT_CALL_RESPONSE__INIT;

	response.payload = request->payload;
	assert_int_equal(mesh_grpc_send(call, &response.base), 0);
}

static void echo_end(struct mesh_grpc_call *call, void *user)
{
	assert_int_equal(mesh_grpc_finish(call, NULL), 0);
}

static void echo(struct mesh_grpc_call *call, void *user)
{
	static const struct mesh_grpc_events events = {
		.size = sizeof(events), .message = echo_message, .end = echo_end, .done = tell_done};

	assert_int_equal(mesh_grpc_on(call, &events, NULL), 0);
	assert_int_equal(mesh_grpc_on(call, &events, NULL), MESH_ERROR_STATE);
	assert_true(mesh_grpc_deadline_ms(call) > 0 && mesh_grpc_deadline_ms(call) <= 10000);
}

/* As many as asked for, as fast as there is room. */
struct flood {
	int left;
};

static void flood_go_on(struct mesh_grpc_call *call, void *user)
{
	static uint8_t body[10000];
	Grpc__Testing__StreamingOutputCallResponse response = GRPC__TESTING__STREAMING_OUTPUT_CALL_RESPONSE__INIT;
	Grpc__Testing__Payload payload = GRPC__TESTING__PAYLOAD__INIT;
	struct flood *flood = user;
	int rc = 0;

	payload.body.data = body;
	payload.body.len = sizeof(body);
	response.payload = &payload;
	while (flood->left > 0 && !rc) {
		rc = mesh_grpc_send(call, &response.base);
		flood->left -= !rc;
	}
	if (!rc)
		mesh_grpc_finish(call, NULL);
}

static void flood_message(struct mesh_grpc_call *call, const struct ProtobufCMessage *message, struct mesh_slice bytes,
			  void *user)
{
	const Grpc__Testing__StreamingOutputCallRequest *request = (const void *)message;

	((struct flood *)user)->left = request->response_parameters[0]->size;
	flood_go_on(call, user);
}

static void flood_done(struct mesh_grpc_call *call, void *user)
{
	free(user);
}

static void flood(struct mesh_grpc_call *call, void *user)
{
	static const struct mesh_grpc_events events = {
		.size = sizeof(events), .message = flood_message, .writable = flood_go_on, .done = flood_done};

	assert_int_equal(mesh_grpc_on(call, &events, calloc(1, sizeof(struct flood))), 0);
}

static void no_answer(struct mesh_grpc_call *call, void *user)
{
}

static void waits(struct mesh_grpc_call *call, void *user)
{
	static const struct mesh_grpc_events events = {.size = sizeof(events), .done = tell_done};

	assert_int_equal(mesh_grpc_on(call, &events, NULL), 0);
}

static void count_bytes(struct mesh_grpc_call *call, const struct ProtobufCMessage *message, struct mesh_slice bytes,
			void *user)
{
	assert_null(message);
	*(size_t *)user += bytes.len;
}

static void count_end(struct mesh_grpc_call *call, void *user)
{
	char digits[32];

	snprintf(digits, sizeof(digits), "%zu", *(size_t *)user);
	free(user);
	assert_int_equal(mesh_grpc_send_bytes(call, text(digits)), 0);
	assert_int_equal(mesh_grpc_finish(call, NULL), 0);
}

static void count(struct mesh_grpc_call *call, void *user)
{
	static const struct mesh_grpc_events events = {
		.size = sizeof(events), .message = count_bytes, .end = count_end};

	assert_int_equal(mesh_grpc_on(call, &events, calloc(1, sizeof(size_t))), 0);
}

static void serve(struct mesh_call *call, void *user)
{
	mesh_grpc_handle(call, user);
}

static void plain(struct mesh_call *call, void *user)
{
	mesh_call_respond(call, 200, NULL, 0, text("plain"), true);
}

/* ---- the fixture ---- */

static void speak_http2(struct data_plane *plane, struct cluster_config *cluster)
{
	cluster->protocol = UPSTREAM_HTTP2;
}

int grpc_fixture_setup(void **state)
{
	struct grpc_fixture *fixture = calloc(1, sizeof(*fixture));
	struct mesh_grpc_server_options options = {.size = sizeof(options), .fallback = plain};
	/* the client drives nothing while the listener closes: what it would answer is not waited for */
	struct mesh_listen_options listen = {
		.size = sizeof(listen), .address = "127.0.0.1", .handler = serve, .grace_ms = 50};

	grpc_now = fixture;
	pthread_mutex_init(&fixture->seen.lock, NULL);
	pthread_cond_init(&fixture->seen.changed, NULL);
	fixture->seen.done_code = -1;
	assert_int_equal(data_plane_open(&fixture->plane, 1, NULL), 0);
	fixture->plane.edit_cluster = speak_http2;
	assert_int_equal(mesh_grpc_server_new(fixture->plane.mesh, &options, &fixture->server), 0);
	fixture->service.base = (ProtobufCService){GRPC_TEST_SERVICE, protobuf_c_service_invoke_internal, NULL};
	fixture->service.unary_call = unary;
	fixture->service.empty_call = empty;
	assert_int_equal(mesh_grpc_server_add(fixture->server, &fixture->service.base), 0);
	assert_int_equal(mesh_grpc_server_on(fixture->server, GRPC_TEST_SERVICE, "FullDuplexCall", echo, NULL), 0);
	assert_int_equal(mesh_grpc_server_on(fixture->server, GRPC_TEST_SERVICE, "StreamingOutputCall", flood, NULL),
			 0);
	assert_int_equal(mesh_grpc_server_on(fixture->server, GRPC_TEST_SERVICE, "HalfDuplexCall", no_answer, NULL), 0);
	assert_int_equal(mesh_grpc_server_on(fixture->server, GRPC_TEST_SERVICE, "UnimplementedCall", waits, NULL), 0);
	assert_int_equal(mesh_grpc_server_on_path(fixture->server, text("/raw.Bytes/Count"), count, NULL), 0);
	assert_int_equal(mesh_grpc_health_add(fixture->server), 0);
	listen.user = fixture->server;
	assert_int_equal(mesh_listen(fixture->plane.mesh, &listen, &fixture->listener), 0);
	fixture->plane.ports[fixture->plane.port_count++] = mesh_listener_port(fixture->listener);
	data_plane_publish(&fixture->plane);
	*state = fixture;
	return 0;
}

int grpc_fixture_teardown(void **state)
{
	struct grpc_fixture *fixture = *state;

	mesh_listener_close(fixture->listener);
	mesh_grpc_server_free(fixture->server);
	data_plane_close(&fixture->plane);
	free(fixture);
	return 0;
}

struct mesh_grpc_request grpc_request_to(const char *method)
{
	return (struct mesh_grpc_request){.size = sizeof(struct mesh_grpc_request),
					  .authority = text("reviews:9080"),
					  .service = GRPC_TEST_SERVICE,
					  .method = method,
					  .deadline_ms = 10000};
}

struct mesh_grpc_call *grpc_unary_with(const struct mesh_grpc_request *request, size_t bytes, int32_t response_size)
{
	Grpc__Testing__SimpleRequest message = GRPC__TESTING__SIMPLE_REQUEST__INIT;
	Grpc__Testing__Payload payload = GRPC__TESTING__PAYLOAD__INIT;
	struct mesh_grpc_call *call;

	payload.body.data = malloc(bytes + 1);
	payload.body.len = bytes;
	for (size_t i = 0; i < bytes; i++)
		payload.body.data[i] = (uint8_t)(i >> 4);
	message.payload = &payload;
	message.response_size = response_size;
	assert_true(mesh_grpc_unary(grpc_now->plane.mesh, request, &message.base, &call) >= 0);
	if (mesh_grpc_reply(call) && !response_size) {
		const Grpc__Testing__SimpleResponse *reply = (const void *)mesh_grpc_reply(call);

		assert_int_equal(reply->payload->body.len, bytes);
		assert_memory_equal(reply->payload->body.data, payload.body.data, bytes);
	}
	free(payload.body.data);
	return call;
}

void grpc_assert_code(struct mesh_grpc_call *call, int code)
{
	const struct mesh_grpc_result *result = mesh_grpc_result(call);

	if (result->code != code)
		fail_msg("%s (%.*s) instead of %s", mesh_grpc_code_name(result->code), (int)result->message.len,
			 result->message.data ? result->message.data : "", mesh_grpc_code_name(code));
}
