/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes to the server side of the HTTP/2 mux, in pieces whose sizes the input chooses; but for inputs that begin as
 * a preface does, preface and settings came before. Requests say by their path what becomes of them: "/r" answered at
 * once, "/x" reset, "/p" paused for a while, "/l" a long answer, "/t" trailers, "/d" the server drains.
 */
#include "fuzz/memory_transport.h"

enum { SLOTS = 32 };

struct slot {
	struct exchange exchange;
	struct arena arena;
	char kind;
	bool used, answered, whole;
	size_t left;
};

static struct slot slots[SLOTS];
static bool dead;

static struct slot *slot_of(struct exchange *exchange)
{
	return MESH_CONTAINER(exchange, struct slot, exchange);
}

static void send_on(struct slot *slot)
{
	static const char piece[9000];
	static const struct mesh_header trailer = {{"x-end", 5}, {"1", 1}};
	struct headers trailers = {(struct mesh_header *)&trailer, 1, 1};

	while (slot->answered && slot->exchange.mux && !slot->exchange.sent_end) {
		size_t len = slot->left < sizeof(piece) ? slot->left : sizeof(piece);

		if (mesh_exchange_send_data(&slot->exchange, mesh_slice_make(piece, len),
					    slot->kind != 't' && len == slot->left))
			return;
		slot->left -= len;
		if (!slot->left && slot->kind == 't')
			mesh_exchange_send_trailers(&slot->exchange, &trailers);
	}
}

static void answer(struct slot *slot)
{
	struct http_head head = {.status = 200, .content_length = -1};

	if (slot->answered || !slot->exchange.mux || mesh_exchange_send_head(&slot->exchange, &head, slot->kind == 'r'))
		return;
	slot->answered = true;
	slot->left = slot->kind == 'l' ? 200000 : 3;
	send_on(slot);
}

static void on_head(struct exchange *exchange, struct http_head *head, bool end)
{
	struct slot *slot = slot_of(exchange);

	slot->kind = head->path.len > 1 ? head->path.data[1] : 0;
	if (slot->kind == 'd')
		mesh_mux_drain(exchange->mux);
	if (slot->kind == 'p')
		mesh_exchange_pause(exchange, true);
	if (slot->kind == 'r')
		answer(slot);
	if (slot->kind == 'x')
		mesh_exchange_reset(exchange, MESH_ERROR_CANCELLED);
}

static void on_data(struct exchange *exchange, struct mesh_slice data)
{
	if (data.data[0] == 'P')
		mesh_exchange_pause(exchange, true);
	if (data.data[0] == 'X')
		mesh_exchange_reset(exchange, MESH_ERROR_SYSTEM);
}

static void on_end(struct exchange *exchange, struct headers *trailers)
{
	slot_of(exchange)->whole = true;
}

static void on_writable(struct exchange *exchange)
{
	send_on(slot_of(exchange));
}

static void on_over(struct exchange *exchange, int error, const char *why, bool unprocessed)
{
	if (exchange->mux)
		__builtin_trap();
}

static const struct exchange_events events = {on_head, NULL, on_data, on_end, on_writable, on_over};

static struct exchange *accept_request(struct mux *mux)
{
	for (size_t i = 0; i < SLOTS; i++) {
		struct slot *slot = &slots[i];
		struct arena arena = slot->arena;

		if (slot->used && slot->exchange.mux)
			continue;
		memset(slot, 0, sizeof(*slot));
		slot->arena = arena;
		if (!arena.mem)
			mesh_arena_init(&slot->arena, &mesh_mem_default, 0);
		mesh_arena_reset(&slot->arena);
		slot->used = true;
		slot->exchange.events = &events;
		slot->exchange.arena = &slot->arena;
		return &slot->exchange;
	}
	return NULL;
}

static void nothing(struct mux *mux)
{
}

static void closed(struct mux *mux, int error, const char *why)
{
	if (mux->active)
		__builtin_trap();
	dead = true;
}

static const struct mux_owner owner = {
	.accept = accept_request, .dirty = nothing, .wants = nothing, .idle = nothing, .closed = closed};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct mesh_slice head = MESH_SLICE("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0");
	struct mux_limits limits = mesh_mux_limits_default;
	struct memory_transport transport;
	struct mux *mux;

	dead = false;
	if (size && data[0] == 'P')
		head.len = 0;
	limits.http2.allow_connect = size > 1 && data[1] & 1;
	limits.http2.invalid_message_resets_stream = size > 2 && data[2] & 1;
	limits.http2.streams_max = SLOTS;
	memory_transport_init(&transport, data, size);
	if (mesh_mux_http2_new(&mesh_mem_default, &transport.base, true, &owner, &limits, head, &mux))
		return 0;
	for (int i = 0; i < 4096 && !dead; i++) {
		mesh_mux_ready(mux, LOOP_READ);
		for (size_t n = 0; n < SLOTS && !dead; n++) {
			if (slots[n].exchange.mux && slots[n].exchange.paused && i & 1)
				mesh_exchange_pause(&slots[n].exchange, false);
			if (slots[n].exchange.mux && slots[n].whole)
				answer(&slots[n]);
		}
		if (!dead)
			mesh_mux_flush(mux);
	}
	mesh_mux_free(mux);
	for (size_t n = 0; n < SLOTS; n++) {
		if (slots[n].exchange.mux)
			__builtin_trap();
		if (slots[n].used)
			mesh_arena_free(&slots[n].arena);
		memset(&slots[n], 0, sizeof(slots[n]));
	}
	return 0;
}
