/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An HTTP/2 connection from inside, between the mux_http2*.c only: its life (mux_http2.c, .._settings.c), its streams
 * (.._stream.c), what comes (.._read.c, .._message.c, .._head.c), what goes (.._send.c, .._fields.c, .._write.c), what
 * a peer may not do (.._limits.c), memory for nghttp2 (.._mem.c). nghttp2 frames, compresses and keeps the windows; it
 * is never entered from inside itself.
 */
#ifndef MESH_HTTP_MUX_HTTP2_H
#define MESH_HTTP_MUX_HTTP2_H

#include <mesh/error.h>
#include <nghttp2/nghttp2.h>

#include "base/buf.h"
#include "base/why.h"
#include "http/mux.h"

enum {
	HTTP2_READ_BYTES = 16384 + 512,  /* a whole TLS record */
	HTTP2_WRITE_BYTES = 4 * 16384,   /* gathered before a write; more frames wait in nghttp2, data in its streams */
	HTTP2_MEM_CLASSES = 7,           /* 64 bytes to 4 KiB */
	HTTP2_ENDED_KEPT = 8,
};

/* Blocks that nghttp2 gave back, by size, for the next time it asks. */
struct http2_mem {
	const struct mesh_mem *mem;
	struct http2_block *spare[HTTP2_MEM_CLASSES];
	size_t kept; /* bytes */
	bool failed; /* the session is dying */
	nghttp2_mem table;
};

struct http2_stream {
	struct link link;    /* in http2->streams, or http2->spare */
	struct link due;     /* in http2->finished or http2->resumed */
	struct link stalled; /* in http2->stalled: waits to be told that there is room */
	struct exchange *exchange; /* NULL: it left */
	int32_t id;          /* 0: nothing was sent of it */
	struct buf out;      /* body to send */
	struct buf trailers; /* to send behind it, as records (mux_http2_fields.c) */
	struct buf in;       /* received while paused */
	size_t owed;         /* delivered, but the window is not opened again while paused */
	struct headers received_trailers;
	struct mesh_slice upgrade; /* what the request asked for; in the exchange's arena, or a copy */
	int64_t to_send;     /* what content-length still promises; -1: not said */
	uint64_t head_at;    /* client: where in all that was written its first byte is */
	size_t interim;      /* bytes of 1xx heads */
	uint32_t code;       /* closed with */
	int failure;         /* why this side ended it; 0: it did not */
	const char *failure_why;
	bool head_out;       /* client: its head was handed to the transport's buffer */
	bool closed;         /* nghttp2 knows it no more */
	bool peer_reset;     /* RST_STREAM received */
	bool deferred;       /* nghttp2 waits for data */
	bool has_data;       /* a body may follow the head */
	bool out_end;        /* the message ends behind `out` and `trailers` */
	bool has_trailers, has_received_trailers;
	bool end_sent;       /* END_STREAM left */
	bool ended;          /* END_STREAM received; told once `in` is empty */
	bool to_head;        /* the request is HEAD */
	bool wants_continue;
	bool tunnel;         /* CONNECT: both directions end on their own */
	bool upgrading;      /* extended CONNECT */
	bool no_body;        /* nothing may follow the head that is sent */
};

enum http2_block_kind { HTTP2_REQUEST, HTTP2_RESPONSE, HTTP2_TRAILERS };

/* A header block being received; the slices lie in `bytes`. */
struct http2_block_state {
	struct buf bytes;    /* records: lengths, name, value */
	size_t counted;      /* names and values */
	size_t fields;
	bool large;          /* past a bound; the rest is dropped */
	bool many;
	/* mesh_mux_http2_block_check's */
	struct mesh_slice method, scheme, authority, path, protocol, host, length;
	int status;
	size_t regular;      /* fields that the application sees, before cookies are joined */
	size_t cookies, cookie_bytes;
	bool expects_continue;
};

/* What was seen of frames, each before nghttp2 looks at it. */
struct http2_frames {
	unsigned char head[9];
	unsigned char lead[5]; /* first bytes of the payload, where looked at */
	unsigned have;         /* of head */
	unsigned lead_have;
	uint32_t left;         /* of the payload */
	uint32_t magic_left;   /* of the client's preface */
	bool in_block;         /* headers have begun and are not whole */
	unsigned continuations;
	uint64_t opened;       /* streams */
	uint64_t data_sent;    /* frames */
	uint64_t priorities, window_updates;
	uint64_t resets;       /* of streams not answered */
	uint64_t provoked;     /* streams this side had to reset */
	uint64_t completed;    /* those that ended well */
	uint32_t empty;        /* in a row */
	uint32_t control;      /* answers owed and not written */
	int32_t ended[HTTP2_ENDED_KEPT]; /* streams the peer ended: it may not use them again */
	unsigned ended_at;
	struct {
		int32_t from, to;
	} skipped[HTTP2_ENDED_KEPT]; /* and those it passed over */
	unsigned skipped_at;
	int32_t highest;
};

struct http2 {
	struct mux base;
	nghttp2_session *session;
	struct http2_mem mem;
	struct buf pre;      /* read while sniffing, not yet parsed */
	struct buf out;      /* frames to write */
	struct link streams; /* all in use */
	struct link finished, resumed, stalled;
	struct link spare;
	unsigned spare_count;
	unsigned live;       /* on `streams` */
	size_t queued;       /* bytes in all streams' out */
	nghttp2_nv *fields;  /* being sent; reused */
	size_t field_room;
	char digits[20];     /* and what they point to */
	char status[3];
	uint8_t unique_sent; /* mux_http2_fields.c */
	struct mesh_slice scheme; /* of requests that say none */
	struct http_head head; /* received */
	struct http2_block_state block;
	struct http2_frames frames;
	uint32_t streams_max;
	uint32_t ping_number;
	bool busy;           /* nghttp2 or an owner's event is on the stack: no recursion */
	bool reading;        /* inside nghttp2_session_mem_recv */
	bool again;          /* flush was asked for meanwhile */
	bool goaway_received;
	bool goaway_sent;    /* nothing new is carried */
	bool drain_told;     /* server: the notice that GOAWAY will come */
	bool peer_ended;
	bool dead;           /* owner->closed is due or was told */
	bool told;
	bool broken;         /* nghttp2 must not be used any more */
	bool goaway_out;     /* the last one was handed to the transport's buffer */
	bool blocked;        /* the transport took less than all */
	bool unread;         /* the transport may hold more that no poll will tell of */
	bool grown;          /* capacity may have */
	bool settings_received; /* the peer said what it takes */
	int error;
	struct why why;
	struct why cause;    /* what goes into GOAWAY, or came in one */
};

static inline struct http2 *http2_of(const struct mux *mux)
{
	return (struct http2 *)mux;
}

static inline void http2_make_dirty(struct http2 *http2)
{
	if (!http2->told)
		http2->base.owner->dirty(&http2->base);
}

static inline int http2_peer_error(const struct http2 *http2)
{
	return http2->base.server ? MESH_ERROR_DOWNSTREAM_PROTOCOL : MESH_ERROR_PROTOCOL;
}

static inline bool http2_last_exchange(const struct http2 *http2)
{
	return http2->base.draining || http2->goaway_received || http2->goaway_sent || http2->peer_ended ||
	       http2->dead ||
	       (http2->base.limits.requests_max && http2->base.carried >= http2->base.limits.requests_max);
}

/* mux_http2.c */

/* Nothing more is carried; what is queued still leaves when there is no error. The owner hears from ready or flush. */
void mesh_mux_http2_doom(struct http2 *http2, int error, const char *why);
/* The same, with a GOAWAY of that code, and what else is queued is dropped. */
void mesh_mux_http2_fail(struct http2 *http2, int error, uint32_t code, const char *why);
/* The transport carries no more: exchanges end, but for those that were received whole. */
void mesh_mux_http2_lost(struct http2 *http2, int error, const char *why);
/* nghttp2 answered with an error it cannot go on from. */
void mesh_mux_http2_broken(struct http2 *http2, int nghttp2_error);
void mesh_mux_http2_drain_answered(struct http2 *http2);
extern const uint8_t mesh_mux_http2_drain_ping[8];

/* mux_http2_settings.c */

int mesh_mux_http2_open_session(struct http2 *http2); /* NOMEM */

/* mux_http2_stream.c */

struct http2_stream *mesh_mux_http2_stream_new(struct http2 *http2); /* NULL: no memory */
void mesh_mux_http2_stream_attach(struct http2 *http2, struct http2_stream *stream, struct exchange *exchange);
/* The exchange has no mux any more. */
void mesh_mux_http2_stream_leave(struct http2 *http2, struct http2_stream *stream);
void mesh_mux_http2_stream_free_all(struct http2 *http2);
/* RST_STREAM; `error`: what the exchange hears, with words that live on. 0: it was complete. */
void mesh_mux_http2_stream_reset(struct http2 *http2, struct http2_stream *stream, uint32_t code, int error,
				 const char *why);
/* nghttp2 knows it no more. */
void mesh_mux_http2_stream_closed(struct http2 *http2, struct http2_stream *stream, uint32_t code);
/* It will be looked at by finish. */
void mesh_mux_http2_stream_due(struct http2 *http2, struct http2_stream *stream);
/* Tells exchanges that are over and frees their streams. Not inside nghttp2. */
void mesh_mux_http2_finish(struct http2 *http2);
/* All exchanges are over, with the mux's error. */
void mesh_mux_http2_end_all(struct http2 *http2);
uint32_t mesh_mux_http2_code_of(const struct http2 *http2, int error);

/* mux_http2_read.c */

void mesh_mux_http2_set_read_callbacks(nghttp2_session_callbacks *callbacks);
void mesh_mux_http2_read(struct http2 *http2);
void mesh_mux_http2_read_pre(struct http2 *http2); /* what was read while sniffing */
bool mesh_mux_http2_wants_input(const struct http2 *http2);

/* mux_http2_message.c */

void mesh_mux_http2_headers_received(struct http2 *http2, const nghttp2_frame *frame);
bool mesh_mux_http2_must_wait(const struct http2_stream *stream); /* what is received cannot be told now */
void mesh_mux_http2_message_ended(struct http2 *http2, struct http2_stream *stream);
void mesh_mux_http2_no_memory(struct http2 *http2, struct http2_stream *stream);
void mesh_mux_http2_deliver(struct http2 *http2); /* what waited in paused exchanges */
void mesh_mux_http2_consume(struct http2 *http2, struct http2_stream *stream, size_t bytes); /* they were taken */

/* mux_http2_head.c */

void mesh_mux_http2_block_begin(struct http2 *http2);
/* NOMEM. TOO_LARGE: so much that the connection is to end. */
int mesh_mux_http2_block_add(struct http2 *http2, struct mesh_slice name, struct mesh_slice value);
/* 0, or the status that a server answers with instead; *why: words that live on. */
int mesh_mux_http2_block_check(struct http2 *http2, enum http2_block_kind kind, const char **why);
/* What was checked, copied into the arena. NOMEM. */
int mesh_mux_http2_block_head(struct http2 *http2, struct arena *arena, struct http_head *head, bool end);
int mesh_mux_http2_block_trailers(struct http2 *http2, struct arena *arena, struct headers *trailers);

/* mux_http2_fields.c: http2->fields from a head; the count, INVALID, NOMEM */

ssize_t mesh_mux_http2_request_fields(struct http2 *http2, const struct http_head *head, bool with_length);
ssize_t mesh_mux_http2_response_fields(struct http2 *http2, const struct http_head *head, int status, bool with_length);
ssize_t mesh_mux_http2_trailer_fields(struct http2 *http2, struct mesh_slice records);
int mesh_mux_http2_keep_trailers(struct buf *records, const struct headers *trailers);

/* mux_http2_send.c: also as mux.h says of the ops */

void mesh_mux_http2_tell_writable(struct http2 *http2);
void mesh_mux_http2_answer(struct http2 *http2, int32_t id, int status); /* without an exchange */
int mesh_mux_http2_send_head(struct exchange *exchange, const struct http_head *head, bool end);
int mesh_mux_http2_send_data(struct exchange *exchange, struct mesh_slice data, bool end);
int mesh_mux_http2_send_trailers(struct exchange *exchange, const struct headers *trailers);
int mesh_mux_http2_send_interim(struct exchange *exchange, const struct http_head *head);

/* mux_http2_write.c */

void mesh_mux_http2_set_write_callbacks(nghttp2_session_callbacks *callbacks);
ssize_t mesh_mux_http2_give_data(nghttp2_session *session, int32_t id, uint8_t *room, size_t max, uint32_t *flags,
				 nghttp2_data_source *source, void *user);
void mesh_mux_http2_write(struct http2 *http2); /* gathers frames and writes, as far as it goes */

/* mux_http2_limits.c */

uint32_t mesh_mux_http2_continuations_max(const struct http2 *http2); /* in a header block */

/* Each frame of `bytes` is counted and checked. False: the connection failed. */
bool mesh_mux_http2_frames_seen(struct http2 *http2, struct mesh_slice bytes);
void mesh_mux_http2_queue_checked(struct http2 *http2);
/* The peer reset a stream. There is no clock here: those that it reset before an answer are weighed against the others,
 * and nghttp2 has a rate for all of them. */
void mesh_mux_http2_reset_seen(struct http2 *http2, bool answered);
void mesh_mux_http2_wrong_seen(struct http2 *http2); /* it made us reset one */

/* mux_http2_mem.c */

void mesh_mux_http2_mem_init(struct http2_mem *pool, const struct mesh_mem *mem);
void mesh_mux_http2_mem_free(struct http2_mem *pool);

#endif
