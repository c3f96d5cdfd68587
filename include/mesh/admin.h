/* SPDX-License-Identifier: Apache-2.0 */
/* A look inside: statistics, configuration, endpoints as text. */
#ifndef MESH_ADMIN_H
#define MESH_ADMIN_H

#include <mesh/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Receives output piece by piece; return < 0 to stop. Thread: the caller's. Since: 0.1 */
typedef int mesh_sink_fn(void *user, struct mesh_slice text);

/*
 * Counters, one "name: value" a line, named as Envoy's admin interface names them.
 * Thread: any, not from a sink. Owns: the text is borrowed by the sink. Errors: NOMEM, or what the sink returned. Since: 0.1
 */
MESH_EXPORT int mesh_admin_stats(struct mesh *mesh, mesh_sink_fn *sink, void *user);

/*
 * The configuration received and its state (accepted, rejected with the reason), JSON in the form of Envoy's config_dump.
 * Private keys are never in it.
 * Thread: any, not from a sink. Owns: the text is borrowed by the sink. Errors: NOMEM, or what the sink returned. Since: 0.1
 */
MESH_EXPORT int mesh_admin_config_dump(struct mesh *mesh, mesh_sink_fn *sink, void *user);

/*
 * Clusters and their endpoints, in the text form of Envoy's /clusters.
 * Thread: any, not from a sink. Owns: the text is borrowed by the sink. Errors: NOMEM, or what the sink returned. Since: 0.1
 */
MESH_EXPORT int mesh_admin_clusters(struct mesh *mesh, mesh_sink_fn *sink, void *user);

#ifdef __cplusplus
}
#endif
#endif
