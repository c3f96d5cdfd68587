/* SPDX-License-Identifier: Apache-2.0 */
/* DNS clusters from inside, between dns.c, which has all of them, and dns_cluster.c, which has one. */
#ifndef MESH_XDS_DNS_STATE_H
#define MESH_XDS_DNS_STATE_H

#include "base/counter.h"
#include "base/map.h"
#include "base/rand.h"
#include "loop/resolver.h"
#include "xds/dns.h"
#include "xds/dns_endpoints.h"

/* Shared by the clusters with the same settings. */
struct dns_resolver {
	struct link link;
	struct resolver *resolver;
	struct dns_servers servers;
	struct address list[RESOLVER_SERVERS_MAX]; /* what servers.list points to */
	unsigned users;
};

struct dns {
	struct dns_options options;
	struct rand rand;
	struct map by_name;     /* struct dns_cluster */
	struct link clusters;
	struct table *followed; /* clusters of the configuration, as far as they are followed; a reference */
	uint64_t round;         /* grows with each other configuration */
	struct table *resolved;
	struct link resolvers;
	size_t resolver_count;
	struct link queue;      /* struct dns_target: their turn to be asked comes */
	unsigned asking;
	size_t waiting;         /* clusters */
	struct counter attempts, failures; /* questions about one name of a cluster */
};

enum target_state {
	TARGET_RESTING, /* until its timer is due */
	TARGET_QUEUED,
	TARGET_ASKING,  /* at most until its timer is due */
};

/* One name of a cluster. Its timer runs always, so that starting it anew cannot fail. */
struct dns_target {
	struct resolver_query query;
	struct dns_cluster *cluster;
	struct dns_answer *answer;
	struct mesh_slice name; /* in the cluster's configuration */
	struct loop_timer timer;
	struct link link;
	enum target_state state;
	bool failing; /* which was told */
};

struct dns_cluster {
	struct link link;
	struct dns *dns;
	const struct cluster_config *config; /* a reference */
	struct dns_resolver *resolver;       /* NULL before the first question */
	struct dns_target *targets;
	struct dns_answer *answers;          /* one each */
	size_t count;
	bool first;          /* waits for the first answer */
	bool stale;          /* its set is not what the answers say: not yet, or for want of memory */
	struct loop_task update;
	int64_t backoff_ns;  /* the most to wait after the next failure; 0: none in a row */
	uint64_t round;      /* of the configuration it was last in */
};

/* dns_cluster.c */
/* Takes over what stays of what it had. NOMEM: all is as before. */
int mesh_dns_cluster_set(struct dns_cluster *cluster, const struct cluster_config *config);
void mesh_dns_cluster_free(struct dns_cluster *cluster); /* its set goes first: mesh_dns_put */
void mesh_dns_cluster_ask(struct dns_target *target); /* its turn has come */

/* dns.c */
void mesh_dns_pump(struct dns *dns); /* asks for as many as may be asked at a time */
/* Its set in the table, or none of it. NOMEM. */
int mesh_dns_put(struct dns *dns, struct mesh_slice name, struct endpoint_set *set);
/* NOMEM, SYSTEM; OVERFLOW: too many with different settings. */
int mesh_dns_resolver_get(struct dns *dns, const struct dns_servers *servers, struct dns_resolver **resolver);
void mesh_dns_resolver_release(struct dns *dns, struct dns_resolver *resolver); /* NULL allowed */
bool mesh_dns_servers_same(const struct dns_servers *a, const struct dns_servers *b);

#endif
