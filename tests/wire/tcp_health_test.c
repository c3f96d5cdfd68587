/* SPDX-License-Identifier: Apache-2.0 */
/* Streams of bytes and their endpoints' health: what cannot be connected to is ejected, what fails ends its streams. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sys/socket.h>
#include <unistd.h>

#include "support/raw_peer.h"
#include "support/tcp_pair.h"

enum { MS = 1000000 };

static uint16_t dead_port(void)
{
	uint16_t port;

	close(raw_listen(&port));
	return port;
}

static void detect(struct tcp_pair *pair, struct cluster_config *cluster)
{
	cluster->panic_percent = 0;
	cluster->outlier = (struct outlier_config){
		.on = true,
		.consecutive_5xx = 3,
		.enforcing_5xx = 100,
		.interval_ns = 600000000000,
		.base_ejection_ns = 600000000000,
		.max_ejection_ns = 600000000000,
		.max_ejection_percent = 100,
	};
}

/* An opened stream is a good answer, one that is refused a bad one. */
static void test_refused(void **state)
{
	struct tcp_pair *pair = *state;
	int refused = 0;

	pair->edit_cluster = detect;
	pair->attempts = 1;
	pair->client.ports[pair->client.port_count++] = dead_port();
	tcp_pair_publish(pair);
	for (int i = 0; i < 12; i++) {
		struct mesh_stream *stream = tcp_pair_dial(pair);

		refused += mesh_stream_wait(stream, MESH_STREAM_OPENED, 10000) < 0;
		mesh_stream_close(stream);
	}
	assert_int_equal(refused, 3);
}

static uint16_t checked_port;

static void check(struct tcp_pair *pair, struct cluster_config *cluster)
{
	struct health_check_config *config = mesh_arena_array(&cluster->object.arena, 1, sizeof(*config));

	cluster->panic_percent = 0;
	cluster->close_on_health_failure = true;
	cluster->health_check = config;
	*config = (struct health_check_config){
		.kind = HEALTH_CHECK_TCP, .timeout_ns = 1000 * MS, .interval_ns = 20 * MS, .no_traffic_ns = 20 * MS,
		.no_traffic_healthy_ns = 20 * MS, .unhealthy_ns = 20 * MS, .unhealthy_edge_ns = 20 * MS,
		.healthy_edge_ns = 20 * MS, .unhealthy_threshold = 1, .healthy_threshold = 1, .alt_port = checked_port,
	};
}

/* 0, or how opening failed. */
static int dial(struct tcp_pair *pair, struct mesh_stream **stream)
{
	int rc;

	*stream = tcp_pair_dial(pair);
	rc = mesh_stream_wait(*stream, MESH_STREAM_OPENED, 10000);
	return rc < 0 ? rc : 0;
}

static void test_streams_end(void **state)
{
	struct tcp_pair *pair = *state;
	struct mesh_stream *stream, *other;
	int rc = MESH_ERROR_NO_ENDPOINT, fd = raw_listen(&checked_port);
	char byte;
	size_t got;

	pair->edit_cluster = check;
	tcp_pair_publish(pair);
	for (int i = 0; i < 500 && rc; i++) { /* the first check is to come */
		rc = dial(pair, &stream);
		if (rc)
			mesh_stream_close(stream);
		tcp_pair_nap(rc ? 10 : 0);
	}
	assert_int_equal(rc, 0);
	assert_int_equal(tcp_pair_write(stream, "a", 1), 0);
	assert_int_equal(tcp_pair_read(stream, &byte, 1, &got), 0);
	close(fd);
	for (int i = 0; i < 500 && !rc; i++) {
		rc = dial(pair, &other);
		mesh_stream_close(other);
		tcp_pair_nap(10);
	}
	assert_int_equal(rc, MESH_ERROR_NO_ENDPOINT);
	assert_int_equal(tcp_pair_read(stream, &byte, 1, &got), MESH_ERROR_RESET);
	mesh_stream_close(stream);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_refused, tcp_pair_setup_plain, tcp_pair_teardown),
		cmocka_unit_test_setup_teardown(test_streams_end, tcp_pair_setup_plain, tcp_pair_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
