/* SPDX-License-Identifier: Apache-2.0 */
/* Is it Envoy's dialect: whole text, leftmost first, bounded in size and time, usable from any thread? */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdbool.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "base/regex.h"
#include "base/slice.h"

#define S(literal) MESH_SLICE(literal)

static struct regex *compile(const char *pattern)
{
	struct why why = {""};
	struct regex *regex = NULL;

	if (mesh_regex_new(mesh_slice_of(pattern), &regex, &why))
		fail_msg("%s", why.text);
	assert_string_equal(why.text, "");
	return regex;
}

static bool matches(const char *pattern, struct mesh_slice text)
{
	struct regex *regex = compile(pattern);
	bool result = mesh_regex_match(regex, text);

	mesh_regex_free(regex);
	return result;
}

static void matching(void **state)
{
	assert_true(matches("/api/v[0-9]+", S("/api/v12")));
	assert_false(matches("/api/v[0-9]+", S("/api/v12/x"))); /* the whole text */
	assert_false(matches("/api/v[0-9]+", S("x/api/v12")));
	assert_true(matches("a|ab", S("ab"))); /* anchored, so the other branch is found */
	assert_true(matches("", S("")));
	assert_true(matches(".*", mesh_slice_make(NULL, 0)));
	assert_false(matches(".", S("\n")));
	assert_true(matches("a.c", S("a\xc3\xa4"
				     "c"))); /* UTF-8: one character */
	assert_false(matches("a.c", S("a\xff"
				      "c")));
	assert_true(matches("a\\x00b", mesh_slice_make("a\0b", 3)));
	assert_false(matches("a", mesh_slice_make("a\0", 2)));
	assert_true(matches("(?i)reviews", S("ReViews")));
	assert_false(matches("reviews", S("Reviews")));
	assert_true(matches("^/a$", S("/a")));
	mesh_regex_free(NULL);
}

static void refusing(void **state)
{
	static const char *const bad[] = {"(",	    "a**",     "[z-a]", "(?=ahead)",
					  "(a)\\1", "a{1001}", "\xff",	"((a{100}){100}){100}"};
	struct regex *regex = NULL;
	char big[500];

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct why why = {""};

		assert_int_equal(mesh_regex_new(mesh_slice_of(bad[i]), &regex, &why), MESH_ERROR_INVALID);
		assert_null(regex);
		assert_true(strlen(why.text) > 10);
		assert_int_equal(mesh_regex_new(mesh_slice_of(bad[i]), &regex, NULL), MESH_ERROR_INVALID);
	}
	memset(big, '(', sizeof(big));
	assert_int_equal(mesh_regex_new(mesh_slice_make(big, sizeof(big)), &regex, NULL), MESH_ERROR_INVALID);
}

/* What takes a backtracking engine for ever. */
static void linear(void **state)
{
	static char text[200001];
	struct timespec from, to;

	memset(text, 'a', sizeof(text) - 1);
	text[sizeof(text) - 1] = 'b';
	clock_gettime(CLOCK_MONOTONIC, &from);
	assert_false(matches("(a+)+c", mesh_slice_make(text, sizeof(text))));
	assert_false(matches("(.*)(.*)(.*)(.*)[^b]", mesh_slice_make(text, sizeof(text))));
	clock_gettime(CLOCK_MONOTONIC, &to);
	assert_true(to.tv_sec - from.tv_sec < 20);
}

static void assert_replaced(const char *pattern, struct mesh_slice text, const char *with, const char *expected)
{
	struct regex *regex = compile(pattern);
	struct buf out;

	mesh_buf_init(&out, &mesh_mem_default, 0);
	assert_int_equal(mesh_regex_replace(regex, text, mesh_slice_of(with), &out), 0);
	assert_int_equal(mesh_buf_len(&out), strlen(expected));
	assert_memory_equal(mesh_buf_len(&out) ? mesh_buf_slice(&out).data : "", expected, strlen(expected));
	mesh_buf_free(&out);
	mesh_regex_free(regex);
}

static void replacing(void **state)
{
	struct regex *regex;
	struct buf out;

	assert_replaced("^/service/([^/]+)(/.*)$", S("/service/foo/v1/api"), "\\2/instance/\\1",
			"/v1/api/instance/foo");
	assert_replaced("one", S("/xxx/one/yyy/one/zzz"), "two", "/xxx/two/yyy/two/zzz");
	assert_replaced("(?i)/xxx/", S("/aaa/XxX/bbb"), "/yyy/", "/aaa/yyy/bbb");
	assert_replaced("x", S("none here"), "y", "none here");
	assert_replaced("a", mesh_slice_make(NULL, 0), "b", "");
	assert_replaced("a*", S("baac"), "-", "-b-c-");
	assert_replaced("a", S("a"), "\\0\\0\\\\", "aa\\");
	regex = compile("(a)");
	mesh_buf_init(&out, &mesh_mem_default, 4);
	assert_int_equal(mesh_regex_replace(regex, S("a"), S("\\2"), &out), MESH_ERROR_INVALID);
	assert_int_equal(mesh_regex_replace(regex, S("a"), S("\\x"), &out), MESH_ERROR_INVALID);
	assert_int_equal(mesh_regex_replace(regex, S("aaaaa"), S("\\1"), &out), MESH_ERROR_TOO_LARGE);
	assert_int_equal(mesh_buf_len(&out), 0);
	mesh_buf_free(&out);
	mesh_regex_free(regex);
}

static long most_kilobytes(void)
{
	struct rusage usage;

	assert_int_equal(getrusage(RUSAGE_SELF, &usage), 0);
	return usage.ru_maxrss;
}

/* A few hundred megabytes are not made only to be refused; what fits is made however much it could have been. */
static void bomb(void **state)
{
	static const struct {
		const char *pattern, *unit;
		bool fits;
	} rows[] = {
		{"a", "b", false}, {".*", "\\0", false}, {"(a)(x)?", "\\1\\2", false}, {"", "b", false},
		{"^a", "b", false}, {"^(a)a*(x)?", "\\1\\2", true}, {"q", "b", true}, {"(z)?a+", "\\1", true},
	};
	char text[60000], with[8001];
	long before;
	struct buf out;

	memset(text, 'a', sizeof(text));
	before = most_kilobytes();
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct regex *regex = compile(rows[i].pattern);
		size_t unit = strlen(rows[i].unit);
		int rc;

		for (size_t at = 0; at < 8000; at++)
			with[at] = rows[i].unit[at % unit];
		with[8000] = '\0';
		mesh_buf_init(&out, &mesh_mem_default, 65536);
		rc = mesh_regex_replace(regex, mesh_slice_make(text, sizeof(text)), mesh_slice_of(with), &out);

		if (rc != (rows[i].fits ? 0 : MESH_ERROR_TOO_LARGE))
			fail_msg("%s: %d", rows[i].pattern, rc);
		mesh_buf_free(&out);
		mesh_regex_free(regex);
	}
	assert_in_range(most_kilobytes() - before, 0, 64 * 1024);
}

static void *match_often(void *regex)
{
	for (int i = 0; i < 2000; i++)
		if (!mesh_regex_match(regex, S("outbound|9080|v1|reviews.default.svc.cluster.local")) ||
		    mesh_regex_match(regex, S("inbound|9080||")))
			return regex;
	return NULL;
}

static void threads(void **state)
{
	struct regex *regex = compile("outbound\\|[0-9]+\\|[^|]*\\|.*");
	pthread_t thread[3];
	void *wrong;

	for (int i = 0; i < 3; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, match_often, regex), 0);
	for (int i = 0; i < 3; i++) {
		pthread_join(thread[i], &wrong);
		assert_null(wrong);
	}
	mesh_regex_free(regex);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(matching),  cmocka_unit_test(refusing), cmocka_unit_test(linear),
		cmocka_unit_test(replacing), cmocka_unit_test(threads),
		cmocka_unit_test(bomb),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
