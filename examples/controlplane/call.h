/* SPDX-License-Identifier: Apache-2.0 */
/* One call at the server: messages in, messages out one at a time, a status at the end. */
#ifndef CP_CALL_H
#define CP_CALL_H

#include "server.h"

struct cp_call;

struct cp_call_ops {
	/* The next message is read after it returns, unless it finished the call. */
	void (*message)(struct cp_call *call, struct mesh_slice message);
	void (*sent)(struct cp_call *call); /* what cp_call_send took is on its way */
	void (*gone)(struct cp_call *call); /* the last: free `user` */
};

struct cp_call {
	struct cp_server *server;
	const struct cp_call_ops *ops;
	void *user;
	grpc_call *grpc;
	grpc_byte_buffer *incoming;
	grpc_byte_buffer *outgoing;
	struct cp_event opened, received, sent, closed, finished;
	unsigned pending; /* batches that have not come back */
	int cancelled;
	bool sending;
	bool finishing; /* a status is under way, or none is needed any more */
};

/* Owns `grpc` from now on. NULL when out of memory (the call is dropped then). */
struct cp_call *cp_call_start(struct cp_server *server, grpc_call *grpc, const struct cp_call_ops *ops, void *user);
/* Only while nothing else is being sent. Copies. */
void cp_call_send(struct cp_call *call, struct mesh_slice message);
void cp_call_finish(struct cp_call *call, grpc_status_code status, const char *words);

#endif
