/* SPDX-License-Identifier: Apache-2.0 */
/* How long streams live: closed by each other's callbacks, by other threads, in their own; ended with what they live on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <time.h>
#include <unistd.h>

#include "call/listener.h"
#include "support/raw_peer.h"
#include "support/tcp_pair.h"

/* ---- who closes whom */

struct both {
	struct mesh_stream *stream[2];
	atomic_int opened, closed;
};

static void both_opened(struct mesh_stream *stream, void *user)
{
	atomic_fetch_add(&((struct both *)user)->opened, 1);
}

/* As a proxy does: when one side is over, so is the other. */
static void both_closed(struct mesh_stream *stream, void *user)
{
	struct both *both = user;

	for (int i = 0; i < 2; i++) {
		mesh_stream_close(both->stream[i]);
		both->stream[i] = NULL;
	}
	atomic_fetch_add(&both->closed, 1);
}

static const struct mesh_stream_events both_events = {
	.size = sizeof(both_events), .opened = both_opened, .closed = both_closed};

static void test_one_closes_the_other(void **state)
{
	struct tcp_pair *pair = *state;
	struct mesh_stream_options options = {.size = sizeof(options), .target = mesh_slice_of("reviews:9080")};
	struct both both;

	memset(&both, 0, sizeof(both));
	options.worker = tcp_pair_worker(pair);
	for (int i = 0; i < 2; i++)
		assert_int_equal(mesh_stream_dial(pair->client.mesh, &options, &both_events, &both, &both.stream[i]),
				 0);
	tcp_pair_drive(options.worker, &both.opened, 2);
	mesh_worker_free(options.worker); /* both end; the first that is told closes them */
	assert_int_equal(atomic_load(&both.closed), 1);
	assert_null(both.stream[1]);
}

/* The library works while read is called, and what it tells may be the end of the stream. */
static void test_closed_while_it_is_asked(void **state)
{
	struct tcp_pair *pair = *state;
	struct mesh_stream_options options = {.size = sizeof(options), .target = mesh_slice_of("reviews:9080")};
	struct both both;
	uint16_t port;
	char byte;
	int fd = raw_listen(&port);

	close(fd); /* nobody is there */
	pair->client.ports[0] = port;
	tcp_pair_publish(pair);
	options.worker = tcp_pair_worker(pair);
	for (int how = 0; how < 3; how++) {
		int64_t n = MESH_ERROR_AGAIN;

		memset(&both, 0, sizeof(both));
		assert_int_equal(mesh_stream_dial(pair->client.mesh, &options, &both_events, &both, &both.stream[0]),
				 0);
		for (int i = 0; i < 1000 && n == MESH_ERROR_AGAIN && both.stream[0]; i++) {
			n = how == 0   ? mesh_stream_read(both.stream[0], &byte, 1)
			    : how == 1 ? mesh_stream_write(both.stream[0], mesh_slice_of("x"))
				       : mesh_stream_shutdown(both.stream[0]);
			tcp_pair_nap(1);
		}
		assert_int_equal(n, MESH_ERROR_CLOSED);
		assert_int_equal(atomic_load(&both.closed), 1);
	}
	mesh_worker_free(options.worker);
}

/* Of whoever closes it elsewhere, callbacks may still use what they share: until `closed`, which is the last. */
static void test_closed_by_another_thread(void **state)
{
	struct tcp_pair *pair = *state;
	struct mesh_stream_options options = {.size = sizeof(options), .target = mesh_slice_of("reviews:9080")};
	struct mesh_stream *stream;

	assert_int_equal(mesh_worker_library(pair->client.mesh, &options.worker), 0);
	for (int early = 0; early < 2; early++) {
		struct both *both = calloc(1, sizeof(*both));

		assert_int_equal(mesh_stream_dial(pair->client.mesh, &options, &both_events, both, &stream), 0);
		if (!early)
			assert_true(tcp_pair_until(&both->opened, 1));
		mesh_stream_close(stream);
		assert_true(tcp_pair_until(&both->closed, 1));
		tcp_pair_nap(20);
		assert_int_equal(atomic_load(&both->closed), 1);
		free(both);
	}
}

/* ---- closed inside whatever callback it is */

/* The server's side: counts what comes. */
static void take_all(struct mesh_stream *stream, void *user)
{
	static char data[65536];
	struct tcp_pair *pair = user;
	int64_t n;

	while ((n = mesh_stream_read(stream, data, sizeof(data))) > 0)
		atomic_fetch_add(&pair->bytes, (size_t)n);
	if (n == MESH_ERROR_AGAIN)
		return;
	pair->result = (int)n;
	mesh_stream_close(stream);
	atomic_fetch_add(&pair->closed, 1);
}

static void take_handler(struct mesh_stream *stream, void *user)
{
	static const struct mesh_stream_events events = {.size = sizeof(events), .readable = take_all};

	assert_int_equal(mesh_stream_on(stream, &events, user), 0);
}

static int close_in; /* 0: opened or the handler, 1: readable, 2: writable */

static void close_at(struct mesh_stream *stream, struct both *both, int where)
{
	if (close_in != where)
		return;
	both->stream[0] = NULL;
	mesh_stream_close(stream);
	atomic_fetch_add(&both->closed, 1);
}

static void at_opened(struct mesh_stream *stream, void *user)
{
	static char much[4 << 20];

	if (close_in == 2)
		while (mesh_stream_write(stream, (struct mesh_slice){much, sizeof(much)}) > 0)
			;
	close_at(stream, user, 0);
}

static void at_readable(struct mesh_stream *stream, void *user)
{
	close_at(stream, user, 1);
}

static void at_writable(struct mesh_stream *stream, void *user)
{
	close_at(stream, user, 2);
}

static void never(struct mesh_stream *stream, void *user)
{
	fail_msg("closed: %s", mesh_stream_result(stream)->why.data);
}

static const struct mesh_stream_events at_events = {.size = sizeof(at_events),
						    .opened = at_opened,
						    .readable = at_readable,
						    .writable = at_writable,
						    .closed = never};

static struct both at_server;

static void at_handler(struct mesh_stream *stream, void *user)
{
	atomic_store(&at_server.closed, 0);
	if (close_in)
		assert_int_equal(mesh_stream_on(stream, &at_events, &at_server), 0);
	at_opened(stream, &at_server);
}

static void test_closed_in_each_callback(void **state)
{
	struct tcp_pair *pair = *state;
	struct mesh_stream_options options = {.size = sizeof(options), .target = mesh_slice_of("reviews:9080")};

	pair->handler = take_handler;
	options.worker = tcp_pair_worker(pair);
	for (close_in = 0; close_in < 3; close_in++) {
		struct both both;

		memset(&both, 0, sizeof(both));
		assert_int_equal(mesh_stream_dial(pair->client.mesh, &options, &at_events, &both, &both.stream[0]), 0);
		tcp_pair_drive(options.worker, &both.closed, 1);
	}
	mesh_worker_free(options.worker);
	assert_true(tcp_pair_until(&pair->closed, 3));
	pair->handler = at_handler;
	for (close_in = 0; close_in < 3; close_in++) {
		struct mesh_stream *stream = tcp_pair_dial(pair);
		static char in[65536];
		size_t got = sizeof(in);

		for (int rc = 0; !rc && got == sizeof(in);)
			rc = tcp_pair_read(stream, in, sizeof(in), &got);
		assert_true(tcp_pair_until(&at_server.closed, 1));
		mesh_stream_close(stream);
	}
}

/* ---- what it lives on ends */

static struct both on_server;
static struct mesh_listener *own_listener;
static bool close_listener;

static void own_handler(struct mesh_stream *stream, void *user)
{
	assert_int_equal(mesh_stream_on(stream, &both_events, &on_server), 0);
	on_server.stream[atomic_fetch_add(&on_server.opened, 1)] = stream;
	if (!close_listener)
		return;
	mesh_listener_close(own_listener);
	own_listener = NULL;
}

/* A listener on a borrowed worker: ended by its own handler, or by the worker, with streams open. */
static void test_server_ends_under_streams(void **state)
{
	struct tcp_pair *pair = *state;
	struct mesh_listen_options options = {
		.size = sizeof(options), .stream_handler = own_handler, .address = "127.0.0.1", .grace_ms = 50};
	struct mesh_stream *stream[2];
	char byte;
	size_t got;

	for (int how = 0; how < 2; how++) {
		close_listener = how;
		memset(&on_server, 0, sizeof(on_server));
		assert_int_equal(mesh_worker_new(pair->server.mesh, &options.worker), 0);
		assert_int_equal(mesh_listen(pair->server.mesh, &options, &own_listener), 0);
		pair->client.ports[0] = mesh_listener_port(own_listener);
		tcp_pair_publish(pair);
		for (int i = 0; i < 2 - how; i++) {
			stream[i] = tcp_pair_dial(pair);
			for (int k = 0; k < 1000 && atomic_load(&on_server.opened) <= i; k++) {
				mesh_stream_wait(stream[i], MESH_STREAM_OPENED, 1);
				mesh_worker_run(options.worker, 1);
			}
			assert_int_equal(atomic_load(&on_server.opened), i + 1);
		}
		if (how)
			tcp_pair_drive(options.worker, &on_server.closed, 1); /* when its grace is over */
		mesh_worker_free(options.worker);
		assert_int_equal(atomic_load(&on_server.closed), 1);
		for (int i = 0; i < 2 - how; i++) {
			int rc = tcp_pair_read(stream[i], &byte, 1, &got);

			assert_true(rc == MESH_ERROR_RESET || (rc == 0 && got == 0));
			mesh_stream_close(stream[i]);
		}
		if (!how)
			mesh_listener_close(own_listener);
	}
}

/* Nobody closes anything: what is open is told when the mesh is. */
static void test_mesh_ends_under_streams(void **state)
{
	struct tcp_pair *pair = *state;
	struct mesh_stream_options options = {.size = sizeof(options), .target = mesh_slice_of("reviews:9080")};
	struct both both;

	memset(&both, 0, sizeof(both));
	assert_int_equal(mesh_worker_library(pair->client.mesh, &options.worker), 0);
	for (int i = 0; i < 2; i++)
		assert_int_equal(mesh_stream_dial(pair->client.mesh, &options, &both_events, &both, &both.stream[i]),
				 0);
	assert_true(tcp_pair_until(&both.opened, 2));
	data_plane_close(&pair->client);
	assert_int_equal(atomic_load(&both.closed), 1);
	mesh_secret_release(pair->client.certificate);
	mesh_secret_release(pair->client.roots);
	assert_int_equal(data_plane_open(&pair->client, 1, NULL), 0); /* for who closes the pair */
}

#define TEST(name)  cmocka_unit_test_setup_teardown(name, tcp_pair_setup, tcp_pair_teardown)
#define PLAIN(name) cmocka_unit_test_setup_teardown(name, tcp_pair_setup_plain, tcp_pair_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_one_closes_the_other),       PLAIN(test_closed_while_it_is_asked),
		TEST(test_closed_by_another_thread),   TEST(test_closed_in_each_callback),
		PLAIN(test_closed_in_each_callback),   TEST(test_server_ends_under_streams),
		PLAIN(test_server_ends_under_streams), TEST(test_mesh_ends_under_streams),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
