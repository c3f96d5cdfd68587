/* SPDX-License-Identifier: Apache-2.0 */
/* Does a list of fields keep its order, ignore the case of names and tell valid bytes from others, all 256 of them? */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "support/failing_mem.h"

#include "base/header.h"

#define S(literal) MESH_SLICE(literal)

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

static void add(const char *name, const char *value)
{
	assert_int_equal(mesh_headers_add(&headers, &arena, mesh_slice_of(name), mesh_slice_of(value)), 0);
}

static void assert_fields(const char *expected)
{
	char text[512] = "";
	size_t at = 0;

	for (size_t i = 0; i < headers.count; i++)
		at += (size_t)snprintf(text + at, sizeof(text) - at, "%.*s=%.*s;", (int)headers.items[i].name.len,
				       headers.items[i].name.data, (int)headers.items[i].value.len,
				       headers.items[i].value.data);
	assert_string_equal(text, expected);
}

static void getting(void **state)
{
	struct mesh_slice value;

	assert_null(mesh_headers_get(&headers, S("host")).data);
	add("Host", "a");
	add("x-empty", "");
	add("x-absent", NULL);
	add("HOST", "b");
	value = mesh_headers_get(&headers, S("host"));
	assert_true(mesh_slice_equal(value, S("a")));
	assert_int_equal(mesh_headers_count(&headers, S("hOst")), 2);
	assert_int_equal(mesh_headers_count(&headers, S("hos")), 0);
	assert_non_null(mesh_headers_get(&headers, S("x-empty")).data); /* there, though empty */
	assert_non_null(mesh_headers_get(&headers, S("x-absent")).data);
	assert_int_equal(mesh_headers_get(&headers, S("x-absent")).len, 0);
	assert_null(mesh_headers_get(&headers, S("x-none")).data);
	mesh_headers_clear(&headers);
	assert_int_equal(headers.count, 0);
}

static void changing(void **state)
{
	add("a", "1");
	add("B", "2");
	add("a", "3");
	add("c", "4");
	add("A", "5");
	assert_int_equal(mesh_headers_set(&headers, &arena, S("A"), S("6")), 0);
	assert_fields("a=6;B=2;c=4;");
	assert_int_equal(mesh_headers_set(&headers, &arena, S("d"), S("7")), 0);
	assert_fields("a=6;B=2;c=4;d=7;");
	add("b", "8");
	assert_int_equal(mesh_headers_remove(&headers, S("b")), 2);
	assert_int_equal(mesh_headers_remove(&headers, S("b")), 0);
	assert_fields("a=6;c=4;d=7;");
	assert_int_equal(mesh_headers_set(&headers, &arena, S("c"), mesh_slice_make(NULL, 0)), 0);
	assert_non_null(mesh_headers_get(&headers, S("c")).data);
}

static void copying(void **state)
{
	char name[] = "name", value[] = "value";

	assert_int_equal(mesh_headers_add_copy(&headers, &arena, mesh_slice_of(name), mesh_slice_of(value)), 0);
	assert_int_equal(mesh_headers_add_copy(&headers, &arena, mesh_slice_of(name), mesh_slice_of(NULL)), 0);
	memset(name, '#', 4);
	memset(value, '#', 5);
	assert_fields("name=value;name=;");
}

static void joining(void **state)
{
	struct mesh_slice joined;
	bool failed = false;
	struct arena none;

	add("x", "1");
	add("y", "2");
	joined = mesh_headers_joined(&headers, &arena, S("x"), &failed);
	assert_ptr_equal(joined.data, headers.items[0].value.data); /* one value is not copied */
	add("X", "");
	add("x", "3");
	joined = mesh_headers_joined(&headers, &arena, S("x"), &failed);
	assert_true(mesh_slice_equal(joined, S("1,,3")));
	assert_null(mesh_headers_joined(&headers, &arena, S("z"), &failed).data);
	assert_false(failed);
	mesh_headers_clear(&headers);
	add("x", "");
	add("x", "");
	joined = mesh_headers_joined(&headers, &arena, S("x"), &failed); /* an empty first value counts */
	assert_true(mesh_slice_equal(joined, S(",")));
	mesh_arena_init(&none, &mesh_mem_default, 1);
	assert_null(mesh_headers_joined(&headers, &none, S("x"), &failed).data);
	assert_true(failed);
	mesh_arena_free(&none);
}

static void many(void **state)
{
	char name[16];

	for (int i = 0; i < 1000; i++) {
		snprintf(name, sizeof(name), "n%d", i % 500);
		assert_int_equal(mesh_headers_add_copy(&headers, &arena, mesh_slice_of(name), S("v")), 0);
	}
	assert_int_equal(headers.count, 1000);
	assert_int_equal(mesh_headers_count(&headers, S("N499")), 2);
	for (int i = 0; i < 500; i++) {
		snprintf(name, sizeof(name), "N%d", i);
		assert_int_equal(mesh_headers_remove(&headers, mesh_slice_of(name)), 2);
	}
	assert_int_equal(headers.count, 0);
}

static void validity(void **state)
{
	for (int c = 0; c < 256; c++) {
		char text[3] = {'a', (char)c, 'b'};
		bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
		bool token = letter || (c && strchr("!#$%&'*+-.^_`|~", c) && c < 0x80);
		bool shown = c == '\t' || (c >= ' ' && c != 0x7f);

		assert_int_equal(mesh_header_name_valid(mesh_slice_make(text, 3)), token);
		assert_int_equal(mesh_header_name_valid(mesh_slice_make(text + 1, 1)), token);
		assert_int_equal(mesh_header_value_valid(mesh_slice_make(text, 3)), shown);
		assert_int_equal(mesh_header_value_valid(mesh_slice_make(text + 1, 1)), shown && c != ' ' && c != '\t');
		assert_int_equal(mesh_header_word_valid(mesh_slice_make(text, 3)), c > ' ' && c != 0x7f);
	}
	assert_false(mesh_header_word_valid(S("")));
	assert_false(mesh_header_name_valid(S("")));
	assert_false(mesh_header_name_valid(S(":path")));
	assert_true(mesh_header_value_valid(S("")));
	assert_true(mesh_header_value_valid(mesh_slice_make(NULL, 0)));
	assert_false(mesh_header_value_valid(S("a ")));
	assert_false(mesh_header_value_valid(S("\ta")));
}

static void hop_by_hop(void **state)
{
	static const char *const own[] = {"Connection", "transfer-encoding", "keep-alive", "proxy-connection", "upgrade", "TE",
					  "trailer"};
	static const char *const others[] = {"", "content-length", "host", "t", "tee", "x-connection", "trailers"};

	for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++)
		assert_true(mesh_header_hop_by_hop(mesh_slice_of(own[i])));
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		assert_false(mesh_header_hop_by_hop(mesh_slice_of(others[i])));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(getting), TEST(changing), TEST(copying), TEST(joining), TEST(many), TEST(validity), TEST(hop_by_hop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
