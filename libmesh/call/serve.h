/* SPDX-License-Identifier: Apache-2.0 */
/* Requests on inbound connections: policies, the handler, the answer. */
#ifndef MESH_CALL_SERVE_H
#define MESH_CALL_SERVE_H

#include "call/inbound.h"

struct exchange *mesh_serve_accept(struct inbound *inbound); /* a request begins; NULL: no memory */
/* Its request or its answer takes too long: `status` where nothing was answered yet, else the answer is cut off. */
void mesh_serve_expire(struct inbound *inbound, int error, int status, const char *why);
/* serve_admit.c: everything before the application. False: answered. */
bool mesh_serve_admit(struct mesh_call *call);

/* serve_decorate.c: what the application is told of who is behind it; sets serve.remote. NOMEM */
int mesh_serve_decorate(struct mesh_call *call);

/* serve_answer.c: answers of our own; what still arrives of the request is not kept */
void mesh_serve_answer(struct mesh_call *call, int status, struct mesh_slice body, struct mesh_slice location);
void mesh_serve_refuse(struct mesh_call *call, int error, int status, const char *body);

/* When the request now being received began; 0: none is. */
uint64_t mesh_serve_receiving_since_ns(const struct inbound *inbound);
/* idle_timeout of the present request's route; -1: the listener's is in force. */
int64_t mesh_serve_idle_timeout_ns(const struct inbound *inbound);

#endif
