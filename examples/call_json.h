/* SPDX-License-Identifier: Apache-2.0 */
/* What mesh-call and mesh-echo say of a call, as JSON. */
#ifndef MESH_CALL_JSON_H
#define MESH_CALL_JSON_H

#include <jansson.h>
#include <mesh/mesh.h>

/* Bytes of a peer need not be UTF-8, JSON must be: if they are not, each byte beyond ASCII becomes '?'. "" when absent. */
json_t *call_json_text(struct mesh_slice text);
/* The headers received, by name in lower case; several of one name become one with commas between the values. */
json_t *call_json_headers(const struct mesh_call *call);

#endif
