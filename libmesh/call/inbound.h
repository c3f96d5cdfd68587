/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One accepted connection: which filter chain it takes, its TLS, its mux, its end. Requests on it are serve.c's. Belongs
 * to the worker that accepted it.
 */
#ifndef MESH_CALL_INBOUND_H
#define MESH_CALL_INBOUND_H

#include "base/buf.h"
#include "call/listener.h"
#include "call/worker.h"
#include "http/mux.h"
#include "policy/rbac.h"

enum inbound_state {
	INBOUND_WAITING,   /* for the first configuration */
	INBOUND_SNIFFING,  /* for the first bytes */
	INBOUND_SECURING,  /* TLS handshake */
	INBOUND_DETECTING, /* secured; the first bytes tell which version of HTTP */
	INBOUND_OPEN,      /* carrying requests */
	INBOUND_STREAMING, /* a stream has its transport */
	INBOUND_LINGERING, /* everything was sent; the peer closes or the time is up */
	INBOUND_DEAD,
};

struct inbound {
	struct link link; /* worker->inbound */
	struct mesh_worker *worker;
	struct mesh_listener *listener;
	enum inbound_state state;
	int fd;                       /* until a transport has it */
	struct snapshot *snapshot;    /* its chain is of this one */
	const struct chain *chain;
	struct address remote, local;
	struct buf head;              /* bytes read while sniffing or detecting */
	struct arena arena;
	struct mesh_slice server_name;
	struct mesh_slice *alpn;      /* offered; in the arena */
	size_t alpn_count;
	bool tls;
	struct transport *transport;
	struct mux *mux;
	struct mesh_stream *stream;   /* STREAMING */
	struct link calls;            /* running on it, struct mesh_call serve.link, in the order they came */
	struct loop_io io;
	struct loop_timer timer;      /* sniffing and handshake, then what may be too late next */
	uint64_t due_ns;              /* an open one: when that looks again */
	struct loop_task flush;
	struct loop_task reap;
	bool in_ready, dirty, draining;
	bool http2;
	uint64_t active_ns;           /* last sign of life */
	uint64_t opened_ns;
	uint64_t quiet_ns;            /* HTTP/2: since when it has no request, where it has none */
	uint64_t head_ns;             /* since when a request head is awaited to its end; 0: none has begun */
	uint64_t head_number;         /* which one: requests before it */
	uint64_t ping_ns;             /* HTTP/2: when the peer was last asked for a sign of life, or gave it */
	bool pinged;                  /* it was asked and owes it */
	uint64_t drain_ns;            /* since when an open one drains; 0: it does not, or has said its last word */
	uint64_t superseded_ns;       /* since when its chain is none that would take it; 0: it would */
};

void mesh_inbound_accept(struct mesh_worker *worker, struct mesh_listener *listener, int fd, const struct address *remote);
/* Visits all; what is visited may end any. */
void mesh_inbound_each(struct mesh_worker *worker, void (*visit)(struct inbound *inbound, void *user), void *user);
void mesh_inbound_retry(struct mesh_worker *worker); /* a configuration came: those that wait look again, open ones follow it */
void mesh_inbound_drain(struct inbound *inbound);    /* no further request */
void mesh_inbound_kill(struct inbound *inbound);     /* at once; calls on it end with `over` */
/* Our end was said; the peer's, or a little time, ends it. Closing at once could destroy what the peer has not read yet. */
void mesh_inbound_linger(struct inbound *inbound);
void mesh_inbound_flush(struct inbound *inbound);
/* The connection as authorization sees it. */
void mesh_inbound_authz(const struct inbound *inbound, struct authz_request *request);
/* Follows a newer configuration, at the latest before a request: the chain this connection would take now, or drains it. */
void mesh_inbound_refresh(struct inbound *inbound);

/* inbound.c: it carries requests from now on; `head` of it is what was read already */
void mesh_inbound_open(struct inbound *inbound, bool http2);

/* inbound_protocol.c: secured and let in; who takes it, as which version */
void mesh_inbound_begin(struct inbound *inbound);
void mesh_inbound_detect(struct inbound *inbound); /* one step, as the socket becomes ready */

/* inbound_chain.c: chooses the chain, which may take first bytes; then one step of each stage as the socket becomes ready */
void mesh_inbound_choose(struct inbound *inbound);
void mesh_inbound_sniff(struct inbound *inbound);
void mesh_inbound_sniff_late(struct inbound *inbound); /* the first bytes did not come in time */
void mesh_inbound_secure(struct inbound *inbound);

/* inbound_timeout.c */
void mesh_inbound_start_timer(struct inbound *inbound, uint64_t ns); /* 0: stops it */
void mesh_inbound_time_due(struct loop_timer *timer);
void mesh_inbound_check_time(struct inbound *inbound); /* an open one: ends what is too late, waits for what is next */
void mesh_inbound_wait_until(struct inbound *inbound, uint64_t at_ns); /* looks again then, or before */
void mesh_inbound_supersede(struct inbound *inbound); /* its chain would not take it any more: it ends, soon */
uint64_t mesh_inbound_idle_limit_ns(const struct inbound *inbound); /* without a request; 0: none */
uint64_t mesh_inbound_drained_at_ns(const struct inbound *inbound);  /* its peer must have heard that it drains */
uint64_t mesh_inbound_head_limit_ns(const struct inbound *inbound); /* from a head's first byte to its last */
void mesh_inbound_watch_head(struct inbound *inbound);

#endif
