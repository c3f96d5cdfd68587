/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Carries one try of a client's call: picks an endpoint, gets a connection, gives back what it held, and tells how it ended.
 * Refuses to know how it is sent (attempt_send.c) and answered (attempt_receive.c), and to decide whether another try
 * follows (client_retry.c).
 */
#include "call/call.h"

#include "cluster/connection.h"
#include "cluster/preconnect.h"
#include "policy/grpc_status.h"

/* Gives back what it holds. */
static void settle(struct attempt *attempt)
{
	struct mesh_call *call = attempt->call;
	struct loop *loop = call->worker->env.loop;

	mesh_timer_stop(loop, &attempt->timer);
	mesh_timer_stop(loop, &attempt->idle);
	mesh_loop_undefer(&attempt->discard);
	mesh_pool_cancel(&attempt->waiter);
	if (attempt->active) {
		attempt->active = false;
		atomic_fetch_sub_explicit(&attempt->endpoint->shared->active, 1, memory_order_relaxed);
		mesh_breaker_give(&mesh_cluster_use(call->client.cluster, call->client.high_priority)->requests);
	}
	if (attempt->endpoint)
		mesh_endpoint_release(attempt->endpoint);
	attempt->endpoint = NULL;
	attempt->connection = NULL;
	attempt->running = false;
	/* what is sent meanwhile goes behind all of it: nothing of the body has gone to the next one */
	attempt->head_sent = attempt->end_sent = false;
	attempt->sent = 0;
}

void mesh_attempt_report(struct attempt *attempt, int error, bool connect_failed)
{
	struct endpoint_outcome outcome = {.error = error, .connect_failed = connect_failed};

	if (attempt->endpoint && (attempt->active || connect_failed))
		mesh_endpoint_report(attempt->endpoint, &outcome);
}

/* As soon as it is there, as in Envoy: a response may go on for hours. */
void mesh_attempt_report_head(struct attempt *attempt, const struct http_head *head)
{
	struct endpoint_outcome outcome = {
		.status = attempt->call->client.grpc ? mesh_grpc_judged_status(head->status, &head->headers) : head->status,
		.took_ns = attempt->active_ns - attempt->begun_ns,
	};

	if (outcome.status < 500 && !mesh_cluster_learns(attempt->endpoint->cluster))
		return;
	mesh_endpoint_report(attempt->endpoint, &outcome);
}

void mesh_attempt_failed(struct attempt *attempt, struct retry_outcome *outcome, const char *why)
{
	settle(attempt);
	mesh_client_attempt_over(attempt, outcome, why);
}

void mesh_attempt_abandon(struct attempt *attempt, int error)
{
	if (!attempt->running)
		return;
	if (attempt->exchange.mux) {
		mesh_counter_add(&attempt->call->client.cluster->stats->rq_tx_reset, 1);
		mesh_exchange_reset(&attempt->exchange, error);
	}
	settle(attempt);
}

void mesh_attempts_abandon(struct mesh_call *call, int error)
{
	for (struct attempt *attempt = &call->client.attempt; attempt; attempt = attempt->next)
		mesh_attempt_abandon(attempt, error);
}

void mesh_attempts_keep(struct attempt *kept)
{
	for (struct attempt *attempt = &kept->call->client.attempt; attempt; attempt = attempt->next)
		if (attempt != kept)
			mesh_attempt_abandon(attempt, MESH_ERROR_CANCELLED);
}

bool mesh_attempts_awaited(const struct mesh_call *call)
{
	for (const struct attempt *attempt = &call->client.attempt; attempt; attempt = attempt->next)
		if (attempt->running && !attempt->status)
			return true;
	return false;
}

static void waiter_ready(struct pool_waiter *waiter, struct connection *connection)
{
	mesh_attempt_send(MESH_CONTAINER(waiter, struct attempt, waiter), connection);
}

static void waiter_failed(struct pool_waiter *waiter, int error, const char *why)
{
	struct attempt *attempt = MESH_CONTAINER(waiter, struct attempt, waiter);
	struct retry_outcome outcome = {.error = error, .unprocessed = true, .connect_failed = error != MESH_ERROR_OVERFLOW};

	mesh_attempt_report(attempt, error, outcome.connect_failed);
	mesh_attempt_failed(attempt, &outcome, why);
}

/* Nobody's memory but that of who asks for it: most calls end as often as they began, once. */
static int remember_priority(struct mesh_call *call, uint32_t index)
{
	struct client_call *client = &call->client;

	if (!client->tried_priorities)
		client->tried_priorities = mesh_arena_array(&call->arena, CALL_TRIED_MAX, sizeof(*client->tried_priorities));
	if (!client->tried_priorities)
		return MESH_ERROR_NOMEM;
	client->tried_priorities[client->tried_count] =
		client->cluster->set->localities[client->cluster->lb[index].locality].priority;
	return 0;
}

/* Beside those that are avoided already. Without memory for it any will do. */
static void avoid_labelled(struct mesh_call *call, struct lb_choice *choice)
{
	const struct cluster *cluster = call->client.cluster;
	uint32_t *avoid = mesh_arena_array(&call->arena, choice->avoid_count + cluster->count, sizeof(*avoid));
	size_t count = choice->avoid_count;

	if (!avoid)
		return;
	if (count)
		memcpy(avoid, choice->avoid, count * sizeof(*avoid));
	for (size_t i = 0; i < cluster->count; i++)
		if (mesh_retry_omits(call->client.retry, cluster->lb[i].labels, cluster->lb[i].label_count))
			avoid[count++] = (uint32_t)i;
	choice->avoid = avoid;
	choice->avoid_count = count;
	choice->avoid_attempts = call->client.retry->host_selection_attempts;
}

static void choose(struct mesh_call *call, struct lb_choice *choice, uint32_t *tried)
{
	struct client_call *client = &call->client;

	if (!client->retry || !client->tried_count)
		return;
	if (client->retry->previous_hosts) {
		choice->avoid = tried;
		choice->avoid_count = mesh_cluster_find(client->cluster, client->tried, client->tried_count, tried,
							CALL_TRIED_MAX);
		choice->avoid_attempts = client->retry->host_selection_attempts;
	}
	if (client->retry->omit_canary || client->retry->omit_count)
		avoid_labelled(call, choice);
	if (client->tried_priorities) {
		choice->tried_priorities = client->tried_priorities;
		choice->tried_priority_count = client->tried_count;
		choice->priority_update = client->retry->previous_priorities_update;
	}
}

/* As Envoy: an endpoint that has a host name is asked under it; what the application said is told along when that is wished. */
static int take_hostname(struct attempt *attempt, uint32_t index)
{
	struct mesh_call *call = attempt->call;
	struct mesh_slice name = mesh_cluster_hostname(call->client.cluster, index);
	bool failed = false;
	int rc = 0;

	if (!name.len)
		return 0;
	attempt->hostname = mesh_arena_slice(&call->arena, name, &failed);
	if (call->client.chosen.route->append_forwarded_host && call->result.attempts == 1)
		rc = mesh_headers_add(&call->request.headers, &call->arena, MESH_SLICE("x-forwarded-host"),
				      call->request.authority);
	return failed ? MESH_ERROR_NOMEM : rc;
}

/* Chooses an endpoint that was not tried before where there is one. */
static int attempt_pick(struct attempt *attempt, struct why *why)
{
	struct mesh_call *call = attempt->call;
	struct client_call *client = &call->client;
	struct lb_choice choice = {.hash = client->hash, .now_ns = mesh_loop_now_ns(call->worker->env.loop)};
	uint32_t tried[CALL_TRIED_MAX], index;
	int rc;

	if (client->cluster->config->kind == CLUSTER_ORIGINAL_DST)
		return mesh_egress_pick(call, &attempt->endpoint, why);
	choose(call, &choice, tried);
	mesh_client_wish(client, &choice);
	rc = mesh_cluster_pick(client->cluster, &choice, &attempt->endpoint, &index, why);
	if (!rc && client->chosen.route && client->chosen.route->auto_host_rewrite)
		rc = take_hostname(attempt, index);
	if (rc || client->tried_count == CALL_TRIED_MAX)
		return rc;
	if (client->retry && client->retry->previous_priorities)
		rc = remember_priority(call, index);
	client->tried[client->tried_count++] = client->cluster->lb[index].hash;
	return rc;
}

/* Most requests are of no name and no priority of their own. */
static int choose_pool(struct attempt *attempt, struct pool **pool, struct why *why)
{
	struct client_call *client = &attempt->call->client;

	*pool = &attempt->endpoint->pools[client->protocol];
	if (!client->egress && !client->high_priority)
		return 0;
	return mesh_endpoint_pool(attempt->endpoint, mesh_egress_server_name(attempt->call), client->high_priority,
				  client->protocol, pool, why);
}

/* The embedded one, unless it is still at work. NULL: no memory. */
static struct attempt *attempt_new(struct mesh_call *call)
{
	struct attempt *attempt = &call->client.attempt, *next;

	while (attempt->running && attempt->next)
		attempt = attempt->next;
	if (attempt->running) {
		attempt->next = mesh_arena_zalloc(&call->arena, sizeof(*attempt));
		attempt = attempt->next;
	}
	if (!attempt)
		return NULL;
	if (attempt->call) { /* it was used before; else it is zeroed */
		next = attempt->next;
		memset(attempt, 0, sizeof(*attempt));
		attempt->next = next;
	}
	attempt->call = call;
	attempt->running = true;
	attempt->waiter.ready = waiter_ready;
	attempt->waiter.failed = waiter_failed;
	attempt->waiter.careful = !mesh_client_repeatable(call);
	return attempt;
}

void mesh_attempt_start(struct mesh_call *call)
{
	struct client_call *client = &call->client;
	struct attempt *attempt = attempt_new(call);
	struct retry_outcome outcome = {.unprocessed = true};
	struct why why; /* long, and mostly nothing is said */
	struct connection *connection;
	struct pool *pool;
	int rc;

	why.text[0] = 0;
	if (!attempt) {
		mesh_call_finish(call, MESH_ERROR_NOMEM, NULL);
		return;
	}
	client->current = attempt;
	call->result.attempts++;
	rc = attempt_pick(attempt, &why);
	if (!rc)
		rc = choose_pool(attempt, &pool, &why);
	if (!rc) {
		call->result.endpoint = mesh_arena_slice(&call->arena, attempt->endpoint->shared->text, NULL);
		if (client->cluster->config->preconnect_ahead > 1)
			mesh_cluster_preconnect(client->cluster, client->high_priority, client->protocol);
		if (call->worker->env.warm)
			mesh_cluster_warm(client->cluster, client->protocol);
		rc = mesh_pool_acquire(pool, &attempt->waiter, &connection, &why);
	}
	if (!rc) {
		if (!mesh_attempt_send(attempt, connection))
			mesh_pool_returned(connection);
	} else if (rc == MESH_ERROR_NO_ENDPOINT || rc == MESH_ERROR_NOMEM) { /* no other way to go on, as in Envoy */
		settle(attempt);
		mesh_call_finish(call, rc, why.text);
	} else if (rc != MESH_ERROR_AGAIN) {
		outcome.error = rc;
		outcome.connect_failed = rc != MESH_ERROR_OVERFLOW;
		mesh_attempt_report(attempt, rc, outcome.connect_failed);
		mesh_attempt_failed(attempt, &outcome, why.text[0] ? why.text : mesh_error_text(rc));
	}
}
