/* SPDX-License-Identifier: Apache-2.0 */
/* Are numeric addresses read strictly and written so that they can be read again? */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include <mesh/error.h>

#include "base/address.h"

static void reads_and_writes(void **state)
{
	static const struct {
		const char *ip, *text;
	} good[] = {
		{"10.0.0.1", "10.0.0.1:8080"},
		{"0.0.0.0", "0.0.0.0:8080"},
		{"255.255.255.255", "255.255.255.255:8080"},
		{"192.168.100.23", "192.168.100.23:8080"},
		{"::1", "[::1]:8080"},
		{"[::1]", "[::1]:8080"},
		{"2001:DB8::1", "[2001:db8::1]:8080"},
		{"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:8080"},
	};

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		char text[MESH_ADDRESS_TEXT_BYTES];
		struct address address, again;

		assert_int_equal(mesh_address_parse(&address, mesh_slice_of(good[i].ip), 8080), 0);
		assert_int_equal(mesh_address_port(&address), 8080);
		assert_int_equal(mesh_address_text(&address, text), strlen(good[i].text));
		assert_string_equal(text, good[i].text);
		assert_int_equal(mesh_address_parse(&again, mesh_slice_of(good[i].ip), 8080), 0);
		assert_true(mesh_address_equal(&address, &again));
		assert_int_equal(mesh_address_parse(&again, mesh_slice_of(good[i].ip), 8081), 0);
		assert_false(mesh_address_equal(&address, &again));
	}
}

static void refuses(void **state)
{
	static const char *const bad[] = {"",
					  "a",
					  "localhost",
					  "1.2.3",
					  "1.2.3.4.5",
					  "256.1.1.1",
					  "1.2.3.4:80",
					  "01.2.3.4x",
					  "[]",
					  "[::1",
					  ":::",
					  "1:2:3:4:5:6:7:8:9",
					  " 1.2.3.4",
					  "1.2.3.4 ",
					  "/var/run/socket",
					  "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"};
	struct address address;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (mesh_address_parse(&address, mesh_slice_of(bad[i]), 1) != MESH_ERROR_INVALID)
			fail_msg("\"%s\" was taken", bad[i]);
	assert_int_equal(mesh_address_parse(&address, mesh_slice_make("1.2.3.4\0x", 9), 1), MESH_ERROR_INVALID);
	assert_int_equal(mesh_address_parse(&address, mesh_slice_make(NULL, 0), 1), MESH_ERROR_INVALID);
	assert_int_equal(address.len, 0);
}

static void ports(void **state)
{
	static const uint16_t all[] = {0, 9, 10, 99, 100, 999, 1000, 9999, 10000, 65535};
	char text[MESH_ADDRESS_TEXT_BYTES], expected[32];
	struct address address;

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		assert_int_equal(mesh_address_parse(&address, MESH_SLICE("1.20.255.0"), all[i]), 0);
		assert_int_equal(mesh_address_port(&address), all[i]);
		mesh_address_text(&address, text);
		snprintf(expected, sizeof(expected), "1.20.255.0:%u", all[i]);
		assert_string_equal(text, expected);
	}
}

static void families_differ(void **state)
{
	struct address four, six, none = {.len = 0};

	mesh_address_parse(&four, MESH_SLICE("0.0.0.0"), 1);
	mesh_address_parse(&six, MESH_SLICE("::"), 1);
	assert_false(mesh_address_equal(&four, &six));
	assert_false(mesh_address_equal(&four, &none));
	assert_true(mesh_address_equal(&none, &none));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_and_writes),
		cmocka_unit_test(refuses),
		cmocka_unit_test(ports),
		cmocka_unit_test(families_differ),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
