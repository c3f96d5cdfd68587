/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A listener under clients that do whatever they like with their streams and connections, answered from another thread, and
 * closed in the middle of it: every call ends once, and nothing is left.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/rand.h"
#include "support/raw_peer.h"
#include "support/served.h"

enum { CLIENTS = 3, ROUNDS = 3, STREAMS = 12, HELD_ENOUGH = HELD_MAX - CLIENTS * STREAMS - 1 };

struct storm {
	struct served *served;
	atomic_uint seed;
	atomic_bool closing; /* its clients begin nothing more */
	atomic_bool answered;
};

static bool gone(const struct storm *storm)
{
	return atomic_load(&storm->closing) || atomic_load(&storm->served->held_count) >= HELD_ENOUGH;
}

/* Whatever becomes of it. */
static void talk(struct h2_peer *peer, struct rand *rand)
{
	static const char *const paths[] = {"/hold", "/begun", "/version", "/large", "/paused"};
	uint32_t stream = 1;

	for (unsigned i = 0; i < STREAMS && !peer->ended; i++) {
		switch (mesh_rand_below(rand, 8)) {
		case 0:
			if (stream > 1)
				h2_rst(&peer->out, (uint32_t)mesh_rand_below(rand, stream / 2) * 2 + 1, H2_CANCEL);
			break;
		case 1:
			h2_window_update(&peer->out, 0, 100000);
			break;
		case 2:
			h2_headers(&peer->out, stream, H2_END_HEADERS, ":method: POST\n:scheme: http\n:authority: a\n:path: /hold\n");
			h2_data(&peer->out, stream, mesh_rand_below(rand, 2) ? H2_END_STREAM : 0, "some");
			stream += 2;
			break;
		default:
			h2_get(&peer->out, stream, paths[mesh_rand_below(rand, sizeof(paths) / sizeof(paths[0]))]);
			stream += 2;
			break;
		}
		if (mesh_rand_below(rand, 3) == 0 && !h2_peer_say(peer))
			return;
	}
	if (h2_peer_say(peer) && mesh_rand_below(rand, 2))
		h2_peer_sync(peer);
}

/* -1: nobody listens any more. */
static int try_connect(uint16_t port)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct timeval patience = {.tv_sec = 10};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	if (!connect(fd, (struct sockaddr *)&at, sizeof(at)))
		return fd;
	close(fd);
	return -1;
}

static void *client(void *argument)
{
	struct storm *storm = argument;
	struct rand rand;

	mesh_rand_seed(&rand, atomic_fetch_add(&storm->seed, 1));
	while (!gone(storm)) {
		struct h2_peer peer;
		int fd = try_connect(storm->served->port);

		if (fd < 0)
			break;
		h2_peer_init(&peer, fd);
		h2_preface(&peer.out);
		talk(&peer, &rand);
		close(peer.fd);
		h2_peer_free(&peer);
	}
	return NULL;
}

static void *answer(void *argument)
{
	struct storm *storm = argument;
	struct served *served = storm->served;
	struct rand rand;
	unsigned at = 0;

	mesh_rand_seed(&rand, 77);
	while (!atomic_load(&storm->answered) || at < atomic_load(&served->held_count)) {
		if (at == atomic_load(&served->held_count)) {
			usleep(200);
			continue;
		}
		switch (mesh_rand_below(&rand, 5)) {
		case 0:
			mesh_call_cancel(served->held[at]);
			break;
		case 1: /* its client or the listener's end ends it */
			break;
		case 2:
			mesh_call_resume(served->held[at]);
			/* fall through */
		default:
			mesh_call_respond(served->held[at], 200, NULL, 0, mesh_slice_of("late"), mesh_rand_below(&rand, 2));
			break;
		}
		at++;
	}
	return NULL;
}

static void test_storm(void **state)
{
	struct served *served = *state;
	struct storm storm = {.served = served};
	pthread_t clients[CLIENTS], answers;

	served->grace_ms = 20;
	served_listen(served);
	assert_int_equal(pthread_create(&answers, NULL, answer, &storm), 0);
	for (unsigned round = 0; round < ROUNDS && !gone(&storm); round++) {
		for (unsigned i = 0; i < CLIENTS; i++)
			assert_int_equal(pthread_create(&clients[i], NULL, client, &storm), 0);
		usleep(100 * 1000);
		atomic_store(&storm.closing, true);
		if (round + 1 == ROUNDS)
			usleep(1000);
		else
			mesh_listener_close(served->listener);
		for (unsigned i = 0; i < CLIENTS; i++)
			pthread_join(clients[i], NULL);
		atomic_store(&storm.closing, false);
		if (round + 1 < ROUNDS)
			served_listen(served);
	}
	mesh_listener_close(served->listener);
	served->listener = NULL;
	atomic_store(&storm.answered, true);
	pthread_join(answers, NULL);
	served_await(&served->done, atomic_load(&served->held_count));
	assert_int_equal(atomic_load(&served->done), atomic_load(&served->held_count));
	assert_true(atomic_load(&served->held_count) > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_storm, served_open, served_close),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
