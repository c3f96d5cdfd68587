/* SPDX-License-Identifier: Apache-2.0 */
/* The discovery protocol as a control plane speaks it: packs responses, takes requests apart. A wrong one fails the test. */
#ifndef TESTS_SUPPORT_XDS_RESPONSE_H
#define TESTS_SUPPORT_XDS_RESPONSE_H

#include "support/xds_sample.h"

struct xds_response {
	bool sotw;
	const char *type_url; /* NULL: of `type` */
	enum xds_type type;
	const char *nonce, *version; /* version: of the response */
	const struct xds_resource *resources;
	size_t count;
	const char *const *removed; /* ends with NULL; NULL: none. Delta only */
};

/* In the arena. A delta resource without bytes is a heartbeat. */
struct mesh_slice xds_response_pack(struct arena *arena, const struct xds_response *response);

/* A request in one line, to be compared as a whole: what is empty is left out. */
/* delta: "cds +a,b -c held:x=1,y=2 nonce:n error:3:words node"; state of the world: "cds names:a,b version:1 nonce:n .." */
const char *xds_request_text(struct arena *arena, bool sotw, struct mesh_slice bytes);

/* Resources that hold together: EDS cluster, its endpoints, an outbound listener with RDS, its routes. */
struct xds_resource xds_make_cluster(struct arena *arena, const char *version, const char *name);
struct xds_resource xds_make_endpoints(struct arena *arena, const char *version, const char *name);
struct xds_resource xds_make_listener(struct arena *arena, const char *version, const char *name, unsigned port,
				      const char *routes);
struct xds_resource xds_make_routes(struct arena *arena, const char *version, const char *name, const char *cluster);
/* One that is refused: "connect_timeout" is 0. */
struct xds_resource xds_make_bad_cluster(struct arena *arena, const char *version, const char *name);

#endif
