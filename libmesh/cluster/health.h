/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Health beyond what configuration says: what outlier detection and active checks found, kept in endpoint_shared for all
 * workers. Whoever changes it lets the cluster's health_version grow; a worker compares that when it picks, and only where
 * the cluster has one of the two.
 */
#ifndef MESH_CLUSTER_HEALTH_H
#define MESH_CLUSTER_HEALTH_H

#include "cluster/cluster.h"

/* Bits of endpoint_shared.health, named as Envoy's health flags. */
enum {
	HEALTH_FAILED_CHECK = 1 << 0,
	HEALTH_EJECTED = 1 << 1,
	HEALTH_DEGRADED_CHECK = 1 << 2,
	HEALTH_PENDING_CHECK = 1 << 3,
	HEALTH_EXCLUDED = 1 << 4, /* it said x-envoy-immediate-health-check-fail */
	HEALTH_CHECK_TIMEOUT = 1 << 5,
};

/* health.c */
/* An endpoint of a set that the worker did not know: nobody has anything on it, or it comes back after it had left. */
void mesh_health_join(struct cluster *cluster, const struct cluster_config *config, const struct endpoint_config *endpoint,
		      struct endpoint *joining);
/* Configuration has it no more: what was known of it is void. */
void mesh_health_leave(struct endpoint *endpoint);
void mesh_health_part(struct endpoint *endpoint); /* the worker's part goes: its counts are kept */
/* Follows the cluster's configuration: what of it is to be watched. */
void mesh_health_follow(struct cluster *cluster);
/* Brings cluster->lb up to date; the balancer is the caller's. */
void mesh_health_apply(struct cluster *cluster);
/* Before a pick, where cluster->watches: whose interval is over, and has anything changed? */
void mesh_health_look(struct cluster *cluster, uint64_t now_ns);
/* Changes bits of it; the version grows when any was another before. cluster_shared.lock is the caller's. */
void mesh_health_set(struct cluster_shared *cluster, struct endpoint_shared *endpoint, unsigned set, unsigned cleared);

/* linger.c */
bool mesh_cluster_lingers(const struct cluster_config *config); /* may endpoints stay that configuration has no more? */
/* What is in force in place of `wanted`: with those of cluster->set that stay. NULL: `wanted` itself, none stays. NOMEM. */
int mesh_cluster_linger(struct cluster *cluster, const struct endpoint_set *wanted, struct endpoint_set **set);

/* ejection.c */
/* It was found to be an outlier for a run of failures. */
void mesh_ejection_detect(struct endpoint *endpoint, enum outlier_cause cause);
/* Where the detector's interval is over: endpoints come back, rates are looked at. */
void mesh_ejection_sweep(struct cluster *cluster, uint64_t now_ns);
/* Back before its time. cluster_shared.lock is the caller's. */
void mesh_ejection_end(struct cluster_shared *cluster, struct endpoint_shared *endpoint, uint64_t now_ns);

#endif
