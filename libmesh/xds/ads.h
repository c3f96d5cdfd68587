/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The discovery protocol over one stream at a time, delta or state of the world: what to ask for, what to acknowledge,
 * what to refuse in which words. Knows no connection: messages come in as bytes and go out by `send`. One thread.
 */
#ifndef MESH_XDS_ADS_H
#define MESH_XDS_ADS_H

#include "base/counter.h"
#include "base/why.h"
#include "xds/resource_cache.h"

/* Names in order, each NUL-terminated. */
struct ads_names {
	struct arena arena;
	struct mesh_slice *names;
	size_t count;
};

struct ads_type {
	bool opened;             /* a first request went out on this stream */
	struct ads_names asked;  /* subscribed by name; stays empty for wildcard types */
	struct buf nonce;        /* of the last response */
	struct buf version;      /* state of the world: the last one wholly taken; outlives the stream */
	struct counter responses, rejected; /* read by any thread */
};

struct ads {
	const struct mesh_mem *mem;
	const struct log *log;
	struct resource_cache *cache;
	struct mesh_slice node; /* packed Node, sent with the first request of a stream */
	bool sotw;
	int (*send)(void *user, struct mesh_slice message);
	void *user;
	bool introduced;
	struct ads_type types[XDS_TYPES];
	struct arena scratch;
	struct buf message, rejects;
};

/* After mem, log, cache, node, sotw, send and user were set. */
void mesh_ads_init(struct ads *ads);
void mesh_ads_free(struct ads *ads);
/* A new stream is there: subscribes anew to everything, telling what is held. What `send` returns, NOMEM. */
int mesh_ads_open(struct ads *ads);
/*
 * One response: applied, acknowledged or refused, and the subscriptions it leads to; of a type that was not asked for:
 * passed over. INVALID with words: not a response; NOMEM, or what `send` returns: the stream is of no use any more.
 */
int mesh_ads_receive(struct ads *ads, struct mesh_slice message, struct why *why);
/* The method that speaks it. */
const char *mesh_ads_method(const struct ads *ads);
/* "cds", "eds", .. */
const char *mesh_ads_type_name(enum xds_type type);

#endif
