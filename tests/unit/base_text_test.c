/* SPDX-License-Identifier: Apache-2.0 */
/* Are the text forms right: RFC 4648 vectors, UTF-8 edges in JSON, escapes, Go durations, and all or nothing at a
 * limit? */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include <mesh/error.h>

#include "base/text.h"

#define S(literal) MESH_SLICE(literal)

static struct buf out;

static int setup(void **state)
{
	mesh_buf_init(&out, &mesh_mem_default, 0);
	return 0;
}

static int teardown(void **state)
{
	mesh_buf_free(&out);
	return 0;
}

static void assert_out(struct mesh_slice expected)
{
	if (!mesh_slice_equal(mesh_buf_slice(&out), expected))
		fail_msg("expected \"%.*s\", got \"%.*s\"", (int)expected.len, expected.data, (int)mesh_buf_len(&out),
			 mesh_buf_slice(&out).data);
	mesh_buf_clear(&out);
}

static void base64(void **state)
{
	static const char *const vectors[][2] = {
		{"", ""},
		{"f", "Zg=="},
		{"fo", "Zm8="},
		{"foo", "Zm9v"},
		{"foob", "Zm9vYg=="},
		{"fooba", "Zm9vYmE="},
		{"foobar", "Zm9vYmFy"},
		{"\xfb\xff\xfe", "+//+"},
		{"\xff", "/w=="},
	};
	static const char *const bad[] = {"A",
					  "AAAAA",
					  "A===",
					  "AA=",
					  "AAA==",
					  "AAAA=",
					  "AAAA====",
					  "=",
					  "Zg==Zg==",
					  "Z=g=",
					  "Zm 9",
					  "Zm\n9v",
					  "Zm9!",
					  "\xc3\xa4"
					  "AA"};

	for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
		struct mesh_slice plain = mesh_slice_of(vectors[i][0]), text = mesh_slice_of(vectors[i][1]);

		assert_int_equal(mesh_text_base64_append(&out, plain), 0);
		assert_out(text);
		assert_int_equal(mesh_text_base64_decode(&out, text), 0);
		assert_out(plain);
		while (text.len && text.data[text.len - 1] == '=')
			text.len--;
		assert_int_equal(mesh_text_base64_decode(&out, text), 0); /* unpadded, as JWTs are */
		assert_out(plain);
	}
	assert_int_equal(mesh_text_base64_decode(&out, S("-__-")), 0);
	assert_out(S("\xfb\xff\xfe"));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		if (mesh_text_base64_decode(&out, mesh_slice_of(bad[i])) != MESH_ERROR_INVALID)
			fail_msg("\"%s\" was taken", bad[i]);
		assert_int_equal(mesh_buf_len(&out), 0);
	}
}

static void base64_round_trip(void **state)
{
	struct buf back;
	struct rand rand;
	char bytes[200];

	mesh_rand_seed(&rand, 1);
	mesh_buf_init(&back, &mesh_mem_default, 0);
	for (size_t len = 0; len < sizeof(bytes); len++) {
		bytes[len] = (char)mesh_rand_next(&rand);
		mesh_buf_clear(&out);
		mesh_buf_clear(&back);
		assert_int_equal(mesh_text_base64_append(&out, mesh_slice_make(bytes, len)), 0);
		assert_int_equal(mesh_text_base64_decode(&back, mesh_buf_slice(&out)), 0);
		assert_true(mesh_slice_equal(mesh_buf_slice(&back), mesh_slice_make(bytes, len)));
	}
	mesh_buf_free(&back);
}

/* Exactly the limit fits; one more is refused and leaves nothing. */
static void limits(void **state)
{
	struct buf small;

	mesh_buf_init(&small, &mesh_mem_default, 8);
	assert_int_equal(mesh_text_base64_append(&small, S("123456")), 0);
	mesh_buf_clear(&small);
	assert_int_equal(mesh_text_base64_append(&small, S("1234567")), MESH_ERROR_TOO_LARGE);
	assert_int_equal(mesh_text_base64_decode(&small, S("AAAAAAAAAAA")), 0); /* 11 letters, 8 bytes */
	mesh_buf_clear(&small);
	assert_int_equal(mesh_text_base64_decode(&small, S("AAAAAAAAAAAA")), MESH_ERROR_TOO_LARGE);
	assert_int_equal(mesh_buf_len(&small), 0);
	assert_int_equal(mesh_text_percent_decode(&small, S("12345678")), 0);
	mesh_buf_clear(&small);
	assert_int_equal(mesh_text_percent_decode(&small, S("123456789")), MESH_ERROR_TOO_LARGE);
	assert_int_equal(mesh_text_json_append(&small, S("123456")), 0);
	mesh_buf_clear(&small);
	assert_int_equal(mesh_text_json_append(&small, S("1234567")), MESH_ERROR_TOO_LARGE);
	mesh_buf_free(&small);
}

static void json(void **state)
{
#define BAD "\xef\xbf\xbd"
	static const struct {
		struct mesh_slice text, quoted;
	} vectors[] = {
		{{"", 0}, {"\"\"", 2}},
		{{NULL, 0}, {"\"\"", 2}},
		{{"a\"b\\c/d", 7}, {"\"a\\\"b\\\\c/d\"", 11}},
		{{"\n\r\t\0\x1f\x7f", 6}, {"\"\\n\\r\\t\\u0000\\u001f\\u007f\"", 26}},
		{{"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", 9}, {"\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\"", 11}},
		{{"\xff", 1}, {"\"" BAD "\"", 5}},
		{{"\x80x", 2}, {"\"" BAD "x\"", 6}},
		{{"\xc0\x80", 2}, {"\"" BAD BAD "\"", 8}},	    /* overlong */
		{{"\xe0\x9f\xbf", 3}, {"\"" BAD BAD BAD "\"", 11}}, /* overlong */
		{{"\xed\xa0\x80", 3}, {"\"" BAD BAD BAD "\"", 11}}, /* surrogate */
		{{"\xed\x9f\xbf\xee\x80\x80", 6}, {"\"\xed\x9f\xbf\xee\x80\x80\"", 8}},
		{{"\xf0\x8f\xbf\xbf", 4}, {"\"" BAD BAD BAD BAD "\"", 14}},
		{{"\xf4\x8f\xbf\xbf", 4}, {"\"\xf4\x8f\xbf\xbf\"", 6}},
		{{"\xf4\x90\x80\x80", 4}, {"\"" BAD BAD BAD BAD "\"", 14}}, /* past U+10FFFF */
		{{"\xe2\x82", 2}, {"\"" BAD BAD "\"", 8}},		    /* cut */
		{{"\xc3"
		  "a",
		  2},
		 {"\"" BAD "a\"", 6}},
	};

	for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
		assert_int_equal(mesh_text_json_append(&out, vectors[i].text), 0);
		assert_out(vectors[i].quoted);
	}
}

static void percent(void **state)
{
	static const char *const bad[] = {"%", "a%1", "%zz", "%1g", "%%20", "% 1", "%+1"};

	assert_int_equal(mesh_text_percent_decode(&out, S("a%20b+c%2F%2f%00%ff")), 0);
	assert_out(mesh_slice_make("a b+c//\0\xff", 9));
	assert_int_equal(mesh_text_percent_decode(&out, mesh_slice_make(NULL, 0)), 0);
	assert_out(S(""));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(mesh_text_percent_decode(&out, mesh_slice_of(bad[i])), MESH_ERROR_INVALID);
		assert_int_equal(mesh_buf_len(&out), 0);
	}
}

static void uuid(void **state)
{
	char text[MESH_UUID_BYTES + 1], other[MESH_UUID_BYTES];
	struct rand rand;

	mesh_rand_seed(&rand, 1);
	text[MESH_UUID_BYTES] = '!';
	for (int n = 0; n < 1000; n++) {
		mesh_text_uuid(&rand, text);
		for (int i = 0; i < MESH_UUID_BYTES; i++)
			if (i == 8 || i == 13 || i == 18 || i == 23)
				assert_int_equal(text[i], '-');
			else
				assert_non_null(strchr("0123456789abcdef", text[i]));
		assert_int_equal(text[14], '4');
		assert_non_null(strchr("89ab", text[19]));
		assert_int_equal(text[MESH_UUID_BYTES], '!');
	}
	mesh_text_uuid(&rand, other);
	assert_memory_not_equal(text, other, MESH_UUID_BYTES);
}

static void durations(void **state)
{
	static const struct {
		const char *text;
		int64_t ns;
	} good[] = {
		{"0s", 0},
		{"90s", 90000000000},
		{"24h0m0s", 86400000000000},
		{"250ms", 250000000},
		{"1.5h", 5400000000000},
		{"1h1m1.000000001s", 3661000000001},
		{".5s", 500000000},
		{"5.s", 5000000000},
		{"100us", 100000},
		{"1.5\xc2\xb5s", 1500},
		{"1ns", 1},
		{"0.9ns", 0},
		{"2562047h47m16.854775807s", INT64_MAX},
		{"0.3333333333333333333h", 1199999999999},
		{"9223372036854775807ns", INT64_MAX},
		{"0.1s", 100000000},
	};
	static const char *const bad[] = {
		"",
		"5",
		"s",
		".s",
		".",
		"1.5.5s",
		"-1s",
		"+1s",
		"1 s",
		" 1s",
		"1s ",
		"1d",
		"1S",
		"1sms",
		"1h30",
		"1e3s",
		"9223372036854775808ns",
		"2562047h47m16.854775808s",
		"99999999999999999999s",
		"9999999h",
		"18446744073709551615h",
		"\xb5s",
		"1\xb5s",
	};
	int64_t ns = 7;

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		if (!mesh_text_duration_ns(mesh_slice_of(good[i].text), &ns) || ns != good[i].ns)
			fail_msg("\"%s\": %lld", good[i].text, (long long)ns);
	ns = 7;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (mesh_text_duration_ns(mesh_slice_of(bad[i]), &ns) || ns != 7)
			fail_msg("\"%s\" was taken", bad[i]);
}

static void digits(void **state)
{
	static const uint64_t values[] = {0, 9, 10, 123456789, 9999999999u, 10000000000u, UINT64_MAX};
	char text[20], expected[32];

	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
		int len = snprintf(expected, sizeof(expected), "%llu", (unsigned long long)values[i]);

		assert_int_equal(mesh_text_u64(text, values[i]), len);
		assert_memory_equal(text, expected, (size_t)len);
	}
}

static void plain(void **state)
{
	static const char *const lines[][2] = {
		{"", ""},
		{"a b", "a b"},
		{"a\nb\x7f\t", "a?b??"},
		{"\xe2\x82\xac \xf0\x9f\x98\x80", "\xe2\x82\xac \xf0\x9f\x98\x80"},
		{"\xff\xc0\x80", "???"},
		{"x\xe2\x82", "x??"},		/* cut */
		{"\xed\xa0\x80\xe0\x80\x80", "??????"}, /* a surrogate, a longer form than needed */
	};
	char line[32];

	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		snprintf(line, sizeof(line), "%s", lines[i][0]);
		mesh_text_make_plain(line);
		assert_string_equal(line, lines[i][1]);
	}
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(base64), TEST(base64_round_trip), TEST(limits), TEST(json), TEST(percent),
		TEST(uuid),   TEST(durations),	       TEST(digits), TEST(plain),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
