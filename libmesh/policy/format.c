/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides what each command operator stands for in a request, as Envoy decides it. Refuses to know who carries the request:
 * addresses, certificates and counts are asked for.
 */
#include "policy/format.h"

#include "base/date.h"

#define PIECES_ON_STACK 16

static const size_t told_bytes_max = 1 << 20; /* of what a request says: it may be told many times over */

static struct mesh_slice absent(void)
{
	return (struct mesh_slice){NULL, 0};
}

static struct mesh_slice bare(struct mesh_slice path)
{
	size_t len = 0;

	while (len < path.len && path.data[len] != '?' && path.data[len] != '#')
		len++;
	return mesh_slice_make(path.data, len);
}

static struct mesh_slice request_header(const struct format_facts *facts, struct mesh_slice name)
{
	if (mesh_slice_equal(name, MESH_SLICE(":path")))
		return facts->path ? *facts->path : absent();
	if (mesh_slice_equal(name, MESH_SLICE(":authority")) || mesh_slice_equal(name, MESH_SLICE("host")))
		return facts->authority ? *facts->authority : absent();
	if (mesh_slice_equal(name, MESH_SLICE(":method")))
		return facts->method;
	if (mesh_slice_equal(name, MESH_SLICE(":scheme")))
		return facts->scheme;
	return facts->request ? mesh_headers_get(facts->request, name) : absent();
}

static struct mesh_slice message_header(const struct headers *headers, const struct format_piece *piece)
{
	struct mesh_slice value = headers ? mesh_headers_get(headers, piece->text) : absent();

	return headers && !value.data && piece->other.len ? mesh_headers_get(headers, piece->other) : value;
}

static struct mesh_slice path_of(const struct format_facts *facts, const struct format_piece *piece)
{
	struct mesh_slice path = absent();

	if (!piece->current)
		path = request_header(facts, MESH_SLICE("x-envoy-original-path"));
	if (!path.data && !piece->original)
		path = request_header(facts, MESH_SLICE(":path"));
	return piece->without_query && path.data ? bare(path) : path;
}

static struct mesh_slice query_of(const struct format_facts *facts)
{
	struct mesh_slice path = facts->path ? *facts->path : absent(), before;

	before = request_header(facts, MESH_SLICE("x-envoy-original-path"));
	if (before.data)
		path = before;
	mesh_slice_cut(&path, '?');
	return path.len ? path : absent();
}

static struct mesh_slice query_parameter(const struct format_facts *facts, struct mesh_slice name)
{
	struct mesh_slice rest = query_of(facts), value;

	while (rest.data) {
		value = mesh_slice_cut(&rest, '&');
		if (mesh_slice_equal(mesh_slice_cut(&value, '='), name))
			return value.data ? value : MESH_SLICE("");
	}
	return absent();
}

static bool time_of(uint64_t ns, struct mesh_slice how, struct arena *arena, struct mesh_slice *value)
{
	char text[MESH_DATE_BYTES];

	*value = absent();
	if (!ns)
		return true;
	*value = mesh_arena_slice(arena, mesh_slice_make(text, mesh_date_format(text, ns, how)), NULL);
	return value->data != NULL;
}

static bool grpc_status(const struct format_facts *facts, struct mesh_slice form, struct mesh_slice *value)
{
	static const char *const names[17][2] = {
		{"OK", "OK"}, {"Canceled", "CANCELLED"}, {"Unknown", "UNKNOWN"}, {"InvalidArgument", "INVALID_ARGUMENT"},
		{"DeadlineExceeded", "DEADLINE_EXCEEDED"}, {"NotFound", "NOT_FOUND"}, {"AlreadyExists", "ALREADY_EXISTS"},
		{"PermissionDenied", "PERMISSION_DENIED"}, {"ResourceExhausted", "RESOURCE_EXHAUSTED"},
		{"FailedPrecondition", "FAILED_PRECONDITION"}, {"Aborted", "ABORTED"}, {"OutOfRange", "OUT_OF_RANGE"},
		{"Unimplemented", "UNIMPLEMENTED"}, {"Internal", "INTERNAL"}, {"Unavailable", "UNAVAILABLE"},
		{"DataLoss", "DATA_LOSS"}, {"Unauthenticated", "UNAUTHENTICATED"}};
	struct mesh_slice type = request_header(facts, MESH_SLICE("content-type")), said = absent();
	const struct mesh_slice grpc = MESH_SLICE("application/grpc");
	uint64_t code;

	if (mesh_slice_prefix(type, grpc) && (type.len == grpc.len || type.data[grpc.len] == '+')) {
		said = facts->trailers ? mesh_headers_get(facts->trailers, MESH_SLICE("grpc-status")) : absent();
		if (!said.data && facts->response)
			said = mesh_headers_get(facts->response, MESH_SLICE("grpc-status"));
	}
	*value = said;
	if (said.data && !mesh_slice_equal(form, MESH_SLICE("NUMBER")) && mesh_slice_to_u64(said, &code) && code < 17)
		*value = mesh_slice_of(names[code][mesh_slice_equal(form, MESH_SLICE("SNAKE_STRING"))]);
	return true;
}

static bool piece_value(const struct format_piece *piece, const struct format_facts *facts, struct arena *arena,
			struct mesh_slice *value)
{
	struct metadata_value said;

	*value = absent();
	switch (piece->op) {
	case FORMAT_TEXT:
		*value = piece->text;
		return true;
	case FORMAT_NOTHING:
		return true;
	case FORMAT_REQ:
		*value = request_header(facts, piece->text);
		if (!value->data && piece->other.len)
			*value = request_header(facts, piece->other);
		return true;
	case FORMAT_RESP:
		*value = message_header(facts->response, piece);
		return true;
	case FORMAT_TRAILER:
		*value = message_header(facts->trailers, piece);
		return true;
	case FORMAT_PATH:
		*value = path_of(facts, piece);
		return true;
	case FORMAT_QUERY_PARAM:
		*value = query_parameter(facts, piece->text);
		return true;
	case FORMAT_QUERY_PARAMS:
		*value = query_of(facts);
		return true;
	case FORMAT_START_TIME:
		return time_of(facts->start_ns, piece->text, arena, value);
	case FORMAT_EMIT_TIME:
		return time_of(facts->now_ns, piece->text, arena, value);
	case FORMAT_LOCAL_REPLY_BODY:
		*value = facts->body.data ? facts->body : MESH_SLICE("");
		return true;
	case FORMAT_GRPC_STATUS:
		return grpc_status(facts, piece->text, value);
	case FORMAT_DYNAMIC_METADATA:
		mesh_metadata_find(facts->metadata, piece->text, piece->path, piece->path_count, &said);
		*value = said.kind == METADATA_ABSENT || said.kind == METADATA_NULL ? absent() : said.text;
		return true;
	default:
		return !facts->ask || facts->ask(facts, piece->op, arena, value);
	}
}

struct mesh_slice mesh_format(const struct format *format, const struct format_facts *facts, struct mesh_slice missing,
			      struct arena *arena)
{
	struct mesh_slice room[PIECES_ON_STACK], *values = room;
	size_t len = 0, told = 0, at = 0;
	char *text;

	if (format->count > PIECES_ON_STACK)
		values = mesh_arena_array(arena, format->count, sizeof(*values));
	for (size_t i = 0; values && i < format->count; i++) {
		const struct format_piece *piece = &format->pieces[i];

		if (!piece_value(piece, facts, arena, &values[i]))
			return absent();
		if (!values[i].data)
			values[i] = missing;
		else if (values[i].len > piece->max)
			values[i].len = piece->max;
		len += values[i].len;
		told += piece->op == FORMAT_TEXT || piece->op == FORMAT_LOCAL_REPLY_BODY ? 0 : values[i].len;
	}
	text = values && told <= told_bytes_max ? mesh_arena_alloc(arena, len + 1) : NULL;
	for (size_t i = 0; text && i < format->count; i++) {
		if (values[i].len)
			memcpy(text + at, values[i].data, values[i].len);
		at += values[i].len;
	}
	return mesh_slice_make(text, text ? len : 0);
}
