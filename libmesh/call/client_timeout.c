/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides when a client's call has taken too long: as a whole, without its answer, or without a sign of life. Refuses to
 * know which limits configuration grants (policy/timeout.c) and the limits of one try (attempt_timeout.c).
 */
#include "call/call.h"
#include "policy/timeout.h"

static const uint64_t stream_idle_default_ns = 300000000000ULL; /* Envoy's 5 minutes */

int mesh_client_choose_limits(struct mesh_call *call, const struct retry_config *retry)
{
	struct client_call *client = &call->client;
	struct timeouts timeouts;
	int rc = mesh_timeout_choose(client->chosen.route, retry, (uint64_t)client->http->stream_duration_max_ns,
				     &call->request.headers, &call->arena, &timeouts);

	client->response_ns = timeouts.response_ns;
	client->has_stream_limit = timeouts.has_stream;
	client->stream_ns = timeouts.stream_ns;
	client->per_try_ns = timeouts.per_try_ns;
	client->grpc = timeouts.grpc;
	return rc;
}

/* Whatever is under way then is too late. */
static void timed_out(struct loop_timer *timer)
{
	struct mesh_call *call = MESH_CONTAINER(timer, struct mesh_call, client.timeout);

	for (struct attempt *attempt = &call->client.attempt; attempt; attempt = attempt->next) {
		if (!attempt->running || attempt->swallowing)
			continue;
		mesh_counter_add(&call->client.cluster->stats->rq_timeout, 1);
		if (!attempt->status && !attempt->judged) /* else its endpoint's watchers heard of it */
			mesh_attempt_report(attempt, MESH_ERROR_TIMEOUT, false);
	}
	mesh_attempts_abandon(call, MESH_ERROR_TIMEOUT);
	mesh_call_finish(call, MESH_ERROR_TIMEOUT, "no whole response within the timeout");
}

static void lasted_too_long(struct loop_timer *timer)
{
	struct mesh_call *call = MESH_CONTAINER(timer, struct mesh_call, client.duration);

	mesh_attempts_abandon(call, MESH_ERROR_DURATION);
	mesh_call_finish(call, MESH_ERROR_DURATION, "not over within the longest duration of a stream, or its grpc-timeout");
}

/* The route's timeout is, as in Envoy, for what follows the whole request; the application's own may end earlier. */
int mesh_client_request_ended(struct mesh_call *call)
{
	struct client_call *client = &call->client;
	struct loop *loop = call->worker->env.loop;
	uint64_t now = mesh_loop_running(loop) ? mesh_loop_now_ns(loop) : mesh_loop_update_ns(loop);
	uint64_t at = now + client->response_ns;

	if (client->response_ns && !client->ended_ns)
		client->ended_ns = now;
	/* where the protocol was changed the answer is there, and the end of our direction asks for none */
	if (!client->response_ns || call->response.status == 101 ||
	    (mesh_timer_running(&client->timeout) && client->timeout.item.key <= at))
		return 0;
	return mesh_timer_start_at(loop, &client->timeout, at);
}

static int start_timeout(struct mesh_call *call)
{
	struct client_call *client = &call->client;
	struct loop *loop = call->worker->env.loop;
	uint64_t own_ns = (uint64_t)client->timeout_ms * 1000000;
	int rc = 0;

	client->timeout.due = timed_out;
	client->duration.due = lasted_too_long;
	if (own_ns)
		rc = mesh_timer_start(loop, &client->timeout, own_ns);
	if (!rc && client->has_stream_limit)
		rc = mesh_timer_start_at(loop, &client->duration, call->started_ns + client->stream_ns);
	/* one that a fault delays has no cluster yet */
	return rc || !client->out_end || !client->cluster ? rc : mesh_client_request_ended(call);
}

void mesh_client_moved(struct mesh_call *call)
{
	struct loop *loop = call->worker->env.loop;

	if (!call->client.idle_ns) /* nobody asks */
		return;
	/* between two rounds the loop's time is of the last one */
	call->client.active_ns = mesh_loop_running(loop) ? mesh_loop_now_ns(loop) : mesh_loop_update_ns(loop);
}

static void idle_due(struct loop_timer *timer)
{
	struct mesh_call *call = MESH_CONTAINER(timer, struct mesh_call, client.idle);
	struct loop *loop = call->worker->env.loop;
	uint64_t quiet = mesh_loop_now_ns(loop) - call->client.active_ns;

	if (quiet < call->client.idle_ns && !mesh_timer_start(loop, timer, call->client.idle_ns - quiet))
		return;
	mesh_attempts_abandon(call, MESH_ERROR_IDLE_TIMEOUT);
	mesh_call_finish(call, MESH_ERROR_IDLE_TIMEOUT, "stream timeout: nothing moved in either direction");
}

/* The route's idle timeout, else the listener's. */
static int start_idle(struct mesh_call *call)
{
	struct client_call *client = &call->client;
	int64_t ns = client->chosen.route->idle_timeout_ns;

	if (ns < 0)
		ns = client->http->stream_idle_timeout_ns;
	client->idle_ns = ns < 0 ? stream_idle_default_ns : (uint64_t)ns;
	client->idle.due = idle_due;
	mesh_client_moved(call);
	return client->idle_ns ? mesh_timer_start(call->worker->env.loop, &client->idle, client->idle_ns) : 0;
}

int mesh_client_start_limits(struct mesh_call *call)
{
	int rc = start_idle(call);

	return rc ? rc : start_timeout(call);
}

void mesh_client_stop_limits(struct mesh_call *call)
{
	struct loop *loop = call->worker->env.loop;

	mesh_timer_stop(loop, &call->client.timeout);
	mesh_timer_stop(loop, &call->client.duration);
	mesh_timer_stop(loop, &call->client.idle);
}
