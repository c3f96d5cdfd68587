/* SPDX-License-Identifier: Apache-2.0 */
/* Appends the pieces of protobuf's wire format to a buffer. All return 0, MESH_ERROR_NOMEM or MESH_ERROR_TOO_LARGE. */
#ifndef MESH_XDS_WIRE_H
#define MESH_XDS_WIRE_H

#include <protobuf-c/protobuf-c.h>

#include "base/buf.h"

unsigned mesh_wire_type(ProtobufCType type); /* ProtobufCWireType of one value, not packed */
int mesh_wire_varint(struct buf *out, uint64_t value);
int mesh_wire_fixed(struct buf *out, uint64_t value, size_t len); /* little endian */
int mesh_wire_tag(struct buf *out, uint32_t id, unsigned wire);
int mesh_wire_bytes(struct buf *out, struct mesh_slice bytes); /* with their length */
/* Puts the length of all that came since mesh_buf_len() was `mark` in front of it. */
int mesh_wire_length(struct buf *out, size_t mark);

#endif
