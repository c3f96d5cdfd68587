/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An HTTP/2 peer that says exactly what a test tells it, valid or not, and writes down what it hears. Its header blocks are
 * literals without any table, so that what is sent is what is written here; what it receives goes through nghttp2's inflater.
 */
#ifndef MESH_TESTS_SUPPORT_H2_FRAMES_H
#define MESH_TESTS_SUPPORT_H2_FRAMES_H

#include "base/buf.h"

enum h2_type {
	H2_DATA,
	H2_HEADERS,
	H2_PRIORITY,
	H2_RST_STREAM,
	H2_SETTINGS,
	H2_PUSH_PROMISE,
	H2_PING,
	H2_GOAWAY,
	H2_WINDOW_UPDATE,
	H2_CONTINUATION,
};

enum h2_flag {
	H2_END_STREAM = 1,
	H2_ACK = 1,
	H2_END_HEADERS = 4,
	H2_PADDED = 8,
	H2_WITH_PRIORITY = 32,
	H2_WHOLE = H2_END_STREAM | H2_END_HEADERS,
};

enum h2_setting {
	H2_HEADER_TABLE_SIZE = 1,
	H2_ENABLE_PUSH,
	H2_MAX_CONCURRENT_STREAMS,
	H2_INITIAL_WINDOW_SIZE,
	H2_MAX_FRAME_SIZE,
	H2_MAX_HEADER_LIST_SIZE,
	H2_ENABLE_CONNECT_PROTOCOL = 8,
};

enum h2_code {
	H2_NO_ERROR,
	H2_PROTOCOL_ERROR,
	H2_INTERNAL_ERROR,
	H2_FLOW_CONTROL_ERROR,
	H2_SETTINGS_TIMEOUT,
	H2_STREAM_CLOSED,
	H2_FRAME_SIZE_ERROR,
	H2_REFUSED_STREAM,
	H2_CANCEL,
	H2_COMPRESSION_ERROR,
	H2_CONNECT_ERROR,
	H2_ENHANCE_YOUR_CALM,
	H2_INADEQUATE_SECURITY,
	H2_HTTP_1_1_REQUIRED,
};

/* Each appends to *out. No memory: the test ends. */
void h2_bytes(struct buf *out, const void *bytes, size_t len);
void h2_frame(struct buf *out, unsigned type, unsigned flags, uint32_t stream, const void *payload, size_t len);
/* `claimed` stands in the frame's head, whatever its payload's length. */
void h2_frame_claiming(struct buf *out, uint32_t claimed, unsigned type, unsigned flags, uint32_t stream,
		       const void *payload, size_t len);
void h2_preface(struct buf *out); /* the client's 24 bytes and empty SETTINGS */
void h2_settings_ack(struct buf *out);
/* `fields`: lines "name: value\n", pseudo fields ":name: value\n". */
void h2_headers(struct buf *out, uint32_t stream, unsigned flags, const char *fields);
void h2_get(struct buf *out, uint32_t stream, const char *path); /* a whole request */
void h2_data(struct buf *out, uint32_t stream, unsigned flags, const char *text);
void h2_rst(struct buf *out, uint32_t stream, uint32_t code);
void h2_window_update(struct buf *out, uint32_t stream, uint32_t increment);
void h2_ping(struct buf *out, unsigned flags, const char eight[8]);
void h2_goaway(struct buf *out, uint32_t last, uint32_t code);
void h2_priority(struct buf *out, uint32_t stream, uint32_t depends_on);
/* Parts of a header block. */
void h2_field(struct buf *block, const void *name, size_t name_len, const void *value, size_t value_len);
void h2_fields(struct buf *block, const char *fields);
void h2_integer(struct buf *block, unsigned first, unsigned bits,
		uint64_t value); /* `first`: the bits before the prefix */

/*
 * The listening part of a peer. What it hears it keeps as words, each frame one:
 *   "settings 3=100 4=65535;" "settings ack;" "headers 1 :status=200 server=x END;" "data 1 5 END;" (bytes) "rst 1 CANCEL;"
 *   "goaway 7 NO_ERROR words;" "window 0 +65535;" "ping ack abcdefgh;" "push 2;" "priority 3;" "type-77 0;" "closed;" "reset;"
 */
struct h2_peer {
	int fd;
	const char *what; /* for the words when the test ends; may be NULL */
	struct buf in;    /* received and not looked at */
	struct buf out;   /* said next: h2_peer_say sends and empties it */
	struct buf story; /* a string */
	struct buf block; /* of a header block that is not whole */
	bool block_ends;  /* and with it the stream */
	struct buf body;  /* of all DATA heard */
	struct nghttp2_hd_inflater *inflater;
	uint64_t data_bytes;
	unsigned heard; /* frames */
	bool ended;
};

void h2_peer_init(struct h2_peer *peer, int fd); /* does not own fd */
void h2_peer_free(struct h2_peer *peer);
/* False: the other side is gone. */
bool h2_peer_say(struct h2_peer *peer);
/* Listens until `word` stands in the story or the connection ended; the whole story. 10 s without a byte: the test ends. */
const char *h2_peer_until(struct h2_peer *peer, const char *word);
const char *h2_peer_rest(struct h2_peer *peer); /* until the connection ended */
/* Says a PING and listens to its answer: all that was said before has been dealt with. False: the connection ended first. */
bool h2_peer_sync(struct h2_peer *peer);
/* Answers a peer that speaks first: takes the client's 24 bytes. False: they are others, or it is gone. */
bool h2_peer_take_preface(struct h2_peer *peer);

#endif
