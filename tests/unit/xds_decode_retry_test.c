/* SPDX-License-Identifier: Apache-2.0 */
/* What routes and clusters say of retries, hedging, priorities, circuit breakers and connections ahead of need. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "support/cluster_fixture.h"
#include "support/route_fixture.h"

#define MS     1000000ll
#define SECOND (1000 * MS)

static const struct route *route(struct route_fixture *f, const char *members)
{
	struct mesh_slice action = mesh_arena_printf(&f->arena, "'route': {'cluster': 'c', %s}", members);

	return route_fixture_action(f, action.data);
}

static void refused(struct route_fixture *f, const char *members, const char *words)
{
	struct mesh_slice action = mesh_arena_printf(&f->arena, "'route': {'cluster': 'c', %s}", members);

	assert_null(route_fixture_try(f, route_fixture_pack_route(f, "'prefix': '/'", action.data)));
	if (!strstr(f->d.why.text, words))
		fail_msg("%s: %s", members, f->d.why.text);
}

static void waits_that_a_peer_names(void **state)
{
	struct route_fixture *f = *state;
	const struct retry_config *made =
		route(f, "'retryPolicy': {'rateLimitedRetryBackOff': {'resetHeaders': ["
			 "{'name': 'Retry-After'}, {'name': 'X-RateLimit-Reset', 'format': 'UNIX_TIMESTAMP'}]}}")
			->retry;

	assert_int_equal(f->warnings, 0);
	assert_int_equal(made->reset_header_count, 2);
	assert_slice(made->reset_headers[0].name, "retry-after");
	assert_false(made->reset_headers[0].at);
	assert_slice(made->reset_headers[1].name, "x-ratelimit-reset");
	assert_true(made->reset_headers[1].at);
	assert_int_equal(made->reset_max_ns, 300 * SECOND);
	made = route(f, "'retryPolicy': {'rateLimitedRetryBackOff': {'resetHeaders': [{'name': 'a'}], 'maxInterval': "
			"'2.5s'}}")
		       ->retry;
	assert_int_equal(made->reset_max_ns, 2500 * MS);
	refused(f, "'retryPolicy': {'rateLimitedRetryBackOff': {}}",
		"rate_limited_retry_back_off.reset_headers: must not be empty");
	refused(f, "'retryPolicy': {'rateLimitedRetryBackOff': {'resetHeaders': [{'name': 'a b'}]}}",
		"not a header name");
	refused(f, "'retryPolicy': {'rateLimitedRetryBackOff': {'resetHeaders': [{'name': ''}]}}",
		"reset_headers[0].name");
	refused(f, "'retryPolicy': {'rateLimitedRetryBackOff': {'resetHeaders': [{'name': 'a', 'format': 7}]}}",
		"7: unknown");
	refused(f, "'retryPolicy': {'rateLimitedRetryBackOff': {'resetHeaders': [{'name': 'a'}], 'maxInterval': '0s'}}",
		"max_interval");
}

static void endpoints_left_out(void **state)
{
	struct route_fixture *f = *state;
	const struct retry_config *made =
		route(f, "'retryPolicy': {'retryHostPredicate': [{'name': "
			 "'envoy.retry_host_predicates.omit_canary_hosts'},"
			 " {'name': 'm', 'typedConfig': {'@type': 'envoy.extensions.retry.host.omit_host_metadata.v3."
			 "OmitHostMetadataConfig', 'metadataMatch': {'filterMetadata': {'envoy.lb': {'stage': 'new', "
			 "'a': 'b'}}}}}]}")
			->retry;

	assert_int_equal(f->warnings, 0);
	assert_true(made->omit_canary);
	assert_false(made->previous_hosts);
	assert_int_equal(made->omit_count, 2);
	assert_slice(made->omit[1].key, "stage");
	assert_slice(made->omit[1].value, "new");
}

static void hedges(void **state)
{
	struct route_fixture *f = *state;
	struct virtual_host *host;

	assert_int_equal(route(f, "'timeout': '1s'")->hedge, HEDGE_UNSET);
	assert_int_equal(route(f, "'hedgePolicy': {}")->hedge, HEDGE_NEVER);
	assert_int_equal(route(f, "'hedgePolicy': {'hedgeOnPerTryTimeout': true, 'initialRequests': 2}")->hedge,
			 HEDGE_ON_PER_TRY_TIMEOUT);
	assert_int_equal(f->warnings, 0);
	refused(f, "'hedgePolicy': {'initialRequests': 0}", "hedge_policy.initial_requests: must be at least 1");
	host = route_fixture_host(f,
				  "'hedgePolicy': {'hedgeOnPerTryTimeout': true}, 'includeIsTimeoutRetryHeader': true");
	assert_int_equal(host->hedge, HEDGE_ON_PER_TRY_TIMEOUT);
	assert_true(host->include_timeout_retry);
}

static void packed_policies(void **state)
{
	struct route_fixture *f = *state;
	const struct route *made = route(f, "'retryPolicyTypedConfig': {'@type': 'envoy.config.route.v3.RetryPolicy',"
					    " 'retryOn': '5xx', 'numRetries': 4}");

	assert_int_equal(made->retry->on, RETRY_5XX);
	assert_int_equal(made->retry->retries, 4);
	made = route(f, "'retryPolicy': {'retryOn': 'reset'}, 'retryPolicyTypedConfig': {'@type':"
			" 'envoy.config.route.v3.RetryPolicy', 'retryOn': '5xx'}");
	assert_int_equal(made->retry->on, RETRY_RESET);
	refused(f,
		"'retryPolicyTypedConfig': {'@type': 'envoy.config.route.v3.RetryPolicy',"
		" 'retryBackOff': {'baseInterval': '-1s'}}",
		"retry_policy_typed_config");
	assert_int_equal(route_fixture_host(f,
					    "'retryPolicyTypedConfig': {'@type': 'envoy.config.route.v3.RetryPolicy',"
					    " 'retryOn': 'unavailable'}")
				 ->retry->on,
			 RETRY_GRPC_UNAVAILABLE);
}

static void priorities(void **state)
{
	struct route_fixture *f = *state;

	assert_false(route(f, "'priority': 'DEFAULT'")->high_priority);
	assert_true(route(f, "'priority': 'HIGH'")->high_priority);
	assert_true(
		route(f,
		      "'retryPolicy': {'retryPriority': {'name': 'p', 'typedConfig': {'@type': 'envoy.extensions.retry."
		      "priority.previous_priorities.v3.PreviousPrioritiesConfig', 'updateFrequency': 2}}}")
			->retry->previous_priorities);
	assert_int_equal(f->warnings, 0);
}

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

static void breakers(void **state)
{
	struct decode_fixture *f = *state;
	struct cluster_config *c = cluster_fixture_eds(
		f, "'circuitBreakers': {'thresholds': [{'priority': 'HIGH', 'maxRequests': 1, 'retryBudget': {}},"
		   " {'maxRequests': 5}, {'maxRequests': 6, 'maxConnections': 7}], 'perHostThresholds': "
		   "[{'maxConnections': 0},"
		   " {'priority': 'HIGH'}]}");

	assert_int_equal(c->breaker.requests, 5); /* the first of a priority is in force */
	assert_int_equal(c->breaker.connections, 1024);
	assert_false(c->breaker.has_budget);
	assert_true(c->breaker.host_limited);
	assert_int_equal(c->breaker.host_connections, 0);
	assert_int_equal(c->breaker_high.requests, 1);
	assert_true(c->breaker_high.has_budget);
	assert_false(c->breaker_high.host_limited);
	mesh_config_object_release(c);
	c = cluster_fixture_eds(f, "'connectTimeout': '1s'");
	assert_int_equal(c->breaker_high.requests, 1024);
	assert_int_equal(c->breaker_high.retries, 3);
	mesh_config_object_release(c);
	cluster_fixture_refused(f, "'circuitBreakers': {'thresholds': [{'priority': 3}]}",
				"circuit_breakers.thresholds[0].priority", "3: unknown");
	cluster_fixture_refused(f, "'circuitBreakers': {'perHostThresholds': [{'maxRequests': 1}]}",
				"circuit_breakers.per_host_thresholds[0]", "only max_connections may be set");
	cluster_fixture_refused(
		f, "'circuitBreakers': {'thresholds': [{'retryBudget': {'budgetPercent': {'value': 101}}}]}",
		"retry_budget.budget_percent", "");
}

static void ahead_of_need(void **state)
{
	struct decode_fixture *f = *state;
	struct cluster_config *c = cluster_fixture_eds(
		f, "'preconnectPolicy': {'perUpstreamPreconnectRatio': 1.5, 'predictivePreconnectRatio': 3}");

	assert_true(c->preconnect == 1.5);
	assert_true(c->preconnect_ahead == 3);
	mesh_config_object_release(c);
	c = cluster_fixture_eds(f, "'preconnectPolicy': {}");
	assert_true(c->preconnect == 1 && c->preconnect_ahead == 1);
	mesh_config_object_release(c);
	cluster_fixture_refused(f, "'preconnectPolicy': {'perUpstreamPreconnectRatio': 3.1}",
				"preconnect_policy.per_upstream_preconnect_ratio", "must be from 1 to 3");
	cluster_fixture_refused(f, "'preconnectPolicy': {'predictivePreconnectRatio': 0.9}",
				"preconnect_policy.predictive_preconnect_ratio", "must be from 1 to 3");
	cluster_fixture_refused(f, "'preconnectPolicy': {'predictivePreconnectRatio': 'NaN'}",
				"predictive_preconnect_ratio", "must be from 1 to 3");
}

static void sources(void **state)
{
	struct decode_fixture *f = *state;
	struct cluster_config *c = cluster_fixture_eds(
		f,
		"'upstreamBindConfig': {'sourceAddress': {'address': '127.0.0.2', 'portValue': 0}, 'freebind': true}");
	char text[MESH_ADDRESS_TEXT_BYTES];

	mesh_address_text(&c->bind, text);
	assert_string_equal(text, "127.0.0.2:0");
	assert_true(c->bind_anywhere);
	mesh_config_object_release(c);
	c = cluster_fixture_eds(f, "'upstreamBindConfig': {}");
	assert_int_equal(c->bind.len, 0);
	mesh_config_object_release(c);
	cluster_fixture_refused(f, "'upstreamBindConfig': {'sourceAddress': {'address': 'localhost', 'portValue': 0}}",
				"upstream_bind_config.source_address.address", "not an IP address");
}

#define ROUTE(name)   cmocka_unit_test_setup_teardown(name, route_fixture_setup, route_fixture_teardown)
#define CLUSTER(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		ROUTE(waits_that_a_peer_names), ROUTE(endpoints_left_out), ROUTE(hedges),
		ROUTE(packed_policies),         ROUTE(priorities),         CLUSTER(breakers),
		CLUSTER(ahead_of_need),         CLUSTER(sources),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
