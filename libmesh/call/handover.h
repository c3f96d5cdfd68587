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

/* Posts it; takes a reference of its own on the call. NOMEM. */
int mesh_handover_post(struct mesh_call *call, const struct handover *what);
/* The same without memory: of pausing and resuming the last one counts, cancelling is final. */
void mesh_handover_control(struct mesh_call *call, enum handover_control what);
/* Gives the caller's last reference to the worker, which ends the call if it still runs. */
void mesh_handover_release(struct mesh_call *call);
/* Blocks a thread that is not the worker's until the call is over. AGAIN when the time is up. */
int mesh_handover_wait(struct mesh_call *call, int64_t timeout_ms);

#endif
