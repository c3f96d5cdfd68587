/* SPDX-License-Identifier: Apache-2.0 */
/* The served side of the HTTP/2 tests: a real listener on a real worker, configured by hand. */
#include "support/h2_server.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "support/raw_peer.h"

/* One call the handler was given. */
struct served {
	struct h2_server *server;
	size_t sent; /* of a large answer */
};

static const char piece[16384] = "large";

static void answer(struct mesh_call *call)
{
	struct mesh_slice method = mesh_call_method(call), path = mesh_call_path(call), body = mesh_call_body(call);
	struct mesh_slice end = mesh_call_trailer(call, "x-end");
	char said[512];
	int len = snprintf(said, sizeof(said), "%.*s %.*s|%.*s|%.*s", (int)method.len, method.data,
			   (int)(path.len > 200 ? 200 : path.len), path.data, (int)(body.len > 100 ? 100 : body.len),
			   body.len ? body.data : "", (int)end.len, end.data ? end.data : "");

	mesh_call_respond(call, 200, NULL, 0, mesh_slice_make(said, (size_t)len), true);
}

static void send_large(struct mesh_call *call, struct served *served)
{
	while (served->sent < served->server->large_bytes) {
		size_t left = served->server->large_bytes - served->sent,
		       n = left < sizeof(piece) ? left : sizeof(piece);

		if (mesh_call_send(call, mesh_slice_make(piece, n), n == left))
			return;
		served->sent += n;
	}
}

static void on_data(struct mesh_call *call, struct mesh_slice data, void *user)
{
	atomic_fetch_add(&((struct served *)user)->server->taken, data.len);
}

static bool path_is(struct mesh_call *call, const char *path)
{
	return mesh_slice_equal(mesh_call_path(call), mesh_slice_of(path));
}

static void on_end(struct mesh_call *call, void *user)
{
	if (!path_is(call, "/hold") && !path_is(call, "/pause") && !path_is(call, "/large") &&
	    !path_is(call, "/nobody"))
		answer(call);
}

static void on_writable(struct mesh_call *call, void *user)
{
	send_large(call, user);
}

static void on_done(struct mesh_call *call, void *user)
{
	struct served *served = user;
	struct h2_server *server = served->server;
	const struct mesh_result *result = mesh_call_result(call);

	if (result->status) {
		snprintf(server->why, sizeof(server->why), "%.*s", (int)result->why.len,
			 result->why.len ? result->why.data : "");
		atomic_store(&server->error, result->status);
		atomic_fetch_add(&server->failed, 1);
	}
	atomic_fetch_add(&server->done, 1);
	free(served);
}

static const struct mesh_call_events streamed = {
	.size = sizeof(streamed), .data = on_data, .end = on_end, .writable = on_writable, .done = on_done};
static const struct mesh_call_events whole = {.size = sizeof(whole), .writable = on_writable, .done = on_done};

static void handle(struct mesh_call *call, void *user)
{
	struct h2_server *server = user;
	struct served *served = calloc(1, sizeof(*served));

	if (!served)
		abort();
	served->server = server;
	atomic_fetch_add(&server->calls, 1);
	if (mesh_call_on(call, server->body_max ? &whole : &streamed, served))
		abort();
	if (path_is(call, "/large")) {
		mesh_call_respond(call, 200, NULL, 0, mesh_slice_of(""), false);
		send_large(call, served);
	} else if (path_is(call, "/pause")) {
		mesh_call_pause(call);
	} else if (path_is(call, "/nobody")) {
		mesh_call_respond(call, 204, NULL, 0, mesh_slice_of(""), true);
	} else if (server->body_max && !path_is(call, "/hold")) {
		answer(call);
	}
}

static void edit_chain(struct data_plane *plane, struct chain *chain, struct arena *arena, bool inbound)
{
	struct h2_server *server = plane->user;

	if (!inbound)
		return;
	chain->http->codec = server->codec;
	chain->http->http2 = server->http2;
	chain->http->stream_idle_timeout_ns = server->stream_idle_ns;
	chain->http->request_head_kb_max = server->head_kb_max;
	chain->http->header_count_max = server->header_count_max;
}

int h2_server_open(void **state)
{
	struct h2_server *server = calloc(1, sizeof(*server));

	failing_mem_init(&server->mem, 0);
	assert_int_equal(data_plane_open(&server->plane, 1, &server->mem.mem), 0);
	server->plane.user = server;
	server->plane.edit_chain = edit_chain;
	server->large_bytes = 1000000;
	*state = server;
	return 0;
}

int h2_server_close(void **state)
{
	struct h2_server *server = *state;

	if (server->listener)
		mesh_listener_close(server->listener);
	data_plane_close(&server->plane);
	assert_int_equal(atomic_load(&server->mem.blocks), 0);
	assert_int_equal(atomic_load(&server->done), atomic_load(&server->calls));
	free(server);
	return 0;
}

void h2_server_listen(struct h2_server *server)
{
	struct mesh_listen_options options = {.size = sizeof(options),
					      .handler = handle,
					      .user = server,
					      .grace_ms = 3000,
					      .request_bytes_max = server->body_max,
					      .address = "127.0.0.1"};

	data_plane_publish(&server->plane);
	assert_int_equal(mesh_listen(server->plane.mesh, &options, &server->listener), 0);
	server->port = mesh_listener_port(server->listener);
}

void h2_server_connect(struct h2_server *server, struct h2_peer *peer, const char *line)
{
	h2_peer_init(peer, raw_connect(server->port));
	h2_say(&peer->out, line);
	h2_peer_say(peer);
}

void h2_server_disconnect(struct h2_peer *peer)
{
	close(peer->fd);
	h2_peer_free(peer);
}

void h2_server_assert_serves(struct h2_server *server)
{
	struct h2_peer peer;
	const char *story;

	h2_server_connect(server, &peer, "preface; get 1 /serves");
	story = h2_peer_until(&peer, " END;");
	if (!strstr(story, "headers 1 :status=200") || !strstr(story, " END;"))
		fail_msg("does not serve any more: %s", story);
	h2_server_disconnect(&peer);
}

void h2_server_await(atomic_uint *counter, unsigned value)
{
	const struct timespec pause = {.tv_nsec = 1000000};

	for (int i = 0; atomic_load(counter) < value; i++) {
		if (i >= 10000)
			fail_msg("waited in vain for %u, there are %u", value, atomic_load(counter));
		nanosleep(&pause, NULL);
	}
}

void h2_server_mark_memory(struct h2_server *server)
{
	server->marked = atomic_load(&server->mem.bytes);
	atomic_store(&server->mem.peak, server->marked);
}

size_t h2_server_grown(struct h2_server *server)
{
	return atomic_load(&server->mem.peak) - server->marked;
}
