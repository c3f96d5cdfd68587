/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides when a connection has taken too long: silent, in the middle of a head, without an answer to a ping, longer than
 * allowed, or of a configuration that is no more. One timer for all of it and for the requests on it (serve_timeout.c),
 * which is not moved as they come and go. Refuses to know what moves them.
 */
#include "call/inbound.h"
#include "call/serve.h"

static const uint64_t second_ns = 1000000000ULL;
static const uint64_t head_default_ns = 60 * second_ns;   /* a request head that has begun */
static const uint64_t idle_default_ns = 3600 * second_ns; /* Envoy's hour */
static const uint64_t ping_default_ns = 20 * second_ns;   /* for its answer; configuration always says it */
static const uint64_t drain_default_ns = 5 * second_ns;   /* as Envoy */
static const uint64_t drain_quiet_ns = second_ns / 2;     /* a round trip and more */
static const uint64_t drain_longest_ns = 45 * second_ns;  /* of a changed listener's connections, as Istio runs Envoy */

static const struct http_config *http_of(const struct inbound *inbound)
{
	return inbound->chain->http;
}

uint64_t mesh_inbound_idle_limit_ns(const struct inbound *inbound)
{
	const struct http_config *http = http_of(inbound);
	int64_t ns = http ? http->idle_timeout_ns : inbound->chain->tcp_idle_timeout_ns;

	return ns < 0 ? idle_default_ns : (uint64_t)ns;
}

uint64_t mesh_inbound_head_limit_ns(const struct inbound *inbound)
{
	const struct http_config *http = http_of(inbound);

	return http && http->request_headers_timeout_ns > 0 ? (uint64_t)http->request_headers_timeout_ns
							    : head_default_ns;
}

/* For a peer to hear that the connection drains. */
static uint64_t drain_limit_ns(const struct inbound *inbound)
{
	const struct http_config *http = http_of(inbound);

	return http && http->drain_timeout_ns > 0 ? (uint64_t)http->drain_timeout_ns : drain_default_ns;
}

/* Who has no request there, and may be asleep, holds it for a moment only: a request on its way then is refused unread. */
uint64_t mesh_inbound_drained_at_ns(const struct inbound *inbound)
{
	uint64_t at = inbound->drain_ns + drain_limit_ns(inbound);
	uint64_t quiet = inbound->quiet_ns > inbound->drain_ns ? inbound->quiet_ns : inbound->drain_ns;

	return inbound->mux->active || quiet + drain_quiet_ns > at ? at : quiet + drain_quiet_ns;
}

void mesh_inbound_start_timer(struct inbound *inbound, uint64_t ns)
{
	if (ns)
		mesh_timer_start(inbound->worker->env.loop, &inbound->timer, ns);
	else
		mesh_timer_stop(inbound->worker->env.loop, &inbound->timer);
}

void mesh_inbound_wait_until(struct inbound *inbound, uint64_t at_ns)
{
	if (inbound->state != INBOUND_OPEN || (inbound->due_ns && inbound->due_ns <= at_ns))
		return;
	/* without memory for it whoever comes next tries again */
	inbound->due_ns = mesh_timer_start_at(inbound->worker->env.loop, &inbound->timer, at_ns) ? 0 : at_ns;
}

/* A head is timed from its first byte: a peer that sends one now and then would never be late otherwise. */
void mesh_inbound_watch_head(struct inbound *inbound)
{
	if (!mesh_mux_receiving_head(inbound->mux)) {
		inbound->head_ns = 0;
	} else if (!inbound->head_ns || inbound->head_number != inbound->mux->carried) {
		inbound->head_ns = mesh_loop_now_ns(inbound->worker->env.loop);
		inbound->head_number = inbound->mux->carried;
	}
}

void mesh_inbound_supersede(struct inbound *inbound)
{
	uint64_t now = mesh_loop_now_ns(inbound->worker->env.loop);

	switch (inbound->state) {
	case INBOUND_OPEN:
		inbound->superseded_ns = now;
		mesh_inbound_wait_until(inbound, now + drain_longest_ns);
		mesh_inbound_drain(inbound);
		break;
	case INBOUND_STREAMING:
		inbound->superseded_ns = now;
		mesh_inbound_start_timer(inbound, drain_longest_ns);
		break;
	default:
		mesh_inbound_kill(inbound);
	}
}

/* Each: true, it is ended; false, *next is not behind the moment it has to be looked at again. */
typedef bool check_fn(struct inbound *inbound, uint64_t now, uint64_t *next);

static void sooner(uint64_t *next, uint64_t at)
{
	if (!*next || at < *next)
		*next = at;
}

static bool check_head(struct inbound *inbound, uint64_t now, uint64_t *next)
{
	uint64_t limit = mesh_inbound_head_limit_ns(inbound);

	mesh_inbound_watch_head(inbound);
	if (!inbound->head_ns || now - inbound->head_ns < limit) {
		sooner(next, (inbound->head_ns ? inbound->head_ns : now) + limit);
		return false;
	}
	mesh_mux_refuse(inbound->mux, 408, "the request head took too long");
	mesh_inbound_flush(inbound);
	if (inbound->state == INBOUND_OPEN) /* not even that much can be sent */
		mesh_inbound_kill(inbound);
	return true;
}

/* HTTP/2 says goodbye first; what is left when that was heard, or could not be, has no more to wait for. */
static bool check_idle(struct inbound *inbound, uint64_t now, uint64_t *next)
{
	const struct http_config *http = http_of(inbound);
	bool goodbye = inbound->http2 && inbound->draining;
	/* on a TCP chain nobody asks what the bytes are for */
	bool idle = (!inbound->mux->active && !inbound->head_ns) || !http;
	/* HTTP/2 has frames that are no request: who sends them is idle all the same */
	uint64_t since = inbound->http2 && http ? inbound->quiet_ns : inbound->active_ns;
	uint64_t limit = goodbye ? drain_limit_ns(inbound) : mesh_inbound_idle_limit_ns(inbound);

	if (!limit || inbound->drain_ns)
		return false;
	if (!idle || now - since < limit) {
		sooner(next, (idle ? since : now) + limit);
		return false;
	}
	if (inbound->http2 && http && !goodbye) {
		mesh_inbound_drain(inbound);
		mesh_inbound_flush(inbound);
		return inbound->state != INBOUND_OPEN;
	}
	mesh_mux_drain(inbound->mux);
	mesh_inbound_flush(inbound);
	if (inbound->state == INBOUND_OPEN)
		mesh_inbound_kill(inbound);
	return true;
}

/* max_connection_duration: what is under way ends well. That of a TCP chain is the end. */
static bool check_duration(struct inbound *inbound, uint64_t now, uint64_t *next)
{
	const struct http_config *http = http_of(inbound);
	uint64_t limit = (uint64_t)(http ? http->connection_duration_max_ns : inbound->chain->tcp_duration_max_ns);

	if (!limit || (http && inbound->draining))
		return false;
	if (now - inbound->opened_ns < limit) {
		sooner(next, inbound->opened_ns + limit);
		return false;
	}
	if (http)
		mesh_inbound_drain(inbound);
	else
		mesh_inbound_kill(inbound);
	return inbound->state != INBOUND_OPEN;
}

/* HTTP/2: what the peer begins when it must have heard is refused. */
static bool check_drain(struct inbound *inbound, uint64_t now, uint64_t *next)
{
	uint64_t at = mesh_inbound_drained_at_ns(inbound);

	if (!inbound->drain_ns)
		return false;
	if (now < at) {
		sooner(next, at);
		return false;
	}
	inbound->drain_ns = 0;
	inbound->quiet_ns = now;
	mesh_mux_drain(inbound->mux);
	return false;
}

static bool check_superseded(struct inbound *inbound, uint64_t now, uint64_t *next)
{
	if (!inbound->superseded_ns)
		return false;
	if (now - inbound->superseded_ns < drain_longest_ns) {
		sooner(next, inbound->superseded_ns + drain_longest_ns);
		return false;
	}
	mesh_inbound_kill(inbound);
	return true;
}

/* HTTP/2 keepalive: a peer that is gone without a word would keep its requests running. */
static bool check_ping(struct inbound *inbound, uint64_t now, uint64_t *next)
{
	const struct http2_config *http2 = &inbound->mux->limits.http2;
	uint64_t interval = (uint64_t)http2->ping_interval_ns;
	uint64_t timeout = http2->ping_timeout_ns > 0 ? (uint64_t)http2->ping_timeout_ns : ping_default_ns;

	if (!inbound->http2 || !interval)
		return false;
	if (inbound->pinged && !inbound->mux->pings) {
		inbound->pinged = false;
		inbound->ping_ns = now;
	}
	if (inbound->pinged && now - inbound->ping_ns >= timeout) {
		MESH_LOG_I(&inbound->worker->mesh->log, "inbound", "port %u: keepalive: no answer",
			   inbound->listener->port);
		mesh_inbound_kill(inbound);
		return true;
	}
	if (!inbound->pinged && now - inbound->ping_ns >= interval) {
		mesh_mux_ping(inbound->mux);
		inbound->pinged = true;
		inbound->ping_ns = now;
	}
	sooner(next, inbound->ping_ns + (inbound->pinged ? timeout : interval));
	return false;
}

static bool check_requests(struct inbound *inbound, uint64_t now, uint64_t *next)
{
	uint64_t at = mesh_serve_check_time(inbound, now);

	if (inbound->state == INBOUND_OPEN && at)
		sooner(next, at);
	return inbound->state != INBOUND_OPEN;
}

/*
 * Open connections: the timer is not moved at each request but looks how long ago the last sign of life was. It looks again
 * soon enough for requests that come meanwhile, too.
 */
void mesh_inbound_check_time(struct inbound *inbound)
{
	static check_fn *const checks[] = {check_head,       check_idle, check_duration, check_drain,
					   check_superseded, check_ping, check_requests};
	uint64_t now = mesh_loop_now_ns(inbound->worker->env.loop), next = 0;

	inbound->due_ns = 0;
	for (size_t i = 0; i < sizeof(checks) / sizeof(checks[0]); i++)
		if (checks[i](inbound, now, &next))
			return;
	mesh_inbound_wait_until(inbound, next);
}

void mesh_inbound_time_due(struct loop_timer *timer)
{
	struct inbound *inbound = MESH_CONTAINER(timer, struct inbound, timer);

	if (inbound->state == INBOUND_OPEN)
		mesh_inbound_check_time(inbound);
	else if (inbound->state == INBOUND_SNIFFING)
		mesh_inbound_sniff_late(inbound);
	else
		mesh_inbound_kill(inbound);
}
