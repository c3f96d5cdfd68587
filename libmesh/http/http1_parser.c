/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides where an HTTP/1.1 head ends, what its first line says and how its body is framed. Both lengths, odd targets
 * and versions: refused, with the status to answer. Refuses to know sockets and what messages mean.
 */
#include "http/http1_parser.h"

#include <mesh/error.h>

#include "http/http1_field.h"

static const size_t uri_max = 32768;

void mesh_http1_parser_init(struct http1_parser *parser, size_t head_bytes_max, size_t header_count_max, bool http_10)
{
	memset(parser, 0, sizeof(*parser));
	parser->head_bytes_max = head_bytes_max;
	parser->header_count_max = header_count_max;
	parser->http_10 = http_10;
}

int mesh_http1_wrong(struct http1_parser *parser, int status, const char *what)
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
			return mesh_http1_wrong(parser, 400, "bare LF in the head");
		if (at >= 3 && lf[-2] == '\n') {
			if (at + 1 > parser->head_bytes_max)
				return mesh_http1_wrong(parser, 431, "head too large");
			parser->scanned = 0;
			return (ssize_t)at + 1;
		}
		at++;
	}
	parser->scanned = input.len;
	if (input.len > parser->head_bytes_max)
		return mesh_http1_wrong(parser, 431, "head too large");
	return 0;
}

/* "HTTP/1.1" or "HTTP/1.0" */
static int read_version(struct http1_parser *parser, struct mesh_slice text, struct http_head *head)
{
	if (text.len != 8 || memcmp(text.data, "HTTP/", 5) || text.data[6] != '.')
		return mesh_http1_wrong(parser, 400, "no HTTP version");
	if (text.data[5] != '1' || text.data[7] < '0' || text.data[7] > '9')
		return mesh_http1_wrong(parser, 505, "HTTP version not supported");
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
		return mesh_http1_wrong(parser, 414, "request target too long");
	for (size_t i = 0; i < target.len; i++)
		if ((unsigned char)target.data[i] <= ' ' || target.data[i] == 0x7f || target.data[i] == '#')
			return mesh_http1_wrong(parser, 400, "invalid character in the request target");
	head->path = target;
	if (target.len && target.data[0] == '/')
		return 0;
	if (mesh_slice_equal(target, MESH_SLICE("*")) && mesh_slice_equal(head->method, MESH_SLICE("OPTIONS")))
		return 0;
	if (mesh_slice_equal(head->method, MESH_SLICE("CONNECT")))
		return mesh_http1_wrong(parser, 405, "CONNECT is not served here");
	if (mesh_slice_prefix_fold(rest, MESH_SLICE("http://")))
		rest.data += 7, rest.len -= 7;
	else if (mesh_slice_prefix_fold(rest, MESH_SLICE("https://")))
		rest.data += 8, rest.len -= 8;
	else
		return mesh_http1_wrong(parser, 400, "invalid request target");
	for (end = 0; end < rest.len && rest.data[end] != '/' && rest.data[end] != '?'; end++)
		;
	head->authority = mesh_slice_make(rest.data, end);
	if (!end || !host_valid(head->authority))
		return mesh_http1_wrong(parser, 400, "invalid host in the request target");
	head->path = mesh_slice_make(rest.data + end, rest.len - end);
	if (!head->path.len)
		head->path = MESH_SLICE("/");
	else if (head->path.data[0] == '?')
		return mesh_http1_wrong(parser, 400, "request target without a path");
	return 0;
}

static int request_line(struct http1_parser *parser, struct mesh_slice line, struct http_head *head,
			struct framing_fields *fields)
{
	ptrdiff_t first = mesh_slice_find(line, ' '), last = mesh_slice_find_last(line, ' ');
	int rc;

	if (first <= 0 || last == first || first > 64)
		return mesh_http1_wrong(parser, 400, "malformed request line");
	head->method = mesh_slice_make(line.data, (size_t)first);
	if (!mesh_header_name_valid(head->method))
		return mesh_http1_wrong(parser, 400, "invalid method");
	rc = read_version(parser, mesh_slice_make(line.data + last + 1, line.len - (size_t)last - 1), head);
	if (rc)
		return rc;
	return read_target(parser, mesh_slice_make(line.data + first + 1, (size_t)(last - first) - 1), head, fields);
}

static int request_framing(struct http1_parser *parser, struct http_head *head, const struct framing_fields *fields)
{
	if (!head->minor && !parser->http_10)
		return mesh_http1_wrong(parser, 426, "HTTP/1.0 is not served");
	if (head->minor && !fields->has_host)
		return mesh_http1_wrong(parser, 400, "no host");
	if (fields->has_host && !host_valid(fields->host))
		return mesh_http1_wrong(parser, 400, "invalid host");
	if (!head->authority.data)
		head->authority = fields->host.data ? fields->host : MESH_SLICE("");
	if (fields->has_encoding && fields->has_length)
		return mesh_http1_wrong(parser, 400, "both content-length and transfer-encoding");
	if (fields->has_encoding && !head->minor)
		return mesh_http1_wrong(parser, 400, "transfer-encoding in HTTP/1.0");
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

/* The protocol named, in lower case; `bytes` of the head are the arena's. */
static struct mesh_slice upgrade_token(const struct framing_fields *fields)
{
	char *at = (char *)fields->upgrade.data;

	for (size_t i = 0; i < fields->upgrade.len; i++)
		at[i] = mesh_char_lower(at[i]);
	return fields->upgrade;
}

/*
 * A request for another protocol. As Envoy has it, nothing behind its head is HTTP any more, whatever framing it claims
 * and whatever is answered: a proxy before us may take it for tunnelled bytes, so it must never be read as a request.
 */
static void request_upgrade(struct http1_parser *parser, struct http_head *head, const struct framing_fields *fields)
{
	if (!fields->connection_upgrade || !fields->upgrade.len)
		return;
	if (http1_is(fields->upgrade, MESH_SLICE("h2c"))) { /* not offered; the request goes on without it */
		mesh_headers_remove(&head->headers, MESH_SLICE("http2-settings"));
		return;
	}
	parser->keep_alive = false;
	if (!head->minor) /* HTTP/1.0 has no such thing */
		return;
	head->upgrade = upgrade_token(fields);
	head->content_length = -1;
	parser->framing = HTTP1_UNTIL_CLOSE;
}

int mesh_http1_parse_request(struct http1_parser *parser, struct mesh_slice bytes, struct arena *arena, struct http_head *head)
{
	struct framing_fields fields = {0};
	struct mesh_slice own = mesh_arena_slice(arena, bytes, NULL), line;
	int rc;

	memset(head, 0, sizeof(*head));
	if (!own.data)
		return MESH_ERROR_NOMEM;
	if (!mesh_http1_next_line(&own, &line))
		return mesh_http1_wrong(parser, 400, "bare CR, LF or NUL in the request line");
	rc = request_line(parser, line, head, &fields);
	if (!rc)
		rc = mesh_http1_read_fields(parser, own, arena, head, &fields);
	if (!rc)
		rc = request_framing(parser, head, &fields);
	if (rc)
		return rc;
	if (fields.names_connection)
		mesh_http1_drop_nominated(head, own);
	begin_body(parser, head, &fields);
	request_upgrade(parser, head, &fields);
	return 0;
}

static int status_line(struct http1_parser *parser, struct mesh_slice line, struct http_head *head)
{
	int status = 0, rc;

	if (line.len < 12 || line.data[8] != ' ' || (line.len > 12 && line.data[12] != ' '))
		return mesh_http1_wrong(parser, 502, "malformed status line");
	rc = read_version(parser, mesh_slice_make(line.data, 8), head);
	if (rc)
		return rc;
	for (int i = 9; i < 12; i++) {
		if (line.data[i] < '0' || line.data[i] > '9')
			return mesh_http1_wrong(parser, 502, "malformed status");
		status = status * 10 + (line.data[i] - '0');
	}
	if (status < 100)
		return mesh_http1_wrong(parser, 502, "status not expected");
	head->status = status;
	return 0;
}

static int response_framing(struct http1_parser *parser, const struct http_head *head, bool to_head,
			    const struct framing_fields *fields)
{
	bool bodiless = head->status < 200 || head->status == 204;

	if (fields->has_encoding && fields->has_length)
		return mesh_http1_wrong(parser, 502, "both content-length and transfer-encoding");
	if (bodiless && (fields->has_encoding || fields->length))
		return mesh_http1_wrong(parser, 502, "a response that has no body announces one");
	if (head->status == 101) {
		if (!fields->connection_upgrade || !fields->upgrade.len || !head->minor)
			return mesh_http1_wrong(parser, 502, "101 without the protocol it changes to");
		parser->framing = HTTP1_UNTIL_CLOSE;
	} else if (bodiless || to_head || head->status == 304) {
		parser->framing = HTTP1_NO_BODY;
	} else if (fields->chunked) {
		parser->framing = HTTP1_CHUNKED;
	} else if (fields->has_length) {
		parser->framing = fields->length ? HTTP1_LENGTH : HTTP1_NO_BODY;
	} else {
		parser->framing = HTTP1_UNTIL_CLOSE;
	}
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
	if (!mesh_http1_next_line(&own, &line))
		return mesh_http1_wrong(parser, 502, "bare CR, LF or NUL in the status line");
	rc = status_line(parser, line, head);
	if (!rc)
		rc = mesh_http1_read_fields(parser, own, arena, head, &fields);
	if (!rc)
		rc = response_framing(parser, head, to_head, &fields);
	if (rc)
		return rc;
	if (fields.names_connection)
		mesh_http1_drop_nominated(head, own);
	begin_body(parser, head, &fields);
	if (parser->framing == HTTP1_UNTIL_CLOSE)
		parser->keep_alive = false;
	if (head->status == 101)
		head->upgrade = upgrade_token(&fields);
	return 0;
}
