/* SPDX-License-Identifier: Apache-2.0 */
/* Outlines: the same told as text and as JSON, escapes, empty groups, what failed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include <mesh/error.h>

#include "base/outline.h"

static void tell(struct outline *outline)
{
	mesh_outline_text(outline, "name", MESH_SLICE("a \"b\"\n"));
	mesh_outline_text(outline, "absent", mesh_slice_make(NULL, 0));
	mesh_outline_number(outline, "count", UINT64_MAX);
	mesh_outline_group(outline, "inner");
	mesh_outline_flag(outline, "on", true);
	mesh_outline_list(outline, "words");
	mesh_outline_text(outline, NULL, MESH_SLICE("one"));
	mesh_outline_printf(outline, NULL, "%d", 2);
	mesh_outline_close(outline);
	mesh_outline_list(outline, "things");
	mesh_outline_group(outline, NULL);
	mesh_outline_text(outline, "x", MESH_SLICE("1"));
	mesh_outline_text(outline, "y", MESH_SLICE("2"));
	mesh_outline_list(outline, "z");
	mesh_outline_number(outline, NULL, 3);
	mesh_outline_close(outline);
	mesh_outline_close(outline);
	mesh_outline_group(outline, NULL);
	mesh_outline_close(outline);
	mesh_outline_close(outline);
	mesh_outline_list(outline, "none");
	mesh_outline_close(outline);
	mesh_outline_close(outline);
	mesh_outline_text(outline, "last", MESH_SLICE(""));
}

static void text_is_indented(void **state)
{
	static const char expected[] = "name: a \"b\"?\n"
				       "count: 18446744073709551615\n"
				       "inner:\n"
				       "  on: true\n"
				       "  words:\n"
				       "    - one\n"
				       "    - 2\n"
				       "  things:\n"
				       "    - x: 1\n"
				       "      y: 2\n"
				       "      z:\n"
				       "        - 3\n"
				       "    - \n"
				       "  none:\n"
				       "last: \n";
	struct outline outline;
	struct buf text;

	mesh_buf_init(&text, &mesh_mem_default, 0);
	mesh_outline_begin(&outline, &text, false);
	tell(&outline);
	assert_int_equal(mesh_outline_end(&outline), 0);
	assert_int_equal(mesh_buf_len(&text), strlen(expected));
	assert_memory_equal(mesh_buf_slice(&text).data, expected, strlen(expected));
	mesh_buf_free(&text);
}

static void json_says_the_same(void **state)
{
	static const char expected[] =
		"{\"name\": \"a \\\"b\\\"\\n\", \"inner\": {\"on\": true, \"words\": [\"one\", \"2\"],"
		" \"things\": [{\"x\": \"1\", \"y\": \"2\", \"z\": [3]}, {}], \"none\": []}, \"last\": \"\"}";
	struct outline outline;
	struct buf text;
	json_t *told, *wanted = json_loads(expected, 0, NULL);

	mesh_buf_init(&text, &mesh_mem_default, 0);
	mesh_outline_begin(&outline, &text, true);
	tell(&outline);
	assert_int_equal(mesh_outline_end(&outline), 0);
	/* jansson's integers are signed: this one is looked at as text */
	assert_non_null(memmem(mesh_buf_slice(&text).data, mesh_buf_len(&text), "\"count\": 18446744073709551615,", 30));
	told = json_loadb(mesh_buf_slice(&text).data, mesh_buf_len(&text), JSON_DECODE_INT_AS_REAL, NULL);
	assert_non_null(told);
	assert_int_equal(json_object_del(told, "count"), 0);
	json_decref(wanted);
	wanted = json_loads(expected, JSON_DECODE_INT_AS_REAL, NULL);
	assert_true(json_equal(told, wanted));
	json_decref(told);
	json_decref(wanted);
	mesh_buf_free(&text);
}

static void too_much_is_told(void **state)
{
	struct outline outline;
	struct buf text;

	mesh_buf_init(&text, &mesh_mem_default, 8);
	mesh_outline_begin(&outline, &text, true);
	tell(&outline);
	assert_int_equal(mesh_outline_end(&outline), MESH_ERROR_TOO_LARGE);
	mesh_buf_free(&text);
}

static void nesting_is_bounded(void **state)
{
	struct outline outline;
	struct buf text;

	mesh_buf_init(&text, &mesh_mem_default, 0);
	mesh_outline_begin(&outline, &text, false);
	for (int i = 0; i < 3 * MESH_OUTLINE_NESTING; i++)
		mesh_outline_group(&outline, "g");
	for (int i = 0; i < 3 * MESH_OUTLINE_NESTING; i++)
		mesh_outline_close(&outline);
	assert_int_equal(mesh_outline_end(&outline), MESH_ERROR_TOO_LARGE);
	mesh_buf_free(&text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(text_is_indented),
		cmocka_unit_test(json_says_the_same),
		cmocka_unit_test(too_much_is_told),
		cmocka_unit_test(nesting_is_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
