/* SPDX-License-Identifier: Apache-2.0 */
/* A single field out of packed protobuf, without unpacking anything: for names. */
#ifndef MESH_XDS_PROTO_SCAN_H
#define MESH_XDS_PROTO_SCAN_H

#include "base/slice.h"

/* The last length-delimited field `id` at the top level, borrowed; absent when there is none. False: malformed. */
bool mesh_proto_text(struct mesh_slice message, uint32_t id, struct mesh_slice *text);

#endif
