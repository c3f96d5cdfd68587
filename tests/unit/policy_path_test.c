/* SPDX-License-Identifier: Apache-2.0 */
/* Path normalization: what every spelling of a path becomes, and that no spelling escapes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>

#include <mesh/error.h>

#include "base/rand.h"
#include "policy/path.h"

#define S(text) mesh_slice_of(text)

static struct arena arena;
static const struct http_config none = {0};
static const struct http_config base = {.normalize_path = true};
static const struct http_config merge = {.normalize_path = true, .merge_slashes = true};
static const struct http_config decode = {.normalize_path = true, .merge_slashes = true,
					  .escaped_slashes = ESCAPED_SLASHES_UNESCAPE_FORWARD};
static const struct http_config redirect = {.normalize_path = true, .merge_slashes = true,
					    .escaped_slashes = ESCAPED_SLASHES_UNESCAPE_REDIRECT};
static const struct http_config reject = {.escaped_slashes = ESCAPED_SLASHES_REJECT};

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

struct row {
	const struct http_config *http;
	const char *in, *out; /* out NULL: rejected */
};

static void check(const struct row *rows, size_t count, int good)
{
	for (size_t i = 0; i < count; i++) {
		struct mesh_slice path = S(rows[i].in);
		int outcome = mesh_path_normalize(rows[i].http, &arena, &path);
		int expected = rows[i].out ? good : PATH_REJECT;

		if (outcome != expected)
			fail_msg("row %zu: %s gave outcome %d", i, rows[i].in, outcome);
		if (rows[i].out && !mesh_slice_equal(path, S(rows[i].out)))
			fail_msg("row %zu: %s became %.*s, not %s", i, rows[i].in, (int)path.len, path.data, rows[i].out);
	}
}

#define CHECK(rows) check(rows, sizeof(rows) / sizeof((rows)[0]), PATH_GOOD)

static void untouched(void **state)
{
	static const struct row rows[] = {
		{&none, "/", "/"},
		{&none, "/a/../b", "/a/../b"},
		{&none, "/a//b", "/a//b"},
		{&none, "/a%2fb\\c", "/a%2fb\\c"},
		{&none, "/a%00", "/a%00"},
		{&none, "/a#f", "/a"}, /* the fragment goes always */
		{&none, "/a?q#f?g", "/a?q"},
		{&none, "", ""},
		{&base, "", ""},
		{&decode, "*", "*"},
		{&base, "/a/b?x=/../y//%2e", "/a/b?x=/../y//%2e"}, /* a query is no path */
		{&base, "/a//b/", "/a//b/"},
		{&base, "/a.b/c..d/...", "/a.b/c..d/..."},
		{&base, "/!$&'()*+,;=:@[]", "/!$&'()*+,;=:@[]"},
		{&base, "/admin;a=b/x", "/admin;a=b/x"},
	};

	CHECK(rows);
}

static void dot_segments(void **state)
{
	static const struct row rows[] = {
		{&base, "/a/../b", "/b"},
		{&base, "/a/./b", "/a/b"},
		{&base, "/a/b/..", "/a/"},
		{&base, "/a/b/.", "/a/b/"},
		{&base, "/..", "/"},
		{&base, "/.", "/"},
		{&base, "..", "/"},
		{&base, "a/../b", "/b"},
		{&base, "/../../../b", "/b"},
		{&base, "/a/b/../../../../c", "/c"},
		{&base, "/a//../b", "/a/b"},
		{&base, "/a//../../b", "/b"},
		{&base, "/a/%2e%2e/b", "/b"},
		{&base, "/a/%2E%2e/b", "/b"},
		{&base, "/a/.%2e/b", "/b"},
		{&base, "/a/%2e./b", "/b"},
		{&base, "/a/%2e/b", "/a/b"},
		{&base, "/a/..\\b", "/b"},
		{&base, "/a\\..\\b", "/b"},
		{&base, "/a/...", "/a/..."},
		{&base, "/a/%2e%2e%2e/b", "/a/.../b"},
		{&base, "/a/..b", "/a/..b"},
		{&base, "/a/b..", "/a/b.."},
		{&base, "/a%2f../b", "/a%2f../b"}, /* "a%2f.." is one segment here */
		{&base, "/a%2f%2e%2e%2fb", "/a%2f..%2fb"},
		{&base, "/a/..?q", "/?q"},
		{&base, "/a/../b?../c", "/b?../c"},
		/* segments with parameters are dot segments too */
		{&base, "/a/..;/b", "/b"},
		{&base, "/a/..;x=1/b", "/b"},
		{&base, "/a/..;x=1;y", "/"},
		{&base, "/a/.;x/b", "/a/b"},
		{&base, "/a/%2e%2E;x/b", "/b"},
		{&base, "/a/..;x\\b", "/b"},
		{&base, "/..;/admin", "/admin"},
		{&base, "/a/...;x/b", "/a/...;x/b"},
		{&base, "/a/b;/../c", "/a/c"},
	};

	CHECK(rows);
}

static void escapes(void **state)
{
	static const struct row rows[] = {
		{&base, "/%61dmin", "/admin"},
		{&base, "/xyz%30..//abc", "/xyz0..//abc"},
		{&base, "/a b\"<>`{|}^", "/a%20b%22%3C%3E%60%7B%7C%7D%5E"},
		{&base, "/\xc3\xa9", "/%C3%A9"},
		{&base, "/%c3%a9", "/%c3%a9"}, /* their case stays */
		{&base, "/%c0%af", "/%c0%af"},
		{&base, "/%c0%2e%c0%2e/admin", "/%c0.%c0./admin"},
		{&base, "/%5c%25%2F%2f", "/%5c%25%2F%2f"},
		{&base, "/%252e%252e/a", "/%252e%252e/a"}, /* one level only */
		{&base, "/a\\b", "/a/b"},
		{&base, "/%", "/%"},
		{&base, "/%4", "/%4"},
		{&base, "/%zz", "/%zz"},
		/* decoding must not make a new escape out of a stray '%' */
		{&base, "/%%361", "/%2561"},
		{&base, "/%%36%31", "/%2561"},
		{&base, "/%6%31", "/%2561"},
		{&base, "/%%2e", "/%."},
		{&base, "/%2%65", "/%252e"},
		{&base, "/a%00", NULL},
		{&base, "/a/.%00../b", NULL},
		{&base, "/a%%0000/b", NULL},
		{&base, "/a?%00", "/a?%00"},
	};
	const char nul[] = {'/', 'a', 0, 'b'};
	struct mesh_slice path = {nul, sizeof(nul)};

	CHECK(rows);
	assert_int_equal(mesh_path_normalize(&base, &arena, &path), PATH_REJECT);
}

/* The characters whose escapes Envoy decodes are the unreserved ones, nothing else. */
static void every_escape(void **state)
{
	for (unsigned i = 1; i < 256; i++) {
		bool plain = (i >= '0' && i <= '9') || (i >= 'a' && i <= 'z') || (i >= 'A' && i <= 'Z') || i == '-' ||
			     i == '.' || i == '_' || i == '~';
		char in[16], out[16];
		struct row row = {&base, in, out};

		snprintf(in, sizeof(in), "/x%%%02x", i);
		snprintf(out, sizeof(out), plain ? "/x%c" : "/x%%%02x", i);
		check(&row, 1, PATH_GOOD);
		row.http = &decode;
		if (i == '/' || i == '\\')
			snprintf(out, sizeof(out), "/x/");
		check(&row, 1, PATH_GOOD);
	}
}

static void slashes(void **state)
{
	static const struct row rows[] = {
		{&merge, "//a///b//", "/a/b/"},
		{&merge, "//", "/"},
		{&merge, "/a//b?c=//d", "/a/b?c=//d"},
		{&merge, "/a/\\/\\b", "/a/b"},
		{&merge, "/a//../b", "/a/b"}, /* dot segments first, then doubled slashes */
		{&merge, "/a%2f%2fb", "/a%2f%2fb"},
		{&decode, "/a%2fb", "/a/b"},
		{&decode, "/a%2F%2fb%5C%5cc", "/a/b/c"},
		{&decode, "/a%2f..%2fb", "/b"},
		{&decode, "/a%5c..%5cb", "/b"},
		{&decode, "/a%2f%2e%2e%2fb", "/b"},
		{&decode, "/%252fa", "/%252fa"},
		{&decode, "/a?b=%2f", "/a?b=%2f"},
		{&decode, "/%5Capp%2f%5c%2F%2e%2e%2fadmin%5c\\abc", "/app/admin/abc"},
		{&redirect, "/a/../b", "/b"}, /* no escaped slash, no redirect */
		{&redirect, "/a%2f%00", NULL},
		{&reject, "/a%2fb", NULL},
		{&reject, "/a%5Cb", NULL},
		{&reject, "/a?%2f", "/a?%2f"},
		{&reject, "/a/../b", "/a/../b"},
	};
	static const struct http_config merge_only = {.merge_slashes = true};
	static const struct http_config unescape_only = {.escaped_slashes = ESCAPED_SLASHES_UNESCAPE_FORWARD};
	static const struct row more[] = {
		{&merge_only, "/a//../b", "/a/../b"},
		{&merge_only, "/a\\\\b", "/a\\\\b"},
		{&unescape_only, "/a%5c%2fb", "/a\\/b"},
	};

	static const struct row redirects[] = {
		{&redirect, "/a%2fb?q=1", "/a/b?q=1"},
		{&redirect, "/a%5c..%2fb", "/b"},
	};

	CHECK(rows);
	CHECK(more);
	check(redirects, sizeof(redirects) / sizeof(redirects[0]), PATH_REDIRECT);
}

static bool has_dot_segment(struct mesh_slice path)
{
	struct mesh_slice rest = path;

	while (rest.data) {
		struct mesh_slice segment = mesh_slice_cut(&rest, '/');

		segment = mesh_slice_cut(&segment, ';');
		if (mesh_slice_equal(segment, S(".")) || mesh_slice_equal(segment, S("..")))
			return true;
	}
	return false;
}

/* Whatever comes in: what goes out has no dot segment, no double slash, no escape that hides a plain character, and is final. */
static void nothing_escapes(void **state)
{
	static const char *const pieces[] = {"/", "/", ".", "..", "%2e", "%2E", "%2f", "%5c", "\\", "%", "%2", "5", "e", "2",
					     "a", "%61", "%25", ";", ";x", "%3b", "//", "c", "%c0", "\xff", " ", "f", "0"};
	struct rand rand;

	mesh_rand_seed(&rand, 7);
	for (unsigned round = 0; round < 200000; round++) {
		char text[128] = "/";
		size_t len = 1, count = 1 + mesh_rand_below(&rand, 14);
		struct mesh_slice path, again;

		for (size_t i = 0; i < count; i++) {
			const char *piece = pieces[mesh_rand_below(&rand, sizeof(pieces) / sizeof(pieces[0]))];

			memcpy(text + len, piece, strlen(piece));
			len += strlen(piece);
		}
		path = mesh_slice_make(text, len);
		mesh_arena_reset(&arena);
		if (mesh_slice_contains(path, S("%00")))
			continue;
		if (mesh_path_normalize(&decode, &arena, &path) != PATH_GOOD)
			fail_msg("refused %.*s", (int)len, text);
		if (path.data[0] != '/' || has_dot_segment(path) || mesh_slice_contains(path, S("//")) ||
		    mesh_slice_find(path, '\\') >= 0 || mesh_slice_contains_fold(path, S("%2e")) ||
		    mesh_slice_contains_fold(path, S("%61")) || mesh_slice_contains_fold(path, S("%2f")))
			fail_msg("%.*s became %.*s", (int)len, text, (int)path.len, path.data);
		again = path;
		if (mesh_path_normalize(&decode, &arena, &again) != PATH_GOOD || !mesh_slice_equal(path, again))
			fail_msg("%.*s became %.*s and then %.*s", (int)len, text, (int)path.len, path.data, (int)again.len,
				 again.data);
	}
}

static void no_memory(void **state)
{
	struct mesh_slice path = S("/a/../b");
	struct arena tiny;

	mesh_arena_init(&tiny, &mesh_mem_default, 1);
	assert_int_equal(mesh_path_normalize(&base, &tiny, &path), MESH_ERROR_NOMEM);
	path = S("/a%2fb");
	assert_int_equal(mesh_path_normalize(&decode, &tiny, &path), MESH_ERROR_NOMEM);
	path = S("/a/b?c");
	assert_int_equal(mesh_path_normalize(&decode, &tiny, &path), PATH_GOOD); /* a plain path needs none */
	assert_int_equal(tiny.total, 0);
	mesh_arena_free(&tiny);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(untouched), cmocka_unit_test(dot_segments), cmocka_unit_test(escapes),
		cmocka_unit_test(every_escape), cmocka_unit_test(slashes), cmocka_unit_test(nothing_escapes),
		cmocka_unit_test(no_memory),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
