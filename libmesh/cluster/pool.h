/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections of one endpoint, kept for reuse. A request takes an idle one, or waits for one being opened; limits are the
 * cluster's circuit breakers. One worker's.
 */
#ifndef MESH_CLUSTER_POOL_H
#define MESH_CLUSTER_POOL_H

#include "cluster/cluster.h"

/* Somebody waiting for a connection; embedded. Exactly one of the two comes, never inside mesh_pool_acquire. */
struct pool_waiter {
	struct link link;
	struct endpoint *endpoint; /* NULL: not waiting */
	bool careful;              /* what it sends cannot be sent again: a kept connection is looked at before use */
	/* false: it did not use the connection, which goes to the next one */
	bool (*ready)(struct pool_waiter *waiter, struct connection *connection);
	/* error with words; connecting failed, timed out, or was refused by policy */
	void (*failed)(struct pool_waiter *waiter, int error, const char *why);
};

void mesh_pool_init(struct endpoint *endpoint);
/*
 * 0: *connection is a connection with room, use it at once. AGAIN: the waiter will be told. Else OVERFLOW, or what opening
 * failed with.
 */
int mesh_pool_acquire(struct endpoint *endpoint, struct pool_waiter *waiter, struct connection **connection,
		      struct why *why);
void mesh_pool_cancel(struct pool_waiter *waiter); /* harmless when not waiting */
void mesh_pool_drain(struct endpoint *endpoint);   /* closes idle connections, lets busy ones end */

/* Opens connections for waiters that have none coming, e.g. after one died. */
void mesh_pool_refill(struct endpoint *endpoint);

void mesh_pool_close(struct endpoint *endpoint); /* kills every connection, opening and busy ones too */

/* From connection.c */
void mesh_pool_connected(struct connection *connection);
void mesh_pool_returned(struct connection *connection); /* its exchange ended, or none began, and it can carry another */
void mesh_pool_failed(struct connection *connection, int error, const char *why); /* while opening */

#endif
