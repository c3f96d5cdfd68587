/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two HTTP/2 muxes at which anything happens in any order, inside events too, from seeds: nothing is used after its
 * end, every exchange ends once, a retry is called safe only where it is, and afterwards streams and windows are all
 * there again.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <mesh/error.h>

#include "base/rand.h"
#include "support/http2_pair.h"

enum { CALLS_MAX = 100, STEPS = 600, SEEDS = 150, FRAME_SEEDS = 2000, LARGE = 20000000 };

static const struct http_head post = {
	.method = {"POST", 4}, .authority = {"a", 1}, .path = {"/", 1}, .content_length = -1};

struct scene {
	struct http2_pair pair;
	struct rand rand;
	unsigned depth;  /* of events inside what was done in one */
	unsigned events; /* in how many something is done, of a hundred */
	bool ends;       /* connections may be drained and aborted */
};

static struct scene *now;

static unsigned below(unsigned n)
{
	return (unsigned)(mesh_rand_next(&now->rand) % n);
}

static struct http2_seen *any(struct http2_side *side)
{
	struct http2_seen *seen = side->count ? side->seen[below((unsigned)side->count)] : NULL;

	return seen && seen->exchange.mux ? seen : NULL;
}

static void begin_call(void)
{
	struct http2_pair *p = &now->pair;

	if (p->client.count >= CALLS_MAX || !mesh_mux_capacity(p->client.mux))
		return;
	if (below(2))
		http2_get(p, "/");
	else
		http2_send_much(http2_call(p, &post, false), 1 + below(200000));
}

static void answer(struct http2_seen *seen)
{
	if (seen->exchange.head_sent)
		return;
	if (below(2)) {
		http2_answer(seen, 200, below(2) ? "body" : "");
		return;
	}
	http2_answer(seen, 200, NULL);
	http2_send_much(seen, 1 + below(200000));
}

static void change(struct http2_side *side)
{
	static const int errors[] = {MESH_ERROR_CANCELLED, MESH_ERROR_PROTOCOL, MESH_ERROR_TIMEOUT, MESH_ERROR_NOMEM,
				     0};
	struct http2_seen *seen = any(side);
	struct http_head interim = {.status = 103, .content_length = -1};

	if (!seen)
		return;
	switch (below(side == &now->pair.server ? 8 : 6)) {
	case 0:
		mesh_exchange_reset(&seen->exchange, errors[below(5)]);
		break;
	case 1:
	case 2:
		mesh_exchange_pause(&seen->exchange, true);
		break;
	case 3:
	case 4:
		mesh_exchange_pause(&seen->exchange, false);
		break;
	case 5:
		mesh_mux_flush(side->mux);
		break;
	case 6:
		answer(seen);
		break;
	case 7:
		if (!seen->exchange.head_sent)
			assert_int_equal(mesh_exchange_send_interim(&seen->exchange, &interim), 0);
		break;
	}
}

static void end_one(struct http2_side *side)
{
	if (side->closed)
		return;
	if (below(2))
		mesh_mux_drain(side->mux);
	else
		mesh_mux_abort(side->mux, MESH_ERROR_CLOSED, "ended by the test");
}

static void act(void)
{
	struct http2_side *side = below(2) ? &now->pair.client : &now->pair.server;

	if (now->ends && !below(500))
		end_one(side);
	else if (!below(4))
		begin_call();
	else
		change(side);
}

static void inside(struct http2_seen *seen, const char *event)
{
	if (now->depth || below(100) >= now->events)
		return;
	now->depth++;
	act();
	now->depth--;
}

static void inside_one(struct http2_seen *seen, const char *event)
{
	if (now->depth || below(100) >= now->events)
		return;
	now->depth++;
	change(seen->side);
	now->depth--;
}

static void some_room(struct http2_side *side)
{
	side->read_max = below(3) ? 1 + below(3000) : 0;
	side->write_room = below(3) ? below(40000) : SIZE_MAX;
}

static void open_scene(struct scene *scene, uint64_t seed)
{
	struct mux_limits limits = mesh_mux_limits_default;

	memset(scene, 0, sizeof(*scene));
	now = scene;
	mesh_rand_seed(&scene->rand, seed);
	limits.http2.reset_burst = limits.http2.reset_rate = 100000;
	limits.http2.stream_window_bytes = below(2) ? 0 : 1000 + below(100000);
	limits.http2.connection_window_bytes = below(2) ? 0 : 100000 + below(100000);
	http2_pair_open(&scene->pair, &limits, &limits);
	scene->events = below(40);
	scene->ends = !below(3);
	scene->pair.client.hook = scene->pair.server.hook = inside;
}

/* Nobody waits for anybody any more. */
static void settle(struct http2_pair *p)
{
	struct http2_side *sides[] = {&p->client, &p->server};

	p->client.hook = p->server.hook = NULL;
	for (unsigned n = 0; n < 2; n++) {
		sides[n]->read_max = 0;
		sides[n]->write_room = SIZE_MAX;
		sides[n]->write_fails = false;
		sides[n]->dirty = true;
		for (size_t i = 0; i < sides[n]->count; i++)
			if (sides[n]->seen[i]->exchange.mux)
				mesh_exchange_pause(&sides[n]->seen[i]->exchange, false);
	}
	http2_pair_pump(p);
	for (size_t i = 0; i < p->server.count; i++)
		if (p->server.seen[i]->exchange.mux && !p->server.seen[i]->exchange.head_sent)
			http2_answer(p->server.seen[i], 200, "late");
	http2_pair_pump(p);
}

static void assert_all_is_back(struct http2_pair *p)
{
	struct http2_seen *call;

	assert_false(p->client.closed || p->server.closed);
	assert_int_equal(p->client.mux->active + p->server.mux->active, 0);
	assert_int_equal(mesh_mux_capacity(p->client.mux), 1024);
	call = http2_call(p, &post, false);
	http2_send_much(call, LARGE);
	http2_pair_pump(p);
	assert_int_equal(p->server.seen[p->server.count - 1]->received, LARGE);
	http2_answer(p->server.seen[p->server.count - 1], 200, NULL);
	http2_send_much(p->server.seen[p->server.count - 1], LARGE);
	http2_pair_pump(p);
	assert_int_equal(call->received, LARGE);
	assert_int_equal(call->error, 0);
	assert_true(call->over);
}

/* Nobody refuses what it was given here, so what is told as never acted on was never given to the server. */
static void assert_unprocessed_is_true(const struct http2_pair *p)
{
	for (size_t i = 0; i < p->client.count; i++) {
		const struct http2_seen *seen = p->client.seen[i];

		for (size_t n = 0; seen->unprocessed && n < p->server.count; n++)
			assert_true(p->server.seen[n]->exchange.id != seen->exchange.id);
	}
}

static void run(uint64_t seed)
{
	struct scene scene;
	struct http2_pair *p = &scene.pair;

	open_scene(&scene, seed);
	for (unsigned i = 0; i < STEPS; i++) {
		struct http2_side *side = below(2) ? &p->client : &p->server;

		some_room(side);
		if (now->ends && !below(STEPS))
			side->write_fails = true;
		if (below(2))
			act();
		if (below(2))
			side->dirty = true;
		http2_side_step(side);
	}
	settle(p);
	for (size_t i = 0; i < p->client.count; i++)
		assert_null(p->client.seen[i]->exchange.mux);
	assert_unprocessed_is_true(p);
	if (!scene.ends)
		assert_all_is_back(p);
	http2_pair_close(p);
}

static void test_anything(void **state)
{
	for (uint64_t seed = 1; seed <= SEEDS; seed++)
		run(seed);
}

enum block_kind { REQUEST_BLOCK, RESPONSE_BLOCK, TRAILERS_BLOCK };

/* A header block that is well formed, or now and then nearly. */
static void put_block(struct buf *block, enum block_kind kind)
{
	static const char *const good[] = {"\x83\x86\x84\x41\x01"
					   "a",
					   "\x88",
					   "\x10\x01"
					   "x\x01"
					   "y"};
	static const char *const wrong[] = {"\x88\x0f\x0d\x01"
					    "5",
					    "\x82\x86\x84",
					    "\x10\x01"
					    "X\x01"
					    "y",
					    "\xff\xff\xff"};

	assert_int_equal(mesh_buf_append(block, mesh_slice_of(below(60) ? good[kind] : wrong[below(4)])), 0);
	if (!below(4))
		http2_raw_field(block, "x-more", "words");
}

/* What the frames by hand said so far. */
struct said {
	uint32_t last; /* stream begun last */
	bool begun[1000], ended[1000];
};

/* A stream to speak of that was not ended; 0: there is none, for once. */
static uint32_t some_stream(const struct said *said)
{
	for (unsigned i = 0; i < 20 && said->last; i++) {
		uint32_t id = 1 + 2 * below(said->last / 2 + 1);

		if (!said->ended[id])
			return id;
	}
	return said->last && !below(100) ? said->last : 0;
}

/* One frame; most are what a peer may send. */
static void put_frame(struct buf *to, bool from_client, struct said *said)
{
	static const uint8_t types[] = {0, 0, 0, 0, 1, 1, 1, 1, 2, 3, 4, 6, 8, 8, 8};
	static const uint8_t lengths[] = {0, 0, 5, 4, 6, 4, 8, 8, 4, 0};
	static const uint8_t settings[] = {1, 3, 4, 6};
	static const uint32_t values[] = {0, 1, 8, 100, 65535, 0x7fffffff};
	uint8_t type = below(100) ? types[below(sizeof(types))] : (uint8_t)below(10), bytes[16] = {0};
	uint8_t flags = (uint8_t)(below(50) ? (type == 1 ? 4u : 0u) | !below(6) : below(256));
	uint32_t id = some_stream(said), value = values[type == 8 ? 1 + below(3) : below(6)];
	size_t len = below(100) ? lengths[type] : below(16);
	struct buf payload;

	if (from_client && type == 1 && below(6))
		said->last = id = said->last ? said->last + 2 : 1;
	if (!from_client && !type && !said->begun[id]) /* an answer begins with its head */
		type = 1, flags |= 4;
	if (type == 1 && said->begun[id] && below(50)) /* trailers */
		flags |= 5;
	if (type == 4 || type == 6 || type == 7 || (type == 8 && !below(3)))
		id = 0;
	if (type == 4)
		bytes[1] = settings[below(4)];
	if (type > 1 && type < 9 && len >= 4)
		bytes[len - 4] = (uint8_t)(value >> 24), bytes[len - 3] = (uint8_t)(value >> 16),
			    bytes[len - 2] = (uint8_t)(value >> 8), bytes[len - 1] = (uint8_t)value;
	mesh_buf_init(&payload, &mesh_mem_default, 0);
	if (type == 1)
		put_block(&payload, said->begun[id] ? TRAILERS_BLOCK : from_client ? REQUEST_BLOCK : RESPONSE_BLOCK);
	else
		assert_int_equal(mesh_buf_append(&payload, mesh_slice_make(bytes, type ? len : 1 + below(15))), 0);
	if (id && ((type < 2 && flags & 1) || type == 3))
		said->ended[id] = true;
	if (id && type == 1)
		said->begun[id] = true;
	if (id || (type > 3 && type != 9))
		http2_raw_frame(to, type, flags, id, mesh_buf_slice(&payload));
	mesh_buf_free(&payload);
}

static uint32_t newest(const struct http2_side *side)
{
	uint32_t id = 0;

	for (size_t i = 0; i < side->count; i++)
		id = side->seen[i]->exchange.id > id ? side->seen[i]->exchange.id : id;
	return id;
}

/* Against frames by hand: each exchange ends once, whatever comes, and nothing is left when the peer goes. */
static void run_frames(uint64_t seed, bool server)
{
	struct mux_limits limits = mesh_mux_limits_default;
	struct scene scene = {.events = 30};
	struct http2_pair *p = &scene.pair;
	struct http2_side *side = server ? &p->server : &p->client;
	struct buf *to = server ? &p->up : &p->down;
	struct said said = {0};

	now = &scene;
	mesh_rand_seed(&scene.rand, seed);
	limits.http2.invalid_message_resets_stream = below(4);
	if (server)
		http2_server_open(p, &limits, (struct mesh_slice){NULL, 0});
	else
		http2_client_open(p, &limits);
	side->hook = inside_one;
	if (server)
		http2_raw_start(to);
	else
		http2_raw_frame(to, 4, 0, 0, (struct mesh_slice){NULL, 0});
	for (unsigned i = 0; i < 60 && !side->closed; i++) {
		if (!server && below(2))
			begin_call();
		if (!server && http2_side_step(side))
			said.last = newest(side);
		if (!below(3))
			change(side);
		put_frame(to, server, &said);
		side->read_max = below(4) ? 0 : 1 + below(20);
		if (below(2))
			http2_side_step(side);
	}
	side->hook = NULL;
	for (size_t i = 0; i < side->count; i++)
		if (side->seen[i]->exchange.mux)
			mesh_exchange_pause(&side->seen[i]->exchange, false);
	side->read_max = 0;
	(server ? &p->client : &p->server)->ended = true;
	http2_pair_pump(p);
	assert_true(side->closed);
	for (size_t i = 0; i < side->count; i++)
		assert_null(side->seen[i]->exchange.mux);
	http2_pair_close(p);
}

static void test_any_frames(void **state)
{
	for (uint64_t seed = 1; seed <= FRAME_SEEDS; seed++)
		run_frames(seed, seed & 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_anything), cmocka_unit_test(test_any_frames)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
