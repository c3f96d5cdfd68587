/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes to the server side of the HTTP/1.1 mux, in pieces whose sizes the input chooses; every request is answered, those
 * for "/r.." before their body came. Those that ask for another protocol get it, but for "/r..".
 */
#include "fuzz/memory_transport.h"

static struct exchange exchange;
static struct arena arena;
static int waiting;
static bool agreed;

static void answer(void);

static void on_head(struct exchange *e, struct http_head *head, bool end)
{
	waiting = head->path.len > 1 && head->path.data[1] == 'r';
	agreed = head->upgrade.len && !waiting;
	if (agreed)
		mesh_exchange_send_head(e, &(struct http_head){.status = 101, .content_length = -1}, false);
	answer();
}

static void on_data(struct exchange *e, struct mesh_slice data)
{
	if (data.len && data.data[0] == 'P')
		mesh_exchange_pause(e, true);
	if (agreed && exchange.mux)
		mesh_exchange_send_data(e, data, false);
}

static void on_end(struct exchange *e, struct headers *trailers)
{
	if (agreed)
		mesh_exchange_send_data(e, mesh_slice_of(""), true);
	waiting = 1;
}

static void on_writable(struct exchange *e)
{
}

static void on_over(struct exchange *e, int error, const char *why, bool unprocessed)
{
	mesh_arena_reset(&arena);
}

static const struct exchange_events events = {.head = on_head, .data = on_data, .end = on_end, .writable = on_writable, .over = on_over};

static struct exchange *accept_request(struct mux *mux)
{
	memset(&exchange, 0, sizeof(exchange));
	exchange.events = &events;
	exchange.arena = &arena;
	return &exchange;
}

static void nothing(struct mux *mux)
{
}

static bool dead;

static void closed(struct mux *mux, int error, const char *why)
{
	dead = true;
}

static const struct mux_owner owner = {.accept = accept_request, .dirty = nothing, .wants = nothing, .idle = nothing, .closed = closed};

static void answer(void)
{
	struct http_head head = {.status = 200, .content_length = -1};

	if (!waiting || !exchange.mux)
		return;
	waiting = 0;
	if (!mesh_exchange_send_head(&exchange, &head, false))
		mesh_exchange_send_data(&exchange, mesh_slice_of("x"), true);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct memory_transport transport;
	struct mux *mux;

	dead = false;
	waiting = 0;
	mesh_arena_init(&arena, &mesh_mem_default, 0);
	memory_transport_init(&transport, data, size);
	if (mesh_mux_http1_new(&mesh_mem_default, &transport.base, true, &owner, &mesh_mux_limits_default,
			       (struct mesh_slice){NULL, 0}, &mux))
		return 0;
	for (int i = 0; i < 4096 && !dead; i++) {
		mesh_mux_ready(mux, LOOP_READ);
		if (!dead && exchange.mux && exchange.paused)
			mesh_exchange_pause(&exchange, false);
		answer();
		if (!dead)
			mesh_mux_flush(mux);
	}
	mesh_mux_free(mux);
	mesh_arena_free(&arena);
	return 0;
}
