/* SPDX-License-Identifier: Apache-2.0 */
/*
 * <mesh/grpc.h>: decides how long a gRPC call lives, when its result is there and who is told. Refuses to know what goes
 * over it (grpc_receive.c, grpc_send.c) and which side of it this is.
 */
#include "api/grpc_call.h"

#include "grpc/code.h"
#include "grpc/metadata.h"

static const size_t message_bytes_default = 4 * 1024 * 1024;
static const size_t message_bytes_most = 1024 * 1024 * 1024; /* multiples of it are reckoned with */

MESH_EXPORT const char *mesh_grpc_code_name(int code)
{
	return mesh_grpc_name_of(code);
}

void mesh_grpc_call_setup(struct mesh_grpc_call *call, struct mesh_call *transport, size_t message_bytes_max)
{
	const struct mesh_mem *mem = &transport->mesh->mem;

	atomic_init(&call->refs, 1);
	call->mesh = transport->mesh;
	call->transport = transport;
	call->arena = &transport->arena;
	call->failure = -1;
	call->finished = -1;
	call->result.size = sizeof(call->result);
	call->go_on.run = mesh_grpc_resumed;
	if (!message_bytes_max)
		message_bytes_max = message_bytes_default;
	mesh_grpc_reader_init(&call->in.reader, mem,
			      message_bytes_max < message_bytes_most ? message_bytes_max : message_bytes_most);
	mesh_buf_init(&call->in.plain, mem, 0);
	mesh_buf_init(&call->in.pending, mem, 0);
	mesh_buf_init(&call->in.held, mem, 0);
	mesh_arena_init(&call->in.message, mem, 0);
	mesh_buf_init(&call->out.packed, mem, 0);
	/* recursive: a write that fails ends other calls on the spot, and the application may use this one from there */
	call->out.lock = (pthread_mutex_t)PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
}

void mesh_grpc_set_events(struct mesh_grpc_call *call, const struct mesh_grpc_events *events, void *user)
{
	size_t size = events ? events->size : 0;

	if (size)
		memcpy(&call->events, events, size < sizeof(call->events) ? size : sizeof(call->events));
	call->user = user;
}

void mesh_grpc_call_clear(struct mesh_grpc_call *call)
{
	mesh_grpc_reader_free(&call->in.reader);
	mesh_grpc_gzip_free(call->in.gzip);
	mesh_grpc_gzip_free(call->out.gzip);
	mesh_buf_free(&call->in.plain);
	mesh_buf_free(&call->in.pending);
	mesh_buf_free(&call->in.held);
	mesh_arena_free(&call->in.message);
	mesh_buf_free(&call->out.packed);
	pthread_mutex_destroy(&call->out.lock);
}

static void call_free(struct mesh_grpc_call *call)
{
	struct mesh_call *transport = call->transport;

	mesh_grpc_call_clear(call);
	mesh_call_release(transport); /* and the call with it */
}

/* The caller's, unless it is the last but the transport's. */
static bool dropped(struct mesh_grpc_call *call)
{
	unsigned refs = atomic_load_explicit(&call->refs, memory_order_acquire);

	while (refs > 2)
		if (atomic_compare_exchange_weak(&call->refs, &refs, refs - 1))
			return true;
	return false;
}

void mesh_grpc_drop(struct mesh_grpc_call *call)
{
	if (atomic_fetch_sub_explicit(&call->refs, 1, memory_order_acq_rel) == 1)
		call_free(call);
}

MESH_EXPORT struct mesh_grpc_call *mesh_grpc_retain(struct mesh_grpc_call *call)
{
	if (call)
		atomic_fetch_add_explicit(&call->refs, 1, memory_order_relaxed);
	return call;
}

MESH_EXPORT void mesh_grpc_release(struct mesh_grpc_call *call)
{
	const struct mesh_worker *worker = call ? call->transport->worker : NULL;

	if (!call || dropped(call))
		return;
	/* the last but the transport's own: nobody will hear what a client still gets */
	if (!call->server && !atomic_load_explicit(&call->over, memory_order_acquire)) {
		mesh_call_cancel(call->transport);
		if (worker->kind != WORKER_LIBRARY || mesh_worker_here(worker))
			mesh_grpc_resume(call); /* or it waits for that alone */
	}
	mesh_grpc_drop(call);
}

/* Nothing comes any more, from either side. */
static void part(struct mesh_grpc_call *call)
{
	if (!call->transport_over || !call->done_told)
		return;
	mesh_loop_undefer(&call->go_on);
	mesh_grpc_drop(call);
}

void mesh_grpc_settle(struct mesh_grpc_call *call, int code, struct mesh_slice message)
{
	if (call->done_told || atomic_load_explicit(&call->over, memory_order_relaxed))
		return;
	if (call->server || call->in.single || call->events.message) /* else what is there can still be fetched */
		call->in.refused = true;
	call->result.code = code;
	call->result.message = message;
	atomic_store_explicit(&call->over, true, memory_order_release);
	if (call->events.done)
		call->events.done(call, call->user);
	call->done_told = true;
	part(call);
}

void mesh_grpc_ended(struct mesh_grpc_call *call)
{
	call->transport_over = true;
	part(call);
}

MESH_EXPORT const struct mesh_grpc_result *mesh_grpc_result(const struct mesh_grpc_call *call)
{
	return call && atomic_load_explicit(&((struct mesh_grpc_call *)call)->over, memory_order_acquire)
		       ? &call->result
		       : NULL;
}

MESH_EXPORT void mesh_grpc_cancel(struct mesh_grpc_call *call)
{
	if (call)
		mesh_call_cancel(call->transport);
}

static void set_paused(struct mesh_grpc_call *call, bool paused)
{
	struct mesh_worker *worker = call->transport->worker;

	call->in.paused = paused;
	if (paused)
		mesh_call_pause(call->transport);
	else if (atomic_load(&worker->ending)) /* its loop is gone: what waits comes now, or never */
		mesh_grpc_resumed(&call->go_on);
	else
		mesh_loop_defer(worker->env.loop, &call->go_on);
}

MESH_EXPORT void mesh_grpc_pause(struct mesh_grpc_call *call)
{
	if (call && !call->done_told && !call->in.paused && !call->in.single)
		set_paused(call, true);
}

MESH_EXPORT void mesh_grpc_resume(struct mesh_grpc_call *call)
{
	if (call && !call->done_told && call->in.paused)
		set_paused(call, false);
}

/* What was received ahead of the messages; a response of trailers alone has none. */
static const struct headers *initial_fields(const struct mesh_grpc_call *call)
{
	const struct mesh_call *transport = call->transport;
	const struct headers *fields = transport->received_head ? mesh_call_received(transport) : NULL;

	if (fields && !call->server && mesh_headers_get(fields, MESH_SLICE("grpc-status")).data)
		return NULL;
	return fields;
}

MESH_EXPORT struct mesh_header mesh_grpc_metadata_at(struct mesh_grpc_call *call, size_t index)
{
	const struct headers *fields = call ? initial_fields(call) : NULL;
	static const struct mesh_header none;

	if (fields && call->decoded != fields->items) { /* once: it stays as long as the call */
		struct headers pairs = {0};

		if (mesh_grpc_metadata_decode(call->arena, fields, &pairs))
			return none;
		call->pairs = pairs;
		call->decoded = fields->items;
	}
	return fields && index < call->pairs.count ? call->pairs.items[index] : none;
}

MESH_EXPORT struct mesh_slice mesh_grpc_metadata(struct mesh_grpc_call *call, const char *name)
{
	const struct headers *fields = call && name ? initial_fields(call) : NULL;
	struct headers some = {0}, pairs = {0};

	for (size_t i = 0; fields && i < fields->count; i++) {
		if (!mesh_slice_equal_fold(fields->items[i].name, mesh_slice_of(name)))
			continue;
		some.items = &fields->items[i];
		some.count = 1;
		if (mesh_grpc_metadata_decode(call->arena, &some, &pairs))
			break;
		if (pairs.count)
			return pairs.items[0].value;
	}
	return (struct mesh_slice){NULL, 0};
}

MESH_EXPORT struct mesh_slice mesh_grpc_path(const struct mesh_grpc_call *call)
{
	return call ? call->path : (struct mesh_slice){NULL, 0};
}

MESH_EXPORT struct mesh_call *mesh_grpc_transport(const struct mesh_grpc_call *call)
{
	return call ? call->transport : NULL;
}

/* ---- waiting ---- */

static int64_t remaining_ms(uint64_t until_ns)
{
	uint64_t now = mesh_time_now_ns();

	return now >= until_ns ? 0 : (int64_t)((until_ns - now + 999999) / 1000000);
}

int mesh_grpc_drive(struct mesh_grpc_call *call, int64_t timeout_ms, bool (*there)(const struct mesh_grpc_call *call))
{
	struct mesh_worker *worker = call->transport->worker;
	uint64_t until = timeout_ms > 0 ? mesh_time_now_ns() + (uint64_t)timeout_ms * 1000000 : 0;

	if (there(call))
		return 0;
	if (worker->kind == WORKER_LIBRARY || mesh_loop_running(worker->env.loop))
		return MESH_ERROR_THREAD;
	atomic_store_explicit(&worker->driver, pthread_self(), memory_order_relaxed);
	while (!there(call)) {
		int64_t left = timeout_ms < 0 ? -1 : timeout_ms == 0 ? 0 : remaining_ms(until);
		int rc = mesh_loop_run(worker->env.loop, left > INT32_MAX ? INT32_MAX : (int)left);

		if (rc < 0)
			return rc;
		if (left == 0 && !there(call))
			return MESH_ERROR_AGAIN;
	}
	return 0;
}

static bool is_over(const struct mesh_grpc_call *call)
{
	return atomic_load_explicit(&((struct mesh_grpc_call *)call)->over, memory_order_acquire);
}

MESH_EXPORT int mesh_grpc_wait(struct mesh_grpc_call *call, int64_t timeout_ms)
{
	int rc;

	if (!call)
		return MESH_ERROR_INVALID;
	if (is_over(call))
		return call->result.code;
	if (call->transport->worker->kind == WORKER_LIBRARY) {
		rc = mesh_call_wait(call->transport, timeout_ms); /* how it ended is in the code */
		if (is_over(call))
			return call->result.code;
		return rc == MESH_ERROR_THREAD ? rc : MESH_ERROR_AGAIN;
	}
	rc = mesh_grpc_drive(call, timeout_ms, is_over);
	return rc ? rc : call->result.code;
}

MESH_EXPORT int mesh_grpc_wait_writable(struct mesh_grpc_call *call, int64_t timeout_ms)
{
	return call ? mesh_call_wait_writable(call->transport, timeout_ms) : MESH_ERROR_INVALID;
}
