/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One connection to an endpoint from connect() to close: circuit breaker, socket, plain or TLS as the endpoint's transport
 * match says, connect timeout, handshake, statistics, TLS resumption. Whoever dials decides what is spoken on it:
 * connection.c a mux in a pool of HTTP connections, a mesh_stream raw bytes.
 *
 * Embedded in its owner. While it lives (until `freed`) it holds its endpoint and the cluster's configuration of when it was
 * opened, and is counted in the cluster's max_connections and cx_* statistics. It is on the endpoint's list `dials`:
 *   - an endpoint that leaves the cluster stays until its last dial was freed. A dial is not told: what was begun ends in
 *     its own time, as Envoy leaves TCP connections to a removed host alone;
 *   - the end of the worker kills what is left: `ending` for each, which must end in mesh_dial_kill.
 * What stops serving new requests after a change of settings is the pools' to decide, not a dial's.
 */
#ifndef MESH_CLUSTER_DIAL_H
#define MESH_CLUSTER_DIAL_H

#include "cluster/cluster.h"

struct dial;

struct dial_owner {
	/*
	 * Connected and secured: transport->peer is known. From here on dial->io (its `ready` too), dial->timer and the
	 * transport are the owner's to use. It may kill the dial inside.
	 */
	void (*opened)(struct dial *dial);
	/*
	 * It will not open: CONNECT, CONNECT_TIMEOUT, TLS, PEER_IDENTITY, .. with words; counted already. The owner kills it,
	 * here or later; nothing else comes of it.
	 */
	void (*failed)(struct dial *dial, int error, const char *why);
	void (*ending)(struct dial *dial); /* the worker ends: mesh_dial_kill at once */
	/* Open, and its endpoint failed where that ends connections: kill it. NULL: it is a pool's, which drains. */
	void (*unhealthy)(struct dial *dial);
	/* Killed, and off the stack: the transport is about to be closed, `dial` itself is the owner's to free. Comes last. */
	void (*freed)(struct dial *dial);
};

enum dial_state {
	DIAL_OPENING, /* TCP or TLS handshake */
	DIAL_OPEN,
	DIAL_DEAD,    /* killed, waiting for `freed` */
};

struct dial {
	struct link link; /* endpoint->dials, or env->dead */
	const struct dial_owner *owner;
	/* set before it is opened: */
	bool alone;  /* its pool has no other, so it may go beyond max_connections, as in Envoy */
	bool high_priority; /* for requests of that priority: counted and limited among theirs */
	bool strict; /* it may not, whatever else there is: as Envoy's TCP proxy */
	bool aside;  /* an active check's: neither limited nor counted among the cluster's connections */
	const struct address *address; /* instead of the endpoint's; borrowed until mesh_dial_open returns */
	const struct transport_choice *choice; /* instead of the endpoint's, of the same configuration */
	struct mesh_slice server_name;  /* what is dialled for: a name of TLS where the cluster takes it from there; borrowed until
					   mesh_dial_open returns */
	struct resumption *resumption;  /* outlives it; NULL: the endpoint's */
	const struct tls_context *context; /* of its TLS, held by the transport; NULL: plaintext */
	struct endpoint *endpoint;
	struct cluster_env *env;
	const struct cluster_config *config; /* retained until it is freed: the handshake reads its name matchers */
	enum dial_state state;
	struct transport *transport;
	struct loop_io io;
	struct loop_timer timer; /* connect timeout, later the owner's; stopped by the kill */
	uint64_t opened_ns, connected_ns;
	uint64_t read_bytes, written_bytes; /* the owner's to keep; counted into cx_rx/tx_bytes by the kill */
};

/*
 * Begins to open `dial`, which was zeroed but for what is said to be set before. `alpn`: names to offer in wire format, borrowed for the call;
 * absent: those of the endpoint's TLS settings. No event comes from inside. 0, or OVERFLOW (max_connections), CONNECT,
 * CERTIFICATE, NO_ENDPOINT (its transport socket is not supported), NOMEM, .. with words: then no event ever comes and
 * nothing is held.
 */
int mesh_dial_open(struct dial *dial, struct endpoint *endpoint, const struct dial_owner *owner, struct mesh_slice alpn,
		   struct why *why);
/* Off every list; an orderly end is said where the handshake was done. The socket is closed with `freed`, soon. Harmless
 * when it was killed before. */
void mesh_dial_kill(struct dial *dial);

/* For cluster.c: frees what was killed; kills all that is left of an endpoint. */
void mesh_dial_reap(struct loop_task *task);
void mesh_dial_end_all(struct endpoint *endpoint);
void mesh_dial_fail_all(struct endpoint *endpoint); /* for health.c: tells those that are open */
void mesh_resumption_clear(struct resumption *resumption);

#endif
