/* SPDX-License-Identifier: Apache-2.0 */
/* What a stream keeps to: what was written goes out at its end, time limits and max_connections, policies, TLS. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <mesh/admin.h>
#include <time.h>
#include <unistd.h>

#include "call/listener.h"
#include "support/raw_peer.h"
#include "support/tcp_pair.h"

/* ---- what was written goes out */

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
	options.worker = tcp_pair_worker(pair);
	assert_int_equal(mesh_stream_dial(pair->client.mesh, &options, NULL, NULL, &stream), 0);
	assert_int_equal(mesh_stream_write(stream, mesh_slice_of("only this\r\n")), 11);
	mesh_stream_close(stream);
	tcp_pair_drive(options.worker, &pair->closed, 1);
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
		tcp_pair_nap(10);
	}
	assert_int_equal(rc, MESH_ERROR_DURATION);
	assert_int_equal(mesh_stream_read(stream, &byte, 1), MESH_ERROR_DURATION);
	assert_string_equal(mesh_stream_result(stream)->flag, "DT");
	mesh_stream_close(stream);
}

/* Reads one byte and does not ask for more. */
static void read_once(struct mesh_stream *stream, void *user)
{
	char byte;

	mesh_stream_read(stream, &byte, 1);
}

static _Atomic uint64_t idle_us;

static void idle_closed(struct mesh_stream *stream, void *user)
{
	struct tcp_pair *pair = user;

	pair->result = mesh_stream_result(stream)->status;
	atomic_store(&idle_us, mesh_stream_result(stream)->duration_us);
	mesh_stream_close(stream);
	atomic_fetch_add(&pair->closed, 1);
}

static void idle_handler(struct mesh_stream *stream, void *user)
{
	static const struct mesh_stream_events events = {
		.size = sizeof(events), .readable = read_once, .closed = idle_closed};
	char byte;

	assert_int_equal(mesh_stream_on(stream, &events, user), 0);
	mesh_stream_read(stream, &byte, 1);
}

/* The time runs from the last byte, not from when somebody looked. */
static void test_idle_from_the_last_byte(void **state)
{
	struct tcp_pair *pair = *state;
	struct mesh_stream *stream;

	pair->handler = idle_handler;
	pair->idle_ns = 600 * 1000000;
	data_plane_publish(&pair->server);
	stream = tcp_pair_dial(pair);
	assert_int_equal(mesh_stream_wait(stream, MESH_STREAM_OPENED, 10000), MESH_STREAM_OPENED);
	tcp_pair_nap(100);
	assert_int_equal(tcp_pair_write(stream, "x", 1), 0);
	assert_true(tcp_pair_until(&pair->closed, 1));
	assert_int_equal(pair->result, MESH_ERROR_IDLE_TIMEOUT);
	assert_in_range(atomic_load(&idle_us), 690000, 1100000);
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
	static struct authz_rule nots[5]; /* static: what was in force may still be looked at */
	static struct authz_rule rules[] = {
		{.kind = AUTHZ_HEADER, .header = {.name = {":method", 7}, .kind = HEADER_MATCH_PRESENT}},
		{.kind = AUTHZ_URL_PATH, .string = {.kind = STRING_MATCH_PREFIX, .text = {"/", 1}}},
		{.kind = AUTHZ_METADATA, .metadata_path = &path, .metadata_path_count = 1},
		{.kind = AUTHZ_METADATA, .metadata_path = &path, .metadata_path_count = 1, .metadata_invert = true},
	};

	pair->edit_chain = add_rule;
	for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
		struct authz_rule *both[] = {&rules[i], &nots[i]};

		nots[i] = (struct authz_rule){.kind = AUTHZ_NOT, .items = &rules[i], .count = 1};
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

/* ---- no way around TLS */

static void test_server_without_tls(void **state)
{
	struct tcp_pair *pair = *state;
	struct mesh_stream *stream;

	pair->server.inbound = DATA_PLANE_DISABLE;
	data_plane_publish(&pair->server);
	stream = tcp_pair_dial(pair);
	assert_int_equal(tcp_pair_write(stream, "secret", 6), MESH_ERROR_TLS);
	assert_null(mesh_stream_peer(stream));
	assert_int_equal(mesh_stream_result(stream)->sent_bytes, 0);
	mesh_stream_close(stream);
}

#define TEST(name)  cmocka_unit_test_setup_teardown(name, tcp_pair_setup, tcp_pair_teardown)
#define PLAIN(name) cmocka_unit_test_setup_teardown(name, tcp_pair_setup_plain, tcp_pair_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_closed_while_it_opens),
		PLAIN(test_closed_while_it_opens),
		TEST(test_end_finds_no_room),
		PLAIN(test_duration_without_a_clock),
		PLAIN(test_idle_from_the_last_byte),
		PLAIN(test_max_connections),
		TEST(test_rules_about_requests),
		TEST(test_server_without_tls),
		PLAIN(test_admin_without_a_control_plane),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
