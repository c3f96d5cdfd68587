/* SPDX-License-Identifier: Apache-2.0 */
/* <mesh/stream.h>: checks arguments, finds the right thread, drives the worker for who blocks. Decides nothing of a stream. */
#include <mesh/stream.h>

#include <limits.h>
#include <poll.h>

#include "call/stream.h"

#define FIELD_END(type, field) (offsetof(type, field) + sizeof(((type *)0)->field))

static bool elsewhere(const struct mesh_stream *stream)
{
	return stream->worker->kind == WORKER_LIBRARY && !mesh_worker_here(stream->worker);
}

static bool is_over(const struct mesh_stream *stream)
{
	return atomic_load_explicit(&((struct mesh_stream *)stream)->over, memory_order_acquire);
}

static int own_error(const struct mesh_stream *stream)
{
	return stream->result.status < 0 ? stream->result.status : MESH_ERROR_CLOSED;
}

/* 0: it runs and this thread may use it. */
static int check_use(const struct mesh_stream *stream)
{
	if (!stream)
		return MESH_ERROR_INVALID;
	if (elsewhere(stream))
		return MESH_ERROR_THREAD;
	return is_over(stream) ? own_error(stream) : 0;
}

static void copy_events(struct mesh_stream *stream, const struct mesh_stream_events *events, void *user)
{
	size_t size = events ? events->size : 0;

	memset(&stream->events, 0, sizeof(stream->events));
	if (size)
		memcpy(&stream->events, events, size < sizeof(stream->events) ? size : sizeof(stream->events));
	stream->user = user;
}

/* ---- opening */

static int copy_options(struct mesh_stream *stream, const struct mesh_stream_options *options)
{
	struct stream_client *client = &stream->client;
	bool failed = false;

	client->target = mesh_arena_slice(&stream->arena, options->target, &failed);
	client->server_name = mesh_arena_slice(&stream->arena, options->server_name, &failed);
	client->server_first = options->server_first;
	client->limit_ns = (uint64_t)options->connect_timeout_ms * 1000000;
	if (failed)
		return MESH_ERROR_NOMEM;
	return mesh_stream_target_split(client->target, &client->host, &client->port) ? 0 : MESH_ERROR_INVALID;
}

static void begin_mail(struct loop_mail *mail)
{
	struct mesh_stream *stream = MESH_CONTAINER(mail, struct mesh_stream, begin_mail);

	stream->begin_posted = false;
	mesh_stream_attach(stream);
	if (atomic_load(&stream->worker->ending))
		mesh_stream_finish(stream, MESH_ERROR_CANCELLED, "its worker ended");
	else
		mesh_stream_begin(stream);
}

static int dial(struct mesh_worker *worker, const struct mesh_stream_options *options,
		const struct mesh_stream_events *events, void *user, struct mesh_stream **result)
{
	struct mesh_stream *stream = mesh_stream_new(worker, false);
	int rc;

	if (!stream)
		return MESH_ERROR_NOMEM;
	rc = copy_options(stream, options);
	if (rc) {
		mesh_stream_undo(stream);
		return rc;
	}
	copy_events(stream, events, user);
	*result = stream;
	if (elsewhere(stream)) {
		stream->begin_mail.run = begin_mail;
		stream->begin_posted = true;
		mesh_loop_post(worker->env.loop, &stream->begin_mail);
		return 0;
	}
	mesh_stream_attach(stream);
	mesh_stream_begin(stream);
	return 0;
}

static bool text_sound(struct mesh_slice text)
{
	for (size_t i = 0; i < text.len; i++)
		if (text.data[i] <= ' ' || text.data[i] > '~')
			return false;
	return text.len <= 512;
}

MESH_EXPORT int mesh_stream_dial(struct mesh *mesh, const struct mesh_stream_options *options,
				 const struct mesh_stream_events *events, void *user, struct mesh_stream **stream)
{
	struct mesh_stream_options all = {0};
	int rc;

	if (!mesh || !stream)
		return MESH_ERROR_INVALID;
	*stream = NULL;
	if (!options || options->size < FIELD_END(struct mesh_stream_options, target))
		return MESH_ERROR_INVALID;
	memcpy(&all, options, options->size < sizeof(all) ? options->size : sizeof(all));
	if (!all.target.len || !text_sound(all.target) || !text_sound(all.server_name))
		return MESH_ERROR_INVALID;
	if (atomic_load_explicit(&mesh->draining, memory_order_relaxed))
		return MESH_ERROR_DRAINING;
	if (!all.worker) {
		rc = mesh_worker_implicit(mesh, &all.worker);
		if (rc)
			return rc;
	}
	if (atomic_load(&all.worker->ending))
		return MESH_ERROR_DRAINING;
	return dial(all.worker, &all, events, user, stream);
}

MESH_EXPORT int mesh_stream_on(struct mesh_stream *stream, const struct mesh_stream_events *events, void *user)
{
	int rc = check_use(stream);

	if (rc || !events || !events->size)
		return rc ? rc : MESH_ERROR_INVALID;
	copy_events(stream, events, user);
	if (stream->state == STREAM_OPEN) { /* something may have come before anybody wanted to be told */
		stream->due |= STREAM_TELL_READABLE;
		mesh_loop_defer(stream->worker->env.loop, &stream->tell);
	}
	return 0;
}

/* ---- reading and writing */

/*
 * A worker that nobody drives just now gets its turn, so that polling and trying again makes way. CLOSED: a callback closed
 * the stream, and it is gone.
 */
static int nudge(struct mesh_stream *stream)
{
	struct mesh_worker *worker = stream->worker;
	bool closed;

	if (stream->state == STREAM_OPEN || stream->state == STREAM_OVER || worker->kind == WORKER_LIBRARY ||
	    mesh_loop_running(worker->env.loop))
		return 0;
	atomic_store_explicit(&worker->driver, pthread_self(), memory_order_relaxed);
	stream->telling++;
	mesh_loop_run(worker->env.loop, 0);
	stream->telling--;
	closed = stream->closed;
	mesh_stream_settle(stream);
	return closed ? MESH_ERROR_CLOSED : 0;
}

MESH_EXPORT int64_t mesh_stream_read(struct mesh_stream *stream, void *buffer, size_t bytes)
{
	int rc = check_use(stream);

	if (rc || !buffer || !bytes || bytes > SSIZE_MAX)
		return rc ? rc : MESH_ERROR_INVALID;
	rc = nudge(stream);
	if (rc)
		return rc;
	if (stream->state == STREAM_OPEN)
		return mesh_stream_take(stream, buffer, bytes);
	return is_over(stream) ? own_error(stream) : MESH_ERROR_AGAIN;
}

MESH_EXPORT int64_t mesh_stream_write(struct mesh_stream *stream, struct mesh_slice data)
{
	int rc = check_use(stream);

	if (rc || (data.len && !data.data) || data.len > SSIZE_MAX)
		return rc ? rc : MESH_ERROR_INVALID;
	if (stream->ended)
		return MESH_ERROR_STATE;
	if (!data.len)
		return 0;
	rc = nudge(stream);
	if (rc)
		return rc;
	switch (stream->state) {
	case STREAM_WAITING:
		return mesh_stream_first(stream, data);
	case STREAM_OPENING:
		stream->refused_write = true;
		return MESH_ERROR_AGAIN;
	case STREAM_OPEN:
		return mesh_stream_give(stream, data);
	case STREAM_OVER:
		break;
	}
	return own_error(stream);
}

MESH_EXPORT int mesh_stream_shutdown(struct mesh_stream *stream)
{
	int rc = check_use(stream);

	if (rc)
		return rc;
	if (stream->ended)
		return 0;
	if (stream->write_pending)
		return MESH_ERROR_STATE;
	rc = nudge(stream);
	if (rc)
		return rc;
	switch (stream->state) {
	case STREAM_WAITING:
		mesh_stream_finish(stream, MESH_ERROR_CLOSED, "ended before it showed what it speaks");
		break;
	case STREAM_OPENING:
		stream->refused_write = true;
		return MESH_ERROR_AGAIN;
	case STREAM_OPEN:
		return mesh_stream_end(stream);
	case STREAM_OVER:
		break;
	}
	return own_error(stream);
}

static void close_mail(struct loop_mail *mail)
{
	mesh_stream_release_sent(MESH_CONTAINER(mail, struct mesh_stream, close_mail));
}

MESH_EXPORT void mesh_stream_close(struct mesh_stream *stream)
{
	if (!stream)
		return;
	if ((elsewhere(stream) && !atomic_load(&stream->worker->ending)) || stream->begin_posted) {
		stream->close_mail.run = close_mail;
		mesh_loop_post(stream->worker->env.loop, &stream->close_mail);
		return;
	}
	mesh_stream_release(stream);
}

/* ---- waiting */

MESH_EXPORT int mesh_stream_fd(struct mesh_stream *stream)
{
	int rc = check_use(stream);

	if (rc)
		return rc;
	if (stream->state == STREAM_OPEN)
		return stream->transport->fd;
	return stream->worker->kind == WORKER_LIBRARY ? MESH_ERROR_THREAD : mesh_loop_fd(stream->worker->env.loop);
}

MESH_EXPORT int mesh_stream_wants(const struct mesh_stream *stream)
{
	unsigned wants;

	if (!stream || is_over(stream))
		return 0;
	if (stream->state != STREAM_OPEN)
		return POLLIN;
	wants = stream->read_wants | stream->write_wants;
	return (wants & LOOP_READ ? POLLIN : 0) | (wants & LOOP_WRITE ? POLLOUT : 0);
}

static int holding(const struct mesh_stream *stream, int what)
{
	int holds = 0;

	if (stream->state == STREAM_WAITING)
		holds = MESH_STREAM_WRITABLE;
	else if (stream->state == STREAM_OPEN)
		holds = MESH_STREAM_OPENED | (stream->read_wants ? 0 : MESH_STREAM_READABLE) |
			(stream->write_wants ? 0 : MESH_STREAM_WRITABLE);
	return holds & what;
}

static int64_t remaining_ms(uint64_t until_ns)
{
	uint64_t now = mesh_time_now_ns();

	return now >= until_ns ? 0 : (int64_t)((until_ns - now + 999999) / 1000000);
}

static int drive(struct mesh_stream *stream, int what, int64_t timeout_ms)
{
	uint64_t until = timeout_ms > 0 ? mesh_time_now_ns() + (uint64_t)timeout_ms * 1000000 : 0;
	int holds, rc;

	while (!(holds = holding(stream, what)) && !is_over(stream) && !stream->closed) {
		int64_t left = timeout_ms < 0 ? -1 : timeout_ms == 0 ? 0 : remaining_ms(until);

		mesh_stream_arm(stream);
		rc = mesh_loop_run(stream->worker->env.loop, left > INT32_MAX ? INT32_MAX : (int)left);
		if (rc < 0)
			return rc;
		if (!left && !holding(stream, what) && !is_over(stream) && !stream->closed)
			return MESH_ERROR_AGAIN;
	}
	return is_over(stream) || stream->closed ? own_error(stream) : holds;
}

MESH_EXPORT int mesh_stream_wait(struct mesh_stream *stream, enum mesh_stream_ready what, int64_t timeout_ms)
{
	static const unsigned all = MESH_STREAM_READABLE | MESH_STREAM_WRITABLE | MESH_STREAM_OPENED;
	int rc;

	if (!stream || !what || (unsigned)what & ~all)
		return MESH_ERROR_INVALID;
	if (is_over(stream))
		return own_error(stream);
	if (stream->worker->kind == WORKER_LIBRARY || mesh_loop_running(stream->worker->env.loop))
		return MESH_ERROR_THREAD;
	atomic_store_explicit(&stream->worker->driver, pthread_self(), memory_order_relaxed);
	stream->waited = true;
	stream->telling++; /* a callback may close it */
	rc = drive(stream, (int)what, timeout_ms);
	stream->telling--;
	stream->waited = false;
	mesh_stream_settle(stream);
	return rc;
}

/* ---- what it is */

MESH_EXPORT const struct mesh_peer *mesh_stream_peer(struct mesh_stream *stream)
{
	return stream && stream->has_peer ? &stream->peer : NULL;
}

MESH_EXPORT const struct mesh_stream_result *mesh_stream_result(struct mesh_stream *stream)
{
	uint64_t until;

	if (!stream)
		return NULL;
	until = is_over(stream) ? stream->ended_ns : mesh_time_now_ns();
	stream->result.duration_us = until > stream->started_ns ? (until - stream->started_ns) / 1000 : 0;
	return &stream->result;
}
