/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as the answers to requests of the client side of the HTTP/1.1 mux; some ask for another protocol. */
#include "fuzz/memory_transport.h"

static struct exchange exchange;
static struct arena arena;
static bool dead;

static void on_head(struct exchange *e, struct http_head *head, bool end)
{
}

static void on_data(struct exchange *e, struct mesh_slice data)
{
}

static void on_end(struct exchange *e, struct headers *trailers)
{
}

static void on_writable(struct exchange *e)
{
}

static void on_over(struct exchange *e, int error, const char *why, bool unprocessed)
{
}

static const struct exchange_events events = {.head = on_head, .data = on_data, .end = on_end, .writable = on_writable, .over = on_over};

static void nothing(struct mux *mux)
{
}

static void closed(struct mux *mux, int error, const char *why)
{
	dead = true;
}

static const struct mux_owner owner = {.dirty = nothing, .wants = nothing, .idle = nothing, .closed = closed};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct http_head head = {.method = {"GET", 3}, .authority = {"a", 1}, .path = {"/", 1}};
	struct memory_transport transport;
	struct mux *mux;

	dead = false;
	if (size && data[0] & 1)
		head.method = mesh_slice_of("HEAD");
	if (size & 1) /* a response begins with "H": the first byte cannot tell */
		head.upgrade = mesh_slice_of("websocket");
	mesh_arena_init(&arena, &mesh_mem_default, 0);
	memory_transport_init(&transport, data, size);
	if (mesh_mux_http1_new(&mesh_mem_default, &transport.base, false, &owner, &mesh_mux_limits_default,
			       (struct mesh_slice){NULL, 0}, &mux))
		return 0;
	for (int i = 0; i < 4096 && !dead; i++) {
		if (!exchange.mux && mesh_mux_capacity(mux)) {
			mesh_arena_reset(&arena);
			memset(&exchange, 0, sizeof(exchange));
			exchange.events = &events;
			exchange.arena = &arena;
			if (!mesh_exchange_open(mux, &exchange))
				mesh_exchange_send_head(&exchange, &head, !head.upgrade.len);
		}
		mesh_mux_flush(mux);
		if (!dead)
			mesh_mux_ready(mux, LOOP_READ);
	}
	mesh_mux_free(mux);
	exchange.mux = NULL;
	mesh_arena_free(&arena);
	return 0;
}
