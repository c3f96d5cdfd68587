/* SPDX-License-Identifier: Apache-2.0 */
/* Where redirects send a request. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "policy/redirect.h"

#define REDIRECT .match = {.kind = PATH_MATCH_PREFIX, .path = {"/old", 4}}

static void locations(void **state)
{
	static const struct {
		struct route route;
		const char *authority, *path, *location;
	} rows[] = {
		{{REDIRECT, .redirect_port = 8443}, "reviews:9080", "/old", "http://reviews:8443/old"},
		{{REDIRECT, .redirect_port = 8443}, "reviews", "/old", "http://reviews:8443/old"},
		{{REDIRECT, .redirect_host = {"new:1", 5}}, "reviews:9080", "/old", "http://new:1/old"},
		{{REDIRECT, .redirect_scheme = {"https", 5}}, "reviews:80", "/old", "https://reviews/old"},
		{{REDIRECT, .redirect_scheme = {"https", 5}}, "reviews:9080", "/old", "https://reviews:9080/old"},
		{{REDIRECT, .redirect_prefix = true, .redirect_path = {"/new", 4}},
		 "reviews",
		 "/old/a/b?q=1",
		 "http://reviews/new/a/b?q=1"},
		{{REDIRECT, .redirect_prefix = true, .redirect_path = {"/new", 4}, .redirect_strip_query = true},
		 "reviews",
		 "/old/a?q=1",
		 "http://reviews/new/a"},
		{{REDIRECT, .redirect_path = {"/new", 4}}, "reviews", "/old?q=1", "http://reviews/new?q=1"},
		{{REDIRECT, .redirect_path = {"/new", 4}, .redirect_strip_query = true},
		 "reviews",
		 "/old?q=1",
		 "http://reviews/new"},
		{{REDIRECT, .redirect_path = {"/new?a=b", 8}, .redirect_strip_query = true},
		 "reviews",
		 "/old?q=1",
		 "http://reviews/new?a=b"},
		{{REDIRECT, .redirect_port = 8443}, "[::1]:9080", "/old", "http://[::1]:8443/old"},
		{{REDIRECT, .redirect_port = 8443}, "[::1]", "/old", "http://[::1]:8443/old"},
		{{REDIRECT, .redirect_scheme = {"https", 5}}, "[::80]", "/old", "https://[::80]/old"},
		{{REDIRECT, .redirect_prefix = true}, "reviews", "/old/a", "http://reviews/old/a"}, /* an empty one is none */
	};
	struct arena arena;

	mesh_arena_init(&arena, &mesh_mem_default, 0);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct route_request request = {.scheme = MESH_SLICE("http"),
						.authority = mesh_slice_of(rows[i].authority),
						.path = mesh_slice_of(rows[i].path)};
		struct mesh_slice location = mesh_redirect_location(&rows[i].route, &request, &arena);

		if (!mesh_slice_equal(location, mesh_slice_of(rows[i].location)))
			fail_msg("expected %s, got %.*s", rows[i].location, (int)location.len, location.data);
	}
	mesh_arena_free(&arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(locations)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
