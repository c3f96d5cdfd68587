/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides the punctuation of an outline: indentation and dashes of the text, quotes and commas of the JSON. Refuses to know
 * what is being told.
 */
#include "base/outline.h"

#include <stdarg.h>
#include <stdio.h>

#include <mesh/error.h>

#include "base/text.h"

static void raw(struct outline *outline, struct mesh_slice text)
{
	if (!outline->rc)
		outline->rc = mesh_buf_append(outline->out, text);
}

/* One line: control characters could make it look like several. */
static void plain(struct outline *outline, struct mesh_slice text)
{
	for (size_t i = 0, from = 0; i <= text.len; i++) {
		if (i < text.len && (unsigned char)text.data[i] >= ' ' && text.data[i] != 0x7f)
			continue;
		raw(outline, mesh_slice_make(text.data + from, i - from));
		if (i < text.len)
			raw(outline, MESH_SLICE("?"));
		from = i + 1;
	}
}

static void quoted(struct outline *outline, struct mesh_slice text)
{
	if (!outline->rc)
		outline->rc = mesh_text_json_append(outline->out, text);
}

static void spaces(struct outline *outline, unsigned levels)
{
	while (levels--)
		raw(outline, MESH_SLICE("  "));
}

/* What goes before a value of the present group: punctuation and its name. */
static void lead(struct outline *outline, const char *name)
{
	unsigned top = outline->depth - 1;
	bool first = !outline->levels[top].filled;

	outline->levels[top].filled = true;
	if (outline->json) {
		raw(outline, first ? MESH_SLICE("\n") : MESH_SLICE(",\n"));
		spaces(outline, outline->depth);
		if (name) {
			quoted(outline, mesh_slice_of(name));
			raw(outline, MESH_SLICE(": "));
		}
		return;
	}
	if (outline->levels[top].item && first) { /* behind the dash */
		outline->levels[top].item = false;
	} else {
		spaces(outline, top);
	}
	if (outline->levels[top].list)
		raw(outline, MESH_SLICE("- "));
	else
		raw(outline, mesh_slice_of(name));
}

static void open_level(struct outline *outline, const char *name, bool list)
{
	bool item;

	if (!outline->rc && outline->depth == MESH_OUTLINE_NESTING) /* our own tellers never do */
		outline->rc = MESH_ERROR_TOO_LARGE;
	if (outline->rc) {
		outline->passed_over++;
		return;
	}
	item = outline->levels[outline->depth - 1].list;
	lead(outline, name);
	if (outline->json)
		raw(outline, list ? MESH_SLICE("[") : MESH_SLICE("{"));
	else if (!item)
		raw(outline, MESH_SLICE(":\n"));
	outline->levels[outline->depth].list = list;
	outline->levels[outline->depth].filled = false;
	outline->levels[outline->depth].item = item;
	outline->depth++;
}

void mesh_outline_begin(struct outline *outline, struct buf *out, bool json)
{
	*outline = (struct outline){.out = out, .json = json, .depth = 1};
	if (json)
		raw(outline, MESH_SLICE("{"));
}

int mesh_outline_end(struct outline *outline)
{
	if (outline->json)
		raw(outline, MESH_SLICE("\n}\n"));
	return outline->rc;
}

void mesh_outline_group(struct outline *outline, const char *name)
{
	open_level(outline, name, false);
}

void mesh_outline_list(struct outline *outline, const char *name)
{
	open_level(outline, name, true);
}

void mesh_outline_close(struct outline *outline)
{
	unsigned top;

	if (outline->passed_over) {
		outline->passed_over--;
		return;
	}
	top = --outline->depth;
	if (!outline->json) {
		if (!outline->levels[top].filled && outline->levels[top].item) /* the dash stands alone */
			raw(outline, MESH_SLICE("\n"));
		return;
	}
	if (outline->levels[top].filled) {
		raw(outline, MESH_SLICE("\n"));
		spaces(outline, top);
	}
	raw(outline, outline->levels[top].list ? MESH_SLICE("]") : MESH_SLICE("}"));
}

static void value(struct outline *outline, const char *name, struct mesh_slice text, bool bare)
{
	if (outline->rc)
		return;
	lead(outline, name);
	if (outline->json) {
		if (bare)
			raw(outline, text);
		else
			quoted(outline, text);
		return;
	}
	if (!outline->levels[outline->depth - 1].list)
		raw(outline, MESH_SLICE(": "));
	plain(outline, text);
	raw(outline, MESH_SLICE("\n"));
}

void mesh_outline_text(struct outline *outline, const char *name, struct mesh_slice text)
{
	if (text.data)
		value(outline, name, text, false);
}

void mesh_outline_printf(struct outline *outline, const char *name, const char *format, ...)
{
	char text[512];
	va_list arguments;
	int len;

	va_start(arguments, format);
	len = vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	if (len < 0)
		len = 0;
	value(outline, name, mesh_slice_make(text, (size_t)len < sizeof(text) ? (size_t)len : sizeof(text) - 1), false);
}

void mesh_outline_number(struct outline *outline, const char *name, uint64_t number)
{
	char digits[20];

	value(outline, name, mesh_slice_make(digits, mesh_text_u64(digits, number)), true);
}

void mesh_outline_flag(struct outline *outline, const char *name, bool flag)
{
	value(outline, name, flag ? MESH_SLICE("true") : MESH_SLICE("false"), true);
}
