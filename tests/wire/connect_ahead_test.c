/* SPDX-License-Identifier: Apache-2.0 */
/* How connections to endpoints are made: how many, from where, with what options, and ahead of need. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "call/worker.h"
#include "cluster/connection.h"
#include "net/socket.h"
#include "support/tried.h"

/* One to each, however many are allowed in all: the others wait. */
static void test_connections_to_one_endpoint(void **state)
{
	struct tried *tried = *state;
	struct mesh_call *calls[6];

	tried->host_connections = 1;
	tried_begin(tried);
	for (int i = 0; i < 6; i++)
		calls[i] = tried_start(tried);
	for (int i = 0; i < 6; i++)
		tried_expect(calls[i], 0, 200, 1, "-");
	tried_counted(tried, "upstream_cx_total", "2");
}

static struct connection *idle_connection(struct tried *tried)
{
	MESH_MAP_EACH(slot, &tried->worker->env.clusters) {
		struct cluster *cluster = slot->value;

		for (size_t i = 0; i < cluster->count; i++)
			if (!mesh_list_empty(&cluster->active[i]->pools[POOL_HTTP1].idle))
				return MESH_CONTAINER(cluster->active[i]->pools[POOL_HTTP1].idle.next,
						      struct connection, link);
	}
	return NULL;
}

static int option(int fd, int level, int name)
{
	int value = -1;
	socklen_t len = sizeof(value);

	assert_int_equal(getsockopt(fd, level, name, &value, &len), 0);
	return value;
}

static void test_keepalive(void **state)
{
	struct tried *tried = *state;

	for (int on = 0; on < 2; on++) {
		struct connection *connection;
		int fd;

		tried->keepalive = on;
		tried_begin(tried);
		tried_expect(tried_start(tried), 0, 200, 1, "-");
		connection = idle_connection(tried);
		assert_non_null(connection);
		fd = connection->dial.transport->fd;
		assert_int_equal(option(fd, SOL_SOCKET, SO_KEEPALIVE), on);
		if (!on)
			continue;
		assert_int_equal(option(fd, IPPROTO_TCP, TCP_KEEPCNT), 3);
		assert_int_equal(option(fd, IPPROTO_TCP, TCP_KEEPIDLE), 77);
		assert_int_equal(option(fd, IPPROTO_TCP, TCP_KEEPINTVL), 11);
	}
}

static void test_connections_come_from_an_address(void **state)
{
	struct tried *tried = *state;
	struct address local;
	char text[MESH_ADDRESS_TEXT_BYTES];

	tried->bound = true;
	tried_begin(tried);
	tried_expect(tried_start(tried), 0, 200, 1, "-");
	assert_non_null(idle_connection(tried));
	assert_int_equal(mesh_socket_local(idle_connection(tried)->dial.transport->fd, &local), 0);
	mesh_address_text(&local, text);
	assert_int_equal(strncmp(text, "127.0.0.9:", 10), 0);
}

static void test_preconnect(void **state)
{
	struct tried *tried = *state;

	tried->plane.port_count = 1;
	tried->servers[0].serve = tried_serve_all;
	tried->preconnect = 3;
	tried_begin(tried);
	tried_expect(tried_start(tried), 0, 200, 1, "-");
	tried_counted(tried, "upstream_cx_total", "3");
	tried_expect(tried_start(tried), 0, 200, 1, "-"); /* two are left, which is what one needs */
	tried_counted(tried, "upstream_cx_total", "3");
	/* at the limit there is none ahead of need, and the call goes on */
	tried->plane.breaker.connections = 1;
	data_plane_publish(&tried->plane);
	tried_expect(tried_start(tried), 0, 200, 1, "-");
}

static void test_preconnect_to_who_comes_next(void **state)
{
	struct tried *tried = *state;

	tried->servers[0].serve = tried->servers[1].serve = tried_serve_all;
	tried->preconnect_ahead = 2;
	tried_begin(tried);
	tried_expect(tried_start(tried), 0, 200, 1, "-");
	tried_counted(tried, "upstream_cx_total", "2");
	for (int i = 0; i < 6; i++)
		tried_expect(tried_start(tried), 0, 200, 1, "-");
	/* it was asked ahead of time, not passed over */
	assert_in_range(atomic_load(&tried->asked[0]), 3, 4);
	assert_in_range(atomic_load(&tried->asked[1]), 3, 4);
}

static void test_warm_connections(void **state)
{
	struct tried *tried = *state;

	tried->servers[0].serve = tried->servers[1].serve = tried_serve_all;
	tried->plane.mesh->warm = 2;
	tried_begin(tried);
	tried_expect(tried_start(tried), 0, 200, 1, "-");
	tried_counted(tried, "upstream_cx_total", "4"); /* to each of both */
	for (int i = 0; i < 4; i++)
		tried_expect(tried_start(tried), 0, 200, 1, "-");
	tried_counted(tried, "upstream_cx_total", "4");
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, tried_open, tried_close)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_connections_to_one_endpoint),      CASE(test_keepalive),
		CASE(test_connections_come_from_an_address), CASE(test_preconnect),
		CASE(test_preconnect_to_who_comes_next),     CASE(test_warm_connections),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
