/* SPDX-License-Identifier: Apache-2.0 */
/* Two ends of memory, an owner on each, exchanges that note what happens to them. Knows nothing of what is tested. */
#include "support/http2_pair.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include <mesh/error.h>

#include "loop/loop.h"

static struct http2_side *side_of(struct transport *transport)
{
	return MESH_CONTAINER(transport, struct http2_side, transport);
}

static ssize_t side_read(struct transport *transport, char *data, size_t room, bool *drained)
{
	struct http2_side *side = side_of(transport);
	size_t len = mesh_buf_len(side->in);

	side->reads++;
	*drained = true;
	if (!len && *side->peer_closed)
		return 0;
	if (!len)
		return MESH_ERROR_AGAIN;
	if (side->read_max && room > side->read_max)
		room = side->read_max;
	len = len < room ? len : room;
	memcpy(data, side->in->data + side->in->start, len);
	mesh_buf_consume(side->in, len);
	*drained = !mesh_buf_len(side->in);
	return (ssize_t)len;
}

static ssize_t side_write(struct transport *transport, struct mesh_slice data)
{
	struct http2_side *side = side_of(transport);

	side->writes++;
	if (side->write_fails) {
		mesh_why(&transport->why, MESH_ERROR_RESET, "send: broken");
		return MESH_ERROR_RESET;
	}
	if (!side->write_room)
		return MESH_ERROR_AGAIN;
	if (data.len > side->write_room)
		data.len = side->write_room;
	side->write_room -= data.len;
	assert_int_equal(mesh_buf_append(side->out, data), 0);
	return (ssize_t)data.len;
}

static void side_nothing(struct transport *transport)
{
}

static const struct transport_ops side_ops = {
	.read = side_read, .write = side_write, .shutdown = side_nothing, .destroy = side_nothing};

static struct http2_seen *seen_of(struct exchange *exchange)
{
	return MESH_CONTAINER(exchange, struct http2_seen, exchange);
}

void http2_append(char *text, size_t room, const char *format, ...)
{
	size_t len = strlen(text);
	va_list args;

	va_start(args, format);
	vsnprintf(text + len, room - len, format, args);
	va_end(args);
}

#define NOTE(seen, ...) http2_append((seen)->log, sizeof((seen)->log), __VA_ARGS__)

static void hook(struct http2_seen *seen, const char *event)
{
	if (seen->side->hook)
		seen->side->hook(seen, event);
}

static void note_headers(char *text, size_t room, const struct headers *headers)
{
	for (size_t i = 0; i < headers->count; i++)
		http2_append(text, room, "%.*s=%.*s;", (int)headers->items[i].name.len, headers->items[i].name.data,
		       (int)headers->items[i].value.len, headers->items[i].value.data);
}

static void on_head(struct exchange *exchange, struct http_head *head, bool end)
{
	struct http2_seen *seen = seen_of(exchange);

	if (head->status)
		NOTE(seen, "head %d;", head->status);
	else
		NOTE(seen, "head %.*s %.*s;", (int)head->method.len, head->method.data, (int)head->path.len,
		     head->path.data);
	note_headers(seen->headers, sizeof(seen->headers), &head->headers);
	snprintf(seen->upgrade, sizeof(seen->upgrade), "%.*s", (int)head->upgrade.len,
		 head->upgrade.data ? head->upgrade.data : "");
	snprintf(seen->authority, sizeof(seen->authority), "%.*s", (int)head->authority.len,
		 head->authority.data ? head->authority.data : "");
	seen->content_length = head->content_length;
	seen->expects_continue = head->expects_continue;
	hook(seen, "head");
}

static void on_interim(struct exchange *exchange, struct http_head *head)
{
	NOTE(seen_of(exchange), "interim %d;", head->status);
	hook(seen_of(exchange), "interim");
}

static void on_data(struct exchange *exchange, struct mesh_slice data)
{
	struct http2_seen *seen = seen_of(exchange);

	assert_true(data.len > 0);
	seen->received += data.len;
	http2_append(seen->body, sizeof(seen->body), "%.*s", (int)(data.len > HTTP2_SHOWN_DATA ? HTTP2_SHOWN_DATA : data.len),
	       data.data);
	NOTE(seen, "data %.*s;", (int)(data.len > HTTP2_SHOWN_DATA ? HTTP2_SHOWN_DATA : data.len), data.data);
	hook(seen, "data");
}

static void on_end(struct exchange *exchange, struct headers *trailers)
{
	struct http2_seen *seen = seen_of(exchange);

	if (trailers)
		note_headers(seen->trailers, sizeof(seen->trailers), trailers);
	NOTE(seen, trailers ? "trailers %zu;" : "end;", trailers ? trailers->count : 0);
	hook(seen, "end");
}

static void send_on(struct http2_seen *seen)
{
	static const char piece[10000] = {'p'};

	while (seen->to_send && seen->exchange.mux) {
		size_t len = seen->to_send < sizeof(piece) ? seen->to_send : sizeof(piece);
		int rc = mesh_exchange_send_data(&seen->exchange, mesh_slice_make(piece, len), len == seen->to_send);

		if (rc == MESH_ERROR_AGAIN)
			return;
		assert_int_equal(rc, 0);
		seen->to_send -= len;
	}
}

static void on_writable(struct exchange *exchange)
{
	struct http2_seen *seen = seen_of(exchange);

	if (!seen->to_send)
		NOTE(seen, "writable;");
	hook(seen, "writable");
	send_on(seen);
}

static void on_over(struct exchange *exchange, int error, const char *why, bool unprocessed)
{
	struct http2_seen *seen = seen_of(exchange);

	assert_false(seen->over);
	assert_null(exchange->mux);
	assert_true(!error || why[0]);
	seen->over = true;
	seen->error = error;
	seen->unprocessed = unprocessed;
	snprintf(seen->why, sizeof(seen->why), "%s", why);
	NOTE(seen, "over %s%s;", mesh_error_name(error), unprocessed ? " unprocessed" : "");
	hook(seen, "over");
}

static const struct exchange_events events = {on_head, on_interim, on_data, on_end, on_writable, on_over};

struct http2_seen *http2_seen_new(struct http2_side *side)
{
	struct http2_seen *seen = calloc(1, sizeof(*seen));

	assert_non_null(seen);
	assert_true(side->count < HTTP2_SEEN_MAX);
	side->seen[side->count++] = seen;
	seen->side = side;
	mesh_arena_init(&seen->arena, side->transport.mem, 0);
	seen->exchange.events = &events;
	seen->exchange.arena = &seen->arena;
	return seen;
}

static struct exchange *side_accept(struct mux *mux)
{
	struct http2_side *side = mux->user;

	if (side->refuse_accept) {
		side->refuse_accept--;
		return NULL;
	}
	return &http2_seen_new(side)->exchange;
}

static void side_dirty(struct mux *mux)
{
	((struct http2_side *)mux->user)->dirty = true;
}

static void side_wants(struct mux *mux)
{
}

static void side_idle(struct mux *mux)
{
	((struct http2_side *)mux->user)->idle++;
}

static void side_closed(struct mux *mux, int error, const char *why)
{
	struct http2_side *side = mux->user;

	assert_false(side->closed);
	assert_int_equal(mux->active, 0);
	for (size_t i = 0; i < side->count; i++)
		assert_null(side->seen[i]->exchange.mux);
	side->closed = true;
	side->closed_error = error;
	side->ended = true;
	snprintf(side->closed_why, sizeof(side->closed_why), "%s", why);
}

static const struct mux_owner owner = {side_accept, side_dirty, side_wants, side_idle, side_closed};

static int open_side(struct http2_side *side, bool server, const struct mux_limits *limits, struct mesh_slice head,
		     const struct mesh_mem *mem)
{
	int rc;

	side->transport.ops = &side_ops;
	side->transport.mem = mem;
	side->transport.fd = -1;
	side->transport.ready = true;
	side->write_room = SIZE_MAX;
	rc = mesh_mux_http2_new(mem, &side->transport, server, &owner, limits ? limits : &mesh_mux_limits_default, head,
				&side->mux);
	if (!rc)
		side->mux->user = side;
	side->dirty = !rc;
	return rc;
}

static void prepare(struct http2_pair *pair, const struct mesh_mem *mem)
{
	memset(pair, 0, sizeof(*pair));
	pair->mem = mem;
	mesh_buf_init(&pair->up, &mesh_mem_default, 0);
	mesh_buf_init(&pair->down, &mesh_mem_default, 0);
	pair->client.in = pair->server.out = &pair->down;
	pair->client.out = pair->server.in = &pair->up;
	pair->client.peer_closed = &pair->server.ended;
	pair->server.peer_closed = &pair->client.ended;
}

void http2_pair_open(struct http2_pair *pair, const struct mux_limits *client, const struct mux_limits *server)
{
	prepare(pair, &mesh_mem_default);
	assert_int_equal(open_side(&pair->client, false, client, (struct mesh_slice){NULL, 0}, &mesh_mem_default), 0);
	assert_int_equal(open_side(&pair->server, true, server, (struct mesh_slice){NULL, 0}, &mesh_mem_default), 0);
}

int http2_pair_open_mem(struct http2_pair *pair, const struct mesh_mem *mem)
{
	int rc;

	prepare(pair, mem);
	rc = open_side(&pair->client, false, NULL, (struct mesh_slice){NULL, 0}, mem);
	if (!rc)
		rc = open_side(&pair->server, true, NULL, (struct mesh_slice){NULL, 0}, mem);
	return rc;
}

void http2_server_open(struct http2_pair *pair, const struct mux_limits *limits, struct mesh_slice head)
{
	prepare(pair, &mesh_mem_default);
	assert_int_equal(open_side(&pair->server, true, limits, head, &mesh_mem_default), 0);
}

void http2_client_open(struct http2_pair *pair, const struct mux_limits *limits)
{
	prepare(pair, &mesh_mem_default);
	assert_int_equal(open_side(&pair->client, false, limits, (struct mesh_slice){NULL, 0}, &mesh_mem_default), 0);
}

static void close_side(struct http2_side *side)
{
	mesh_mux_free(side->mux);
	for (size_t i = 0; i < side->count; i++) {
		assert_null(side->seen[i]->exchange.mux);
		mesh_arena_free(&side->seen[i]->arena);
		free(side->seen[i]);
	}
	side->mux = NULL;
	side->count = 0;
}

void http2_pair_close(struct http2_pair *pair)
{
	close_side(&pair->client);
	close_side(&pair->server);
	mesh_buf_free(&pair->up);
	mesh_buf_free(&pair->down);
}

bool http2_side_step(struct http2_side *side)
{
	unsigned wants, what = 0;

	if (!side->mux || side->closed)
		return false;
	wants = mesh_mux_wants(side->mux);
	if (wants & LOOP_READ && (mesh_buf_len(side->in) || *side->peer_closed))
		what |= LOOP_READ;
	if (wants & LOOP_WRITE && side->write_room)
		what |= LOOP_WRITE;
	if (!what && !side->dirty)
		return false;
	if (what)
		mesh_mux_ready(side->mux, what);
	if (!side->closed && side->dirty) {
		side->dirty = false;
		mesh_mux_flush(side->mux);
	}
	return true;
}

void http2_pair_pump(struct http2_pair *pair)
{
	unsigned rounds = 0;

	while (http2_side_step(&pair->client) | http2_side_step(&pair->server))
		assert_true(++rounds < 1000000);
}

struct http2_seen *http2_call(struct http2_pair *pair, const struct http_head *head, bool end)
{
	struct http2_seen *seen = http2_seen_new(&pair->client);

	assert_int_equal(mesh_exchange_open(pair->client.mux, &seen->exchange), 0);
	assert_int_equal(mesh_exchange_send_head(&seen->exchange, head, end), 0);
	return seen;
}

struct http2_seen *http2_get(struct http2_pair *pair, const char *path)
{
	struct http_head head = {
		.method = {"GET", 3}, .authority = {"a.example", 9}, .path = mesh_slice_of(path), .content_length = -1};

	return http2_call(pair, &head, true);
}

void http2_answer(struct http2_seen *seen, int status, const char *body)
{
	struct http_head head = {.status = status, .content_length = body ? (int64_t)strlen(body) : -1};

	assert_int_equal(mesh_exchange_send_head(&seen->exchange, &head, body && !*body), 0);
	if (body && *body)
		assert_int_equal(mesh_exchange_send_data(&seen->exchange, mesh_slice_of(body), true), 0);
}

void http2_send_much(struct http2_seen *seen, size_t bytes)
{
	seen->to_send = bytes;
	send_on(seen);
}
