/* SPDX-License-Identifier: Apache-2.0 */
/* Frames byte by byte. Nothing here checks that what is said makes sense; only memory and patience can run out. */
#include "support/h2_frames.h"

#include <stdlib.h>
#include <string.h>

static void put_head(struct buf *out, uint32_t claimed, unsigned type, unsigned flags, uint32_t stream)
{
	const uint8_t head[9] = {
		(uint8_t)(claimed >> 16), (uint8_t)(claimed >> 8), (uint8_t)claimed,        (uint8_t)type,
		(uint8_t)flags,           (uint8_t)(stream >> 24), (uint8_t)(stream >> 16), (uint8_t)(stream >> 8),
		(uint8_t)stream};

	h2_bytes(out, head, sizeof(head));
}

void h2_bytes(struct buf *out, const void *bytes, size_t len)
{
	if (len && mesh_buf_append(out, mesh_slice_make(bytes, len)))
		abort();
}

static void put_u32(struct buf *out, uint32_t value)
{
	const uint8_t bytes[4] = {(uint8_t)(value >> 24), (uint8_t)(value >> 16), (uint8_t)(value >> 8),
				  (uint8_t)value};

	h2_bytes(out, bytes, sizeof(bytes));
}

void h2_frame_claiming(struct buf *out, uint32_t claimed, unsigned type, unsigned flags, uint32_t stream,
		       const void *payload, size_t len)
{
	put_head(out, claimed, type, flags, stream);
	h2_bytes(out, payload, len);
}

void h2_frame(struct buf *out, unsigned type, unsigned flags, uint32_t stream, const void *payload, size_t len)
{
	h2_frame_claiming(out, (uint32_t)len, type, flags, stream, payload, len);
}

void h2_preface(struct buf *out)
{
	h2_bytes(out, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 24);
	h2_frame(out, H2_SETTINGS, 0, 0, NULL, 0);
}

void h2_settings_ack(struct buf *out)
{
	h2_frame(out, H2_SETTINGS, H2_ACK, 0, NULL, 0);
}

void h2_integer(struct buf *block, unsigned first, unsigned bits, uint64_t value)
{
	uint64_t most = (1u << bits) - 1;
	uint8_t byte = (uint8_t)(first | (value < most ? value : most));

	h2_bytes(block, &byte, 1);
	if (value < most)
		return;
	for (value -= most; value >= 128; value >>= 7) {
		byte = (uint8_t)(value | 128);
		h2_bytes(block, &byte, 1);
	}
	byte = (uint8_t)value;
	h2_bytes(block, &byte, 1);
}

void h2_field(struct buf *block, const void *name, size_t name_len, const void *value, size_t value_len)
{
	h2_integer(block, 0, 4, 0); /* literal without indexing, new name */
	h2_integer(block, 0, 7, name_len);
	h2_bytes(block, name, name_len);
	h2_integer(block, 0, 7, value_len);
	h2_bytes(block, value, value_len);
}

void h2_fields(struct buf *block, const char *fields)
{
	while (*fields) {
		const char *end = strchr(fields, '\n'), *colon;

		if (!end)
			abort();
		colon = memmem(fields + 1, (size_t)(end - fields) - 1, ": ",
			       2); /* a pseudo field's name begins with one */
		if (!colon)
			abort();
		h2_field(block, fields, (size_t)(colon - fields), colon + 2, (size_t)(end - colon) - 2);
		fields = end + 1;
	}
}

void h2_headers(struct buf *out, uint32_t stream, unsigned flags, const char *fields)
{
	struct buf block;
	struct mesh_slice bytes;

	mesh_buf_init(&block, &mesh_mem_default, 0);
	h2_fields(&block, fields);
	bytes = mesh_buf_slice(&block);
	h2_frame(out, H2_HEADERS, flags, stream, bytes.data, bytes.len);
	mesh_buf_free(&block);
}

void h2_get(struct buf *out, uint32_t stream, const char *path)
{
	struct buf block;
	struct mesh_slice bytes;

	mesh_buf_init(&block, &mesh_mem_default, 0);
	h2_fields(&block, ":method: GET\n:scheme: http\n:authority: reviews\n");
	h2_field(&block, ":path", 5, path, strlen(path));
	bytes = mesh_buf_slice(&block);
	h2_frame(out, H2_HEADERS, H2_WHOLE, stream, bytes.data, bytes.len);
	mesh_buf_free(&block);
}

void h2_data(struct buf *out, uint32_t stream, unsigned flags, const char *text)
{
	h2_frame(out, H2_DATA, flags, stream, text, strlen(text));
}

void h2_rst(struct buf *out, uint32_t stream, uint32_t code)
{
	put_head(out, 4, H2_RST_STREAM, 0, stream);
	put_u32(out, code);
}

void h2_window_update(struct buf *out, uint32_t stream, uint32_t increment)
{
	put_head(out, 4, H2_WINDOW_UPDATE, 0, stream);
	put_u32(out, increment);
}

void h2_ping(struct buf *out, unsigned flags, const char eight[8])
{
	h2_frame(out, H2_PING, flags, 0, eight, 8);
}

void h2_goaway(struct buf *out, uint32_t last, uint32_t code)
{
	put_head(out, 8, H2_GOAWAY, 0, 0);
	put_u32(out, last);
	put_u32(out, code);
}

void h2_priority(struct buf *out, uint32_t stream, uint32_t depends_on)
{
	put_head(out, 5, H2_PRIORITY, 0, stream);
	put_u32(out, depends_on);
	h2_bytes(out, "\x10", 1);
}
