/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides which shadows a call gets, what they say, and how much of its body is kept for them, as Envoy's router does where
 * it streams shadows. They have no retries, no filters and no shadows of their own; what becomes of them is counted by their
 * clusters and touches nothing else. Where Envoy makes the sender wait for a slow shadow, we let the shadow go. Refuses to
 * know what differs between a request and its copy (mirror_request.c).
 */
#include "call/mirror.h"

#include "call/egress.h"
#include "policy/header_match.h"

static const unsigned shadows_max = 256;        /* under way on one worker, besides the breakers of their clusters */
static const size_t window_bytes = 1024 * 1024; /* kept for a shadow and not sent yet, while its call goes on */
static const size_t rest_bytes_max = 16 * 1024 * 1024; /* the same once the call is over and its body was whole */
static const size_t replay_bytes = 64 * 1024;          /* a whole body up to this survives a stale connection */

/* Nothing of the call's own route concerns a shadow but how long an answer may take. */
static const struct route shadow_route = {
	.timeout_ns = 0,
	.idle_timeout_ns = 300000000000, /* the route may set no limit at all: one that hangs must not stay for ever */
	.max_stream_duration_ns = -1,
	.grpc_timeout_max_ns = -1,
};
static const struct virtual_host plain_host, counting_host = {.include_attempt_count = true};

struct shadow {
	struct mesh_call *of;   /* whose copy it is */
	struct mesh_call *call; /* NULL: none, or over */
	uint64_t given;         /* bytes of the body, from its first one */
	bool ended;             /* all of it, and its end */
};

struct mirror {
	struct headers headers; /* of the request as it went out first */
	uint64_t base;          /* bytes of the body that call->out does not hold any more */
	size_t count;
	struct shadow shadows[];
};

static void shadow_data(struct mesh_call *call, struct mesh_slice data, void *user)
{
	/* its answer is nobody's */
}

static void give(struct shadow *shadow);

static void shadow_writable(struct mesh_call *call, void *user)
{
	if (user)
		give(user);
}

static void shadow_done(struct mesh_call *call, void *user)
{
	struct shadow *shadow = user;

	call->worker->shadows--;
	if (shadow)
		shadow->call = NULL;
}

static const struct mesh_call_events shadow_events = {
	.size = sizeof(shadow_events),
	.data = shadow_data,
	.writable = shadow_writable,
	.done = shadow_done,
};

static bool alive(const struct shadow *shadow)
{
	return shadow->call && !atomic_load_explicit(&shadow->call->over, memory_order_relaxed);
}

static void leave(struct shadow *shadow)
{
	if (shadow->call)
		shadow->call->user = NULL;
	shadow->call = NULL;
}

/* Told later: whoever walks the worker's calls now may stand on it. */
static void end_shadow(struct shadow *shadow, int error, const char *why)
{
	struct mesh_call *call = shadow->call;

	call->in_api = true;
	mesh_call_finish(call, error, why);
	leave(shadow);
}

static void abandon(struct shadow *shadow)
{
	mesh_counter_add(&shadow->of->client.cluster->stats->shadow_abandoned, 1);
	end_shadow(shadow, MESH_ERROR_CANCELLED, "the request could not be kept for its shadow");
}

static size_t waiting(const struct mesh_call *call)
{
	return mesh_buf_len(&call->out) - call->client.current->sent;
}

/* What `call` has of the body that the shadow has not got, up to `room`; *last: it is all that comes. */
static struct mesh_slice missing(const struct shadow *shadow, size_t room, bool *last)
{
	struct mesh_call *call = shadow->of;
	struct mesh_slice rest = mesh_buf_slice(&call->out);
	size_t skip = (size_t)(shadow->given - call->client.mirrors->base);

	rest.data += skip;
	rest.len -= skip;
	*last = call->client.out_end && rest.len <= room;
	if (rest.len > room)
		rest.len = room;
	return rest;
}

/* False: there was nothing, or that was the end of it. */
static bool give_piece(struct shadow *shadow, size_t limit)
{
	const struct client_call *client = &shadow->of->client;
	struct mesh_call *call = shadow->call;
	size_t kept = waiting(call);
	bool last;
	struct mesh_slice piece = missing(shadow, kept < limit ? limit - kept : 0, &last);
	bool outer = call->in_api;
	int rc = 0;

	if (!piece.len && !last)
		return false;
	shadow->given += piece.len;
	shadow->ended = last;
	call->in_api = true; /* what is sent at once may fail at once: told later, with the call still there */
	if (piece.len || !client->want_trailers)
		rc = mesh_client_put(call, piece, last && !client->want_trailers);
	if (!rc && last && client->want_trailers && alive(shadow))
		rc = mesh_client_send_trailers(call, client->trailers.items, client->trailers.count);
	call->in_api = outer;
	if (rc)
		end_shadow(shadow, rc, NULL);
	return !rc && !last && alive(shadow);
}

static void give(struct shadow *shadow)
{
	if (!alive(shadow) || shadow->ended)
		return;
	while (give_piece(shadow, window_bytes))
		;
	if (alive(shadow))
		shadow->call->client.wants_room = !shadow->ended;
}

void mesh_mirror_feed(struct mesh_call *call)
{
	struct mirror *mirror = call->client.mirrors;

	for (size_t i = 0; i < mirror->count; i++)
		give(&mirror->shadows[i]);
}

void mesh_mirror_let_go(struct mesh_call *call, size_t bytes)
{
	struct mirror *mirror = call->client.mirrors;

	for (size_t i = 0; i < mirror->count; i++) {
		struct shadow *shadow = &mirror->shadows[i];

		if (alive(shadow) && !shadow->ended && shadow->given < mirror->base + bytes)
			abandon(shadow);
	}
	mirror->base += bytes;
}

void mesh_mirror_stop(struct mesh_call *call)
{
	struct mirror *mirror = call->client.mirrors;

	for (size_t i = 0; i < mirror->count; i++) {
		struct shadow *shadow = &mirror->shadows[i];

		while (call->client.out_end && alive(shadow) && !shadow->ended && give_piece(shadow, rest_bytes_max))
			;
		if (alive(shadow) && !shadow->ended)
			abandon(shadow);
		leave(shadow);
	}
	call->client.mirrors = NULL;
}

static void copy_state(const struct mesh_call *call, struct mesh_call *shadow)
{
	const struct client_call *from = &call->client;
	struct client_call *to = &shadow->client;

	to->http = from->http;
	to->alpn = from->alpn;
	to->version = from->version;
	to->grpc = from->grpc;
	to->response_ns = from->response_ns;
	to->chosen.route = &shadow_route;
	to->chosen.host = from->chosen.host->include_attempt_count ? &counting_host : &plain_host;
	to->match = from->match;
	to->match.authority = shadow->request.authority;
	to->match.method = shadow->request.method;
	to->match.path = shadow->request.path;
	to->match.headers = &shadow->request.headers;
	to->current = &to->attempt;
}

/* As much as the window takes, before its first try: it goes out with the head. */
static int first_piece(struct shadow *shadow)
{
	struct client_call *client = &shadow->call->client;
	struct mesh_slice piece = missing(shadow, window_bytes, &shadow->ended);

	shadow->given = piece.len;
	if (shadow->of->client.want_trailers)
		shadow->ended = false;
	client->out_end = shadow->ended;
	client->replayable = shadow->ended && piece.len <= replay_bytes;
	client->wants_room = !shadow->ended;
	return mesh_buf_append(&shadow->call->out, piece);
}

static int begin(struct shadow *shadow, const struct mirror_policy *policy, struct mesh_slice cluster, uint32_t hash)
{
	struct mesh_call *call = shadow->call;
	int rc = mesh_mirror_request(shadow->of, &shadow->of->client.mirrors->headers, policy, call);

	if (!rc) {
		copy_state(shadow->of, call);
		rc = mesh_client_use_cluster(call, cluster, hash);
	}
	if (!rc && call->client.cluster->config->names.wanted)
		rc = mesh_egress_name(call);
	if (!rc)
		rc = first_piece(shadow);
	return rc ? rc : mesh_client_start_limits(call);
}

static void start_shadow(struct shadow *shadow, const struct mirror_policy *policy, struct snapshot *snapshot,
			 struct mesh_slice cluster, uint32_t hash)
{
	struct mesh_worker *worker = shadow->of->worker;
	struct mesh_call *call = worker->shadows < shadows_max ? mesh_call_new_unasked(worker) : NULL;
	int rc;

	if (!call) {
		mesh_counter_add(&shadow->of->client.cluster->stats->shadow_abandoned, 1);
		return;
	}
	worker->shadows++;
	shadow->call = call;
	call->in_api = true; /* what ends it at once is told later */
	mesh_call_set_events(call, &shadow_events, shadow);
	call->client.snapshot = mesh_snapshot_retain(snapshot);
	rc = begin(shadow, policy, cluster, hash);
	if (rc)
		mesh_call_finish(call, rc, NULL);
	else
		mesh_attempt_start(call);
	give(shadow);
	call->in_api = false;
}

/* The first value of that header of the request as it goes out. Absent: there is none. */
static struct mesh_slice named(const struct mesh_call *call, struct mesh_slice header)
{
	struct route_request request = call->client.match;
	struct mesh_slice value = {NULL, 0};

	if (header.data[0] != ':')
		return mesh_headers_get(&call->client.mirrors->headers, header);
	request.authority = call->request.authority;
	request.path = call->request.path;
	(void)mesh_header_value(&request, header, NULL, &value); /* pseudo headers need no memory */
	return value;
}

static void start_shadows(struct mesh_call *call, const struct mirror_config *config, struct snapshot *snapshot)
{
	struct mirror *mirror = call->client.mirrors;

	for (size_t i = 0; i < config->count; i++) {
		const struct mirror_policy *policy = &config->policies[i];
		struct mesh_slice cluster = policy->cluster;
		uint32_t hash = policy->cluster_hash;

		if (policy->share.denominator && !mesh_fraction_hits(&policy->share, call->client.match.random))
			continue;
		if (!cluster.data) {
			cluster = named(call, policy->cluster_header);
			hash = mesh_slice_hash(cluster);
		}
		if (!cluster.len)
			continue;
		mirror->shadows[mirror->count].of = call;
		start_shadow(&mirror->shadows[mirror->count++], policy, snapshot, cluster, hash);
	}
}

/* Its headers as they are before a try adds its own. */
static struct mirror *make(struct mesh_call *call, size_t count)
{
	const struct headers *headers = &call->request.headers;
	struct mirror *mirror = mesh_arena_zalloc(&call->arena, sizeof(*mirror) + count * sizeof(struct shadow));
	int rc = mirror ? 0 : MESH_ERROR_NOMEM;

	for (size_t i = 0; i < headers->count && !rc; i++)
		rc = mesh_headers_add(&mirror->headers, &call->arena, headers->items[i].name, headers->items[i].value);
	return rc ? NULL : mirror;
}

void mesh_mirror_start(struct mesh_call *call)
{
	const struct mirror_config *config = call->client.chosen.route->mirrors;
	/* a change of protocol has two sides: a shadow would be a third */
	struct mirror *mirror = call->request.upgrade.len ? NULL : make(call, config->count);
	struct snapshot *snapshot = call->client.snapshot;

	if (!mirror) {
		mesh_attempt_start(call);
		return;
	}
	/* the first try may end the call; its shadows, as in Envoy, are made all the same where it had an endpoint */
	mesh_snapshot_retain(snapshot);
	atomic_fetch_add_explicit(&call->refs, 1, memory_order_relaxed);
	call->result.endpoint = (struct mesh_slice){NULL, 0};
	call->client.mirrors = mirror;
	mesh_attempt_start(call);
	if (call->result.endpoint.data && !mirror->base) {
		call->client.mirrors = mirror;
		start_shadows(call, config, snapshot);
		if (atomic_load_explicit(&call->over, memory_order_relaxed))
			mesh_mirror_stop(call);
	}
	mesh_snapshot_release(snapshot);
	mesh_call_drop(call);
}
