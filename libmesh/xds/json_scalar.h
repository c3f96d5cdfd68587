/* SPDX-License-Identifier: Apache-2.0 */
/* Values that are not messages, from JSON to bytes. */
#ifndef MESH_XDS_JSON_SCALAR_H
#define MESH_XDS_JSON_SCALAR_H

#include "base/buf.h"
#include "control/message.h"

struct json_t;

struct json_decoder {
	struct buf *out;
	struct why *why;
	unsigned flags;   /* enum mesh_json_flag */
	unsigned nesting; /* messages open */
};

/* Says "path: words" and returns MESH_ERROR_INVALID. */
int mesh_json_refuse(struct json_decoder *d, const struct message_path *path, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* One value with its length where it needs one, but without a tag. */
int mesh_json_put_scalar(struct json_decoder *d, const ProtobufCFieldDescriptor *field, const struct json_t *json,
			 const struct message_path *path);
/* The key of a map's entry, with its tag. */
int mesh_json_put_key(struct json_decoder *d, const ProtobufCFieldDescriptor *field, struct mesh_slice key,
		      const struct message_path *path);

#endif
