/* SPDX-License-Identifier: Apache-2.0 */
/* Requests from other sites' pages, at a listener and through a client: preflights answered, answers marked, order kept. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <string.h>
#include <unistd.h>

#include "support/raw_peer.h"
#include "support/served.h"

#define PREFLIGHT(origin)                                                                                              \
	"OPTIONS /version HTTP/1.1\r\nHost: reviews\r\nConnection: close\r\nOrigin: " origin                           \
	"\r\nAccess-Control-Request-Method: PUT\r\n\r\n"
#define SIMPLE(origin) "GET /version HTTP/1.1\r\nHost: reviews\r\nConnection: close\r\nOrigin: " origin "\r\n\r\n"
#define ALLOWED        "https://a.example"

static struct string_match origins[] = {{.kind = STRING_MATCH_EXACT, .text = {ALLOWED, 17}}};
static struct cors_config config;
static struct authz_rules nobody;
static struct authz_config deny_all;
static bool denied;
static void (*served_routes)(struct data_plane *plane, struct route_config *routes, bool inbound);
static void (*served_chain)(struct data_plane *plane, struct chain *chain, struct arena *arena, bool inbound);

static void edit_routes(struct data_plane *plane, struct route_config *routes, bool inbound)
{
	served_routes(plane, routes, inbound);
	routes->hosts[0].routes[0].cors = &config;
	routes->hosts[0].routes[0].cors_filter = mesh_slice_of("cors");
}

/* Authorization first, as Istio orders them. */
static void edit_chain(struct data_plane *plane, struct chain *chain, struct arena *arena, bool inbound)
{
	struct http_filter *filters = mesh_arena_array(arena, 2, sizeof(*filters));

	served_chain(plane, chain, arena, inbound);
	chain->http->filters = filters;
	chain->http->filter_count = 2;
	filters[0].kind = HTTP_FILTER_AUTHZ;
	filters[0].name = mesh_slice_of("rbac");
	deny_all.rules = &nobody;
	filters[0].authz = denied && inbound ? &deny_all : NULL;
	filters[1].kind = HTTP_FILTER_CORS;
	filters[1].name = mesh_slice_of("cors");
}

static int open_cors(void **state)
{
	struct served *served;

	served_open(state);
	served = *state;
	served_routes = served->plane.edit_routes;
	served_chain = served->plane.edit_chain;
	served->plane.edit_routes = edit_routes;
	served->plane.edit_chain = edit_chain;
	denied = false;
	config = (struct cors_config){.origins = origins,
				      .origin_count = 1,
				      .methods = {"GET,PUT", 7},
				      .max_age = {"60", 2},
				      .expose = {"x-b", 3},
				      .credentials = CORS_YES};
	return 0;
}

static void assert_not_in(struct served *served, const char *said, const char *word)
{
	int fd = raw_connect(served->port);
	char got[8192] = "";

	raw_say(fd, said);
	raw_rest(fd, got, sizeof(got));
	assert_non_null(strstr(got, "HTTP/1.1 "));
	if (strstr(got, word))
		fail_msg("\"%s\" in \"%s\"", word, got);
	close(fd);
}

static void test_listener(void **state)
{
	struct served *served = *state;
	unsigned calls;

	served_listen(served);
	served_assert_http1(served, PREFLIGHT(ALLOWED), "HTTP/1.1 200 ");
	served_assert_http1(served, PREFLIGHT(ALLOWED), "access-control-allow-origin: " ALLOWED "\r\n");
	served_assert_http1(served, PREFLIGHT(ALLOWED), "access-control-allow-methods: GET,PUT\r\n");
	served_assert_http1(served, PREFLIGHT(ALLOWED), "access-control-max-age: 60\r\n");
	served_assert_http1(served, PREFLIGHT(ALLOWED), "access-control-allow-credentials: true\r\n");
	served_assert_http1(served, PREFLIGHT(ALLOWED), "access-control-expose-headers: x-b\r\n");
	assert_int_equal(atomic_load(&served->calls), 0);
	served_assert_http1(served, SIMPLE(ALLOWED), "access-control-allow-origin: " ALLOWED "\r\n");
	served_assert_http1(served, SIMPLE(ALLOWED), "access-control-expose-headers: x-b\r\n");
	calls = atomic_load(&served->calls);
	assert_int_equal(calls, 2);
	/* to others nothing is promised; their preflights are the application's */
	assert_not_in(served, SIMPLE("https://c.example"), "access-control-");
	assert_not_in(served, PREFLIGHT("https://c.example"), "access-control-");
	assert_int_equal(atomic_load(&served->calls), calls + 2);
	config.forward = CORS_NO;
	data_plane_publish(&served->plane);
	assert_not_in(served, PREFLIGHT("https://c.example"), "access-control-allow-origin");
	served_assert_http1(served, PREFLIGHT("https://c.example"), "HTTP/1.1 200 ");
	assert_int_equal(atomic_load(&served->calls), calls + 2);
}

static void test_rules_come_first(void **state)
{
	struct served *served = *state;

	denied = true;
	served_listen(served);
	served_assert_http1(served, PREFLIGHT(ALLOWED), "HTTP/1.1 403 ");
	assert_not_in(served, PREFLIGHT(ALLOWED), "access-control-");
	assert_int_equal(atomic_load(&served->calls), 0);
}

static void test_switched_off(void **state)
{
	struct served *served = *state;

	config.enabled = (struct fraction){0, 100};
	served_listen(served);
	assert_not_in(served, PREFLIGHT(ALLOWED), "access-control-");
	assert_not_in(served, SIMPLE(ALLOWED), "access-control-");
	assert_int_equal(atomic_load(&served->calls), 2);
}

static struct mesh_call *ask(struct served *served, const char *method, const char *origin)
{
	struct mesh_header headers[] = {{mesh_slice_of("Origin"), mesh_slice_of(origin)},
					{mesh_slice_of("Access-Control-Request-Method"), mesh_slice_of("PUT")}};
	struct mesh_request request = {.size = sizeof(request),
				       .authority = mesh_slice_of("reviews:9080"),
				       .path = mesh_slice_of("/version"),
				       .method = mesh_slice_of(method),
				       .headers = headers,
				       .header_count = 2};
	struct mesh_call *call;

	assert_int_equal(mesh_call_start(served->plane.mesh, &request, NULL, NULL, &call), 0);
	assert_int_equal(mesh_call_wait(call, 10000), 0);
	return call;
}

static void expect(struct mesh_call *call, unsigned attempts, const char *name, const char *value)
{
	struct mesh_slice got = mesh_call_header(call, name);

	assert_int_equal(mesh_call_http_status(call), 200);
	assert_int_equal(mesh_call_result(call)->attempts, attempts);
	if (!value)
		assert_null(got.data);
	else if (!mesh_slice_equal(got, mesh_slice_of(value)))
		fail_msg("%s: \"%.*s\"", name, (int)got.len, got.data ? got.data : "");
	mesh_call_release(call);
}

/* The peer's own filter is not there: what comes back is this side's. */
static void only_outbound(struct data_plane *plane, struct chain *chain, struct arena *arena, bool inbound)
{
	if (inbound)
		served_chain(plane, chain, arena, inbound);
	else
		edit_chain(plane, chain, arena, inbound);
}

static void test_client(void **state)
{
	struct served *served = *state;

	served->plane.edit_chain = only_outbound;
	served_listen(served);
	served->plane.ports[0] = served->port;
	served->plane.port_count = 1;
	data_plane_publish(&served->plane);
	expect(ask(served, "OPTIONS", ALLOWED), 0, "access-control-allow-methods", "GET,PUT");
	expect(ask(served, "OPTIONS", ALLOWED), 0, "access-control-allow-origin", ALLOWED);
	assert_int_equal(atomic_load(&served->calls), 0);
	expect(ask(served, "GET", ALLOWED), 1, "access-control-allow-origin", ALLOWED);
	expect(ask(served, "GET", "https://c.example"), 1, "access-control-allow-origin", NULL);
	expect(ask(served, "OPTIONS", "https://c.example"), 1, "access-control-allow-origin", NULL);
	assert_int_equal(atomic_load(&served->calls), 3);
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, open_cors, served_close)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_listener),
		CASE(test_rules_come_first),
		CASE(test_switched_off),
		CASE(test_client),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
