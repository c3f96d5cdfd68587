/* SPDX-License-Identifier: Apache-2.0 */
/* Requests on inbound connections: policies, the handler, the answer. */
#ifndef MESH_CALL_SERVE_H
#define MESH_CALL_SERVE_H

#include "call/inbound.h"
#include "policy/cors.h"

struct exchange *mesh_serve_accept(struct inbound *inbound); /* a request begins; NULL: no memory */
void mesh_serve_moved(struct mesh_call *call); /* a sign of life in either direction */
/* serve_admit.c: everything before the application. False: answered. */
bool mesh_serve_admit(struct mesh_call *call);

/* serve_decorate.c: what the application is told of who is behind it; sets serve.remote. NOMEM */
int mesh_serve_decorate(struct mesh_call *call);

/* serve_answer.c: answers of our own; what still arrives of the request is not kept */
void mesh_serve_answer(struct mesh_call *call, int status, struct mesh_slice body, struct mesh_slice location);
/* What the call's route answers in the application's place: a redirect, or what it says itself. */
void mesh_serve_follow(struct mesh_call *call, const struct route_request *request);
void mesh_serve_preflight(struct mesh_call *call, const struct cors_config *config, const struct route_request *request,
			  struct mesh_slice origin);
void mesh_serve_refuse(struct mesh_call *call, int error, int status, const char *body);

/* There is room: what is left of an answer goes first. False: there is none behind it, or the call is over. */
bool mesh_serve_go_on(struct mesh_call *call);

/* serve_timeout.c */

/* Ends the requests that take too long; when to look again, 0: no need. */
uint64_t mesh_serve_check_time(struct inbound *inbound, uint64_t now);
/* The connection's timer knows its route's limits from now on. */
void mesh_serve_watch(struct mesh_call *call);

#endif
