/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides what an application may say in metadata, what of a message's fields it is told, and how bytes travel in them.
 * Refuses to know what any of it means.
 */
#include "grpc/metadata.h"

#include <mesh/error.h>

#include "base/text.h"
#include "grpc/words.h"

bool mesh_grpc_content_type(struct mesh_slice value)
{
	struct mesh_slice type = MESH_SLICE("application/grpc");

	return mesh_slice_prefix_fold(value, type) &&
	       (value.len == type.len || value.data[type.len] == '+' || value.data[type.len] == ';');
}

int mesh_grpc_status_fields(struct arena *arena, int code, struct mesh_slice words, struct headers *fields)
{
	struct mesh_slice number = mesh_arena_printf(arena, "%d", code), message;
	int rc = number.data ? mesh_grpc_words_encode(arena, words, &message) : MESH_ERROR_NOMEM;

	if (!rc)
		rc = mesh_headers_add(fields, arena, MESH_SLICE("content-type"), MESH_SLICE("application/grpc"));
	if (!rc)
		rc = mesh_headers_add(fields, arena, MESH_SLICE("grpc-status"), number);
	if (!rc && message.len)
		rc = mesh_headers_add(fields, arena, MESH_SLICE("grpc-message"), message);
	return rc;
}

bool mesh_grpc_encoding_listed(struct mesh_slice list, struct mesh_slice encoding)
{
	while (list.data) {
		struct mesh_slice rest = list;

		if (mesh_slice_equal(mesh_slice_trim(mesh_slice_cut(&rest, ',')), encoding))
			return true;
		list = rest;
	}
	return false;
}

static bool is_bin(struct mesh_slice name)
{
	return mesh_slice_suffix_fold(name, MESH_SLICE("-bin"));
}

/* What the protocol itself says in fields. */
static bool reserved(struct mesh_slice name)
{
	return mesh_header_hop_by_hop(name) || mesh_slice_equal_fold(name, MESH_SLICE("content-type")) ||
	       mesh_slice_equal_fold(name, MESH_SLICE("content-length")) || mesh_slice_equal_fold(name, MESH_SLICE("host")) ||
	       mesh_slice_prefix_fold(name, MESH_SLICE("grpc-"));
}

static bool name_valid(struct mesh_slice name)
{
	for (size_t i = 0; i < name.len; i++) {
		char c = name.data[i];

		if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '-' && c != '_' && c != '.')
			return false;
	}
	return name.len > 0 && !reserved(name);
}

static bool value_valid(struct mesh_slice value)
{
	for (size_t i = 0; i < value.len; i++)
		if (value.data[i] < ' ' || value.data[i] > '~')
			return false;
	return !value.len || (value.data[0] != ' ' && value.data[value.len - 1] != ' ');
}

int mesh_grpc_bin_encode(struct arena *arena, struct mesh_slice bytes, struct mesh_slice *text)
{
	size_t room = bytes.len / 3 * 4 + (bytes.len % 3 ? 4 : 0) + 1;
	struct buf out = {.data = mesh_arena_alloc(arena, room), .room = room, .limit = room};
	size_t padding = bytes.len % 3 ? 3 - bytes.len % 3 : 0;

	if (!out.data || mesh_text_base64_append(&out, bytes))
		return MESH_ERROR_NOMEM;
	*text = mesh_slice_make(out.data, mesh_buf_len(&out) - padding);
	return 0;
}

int mesh_grpc_bin_decode(struct arena *arena, struct mesh_slice text, struct mesh_slice *bytes)
{
	size_t room = text.len + 1;
	struct buf out = {.data = mesh_arena_alloc(arena, room), .room = room, .limit = room};

	if (!out.data)
		return MESH_ERROR_NOMEM;
	*bytes = mesh_text_base64_decode(&out, text) ? (struct mesh_slice){NULL, 0} : mesh_slice_make(out.data, mesh_buf_len(&out));
	return 0;
}

int mesh_grpc_metadata_encode(struct arena *arena, const struct mesh_header *pairs, size_t count, struct headers *fields)
{
	int rc = 0;

	for (size_t i = 0; i < count && !rc; i++) {
		struct mesh_slice text;

		if (!name_valid(pairs[i].name))
			return MESH_ERROR_INVALID;
		if (is_bin(pairs[i].name)) {
			rc = mesh_grpc_bin_encode(arena, pairs[i].value, &text);
			if (!rc)
				rc = mesh_headers_add(fields, arena, pairs[i].name, text);
			continue;
		}
		if (!value_valid(pairs[i].value))
			return MESH_ERROR_INVALID;
		rc = mesh_headers_add(fields, arena, pairs[i].name, pairs[i].value);
	}
	return rc;
}

static bool is_long(struct mesh_slice list)
{
	size_t values = 1;

	for (size_t i = 0; i < list.len; i++)
		values += list.data[i] == ',';
	return values > MESH_GRPC_LIST_MAX;
}

static int add_bin(struct arena *arena, const struct mesh_header *field, struct headers *pairs)
{
	struct mesh_slice list = field->value;
	int rc = 0;

	while (list.data && !rc && !is_long(field->value)) {
		struct mesh_slice rest = list, bytes;

		rc = mesh_grpc_bin_decode(arena, mesh_slice_trim(mesh_slice_cut(&rest, ',')), &bytes);
		if (!rc && bytes.data)
			rc = mesh_headers_add(pairs, arena, field->name, bytes);
		list = rest;
	}
	return rc;
}

int mesh_grpc_metadata_decode(struct arena *arena, const struct headers *fields, struct headers *pairs)
{
	int rc = 0;

	for (size_t i = 0; i < fields->count && !rc; i++) {
		const struct mesh_header *field = &fields->items[i];

		if (reserved(field->name))
			continue;
		rc = is_bin(field->name) ? add_bin(arena, field, pairs)
					 : mesh_headers_add(pairs, arena, field->name, field->value);
	}
	return rc;
}
