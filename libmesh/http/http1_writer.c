/* SPDX-License-Identifier: Apache-2.0 */
/* Serialises heads, chunks and trailers into a buffer; room is reserved once for a head, nothing is printed by format. */
#include "http/http1_writer.h"

#include <mesh/error.h>

#include "base/text.h"

static char *put(char *at, struct mesh_slice text)
{
	memcpy(at, text.data, text.len);
	return at + text.len;
}

static bool framing_field(struct mesh_slice name)
{
	switch (name.len) {
	case 2: /* of this hop; HTTP/2 alone sends it as it is */
		return mesh_slice_equal_fold(name, MESH_SLICE("te"));
	case 4:
		return mesh_slice_equal_fold(name, MESH_SLICE("host"));
	case 10:
		return mesh_slice_equal_fold(name, MESH_SLICE("connection")) ||
		       mesh_slice_equal_fold(name, MESH_SLICE("keep-alive"));
	case 14:
		return mesh_slice_equal_fold(name, MESH_SLICE("content-length"));
	case 17:
		return mesh_slice_equal_fold(name, MESH_SLICE("transfer-encoding"));
	default:
		return false;
	}
}

static int check_fields(const struct headers *headers, size_t *bytes)
{
	for (size_t i = 0; i < headers->count; i++) {
		const struct mesh_header *field = &headers->items[i];

		if (!mesh_header_name_valid(field->name) || !mesh_header_value_valid(field->value))
			return MESH_ERROR_INVALID;
		*bytes += field->name.len + field->value.len + 4;
	}
	return 0;
}

/* `upgrade`: that field is written from the head. */
static char *put_fields(char *at, const struct headers *headers, bool upgrade)
{
	for (size_t i = 0; i < headers->count; i++) {
		const struct mesh_header *field = &headers->items[i];

		if (framing_field(field->name) || (upgrade && mesh_slice_equal_fold(field->name, MESH_SLICE("upgrade"))))
			continue;
		at = put(at, field->name);
		*at++ = ':';
		*at++ = ' ';
		at = put(at, field->value);
		*at++ = '\r';
		*at++ = '\n';
	}
	return at;
}

static char *put_framing(char *at, const struct http_head *head, enum http1_body body, bool close)
{
	if (body == HTTP1_BODY_LENGTH) {
		at = put(at, MESH_SLICE("content-length: "));
		at += mesh_text_u64(at, (uint64_t)head->content_length);
		at = put(at, MESH_SLICE("\r\n"));
	} else if (body == HTTP1_BODY_CHUNKED) {
		at = put(at, MESH_SLICE("transfer-encoding: chunked\r\n"));
	}
	if (head->upgrade.len) {
		at = put(at, MESH_SLICE("connection: Upgrade\r\nupgrade: "));
		at = put(at, head->upgrade);
		at = put(at, MESH_SLICE("\r\n"));
	} else if (close) {
		at = put(at, MESH_SLICE("connection: close\r\n"));
	}
	return put(at, MESH_SLICE("\r\n"));
}

/* More than the fixed parts of any head: versions, host name, framing. */
static const size_t fixed_bytes = 160;

int mesh_http1_write_request(struct buf *out, const struct http_head *head, enum http1_body body, bool close)
{
	size_t bytes = fixed_bytes + head->method.len + head->path.len + head->authority.len + head->upgrade.len;
	char *start, *at;
	int rc = check_fields(&head->headers, &bytes);

	if (rc)
		return rc;
	if (!mesh_header_name_valid(head->method) || !mesh_header_word_valid(head->path) || !mesh_header_word_valid(head->authority) ||
	    !mesh_header_value_valid(head->upgrade))
		return MESH_ERROR_INVALID;
	start = at = mesh_buf_reserve(out, bytes);
	if (!at)
		return MESH_ERROR_NOMEM;
	at = put(at, head->method);
	*at++ = ' ';
	at = put(at, head->path);
	at = put(at, MESH_SLICE(" HTTP/1.1\r\nhost: "));
	at = put(at, head->authority);
	at = put(at, MESH_SLICE("\r\n"));
	at = put_fields(at, &head->headers, head->upgrade.len > 0);
	at = put_framing(at, head, body, close);
	mesh_buf_commit(out, (size_t)(at - start));
	return 0;
}

static struct mesh_slice reason(int status)
{
	switch (status) {
	case 100:
		return MESH_SLICE("Continue");
	case 101:
		return MESH_SLICE("Switching Protocols");
	case 103:
		return MESH_SLICE("Early Hints");
	case 200:
		return MESH_SLICE("OK");
	case 201:
		return MESH_SLICE("Created");
	case 202:
		return MESH_SLICE("Accepted");
	case 204:
		return MESH_SLICE("No Content");
	case 206:
		return MESH_SLICE("Partial Content");
	case 301:
		return MESH_SLICE("Moved Permanently");
	case 302:
		return MESH_SLICE("Found");
	case 304:
		return MESH_SLICE("Not Modified");
	case 307:
		return MESH_SLICE("Temporary Redirect");
	case 400:
		return MESH_SLICE("Bad Request");
	case 401:
		return MESH_SLICE("Unauthorized");
	case 403:
		return MESH_SLICE("Forbidden");
	case 404:
		return MESH_SLICE("Not Found");
	case 405:
		return MESH_SLICE("Method Not Allowed");
	case 408:
		return MESH_SLICE("Request Timeout");
	case 413:
		return MESH_SLICE("Payload Too Large");
	case 414:
		return MESH_SLICE("URI Too Long");
	case 426:
		return MESH_SLICE("Upgrade Required");
	case 429:
		return MESH_SLICE("Too Many Requests");
	case 431:
		return MESH_SLICE("Request Header Fields Too Large");
	case 500:
		return MESH_SLICE("Internal Server Error");
	case 501:
		return MESH_SLICE("Not Implemented");
	case 502:
		return MESH_SLICE("Bad Gateway");
	case 503:
		return MESH_SLICE("Service Unavailable");
	case 504:
		return MESH_SLICE("Gateway Timeout");
	case 505:
		return MESH_SLICE("HTTP Version Not Supported");
	default:
		return MESH_SLICE("Status");
	}
}

int mesh_http1_write_response(struct buf *out, const struct http_head *head, enum http1_body body, bool close)
{
	size_t bytes = fixed_bytes + head->upgrade.len;
	char *start, *at;
	int rc = check_fields(&head->headers, &bytes);

	if (rc)
		return rc;
	if (head->status < 100 || head->status > 999)
		return MESH_ERROR_INVALID;
	start = at = mesh_buf_reserve(out, bytes);
	if (!at)
		return MESH_ERROR_NOMEM;
	at = put(at, MESH_SLICE("HTTP/1.1 "));
	at += mesh_text_u64(at, (uint64_t)head->status);
	*at++ = ' ';
	at = put(at, reason(head->status));
	at = put(at, MESH_SLICE("\r\n"));
	at = put_fields(at, &head->headers, head->upgrade.len > 0);
	at = put_framing(at, head, body, close);
	mesh_buf_commit(out, (size_t)(at - start));
	return 0;
}

int mesh_http1_write_chunk(struct buf *out, struct mesh_slice data)
{
	static const char digits[] = "0123456789abcdef";
	char *start, *at;
	unsigned shift = 60;

	if (!data.len)
		return 0;
	start = at = mesh_buf_reserve(out, data.len + 20);
	if (!at)
		return MESH_ERROR_NOMEM;
	while (shift && !(data.len >> shift & 15))
		shift -= 4;
	for (;; shift -= 4) {
		*at++ = digits[data.len >> shift & 15];
		if (!shift)
			break;
	}
	at = put(at, MESH_SLICE("\r\n"));
	at = put(at, data);
	at = put(at, MESH_SLICE("\r\n"));
	mesh_buf_commit(out, (size_t)(at - start));
	return 0;
}

int mesh_http1_write_last_chunk(struct buf *out, const struct headers *trailers)
{
	size_t bytes = 8;
	char *start, *at;
	int rc = trailers ? check_fields(trailers, &bytes) : 0;

	if (rc)
		return rc;
	start = at = mesh_buf_reserve(out, bytes);
	if (!at)
		return MESH_ERROR_NOMEM;
	at = put(at, MESH_SLICE("0\r\n"));
	if (trailers)
		at = put_fields(at, trailers, false);
	at = put(at, MESH_SLICE("\r\n"));
	mesh_buf_commit(out, (size_t)(at - start));
	return 0;
}
