/* SPDX-License-Identifier: Apache-2.0 */
/* Which of a cluster's endpoints a route asks for: metadata_match. Immutable. */
#ifndef MESH_CONFIG_SUBSET_WISH_H
#define MESH_CONFIG_SUBSET_WISH_H

#include <stddef.h>

struct label;

struct subset_match {
	struct label *labels; /* sorted by key */
	size_t label_count;
};

struct subset_wish {
	struct subset_match match;
	struct subset_match *fallbacks; /* of its fallback_list, merged with the rest: tried in this order instead */
	size_t fallback_count;
};

#endif
