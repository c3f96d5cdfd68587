/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides how values lie in protobuf bytes. Refuses to know descriptors of messages, and what the values mean.
 */
#include "xds/wire.h"

static size_t varint_bytes(uint64_t value, uint8_t bytes[10])
{
	size_t len = 0;

	for (; value > 0x7f; value >>= 7)
		bytes[len++] = (uint8_t)(value | 0x80);
	bytes[len++] = (uint8_t)value;
	return len;
}

int mesh_wire_varint(struct buf *out, uint64_t value)
{
	uint8_t bytes[10];

	return mesh_buf_append(out, mesh_slice_make(bytes, varint_bytes(value, bytes)));
}

int mesh_wire_fixed(struct buf *out, uint64_t value, size_t len)
{
	uint8_t bytes[8];

	for (size_t i = 0; i < len; i++)
		bytes[i] = (uint8_t)(value >> (8 * i));
	return mesh_buf_append(out, mesh_slice_make(bytes, len));
}

int mesh_wire_tag(struct buf *out, uint32_t id, unsigned wire)
{
	return mesh_wire_varint(out, (uint64_t)id << 3 | wire);
}

int mesh_wire_length(struct buf *out, size_t mark)
{
	uint8_t bytes[10];
	size_t len = mesh_buf_len(out) - mark;
	size_t extra = varint_bytes(len, bytes);
	int rc = mesh_buf_append(out, mesh_slice_make(bytes, extra));
	char *from;

	if (rc < 0)
		return rc;
	from = out->data + out->start + mark;
	memmove(from + extra, from, len);
	memcpy(from, bytes, extra);
	return 0;
}

int mesh_wire_bytes(struct buf *out, struct mesh_slice bytes)
{
	int rc = mesh_wire_varint(out, bytes.len);

	return rc < 0 ? rc : mesh_buf_append(out, bytes);
}

unsigned mesh_wire_type(ProtobufCType type)
{
	switch (type) {
	case PROTOBUF_C_TYPE_FIXED32:
	case PROTOBUF_C_TYPE_SFIXED32:
	case PROTOBUF_C_TYPE_FLOAT:
		return PROTOBUF_C_WIRE_TYPE_32BIT;
	case PROTOBUF_C_TYPE_FIXED64:
	case PROTOBUF_C_TYPE_SFIXED64:
	case PROTOBUF_C_TYPE_DOUBLE:
		return PROTOBUF_C_WIRE_TYPE_64BIT;
	case PROTOBUF_C_TYPE_STRING:
	case PROTOBUF_C_TYPE_BYTES:
	case PROTOBUF_C_TYPE_MESSAGE:
		return PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED;
	default:
		return PROTOBUF_C_WIRE_TYPE_VARINT;
	}
}
