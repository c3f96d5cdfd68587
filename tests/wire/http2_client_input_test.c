/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls over HTTP/2 to servers that break one rule each: the call fails with words, the code that the RFC asks for goes out,
 * the call beside it on the same connection is not harmed where the protocol allows that, and nothing grows without bound.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include <mesh/mesh.h>

#include "support/data_plane.h"
#include "support/failing_mem.h"
#include "support/h2_script.h"
#include "support/raw_peer.h"

#define OK ":status: 200"

/* Two calls go out on streams 1 and 3; the server answers 3 behind what it says. */
struct wrong {
	const char *what;
	const char *said;
	const char *
		expected; /* in what the server hears: "rst 1 CODE" or the code of a GOAWAY; "": it need not hear anything */
};

/* How a server behaves. */
struct manner {
	bool silent; /* no SETTINGS first */
	bool drip;   /* byte by byte */
	bool ends;   /* the connection behind what it says */
	bool deaf;   /* does not read behind the first requests */
};

struct client {
	struct failing_mem mem; /* counts what the mesh holds */
	struct data_plane plane;
	struct raw_server server;
	struct http2_config http2;
	int64_t route_idle_ns;
	pthread_mutex_t lock; /* of the next four */
	struct manner manner;
	struct buf said; /* by the server once it has heard `calls` requests */
	unsigned calls;
	char story[4096];    /* what the last connection heard, its end at least */
	atomic_bool leaving; /* a deaf one goes now */
};

/* What is to be said, once the requests are there. */
static void answer(struct client *client, struct h2_peer *peer, const struct manner *manner)
{
	struct mesh_slice bytes;

	pthread_mutex_lock(&client->lock);
	bytes = mesh_buf_slice(&client->said);
	h2_bytes(&peer->out, bytes.data, bytes.len);
	pthread_mutex_unlock(&client->lock);
	bytes = mesh_buf_slice(&peer->out);
	if (manner->drip)
		raw_drip(peer->fd, bytes.data, bytes.len);
	else
		h2_peer_say(peer);
	if (manner->ends)
		shutdown(peer->fd, SHUT_RDWR);
}

static void serve(struct raw_server *server, int fd, unsigned number)
{
	struct client *client = (struct client *)server->user;
	struct manner manner;
	struct h2_peer peer;
	const char *story;
	char last[32];

	h2_peer_init(&peer, fd);
	pthread_mutex_lock(&client->lock);
	manner = client->manner;
	snprintf(last, sizeof(last), "headers %u ", client->calls * 2 - 1);
	pthread_mutex_unlock(&client->lock);
	if (!manner.silent)
		h2_say(&peer.out, "settings 3=100; ack");
	h2_peer_say(&peer);
	if (h2_peer_take_preface(&peer) && strstr(h2_peer_until(&peer, last), last))
		answer(client, &peer, &manner);
	story = manner.deaf ? "" : h2_peer_rest(&peer);
	pthread_mutex_lock(&client->lock);
	snprintf(client->story, sizeof(client->story), "%s",
		 strlen(story) < sizeof(client->story) ? story : story + strlen(story) - sizeof(client->story) + 1);
	pthread_mutex_unlock(&client->lock);
	while (manner.deaf && !atomic_load(&client->leaving) && recv(fd, last, 1, MSG_PEEK) > 0)
		usleep(1000);
	h2_peer_free(&peer);
}

static void edit_cluster(struct data_plane *plane, struct cluster_config *cluster)
{
	struct client *client = plane->user;

	cluster->protocol = UPSTREAM_HTTP2;
	cluster->http2 = client->http2;
}

static void edit_routes(struct data_plane *plane, struct route_config *routes, bool inbound)
{
	if (!inbound)
		routes->hosts[0].routes[0].idle_timeout_ns = ((struct client *)plane->user)->route_idle_ns;
}

static void open_world(struct client *client)
{
	failing_mem_init(&client->mem, 0);
	assert_int_equal(data_plane_open(&client->plane, 1, &client->mem.mem), 0);
	client->plane.timeout_ns = -1;
	client->plane.user = client;
	client->plane.edit_cluster = edit_cluster;
	client->plane.edit_routes = edit_routes;
	client->plane.ports[client->plane.port_count++] = client->server.port;
	data_plane_publish(&client->plane);
}

static int open_client(void **state)
{
	struct client *client = calloc(1, sizeof(*client));

	pthread_mutex_init(&client->lock, NULL);
	mesh_buf_init(&client->said, &mesh_mem_default, 0);
	client->calls = 2;
	client->server.serve = serve;
	client->server.user = client;
	raw_server_start(&client->server);
	open_world(client);
	*state = client;
	return 0;
}

/* Closes its connections: a server that waits for that goes on. */
static void close_world(struct client *client)
{
	data_plane_close(&client->plane);
	assert_int_equal(atomic_load(&client->mem.blocks), 0);
}

static int close_client(void **state)
{
	struct client *client = *state;

	close_world(client);
	atomic_store(&client->leaving, true);
	raw_server_stop(&client->server);
	mesh_buf_free(&client->said);
	pthread_mutex_destroy(&client->lock);
	free(client);
	return 0;
}

/* What the server says next, and to how many requests. */
static void prepare(struct client *client, struct manner manner, unsigned calls, const char *line)
{
	pthread_mutex_lock(&client->lock);
	client->manner = manner;
	mesh_buf_clear(&client->said);
	h2_say(&client->said, line);
	client->calls = calls;
	client->story[0] = '\0';
	pthread_mutex_unlock(&client->lock);
}

static struct mesh_call *start_with(struct client *client, const char *body, bool more,
				    const struct mesh_call_events *events, void *user)
{
	struct mesh_request request = {.size = sizeof(request),
				       .authority = mesh_slice_of("reviews:9080"),
				       .method = mesh_slice_of(body || more ? "POST" : "GET"),
				       .body = mesh_slice_of(body ? body : ""),
				       .more_body = more};
	struct mesh_call *call;

	assert_int_equal(mesh_worker_library(client->plane.mesh, &request.worker), 0);
	assert_int_equal(mesh_call_start(client->plane.mesh, &request, events, user, &call), 0);
	return call;
}

static struct mesh_call *start(struct client *client)
{
	return start_with(client, NULL, false, NULL, NULL);
}

static int finish(struct mesh_call *call)
{
	int status = mesh_call_wait(call, 10000);

	if (status == MESH_ERROR_AGAIN)
		fail_msg("the call does not end");
	if (status && !mesh_call_result(call)->why.len)
		fail_msg("%s without words", mesh_error_name(status));
	return status;
}

static unsigned complaints; /* of a test: all that is wrong is told before it fails */

static void complain(const struct wrong *wrong, struct client *client, int first, int second, const char *why)
{
	print_error("%s: expected %s; the calls ended %s and %s (%s); the server heard: %.1500s\n", wrong->what,
		    wrong->expected, mesh_error_name(first), mesh_error_name(second), why, client->story);
	complaints++;
}

/* `alone`: the call beside it goes on. */
static void check(struct client *client, const struct wrong *wrong, bool alone)
{
	struct mesh_call *first, *second;
	int first_status, second_status;
	unsigned served = atomic_load(&client->server.accepted);
	char line[2000], why[256];

	snprintf(line, sizeof(line), "%s; headers 3 5 " OK, wrong->said);
	prepare(client, (struct manner){0}, 2, line);
	first = start(client);
	second = start(client);
	first_status = finish(first);
	second_status = finish(second);
	snprintf(why, sizeof(why), "%.*s", (int)mesh_call_result(first)->why.len,
		 mesh_call_result(first)->why.len ? mesh_call_result(first)->why.data : "");
	mesh_call_release(first);
	mesh_call_release(second);
	close_world(client); /* the connection ends, and what the server heard is known */
	raw_server_stop(&client->server);
	if (!first_status || (alone ? second_status : !second_status) || !strstr(client->story, wrong->expected) ||
	    atomic_load(&client->server.accepted) - served != 1)
		complain(wrong, client, first_status, second_status, why);
	raw_server_start(&client->server);
	open_world(client);
}

static void check_all(struct client *client, const struct wrong *wrongs, size_t count, bool alone)
{
	complaints = 0;
	close_world(client);
	open_world(client); /* with the settings of the test */
	for (size_t i = 0; i < count; i++)
		check(client, &wrongs[i], alone);
	assert_int_equal(complaints, 0);
}

static void test_connection_errors(void **state)
{
	static const struct wrong wrongs[] = {
		{"SETTINGS of 5 bytes", "frame 4 0 0 0003000000", "FRAME_SIZE_ERROR"},
		{"PING of 7 bytes", "frame 6 0 0 00000000000000", "FRAME_SIZE_ERROR"},
		{"RST_STREAM of 3 bytes", "frame 3 0 1 000000", "FRAME_SIZE_ERROR"},
		{"DATA larger than agreed", "headers 1 4 " OK "; pad 1 0 16385", "FRAME_SIZE_ERROR"},
		{"HTTP/1.1", "claim 0x485454 0x50 0x2f 0x312e3120 343030", "FRAME_SIZE_ERROR"},
		{"SETTINGS on a stream", "frame 4 0 1 -", "PROTOCOL_ERROR"},
		{"ENABLE_PUSH by a server", "settings 2=1", "PROTOCOL_ERROR"},
		{"INITIAL_WINDOW_SIZE past 31 bits", "settings 4=0x80000000", "FLOW_CONTROL_ERROR"},
		{"MAX_FRAME_SIZE too small", "settings 5=100", "PROTOCOL_ERROR"},
		{"a push", "frame 5 4 1 00000002 8286840107 72657669657773", "PROTOCOL_ERROR"},
		{"a response nobody asked for", "headers 99 5 " OK, "PROTOCOL_ERROR"},
		{"a request by the server", "get 2 /", "PROTOCOL_ERROR"},
		{"DATA nobody asked for", "data 99 0 x", "PROTOCOL_ERROR"},
		{"DATA before HEADERS", "data 1 0 x", "PROTOCOL_ERROR"},
		{"RST_STREAM of an idle stream", "rst 99 8", "PROTOCOL_ERROR"},
		{"a block that is interrupted", "frame 1 0 1 88; ping", "PROTOCOL_ERROR"},
		{"CONTINUATION of nothing", "frame 9 4 1 88", "PROTOCOL_ERROR"},
		{"CONTINUATION without end", "frame 1 0 1 88; 1000*(frame 9 0 1 -)", "ENHANCE_YOUR_CALM"},
		{"HPACK index nobody filled", "frame 1 5 1 c8", "COMPRESSION_ERROR"},
		{"HPACK block that is cut", "frame 1 5 1 880161", "COMPRESSION_ERROR"},
		{"a connection window past 31 bits", "window 0 0x7fffffff", "FLOW_CONTROL_ERROR"},
		{"a connection window grown by 0", "window 0 0", "PROTOCOL_ERROR"},
		{"a flood of PING", "20000*(ping)", "ENHANCE_YOUR_CALM"},
		{"a flood of SETTINGS", "20000*(settings 4=65535)", "ENHANCE_YOUR_CALM"},
		{"a flood of WINDOW_UPDATE", "300*(window 0 1)", "ENHANCE_YOUR_CALM"},
		{"a flood of PRIORITY", "500*(priority 1 0)", "ENHANCE_YOUR_CALM"},
		{"a flood of empty DATA", "headers 1 4 " OK "; 10*(data 1 0 )", "ENHANCE_YOUR_CALM"},
	};

	check_all(*state, wrongs, sizeof(wrongs) / sizeof(wrongs[0]), false);
}

static const struct wrong malformed[] = {
	{"no :status", "headers 1 5 x-a: b", "PROTOCOL_ERROR"},
	{"two :status", "headers 1 5 " OK "|:status: 200", "PROTOCOL_ERROR"},
	{":status behind a field", "headers 1 5 x-a: b|" OK, "PROTOCOL_ERROR"},
	{":status of two digits", "headers 1 5 :status: 20", "PROTOCOL_ERROR"},
	{":status of four digits", "headers 1 5 :status: 2000", "PROTOCOL_ERROR"},
	{":status of letters", "headers 1 5 :status: abc", "PROTOCOL_ERROR"},
	{":status 101", "headers 1 4 :status: 101", "PROTOCOL_ERROR"},
	{":path of a response", "headers 1 5 " OK "|:path: /", "PROTOCOL_ERROR"},
	{"an upper case name", "headers 1 5 " OK "|X-A: b", "PROTOCOL_ERROR"},
	{"connection", "headers 1 5 " OK "|connection: close", "PROTOCOL_ERROR"},
	{"transfer-encoding", "headers 1 5 " OK "|transfer-encoding: chunked", "PROTOCOL_ERROR"},
	{"LF in a value", "frame 1 5 1 88 00 0178 03 610a62", "PROTOCOL_ERROR"},
	{"an interim response that ends the stream", "headers 1 5 :status: 103", "PROTOCOL_ERROR"},
	{"two lengths", "headers 1 4 " OK "|content-length: 1|content-length: 2; data 1 1 a", "PROTOCOL_ERROR"},
	{"a length and no body", "headers 1 5 " OK "|content-length: 1", "PROTOCOL_ERROR"},
	{"a second response", "headers 1 4 " OK "; headers 1 5 " OK, "PROTOCOL_ERROR"},
	{"trailers that do not end", "headers 1 4 " OK "; headers 1 4 x-end: yes", "PROTOCOL_ERROR"},
};

static void test_malformed_ends_the_connection(void **state)
{
	check_all(*state, malformed, sizeof(malformed) / sizeof(malformed[0]), false);
}

static void test_malformed_ends_the_stream(void **state)
{
	struct client *client = *state;

	client->http2.invalid_message_resets_stream = true;
	check_all(client, malformed, sizeof(malformed) / sizeof(malformed[0]), true);
}

/* RST_STREAM goes out, or came in; the call beside it is answered. */
static void test_stream_errors(void **state)
{
	static const struct wrong wrongs[] = {
		{"a longer body", "headers 1 4 " OK "|content-length: 1; data 1 1 ab", "rst 1 PROTOCOL_ERROR"},
		{"a shorter body", "headers 1 4 " OK "|content-length: 3; data 1 1 ab", "rst 1 PROTOCOL_ERROR"},
		{"headers past the bound", "long 1 5 62000 " OK, "rst 1 PROTOCOL_ERROR"},
		{"interim responses without end", "30*(long 1 4 3000 :status: 103)", "rst 1 PROTOCOL_ERROR"},
		{"a stream window past 31 bits", "window 1 0x7fffffff", "rst 1 FLOW_CONTROL_ERROR"},
		{"RST_STREAM NO_ERROR", "rst 1 0", ""},
		{"RST_STREAM PROTOCOL_ERROR", "rst 1 1", ""},
		{"RST_STREAM CANCEL", "rst 1 8", ""},
		{"RST_STREAM ENHANCE_YOUR_CALM", "rst 1 11", ""},
		{"RST_STREAM HTTP_1_1_REQUIRED", "rst 1 13", ""},
		{"RST_STREAM of no known code", "rst 1 0xffffffff", ""},
		{"RST_STREAM in the middle of a response", "headers 1 4 " OK "; data 1 0 a; rst 1 2", ""},
	};

	check_all(*state, wrongs, sizeof(wrongs) / sizeof(wrongs[0]), true);
}

/*
 * What the server says behind a whole answer ends the connection. The call is over by then, or fails when both came in one
 * piece: either is right, and neither hangs.
 */
static void test_babbling_behind_the_answer(void **state)
{
	static const char *const lines[] = {
		"headers 1 5 " OK "; data 1 0 more",
		"headers 1 5 " OK "; headers 1 5 " OK,
		"headers 1 4 " OK "; data 1 1 a; data 1 1 b",
		"headers 1 5 " OK "; frame 4 0 1 -",
	};
	struct client *client = *state;

	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		struct mesh_call *call;
		int status;

		prepare(client, (struct manner){0}, 1, lines[i]);
		call = start(client);
		status = finish(call);
		assert_true(status == 0 || status == MESH_ERROR_PROTOCOL);
		mesh_call_release(call);
		raw_server_stop(&client->server); /* it hears GOAWAY and the end without our closing */
		assert_non_null(strstr(client->story, "goaway "));
		assert_non_null(strstr(client->story, "closed;"));
		raw_server_start(&client->server);
		close_world(client);
		open_world(client);
	}
}

/* Answers that are rare and right. */
static void test_good_forms(void **state)
{
	static const struct {
		const char *method, *said;
		int status;
		const char *body;
	} forms[] = {
		{"HEAD", "headers 1 5 " OK "|content-length: 5", 200, ""},
		{"GET", "headers 1 5 :status: 204", 204, ""},
		{"GET", "headers 1 5 :status: 304|content-length: 5", 304, ""},
		{"GET", "headers 1 4 " OK "|content-length: 0; data 1 1 ", 200, ""},
		{"GET", "headers 1 4 :status: 100; headers 1 4 :status: 103|link: x; headers 1 4 " OK "; data 1 1 abc",
		 200, "abc"},
		{"GET", "headers 1 4 " OK "; data 1 0 abc; headers 1 5 x-end: yes", 200, "abc"},
		{"GET", "headers 1 5 :status: 599", 599, ""},
		/* the server does not want the rest of the request */
		{"POST", "headers 1 4 :status: 413; data 1 1 no; rst 1 0", 413, "no"},
	};
	struct client *client = *state;

	for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
		struct mesh_request request = {.size = sizeof(request),
					       .authority = mesh_slice_of("reviews:9080"),
					       .method = mesh_slice_of(forms[i].method),
					       .more_body = forms[i].method[0] == 'P'};
		struct mesh_call *call;

		prepare(client, (struct manner){0}, 1, forms[i].said);
		assert_int_equal(mesh_worker_library(client->plane.mesh, &request.worker), 0);
		assert_int_equal(mesh_call_start(client->plane.mesh, &request, NULL, NULL, &call), 0);
		if (finish(call) || mesh_call_result(call)->http_status != forms[i].status ||
		    !mesh_slice_equal(mesh_call_body(call), mesh_slice_of(forms[i].body)))
			fail_msg("%s: %s, %d, %.*s", forms[i].said, mesh_error_name(mesh_call_result(call)->status),
				 mesh_call_result(call)->http_status, (int)mesh_call_result(call)->why.len,
				 mesh_call_result(call)->why.data);
		mesh_call_release(call);
		close_world(client); /* the next call is stream 1 again */
		open_world(client);
	}
}

static void test_no_settings_first(void **state)
{
	struct client *client = *state;
	struct mesh_call *call;

	prepare(client, (struct manner){.silent = true}, 1, "headers 1 5 " OK);
	call = start(client);
	assert_int_equal(finish(call), MESH_ERROR_PROTOCOL);
	mesh_call_release(call);
}

/* A good answer that breaks off behind each of its bytes, and the same byte by byte. */
static void test_cut_at_every_byte(void **state)
{
	struct client *client = *state;
	struct mesh_call *call;
	size_t whole;

	prepare(client, (struct manner){.ends = true}, 1,
		"headers 1 4 :status: 103; headers 1 4 " OK "|content-length: 3; data 1 0 a; data 1 0 bc; "
		"frame 1 1 1 -; frame 9 4 1 00 05782d656e64 03796573");
	whole = mesh_buf_len(&client->said);
	for (size_t cut = 0; cut < whole; cut++) {
		pthread_mutex_lock(&client->lock);
		client->said.end = client->said.start + cut;
		pthread_mutex_unlock(&client->lock);
		call = start(client);
		if (finish(call) != MESH_ERROR_RESET)
			fail_msg("cut behind %zu bytes: %s", cut, mesh_error_name(mesh_call_result(call)->status));
		mesh_call_release(call);
	}
	pthread_mutex_lock(&client->lock);
	client->manner = (struct manner){.drip = true};
	client->said.end = client->said.start + whole;
	pthread_mutex_unlock(&client->lock);
	call = start(client);
	assert_int_equal(finish(call), 0);
	assert_true(mesh_slice_equal(mesh_call_body(call), mesh_slice_of("abc")));
	assert_true(mesh_slice_equal(mesh_call_trailer(call, "x-end"), mesh_slice_of("yes")));
	mesh_call_release(call);
}

/* A server that takes nothing, by its windows or by not reading: sending stops in bounded memory, and time ends the call. */
static void test_server_that_takes_nothing(void **state)
{
	static char piece[16384];
	struct client *client = *state;

	for (int deaf = 0; deaf < 2; deaf++) {
		struct mesh_call *call;
		size_t before, taken = 0;
		int rc;

		client->route_idle_ns = 500000000; /* the request does not end: no other time runs */
		data_plane_publish(&client->plane);
		prepare(client, (struct manner){.deaf = deaf}, 1,
			deaf ? "settings 4=0x7fffffff; window 0 0x7fff0000" : "settings 4=0; window 0 0x7fff0000");
		before = atomic_load(&client->mem.bytes);
		atomic_store(&client->mem.peak, before);
		call = start_with(client, NULL, true, NULL, NULL);
		do {
			rc = mesh_call_send(call, mesh_slice_make(piece, sizeof(piece)), false);
			taken += rc ? 0 : sizeof(piece);
			if (rc == MESH_ERROR_AGAIN)
				rc = mesh_call_wait_writable(call, 10000);
		} while (!rc && taken < 100000000);
		assert_int_equal(finish(call), MESH_ERROR_IDLE_TIMEOUT);
		assert_true(taken < 50000000); /* what the kernel takes for a server that is deaf */
		if (atomic_load(&client->mem.peak) - before > 2000000)
			fail_msg("%zu bytes held", atomic_load(&client->mem.peak) - before);
		mesh_call_release(call);
		close_world(client);
		atomic_store(&client->leaving, true);
		raw_server_stop(&client->server);
		if (!deaf)
			assert_non_null(strstr(client->story, "rst 1 CANCEL;"));
		atomic_store(&client->leaving, false);
		raw_server_start(&client->server);
		client->route_idle_ns = 0;
		open_world(client);
	}
}

/* More than the window of a call that does not read. */
static void pause_it(struct mesh_call *call, void *user)
{
	mesh_call_pause(call);
}

static void test_window_is_overrun(void **state)
{
	static const struct mesh_call_events events = {.size = sizeof(events), .head = pause_it};
	struct client *client = *state;
	struct mesh_call *call;
	size_t before;

	client->http2.stream_window_bytes = 70000;
	data_plane_publish(&client->plane);
	prepare(client, (struct manner){0}, 1, "headers 1 4 " OK "; 100*(pad 1 0 10000)");
	before = atomic_load(&client->mem.bytes);
	atomic_store(&client->mem.peak, before);
	call = start_with(client, NULL, false, &events, NULL);
	assert_int_equal(finish(call), MESH_ERROR_PROTOCOL);
	assert_true(atomic_load(&client->mem.peak) - before < 1000000);
	mesh_call_release(call);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_connection_errors, open_client, close_client),
		cmocka_unit_test_setup_teardown(test_malformed_ends_the_connection, open_client, close_client),
		cmocka_unit_test_setup_teardown(test_malformed_ends_the_stream, open_client, close_client),
		cmocka_unit_test_setup_teardown(test_stream_errors, open_client, close_client),
		cmocka_unit_test_setup_teardown(test_babbling_behind_the_answer, open_client, close_client),
		cmocka_unit_test_setup_teardown(test_good_forms, open_client, close_client),
		cmocka_unit_test_setup_teardown(test_no_settings_first, open_client, close_client),
		cmocka_unit_test_setup_teardown(test_cut_at_every_byte, open_client, close_client),
		cmocka_unit_test_setup_teardown(test_server_that_takes_nothing, open_client, close_client),
		cmocka_unit_test_setup_teardown(test_window_is_overrun, open_client, close_client),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
