/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gRPC through the mesh, on the services and messages that protoc-c generates.
 *
 * A client starts a call with mesh_grpc_call_start (any shape), makes a whole unary one with mesh_grpc_unary, or lets a
 * generated stub do that (mesh_grpc_client_service). A server is a set of methods (mesh_grpc_server_*) behind a
 * listener: mesh_grpc_handle is its handler, with request_bytes_max 0.
 *
 * Both sides of a call are a `struct mesh_grpc_call`. Its shape is how it is used: a unary call sends one message each
 * way, a streaming one any number until mesh_grpc_end (client) or mesh_grpc_finish (server).
 *
 * Thread rule: as call.h. A call belongs to its worker; on a library worker it may also be sent to, ended, cancelled
 * and waited for from another thread, by one thread at a time.
 *
 * The structs of protobuf-c are named by their tags, so that this header needs no other: `&request.base` of a generated
 * message and `&pkg__service__descriptor` fit.
 */
#ifndef MESH_GRPC_H
#define MESH_GRPC_H

#include <mesh/call.h>
#include <mesh/error.h>
#include <mesh/listener.h>
#include <mesh/types.h>

#ifdef __cplusplus
extern "C" {
#endif

struct ProtobufCMessage;
struct ProtobufCService;
struct ProtobufCServiceDescriptor;

struct mesh_grpc_call;
struct mesh_grpc_server;

/* How a gRPC call ended, as it is on the wire. */
enum mesh_grpc_code {
	MESH_GRPC_OK = 0,
	MESH_GRPC_CANCELLED = 1,
	MESH_GRPC_UNKNOWN = 2,
	MESH_GRPC_INVALID_ARGUMENT = 3,
	MESH_GRPC_DEADLINE_EXCEEDED = 4,
	MESH_GRPC_NOT_FOUND = 5,
	MESH_GRPC_ALREADY_EXISTS = 6,
	MESH_GRPC_PERMISSION_DENIED = 7,
	MESH_GRPC_RESOURCE_EXHAUSTED = 8,
	MESH_GRPC_FAILED_PRECONDITION = 9,
	MESH_GRPC_ABORTED = 10,
	MESH_GRPC_OUT_OF_RANGE = 11,
	MESH_GRPC_UNIMPLEMENTED = 12,
	MESH_GRPC_INTERNAL = 13,
	MESH_GRPC_UNAVAILABLE = 14,
	MESH_GRPC_DATA_LOSS = 15,
	MESH_GRPC_UNAUTHENTICATED = 16,
};

/* How messages are sent. What is received is taken in either form. */
enum mesh_grpc_encoding {
	MESH_GRPC_IDENTITY = 0,
	MESH_GRPC_GZIP = 1,
};

/*
 * Name of a code ("DEADLINE_EXCEEDED"); "UNKNOWN" for numbers that are none.
 * Thread: any. Owns: static text. Errors: none. Since: 0.1
 */
MESH_EXPORT const char *mesh_grpc_code_name(int code);

/*
 * How a call ended: given to mesh_grpc_finish by a server, read with mesh_grpc_result on either side. Metadata here and
 * below: names in lower case; a name ending in "-bin" has any bytes as its value, others printable ASCII. Since: 0.1
 */
struct mesh_grpc_result {
	size_t size; /* sizeof(struct mesh_grpc_result) */
	int code;    /* enum mesh_grpc_code; a number the peer sent that is none of them is told as UNKNOWN */
	struct mesh_slice message; /* words, UTF-8; a peer's are told as it sent them, control characters included */
	struct mesh_slice details; /* grpc-status-details-bin: a packed google.rpc.Status; absent when none */
	const struct mesh_header *metadata; /* trailing metadata */
	size_t metadata_count;
};

/*
 * What a call reports. Any may be NULL. Never called inside the function that caused it; `done` comes exactly once and
 * last. Without a `message` event what a client receives is kept, with the peer slowed down, until mesh_grpc_receive
 * takes it, to the last, and the call is not over before; what a server receives is dropped.
 * Thread: the call's worker. Since: 0.1
 */
struct mesh_grpc_events {
	size_t size; /* sizeof(struct mesh_grpc_events) */
	/* client: the server's initial metadata arrived */
	void (*headers)(struct mesh_grpc_call *call, void *user);
	/* one message: `message` unpacked, NULL on a call by path; `bytes` as received. Borrowed until it returns */
	void (*message)(struct mesh_grpc_call *call, const struct ProtobufCMessage *message, struct mesh_slice bytes,
			void *user);
	/* server: the client sends no more messages */
	void (*end)(struct mesh_grpc_call *call, void *user);
	/* sending returned AGAIN before and there is room now */
	void (*writable)(struct mesh_grpc_call *call, void *user);
	/* over: mesh_grpc_result tells how. On a server CANCELLED and DEADLINE_EXCEEDED say that nobody waits any more */
	void (*done)(struct mesh_grpc_call *call, void *user);
};

/* ---- client ---- */

/* A call to make. Everything is copied before mesh_grpc_call_start returns; descriptors must stay. Since: 0.1 */
struct mesh_grpc_request {
	size_t size;                 /* sizeof(struct mesh_grpc_request) */
	struct mesh_slice authority; /* required: "reviews:9080" */
	const struct ProtobufCServiceDescriptor *service; /* with `method`: messages are packed and unpacked */
	const char *method;          /* "SayHello" */
	struct mesh_slice path;      /* instead of both: "/pkg.Greeter/SayHello"; messages are bytes */
	const struct mesh_header *metadata;
	size_t metadata_count;
	/* bound on the whole call from its start, told to the server: DEADLINE_EXCEEDED; 0: none but the mesh's own, whose end is
	 * UNAVAILABLE as a sidecar tells it */
	uint32_t deadline_ms;
	enum mesh_grpc_encoding encoding; /* of messages sent */
	size_t message_bytes_max;    /* bound on a message received, after decompression too; 0: 4 MiB, at most 1 GiB */
	/* mesh_grpc_unary: while there is nothing to call (configuration, endpoint, connection), waits, to the deadline */
	bool wait_for_ready;
	struct mesh_worker *worker;  /* NULL: the calling thread's own, implicit worker */
};

/*
 * Starts a call of any shape. Messages follow by mesh_grpc_send, the last of them by mesh_grpc_end.
 * Thread: any when request->worker is NULL or a library worker, else that worker's. Owns: *call is the caller's
 * reference, give it back with mesh_grpc_release. `events` is copied and may be NULL.
 * Errors: INVALID (a malformed request or metadata, no such method), TOO_LARGE, NOMEM, SYSTEM, DRAINING. Since: 0.1
 */
MESH_EXPORT int mesh_grpc_call_start(struct mesh *mesh, const struct mesh_grpc_request *request,
				     const struct mesh_grpc_events *events, void *user, struct mesh_grpc_call **call);

/*
 * The same with the only message the client sends: one write, and retried as the route says.
 * Thread: as mesh_grpc_call_start. Owns: as there; `message` is copied. Errors: as there. Since: 0.1
 */
MESH_EXPORT int mesh_grpc_call_start_with(struct mesh *mesh, const struct mesh_grpc_request *request,
					  const struct ProtobufCMessage *message, const struct mesh_grpc_events *events,
					  void *user, struct mesh_grpc_call **call);

/*
 * Makes a unary call and blocks until it is over. Returns its code; mesh_grpc_reply is what came, mesh_grpc_result how
 * it went. Release *call when both were read; it is NULL after an error.
 * Thread: any outside callbacks; worker NULL or a library worker. Owns: *call is the caller's.
 * Errors: as mesh_grpc_call_start, THREAD. What the mesh or the peer decides is no error but a code. Since: 0.1
 */
MESH_EXPORT int mesh_grpc_unary(struct mesh *mesh, const struct mesh_grpc_request *request,
				const struct ProtobufCMessage *message, struct mesh_grpc_call **call);

/*
 * The message of a unary call's answer; NULL when none came whole.
 * Thread: the call's. Owns: lives as long as the call. Errors: none. Since: 0.1
 */
MESH_EXPORT const struct ProtobufCMessage *mesh_grpc_reply(const struct mesh_grpc_call *call);

/* Is told by each call of a generated stub how it went, before the stub's closure. Thread: the call's. Since: 0.1 */
typedef void mesh_grpc_outcome_fn(struct ProtobufCService *service, const struct mesh_grpc_result *result, void *user);

/*
 * A service whose generated stubs (pkg__greeter__say_hello(service, request, closure, data)) make unary calls as
 * `request` says (service and method are the stub's). Without a worker a stub blocks and calls its closure before it
 * returns; with one the closure is called on that worker. The closure gets NULL when the call did not end OK; `outcome`
 * (may be NULL) has the code and the words.
 * Thread: any; with a borrowed worker its own. Owns: *service is the caller's, end it with protobuf_c_service_destroy
 * once its calls are over and before mesh_close. Errors: INVALID, NOMEM. Since: 0.1
 */
MESH_EXPORT int mesh_grpc_client_service(struct mesh *mesh, const struct ProtobufCServiceDescriptor *descriptor,
					 const struct mesh_grpc_request *request, mesh_grpc_outcome_fn *outcome, void *user,
					 struct ProtobufCService **service);

/* ---- both sides ---- */

/*
 * Sends a message. All or nothing: nothing was taken when it returns AGAIN; `writable` tells when to try again, a
 * blocking caller uses mesh_grpc_wait_writable.
 * Thread: see above. Owns: the message is copied.
 * Errors: AGAIN, INVALID (not the method's type), STATE (ended), NOMEM, or the call's own when it is over. Since: 0.1
 */
MESH_EXPORT int mesh_grpc_send(struct mesh_grpc_call *call, const struct ProtobufCMessage *message);
MESH_EXPORT int mesh_grpc_send_bytes(struct mesh_grpc_call *call, struct mesh_slice bytes);

/*
 * Says whether the messages sent from here on are compressed. Client: the call was started with GZIP. Server: the
 * client accepts it, and it was said once before the head went, with the first message or by mesh_grpc_send_metadata.
 * Thread: as sending. Owns: nothing. Errors: STATE. Since: 0.1
 */
MESH_EXPORT int mesh_grpc_compress(struct mesh_grpc_call *call, bool compress);

/* Client: no more messages. Thread: as sending. Owns: nothing. Errors: as mesh_grpc_send. Since: 0.1 */
MESH_EXPORT int mesh_grpc_end(struct mesh_grpc_call *call);

/*
 * Blocks until sending has room.
 * Thread: as mesh_call_wait_writable. Owns: nothing. Errors: TIMEOUT, THREAD, or the call's own. Since: 0.1
 */
MESH_EXPORT int mesh_grpc_wait_writable(struct mesh_grpc_call *call, int64_t timeout_ms);

/*
 * Blocks until the next message, driving the call's worker. 1: here it is; 0: no more come, and mesh_grpc_wait tells
 * the code at once. timeout_ms < 0 waits for ever. `bytes` is as received; `message` is NULL on a call by path alone.
 * Either may be NULL.
 * Thread: the one that drives the worker (implicit or borrowed), outside callbacks. Owns: both are borrowed until the
 * next receive or release. Errors: AGAIN (time is up), THREAD, STATE (a server, or there is a `message` event). Since:
 * 0.1
 */
MESH_EXPORT int mesh_grpc_receive(struct mesh_grpc_call *call, int64_t timeout_ms,
				  const struct ProtobufCMessage **message, struct mesh_slice *bytes);

/*
 * Blocks until the call is over and returns its code.
 * Thread: as mesh_call_wait. Owns: nothing. Errors: AGAIN (time is up), THREAD. Since: 0.1
 */
MESH_EXPORT int mesh_grpc_wait(struct mesh_grpc_call *call, int64_t timeout_ms);

/* Flow control: stops or resumes `message` events. Thread: the worker's. Owns: nothing. Errors: none. Since: 0.1 */
MESH_EXPORT void mesh_grpc_pause(struct mesh_grpc_call *call);
MESH_EXPORT void mesh_grpc_resume(struct mesh_grpc_call *call);

/*
 * Gives the call up: `done` follows with CANCELLED, the peer is told.
 * Thread: see above. Owns: the reference stays. Errors: none. Since: 0.1
 */
MESH_EXPORT void mesh_grpc_cancel(struct mesh_grpc_call *call);

/* How it ended; NULL while it runs. Thread: the call's. Owns: lives as long as the call. Errors: none. Since: 0.1 */
MESH_EXPORT const struct mesh_grpc_result *mesh_grpc_result(const struct mesh_grpc_call *call);

/*
 * Initial metadata received: the first value of that name, absent when none; the i-th pair, absent past the last.
 * Values of "-bin" names are decoded, lists of them split, those of more than 100 left out.
 * Thread: the call's. Owns: lives as long as the call. Errors: none. Since: 0.1
 */
MESH_EXPORT struct mesh_slice mesh_grpc_metadata(struct mesh_grpc_call *call, const char *name);
MESH_EXPORT struct mesh_header mesh_grpc_metadata_at(struct mesh_grpc_call *call, size_t index);

/* Which method it is: "/pkg.Service/Method". Thread: any. Owns: lives as long as the call. Errors: none. Since: 0.1 */
MESH_EXPORT struct mesh_slice mesh_grpc_path(const struct mesh_grpc_call *call);

/*
 * What carries it: for the peer, the result (endpoint, attempts, why), headers as they are on the wire.
 * Thread: any. Owns: borrowed, lives as long as the call. Errors: none. Since: 0.1
 */
MESH_EXPORT struct mesh_call *mesh_grpc_transport(const struct mesh_grpc_call *call);

/* One more reference; returns the call. Thread: any. Owns: the caller has one more. Errors: none. Since: 0.1 */
MESH_EXPORT struct mesh_grpc_call *mesh_grpc_retain(struct mesh_grpc_call *call);

/*
 * Gives a reference back; with the last one a client's call still running is cancelled. NULL is allowed.
 * Thread: any. Owns: the caller's reference is gone. Errors: none. Since: 0.1
 */
MESH_EXPORT void mesh_grpc_release(struct mesh_grpc_call *call);

/* ---- server ---- */

/*
 * A call to a method registered with mesh_grpc_server_on: register what to be told with mesh_grpc_on, answer with
 * mesh_grpc_send and mesh_grpc_finish, now or later. Without events, a reference or an end when it returns: INTERNAL.
 * Thread: the call's worker. Owns: `call` is borrowed; until `done` it stays. Since: 0.1
 */
typedef void mesh_grpc_method_fn(struct mesh_grpc_call *call, void *user);

/* How a server behaves. Since: 0.1 */
struct mesh_grpc_server_options {
	size_t size;               /* sizeof(struct mesh_grpc_server_options) */
	size_t message_bytes_max;  /* bound on a message received, after decompression too; 0: 4 MiB, at most 1 GiB */
	mesh_handler_fn *fallback; /* requests that are not gRPC; NULL: 415 */
	void *fallback_user;
	bool compress;             /* answers go gzip where the client accepts it */
};

/*
 * Makes an empty set of methods. `options` may be NULL. Register before the listener that uses it is opened.
 * Thread: any. Owns: *server is the caller's; free it after its listeners are closed and before mesh_close.
 * Errors: INVALID, NOMEM. Since: 0.1
 */
MESH_EXPORT int mesh_grpc_server_new(struct mesh *mesh, const struct mesh_grpc_server_options *options,
				     struct mesh_grpc_server **server);

/*
 * Registers all methods of a service as unary ones: its functions (generated, PKG__GREETER__INIT) are called with a
 * whole request. Their closure_data is the `struct mesh_grpc_call`: for metadata, peer, mesh_grpc_on. They answer
 * exactly once, in place or later, on the worker or from another thread: by their closure (NULL is INTERNAL), or by
 * mesh_grpc_finish instead. The call and the request live until then.
 * Thread: any, before use. Owns: `service` stays the caller's and must outlive the server. Errors: INVALID, STATE (a
 * method registered twice), NOMEM. Since: 0.1
 */
MESH_EXPORT int mesh_grpc_server_add(struct mesh_grpc_server *server, struct ProtobufCService *service);

/*
 * Registers one method of any shape, in place of the service's own where both are there; by path alone messages are
 * bytes.
 * Thread: any, before use. Owns: the descriptor must stay, user is borrowed. Errors: INVALID (no such method), STATE
 * (twice), NOMEM. Since: 0.1
 */
MESH_EXPORT int mesh_grpc_server_on(struct mesh_grpc_server *server, const struct ProtobufCServiceDescriptor *service,
				    const char *method, mesh_grpc_method_fn *handler, void *user);
MESH_EXPORT int mesh_grpc_server_on_path(struct mesh_grpc_server *server, struct mesh_slice path,
					 mesh_grpc_method_fn *handler, void *user);

/*
 * Serves one request: the handler to give to mesh_listen, with the server as its user.
 * Thread: the worker's. Owns: as mesh_handler_fn. Errors: none. Since: 0.1
 */
MESH_EXPORT void mesh_grpc_handle(struct mesh_call *call, void *server);

/* NULL is allowed. Thread: any, see mesh_grpc_server_new. Owns: `server` is gone. Errors: none. Since: 0.1 */
MESH_EXPORT void mesh_grpc_server_free(struct mesh_grpc_server *server);

/*
 * Registers what to be told about a server's call, from inside its handler.
 * Thread: the worker's. Owns: events are copied, user is borrowed. Errors: INVALID, STATE. Since: 0.1
 */
MESH_EXPORT int mesh_grpc_on(struct mesh_grpc_call *call, const struct mesh_grpc_events *events, void *user);

/*
 * Server: sends initial metadata ahead of the first message; else it goes with that, empty.
 * Thread: as sending. Owns: copied. Errors: INVALID (malformed or reserved), STATE (sent before), NOMEM. Since: 0.1
 */
MESH_EXPORT int mesh_grpc_send_metadata(struct mesh_grpc_call *call, const struct mesh_header *metadata, size_t count);

/*
 * Server: ends the call. NULL is OK without words.
 * Thread: as sending. Owns: copied. Errors: INVALID (malformed or reserved metadata; nothing was sent), AGAIN (as
 * mesh_grpc_send), STATE (ended before), NOMEM, or the call's own when it is over. Since: 0.1
 */
MESH_EXPORT int mesh_grpc_finish(struct mesh_grpc_call *call, const struct mesh_grpc_result *result);

/*
 * Was the message told of, or received, last compressed on the wire?
 * Thread: the worker's. Owns: nothing. Errors: none. Since: 0.1
 */
MESH_EXPORT bool mesh_grpc_was_compressed(const struct mesh_grpc_call *call);

/* What is left of the client's deadline, -1: it set none. Thread: any. Owns: nothing. Errors: none. Since: 0.1 */
MESH_EXPORT int64_t mesh_grpc_deadline_ms(const struct mesh_grpc_call *call);

/* ---- health ---- */

enum mesh_grpc_health {
	MESH_GRPC_HEALTH_UNKNOWN = 0,
	MESH_GRPC_HEALTH_SERVING = 1,
	MESH_GRPC_HEALTH_NOT_SERVING = 2,
};

/*
 * Adds grpc.health.v1.Health (Check, List, Watch) to a server. The server as a whole ("") is SERVING from the start.
 * Thread: any, before use. Owns: nothing. Errors: STATE (twice), NOMEM. Since: 0.1
 */
MESH_EXPORT int mesh_grpc_health_add(struct mesh_grpc_server *server);

/*
 * Sets the health of a service; who watches it is told. "" is the server as a whole.
 * Thread: any. Owns: the name is copied. Errors: INVALID, STATE (no health service), TOO_LARGE (more than 1000 names),
 * NOMEM. Since: 0.1
 */
MESH_EXPORT int mesh_grpc_health_set(struct mesh_grpc_server *server, const char *service,
				     enum mesh_grpc_health health);

#ifdef __cplusplus
}
#endif
#endif
