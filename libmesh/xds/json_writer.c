/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides the punctuation of JSON text: commas, indentation, quoting, the digits of a number, how deep it may nest.
 * Refuses to know what is being written.
 */
#include "xds/json_writer.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include <jansson.h>
#include <mesh/error.h>

#include "base/text.h"
#include "xds/json.h"

void mesh_json_writer_fail(struct json_writer *w, int rc)
{
	if (w->rc == 0)
		w->rc = rc;
}

void mesh_json_writer_raw(struct json_writer *w, struct mesh_slice text)
{
	if (w->rc == 0)
		w->rc = mesh_buf_append(w->out, text);
}

void mesh_json_writer_text(struct json_writer *w, struct mesh_slice text)
{
	if (w->rc == 0)
		w->rc = mesh_text_json_append(w->out, text);
}

void mesh_json_writer_base64(struct json_writer *w, struct mesh_slice bytes)
{
	mesh_json_writer_raw(w, MESH_SLICE("\""));
	if (w->rc == 0)
		w->rc = mesh_text_base64_append(w->out, bytes);
	mesh_json_writer_raw(w, MESH_SLICE("\""));
}

static void put_line(struct json_writer *w)
{
	if (!(w->flags & MESH_JSON_INDENT))
		return;
	mesh_json_writer_raw(w, MESH_SLICE("\n"));
	for (unsigned i = 0; i < w->depth; i++)
		mesh_json_writer_raw(w, MESH_SLICE("  "));
}

bool mesh_json_writer_open(struct json_writer *w, const char *bracket)
{
	if (++w->nesting > MESH_JSON_NESTING) {
		w->nesting--;
		mesh_json_writer_fail(
			w, mesh_why(w->why, MESH_ERROR_TOO_LARGE, "nested more than %d deep", MESH_JSON_NESTING));
		return false;
	}
	mesh_json_writer_raw(w, mesh_slice_of(bracket));
	w->depth++;
	return true;
}

void mesh_json_writer_close(struct json_writer *w, const char *bracket, bool empty)
{
	w->depth--;
	w->nesting--;
	if (!empty)
		put_line(w);
	mesh_json_writer_raw(w, mesh_slice_of(bracket));
}

void mesh_json_writer_item(struct json_writer *w, bool *first)
{
	if (!*first)
		mesh_json_writer_raw(w, MESH_SLICE(","));
	*first = false;
	put_line(w);
}

void mesh_json_writer_colon(struct json_writer *w)
{
	mesh_json_writer_raw(w, w->flags & MESH_JSON_INDENT ? MESH_SLICE(": ") : MESH_SLICE(":"));
}

void mesh_json_writer_name(struct json_writer *w, struct mesh_slice name)
{
	mesh_json_writer_text(w, name);
	mesh_json_writer_colon(w);
}

static bool reads_back(const char *text, size_t len, double number, bool single)
{
	json_t *parsed = json_loadb(text, len, JSON_DECODE_ANY, NULL);
	double back = parsed ? json_number_value(parsed) : NAN;

	json_decref(parsed);
	return single ? (float)back == (float)number : back == number;
}

/* The fewest digits that read back as the same number. jansson does it whatever the locale is. */
void mesh_json_writer_number(struct json_writer *w, double number, bool single)
{
	char text[40];
	size_t len = 0;
	json_t *real;

	if (isnan(number) || isinf(number)) {
		mesh_json_writer_text(w, mesh_slice_of(isnan(number) ? "NaN" : number > 0 ? "Infinity" : "-Infinity"));
		return;
	}
	if (fabs(number) < 1e15 && number == (double)(int64_t)number) {
		len = (size_t)snprintf(text, sizeof(text), "%" PRId64, (int64_t)number);
		mesh_json_writer_raw(w, mesh_slice_make(text, len));
		return;
	}
	real = json_real(number);
	for (size_t digits = single ? 6 : 15; real && digits <= 17; digits++) {
		len = json_dumpb(real, text, sizeof(text), JSON_ENCODE_ANY | JSON_REAL_PRECISION(digits));
		if (len > sizeof(text))
			len = 0;
		if (len > 0 && reads_back(text, len, number, single))
			break;
	}
	json_decref(real);
	if (len == 0)
		mesh_json_writer_fail(w, MESH_ERROR_NOMEM);
	mesh_json_writer_raw(w, mesh_slice_make(text, len));
}

static void put_integer(struct json_writer *w, bool quoted, bool negative, uint64_t magnitude)
{
	char text[24];
	int len = snprintf(text, sizeof(text), "%s%s%" PRIu64 "%s", quoted ? "\"" : "", negative ? "-" : "", magnitude,
			   quoted ? "\"" : "");

	mesh_json_writer_raw(w, mesh_slice_make(text, (size_t)len));
}

void mesh_json_writer_signed(struct json_writer *w, bool quoted, int64_t value)
{
	put_integer(w, quoted, value < 0, value < 0 ? -(uint64_t)value : (uint64_t)value);
}

void mesh_json_writer_unsigned(struct json_writer *w, bool quoted, uint64_t value)
{
	put_integer(w, quoted, false, value);
}
