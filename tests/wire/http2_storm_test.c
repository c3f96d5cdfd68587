/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client under a server that does whatever it likes with streams and connections, while calls are given up and settings
 * change: every call ends once, and nothing stays counted. What happens is drawn from a seed, which a failure names.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <stdio.h>
#include <unistd.h>

#include "base/rand.h"
#include "loop/loop.h"
#include "support/h2_scene.h"

enum { MS = 1000000, ROUNDS = 600, CALLS = 24, CONNECTIONS = 4096 };

struct storm {
	struct rand rand;
	struct mesh_call *calls[CALLS];
	bool over[CALLS];
	unsigned started, ended;
};

static pthread_t threads[CONNECTIONS];
static unsigned thread_count;

struct one {
	int fd;
	unsigned number;
};

static uint64_t below(struct rand *rand, uint64_t n)
{
	return mesh_rand_below(rand, n);
}

/* False: the connection is cut. */
static bool answer(struct h2_peer *peer, struct rand *rand, uint32_t stream)
{
	char settings[32];

	switch (below(rand, 16)) {
	case 0:
		h2_rst(&peer->out, stream, H2_REFUSED_STREAM);
		return true;
	case 1:
		h2_rst(&peer->out, stream, H2_CANCEL);
		return true;
	case 2:
		h2_goaway(&peer->out, below(rand, 2) ? stream : stream - 1, H2_NO_ERROR);
		return true;
	case 3:
		return below(rand, 4) > 0;
	case 4: /* never */
		return true;
	case 5:
		h2_headers(&peer->out, stream, H2_END_HEADERS, ":status: 200\n");
		return true;
	case 6:
		h2_headers(&peer->out, stream, H2_WHOLE, ":status: 503\n");
		return true;
	case 7: /* a limit on streams */
		snprintf(settings, sizeof(settings), "settings 3=%u;", (unsigned)below(rand, 6));
		h2_say(&peer->out, settings);
		/* fall through */
	default:
		h2_headers(&peer->out, stream, H2_END_HEADERS, ":status: 200\n");
		h2_data(&peer->out, stream, H2_END_STREAM, "answer");
		return true;
	}
}

static void *serve_one(void *argument)
{
	struct one *one = argument;
	struct h2_peer peer;
	struct rand rand;
	bool goes_on;

	mesh_rand_seed(&rand, one->number + 1);
	h2_peer_init(&peer, one->fd);
	goes_on = h2_peer_take_preface(&peer);
	if (goes_on) {
		h2_frame(&peer.out, H2_SETTINGS, 0, 0, NULL, 0);
		h2_settings_ack(&peer.out);
		goes_on = h2_peer_say(&peer);
	}
	while (goes_on && !peer.ended) {
		const char *at = h2_peer_until(&peer, "headers ");
		unsigned stream;

		while (goes_on && (at = strstr(at, "headers ")) && sscanf(at, "headers %u", &stream) == 1) {
			goes_on = answer(&peer, &rand, stream);
			at++;
		}
		mesh_buf_clear(&peer.story);
		h2_peer_say(&peer);
	}
	h2_peer_free(&peer);
	close(one->fd);
	free(one);
	return NULL;
}

static void serve_beside(struct raw_server *server, int fd, unsigned number)
{
	struct one *one = malloc(sizeof(*one));

	*one = (struct one){dup(fd), number};
	if (thread_count == CONNECTIONS || pthread_create(&threads[thread_count], NULL, serve_one, one))
		abort();
	thread_count++;
}

static void on_done(struct mesh_call *call, void *user)
{
	struct storm *storm = user;

	storm->ended++;
	for (unsigned i = 0; i < CALLS; i++)
		if (storm->calls[i] == call) {
			assert_false(storm->over[i]);
			storm->over[i] = true;
			return;
		}
}

static void start(struct h2_scene *scene, struct storm *storm, unsigned i)
{
	const struct mesh_call_events events = {.size = sizeof(events), .done = on_done};
	struct mesh_request request = h2_scene_request(scene, below(&storm->rand, 2) ? "GET" : "POST", "/");

	request.timeout_ms = 1 + (uint32_t)below(&storm->rand, 300);
	if (below(&storm->rand, 3) == 0)
		request.body = mesh_slice_of("a body");
	request.more_body = below(&storm->rand, 4) == 0;
	storm->over[i] = false;
	storm->calls[i] = h2_scene_start(scene, &request, &events, storm);
	storm->started++;
}

static void disturb(struct h2_scene *scene, struct storm *storm)
{
	unsigned i = (unsigned)below(&storm->rand, CALLS);

	if (storm->calls[i] && storm->over[i]) {
		mesh_call_release(storm->calls[i]);
		storm->calls[i] = NULL;
	}
	if (!storm->calls[i]) {
		start(scene, storm, i);
		return;
	}
	switch (below(&storm->rand, 6)) {
	case 0:
		mesh_call_cancel(storm->calls[i]);
		break;
	case 1:
		mesh_call_send(storm->calls[i], mesh_slice_of("more"), below(&storm->rand, 2));
		break;
	case 2:
		mesh_call_pause(storm->calls[i]);
		break;
	case 3:
		mesh_call_resume(storm->calls[i]);
		break;
	default:
		break;
	}
}

static void reconfigure(struct h2_scene *scene, struct storm *storm)
{
	scene->http2.streams_max = (uint32_t)below(&storm->rand, 4);
	scene->requests_max = below(&storm->rand, 2) ? 0 : 1 + below(&storm->rand, 5);
	scene->idle_ns = below(&storm->rand, 2) ? -1 : (int64_t)(1 + below(&storm->rand, 20)) * MS;
	scene->plane.breaker.connections = below(&storm->rand, 2) ? UINT32_MAX : 1 + (uint32_t)below(&storm->rand, 3);
	scene->plane.breaker.pending = below(&storm->rand, 2) ? UINT32_MAX : (uint32_t)below(&storm->rand, 8);
	scene->plane.breaker.requests = below(&storm->rand, 2) ? UINT32_MAX : 1 + (uint32_t)below(&storm->rand, 8);
	scene->plane.port_count = below(&storm->rand, 6) > 0; /* now and then its endpoint leaves */
	data_plane_publish(&scene->plane);
}

static void storm_with(struct h2_scene *scene, struct storm *storm, uint64_t seed)
{
	mesh_rand_seed(&storm->rand, seed);
	for (unsigned round = 0; round < ROUNDS; round++) {
		if (round % 40 == 0)
			reconfigure(scene, storm);
		for (uint64_t n = below(&storm->rand, 6); n; n--)
			disturb(scene, storm);
		assert_true(mesh_worker_run(scene->worker, (int)below(&storm->rand, 3)) >= 0);
	}
	for (unsigned i = 0; i < CALLS; i++) {
		if (!storm->calls[i])
			continue;
		mesh_call_cancel(storm->calls[i]);
		mesh_call_wait(storm->calls[i], 10000);
		mesh_call_release(storm->calls[i]);
		storm->calls[i] = NULL;
	}
	if (storm->ended != storm->started || h2_scene_stat(scene, "upstream_rq_active") ||
	    h2_scene_stat(scene, "upstream_rq_pending_active"))
		fail_msg("seed %llu: %u started, %u ended, %llu active, %llu pending", (unsigned long long)seed, storm->started,
			 storm->ended, (unsigned long long)h2_scene_stat(scene, "upstream_rq_active"),
			 (unsigned long long)h2_scene_stat(scene, "upstream_rq_pending_active"));
}

static void test_storm(void **state)
{
	static struct retry_config retry = {.on = RETRY_5XX | RETRY_REFUSED_STREAM | RETRY_CONNECT_FAILURE, .retries = 2,
					    .backoff_base_ns = MS, .backoff_max_ns = 3 * MS, .host_selection_attempts = 1};
	struct h2_scene *scene = *state;
	struct storm storm = {.started = 0};

	scene->server.serve = serve_beside;
	scene->plane.retry = &retry;
	for (uint64_t seed = 1; seed <= 3; seed++)
		storm_with(scene, &storm, seed);
	assert_true(h2_scene_stat(scene, "upstream_rq_retry") > 0);
	assert_true(h2_scene_stat(scene, "upstream_rq_2xx") > 0);
	h2_scene_end(scene);
	for (unsigned i = 0; i < thread_count; i++)
		pthread_join(threads[i], NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_storm, h2_scene_open, h2_scene_close),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
