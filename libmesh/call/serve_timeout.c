/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides when one request on a connection has taken too long, and what its peer is told: its own status where nothing was
 * answered yet, else the end of the stream. Other requests on the connection go on where its protocol can do that. Refuses
 * to know connections' own limits (inbound_timeout.c).
 */
#include "call/serve.h"

#include "call/call.h"

static const uint64_t second_ns = 1000000000ULL;
static const uint64_t stream_idle_default_ns = 300 * second_ns; /* Envoy's 5 minutes */
static const uint64_t answer_longest_ns = 5 * second_ns;        /* for the answer that it took too long to leave */

static void sooner(uint64_t *next, uint64_t at)
{
	if (!*next || at < *next)
		*next = at;
}

/* Neither side of a request moves. 0: no limit */
static uint64_t idle_limit_ns(const struct http_config *http, const struct route *route)
{
	int64_t ns = route && route->idle_timeout_ns >= 0 ? route->idle_timeout_ns : http->stream_idle_timeout_ns;

	return ns < 0 ? stream_idle_default_ns : (uint64_t)ns;
}

/* Alone on its connection a request moves when that does. A long answer moves as the peer takes it, without an event. */
static uint64_t active_ns(struct mesh_call *call, uint64_t now)
{
	const struct inbound *inbound = call->serve.inbound;

	if (!inbound->http2)
		return inbound->active_ns;
	if (call->serve.left_bytes != call->serve.exchange.left_bytes)
		call->serve.active_ns = now;
	call->serve.left_bytes = call->serve.exchange.left_bytes;
	return call->serve.active_ns;
}

static void expire(struct mesh_call *call, int error, int status, const char *why)
{
	struct inbound *inbound = call->serve.inbound;

	call->serve.expired = error;
	call->serve.active_ns = mesh_loop_now_ns(call->worker->env.loop);
	if (!inbound->http2) /* the answer says so */
		mesh_mux_drain(inbound->mux);
	if (call->serve.responded)
		mesh_call_finish(call, error, why);
	else
		mesh_serve_refuse(call, error, status, why);
}

/* True: too late by `limit`, if there is one. */
static bool late(uint64_t since, uint64_t limit, uint64_t now, uint64_t *next)
{
	if (!limit)
		return false;
	if (now - since >= limit)
		return true;
	sooner(next, since + limit);
	return false;
}

/* True: it was ended. */
static bool check_call(struct mesh_call *call, uint64_t now, uint64_t *next)
{
	const struct http_config *http = call->serve.http;
	bool receiving = !call->received_end && !call->serve.upgraded;

	if (call->serve.expired) {
		if (!late(call->serve.active_ns, answer_longest_ns, now, next))
			return false;
		mesh_call_finish(call, call->serve.expired, NULL);
		return true;
	}
	if (!http)
		return false;
	if (receiving && late(call->started_ns, (uint64_t)http->request_timeout_ns, now, next))
		expire(call, MESH_ERROR_TIMEOUT, 408, "request timeout");
	else if (late(call->started_ns, (uint64_t)http->stream_duration_max_ns, now, next))
		expire(call, MESH_ERROR_DURATION, call->received_end ? 504 : 408, "downstream duration timeout");
	else if (late(active_ns(call, now), idle_limit_ns(http, call->serve.chosen.route), now, next))
		expire(call, MESH_ERROR_IDLE_TIMEOUT, call->received_end ? 504 : 408, "stream timeout");
	else
		return false;
	return true;
}

/* Those that come before the next look have none of their time over until then. */
static void wait_for_more(const struct inbound *inbound, uint64_t now, uint64_t *next)
{
	const struct http_config *http = inbound->chain->http;

	if (!http)
		return;
	late(now, (uint64_t)http->request_timeout_ns, now, next);
	late(now, (uint64_t)http->stream_duration_max_ns, now, next);
	late(now, idle_limit_ns(http, NULL), now, next);
}

uint64_t mesh_serve_check_time(struct inbound *inbound, uint64_t now)
{
	struct link *head = &inbound->calls, *next;
	uint64_t soonest = 0;
	bool ended = false;

	/* what one is told may end others: see mesh_inbound_each */
	for (struct link *at = head->next; at != head; at = next) {
		next = at->next;
		ended |= check_call(MESH_CONTAINER(at, struct mesh_call, serve.link), now, &soonest);
		if (next != head && next->next == next)
			next = head->next;
	}
	if (ended)
		mesh_inbound_flush(inbound);
	if (ended && !inbound->http2 && inbound->state == INBOUND_OPEN) /* not even that much can be sent */
		mesh_inbound_kill(inbound);
	wait_for_more(inbound, now, &soonest);
	return soonest;
}

void mesh_serve_watch(struct mesh_call *call)
{
	const struct route *route = call->serve.chosen.route;

	if (route && route->idle_timeout_ns > 0)
		mesh_inbound_wait_until(call->serve.inbound,
					mesh_loop_now_ns(call->worker->env.loop) + (uint64_t)route->idle_timeout_ns);
}
