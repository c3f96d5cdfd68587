/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides after each try of a client's call whether another follows, and when. Refuses to know where it goes.
 */
#include "call/call.h"

static const unsigned replays_max = 8; /* a peer that sends everybody away is not called for ever */

static bool idempotent(struct mesh_slice method)
{
	static const struct mesh_slice safe[] = {{"GET", 3}, {"HEAD", 4}, {"OPTIONS", 7}, {"TRACE", 5}, {"PUT", 3}, {"DELETE", 6}};

	for (size_t i = 0; i < sizeof(safe) / sizeof(safe[0]); i++)
		if (mesh_slice_equal(method, safe[i]))
			return true;
	return false;
}

bool mesh_client_repeatable(const struct mesh_call *call)
{
	const struct client_call *client = &call->client;

	return client->out_end && client->replayable && !client->replays && idempotent(call->request.method);
}

/*
 * A kept connection that the peer closed as we used it, or a peer that says it goes away and did not begin with the request,
 * is nobody's failure: no retry is counted, where the peer cannot have acted on the request or acting twice does no harm.
 * Once; more often only where each goes to another connection.
 */
static bool nothing_lost(struct mesh_call *call, const struct retry_outcome *outcome)
{
	const struct client_call *client = &call->client;
	bool refused = outcome->error == MESH_ERROR_REFUSED && outcome->unprocessed;
	bool stale = client->attempt.reused && outcome->error == MESH_ERROR_RESET &&
		     (outcome->unprocessed || idempotent(call->request.method));
	unsigned most = refused && client->attempt.turned_away ? replays_max : 1;

	return (refused || stale) && client->replays < most && client->replayable && !client->committed &&
	       !client->attempt.exchange.head_received;
}

static bool take_retry(struct mesh_call *call)
{
	struct client_call *client = &call->client;
	struct cluster *cluster = client->cluster;

	if (!client->counted_retry &&
	    !mesh_breaker_take(&cluster->shared->breaker.retries,
			       mesh_breaker_retry_limit(&cluster->config->breaker, &cluster->shared->breaker))) {
		mesh_counter_add(&cluster->stats->rq_retry_overflow, 1);
		return false;
	}
	client->counted_retry = true;
	client->retries_left--;
	mesh_counter_add(&cluster->stats->rq_retry, 1);
	return true;
}

static void backoff_over(struct loop_timer *timer)
{
	struct mesh_call *call = MESH_CONTAINER(timer, struct mesh_call, client.backoff);
	struct client_call *client = &call->client;
	struct cluster_env *env = &call->worker->env;
	struct cluster *cluster;

	/* the endpoints of now, the decisions of then */
	mesh_worker_refresh(call->worker);
	if (mesh_cluster_get(env, client->cluster->name, mesh_slice_hash(client->cluster->name), &cluster)) {
		mesh_call_finish(call, MESH_ERROR_NO_CLUSTER, "the cluster left the configuration between two tries");
		return;
	}
	mesh_attempt_start(call);
}

static void retry_later(struct mesh_call *call)
{
	struct client_call *client = &call->client;
	unsigned number = client->retry->retries - client->retries_left;
	uint64_t ns = mesh_retry_backoff_ns(client->retry, number, &call->worker->env.rand);

	/* what is sent meanwhile goes behind all of it: nothing of the body has gone to the next one */
	client->attempt.head_sent = client->attempt.end_sent = false;
	client->attempt.sent = 0;
	client->backoff.due = backoff_over;
	memset(&call->response, 0, sizeof(call->response));
	if (mesh_timer_start(call->worker->env.loop, &client->backoff, ns))
		mesh_call_finish(call, MESH_ERROR_NOMEM, NULL);
}

bool mesh_client_retry_status(struct mesh_call *call)
{
	struct client_call *client = &call->client;
	struct retry_outcome outcome = {.status = call->response.status, .headers = &call->response.headers,
					.request_sent = true};

	if (!client->retry || !client->replayable || !mesh_retry_wanted(client->retry, &outcome, &call->arena))
		return false;
	if (!client->retries_left) {
		mesh_counter_add(&client->cluster->stats->rq_retry_limit_exceeded, 1);
		call->result.flag = "URX";
		return false;
	}
	return take_retry(call);
}

void mesh_client_attempt_over(struct mesh_call *call, struct retry_outcome *outcome, const char *why)
{
	struct client_call *client = &call->client;

	if (client->attempt.swallowing) { /* granted when its head came */
		retry_later(call);
		return;
	}
	if (!outcome->error) {
		if (client->counted_retry)
			mesh_counter_add(&client->cluster->stats->rq_retry_success, 1);
		mesh_call_finish(call, 0, NULL);
		return;
	}
	if (nothing_lost(call, outcome)) {
		client->replays++;
		if (client->tried_count) /* it is not to be avoided for that */
			client->tried_count--;
		call->result.attempts--;
		mesh_attempt_start(call);
		return;
	}
	if (client->retry && client->replayable && mesh_retry_wanted(client->retry, outcome, &call->arena)) {
		if (client->retries_left && take_retry(call)) {
			retry_later(call);
			return;
		}
		if (!client->retries_left && client->retry->retries)
			mesh_counter_add(&client->cluster->stats->rq_retry_limit_exceeded, 1);
	}
	mesh_call_finish(call, outcome->error, why);
}
