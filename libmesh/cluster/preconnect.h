/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections made before somebody waits for them: as a cluster's preconnect_policy asks, and as an option of our own. What
 * neither is asked for costs a comparison.
 */
#ifndef MESH_CLUSTER_PRECONNECT_H
#define MESH_CLUSTER_PRECONNECT_H

#include "cluster/cluster.h"

/* An exchange is about to begin on `taken`, or waits in the pool (NULL): per_upstream_preconnect_ratio. */
void mesh_pool_preconnect(struct pool *pool, const struct connection *taken);
/* A request is about to go to one endpoint of the cluster: predictive_preconnect_ratio looks at who comes next. */
void mesh_cluster_preconnect(struct cluster *cluster, bool high_priority, enum pool_protocol protocol);
/* As mesh_balancer_pick, which may have been asked ahead of time. */
int64_t mesh_cluster_next(struct cluster *cluster, const struct lb_choice *choice);
/* Up to env->warm connections to every endpoint of a cluster that is called; looked at once a second. */
void mesh_cluster_warm(struct cluster *cluster, enum pool_protocol protocol);

#endif
