/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides what happens to a request that arrived: normalized, routed, authorized, decorated as a sidecar would, then
 * handed to the application, whose answer goes back. Whatever is not allowed is answered here. Refuses to know sockets.
 */
#include "call/serve.h"

#include "base/text.h"
#include "call/call.h"
#include "policy/path.h"
#include "policy/rbac.h"

static const struct exchange_events serve_events;

static struct mesh_call *call_of(struct exchange *exchange)
{
	return MESH_CONTAINER(exchange, struct mesh_call, serve.exchange);
}

static void stat_add(_Atomic uint64_t *counter)
{
	atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

struct exchange *mesh_serve_accept(struct inbound *inbound)
{
	struct mesh_call *call;

	mesh_inbound_refresh(inbound);
	call = mesh_call_new(inbound->worker, true);
	if (!call)
		return NULL;
	call->serve.inbound = inbound;
	call->serve.exchange.events = &serve_events;
	call->serve.exchange.arena = &call->arena;
	call->serve.snapshot = mesh_snapshot_retain(inbound->snapshot);
	call->serve.http = inbound->chain->http;
	call->serve.body_max = inbound->listener->request_bytes_max;
	mesh_call_set_peer(call, inbound->transport, &inbound->remote);
	return &call->serve.exchange;
}

static int send_head(struct mesh_call *call, struct http_head *head, bool end)
{
	const struct http_config *http = call->serve.http;
	struct listener_stats *stats = &call->serve.inbound->listener->stats;
	int rc = 0;

	if (http && http->server_name.len &&
	    (http->server_overwrite || !mesh_headers_get(&head->headers, MESH_SLICE("server")).data))
		rc = mesh_headers_set(&head->headers, &call->arena, MESH_SLICE("server"), http->server_name);
	if (!rc && !mesh_headers_get(&head->headers, MESH_SLICE("date")).data)
		rc = mesh_headers_add(&head->headers, &call->arena, MESH_SLICE("date"), mesh_worker_date(call->worker));
	if (!rc)
		rc = mesh_exchange_send_head(&call->serve.exchange, head, end);
	if (rc)
		return rc;
	call->serve.responded = true;
	call->response.status = head->status;
	stat_add(head->status >= 500 ? &stats->rq_5xx
		 : head->status >= 400 ? &stats->rq_4xx
		 : head->status >= 300 ? &stats->rq_3xx
				       : &stats->rq_2xx);
	return 0;
}

/* An answer of our own; what still arrives of the request is not kept. */
static void answer(struct mesh_call *call, int status, struct mesh_slice body, struct mesh_slice location)
{
	struct http_head head = {.status = status, .content_length = (int64_t)body.len};
	int rc = 0;

	if (call->serve.responded || !call->serve.exchange.mux)
		return;
	call->serve.handled = true;
	call->serve.buffering = false;
	if (body.len)
		rc = mesh_headers_add(&head.headers, &call->arena, MESH_SLICE("content-type"), MESH_SLICE("text/plain"));
	if (!rc && location.len)
		rc = mesh_headers_add(&head.headers, &call->arena, MESH_SLICE("location"), location);
	if (!rc)
		rc = send_head(call, &head, body.len == 0);
	if (!rc && body.len)
		rc = mesh_exchange_send_data(&call->serve.exchange, body, true);
	if (rc) {
		mesh_exchange_reset(&call->serve.exchange, rc);
		mesh_call_finish(call, rc, NULL);
	}
}

static void refuse(struct mesh_call *call, int error, int status, const char *body)
{
	call->result.flag = mesh_error_flag(error);
	call->result.local_status = status;
	mesh_why(&call->why, error, "%s", body);
	answer(call, status, mesh_slice_of(body), (struct mesh_slice){NULL, 0});
}

/* x-forwarded-client-cert as the connection manager is told to treat it. */
static int forward_client_cert(struct mesh_call *call)
{
	const struct http_config *http = call->serve.http;
	const struct peer_info *peer = &call->serve.inbound->transport->peer;
	struct headers *headers = &call->request.headers;
	const struct mesh_slice name = MESH_SLICE("x-forwarded-client-cert");
	struct mesh_slice old = mesh_headers_get(headers, name), element;
	bool append = http->forward_cert == FORWARD_CERT_APPEND_FORWARD;

	if (http->forward_cert == FORWARD_CERT_ALWAYS_FORWARD_ONLY)
		return 0;
	if (!peer->mutual || http->forward_cert == FORWARD_CERT_SANITIZE) {
		mesh_headers_remove(headers, name);
		return 0;
	}
	if (http->forward_cert == FORWARD_CERT_FORWARD_ONLY)
		return 0;
	element = mesh_arena_printf(&call->arena, "%.*s%sBy=%.*s;Hash=%.*s%s%.*s%s%s%.*s%s%.*s", append ? (int)old.len : 0,
				    append && old.data ? old.data : "", append && old.len ? "," : "", (int)peer->local_uri.len,
				    peer->local_uri.data, (int)peer->sha256.len, peer->sha256.data,
				    http->xfcc_subject ? ";Subject=\"" : "", http->xfcc_subject ? (int)peer->subject.len : 0,
				    peer->subject.data ? peer->subject.data : "", http->xfcc_subject ? "\"" : "",
				    http->xfcc_uri ? ";URI=" : "", http->xfcc_uri ? (int)peer->identity.len : 0,
				    peer->identity.data ? peer->identity.data : "",
				    http->xfcc_dns && peer->dns_san_count ? ";DNS=" : "",
				    http->xfcc_dns && peer->dns_san_count ? (int)peer->dns_sans[0].len : 0,
				    peer->dns_san_count ? peer->dns_sans[0].data : "");
	return element.data ? mesh_headers_set(headers, &call->arena, name, element) : MESH_ERROR_NOMEM;
}

/* What a sidecar adds to a request before the application sees it, and takes away. */
static int decorate(struct mesh_call *call)
{
	const struct http_config *http = call->serve.http;
	struct headers *headers = &call->request.headers;
	const struct mesh_slice request_id = MESH_SLICE("x-request-id"), proto = MESH_SLICE("x-forwarded-proto");
	char uuid[MESH_UUID_BYTES];
	int rc = forward_client_cert(call);

	if (!rc && http->generate_request_id && !mesh_headers_get(headers, request_id).data) {
		mesh_text_uuid(&call->worker->env.rand, uuid);
		struct mesh_slice id = mesh_arena_slice(&call->arena, mesh_slice_make(uuid, sizeof(uuid)), NULL);

		rc = id.data ? mesh_headers_add(headers, &call->arena, request_id, id) : MESH_ERROR_NOMEM;
	}
	if (!rc && !mesh_headers_get(headers, proto).data)
		rc = mesh_headers_add(headers, &call->arena, proto, call->peer.tls ? MESH_SLICE("https") : MESH_SLICE("http"));
	mesh_headers_remove(headers, MESH_SLICE("x-envoy-peer-metadata"));
	mesh_headers_remove(headers, MESH_SLICE("x-envoy-peer-metadata-id"));
	return rc;
}

/*
 * Whom the request comes from: the connection's peer, or where the connection manager is told to believe those in front of
 * it, the address that the last of them not to be skipped wrote behind the others in x-forwarded-for.
 */
static void remote_address(struct mesh_call *call, struct address *remote)
{
	const struct http_config *http = call->serve.http;
	bool failed = false;
	struct mesh_slice list =
		mesh_headers_joined(&call->request.headers, &call->arena, MESH_SLICE("x-forwarded-for"), &failed);
	uint32_t skip = http->xff_trusted_hops;
	struct address said;
	ptrdiff_t comma;

	*remote = call->serve.inbound->remote;
	if (failed)
		remote->len = 0; /* nobody: rules that would let somebody in do not match */
	if (failed || !list.data || (http->use_remote_address && !skip))
		return;
	skip -= http->use_remote_address;
	while (skip-- && (comma = mesh_slice_find_last(list, ',')) >= 0)
		list.len = (size_t)comma;
	if (skip != UINT32_MAX) /* fewer addresses than hops */
		return;
	comma = mesh_slice_find_last(list, ',');
	list = mesh_slice_trim(mesh_slice_make(list.data + comma + 1, list.len - (size_t)(comma + 1)));
	if (!mesh_address_parse(&said, list, 0))
		*remote = said;
}

static bool authorized(struct mesh_call *call, const struct authz_config *config, const struct route_request *match)
{
	struct listener_stats *stats = &call->serve.inbound->listener->stats;
	struct authz_request request;
	struct authz_result result;
	struct address remote;

	mesh_inbound_authz(call->serve.inbound, &request);
	remote_address(call, &remote);
	request.http = match;
	request.source = &remote;
	mesh_rbac_check(config, &request, &call->arena, &result);
	if (result.shadow_checked && !result.shadow_allowed)
		stat_add(&stats->rq_shadow_denied);
	if (result.allowed)
		return true;
	stat_add(&stats->rq_denied);
	MESH_LOG_D(&call->mesh->log, "rbac", "port %u: %.*s %.*s denied, policy %.*s", call->serve.inbound->listener->port,
		   (int)match->method.len, match->method.data, (int)match->path.len, match->path.data, (int)result.policy.len,
		   result.policy.data ? result.policy.data : "");
	refuse(call, MESH_ERROR_DENIED, 403, "RBAC: access denied");
	return false;
}

/* The filters of the chain in their order. False: answered. */
static bool filters_pass(struct mesh_call *call, const struct route_request *match, const struct route *route)
{
	const struct http_config *http = call->serve.http;

	for (size_t i = 0; i < http->filter_count; i++) {
		const struct http_filter *filter = &http->filters[i];
		const struct authz_config *authz = filter->authz;

		if (filter->kind == HTTP_FILTER_FAIL_CLOSED) {
			stat_add(&call->serve.inbound->listener->stats.rq_fail_closed);
			refuse(call, MESH_ERROR_FAIL_CLOSED, 503, "configuration in force is not understood");
			return false;
		}
		if (filter->kind != HTTP_FILTER_AUTHZ)
			continue;
		if (route->authz_override)
			authz = route->authz;
		if (authz && !authorized(call, authz, match))
			return false;
	}
	return true;
}

static const struct route *find_route(struct mesh_call *call, const struct route_request *match)
{
	struct rewrite *chosen = &call->serve.chosen;

	chosen->config = mesh_snapshot_routes(call->serve.snapshot, call->serve.http);
	if (chosen->config)
		chosen->host = mesh_route_find_host(chosen->config, match->authority, &call->arena);
	if (chosen->host)
		chosen->route = mesh_route_find(chosen->host, match, &call->arena);
	return chosen->route;
}

/* The route's changes come last: no rule has seen them. False: answered. */
static bool rewritten(struct mesh_call *call)
{
	int rc = mesh_rewrite_request(&call->serve.chosen, &call->arena, &call->request.authority, &call->request.path,
				      &call->request.headers);

	if (!rc)
		return true;
	refuse(call, rc, 500, "the request as rewritten cannot be served");
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
			refuse(call, MESH_ERROR_DOWNSTREAM_PROTOCOL, 400, "header name with an underscore");
			return false;
		}
		mesh_headers_remove(headers, headers->items[i].name);
	}
	return true;
}

/* Everything before the application. False: answered. */
static bool admit(struct mesh_call *call)
{
	struct listener_stats *stats = &call->serve.inbound->listener->stats;
	struct route_request match = {0};
	const struct route *route;
	int rc = mesh_path_normalize(call->serve.http, &call->arena, &call->request.path);

	if (rc == PATH_REDIRECT) {
		answer(call, 307, (struct mesh_slice){NULL, 0}, call->request.path);
		return false;
	}
	if (rc == PATH_REJECT) {
		refuse(call, MESH_ERROR_DOWNSTREAM_PROTOCOL, 400, "invalid path");
		return false;
	}
	if (rc >= 0 && !check_underscores(call))
		return false;
	if (rc >= 0)
		rc = decorate(call);
	if (rc < 0) {
		refuse(call, rc, 500, mesh_error_text(rc));
		return false;
	}
	match.method = call->request.method;
	match.scheme = call->peer.tls ? MESH_SLICE("https") : MESH_SLICE("http");
	match.authority = call->request.authority;
	match.path = call->request.path;
	match.headers = &call->request.headers;
	match.random = mesh_rand_next(&call->worker->env.rand);
	route = find_route(call, &match);
	if (!route) {
		stat_add(&stats->rq_no_route);
		refuse(call, MESH_ERROR_NO_ROUTE, 404, "");
		return false;
	}
	call->result.route = route->name;
	if (!filters_pass(call, &match, route))
		return false;
	if (route->kind == ROUTE_CLUSTER || route->kind == ROUTE_NON_FORWARDING)
		return rewritten(call);
	if (route->kind == ROUTE_DIRECT_RESPONSE)
		answer(call, (int)route->direct_status, route->direct_body, (struct mesh_slice){NULL, 0});
	else
		refuse(call, MESH_ERROR_FAIL_CLOSED, 503, "configuration in force is not understood");
	return false;
}

static void run_handler(struct mesh_call *call)
{
	struct mesh_listener *listener = call->serve.inbound->listener;

	call->serve.handled = true;
	atomic_fetch_add_explicit(&call->refs, 1, memory_order_relaxed); /* the handler may end the call */
	listener->handler(call, listener->user);
	if (!call->serve.responded && !call->serve.registered && !atomic_load(&call->over) && atomic_load(&call->refs) == 2) {
		MESH_LOG_W(&call->mesh->log, "serve", "port %u: the handler neither answered nor kept the call", listener->port);
		refuse(call, MESH_ERROR_STATE, 500, "no answer");
	}
	mesh_call_drop(call);
}

static void on_head(struct exchange *exchange, struct http_head *head, bool end)
{
	struct mesh_call *call = call_of(exchange);

	call->request = *head;
	call->received_head = true;
	stat_add(&call->serve.inbound->listener->stats.rq_total);
	if (call->serve.http && !admit(call))
		return;
	if (call->serve.body_max && head->content_length > 0 && (uint64_t)head->content_length > call->serve.body_max) {
		refuse(call, MESH_ERROR_TOO_LARGE, 413, "request body too large"); /* need not be sent first */
		return;
	}
	if (head->expects_continue && !end)
		mesh_exchange_send_continue(exchange);
	if (call->serve.body_max) {
		call->serve.buffering = true; /* the handler comes with `end` */
		return;
	}
	run_handler(call);
}

static void on_data(struct exchange *exchange, struct mesh_slice data)
{
	struct mesh_call *call = call_of(exchange);
	size_t max = call->serve.buffering ? call->serve.body_max : SIZE_MAX;
	int rc;

	if (!call->serve.buffering && !call->events.data) /* refused, or nobody wants it */
		return;
	rc = mesh_call_take(call, data, max);
	if (rc == MESH_ERROR_TOO_LARGE)
		refuse(call, rc, 413, "request body too large");
	else if (rc)
		refuse(call, rc, 500, mesh_error_text(rc));
}

static void on_end(struct exchange *exchange, struct headers *trailers)
{
	struct mesh_call *call = call_of(exchange);

	call->trailers = trailers;
	call->received_end = true;
	if (call->serve.buffering) {
		call->serve.buffering = false;
		run_handler(call);
	} else if (call->events.end) {
		call->events.end(call, call->user);
	}
}

static void on_writable(struct exchange *exchange)
{
	struct mesh_call *call = call_of(exchange);

	if (call->events.writable)
		call->events.writable(call, call->user);
}

static void on_over(struct exchange *exchange, int error, const char *why, bool unprocessed)
{
	struct mesh_call *call = call_of(exchange);

	if (!error && call->serve.expired)
		mesh_call_finish(call, call->serve.expired, NULL);
	else
		mesh_call_finish(call, error == MESH_ERROR_RESET ? MESH_ERROR_CLOSED : error, why);
}

static const struct exchange_events serve_events = {
	.head = on_head,
	.data = on_data,
	.end = on_end,
	.writable = on_writable,
	.over = on_over,
};

static struct mesh_call *present_call(const struct inbound *inbound)
{
	MESH_LIST_EACH(at, &inbound->worker->calls) {
		struct mesh_call *call = MESH_CONTAINER(at, struct mesh_call, link);

		if (call->server && call->serve.inbound == inbound && !atomic_load(&call->over))
			return call;
	}
	return NULL;
}

uint64_t mesh_serve_receiving_since_ns(const struct inbound *inbound)
{
	const struct mesh_call *call = present_call(inbound);

	return call && !call->received_end ? call->started_ns : 0;
}

void mesh_serve_expire(struct inbound *inbound, int error, int status, const char *why)
{
	struct mesh_call *call = present_call(inbound);

	if (!call)
		return;
	call->serve.expired = error;
	if (call->serve.responded)
		mesh_call_finish(call, error, why);
	else
		refuse(call, error, status, why);
}

static bool hop_by_hop(struct mesh_slice name)
{
	static const struct mesh_slice names[] = {{"connection", 10}, {"transfer-encoding", 17}, {"keep-alive", 10},
						  {"proxy-connection", 16}, {"upgrade", 7}, {"te", 2}, {"trailer", 7}};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (mesh_slice_equal_fold(name, names[i]))
			return true;
	return false;
}

static int response_headers(struct mesh_call *call, struct http_head *head, const struct mesh_header *headers, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		uint64_t length;
		int rc;

		if (!mesh_header_name_valid(headers[i].name) || !mesh_header_value_valid(headers[i].value) ||
		    hop_by_hop(headers[i].name))
			return MESH_ERROR_INVALID;
		if (mesh_slice_equal_fold(headers[i].name, MESH_SLICE("content-length"))) {
			if (!mesh_slice_to_u64(headers[i].value, &length) || length > INT64_MAX)
				return MESH_ERROR_INVALID;
			head->content_length = (int64_t)length;
			continue;
		}
		rc = mesh_headers_add_copy(&head->headers, &call->arena, headers[i].name, headers[i].value);
		if (rc)
			return rc;
	}
	return 0;
}

/* Inside the connection's own event its end flushes; from outside nobody would this round. */
static void flush_now(struct mesh_call *call)
{
	if (!mesh_loop_running(call->worker->env.loop))
		mesh_inbound_flush(call->serve.inbound);
}

int mesh_serve_respond(struct mesh_call *call, int status, const struct mesh_header *headers, size_t count,
		       struct mesh_slice body, bool end)
{
	struct http_head head = {.status = status, .content_length = -1};
	bool bodyless = mesh_slice_equal(call->request.method, MESH_SLICE("HEAD")) || status == 204 || status == 304;
	int rc;

	if (call->serve.responded || !call->serve.exchange.mux)
		return MESH_ERROR_STATE;
	if (status < 200 || status > 599)
		return MESH_ERROR_INVALID;
	rc = response_headers(call, &head, headers, count);
	if (!rc && call->serve.chosen.route)
		rc = mesh_rewrite_response(&call->serve.chosen, &call->arena, &head.headers);
	if (rc)
		return rc;
	if (end && !(bodyless && head.content_length >= 0 && !body.len)) {
		if (head.content_length >= 0 && head.content_length != (int64_t)body.len)
			return MESH_ERROR_INVALID;
		head.content_length = status == 204 || status == 304 ? -1 : (int64_t)body.len;
	}
	if (bodyless)
		end = true;
	rc = send_head(call, &head, end && (!body.len || bodyless));
	if (!rc && body.len && !bodyless)
		rc = mesh_exchange_send_data(&call->serve.exchange, body, end);
	if (rc && call->serve.responded) { /* half an answer is none */
		mesh_exchange_reset(&call->serve.exchange, rc);
		mesh_call_finish(call, rc, NULL);
		return rc;
	}
	if (!bodyless)
		call->result.sent_bytes += body.len;
	flush_now(call);
	return rc;
}

int mesh_serve_send(struct mesh_call *call, struct mesh_slice data, bool end)
{
	int rc;

	if (!call->serve.responded || !call->serve.exchange.mux || call->serve.exchange.sent_end)
		return MESH_ERROR_STATE;
	rc = mesh_exchange_send_data(&call->serve.exchange, data, end);
	if (!rc)
		call->result.sent_bytes += data.len;
	flush_now(call);
	return rc;
}

int mesh_serve_send_trailers(struct mesh_call *call, const struct mesh_header *trailers, size_t count)
{
	struct headers list = {0};
	int rc = 0;

	if (!call->serve.responded || !call->serve.exchange.mux || call->serve.exchange.sent_end)
		return MESH_ERROR_STATE;
	for (size_t i = 0; i < count && !rc; i++) {
		if (!mesh_header_name_valid(trailers[i].name) || !mesh_header_value_valid(trailers[i].value))
			return MESH_ERROR_INVALID;
		rc = mesh_headers_add(&list, &call->arena, trailers[i].name, trailers[i].value);
	}
	if (!rc)
		rc = mesh_exchange_send_trailers(&call->serve.exchange, &list);
	flush_now(call);
	return rc;
}

void mesh_serve_stop(struct mesh_call *call, int error)
{
	if (call->serve.exchange.mux)
		mesh_exchange_reset(&call->serve.exchange, error ? error : MESH_ERROR_CANCELLED);
	call->result.http_status = call->response.status;
	call->result.route = mesh_arena_slice(&call->arena, call->result.route, NULL);
	mesh_snapshot_release(call->serve.snapshot);
	call->serve.snapshot = NULL;
	call->serve.http = NULL;
}

void mesh_serve_released(struct mesh_call *call)
{
	if (call->serve.responded || call->serve.registered || atomic_load(&call->over)) /* events may still answer */
		return;
	MESH_LOG_W(&call->mesh->log, "serve", "port %u: the call was released without an answer",
		   call->serve.inbound->listener->port);
	refuse(call, MESH_ERROR_STATE, 500, "no answer");
}
