/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shadows: copies of a client's call that go to other clusters because the route says so. Each is a call of its own on the
 * same worker which the application does not know of; it may outlive the call it copies. All on the worker's thread.
 */
#ifndef MESH_CALL_MIRROR_H
#define MESH_CALL_MIRROR_H

#include "call/call.h"

/* In place of mesh_attempt_start where the route mirrors: begins the first try, and beside it the shadows. */
void mesh_mirror_start(struct mesh_call *call);
/* call->out grew or ended: the shadows get what they have room for; the rest as they send. */
void mesh_mirror_feed(struct mesh_call *call);
/* As many bytes of call->out are about to be consumed: a shadow that has not got them yet cannot go on. */
void mesh_mirror_let_go(struct mesh_call *call, size_t bytes);
/* The call is over: what its shadows have not got yet they get now. One whose request will never be whole ends. */
void mesh_mirror_stop(struct mesh_call *call);

/* mirror_request.c: the shadow's request, from the call's with these headers. NOMEM, and as mesh_rewrite_request */
int mesh_mirror_request(struct mesh_call *call, const struct headers *headers, const struct mirror_policy *policy,
			struct mesh_call *shadow);

#endif
