/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What goes: nghttp2's frames to the transport, many in one write, and bodies from their streams straight behind the
 * heads of their frames. Refuses to know what messages are.
 */
#include "http/mux_http2.h"

#include "net/transport.h"

enum { WRITES_PER_FLUSH = 4, OUT_KEEP_BYTES = 32768 };

static struct http2_stream *stream_of(nghttp2_session *session, int32_t id)
{
	return nghttp2_session_get_stream_user_data(session, id);
}

/* The trailers follow what was just given: they must not overtake it in nghttp2's queues. */
static int submit_trailers(struct http2 *http2, struct http2_stream *stream)
{
	ssize_t count = mesh_mux_http2_trailer_fields(http2, mesh_buf_slice(&stream->trailers));

	if (count < 0)
		return NGHTTP2_ERR_NOMEM;
	mesh_buf_clear(&stream->trailers);
	return nghttp2_submit_trailer(http2->session, stream->id, http2->fields, (size_t)count);
}

ssize_t mesh_mux_http2_give_data(nghttp2_session *session, int32_t id, uint8_t *room, size_t max, uint32_t *flags,
				 nghttp2_data_source *source, void *user)
{
	struct http2 *http2 = user;
	struct http2_stream *stream = source->ptr;
	size_t left = mesh_buf_len(&stream->out), len = left < max ? left : max;

	if (!len && !stream->out_end) {
		stream->deferred = true;
		return NGHTTP2_ERR_DEFERRED;
	}
	if (len == left && stream->out_end) {
		*flags |= NGHTTP2_DATA_FLAG_EOF;
		if (stream->has_trailers) {
			*flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
			if (submit_trailers(http2, stream))
				return NGHTTP2_ERR_CALLBACK_FAILURE;
		}
	}
	if (len)
		*flags |= NGHTTP2_DATA_FLAG_NO_COPY;
	return (ssize_t)len;
}

static int send_data(nghttp2_session *session, nghttp2_frame *frame, const uint8_t *head, size_t len,
		     nghttp2_data_source *source, void *user)
{
	struct http2 *http2 = user;
	struct http2_stream *stream = source->ptr;
	char *at = mesh_buf_reserve(&http2->out, 9 + len);

	if (!at)
		return NGHTTP2_ERR_CALLBACK_FAILURE;
	memcpy(at, head, 9);
	memcpy(at + 9, stream->out.data + stream->out.start, len);
	mesh_buf_commit(&http2->out, 9 + len);
	mesh_buf_consume(&stream->out, len);
	http2->queued -= len;
	if (stream->exchange)
		stream->exchange->left_bytes += len;
	return mesh_buf_len(&http2->out) >= HTTP2_WRITE_BYTES ? NGHTTP2_ERR_PAUSE : 0;
}

static void end_sent(struct http2 *http2, struct http2_stream *stream)
{
	int rv = 0;

	stream->end_sent = true;
	/* answered before all of the request came: the rest is not wanted */
	if (http2->base.server && !stream->tunnel &&
	    !nghttp2_session_get_stream_remote_close(http2->session, stream->id))
		rv = nghttp2_submit_rst_stream(http2->session, NGHTTP2_FLAG_NONE, stream->id, NGHTTP2_NO_ERROR);
	if (nghttp2_is_fatal(rv))
		mesh_mux_http2_broken(http2, rv);
}

/* nghttp2's own: what the peer did it cannot go on from. */
static void going_away(struct http2 *http2, const nghttp2_goaway *goaway)
{
	int error = http2_peer_error(http2);
	struct why why = {.text = ""};

	if (goaway->opaque_data_len)
		mesh_why(&why, error, "HTTP/2: %.*s", (int)goaway->opaque_data_len, (const char *)goaway->opaque_data);
	else if (goaway->error_code == NGHTTP2_INTERNAL_ERROR) /* so it answers streams reset at too high a rate */
		mesh_why(&why, error, "HTTP/2: flood of RST_STREAM");
	else
		mesh_why(&why, error, "HTTP/2: %s", nghttp2_http2_strerror(goaway->error_code));
	mesh_mux_http2_doom(http2, error, why.text);
}

static int on_frame_send(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
	struct http2 *http2 = user;
	struct http2_stream *stream;

	switch (frame->hd.type) {
	case NGHTTP2_DATA:
		http2->frames.data_sent++;
		/* fall through */
	case NGHTTP2_HEADERS:
		stream = stream_of(session, frame->hd.stream_id);
		if (stream && !stream->head_out) {
			stream->head_out = true;
			stream->head_at = http2->base.written_bytes + mesh_buf_len(&http2->out);
		}
		if (stream && frame->hd.flags & NGHTTP2_FLAG_END_STREAM)
			end_sent(http2, stream);
		break;
	case NGHTTP2_RST_STREAM:
		stream = stream_of(session, frame->hd.stream_id);
		if (stream && !stream->failure && frame->rst_stream.error_code != NGHTTP2_NO_ERROR)
			mesh_mux_http2_wrong_seen(http2);
		break;
	case NGHTTP2_PING:
	case NGHTTP2_SETTINGS:
		if (frame->hd.flags & NGHTTP2_FLAG_ACK && http2->frames.control)
			http2->frames.control--;
		break;
	case NGHTTP2_GOAWAY:
		http2->goaway_out = http2->dead || frame->goaway.error_code != NGHTTP2_NO_ERROR;
		if (frame->goaway.error_code != NGHTTP2_NO_ERROR && !http2->dead)
			going_away(http2, &frame->goaway);
		break;
	default:
		break;
	}
	return 0;
}

void mesh_mux_http2_set_write_callbacks(nghttp2_session_callbacks *callbacks)
{
	nghttp2_session_callbacks_set_send_data_callback(callbacks, send_data);
	nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, on_frame_send);
}

static void pull(struct http2 *http2)
{
	while (!http2->broken && mesh_buf_len(&http2->out) < HTTP2_WRITE_BYTES && !(http2->dead && http2->goaway_out)) {
		const uint8_t *bytes;
		ssize_t n = nghttp2_session_mem_send(http2->session, &bytes);

		if (n > 0 && mesh_buf_append(&http2->out, mesh_slice_make(bytes, (size_t)n)))
			n = NGHTTP2_ERR_NOMEM;
		if (n < 0)
			mesh_mux_http2_broken(http2, (int)n);
		if (n <= 0)
			return;
	}
}

/* False: not all of it. */
static bool write_out(struct http2 *http2)
{
	struct transport *transport = http2->base.transport;

	while (mesh_buf_len(&http2->out)) {
		ssize_t n = transport->ops->write(transport, mesh_buf_slice(&http2->out));

		if (n == MESH_ERROR_AGAIN) {
			http2->blocked = true;
			return false;
		}
		if (n < 0) {
			struct why why = transport->why;

			mesh_buf_clear(&http2->out);
			/* the peer may have said before why it went, and have answered some */
			if (!http2->peer_ended && !http2->dead)
				mesh_mux_http2_read(http2);
			mesh_mux_http2_lost(http2, (int)n, why.text);
			return false;
		}
		http2->base.written_bytes += (uint64_t)n;
		mesh_buf_consume(&http2->out, (size_t)n);
	}
	http2->blocked = false;
	return true;
}

void mesh_mux_http2_write(struct http2 *http2)
{
	for (unsigned i = 0; i < WRITES_PER_FLUSH && !http2->peer_ended; i++) {
		pull(http2);
		if (!mesh_buf_len(&http2->out) || !write_out(http2))
			break;
	}
	if (!http2->live && !mesh_buf_len(&http2->out) && http2->out.room > OUT_KEEP_BYTES)
		mesh_buf_free(&http2->out);
}
