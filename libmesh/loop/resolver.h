/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names to addresses, without blocking, on one loop. Decides nothing about how often to ask again and caches nothing: that is
 * for whoever asks. All of it belongs to the loop's thread.
 */
#ifndef MESH_LOOP_RESOLVER_H
#define MESH_LOOP_RESOLVER_H

#include "base/address.h"
#include "base/slice.h"
#include "loop/loop.h"

enum resolver_family { /* as Envoy's dns_lookup_family */
	RESOLVER_AUTO,         /* IPv6 only, IPv4 when there is none */
	RESOLVER_V4_ONLY,
	RESOLVER_V6_ONLY,
	RESOLVER_V4_PREFERRED, /* IPv4 only, IPv6 when there is none */
	RESOLVER_ALL,          /* both */
};

struct resolver_options {
	const struct address *servers; /* copied; count 0: those of the system (resolv.conf) */
	size_t server_count;
	unsigned timeout_ms, tries;    /* of one server; 0: c-ares' own */
	bool use_tcp;
	bool no_search;                /* names are whole: no search domains */
};

struct resolver;
struct resolver_query;

/* The addresses are borrowed for the call; their ports are 0. */
typedef void resolver_done(struct resolver_query *query, int error, const struct address *addresses, size_t count,
			   uint32_t ttl_s);

/* One question, embedded in its owner, who keeps it until `done` or mesh_resolver_cancel. */
struct resolver_query {
	resolver_done *done; /* set by the owner; exactly once, never inside mesh_resolver_ask */
	void *state;         /* the resolver's */
};

int mesh_resolver_new(const struct mesh_mem *mem, struct loop *loop, const struct resolver_options *options,
		      struct resolver **resolver); /* NOMEM, SYSTEM; options may be NULL */
void mesh_resolver_free(struct resolver *resolver); /* open questions are cancelled. NULL allowed */

/*
 * Asks for addresses of `name` (also one that is an address already). `done`: 0 and at least one address with the least TTL,
 * or DNS with none (no such name, no server answers). NOMEM: then `done` never comes.
 */
int mesh_resolver_ask(struct resolver *resolver, struct mesh_slice name, enum resolver_family family,
		      struct resolver_query *query);
void mesh_resolver_cancel(struct resolver_query *query); /* harmless when it is not open */

#endif
