/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An outline of names and values, written as it is told: as indented text for people or as JSON for programs, so that the
 * two cannot differ. The first failure sticks, nothing is written after it, and mesh_outline_end returns it.
 */
#ifndef MESH_BASE_OUTLINE_H
#define MESH_BASE_OUTLINE_H

#include "base/buf.h"

#define MESH_OUTLINE_NESTING 16

struct outline {
	struct buf *out;
	bool json;
	int rc;
	unsigned depth;
	unsigned passed_over; /* groups told after a failure */
	struct {
		bool list;
		bool filled; /* something is in it */
		bool item;   /* text: its first line begins with the dash of the list it is in */
	} levels[MESH_OUTLINE_NESTING];
};

/* Appends to `out`. The whole is one group, open until mesh_outline_end. */
void mesh_outline_begin(struct outline *outline, struct buf *out, bool json);
int mesh_outline_end(struct outline *outline); /* NOMEM, TOO_LARGE; every group was closed */

/* `name` is NULL inside a list. What is opened must be closed, whatever failed. */
void mesh_outline_group(struct outline *outline, const char *name);
void mesh_outline_list(struct outline *outline, const char *name);
void mesh_outline_close(struct outline *outline);

/* Values. An absent text (data NULL) is left out. */
void mesh_outline_text(struct outline *outline, const char *name, struct mesh_slice text);
void mesh_outline_printf(struct outline *outline, const char *name, const char *format, ...)
	__attribute__((format(printf, 3, 4))); /* 511 bytes at most, the rest is cut */
void mesh_outline_number(struct outline *outline, const char *name, uint64_t value);
void mesh_outline_flag(struct outline *outline, const char *name, bool value);

#endif
