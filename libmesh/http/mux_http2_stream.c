/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides what became of each exchange: whole, reset by whom and why, never acted on. Streams outlive their exchange
 * until nghttp2 lets go of them, and are used again. Refuses to know frames and heads.
 */
#include "http/mux_http2.h"

#include <mesh/error.h>

enum { SPARE_MAX = 64, KEPT_BUF_BYTES = 2048 };

struct http2_stream *mesh_mux_http2_stream_new(struct http2 *http2)
{
	struct http2_stream *stream;

	if (!mesh_list_empty(&http2->spare)) {
		stream = MESH_CONTAINER(http2->spare.next, struct http2_stream, link);
		mesh_list_remove(&stream->link);
		http2->spare_count--;
	} else {
		stream = mesh_mem_zalloc(http2->base.mem, sizeof(*stream));
		if (!stream)
			return NULL;
		mesh_list_init(&stream->link);
		mesh_buf_init(&stream->out, http2->base.mem, 0);
		mesh_buf_init(&stream->trailers, http2->base.mem, 0);
		mesh_buf_init(&stream->in, http2->base.mem, 0);
	}
	mesh_list_init(&stream->due);
	mesh_list_init(&stream->stalled);
	stream->to_send = -1;
	mesh_list_push(&http2->streams, &stream->link);
	http2->live++;
	return stream;
}

void mesh_mux_http2_stream_attach(struct http2 *http2, struct http2_stream *stream, struct exchange *exchange)
{
	stream->exchange = exchange;
	exchange->stream = stream;
	exchange->mux = &http2->base;
	http2->base.active++;
	http2->base.carried++;
}

void mesh_mux_http2_stream_leave(struct http2 *http2, struct http2_stream *stream)
{
	struct exchange *exchange = stream->exchange;

	stream->exchange = NULL;
	exchange->mux = NULL;
	exchange->stream = NULL;
	http2->base.active--;
	mesh_list_remove(&stream->stalled);
	memset(&stream->upgrade, 0, sizeof(stream->upgrade)); /* it was the exchange's memory */
	memset(&stream->received_trailers, 0, sizeof(stream->received_trailers));
}

static void drop_out(struct http2 *http2, struct http2_stream *stream)
{
	http2->queued -= mesh_buf_len(&stream->out);
	mesh_buf_clear(&stream->out);
}

/* What was received and not taken is, as far as the connection's window goes. */
static void drop_in(struct http2 *http2, struct http2_stream *stream)
{
	size_t bytes = mesh_buf_len(&stream->in) + stream->owed;

	stream->owed = 0;
	mesh_buf_clear(&stream->in);
	if (bytes)
		mesh_mux_http2_consume(http2, stream, bytes);
}

static void keep_small(struct buf *buf)
{
	mesh_buf_clear(buf);
	if (buf->room > KEPT_BUF_BYTES)
		mesh_buf_free(buf);
}

static void free_stream(struct http2 *http2, struct http2_stream *stream)
{
	mesh_buf_free(&stream->out);
	mesh_buf_free(&stream->trailers);
	mesh_buf_free(&stream->in);
	mesh_mem_free(http2->base.mem, stream);
}

static void recycle(struct http2 *http2, struct http2_stream *stream)
{
	struct buf out, trailers, in;

	if (stream->exchange)
		mesh_mux_http2_stream_leave(http2, stream);
	drop_in(http2, stream);
	drop_out(http2, stream);
	mesh_list_remove(&stream->link);
	mesh_list_remove(&stream->due);
	mesh_list_remove(&stream->stalled);
	http2->live--;
	if (http2->spare_count >= SPARE_MAX) {
		free_stream(http2, stream);
		return;
	}
	keep_small(&stream->out);
	keep_small(&stream->trailers);
	mesh_buf_free(&stream->in);
	out = stream->out;
	trailers = stream->trailers;
	in = stream->in;
	memset(stream, 0, sizeof(*stream));
	stream->out = out;
	stream->trailers = trailers;
	stream->in = in;
	mesh_list_init(&stream->link);
	mesh_list_push_front(&http2->spare, &stream->link);
	http2->spare_count++;
}

void mesh_mux_http2_stream_free_all(struct http2 *http2)
{
	MESH_LIST_EACH_SAFE(at, &http2->streams) {
		struct http2_stream *stream = MESH_CONTAINER(at, struct http2_stream, link);

		if (stream->exchange)
			mesh_mux_http2_stream_leave(http2, stream);
		free_stream(http2, stream);
	}
	MESH_LIST_EACH_SAFE(at, &http2->spare)
		free_stream(http2, MESH_CONTAINER(at, struct http2_stream, link));
}

uint32_t mesh_mux_http2_code_of(const struct http2 *http2, int error)
{
	switch (error) {
	case 0:
		return NGHTTP2_NO_ERROR;
	case MESH_ERROR_REFUSED:
		return NGHTTP2_REFUSED_STREAM;
	case MESH_ERROR_PROTOCOL:
	case MESH_ERROR_DOWNSTREAM_PROTOCOL:
		return NGHTTP2_PROTOCOL_ERROR;
	case MESH_ERROR_CANCELLED:
	case MESH_ERROR_CLOSED:
	case MESH_ERROR_DRAINING:
		return NGHTTP2_CANCEL;
	default:
		if (mesh_error_class(error) == MESH_CLASS_TIME)
			return NGHTTP2_CANCEL;
		return http2->base.server ? NGHTTP2_INTERNAL_ERROR : NGHTTP2_CANCEL;
	}
}

void mesh_mux_http2_stream_reset(struct http2 *http2, struct http2_stream *stream, uint32_t code, int error,
				 const char *why)
{
	int rv;

	drop_out(http2, stream);
	drop_in(http2, stream);
	if (!stream->failure) {
		stream->failure = error;
		stream->failure_why = why;
	}
	if (!stream->id || stream->closed) {
		stream->closed = true;
		mesh_mux_http2_stream_due(http2, stream);
		http2_make_dirty(http2);
		return;
	}
	rv = http2->broken ? 0 : nghttp2_submit_rst_stream(http2->session, NGHTTP2_FLAG_NONE, stream->id, code);
	if (nghttp2_is_fatal(rv))
		mesh_mux_http2_broken(http2, rv);
	http2_make_dirty(http2);
}

void mesh_mux_http2_stream_due(struct http2 *http2, struct http2_stream *stream)
{
	mesh_list_remove(&stream->due);
	mesh_list_push(&http2->finished, &stream->due);
}

void mesh_mux_http2_stream_closed(struct http2 *http2, struct http2_stream *stream, uint32_t code)
{
	bool whole = code == NGHTTP2_NO_ERROR && stream->ended && !stream->failure;

	stream->closed = true;
	stream->code = code;
	if (stream->peer_reset)
		mesh_mux_http2_reset_seen(http2, !stream->exchange || stream->exchange->head_sent);
	/* the end of what a paused exchange has not taken is told when it was */
	if (stream->exchange && !stream->exchange->received_end && whole && (!http2->base.server || stream->tunnel))
		return;
	mesh_mux_http2_stream_due(http2, stream);
}

/* Nothing of it can have been acted on. */
static bool never_left(const struct http2 *http2, const struct http2_stream *stream)
{
	return !http2->base.server && (!stream->head_out || stream->head_at >= http2->base.written_bytes);
}

static int outcome(struct http2 *http2, struct http2_stream *stream, struct why *why, bool *unprocessed)
{
	const struct exchange *exchange = stream->exchange;
	const char *name = nghttp2_http2_strerror(stream->code);

	*unprocessed = false;
	why->text[0] = '\0';
	if (http2->base.server ? stream->end_sent : exchange->received_end && !stream->failure)
		return 0;
	*unprocessed = never_left(http2, stream);
	if (stream->failure)
		return mesh_why(why, stream->failure, "%s", stream->failure_why);
	if (!http2->base.server && stream->code == NGHTTP2_REFUSED_STREAM) {
		*unprocessed = !exchange->head_received; /* whatever it says: it answered */
		if (http2->goaway_received && !stream->peer_reset)
			return mesh_why(why, MESH_ERROR_REFUSED, "the peer is going away%s%s",
					http2->cause.text[0] ? ": " : "", http2->cause.text);
		return mesh_why(why, MESH_ERROR_REFUSED, "the peer refused the stream");
	}
	if (stream->peer_reset) {
		stream->exchange->reset_code = stream->code;
		return mesh_why(why, MESH_ERROR_REMOTE_RESET, "the peer reset the stream: %s", name);
	}
	return mesh_why(why, http2_peer_error(http2), "HTTP/2: malformed message or broken window: %s", name);
}

static void exchange_over(struct http2 *http2, struct http2_stream *stream, int error, const char *why,
			  bool unprocessed)
{
	struct exchange *exchange = stream->exchange;

	mesh_mux_http2_stream_leave(http2, stream);
	exchange->events->over(exchange, error, why, unprocessed);
}

void mesh_mux_http2_finish(struct http2 *http2)
{
	while (!mesh_list_empty(&http2->finished) && !http2->dead) {
		struct http2_stream *stream = MESH_CONTAINER(http2->finished.next, struct http2_stream, due);
		struct exchange *exchange = stream->exchange;
		struct why why;
		bool unprocessed;
		int error = 0;

		mesh_list_remove(&stream->due);
		if (exchange)
			error = outcome(http2, stream, &why, &unprocessed);
		if (exchange)
			mesh_mux_http2_stream_leave(http2, stream);
		http2->frames.completed += exchange && !error;
		if (stream->closed) {
			recycle(http2, stream);
			http2->grown = true;
		}
		if (exchange)
			exchange->events->over(exchange, error, why.text, unprocessed);
		if (http2->grown && !http2->dead) {
			http2->grown = false;
			http2->base.owner->idle(&http2->base);
		}
	}
}

void mesh_mux_http2_end_all(struct http2 *http2)
{
	int error = http2->error ? http2->error : MESH_ERROR_RESET;

	while (!mesh_list_empty(&http2->streams)) {
		struct http2_stream *stream = MESH_CONTAINER(http2->streams.next, struct http2_stream, link);
		struct why why;
		bool unprocessed;
		int own;

		stream->closed = true;
		if (stream->exchange) {
			bool whole = http2->base.server ? stream->end_sent
							: stream->exchange->received_end && !stream->failure;

			if (whole || stream->failure || stream->peer_reset)
				own = outcome(http2, stream, &why, &unprocessed);
			else {
				unprocessed = never_left(http2, stream);
				own = error;
				why = http2->why;
			}
			exchange_over(http2, stream, own, why.text, unprocessed);
		}
		recycle(http2, stream);
	}
}
