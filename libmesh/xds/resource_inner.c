/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finds resources that were sent inside others, as bytes, to be shown. Refuses to unpack: what is malformed was refused
 * before, and would end the search here.
 */
#include "xds/proto_scan.h"
#include "xds/resource_state.h"

/* Field numbers on the way. */
enum {
	CLUSTER_LOAD_ASSIGNMENT = 33,
	LISTENER_CHAINS = 3,
	LISTENER_DEFAULT_CHAIN = 25,
	LISTENER_API = 19,
	API_CONFIG = 1,
	CHAIN_FILTERS = 3,
	FILTER_CONFIG = 4,
	ANY_URL = 1,
	ANY_VALUE = 2,
	HTTP_ROUTES = 4,
};

struct search {
	mesh_resource_inner_fn *visit;
	void *user;
};

static int http_routes(const struct search *search, struct mesh_slice any)
{
	static const char manager[] =
		"/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";
	struct mesh_slice url, config, routes;

	if (!mesh_proto_text(any, ANY_URL, &url) || !mesh_slice_suffix(url, mesh_slice_of(manager)) ||
	    !mesh_proto_text(any, ANY_VALUE, &config) || !mesh_proto_text(config, HTTP_ROUTES, &routes) || !routes.data)
		return 0;
	return search->visit(search->user, XDS_ROUTE, routes);
}

static int chain_routes(const struct search *search, struct mesh_slice chain)
{
	struct mesh_slice filter, any;
	int rc = 0;

	while (rc == 0 && mesh_proto_next(&chain, CHAIN_FILTERS, &filter)) {
		if (mesh_proto_text(filter, FILTER_CONFIG, &any))
			rc = http_routes(search, any);
	}
	return rc;
}

static int listener_routes(const struct search *search, struct mesh_slice listener)
{
	struct mesh_slice rest = listener, part, any;
	int rc = 0;

	while (rc == 0 && mesh_proto_next(&rest, LISTENER_CHAINS, &part))
		rc = chain_routes(search, part);
	if (rc == 0 && mesh_proto_text(listener, LISTENER_DEFAULT_CHAIN, &part))
		rc = chain_routes(search, part);
	if (rc == 0 && mesh_proto_text(listener, LISTENER_API, &part) && mesh_proto_text(part, API_CONFIG, &any))
		rc = http_routes(search, any);
	return rc;
}

int mesh_resource_inner(enum xds_type type, struct mesh_slice bytes, mesh_resource_inner_fn *visit, void *user)
{
	const struct search search = {visit, user};
	struct mesh_slice endpoints;

	if (type == XDS_LISTENER)
		return listener_routes(&search, bytes);
	if (type == XDS_CLUSTER && mesh_proto_text(bytes, CLUSTER_LOAD_ASSIGNMENT, &endpoints) && endpoints.data)
		return visit(user, XDS_ENDPOINT, endpoints);
	return 0;
}
