/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides which JSON values are numbers of a protobuf type: 64-bit ones are text, whole ones may be written 1.0.
 * Refuses to know where the number goes.
 */
#include "xds/json_number.h"

#include <math.h>

#include <jansson.h>

#define EXACT_MAX 9007199254740992.0 /* 2^53: whole numbers up to here are exact in a double */

static struct mesh_slice text_of(const json_t *json)
{
	return mesh_slice_make(json_string_value(json), json_string_length(json));
}

bool mesh_json_integer_parse(struct mesh_slice text, struct json_integer *integer)
{
	integer->negative = text.len > 0 && text.data[0] == '-';
	if (integer->negative)
		text = mesh_slice_make(text.data + 1, text.len - 1);
	return mesh_slice_to_u64(text, &integer->magnitude);
}

bool mesh_json_integer_of(const json_t *json, struct json_integer *integer)
{
	json_int_t value;

	if (json_is_string(json))
		return mesh_json_integer_parse(text_of(json), integer);
	if (json_is_real(json)) {
		double real = json_real_value(json);

		if (!(fabs(real) <= EXACT_MAX) || real != (double)(json_int_t)real)
			return false;
		value = (json_int_t)real;
	} else if (json_is_integer(json)) {
		value = json_integer_value(json);
	} else {
		return false;
	}
	integer->negative = value < 0;
	integer->magnitude = value < 0 ? -(uint64_t)value : (uint64_t)value;
	return true;
}

bool mesh_json_integer_fits(ProtobufCType type, struct json_integer integer, uint64_t *value)
{
	bool is_signed = type == PROTOBUF_C_TYPE_INT32 || type == PROTOBUF_C_TYPE_SINT32 ||
			 type == PROTOBUF_C_TYPE_SFIXED32 || type == PROTOBUF_C_TYPE_INT64 ||
			 type == PROTOBUF_C_TYPE_SINT64 || type == PROTOBUF_C_TYPE_SFIXED64 ||
			 type == PROTOBUF_C_TYPE_ENUM;
	bool is_wide = type == PROTOBUF_C_TYPE_INT64 || type == PROTOBUF_C_TYPE_SINT64 ||
		       type == PROTOBUF_C_TYPE_SFIXED64 || type == PROTOBUF_C_TYPE_UINT64 ||
		       type == PROTOBUF_C_TYPE_FIXED64;
	uint64_t max = is_wide ? UINT64_MAX : UINT32_MAX;

	if (is_signed)
		max = max / 2 + (integer.negative ? 1 : 0);
	else if (integer.negative)
		max = 0;
	if (integer.magnitude > max)
		return false;
	*value = integer.negative ? -integer.magnitude : integer.magnitude;
	if (type == PROTOBUF_C_TYPE_SINT32 || type == PROTOBUF_C_TYPE_SINT64)
		*value = *value << 1 ^ (integer.negative && integer.magnitude ? UINT64_MAX : 0);
	return true;
}

bool mesh_json_real_of(const json_t *json, double *real)
{
	struct mesh_slice text;
	json_t *parsed;
	bool number;

	*real = json_number_value(json);
	if (!json_is_string(json))
		return json_is_number(json);
	text = text_of(json);
	if (mesh_slice_equal(text, MESH_SLICE("NaN")))
		*real = NAN;
	else if (mesh_slice_equal(text, MESH_SLICE("Infinity")) || mesh_slice_equal(text, MESH_SLICE("-Infinity")))
		*real = text.data[0] == '-' ? -INFINITY : INFINITY;
	else {
		parsed = json_loadb(text.data, text.len, JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL, NULL);
		number = json_is_real(parsed);
		*real = json_number_value(parsed);
		json_decref(parsed);
		return number;
	}
	return true;
}
