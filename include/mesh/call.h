/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls: one request and its response, through the mesh.
 *
 * The same object serves both sides. A client starts one with mesh_call_start; a listener's handler receives one
 * (listener.h) and answers it with mesh_call_respond.
 *
 * Thread rule: a call belongs to its worker. Its functions are used on the thread that drives the worker (inside a callback,
 * or between mesh_worker_run calls, or the blocked thread itself). Calls on a library worker may also be sent to, cancelled
 * and waited for from any other thread; what they report is read in callbacks or after mesh_call_wait returned.
 */
#ifndef MESH_CALL_H
#define MESH_CALL_H

#include <mesh/error.h>
#include <mesh/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A request to make. Everything is copied before mesh_call_start returns. Since: 0.1 */
struct mesh_request {
	size_t size;                 /* sizeof(struct mesh_request) */
	struct mesh_slice method;    /* default "GET" */
	struct mesh_slice authority; /* required: "reviews:9080", "reviews.default.svc.cluster.local"; port 80 when absent */
	struct mesh_slice path;      /* with query; default "/" */
	/* those of a connection (Connection, Upgrade, ..), Host and Content-Length are left out */
	const struct mesh_header *headers;
	size_t header_count;
	struct mesh_slice body;           /* the whole body, or its beginning when more_body is set */
	bool more_body;                   /* the rest follows by mesh_call_send */
	uint32_t timeout_ms;              /* bound on the whole call, retries included; 0: the route's timeout alone */
	size_t response_bytes_max;        /* bound on a response body kept for mesh_call_body; 0: 16 MiB */
	struct mesh_worker *worker;       /* NULL: the calling thread's own, implicit worker */
	/*
	 * What the application speaks, as a sidecar would see it: which of a sniffed port's listeners catches the request, and
	 * the version that goes out where the mesh says "as downstream". Else the mesh decides.
	 */
	enum mesh_http_version version;
	/*
	 * Asks to go on in another protocol ("websocket") when not absent: a GET with more_body and no `body` yet; a response
	 * 101 agrees, and data goes both ways until both ends. What is sent before waits for the answer. Where the mesh does not
	 * enable it the call ends with DENIED (403).
	 */
	struct mesh_slice upgrade;
};

/* How a call ended. Since: 0.1 */
struct mesh_result {
	size_t size;
	int status;                   /* MESH_OK or an enum mesh_error */
	const char *flag;             /* Envoy's response flag ("UH", "NR", "DI,FI", ..), "-" for none */
	int http_status;              /* of the response, 0 when none came; what Envoy would answer is in local_status */
	int local_status;             /* status a sidecar would have answered in our place (503, 504, 404, ..), else 0 */
	unsigned attempts;            /* requests sent or tried, retries included */
	struct mesh_slice route;      /* name of the route that matched */
	struct mesh_slice cluster;    /* name of the cluster it chose */
	struct mesh_slice endpoint;   /* "ip:port" of the last attempt */
	struct mesh_slice why;        /* words for a failure; empty when it went well */
	uint64_t duration_us;         /* from start to end */
	uint64_t connect_us;          /* of that, opening a connection for the last attempt; 0 when one was reused */
	uint64_t sent_bytes;          /* body bytes */
	uint64_t received_bytes;      /* body bytes */
};

/* Who is at the other end of the connection. Since: 0.1 */
struct mesh_peer {
	size_t size;
	struct mesh_slice identity;    /* the verified SPIFFE URI, absent over plaintext */
	struct mesh_slice address;     /* "ip:port" */
	struct mesh_slice protocol;    /* "http/1.1", "h2", "tcp" */
	struct mesh_slice tls_version; /* "TLSv1.3", absent over plaintext */
	bool tls;                      /* encrypted */
	bool mutual;                   /* and both certificates were verified */
	/* what the peer tells of itself, proved by nothing; absent when it did not, or has not yet */
	struct mesh_slice workload_id;        /* "sidecar~10.0.0.1~pod.ns~ns.svc.cluster.local" */
	struct mesh_slice workload;           /* its name */
	struct mesh_slice workload_namespace;
};

/*
 * What a call reports. Any may be NULL. Never called inside mesh_call_start; `done` comes exactly once and last, after
 * which no other function but the reading ones, mesh_call_retain and mesh_call_release may be used. Calls can share a
 * connection (HTTP/2): a function of one, used outside callbacks, may report what it finds of the others.
 * Thread: the call's worker. Slices are borrowed until the callback returns (headers: as long as the call). Since: 0.1
 */
struct mesh_call_events {
	size_t size;
	/* the head arrived: client, the final response's; a server's handler plays this part */
	void (*head)(struct mesh_call *call, void *user);
	/* body bytes; without it the body is kept for mesh_call_body */
	void (*data)(struct mesh_call *call, struct mesh_slice data, void *user);
	/* the body is complete; trailers, if any, can be read */
	void (*end)(struct mesh_call *call, void *user);
	/* mesh_call_send returned AGAIN before and there is room now */
	void (*writable)(struct mesh_call *call, void *user);
	/* it is over: mesh_call_result tells how */
	void (*done)(struct mesh_call *call, void *user);
	/* client: an interim response (1xx but 101) came before the final one; headers are borrowed */
	void (*interim)(struct mesh_call *call, int status, const struct mesh_header *headers, size_t count, void *user);
};

/*
 * Starts a call. It is routed, balanced, secured and retried as the mesh configuration says. Where its route mirrors, copies
 * of the request go elsewhere on the same worker: nobody waits for them, and nothing that becomes of them changes the call. On
 * the worker of a thread that drives it only while it blocks, a copy goes out at once when a connection is there; else, like
 * its answer, when that thread blocks the next time.
 * Thread: any when request->worker is NULL or a library worker, else that worker's. Owns: *call is the caller's reference,
 * give it back with mesh_call_release. `events` is copied and may be NULL.
 * Errors: INVALID (a malformed request; nothing was sent), TOO_LARGE, NOMEM, SYSTEM, DRAINING. What the mesh decides (no
 * route, no endpoint, ..) is not an error here but the call's result. Since: 0.1
 */
MESH_EXPORT int mesh_call_start(struct mesh *mesh, const struct mesh_request *request,
				const struct mesh_call_events *events, void *user, struct mesh_call **call);

/*
 * Sends more of the body; `end` says it is the last of it. All or nothing: nothing was taken when it returns AGAIN; the
 * `writable` event tells when to try again (a blocking caller uses mesh_call_wait_writable). What another thread sends on a
 * library worker's call goes out in order there; AGAIN when more than 256 KiB of it are still on their way.
 * Thread: see above. Owns: data is copied. Errors: AGAIN, STATE (body ended, or no more_body), or the call's own error when
 * it is over. Since: 0.1
 */
MESH_EXPORT int mesh_call_send(struct mesh_call *call, struct mesh_slice data, bool end);

/*
 * Ends the body with trailers. Sent where the protocol carries them (HTTP/1.1: chunked bodies).
 * Thread: the call's. Owns: the trailers are copied. Errors: as mesh_call_send, INVALID (a malformed trailer). Since: 0.1
 */
MESH_EXPORT int mesh_call_send_trailers(struct mesh_call *call, const struct mesh_header *trailers, size_t count);

/*
 * Blocks until mesh_call_send has room. Not for calls on a worker that the caller drives from its own callbacks.
 * Thread: the call's (a library worker's call: any but the worker's own). Owns: nothing. Errors: TIMEOUT, THREAD, or the
 * call's own error. Since: 0.1
 */
MESH_EXPORT int mesh_call_wait_writable(struct mesh_call *call, int64_t timeout_ms);

/*
 * Blocks until the call is over, driving its worker. Returns the result's status. timeout_ms < 0 waits for ever; when the
 * time is up the call goes on and AGAIN is returned.
 * Thread: the call's (any for a library worker's), outside callbacks. Owns: nothing. Errors: AGAIN, THREAD, or the call's
 * own. Since: 0.1
 */
MESH_EXPORT int mesh_call_wait(struct mesh_call *call, int64_t timeout_ms);

/*
 * Gives the call up. `done` follows with CANCELLED unless it was over already. On a server the stream is reset, with
 * HTTP/1.1 the connection.
 * Thread: see above. Owns: nothing, the reference stays. Errors: none. Since: 0.1
 */
MESH_EXPORT void mesh_call_cancel(struct mesh_call *call);

/*
 * Flow control: stops or resumes the `data` events; the peer is slowed down meanwhile.
 * Thread: the call's. Owns: nothing. Errors: none. Since: 0.1
 */
MESH_EXPORT void mesh_call_pause(struct mesh_call *call);
MESH_EXPORT void mesh_call_resume(struct mesh_call *call);

/* How it ended; NULL while it runs. Thread: the call's. Owns: lives as long as the call. Errors: none. Since: 0.1 */
MESH_EXPORT const struct mesh_result *mesh_call_result(const struct mesh_call *call);

/*
 * Who is at the other end; NULL before a connection is known.
 * Thread: the call's. Owns: lives as long as the call. Errors: none. Since: 0.1
 */
MESH_EXPORT const struct mesh_peer *mesh_call_peer(const struct mesh_call *call);

/*
 * First header received with that name; absent when none. Several values: mesh_call_header_at.
 * Thread: the call's. Owns: lives as long as the call. Errors: none. Since: 0.1
 */
MESH_EXPORT struct mesh_slice mesh_call_header(const struct mesh_call *call, const char *name);

/*
 * The i-th header received, {absent, absent} past the last. Order and case as received.
 * Thread: the call's. Owns: lives as long as the call. Errors: none. Since: 0.1
 */
MESH_EXPORT struct mesh_header mesh_call_header_at(const struct mesh_call *call, size_t index);

/*
 * First trailer received with that name; the i-th trailer, as for headers.
 * Thread: the call's. Owns: lives as long as the call. Errors: none. Since: 0.1
 */
MESH_EXPORT struct mesh_slice mesh_call_trailer(const struct mesh_call *call, const char *name);
MESH_EXPORT struct mesh_header mesh_call_trailer_at(const struct mesh_call *call, size_t index);

/*
 * HTTP status received; 0 before the head or on a server.
 * Thread: the call's. Owns: nothing. Errors: none. Since: 0.1
 */
MESH_EXPORT int mesh_call_http_status(const struct mesh_call *call);

/*
 * The body kept because there is no `data` event. Complete after `end`.
 * Thread: the call's. Owns: lives as long as the call. Errors: none. Since: 0.1
 */
MESH_EXPORT struct mesh_slice mesh_call_body(const struct mesh_call *call);

/*
 * The request's own parts, on either side.
 * Thread: the call's. Owns: live as long as the call. Errors: none. Since: 0.1
 */
MESH_EXPORT struct mesh_slice mesh_call_method(const struct mesh_call *call);
MESH_EXPORT struct mesh_slice mesh_call_authority(const struct mesh_call *call);
MESH_EXPORT struct mesh_slice mesh_call_path(const struct mesh_call *call);

/*
 * Server: the protocol the client asks to change to ("websocket"); absent when it does not. Agree with
 * mesh_call_respond(call, 101, ..., false); mesh_call_send and the `data` event carry it from then on.
 * Thread: the call's. Owns: lives as long as the call. Errors: none. Since: 0.1
 */
MESH_EXPORT struct mesh_slice mesh_call_upgrade(const struct mesh_call *call);

/*
 * Server: sends an interim response (100, 102..199) before the answer. 100 is sent only when the client waits for it.
 * Thread: the call's (library worker: any). Owns: everything is copied.
 * Errors: INVALID (status, malformed header), STATE (answered before), AGAIN, NOMEM. Since: 0.1
 */
MESH_EXPORT int mesh_call_inform(struct mesh_call *call, int status, const struct mesh_header *headers, size_t count);

/*
 * Server: begins the answer. `body` is all of it when `end`, else its beginning and mesh_call_send goes on. Without `end`
 * and without a content-length header the body is chunked. Hop-by-hop headers are refused.
 * Thread: the call's (library worker: any). Owns: everything is copied.
 * Errors: INVALID (status neither 101 nor in 200..599, malformed header), STATE (answered before), AGAIN, NOMEM. Since: 0.1
 */
MESH_EXPORT int mesh_call_respond(struct mesh_call *call, int status, const struct mesh_header *headers,
				  size_t header_count, struct mesh_slice body, bool end);

/*
 * Server: registers what to be told about this call, from inside the handler.
 * Thread: the call's. Owns: events are copied, user is borrowed. Errors: STATE. Since: 0.1
 */
MESH_EXPORT int mesh_call_on(struct mesh_call *call, const struct mesh_call_events *events, void *user);

/* One more reference; returns the call. Thread: any. Owns: the caller has a reference more. Errors: none. Since: 0.1 */
MESH_EXPORT struct mesh_call *mesh_call_retain(struct mesh_call *call);

/*
 * Gives a reference back. With the last one a client's call still running is cancelled; a server's that was not answered is
 * answered 500, unless mesh_call_on registered events that may do it. NULL is allowed.
 * Thread: any. Owns: the caller's reference is gone. Errors: none. Since: 0.1
 */
MESH_EXPORT void mesh_call_release(struct mesh_call *call);

#ifdef __cplusplus
}
#endif
#endif
