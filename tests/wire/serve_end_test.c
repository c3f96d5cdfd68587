/* SPDX-License-Identifier: Apache-2.0 */
/* How HTTP/2 connections to a listener end: soon where nothing is under way, at once when they must, and what comes late. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <unistd.h>

#include "loop/loop.h"
#include "support/raw_peer.h"
#include "support/served.h"

enum { LONG_GRACE_MS = 20000, SOON_MS = 4000 };

static void count(struct mesh_call *call, void *user)
{
	atomic_fetch_add((atomic_uint *)user, 1);
	mesh_call_respond(call, 200, NULL, 0, (struct mesh_slice){NULL, 0}, true);
}

/* A listener on a worker that the test drives. */
static struct mesh_listener *listen_on(struct served *served, struct mesh_worker **worker, atomic_uint *begun)
{
	struct mesh_listen_options options = {
		.size = sizeof(options), .handler = count, .user = begun, .address = "127.0.0.1", .grace_ms = LONG_GRACE_MS};
	struct mesh_listener *listener;

	data_plane_publish(&served->plane);
	assert_int_equal(mesh_worker_new(served->plane.mesh, worker), 0);
	options.worker = *worker;
	assert_int_equal(mesh_listen(served->plane.mesh, &options, &listener), 0);
	return listener;
}

/*
 * A worker ends in the middle of a burst: requests that were read by then are over, and those that were not are not begun on a
 * connection that goes.
 */
static void test_killed_in_a_burst(void **state)
{
	enum { BURST = 3000 };
	struct served *served = *state;
	atomic_uint begun = 0, before;
	struct mesh_worker *worker;
	struct mesh_listener *listener = listen_on(served, &worker, &begun);
	struct h2_peer peer;

	h2_peer_init(&peer, raw_connect(mesh_listener_port(listener)));
	h2_preface(&peer.out);
	for (unsigned i = 0; i < BURST; i++)
		h2_get(&peer.out, 2 * i + 1, "/");
	assert_true(h2_peer_say(&peer));
	for (unsigned i = 0; i < 1000 && !atomic_load(&begun); i++)
		assert_true(mesh_worker_run(worker, 10) >= 0);
	before = atomic_load(&begun);
	assert_in_range(before, 1, BURST - 1);
	mesh_worker_free(worker);
	assert_int_equal(atomic_load(&begun), before);
	mesh_listener_close(listener);
	served_assert_heard(&peer, "goaway ");
	served_disconnect(&peer);
}

static void *close_listener(void *listener)
{
	mesh_listener_close(listener);
	return NULL;
}

static pthread_t begin_close(struct served *served)
{
	struct mesh_listener *listener = served->listener;
	pthread_t thread;

	served->listener = NULL;
	assert_int_equal(pthread_create(&thread, NULL, close_listener, listener), 0);
	return thread;
}

static uint64_t since_ms(uint64_t begin_ns)
{
	return (mesh_time_now_ns() - begin_ns) / MS;
}

/* A peer without requests that never says it heard, which one that sleeps cannot, does not hold a listener. */
static void test_silent_peer(void **state)
{
	struct served *served = *state;
	uint64_t begin = mesh_time_now_ns();
	struct h2_peer silent, late;
	pthread_t thread;

	served->grace_ms = LONG_GRACE_MS;
	served_listen(served);
	served_connect(served, &silent);
	served_connect(served, &late);
	served_ask(&silent, 1, "/version");
	served_assert_heard(&silent, "data 1 2 END;");
	assert_true(h2_peer_sync(&late));
	thread = begin_close(served);
	served_assert_heard(&late, "goaway 2147483647 NO_ERROR");
	served_ask(&late, 1, "/version"); /* as it had not heard yet */
	served_assert_heard(&late, "data 1 2 END;");
	served_assert_heard(&late, "goaway 1 NO_ERROR");
	h2_get(&late.out, 3, "/version");
	h2_peer_say(&late);
	served_assert_heard(&silent, "goaway 1 NO_ERROR");
	pthread_join(thread, NULL);
	assert_in_range(since_ms(begin), 0, SOON_MS);
	assert_int_equal(atomic_load(&served->calls), 2);
	served_disconnect(&silent);
	served_disconnect(&late);
}

/* Its last request over, it has no more time than that either. */
static void test_silent_peer_with_a_request(void **state)
{
	struct served *served = *state;
	struct h2_peer peer;
	uint64_t begin;
	pthread_t thread;

	served->grace_ms = LONG_GRACE_MS;
	served_listen(served);
	served_connect(served, &peer);
	served_ask(&peer, 1, "/hold");
	served_await(&served->held_count, 1);
	thread = begin_close(served);
	served_assert_heard(&peer, "ping draining;");
	begin = mesh_time_now_ns();
	assert_int_equal(mesh_call_respond(served->held[0], 200, NULL, 0, mesh_slice_of("ok"), true), 0);
	served_assert_heard(&peer, "data 1 2 END;");
	served_assert_heard(&peer, "goaway 1 NO_ERROR");
	pthread_join(thread, NULL);
	assert_in_range(since_ms(begin), 0, SOON_MS);
	served_disconnect(&peer);
}

/* Its first bytes tell what it speaks, as they would have otherwise. */
static void test_drain_inside_the_preface(void **state)
{
	struct served *served = *state;
	struct h2_peer peer;
	struct mesh_slice said;
	pthread_t thread;

	served_listen(served);
	h2_peer_init(&peer, raw_connect(served->port));
	h2_preface(&peer.out);
	h2_get(&peer.out, 1, "/version");
	said = mesh_buf_slice(&peer.out);
	assert_true(raw_send(peer.fd, said.data, 10));
	usleep(50 * 1000);
	thread = begin_close(served);
	usleep(50 * 1000);
	assert_true(raw_send(peer.fd, said.data + 10, said.len - 10));
	mesh_buf_clear(&peer.out);
	served_assert_heard(&peer, "data 1 2 END;");
	served_assert_heard(&peer, "goaway 1 NO_ERROR");
	pthread_join(thread, NULL);
	served_disconnect(&peer);
}

/* What has come by then, though nobody has looked, is served. */
static void test_drain_before_the_first_look(void **state)
{
	atomic_uint begun = 0;
	struct mesh_worker *worker;
	struct mesh_listener *listener = listen_on(*state, &worker, &begun);
	struct h2_peer peer;

	h2_peer_init(&peer, raw_connect(mesh_listener_port(listener)));
	for (unsigned i = 0; i < 10; i++)
		assert_true(mesh_worker_run(worker, 10) >= 0);
	h2_preface(&peer.out);
	h2_get(&peer.out, 1, "/");
	assert_true(h2_peer_say(&peer));
	mesh_listener_close(listener);
	for (unsigned i = 0; i < 200 && !atomic_load(&begun); i++)
		assert_true(mesh_worker_run(worker, 10) >= 0);
	assert_int_equal(atomic_load(&begun), 1);
	served_assert_heard(&peer, "headers 1 :status=200");
	mesh_worker_free(worker);
	served_disconnect(&peer);
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, served_open, served_close)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_killed_in_a_burst),
		CASE(test_silent_peer),
		CASE(test_silent_peer_with_a_request),
		CASE(test_drain_inside_the_preface),
		CASE(test_drain_before_the_first_look),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
