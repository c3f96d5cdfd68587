/* SPDX-License-Identifier: Apache-2.0 */
/* How streams end: closed by each other's callbacks, by other threads, while they open, with much under way; and limits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <mesh/admin.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "call/listener.h"
#include "support/raw_peer.h"
#include "support/tcp_pair.h"

static int open_pair(void **state)
{
	struct tcp_pair *pair = calloc(1, sizeof(*pair));

	tcp_pair_open(pair, NULL);
	*state = pair;
	return 0;
}

static int plain_pair(void **state)
{
	struct tcp_pair *pair;

	open_pair(state);
	pair = *state;
	pair->plaintext = true;
	tcp_pair_publish(pair);
	return 0;
}

static int close_pair(void **state)
{
	tcp_pair_close(*state);
	free(*state);
	return 0;
}

static void nap(long ms)
{
	nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
}

static struct mesh_worker *new_worker(struct tcp_pair *pair)
{
	struct mesh_worker *worker;

	assert_int_equal(mesh_worker_new(pair->client.mesh, &worker), 0);
	return worker;
}

static void drive(struct mesh_worker *worker, atomic_int *counter, int value)
{
	for (int i = 0; i < 1000 && atomic_load(counter) < value; i++)
		assert_true(mesh_worker_run(worker, 10) >= 0);
	assert_true(atomic_load(counter) >= value);
}

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

	atomic_fetch_add(&both->closed, 1);
	for (int i = 0; i < 2; i++) {
		mesh_stream_close(both->stream[i]);
		both->stream[i] = NULL;
	}
}

static const struct mesh_stream_events both_events = {
	.size = sizeof(both_events), .opened = both_opened, .closed = both_closed};

static void test_one_closes_the_other(void **state)
{
	struct tcp_pair *pair = *state;
	struct mesh_stream_options options = {.size = sizeof(options), .target = mesh_slice_of("reviews:9080")};
	struct both both;

	memset(&both, 0, sizeof(both));
	options.worker = new_worker(pair);
	for (int i = 0; i < 2; i++)
		assert_int_equal(mesh_stream_dial(pair->client.mesh, &options, &both_events, &both, &both.stream[i]), 0);
	drive(options.worker, &both.opened, 2);
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
	options.worker = new_worker(pair);
	for (int how = 0; how < 3; how++) {
		int64_t n = MESH_ERROR_AGAIN;

		memset(&both, 0, sizeof(both));
		assert_int_equal(mesh_stream_dial(pair->client.mesh, &options, &both_events, &both, &both.stream[0]), 0);
		for (int i = 0; i < 1000 && n == MESH_ERROR_AGAIN && both.stream[0]; i++) {
			n = how == 0   ? mesh_stream_read(both.stream[0], &byte, 1)
			    : how == 1 ? mesh_stream_write(both.stream[0], mesh_slice_of("x"))
				       : mesh_stream_shutdown(both.stream[0]);
			nap(1);
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
		nap(20);
		assert_int_equal(atomic_load(&both->closed), 1);
		free(both);
	}
}

/* ---- what was written goes out */

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

static void sniff(struct tcp_pair *pair, struct listener_config *listener, bool inbound)
{
	static struct mesh_slice nobody = {"nobody.example", 14};

	if (inbound)
		return;
	listener->tls_inspector = true;
	listener->default_chain = &listener->chains[1];
	listener->chains[1] = listener->chains[0];
	listener->chains[0].match.server_names = &nobody;
	listener->chains[0].match.server_name_count = 1;
}

/* Bytes are taken before there is a connection, where they tell which one it shall be. */
static void test_closed_while_it_opens(void **state)
{
	struct tcp_pair *pair = *state;
	struct mesh_stream_options options = {.size = sizeof(options), .target = mesh_slice_of("10.0.0.1:9080")};
	struct mesh_stream *stream;

	pair->handler = take_handler;
	pair->edit_listener = sniff;
	tcp_pair_publish(pair);
	options.worker = new_worker(pair);
	assert_int_equal(mesh_stream_dial(pair->client.mesh, &options, NULL, NULL, &stream), 0);
	assert_int_equal(mesh_stream_write(stream, mesh_slice_of("only this\r\n")), 11);
	mesh_stream_close(stream);
	drive(options.worker, &pair->closed, 1);
	assert_int_equal(atomic_load(&pair->bytes), 11);
	assert_int_equal(pair->result, 0); /* the end, not a connection that was cut */
	/* and one that never opens goes with its worker */
	assert_int_equal(mesh_stream_dial(pair->client.mesh, &options, NULL, NULL, &stream), 0);
	assert_int_equal(mesh_stream_write(stream, mesh_slice_of("never\r\n")), 7);
	mesh_stream_close(stream);
	mesh_worker_free(options.worker);
	assert_int_equal(atomic_load(&pair->client.mesh->running), 0);
}

/* As many whole records as are wanted and have room, one of other length, then the end. */
static struct {
	int records, taken;
	size_t last;
	bool all;
	atomic_int done;
} fill;

static void fill_up(struct mesh_stream *stream, void *user)
{
	static char record[16384];
	const int64_t bytes = sizeof(record);

	fill.taken = 0;
	while (fill.taken < fill.records &&
	       mesh_stream_write(stream, (struct mesh_slice){record, sizeof(record)}) == bytes)
		fill.taken++;
	fill.all = fill.taken == fill.records &&
		   mesh_stream_write(stream, (struct mesh_slice){record, fill.last}) == (int64_t)fill.last;
	mesh_stream_close(stream);
	atomic_store(&fill.done, 1);
}

static int read_late(struct tcp_pair *pair, size_t *total)
{
	struct mesh_stream *stream = tcp_pair_dial(pair);
	static char in[65536];
	size_t got;
	int rc;

	atomic_store(&fill.done, 0);
	*total = 0;
	assert_int_equal(mesh_stream_wait(stream, MESH_STREAM_OPENED, 10000), MESH_STREAM_OPENED);
	assert_true(tcp_pair_until(&fill.done, 1));
	do {
		rc = tcp_pair_read(stream, in, sizeof(in), &got);
		*total += got;
	} while (!rc && got == sizeof(in));
	mesh_stream_close(stream);
	return rc;
}

/* The peer reads late, and what was written left no room for close_notify: looked for is the most that can be written. */
static void test_end_finds_no_room(void **state)
{
	struct tcp_pair *pair = *state;
	size_t total, least = 1, most = 16384;

	pair->handler = fill_up;
	fill.records = 1000000;
	read_late(pair, &total);
	fill.records = fill.taken;
	while (least + 1 < most) {
		int rc;

		fill.last = (least + most) / 2;
		rc = read_late(pair, &total);
		assert_true(total >= (size_t)fill.taken * 16384);
		if (fill.all) {
			assert_int_equal(total, (size_t)fill.records * 16384 + fill.last);
			assert_int_equal(rc, 0);
			least = fill.last;
		} else {
			most = fill.last;
		}
	}
}

/* ---- limits */

/* Nobody drives the worker: it is polled, and tried again. */
static void test_duration_without_a_clock(void **state)
{
	struct tcp_pair *pair = *state;
	struct mesh_stream *stream;
	char byte;
	size_t got;
	int rc = 0;

	pair->duration_ns = 100 * 1000000;
	data_plane_publish(&pair->client);
	stream = tcp_pair_dial(pair);
	assert_int_equal(tcp_pair_write(stream, "x", 1), 0);
	assert_int_equal(tcp_pair_read(stream, &byte, 1, &got), 0);
	for (int i = 0; i < 50 && !rc; i++) {
		int64_t n = mesh_stream_write(stream, mesh_slice_of("x"));

		rc = n < 0 ? (int)n : 0;
		nap(10);
	}
	assert_int_equal(rc, MESH_ERROR_DURATION);
	assert_int_equal(mesh_stream_read(stream, &byte, 1), MESH_ERROR_DURATION);
	assert_string_equal(mesh_stream_result(stream)->flag, "DT");
	mesh_stream_close(stream);
}

/* As Envoy's TCP proxy: what is reached is reached, whichever endpoint it would be. */
static void test_max_connections(void **state)
{
	struct tcp_pair *pair = *state;
	struct mesh_stream *first, *second;
	struct cluster_shared *shared;

	pair->client.ports[1] = pair->client.ports[0];
	pair->client.port_count = 1;
	pair->client.breaker.connections = 1;
	tcp_pair_publish(pair);
	first = tcp_pair_dial(pair);
	assert_int_equal(mesh_stream_wait(first, MESH_STREAM_OPENED, 10000), MESH_STREAM_OPENED);
	pair->client.ports[0] = 1; /* another endpoint, of which there is no connection yet */
	tcp_pair_publish(pair);
	second = tcp_pair_dial(pair);
	assert_int_equal(mesh_stream_wait(second, MESH_STREAM_OPENED, 10000), MESH_ERROR_OVERFLOW);
	assert_string_equal(mesh_stream_result(second)->flag, "UO");
	mesh_stream_close(second);
	mesh_stream_close(first);
	shared = mesh_cluster_shared_get(&pair->client.mesh->registry, mesh_slice_of("outbound|9080||reviews"));
	assert_int_equal(atomic_load(&shared->breaker.connections), 0);
	mesh_cluster_shared_release(shared);
	pair->client.ports[0] = pair->client.ports[1];
	tcp_pair_publish(pair);
	first = tcp_pair_dial(pair); /* what was given back is there again */
	assert_int_equal(mesh_stream_wait(first, MESH_STREAM_OPENED, 10000), MESH_STREAM_OPENED);
	mesh_stream_close(first);
}

/* ---- policies about requests, over a connection */

static struct authz_rule *rule_in_force;
static enum authz_action action_in_force;

static void add_rule(struct tcp_pair *pair, struct chain *chain, struct arena *arena, bool inbound)
{
	struct authz_config *config = mesh_arena_zalloc(arena, sizeof(*config));
	struct authz_rules *rules = mesh_arena_zalloc(arena, sizeof(*rules));
	struct authz_policy *policy = mesh_arena_zalloc(arena, sizeof(*policy));

	if (!inbound)
		return;
	policy->name = mesh_slice_of("ns[default]-policy[http]");
	policy->permissions = rule_in_force;
	policy->permission_count = 1;
	policy->principals = mesh_arena_zalloc(arena, sizeof(*policy->principals)); /* any */
	policy->principal_count = 1;
	rules->action = action_in_force;
	rules->policies = policy;
	rules->count = 1;
	config->rules = rules;
	chain->authz = config;
	chain->authz_count = 1;
}

/*
 * As Istio has them: a rule that needs a request never lets a connection in, and a denying one holds for all it says beside
 * that; negated or not.
 */
static void test_rules_about_requests(void **state)
{
	static struct mesh_slice path = {"x", 1};
	struct tcp_pair *pair = *state;
	struct authz_rule rules[] = {
		{.kind = AUTHZ_HEADER, .header = {.name = {":method", 7}, .kind = HEADER_MATCH_PRESENT}},
		{.kind = AUTHZ_URL_PATH, .string = {.kind = STRING_MATCH_PREFIX, .text = {"/", 1}}},
		{.kind = AUTHZ_URI_TEMPLATE, .string = {.kind = STRING_MATCH_PREFIX, .text = {"/", 1}}},
		{.kind = AUTHZ_METADATA, .metadata_path = &path, .metadata_path_count = 1},
		{.kind = AUTHZ_METADATA, .metadata_path = &path, .metadata_path_count = 1, .metadata_invert = true},
	};

	pair->edit_chain = add_rule;
	for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
		struct authz_rule not = {.kind = AUTHZ_NOT, .items = &rules[i], .count = 1};
		struct authz_rule *both[] = {&rules[i], &not};

		for (int k = 0; k < 4; k++) {
			struct mesh_stream *stream;
			char byte;
			size_t got = 0;
			int rc;

			rule_in_force = both[k % 2];
			action_in_force = k < 2 ? AUTHZ_ALLOW : AUTHZ_DENY;
			tcp_pair_publish(pair);
			stream = tcp_pair_dial(pair);
			rc = tcp_pair_write(stream, "x", 1);
			if (!rc)
				rc = tcp_pair_read(stream, &byte, 1, &got);
			if (!rc && got)
				fail_msg("rule %zu, way %d: let in", i, k);
			mesh_stream_close(stream);
		}
	}
	assert_int_equal(atomic_load(&pair->accepted), 0);
}

/* ---- a mesh of its own */

static int count_bytes(void *user, struct mesh_slice text)
{
	*(size_t *)user += text.len;
	return 0;
}

static void test_admin_without_a_control_plane(void **state)
{
	struct tcp_pair *pair = *state;
	size_t bytes = 0;
	char text[64];

	assert_int_equal(mesh_admin_stats(pair->server.mesh, count_bytes, &bytes), 0);
	assert_true(bytes > 100);
	bytes = 0;
	assert_int_equal(mesh_admin_clusters(pair->client.mesh, count_bytes, &bytes), 0);
	assert_int_equal(mesh_admin_config_dump(pair->server.mesh, count_bytes, &bytes), MESH_ERROR_NOT_READY);
	assert_int_equal(mesh_wait_ready(pair->server.mesh, 0), MESH_ERROR_NOT_READY);
	assert_true(mesh_status_text(pair->server.mesh, text, sizeof(text)) > 0);
}

#define TEST(name)  cmocka_unit_test_setup_teardown(name, open_pair, close_pair)
#define PLAIN(name) cmocka_unit_test_setup_teardown(name, plain_pair, close_pair)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_one_closes_the_other),
		PLAIN(test_closed_while_it_is_asked),
		TEST(test_closed_by_another_thread),
		TEST(test_closed_while_it_opens),
		PLAIN(test_closed_while_it_opens),
		TEST(test_end_finds_no_room),
		PLAIN(test_duration_without_a_clock),
		PLAIN(test_max_connections),
		TEST(test_rules_about_requests),
		PLAIN(test_admin_without_a_control_plane),
	};

	cmocka_set_test_filter(getenv("TF")); /* TEMP */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
