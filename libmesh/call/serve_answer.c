/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides how answers are written: the application's, and our own where a request is not let through. Refuses to know why.
 */
#include "call/serve.h"

#include "call/call.h"

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
	mesh_listener_count(head->status >= 500 ? &stats->rq_5xx
		 : head->status >= 400 ? &stats->rq_4xx
		 : head->status >= 300 ? &stats->rq_3xx
				       : &stats->rq_2xx);
	return 0;
}

/* An answer of our own; what still arrives of the request is not kept. */
void mesh_serve_answer(struct mesh_call *call, int status, struct mesh_slice body, struct mesh_slice location)
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

void mesh_serve_refuse(struct mesh_call *call, int error, int status, const char *body)
{
	call->result.flag = mesh_error_flag(error);
	call->result.local_status = status;
	mesh_why(&call->why, error, "%s", body);
	mesh_serve_answer(call, status, mesh_slice_of(body), (struct mesh_slice){NULL, 0});
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
