/* SPDX-License-Identifier: Apache-2.0 */
/* What is not understood of a route configuration closes the routes it could open, and no others, with a note. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "policy/route_match.h"
#include "support/route_fixture.h"

#define ROUTE	"virtual_hosts[0].routes[0]"
#define CLUSTER "'route': {'cluster': 'c'}"

struct closed {
	const char *members;
	const char *note; /* the whole first line */
};

static void assert_closed(struct route_fixture *f, const struct route *route, const char *note)
{
	struct mesh_slice notes = mesh_buf_slice(&f->d.notes), line = mesh_slice_cut(&notes, '\n');

	assert_int_equal(route->kind, ROUTE_FAIL_CLOSED);
	assert_slice(line, note);
	assert_slice(route->fail_reason, note);
}

static void actions(void **state)
{
	static const struct closed rows[] = {
		{"'filterAction': {}", ROUTE ": filter_action: not supported"},
		{"'route': {'clusterSpecifierPlugin': 'x'}", ROUTE ".route.cluster_specifier_plugin: not supported"},
		{"'route': {'inlineClusterSpecifierPlugin': {}}",
		 ROUTE ".route.cluster_specifier_plugin: not supported"},
		{"'route': {'weightedClusters': {'clusters': [{'name': 'a', 'weight': 1, 'typedPerFilterConfig': {'f':"
		 " {'@type': 'envoy.extensions.filters.http.rbac.v3.RBACPerRoute'}}}]}}",
		 ROUTE ".route.weighted_clusters.clusters[0].typed_per_filter_config: not supported"},
		{"'route': {'cluster': 'c', 'rateLimits': [{}]}", ROUTE ".route.rate_limits: not supported"},
		/* of several reasons the first stays */
		{"'route': {'cluster': 'c', 'rateLimits': [{}]}, 'typedPerFilterConfig': {'f': {'@type':"
		 " 'envoy.config.route.v3.FilterAction'}}",
		 ROUTE ".route.rate_limits: not supported"},
		{"'route': {'cluster': 'c', 'pathRewritePolicy': {'name': 'x'}}",
		 ROUTE ".route.path_rewrite_policy: not supported"},
		{"'route': {'cluster': 'c', 'hostRewritePathRegex': {'pattern': {'regex': 'a'}, 'substitution': '\\\\1'}}",
		 ROUTE ".route.host_rewrite_path_regex.substitution: not supported"},
		{"'route': {'cluster': 'c', 'regexRewrite': {'pattern': {'regex': '(a)'}, 'substitution': '/\\\\2'}}",
		 ROUTE ".route.regex_rewrite.substitution: not supported"},
		{"'redirect': {'regexRewrite': {'pattern': {'regex': 'a'}, 'substitution': '\\\\1'}}",
		 ROUTE ".redirect.regex_rewrite.substitution: not supported"},
		{"'directResponse': {'status': 200, 'bodyFormat': {'jsonFormat': {}}}",
		 ROUTE ".direct_response: body_format: only text is supported"},
		{"'directResponse': {'status': 200, 'body': {'filename': '/etc/passwd'}}",
		 ROUTE ".direct_response: body: only an inline one is supported"},
		{CLUSTER ", 'typedPerFilterConfig': {'f': {'@type': 'envoy.config.route.v3.FilterAction'}}", ROUTE
		 ".typed_per_filter_config[\"f\"]: envoy.config.route.v3.FilterAction: unknown setting of a filter"},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_closed(*state, route_fixture_action(*state, rows[i].members), rows[i].note);
}

static void matches(void **state)
{
	static const struct closed rows[] = {
		{"'prefix': '/a', 'cookies': [{'name': 'a', 'stringMatch': {'custom': {'name': 'x'}}}]",
		 ROUTE ".match.cookies[0].string_match.match_pattern: unknown condition"},
		{"'prefix': '/a', 'dynamicMetadata': [{'filter': 'f', 'path': [{'key': 'k'}], 'value': {'stringMatch':"
		 " {'custom': {'name': 'x'}}}}]",
		 ROUTE ".match.dynamic_metadata[0].value: unknown condition"},
		{"'prefix': '/a', 'filterState': [{}]", ROUTE ".match.filter_state: unknown condition"},
		{"'prefix': '/a', 'headers': [{'name': 'a', 'stringMatch': {'custom': {'name': 'x'}, 'ignoreCase': "
		 "true}}]",
		 ROUTE ".match.headers[0].header_match_specifier: unknown condition"},
		{"'prefix': '/a', 'queryParameters': [{'name': 'a', 'stringMatch': {'custom': {'name': 'x'}}}]",
		 ROUTE ".match.query_parameters[0].query_parameter_match_specifier: unknown condition"},
		{"'pathMatchPolicy': {'name': 'x', 'typedConfig': {'@type': 'envoy.config.route.v3.FilterAction'}}",
		 ROUTE ".match.path_match_policy: unknown condition"},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct route_fixture *f = *state;
		const struct route *route = route_fixture_match(f, rows[i].members);
		struct route_request request = {.path = MESH_SLICE("/a/b")};

		assert_closed(f, route, rows[i].note);
		assert_true(mesh_route_matches(&route->match, &request, &f->arena)); /* not left to a later route */
	}
}

/* What is understood of a match still holds: other requests go on to the next route. */
static void the_rest_of_a_match(void **state)
{
	struct route_fixture *f = *state;
	const struct virtual_host *host =
		route_fixture_host(f, "'routes': [{'match': {'prefix': '/a', 'headers': [{'name': 'x', 'stringMatch': "
				      "{'custom': {'name': 'c'},"
				      " 'ignoreCase': true}}, {'name': 'y', 'exactMatch': 'v'}]}, " CLUSTER "},"
				      " {'match': {'prefix': '/'}, " CLUSTER "}]");
	struct headers headers = {0};
	struct route_request request = {.path = MESH_SLICE("/a"), .headers = &headers};

	assert_int_equal(host->routes[0].match.header_count, 1);
	assert_false(host->routes[0].match.headers[0].string.ignore_case);
	assert_ptr_equal(mesh_route_find(host, &request, &f->arena), &host->routes[1]);
	assert_int_equal(mesh_headers_add(&headers, &f->arena, MESH_SLICE("y"), MESH_SLICE("v")), 0);
	assert_ptr_equal(mesh_route_find(host, &request, &f->arena), &host->routes[0]);
	assert_int_equal(host->routes[0].kind, ROUTE_FAIL_CLOSED);
	assert_int_equal(host->routes[1].kind, ROUTE_CLUSTER);
}

static void virtual_hosts(void **state)
{
	static const struct closed rows[] = {
		{"'rateLimits': [{}]", "virtual_hosts[0]: rate_limits: not supported"},
		{"'typedPerFilterConfig': {'f': {'@type': 'envoy.config.route.v3.FilterAction'}}",
		 "virtual_hosts[0].typed_per_filter_config[\"f\"]: envoy.config.route.v3.FilterAction: unknown setting "
		 "of a filter"},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct route_fixture *f = *state;
		struct mesh_slice members = mesh_arena_printf(
			&f->arena,
			"'virtualHosts': [{'name': 'a', 'domains': ['a'], 'routes': [{'match': {'prefix': "
			"'/a'}, " CLUSTER "},"
			" {'match': {'prefix': '/'}, 'directResponse': {'status': 200}}], %s},"
			" {'name': 'b', 'domains': ['b'], 'routes': [{'match': {'prefix': '/'}, " CLUSTER "}]}]",
			rows[i].members);
		const struct route_config *config = route_fixture_decode(f, route_fixture_pack(f, members.data));

		assert_closed(f, &config->hosts[0].routes[0], rows[i].note);
		assert_closed(f, &config->hosts[0].routes[1], rows[i].note);
		assert_int_equal(config->hosts[1].routes[0].kind, ROUTE_CLUSTER);
	}
}

static void configurations(void **state)
{
	static const struct closed rows[] = {
		{"'vhds': {}", "vhds: not supported"},
		{"'typedPerFilterConfig': {'f': {'@type': 'envoy.config.route.v3.FilterAction'}}",
		 "typed_per_filter_config[\"f\"]: envoy.config.route.v3.FilterAction: unknown setting of a filter"},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct route_fixture *f = *state;
		struct mesh_slice members =
			mesh_arena_printf(&f->arena,
					  "'virtualHosts': [{'name': 'h', 'domains': ['*'], 'routes': [{'match': "
					  "{'prefix': '/'}, " CLUSTER "}]}], %s",
					  rows[i].members);

		assert_closed(f, route_fixture_decode(f, route_fixture_pack(f, members.data))->hosts->routes,
			      rows[i].note);
	}
}

/* Tells nothing about who may do what: the route stays open. */
static void passed_over(void **state)
{
	static const struct {
		const char *members, *warning;
	} rows[] = {
		{"'route': {'cluster': 'c', 'hashPolicy': [{'filterState': {'key': 'a'}}]}",
		 "filter_state of a hash_policy"},
		{"'route': {'cluster': 'c', 'cors': {}}", "cors of a route"},
		{"'route': {'cluster': 'c', 'upgradeConfigs': [{'upgradeType': 'CONNECT', 'connectConfig': {}}]}",
		 "connect_config of a route"},
		{CLUSTER ", 'requestHeadersToAdd': [{'header': {'key': 'a', 'value': '%CLUSTER_METADATA(a:b)%'}}]",
		 "operator %CLUSTER_METADATA%: stands for nothing here"},
		{"'route': {'cluster': 'c', 'retryPolicy': {'retryOptionsPredicates': [{'name': 'x'}]}}",
		 "retry_options_predicates"},
		{CLUSTER ", 'typedPerFilterConfig': {'envoy.filters.http.fault':"
			 " {'@type': 'envoy.extensions.filters.http.fault.v3.HTTPFault', 'responseRateLimit': {'headerLimit': {}}}}",
		 "response_rate_limit of a fault: passed over"},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct route_fixture *f = *state;

		assert_int_equal(route_fixture_action(f, rows[i].members)->kind, ROUTE_CLUSTER);
		assert_int_equal(mesh_buf_len(&f->d.notes), 0);
		assert_int_equal(f->warnings, 1);
		if (strncmp(f->warning, rows[i].warning, strlen(rows[i].warning)) != 0)
			fail_msg("%s: %s", rows[i].members, f->warning);
	}
}

static void passed_over_above(void **state)
{
	struct route_fixture *f = *state;

	assert_int_equal(
		route_fixture_host(f, "'cors': {}, 'routes': [{'match': {'prefix': '/'}, " CLUSTER "}]")->routes->kind,
		ROUTE_CLUSTER);
	assert_string_equal(f->warning, "cors of a virtual host: passed over");
	assert_true(route_fixture_decode(f, route_fixture_pack(f, "'mostSpecificHeaderMutationsWins': true"))->specific_wins);
}

/* ---- fields that no version knows yet: written as bytes ---- */

static struct mesh_slice join(struct arena *arena, struct mesh_slice a, struct mesh_slice b)
{
	char *bytes = mesh_arena_alloc(arena, a.len + b.len + 1);

	assert_non_null(bytes);
	memcpy(bytes, a.data, a.len);
	memcpy(bytes + a.len, b.data, b.len);
	return mesh_slice_make(bytes, a.len + b.len);
}

/* A field of bytes; shorter than 128, numbers below 2048. */
static struct mesh_slice field(struct arena *arena, unsigned number, struct mesh_slice value)
{
	unsigned tag = number << 3 | 2;
	char head[3] = {(char)(tag < 128 ? tag : (tag & 127) | 128), (char)(tag < 128 ? value.len : tag >> 7),
			(char)value.len};

	assert_true(value.len < 128);
	return join(arena, mesh_slice_make(head, tag < 128 ? 2 : 3), value);
}

enum level {
	IN_CONFIG,
	IN_HOST,
	IN_ROUTE,
	IN_MATCH,
	IN_HEADER,
	IN_STRING,
	IN_QUERY,
	IN_ACTION,
	IN_WEIGHTED,
	IN_WEIGHT,
	IN_REDIRECT,
	IN_DIRECT,
	LEVELS,
};

static struct mesh_slice with(struct arena *a, struct mesh_slice message, enum level level, enum level unknown)
{
	return level == unknown ? join(a, message, field(a, 1000, MESH_SLICE("x"))) : message;
}

static struct mesh_slice match_with(struct arena *a, enum level unknown)
{
	struct mesh_slice string = with(a, field(a, 1, MESH_SLICE("v")), IN_STRING, unknown);
	struct mesh_slice header = join(a, field(a, 1, MESH_SLICE("n")), field(a, 13, string));
	struct mesh_slice query = with(a, field(a, 1, MESH_SLICE("q")), IN_QUERY, unknown);
	struct mesh_slice match = field(a, 1, MESH_SLICE("/"));

	match = join(a, match, field(a, 6, with(a, header, IN_HEADER, unknown)));
	return with(a, join(a, match, field(a, 7, query)), IN_MATCH, unknown);
}

static struct mesh_slice action_with(struct arena *a, enum level unknown)
{
	struct mesh_slice weight = join(a, field(a, 1, MESH_SLICE("c")), field(a, 2, MESH_SLICE("\x08\x01")));
	struct mesh_slice weighted = field(a, 1, with(a, weight, IN_WEIGHT, unknown));

	if (unknown == IN_REDIRECT)
		return field(a, 3, with(a, field(a, 1, MESH_SLICE("h")), IN_REDIRECT, unknown));
	if (unknown == IN_DIRECT)
		return field(a, 7, with(a, MESH_SLICE("\x08\xc8\x01"), IN_DIRECT, unknown));
	weighted = with(a, weighted, IN_WEIGHTED, unknown);
	return field(a, 2, with(a, field(a, 3, weighted), IN_ACTION, unknown));
}

static struct mesh_slice config_with(struct arena *a, enum level unknown)
{
	struct mesh_slice route = join(a, field(a, 1, match_with(a, unknown)), action_with(a, unknown));
	struct mesh_slice host = join(a, field(a, 1, MESH_SLICE("h")), field(a, 2, MESH_SLICE("*")));

	host = with(a, join(a, host, field(a, 3, with(a, route, IN_ROUTE, unknown))), IN_HOST, unknown);
	return with(a, join(a, field(a, 1, MESH_SLICE("r")), field(a, 2, host)), IN_CONFIG, unknown);
}

static void unknown_fields(void **state)
{
	struct route_fixture *f = *state;

	assert_int_equal(route_fixture_decode(f, config_with(&f->arena, LEVELS))->hosts->routes->kind, ROUTE_CLUSTER);
	for (int level = 0; level < LEVELS; level++) {
		const struct route *route =
			route_fixture_decode(f, config_with(&f->arena, (enum level)level))->hosts->routes;

		if (route->kind != ROUTE_FAIL_CLOSED || mesh_buf_len(&f->d.notes) == 0)
			fail_msg("an unknown field at level %d leaves the route open", level);
	}
}

/* A match or an action of a kind that no version knows yet, where nothing else stands. */
static void unknown_kinds(void **state)
{
	struct route_fixture *f = *state;
	struct arena *a = &f->arena;
	struct mesh_slice unknown = field(a, 1000, MESH_SLICE("x")), known = field(a, 1, MESH_SLICE("/"));
	struct mesh_slice routes[] = {
		join(a, field(a, 1, unknown), field(a, 2, field(a, 1, MESH_SLICE("c")))), /* path_specifier */
		join(a, field(a, 1, known), field(a, 2, unknown)),			  /* cluster_specifier */
		join(a, field(a, 1, known), unknown),					  /* action */
	};

	for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++) {
		struct mesh_slice host = join(a, field(a, 1, MESH_SLICE("h")), field(a, 2, MESH_SLICE("*")));
		struct route_request request = {.path = MESH_SLICE("/")};
		const struct route *route;

		host = join(a, host, field(a, 3, routes[i]));
		route = route_fixture_decode(f, join(a, field(a, 1, MESH_SLICE("r")), field(a, 2, host)))
				->hosts->routes;
		assert_int_equal(route->kind, ROUTE_FAIL_CLOSED);
		assert_true(mesh_route_matches(&route->match, &request, a));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(actions, route_fixture_setup, route_fixture_teardown),
		cmocka_unit_test_setup_teardown(matches, route_fixture_setup, route_fixture_teardown),
		cmocka_unit_test_setup_teardown(the_rest_of_a_match, route_fixture_setup, route_fixture_teardown),
		cmocka_unit_test_setup_teardown(virtual_hosts, route_fixture_setup, route_fixture_teardown),
		cmocka_unit_test_setup_teardown(configurations, route_fixture_setup, route_fixture_teardown),
		cmocka_unit_test_setup_teardown(passed_over, route_fixture_setup, route_fixture_teardown),
		cmocka_unit_test_setup_teardown(passed_over_above, route_fixture_setup, route_fixture_teardown),
		cmocka_unit_test_setup_teardown(unknown_fields, route_fixture_setup, route_fixture_teardown),
		cmocka_unit_test_setup_teardown(unknown_kinds, route_fixture_setup, route_fixture_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
