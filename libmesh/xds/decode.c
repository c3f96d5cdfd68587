/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The context of a decoder: where in the resource it is, what failed first, what is not understood, and whose memory is
 * being filled. Knows no resource.
 */
#include "xds/decode.h"

#include <stdarg.h>
#include <stdio.h>

#include <mesh/error.h>

#include "control/message.h"

#define PATH_BYTES 200

void mesh_decode_init(struct decode *d, const struct mesh_mem *mem, unsigned nesting_max, mesh_decode_warn_fn *warn, void *user)
{
	memset(d, 0, offsetof(struct decode, path));
	d->mem = mem;
	d->nesting_max = nesting_max;
	d->warn = warn;
	d->user = user;
	mesh_buf_init(&d->notes, mem, MESH_DECODE_NOTES);
	mesh_arena_init(&d->scratch, mem, 0);
}

void mesh_decode_free(struct decode *d)
{
	mesh_buf_free(&d->notes);
	mesh_arena_free(&d->scratch);
}

void mesh_decode_begin(struct decode *d)
{
	d->rc = 0;
	d->why.text[0] = '\0';
	d->anys = 0;
	d->depth = 0;
	d->object = NULL;
	mesh_buf_clear(&d->notes);
	mesh_arena_reset(&d->scratch);
}

void *mesh_decode_end(struct decode *d, void *object)
{
	d->object = NULL;
	mesh_arena_reset(&d->scratch);
	if (d->rc == 0)
		return object;
	mesh_config_object_release(object);
	return NULL;
}

static void push(struct decode *d, const char *field, const char *key, size_t index)
{
	if (d->depth < MESH_DECODE_DEPTH)
		d->path[d->depth] = (struct decode_step){field, key, index};
	else
		mesh_decode_fail(d, "nested too deep");
	d->depth++;
}

void mesh_decode_push(struct decode *d, const char *field)
{
	push(d, field, NULL, SIZE_MAX);
}

void mesh_decode_push_item(struct decode *d, const char *field, size_t index)
{
	push(d, field, NULL, index);
}

void mesh_decode_push_key(struct decode *d, const char *field, const char *key)
{
	push(d, field, key, SIZE_MAX);
}

void mesh_decode_pop(struct decode *d)
{
	d->depth--;
}

/* Writes the path so that a long one keeps its end. */
static void path_text(const struct decode *d, const char *field, char text[PATH_BYTES])
{
	size_t depth = d->depth < MESH_DECODE_DEPTH ? d->depth : MESH_DECODE_DEPTH;
	size_t at = PATH_BYTES - 1;
	struct decode_step last = {field, NULL, SIZE_MAX};

	text[at] = '\0';
	for (size_t i = depth + (field ? 1 : 0); i-- > 0;) {
		const struct decode_step *step = i < depth ? &d->path[i] : &last;
		const char *dot = i > 0 ? "." : "";
		char piece[PATH_BYTES];
		int len;

		if (step->key)
			len = snprintf(piece, sizeof(piece), "%s%s[\"%.60s\"]", dot, step->field, step->key);
		else if (step->index != SIZE_MAX)
			len = snprintf(piece, sizeof(piece), "%s%s[%zu]", dot, step->field, step->index);
		else
			len = snprintf(piece, sizeof(piece), "%s%s", dot, step->field);
		if (len < 0 || (size_t)len + 3 > at) {
			at -= 3;
			memcpy(text + at, "...", 3);
			break;
		}
		at -= (size_t)len;
		memcpy(text + at, piece, (size_t)len);
	}
	memmove(text, text + at, PATH_BYTES - at);
}

/* "path: words" on one line whatever the values quoted in it are. */
static void say(const struct decode *d, const char *field, char *line, size_t room, const char *format, va_list arguments)
{
	char path[PATH_BYTES];
	int len;

	path_text(d, field, path);
	len = path[0] ? snprintf(line, room, "%s: ", path) : 0;
	vsnprintf(line + len, room - (size_t)len, format, arguments);
	for (char *c = line; *c; c++) {
		if ((unsigned char)*c < 0x20 || *c == 0x7f)
			*c = '?';
	}
}

static void fail(struct decode *d, const char *field, const char *format, va_list arguments)
{
	if (d->rc < 0)
		return;
	d->rc = MESH_ERROR_INVALID;
	say(d, field, d->why.text, sizeof(d->why.text), format, arguments);
}

void mesh_decode_fail(struct decode *d, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	fail(d, NULL, format, arguments);
	va_end(arguments);
}

void mesh_decode_fail_field(struct decode *d, const char *field, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	fail(d, field, format, arguments);
	va_end(arguments);
}

void mesh_decode_nomem(struct decode *d)
{
	if (d->rc == 0)
		d->rc = mesh_why(&d->why, MESH_ERROR_NOMEM, "out of memory");
}

struct mesh_slice mesh_decode_note(struct decode *d, const char *format, ...)
{
	char line[PATH_BYTES + 200];
	va_list arguments;
	int rc;

	va_start(arguments, format);
	say(d, NULL, line, sizeof(line), format, arguments);
	va_end(arguments);
	rc = mesh_buf_printf(&d->notes, "%s\n", line);
	if (rc == MESH_ERROR_NOMEM)
		mesh_decode_nomem(d); /* too many of them: those noted say enough */
	return mesh_decode_text(d, line);
}

void mesh_decode_warning(struct decode *d, const char *format, ...)
{
	char line[200];
	va_list arguments;

	if (!d->warn)
		return;
	va_start(arguments, format);
	vsnprintf(line, sizeof(line), format, arguments);
	va_end(arguments);
	d->warn(d->user, line);
}

void *mesh_decode_array(struct decode *d, size_t count, size_t each)
{
	void *items;

	if (count == 0 || d->rc < 0)
		return NULL;
	items = mesh_arena_array(&d->object->arena, count, each);
	if (!items)
		mesh_decode_nomem(d);
	return items;
}

struct mesh_slice mesh_decode_bytes(struct decode *d, struct mesh_slice bytes)
{
	bool failed = false;
	struct mesh_slice copy;

	if (bytes.len == 0 || d->rc == MESH_ERROR_NOMEM)
		return mesh_slice_make(NULL, 0);
	copy = mesh_arena_slice(&d->object->arena, bytes, &failed);
	if (failed)
		mesh_decode_nomem(d);
	return copy;
}

struct mesh_slice mesh_decode_text(struct decode *d, const char *text)
{
	return mesh_decode_bytes(d, mesh_slice_make(text, text ? strlen(text) : 0));
}

struct mesh_slice mesh_decode_lower(struct decode *d, const char *text)
{
	struct mesh_slice copy = mesh_decode_text(d, text);

	for (size_t i = 0; i < copy.len; i++)
		((char *)copy.data)[i] = mesh_char_lower(copy.data[i]);
	return copy;
}

struct mesh_slice mesh_decode_required(struct decode *d, const char *field, const char *text)
{
	if (!text || text[0] == '\0')
		mesh_decode_fail_field(d, field, "must not be empty");
	return mesh_decode_text(d, text);
}

void *mesh_decode_unpack(struct decode *d, struct mesh_slice bytes, const ProtobufCMessageDescriptor *type)
{
	size_t room = d->scratch.total, more;
	ProtobufCMessage *message = NULL;
	struct why why = {""};
	int rc;

	if (d->rc < 0)
		return NULL;
	/* Unpacked messages are some ten times their packed form; one that wants far more is an attack. */
	if (__builtin_mul_overflow(bytes.len, (size_t)64, &more) || __builtin_add_overflow(room, more, &room) ||
	    __builtin_add_overflow(room, (size_t)1 << 20, &room))
		room = SIZE_MAX;
	if (room > d->scratch.limit)
		d->scratch.limit = room;
	rc = mesh_message_unpack(type, bytes, d->nesting_max, &d->scratch, &why, &message);
	if (rc == MESH_ERROR_NOMEM && d->scratch.full) /* the resource's fault, not the memory's */
		mesh_decode_fail(d, "unpacks to more than %zu bytes", d->scratch.limit);
	else if (rc == MESH_ERROR_NOMEM)
		mesh_decode_nomem(d);
	else if (rc < 0)
		mesh_decode_fail(d, "%s", why.text);
	return message;
}
