/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two HTTP/2 muxes against each other over memory, or one against frames of a test's own. Reads come in pieces as small
 * as the test likes, writes can be stopped; what happened to each exchange is kept as text.
 */
#ifndef TESTS_SUPPORT_HTTP2_PAIR_H
#define TESTS_SUPPORT_HTTP2_PAIR_H

#include "base/buf.h"
#include "http/mux.h"
#include "net/transport.h"

enum { HTTP2_SEEN_MAX = 512, HTTP2_SHOWN_DATA = 20 };

struct http2_side;

/* One exchange. log: "head 200;data abc;end;over OK;" */
struct http2_seen {
	struct exchange exchange;
	struct http2_side *side;
	struct arena arena;
	char log[512];
	char body[256];     /* its beginning */
	size_t received;    /* bytes of it */
	char headers[2048]; /* "name=value;" of the head */
	char trailers[256];
	char upgrade[32];
	char why[320];
	char authority[64];
	int64_t content_length;
	bool expects_continue;
	bool over;
	int error;
	bool unprocessed;
	size_t to_send;     /* goes on when it becomes writable, then ends */
};

struct http2_side {
	struct transport transport;
	struct mux *mux;
	struct buf *in, *out;  /* what comes from the other side, what goes to it */
	size_t read_max;       /* 0: all at once */
	size_t write_room;     /* how much the transport takes before AGAIN */
	bool write_fails;
	bool *peer_closed;     /* the other side ended its direction */
	bool ended;            /* it did itself */
	bool dirty;
	unsigned reads, writes, idle;
	bool closed;
	int closed_error;
	char closed_why[320];
	unsigned refuse_accept; /* how many to answer with NULL */
	struct http2_seen *seen[HTTP2_SEEN_MAX];
	size_t count;
	/* called in each event, before it is noted; may be NULL */
	void (*hook)(struct http2_seen *seen, const char *event);
	void *user;
};

struct http2_pair {
	struct http2_side client, server;
	struct buf up, down;
	const struct mesh_mem *mem;
};

/* Bounds: NULL the defaults. */
void http2_pair_open(struct http2_pair *pair, const struct mux_limits *client, const struct mux_limits *server);
int http2_pair_open_mem(struct http2_pair *pair, const struct mesh_mem *mem);
/* One side alone; the test plays the other. */
void http2_server_open(struct http2_pair *pair, const struct mux_limits *limits, struct mesh_slice head);
void http2_client_open(struct http2_pair *pair, const struct mux_limits *limits);
void http2_pair_close(struct http2_pair *pair);
void http2_pair_pump(struct http2_pair *pair); /* until nothing moves */
bool http2_side_step(struct http2_side *side); /* one ready and flush, where there is reason to; whether there was */

struct http2_seen *http2_seen_new(struct http2_side *side);
struct http2_seen *http2_call(struct http2_pair *pair, const struct http_head *head, bool end);
struct http2_seen *http2_get(struct http2_pair *pair, const char *path);
void http2_answer(struct http2_seen *seen, int status, const char *body); /* NULL: the body is to come */
void http2_send_much(struct http2_seen *seen, size_t bytes); /* as it becomes writable, then the end */

/* More of a text that was begun; what does not fit is cut off. */
void http2_append(char *text, size_t room, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Frames by hand. */
void http2_raw_frame(struct buf *to, uint8_t type, uint8_t flags, uint32_t id, struct mesh_slice payload);
void http2_raw_start(struct buf *to); /* preface and settings */
void http2_raw_field(struct buf *block, const char *name, const char *value); /* literal, never indexed */
void http2_raw_get(struct buf *to, uint32_t id, uint8_t flags, const char *path);
/* Frames in `from`, as "SETTINGS;HEADERS 1 end;GOAWAY 1 PROTOCOL_ERROR;"; consumed. */
void http2_raw_seen(struct buf *from, char *text, size_t room);

#endif
