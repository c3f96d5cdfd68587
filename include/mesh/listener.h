/* SPDX-License-Identifier: Apache-2.0 */
/* Listeners: serve a port as the mesh configuration says (mutual TLS, authorization, ..). */
#ifndef MESH_LISTENER_H
#define MESH_LISTENER_H

#include <mesh/call.h>
#include <mesh/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Called for each request the policies let in. Answer with mesh_call_respond, now or later (retain it then; without a
 * reference of its own and without an answer when the handler returns and no events registered, the answer is 500).
 * Thread: the worker that accepted the connection. Owns: `call` is borrowed; mesh_call_retain to keep it. Since: 0.1
 */
typedef void mesh_handler_fn(struct mesh_call *call, void *user);

/*
 * Called for each TCP connection the policies let in, as soon as it is secured (the client may not have spoken yet). Register
 * what to be told with mesh_stream_on, read and write now or later (stream.h).
 * Thread: the worker that accepted the connection. Owns: `stream` is the handler's, end it with mesh_stream_close. Since: 0.1
 */
typedef void mesh_stream_handler_fn(struct mesh_stream *stream, void *user);

/* What to serve, and how. Copied before mesh_listen returns. Since: 0.1 */
struct mesh_listen_options {
	size_t size;         /* sizeof(struct mesh_listen_options) */
	uint16_t port;       /* the container port other workloads call; 0: any free one (tests) */
	const char *address; /* numeric address to bind; NULL: all of IPv4 */
	mesh_handler_fn *handler;
	void *user;
	/* > 0: the handler is called when the whole body is there (mesh_call_body), 413 past that bound;
	 * 0: as soon as the head is there, the body follows by events. A bound on each: an HTTP/2 connection may have as many
	 * under way as the mesh configuration lets it (1024 where that says nothing) */
	size_t request_bytes_max;
	uint32_t grace_ms; /* on close: time for requests in flight and open streams; 0: 5 s */
	int backlog;       /* 0: 1024 */
	/* a borrowed worker to accept on; NULL: every library worker accepts */
	struct mesh_worker *worker;
	/*
	 * Takes connections the mesh configuration treats as TCP. `handler` or this is required; with both, each takes its own.
	 * A connection the configuration treats as HTTP (the service's port name or appProtocol says so, or its first bytes
	 * where the protocol is found out) is refused where there is only this one: its policies are about requests. With
	 * `handler` alone, TCP connections are refused unless they speak HTTP.
	 */
	mesh_stream_handler_fn *stream_handler;
};

/*
 * Serves a port. Until the first configuration is there connections wait; a port for which the mesh has no inbound
 * configuration is served as the mesh-wide inbound chains say.
 * Thread: any (with options->worker: its own). Owns: *listener is the caller's. Errors: INVALID, BIND, NOMEM, SYSTEM. Since: 0.1
 */
MESH_EXPORT int mesh_listen(struct mesh *mesh, const struct mesh_listen_options *options, struct mesh_listener **listener);

/* The bound port. Thread: any. Owns: nothing. Errors: none. Since: 0.1 */
MESH_EXPORT uint16_t mesh_listener_port(const struct mesh_listener *listener);

/*
 * Drains and ends the listener: no new connections, "connection: close", grace, close. On library workers it blocks for at
 * most the grace time. On a borrowed worker it stops accepting and returns at once, also from a callback of that worker,
 * and finishes as the worker is driven or freed; requests come to the handler until then. NULL is allowed.
 * Thread: any but a library worker; on a borrowed worker, the worker's thread. Owns: `listener` is gone. Errors: none.
 * Since: 0.1
 */
MESH_EXPORT void mesh_listener_close(struct mesh_listener *listener);

#ifdef __cplusplus
}
#endif
#endif
