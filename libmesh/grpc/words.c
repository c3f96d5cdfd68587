/* SPDX-License-Identifier: Apache-2.0 */
/* Decides how the words of a status travel in a header. Refuses to judge what they say. */
#include "grpc/words.h"

#include <mesh/error.h>

#include "base/slice.h"

static bool plain(char c)
{
	return c >= ' ' && c <= '~' && c != '%';
}

/* A space at either end would be trimmed on the way. */
static bool plain_at(struct mesh_slice words, size_t i)
{
	return plain(words.data[i]) && (words.data[i] != ' ' || (i > 0 && i + 1 < words.len));
}

int mesh_grpc_words_encode(struct arena *arena, struct mesh_slice words, struct mesh_slice *text)
{
	static const char hex[] = "0123456789ABCDEF";
	size_t escaped = 0;
	char *at;

	for (size_t i = 0; i < words.len; i++)
		escaped += !plain_at(words, i);
	*text = words;
	if (!escaped)
		return 0;
	at = mesh_arena_alloc(arena, words.len + 2 * escaped);
	if (!at)
		return MESH_ERROR_NOMEM;
	*text = mesh_slice_make(at, words.len + 2 * escaped);
	for (size_t i = 0; i < words.len; i++) {
		uint8_t byte = (uint8_t)words.data[i];

		if (plain_at(words, i)) {
			*at++ = (char)byte;
			continue;
		}
		*at++ = '%';
		*at++ = hex[byte >> 4];
		*at++ = hex[byte & 15];
	}
	return 0;
}

static int digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = mesh_char_lower(c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int mesh_grpc_words_decode(struct arena *arena, struct mesh_slice text, struct mesh_slice *words)
{
	char *at, *begin;

	*words = text;
	if (mesh_slice_find(text, '%') < 0)
		return 0;
	begin = at = mesh_arena_alloc(arena, text.len);
	if (!at)
		return MESH_ERROR_NOMEM;
	for (size_t i = 0; i < text.len; i++) {
		bool escape = text.data[i] == '%' && text.len - i > 2 && digit(text.data[i + 1]) >= 0 &&
			      digit(text.data[i + 2]) >= 0;

		*at++ = escape ? (char)(digit(text.data[i + 1]) << 4 | digit(text.data[i + 2])) : text.data[i];
		i += escape ? 2 : 0;
	}
	*words = mesh_slice_make(begin, (size_t)(at - begin));
	return 0;
}
