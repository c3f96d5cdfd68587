/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides whether a request may reach the application: normalized, routed, authorized. Whatever is not allowed is answered
 * here. Refuses to know sockets and what a sidecar adds (serve_decorate.c).
 */
#include "call/serve.h"

#include "call/call.h"
#include "call/facts.h"
#include "policy/cors.h"
#include "policy/path.h"
#include "policy/rbac.h"
#include "policy/upgrade.h"

static bool authorized(struct mesh_call *call, const struct authz_config *config, const struct route_request *match)
{
	struct listener_stats *stats = &call->serve.inbound->listener->stats;
	struct authz_request request;
	struct authz_result result;

	mesh_inbound_authz(call->serve.inbound, &request);
	request.http = match;
	request.source = &call->serve.remote;
	mesh_rbac_check(config, &request, &call->arena, &result);
	if (result.shadow_checked && !result.shadow_allowed)
		mesh_listener_count(&stats->rq_shadow_denied);
	if (result.allowed)
		return true;
	mesh_listener_count(&stats->rq_denied);
	MESH_LOG_D(&call->mesh->log, "rbac", "port %u: %.*s %.*s denied, policy %.*s", call->serve.inbound->listener->port,
		   (int)match->method.len, match->method.data, (int)match->path.len, match->path.data, (int)result.policy.len,
		   result.policy.data ? result.policy.data : "");
	mesh_serve_refuse(call, MESH_ERROR_DENIED, 403, "RBAC: access denied");
	return false;
}

/* For routes to the application. False: a preflight, answered. */
static bool cors_passes(struct mesh_call *call, const struct http_filter *filter, const struct route_request *match,
			const struct route *route)
{
	const struct cors_config *config;
	struct mesh_slice origin;

	if (!route || (route->kind != ROUTE_CLUSTER && route->kind != ROUTE_NON_FORWARDING))
		return true;
	config = mesh_cors_in_force(filter->name, route, call->serve.chosen.weighted);
	if (!config)
		return true;
	switch (mesh_cors_check(config, match, mesh_rand_next(&call->worker->env.rand), &call->arena, &origin)) {
	case CORS_GO_ON:
		return true;
	case CORS_MARK:
		call->serve.cors = config;
		call->serve.cors_origin = origin;
		return true;
	case CORS_ANSWER:
		break;
	}
	mesh_serve_preflight(call, config, match, origin);
	return false;
}

/* The filters of the chain in their order; without a route, as the chain has them. False: answered. */
static bool filters_pass(struct mesh_call *call, const struct route_request *match, const struct route *route)
{
	const struct http_config *http = call->serve.http;

	for (size_t i = 0; i < http->filter_count; i++) {
		const struct http_filter *filter = &http->filters[i];
		const struct authz_config *authz = filter->authz;

		if (filter->kind == HTTP_FILTER_FAIL_CLOSED) {
			mesh_listener_count(&call->serve.inbound->listener->stats.rq_fail_closed);
			mesh_serve_refuse(call, MESH_ERROR_FAIL_CLOSED, 503, "configuration in force is not understood");
			return false;
		}
		if (filter->kind == HTTP_FILTER_CORS && !cors_passes(call, filter, match, route))
			return false;
		if (filter->kind != HTTP_FILTER_AUTHZ)
			continue;
		if (route && route->authz_filter.data && mesh_slice_equal(route->authz_filter, filter->name))
			authz = route->authz;
		if (authz && !authorized(call, authz, match))
			return false;
	}
	return true;
}

static const struct route *find_route(struct mesh_call *call, const struct route_request *match)
{
	struct rewrite *chosen = &call->serve.chosen;
	uint32_t hash;

	chosen->config = mesh_snapshot_routes(call->serve.snapshot, call->serve.http);
	chosen->facts = mesh_facts_server;
	for (size_t i = 0; chosen->config && i < chosen->config->internal_only_header_count; i++)
		mesh_headers_remove(&call->request.headers, chosen->config->internal_only_headers[i]);
	if (chosen->config)
		chosen->host = mesh_route_find_host(chosen->config, mesh_route_host_name(chosen->config, match), &call->arena);
	if (chosen->host)
		chosen->route = mesh_route_find(chosen->host, match, &call->arena);
	if (chosen->route && chosen->route->kind == ROUTE_CLUSTER) /* drawn once: its settings and changes are the same one's */
		mesh_route_cluster(chosen->route, match, &hash, &chosen->weighted);
	return chosen->route;
}

/* The route's changes come last: no rule has seen them. False: answered. */
static bool rewritten(struct mesh_call *call)
{
	int rc = mesh_rewrite_request(&call->serve.chosen, &call->arena, &call->request.authority, &call->request.path,
				      &call->request.headers);

	if (!rc)
		return true;
	mesh_serve_refuse(call, rc, 500, "the request as rewritten cannot be served");
	return false;
}

/* Names with underscores, which some applications cannot tell from dashes. False: answered. */
static bool check_underscores(struct mesh_call *call)
{
	const struct http_config *http = call->serve.http;
	struct headers *headers = &call->request.headers;
	size_t i = 0;

	if (!http->reject_underscores && !http->drop_underscores)
		return true;
	while (i < headers->count) {
		if (!memchr(headers->items[i].name.data, '_', headers->items[i].name.len)) {
			i++;
			continue;
		}
		if (http->reject_underscores) {
			mesh_serve_refuse(call, MESH_ERROR_DOWNSTREAM_PROTOCOL, 400, "header name with an underscore");
			return false;
		}
		mesh_headers_remove(headers, headers->items[i].name);
	}
	return true;
}

/* The port of the authority, or where only our own is to go, that one. */
static void strip_port(struct mesh_call *call)
{
	const struct http_config *http = call->serve.http;
	struct mesh_slice *authority = &call->request.authority;
	ptrdiff_t colon = mesh_slice_find_last(*authority, ':');
	uint64_t port;

	if ((!http->strip_host_port && !http->strip_any_host_port) || colon < 0)
		return;
	/* an IPv6 address without a port ends in a bracket; what is no number is no port */
	if (!mesh_slice_to_u64(mesh_slice_make(authority->data + colon + 1, authority->len - (size_t)colon - 1), &port))
		return;
	if (http->strip_any_host_port || port == call->serve.inbound->listener->port)
		authority->len = (size_t)colon;
}

/* A protocol to change to, if one is asked for, is one of those configured. False: answered. */
static bool check_upgrade(struct mesh_call *call, const struct route *route)
{
	struct mesh_slice upgrade = call->request.upgrade;

	if (!upgrade.len || mesh_upgrade_allowed(call->serve.http, route, upgrade))
		return true;
	mesh_serve_refuse(call, MESH_ERROR_STATE, 403, "");
	return false;
}

/* As the message says it, or who stands between: what the connection is comes last. */
static struct mesh_slice scheme_of(const struct mesh_call *call)
{
	struct mesh_slice said = mesh_headers_get(&call->request.headers, MESH_SLICE("x-forwarded-proto"));
	bool secure = call->peer.tls;

	if (call->serve.inbound->http2 && call->request.scheme.len)
		said = call->request.scheme;
	if (mesh_slice_equal_fold(said, MESH_SLICE("https")) || mesh_slice_equal_fold(said, MESH_SLICE("http")))
		secure = said.len == 5;
	return secure ? MESH_SLICE("https") : MESH_SLICE("http");
}

/* What HTTP/1.1 has refused when reading. False: answered. */
static bool check_head(struct mesh_call *call)
{
	if (!call->serve.inbound->http2 || call->request.authority.len)
		return true;
	mesh_serve_refuse(call, MESH_ERROR_DOWNSTREAM_PROTOCOL, 400, "");
	return false;
}

/* Behind two slashes at the beginning a browser looks for a host: the same path, said so that it finds none. */
static void redirect_to_path(struct mesh_call *call)
{
	struct mesh_slice path = call->request.path;

	if (path.len > 1 && path.data[0] == '/' && (path.data[1] == '/' || path.data[1] == '\\')) {
		path = mesh_arena_printf(&call->arena, "/.%.*s", (int)path.len, path.data);
		if (!path.data) {
			mesh_serve_refuse(call, MESH_ERROR_NOMEM, 500, mesh_error_text(MESH_ERROR_NOMEM));
			return;
		}
	}
	mesh_serve_answer(call, 307, (struct mesh_slice){NULL, 0}, path);
}

/* Everything before the application. False: answered. */
bool mesh_serve_admit(struct mesh_call *call)
{
	struct listener_stats *stats = &call->serve.inbound->listener->stats;
	struct route_request match = {0};
	const struct route *route;
	int rc;

	if (!check_head(call))
		return false;
	rc = mesh_path_normalize(call->serve.http, &call->arena, &call->request.path);
	if (rc == PATH_REDIRECT) {
		redirect_to_path(call);
		return false;
	}
	if (rc == PATH_REJECT) {
		mesh_serve_refuse(call, MESH_ERROR_DOWNSTREAM_PROTOCOL, 400, "invalid path");
		return false;
	}
	if (rc >= 0 && !check_underscores(call))
		return false;
	if (rc >= 0) {
		strip_port(call);
		rc = mesh_serve_decorate(call);
	}
	if (rc < 0) {
		mesh_serve_refuse(call, rc, 500, mesh_error_text(rc));
		return false;
	}
	match.method = call->request.method;
	match.scheme = scheme_of(call);
	match.peer_presented = match.peer_validated = call->peer.mutual;
	match.authority = call->request.authority;
	match.path = call->request.path;
	match.upgrade = call->request.upgrade;
	match.headers = &call->request.headers;
	match.random = mesh_rand_next(&call->worker->env.rand);
	route = find_route(call, &match);
	if (route)
		call->result.route = route->name;
	mesh_serve_watch(call);
	if (!check_upgrade(call, route))
		return false;
	if (!filters_pass(call, &match, route)) /* whom the rules refuse does not learn what there is */
		return false;
	if (!route) {
		mesh_listener_count(&stats->rq_no_route);
		mesh_serve_refuse(call, MESH_ERROR_NO_ROUTE, 404, "");
		return false;
	}
	if (route->kind == ROUTE_CLUSTER || route->kind == ROUTE_NON_FORWARDING)
		return rewritten(call);
	if (route->kind == ROUTE_DIRECT_RESPONSE || route->kind == ROUTE_REDIRECT)
		mesh_serve_follow(call, &match);
	else
		mesh_serve_refuse(call, MESH_ERROR_FAIL_CLOSED, 503, "configuration in force is not understood");
	return false;
}
