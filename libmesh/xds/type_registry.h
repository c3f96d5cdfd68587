/* SPDX-License-Identifier: Apache-2.0 */
/* The protobuf messages libmesh knows by name, and the one bounded way from bytes to a message. */
#ifndef MESH_XDS_TYPE_REGISTRY_H
#define MESH_XDS_TYPE_REGISTRY_H

#include <protobuf-c/protobuf-c.h>

#include "base/arena.h"
#include "base/slice.h"
#include "base/why.h"

#define MESH_TYPE_NESTING 64 /* messages in messages; one inside an Any starts again at 0 */

/* By full name or by type URL (what follows the last '/'); NULL when not known. */
const ProtobufCMessageDescriptor *mesh_type_find(struct mesh_slice name);
size_t mesh_type_count(void);
const ProtobufCMessageDescriptor *mesh_type_at(size_t index);

/*
 * Unpacks into the arena, which bounds the memory and frees the message; nothing of `bytes` is borrowed. Before that
 * the bytes are walked once: nesting, truncation, groups, strings that are not UTF-8 or hold a NUL give
 * MESH_ERROR_INVALID with the field's path in `why`; too little memory or arena gives MESH_ERROR_NOMEM. nesting_max 0
 * means MESH_TYPE_NESTING.
 */
int mesh_type_unpack(const ProtobufCMessageDescriptor *type, struct mesh_slice bytes, unsigned nesting_max,
		     struct arena *arena, struct why *why, ProtobufCMessage **message);

/* A path such as "virtual_hosts[2].routes", built on the stack while descending. */
struct type_path {
	const struct type_path *parent; /* NULL at the top */
	const char *field;              /* NULL: an element, `index` */
	size_t field_len;               /* 0: field is NUL-terminated */
	size_t index;
};

#define MESH_TYPE_PATH_BYTES 200
/* Text of a path; a long one keeps its end. Returns `text`. */
const char *mesh_type_path_text(const struct type_path *path, char text[MESH_TYPE_PATH_BYTES]);

#endif
