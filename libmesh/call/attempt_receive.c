/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What becomes of what a try of a client's call receives: the application's, or dropped where another try is to answer.
 * Refuses to decide which (client_retry.c).
 */
#include "call/call.h"

#include "call/internal_redirect.h"
#include "cluster/connection.h"

static struct attempt *attempt_of(struct exchange *exchange)
{
	return MESH_CONTAINER(exchange, struct attempt, exchange);
}

static void count_response(const struct attempt *attempt)
{
	struct cluster_stats *stats = attempt->call->client.cluster->stats;

	mesh_counter_add(&stats->rq_completed, 1);
	if (attempt->status >= 500) {
		mesh_counter_add(&stats->rq_5xx, 1);
	} else if (attempt->status >= 400) {
		mesh_counter_add(&stats->rq_4xx, 1);
	} else if (attempt->status >= 300) {
		mesh_counter_add(&stats->rq_3xx, 1);
	} else {
		mesh_counter_add(&stats->rq_2xx, 1);
	}
}

/* What came along with its head was read, to keep the connection. The next try does not wait for what may never come. */
static void discard(struct loop_task *task)
{
	struct attempt *attempt = MESH_CONTAINER(task, struct attempt, discard);

	count_response(attempt);
	mesh_attempt_abandon(attempt, MESH_ERROR_CANCELLED);
}

void mesh_attempt_swallow(struct attempt *attempt, bool whole)
{
	attempt->swallowing = true;
	attempt->discard.run = discard;
	if (!whole || !attempt->end_sent)
		mesh_loop_defer(attempt->call->worker->env.loop, &attempt->discard);
}

/* Whom the application hears, where there were several. */
static void take_over(struct attempt *attempt)
{
	struct mesh_call *call = attempt->call;

	call->client.current = attempt;
	call->result.endpoint = mesh_arena_slice(&call->arena, attempt->endpoint->shared->text, NULL);
	mesh_call_set_peer(call, attempt->connection->mux, &attempt->endpoint->address);
}

static void commit(struct attempt *attempt)
{
	struct mesh_call *call = attempt->call;

	mesh_client_commit(call);
	if (call->client.attempt.next) /* there were others */
		mesh_attempts_keep(attempt);
	if (call->client.current != attempt)
		take_over(attempt);
	mesh_timer_stop(call->worker->env.loop, &attempt->timer);
}

/* Who had no cookie to be balanced by gets one. */
static int add_cookie(struct mesh_call *call)
{
	const struct mesh_slice *cookie = call->client.set_cookie;

	return cookie ? mesh_headers_add(&call->response.headers, &call->arena, MESH_SLICE("set-cookie"), *cookie) : 0;
}

static void on_head(struct exchange *exchange, struct http_head *head, bool end)
{
	struct attempt *attempt = attempt_of(exchange);
	struct mesh_call *call = attempt->call;
	int rc;

	attempt->active_ns = mesh_loop_now_ns(call->worker->env.loop);
	attempt->status = head->status;
	mesh_attempt_report_head(attempt, head);
	if (call->client.retry && !call->client.committed && !mesh_client_accept(attempt, head)) {
		mesh_attempt_swallow(attempt, end);
		return;
	}
	if (!call->client.committed && call->client.chosen.route->internal_redirect &&
	    mesh_internal_redirect(attempt, head, end))
		return;
	call->response = *head;
	commit(attempt);
	mesh_client_moved(call);
	rc = mesh_attempt_count_header(call, call->client.chosen.host->include_attempt_count_response,
				       &call->response.headers);
	if (!rc)
		rc = add_cookie(call);
	if (!rc)
		rc = mesh_rewrite_response(&call->client.chosen, &call->arena, &call->response.headers);
	if (!rc)
		rc = mesh_client_mark(call);
	if (rc) {
		mesh_attempt_abandon(attempt, rc);
		mesh_call_finish(call, rc, NULL);
		return;
	}
	call->received_head = true;
	if (call->events.head)
		call->events.head(call, call->user);
}

/* The application hears of it: as in Envoy no other try may answer any more. */
static void on_interim(struct exchange *exchange, struct http_head *head)
{
	struct attempt *attempt = attempt_of(exchange);
	struct mesh_call *call = attempt->call;

	if (!call->client.committed)
		commit(attempt);
	mesh_client_moved(call);
	mesh_counter_add(&call->client.cluster->stats->rq_1xx, 1);
	if (call->events.interim)
		call->events.interim(call, head->status, head->headers.items, head->headers.count, call->user);
}

static void on_data(struct exchange *exchange, struct mesh_slice data)
{
	struct attempt *attempt = attempt_of(exchange);
	struct mesh_call *call = attempt->call;
	int rc;

	attempt->active_ns = mesh_loop_now_ns(call->worker->env.loop);
	if (attempt->swallowing)
		return;
	mesh_client_moved(call);
	rc = mesh_call_take(call, data, call->client.body_max);
	if (!rc)
		return;
	mesh_why(&call->why, rc, "response body larger than response_bytes_max %zu", call->client.body_max);
	mesh_attempt_abandon(attempt, rc);
	mesh_call_finish(call, rc, NULL);
}

static void on_end(struct exchange *exchange, struct headers *trailers)
{
	struct attempt *attempt = attempt_of(exchange);
	struct mesh_call *call = attempt->call;

	if (attempt->swallowing)
		return;
	if (trailers) {
		call->client.received_trailers = *trailers;
		call->trailers = &call->client.received_trailers;
	}
	call->received_end = true;
	if (call->events.end)
		call->events.end(call, call->user);
}

static void on_writable(struct exchange *exchange)
{
	struct attempt *attempt = attempt_of(exchange);

	if (!mesh_attempt_go_on(attempt))
		return;
	mesh_attempt_pump(attempt);
	mesh_client_room(attempt->call);
}

static void on_over(struct exchange *exchange, int error, const char *why, bool unprocessed)
{
	struct attempt *attempt = attempt_of(exchange);
	struct client_call *client = &attempt->call->client;
	struct retry_outcome outcome = {
		.error = error,
		.unprocessed = unprocessed,
		.request_sent = attempt->head_sent,
		.head_received = client->committed,
	};

	attempt->turned_away = attempt->connection && attempt->connection->mux->leaving;
	if (!error) {
		count_response(attempt);
	} else {
		client->reset_code = exchange->reset_code;
		mesh_counter_add(&client->cluster->stats->rq_rx_reset, 1);
		if (!attempt->swallowing && !mesh_client_nothing_lost(attempt, &outcome))
			mesh_attempt_report(attempt, error, false);
	}
	mesh_attempt_failed(attempt, &outcome, why);
}

const struct exchange_events mesh_attempt_events = {
	.head = on_head,
	.interim = on_interim,
	.data = on_data,
	.end = on_end,
	.writable = on_writable,
	.over = on_over,
};
