/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as what a server says to the client side of the HTTP/2 mux, with some requests under way. */
#include "fuzz/memory_transport.h"

enum { CALLS = 8 };

struct call {
	struct exchange exchange;
	struct arena arena;
};

static struct call calls[CALLS];
static bool dead;

static void on_head(struct exchange *exchange, struct http_head *head, bool end)
{
	if (head->status == 299)
		mesh_exchange_reset(exchange, MESH_ERROR_CANCELLED);
}

static void on_data(struct exchange *exchange, struct mesh_slice data)
{
	if (data.data[0] == 'P')
		mesh_exchange_pause(exchange, true);
	if (data.data[0] == 'X')
		mesh_exchange_reset(exchange, MESH_ERROR_CANCELLED);
}

static void on_end(struct exchange *exchange, struct headers *trailers)
{
}

static void on_writable(struct exchange *exchange)
{
	mesh_exchange_send_data(exchange, MESH_SLICE("the end"), true);
}

static void on_over(struct exchange *exchange, int error, const char *why, bool unprocessed)
{
	if (exchange->mux)
		__builtin_trap();
}

static const struct exchange_events events = {on_head, NULL, on_data, on_end, on_writable, on_over};

static void nothing(struct mux *mux)
{
}

static void closed(struct mux *mux, int error, const char *why)
{
	if (mux->active)
		__builtin_trap();
	dead = true;
}

static const struct mux_owner owner = {.dirty = nothing, .wants = nothing, .idle = nothing, .closed = closed};

static void start(struct call *call, struct mux *mux, unsigned number)
{
	static const char body[70000];
	struct http_head head = {.method = {"GET", 3}, .authority = {"a", 1}, .path = {"/", 1}, .content_length = -1};
	struct arena arena = call->arena;
	unsigned kind = number % 4;

	memset(call, 0, sizeof(*call));
	call->arena = arena;
	if (!arena.mem)
		mesh_arena_init(&call->arena, &mesh_mem_default, 0);
	mesh_arena_reset(&call->arena);
	call->exchange.events = &events;
	call->exchange.arena = &call->arena;
	if (mesh_exchange_open(mux, &call->exchange))
		return;
	if (kind == 1)
		head.method = MESH_SLICE("HEAD");
	if (kind == 3)
		head.upgrade = MESH_SLICE("websocket");
	if (mesh_exchange_send_head(&call->exchange, &head, kind < 2)) {
		mesh_exchange_reset(&call->exchange, MESH_ERROR_CANCELLED);
	} else if (kind == 2) {
		mesh_exchange_send_data(&call->exchange, mesh_slice_make(body, sizeof(body)), false);
		mesh_exchange_send_data(&call->exchange, MESH_SLICE("more"), true);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct mux_limits limits = mesh_mux_limits_default;
	struct memory_transport transport;
	struct mux *mux;
	unsigned number = 0;

	dead = false;
	limits.http2.invalid_message_resets_stream = size > 2 && data[2] & 1;
	memory_transport_init(&transport, data, size);
	if (mesh_mux_http2_new(&mesh_mem_default, &transport.base, false, &owner, &limits, (struct mesh_slice){NULL, 0},
			       &mux))
		return 0;
	for (int i = 0; i < 4096 && !dead; i++) {
		for (size_t n = 0; n < CALLS && mesh_mux_capacity(mux); n++)
			if (!calls[n].exchange.mux && number < 64)
				start(&calls[n], mux, number++);
		mesh_mux_flush(mux);
		for (size_t n = 0; n < CALLS && !dead; n++)
			if (calls[n].exchange.mux && calls[n].exchange.paused && i & 1)
				mesh_exchange_pause(&calls[n].exchange, false);
		if (!dead)
			mesh_mux_ready(mux, LOOP_READ);
	}
	mesh_mux_free(mux);
	for (size_t n = 0; n < CALLS; n++) {
		if (calls[n].exchange.mux)
			__builtin_trap();
		if (calls[n].arena.mem)
			mesh_arena_free(&calls[n].arena);
		memset(&calls[n], 0, sizeof(calls[n]));
	}
	return 0;
}
