/* SPDX-License-Identifier: Apache-2.0 */
/* How a listener ends: from a callback of its worker, after its worker, while draining; and what outlives a policy. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include <mesh/mesh.h>

#include "call/listener.h"
#include "support/data_plane.h"
#include "support/raw_peer.h"

#define GET "GET / HTTP/1.1\r\nHost: reviews\r\n\r\n"

enum { ROUNDS_MAX = 1000 }; /* of 10 ms: a failure, not a measure */

struct life {
	struct data_plane plane;
	struct mesh_listener *listener;
	struct mesh_worker *worker;
	struct mesh_call *kept;
	uint16_t port;
	atomic_uint calls;
	bool closes, keeps;
};

static struct mesh_slice text(const char *s)
{
	return mesh_slice_of(s);
}

static void handler(struct mesh_call *call, void *user)
{
	struct life *life = user;

	if (life->keeps)
		life->kept = mesh_call_retain(call);
	else
		mesh_call_respond(call, 200, NULL, 0, text("here"), true);
	if (life->closes) {
		mesh_listener_close(life->listener);
		life->listener = NULL;
		life->closes = false;
	}
	atomic_fetch_add(&life->calls, 1);
}

static int open_life(void **state)
{
	struct life *life = calloc(1, sizeof(*life));

	assert_non_null(life);
	assert_int_equal(data_plane_open(&life->plane, 1, NULL), 0);
	*state = life;
	return 0;
}

static int close_life(void **state)
{
	struct life *life = *state;

	data_plane_close(&life->plane);
	free(life);
	return 0;
}

static void serve(struct life *life, bool borrowed, uint32_t grace_ms)
{
	struct mesh_listen_options options = {.size = sizeof(options), .handler = handler, .user = life, .address = "127.0.0.1",
					      .grace_ms = grace_ms};

	if (borrowed)
		assert_int_equal(mesh_worker_new(life->plane.mesh, &life->worker), 0);
	options.worker = life->worker;
	assert_int_equal(mesh_listen(life->plane.mesh, &options, &life->listener), 0);
	life->port = mesh_listener_port(life->listener);
	life->plane.ports[life->plane.port_count++] = life->port;
	data_plane_publish(&life->plane);
}

static bool connects(uint16_t port)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), rc;

	assert_true(fd >= 0);
	rc = connect(fd, (struct sockaddr *)&at, sizeof(at));
	if (rc)
		assert_int_equal(errno, ECONNREFUSED);
	close(fd);
	return !rc;
}

static unsigned listeners(struct life *life)
{
	struct mesh *mesh = life->plane.mesh;
	unsigned count = 0;

	pthread_mutex_lock(&mesh->shared.lock);
	MESH_LIST_EACH(at, &mesh->shared.listeners)
		count++;
	pthread_mutex_unlock(&mesh->shared.lock);
	return count;
}

/* Until `calls` requests came and `left` listeners are there. */
static void drive(struct life *life, unsigned calls, unsigned left)
{
	for (unsigned i = 0; i < ROUNDS_MAX && (atomic_load(&life->calls) < calls || listeners(life) > left); i++)
		assert_true(mesh_worker_run(life->worker, 10) >= 0);
	assert_int_equal(atomic_load(&life->calls), calls);
	assert_int_equal(listeners(life), left);
}

/* Returns at once; the answer given still arrives, and the worker goes on. */
static void test_closed_in_a_callback(void **state)
{
	struct life *life = *state;
	char got[4096] = "";
	int fd;

	serve(life, true, 60000);
	life->closes = true;
	fd = raw_connect(life->port);
	assert_true(raw_say(fd, GET));
	drive(life, 1, 1);
	assert_false(connects(life->port));
	assert_true(raw_response(fd, got, sizeof(got)));
	close(fd);
	drive(life, 1, 0); /* no grace time needed: nothing is left on it */
	serve(life, false, 0);
	mesh_worker_free(life->worker);
}

/* What is not answered in the grace time is cut off, and then the listener goes. */
static void test_grace_of_a_borrowed_worker(void **state)
{
	struct life *life = *state;
	int fd;

	serve(life, true, 1);
	life->keeps = true;
	fd = raw_connect(life->port);
	assert_true(raw_say(fd, GET));
	drive(life, 1, 1);
	mesh_listener_close(life->listener);
	assert_false(connects(life->port));
	drive(life, 1, 0);
	assert_true(raw_closed(fd));
	close(fd);
	mesh_call_release(life->kept);
	mesh_worker_free(life->worker);
}

/* The last round of its worker ends a closed listener. */
static void test_closed_and_not_driven(void **state)
{
	struct life *life = *state;
	char got[4096] = "";
	int fd;

	serve(life, true, 60000);
	fd = raw_connect(life->port);
	assert_true(raw_say(fd, GET));
	drive(life, 1, 1);
	mesh_listener_close(life->listener);
	assert_int_equal(listeners(life), 1);
	mesh_worker_free(life->worker);
	assert_int_equal(listeners(life), 0);
	raw_rest(fd, got, sizeof(got)); /* the answer, and its end */
	assert_non_null(strstr(got, "HTTP/1.1 200"));
	close(fd);
}

static void test_worker_freed_first(void **state)
{
	struct life *life = *state;
	int fd;

	serve(life, true, 60000);
	fd = raw_connect(life->port);
	assert_true(raw_say(fd, GET));
	drive(life, 1, 1);
	mesh_worker_free(life->worker);
	assert_false(connects(life->port));
	close(fd);
	mesh_listener_close(life->listener);
	assert_int_equal(listeners(life), 0);
}

/* mesh_close finds it, after mesh_drain did. */
static void test_worker_freed_and_mesh_closed(void **state)
{
	struct life *life = *state;

	serve(life, true, 60000);
	mesh_worker_free(life->worker);
	assert_int_equal(mesh_drain(life->plane.mesh, 0), 0);
	assert_int_equal(listeners(life), 1);
}

/* Closed in vain: its worker was neither driven nor freed before mesh_close. */
static void test_worker_left_to_the_mesh(void **state)
{
	struct life *life = *state;

	serve(life, true, 60000);
	mesh_listener_close(life->listener);
	assert_false(connects(life->port));
}

static void test_drain_refuses(void **state)
{
	struct life *life = *state;

	serve(life, false, 0);
	assert_true(connects(life->port));
	assert_int_equal(mesh_drain(life->plane.mesh, 0), 0);
	assert_false(connects(life->port));
	assert_int_equal(mesh_listener_port(life->listener), life->port);
}

static void test_drain_refuses_on_a_borrowed_worker(void **state)
{
	struct life *life = *state;

	serve(life, true, 0);
	assert_int_equal(mesh_drain(life->plane.mesh, 0), 0);
	assert_true(mesh_worker_run(life->worker, 0) >= 0);
	assert_false(connects(life->port));
	mesh_listener_close(life->listener);
	drive(life, 0, 0);
	mesh_worker_free(life->worker);
}

/* PERMISSIVE turns STRICT: a quiet plaintext connection ends without being asked anything. */
static void test_strict_ends_quiet_plaintext(void **state)
{
	struct life *life = *state;
	char got[4096] = "";
	int fd;

	life->plane.inbound = DATA_PLANE_PERMISSIVE;
	serve(life, false, 0);
	fd = raw_connect(life->port);
	assert_true(raw_say(fd, GET));
	assert_true(raw_response(fd, got, sizeof(got)));
	data_plane_publish(&life->plane); /* nothing that concerns it */
	got[0] = '\0';
	assert_true(raw_say(fd, GET));
	assert_true(raw_response(fd, got, sizeof(got)));
	assert_null(strcasestr(got, "connection: close"));
	life->plane.inbound = DATA_PLANE_STRICT;
	data_plane_publish(&life->plane);
	assert_true(raw_closed(fd));
	close(fd);
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, open_life, close_life)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_closed_in_a_callback),
		CASE(test_grace_of_a_borrowed_worker),
		CASE(test_closed_and_not_driven),
		CASE(test_worker_freed_first),
		CASE(test_worker_freed_and_mesh_closed),
		CASE(test_worker_left_to_the_mesh),
		CASE(test_drain_refuses),
		CASE(test_drain_refuses_on_a_borrowed_worker),
		CASE(test_strict_ends_quiet_plaintext),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
