/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides whether a redirect is followed within the call, as Envoy's router decides: the address in it, the scheme, how many
 * came before, the route it leads to. Then the call begins anew with its listener: route, filters, limits, tries. Refuses to
 * know how a response is dropped (attempt_receive.c).
 */
#include "call/internal_redirect.h"

#include "call/mirror.h"

/* A route led to another: it does not again. Names live in the snapshot of the call. */
struct taken {
	struct taken *next;
	const struct route *from;
	struct mesh_slice to;
};

struct internal_redirects {
	struct mesh_call *call;
	struct loop_task follow;
	unsigned count;
	unsigned attempts;
	uint32_t timeout_ms; /* of the application, for the whole call */
	bool to_get;         /* the next request is a GET without a body */
	struct taken *taken;
};

struct address_parts {
	struct mesh_slice scheme, authority, path;
};

/* All that looking for a route with another address changes. */
struct before {
	struct mesh_slice scheme, authority, path;
	struct headers headers;
	struct rewrite chosen;
	struct route_request match;
	struct mesh_slice target, route_name;
	uint32_t target_hash;
};

static bool port_valid(struct mesh_slice authority)
{
	ptrdiff_t colon = mesh_slice_find_last(authority, ':');
	uint64_t port = 1;

	if (colon < 0 || mesh_slice_find_last(authority, ']') > colon)
		return true;
	return colon > 0 &&
	       mesh_slice_to_u64(mesh_slice_make(authority.data + colon + 1, authority.len - (size_t)colon - 1),
				 &port) &&
	       port > 0 && port <= 65535;
}

static bool scheme_valid(struct mesh_slice scheme)
{
	for (size_t i = 0; i < scheme.len; i++) {
		char c = mesh_char_lower(scheme.data[i]);

		if (!(c >= 'a' && c <= 'z') &&
		    (i == 0 || !((c >= '0' && c <= '9') || c == '+' || c == '-' || c == '.')))
			return false;
	}
	return scheme.len > 0;
}

/* "scheme://host[:port][/path][?query][#fragment]" without the fragment. False: anything else. *path is not one yet where
 * only a query follows. */
static bool parse(struct mesh_slice text, struct address_parts *parts)
{
	ptrdiff_t colon = mesh_slice_find(text, ':'), fragment;
	size_t end;

	if (colon < 0 ||
	    !mesh_slice_prefix(mesh_slice_make(text.data + colon, text.len - (size_t)colon), MESH_SLICE("://")))
		return false;
	parts->scheme = mesh_slice_make(text.data, (size_t)colon);
	text = mesh_slice_make(text.data + colon + 3, text.len - (size_t)colon - 3);
	fragment = mesh_slice_find(text, '#');
	if (fragment >= 0)
		text.len = (size_t)fragment;
	for (end = 0; end < text.len && text.data[end] != '/' && text.data[end] != '?'; end++)
		;
	parts->authority = mesh_slice_make(text.data, end);
	parts->path = mesh_slice_make(text.data + end, text.len - end);
	return scheme_valid(parts->scheme) && mesh_header_word_valid(parts->authority) &&
	       mesh_slice_find(parts->authority, '@') < 0 && port_valid(parts->authority) &&
	       (!parts->path.len || mesh_header_word_valid(parts->path));
}

static bool refuse(struct mesh_call *call, _Atomic uint64_t *counter)
{
	atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
	return false;
}

static bool code_listed(const struct internal_redirect_config *config, int status)
{
	switch (status) {
	case 301:
		return config->codes & REDIRECT_301;
	case 302:
		return config->codes & REDIRECT_302;
	case 303:
		return config->codes & REDIRECT_303;
	case 307:
		return config->codes & REDIRECT_307;
	case 308:
		return config->codes & REDIRECT_308;
	default:
		return false;
	}
}

static struct internal_redirects *state_of(struct mesh_call *call)
{
	struct client_call *client = &call->client;

	if (client->redirects)
		return client->redirects;
	client->redirects = mesh_arena_zalloc(&call->arena, sizeof(*client->redirects));
	if (client->redirects) {
		client->redirects->call = call;
		client->redirects->timeout_ms = client->timeout_ms;
	}
	return client->redirects;
}

static bool save(struct mesh_call *call, struct before *before)
{
	const struct headers *headers = &call->request.headers;
	bool saved = true;

	*before = (struct before){
		.scheme = call->request.scheme,
		.authority = call->request.authority,
		.path = call->request.path,
		.chosen = call->client.chosen,
		.match = call->client.match,
		.target = call->client.target,
		.target_hash = call->client.target_hash,
		.route_name = call->result.route,
	};
	for (size_t i = 0; i < headers->count && saved; i++)
		saved = !mesh_headers_add(&before->headers, &call->arena, headers->items[i].name,
					  headers->items[i].value);
	return saved;
}

static void restore(struct mesh_call *call, const struct before *before)
{
	call->request.scheme = before->scheme;
	call->request.authority = before->authority;
	call->request.path = before->path;
	call->request.headers = before->headers;
	call->client.chosen = before->chosen;
	call->client.match = before->match;
	call->client.target = before->target;
	call->client.target_hash = before->target_hash;
	call->result.route = before->route_name;
	call->why.text[0] = '\0';
}

/* What the response does not have, the next request has not either. */
static int copy_headers(struct mesh_call *call, const struct internal_redirect_config *config,
			const struct headers *response)
{
	struct headers *headers = &call->request.headers;
	int rc = 0;

	for (size_t i = 0; i < config->copied_count; i++) {
		mesh_headers_remove(headers, config->copied[i]);
		for (size_t k = 0; k < response->count && !rc; k++)
			if (mesh_slice_equal_fold(response->items[k].name, config->copied[i]))
				rc = mesh_headers_add_copy(headers, &call->arena, config->copied[i],
							   response->items[k].value);
	}
	return rc;
}

static int readdress(struct mesh_call *call, const struct address_parts *to, bool http)
{
	bool failed = false;

	call->request.scheme = http ? MESH_SLICE("http") : MESH_SLICE("https");
	call->request.authority = mesh_arena_slice(&call->arena, to->authority, &failed);
	call->request.path =
		mesh_arena_printf(&call->arena, "%s%.*s", to->path.len && to->path.data[0] == '/' ? "" : "/",
				  (int)to->path.len, to->path.data);
	return failed || !call->request.path.data ? MESH_ERROR_NOMEM : 0;
}

/* Also remembers, as Envoy does before it is known whether the others agree. */
static bool not_taken(struct internal_redirects *redirects, const struct route *from, struct mesh_slice to)
{
	struct taken *taken;

	for (taken = redirects->taken; taken; taken = taken->next)
		if (mesh_slice_equal(taken->from->name, from->name) && mesh_slice_equal(taken->to, to))
			return false;
	taken = mesh_arena_zalloc(&redirects->call->arena, sizeof(*taken));
	if (!taken)
		return false;
	*taken = (struct taken){.next = redirects->taken, .from = from, .to = to};
	redirects->taken = taken;
	return true;
}

static bool listed(const struct redirect_predicate *predicate, struct mesh_slice name)
{
	for (size_t i = 0; i < predicate->route_count; i++)
		if (mesh_slice_equal(predicate->routes[i], name))
			return true;
	return false;
}

static bool agreed(struct internal_redirects *redirects, const struct route *from, const struct route *to, bool http)
{
	const struct internal_redirect_config *config = from->internal_redirect;
	bool yes = true;

	for (size_t i = 0; i < config->predicate_count && yes; i++) {
		switch (config->predicates[i].kind) {
		case REDIRECT_PREVIOUS_ROUTES:
			yes = not_taken(redirects, from, to->name);
			break;
		case REDIRECT_ALLOWED_ROUTES:
			yes = listed(&config->predicates[i], to->name);
			break;
		case REDIRECT_SAFE_CROSS_SCHEME: /* the application speaks HTTP to us */
			yes = http;
			break;
		}
	}
	return yes;
}

/* With the request changed to what the next one will be. */
static bool leads_on(struct mesh_call *call, struct internal_redirects *redirects, const struct address_parts *to,
		     bool http, const struct http_head *head)
{
	const struct route *from = call->client.chosen.route;
	struct mesh_slice url =
		mesh_arena_printf(&call->arena, "http://%.*s%.*s", (int)call->request.authority.len,
				  call->request.authority.data, (int)call->request.path.len, call->request.path.data);

	if (!url.data || copy_headers(call, from->internal_redirect, &head->headers) || readdress(call, to, http))
		return false;
	if (mesh_client_find_route(call))
		return refuse(call, &call->mesh->redirects.no_route);
	if (!agreed(redirects, from, call->client.chosen.route, http))
		return refuse(call, &call->mesh->redirects.predicate);
	return !mesh_headers_set(&call->request.headers, &call->arena, MESH_SLICE("x-envoy-original-url"), url);
}

static bool accepted(struct mesh_call *call, const struct http_head *head)
{
	const struct internal_redirect_config *config = call->client.chosen.route->internal_redirect;
	struct mesh_slice location = mesh_headers_get(&head->headers, MESH_SLICE("location"));
	struct internal_redirects *redirects = state_of(call);
	struct redirect_stats *stats = &call->mesh->redirects;
	struct address_parts to;
	struct before before;
	bool http;

	if (!redirects || !location.data || !call->client.out_end || !call->client.replayable ||
	    call->request.upgrade.len)
		return false;
	if (!parse(location, &to))
		return refuse(call, &stats->bad_location);
	http = mesh_slice_equal_fold(to.scheme, MESH_SLICE("http"));
	if (!http && !config->allow_cross_scheme)
		return refuse(call, &stats->unsafe_scheme);
	if (!http && !mesh_slice_equal_fold(to.scheme, MESH_SLICE("https")))
		return refuse(call, &stats->bad_location);
	if (redirects->count >= config->max)
		return refuse(call, &stats->too_many);
	if (!save(call, &before))
		return false;
	if (leads_on(call, redirects, &to, http, head))
		return true;
	restore(call, &before);
	return false;
}

/* A request of its own, of which only the application's time limit is older. */
static void begin_anew(struct internal_redirects *redirects)
{
	struct mesh_call *call = redirects->call;
	struct client_call *client = &call->client;
	uint64_t passed_ms = (mesh_loop_now_ns(call->worker->env.loop) - call->started_ns) / 1000000;

	mesh_client_stop_limits(call);
	mesh_client_stop_faults(call);
	client->filters_run = 0;
	client->delayed = client->limited = false;
	client->cors = NULL;
	client->retry = NULL;
	client->retry_flag = NULL;
	client->timeout_retry = false;
	client->tried_count = 0;
	client->tried_priorities = NULL;
	client->replays = client->backoffs = 0;
	client->hash = 0;
	client->set_cookie = NULL;
	client->cluster = NULL;
	redirects->attempts = call->result.attempts;
	if (redirects->timeout_ms)
		client->timeout_ms =
			passed_ms < redirects->timeout_ms ? redirects->timeout_ms - (uint32_t)passed_ms : 1;
}

static void become_get(struct mesh_call *call)
{
	call->request.method = MESH_SLICE("GET");
	call->request.content_length = 0;
	mesh_headers_remove(&call->request.headers, MESH_SLICE("content-length"));
	mesh_buf_clear(&call->out);
	call->client.want_trailers = false;
}

static void follow(struct loop_task *task)
{
	struct internal_redirects *redirects = MESH_CONTAINER(task, struct internal_redirects, follow);
	struct mesh_call *call = redirects->call;
	int rc;

	mesh_attempts_abandon(call, MESH_ERROR_CANCELLED);
	if (call->client.mirrors)
		mesh_mirror_stop(call);
	if (redirects->to_get)
		become_get(call);
	redirects->to_get = false;
	begin_anew(redirects);
	rc = mesh_client_find_route(call); /* anew, as Envoy: what is drawn is drawn again */
	if (rc)
		mesh_call_finish(call, rc, NULL);
	else
		mesh_client_go_on(call);
}

bool mesh_internal_redirect(struct attempt *attempt, const struct http_head *head, bool whole)
{
	struct mesh_call *call = attempt->call;
	struct internal_redirects *redirects;

	if (!code_listed(call->client.chosen.route->internal_redirect, head->status))
		return false;
	if (!accepted(call, head)) {
		mesh_counter_add(&call->client.cluster->stats->redirect_failed, 1);
		return false;
	}
	mesh_counter_add(&call->client.cluster->stats->redirect_succeeded, 1);
	redirects = call->client.redirects;
	redirects->count++;
	redirects->to_get = head->status == 303 && !mesh_slice_equal(call->request.method, MESH_SLICE("GET")) &&
			    !mesh_slice_equal(call->request.method, MESH_SLICE("HEAD"));
	redirects->follow.run = follow;
	mesh_attempts_keep(attempt);
	mesh_client_stop_retries(call);
	mesh_attempt_swallow(attempt, whole);
	mesh_loop_defer(call->worker->env.loop, &redirects->follow);
	return true;
}

unsigned mesh_internal_redirect_attempts(const struct mesh_call *call)
{
	return call->client.redirects ? call->client.redirects->attempts : 0;
}

void mesh_internal_redirect_stop(struct mesh_call *call)
{
	if (call->client.redirects)
		mesh_loop_undefer(&call->client.redirects->follow);
}
