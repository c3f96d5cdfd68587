/* SPDX-License-Identifier: Apache-2.0 */
/* Request mirror policies: what is taken, which level's are in force, refused by name, and not made where not understood. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include <mesh/error.h>

#include "support/route_fixture.h"

#define TO_C(policies)   "'route': {'cluster': 'c', 'requestMirrorPolicies': [" policies "]}"
#define ROUTES(policies) "'routes': [{'match': {'prefix': '/'}, " TO_C(policies) "}]"

static void taken(void **state)
{
	const struct mirror_config *mirrors =
		route_fixture_action(
			*state,
			TO_C("{'cluster': 'd', 'runtimeFraction': {'defaultValue': {'numerator': 7, 'denominator': "
			     "'MILLION'}, 'runtimeKey': 'k'}, 'traceSampled': false, 'disableShadowHostSuffixAppend': "
			     "true},"
			     "{'clusterHeader': 'X-To', 'hostRewriteLiteral': 'other:81'}"))
			->mirrors;

	assert_int_equal(mirrors->count, 2);
	assert_slice(mirrors->policies[0].cluster, "d");
	assert_int_equal(mirrors->policies[0].cluster_hash, mesh_slice_hash(MESH_SLICE("d")));
	assert_int_equal(mirrors->policies[0].share.numerator, 7);
	assert_int_equal(mirrors->policies[0].share.denominator, 1000000);
	assert_true(mirrors->policies[0].keep_authority);
	assert_null(mirrors->policies[0].authority.data);
	assert_null(mirrors->policies[1].cluster.data);
	assert_slice(mirrors->policies[1].cluster_header, "x-to");
	assert_int_equal(mirrors->policies[1].share.denominator, 0); /* all */
	assert_false(mirrors->policies[1].keep_authority);
	assert_slice(mirrors->policies[1].authority, "other:81");
	assert_null(route_fixture_action(*state, TO_C(""))->mirrors);
}

static void changes_in_order(void **state)
{
	const struct mirror_policy *policy =
		route_fixture_action(*state,
				     TO_C("{'cluster': 'd', 'requestHeadersMutations': [{'remove': 'X-A'}, {'append': "
					  "{'header': {'key': 'X-B', 'value': 'b'}}}, {'removeOnMatch': {'keyMatcher': "
					  "{'prefix': 'x-c'}}}]}"))
			->mirrors->policies;

	assert_int_equal(policy->change_count, 3);
	assert_int_equal(policy->changes[0].headers->request_remove_count, 1);
	assert_slice(policy->changes[0].headers->request_remove[0], "x-a");
	assert_int_equal(policy->changes[0].headers->request_add_count, 0);
	assert_slice(policy->changes[1].headers->request_add[0].name, "x-b");
	assert_int_equal(policy->changes[1].headers->request_remove_count, 0);
	assert_null(policy->changes[2].headers);
	assert_int_equal(policy->changes[2].remove.kind, STRING_MATCH_PREFIX);
	assert_slice(policy->changes[2].remove.text, "x-c");
}

/* The most specific level alone is in force. */
static void levels(void **state)
{
	struct route_fixture *f = *state;
	struct virtual_host *host = route_fixture_host(f, "'requestMirrorPolicies': [{'cluster': 'h'}], " ROUTES(""));
	const struct route_config *config;

	assert_slice(host->routes->mirrors->policies[0].cluster, "h");
	host = route_fixture_host(f, "'requestMirrorPolicies': [{'cluster': 'h'}], " ROUTES("{'cluster': 'r'}"));
	assert_int_equal(host->routes->mirrors->count, 1);
	assert_slice(host->routes->mirrors->policies[0].cluster, "r");
	config = route_fixture_decode(
		f, route_fixture_pack(
			   f, "'requestMirrorPolicies': [{'cluster': 'a'}, {'cluster': 'b'}], 'virtualHosts': ["
			      "{'name': 'h', 'domains': ['h'], 'requestMirrorPolicies': [{'cluster': 'h'}], " ROUTES(
				      "") "}, {'name': 'i', 'domains': ['i'], " ROUTES("") "}]"));
	assert_slice(config->hosts[0].routes->mirrors->policies[0].cluster, "h");
	assert_int_equal(config->hosts[1].routes->mirrors->count, 2);
	assert_slice(config->hosts[1].routes->mirrors->policies[1].cluster, "b");
}

/* Who would be shown more than was meant is shown nothing; the route and the other policies stay. */
static void not_understood(void **state)
{
	struct route_fixture *f = *state;
	struct route *route = route_fixture_action(f, TO_C("{'cluster': 'd', 'requestHeadersMutations': "
							   "[{'removeOnMatch': {'keyMatcher': {'custom': {'name': "
							   "'n'}}}}]}, {'cluster': 'e'}"));

	assert_int_equal(route->kind, ROUTE_CLUSTER);
	assert_int_equal(route->mirrors->count, 1);
	assert_slice(route->mirrors->policies[0].cluster, "e");
	assert_string_equal(f->warning,
			    "a request mirror policy that is not understood: its requests are not mirrored");
}

static void refused(void **state)
{
	static const struct {
		const char *policy, *path, *what;
	} cases[] = {
		{"{}", "route.request_mirror_policies[0].cluster", "is required"},
		{"{'cluster': 'd', 'clusterHeader': 'x'}", "request_mirror_policies[0].cluster_header",
		 "beside cluster"},
		{"{'clusterHeader': 'a b'}", "request_mirror_policies[0].cluster_header", "\"a b\": not a header name"},
		{"{'cluster': 'd', 'hostRewriteLiteral': 'a b'}", "request_mirror_policies[0].host_rewrite_literal",
		 "\"a b\""},
		{"{'cluster': 'd', 'hostRewriteLiteral': 'a\\u000ab'}",
		 "request_mirror_policies[0].host_rewrite_literal", "not an authority"},
		{"{'cluster': 'd', 'runtimeFraction': {}}", "request_mirror_policies[0].runtime_fraction.default_value",
		 "is required"},
		{"{'cluster': 'd', 'runtimeFraction': {'defaultValue': {'denominator': 9}}}",
		 "runtime_fraction.default_value.denominator", "9"},
		{"{'cluster': 'd', 'requestHeadersMutations': [{}]}", "request_headers_mutations[0].action",
		 "is required"},
		{"{'cluster': 'd', 'requestHeadersMutations': [{'remove': ':path'}]}",
		 "request_headers_mutations[0].request_headers_to_remove[0]", "\":path\""},
		{"{'cluster': 'd', 'requestHeadersMutations': [{'removeOnMatch': {}}]}",
		 "request_headers_mutations[0].remove_on_match.key_matcher", "is required"},
	};
	struct route_fixture *f = *state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char action[600];

		snprintf(action, sizeof(action), TO_C("%s"), cases[i].policy);
		assert_null(route_fixture_try(f, route_fixture_pack_route(f, "'prefix': '/'", action)));
		if (!strstr(f->d.why.text, cases[i].path) || !strstr(f->d.why.text, cases[i].what))
			fail_msg("%s: \"%s\"", cases[i].policy, f->d.why.text);
	}
	assert_null(route_fixture_try(f, route_fixture_pack_host(f, "'requestMirrorPolicies': [{}], " ROUTES(""))));
	assert_non_null(strstr(f->d.why.text, "virtual_hosts[0].request_mirror_policies[0].cluster"));
	assert_null(route_fixture_try(f, route_fixture_pack(f, "'requestMirrorPolicies': [{}]")));
	assert_non_null(strstr(f->d.why.text, "request_mirror_policies[0].cluster"));
}

static void too_many(void **state)
{
	struct route_fixture *f = *state;
	char action[8000] = "'route': {'cluster': 'c', 'requestMirrorPolicies': [{'cluster': 'd'}";

	for (int i = 0; i < MESH_DECODE_FILTERS; i++)
		strcat(action, ", {'cluster': 'd'}");
	strcat(action, "]}");
	assert_null(route_fixture_try(f, route_fixture_pack_route(f, "'prefix': '/'", action)));
	assert_non_null(strstr(f->d.why.text, "route.request_mirror_policies: 257: at most 256"));
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, route_fixture_setup, route_fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(taken), CASE(changes_in_order), CASE(levels), CASE(not_understood), CASE(refused), CASE(too_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
