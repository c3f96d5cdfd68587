/* SPDX-License-Identifier: Apache-2.0 */
/*
 * <mesh/call.h>, starting one: checks the request, copies it, finds the thread. Decides nothing of where it goes.
 */
#include <mesh/call.h>

#include "api/call_start.h"
#include "call/call.h"
#include "call/handover.h"

#define FIELD_END(type, field) (offsetof(type, field) + sizeof(((type *)0)->field))

static const size_t body_max_default = 16 * 1024 * 1024;
static const size_t upgrade_bytes_max = 64;

static enum mesh_http_version version_of(const struct mesh_request *request)
{
	return request->size >= FIELD_END(struct mesh_request, version) ? request->version : MESH_HTTP_1_1;
}

static struct mesh_slice upgrade_of(const struct mesh_request *request)
{
	return request->size >= FIELD_END(struct mesh_request, upgrade) ? request->upgrade : (struct mesh_slice){NULL, 0};
}

/* "te: trailers" goes to the end in HTTP/2: it says that the client reads trailers, which gRPC servers insist on. */
static bool kept_from_peer(const struct mesh_request *request, const struct mesh_header *header)
{
	if (version_of(request) == MESH_HTTP_2 && mesh_slice_equal_fold(header->name, MESH_SLICE("te")) &&
	    mesh_slice_equal_fold(header->value, MESH_SLICE("trailers")))
		return false;
	return mesh_header_hop_by_hop(header->name) || mesh_slice_equal_fold(header->name, MESH_SLICE("content-length")) ||
	       mesh_slice_equal_fold(header->name, MESH_SLICE("host"));
}

/* "websocket", "name/version": asked for by a GET whose body is what follows the change. */
static bool upgrade_valid(const struct mesh_request *request)
{
	struct mesh_slice upgrade = upgrade_of(request);
	struct mesh_slice name = mesh_slice_cut(&upgrade, '/');

	if (!name.data)
		return true;
	if (name.len + upgrade.len > upgrade_bytes_max || !mesh_header_name_valid(name) ||
	    (upgrade.data && !mesh_header_name_valid(upgrade)))
		return false;
	return request->more_body && !request->body.len &&
	       (!request->method.data || mesh_slice_equal(request->method, MESH_SLICE("GET")));
}

static int check_request(const struct mesh_request *request)
{
	if (!request || request->size < FIELD_END(struct mesh_request, header_count))
		return MESH_ERROR_INVALID;
	if ((request->method.data && !mesh_header_name_valid(request->method)) || !mesh_header_word_valid(request->authority))
		return MESH_ERROR_INVALID;
	if (request->path.data &&
	    (!mesh_header_word_valid(request->path) || (request->path.data[0] != '/' && !mesh_slice_equal(request->path, MESH_SLICE("*")))))
		return MESH_ERROR_INVALID;
	for (size_t i = 0; i < request->header_count; i++)
		if (!mesh_header_name_valid(request->headers[i].name) || !mesh_header_value_valid(request->headers[i].value))
			return MESH_ERROR_INVALID;
	if (version_of(request) != MESH_HTTP_1_1 && version_of(request) != MESH_HTTP_2)
		return MESH_ERROR_INVALID;
	if (!upgrade_valid(request))
		return MESH_ERROR_INVALID;
	return 0;
}

static struct mesh_slice copy_lower(struct arena *arena, struct mesh_slice text, bool *failed)
{
	struct mesh_slice copy = mesh_arena_slice(arena, text, failed);

	for (size_t i = 0; copy.data && i < copy.len; i++)
		((char *)copy.data)[i] = mesh_char_lower(copy.data[i]);
	return copy;
}

static int copy_request(struct mesh_call *call, const struct mesh_request *request)
{
	struct arena *arena = &call->arena;
	struct http_head *head = &call->request;
	bool failed = false;
	int rc = 0;

	head->method = mesh_arena_slice(arena, request->method.data ? request->method : MESH_SLICE("GET"), &failed);
	head->authority = mesh_arena_slice(arena, request->authority, &failed);
	head->path = mesh_arena_slice(arena, request->path.data ? request->path : MESH_SLICE("/"), &failed);
	head->scheme = MESH_SLICE("http");
	if (upgrade_of(request).len)
		head->upgrade = copy_lower(arena, upgrade_of(request), &failed);
	call->client.version = version_of(request);
	for (size_t i = 0; i < request->header_count && !rc; i++)
		if (!kept_from_peer(request, &request->headers[i])) /* the connection's own business, or set from the fields above */
			rc = mesh_headers_add_copy(&head->headers, arena, request->headers[i].name, request->headers[i].value);
	if (!rc && failed)
		rc = MESH_ERROR_NOMEM;
	if (!rc && request->body.len)
		rc = mesh_buf_append(&call->out, request->body);
	call->client.out_end = !request->more_body;
	call->client.replayable = true;
	head->content_length = request->more_body ? -1 : (int64_t)request->body.len;
	call->client.timeout_ms = request->timeout_ms;
	call->client.body_max = request->response_bytes_max ? request->response_bytes_max : body_max_default;
	return rc;
}

/* What a call starts with. */
struct beginning {
	const struct mesh_request *request;
	const struct mesh_call_events *events;
	void *user;
	const struct call_part *part; /* NULL: none */
};

static int set_up(struct mesh_call *call, struct beginning *beginning)
{
	const struct call_part *part = beginning->part;
	int rc = copy_request(call, beginning->request);

	if (!rc && part) {
		beginning->user = mesh_arena_zalloc(&call->arena, part->bytes);
		rc = beginning->user ? part->set_up(beginning->user, call, part->with) : MESH_ERROR_NOMEM;
	}
	mesh_call_set_events(call, beginning->events, beginning->user);
	return rc;
}

static int start_elsewhere(struct mesh_worker *worker, struct beginning *beginning, struct mesh_call **result)
{
	static const struct handover begin = {.kind = HANDOVER_BEGIN};
	struct mesh_call *call = mesh_call_new_detached(worker);
	int rc;

	if (!call)
		return MESH_ERROR_NOMEM;
	rc = set_up(call, beginning);
	if (!rc) {
		rc = mesh_handover_post(call, &begin);
		if (rc && beginning->part)
			beginning->part->undo(beginning->user);
	}
	if (rc) {
		mesh_call_undo(call);
		return rc;
	}
	*result = call;
	return 0;
}

static int start_here(struct mesh_worker *worker, struct beginning *beginning, struct mesh_call **result)
{
	struct mesh_call *call = mesh_call_new(worker, false);
	int rc;

	if (!call)
		return MESH_ERROR_NOMEM;
	rc = set_up(call, beginning);
	if (rc) {
		mesh_call_undo(call);
		return rc;
	}
	atomic_fetch_add_explicit(&call->refs, 1, memory_order_relaxed); /* the caller's */
	call->in_api = true;
	mesh_client_begin(call);
	call->in_api = false;
	*result = call;
	return 0;
}

/* The worker the request asks for, or the calling thread's own. */
static int find_worker(struct mesh *mesh, const struct mesh_request *request, struct mesh_worker **worker)
{
	int rc = check_request(request);

	if (rc)
		return rc;
	if (atomic_load_explicit(&mesh->draining, memory_order_relaxed))
		return MESH_ERROR_DRAINING;
	*worker = request->size >= FIELD_END(struct mesh_request, worker) ? request->worker : NULL;
	if (!*worker)
		rc = mesh_worker_implicit(mesh, worker);
	if (!rc && atomic_load(&(*worker)->ending))
		rc = MESH_ERROR_DRAINING;
	return rc;
}

static int start(struct mesh *mesh, struct beginning *beginning, struct mesh_call **call)
{
	struct mesh_worker *worker;
	int rc;

	if (!mesh || !call)
		return MESH_ERROR_INVALID;
	*call = NULL;
	rc = find_worker(mesh, beginning->request, &worker);
	if (rc)
		return rc;
	if (worker->kind == WORKER_LIBRARY && !mesh_worker_here(worker))
		return start_elsewhere(worker, beginning, call);
	return start_here(worker, beginning, call);
}

int mesh_call_start_prepare(struct mesh *mesh, const struct mesh_request *request, struct mesh_call **call)
{
	struct mesh_worker *worker;
	int rc = find_worker(mesh, request, &worker);

	if (rc)
		return rc;
	if (!mesh_worker_here(worker))
		return MESH_ERROR_THREAD;
	*call = mesh_call_new(worker, false);
	if (!*call)
		return MESH_ERROR_NOMEM;
	rc = copy_request(*call, request);
	if (rc)
		mesh_call_undo(*call);
	return rc;
}

int mesh_call_start_part(struct mesh *mesh, const struct mesh_request *request, const struct mesh_call_events *events,
			 const struct call_part *part, struct mesh_call **call)
{
	struct beginning beginning = {request, events, NULL, part};

	return start(mesh, &beginning, call);
}

MESH_EXPORT int mesh_call_start(struct mesh *mesh, const struct mesh_request *request, const struct mesh_call_events *events,
				void *user, struct mesh_call **call)
{
	struct beginning beginning = {request, events, user, NULL};

	return start(mesh, &beginning, call);
}
