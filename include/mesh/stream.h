/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Streams: one TCP connection through the mesh, read and written like a socket.
 *
 * A client opens one with mesh_stream_dial; a listener with a stream_handler (listener.h) receives one. Bytes go straight
 * between the caller's memory and the connection.
 *
 * Thread rule: a stream belongs to its worker, as a call does, and all its functions are used on the thread that drives the
 * worker: inside a callback, between mesh_worker_run calls, or on the thread itself that blocks in mesh_stream_wait. On a
 * library worker that leaves its callbacks, but for mesh_stream_close, which any thread may call.
 *
 * Three ways to wait after AGAIN: the events; mesh_stream_wait, which blocks; or poll() on mesh_stream_fd for
 * mesh_stream_wants and then trying again. Time limits come into force while the worker is driven, else when a function of
 * the stream is next used.
 */
#ifndef MESH_STREAM_H
#define MESH_STREAM_H

#include <mesh/call.h>
#include <mesh/error.h>
#include <mesh/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Where to. Everything is copied before mesh_stream_dial returns. Since: 0.1 */
struct mesh_stream_options {
	size_t size;              /* sizeof(struct mesh_stream_options) */
	struct mesh_slice target; /* required: "tcp-echo:9000", "10.96.0.17:9000", "[fd00::1]:9000" */
	/*
	 * The application's own TLS goes through the connection and names this server: for configuration that routes by SNI.
	 * Absent: found out from the first bytes written, where configuration asks for it.
	 */
	struct mesh_slice server_name;
	/* The peer speaks first: on a port whose protocol is found out, do not wait for the application's first bytes. */
	bool server_first;
	uint32_t connect_timeout_ms; /* bound on opening, all attempts; 0: the mesh configuration's, for each attempt */
	struct mesh_worker *worker;  /* NULL: the calling thread's own, implicit worker */
};

/*
 * What a stream reports. Any may be NULL. Called while the worker is driven: inside no function of the stream but
 * mesh_stream_wait, and read, write and shutdown while it opens; not after mesh_stream_close on the worker's thread.
 * Thread: the stream's worker. Since: 0.1
 */
struct mesh_stream_events {
	size_t size;
	/* client: connected and secured; comes once and first */
	void (*opened)(struct mesh_stream *stream, void *user);
	/* there may be something to read, or the end: once after it opened, and once after each read that returned AGAIN */
	void (*readable)(struct mesh_stream *stream, void *user);
	/* there may be room: once after each write or shutdown that returned AGAIN */
	void (*writable)(struct mesh_stream *stream, void *user);
	/*
	 * It is over and mesh_stream_result tells why: it did not open, the connection broke, a time limit, the listener or
	 * worker ended. Comes once and last; not when both sides ended in order, and for mesh_stream_close only when that was
	 * called on another thread than the worker's: then what callbacks use may be given back in it.
	 */
	void (*closed)(struct mesh_stream *stream, void *user);
};

/* What mesh_stream_wait waits for; in C several may be joined by `|`. Since: 0.1 */
enum mesh_stream_ready {
	MESH_STREAM_READABLE = 1,
	MESH_STREAM_WRITABLE = 2,
	MESH_STREAM_READABLE_OR_WRITABLE = 3,
	MESH_STREAM_OPENED = 4,
};

/* How a stream fared. Since: 0.1 */
struct mesh_stream_result {
	size_t size;
	int status;                 /* MESH_OK or an enum mesh_error */
	const char *flag;           /* Envoy's response flag ("UH", "UF", "NR", ..), "-" for none */
	unsigned attempts;          /* connections tried */
	struct mesh_slice cluster;  /* name of the cluster it goes to; absent on a server */
	struct mesh_slice endpoint; /* "ip:port" of the last attempt; absent on a server */
	struct mesh_slice why;      /* words for a failure; empty when there is none */
	uint64_t duration_us;       /* from start to now, or to its end */
	uint64_t connect_us;        /* of that, opening the connection in use */
	uint64_t sent_bytes;
	uint64_t received_bytes;
};

/*
 * Opens a connection as a sidecar would for the same destination: which listener and chain, which cluster and endpoint,
 * what security. Returns at once; `opened`, mesh_stream_wait or the first read or write that is not AGAIN tell that it is
 * there. Where configuration asks what the application speaks, the first bytes written decide: the connection is opened
 * with them.
 * Thread: any when options->worker is NULL or a library worker, else that worker's. Owns: *stream is the caller's, end it
 * with mesh_stream_close. `events` is copied and may be NULL.
 * Errors: INVALID (target), NOMEM, SYSTEM, DRAINING. What the mesh decides (no route, no endpoint, ..) is not an error here
 * but the stream's result. Since: 0.1
 */
MESH_EXPORT int mesh_stream_dial(struct mesh *mesh, const struct mesh_stream_options *options,
				 const struct mesh_stream_events *events, void *user, struct mesh_stream **stream);

/*
 * Registers what to be told about a stream, instead of what was registered before.
 * Thread: the stream's. Owns: events are copied, user is borrowed. Errors: INVALID, THREAD, or the stream's own when it
 * is over. Since: 0.1
 */
MESH_EXPORT int mesh_stream_on(struct mesh_stream *stream, const struct mesh_stream_events *events, void *user);

/*
 * Reads up to `bytes` (at least 1) into `buffer`: their number, or 0 when the peer ended its direction. Over TLS that takes
 * its close_notify. Without, whoever is on the way may have cut the bytes off: all that came is read, then the error is
 * RESET. (A sidecar takes that for the end, too; whose peers are like that and whose protocol tells where it ends, may.)
 * Thread: the stream's. Owns: nothing. Errors: AGAIN, INVALID, THREAD, or the stream's own. Since: 0.1
 */
MESH_EXPORT int64_t mesh_stream_read(struct mesh_stream *stream, void *buffer, size_t bytes);

/*
 * Writes what there is room for: the number of bytes taken. After AGAIN the same bytes must come again, at the same place or
 * another, more may follow them.
 * Thread: the stream's. Owns: nothing, data is borrowed for the call. Errors: AGAIN, STATE (after mesh_stream_shutdown),
 * INVALID, THREAD, or the stream's own. Since: 0.1
 */
MESH_EXPORT int64_t mesh_stream_write(struct mesh_stream *stream, struct mesh_slice data);

/*
 * Ends our direction (close_notify, or FIN over plaintext); the peer may go on sending.
 * Thread: the stream's. Owns: nothing. Errors: AGAIN (there is no room: call it again), STATE (a write returned AGAIN and
 * was not repeated), THREAD, or the stream's own. Since: 0.1
 */
MESH_EXPORT int mesh_stream_shutdown(struct mesh_stream *stream);

/*
 * Ends the stream and gives it back; NULL is allowed. What was written is still sent, unless a write that returned AGAIN
 * was not repeated. As with a socket, a peer that goes on sending may be told of a reset and then not read it all: who must
 * know calls mesh_stream_shutdown and reads to the end first. So does who uses an implicit worker, which nobody may drive
 * again: there, bytes taken before the connection was open, or an end for which there is no room just now, are not waited
 * for.
 * On another thread than a library worker's it takes effect on the worker: events may come until `closed`, which then comes
 * last in any case.
 * Thread: the stream's; any for a library worker's. Owns: `stream` is gone. Errors: none. Since: 0.1
 */
MESH_EXPORT void mesh_stream_close(struct mesh_stream *stream);

/*
 * A descriptor to poll after AGAIN; ask each time, it is another one once the stream opened. Polling is all it is for.
 * Thread: the stream's. Owns: the descriptor stays the stream's. Errors: THREAD (also while it opens on a library worker),
 * SYSTEM, or the stream's own. Since: 0.1
 */
MESH_EXPORT int mesh_stream_fd(struct mesh_stream *stream);

/*
 * What to poll mesh_stream_fd for: POLLIN and POLLOUT of <poll.h>. It covers every function that returned AGAIN and was not
 * repeated since.
 * Thread: the stream's. Owns: nothing. Errors: none. Since: 0.1
 */
MESH_EXPORT int mesh_stream_wants(const struct mesh_stream *stream);

/*
 * Blocks until one of `what` holds, driving the worker, and returns which do. Readable holds when the last read did not
 * return AGAIN, or there may be more since (the end too); writable likewise. timeout_ms < 0 waits for ever.
 * Thread: the stream's, outside callbacks; not for a library worker's. Owns: nothing. Errors: AGAIN (the time is up),
 * INVALID, THREAD, SYSTEM, or the stream's own. Since: 0.1
 */
MESH_EXPORT int mesh_stream_wait(struct mesh_stream *stream, enum mesh_stream_ready what, int64_t timeout_ms);

/*
 * Who is at the other end; NULL before the stream opened. What the peer tells of itself (workload, ..) is there once it
 * arrived: with the peer's first bytes.
 * Thread: the stream's. Owns: lives as long as the stream. Errors: none. Since: 0.1
 */
MESH_EXPORT const struct mesh_peer *mesh_stream_peer(struct mesh_stream *stream);

/* How it fares, or fared. Thread: the stream's. Owns: lives as long as the stream. Errors: none. Since: 0.1 */
MESH_EXPORT const struct mesh_stream_result *mesh_stream_result(struct mesh_stream *stream);

#ifdef __cplusplus
}
#endif
#endif
