/* SPDX-License-Identifier: Apache-2.0 */
/* Moments written by conversions, whole and cut. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "base/date.h"

static void forms(void **state)
{
	static const char *const rows[][2] = {
		{"%s", "1795607737"},
		{"%Y-%m-%dT%H:%M:%E3SZ", "2026-11-25T11:55:37.625Z"},
		{"%S.%3f%z", "37.625+0000"},
		{"%f %E6f %Z", "625000000 625000 UTC"},
		{"a%%b%", "a%b"},
		{"", ""},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char text[MESH_DATE_BYTES];
		size_t len = mesh_date_format(text, 1795607737625000000ull, mesh_slice_of(rows[i][0]));

		if (!mesh_slice_equal(mesh_slice_make(text, len), mesh_slice_of(rows[i][1])))
			fail_msg("%s: %.*s", rows[i][0], (int)len, text);
	}
}

static void no_room(void **state)
{
	char text[MESH_DATE_BYTES], form[2 * MESH_DATE_BYTES];

	memset(form, 'x', sizeof(form));
	assert_true(mesh_date_format(text, 1, mesh_slice_make(form, sizeof(form))) < sizeof(text));
	for (size_t i = 0; i < sizeof(form); i++)
		form[i] = i % 2 ? 'c' : '%'; /* long ones */
	assert_true(mesh_date_format(text, 1, mesh_slice_make(form, sizeof(form))) < sizeof(text));
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(forms), cmocka_unit_test(no_room)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
