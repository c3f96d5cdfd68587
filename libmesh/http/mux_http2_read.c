/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What comes: bytes of the transport to nghttp2, and what it makes of them to who deals with it. Refuses to know
 * messages, how they are sent, and floods.
 */
#include "http/mux_http2.h"

#include "net/transport.h"

enum { QUEUE_BEFORE_READING_STOPS = 200, READS_AT_ONCE = 16, STREAMS_AT_ONCE = 256 };

static struct http2_stream *stream_of(nghttp2_session *session, int32_t id)
{
	return nghttp2_session_get_stream_user_data(session, id);
}

static void goaway_received(struct http2 *http2, const nghttp2_goaway *goaway)
{
	http2->goaway_received = http2->base.leaving = true;
	if (goaway->error_code != NGHTTP2_NO_ERROR) {
		http2->cause.text[0] = '\0';
		mesh_why(&http2->cause, MESH_ERROR_REMOTE_RESET, "%s", nghttp2_http2_strerror(goaway->error_code));
	}
}

static void ping_answered(struct http2 *http2, const nghttp2_ping *ping)
{
	if (!memcmp(ping->opaque_data, mesh_mux_http2_drain_ping, sizeof(ping->opaque_data)))
		mesh_mux_http2_drain_answered(http2);
	else if (http2->base.pings)
		http2->base.pings--;
}

static int on_frame_recv(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
	struct http2 *http2 = user;
	struct http2_stream *stream;

	if (http2->dead)
		return NGHTTP2_ERR_CALLBACK_FAILURE;
	switch (frame->hd.type) {
	case NGHTTP2_HEADERS:
		mesh_mux_http2_headers_received(http2, frame);
		break;
	case NGHTTP2_DATA:
		stream = stream_of(session, frame->hd.stream_id);
		if (stream && frame->hd.flags & NGHTTP2_FLAG_END_STREAM)
			mesh_mux_http2_message_ended(http2, stream);
		break;
	case NGHTTP2_RST_STREAM:
		stream = stream_of(session, frame->hd.stream_id);
		if (stream)
			stream->peer_reset = true;
		break;
	case NGHTTP2_SETTINGS:
		http2->settings_received |= !(frame->hd.flags & NGHTTP2_FLAG_ACK);
		http2->grown |= !http2->base.server && !(frame->hd.flags & NGHTTP2_FLAG_ACK);
		break;
	case NGHTTP2_PING:
		if (frame->hd.flags & NGHTTP2_FLAG_ACK)
			ping_answered(http2, &frame->ping);
		break;
	case NGHTTP2_GOAWAY:
		goaway_received(http2, &frame->goaway);
		break;
	default:
		break;
	}
	return http2->dead ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
	mesh_mux_http2_block_begin(user);
	return 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_len,
		     const uint8_t *value, size_t value_len, uint8_t flags, void *user)
{
	struct http2 *http2 = user;
	int rc = mesh_mux_http2_block_add(http2, mesh_slice_make(name, name_len), mesh_slice_make(value, value_len));

	if (rc == MESH_ERROR_NOMEM)
		mesh_mux_http2_fail(http2, rc, NGHTTP2_INTERNAL_ERROR, "no memory for headers");
	else if (rc)
		mesh_mux_http2_fail(http2, http2_peer_error(http2), NGHTTP2_ENHANCE_YOUR_CALM,
				    "HTTP/2: headers far too large");
	return rc ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
}

/* nghttp2 would leave such a field out; two readers must not see different messages. */
static int on_invalid_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_len,
			     const uint8_t *value, size_t value_len, uint8_t flags, void *user)
{
	return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
}

static int on_invalid_frame(nghttp2_session *session, const nghttp2_frame *frame, int error, void *user)
{
	struct http2 *http2 = user;
	struct http2_stream *stream = stream_of(session, frame->hd.stream_id);

	if (!stream) /* else it is seen when its RST_STREAM leaves */
		mesh_mux_http2_wrong_seen(http2);
	if (error != NGHTTP2_ERR_HTTP_HEADER && error != NGHTTP2_ERR_HTTP_MESSAGING)
		return 0;
	if (!http2->dead && !http2->base.limits.http2.invalid_message_resets_stream) {
		mesh_mux_http2_fail(http2, http2_peer_error(http2), NGHTTP2_PROTOCOL_ERROR,
				    "HTTP/2: malformed message");
		return NGHTTP2_ERR_CALLBACK_FAILURE;
	}
	if (stream && !stream->failure) {
		stream->failure = http2_peer_error(http2);
		stream->failure_why = "HTTP/2: malformed message";
	}
	return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *bytes, size_t len, void *user)
{
	struct http2 *http2 = user;
	struct http2_stream *stream = stream_of(session, id);
	struct exchange *exchange = stream ? stream->exchange : NULL;

	if (http2->dead)
		return NGHTTP2_ERR_CALLBACK_FAILURE;
	if (!exchange || stream->failure) {
		if (nghttp2_is_fatal(nghttp2_session_consume(session, id, len)))
			mesh_mux_http2_broken(http2, NGHTTP2_ERR_NOMEM);
	} else if (mesh_mux_http2_must_wait(stream)) {
		if (mesh_buf_append(&stream->in, mesh_slice_make(bytes, len))) {
			mesh_mux_http2_consume(http2, stream, len);
			mesh_mux_http2_no_memory(http2, stream);
		}
	} else {
		exchange->events->data(exchange, mesh_slice_make(bytes, len));
		if (stream->exchange == exchange && exchange->paused)
			stream->owed += len;
		else
			mesh_mux_http2_consume(http2, stream, len);
	}
	return http2->dead ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t code, void *user)
{
	struct http2 *http2 = user;
	struct http2_stream *stream = stream_of(session, id);

	if (stream)
		mesh_mux_http2_stream_closed(http2, stream, code);
	return http2->dead && http2->reading ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
}

void mesh_mux_http2_set_read_callbacks(nghttp2_session_callbacks *callbacks)
{
	nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame_recv);
	nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
	nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
	nghttp2_session_callbacks_set_on_invalid_header_callback(callbacks, on_invalid_header);
	nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(callbacks, on_invalid_frame);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
	nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
}

bool mesh_mux_http2_wants_input(const struct http2 *http2)
{
	if (http2->dead || http2->peer_ended)
		return false;
	/* a peer that does not read what it asked for is not asked for more */
	return !http2->blocked || nghttp2_session_get_outbound_queue_size(http2->session) < QUEUE_BEFORE_READING_STOPS;
}

static void parse(struct http2 *http2, struct mesh_slice bytes)
{
	ssize_t n;

	if (!mesh_mux_http2_frames_seen(http2, bytes))
		return;
	http2->reading = true;
	n = nghttp2_session_mem_recv(http2->session, (const uint8_t *)bytes.data, bytes.len);
	http2->reading = false;
	if (n == NGHTTP2_ERR_BAD_CLIENT_MAGIC)
		mesh_mux_http2_fail(http2, http2_peer_error(http2), NGHTTP2_PROTOCOL_ERROR,
				    "HTTP/2: no connection preface");
	else if (n == NGHTTP2_ERR_FLOODED)
		mesh_mux_http2_fail(http2, http2_peer_error(http2), NGHTTP2_ENHANCE_YOUR_CALM,
				    "HTTP/2: flood of control frames");
	else if (n < 0 && !http2->dead)
		mesh_mux_http2_broken(http2, (int)n);
	else
		mesh_mux_http2_queue_checked(http2);
}

void mesh_mux_http2_read_pre(struct http2 *http2)
{
	struct buf pre = http2->pre;

	if (!mesh_buf_len(&pre) || http2->dead)
		return;
	mesh_buf_init(&http2->pre, http2->base.mem, 0);
	parse(http2, mesh_buf_slice(&pre));
	mesh_buf_free(&pre);
}

void mesh_mux_http2_read(struct http2 *http2)
{
	char bytes[HTTP2_READ_BYTES];
	struct transport *transport = http2->base.transport;
	uint64_t opened = http2->frames.opened;
	bool drained = false;

	/* bounded: others on this thread want their turn too */
	for (unsigned i = 0; i < READS_AT_ONCE && !drained && mesh_mux_http2_wants_input(http2); i++) {
		ssize_t n;

		if (http2->frames.opened - opened >= STREAMS_AT_ONCE)
			return;
		n = transport->ops->read(transport, bytes, sizeof(bytes), &drained);
		http2->unread = n > 0 && !drained;
		if (n > 0) {
			http2->base.read_bytes += (uint64_t)n;
			parse(http2, mesh_slice_make(bytes, (size_t)n));
			mesh_mux_http2_finish(http2); /* streams that ended are given back before others come */
		} else if (n == 0) {
			mesh_mux_http2_lost(http2, MESH_ERROR_RESET, "the peer closed the connection");
			return;
		} else if (n == MESH_ERROR_AGAIN) {
			return;
		} else {
			mesh_mux_http2_lost(http2, (int)n, transport->why.text);
			return;
		}
	}
}
