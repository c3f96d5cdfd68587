/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Carries one try of a client's call: picks an endpoint, gets a connection, receives, and reports how it ended. Refuses to
 * know how it is sent (attempt_send.c) and to decide whether another try follows (client_retry.c).
 */
#include "call/call.h"

#include "cluster/connection.h"

static struct mesh_call *call_of(struct exchange *exchange)
{
	return MESH_CONTAINER(exchange, struct mesh_call, client.attempt.exchange);
}

/* Gives back what it holds. */
static void settle(struct mesh_call *call)
{
	struct attempt *attempt = &call->client.attempt;
	struct loop *loop = call->worker->env.loop;

	mesh_timer_stop(loop, &attempt->timer);
	mesh_timer_stop(loop, &attempt->idle);
	mesh_loop_undefer(&attempt->discard);
	mesh_pool_cancel(&attempt->waiter);
	if (attempt->active) {
		attempt->active = false;
		atomic_fetch_sub_explicit(&attempt->endpoint->shared->active, 1, memory_order_relaxed);
		mesh_breaker_give(&call->client.cluster->shared->breaker.requests);
	}
	if (attempt->endpoint)
		mesh_endpoint_release(attempt->endpoint);
	attempt->endpoint = NULL;
	attempt->connection = NULL;
}

void mesh_attempt_failed(struct mesh_call *call, struct retry_outcome *outcome, const char *why)
{
	settle(call);
	mesh_client_attempt_over(call, outcome, why);
}

void mesh_attempt_abandon(struct mesh_call *call, int error)
{
	struct attempt *attempt = &call->client.attempt;

	if (attempt->exchange.mux) {
		mesh_counter_add(&call->client.cluster->stats->rq_tx_reset, 1);
		mesh_exchange_reset(&attempt->exchange, error);
	}
	settle(call);
}

static void waiter_ready(struct pool_waiter *waiter, struct connection *connection)
{
	mesh_attempt_send(MESH_CONTAINER(waiter, struct mesh_call, client.attempt.waiter), connection);
}

static void waiter_failed(struct pool_waiter *waiter, int error, const char *why)
{
	struct mesh_call *call = MESH_CONTAINER(waiter, struct mesh_call, client.attempt.waiter);
	struct retry_outcome outcome = {.error = error, .unprocessed = true, .connect_failed = error != MESH_ERROR_OVERFLOW};

	mesh_attempt_failed(call, &outcome, why);
}

static void discard(struct loop_task *task);

static void on_head(struct exchange *exchange, struct http_head *head, bool end)
{
	struct mesh_call *call = call_of(exchange);
	struct attempt *attempt = &call->client.attempt;
	int rc;

	attempt->active_ns = mesh_loop_now_ns(call->worker->env.loop);
	call->response = *head;
	if (!call->client.committed && mesh_client_retry_status(call)) {
		attempt->swallowing = true;
		attempt->discard.run = discard;
		if (!end)
			mesh_loop_defer(call->worker->env.loop, &attempt->discard);
		return;
	}
	call->client.committed = true;
	mesh_client_moved(call);
	mesh_timer_stop(call->worker->env.loop, &attempt->timer);
	rc = mesh_attempt_count_header(call, call->client.chosen.host->include_attempt_count_response,
				  &call->response.headers);
	if (!rc)
		rc = mesh_rewrite_response(&call->client.chosen, &call->arena, &call->response.headers);
	if (!rc)
		rc = mesh_client_mark(call);
	if (rc) {
		mesh_attempt_abandon(call, rc);
		mesh_call_finish(call, rc, NULL);
		return;
	}
	call->received_head = true;
	if (call->events.head)
		call->events.head(call, call->user);
}

static void on_interim(struct exchange *exchange, struct http_head *head)
{
	struct mesh_call *call = call_of(exchange);

	call->client.attempt.active_ns = mesh_loop_now_ns(call->worker->env.loop);
	mesh_client_moved(call);
	mesh_counter_add(&call->client.cluster->stats->rq_1xx, 1);
	if (call->events.interim)
		call->events.interim(call, head->status, head->headers.items, head->headers.count, call->user);
}

static void on_data(struct exchange *exchange, struct mesh_slice data)
{
	struct mesh_call *call = call_of(exchange);
	int rc;

	call->client.attempt.active_ns = mesh_loop_now_ns(call->worker->env.loop);
	if (call->client.attempt.swallowing)
		return;
	mesh_client_moved(call);
	rc = mesh_call_take(call, data, call->client.body_max);
	if (!rc)
		return;
	mesh_why(&call->why, rc, "response body larger than response_bytes_max %zu", call->client.body_max);
	mesh_attempt_abandon(call, rc);
	mesh_call_finish(call, rc, NULL);
}

static void on_end(struct exchange *exchange, struct headers *trailers)
{
	struct mesh_call *call = call_of(exchange);

	if (call->client.attempt.swallowing)
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
	struct mesh_call *call = call_of(exchange);

	if (!mesh_attempt_go_on(call))
		return;
	mesh_attempt_pump(call);
	mesh_client_room(call);
}

static void count_response(struct mesh_call *call)
{
	struct cluster_stats *stats = call->client.cluster->stats;
	struct endpoint_shared *endpoint = call->client.attempt.endpoint->shared;

	mesh_counter_add(&stats->rq_completed, 1);
	if (call->response.status >= 500) {
		mesh_counter_add(&stats->rq_5xx, 1);
		atomic_fetch_add_explicit(&endpoint->rq_error, 1, memory_order_relaxed);
	} else if (call->response.status >= 400) {
		mesh_counter_add(&stats->rq_4xx, 1);
	} else if (call->response.status >= 300) {
		mesh_counter_add(&stats->rq_3xx, 1);
	} else {
		mesh_counter_add(&stats->rq_2xx, 1);
	}
}

/* What came along with its head was read, to keep the connection. The next try does not wait for what may never come. */
static void discard(struct loop_task *task)
{
	struct mesh_call *call = MESH_CONTAINER(task, struct mesh_call, client.attempt.discard);
	struct retry_outcome outcome = {.status = call->response.status, .headers = &call->response.headers,
					.request_sent = true};

	count_response(call);
	mesh_attempt_abandon(call, MESH_ERROR_CANCELLED);
	mesh_client_attempt_over(call, &outcome, "");
}

static void on_over(struct exchange *exchange, int error, const char *why, bool unprocessed)
{
	struct mesh_call *call = call_of(exchange);
	struct attempt *attempt = &call->client.attempt;
	struct retry_outcome outcome = {
		.error = error,
		.unprocessed = unprocessed,
		.request_sent = attempt->head_sent && !unprocessed,
		.head_received = call->client.committed,
	};

	attempt->turned_away = attempt->connection && attempt->connection->mux->leaving;
	if (!error)
		count_response(call);
	else
		mesh_counter_add(&call->client.cluster->stats->rq_rx_reset, 1);
	if (attempt->swallowing) {
		outcome.error = 0;
		outcome.status = call->response.status;
		outcome.headers = &call->response.headers;
	}
	mesh_attempt_failed(call, &outcome, why);
}

const struct exchange_events mesh_attempt_events = {
	.head = on_head,
	.interim = on_interim,
	.data = on_data,
	.end = on_end,
	.writable = on_writable,
	.over = on_over,
};

/* Chooses an endpoint that was not tried before where there is one. */
static int attempt_pick(struct mesh_call *call, struct why *why)
{
	struct client_call *client = &call->client;
	struct attempt *attempt = &client->attempt;
	struct lb_choice choice = {.hash = client->hash};
	uint32_t tried[CALL_TRIED_MAX], index;
	int rc;

	if (client->retry && client->retry->previous_hosts) {
		choice.avoid = tried;
		choice.avoid_count = mesh_cluster_find(client->cluster, client->tried, client->tried_count, tried,
						       CALL_TRIED_MAX);
		choice.avoid_attempts = client->retry->host_selection_attempts;
	}
	rc = mesh_cluster_pick(client->cluster, &choice, &attempt->endpoint, &index, why);
	if (rc)
		return rc;
	if (client->tried_count < CALL_TRIED_MAX)
		client->tried[client->tried_count++] = client->cluster->lb[index].hash;
	return 0;
}

void mesh_attempt_start(struct mesh_call *call)
{
	struct client_call *client = &call->client;
	struct attempt *attempt = &client->attempt;
	struct retry_outcome outcome = {.unprocessed = true};
	struct why why = {{0}};
	struct connection *connection;
	int rc;

	memset(attempt, 0, sizeof(*attempt));
	attempt->waiter.ready = waiter_ready;
	attempt->waiter.failed = waiter_failed;
	attempt->waiter.careful = !mesh_client_repeatable(call);
	call->result.attempts++;
	rc = attempt_pick(call, &why);
	if (!rc) {
		call->result.endpoint = mesh_arena_slice(&call->arena, attempt->endpoint->shared->text, NULL);
		rc = mesh_pool_acquire(&attempt->endpoint->pools[client->protocol], &attempt->waiter, &connection, &why);
	}
	if (!rc) {
		if (!mesh_attempt_send(call, connection))
			mesh_pool_returned(connection);
	} else if (rc != MESH_ERROR_AGAIN) {
		outcome.error = rc;
		outcome.connect_failed = rc != MESH_ERROR_OVERFLOW && rc != MESH_ERROR_NO_ENDPOINT;
		mesh_attempt_failed(call, &outcome, why.text[0] ? why.text : mesh_error_text(rc));
	}
}
