/* SPDX-License-Identifier: Apache-2.0 */
/* Field lines of HTTP/1.1 heads and trailers; between the files of the parser only. */
#ifndef MESH_HTTP_HTTP1_FIELD_H
#define MESH_HTTP_HTTP1_FIELD_H

#include "http/http1_parser.h"

/* What the fields of a head say about framing and the connection. */
struct framing_fields {
	bool has_length, has_encoding, chunked, close, keep_alive, has_host, names_connection;
	bool connection_upgrade; /* Connection: upgrade; Upgrade counts only beside it */
	uint64_t length;
	struct mesh_slice host;
	struct mesh_slice upgrade; /* absent: no such field */
};

static inline bool http1_is(struct mesh_slice name, struct mesh_slice known)
{
	return name.len == known.len && mesh_slice_equal_fold(name, known);
}

/* Notes the words and the status to answer with; PROTOCOL. */
int mesh_http1_wrong(struct http1_parser *parser, int status, const char *what);
/* One line without its CRLF. False: a bare CR, LF or NUL in it. */
bool mesh_http1_next_line(struct mesh_slice *rest, struct mesh_slice *line);
/* The slices of *field lie in the line. PROTOCOL. */
int mesh_http1_read_field(struct http1_parser *parser, struct mesh_slice line, struct mesh_header *field);
/* All up to the empty line: what the application sees to head->headers, what frames to *fields. PROTOCOL, NOMEM. */
int mesh_http1_read_fields(struct http1_parser *parser, struct mesh_slice rest, struct arena *arena,
			   struct http_head *head, struct framing_fields *fields);
/* Removes from head->headers what a Connection field among `bytes` names. */
void mesh_http1_drop_nominated(struct http_head *head, struct mesh_slice bytes);

#endif
