/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides what is a well-formed field line, which fields frame the message or belong to this hop alone, and which of
 * them the application does not see. Repeated lengths, folded or bare lines, odd characters: refused. Refuses to know
 * first lines and what any other field means.
 */
#include "http/http1_field.h"

#include <mesh/error.h>

bool mesh_http1_next_line(struct mesh_slice *rest, struct mesh_slice *line)
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

static void read_connection(struct mesh_slice value, struct framing_fields *fields)
{
	while (value.data) {
		struct mesh_slice option = mesh_slice_trim(mesh_slice_cut(&value, ','));

		if (http1_is(option, MESH_SLICE("close")))
			fields->close = true;
		else if (http1_is(option, MESH_SLICE("keep-alive")))
			fields->keep_alive = true;
		else if (http1_is(option, MESH_SLICE("upgrade")))
			fields->connection_upgrade = true;
		else if (option.len)
			fields->names_connection = true;
	}
}

static int read_length(struct http1_parser *parser, struct mesh_slice value, struct framing_fields *fields)
{
	if (fields->has_length)
		return mesh_http1_wrong(parser, 400, "content-length repeated");
	if (!mesh_slice_to_u64(value, &fields->length) || fields->length > INT64_MAX)
		return mesh_http1_wrong(parser, 400, "content-length is not a number");
	fields->has_length = true;
	return 0;
}

static int read_encoding(struct http1_parser *parser, struct mesh_slice value, struct framing_fields *fields)
{
	if (fields->has_encoding)
		return mesh_http1_wrong(parser, 400, "transfer-encoding repeated");
	fields->has_encoding = true;
	fields->chunked = http1_is(value, MESH_SLICE("chunked"));
	return fields->chunked ? 0 : mesh_http1_wrong(parser, 501, "transfer-encoding other than chunked");
}

static int read_upgrade(struct http1_parser *parser, struct mesh_slice value, struct framing_fields *fields)
{
	if (fields->upgrade.data)
		return mesh_http1_wrong(parser, 400, "upgrade repeated");
	fields->upgrade = value;
	return 0;
}

/* Fields that belong to this connection are read and left out; *keep says whether the application sees it. */
static int read_special(struct http1_parser *parser, const struct mesh_header *field, struct framing_fields *fields,
			struct http_head *head, bool *keep)
{
	struct mesh_slice name = field->name, value = field->value;

	*keep = true;
	switch (name.len) {
	case 2: /* te: only what gRPC asks for survives */
		if (http1_is(name, MESH_SLICE("te")))
			*keep = http1_is(value, MESH_SLICE("trailers"));
		return 0;
	case 4:
		if (!http1_is(name, MESH_SLICE("host")))
			return 0;
		*keep = false;
		if (fields->has_host)
			return mesh_http1_wrong(parser, 400, "host repeated");
		fields->has_host = true;
		fields->host = value;
		return 0;
	case 6:
		if (http1_is(name, MESH_SLICE("expect")) && http1_is(value, MESH_SLICE("100-continue"))) {
			head->expects_continue = true;
			*keep = false;
		}
		return 0;
	case 7:
		*keep = !http1_is(name, MESH_SLICE("upgrade")) && !http1_is(name, MESH_SLICE("trailer"));
		return http1_is(name, MESH_SLICE("upgrade")) ? read_upgrade(parser, value, fields) : 0;
	case 10:
		if (http1_is(name, MESH_SLICE("connection"))) {
			read_connection(value, fields);
			*keep = false;
		} else if (http1_is(name, MESH_SLICE("keep-alive"))) {
			*keep = false;
		}
		return 0;
	case 14:
		return http1_is(name, MESH_SLICE("content-length")) ? read_length(parser, value, fields) : 0;
	case 16:
		*keep = !http1_is(name, MESH_SLICE("proxy-connection"));
		return 0;
	case 17:
		if (!http1_is(name, MESH_SLICE("transfer-encoding")))
			return 0;
		*keep = false;
		return read_encoding(parser, value, fields);
	default:
		return 0;
	}
}

int mesh_http1_read_field(struct http1_parser *parser, struct mesh_slice line, struct mesh_header *field)
{
	ptrdiff_t colon = mesh_slice_find(line, ':');

	if (line.data[0] == ' ' || line.data[0] == '\t')
		return mesh_http1_wrong(parser, 400, "folded header line");
	if (colon <= 0)
		return mesh_http1_wrong(parser, 400, "header line without a name");
	field->name = mesh_slice_make(line.data, (size_t)colon);
	field->value = mesh_slice_trim(mesh_slice_make(line.data + colon + 1, line.len - (size_t)colon - 1));
	if (!mesh_header_name_valid(field->name))
		return mesh_http1_wrong(parser, 400, "invalid header name");
	if (!mesh_header_value_valid(field->value))
		return mesh_http1_wrong(parser, 400, "invalid header value");
	return 0;
}

int mesh_http1_read_fields(struct http1_parser *parser, struct mesh_slice rest, struct arena *arena,
			   struct http_head *head, struct framing_fields *fields)
{
	size_t count = 0;

	while (rest.len > 2) {
		struct mesh_slice line;
		struct mesh_header field;
		bool keep;
		int rc;

		if (!mesh_http1_next_line(&rest, &line))
			return mesh_http1_wrong(parser, 400, "bare CR, LF or NUL in the head");
		if (++count > parser->header_count_max)
			return mesh_http1_wrong(parser, 431, "too many headers");
		rc = mesh_http1_read_field(parser, line, &field);
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
void mesh_http1_drop_nominated(struct http_head *head, struct mesh_slice bytes)
{
	static const struct mesh_slice kept[] = {
		{"content-length", 14}, {"host", 4}, {"authorization", 13}, {"cookie", 6}, {"te", 2},
	};
	struct mesh_slice rest = bytes, line;

	while (rest.len > 2 && mesh_http1_next_line(&rest, &line)) {
		struct mesh_slice value;

		if (!mesh_slice_prefix_fold(line, MESH_SLICE("connection:")))
			continue;
		value = mesh_slice_make(line.data + 11, line.len - 11);
		while (value.data) {
			struct mesh_slice name = mesh_slice_trim(mesh_slice_cut(&value, ','));
			bool keep = mesh_slice_prefix_fold(name, MESH_SLICE("x-"));

			for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++)
				keep |= http1_is(name, kept[i]);
			if (name.len && !keep)
				mesh_headers_remove(&head->headers, name);
		}
	}
}
