/* SPDX-License-Identifier: Apache-2.0 */
/* Request headers by which a mesh speaks to itself. */
#ifndef MESH_POLICY_INTERNAL_HEADERS_H
#define MESH_POLICY_INTERNAL_HEADERS_H

#include "base/header.h"

/* From a peer: all that only somebody inside the proxy's own trust may say. */
void mesh_internal_headers_refuse(struct headers *headers);
/* To a peer: what the application asked of us, and of nobody behind us. */
void mesh_internal_headers_consume(struct headers *headers);

#endif
