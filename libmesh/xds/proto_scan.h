/* SPDX-License-Identifier: Apache-2.0 */
/* Single fields out of packed protobuf, without unpacking anything: for names, and for parts to be shown. */
#ifndef MESH_XDS_PROTO_SCAN_H
#define MESH_XDS_PROTO_SCAN_H

#include "base/slice.h"

/* The last length-delimited field `id` at the top level, borrowed; absent when there is none. False: malformed. */
bool mesh_proto_text(struct mesh_slice message, uint32_t id, struct mesh_slice *text);
/* The next such field, of a repeated one; *rest begins as the message. False: no more, or malformed. */
bool mesh_proto_next(struct mesh_slice *rest, uint32_t id, struct mesh_slice *value);

#endif
