/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Walks the top level of a packed message once. Tells what a resource is called even when the rest of it cannot be
 * decoded. Refuses to look into nested messages.
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

bool mesh_proto_text(struct mesh_slice in, uint32_t id, struct mesh_slice *text)
{
	*text = mesh_slice_make(NULL, 0);
	while (in.len > 0) {
		uint64_t tag, bytes;
		bool good = take_varint(&in, &tag);

		switch (tag & 7) {
		case VARINT:
			good = good && take_varint(&in, &bytes);
			bytes = 0;
			break;
		case BITS_64:
			bytes = 8;
			break;
		case BITS_32:
			bytes = 4;
			break;
		case DELIMITED:
			good = good && take_varint(&in, &bytes);
			break;
		default:
			good = false;
		}
		if (!good || bytes > in.len)
			return false;
		if ((tag & 7) == DELIMITED && tag >> 3 == id)
			*text = mesh_slice_make(in.data, (size_t)bytes);
		in = mesh_slice_make(in.data + bytes, in.len - (size_t)bytes);
	}
	return true;
}
