/* SPDX-License-Identifier: Apache-2.0 */
/*
 * <mesh/grpc.h>, the client: decides what a request says and what a response means: the code that the server, a proxy on the
 * way, or the mesh stands for. Refuses to know how a call is routed and retried.
 */
#include "api/grpc_call.h"

#include <mesh/version.h>

#include "api/call_start.h"
#include "base/text.h"
#include "grpc/code.h"
#include "grpc/metadata.h"
#include "grpc/timeout.h"
#include "grpc/words.h"

/* On the stack; more goes to the heap. */
#define FIELDS_MAX 32
#define PATH_ROOM  256

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

static void on_head(struct mesh_call *transport, void *user)
{
	struct mesh_grpc_call *call = user;
	const struct headers *fields = mesh_call_received(transport);

	call->in.foreign = mesh_call_http_status(transport) != 200 ||
			   !mesh_grpc_content_type(mesh_headers_get(fields, MESH_SLICE("content-type")));
	/* a status in the head means no messages: how they would be encoded does not matter */
	if (call->in.foreign || mesh_headers_get(fields, MESH_SLICE("grpc-status")).data)
		return;
	if (!mesh_grpc_take_encoding(call, mesh_headers_get(fields, MESH_SLICE("grpc-encoding"))))
		mesh_grpc_client_failed(call, MESH_GRPC_INTERNAL,
					"messages come in a grpc-encoding that was not offered");
	else if (call->events.headers)
		call->events.headers(call, call->user);
}

static void on_data(struct mesh_call *transport, struct mesh_slice data, void *user)
{
	mesh_grpc_take(user, data);
}

static void on_end(struct mesh_call *transport, void *user)
{
	const struct mesh_peer *peer = mesh_call_peer(transport); /* none of an answer that the routes give by themselves */
	struct mesh_grpc_call *call = user;
	bool open;

	mesh_grpc_take_end(call);
	pthread_mutex_lock(&call->out.lock);
	open = !call->out.ended;
	call->out.ended = true;
	pthread_mutex_unlock(&call->out.lock);
	/* the server said how it ended: what would still be sent is not wanted. HTTP/2 ends the stream by itself */
	if (open && peer && !mesh_slice_equal(peer->protocol, MESH_SLICE("h2")))
		mesh_call_cancel(transport);
}

static void on_writable(struct mesh_call *transport, void *user)
{
	struct mesh_grpc_call *call = user;

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
	uint32_t deadline_ms = call->transport->client.timeout_ms;
	bool late = result && deadline_ms && result->duration_us / 1000 >= deadline_ms;
	int status = mesh_call_http_status(call->transport);

	if (result && result->status < 0) {
		bool reset = result->status == MESH_ERROR_REMOTE_RESET &&
			     mesh_slice_equal(mesh_call_peer(call->transport)->protocol, MESH_SLICE("h2"));
		int code = reset ? mesh_grpc_code_of_reset(call->transport->client.reset_code)
				 : mesh_grpc_code_of_failure(result->status, result->local_status, late);

		*words = result->why;
		/* the server gave up for the same deadline, a moment before we did */
		return code == MESH_GRPC_CANCELLED && reset && late ? MESH_GRPC_DEADLINE_EXCEEDED : code;
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
	struct mesh_grpc_call *call = user;
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

/* A call about to start. */
struct start {
	const struct mesh_grpc_request *request;
	const ProtobufCMethodDescriptor *method; /* NULL: by path alone */
	const ProtobufCMessage *message;         /* all that is sent; NULL: the messages follow */
	bool single;
	const struct mesh_grpc_events *events;
	void *user;
	struct mesh_grpc_call *call; /* made */
};

/* In `room` or, too long for it, in `arena`, where the request does not have it. */
static int find_path(struct start *start, char room[PATH_ROOM], struct arena *arena, struct mesh_slice *path)
{
	const struct mesh_grpc_request *request = start->request;
	const ProtobufCServiceDescriptor *service = request->service;
	size_t service_len, method_len, len;
	char *text = room;

	*path = request->path;
	if (!service)
		return path->len < 2 || path->data[0] != '/' ? MESH_ERROR_INVALID : 0;
	if (request->method)
		start->method = protobuf_c_service_descriptor_get_method_by_name(service, request->method);
	if (!start->method)
		return MESH_ERROR_INVALID;
	service_len = strlen(service->name);
	method_len = strlen(start->method->name);
	len = service_len + method_len + 2;
	if (len > PATH_ROOM)
		text = mesh_arena_alloc(arena, len);
	if (!text)
		return MESH_ERROR_NOMEM;
	text[0] = text[service_len + 1] = '/';
	memcpy(text + 1, service->name, service_len);
	memcpy(text + service_len + 2, start->method->name, method_len);
	*path = mesh_slice_make(text, len);
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

static int put_body(struct mesh_grpc_call *call, const ProtobufCMessage *message)
{
	struct mesh_call *transport = call->transport;
	struct mesh_slice frame;
	int rc = mesh_grpc_pack(call, message, (struct mesh_slice){NULL, 0}, &frame);

	if (!rc)
		rc = mesh_buf_append(&transport->out, frame);
	transport->request.content_length = -1; /* messages tell their own length; no client of gRPC says it again */
	mesh_grpc_sent(call);
	return rc;
}

static int set_up(void *part, struct mesh_call *transport, void *with)
{
	struct mesh_grpc_call *call = part;
	struct start *start = with;
	int rc;

	mesh_grpc_call_setup(call, transport, start->request->message_bytes_max);
	mesh_grpc_set_events(call, start->events, start->user);
	atomic_store_explicit(&call->refs, 2, memory_order_relaxed); /* the caller's, and the transport's */
	call->path = transport->request.path;
	if (start->method) {
		call->sends = start->method->input;
		call->receives = start->method->output;
	}
	call->in.single = start->single;
	call->out.compress = call->out.may_compress = start->request->encoding == MESH_GRPC_GZIP;
	call->out.ended = start->message != NULL;
	start->call = call;
	rc = start->message ? put_body(call, start->message) : 0;
	if (rc)
		mesh_grpc_call_clear(call);
	return rc;
}

static void undo(void *part)
{
	mesh_grpc_call_clear(part);
}

static int begin(struct mesh *mesh, struct start *start, struct arena *arena)
{
	const struct mesh_grpc_request *request = start->request;
	struct mesh_header room[FIELDS_MAX];
	struct headers fields = {.items = room, .room = FIELDS_MAX};
	char timeout[MESH_GRPC_TIMEOUT_BYTES], path[PATH_ROOM];
	struct mesh_call *transport;
	struct call_part part = {sizeof(struct mesh_grpc_call), set_up, undo, start};
	struct mesh_request http = {
		.size = sizeof(http),
		.method = MESH_SLICE("POST"),
		.authority = request->authority,
		.more_body = !start->message,
		.timeout_ms = request->deadline_ms,
		.worker = request->worker,
		.version = MESH_HTTP_2,
	};
	int rc = find_path(start, path, arena, &http.path);

	if (!rc)
		rc = add_fields(request, arena, timeout, &fields);
	if (rc)
		return rc;
	http.headers = fields.items;
	http.header_count = fields.count;
	return mesh_call_start_part(mesh, &http, &transport_events, &part, &transport);
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
	struct start start = {.request = &request, .message = message, .single = single, .events = events, .user = user};
	struct arena arena;
	int rc = whole_request(given, &request);

	if (rc)
		return rc;
	mesh_arena_init(&arena, &mesh->mem, 0);
	rc = begin(mesh, &start, &arena);
	mesh_arena_free(&arena);
	if (!rc)
		*result = start.call;
	return rc;
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
