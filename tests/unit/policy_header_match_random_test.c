/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Matchers of headers against a second reading of the rules, written as they are told: over a small alphabet, so that all
 * cases are met, with a fixed seed, so that they are met again.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rand.h"
#include "policy/header_match.h"

enum { ROUNDS = 200000, TEXT_MAX = 6 };

static struct rand dice;

static unsigned roll(unsigned below)
{
	return (unsigned)mesh_rand_below(&dice, below);
}

/* Of letters in both cases, digits, signs, blanks. */
static void text(char *into)
{
	static const char letters[] = "abAB01-+ ,";
	unsigned len = roll(TEXT_MAX + 1);

	for (unsigned i = 0; i < len; i++)
		into[i] = letters[roll(sizeof(letters) - 1)];
	into[len] = '\0';
}

static void lower(char *into, const char *from)
{
	for (; *from; from++)
		*into++ = *from >= 'A' && *from <= 'Z' ? (char)(*from - 'A' + 'a') : *from;
	*into = '\0';
}

static bool string_hits(const struct string_match *match, const char *pattern, const char *value)
{
	char a[32], b[64];
	size_t pattern_len = strlen(pattern), value_len = strlen(value);

	if (match->ignore_case) {
		lower(a, pattern);
		lower(b, value);
		pattern = a;
		value = b;
	}
	switch (match->kind) {
	case STRING_MATCH_EXACT:
		return strcmp(pattern, value) == 0;
	case STRING_MATCH_PREFIX:
		return strncmp(value, pattern, pattern_len) == 0;
	case STRING_MATCH_SUFFIX:
		return value_len >= pattern_len && strcmp(value + value_len - pattern_len, pattern) == 0;
	case STRING_MATCH_CONTAINS:
		return strstr(value, pattern) != NULL;
	case STRING_MATCH_REGEX:
		break;
	}
	return false;
}

/* Blanks, one sign, digits, blanks. */
static bool whole_number(const char *value, long long *number)
{
	char *end;

	value += strspn(value, " ");
	if (!value[strspn(value, "+-")] || value[strspn(value, "+-")] < '0' || value[strspn(value, "+-")] > '9' ||
	    strspn(value, "+-") > 1)
		return false;
	errno = 0;
	*number = strtoll(value, &end, 10);
	return !errno && !end[strspn(end, " ")];
}

/* One of several values is enough; the inverse holds when none is. */
static bool header_hits(const struct header_match *match, const char *pattern, char values[3][TEXT_MAX + 1],
			unsigned count)
{
	long long number;
	bool hit = false;

	if (!count && match->missing_as_empty)
		values[count++][0] = '\0';
	if (match->kind == HEADER_MATCH_PRESENT)
		return match->invert ? !count : count > 0;
	if (!count)
		return false;
	for (unsigned i = 0; i < count; i++) {
		if (match->kind == HEADER_MATCH_RANGE)
			hit |= whole_number(values[i], &number) && match->from <= number && number < match->to;
		else
			hit |= string_hits(&match->string, pattern, values[i]);
	}
	return match->invert ? !hit : hit;
}

static void make_match(struct header_match *match, char *pattern)
{
	static const enum header_match_kind kinds[] = {HEADER_MATCH_PRESENT, HEADER_MATCH_STRING, HEADER_MATCH_STRING,
						       HEADER_MATCH_RANGE};
	static const enum string_match_kind strings[] = {STRING_MATCH_EXACT, STRING_MATCH_PREFIX, STRING_MATCH_SUFFIX,
							 STRING_MATCH_CONTAINS};

	memset(match, 0, sizeof(*match));
	text(pattern);
	match->name = MESH_SLICE("x-a");
	match->kind = kinds[roll(4)];
	match->invert = roll(2);
	match->missing_as_empty = roll(2);
	match->string.kind = strings[roll(4)];
	match->string.ignore_case = roll(2);
	match->string.text = mesh_slice_of(pattern);
	match->from = (int64_t)roll(30) - 15;
	match->to = match->from + roll(20);
}

/* None to three headers of that name among others; returns how many. */
static unsigned make_headers(struct headers *headers, struct arena *arena, char values[3][TEXT_MAX + 1])
{
	static const char *const spelled[] = {"x-a", "X-A", "X-a"};
	unsigned count = roll(4);

	mesh_headers_clear(headers);
	for (unsigned i = 0; i < count; i++) {
		text(values[i]);
		assert_int_equal(mesh_headers_add(headers, arena, MESH_SLICE("x-ab"), MESH_SLICE("a")), 0);
		assert_int_equal(
			mesh_headers_add(headers, arena, mesh_slice_of(spelled[roll(3)]), mesh_slice_of(values[i])), 0);
	}
	return count;
}

static void test_headers(void **state)
{
	unsigned hits = 0;
	struct arena arena;

	mesh_arena_init(&arena, &mesh_mem_default, 0);
	mesh_rand_seed(&dice, 42);
	for (int i = 0; i < ROUNDS; i++) {
		char pattern[TEXT_MAX + 1], values[3][TEXT_MAX + 1];
		struct headers headers;
		struct header_match match;
		struct route_request request = {.headers = &headers};
		unsigned count = make_headers(&headers, &arena, values);
		bool expected, got;

		make_match(&match, pattern);
		got = mesh_header_matches(&match, &request, &arena, false);
		expected = header_hits(&match, pattern, values, count);
		hits += got;
		if (got != expected)
			fail_msg("round %d: kind %d/%d%s%s%s \"%s\" %lld..%lld on %u, the first \"%s\": %d", i,
				 match.kind, match.string.kind, match.string.ignore_case ? " folded" : "",
				 match.invert ? " inverted" : "", match.missing_as_empty ? " missing as empty" : "",
				 pattern, (long long)match.from, (long long)match.to, count, count ? values[0] : "",
				 got);
		mesh_arena_reset(&arena);
	}
	assert_true(hits > ROUNDS / 10 && hits < ROUNDS * 9 / 10); /* both answers are common */
	mesh_arena_free(&arena);
}

/* The first parameter of a name counts, as it is written. */
static bool query_hits(const struct query_match *match, const char *name, const char *pattern, const char *path)
{
	size_t len = strlen(name);
	const char *at = strchr(path, '?');
	char value[64];

	while (at && *++at) {
		size_t whole = strcspn(at, "&"), key = strcspn(at, "&=");

		if (key == len && !strncmp(at, name, len)) {
			snprintf(value, sizeof(value), "%.*s", (int)(whole > key ? whole - key - 1 : 0), at + key + 1);
			if (whole == key)
				value[0] = '\0';
			return match->present_only || string_hits(&match->string, pattern, value);
		}
		at = at[whole] ? at + whole : NULL;
	}
	return false;
}

static void test_queries(void **state)
{
	static const char letters[] = "abAB=&?";
	unsigned hits = 0;
	struct arena arena;

	mesh_arena_init(&arena, &mesh_mem_default, 0);
	mesh_rand_seed(&dice, 43);
	for (int i = 0; i < ROUNDS; i++) {
		char pattern[TEXT_MAX + 1], name[2] = {letters[roll(4)], '\0'}, path[16] = "/";
		struct header_match from;
		struct query_match match;
		unsigned len = roll(12);
		bool expected, got;

		make_match(&from, pattern);
		match = (struct query_match){
			.name = mesh_slice_of(name), .present_only = roll(4) == 0, .string = from.string};
		path[1] = roll(8) ? '?' : 'a';
		for (unsigned k = 0; k < len; k++)
			path[2 + k] = letters[roll(sizeof(letters) - 1)];
		expected = query_hits(&match, name, pattern, path);
		got = mesh_query_matches(&match, mesh_slice_of(path), &arena);
		hits += got;
		if (got != expected)
			fail_msg("round %d: \"%s\" of %s, kind %d \"%s\": %d", i, name, path, match.string.kind,
				 pattern, got);
		mesh_arena_reset(&arena);
	}
	assert_true(hits > ROUNDS / 50);
	mesh_arena_free(&arena);
}

/* So many of every denominator's numbers hit, and they are the lowest. */
static void test_fractions(void **state)
{
	static const uint32_t denominators[] = {100, 10000, 1000000};

	mesh_rand_seed(&dice, 44);
	for (int i = 0; i < ROUNDS; i++) {
		struct fraction fraction = {.denominator = denominators[roll(3)]};
		uint64_t random = mesh_rand_next(&dice);

		fraction.numerator = roll(fraction.denominator + 1);
		assert_int_equal(mesh_fraction_hits(&fraction, random),
				 random % fraction.denominator < fraction.numerator);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_headers),
		cmocka_unit_test(test_queries),
		cmocka_unit_test(test_fractions),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
