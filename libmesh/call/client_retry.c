/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides after each try of a client's call whether another follows, when, and whose answer the application gets, as Envoy's
 * router does. Refuses to know where a try goes and how it is carried.
 */
#include "call/call.h"

#include <time.h>

static const unsigned replays_max = 8; /* a peer that sends everybody away is not called for ever */

enum grant {
	GRANT_NONE, /* nothing asks for another try */
	GRANT_RETRY,
	GRANT_REFUSED, /* something does, and there is none left, or too many others are at it */
};

static bool idempotent(struct mesh_slice method)
{
	static const struct mesh_slice safe[] = {{"GET", 3},   {"HEAD", 4}, {"OPTIONS", 7},
						 {"TRACE", 5}, {"PUT", 3},  {"DELETE", 6}};

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
bool mesh_client_nothing_lost(const struct attempt *attempt, const struct retry_outcome *outcome)
{
	const struct mesh_call *call = attempt->call;
	const struct client_call *client = &call->client;
	bool refused = outcome->error == MESH_ERROR_REFUSED && outcome->unprocessed;
	bool stale = attempt->reused && outcome->error == MESH_ERROR_RESET &&
		     (outcome->unprocessed || idempotent(call->request.method));
	unsigned most = refused && attempt->turned_away ? replays_max : 1;

	return (refused || stale) && client->replays < most && client->replayable && !client->committed &&
	       !attempt->status && !attempt->retried;
}

static struct breaker_use *use_of(struct mesh_call *call)
{
	return mesh_cluster_use(call->client.cluster, call->client.high_priority);
}

static void give_retry(struct mesh_call *call)
{
	if (call->client.counted_retry)
		mesh_breaker_give(&use_of(call)->retries);
	call->client.counted_retry = false;
}

static enum grant refuse(struct mesh_call *call, struct counter *counter, const char *flag)
{
	mesh_counter_add(counter, 1);
	call->client.retry_flag = flag;
	return GRANT_REFUSED;
}

static enum grant ask(struct mesh_call *call, enum retry_decision decision)
{
	struct client_call *client = &call->client;
	struct cluster_stats *stats = client->cluster->stats;
	struct breaker_use *use = use_of(call);
	const struct circuit_breaker *limits = mesh_cluster_limits(client->cluster, client->high_priority);

	if (decision == RETRY_NOT && client->counted_retry)
		mesh_counter_add(&stats->rq_retry_success, 1);
	give_retry(call);
	if (decision == RETRY_NOT)
		return GRANT_NONE;
	if (!client->retries_left)
		return refuse(call, &stats->rq_retry_limit_exceeded, "URX");
	client->retries_left--;
	if (!mesh_breaker_take(&use->retries, mesh_breaker_retry_limit(limits, use)))
		return refuse(call, &stats->rq_retry_overflow, "UO");
	client->counted_retry = true;
	mesh_counter_add(&stats->rq_retry, 1);
	return GRANT_RETRY;
}

/* The body may be needed again, and a policy says what for. */
static bool may_retry(const struct attempt *attempt)
{
	const struct client_call *client = &attempt->call->client;

	return client->retry && client->replayable && !client->committed && !attempt->retried;
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
		mesh_call_finish(call, MESH_ERROR_NO_ENDPOINT, "the cluster left the configuration between two tries");
		return;
	}
	mesh_attempt_start(call);
}

static uint64_t unix_seconds(void)
{
	struct timespec now;

	return clock_gettime(CLOCK_REALTIME, &now) ? 0 : (uint64_t)now.tv_sec;
}

/* What the response asks for, else as the policy says. */
static uint64_t wait_ns(struct mesh_call *call, enum retry_decision decision, const struct headers *response)
{
	struct client_call *client = &call->client;
	struct cluster_stats *stats = client->cluster->stats;
	struct rand *rand = &call->worker->env.rand;
	uint64_t ns = 0;

	if (decision == RETRY_AT_ONCE)
		return 0;
	if (response && client->retry->reset_header_count)
		ns = mesh_retry_reset_ns(client->retry, response, unix_seconds(), rand);
	if (ns) {
		mesh_counter_add(&stats->rq_retry_backoff_ratelimited, 1);
		return ns;
	}
	mesh_counter_add(&stats->rq_retry_backoff_exponential, 1);
	return mesh_retry_backoff_ns(client->retry, ++client->backoffs, rand);
}

/* False: no memory for that, so it does not. */
static bool retry_later(struct mesh_call *call, uint64_t ns)
{
	call->client.backoff.due = backoff_over;
	if (!mesh_timer_start(call->worker->env.loop, &call->client.backoff, ns))
		return true;
	give_retry(call);
	return false;
}

/* Somebody else may still answer. */
static bool others(const struct mesh_call *call)
{
	return mesh_timer_running(&call->client.backoff) || mesh_attempts_awaited(call);
}

static bool early_data(const struct mesh_call *call)
{
	return mesh_headers_get(&call->request.headers, MESH_SLICE("early-data")).data;
}

bool mesh_client_accept(struct attempt *attempt, const struct http_head *head)
{
	struct mesh_call *call = attempt->call;
	struct client_call *client = &call->client;
	struct retry_outcome outcome = {.status = head->status, .headers = &head->headers, .request_sent = true};
	enum retry_decision decision;
	enum grant grant;

	if (!client->replayable)
		return true;
	outcome.early = head->status == 425 && early_data(call);
	decision = mesh_retry_decide(client->retry, &outcome, &call->arena);
	if (attempt->retried) /* another was begun for it already */
		return decision == RETRY_NOT || !others(call);
	grant = ask(call, decision);
	if (grant == GRANT_RETRY) {
		client->timeout_retry = false;
		return !retry_later(call, wait_ns(call, decision, &head->headers));
	}
	return grant == GRANT_NONE || !others(call);
}

void mesh_client_hedge(struct attempt *attempt)
{
	struct mesh_call *call = attempt->call;

	if (!may_retry(attempt) || ask(call, RETRY_WITH_BACKOFF) != GRANT_RETRY)
		return;
	call->client.timeout_retry = true;
	attempt->retried = retry_later(call, wait_ns(call, RETRY_WITH_BACKOFF, NULL));
}

void mesh_client_stop_retries(struct mesh_call *call)
{
	mesh_timer_stop(call->worker->env.loop, &call->client.backoff);
	give_retry(call);
}

void mesh_client_commit(struct mesh_call *call)
{
	struct client_call *client = &call->client;

	client->committed = true;
	if (client->counted_retry || mesh_timer_running(&client->backoff))
		mesh_client_stop_retries(call);
	if (client->retry_flag)
		call->result.flag = client->retry_flag;
}

static void replay(struct mesh_call *call)
{
	struct client_call *client = &call->client;

	client->replays++;
	if (client->tried_count) /* it is not to be avoided for that */
		client->tried_count--;
	call->result.attempts--;
	mesh_attempt_start(call);
}

void mesh_client_attempt_over(struct attempt *attempt, struct retry_outcome *outcome, const char *why)
{
	struct mesh_call *call = attempt->call;
	struct client_call *client = &call->client;
	enum retry_decision decision;

	if (attempt->swallowing) /* decided when its head came */
		return;
	if (!outcome->error) {
		mesh_call_finish(call, 0, NULL);
		return;
	}
	if (mesh_client_nothing_lost(attempt, outcome)) {
		replay(call);
		return;
	}
	if (may_retry(attempt)) {
		decision = mesh_retry_decide(client->retry, outcome, &call->arena);
		if (ask(call, decision) == GRANT_RETRY) {
			client->timeout_retry = outcome->per_try_timeout;
			if (retry_later(call, wait_ns(call, decision, NULL)))
				return;
		}
	}
	if (!client->committed && others(call))
		return;
	mesh_call_finish(call, outcome->error, why);
}
