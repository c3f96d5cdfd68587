/* SPDX-License-Identifier: Apache-2.0 */
/* Requests on inbound connections: policies, the handler, the answer. */
#ifndef MESH_CALL_SERVE_H
#define MESH_CALL_SERVE_H

#include "call/inbound.h"

struct exchange *mesh_serve_accept(struct inbound *inbound); /* a request begins; NULL: no memory */

#endif
