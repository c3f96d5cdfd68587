/* SPDX-License-Identifier: Apache-2.0 */
/* Decides when one try of a client's call has taken too long. Refuses to decide whether another follows. */
#include "call/call.h"

static void per_try_timeout(struct loop_timer *timer)
{
	struct mesh_call *call = MESH_CONTAINER(timer, struct mesh_call, client.attempt.timer);
	struct retry_outcome outcome = {.error = MESH_ERROR_TIMEOUT, .per_try_timeout = true,
					.request_sent = call->client.attempt.head_sent};

	mesh_counter_add(&call->client.cluster->stats->rq_per_try_timeout, 1);
	mesh_attempt_abandon(call, MESH_ERROR_TIMEOUT);
	mesh_client_attempt_over(call, &outcome, "per-try timeout");
}

static void per_try_idle(struct loop_timer *timer)
{
	struct mesh_call *call = MESH_CONTAINER(timer, struct mesh_call, client.attempt.idle);
	struct loop *loop = call->worker->env.loop;
	uint64_t limit = call->client.per_try_idle_ns;
	uint64_t quiet = mesh_loop_now_ns(loop) - call->client.attempt.active_ns;
	struct retry_outcome outcome = {.error = MESH_ERROR_TIMEOUT, .per_try_timeout = true, .request_sent = true,
					.head_received = call->client.committed};

	if (quiet < limit && !mesh_timer_start(loop, timer, limit - quiet))
		return;
	mesh_counter_add(&call->client.cluster->stats->rq_per_try_idle_timeout, 1);
	mesh_attempt_abandon(call, MESH_ERROR_TIMEOUT);
	mesh_client_attempt_over(call, &outcome, "per-try idle timeout");
}

int mesh_attempt_watch(struct mesh_call *call)
{
	struct client_call *client = &call->client;
	struct attempt *attempt = &client->attempt;
	struct loop *loop = call->worker->env.loop;
	int rc = 0;

	if (!client->out_end || !attempt->exchange.mux)
		return 0;
	attempt->timer.due = per_try_timeout;
	attempt->idle.due = per_try_idle;
	if (client->per_try_ns && !client->committed)
		rc = mesh_timer_start(loop, &attempt->timer, client->per_try_ns);
	if (rc || !client->per_try_idle_ns)
		return rc;
	attempt->active_ns = mesh_loop_update_ns(loop);
	return mesh_timer_start(loop, &attempt->idle, client->per_try_idle_ns);
}
