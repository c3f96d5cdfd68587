/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What comes: bytes of the transport to heads and bodies, and from them to events. Messages are parsed where they were
 * read, so an idle connection holds no buffer; what cannot be taken yet is kept, within bounds, and reading stops.
 * Refuses to know how messages are sent and when the owner hears of the end.
 */
#include "http/mux_http1.h"

#include <mesh/error.h>

#include "net/transport.h"

static const size_t waste_max = 256 * 1024;  /* of an unwanted request body, to keep the connection */
static const unsigned empty_lines_max = 2;   /* before a request line */

static void wrong_message(struct http1 *http1)
{
	struct exchange *exchange = http1->exchange;

	if (http1->base.server && (!exchange || !exchange->head_sent)) {
		if (exchange)
			mesh_mux_http1_exchange_over(http1, MESH_ERROR_DOWNSTREAM_PROTOCOL, http1->parser.why.text, false);
		mesh_mux_http1_answer_wrong(http1);
		return;
	}
	mesh_mux_http1_fail(http1, http1->base.server ? MESH_ERROR_DOWNSTREAM_PROTOCOL : MESH_ERROR_PROTOCOL,
			    http1->parser.why.text);
}

static bool begin_request(struct http1 *http1, struct mesh_slice bytes)
{
	struct exchange *exchange;
	int rc;

	exchange = http1->base.owner->accept(&http1->base);
	if (!exchange) {
		mesh_mux_http1_fail(http1, MESH_ERROR_NOMEM, "no memory for a request");
		return false;
	}
	http1->exchange = exchange;
	http1->base.active = 1;
	http1->base.carried++;
	exchange->mux = &http1->base;
	rc = mesh_http1_parse_request(&http1->parser, bytes, exchange->arena, &http1->head);
	if (rc) {
		if (rc == MESH_ERROR_NOMEM)
			mesh_mux_http1_fail(http1, rc, "no memory for a request head");
		else
			wrong_message(http1);
		return false;
	}
	http1->receiving = true;
	http1->to_head = mesh_slice_equal(http1->head.method, MESH_SLICE("HEAD"));
	http1->old_peer = !http1->head.minor;
	http1->asked = http1->head.upgrade;
	http1->close_after = !http1->parser.keep_alive || http1_last_exchange(http1);
	http1->want_continue = http1->head.expects_continue && http1->parser.framing != HTTP1_NO_BODY;
	http1->written = false;
	mesh_headers_clear(&http1->trailers);
	exchange->head_received = true;
	exchange->events->head(exchange, &http1->head, http1->parser.framing == HTTP1_NO_BODY);
	return true;
}

static bool begin_response(struct http1 *http1, struct mesh_slice bytes)
{
	struct exchange *exchange = http1->exchange;
	int rc = mesh_http1_parse_response(&http1->parser, bytes, http1->to_head, exchange->arena, &http1->head);

	if (rc) {
		if (rc == MESH_ERROR_NOMEM)
			mesh_mux_http1_fail(http1, rc, "no memory for a response head");
		else
			wrong_message(http1);
		return false;
	}
	if (http1->head.status < 200 && http1->head.status != 101) {
		/* together they may be as long as one head: each is kept as long as the call */
		http1->interim += bytes.len;
		if (http1->interim > http1->base.limits.head_bytes_max) {
			mesh_mux_http1_fail(http1, MESH_ERROR_PROTOCOL, "HTTP/1.1: interim responses without end");
			return false;
		}
		if (exchange->events->interim)
			exchange->events->interim(exchange, &http1->head);
		return true;
	}
	if (!mesh_mux_http1_answered(http1))
		return false;
	http1->receiving = true;
	mesh_headers_clear(&http1->trailers);
	exchange->head_received = true;
	exchange->events->head(exchange, &http1->head, http1->parser.framing == HTTP1_NO_BODY);
	return true;
}

/* A head at the front of input, if it is whole. False: nothing more to do now. */
static bool parse_head(struct http1 *http1, struct mesh_slice *input)
{
	struct mesh_slice head;
	ssize_t len;

	if (http1->base.server) {
		while (input->len >= 2 && !memcmp(input->data, "\r\n", 2) && http1->empty_lines < empty_lines_max) {
			http1->empty_lines++;
			input->data += 2;
			input->len -= 2;
			http1->parser.scanned = 0;
		}
	} else if (!http1->exchange) {
		if (input->len)
			mesh_mux_http1_fail(http1, MESH_ERROR_PROTOCOL, "bytes nobody asked for");
		return false;
	}
	if (!input->len)
		return false;
	len = mesh_http1_find_head(&http1->parser, *input);
	if (len < 0)
		wrong_message(http1);
	if (len <= 0)
		return false;
	http1->empty_lines = 0;
	head = mesh_slice_make(input->data, (size_t)len);
	input->data += len;
	input->len -= (size_t)len;
	return http1->base.server ? begin_request(http1, head) : begin_response(http1, head);
}

static void message_complete(struct http1 *http1)
{
	struct exchange *exchange = http1->exchange;

	http1->receiving = false;
	if (http1->wasting) {
		http1->wasting = false;
		if (http1->close_after)
			mesh_mux_http1_doom(http1, 0, "");
		else
			http1->base.owner->idle(&http1->base);
		return;
	}
	exchange->received_end = true;
	exchange->events->end(exchange, http1->trailers.count ? &http1->trailers : NULL);
	mesh_mux_http1_settle(http1);
}

static bool waste(struct http1 *http1, size_t bytes)
{
	http1->wasted += bytes;
	if (http1->wasted <= waste_max)
		return true;
	mesh_mux_http1_doom(http1, 0, "the rest of an unwanted request body is too long");
	return false;
}

/* A piece of the body. False: nothing more to do now. */
static bool parse_body(struct http1 *http1, struct mesh_slice *input)
{
	struct exchange *exchange = http1->exchange;
	struct mesh_slice data = {NULL, 0};

	if (exchange && exchange->paused)
		return false;
	switch (mesh_http1_body(&http1->parser, input, &data, exchange ? exchange->arena : NULL, &http1->trailers)) {
	case HTTP1_MORE:
		return false;
	case HTTP1_DATA:
		if (http1->wasting)
			return waste(http1, data.len);
		exchange->events->data(exchange, data);
		return true;
	case HTTP1_END:
		message_complete(http1);
		return true;
	case HTTP1_WRONG:
		if (http1->wasting) /* was answered: a second answer would be taken for another's */
			mesh_mux_http1_doom(http1, 0, http1->parser.why.text);
		else
			wrong_message(http1);
		return false;
	}
	return false;
}

/* As much of *input as can be taken now. */
static void parse(struct http1 *http1, struct mesh_slice *input)
{
	bool more = true;

	http1->reading = true;
	while (more && !http1->dead) {
		if (http1->receiving)
			more = parse_body(http1, input);
		else if (http1->base.server && (http1->exchange || http1->peer_ended))
			more = false; /* the present answer comes first */
		else
			more = parse_head(http1, input);
	}
	http1->reading = false;
}

void mesh_mux_http1_parse_kept(struct http1 *http1)
{
	struct mesh_slice input;

	/* a body whose last bytes made its taker pause is whole, with nothing left to read */
	bool whole = http1->receiving && http1->parser.framing == HTTP1_LENGTH && !http1->parser.remaining;

	if (http1->reading || http1->dead || (!mesh_buf_len(&http1->in) && !whole))
		return;
	input = mesh_buf_slice(&http1->in);
	parse(http1, &input);
	mesh_buf_consume(&http1->in, mesh_buf_len(&http1->in) - input.len);
	mesh_buf_shrink(&http1->in);
}

static void keep(struct http1 *http1, struct mesh_slice rest)
{
	int rc = http1->dead ? 0 : mesh_buf_append(&http1->in, rest);

	if (rc)
		mesh_mux_http1_fail(http1, rc, rc == MESH_ERROR_NOMEM ? "no memory for what was received"
								      : "more received than may wait");
}

static void take_input(struct http1 *http1, struct mesh_slice bytes)
{
	if (mesh_buf_len(&http1->in)) {
		keep(http1, bytes);
		mesh_mux_http1_parse_kept(http1);
		return;
	}
	parse(http1, &bytes);
	if (bytes.len)
		keep(http1, bytes);
}

void mesh_mux_http1_input_ended(struct http1 *http1)
{
	struct exchange *exchange = http1->exchange;

	http1->peer_ended = true;
	if (http1->receiving && http1->parser.framing == HTTP1_UNTIL_CLOSE) {
		if (exchange && (exchange->paused || mesh_buf_len(&http1->in)))
			return; /* delivered when it goes on */
		message_complete(http1);
		return;
	}
	if (http1->base.server && exchange && exchange->received_end) {
		http1->close_after = true; /* half-closed: the answer is still wanted */
		return;
	}
	if (exchange && !http1->base.server && !exchange->head_received && mesh_buf_len(&http1->in))
		mesh_mux_http1_fail(http1, MESH_ERROR_PROTOCOL, "the peer closed in the middle of the response's head");
	else if (exchange || http1->receiving)
		mesh_mux_http1_fail(http1, MESH_ERROR_RESET,
				    http1->base.server ? "the peer closed in the middle of a request"
				    : exchange && exchange->head_received
					    ? "the peer closed in the middle of the response"
					    : "the peer closed before a response");
	else
		mesh_mux_http1_doom(http1, 0, "");
}

void mesh_mux_http1_read(struct http1 *http1)
{
	char bytes[HTTP1_READ_BYTES];
	bool drained = false;

	/* bounded: others on this thread want their turn too */
	for (unsigned i = 0; i < 16 && !drained && http1_wants_input(http1); i++) {
		ssize_t n = http1->base.transport->ops->read(http1->base.transport, bytes, sizeof(bytes), &drained);

		http1->unread = n > 0 && !drained;

		if (n > 0) {
			http1->base.read_bytes += (uint64_t)n;
			take_input(http1, mesh_slice_make(bytes, (size_t)n));
		} else if (n == 0) {
			mesh_mux_http1_input_ended(http1);
			return;
		} else if (n == MESH_ERROR_AGAIN) {
			return;
		} else {
			mesh_mux_http1_fail(http1, (int)n, http1->base.transport->why.text);
			return;
		}
	}
}
