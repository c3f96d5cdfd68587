/* SPDX-License-Identifier: Apache-2.0 */
/* What other sites' pages may ask of a route, compiled: what its virtual host says is merged in. Immutable. */
#ifndef MESH_CONFIG_CORS_H
#define MESH_CONFIG_CORS_H

#include "config/match.h"

enum cors_choice { CORS_UNSET, CORS_NO, CORS_YES };

struct cors_config {
	struct string_match *origins;
	size_t origin_count;
	struct mesh_slice methods, headers, expose, max_age; /* absent: not told */
	enum cors_choice credentials, private_network;
	enum cors_choice forward; /* preflights of other origins go on; unset: they do */
	struct fraction enabled;  /* denominator 0: all */
};

#endif
