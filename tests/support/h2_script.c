/* SPDX-License-Identifier: Apache-2.0 */
/* Words to frames. A line that is not understood is the test's mistake: it ends, naming it. */
#include "support/h2_script.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void mistake(const char *at)
{
	fprintf(stderr, "h2_script: not understood: \"%.60s\"\n", at);
	abort();
}

static void skip_blanks(const char **at)
{
	while (**at == ' ')
		++*at;
}

static bool take_word(const char **at, const char *word)
{
	size_t len = strlen(word);

	if (strncmp(*at, word, len) || isalnum((unsigned char)(*at)[len]))
		return false;
	*at += len;
	skip_blanks(at);
	return true;
}

static uint64_t number(const char **at)
{
	char *end;
	uint64_t value = strtoull(*at, &end, 0);

	if (end == *at)
		mistake(*at);
	*at = end;
	skip_blanks(at);
	return value;
}

static uint32_t stream(struct h2_script *script, const char **at)
{
	if (take_word(at, "+"))
		script->last = script->last ? script->last + 2 : 1;
	else if (!take_word(at, "="))
		script->last = (uint32_t)number(at);
	return script->last;
}

/* Up to the ";" that ends the command; the caller frees it. */
static char *rest(const char **at)
{
	size_t len = strcspn(*at, ";)");
	char *text = strndup(*at, len);

	if (!text)
		abort();
	*at += len;
	return text;
}

static void hex(const char **at, struct buf *bytes)
{
	mesh_buf_init(bytes, &mesh_mem_default, 0);
	if (take_word(at, "-"))
		return;
	while (isxdigit((unsigned char)(*at)[0]) && isxdigit((unsigned char)(*at)[1])) {
		const char digits[3] = {(*at)[0], (*at)[1], 0};
		uint8_t byte = (uint8_t)strtoul(digits, NULL, 16);

		h2_bytes(bytes, &byte, 1);
		*at += 2;
		skip_blanks(at);
	}
}

static void say_frame(struct h2_script *script, const char **at, bool claim)
{
	uint64_t claimed = claim ? number(at) : 0;
	unsigned type = (unsigned)number(at), flags = (unsigned)number(at);
	uint32_t id = (uint32_t)number(at); /* leaves "+" and "=" alone */
	struct mesh_slice payload;
	struct buf bytes;

	hex(at, &bytes);
	payload = mesh_buf_slice(&bytes);
	h2_frame_claiming(script->out, claim ? (uint32_t)claimed : (uint32_t)payload.len, type, flags, id, payload.data,
			  payload.len);
	mesh_buf_free(&bytes);
}

static void say_headers(struct h2_script *script, const char **at, bool with_long)
{
	uint32_t id = stream(script, at);
	unsigned flags = (unsigned)number(at);
	size_t count = with_long ? (size_t)number(at) : 0, len;
	char *fields = rest(at), *filler;
	struct mesh_slice bytes;
	struct buf block;

	len = strlen(fields);
	for (char *c = fields; *c; c++)
		if (*c == '|')
			*c = '\n';
	fields = realloc(fields, len + 2);
	filler = malloc(count + 1);
	if (!fields || !filler)
		abort();
	if (len)
		memcpy(fields + len, "\n", 2);
	mesh_buf_init(&block, &mesh_mem_default, 0);
	h2_fields(&block, fields);
	memset(filler, 'x', count);
	if (with_long)
		h2_field(&block, "x-long", 6, filler, count);
	bytes = mesh_buf_slice(&block);
	for (size_t sent = 0; sent < bytes.len || !sent;) { /* CONTINUATION where one frame does not hold it */
		size_t piece = bytes.len - sent < 16384 ? bytes.len - sent : 16384;
		bool last = sent + piece == bytes.len;

		h2_frame(script->out, sent ? H2_CONTINUATION : H2_HEADERS,
			 (sent ? 0 : flags & ~(unsigned)H2_END_HEADERS) | (last ? flags & H2_END_HEADERS : 0), id,
			 bytes.data + sent, piece);
		sent += piece;
		if (!piece)
			break;
	}
	mesh_buf_free(&block);
	free(fields);
	free(filler);
}

static void say_data(struct h2_script *script, const char **at, bool pad)
{
	uint32_t id = stream(script, at);
	unsigned flags = (unsigned)number(at);
	char *text = NULL;

	if (!pad) {
		text = rest(at);
		h2_data(script->out, id, flags, text);
	} else {
		size_t count = (size_t)number(at);

		text = calloc(1, count + 1);
		if (!text)
			abort();
		memset(text, 'd', count);
		h2_frame(script->out, H2_DATA, flags, id, text, count);
	}
	free(text);
}

static void say_settings(struct h2_script *script, const char **at)
{
	uint8_t payload[64 * 6];
	size_t len = 0;

	while (isdigit((unsigned char)**at) && len + 6 <= sizeof(payload)) {
		unsigned id = (unsigned)number(at);
		uint32_t value;

		if (*(*at)++ != '=')
			mistake(*at);
		value = (uint32_t)number(at);
		memcpy(payload + len,
		       (const uint8_t[]){(uint8_t)(id >> 8), (uint8_t)id, (uint8_t)(value >> 24),
					 (uint8_t)(value >> 16), (uint8_t)(value >> 8), (uint8_t)value},
		       6);
		len += 6;
	}
	h2_frame(script->out, H2_SETTINGS, 0, 0, payload, len);
}

static void say_get(struct h2_script *script, const char **at)
{
	uint32_t id = stream(script, at);
	char *path = rest(at);

	h2_get(script->out, id, *path ? path : "/");
	free(path);
}

static void say_numbers(struct h2_script *script, const char **at, void (*say)(struct buf *, uint32_t, uint32_t))
{
	uint32_t id = stream(script, at);

	say(script->out, id, (uint32_t)number(at));
}

static void say_goaway(struct h2_script *script, const char **at)
{
	uint32_t last = (uint32_t)number(at);

	h2_goaway(script->out, last, (uint32_t)number(at));
}

static void command(struct h2_script *script, const char **at)
{
	if (take_word(at, "preface"))
		h2_preface(script->out);
	else if (take_word(at, "settings"))
		say_settings(script, at);
	else if (take_word(at, "ack"))
		h2_settings_ack(script->out);
	else if (take_word(at, "ping"))
		h2_ping(script->out, 0, "attacker");
	else if (take_word(at, "goaway"))
		say_goaway(script, at);
	else if (take_word(at, "get"))
		say_get(script, at);
	else if (take_word(at, "headers"))
		say_headers(script, at, false);
	else if (take_word(at, "long"))
		say_headers(script, at, true);
	else if (take_word(at, "data"))
		say_data(script, at, false);
	else if (take_word(at, "pad"))
		say_data(script, at, true);
	else if (take_word(at, "rst"))
		say_numbers(script, at, h2_rst);
	else if (take_word(at, "window"))
		say_numbers(script, at, h2_window_update);
	else if (take_word(at, "priority"))
		say_numbers(script, at, h2_priority);
	else if (take_word(at, "frame"))
		say_frame(script, at, false);
	else if (take_word(at, "claim"))
		say_frame(script, at, true);
	else
		mistake(*at);
}

/* Up to the end of the line or the ")" of the group. */
static void commands(struct h2_script *script, const char **at)
{
	for (skip_blanks(at); **at && **at != ')'; skip_blanks(at)) {
		if (isdigit((unsigned char)**at)) {
			uint64_t times = number(at);
			const char *group;

			if (strncmp(*at, "*(", 2))
				mistake(*at);
			group = *at + 2;
			while (times--) {
				*at = group;
				commands(script, at);
			}
			if (*(*at)++ != ')')
				mistake(group);
		} else {
			command(script, at);
		}
		skip_blanks(at);
		if (**at == ';')
			++*at;
		else if (**at && **at != ')')
			mistake(*at);
	}
}

void h2_script(struct h2_script *script, const char *line)
{
	const char *at = line;

	commands(script, &at);
	if (*at)
		mistake(at);
}

void h2_say(struct buf *out, const char *line)
{
	struct h2_script script = {.out = out};

	h2_script(&script, line);
}
