/* SPDX-License-Identifier: Apache-2.0 */
/* The endpoints of a DNS cluster, made of those it is configured with and of what their names are resolved to. Pure. */
#ifndef MESH_XDS_DNS_ENDPOINTS_H
#define MESH_XDS_DNS_ENDPOINTS_H

#include "config/cluster.h"

/* The newest good answer for one name. Without addresses: `why` in words, NULL when it was not asked yet. */
struct dns_answer {
	struct address *addresses; /* STRICT_DNS: sorted, each once; LOGICAL_DNS: as they came */
	size_t count;
	const char *why;
};

/* Whether an endpoint as configured has a name that must be asked for. */
static inline bool mesh_dns_asked(const struct endpoint_config *endpoint)
{
	return !endpoint->address.len && !endpoint->unsupported;
}

/* The host in an endpoint's "host:port". */
struct mesh_slice mesh_dns_name(const struct endpoint_config *endpoint);

/* Sorts and leaves each address once: another order of the same addresses is the same answer. Returns how many are left. */
size_t mesh_dns_sort(struct address *addresses, size_t count);

/*
 * `answers`: one for each endpoint of cluster->inline_endpoints that is asked for, in their order. The set points into that
 * of the cluster and keeps it. NOMEM.
 */
int mesh_dns_endpoints(const struct mesh_mem *mem, const struct cluster_config *cluster, const struct dns_answer *answers,
		       struct endpoint_set **set);

#endif
