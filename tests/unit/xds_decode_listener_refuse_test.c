/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Listeners that are wrong are refused in words that name the place and the value: ranges, durations, empty fields, too
 * many of a kind, and filter chains for the same connections.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>
#include <mesh/error.h>

#include "google/protobuf/duration.pb-c.h"
#include "support/decode_fixture.h"

#define TYPED(name, type, fields) "{'name': '" name "', 'typedConfig': {'@type': '" type "'" fields "}}"
#define ROUTER			  TYPED("router", "envoy.extensions.filters.http.router.v3.Router", "")
#define RDS			  "'rds': {'routeConfigName': 'r', 'configSource': {'ads': {}}}"
#define MANAGER(fields)		  TYPED("hcm", "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager", fields)
#define HCM(fields)		  MANAGER(", 'statPrefix': 's', " RDS ", 'httpFilters': [" ROUTER "]" fields)
#define FILTERS(filters)	  MANAGER(", 'statPrefix': 's', " RDS ", 'httpFilters': [" filters "]")
#define TCP(fields)		  TYPED("tcp", "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy", fields)
#define GOOD			  TCP(", 'statPrefix': 's', 'cluster': 'c'")
#define CHAIN(filters)		  "'filterChains': [{'filters': [" filters "]}]"
#define MATCH(fields)		  "'filterChains': [{'filterChainMatch': {" fields "}, 'filters': [" GOOD "]}]"
#define TLS(fields) \
	"'filterChains': [{'filters': [" GOOD "], 'transportSocket': " TYPED( \
		"tls", "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext", ", " fields) "}]"

#define IN_HCM "filter_chains[0].filters[0].typed_config"

static void assert_says(struct decode_fixture *f, const char *path, const char *what, size_t i)
{
	assert_int_equal(f->d.rc, MESH_ERROR_INVALID);
	if (strncmp(f->d.why.text, path, strlen(path)) != 0 || strncmp(f->d.why.text + strlen(path), ": ", 2) != 0 ||
	    !strstr(f->d.why.text + strlen(path), what))
		fail_msg("case %zu says: %s", i, f->d.why.text);
}

static void refused(void **state)
{
	static const struct {
		const char *rest, *path, *what;
	} cases[] = {
		{CHAIN(GOOD) ", 'listenerFilters': [{'typedConfig': {'@type': 'google.protobuf.Empty'}}]", "listener_filters[0].name",
		 "must not be empty"},
		{CHAIN(GOOD) ", 'listenerFiltersTimeout': '-1s'", "listener_filters_timeout", "-1s: must not be negative"},
		{CHAIN(GOOD) ", 'trafficDirection': 9", "traffic_direction", "9: unknown"},
		{CHAIN(TYPED("", "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy", ", 'statPrefix': 's', 'cluster': 'c'")),
		 "filter_chains[0].filters[0].name", "must not be empty"},
		{CHAIN(TCP(", 'cluster': 'c'")), IN_HCM ".stat_prefix", "must not be empty"},
		{CHAIN(TCP(", 'statPrefix': 's'")), IN_HCM ".cluster_specifier", "is required"},
		{CHAIN(TCP(", 'statPrefix': 's', 'cluster': ''")), IN_HCM ".cluster", "must not be empty"},
		{CHAIN(TCP(", 'statPrefix': 's', 'cluster': 'c', 'maxConnectAttempts': 0")), IN_HCM ".max_connect_attempts", "0: must"},
		{CHAIN(TCP(", 'statPrefix': 's', 'cluster': 'c', 'hashPolicy': [{}]")), IN_HCM ".hash_policy[0].policy_specifier",
		 "is required"},
		{CHAIN(TCP(", 'statPrefix': 's', 'cluster': 'c', 'hashPolicy': [{'sourceIp': {}}, {'sourceIp': {}}]")),
		 IN_HCM ".hash_policy", "at most 1"},
		{CHAIN(TCP(", 'statPrefix': 's', 'cluster': 'c', 'idleTimeout': '-1s'")), IN_HCM ".idle_timeout", "-1s: must"},
		{CHAIN(TCP(", 'statPrefix': 's', 'weightedClusters': {}")), IN_HCM ".weighted_clusters.clusters", "the sum of weights"},
		{CHAIN(TCP(", 'statPrefix': 's', 'weightedClusters': {'clusters': [{'name': 'a', 'weight': 0}]}")),
		 IN_HCM ".weighted_clusters.clusters[0].weight", "0: must"},
		{CHAIN(TCP(", 'statPrefix': 's', 'weightedClusters': {'clusters': [{'name': 'a', 'weight': 4294967295},"
			   " {'name': 'b', 'weight': 1}]}")),
		 IN_HCM ".weighted_clusters.clusters", "4294967295"},
		{CHAIN(GOOD "," GOOD), "filter_chains[0].filters[1]", "after a filter that ends the chain"},
		{CHAIN(TYPED("s", "stats.PluginConfig", "")), "filter_chains[0].filters", "the last one must be"},
		{CHAIN(TYPED("r", "envoy.extensions.filters.network.rbac.v3.RBAC", ", 'rules': {}") "," GOOD), IN_HCM ".stat_prefix",
		 "must not be empty"},
		{"'filterChains': [{'filters': [" GOOD "], 'transportSocketConnectTimeout': '-0.5s'}]",
		 "filter_chains[0].transport_socket_connect_timeout", "-0.5s: must not be negative"},
		{"'defaultFilterChain': {'filters': [" TCP(", 'statPrefix': 's'") "]}",
		 "default_filter_chain.filters[0].typed_config.cluster_specifier", "is required"},
		{MATCH("'destinationPort': 65536"), "filter_chains[0].filter_chain_match.destination_port", "65536: must be 0..65535"},
		{MATCH("'destinationPort': 0"), "filter_chains[0].filter_chain_match.destination_port", "0: must be 1..65535"},
		{MATCH("'sourcePorts': [1, 70000]"), "filter_chains[0].filter_chain_match.source_ports", "70000: must be 0..65535"},
		{MATCH("'sourcePorts': [0]"), "filter_chains[0].filter_chain_match.source_ports", "0: must be 1..65535"},
		{MATCH("'sourceType': 3"), "filter_chains[0].filter_chain_match.source_type", "3: unknown"},
		{MATCH("'serverNames': ['a', '']"), "filter_chains[0].filter_chain_match.server_names[1]", "\"\": only a whole"},
		{MATCH("'serverNames': ['*a.b']"), "filter_chains[0].filter_chain_match.server_names[0]", "\"*a.b\": only a whole"},
		{MATCH("'prefixRanges': [{'addressPrefix': '10.0.0', 'prefixLen': 8}]"),
		 "filter_chains[0].filter_chain_match.prefix_ranges[0].address_prefix", "\"10.0.0\": not an IP address"},
		{MATCH("'sourcePrefixRanges': [{'addressPrefix': '::', 'prefixLen': 129}]"),
		 "filter_chains[0].filter_chain_match.source_prefix_ranges[0].prefix_len", "129: longer than the address"},
		{TLS("'commonTlsContext': {'tlsParams': {'tlsMinimumProtocolVersion': 'TLSv1_1'}}"),
		 "filter_chains[0].transport_socket.typed_config.common_tls_context.tls_params.tls_minimum_protocol_version",
		 "older than TLSv1_2"},
		{TLS("'commonTlsContext': {'tlsParams': {'tlsMinimumProtocolVersion': 'TLSv1_3', 'tlsMaximumProtocolVersion': 'TLSv1_2'}}"),
		 "filter_chains[0].transport_socket.typed_config.common_tls_context.tls_params.tls_maximum_protocol_version",
		 "lower than the minimum"},
		{TLS("'commonTlsContext': {'tlsCertificateSdsSecretConfigs': [{}]}"),
		 "filter_chains[0].transport_socket.typed_config.common_tls_context.tls_certificate_sds_secret_configs[0].name",
		 "must not be empty"},
	};
	struct decode_fixture f;

	decode_fixture_begin(&f);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_null(decode_fixture_listener_json(&f, cases[i].rest));
		assert_says(&f, cases[i].path, cases[i].what, i);
	}
	decode_fixture_end(&f);
}

static void refused_http(void **state)
{
	static const struct {
		const char *filter, *path, *what;
	} cases[] = {
		{MANAGER(", 'statPrefix': 's', 'httpFilters': [" ROUTER "]"), IN_HCM ".route_specifier", "is required"},
		{MANAGER(", 'statPrefix': 's', 'rds': {}, 'httpFilters': [" ROUTER "]"), IN_HCM ".rds.route_config_name",
		 "must not be empty"},
		{MANAGER(", 'statPrefix': 's', " RDS), IN_HCM ".http_filters", "the last filter must be the router"},
		{FILTERS(ROUTER "," TYPED("c", "envoy.extensions.filters.http.cors.v3.Cors", "")), IN_HCM ".http_filters[0]",
		 "the router must be the last filter"},
		{FILTERS(TYPED("c", "envoy.extensions.filters.http.cors.v3.Cors", "")), IN_HCM ".http_filters",
		 "the last filter must be the router"},
		{FILTERS(TYPED("", "envoy.extensions.filters.http.router.v3.Router", "")), IN_HCM ".http_filters[0].name",
		 "must not be empty"},
		{FILTERS(TYPED("a", "istio.envoy.config.filter.http.alpn.v2alpha1.FilterConfig",
			       ", 'alpnOverride': [{'alpnOverride': ['h2', '']}]") "," ROUTER),
		 IN_HCM ".http_filters[0].typed_config.alpn_override[0].alpn_override[1]", "\"\": must have 1..255 bytes"},
		{FILTERS(TYPED("a", "istio.envoy.config.filter.http.alpn.v2alpha1.FilterConfig",
			       ", 'alpnOverride': [{'upstreamProtocol': 7}]") "," ROUTER),
		 IN_HCM ".http_filters[0].typed_config.alpn_override[0].upstream_protocol", "7: unknown"},
		{HCM(", 'streamIdleTimeout': '-2s'"), IN_HCM ".stream_idle_timeout", "-2s: must not be negative"},
		{HCM(", 'requestTimeout': '-0.000000001s'"), IN_HCM ".request_timeout", "-1e-09s: must not be negative"},
		{HCM(", 'requestHeadersTimeout': '-1s'"), IN_HCM ".request_headers_timeout", "-1s: must not be negative"},
		{HCM(", 'drainTimeout': '-1s'"), IN_HCM ".drain_timeout", "-1s: must not be negative"},
		{HCM(", 'commonHttpProtocolOptions': {'idleTimeout': '-1s'}"), IN_HCM ".common_http_protocol_options.idle_timeout",
		 "-1s: must not be negative"},
		{HCM(", 'commonHttpProtocolOptions': {'maxHeadersCount': 0}"), IN_HCM ".common_http_protocol_options.max_headers_count",
		 "0: must be greater than 0"},
		{HCM(", 'maxRequestHeadersKb': 8193"), IN_HCM ".max_request_headers_kb", "8193: must be 1..8192"},
		{HCM(", 'maxRequestHeadersKb': 0"), IN_HCM ".max_request_headers_kb", "0: must be 1..8192"},
		{HCM(", 'serverName': 'a\\u0007'"), IN_HCM ".server_name", "not a header value"},
		{HCM(", 'forwardClientCertDetails': 5"), IN_HCM ".forward_client_cert_details", "5: unknown"},
		{HCM(", 'pathWithEscapedSlashesAction': 5"), IN_HCM ".path_with_escaped_slashes_action", "5: unknown"},
		{HCM(", 'tracing': {'randomSampling': {'value': 100.5}}"), IN_HCM ".tracing.random_sampling", "100.5: must be 0..100"},
		{HCM(", 'tracing': {'clientSampling': {'value': -1}}"), IN_HCM ".tracing.client_sampling", "-1: must be 0..100"},
		{HCM(", 'tracing': {'overallSampling': {'value': 'NaN'}}"), IN_HCM ".tracing.overall_sampling", "must be 0..100"},
	};
	struct decode_fixture f;
	char rest[4096];

	decode_fixture_begin(&f);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		snprintf(rest, sizeof(rest), CHAIN("%s"), cases[i].filter);
		assert_null(decode_fixture_listener_json(&f, rest));
		assert_says(&f, cases[i].path, cases[i].what, i);
	}
	decode_fixture_end(&f);
}

static void refused_address(void **state)
{
	static const struct {
		const char *address, *path, *what;
	} cases[] = {
		{"'name': 'l'", "address", "is required"},
		{"'name': '', 'address': {}", "name", "must not be empty"},
		{"'name': 'l', 'address': {'socketAddress': {'portValue': 1}}", "address.socket_address.address", "must not be empty"},
		{"'name': 'l', 'address': {'socketAddress': {'address': 'host', 'portValue': 1}}", "address.socket_address.address",
		 "\"host\": not an IP address"},
		{"'name': 'l', 'address': {'socketAddress': {'address': '::', 'portValue': 65536}}", "address.socket_address.port_value",
		 "65536: must be 0..65535"},
		{"'name': 'l', 'address': {'socketAddress': {'address': '::'}}", "address.socket_address.port_value", "is required"},
		{"'name': 'l', 'address': {'socketAddress': {'address': '::', 'portValue': 1, 'protocol': 'UDP'}}",
		 "address.socket_address.protocol", "1: must be TCP"},
	};
	struct decode_fixture f;

	decode_fixture_begin(&f);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_null(mesh_decode_listener(&f.d, xds_sample_json(&f.arena, "1",
								       "{'@type': 'envoy.config.listener.v3.Listener', %s, " CHAIN(GOOD) "}",
								       cases[i].address)
							       .bytes));
		assert_says(&f, cases[i].path, cases[i].what, i);
	}
	decode_fixture_end(&f);
}

/* More than any text of a duration says; what is merely long is cut, so that adding it to a clock never overflows. */
static void durations(void **state)
{
	static const struct {
		int64_t seconds;
		int32_t nanos;
		const char *what;
	} cases[] = {
		{INT64_MAX, 0, "field: 9223372036854775807 s and 0 ns: out of range"},
		{INT64_MIN, 0, "field: -9223372036854775808 s and 0 ns: out of range"},
		{0, 1000000000, "field: 0 s and 1000000000 ns: out of range"},
		{1, INT32_MIN, "field: 1 s and -2147483648 ns: out of range"},
		{1, -1, "field: 0.999999999s: must not be negative"}, /* of mixed signs, which protobuf forbids */
	};
	Google__Protobuf__Duration duration = GOOGLE__PROTOBUF__DURATION__INIT;
	struct decode_fixture f;
	int64_t century;

	decode_fixture_begin(&f);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		duration.seconds = cases[i].seconds;
		duration.nanos = cases[i].nanos;
		mesh_decode_begin(&f.d);
		assert_int_equal(mesh_decode_duration(&f.d, "field", &duration, -7), -7);
		assert_string_equal(f.d.why.text, cases[i].what);
	}
	mesh_decode_begin(&f.d);
	duration.seconds = 315576000000ll; /* the longest that is allowed */
	duration.nanos = 999999999;
	century = mesh_decode_duration(&f.d, "field", &duration, 0);
	assert_int_equal(f.d.rc, 0);
	assert_true(century > 99ll * 365 * 86400 * MESH_DECODE_NS && century < INT64_MAX / 2);
	decode_fixture_end(&f);
}

/* `item` that many times. */
static const char *repeat(struct decode_fixture *f, const char *item, size_t count)
{
	size_t len = strlen(item);
	char *text = mesh_arena_alloc(&f->arena, count * (len + 1) + 1);

	assert_non_null(text);
	text[0] = '\0';
	for (size_t i = 0, at = 0; i < count; i++, at += len + 1)
		sprintf(text + at, "%s%s", i ? "," : " ", item);
	return text;
}

static void too_many(void **state)
{
	static const char stats[] = TYPED("s", "stats.PluginConfig", "");
	struct decode_fixture f;
	struct listener_config *listener;
	char rest[65536];

	decode_fixture_begin(&f);
	snprintf(rest, sizeof(rest), CHAIN("%s," GOOD), repeat(&f, stats, MESH_DECODE_FILTERS));
	assert_null(decode_fixture_listener_json(&f, rest));
	assert_says(&f, "filter_chains[0].filters", "257: at most 256", 0);
	snprintf(rest, sizeof(rest), CHAIN("%s," GOOD), repeat(&f, stats, MESH_DECODE_FILTERS - 1));
	listener = decode_fixture_listener_json(&f, rest);
	assert_non_null(listener);
	mesh_config_object_release(listener);
	snprintf(rest, sizeof(rest), CHAIN(FILTERS("%s," ROUTER)), repeat(&f, stats, MESH_DECODE_FILTERS));
	assert_null(decode_fixture_listener_json(&f, rest));
	assert_says(&f, IN_HCM ".http_filters", "257: at most 256", 1);
	snprintf(rest, sizeof(rest), CHAIN(GOOD) ", 'listenerFilters': [%s]", repeat(&f, "{'name': 'x'}", MESH_DECODE_FILTERS + 1));
	assert_null(decode_fixture_listener_json(&f, rest));
	assert_says(&f, "listener_filters", "257: at most 256", 2);
	decode_fixture_end(&f);
}

#define PAIR(first, second)                                                                              \
	"'filterChains': [{'name': 'a', 'filterChainMatch': {" first "}, 'filters': [" GOOD "]}, {'filters': [" GOOD \
	"], 'filterChainMatch': {'destinationPort': 1}}, {'name': 'c', 'filterChainMatch': {" second "}, 'filters': [" GOOD "]}]"

/* Of two chains with equal right to a connection neither could be said to be meant. */
static void same_connections(void **state)
{
	static const char *const meet[] = {
		PAIR("", ""),
		PAIR("'destinationPort': 80, 'transportProtocol': 'tls'", "'transportProtocol': 'tls', 'destinationPort': 80"),
		PAIR("'applicationProtocols': ['h2', 'istio']", "'applicationProtocols': ['istio']"),
		PAIR("'serverNames': ['A.b', 'c.d']", "'serverNames': ['e.f', 'a.B']"),
		PAIR("'serverNames': ['*.b']", "'serverNames': ['*.b']"),
		PAIR("'prefixRanges': [{'addressPrefix': '10.1.2.3', 'prefixLen': 12}]",
		     "'prefixRanges': [{'addressPrefix': '10.9.9.9', 'prefixLen': 12}]"),
		PAIR("'sourcePorts': [1, 2]", "'sourcePorts': [2, 3]"),
		PAIR("'sourceType': 'EXTERNAL', 'directSourcePrefixRanges': [{'addressPrefix': '::1', 'prefixLen': 128}]",
		     "'sourceType': 'EXTERNAL', 'directSourcePrefixRanges': [{'addressPrefix': '::1', 'prefixLen': 128}]"),
	};
	static const char *const apart[] = {
		PAIR("'destinationPort': 80", "'destinationPort': 81"),
		PAIR("'destinationPort': 80", ""),
		PAIR("'transportProtocol': 'tls'", "'transportProtocol': 'raw_buffer'"),
		PAIR("'applicationProtocols': ['h2']", ""),
		PAIR("'serverNames': ['*.b']", "'serverNames': ['a.b']"),
		PAIR("'prefixRanges': [{'addressPrefix': '10.0.0.0', 'prefixLen': 12}]",
		     "'prefixRanges': [{'addressPrefix': '10.0.0.0', 'prefixLen': 13}]"),
		PAIR("'prefixRanges': [{'addressPrefix': '10.1.2.3', 'prefixLen': 12}]",
		     "'prefixRanges': [{'addressPrefix': '10.16.2.3', 'prefixLen': 12}]"),
		PAIR("'sourcePrefixRanges': [{'addressPrefix': '0.0.0.0', 'prefixLen': 0}]",
		     "'sourcePrefixRanges': [{'addressPrefix': '::', 'prefixLen': 0}]"),
		PAIR("'sourcePorts': [1]", "'sourcePorts': [2]"),
		PAIR("'sourceType': 'EXTERNAL'", "'sourceType': 'SAME_IP_OR_LOOPBACK'"),
	};
	struct decode_fixture f;

	decode_fixture_begin(&f);
	for (size_t i = 0; i < sizeof(meet) / sizeof(meet[0]); i++) {
		assert_null(decode_fixture_listener_json(&f, meet[i]));
		assert_says(&f, "filter_chains[2].filter_chain_match", "for the same connections as filter_chains[0] (\"a\")", i);
	}
	for (size_t i = 0; i < sizeof(apart) / sizeof(apart[0]); i++) {
		struct listener_config *listener = decode_fixture_listener_json(&f, apart[i]);

		if (!listener)
			fail_msg("case %zu: %s", i, f.d.why.text);
		mesh_config_object_release(listener);
	}
	decode_fixture_end(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(refused),   cmocka_unit_test(refused_http), cmocka_unit_test(refused_address),
		cmocka_unit_test(durations), cmocka_unit_test(too_many),     cmocka_unit_test(same_connections),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
