/* SPDX-License-Identifier: Apache-2.0 */
/*
 * <mesh/grpc.h>, the client: decides what a request says and what a response means: the code that the server, a proxy on the
 * way, or the mesh stands for. Refuses to know how a call is routed and retried.
 */
#include "api/grpc_call.h"

#include <stdio.h>

#include <mesh/version.h>

#include "base/text.h"
#include "grpc/code.h"
#include "grpc/metadata.h"
#include "grpc/timeout.h"
#include "grpc/words.h"

#define FIELDS_MAX 32 /* on the stack; more go to the heap */

/* ---- what came ---- */

void mesh_grpc_client_failed(struct mesh_grpc_call *call, int code, const char *words)
{
	if (call->failure >= 0)
		return;
	call->failure = code;
	mesh_why(&call->why, 0, "%s", words);
	if (call->done_told && call->result.code == MESH_GRPC_OK) { /* broken, as it turned out when it was asked for */
		call->result.code = code;
		call->result.message = mesh_slice_of(call->why.text);
	}
	mesh_call_cancel(call->transport);
}

/* The worker may be faster than who started the call elsewhere. */
static struct mesh_grpc_call *attached(void *user)
{
	struct mesh_grpc_call *call = user;

	if (!call->attached) {
		pthread_mutex_lock(&call->out.lock);
		pthread_mutex_unlock(&call->out.lock);
		call->attached = true;
	}
	return call;
}

static void on_head(struct mesh_call *transport, void *user)
{
	struct mesh_grpc_call *call = attached(user);
	const struct headers *fields = mesh_call_received(transport);

	call->in.foreign = mesh_call_http_status(transport) != 200 ||
			   !mesh_grpc_content_type(mesh_headers_get(fields, MESH_SLICE("content-type")));
	if (!call->in.foreign && !mesh_grpc_take_encoding(call, mesh_headers_get(fields, MESH_SLICE("grpc-encoding"))))
		mesh_grpc_client_failed(call, MESH_GRPC_INTERNAL,
					"messages come in a grpc-encoding that was not offered");
	else if (!call->in.foreign && call->events.headers && !mesh_headers_get(fields, MESH_SLICE("grpc-status")).data)
		call->events.headers(call, call->user);
}

static void on_data(struct mesh_call *transport, struct mesh_slice data, void *user)
{
	mesh_grpc_take(attached(user), data);
}

static void on_end(struct mesh_call *transport, void *user)
{
	struct mesh_grpc_call *call = attached(user);
	bool open;

	mesh_grpc_take_end(call);
	pthread_mutex_lock(&call->out.lock);
	open = !call->out.ended;
	call->out.ended = true;
	pthread_mutex_unlock(&call->out.lock);
	/* the server said how it ended: what would still be sent is not wanted. HTTP/2 ends the stream by itself */
	if (open && !mesh_slice_equal(mesh_call_peer(transport)->protocol, MESH_SLICE("h2")))
		mesh_call_cancel(transport);
}

static void on_writable(struct mesh_call *transport, void *user)
{
	struct mesh_grpc_call *call = attached(user);

	if (call->events.writable)
		call->events.writable(call, call->user);
}

/* Where the status is: the trailers, or the head of a response that is trailers alone. */
static const struct headers *status_fields(const struct mesh_grpc_call *call)
{
	const struct mesh_call *transport = call->transport;
	const struct mesh_result *result = mesh_call_result(transport);

	if (!call->in.ended)
		return NULL;
	if (transport->trailers && mesh_headers_get(transport->trailers, MESH_SLICE("grpc-status")).data)
		return transport->trailers;
	if (transport->received_head && !(result && result->received_bytes) &&
	    mesh_headers_get(mesh_call_received(transport), MESH_SLICE("grpc-status")).data)
		return mesh_call_received(transport);
	return NULL;
}

static int read_status(struct mesh_grpc_call *call, const struct headers *fields, struct mesh_slice *words)
{
	struct mesh_slice details = mesh_headers_get(fields, MESH_SLICE("grpc-status-details-bin"));
	struct mesh_slice status = mesh_headers_get(fields, MESH_SLICE("grpc-status"));
	struct headers pairs = {0};
	int code = mesh_grpc_code_of_text(status);
	int rc = mesh_grpc_words_decode(call->arena, mesh_headers_get(fields, MESH_SLICE("grpc-message")), words);

	if (!rc && details.data)
		rc = mesh_grpc_bin_decode(call->arena, details, &call->result.details);
	if (!rc)
		rc = mesh_grpc_metadata_decode(call->arena, fields, &pairs);
	if (rc)
		return MESH_GRPC_RESOURCE_EXHAUSTED;
	call->result.metadata = pairs.items;
	call->result.metadata_count = pairs.count;
	if (code == MESH_GRPC_UNKNOWN && !words->len && !mesh_slice_equal(status, MESH_SLICE("2")))
		*words = mesh_arena_printf(call->arena, "grpc-status \"%.*s\" is no code",
					   (int)(status.len < 40 ? status.len : 40), status.data);
	return code;
}

/* An answer that is not gRPC's, though it may look well: its messages were not read. */
static int not_grpc(struct mesh_grpc_call *call, struct mesh_slice *words)
{
	struct mesh_slice type = mesh_headers_get(mesh_call_received(call->transport), MESH_SLICE("content-type"));

	*words = mesh_arena_printf(call->arena, "the response is not gRPC: content-type \"%.*s\"",
				   (int)(type.len < 80 ? type.len : 80), type.len ? type.data : "");
	return MESH_GRPC_UNKNOWN;
}

/* What no grpc-status tells. */
static int guess(struct mesh_grpc_call *call, struct mesh_slice *words)
{
	const struct mesh_result *result = mesh_call_result(call->transport);
	int status = mesh_call_http_status(call->transport);

	if (result && result->status < 0) {
		*words = result->why;
		return result->status == MESH_ERROR_REMOTE_RESET &&
				       mesh_slice_equal(mesh_call_peer(call->transport)->protocol, MESH_SLICE("h2"))
			       ? mesh_grpc_code_of_reset(call->transport->client.attempt.exchange.reset_code)
			       : mesh_grpc_code_of_error(result->status);
	}
	if (status == 200 && call->in.foreign)
		return not_grpc(call, words);
	*words = status == 200 ? MESH_SLICE("the response has no grpc-status")
			       : mesh_arena_printf(call->arena, "HTTP status %d", status);
	return mesh_grpc_code_of_http(status);
}

static int decide(struct mesh_grpc_call *call, struct mesh_slice *words)
{
	const struct headers *fields = status_fields(call);
	int code;

	if (call->failure >= 0) {
		*words = mesh_slice_of(call->why.text);
		return call->failure;
	}
	if (!fields)
		return guess(call, words);
	code = read_status(call, fields, words);
	if (code != MESH_GRPC_OK)
		return code;
	if (call->in.foreign)
		return not_grpc(call, words);
	if (mesh_grpc_reader_inside(&call->in.reader, mesh_buf_slice(&call->in.pending))) {
		*words = MESH_SLICE("the response ends inside a message");
		return MESH_GRPC_INTERNAL;
	}
	if (call->in.single && !call->in.count) { /* as for two: the server has another method in mind */
		*words = MESH_SLICE("no message where one is due");
		return MESH_GRPC_UNIMPLEMENTED;
	}
	return code;
}

static void settle(struct mesh_grpc_call *call)
{
	struct mesh_slice words = {NULL, 0};
	int code = decide(call, &words);

	if (code != MESH_GRPC_OK)
		call->in.kept = NULL;
	mesh_grpc_settle(call, code, words);
}

void mesh_grpc_client_drained(struct mesh_grpc_call *call)
{
	if (call->transport_over)
		settle(call);
}

static void on_done(struct mesh_call *transport, void *user)
{
	struct mesh_grpc_call *call = attached(user);
	bool waits =
		call->in.ended && !call->in.told_end && call->failure < 0 && call->in.paused && call->events.message;

	mesh_grpc_retain(call);
	if (!waits)
		settle(call);
	mesh_grpc_ended(call);
	mesh_grpc_drop(call);
}

static const struct mesh_call_events transport_events = {
	.size = sizeof(transport_events),
	.head = on_head,
	.data = on_data,
	.end = on_end,
	.writable = on_writable,
	.done = on_done,
};

/* ---- what goes ---- */

/* The path is made in `call`, behind the struct. */
static int make(struct mesh *mesh, const struct mesh_grpc_request *request, struct mesh_grpc_call **result)
{
	const ProtobufCServiceDescriptor *service = request->service;
	const ProtobufCMethodDescriptor *method = NULL;
	struct mesh_grpc_call *call;
	size_t len = request->path.len, service_len = 0;
	char *path;

	if (service) {
		method = request->method ? protobuf_c_service_descriptor_get_method_by_name(service, request->method)
					 : NULL;
		if (!method)
			return MESH_ERROR_INVALID;
		service_len = strlen(service->name);
		len = service_len + strlen(method->name) + 2;
	} else if (len < 2 || request->path.data[0] != '/') {
		return MESH_ERROR_INVALID;
	}
	call = mesh_mem_zalloc(&mesh->mem, sizeof(*call) + len + 1);
	if (!call)
		return MESH_ERROR_NOMEM;
	mesh_grpc_call_setup(call, mesh, request->message_bytes_max);
	path = (char *)(call + 1);
	call->path = mesh_slice_make(path, len);
	if (!method) {
		memcpy(path, request->path.data, len);
	} else {
		call->sends = method->input;
		call->receives = method->output;
		path[0] = path[service_len + 1] = '/';
		memcpy(path + 1, service->name, service_len);
		memcpy(path + service_len + 2, method->name, len - service_len - 2);
	}
	*result = call;
	return 0;
}

static int add_fields(const struct mesh_grpc_request *request, struct arena *arena,
		      char timeout[MESH_GRPC_TIMEOUT_BYTES], struct headers *fields)
{
	struct mesh_slice text = {timeout, 0};
	int rc = mesh_headers_add(fields, arena, MESH_SLICE("te"), MESH_SLICE("trailers"));

	if (!rc)
		rc = mesh_headers_add(fields, arena, MESH_SLICE("content-type"),
				      request->service ? MESH_SLICE("application/grpc+proto")
						       : MESH_SLICE("application/grpc"));
	if (!rc)
		rc = mesh_headers_add(fields, arena, MESH_SLICE("user-agent"),
				      MESH_SLICE("grpc-c-libmesh/" MESH_VERSION));
	if (!rc)
		rc = mesh_headers_add(fields, arena, MESH_SLICE("grpc-accept-encoding"), MESH_SLICE("identity,gzip"));
	if (!rc && request->encoding == MESH_GRPC_GZIP)
		rc = mesh_headers_add(fields, arena, MESH_SLICE("grpc-encoding"), MESH_SLICE("gzip"));
	if (!rc && request->deadline_ms) {
		text.len = mesh_grpc_timeout_print(timeout, (uint64_t)request->deadline_ms * 1000000);
		rc = mesh_headers_add(fields, arena, MESH_SLICE("grpc-timeout"), text);
	}
	return rc ? rc : mesh_grpc_metadata_encode(arena, request->metadata, request->metadata_count, fields);
}

static int start(struct mesh_grpc_call *call, const struct mesh_grpc_request *request, const ProtobufCMessage *message,
		 struct arena *arena)
{
	struct mesh_header room[FIELDS_MAX];
	struct headers fields = {.items = room, .room = FIELDS_MAX};
	char timeout[MESH_GRPC_TIMEOUT_BYTES];
	struct mesh_request http = {
		.size = sizeof(http),
		.method = MESH_SLICE("POST"),
		.authority = request->authority,
		.more_body = !message,
		.timeout_ms = request->deadline_ms,
		.worker = request->worker,
		.version = MESH_HTTP_2,
	};
	int rc = add_fields(request, arena, timeout, &fields);

	if (!rc && message)
		rc = mesh_grpc_pack(call, message, (struct mesh_slice){NULL, 0}, &http.body);
	if (rc)
		return rc;
	http.path = call->path;
	http.headers = fields.items;
	http.header_count = fields.count;
	rc = mesh_call_start(call->mesh, &http, &transport_events, call, &call->transport);
	call->arena = rc ? NULL : &call->transport->arena;
	return rc;
}

/* The callers' structs may be shorter than ours, of an older version. */
static int whole_request(const struct mesh_grpc_request *given, struct mesh_grpc_request *request)
{
	if (!given || !given->size)
		return MESH_ERROR_INVALID;
	memset(request, 0, sizeof(*request));
	memcpy(request, given, given->size < sizeof(*request) ? given->size : sizeof(*request));
	if ((request->metadata_count && !request->metadata) || request->encoding < 0 ||
	    request->encoding > MESH_GRPC_GZIP)
		return MESH_ERROR_INVALID;
	return request->authority.len ? 0 : MESH_ERROR_INVALID;
}

int mesh_grpc_client_begin(struct mesh *mesh, const struct mesh_grpc_request *given, const ProtobufCMessage *message,
			   bool single, const struct mesh_grpc_events *events, void *user,
			   struct mesh_grpc_call **result)
{
	struct mesh_grpc_request request;
	struct mesh_grpc_call *call;
	struct arena arena;
	int rc = whole_request(given, &request);

	if (rc)
		return rc;
	rc = make(mesh, &request, &call);
	if (rc)
		return rc;
	mesh_grpc_set_events(call, events, user);
	call->in.single = single;
	call->out.compress = call->out.may_compress = request.encoding == MESH_GRPC_GZIP;
	call->out.ended = message != NULL;
	atomic_store_explicit(&call->refs, 2, memory_order_relaxed); /* the caller's, and the transport's */
	mesh_arena_init(&arena, &mesh->mem, 0);
	pthread_mutex_lock(&call->out.lock);
	rc = start(call, &request, message, &arena);
	mesh_grpc_sent(call);
	pthread_mutex_unlock(&call->out.lock);
	mesh_arena_free(&arena);
	if (rc) {
		mesh_grpc_drop(call);
		mesh_grpc_drop(call);
		return rc;
	}
	*result = call;
	return 0;
}

MESH_EXPORT int mesh_grpc_call_start(struct mesh *mesh, const struct mesh_grpc_request *request,
				     const struct mesh_grpc_events *events, void *user, struct mesh_grpc_call **call)
{
	if (!mesh || !call)
		return MESH_ERROR_INVALID;
	*call = NULL;
	return mesh_grpc_client_begin(mesh, request, NULL, false, events, user, call);
}

MESH_EXPORT int mesh_grpc_call_start_with(struct mesh *mesh, const struct mesh_grpc_request *request,
					  const struct ProtobufCMessage *message, const struct mesh_grpc_events *events,
					  void *user, struct mesh_grpc_call **call)
{
	if (!mesh || !call || !message)
		return MESH_ERROR_INVALID;
	*call = NULL;
	return mesh_grpc_client_begin(mesh, request, message, false, events, user, call);
}
