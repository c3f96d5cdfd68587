/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides how long a call lives, when its result is there, and when `done` is told: exactly once, last, and never inside
 * the application's own call. Refuses to know where a call goes or who serves it.
 */
#include "call/call.h"

#include "call/handover.h"

static const unsigned spare_max = 64;
static const size_t spare_buf_bytes = 64 * 1024;

static void finish_task(struct loop_task *task);

static void call_destroy(struct mesh_call *call)
{
	const struct mesh_mem *mem = &call->mesh->mem;
	struct mesh_worker *worker = call->worker;

	mesh_arena_free(&call->arena);
	mesh_buf_free(&call->body);
	mesh_buf_free(&call->scratch);
	mesh_buf_free(&call->out);
	mesh_mem_free(mem, call);
	mesh_worker_drop(worker); /* which may have ended long before */
}

static void recycle_buf(struct buf *buf)
{
	mesh_buf_clear(buf);
	if (buf->room > spare_buf_bytes)
		mesh_buf_free(buf);
}

/* On the worker's thread: kept for the next call, so that a warm one allocates nothing. */
static void call_recycle(struct mesh_call *call)
{
	struct mesh_worker *worker = call->worker;
	struct mesh *mesh = call->mesh;
	struct arena arena;
	struct buf body, scratch, out;

	mesh_arena_reset(&call->arena);
	recycle_buf(&call->body);
	recycle_buf(&call->scratch);
	recycle_buf(&call->out);
	arena = call->arena;
	body = call->body;
	scratch = call->scratch;
	out = call->out;
	/* what a client's call alone has was never written by a server's */
	memset(call, 0, call->server ? offsetof(struct mesh_call, serve) + sizeof(call->serve) : sizeof(*call));
	call->mesh = mesh;
	call->worker = worker;
	call->arena = arena;
	call->body = body;
	call->scratch = scratch;
	call->out = out;
	mesh_list_push_front(&worker->spare, &call->link);
	worker->spare_count++;
}

static struct mesh_call *call_alloc(struct mesh_worker *worker)
{
	struct mesh *mesh = worker->mesh;
	struct mesh_call *call = mesh_mem_zalloc(&mesh->mem, sizeof(*call));

	if (!call)
		return NULL;
	mesh_arena_init(&call->arena, &mesh->mem, 0);
	mesh_buf_init(&call->body, &mesh->mem, 0);
	mesh_buf_init(&call->scratch, &mesh->mem, 0);
	mesh_buf_init(&call->out, &mesh->mem, 0);
	call->mesh = mesh;
	call->worker = worker; /* for life, also while it is a spare one */
	atomic_fetch_add_explicit(&worker->refs, 1, memory_order_relaxed);
	return call;
}

static void call_setup(struct mesh_call *call, bool server, unsigned refs, uint64_t now_ns)
{
	call->server = server;
	atomic_store_explicit(&call->refs, refs, memory_order_relaxed);
	atomic_store_explicit(&call->over, false, memory_order_relaxed);
	atomic_store_explicit(&call->told, false, memory_order_relaxed);
	mesh_list_init(&call->link);
	call->finish.run = finish_task;
	call->result.size = sizeof(call->result);
	call->result.flag = "-";
	call->peer.size = sizeof(call->peer);
	call->started_ns = now_ns;
}

void mesh_call_attach(struct mesh_call *call)
{
	mesh_list_push(&call->worker->calls, &call->link);
	if (call->unasked)
		return;
	atomic_fetch_add_explicit(&call->mesh->running, 1, memory_order_relaxed);
}

static struct mesh_call *call_make(struct mesh_worker *worker, bool server, bool unasked)
{
	struct mesh_call *call;

	if (worker->spare_count) {
		call = MESH_CONTAINER(worker->spare.next, struct mesh_call, link);
		mesh_list_remove(&call->link);
		worker->spare_count--;
	} else {
		call = call_alloc(worker);
		if (!call)
			return NULL;
	}
	call_setup(call, server, 1, mesh_loop_update_ns(worker->env.loop));
	call->unasked = unasked;
	mesh_call_attach(call);
	return call;
}

struct mesh_call *mesh_call_new(struct mesh_worker *worker, bool server)
{
	return call_make(worker, server, false);
}

struct mesh_call *mesh_call_new_unasked(struct mesh_worker *worker)
{
	return call_make(worker, false, true);
}

struct mesh_call *mesh_call_new_detached(struct mesh_worker *worker)
{
	struct mesh_call *call = call_alloc(worker);

	if (call)
		call_setup(call, false, 2, mesh_time_now_ns());
	return call;
}

void mesh_call_undo(struct mesh_call *call)
{
	if (!mesh_list_empty(&call->link) && !call->unasked)
		atomic_fetch_sub_explicit(&call->mesh->running, 1, memory_order_relaxed);
	mesh_list_remove(&call->link);
	call_destroy(call);
}

void mesh_call_drop(struct mesh_call *call)
{
	struct mesh_worker *worker = call->worker;

	if (atomic_fetch_sub_explicit(&call->refs, 1, memory_order_acq_rel) != 1)
		return;
	if (mesh_worker_here(worker) && !atomic_load(&worker->ending) && worker->spare_count < spare_max)
		call_recycle(call);
	else
		call_destroy(call);
}

static int local_status(const struct mesh_call *call, int error)
{
	switch (error) {
	case MESH_ERROR_IDLE_TIMEOUT: /* as Envoy: who is it that did not go on? */
	case MESH_ERROR_DURATION:
		return (call->server ? call->received_end : call->client.out_end) ? 504 : 408;
	case MESH_ERROR_NO_ROUTE:
		return 404;
	case MESH_ERROR_INVALID:
		return call->server ? 0 : 400;
	case MESH_ERROR_FAULT_ABORT: /* what the fault says */
		return call->result.local_status;
	case MESH_ERROR_NO_CLUSTER: /* what the route says */
		return call->result.local_status ? call->result.local_status : 503;
	case MESH_ERROR_DENIED:
		return 403;
	case MESH_ERROR_TIMEOUT:
		return 504;
	case MESH_ERROR_TOO_LARGE:
		return 413;
	case MESH_ERROR_PROTOCOL:
		return 502;
	case MESH_ERROR_RATE_LIMITED:
		return 429;
	default:
		return mesh_error_class(error) == MESH_CLASS_USAGE || mesh_error_class(error) == MESH_CLASS_CANCEL ? 0 : 503;
	}
}

/* Beside what its last try ended with, in the order in which Envoy logs them. */
static void add_retry_flag(struct mesh_call *call)
{
	const char *own = call->result.flag, *more = call->client.retry_flag;
	bool first = strcmp(own, "UPE") == 0 || strcmp(own, "DT") == 0 || strcmp(own, "SI") == 0;
	struct mesh_slice both;

	if (strcmp(own, "-") == 0 || strcmp(own, more) == 0) {
		call->result.flag = more;
		return;
	}
	both = mesh_arena_printf(&call->arena, "%s,%s", first ? more : own, first ? own : more);
	if (both.data)
		call->result.flag = both.data;
}

/* The fault came first. */
static void add_delay_flag(struct mesh_call *call)
{
	struct mesh_slice both;

	if (strcmp(call->result.flag, "-") == 0) {
		call->result.flag = "DI";
		return;
	}
	both = mesh_arena_printf(&call->arena, "DI,%s", call->result.flag);
	if (both.data)
		call->result.flag = both.data;
}

static void fill_result(struct mesh_call *call, int error, const char *why)
{
	struct mesh_result *result = &call->result;

	result->status = error;
	result->http_status = call->server ? 0 : call->response.status;
	result->duration_us = (mesh_loop_now_ns(call->worker->env.loop) - call->started_ns) / 1000;
	if (!error)
		return;
	/* what is denied on the way out is a change of protocol, which Envoy has no flag for */
	result->flag = error == MESH_ERROR_DENIED && !call->server ? "-" : mesh_error_flag(error);
	if (!call->server && call->client.retry_flag)
		add_retry_flag(call);
	if (!call->server && call->client.delayed)
		add_delay_flag(call);
	result->local_status = local_status(call, error);
	mesh_why(&call->why, error, "%s", why && *why ? why : mesh_error_text(error));
	result->why = mesh_slice_of(call->why.text);
}

static void tell_done(struct mesh_call *call)
{
	struct mesh *mesh = call->mesh;

	mesh_list_remove(&call->link);
	if (call->events.done)
		call->events.done(call, call->user);
	atomic_store_explicit(&call->told, true, memory_order_release);
	if (!call->unasked) {
		atomic_fetch_sub_explicit(&mesh->running, 1, memory_order_release);
		mesh_notify(mesh);
	}
	mesh_call_drop(call);
}

static void finish_task(struct loop_task *task)
{
	tell_done(MESH_CONTAINER(task, struct mesh_call, finish));
}

void mesh_call_finish(struct mesh_call *call, int error, const char *why)
{
	if (atomic_load_explicit(&call->over, memory_order_relaxed))
		return;
	fill_result(call, error, why);
	if (call->server)
		mesh_serve_stop(call, error);
	else
		mesh_client_stop(call);
	atomic_store_explicit(&call->over, true, memory_order_release);
	mesh_handover_empty(call);
	if (call->in_api)
		mesh_loop_defer(call->worker->env.loop, &call->finish);
	else
		tell_done(call);
}

void mesh_call_set_peer(struct mesh_call *call, const struct mux *mux, const struct address *address)
{
	const struct peer_info *info = &mux->transport->peer;
	struct mesh_peer *peer = &call->peer;
	size_t len = mesh_address_text(address, call->endpoint_text);

	call->has_peer = true;
	peer->address = mesh_slice_make(call->endpoint_text, len);
	peer->tls = info->tls;
	peer->mutual = info->mutual;
	peer->protocol = mesh_slice_of(mux->ops->protocol);
	/* the connection may end before the call is read: what it lends is copied */
	peer->identity = mesh_arena_slice(&call->arena, info->identity, NULL);
	peer->tls_version = mesh_arena_slice(&call->arena, info->tls_version, NULL);
}

void mesh_call_set_events(struct mesh_call *call, const struct mesh_call_events *events, void *user)
{
	size_t size = events ? events->size : 0;

	if (size > sizeof(call->events))
		size = sizeof(call->events);
	memset(&call->events, 0, sizeof(call->events));
	if (size)
		memcpy(&call->events, events, size);
	call->user = user;
}

int mesh_call_take(struct mesh_call *call, struct mesh_slice data, size_t max)
{
	call->result.received_bytes += data.len;
	if (call->events.data) {
		call->events.data(call, data, call->user);
		return 0;
	}
	if (mesh_buf_len(&call->body) + data.len > max)
		return MESH_ERROR_TOO_LARGE;
	return mesh_buf_append(&call->body, data);
}

void mesh_call_set_paused(struct mesh_call *call, bool paused)
{
	call->paused = paused;
	if (call->server && call->serve.exchange.mux)
		mesh_exchange_pause(&call->serve.exchange, paused);
	for (struct attempt *attempt = call->server ? NULL : &call->client.attempt; attempt; attempt = attempt->next)
		if (attempt->running && attempt->exchange.mux)
			mesh_exchange_pause(&attempt->exchange, paused);
}

const struct headers *mesh_call_received(const struct mesh_call *call)
{
	return call->server ? &call->request.headers : &call->response.headers;
}
