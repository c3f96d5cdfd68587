/* SPDX-License-Identifier: Apache-2.0 */
/* How we introduce ourselves to the control plane: the Node message. */
#ifndef MESH_XDS_NODE_H
#define MESH_XDS_NODE_H

#include "base/buf.h"
#include "base/why.h"
#include "xds/bootstrap.h"

/* Appends the packed envoy.config.core.v3.Node. MESH_ERROR_INVALID with words, NOMEM. */
int mesh_node_encode(const struct bootstrap *bootstrap, struct buf *out, struct why *why);
/* Appends our metadata as Istio's TCP metadata exchange sends it: magic, length, Any. INVALID with words, NOMEM. */
int mesh_node_greeting(const struct bootstrap *bootstrap, struct buf *out, struct why *why);
/* Appends the bootstrap as a config dump shows it: {"node": {..}}. Holds no secret. NOMEM, TOO_LARGE. */
int mesh_node_dump(const struct bootstrap *bootstrap, struct buf *out);

#endif
