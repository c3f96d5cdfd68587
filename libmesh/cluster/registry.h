/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What all workers of a mesh share about clusters, keyed by name so that it survives configuration changes: circuit
 * breaker use, requests in flight per endpoint, and where each worker's statistics are.
 */
#ifndef MESH_CLUSTER_REGISTRY_H
#define MESH_CLUSTER_REGISTRY_H

#include <pthread.h>

#include "base/buf.h"
#include "base/counter.h"
#include "base/list.h"
#include "base/map.h"
#include "lb/lb.h"
#include "policy/circuit_breaker.h"
#include "policy/outlier.h"

/* Counters of a cluster: member, name as Envoy's admin interface has it. */
#define MESH_CLUSTER_COUNTERS(X) \
	X(rq_total, "upstream_rq_total") \
	X(rq_1xx, "upstream_rq_1xx") \
	X(rq_2xx, "upstream_rq_2xx") \
	X(rq_3xx, "upstream_rq_3xx") \
	X(rq_4xx, "upstream_rq_4xx") \
	X(rq_5xx, "upstream_rq_5xx") \
	X(rq_completed, "upstream_rq_completed") \
	X(rq_timeout, "upstream_rq_timeout") \
	X(rq_per_try_timeout, "upstream_rq_per_try_timeout") \
	X(rq_per_try_idle_timeout, "upstream_rq_per_try_idle_timeout") \
	X(rq_rx_reset, "upstream_rq_rx_reset") \
	X(rq_tx_reset, "upstream_rq_tx_reset") \
	X(rq_pending_total, "upstream_rq_pending_total") \
	X(rq_pending_overflow, "upstream_rq_pending_overflow") \
	X(rq_pending_failure_eject, "upstream_rq_pending_failure_eject") \
	X(rq_retry, "upstream_rq_retry") \
	X(rq_retry_success, "upstream_rq_retry_success") \
	X(rq_retry_overflow, "upstream_rq_retry_overflow") \
	X(rq_retry_limit_exceeded, "upstream_rq_retry_limit_exceeded") \
	X(rq_retry_backoff_exponential, "upstream_rq_retry_backoff_exponential") \
	X(rq_retry_backoff_ratelimited, "upstream_rq_retry_backoff_ratelimited") \
	X(shadow_abandoned, "retry_or_shadow_abandoned") \
	X(redirect_succeeded, "upstream_internal_redirect_succeeded_total") \
	X(redirect_failed, "upstream_internal_redirect_failed_total") \
	X(cx_total, "upstream_cx_total") \
	X(cx_http1_total, "upstream_cx_http1_total") \
	X(cx_http2_total, "upstream_cx_http2_total") \
	X(cx_destroy, "upstream_cx_destroy") \
	X(cx_connect_fail, "upstream_cx_connect_fail") \
	X(cx_connect_timeout, "upstream_cx_connect_timeout") \
	X(cx_overflow, "upstream_cx_overflow") \
	X(cx_idle_timeout, "upstream_cx_idle_timeout") \
	X(cx_max_requests, "upstream_cx_max_requests") \
	X(http2_keepalive_timeout, "http2.keepalive_timeout") \
	X(cx_rx_bytes, "upstream_cx_rx_bytes_total") \
	X(cx_tx_bytes, "upstream_cx_tx_bytes_total") \
	X(ssl_handshake, "ssl.handshake") \
	X(ssl_connection_error, "ssl.connection_error") \
	X(ssl_session_reused, "ssl.session_reused") \
	X(ssl_fail_verify_san, "ssl.fail_verify_san") \
	X(lb_none_healthy, "upstream_cx_none_healthy") \
	X(lb_healthy_panic, "lb_healthy_panic") \
	X(membership_change, "membership_change")

/* One worker's counters of one cluster: written by that worker alone. */
struct cluster_stats {
	struct link link; /* in cluster_shared.stats, under its lock */
#define X(member, label) struct counter member;
	MESH_CLUSTER_COUNTERS(X)
#undef X
};

enum { OUTLIER_SIDES = 2 }; /* answers, and what failed on our side of the wire (when told apart) */

/* One worker's answers of one endpoint: written by that worker alone, only where outliers are detected. */
struct endpoint_tally {
	struct link link; /* in endpoint_shared.tallies, under cluster_shared.lock */
	struct counter total[OUTLIER_SIDES], good[OUTLIER_SIDES];
};

struct endpoint_shared {
	unsigned users;     /* under cluster_shared.lock */
	atomic_uint active; /* requests in flight, all workers */
	_Atomic uint64_t rq_total, rq_error, cx_connect_fail;
	atomic_uint connections;
	atomic_uint health; /* bits of cluster/health.h, changed under cluster_shared.lock */
	struct outlier_runs runs;
	/* the rest under cluster_shared.lock */
	bool member; /* of the cluster's set of endpoints */
	struct outlier_history history;
	struct link tallies; /* struct endpoint_tally of live workers */
	struct outlier_volume gone[OUTLIER_SIDES];  /* sums of workers gone */
	struct outlier_volume rated[OUTLIER_SIDES]; /* all there were when the last interval ended */
	double success_rate[OUTLIER_SIDES];         /* of the last interval, percent; -1: too few */
	_Atomic uint64_t since_ns;  /* when it was first seen healthy, or was healthy again after active checks; 0: never */
	struct lb_latency latency;  /* kept only where it is balanced by */
	struct mesh_slice text; /* "ip:port" */
};

struct ejection_stats {
	uint64_t detected[OUTLIER_CAUSES], enforced[OUTLIER_CAUSES], overflow;
};

struct check_stats {
	uint64_t attempt, success, failure, network_failure, verify_cluster;
};

struct cluster_shared {
	struct registry *registry;
	unsigned users; /* under registry.lock */
	struct mesh_slice name;
	struct breaker_use breaker, breaker_high; /* of requests of default and of high priority */
	struct circuit_breaker limits, limits_high; /* under `lock`: of both, for who looks from outside; the last followed */
	bool limited;                             /* there are */
	atomic_uint health_version;   /* grows when any endpoint's health changes */
	_Atomic uint64_t sweep_ns;    /* when the outlier detector's interval is over; 0: it has not begun */
	pthread_mutex_t lock;
	bool detects, checks;         /* outliers, actively: has done so */
	uint64_t followed;            /* the newest snapshot that some worker is at, where health is watched */
	struct outlier_config outlier; /* by which the endpoints' runs are counted: the last followed */
	struct outlier_level levels[OUTLIER_SIDES]; /* of the last interval */
	struct ejection_stats ejections;
	struct check_stats check;
	struct map endpoints;         /* struct endpoint_shared */
	struct link stats;            /* struct cluster_stats of live workers */
	struct cluster_stats retired; /* sums of workers gone */
};

struct registry {
	const struct mesh_mem *mem;
	pthread_mutex_t lock;
	struct map clusters; /* struct cluster_shared */
};

int mesh_registry_init(struct registry *registry, const struct mesh_mem *mem); /* SYSTEM */
void mesh_registry_destroy(struct registry *registry); /* all clusters were released */

struct cluster_shared *mesh_cluster_shared_get(struct registry *registry, struct mesh_slice name); /* NULL: no memory */
void mesh_cluster_shared_release(struct cluster_shared *shared);
struct endpoint_shared *mesh_endpoint_shared_get(struct cluster_shared *shared, struct mesh_slice text); /* NULL: no memory */
void mesh_endpoint_shared_release(struct cluster_shared *shared, struct endpoint_shared *endpoint);
/* All answers there were. cluster_shared.lock is the caller's. */
struct outlier_volume mesh_endpoint_volume(const struct endpoint_shared *endpoint, size_t side);
/* Did anything but active checks ever connect to it? */
bool mesh_cluster_had_traffic(struct cluster_shared *shared);
void mesh_cluster_stats_add(struct cluster_shared *shared, struct cluster_stats *stats);
void mesh_cluster_stats_retire(struct cluster_shared *shared, struct cluster_stats *stats);

/* breaker_stats.c */
void mesh_breaker_limits_set(struct cluster_shared *shared, const struct cluster_config *config);
int mesh_breaker_stats(struct cluster_shared *shared, struct buf *out); /* "cluster.<name>.circuit_breakers..: value" lines */

int mesh_registry_stats(struct registry *registry, struct buf *out);    /* "cluster.<name>.<counter>: value" lines */

#endif
