/* SPDX-License-Identifier: Apache-2.0 */
/* The one bounded way from bytes to a protobuf message, and the words for where in it something is wrong. */
#ifndef MESH_CONTROL_MESSAGE_H
#define MESH_CONTROL_MESSAGE_H

#include <protobuf-c/protobuf-c.h>

#include "base/arena.h"
#include "base/slice.h"
#include "base/why.h"

#define MESH_MESSAGE_NESTING 64 /* messages in messages; one inside an Any starts again at 0 */

/*
 * Unpacks into the arena, which bounds the memory and frees the message; nothing of `bytes` is borrowed. Before that
 * the bytes are walked once: nesting, truncation, groups, strings that are not UTF-8 or hold a NUL give
 * MESH_ERROR_INVALID with the field's path in `why`; too little memory or arena gives MESH_ERROR_NOMEM. nesting_max 0
 * means MESH_MESSAGE_NESTING.
 */
int mesh_message_unpack(const ProtobufCMessageDescriptor *type, struct mesh_slice bytes, unsigned nesting_max,
		     struct arena *arena, struct why *why, ProtobufCMessage **message);

/* A path such as "virtual_hosts[2].routes", built on the stack while descending. */
struct message_path {
	const struct message_path *parent; /* NULL at the top */
	const char *field;              /* NULL: an element, `index` */
	size_t field_len;               /* 0: field is NUL-terminated */
	size_t index;
};

#define MESH_MESSAGE_PATH_BYTES 200
/* Text of a path; a long one keeps its end. Returns `text`. */
const char *mesh_message_path_text(const struct message_path *path, char text[MESH_MESSAGE_PATH_BYTES]);

#endif
