/* SPDX-License-Identifier: Apache-2.0 */
/* Which DNS names a host matches: vectors of RFC 6125 as Envoy takes them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "net/tls.h"

static void names(void **state)
{
	static const struct {
		const char *pattern, *name;
		bool matches;
	} cases[] = {
		{"a.example.com", "a.example.com", true},
		{"A.Example.COM", "a.example.com", true},
		{"a.example.com", "b.example.com", false},
		{"*.example.com", "a.example.com", true},
		{"*.example.com", "example.com", false},
		{"*.example.com", "a.b.example.com", false},
		{"*.EXAMPLE.com", "a.example.COM", true},
		{"*.example.com", ".example.com", false},
		{"*", "example", false},
		{"*", "example.com", false},
		{"*.com", "example.com", true},
		{"*.*.com", "a.b.com", false},
		{"a.*.com", "a.b.com", false},
		{"f*.example.com", "foo.example.com", true},
		{"*o.example.com", "foo.example.com", true},
		{"f*o.example.com", "foo.example.com", true},
		{"f*o.example.com", "fo.example.com", true},
		{"f*o.example.com", "f.example.com", false},
		{"**.example.com", "a.example.com", false},
		{"xn--*.example.com", "xn--a.example.com", false},
		{"*.example.com", "a.example.com.evil.com", false},
		{"", "a.example.com", false},
		{"*.example.com", "", false},
		{"a.example.com.", "a.example.com", false},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		if (mesh_tls_name_matches(mesh_slice_of(cases[i].pattern), mesh_slice_of(cases[i].name)) !=
		    cases[i].matches)
			fail_msg("\"%s\" and \"%s\"", cases[i].pattern, cases[i].name);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(names)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
