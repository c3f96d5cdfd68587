/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of an HTTP/2 connection: how many exchanges it takes, what happens in a round of the loop, going away in
 * order or at once. Refuses to know what is carried and who waits for it; has no clock.
 */
#include "http/mux_http2.h"

#include "loop/loop.h"
#include "net/transport.h"

enum { FLUSH_ROUNDS = 8 };

const uint8_t mesh_mux_http2_drain_ping[8] = {'d', 'r', 'a', 'i', 'n', 'i', 'n', 'g'};

void mesh_mux_http2_doom(struct http2 *http2, int error, const char *why)
{
	if (http2->dead)
		return;
	http2->dead = true;
	http2->error = error;
	mesh_why(&http2->why, error, "%s", why);
	http2_make_dirty(http2);
}

static void go_away(struct http2 *http2, uint32_t code, const char *why)
{
	int rv;

	if (http2->broken)
		return;
	http2->goaway_sent = true;
	rv = nghttp2_submit_goaway(http2->session, NGHTTP2_FLAG_NONE,
				   nghttp2_session_get_last_proc_stream_id(http2->session), code, (const uint8_t *)why,
				   strlen(why));
	if (nghttp2_is_fatal(rv))
		mesh_mux_http2_broken(http2, rv);
}

void mesh_mux_http2_fail(struct http2 *http2, int error, uint32_t code, const char *why)
{
	if (http2->dead)
		return;
	go_away(http2, code, why);
	mesh_mux_http2_doom(http2, error, why);
}

void mesh_mux_http2_broken(struct http2 *http2, int nghttp2_error)
{
	int error = http2_peer_error(http2);

	if (nghttp2_error == NGHTTP2_ERR_NOMEM || nghttp2_error == NGHTTP2_ERR_CALLBACK_FAILURE)
		error = MESH_ERROR_NOMEM;
	http2->broken = true;
	mesh_mux_http2_doom(http2, error, nghttp2_strerror(nghttp2_error));
}

void mesh_mux_http2_lost(struct http2 *http2, int error, const char *why)
{
	if (http2->peer_ended || http2->dead)
		return;
	http2->peer_ended = true;
	mesh_buf_clear(&http2->out);
	if (http2->live) {
		http2->error = error;
		mesh_why(&http2->why, error, "%s", why);
	}
	MESH_LIST_EACH(at, &http2->streams) {
		struct http2_stream *stream = MESH_CONTAINER(at, struct http2_stream, link);

		stream->closed = true;
		if (stream->exchange && stream->ended && !http2->base.server && !stream->failure)
			continue; /* was received whole, and is told when it goes on */
		if (!stream->failure) {
			stream->failure = error;
			stream->failure_why = http2->why.text;
		}
		mesh_mux_http2_stream_due(http2, stream);
	}
	http2_make_dirty(http2);
}

static void start_drain(struct http2 *http2)
{
	int rv;

	if (http2->drain_told || http2->broken || http2->dead)
		return;
	http2->drain_told = true;
	rv = nghttp2_submit_shutdown_notice(http2->session);
	if (!rv)
		rv = nghttp2_submit_ping(http2->session, NGHTTP2_FLAG_NONE, mesh_mux_http2_drain_ping);
	if (nghttp2_is_fatal(rv))
		mesh_mux_http2_broken(http2, rv);
	http2_make_dirty(http2);
}

/* The peer knows by now that it is to open no more, and those it opened before are here. */
void mesh_mux_http2_drain_answered(struct http2 *http2)
{
	if (!http2->drain_told || http2->goaway_sent)
		return;
	go_away(http2, NGHTTP2_NO_ERROR, "");
	http2_make_dirty(http2);
}

/* Nothing more is to come: the end, in order. */
static void retire(struct http2 *http2)
{
	bool server = http2->base.server;

	if (http2->dead)
		return;
	if (server && http2_last_exchange(http2) && !http2->goaway_received && !http2->peer_ended)
		start_drain(http2);
	/* a client does not wait for the rest of requests that were answered */
	if ((server ? http2->live : http2->base.active) || !http2_last_exchange(http2))
		return;
	if (server && !http2->goaway_sent && !http2->goaway_received && !http2->peer_ended)
		return;
	if (!http2->goaway_sent && !http2->peer_ended)
		go_away(http2, NGHTTP2_NO_ERROR, "");
	mesh_mux_http2_doom(http2, http2->peer_ended ? http2->error : 0, http2->why.text);
}

/* Everything that could be carried was; the owner is told once. */
static void tell_closed(struct http2 *http2)
{
	if (!http2->dead || http2->told)
		return;
	if (!http2->blocked)
		mesh_mux_http2_write(http2); /* what the peer is told of it, if it listens */
	mesh_mux_http2_end_all(http2);
	/* an orderly end waits until all is written; what was answered is not held by a server that does not read */
	if (!http2->error && !http2->broken && !http2->peer_ended && mesh_buf_len(&http2->out) &&
	    (http2->base.server || !http2->blocked))
		return;
	http2->told = true;
	http2->base.owner->closed(&http2->base, http2->error, http2->why.text);
}

static bool has_output(const struct http2 *http2)
{
	return mesh_buf_len(&http2->out) ||
	       (!http2->broken && !http2->peer_ended && nghttp2_session_want_write(http2->session));
}

/* The end of ready and flush. */
static void leave(struct http2 *http2)
{
	if (http2->grown && !http2->dead) {
		http2->grown = false;
		http2->base.owner->idle(&http2->base);
	}
	retire(http2);
	if (http2->dead)
		tell_closed(http2);
	http2->busy = false;
	if (http2->told)
		return;
	if (http2->again || (!http2->blocked && has_output(http2)) || !mesh_list_empty(&http2->finished) ||
	    (http2->unread && mesh_mux_http2_wants_input(http2)))
		http2_make_dirty(http2);
	http2->again = false;
	http2->base.owner->wants(&http2->base);
}

static void http2_ready(struct mux *mux, unsigned what)
{
	struct http2 *http2 = http2_of(mux);
	bool reads;

	if (http2->busy || http2->told) {
		http2->again = true;
		return;
	}
	http2->busy = true;
	reads = mesh_mux_http2_wants_input(http2);
	if (what & LOOP_READ) {
		mesh_mux_http2_read_pre(http2); /* what was read while sniffing may be all there is to read */
		mesh_mux_http2_read(http2);
	}
	if (what & LOOP_ERROR && !(what & LOOP_READ && reads))
		mesh_mux_http2_lost(http2, MESH_ERROR_RESET, "the connection was reset");
	if (what & LOOP_WRITE && http2->blocked) {
		http2->blocked = false;
		http2_make_dirty(http2);
	}
	mesh_mux_http2_finish(http2);
	leave(http2);
}

static void http2_flush(struct mux *mux)
{
	struct http2 *http2 = http2_of(mux);

	if (http2->busy || http2->told) {
		http2->again = true;
		return;
	}
	http2->busy = true;
	mesh_mux_http2_read_pre(http2);
	for (unsigned i = 0; i < FLUSH_ROUNDS && !http2->dead; i++) {
		mesh_mux_http2_deliver(http2);
		mesh_mux_http2_write(http2);
		mesh_mux_http2_finish(http2);
		mesh_mux_http2_tell_writable(http2);
		if (http2->blocked || (!has_output(http2) && mesh_list_empty(&http2->resumed)))
			break;
	}
	if (http2->unread && !http2->dead) {
		mesh_mux_http2_read(http2);
		mesh_mux_http2_finish(http2);
	}
	leave(http2);
}

static unsigned http2_wants(const struct mux *mux)
{
	const struct http2 *http2 = http2_of(mux);

	return (mesh_mux_http2_wants_input(http2) ? LOOP_READ : 0u) | (http2->blocked ? LOOP_WRITE : 0u);
}

static unsigned http2_capacity(const struct mux *mux)
{
	const struct http2 *http2 = http2_of(mux);
	uint64_t max;

	if (http2_last_exchange(http2) || http2->broken || mux->server ||
	    nghttp2_session_get_next_stream_id(http2->session) + 2 * http2->live > INT32_MAX - 2)
		return 0;
	max = nghttp2_session_get_remote_settings(http2->session, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);
	max = max < http2->streams_max ? max : http2->streams_max;
	max = max > http2->live ? max - http2->live : 0;
	if (mux->limits.requests_max && max > mux->limits.requests_max - mux->carried)
		max = mux->limits.requests_max - mux->carried;
	return (unsigned)max;
}

static bool http2_receiving_head(const struct mux *mux)
{
	const struct http2 *http2 = http2_of(mux);

	return mux->server && (http2->frames.in_block || (http2->frames.magic_left &&
							  http2->frames.magic_left < NGHTTP2_CLIENT_MAGIC_LEN));
}

static int http2_open(struct mux *mux, struct exchange *exchange)
{
	struct http2 *http2 = http2_of(mux);
	struct http2_stream *stream;

	if (!http2_capacity(mux))
		return MESH_ERROR_STATE;
	stream = mesh_mux_http2_stream_new(http2);
	if (!stream)
		return MESH_ERROR_NOMEM;
	mesh_mux_http2_stream_attach(http2, stream, exchange);
	return 0;
}

static void http2_pause(struct exchange *exchange, bool paused)
{
	struct http2 *http2 = http2_of(exchange->mux);
	struct http2_stream *stream = exchange->stream;

	if (exchange->paused == paused)
		return;
	exchange->paused = paused;
	if (paused || !mesh_list_empty(&stream->due) ||
	    (!stream->owed && !mesh_buf_len(&stream->in) && (!stream->ended || exchange->received_end)))
		return;
	mesh_list_push(&http2->resumed, &stream->due); /* delivered from the flush */
	http2_make_dirty(http2);
}

static void http2_reset(struct exchange *exchange, int error)
{
	struct http2 *http2 = http2_of(exchange->mux);
	struct http2_stream *stream = exchange->stream;

	mesh_mux_http2_stream_leave(http2, stream);
	mesh_mux_http2_stream_reset(http2, stream, mesh_mux_http2_code_of(http2, error), error, "reset by this side");
}

static void http2_refuse(struct mux *mux, int status, const char *why)
{
	if (mux->server)
		mesh_mux_http2_fail(http2_of(mux), MESH_ERROR_DOWNSTREAM_PROTOCOL, NGHTTP2_ENHANCE_YOUR_CALM, why);
}

static void http2_ping(struct mux *mux)
{
	struct http2 *http2 = http2_of(mux);
	uint8_t data[8] = {'a', 'l', 'i', 'v'};
	int rv;

	if (http2->dead || http2->broken || http2->peer_ended)
		return;
	http2->ping_number++;
	memcpy(data + 4, &http2->ping_number, sizeof(http2->ping_number));
	rv = nghttp2_submit_ping(http2->session, NGHTTP2_FLAG_NONE, data);
	if (nghttp2_is_fatal(rv))
		mesh_mux_http2_broken(http2, rv);
	else
		mux->pings++;
	http2_make_dirty(http2);
}

static void http2_abort(struct mux *mux, int error, const char *why)
{
	struct http2 *http2 = http2_of(mux);
	bool wrong = error == MESH_ERROR_PROTOCOL || error == MESH_ERROR_DOWNSTREAM_PROTOCOL;

	if (http2->dead)
		return;
	/* the words may be for this side alone */
	go_away(http2, wrong ? NGHTTP2_PROTOCOL_ERROR : NGHTTP2_NO_ERROR, "");
	mesh_mux_http2_doom(http2, error, why);
}

static void http2_drain(struct mux *mux)
{
	struct http2 *http2 = http2_of(mux);

	if (mux->draining) /* again: the peer has had its time to hear of it */
		mesh_mux_http2_drain_answered(http2);
	mux->draining = true;
	http2_make_dirty(http2); /* the flush begins it, or ends all when nothing is under way */
}

static void http2_destroy(struct mux *mux)
{
	struct http2 *http2 = http2_of(mux);

	nghttp2_session_del(http2->session);
	mesh_mux_http2_stream_free_all(http2);
	mesh_mux_http2_mem_free(&http2->mem);
	mesh_buf_free(&http2->pre);
	mesh_buf_free(&http2->out);
	mesh_buf_free(&http2->block.bytes);
	mesh_mem_free(mux->mem, http2->fields);
	mesh_mem_free(mux->mem, http2);
}

static const struct mux_ops http2_ops = {
	.protocol = "h2",
	.open = http2_open,
	.send_head = mesh_mux_http2_send_head,
	.send_data = mesh_mux_http2_send_data,
	.send_trailers = mesh_mux_http2_send_trailers,
	.send_interim = mesh_mux_http2_send_interim,
	.pause = http2_pause,
	.reset = http2_reset,
	.ready = http2_ready,
	.flush = http2_flush,
	.wants = http2_wants,
	.capacity = http2_capacity,
	.receiving_head = http2_receiving_head,
	.refuse = http2_refuse,
	.ping = http2_ping,
	.abort = http2_abort,
	.drain = http2_drain,
	.destroy = http2_destroy,
};

int mesh_mux_http2_new(const struct mesh_mem *mem, struct transport *transport, bool server,
		       const struct mux_owner *owner, const struct mux_limits *limits, struct mesh_slice head,
		       struct mux **mux)
{
	struct http2 *http2 = mesh_mem_zalloc(mem, sizeof(*http2));
	int rc;

	if (!http2)
		return MESH_ERROR_NOMEM;
	http2->base.ops = &http2_ops;
	http2->base.owner = owner;
	http2->base.transport = transport;
	http2->base.mem = mem;
	http2->base.limits = *limits;
	http2->base.server = server;
	http2->scheme = transport->peer.tls ? MESH_SLICE("https") : MESH_SLICE("http");
	http2->frames.magic_left = server ? NGHTTP2_CLIENT_MAGIC_LEN : 0;
	mesh_list_init(&http2->streams);
	mesh_list_init(&http2->finished);
	mesh_list_init(&http2->resumed);
	mesh_list_init(&http2->stalled);
	mesh_list_init(&http2->spare);
	mesh_buf_init(&http2->pre, mem, 0);
	mesh_buf_init(&http2->out, mem, 0);
	mesh_buf_init(&http2->block.bytes, mem, 0);
	mesh_mux_http2_mem_init(&http2->mem, mem);
	rc = mesh_mux_http2_open_session(http2);
	if (!rc)
		rc = mesh_buf_append(&http2->pre, head);
	if (rc) {
		http2_destroy(&http2->base);
		return MESH_ERROR_NOMEM;
	}
	*mux = &http2->base;
	return 0;
}
