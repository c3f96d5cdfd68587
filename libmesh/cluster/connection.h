/* SPDX-License-Identifier: Apache-2.0 */
/* One connection to an endpoint: connecting, securing, then carrying exchanges by its mux. One worker's. */
#ifndef MESH_CLUSTER_CONNECTION_H
#define MESH_CLUSTER_CONNECTION_H

#include "cluster/cluster.h"
#include "http/mux.h"

enum connection_state {
	CONNECTION_OPENING, /* TCP or TLS handshake */
	CONNECTION_BUSY,
	CONNECTION_IDLE,
	CONNECTION_DEAD,    /* waiting to be freed */
};

struct connection {
	struct link link; /* a list of its endpoint, or env->dead */
	struct endpoint *endpoint;
	struct cluster_env *env;
	const struct cluster_config *config; /* retained until it is freed: the handshake reads its name matchers */
	enum connection_state state;
	unsigned generation;
	struct transport *transport;
	struct mux *mux; /* NULL while opening */
	struct loop_io io;
	struct loop_timer timer; /* connect timeout, later the longest duration */
	struct loop_task flush;
	bool in_ready;           /* its flush comes at the end of the event */
	bool dirty;
	uint64_t opened_ns, connected_ns, idle_ns;
};

/* Begins to open one. 0, or CONNECT, CERTIFICATE, NOMEM, .. with words. */
int mesh_connection_open(struct endpoint *endpoint, struct connection **connection, struct why *why);
/* Off every list, socket closed; memory goes later. Exchanges on it get no event. */
void mesh_connection_kill(struct connection *connection);
/* Sends what is queued now instead of at the end of the round. */
void mesh_connection_flush(struct connection *connection);
/* Handles what arrived while nobody looked. False: it died. */
bool mesh_connection_refresh(struct connection *connection);

static inline struct connection *mesh_connection_of(struct mux *mux)
{
	return mux->user;
}

#endif
