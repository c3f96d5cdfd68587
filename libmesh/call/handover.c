/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The only way other threads reach a call of a library worker. Decides how much may be on its way and keeps in order what
 * finds no room. Refuses to touch the call itself: its worker does.
 */
#include "call/handover.h"

#include <errno.h>
#include <time.h>

/* Posted and not carried out: as in the protocol, what is there counts, not what comes. */
static const size_t handed_bytes_max = 256 * 1024;

struct post {
	struct loop_mail mail;
	size_t bytes; /* it holds */
	struct mesh_call *call;
	struct handover what;
	struct arena arena; /* copies of what the caller lent */
};

/* False: there is no room, it has to come again. */
static bool carry_out(struct mesh_call *call, const struct handover *what)
{
	int rc = 0;

	if (atomic_load_explicit(&call->over, memory_order_relaxed))
		return true;
	switch (what->kind) {
	case HANDOVER_BEGIN:
		mesh_call_attach(call);
		mesh_client_begin(call);
		return true;
	case HANDOVER_SEND:
		rc = call->server ? mesh_serve_send(call, what->data, what->end) : mesh_client_send(call, what->data, what->end);
		break;
	case HANDOVER_TRAILERS:
		rc = call->server ? mesh_serve_send_trailers(call, what->headers, what->header_count)
				  : mesh_client_send_trailers(call, what->headers, what->header_count);
		break;
	case HANDOVER_RESPOND:
		rc = mesh_serve_respond(call, what->status, what->headers, what->header_count, what->data, what->end);
		break;
	case HANDOVER_INFORM:
		rc = mesh_serve_inform(call, what->status, what->headers, what->header_count);
		break;
	}
	if (rc == MESH_ERROR_AGAIN && !atomic_load_explicit(&call->over, memory_order_relaxed))
		return false;
	/* the caller is gone: what cannot be carried out must not be lost silently */
	if (rc)
		mesh_call_finish(call, rc, "handed over from another thread");
	return true;
}

static bool has_room(struct mesh_call *call)
{
	return atomic_load(&call->over) || atomic_load(&call->handed.bytes) <= handed_bytes_max;
}

static void post_free(struct post *post)
{
	struct mesh_call *call = post->call;
	size_t before = atomic_fetch_sub(&call->handed.bytes, post->bytes);

	if (before > handed_bytes_max && before - post->bytes <= handed_bytes_max)
		mesh_notify(call->mesh);
	mesh_arena_free(&post->arena);
	mesh_mem_free(&call->mesh->mem, post);
}

static void tell_room(struct mesh_call *call)
{
	if (call->handed.first || atomic_load(&call->over) || !has_room(call) ||
	    !atomic_exchange(&call->handed.again, false))
		return;
	if (call->events.writable)
		call->events.writable(call, call->user);
}

/* Behind what waits already. Without a reference: the end of the call empties the queue before the worker's own goes. */
static void enqueue(struct mesh_call *call, struct post *post)
{
	post->mail.next = NULL;
	if (call->handed.first)
		call->handed.last->next = &post->mail;
	else
		call->handed.first = &post->mail;
	call->handed.last = &post->mail;
}

static void put_back(struct mesh_call *call, struct post *post)
{
	post->mail.next = call->handed.first;
	if (!call->handed.first)
		call->handed.last = &post->mail;
	call->handed.first = &post->mail;
}

bool mesh_handover_first(struct mesh_call *call)
{
	if (!call->handed.first)
		return false;
	atomic_store(&call->handed.again, true);
	return true;
}

void mesh_handover_empty(struct mesh_call *call)
{
	while (call->handed.first) {
		struct post *post = MESH_CONTAINER(call->handed.first, struct post, mail);

		call->handed.first = post->mail.next;
		post_free(post);
	}
}

static void given_up(struct mesh_call *call)
{
	if (call->server)
		mesh_serve_released(call);
	else
		mesh_call_finish(call, MESH_ERROR_CANCELLED, "released by the application");
}

/* Something from another thread was carried out, and its reference goes. */
static void carried_out(struct mesh_call *call)
{
	/* the application gave its reference back while this was on its way: what that means is decided here */
	if (!atomic_load(&call->over) && atomic_load(&call->refs) == 2)
		given_up(call);
	mesh_call_drop(call);
}

bool mesh_handover_go_on(struct mesh_call *call)
{
	bool full = false, outer;

	if (!call->handed.first)
		return false;
	if (call->handed.going_on) /* what is being carried out made room: the loop below sees to it */
		return true;
	outer = call->in_api;
	call->in_api = true; /* `done` waits: whoever tells of room still needs the call */
	call->handed.going_on = true;
	atomic_fetch_add_explicit(&call->refs, 1, memory_order_relaxed);
	while (call->handed.first && !full) {
		struct post *post = MESH_CONTAINER(call->handed.first, struct post, mail);

		call->handed.first = post->mail.next;
		full = !carry_out(call, &post->what);
		if (full)
			put_back(call, post);
		else
			post_free(post);
	}
	call->handed.going_on = false;
	carried_out(call);
	call->in_api = outer;
	tell_room(call);
	return true;
}

static void post_run(struct loop_mail *mail)
{
	struct post *post = MESH_CONTAINER(mail, struct post, mail);
	struct mesh_call *call = post->call;

	if (call->handed.first || !carry_out(call, &post->what)) {
		enqueue(call, post);
	} else {
		post_free(post);
		tell_room(call);
	}
	carried_out(call);
}

static bool copy(struct post *post, const struct handover *what)
{
	struct mesh_header *headers;
	bool failed = false;

	post->what = *what;
	post->what.data = mesh_arena_slice(&post->arena, what->data, &failed);
	headers = mesh_arena_array(&post->arena, what->header_count + 1, sizeof(*headers));
	if (!headers || failed)
		return false;
	for (size_t i = 0; i < what->header_count; i++) {
		headers[i].name = mesh_arena_slice(&post->arena, what->headers[i].name, &failed);
		headers[i].value = mesh_arena_slice(&post->arena, what->headers[i].value, &failed);
	}
	post->what.headers = headers;
	return !failed;
}

/* Counts it in unless there is too much already. */
static bool admit(struct mesh_call *call, size_t bytes)
{
	size_t before = atomic_load(&call->handed.bytes);

	do
		if (before > handed_bytes_max)
			return false;
	while (!atomic_compare_exchange_weak(&call->handed.bytes, &before, before + bytes));
	return true;
}

static size_t weight(const struct handover *what)
{
	size_t bytes = sizeof(struct post) + what->data.len;

	for (size_t i = 0; i < what->header_count; i++)
		bytes += sizeof(struct mesh_header) + what->headers[i].name.len + what->headers[i].value.len;
	return bytes;
}

int mesh_handover_post(struct mesh_call *call, const struct handover *what)
{
	const struct mesh_mem *mem = &call->mesh->mem;
	size_t bytes = weight(what);
	struct post *post;

	if (!admit(call, bytes)) {
		/* said before looking again: either the worker sees it, or there is room now */
		atomic_store(&call->handed.again, true);
		if (!admit(call, bytes))
			return MESH_ERROR_AGAIN;
	}
	post = mesh_mem_zalloc(mem, sizeof(*post));
	if (!post) {
		atomic_fetch_sub(&call->handed.bytes, bytes);
		return MESH_ERROR_NOMEM;
	}
	post->call = call;
	post->bytes = bytes;
	mesh_arena_init(&post->arena, mem, 0);
	if (!copy(post, what)) {
		post_free(post);
		return MESH_ERROR_NOMEM;
	}
	post->mail.run = post_run;
	atomic_fetch_add_explicit(&call->refs, 1, memory_order_relaxed);
	mesh_loop_post(call->worker->env.loop, &post->mail);
	return 0;
}

static void control_run(struct loop_mail *mail)
{
	struct mesh_call *call = MESH_CONTAINER(mail, struct mesh_call, control_mail);
	unsigned control = atomic_exchange(&call->control, 0); /* from here on it may be posted again */

	if (!atomic_load_explicit(&call->over, memory_order_relaxed)) {
		if (control & HANDOVER_CANCEL)
			mesh_call_finish(call, MESH_ERROR_CANCELLED, "cancelled by the application");
		else
			mesh_call_set_paused(call, control & HANDOVER_PAUSE);
	}
	carried_out(call);
}

void mesh_handover_control(struct mesh_call *call, enum handover_control what)
{
	unsigned before = atomic_load(&call->control);

	while (!atomic_compare_exchange_weak(&call->control, &before,
					     what == HANDOVER_CANCEL ? before | what : (before & HANDOVER_CANCEL) | what))
		;
	if (before) /* on its way already */
		return;
	call->control_mail.run = control_run;
	atomic_fetch_add_explicit(&call->refs, 1, memory_order_relaxed);
	mesh_loop_post(call->worker->env.loop, &call->control_mail);
}

static void release_run(struct loop_mail *mail)
{
	struct mesh_call *call = MESH_CONTAINER(mail, struct mesh_call, release_mail);

	given_up(call);
	mesh_call_drop(call);
}

void mesh_handover_release(struct mesh_call *call)
{
	call->release_mail.run = release_run;
	mesh_loop_post(call->worker->env.loop, &call->release_mail);
}

static bool is_told(struct mesh_call *call)
{
	return atomic_load_explicit(&call->told, memory_order_acquire);
}

static bool wait_until(struct mesh_call *call, int64_t timeout_ms, bool (*there)(struct mesh_call *call))
{
	struct mesh *mesh = call->mesh;
	struct timespec until;
	int rc = 0;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += timeout_ms / 1000;
	until.tv_nsec += (long)(timeout_ms % 1000) * 1000000;
	if (until.tv_nsec >= 1000000000) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000;
	}
	atomic_fetch_add(&mesh->waiting, 1);
	pthread_mutex_lock(&mesh->shared.lock);
	while (!there(call) && rc != ETIMEDOUT)
		rc = timeout_ms < 0 ? pthread_cond_wait(&mesh->shared.changed, &mesh->shared.lock)
				    : pthread_cond_timedwait(&mesh->shared.changed, &mesh->shared.lock, &until);
	pthread_mutex_unlock(&mesh->shared.lock);
	atomic_fetch_sub(&mesh->waiting, 1);
	return there(call);
}

int mesh_handover_wait(struct mesh_call *call, int64_t timeout_ms)
{
	return wait_until(call, timeout_ms, is_told) ? call->result.status : MESH_ERROR_AGAIN;
}

int mesh_handover_wait_room(struct mesh_call *call, int64_t timeout_ms)
{
	return wait_until(call, timeout_ms, has_room) ? 0 : MESH_ERROR_TIMEOUT;
}
