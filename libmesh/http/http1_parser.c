/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides what is a well-formed HTTP/1.1 head and how its body is framed. Both lengths, repeated lengths, folded or bare
 * lines, odd characters: refused, with the status to answer. Refuses to know sockets and what messages mean.
 */
#include "http/http1_parser.h"

#include <mesh/error.h>

static const size_t uri_max = 32768;

void mesh_http1_parser_init(struct http1_parser *parser, const struct mux_limits *limits)
{
	memset(parser, 0, sizeof(*parser));
	parser->head_bytes_max = limits->head_bytes_max;
	parser->header_count_max = limits->header_count_max;
	parser->http_10 = limits->http_10;
}

static int wrong(struct http1_parser *parser, int status, const char *what)
{
	parser->status = status;
	return mesh_why(&parser->why, MESH_ERROR_PROTOCOL, "HTTP/1.1: %s", what);
}

ssize_t mesh_http1_find_head(struct http1_parser *parser, struct mesh_slice input)
{
	size_t at = parser->scanned;

	while (at < input.len) {
		const char *lf = memchr(input.data + at, '\n', input.len - at);

		if (!lf)
			break;
		at = (size_t)(lf - input.data);
		if (!at || lf[-1] != '\r')
			return wrong(parser, 400, "bare LF in the head");
		if (at >= 3 && lf[-2] == '\n') {
			if (at + 1 > parser->head_bytes_max)
				return wrong(parser, 431, "head too large");
			parser->scanned = 0;
			return (ssize_t)at + 1;
		}
		at++;
	}
	parser->scanned = input.len;
	if (input.len > parser->head_bytes_max)
		return wrong(parser, 431, "head too large");
	return 0;
}

/* One line without its CRLF. False: a bare CR, LF or NUL in it. */
static bool next_line(struct mesh_slice *rest, struct mesh_slice *line)
{
	const char *cr = memchr(rest->data, '\r', rest->len);
	size_t len = cr ? (size_t)(cr - rest->data) : rest->len;

	if (!cr || len + 1 >= rest->len || cr[1] != '\n' || memchr(rest->data, '\n', len) || memchr(rest->data, '\0', len))
		return false;
	*line = mesh_slice_make(rest->data, len);
	rest->data += len + 2;
	rest->len -= len + 2;
	return true;
}

/* What the fields of a head say about framing and the connection. */
struct framing_fields {
	bool has_length, has_encoding, chunked, close, keep_alive, has_host, names_connection;
	uint64_t length;
	struct mesh_slice host;
};

static bool is(struct mesh_slice name, struct mesh_slice known)
{
	return name.len == known.len && mesh_slice_equal_fold(name, known);
}

static void read_connection(struct mesh_slice value, struct framing_fields *fields)
{
	while (value.data) {
		struct mesh_slice option = mesh_slice_trim(mesh_slice_cut(&value, ','));

		if (is(option, MESH_SLICE("close")))
			fields->close = true;
		else if (is(option, MESH_SLICE("keep-alive")))
			fields->keep_alive = true;
		else if (option.len)
			fields->names_connection = true;
	}
}

static int read_length(struct http1_parser *parser, struct mesh_slice value, struct framing_fields *fields)
{
	if (fields->has_length)
		return wrong(parser, 400, "content-length repeated");
	if (!mesh_slice_to_u64(value, &fields->length) || fields->length > INT64_MAX)
		return wrong(parser, 400, "content-length is not a number");
	fields->has_length = true;
	return 0;
}

static int read_encoding(struct http1_parser *parser, struct mesh_slice value, struct framing_fields *fields)
{
	if (fields->has_encoding)
		return wrong(parser, 400, "transfer-encoding repeated");
	fields->has_encoding = true;
	fields->chunked = is(value, MESH_SLICE("chunked"));
	return fields->chunked ? 0 : wrong(parser, 501, "transfer-encoding other than chunked");
}

/* Fields that belong to this connection are read and left out; *keep says whether the application sees it. */
static int read_special(struct http1_parser *parser, const struct mesh_header *field, struct framing_fields *fields,
			struct http_head *head, bool *keep)
{
	struct mesh_slice name = field->name, value = field->value;

	*keep = true;
	switch (name.len) {
	case 2: /* te: only what gRPC asks for survives */
		if (is(name, MESH_SLICE("te")))
			*keep = is(value, MESH_SLICE("trailers"));
		return 0;
	case 4:
		if (!is(name, MESH_SLICE("host")))
			return 0;
		*keep = false;
		if (fields->has_host)
			return wrong(parser, 400, "host repeated");
		fields->has_host = true;
		fields->host = value;
		return 0;
	case 6:
		if (is(name, MESH_SLICE("expect")) && is(value, MESH_SLICE("100-continue"))) {
			head->expects_continue = true;
			*keep = false;
		}
		return 0;
	case 7:
		*keep = !is(name, MESH_SLICE("upgrade")) && !is(name, MESH_SLICE("trailer"));
		return 0;
	case 10:
		if (is(name, MESH_SLICE("connection"))) {
			read_connection(value, fields);
			*keep = false;
		} else if (is(name, MESH_SLICE("keep-alive"))) {
			*keep = false;
		}
		return 0;
	case 14:
		return is(name, MESH_SLICE("content-length")) ? read_length(parser, value, fields) : 0;
	case 16:
		*keep = !is(name, MESH_SLICE("proxy-connection"));
		return 0;
	case 17:
		if (!is(name, MESH_SLICE("transfer-encoding")))
			return 0;
		*keep = false;
		return read_encoding(parser, value, fields);
	default:
		return 0;
	}
}

static int read_field(struct http1_parser *parser, struct mesh_slice line, struct mesh_header *field)
{
	ptrdiff_t colon = mesh_slice_find(line, ':');

	if (line.data[0] == ' ' || line.data[0] == '\t')
		return wrong(parser, 400, "folded header line");
	if (colon <= 0)
		return wrong(parser, 400, "header line without a name");
	field->name = mesh_slice_make(line.data, (size_t)colon);
	field->value = mesh_slice_trim(mesh_slice_make(line.data + colon + 1, line.len - (size_t)colon - 1));
	if (!mesh_header_name_valid(field->name))
		return wrong(parser, 400, "invalid header name");
	if (!mesh_header_value_valid(field->value))
		return wrong(parser, 400, "invalid header value");
	return 0;
}

static int read_fields(struct http1_parser *parser, struct mesh_slice rest, struct arena *arena, struct http_head *head,
		       struct framing_fields *fields)
{
	size_t count = 0;

	while (rest.len > 2) {
		struct mesh_slice line;
		struct mesh_header field;
		bool keep;
		int rc;

		if (!next_line(&rest, &line))
			return wrong(parser, 400, "bare CR, LF or NUL in the head");
		if (++count > parser->header_count_max)
			return wrong(parser, 431, "too many headers");
		rc = read_field(parser, line, &field);
		if (!rc)
			rc = read_special(parser, &field, fields, head, &keep);
		if (!rc && keep)
			rc = mesh_headers_add(&head->headers, arena, field.name, field.value);
		if (rc)
			return rc;
	}
	return 0;
}

/*
 * Options of Connection name fields for this hop only. They go, except those that carry identity, routing or framing:
 * a caller must not make us drop what others rely on.
 */
static void drop_nominated(struct http_head *head, struct mesh_slice bytes)
{
	static const struct mesh_slice kept[] = {
		{"content-length", 14}, {"host", 4}, {"authorization", 13}, {"cookie", 6}, {"te", 2},
	};
	struct mesh_slice rest = bytes, line;

	while (rest.len > 2 && next_line(&rest, &line)) {
		struct mesh_slice value;

		if (!mesh_slice_prefix_fold(line, MESH_SLICE("connection:")))
			continue;
		value = mesh_slice_make(line.data + 11, line.len - 11);
		while (value.data) {
			struct mesh_slice name = mesh_slice_trim(mesh_slice_cut(&value, ','));
			bool keep = mesh_slice_prefix_fold(name, MESH_SLICE("x-"));

			for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++)
				keep |= is(name, kept[i]);
			if (name.len && !keep)
				mesh_headers_remove(&head->headers, name);
		}
	}
}

/* "HTTP/1.1" or "HTTP/1.0" */
static int read_version(struct http1_parser *parser, struct mesh_slice text, struct http_head *head)
{
	if (text.len != 8 || memcmp(text.data, "HTTP/", 5) || text.data[6] != '.')
		return wrong(parser, 400, "no HTTP version");
	if (text.data[5] != '1' || text.data[7] < '0' || text.data[7] > '9')
		return wrong(parser, 505, "HTTP version not supported");
	head->minor = text.data[7] == '0' ? 0 : 1;
	return 0;
}

static bool host_valid(struct mesh_slice host)
{
	for (size_t i = 0; i < host.len; i++) {
		unsigned char c = (unsigned char)host.data[i];

		if (c <= ' ' || c >= 0x7f || strchr("/?#@\\\"<>^`{|}", c))
			return false;
	}
	return true;
}

/* origin-form, absolute-form (http, https) or "*" for OPTIONS. */
static int read_target(struct http1_parser *parser, struct mesh_slice target, struct http_head *head,
		       struct framing_fields *fields)
{
	struct mesh_slice rest = target;
	size_t end;

	if (target.len > uri_max)
		return wrong(parser, 414, "request target too long");
	for (size_t i = 0; i < target.len; i++)
		if ((unsigned char)target.data[i] <= ' ' || target.data[i] == 0x7f || target.data[i] == '#')
			return wrong(parser, 400, "invalid character in the request target");
	head->path = target;
	if (target.len && target.data[0] == '/')
		return 0;
	if (mesh_slice_equal(target, MESH_SLICE("*")) && mesh_slice_equal(head->method, MESH_SLICE("OPTIONS")))
		return 0;
	if (mesh_slice_equal(head->method, MESH_SLICE("CONNECT")))
		return wrong(parser, 405, "CONNECT is not served here");
	if (mesh_slice_prefix_fold(rest, MESH_SLICE("http://")))
		rest.data += 7, rest.len -= 7;
	else if (mesh_slice_prefix_fold(rest, MESH_SLICE("https://")))
		rest.data += 8, rest.len -= 8;
	else
		return wrong(parser, 400, "invalid request target");
	for (end = 0; end < rest.len && rest.data[end] != '/' && rest.data[end] != '?'; end++)
		;
	head->authority = mesh_slice_make(rest.data, end);
	if (!end || !host_valid(head->authority))
		return wrong(parser, 400, "invalid host in the request target");
	head->path = mesh_slice_make(rest.data + end, rest.len - end);
	if (!head->path.len)
		head->path = MESH_SLICE("/");
	else if (head->path.data[0] == '?')
		return wrong(parser, 400, "request target without a path");
	return 0;
}

static int request_line(struct http1_parser *parser, struct mesh_slice line, struct http_head *head, struct framing_fields *fields)
{
	ptrdiff_t first = mesh_slice_find(line, ' '), last = mesh_slice_find_last(line, ' ');
	int rc;

	if (first <= 0 || last == first || first > 64)
		return wrong(parser, 400, "malformed request line");
	head->method = mesh_slice_make(line.data, (size_t)first);
	if (!mesh_header_name_valid(head->method))
		return wrong(parser, 400, "invalid method");
	rc = read_version(parser, mesh_slice_make(line.data + last + 1, line.len - (size_t)last - 1), head);
	if (rc)
		return rc;
	return read_target(parser, mesh_slice_make(line.data + first + 1, (size_t)(last - first) - 1), head, fields);
}

static int request_framing(struct http1_parser *parser, struct http_head *head, const struct framing_fields *fields)
{
	if (!head->minor && !parser->http_10)
		return wrong(parser, 426, "HTTP/1.0 is not served");
	if (head->minor && !fields->has_host)
		return wrong(parser, 400, "no host");
	if (fields->has_host && !host_valid(fields->host))
		return wrong(parser, 400, "invalid host");
	if (!head->authority.data)
		head->authority = fields->host.data ? fields->host : MESH_SLICE("");
	if (fields->has_encoding && fields->has_length)
		return wrong(parser, 400, "both content-length and transfer-encoding");
	if (fields->has_encoding && !head->minor)
		return wrong(parser, 400, "transfer-encoding in HTTP/1.0");
	parser->framing = fields->chunked ? HTTP1_CHUNKED : fields->length ? HTTP1_LENGTH : HTTP1_NO_BODY;
	return 0;
}

static void begin_body(struct http1_parser *parser, struct http_head *head, const struct framing_fields *fields)
{
	parser->remaining = parser->framing == HTTP1_LENGTH ? fields->length : 0;
	parser->chunk_state = 0;
	parser->chunk_digits = 0;
	parser->chunk_line = 0;
	parser->keep_alive = head->minor ? !fields->close : fields->keep_alive && !fields->close;
	head->content_length = parser->framing == HTTP1_NO_BODY ? 0 : parser->framing == HTTP1_LENGTH ? (int64_t)fields->length : -1;
}

int mesh_http1_parse_request(struct http1_parser *parser, struct mesh_slice bytes, struct arena *arena, struct http_head *head)
{
	struct framing_fields fields = {0};
	struct mesh_slice own = mesh_arena_slice(arena, bytes, NULL), line;
	int rc;

	memset(head, 0, sizeof(*head));
	if (!own.data)
		return MESH_ERROR_NOMEM;
	if (!next_line(&own, &line))
		return wrong(parser, 400, "bare CR, LF or NUL in the request line");
	rc = request_line(parser, line, head, &fields);
	if (!rc)
		rc = read_fields(parser, own, arena, head, &fields);
	if (!rc)
		rc = request_framing(parser, head, &fields);
	if (rc)
		return rc;
	if (fields.names_connection)
		drop_nominated(head, own);
	begin_body(parser, head, &fields);
	return 0;
}

static int status_line(struct http1_parser *parser, struct mesh_slice line, struct http_head *head)
{
	int status = 0, rc;

	if (line.len < 12 || line.data[8] != ' ' || (line.len > 12 && line.data[12] != ' '))
		return wrong(parser, 502, "malformed status line");
	rc = read_version(parser, mesh_slice_make(line.data, 8), head);
	if (rc)
		return rc;
	for (int i = 9; i < 12; i++) {
		if (line.data[i] < '0' || line.data[i] > '9')
			return wrong(parser, 502, "malformed status");
		status = status * 10 + (line.data[i] - '0');
	}
	if (status < 100 || status == 101)
		return wrong(parser, 502, "status not expected");
	head->status = status;
	return 0;
}

int mesh_http1_parse_response(struct http1_parser *parser, struct mesh_slice bytes, bool to_head, struct arena *arena,
			      struct http_head *head)
{
	struct framing_fields fields = {0};
	struct mesh_slice own = mesh_arena_slice(arena, bytes, NULL), line;
	int rc;

	memset(head, 0, sizeof(*head));
	if (!own.data)
		return MESH_ERROR_NOMEM;
	if (!next_line(&own, &line))
		return wrong(parser, 502, "bare CR, LF or NUL in the status line");
	rc = status_line(parser, line, head);
	if (!rc)
		rc = read_fields(parser, own, arena, head, &fields);
	if (!rc && fields.has_encoding && fields.has_length)
		rc = wrong(parser, 502, "both content-length and transfer-encoding");
	if (rc)
		return rc;
	if (fields.names_connection)
		drop_nominated(head, own);
	if (to_head || head->status < 200 || head->status == 204 || head->status == 304)
		parser->framing = HTTP1_NO_BODY;
	else if (fields.chunked)
		parser->framing = HTTP1_CHUNKED;
	else if (fields.has_length)
		parser->framing = fields.length ? HTTP1_LENGTH : HTTP1_NO_BODY;
	else
		parser->framing = HTTP1_UNTIL_CLOSE;
	begin_body(parser, head, &fields);
	if (parser->framing == HTTP1_UNTIL_CLOSE)
		parser->keep_alive = false;
	return 0;
}

static void skip(struct mesh_slice *input, size_t bytes)
{
	input->data += bytes;
	input->len -= bytes;
}

static enum http1_step take_data(struct http1_parser *parser, struct mesh_slice *input, struct mesh_slice *data)
{
	size_t n = parser->framing == HTTP1_UNTIL_CLOSE || input->len < parser->remaining ? input->len : (size_t)parser->remaining;

	*data = mesh_slice_make(input->data, n);
	skip(input, n);
	if (parser->framing != HTTP1_UNTIL_CLOSE)
		parser->remaining -= n;
	return HTTP1_DATA;
}

enum { CHUNK_SIZE, CHUNK_EXTENSION, CHUNK_LINE_END, CHUNK_BYTES, CHUNK_CR, CHUNK_LF, CHUNK_TRAILERS };

static enum http1_step body_wrong(struct http1_parser *parser, const char *what)
{
	wrong(parser, 400, what);
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
		if (is(name, refused[i]))
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

		if (!next_line(&rest, &line) || read_field(parser, line, &field) || ++count > parser->header_count_max)
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
