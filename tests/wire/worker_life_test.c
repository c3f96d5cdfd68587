/* SPDX-License-Identifier: Apache-2.0 */
/* Workers that begin and end while others use them: calls kept longer, first use by many, calls begun at the end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <pthread.h>

#include <mesh/mesh.h>

#include "call/listener.h"
#include "call/worker.h"
#include "support/data_plane.h"

#define THREADS 4

static const int64_t patience_ms = 20000;

static void handler(struct mesh_call *call, void *user)
{
	mesh_call_respond(call, 200, NULL, 0, MESH_SLICE("hello"), true);
}

static int listen_for(struct mesh *mesh, struct mesh_worker *worker, struct mesh_listener **listener)
{
	struct mesh_listen_options options = {.size = sizeof(options), .handler = handler, .worker = worker,
					      .address = "127.0.0.1", .grace_ms = 500};

	return mesh_listen(mesh, &options, listener);
}

static void serve(struct data_plane *plane)
{
	struct mesh_listener *listener;

	assert_int_equal(listen_for(plane->mesh, NULL, &listener), 0);
	plane->ports[plane->port_count++] = mesh_listener_port(listener);
	data_plane_publish(plane);
}

static int start(struct mesh *mesh, struct mesh_worker *worker, const struct mesh_call_events *events, void *user,
		 struct mesh_call **call)
{
	struct mesh_request request = {.size = sizeof(request), .worker = worker};

	request.authority = MESH_SLICE("reviews:9080");
	return mesh_call_start(mesh, &request, events, user, call);
}

static void expect_hello(struct mesh_call *call)
{
	assert_int_equal(mesh_call_result(call)->status, 0);
	assert_int_equal(mesh_call_http_status(call), 200);
	assert_true(mesh_slice_equal(mesh_call_body(call), MESH_SLICE("hello")));
}

/* Of either side: the server's end a little later. */
static void expect_none_running(struct mesh *mesh)
{
	assert_int_equal(mesh_drain(mesh, (uint32_t)patience_ms), 0);
}

static int open_plane(void **state)
{
	struct data_plane *plane = calloc(1, sizeof(*plane));

	assert_int_equal(data_plane_open(plane, THREADS, NULL), 0);
	*state = plane;
	return 0;
}

static int close_plane(void **state)
{
	data_plane_close(*state);
	free(*state);
	return 0;
}

/* What a call says can be read, and the call be released, after its worker was freed. */
static void test_call_outlives_borrowed_worker(void **state)
{
	struct data_plane *plane = *state;
	struct mesh_worker *worker;
	struct mesh_call *over, *running, *other;

	serve(plane);
	assert_int_equal(mesh_worker_new(plane->mesh, &worker), 0);
	assert_int_equal(start(plane->mesh, worker, NULL, NULL, &over), 0);
	assert_int_equal(mesh_call_wait(over, patience_ms), 0);
	assert_int_equal(start(plane->mesh, worker, NULL, NULL, &other), 0);
	assert_int_equal(mesh_call_wait(other, patience_ms), 0);
	mesh_call_release(other); /* a spare one: that ends with the worker */
	assert_int_equal(start(plane->mesh, worker, NULL, NULL, &other), 0);
	assert_int_equal(start(plane->mesh, worker, NULL, NULL, &running), 0);
	mesh_worker_free(worker);
	expect_hello(over);
	assert_int_equal(mesh_call_wait(running, patience_ms), MESH_ERROR_CANCELLED);
	assert_int_equal(mesh_call_wait_writable(running, patience_ms), MESH_ERROR_CANCELLED);
	assert_int_equal(mesh_call_send(running, MESH_SLICE("x"), true), MESH_ERROR_CANCELLED);
	mesh_call_cancel(running);
	mesh_call_release(running);
	mesh_call_release(mesh_call_retain(over));
	mesh_call_release(over);
	mesh_call_release(other);
	expect_none_running(plane->mesh);
}

struct one_call {
	struct data_plane *plane;
	struct mesh_call *call;
	int rc;
};

static void *call_and_end(void *user)
{
	struct one_call *one = user;

	one->rc = start(one->plane->mesh, NULL, NULL, NULL, &one->call);
	if (!one->rc)
		one->rc = mesh_call_wait(one->call, patience_ms);
	return NULL;
}

static void *release(void *call)
{
	mesh_call_release(call);
	return NULL;
}

/* The thread that called has ended, and its worker with it. The one that releases may look like it: ids come again. */
static void test_call_outlives_its_thread(void **state)
{
	struct one_call one = {.plane = *state};
	pthread_t thread;

	serve(one.plane);
	for (int i = 0; i < 4; i++) {
		pthread_create(&thread, NULL, call_and_end, &one);
		pthread_join(thread, NULL);
		assert_int_equal(one.rc, 0);
		expect_hello(one.call);
		if (i % 2) {
			mesh_call_release(one.call);
			continue;
		}
		pthread_create(&thread, NULL, release, one.call);
		pthread_join(thread, NULL);
	}
}

struct first_use {
	struct mesh *mesh;
	pthread_barrier_t together;
	atomic_uint number, failed;
};

static void *use_first(void *user)
{
	struct first_use *first = user;
	bool listens = atomic_fetch_add(&first->number, 1) % 2;
	struct mesh_listener *listener;
	struct mesh_worker *worker;

	pthread_barrier_wait(&first->together);
	if (listens ? listen_for(first->mesh, NULL, &listener) : mesh_worker_library(first->mesh, &worker))
		atomic_fetch_add(&first->failed, 1);
	return NULL;
}

/* Whoever comes first, the library's workers are started once. */
static void test_many_threads_use_library_workers_first(void **state)
{
	for (int round = 0; round < 25; round++) {
		struct data_plane plane = {0};
		struct first_use first = {0};
		pthread_t threads[THREADS];

		assert_int_equal(data_plane_open(&plane, 2, NULL), 0);
		first.mesh = plane.mesh;
		pthread_barrier_init(&first.together, NULL, THREADS);
		for (int i = 0; i < THREADS; i++)
			pthread_create(&threads[i], NULL, use_first, &first);
		for (int i = 0; i < THREADS; i++)
			pthread_join(threads[i], NULL);
		pthread_barrier_destroy(&first.together);
		assert_int_equal(atomic_load(&first.failed), 0);
		assert_int_equal(plane.mesh->shared.library_count, 2);
		data_plane_close(&plane);
	}
}

struct chain_of_calls {
	struct mesh *mesh;
	struct mesh_worker *worker; /* NULL: the thread's own */
	int started, done, refused, rc;
};

static void start_next(struct chain_of_calls *chain);

static void next_call(struct mesh_call *call, void *user)
{
	struct chain_of_calls *chain = user;

	chain->done++;
	mesh_call_release(call);
	start_next(chain);
}

static void start_next(struct chain_of_calls *chain)
{
	static const struct mesh_call_events events = {.size = sizeof(events), .done = next_call};
	struct mesh_call *call;

	chain->rc = start(chain->mesh, chain->worker, &events, chain, &call);
	if (chain->rc)
		chain->refused++;
	else
		chain->started++;
}

static void expect_chain_ended(const struct chain_of_calls *chain)
{
	assert_int_equal(chain->done, chain->started);
	assert_int_equal(chain->refused, 1);
	assert_int_equal(chain->rc, MESH_ERROR_DRAINING);
	expect_none_running(chain->mesh);
}

/* A worker that ends takes no call from the `done` of those it ends. */
static void test_done_starts_next_on_ending_worker(void **state)
{
	struct data_plane *plane = *state;
	struct chain_of_calls chain = {.mesh = plane->mesh};

	serve(plane);
	assert_int_equal(mesh_worker_new(plane->mesh, &chain.worker), 0);
	start_next(&chain);
	while (chain.done < 3)
		assert_true(mesh_worker_run(chain.worker, -1) >= 0);
	mesh_worker_free(chain.worker);
	assert_true(chain.done >= 4);
	expect_chain_ended(&chain);
}

static void *start_and_end(void *user)
{
	start_next(user);
	return NULL;
}

static void test_done_starts_next_on_ending_thread(void **state)
{
	struct data_plane *plane = *state;
	struct chain_of_calls chain = {.mesh = plane->mesh};
	pthread_t thread;

	serve(plane);
	pthread_create(&thread, NULL, start_and_end, &chain);
	pthread_join(thread, NULL);
	assert_int_equal(chain.started, 1);
	expect_chain_ended(&chain);
}

#define LISTENERS 6

struct closer {
	struct mesh_listener *listeners[LISTENERS];
	pthread_barrier_t together;
};

static void *close_all(void *user)
{
	struct closer *closer = user;

	pthread_barrier_wait(&closer->together);
	for (int i = 0; i < LISTENERS; i++)
		mesh_listener_close(closer->listeners[i]);
	return NULL;
}

/* One thread drains the mesh, another closes the listeners that this walks over. */
static void test_listeners_close_during_drain(void **state)
{
	for (int round = 0; round < 25; round++) {
		struct data_plane plane = {0};
		struct closer closer;
		pthread_t thread;

		assert_int_equal(data_plane_open(&plane, 2, NULL), 0);
		for (int i = 0; i < LISTENERS; i++)
			assert_int_equal(listen_for(plane.mesh, NULL, &closer.listeners[i]), 0);
		pthread_barrier_init(&closer.together, NULL, 2);
		pthread_create(&thread, NULL, close_all, &closer);
		pthread_barrier_wait(&closer.together);
		assert_int_equal(mesh_drain(plane.mesh, (uint32_t)patience_ms), 0);
		pthread_join(thread, NULL);
		assert_true(mesh_list_empty(&plane.mesh->shared.listeners));
		pthread_barrier_destroy(&closer.together);
		data_plane_close(&plane);
	}
}

struct elsewhere {
	struct mesh *mesh;
	struct mesh_listener *listener;
	pthread_barrier_t ready, drained;
	int failed;
};

static void *drive_elsewhere(void *user)
{
	struct elsewhere *there = user;
	struct mesh_worker *worker = NULL;

	there->failed = mesh_worker_new(there->mesh, &worker);
	if (!there->failed)
		there->failed = listen_for(there->mesh, worker, &there->listener);
	pthread_barrier_wait(&there->ready);
	pthread_barrier_wait(&there->drained);
	if (!there->failed && mesh_worker_run(worker, 0) < 0)
		there->failed = MESH_ERROR_SYSTEM;
	if (!there->failed && there->listener->acceptors[0].accepting)
		there->failed = MESH_ERROR_STATE;
	mesh_listener_close(there->listener);
	mesh_worker_free(worker);
	return NULL;
}

/* Who drains leaves the loop of a borrowed worker to the thread that drives it. */
static void test_drain_with_borrowed_worker_elsewhere(void **state)
{
	struct data_plane *plane = *state;
	struct elsewhere there = {.mesh = plane->mesh};
	bool touched;
	pthread_t thread;

	pthread_barrier_init(&there.ready, NULL, 2);
	pthread_barrier_init(&there.drained, NULL, 2);
	pthread_create(&thread, NULL, drive_elsewhere, &there);
	pthread_barrier_wait(&there.ready);
	assert_int_equal(mesh_drain(plane->mesh, 0), 0);
	touched = there.listener && !there.listener->acceptors[0].accepting;
	pthread_barrier_wait(&there.drained);
	pthread_join(thread, NULL);
	assert_int_equal(there.failed, 0);
	assert_false(touched);
	pthread_barrier_destroy(&there.ready);
	pthread_barrier_destroy(&there.drained);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, open_plane, close_plane)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_call_outlives_borrowed_worker),
		CASE(test_call_outlives_its_thread),
		cmocka_unit_test(test_many_threads_use_library_workers_first),
		cmocka_unit_test(test_listeners_close_during_drain),
		CASE(test_drain_with_borrowed_worker_elsewhere),
		CASE(test_done_starts_next_on_ending_worker),
		CASE(test_done_starts_next_on_ending_thread),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
