/* SPDX-License-Identifier: Apache-2.0 */
/* Faults and CORS policies of routes, virtual hosts and weighted clusters: what is taken, handed down, refused by name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include <mesh/error.h>

#include "support/route_fixture.h"

#define FAULT(members)                                                                                                 \
	"'envoy.filters.http.fault': {'@type': 'envoy.extensions.filters.http.fault.v3.HTTPFault', " members "}"
#define CORS(members)                                                                                                  \
	"'envoy.filters.http.cors': {'@type': 'envoy.extensions.filters.http.cors.v3.CorsPolicy', " members "}"
#define PER(what) ", 'typedPerFilterConfig': {" what "}"
#define TO_C      "'route': {'cluster': 'c'}"
#define MS        1000000ull

static void fault_taken(void **state)
{
	struct route *route = route_fixture_action(
		*state,
		TO_C PER(FAULT("'delay': {'fixedDelay': '1.5s', 'percentage': {'numerator': 2, 'denominator': "
			       "'TEN_THOUSAND'}},"
			       "'abort': {'httpStatus': 503, 'percentage': {'numerator': 200}}, 'upstreamCluster': 'c',"
			       "'headers': [{'name': 'X-User', 'exactMatch': 'jason'}], 'downstreamNodes': ['n'], "
			       "'maxActiveFaults': 7")));
	const struct fault_config *fault = route->fault;

	assert_non_null(fault);
	assert_int_equal(route->kind, ROUTE_CLUSTER);
	assert_slice(route->fault_filter, "envoy.filters.http.fault");
	assert_int_equal(fault->delay_ns, 1500 * MS);
	assert_int_equal(fault->delay_share.numerator, 2);
	assert_int_equal(fault->delay_share.denominator, 10000);
	assert_int_equal(fault->abort, FAULT_ABORT_HTTP);
	assert_int_equal(fault->abort_status, 503);
	assert_int_equal(fault->abort_share.numerator, 100); /* always */
	assert_slice(fault->upstream_cluster, "c");
	assert_slice(fault->headers[0].name, "x-user");
	assert_slice(fault->nodes[0], "n");
	assert_true(fault->has_active_max);
	assert_int_equal(fault->active_max, 7);
	route = route_fixture_action(*state,
				     TO_C PER(FAULT("'delay': {'headerDelay': {}}, 'abort': {'grpcStatus': 14}")));
	assert_true(route->fault->delay_header);
	assert_int_equal(route->fault->delay_share.denominator, 100); /* a share that is not set is none */
	assert_int_equal(route->fault->delay_share.numerator, 0);
	assert_int_equal(route->fault->abort, FAULT_ABORT_GRPC);
	assert_int_equal(route->fault->abort_status, 14);
	assert_false(route->fault->has_active_max);
	route = route_fixture_action(*state, TO_C PER(FAULT("'abort': {'headerAbort': {}}")));
	assert_int_equal(route->fault->abort, FAULT_ABORT_HEADER);
}

static void passed_over(void **state)
{
	struct route_fixture *f = *state;
	struct route *route = route_fixture_action(f, TO_C PER(FAULT("'responseRateLimit': {'headerLimit': {}}")));

	assert_string_equal(f->warning, "response_rate_limit of a fault: passed over");
	assert_non_null(route->fault);
	route = route_fixture_action(
		f, TO_C PER(FAULT("'abort': {'httpStatus': 503, 'percentage': {'numerator': 100}},"
				  "'headers': [{'name': 'x', 'stringMatch': {'custom': {'name': 'c'}}}]")));
	assert_string_equal(f->warning, "a fault with conditions that are not understood: passed over");
	assert_int_equal(route->fault->abort, FAULT_ABORT_NONE);
	route = route_fixture_action(
		f, TO_C PER(CORS("'allowOriginStringMatch': [{'custom': {'name': 'c'}}, {'exact': 'a'}]")));
	assert_string_equal(f->warning, "an origin of a kind that is not understood: not allowed");
	assert_int_equal(route->cors->origin_count, 1);
	assert_slice(route->cors->origins[0].text, "a");
}

static void refused(void **state)
{
	static const struct {
		const char *members, *path, *what;
	} cases[] = {
		{FAULT("'delay': {}"), "fault\"].value.delay", "fixed_delay or header_delay is required"},
		{FAULT("'delay': {'fixedDelay': '0s'}"), "fault\"].value.delay.fixed_delay", "0"},
		{FAULT("'delay': {'headerDelay': {}, 'percentage': {'denominator': 9}}"),
		 "fault\"].value.delay.percentage.denominator", "9"},
		{FAULT("'abort': {}"), "fault\"].value.abort", "is required"},
		{FAULT("'abort': {'httpStatus': 199}"), "fault\"].value.abort.http_status", "199"},
		{FAULT("'abort': {'httpStatus': 600}"), "fault\"].value.abort.http_status", "600"},
		{FAULT("'headers': [{'name': ''}]"), "fault\"].value.headers[0].name", "empty"},
		{CORS("'allowMethods': 'GET\\u000aX: y'"), "cors\"].value.allow_methods", "not a header value"},
		{CORS("'maxAge': 'a\\u000db'"), "cors\"].value.max_age", "not a header value"},
		{CORS("'allowOriginStringMatch': [{}]"), "cors\"].value.allow_origin_string_match[0]", "match_pattern"},
		{CORS("'allowOriginStringMatch': [{'safeRegex': {'regex': '('}}]"),
		 "cors\"].value.allow_origin_string_match[0]", "("},
		{CORS("'filterEnabled': {}"), "cors\"].value.filter_enabled.default_value", "is required"},
		{CORS("'shadowEnabled': {'defaultValue': {'denominator': 4}}"),
		 "cors\"].value.shadow_enabled.default_value.denominator", "4"},
	};
	struct route_fixture *f = *state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char action[600];

		snprintf(action, sizeof(action), TO_C PER("%s"), cases[i].members);
		assert_null(route_fixture_try(f, route_fixture_pack_route(f, "'prefix': '/'", action)));
		if (!strstr(f->d.why.text, cases[i].path) || !strstr(f->d.why.text, cases[i].what))
			fail_msg("%s: \"%s\"", cases[i].members, f->d.why.text);
	}
}

static void cors_taken(void **state)
{
	struct route *route = route_fixture_action(
		*state,
		TO_C PER(CORS(
			"'allowOriginStringMatch': [{'exact': 'https://a'}, {'safeRegex': {'regex': 'https://.*'}}], "
			"'allowMethods': 'GET,POST',"
			"'allowHeaders': 'x-a', 'exposeHeaders': 'x-b', 'maxAge': '86400', 'allowCredentials': true,"
			"'filterEnabled': {'defaultValue': {'numerator': 30}}, 'forwardNotMatchingPreflights': "
			"false")));
	const struct cors_config *cors = route->cors;

	assert_non_null(cors);
	assert_slice(route->cors_filter, "envoy.filters.http.cors");
	assert_int_equal(cors->origin_count, 2);
	assert_int_equal(cors->origins[1].kind, STRING_MATCH_REGEX);
	assert_slice(cors->methods, "GET,POST");
	assert_slice(cors->headers, "x-a");
	assert_slice(cors->expose, "x-b");
	assert_slice(cors->max_age, "86400");
	assert_int_equal(cors->credentials, CORS_YES);
	assert_int_equal(cors->private_network, CORS_UNSET);
	assert_int_equal(cors->forward, CORS_NO);
	assert_int_equal(cors->enabled.numerator, 30);
}

/* A fault replaces the one above it whole, a CORS policy only what it says itself. */
static void levels(void **state)
{
	struct virtual_host *host =
		route_fixture_host(*state,
				   "'routes': [{'match': {'prefix': '/a'}, 'route': {'weightedClusters': {'clusters': ["
				   "{'name': 'c', 'weight': 1" PER(FAULT("'abort': {'httpStatus': 401}") "," CORS(
					   "'maxAge': '3'")) "},"
							     "{'name': 'd', 'weight': 1}]}}" PER(
								     CORS(
									     "'maxAge': '2', 'allowCredentials': "
									     "false")) "},"
										       "{'match': {'prefix': "
										       "'/'}, " TO_C
										       "}]" PER(FAULT("'delay': "
												      "{'fixedDelay': "
												      "'1s'}, 'abort': "
												      "{'httpStatus': "
												      "503}") "," CORS(
											       "'maxAge': '1', "
											       "'allowMethods': 'GET', "
											       "'allowCredentials': "
											       "true,"
											       "'filterEnabled': "
											       "{'defaultValue': "
											       "{'numerator': 30}}")));
	const struct route *route = &host->routes[0];

	assert_int_equal(route->kind, ROUTE_CLUSTER);
	assert_int_equal(route->fault->abort_status, 503);
	assert_int_equal(route->weighted[0].fault->abort_status, 401);
	assert_int_equal(route->weighted[0].fault->delay_ns, 0);
	assert_null(route->weighted[1].fault);
	assert_slice(route->cors->max_age, "2");
	assert_slice(route->cors->methods, "GET");
	assert_int_equal(route->cors->credentials, CORS_NO);
	assert_int_equal(route->cors->enabled.denominator, 0); /* of the policy itself: all */
	assert_slice(route->weighted[0].cors->max_age, "3");
	assert_slice(route->weighted[0].cors->methods, "GET");
	assert_int_equal(route->weighted[0].cors->credentials, CORS_NO);
	assert_slice(host->routes[1].cors->max_age, "1");
	assert_int_equal(host->routes[1].cors->enabled.numerator, 30);
	assert_int_equal(host->routes[1].fault->delay_ns, 1000 * MS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fault_taken), cmocka_unit_test(passed_over), cmocka_unit_test(refused),
		cmocka_unit_test(cors_taken),  cmocka_unit_test(levels),
	};

	return cmocka_run_group_tests(tests, route_fixture_setup, route_fixture_teardown);
}
