/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides where a client's call goes once its listener is known: virtual host, route, cluster. Refuses to decide how long
 * it may take (client_timeout.c), whether another try follows (client_retry.c), and to touch connections (attempt.c).
 */
#include "call/call.h"

#include "base/text.h"
#include "call/facts.h"
#include "call/handover.h"
#include "call/internal_redirect.h"
#include "call/mirror.h"
#include "cluster/connection.h"
#include "config/subset_wish.h"
#include "policy/hash_policy.h"
#include "policy/internal_headers.h"
#include "policy/path.h"
#include "policy/redirect.h"
#include "policy/upgrade.h"

static const size_t replay_bytes = 65536; /* a streamed body is kept for a retry up to this */

static void client_fail(struct mesh_call *call, int error, const char *why)
{
	mesh_call_finish(call, error, why);
}

/* Filters on the way out that refuse whatever the route, and istio.alpn, if it is there. */
static int look_at_filters(struct mesh_call *call)
{
	const struct http_config *http = call->client.http;

	for (size_t i = 0; i < http->filter_count; i++) {
		const struct http_filter *filter = &http->filters[i];

		if (filter->kind == HTTP_FILTER_FAIL_CLOSED)
			return mesh_why(&call->why, MESH_ERROR_FAIL_CLOSED, "HTTP filter %.*s: %.*s", (int)filter->name.len,
					filter->name.data, (int)filter->reason.len, filter->reason.data);
		if (filter->kind == HTTP_FILTER_ALPN)
			call->client.alpn = filter;
	}
	return 0;
}

/* Weighted clusters that are drawn by the hash of the request: what has none is drawn by chance, and so is what is drawn
 * later, shadows say. */
static int draw_by_hash(struct mesh_call *call)
{
	struct client_call *client = &call->client;
	const struct route *route = client->chosen.route;
	struct hash_origin origin = {mesh_slice_of(call->worker->mesh->pod_ip), NULL};
	struct route_request drawn = client->match;
	struct hash_result result = {0};
	int rc = mesh_hash_policies(route->hash_policies, route->hash_policy_count, &client->match, &origin, &call->arena,
				    &result);

	if (rc)
		return rc;
	if (result.hash)
		drawn.random = result.hash;
	client->target = mesh_route_cluster(route, &drawn, &client->target_hash, &client->chosen.weighted);
	return 0;
}

/* Drawn once, as in Envoy: filters and router are told of the same one. */
static int draw_cluster(struct mesh_call *call)
{
	struct client_call *client = &call->client;

	if (client->chosen.route->weighted_by_hash)
		return draw_by_hash(call);
	client->target = mesh_route_cluster(client->chosen.route, &client->match, &client->target_hash,
					    &client->chosen.weighted);
	return 0;
}

int mesh_client_find_route(struct mesh_call *call)
{
	struct client_call *client = &call->client;
	const struct route_config *routes = mesh_snapshot_routes(client->snapshot, client->http);

	if (!routes)
		return mesh_why(&call->why, MESH_ERROR_NO_ROUTE, "route configuration %.*s not received",
				(int)client->http->route_name.len, client->http->route_name.data);
	client->match.method = call->request.method;
	client->match.authority = call->request.authority;
	client->match.path = call->request.path;
	client->match.upgrade = call->request.upgrade;
	client->match.headers = &call->request.headers;
	client->match.random = mesh_rand_next(&call->worker->env.rand);
	client->chosen.config = routes;
	client->chosen.facts = mesh_facts_client;
	client->chosen.host = mesh_route_find_host(routes, mesh_route_host_name(routes, &client->match), &call->arena);
	if (!client->chosen.host)
		return mesh_why(&call->why, MESH_ERROR_NO_ROUTE, "no virtual host for %.*s in route configuration %.*s",
				(int)call->request.authority.len, call->request.authority.data,
				(int)routes->object.item.name.len, routes->object.item.name.data);
	client->chosen.route = mesh_route_find(client->chosen.host, &client->match, &call->arena);
	if (!client->chosen.route)
		return mesh_why(&call->why, MESH_ERROR_NO_ROUTE, "no route of virtual host %.*s matches",
				(int)client->chosen.host->name.len, client->chosen.host->name.data);
	call->result.route = client->chosen.route->name;
	client->chosen.weighted = NULL;
	client->target = (struct mesh_slice){NULL, 0};
	if (client->chosen.route->kind == ROUTE_CLUSTER && draw_cluster(call))
		return mesh_why(&call->why, MESH_ERROR_NOMEM, "route %.*s: no memory to draw a cluster",
				(int)client->chosen.route->name.len, client->chosen.route->name.data);
	call->result.cluster = client->target; /* also of a call that a filter ends */
	return 0;
}

static int check_upgrade(struct mesh_call *call)
{
	struct mesh_slice upgrade = call->request.upgrade;

	if (!upgrade.len || mesh_upgrade_allowed(call->client.http, call->client.chosen.route, upgrade))
		return 0;
	return mesh_why(&call->why, MESH_ERROR_DENIED, "a change of protocol to %.*s is not enabled", (int)upgrade.len,
			upgrade.data);
}

static bool hashes(const struct cluster_config *config)
{
	return config->lb == LB_RING_HASH || config->lb == LB_MAGLEV;
}

/* From the request as the route has changed it, as in Envoy. */
static int choose_hash(struct mesh_call *call)
{
	struct client_call *client = &call->client;
	const struct cluster_config *config = client->cluster->config;
	const struct route *route = client->chosen.route;
	bool own = config->balance.hash_policy_count > 0; /* the cluster's come before the route's */
	struct hash_origin origin = {mesh_slice_of(call->worker->mesh->pod_ip), &call->worker->env.rand};
	struct route_request changed = client->match;
	struct hash_result result;
	int rc;

	changed.authority = call->request.authority;
	changed.path = call->request.path;
	rc = mesh_hash_policies(own ? config->balance.hash_policies : route->hash_policies,
				own ? config->balance.hash_policy_count : route->hash_policy_count, &changed, &origin,
				&call->arena, &result);
	client->hash = rc ? 0 : result.hash;
	if (rc || !result.set_cookie.len)
		return rc;
	client->set_cookie = mesh_arena_array(&call->arena, 1, sizeof(*client->set_cookie));
	if (!client->set_cookie)
		return MESH_ERROR_NOMEM;
	*client->set_cookie = result.set_cookie;
	return 0;
}

int mesh_client_use_cluster(struct mesh_call *call, struct mesh_slice name, uint32_t hash)
{
	struct client_call *client = &call->client;
	const struct http_filter *alpn = call->client.alpn;
	int rc = mesh_cluster_get(&call->worker->env, name, hash, &client->cluster);

	call->result.cluster = name;
	if (rc)
		return mesh_why(&call->why, rc, "cluster %.*s is not known", (int)name.len, name.data);
	call->result.cluster = client->cluster->name;
	if (client->cluster->config->kind == CLUSTER_UNSUPPORTED)
		return mesh_why(&call->why, MESH_ERROR_NO_ENDPOINT, "cluster %.*s: its discovery type cannot be called yet",
				(int)name.len, name.data);
	client->protocol = mesh_cluster_protocol(client->cluster->config, client->version);
	if (alpn) /* where the peer chooses, the list of HTTP/2 names both, as in Istio's own filter */
		mesh_cluster_offer(client->cluster, client->protocol,
				   client->protocol == POOL_HTTP1 ? alpn->alpn_http11 : alpn->alpn_http2);
	return 0;
}

int mesh_client_find_cluster(struct mesh_call *call)
{
	struct client_call *client = &call->client;
	const struct retry_config *base = client->chosen.route->retry ? client->chosen.route->retry : client->chosen.host->retry;
	int rc;

	if (!client->target.len)
		return mesh_why(&call->why, MESH_ERROR_NO_CLUSTER, "route %.*s: no cluster for this request",
				(int)client->chosen.route->name.len, client->chosen.route->name.data);
	rc = mesh_client_use_cluster(call, client->target, client->target_hash);
	if (rc == MESH_ERROR_NO_CLUSTER)
		call->result.local_status = (int)client->chosen.route->cluster_not_found_status;
	if (rc || mesh_egress_opaque(call))
		return rc;
	rc = mesh_rewrite_request(&client->chosen, &call->arena, &call->request.authority, &call->request.path,
				  &call->request.headers);
	if (rc)
		return mesh_why(&call->why, rc, "route %.*s: the request as rewritten cannot be sent",
				(int)client->chosen.route->name.len, client->chosen.route->name.data);
	rc = hashes(client->cluster->config) ? choose_hash(call) : 0;
	if (rc)
		return mesh_why(&call->why, rc, "route %.*s: hash_policy: a value as rewritten is too long",
				(int)client->chosen.route->name.len, client->chosen.route->name.data);
	rc = client->cluster->config->names.wanted || client->egress ? mesh_egress_name(call) : 0;
	if (rc)
		return rc;
	client->high_priority = client->chosen.route->high_priority;
	client->hedged = (client->chosen.route->hedge ? client->chosen.route->hedge : client->chosen.host->hedge) ==
			 HEDGE_ON_PER_TRY_TIMEOUT;
	rc = mesh_retry_policy(base, &client->match, true, &client->hedged, &call->arena, &client->retry);
	if (rc)
		return rc;
	rc = client->limited ? 0 : mesh_client_choose_limits(call, base);
	if (rc)
		return rc;
	mesh_internal_headers_consume(&call->request.headers); /* obeyed, and not for the peer */
	client->retries_left = client->retry ? client->retry->retries : 0;
	client->per_try_idle_ns = base && base->per_try_idle_timeout_ns > 0 ? (uint64_t)base->per_try_idle_timeout_ns : 0;
	return 0;
}

static int add_header(struct mesh_call *call, struct mesh_slice name, struct mesh_slice value)
{
	return value.data ? mesh_headers_add(&call->request.headers, &call->arena, name, value) : MESH_ERROR_NOMEM;
}

/* Over HTTP/2 a sidecar takes all cookies for crumbs of one, and a cookie of nothing for none. */
static int join_cookies(struct mesh_call *call)
{
	struct headers *headers = &call->request.headers;
	struct mesh_slice all = {NULL, 0};

	for (size_t i = 0; i < headers->count; i++) {
		struct mesh_slice value = headers->items[i].value;

		if (!mesh_slice_equal_fold(headers->items[i].name, MESH_SLICE("cookie")))
			continue;
		if (all.len)
			value = mesh_arena_printf(&call->arena, "%.*s; %.*s", (int)all.len, all.data, (int)value.len, value.data);
		if (!value.data)
			return MESH_ERROR_NOMEM;
		all = value;
	}
	if (all.len)
		return mesh_headers_set(headers, &call->arena, MESH_SLICE("cookie"), mesh_slice_trim(all));
	mesh_headers_remove(headers, MESH_SLICE("cookie"));
	return 0;
}

/* What a sidecar adds on the way out. */
static int add_headers(struct mesh_call *call)
{
	struct headers *headers = &call->request.headers;
	struct mesh_slice proto = mesh_headers_get(headers, MESH_SLICE("x-forwarded-proto"));
	char uuid[MESH_UUID_BYTES];
	int rc = 0;

	/* as a sidecar takes the scheme of what comes in clear: from who says that it was another */
	call->client.match.scheme = mesh_slice_equal_fold(proto, MESH_SLICE("https")) ? MESH_SLICE("https") : MESH_SLICE("http");
	/* whom the application was called by is not for it to say to others */
	if (call->client.http->forward_cert != FORWARD_CERT_ALWAYS_FORWARD_ONLY)
		mesh_headers_remove(headers, MESH_SLICE("x-forwarded-client-cert"));
	if (!proto.data)
		rc = add_header(call, MESH_SLICE("x-forwarded-proto"), MESH_SLICE("http"));
	if (!rc && call->client.http->generate_request_id && !mesh_headers_get(headers, MESH_SLICE("x-request-id")).data) {
		mesh_text_uuid(&call->worker->env.rand, uuid);
		rc = add_header(call, MESH_SLICE("x-request-id"),
				mesh_arena_slice(&call->arena, mesh_slice_make(uuid, sizeof(uuid)), NULL));
	}
	if (!rc && call->client.version == MESH_HTTP_2 && mesh_headers_get(headers, MESH_SLICE("cookie")).data)
		rc = join_cookies(call);
	return rc;
}

/* Tells the application what was decided without asking a peer, outside its own call. */
static void deliver_local(struct loop_task *task)
{
	struct mesh_call *call = MESH_CONTAINER(task, struct mesh_call, client.local);

	call->received_head = true;
	if (call->events.head)
		call->events.head(call, call->user);
	if (!atomic_load(&call->over) && call->client.local_body.len) /* once over, its configuration may be gone */
		mesh_call_take(call, call->client.local_body, SIZE_MAX);
	call->received_end = true;
	if (call->events.end && !atomic_load(&call->over))
		call->events.end(call, call->user);
	mesh_call_finish(call, 0, NULL);
}

void mesh_client_answer(struct mesh_call *call, int status, struct mesh_slice body)
{
	/* nothing comes with these, whatever the route would say */
	bool empty = status == 204 || status == 304 || mesh_slice_equal(call->request.method, MESH_SLICE("HEAD"));

	call->response.status = status;
	call->client.local_body = empty ? (struct mesh_slice){NULL, 0} : body;
	call->result.local_status = status;
	call->client.local.run = deliver_local;
	mesh_loop_defer(call->worker->env.loop, &call->client.local);
}

static int answer_redirect(struct mesh_call *call)
{
	const struct route *route = call->client.chosen.route;
	struct mesh_slice location = mesh_redirect_to(&call->client.chosen, &call->client.match, &call->arena);
	int rc;

	if (!location.data)
		return MESH_ERROR_NOMEM;
	mesh_client_answer(call, (int)(route->redirect_status ? route->redirect_status : 301), (struct mesh_slice){NULL, 0});
	rc = mesh_headers_add(&call->response.headers, &call->arena, MESH_SLICE("location"), location);
	if (!rc)
		rc = mesh_rewrite_response(&call->client.chosen, &call->arena, &call->response.headers);
	mesh_headers_remove(&call->response.headers, MESH_SLICE("content-type")); /* of no body, as by Envoy */
	return rc;
}

void mesh_client_wish(const struct client_call *client, struct lb_choice *choice)
{
	const struct rewrite *chosen = &client->chosen;
	const struct subset_wish *wish;

	if (!chosen->route)
		return;
	wish = chosen->weighted ? chosen->weighted->subset : chosen->route->subset;
	if (!wish)
		return;
	choice->subset = wish->match.labels;
	choice->subset_count = wish->match.label_count;
	choice->subset_fallbacks = wish->fallbacks;
	choice->subset_fallback_count = wish->fallback_count;
}

/* What the route says in the peer's place; where a status asks for it, with the request's own address. */
static int answer_directly(struct mesh_call *call)
{
	const struct rewrite *chosen = &call->client.chosen;
	struct headers *headers = &call->response.headers;
	struct mesh_slice body, type;
	int rc = mesh_direct_answer(chosen, &call->client.match, &call->arena, headers, &body, &type);

	if (rc)
		return rc;
	mesh_client_answer(call, (int)chosen->route->direct_status, body);
	rc = mesh_rewrite_response(chosen, &call->arena, headers);
	if (!rc && type.len && !mesh_headers_get(headers, MESH_SLICE("content-type")).data)
		rc = mesh_headers_add(headers, &call->arena, MESH_SLICE("content-type"), type);
	if (!body.len)
		mesh_headers_remove(headers, MESH_SLICE("content-type"));
	return rc;
}

/* The path as rules and the peer are to see it. */
static int normalize(struct mesh_call *call)
{
	int rc = mesh_path_normalize(call->client.http, &call->arena, &call->request.path);

	if (rc <= 0)
		return rc;
	return mesh_why(&call->why, MESH_ERROR_INVALID, "path: \"%.*s\": refused by the listener's rules for paths",
			(int)call->request.path.len, call->request.path.data);
}

int mesh_client_decide(struct mesh_call *call)
{
	int rc = mesh_client_find_listener(call);

	if (rc || mesh_egress_opaque(call))
		return rc;
	rc = look_at_filters(call);
	if (!rc)
		rc = normalize(call);
	if (!rc)
		rc = add_headers(call);
	if (!rc)
		rc = mesh_client_find_route(call);
	if (!rc)
		rc = check_upgrade(call);
	return rc;
}

static int closed(struct mesh_call *call)
{
	const struct route *route = call->client.chosen.route;

	return mesh_why(&call->why, MESH_ERROR_FAIL_CLOSED, "route %.*s: %.*s", (int)route->name.len, route->name.data,
			(int)route->fail_reason.len, route->fail_reason.data ? route->fail_reason.data : "");
}

static int follow_route(struct mesh_call *call, bool *local)
{
	const struct route *route = call->client.chosen.route;

	switch (route->kind) {
	case ROUTE_CLUSTER:
		return mesh_client_find_cluster(call);
	case ROUTE_DIRECT_RESPONSE:
		*local = true;
		return answer_directly(call);
	case ROUTE_REDIRECT:
		*local = true;
		return answer_redirect(call);
	case ROUTE_NON_FORWARDING:
	case ROUTE_FAIL_CLOSED:
		break;
	}
	return closed(call);
}

static int start_limits(struct mesh_call *call)
{
	if (!call->client.limited)
		return mesh_client_start_limits(call);
	return call->client.out_end ? mesh_client_request_ended(call) : 0;
}

void mesh_client_go_on(struct mesh_call *call)
{
	bool pending = false;
	int rc = mesh_client_filter(call, &pending);

	if (!rc && !pending)
		rc = follow_route(call, &pending);
	if (!rc && !pending)
		rc = start_limits(call);
	if (rc)
		client_fail(call, rc, NULL);
	else if (!pending && !mesh_egress_wait(call))
		mesh_client_set_out(call);
}

void mesh_client_set_out(struct mesh_call *call)
{
	if (call->client.chosen.route->mirrors)
		mesh_mirror_start(call);
	else
		mesh_attempt_start(call);
}

void mesh_client_begin(struct mesh_call *call)
{
	struct mesh_worker *worker = call->worker;
	int rc;

	mesh_worker_refresh(worker);
	if (!worker->env.snapshot) {
		client_fail(call, MESH_ERROR_NOT_READY, NULL);
		return;
	}
	if (!call->client.snapshot) /* it may begin anew once an address is known */
		call->client.snapshot = mesh_snapshot_retain(worker->env.snapshot);
	rc = mesh_client_decide(call);
	if (!rc && call->client.chosen.route->kind == ROUTE_FAIL_CLOSED) /* no filter answers for it */
		rc = closed(call);
	if (rc == MESH_ERROR_AGAIN)
		mesh_egress_begin(call);
	else if (rc)
		client_fail(call, rc, NULL);
	else
		mesh_client_go_on(call);
}

void mesh_client_stop(struct mesh_call *call)
{
	struct client_call *client = &call->client;

	if (client->mirrors)
		mesh_mirror_stop(call);
	mesh_internal_redirect_stop(call);
	mesh_client_stop_limits(call);
	mesh_client_stop_faults(call);
	mesh_egress_stop(call);
	mesh_loop_undefer(&client->local);
	mesh_client_stop_retries(call);
	mesh_attempts_abandon(call, MESH_ERROR_CANCELLED);
	/* names in the result live in configuration that may go now */
	call->result.route = mesh_arena_slice(&call->arena, call->result.route, NULL);
	call->result.cluster = mesh_arena_slice(&call->arena, call->result.cluster, NULL);
	mesh_snapshot_release(client->snapshot);
	client->snapshot = NULL;
}

/* Where what the application sends goes: none may have begun yet. */
static struct attempt *current_of(struct mesh_call *call)
{
	return call->client.current ? call->client.current : &call->client.attempt;
}

static size_t waiting_bytes(struct mesh_call *call)
{
	return mesh_buf_len(&call->out) - current_of(call)->sent;
}

void mesh_client_room(struct mesh_call *call)
{
	if (!call->client.wants_room || waiting_bytes(call) || atomic_load_explicit(&call->over, memory_order_relaxed))
		return;
	call->client.wants_room = false;
	if (mesh_handover_go_on(call))
		return;
	if (call->events.writable)
		call->events.writable(call, call->user);
}

int mesh_client_send(struct mesh_call *call, struct mesh_slice data, bool end)
{
	struct client_call *client = &call->client;
	struct attempt *attempt = current_of(call);
	size_t waiting = waiting_bytes(call);

	if (client->out_end)
		return MESH_ERROR_STATE;
	if (data.len && waiting && waiting + data.len > replay_bytes) { /* an end alone takes no room */
		client->wants_room = true;
		return MESH_ERROR_AGAIN;
	}
	/* too long to keep for a second try: from here on what was sent is let go */
	if (client->replayable && mesh_buf_len(&call->out) + data.len > replay_bytes && attempt->head_sent &&
	    !attempt->swallowing) { /* that try is given up: the next needs all */
		client->replayable = false;
		if (client->mirrors)
			mesh_mirror_let_go(call, attempt->sent);
		mesh_buf_consume(&call->out, attempt->sent);
		attempt->sent = 0;
	}
	return mesh_client_put(call, data, end);
}

int mesh_client_put(struct mesh_call *call, struct mesh_slice data, bool end)
{
	struct client_call *client = &call->client;
	struct attempt *attempt = current_of(call);
	int rc;

	client->out_end = end;
	/* without its time limits it is not taken */
	rc = end && client->cluster ? mesh_client_request_ended(call) : 0; /* no cluster: answered without a peer */
	if (!rc && attempt->running)
		rc = mesh_attempt_watch(attempt);
	if (!rc)
		rc = mesh_buf_append(&call->out, data);
	if (rc) {
		client->out_end = false;
		return rc;
	}
	if (client->mirrors)
		mesh_mirror_feed(call);
	mesh_client_moved(call);
	if (!attempt->running)
		return 0;
	mesh_attempt_pump(attempt);
	if (attempt->connection && !mesh_loop_running(call->worker->env.loop))
		mesh_connection_flush(attempt->connection);
	return 0;
}

int mesh_client_send_trailers(struct mesh_call *call, const struct mesh_header *trailers, size_t count)
{
	struct client_call *client = &call->client;
	int rc = 0;

	if (client->out_end)
		return MESH_ERROR_STATE;
	for (size_t i = 0; i < count && !rc; i++)
		rc = mesh_headers_add_copy(&client->trailers, &call->arena, trailers[i].name, trailers[i].value);
	if (rc)
		return rc;
	client->want_trailers = count > 0;
	return mesh_client_send(call, (struct mesh_slice){NULL, 0}, true);
}
