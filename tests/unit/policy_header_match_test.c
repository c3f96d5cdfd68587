/* SPDX-License-Identifier: Apache-2.0 */
/* Matchers on strings, headers, query parameters, addresses and fractions: one row, one fact of Envoy. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <mesh/error.h>

#include "policy/header_match.h"

#define S(text) mesh_slice_of(text)

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

static void strings(void **state)
{
	static const struct {
		enum string_match_kind kind;
		bool fold;
		const char *text, *value;
		bool hit;
	} rows[] = {
		{STRING_MATCH_EXACT, false, "a", "a", true},
		{STRING_MATCH_EXACT, false, "a", "A", false},
		{STRING_MATCH_EXACT, true, "a", "A", true},
		{STRING_MATCH_EXACT, false, "", "", true},
		{STRING_MATCH_EXACT, false, "ab", "a", false},
		{STRING_MATCH_PREFIX, false, "ab", "abc", true},
		{STRING_MATCH_PREFIX, false, "abc", "ab", false},
		{STRING_MATCH_PREFIX, false, "ab", "Abc", false},
		{STRING_MATCH_PREFIX, true, "ab", "ABC", true},
		{STRING_MATCH_PREFIX, false, "", "x", true},
		{STRING_MATCH_SUFFIX, false, "bc", "abc", true},
		{STRING_MATCH_SUFFIX, false, "bc", "aBC", false},
		{STRING_MATCH_SUFFIX, true, "bc", "aBC", true},
		{STRING_MATCH_CONTAINS, false, "b", "abc", true},
		{STRING_MATCH_CONTAINS, false, "B", "abc", false},
		{STRING_MATCH_CONTAINS, true, "B", "abc", true},
		{STRING_MATCH_CONTAINS, false, "", "", true},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct string_match match = {rows[i].kind, rows[i].fold, S(rows[i].text), NULL};

		if (mesh_string_matches(&match, S(rows[i].value)) != rows[i].hit)
			fail_msg("row %zu: '%s' on '%s'", i, rows[i].text, rows[i].value);
	}
}

static void string_regex(void **state)
{
	struct string_match match = {.kind = STRING_MATCH_REGEX};
	struct why why = {""};

	assert_int_equal(mesh_regex_new(S("a.*z"), &match.regex, &why), 0);
	assert_true(mesh_string_matches(&match, S("abcz")));
	assert_false(mesh_string_matches(&match, S("xabcz"))); /* the whole text */
	assert_false(mesh_string_matches(&match, S("abczx")));
	mesh_regex_free(match.regex);
	match.regex = NULL;
	assert_false(mesh_string_matches(&match, S("abcz")));
}

/* value NULL: the header is missing. */
struct header_row {
	enum header_match_kind kind;
	const char *text; /* of STRING, exact */
	int64_t from, to;
	bool invert, as_empty;
	const char *value;
	bool hit;
};

static void header_truth(void **state)
{
	static const struct header_row rows[] = {
		{HEADER_MATCH_PRESENT, "", 0, 0, false, false, "x", true},
		{HEADER_MATCH_PRESENT, "", 0, 0, false, false, "", true},
		{HEADER_MATCH_PRESENT, "", 0, 0, false, false, NULL, false},
		{HEADER_MATCH_PRESENT, "", 0, 0, true, false, "x", false},
		{HEADER_MATCH_PRESENT, "", 0, 0, true, false, NULL, true},
		/* missing that counts as empty is present, as Envoy has it */
		{HEADER_MATCH_PRESENT, "", 0, 0, false, true, NULL, true},
		{HEADER_MATCH_PRESENT, "", 0, 0, true, true, NULL, false},
		{HEADER_MATCH_STRING, "a", 0, 0, false, false, "a", true},
		{HEADER_MATCH_STRING, "a", 0, 0, false, false, "b", false},
		{HEADER_MATCH_STRING, "a", 0, 0, true, false, "a", false},
		{HEADER_MATCH_STRING, "a", 0, 0, true, false, "b", true},
		/* missing satisfies neither a condition nor its inverse */
		{HEADER_MATCH_STRING, "a", 0, 0, false, false, NULL, false},
		{HEADER_MATCH_STRING, "a", 0, 0, true, false, NULL, false},
		/* unless it counts as empty */
		{HEADER_MATCH_STRING, "a", 0, 0, true, true, NULL, true},
		{HEADER_MATCH_STRING, "", 0, 0, false, true, NULL, true},
		{HEADER_MATCH_STRING, "", 0, 0, true, true, NULL, false},
		{HEADER_MATCH_RANGE, "", 0, 10, false, false, "0", true},
		{HEADER_MATCH_RANGE, "", 0, 10, false, false, "9", true},
		{HEADER_MATCH_RANGE, "", 0, 10, false, false, "10", false},
		{HEADER_MATCH_RANGE, "", -5, 0, false, false, "-5", true},
		{HEADER_MATCH_RANGE, "", -5, 0, false, false, "-6", false},
		{HEADER_MATCH_RANGE, "", 0, 10, false, false, " 7 ", true},
		{HEADER_MATCH_RANGE, "", 0, 10, false, false, "+7", true},
		{HEADER_MATCH_RANGE, "", 0, 10, false, false, "+-7", false},
		{HEADER_MATCH_RANGE, "", 0, 10, false, false, "7.5", false},
		{HEADER_MATCH_RANGE, "", 0, 10, false, false, "7x", false},
		{HEADER_MATCH_RANGE, "", 0, 10, false, false, "", false},
		{HEADER_MATCH_RANGE, "", 0, 10, true, false, "7x", true},
		{HEADER_MATCH_RANGE, "", 0, 10, false, false, "99999999999999999999", false},
		{HEADER_MATCH_RANGE, "", 0, 10, true, false, NULL, false},
		{HEADER_MATCH_RANGE, "", 0, 10, true, true, NULL, true},
		{HEADER_MATCH_RANGE, "", 0, 10, false, true, NULL, false},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct header_match match = {.name = S("x-h"), .kind = rows[i].kind, .invert = rows[i].invert,
					     .missing_as_empty = rows[i].as_empty, .from = rows[i].from, .to = rows[i].to,
					     .string = {.kind = STRING_MATCH_EXACT, .text = S(rows[i].text)}};
		struct headers headers = {0};
		struct route_request request = {.headers = &headers};

		if (rows[i].value)
			assert_int_equal(mesh_headers_add(&headers, &arena, S("X-H"), S(rows[i].value)), 0);
		if (mesh_header_matches(&match, &request, &arena, false) != rows[i].hit)
			fail_msg("row %zu", i);
	}
}

static bool equals(struct route_request *request, const char *name, const char *value)
{
	struct header_match match = {.name = S(name), .kind = HEADER_MATCH_STRING,
				     .string = {.kind = STRING_MATCH_EXACT, .text = S(value)}};

	return mesh_header_matches(&match, request, &arena, false);
}

static void header_sources(void **state)
{
	struct headers headers = {0};
	struct route_request request = {.method = S("GET"), .scheme = S("https"), .authority = S("a:80"), .path = S("/p?q"),
					.headers = &headers};

	mesh_headers_add(&headers, &arena, S("x-many"), S("a"));
	mesh_headers_add(&headers, &arena, S("other"), S("o"));
	mesh_headers_add(&headers, &arena, S("X-Many"), S("b"));
	mesh_headers_add(&headers, &arena, S("host"), S("evil"));
	assert_true(equals(&request, "x-many", "a")); /* each of several by itself */
	assert_true(equals(&request, "x-many", "b"));
	assert_false(equals(&request, "x-many", "a,b"));
	assert_true(equals(&request, ":method", "GET"));
	assert_true(equals(&request, ":scheme", "https"));
	assert_true(equals(&request, ":authority", "a:80"));
	assert_true(equals(&request, ":path", "/p?q"));
	assert_true(equals(&request, "host", "a:80")); /* never what a header of that name says */
	assert_false(equals(&request, ":status", ""));
	request.headers = NULL;
	assert_false(equals(&request, "other", "o"));
}

/* Two fields are one value to rules for these names, as an Envoy sidecar was seen to have it; two for the others. */
static void header_kept_once(void **state)
{
	static const char *const once[] = {
		"accept", "Accept-Encoding", "access-control-request-headers", "access-control-request-method", "authorization",
		"cache-control", "content-encoding", "content-type", "expect", "grpc-accept-encoding", "grpc-timeout",
		"if-match", "if-modified-since", "if-none-match", "if-range", "if-unmodified-since", "origin", "pragma",
		"proxy-status", "referer", "te", "USER-AGENT", "via",
		"x-client-trace-id", "x-envoy-attempt-count", "x-envoy-decorator-operation",
		"x-envoy-downstream-service-cluster", "x-envoy-downstream-service-node", "x-envoy-external-address",
		"x-envoy-is-timeout-retry", "x-envoy-original-host", "x-envoy-original-path", "x-envoy-retry-on",
		"x-forwarded-client-cert", "x-forwarded-for", "x-forwarded-host", "x-forwarded-port", "x-forwarded-proto",
		"x-request-id"};
	static const char *const each[] = {
		"x-a", "accept-language", "range", "x-b3-traceid", "traceparent", "tracestate", "x-ot-span-context",
		"x-datadog-trace-id", "date", "server", "location", "x-requested-with", "forwarded", "early-data", "grpc-status",
		"x-envoy-peer-metadata", "accep", "acceptt"};

	for (size_t i = 0; i < sizeof(once) / sizeof(once[0]) + sizeof(each) / sizeof(each[0]); i++) {
		bool joined = i < sizeof(once) / sizeof(once[0]);
		const char *name = joined ? once[i] : each[i - sizeof(once) / sizeof(once[0])];
		struct headers headers = {0};
		struct route_request request = {.headers = &headers};

		mesh_headers_add(&headers, &arena, S(name), S("1"));
		assert_true(equals(&request, name, "1"));
		mesh_headers_add(&headers, &arena, S(name), S("2"));
		if (equals(&request, name, "1,2") != joined || equals(&request, name, "1") == joined ||
		    equals(&request, name, "2") == joined || mesh_header_kept_once(S(name)) != joined)
			fail_msg("%s", name);
	}
}

/* An empty value adds nothing to what is kept once, and no comma. */
static void header_kept_once_of_nothing(void **state)
{
	static const struct {
		const char *values[3], *whole;
	} rows[] = {{{"v2", "", ""}, "v2"}, {{"", "v2", ""}, "v2"}, {{"a", "", "b"}, "a,b"}, {{"", "", ""}, ""}};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct headers headers = {0};
		struct route_request request = {.headers = &headers};
		struct mesh_slice value;

		for (size_t k = 0; k < 3; k++)
			mesh_headers_add(&headers, &arena, S("user-agent"), S(rows[i].values[k]));
		assert_int_equal(mesh_header_value(&request, S("user-agent"), &arena, &value), 0);
		if (!equals(&request, "user-agent", rows[i].whole) || !mesh_slice_equal(value, S(rows[i].whole)))
			fail_msg("row %zu: '%.*s'", i, (int)value.len, value.data);
	}
}

/* What cannot be joined for want of memory is as its caller says: so that rules that deny and that allow both deny. */
static void header_doubt(void **state)
{
	struct header_match match = {.name = S("via"), .kind = HEADER_MATCH_STRING,
				     .string = {.kind = STRING_MATCH_EXACT, .text = S("a")}};
	struct headers headers = {0};
	struct route_request request = {.headers = &headers};
	struct arena tiny;

	mesh_headers_add(&headers, &arena, S("via"), S("a"));
	mesh_headers_add(&headers, &arena, S("via"), S("b"));
	mesh_arena_init(&tiny, &mesh_mem_default, 1);
	assert_true(mesh_header_matches(&match, &request, &tiny, true));
	assert_false(mesh_header_matches(&match, &request, &tiny, false));
	mesh_arena_free(&tiny);
}

static void header_no_memory(void **state)
{
	struct header_match match = {.name = S("x"), .kind = HEADER_MATCH_STRING, .invert = true};
	struct headers headers = {0};
	struct route_request request = {.headers = &headers};
	struct arena tiny;
	struct mesh_slice value;

	mesh_headers_add(&headers, &arena, S("x"), S("a"));
	mesh_headers_add(&headers, &arena, S("x"), S("b"));
	mesh_arena_init(&tiny, &mesh_mem_default, 1);
	assert_int_equal(mesh_header_value(&request, S("x"), &tiny, &value), MESH_ERROR_NOMEM);
	assert_true(mesh_header_matches(&match, &request, &tiny, false)); /* nothing is joined for it */
	assert_true(mesh_header_matches(&match, &request, &arena, false));
	mesh_arena_free(&tiny);
}

static void queries(void **state)
{
	static const struct {
		const char *path, *name;
		bool present_only;
		const char *value;
		bool hit;
	} rows[] = {
		{"/a", "k", true, "", false},
		{"/a?", "k", true, "", false},
		{"/a?k", "k", true, "", true},
		{"/a?k", "k", false, "", true},
		{"/a?k=", "k", false, "", true},
		{"/a?k=1", "k", false, "1", true},
		{"/a?k=1&k=2", "k", false, "1", true},
		{"/a?k=1&k=2", "k", false, "2", false}, /* the first value counts */
		{"/a?x=1&k=2", "k", false, "2", true},
		{"/a?kk=1", "k", true, "", false},
		{"/a?K=1", "k", true, "", false},
		{"/a?k=a%20b", "k", false, "a%20b", true}, /* as written */
		{"/a?k=a%20b", "k", false, "a b", false},
		{"/a?k=1=2", "k", false, "1=2", true},
		{"/a?&&k=1", "k", false, "1", true},
		{"/a?x?k=1", "k", true, "", false},
		{"/a?k=1#f", "k", false, "1#f", true},
		{"", "k", true, "", false},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct query_match match = {.name = S(rows[i].name), .present_only = rows[i].present_only,
					    .string = {.kind = STRING_MATCH_EXACT, .text = S(rows[i].value)}};

		if (mesh_query_matches(&match, S(rows[i].path), &arena) != rows[i].hit)
			fail_msg("row %zu: %s", i, rows[i].path);
	}
}

static bool contains(const char *range, unsigned bits, const char *ip)
{
	struct address base, address;
	struct cidr cidr = {.bits = (uint8_t)bits};

	assert_int_equal(mesh_address_parse(&base, S(range), 0), 0);
	assert_int_equal(mesh_address_parse(&address, S(ip), 1), 0);
	cidr.v6 = base.any.sa_family == AF_INET6;
	if (cidr.v6)
		memcpy(cidr.bytes, &base.v6.sin6_addr, 16);
	else
		memcpy(cidr.bytes, &base.v4.sin_addr, 4);
	return mesh_cidr_contains(&cidr, &address);
}

static void cidrs(void **state)
{
	struct address none = {.len = 0};
	struct cidr any = {.bits = 0}, broken = {.bits = 33};
	struct address some;

	assert_true(contains("10.0.0.0", 8, "10.255.0.1"));
	assert_false(contains("10.0.0.0", 8, "11.0.0.1"));
	assert_true(contains("10.1.2.3", 32, "10.1.2.3"));
	assert_false(contains("10.1.2.3", 32, "10.1.2.2"));
	assert_true(contains("10.1.2.128", 25, "10.1.2.200"));
	assert_false(contains("10.1.2.128", 25, "10.1.2.127"));
	assert_true(contains("0.0.0.0", 0, "255.1.1.1"));
	assert_false(contains("0.0.0.0", 0, "::1"));
	assert_false(contains("::", 0, "10.0.0.1"));
	assert_true(contains("2001:db8::", 33, "2001:db8:7fff::1"));
	assert_false(contains("2001:db8::", 33, "2001:db8:8000::1"));
	assert_true(contains("::1", 128, "::1"));
	assert_true(contains("10.0.0.0", 8, "::ffff:10.1.1.1")); /* an IPv4 peer on a dual-stack socket */
	assert_false(contains("::", 0, "::ffff:10.1.1.1"));
	assert_false(mesh_cidr_contains(&any, &none));
	assert_false(mesh_cidr_contains(&any, NULL));
	mesh_address_parse(&some, S("0.0.0.0"), 0);
	assert_false(mesh_cidr_contains(&broken, &some));
}

static void fractions(void **state)
{
	static const uint32_t denominators[] = {100, 10000, 1000000};
	struct fraction fraction = {0, 0};

	assert_true(mesh_fraction_hits(&fraction, 7)); /* not set: all */
	for (size_t i = 0; i < 3; i++) {
		uint32_t hits = 0;

		fraction = (struct fraction){denominators[i] / 4, denominators[i]};
		for (uint64_t random = 0; random < denominators[i]; random++)
			hits += mesh_fraction_hits(&fraction, random + 5 * (uint64_t)denominators[i]);
		assert_int_equal(hits, denominators[i] / 4);
	}
	fraction = (struct fraction){0, 100};
	assert_false(mesh_fraction_hits(&fraction, 0));
	fraction = (struct fraction){100, 100};
	assert_true(mesh_fraction_hits(&fraction, 99));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(strings),
		cmocka_unit_test(string_regex),
		cmocka_unit_test(header_truth),
		cmocka_unit_test(header_sources),
		cmocka_unit_test(header_kept_once),
		cmocka_unit_test(header_kept_once_of_nothing),
		cmocka_unit_test(header_doubt),
		cmocka_unit_test(header_no_memory),
		cmocka_unit_test(queries),
		cmocka_unit_test(cidrs),
		cmocka_unit_test(fractions),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
