/* SPDX-License-Identifier: Apache-2.0 */
/* Text with command operators, put together for one request. Pure. */
#ifndef MESH_POLICY_FORMAT_H
#define MESH_POLICY_FORMAT_H

#include "base/header.h"
#include "config/format.h"
#include "policy/metadata_match.h"

struct format_facts;

/* What is known of the request besides its messages, by operator; absent: nothing. False: no memory. */
typedef bool mesh_format_ask_fn(const struct format_facts *facts, enum format_op op, struct arena *arena,
				struct mesh_slice *value);

/* What is known of a request at that moment. All zero: nothing. */
struct format_facts {
	struct mesh_slice method, scheme;
	const struct mesh_slice *authority, *path; /* NULL: none */
	const struct headers *request;             /* NULL: none, as the next two */
	const struct headers *response;
	const struct headers *trailers;
	struct mesh_slice body;                    /* of a local answer */
	uint64_t start_ns, now_ns;                 /* since 1970; 0: not known */
	const struct request_metadata *metadata;
	mesh_format_ask_fn *ask;                   /* NULL: nothing is known */
	const void *from;
};

/* In the arena, or the configuration's. `missing` stands for what is not known. Absent: no memory, or it told too much. */
struct mesh_slice mesh_format(const struct format *format, const struct format_facts *facts, struct mesh_slice missing,
			      struct arena *arena);

#endif
