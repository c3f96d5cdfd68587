/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What one try of a client's call says on its connection: the head, then the body as the mux takes it. Refuses to know where
 * the connection comes from and what is answered.
 */
#include "call/call.h"

#include <inttypes.h>

#include "base/text.h"
#include "cluster/connection.h"

static const size_t piece_bytes = 16384; /* a TLS record's worth per hand-over to the mux */

/* Sends body pieces until the mux has enough; `writable` goes on. */
void mesh_attempt_pump(struct mesh_call *call)
{
	struct client_call *client = &call->client;
	struct attempt *attempt = &client->attempt;
	int rc = 0;

	if (!attempt->head_sent || attempt->end_sent || !attempt->exchange.mux)
		return;
	for (;;) {
		struct mesh_slice rest = mesh_buf_slice(&call->out);
		bool end;

		rest.data += attempt->sent;
		rest.len -= attempt->sent;
		if (rest.len > piece_bytes)
			rest.len = piece_bytes;
		end = client->out_end && attempt->sent + rest.len == mesh_buf_len(&call->out) && !client->want_trailers;
		if (!rest.len && !end)
			break;
		rc = mesh_exchange_send_data(&attempt->exchange, rest, end);
		if (rc)
			return; /* AGAIN: `writable` comes; an error: `over` comes */
		mesh_client_moved(call);
		attempt->sent += rest.len;
		call->result.sent_bytes += rest.len;
		attempt->end_sent = end;
		if (!client->replayable) {
			mesh_buf_consume(&call->out, attempt->sent);
			attempt->sent = 0;
		}
		if (end)
			return;
	}
	if (client->out_end && client->want_trailers) {
		attempt->end_sent = true;
		mesh_exchange_send_trailers(&attempt->exchange, &client->trailers);
	}
}

int mesh_attempt_count_header(struct mesh_call *call, bool wanted, struct headers *headers)
{
	char digits[20];
	size_t len;

	if (!wanted)
		return 0;
	len = mesh_text_u64(digits, call->result.attempts);
	struct mesh_slice value = mesh_arena_slice(&call->arena, mesh_slice_make(digits, len), NULL);

	if (!value.data)
		return MESH_ERROR_NOMEM;
	return mesh_headers_set(headers, &call->arena, MESH_SLICE("x-envoy-attempt-count"), value);
}

/* From here on it counts as a request, as in Envoy: before, it was among the pending ones. */
static int attempt_activate(struct mesh_call *call, struct why *why)
{
	struct cluster *cluster = call->client.cluster;
	struct attempt *attempt = &call->client.attempt;

	if (!mesh_breaker_take(&cluster->shared->breaker.requests, cluster->config->breaker.requests)) {
		mesh_counter_add(&cluster->stats->rq_pending_overflow, 1);
		return mesh_why(why, MESH_ERROR_OVERFLOW, "max_requests %" PRIu32 " of %.*s reached",
				cluster->config->breaker.requests, (int)cluster->name.len, cluster->name.data);
	}
	attempt->active = true;
	mesh_counter_add(&cluster->stats->rq_total, 1);
	atomic_fetch_add_explicit(&attempt->endpoint->shared->active, 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&attempt->endpoint->shared->rq_total, 1, memory_order_relaxed);
	return 0;
}

/* A gRPC request without messages ends with an empty DATA frame, never with its head: servers wait for that. */
static bool ends_in_data(const struct mesh_call *call)
{
	struct mesh_slice type = mesh_headers_get(&call->request.headers, MESH_SLICE("content-type"));

	return mesh_slice_prefix_fold(type, MESH_SLICE("application/grpc"));
}

/* Says the request, as far as the mux takes it. 0 also when the peer has not said yet whether it can be said. */
static int send_head(struct mesh_call *call)
{
	struct client_call *client = &call->client;
	struct attempt *attempt = &client->attempt;
	bool end = client->out_end && !mesh_buf_len(&call->out) && !client->want_trailers && !ends_in_data(call);
	int rc = mesh_exchange_send_head(&attempt->exchange, &call->request, end);

	if (rc == MESH_ERROR_AGAIN)
		return 0; /* `writable` comes */
	if (rc == MESH_ERROR_STATE && call->request.upgrade.len)
		return mesh_why(&call->why, MESH_ERROR_PROTOCOL, "the peer does not know changes of protocol in HTTP/2");
	if (!rc)
		rc = mesh_attempt_watch(call);
	if (rc)
		return rc;
	attempt->head_sent = true;
	attempt->end_sent = end;
	mesh_attempt_pump(call);
	return 0;
}

static void cannot_send(struct mesh_call *call, int error)
{
	struct retry_outcome outcome = {.error = error, .unprocessed = true};

	if (call->client.attempt.exchange.mux)
		mesh_exchange_reset(&call->client.attempt.exchange, error);
	mesh_attempt_failed(call, &outcome, call->why.text[0] ? call->why.text : mesh_error_text(error));
}

bool mesh_attempt_go_on(struct mesh_call *call)
{
	int rc = call->client.attempt.head_sent ? 0 : send_head(call);

	if (rc)
		cannot_send(call, rc);
	return !rc;
}

bool mesh_attempt_send(struct mesh_call *call, struct connection *connection)
{
	struct client_call *client = &call->client;
	struct attempt *attempt = &client->attempt;
	struct retry_outcome outcome = {.unprocessed = true};
	struct why why = {{0}};
	bool used;
	int rc = attempt_activate(call, &why);

	if (rc) {
		outcome.error = rc;
		mesh_attempt_failed(call, &outcome, why.text);
		return false;
	}
	attempt->connection = connection;
	attempt->reused = connection->mux->carried > 0;
	call->result.connect_us = attempt->reused ? 0 : (connection->dial.connected_ns - connection->dial.opened_ns) / 1000;
	mesh_call_set_peer(call, connection->mux, &attempt->endpoint->address);
	memset(&attempt->exchange, 0, sizeof(attempt->exchange));
	attempt->exchange.events = &mesh_attempt_events;
	attempt->exchange.arena = &call->arena;
	rc = mesh_attempt_count_header(call, client->chosen.host->include_attempt_count, &call->request.headers);
	if (!rc)
		rc = mesh_exchange_open(connection->mux, &attempt->exchange);
	used = !rc;
	if (!rc && call->paused)
		mesh_exchange_pause(&attempt->exchange, true);
	if (!rc)
		rc = send_head(call);
	if (rc) {
		cannot_send(call, rc);
		return used;
	}
	if (!call->in_api)
		mesh_client_room(call);
	/* outside the loop nobody else flushes this round */
	if (attempt->connection && !mesh_loop_running(call->worker->env.loop))
		mesh_connection_flush(connection);
	return true;
}
