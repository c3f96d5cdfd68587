/* SPDX-License-Identifier: Apache-2.0 */
/* Decides when one try of a client's call has taken too long. Refuses to decide whether another follows. */
#include "call/call.h"

/* It is given up, or where calls are hedged it goes on, and what follows it begins beside it. */
static void too_late(struct attempt *attempt, struct counter *counter, const char *why)
{
	struct mesh_call *call = attempt->call;
	struct retry_outcome outcome = {.error = MESH_ERROR_TIMEOUT,
					.per_try_timeout = true,
					.request_sent = attempt->head_sent,
					.head_received = call->client.committed};

	mesh_attempt_report(attempt, MESH_ERROR_TIMEOUT, false);
	if (call->client.hedged) {
		attempt->judged = true;
		mesh_client_hedge(attempt);
		return;
	}
	mesh_counter_add(counter, 1);
	mesh_attempt_abandon(attempt, MESH_ERROR_TIMEOUT);
	mesh_client_attempt_over(attempt, &outcome, why);
}

static void per_try_timeout(struct loop_timer *timer)
{
	struct attempt *attempt = MESH_CONTAINER(timer, struct attempt, timer);

	mesh_timer_stop(attempt->call->worker->env.loop, &attempt->idle);
	too_late(attempt, &attempt->call->client.cluster->stats->rq_per_try_timeout, "per-try timeout");
}

static void per_try_idle(struct loop_timer *timer)
{
	struct attempt *attempt = MESH_CONTAINER(timer, struct attempt, idle);
	struct loop *loop = attempt->call->worker->env.loop;
	uint64_t limit = attempt->call->client.per_try_idle_ns;
	uint64_t quiet = mesh_loop_now_ns(loop) - attempt->active_ns;

	if (quiet < limit && !mesh_timer_start(loop, timer, limit - quiet))
		return;
	mesh_timer_stop(loop, &attempt->timer);
	too_late(attempt, &attempt->call->client.cluster->stats->rq_per_try_idle_timeout, "per-try idle timeout");
}

int mesh_attempt_watch(struct attempt *attempt)
{
	struct client_call *client = &attempt->call->client;
	struct loop *loop = attempt->call->worker->env.loop;
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
