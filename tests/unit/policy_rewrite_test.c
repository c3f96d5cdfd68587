/* SPDX-License-Identifier: Apache-2.0 */
/* What routes change of requests and responses, in Envoy's order. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>

#include <mesh/error.h>

#include "base/regex.h"
#include "policy/rewrite.h"

#define S(text) mesh_slice_of(text)

static struct arena arena;
static struct headers headers;

static int setup(void **state)
{
	mesh_arena_init(&arena, &mesh_mem_default, 0);
	mesh_headers_clear(&headers);
	return 0;
}

static int teardown(void **state)
{
	mesh_arena_free(&arena);
	return 0;
}

static void have(const char *name, const char *value)
{
	assert_int_equal(mesh_headers_add(&headers, &arena, S(name), S(value)), 0);
}

/* The headers as "name=value;" in order. */
static void assert_headers(const char *expected)
{
	char text[1024] = "";
	size_t len = 0;

	for (size_t i = 0; i < headers.count; i++)
		len += (size_t)snprintf(text + len, sizeof(text) - len, "%.*s=%.*s;", (int)headers.items[i].name.len,
					headers.items[i].name.data, (int)headers.items[i].value.len,
					headers.items[i].value.data);
	assert_string_equal(text, expected);
}

static void test_how_headers_are_added(void **state)
{
	struct header_mutation add[] = {
		{HEADER_APPEND, S("x-append"), S("2"), false, NULL},
		{HEADER_APPEND, S("x-new"), S("n"), false, NULL},
		{HEADER_ADD_IF_ABSENT, S("x-there"), S("other"), false, NULL},
		{HEADER_ADD_IF_ABSENT, S("x-absent"), S("a"), false, NULL},
		{HEADER_OVERWRITE_OR_ADD, S("x-over"), S("new"), false, NULL},
		{HEADER_OVERWRITE_IF_EXISTS, S("x-exists"), S("new"), false, NULL},
		{HEADER_OVERWRITE_IF_EXISTS, S("x-missing"), S("never"), false, NULL},
		{HEADER_OVERWRITE_OR_ADD, S("x-empty"), S(""), false, NULL},
		{HEADER_OVERWRITE_OR_ADD, S("x-kept"), S(""), true, NULL},
	};
	struct route route = {.mutations = {.response_add = add, .response_add_count = sizeof(add) / sizeof(add[0])}};
	struct rewrite rewrite = {.route = &route};

	have("X-Append", "1");
	have("x-there", "t");
	have("x-over", "old");
	have("x-exists", "old");
	have("x-empty", "still");
	assert_int_equal(mesh_rewrite_response(&rewrite, &arena, &headers), 0);
	assert_headers("X-Append=1;x-there=t;x-over=new;x-exists=new;x-empty=still;x-kept=;x-append=2;x-new=n;x-absent=a;");
}

/* From the narrowest to the widest, and each takes away before it adds. */
static void test_order_of_levels(void **state)
{
	struct header_mutation one = {HEADER_APPEND, S("x"), S("cluster"), false, NULL}, two = {HEADER_APPEND, S("x"), S("route"), false, NULL};
	struct header_mutation three = {HEADER_APPEND, S("x"), S("host"), false, NULL}, four = {HEADER_APPEND, S("x"), S("all"), false, NULL};
	struct mesh_slice x = S("x"), y = S("y");
	struct weighted_cluster weighted = {.mutations = {.request_add = &one, .request_add_count = 1}};
	struct route route = {.mutations = {&two, 1, &x, 1, NULL, 0, NULL, 0}};
	struct virtual_host host = {.mutations = {&three, 1, &y, 1, NULL, 0, NULL, 0}};
	struct route_config config = {.mutations = {.request_add = &four, .request_add_count = 1}};
	struct rewrite rewrite = {&weighted, &route, &host, &config, NULL};
	struct mesh_slice authority = S("a"), path = S("/");

	have("x", "client");
	have("y", "1");
	have("z", "2");
	assert_int_equal(mesh_rewrite_request(&rewrite, &arena, &authority, &path, &headers), 0);
	assert_headers("z=2;x=route;x=host;x=all;");
	config.specific_wins = true; /* from the widest to the narrowest, but for the cluster's */
	assert_int_equal(mesh_rewrite_request(&rewrite, &arena, &authority, &path, &headers), 0);
	assert_headers("z=2;x=route;");
	assert_true(mesh_slice_equal(path, S("/")) && mesh_slice_equal(authority, S("a")));
}

static void test_authority(void **state)
{
	struct weighted_cluster weighted = {.host_rewrite = S("narrow")};
	struct route route = {.host_rewrite = S("wide"), .append_forwarded_host = true};
	struct rewrite rewrite = {.route = &route};
	struct mesh_slice authority = S("old:80"), path = S("/");

	assert_int_equal(mesh_rewrite_request(&rewrite, &arena, &authority, &path, &headers), 0);
	assert_true(mesh_slice_equal(authority, S("wide")));
	assert_headers("x-forwarded-host=old:80;x-envoy-original-host=old:80;");
	rewrite.weighted = &weighted; /* first the cluster's, then the route's, which knows no other before it */
	assert_int_equal(mesh_rewrite_request(&rewrite, &arena, &authority, &path, &headers), 0);
	assert_true(mesh_slice_equal(authority, S("wide")));
	assert_headers("x-forwarded-host=old:80,narrow;x-envoy-original-host=narrow;");
	route.host_rewrite = (struct mesh_slice){NULL, 0};
	assert_int_equal(mesh_rewrite_request(&rewrite, &arena, &authority, &path, &headers), 0);
	assert_true(mesh_slice_equal(authority, S("narrow")));
	assert_headers("x-forwarded-host=old:80,narrow;x-envoy-original-host=narrow;");
	assert_ptr_not_equal(authority.data, weighted.host_rewrite.data); /* it outlives the configuration */
}

static void know(const struct rewrite *rewrite, struct format_facts *facts)
{
	facts->method = S("GET");
}

/* Rows as a sidecar was seen to answer: the header list before and after. */
static void test_forwarded_host(void **state)
{
	static const char *const rows[][2] = {
		{NULL, "old"}, {"a,old", "a,old"}, {"a, old", "a, old,old"}, {"old,b", "old,b,old"}, {"", "old"}};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct route route = {.host_rewrite = S("new"), .append_forwarded_host = true};
		struct rewrite rewrite = {.route = &route};
		struct mesh_slice authority = S("old"), path = S("/");

		mesh_headers_clear(&headers);
		if (rows[i][0])
			have("x-forwarded-host", rows[i][0]);
		assert_int_equal(mesh_rewrite_request(&rewrite, &arena, &authority, &path, &headers), 0);
		if (!mesh_slice_equal(mesh_headers_get(&headers, S("x-forwarded-host")), S(rows[i][1])))
			fail_msg("row %zu", i);
	}
}

static void test_host_from_the_request(void **state)
{
	const struct format_piece pieces[] = {{.op = FORMAT_REQ, .text = S("x-a"), .max = SIZE_MAX},
					      {.op = FORMAT_TEXT, .text = S(".f"), .max = SIZE_MAX}};
	const struct format format = {pieces, 2};
	struct route route = {.host_rewrite_header = S("x-host")};
	struct rewrite rewrite = {.route = &route, .facts = know};
	struct mesh_slice authority = S("old"), path = S("/hpath/foo?x");

	assert_int_equal(mesh_rewrite_request(&rewrite, &arena, &authority, &path, &headers), 0);
	assert_true(mesh_slice_equal(authority, S("old"))); /* no such header */
	assert_headers("");
	have("x-host", "first");
	have("x-host", "second");
	assert_int_equal(mesh_rewrite_request(&rewrite, &arena, &authority, &path, &headers), 0);
	assert_true(mesh_slice_equal(authority, S("first")));
	route.host_rewrite_header = (struct mesh_slice){NULL, 0};
	assert_int_equal(mesh_regex_new(S("^/hpath/(.+)$"), &route.host_rewrite_regex, NULL), 0);
	route.host_rewrite_with = S("\\1.h");
	assert_int_equal(mesh_rewrite_request(&rewrite, &arena, &authority, &path, &headers), 0);
	assert_true(mesh_slice_equal(authority, S("foo.h")));
	mesh_regex_free(route.host_rewrite_regex);
	route.host_rewrite_regex = NULL;
	route.host_format = &format;
	assert_int_equal(mesh_rewrite_request(&rewrite, &arena, &authority, &path, &headers), 0);
	assert_true(mesh_slice_equal(authority, S("-.f")));
	have("x-a", "A");
	assert_int_equal(mesh_rewrite_request(&rewrite, &arena, &authority, &path, &headers), 0);
	assert_true(mesh_slice_equal(authority, S("A.f")));
	have("x-host", "two words");
	mesh_headers_remove(&headers, S("x-host"));
	have("x-host", "two words");
	route.host_rewrite_header = S("x-host");
	assert_int_equal(mesh_rewrite_request(&rewrite, &arena, &authority, &path, &headers), MESH_ERROR_INVALID);
}

/* Values are put together from the headers as they were before any change of the level, as a sidecar was seen to do. */
static void test_values_from_the_request(void **state)
{
	const struct format_piece a1 = {.op = FORMAT_REQ, .text = S("a1"), .max = SIZE_MAX};
	const struct format_piece method[] = {{.op = FORMAT_REQ, .text = S(":method"), .max = 2},
					      {.op = FORMAT_TEXT, .text = S("!"), .max = SIZE_MAX}};
	const struct format one = {&a1, 1}, two = {method, 2};
	struct header_mutation add[] = {
		{HEADER_APPEND, S("a1"), S("x"), false, NULL},
		{HEADER_ADD_IF_ABSENT, S("a1"), S("y"), false, NULL},
		{HEADER_APPEND, S("a4"), S("p"), false, NULL},
		{HEADER_OVERWRITE_OR_ADD, S("a4"), S("q"), false, NULL},
		{HEADER_APPEND, S("a5"), {NULL, 0}, false, &one},
		{HEADER_APPEND, S("a8"), {NULL, 0}, true, &one},
		{HEADER_APPEND, S("a9"), {NULL, 0}, false, &two},
	};
	struct route route = {.mutations = {.request_add = add, .request_add_count = sizeof(add) / sizeof(add[0])}};
	struct rewrite rewrite = {.route = &route, .facts = know};
	struct mesh_slice authority = S("a"), path = S("/");

	assert_int_equal(mesh_rewrite_request(&rewrite, &arena, &authority, &path, &headers), 0);
	assert_headers("a4=q;a1=x;a1=y;a4=p;a8=;a9=GE!;");
}

static void test_path_put_together(void **state)
{
	const struct format_piece pieces[] = {{.op = FORMAT_REQ, .text = S("x-a"), .max = SIZE_MAX},
					      {.op = FORMAT_PATH, .without_query = true, .max = SIZE_MAX}};
	const struct format format = {pieces, 1}, longer = {pieces, 2};
	struct route route = {.path_format = &format};
	struct rewrite rewrite = {.route = &route};
	struct mesh_slice authority = S("a"), path = S("/p/x?q");

	assert_int_equal(mesh_rewrite_request(&rewrite, &arena, &authority, &path, &headers), 0);
	assert_true(mesh_slice_equal(path, S("/p/x?q"))); /* nothing came of it */
	assert_headers("");
	have("x-a", "/new");
	route.path_format = &longer;
	assert_int_equal(mesh_rewrite_request(&rewrite, &arena, &authority, &path, &headers), 0);
	assert_true(mesh_slice_equal(path, S("/new/p/x?q")));
	assert_headers("x-a=/new;x-envoy-original-path=/p/x?q;");
}

static void test_path_prefix(void **state)
{
	static const struct {
		enum path_match_kind kind;
		const char *match, *to, *path, *expected;
	} rows[] = {
		{PATH_MATCH_PREFIX, "/old", "/new", "/old/x?q=/old", "/new/x?q=/old"},
		{PATH_MATCH_PREFIX, "/", "/v2/", "/x", "/v2/x"},
		{PATH_MATCH_PREFIX, "/old", "/", "/oldest", "/est"},
		{PATH_MATCH_SEPARATED_PREFIX, "/old", "/new", "/old?q", "/new?q"},
		{PATH_MATCH_SEPARATED_PREFIX, "/old", "/new", "/old/x", "/new/x"},
		{PATH_MATCH_EXACT, "/old", "/new/place", "/old?q=1", "/new/place?q=1"},
		{PATH_MATCH_REGEX, "", "/all", "/any/thing?q=1", "/all?q=1"},
		{PATH_MATCH_PREFIX, "/same", "/same", "/same", "/same"},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct route route = {.match = {.kind = rows[i].kind, .path = S(rows[i].match)}, .has_prefix_rewrite = true,
				      .prefix_rewrite = S(rows[i].to)};
		struct rewrite rewrite = {.route = &route};
		struct mesh_slice authority = S("a"), path = S(rows[i].path), before;

		mesh_headers_clear(&headers);
		assert_int_equal(mesh_rewrite_request(&rewrite, &arena, &authority, &path, &headers), 0);
		if (!mesh_slice_equal(path, S(rows[i].expected)))
			fail_msg("%s became %.*s, not %s", rows[i].path, (int)path.len, path.data, rows[i].expected);
		before = mesh_headers_get(&headers, S("x-envoy-original-path"));
		assert_true(mesh_slice_equal(before, S(rows[i].path))); /* where it comes out the same, too */
	}
}

static void test_path_regex(void **state)
{
	struct route route = {.regex_rewrite_with = S("/\\2/\\1")};
	struct rewrite rewrite = {.route = &route};
	struct mesh_slice authority = S("a"), path = S("/a/b?c=/a/b");

	assert_int_equal(mesh_regex_new(S("^/([^/]+)/([^/]+)$"), &route.regex_rewrite, NULL), 0);
	assert_int_equal(mesh_rewrite_request(&rewrite, &arena, &authority, &path, &headers), 0);
	assert_true(mesh_slice_equal(path, S("/b/a?c=/a/b")));
	route.regex_rewrite_with = S(""); /* a path that comes out empty stays */
	path = S("/a/b?c");
	mesh_headers_clear(&headers);
	assert_int_equal(mesh_rewrite_request(&rewrite, &arena, &authority, &path, &headers), 0);
	assert_true(mesh_slice_equal(path, S("/a/b?c")));
	assert_headers("");
	route.regex_rewrite_with = S("x");
	path = S("/a/b");
	assert_int_equal(mesh_rewrite_request(&rewrite, &arena, &authority, &path, &headers), MESH_ERROR_INVALID);
	route.regex_rewrite_with = S("/\\9");
	path = S("/a/b");
	assert_int_equal(mesh_rewrite_request(&rewrite, &arena, &authority, &path, &headers), MESH_ERROR_INVALID);
	mesh_regex_free(route.regex_rewrite);
}

static void test_path_that_is_none(void **state)
{
	struct route route = {.match = {.kind = PATH_MATCH_PREFIX, .path = S("/old")}, .has_prefix_rewrite = true,
			      .prefix_rewrite = S("new")};
	struct rewrite rewrite = {.route = &route};
	struct mesh_slice authority = S("a"), path = S("/old");

	assert_int_equal(mesh_rewrite_request(&rewrite, &arena, &authority, &path, &headers), MESH_ERROR_INVALID);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_how_headers_are_added, setup, teardown),
		cmocka_unit_test_setup_teardown(test_order_of_levels, setup, teardown),
		cmocka_unit_test_setup_teardown(test_authority, setup, teardown),
		cmocka_unit_test_setup_teardown(test_forwarded_host, setup, teardown),
		cmocka_unit_test_setup_teardown(test_host_from_the_request, setup, teardown),
		cmocka_unit_test_setup_teardown(test_values_from_the_request, setup, teardown),
		cmocka_unit_test_setup_teardown(test_path_put_together, setup, teardown),
		cmocka_unit_test_setup_teardown(test_path_prefix, setup, teardown),
		cmocka_unit_test_setup_teardown(test_path_regex, setup, teardown),
		cmocka_unit_test_setup_teardown(test_path_that_is_none, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
