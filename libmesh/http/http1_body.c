/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides where a body ends: by length, by chunks with trailers behind them, or with the connection; bounds extensions
 * and trailers. Chunk lines go byte by byte through a state machine, so that any cut of the input gives the same.
 * Refuses to know heads and what bodies mean.
 */
#include "http/http1_parser.h"

#include "http/http1_field.h"

static void skip(struct mesh_slice *input, size_t bytes)
{
	input->data += bytes;
	input->len -= bytes;
}

static enum http1_step take_data(struct http1_parser *parser, struct mesh_slice *input, struct mesh_slice *data)
{
	size_t n = input->len;

	if (parser->framing != HTTP1_UNTIL_CLOSE && n > parser->remaining)
		n = (size_t)parser->remaining;
	*data = mesh_slice_make(input->data, n);
	skip(input, n);
	if (parser->framing != HTTP1_UNTIL_CLOSE)
		parser->remaining -= n;
	return HTTP1_DATA;
}

enum { CHUNK_SIZE, CHUNK_EXTENSION, CHUNK_LINE_END, CHUNK_BYTES, CHUNK_CR, CHUNK_LF, CHUNK_TRAILERS };

static enum http1_step body_wrong(struct http1_parser *parser, const char *what)
{
	mesh_http1_wrong(parser, 400, what);
	return HTTP1_WRONG;
}

static int hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = mesh_char_lower(c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* One character of a chunk's line or of the CRLF behind its bytes. NULL: fine. */
static const char *chunk_char(struct http1_parser *parser, char c)
{
	switch (parser->chunk_state) {
	case CHUNK_SIZE:
		if (hex(c) >= 0) {
			if (++parser->chunk_digits > 15)
				return "chunk size too large";
			parser->remaining = parser->remaining << 4 | (unsigned)hex(c);
			return NULL;
		}
		if (!parser->chunk_digits)
			return "chunk without a size";
		parser->chunk_state = c == ';' || c == ' ' || c == '\t' ? CHUNK_EXTENSION : CHUNK_LINE_END;
		return c == '\r' || parser->chunk_state == CHUNK_EXTENSION ? NULL : "invalid chunk size";
	case CHUNK_EXTENSION:
		if (c == '\r')
			parser->chunk_state = CHUNK_LINE_END;
		else if (((unsigned char)c < ' ' && c != '\t') || c == 0x7f)
			return "invalid chunk extension";
		return ++parser->chunk_line > 1024 ? "chunk extensions too long" : NULL;
	case CHUNK_LINE_END:
		parser->chunk_state = parser->remaining ? CHUNK_BYTES : CHUNK_TRAILERS;
		parser->scanned = 0;
		return c == '\n' ? NULL : "chunk line without CRLF";
	case CHUNK_CR:
		parser->chunk_state = CHUNK_LF;
		return c == '\r' ? NULL : "chunk longer than its size";
	default: /* CHUNK_LF */
		parser->chunk_state = CHUNK_SIZE;
		parser->chunk_digits = 0;
		parser->chunk_line = 0;
		return c == '\n' ? NULL : "chunk without CRLF";
	}
}

static bool trailer_allowed(struct mesh_slice name)
{
	static const struct mesh_slice refused[] = {
		{"content-length", 14}, {"transfer-encoding", 17}, {"host", 4}, {"connection", 10}, {"content-type", 12},
		{"content-encoding", 16}, {"authorization", 13}, {"trailer", 7}, {"te", 2}, {"expect", 6}, {"cookie", 6},
		{"set-cookie", 10}, {"upgrade", 7}, {"keep-alive", 10}, {"proxy-connection", 16}, {"cache-control", 13},
	};

	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
		if (http1_is(name, refused[i]))
			return false;
	return !mesh_slice_prefix_fold(name, MESH_SLICE("x-forwarded-"));
}

static enum http1_step take_trailers(struct http1_parser *parser, struct mesh_slice *input, struct arena *arena,
				     struct headers *trailers)
{
	struct mesh_slice rest;
	size_t count = 0;
	ssize_t len;

	if (input->len < 2)
		return input->len && input->data[0] != '\r' && !mesh_header_name_valid(mesh_slice_make(input->data, 1))
			       ? body_wrong(parser, "invalid trailer")
			       : HTTP1_MORE;
	if (!memcmp(input->data, "\r\n", 2)) {
		skip(input, 2);
		return HTTP1_END;
	}
	len = mesh_http1_find_head(parser, *input);
	if (len <= 0)
		return len ? HTTP1_WRONG : HTTP1_MORE;
	if (!arena) { /* nobody wants them */
		skip(input, (size_t)len);
		return HTTP1_END;
	}
	rest = mesh_arena_slice(arena, mesh_slice_make(input->data, (size_t)len), NULL);
	if (!rest.data)
		return body_wrong(parser, "no memory for trailers");
	while (rest.len > 2) {
		struct mesh_slice line;
		struct mesh_header field;

		if (!mesh_http1_next_line(&rest, &line) || mesh_http1_read_field(parser, line, &field) ||
		    ++count > parser->header_count_max)
			return body_wrong(parser, "invalid trailers");
		if (trailer_allowed(field.name) && mesh_headers_add(trailers, arena, field.name, field.value))
			return body_wrong(parser, "no memory for trailers");
	}
	skip(input, (size_t)len);
	return HTTP1_END;
}

static enum http1_step take_chunked(struct http1_parser *parser, struct mesh_slice *input, struct mesh_slice *data,
				    struct arena *arena, struct headers *trailers)
{
	while (parser->chunk_state == CHUNK_TRAILERS || input->len) {
		const char *what;

		if (parser->chunk_state == CHUNK_TRAILERS)
			return take_trailers(parser, input, arena, trailers);
		if (parser->chunk_state == CHUNK_BYTES) {
			take_data(parser, input, data);
			if (!parser->remaining)
				parser->chunk_state = CHUNK_CR;
			return HTTP1_DATA;
		}
		what = chunk_char(parser, input->data[0]);
		if (what)
			return body_wrong(parser, what);
		skip(input, 1);
	}
	return HTTP1_MORE;
}

enum http1_step mesh_http1_body(struct http1_parser *parser, struct mesh_slice *input, struct mesh_slice *data,
				struct arena *arena, struct headers *trailers)
{
	switch (parser->framing) {
	case HTTP1_NO_BODY:
		return HTTP1_END;
	case HTTP1_LENGTH:
		if (!parser->remaining)
			return HTTP1_END;
		return input->len ? take_data(parser, input, data) : HTTP1_MORE;
	case HTTP1_UNTIL_CLOSE:
		return input->len ? take_data(parser, input, data) : HTTP1_MORE;
	case HTTP1_CHUNKED:
		return take_chunked(parser, input, data, arena, trailers);
	}
	return HTTP1_WRONG;
}
