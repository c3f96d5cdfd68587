/* SPDX-License-Identifier: Apache-2.0 */
/* Outlier detection and active health checks of clusters as they are decoded: defaults, and what is refused by name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "config/route.h"
#include "support/cluster_fixture.h"

#define TIMES "'timeout': '1s', 'interval': '2s', 'unhealthyThreshold': 3, 'healthyThreshold': 2"
#define CHECK(rest) "'healthChecks': [{" TIMES ", " rest "}]"
#define HTTP(rest)  CHECK("'httpHealthCheck': {'path': '/', " rest "}")
#define SECOND	    1000000000ll

static int setup(void **state)
{
	static struct decode_fixture f;

	decode_fixture_begin(&f);
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	decode_fixture_end(*state);
	return 0;
}

static void outlier_defaults(void **state)
{
	struct cluster_config *c = cluster_fixture_eds(*state, "'outlierDetection': {}");

	assert_true(c->outlier.on && c->outlier.check_unejects && !c->outlier.always_eject_one && !c->outlier.split_local);
	assert_int_equal(c->outlier.consecutive_5xx, 5);
	assert_int_equal(c->outlier.enforcing_gateway, 0);
	assert_int_equal(c->outlier.enforcing_local_success_rate, 100);
	assert_int_equal(c->outlier.enforcing_local_failure, 0);
	assert_int_equal(c->outlier.max_ejection_percent, 10);
	assert_int_equal(c->outlier.max_ejection_ns, 300 * SECOND);
	mesh_config_object_release(c);
	c = cluster_fixture_eds(*state, "'outlierDetection': {'baseEjectionTime': '400s'}");
	assert_int_equal(c->outlier.max_ejection_ns, 400 * SECOND);
	mesh_config_object_release(c);
}

static void check_defaults(void **state)
{
	struct cluster_config *c = cluster_fixture_eds(*state, CHECK("'httpHealthCheck': {'path': '/ready'}"));
	const struct health_check_config *check = c->health_check;

	assert_int_equal(check->kind, HEALTH_CHECK_HTTP);
	assert_text(check->path, "/ready");
	assert_text(check->method, "GET");
	assert_int_equal(check->timeout_ns, SECOND);
	assert_int_equal(check->interval_ns, 2 * SECOND);
	assert_int_equal(check->unhealthy_ns, 2 * SECOND);
	assert_int_equal(check->unhealthy_edge_ns, 2 * SECOND);
	assert_int_equal(check->healthy_edge_ns, 2 * SECOND);
	assert_int_equal(check->no_traffic_ns, 60 * SECOND);
	assert_int_equal(check->no_traffic_healthy_ns, 60 * SECOND);
	assert_int_equal(check->response_max, 1024);
	assert_true(check->reuse_connection && !check->http2 && !check->has_criteria && !check->alpn.data);
	mesh_config_object_release(c);
}

static void all_of_a_check(void **state)
{
	struct cluster_config *c = cluster_fixture_eds(
		*state,
		CHECK("'altPort': 8080, 'reuseConnection': false, 'tlsOptions': {'alpnProtocols': ['h2', 'x']},"
		      "'transportSocketMatchCriteria': {'tlsMode': 'istio'}, 'noTrafficInterval': '5s', 'unhealthyInterval': '7s',"
		      "'httpHealthCheck': {'path': '/', 'host': 'h', 'method': 'POST', 'send': {'text': '6f4B'},"
		      "'receive': [{'text': '00ff'}, {'binary': 'YQ=='}], 'codecClientType': 'HTTP2',"
		      "'expectedStatuses': [{'start': 200, 'end': 300}], 'retriableStatuses': [{'start': 503, 'end': 504}],"
		      "'requestHeadersToAdd': [{'header': {'key': 'a', 'value': 'b'}}], 'requestHeadersToRemove': ['user-agent'],"
		      "'serviceNameMatcher': {'prefix': 'svc'}}"));
	const struct health_check_config *check = c->health_check;

	assert_int_equal(c->kind, CLUSTER_EDS);
	assert_int_equal(check->alt_port, 8080);
	assert_false(check->reuse_connection);
	assert_int_equal(check->alpn.len, 5);
	assert_memory_equal(check->alpn.data, "\x02h2\x01x", 5);
	assert_int_equal(check->criteria_count, 1);
	assert_text(check->criteria[0].value, "istio");
	assert_int_equal(check->no_traffic_healthy_ns, 5 * SECOND);
	assert_int_equal(check->unhealthy_edge_ns, 7 * SECOND);
	assert_text(check->send, "oK");
	assert_int_equal(check->receive[0].len, 2);
	assert_memory_equal(check->receive[0].data, "\x00\xff", 2);
	assert_text(check->receive[1], "a");
	assert_true(check->http2);
	assert_int_equal(check->expected[0].first, 200);
	assert_int_equal(check->expected[0].last, 299);
	assert_int_equal(check->retriable[0].last, 503);
	assert_int_equal(check->changes->mutations.request_add_count, 1);
	assert_int_equal(check->changes->mutations.request_remove_count, 1);
	assert_int_equal(check->service_name->kind, STRING_MATCH_PREFIX);
	mesh_config_object_release(c);
}

static void unknown_checks_close_the_cluster(void **state)
{
	static const char *const cases[] = {
		CHECK("'customHealthCheck': {'name': 'envoy.health_checkers.redis'}"),
		HTTP("'codecClientType': 'HTTP3'"),
		CHECK("'tcpHealthCheck': {'proxyProtocolConfig': {}}"),
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct cluster_config *c = cluster_fixture_eds(*state, cases[i]);

		assert_int_equal(c->kind, CLUSTER_UNSUPPORTED);
		assert_non_null(strstr(decode_fixture_notes(*state), "health_checks[0]"));
		mesh_config_object_release(c);
	}
}

static void refused(void **state)
{
	static const struct {
		const char *rest, *path, *what;
	} cases[] = {
		{"'outlierDetection': {'interval': '0s'}", "outlier_detection.interval", "greater than 0"},
		{"'outlierDetection': {'baseEjectionTime': '0s'}", "outlier_detection.base_ejection_time", "greater than 0"},
		{"'outlierDetection': {'maxEjectionPercent': 101}", "outlier_detection.max_ejection_percent", "101"},
		{"'outlierDetection': {'enforcingLocalOriginSuccessRate': 101}",
		 "outlier_detection.enforcing_local_origin_success_rate", "101"},
		{"'outlierDetection': {'baseEjectionTime': '10s', 'maxEjectionTime': '9s'}", "outlier_detection.max_ejection_time",
		 "base_ejection_time"},
		{"'healthChecks': [{}]", "health_checks[0].timeout", "is required"},
		{"'healthChecks': [{" TIMES "}]", "health_checks[0]", "is required"},
		{"'healthChecks': [{" TIMES "}, {" TIMES "}]", "health_checks", "more than one"},
		{"'healthChecks': [{'timeout': '1s', 'interval': '0s'}]", "health_checks[0].interval", "greater than 0"},
		{"'healthChecks': [{'timeout': '1s', 'interval': '1s', 'healthyThreshold': 1}]",
		 "health_checks[0].unhealthy_threshold", "is required"},
		{CHECK("'altPort': 70000, 'tcpHealthCheck': {}"), "health_checks[0].alt_port", "70000"},
		{CHECK("'httpHealthCheck': {}"), "http_health_check.path", "must not be empty"},
		{HTTP("'method': 'CONNECT'"), "http_health_check.method", "CONNECT"},
		{HTTP("'send': {'text': '61'}"), "http_health_check.send", "method GET"},
		{HTTP("'expectedStatuses': [{'start': 99, 'end': 200}]"), "expected_statuses[0]", "100 <= start"},
		{HTTP("'retriableStatuses': [{'start': 300, 'end': 300}]"), "retriable_statuses[0]", "start < end"},
		{HTTP("'receive': [{'text': '6162'}], 'responseBufferSize': 1"), "http_health_check.receive", "response_buffer_size 1"},
		{CHECK("'tcpHealthCheck': {'send': {'text': 'xy'}}"), "tcp_health_check.send.text", "not hexadecimal"},
		{CHECK("'tcpHealthCheck': {'receive': [{'text': '616'}]}"), "receive[0].text", "not hexadecimal"},
		{CHECK("'grpcHealthCheck': {}"), "grpc_health_check", "HTTP/2"},
		{CHECK("'tlsOptions': {'alpnProtocols': ['']}, 'tcpHealthCheck': {}"), "tls_options.alpn_protocols", "1..255"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		cluster_fixture_refused(*state, cases[i].rest, cases[i].path, cases[i].what);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		TEST(outlier_defaults), TEST(check_defaults), TEST(all_of_a_check),
		TEST(unknown_checks_close_the_cluster), TEST(refused),
#undef TEST
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
