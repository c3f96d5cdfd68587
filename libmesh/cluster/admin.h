/* SPDX-License-Identifier: Apache-2.0 */
/* What Envoy's admin interface says of clusters: statistics of detectors and checks, and /clusters as text. */
#ifndef MESH_CLUSTER_ADMIN_H
#define MESH_CLUSTER_ADMIN_H

#include "cluster/registry.h"
#include "config/snapshot.h"

/* "cluster.<name>.outlier_detection.*" and ".health_check.*", of those that have them. The cluster's lock is the caller's. */
int mesh_cluster_write_health_stats(const struct cluster_shared *shared, struct buf *out);
/* All clusters of the snapshot (NULL: of none) with what is known of their endpoints. */
int mesh_clusters_text(struct registry *registry, const struct snapshot *snapshot, struct buf *out);

#endif
