/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One exchange at a time over one connection: when an exchange begins, when it is over, and whether the connection
 * goes on after it. A server answers in order: the next request is looked at when the last was answered. Refuses to
 * know what is carried and who waits for it; has no clock.
 */
#include "http/mux_http1.h"

#include <mesh/error.h>

#include "loop/loop.h"

void mesh_mux_http1_doom(struct http1 *http1, int error, const char *why)
{
	if (http1->dead)
		return;
	http1->dead = true;
	http1->error = error;
	mesh_why(&http1->why, error, "%s", why);
}

void mesh_mux_http1_exchange_over(struct http1 *http1, int error, const char *why, bool unprocessed)
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
		mesh_mux_http1_exchange_over(http1, http1->error ? http1->error : MESH_ERROR_RESET, http1->why.text,
					     !http1->base.server && !http1->written);
	if (!http1->error && mesh_buf_len(&http1->out))
		return; /* an orderly end waits until all is written */
	http1->told = true;
	http1->base.owner->closed(&http1->base, http1->error, http1->why.text);
}

void mesh_mux_http1_fail(struct http1 *http1, int error, const char *why)
{
	mesh_buf_clear(&http1->out);
	mesh_mux_http1_doom(http1, error, why);
}

void mesh_mux_http1_settle(struct http1 *http1)
{
	struct exchange *exchange = http1->exchange;
	bool reusable;

	if (!exchange || http1->dead)
		return;
	if (http1->upgraded) {
		mesh_mux_http1_settle_upgraded(http1);
		return;
	}
	if (http1->base.server) {
		if (!exchange->sent_end)
			return;
		if (!exchange->received_end)
			/* what may never come, or without end, is not awaited */
			http1->wasting = !http1->want_continue && !http1->base.draining && !http1->asked.len;
		reusable = !http1->close_after && !http1->base.draining;
	} else {
		if (!exchange->received_end)
			return;
		reusable = exchange->sent_end && http1->parser.keep_alive && !http1_last_exchange(http1) &&
			   !http1->close_after;
	}
	mesh_mux_http1_exchange_over(http1, 0, "", false);
	if (http1->dead)
		return;
	if (!reusable && !http1->wasting) {
		/* answered already: a peer that does not read must not hold the connection */
		if (!http1->base.server)
			mesh_buf_clear(&http1->out);
		mesh_mux_http1_doom(http1, 0, "");
	} else if (!http1->wasting) {
		http1->base.owner->idle(&http1->base);
	}
}

void mesh_mux_http1_answer_wrong(struct http1 *http1)
{
	struct http_head head = {.status = http1->parser.status ? http1->parser.status : 400, .content_length = 0};

	if (!mesh_http1_write_response(&http1->out, &head, HTTP1_BODY_LENGTH, true))
		http1_make_dirty(http1);
	http1->peer_ended = true;
	mesh_buf_clear(&http1->in);
	mesh_mux_http1_doom(http1, 0, http1->parser.why.text);
}

/* Draining with nothing under way any more: the end. */
static void retire(struct http1 *http1)
{
	if (http1->base.draining && !http1->exchange && !http1->receiving && !mesh_buf_len(&http1->in))
		mesh_mux_http1_doom(http1, 0, "");
}

static void http1_ready(struct mux *mux, unsigned what)
{
	struct http1 *http1 = http1_of(mux);

	if (what & LOOP_READ) {
		mesh_mux_http1_parse_kept(http1); /* what was read while sniffing may be all there is to read */
		mesh_mux_http1_read(http1);
	}
	if (http1->unread && http1_wants_input(http1))
		http1_make_dirty(http1); /* the flush goes on reading */
	retire(http1);
	if ((what & LOOP_ERROR) && !(what & LOOP_READ && http1_wants_input(http1)) && !http1->dead)
		mesh_mux_http1_fail(http1, MESH_ERROR_RESET, "the connection was reset");
	if (what & LOOP_WRITE && (mesh_buf_len(&http1->out) || http1->blocked)) {
		http1->blocked = false;
		http1_make_dirty(http1);
	}
	if (http1->dead)
		tell_closed(http1);
	if (!http1->told)
		http1_wants_changed(http1);
}

static void http1_flush(struct mux *mux)
{
	struct http1 *http1 = http1_of(mux);

	if (http1->told)
		return;
	mesh_mux_http1_write(http1);
	mesh_mux_http1_end_direction(http1);
	if (!http1->reading) {
		mesh_mux_http1_settle(http1);
		mesh_mux_http1_parse_kept(http1);
		if (!http1->dead && http1->peer_ended && http1->receiving)
			mesh_mux_http1_input_ended(http1); /* was held back by a pause */
		if (http1->unread)
			mesh_mux_http1_read(http1);
		if (http1->unread && http1_wants_input(http1))
			http1_make_dirty(http1);
		retire(http1);
	}
	mesh_mux_http1_tell_writable(http1);
	if (mesh_buf_len(&http1->out) && !http1->blocked && !http1->dead)
		mesh_mux_http1_write(http1); /* what `writable` and the next request added */
	mesh_mux_http1_end_direction(http1);
	if (http1->dead)
		tell_closed(http1);
	if (!http1->told)
		http1_wants_changed(http1);
}

static unsigned http1_wants(const struct mux *mux)
{
	const struct http1 *http1 = http1_of(mux);

	return (http1_wants_input(http1) ? LOOP_READ : 0u) | (http1->blocked ? LOOP_WRITE : 0u);
}

static unsigned http1_capacity(const struct mux *mux)
{
	const struct http1 *http1 = http1_of(mux);

	return !http1->dead && !http1->exchange && !http1_last_exchange(http1);
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
	http1->asked = (struct mesh_slice){NULL, 0};
	http1->parser.scanned = 0;
	exchange->mux = mux;
	mux->active = 1;
	mux->carried++;
	return 0;
}

static void http1_pause(struct exchange *exchange, bool paused)
{
	struct http1 *http1 = http1_of(exchange->mux);

	if (exchange->paused == paused)
		return;
	exchange->paused = paused;
	if (!paused)
		http1_make_dirty(http1); /* kept bytes are delivered from the flush */
	http1_wants_changed(http1);
}

static void http1_reset(struct exchange *exchange, int error)
{
	struct http1 *http1 = http1_of(exchange->mux);

	http1->exchange = NULL;
	http1->base.active = 0;
	exchange->mux = NULL;
	/* what the peer got of it cannot be taken back: the connection goes */
	mesh_mux_http1_fail(http1, error, "reset by this side");
	http1_make_dirty(http1);
}

static void http1_refuse(struct mux *mux, int status, const char *why)
{
	struct http1 *http1 = http1_of(mux);

	if (http1->dead || http1->exchange || !mux->server)
		return;
	http1->parser.status = status;
	mesh_why(&http1->parser.why, MESH_ERROR_DOWNSTREAM_PROTOCOL, "%s", why);
	mesh_mux_http1_answer_wrong(http1);
}

/* The protocol has no question that must be answered at any time. */
static void http1_ping(struct mux *mux)
{
}

static void http1_abort(struct mux *mux, int error, const char *why)
{
	mesh_mux_http1_fail(http1_of(mux), error, why);
	http1_make_dirty(http1_of(mux));
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
	http1_make_dirty(http1);
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
	.send_head = mesh_mux_http1_send_head,
	.send_data = mesh_mux_http1_send_data,
	.send_trailers = mesh_mux_http1_send_trailers,
	.send_interim = mesh_mux_http1_send_interim,
	.pause = http1_pause,
	.reset = http1_reset,
	.ready = http1_ready,
	.flush = http1_flush,
	.wants = http1_wants,
	.capacity = http1_capacity,
	.receiving_head = http1_receiving_head,
	.refuse = http1_refuse,
	.ping = http1_ping,
	.abort = http1_abort,
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
	mesh_http1_parser_init(&http1->parser, limits->head_bytes_max, limits->header_count_max, limits->http_10);
	mesh_buf_init(&http1->in, mem, limits->head_bytes_max + HTTP1_READ_BYTES + HTTP1_READ_BYTES);
	mesh_buf_init(&http1->out, mem, 0);
	if (mesh_buf_append(&http1->in, head)) {
		http1_destroy(&http1->base);
		return MESH_ERROR_NOMEM;
	}
	*mux = &http1->base;
	return 0;
}
