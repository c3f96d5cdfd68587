/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP connections to one endpoint that are called with one protocol, kept for reuse. A request takes one with room, or
 * waits for one being opened; limits are the cluster's circuit breakers. One worker's.
 */
#ifndef MESH_CLUSTER_POOL_H
#define MESH_CLUSTER_POOL_H

#include "base/list.h"
#include "base/slice.h"
#include "base/why.h"
#include "loop/loop.h"

struct connection;
struct endpoint;
struct tls_context;
struct tls_session;

enum pool_protocol {
	POOL_HTTP1,
	POOL_HTTP2,
	POOL_AUTO, /* as the peer chooses by ALPN; HTTP/1.1 when it does not choose */
	POOL_PROTOCOLS,
};

/* A session of the last connection, to resume. Both NULL: none. */
struct resumption {
	struct tls_session *session;
	struct tls_context *context; /* it is good for */
};

struct pool {
	struct endpoint *endpoint;
	struct named_pools *named; /* it is among these: for one server name or for high priority alone. NULL: for the rest */
	bool high_priority;        /* as in Envoy: counted, limited and connected for itself */
	enum pool_protocol protocol;
	struct link idle;    /* no exchange on them; most recently used first */
	struct link sharing; /* exchanges on them and, as far as is known, room for more: HTTP/2 */
	struct link busy;    /* no room, or their last exchanges */
	struct link opening;
	unsigned opening_room;  /* exchanges that will find room on those, or on others whose room is not known yet */
	unsigned expected_room; /* that of the next one opened; 0: nothing known, as configured */
	struct link waiters;    /* struct pool_waiter, first come first served */
	unsigned waiter_count;
	struct loop_timer idle_timer;
	struct loop_task look;  /* reads what nobody looked at before somebody careful uses a shared connection */
};

/* Somebody waiting for a connection; embedded. Exactly one of the two comes, never inside mesh_pool_acquire. */
struct pool_waiter {
	struct link link;
	struct pool *pool; /* NULL: not waiting */
	bool careful;      /* what it sends cannot be sent again: a kept connection is looked at before use */
	void (*ready)(struct pool_waiter *waiter, struct connection *connection); /* has room now; it need not be used */
	/* error with words; connecting failed, timed out, or was refused by policy */
	void (*failed)(struct pool_waiter *waiter, int error, const char *why);
};

/* pool_named.c: the pools of an endpoint for one server name and priority. Kept while they have connections. */
struct named_pools {
	unsigned connections;  /* of them, until they are freed */
	bool chosen;           /* since the last cleanup */
	struct resumption resumption;
	struct pool pools[POOL_PROTOCOLS];
	struct mesh_slice name; /* absent: as configured */
	struct mesh_slice key;
	char text[];
};
/* `name` absent: those for any request of that priority. OVERFLOW (too many other names are in use), NOMEM with words. */
int mesh_endpoint_pool(struct endpoint *endpoint, struct mesh_slice name, bool high_priority, enum pool_protocol protocol,
		       struct pool **pool, struct why *why);
void mesh_endpoint_clean_names(struct endpoint *endpoint); /* outside of everything else of a pool */
void mesh_endpoint_drain_names(struct endpoint *endpoint);
void mesh_endpoint_free_names(struct endpoint *endpoint);

void mesh_pool_init(struct pool *pool, struct endpoint *endpoint, enum pool_protocol protocol);
void mesh_pool_destroy(struct pool *pool); /* no connection, no waiter */
/*
 * 0: *connection is a connection with room, use it at once or give it back with mesh_pool_returned. AGAIN: the waiter will
 * be told. Else OVERFLOW, or what opening failed with.
 */
int mesh_pool_acquire(struct pool *pool, struct pool_waiter *waiter, struct connection **connection, struct why *why);
void mesh_pool_cancel(struct pool_waiter *waiter); /* harmless when not waiting */
void mesh_pool_drain(struct pool *pool); /* closes idle connections, lets the others end what they carry */

/* Opens connections for waiters that have none coming, e.g. after one died. */
void mesh_pool_refill(struct pool *pool);

void mesh_pool_idle_due(struct loop_timer *timer); /* pool_place.c */

/* From connection.c */
void mesh_pool_connected(struct connection *connection);
/* An exchange ended, none began, or the room on it changed: it goes to those who wait, and to where it belongs. */
void mesh_pool_returned(struct connection *connection);
void mesh_pool_failed(struct connection *connection, int error, const char *why); /* while opening */

#endif
