/* SPDX-License-Identifier: Apache-2.0 */
/* Decides how requests to the listener are answered, by path, and what its clients wait for. Refuses to know what is tested. */
#include "support/served.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <unistd.h>

#include "support/raw_peer.h"

static struct mesh_slice text(const char *s)
{
	return mesh_slice_of(s);
}

static void on_done(struct mesh_call *call, void *user)
{
	struct served *served = user;

	atomic_store(&served->last_error, mesh_call_result(call)->status);
	atomic_fetch_add(&served->done, 1);
}

static void on_data(struct mesh_call *call, struct mesh_slice data, void *user)
{
	struct served *served = user;

	atomic_fetch_add(&served->taken, (unsigned)data.len);
	if (mesh_call_upgrade(call).len)
		mesh_call_send(call, data, mesh_slice_equal(data, text("bye")));
}

static bool is(struct mesh_call *call, const char *path)
{
	return mesh_slice_equal(mesh_call_path(call), text(path));
}

static void respond_grpc(struct mesh_call *call, bool whole)
{
	const struct mesh_header headers[] = {{text("content-type"), text("application/grpc")},
					      {text("grpc-status"), text("5")}};
	const struct mesh_header trailers[] = {{text("grpc-status"), text("0")}};

	assert_int_equal(
		mesh_call_respond(call, 200, headers, whole ? 2 : 1, whole ? text("") : text("message"), whole), 0);
	if (!whole)
		assert_int_equal(mesh_call_send_trailers(call, trailers, 1), 0);
}

static void inform(struct mesh_call *call)
{
	const struct mesh_header link = {text("link"), text("</a>")};

	assert_int_equal(mesh_call_inform(call, 101, &link, 1), MESH_ERROR_INVALID);
	assert_int_equal(mesh_call_inform(call, 200, &link, 1), MESH_ERROR_INVALID);
	assert_int_equal(mesh_call_inform(call, 103, &link, 1), 0);
	mesh_call_respond(call, 200, NULL, 0, text("late"), true);
	assert_int_equal(mesh_call_inform(call, 103, &link, 1), MESH_ERROR_STATE);
}

static void keep(struct served *served, struct mesh_call *call)
{
	const struct mesh_call_events events = {.size = sizeof(events), .done = on_done, .data = on_data};

	if (atomic_load(&served->held_count) == HELD_MAX) { /* clients that do not count send more than anybody keeps */
		mesh_call_respond(call, 503, NULL, 0, text("full"), true);
		return;
	}
	assert_int_equal(mesh_call_on(call, &events, served), 0);
	if (is(call, "/paused"))
		mesh_call_pause(call);
	served->held[atomic_load(&served->held_count)] = mesh_call_retain(call);
	atomic_fetch_add(&served->held_count, 1);
	if (is(call, "/begun"))
		assert_int_equal(mesh_call_respond(call, 200, NULL, 0, text("begun"), false), 0);
}

static void upgrade(struct served *served, struct mesh_call *call)
{
	const struct mesh_call_events events = {.size = sizeof(events), .done = on_done, .data = on_data};

	assert_true(mesh_slice_equal(mesh_call_upgrade(call), text("websocket")));
	assert_int_equal(mesh_call_on(call, &events, served), 0);
	assert_int_equal(mesh_call_respond(call, 101, NULL, 0, text("hello"), false), 0);
}

static void handler(struct mesh_call *call, void *user)
{
	struct served *served = user;

	atomic_fetch_add(&served->calls, 1);
	if (is(call, "/hold") || is(call, "/begun") || is(call, "/paused"))
		keep(served, call);
	else if (is(call, "/version"))
		mesh_call_respond(call, 200, NULL, 0, mesh_call_peer(call)->protocol, true);
	else if (is(call, "/large"))
		mesh_call_respond(call, 200, NULL, 0, mesh_slice_make(served->large, LARGE_BYTES), true);
	else if (is(call, "/grpc") || is(call, "/grpc-head"))
		respond_grpc(call, is(call, "/grpc-head"));
	else if (is(call, "/early"))
		inform(call);
	else if (is(call, "/continue"))
		assert_int_equal(mesh_call_inform(call, 100, NULL, 0) ||
					 mesh_call_respond(call, 200, NULL, 0, text("on"), true),
				 0);
	else if (is(call, "/refused"))
		mesh_call_respond(call, 417, NULL, 0, text("no"), true);
	else if (is(call, "/socket"))
		upgrade(served, call);
	else if (is(call, "/no-upgrade"))
		assert_int_equal(mesh_call_respond(call, 101, NULL, 0, text(""), false), MESH_ERROR_INVALID);
	else
		mesh_call_respond(call, 200, NULL, 0, mesh_call_path(call), true);
}

static struct authz_config deny_all; /* an ALLOW without policies */
static struct authz_rules deny_rules = {.action = AUTHZ_ALLOW};

static void edit_chain(struct data_plane *plane, struct chain *chain, struct arena *arena, bool inbound)
{
	struct served *served = plane->user;
	struct http_config *http = chain->http;

	if (!inbound)
		return;
	if (served->network_only) {
		chain->kind = CHAIN_TCP;
		chain->tcp_idle_timeout_ns = served->http.idle_timeout_ns;
		chain->tcp_duration_max_ns = served->http.connection_duration_max_ns;
		chain->http = NULL;
		return;
	}
	http->codec = served->http.codec;
	http->http2 = served->http.http2;
	http->idle_timeout_ns = served->http.idle_timeout_ns ? served->http.idle_timeout_ns : -1;
	http->stream_idle_timeout_ns = served->http.stream_idle_timeout_ns ? served->http.stream_idle_timeout_ns : -1;
	http->request_headers_timeout_ns = served->http.request_headers_timeout_ns;
	http->request_timeout_ns = served->http.request_timeout_ns;
	http->connection_duration_max_ns = served->http.connection_duration_max_ns;
	http->drain_timeout_ns = served->http.drain_timeout_ns ? served->http.drain_timeout_ns : -1;
	http->stream_duration_max_ns = served->http.stream_duration_max_ns;
	http->proxy_100_continue = served->http.proxy_100_continue;
	http->requests_per_connection_max = served->http.requests_per_connection_max;
	http->upgrades = served->upgrades;
	http->upgrade_count = served->upgrade_count;
	if (!served->deny && !served->rules)
		return;
	deny_all.rules = &deny_rules;
	http->filters = mesh_arena_array(arena, 1, sizeof(*http->filters));
	http->filter_count = 1;
	http->filters[0].kind = HTTP_FILTER_AUTHZ;
	http->filters[0].name = mesh_slice_of("rbac");
	http->filters[0].authz = served->rules ? served->rules : &deny_all;
}

static void edit_routes(struct data_plane *plane, struct route_config *routes, bool inbound)
{
	struct served *served = plane->user;
	struct route *route = &routes->hosts[0].routes[0];

	if (!inbound)
		return;
	route->idle_timeout_ns = served->route_idle_ns;
	if (served->route_upgrade.protocol.len) {
		route->upgrades = &served->route_upgrade;
		route->upgrade_count = 1;
	}
	if (served->no_route)
		routes->hosts[0].route_count = 0;
}

int served_open(void **state)
{
	struct served *served = calloc(1, sizeof(*served));

	failing_mem_init(&served->mem, 0);
	assert_int_equal(data_plane_open(&served->plane, 1, &served->mem.mem), 0);
	served->plane.user = served;
	served->plane.edit_chain = edit_chain;
	served->plane.edit_routes = edit_routes;
	served->route_idle_ns = -1;
	served->grace_ms = 3000;
	memset(served->large, 'x', LARGE_BYTES);
	*state = served;
	return 0;
}

int served_close(void **state)
{
	struct served *served = *state;

	mesh_listener_close(served->listener);
	for (unsigned i = 0; i < atomic_load(&served->held_count); i++)
		mesh_call_release(served->held[i]);
	data_plane_close(&served->plane);
	assert_int_equal(atomic_load(&served->mem.blocks), 0);
	free(served);
	return 0;
}

void served_listen(struct served *served)
{
	struct mesh_listen_options options = {
		.size = sizeof(options), .handler = handler, .user = served, .grace_ms = served->grace_ms, .address = "127.0.0.1"};

	data_plane_publish(&served->plane);
	assert_int_equal(mesh_listen(served->plane.mesh, &options, &served->listener), 0);
	served->port = mesh_listener_port(served->listener);
}

void served_connect(struct served *served, struct h2_peer *peer)
{
	h2_peer_init(peer, raw_connect(served->port));
	h2_preface(&peer->out);
	h2_settings_ack(&peer->out);
	assert_true(h2_peer_say(peer));
}

void served_disconnect(struct h2_peer *peer)
{
	close(peer->fd);
	h2_peer_free(peer);
}

void served_ask(struct h2_peer *peer, uint32_t stream, const char *path)
{
	h2_get(&peer->out, stream, path);
	assert_true(h2_peer_say(peer));
}

void served_await(atomic_uint *counter, unsigned value)
{
	for (unsigned i = 0; atomic_load(counter) < value; i++) {
		if (i > 10000)
			fail_msg("%u, not %u, after 10 s", atomic_load(counter), value);
		usleep(1000);
	}
}

void served_assert_heard(struct h2_peer *peer, const char *word)
{
	const char *story = h2_peer_until(peer, word);

	if (!strstr(story, word))
		fail_msg("no \"%s\" in: %s", word, story);
}

void served_assert_not_heard(struct h2_peer *peer, const char *word)
{
	assert_true(h2_peer_sync(peer));
	if (strstr(h2_peer_until(peer, "settings"), word))
		fail_msg("\"%s\" in: %s", word, h2_peer_until(peer, "settings"));
}

/* It is told that the connection will go, and says that it heard. */
void served_hear_drain(struct h2_peer *peer)
{
	served_assert_heard(peer, "goaway 2147483647 NO_ERROR");
	served_assert_heard(peer, "ping draining;");
	h2_ping(&peer->out, H2_ACK, "draining");
	assert_true(h2_peer_say(peer));
}

/* Answer to GET /version: over what it was served. */
void served_assert_http1(struct served *served, const char *said, const char *in)
{
	int fd = raw_connect(served->port);
	char got[8192];

	raw_say(fd, said);
	raw_rest(fd, got, sizeof(got));
	if (!strstr(got, in))
		fail_msg("no \"%s\" in \"%s\"", in, got);
	close(fd);
}
