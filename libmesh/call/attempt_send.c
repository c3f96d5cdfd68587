/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What one try of a client's call says on its connection: the head, then the body as the mux takes it. Refuses to know where
 * the connection comes from and what is answered.
 */
#include "call/call.h"

#include <inttypes.h>

#include "base/text.h"
#include "call/internal_redirect.h"
#include "call/mirror.h"
#include "cluster/connection.h"

#define NS_PER_MS 1000000

static const size_t piece_bytes = 16384; /* a TLS record's worth per hand-over to the mux */

/* Sends body pieces until the mux has enough; `writable` goes on. */
void mesh_attempt_pump(struct attempt *attempt)
{
	struct mesh_call *call = attempt->call;
	struct client_call *client = &call->client;
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
			if (client->mirrors)
				mesh_mirror_let_go(call, attempt->sent);
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

static int set_number(struct mesh_call *call, struct headers *headers, struct mesh_slice name, uint64_t number)
{
	char digits[20];
	struct mesh_slice value =
		mesh_arena_slice(&call->arena, mesh_slice_make(digits, mesh_text_u64(digits, number)), NULL);

	return value.data ? mesh_headers_set(headers, &call->arena, name, value) : MESH_ERROR_NOMEM;
}

int mesh_attempt_count_header(struct mesh_call *call, bool wanted, struct headers *headers)
{
	if (!wanted)
		return 0;
	return set_number(call, headers, MESH_SLICE("x-envoy-attempt-count"),
			  call->result.attempts - mesh_internal_redirect_attempts(call));
}

/* How long the server may take, as Envoy's router tells it: what is left for this try, where anything limits it. */
static int tell_timeout(struct mesh_call *call)
{
	const struct client_call *client = &call->client;
	uint64_t limit = client->per_try_ns && !client->hedged ? client->per_try_ns : client->response_ns;
	uint64_t gone, left;

	if (!limit || client->http->suppress_envoy_headers)
		return 0;
	gone = client->ended_ns ? mesh_loop_now_ns(call->worker->env.loop) - client->ended_ns : 0;
	left = client->response_ns > gone ? client->response_ns - gone : 0;
	if (client->response_ns && left < limit)
		limit = left;
	return set_number(call, &call->request.headers, MESH_SLICE("x-envoy-expected-rq-timeout-ms"),
			  (limit + NS_PER_MS - 1) / NS_PER_MS); /* what is gone is counted in whole ones */
}

/* From here on it counts as a request, as in Envoy: before, it was among the pending ones. */
static int attempt_activate(struct attempt *attempt, struct why *why)
{
	struct cluster *cluster = attempt->call->client.cluster;
	bool high = attempt->call->client.high_priority;
	uint32_t limit = mesh_cluster_limits(cluster, high)->requests;

	if (!mesh_breaker_take(&mesh_cluster_use(cluster, high)->requests, limit)) {
		mesh_counter_add(&cluster->stats->rq_pending_overflow, 1);
		return mesh_why(why, MESH_ERROR_OVERFLOW, "max_requests %" PRIu32 " of %.*s reached", limit,
				(int)cluster->name.len, cluster->name.data);
	}
	attempt->active = true;
	attempt->begun_ns = mesh_loop_now_ns(cluster->env->loop);
	mesh_counter_add(&cluster->stats->rq_total, 1);
	atomic_fetch_add_explicit(&attempt->endpoint->shared->active, 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&attempt->endpoint->shared->rq_total, 1, memory_order_relaxed);
	if (cluster->config->outlier.on)
		mesh_endpoint_connected(attempt->endpoint, false);
	return 0;
}

/* A gRPC request without messages ends with an empty DATA frame, never with its head: servers wait for that. */
static bool ends_in_data(const struct mesh_call *call)
{
	struct mesh_slice type = mesh_headers_get(&call->request.headers, MESH_SLICE("content-type"));

	return mesh_slice_prefix_fold(type, MESH_SLICE("application/grpc"));
}

/* Says the request, as far as the mux takes it. 0 also when the peer has not said yet whether it can be said. */
static int send_head(struct attempt *attempt)
{
	struct mesh_call *call = attempt->call;
	struct client_call *client = &call->client;
	bool end = client->out_end && !mesh_buf_len(&call->out) && !client->want_trailers && !ends_in_data(call);
	struct mesh_slice authority = call->request.authority;
	int rc;

	if (attempt->hostname.len)
		call->request.authority = attempt->hostname;
	rc = mesh_exchange_send_head(&attempt->exchange, &call->request, end);
	call->request.authority = authority; /* another try may go to another endpoint */
	if (rc == MESH_ERROR_AGAIN)
		return 0; /* `writable` comes */
	if (rc == MESH_ERROR_STATE && call->request.upgrade.len)
		return mesh_why(&call->why, MESH_ERROR_PROTOCOL, "the peer does not know changes of protocol in HTTP/2");
	if (!rc)
		rc = mesh_attempt_watch(attempt);
	if (rc)
		return rc;
	attempt->head_sent = true;
	attempt->end_sent = end;
	mesh_attempt_pump(attempt);
	return 0;
}

static void cannot_send(struct attempt *attempt, int error)
{
	const char *why = attempt->call->why.text;
	struct retry_outcome outcome = {.error = error, .unprocessed = true};

	if (attempt->exchange.mux)
		mesh_exchange_reset(&attempt->exchange, error);
	mesh_attempt_failed(attempt, &outcome, why[0] ? why : mesh_error_text(error));
}

bool mesh_attempt_go_on(struct attempt *attempt)
{
	int rc = attempt->head_sent ? 0 : send_head(attempt);

	if (rc)
		cannot_send(attempt, rc);
	return !rc;
}

/* What a try says of itself where the virtual host wants it to. */
static int mark_head(struct attempt *attempt)
{
	struct mesh_call *call = attempt->call;
	const struct virtual_host *host = call->client.chosen.host;
	struct headers *headers = &call->request.headers;
	int rc = mesh_attempt_count_header(call, host->include_attempt_count, headers);

	if (!rc)
		rc = tell_timeout(call);
	if (rc || !host->include_timeout_retry || call->result.attempts == 1)
		return rc;
	return mesh_headers_set(headers, &call->arena, MESH_SLICE("x-envoy-is-timeout-retry"),
				call->client.timeout_retry ? MESH_SLICE("true") : MESH_SLICE("false"));
}

static int open_exchange(struct attempt *attempt)
{
	struct mesh_call *call = attempt->call;
	int rc = mark_head(attempt);

	memset(&attempt->exchange, 0, sizeof(attempt->exchange));
	attempt->exchange.events = &mesh_attempt_events;
	attempt->exchange.arena = &call->arena;
	if (!rc)
		rc = mesh_exchange_open(attempt->connection->mux, &attempt->exchange);
	if (!rc && call->paused)
		mesh_exchange_pause(&attempt->exchange, true);
	return rc;
}

bool mesh_attempt_send(struct attempt *attempt, struct connection *connection)
{
	struct mesh_call *call = attempt->call;
	struct retry_outcome outcome = {.unprocessed = true};
	struct why why; /* long, and mostly nothing is said */
	bool used;
	int rc;

	why.text[0] = 0;
	rc = attempt_activate(attempt, &why);
	if (rc) {
		outcome.error = rc;
		mesh_attempt_failed(attempt, &outcome, why.text);
		return false;
	}
	attempt->connection = connection;
	attempt->reused = connection->mux->carried > 0;
	call->result.connect_us = attempt->reused ? 0 : (connection->dial.connected_ns - connection->dial.opened_ns) / 1000;
	mesh_call_set_peer(call, connection->mux, &attempt->endpoint->address);
	rc = open_exchange(attempt);
	used = !rc;
	if (!rc)
		rc = send_head(attempt);
	if (rc) {
		cannot_send(attempt, rc);
		return used;
	}
	if (!call->in_api)
		mesh_client_room(call);
	/* outside the loop nobody else flushes this round */
	if (attempt->connection && !mesh_loop_running(call->worker->env.loop))
		mesh_connection_flush(connection);
	return true;
}
