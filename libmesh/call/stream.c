/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides how long a stream lives and what it leaves behind: made, secured, over, given back, and its time limits. Refuses
 * to know where it goes (stream_open.c, stream_route.c), who accepted it (stream_accept.c) and what it carries (stream_io.c).
 */
#include "call/stream.h"

#include "call/inbound.h"

static const uint64_t idle_default_ns = 3600ULL * 1000000000ULL; /* Envoy's hour */
static const uint64_t leave_ns = 10 * 1000000000ULL; /* for what is left to say */
static const size_t arena_bytes_max = 512 * 1024;

static void idle_due(struct loop_timer *timer)
{
	struct mesh_stream *stream = MESH_CONTAINER(timer, struct mesh_stream, idle);
	uint64_t now = mesh_loop_now_ns(stream->worker->env.loop), quiet;

	if (stream->moved) {
		stream->moved = false;
		stream->active_ns = now;
	}
	quiet = now > stream->active_ns ? now - stream->active_ns : 0;
	if (quiet >= stream->idle_ns)
		mesh_stream_finish(stream, MESH_ERROR_IDLE_TIMEOUT, "nothing moved within idle_timeout");
	else
		mesh_timer_start(stream->worker->env.loop, timer, stream->idle_ns - quiet);
}

static void duration_due(struct loop_timer *timer)
{
	mesh_stream_finish(MESH_CONTAINER(timer, struct mesh_stream, duration), MESH_ERROR_DURATION,
			   "max_downstream_connection_duration is over");
}

struct mesh_stream *mesh_stream_new(struct mesh_worker *worker, bool server)
{
	struct mesh *mesh = worker->mesh;
	struct mesh_stream *stream = mesh_mem_zalloc(&mesh->mem, sizeof(*stream));

	if (!stream)
		return NULL;
	stream->mesh = mesh;
	stream->worker = worker;
	atomic_fetch_add_explicit(&worker->refs, 1, memory_order_relaxed);
	stream->server = server;
	stream->state = STREAM_OPENING;
	mesh_list_init(&stream->link);
	mesh_arena_init(&stream->arena, &mesh->mem, arena_bytes_max);
	mesh_buf_init(&stream->client.first, &mesh->mem, MESH_SNIFF_BYTES_MAX);
	stream->io.fd = -1;
	stream->io.ready = mesh_stream_ready;
	stream->idle.due = idle_due;
	stream->duration.due = duration_due;
	stream->tell.run = mesh_stream_tell;
	stream->result.size = sizeof(stream->result);
	stream->result.flag = "-";
	stream->peer.size = sizeof(stream->peer);
	stream->started_ns = mesh_time_now_ns();
	return stream;
}

/* What it was routed by. A stream may last for days: it does not keep a whole configuration of then in memory. */
static void forget_route(struct mesh_stream *stream)
{
	stream->client.listener = NULL;
	stream->client.chain = NULL;
	mesh_snapshot_release(stream->client.snapshot);
	stream->client.snapshot = NULL;
}

static void stream_free(struct mesh_stream *stream)
{
	struct mesh *mesh = stream->mesh;
	struct mesh_worker *worker = stream->worker;

	mesh_loop_undefer(&stream->tell);
	forget_route(stream);
	mesh_buf_free(&stream->client.first);
	mesh_arena_free(&stream->arena);
	mesh_mem_free(&mesh->mem, stream);
	mesh_worker_drop(worker);
}

void mesh_stream_undo(struct mesh_stream *stream)
{
	stream_free(stream);
}

void mesh_stream_attach(struct mesh_stream *stream)
{
	mesh_list_push(&stream->worker->streams, &stream->link);
	atomic_fetch_add_explicit(&stream->mesh->running, 1, memory_order_relaxed);
}

static int set_peer(struct mesh_stream *stream, const struct address *address)
{
	const struct peer_info *info = &stream->transport->peer;
	struct mesh_peer *peer = &stream->peer;
	bool failed = false;

	stream->has_peer = true;
	peer->address = mesh_slice_make(stream->address_text, mesh_address_text(address, stream->address_text));
	peer->tls = info->tls;
	peer->mutual = info->mutual;
	peer->protocol = MESH_SLICE("tcp");
	/* the connection may end before the stream is given back: what it lends is copied */
	peer->identity = mesh_arena_slice(&stream->arena, info->identity, &failed);
	peer->tls_version = mesh_arena_slice(&stream->arena, info->tls_version, &failed);
	return failed ? MESH_ERROR_NOMEM : 0;
}

void mesh_stream_limit(struct mesh_stream *stream, int64_t idle_ns, int64_t duration_ns)
{
	stream->idle_ns = idle_ns < 0 ? idle_default_ns : (uint64_t)idle_ns;
	stream->duration_ns = duration_ns > 0 ? (uint64_t)duration_ns : 0;
}

static int start_timers(struct mesh_stream *stream)
{
	struct loop *loop = stream->worker->env.loop;
	int rc = 0;

	if (stream->leaving) /* that has a limit of its own */
		return 0;
	if (stream->idle_ns)
		rc = mesh_timer_start(loop, &stream->idle, stream->idle_ns);
	if (!rc && stream->duration_ns)
		rc = mesh_timer_start(loop, &stream->duration, stream->duration_ns);
	return rc;
}

/* Both sides send theirs as soon as the ALPN agrees: a server that speaks first must not wait for the client's. */
static int begin_exchange(struct mesh_stream *stream)
{
	stream->metadata = mesh_arena_alloc(&stream->arena, sizeof(*stream->metadata));
	if (!stream->metadata)
		return MESH_ERROR_NOMEM;
	mesh_stream_metadata_init(stream->metadata, &stream->arena);
	stream->greeting = mesh_buf_slice(&stream->mesh->greeting);
	return 0;
}

int mesh_stream_open(struct mesh_stream *stream, struct transport *transport, const struct address *address,
		     bool exchange, struct mesh_slice protocol)
{
	int rc;

	stream->transport = transport;
	stream->state = STREAM_OPEN;
	stream->opened_ns = stream->active_ns = mesh_loop_now_ns(stream->worker->env.loop);
	rc = set_peer(stream, address);
	forget_route(stream);
	if (!rc && exchange && protocol.len && mesh_slice_equal(transport->peer.alpn, protocol))
		rc = begin_exchange(stream);
	if (!rc)
		rc = start_timers(stream);
	/* something may have come with the handshake: who is asked first looks */
	stream->due = STREAM_TELL_OPENED | STREAM_TELL_READABLE | (stream->refused_write ? STREAM_TELL_WRITABLE : 0);
	mesh_loop_defer(stream->worker->env.loop, &stream->tell);
	return rc;
}

static void settle_bytes(struct mesh_stream *stream)
{
	if (stream->client.dial) {
		stream->client.dial->dial.read_bytes = stream->moved_in;
		stream->client.dial->dial.written_bytes = stream->moved_out;
	}
	if (stream->inbound) {
		struct listener_stats *stats = &stream->inbound->listener->stats;

		atomic_fetch_add_explicit(&stats->tcp_rx_bytes, stream->moved_in, memory_order_relaxed);
		atomic_fetch_add_explicit(&stats->tcp_tx_bytes, stream->moved_out, memory_order_relaxed);
	}
}

/*
 * An orderly end. What lies unread when a socket is closed makes the system reset the connection, and what was written and
 * is still under way is lost: session tickets are such, which every TLS server sends unasked.
 */
static void say_end(struct mesh_stream *stream, int error)
{
	struct transport *transport = stream->transport;
	char waste[4096];
	bool drained;

	if (!transport || error == MESH_ERROR_RESET || error == MESH_ERROR_TLS)
		return;
	transport->ops->shutdown(transport);
	for (int i = 0; i < 16 && !error; i++)
		if (transport->ops->read(transport, waste, sizeof(waste), &drained) <= 0)
			break;
}

/* Off the connection: whoever holds it closes it. */
static void let_go(struct mesh_stream *stream, int error)
{
	struct loop *loop = stream->worker->env.loop;
	struct inbound *inbound = stream->inbound;

	mesh_timer_stop(loop, &stream->idle);
	mesh_timer_stop(loop, &stream->duration);
	if (stream->io.fd >= 0)
		mesh_loop_unwatch(loop, &stream->io);
	settle_bytes(stream);
	say_end(stream, error);
	stream->transport = NULL;
	if (!stream->server)
		mesh_stream_give_up(stream);
	stream->inbound = NULL;
	if (!inbound)
		return;
	inbound->stream = NULL;
	if (!error && !stream->peer_ended)
		mesh_inbound_linger(inbound);
	else
		mesh_inbound_kill(inbound);
}

void mesh_stream_finish(struct mesh_stream *stream, int error, const char *why)
{
	struct mesh *mesh = stream->mesh;

	if (stream->state == STREAM_OVER)
		return;
	mesh_why(&stream->why, error, "%s", why && why[0] ? why : mesh_error_text(error));
	let_go(stream, error);
	forget_route(stream);
	stream->state = STREAM_OVER;
	atomic_store_explicit(&stream->over, true, memory_order_release);
	stream->ended_ns = mesh_time_now_ns();
	stream->result.status = error;
	stream->result.flag = mesh_error_flag(error);
	if (error)
		stream->result.why = mesh_slice_of(stream->why.text);
	stream->read_wants = stream->write_wants = 0;
	mesh_list_remove(&stream->link);
	stream->due = stream->closed ? 0 : STREAM_TELL_CLOSED;
	if (stream->due || stream->leaving) /* which frees it, too */
		mesh_loop_defer(stream->worker->env.loop, &stream->tell);
	stream->leaving = false;
	atomic_fetch_sub_explicit(&mesh->running, 1, memory_order_release);
	mesh_notify(mesh);
}

void mesh_stream_cut(struct mesh_stream *stream, int error, const char *why)
{
	mesh_stream_finish(stream, error, why);
}

void mesh_streams_end(struct mesh_worker *worker)
{
	while (!mesh_list_empty(&worker->streams))
		mesh_stream_finish(MESH_CONTAINER(worker->streams.next, struct mesh_stream, link), MESH_ERROR_CANCELLED,
				   "its worker ended");
}

void mesh_stream_settle(struct mesh_stream *stream)
{
	if (stream->closed && !stream->telling && !stream->leaving)
		stream_free(stream);
}

/*
 * There may be no room for all that is to go out: bytes that were taken before the connection was there, or close_notify,
 * without which the peer takes the end for a connection that was cut. Where somebody drives the worker it stays until that
 * is out, or for a while.
 */
static bool stay(struct mesh_stream *stream)
{
	struct mesh_worker *worker = stream->worker;
	bool must = false;

	if (worker->kind == WORKER_IMPLICIT || atomic_load(&worker->ending))
		return false;
	if (stream->state == STREAM_OPENING)
		must = mesh_buf_len(&stream->client.first);
	else if (stream->state == STREAM_OPEN && !stream->write_pending) /* what was begun cannot be taken back */
		must = mesh_stream_end(stream) == MESH_ERROR_AGAIN;
	if (!must || stream->state == STREAM_OVER)
		return false;
	mesh_timer_stop(worker->env.loop, &stream->idle);
	if (mesh_timer_start(worker->env.loop, &stream->duration, leave_ns))
		return false;
	stream->leaving = true;
	mesh_stream_arm(stream);
	return stream->state != STREAM_OVER;
}

void mesh_stream_release(struct mesh_stream *stream)
{
	struct cluster_env *env = &stream->worker->env;
	bool running = stream->state != STREAM_OVER;

	stream->closed = true;
	if (running && stay(stream))
		return;
	if (running) {
		mesh_stream_flush(stream);
		mesh_stream_finish(stream, 0, NULL);
		/* between rounds nobody is inside a dial: its socket need not wait for the next one, which may never come */
		if (!stream->server && !mesh_loop_running(env->loop)) {
			mesh_loop_undefer(&env->reap);
			mesh_dial_reap(&env->reap);
		}
	}
	mesh_stream_settle(stream);
}

/* Whoever closed it does not know when callbacks cease: with this one, in which it may be closed once more. */
void mesh_stream_release_sent(struct mesh_stream *stream)
{
	stream->telling++;
	if (!stream->told_closed && stream->events.closed)
		stream->events.closed(stream, stream->user);
	stream->telling--;
	if (stream->closed)
		mesh_stream_settle(stream);
	else
		mesh_stream_release(stream);
}
