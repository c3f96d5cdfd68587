/* SPDX-License-Identifier: Apache-2.0 */
/* Regular expressions in Envoy's dialect: RE2, linear time. A compiled expression may be used from any thread. */
#ifndef MESH_BASE_REGEX_H
#define MESH_BASE_REGEX_H

#include "base/buf.h"
#include "base/why.h"

#ifdef __cplusplus
extern "C" {
#endif

struct regex;

/* MESH_ERROR_INVALID with words in `why` (syntax, too large a program), MESH_ERROR_NOMEM. */
int mesh_regex_new(struct mesh_slice pattern, struct regex **regex, struct why *why);
void mesh_regex_free(struct regex *regex); /* NULL allowed */
bool mesh_regex_match(const struct regex *regex, struct mesh_slice text); /* the whole text */
/*
 * Replaces all matches of the expression, \1 for groups, as Envoy's regex rewrite. MESH_ERROR_INVALID when `with` names
 * a group that is not there: try it on an empty text to validate a configuration. NOMEM, TOO_LARGE: `out` is unchanged.
 */
int mesh_regex_replace(const struct regex *regex, struct mesh_slice text, struct mesh_slice with, struct buf *out);

#ifdef __cplusplus
}
#endif
#endif
