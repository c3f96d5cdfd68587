/* SPDX-License-Identifier: Apache-2.0 */
/* The hashes are those that Envoy computes: numbers its own tests expect, and every length around the word size. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/hash.h"

static void known_values(void **state)
{
	static const struct {
		const char *text;
		uint64_t xx, murmur;
	} rows[] = {
		{"foo", 3728699739546630719u, 9631199822919835226u},
		{"bar", 5234164152756840025u, 11474628671133349555u},
		{"foo\nbar", 8917841378505826757u, 16306510975912980159u},
		{"lyft", 4400747396090729504u, 12847078931730529320u},
		{"", 17241709254077376921u, 6142509188972423790u},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_int_equal(mesh_hash_xx64(mesh_slice_of(rows[i].text), 0), rows[i].xx);
		assert_int_equal(mesh_hash_murmur2(mesh_slice_of(rows[i].text)), rows[i].murmur);
	}
	/* several texts: the hash so far is the seed of the next */
	assert_int_equal(mesh_hash_xx64(MESH_SLICE("bar"), mesh_hash_xx64(MESH_SLICE("foo"), 0)), 17745830980996999794u);
	assert_int_equal(mesh_hash_xx64((struct mesh_slice){NULL, 0}, 0), 17241709254077376921u);
	assert_int_equal(mesh_hash_murmur2((struct mesh_slice){NULL, 0}), 6142509188972423790u);
}

static void every_byte_counts(void **state)
{
	char text[40] = "0123456789abcdef0123456789abcdef0123456";

	for (size_t len = 1; len < sizeof(text); len++) {
		struct mesh_slice slice = mesh_slice_make(text, len);
		uint64_t murmur = mesh_hash_murmur2(slice), xx = mesh_hash_xx64(slice, 0);

		for (size_t i = 0; i < len; i++) {
			text[i] ^= (char)0x80;
			assert_int_not_equal(mesh_hash_murmur2(slice), murmur);
			assert_int_not_equal(mesh_hash_xx64(slice, 0), xx);
			text[i] ^= (char)0x80;
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(known_values),
		cmocka_unit_test(every_byte_counts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
