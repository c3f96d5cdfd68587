/* SPDX-License-Identifier: Apache-2.0 */
/* Frames by hand, and in words. Knows nothing of muxes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include "support/http2_pair.h"

#include <cmocka.h>

void http2_raw_frame(struct buf *to, uint8_t type, uint8_t flags, uint32_t id, struct mesh_slice payload)
{
	const uint8_t head[9] = {
		(uint8_t)(payload.len >> 16), (uint8_t)(payload.len >> 8), (uint8_t)payload.len, type,       flags,
		(uint8_t)(id >> 24),          (uint8_t)(id >> 16),         (uint8_t)(id >> 8),   (uint8_t)id};

	assert_int_equal(mesh_buf_append(to, mesh_slice_make(head, sizeof(head))), 0);
	assert_int_equal(mesh_buf_append(to, payload), 0);
}

void http2_raw_start(struct buf *to)
{
	assert_int_equal(mesh_buf_append(to, MESH_SLICE("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")), 0);
	http2_raw_frame(to, 4, 0, 0, (struct mesh_slice){NULL, 0});
}

static void raw_text(struct buf *block, const char *text)
{
	size_t len = strlen(text), rest = len;
	uint8_t byte = len < 127 ? (uint8_t)len : 127;

	assert_int_equal(mesh_buf_append(block, mesh_slice_make(&byte, 1)), 0);
	for (rest = len < 127 ? 0 : len - 127; len >= 127; rest >>= 7) {
		byte = (uint8_t)(rest & 127) | (rest > 127 ? 128 : 0);
		assert_int_equal(mesh_buf_append(block, mesh_slice_make(&byte, 1)), 0);
		if (rest <= 127)
			break;
	}
	assert_int_equal(mesh_buf_append(block, mesh_slice_of(text)), 0);
}

void http2_raw_field(struct buf *block, const char *name, const char *value)
{
	assert_int_equal(mesh_buf_append(block, mesh_slice_make("\x10", 1)), 0);
	raw_text(block, name);
	raw_text(block, value);
}

void http2_raw_get(struct buf *to, uint32_t id, uint8_t flags, const char *path)
{
	struct buf block;

	mesh_buf_init(&block, &mesh_mem_default, 0);
	http2_raw_field(&block, ":method", flags & 1 ? "GET" : "POST");
	http2_raw_field(&block, ":scheme", "http");
	http2_raw_field(&block, ":authority", "a");
	http2_raw_field(&block, ":path", path);
	http2_raw_frame(to, 1, flags | 4, id, mesh_buf_slice(&block));
	mesh_buf_free(&block);
}

void http2_raw_seen(struct buf *from, char *text, size_t room)
{
	static const char *const types[] = {"DATA",         "HEADERS", "PRIORITY", "RST_STREAM",    "SETTINGS",
					    "PUSH_PROMISE", "PING",    "GOAWAY",   "WINDOW_UPDATE", "CONTINUATION"};
	static const char *const codes[] = {"NO_ERROR",           "PROTOCOL_ERROR",   "INTERNAL_ERROR",
					    "FLOW_CONTROL_ERROR", "SETTINGS_TIMEOUT", "STREAM_CLOSED",
					    "FRAME_SIZE_ERROR",   "REFUSED_STREAM",   "CANCEL",
					    "COMPRESSION_ERROR",  "CONNECT_ERROR",    "ENHANCE_YOUR_CALM"};

	text[0] = '\0';
	while (mesh_buf_len(from) >= 9) {
		const uint8_t *at = (const uint8_t *)from->data + from->start;
		size_t len = (size_t)at[0] << 16 | (size_t)at[1] << 8 | at[2];
		unsigned id = (unsigned)at[6] << 16 | (unsigned)at[7] << 8 | at[8];
		unsigned code = at[3] == 3 ? at[12] : at[3] == 7 ? at[16] : 0;

		assert_true(mesh_buf_len(from) >= 9 + len && at[3] < 10 && code < 12);
		http2_append(text, room, "%s", types[at[3]]);
		if (at[3] == 7)
			http2_append(text, room, " %u", (unsigned)at[11] << 8 | at[12]);
		else if (id || at[3] <= 3)
			http2_append(text, room, " %u", id);
		if (at[3] == 3 || at[3] == 7)
			http2_append(text, room, " %s", codes[code]);
		if ((at[3] == 4 || at[3] == 6) && at[4] & 1)
			http2_append(text, room, " ack");
		if (at[3] < 2 && at[4] & 1)
			http2_append(text, room, " end");
		http2_append(text, room, ";");
		mesh_buf_consume(from, 9 + len);
	}
}
