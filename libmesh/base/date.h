/* SPDX-License-Identifier: Apache-2.0 */
/* Dates written as a format says. Reads no clock. */
#ifndef MESH_BASE_DATE_H
#define MESH_BASE_DATE_H

#include "base/slice.h"

#define MESH_DATE_BYTES 256

/*
 * `ns` since 1970 in UTC, by the conversions of strftime and those of Envoy for parts of a second (%3f, %E3S) and seconds
 * since 1970 (%s); how many characters, no NUL. What finds no room is left out.
 */
size_t mesh_date_format(char text[MESH_DATE_BYTES], uint64_t ns, struct mesh_slice form);

#endif
