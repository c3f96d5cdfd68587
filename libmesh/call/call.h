/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One request and its response, on either side. The parts common to both are here; client.c decides where a client's call
 * goes, attempt.c carries one try, serve.c runs a server's.
 */
#ifndef MESH_CALL_CALL_H
#define MESH_CALL_CALL_H

#include <mesh/call.h>

#include "base/buf.h"
#include "call/egress.h"
#include "call/worker.h"
#include "cluster/pool.h"
#include "http/mux.h"
#include "policy/fault.h"
#include "policy/retry.h"
#include "policy/rewrite.h"

struct inbound;

#define CALL_TRIED_MAX 16

/* One try of a client's call. The first is embedded; others are in the call's arena, and there only where calls are hedged. */
struct attempt {
	struct mesh_call *call;
	struct attempt *next;    /* of the same call */
	struct exchange exchange;
	struct pool_waiter waiter;
	struct endpoint *endpoint;
	struct connection *connection;
	struct loop_timer timer; /* per-try timeout */
	struct loop_task discard; /* takes off the wire what is not wanted any more, outside its own event */
	struct loop_timer idle;  /* per-try idle timeout; looks how long ago the last sign of life was */
	uint64_t active_ns;      /* when that was */
	uint64_t begun_ns;       /* when it was put on its connection */
	size_t sent;             /* bytes of call->out handed to the mux */
	int status;              /* of its response */
	struct mesh_slice hostname; /* the endpoint's, where the request goes out under it (auto_host_rewrite) */
	bool running;            /* from its start until nothing is held for it */
	bool active;             /* on a connection: counted in the endpoint's and the cluster's requests */
	bool reused;             /* its connection carried others before */
	bool turned_away;        /* and took no more: the peer said that it leaves */
	bool head_sent;
	bool end_sent;
	bool swallowing;         /* the response is not wanted: what follows is decided */
	bool retried;            /* it goes on, but so does another in its place: it was late */
	bool judged;             /* its endpoint's watchers were told that it was late */
};

struct client_call {
	struct snapshot *snapshot; /* it began with */
	const struct http_config *http;
	struct egress *egress; /* what leaves by its address, or under a name of its own; NULL: neither */
	struct rewrite chosen; /* the route and all around it that changes something */
	const struct retry_config *retry;
	struct route_request match;
	struct mesh_slice target;  /* the cluster that the route names, and its hash; absent: none */
	uint32_t target_hash;
	struct cluster *cluster;
	enum mesh_http_version version; /* spoken by the application */
	enum pool_protocol protocol;    /* it goes out with, as the cluster says */
	struct attempt attempt;
	struct attempt *current;   /* the latest: what the application sends goes there */
	bool out_end;              /* no more comes */
	bool replayable;           /* `out` still begins at the first byte */
	bool want_trailers;
	bool wants_room;           /* mesh_call_send said AGAIN */
	bool committed;            /* response bytes reached the application */
	bool grpc;                 /* a gRPC request, by its content-type */
	bool high_priority;
	bool hedged;               /* a try whose per-try timeout is reached goes on beside the next one */
	bool timeout_retry;        /* the try that is about to begin follows one that was late */
	uint32_t reset_code;       /* of the last try that the peer reset, HTTP/2 */
	bool counted_retry;        /* holds one of the cluster's retries */
	uint64_t hash;             /* of the request as the application made it; 0: endpoints are not chosen by one */
	struct mesh_slice *set_cookie; /* for the response: balances what comes with it; NULL: none */
	unsigned replays;          /* free further tries, of what no peer has acted on, or once on a stale connection */
	uint32_t retries_left;
	unsigned backoffs;          /* waits of our own choice so far */
	const char *retry_flag;     /* why no other try followed: "URX", "UO"; NULL */
	uint64_t per_try_ns, per_try_idle_ns; /* 0: none; in force where no retry is asked for, too */
	uint32_t tried[CALL_TRIED_MAX]; /* hashes of endpoints: their places change with every push */
	size_t tried_count;
	uint32_t *tried_priorities; /* as many; NULL: nobody asks */
	struct headers trailers;   /* to send */
	struct headers received_trailers; /* call->trailers: the mux's own list goes with its stream */
	uint64_t response_ns;      /* the route's timeout, from the end of the request; 0: none */
	uint64_t ended_ns;         /* when that was; 0: not yet, or nobody asks */
	bool has_stream_limit;
	uint64_t stream_ns;        /* of the whole call */
	struct loop_timer timeout;
	struct loop_timer duration;
	struct loop_timer backoff;
	struct loop_timer idle;    /* as attempt.idle, of the call as the application sees it */
	uint64_t idle_ns;          /* its limit; 0: none */
	uint64_t active_ns;
	const struct http_filter *alpn; /* NULL: none */
	size_t filters_run;        /* of client.http, between the route and the router */
	struct fault fault;        /* chosen for it */
	struct loop_timer fault_timer;
	bool fault_active;         /* counted among the mesh's */
	bool delayed;
	bool limited;              /* its time limits run since the delay began */
	const struct cors_config *cors; /* marks its answer for that origin */
	struct mesh_slice cors_origin;
	struct mesh_slice local_body;
	struct loop_task local;    /* delivers what was decided without a peer */
	struct mirror *mirrors;    /* its shadows, mirror.c; NULL: none */
	struct internal_redirects *redirects; /* followed so far, internal_redirect.c; NULL: none */
	uint32_t timeout_ms;
	size_t body_max;
};

struct server_call {
	struct exchange exchange;
	struct inbound *inbound;
	struct link link;               /* inbound->calls, while it runs */
	struct address remote;          /* whom the request comes from, as authorization takes it */
	struct snapshot *snapshot;      /* whose policies apply */
	const struct http_config *http; /* in it; NULL: a TCP chain, no HTTP policy */
	struct rewrite chosen;          /* in it too; no route: none was found */
	const struct cors_config *cors; /* in it too: marks the answer for that origin */
	struct mesh_slice cors_origin;
	bool handled;                   /* the handler was called */
	bool responded;
	bool registered;                /* mesh_call_on was used */
	size_t body_max;                /* buffering mode */
	bool buffering;
	bool upgraded;                  /* answered 101: both sides speak something else */
	bool out_end;                   /* the answer ends behind what is left of it in call->out */
	int expired;                    /* the error it ends with although it was answered: a time limit did that */
	struct headers trailers;        /* received */
	uint64_t active_ns;             /* HTTP/2: when either side of it moved last, or it expired */
	uint64_t left_bytes;            /* of the exchange, when its time was looked at last */
};

struct mesh_call {
	atomic_uint refs; /* the application's and, while it runs, the worker's */
	atomic_bool over; /* the result may be read; `done` follows or was called */
	struct mesh *mesh;
	struct mesh_worker *worker;
	struct link link; /* worker->calls or worker->spare */
	bool server;
	atomic_bool told; /* `done` was called */
	bool in_api;      /* inside a function of the application: callbacks wait */
	bool unasked;     /* a shadow: the application does not know of it, and nobody waits for it */
	bool paused;
	struct loop_task finish;
	struct loop_mail release_mail;
	struct loop_mail control_mail; /* enum handover_control from another thread: needs no memory, cannot be refused */
	atomic_uint control;
	struct {                             /* what other threads handed over, handover.c */
		struct loop_mail *first, *last; /* found no room yet, in order; the worker's */
		bool going_on;
		atomic_size_t bytes;            /* posted and not carried out */
		atomic_bool again;              /* somebody was told AGAIN: `writable` follows */
	} handed;
	struct arena arena;
	struct mesh_call_events events;
	void *user;
	struct http_head request;  /* client: to send; server: received */
	struct http_head response; /* client: received */
	struct headers *trailers;  /* received */
	bool received_head, received_end;
	struct buf body;           /* received and kept */
	struct buf scratch;        /* of the layer above; its block serves the next call too */
	struct buf out;            /* client: request body, what is not yet sent or all of it while it may be sent again */
	struct why why;
	struct mesh_result result;
	struct mesh_peer peer;
	bool has_peer;
	char endpoint_text[MESH_ADDRESS_TEXT_BYTES];
	uint64_t started_ns;
	union {
		struct client_call client;
		struct server_call serve;
	};
};

/* call.c */
struct mesh_call *mesh_call_new(struct mesh_worker *worker, bool server); /* one reference (the worker's); NULL: no memory */
/* For a worker of another thread: two references, the caller's and the worker's; not on any list before mesh_call_attach. */
struct mesh_call *mesh_call_new_detached(struct mesh_worker *worker);
struct mesh_call *mesh_call_new_unasked(struct mesh_worker *worker); /* a client's, as mesh_call_new */
void mesh_call_attach(struct mesh_call *call); /* on its worker */
void mesh_call_undo(struct mesh_call *call);   /* takes back mesh_call_new or mesh_call_new_detached: nothing was started */
void mesh_call_drop(struct mesh_call *call);   /* gives a reference back, on the worker's thread or when over */
/* Ends it: the result is `error` with call->why or `why` for words. Told now, or soon when inside the application's call. */
void mesh_call_finish(struct mesh_call *call, int error, const char *why);
void mesh_call_set_peer(struct mesh_call *call, const struct mux *mux, const struct address *address);
/* Copied; may be NULL. */
void mesh_call_set_events(struct mesh_call *call, const struct mesh_call_events *events, void *user);
/* Received body bytes: to the application, or kept up to `max`. TOO_LARGE, NOMEM. */
int mesh_call_take(struct mesh_call *call, struct mesh_slice data, size_t max);
void mesh_call_set_paused(struct mesh_call *call, bool paused);
const struct headers *mesh_call_received(const struct mesh_call *call);

/* client.c */
/* outbound.c: sets client.http. INVALID, NO_ROUTE, NO_ENDPOINT, FAIL_CLOSED; AGAIN: not to be told without an address */
int mesh_client_find_listener(struct mesh_call *call);
void mesh_client_begin(struct mesh_call *call); /* on its worker */
void mesh_client_stop(struct mesh_call *call);  /* timers, attempt, snapshot: before finish */
/* The steps of it, for whoever wants to know what would be decided: up to the filters that look at the route; its cluster. */
int mesh_client_decide(struct mesh_call *call);
void mesh_client_wish(const struct client_call *client, struct lb_choice *choice); /* which endpoints the route asks for */
int mesh_client_find_cluster(struct mesh_call *call);
int mesh_client_find_route(struct mesh_call *call); /* of its listener. NO_ROUTE */
/* That cluster, and how it is spoken to. NO_CLUSTER, NO_ENDPOINT, NOMEM */
int mesh_client_use_cluster(struct mesh_call *call, struct mesh_slice name, uint32_t hash);
/* As mesh_client_send, whatever waits already: for who has its own bounds. NOMEM */
int mesh_client_put(struct mesh_call *call, struct mesh_slice data, bool end);
int mesh_client_send(struct mesh_call *call, struct mesh_slice data, bool end);
int mesh_client_send_trailers(struct mesh_call *call, const struct mesh_header *trailers, size_t count);
void mesh_client_room(struct mesh_call *call); /* tells `writable` when there is room again */

void mesh_client_go_on(struct mesh_call *call);  /* with the next filter, or where the route leads */
void mesh_client_set_out(struct mesh_call *call); /* to its cluster: all that comes before was done */
void mesh_client_answer(struct mesh_call *call, int status, struct mesh_slice body); /* soon, in place of a peer */

/* client_filter.c */
/* *pending: it is answered, or mesh_client_go_on follows. FAULT_ABORT, NOMEM */
int mesh_client_filter(struct mesh_call *call, bool *pending);
int mesh_client_mark(struct mesh_call *call); /* the response's headers. NOMEM */
void mesh_client_stop_faults(struct mesh_call *call);

/* client_timeout.c */
/* As the request and its route say. NOMEM */
int mesh_client_choose_limits(struct mesh_call *call, const struct retry_config *retry);
int mesh_client_start_limits(struct mesh_call *call);  /* NOMEM */
int mesh_client_request_ended(struct mesh_call *call); /* from here on an answer is due. NOMEM */
void mesh_client_stop_limits(struct mesh_call *call);
void mesh_client_moved(struct mesh_call *call); /* a sign of life in either direction */

/* client_retry.c */
/* A try ended, and nothing is held for it any more. */
void mesh_client_attempt_over(struct attempt *attempt, struct retry_outcome *outcome, const char *why);
/* It ended as no fault of anybody's, and is made again at once. */
bool mesh_client_nothing_lost(const struct attempt *attempt, const struct retry_outcome *outcome);
/* A try that a stale connection swallows can be repeated at once. */
bool mesh_client_repeatable(const struct mesh_call *call);
/* The head of a response came, and there is a retry policy. False: it is not for the application; another try follows, or one
 * that is under way may be better. */
bool mesh_client_accept(struct attempt *attempt, const struct http_head *head);
void mesh_client_hedge(struct attempt *attempt); /* it is late: another may begin beside it */
void mesh_client_commit(struct mesh_call *call); /* no other try follows: the response goes to the application */
void mesh_client_stop_retries(struct mesh_call *call);

/* attempt.c */
void mesh_attempt_start(struct mesh_call *call);
void mesh_attempt_abandon(struct attempt *attempt, int error); /* off the wire, no event */
void mesh_attempts_abandon(struct mesh_call *call, int error); /* all of them */
void mesh_attempts_keep(struct attempt *attempt); /* abandons all others */
bool mesh_attempts_awaited(const struct mesh_call *call); /* some may still be answered */
/* Tells its endpoint's watchers of a try without a response, or of what followed it; nothing for one that never got to it. */
void mesh_attempt_report(struct attempt *attempt, int error, bool connect_failed);
void mesh_attempt_report_head(struct attempt *attempt, const struct http_head *head);
/* Settles, then what follows. */
void mesh_attempt_failed(struct attempt *attempt, struct retry_outcome *outcome, const char *why);

/* attempt_timeout.c */
int mesh_attempt_watch(struct attempt *attempt); /* begins its limits once all was said to it. NOMEM */

/* attempt_receive.c */
extern const struct exchange_events mesh_attempt_events;
void mesh_attempt_swallow(struct attempt *attempt, bool whole); /* nothing of its response is wanted; whole: it is all there */

/* attempt_send.c */
/* On a connection with room: everything known goes out at once. False: the connection was not used. */
bool mesh_attempt_send(struct attempt *attempt, struct connection *connection);
bool mesh_attempt_go_on(struct attempt *attempt); /* the head, if it still waits. False: the try failed */
void mesh_attempt_pump(struct attempt *attempt);  /* sends what the mux takes of the body */
int mesh_attempt_count_header(struct mesh_call *call, bool wanted, struct headers *headers);

/* serve.c */
int mesh_serve_respond(struct mesh_call *call, int status, const struct mesh_header *headers, size_t count,
		       struct mesh_slice body, bool end);
int mesh_serve_inform(struct mesh_call *call, int status, const struct mesh_header *headers, size_t count);
int mesh_serve_send(struct mesh_call *call, struct mesh_slice data, bool end);
int mesh_serve_send_trailers(struct mesh_call *call, const struct mesh_header *trailers, size_t count);
void mesh_serve_stop(struct mesh_call *call, int error);
void mesh_serve_released(struct mesh_call *call); /* nobody will answer it any more */

#endif
