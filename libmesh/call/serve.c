/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides how a request on an inbound connection runs: admitted (serve_admit.c), handed to the application, received,
 * ended. Refuses to know sockets, policies, and how an answer is written (serve_answer.c).
 */
#include "call/serve.h"

#include "call/call.h"
#include "call/handover.h"

static const struct exchange_events serve_events;

static struct mesh_call *call_of(struct exchange *exchange)
{
	return MESH_CONTAINER(exchange, struct mesh_call, serve.exchange);
}

/* An HTTP/2 connection moves while one of its requests does not. */
void mesh_serve_moved(struct mesh_call *call)
{
	if (call->serve.inbound->http2 && !call->serve.expired)
		call->serve.active_ns = mesh_loop_now_ns(call->worker->env.loop);
}

struct exchange *mesh_serve_accept(struct inbound *inbound)
{
	struct mesh_call *call;

	mesh_inbound_refresh(inbound);
	call = mesh_call_new(inbound->worker, true);
	if (!call)
		return NULL;
	call->serve.inbound = inbound;
	call->serve.exchange.events = &serve_events;
	call->serve.exchange.arena = &call->arena;
	call->serve.snapshot = mesh_snapshot_retain(inbound->snapshot);
	call->serve.http = inbound->chain->http;
	call->serve.body_max = inbound->listener->request_bytes_max;
	call->serve.active_ns = call->started_ns;
	mesh_list_push(&inbound->calls, &call->serve.link);
	mesh_call_set_peer(call, inbound->mux, &inbound->remote);
	return &call->serve.exchange;
}

static void run_handler(struct mesh_call *call)
{
	struct mesh_listener *listener = call->serve.inbound->listener;

	call->serve.handled = true;
	atomic_fetch_add_explicit(&call->refs, 1, memory_order_relaxed); /* the handler may end the call */
	listener->handler(call, listener->user);
	if (!call->serve.responded && !call->serve.registered && !atomic_load(&call->over) && atomic_load(&call->refs) == 2) {
		MESH_LOG_W(&call->mesh->log, "serve", "port %u: the handler neither answered nor kept the call", listener->port);
		mesh_serve_refuse(call, MESH_ERROR_STATE, 500, "no answer");
	}
	mesh_call_drop(call);
}

/* The application says that it waits for the body, or refuses it unseen. */
static bool leaves_continue(const struct mesh_call *call)
{
	return call->serve.http && call->serve.http->proxy_100_continue && !call->serve.body_max;
}

static void on_head(struct exchange *exchange, struct http_head *head, bool end)
{
	struct mesh_call *call = call_of(exchange);
	bool upgrade = head->upgrade.len;

	call->request = *head;
	call->received_head = true;
	mesh_listener_count(&call->serve.inbound->listener->stats.rq_total);
	if (mesh_slice_equal(head->method, MESH_SLICE("CONNECT"))) {
		mesh_serve_refuse(call, MESH_ERROR_STATE, 403, "");
		return;
	}
	if (!call->serve.http) /* nobody has checked it: no peer speaks for another here */
		mesh_headers_remove(&call->request.headers, MESH_SLICE("x-forwarded-client-cert"));
	else if (!mesh_serve_admit(call))
		return;
	if (call->serve.body_max && !upgrade && head->content_length > 0 && (uint64_t)head->content_length > call->serve.body_max) {
		mesh_serve_refuse(call, MESH_ERROR_TOO_LARGE, 413, "request body too large"); /* need not be sent first */
		return;
	}
	if (head->expects_continue && !end && !leaves_continue(call))
		mesh_exchange_send_interim(exchange, &(struct http_head){.status = 100, .content_length = -1});
	if (call->serve.body_max && !upgrade) { /* whose body comes when it was agreed to */
		call->serve.buffering = true; /* the handler comes with `end` */
		return;
	}
	run_handler(call);
}

static void on_data(struct exchange *exchange, struct mesh_slice data)
{
	struct mesh_call *call = call_of(exchange);
	size_t max = call->serve.buffering ? call->serve.body_max : SIZE_MAX;
	int rc;

	mesh_serve_moved(call);
	if (!call->serve.buffering && !call->events.data) /* refused, or nobody wants it */
		return;
	rc = mesh_call_take(call, data, max);
	if (rc == MESH_ERROR_TOO_LARGE)
		mesh_serve_refuse(call, rc, 413, "request body too large");
	else if (rc)
		mesh_serve_refuse(call, rc, 500, mesh_error_text(rc));
}

static void on_end(struct exchange *exchange, struct headers *trailers)
{
	struct mesh_call *call = call_of(exchange);

	mesh_serve_moved(call);
	if (trailers) { /* the list is the mux's, what is in it is the call's */
		call->serve.trailers = *trailers;
		call->trailers = &call->serve.trailers;
	}
	call->received_end = true;
	if (call->serve.buffering) {
		call->serve.buffering = false;
		run_handler(call);
	} else if (call->events.end) {
		call->events.end(call, call->user);
	}
}

static void on_writable(struct exchange *exchange)
{
	struct mesh_call *call = call_of(exchange);

	mesh_serve_moved(call);
	if (!mesh_serve_go_on(call) || mesh_handover_go_on(call))
		return;
	if (call->events.writable)
		call->events.writable(call, call->user);
}

static void on_over(struct exchange *exchange, int error, const char *why, bool unprocessed)
{
	struct mesh_call *call = call_of(exchange);

	if (!error && call->serve.expired)
		mesh_call_finish(call, call->serve.expired, NULL);
	else
		mesh_call_finish(call, error == MESH_ERROR_RESET ? MESH_ERROR_CLOSED : error, why);
}

static const struct exchange_events serve_events = {
	.head = on_head,
	.data = on_data,
	.end = on_end,
	.writable = on_writable,
	.over = on_over,
};

void mesh_serve_stop(struct mesh_call *call, int error)
{
	if (call->serve.exchange.mux)
		mesh_exchange_reset(&call->serve.exchange, error ? error : MESH_ERROR_CANCELLED);
	mesh_list_remove(&call->serve.link);
	call->result.http_status = call->response.status;
	call->result.route = mesh_arena_slice(&call->arena, call->result.route, NULL);
	mesh_snapshot_release(call->serve.snapshot);
	call->serve.snapshot = NULL;
	call->serve.http = NULL;
	call->serve.cors = NULL;
}

void mesh_serve_released(struct mesh_call *call)
{
	if (call->serve.responded || call->serve.registered || atomic_load(&call->over)) /* events may still answer */
		return;
	MESH_LOG_W(&call->mesh->log, "serve", "port %u: the call was released without an answer",
		   call->serve.inbound->listener->port);
	mesh_serve_refuse(call, MESH_ERROR_STATE, 500, "no answer");
}
