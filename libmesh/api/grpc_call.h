/* SPDX-License-Identifier: Apache-2.0 */
/* A gRPC call from inside, between the grpc_*.c of this folder: what is common to both sides. */
#ifndef MESH_API_GRPC_CALL_H
#define MESH_API_GRPC_CALL_H

#include <mesh/grpc.h>

#include <protobuf-c/protobuf-c.h>

#include "call/call.h"
#include "grpc/frame.h"
#include "grpc/gzip.h"

/* Receiving: the worker's alone. */
struct grpc_input {
	struct grpc_reader reader;
	struct grpc_gzip *gzip;
	struct buf plain;     /* the message shown, decompressed */
	struct buf pending;   /* received and not read: paused, or nobody takes it yet */
	struct buf held;      /* bytes given out by mesh_grpc_receive */
	struct arena message; /* the message shown */
	const ProtobufCMessage *kept; /* `single`: the only message, in the transport's arena */
	struct mesh_slice kept_bytes;
	unsigned count;
	bool single;    /* exactly one message is due and is kept */
	bool gzipped;   /* grpc-encoding says so */
	bool was_compressed; /* the last message */
	bool foreign;   /* client: the response is not gRPC, nothing of it is read */
	bool refused;   /* what still comes is not looked at */
	bool paused;
	bool ended;     /* all was received */
	bool told_end;
};

/* Sending: one thread at a time, under the lock. */
struct grpc_output {
	pthread_mutex_t lock;
	/* the message being sent, behind its prefix, is in transport->scratch */
	struct buf packed; /* before it is compressed */
	struct grpc_gzip *gzip;
	bool may_compress; /* the peer was told of gzip, or accepts it */
	bool compress;
	bool head;         /* server: sent */
	bool head_gzip;    /* and it says that messages may be compressed */
	bool ended;        /* no more messages */
	bool answered;     /* server: the only message waits there for room, and OK behind it */
};

/* Lies in the transport's arena. */
struct mesh_grpc_call {
	atomic_uint refs; /* the application's, and one while the transport runs */
	atomic_bool over; /* result may be read */
	struct mesh *mesh;
	struct mesh_call *transport;
	struct arena *arena; /* the transport's; the worker's */
	bool server;
	bool registered;
	bool done_told;
	bool transport_over;
	struct mesh_slice path;
	const ProtobufCMessageDescriptor *sends, *receives; /* NULL: bytes */
	struct mesh_grpc_events events;
	void *user;
	struct headers pairs; /* initial metadata received, as mesh_grpc_metadata_at tells it */
	const struct mesh_header *decoded; /* the fields they were made of */
	struct grpc_input in;
	struct grpc_output out;
	struct loop_task go_on; /* resumed */
	struct mesh_grpc_result result;
	int failure;            /* a code decided here, whatever the peer says; -1: none */
	struct why why;         /* its words */
	/* server */
	struct loop_timer deadline;
	atomic_ullong deadline_ns; /* 0: none */
	atomic_bool owed;       /* a service's function has not answered yet; holds a reference */
	const struct grpc_method *method;
	int finished;           /* the code sent; -1: not yet */
};

/* grpc_call.c */
void mesh_grpc_call_setup(struct mesh_grpc_call *call, struct mesh_call *transport, size_t message_bytes_max);
void mesh_grpc_call_clear(struct mesh_grpc_call *call); /* what it owns; not its transport */
void mesh_grpc_set_events(struct mesh_grpc_call *call, const struct mesh_grpc_events *events, void *user);
/* The result is there: tells `done`, once. On the worker, outside the application's own call. */
void mesh_grpc_settle(struct mesh_grpc_call *call, int code, struct mesh_slice message);
/* The transport is over; with the result told too its reference goes. */
void mesh_grpc_ended(struct mesh_grpc_call *call);
void mesh_grpc_drop(struct mesh_grpc_call *call); /* gives a reference back */
/* Drives the worker until `there`. AGAIN when the time is up, THREAD. */
int mesh_grpc_drive(struct mesh_grpc_call *call, int64_t timeout_ms, bool (*there)(const struct mesh_grpc_call *call));

/* grpc_receive.c */
void mesh_grpc_take(struct mesh_grpc_call *call, struct mesh_slice data); /* received; on the worker */
void mesh_grpc_take_end(struct mesh_grpc_call *call);
void mesh_grpc_resumed(struct loop_task *task);
/* grpc-encoding of what comes: false when it is none we know */
bool mesh_grpc_take_encoding(struct mesh_grpc_call *call, struct mesh_slice encoding);

/* grpc_send.c: under out.lock */
int mesh_grpc_pack(struct mesh_grpc_call *call, const ProtobufCMessage *message, struct mesh_slice bytes, struct mesh_slice *frame);
void mesh_grpc_sent(struct mesh_grpc_call *call); /* the frame was taken */

/* grpc_client.c */
void mesh_grpc_client_failed(struct mesh_grpc_call *call, int code, const char *words); /* ends the transport too */
void mesh_grpc_client_drained(struct mesh_grpc_call *call); /* the last message was taken */
int mesh_grpc_client_begin(struct mesh *mesh, const struct mesh_grpc_request *request, const ProtobufCMessage *message,
			   bool single, const struct mesh_grpc_events *events, void *user, struct mesh_grpc_call **call);

/* grpc_answer.c */
int mesh_grpc_answer_head(struct mesh_grpc_call *call, const struct mesh_header *metadata, size_t count); /* under out.lock */
void mesh_grpc_answer_writable(struct mesh_grpc_call *call);
/* Ends a server's call from our side, with words that live on. On the worker. */
void mesh_grpc_answer_failure(struct mesh_grpc_call *call, int code, const char *words);
void mesh_grpc_answer_closure(const ProtobufCMessage *message, void *closure_data);

/* grpc_server.c */
void mesh_grpc_dispatch(struct mesh_grpc_call *call); /* the request of a service's function is whole */

#endif
