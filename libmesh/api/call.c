/* SPDX-License-Identifier: Apache-2.0 */
/* <mesh/call.h>: checks arguments, finds the right thread, hands on. Decides nothing of what a call does. */
#include <mesh/call.h>

#include "call/call.h"
#include "call/handover.h"

static bool elsewhere(const struct mesh_call *call)
{
	return call->worker->kind == WORKER_LIBRARY && !mesh_worker_here(call->worker);
}

static int over_error(const struct mesh_call *call)
{
	return call->result.status < 0 ? call->result.status : MESH_ERROR_STATE;
}

static int hand_over(struct mesh_call *call, const struct handover *what)
{
	return atomic_load(&call->over) ? over_error(call) : mesh_handover_post(call, what);
}

MESH_EXPORT int mesh_call_send(struct mesh_call *call, struct mesh_slice data, bool end)
{
	struct handover what = {.kind = HANDOVER_SEND, .data = data, .end = end};
	bool outer;
	int rc;

	if (!call || (data.len && !data.data))
		return MESH_ERROR_INVALID;
	if (elsewhere(call))
		return hand_over(call, &what);
	if (atomic_load(&call->over))
		return over_error(call);
	if (mesh_handover_first(call))
		return MESH_ERROR_AGAIN;
	outer = call->in_api;
	call->in_api = true;
	rc = call->server ? mesh_serve_send(call, data, end) : mesh_client_send(call, data, end);
	call->in_api = outer;
	if (rc == MESH_ERROR_AGAIN) /* what another thread hands over now goes first, and must not take `writable` away */
		atomic_store_explicit(&call->handed.again, true, memory_order_relaxed);
	return rc;
}

MESH_EXPORT int mesh_call_send_trailers(struct mesh_call *call, const struct mesh_header *trailers, size_t count)
{
	struct handover what = {.kind = HANDOVER_TRAILERS, .headers = trailers, .header_count = count};
	bool outer;
	int rc;

	if (!call || (count && !trailers))
		return MESH_ERROR_INVALID;
	for (size_t i = 0; i < count; i++)
		if (!mesh_header_name_valid(trailers[i].name) || !mesh_header_value_valid(trailers[i].value))
			return MESH_ERROR_INVALID;
	if (elsewhere(call))
		return hand_over(call, &what);
	if (atomic_load(&call->over))
		return over_error(call);
	if (mesh_handover_first(call))
		return MESH_ERROR_AGAIN;
	outer = call->in_api;
	call->in_api = true;
	rc = call->server ? mesh_serve_send_trailers(call, trailers, count) : mesh_client_send_trailers(call, trailers, count);
	call->in_api = outer;
	return rc;
}

MESH_EXPORT int mesh_call_respond(struct mesh_call *call, int status, const struct mesh_header *headers, size_t count,
				  struct mesh_slice body, bool end)
{
	struct handover what = {.kind = HANDOVER_RESPOND, .status = status, .headers = headers, .header_count = count,
				.data = body, .end = end};
	bool outer;
	int rc;

	if (!call || !call->server || (count && !headers) || (body.len && !body.data))
		return MESH_ERROR_INVALID;
	if (elsewhere(call))
		return hand_over(call, &what);
	if (atomic_load(&call->over))
		return over_error(call);
	outer = call->in_api;
	call->in_api = true;
	rc = mesh_serve_respond(call, status, headers, count, body, end);
	call->in_api = outer;
	return rc;
}

MESH_EXPORT int mesh_call_inform(struct mesh_call *call, int status, const struct mesh_header *headers, size_t count)
{
	struct handover what = {.kind = HANDOVER_INFORM, .status = status, .headers = headers, .header_count = count};
	bool outer;
	int rc;

	if (!call || !call->server || (count && !headers))
		return MESH_ERROR_INVALID;
	if (elsewhere(call))
		return hand_over(call, &what);
	if (atomic_load(&call->over))
		return over_error(call);
	outer = call->in_api;
	call->in_api = true;
	rc = mesh_serve_inform(call, status, headers, count);
	call->in_api = outer;
	return rc;
}

MESH_EXPORT int mesh_call_on(struct mesh_call *call, const struct mesh_call_events *events, void *user)
{
	if (!call || !call->server || !events)
		return MESH_ERROR_INVALID;
	if (call->serve.registered || atomic_load(&call->over))
		return MESH_ERROR_STATE;
	mesh_call_set_events(call, events, user);
	call->serve.registered = true;
	return 0;
}

static int64_t remaining_ms(uint64_t until_ns)
{
	uint64_t now = mesh_time_now_ns();

	return now >= until_ns ? 0 : (int64_t)((until_ns - now + 999999) / 1000000);
}

/* Drives the call's worker until `there` says so. AGAIN when the time is up. */
static int drive(struct mesh_call *call, int64_t timeout_ms, bool (*there)(const struct mesh_call *call))
{
	struct loop *loop = call->worker->env.loop;
	uint64_t until = timeout_ms > 0 ? mesh_time_now_ns() + (uint64_t)timeout_ms * 1000000 : 0;

	if (mesh_loop_running(loop))
		return MESH_ERROR_THREAD;
	atomic_store_explicit(&call->worker->driver, pthread_self(), memory_order_relaxed);
	while (!there(call)) {
		int64_t left = timeout_ms < 0 ? -1 : timeout_ms == 0 ? 0 : remaining_ms(until);
		int rc = mesh_loop_run(loop, left > INT32_MAX ? INT32_MAX : (int)left);

		if (rc < 0)
			return rc;
		if (left == 0 && !there(call))
			return MESH_ERROR_AGAIN;
	}
	return 0;
}

static bool is_told(const struct mesh_call *call)
{
	return atomic_load_explicit(&((struct mesh_call *)call)->told, memory_order_acquire);
}

MESH_EXPORT int mesh_call_wait(struct mesh_call *call, int64_t timeout_ms)
{
	int rc;

	if (!call)
		return MESH_ERROR_INVALID;
	if (is_told(call))
		return call->result.status;
	if (call->worker->kind == WORKER_LIBRARY)
		return mesh_worker_here(call->worker) ? MESH_ERROR_THREAD : mesh_handover_wait(call, timeout_ms);
	rc = drive(call, timeout_ms, is_told);
	return rc ? rc : call->result.status;
}

static bool has_room(const struct mesh_call *call)
{
	return is_told(call) || (call->server ? !call->serve.exchange.wants_writable : !call->client.wants_room);
}

MESH_EXPORT int mesh_call_wait_writable(struct mesh_call *call, int64_t timeout_ms)
{
	int rc;

	if (!call)
		return MESH_ERROR_INVALID;
	if (call->worker->kind == WORKER_LIBRARY) {
		if (mesh_worker_here(call->worker))
			return MESH_ERROR_THREAD;
		rc = mesh_handover_wait_room(call, timeout_ms);
		return rc ? rc : atomic_load(&call->over) ? over_error(call) : 0;
	}
	if (is_told(call)) /* its worker may have ended with it */
		return over_error(call);
	rc = drive(call, timeout_ms, has_room);
	if (rc == MESH_ERROR_AGAIN)
		return MESH_ERROR_TIMEOUT;
	return rc ? rc : is_told(call) ? over_error(call) : 0;
}

MESH_EXPORT void mesh_call_cancel(struct mesh_call *call)
{
	bool outer;

	if (!call || is_told(call))
		return;
	if (elsewhere(call)) {
		mesh_handover_control(call, HANDOVER_CANCEL);
		return;
	}
	outer = call->in_api;
	call->in_api = true;
	mesh_call_finish(call, MESH_ERROR_CANCELLED, "cancelled by the application");
	call->in_api = outer;
}

static void set_paused(struct mesh_call *call, bool paused)
{
	if (!call || is_told(call))
		return;
	if (elsewhere(call))
		mesh_handover_control(call, paused ? HANDOVER_PAUSE : HANDOVER_RESUME);
	else
		mesh_call_set_paused(call, paused);
}

MESH_EXPORT void mesh_call_pause(struct mesh_call *call)
{
	set_paused(call, true);
}

MESH_EXPORT void mesh_call_resume(struct mesh_call *call)
{
	set_paused(call, false);
}

MESH_EXPORT const struct mesh_result *mesh_call_result(const struct mesh_call *call)
{
	return call && atomic_load_explicit(&((struct mesh_call *)call)->over, memory_order_acquire) ? &call->result : NULL;
}

MESH_EXPORT const struct mesh_peer *mesh_call_peer(const struct mesh_call *call)
{
	return call && call->has_peer ? &call->peer : NULL;
}

static struct mesh_header header_at(const struct headers *headers, size_t index)
{
	static const struct mesh_header none;

	return headers && index < headers->count ? headers->items[index] : none;
}

static struct mesh_slice header_named(const struct headers *headers, const char *name)
{
	static const struct mesh_slice none;

	return headers && name ? mesh_headers_get(headers, mesh_slice_of(name)) : none;
}

MESH_EXPORT struct mesh_slice mesh_call_header(const struct mesh_call *call, const char *name)
{
	return header_named(call && call->received_head ? mesh_call_received(call) : NULL, name);
}

MESH_EXPORT struct mesh_header mesh_call_header_at(const struct mesh_call *call, size_t index)
{
	return header_at(call && call->received_head ? mesh_call_received(call) : NULL, index);
}

MESH_EXPORT struct mesh_slice mesh_call_trailer(const struct mesh_call *call, const char *name)
{
	return header_named(call ? call->trailers : NULL, name);
}

MESH_EXPORT struct mesh_header mesh_call_trailer_at(const struct mesh_call *call, size_t index)
{
	return header_at(call ? call->trailers : NULL, index);
}

MESH_EXPORT int mesh_call_http_status(const struct mesh_call *call)
{
	return call && !call->server && call->received_head ? call->response.status : 0;
}

MESH_EXPORT struct mesh_slice mesh_call_body(const struct mesh_call *call)
{
	return call ? mesh_buf_slice(&call->body) : (struct mesh_slice){NULL, 0};
}

MESH_EXPORT struct mesh_slice mesh_call_method(const struct mesh_call *call)
{
	return call ? call->request.method : (struct mesh_slice){NULL, 0};
}

MESH_EXPORT struct mesh_slice mesh_call_authority(const struct mesh_call *call)
{
	return call ? call->request.authority : (struct mesh_slice){NULL, 0};
}

MESH_EXPORT struct mesh_slice mesh_call_path(const struct mesh_call *call)
{
	return call ? call->request.path : (struct mesh_slice){NULL, 0};
}

MESH_EXPORT struct mesh_slice mesh_call_upgrade(const struct mesh_call *call)
{
	return call && call->server ? call->request.upgrade : (struct mesh_slice){NULL, 0};
}

MESH_EXPORT struct mesh_call *mesh_call_retain(struct mesh_call *call)
{
	if (call)
		atomic_fetch_add_explicit(&call->refs, 1, memory_order_relaxed);
	return call;
}

MESH_EXPORT void mesh_call_release(struct mesh_call *call)
{
	unsigned refs;

	if (!call)
		return;
	refs = atomic_load_explicit(&call->refs, memory_order_acquire);
	/* the last but the worker's own: the call is given up with it, on the worker's thread */
	while (refs > 2 || (refs == 2 && is_told(call)))
		if (atomic_compare_exchange_weak(&call->refs, &refs, refs - 1))
			return;
	if (refs == 2 && !is_told(call) && elsewhere(call)) {
		mesh_handover_release(call);
		return;
	}
	if (refs == 2 && !call->server)
		mesh_call_cancel(call);
	else if (refs == 2)
		mesh_serve_released(call);
	mesh_call_drop(call);
}
