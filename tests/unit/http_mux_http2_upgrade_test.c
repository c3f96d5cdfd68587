/* SPDX-License-Identifier: Apache-2.0 */
/* CONNECT over the HTTP/2 mux: upgrades, told as in HTTP/1.1, and plain tunnels. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "support/http2_pair.h"

static void test_upgrade(void **state)
{
	struct http_head head = {.method = {"GET", 3},
				 .authority = {"a", 1},
				 .path = {"/chat", 5},
				 .upgrade = {"websocket", 9},
				 .content_length = -1};
	struct http_head agreed = {.status = 101, .upgrade = {"websocket", 9}, .content_length = -1};
	struct mux_limits limits = mesh_mux_limits_default;
	struct http2_pair p;
	struct http2_seen *call, *served;

	limits.http2.allow_connect = true;
	http2_pair_open(&p, NULL, &limits);
	http2_pair_pump(&p);
	call = http2_call(&p, &head, false);
	http2_pair_pump(&p);
	served = p.server.seen[0];
	assert_string_equal(served->log, "head GET /chat;");
	assert_string_equal(served->upgrade, "websocket");
	assert_int_equal(mesh_exchange_send_head(&served->exchange, &agreed, false), 0);
	assert_int_equal(mesh_exchange_send_data(&served->exchange, MESH_SLICE("from server"), true), 0);
	http2_pair_pump(&p);
	assert_string_equal(call->upgrade, "websocket");
	/* the client's direction ends on its own */
	assert_string_equal(call->log, "head 101;data from server;end;");
	assert_int_equal(mesh_exchange_send_data(&call->exchange, MESH_SLICE("from client"), false), 0);
	http2_pair_pump(&p);
	assert_int_equal(mesh_exchange_send_data(&call->exchange, MESH_SLICE(""), true), 0);
	http2_pair_pump(&p);
	assert_string_equal(served->log, "head GET /chat;data from client;end;over OK;");
	assert_string_equal(call->log, "head 101;data from server;end;over OK;");
	/* refused as any request */
	call = http2_call(&p, &head, false);
	http2_pair_pump(&p);
	http2_answer(p.server.seen[1], 403, "no");
	http2_pair_pump(&p);
	assert_string_equal(call->log, "head 403;data no;end;over OK;");
	assert_true(p.server.seen[1]->over && !p.server.seen[1]->error);
	/* answered as if nothing had been asked for: the client must not take it for agreement */
	call = http2_call(&p, &head, false);
	http2_pair_pump(&p);
	http2_answer(p.server.seen[2], 200, "page");
	http2_pair_pump(&p);
	assert_string_equal(call->log, "head 501;data page;end;over OK;");
	http2_pair_close(&p);
}

static void ask_again(struct http2_seen *seen, const char *event)
{
	if (!strcmp(event, "writable"))
		assert_int_equal(mesh_exchange_send_head(&seen->exchange, seen->side->user, false), 0);
}

/* Asked for before the peer said what it knows. */
static void test_upgrade_waits_for_settings(void **state)
{
	struct http_head head = {
		.method = {"GET", 3}, .authority = {"a", 1}, .path = {"/", 1}, .upgrade = {"websocket", 9}};
	struct mux_limits limits = mesh_mux_limits_default;
	struct http2_pair p;
	struct http2_seen *call;

	limits.http2.allow_connect = true;
	http2_pair_open(&p, NULL, &limits);
	p.client.hook = ask_again;
	p.client.user = &head;
	call = http2_seen_new(&p.client);
	assert_int_equal(mesh_exchange_open(p.client.mux, &call->exchange), 0);
	assert_int_equal(mesh_exchange_send_head(&call->exchange, &head, false), MESH_ERROR_AGAIN);
	mesh_mux_flush(p.client.mux);
	assert_string_equal(call->log, "");
	http2_pair_pump(&p);
	assert_string_equal(call->log, "writable;");
	assert_string_equal(p.server.seen[0]->upgrade, "websocket");
	http2_answer(p.server.seen[0], 403, "");
	http2_pair_pump(&p);
	assert_string_equal(call->log, "writable;head 403;end;over OK;");
	http2_pair_close(&p);
}

static void test_upgrade_not_announced(void **state)
{
	struct http_head head = {
		.method = {"GET", 3}, .authority = {"a", 1}, .path = {"/", 1}, .upgrade = {"websocket", 9}};
	struct http2_pair p;
	struct http2_seen *call;

	http2_pair_open(&p, NULL, NULL);
	http2_pair_pump(&p);
	call = http2_seen_new(&p.client);
	assert_int_equal(mesh_exchange_open(p.client.mux, &call->exchange), 0);
	assert_int_equal(mesh_exchange_send_head(&call->exchange, &head, false), MESH_ERROR_STATE);
	mesh_exchange_reset(&call->exchange, MESH_ERROR_CANCELLED);
	http2_pair_pump(&p);
	assert_int_equal(p.server.count, 0);
	assert_string_equal(call->log, "");
	http2_pair_close(&p);
}

static void test_plain_connect(void **state)
{
	struct http_head head = {.method = {"CONNECT", 7}, .authority = {"db:5432", 7}, .content_length = -1};
	struct http2_pair p;
	struct http2_seen *call, *served;

	http2_pair_open(&p, NULL, NULL);
	call = http2_call(&p, &head, false);
	http2_pair_pump(&p);
	served = p.server.seen[0];
	assert_string_equal(served->log, "head CONNECT ;");
	assert_string_equal(served->authority, "db:5432");
	http2_answer(served, 200, NULL);
	assert_int_equal(mesh_exchange_send_data(&call->exchange, MESH_SLICE("ping"), true), 0);
	http2_pair_pump(&p);
	assert_string_equal(served->log, "head CONNECT ;data ping;end;");
	assert_int_equal(mesh_exchange_send_data(&served->exchange, MESH_SLICE("pong"), true), 0);
	http2_pair_pump(&p);
	assert_string_equal(call->log, "head 200;data pong;end;over OK;");
	http2_pair_close(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_upgrade),
		cmocka_unit_test(test_upgrade_waits_for_settings),
		cmocka_unit_test(test_upgrade_not_announced),
		cmocka_unit_test(test_plain_connect),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
