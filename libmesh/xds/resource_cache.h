/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the control plane sent, decoded: the last good version of every resource, what was rejected and why, and which
 * names are wanted next. Knows no stream, no nonce; the control thread's only.
 */
#ifndef MESH_XDS_RESOURCE_CACHE_H
#define MESH_XDS_RESOURCE_CACHE_H

#include "base/buf.h"
#include "base/log.h"
#include "config/snapshot.h"

enum xds_type {
	XDS_CLUSTER,
	XDS_ENDPOINT,
	XDS_LISTENER,
	XDS_ROUTE,
	XDS_SECRET, /* only kubernetes:// and other names istiod serves */
	XDS_TYPES,
};

extern const char *const mesh_xds_type_urls[XDS_TYPES]; /* "type.googleapis.com/envoy.config.cluster.v3.Cluster", .. */
int mesh_xds_type_of(struct mesh_slice url); /* enum xds_type, -1 for others */

struct xds_limits {
	size_t resource_bytes_max; /* 16 MiB */
	size_t resources_max;      /* per type: 200 000 */
	unsigned nesting_max;      /* protobuf messages in messages: 64 */
};

/* One resource as it came, in either protocol form. Slices are borrowed during the call. */
struct xds_resource {
	struct mesh_slice name;     /* delta: given; state of the world: absent, taken from the resource */
	struct mesh_slice version;
	struct mesh_slice type_url; /* of the Any */
	struct mesh_slice bytes;
};

struct resource_cache;

int mesh_resource_cache_new(const struct mesh_mem *mem, const struct log *log, const struct xds_limits *limits,
			    struct resource_cache **cache); /* limits NULL: defaults */
/* Asks for a resource that no other names. Before anything arrived. NOMEM. */
int mesh_resource_cache_want(struct resource_cache *cache, enum xds_type type, struct mesh_slice name);
void mesh_resource_cache_free(struct resource_cache *cache);

/*
 * Applies one response. Good resources are taken, bad ones keep their last good version; each bad one adds a line
 * "<name>: <field path>: <what>" to *rejects (empty: ACK). A resource that is in force but fails closed for something not
 * understood adds a line too. `whole`: state-of-the-world LDS/CDS, what is not named is gone, unless a resource whose name
 * cannot be told is among them. A name that comes twice, or is removed too, is refused. Names never asked for are passed
 * over. Lines beyond 16 KiB are counted, not written. NOMEM, or TOO_LARGE when *rejects has no room for a line, leaves all
 * as it was.
 */
int mesh_resource_cache_apply(struct resource_cache *cache, enum xds_type type, const struct xds_resource *resources,
			      size_t count, const struct mesh_slice *removed, size_t removed_count, bool whole,
			      struct buf *rejects);

/* Names to subscribe to by name (endpoints of EDS clusters, RDS of listeners, secrets), sorted. Slices live until the next apply. */
int mesh_resource_cache_wanted(struct resource_cache *cache, enum xds_type type, const struct mesh_slice **names, size_t *count);
/* Held resources of a type with their versions, for initial_resource_versions on reconnect. */
struct xds_held {
	struct mesh_slice name;
	struct mesh_slice version;
};
int mesh_resource_cache_held(struct resource_cache *cache, enum xds_type type, const struct xds_held **held, size_t *count);

/* Whether every route configuration and secret that a listener names is there, or known to be absent. */
bool mesh_resource_cache_listeners_complete(const struct resource_cache *cache);

/* What is wanted and was never answered counts as absent from now on, so that the rest can be used. NOMEM. */
int mesh_resource_cache_give_up(struct resource_cache *cache);

/* Names of secrets that are files, which are for us to read: as mesh_resource_cache_wanted, which has the others. */
int mesh_resource_cache_files(struct resource_cache *cache, const struct mesh_slice **names, size_t *count);
/* It is not to be had: nothing waits for it any more. NOMEM. */
int mesh_resource_cache_absent_secret(struct resource_cache *cache, struct mesh_slice name);

/* Our own certificate and roots ("default", "ROOTCA") and files: replaces one by name. Takes its own reference. */
int mesh_resource_cache_set_secret(struct resource_cache *cache, struct secret *secret);

/* How many times something in a resource was passed over; each kind of thing is logged once. */
uint64_t mesh_resource_cache_warnings(const struct resource_cache *cache);

/* The present state as a snapshot: cheap when little changed. NOMEM. */
int mesh_resource_cache_snapshot(struct resource_cache *cache, uint64_t version, struct snapshot **snapshot);

/*
 * JSON in the form of Envoy's /config_dump ({"configs":[BootstrapConfigDump?, ClustersConfigDump, ..]}) with client_status
 * and error_state of each resource; secrets without keys. `bootstrap_json`: a ready JSON object or absent.
 */
int mesh_resource_cache_dump(struct resource_cache *cache, struct mesh_slice bootstrap_json, struct buf *out);

#endif
