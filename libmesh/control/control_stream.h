/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Streams of messages to the control plane, without saying how they travel: gRPC (grpc_stream.c) or a test's script.
 * A unary call is a stream with one message each way. Everything here is for the thread that owns the loop.
 */
#ifndef MESH_CONTROL_CONTROL_STREAM_H
#define MESH_CONTROL_CONTROL_STREAM_H

#include "base/log.h"
#include "base/mem.h"
#include "loop/loop.h"

struct control; /* what the streams of one mesh share; begins with its struct control_ops pointer */
struct control_stream;

/* Status of an ended stream: gRPC's numbers. */
enum control_status {
	CONTROL_OK = 0,
	CONTROL_CANCELLED = 1,
	CONTROL_UNKNOWN = 2,
	CONTROL_INVALID_ARGUMENT = 3,
	CONTROL_DEADLINE_EXCEEDED = 4,
	CONTROL_PERMISSION_DENIED = 7,
	CONTROL_RESOURCE_EXHAUSTED = 8,
	CONTROL_UNIMPLEMENTED = 12,
	CONTROL_INTERNAL = 13,
	CONTROL_UNAVAILABLE = 14,
	CONTROL_UNAUTHENTICATED = 16,
};

/* Where a stream goes. Everything is borrowed for the call only; texts are NUL-terminated. */
struct control_target {
	const char *address;     /* "host:port", "[v6]:port" */
	const char *server_name; /* the name its certificate must have; NULL: plaintext */
	const char *roots_pem;   /* what its certificate must lead to; not used with plaintext */
	const char *chain_pem;   /* our own certificate and key; NULL: none */
	const char *key_pem;
	size_t message_bytes_max; /* a larger one ends the stream with RESOURCE_EXHAUSTED */
};

/* Receives what happens; embedded in its owner. Never called inside open, send or close. */
struct control_handler {
	void (*message)(struct control_handler *handler, struct mesh_slice bytes); /* borrowed during the call */
	/* Once and last. `text` is borrowed. The stream is still to be closed with `close`. */
	void (*closed)(struct control_handler *handler, int status, const char *text);
};

struct control_ops {
	int (*start)(const struct control_ops *ops, const struct mesh_mem *mem, const struct log *log, struct loop *loop,
		     struct control **control); /* NOMEM, SYSTEM */
	/* After all streams were closed, and not inside mesh_loop_run: runs the loop once for what is under way. */
	void (*stop)(struct control *control);
	/* Headers are lower-case. timeout_ms 0: none. INVALID: a header or the address cannot be sent; NOMEM. */
	int (*open)(struct control *control, const struct control_target *target, const char *method,
		    const struct mesh_header *headers, size_t header_count, uint32_t timeout_ms,
		    struct control_handler *handler, struct control_stream **stream);
	/* Copies. `last`: nothing follows from our side. NOMEM; STATE: it has ended, and `closed` follows if it is not told yet. */
	int (*send)(struct control_stream *stream, struct mesh_slice bytes, bool last);
	/* Cancels what is not over, frees; no event comes afterwards. Allowed inside events. NULL allowed. */
	void (*close)(struct control_stream *stream);
	void *user; /* for a script */
};

/* Over gRPC core. Every stream has a connection of its own: no state of an earlier failure lingers. */
extern const struct control_ops mesh_control_grpc;

static inline const struct control_ops *mesh_control_ops(const struct control *control)
{
	return *(const struct control_ops *const *)control;
}

#endif
