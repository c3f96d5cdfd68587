/* SPDX-License-Identifier: Apache-2.0 */
/* A channel of c-ares that lives on a loop: between resolver.c, which asks by it, and resolver_channel.c, which drives it. */
#ifndef MESH_LOOP_RESOLVER_CHANNEL_H
#define MESH_LOOP_RESOLVER_CHANNEL_H

#include <ares.h>

#include "loop/resolver.h"

struct resolver_channel {
	const struct mesh_mem *mem; /* these two are set by the owner, before it is opened */
	struct loop *loop;
	struct resolver_options options;
	ares_channel ares;
	bool stale; /* set by the owner: no server could be reached, so the system's settings are to be read again */
	struct loop_timer timer;
	struct link sockets;
};

int mesh_resolver_channel_open(struct resolver_channel *channel, const struct resolver_options *options); /* NOMEM, SYSTEM */
/* With settings read anew; nothing may be under way. NOMEM, SYSTEM: the old one stays. */
int mesh_resolver_channel_renew(struct resolver_channel *channel);
void mesh_resolver_channel_close(struct resolver_channel *channel); /* ends what is under way: ARES_EDESTRUCTION */
void mesh_resolver_channel_go_on(struct resolver_channel *channel); /* after each question: its time-out is seen to */

#endif
