/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages received: heads, bodies and ends to the events of exchanges. A window opens again only when the application
 * took what was in it; what comes for a paused exchange waits, bounded by that window. Refuses to know frames and
 * transports.
 */
#include "http/mux_http2.h"

enum { DELIVER_BYTES = 16384, HEAD_KEEP_BYTES = 16384 };

void mesh_mux_http2_consume(struct http2 *http2, struct http2_stream *stream, size_t bytes)
{
	int rv;

	if (http2->broken)
		return;
	if (stream->closed || !stream->id)
		rv = nghttp2_session_consume_connection(http2->session, bytes);
	else
		rv = nghttp2_session_consume(http2->session, stream->id, bytes);
	if (nghttp2_is_fatal(rv))
		mesh_mux_http2_broken(http2, rv);
}

/* The whole message was told. A client is done then, whether its request was wanted to the end or not. */
static void tell_end(struct http2 *http2, struct http2_stream *stream)
{
	struct exchange *exchange = stream->exchange;

	exchange->received_end = true;
	exchange->events->end(exchange, stream->has_received_trailers ? &stream->received_trailers : NULL);
	if (stream->exchange != exchange)
		return;
	if (stream->closed) {
		mesh_mux_http2_stream_due(http2, stream);
	} else if (!http2->base.server && !stream->tunnel) {
		/* the rest is not kept for a window that may never open */
		if (!exchange->sent_end || mesh_buf_len(&stream->out))
			mesh_mux_http2_stream_reset(http2, stream, NGHTTP2_NO_ERROR, 0, "");
		mesh_mux_http2_stream_due(http2, stream);
	}
}

bool mesh_mux_http2_must_wait(const struct http2_stream *stream)
{
	return stream->exchange->paused || mesh_buf_len(&stream->in);
}

void mesh_mux_http2_message_ended(struct http2 *http2, struct http2_stream *stream)
{
	stream->ended = true;
	if (stream->exchange && !mesh_mux_http2_must_wait(stream))
		tell_end(http2, stream);
}

void mesh_mux_http2_no_memory(struct http2 *http2, struct http2_stream *stream)
{
	mesh_mux_http2_stream_reset(http2, stream, http2->base.server ? NGHTTP2_INTERNAL_ERROR : NGHTTP2_CANCEL,
				    MESH_ERROR_NOMEM, "no memory for what was received");
}

/* A request that is not given to the owner: too large, or wrong in a way that nghttp2 does not see. */
static void refuse_request(struct http2 *http2, int32_t id, int status)
{
	struct http2_stream *stream = mesh_mux_http2_stream_new(http2);

	http2->base.carried++;
	if (stream) {
		stream->id = id;
		nghttp2_session_set_stream_user_data(http2->session, id, stream);
	}
	mesh_mux_http2_answer(http2, id, status);
}

static void begin_request(struct http2 *http2, int32_t id, bool end)
{
	nghttp2_extpri fair = {.urgency = NGHTTP2_EXTPRI_DEFAULT_URGENCY, .inc = 1};
	struct http2_stream *stream;
	struct exchange *exchange;
	const char *why;
	int status = mesh_mux_http2_block_check(http2, HTTP2_REQUEST, &why);

	nghttp2_session_change_extpri_stream_priority(http2->session, id, &fair, 1);
	if (status) {
		refuse_request(http2, id, status);
		return;
	}
	stream = mesh_mux_http2_stream_new(http2);
	exchange = stream ? http2->base.owner->accept(&http2->base) : NULL;
	if (!exchange) {
		mesh_mux_http2_fail(http2, MESH_ERROR_NOMEM, NGHTTP2_INTERNAL_ERROR, "no memory for a request");
		return;
	}
	stream->id = id;
	exchange->id = (uint32_t)id;
	nghttp2_session_set_stream_user_data(http2->session, id, stream);
	mesh_mux_http2_stream_attach(http2, stream, exchange);
	/* more than can have been on their way when it was told: it does not listen */
	if (http2->base.limits.requests_max &&
	    http2->base.carried >= http2->base.limits.requests_max + http2->streams_max)
		mesh_mux_http2_drain_answered(http2);
	if (mesh_mux_http2_block_head(http2, exchange->arena, &http2->head, end)) {
		mesh_mux_http2_no_memory(http2, stream);
		return;
	}
	stream->to_head = mesh_slice_equal(http2->head.method, MESH_SLICE("HEAD"));
	stream->wants_continue = http2->head.expects_continue;
	stream->upgrading = http2->head.upgrade.data;
	stream->tunnel = stream->upgrading || mesh_slice_equal(http2->head.method, MESH_SLICE("CONNECT"));
	exchange->head_received = true;
	exchange->events->head(exchange, &http2->head, end);
	if (end && stream->exchange == exchange)
		mesh_mux_http2_message_ended(http2, stream);
	else if (end)
		stream->ended = true;
}

static void begin_response(struct http2 *http2, struct http2_stream *stream, bool end)
{
	struct exchange *exchange = stream->exchange;
	struct http_head *head = &http2->head;
	const char *why;
	int status = mesh_mux_http2_block_check(http2, HTTP2_RESPONSE, &why);

	if (!status && http2->block.status < 200) {
		/* together they may be as large as one head: each is kept as long as the call */
		stream->interim += http2->block.counted;
		if (stream->interim > http2->base.limits.head_bytes_max)
			status = 502, why = "HTTP/2: interim responses without end";
	}
	if (status) {
		mesh_mux_http2_stream_reset(http2, stream, NGHTTP2_PROTOCOL_ERROR, MESH_ERROR_PROTOCOL, why);
		return;
	}
	if (mesh_mux_http2_block_head(http2, exchange->arena, head, end)) {
		mesh_mux_http2_no_memory(http2, stream);
		return;
	}
	if (head->status < 200) {
		if (exchange->events->interim)
			exchange->events->interim(exchange, head);
		return;
	}
	stream->tunnel &= head->status < 300;
	if (stream->upgrading && stream->tunnel) {
		head->status = 101;
		head->upgrade = stream->upgrade;
	}
	if (stream->tunnel)
		head->content_length = -1;
	exchange->head_received = true;
	exchange->events->head(exchange, head, end);
	if (end && stream->exchange == exchange)
		mesh_mux_http2_message_ended(http2, stream);
	else if (end)
		stream->ended = true;
}

static void take_trailers(struct http2 *http2, struct http2_stream *stream)
{
	struct exchange *exchange = stream->exchange;
	const char *why;
	int status = mesh_mux_http2_block_check(http2, HTTP2_TRAILERS, &why);

	if (status && http2->base.server && !exchange->head_sent) {
		stream->failure = MESH_ERROR_DOWNSTREAM_PROTOCOL;
		stream->failure_why = why;
		stream->ended = true;
		mesh_mux_http2_answer(http2, stream->id, status);
		mesh_mux_http2_stream_due(http2, stream);
		return;
	}
	if (status) {
		mesh_mux_http2_stream_reset(http2, stream, NGHTTP2_PROTOCOL_ERROR, http2_peer_error(http2), why);
		return;
	}
	if (mesh_mux_http2_block_trailers(http2, exchange->arena, &stream->received_trailers)) {
		mesh_mux_http2_no_memory(http2, stream);
		return;
	}
	stream->has_received_trailers = stream->received_trailers.count > 0;
	mesh_mux_http2_message_ended(http2, stream);
}

void mesh_mux_http2_headers_received(struct http2 *http2, const nghttp2_frame *frame)
{
	struct http2_stream *stream = nghttp2_session_get_stream_user_data(http2->session, frame->hd.stream_id);
	bool end = frame->hd.flags & NGHTTP2_FLAG_END_STREAM;

	if (http2->base.server && frame->headers.cat == NGHTTP2_HCAT_REQUEST)
		begin_request(http2, frame->hd.stream_id, end);
	else if (stream && stream->exchange && !stream->failure && !http2->base.server &&
		 !stream->exchange->head_received)
		begin_response(http2, stream, end);
	else if (stream && stream->exchange && !stream->failure)
		take_trailers(http2, stream);
	else if (stream && end)
		stream->ended = true;
	/* one request with very large headers must not hold that much memory from then on */
	if (http2->block.bytes.room > HEAD_KEEP_BYTES)
		mesh_buf_free(&http2->block.bytes);
}

/* In pieces, so that a pause in the middle is heeded. */
static void deliver_stream(struct http2 *http2, struct http2_stream *stream)
{
	struct exchange *exchange = stream->exchange;

	if (stream->owed && !exchange->paused) {
		mesh_mux_http2_consume(http2, stream, stream->owed);
		stream->owed = 0;
	}
	while (stream->exchange == exchange && !exchange->paused && mesh_buf_len(&stream->in)) {
		struct mesh_slice piece = mesh_buf_slice(&stream->in);

		piece.len = piece.len > DELIVER_BYTES ? DELIVER_BYTES : piece.len;
		mesh_buf_consume(&stream->in, piece.len);
		stream->owed += piece.len;
		exchange->events->data(exchange, piece);
		if (stream->exchange == exchange && !exchange->paused) {
			mesh_mux_http2_consume(http2, stream, stream->owed);
			stream->owed = 0;
		}
	}
	if (stream->exchange == exchange && !exchange->paused && stream->ended && !exchange->received_end)
		tell_end(http2, stream);
}

void mesh_mux_http2_deliver(struct http2 *http2)
{
	while (!mesh_list_empty(&http2->resumed) && !http2->dead) {
		struct http2_stream *stream = MESH_CONTAINER(http2->resumed.next, struct http2_stream, due);

		mesh_list_remove(&stream->due);
		if (stream->exchange && !stream->failure)
			deliver_stream(http2, stream);
	}
}
