/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is wrong with a route configuration is refused with its path and value; what is not understood closes the routes
 * it could open, and no others, with a note.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>
#include <mesh/error.h>

#include "support/route_fixture.h"

#define ROUTE	"virtual_hosts[0].routes[0]"
#define ACTION	ROUTE ".route"
#define RETRY	ACTION ".retry_policy"
#define MATCH	ROUTE ".match"
#define CLUSTER "'route': {'cluster': 'c'}"

struct refused {
	const char *members, *path, *what;
};

static void assert_refused(struct route_fixture *f, struct mesh_slice bytes, const struct refused *row)
{
	size_t len = strlen(row->path);

	if (route_fixture_try(f, bytes))
		fail_msg("taken: %s", row->members);
	assert_int_equal(f->d.rc, MESH_ERROR_INVALID);
	if (strncmp(f->d.why.text, row->path, len) != 0 || f->d.why.text[len] != ':' ||
	    !strstr(f->d.why.text + len, row->what))
		fail_msg("%s says: %s", row->members, f->d.why.text);
}

static void configurations(void **state)
{
	static const struct refused rows[] = {
		{"'virtualHosts': [{'domains': ['*']}]", "virtual_hosts[0].name", "must not be empty"},
		{"'virtualHosts': [{'name': 'a'}]", "virtual_hosts[0].domains", "must not be empty"},
		{"'virtualHosts': [{'name': 'a', 'domains': ['x', '']}]", "virtual_hosts[0].domains[1]",
		 "must not be empty"},
		{"'virtualHosts': [{'name': 'a', 'domains': ['x.y']}, {'name': 'b', 'domains': ['X.y']}]",
		 "virtual_hosts", "domain \"x.y\" is in two of them (\"a\" and \"b\")"},
		{"'virtualHosts': [{'name': 'a', 'domains': ['*']}, {'name': 'b', 'domains': ['*']}]", "virtual_hosts",
		 "domain \"*\" is in two of them (\"a\" and \"b\")"},
		{"'virtualHosts': [{'name': 'a', 'domains': ['*.x', '*.x']}]", "virtual_hosts",
		 "domain \"*.x\" is in two of them (\"a\" and \"a\")"},
		{"'virtualHosts': [{'name': 'a', 'domains': ['x.*']}, {'name': 'b', 'domains': ['x.*']}]",
		 "virtual_hosts", "domain \"x.*\" is in two of them"},
		{"'requestHeadersToAdd': [{'header': {'key': ':path', 'value': '/'}}]",
		 "request_headers_to_add[0].header.key", "\":path\": pseudo"},
		{"'requestHeadersToAdd': [{'header': {'key': 'Host', 'value': 'a'}}]",
		 "request_headers_to_add[0].header.key", "\"Host\": pseudo"},
		{"'requestHeadersToAdd': [{}]", "request_headers_to_add[0].header", "is required"},
		{"'responseHeadersToAdd': [{'header': {'key': 'a b', 'value': '1'}}]",
		 "response_headers_to_add[0].header.key", "\"a b\": not a header name"},
		{"'responseHeadersToAdd': [{'header': {'key': '', 'value': '1'}}]",
		 "response_headers_to_add[0].header.key", "\"\": not a header name"},
		{"'responseHeadersToAdd': [{'header': {'key': 'a', 'value': '1\\r\\nb: 2'}}]",
		 "response_headers_to_add[0].header.value", "not a header value"},
		{"'responseHeadersToAdd': [{'header': {'key': 'a', 'value': '1'}, 'appendAction': 9}]",
		 "response_headers_to_add[0].append_action", "9: unknown"},
		{"'responseHeadersToAdd': [{'header': {'key': 'a', 'value': 'a%'}}]", "response_headers_to_add[0].header.value",
		 "no operator at position 1"},
		{"'responseHeadersToAdd': [{'header': {'key': 'a', 'value': '%DURATION:3%'}}]",
		 "response_headers_to_add[0].header.value", "%DURATION%: takes no length"},
		{"'requestHeadersToAdd': [{'header': {'key': 'a', 'value': '1'}, 'append': true, 'appendAction': 1}]",
		 "request_headers_to_add[0].append", "beside append_action"},
		{"'requestHeadersToRemove': ['x', ':path']", "request_headers_to_remove[1]", "\":path\": pseudo"},
		{"'responseHeadersToRemove': ['a:b']", "response_headers_to_remove[0]", "\"a:b\": not a header name"},
		{"'typedPerFilterConfig': {'x': {'@type': 'envoy.extensions.filters.http.rbac.v3.RBACPerRoute', "
		 "'rbac': {"
		 "'rules': {'action': 7}}}}",
		 "typed_per_filter_config[\"x\"].value.rbac.rules.action", "7"},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_refused(*state, route_fixture_pack(*state, rows[i].members), &rows[i]);
	assert_refused(*state, MESH_SLICE(""), &(struct refused){"nothing", "name", "must not be empty"});
}

static void routes(void **state)
{
	static const struct refused rows[] = {
		{"'routes': [{" CLUSTER "}]", MATCH, "is required"},
		{"'routes': [{'match': {'prefix': '/'}}]", ROUTE ".action", "is required"},
		{"'routes': [{'match': {}, " CLUSTER "}]", MATCH ".path_specifier", "is required"},
		{"'routes': [{'match': {'prefix': '/'}, " CLUSTER "}, {'match': {'prefix': '/'}, 'route': {}}]",
		 "virtual_hosts[0].routes[1].route.cluster_specifier", "is required"},
		{"'retryPolicy': {'retryBackOff': {}}", "virtual_hosts[0].retry_policy.retry_back_off.base_interval",
		 "is required"},
		{"'requestHeadersToRemove': ['']", "virtual_hosts[0].request_headers_to_remove[0]", "\"\""},
		{"'routes': [{'match': {'prefix': '/'}, " CLUSTER ", 'responseHeadersToRemove': ['host']}]",
		 ROUTE ".response_headers_to_remove[0]", "\"host\""},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_refused(*state, route_fixture_pack_host(*state, rows[i].members), &rows[i]);
}

static void actions(void **state)
{
	static const struct refused rows[] = {
		{"'route': {'cluster': ''}", ACTION ".cluster", "must not be empty"},
		{"'route': {'clusterHeader': ''}", ACTION ".cluster_header", "must not be empty"},
		{"'route': {'weightedClusters': {}}", ACTION ".weighted_clusters.clusters", "must not be empty"},
		{"'route': {'weightedClusters': {'clusters': [{'name': 'a', 'weight': 1}, {'weight': 1}]}}",
		 ACTION ".weighted_clusters.clusters[1].name", "must not be empty"},
		{"'route': {'weightedClusters': {'clusters': [{'name': 'a', 'weight': 0}, {'name': 'b', 'weight': 0}]}}",
		 ACTION ".weighted_clusters.clusters", "the sum of weights is 0"},
		{"'route': {'weightedClusters': {'clusters': [{'name': 'a', 'weight': 4294967295}, {'name': 'b', "
		 "'weight': 1}]}}",
		 ACTION ".weighted_clusters.clusters", "the sum of weights is 4294967296"},
		{"'route': {'weightedClusters': {'clusters': [{'name': 'a', 'weight': 1, 'hostRewriteLiteral': "
		 "'b\\r\\nc'}]}}",
		 ACTION ".weighted_clusters.clusters[0].host_rewrite_literal", "\"b??c\": not a header value"},
		{"'route': {'cluster': 'c', 'hostRewriteLiteral': 'b\\nc'}", ACTION ".host_rewrite_literal",
		 "\"b?c\": not a header value"},
		{"'route': {'cluster': 'c', 'prefixRewrite': '/a\\r\\nb: c'}", ACTION ".prefix_rewrite",
		 "\"/a??b: c\": not a header value"},
		{"'route': {'cluster': 'c', 'timeout': '-1.5s'}", ACTION ".timeout", "-1.5s: must not be negative"},
		{"'route': {'cluster': 'c', 'idleTimeout': '-0.000000001s'}", ACTION ".idle_timeout",
		 "-1e-09s: must not be negative"},
		{"'route': {'cluster': 'c', 'maxStreamDuration': {'maxStreamDuration': '-3s'}}",
		 ACTION ".max_stream_duration.max_stream_duration", "-3s: must not be negative"},
		{"'route': {'cluster': 'c', 'maxStreamDuration': {'grpcTimeoutHeaderMax': '-3s'}}",
		 ACTION ".max_stream_duration.grpc_timeout_header_max", "-3s: must not be negative"},
		{"'route': {'cluster': 'c', 'maxGrpcTimeout': '-3s'}", ACTION ".max_grpc_timeout", "-3s: must not be negative"},
		{"'route': {'cluster': 'c', 'upgradeConfigs': [{'upgradeType': 'a'}, {'upgradeType': 'A'}]}",
		 ACTION ".upgrade_configs", "\"A\": twice"},
		{"'route': {'cluster': 'c', 'prefixRewrite': '/', 'regexRewrite': {'pattern': {'regex': 'a'}}}",
		 ACTION ".regex_rewrite", "only one of prefix_rewrite"},
		{"'route': {'cluster': 'c', 'pathRewrite': '/', 'regexRewrite': {'pattern': {'regex': 'a'}}}",
		 ACTION ".regex_rewrite", "only one of prefix_rewrite"},
		{"'route': {'cluster': 'c', 'pathRewrite': '/%NO%'}", ACTION ".path_rewrite", "%NO%: unknown operator"},
		{"'route': {'cluster': 'c', 'hostRewrite': '%REQ%'}", ACTION ".host_rewrite", "%REQ%: needs a parameter"},
		{"'route': {'weightedClusters': {'clusters': [{'name': 'a', 'clusterHeader': 'b', 'weight': 1}]}}",
		 ACTION ".weighted_clusters.clusters[0].cluster_header", "beside name"},
		{"'route': {'weightedClusters': {'clusters': [{'name': 'b'}]}}",
		 ACTION ".weighted_clusters.clusters[0].weight", "is required"},
		{"'redirect': {'pathRewrite': '%PROTOCOL(x)%'}", ROUTE ".redirect.path_rewrite",
		 "%PROTOCOL%: takes no parameter"},
		{"'directResponse': {'status': 200, 'bodyFormat': {}}", ROUTE ".direct_response.body_format",
		 "a format is required"},
		{"'route': {'cluster': 'c', 'regexRewrite': {'pattern': {'regex': '('}}}",
		 ACTION ".regex_rewrite.pattern.regex", "\"(\": not a regular expression"},
		{"'route': {'cluster': 'c', 'regexRewrite': {}}", ACTION ".regex_rewrite.pattern.regex",
		 "must not be empty"},
		{"'route': {'cluster': 'c', 'hashPolicy': [{}]}", ACTION ".hash_policy[0].policy_specifier", "is required"},
		{"'route': {'cluster': 'c', 'hashPolicy': [{'header': {}}]}", ACTION ".hash_policy[0].header.header_name",
		 "must not be empty"},
		{"'route': {'cluster': 'c', 'hashPolicy': [{'cookie': {}}]}", ACTION ".hash_policy[0].cookie.name",
		 "must not be empty"},
		{"'route': {'cluster': 'c', 'hashPolicy': [{'queryParameter': {}}]}",
		 ACTION ".hash_policy[0].query_parameter.name", "must not be empty"},
		{"'route': {'cluster': 'c', 'hashPolicy': [{'header': {'headerName': 'a', 'regexRewrite': {'pattern': "
		 "{'regex': '('}}}}]}",
		 ACTION ".hash_policy[0].header.regex_rewrite.pattern.regex", "\"(\": not a regular expression"},
		{"'route': {'cluster': 'c', 'hashPolicy': [{'header': {'headerName': 'a', 'regexRewrite': {'pattern': "
		 "{'regex': 'a'}, 'substitution': '\\\\1'}}}]}",
		 ACTION ".hash_policy[0].header.regex_rewrite.substitution", "names a group that is not there"},
		{"'redirect': {'responseCode': 9}", ROUTE ".redirect.response_code", "9: unknown"},
		{"'redirect': {'portRedirect': 65536}", ROUTE ".redirect.port_redirect", "65536: must be 0..65535"},
		{"'redirect': {'hostRedirect': 'a\\r\\nb'}", ROUTE ".redirect.host_redirect",
		 "\"a??b\": not a header value"},
		{"'redirect': {'pathRedirect': '/a\\n'}", ROUTE ".redirect.path_redirect",
		 "\"/a?\": not a header value"},
		{"'redirect': {'schemeRedirect': 'a\\n'}", ROUTE ".redirect.scheme_redirect",
		 "\"a?\": not a header value"},
		{"'directResponse': {}", ROUTE ".direct_response.status", "0: must be 200..599"},
		{"'directResponse': {'status': 199}", ROUTE ".direct_response.status", "199: must be 200..599"},
		{"'directResponse': {'status': 600}", ROUTE ".direct_response.status", "600: must be 200..599"},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_refused(*state, route_fixture_pack_route(*state, "'prefix': '/'", rows[i].members), &rows[i]);
}

static void retries(void **state)
{
	static const struct refused rows[] = {
		{"'perTryTimeout': '-1s'", RETRY ".per_try_timeout", "-1s: must not be negative"},
		{"'perTryIdleTimeout': '-1s'", RETRY ".per_try_idle_timeout", "-1s: must not be negative"},
		{"'retryBackOff': {'baseInterval': '0s'}", RETRY ".retry_back_off.base_interval",
		 "0s: must be greater than 0"},
		{"'retryBackOff': {'baseInterval': '1s', 'maxInterval': '0s'}", RETRY ".retry_back_off.max_interval",
		 "0s: must be greater than 0"},
		{"'retryBackOff': {'baseInterval': '1s', 'maxInterval': '0.9s'}", RETRY ".retry_back_off.max_interval",
		 "less than base_interval"},
		{"'retryBackOff': {'maxInterval': '1s'}", RETRY ".retry_back_off.base_interval", "is required"},
		{"'retriableHeaders': [{'name': 'a'}, {'name': ''}]", RETRY ".retriable_headers[1].name",
		 "must not be empty"},
		{"'retriableRequestHeaders': [{'name': 'a', 'stringMatch': {'safeRegex': {'regex': '['}}}]",
		 RETRY ".retriable_request_headers[0].string_match.safe_regex.regex",
		 "\"[\": not a regular expression"},
		{"'retriableHeaders': [{'name': 'a', 'stringMatch': {'custom': {'name': 'x'}}}]",
		 RETRY ".retriable_headers[0]", "unknown kind"},
		{"'retryPriority': {'name': 'p', 'typedConfig': {'@type': "
		 "'envoy.extensions.retry.priority.previous_priorities.v3."
		 "PreviousPrioritiesConfig', 'updateFrequency': 0}}",
		 RETRY ".retry_priority.typed_config.update_frequency", "greater than 0"},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct route_fixture *f = *state;
		struct mesh_slice action =
			mesh_arena_printf(&f->arena, "'route': {'cluster': 'c', 'retryPolicy': {%s}}", rows[i].members);

		assert_refused(f, route_fixture_pack_route(f, "'prefix': '/'", action.data), &rows[i]);
	}
}

static void matches(void **state)
{
	static const struct refused rows[] = {
		{"'pathSeparatedPrefix': ''", MATCH ".path_separated_prefix", "must not be empty"},
		{"'pathSeparatedPrefix': '/a/'", MATCH ".path_separated_prefix", "\"/a/\": must"},
		{"'pathSeparatedPrefix': '/a?b'", MATCH ".path_separated_prefix", "\"/a?b\": must"},
		{"'safeRegex': {'regex': ''}", MATCH ".safe_regex.regex", "must not be empty"},
		{"'safeRegex': {'regex': '/(a'}", MATCH ".safe_regex.regex",
		 "\"/(a\": not a regular expression: missing )"},
		{"'safeRegex': {'regex': '(?=a)'}", MATCH ".safe_regex.regex", "\"(?=a)\": not a regular expression"},
		{"'prefix': '/', 'headers': [{'name': ''}]", MATCH ".headers[0].name", "must not be empty"},
		{"'prefix': '/', 'headers': [{'name': 'a', 'prefixMatch': ''}]", MATCH ".headers[0].prefix_match",
		 "empty"},
		{"'prefix': '/', 'headers': [{'name': 'a', 'suffixMatch': ''}]", MATCH ".headers[0].suffix_match",
		 "empty"},
		{"'prefix': '/', 'headers': [{'name': 'a', 'containsMatch': ''}]", MATCH ".headers[0].contains_match",
		 "empty"},
		{"'prefix': '/', 'headers': [{'name': 'a', 'safeRegexMatch': {'regex': 'a**'}}]",
		 MATCH ".headers[0].safe_regex_match.regex", "\"a**\": not a regular expression"},
		{"'prefix': '/', 'headers': [{'name': 'a', 'stringMatch': {'prefix': ''}}]",
		 MATCH ".headers[0].string_match.prefix", "must not be empty"},
		{"'prefix': '/', 'headers': [{'name': 'a', 'stringMatch': {}}]", MATCH ".headers[0].string_match",
		 "match_pattern is required"},
		{"'prefix': '/', 'queryParameters': [{'name': ''}]", MATCH ".query_parameters[0].name",
		 "must not be empty"},
		{"'prefix': '/', 'queryParameters': [{'name': 'a'}, {'name': 'b', 'stringMatch': {'suffix': ''}}]",
		 MATCH ".query_parameters[1].string_match.suffix", "must not be empty"},
		{"'prefix': '/', 'runtimeFraction': {}", MATCH ".runtime_fraction.default_value", "is required"},
		{"'prefix': '/', 'runtimeFraction': {'defaultValue': {'denominator': 3}}",
		 MATCH ".runtime_fraction.default_value.denominator", "3"},
		{"'pathMatchPolicy': {'name': 'x', 'typedConfig': {'@type': "
		 "'envoy.extensions.path.match.uri_template.v3."
		 "UriTemplateMatchConfig', 'pathTemplate': '/a?b'}}",
		 MATCH ".path_match_policy.typed_config.path_template", "\"/a?b\": not a path template"},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_refused(*state, route_fixture_pack_route(*state, rows[i].members, CLUSTER), &rows[i]);
}

static void too_long(void **state)
{
	struct route_fixture *f = *state;
	char *pattern = mesh_arena_zalloc(&f->arena, MESH_DECODE_PATTERN + 2);
	struct mesh_slice match;
	char room[80];

	assert_non_null(pattern);
	memset(pattern, 'a', MESH_DECODE_PATTERN);
	match = mesh_arena_printf(&f->arena, "'safeRegex': {'regex': '%s'}", pattern);
	assert_non_null(route_fixture_match(f, match.data)->match.regex);
	pattern[MESH_DECODE_PATTERN] = 'a';
	match = mesh_arena_printf(&f->arena, "'safeRegex': {'regex': '%s'}", pattern);
	snprintf(room, sizeof(room), "%d bytes: longer than %d", MESH_DECODE_PATTERN + 1, MESH_DECODE_PATTERN);
	assert_refused(f, route_fixture_pack_route(f, match.data, CLUSTER),
		       &(struct refused){"a long pattern", MATCH ".safe_regex.regex", room});
}

/* JSON bounds durations by itself: this one is written as bytes. */
static void far_durations(void **state)
{
	static const char route[] = "\x0a\x01r\x12\x24\x0a\x01h\x12\x01*\x1a\x1c\x0a\x03\x0a\x01/\x12\x15\x0a\x01"
				    "c\x42\x10\x08\xff\xff\xff\xff\xff\xff\xff\xff\x7f\x10\xff\xff\xff\xff\x03";

	assert_refused(*state, mesh_slice_make(route, sizeof(route) - 1),
		       &(struct refused){"a far duration", ACTION ".timeout", "9223372036854775807"});
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(configurations, route_fixture_setup, route_fixture_teardown),
		cmocka_unit_test_setup_teardown(routes, route_fixture_setup, route_fixture_teardown),
		cmocka_unit_test_setup_teardown(actions, route_fixture_setup, route_fixture_teardown),
		cmocka_unit_test_setup_teardown(retries, route_fixture_setup, route_fixture_teardown),
		cmocka_unit_test_setup_teardown(matches, route_fixture_setup, route_fixture_teardown),
		cmocka_unit_test_setup_teardown(too_long, route_fixture_setup, route_fixture_teardown),
		cmocka_unit_test_setup_teardown(far_durations, route_fixture_setup, route_fixture_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
