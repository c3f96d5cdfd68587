/* SPDX-License-Identifier: Apache-2.0 */
/* Where copies of a route's requests go beside the requests themselves. Immutable. */
#ifndef MESH_CONFIG_MIRROR_H
#define MESH_CONFIG_MIRROR_H

#include "config/match.h"

struct header_mutations;

/* One change of a copy's headers; they are made in their order. */
struct mirror_change {
	struct header_mutations *headers; /* one addition or removal; NULL: as below */
	struct string_match remove;       /* every header with such a name goes */
};

struct mirror_policy {
	struct mesh_slice cluster;
	uint32_t cluster_hash;           /* of it */
	struct mesh_slice cluster_header; /* lower case; instead of `cluster`: whose first value names it */
	struct fraction share;           /* of the requests; denominator 0: all */
	bool keep_authority;             /* "-shadow" is not added to it */
	struct mesh_slice authority;     /* instead of the request's own */
	struct mirror_change *changes;
	size_t change_count;
};

struct mirror_config {
	struct mirror_policy *policies;
	size_t count;
};

#endif
