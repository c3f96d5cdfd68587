/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers as proto-JSON writes them. */
#ifndef MESH_XDS_JSON_NUMBER_H
#define MESH_XDS_JSON_NUMBER_H

#include <protobuf-c/protobuf-c.h>

#include "base/slice.h"

struct json_t;

struct json_integer {
	bool negative;
	uint64_t magnitude;
};

bool mesh_json_integer_parse(struct mesh_slice text, struct json_integer *integer);
bool mesh_json_integer_of(const struct json_t *json, struct json_integer *integer); /* a number or its text */
/* The 64 bits that go on the wire (zigzag done); false when the type cannot hold it. */
bool mesh_json_integer_fits(ProtobufCType type, struct json_integer integer, uint64_t *value);
/* A number, its text, "NaN", "Infinity" or "-Infinity". */
bool mesh_json_real_of(const struct json_t *json, double *real);

#endif
