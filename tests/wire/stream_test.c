/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bodies in pieces on both sides: events, flow control by pause and resume, trailers by number, and sent from a thread that
 * is not the call's. And clusters as text.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#include <mesh/admin.h>
#include <mesh/mesh.h>

#include "support/data_plane.h"
#include "support/failing_mem.h"

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

/*
 * Streams from a thread that is not the call's: everything else happens on one library worker, this thread only sends. A
 * byte at position p of the stream belongs to piece p / PIECE, whose number is in it again and again.
 */
struct handed {
	struct failing_mem mem;
	struct data_plane plane;
	struct mesh_worker *worker;
	struct mesh_call *_Atomic served;    /* retained */
	struct mesh_call *_Atomic paused;    /* retained: the one whose data stopped at the first byte */
	atomic_size_t taken;                 /* bytes */
	atomic_int wrong, writable, over;
};

static void handed_data(struct mesh_call *call, struct mesh_slice data, void *user)
{
	struct handed *handed = user;
	size_t at = atomic_fetch_add(&handed->taken, data.len);

	if (!at) {
		mesh_call_pause(call);
		atomic_store(&handed->paused, mesh_call_retain(call));
	}
	for (size_t i = 0; i < data.len; i++, at++)
		if ((unsigned char)data.data[i] != (unsigned char)(at / PIECE >> 8 * (at % 2)))
			atomic_store(&handed->wrong, 1);
}

static void handed_end(struct mesh_call *call, void *user)
{
	if (!mesh_call_http_status(call))
		mesh_call_respond(call, 200, NULL, 0, mesh_slice_of("taken"), true);
}

static void handed_writable(struct mesh_call *call, void *user)
{
	atomic_fetch_add(&((struct handed *)user)->writable, 1);
}

static void handed_over(struct mesh_call *call, void *user)
{
	atomic_fetch_add(&((struct handed *)user)->over, 1);
}

/* The side that only receives, and the one that is sent on from here. */
static const struct mesh_call_events handed_sink = {.size = sizeof(handed_sink), .data = handed_data,
						    .end = handed_end};
static const struct mesh_call_events handed_source = {.size = sizeof(handed_source), .writable = handed_writable,
						      .done = handed_over};

static void handed_sink_handler(struct mesh_call *call, void *user)
{
	assert_int_equal(mesh_call_on(call, &handed_sink, user), 0);
}

static void handed_source_handler(struct mesh_call *call, void *user)
{
	struct handed *handed = user;

	assert_int_equal(mesh_call_on(call, &handed_source, user), 0);
	atomic_store(&handed->served, mesh_call_retain(call));
}

static struct mesh_call *handed_open(struct handed *handed, mesh_handler_fn *handler, bool body)
{
	struct mesh_listen_options options = {.size = sizeof(options), .handler = handler, .user = handed,
					      .address = "127.0.0.1", .grace_ms = 20};
	struct mesh_request request = {.size = sizeof(request), .authority = mesh_slice_of("reviews:9080"),
				       .method = mesh_slice_of(body ? "POST" : "GET"), .more_body = body};
	struct mesh_listener *listener;
	struct mesh_call *call;

	memset(handed, 0, sizeof(*handed));
	failing_mem_init(&handed->mem, 0);
	assert_int_equal(data_plane_open(&handed->plane, 1, &handed->mem.mem), 0);
	assert_int_equal(mesh_listen(handed->plane.mesh, &options, &listener), 0);
	handed->plane.ports[handed->plane.port_count++] = mesh_listener_port(listener);
	data_plane_publish(&handed->plane);
	assert_int_equal(mesh_worker_library(handed->plane.mesh, &handed->worker), 0);
	request.worker = handed->worker;
	assert_int_equal(mesh_call_start(handed->plane.mesh, &request, body ? &handed_source : &handed_sink, handed,
					 &call), 0);
	return call;
}

static void eventually(atomic_int *value, int wanted)
{
	for (int i = 0; i < 10000 && atomic_load(value) < wanted; i++)
		usleep(1000);
	assert_int_equal(atomic_load(value), wanted);
}

static struct mesh_call *handed_served(struct handed *handed)
{
	for (int i = 0; i < 10000 && !atomic_load(&handed->served); i++)
		usleep(1000);
	assert_non_null(atomic_load(&handed->served));
	return atomic_exchange(&handed->served, NULL);
}

static void handed_close(struct handed *handed)
{
	mesh_call_release(atomic_exchange(&handed->paused, NULL));
	assert_int_equal(handed->wrong, 0);
	data_plane_close(&handed->plane);
	assert_int_equal(atomic_load(&handed->mem.blocks), 0);
}

static int send_piece(struct mesh_call *call, unsigned number, bool end)
{
	for (size_t i = 0; i < PIECE; i++)
		piece[i] = (char)(number >> 8 * (i % 2));
	return mesh_call_send(call, (struct mesh_slice){piece, PIECE}, end);
}

/* Sends from piece `number` on until nobody takes any more; what then waits is little. */
static unsigned send_until_full(struct handed *handed, struct mesh_call *call, unsigned number)
{
	size_t before = atomic_load(&handed->mem.bytes);
	int rc = 0;

	while (number < PIECES && !rc) {
		rc = send_piece(call, number, number + 1 == PIECES);
		number += !rc;
		if (rc == MESH_ERROR_AGAIN)
			rc = mesh_call_wait_writable(call, 300);
		assert_in_range(atomic_load(&handed->mem.bytes), 1, before + (2 << 20));
	}
	assert_int_equal(rc, MESH_ERROR_TIMEOUT);
	assert_in_range(number, 1, PIECES - 1);
	return number;
}

/* The rest, once the reader goes on. */
static void send_rest(struct handed *handed, struct mesh_call *call, unsigned number)
{
	struct mesh_call *paused = atomic_exchange(&handed->paused, NULL);

	assert_non_null(paused);
	mesh_call_resume(paused);
	mesh_call_release(paused);
	while (number < PIECES) {
		int rc = send_piece(call, number, number + 1 == PIECES);

		number += !rc;
		if (rc == MESH_ERROR_AGAIN)
			rc = mesh_call_wait_writable(call, 10000);
		assert_int_equal(rc, 0);
	}
}

static void test_answer_from_another_thread(void **state)
{
	static struct handed handed;
	struct mesh_call *call = handed_open(&handed, handed_source_handler, false), *served = handed_served(&handed);

	assert_int_equal(mesh_call_respond(served, 200, NULL, 0, (struct mesh_slice){NULL, 0}, false), 0);
	send_rest(&handed, served, send_until_full(&handed, served, 0));
	mesh_call_release(served); /* what it left behind goes out all the same */
	assert_int_equal(mesh_call_wait(call, 20000), 0);
	assert_int_equal(atomic_load(&handed.taken), PIECE * PIECES);
	assert_true(atomic_load(&handed.writable) > 0);
	mesh_call_release(call);
	handed_close(&handed);
}

static void test_request_from_another_thread(void **state)
{
	static struct handed handed;
	struct mesh_call *call = handed_open(&handed, handed_sink_handler, true);

	send_rest(&handed, call, send_until_full(&handed, call, 0));
	assert_int_equal(mesh_call_wait(call, 20000), 0);
	assert_int_equal(mesh_call_http_status(call), 200);
	assert_int_equal(atomic_load(&handed.taken), PIECE * PIECES);
	assert_true(atomic_load(&handed.writable) > 0);
	mesh_call_release(call);
	handed_close(&handed);
}

static void test_cancelled_while_full(void **state)
{
	static struct handed handed;

	for (int server = 0; server < 2; server++) {
		struct mesh_call *call = handed_open(&handed, server ? handed_source_handler : handed_sink_handler, !server);
		struct mesh_call *sender = server ? handed_served(&handed) : mesh_call_retain(call);

		if (server)
			assert_int_equal(mesh_call_respond(sender, 200, NULL, 0, (struct mesh_slice){NULL, 0}, false), 0);
		send_until_full(&handed, sender, 0);
		mesh_call_cancel(sender);
		assert_int_equal(mesh_call_wait(sender, 20000), MESH_ERROR_CANCELLED);
		assert_int_equal(send_piece(sender, 0, false), MESH_ERROR_CANCELLED);
		assert_int_equal(mesh_call_wait_writable(sender, 10000), MESH_ERROR_CANCELLED);
		mesh_call_release(sender);
		mesh_call_release(call);
		handed_close(&handed);
	}
}

/* A client's call nobody holds any more is given up at once, not when its queue was sent. */
static void test_released_while_full(void **state)
{
	static struct handed handed;
	struct mesh_call *call = handed_open(&handed, handed_sink_handler, true);

	send_until_full(&handed, call, 0);
	mesh_call_release(call);
	eventually(&handed.over, 1);
	handed_close(&handed);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, open_plane, close_plane)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_server_pauses_a_request),
		CASE(test_client_pauses_an_answer),
		CASE(test_registered_on_a_client),
		CASE(test_clusters_as_text),
		cmocka_unit_test(test_answer_from_another_thread),
		cmocka_unit_test(test_request_from_another_thread),
		cmocka_unit_test(test_cancelled_while_full),
		cmocka_unit_test(test_released_while_full),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
