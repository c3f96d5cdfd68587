/* SPDX-License-Identifier: Apache-2.0 */
/* What an HTTP/2 peer hears, frame by frame, as words. A frame that does not parse is written down as such, not judged. */
#include "support/h2_frames.h"

#include <errno.h>
#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "support/raw_peer.h"

struct heard {
	size_t len;
	unsigned type, flags;
	uint32_t stream;
	const uint8_t *payload;
};

/* A code of no name is "CODE". */
static const char *code_name(uint32_t code)
{
	static const char *const names[] = {
		"NO_ERROR",
		"PROTOCOL_ERROR",
		"INTERNAL_ERROR",
		"FLOW_CONTROL_ERROR",
		"SETTINGS_TIMEOUT",
		"STREAM_CLOSED",
		"FRAME_SIZE_ERROR",
		"REFUSED_STREAM",
		"CANCEL",
		"COMPRESSION_ERROR",
		"CONNECT_ERROR",
		"ENHANCE_YOUR_CALM",
		"INADEQUATE_SECURITY",
		"HTTP_1_1_REQUIRED",
	};

	return code < sizeof(names) / sizeof(names[0]) ? names[code] : "CODE";
}

static uint32_t u32(const uint8_t *at)
{
	return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

__attribute__((format(printf, 2, 3))) static void tell(struct h2_peer *peer, const char *format, ...)
{
	char words[2048];
	va_list args;
	int len;

	va_start(args, format);
	len = vsnprintf(words, sizeof(words), format, args);
	va_end(args);
	h2_bytes(&peer->story, words, len < (int)sizeof(words) ? (size_t)len : sizeof(words) - 1);
}

static const char *story(struct h2_peer *peer)
{
	h2_bytes(&peer->story, "", 1); /* its NUL, which is not of it */
	peer->story.end--;
	return peer->story.data + peer->story.start;
}

void h2_peer_init(struct h2_peer *peer, int fd)
{
	memset(peer, 0, sizeof(*peer));
	peer->fd = fd;
	mesh_buf_init(&peer->in, &mesh_mem_default, 0);
	mesh_buf_init(&peer->out, &mesh_mem_default, 0);
	mesh_buf_init(&peer->story, &mesh_mem_default, 0);
	mesh_buf_init(&peer->block, &mesh_mem_default, 0);
	mesh_buf_init(&peer->body, &mesh_mem_default, 0);
	if (nghttp2_hd_inflate_new(&peer->inflater))
		abort();
}

void h2_peer_free(struct h2_peer *peer)
{
	nghttp2_hd_inflate_del(peer->inflater);
	mesh_buf_free(&peer->in);
	mesh_buf_free(&peer->out);
	mesh_buf_free(&peer->story);
	mesh_buf_free(&peer->block);
	mesh_buf_free(&peer->body);
}

bool h2_peer_say(struct h2_peer *peer)
{
	struct mesh_slice bytes = mesh_buf_slice(&peer->out);
	bool sent = raw_send(peer->fd, bytes.data, bytes.len);

	mesh_buf_clear(&peer->out);
	return sent;
}

static void tell_fields(struct h2_peer *peer)
{
	struct mesh_slice block = mesh_buf_slice(&peer->block);
	const uint8_t *at = (const uint8_t *)block.data;
	size_t left = block.len;

	for (;;) {
		nghttp2_nv field;
		int flags = 0;
		ssize_t n = nghttp2_hd_inflate_hd2(peer->inflater, &field, &flags, at, left, 1);

		if (n < 0) {
			tell(peer, " bad-block");
			break;
		}
		at += n;
		left -= (size_t)n;
		if (flags & NGHTTP2_HD_INFLATE_EMIT)
			tell(peer, " %.*s=%.*s", (int)field.namelen, field.name, (int)field.valuelen, field.value);
		if (flags & NGHTTP2_HD_INFLATE_FINAL) {
			nghttp2_hd_inflate_end_headers(peer->inflater);
			break;
		}
		if (!left && !(flags & NGHTTP2_HD_INFLATE_EMIT))
			break;
	}
	mesh_buf_clear(&peer->block);
}

static void hear_headers(struct h2_peer *peer, const struct heard *frame)
{
	size_t skip = frame->type == H2_HEADERS && frame->flags & H2_WITH_PRIORITY ? 5 : 0;
	size_t padding = 0;

	if (frame->type == H2_HEADERS && frame->flags & H2_PADDED && frame->len) {
		padding = frame->payload[0];
		skip++;
	}
	if (frame->type == H2_HEADERS)
		tell(peer, "headers %u", frame->stream);
	if (skip + padding <= frame->len)
		h2_bytes(&peer->block, frame->payload + skip, frame->len - skip - padding);
	if (frame->type == H2_HEADERS)
		peer->block_ends = frame->flags & H2_END_STREAM;
	if (!(frame->flags & H2_END_HEADERS))
		return;
	tell_fields(peer);
	tell(peer, peer->block_ends ? " END;" : ";");
}

static void hear_settings(struct h2_peer *peer, const struct heard *frame)
{
	tell(peer, "settings%s", frame->flags & H2_ACK ? " ack" : "");
	for (size_t i = 0; i + 6 <= frame->len; i += 6)
		tell(peer, " %u=%u", (unsigned)frame->payload[i] << 8 | frame->payload[i + 1],
		     u32(frame->payload + i + 2));
	tell(peer, ";");
}

static void hear(struct h2_peer *peer, const struct heard *frame)
{
	const uint8_t *at = frame->payload;

	peer->heard++;
	switch (frame->type) {
	case H2_DATA:
		tell(peer, "data %u %zu%s;", frame->stream, frame->len, frame->flags & H2_END_STREAM ? " END" : "");
		h2_bytes(&peer->body, at, frame->len);
		peer->data_bytes += frame->len;
		return;
	case H2_HEADERS:
	case H2_CONTINUATION:
		hear_headers(peer, frame);
		return;
	case H2_RST_STREAM:
		tell(peer, "rst %u %s;", frame->stream, frame->len == 4 ? code_name(u32(at)) : "bad-length");
		return;
	case H2_SETTINGS:
		hear_settings(peer, frame);
		return;
	case H2_PING:
		tell(peer, "ping%s %.8s;", frame->flags & H2_ACK ? " ack" : "",
		     frame->len == 8 ? (const char *)at : "bad-len.");
		return;
	case H2_GOAWAY:
		if (frame->len >= 8)
			tell(peer, "goaway %u %s %.*s;", u32(at), code_name(u32(at + 4)), (int)frame->len - 8,
			     at + 8);
		return;
	case H2_WINDOW_UPDATE:
		tell(peer, "window %u +%u;", frame->stream, frame->len == 4 ? u32(at) : 0);
		return;
	case H2_PUSH_PROMISE:
		tell(peer, "push %u;", frame->stream);
		return;
	case H2_PRIORITY:
		tell(peer, "priority %u;", frame->stream);
		return;
	default:
		tell(peer, "type-%u %u;", frame->type, frame->stream);
	}
}

/* A frame that is whole in peer->in. */
static bool next_frame(struct h2_peer *peer)
{
	struct mesh_slice bytes = mesh_buf_slice(&peer->in);
	const uint8_t *at = (const uint8_t *)bytes.data;
	struct heard frame;

	if (bytes.len < 9)
		return false;
	frame.len = (size_t)at[0] << 16 | (size_t)at[1] << 8 | at[2];
	if (bytes.len < 9 + frame.len)
		return false;
	frame.type = at[3];
	frame.flags = at[4];
	frame.stream = u32(at + 5) & 0x7fffffff;
	frame.payload = at + 9;
	hear(peer, &frame);
	mesh_buf_consume(&peer->in, 9 + frame.len);
	return true;
}

static void receive(struct h2_peer *peer)
{
	char *room = mesh_buf_reserve(&peer->in, 65536);
	ssize_t n;

	if (!room)
		abort();
	do
		n = recv(peer->fd, room, 65536, 0);
	while (n < 0 && errno == EINTR);
	if (n > 0) {
		mesh_buf_commit(&peer->in, (size_t)n);
		return;
	}
	if (n < 0 && (errno == EAGAIN || errno == EBADF)) {
		fprintf(stderr, "h2_peer: %s: nothing more came after: %s\n", peer->what ? peer->what : "",
			story(peer));
		abort();
	}
	peer->ended = true;
	if (mesh_buf_len(&peer->in))
		tell(peer, "cut;");
	tell(peer, n ? "reset;" : "closed;");
}

const char *h2_peer_until(struct h2_peer *peer, const char *word)
{
	while (!strstr(story(peer), word) && !peer->ended)
		if (!next_frame(peer))
			receive(peer);
	return story(peer);
}

const char *h2_peer_rest(struct h2_peer *peer)
{
	while (!peer->ended)
		if (!next_frame(peer))
			receive(peer);
	return story(peer);
}

bool h2_peer_sync(struct h2_peer *peer)
{
	char eight[9], word[32];

	snprintf(eight, sizeof(eight), "s%07u", peer->heard);
	snprintf(word, sizeof(word), "ping ack %s;", eight);
	h2_ping(&peer->out, 0, eight);
	h2_peer_say(peer);
	return strstr(h2_peer_until(peer, word), word);
}

bool h2_peer_take_preface(struct h2_peer *peer)
{
	while (mesh_buf_len(&peer->in) < 24 && !peer->ended)
		receive(peer);
	if (mesh_buf_len(&peer->in) < 24 ||
	    memcmp(mesh_buf_slice(&peer->in).data, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 24))
		return false;
	mesh_buf_consume(&peer->in, 24);
	return true;
}
