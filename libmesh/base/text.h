/* SPDX-License-Identifier: Apache-2.0 */
/* Text forms: base64, percent-escapes, uuid, durations. Locale-free. */
#ifndef MESH_BASE_TEXT_H
#define MESH_BASE_TEXT_H

#include "base/buf.h"
#include "base/rand.h"

/* Base64 and percent decoding append all or nothing; JSON may leave its beginning. Errors also: NOMEM, TOO_LARGE. */
int mesh_text_base64_append(struct buf *out, struct mesh_slice bytes); /* with padding */
int mesh_text_base64_decode(struct buf *out, struct mesh_slice text);  /* either alphabet, padded or not; INVALID */
int mesh_text_json_append(struct buf *out, struct mesh_slice text);    /* quoted, escaped; bad UTF-8 becomes U+FFFD */
/* In place: control characters and what is not UTF-8 become '?', so that it is one line any reader takes. */
void mesh_text_make_plain(char *line);
int mesh_text_percent_decode(struct buf *out, struct mesh_slice text); /* MESH_ERROR_INVALID on a bad escape */
#define MESH_UUID_BYTES 36
void mesh_text_uuid(struct rand *rand, char text[MESH_UUID_BYTES]); /* version 4, lower case, no NUL */
/* "90s", "24h0m0s", "250ms", "1.5h" as Go writes durations; not negative, each number with its unit. */
bool mesh_text_duration_ns(struct mesh_slice text, int64_t *ns);
size_t mesh_text_u64(char text[20], uint64_t value); /* decimal digits, returns their number; no NUL */

#endif
