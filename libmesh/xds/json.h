/* SPDX-License-Identifier: Apache-2.0 */
/* The JSON form of protobuf (proto-JSON), both ways, by descriptor: for config dumps and the embedded control plane. */
#ifndef MESH_XDS_JSON_H
#define MESH_XDS_JSON_H

#include <protobuf-c/protobuf-c.h>

#include "base/buf.h"
#include "base/why.h"

struct json_t; /* jansson's */

#define MESH_JSON_NESTING 100 /* objects and arrays, the inside of an Any included */

enum mesh_json_flag {
	MESH_JSON_INDENT = 1,         /* encode: one member a line, two spaces a level */
	MESH_JSON_SECRETS = 2,        /* encode: show private keys and passwords, not "[redacted]" */
	MESH_JSON_IGNORE_UNKNOWN = 4, /* decode: pass over members that the message has no field for */
	MESH_JSON_PROTO_NAMES = 8,    /* encode: fields as they are called in the .proto, not in lowerCamelCase */
};

/*
 * Appends a message as JSON. An Any of a known type is expanded with "@type"; one of an unknown type becomes
 * {"@type": .., "value": base64}; so do unreadable bytes of a known one, with MESH_JSON_SECRETS only. MESH_ERROR_NOMEM,
 * MESH_ERROR_TOO_LARGE (the limit of `out`, nesting, or what is in the Anys takes more than 256 MiB unpacked); what was
 * appended by then is taken back.
 */
int mesh_json_encode(struct buf *out, const ProtobufCMessage *message, unsigned flags, struct why *why);
/* The same for the two fields of an Any. `depth` indents as if inside that many levels. */
int mesh_json_encode_any(struct buf *out, struct mesh_slice type_url, struct mesh_slice value, unsigned flags,
			 unsigned depth, struct why *why);

/*
 * Appends the packed form of `json` as a message of `type`. MESH_ERROR_INVALID with the path of the member at fault in
 * `why`; MESH_ERROR_NOMEM; MESH_ERROR_TOO_LARGE (the limit of `out`). What was appended by then is taken back.
 */
int mesh_json_decode(struct buf *out, const ProtobufCMessageDescriptor *type, const struct json_t *json, unsigned flags,
		     struct why *why);
/* The same for an object with "@type": `out` gets the value of the Any, *type_url borrows from `json`. */
int mesh_json_decode_any(struct buf *out, const struct json_t *json, unsigned flags, const char **type_url,
			 struct why *why);

#endif
