/* SPDX-License-Identifier: Apache-2.0 */
/* Appends JSON text to a buffer piece by piece. The first failure sticks in `rc`, and nothing is appended after it. */
#ifndef MESH_XDS_JSON_WRITER_H
#define MESH_XDS_JSON_WRITER_H

#include "base/buf.h"
#include "base/why.h"

struct json_writer {
	struct buf *out;
	struct why *why;
	unsigned flags;   /* MESH_JSON_INDENT or 0 */
	unsigned depth;   /* levels of indentation */
	unsigned nesting; /* groups open; MESH_JSON_NESTING at most */
	int rc;
};

void mesh_json_writer_fail(struct json_writer *w, int rc);
void mesh_json_writer_raw(struct json_writer *w, struct mesh_slice text);
void mesh_json_writer_text(struct json_writer *w, struct mesh_slice text); /* quoted and escaped */
void mesh_json_writer_base64(struct json_writer *w, struct mesh_slice bytes);
void mesh_json_writer_number(struct json_writer *w, double number, bool single); /* single: a float's digits suffice */
void mesh_json_writer_signed(struct json_writer *w, bool quoted, int64_t value);
void mesh_json_writer_unsigned(struct json_writer *w, bool quoted, uint64_t value);
void mesh_json_writer_colon(struct json_writer *w);
void mesh_json_writer_name(struct json_writer *w, struct mesh_slice name); /* with the colon */
bool mesh_json_writer_open(struct json_writer *w, const char *bracket);    /* false, nothing to close: too deep */
void mesh_json_writer_item(struct json_writer *w, bool *first);            /* before each element of a group */
void mesh_json_writer_close(struct json_writer *w, const char *bracket, bool empty);

#endif
