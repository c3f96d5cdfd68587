/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The first two bytes choose a type; the third whether the rest is JSON of it (bit 0 clear) or packed. What can be
 * told as JSON is JSON, and what was read from JSON reads the same when it is told and read again.
 */
#include <jansson.h>

#include "control/message.h"
#include "fuzz/decoder.h"
#include "xds/json.h"
#include "xds/type_registry.h"

enum { OUT_LIMIT = 16 << 20 };

static bool tell(const ProtobufCMessageDescriptor *type, struct mesh_slice packed, struct buf *text, unsigned flags)
{
	ProtobufCMessage *message = NULL;
	struct why why = {""};
	struct arena arena;
	int rc;

	mesh_arena_init(&arena, &mesh_mem_default, 0);
	rc = mesh_message_unpack(type, packed, 0, &arena, &why, &message);
	promise(rc == 0 || (rc == MESH_ERROR_INVALID && why.text[0]));
	if (rc == 0) {
		rc = mesh_json_encode(text, message, flags, &why);
		promise(rc == 0 || (rc == MESH_ERROR_TOO_LARGE && mesh_buf_len(text) == 0));
	}
	mesh_arena_free(&arena);
	return rc == 0;
}

static bool read_back(const ProtobufCMessageDescriptor *type, struct mesh_slice text, unsigned flags,
		      struct buf *packed)
{
	json_t *json = json_loadb(text.data, text.len, JSON_ALLOW_NUL | JSON_DECODE_ANY, NULL);
	struct why why = {""};
	int rc;

	if (!json)
		return false;
	rc = mesh_json_decode(packed, type, json, flags, &why);
	promise(rc == 0 || ((rc == MESH_ERROR_INVALID || rc == MESH_ERROR_TOO_LARGE) && why.text[0]));
	promise(rc == 0 || mesh_buf_len(packed) == 0);
	json_decref(json);
	return rc == 0;
}

static void from_text(const ProtobufCMessageDescriptor *type, struct mesh_slice input, unsigned flags)
{
	struct buf packed, text, again, last;

	mesh_buf_init(&packed, &mesh_mem_default, OUT_LIMIT);
	mesh_buf_init(&text, &mesh_mem_default, OUT_LIMIT);
	mesh_buf_init(&again, &mesh_mem_default, OUT_LIMIT);
	mesh_buf_init(&last, &mesh_mem_default, OUT_LIMIT);
	if (read_back(type, input, flags & MESH_JSON_IGNORE_UNKNOWN, &packed) &&
	    tell(type, mesh_buf_slice(&packed), &text, flags | MESH_JSON_SECRETS)) {
		promise(read_back(type, mesh_buf_slice(&text), 0, &again));
		promise(tell(type, mesh_buf_slice(&again), &last, flags | MESH_JSON_SECRETS));
		promise(mesh_slice_equal(mesh_buf_slice(&text), mesh_buf_slice(&last)));
	}
	mesh_buf_free(&last);
	mesh_buf_free(&again);
	mesh_buf_free(&text);
	mesh_buf_free(&packed);
}

static void from_packed(const ProtobufCMessageDescriptor *type, struct mesh_slice input, unsigned flags)
{
	struct buf text;
	json_t *json;

	mesh_buf_init(&text, &mesh_mem_default, OUT_LIMIT);
	if (tell(type, input, &text, flags)) {
		json = json_loadb(mesh_buf_slice(&text).data, mesh_buf_len(&text), JSON_ALLOW_NUL | JSON_DECODE_ANY,
				  NULL);
		promise(json);
		json_decref(json);
	}
	mesh_buf_free(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const ProtobufCMessageDescriptor *type;
	struct mesh_slice rest;
	unsigned flags;

	if (size < 3 || size > SIZE_LIMIT)
		return 0;
	type = mesh_type_at(((size_t)data[0] << 8 | data[1]) % mesh_type_count());
	flags = data[2] >> 1 &
		(MESH_JSON_INDENT | MESH_JSON_SECRETS | MESH_JSON_IGNORE_UNKNOWN | MESH_JSON_PROTO_NAMES);
	rest = mesh_slice_make(data + 3, size - 3);
	if (data[2] & 1)
		from_packed(type, rest, flags);
	else
		from_text(type, rest, flags);
	return 0;
}
