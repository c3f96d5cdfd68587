/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A mux carries exchanges (a request and its response) over one transport. It owns framing, keep-alive, flow control and
 * message bounds; it knows no routes, retries or policies. The second of the three ops tables: mux_http1 and mux_http2.
 *
 * Rules: all on the owner's thread. Events never come from inside the function that caused them, except from
 * mesh_mux_ready and mesh_mux_flush (`over` from flush when writing fails). Inside an event any function may be called,
 * mesh_exchange_reset included. The mux is freed by its owner, never from inside an event: owner->closed tells that it is dead.
 */
#ifndef MESH_HTTP_MUX_H
#define MESH_HTTP_MUX_H

#include "base/list.h"
#include "config/http2.h"
#include "http/message.h"

struct exchange;
struct mux;
struct transport;

struct exchange_events {
	/* server: a request arrived; client: the final response. `end`: no body follows (`end` event is still sent) */
	void (*head)(struct exchange *exchange, struct http_head *head, bool end);
	void (*interim)(struct exchange *exchange, struct http_head *head); /* client: 1xx but 101; may be NULL */
	void (*data)(struct exchange *exchange, struct mesh_slice data);
	void (*end)(struct exchange *exchange, struct headers *trailers); /* message received whole; trailers may be NULL */
	void (*writable)(struct exchange *exchange); /* after AGAIN: room again */
	/*
	 * The exchange left the mux, exactly once and last: 0 both directions went whole; else an error with words.
	 * `unprocessed`: the peer has certainly not acted on it (never written, or refused), so a retry is always safe.
	 */
	void (*over)(struct exchange *exchange, int error, const char *why, bool unprocessed);
};

/* Embedded in an attempt (client) or an inbound call (server). The owner sets events and arena; the rest is the mux's. */
struct exchange {
	const struct exchange_events *events;
	struct arena *arena; /* receives heads and trailers */
	struct mux *mux;     /* NULL: not on a mux */
	struct link link;
	uint32_t id;         /* stream number where the protocol has one */
	uint32_t reset_code; /* HTTP/2, once it is over with REMOTE_RESET: what the peer's RST_STREAM said */
	uint64_t left_bytes; /* HTTP/2: of the body that is sent, what the peer has given room for: a sign of life */
	void *stream;        /* the mux's */
	bool paused;
	bool head_sent, head_received;
	bool sent_end, received_end;
	bool wants_writable;
};

struct mux_owner {
	/* server: a request begins; give an exchange to receive it, or NULL when out of memory (the connection closes) */
	struct exchange *(*accept)(struct mux *mux);
	/* there are bytes to send: call mesh_mux_flush soon (once per round) */
	void (*dirty)(struct mux *mux);
	/* poll interest (mesh_mux_wants) changed */
	void (*wants)(struct mux *mux);
	/* mesh_mux_capacity may have grown: an exchange ended (after its `over`), or the peer allows more of them */
	void (*idle)(struct mux *mux);
	/* nothing more will be carried: all exchanges are over. 0 orderly, else why. Free the mux later, not inside. */
	void (*closed)(struct mux *mux, int error, const char *why);
};

/* Bounds on what a peer may send; from configuration, defaults as Envoy's. */
struct mux_limits {
	size_t head_bytes_max;   /* 60 KiB: request or response head, trailers */
	size_t header_count_max; /* 100 */
	size_t send_bytes_max;   /* bytes queued for sending before AGAIN: 64 KiB */
	bool http_10;            /* server: HTTP/1.0 requests are answered; else 426 as Envoy does */
	uint64_t requests_max;   /* exchanges a connection may carry, 0: any number */
	struct http2_config http2; /* zero: defaults */
};
extern const struct mux_limits mesh_mux_limits_default;

struct mux_ops {
	const char *protocol; /* "http/1.1", "h2" */
	int (*open)(struct mux *mux, struct exchange *exchange); /* client; STATE when capacity is 0 */
	/* AGAIN: an upgrade, of which the peer has not said yet whether it knows it; `writable` follows. STATE: it does not */
	int (*send_head)(struct exchange *exchange, const struct http_head *head, bool end);
	int (*send_data)(struct exchange *exchange, struct mesh_slice data, bool end); /* copies all or nothing; AGAIN */
	int (*send_trailers)(struct exchange *exchange, const struct headers *trailers); /* ends the message */
	/* server: a 1xx head but 101 before the response; 100 is harmless when it is not expected */
	int (*send_interim)(struct exchange *exchange, const struct http_head *head);
	void (*pause)(struct exchange *exchange, bool paused); /* receiving; may deliver buffered data later, not inside */
	/*
	 * Takes the exchange off at once: no event follows. HTTP/1.1: the connection cannot go on. HTTP/2: RST_STREAM with the
	 * code for `error` (REFUSED: it was not begun; CANCELLED, ..), other exchanges go on.
	 */
	void (*reset)(struct exchange *exchange, int error);
	void (*ready)(struct mux *mux, unsigned what); /* LOOP_READ, LOOP_WRITE, LOOP_ERROR */
	void (*flush)(struct mux *mux);                /* writes what is queued, as far as it goes */
	unsigned (*wants)(const struct mux *mux);      /* LOOP_READ | LOOP_WRITE */
	unsigned (*capacity)(const struct mux *mux);   /* client: exchanges that can be opened now, 0 once it drains or was told to go away */
	bool (*receiving_head)(const struct mux *mux); /* server: a request has begun and is not whole: slow peers */
	/* server: the request that has begun comes too slowly: its status, then the end. The owner flushes */
	void (*refuse)(struct mux *mux, int status, const char *why);
	/* HTTP/2: asks the peer for a sign of life; mux->pings counts those it owes. HTTP/1.1: nothing */
	void (*ping)(struct mux *mux);
	/* everything on it ends with `error`, `closed` follows from the next flush */
	void (*abort)(struct mux *mux, int error, const char *why);
	/*
	 * No further exchange; closes when the present ones ended (Connection: close / GOAWAY). An HTTP/2 server still takes
	 * those its peer began before it heard of it; called again, no more of these either.
	 */
	void (*drain)(struct mux *mux);
	void (*destroy)(struct mux *mux); /* frees the mux, not the transport; exchanges still on it get no event */
};

struct mux {
	const struct mux_ops *ops;
	const struct mux_owner *owner;
	void *user; /* the owner's, set after it was made */
	struct transport *transport; /* handshake done; owned by the connection */
	const struct mesh_mem *mem;
	struct mux_limits limits;
	bool server;
	bool draining;
	bool leaving;          /* the peer said that it takes no more */
	unsigned active;       /* exchanges on it */
	unsigned pings;        /* sent and not answered */
	uint64_t carried;      /* exchanges so far */
	uint64_t read_bytes;   /* of the transport */
	uint64_t written_bytes;
};

static inline int mesh_exchange_open(struct mux *mux, struct exchange *exchange)
{
	return mux->ops->open(mux, exchange);
}

static inline int mesh_exchange_send_head(struct exchange *exchange, const struct http_head *head, bool end)
{
	return exchange->mux->ops->send_head(exchange, head, end);
}

static inline int mesh_exchange_send_data(struct exchange *exchange, struct mesh_slice data, bool end)
{
	return exchange->mux->ops->send_data(exchange, data, end);
}

static inline int mesh_exchange_send_trailers(struct exchange *exchange, const struct headers *trailers)
{
	return exchange->mux->ops->send_trailers(exchange, trailers);
}

static inline int mesh_exchange_send_interim(struct exchange *exchange, const struct http_head *head)
{
	return exchange->mux->ops->send_interim(exchange, head);
}

static inline void mesh_exchange_pause(struct exchange *exchange, bool paused)
{
	exchange->mux->ops->pause(exchange, paused);
}

static inline void mesh_exchange_reset(struct exchange *exchange, int error)
{
	exchange->mux->ops->reset(exchange, error);
}

static inline void mesh_mux_ready(struct mux *mux, unsigned what)
{
	mux->ops->ready(mux, what);
}

static inline void mesh_mux_flush(struct mux *mux)
{
	mux->ops->flush(mux);
}

static inline unsigned mesh_mux_wants(const struct mux *mux)
{
	return mux->ops->wants(mux);
}

static inline unsigned mesh_mux_capacity(const struct mux *mux)
{
	return mux->ops->capacity(mux);
}

static inline bool mesh_mux_receiving_head(const struct mux *mux)
{
	return mux->ops->receiving_head(mux);
}

static inline void mesh_mux_refuse(struct mux *mux, int status, const char *why)
{
	mux->ops->refuse(mux, status, why);
}

static inline void mesh_mux_ping(struct mux *mux)
{
	mux->ops->ping(mux);
}

static inline void mesh_mux_abort(struct mux *mux, int error, const char *why)
{
	mux->ops->abort(mux, error, why);
}

static inline void mesh_mux_drain(struct mux *mux)
{
	mux->ops->drain(mux);
}

static inline void mesh_mux_free(struct mux *mux) /* NULL allowed */
{
	if (mux)
		mux->ops->destroy(mux);
}

/* `head`: bytes already read from the transport's socket in plaintext while sniffing (copied). */
int mesh_mux_http1_new(const struct mesh_mem *mem, struct transport *transport, bool server, const struct mux_owner *owner,
		       const struct mux_limits *limits, struct mesh_slice head, struct mux **mux);
int mesh_mux_http2_new(const struct mesh_mem *mem, struct transport *transport, bool server, const struct mux_owner *owner,
		       const struct mux_limits *limits, struct mesh_slice head, struct mux **mux);

#endif
