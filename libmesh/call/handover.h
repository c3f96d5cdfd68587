/* SPDX-License-Identifier: Apache-2.0 */
/* What an application thread does to a call that lives on a library worker: copied, posted, done there in order. */
#ifndef MESH_CALL_HANDOVER_H
#define MESH_CALL_HANDOVER_H

#include "call/call.h"

enum handover_kind {
	HANDOVER_BEGIN,
	HANDOVER_SEND,
	HANDOVER_TRAILERS,
	HANDOVER_RESPOND,
	HANDOVER_INFORM,
};

/* What must arrive also when memory is short. */
enum handover_control {
	HANDOVER_CANCEL = 1,
	HANDOVER_PAUSE = 2,
	HANDOVER_RESUME = 4,
};

struct handover {
	enum handover_kind kind;
	int status;
	bool end;
	struct mesh_slice data;
	const struct mesh_header *headers;
	size_t header_count;
};

/* Posts it; takes a reference of its own on the call. AGAIN: too much is on its way already; NOMEM. */
int mesh_handover_post(struct mesh_call *call, const struct handover *what);
/* On the worker: something handed over still waits for room, so nothing may be sent before it. `writable` follows. */
bool mesh_handover_first(struct mesh_call *call);
/* On the worker: there is room. True when it was for what is handed over, which also tells `writable` where it is due. */
bool mesh_handover_go_on(struct mesh_call *call);
void mesh_handover_empty(struct mesh_call *call); /* on the worker: the call is over */
/* The same without memory: of pausing and resuming the last one counts, cancelling is final. */
void mesh_handover_control(struct mesh_call *call, enum handover_control what);
/* Gives the caller's last reference to the worker, which ends the call if it still runs. */
void mesh_handover_release(struct mesh_call *call);
/* Blocks a thread that is not the worker's until the call is over. AGAIN when the time is up. */
int mesh_handover_wait(struct mesh_call *call, int64_t timeout_ms);
/* The same until mesh_handover_post takes more, or the call is over. TIMEOUT when the time is up. */
int mesh_handover_wait_room(struct mesh_call *call, int64_t timeout_ms);

#endif
