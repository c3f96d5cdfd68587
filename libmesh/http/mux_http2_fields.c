/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides which fields leave for a head or trailers: pseudo fields first, what belongs to a connection of HTTP/1.1
 * never. Names are lowered by nghttp2 when it copies them. Refuses to know streams and what is sent when.
 */
#include "http/mux_http2.h"

#include "base/text.h"

struct record {
	uint32_t name_len, value_len;
};

static bool skipped(struct mesh_slice name, struct mesh_slice value)
{
	switch (name.len) {
	case 2:
		return mesh_slice_equal_fold(name, MESH_SLICE("te")) &&
		       !mesh_slice_equal_fold(value, MESH_SLICE("trailers"));
	case 4:
		return mesh_slice_equal_fold(name, MESH_SLICE("host"));
	case 7:
		return mesh_slice_equal_fold(name, MESH_SLICE("upgrade"));
	case 10:
		return mesh_slice_equal_fold(name, MESH_SLICE("connection")) ||
		       mesh_slice_equal_fold(name, MESH_SLICE("keep-alive"));
	case 14:
		return mesh_slice_equal_fold(name, MESH_SLICE("content-length")); /* head->content_length says it */
	case 16:
		return mesh_slice_equal_fold(name, MESH_SLICE("proxy-connection"));
	case 17:
		return mesh_slice_equal_fold(name, MESH_SLICE("transfer-encoding"));
	default:
		return false;
	}
}

static int make_room(struct http2 *http2, size_t count)
{
	size_t room = http2->field_room ? http2->field_room : 32;
	nghttp2_nv *fields;

	while (room < count && room < SIZE_MAX / 4 / sizeof(*fields))
		room *= 2;
	if (room == http2->field_room)
		return 0;
	fields = room < count ? NULL : mesh_mem_resize(http2->base.mem, http2->fields, room * sizeof(*fields));
	if (!fields)
		return MESH_ERROR_NOMEM;
	http2->fields = fields;
	http2->field_room = room;
	return 0;
}

/*
 * What has another value each time would, in the table that both ends keep, only drive out what comes again. It goes there
 * once, for its name.
 */
static uint8_t field_flags(struct http2 *http2, struct mesh_slice name)
{
	static const struct mesh_slice unique[] = {{"x-request-id", 12}, {"traceparent", 11}, {"tracestate", 10},
						   {"grpc-timeout", 12}, {"x-b3-traceid", 12}, {"x-b3-spanid", 11},
						   {"x-b3-parentspanid", 17}};
	static const uint32_t lengths = 1u << 10 | 1u << 11 | 1u << 12 | 1u << 17;

	if (name.len > 17 || !(lengths >> name.len & 1))
		return NGHTTP2_NV_FLAG_NONE;
	for (unsigned i = 0; i < sizeof(unique) / sizeof(unique[0]); i++) {
		if (name.len != unique[i].len || !mesh_slice_equal_fold(name, unique[i]))
			continue;
		if (http2->unique_sent & 1u << i)
			return NGHTTP2_NV_FLAG_NO_INDEX;
		http2->unique_sent |= 1u << i;
	}
	return NGHTTP2_NV_FLAG_NONE;
}

static nghttp2_nv *put(nghttp2_nv *at, struct mesh_slice name, struct mesh_slice value)
{
	at->name = (uint8_t *)name.data;
	at->namelen = name.len;
	at->value = (uint8_t *)value.data;
	at->valuelen = value.len;
	at->flags = NGHTTP2_NV_FLAG_NONE;
	return at + 1;
}

static int put_headers(struct http2 *http2, nghttp2_nv **at, const struct headers *headers)
{
	for (size_t i = 0; i < headers->count; i++) {
		struct mesh_slice name = headers->items[i].name, value = headers->items[i].value;

		if (!mesh_header_name_valid(name) || !mesh_header_value_valid(value))
			return MESH_ERROR_INVALID;
		if (skipped(name, value))
			continue;
		*at = put(*at, name, value.data ? value : MESH_SLICE(""));
		(*at)[-1].flags = field_flags(http2, name);
	}
	return 0;
}

/* The digits live in http2->digits until nghttp2 copied them. */
static nghttp2_nv *put_length(struct http2 *http2, nghttp2_nv *at, int64_t length)
{
	size_t len = mesh_text_u64(http2->digits, (uint64_t)length);

	return put(at, MESH_SLICE("content-length"), mesh_slice_make(http2->digits, len));
}

ssize_t mesh_mux_http2_request_fields(struct http2 *http2, const struct http_head *head, bool with_length)
{
	struct mesh_slice scheme = head->scheme.len ? head->scheme : http2->scheme;
	bool connect = mesh_slice_equal(head->method, MESH_SLICE("CONNECT"));
	nghttp2_nv *at;
	int rc;

	if (!mesh_header_name_valid(head->method) || !mesh_header_word_valid(head->authority) ||
	    (!connect && !mesh_header_word_valid(head->path)) || (head->upgrade.len && !mesh_header_name_valid(head->upgrade)))
		return MESH_ERROR_INVALID;
	if (make_room(http2, head->headers.count + 6))
		return MESH_ERROR_NOMEM;
	at = put(http2->fields, MESH_SLICE(":method"), head->upgrade.len ? MESH_SLICE("CONNECT") : head->method);
	if (head->upgrade.len)
		at = put(at, MESH_SLICE(":protocol"), head->upgrade);
	if (!connect) {
		at = put(at, MESH_SLICE(":scheme"), scheme);
		at = put(at, MESH_SLICE(":path"), head->path);
	}
	at = put(at, MESH_SLICE(":authority"), head->authority);
	rc = put_headers(http2, &at, &head->headers);
	if (rc)
		return rc;
	if (with_length)
		at = put_length(http2, at, head->content_length);
	return at - http2->fields;
}

ssize_t mesh_mux_http2_response_fields(struct http2 *http2, const struct http_head *head, int status, bool with_length)
{
	nghttp2_nv *at;
	int rc;

	if (status < 100 || status > 999)
		return MESH_ERROR_INVALID;
	if (make_room(http2, head->headers.count + 2))
		return MESH_ERROR_NOMEM;
	http2->status[0] = (char)('0' + status / 100);
	http2->status[1] = (char)('0' + status / 10 % 10);
	http2->status[2] = (char)('0' + status % 10);
	at = put(http2->fields, MESH_SLICE(":status"), mesh_slice_make(http2->status, sizeof(http2->status)));
	rc = put_headers(http2, &at, &head->headers);
	if (rc)
		return rc;
	if (with_length)
		at = put_length(http2, at, head->content_length);
	return at - http2->fields;
}

int mesh_mux_http2_keep_trailers(struct buf *records, const struct headers *trailers)
{
	mesh_buf_clear(records);
	for (size_t i = 0; i < trailers->count; i++) {
		struct mesh_slice name = trailers->items[i].name, value = trailers->items[i].value;
		struct record record = {(uint32_t)name.len, (uint32_t)value.len};
		char *at;

		if (!mesh_header_name_valid(name) || !mesh_header_value_valid(value) || name.len > UINT32_MAX ||
		    value.len > UINT32_MAX)
			return MESH_ERROR_INVALID;
		if (skipped(name, value))
			continue;
		at = mesh_buf_reserve(records, sizeof(record) + name.len + value.len);
		if (!at)
			return MESH_ERROR_NOMEM;
		memcpy(at, &record, sizeof(record));
		memcpy(at + sizeof(record), name.data, name.len);
		if (value.len)
			memcpy(at + sizeof(record) + name.len, value.data, value.len);
		mesh_buf_commit(records, sizeof(record) + name.len + value.len);
	}
	return 0;
}

ssize_t mesh_mux_http2_trailer_fields(struct http2 *http2, struct mesh_slice records)
{
	nghttp2_nv *at = http2->fields;

	while (records.len) {
		size_t count = (size_t)(at - http2->fields);
		struct mesh_slice name;
		struct record record;

		if (make_room(http2, count + 1))
			return MESH_ERROR_NOMEM;
		memcpy(&record, records.data, sizeof(record));
		name = mesh_slice_make(records.data + sizeof(record), record.name_len);
		at = put(http2->fields + count, name, mesh_slice_make(name.data + name.len, record.value_len));
		records.data = name.data + name.len + record.value_len;
		records.len -= sizeof(record) + record.name_len + record.value_len;
	}
	return at - http2->fields;
}
