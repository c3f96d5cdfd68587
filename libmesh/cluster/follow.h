/* SPDX-License-Identifier: Apache-2.0 */
/* How a live cluster follows configuration; for cluster.c alone. */
#ifndef MESH_CLUSTER_FOLLOW_H
#define MESH_CLUSTER_FOLLOW_H

#include "cluster/cluster.h"

/* Its settings and its endpoints, as the snapshot has them, take the place of those in force. NOMEM: mostly, what was stays. */
int mesh_cluster_follow(struct cluster *cluster, const struct cluster_config *config, const struct endpoint_set *told);
/* Zones, by what the local cluster looks like now. NOMEM. */
int mesh_cluster_follow_local(struct cluster *cluster);
/* The cluster left the configuration. */
void mesh_cluster_forget(struct cluster *cluster);
/* This worker ends: what its endpoints are to the others is left alone. */
void mesh_cluster_end(struct cluster *cluster);

#endif
