/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides how answers are written: the application's, and our own where a request is not let through. Refuses to know why.
 */
#include "call/serve.h"

#include "call/call.h"
#include "grpc/code.h"
#include "grpc/metadata.h"
#include "policy/redirect.h"
#include "policy/route_match.h"

static int send_head(struct mesh_call *call, struct http_head *head, bool end)
{
	const struct http_config *http = call->serve.http;
	struct listener_stats *stats = &call->serve.inbound->listener->stats;
	int rc = 0;

	if (http && http->server_name.len &&
	    (http->server_overwrite || !mesh_headers_get(&head->headers, MESH_SLICE("server")).data))
		rc = mesh_headers_set(&head->headers, &call->arena, MESH_SLICE("server"), http->server_name);
	if (!rc && call->serve.cors)
		rc = mesh_cors_mark(call->serve.cors, call->serve.cors_origin, &call->arena, &head->headers);
	if (!rc && !mesh_headers_get(&head->headers, MESH_SLICE("date")).data)
		rc = mesh_headers_add(&head->headers, &call->arena, MESH_SLICE("date"), mesh_worker_date(call->worker));
	if (!rc)
		rc = mesh_exchange_send_head(&call->serve.exchange, head, end);
	if (rc)
		return rc;
	call->serve.responded = true;
	call->response.status = head->status;
	mesh_listener_count(head->status >= 500 ? &stats->rq_5xx
		 : head->status >= 400 ? &stats->rq_4xx
		 : head->status >= 300 ? &stats->rq_3xx
				       : &stats->rq_2xx);
	return 0;
}

static int grpc_code(int error, int status)
{
	if (error == MESH_ERROR_DURATION)
		return MESH_GRPC_DEADLINE_EXCEEDED;
	return status == 307 ? MESH_GRPC_INTERNAL : mesh_grpc_code_of_http(status); /* its client would not follow */
}

/* What gRPC's client can tell its caller: status and words in a head that is all of the answer. */
static int answer_grpc(struct mesh_call *call, int error, int status, struct mesh_slice body)
{
	struct http_head head = {.status = 200, .content_length = -1};
	bool silent = mesh_slice_equal(call->request.method, MESH_SLICE("HEAD"));
	int rc = mesh_grpc_status_fields(&call->arena, grpc_code(error, status), silent ? (struct mesh_slice){NULL, 0} : body,
					 &head.headers);

	return rc ? rc : send_head(call, &head, true);
}

/* All of it, or what finds no room goes on when there is. */
static int send_body(struct mesh_call *call, struct mesh_slice body, bool end)
{
	int rc = mesh_exchange_send_data(&call->serve.exchange, body, end);

	if (rc != MESH_ERROR_AGAIN)
		return rc;
	rc = mesh_buf_append(&call->out, body);
	call->serve.out_end = !rc && end;
	return rc;
}

/* A head that tells of a body, and the body where one may follow: else its reader takes it for the next answer. */
static int send_whole(struct mesh_call *call, struct http_head *head, struct mesh_slice body)
{
	bool empty = head->status == 204 || head->status == 304;
	bool bodyless = empty || !body.len || mesh_slice_equal(call->request.method, MESH_SLICE("HEAD"));
	int rc;

	head->content_length = empty ? -1 : (int64_t)body.len;
	rc = send_head(call, head, bodyless);
	return rc || bodyless ? rc : send_body(call, body, true);
}

static int answer_http(struct mesh_call *call, int status, struct mesh_slice body, struct mesh_slice location)
{
	struct http_head head = {.status = status};
	int rc = 0;

	if (body.len)
		rc = mesh_headers_add(&head.headers, &call->arena, MESH_SLICE("content-type"), MESH_SLICE("text/plain"));
	if (!rc && location.len)
		rc = mesh_headers_add(&head.headers, &call->arena, MESH_SLICE("location"), location);
	return rc ? rc : send_whole(call, &head, body);
}

/* Half an answer is none. */
static void give_up(struct mesh_call *call, int error)
{
	if (call->serve.exchange.mux)
		mesh_exchange_reset(&call->serve.exchange, error);
	mesh_call_finish(call, error, NULL);
}

static void answer(struct mesh_call *call, int error, int status, struct mesh_slice body, struct mesh_slice location)
{
	int rc;

	if (call->serve.responded || !call->serve.exchange.mux)
		return;
	call->serve.handled = true;
	call->serve.buffering = false;
	if (mesh_route_grpc_type(mesh_headers_get(&call->request.headers, MESH_SLICE("content-type"))))
		rc = answer_grpc(call, error, status, body);
	else
		rc = answer_http(call, status, body, location);
	if (rc)
		give_up(call, rc);
}

/* An answer of our own; what still arrives of the request is not kept. */
void mesh_serve_answer(struct mesh_call *call, int status, struct mesh_slice body, struct mesh_slice location)
{
	answer(call, 0, status, body, location);
}

static int follow(struct mesh_call *call, const struct route_request *request)
{
	const struct rewrite *chosen = &call->serve.chosen;
	struct http_head head = {.status = (int)chosen->route->redirect_status};
	struct mesh_slice body = {NULL, 0}, type = {NULL, 0}, location;
	int rc = 0;

	if (chosen->route->kind == ROUTE_REDIRECT) {
		location = mesh_redirect_to(chosen, request, &call->arena);
		rc = location.data ? mesh_headers_add(&head.headers, &call->arena, MESH_SLICE("location"), location)
				   : MESH_ERROR_NOMEM;
	} else {
		head.status = (int)chosen->route->direct_status;
		rc = mesh_direct_answer(chosen, request, &call->arena, &head.headers, &body, &type);
	}
	if (!rc)
		rc = mesh_rewrite_response(chosen, &call->arena, &head.headers);
	if (!rc && type.len && !mesh_headers_get(&head.headers, MESH_SLICE("content-type")).data)
		rc = mesh_headers_add(&head.headers, &call->arena, MESH_SLICE("content-type"), type);
	return rc ? rc : send_whole(call, &head, body);
}

void mesh_serve_follow(struct mesh_call *call, const struct route_request *request)
{
	const struct route *route = call->serve.chosen.route;
	int rc;

	if (route->kind == ROUTE_DIRECT_RESPONSE &&
	    mesh_route_grpc_type(mesh_headers_get(&call->request.headers, MESH_SLICE("content-type")))) {
		mesh_serve_answer(call, (int)route->direct_status, route->direct_body, (struct mesh_slice){NULL, 0});
		return;
	}
	if (call->serve.responded || !call->serve.exchange.mux)
		return;
	call->serve.handled = true;
	call->serve.buffering = false;
	rc = follow(call, request);
	if (rc)
		give_up(call, rc);
}

/* Not in gRPC's words: a browser reads it. */
void mesh_serve_preflight(struct mesh_call *call, const struct cors_config *config, const struct route_request *request,
			  struct mesh_slice origin)
{
	struct http_head head = {.status = 200};
	int rc = mesh_cors_preflight(config, request, origin, &call->arena, &head.headers);

	call->serve.handled = true;
	if (!rc)
		rc = send_head(call, &head, true);
	if (rc)
		give_up(call, rc);
}

void mesh_serve_refuse(struct mesh_call *call, int error, int status, const char *body)
{
	call->result.flag = mesh_error_flag(error);
	call->result.local_status = status;
	mesh_why(&call->why, error, "%s", body);
	answer(call, error, status, mesh_slice_of(body), (struct mesh_slice){NULL, 0});
}

bool mesh_serve_go_on(struct mesh_call *call)
{
	int rc;

	if (!mesh_buf_len(&call->out))
		return true;
	rc = mesh_exchange_send_data(&call->serve.exchange, mesh_buf_slice(&call->out), call->serve.out_end);
	if (rc == MESH_ERROR_AGAIN)
		return false;
	mesh_buf_clear(&call->out);
	if (rc)
		give_up(call, rc);
	return !rc && !call->serve.out_end;
}

static int response_headers(struct mesh_call *call, struct http_head *head, const struct mesh_header *headers, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		uint64_t length;
		int rc;

		if (!mesh_header_name_valid(headers[i].name) || !mesh_header_value_valid(headers[i].value) ||
		    mesh_header_hop_by_hop(headers[i].name))
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

/* What goes on in another protocol has neither length nor end that HTTP could tell. */
static int respond_upgrade(struct mesh_call *call, struct http_head *head, struct mesh_slice body, bool end)
{
	int rc;

	if (head->content_length >= 0)
		return MESH_ERROR_INVALID;
	head->upgrade = call->request.upgrade;
	rc = send_head(call, head, false);
	if (rc)
		return rc;
	call->serve.upgraded = true;
	return body.len || end ? send_body(call, body, end) : 0;
}

static int respond_whole(struct mesh_call *call, struct http_head *head, struct mesh_slice body, bool end)
{
	bool empty = head->status == 204 || head->status == 304;
	bool bodyless = empty || mesh_slice_equal(call->request.method, MESH_SLICE("HEAD"));
	int rc;

	if (end && !(bodyless && head->content_length >= 0 && !body.len)) {
		if (head->content_length >= 0 && head->content_length != (int64_t)body.len)
			return MESH_ERROR_INVALID;
		head->content_length = empty ? -1 : (int64_t)body.len;
	}
	/* a gRPC answer without a message is its head, which has no length */
	if (end && !body.len && mesh_route_grpc_type(mesh_headers_get(&head->headers, MESH_SLICE("content-type"))))
		head->content_length = -1;
	if (bodyless)
		end = true;
	rc = send_head(call, head, end && (!body.len || bodyless));
	if (!rc && body.len && !bodyless)
		rc = send_body(call, body, end);
	if (!rc && !bodyless)
		call->result.sent_bytes += body.len;
	return rc;
}

int mesh_serve_respond(struct mesh_call *call, int status, const struct mesh_header *headers, size_t count,
		       struct mesh_slice body, bool end)
{
	struct http_head head = {.status = status, .content_length = -1};
	bool upgrade = status == 101 && call->request.upgrade.len;
	int rc;

	if (call->serve.responded || !call->serve.exchange.mux)
		return MESH_ERROR_STATE;
	if ((status < 200 && !upgrade) || status > 599)
		return MESH_ERROR_INVALID;
	rc = response_headers(call, &head, headers, count);
	call->response.status = status; /* routes may tell it */
	if (!rc && call->serve.chosen.route)
		rc = mesh_rewrite_response(&call->serve.chosen, &call->arena, &head.headers);
	call->response.status = 0;
	if (rc)
		return rc;
	mesh_serve_moved(call);
	rc = upgrade ? respond_upgrade(call, &head, body, end) : respond_whole(call, &head, body, end);
	if (rc && call->serve.responded) {
		give_up(call, rc);
		return rc;
	}
	flush_now(call);
	return rc;
}

int mesh_serve_inform(struct mesh_call *call, int status, const struct mesh_header *headers, size_t count)
{
	struct http_head head = {.status = status, .content_length = -1};
	int rc;

	if (call->serve.responded || !call->serve.exchange.mux)
		return MESH_ERROR_STATE;
	if (status < 100 || status > 199 || status == 101)
		return MESH_ERROR_INVALID;
	rc = response_headers(call, &head, headers, count);
	if (!rc && head.content_length >= 0)
		rc = MESH_ERROR_INVALID;
	if (rc)
		return rc;
	mesh_serve_moved(call);
	rc = mesh_exchange_send_interim(&call->serve.exchange, &head);
	flush_now(call);
	return rc;
}

int mesh_serve_send(struct mesh_call *call, struct mesh_slice data, bool end)
{
	int rc;

	if (!call->serve.responded || !call->serve.exchange.mux || call->serve.exchange.sent_end || call->serve.out_end)
		return MESH_ERROR_STATE;
	if (mesh_buf_len(&call->out))
		return MESH_ERROR_AGAIN;
	mesh_serve_moved(call);
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

	if (!call->serve.responded || !call->serve.exchange.mux || call->serve.exchange.sent_end || call->serve.out_end)
		return MESH_ERROR_STATE;
	if (mesh_buf_len(&call->out))
		return MESH_ERROR_AGAIN;
	mesh_serve_moved(call);
	for (size_t i = 0; i < count && !rc; i++) {
		if (!mesh_header_name_valid(trailers[i].name) || !mesh_header_value_valid(trailers[i].value) ||
		    mesh_header_hop_by_hop(trailers[i].name))
			return MESH_ERROR_INVALID;
		rc = mesh_headers_add(&list, &call->arena, trailers[i].name, trailers[i].value);
	}
	if (!rc)
		rc = mesh_exchange_send_trailers(&call->serve.exchange, &list);
	flush_now(call);
	return rc;
}
