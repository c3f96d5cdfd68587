/* SPDX-License-Identifier: Apache-2.0 */
/* The only way other threads reach a call of a library worker. Refuses to touch the call itself: its worker does. */
#include "call/handover.h"

#include <errno.h>
#include <time.h>

struct post {
	struct loop_mail mail;
	struct mesh_call *call;
	struct handover what;
	struct arena arena; /* copies of what the caller lent */
};

static void carry_out(struct mesh_call *call, const struct handover *what)
{
	int rc = 0;

	if (atomic_load_explicit(&call->over, memory_order_relaxed))
		return;
	switch (what->kind) {
	case HANDOVER_BEGIN:
		mesh_call_attach(call);
		mesh_client_begin(call);
		return;
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
	}
	/* the caller is gone: what cannot be carried out must not be lost silently */
	if (rc)
		mesh_call_finish(call, rc, "handed over from another thread");
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

static void post_run(struct loop_mail *mail)
{
	struct post *post = MESH_CONTAINER(mail, struct post, mail);
	const struct mesh_mem *mem = &post->call->mesh->mem;

	carry_out(post->call, &post->what);
	carried_out(post->call);
	mesh_arena_free(&post->arena);
	mesh_mem_free(mem, post);
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

int mesh_handover_post(struct mesh_call *call, const struct handover *what)
{
	const struct mesh_mem *mem = &call->mesh->mem;
	struct post *post = mesh_mem_zalloc(mem, sizeof(*post));

	if (!post)
		return MESH_ERROR_NOMEM;
	mesh_arena_init(&post->arena, mem, 0);
	if (!copy(post, what)) {
		mesh_arena_free(&post->arena);
		mesh_mem_free(mem, post);
		return MESH_ERROR_NOMEM;
	}
	post->call = call;
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

int mesh_handover_wait(struct mesh_call *call, int64_t timeout_ms)
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
	while (!atomic_load_explicit(&call->told, memory_order_acquire) && rc != ETIMEDOUT)
		rc = timeout_ms < 0 ? pthread_cond_wait(&mesh->shared.changed, &mesh->shared.lock)
				    : pthread_cond_timedwait(&mesh->shared.changed, &mesh->shared.lock, &until);
	pthread_mutex_unlock(&mesh->shared.lock);
	atomic_fetch_sub(&mesh->waiting, 1);
	return atomic_load_explicit(&call->told, memory_order_acquire) ? call->result.status : MESH_ERROR_AGAIN;
}
