/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One exchange at a time over one connection. A server answers in order: the next request is looked at when the last was
 * answered, until then its bytes wait and reading stops. Messages are parsed where they were read, so an idle connection
 * holds no buffer. Refuses to know what is carried and who waits for it; has no clock.
 */
#include <mesh/error.h>

#include "base/buf.h"
#include "http/http1_parser.h"
#include "http/http1_writer.h"
#include "http/mux.h"
#include "loop/loop.h"

enum { READ_BYTES = 16384 + 512 }; /* a whole TLS record */

static const size_t out_keep_bytes = 8192;   /* of the send buffer on an idle connection */
static const size_t waste_max = 256 * 1024;  /* of an unwanted request body, to keep the connection */
static const unsigned empty_lines_max = 2;   /* before a request line */

const struct mux_limits mesh_mux_limits_default = {
	.head_bytes_max = 60 * 1024,
	.header_count_max = 100,
	.send_bytes_max = 64 * 1024,
};

struct http1 {
	struct mux base;
	struct http1_parser parser;
	struct exchange *exchange; /* the present one */
	struct buf in;             /* read and not yet parsed */
	struct buf out;            /* to write */
	struct http_head head;     /* received */
	struct headers trailers;
	bool receiving;     /* inside a message's body */
	bool reading;       /* inside parse(): no recursion */
	bool peer_ended;    /* nothing more comes */
	bool close_after;   /* this exchange is the last */
	bool wasting;       /* the rest of a request body nobody wants */
	bool to_head;       /* the request is HEAD */
	bool old_peer;      /* HTTP/1.0 */
	bool want_continue;
	bool written;       /* some bytes of the present message left */
	bool dead;          /* owner->closed is due or was told */
	bool told;
	bool blocked;       /* the transport took less than all */
	bool unread;        /* the transport may hold more that no poll will tell of */
	size_t wasted;
	size_t interim;     /* bytes of 1xx heads before the present response */
	unsigned empty_lines;
	enum http1_body body; /* being sent */
	uint64_t to_send;     /* HTTP1_BODY_LENGTH: what is missing */
	int error;
	struct why why;
};

static struct http1 *http1_of(const struct mux *mux)
{
	return (struct http1 *)mux;
}

static void wants_changed(struct http1 *http1)
{
	if (!http1->told)
		http1->base.owner->wants(&http1->base);
}

static void make_dirty(struct http1 *http1)
{
	http1->base.owner->dirty(&http1->base);
}

static void doom(struct http1 *http1, int error, const char *why)
{
	if (http1->dead)
		return;
	http1->dead = true;
	http1->error = error;
	mesh_why(&http1->why, error, "%s", why);
}

/* The exchange leaves with its last event. */
static void exchange_over(struct http1 *http1, int error, const char *why, bool unprocessed)
{
	struct exchange *exchange = http1->exchange;

	http1->exchange = NULL;
	http1->base.active = 0;
	exchange->mux = NULL;
	exchange->events->over(exchange, error, why, unprocessed);
}

/* Everything that could be carried was; the owner is told once. */
static void tell_closed(struct http1 *http1)
{
	if (!http1->dead || http1->told)
		return;
	if (http1->exchange)
		exchange_over(http1, http1->error ? http1->error : MESH_ERROR_RESET, http1->why.text,
			      !http1->base.server && !http1->written);
	if (!http1->error && mesh_buf_len(&http1->out))
		return; /* an orderly end waits until all is written */
	http1->told = true;
	http1->base.owner->closed(&http1->base, http1->error, http1->why.text);
}

static void fail(struct http1 *http1, int error, const char *why)
{
	mesh_buf_clear(&http1->out);
	doom(http1, error, why);
}

static bool last_exchange(const struct http1 *http1)
{
	return http1->base.draining || http1->peer_ended ||
	       (http1->base.limits.requests_max && http1->base.carried >= http1->base.limits.requests_max);
}

/* Both directions whole? Then the exchange goes and the connection is free, or ends. */
static void settle(struct http1 *http1)
{
	struct exchange *exchange = http1->exchange;
	bool reusable;

	if (!exchange || http1->dead)
		return;
	if (http1->base.server) {
		if (!exchange->sent_end)
			return;
		if (!exchange->received_end)
			http1->wasting = !http1->want_continue && !http1->base.draining; /* what may never come is not awaited */
		reusable = !http1->close_after && !http1->base.draining;
	} else {
		if (!exchange->received_end)
			return;
		reusable = exchange->sent_end && http1->parser.keep_alive && !last_exchange(http1) && !http1->close_after;
	}
	exchange_over(http1, 0, "", false);
	if (http1->dead)
		return;
	if (!reusable && !http1->wasting) {
		if (!http1->base.server)
			mesh_buf_clear(&http1->out); /* answered already: a peer that does not read must not hold the connection */
		doom(http1, 0, "");
	}
	else if (!http1->wasting)
		http1->base.owner->idle(&http1->base);
}

/* A request that could not be understood gets its status and the connection ends. */
static void refuse(struct http1 *http1)
{
	struct http_head head = {.status = http1->parser.status ? http1->parser.status : 400, .content_length = 0};

	if (!mesh_http1_write_response(&http1->out, &head, HTTP1_BODY_LENGTH, true))
		make_dirty(http1);
	http1->peer_ended = true;
	mesh_buf_clear(&http1->in);
	doom(http1, 0, http1->parser.why.text);
}

static void wrong_message(struct http1 *http1)
{
	struct exchange *exchange = http1->exchange;

	if (http1->base.server && (!exchange || !exchange->head_sent)) {
		if (exchange)
			exchange_over(http1, MESH_ERROR_DOWNSTREAM_PROTOCOL, http1->parser.why.text, false);
		refuse(http1);
		return;
	}
	fail(http1, http1->base.server ? MESH_ERROR_DOWNSTREAM_PROTOCOL : MESH_ERROR_PROTOCOL, http1->parser.why.text);
}

static bool begin_request(struct http1 *http1, struct mesh_slice bytes)
{
	struct exchange *exchange;
	int rc;

	exchange = http1->base.owner->accept(&http1->base);
	if (!exchange) {
		fail(http1, MESH_ERROR_NOMEM, "no memory for a request");
		return false;
	}
	http1->exchange = exchange;
	http1->base.active = 1;
	http1->base.carried++;
	exchange->mux = &http1->base;
	rc = mesh_http1_parse_request(&http1->parser, bytes, exchange->arena, &http1->head);
	if (rc) {
		if (rc == MESH_ERROR_NOMEM)
			fail(http1, rc, "no memory for a request head");
		else
			wrong_message(http1);
		return false;
	}
	http1->receiving = true;
	http1->to_head = mesh_slice_equal(http1->head.method, MESH_SLICE("HEAD"));
	http1->old_peer = !http1->head.minor;
	http1->close_after = !http1->parser.keep_alive || last_exchange(http1);
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
			fail(http1, rc, "no memory for a response head");
		else
			wrong_message(http1);
		return false;
	}
	if (http1->head.status < 200) {
		http1->interim += bytes.len; /* together they may be as long as one head: each is kept as long as the call */
		if (http1->interim > http1->base.limits.head_bytes_max) {
			fail(http1, MESH_ERROR_PROTOCOL, "HTTP/1.1: interim responses without end");
			return false;
		}
		if (exchange->events->interim)
			exchange->events->interim(exchange, &http1->head);
		return true;
	}
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
			fail(http1, MESH_ERROR_PROTOCOL, "bytes nobody asked for");
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
			doom(http1, 0, "");
		else
			http1->base.owner->idle(&http1->base);
		return;
	}
	exchange->received_end = true;
	exchange->events->end(exchange, http1->trailers.count ? &http1->trailers : NULL);
	settle(http1);
}

static bool waste(struct http1 *http1, size_t bytes)
{
	http1->wasted += bytes;
	if (http1->wasted <= waste_max)
		return true;
	doom(http1, 0, "the rest of an unwanted request body is too long");
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
			doom(http1, 0, http1->parser.why.text);
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

/* Bytes kept from before, when there is reason to look at them again. */
static void parse_kept(struct http1 *http1)
{
	struct mesh_slice input;

	if (http1->reading || http1->dead || !mesh_buf_len(&http1->in))
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
		fail(http1, rc, rc == MESH_ERROR_NOMEM ? "no memory for what was received" : "more received than may wait");
}

static void take_input(struct http1 *http1, struct mesh_slice bytes)
{
	if (mesh_buf_len(&http1->in)) {
		keep(http1, bytes);
		parse_kept(http1);
		return;
	}
	parse(http1, &bytes);
	if (bytes.len)
		keep(http1, bytes);
}

static void input_ended(struct http1 *http1)
{
	struct exchange *exchange = http1->exchange;

	http1->peer_ended = true;
	if (!http1->base.server && exchange && http1->receiving && http1->parser.framing == HTTP1_UNTIL_CLOSE) {
		if (exchange->paused)
			return; /* delivered when it goes on */
		message_complete(http1);
		return;
	}
	if (http1->base.server && exchange && exchange->received_end) {
		http1->close_after = true; /* half-closed: the answer is still wanted */
		return;
	}
	if (exchange || http1->receiving)
		fail(http1, MESH_ERROR_RESET,
		     http1->base.server ? "the peer closed in the middle of a request"
		     : exchange && exchange->head_received
			     ? "the peer closed in the middle of the response"
			     : "the peer closed before a response");
	else
		doom(http1, 0, "");
}

static bool wants_input(const struct http1 *http1)
{
	if (http1->dead || http1->peer_ended)
		return false;
	if (http1->exchange && http1->exchange->paused)
		return false;
	/* a pipelined request waits unread behind the present one */
	return !(http1->base.server && http1->exchange && !http1->receiving && mesh_buf_len(&http1->in));
}

static void read_some(struct http1 *http1)
{
	char bytes[READ_BYTES];
	bool drained = false;

	/* bounded: others on this thread want their turn too */
	for (unsigned i = 0; i < 16 && !drained && wants_input(http1); i++) {
		ssize_t n = http1->base.transport->ops->read(http1->base.transport, bytes, sizeof(bytes), &drained);

		http1->unread = n > 0 && !drained;

		if (n > 0) {
			http1->base.read_bytes += (uint64_t)n;
			take_input(http1, mesh_slice_make(bytes, (size_t)n));
		} else if (n == 0) {
			input_ended(http1);
			return;
		} else if (n == MESH_ERROR_AGAIN) {
			return;
		} else {
			fail(http1, (int)n, http1->base.transport->why.text);
			return;
		}
	}
}

/* Draining with nothing under way any more: the end. */
static void retire(struct http1 *http1)
{
	if (http1->base.draining && !http1->exchange && !http1->receiving && !mesh_buf_len(&http1->in))
		doom(http1, 0, "");
}

static void http1_ready(struct mux *mux, unsigned what)
{
	struct http1 *http1 = http1_of(mux);

	if (what & LOOP_READ) {
		parse_kept(http1); /* what was read while sniffing may be all there is to read */
		read_some(http1);
	}
	if (http1->unread && wants_input(http1))
		make_dirty(http1); /* the flush goes on reading */
	retire(http1);
	if ((what & LOOP_ERROR) && !(what & LOOP_READ && wants_input(http1)) && !http1->dead)
		fail(http1, MESH_ERROR_RESET, "the connection was reset");
	if (what & LOOP_WRITE && (mesh_buf_len(&http1->out) || http1->blocked)) {
		http1->blocked = false;
		make_dirty(http1);
	}
	if (http1->dead)
		tell_closed(http1);
	if (!http1->told)
		wants_changed(http1);
}

/*
 * Client: the request can be sent no further. A server that answers before it heard all and closes is not a failure as long
 * as its answer can be read.
 */
static bool answered_early(struct http1 *http1)
{
	if (http1->base.server || http1->dead || http1->reading || !http1->exchange)
		return false;
	mesh_buf_clear(&http1->out);
	read_some(http1);
	return http1->dead || (http1->exchange && http1->exchange->head_received);
}

static void write_some(struct http1 *http1)
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
			fail(http1, (int)n, http1->base.transport->why.text);
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

static void tell_writable(struct http1 *http1)
{
	struct exchange *exchange = http1->exchange;

	if (!exchange || !exchange->wants_writable || mesh_buf_len(&http1->out) > http1->base.limits.send_bytes_max / 2)
		return;
	exchange->wants_writable = false;
	exchange->events->writable(exchange);
}

static void http1_flush(struct mux *mux)
{
	struct http1 *http1 = http1_of(mux);

	if (http1->told)
		return;
	write_some(http1);
	if (!http1->reading) {
		settle(http1);
		if (!http1->dead && http1->peer_ended && !http1->base.server)
			input_ended(http1);
		parse_kept(http1);
		if (http1->unread)
			read_some(http1);
		if (http1->unread && wants_input(http1))
			make_dirty(http1);
		retire(http1);
	}
	tell_writable(http1);
	if (mesh_buf_len(&http1->out) && !http1->blocked && !http1->dead)
		write_some(http1); /* what `writable` and the next request added */
	if (http1->dead)
		tell_closed(http1);
	if (!http1->told)
		wants_changed(http1);
}

static unsigned http1_wants(const struct mux *mux)
{
	const struct http1 *http1 = http1_of(mux);

	return (wants_input(http1) ? LOOP_READ : 0u) | (http1->blocked ? LOOP_WRITE : 0u);
}

static unsigned http1_capacity(const struct mux *mux)
{
	const struct http1 *http1 = http1_of(mux);

	return !http1->dead && !http1->exchange && !last_exchange(http1);
}

static bool http1_receiving_head(const struct mux *mux)
{
	const struct http1 *http1 = http1_of(mux);

	return !http1->exchange && !http1->receiving && mesh_buf_len(&http1->in);
}

static int http1_open(struct mux *mux, struct exchange *exchange)
{
	struct http1 *http1 = http1_of(mux);

	if (!http1_capacity(mux))
		return MESH_ERROR_STATE;
	http1->exchange = exchange;
	http1->written = false;
	http1->close_after = false;
	http1->interim = 0;
	http1->parser.scanned = 0;
	exchange->mux = mux;
	mux->active = 1;
	mux->carried++;
	return 0;
}

static enum http1_body choose_body(const struct http1 *http1, const struct http_head *head, bool end)
{
	bool client = !http1->base.server;

	if (client && end)
		return head->content_length == 0 && (mesh_slice_equal(head->method, MESH_SLICE("POST")) ||
						     mesh_slice_equal(head->method, MESH_SLICE("PUT")) ||
						     mesh_slice_equal(head->method, MESH_SLICE("PATCH")))
			       ? HTTP1_BODY_LENGTH
			       : HTTP1_BODY_NONE;
	if (!client && (head->status == 204 || head->status == 304))
		return HTTP1_BODY_NONE;
	if (head->content_length >= 0)
		return HTTP1_BODY_LENGTH;
	if (end)
		return http1->to_head ? HTTP1_BODY_NONE : HTTP1_BODY_LENGTH;
	return http1->old_peer ? HTTP1_BODY_CLOSE : HTTP1_BODY_CHUNKED;
}

static int http1_send_head(struct exchange *exchange, const struct http_head *head, bool end)
{
	struct http1 *http1 = http1_of(exchange->mux);
	struct http_head own = *head;
	int rc;

	if (exchange->head_sent)
		return MESH_ERROR_STATE;
	http1->body = choose_body(http1, head, end);
	if (end && own.content_length < 0)
		own.content_length = 0;
	if (http1->body == HTTP1_BODY_CLOSE || (http1->base.server && (http1->base.draining || http1->want_continue)))
		http1->close_after = true;
	/* a request whose body is still to come, answered for good: the rest is read only so far */
	if (!http1->base.server)
		http1->to_head = mesh_slice_equal(head->method, MESH_SLICE("HEAD"));
	rc = http1->base.server ? mesh_http1_write_response(&http1->out, &own, http1->body, http1->close_after)
				: mesh_http1_write_request(&http1->out, &own, http1->body, last_exchange(http1));
	if (rc)
		return rc;
	http1->to_send = http1->body == HTTP1_BODY_LENGTH && !end ? (uint64_t)own.content_length : 0;
	exchange->head_sent = true;
	exchange->sent_end = end;
	make_dirty(http1);
	return 0;
}

/* No memory in the middle of a message: `over` comes, here and at the peer's. */
static int cannot_go_on(struct http1 *http1, int error)
{
	if (error == MESH_ERROR_NOMEM) {
		fail(http1, error, "no memory to send a message");
		make_dirty(http1);
	}
	return error;
}

static int http1_send_data(struct exchange *exchange, struct mesh_slice data, bool end)
{
	struct http1 *http1 = http1_of(exchange->mux);
	size_t queued = mesh_buf_len(&http1->out);
	int rc;

	if (!exchange->head_sent || exchange->sent_end)
		return MESH_ERROR_STATE;
	/* only what is still unsent counts: a body given in one piece, however large, is taken right behind its head */
	if (queued > http1->base.limits.send_bytes_max) {
		exchange->wants_writable = true;
		make_dirty(http1);
		return MESH_ERROR_AGAIN;
	}
	if (http1->body == HTTP1_BODY_LENGTH && (data.len > http1->to_send || (end && data.len != http1->to_send)))
		return MESH_ERROR_INVALID; /* more or less than content-length promised */
	if (http1->body == HTTP1_BODY_NONE && data.len)
		return MESH_ERROR_INVALID;
	rc = http1->body == HTTP1_BODY_CHUNKED ? mesh_http1_write_chunk(&http1->out, data) : mesh_buf_append(&http1->out, data);
	if (!rc && end && http1->body == HTTP1_BODY_CHUNKED)
		rc = mesh_http1_write_last_chunk(&http1->out, NULL);
	if (rc)
		return cannot_go_on(http1, rc);
	http1->to_send -= http1->body == HTTP1_BODY_LENGTH ? data.len : 0;
	exchange->sent_end = end;
	make_dirty(http1);
	return 0;
}

static int http1_send_trailers(struct exchange *exchange, const struct headers *trailers)
{
	struct http1 *http1 = http1_of(exchange->mux);
	int rc = 0;

	if (!exchange->head_sent || exchange->sent_end)
		return MESH_ERROR_STATE;
	if (http1->body == HTTP1_BODY_CHUNKED)
		rc = mesh_http1_write_last_chunk(&http1->out, trailers);
	else if (http1->to_send)
		return MESH_ERROR_INVALID;
	if (rc)
		return cannot_go_on(http1, rc);
	exchange->sent_end = true;
	make_dirty(http1);
	return 0;
}

static int http1_send_continue(struct exchange *exchange)
{
	struct http1 *http1 = http1_of(exchange->mux);
	int rc;

	if (!http1->want_continue || exchange->head_sent)
		return 0;
	http1->want_continue = false;
	rc = mesh_buf_append(&http1->out, MESH_SLICE("HTTP/1.1 100 Continue\r\n\r\n"));
	if (!rc)
		make_dirty(http1);
	return rc;
}

static void http1_pause(struct exchange *exchange, bool paused)
{
	struct http1 *http1 = http1_of(exchange->mux);

	if (exchange->paused == paused)
		return;
	exchange->paused = paused;
	if (!paused)
		make_dirty(http1); /* kept bytes are delivered from the flush */
	wants_changed(http1);
}

static void http1_reset(struct exchange *exchange, int error)
{
	struct http1 *http1 = http1_of(exchange->mux);

	http1->exchange = NULL;
	http1->base.active = 0;
	exchange->mux = NULL;
	/* what the peer got of it cannot be taken back: the connection goes */
	fail(http1, error, "reset by this side");
	make_dirty(http1);
}

static void http1_refuse(struct mux *mux, int status, const char *why)
{
	struct http1 *http1 = http1_of(mux);

	if (http1->dead || http1->exchange || !mux->server)
		return;
	http1->parser.status = status;
	mesh_why(&http1->parser.why, MESH_ERROR_DOWNSTREAM_PROTOCOL, "%s", why);
	refuse(http1);
}

static void http1_drain(struct mux *mux)
{
	struct http1 *http1 = http1_of(mux);

	if (mux->draining)
		return;
	mux->draining = true;
	if (http1->exchange) {
		if (!http1->exchange->head_sent)
			http1->close_after = true;
		else if (mux->server)
			http1->close_after = true; /* its head promised more; the close itself says it */
		return;
	}
	if (!http1->reading) /* a request that just begins is still answered */
		retire(http1);
	make_dirty(http1);
}

static void http1_destroy(struct mux *mux)
{
	struct http1 *http1 = http1_of(mux);

	if (http1->exchange)
		http1->exchange->mux = NULL;
	mesh_buf_free(&http1->in);
	mesh_buf_free(&http1->out);
	mesh_mem_free(mux->mem, http1);
}

static const struct mux_ops http1_ops = {
	.protocol = "http/1.1",
	.open = http1_open,
	.send_head = http1_send_head,
	.send_data = http1_send_data,
	.send_trailers = http1_send_trailers,
	.send_continue = http1_send_continue,
	.pause = http1_pause,
	.reset = http1_reset,
	.ready = http1_ready,
	.flush = http1_flush,
	.wants = http1_wants,
	.capacity = http1_capacity,
	.receiving_head = http1_receiving_head,
	.refuse = http1_refuse,
	.drain = http1_drain,
	.destroy = http1_destroy,
};

int mesh_mux_http1_new(const struct mesh_mem *mem, struct transport *transport, bool server, const struct mux_owner *owner,
		       const struct mux_limits *limits, struct mesh_slice head, struct mux **mux)
{
	struct http1 *http1 = mesh_mem_zalloc(mem, sizeof(*http1));

	if (!http1)
		return MESH_ERROR_NOMEM;
	http1->base.ops = &http1_ops;
	http1->base.owner = owner;
	http1->base.transport = transport;
	http1->base.mem = mem;
	http1->base.limits = *limits;
	http1->base.server = server;
	mesh_http1_parser_init(&http1->parser, limits);
	mesh_buf_init(&http1->in, mem, limits->head_bytes_max + READ_BYTES + READ_BYTES);
	mesh_buf_init(&http1->out, mem, 0);
	if (mesh_buf_append(&http1->in, head)) {
		http1_destroy(&http1->base);
		return MESH_ERROR_NOMEM;
	}
	*mux = &http1->base;
	return 0;
}
