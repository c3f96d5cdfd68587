/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A worker's live view of one cluster: its endpoints with their pools, its balancer. Follows the snapshot when used, so a
 * cluster nobody calls costs nothing. All of it belongs to one worker.
 */
#ifndef MESH_CLUSTER_CLUSTER_H
#define MESH_CLUSTER_CLUSTER_H

#include "base/log.h"
#include "cluster/pool.h"
#include "cluster/registry.h"
#include "config/snapshot.h"
#include "lb/lb.h"
#include "loop/loop.h"
#include "net/tls_context.h"
#include "net/transport.h"

/* What a worker lends to its clusters. */
struct cluster_env {
	const struct mesh_mem *mem;
	const struct log *log;
	struct loop *loop;
	bool peak_ewma;            /* least request goes by latency too (LIBMESH_PEAK_EWMA) */
	struct mesh_slice local_cluster; /* whose endpoints are instances of this workload; absent: zone-aware balancing is off */
	struct mesh_slice region, zone, subzone; /* where this workload is */
	struct tls_store *tls;
	struct registry *registry;
	unsigned warm;             /* connections kept to every endpoint of a cluster that is called */
	struct rand rand;
	struct snapshot *snapshot; /* the worker's present one */
	struct map clusters;       /* struct cluster */
	struct link dead;          /* struct dial, to free: never inside their own events */
	struct loop_task reap;
	struct buf *scratch;
};

/* One endpoint. Stays while it has connections or users, also after it left the cluster (`retired`). */
struct endpoint {
	struct link link; /* cluster.endpoints */
	struct cluster *cluster;
	struct endpoint_shared *shared;
	struct address address;
	const struct transport_choice *choice; /* in cluster.config; NULL while retired */
	struct resumption resumption;
	unsigned users;   /* attempts that hold it */
	bool retired;
	bool by_address;  /* of no endpoint set: in cluster.addresses */
	bool chosen;      /* the same, since the last cleanup */
	bool kept;        /* scratch of the rebuild */
	bool failing;     /* its streams are to be told (close_on_health_failure) */
	unsigned health_seen; /* bits of cluster/health.h that were in force at the last look */
	struct endpoint_tally tally;
	struct check *check; /* where this worker checks it (health_check.c) */
	struct link dials; /* struct dial: every connection to it, also while opening, pooled or raw */
	struct pool pools[POOL_PROTOCOLS]; /* HTTP */
	struct named_set *named; /* HTTP whose TLS has the name of the request's host; NULL: none */
};

struct cluster {
	struct cluster_env *env;
	struct mesh_slice name; /* of `shared` */
	struct cluster_shared *shared;
	struct cluster_stats *stats;
	uint64_t seen;                      /* snapshot version it follows */
	const struct cluster_config *config; /* retained; the last one, also when gone */
	bool gone;                          /* left the snapshot */
	const struct endpoint_set *set;      /* retained; NULL: not received yet */
	const struct endpoint_set *told;     /* the snapshot's: held by `set`, or `set` itself when nobody lingers */
	struct {
		char alpn[64]; /* wire format: istio.alpn of the listener in use */
		size_t len;
	} offer[POOL_PROTOCOLS]; /* instead of the TLS settings' */
	unsigned generation; /* grows when connections made earlier must not be reused */
	struct link endpoints;
	struct map addresses; /* struct endpoint, by text: those of ORIGINAL_DST */
	struct loop_timer cleanup; /* of addresses and named pools, while there are any */
	struct endpoint **active; /* in the order of the set */
	struct lb_endpoint *lb;
	size_t count;
	bool watches;            /* outliers are detected, or there are active checks */
	unsigned health_version; /* of `shared`, that lb is by */
	struct loop_task failing;
	size_t unsupported; /* of them, whose transport choice is not */
	struct balancer *balancer;
	uint32_t ahead[3];  /* endpoints that were chosen before their request came, preconnect.c */
	unsigned ahead_count;
	uint64_t warmed_ns; /* when connections of env->warm were looked at last; 0: never */
	const struct endpoint_set *local; /* retained: what the balancer's zones were made of; NULL: none */
};

int mesh_cluster_env_init(struct cluster_env *env); /* after mem, log, loop, tls, registry were set */
/* Where the workload is ("region/zone/subzone", kept by the caller): balances by zone. */
void mesh_cluster_env_zone(struct cluster_env *env, struct mesh_slice locality);
void mesh_cluster_env_destroy(struct cluster_env *env); /* closes everything; waiters must be gone */

/* The cluster, brought up to date with the snapshot. NO_CLUSTER, NOMEM. */
int mesh_cluster_get(struct cluster_env *env, struct mesh_slice name, uint32_t hash, struct cluster **cluster);

/* What requests of one priority use of the cluster, and may. */
static inline struct breaker_use *mesh_cluster_use(const struct cluster *cluster, bool high_priority)
{
	return high_priority ? &cluster->shared->breaker_high : &cluster->shared->breaker;
}

static inline const struct circuit_breaker *mesh_cluster_limits(const struct cluster *cluster, bool high_priority)
{
	return high_priority ? &cluster->config->breaker_high : &cluster->config->breaker;
}

/* protocol.c */
/* With which protocol a request of that version goes to the cluster. */
enum pool_protocol mesh_cluster_protocol(const struct cluster_config *config, enum mesh_http_version version);
/* ALPN for connections that are called with that protocol, in force where the cluster allows to override it. Copied. */
void mesh_cluster_offer(struct cluster *cluster, enum pool_protocol protocol, struct mesh_slice alpn);
/* What is offered: istio.alpn's list, else that of the TLS settings, else, as Envoy, the protocol's own name. */
struct mesh_slice mesh_pool_alpn(const struct pool *pool);
/* As Envoy: what is configured goes out whatever was negotiated; only POOL_AUTO leaves it to the peer. */
bool mesh_pool_speaks_http2(const struct pool *pool, const struct peer_info *peer);

/* The first whose labels the endpoint has, else the fallback. */
const struct transport_choice *mesh_cluster_transport(const struct cluster_config *config,
						      const struct endpoint_config *endpoint);

/* cluster.c */
/* An endpoint for the next attempt; endpoint->users is incremented. NO_ENDPOINT with words. */
int mesh_cluster_pick(struct cluster *cluster, const struct lb_choice *choice, struct endpoint **endpoint,
		      uint32_t *index, struct why *why);
/* Where the endpoints with these hashes (of their lb_endpoint) are now: fills in indexes, returns how many. */
size_t mesh_cluster_find(const struct cluster *cluster, const uint32_t *hashes, size_t count, uint32_t *indexes,
			 size_t room);
/* The host name of the endpoint picked, in the cluster's present set; absent: none. */
struct mesh_slice mesh_cluster_hostname(const struct cluster *cluster, uint32_t index);
void mesh_endpoint_release(struct endpoint *endpoint);
void mesh_endpoint_drain(struct endpoint *endpoint); /* its pools: idle connections go, the others end what they carry */
/* For original_dst.c: makes one, on the cluster's list alone; takes one off that is of no set. */
struct endpoint *mesh_endpoint_new(struct cluster *cluster, const struct endpoint_config *config);
void mesh_endpoint_retire(struct endpoint *endpoint);

/* original_dst.c */
/* As mesh_cluster_pick, of a CLUSTER_ORIGINAL_DST: that address itself. OVERFLOW (too many others are in use), NOMEM. */
int mesh_cluster_pick_address(struct cluster *cluster, const struct address *address, struct endpoint **endpoint,
			      struct why *why);
void mesh_cluster_refresh_addresses(struct cluster *cluster); /* their transports, after a change of settings */
void mesh_cluster_clean_later(struct cluster *cluster);       /* there is something that will not be needed for ever */

/*
 * How a try on an endpoint ended: what outlier detection and balancing by latency go by. Once for each, when its response's
 * head came or will not come; and as in Envoy once more, with an error, for one that was reset behind its head. Not for tries
 * that we gave up ourselves without a verdict (cancelled by the application, overflow, lost on a stale connection and made
 * again). An error without connect_failed: it had a connection.
 */
struct endpoint_outcome {
	int status;           /* of the response's head, else 0; a gRPC status is mapped to HTTP's, as in Envoy */
	int error;            /* MESH_OK: a response came */
	bool connect_failed;  /* no connection came about */
	uint64_t took_ns;     /* from the request's head to the response's; 0: no response */
};
void mesh_endpoint_report(struct endpoint *endpoint, const struct endpoint_outcome *outcome); /* outcome.c */
/* Somebody asks for good answers, too: else there is no need to report them. */
static inline bool mesh_cluster_learns(const struct cluster *cluster)
{
	return cluster->config->outlier.on || cluster->config->balance.ewma.on || cluster->env->peak_ewma;
}
/*
 * A connection to it is there for somebody: a request, whose outcome is reported too, or (`final`) a stream of bytes, whose
 * outcome this is.
 */
void mesh_endpoint_connected(struct endpoint *endpoint, bool final);

#endif
