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
	struct tls_store *tls;
	struct registry *registry;
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
	struct tls_session *session;           /* of the last connection, to resume */
	struct tls_context *session_context;
	unsigned users;   /* attempts that hold it */
	bool retired;
	bool kept;        /* scratch of the rebuild */
	struct link dials; /* struct dial: every connection to it, also while opening, pooled or raw */
	struct pool pools[POOL_PROTOCOLS]; /* HTTP */
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
	struct {
		char alpn[64]; /* wire format: istio.alpn of the listener in use */
		size_t len;
	} offer[POOL_PROTOCOLS]; /* instead of the TLS settings' */
	unsigned generation; /* grows when connections made earlier must not be reused */
	struct link endpoints;
	struct endpoint **active; /* in the order of the set */
	struct lb_endpoint *lb;
	size_t count;
	size_t unsupported; /* of them, whose transport choice is not */
	struct balancer *balancer;
};

int mesh_cluster_env_init(struct cluster_env *env); /* after mem, log, loop, tls, registry were set */
void mesh_cluster_env_destroy(struct cluster_env *env); /* closes everything; waiters must be gone */

/* The cluster, brought up to date with the snapshot. NO_CLUSTER, NOMEM. */
int mesh_cluster_get(struct cluster_env *env, struct mesh_slice name, uint32_t hash, struct cluster **cluster);

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
/* The same of a CLUSTER_ORIGINAL_DST: that address itself. NOMEM. */
int mesh_cluster_pick_address(struct cluster *cluster, const struct address *address, struct endpoint **endpoint,
			      struct why *why);
/* Where the endpoints with these hashes (of their lb_endpoint) are now: fills in indexes, returns how many. */
size_t mesh_cluster_find(const struct cluster *cluster, const uint32_t *hashes, size_t count, uint32_t *indexes,
			 size_t room);
void mesh_endpoint_release(struct endpoint *endpoint);

/*
 * How a try on an endpoint ended, once for each: what outlier detection and balancing by latency go by. Not for tries that
 * we gave up ourselves without a verdict (cancelled by the application, overflow).
 */
struct endpoint_outcome {
	int status;           /* of the response's head, else 0; a gRPC status is mapped to HTTP's, as in Envoy */
	int error;            /* MESH_OK: a response came */
	bool connect_failed;  /* no connection came about */
	uint64_t took_ns;     /* from the request's head to the response's; 0: no response */
};
void mesh_endpoint_report(struct endpoint *endpoint, const struct endpoint_outcome *outcome); /* outcome.c */

#endif
