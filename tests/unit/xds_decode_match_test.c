/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A decoded match takes the requests that Envoy would have it take: each kind of condition is decoded, then asked with
 * requests on either side of its edge.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "policy/route_match.h"
#include "support/route_fixture.h"

/* `lines` of "name: value\n". */
static bool takes(struct route_fixture *f, const struct route *route, const char *path, const char *lines,
		  uint64_t random)
{
	struct headers headers = {0};
	struct route_request request = {.method = MESH_SLICE("GET"),
					.scheme = MESH_SLICE("http"),
					.headers = &headers,
					.authority = MESH_SLICE("a.example"),
					.path = mesh_slice_of(path),
					.random = random};
	struct mesh_slice rest = mesh_slice_of(lines);

	while (rest.len) {
		struct mesh_slice value = mesh_slice_cut(&rest, '\n'), name = mesh_slice_cut(&value, ':');

		assert_int_equal(mesh_headers_add(&headers, &f->arena, name, mesh_slice_trim(value)), 0);
	}
	return mesh_route_matches(&route->match, &request, &f->arena);
}

struct asked {
	const char *match; /* members of the RouteMatch; the same as the last row's when NULL */
	const char *subject;
	bool hit;
};

static void paths(void **state)
{
	static const struct asked rows[] = {
		{"'path': '/a'", "/a", true},
		{NULL, "/a?b=/", true},
		{NULL, "/a/", false},
		{NULL, "/A", false},
		{"'path': '/a', 'caseSensitive': false", "/A", true},
		{"'prefix': '/a'", "/ab", true},
		{NULL, "/a", true},
		{NULL, "/b?/a", false},
		{NULL, "/Ab", false},
		{"'prefix': '/A', 'caseSensitive': false", "/ab", true},
		{"'prefix': ''", "/", true},
		{"'pathSeparatedPrefix': '/a'", "/a", true},
		{NULL, "/a/b", true},
		{NULL, "/a?b", true},
		{NULL, "/ab", false},
		{NULL, "/A/b", false},
		{"'pathSeparatedPrefix': '/a', 'caseSensitive': false", "/A/b", true},
		{NULL, "/AB", false},
		{"'safeRegex': {'regex': '/v[0-9]+'}", "/v12", true},
		{NULL, "/v12?x", true},
		{NULL, "/v12/", false},
		{NULL, "/x/v12", false},
		{"'safeRegex': {'googleRe2': {'maxProgramSize': 1024}, 'regex': '/a'}", "/a", true},
		{"'safeRegex': {'regex': '/a'}, 'caseSensitive': false", "/A", false},
		{"'safeRegex': {'regex': '(?i)/a'}", "/A", true},
		{"'connectMatcher': {}", "/", false},
		{"'pathMatchPolicy': {'name': 'x', 'typedConfig': {'@type': "
		 "'envoy.extensions.path.match.uri_template.v3."
		 "UriTemplateMatchConfig', 'pathTemplate': '/a/{x}/**'}}",
		 "/a/b/c/d", true},
		{NULL, "/a/b", false},
	};
	const struct route *route = NULL;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (rows[i].match)
			route = route_fixture_match(*state, rows[i].match);
		assert_int_equal(route->kind, ROUTE_CLUSTER);
		assert_false(route->match.kind == PATH_MATCH_REGEX && route->match.ignore_case);
		if (takes(*state, route, rows[i].subject, "", 0) != rows[i].hit)
			fail_msg("row %zu: %s", i, rows[i].subject);
	}
}

/* Each matcher is of the header "x"; subjects are all headers of the request. */
static void headers(void **state)
{
	static const struct asked rows[] = {
		{"'exactMatch': 'a'", "x: a", true},
		{NULL, "X: a", true},
		{NULL, "x: A", false},
		{NULL, "x: ab", false},
		{NULL, "y: a", false},
		{"'exactMatch': ''", "x: b", true}, /* any value */
		{NULL, "", false},
		{"'prefixMatch': 'a'", "x: ab", true},
		{NULL, "x: ba", false},
		{"'suffixMatch': 'a'", "x: ba", true},
		{NULL, "x: ab", false},
		{"'containsMatch': 'a'", "x: bab", true},
		{NULL, "x: bb", false},
		{"'safeRegexMatch': {'regex': 'a+'}", "x: aa", true},
		{NULL, "x: aab", false},
		{"'rangeMatch': {'start': '-5', 'end': '10'}", "x: -5", true},
		{NULL, "x: 9", true},
		{NULL, "x: 10", false},
		{NULL, "x: -6", false},
		{NULL, "x: nine", false},
		{NULL, "", false},
		{"'presentMatch': true", "x: ", true},
		{NULL, "", false},
		{"'presentMatch': false", "x: 1", false},
		{NULL, "", true},
		{"'presentMatch': true, 'invertMatch': true", "x: 1", false},
		{NULL, "", true},
		{"'presentMatch': false, 'invertMatch': true", "x: 1", true},
		{NULL, "", false},
		{"'presentMatch': true, 'treatMissingHeaderAsEmpty': true", "", true},
		{"'invertMatch': false", "x: 1", true}, /* no specifier: presence */
		{NULL, "", false},
		{"'stringMatch': {'exact': 'a'}", "x: a", true},
		{NULL, "x: b", false},
		{"'stringMatch': {'exact': ''}", "x: ", true}, /* the empty value only */
		{NULL, "x: b", false},
		{"'stringMatch': {'exact': 'a', 'ignoreCase': true}", "x: A", true},
		{"'stringMatch': {'prefix': 'a', 'ignoreCase': true}", "x: Ab", true},
		{"'stringMatch': {'suffix': 'a', 'ignoreCase': true}", "x: bA", true},
		{"'stringMatch': {'contains': 'a', 'ignoreCase': true}", "x: bAb", true},
		{"'stringMatch': {'prefix': 'a'}", "x: Ab", false},
		{"'stringMatch': {'safeRegex': {'regex': 'a.c'}}", "x: abc", true},
		{"'stringMatch': {'safeRegex': {'regex': 'a.c'}, 'ignoreCase': true}", "x: ABC",
		 false}, /* not for regex */
		{"'stringMatch': {'exact': 'a'}, 'invertMatch': true", "x: b", true},
		{NULL, "x: a", false},
		{NULL, "", false}, /* missing is neither */
		{"'stringMatch': {'exact': 'a'}, 'invertMatch': true, 'treatMissingHeaderAsEmpty': true", "", true},
		{"'stringMatch': {'exact': ''}, 'treatMissingHeaderAsEmpty': true", "", true},
		{"'rangeMatch': {'start': '0', 'end': '1'}, 'invertMatch': true, 'treatMissingHeaderAsEmpty': true", "",
		 true},
		{"'stringMatch': {'exact': 'a,b'}", "x: a\nx: b", false}, /* several are not joined */
		{"'stringMatch': {'exact': 'b'}", "x: a\nx: b", true},
		{"'stringMatch': {'exact': 'b'}, 'invertMatch': true", "x: a\nx: b", false},
		{"'stringMatch': {'exact': 'c'}, 'invertMatch': true", "x: a\nx: b", true},
	};
	const struct route *route = NULL;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct route_fixture *f = *state;

		if (rows[i].match)
			route = route_fixture_match(
				f, mesh_arena_printf(&f->arena, "'prefix': '/', 'headers': [{'name': 'X', %s}]",
						     rows[i].match)
					   .data);
		assert_int_equal(route->kind, ROUTE_CLUSTER);
		assert_slice(route->match.headers[0].name, "x");
		assert_false(route->match.headers[0].string.kind == STRING_MATCH_REGEX &&
			     route->match.headers[0].string.ignore_case);
		if (takes(f, route, "/", rows[i].subject, 0) != rows[i].hit)
			fail_msg("row %zu: %s", i, rows[i].subject);
	}
}

static void pseudo_headers(void **state)
{
	static const struct asked rows[] = {
		{"':method', 'stringMatch': {'exact': 'GET'}", "", true},
		{"':method', 'stringMatch': {'exact': 'POST'}", "", false},
		{"':authority', 'stringMatch': {'suffix': '.example'}", "", true},
		{"':scheme', 'stringMatch': {'exact': 'https'}", "", false},
		{"':path', 'stringMatch': {'exact': '/a?b'}", "", true}, /* with query */
		{"'host', 'stringMatch': {'exact': 'a.example'}", "", true},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct route_fixture *f = *state;
		struct mesh_slice match =
			mesh_arena_printf(&f->arena, "'prefix': '/', 'headers': [{'name': %s}]", rows[i].match);

		if (takes(f, route_fixture_match(f, match.data), "/a?b", "", 0) != rows[i].hit)
			fail_msg("row %zu: %s", i, rows[i].match);
	}
}

static void queries(void **state)
{
	static const struct asked rows[] = {
		{"'stringMatch': {'exact': '1'}", "/?q=1", true},
		{NULL, "/?p=1&q=1&q=2", true}, /* the first counts */
		{NULL, "/?q=2&q=1", false},
		{NULL, "/?Q=1", false},
		{NULL, "/", false},
		{"'stringMatch': {'prefix': 'A', 'ignoreCase': true}", "/?q=ab", true},
		{"'stringMatch': {'safeRegex': {'regex': '[0-9]+'}}", "/?q=12", true},
		{NULL, "/?q=12a", false},
		{"'presentMatch': true", "/?q", true},
		{NULL, "/?qq=1", false},
		{"'stringMatch': {'exact': ''}", "/?q=", true},
		{NULL, "/?q=1", false},
	};
	const struct route *route = NULL;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct route_fixture *f = *state;

		if (rows[i].match)
			route = route_fixture_match(
				f, mesh_arena_printf(&f->arena, "'prefix': '/', 'queryParameters': [{'name': 'q', %s}]",
						     rows[i].match)
					   .data);
		assert_int_equal(route->kind, ROUTE_CLUSTER);
		if (takes(f, route, rows[i].subject, "", 0) != rows[i].hit)
			fail_msg("row %zu: %s", i, rows[i].subject);
	}
	route = route_fixture_match(*state, "'prefix': '/', 'queryParameters': [{'name': 'q'}]");
	assert_true(takes(*state, route, "/?q=1", "", 0)); /* no specifier: presence */
	assert_false(takes(*state, route, "/", "", 0));
}

static void fractions(void **state)
{
	const struct route *all;
	static const struct {
		const char *share;
		uint32_t numerator, denominator;
		uint64_t last; /* the last random number that is taken */
	} rows[] = {
		{"{'numerator': 30}", 30, 100, 29},
		{"{'numerator': 1, 'denominator': 'TEN_THOUSAND'}", 1, 10000, 0},
		{"{'numerator': 500000, 'denominator': 'MILLION'}", 500000, 1000000, 499999},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct route_fixture *f = *state;
		struct mesh_slice match = mesh_arena_printf(
			&f->arena, "'prefix': '/', 'runtimeFraction': {'runtimeKey': 'k', 'defaultValue': %s}",
			rows[i].share);
		const struct route *route = route_fixture_match(f, match.data);

		assert_int_equal(route->match.runtime_fraction.numerator, rows[i].numerator);
		assert_int_equal(route->match.runtime_fraction.denominator, rows[i].denominator);
		assert_true(takes(f, route, "/", "", rows[i].last));
		assert_false(takes(f, route, "/", "", rows[i].last + 1));
		assert_true(takes(f, route, "/", "", rows[i].denominator));
	}
	/* more than all is all */
	all = route_fixture_match(*state, "'prefix': '/', 'runtimeFraction': {'defaultValue': {'numerator': 101}}");
	assert_int_equal(all->match.runtime_fraction.numerator, 100);
	assert_true(takes(*state, all, "/", "", 99));
	/* none of all is a share, not an unset one */
	assert_false(takes(*state,
			   route_fixture_match(*state, "'prefix': '/', 'runtimeFraction': {'defaultValue': {}}"), "/",
			   "", 0));
}

static void grpc(void **state)
{
	const struct route *route = route_fixture_match(*state, "'prefix': '/', 'grpc': {}");

	assert_true(takes(*state, route, "/", "content-type: application/grpc", 0));
	assert_true(takes(*state, route, "/", "content-type: application/grpc+proto", 0));
	assert_false(takes(*state, route, "/", "content-type: application/grpc-web", 0));
	assert_false(takes(*state, route, "/", "", 0));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(paths, route_fixture_setup, route_fixture_teardown),
		cmocka_unit_test_setup_teardown(headers, route_fixture_setup, route_fixture_teardown),
		cmocka_unit_test_setup_teardown(pseudo_headers, route_fixture_setup, route_fixture_teardown),
		cmocka_unit_test_setup_teardown(queries, route_fixture_setup, route_fixture_teardown),
		cmocka_unit_test_setup_teardown(fractions, route_fixture_setup, route_fixture_teardown),
		cmocka_unit_test_setup_teardown(grpc, route_fixture_setup, route_fixture_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
