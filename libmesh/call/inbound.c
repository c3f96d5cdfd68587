/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides how long an accepted connection lives and who may touch it: accepted, waiting for configuration, carrying
 * requests on its mux, draining, lingering, gone. Refuses to know filter chains (inbound_chain.c), time limits
 * (inbound_timeout.c) and requests (serve.c).
 */
#include "call/inbound.h"

#include <errno.h>
#include <unistd.h>

#include "call/call.h"
#include "call/serve.h"
#include "call/stream.h"
#include "net/sniff.h"

static const unsigned linger_reads_max = 16;
static const uint64_t linger_ns = 1000000000ULL;
static const size_t head_arena_bytes = 256 * 1024;

static void reap(struct loop_task *task)
{
	struct inbound *inbound = MESH_CONTAINER(task, struct inbound, reap);
	struct mesh_listener *listener = inbound->listener;
	struct mesh *mesh = inbound->worker->mesh;
	bool borrowed = listener->borrowed; /* a library worker's may be gone once it is counted down */

	mesh_mux_free(inbound->mux);
	mesh_transport_free(inbound->transport);
	if (inbound->fd >= 0)
		close(inbound->fd);
	mesh_buf_free(&inbound->head);
	mesh_arena_free(&inbound->arena);
	mesh_snapshot_release(inbound->snapshot);
	mesh_mem_free(&mesh->mem, inbound);
	mesh_listener_count(&listener->stats.cx_destroy);
	atomic_fetch_sub_explicit(&listener->connections, 1, memory_order_release);
	atomic_fetch_sub_explicit(&mesh->inbound, 1, memory_order_release);
	mesh_notify(mesh);
	if (borrowed)
		mesh_listener_reap(listener);
}

/* Off the worker; memory goes when nobody is inside any more. */
static void inbound_end(struct inbound *inbound)
{
	struct loop *loop = inbound->worker->env.loop;

	if (inbound->state == INBOUND_DEAD)
		return;
	inbound->state = INBOUND_DEAD;
	mesh_list_remove(&inbound->link);
	mesh_timer_stop(loop, &inbound->timer);
	mesh_loop_undefer(&inbound->flush);
	if (inbound->io.fd >= 0)
		mesh_loop_unwatch(loop, &inbound->io);
	mesh_loop_defer(loop, &inbound->reap);
}

void mesh_inbound_kill(struct inbound *inbound)
{
	struct mesh_stream *stream = inbound->stream;

	if (inbound->state == INBOUND_DEAD)
		return;
	/* calls on it end first, and take their exchanges off the mux; what one is told may end others, so each is looked for anew */
	while (!mesh_list_empty(&inbound->calls))
		mesh_call_finish(MESH_CONTAINER(inbound->calls.next, struct mesh_call, serve.link), MESH_ERROR_CLOSED,
				 "the connection was closed");
	/* HTTP/2 tells of each how it ended, as far as that can be sent at once, and begins none that waits to be read */
	if (inbound->state == INBOUND_OPEN && inbound->http2 && !inbound->in_ready) {
		mesh_mux_abort(inbound->mux, MESH_ERROR_CLOSED, "the connection was closed");
		mesh_mux_flush(inbound->mux);
	}
	inbound->stream = NULL;
	if (stream)
		mesh_stream_cut(stream, MESH_ERROR_CLOSED, "the connection was closed");
	inbound_end(inbound);
}

/*
 * What is visited runs callbacks, and these may end any connection. One that ended is out of the list and points to itself
 * (its memory stays until the round is over): then the walk begins again, and visiting twice does no harm.
 */
void mesh_inbound_each(struct mesh_worker *worker, void (*visit)(struct inbound *inbound, void *user), void *user)
{
	struct link *head = &worker->inbound, *next;

	for (struct link *at = head->next; at != head; at = next) {
		next = at->next;
		visit(MESH_CONTAINER(at, struct inbound, link), user);
		if (next != head && next->next == next)
			next = head->next;
	}
}

static struct exchange *mux_accept(struct mux *mux)
{
	struct inbound *inbound = mux->user;

	/* the request before this one may have ended the connection */
	return inbound->state == INBOUND_OPEN ? mesh_serve_accept(inbound) : NULL;
}

static void mux_dirty(struct mux *mux)
{
	struct inbound *inbound = mux->user;

	if (inbound->state == INBOUND_DEAD) /* its tasks are done */
		return;
	inbound->dirty = true;
	if (!inbound->in_ready)
		mesh_loop_defer(inbound->worker->env.loop, &inbound->flush);
}

static void mux_wants(struct mux *mux)
{
	struct inbound *inbound = mux->user;

	if (inbound->state == INBOUND_OPEN)
		mesh_loop_change(inbound->worker->env.loop, &inbound->io, mesh_mux_wants(mux));
}

static void mux_idle(struct mux *mux)
{
	struct inbound *inbound = mux->user;

	inbound->active_ns = inbound->quiet_ns = mesh_loop_now_ns(inbound->worker->env.loop);
	if (inbound->drain_ns)
		mesh_inbound_wait_until(inbound, mesh_inbound_drained_at_ns(inbound));
}

void mesh_inbound_linger(struct inbound *inbound)
{
	struct loop *loop = inbound->worker->env.loop;
	int rc = inbound->io.fd >= 0 ? mesh_loop_change(loop, &inbound->io, LOOP_READ)
				     : mesh_loop_watch(loop, &inbound->io, inbound->transport->fd, LOOP_READ);

	inbound->state = INBOUND_LINGERING;
	mesh_inbound_start_timer(inbound, linger_ns);
	if (rc)
		inbound_end(inbound);
}

/* Everything is answered. Closing at once could destroy what the peer has not read yet: end our side and wait a little. */
static void mux_closed(struct mux *mux, int error, const char *why)
{
	struct inbound *inbound = mux->user;

	if (inbound->state != INBOUND_OPEN)
		return;
	if (error)
		MESH_LOG_D(&inbound->worker->mesh->log, "inbound", "port %u: %s", inbound->listener->port, why);
	inbound->transport->ops->shutdown(inbound->transport);
	if (error == MESH_ERROR_RESET || error == MESH_ERROR_TLS) {
		inbound_end(inbound);
		return;
	}
	mesh_inbound_linger(inbound);
}

static const struct mux_owner server_owner = {
	.accept = mux_accept,
	.dirty = mux_dirty,
	.wants = mux_wants,
	.idle = mux_idle,
	.closed = mux_closed,
};

void mesh_inbound_flush(struct inbound *inbound)
{
	if (inbound->state != INBOUND_OPEN || inbound->in_ready)
		return;
	mesh_loop_undefer(&inbound->flush);
	inbound->dirty = false;
	inbound->active_ns = mesh_loop_now_ns(inbound->worker->env.loop);
	mesh_mux_flush(inbound->mux);
}

static void flush_task(struct loop_task *task)
{
	mesh_inbound_flush(MESH_CONTAINER(task, struct inbound, flush));
}

static void mux_step(struct inbound *inbound, unsigned what)
{
	inbound->active_ns = mesh_loop_now_ns(inbound->worker->env.loop);
	inbound->in_ready = true;
	mesh_mux_ready(inbound->mux, what);
	inbound->in_ready = false;
	if (inbound->dirty)
		mesh_inbound_flush(inbound);
	if (inbound->state == INBOUND_OPEN)
		mesh_inbound_watch_head(inbound);
}

/* The bytes a lingering peer still sends mean nothing; its close ends it. */
static void linger_step(struct inbound *inbound)
{
	char waste[4096];
	unsigned reads = 0;
	ssize_t n;

	do
		n = recv(inbound->transport->fd, waste, sizeof(waste), MSG_DONTWAIT);
	while (n > 0 && ++reads < linger_reads_max); /* others on this thread want their turn, and the timer its */
	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
		inbound_end(inbound);
}

static void begin_drain(struct inbound *inbound)
{
	uint64_t now = mesh_loop_now_ns(inbound->worker->env.loop);

	if (inbound->mux->draining) /* a second time would be the last word */
		return;
	mesh_mux_drain(inbound->mux);
	if (!inbound->http2)
		return;
	inbound->drain_ns = now;
	mesh_inbound_wait_until(inbound, mesh_inbound_drained_at_ns(inbound));
}

void mesh_inbound_drain(struct inbound *inbound)
{
	inbound->draining = true;
	switch (inbound->state) {
	case INBOUND_OPEN:
		begin_drain(inbound);
		break;
	case INBOUND_DETECTING: /* what has come tells its version, what has begun will */
		mesh_inbound_detect(inbound);
		if (inbound->state == INBOUND_DETECTING && !mesh_buf_len(&inbound->head))
			mesh_inbound_open(inbound, false);
		break;
	case INBOUND_STREAMING: /* ends of its own accord, or with the grace time */
	case INBOUND_LINGERING:
		break;
	default:
		mesh_inbound_kill(inbound);
	}
}

void mesh_inbound_open(struct inbound *inbound, bool http2)
{
	struct mesh_worker *worker = inbound->worker;
	struct mux_limits limits = mesh_mux_limits_default;
	const struct http_config *http = inbound->chain->http;
	const struct mesh_mem *mem = &worker->mesh->mem;
	struct mesh_slice head = mesh_buf_slice(&inbound->head);
	int rc;

	if (http && http->request_head_kb_max)
		limits.head_bytes_max = (size_t)http->request_head_kb_max * 1024;
	if (http && http->header_count_max)
		limits.header_count_max = http->header_count_max;
	if (http && http->requests_per_connection_max)
		limits.requests_max = http->requests_per_connection_max;
	limits.http_10 = http && http->accept_http_10;
	if (http)
		limits.http2 = http->http2;
	rc = http2 ? mesh_mux_http2_new(mem, inbound->transport, true, &server_owner, &limits, head, &inbound->mux)
		   : mesh_mux_http1_new(mem, inbound->transport, true, &server_owner, &limits, head, &inbound->mux);
	if (rc) {
		mesh_inbound_kill(inbound);
		return;
	}
	mesh_listener_count(http2 ? &inbound->listener->stats.cx_http2 : &inbound->listener->stats.cx_http1);
	inbound->mux->user = inbound;
	inbound->http2 = http2;
	inbound->state = INBOUND_OPEN;
	inbound->head_ns = 0;
	inbound->active_ns = inbound->opened_ns = inbound->quiet_ns = inbound->ping_ns = mesh_loop_now_ns(worker->env.loop);
	mesh_buf_free(&inbound->head);
	mesh_inbound_check_time(inbound);
	mesh_loop_change(worker->env.loop, &inbound->io, mesh_mux_wants(inbound->mux));
	if (inbound->draining)
		begin_drain(inbound);
	mux_step(inbound, LOOP_READ);
}

static void io_ready(struct loop_io *io, unsigned what)
{
	struct inbound *inbound = MESH_CONTAINER(io, struct inbound, io);

	switch (inbound->state) {
	case INBOUND_SNIFFING:
		mesh_inbound_sniff(inbound);
		break;
	case INBOUND_SECURING:
		mesh_inbound_secure(inbound);
		break;
	case INBOUND_DETECTING:
		mesh_inbound_detect(inbound);
		break;
	case INBOUND_OPEN:
		mux_step(inbound, what);
		break;
	case INBOUND_LINGERING:
		linger_step(inbound);
		break;
	case INBOUND_STREAMING: /* the stream watches for itself */
		break;
	case INBOUND_WAITING: /* level-triggered: not watched for reading while it waits */
		mesh_inbound_kill(inbound);
		break;
	case INBOUND_DEAD:
		break;
	}
}

static bool configured(const struct snapshot *snapshot)
{
	return snapshot && snapshot->virtual_inbound &&
	       mesh_snapshot_secret(snapshot, MESH_SLICE("default"));
}

static void inbound_step(struct inbound *inbound)
{
	struct mesh_worker *worker = inbound->worker;

	mesh_worker_refresh(worker);
	if (!configured(worker->env.snapshot)) {
		inbound->state = INBOUND_WAITING;
		mesh_loop_change(worker->env.loop, &inbound->io, 0);
		mesh_listener_count(&inbound->listener->stats.cx_wait);
		return;
	}
	inbound->snapshot = mesh_snapshot_retain(worker->env.snapshot);
	mesh_loop_change(worker->env.loop, &inbound->io, LOOP_READ);
	mesh_inbound_choose(inbound);
}

static void look_again(struct inbound *inbound, void *user)
{
	switch (inbound->state) {
	case INBOUND_WAITING:
		inbound_step(inbound);
		break;
	case INBOUND_DETECTING:
	case INBOUND_OPEN:
	case INBOUND_STREAMING: /* a quiet one would not look for an hour */
		mesh_inbound_refresh(inbound);
		break;
	default: /* looks when it gets further */
		break;
	}
}

void mesh_inbound_retry(struct mesh_worker *worker)
{
	mesh_inbound_each(worker, look_again, NULL);
}

void mesh_inbound_accept(struct mesh_worker *worker, struct mesh_listener *listener, int fd, const struct address *remote)
{
	struct mesh *mesh = worker->mesh;
	struct inbound *inbound = mesh_mem_zalloc(&mesh->mem, sizeof(*inbound));

	if (!inbound) {
		close(fd);
		return;
	}
	inbound->worker = worker;
	inbound->listener = listener;
	inbound->fd = fd;
	inbound->remote = *remote;
	inbound->io.fd = -1;
	inbound->io.ready = io_ready;
	inbound->timer.due = mesh_inbound_time_due;
	inbound->flush.run = flush_task;
	inbound->reap.run = reap;
	mesh_list_init(&inbound->calls);
	mesh_buf_init(&inbound->head, &mesh->mem, MESH_SNIFF_BYTES_MAX + 4096);
	mesh_arena_init(&inbound->arena, &mesh->mem, head_arena_bytes);
	atomic_fetch_add_explicit(&listener->connections, 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&mesh->inbound, 1, memory_order_relaxed);
	mesh_listener_count(&listener->stats.cx_total);
	mesh_list_push(&worker->inbound, &inbound->link);
	if (mesh_socket_local(fd, &inbound->local) || mesh_loop_watch(worker->env.loop, &inbound->io, fd, LOOP_READ)) {
		mesh_inbound_kill(inbound);
		return;
	}
	inbound_step(inbound);
}
