/* SPDX-License-Identifier: Apache-2.0 */
/* From the bytes of a response to the cluster of a request: the host, the route and the cluster that Envoy would take.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "policy/rewrite.h"
#include "policy/route_match.h"
#include "support/route_fixture.h"

#define SAMPLES MESH_TEST_SOURCE_DIR "/tests/xds/samples/"
#define REVIEWS "reviews.default.svc.cluster.local"

static const struct route_config *recorded(struct route_fixture *f, const char *file, const char *name)
{
	size_t count;
	struct xds_resource *resources = xds_sample_load(&f->arena, file, &count);

	for (size_t i = 0; i < count; i++) {
		const struct route_config *config = route_fixture_decode(f, resources[i].bytes);

		if (mesh_slice_equal(config->object.item.name, mesh_slice_of(name)))
			return config;
	}
	fail_msg("no %s in %s", name, file);
	return NULL;
}

/* Name of the virtual host, "" when there is none. */
static const char *host_of(struct route_fixture *f, const struct route_config *config, const char *authority)
{
	const struct virtual_host *host = mesh_route_find_host(config, mesh_slice_of(authority), &f->arena);

	return host ? host->name.data : ""; /* the decoder ends texts with a NUL */
}

static void recorded_hosts(void **state)
{
	static const struct {
		const char *file, *config, *authority, *host;
	} rows[] = {
		{"secure.rds.json", "9080", "reviews", REVIEWS ":9080"},
		{"secure.rds.json", "9080", "reviews:9080", REVIEWS ":9080"},
		{"secure.rds.json", "9080", "reviews:1", REVIEWS ":9080"}, /* ports are ignored */
		{"secure.rds.json", "9080", "REVIEWS.default", REVIEWS ":9080"},
		{"secure.rds.json", "9080", REVIEWS ".", REVIEWS ":9080"},
		{"secure.rds.json", "9080", "10.96.0.11:9080", REVIEWS ":9080"},
		{"secure.rds.json", "9080", "reviews.other", "allow_any"},
		{"secure.rds.json", "9080", "[::1]:9080", "allow_any"},
		{"mixed.client.delta.rds.pb", "80", "api.example.com", "api.example.com:80"},
		{"mixed.client.delta.rds.pb", "80", "a.b.wild.example.com:80", "*.wild.example.com:80"},
		{"mixed.client.delta.rds.pb", "80", "A.Wild.Example.Com.", "*.wild.example.com:80"},
		{"mixed.client.delta.rds.pb", "80", "wild.example.com", "allow_any"},
		{"mixed.client.delta.rds.pb", "80", ".wild.example.com",
		 "allow_any"}, /* the star is a character at least */
		{"mixed.client.delta.rds.pb", "auto.default.svc.cluster.local:9002", "anything",
		 "auto.default.svc.cluster.local:9002"},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct route_fixture *f = *state;
		const char *path = mesh_arena_printf(&f->arena, SAMPLES "%s", rows[i].file).data;

		assert_string_equal(host_of(f, recorded(f, path, rows[i].config), rows[i].authority), rows[i].host);
	}
}

static void domain_order(void **state)
{
	struct route_fixture *f = *state;
	const struct route_config *config = route_fixture_decode(
		f,
		route_fixture_pack(
			f,
			"'virtualHosts': ["
			"{'name': 'any', 'domains': ['*']},"
			"{'name': 'short-prefix', 'domains': ['a.*']}, {'name': 'long-prefix', 'domains': ['a.b.*']},"
			"{'name': 'short-suffix', 'domains': ['*.e']}, {'name': 'long-suffix', 'domains': ['*.d.e']},"
			"{'name': 'dash', 'domains': ['*-x.e', '*.ee.e']}, {'name': 'middle', 'domains': ['m*m']},"
			"{'name': 'exact', 'domains': ['z.e', 'A.B.D.E', 'p:80']}]"));

	assert_int_equal(config->exact_count, 4);
	assert_int_equal(config->suffix_count, 4);
	assert_int_equal(config->prefix_count, 2);
	assert_slice(config->prefix[0].text, "a.b.");
	assert_string_equal(host_of(f, config, "a.b.d.e"), "exact");
	assert_string_equal(host_of(f, config, "a.c.d.e"), "long-suffix"); /* suffixes before prefixes */
	assert_string_equal(host_of(f, config, "c.e"), "short-suffix");
	assert_string_equal(host_of(f, config, "c-x.e"), "dash");
	assert_string_equal(host_of(f, config, "c.ee.e"), "dash"); /* by length, not by letters */
	assert_string_equal(host_of(f, config, "a.b.c"), "long-prefix");
	assert_string_equal(host_of(f, config, "a.c"), "short-prefix");
	assert_string_equal(host_of(f, config, "m*m"), "middle"); /* a star within is no star */
	assert_string_equal(host_of(f, config, "mam"), "any");
	assert_string_equal(host_of(f, config, "p:80"), "exact"); /* ports count unless they are told not to */
	assert_string_equal(host_of(f, config, "z.e:80"), "any");
	config = route_fixture_decode(f, route_fixture_pack(f, "'virtualHosts': [{'name': 'a', 'domains': ['a']},"
							       " {'name': 'a', 'domains': ['b']}]"));
	assert_string_equal(host_of(f, config, "b"), "a"); /* two of a name are none of Envoy's business */
	assert_string_equal(host_of(f, config, "c"), "");
}

struct asked {
	const char *path;
	const char *headers; /* "name: value\n" */
	uint64_t random;
	size_t route;
	const char *cluster; /* NULL: the route has none */
};

static void ask(struct route_fixture *f, const struct virtual_host *host, const struct asked *row)
{
	struct headers headers = {0};
	struct route_request request = {.method = MESH_SLICE("GET"),
					.scheme = MESH_SLICE("http"),
					.headers = &headers,
					.authority = MESH_SLICE("reviews:9080"),
					.path = mesh_slice_of(row->path),
					.random = row->random};
	struct mesh_slice rest = mesh_slice_of(row->headers), cluster;
	const struct weighted_cluster *weighted;
	const struct route *route;
	uint32_t hash;

	while (rest.len) {
		struct mesh_slice value = mesh_slice_cut(&rest, '\n'), name = mesh_slice_cut(&value, ':');

		assert_int_equal(mesh_headers_add(&headers, &f->arena, name, mesh_slice_trim(value)), 0);
	}
	route = mesh_route_find(host, &request, &f->arena);
	if (!route || route != &host->routes[row->route])
		fail_msg("%s: not route %zu", row->path, row->route);
	if (!row->cluster) {
		assert_int_not_equal(route->kind, ROUTE_CLUSTER);
		return;
	}
	assert_int_equal(route->kind, ROUTE_CLUSTER);
	cluster = mesh_route_cluster(route, &request, &hash, &weighted);
	assert_slice(cluster, row->cluster);
	assert_int_equal(hash, mesh_slice_hash(cluster));
}

static void recorded_routes(void **state)
{
	static const char all[] = "x-exact: 1\nx-prefix: abc\nx-present: \nx-regex: aab\n";
	static const struct asked rows[] = {
		{"/exact", "", 0, 0, "outbound|9080|v1|" REVIEWS},
		{"/exact?x", "", 0, 0, "outbound|9080|v1|" REVIEWS},
		{"/exact/", "", 0, 8, "outbound|9080|v1|" REVIEWS},
		{"/prefix/x?prefix=pq&regex=12&exact=1", all, 0, 1, "outbound|9080|v2|" REVIEWS},
		{"/prefix/x?prefix=q&regex=12&exact=1", all, 0, 8, "outbound|9080|v1|" REVIEWS},
		{"/prefix/x?prefix=p&regex=x&exact=1", all, 0, 8, "outbound|9080|v1|" REVIEWS},
		{"/prefix/x?prefix=p&regex=1&exact=1", "x-exact: 1\nx-prefix: abc\nx-regex: aab\n", 0, 8,
		 "outbound|9080|v1|" REVIEWS},
		{"/prefix/x?prefix=p&regex=1&exact=1",
		 "x-exact: 1\nx-prefix: abc\nx-present: \nx-regex: aab\nx-not: no\n", 0, 8,
		 "outbound|9080|v1|" REVIEWS},
		{"/prefix/x?prefix=p&regex=1&exact=1",
		 "x-exact: 1\nx-prefix: abc\nx-present: \nx-regex: aab\nx-absent: \n", 0, 8,
		 "outbound|9080|v1|" REVIEWS},
		{"/caselESS/x", "", 0, 2, "outbound|9080|v2|" REVIEWS},
		{"/v2/x", "", 0, 3, "outbound|9080|v3|" REVIEWS},
		{"/v2", "", 0, 8, "outbound|9080|v1|" REVIEWS},
		{"/old/x", "", 0, 4, NULL},
		{"/teapot", "", 0, 5, NULL},
		{"/anything", "x-fault: 1\n", 0, 6, "outbound|9080|v1|" REVIEWS},
		{"/mirror", "", 0, 7, "outbound|9080|v2|" REVIEWS},
		{"/", "", 19, 8, "outbound|9080|v1|" REVIEWS}, /* 20, 30 and 50 of 100 */
		{"/", "", 20, 8, "outbound|9080|v2|" REVIEWS},
		{"/", "", 49, 8, "outbound|9080|v2|" REVIEWS},
		{"/", "", 50, 8, "outbound|9080|v3|" REVIEWS},
		{"/", "", 99, 8, "outbound|9080|v3|" REVIEWS},
		{"/", "", 100, 8, "outbound|9080|v1|" REVIEWS},
	};
	const struct route_config *config = recorded(*state, SAMPLES "strict.client.sotw.rds.pb", "9080");
	struct route_fixture *f = *state;
	const struct virtual_host *host = mesh_route_find_host(config, MESH_SLICE("reviews:9080"), &f->arena);

	assert_non_null(host);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		ask(f, host, &rows[i]);
}

static void secure_routes(void **state)
{
	static const struct asked rows[] = {
		{"/reviews/1", "end-user: jason\n", 99, 0, "outbound|9080|v2|" REVIEWS},
		{"/reviews/1", "end-user: json\n", 99, 1, "outbound|9080|v3|" REVIEWS},
		{"/reviews/1", "", 0, 1, "outbound|9080|v1|" REVIEWS},
		{"/reviews/1", "end-user: jason\nend-user: json\n", 99, 0, "outbound|9080|v2|" REVIEWS},
	};
	const struct route_config *config = recorded(*state, SAMPLES "secure.rds.json", "9080");

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		ask(*state, &config->hosts[0], &rows[i]);
}

static void clusters_by_header(void **state)
{
	static const struct asked rows[] = {
		{"/", "X-To: outbound|80||a\n", 0, 0, "outbound|80||a"},
		{"/m", "x-to: b\n", 0, 0, "b"},
	};
	const struct virtual_host *host =
		route_fixture_host(*state, "'routes': [{'match': {'prefix': '/', 'headers': [{'name': 'x-to'}]}, "
					   "'route': {'clusterHeader': 'X-To'}}]");
	struct route_request request = {.path = MESH_SLICE("/")};
	const struct weighted_cluster *weighted;
	uint32_t hash;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		ask(*state, host, &rows[i]);
	assert_null(mesh_route_cluster(host->routes, &request, &hash, &weighted).data);
}

/* What is decoded for the way out changes the request as it should. */
static void recorded_rewrites(void **state)
{
	struct route_fixture *f = *state;
	const struct route_config *config = recorded(f, SAMPLES "strict.client.sotw.rds.json", "9080");
	const struct virtual_host *host = &config->hosts[0];
	struct rewrite rewrite = {.config = config, .host = host, .route = &host->routes[1]};
	struct mesh_slice authority = MESH_SLICE("reviews"), path = MESH_SLICE("/prefix/x?y");
	struct headers headers = {0};

	assert_int_equal(mesh_headers_add(&headers, &f->arena, MESH_SLICE("X-Gone"), MESH_SLICE("1")), 0);
	assert_int_equal(mesh_headers_add(&headers, &f->arena, MESH_SLICE("x-set"), MESH_SLICE("old")), 0);
	assert_int_equal(mesh_headers_add(&headers, &f->arena, MESH_SLICE("x-add"), MESH_SLICE("old")), 0);
	assert_int_equal(mesh_rewrite_request(&rewrite, &f->arena, &authority, &path, &headers), 0);
	assert_slice(path, "/rewritten/x?y");
	assert_slice(authority, "reviews");
	assert_null(mesh_headers_get(&headers, MESH_SLICE("x-gone")).data);
	assert_slice(mesh_headers_get(&headers, MESH_SLICE("x-set")), "1");
	assert_slice(mesh_headers_get(&headers, MESH_SLICE("x-add")), "old");
	rewrite.route = &host->routes[3];
	path = MESH_SLICE("/v2/x");
	assert_int_equal(mesh_rewrite_request(&rewrite, &f->arena, &authority, &path, &headers), 0);
	assert_slice(path, "/x?v=2");
	assert_slice(authority, "other.example");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(recorded_hosts, route_fixture_setup, route_fixture_teardown),
		cmocka_unit_test_setup_teardown(domain_order, route_fixture_setup, route_fixture_teardown),
		cmocka_unit_test_setup_teardown(recorded_routes, route_fixture_setup, route_fixture_teardown),
		cmocka_unit_test_setup_teardown(secure_routes, route_fixture_setup, route_fixture_teardown),
		cmocka_unit_test_setup_teardown(clusters_by_header, route_fixture_setup, route_fixture_teardown),
		cmocka_unit_test_setup_teardown(recorded_rewrites, route_fixture_setup, route_fixture_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
