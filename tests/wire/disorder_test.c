/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Applications on both sides that do everything at the wrong moment: answer before the body came, give up, pause, cut off,
 * forget. Seeded, so that a failure can be had again. Only this is asked: every call ends once, and nothing is left behind.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdio.h>

#include <mesh/mesh.h>

#include "base/rand.h"
#include "support/data_plane.h"
#include "support/failing_mem.h"
#include "support/test_ca.h"

enum { ROUNDS = 1500, AT_ONCE = 16 };

struct disorder {
	struct failing_mem mem;
	struct data_plane plane;
	struct test_ca ca;
	struct mesh_listener *listeners[2];
	struct rand rand;       /* the caller's */
	struct rand serve_rand; /* the handlers': one worker */
	atomic_int begun, over; /* on the server */
	struct mesh_call *later; /* answered when the next request comes; the server's worker */
};

static unsigned below(struct rand *rand, unsigned limit)
{
	return (unsigned)(mesh_rand_next(rand) % limit);
}

static struct mesh_slice some(struct rand *rand)
{
	static char bytes[200000];

	return mesh_slice_make(bytes, below(rand, 3) ? below(rand, 300) : below(rand, sizeof(bytes)));
}

static void served_over(struct mesh_call *call, void *user)
{
	struct disorder *disorder = user;

	atomic_fetch_add(&disorder->over, 1);
}

static void act(struct disorder *disorder, struct mesh_call *call)
{
	static const struct mesh_header trailer = {{"x-end", 5}, {"yes", 3}};
	struct rand *rand = &disorder->serve_rand;

	switch (below(rand, 8)) {
	case 0:
		mesh_call_cancel(call);
		break;
	case 1:
		mesh_call_pause(call);
		mesh_call_respond(call, 503, NULL, 0, mesh_slice_of("busy"), true);
		break;
	case 2:
		mesh_call_respond(call, 200, NULL, 0, some(rand), false);
		mesh_call_send(call, some(rand), below(rand, 2));
		mesh_call_send_trailers(call, &trailer, 1);
		break;
	case 3:
		mesh_call_respond(call, 200, NULL, 0, some(rand), false);
		mesh_call_cancel(call);
		break;
	case 4:
		mesh_call_respond(call, 204, NULL, 0, some(rand), true);
		mesh_call_resume(call);
		break;
	default:
		mesh_call_respond(call, 200, NULL, 0, some(rand), true);
		break;
	}
}

static void served_end(struct mesh_call *call, void *user)
{
	act(user, call);
}

static void served_data(struct mesh_call *call, struct mesh_slice data, void *user)
{
	struct disorder *disorder = user;

	if (below(&disorder->serve_rand, 4) == 0)
		act(disorder, call);
}

static void handler(struct mesh_call *call, void *user)
{
	static const struct mesh_call_events events = {.size = sizeof(events), .data = served_data, .end = served_end,
						       .done = served_over};
	struct disorder *disorder = user;
	struct mesh_call *before = disorder->later;

	atomic_fetch_add(&disorder->begun, 1);
	assert_int_equal(mesh_call_on(call, &events, disorder), 0);
	disorder->later = NULL;
	if (before) {
		if (below(&disorder->serve_rand, 4))
			act(disorder, before);
		mesh_call_release(before);
	}
	if (below(&disorder->serve_rand, 5) == 0)
		disorder->later = mesh_call_retain(call);
	else if (below(&disorder->serve_rand, 3) == 0)
		act(disorder, call);
}

static void count_done(struct mesh_call *call, void *user)
{
	++*(unsigned *)user;
}

static void start(struct disorder *disorder, struct mesh_worker *worker, unsigned *done, struct mesh_call **call)
{
	static const char *const methods[] = {"GET", "POST", "PUT", "HEAD"};
	static struct mesh_call_events events = {.size = sizeof(events), .done = count_done};
	struct mesh_request request = {.size = sizeof(request), .authority = mesh_slice_of("reviews:9080"), .worker = worker,
				       .method = mesh_slice_of(methods[below(&disorder->rand, 4)]),
				       .timeout_ms = below(&disorder->rand, 3) ? 2000 : 1 + below(&disorder->rand, 5)};

	request.more_body = below(&disorder->rand, 3) == 0;
	if (below(&disorder->rand, 2))
		request.body = some(&disorder->rand);
	*done = 0;
	assert_int_equal(mesh_call_start(disorder->plane.mesh, &request, &events, done, call), 0);
}

static void meddle(struct disorder *disorder, struct mesh_call *call)
{
	static const struct mesh_header trailer = {{"x-end", 5}, {"yes", 3}};

	switch (below(&disorder->rand, 7)) {
	case 0:
		mesh_call_cancel(call);
		break;
	case 1:
		mesh_call_pause(call);
		break;
	case 2:
		mesh_call_resume(call);
		break;
	case 3:
		mesh_call_send_trailers(call, &trailer, 1);
		break;
	default:
		mesh_call_send(call, some(&disorder->rand), below(&disorder->rand, 2));
		break;
	}
}

static void run(struct disorder *disorder, struct mesh_worker *worker)
{
	struct mesh_call *calls[AT_ONCE] = {NULL};
	unsigned done[AT_ONCE] = {0};

	for (int round = 0; round < ROUNDS; round++) {
		unsigned i = below(&disorder->rand, AT_ONCE);

		if (!calls[i])
			start(disorder, worker, &done[i], &calls[i]);
		else if (!done[i])
			meddle(disorder, calls[i]);
		mesh_worker_run(worker, 1);
		for (i = 0; i < AT_ONCE; i++)
			if (calls[i] && done[i]) {
				assert_int_equal(done[i], 1);
				assert_non_null(mesh_call_result(calls[i]));
				mesh_call_release(calls[i]);
				calls[i] = NULL;
			}
	}
	for (unsigned i = 0; i < AT_ONCE; i++)
		if (calls[i]) {
			mesh_call_cancel(calls[i]);
			while (!done[i])
				mesh_worker_run(worker, 10);
			assert_int_equal(done[i], 1);
			mesh_call_release(calls[i]);
		}
}

static void disorder_with(unsigned seed, enum data_plane_inbound inbound, size_t body_max)
{
	static struct retry_config retry = {.on = RETRY_RESET | RETRY_5XX, .retries = 2, .per_try_timeout_ns = 20000000,
					    .backoff_base_ns = 1000000, .backoff_max_ns = 2000000};
	struct disorder *disorder = calloc(1, sizeof(*disorder));
	struct mesh_listen_options options = {.size = sizeof(options), .handler = handler, .user = disorder, .address = "127.0.0.1",
					      .grace_ms = 20, .request_bytes_max = body_max};
	struct mesh_worker *worker;

	failing_mem_init(&disorder->mem, 0);
	mesh_rand_seed(&disorder->rand, seed);
	mesh_rand_seed(&disorder->serve_rand, seed + 1000);
	assert_int_equal(data_plane_open(&disorder->plane, 1, &disorder->mem.mem), 0);
	test_ca_make(&disorder->ca);
	disorder->plane.certificate =
		test_ca_secret(&disorder->ca, &(struct test_leaf){.uri = "spiffe://cluster.local/ns/default/sa/bob"});
	disorder->plane.roots = test_ca_roots(&disorder->ca);
	disorder->plane.inbound = inbound;
	disorder->plane.client_tls = inbound == DATA_PLANE_DISABLE ? NULL : &data_plane_istio_client;
	disorder->plane.retry = &retry;
	for (int i = 0; i < 2; i++) {
		assert_int_equal(mesh_listen(disorder->plane.mesh, &options, &disorder->listeners[i]), 0);
		disorder->plane.ports[disorder->plane.port_count++] = mesh_listener_port(disorder->listeners[i]);
	}
	data_plane_publish(&disorder->plane);
	assert_int_equal(mesh_worker_new(disorder->plane.mesh, &worker), 0);
	run(disorder, worker);
	mesh_worker_free(worker);
	for (int i = 0; i < 2; i++)
		mesh_listener_close(disorder->listeners[i]);
	mesh_call_release(disorder->later);
	assert_true(atomic_load(&disorder->begun) > 20);
	assert_int_equal(atomic_load(&disorder->begun), atomic_load(&disorder->over));
	data_plane_close(&disorder->plane);
	mesh_secret_release(disorder->plane.certificate);
	mesh_secret_release(disorder->plane.roots);
	test_ca_free(&disorder->ca);
	assert_int_equal(atomic_load(&disorder->mem.blocks), 0);
	free(disorder);
}

static void test_plaintext(void **state)
{
	for (unsigned seed = 1; seed <= 4; seed++)
		disorder_with(seed, DATA_PLANE_DISABLE, seed % 2 ? 0 : 100000);
}

static void test_mutual_tls(void **state)
{
	for (unsigned seed = 11; seed <= 14; seed++)
		disorder_with(seed, DATA_PLANE_STRICT, seed % 2 ? 0 : 100000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_plaintext),
		cmocka_unit_test(test_mutual_tls),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
