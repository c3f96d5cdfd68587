/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which other resources a resource names: endpoints of EDS clusters, route configurations of listeners, secrets of TLS
 * contexts. The workload's own certificate and the mesh's roots, which are always there, are left out.
 */
#include "xds/resource_state.h"

static bool to_fetch(struct mesh_slice name)
{
	return name.data && !mesh_slice_equal(name, MESH_SLICE("default")) && !mesh_slice_equal(name, MESH_SLICE("ROOTCA"));
}

static int tls_links(const struct tls_config *tls, mesh_resource_link_fn *visit, void *user)
{
	int rc = 0;

	if (tls && to_fetch(tls->certificate_name))
		rc = visit(user, XDS_SECRET, tls->certificate_name);
	if (tls && rc == 0 && to_fetch(tls->roots_name))
		rc = visit(user, XDS_SECRET, tls->roots_name);
	return rc;
}

static int cluster_links(const struct cluster_config *cluster, mesh_resource_link_fn *visit, void *user)
{
	int rc = 0;

	if (cluster->kind == CLUSTER_EDS)
		rc = visit(user, XDS_ENDPOINT, cluster->eds_name);
	for (size_t i = 0; rc == 0 && i < cluster->match_count; i++)
		rc = tls_links(cluster->matches[i].tls, visit, user);
	return rc ? rc : tls_links(cluster->fallback.tls, visit, user);
}

static int chain_links(const struct chain *chain, mesh_resource_link_fn *visit, void *user)
{
	int rc = tls_links(chain->tls, visit, user);

	if (rc == 0 && chain->http && chain->http->route_name.data)
		rc = visit(user, XDS_ROUTE, chain->http->route_name);
	return rc;
}

static int listener_links(const struct listener_config *listener, mesh_resource_link_fn *visit, void *user)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < listener->chain_count; i++)
		rc = chain_links(&listener->chains[i], visit, user);
	if (rc == 0 && listener->default_chain)
		rc = chain_links(listener->default_chain, visit, user);
	return rc;
}

int mesh_resource_links(enum xds_type type, const struct table_item *object, mesh_resource_link_fn *visit, void *user)
{
	if (type == XDS_CLUSTER)
		return cluster_links((const struct cluster_config *)object, visit, user);
	if (type == XDS_LISTENER)
		return listener_links((const struct listener_config *)object, visit, user);
	return 0;
}
