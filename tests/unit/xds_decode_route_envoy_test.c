/* SPDX-License-Identifier: Apache-2.0 */
/* Routes decoded and applied, each row with what Envoy 1.40 was seen to do with the same route and request. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <time.h>

#include "config/cluster.h"
#include "config/subset_wish.h"
#include "policy/redirect.h"
#include "policy/route_match.h"
#include "support/route_fixture.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define METADATA     "'dynamicMetadata': [{'filter': 'f', 'path': [{'key': 'a'}], 'value': "

/* With these cookies, no certificate, and nothing said by filters. */
static void conditions(void **state)
{
	static const struct {
		const char *condition;
		bool hit;
	} rows[] = {
		{"'cookies': [{'name': 'a', 'stringMatch': {'exact': '1'}}]", true},
		{"'cookies': [{'name': 'a', 'stringMatch': {'exact': '1'}, 'invertMatch': true}]", false},
		{"'cookies': [{'name': 'zz', 'stringMatch': {'exact': '1'}}]", false},
		{"'cookies': [{'name': 'zz', 'stringMatch': {'exact': '1'}, 'invertMatch': true}]", true},
		{"'cookies': [{'name': 'd', 'stringMatch': {'exact': 'first'}}]", true},
		{"'cookies': [{'name': 'q', 'stringMatch': {'exact': 'quoted'}}]", true},
		{"'cookies': [{'name': 'sp', 'stringMatch': {'exact': 'v w'}}]", true},
		{"'cookies': [{'name': 'em', 'stringMatch': {'exact': ''}}]", true},
		{"'cookies': [{'name': 'h2', 'stringMatch': {'exact': 'x'}}]", true},
		{"'queryParameters': [{'name': 'k', 'presentMatch': true}]", true},
		{"'queryParameters': [{'name': 'k', 'presentMatch': false}]", false},
		{"'queryParameters': [{'name': 'nok', 'presentMatch': false}]", true},
		{"'queryParameters': [{'name': 'k', 'stringMatch': {'exact': '1'}}]", true},
		{"'queryParameters': [{'name': 'e', 'stringMatch': {'exact': 'a b'}}]", false},
		{"'queryParameters': [{'name': 'e', 'stringMatch': {'exact': 'a%20b'}}]", true},
		{METADATA "{'stringMatch': {'exact': '1'}}}]", false},
		{METADATA "{'stringMatch': {'exact': '1'}}, 'invert': true}]", true},
		{METADATA "{'nullMatch': {}}}]", false},
		{METADATA "{'presentMatch': false}}]", false},
		{METADATA "{'listMatch': {'oneOf': {'nullMatch': {}}}}}]", false},
		{METADATA "{'orMatch': {'valueMatchers': [{'nullMatch': {}}, {'boolMatch': false}]}}}]", false},
		{METADATA "{'doubleMatch': {'range': {'start': -1, 'end': 1}}}}]", false},
		{"'tlsContext': {'presented': true}", false},
		{"'tlsContext': {'presented': false}", true},
		{"'tlsContext': {'validated': false}", true},
		{"'tlsContext': {}", true},
	};
	struct route_fixture *f = *state;
	struct headers headers = {0};
	struct route_request request = {.path = MESH_SLICE("/x/?k=1&k=2&e=a%20b&bare&eq=a=b"), .headers = &headers};

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct mesh_slice match = mesh_arena_printf(&f->arena, "'prefix': '/x/', %s", rows[i].condition);
		const struct route *route = route_fixture_match(f, match.data);

		mesh_headers_clear(&headers);
		mesh_headers_add(&headers, &f->arena, MESH_SLICE("cookie"),
				 MESH_SLICE("a=1; d=first; d=second; q=\"quoted\"; sp=v w; em="));
		mesh_headers_add(&headers, &f->arena, MESH_SLICE("cookie"), MESH_SLICE("h2=x"));
		assert_int_equal(route->kind, ROUTE_CLUSTER);
		if (mesh_route_matches(&route->match, &request, &f->arena) != rows[i].hit)
			fail_msg("%s", rows[i].condition);
	}
}

static void redirects(void **state)
{
	static const struct {
		const char *action, *authority, *path, *location;
	} rows[] = {
		{"'redirect': {'regexRewrite': {'pattern': {'regex': '^/rd(rex)/(.*)'}, 'substitution': '/\\\\2/\\\\1'}}", "v.test",
		 "/rdrex/a/b?c", "http://v.test/a/b/rex?c"},
		{"'redirect': {'regexRewrite': {'pattern': {'regex': '^.*$'}, 'substitution': ''}}", "v.test", "/rx/a?b",
		 "http://v.test/rx/a?b"},
		{"'redirect': {'pathRewrite': '/%REQ(NO)%x'}", "v.test", "/rb/a?q", "http://v.test/x?q"},
		{"'redirect': {'pathRewrite': '%REQ(NO)%'}", "v.test", "/rc/a?q", "http://v.test/rc/a?q"},
		{"'redirect': {'pathRewrite': '/f?k=v'}", "v.test", "/a?b", "http://v.test/f?k=v"},
		{"'redirect': {'portRedirect': 8443, 'httpsRedirect': true}", "v.test:81", "/a", "https://v.test:8443/a"},
		{"'redirect': {'schemeRedirect': 'ftp', 'hostRedirect': 'h:77', 'portRedirect': 1}", "v.test", "/a",
		 "ftp://h:77:1/a"},
		{"'redirect': {}", "v.test:80", "/a?b", "http://v.test:80/a?b"},
		{"'redirect': {'stripQuery': true, 'httpsRedirect': true}", "v.test:80", "/a?b", "https://v.test/a"},
		{"'directResponse': {'status': 301}", "v.test", "/d301/x?y=1", "http://v.test/d301/x?y=1"},
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct route_fixture *f = *state;
		const struct route *route = route_fixture_action(f, rows[i].action);
		struct route_request request = {.scheme = MESH_SLICE("http"), .authority = mesh_slice_of(rows[i].authority),
						.path = mesh_slice_of(rows[i].path)};
		struct mesh_slice found = mesh_redirect_location(route, &request, &f->arena);

		if (!mesh_slice_equal(found, mesh_slice_of(rows[i].location)))
			fail_msg("%s: %.*s", rows[i].action, (int)found.len, found.data);
	}
}

static void direct_answers(void **state)
{
	static const struct {
		const char *action, *body, *type;
	} rows[] = {
		{"'directResponse': {'status': 200, 'body': {'inlineString': 'hello'}}", "hello", "text/plain"},
		{"'directResponse': {'status': 200}", "", ""},
		{"'directResponse': {'status': 200, 'body': {'inlineString': 'hello'}, 'bodyFormat':"
		 " {'textFormatSource': {'inlineString': '<%LOCAL_REPLY_BODY%:%REQ(NO)%>'}}}",
		 "<hello:->", "text/plain"},
		{"'directResponse': {'status': 200, 'bodyFormat': {'textFormat': 'x%REQ(NO)%', 'contentType': 'text/html',"
		 " 'omitEmptyValues': true}}",
		 "x", "text/html"},
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct route_fixture *f = *state;
		struct rewrite rewrite = {.route = route_fixture_action(f, rows[i].action)};
		struct route_request request = {.path = MESH_SLICE("/")};
		struct headers headers = {0};
		struct mesh_slice body, type;

		assert_int_equal(mesh_direct_answer(&rewrite, &request, &f->arena, &headers, &body, &type), 0);
		assert_int_equal(headers.count, 0);
		assert_true(mesh_slice_equal(body, mesh_slice_of(rows[i].body)));
		assert_true(mesh_slice_equal(type, mesh_slice_of(rows[i].type)));
	}
}

static void secure_only(void **state)
{
	struct route_fixture *f = *state;
	const struct virtual_host *host = route_fixture_host(
		f, "'requireTls': 'ALL', 'responseHeadersToAdd': [{'header': {'key': 'a', 'value': 'b'}}],"
		   " 'routes': [{'match': {'prefix': '/'}, 'route': {'cluster': 'c'}}]");
	struct headers headers = {0}, answer = {0};
	struct route_request request = {.scheme = MESH_SLICE("http"), .authority = MESH_SLICE("tls.test:80"),
					.path = MESH_SLICE("/a?b"), .headers = &headers};
	struct rewrite rewrite = {.host = host, .route = mesh_route_find(host, &request, &f->arena)};

	assert_int_equal(rewrite.route->kind, ROUTE_REDIRECT);
	assert_int_equal(rewrite.route->redirect_status, 301);
	assert_slice(mesh_redirect_to(&rewrite, &request, &f->arena), "https://tls.test:80/a?b");
	assert_int_equal(mesh_rewrite_response(&rewrite, &f->arena, &answer), 0);
	assert_int_equal(answer.count, 0); /* no route's, so no changes of one */
	mesh_headers_add(&headers, &f->arena, MESH_SLICE("x-forwarded-proto"), MESH_SLICE("https"));
	assert_ptr_equal(mesh_route_find(host, &request, &f->arena), &host->routes[0]);
}

static void weighted(void **state)
{
	static const struct {
		const char *header;
		const char *cluster;
	} rows[] = {{"0", "a"},	  {"9", "a"},  {"10", "b"}, {"99", "b"}, {"100", "a"}, {"110", "b"},
		    {" 5", "a"}, {"18446744073709551615", "b"}, {"-1", "b"}, {"x", "b"},   {"", "b"}};
	struct route_fixture *f = *state;
	const struct route *route = route_fixture_action(
		f, "'route': {'weightedClusters': {'headerName': 'X-W', 'clusters': [{'name': 'a', 'weight': 10},"
		   " {'clusterHeader': 'x-to', 'weight': 90}]}}");
	const struct weighted_cluster *drawn;
	uint32_t hash;

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct headers headers = {0};
		struct route_request request = {.headers = &headers, .random = 50};

		mesh_headers_add(&headers, &f->arena, MESH_SLICE("x-to"), MESH_SLICE("b"));
		mesh_headers_add(&headers, &f->arena, MESH_SLICE("x-w"), mesh_slice_of(rows[i].header));
		if (!mesh_slice_equal(mesh_route_cluster(route, &request, &hash, &drawn), mesh_slice_of(rows[i].cluster)))
			fail_msg("%s", rows[i].header);
		assert_int_equal(hash, mesh_slice_hash(mesh_slice_of(rows[i].cluster)));
	}
}

/* Time grows with the labels, not with those of the one level times those of the other. */
static void many_labels(void **state)
{
	enum { MANY = 40000, ROOM = 40 };
	struct route_fixture *f = *state;
	char *own = mesh_arena_alloc(&f->arena, MANY * ROOM), *outer = mesh_arena_alloc(&f->arena, MANY * ROOM);
	size_t own_len = 0, outer_len = 0;
	const struct subset_match *match;
	struct mesh_slice packed;
	clock_t before;

	for (int i = 0; i < MANY; i++) {
		own_len += (size_t)sprintf(own + own_len, "%s'a%d': 'own'", i ? ", " : "", i);
		outer_len += (size_t)sprintf(outer + outer_len, "%s'%c%d': 'outer'", i ? ", " : "", i % 2 ? 'a' : 'b', i);
	}
	packed = route_fixture_pack_route(
		f, "'prefix': '/'",
		mesh_arena_printf(&f->arena,
				  "'route': {'metadataMatch': {'filterMetadata': {'envoy.lb': {%s}}}, 'weightedClusters': {'clusters':"
				  " [{'name': 'c', 'weight': 1, 'metadataMatch': {'filterMetadata': {'envoy.lb': {%s}}}}]}}",
				  outer, own).data);
	before = clock();
	match = &route_fixture_decode(f, packed)->hosts[0].routes[0].weighted[0].subset->match;
	assert_true((double)(clock() - before) / CLOCKS_PER_SEC < 2);
	assert_int_equal(match->label_count, MANY + MANY / 2);
	for (size_t i = 1; i < match->label_count; i++)
		assert_true(mesh_slice_compare(match->labels[i - 1].key, match->labels[i].key) < 0);
	for (size_t i = 0; i < match->label_count; i++)
		assert_int_equal(match->labels[i].value.len, match->labels[i].key.data[0] == 'a' ? 3 : 5);
}

static void subsets(void **state)
{
	const struct route *route = route_fixture_action(
		*state, "'route': {'metadataMatch': {'filterMetadata': {'envoy.lb': {'v': '1', 'z': 'a', 'fallback_list':"
			" [{'z': 'b'}, {}]}}}, 'weightedClusters': {'clusters': [{'name': 'a', 'weight': 1}, {'name': 'b',"
			" 'weight': 1, 'metadataMatch': {'filterMetadata': {'envoy.lb': {'v': '2', 'b': 'x'}}}}]}}");
	const struct subset_wish *wish = route->weighted[1].subset;

	assert_int_equal(route->subset->match.label_count, 2);
	assert_int_equal(route->subset->fallback_count, 2);
	assert_slice(route->subset->fallbacks[0].labels[1].value, "b");
	assert_int_equal(route->subset->fallbacks[1].label_count, 2);
	assert_ptr_equal(route->weighted[0].subset, route->subset);
	assert_int_equal(wish->match.label_count, 3);
	assert_slice(wish->match.labels[0].key, "b");
	assert_slice(wish->match.labels[1].value, "2");
	assert_slice(wish->match.labels[2].value, "a");
}

static void path_parameters(void **state)
{
	struct route_fixture *f = *state;
	struct route_config *config = route_fixture_decode(
		f, route_fixture_pack(f, "'ignorePathParametersInPathMatching': true, 'vhostHeader': 'X-Host', 'virtualHosts':"
					 " [{'name': 'h', 'domains': ['by.header'], 'routes': [{'match': {'path': '/none'},"
					 " 'route': {'cluster': 'c'}}]}]"));
	struct headers headers = {0};
	struct route_request request = {.authority = MESH_SLICE("other"), .path = MESH_SLICE("/none;a=b/c?x"), .headers = &headers};

	mesh_headers_add(&headers, &f->arena, MESH_SLICE("x-host"), MESH_SLICE("BY.header"));
	assert_ptr_equal(mesh_route_find_host(config, mesh_route_host_name(config, &request), &f->arena), config->hosts);
	assert_ptr_equal(mesh_route_find(config->hosts, &request, &f->arena), config->hosts->routes);
	request.path = MESH_SLICE("/nonesuch;a");
	assert_null(mesh_route_find(config->hosts, &request, &f->arena));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(conditions, route_fixture_setup, route_fixture_teardown),
		cmocka_unit_test_setup_teardown(redirects, route_fixture_setup, route_fixture_teardown),
		cmocka_unit_test_setup_teardown(direct_answers, route_fixture_setup, route_fixture_teardown),
		cmocka_unit_test_setup_teardown(secure_only, route_fixture_setup, route_fixture_teardown),
		cmocka_unit_test_setup_teardown(weighted, route_fixture_setup, route_fixture_teardown),
		cmocka_unit_test_setup_teardown(subsets, route_fixture_setup, route_fixture_teardown),
		cmocka_unit_test_setup_teardown(many_labels, route_fixture_setup, route_fixture_teardown),
		cmocka_unit_test_setup_teardown(path_parameters, route_fixture_setup, route_fixture_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
