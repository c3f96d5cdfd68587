/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls that leave by their address: what a sidecar knows of a connection from where it was opened to, we must find out. Only
 * calls that need it have this.
 */
#ifndef MESH_CALL_EGRESS_H
#define MESH_CALL_EGRESS_H

#include "call/lookup.h"
#include "config/listener.h"
#include "loop/loop.h"

struct endpoint;
struct mesh_call;

/* Of a client's call, in its arena. */
struct egress {
	struct mesh_call *call;
	struct lookup_waiter waiter;
	struct loop_timer limit;       /* the application's, while no other runs */
	bool early;                    /* it is not known yet which listener takes the call */
	struct address destination;    /* as the application would have connected to; len 0: not known */
	struct mesh_slice server_name; /* of its TLS; absent: as configured */
	const struct chain *opaque;    /* carried as bytes: nothing in it is looked at. NULL: it is not */
};

struct mesh_slice mesh_egress_server_name(const struct mesh_call *call);
bool mesh_egress_opaque(const struct mesh_call *call);
/* As the address says, when it is known: its text without a port, in `room`. Absent: it is not. */
struct mesh_slice mesh_egress_ip(const struct mesh_call *call, char room[MESH_ADDRESS_TEXT_BYTES]);

/* The listener cannot be told without the address: it is looked up, and the call begins anew. */
void mesh_egress_begin(struct mesh_call *call);
/* Makes the call one of bytes that goes where that chain of a TCP proxy does. NOMEM, NO_ENDPOINT (a black hole). */
int mesh_egress_carry(struct mesh_call *call, const struct chain *chain);
/* Its cluster is known: the name for its TLS, where that comes from the request. INVALID, NOMEM. */
int mesh_egress_name(struct mesh_call *call);
/* Before the first try: true when an address is looked up first, or that failed; the tries follow by themselves. */
bool mesh_egress_wait(struct mesh_call *call);
/* Of a cluster that sends to the address asked for. NO_ENDPOINT, and as mesh_cluster_pick_address. */
int mesh_egress_pick(struct mesh_call *call, struct endpoint **endpoint, struct why *why);
void mesh_egress_stop(struct mesh_call *call);

/* outbound.c: "host:port", "host", "[v6]:port": the host without brackets, and the port or 80. */
bool mesh_authority_split(struct mesh_slice authority, struct mesh_slice *host, uint16_t *port);

#endif
