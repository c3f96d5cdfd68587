/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/1.1 messages written. Names and values are checked: nothing the caller gives can end a line. Sans I/O. */
#ifndef MESH_HTTP_HTTP1_WRITER_H
#define MESH_HTTP_HTTP1_WRITER_H

#include "base/buf.h"
#include "http/message.h"

enum http1_body {
	HTTP1_BODY_NONE,
	HTTP1_BODY_LENGTH,  /* head->content_length bytes follow */
	HTTP1_BODY_CHUNKED,
	HTTP1_BODY_CLOSE,   /* ends with the connection: answers to HTTP/1.0 */
};

/* Framing fields are written from `body` alone; those in head->headers are left out. INVALID, NOMEM. */
int mesh_http1_write_request(struct buf *out, const struct http_head *head, enum http1_body body, bool close);
int mesh_http1_write_response(struct buf *out, const struct http_head *head, enum http1_body body, bool close);
int mesh_http1_write_chunk(struct buf *out, struct mesh_slice data); /* nothing for no bytes: that would be the end */
int mesh_http1_write_last_chunk(struct buf *out, const struct headers *trailers); /* trailers may be NULL */

#endif
