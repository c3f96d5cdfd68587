/* SPDX-License-Identifier: Apache-2.0 */
/* Bodies in pieces on both sides: events, flow control by pause and resume, trailers by number. And clusters as text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <stdatomic.h>
#include <stdio.h>

#include <mesh/admin.h>
#include <mesh/mesh.h>

#include "support/data_plane.h"

enum { PIECE = 65536, PIECES = 512 };

static char piece[PIECE];

/* What the server saw of one request. */
struct served {
	struct mesh_call *_Atomic call; /* retained, while paused */
	atomic_size_t bytes;
	atomic_int ended, done;
	unsigned sent; /* pieces of the answer */
};

static void served_data(struct mesh_call *call, struct mesh_slice data, void *user)
{
	struct served *served = user;

	if (atomic_fetch_add(&served->bytes, data.len) == 0) {
		mesh_call_pause(call);
		atomic_store(&served->call, mesh_call_retain(call));
	}
}

static void served_end(struct mesh_call *call, void *user)
{
	struct served *served = user;
	char answer[32];

	atomic_fetch_add(&served->ended, 1);
	snprintf(answer, sizeof(answer), "%zu", atomic_load(&served->bytes));
	assert_int_equal(mesh_call_respond(call, 200, NULL, 0, mesh_slice_of(answer), true), 0);
}

static void served_done(struct mesh_call *call, void *user)
{
	atomic_fetch_add(&((struct served *)user)->done, 1);
}

static void sink_handler(struct mesh_call *call, void *user)
{
	const struct mesh_call_events events = {.size = sizeof(events), .data = served_data, .end = served_end,
						.done = served_done};

	assert_int_equal(mesh_call_on(call, &events, user), 0);
	assert_int_equal(mesh_call_on(call, &events, user), MESH_ERROR_STATE);
}

/* Sends as long as there is room; the rest in the writable event. */
static void send_more(struct mesh_call *call, void *user)
{
	static const struct mesh_header trailers[] = {{{"x-first", 7}, {"1", 1}}, {{"x-second", 8}, {"2", 1}}};
	struct served *served = user;

	while (served->sent < PIECES) {
		int rc = mesh_call_send(call, (struct mesh_slice){piece, sizeof(piece)}, false);

		if (rc == MESH_ERROR_AGAIN)
			return;
		assert_int_equal(rc, 0);
		served->sent++;
		atomic_fetch_add(&served->bytes, PIECE);
	}
	if (served->sent == PIECES) {
		served->sent++;
		assert_int_equal(mesh_call_send_trailers(call, trailers, 2), 0);
	}
}

static void source_handler(struct mesh_call *call, void *user)
{
	const struct mesh_call_events events = {.size = sizeof(events), .writable = send_more, .done = served_done};

	assert_int_equal(mesh_call_on(call, &events, user), 0);
	assert_int_equal(mesh_call_respond(call, 200, NULL, 0, (struct mesh_slice){NULL, 0}, false), 0);
	send_more(call, user);
}

struct fixture {
	struct data_plane plane;
	struct served served;
};

static int open_plane(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));

	memset(piece, 'p', sizeof(piece));
	assert_int_equal(data_plane_open(&fixture->plane, 1, NULL), 0);
	*state = fixture;
	return 0;
}

static int close_plane(void **state)
{
	struct fixture *fixture = *state;

	data_plane_close(&fixture->plane);
	free(fixture);
	return 0;
}

static void serve(struct fixture *fixture, mesh_handler_fn *handler)
{
	struct mesh_listen_options options = {.size = sizeof(options), .handler = handler, .user = &fixture->served,
					      .address = "127.0.0.1"};
	struct mesh_listener *listener;

	assert_int_equal(mesh_listen(fixture->plane.mesh, &options, &listener), 0);
	fixture->plane.ports[fixture->plane.port_count++] = mesh_listener_port(listener);
	data_plane_publish(&fixture->plane);
}

static void test_server_pauses_a_request(void **state)
{
	struct fixture *fixture = *state;
	struct served *served = &fixture->served;
	struct mesh_request request = {.size = sizeof(request), .authority = mesh_slice_of("reviews:9080"),
				       .method = mesh_slice_of("POST"), .more_body = true};
	struct mesh_call *call, *paused;
	bool stood_still = false;
	int rc;

	serve(fixture, sink_handler);
	assert_int_equal(mesh_call_start(fixture->plane.mesh, &request, NULL, NULL, &call), 0);
	for (int i = 0; i < PIECES; i++) {
		while ((rc = mesh_call_send(call, (struct mesh_slice){piece, sizeof(piece)}, i + 1 == PIECES)) == MESH_ERROR_AGAIN) {
			rc = mesh_call_wait_writable(call, stood_still ? 10000 : 300);
			if (rc != MESH_ERROR_TIMEOUT) {
				assert_int_equal(rc, 0);
				continue;
			}
			/* nobody reads: what the server took is little, and it goes on when it says so */
			assert_false(stood_still);
			stood_still = true;
			assert_in_range(atomic_load(&served->bytes), 1, 1 << 20);
			paused = atomic_exchange(&served->call, NULL);
			assert_non_null(paused);
			mesh_call_resume(paused);
			mesh_call_release(paused);
		}
		assert_int_equal(rc, 0);
	}
	assert_int_equal(mesh_call_wait(call, 20000), 0);
	assert_int_equal(mesh_call_http_status(call), 200);
	assert_true(stood_still);
	assert_int_equal(atomic_load(&served->bytes), PIECE * PIECES);
	assert_int_equal(atomic_load(&served->ended), 1);
	assert_memory_equal(mesh_call_body(call).data, "33554432", 8);
	mesh_call_release(call);
}

/* What the client saw of one answer. */
struct received {
	size_t bytes;
	int ended, done;
};

static void received_data(struct mesh_call *call, struct mesh_slice data, void *user)
{
	struct received *received = user;

	if (!received->bytes)
		mesh_call_pause(call);
	received->bytes += data.len;
}

static void received_end(struct mesh_call *call, void *user)
{
	((struct received *)user)->ended++;
}

static void received_done(struct mesh_call *call, void *user)
{
	struct received *received = user;

	assert_int_equal(received->ended, 1);
	received->done++;
}

static void test_client_pauses_an_answer(void **state)
{
	struct fixture *fixture = *state;
	struct mesh_request request = {.size = sizeof(request), .authority = mesh_slice_of("reviews:9080")};
	const struct mesh_call_events events = {.size = sizeof(events), .data = received_data, .end = received_end,
						.done = received_done};
	struct received received = {0};
	struct mesh_header trailer;
	struct mesh_call *call;

	serve(fixture, source_handler);
	assert_int_equal(mesh_call_start(fixture->plane.mesh, &request, &events, &received, &call), 0);
	assert_int_equal(mesh_call_wait(call, 300), MESH_ERROR_AGAIN);
	assert_in_range(received.bytes, 1, 1 << 20);
	assert_in_range(atomic_load(&fixture->served.bytes), 1, (PIECES - 1) * PIECE); /* the server had to stop, too */
	assert_int_equal(mesh_call_http_status(call), 200);
	mesh_call_resume(call);
	assert_int_equal(mesh_call_wait(call, 20000), 0);
	assert_int_equal(received.bytes, PIECES * PIECE);
	assert_int_equal(received.done, 1);
	assert_int_equal(mesh_call_body(call).len, 0);
	trailer = mesh_call_trailer_at(call, 1);
	assert_int_equal(trailer.name.len, 8);
	assert_memory_equal(trailer.name.data, "x-second", 8);
	assert_memory_equal(trailer.value.data, "2", 1);
	assert_null(mesh_call_trailer_at(call, 2).name.data);
	mesh_call_release(call);
}

static void test_registered_on_a_client(void **state)
{
	struct fixture *fixture = *state;
	struct mesh_request request = {.size = sizeof(request), .authority = mesh_slice_of("reviews:9080")};
	const struct mesh_call_events events = {.size = sizeof(events)};
	struct mesh_call *call;

	serve(fixture, source_handler);
	assert_int_equal(mesh_call_start(fixture->plane.mesh, &request, NULL, NULL, &call), 0);
	assert_int_equal(mesh_call_on(call, &events, NULL), MESH_ERROR_INVALID);
	assert_int_equal(mesh_call_on(NULL, &events, NULL), MESH_ERROR_INVALID);
	mesh_call_release(call);
}

static int append(void *user, struct mesh_slice text)
{
	char *all = user;

	assert_true(strlen(all) + text.len < 65536);
	strncat(all, text.data, text.len);
	return 0;
}

static int refuse(void *user, struct mesh_slice text)
{
	return MESH_ERROR_CANCELLED;
}

static void test_clusters_as_text(void **state)
{
	struct fixture *fixture = *state;
	struct mesh_request request = {.size = sizeof(request), .authority = mesh_slice_of("reviews:9080")};
	char *all = calloc(1, 65536), line[128];
	struct mesh_call *call;

	serve(fixture, source_handler);
	assert_int_equal(mesh_call_start(fixture->plane.mesh, &request, NULL, NULL, &call), 0);
	assert_int_equal(mesh_call_wait(call, 20000), MESH_ERROR_TOO_LARGE); /* 32 MiB, 16 are kept */
	mesh_call_release(call);
	assert_int_equal(mesh_admin_clusters(fixture->plane.mesh, append, all), 0);
	snprintf(line, sizeof(line), "outbound|9080||reviews::127.0.0.1:%u::rq_total::1\n", fixture->plane.ports[0]);
	if (!strstr(all, line))
		fail_msg("no %s in:\n%s", line, all);
	assert_int_equal(mesh_admin_clusters(fixture->plane.mesh, refuse, NULL), MESH_ERROR_CANCELLED);
	assert_int_equal(mesh_admin_clusters(fixture->plane.mesh, NULL, NULL), MESH_ERROR_INVALID);
	free(all);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, open_plane, close_plane)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_server_pauses_a_request),
		CASE(test_client_pauses_an_answer),
		CASE(test_registered_on_a_client),
		CASE(test_clusters_as_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
