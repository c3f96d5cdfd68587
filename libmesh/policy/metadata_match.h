/* SPDX-License-Identifier: Apache-2.0 */
/* What filters have said of a request, and whether it satisfies a condition. Pure. */
#ifndef MESH_POLICY_METADATA_MATCH_H
#define MESH_POLICY_METADATA_MATCH_H

#include "config/metadata_match.h"

enum metadata_kind {
	METADATA_ABSENT,
	METADATA_NULL,
	METADATA_NUMBER,
	METADATA_STRING,
	METADATA_BOOL,
	METADATA_LIST,
	METADATA_STRUCT,
};

struct metadata_value {
	enum metadata_kind kind;
	double number;
	bool boolean;
	struct mesh_slice text;  /* a string itself; of the other kinds their JSON, where it is known */
	const struct metadata_value *items; /* LIST */
	size_t count;
};

/* Filled by who has something to say: a filter that verified a token. */
struct request_metadata {
	/* Absent: nothing is under that path. */
	void (*find)(const void *from, struct mesh_slice filter, const struct mesh_slice *path, size_t count,
		     struct metadata_value *value);
	const void *from;
};

/* `metadata` NULL: nothing was said. */
void mesh_metadata_find(const struct request_metadata *metadata, struct mesh_slice filter, const struct mesh_slice *path,
			size_t count, struct metadata_value *value);
bool mesh_metadata_matches(const struct metadata_match *match, const struct request_metadata *metadata);

#endif
