/* SPDX-License-Identifier: Apache-2.0 */
/* Clusters as istiod sends them, and others, come out with the values that were meant. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/cluster_fixture.h"

#define SAMPLES	      MESH_TEST_SOURCE_DIR "/tests/xds/samples/"
#define STRICT	      SAMPLES "strict.client.sotw.cds.json"
#define SECOND	      1000000000ll
#define OPTIONS	      "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
#define HTTP(members) "'typedExtensionProtocolOptions': {'" OPTIONS "': {'@type': '" OPTIONS "', " members "}}"
#define POLICY(name, type, members)                                                                                    \
	"{'typedExtensionConfig': {'name': '" name                                                                     \
	"', 'typedConfig': {'@type': 'envoy.extensions.load_balancing_policies." type "'" members "}}}"
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

/* ---- recorded ---- */

static void recorded_eds(void **state)
{
	struct decode_fixture *f = *state;
	struct cluster_config *c =
		cluster_fixture_recorded(f, STRICT, "outbound|9080||reviews.default.svc.cluster.local");

	assert_string_equal(decode_fixture_notes(f), "");
	assert_true(c->metadata_exchange);
	assert_true(mesh_slice_equal(c->metadata_exchange_protocol, MESH_SLICE("istio-peer-exchange")));
	assert_int_equal(c->kind, CLUSTER_EDS);
	assert_int_equal(c->hash, mesh_slice_hash(c->object.item.name));
	assert_text(c->eds_name, "outbound|9080||reviews.default.svc.cluster.local");
	assert_null(c->inline_endpoints);
	assert_int_equal(c->connect_timeout_ns, 2 * SECOND);
	assert_int_equal(c->lb, LB_LEAST_REQUEST);
	assert_int_equal(c->least_request_choices, 2);
	assert_true(c->least_request_bias == 1.0);
	assert_int_equal(c->balance.slow_start.window_ns, 30 * SECOND);
	assert_true(c->panic_percent == 40.0);
	assert_true(c->locality_weighted);
	assert_false(c->fail_traffic_on_panic);
	assert_int_equal(c->breaker.connections, 100);
	assert_int_equal(c->breaker.pending, 50);
	assert_int_equal(c->breaker.requests, 200);
	assert_int_equal(c->breaker.retries, 10);
	assert_false(c->breaker.has_budget);
	assert_int_equal(c->protocol, UPSTREAM_HTTP1);
	assert_int_equal(c->idle_timeout_ns, 60 * SECOND);
	assert_int_equal(c->connection_duration_max_ns, 600 * SECOND);
	assert_int_equal(c->requests_per_connection_max, 1000);
	assert_int_equal(c->header_count_max, 0);
	assert_true(c->alpn_override);
	assert_text(c->metadata_istio_services, "reviews.default.svc.cluster.local;reviews;default");
	assert_true(c->tcp_keepalive);
	assert_int_equal(c->tcp_keepalive_probes, 3);
	assert_int_equal(c->tcp_keepalive_time_s, 60);
	assert_int_equal(c->tcp_keepalive_interval_s, 10);
	mesh_config_object_release(c);
}

static void recorded_outlier(void **state)
{
	struct cluster_config *c =
		cluster_fixture_recorded(*state, STRICT, "outbound|9080||reviews.default.svc.cluster.local");
	const struct outlier_config *o = &c->outlier;

	assert_true(o->on);
	assert_int_equal(o->consecutive_5xx, 3);
	assert_int_equal(o->consecutive_gateway, 4);
	assert_int_equal(o->consecutive_local, 5);
	assert_int_equal(o->enforcing_5xx, 100);
	assert_int_equal(o->enforcing_gateway, 100);
	assert_int_equal(o->enforcing_local, 100);
	assert_int_equal(o->enforcing_success_rate, 0);
	assert_int_equal(o->enforcing_failure, 0);
	assert_int_equal(o->interval_ns, 5 * SECOND);
	assert_int_equal(o->base_ejection_ns, 20 * SECOND);
	assert_int_equal(o->max_ejection_ns, 300 * SECOND);
	assert_int_equal(o->max_ejection_jitter_ns, 0);
	assert_int_equal(o->max_ejection_percent, 60);
	assert_true(o->split_local);
	assert_false(o->always_eject_one);
	mesh_config_object_release(c);
}

/* What differs between the recorded clusters, one row each. */
static void recorded_all_kinds(void **state)
{
	static const struct {
		const char *file, *name;
		enum cluster_kind kind;
		enum lb_kind lb;
		enum upstream_protocol protocol;
		int64_t connect_s, idle_ns;
		double panic;
		uint32_t limit;
	} rows[] = {
		{STRICT, "outbound|9090||echo.default.svc.cluster.local", CLUSTER_EDS, LB_RANDOM, UPSTREAM_HTTP2, 10,
		 -1, 0, UINT32_MAX},
		{STRICT, "outbound|7070||echo.default.svc.cluster.local", CLUSTER_EDS, LB_RANDOM, UPSTREAM_DOWNSTREAM,
		 10, -1, 0, UINT32_MAX},
		{STRICT, "outbound|9080|v2|reviews.default.svc.cluster.local", CLUSTER_EDS, LB_ROUND_ROBIN,
		 UPSTREAM_HTTP1, 2, 60 * SECOND, 40, 100},
		{STRICT, "outbound|9080|v3|reviews.default.svc.cluster.local", CLUSTER_EDS, LB_RING_HASH,
		 UPSTREAM_HTTP1, 2, 60 * SECOND, 40, 100},
		{STRICT, "outbound|443||api.example.com", CLUSTER_STRICT_DNS, LB_LEAST_REQUEST, UPSTREAM_HTTP1, 10, -1,
		 0, UINT32_MAX},
		{STRICT, "outbound|8000||headless.default.svc.cluster.local", CLUSTER_ORIGINAL_DST, LB_CLUSTER_PROVIDED,
		 UPSTREAM_HTTP1, 10, -1, 0, UINT32_MAX},
		{STRICT, "BlackHoleCluster", CLUSTER_STATIC, LB_ROUND_ROBIN, UPSTREAM_HTTP1, 10, -1, 50, 1024},
		{STRICT, "PassthroughCluster", CLUSTER_ORIGINAL_DST, LB_CLUSTER_PROVIDED, UPSTREAM_DOWNSTREAM, 10,
		 300 * SECOND, 50, UINT32_MAX},
		{SAMPLES "k8s-sidecar.cds.json", "inbound|9080||", CLUSTER_ORIGINAL_DST, LB_CLUSTER_PROVIDED,
		 UPSTREAM_HTTP1, 10, -1, 50, UINT32_MAX},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct cluster_config *c = cluster_fixture_recorded(*state, rows[i].file, rows[i].name);

		if (c->kind != rows[i].kind || c->lb != rows[i].lb || c->protocol != rows[i].protocol)
			fail_msg("%s: kind %d, lb %d, protocol %d", rows[i].name, c->kind, c->lb, c->protocol);
		assert_int_equal(c->connect_timeout_ns, rows[i].connect_s * SECOND);
		assert_int_equal(c->idle_timeout_ns, rows[i].idle_ns);
		assert_true(c->panic_percent == rows[i].panic);
		assert_int_equal(c->breaker.connections, rows[i].limit);
		mesh_config_object_release(c);
	}
}

static void recorded_dns(void **state)
{
	struct cluster_config *c = cluster_fixture_recorded(*state, STRICT, "outbound|443||api.example.com");
	const struct endpoint_config *endpoint;

	assert_absent(c->eds_name);
	assert_non_null(c->inline_endpoints);
	assert_text(c->inline_endpoints->object.item.name, "outbound|443||api.example.com");
	assert_int_equal(c->inline_endpoints->endpoint_count, 1);
	endpoint = &c->inline_endpoints->localities[0].endpoints[0];
	assert_text(endpoint->text, "api.example.com:443");
	assert_text(endpoint->hostname, "api.example.com");
	assert_int_equal(endpoint->address.len, 0);
	assert_int_equal(endpoint->port, 443);
	assert_text(endpoint->workload, "outside;default;outside;;Kubernetes");
	mesh_config_object_release(c);
}

/* ---- what is absent ---- */

static void defaults(void **state)
{
	struct decode_fixture *f = *state;
	struct cluster_config *c = cluster_fixture_eds(f, "");

	assert_text(c->eds_name, "c");
	assert_int_equal(c->connect_timeout_ns, 5 * SECOND);
	assert_int_equal(c->lb, LB_ROUND_ROBIN);
	assert_int_equal(c->least_request_choices, 2);
	assert_true(c->panic_percent == 50.0);
	assert_int_equal(c->balance.slow_start.window_ns, 0);
	assert_false(c->locality_weighted);
	assert_int_equal(c->breaker.connections, 1024);
	assert_int_equal(c->breaker.pending, 1024);
	assert_int_equal(c->breaker.requests, 1024);
	assert_int_equal(c->breaker.retries, 3);
	assert_false(c->outlier.on);
	assert_int_equal(c->protocol, UPSTREAM_HTTP1);
	assert_int_equal(c->idle_timeout_ns, -1);
	assert_int_equal(c->connection_duration_max_ns, 0);
	assert_int_equal(c->match_count, 0);
	assert_null(c->fallback.tls);
	assert_false(c->fallback.unsupported);
	assert_true(c->alpn_override);
	assert_absent(c->metadata_istio_services);
	assert_false(c->tcp_keepalive);
	mesh_config_object_release(c);
	c = cluster_fixture_eds(f, "'outlierDetection': {}");
	assert_true(c->outlier.on);
	assert_int_equal(c->outlier.consecutive_5xx, 5);
	assert_int_equal(c->outlier.enforcing_5xx, 100);
	assert_int_equal(c->outlier.enforcing_gateway, 0);
	assert_int_equal(c->outlier.enforcing_local, 100);
	assert_int_equal(c->outlier.success_rate_minimum_hosts, 5);
	assert_int_equal(c->outlier.success_rate_request_volume, 100);
	assert_int_equal(c->outlier.success_rate_stdev_factor, 1900);
	assert_int_equal(c->outlier.failure_threshold, 85);
	assert_int_equal(c->outlier.failure_request_volume, 50);
	assert_int_equal(c->outlier.interval_ns, 10 * SECOND);
	assert_int_equal(c->outlier.base_ejection_ns, 30 * SECOND);
	assert_int_equal(c->outlier.max_ejection_percent, 10);
	mesh_config_object_release(c);
}

/* ---- other values ---- */

static void breakers(void **state)
{
	struct decode_fixture *f = *state;
	struct cluster_config *c = cluster_fixture_eds(
		f, "'circuitBreakers': {'thresholds': [{'priority': 'HIGH', 'maxRequests': 1},"
		   " {'maxRequests': 0, 'trackRemaining': true, 'retryBudget': {'budgetPercent': {'value': 12.5}}}]}");

	assert_int_equal(c->breaker.requests, 0);
	assert_int_equal(c->breaker.connections, 1024);
	assert_true(c->breaker.track_remaining);
	assert_true(c->breaker.has_budget);
	assert_true(c->breaker.budget_percent == 12.5);
	assert_int_equal(c->breaker.budget_min, 3);
	mesh_config_object_release(c);
	c = cluster_fixture_eds(f, "'circuitBreakers': {'thresholds': [{'retryBudget': {'minRetryConcurrency': 7}}]}");
	assert_true(c->breaker.budget_percent == 20.0);
	assert_int_equal(c->breaker.budget_min, 7);
	mesh_config_object_release(c);
}

static void protocols(void **state)
{
	static const struct {
		const char *rest;
		enum upstream_protocol protocol;
	} cases[] = {
		{HTTP("'explicitHttpConfig': {'httpProtocolOptions': {}}"), UPSTREAM_HTTP1},
		{HTTP("'explicitHttpConfig': {'http2ProtocolOptions': {}}"), UPSTREAM_HTTP2},
		{HTTP("'useDownstreamProtocolConfig': {}"), UPSTREAM_DOWNSTREAM},
		{HTTP("'autoConfig': {}"), UPSTREAM_AUTO},
		{"'http2ProtocolOptions': {}", UPSTREAM_HTTP2},
		{"'protocolSelection': 'USE_DOWNSTREAM_PROTOCOL'", UPSTREAM_DOWNSTREAM},
	};
	struct decode_fixture *f = *state;
	struct cluster_config *c;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		c = cluster_fixture_eds(f, cases[i].rest);
		assert_int_equal(c->protocol, cases[i].protocol);
		assert_string_equal(decode_fixture_warnings(f), "");
		mesh_config_object_release(c);
	}
	c = cluster_fixture_eds(f, HTTP("'autoConfig': {}, 'commonHttpProtocolOptions': {'idleTimeout': '0s', "
					"'maxRequestsPerConnection': 9, 'maxHeadersCount': 200}"));
	assert_int_equal(c->idle_timeout_ns, 0);
	assert_int_equal(c->requests_per_connection_max, 9);
	assert_int_equal(c->header_count_max, 200);
	mesh_config_object_release(c);
	c = cluster_fixture_eds(f,
				HTTP("'autoConfig': {}, 'commonHttpProtocolOptions': {'maxConnectionDuration': '3s'}"));
	assert_int_equal(c->idle_timeout_ns, -1);
	assert_int_equal(c->connection_duration_max_ns, 3 * SECOND);
	mesh_config_object_release(c);
	c = cluster_fixture_eds(f, "'maxRequestsPerConnection': 4");
	assert_int_equal(c->requests_per_connection_max, 4);
	mesh_config_object_release(c);
}

static void policies(void **state)
{
	struct decode_fixture *f = *state;
	struct cluster_config *c = cluster_fixture_eds(
		f, "'lbPolicy': 'LEAST_REQUEST', 'leastRequestLbConfig': {'choiceCount': 5, 'activeRequestBias': "
		   "{'defaultValue': 0.5, 'runtimeKey': 'k'}}, 'commonLbConfig': {'zoneAwareLbConfig': "
		   "{'failTrafficOnPanic': true}}");

	assert_int_equal(c->least_request_choices, 5);
	assert_true(c->least_request_bias == 0.5);
	assert_true(c->fail_traffic_on_panic);
	mesh_config_object_release(c);
	c = cluster_fixture_eds(f, "'roundRobinLbConfig': {'slowStartConfig': {'slowStartWindow': '4s'}}");
	assert_int_equal(c->balance.slow_start.window_ns, 4 * SECOND);
	mesh_config_object_release(c);
	c = cluster_fixture_eds(f, "'lbPolicy': 'MAGLEV', 'maglevLbConfig': {'tableSize': 65537}");
	assert_int_equal(c->lb, LB_MAGLEV);
	mesh_config_object_release(c);
	c = cluster_fixture_eds(
		f,
		"'lbPolicy': 'MAGLEV', 'loadBalancingPolicy': {'policies': [{'typedExtensionConfig': {'name': 'x', "
		"'typedConfig': "
		"{'@type': 'envoy.config.cluster.v3.Cluster'}}}, " POLICY(
			"l", "least_request.v3.LeastRequest",
			", 'choiceCount': 3, "
			"'slowStartConfig': {'slowStartWindow': '2s'}") ", " POLICY("r", "random.v3.Random", "") "]}");
	assert_int_equal(c->lb, LB_LEAST_REQUEST); /* the first that is known, and before the old field */
	assert_int_equal(c->least_request_choices, 3);
	assert_int_equal(c->balance.slow_start.window_ns, 2 * SECOND);
	mesh_config_object_release(c);
	c = cluster_fixture_eds(f, "'loadBalancingPolicy': {'policies': [" POLICY(
					   "w", "wrr_locality.v3.WrrLocality",
					   ", 'endpointPickingPolicy': {'policies': [" POLICY(
						   "r", "round_robin.v3.RoundRobin", "") "]}") "]}");
	assert_int_equal(c->lb, LB_ROUND_ROBIN);
	assert_true(c->locality_weighted);
	mesh_config_object_release(c);
}

static void hashing(void **state)
{
#define RING(members) "'lbPolicy': 'RING_HASH', 'ringHashLbConfig': {" members "}"
#define TYPED(type, members) "'lbPolicy': 'RING_HASH', 'loadBalancingPolicy': {'policies': [" POLICY("p", type, members) "]}"
	static const struct {
		const char *rest;
		uint64_t low, high, size;
		bool murmur, by_name;
	} cases[] = {
		{"'lbPolicy': 'RING_HASH'", 1024, 8388608, 65537, false, false},
		{RING("'minimumRingSize': 2048"), 2048, 8388608, 65537, false, false},
		{RING("'minimumRingSize': 8388608, 'maximumRingSize': 8388608, 'hashFunction': 'MURMUR_HASH_2'"), 8388608, 8388608,
		 65537, true, false},
		{"'lbPolicy': 'MAGLEV', 'maglevLbConfig': {'tableSize': 5000011}", 1024, 8388608, 5000011, false, false},
		{"'lbPolicy': 'MAGLEV', 'maglevLbConfig': {'tableSize': 2}", 1024, 8388608, 2, false, false},
		{"'lbPolicy': 'MAGLEV', 'commonLbConfig': {'consistentHashingLbConfig': {'useHostnameForHashing': true}}", 1024,
		 8388608, 65537, false, true},
		{"'lbPolicy': 'MAGLEV', 'commonLbConfig': {'consistentHashingLbConfig': {'hashBalanceFactor': 150}}", 1024, 8388608,
		 65537, false, false},
		{TYPED("ring_hash.v3.RingHash", ""), 1024, 8388608, 65537, false, false},
		{TYPED("ring_hash.v3.RingHash", ", 'hashFunction': 'XX_HASH', 'minimumRingSize': 7, 'maximumRingSize': 9"), 7, 9,
		 65537, false, false},
		{TYPED("ring_hash.v3.RingHash", ", 'hashFunction': 'MURMUR_HASH_2', 'useHostnameForHashing': true"), 1024, 8388608,
		 65537, true, true},
		/* the newer message says it all where it is there */
		{TYPED("ring_hash.v3.RingHash", ", 'useHostnameForHashing': true, 'consistentHashingLbConfig': {}"), 1024, 8388608,
		 65537, false, false},
		{TYPED("maglev.v3.Maglev", ", 'tableSize': 7, 'consistentHashingLbConfig': {'useHostnameForHashing': true, "
					   "'hashPolicy': [{'header': {'headerName': 'a'}}]}"),
		 1024, 8388608, 7, false, true},
	};
	struct decode_fixture *f = *state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct cluster_config *c = cluster_fixture_eds(f, cases[i].rest);

		if (c->ring_min != cases[i].low || c->ring_max != cases[i].high || c->maglev_size != cases[i].size ||
		    c->ring_murmur != cases[i].murmur || c->hash_by_hostname != cases[i].by_name)
			fail_msg("case %zu: ring %llu..%llu, table %llu, murmur %d, by name %d", i,
				 (unsigned long long)c->ring_min, (unsigned long long)c->ring_max,
				 (unsigned long long)c->maglev_size, c->ring_murmur, c->hash_by_hostname);
		if (*decode_fixture_warnings(f))
			fail_msg("case %zu warns: %s", i, decode_fixture_warnings(f));
		mesh_config_object_release(c);
	}
	cluster_fixture_refused(f, RING("'minimumRingSize': 0"), "ring_hash_lb_config.minimum_ring_size", "0..8388608");
	cluster_fixture_refused(f, RING("'maximumRingSize': 8388609"), "minimum_ring_size", "1024..8388609");
	cluster_fixture_refused(f, RING("'hashFunction': 2"), "ring_hash_lb_config.hash_function", "2: unknown");
	cluster_fixture_refused(f, TYPED("ring_hash.v3.RingHash", ", 'hashFunction': 3"), "typed_config.hash_function", "3: unknown");
	cluster_fixture_refused(f, "'lbPolicy': 'MAGLEV', 'maglevLbConfig': {'tableSize': 8}", "maglev_lb_config.table_size",
				"8: must be a prime number");
	cluster_fixture_refused(f, TYPED("maglev.v3.Maglev", ", 'consistentHashingLbConfig': {'hashBalanceFactor': 99}"),
				"consistent_hashing_lb_config.hash_balance_factor", "99: must be 100 or more");
#undef RING
#undef TYPED
}

static void typed_policies(void **state)
{
#define ONE(type, members) "'loadBalancingPolicy': {'policies': [" POLICY("p", type, members) "]}"
	static const struct {
		const char *rest;
		enum lb_kind lb;
		bool weighted, fail_on_panic;
	} cases[] = {
		{ONE("ring_hash.v3.RingHash", ", 'maximumRingSize': 4096"), LB_RING_HASH, false, false},
		{ONE("ring_hash.v3.RingHash", ", 'localityWeightedLbConfig': {}"), LB_RING_HASH, true, false},
		{ONE("maglev.v3.Maglev", ", 'tableSize': 65537"), LB_MAGLEV, false, false},
		{ONE("random.v3.Random", ", 'localityLbConfig': {'localityWeightedLbConfig': {}}"), LB_RANDOM, true,
		 false},
		{ONE("round_robin.v3.RoundRobin",
		     ", 'localityLbConfig': {'zoneAwareLbConfig': {'failTrafficOnPanic': true}}"),
		 LB_ROUND_ROBIN, false, true},
		{ONE("client_side_weighted_round_robin.v3.ClientSideWeightedRoundRobin", ""), LB_ROUND_ROBIN, false,
		 false},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct cluster_config *c = cluster_fixture_eds(*state, cases[i].rest);

		if (c->lb != cases[i].lb || c->locality_weighted != cases[i].weighted ||
		    c->fail_traffic_on_panic != cases[i].fail_on_panic)
			fail_msg("case %zu: lb %d, weighted %d, fails on panic %d", i, c->lb, c->locality_weighted,
				 c->fail_traffic_on_panic);
		mesh_config_object_release(c);
	}
	assert_non_null(strstr(decode_fixture_warnings(*state), "plain round robin"));
	cluster_fixture_refused(*state, ONE("ring_hash.v3.RingHash", ", 'minimumRingSize': 9, 'maximumRingSize': 8"),
				"policies[0].typed_extension_config.typed_config.minimum_ring_size", "9..8");
	cluster_fixture_refused(*state, ONE("maglev.v3.Maglev", ", 'tableSize': 1"), "typed_config.table_size",
				"1: must");
#undef ONE
}

static void kinds(void **state)
{
	struct decode_fixture *f = *state;
	struct cluster_config *c = cluster_fixture_json(f, "'name': 'c', 'type': 'STATIC', " ASSIGNMENT("10.0.0.1"));

	assert_non_null(c);
	assert_int_equal(c->kind, CLUSTER_STATIC);
	assert_text(c->inline_endpoints->localities[0].endpoints[0].text, "10.0.0.1:80");
	mesh_config_object_release(c);
	c = cluster_fixture_json(f, "'name': 'c', 'type': 'LOGICAL_DNS', " ASSIGNMENT("a.example"));
	assert_non_null(c);
	assert_int_equal(c->kind, CLUSTER_LOGICAL_DNS);
	assert_text(c->inline_endpoints->localities[0].endpoints[0].hostname, "a.example");
	mesh_config_object_release(c);
	c = cluster_fixture_json(
		f, "'name': 'c', 'edsClusterConfig': {'edsConfig': {'ads': {}}, 'serviceName': 's'}, 'type': 'EDS'");
	assert_non_null(c);
	assert_text(c->eds_name, "s");
	mesh_config_object_release(c);
}

static void metadata(void **state)
{
	struct decode_fixture *f = *state;
	struct cluster_config *c = cluster_fixture_eds(f, "'metadata': {'filterMetadata': {'istio': {'alpn_override': "
							  "'false', 'services': [{'host': 'h', 'namespace': 'n'}]}}}");

	assert_false(c->alpn_override);
	assert_text(c->metadata_istio_services, "h;;n");
	mesh_config_object_release(c);
	c = cluster_fixture_eds(f,
				"'metadata': {'filterMetadata': {'istio': {'alpn_override': 'no', 'services': []}}}");
	assert_true(c->alpn_override); /* only the text "false" turns it off */
	mesh_config_object_release(c);
	c = cluster_fixture_eds(
		f, "'metadata': {'filterMetadata': {'istio': {'alpn_override': true, 'services': ['text']}}}");
	assert_true(c->alpn_override);
	assert_absent(c->metadata_istio_services);
	mesh_config_object_release(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(recorded_eds, setup, teardown),
		cmocka_unit_test_setup_teardown(recorded_outlier, setup, teardown),
		cmocka_unit_test_setup_teardown(recorded_all_kinds, setup, teardown),
		cmocka_unit_test_setup_teardown(recorded_dns, setup, teardown),
		cmocka_unit_test_setup_teardown(defaults, setup, teardown),
		cmocka_unit_test_setup_teardown(breakers, setup, teardown),
		cmocka_unit_test_setup_teardown(protocols, setup, teardown),
		cmocka_unit_test_setup_teardown(policies, setup, teardown),
		cmocka_unit_test_setup_teardown(hashing, setup, teardown),
		cmocka_unit_test_setup_teardown(typed_policies, setup, teardown),
		cmocka_unit_test_setup_teardown(kinds, setup, teardown),
		cmocka_unit_test_setup_teardown(metadata, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
