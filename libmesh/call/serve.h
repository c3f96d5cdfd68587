/* SPDX-License-Identifier: Apache-2.0 */
/* Requests on inbound connections: policies, the handler, the answer. */
#ifndef MESH_CALL_SERVE_H
#define MESH_CALL_SERVE_H

#include "call/inbound.h"

struct exchange *mesh_serve_accept(struct inbound *inbound); /* a request begins; NULL: no memory */
/* Its request or its answer takes too long: `status` where nothing was answered yet, else the answer is cut off. */
void mesh_serve_expire(struct inbound *inbound, int error, int status, const char *why);
/* When the request now being received began; 0: none is. */
uint64_t mesh_serve_receiving_since_ns(const struct inbound *inbound);

#endif
