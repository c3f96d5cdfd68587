/* SPDX-License-Identifier: Apache-2.0 */
/* Virtual hosts by authority, routes by path, headers, query and chance, clusters by weight. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include <mesh/error.h>

#include "base/rand.h"
#include "policy/route_match.h"

#define S(text) mesh_slice_of(text)
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

/* A route configuration from domains, each its own virtual host named after it. */
struct table {
	struct route_config config;
	struct virtual_host hosts[64];
	struct domain_entry exact[64], suffix[64], prefix[64];
};

static int by_text(const void *a, const void *b)
{
	return mesh_slice_compare(((const struct domain_entry *)a)->text, ((const struct domain_entry *)b)->text);
}

static int by_length(const void *a, const void *b)
{
	size_t x = ((const struct domain_entry *)a)->text.len, y = ((const struct domain_entry *)b)->text.len;

	return x < y ? 1 : x > y ? -1 : 0;
}

static void table_make(struct table *table, const char *const *domains, size_t count, bool ignore_port)
{
	memset(table, 0, sizeof(*table));
	table->config.exact = table->exact;
	table->config.suffix = table->suffix;
	table->config.prefix = table->prefix;
	table->config.ignore_port = ignore_port;
	for (size_t i = 0; i < count; i++) {
		struct mesh_slice text = S(domains[i]);
		struct domain_entry entry = {.host = &table->hosts[i]};

		table->hosts[i].name = text;
		if (text.len == 1 && text.data[0] == '*') {
			table->config.any = &table->hosts[i];
		} else if (text.data[0] == '*') {
			entry.text = mesh_slice_make(text.data + 1, text.len - 1);
			table->suffix[table->config.suffix_count++] = entry;
		} else if (text.data[text.len - 1] == '*') {
			entry.text = mesh_slice_make(text.data, text.len - 1);
			table->prefix[table->config.prefix_count++] = entry;
		} else {
			entry.text = text;
			table->exact[table->config.exact_count++] = entry;
		}
	}
	qsort(table->exact, table->config.exact_count, sizeof(struct domain_entry), by_text);
	qsort(table->suffix, table->config.suffix_count, sizeof(struct domain_entry), by_length);
	qsort(table->prefix, table->config.prefix_count, sizeof(struct domain_entry), by_length);
}

static void expect_host(const struct table *table, const char *authority, const char *domain)
{
	const struct virtual_host *host = mesh_route_find_host(&table->config, S(authority), &arena);

	if (!host != !domain || (host && !mesh_slice_equal(host->name, S(domain))))
		fail_msg("%s took %.*s, not %s", authority, host ? (int)host->name.len : 4, host ? host->name.data : "none",
			 domain ? domain : "none");
}

static const char *const domains[] = {
	"reviews.default.svc.cluster.local", "reviews.default.svc", "reviews.default", "reviews", "10.96.3.4", "[fd00::1]",
	"with-port.test:8080", "dot.test.", "*.example.com", "*.b.example.com", "*-x.example.com", "api.*", "api.v*", "*.com",
};

static void hosts_ignoring_ports(void **state)
{
	struct table table;

	table_make(&table, domains, COUNT(domains), true);
	expect_host(&table, "reviews", "reviews");
	expect_host(&table, "reviews:9080", "reviews");
	expect_host(&table, "reviews:", "reviews");
	expect_host(&table, "Reviews.DEFAULT:9080", "reviews.default");
	expect_host(&table, "reviews.default.svc.cluster.local:80", "reviews.default.svc.cluster.local");
	expect_host(&table, "reviews.default.svc.cluster.local.", NULL); /* a trailing dot is part of the name */
	expect_host(&table, "dot.test.:80", "dot.test.");
	expect_host(&table, "dot.test", NULL);
	expect_host(&table, "10.96.3.4:80", "10.96.3.4");
	expect_host(&table, "[fd00::1]", "[fd00::1]");
	expect_host(&table, "[FD00::1]:80", "[fd00::1]");
	expect_host(&table, "with-port.test:8080", NULL); /* the port is gone before the lookup */
	expect_host(&table, "a.example.com:1", "*.example.com");
	expect_host(&table, "a.b.example.com", "*.b.example.com");
	expect_host(&table, "q-x.example.com", "*-x.example.com");
	expect_host(&table, ".example.com", "*.com"); /* a star is at least one character */
	expect_host(&table, "example.com", "*.com");
	expect_host(&table, ".com", NULL);
	expect_host(&table, "api.test", "api.*");
	expect_host(&table, "api.v1", "api.v*");
	expect_host(&table, "api.v", "api.*");
	expect_host(&table, "api.com", "*.com"); /* suffixes before prefixes */
	expect_host(&table, "api.", NULL);
	expect_host(&table, "", NULL);
	expect_host(&table, "rev", NULL);
	expect_host(&table, "reviewss", NULL);
	expect_host(&table, NULL, NULL);
}

static void hosts_with_ports(void **state)
{
	const char *const any[] = {"a", "a:80", "*"};
	const char *const alone[] = {"*"};
	struct table table;

	table_make(&table, domains, COUNT(domains), false);
	expect_host(&table, "reviews", "reviews");
	expect_host(&table, "reviews:9080", NULL);
	expect_host(&table, "WITH-port.test:8080", "with-port.test:8080");
	expect_host(&table, "[fd00::1]:80", NULL);
	expect_host(&table, "a.example.com:1", NULL);
	table_make(&table, any, COUNT(any), false);
	expect_host(&table, "a:80", "a:80");
	expect_host(&table, "a", "a");
	expect_host(&table, "a:81", "*");
	expect_host(&table, "", "*");
	expect_host(&table, NULL, NULL);
	table_make(&table, alone, COUNT(alone), false);
	expect_host(&table, NULL, "*");
	table_make(&table, alone, 0, false);
	expect_host(&table, "a", NULL);
}

static void long_authority(void **state)
{
	static char text[600];
	const char *const domain[] = {text};
	struct table table;
	struct arena tiny;

	memset(text, 'a', sizeof(text) - 1);
	table_make(&table, domain, 1, true);
	expect_host(&table, text, text);
	char *upper = mesh_arena_zalloc(&arena, sizeof(text));
	memset(upper, 'A', sizeof(text) - 1);
	expect_host(&table, upper, text);
	mesh_arena_init(&tiny, &mesh_mem_default, 1);
	assert_null(mesh_route_find_host(&table.config, S(upper), &tiny));
	mesh_arena_free(&tiny);
}

/* Every name of a large table is found, and no other. */
static void many_hosts(void **state)
{
	enum { many = 1400 };
	struct domain_entry *entries = mesh_arena_array(&arena, many, sizeof(*entries));
	struct virtual_host *hosts = mesh_arena_array(&arena, many, sizeof(*hosts));
	struct route_config config = {.exact = entries, .exact_count = many, .ignore_port = true};

	for (unsigned i = 0; i < many; i++)
		entries[i] = (struct domain_entry){
			.text = mesh_arena_printf(&arena, "svc-%u.ns%u", i, i % 7), .host = &hosts[i]};
	qsort(entries, many, sizeof(*entries), by_text);
	for (unsigned i = 0; i < many; i++) {
		struct mesh_slice with_port = mesh_arena_printf(&arena, "%.*s:80", (int)entries[i].text.len, entries[i].text.data);
		struct mesh_slice other = mesh_arena_printf(&arena, "%.*sx", (int)entries[i].text.len, entries[i].text.data);

		assert_ptr_equal(mesh_route_find_host(&config, entries[i].text, &arena), entries[i].host);
		assert_ptr_equal(mesh_route_find_host(&config, with_port, &arena), entries[i].host);
		assert_null(mesh_route_find_host(&config, other, &arena));
	}
}

static void paths(void **state)
{
	static const struct {
		enum path_match_kind kind;
		bool fold;
		const char *pattern, *path;
		bool hit;
	} rows[] = {
		{PATH_MATCH_PREFIX, false, "/", "/", true},
		{PATH_MATCH_PREFIX, false, "/", "/a?b", true},
		{PATH_MATCH_PREFIX, false, "/a", "/abc", true},
		{PATH_MATCH_PREFIX, false, "/a", "/A", false},
		{PATH_MATCH_PREFIX, true, "/a", "/Abc", true},
		{PATH_MATCH_PREFIX, false, "/a?", "/a?b", false}, /* the query is not looked at */
		{PATH_MATCH_PREFIX, false, "/ab", "/a#b", false},
		{PATH_MATCH_PREFIX, false, "/", "", false},
		{PATH_MATCH_PREFIX, false, "", "/x", true},
		{PATH_MATCH_PREFIX, false, "", "", false}, /* no path, no route */
		{PATH_MATCH_EXACT, false, "/a", "/a", true},
		{PATH_MATCH_EXACT, false, "/a", "/a?x=1", true},
		{PATH_MATCH_EXACT, false, "/a", "/a#x", true},
		{PATH_MATCH_EXACT, false, "/a", "/a/", false},
		{PATH_MATCH_EXACT, false, "/a", "/A", false},
		{PATH_MATCH_EXACT, true, "/a", "/A?x", true},
		{PATH_MATCH_SEPARATED_PREFIX, false, "/a", "/a", true},
		{PATH_MATCH_SEPARATED_PREFIX, false, "/a", "/a/b", true},
		{PATH_MATCH_SEPARATED_PREFIX, false, "/a", "/a?b", true},
		{PATH_MATCH_SEPARATED_PREFIX, false, "/a", "/ab", false},
		{PATH_MATCH_SEPARATED_PREFIX, false, "/a", "/a;b", false},
		{PATH_MATCH_SEPARATED_PREFIX, true, "/a", "/A/b", true},
		{PATH_MATCH_SEPARATED_PREFIX, false, "/a/b", "/a", false},
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct route_match match = {.kind = rows[i].kind, .ignore_case = rows[i].fold, .path = S(rows[i].pattern)};
		struct route_request request = {.path = S(rows[i].path)};

		if (mesh_route_matches(&match, &request, &arena) != rows[i].hit)
			fail_msg("row %zu: %s on %s", i, rows[i].pattern, rows[i].path);
	}
}

static void path_regex(void **state)
{
	struct route_match match = {.kind = PATH_MATCH_REGEX};
	struct route_request request = {.path = S("/a/12?x=/b")};
	struct why why = {""};

	assert_false(mesh_route_matches(&match, &request, &arena));
	assert_int_equal(mesh_regex_new(S("/a/[0-9]+"), &match.regex, &why), 0);
	assert_true(mesh_route_matches(&match, &request, &arena));
	request.path = S("/a/12/b");
	assert_false(mesh_route_matches(&match, &request, &arena));
	mesh_regex_free(match.regex);
}

static void conditions(void **state)
{
	struct header_match headers[2] = {
		{.name = S("x-a"), .kind = HEADER_MATCH_PRESENT},
		{.name = S(":method"), .kind = HEADER_MATCH_STRING, .string = {.kind = STRING_MATCH_EXACT, .text = S("GET")}},
	};
	struct query_match query = {.name = S("q"), .present_only = true};
	struct route_match match = {.path = S("/"), .headers = headers, .header_count = 2, .queries = &query, .query_count = 1};
	struct headers fields = {0};
	struct route_request request = {.method = S("GET"), .path = S("/?q"), .headers = &fields};

	assert_false(mesh_route_matches(&match, &request, &arena));
	mesh_headers_add(&fields, &arena, S("x-a"), S(""));
	assert_true(mesh_route_matches(&match, &request, &arena));
	request.method = S("POST");
	assert_false(mesh_route_matches(&match, &request, &arena));
	request.method = S("GET");
	request.path = S("/?p");
	assert_false(mesh_route_matches(&match, &request, &arena));
	request.path = S("/?q");
	match.runtime_fraction = (struct fraction){30, 100};
	request.random = 1029;
	assert_true(mesh_route_matches(&match, &request, &arena));
	request.random = 1030;
	assert_false(mesh_route_matches(&match, &request, &arena));
	match.runtime_fraction.denominator = 0;
	assert_true(mesh_route_matches(&match, &request, &arena));
	match.never = true;
	assert_false(mesh_route_matches(&match, &request, &arena));
}

static void grpc_only(void **state)
{
	static const struct {
		const char *type;
		bool hit;
	} rows[] = {{"application/grpc", true}, {"application/grpc+proto", true}, {"application/grpc-web", false},
		    {"application/json", false}, {"", false}};
	struct route_match match = {.path = S("/"), .grpc_only = true};
	struct route_request request = {.path = S("/s/m")};

	assert_false(mesh_route_matches(&match, &request, &arena));
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct headers fields = {0};

		request.headers = &fields;
		mesh_headers_add(&fields, &arena, S("Content-Type"), S(rows[i].type));
		assert_int_equal(mesh_route_matches(&match, &request, &arena), rows[i].hit);
	}
}

static void first_match_wins(void **state)
{
	struct route routes[3] = {
		{.name = S("never"), .match = {.path = S("/"), .never = true}},
		{.name = S("exact"), .match = {.kind = PATH_MATCH_EXACT, .path = S("/a")}},
		{.name = S("all"), .match = {.path = S("/")}},
	};
	struct virtual_host host = {.routes = routes, .route_count = 3};
	struct route_request request = {.path = S("/a?x")};

	assert_ptr_equal(mesh_route_find(&host, &request, &arena), &routes[1]);
	request.path = S("/b");
	assert_ptr_equal(mesh_route_find(&host, &request, &arena), &routes[2]);
	host.route_count = 2;
	assert_null(mesh_route_find(&host, &request, &arena));
}

static void clusters(void **state)
{
	struct weighted_cluster parts[4] = {
		{.name = S("a"), .hash = 1, .weight = 0}, {.name = S("b"), .hash = 2, .weight = 75},
		{.name = S("c"), .hash = 3, .weight = 0}, {.name = S("d"), .hash = 4, .weight = 25},
	};
	struct route weighted = {.weighted = parts, .weighted_count = 4, .weighted_total = 100};
	struct route single = {.cluster = S("one"), .cluster_hash = 9};
	struct route by_header = {.cluster_header = S("x-cluster")};
	struct headers fields = {0};
	struct route_request request = {.headers = &fields, .authority = S("auth")};
	const struct weighted_cluster *part;
	unsigned counts[5] = {0};
	uint32_t hash;

	for (uint64_t random = 0; random < 1000; random++) {
		struct mesh_slice name;

		request.random = random;
		name = mesh_route_cluster(&weighted, &request, &hash, &part);
		assert_true(mesh_slice_equal(name, part->name));
		assert_int_equal(hash, part->hash);
		counts[hash]++;
	}
	assert_int_equal(counts[1] + counts[3], 0);
	assert_int_equal(counts[2], 750);
	assert_int_equal(counts[4], 250);
	weighted.weighted_total = 0;
	assert_null(mesh_route_cluster(&weighted, &request, &hash, &part).data);
	assert_true(mesh_slice_equal(mesh_route_cluster(&single, &request, &hash, &part), S("one")));
	assert_int_equal(hash, 9);
	assert_null(part);
	assert_null(mesh_route_cluster(&by_header, &request, &hash, &part).data);
	mesh_headers_add(&fields, &arena, S("X-Cluster"), S("first"));
	mesh_headers_add(&fields, &arena, S("X-Cluster"), S("second"));
	assert_true(mesh_slice_equal(mesh_route_cluster(&by_header, &request, &hash, &part), S("first")));
	assert_int_equal(hash, mesh_slice_hash(S("first")));
	by_header.cluster_header = S(":authority");
	assert_true(mesh_slice_equal(mesh_route_cluster(&by_header, &request, &hash, &part), S("auth")));
	request.headers = NULL;
	by_header.cluster_header = S("x-cluster");
	assert_null(mesh_route_cluster(&by_header, &request, &hash, &part).data);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hosts_ignoring_ports), cmocka_unit_test(hosts_with_ports), cmocka_unit_test(long_authority),
		cmocka_unit_test(many_hosts), cmocka_unit_test(paths), cmocka_unit_test(path_regex),
		cmocka_unit_test(conditions), cmocka_unit_test(grpc_only), cmocka_unit_test(first_match_wins),
		cmocka_unit_test(clusters),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
