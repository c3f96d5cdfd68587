/* SPDX-License-Identifier: Apache-2.0 */
/* Messages compressed with gzip, one message at a time. */
#ifndef MESH_GRPC_GZIP_H
#define MESH_GRPC_GZIP_H

#include "base/buf.h"

struct grpc_gzip; /* what zlib keeps between messages of one call */

/* *gzip is NULL before the first message; mesh_grpc_gzip_free ends it. Both append to `out`. */
int mesh_grpc_deflate(struct grpc_gzip **gzip, const struct mesh_mem *mem, struct mesh_slice in, struct buf *out);
/* At most `max` bytes come out of it. INVALID (not gzip, cut off), TOO_LARGE, NOMEM. */
int mesh_grpc_inflate(struct grpc_gzip **gzip, const struct mesh_mem *mem, struct mesh_slice in, size_t max, struct buf *out);
void mesh_grpc_gzip_free(struct grpc_gzip *gzip); /* NULL allowed */

#endif
