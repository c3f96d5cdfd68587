/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two HTTP/2 muxes short of memory together, nghttp2's included. Whatever cannot be done, every exchange hears of its
 * end once, and nothing hangs or leaks.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <mesh/error.h>

#include "support/failing_mem.h"
#include "support/http2_pair.h"

static bool short_of_memory(int rc)
{
	assert_true(!rc || rc == MESH_ERROR_NOMEM || rc == MESH_ERROR_AGAIN || rc == MESH_ERROR_STATE);
	return rc;
}

static const struct mesh_header items[] = {
	{{"X-One", 5}, {"1", 1}}, {{"cookie", 6}, {"a=1", 3}}, {{"cookie", 6}, {"b=2", 3}}};

/* The server's part: an interim head, a body, trailers; given up where memory fails. */
static void serve(struct http2_seen *seen, const char *event)
{
	struct http_head head = {.status = 103, .content_length = -1, .headers = {(struct mesh_header *)items, 3, 3}};
	struct exchange *exchange = &seen->exchange;
	int rc;

	if (strcmp(event, "end") || !seen->side->mux->server)
		return;
	rc = mesh_exchange_send_interim(exchange, &head);
	head.status = 200;
	if (!rc && exchange->mux)
		rc = mesh_exchange_send_head(exchange, &head, false);
	if (!rc && exchange->mux)
		rc = mesh_exchange_send_data(exchange, MESH_SLICE("a body"), false);
	if (!rc && exchange->mux)
		rc = mesh_exchange_send_trailers(exchange, &head.headers);
	if (short_of_memory(rc) && exchange->mux)
		mesh_exchange_reset(exchange, rc);
}

static void call_once(struct http2_pair *pair, unsigned kind, unsigned *good)
{
	static char large[40000];
	struct http_head head = {.method = {"PUT", 3},
				 .authority = {"a", 1},
				 .path = {"/", 1},
				 .content_length = -1,
				 .headers = {(struct mesh_header *)items, 3, 3}};
	struct http2_seen *seen;
	int rc;

	if (pair->client.closed || !mesh_mux_capacity(pair->client.mux))
		return;
	seen = http2_seen_new(&pair->client);
	rc = mesh_exchange_open(pair->client.mux, &seen->exchange);
	if (short_of_memory(rc))
		return;
	rc = mesh_exchange_send_head(&seen->exchange, &head, !kind);
	if (!rc && kind)
		rc = mesh_exchange_send_data(&seen->exchange, mesh_slice_make(large, kind * 13000), kind == 1);
	if (!rc && kind > 1)
		rc = mesh_exchange_send_trailers(&seen->exchange, &head.headers);
	if (short_of_memory(rc)) {
		mesh_exchange_reset(&seen->exchange, rc);
		http2_pair_pump(pair);
		return;
	}
	if (kind == 2)
		mesh_exchange_pause(&seen->exchange, true);
	http2_pair_pump(pair);
	if (seen->exchange.mux)
		mesh_exchange_pause(&seen->exchange, false);
	http2_pair_pump(pair);
	assert_true(seen->over);
	*good += !seen->error;
}

static int scenario(const struct mesh_mem *mem, void *user)
{
	struct http2_pair pair;
	unsigned good = 0;
	int rc = http2_pair_open_mem(&pair, mem);

	if (!rc) {
		pair.server.hook = serve;
		for (unsigned kind = 0; kind < 4; kind++)
			call_once(&pair, kind, &good);
		if (!pair.client.closed) {
			mesh_mux_ping(pair.client.mux);
			mesh_mux_drain(pair.server.mux);
			http2_pair_pump(&pair);
			assert_true(pair.client.closed && pair.server.closed);
		}
		rc = good == 4 ? 0 : MESH_ERROR_NOMEM;
	}
	http2_pair_close(&pair);
	return rc;
}

static void test_exchanges(void **state)
{
	int failed = oom_run(scenario, NULL);

	assert_true(failed > 50);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_exchanges)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
