/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One TCP connection through the mesh, on either side: bytes between the application and a transport, nothing kept in
 * between. stream.c is its life, stream_io.c moves the bytes; stream_open.c opens a client's, stream_route.c chooses where it
 * goes, stream_accept.c begins a server's, stream_metadata.c reads what the peer tells of itself.
 */
#ifndef MESH_CALL_STREAM_H
#define MESH_CALL_STREAM_H

#include <mesh/stream.h>

#include "call/stream_metadata.h"
#include "call/worker.h"
#include "cluster/dial.h"
#include "net/sniff.h"

struct inbound;
struct stream_tunnel;

enum stream_state {
	STREAM_WAITING,  /* client: for the application's first bytes */
	STREAM_OPENING,  /* client: an endpoint is dialled */
	STREAM_OPEN,
	STREAM_OVER,
};

#define STREAM_TRIED_MAX 16

/* Callbacks that are due. */
enum {
	STREAM_TELL_OPENED = 1,
	STREAM_TELL_READABLE = 2,
	STREAM_TELL_WRITABLE = 4,
	STREAM_TELL_CLOSED = 8,
};

/* One try of a client's stream. Freed when its transport is. */
struct stream_dial {
	struct dial dial;
	struct mesh_stream *stream; /* NULL: given up */
};

struct stream_client {
	struct snapshot *snapshot;       /* it began with */
	const struct listener_config *listener;
	const struct chain *chain;       /* in it */
	struct mesh_slice target, host;  /* as asked for */
	uint16_t port;
	struct mesh_slice server_name;
	struct address destination;      /* as far as known */
	bool by_address;                 /* and that is what was asked for, or what the name was resolved to */
	bool server_first;
	struct lookup_waiter waiter;     /* for the address of a name */
	bool early;                      /* without which its listener cannot be told */
	struct buf first;                /* bytes kept until the chain is chosen and the connection is there */
	struct cluster *cluster;
	struct stream_dial *dial;
	struct stream_tunnel *tunnel;    /* being asked for on it; NULL: none */
	uint32_t tried[STREAM_TRIED_MAX]; /* hashes of endpoints */
	size_t tried_count;
	struct loop_timer limit;         /* listener_filters_timeout, then connect_timeout_ms of the application */
	uint64_t limit_ns;               /* the latter; 0: none */
};

struct mesh_stream {
	struct mesh *mesh;
	struct mesh_worker *worker;      /* a reference */
	struct link link;                /* worker->streams, while not over */
	bool server;
	enum stream_state state;
	atomic_bool over;                /* state OVER, for who closes it from another thread */
	unsigned telling;                /* inside a callback */
	bool closed;                     /* mesh_stream_close was called: freed when nobody is inside */
	bool leaving;                    /* and something is left to say: freed when that is out */
	bool told_closed;                /* events.closed was */
	struct arena arena;
	struct mesh_stream_events events;
	void *user;
	struct transport *transport;     /* of `client.dial` or `inbound`; NULL while it is not open */
	struct loop_io io;               /* watched when somebody waits in the loop */
	struct loop_timer idle;          /* looks how long ago the last sign of life was */
	struct loop_timer duration;
	uint64_t idle_ns, duration_ns;   /* 0: none */
	uint64_t active_ns, started_ns, opened_ns, ended_ns;
	uint64_t moved_in, moved_out;    /* bytes over the transport, metadata too */
	unsigned read_wants, write_wants; /* LOOP_*: what the last one that returned AGAIN waits for; 0: did not */
	bool drained;                    /* the transport had no more when it was last read */
	bool moved;                      /* bytes, since active_ns was set */
	bool waited;                     /* somebody blocks in mesh_stream_wait */
	bool refused_write;              /* while opening: `writable` follows */
	bool write_pending;              /* a write returned AGAIN: the same bytes must come again */
	bool ended;                      /* our direction */
	bool peer_ended;
	struct stream_metadata *metadata; /* the peer's is still read; NULL: none, or it was */
	struct mesh_slice greeting;      /* of ours, what was not sent yet */
	struct mesh_slice head;          /* read before it was the application's turn */
	struct loop_task tell;
	unsigned due;                    /* STREAM_TELL_*, of `tell` */
	struct loop_mail begin_mail, close_mail; /* from another thread */
	bool begin_posted;               /* and on its way */
	struct why why;
	struct mesh_stream_result result;
	struct mesh_peer peer;
	bool has_peer;
	char address_text[MESH_ADDRESS_TEXT_BYTES];
	struct stream_client client;
	struct inbound *inbound;         /* server: counted in its listener; NULL once over */
};

/* ---- for inbound.c */

/*
 * Makes a stream of a connection that is secured and let in on a CHAIN_TCP, and calls the listener's stream_handler. The
 * inbound stays as it is on its lists and counts; its transport, head and socket are the stream's to use: inbound->io is no
 * longer watched and inbound->timer stopped. < 0: nothing was made, kill it. The inbound may be dead afterwards either way.
 */
int mesh_stream_accept(struct inbound *inbound);
/* The inbound is about to end, whoever wanted it: the stream is over with that error. */
void mesh_stream_cut(struct mesh_stream *stream, int error, const char *why);

/* ---- for worker.c: all of them end with CANCELLED */
void mesh_streams_end(struct mesh_worker *worker);

/* ---- stream.c */
struct mesh_stream *mesh_stream_new(struct mesh_worker *worker, bool server); /* NULL: no memory */
void mesh_stream_attach(struct mesh_stream *stream); /* on its worker */
void mesh_stream_undo(struct mesh_stream *stream);   /* nothing was started */
/*
 * Secured: from here on bytes may flow. `address` is the peer's; `exchange`: metadata, when the connection agreed on
 * `protocol` for it. NOMEM: it is to be finished.
 */
int mesh_stream_open(struct mesh_stream *stream, struct transport *transport, const struct address *address, bool exchange,
		     struct mesh_slice protocol);
/* It is over: transport and timers are given back, `closed` is told soon. */
void mesh_stream_finish(struct mesh_stream *stream, int error, const char *why);
void mesh_stream_limit(struct mesh_stream *stream, int64_t idle_ns, int64_t duration_ns); /* as chain.tcp_* has them */
void mesh_stream_release(struct mesh_stream *stream); /* mesh_stream_close, on its worker */
void mesh_stream_release_sent(struct mesh_stream *stream); /* mesh_stream_close of another thread: `closed` is told */
void mesh_stream_settle(struct mesh_stream *stream);  /* frees it when it was closed and nobody is inside */

/* ---- stream_io.c: as the functions of <mesh/stream.h>; OPEN only */
int64_t mesh_stream_take(struct mesh_stream *stream, char *buffer, size_t bytes);
int64_t mesh_stream_give(struct mesh_stream *stream, struct mesh_slice data);
int mesh_stream_end(struct mesh_stream *stream);
int mesh_stream_flush(struct mesh_stream *stream); /* what goes before the application's bytes. 0, AGAIN, or its error */
void mesh_stream_arm(struct mesh_stream *stream);  /* watches for what is waited for */
void mesh_stream_ready(struct loop_io *io, unsigned what);
void mesh_stream_tell(struct loop_task *task);

/* ---- stream_open.c */
void mesh_stream_begin(struct mesh_stream *stream); /* a client's, on its worker */
/* First bytes of the application while WAITING: how many were taken, AGAIN when there is enough, or its error. */
int64_t mesh_stream_first(struct mesh_stream *stream, struct mesh_slice data);
void mesh_stream_give_up(struct mesh_stream *stream); /* what a client's holds */

/* ---- stream_route.c */
struct stream_speech { /* what is known of the application's first bytes */
	bool tls;
	struct mesh_slice server_name;
	const struct mesh_slice *alpn;
	size_t alpn_count;
};
/* "host:port", "ip:port", "[v6]:port". */
bool mesh_stream_target_split(struct mesh_slice target, struct mesh_slice *host, uint16_t *port);
/* Sets client.listener and what is known of the destination. NO_ROUTE with words; AGAIN: not to be told without an address. */
int mesh_stream_find_listener(struct mesh_stream *stream, struct why *why);
unsigned mesh_stream_looks_for(const struct mesh_stream *stream); /* CHAIN_LOOKS_FOR_*, of its first bytes */
/* Sets client.chain. NO_ROUTE, FAIL_CLOSED, PROTOCOL (the mesh would treat it as HTTP) with words. */
int mesh_stream_find_chain(struct mesh_stream *stream, const struct stream_speech *speech, struct why *why);
struct mesh_slice mesh_stream_cluster(struct mesh_stream *stream, uint32_t *hash); /* of the chain; weighted: drawn */

#endif
