/* SPDX-License-Identifier: Apache-2.0 */
/* Small files that somebody else replaces: read whole, bounded, with words when it fails; and seen to change. */
#ifndef MESH_CONTROL_FILE_H
#define MESH_CONTROL_FILE_H

#include "base/buf.h"
#include "base/why.h"

#define MESH_FILE_BYTES_MAX (1024 * 1024)

/*
 * Appends the file and then a NUL that is not counted. `what` names it in the words ("token", "root certificate").
 * An empty file is an error. MESH_ERROR_BOOTSTRAP with words, MESH_ERROR_NOMEM.
 */
int mesh_file_read(const char *path, const char *what, struct buf *out, struct why *why);

/* What stat says of a file; a replaced or rewritten one differs. All zero when there is none. */
struct file_stamp {
	uint64_t device, inode, bytes;
	int64_t modified_ns, changed_ns;
};
void mesh_file_stamp(const char *path, struct file_stamp *stamp); /* path NULL: all zero */
bool mesh_file_stamp_equal(const struct file_stamp *a, const struct file_stamp *b);

#endif
