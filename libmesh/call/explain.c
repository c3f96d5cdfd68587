/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tells how a request finds its route, by taking the very steps a call takes. Decides nothing; refuses to know what the route
 * does to the request (explain_request.c), clusters and endpoints (explain_cluster.c).
 */
#include "call/explain.h"

#include "call/egress.h"
#include "policy/redirect.h"
#include "policy/route_why.h"

enum { ROUTES_SHOWN = 200, DOMAINS_SHOWN = 16 };

static int keep_said(struct mesh_call *call, struct explain_said *said)
{
	const struct headers *headers = &call->request.headers;

	said->count = headers->count;
	said->authority = call->request.authority;
	said->path = call->request.path;
	said->headers = mesh_arena_array(&call->arena, headers->count ? headers->count : 1, sizeof(*said->headers));
	if (!said->headers)
		return MESH_ERROR_NOMEM;
	if (headers->count)
		memcpy(said->headers, headers->items, headers->count * sizeof(*said->headers));
	return 0;
}

static void tell_request(const struct mesh_call *call, struct outline *outline)
{
	mesh_outline_group(outline, "request");
	mesh_outline_text(outline, "method", call->request.method);
	mesh_outline_text(outline, "authority", call->request.authority);
	mesh_outline_text(outline, "path", call->request.path);
	mesh_outline_text(outline, "spoken", call->client.version == MESH_HTTP_2 ? MESH_SLICE("h2") : MESH_SLICE("http/1.1"));
	mesh_outline_text(outline, "upgrade", call->request.upgrade);
	mesh_outline_close(outline);
}

static void tell_error(struct mesh_call *call, struct outline *outline, int error)
{
	const char *why = call->why.text[0] ? call->why.text : mesh_error_text(error);

	mesh_outline_group(outline, "error");
	mesh_outline_text(outline, "name", mesh_slice_of(mesh_error_name(error)));
	mesh_outline_text(outline, "flag", mesh_slice_of(mesh_error_flag(error)));
	if (call->result.local_status)
		mesh_outline_number(outline, "local_status", (uint64_t)call->result.local_status);
	mesh_outline_text(outline, "why", mesh_slice_of(why));
	mesh_outline_close(outline);
}

/* ---- listener and virtual host ---- */

static bool chain_has(const struct chain *chain, const struct http_config *http)
{
	return chain && chain->http == http;
}

/* The one whose connection manager the call took. */
static const struct chain *chain_of(const struct listener_config *listener, const struct http_config *http)
{
	for (size_t i = 0; i < listener->chain_count; i++)
		if (chain_has(&listener->chains[i], http))
			return &listener->chains[i];
	return chain_has(listener->default_chain, http) ? listener->default_chain : NULL;
}

struct search {
	const struct http_config *http;
	const struct listener_config *listener;
	const struct chain *chain;
};

static void look_into(struct search *search, const struct listener_config *listener)
{
	const struct chain *chain = listener && !search->chain ? chain_of(listener, search->http) : NULL;

	if (!chain)
		return;
	search->listener = listener;
	search->chain = chain;
}

static void tell_listener(const struct mesh_call *call, struct outline *outline)
{
	const struct snapshot *snapshot = call->client.snapshot;
	struct search search = {.http = call->client.http};

	for (size_t p = 0; p < snapshot->port_count && !search.chain; p++) {
		const struct outbound_port *port = &snapshot->ports[p];

		look_into(&search, port->wildcard);
		for (size_t i = 0; i < port->bound_count; i++)
			look_into(&search, port->bound[i]);
	}
	look_into(&search, snapshot->virtual_outbound);
	if (!search.chain)
		return;
	mesh_outline_group(outline, "listener");
	mesh_outline_text(outline, "name", search.listener->object.item.name);
	mesh_outline_printf(outline, "address", "%.*s:%u", (int)search.listener->address.len,
			    search.listener->address.data ? search.listener->address.data : "", search.listener->port);
	mesh_outline_text(outline, "filter_chain", search.chain->name);
	mesh_outline_text(outline, "stat_prefix", call->client.http->stat_prefix);
	mesh_outline_close(outline);
}

static void tell_host(const struct mesh_call *call, struct outline *outline)
{
	const struct virtual_host *host = call->client.chosen.host;

	mesh_outline_text(outline, "route_configuration", call->client.chosen.config->object.item.name);
	if (!host)
		return;
	mesh_outline_group(outline, "virtual_host");
	mesh_outline_text(outline, "name", host->name);
	mesh_outline_list(outline, "domains");
	for (size_t i = 0; i < host->domain_count && i < DOMAINS_SHOWN; i++)
		mesh_outline_text(outline, NULL, host->domains[i]);
	mesh_outline_close(outline);
	mesh_outline_close(outline);
}

/* ---- routes ---- */

static struct mesh_slice route_words(const struct route *route)
{
	return route->name.len ? route->name : MESH_SLICE("(no name)");
}

/* Where the route is among the virtual host's; the host's count when it is none of them: the one for what must come over TLS. */
static size_t place_of(const struct virtual_host *host, const struct route *route)
{
	for (size_t i = 0; i < host->route_count; i++)
		if (&host->routes[i] == route)
			return i;
	return host->route_count;
}

/* All before the one that matched; without one, all. */
static void tell_routes(struct mesh_call *call, struct outline *outline)
{
	const struct virtual_host *host = call->client.chosen.host;
	const struct route *matched = call->client.chosen.route;
	size_t end = matched && matched == host->tls_route ? 0 : place_of(host, matched);

	mesh_outline_list(outline, "routes_passed_over");
	for (size_t i = 0; i < end && i < ROUTES_SHOWN; i++) {
		struct why why = {{0}};

		mesh_route_why(&host->routes[i].match, &call->client.match, &call->arena, &why);
		mesh_outline_group(outline, NULL);
		mesh_outline_number(outline, "index", i);
		mesh_outline_text(outline, "name", route_words(&host->routes[i]));
		mesh_outline_text(outline, "because", mesh_slice_of(why.text));
		mesh_outline_close(outline);
	}
	mesh_outline_close(outline);
	if (end > ROUTES_SHOWN)
		mesh_outline_number(outline, "routes_not_shown", end - ROUTES_SHOWN);
}

static const char *kind_words(enum route_kind kind)
{
	switch (kind) {
	case ROUTE_CLUSTER:
		return "to a cluster";
	case ROUTE_REDIRECT:
		return "redirect";
	case ROUTE_DIRECT_RESPONSE:
		return "direct response";
	case ROUTE_NON_FORWARDING:
		return "not to be forwarded";
	case ROUTE_FAIL_CLOSED:
		break;
	}
	return "closed: not understood";
}

static void tell_route(const struct mesh_call *call, struct outline *outline)
{
	const struct route *route = call->client.chosen.route;
	struct why path = {{0}};

	mesh_route_path_words(&route->match, &path);
	mesh_outline_group(outline, "route");
	if (place_of(call->client.chosen.host, route) < call->client.chosen.host->route_count)
		mesh_outline_number(outline, "index", place_of(call->client.chosen.host, route));
	mesh_outline_text(outline, "name", route_words(route));
	mesh_outline_text(outline, "path", mesh_slice_of(path.text));
	mesh_outline_number(outline, "header_conditions", route->match.header_count);
	mesh_outline_number(outline, "query_conditions", route->match.query_count);
	mesh_outline_text(outline, "action", mesh_slice_of(kind_words(route->kind)));
	mesh_outline_close(outline);
}

static void tell_answer(struct mesh_call *call, struct outline *outline)
{
	const struct route *route = call->client.chosen.route;

	mesh_outline_group(outline, "answer");
	if (route->kind == ROUTE_DIRECT_RESPONSE) {
		mesh_outline_number(outline, "status", route->direct_status);
		mesh_outline_number(outline, "body_bytes", route->direct_body.len);
	} else {
		mesh_outline_number(outline, "status", route->redirect_status ? route->redirect_status : 301);
		mesh_outline_text(outline, "location", mesh_redirect_location(route, &call->client.match, &call->arena));
	}
	mesh_outline_close(outline);
}

static int tell_action(struct mesh_call *call, const struct explain_said *said, struct outline *outline)
{
	const struct route *route = call->client.chosen.route;
	int rc;

	switch (route->kind) {
	case ROUTE_CLUSTER:
		break;
	case ROUTE_REDIRECT:
	case ROUTE_DIRECT_RESPONSE:
		tell_answer(call, outline);
		return 0;
	case ROUTE_NON_FORWARDING:
	case ROUTE_FAIL_CLOSED:
		return mesh_why(&call->why, MESH_ERROR_FAIL_CLOSED, "%.*s", (int)route->fail_reason.len,
				route->fail_reason.data ? route->fail_reason.data : "");
	}
	rc = mesh_client_find_cluster(call);
	if (rc)
		return rc;
	mesh_explain_request(call, said, outline);
	return mesh_explain_cluster(call, outline);
}

/* A TCP chain takes it: bytes that go where the chain does. */
static int tell_bytes(struct mesh_call *call, struct outline *outline)
{
	const struct chain *chain = call->client.egress->opaque;
	int rc;

	mesh_outline_group(outline, "carried_as_bytes");
	mesh_outline_text(outline, "filter_chain", chain->name);
	mesh_outline_text(outline, "stat_prefix", chain->tcp_stat_prefix);
	mesh_outline_close(outline);
	rc = mesh_client_find_cluster(call);
	return rc ? rc : mesh_explain_cluster(call, outline);
}

static int tell(struct mesh_call *call, struct outline *outline)
{
	struct explain_said said;
	int rc = keep_said(call, &said);

	if (rc)
		return rc;
	mesh_worker_refresh(call->worker);
	if (!call->worker->env.snapshot)
		return MESH_ERROR_NOT_READY;
	call->client.snapshot = mesh_snapshot_retain(call->worker->env.snapshot);
	mesh_outline_number(outline, "configuration_version", call->client.snapshot->version);
	rc = mesh_client_decide(call);
	if (rc == MESH_ERROR_AGAIN)
		return mesh_why(&call->why, rc, "which listener takes it depends on the address of the name, which is resolved first");
	if (!rc && mesh_egress_opaque(call))
		return tell_bytes(call, outline);
	if (call->client.http)
		tell_listener(call, outline);
	if (call->client.chosen.config)
		tell_host(call, outline);
	if (call->client.chosen.host)
		tell_routes(call, outline);
	if (call->client.chosen.route)
		tell_route(call, outline);
	return rc ? rc : tell_action(call, &said, outline);
}

void mesh_call_explain(struct mesh_call *call, struct outline *outline)
{
	int rc;

	tell_request(call, outline);
	rc = tell(call, outline);
	if (rc)
		tell_error(call, outline, rc);
	mesh_snapshot_release(call->client.snapshot);
	call->client.snapshot = NULL;
}
