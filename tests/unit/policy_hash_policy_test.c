/* SPDX-License-Identifier: Apache-2.0 */
/* What of a request is hashed, and how several policies become one number. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/hash.h"
#include "base/regex.h"
#include "policy/hash_policy.h"

#define HEADER(text)                                                                                                   \
	{                                                                                                              \
		.source = HASH_HEADER, .name = { text, sizeof(text) - 1 }                                              \
	}
#define COOKIE(text)                                                                                                   \
	{                                                                                                              \
		.source = HASH_COOKIE, .name = { text, sizeof(text) - 1 }                                              \
	}
#define QUERY(text)                                                                                                    \
	{                                                                                                              \
		.source = HASH_QUERY, .name = { text, sizeof(text) - 1 }                                               \
	}
#define SOURCE_IP                                                                                                      \
	{                                                                                                              \
		.source = HASH_SOURCE_IP                                                                               \
	}
#define FIELD(n, v)                                                                                                    \
	{                                                                                                              \
		{n, sizeof(n) - 1},                                                                                    \
		{                                                                                                      \
			v, sizeof(v) - 1                                                                               \
		}                                                                                                      \
	}

static struct mesh_header fields[] = {
	FIELD("x-user", "anna"),
	FIELD("x-many", "foo"),
	FIELD("cookie", "a=1; session=\"s 1\";b = x; empty=; =nameless; bare"),
	FIELD("X-Many", "bar"),
	FIELD("cookie", "late=2; a=3"),
	FIELD("x-empty", ""),
	FIELD("user-agent", "two"),
	FIELD("User-Agent", "one"),
};

static uint64_t hash(const struct hash_policy *policies, size_t count, const char *path, const char *source)
{
	struct route route = {.hash_policies = (struct hash_policy *)policies, .hash_policy_count = count};
	struct headers headers = {.items = fields, .count = sizeof(fields) / sizeof(fields[0])};
	struct route_request request = {.method = MESH_SLICE("GET"),
					.authority = MESH_SLICE("reviews"),
					.path = mesh_slice_of(path),
					.headers = &headers};
	struct arena arena;
	struct hash_result result = {.hash = 1};

	mesh_arena_init(&arena, &mesh_mem_default, 0);
	assert_int_equal(mesh_hash_policies(route.hash_policies, route.hash_policy_count, &request,
					    &(struct hash_origin){mesh_slice_of(source), NULL}, &arena, &result), 0);
	mesh_arena_free(&arena);
	assert_null(result.set_cookie.data);
	return result.hash;
}

static uint64_t xx(const char *text)
{
	return mesh_hash_xx64(mesh_slice_of(text), 0);
}

/* Who has no cookie gets one with what the policy says of it; who has one, none. */
static void cookies_are_made(void **state)
{
	struct hash_policy policy = {.source = HASH_COOKIE, .name = MESH_SLICE("lost"),
				     .cookie_tail = MESH_SLICE("; Max-Age=60; HttpOnly")};
	struct headers headers = {.items = fields, .count = sizeof(fields) / sizeof(fields[0])};
	struct route_request request = {.path = MESH_SLICE("/"), .headers = &headers};
	struct hash_origin origin = {.source_ip = MESH_SLICE("10.0.0.1")};
	struct hash_result first, second;
	struct arena arena;
	struct rand rand;

	mesh_rand_seed(&rand, 1);
	origin.rand = &rand;
	mesh_arena_init(&arena, &mesh_mem_default, 0);
	assert_int_equal(mesh_hash_policies(&policy, 1, &request, &origin, &arena, &first), 0);
	assert_int_equal(first.set_cookie.len, strlen("lost=\"0123456789abcdef\"; Max-Age=60; HttpOnly"));
	assert_memory_equal(first.set_cookie.data, "lost=\"", 6);
	assert_memory_equal(first.set_cookie.data + 22, "\"; Max-Age=60; HttpOnly", 23);
	for (size_t i = 6; i < 22; i++)
		assert_non_null(strchr("0123456789abcdef", first.set_cookie.data[i]));
	/* it comes back, and is the same to us */
	assert_int_equal(first.hash, mesh_hash_xx64(mesh_slice_make(first.set_cookie.data + 6, 16), 0));
	assert_int_equal(mesh_hash_policies(&policy, 1, &request, &origin, &arena, &second), 0);
	assert_int_not_equal(first.hash, second.hash);
	policy.name = MESH_SLICE("a");
	assert_int_equal(mesh_hash_policies(&policy, 1, &request, &origin, &arena, &second), 0);
	assert_null(second.set_cookie.data);
	assert_int_equal(second.hash, xx("1"));
	mesh_arena_free(&arena);
}

static void single(void **state)
{
	static const struct {
		struct hash_policy policy;
		const char *path, *text; /* NULL: nothing found */
	} rows[] = {
		{HEADER("x-user"), "/", "anna"},
		{HEADER("x-none"), "/", NULL},
		{HEADER("x-empty"), "/", ""}, /* there, and empty */
		{HEADER(":path"), "/p?q", "/p?q"},
		{HEADER(":authority"), "/", "reviews"},
		{HEADER("host"), "/", "reviews"},
		{COOKIE("a"), "/", "1"},
		{COOKIE("session"), "/", "s 1"},
		{COOKIE("b"), "/", "x"},
		{COOKIE("late"), "/", "2"},
		{COOKIE("empty"), "/", NULL},
		{COOKIE("bare"), "/", NULL},
		{COOKIE("A"), "/", NULL},
		{QUERY("k"), "/p?j=1&k=v%20&k=w", "v%20"},
		{QUERY("k"), "/p?k", ""},
		{QUERY("k"), "/p?kk=1", NULL},
		{QUERY("k"), "/p", NULL},
		{SOURCE_IP, "/", "10.0.0.9"},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint64_t seen = hash(&rows[i].policy, 1, rows[i].path, "10.0.0.9");
		uint64_t expected = rows[i].text ? xx(rows[i].text) : 0;

		if (seen != expected)
			fail_msg("row %zu: %llx, not %llx", i, (unsigned long long)seen, (unsigned long long)expected);
	}
	assert_int_equal(hash(&(struct hash_policy)SOURCE_IP, 1, "/", ""), 0);
}

/* In order of their values: "bar" before "foo", though it came behind. */
static void several_values(void **state)
{
	struct hash_policy policy = HEADER("x-many"), once = HEADER("user-agent");

	assert_int_equal(hash(&policy, 1, "/", ""), mesh_hash_xx64(MESH_SLICE("foo"), xx("bar")));
	assert_int_equal(hash(&once, 1, "/", ""), xx("two,one")); /* one value to whoever asks */
}

static void rewritten(void **state)
{
	struct hash_policy policy = HEADER("x-user"), many = HEADER("x-many");
	struct why why;

	assert_int_equal(mesh_regex_new(MESH_SLICE("^(.)n+"), &policy.rewrite, &why), 0);
	policy.rewrite_with = MESH_SLICE("\\1-");
	assert_int_equal(hash(&policy, 1, "/", ""), xx("a-a"));
	mesh_regex_free(policy.rewrite);
	/* sorted as rewritten */
	assert_int_equal(mesh_regex_new(MESH_SLICE("bar"), &many.rewrite, &why), 0);
	many.rewrite_with = MESH_SLICE("zzz");
	assert_int_equal(hash(&many, 1, "/", ""), mesh_hash_xx64(MESH_SLICE("zzz"), xx("foo")));
	mesh_regex_free(many.rewrite);
}

static void combined(void **state)
{
	struct hash_policy policies[] = {HEADER("x-none"), HEADER("x-user"), COOKIE("a"), COOKIE("none"), QUERY("k")};
	uint64_t two = (xx("anna") << 1 | xx("anna") >> 63) ^ xx("1");

	assert_int_equal(hash(policies, 5, "/", ""), two);
	assert_int_equal(hash(policies, 5, "/?k=v", ""), (two << 1 | two >> 63) ^ xx("v"));
	policies[0].terminal = true; /* found nothing: the next is asked */
	assert_int_equal(hash(policies, 5, "/", ""), two);
	policies[1].terminal = true;
	assert_int_equal(hash(policies, 5, "/?k=v", ""), xx("anna"));
	policies[1].terminal = false;
	policies[3].terminal = true; /* finds nothing itself, but there is a hash */
	assert_int_equal(hash(policies, 5, "/?k=v", ""), two);
	policies[2] = policies[1]; /* the same twice is not none */
	assert_int_equal(hash(policies, 3, "/", ""), (xx("anna") << 1 | xx("anna") >> 63) ^ xx("anna"));
	assert_int_equal(hash(policies, 0, "/", ""), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(cookies_are_made), cmocka_unit_test(single),
		cmocka_unit_test(several_values),
		cmocka_unit_test(rewritten),
		cmocka_unit_test(combined),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
