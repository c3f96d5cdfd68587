/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides what a header block says once it is whole: which fields make the head, which the application sees, what is
 * too large, and what HTTP/1.1 would refuse too. nghttp2 has checked names, values, and the order and number of pseudo
 * fields before. Refuses to know frames and streams.
 */
#include "http/mux_http2.h"

/* A small block can say very much by index; looking at all of it is not worth an answer. Times head_bytes_max. */
enum { FAR_TOO_LARGE = 4 };

struct record {
	uint32_t name_len, value_len;
};

void mesh_mux_http2_block_begin(struct http2 *http2)
{
	struct buf bytes = http2->block.bytes;

	mesh_buf_clear(&bytes);
	memset(&http2->block, 0, sizeof(http2->block));
	http2->block.bytes = bytes;
}

int mesh_mux_http2_block_add(struct http2 *http2, struct mesh_slice name, struct mesh_slice value)
{
	struct http2_block_state *block = &http2->block;
	struct record record;
	char *at;

	value = mesh_slice_trim(value);
	block->counted += name.len + value.len;
	block->large |= block->counted > http2->base.limits.head_bytes_max;
	if (block->counted / FAR_TOO_LARGE > http2->base.limits.head_bytes_max)
		return MESH_ERROR_TOO_LARGE;
	/* a browser's cookies come in as many crumbs as it likes; they become one field */
	if (!mesh_slice_equal(name, MESH_SLICE("cookie")) || !block->cookies++)
		block->many |= ++block->fields > http2->base.limits.header_count_max;
	if (block->large || block->many)
		return 0;
	record.name_len = (uint32_t)name.len;
	record.value_len = (uint32_t)value.len;
	at = mesh_buf_reserve(&block->bytes, sizeof(record) + name.len + value.len);
	if (!at)
		return MESH_ERROR_NOMEM;
	memcpy(at, &record, sizeof(record));
	memcpy(at + sizeof(record), name.data, name.len);
	if (value.len)
		memcpy(at + sizeof(record) + name.len, value.data, value.len);
	mesh_buf_commit(&block->bytes, sizeof(record) + name.len + value.len);
	return 0;
}

static bool next_field(struct mesh_slice *rest, struct mesh_header *field)
{
	struct record record;

	if (!rest->len)
		return false;
	memcpy(&record, rest->data, sizeof(record));
	field->name = mesh_slice_make(rest->data + sizeof(record), record.name_len);
	field->value = mesh_slice_make(field->name.data + record.name_len, record.value_len);
	rest->data = field->value.data + record.value_len;
	rest->len -= sizeof(record) + record.name_len + record.value_len;
	return true;
}

static bool is(struct mesh_slice name, struct mesh_slice known)
{
	return mesh_slice_equal(name, known);
}

/* Not part of what the application sees: it is the head, or framing, or this hop's. */
static bool special(struct http2_block_state *block, const struct mesh_header *field)
{
	struct mesh_slice name = field->name, value = field->value;

	switch (name.len) {
	case 4:
		if (!is(name, MESH_SLICE("host")))
			return false;
		block->host = value;
		return true;
	case 5:
		if (!is(name, MESH_SLICE(":path")))
			return false;
		block->path = value;
		return true;
	case 6:
		if (is(name, MESH_SLICE("expect")) && mesh_slice_equal_fold(value, MESH_SLICE("100-continue"))) {
			block->expects_continue = true;
			return true;
		}
		if (is(name, MESH_SLICE("cookie"))) {
			block->cookies++;
			block->cookie_bytes += value.len + 2;
		}
		return false;
	case 7:
		if (is(name, MESH_SLICE(":method")))
			block->method = value;
		else if (is(name, MESH_SLICE(":scheme")))
			block->scheme = value;
		else if (is(name, MESH_SLICE(":status")))
			block->status = (value.data[0] - '0') * 100 + (value.data[1] - '0') * 10 + value.data[2] - '0';
		else
			return is(name, MESH_SLICE("trailer"));
		return true;
	case 9:
		if (!is(name, MESH_SLICE(":protocol")))
			return false;
		block->protocol = value;
		return true;
	case 10:
		if (!is(name, MESH_SLICE(":authority")))
			return false;
		block->authority = value;
		return true;
	case 14:
		if (is(name, MESH_SLICE("content-length")))
			block->length = value;
		return false;
	default:
		return false;
	}
}

static bool authority_valid(struct mesh_slice authority)
{
	for (size_t i = 0; i < authority.len; i++) {
		unsigned char c = (unsigned char)authority.data[i];

		if (c <= ' ' || c >= 0x7f || strchr("/?#@\\\"<>^`{|}", c))
			return false;
	}
	return authority.len > 0;
}

static bool path_valid(const struct http2_block_state *block)
{
	for (size_t i = 0; i < block->path.len; i++)
		if ((unsigned char)block->path.data[i] <= ' ' || block->path.data[i] == 0x7f ||
		    block->path.data[i] == '#')
			return false;
	if (block->path.len && block->path.data[0] == '/')
		return true;
	return is(block->path, MESH_SLICE("*")) && is(block->method, MESH_SLICE("OPTIONS"));
}

static int check_request(struct http2_block_state *block, const char **why)
{
	bool tunnel = is(block->method, MESH_SLICE("CONNECT")) && !block->protocol.data;

	*why = "HTTP/2: request without a method";
	if (!block->method.len || block->method.len > 64)
		return 400;
	*why = "HTTP/2: host is not what :authority says";
	if (block->authority.data && block->host.data && !mesh_slice_equal_fold(block->authority, block->host))
		return 400;
	if (!block->authority.data)
		block->authority = block->host;
	*why = "HTTP/2: invalid :authority or host";
	if (!authority_valid(block->authority))
		return 400;
	*why = "HTTP/2: invalid :path";
	if (!tunnel && !path_valid(block))
		return 400;
	*why = "HTTP/2: :scheme other than http and https";
	if (!tunnel && !mesh_slice_equal_fold(block->scheme, MESH_SLICE("http")) &&
	    !mesh_slice_equal_fold(block->scheme, MESH_SLICE("https")))
		return 400;
	return 0;
}

int mesh_mux_http2_block_check(struct http2 *http2, enum http2_block_kind kind, const char **why)
{
	struct http2_block_state *block = &http2->block;
	struct mesh_slice rest = mesh_buf_slice(&block->bytes);
	struct mesh_header field;

	*why = block->many ? "HTTP/2: too many headers" : "HTTP/2: headers too large";
	if (block->large || block->many)
		return 431;
	block->cookies = 0;
	while (next_field(&rest, &field))
		if (!special(block, &field) && (block->cookies <= 1 || !is(field.name, MESH_SLICE("cookie"))))
			block->regular++;
	*why = "HTTP/2: status not expected";
	if (kind == HTTP2_RESPONSE && (block->status < 100 || block->status > 999))
		return 502;
	return kind == HTTP2_REQUEST ? check_request(block, why) : 0;
}

/* The crumbs, in a row. */
static struct mesh_slice join_cookies(const struct http2_block_state *block, struct mesh_slice rest,
				      struct arena *arena)
{
	char *text = mesh_arena_alloc(arena, block->cookie_bytes), *at = text;
	struct mesh_header field;

	if (!text)
		return (struct mesh_slice){NULL, 0};
	while (next_field(&rest, &field))
		if (is(field.name, MESH_SLICE("cookie"))) {
			if (at != text) {
				*at++ = ';';
				*at++ = ' ';
			}
			memcpy(at, field.value.data, field.value.len);
			at += field.value.len;
		}
	return mesh_slice_make(text, (size_t)(at - text));
}

static int take_fields(struct http2_block_state *block, struct mesh_slice bytes, struct arena *arena,
		       struct headers *headers)
{
	static const size_t spare = 8; /* owners add some of their own */
	struct http2_block_state unused = {.cookies = 0};
	struct mesh_slice rest = bytes;
	struct mesh_header field;
	bool joined = false;

	mesh_headers_clear(headers);
	headers->items = mesh_arena_alloc(arena, (block->regular + spare) * sizeof(field));
	if (!headers->items)
		return MESH_ERROR_NOMEM;
	headers->room = block->regular + spare;
	while (next_field(&rest, &field)) {
		if (special(&unused, &field))
			continue;
		if (block->cookies > 1 && is(field.name, MESH_SLICE("cookie"))) {
			if (joined)
				continue;
			joined = true;
			field.value = join_cookies(block, bytes, arena);
			if (!field.value.data)
				return MESH_ERROR_NOMEM;
		}
		headers->items[headers->count++] = field;
	}
	return 0;
}

/* The slice of `from` in a copy that begins at `to`. */
static struct mesh_slice moved(struct mesh_slice slice, const char *from, const char *to)
{
	return slice.data ? mesh_slice_make(to + (slice.data - from), slice.len) : (struct mesh_slice){NULL, 0};
}

int mesh_mux_http2_block_head(struct http2 *http2, struct arena *arena, struct http_head *head, bool end)
{
	struct http2_block_state *block = &http2->block;
	struct mesh_slice bytes = mesh_buf_slice(&block->bytes), own = mesh_arena_slice(arena, bytes, NULL);
	uint64_t length;

	memset(head, 0, sizeof(*head));
	if (!own.data)
		return MESH_ERROR_NOMEM;
	head->method = moved(block->method, bytes.data, own.data);
	head->scheme = moved(block->scheme, bytes.data, own.data);
	head->authority = moved(block->authority, bytes.data, own.data);
	head->path = block->path.data ? moved(block->path, bytes.data, own.data) : MESH_SLICE("");
	head->upgrade = moved(block->protocol, bytes.data, own.data);
	head->status = block->status;
	head->minor = 1; /* as new as HTTP/1.1 at least */
	head->expects_continue = block->expects_continue && !end;
	head->content_length = end ? 0 : mesh_slice_to_u64(block->length, &length) ? (int64_t)length : -1;
	if (head->upgrade.data)
		head->method = MESH_SLICE("GET");
	return take_fields(block, own, arena, &head->headers);
}

int mesh_mux_http2_block_trailers(struct http2 *http2, struct arena *arena, struct headers *trailers)
{
	struct mesh_slice own = mesh_arena_slice(arena, mesh_buf_slice(&http2->block.bytes), NULL);

	return own.data || !mesh_buf_len(&http2->block.bytes) ? take_fields(&http2->block, own, arena, trailers)
							      : MESH_ERROR_NOMEM;
}
