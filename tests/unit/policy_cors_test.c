/* SPDX-License-Identifier: Apache-2.0 */
/* Whose pages are allowed, what is a preflight, and what either is told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <mesh/error.h>

#include "policy/cors.h"

#define S(text) mesh_slice_of(text)

static struct arena arena;
static struct headers headers, answer;
static struct route_request request = {.headers = &headers};
static struct string_match origins[] = {{.kind = STRING_MATCH_EXACT, .text = {"https://a.example", 17}},
					{.kind = STRING_MATCH_PREFIX, .text = {"https://b.", 10}}};
static struct cors_config config;
static struct mesh_slice origin;

static int setup(void **state)
{
	mesh_arena_init(&arena, &mesh_mem_default, 0);
	mesh_headers_clear(&headers);
	mesh_headers_clear(&answer);
	request.method = S("GET");
	config = (struct cors_config){.origins = origins, .origin_count = 2};
	return 0;
}

static int teardown(void **state)
{
	mesh_arena_free(&arena);
	return 0;
}

static void say(const char *name, const char *value)
{
	assert_int_equal(mesh_headers_set(&headers, &arena, S(name), S(value)), 0);
}

static enum cors_verdict check(void)
{
	return mesh_cors_check(&config, &request, 0, &arena, &origin);
}

static void assert_answer(const char *name, const char *value)
{
	struct mesh_slice got = mesh_headers_get(&answer, S(name));

	if (!value)
		assert_null(got.data);
	else if (!mesh_slice_equal(got, S(value)))
		fail_msg("%s: \"%.*s\"", name, (int)got.len, got.data);
}

static void test_origins(void **state)
{
	assert_int_equal(check(), CORS_GO_ON);
	say("origin", "https://a.example");
	assert_int_equal(check(), CORS_MARK);
	assert_true(mesh_slice_equal(origin, S("https://a.example")));
	say("origin", "https://b.other");
	assert_int_equal(check(), CORS_MARK);
	say("origin", "https://c.example");
	assert_int_equal(check(), CORS_GO_ON);
	assert_null(origin.data);
	config.origin_count = 0; /* nobody is named, nobody is allowed */
	assert_int_equal(check(), CORS_GO_ON);
	origins[1].text = S("*");
	config.origin_count = 2;
	assert_int_equal(check(), CORS_MARK);
	origins[1].text = S("https://b.");
	config.enabled = (struct fraction){0, 100};
	say("origin", "https://a.example");
	assert_int_equal(check(), CORS_GO_ON);
	config.enabled = (struct fraction){1, 100};
	assert_int_equal(mesh_cors_check(&config, &request, 200, &arena, &origin), CORS_MARK);
	assert_int_equal(mesh_cors_check(&config, &request, 201, &arena, &origin), CORS_GO_ON);
}

static void test_preflight(void **state)
{
	request.method = S("OPTIONS");
	say("origin", "https://a.example");
	assert_int_equal(check(), CORS_MARK); /* an OPTIONS as any other */
	say("access-control-request-method", "PUT");
	assert_int_equal(check(), CORS_ANSWER);
	say("origin", "https://c.example");
	assert_int_equal(check(), CORS_GO_ON);
	config.forward = CORS_YES;
	assert_int_equal(check(), CORS_GO_ON);
	config.forward = CORS_NO;
	assert_int_equal(check(), CORS_ANSWER);
	assert_null(origin.data);
	assert_int_equal(mesh_cors_preflight(&config, &request, origin, &arena, &answer), 0);
	assert_int_equal(answer.count, 0);
	config = (struct cors_config){.methods = {"GET,POST", 8},
				      .headers = {"x-a", 3},
				      .expose = {"x-b", 3},
				      .max_age = {"60", 2},
				      .credentials = CORS_YES,
				      .private_network = CORS_YES};
	assert_int_equal(mesh_cors_preflight(&config, &request, S("https://a.example"), &arena, &answer), 0);
	assert_answer("access-control-allow-origin", "https://a.example");
	assert_answer("access-control-allow-credentials", "true");
	assert_answer("access-control-allow-methods", "GET,POST");
	assert_answer("access-control-allow-headers", "x-a");
	assert_answer("access-control-max-age", "60");
	assert_answer("access-control-expose-headers", "x-b");
	assert_answer("access-control-allow-private-network", NULL);
	mesh_headers_clear(&answer);
	config.methods = config.headers = S("*"); /* what was asked for */
	config.credentials = CORS_NO;
	say("access-control-request-headers", "x-c,x-d");
	say("access-control-request-private-network", "true");
	assert_int_equal(mesh_cors_preflight(&config, &request, S("https://a.example"), &arena, &answer), 0);
	assert_answer("access-control-allow-methods", "PUT");
	assert_answer("access-control-allow-headers", "x-c,x-d");
	assert_answer("access-control-allow-credentials", NULL);
	assert_answer("access-control-allow-private-network", "true");
}

static void test_mark(void **state)
{
	config.expose = S("x-b");
	config.credentials = CORS_YES;
	config.methods = S("GET");
	assert_int_equal(mesh_headers_add(&answer, &arena, S("Access-Control-Allow-Origin"), S("*")), 0);
	assert_int_equal(mesh_cors_mark(&config, S("https://a.example"), &arena, &answer), 0);
	assert_int_equal(mesh_headers_count(&answer, S("access-control-allow-origin")), 1);
	assert_answer("access-control-allow-origin", "https://a.example"); /* over the application's own */
	assert_answer("access-control-allow-credentials", "true");
	assert_answer("access-control-expose-headers", "x-b");
	assert_answer("access-control-allow-methods", NULL);
}

static void test_most_specific_is_in_force(void **state)
{
	static struct cors_config of_route, of_cluster;
	struct route route = {.cors = &of_route, .cors_filter = {"c", 1}};
	struct weighted_cluster weighted = {.cors = &of_cluster, .cors_filter = {"c", 1}};

	assert_ptr_equal(mesh_cors_in_force(S("c"), &route, NULL), &of_route);
	assert_ptr_equal(mesh_cors_in_force(S("c"), &route, &weighted), &of_cluster);
	assert_null(mesh_cors_in_force(S("d"), &route, &weighted));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_origins, setup, teardown),
		cmocka_unit_test_setup_teardown(test_preflight, setup, teardown),
		cmocka_unit_test_setup_teardown(test_mark, setup, teardown),
		cmocka_unit_test(test_most_specific_is_in_force),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
