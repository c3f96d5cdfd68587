/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides whether bytes are fit to be unpacked as a message: protobuf-c itself recurses as deep as its input and takes
 * any string. Refuses to know which messages there are and what a field means.
 */
#include "control/message.h"

#include <stdio.h>

#include <mesh/error.h>

const char *mesh_message_path_text(const struct message_path *path, char text[MESH_MESSAGE_PATH_BYTES])
{
	size_t at = MESH_MESSAGE_PATH_BYTES - 1;

	text[at] = '\0';
	for (; path; path = path->parent) {
		char piece[MESH_MESSAGE_PATH_BYTES];
		int len;

		if (path->field)
			len = snprintf(piece, sizeof(piece), "%s%.*s", path->parent ? "." : "",
				       path->field_len ? (int)path->field_len : (int)strlen(path->field), path->field);
		else
			len = snprintf(piece, sizeof(piece), "[%zu]", path->index);
		if (len < 0 || (size_t)len >= sizeof(piece) || (size_t)len + 3 > at) {
			at -= 3;
			memcpy(text + at, "...", 3);
			break;
		}
		at -= (size_t)len;
		memcpy(text + at, piece, (size_t)len);
	}
	memmove(text, text + at, MESH_MESSAGE_PATH_BYTES - at);
	return text;
}

/* ---- the walk before unpacking ---- */

struct walk {
	unsigned nesting_max;
	struct why *why;
};

static int refuse(const struct walk *walk, const struct message_path *path, const char *what)
{
	char text[MESH_MESSAGE_PATH_BYTES];

	return mesh_why(walk->why, MESH_ERROR_INVALID, "%s: %s", mesh_message_path_text(path, text), what);
}

static bool read_varint(struct mesh_slice *in, uint64_t *value)
{
	uint64_t v = 0;

	for (unsigned i = 0; i < 10 && i < in->len; i++) {
		uint8_t byte = (uint8_t)in->data[i];

		if (i == 9 && byte > 1)
			return false;
		v |= (uint64_t)(byte & 0x7f) << (7 * i);
		if (byte & 0x80)
			continue;
		*in = mesh_slice_make(in->data + i + 1, in->len - i - 1);
		*value = v;
		return true;
	}
	return false;
}

/* Takes the payload of one field off the front of *in. */
static bool read_payload(struct mesh_slice *in, unsigned wire, struct mesh_slice *payload)
{
	uint64_t len = 0;

	switch (wire) {
	case PROTOBUF_C_WIRE_TYPE_VARINT:
		return read_varint(in, &len);
	case PROTOBUF_C_WIRE_TYPE_64BIT:
		len = 8;
		break;
	case PROTOBUF_C_WIRE_TYPE_32BIT:
		len = 4;
		break;
	case PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED:
		if (!read_varint(in, &len))
			return false;
		break;
	default: /* groups are not proto3 */
		return false;
	}
	if (len > in->len)
		return false;
	*payload = mesh_slice_make(in->data, (size_t)len);
	*in = mesh_slice_make(in->data + len, in->len - (size_t)len);
	return true;
}

/* Length of the UTF-8 sequence at the front (shortest forms, no surrogates, no NUL), 0 when there is none. */
static size_t utf8_step(const uint8_t *s, size_t len)
{
	size_t need = s[0] < 0x80 ? 1 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;

	if (s[0] == 0 || (s[0] >= 0x80 && s[0] < 0xc2) || s[0] > 0xf4 || need > len)
		return 0;
	for (size_t i = 1; i < need; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	}
	if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) || (s[0] == 0xf0 && s[1] < 0x90) ||
	    (s[0] == 0xf4 && s[1] > 0x8f))
		return 0;
	return need;
}

static bool is_text(struct mesh_slice s)
{
	for (size_t i = 0; i < s.len;) {
		size_t step = utf8_step((const uint8_t *)s.data + i, s.len - i);

		if (step == 0)
			return false;
		i += step;
	}
	return true;
}

static int walk_message(const struct walk *walk, const ProtobufCMessageDescriptor *type, struct mesh_slice in,
			const struct message_path *path, unsigned nesting);

static int walk_field(const struct walk *walk, const ProtobufCFieldDescriptor *field, unsigned wire,
		      struct mesh_slice payload, const struct message_path *path, unsigned nesting)
{
	struct message_path here = {path, field->name, 0, 0};

	if (wire != PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED)
		return 0;
	if (field->type == PROTOBUF_C_TYPE_STRING && !is_text(payload))
		return refuse(walk, &here, "not UTF-8 text, or with a NUL inside");
	if (field->type == PROTOBUF_C_TYPE_MESSAGE)
		return walk_message(walk, field->descriptor, payload, &here, nesting + 1);
	return 0;
}

static int walk_message(const struct walk *walk, const ProtobufCMessageDescriptor *type, struct mesh_slice in,
			const struct message_path *path, unsigned nesting)
{
	if (nesting > walk->nesting_max)
		return refuse(walk, path, "nested too deep");
	while (in.len > 0) {
		const ProtobufCFieldDescriptor *field;
		struct mesh_slice payload = {NULL, 0};
		uint64_t tag;
		int rc;

		if (!read_varint(&in, &tag) || tag > UINT32_MAX || tag >> 3 == 0)
			return refuse(walk, path, "malformed protobuf: bad field tag");
		field = protobuf_c_message_descriptor_get_field(type, (unsigned)(tag >> 3));
		if (!read_payload(&in, tag & 7, &payload))
			return refuse(walk, path, "malformed protobuf: truncated or of a wrong wire type");
		rc = field ? walk_field(walk, field, tag & 7, payload, path, nesting) : 0;
		if (rc < 0)
			return rc;
	}
	return 0;
}

/* ---- unpacking ---- */

struct source {
	struct arena *arena;
	bool failed;
};

static void *source_take(void *user, size_t size)
{
	struct source *source = user;
	void *memory = mesh_arena_alloc(source->arena, size);

	if (!memory)
		source->failed = true;
	return memory;
}

static void source_keep(void *user, void *pointer)
{
	(void)user;
	(void)pointer;
}

int mesh_message_unpack(const ProtobufCMessageDescriptor *type, struct mesh_slice bytes, unsigned nesting_max,
		     struct arena *arena, struct why *why, ProtobufCMessage **message)
{
	struct source source = {arena, false};
	ProtobufCAllocator allocator = {source_take, source_keep, &source};
	struct walk walk = {nesting_max ? nesting_max : MESH_MESSAGE_NESTING, why};
	struct message_path top = {NULL, type->short_name, 0, 0};
	int rc = walk_message(&walk, type, bytes, &top, 0);

	*message = NULL;
	if (rc < 0)
		return rc;
	*message = protobuf_c_message_unpack(type, &allocator, bytes.len, (const uint8_t *)bytes.data);
	if (*message)
		return 0;
	if (source.failed)
		return mesh_why(why, MESH_ERROR_NOMEM, "%s: no memory to unpack it", type->short_name);
	return mesh_why(why, MESH_ERROR_INVALID, "%s: malformed protobuf", type->short_name);
}
