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
	RESOLVER_ALL,          /* both, IPv4 first */
};

enum {
	RESOLVER_SERVERS_MAX = 16,
	RESOLVER_ADDRESSES_MAX = 256, /* of one answer; those beyond are left out */
	RESOLVER_OPEN_MAX = 1024,     /* questions, also cancelled ones that the network still owes an answer */
};

struct resolver_options {
	const struct address *servers; /* copied; count 0: those of the system (resolv.conf); port 0: 53 */
	size_t server_count;
	bool servers_as_fallback;      /* only when the system has none */
	unsigned timeout_ms, tries;    /* of one server; 0: 5 s, 4 */
	unsigned edns_bytes;           /* of a UDP answer; 0: 1232 */
	bool use_tcp;
	bool no_search;                /* names are whole: no search domains */
	bool rotate;                   /* servers take turns */
};

struct resolver;
struct resolver_query;

/*
 * 0 with addresses, or with none: the name has none (no such name, no record of that family). DNS: nobody could tell, and
 * query->why says what went wrong. The addresses are borrowed for the call; their ports are 0. `ttl_s`: the least; 0 when
 * there is none (/etc/hosts, an address).
 */
typedef void resolver_done(struct resolver_query *query, int error, const struct address *addresses, size_t count,
			   uint32_t ttl_s);

/* One question, embedded in its owner, who keeps it until `done` or mesh_resolver_cancel. */
struct resolver_query {
	resolver_done *done; /* set by the owner; exactly once, never inside mesh_resolver_ask */
	const char *why;     /* in `done` without addresses: the reason in words, static text */
	void *state;         /* the resolver's; NULL: not open */
};

int mesh_resolver_new(const struct mesh_mem *mem, struct loop *loop, const struct resolver_options *options,
		      struct resolver **resolver); /* NOMEM, SYSTEM; options may be NULL */
void mesh_resolver_free(struct resolver *resolver); /* open questions are cancelled. NULL allowed; not inside `done` */

/*
 * Asks for addresses of `name` (also one that is an address already, or this host's own). /etc/hosts comes first. Without
 * success `done` never comes: NOMEM; OVERFLOW: too many are open; INVALID: no name (empty, longer than 255 bytes, a NUL in
 * it); SYSTEM.
 */
int mesh_resolver_ask(struct resolver *resolver, struct mesh_slice name, enum resolver_family family,
		      struct resolver_query *query);
void mesh_resolver_cancel(struct resolver_query *query); /* harmless when it is not open */

#endif
