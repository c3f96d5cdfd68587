/* SPDX-License-Identifier: Apache-2.0 */
/* Policies for redirects that a route follows: what is taken, refused by name, and not followed where not understood. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include <mesh/error.h>

#include "support/route_fixture.h"

#define TO_C(policy) "'route': {'cluster': 'c', 'internalRedirectPolicy': {" policy "}}"
#define PREDICATE(name, type, members)                                                                                 \
	"{'name': '" name "', 'typedConfig': {'@type': 'envoy.extensions.internal_redirect." name ".v3." type          \
	"'" members "}}"

static void defaults(void **state)
{
	const struct internal_redirect_config *config = route_fixture_action(*state, TO_C(""))->internal_redirect;

	assert_int_equal(config->max, 1);
	assert_int_equal(config->codes, REDIRECT_302);
	assert_false(config->allow_cross_scheme);
	assert_int_equal(config->predicate_count, 0);
	assert_int_equal(config->copied_count, 0);
	assert_null(route_fixture_action(*state, "'route': {'cluster': 'c'}")->internal_redirect);
}

static void taken(void **state)
{
	const struct internal_redirect_config *config =
		route_fixture_action(
			*state,
			TO_C("'maxInternalRedirects': 3, 'redirectResponseCodes': [301, 303, 307, 308, 200],"
			     "'allowCrossSchemeRedirect': true, 'responseHeadersToCopy': ['X-A', 'x-b'], 'predicates': "
			     "[" PREDICATE("previous_routes", "PreviousRoutesConfig", "") ", " PREDICATE(
				     "allow_listed_routes", "AllowListedRoutesConfig",
				     ", 'allowedRouteNames': ['a', 'b']") ", " PREDICATE("safe_cross_scheme",
											 "SafeCrossSchemeConfig",
											 "") "]"))
			->internal_redirect;

	assert_int_equal(config->max, 3);
	assert_int_equal(config->codes, REDIRECT_301 | REDIRECT_303 | REDIRECT_307 | REDIRECT_308);
	assert_true(config->allow_cross_scheme);
	assert_int_equal(config->copied_count, 2);
	assert_slice(config->copied[0], "x-a");
	assert_int_equal(config->predicate_count, 3);
	assert_int_equal(config->predicates[0].kind, REDIRECT_PREVIOUS_ROUTES);
	assert_int_equal(config->predicates[1].kind, REDIRECT_ALLOWED_ROUTES);
	assert_int_equal(config->predicates[1].route_count, 2);
	assert_slice(config->predicates[1].routes[1], "b");
	assert_int_equal(config->predicates[2].kind, REDIRECT_SAFE_CROSS_SCHEME);
}

/* The words in use before there was a policy; with one they say nothing. */
static void older_words(void **state)
{
	const char *handled = "'route': {'cluster': 'c', 'internalRedirectAction': 'HANDLE_INTERNAL_REDIRECT', "
			      "'maxInternalRedirects': 4}";
	const struct route *route = route_fixture_action(*state, handled);

	assert_int_equal(route->internal_redirect->max, 4);
	assert_int_equal(route->internal_redirect->codes, REDIRECT_302);
	route = route_fixture_action(*state, "'route': {'cluster': 'c', 'internalRedirectAction': "
					     "'PASS_THROUGH_INTERNAL_REDIRECT', 'maxInternalRedirects': 4}");
	assert_null(route->internal_redirect);
	route = route_fixture_action(*state, "'route': {'cluster': 'c', 'internalRedirectAction': "
					     "'HANDLE_INTERNAL_REDIRECT', 'maxInternalRedirects': 4, "
					     "'internalRedirectPolicy': {}}");
	assert_int_equal(route->internal_redirect->max, 1);
}

static void bounded(void **state)
{
	struct route_fixture *f = *state;

	assert_int_equal(route_fixture_action(f, TO_C("'maxInternalRedirects': 51"))->internal_redirect->max, 50);
	assert_string_equal(f->warning, "max_internal_redirects 51: 50 are followed");
	assert_int_equal(route_fixture_action(f, TO_C("'maxInternalRedirects': 50"))->internal_redirect->max, 50);
	assert_int_equal(f->warnings, 0);
	assert_int_equal(route_fixture_action(f, TO_C("'maxInternalRedirects': 0"))->internal_redirect->max, 0);
}

static void not_understood(void **state)
{
	struct route_fixture *f = *state;
	struct route *route = route_fixture_action(f, TO_C("'predicates': [{'name': 'x', 'typedConfig': {'@type': "
							   "'envoy.extensions.filters.http.cors.v3.Cors'}}]"));

	assert_int_equal(route->kind, ROUTE_CLUSTER);
	assert_null(route->internal_redirect);
	assert_string_equal(f->warning,
			    "an internal redirect policy that is not understood: redirects are not followed");
}

static void refused(void **state)
{
	static const struct {
		const char *policy, *path, *what;
	} cases[] = {
		{"'redirectResponseCodes': [301, 302, 303, 307, 308, 301]",
		 "internal_redirect_policy.redirect_response_codes", "6: at most 5"},
		{"'responseHeadersToCopy': [':path']", "internal_redirect_policy.response_headers_to_copy[0]",
		 "\":path\""},
		{"'responseHeadersToCopy': ['x', 'Host']", "response_headers_to_copy[1]", "\"Host\""},
		{"'responseHeadersToCopy': ['a b']", "response_headers_to_copy[0]", "\"a b\": not a header name"},
	};
	struct route_fixture *f = *state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char action[600];

		snprintf(action, sizeof(action), TO_C("%s"), cases[i].policy);
		assert_null(route_fixture_try(f, route_fixture_pack_route(f, "'prefix': '/'", action)));
		if (!strstr(f->d.why.text, cases[i].path) || !strstr(f->d.why.text, cases[i].what))
			fail_msg("%s: \"%s\"", cases[i].policy, f->d.why.text);
	}
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, route_fixture_setup, route_fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(defaults), CASE(taken), CASE(older_words), CASE(bounded), CASE(not_understood), CASE(refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
