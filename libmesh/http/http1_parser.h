/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/1.1 messages taken apart, strictly: whatever two readers could understand differently is refused. Sans I/O; may be
 * fed any number of bytes at a time. A message is a head (http1_find_head, http1_parse_request/response), then its body
 * (http1_body) until HTTP1_END.
 */
#ifndef MESH_HTTP_HTTP1_PARSER_H
#define MESH_HTTP_HTTP1_PARSER_H

#include <sys/types.h>

#include "base/why.h"
#include "http/message.h"

enum http1_framing {
	HTTP1_NO_BODY,
	HTTP1_LENGTH,
	HTTP1_CHUNKED,
	HTTP1_UNTIL_CLOSE, /* responses; and all behind a head that asks for or agrees to another protocol */
};

enum http1_step {
	HTTP1_MORE,  /* all input was looked at; more is needed */
	HTTP1_DATA,  /* *data is a piece of the body */
	HTTP1_END,   /* the message is complete */
	HTTP1_WRONG, /* parser->why and parser->status */
};

struct http1_parser {
	size_t head_bytes_max;
	size_t header_count_max;
	bool http_10;
	/* of the present message */
	size_t scanned;      /* bytes of the head looked at without finding its end */
	enum http1_framing framing;
	unsigned chunk_state;
	unsigned chunk_digits;
	size_t chunk_line;   /* bytes of a chunk's line so far: extensions are bounded */
	uint64_t remaining;  /* of the body or the chunk */
	bool keep_alive;
	int status;          /* to answer with when wrong: 400, 414, 426, 431, 501, 505, .. */
	struct why why;
};

void mesh_http1_parser_init(struct http1_parser *parser, size_t head_bytes_max, size_t header_count_max, bool http_10);
/* Length of the head at the front, empty line included; 0: not whole yet; < 0 PROTOCOL. */
ssize_t mesh_http1_find_head(struct http1_parser *parser, struct mesh_slice input);
/* A head found before. Names and values are copied to the arena in one piece. PROTOCOL, NOMEM. */
int mesh_http1_parse_request(struct http1_parser *parser, struct mesh_slice bytes, struct arena *arena, struct http_head *head);
/* `to_head`: the request was HEAD. */
int mesh_http1_parse_response(struct http1_parser *parser, struct mesh_slice bytes, bool to_head, struct arena *arena,
			      struct http_head *head);
/* Consumes from *input. Without an arena trailers are passed over. At HTTP1_END *trailers is filled when there were some. */
enum http1_step mesh_http1_body(struct http1_parser *parser, struct mesh_slice *input, struct mesh_slice *data,
				struct arena *arena, struct headers *trailers);

#endif
