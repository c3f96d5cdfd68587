/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An HTTP/1.1 connection from inside, between the mux_http1*.c only: its life (mux_http1.c), what comes
 * (mux_http1_read.c), what goes (mux_http1_write.c), and the change to another protocol (mux_http1_upgrade.c).
 */
#ifndef MESH_HTTP_MUX_HTTP1_H
#define MESH_HTTP_MUX_HTTP1_H

#include "base/buf.h"
#include "http/http1_parser.h"
#include "http/http1_writer.h"
#include "http/mux.h"

enum { HTTP1_READ_BYTES = 16384 + 512 }; /* a whole TLS record */

struct http1 {
	struct mux base;
	struct http1_parser parser;
	struct exchange *exchange; /* the present one */
	struct buf in;             /* read and not yet parsed */
	struct buf out;            /* to write */
	struct http_head head;     /* received */
	struct headers trailers;
	bool receiving;     /* inside a message's body */
	bool reading;       /* inside parse() of mux_http1_read.c: no recursion */
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
	struct mesh_slice asked; /* the protocol the present request asks for, in lower case */
	bool upgraded;      /* both sides agreed: bytes as they come */
	bool shut;          /* and our direction has ended */
	enum http1_body body; /* being sent */
	uint64_t to_send;     /* HTTP1_BODY_LENGTH: what is missing */
	int error;
	struct why why;
};

static inline struct http1 *http1_of(const struct mux *mux)
{
	return (struct http1 *)mux;
}

static inline void http1_wants_changed(struct http1 *http1)
{
	if (!http1->told)
		http1->base.owner->wants(&http1->base);
}

static inline void http1_make_dirty(struct http1 *http1)
{
	http1->base.owner->dirty(&http1->base);
}

static inline bool http1_last_exchange(const struct http1 *http1)
{
	return http1->base.draining || http1->peer_ended ||
	       (http1->base.limits.requests_max && http1->base.carried >= http1->base.limits.requests_max);
}

/* Client: asked for another protocol and not answered yet; nothing may follow the request. */
static inline bool http1_awaits_change(const struct http1 *http1)
{
	return !http1->base.server && http1->asked.len && !http1->upgraded;
}

static inline bool http1_wants_input(const struct http1 *http1)
{
	if (http1->dead || http1->peer_ended)
		return false;
	if (http1->exchange && http1->exchange->paused)
		return false;
	/* a pipelined request waits unread behind the present one */
	return !(http1->base.server && http1->exchange && !http1->receiving && mesh_buf_len(&http1->in));
}

/* mux_http1.c */

/* Nothing more is carried; what is queued still leaves when there is no error. The owner hears from ready or flush. */
void mesh_mux_http1_doom(struct http1 *http1, int error, const char *why);
/* The same, and what is queued is dropped. */
void mesh_mux_http1_fail(struct http1 *http1, int error, const char *why);
/* The exchange leaves with its last event. */
void mesh_mux_http1_exchange_over(struct http1 *http1, int error, const char *why, bool unprocessed);
/* Both directions whole? Then the exchange goes and the connection is free, or ends. */
void mesh_mux_http1_settle(struct http1 *http1);
/* A request that could not be understood gets the parser's status, and the connection ends. */
void mesh_mux_http1_answer_wrong(struct http1 *http1);

/* mux_http1_read.c */

/* Reads and parses while there is something and it is wanted; bounded. */
void mesh_mux_http1_read(struct http1 *http1);
/* Bytes kept from before, when there is reason to look at them again. */
void mesh_mux_http1_parse_kept(struct http1 *http1);
/* The peer sends no more: the end of a body without a length, of a connection, or a message cut off. */
void mesh_mux_http1_input_ended(struct http1 *http1);

/* mux_http1_upgrade.c */

/* Client: notes what the request asks for. INVALID: it has a body, or names no protocol; NOMEM. */
int mesh_mux_http1_ask(struct http1 *http1, const struct http_head *head);
/* Server: may this be answered? A 101 gets the protocol that was asked for. STATE, INVALID. */
int mesh_mux_http1_agree(struct http1 *http1, struct http_head *head);
/* Client: the final head or 101 came. False: it was not asked for, the connection is lost. */
bool mesh_mux_http1_answered(struct http1 *http1);
/* All is written and our side has ended: says so. */
void mesh_mux_http1_end_direction(struct http1 *http1);
/* Over once both directions ended and all is written. */
void mesh_mux_http1_settle_upgraded(struct http1 *http1);

/* mux_http1_write.c: as mux.h says of the ops */

void mesh_mux_http1_write(struct http1 *http1); /* what is queued, as far as it goes */
void mesh_mux_http1_tell_writable(struct http1 *http1);
int mesh_mux_http1_send_head(struct exchange *exchange, const struct http_head *head, bool end);
int mesh_mux_http1_send_data(struct exchange *exchange, struct mesh_slice data, bool end);
int mesh_mux_http1_send_trailers(struct exchange *exchange, const struct headers *trailers);
int mesh_mux_http1_send_interim(struct exchange *exchange, const struct http_head *head);

#endif
