/* SPDX-License-Identifier: Apache-2.0 */
/* Which redirects a route follows in place of the application. Immutable. */
#ifndef MESH_CONFIG_INTERNAL_REDIRECT_H
#define MESH_CONFIG_INTERNAL_REDIRECT_H

#include "base/slice.h"

/* Status codes, as bits. */
enum {
	REDIRECT_301 = 1 << 0,
	REDIRECT_302 = 1 << 1,
	REDIRECT_303 = 1 << 2,
	REDIRECT_307 = 1 << 3,
	REDIRECT_308 = 1 << 4,
};

enum redirect_predicate_kind {
	REDIRECT_PREVIOUS_ROUTES,   /* from here to the same route once only */
	REDIRECT_ALLOWED_ROUTES,    /* to routes with these names alone */
	REDIRECT_SAFE_CROSS_SCHEME, /* from HTTP not to HTTPS */
};

struct redirect_predicate {
	enum redirect_predicate_kind kind;
	struct mesh_slice *routes;
	size_t route_count;
};

struct internal_redirect_config {
	uint32_t codes;
	uint32_t max; /* of one call */
	bool allow_cross_scheme;
	struct redirect_predicate *predicates; /* all must agree, asked in their order */
	size_t predicate_count;
	struct mesh_slice *copied; /* response headers that the next request gets, lower case */
	size_t copied_count;
};

#endif
