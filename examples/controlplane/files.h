/* SPDX-License-Identifier: Apache-2.0 */
/* Whole files in and out, and private keys that are made once and kept. */
#ifndef CP_FILES_H
#define CP_FILES_H

#include <openssl/evp.h>

#include "base/buf.h"
#include "base/why.h"

int cp_file_read(struct buf *out, const char *path, struct why *why); /* the limit of `out` bounds it */
/* Written beside and renamed, so that a reader sees the old bytes or the new ones. */
int cp_file_write(const char *path, struct mesh_slice bytes, unsigned mode, struct why *why);
/* The P-256 key in dir/name, made (mode 0600) when there is none; two processes agree on one. NULL: see `why`. */
EVP_PKEY *cp_file_key(const char *dir, const char *name, struct why *why);

#endif
