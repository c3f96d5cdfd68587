/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names to addresses for the calls and streams of one worker: a sidecar is given connections to an address, so that where it
 * sends to the address that was asked for, we must know the one the application would have been told.
 */
#ifndef MESH_CALL_LOOKUP_H
#define MESH_CALL_LOOKUP_H

#include "base/address.h"
#include "base/list.h"
#include "base/why.h"

struct lookup; /* what one worker asked for; made with the first question */
struct mesh_worker;

/* Somebody waiting for an address; embedded, zeroed before its first use. Told once, never inside mesh_lookup_ask. */
struct lookup_waiter {
	struct link link; /* of its name's; both NULL: not waiting */
	uint16_t port;
	/* error 0: `address` has the port asked with. Else words. */
	void (*found)(struct lookup_waiter *waiter, int error, const struct address *address, const char *why);
};

/*
 * One address of `name` with that port: at once when it is one already or was found a short while ago, else AGAIN and the
 * waiter is told. NOMEM, SYSTEM, OVERFLOW (too many names are asked for) with words.
 */
int mesh_lookup_ask(struct mesh_worker *worker, struct mesh_slice name, uint16_t port, struct lookup_waiter *waiter,
		    struct address *address, struct why *why);
void mesh_lookup_cancel(struct lookup_waiter *waiter); /* harmless when it does not wait */
void mesh_lookup_free(struct lookup *lookup);          /* nobody waits. NULL allowed */

#endif
