/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides how an endpoint is asked for its health over HTTP, by a request, and over gRPC, by the health service; and what its
 * answer is. Refuses to know when it is asked and what follows.
 */
#include "cluster/check_connection.h"
#include "config/route.h"
#include "policy/rewrite.h"

enum {
	BODY_MAX = 1024 * 1024, /* of a response whose configuration sets no bound */
	GRPC_MAX = 4096,        /* of a HealthCheckResponse */
	GRPC_PREFIX = 5,        /* bytes before a message: a flag and its length */
	SERVING = 1,
};

static struct check_connection *of_exchange(struct exchange *exchange)
{
	return MESH_CONTAINER(exchange, struct check_connection, exchange);
}

static void on_head(struct exchange *exchange, struct http_head *head, bool end)
{
	of_exchange(exchange)->response = *head;
}

static void on_data(struct exchange *exchange, struct mesh_slice data)
{
	struct check_connection *connection = of_exchange(exchange);
	struct check *check = connection->check;
	size_t have = mesh_buf_len(&connection->body), max = BODY_MAX;

	if (!check || (!check->config->receive_count && check->config->kind != HEALTH_CHECK_GRPC))
		return;
	if (check->config->kind == HEALTH_CHECK_GRPC)
		max = GRPC_MAX;
	else if (check->config->response_max && check->config->response_max < max)
		max = check->config->response_max;
	if (data.len > max - have) {
		data.len = max - have;
		connection->body_cut = true;
	}
	if (mesh_buf_append(&connection->body, data))
		connection->body_cut = true;
}

static void on_end(struct exchange *exchange, struct headers *trailers)
{
	struct check_connection *connection = of_exchange(exchange);

	connection->has_trailers = trailers != NULL;
	if (trailers)
		connection->trailers = *trailers;
}

static void on_writable(struct exchange *exchange)
{
}

static bool has(const struct headers *headers, const char *name)
{
	return mesh_headers_get(headers, mesh_slice_of(name)).data != NULL;
}

static enum check_result judge_http(struct check_connection *connection)
{
	struct check *check = connection->check;
	const struct headers *headers = &connection->response.headers;
	enum check_result result = mesh_check_status(check->config, connection->response.status);
	struct mesh_slice service = mesh_headers_get(headers, MESH_SLICE("x-envoy-upstream-healthchecked-cluster"));

	if (!mesh_check_received(check->config, mesh_buf_slice(&connection->body)))
		result = CHECK_FAILED;
	if (!mesh_check_good(result)) {
		check->excluded = check->excluded || has(headers, "x-envoy-immediate-health-check-fail");
		return result;
	}
	if (check->config->service_name) {
		struct cluster_shared *cluster = check->endpoint->cluster->shared;

		pthread_mutex_lock(&cluster->lock);
		cluster->check.verify_cluster++;
		pthread_mutex_unlock(&cluster->lock);
		if (!mesh_string_matches(check->config->service_name, service))
			return CHECK_FAILED;
	}
	return has(headers, "x-envoy-degraded") ? CHECK_DEGRADED : CHECK_SUCCEEDED;
}

/* The status in a HealthCheckResponse, field 1; 0: not there, or no such message. */
static uint64_t serving_status(struct mesh_slice bytes)
{
	uint64_t value = 0;
	unsigned shift = 0;

	if (bytes.len < 2 || (unsigned char)bytes.data[0] != 0x08)
		return 0;
	for (size_t i = 1; i < bytes.len && shift < 64; i++, shift += 7) {
		value |= (uint64_t)((unsigned char)bytes.data[i] & 0x7f) << shift;
		if (!((unsigned char)bytes.data[i] & 0x80))
			return value;
	}
	return 0;
}

/* The one message that a body holds, not compressed; absent: it is anything else. */
static struct mesh_slice only_message(struct mesh_slice body)
{
	const unsigned char *at = (const unsigned char *)body.data;
	size_t len;

	if (body.len < GRPC_PREFIX || at[0])
		return mesh_slice_make(NULL, 0);
	len = (size_t)at[1] << 24 | (size_t)at[2] << 16 | (size_t)at[3] << 8 | at[4];
	return len == body.len - GRPC_PREFIX ? mesh_slice_make(body.data + GRPC_PREFIX, len) : mesh_slice_make(NULL, 0);
}

static enum check_result judge_grpc(struct check_connection *connection)
{
	const struct headers *last = connection->has_trailers ? &connection->trailers : &connection->response.headers;
	struct mesh_slice body = mesh_buf_slice(&connection->body);
	struct mesh_slice type = mesh_headers_get(&connection->response.headers, MESH_SLICE("content-type"));

	if (connection->response.status != 200 || !mesh_slice_prefix_fold(type, MESH_SLICE("application/grpc")) ||
	    connection->body_cut || !mesh_slice_equal(mesh_headers_get(last, MESH_SLICE("grpc-status")), MESH_SLICE("0")))
		return CHECK_FAILED;
	return serving_status(only_message(body)) == SERVING ? CHECK_SUCCEEDED : CHECK_FAILED;
}

static void on_over(struct exchange *exchange, int error, const char *why, bool unprocessed)
{
	struct check_connection *connection = of_exchange(exchange);
	enum check_result result = CHECK_NETWORK;

	if (!connection->check || !connection->asking)
		return;
	if (!error)
		result = connection->check->config->kind == HEALTH_CHECK_GRPC ? judge_grpc(connection) : judge_http(connection);
	else
		MESH_LOG_D(connection->dial.env->log, "health", "%.*s: %s",
			   (int)connection->dial.endpoint->shared->text.len, connection->dial.endpoint->shared->text.data, why);
	mesh_check_answered(connection, result, !error && mesh_mux_capacity(connection->mux));
}

static const struct exchange_events check_events = {
	.head = on_head,
	.data = on_data,
	.end = on_end,
	.writable = on_writable,
	.over = on_over,
};

static int grpc_body(struct check *check, struct buf *out)
{
	size_t len = check->config->service.len;
	char message[GRPC_PREFIX + 16] = {0}, *at = message + GRPC_PREFIX;
	int rc;

	if (len) { /* HealthCheckRequest.service, field 1 */
		*at++ = 0x0a;
		for (; len >= 0x80; len >>= 7)
			*at++ = (char)((len & 0x7f) | 0x80);
		*at++ = (char)len;
	}
	len = (size_t)(at - message) - GRPC_PREFIX + check->config->service.len;
	for (int i = 4; i > 0; i--, len >>= 8)
		message[i] = (char)len;
	rc = mesh_buf_append(out, mesh_slice_make(message, (size_t)(at - message)));
	return rc ? rc : mesh_buf_append(out, check->config->service);
}

static int add(struct check_connection *connection, struct http_head *head, const char *name, struct mesh_slice value)
{
	return mesh_headers_add(&head->headers, &connection->arena, mesh_slice_of(name), value);
}

static int number_header(struct check_connection *connection, struct http_head *head, const char *name, uint64_t number,
			 const char *unit)
{
	struct mesh_slice text = mesh_arena_printf(&connection->arena, "%llu%s", (unsigned long long)number, unit);

	return text.data ? add(connection, head, name, text) : MESH_ERROR_NOMEM;
}

static int grpc_headers(struct check_connection *connection, struct http_head *head)
{
	uint64_t ms = (uint64_t)connection->check->config->timeout_ns / 1000000;
	int rc = add(connection, head, "te", MESH_SLICE("trailers"));

	if (!rc)
		rc = add(connection, head, "content-type", MESH_SLICE("application/grpc"));
	if (!rc) /* eight digits are the most there may be */
		rc = number_header(connection, head, "grpc-timeout", ms > 99999999 ? ms / 1000 : ms, ms > 99999999 ? "S" : "m");
	return rc;
}

static int make_head(struct check_connection *connection, struct http_head *head, size_t body)
{
	struct check *check = connection->check;
	const struct health_check_config *config = check->config;
	struct rewrite rewrite = {.route = config->changes};
	int rc;

	*head = (struct http_head){.method = config->method, .authority = check->authority, .path = config->path,
				   .content_length = -1};
	head->scheme = connection->dial.transport->peer.tls ? MESH_SLICE("https") : MESH_SLICE("http");
	mesh_headers_clear(&head->headers);
	rc = add(connection, head, "user-agent", MESH_SLICE("Envoy/HC"));
	if (!rc && config->kind == HEALTH_CHECK_GRPC)
		rc = grpc_headers(connection, head);
	if (!rc && config->changes)
		rc = mesh_rewrite_request(&rewrite, &connection->arena, &head->authority, &head->path, &head->headers);
	if (!rc && body && config->kind == HEALTH_CHECK_HTTP)
		rc = number_header(connection, head, "content-length", body, "");
	if (!rc && body && config->kind == HEALTH_CHECK_HTTP)
		head->content_length = (int64_t)body;
	return rc;
}

static int say_http(struct check_connection *connection)
{
	struct check *check = connection->check;
	struct http_head head;
	struct buf body;
	int rc = 0;

	mesh_buf_init(&body, connection->dial.env->mem, 0);
	if (check->config->kind == HEALTH_CHECK_GRPC)
		rc = grpc_body(check, &body);
	else if (check->config->send.len)
		rc = mesh_buf_append(&body, check->config->send);
	if (!rc)
		rc = make_head(connection, &head, mesh_buf_len(&body));
	if (!rc)
		rc = mesh_exchange_send_head(&connection->exchange, &head, !mesh_buf_len(&body));
	if (!rc && mesh_buf_len(&body))
		rc = mesh_exchange_send_data(&connection->exchange, mesh_buf_slice(&body), true);
	mesh_buf_free(&body);
	return rc;
}

void mesh_check_ask_http(struct check_connection *connection)
{
	int rc;

	mesh_arena_reset(&connection->arena);
	mesh_buf_clear(&connection->body);
	memset(&connection->exchange, 0, sizeof(connection->exchange));
	memset(&connection->response, 0, sizeof(connection->response));
	connection->has_trailers = false;
	connection->body_cut = false;
	connection->exchange.events = &check_events;
	connection->exchange.arena = &connection->arena;
	connection->asking = true;
	rc = mesh_exchange_open(connection->mux, &connection->exchange);
	if (!rc)
		rc = say_http(connection);
	if (rc)
		mesh_check_answered(connection, CHECK_NETWORK, false);
}

/* ---- the mux's owner */

static void mux_dirty(struct mux *mux)
{
	struct check_connection *connection = mux->user;

	connection->dirty = true;
	if (!connection->in_ready && connection->dial.state != DIAL_DEAD)
		mesh_loop_defer(connection->dial.env->loop, &connection->flush);
}

static void mux_wants(struct mux *mux)
{
	struct check_connection *connection = mux->user;

	if (connection->dial.state != DIAL_DEAD)
		mesh_loop_change(connection->dial.env->loop, &connection->dial.io, mesh_mux_wants(mux));
}

static void mux_idle(struct mux *mux)
{
}

static void mux_closed(struct mux *mux, int error, const char *why)
{
	struct check_connection *connection = mux->user;

	if (connection->dial.state != DIAL_DEAD)
		mesh_check_finish(connection);
}

static const struct mux_owner check_mux_owner = {
	.dirty = mux_dirty,
	.wants = mux_wants,
	.idle = mux_idle,
	.closed = mux_closed,
};

static void flush(struct check_connection *connection)
{
	if (connection->dial.state == DIAL_DEAD || !connection->mux)
		return;
	mesh_loop_undefer(&connection->flush);
	connection->dirty = false;
	mesh_mux_flush(connection->mux);
}

static void flush_task(struct loop_task *task)
{
	flush(MESH_CONTAINER(task, struct check_connection, flush));
}

static void http_ready(struct loop_io *io, unsigned what)
{
	struct check_connection *connection = MESH_CONTAINER(io, struct check_connection, dial.io);

	connection->in_ready = true;
	mesh_mux_ready(connection->mux, what);
	connection->in_ready = false;
	if (connection->dirty)
		flush(connection);
}

int mesh_check_open_http(struct check_connection *connection)
{
	struct dial *dial = &connection->dial;
	struct mux_limits limits = mesh_mux_limits_default;
	struct mesh_slice none = {NULL, 0};
	int rc;

	if (connection->check->config->http2)
		rc = mesh_mux_http2_new(dial->env->mem, dial->transport, false, &check_mux_owner, &limits, none, &connection->mux);
	else
		rc = mesh_mux_http1_new(dial->env->mem, dial->transport, false, &check_mux_owner, &limits, none, &connection->mux);
	if (rc)
		return rc;
	connection->mux->user = connection;
	connection->flush.run = flush_task;
	dial->io.ready = http_ready;
	mesh_loop_change(dial->env->loop, &dial->io, mesh_mux_wants(connection->mux));
	if (connection->check->config->http2)
		mux_dirty(connection->mux);
	return 0;
}
