/* SPDX-License-Identifier: Apache-2.0 */
/* The protobuf messages libmesh knows by name. */
#ifndef MESH_XDS_TYPE_REGISTRY_H
#define MESH_XDS_TYPE_REGISTRY_H

#include <protobuf-c/protobuf-c.h>

#include "base/slice.h"

/* By full name or by type URL (what follows the last '/'); NULL when not known. */
const ProtobufCMessageDescriptor *mesh_type_find(struct mesh_slice name);
size_t mesh_type_count(void);
const ProtobufCMessageDescriptor *mesh_type_at(size_t index);

#endif
