/* SPDX-License-Identifier: Apache-2.0 */
/* Are codes, deadlines, words and metadata written and read as the gRPC documents have them? */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "grpc/code.h"
#include "grpc/metadata.h"
#include "grpc/timeout.h"
#include "grpc/words.h"

#define S(literal) MESH_SLICE(literal)
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static struct arena arena;

static int setup(void **state)
{
	mesh_arena_init(&arena, &mesh_mem_default, 0);
	return 0;
}

static int teardown(void **state)
{
	mesh_arena_free(&arena);
	return 0;
}

static void assert_slice(struct mesh_slice actual, struct mesh_slice wanted)
{
	if (!mesh_slice_equal(actual, wanted))
		fail_msg("\"%.*s\" instead of \"%.*s\"", (int)actual.len, actual.data, (int)wanted.len, wanted.data);
}

static void codes_of_http(void **state)
{
	static const int table[][2] = {{400, MESH_GRPC_INTERNAL}, {401, MESH_GRPC_UNAUTHENTICATED},
				       {403, MESH_GRPC_PERMISSION_DENIED}, {404, MESH_GRPC_UNIMPLEMENTED},
				       {429, MESH_GRPC_UNAVAILABLE}, {502, MESH_GRPC_UNAVAILABLE},
				       {503, MESH_GRPC_UNAVAILABLE}, {504, MESH_GRPC_UNAVAILABLE},
				       {200, MESH_GRPC_UNKNOWN}, {500, MESH_GRPC_UNKNOWN}, {302, MESH_GRPC_UNKNOWN}};

	for (size_t i = 0; i < COUNT(table); i++)
		assert_int_equal(mesh_grpc_code_of_http(table[i][0]), table[i][1]);
}

static void codes_of_errors(void **state)
{
	static const int table[][2] = {{0, MESH_GRPC_OK},
				       {MESH_ERROR_CANCELLED, MESH_GRPC_CANCELLED},
				       {MESH_ERROR_TIMEOUT, MESH_GRPC_UNAVAILABLE},
				       {MESH_ERROR_IDLE_TIMEOUT, MESH_GRPC_UNAVAILABLE},
				       {MESH_ERROR_DURATION, MESH_GRPC_DEADLINE_EXCEEDED},
				       {MESH_ERROR_NO_ENDPOINT, MESH_GRPC_UNAVAILABLE},
				       {MESH_ERROR_CONNECT, MESH_GRPC_UNAVAILABLE},
				       {MESH_ERROR_REFUSED, MESH_GRPC_UNAVAILABLE},
				       {MESH_ERROR_RESET, MESH_GRPC_UNAVAILABLE},
				       {MESH_ERROR_OVERFLOW, MESH_GRPC_UNAVAILABLE},
				       {MESH_ERROR_DRAINING, MESH_GRPC_UNAVAILABLE},
				       {MESH_ERROR_NOT_READY, MESH_GRPC_UNAVAILABLE},
				       {MESH_ERROR_NO_ROUTE, MESH_GRPC_UNIMPLEMENTED},
				       {MESH_ERROR_PROTOCOL, MESH_GRPC_INTERNAL},
				       {MESH_ERROR_DENIED, MESH_GRPC_PERMISSION_DENIED},
				       {MESH_ERROR_TOO_LARGE, MESH_GRPC_RESOURCE_EXHAUSTED},
				       {-9999, MESH_GRPC_UNKNOWN}};

	for (size_t i = 0; i < COUNT(table); i++)
		assert_int_equal(mesh_grpc_code_of_error(table[i][0]), table[i][1]);
}

/* A limit of the mesh is what a sidecar makes of it, the application's own is a deadline. */
static void codes_of_limits(void **state)
{
	static const int errors[] = {MESH_ERROR_TIMEOUT, MESH_ERROR_IDLE_TIMEOUT, MESH_ERROR_CONNECT_TIMEOUT,
				     MESH_ERROR_DURATION};

	for (size_t i = 0; i < COUNT(errors); i++)
		assert_int_equal(mesh_grpc_code_of_failure(errors[i], 504, true), MESH_GRPC_DEADLINE_EXCEEDED);
	assert_int_equal(mesh_grpc_code_of_failure(MESH_ERROR_RESET, 503, true), MESH_GRPC_UNAVAILABLE);
	assert_int_equal(mesh_grpc_code_of_failure(MESH_ERROR_TIMEOUT, 504, false), MESH_GRPC_UNAVAILABLE);
	assert_int_equal(mesh_grpc_code_of_failure(MESH_ERROR_DURATION, 504, false), MESH_GRPC_DEADLINE_EXCEEDED);
	assert_int_equal(mesh_grpc_code_of_failure(MESH_ERROR_IDLE_TIMEOUT, 504, false), MESH_GRPC_UNAVAILABLE);
	assert_int_equal(mesh_grpc_code_of_failure(MESH_ERROR_IDLE_TIMEOUT, 408, false), MESH_GRPC_UNKNOWN);
}

static void codes_of_resets(void **state)
{
	static const int table[][2] = {{0, MESH_GRPC_INTERNAL}, {1, MESH_GRPC_INTERNAL}, {2, MESH_GRPC_INTERNAL},
				       {7, MESH_GRPC_UNAVAILABLE}, {8, MESH_GRPC_CANCELLED}, {9, MESH_GRPC_INTERNAL},
				       {11, MESH_GRPC_RESOURCE_EXHAUSTED}, {12, MESH_GRPC_PERMISSION_DENIED}, {99, MESH_GRPC_UNKNOWN}};

	for (size_t i = 0; i < COUNT(table); i++)
		assert_int_equal(mesh_grpc_code_of_reset((uint32_t)table[i][0]), table[i][1]);
}

static void codes_of_text(void **state)
{
	assert_int_equal(mesh_grpc_code_of_text(S("0")), MESH_GRPC_OK);
	assert_int_equal(mesh_grpc_code_of_text(S("16")), MESH_GRPC_UNAUTHENTICATED);
	assert_int_equal(mesh_grpc_code_of_text(S("17")), MESH_GRPC_UNKNOWN);
	assert_int_equal(mesh_grpc_code_of_text(S("-1")), MESH_GRPC_UNKNOWN);
	assert_int_equal(mesh_grpc_code_of_text(S("")), MESH_GRPC_UNKNOWN);
	assert_int_equal(mesh_grpc_code_of_text(S("18446744073709551616")), MESH_GRPC_UNKNOWN);
	assert_string_equal(mesh_grpc_name_of(4), "DEADLINE_EXCEEDED");
	assert_string_equal(mesh_grpc_name_of(17), "UNKNOWN");
	assert_string_equal(mesh_grpc_name_of(-1), "UNKNOWN");
}

static void timeouts_printed(void **state)
{
	static const struct {
		uint64_t ns;
		const char *text;
	} table[] = {{1, "1n"}, {99999999, "99999999n"}, {100000000, "100000u"}, {100000001, "100001u"},
		     {1000000000, "1000000u"}, {99999999000, "99999999u"}, {100000000000, "100000m"},
		     {360000000000000000, "6000000M"}, {UINT64_MAX, "5124096H"}};

	for (size_t i = 0; i < COUNT(table); i++) {
		char text[MESH_GRPC_TIMEOUT_BYTES];
		size_t len = mesh_grpc_timeout_print(text, table[i].ns);
		uint64_t back;

		assert_slice(mesh_slice_make(text, len), mesh_slice_of(table[i].text));
		assert_true(mesh_grpc_timeout_parse(mesh_slice_make(text, len), &back));
		assert_true(back >= (table[i].ns > INT64_MAX ? INT64_MAX : table[i].ns));
	}
}

static void timeouts_read(void **state)
{
	static const char *const bad[] = {"", "S", "1", "1x", "-1S", "+1S", " 1S", "1 S", "1s", "123456789S", "1SS", "1.5S"};
	uint64_t ns;

	assert_true(mesh_grpc_timeout_parse(S("1H"), &ns) && ns == 3600000000000);
	assert_true(mesh_grpc_timeout_parse(S("2M"), &ns) && ns == 120000000000);
	assert_true(mesh_grpc_timeout_parse(S("3S"), &ns) && ns == 3000000000);
	assert_true(mesh_grpc_timeout_parse(S("00000004m"), &ns) && ns == 4000000);
	assert_true(mesh_grpc_timeout_parse(S("5u"), &ns) && ns == 5000);
	assert_true(mesh_grpc_timeout_parse(S("6n"), &ns) && ns == 6);
	assert_true(mesh_grpc_timeout_parse(S("0n"), &ns) && ns == 0);
	assert_true(mesh_grpc_timeout_parse(S("99999999H"), &ns) && ns == INT64_MAX);
	for (size_t i = 0; i < COUNT(bad); i++)
		assert_false(mesh_grpc_timeout_parse(mesh_slice_of(bad[i]), &ns));
}

static void words(void **state)
{
	static const char *const table[][2] = {
		{"", ""},
		{"plain words", "plain words"},
		{"100%", "100%25"},
		{"\t\ntest with whitespace\r\n", "%09%0Atest with whitespace%0D%0A"},
		{" ends ", "%20ends%20"},
		{"\xf0\x9f\x98\x88", "%F0%9F%98%88"},
	};
	struct mesh_slice text;

	for (size_t i = 0; i < COUNT(table); i++) {
		assert_int_equal(mesh_grpc_words_encode(&arena, mesh_slice_of(table[i][0]), &text), 0);
		assert_slice(text, mesh_slice_of(table[i][1]));
		assert_int_equal(mesh_grpc_words_decode(&arena, text, &text), 0);
		assert_slice(text, mesh_slice_of(table[i][0]));
	}
	mesh_grpc_words_decode(&arena, S("a%2"), &text);
	assert_slice(text, S("a%2"));
	mesh_grpc_words_decode(&arena, S("%zz%41%4a%"), &text);
	assert_slice(text, S("%zzAJ%"));
}

static void content_types(void **state)
{
	assert_true(mesh_grpc_content_type(S("application/grpc")));
	assert_true(mesh_grpc_content_type(S("application/grpc+proto")));
	assert_true(mesh_grpc_content_type(S("Application/gRPC;charset=utf-8")));
	assert_false(mesh_grpc_content_type(S("application/grpc-web")));
	assert_false(mesh_grpc_content_type(S("application/grp")));
	assert_false(mesh_grpc_content_type(S("application/json")));
	assert_false(mesh_grpc_content_type((struct mesh_slice){NULL, 0}));
}

static void encodings(void **state)
{
	assert_true(mesh_grpc_encoding_listed(S("gzip"), S("gzip")));
	assert_true(mesh_grpc_encoding_listed(S("identity, deflate ,gzip"), S("gzip")));
	assert_false(mesh_grpc_encoding_listed(S("identity,gzipped,"), S("gzip")));
	assert_false(mesh_grpc_encoding_listed((struct mesh_slice){NULL, 0}, S("gzip")));
}

static void metadata_encoded(void **state)
{
	struct mesh_header pairs[] = {{S("x-a"), S("some value")}, {S("x-b-bin"), {"\xab\xab\xab\0", 4}}, {S("e_m.pty"), S("")}};
	struct headers fields = {0};

	assert_int_equal(mesh_grpc_metadata_encode(&arena, pairs, 3, &fields), 0);
	assert_int_equal(fields.count, 3);
	assert_slice(fields.items[0].value, S("some value"));
	assert_slice(fields.items[1].value, S("q6urAA")); /* without padding */
	assert_slice(fields.items[2].value, S(""));
}

static void metadata_refused(void **state)
{
	static const struct mesh_header bad[] = {
		{{"X-a", 3}, {"v", 1}},		 {{"", 0}, {"v", 1}},		 {{"a b", 3}, {"v", 1}},
		{{":path", 5}, {"v", 1}},	 {{"grpc-status", 11}, {"0", 1}}, {{"grpc-x-bin", 10}, {"0", 1}},
		{{"content-type", 12}, {"v", 1}}, {{"te", 2}, {"v", 1}},	 {{"connection", 10}, {"v", 1}},
		{{"x", 1}, {"a\nb", 3}},	 {{"x", 1}, {" v", 2}},		 {{"x", 1}, {"v ", 2}},
		{{"x", 1}, {"\xc3\xa4", 2}},	 {{"x", 1}, {"a\0b", 3}},
	};

	for (size_t i = 0; i < COUNT(bad); i++) {
		struct headers fields = {0};

		assert_int_equal(mesh_grpc_metadata_encode(&arena, &bad[i], 1, &fields), MESH_ERROR_INVALID);
	}
}

static void metadata_decoded(void **state)
{
	struct headers fields = {0}, pairs = {0};

	mesh_headers_add(&fields, &arena, S("content-type"), S("application/grpc"));
	mesh_headers_add(&fields, &arena, S("x-a"), S("1"));
	mesh_headers_add(&fields, &arena, S("grpc-timeout"), S("1S"));
	mesh_headers_add(&fields, &arena, S("x-b-bin"), S("q6urAA, Zg==,!,Zm8"));
	mesh_headers_add(&fields, &arena, S("x-c-bin"), S(""));
	assert_int_equal(mesh_grpc_metadata_decode(&arena, &fields, &pairs), 0);
	assert_int_equal(pairs.count, 5);
	assert_slice(pairs.items[0].value, S("1"));
	assert_slice(pairs.items[1].value, S("\xab\xab\xab\0"));
	assert_slice(pairs.items[2].value, S("f"));
	assert_slice(pairs.items[3].value, S("fo"));
	assert_slice(pairs.items[4].value, S(""));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(codes_of_http),    cmocka_unit_test(codes_of_errors),	cmocka_unit_test(codes_of_text),
		cmocka_unit_test(codes_of_limits),  cmocka_unit_test(codes_of_resets),
		cmocka_unit_test(timeouts_printed), cmocka_unit_test(timeouts_read),	cmocka_unit_test(words),
		cmocka_unit_test(content_types),    cmocka_unit_test(encodings),	cmocka_unit_test(metadata_encoded),
		cmocka_unit_test(metadata_refused), cmocka_unit_test(metadata_decoded),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
