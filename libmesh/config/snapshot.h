/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Everything a worker needs to decide, at one moment. Immutable, shared by count; successive snapshots share all that did
 * not change. The only type the configuration flow and the data flow have in common.
 */
#ifndef MESH_CONFIG_SNAPSHOT_H
#define MESH_CONFIG_SNAPSHOT_H

#include "base/table.h"
#include "config/cluster.h"
#include "config/listener.h"
#include "config/secret.h"

/* Outbound listeners of one port: the wildcard one and those bound to an address (VIP). */
struct outbound_port {
	uint16_t port;
	const struct listener_config *wildcard; /* "0.0.0.0_9080", NULL when none */
	const struct listener_config **bound;   /* by address */
	size_t bound_count;
};

struct listener_index; /* what `ports` points into; successive snapshots of the same listeners share it */

struct snapshot {
	struct ref ref;
	const struct mesh_mem *mem;
	uint64_t version;         /* grows with each publication */
	struct table *listeners;  /* struct listener_config */
	struct table *routes;     /* struct route_config */
	struct table *clusters;   /* struct cluster_config */
	struct table *endpoints;  /* struct endpoint_set */
	struct table *resolved;   /* struct endpoint_set of DNS clusters, by the cluster's name */
	struct table *secrets;    /* struct secret: "default" and "ROOTCA" among them once there */
	struct listener_index *index;
	struct outbound_port *ports; /* sorted by port */
	size_t port_count;
	const struct listener_config *virtual_inbound;  /* the INBOUND listener with use_original_dst semantics; NULL before */
	const struct listener_config *virtual_outbound;
	bool checked;             /* some cluster has active health checks */
	bool complete;            /* clusters, listeners and all that they name are there, or known to be absent. The first
				     one in force is; in a later one endpoints or secrets of clusters may still be on their way */
};

static inline struct snapshot *mesh_snapshot_retain(const struct snapshot *snapshot)
{
	if (snapshot)
		mesh_ref_take(&((struct snapshot *)snapshot)->ref);
	return (struct snapshot *)snapshot;
}

static inline void mesh_snapshot_release(const struct snapshot *snapshot)
{
	if (snapshot)
		mesh_ref_drop(&((struct snapshot *)snapshot)->ref);
}

/* Makes one from tables (retained) and derives the indexes. NOMEM. */
int mesh_snapshot_new(const struct mesh_mem *mem, uint64_t version, struct table *listeners, struct table *routes,
		      struct table *clusters, struct table *endpoints, struct table *secrets, bool complete,
		      struct snapshot **snapshot);
/* The same after `previous` (NULL: none): the indexes are shared when the listeners are the same table. */
int mesh_snapshot_next(const struct mesh_mem *mem, const struct snapshot *previous, uint64_t version,
		       struct table *listeners, struct table *routes, struct table *clusters, struct table *endpoints,
		       struct table *secrets, bool complete, struct snapshot **snapshot);
/* Before it is published: what the names of DNS clusters are resolved to. Retained. */
void mesh_snapshot_resolve(struct snapshot *snapshot, struct table *resolved);
const struct cluster_config *mesh_snapshot_cluster(const struct snapshot *snapshot, struct mesh_slice name, uint32_t hash);
/* NULL: not received, or not resolved, yet. */
const struct endpoint_set *mesh_snapshot_endpoints(const struct snapshot *snapshot, const struct cluster_config *cluster);
const struct route_config *mesh_snapshot_routes(const struct snapshot *snapshot, const struct http_config *http);
const struct secret *mesh_snapshot_secret(const struct snapshot *snapshot, struct mesh_slice name);
/*
 * The outbound listener and HTTP chain a sidecar would use for a plaintext HTTP request to authority host (an IP or a
 * name) and port: the listener bound to that IP, else the port's wildcard one, else virtualOutbound. NULL: nothing there.
 */
const struct listener_config *mesh_snapshot_outbound(const struct snapshot *snapshot, struct mesh_slice ip, uint16_t port);
/*
 * The same for a host name where each service of that port has a listener of its own (ports whose protocol is sniffed, or
 * TCP): the one whose routes are named "<host>:<port>", or whose TCP chain goes to that host. NULL: none, the port is to be
 * tried by address. A headless service has one for each pod: any of them. `host` is lower case.
 */
const struct listener_config *mesh_snapshot_outbound_named(const struct snapshot *snapshot, struct mesh_slice host, uint16_t port);
/* Listeners of this port that are for one address each. */
bool mesh_snapshot_has_bound(const struct snapshot *snapshot, uint16_t port);
bool mesh_snapshot_has_named(const struct snapshot *snapshot, uint16_t port); /* any such on this port */

#endif
