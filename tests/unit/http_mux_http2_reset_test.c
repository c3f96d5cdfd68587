/* SPDX-License-Identifier: Apache-2.0 */
/* Resets of exchanges of the HTTP/2 mux, by either side and at any time; and every function from inside every event. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <mesh/error.h>

#include "support/http2_pair.h"

static const struct http_head post = {
	.method = {"POST", 4}, .authority = {"a", 1}, .path = {"/", 1}, .content_length = -1};

static struct http2_seen *open_only(struct http2_pair *p)
{
	struct http2_seen *seen = http2_seen_new(&p->client);

	assert_int_equal(mesh_exchange_open(p->client.mux, &seen->exchange), 0);
	return seen;
}

static void test_reset_by_the_client(void **state)
{
	struct http2_pair p;
	struct http2_seen *call;

	http2_pair_open(&p, NULL, NULL);
	http2_pair_pump(&p);
	call = open_only(&p);
	mesh_exchange_reset(&call->exchange, MESH_ERROR_CANCELLED); /* before anything was sent */
	call = http2_get(&p, "/never");
	mesh_exchange_reset(&call->exchange, MESH_ERROR_CANCELLED); /* before it left */
	http2_pair_pump(&p);
	assert_int_equal(p.server.count, 0);
	call = http2_get(&p, "/1");
	http2_pair_pump(&p);
	mesh_exchange_reset(&call->exchange, MESH_ERROR_TIMEOUT);
	assert_null(call->exchange.mux);
	http2_pair_pump(&p);
	assert_string_equal(p.server.seen[0]->log, "head GET /1;end;over REMOTE_RESET;");
	assert_non_null(strstr(p.server.seen[0]->why, "CANCEL"));
	assert_string_equal(call->log, "");
	assert_int_equal(p.client.mux->active, 0);
	assert_int_equal(mesh_mux_capacity(p.client.mux), 1024);
	http2_pair_close(&p);
}

static void test_reset_by_the_server(void **state)
{
	static const int errors[] = {MESH_ERROR_REFUSED, MESH_ERROR_CANCELLED, MESH_ERROR_NOMEM, MESH_ERROR_PROTOCOL};
	static const char *const logs[] = {"over REFUSED unprocessed;", "over REMOTE_RESET;", "over REMOTE_RESET;",
					   "over REMOTE_RESET;"};
	static const char *const words[] = {"refused", "CANCEL", "INTERNAL_ERROR", "PROTOCOL_ERROR"};

	for (unsigned i = 0; i < 4; i++) {
		struct http2_pair p;
		struct http2_seen *call;

		http2_pair_open(&p, NULL, NULL);
		call = http2_get(&p, "/");
		http2_pair_pump(&p);
		mesh_exchange_reset(&p.server.seen[0]->exchange, errors[i]);
		http2_pair_pump(&p);
		assert_string_equal(call->log, logs[i]);
		assert_non_null(strstr(call->why, words[i]));
		assert_string_equal(p.server.seen[0]->log, "head GET /;end;");
		http2_pair_close(&p);
	}
}

/* In the middle of a body, with much of it queued on either side. */
static void test_reset_of_large_bodies(void **state)
{
	struct http2_pair p;
	struct http2_seen *calls[2];

	http2_pair_open(&p, NULL, NULL);
	for (unsigned i = 0; i < 2; i++) {
		calls[i] = http2_call(&p, &post, false);
		http2_send_much(calls[i], 400000);
	}
	for (unsigned i = 0; i < 3; i++)
		http2_side_step(&p.client), http2_side_step(&p.server);
	mesh_exchange_pause(&p.server.seen[0]->exchange, true);
	for (unsigned i = 0; i < 3; i++)
		http2_side_step(&p.client), http2_side_step(&p.server);
	mesh_exchange_reset(&calls[0]->exchange, MESH_ERROR_CANCELLED);
	http2_pair_pump(&p);
	assert_non_null(strstr(p.server.seen[0]->log, "over REMOTE_RESET;"));
	assert_int_equal(p.server.seen[1]->received, 400000);
	http2_answer(p.server.seen[1], 200, NULL);
	http2_send_much(p.server.seen[1], 400000);
	for (unsigned i = 0; i < 2; i++)
		http2_side_step(&p.server), http2_side_step(&p.client);
	mesh_exchange_reset(&p.server.seen[1]->exchange, MESH_ERROR_SYSTEM);
	http2_pair_pump(&p);
	assert_int_equal(calls[1]->error, MESH_ERROR_REMOTE_RESET);
	/* all of the connection's window came back */
	calls[0] = http2_call(&p, &post, false);
	http2_send_much(calls[0], 20000000);
	http2_pair_pump(&p);
	assert_int_equal(p.server.seen[2]->received, 20000000);
	http2_answer(p.server.seen[2], 200, "");
	http2_pair_pump(&p);
	http2_pair_close(&p);
}

static void reset_at(struct http2_seen *seen, const char *event)
{
	if (!strcmp(event, seen->side->user))
		mesh_exchange_reset(&seen->exchange, MESH_ERROR_CANCELLED);
}

static void test_reset_inside_events(void **state)
{
	static const char *const moments[] = {"head", "data", "end", "interim"};

	for (unsigned i = 0; i < 8; i++) {
		struct http_head interim = {.status = 103};
		struct http2_pair p;
		struct http2_side *side;
		struct http2_seen *call;

		http2_pair_open(&p, NULL, NULL);
		side = i & 1 ? &p.server : &p.client;
		side->hook = reset_at;
		side->user = (void *)moments[i / 2];
		call = http2_call(&p, &post, false);
		http2_send_much(call, 40000);
		http2_pair_pump(&p);
		if (p.server.seen[0]->exchange.mux) {
			mesh_exchange_send_interim(&p.server.seen[0]->exchange, &interim);
			http2_answer(p.server.seen[0], 200, "body");
		}
		http2_pair_pump(&p);
		assert_int_equal(p.client.mux->active + p.server.mux->active, 0);
		assert_false(p.client.closed || p.server.closed);
		side->hook = NULL;
		call = http2_get(&p, "/");
		http2_pair_pump(&p);
		http2_answer(p.server.seen[1], 200, "");
		http2_pair_pump(&p);
		assert_string_equal(call->log, "head 200;end;over OK;");
		http2_pair_close(&p);
	}
}

/* Every function of the mux from inside every event. */
static void everything(struct http2_seen *seen, const char *event)
{
	struct mux *mux = seen->side->mux;
	struct http2_seen *more;

	mesh_mux_flush(mux);
	mesh_mux_ready(mux, 3);
	mesh_mux_wants(mux);
	mesh_mux_receiving_head(mux);
	mesh_mux_ping(mux);
	if (mesh_mux_capacity(mux) && seen->side->count < 4) {
		more = http2_seen_new(seen->side);
		assert_int_equal(mesh_exchange_open(mux, &more->exchange), 0);
		assert_int_equal(mesh_exchange_send_head(&more->exchange, &post, true), 0);
	}
	if (!strcmp(event, "end") && mux->server)
		http2_answer(seen, 200, "late");
	if (!strcmp(event, seen->side->user))
		mesh_mux_drain(mux);
	if (!strcmp(event, (const char *)seen->side->user + 1))
		mesh_mux_abort(mux, MESH_ERROR_DRAINING, "by the test");
}

static void test_everything_inside_events(void **state)
{
	static const char *const moments[] = {"head", "end", "over", "writable", "xhead", "xend", "xover", "xdata"};

	for (unsigned i = 0; i < 16; i++) {
		struct http2_pair p;

		http2_pair_open(&p, NULL, NULL);
		p.client.hook = p.server.hook = everything;
		p.client.user = p.server.user = (void *)"none";
		(i & 1 ? &p.server : &p.client)->user = (void *)moments[i / 2];
		http2_send_much(http2_call(&p, &post, false), 200000);
		http2_pair_pump(&p);
		if (i / 2 < 3) {
			assert_true(p.client.closed && p.server.closed);
			assert_int_equal(p.client.closed_error, 0);
		}
		for (unsigned n = 0; i / 2 < 3 && n < p.client.count; n++)
			assert_true(p.client.seen[n]->over &&
				    (!p.client.seen[n]->error || p.client.seen[n]->unprocessed));
		p.client.hook = p.server.hook = NULL;
		http2_pair_close(&p);
	}
}

/* Destroyed with exchanges on it: they hear nothing. */
static void test_destroyed(void **state)
{
	struct http2_pair p;
	struct http2_seen *call;

	http2_pair_open(&p, NULL, NULL);
	call = http2_call(&p, &post, false);
	http2_send_much(call, 100000);
	http2_pair_pump(&p);
	mesh_mux_free(p.client.mux);
	p.client.mux = NULL;
	assert_null(call->exchange.mux);
	assert_string_equal(call->log, "");
	http2_pair_close(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_reset_by_the_client),
		cmocka_unit_test(test_reset_by_the_server),
		cmocka_unit_test(test_reset_of_large_bodies),
		cmocka_unit_test(test_reset_inside_events),
		cmocka_unit_test(test_everything_inside_events),
		cmocka_unit_test(test_destroyed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
