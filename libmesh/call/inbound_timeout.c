/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides when a connection or a request on it has taken too long, and what its peer is told then. Refuses to know what
 * moves them.
 */
#include "call/inbound.h"
#include "call/serve.h"

static const uint64_t second_ns = 1000000000ULL;
static const uint64_t head_default_ns = 60 * second_ns;      /* a request head that has begun */
static const uint64_t idle_default_ns = 3600 * second_ns;    /* Envoy's hour */
static const uint64_t stream_idle_default_ns = 300 * second_ns; /* Envoy's 5 minutes */

static uint64_t idle_limit_ns(const struct inbound *inbound)
{
	const struct http_config *http = inbound->chain ? inbound->chain->http : NULL;

	if (!http || http->idle_timeout_ns < 0)
		return idle_default_ns;
	return (uint64_t)http->idle_timeout_ns;
}

static uint64_t head_limit_ns(const struct inbound *inbound)
{
	const struct http_config *http = inbound->chain ? inbound->chain->http : NULL;

	return http && http->request_headers_timeout_ns > 0 ? (uint64_t)http->request_headers_timeout_ns : head_default_ns;
}

/* Neither side of a request moves. */
static uint64_t stream_idle_limit_ns(const struct inbound *inbound)
{
	const struct http_config *http = inbound->chain ? inbound->chain->http : NULL;
	int64_t ns;

	if (!http)
		return 0;
	ns = mesh_serve_idle_timeout_ns(inbound);
	if (ns < 0)
		ns = http->stream_idle_timeout_ns;
	return ns < 0 ? stream_idle_default_ns : (uint64_t)ns;
}

/* A request from its head to its last byte. */
static uint64_t request_limit_ns(const struct inbound *inbound)
{
	const struct http_config *http = inbound->chain ? inbound->chain->http : NULL;

	return http && http->request_timeout_ns > 0 ? (uint64_t)http->request_timeout_ns : 0;
}

void mesh_inbound_start_timer(struct inbound *inbound, uint64_t ns)
{
	if (ns)
		mesh_timer_start(inbound->worker->env.loop, &inbound->timer, ns);
	else
		mesh_timer_stop(inbound->worker->env.loop, &inbound->timer);
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

/* Answers what became too late and ends the connection. */
static void expire(struct inbound *inbound, int error, int status, const char *why)
{
	mesh_mux_drain(inbound->mux);
	mesh_serve_expire(inbound, error, status, why);
	mesh_inbound_flush(inbound);
	if (inbound->state == INBOUND_OPEN) /* not even that much can be sent */
		mesh_inbound_kill(inbound);
}

/* True: a request took too long, and the connection with it. */
static bool check_request(struct inbound *inbound, uint64_t now)
{
	uint64_t stream = stream_idle_limit_ns(inbound), request = request_limit_ns(inbound), since;

	if (!inbound->mux->active)
		return false;
	since = request || stream ? mesh_serve_receiving_since_ns(inbound) : 0;
	if (request && since && now - since >= request)
		expire(inbound, MESH_ERROR_TIMEOUT, 408, "request timeout");
	else if (stream && now - inbound->active_ns >= stream)
		expire(inbound, MESH_ERROR_IDLE_TIMEOUT, since ? 408 : 504, "stream timeout");
	else
		return false;
	return true;
}

static uint64_t sooner(uint64_t a, uint64_t b)
{
	return b && (!a || b < a) ? b : a;
}

void mesh_inbound_wait(struct inbound *inbound)
{
	uint64_t stream = stream_idle_limit_ns(inbound), request = request_limit_ns(inbound);

	mesh_inbound_start_timer(inbound, sooner(sooner(sooner(idle_limit_ns(inbound), head_limit_ns(inbound)), stream), request));
}

/* Open connections: the timer is not moved at each request but looks how long ago the last sign of life was. */
void mesh_inbound_check_time(struct inbound *inbound)
{
	uint64_t now = mesh_loop_now_ns(inbound->worker->env.loop), quiet = now - inbound->active_ns;
	uint64_t idle = idle_limit_ns(inbound), head = head_limit_ns(inbound);

	mesh_inbound_watch_head(inbound);
	if (inbound->head_ns && now - inbound->head_ns >= head) {
		mesh_mux_refuse(inbound->mux, 408, "the request head took too long");
		mesh_inbound_flush(inbound);
		if (inbound->state == INBOUND_OPEN) /* not even that much can be sent */
			mesh_inbound_kill(inbound);
		return;
	}
	if (!inbound->mux->active && !inbound->head_ns && idle && quiet >= idle) {
		mesh_mux_drain(inbound->mux);
		if (inbound->state != INBOUND_DEAD)
			mesh_inbound_kill(inbound);
		return;
	}
	if (check_request(inbound, now))
		return;
	mesh_inbound_wait(inbound);
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
