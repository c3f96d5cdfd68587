/* SPDX-License-Identifier: Apache-2.0 */
/* Clusters that are wrong are refused with the path and the value; what is not understood makes one that no call can
 * use. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <mesh/error.h>

#include "support/cluster_fixture.h"

#define SAMPLES	      MESH_TEST_SOURCE_DIR "/tests/xds/samples/"
#define STRICT	      SAMPLES "strict.client.sotw.cds.json"
#define OPTIONS	      "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
#define HTTP(members) "'typedExtensionProtocolOptions': {'" OPTIONS "': {'@type': '" OPTIONS "', " members "}}"
#define ASSIGNMENT(address)                                                                                            \
	"'loadAssignment': {'clusterName': 'c', 'endpoints': [{'lbEndpoints': [{'endpoint': {'address': "              \
	"{'socketAddress': "                                                                                           \
	"{'address': '" address "', 'portValue': 80}}}}]}]}"

static struct decode_fixture fixture;

static int setup(void **state)
{
	decode_fixture_begin(&fixture);
	*state = &fixture;
	return 0;
}

static int teardown(void **state)
{
	decode_fixture_end(*state);
	return 0;
}

/* ---- what is not understood ---- */

static void unknown_closes(void **state)
{
	static const struct {
		const char *rest, *note;
	} cases[] = {
		{"'filters': [{'name': 'f', 'typedConfig': {'@type': 'envoy.config.cluster.v3.Cluster'}}]",
		 "filters[0]: \"f\" (envoy.config.cluster.v3.Cluster): unknown filter"},
		{"'filters': [{'name': 'f', 'configDiscovery': {}}]", "filters[0]: \"f\" (): unknown filter"},
		{HTTP("'explicitHttpConfig': {'http3ProtocolOptions': {}}"),
		 "http3_protocol_options: HTTP/3 is not supported"},
		{HTTP("'autoConfig': {}, 'httpFilters': [{'name': 'f', 'typedConfig': {'@type': "
		      "'envoy.config.cluster.v3.Cluster'}}]"),
		 "http_filters[0].typed_config: unknown upstream HTTP filter"},
		{HTTP("'autoConfig': {}, 'httpFilters': [{'name': 'f', 'configDiscovery': {'configSource': {'ads': "
		      "{}}}}]"),
		 "http_filters[0].typed_config: unknown upstream HTTP filter"},
		{HTTP("'autoConfig': {}, 'httpFilters': [{'name': 'f', 'configDiscovery': {}}]"),
		 "http_filters[0].typed_config: unknown upstream HTTP filter"},
	};
	struct decode_fixture *f = *state;
	struct cluster_config *c;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		c = cluster_fixture_eds(f, cases[i].rest);
		assert_int_equal(c->kind, CLUSTER_UNSUPPORTED);
		if (!strstr(decode_fixture_notes(f), cases[i].note))
			fail_msg("case %zu notes: %s", i, decode_fixture_notes(f));
		mesh_config_object_release(c);
	}
	c = cluster_fixture_json(f, "'name': 'c', 'clusterType': {'name': 'envoy.clusters.redis'}");
	assert_non_null(c);
	assert_int_equal(c->kind, CLUSTER_UNSUPPORTED);
	assert_non_null(
		strstr(decode_fixture_notes(f), "cluster_type: \"envoy.clusters.redis\": unknown cluster type"));
	mesh_config_object_release(c);
}

/* Fields that newer servers have may choose a transport socket, so none is passed over. */
static void unknown_field(void **state)
{
	static const char field[] = "\xfa\x7f\x01x"; /* 2047, one byte */
	struct decode_fixture *f = *state;
	struct mesh_slice known = cluster_fixture_bytes(f, STRICT, "BlackHoleCluster");
	char *more = mesh_arena_alloc(&f->arena, known.len + sizeof(field) - 1);
	struct cluster_config *c;

	assert_non_null(more);
	memcpy(more, known.data, known.len);
	memcpy(more + known.len, field, sizeof(field) - 1);
	c = mesh_decode_cluster(&f->d, mesh_slice_make(more, known.len + sizeof(field) - 1));
	assert_non_null(c);
	assert_int_equal(c->kind, CLUSTER_UNSUPPORTED);
	assert_non_null(strstr(decode_fixture_notes(f), "unknown field: not supported"));
	mesh_config_object_release(c);
}

static void passed_over_with_a_warning(void **state)
{
	static const struct {
		const char *rest, *warning;
	} cases[] = {
		{"'outlierDetection': {'detectDegradedHosts': true}", "detect_degraded_hosts"},
		{"'typedExtensionProtocolOptions': {'other': {'@type': '" OPTIONS "'}}",
		 "typed_extension_protocol_options \"other\""},
		{HTTP("'autoConfig': {}, 'httpFilters': [{'name': 'mine', 'isOptional': true}]"),
		 "upstream HTTP filter \"mine\""},
	};
	struct decode_fixture *f = *state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct cluster_config *c = cluster_fixture_eds(f, cases[i].rest);
		const char *warnings = decode_fixture_warnings(f);

		assert_int_equal(c->kind, CLUSTER_EDS);
		if (!strstr(warnings, cases[i].warning))
			fail_msg("case %zu warns: %s", i, warnings);
		mesh_config_object_release(c);
	}
}

/* ---- bad input ---- */

static void refused(void **state)
{
	static const struct {
		const char *rest, *path, *what;
	} cases[] = {
		{"'connectTimeout': '-1.5s'", "connect_timeout", "-1.5s: must not be negative"},
		{"'connectTimeout': '0s'", "connect_timeout", "0s: must be greater"},
		{"'commonLbConfig': {'healthyPanicThreshold': {'value': 100.5}}",
		 "common_lb_config.healthy_panic_threshold", "0..100"},
		{"'commonLbConfig': {'healthyPanicThreshold': {'value': 'NaN'}}",
		 "common_lb_config.healthy_panic_threshold", "0..100"},
		{"'outlierDetection': {'maxEjectionPercent': 101}", "outlier_detection.max_ejection_percent", "101"},
		{"'outlierDetection': {'enforcingConsecutive5xx': 200}", "outlier_detection.enforcing_consecutive_5xx",
		 "200"},
		{"'outlierDetection': {'interval': '-3s'}", "outlier_detection.interval", "-3s"},
		{"'outlierDetection': {'baseEjectionTime': '0s'}", "outlier_detection.base_ejection_time", "0s"},
		{"'lbPolicy': 'LEAST_REQUEST', 'leastRequestLbConfig': {'choiceCount': 0}",
		 "least_request_lb_config.choice_count", "0: must"},
		{"'lbPolicy': 'LEAST_REQUEST', 'leastRequestLbConfig': {'activeRequestBias': {'defaultValue': -1, "
		 "'runtimeKey': 'k'}}",
		 "least_request_lb_config.active_request_bias", "negative"},
		{"'lbPolicy': 99", "lb_policy", "99: unknown"},
		{"'lbPolicy': 'CLUSTER_PROVIDED'", "lb_policy", "CLUSTER_PROVIDED"},
		{"'lbPolicy': 'RING_HASH', 'ringHashLbConfig': {'minimumRingSize': 8388609}", "ring_hash_lb_config",
		 "8388609"},
		{"'lbPolicy': 'MAGLEV', 'maglevLbConfig': {'tableSize': 5000012}", "maglev_lb_config.table_size",
		 "5000012"},
		{"'loadBalancingPolicy': {'policies': [{'typedExtensionConfig': {'name': 'mine', 'typedConfig': "
		 "{'@type': 'envoy.config.cluster.v3.Cluster'}}}]}",
		 "load_balancing_policy.policies", "\"mine\""},
		{"'loadBalancingPolicy': {}", "load_balancing_policy.policies", "no known"},
		{"'circuitBreakers': {'thresholds': [{'retryBudget': {'budgetPercent': {'value': -1}}}]}",
		 "circuit_breakers.thresholds[0].retry_budget.budget_percent", "0..100"},
		{HTTP("'explicitHttpConfig': {}"), "explicit_http_config", "required"},
		{"'typedExtensionProtocolOptions': {'" OPTIONS "': {'@type': '" OPTIONS "'}}",
		 "upstream_protocol_options", "required"},
		{HTTP("'autoConfig': {}, 'commonHttpProtocolOptions': {'idleTimeout': '-2s'}"),
		 "common_http_protocol_options.idle_timeout", "-2s"},
		{HTTP("'autoConfig': {}, 'commonHttpProtocolOptions': {'maxHeadersCount': 0}"),
		 "common_http_protocol_options.max_headers_count", "0: must"},
		{"'filters': [{'name': ''}]", "filters[0].name", "empty"},
		{"'transportSocketMatches': [{'name': ''}]", "transport_socket_matches[0].name", "empty"},
		{"'transportSocketMatches': [{'name': 'n', 'match': {'k': [1]}}]",
		 "transport_socket_matches[0].match.fields[\"k\"]", "must be a text"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		cluster_fixture_refused(*state, cases[i].rest, cases[i].path, cases[i].what);
}

static void refused_whole(void **state)
{
	static const struct {
		const char *rest, *path, *what;
	} cases[] = {
		{"'name': ''", "name", "empty"},
		{"'name': 'c', 'type': 77", "type", "77: unknown"},
		{"'name': 'c', 'type': 'EDS'", "eds_cluster_config.eds_config", "required"},
		{"'name': 'c', 'type': 'STATIC', 'edsClusterConfig': {}", "eds_cluster_config", "must not be set"},
		{"'name': 'c', 'type': 'STATIC', " ASSIGNMENT("host.example"), "socket_address.address",
		 "\"host.example\""},
		{"'name': 'c', 'type': 'LOGICAL_DNS'", "load_assignment", "one endpoint"},
		{"'name': 'c', 'type': 'ORIGINAL_DST'", "lb_policy", "must be CLUSTER_PROVIDED"},
		{"'name': 'c', 'clusterType': {'name': ''}", "cluster_type.name", "empty"},
	};
	struct decode_fixture *f = *state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_null(cluster_fixture_json(f, cases[i].rest));
		assert_int_equal(f->d.rc, MESH_ERROR_INVALID);
		if (!strstr(f->d.why.text, cases[i].path) || !strstr(f->d.why.text, cases[i].what))
			fail_msg("case %zu says: %s", i, f->d.why.text);
	}
}

/* metadata.filter_metadata["k"] with a list in a list, and so on. */
static void nesting(void **state)
{
	enum { ROOM = 16384, DEEP = 1000 };
	struct decode_fixture *f = *state;
	static unsigned char bytes[ROOM];
	size_t at = ROOM;

	for (size_t i = 0; i < DEEP; i++) {
		at = cluster_fixture_wrap(bytes, at, ROOM, 1 << 3 | 2); /* ListValue.values */
		at = cluster_fixture_wrap(bytes, at, ROOM, 6 << 3 | 2); /* Value.list_value */
	}
	at = cluster_fixture_wrap(bytes, at, ROOM, 2 << 3 | 2);	 /* value of an entry of Struct.fields */
	at = cluster_fixture_wrap(bytes, at, ROOM, 1 << 3 | 2);	 /* Struct.fields */
	at = cluster_fixture_wrap(bytes, at, ROOM, 2 << 3 | 2);	 /* value of an entry of Metadata.filter_metadata */
	at = cluster_fixture_wrap(bytes, at, ROOM, 1 << 3 | 2);	 /* Metadata.filter_metadata */
	at = cluster_fixture_wrap(bytes, at, ROOM, 25 << 3 | 2); /* Cluster.metadata */
	bytes[--at] = 'c';
	bytes[--at] = 1;
	bytes[--at] = 1 << 3 | 2; /* Cluster.name */
	assert_null(mesh_decode_cluster(&f->d, mesh_slice_make(bytes + at, ROOM - at)));
	assert_int_equal(f->d.rc, MESH_ERROR_INVALID);
	if (!strstr(f->d.why.text, "nest") || !strstr(f->d.why.text, "list_value"))
		fail_msg("%s", f->d.why.text);
}

/* Where the field that begins at `at` ends. */
static size_t field_end(struct mesh_slice bytes, size_t at)
{
	unsigned wire = (unsigned char)bytes.data[at] & 7;
	size_t value = 0;
	unsigned shift = 0;

	while ((unsigned char)bytes.data[at++] & 0x80)
		;
	do {
		value |= (size_t)((unsigned char)bytes.data[at] & 0x7f) << shift;
		shift += 7;
	} while ((unsigned char)bytes.data[at++] & 0x80);
	assert_true(wire == 0 || wire == 2);
	return wire == 2 ? at + value : at;
}

static void truncated_anywhere(void **state)
{
	struct decode_fixture *f = *state;
	struct mesh_slice whole = cluster_fixture_bytes(f, STRICT, "outbound|9080||reviews.default.svc.cluster.local");
	size_t boundary = 0, fields = 0;

	for (size_t cut = 0; cut < whole.len; cut++) {
		char *piece = malloc(cut + 1); /* its own block: reading past the end shows */
		struct cluster_config *c;

		assert_non_null(piece);
		memcpy(piece, whole.data, cut);
		c = mesh_decode_cluster(&f->d, mesh_slice_make(piece, cut));
		if (!c) {
			assert_int_equal(f->d.rc, MESH_ERROR_INVALID);
			assert_true(f->d.why.text[0] != '\0');
		}
		if (cut != boundary)
			assert_null(c);
		if (cut == boundary && ++fields)
			boundary = field_end(whole, cut);
		mesh_config_object_release(c);
		free(piece);
	}
	assert_int_equal(boundary, whole.len);
	assert_true(fields > 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(unknown_closes, setup, teardown),
		cmocka_unit_test_setup_teardown(unknown_field, setup, teardown),
		cmocka_unit_test_setup_teardown(passed_over_with_a_warning, setup, teardown),
		cmocka_unit_test_setup_teardown(refused, setup, teardown),
		cmocka_unit_test_setup_teardown(refused_whole, setup, teardown),
		cmocka_unit_test_setup_teardown(nesting, setup, teardown),
		cmocka_unit_test_setup_teardown(truncated_anywhere, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
