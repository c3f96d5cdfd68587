/* SPDX-License-Identifier: Apache-2.0 */
/* TCP through the mesh, both sides over real sockets: bytes both ways, who is who, half-close, limits, peers that die. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <poll.h>
#include <stdio.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "call/listener.h"
#include "support/raw_peer.h"
#include "support/tcp_pair.h"

enum { MIB = 1048576 };

static int open_pair(void **state)
{
	struct tcp_pair *pair = calloc(1, sizeof(*pair));

	tcp_pair_open(pair, NULL);
	*state = pair;
	return 0;
}

static int close_pair(void **state)
{
	tcp_pair_close(*state);
	free(*state);
	return 0;
}

static void assert_slice(struct mesh_slice slice, const char *text)
{
	char copy[512];

	snprintf(copy, sizeof(copy), "%.*s", (int)slice.len, slice.data ? slice.data : "");
	assert_string_equal(copy, text);
}

static void assert_echo(struct mesh_stream *stream, const char *text)
{
	char back[256];
	size_t got;

	assert_int_equal(tcp_pair_write(stream, text, strlen(text)), 0);
	assert_int_equal(tcp_pair_read(stream, back, strlen(text), &got), 0);
	assert_int_equal(got, strlen(text));
	assert_memory_equal(back, text, got);
}

static void test_echo_and_identity(void **state)
{
	struct tcp_pair *pair = *state;
	struct mesh_stream *stream = tcp_pair_dial(pair);
	const struct mesh_peer *peer;
	const struct mesh_stream_result *result;
	char back[8];
	size_t got;

	assert_null(mesh_stream_peer(stream));
	assert_int_equal(mesh_stream_wait(stream, MESH_STREAM_OPENED, 10000), MESH_STREAM_OPENED);
	assert_echo(stream, "hello over the mesh");
	peer = mesh_stream_peer(stream);
	assert_slice(peer->identity, TCP_PAIR_SERVER);
	assert_slice(peer->protocol, "tcp");
	assert_true(peer->mutual);
	assert_string_equal(pair->identity, TCP_PAIR_CLIENT);
	assert_true(pair->mutual);
	result = mesh_stream_result(stream);
	assert_int_equal(result->status, 0);
	assert_int_equal(result->attempts, 1);
	assert_slice(result->cluster, "outbound|9080||reviews");
	assert_int_equal(result->sent_bytes, 19);
	assert_int_equal(result->received_bytes, 19);
	/* our end goes over, the peer's comes back */
	assert_int_equal(tcp_pair_shutdown(stream), 0);
	assert_int_equal(mesh_stream_write(stream, mesh_slice_of("more")), MESH_ERROR_STATE);
	assert_int_equal(tcp_pair_read(stream, back, sizeof(back), &got), 0);
	assert_int_equal(got, 0);
	assert_int_equal(mesh_stream_read(stream, back, sizeof(back)), 0);
	mesh_stream_close(stream);
	assert_true(tcp_pair_until(&pair->closed, 1));
	assert_int_equal(pair->result, 0);
}

static void nap(long ms)
{
	nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
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

static void test_plaintext(void **state)
{
	struct tcp_pair *pair = *state;
	struct mesh_stream *stream = tcp_pair_dial(pair);

	assert_echo(stream, "hello in the open");
	assert_false(mesh_stream_peer(stream)->tls);
	assert_null(mesh_stream_peer(stream)->identity.data);
	assert_string_equal(pair->identity, "");
	assert_int_equal(tcp_pair_shutdown(stream), 0);
	assert_true(tcp_pair_until(&pair->closed, 1));
	mesh_stream_close(stream);
}

static void test_server_speaks_first(void **state)
{
	struct tcp_pair *pair = *state;
	struct mesh_stream *stream;
	char back[32];
	size_t got;

	pair->first = "220 ready\r\n";
	stream = tcp_pair_dial(pair);
	assert_int_equal(tcp_pair_read(stream, back, 11, &got), 0);
	assert_memory_equal(back, "220 ready\r\n", 11);
	assert_echo(stream, "QUIT\r\n");
	mesh_stream_close(stream);
	assert_true(tcp_pair_until(&pair->closed, 1));
}

/* ---- much of it */

static long max_rss_kib(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return usage.ru_maxrss;
}

static void test_large_both_ways(void **state)
{
	struct tcp_pair *pair = *state;
	struct mesh_stream *stream = tcp_pair_dial(pair);
	size_t total = (size_t)(getenv("MESH_TEST_LONG") ? 1024 : 64) * MIB, sent = 0, received = 0;
	long before = max_rss_kib();
	char out[65536], in[65536];

	while (received < total) {
		size_t next = total - sent < sizeof(out) ? total - sent : sizeof(out);
		int64_t n = 0;

		for (size_t i = 0; i < next; i++)
			out[i] = (char)((sent + i) * 31 >> 3);
		if (next)
			n = mesh_stream_write(stream, (struct mesh_slice){out, next});
		assert_true(n >= 0 || n == MESH_ERROR_AGAIN);
		sent += n > 0 ? (size_t)n : 0;
		n = mesh_stream_read(stream, in, sizeof(in));
		assert_true(n > 0 || n == MESH_ERROR_AGAIN);
		for (int64_t i = 0; i < n; i += 97)
			assert_int_equal(in[i], (char)((received + (size_t)i) * 31 >> 3));
		received += n > 0 ? (size_t)n : 0;
		if (n < 0)
			assert_true(mesh_stream_wait(stream,
						     MESH_STREAM_READABLE | (sent < total ? MESH_STREAM_WRITABLE : 0),
						     10000) > 0);
	}
	assert_int_equal(mesh_stream_result(stream)->sent_bytes, total);
	assert_int_equal(mesh_stream_result(stream)->received_bytes, total);
	assert_true(max_rss_kib() - before < 64 * 1024);
	assert_int_equal(tcp_pair_shutdown(stream), 0);
	assert_true(tcp_pair_until(&pair->closed, 1));
	assert_int_equal(atomic_load(&pair->bytes), total);
	mesh_stream_close(stream);
}

/* Sends as much as there is room for, and says how much that was. */
static atomic_size_t pushed;

static void push(struct mesh_stream *stream, void *user)
{
	static char data[65536];
	int64_t n;

	while (atomic_load(&pushed) < 32 * MIB &&
	       (n = mesh_stream_write(stream, (struct mesh_slice){data, sizeof(data)})) > 0)
		atomic_fetch_add(&pushed, (size_t)n);
	if (atomic_load(&pushed) >= 32 * MIB && mesh_stream_shutdown(stream) == 0) {
		mesh_stream_close(stream);
		atomic_fetch_add(&((struct tcp_pair *)user)->closed, 1);
	}
}

static void push_closed(struct mesh_stream *stream, void *user)
{
	struct tcp_pair *pair = user;

	pair->result = mesh_stream_result(stream)->status;
	mesh_stream_close(stream);
	atomic_fetch_add(&pair->closed, 1);
}

static void push_handler(struct mesh_stream *stream, void *user)
{
	static const struct mesh_stream_events events = {
		.size = sizeof(events), .writable = push, .closed = push_closed};

	atomic_store(&pushed, 0);
	assert_int_equal(mesh_stream_on(stream, &events, user), 0);
	push(stream, user);
}

static void test_slow_reader_holds_the_writer(void **state)
{
	struct tcp_pair *pair = *state;
	static char in[65536];
	size_t at_rest, got, total = 0;
	struct mesh_stream *stream;

	pair->handler = push_handler;
	stream = tcp_pair_dial(pair);
	assert_int_equal(mesh_stream_wait(stream, MESH_STREAM_OPENED, 10000), MESH_STREAM_OPENED);
	assert_true(tcp_pair_until(&pair->accepted, 1));
	nap(200);
	at_rest = atomic_load(&pushed);
	nap(100);
	assert_int_equal(atomic_load(&pushed), at_rest);
	assert_true(at_rest < 32 * MIB); /* what the sockets hold, and no more */
	do {
		assert_int_equal(tcp_pair_read(stream, in, sizeof(in), &got), 0);
		total += got;
	} while (got == sizeof(in));
	assert_int_equal(total, atomic_load(&pushed));
	assert_true(tcp_pair_until(&pair->closed, 1));
	mesh_stream_close(stream);
}

/* Says nothing before the client ended, then a lot. */
static void answer_late(struct mesh_stream *stream, void *user)
{
	char byte[4096];
	int64_t n;

	while ((n = mesh_stream_read(stream, byte, sizeof(byte))) > 0)
		;
	if (n == 0)
		push(stream, user);
}

static void late_handler(struct mesh_stream *stream, void *user)
{
	static const struct mesh_stream_events events = {
		.size = sizeof(events), .readable = answer_late, .writable = push, .closed = push_closed};

	atomic_store(&pushed, 30 * MIB);
	assert_int_equal(mesh_stream_on(stream, &events, user), 0);
}

static void test_half_close(void **state)
{
	struct tcp_pair *pair = *state;
	static char in[3 * MIB];
	struct mesh_stream *stream;
	size_t got;

	pair->handler = late_handler;
	stream = tcp_pair_dial(pair);
	assert_int_equal(tcp_pair_write(stream, "question", 8), 0);
	assert_int_equal(mesh_stream_read(stream, in, 1), MESH_ERROR_AGAIN);
	assert_int_equal(tcp_pair_shutdown(stream), 0);
	assert_int_equal(tcp_pair_shutdown(stream), 0); /* twice is once */
	assert_int_equal(tcp_pair_read(stream, in, sizeof(in), &got), 0);
	assert_int_equal(got, 2 * MIB);
	assert_true(tcp_pair_until(&pair->closed, 1));
	assert_int_equal(mesh_stream_result(stream)->status, 0);
	mesh_stream_close(stream);
}

/* What was written arrives though it is closed at once, and nothing was ever read. */
static void test_close_delivers(void **state)
{
	struct tcp_pair *pair = *state;
	static char out[MIB];
	struct mesh_stream *stream = tcp_pair_dial(pair);
	int64_t n;

	pair->handler = NULL;
	assert_int_equal(mesh_stream_wait(stream, MESH_STREAM_OPENED, 10000), MESH_STREAM_OPENED);
	n = mesh_stream_write(stream, (struct mesh_slice){out, 10000});
	assert_int_equal(n, 10000);
	mesh_stream_close(stream);
	assert_true(tcp_pair_until(&pair->closed, 1));
	assert_int_equal(atomic_load(&pair->bytes), 10000);
}

/* ---- waiting in other ways */

static void poll_for(struct mesh_stream *stream)
{
	struct pollfd fd = {.fd = mesh_stream_fd(stream), .events = (short)mesh_stream_wants(stream)};

	assert_true(fd.fd >= 0);
	assert_true(fd.events != 0);
	assert_int_equal(poll(&fd, 1, 10000), 1);
}

static void test_poll_and_try_again(void **state)
{
	struct tcp_pair *pair = *state;
	struct mesh_stream *stream = tcp_pair_dial(pair);
	static char out[MIB], in[MIB];
	size_t sent = 0, received = 0;
	int64_t n;

	while (received < sizeof(in)) {
		bool stuck = true;

		if (sent < sizeof(out)) {
			n = mesh_stream_write(stream, (struct mesh_slice){out + sent, sizeof(out) - sent});
			assert_true(n > 0 || n == MESH_ERROR_AGAIN);
			sent += n > 0 ? (size_t)n : 0;
			stuck = n < 0;
		}
		n = mesh_stream_read(stream, in, sizeof(in));
		assert_true(n > 0 || n == MESH_ERROR_AGAIN);
		received += n > 0 ? (size_t)n : 0;
		if (stuck && n < 0)
			poll_for(stream);
	}
	assert_int_equal(sent, sizeof(out));
	mesh_stream_close(stream);
	assert_true(tcp_pair_until(&pair->closed, 1));
}

struct told {
	struct mesh_stream *stream;
	atomic_int opened, whole, closed; /* whole: the echo is there */
	atomic_int status;
	bool close_in_readable;
	char text[64];
	size_t got;
};

static void told_opened(struct mesh_stream *stream, void *user)
{
	struct told *told = user;

	told->stream = stream;
	mesh_stream_write(stream, mesh_slice_of("by events"));
	atomic_fetch_add(&told->opened, 1);
}

static void told_readable(struct mesh_stream *stream, void *user)
{
	struct told *told = user;
	int64_t n;

	assert_int_equal(atomic_load(&told->opened), 1);
	while ((n = mesh_stream_read(stream, told->text + told->got, sizeof(told->text) - 1 - told->got)) > 0)
		told->got += (size_t)n;
	assert_int_equal(mesh_stream_wait(stream, MESH_STREAM_READABLE, 0), MESH_ERROR_THREAD);
	if (told->got == 9 && told->close_in_readable)
		mesh_stream_close(stream);
	atomic_store(&told->whole, told->got == 9);
}

static void told_closed(struct mesh_stream *stream, void *user)
{
	struct told *told = user;

	atomic_store(&told->status, mesh_stream_result(stream)->status);
	atomic_fetch_add(&told->closed, 1);
}

static const struct mesh_stream_events told_events = {
	.size = sizeof(told_events), .opened = told_opened, .readable = told_readable, .closed = told_closed};

static void dial_library(struct tcp_pair *pair, struct told *told, struct mesh_stream **stream)
{
	struct mesh_stream_options options = {.size = sizeof(options), .target = mesh_slice_of("reviews:9080")};

	assert_int_equal(mesh_worker_library(pair->client.mesh, &options.worker), 0);
	assert_int_equal(mesh_stream_dial(pair->client.mesh, &options, &told_events, told, stream), 0);
}

static void test_events_on_a_library_worker(void **state)
{
	struct tcp_pair *pair = *state;
	struct told told = {0};
	struct mesh_stream *stream;

	dial_library(pair, &told, &stream);
	assert_true(tcp_pair_until(&told.opened, 1));
	assert_true(tcp_pair_until(&told.whole, 1));
	assert_int_equal(mesh_stream_wait(stream, MESH_STREAM_READABLE, 0), MESH_ERROR_THREAD);
	assert_int_equal(mesh_stream_read(stream, told.text, 1), MESH_ERROR_THREAD);
	assert_int_equal(mesh_stream_write(stream, mesh_slice_of("x")), MESH_ERROR_THREAD);
	assert_int_equal(mesh_stream_shutdown(stream), MESH_ERROR_THREAD);
	assert_int_equal(mesh_stream_fd(stream), MESH_ERROR_THREAD);
	assert_int_equal(mesh_stream_on(stream, &told_events, &told), MESH_ERROR_THREAD);
	mesh_stream_close(stream); /* from here, though it lives there */
	assert_true(tcp_pair_until(&pair->closed, 1));
	assert_string_equal(told.text, "by events");
	assert_true(tcp_pair_until(&told.closed, 1)); /* the last that is told */
}

static void test_close_inside_a_callback(void **state)
{
	struct tcp_pair *pair = *state;
	struct told told = {.close_in_readable = true};
	struct mesh_stream *stream;

	dial_library(pair, &told, &stream);
	assert_true(tcp_pair_until(&pair->closed, 1));
	assert_true(tcp_pair_until(&told.whole, 1)); /* the callback is done with `told` */
	assert_int_equal(atomic_load(&told.closed), 0);
}

static void test_closed_is_told(void **state)
{
	struct tcp_pair *pair = *state;
	struct told told = {0};
	struct mesh_stream *stream;

	dial_library(pair, &told, &stream);
	assert_true(tcp_pair_until(&told.whole, 1));
	pair->client.ports[0] = 0; /* the listener goes, and with it the connection after its grace */
	mesh_listener_close(pair->listener);
	pair->listener = NULL;
	assert_true(tcp_pair_until(&pair->closed, 1));
	assert_int_equal(pair->result, MESH_ERROR_CLOSED); /* the server's side of it */
	mesh_stream_close(stream);
	assert_true(tcp_pair_until(&told.closed, 1));
}

static void test_borrowed_worker(void **state)
{
	struct tcp_pair *pair = *state;
	struct mesh_stream_options options = {.size = sizeof(options), .target = mesh_slice_of("reviews:9080")};
	struct told told = {0};
	struct mesh_stream *stream;

	assert_int_equal(mesh_worker_new(pair->client.mesh, &options.worker), 0);
	assert_int_equal(mesh_stream_dial(pair->client.mesh, &options, &told_events, &told, &stream), 0);
	assert_int_equal(atomic_load(&told.opened), 0);
	for (int i = 0; i < 1000 && told.got < 9; i++)
		assert_true(mesh_worker_run(options.worker, 10) >= 0);
	assert_string_equal(told.text, "by events");
	mesh_worker_free(options.worker); /* the stream outlives it as a struct */
	assert_int_equal(atomic_load(&told.closed), 1);
	assert_int_equal(atomic_load(&told.status), MESH_ERROR_CANCELLED);
	assert_int_equal(mesh_stream_read(stream, told.text, 1), MESH_ERROR_CANCELLED);
	mesh_stream_close(stream);
	assert_true(tcp_pair_until(&pair->closed, 1));
}

/* ---- limits */

static void test_idle_timeout(void **state)
{
	struct tcp_pair *pair = *state;
	struct mesh_stream *stream;
	char byte;

	pair->idle_ns = 400 * 1000000;
	data_plane_publish(&pair->client); /* of the server an hour: else nobody knows which comes first */
	stream = tcp_pair_dial(pair);
	assert_echo(stream, "moves");
	assert_int_equal(mesh_stream_read(stream, &byte, 1), MESH_ERROR_AGAIN);
	assert_int_equal(mesh_stream_wait(stream, MESH_STREAM_READABLE, 10000), MESH_ERROR_IDLE_TIMEOUT);
	assert_string_equal(mesh_stream_result(stream)->flag, "SI");
	assert_true(mesh_stream_result(stream)->duration_us >= 400000);
	mesh_stream_close(stream);
	assert_true(tcp_pair_until(&pair->closed, 1));
	/* and where nobody drives the clock: when it is next used */
	stream = tcp_pair_dial(pair);
	assert_echo(stream, "moves");
	assert_int_equal(mesh_stream_read(stream, &byte, 1), MESH_ERROR_AGAIN);
	nap(500);
	assert_int_equal(mesh_stream_read(stream, &byte, 1), MESH_ERROR_IDLE_TIMEOUT);
	mesh_stream_close(stream);
}

static void test_longest_duration(void **state)
{
	struct tcp_pair *pair = *state;
	struct mesh_stream *stream;
	const char *flag;
	int rc = 0;

	pair->duration_ns = 200 * 1000000;
	tcp_pair_publish(pair);
	pair->duration_ns = 0;
	data_plane_publish(&pair->server);
	stream = tcp_pair_dial(pair);
	for (int i = 0; i < 100 && !rc; i++) { /* although it moves all the time */
		char byte = 0;
		size_t got;

		rc = tcp_pair_write(stream, "x", 1);
		if (!rc)
			rc = tcp_pair_read(stream, &byte, 1, &got);
		nap(20);
		if (!rc) {
			mesh_stream_read(stream, &byte, 1);
			rc = mesh_stream_wait(stream, MESH_STREAM_READABLE, 1);
			rc = rc == MESH_ERROR_AGAIN ? 0 : rc;
		}
	}
	assert_int_equal(rc, MESH_ERROR_DURATION);
	flag = mesh_stream_result(stream)->flag;
	assert_string_equal(flag, "DT");
	mesh_stream_close(stream);
}

static uint16_t closed_port(void)
{
	uint16_t port;
	int fd = raw_listen(&port);

	close(fd);
	return port;
}

static void test_connect_attempts(void **state)
{
	struct tcp_pair *pair = *state;
	uint16_t good = pair->client.ports[0];
	struct mesh_stream *stream;

	pair->client.ports[0] = closed_port();
	tcp_pair_publish(pair);
	stream = tcp_pair_dial(pair);
	assert_int_equal(mesh_stream_wait(stream, MESH_STREAM_OPENED, 10000), MESH_ERROR_CONNECT);
	assert_int_equal(mesh_stream_result(stream)->attempts, 1);
	assert_string_equal(mesh_stream_result(stream)->flag, "UF");
	assert_non_null(strstr(mesh_stream_result(stream)->why.data, "refused"));
	mesh_stream_close(stream);
	pair->client.ports[1] = good;
	pair->client.port_count = 2;
	pair->attempts = 2;
	tcp_pair_publish(pair);
	for (int i = 0; i < 4; i++) { /* whichever comes first, the other one is tried */
		stream = tcp_pair_dial(pair);
		assert_echo(stream, "found it");
		assert_in_range(mesh_stream_result(stream)->attempts, 1, 2);
		mesh_stream_close(stream);
	}
	pair->client.port_count = 0;
	tcp_pair_publish(pair);
	stream = tcp_pair_dial(pair);
	assert_int_equal(mesh_stream_wait(stream, MESH_STREAM_OPENED, 10000), MESH_ERROR_NO_ENDPOINT);
	assert_string_equal(mesh_stream_result(stream)->flag, "UH");
	mesh_stream_close(stream);
}

static void test_connect_timeout(void **state)
{
	struct tcp_pair *pair = *state;
	struct mesh_stream_options options = {
		.size = sizeof(options), .target = mesh_slice_of("reviews:9080"), .connect_timeout_ms = 100};
	struct mesh_stream *stream;
	uint16_t port;
	int silent = raw_listen(&port); /* takes the connection and says nothing to a TLS hello */

	pair->client.ports[0] = port;
	tcp_pair_publish(pair);
	assert_int_equal(mesh_stream_dial(pair->client.mesh, &options, NULL, NULL, &stream), 0);
	assert_int_equal(mesh_stream_wait(stream, MESH_STREAM_OPENED, 10000), MESH_ERROR_CONNECT_TIMEOUT);
	assert_in_range(mesh_stream_result(stream)->duration_us, 90000, 900000);
	mesh_stream_close(stream);
	close(silent);
}

/* ---- peers that die */

static void reset_at_once(struct raw_server *server, int fd, unsigned number)
{
	char in[64] = "";

	raw_until(fd, in, sizeof(in), "x");
	if (number % 2)
		raw_reset(fd);
	else
		raw_say(fd, "last words");
}

static void test_peer_dies(void **state)
{
	struct tcp_pair *pair = *state;
	struct raw_server server = {.serve = reset_at_once};
	int resets = 0;

	raw_server_start(&server);
	pair->client.ports[0] = server.port;
	tcp_pair_publish(pair);
	for (int i = 0; i < 4; i++) {
		struct mesh_stream *stream = tcp_pair_dial(pair);
		char back[64];
		size_t got;
		int rc;

		if (tcp_pair_write(stream, "x", 1))
			fail_msg("%s", mesh_stream_result(stream)->why.data);
		rc = tcp_pair_read(stream, back, sizeof(back), &got);
		if (rc) {
			assert_int_equal(rc, MESH_ERROR_RESET);
			assert_string_equal(mesh_stream_result(stream)->flag, "UC");
			assert_int_equal(mesh_stream_write(stream, mesh_slice_of("y")), MESH_ERROR_RESET);
			resets++;
		} else {
			assert_int_equal(got, 10);
		}
		mesh_stream_close(stream);
	}
	assert_int_equal(resets, 2);
	raw_server_stop(&server);
}

/* ---- policies */

static enum authz_action rule_action;
static const char *rule_who;
static bool rule_shadow;

static void add_rule(struct tcp_pair *pair, struct chain *chain, struct arena *arena, bool inbound)
{
	struct authz_config *config = mesh_arena_zalloc(arena, sizeof(*config));
	struct authz_rules *rules = mesh_arena_zalloc(arena, sizeof(*rules));
	struct authz_policy *policy = mesh_arena_zalloc(arena, sizeof(*policy));

	if (!inbound)
		return;
	policy->name = mesh_slice_of("ns[default]-policy[tcp]");
	policy->permissions = mesh_arena_zalloc(arena, sizeof(*policy->permissions)); /* any */
	policy->permission_count = 1;
	policy->principals = mesh_arena_zalloc(arena, sizeof(*policy->principals));
	policy->principal_count = 1;
	policy->principals[0].kind = AUTHZ_AUTHENTICATED;
	policy->principals[0].has_string = true;
	policy->principals[0].string.text = mesh_slice_of(rule_who);
	rules->action = rule_action;
	rules->policies = policy;
	rules->count = 1;
	if (rule_shadow)
		config->shadow = rules;
	else
		config->rules = rules;
	chain->authz = config;
	chain->authz_count = 1;
}

static void assert_let_in(struct tcp_pair *pair, enum authz_action action, const char *who, bool let_in)
{
	struct mesh_stream *stream;
	uint64_t denied = atomic_load(&pair->listener->stats.cx_denied);
	char back[4];
	size_t got = 0;
	int rc;

	rule_action = action;
	rule_who = who;
	tcp_pair_publish(pair);
	atomic_store(&pair->accepted, 0);
	atomic_store(&pair->closed, 0);
	stream = tcp_pair_dial(pair);
	rc = tcp_pair_write(stream, "ping", 4);
	if (!rc)
		rc = tcp_pair_read(stream, back, 4, &got);
	assert_int_equal(rc == 0 && got == 4, let_in);
	assert_int_equal(atomic_load(&pair->accepted), let_in);
	assert_int_equal(atomic_load(&pair->listener->stats.cx_denied), denied + !let_in);
	mesh_stream_close(stream);
	if (let_in)
		assert_true(tcp_pair_until(&pair->closed, 1));
}

static void test_network_rbac(void **state)
{
	struct tcp_pair *pair = *state;

	pair->edit_chain = add_rule;
	assert_let_in(pair, AUTHZ_ALLOW, TCP_PAIR_CLIENT, true);
	assert_let_in(pair, AUTHZ_ALLOW, "spiffe://cluster.local/ns/default/sa/mallory", false);
	assert_let_in(pair, AUTHZ_DENY, TCP_PAIR_CLIENT, false);
	assert_let_in(pair, AUTHZ_DENY, "spiffe://cluster.local/ns/default/sa/mallory", true);
	/* a dry run is counted and keeps nobody out */
	rule_shadow = true;
	assert_let_in(pair, AUTHZ_DENY, TCP_PAIR_CLIENT, true);
	rule_shadow = false;
	assert_int_equal(atomic_load(&pair->listener->stats.cx_shadow_denied), 1);
}

/* ---- counts, draining, refusals */

static void assert_counted(const char *text, const char *name, unsigned value)
{
	char line[128];

	snprintf(line, sizeof(line), "cluster.outbound|9080||reviews.%s: %u\n", name, value);
	if (!strstr(text, line))
		fail_msg("no line \"%s\" in:\n%s", line, text);
}

static void test_counts(void **state)
{
	struct tcp_pair *pair = *state;
	struct mesh_stream *stream = tcp_pair_dial(pair);
	struct listener_stats *stats = &pair->listener->stats;
	struct buf text;

	assert_echo(stream, "counted");
	mesh_stream_close(stream);
	assert_true(tcp_pair_until(&pair->closed, 1));
	mesh_buf_init(&text, &mesh_mem_default, 0);
	assert_int_equal(mesh_registry_stats(&pair->client.mesh->registry, &text), 0);
	assert_int_equal(mesh_buf_append(&text, mesh_slice_make("", 1)), 0);
	assert_counted(mesh_buf_slice(&text).data, "upstream_cx_total", 1);
	assert_counted(mesh_buf_slice(&text).data, "upstream_cx_destroy", 1);
	assert_counted(mesh_buf_slice(&text).data, "upstream_cx_rx_bytes_total", 7);
	assert_counted(mesh_buf_slice(&text).data, "upstream_cx_tx_bytes_total", 7);
	mesh_buf_free(&text);
	assert_int_equal(atomic_load(&stats->cx_total), 1);
	assert_int_equal(atomic_load(&stats->tcp_cx_total), 1);
	assert_int_equal(atomic_load(&stats->tcp_rx_bytes), 7);
	assert_int_equal(atomic_load(&stats->tcp_tx_bytes), 7);
}

static void test_drain_waits_for_streams(void **state)
{
	struct tcp_pair *pair = *state;
	struct mesh_stream_options options = {.size = sizeof(options), .target = mesh_slice_of("reviews:9080")};
	struct mesh_stream *stream = tcp_pair_dial(pair), *late;

	assert_echo(stream, "before");
	assert_int_equal(mesh_drain(pair->server.mesh, 50), MESH_ERROR_TIMEOUT);
	assert_echo(stream, "still there"); /* as Envoy lets a TCP connection be until the time is up */
	assert_int_equal(mesh_drain(pair->client.mesh, 50), MESH_ERROR_TIMEOUT);
	assert_int_equal(mesh_stream_dial(pair->client.mesh, &options, NULL, NULL, &late), MESH_ERROR_DRAINING);
	mesh_stream_close(stream);
	assert_true(tcp_pair_until(&pair->closed, 1));
}

static void test_arguments(void **state)
{
	struct tcp_pair *pair = *state;
	static const char *const bad[] = {"",      "reviews",       "reviews:",      "reviews:0",    "reviews:65536",
					  ":9080", "re views:9080", "reviews:9080x", "fd00::1:9080", "[fd00::1]",
					  "[]:1",  "a/b:1"};
	struct mesh_stream_options options = {.size = sizeof(options)};
	struct mesh_stream *stream;
	char byte;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		options.target = mesh_slice_of(bad[i]);
		assert_int_equal(mesh_stream_dial(pair->client.mesh, &options, NULL, NULL, &stream),
				 MESH_ERROR_INVALID);
		assert_null(stream);
	}
	assert_int_equal(mesh_stream_dial(NULL, &options, NULL, NULL, &stream), MESH_ERROR_INVALID);
	assert_int_equal(mesh_stream_read(NULL, &byte, 1), MESH_ERROR_INVALID);
	mesh_stream_close(NULL);
	stream = tcp_pair_dial(pair);
	assert_int_equal(mesh_stream_read(stream, &byte, 0), MESH_ERROR_INVALID);
	assert_int_equal(mesh_stream_write(stream, (struct mesh_slice){NULL, 1}), MESH_ERROR_INVALID);
	assert_int_equal(mesh_stream_wait(stream, 0, 0), MESH_ERROR_INVALID);
	assert_int_equal(mesh_stream_wait(stream, 8, 0), MESH_ERROR_INVALID);
	mesh_stream_close(stream); /* while it opens */
}

#define TEST(name)  cmocka_unit_test_setup_teardown(name, open_pair, close_pair)
#define PLAIN(name) cmocka_unit_test_setup_teardown(name, plain_pair, close_pair)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_echo_and_identity),
		PLAIN(test_plaintext),
		TEST(test_server_speaks_first),
		PLAIN(test_server_speaks_first),
		TEST(test_large_both_ways),
		PLAIN(test_large_both_ways),
		TEST(test_slow_reader_holds_the_writer),
		TEST(test_half_close),
		PLAIN(test_half_close),
		TEST(test_close_delivers),
		TEST(test_poll_and_try_again),
		PLAIN(test_poll_and_try_again),
		TEST(test_events_on_a_library_worker),
		TEST(test_close_inside_a_callback),
		TEST(test_closed_is_told),
		TEST(test_borrowed_worker),
		TEST(test_idle_timeout),
		TEST(test_longest_duration),
		PLAIN(test_connect_attempts),
		TEST(test_connect_timeout),
		PLAIN(test_peer_dies),
		TEST(test_network_rbac),
		PLAIN(test_counts),
		TEST(test_drain_waits_for_streams),
		TEST(test_arguments),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
