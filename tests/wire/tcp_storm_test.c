/* SPDX-License-Identifier: Apache-2.0 */
/* Many streams on all kinds of workers, ended by whoever comes first while configuration changes: nothing is left over. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <dirent.h>
#include <time.h>

#include "call/listener.h"
#include "support/tcp_pair.h"

enum { AT_ONCE = 8 };

static unsigned open_descriptors(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned count = 0;

	while (readdir(dir))
		count++;
	closedir(dir);
	return count;
}

/* By a stream's number, so that each of them does something else, and the same each time. */
struct storm {
	struct mesh_stream *stream;
	unsigned number;
	bool own; /* closes itself */
	size_t read;
};

static atomic_uint numbers;
static atomic_int told;
static char bulk[100000];

static void storm_read(struct mesh_stream *stream, void *user)
{
	static const size_t enough[] = {0, 10, 5000, 90000};
	struct storm *storm = user;
	static _Thread_local char in[20000];
	int64_t n;

	while ((n = mesh_stream_read(stream, in, sizeof(in))) > 0)
		storm->read += (size_t)n;
	if (!storm->own)
		return;
	if (n == 0 || storm->read >= enough[storm->number % 4]) {
		mesh_stream_close(stream);
		free(storm);
	}
}

static void storm_write(struct mesh_stream *stream, void *user)
{
	struct storm *storm = user;
	int64_t n = mesh_stream_write(stream, (struct mesh_slice){bulk, storm->number % 3 ? 200 : sizeof(bulk)});

	if (n >= 0 && storm->number % 5 == 0)
		mesh_stream_shutdown(stream);
}

static void storm_closed(struct mesh_stream *stream, void *user)
{
	struct storm *storm = user;

	if (storm->own) {
		mesh_stream_close(stream);
		free(storm);
	} else {
		atomic_fetch_add(&told, 1);
	}
}

static const struct mesh_stream_events events = {.size = sizeof(events),
						 .opened = storm_write,
						 .readable = storm_read,
						 .writable = storm_write,
						 .closed = storm_closed};

static void storm_handler(struct mesh_stream *stream, void *user)
{
	struct storm *storm = calloc(1, sizeof(*storm));

	storm->own = true;
	storm->number = atomic_fetch_add(&numbers, 1);
	if (storm->number % 11 == 0) {
		mesh_stream_close(stream);
		free(storm);
		return;
	}
	assert_int_equal(mesh_stream_on(stream, &events, storm), 0);
	storm_write(stream, storm);
}

static void until_none(atomic_uint *counter)
{
	for (int i = 0; i < 6000 && atomic_load(counter); i++)
		nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
	assert_int_equal(atomic_load(counter), 0);
}

/* On library workers, closed from here: each is told once that it is closed, whichever came first. */
static void library_round(struct tcp_pair *pair, unsigned round)
{
	struct mesh_stream_options options = {.size = sizeof(options), .target = mesh_slice_of("reviews:9080")};
	struct storm storms[AT_ONCE];

	memset(storms, 0, sizeof(storms));
	atomic_store(&told, 0);
	for (unsigned i = 0; i < AT_ONCE; i++) {
		storms[i].number = round * 7 + i;
		assert_int_equal(mesh_worker_library(pair->client.mesh, &options.worker), 0);
		assert_int_equal(mesh_stream_dial(pair->client.mesh, &options, &events, &storms[i], &storms[i].stream),
				 0);
	}
	nanosleep(&(struct timespec){.tv_nsec = (long)(round % 5) * 1000000}, NULL);
	if (round % 10 == 0)
		tcp_pair_publish(pair);
	for (unsigned i = 0; i < AT_ONCE; i++)
		mesh_stream_close(storms[i].stream);
	assert_true(tcp_pair_until(&told, AT_ONCE)); /* from here on nobody uses what lies on this stack */
	until_none(&pair->client.mesh->running);
	assert_int_equal(atomic_load(&told), AT_ONCE);
}

/* On a borrowed worker, which may end under them. */
static void borrowed_round(struct tcp_pair *pair, unsigned round)
{
	struct mesh_stream_options options = {.size = sizeof(options), .target = mesh_slice_of("reviews:9080")};

	assert_int_equal(mesh_worker_new(pair->client.mesh, &options.worker), 0);
	for (unsigned i = 0; i < AT_ONCE; i++) {
		struct storm *storm = calloc(1, sizeof(*storm));

		storm->own = true;
		storm->number = round * 3 + i;
		assert_int_equal(mesh_stream_dial(pair->client.mesh, &options, &events, storm, &storm->stream), 0);
	}
	for (unsigned i = 0; i < round % 40; i++)
		mesh_worker_run(options.worker, 1);
	mesh_worker_free(options.worker);
	assert_int_equal(atomic_load(&pair->client.mesh->running), 0);
}

static void storm(bool plaintext)
{
	struct tcp_pair *pair = calloc(1, sizeof(*pair));
	struct cluster_shared *shared;
	unsigned descriptors, rounds = getenv("MESH_TEST_LONG") ? 1000 : 60;

	tcp_pair_open(pair, NULL);
	pair->plaintext = plaintext;
	pair->exchange = true;
	pair->handler = storm_handler;
	tcp_pair_publish(pair);
	library_round(pair, 0);
	until_none(&pair->server.mesh->inbound);
	descriptors = open_descriptors();
	for (unsigned round = 1; round < rounds; round++) {
		library_round(pair, round);
		borrowed_round(pair, round);
	}
	until_none(&pair->server.mesh->running);
	until_none(&pair->server.mesh->inbound);
	shared = mesh_cluster_shared_get(&pair->client.mesh->registry, mesh_slice_of("outbound|9080||reviews"));
	assert_int_equal(atomic_load(&shared->breaker.connections), 0);
	mesh_cluster_shared_release(shared);
	assert_int_equal(open_descriptors(), descriptors);
	tcp_pair_close(pair);
	free(pair);
}

static void test_storm(void **state)
{
	storm(false);
}

static void test_storm_plaintext(void **state)
{
	storm(true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_storm),
		cmocka_unit_test(test_storm_plaintext),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
