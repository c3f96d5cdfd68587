/* SPDX-License-Identifier: Apache-2.0 */
/* Words for one failure, kept by whoever asked: the field and the value at fault. First words win. */
#ifndef MESH_BASE_WHY_H
#define MESH_BASE_WHY_H

#include <mesh/error.h>

struct why {
	char text[320]; /* "" when nothing failed */
};

/* Writes the words unless there are some already; returns `error`, for `return mesh_why(..)`. why may be NULL. */
int mesh_why(struct why *why, int error, const char *format, ...) __attribute__((format(printf, 3, 4)));

#endif
