/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What goes: how a message is framed, that it is as long as its head promised, and how much may wait for a peer that reads
 * slowly. Refuses to know what was received, but that an early answer makes a broken request no failure.
 */
#include "http/mux_http1.h"

#include <mesh/error.h>

#include "net/transport.h"

static const size_t out_keep_bytes = 8192; /* of the send buffer on an idle connection */

/*
 * Client: the request can be sent no further. A server that answers before it heard all and closes is not a failure as
 * long as its answer can be read.
 */
static bool answered_early(struct http1 *http1)
{
	if (http1->base.server || http1->dead || http1->reading || !http1->exchange)
		return false;
	mesh_buf_clear(&http1->out);
	mesh_mux_http1_read(http1);
	return http1->dead || (http1->exchange && http1->exchange->head_received);
}

void mesh_mux_http1_write(struct http1 *http1)
{
	while (mesh_buf_len(&http1->out)) {
		ssize_t n = http1->base.transport->ops->write(http1->base.transport, mesh_buf_slice(&http1->out));

		if (n == MESH_ERROR_AGAIN) {
			http1->blocked = true;
			return;
		}
		if (n < 0) {
			int error = http1->dead ? http1->error : (int)n;

			if (answered_early(http1))
				return;
			mesh_mux_http1_fail(http1, (int)n, http1->base.transport->why.text);
			http1->error = error ? error : (int)n;
			return;
		}
		http1->written = true;
		http1->base.written_bytes += (uint64_t)n;
		mesh_buf_consume(&http1->out, (size_t)n);
	}
	http1->blocked = false;
	if (http1->out.room > out_keep_bytes)
		mesh_buf_free(&http1->out);
}

void mesh_mux_http1_tell_writable(struct http1 *http1)
{
	struct exchange *exchange = http1->exchange;

	if (!exchange || !exchange->wants_writable || http1_awaits_change(http1) ||
	    mesh_buf_len(&http1->out) > http1->base.limits.send_bytes_max / 2)
		return;
	exchange->wants_writable = false;
	exchange->events->writable(exchange);
}

/* Methods that have no body as a rule: of the others the length is told also when it is 0, as by Envoy. */
static bool without_body(struct mesh_slice method)
{
	return mesh_slice_equal(method, MESH_SLICE("GET")) || mesh_slice_equal(method, MESH_SLICE("HEAD")) ||
	       mesh_slice_equal(method, MESH_SLICE("DELETE")) || mesh_slice_equal(method, MESH_SLICE("TRACE")) ||
	       mesh_slice_equal(method, MESH_SLICE("CONNECT"));
}

static enum http1_body choose_body(const struct http1 *http1, const struct http_head *head, bool end)
{
	bool client = !http1->base.server;

	if (head->upgrade.len)
		return client ? HTTP1_BODY_NONE : HTTP1_BODY_CLOSE;
	if (client && end)
		return head->content_length == 0 && !without_body(head->method) ? HTTP1_BODY_LENGTH : HTTP1_BODY_NONE;
	if (!client && (head->status == 204 || head->status == 304))
		return HTTP1_BODY_NONE;
	if (head->content_length >= 0)
		return HTTP1_BODY_LENGTH;
	if (end)
		return http1->to_head ? HTTP1_BODY_NONE : HTTP1_BODY_LENGTH;
	return http1->old_peer ? HTTP1_BODY_CLOSE : HTTP1_BODY_CHUNKED;
}

int mesh_mux_http1_send_head(struct exchange *exchange, const struct http_head *head, bool end)
{
	struct http1 *http1 = http1_of(exchange->mux);
	struct http_head own = *head;
	int rc;

	if (exchange->head_sent)
		return MESH_ERROR_STATE;
	rc = http1->base.server ? mesh_mux_http1_agree(http1, &own) : mesh_mux_http1_ask(http1, head);
	if (rc)
		return rc;
	http1->body = choose_body(http1, &own, end);
	if (end && own.content_length < 0)
		own.content_length = 0;
	if (http1->body == HTTP1_BODY_CLOSE || (http1->base.server && (http1->base.draining || http1->want_continue)))
		http1->close_after = true;
	/* a request whose body is still to come, answered for good: the rest is read only so far */
	if (!http1->base.server)
		http1->to_head = mesh_slice_equal(head->method, MESH_SLICE("HEAD"));
	rc = http1->base.server ? mesh_http1_write_response(&http1->out, &own, http1->body, http1->close_after)
				: mesh_http1_write_request(&http1->out, &own, http1->body, http1_last_exchange(http1));
	if (rc)
		return rc;
	http1->to_send = http1->body == HTTP1_BODY_LENGTH && !end ? (uint64_t)own.content_length : 0;
	http1->upgraded = http1->base.server && own.status == 101;
	exchange->head_sent = true;
	exchange->sent_end = end;
	http1_make_dirty(http1);
	return 0;
}

/* No memory in the middle of a message: `over` comes, here and at the peer's. */
static int cannot_go_on(struct http1 *http1, int error)
{
	if (error == MESH_ERROR_NOMEM) {
		mesh_mux_http1_fail(http1, error, "no memory to send a message");
		http1_make_dirty(http1);
	}
	return error;
}

int mesh_mux_http1_send_data(struct exchange *exchange, struct mesh_slice data, bool end)
{
	struct http1 *http1 = http1_of(exchange->mux);
	size_t queued = mesh_buf_len(&http1->out);
	int rc;

	if (!exchange->head_sent || exchange->sent_end)
		return MESH_ERROR_STATE;
	if (http1_awaits_change(http1) && data.len) {
		exchange->wants_writable = true;
		return MESH_ERROR_AGAIN;
	}
	/* only what is still unsent counts: a body given in one piece, however large, is taken right behind its head */
	if (queued > http1->base.limits.send_bytes_max) {
		exchange->wants_writable = true;
		http1_make_dirty(http1);
		return MESH_ERROR_AGAIN;
	}
	if (http1->body == HTTP1_BODY_LENGTH && (data.len > http1->to_send || (end && data.len != http1->to_send)))
		return MESH_ERROR_INVALID; /* more or less than content-length promised */
	if (http1->body == HTTP1_BODY_NONE && data.len)
		return MESH_ERROR_INVALID;
	rc = http1->body == HTTP1_BODY_CHUNKED ? mesh_http1_write_chunk(&http1->out, data)
					       : mesh_buf_append(&http1->out, data);
	if (!rc && end && http1->body == HTTP1_BODY_CHUNKED)
		rc = mesh_http1_write_last_chunk(&http1->out, NULL);
	if (rc)
		return cannot_go_on(http1, rc);
	http1->to_send -= http1->body == HTTP1_BODY_LENGTH ? data.len : 0;
	exchange->sent_end = end;
	http1_make_dirty(http1);
	return 0;
}

int mesh_mux_http1_send_trailers(struct exchange *exchange, const struct headers *trailers)
{
	struct http1 *http1 = http1_of(exchange->mux);
	int rc = 0;

	if (!exchange->head_sent || exchange->sent_end)
		return MESH_ERROR_STATE;
	if (http1->asked.len && (http1->upgraded || !http1->base.server) && trailers && trailers->count)
		return MESH_ERROR_INVALID; /* another protocol has none */
	if (http1->body == HTTP1_BODY_CHUNKED)
		rc = mesh_http1_write_last_chunk(&http1->out, trailers);
	else if (http1->to_send)
		return MESH_ERROR_INVALID;
	if (rc)
		return cannot_go_on(http1, rc);
	exchange->sent_end = true;
	http1_make_dirty(http1);
	return 0;
}

int mesh_mux_http1_send_interim(struct exchange *exchange, const struct http_head *head)
{
	struct http1 *http1 = http1_of(exchange->mux);
	int rc;

	if (exchange->head_sent)
		return MESH_ERROR_STATE;
	if (head->status < 100 || head->status > 199 || head->status == 101 || head->upgrade.len)
		return MESH_ERROR_INVALID;
	if (http1->old_peer || (head->status == 100 && !http1->want_continue))
		return 0;
	http1->want_continue = false;
	rc = mesh_http1_write_response(&http1->out, head, HTTP1_BODY_NONE, false);
	if (!rc)
		http1_make_dirty(http1);
	return rc;
}
