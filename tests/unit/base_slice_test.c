/* SPDX-License-Identifier: Apache-2.0 */
/* Do views compare, cut, parse and hash as they say, byte by byte against the obvious way? */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <ctype.h>
#include <stdio.h>

#include "base/rand.h"
#include "base/slice.h"

#define S(literal) MESH_SLICE(literal)
#define absent	   mesh_slice_make(NULL, 0)

static void comparing(void **state)
{
	assert_true(mesh_slice_equal(S("a"), S("a")));
	assert_false(mesh_slice_equal(S("a"), S("b")));
	assert_false(mesh_slice_equal(S("a"), S("ab")));
	assert_true(mesh_slice_equal(absent, S("")));
	assert_true(mesh_slice_equal_fold(S("Content-Length"), S("cONTENT-lENGTH")));
	assert_false(mesh_slice_equal_fold(S("Content-Length"), S("Content_Length")));
	assert_false(mesh_slice_equal_fold(S("@bcdefgh"), S("`bcdefgh"))); /* differ in bit 5 but are no letters */
	assert_false(mesh_slice_equal_fold(S("["), S("{")));
	assert_false(mesh_slice_equal_fold(S("\xc3\x84"), S("\xc3\xa4"))); /* ASCII only */
	assert_true(mesh_slice_equal_fold(absent, S("")));
	assert_true(mesh_slice_compare(S("a"), S("b")) < 0);
	assert_true(mesh_slice_compare(S("b"), S("a")) > 0);
	assert_true(mesh_slice_compare(S("a"), S("ab")) < 0);
	assert_true(mesh_slice_compare(S("\xff"), S("a")) > 0);
	assert_int_equal(mesh_slice_compare(absent, S("")), 0);
}

static void parts(void **state)
{
	assert_true(mesh_slice_prefix(S("/api/v1"), S("/api")));
	assert_false(mesh_slice_prefix(S("/ap"), S("/api")));
	assert_true(mesh_slice_prefix(absent, S("")));
	assert_true(mesh_slice_prefix_fold(S("/API/v1"), S("/api")));
	assert_false(mesh_slice_prefix_fold(S("/xpi/v1"), S("/api")));
	assert_true(mesh_slice_suffix(S("a.example.com"), S(".example.com")));
	assert_false(mesh_slice_suffix(S("com"), S(".com")));
	assert_true(mesh_slice_suffix(absent, S("")));
	assert_true(mesh_slice_suffix_fold(S("A.EXAMPLE"), S(".example")));
	assert_true(mesh_slice_contains(S("haystack"), S("sta")));
	assert_false(mesh_slice_contains(S("haystack"), S("stb")));
	assert_true(mesh_slice_contains(absent, absent));
	assert_false(mesh_slice_contains(absent, S("a")));
	assert_true(mesh_slice_contains_fold(S("hayStAck"), S("sta")));
	assert_true(mesh_slice_contains_fold(S("hay"), S("HAY")));
	assert_false(mesh_slice_contains_fold(S("ha"), S("hay")));
	assert_true(mesh_slice_contains_fold(absent, absent));
}

static void assert_slice(struct mesh_slice s, const char *text)
{
	assert_int_equal(s.len, strlen(text));
	assert_memory_equal(s.len ? s.data : "", text, s.len);
}

static void cutting(void **state)
{
	struct mesh_slice rest = S("a,,b,"), piece;

	assert_slice(mesh_slice_cut(&rest, ','), "a");
	assert_slice(mesh_slice_cut(&rest, ','), "");
	assert_slice(mesh_slice_cut(&rest, ','), "b");
	assert_non_null(rest.data); /* an empty piece is left: there was a separator */
	piece = mesh_slice_cut(&rest, ',');
	assert_non_null(piece.data);
	assert_int_equal(piece.len, 0);
	assert_null(rest.data);
	piece = mesh_slice_cut(&rest, ',');
	assert_null(piece.data);
	assert_slice(mesh_slice_trim(S(" \t a b\t ")), "a b");
	assert_slice(mesh_slice_trim(S(" \t ")), "");
	assert_slice(mesh_slice_trim(S("\na\n")), "\na\n");
	assert_slice(mesh_slice_trim(absent), "");
	assert_int_equal(mesh_slice_find(S("a:b:c"), ':'), 1);
	assert_int_equal(mesh_slice_find_last(S("a:b:c"), ':'), 3);
	assert_int_equal(mesh_slice_find(S("abc"), ':'), -1);
	assert_int_equal(mesh_slice_find_last(absent, ':'), -1);
	assert_int_equal(mesh_slice_find(absent, ':'), -1);
}

static void numbers(void **state)
{
	static const char *const bad[] = {
		"", "-", "+", "a", "1a", " 1", "1 ", "0x1", "18446744073709551616", "99999999999999999999999"};
	uint64_t u = 7;
	int64_t i = 7;

	for (size_t n = 0; n < sizeof(bad) / sizeof(bad[0]); n++) {
		assert_false(mesh_slice_to_u64(mesh_slice_of(bad[n]), &u));
		assert_false(mesh_slice_to_i64(mesh_slice_of(bad[n]), &i));
	}
	assert_int_equal(u, 7);
	assert_int_equal(i, 7);
	assert_true(mesh_slice_to_u64(S("18446744073709551615"), &u));
	assert_true(u == UINT64_MAX);
	assert_true(mesh_slice_to_u64(S("007"), &u));
	assert_int_equal(u, 7);
	assert_false(mesh_slice_to_u64(S("-1"), &u));
	assert_false(mesh_slice_to_u64(S("+1"), &u));
	assert_true(mesh_slice_to_i64(S("-9223372036854775808"), &i));
	assert_true(i == INT64_MIN);
	assert_true(mesh_slice_to_i64(S("9223372036854775807"), &i));
	assert_true(i == INT64_MAX);
	assert_false(mesh_slice_to_i64(S("9223372036854775808"), &i));
	assert_false(mesh_slice_to_i64(S("-9223372036854775809"), &i));
	assert_false(mesh_slice_to_i64(S("--1"), &i));
	assert_true(mesh_slice_to_i64(S("+5"), &i));
	assert_int_equal(i, 5);
}

static bool fold_equal_plainly(const char *a, const char *b, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (tolower((unsigned char)a[i]) != tolower((unsigned char)b[i])) /* "C" locale in this test */
			return false;
	return true;
}

/* Words at a time give the same answers as bytes at a time, at every length and place of a difference. */
static void folding_by_words(void **state)
{
	static const char bytes[] = "aAzZ@`[{_\x7f\xc1\xe1 0";
	struct rand rand;
	char a[40], b[40];
	int equal = 0;

	mesh_rand_seed(&rand, 1);
	for (int n = 0; n < 200000; n++) {
		size_t len = mesh_rand_below(&rand, sizeof(a));

		for (size_t i = 0; i < len; i++) {
			a[i] = bytes[mesh_rand_below(&rand, sizeof(bytes) - 1)];
			b[i] = mesh_rand_below(&rand, 2) ? a[i] : (char)toupper((unsigned char)a[i]);
		}
		if (len && mesh_rand_below(&rand, 2))
			b[mesh_rand_below(&rand, len)] ^= 0x20;
		assert_int_equal(mesh_slice_equal_fold(mesh_slice_make(a, len), mesh_slice_make(b, len)),
				 fold_equal_plainly(a, b, len));
		equal += fold_equal_plainly(a, b, len);
	}
	assert_in_range(equal, 50000, 190000);
}

static void hashing(void **state)
{
	unsigned buckets[256] = {0};
	char text[32], zeros[17] = {0};

	assert_int_equal(mesh_slice_hash(absent), mesh_slice_hash(S("")));
	assert_int_not_equal(mesh_slice_hash(S("reviews")), mesh_slice_hash(S("Reviews")));
	for (size_t i = 0; i < 17; i++) /* length counts, not only the bytes */
		for (size_t j = 0; j < i; j++)
			assert_int_not_equal(mesh_slice_hash(mesh_slice_make(zeros, i)),
					     mesh_slice_hash(mesh_slice_make(zeros, j)));
	for (int i = 0; i < 25600; i++) {
		struct mesh_slice name = mesh_slice_make(text, (size_t)sprintf(text, "outbound|%d||svc", i));

		buckets[mesh_slice_hash(name) & 255]++;
		assert_int_equal(mesh_slice_hash(name), mesh_slice_hash(mesh_slice_make(text, name.len)));
	}
	for (int i = 0; i < 256; i++) /* 100 expected, deviation 10 */
		assert_in_range(buckets[i], 40, 180);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(comparing),	    cmocka_unit_test(parts),
		cmocka_unit_test(cutting),	    cmocka_unit_test(numbers),
		cmocka_unit_test(folding_by_words), cmocka_unit_test(hashing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
