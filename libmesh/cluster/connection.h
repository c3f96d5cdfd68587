/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An HTTP connection to an endpoint: a dial that, once open, carries exchanges by its mux and is kept in the endpoint's
 * pool. One worker's.
 */
#ifndef MESH_CLUSTER_CONNECTION_H
#define MESH_CLUSTER_CONNECTION_H

#include "cluster/dial.h"
#include "http/mux.h"

enum connection_state {
	CONNECTION_OPENING,
	CONNECTION_BUSY,
	CONNECTION_SHARING, /* carries exchanges and takes more */
	CONNECTION_IDLE,
	CONNECTION_DEAD,    /* waiting to be freed */
};

struct connection {
	struct dial dial; /* its timer is of the longest duration once it is open */
	struct link link; /* a list of the pool */
	struct pool *pool;
	enum connection_state state;
	unsigned generation;
	unsigned expected; /* exchanges it will have room for, until that is known */
	struct mux *mux;   /* NULL while opening */
	bool shares;       /* it speaks HTTP/2 */
	struct loop_task flush;
	bool in_ready;     /* its flush comes at the end of the event */
	bool dirty;
	uint64_t idle_ns;
	struct loop_timer ping; /* keepalive: until the next one, or until its answer must be there */
	uint64_t ping_ns;       /* when the last one was sent; 0: none is awaited */
};

/* Begins to open one for those who wait. 0, or as mesh_dial_open. */
int mesh_connection_open(struct pool *pool, struct why *why);
/* Off every list, socket closed; memory goes later. Exchanges on it get no event. */
void mesh_connection_kill(struct connection *connection);
/* Sends what is queued now instead of at the end of the round. */
void mesh_connection_flush(struct connection *connection);
/* Handles what arrived while nobody looked. False: it died, or takes nothing more. */
bool mesh_connection_refresh(struct connection *connection);
/* It was idle and is used again: asks first for a sign of life where that is configured. */
void mesh_connection_wake(struct connection *connection);

/* pool_place.c */
bool mesh_connection_reusable(const struct connection *connection); /* its settings are those in force */
void mesh_connection_make_used(struct connection *connection);      /* an exchange is about to begin on it */
void mesh_connection_make_busy(struct connection *connection);      /* none is to begin on it */
void mesh_connection_settle(struct connection *connection); /* where it belongs by what it carries and what more it could */

static inline struct connection *mesh_connection_of(struct mux *mux)
{
	return mux->user;
}

#endif
