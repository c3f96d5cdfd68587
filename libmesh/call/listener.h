/* SPDX-License-Identifier: Apache-2.0 */
/* A served port: one listening socket, accepted on by one borrowed worker or all library workers. */
#ifndef MESH_CALL_LISTENER_H
#define MESH_CALL_LISTENER_H

#include <mesh/listener.h>

#include "call/worker.h"
#include "net/socket.h"

/* The listener's part on one worker. */
struct acceptor {
	struct mesh_listener *listener;
	struct mesh_worker *worker; /* NULL: freed before the listener was */
	struct loop_io io;
	struct loop_timer pause; /* descriptors ran out: try again later */
	struct loop_mail mail;   /* start, drain, kill: one at a time */
	struct loop_mail close;  /* a borrowed worker's */
	struct loop_timer grace; /* the same: after close */
	bool accepting;
	bool stopped;            /* and never starts again */
	bool ended;              /* under listener->lock */
};

struct listener_stats {
	_Atomic uint64_t cx_total, cx_destroy, cx_no_chain, cx_ssl, cx_ssl_error, cx_denied, cx_wait, cx_pre_timeout;
	_Atomic uint64_t cx_http1, cx_http2;
	_Atomic uint64_t rq_total, rq_2xx, rq_3xx, rq_4xx, rq_5xx, rq_denied, rq_no_route, rq_shadow_denied, rq_fail_closed;
	_Atomic uint64_t cx_shadow_denied, tcp_cx_total, tcp_rx_bytes, tcp_tx_bytes;
};

static inline void mesh_listener_count(_Atomic uint64_t *counter)
{
	atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

struct mesh_listener {
	struct mesh *mesh;
	struct link link; /* mesh->shared.listeners */
	int fd;        /* -1 once all acceptors stopped */
	bool borrowed; /* its only acceptor is a borrowed worker */
	uint16_t port;
	mesh_handler_fn *handler;               /* of requests, NULL: none */
	mesh_stream_handler_fn *stream_handler; /* of TCP connections, NULL: none */
	void *user;
	size_t request_bytes_max;
	uint32_t grace_ms;
	atomic_bool draining;
	unsigned held;           /* drains at work on it, under mesh->shared.lock: it is not freed meanwhile */
	atomic_bool closing;     /* of a borrowed worker: freed with the last of the two below */
	atomic_uint mails;       /* under way to it */
	atomic_uint connections;
	struct listener_stats stats;
	struct acceptor *acceptors;
	unsigned acceptor_count;
	unsigned stopped;       /* of them, under lock */
	pthread_mutex_t lock;
	pthread_cond_t changed; /* an acceptor did what its mail said */
};

int mesh_listener_make(struct mesh *mesh, const struct mesh_listen_options *options, struct mesh_listener **listener);
void mesh_listener_drain(struct mesh_listener *listener);   /* stops accepting, asks connections to end; returns when asked */
/* Drains, waits the grace time, kills, frees: before it returns, or as the borrowed worker is driven. */
void mesh_listener_destroy(struct mesh_listener *listener);
void mesh_listener_reap(struct mesh_listener *listener); /* a borrowed worker's lost a connection: perhaps its last */
void mesh_listeners_leave(struct mesh_worker *worker);   /* it ends: its listeners do without. On its thread */

#endif
