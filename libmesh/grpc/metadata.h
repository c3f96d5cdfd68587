/* SPDX-License-Identifier: Apache-2.0 */
/* Metadata: an application's pairs as header fields and back; which fields are gRPC's own. */
#ifndef MESH_GRPC_METADATA_H
#define MESH_GRPC_METADATA_H

#include "base/header.h"

/* "application/grpc", with "+proto" or parameters behind it. */
bool mesh_grpc_content_type(struct mesh_slice value);
/* Appends content-type, grpc-status and, where there are words, grpc-message: a head that is all of an answer. NOMEM. */
int mesh_grpc_status_fields(struct arena *arena, int code, struct mesh_slice words, struct headers *fields);
/* Is `encoding` in a list such as "identity, gzip"? */
bool mesh_grpc_encoding_listed(struct mesh_slice list, struct mesh_slice encoding);
/*
 * Appends pairs as fields: borrowed, "-bin" values in base64 without padding. INVALID (a name not in lower case or reserved, a
 * value that is not printable ASCII), NOMEM.
 */
int mesh_grpc_metadata_encode(struct arena *arena, const struct mesh_header *pairs, size_t count, struct headers *fields);
#define MESH_GRPC_LIST_MAX 100 /* values: a comma is a byte of the peer's, a pair many of ours */
/*
 * Appends what is metadata among fields received: borrowed, "-bin" values split at commas and decoded. One that is no base64
 * is left out, and so is a longer list. NOMEM.
 */
int mesh_grpc_metadata_decode(struct arena *arena, const struct headers *fields, struct headers *pairs);
/* Base64 of either kind. absent: it is none. NOMEM. */
int mesh_grpc_bin_decode(struct arena *arena, struct mesh_slice text, struct mesh_slice *bytes);
int mesh_grpc_bin_encode(struct arena *arena, struct mesh_slice bytes, struct mesh_slice *text);

#endif
