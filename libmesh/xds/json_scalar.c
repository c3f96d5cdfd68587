/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides whether a JSON value fits a field that is not a message, and writes its bytes. Refuses to know what any field
 * is for; what does not fit is an error with its path, never a guess.
 */
#include "xds/json_scalar.h"

#include <float.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>

#include <jansson.h>
#include <mesh/error.h>

#include "base/text.h"
#include "xds/json_form.h"
#include "xds/json_number.h"
#include "xds/wire.h"

int mesh_json_refuse(struct json_decoder *d, const struct message_path *path, const char *format, ...)
{
	char text[MESH_MESSAGE_PATH_BYTES];
	char what[160];
	va_list args;

	va_start(args, format);
	vsnprintf(what, sizeof(what), format, args);
	va_end(args);
	return mesh_why(d->why, MESH_ERROR_INVALID, "%s: %s", mesh_message_path_text(path, text), what);
}

static struct mesh_slice text_of(const json_t *json)
{
	return mesh_slice_make(json_string_value(json), json_string_length(json));
}

static int put_integer(struct json_decoder *d, ProtobufCType type, struct json_integer integer,
		       const struct message_path *path)
{
	uint64_t value;

	if (!mesh_json_integer_fits(type, integer, &value))
		return mesh_json_refuse(d, path, "number out of range");
	switch (mesh_wire_type(type)) {
	case PROTOBUF_C_WIRE_TYPE_32BIT:
		return mesh_wire_fixed(d->out, value, 4);
	case PROTOBUF_C_WIRE_TYPE_64BIT:
		return mesh_wire_fixed(d->out, value, 8);
	default:
		return mesh_wire_varint(d->out, value);
	}
}

static int put_real(struct json_decoder *d, ProtobufCType type, const json_t *json, const struct message_path *path)
{
	uint64_t bits;
	uint32_t word;
	double real;
	float single;

	if (!mesh_json_real_of(json, &real))
		return mesh_json_refuse(d, path, "expected a number");
	if (type == PROTOBUF_C_TYPE_DOUBLE) {
		memcpy(&bits, &real, 8);
		return mesh_wire_fixed(d->out, bits, 8);
	}
	if (isfinite(real) && fabs(real) > FLT_MAX)
		return mesh_json_refuse(d, path, "number out of range");
	single = (float)real;
	memcpy(&word, &single, 4);
	return mesh_wire_fixed(d->out, word, 4);
}

static int put_enum(struct json_decoder *d, const ProtobufCFieldDescriptor *field, const json_t *json,
		    const struct message_path *path)
{
	const ProtobufCEnumDescriptor *type = field->descriptor;
	const ProtobufCEnumValue *known;
	struct json_integer integer;

	if (json_is_null(json) && mesh_json_is_null_value(field))
		return mesh_wire_varint(d->out, 0);
	if (json_is_string(json)) {
		known = protobuf_c_enum_descriptor_get_value_by_name(type, json_string_value(json));
		if (!known)
			return mesh_json_refuse(d, path, "\"%.60s\" is not a value of %s", json_string_value(json),
						type->name);
		return mesh_wire_varint(d->out, (uint64_t)(int64_t)known->value);
	}
	if (!mesh_json_integer_of(json, &integer))
		return mesh_json_refuse(d, path, "expected a name or number of %s", type->name);
	return put_integer(d, PROTOBUF_C_TYPE_ENUM, integer, path);
}

static int put_string(struct json_decoder *d, const json_t *json, const struct message_path *path)
{
	struct mesh_slice text = text_of(json);

	if (!json_is_string(json))
		return mesh_json_refuse(d, path, "expected a string");
	if (memchr(text.data, '\0', text.len))
		return mesh_json_refuse(d, path, "NUL inside a string");
	return mesh_wire_bytes(d->out, text);
}

static int put_base64(struct json_decoder *d, const json_t *json, const struct message_path *path)
{
	size_t mark = mesh_buf_len(d->out);
	int rc = json_is_string(json) ? mesh_text_base64_decode(d->out, text_of(json)) : MESH_ERROR_INVALID;

	if (rc == MESH_ERROR_INVALID)
		return mesh_json_refuse(d, path, "expected base64 text");
	return rc < 0 ? rc : mesh_wire_length(d->out, mark);
}

int mesh_json_put_scalar(struct json_decoder *d, const ProtobufCFieldDescriptor *field, const json_t *json,
			 const struct message_path *path)
{
	struct json_integer integer;

	switch (field->type) {
	case PROTOBUF_C_TYPE_BOOL:
		if (!json_is_boolean(json))
			return mesh_json_refuse(d, path, "expected true or false");
		return mesh_wire_varint(d->out, json_is_true(json));
	case PROTOBUF_C_TYPE_FLOAT:
	case PROTOBUF_C_TYPE_DOUBLE:
		return put_real(d, field->type, json, path);
	case PROTOBUF_C_TYPE_ENUM:
		return put_enum(d, field, json, path);
	case PROTOBUF_C_TYPE_STRING:
		return put_string(d, json, path);
	case PROTOBUF_C_TYPE_BYTES:
		return put_base64(d, json, path);
	default:
		if (!mesh_json_integer_of(json, &integer))
			return mesh_json_refuse(d, path, "expected a whole number");
		return put_integer(d, field->type, integer, path);
	}
}

int mesh_json_put_key(struct json_decoder *d, const ProtobufCFieldDescriptor *field, struct mesh_slice key,
		      const struct message_path *path)
{
	struct json_integer integer;
	int rc = mesh_wire_tag(d->out, field->id, mesh_wire_type(field->type));

	if (rc < 0)
		return rc;
	if (field->type == PROTOBUF_C_TYPE_STRING)
		return mesh_wire_bytes(d->out, key);
	if (field->type == PROTOBUF_C_TYPE_BOOL) {
		if (!mesh_slice_equal(key, MESH_SLICE("true")) && !mesh_slice_equal(key, MESH_SLICE("false")))
			return mesh_json_refuse(d, path, "expected true or false as the key");
		return mesh_wire_varint(d->out, key.data[0] == 't');
	}
	if (!mesh_json_integer_parse(key, &integer))
		return mesh_json_refuse(d, path, "expected a whole number as the key");
	return put_integer(d, field->type, integer, path);
}
