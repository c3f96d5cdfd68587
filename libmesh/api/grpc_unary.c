/* SPDX-License-Identifier: Apache-2.0 */
/*
 * <mesh/grpc.h>: whole unary calls, and a service whose generated stubs make them. Decides how long a call may wait for
 * somebody to call. Refuses to know what a response means (grpc_client.c).
 */
#include "api/grpc_call.h"

#include <time.h>

#include "base/header.h"
#include "grpc/code.h"

static const uint64_t ready_pause_first_ns = 10000000, ready_pause_most_ns = 500000000;

/* Nobody was there to take it: no configuration yet, no endpoint, no connection. */
static bool found_nobody(const struct mesh_grpc_call *call)
{
	const struct mesh_result *result = mesh_call_result(call->transport);

	switch (result ? result->status : 0) {
	case MESH_ERROR_NOT_READY:
	case MESH_ERROR_NO_ENDPOINT:
	case MESH_ERROR_CONNECT:
	case MESH_ERROR_CONNECT_TIMEOUT:
		return true;
	default:
		return false;
	}
}

static bool never(const struct mesh_grpc_call *call)
{
	return false;
}

/* The worker goes on meanwhile where this thread is the one to drive it. */
static void wait_a_while(struct mesh_grpc_call *call, uint64_t ns)
{
	struct timespec pause = {.tv_sec = 0, .tv_nsec = (long)ns};

	if (call->transport->worker->kind == WORKER_LIBRARY)
		nanosleep(&pause, NULL);
	else
		mesh_grpc_drive(call, (int64_t)(ns / 1000000), never);
}

static int unary_once(struct mesh *mesh, const struct mesh_grpc_request *request, const ProtobufCMessage *message,
		      struct mesh_grpc_call **call)
{
	int code = mesh_grpc_client_begin(mesh, request, message, true, NULL, NULL, call);

	if (code)
		return code;
	code = mesh_grpc_wait(*call, -1);
	if (code < 0) {
		mesh_grpc_release(*call);
		*call = NULL;
	}
	return code;
}

/* Tries again until somebody is there, within the deadline of all. */
static int unary_ready(struct mesh *mesh, struct mesh_grpc_request *request, const ProtobufCMessage *message,
		       struct mesh_grpc_call **call)
{
	uint64_t until =
		request->deadline_ms ? mesh_time_now_ns() + (uint64_t)request->deadline_ms * 1000000 : UINT64_MAX;
	uint64_t pause = ready_pause_first_ns;

	for (;;) {
		int code = unary_once(mesh, request, message, call);
		uint64_t now = mesh_time_now_ns();

		if (code != MESH_GRPC_UNAVAILABLE || !found_nobody(*call))
			return code;
		if (until - now <= pause || now >= until) { /* the next try would be too late */
			(*call)->result.code = MESH_GRPC_DEADLINE_EXCEEDED;
			return MESH_GRPC_DEADLINE_EXCEEDED;
		}
		wait_a_while(*call, pause);
		pause = pause * 2 < ready_pause_most_ns ? pause * 2 : ready_pause_most_ns;
		mesh_grpc_release(*call);
		*call = NULL;
		if (request->deadline_ms) {
			now = mesh_time_now_ns();
			request->deadline_ms = now + 1000000 < until ? (uint32_t)((until - now) / 1000000) : 1;
		}
	}
}

MESH_EXPORT int mesh_grpc_unary(struct mesh *mesh, const struct mesh_grpc_request *given,
				const struct ProtobufCMessage *message, struct mesh_grpc_call **call)
{
	struct mesh_grpc_request request = {0};

	if (!mesh || !call || !message || !given || !given->size)
		return MESH_ERROR_INVALID;
	*call = NULL;
	memcpy(&request, given, given->size < sizeof(request) ? given->size : sizeof(request));
	request.size = sizeof(request);
	if (request.worker && (request.worker->kind != WORKER_LIBRARY || mesh_worker_here(request.worker)))
		return MESH_ERROR_THREAD;
	return request.wait_for_ready ? unary_ready(mesh, &request, message, call)
				      : unary_once(mesh, &request, message, call);
}

MESH_EXPORT const struct ProtobufCMessage *mesh_grpc_reply(const struct mesh_grpc_call *call)
{
	return call && !call->server && mesh_grpc_result(call) ? call->in.kept : NULL;
}

/* ---- stubs ---- */

struct stub_service {
	ProtobufCService base; /* first: protobuf-c hands it back */
	struct mesh *mesh;
	struct arena arena; /* what request refers to */
	struct mesh_grpc_request request;
	mesh_grpc_outcome_fn *outcome;
	void *user;
};

struct stub_call {
	struct stub_service *service;
	ProtobufCClosure closure;
	void *closure_data;
};

static void tell(struct stub_service *service, const struct mesh_grpc_result *result, const ProtobufCMessage *reply,
		 ProtobufCClosure closure, void *closure_data)
{
	if (service->outcome)
		service->outcome(&service->base, result, service->user);
	closure(reply, closure_data);
}

static void stub_done(struct mesh_grpc_call *call, void *user)
{
	struct stub_call *stub = user;

	tell(stub->service, mesh_grpc_result(call), mesh_grpc_reply(call), stub->closure, stub->closure_data);
	mesh_mem_free(&stub->service->mesh->mem, stub);
}

static int invoke_later(struct stub_service *service, const struct mesh_grpc_request *request,
			const ProtobufCMessage *input, ProtobufCClosure closure, void *closure_data)
{
	static const struct mesh_grpc_events events = {.size = sizeof(events), .done = stub_done};
	struct stub_call *stub = mesh_mem_zalloc(&service->mesh->mem, sizeof(*stub));
	struct mesh_grpc_call *call;
	int rc;

	if (!stub)
		return MESH_ERROR_NOMEM;
	*stub = (struct stub_call){service, closure, closure_data};
	rc = mesh_grpc_client_begin(service->mesh, request, input, true, &events, stub, &call);
	if (rc)
		mesh_mem_free(&service->mesh->mem, stub);
	else
		mesh_grpc_drop(call); /* given back without giving it up */
	return rc;
}

static void stub_invoke(ProtobufCService *base, unsigned index, const ProtobufCMessage *input, ProtobufCClosure closure,
			void *closure_data)
{
	struct stub_service *service = (struct stub_service *)base;
	struct mesh_grpc_request request = service->request;
	struct mesh_grpc_result failed = {.size = sizeof(failed)};
	struct mesh_grpc_call *call = NULL;
	int rc;

	request.service = base->descriptor;
	request.method = base->descriptor->methods[index].name;
	if (request.worker) {
		rc = invoke_later(service, &request, input, closure, closure_data);
	} else {
		rc = mesh_grpc_unary(service->mesh, &request, input, &call);
		if (rc >= 0)
			tell(service, mesh_grpc_result(call), mesh_grpc_reply(call), closure, closure_data);
		mesh_grpc_release(call);
	}
	if (rc >= 0)
		return;
	failed.code = mesh_grpc_code_of_error(rc);
	failed.message = mesh_slice_of(mesh_error_text(rc));
	tell(service, &failed, NULL, closure, closure_data);
}

static void stub_destroy(ProtobufCService *base)
{
	struct stub_service *service = (struct stub_service *)base;

	mesh_arena_free(&service->arena);
	mesh_mem_free(&service->mesh->mem, service);
}

static int copy_request(struct stub_service *service, const struct mesh_grpc_request *given)
{
	struct mesh_grpc_request *request = &service->request;
	struct headers metadata = {0};
	bool failed = false;
	int rc = 0;

	memcpy(request, given, given->size < sizeof(*request) ? given->size : sizeof(*request));
	request->size = sizeof(*request);
	request->authority = mesh_arena_slice(&service->arena, request->authority, &failed);
	for (size_t i = 0; i < request->metadata_count && !rc; i++)
		rc = mesh_headers_add_copy(&metadata, &service->arena, request->metadata[i].name,
					   request->metadata[i].value);
	request->metadata = metadata.items;
	return failed ? MESH_ERROR_NOMEM : rc;
}

MESH_EXPORT int mesh_grpc_client_service(struct mesh *mesh, const struct ProtobufCServiceDescriptor *descriptor,
					 const struct mesh_grpc_request *request, mesh_grpc_outcome_fn *outcome,
					 void *user, struct ProtobufCService **result)
{
	struct stub_service *service;
	int rc;

	if (!mesh || !descriptor || !request || !request->size || !request->authority.len || !result)
		return MESH_ERROR_INVALID;
	*result = NULL;
	service = mesh_mem_zalloc(&mesh->mem, sizeof(*service));
	if (!service)
		return MESH_ERROR_NOMEM;
	service->base = (ProtobufCService){descriptor, stub_invoke, stub_destroy};
	service->mesh = mesh;
	service->outcome = outcome;
	service->user = user;
	mesh_arena_init(&service->arena, &mesh->mem, 0);
	rc = copy_request(service, request);
	if (rc)
		stub_destroy(&service->base);
	else
		*result = &service->base;
	return rc;
}
