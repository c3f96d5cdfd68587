/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides whether a connection begins with its peer's metadata, where that ends and what of it is kept. Reads protobuf by
 * itself, only as deep as what it keeps. As Envoy's filter, it takes a peer without the magic as one that has nothing to say.
 */
#include "call/stream_metadata.h"

#include <mesh/error.h>

#include "base/slice.h"

enum wire_type { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_BYTES = 2, WIRE_32 = 5 };

/* ---- the frame */

void mesh_stream_metadata_init(struct stream_metadata *metadata, struct arena *arena)
{
	memset(metadata, 0, sizeof(*metadata));
	metadata->arena = arena;
}

char *mesh_stream_metadata_room(struct stream_metadata *metadata, size_t *room)
{
	if (metadata->in_body) {
		*room = metadata->length - metadata->have;
		return metadata->body + metadata->have;
	}
	*room = sizeof(metadata->head) - metadata->have;
	return (char *)metadata->head + metadata->have;
}

static uint32_t number_at(const unsigned char *bytes)
{
	return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

static void body_done(struct stream_metadata *metadata)
{
	metadata->understood =
		mesh_stream_metadata_parse(mesh_slice_make(metadata->body, metadata->length), &metadata->workload);
	metadata->state = STREAM_METADATA_DONE;
}

static void head_done(struct stream_metadata *metadata)
{
	metadata->length = number_at(metadata->head + 4);
	metadata->in_body = true;
	metadata->have = 0;
	if (metadata->length > STREAM_METADATA_BYTES_MAX) {
		mesh_why(&metadata->why, MESH_ERROR_PROTOCOL, "the peer's metadata: %zu bytes announced: at most %d",
			 metadata->length, STREAM_METADATA_BYTES_MAX);
		metadata->state = STREAM_METADATA_BROKEN;
		return;
	}
	metadata->body = mesh_arena_alloc(metadata->arena, metadata->length + 1);
	if (!metadata->body) {
		mesh_why(&metadata->why, MESH_ERROR_NOMEM, "the peer's metadata: no memory for it");
		metadata->state = STREAM_METADATA_BROKEN;
	} else if (!metadata->length) {
		body_done(metadata);
	}
}

/* The first byte that differs tells: a peer that sends less than a header and waits must not wait for ever. */
static bool magic_so_far(const struct stream_metadata *metadata)
{
	static const unsigned char magic[4] = {0x3d, 0x23, 0x04, 0x67};

	return !memcmp(metadata->head, magic, metadata->have < sizeof(magic) ? metadata->have : sizeof(magic));
}

void mesh_stream_metadata_take(struct stream_metadata *metadata, size_t bytes)
{
	metadata->have += bytes;
	if (metadata->in_body) {
		if (metadata->have == metadata->length)
			body_done(metadata);
	} else if (!magic_so_far(metadata)) {
		metadata->state = STREAM_METADATA_ABSENT;
	} else if (metadata->have == sizeof(metadata->head)) {
		head_done(metadata);
	}
}

/* ---- protobuf */

struct field {
	uint64_t number;
	enum wire_type type;
	struct mesh_slice bytes; /* of WIRE_BYTES */
};

static bool take_varint(struct mesh_slice *rest, uint64_t *value)
{
	*value = 0;
	for (unsigned shift = 0; shift < 70 && rest->len; shift += 7) {
		unsigned char byte = (unsigned char)*rest->data;

		rest->data++;
		rest->len--;
		if (shift == 63 && byte > 1)
			return false;
		*value |= (uint64_t)(byte & 0x7f) << shift;
		if (!(byte & 0x80))
			return true;
	}
	return false;
}

static bool take_bytes(struct mesh_slice *rest, uint64_t len, struct mesh_slice *bytes)
{
	if (len > rest->len)
		return false;
	*bytes = mesh_slice_make(rest->data, (size_t)len);
	rest->data += len;
	rest->len -= (size_t)len;
	return true;
}

/* The next field of a message that has more. False: not sound. */
static bool take_field(struct mesh_slice *rest, struct field *field)
{
	uint64_t tag, number;

	memset(field, 0, sizeof(*field));
	if (!take_varint(rest, &tag) || !(tag >> 3) || tag > UINT32_MAX)
		return false;
	field->number = tag >> 3;
	field->type = (enum wire_type)(tag & 7);
	switch (field->type) {
	case WIRE_VARINT:
		return take_varint(rest, &number);
	case WIRE_64:
		return take_bytes(rest, 8, &field->bytes);
	case WIRE_BYTES:
		return take_varint(rest, &number) && take_bytes(rest, number, &field->bytes);
	case WIRE_32:
		return take_bytes(rest, 4, &field->bytes);
	}
	return false; /* groups are of another age */
}

/* The last field of that number with bytes in it, as protobuf takes them; absent when there is none. False: not sound. */
static bool find_bytes(struct mesh_slice message, unsigned number, struct mesh_slice *bytes)
{
	struct field field;

	*bytes = mesh_slice_make(NULL, 0);
	while (message.len) {
		if (!take_field(&message, &field))
			return false;
		if (field.number == number && field.type == WIRE_BYTES)
			*bytes = field.bytes;
	}
	return true;
}

/* google.protobuf.Value, as far as it matters here. */
struct value {
	struct mesh_slice text;   /* absent: no string */
	struct mesh_slice object; /* absent: no struct */
};

static bool read_value(struct mesh_slice message, struct value *value)
{
	enum { STRING_VALUE = 3, STRUCT_VALUE = 5 };
	struct field field;

	memset(value, 0, sizeof(*value));
	while (message.len) {
		if (!take_field(&message, &field))
			return false;
		if (field.number > 6)
			continue;
		memset(value, 0, sizeof(*value)); /* one of them: the last */
		if (field.number == STRING_VALUE && field.type == WIRE_BYTES)
			value->text = field.bytes;
		else if (field.number == STRUCT_VALUE && field.type == WIRE_BYTES)
			value->object = field.bytes;
	}
	return true;
}

/* Texts end up in logs and metrics: what a workload's names are made of, and no more. */
static struct mesh_slice plain(struct mesh_slice text)
{
	bool good = text.data && text.len <= STREAM_METADATA_TEXT_MAX;

	for (size_t i = 0; good && i < text.len; i++)
		good = text.data[i] >= ' ' && text.data[i] <= '~';
	return good ? text : mesh_slice_make(NULL, 0);
}

/* What to do with a member of a Struct. False: it is not sound. */
typedef bool member_fn(struct mesh_slice key, const struct value *value, struct stream_workload *workload);

static bool each_member(struct mesh_slice object, member_fn *member, struct stream_workload *workload)
{
	struct field field;

	while (object.len) {
		struct mesh_slice key, bytes;
		struct value value;

		if (!take_field(&object, &field))
			return false;
		if (field.number != 1 || field.type != WIRE_BYTES)
			continue;
		if (!find_bytes(field.bytes, 1, &key) || !find_bytes(field.bytes, 2, &bytes) || !read_value(bytes, &value) ||
		    !member(key, &value, workload))
			return false;
	}
	return true;
}

struct kept {
	struct mesh_slice key;
	size_t offset; /* in struct stream_workload */
};
#define KEPT(key, member) {{key, sizeof(key) - 1}, offsetof(struct stream_workload, member)}

static void keep(const struct kept *list, size_t count, struct mesh_slice key, const struct value *value,
		 struct stream_workload *workload)
{
	for (size_t i = 0; i < count; i++)
		if (mesh_slice_equal(list[i].key, key))
			*(struct mesh_slice *)((char *)workload + list[i].offset) = plain(value->text);
}

static bool label_member(struct mesh_slice key, const struct value *value, struct stream_workload *workload)
{
	static const struct kept labels[] = {
		KEPT("service.istio.io/canonical-name", canonical_name),
		KEPT("service.istio.io/canonical-revision", canonical_revision),
		KEPT("app", app),
		KEPT("version", version),
	};

	keep(labels, sizeof(labels) / sizeof(labels[0]), key, value, workload);
	return true;
}

static bool workload_member(struct mesh_slice key, const struct value *value, struct stream_workload *workload)
{
	static const struct kept members[] = {
		KEPT("NAME", name),   KEPT("NAMESPACE", ns),       KEPT("WORKLOAD_NAME", workload),
		KEPT("OWNER", owner), KEPT("CLUSTER_ID", cluster), KEPT("IDENTITY", identity),
	};

	keep(members, sizeof(members) / sizeof(members[0]), key, value, workload);
	if (value->object.data && mesh_slice_equal(key, MESH_SLICE("LABELS")))
		return each_member(value->object, label_member, workload);
	return true;
}

static bool top_member(struct mesh_slice key, const struct value *value, struct stream_workload *workload)
{
	if (mesh_slice_equal(key, MESH_SLICE("x-envoy-peer-metadata-id")))
		workload->id = plain(value->text);
	if (value->object.data && mesh_slice_equal(key, MESH_SLICE("x-envoy-peer-metadata")))
		return each_member(value->object, workload_member, workload);
	return true;
}

bool mesh_stream_metadata_parse(struct mesh_slice any, struct stream_workload *workload)
{
	static const struct mesh_slice type = {"/google.protobuf.Struct", 23};
	struct mesh_slice url, object;

	memset(workload, 0, sizeof(*workload));
	if (find_bytes(any, 1, &url) && find_bytes(any, 2, &object) && mesh_slice_suffix(url, type) &&
	    each_member(object, top_member, workload))
		return true;
	memset(workload, 0, sizeof(*workload));
	return false;
}
