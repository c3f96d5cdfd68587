/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages to send: that each is what its head promised, and how much of it may wait for the peer's windows. Refuses to
 * know when frames leave, and what was received.
 */
#include "http/mux_http2.h"

enum { QUEUED_FACTOR = 16 };

/* One that waits always gets room when nothing of its own is queued: others cannot starve it. */
static bool has_room(const struct http2 *http2, const struct http2_stream *stream, size_t part)
{
	size_t max = http2->base.limits.send_bytes_max, own = mesh_buf_len(&stream->out);

	return own <= max / part && (!own || http2->queued <= QUEUED_FACTOR * max);
}

void mesh_mux_http2_tell_writable(struct http2 *http2)
{
	struct link waiting;

	if (mesh_list_empty(&http2->stalled))
		return;
	/* each once: a stream may stall again inside */
	waiting = http2->stalled;
	waiting.next->prev = waiting.prev->next = &waiting;
	mesh_list_init(&http2->stalled);
	while (!mesh_list_empty(&waiting)) {
		struct http2_stream *stream = MESH_CONTAINER(waiting.next, struct http2_stream, stalled);
		struct exchange *exchange = stream->exchange;

		mesh_list_remove(&stream->stalled);
		if (!exchange || http2->dead)
			continue;
		if (!has_room(http2, stream, 2) || (!stream->id && !http2->settings_received)) {
			mesh_list_push(&http2->stalled, &stream->stalled);
			continue;
		}
		exchange->wants_writable = false;
		exchange->events->writable(exchange);
	}
}

/* What is submitted leaves with the next flush. */
static int submitted(struct http2 *http2, int rv)
{
	if (nghttp2_is_fatal(rv))
		mesh_mux_http2_broken(http2, rv);
	http2_make_dirty(http2);
	return rv == NGHTTP2_ERR_NOMEM ? MESH_ERROR_NOMEM : rv < 0 ? MESH_ERROR_STATE : 0;
}

static void resume(struct http2 *http2, struct http2_stream *stream)
{
	int rv = 0;

	if (stream->deferred) {
		stream->deferred = false;
		rv = nghttp2_session_resume_data(http2->session, stream->id);
	}
	if (nghttp2_is_fatal(rv))
		mesh_mux_http2_broken(http2, rv);
	http2_make_dirty(http2);
}

/* Nothing can be sent any more; `over` is due and tells why. */
static bool lost(const struct http2 *http2, const struct http2_stream *stream)
{
	return http2->dead || http2->broken || stream->closed || stream->failure || stream->peer_reset;
}

static int send_request(struct http2 *http2, struct http2_stream *stream, const struct http_head *head, bool end,
			const nghttp2_data_provider *body)
{
	bool with_length = head->content_length >= 0 && !stream->tunnel;
	ssize_t count;
	int32_t id;

	if (end && with_length)
		with_length = head->content_length == 0 && (mesh_slice_equal(head->method, MESH_SLICE("POST")) ||
							    mesh_slice_equal(head->method, MESH_SLICE("PUT")) ||
							    mesh_slice_equal(head->method, MESH_SLICE("PATCH")));
	count = mesh_mux_http2_request_fields(http2, head, with_length);
	if (count < 0)
		return (int)count;
	id = nghttp2_submit_request(http2->session, NULL, http2->fields, (size_t)count, body, stream);
	if (id < 0)
		return submitted(http2, id);
	stream->id = id;
	stream->exchange->id = (uint32_t)id;
	stream->to_send = with_length && !end ? head->content_length : -1;
	return 0;
}

static int prepare_request(struct http2 *http2, struct http2_stream *stream, const struct http_head *head)
{
	bool failed = false;

	stream->upgrading = head->upgrade.len;
	stream->tunnel = stream->upgrading || mesh_slice_equal(head->method, MESH_SLICE("CONNECT"));
	stream->to_head = mesh_slice_equal(head->method, MESH_SLICE("HEAD"));
	if (!stream->upgrading)
		return 0;
	if (!http2->settings_received) { /* it will say whether it knows this */
		stream->exchange->wants_writable = true;
		mesh_list_remove(&stream->stalled);
		mesh_list_push(&http2->stalled, &stream->stalled);
		return MESH_ERROR_AGAIN;
	}
	if (!nghttp2_session_get_remote_settings(http2->session, NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL))
		return MESH_ERROR_STATE; /* the peer did not say that it knows this */
	stream->upgrade = mesh_arena_slice(stream->exchange->arena, head->upgrade, &failed);
	return failed ? MESH_ERROR_NOMEM : 0;
}

static int send_response(struct http2 *http2, struct http2_stream *stream, const struct http_head *head, bool end,
			 const nghttp2_data_provider *body)
{
	bool bodiless = head->status == 204 || head->status == 304, with_length;
	int status = head->status;
	ssize_t count;
	int rv;

	if (status < 200 && (status != 101 || !stream->upgrading))
		return MESH_ERROR_INVALID;
	if (status == 101)
		status = 200;
	else if (stream->upgrading && status < 300)
		status = 501; /* an answer to the GET that it was told as; 2xx would agree to what was asked for */
	stream->tunnel &= status < 300;
	with_length = head->content_length >= 0 && !bodiless && !stream->tunnel;
	count = mesh_mux_http2_response_fields(http2, head, status, with_length);
	if (count < 0)
		return (int)count;
	rv = nghttp2_submit_response(http2->session, stream->id, http2->fields, (size_t)count, body);
	if (rv)
		return submitted(http2, rv);
	stream->no_body = bodiless || stream->to_head;
	stream->to_send = with_length && !end && !stream->to_head ? head->content_length : -1;
	return 0;
}

int mesh_mux_http2_send_head(struct exchange *exchange, const struct http_head *head, bool end)
{
	struct http2 *http2 = http2_of(exchange->mux);
	struct http2_stream *stream = exchange->stream;
	nghttp2_data_provider body = {.source.ptr = stream, .read_callback = mesh_mux_http2_give_data};
	int rc;

	if (exchange->head_sent)
		return MESH_ERROR_STATE;
	if (lost(http2, stream))
		rc = 0;
	else if (http2->base.server)
		rc = send_response(http2, stream, head, end, end ? NULL : &body);
	else
		rc = prepare_request(http2, stream, head);
	if (!rc && !http2->base.server && !lost(http2, stream))
		rc = send_request(http2, stream, head, end, end ? NULL : &body);
	if (rc)
		return rc;
	exchange->head_sent = true;
	exchange->sent_end = end;
	http2_make_dirty(http2);
	return 0;
}

int mesh_mux_http2_send_data(struct exchange *exchange, struct mesh_slice data, bool end)
{
	struct http2 *http2 = http2_of(exchange->mux);
	struct http2_stream *stream = exchange->stream;
	int rc;

	if (!exchange->head_sent || exchange->sent_end)
		return MESH_ERROR_STATE;
	if (!has_room(http2, stream, 1)) {
		exchange->wants_writable = true;
		mesh_list_remove(&stream->stalled);
		mesh_list_push(&http2->stalled, &stream->stalled);
		http2_make_dirty(http2);
		return MESH_ERROR_AGAIN;
	}
	/* more or less than content-length promised */
	if (stream->to_send >= 0 &&
	    (data.len > (uint64_t)stream->to_send || (end && data.len != (uint64_t)stream->to_send)))
		return MESH_ERROR_INVALID;
	if (stream->no_body && data.len)
		return MESH_ERROR_INVALID;
	if (lost(http2, stream)) {
		exchange->sent_end = end;
		return 0;
	}
	rc = mesh_buf_append(&stream->out, data);
	if (rc) {
		/* the message cannot be whole any more: `over` comes, here and at the peer's */
		mesh_mux_http2_stream_reset(http2, stream, http2->base.server ? NGHTTP2_INTERNAL_ERROR : NGHTTP2_CANCEL,
					    MESH_ERROR_NOMEM, "no memory to send a message");
		return rc;
	}
	http2->queued += data.len;
	if (stream->to_send >= 0)
		stream->to_send -= (int64_t)data.len;
	stream->out_end = end;
	exchange->sent_end = end;
	if (data.len || end)
		resume(http2, stream);
	return 0;
}

int mesh_mux_http2_send_trailers(struct exchange *exchange, const struct headers *trailers)
{
	struct http2 *http2 = http2_of(exchange->mux);
	struct http2_stream *stream = exchange->stream;
	int rc;

	if (!exchange->head_sent || exchange->sent_end)
		return MESH_ERROR_STATE;
	if (stream->to_send > 0)
		return MESH_ERROR_INVALID;
	rc = mesh_mux_http2_keep_trailers(&stream->trailers, trailers);
	if (rc == MESH_ERROR_NOMEM)
		mesh_mux_http2_stream_reset(http2, stream, http2->base.server ? NGHTTP2_INTERNAL_ERROR : NGHTTP2_CANCEL,
					    rc, "no memory to send trailers");
	if (rc)
		return rc;
	exchange->sent_end = true;
	stream->has_trailers = true;
	stream->out_end = true;
	if (!lost(http2, stream))
		resume(http2, stream);
	return 0;
}

int mesh_mux_http2_send_interim(struct exchange *exchange, const struct http_head *head)
{
	struct http2 *http2 = http2_of(exchange->mux);
	struct http2_stream *stream = exchange->stream;
	ssize_t count;

	if (exchange->head_sent || head->status < 100 || head->status > 199 || head->status == 101)
		return exchange->head_sent ? MESH_ERROR_STATE : MESH_ERROR_INVALID;
	if (lost(http2, stream) || (head->status == 100 && !stream->wants_continue))
		return 0;
	stream->wants_continue = false;
	count = mesh_mux_http2_response_fields(http2, head, head->status, false);
	if (count < 0)
		return (int)count;
	return submitted(http2, nghttp2_submit_headers(http2->session, NGHTTP2_FLAG_NONE, stream->id, NULL,
						       http2->fields, (size_t)count, NULL));
}

void mesh_mux_http2_answer(struct http2 *http2, int32_t id, int status)
{
	struct http_head head = {.content_length = 0};
	ssize_t count = mesh_mux_http2_response_fields(http2, &head, status, true);

	if (count < 0)
		mesh_mux_http2_broken(http2, NGHTTP2_ERR_NOMEM);
	else
		submitted(http2, nghttp2_submit_response(http2->session, id, http2->fields, (size_t)count, NULL));
}
