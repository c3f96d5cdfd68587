/* SPDX-License-Identifier: Apache-2.0 */
/* A list of fields in order, grown in an arena. Lookup compares lengths first: most names differ there already. */
#include "base/header.h"

#include <mesh/error.h>

void mesh_headers_clear(struct headers *headers)
{
	memset(headers, 0, sizeof(*headers));
}

static int grow(struct headers *headers, struct arena *arena)
{
	size_t room = headers->room ? headers->room * 2 : 16;
	struct mesh_header *items = mesh_arena_alloc(arena, room * sizeof(*items));

	if (!items)
		return MESH_ERROR_NOMEM;
	if (headers->count)
		memcpy(items, headers->items, headers->count * sizeof(*items));
	headers->items = items;
	headers->room = room;
	return 0;
}

static struct mesh_slice present(struct mesh_slice value)
{
	return value.data ? value : MESH_SLICE("");
}

int mesh_headers_add(struct headers *headers, struct arena *arena, struct mesh_slice name, struct mesh_slice value)
{
	if (headers->count == headers->room && grow(headers, arena))
		return MESH_ERROR_NOMEM;
	headers->items[headers->count].name = name;
	headers->items[headers->count++].value = present(value);
	return 0;
}

int mesh_headers_add_copy(struct headers *headers, struct arena *arena, struct mesh_slice name, struct mesh_slice value)
{
	bool failed = false;
	struct mesh_slice own_name = mesh_arena_slice(arena, name, &failed);
	struct mesh_slice own_value = mesh_arena_slice(arena, value, &failed);

	return failed ? MESH_ERROR_NOMEM : mesh_headers_add(headers, arena, own_name, own_value);
}

static bool named(const struct mesh_header *header, struct mesh_slice name)
{
	return header->name.len == name.len && mesh_slice_equal_fold(header->name, name);
}

/* Drops what has that name at `at` and behind it. */
static size_t drop_from(struct headers *headers, size_t at, struct mesh_slice name)
{
	size_t kept = at, dropped;

	for (; at < headers->count; at++)
		if (!named(&headers->items[at], name))
			headers->items[kept++] = headers->items[at];
	dropped = headers->count - kept;
	headers->count = kept;
	return dropped;
}

int mesh_headers_set(struct headers *headers, struct arena *arena, struct mesh_slice name, struct mesh_slice value)
{
	size_t at = 0;

	while (at < headers->count && !named(&headers->items[at], name))
		at++;
	if (at == headers->count)
		return mesh_headers_add(headers, arena, name, value);
	headers->items[at++].value = present(value);
	drop_from(headers, at, name);
	return 0;
}

size_t mesh_headers_remove(struct headers *headers, struct mesh_slice name)
{
	return drop_from(headers, 0, name);
}

struct mesh_slice mesh_headers_get(const struct headers *headers, struct mesh_slice name)
{
	for (size_t i = 0; i < headers->count; i++)
		if (named(&headers->items[i], name))
			return headers->items[i].value;
	return (struct mesh_slice){NULL, 0};
}

size_t mesh_headers_count(const struct headers *headers, struct mesh_slice name)
{
	size_t count = 0;

	for (size_t i = 0; i < headers->count; i++)
		count += named(&headers->items[i], name);
	return count;
}

struct mesh_slice mesh_headers_joined(const struct headers *headers, struct arena *arena, struct mesh_slice name,
				      bool *failed)
{
	size_t count = 0, total, bytes = 0;
	struct mesh_slice first = {NULL, 0};
	char *text, *at;

	for (size_t i = 0; i < headers->count; i++)
		if (named(&headers->items[i], name)) {
			if (!count++)
				first = headers->items[i].value;
			bytes += headers->items[i].value.len + 1;
		}
	if (count < 2)
		return first;
	total = count;
	text = at = mesh_arena_alloc(arena, bytes);
	if (!text) {
		*failed = true;
		return (struct mesh_slice){NULL, 0};
	}
	for (size_t i = 0; i < headers->count; i++)
		if (named(&headers->items[i], name)) {
			if (count-- != total)
				*at++ = ',';
			memcpy(at, headers->items[i].value.data, headers->items[i].value.len);
			at += headers->items[i].value.len;
		}
	return mesh_slice_make(text, (size_t)(at - text));
}

/* RFC 9110 token characters, one bit each. */
static const uint32_t token_bits[8] = {
	0x00000000, 0x03ff6cfa, 0xc7fffffe, 0x57ffffff, 0, 0, 0, 0,
};

static const uint64_t each_byte = 0x0101010101010101u, each_high = 0x8080808080808080u;

/* High bits where a byte lies in from..to; exact for bytes below 0x80, which `word` must be all of. */
static uint64_t within(uint64_t word, unsigned char from, unsigned char to)
{
	return (word + each_byte * (0x80u - from)) & ~(word + each_byte * (0x7fu - to)) & each_high;
}

/* The usual: lower-case letters, digits and hyphens. */
static bool plain_token(const char *eight)
{
	uint64_t word;

	memcpy(&word, eight, sizeof(word));
	return !(word & each_high) &&
	       (within(word, 'a', 'z') | within(word, '0', '9') | within(word, '-', '-')) == each_high;
}

bool mesh_header_name_valid(struct mesh_slice name)
{
	size_t i = 0;

	while (name.len - i >= 8 && plain_token(name.data + i))
		i += 8;
	if (i && i < name.len && name.len - i < 8 && plain_token(name.data + name.len - 8))
		return true;
	for (; i < name.len; i++) {
		unsigned char c = (unsigned char)name.data[i];

		if (!(token_bits[c >> 5] >> (c & 31) & 1))
			return false;
	}
	return name.len > 0;
}

static bool blank(char c)
{
	return c == ' ' || c == '\t';
}

/* Neither control characters nor DEL; bytes beyond ASCII are for the other loop to say. */
static bool plain_text(const char *eight)
{
	uint64_t word;

	memcpy(&word, eight, sizeof(word));
	return !(word & each_high) && within(word, ' ', '~') == each_high;
}

bool mesh_header_value_valid(struct mesh_slice value)
{
	size_t i = 0;

	while (value.len - i >= 8 && plain_text(value.data + i))
		i += 8;
	if (i && i < value.len && value.len - i < 8 && plain_text(value.data + value.len - 8))
		i = value.len;
	for (; i < value.len; i++) {
		unsigned char c = (unsigned char)value.data[i];

		if ((c < ' ' && c != '\t') || c == 0x7f)
			return false;
	}
	return !value.len || (!blank(value.data[0]) && !blank(value.data[value.len - 1]));
}

bool mesh_header_word_valid(struct mesh_slice word)
{
	for (size_t i = 0; i < word.len; i++)
		if ((unsigned char)word.data[i] <= ' ' || word.data[i] == 0x7f)
			return false;
	return word.len > 0;
}

bool mesh_header_hop_by_hop(struct mesh_slice name)
{
	static const struct mesh_slice names[] = {{"connection", 10}, {"transfer-encoding", 17}, {"keep-alive", 10},
						  {"proxy-connection", 16}, {"upgrade", 7}, {"te", 2}, {"trailer", 7}};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (mesh_slice_equal_fold(name, names[i]))
			return true;
	return false;
}
