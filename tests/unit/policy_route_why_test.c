/* SPDX-License-Identifier: Apache-2.0 */
/* Why a route does not match: words for each condition, and never another verdict than the matcher's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/rand.h"
#include "policy/route_why.h"
#include "support/route_fixture.h"

struct wanted {
	const char *match; /* of a route */
	const char *words; /* "": it matches */
};

static const struct wanted table[] = {
	{"'prefix': '/v1'", ""},
	{"'prefix': '/v2'", "path: wanted prefix /v2"},
	{"'path': '/v1/Books', 'caseSensitive': false", ""},
	{"'path': '/v1/book'", "path: wanted exact /v1/book"},
	{"'path': '/V1/BOOK', 'caseSensitive': false", "path: wanted exact /V1/BOOK (any case)"},
	{"'pathSeparatedPrefix': '/v1/boo'", "path: wanted path prefix /v1/boo"},
	{"'safeRegex': {'regex': '/v[2-9]/.*'}", "path: wanted regex /v[2-9]/.*"},
	{"'prefix': '/', 'headers': [{'name': 'x-user', 'stringMatch': {'exact': 'bob'}}]",
	 "header x-user: wanted exactly \"bob\""},
	{"'prefix': '/', 'headers': [{'name': 'x-user', 'stringMatch': {'exact': 'alice'}, 'invertMatch': true}]",
	 "header x-user: wanted not exactly \"alice\""},
	{"'prefix': '/', 'headers': [{'name': 'x-none', 'presentMatch': true}]", "header x-none: wanted present"},
	{"'prefix': '/', 'headers': [{'name': 'x-user', 'presentMatch': false}]", "header x-user: wanted absent"},
	{"'prefix': '/', 'headers': [{'name': 'x-age', 'rangeMatch': {'start': 1, 'end': 5}}]",
	 "header x-age: wanted a number from 1 to below 5"},
	{"'prefix': '/', 'headers': [{'name': ':method', 'stringMatch': {'exact': 'POST'}}]",
	 "header :method: wanted exactly \"POST\""},
	{"'prefix': '/', 'queryParameters': [{'name': 'q', 'stringMatch': {'prefix': 'x'}}]",
	 "query parameter q: wanted prefix \"x\""},
	{"'prefix': '/', 'queryParameters': [{'name': 'z', 'presentMatch': true}]", "query parameter z: wanted present"},
	{"'prefix': '/', 'cookies': [{'name': 'c', 'stringMatch': {'exact': 'x'}}]", "cookie c: wanted exactly \"x\""},
	{"'prefix': '/', 'queryParameters': [{'name': 'q', 'presentMatch': false}]", "query parameter q: wanted absent"},
	{"'prefix': '/', 'tlsContext': {'presented': true}", "the client's certificate is not as wanted"},
	{"'prefix': '/', 'grpc': {}", "it is for gRPC requests"},
	{"'prefix': '/', 'runtimeFraction': {'defaultValue': {'numerator': 0, 'denominator': 'HUNDRED'}}",
	 "it takes 0 of 100 requests, and this one was not drawn"},
};

static void make_request(struct route_request *request, struct headers *headers, struct arena *arena)
{
	mesh_headers_add(headers, arena, MESH_SLICE("x-user"), MESH_SLICE("alice"));
	mesh_headers_add(headers, arena, MESH_SLICE("x-age"), MESH_SLICE("41"));
	*request = (struct route_request){.method = MESH_SLICE("GET"), .scheme = MESH_SLICE("http"),
					  .authority = MESH_SLICE("books"), .path = MESH_SLICE("/v1/books?q=1&r"),
					  .headers = headers, .random = 77};
}

static void every_condition_has_words(void **state)
{
	struct route_fixture *f = *state;
	struct headers headers = {0};
	struct route_request request;
	struct arena arena;

	mesh_arena_init(&arena, &mesh_mem_default, 0);
	make_request(&request, &headers, &arena);
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		const struct route *route = route_fixture_match(f, table[i].match);
		struct why why = {{0}};
		bool matches = mesh_route_why(&route->match, &request, &arena, &why);

		assert_string_equal(why.text, table[i].words);
		assert_int_equal(matches, !table[i].words[0]);
		assert_int_equal(matches, mesh_route_matches(&route->match, &request, &arena));
	}
	mesh_arena_free(&arena);
}

/* Two conditions: the words are those of the one that fails. */
static void the_failing_condition_is_named(void **state)
{
	struct route_fixture *f = *state;
	struct headers headers = {0};
	struct route_request request;
	struct arena arena;
	struct why why = {{0}};
	const struct route *route = route_fixture_match(
		f, "'prefix': '/v1', 'headers': [{'name': 'x-user', 'stringMatch': {'exact': 'alice'}},"
		   " {'name': 'x-age', 'stringMatch': {'suffix': '2'}}]");

	mesh_arena_init(&arena, &mesh_mem_default, 0);
	make_request(&request, &headers, &arena);
	assert_false(mesh_route_why(&route->match, &request, &arena, &why));
	assert_string_equal(why.text, "header x-age: wanted suffix \"2\"");
	mesh_arena_free(&arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(every_condition_has_words, route_fixture_setup, route_fixture_teardown),
		cmocka_unit_test_setup_teardown(the_failing_condition_is_named, route_fixture_setup, route_fixture_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
