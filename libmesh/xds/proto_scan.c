/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Walks the top level of a packed message. Tells what a resource is called even when the rest of it cannot be decoded.
 * Refuses to look into nested messages.
 */
#include "xds/proto_scan.h"

enum { VARINT = 0, BITS_64 = 1, DELIMITED = 2, BITS_32 = 5 };

static bool take_varint(struct mesh_slice *in, uint64_t *value)
{
	*value = 0;
	for (unsigned i = 0; i < 10 && i < in->len; i++) {
		uint8_t byte = (uint8_t)in->data[i];

		*value |= (uint64_t)(byte & 0x7f) << (7 * i);
		if (byte & 0x80)
			continue;
		*in = mesh_slice_make(in->data + i + 1, in->len - i - 1);
		return true;
	}
	return false;
}

/* Takes one field off the front; *value is absent unless it is length-delimited. */
static bool take_field(struct mesh_slice *in, uint64_t *id, struct mesh_slice *value)
{
	uint64_t tag, bytes = 0;
	bool good = take_varint(in, &tag);

	*value = mesh_slice_make(NULL, 0);
	switch (good ? tag & 7 : DELIMITED) {
	case VARINT:
		good = take_varint(in, &bytes);
		bytes = 0;
		break;
	case BITS_64:
		bytes = 8;
		break;
	case BITS_32:
		bytes = 4;
		break;
	case DELIMITED:
		good = good && take_varint(in, &bytes);
		break;
	default:
		good = false;
	}
	if (!good || bytes > in->len)
		return false;
	*id = tag >> 3;
	if ((tag & 7) == DELIMITED)
		*value = mesh_slice_make(in->data, (size_t)bytes);
	*in = mesh_slice_make(in->data + bytes, in->len - (size_t)bytes);
	return true;
}

bool mesh_proto_text(struct mesh_slice in, uint32_t id, struct mesh_slice *text)
{
	*text = mesh_slice_make(NULL, 0);
	while (in.len > 0) {
		struct mesh_slice value;
		uint64_t found;

		if (!take_field(&in, &found, &value))
			return false;
		if (found == id && value.data)
			*text = value;
	}
	return true;
}

bool mesh_proto_next(struct mesh_slice *rest, uint32_t id, struct mesh_slice *value)
{
	uint64_t found;

	while (rest->len > 0 && take_field(rest, &found, value)) {
		if (found == id && value->data)
			return true;
	}
	return false;
}
