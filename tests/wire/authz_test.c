/* SPDX-License-Identifier: Apache-2.0 */
/* Who may ask for what, over mutual TLS: HTTP and network rules, and paths that are spelled in odd ways. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <stdio.h>
#include <unistd.h>

#include <mesh/mesh.h>

#include "call/listener.h"
#include "support/data_plane.h"
#include "support/raw_peer.h"
#include "support/test_ca.h"

#define BOB "spiffe://cluster.local/ns/default/sa/bob"
#define EVE "spiffe://cluster.local/ns/default/sa/eve"

struct gate {
	struct data_plane plane;
	struct test_ca ca;
	struct mesh_listener *listener;
	atomic_int calls;
	char path[512];     /* the handler's last */
	size_t underscores; /* header names with one, of the same */
	/* what the inbound chain enforces */
	struct authz_config http, network;
	bool has_http, has_network;
	struct http_config paths; /* normalization, and whom to believe */
};

static struct mesh_slice text(const char *s)
{
	return mesh_slice_of(s);
}

static void handler(struct mesh_call *call, void *user)
{
	struct gate *gate = user;
	struct mesh_slice path = mesh_call_path(call);

	snprintf(gate->path, sizeof(gate->path), "%.*s", (int)path.len, path.data);
	gate->underscores = 0;
	for (size_t i = 0; mesh_call_header_at(call, i).name.data; i++)
		gate->underscores += mesh_slice_find(mesh_call_header_at(call, i).name, '_') >= 0;
	atomic_fetch_add(&gate->calls, 1);
	mesh_call_respond(call, 200, NULL, 0, mesh_call_path(call), true);
}

/* Each configuration has its own: an earlier one may still be read while the test goes on to the next. */
static struct authz_config *own_copy(struct arena *arena, const struct authz_config *config)
{
	struct authz_config *copy = mesh_arena_array(arena, 1, sizeof(*copy));

	*copy = *config;
	return copy;
}

static void edit_chain(struct data_plane *plane, struct chain *chain, struct arena *arena, bool inbound)
{
	struct gate *gate = plane->user;

	if (!inbound)
		return;
	chain->http->normalize_path = gate->paths.normalize_path;
	chain->http->merge_slashes = gate->paths.merge_slashes;
	chain->http->escaped_slashes = gate->paths.escaped_slashes;
	chain->http->xff_trusted_hops = gate->paths.xff_trusted_hops;
	chain->http->use_remote_address = gate->paths.use_remote_address;
	chain->http->reject_underscores = gate->paths.reject_underscores;
	chain->http->drop_underscores = gate->paths.drop_underscores;
	if (gate->has_http) {
		chain->http->filters = mesh_arena_array(arena, 1, sizeof(*chain->http->filters));
		chain->http->filter_count = 1;
		chain->http->filters[0].kind = HTTP_FILTER_AUTHZ;
		chain->http->filters[0].name = text("envoy.filters.http.rbac");
		chain->http->filters[0].authz = own_copy(arena, &gate->http);
	}
	if (gate->has_network) {
		chain->authz = own_copy(arena, &gate->network);
		chain->authz_count = 1;
	}
}

static int open_gate(void **state)
{
	struct gate *gate = calloc(1, sizeof(*gate));

	assert_int_equal(data_plane_open(&gate->plane, 1, NULL), 0);
	test_ca_make(&gate->ca);
	gate->plane.certificate = test_ca_secret(&gate->ca, &(struct test_leaf){.uri = BOB});
	gate->plane.roots = test_ca_roots(&gate->ca);
	gate->plane.inbound = DATA_PLANE_STRICT;
	gate->plane.client_tls = &data_plane_istio_client;
	gate->plane.edit_chain = edit_chain;
	gate->plane.user = gate;
	*state = gate;
	return 0;
}

static int close_gate(void **state)
{
	struct gate *gate = *state;

	data_plane_close(&gate->plane);
	mesh_secret_release(gate->plane.certificate);
	mesh_secret_release(gate->plane.roots);
	test_ca_free(&gate->ca);
	free(gate);
	return 0;
}

static void publish(struct gate *gate)
{
	struct mesh_listen_options options = {.size = sizeof(options), .handler = handler, .user = gate, .address = "127.0.0.1",
					      .request_bytes_max = 1000};

	if (!gate->listener) {
		assert_int_equal(mesh_listen(gate->plane.mesh, &options, &gate->listener), 0);
		gate->plane.ports[gate->plane.port_count++] = mesh_listener_port(gate->listener);
	}
	data_plane_publish(&gate->plane);
}

static struct mesh_call *call_path(struct gate *gate, const char *method, const char *path)
{
	struct mesh_request request = {.size = sizeof(request), .authority = text("reviews:9080"), .path = text(path),
				       .method = text(method)};
	struct mesh_call *call;

	assert_int_equal(mesh_call_start(gate->plane.mesh, &request, NULL, NULL, &call), 0);
	assert_int_not_equal(mesh_call_wait(call, 10000), MESH_ERROR_AGAIN);
	return call;
}

/* 0: no answer at all. */
static void expect(struct gate *gate, const char *method, const char *path, int status)
{
	int before = atomic_load(&gate->calls);
	struct mesh_call *call = call_path(gate, method, path);
	const struct mesh_result *result = mesh_call_result(call);

	if (result->http_status != status)
		fail_msg("%s %s: expected %d, got %d (%.*s)", method, path, status, result->http_status, (int)result->why.len,
			 result->why.data ? result->why.data : "");
	assert_int_equal(atomic_load(&gate->calls) - before, status == 200);
	if (status == 403) {
		assert_true(mesh_slice_equal(mesh_call_body(call), text("RBAC: access denied")));
		assert_true(mesh_slice_equal(mesh_call_header(call, "content-type"), text("text/plain")));
	}
	mesh_call_release(call);
}

/* One policy: who, and a rule on what. */
struct made {
	struct authz_rules rules;
	struct authz_policy policy;
	struct authz_rule who, what;
};

static void make(struct made *made, enum authz_action action, const char *uri, const struct authz_rule *what)
{
	memset(made, 0, sizeof(*made));
	made->who.kind = uri ? AUTHZ_AUTHENTICATED : AUTHZ_ANY;
	made->who.has_string = uri != NULL;
	made->who.string = (struct string_match){STRING_MATCH_EXACT, false, text(uri), NULL};
	made->what = what ? *what : (struct authz_rule){.kind = AUTHZ_ANY};
	made->policy = (struct authz_policy){text("ns[default]-policy[p]-rule[0]"), &made->what, 1, &made->who, 1};
	made->rules = (struct authz_rules){action, &made->policy, 1};
}

static struct authz_rule path_rule(enum string_match_kind kind, const char *path)
{
	return (struct authz_rule){.kind = AUTHZ_URL_PATH, .has_string = true, .string = {kind, false, text(path), NULL}};
}

static void test_allow(void **state)
{
	struct gate *gate = *state;
	struct made made;

	gate->has_http = true;
	gate->http.rules = &made.rules;
	make(&made, AUTHZ_ALLOW, BOB, NULL);
	publish(gate);
	expect(gate, "GET", "/", 200);
	make(&made, AUTHZ_ALLOW, EVE, NULL);
	publish(gate);
	expect(gate, "GET", "/", 403);
	make(&made, AUTHZ_ALLOW, "spiffe://cluster.local/ns/default/sa/bo", NULL);
	publish(gate);
	expect(gate, "GET", "/", 403);
	make(&made, AUTHZ_ALLOW, NULL, NULL);
	publish(gate);
	expect(gate, "GET", "/", 200);
	/* no policy at all allows nothing */
	made.rules.count = 0;
	publish(gate);
	expect(gate, "GET", "/", 403);
	/* a rule that is not understood grants nothing */
	make(&made, AUTHZ_ALLOW, NULL, &(struct authz_rule){.kind = AUTHZ_NEVER});
	publish(gate);
	expect(gate, "GET", "/", 403);
	gate->has_http = false;
	publish(gate);
	expect(gate, "GET", "/", 200);
	data_plane_publish(&gate->plane);
}

static void test_deny(void **state)
{
	struct gate *gate = *state;
	struct made made;

	gate->has_http = true;
	gate->http.rules = &made.rules;
	make(&made, AUTHZ_DENY, BOB, NULL);
	publish(gate);
	expect(gate, "GET", "/", 403);
	make(&made, AUTHZ_DENY, EVE, NULL);
	publish(gate);
	expect(gate, "GET", "/", 200);
	made.rules.count = 0;
	publish(gate);
	expect(gate, "GET", "/", 200);
	/* a rule that is not understood denies */
	make(&made, AUTHZ_DENY, NULL, &(struct authz_rule){.kind = AUTHZ_NEVER});
	publish(gate);
	expect(gate, "GET", "/", 403);
	make(&made, AUTHZ_DENY, NULL, &(struct authz_rule){
		.kind = AUTHZ_HEADER,
		.header = {.name = text(":method"), .kind = HEADER_MATCH_STRING, .string = {STRING_MATCH_EXACT, false, text("PUT"), NULL}},
	});
	publish(gate);
	expect(gate, "GET", "/", 200);
	expect(gate, "PUT", "/", 403);
	gate->has_http = false;
	publish(gate);
	expect(gate, "PUT", "/", 200);
}

static void test_shadow_rules_are_not_enforced(void **state)
{
	struct gate *gate = *state;
	struct made shadow, enforced;

	gate->has_http = true;
	gate->http.shadow = &shadow.rules;
	make(&shadow, AUTHZ_DENY, BOB, NULL);
	publish(gate);
	expect(gate, "GET", "/", 200);
	assert_int_equal(atomic_load(&gate->listener->stats.rq_shadow_denied), 1);
	assert_int_equal(atomic_load(&gate->listener->stats.rq_denied), 0);
	gate->http.rules = &enforced.rules;
	make(&enforced, AUTHZ_DENY, BOB, NULL);
	make(&shadow, AUTHZ_ALLOW, BOB, NULL);
	publish(gate);
	expect(gate, "GET", "/", 403);
	assert_int_equal(atomic_load(&gate->listener->stats.rq_shadow_denied), 1);
	assert_int_equal(atomic_load(&gate->listener->stats.rq_denied), 1);
	gate->has_http = false;
	publish(gate);
	expect(gate, "GET", "/", 200);
}

/* An application behind the gate sees a path only as the rules saw it. */
static void expect_path(struct gate *gate, const char *path, int status, const char *seen)
{
	expect(gate, "GET", path, status);
	if (seen && strcmp(gate->path, seen))
		fail_msg("%s: the handler saw %s, expected %s", path, gate->path, seen);
}

static void test_paths_are_normalized_before_rules(void **state)
{
	struct authz_rule admin = path_rule(STRING_MATCH_PREFIX, "/admin");
	struct gate *gate = *state;
	struct made made;

	gate->has_http = true;
	gate->http.rules = &made.rules;
	make(&made, AUTHZ_DENY, NULL, &admin);
	gate->paths.normalize_path = true;
	gate->paths.merge_slashes = true;
	gate->paths.escaped_slashes = ESCAPED_SLASHES_UNESCAPE_FORWARD;
	publish(gate);
	expect_path(gate, "/public", 200, "/public");
	expect_path(gate, "/public?x=/admin/../..", 200, "/public?x=/admin/../..");
	expect_path(gate, "/admin", 403, NULL);
	expect_path(gate, "/admin?x", 403, NULL);
	expect_path(gate, "/public/../admin", 403, NULL);
	expect_path(gate, "/./admin", 403, NULL);
	expect_path(gate, "//admin", 403, NULL);
	expect_path(gate, "/%61dmin", 403, NULL);
	expect_path(gate, "/public/%2e%2e/admin", 403, NULL);
	expect_path(gate, "/public%2F..%2Fadmin", 403, NULL);
	expect_path(gate, "/public\\..\\admin", 403, NULL);
	expect_path(gate, "/public/%2e%2E%2fadmin", 403, NULL);
	expect_path(gate, "/public%5c..%5Cadmin", 403, NULL);
	expect_path(gate, "/admin/../public", 200, "/public");
	expect_path(gate, "/a//b", 200, "/a/b");
	expect_path(gate, "/a%2fb", 200, "/a/b");
	expect_path(gate, "/../../admin", 403, NULL);
	/* kept: an escaped slash is a character like others */
	gate->paths.escaped_slashes = ESCAPED_SLASHES_KEEP;
	publish(gate);
	expect_path(gate, "/public%2F..%2Fadmin", 200, "/public%2F..%2Fadmin");
	expect_path(gate, "/public/../admin", 403, NULL);
	gate->paths.escaped_slashes = ESCAPED_SLASHES_REJECT;
	publish(gate);
	expect_path(gate, "/public%2Fx", 400, NULL);
	expect_path(gate, "/public%5cx", 400, NULL);
	expect_path(gate, "/public?a%2Fb", 200, "/public?a%2Fb");
	gate->paths.escaped_slashes = ESCAPED_SLASHES_UNESCAPE_REDIRECT;
	publish(gate);
	struct mesh_call *call = call_path(gate, "GET", "/public%2Fadmin?q=%2F");

	assert_int_equal(mesh_call_http_status(call), 307);
	assert_true(mesh_slice_equal(mesh_call_header(call, "location"), text("/public/admin?q=%2F")));
	mesh_call_release(call);
	/* no link may send a browser that follows it to another host */
	gate->paths.merge_slashes = false;
	publish(gate);
	call = call_path(gate, "GET", "/%2Fevil.example/x");
	assert_int_equal(mesh_call_http_status(call), 307);
	assert_true(mesh_slice_equal(mesh_call_header(call, "location"), text("/.//evil.example/x")));
	mesh_call_release(call);
	gate->paths.normalize_path = false;
	publish(gate);
	call = call_path(gate, "GET", "/%5Cevil.example/x");
	assert_true(mesh_slice_equal(mesh_call_header(call, "location"), text("/./\\evil.example/x")));
	mesh_call_release(call);
	/* none of it: what is asked for is what is looked at */
	memset(&gate->paths, 0, sizeof(gate->paths));
	publish(gate);
	expect_path(gate, "/public/../admin", 200, "/public/../admin");
	expect_path(gate, "/admin/x", 403, NULL);
	gate->has_http = false;
	publish(gate);
	expect(gate, "GET", "/", 200);
}

static void test_network_rules(void **state)
{
	struct gate *gate = *state;
	struct made made;

	gate->has_network = true;
	gate->network.rules = &made.rules;
	make(&made, AUTHZ_ALLOW, BOB, NULL);
	publish(gate);
	expect(gate, "GET", "/", 200);
	/* a new listener port makes new connections */
	make(&made, AUTHZ_DENY, BOB, NULL);
	mesh_listener_close(gate->listener);
	gate->listener = NULL;
	gate->plane.port_count = 0;
	publish(gate);
	expect(gate, "GET", "/", 0);
	assert_true(atomic_load(&gate->listener->stats.cx_denied) > 0);
	make(&made, AUTHZ_ALLOW, EVE, NULL);
	publish(gate);
	expect(gate, "GET", "/", 0);
	made.rules.count = 0;
	publish(gate);
	expect(gate, "GET", "/", 0);
	/* a rule on what only HTTP knows cannot be answered: nothing is granted by it */
	make(&made, AUTHZ_ALLOW, NULL, &(struct authz_rule){.kind = AUTHZ_URL_PATH, .has_string = true,
							    .string = {STRING_MATCH_PREFIX, false, text("/"), NULL}});
	publish(gate);
	expect(gate, "GET", "/", 0);
	make(&made, AUTHZ_ALLOW, NULL, &(struct authz_rule){.kind = AUTHZ_DESTINATION_PORT, .port_from = gate->plane.ports[0]});
	publish(gate);
	expect(gate, "GET", "/", 200);
	gate->has_network = false;
	publish(gate);
	expect(gate, "GET", "/", 200);
}

/* A connection that would not be let in any more gets an answer to what it has begun to ask, one that would goes on. */
static void test_network_rules_of_open_connections(void **state)
{
	static const char get[] = "GET / HTTP/1.1\r\nHost: reviews\r\n\r\n";
	struct gate *gate = *state;
	struct made allow, deny;
	char got[4096] = "";
	int fd;

	gate->plane.inbound = DATA_PLANE_DISABLE;
	gate->has_network = true;
	gate->network.rules = &allow.rules;
	make(&allow, AUTHZ_ALLOW, NULL, NULL);
	publish(gate);
	fd = raw_connect(gate->plane.ports[0]);
	for (int i = 0; i < 2; i++) {
		got[0] = '\0';
		assert_true(raw_say(fd, i ? "GET / HTTP/1.1\r\nHost: reviews\r\n\r\nGET / " : get));
		assert_true(raw_response(fd, got, sizeof(got)));
		assert_null(strcasestr(got, "connection: close"));
		data_plane_publish(&gate->plane);
	}
	gate->network.rules = &deny.rules;
	make(&deny, AUTHZ_DENY, NULL, NULL);
	publish(gate);
	assert_true(raw_say(fd, get + strlen("GET / ")));
	got[0] = '\0';
	raw_rest(fd, got, sizeof(got));
	assert_non_null(strcasestr(got, "\r\nconnection: close\r\n"));
	assert_int_equal(atomic_load(&gate->calls), 3);
	close(fd);
	fd = raw_connect(gate->plane.ports[0]);
	raw_say(fd, get);
	raw_rest(fd, got, sizeof(got));
	assert_string_equal(got, "");
	close(fd);
}

/* Over plaintext nobody is anybody. */
static void test_plaintext_has_no_identity(void **state)
{
	struct gate *gate = *state;
	struct made made;
	char got[4096] = "";
	int fd;

	gate->plane.inbound = DATA_PLANE_PERMISSIVE;
	gate->has_http = true;
	gate->http.rules = &made.rules;
	make(&made, AUTHZ_ALLOW, BOB, NULL);
	publish(gate);
	expect(gate, "GET", "/", 200);
	fd = raw_connect(gate->plane.ports[0]);
	assert_true(raw_say(fd, "GET / HTTP/1.1\r\nHost: reviews\r\nX-Forwarded-Client-Cert: By=x;URI=" BOB "\r\n\r\n"));
	assert_true(raw_response(fd, got, sizeof(got)));
	assert_memory_equal(got, "HTTP/1.1 403", 12);
	assert_non_null(strstr(got, "RBAC: access denied"));
	close(fd);
	assert_int_equal(atomic_load(&gate->calls), 1);
	/* any verified peer: the same */
	made.who.has_string = false;
	publish(gate);
	fd = raw_connect(gate->plane.ports[0]);
	assert_true(raw_say(fd, "GET / HTTP/1.1\r\nHost: reviews\r\n\r\n"));
	assert_true(raw_response(fd, got, sizeof(got)));
	assert_memory_equal(got, "HTTP/1.1 403", 12);
	close(fd);
	expect(gate, "GET", "/", 200);
	gate->has_http = false;
	publish(gate);
	expect(gate, "GET", "/", 200);
}

static void forwarded(struct gate *gate, const char *xff, int status)
{
	char request[512], got[4096];
	int fd = raw_connect(gate->plane.ports[0]);

	snprintf(request, sizeof(request), "GET / HTTP/1.1\r\nHost: reviews\r\n%s\r\n", xff);
	assert_true(raw_say(fd, request));
	assert_true(raw_response(fd, got, sizeof(got)));
	if (atoi(got + 9) != status)
		fail_msg("%s: expected %d, got %.12s", xff, status, got);
	close(fd);
}

/* Where a request comes from is what the last proxy wrote, or the connection: as the connection manager is set up. */
static void test_remote_addresses(void **state)
{
	static struct authz_rule far = {.kind = AUTHZ_REMOTE_IP, .cidr = {{10, 1, 0, 0}, false, 16}};
	struct gate *gate = *state;
	struct made made;

	gate->plane.inbound = DATA_PLANE_DISABLE;
	gate->plane.client_tls = NULL;
	gate->has_http = true;
	gate->http.rules = &made.rules;
	make(&made, AUTHZ_DENY, NULL, NULL);
	made.policy.principals = &far;
	publish(gate);
	forwarded(gate, "", 200);
	forwarded(gate, "X-Forwarded-For: 10.1.2.3\r\n", 403);
	forwarded(gate, "X-Forwarded-For: 10.2.2.3\r\n", 200);
	forwarded(gate, "X-Forwarded-For: 10.1.2.3, 10.2.2.3\r\n", 200);
	forwarded(gate, "X-Forwarded-For: 10.2.2.3 ,10.1.2.3 \r\n", 403);
	forwarded(gate, "X-Forwarded-For: 10.2.2.3\r\nX-Forwarded-For: 10.1.2.3\r\n", 403);
	forwarded(gate, "X-Forwarded-For: 10.1.2.3\r\nX-Forwarded-For: nobody\r\n", 200);
	gate->paths.xff_trusted_hops = 1;
	publish(gate);
	forwarded(gate, "X-Forwarded-For: 10.1.2.3, 10.2.2.3\r\n", 403);
	forwarded(gate, "X-Forwarded-For: 10.2.2.3, 10.1.2.3\r\n", 200);
	forwarded(gate, "X-Forwarded-For: 10.1.2.3\r\n", 200); /* fewer than that: the connection's */
	gate->paths.use_remote_address = true;
	publish(gate);
	forwarded(gate, "X-Forwarded-For: 10.2.2.3, 10.1.2.3\r\n", 403);
	gate->paths.xff_trusted_hops = 0;
	publish(gate);
	forwarded(gate, "X-Forwarded-For: 10.1.2.3\r\n", 200);
	/* rules on the connection itself believe no header */
	far.kind = AUTHZ_DIRECT_REMOTE_IP;
	gate->paths.use_remote_address = false;
	publish(gate);
	forwarded(gate, "X-Forwarded-For: 10.1.2.3\r\n", 200);
	far.kind = AUTHZ_REMOTE_IP;
}

static void test_underscores(void **state)
{
	struct gate *gate = *state;

	gate->plane.inbound = DATA_PLANE_DISABLE;
	publish(gate);
	forwarded(gate, "X_A: b\r\n", 200);
	gate->paths.reject_underscores = true;
	publish(gate);
	forwarded(gate, "X_A: b\r\n", 400);
	forwarded(gate, "X-A: b_c\r\n", 200);
	gate->paths.reject_underscores = false;
	gate->paths.drop_underscores = true;
	publish(gate);
	forwarded(gate, "X_A: b\r\nX_A: c\r\nX-End: d\r\n", 200);
	assert_int_equal(gate->underscores, 0);
}

static void not_understood(struct data_plane *plane, struct chain *chain, struct arena *arena, bool inbound)
{
	if (!inbound)
		return;
	chain->http->filters = mesh_arena_array(arena, 1, sizeof(*chain->http->filters));
	chain->http->filter_count = 1;
	chain->http->filters[0].kind = HTTP_FILTER_FAIL_CLOSED;
	chain->http->filters[0].name = text("vendor.filter");
	chain->http->filters[0].reason = text("unknown type");
}

static void closed_chain(struct data_plane *plane, struct chain *chain, struct arena *arena, bool inbound)
{
	if (inbound)
		chain->kind = CHAIN_FAIL_CLOSED;
}

static void test_what_is_not_understood_fails_closed(void **state)
{
	struct gate *gate = *state;

	gate->plane.edit_chain = not_understood;
	publish(gate);
	expect(gate, "GET", "/", 503);
	gate->plane.edit_chain = closed_chain;
	publish(gate);
	expect(gate, "GET", "/", 0);
}

static void no_routes_inside(struct data_plane *plane, struct route_config *routes, bool inbound)
{
	struct gate *gate = plane->user;

	if (!inbound)
		return;
	routes->hosts[0].routes[0].match.path = text("/there");
	routes->hosts[0].routes[0].authz_filter = text("envoy.filters.http.rbac"); /* of the route alone: nothing is enforced */
	assert_true(gate->has_http);
}

/* Whom the rules refuse does not learn which paths there are. */
static void test_rules_come_before_routes(void **state)
{
	struct gate *gate = *state;
	struct made made;

	gate->has_http = true;
	gate->http.rules = &made.rules;
	gate->plane.edit_routes = no_routes_inside;
	make(&made, AUTHZ_ALLOW, EVE, NULL);
	publish(gate);
	expect(gate, "GET", "/elsewhere", 403);
	expect(gate, "GET", "/there", 200);
	make(&made, AUTHZ_ALLOW, BOB, NULL);
	publish(gate);
	expect(gate, "GET", "/elsewhere", 404);
}

/* Rules change between two requests of one connection. */
static void test_rules_follow_the_configuration(void **state)
{
	struct gate *gate = *state;
	struct made allow, deny;
	char got[4096];
	int fd = -1;

	gate->plane.inbound = DATA_PLANE_PERMISSIVE;
	gate->has_http = true;
	make(&allow, AUTHZ_ALLOW, NULL, NULL);
	make(&deny, AUTHZ_DENY, NULL, NULL);
	for (int i = 0; i < 20; i++) {
		gate->http.rules = i % 2 ? &deny.rules : &allow.rules;
		publish(gate);
		if (fd < 0)
			fd = raw_connect(gate->plane.ports[0]);
		assert_true(raw_say(fd, "GET / HTTP/1.1\r\nHost: reviews\r\n\r\n"));
		assert_true(raw_response(fd, got, sizeof(got)));
		assert_memory_equal(got, i % 2 ? "HTTP/1.1 403" : "HTTP/1.1 200", 12);
	}
	/* a chain of other security takes its place: what is open and asks for nothing ends, as Envoy drains it */
	gate->http.rules = &allow.rules;
	gate->plane.inbound = DATA_PLANE_STRICT;
	publish(gate);
	assert_true(raw_closed(fd));
	assert_int_equal(atomic_load(&gate->calls), 10);
	close(fd);
	fd = raw_connect(gate->plane.ports[0]);
	raw_say(fd, "GET / HTTP/1.1\r\nHost: reviews\r\n\r\n");
	assert_int_equal(raw_rest(fd, got, sizeof(got)), 0);
	close(fd);
	gate->has_http = false;
	publish(gate);
	expect(gate, "GET", "/", 200);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, open_gate, close_gate)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_allow),
		CASE(test_deny),
		CASE(test_shadow_rules_are_not_enforced),
		CASE(test_paths_are_normalized_before_rules),
		CASE(test_network_rules),
		CASE(test_network_rules_of_open_connections),
		CASE(test_plaintext_has_no_identity),
		CASE(test_remote_addresses),
		CASE(test_underscores),
		CASE(test_what_is_not_understood_fails_closed),
		CASE(test_rules_come_before_routes),
		CASE(test_rules_follow_the_configuration),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
