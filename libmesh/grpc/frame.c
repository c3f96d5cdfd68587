/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides where a message begins and ends, and that none is longer than allowed: a length alone reserves no memory.
 * Refuses to know what is in it, and how it is compressed.
 */
#include "grpc/frame.h"

#include <mesh/error.h>

void mesh_grpc_prefix(char prefix[MESH_GRPC_PREFIX_BYTES], bool compressed, uint32_t len)
{
	prefix[0] = compressed;
	prefix[1] = (char)(len >> 24);
	prefix[2] = (char)(len >> 16);
	prefix[3] = (char)(len >> 8);
	prefix[4] = (char)len;
}

void mesh_grpc_reader_init(struct grpc_reader *reader, const struct mesh_mem *mem, size_t max)
{
	reader->have = 0;
	reader->max = max;
	mesh_buf_init(&reader->body, mem, 0);
}

void mesh_grpc_reader_free(struct grpc_reader *reader)
{
	mesh_buf_free(&reader->body);
}

static struct mesh_slice take(struct mesh_slice *in, size_t bytes)
{
	struct mesh_slice taken = {in->data, bytes < in->len ? bytes : in->len};

	in->data += taken.len;
	in->len -= taken.len;
	return taken;
}

static bool take_prefix(struct grpc_reader *reader, struct mesh_slice *in)
{
	struct mesh_slice piece = take(in, MESH_GRPC_PREFIX_BYTES - reader->have);

	if (piece.len)
		memcpy(reader->prefix + reader->have, piece.data, piece.len);
	reader->have += (uint8_t)piece.len;
	return reader->have == MESH_GRPC_PREFIX_BYTES;
}

static const size_t kept_bytes = 64 * 1024; /* of a buffer, for the next message */

static void forget_body(struct grpc_reader *reader)
{
	mesh_buf_clear(&reader->body);
	if (reader->body.room > kept_bytes)
		mesh_buf_free(&reader->body);
}

static size_t message_len(const uint8_t prefix[MESH_GRPC_PREFIX_BYTES])
{
	return (size_t)prefix[1] << 24 | (size_t)prefix[2] << 16 | (size_t)prefix[3] << 8 | prefix[4];
}

bool mesh_grpc_reader_due(const struct grpc_reader *reader, struct mesh_slice in)
{
	uint8_t prefix[MESH_GRPC_PREFIX_BYTES];
	size_t missing = MESH_GRPC_PREFIX_BYTES - reader->have, begun = missing ? 0 : mesh_buf_len(&reader->body);

	if (in.len < missing)
		return false;
	memcpy(prefix, reader->prefix, reader->have);
	if (missing)
		memcpy(prefix + reader->have, in.data, missing);
	return prefix[0] > 1 || message_len(prefix) > reader->max || in.len - missing >= message_len(prefix) - begun;
}

bool mesh_grpc_reader_inside(const struct grpc_reader *reader, struct mesh_slice in)
{
	uint8_t prefix[MESH_GRPC_PREFIX_BYTES];
	size_t have = reader->have, begun = have ? mesh_buf_len(&reader->body) : 0;

	memcpy(prefix, reader->prefix, have);
	while (have || in.len) {
		struct mesh_slice piece = take(&in, sizeof(prefix) - have);
		size_t missing;

		if (piece.len)
			memcpy(prefix + have, piece.data, piece.len);
		if (have + piece.len < sizeof(prefix))
			return true;
		missing = message_len(prefix) - begun;
		if (take(&in, missing).len < missing)
			return true;
		have = begun = 0;
	}
	return false;
}

int mesh_grpc_reader_next(struct grpc_reader *reader, struct mesh_slice *in, struct grpc_frame *frame)
{
	const uint8_t *prefix = reader->prefix;
	size_t len, missing;
	int rc;

	if (!reader->have && mesh_buf_len(&reader->body)) /* of the message given out before */
		forget_body(reader);
	if (reader->have < MESH_GRPC_PREFIX_BYTES && !take_prefix(reader, in))
		return 0;
	if (prefix[0] > 1)
		return MESH_ERROR_PROTOCOL;
	len = message_len(prefix);
	if (len > reader->max)
		return MESH_ERROR_TOO_LARGE;
	missing = len - mesh_buf_len(&reader->body);
	if (missing == len && in->len >= len) {
		frame->bytes = len ? take(in, len) : MESH_SLICE("");
	} else {
		rc = mesh_buf_append(&reader->body, take(in, missing));
		if (rc || mesh_buf_len(&reader->body) < len)
			return rc;
		frame->bytes = mesh_buf_slice(&reader->body);
	}
	frame->compressed = prefix[0];
	reader->have = 0;
	return 1;
}
