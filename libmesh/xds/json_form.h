/* SPDX-License-Identifier: Apache-2.0 */
/* What the two directions of proto-JSON share: which messages have a form of their own, names, and texts of times. */
#ifndef MESH_XDS_JSON_FORM_H
#define MESH_XDS_JSON_FORM_H

#include <protobuf-c/protobuf-c.h>

#include "base/slice.h"

enum json_form {
	JSON_FORM_OBJECT, /* an ordinary message */
	JSON_FORM_ANY,
	JSON_FORM_DURATION,
	JSON_FORM_TIMESTAMP,
	JSON_FORM_WRAPPER, /* one field, `value` */
	JSON_FORM_STRUCT,
	JSON_FORM_VALUE,
	JSON_FORM_LIST,
};

enum json_form mesh_json_form(const ProtobufCMessageDescriptor *type);
bool mesh_json_is_null_value(const ProtobufCFieldDescriptor *field); /* of the enum google.protobuf.NullValue */
bool mesh_json_is_map(const ProtobufCMessageDescriptor *type, const ProtobufCFieldDescriptor *field);
bool mesh_json_is_secret(const ProtobufCMessageDescriptor *type, const ProtobufCFieldDescriptor *field);

#define MESH_JSON_NAME_BYTES 128
/* lowerCamelCase of a field's name; its length. */
size_t mesh_json_name(const ProtobufCFieldDescriptor *field, char name[MESH_JSON_NAME_BYTES]);
/* The field called `name` in lowerCamelCase or as in the .proto; NULL when there is none. */
const ProtobufCFieldDescriptor *mesh_json_field(const ProtobufCMessageDescriptor *type, struct mesh_slice name);

#define MESH_JSON_TIME_BYTES 48
/* "1.500s", "2026-11-24T15:00:00.250Z"; 0 when out of the range that JSON allows. NUL-terminated. */
size_t mesh_json_duration_text(int64_t seconds, int32_t nanos, char text[MESH_JSON_TIME_BYTES]);
size_t mesh_json_timestamp_text(int64_t seconds, int32_t nanos, char text[MESH_JSON_TIME_BYTES]);
bool mesh_json_duration_parse(struct mesh_slice text, int64_t *seconds, int32_t *nanos);
bool mesh_json_timestamp_parse(struct mesh_slice text, int64_t *seconds, int32_t *nanos);

#endif
