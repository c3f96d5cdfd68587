/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Is what a DNS cluster says of its questions taken as Envoy takes it, in either form; is what is wrong refused by its field,
 * and a cluster whose resolver is not known never called?
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <mesh/error.h>

#include "support/cluster_fixture.h"

#define ENDPOINT(address) "{'endpoint': {'address': {'socketAddress': {'address': '" address "', 'portValue': 80}}}}"
#define ASSIGNED          "'loadAssignment': {'clusterName': 'c', 'endpoints': [{'lbEndpoints': [" ENDPOINT("a.example") "]}]}"
#define CARES(members)                                                                                                 \
	"'typedDnsResolverConfig': {'name': 'r', 'typedConfig': {'@type': "                                            \
	"'envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig'" members "}}"
#define EXTENSION(members)                                                                                             \
	"'clusterType': {'name': 'envoy.cluster.dns', 'typedConfig': {'@type': "                                       \
	"'envoy.extensions.clusters.dns.v3.DnsCluster'" members "}}"
#define SERVER "{'socketAddress': {'address': '10.0.0.10', 'portValue': 5353}}"

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

static struct cluster_config *decode(struct decode_fixture *f, const char *rest)
{
	struct cluster_config *cluster =
		cluster_fixture_json(f, mesh_arena_printf(&f->arena, "'name': 'c', " ASSIGNED ", %s", rest).data);

	if (!cluster)
		fail_msg("%s in %s", f->d.why.text, rest);
	return cluster;
}

static void refused(struct decode_fixture *f, const char *rest, const char *path, const char *what)
{
	struct cluster_config *cluster =
		cluster_fixture_json(f, mesh_arena_printf(&f->arena, "'name': 'c', " ASSIGNED ", %s", rest).data);

	if (cluster)
		fail_msg("taken: %s", rest);
	assert_int_equal(f->d.rc, MESH_ERROR_INVALID);
	if (!strstr(f->d.why.text, path) || !strstr(f->d.why.text, what))
		fail_msg("%s says: %s", rest, f->d.why.text);
}

static void defaults(void **state)
{
	struct cluster_config *c = decode(*state, "'type': 'STRICT_DNS'");

	assert_int_equal(c->dns->family, DNS_AUTO);
	assert_int_equal(c->dns->refresh_ns, 5 * MESH_DECODE_NS);
	assert_int_equal(c->dns->jitter_ns, 0);
	assert_int_equal(c->dns->failure_base_ns, 0);
	assert_false(c->dns->respect_ttl);
	assert_true(c->dns->wait_for_warm);
	assert_int_equal(c->dns->servers.count, 0);
	assert_text(c->inline_endpoints->localities[0].endpoints[0].hostname, "a.example");
	mesh_config_object_release(c);
	c = cluster_fixture_eds(*state, "'dnsRefreshRate': '1s'");
	assert_null(c->dns);
	mesh_config_object_release(c);
}

static void own_fields(void **state)
{
	struct cluster_config *c = decode(
		*state,
		"'type': 'LOGICAL_DNS', 'dnsLookupFamily': 'V4_PREFERRED', 'dnsRefreshRate': '7s', 'dnsJitter': "
		"'0.5s', "
		"'respectDnsTtl': true, 'dnsFailureRefreshRate': {'baseInterval': '2s'}, 'waitForWarmOnInit': false, "
		"'useTcpForDnsLookups': true, 'dnsResolvers': [" SERVER ", {'socketAddress': {'address': '::1'}}]");

	assert_int_equal(c->kind, CLUSTER_LOGICAL_DNS);
	assert_int_equal(c->dns->family, DNS_V4_PREFERRED);
	assert_int_equal(c->dns->refresh_ns, 7 * MESH_DECODE_NS);
	assert_int_equal(c->dns->jitter_ns, MESH_DECODE_NS / 2);
	assert_true(c->dns->respect_ttl);
	assert_int_equal(c->dns->failure_base_ns, 2 * MESH_DECODE_NS);
	assert_int_equal(c->dns->failure_max_ns, 20 * MESH_DECODE_NS);
	assert_false(c->dns->wait_for_warm);
	assert_true(c->dns->servers.use_tcp);
	assert_int_equal(c->dns->servers.count, 2);
	assert_int_equal(mesh_address_port(&c->dns->servers.list[0]), 5353);
	assert_int_equal(c->dns->servers.list[1].any.sa_family, AF_INET6);
	assert_int_equal(mesh_address_port(&c->dns->servers.list[1]), 0);
	mesh_config_object_release(c);
}

/* The typed one goes before the resolution config, which goes before the oldest form. */
static void resolvers(void **state)
{
	struct cluster_config *c = decode(*state, "'type': 'STRICT_DNS', 'dnsResolvers': [" SERVER
						  "], 'useTcpForDnsLookups': true, 'dnsResolutionConfig': "
						  "{'resolvers': [" SERVER ", " SERVER
						  "], 'dnsResolverOptions': {'noDefaultSearchDomain': true}}");

	assert_int_equal(c->dns->servers.count, 2);
	assert_true(c->dns->servers.no_search);
	assert_false(c->dns->servers.use_tcp);
	mesh_config_object_release(c);
	c = decode(*state, "'type': 'STRICT_DNS', 'dnsResolvers': [" SERVER
			   "], " CARES(", 'useResolversAsFallback': true, 'queryTimeoutSeconds': 3, 'queryTries': 2, "
				       "'rotateNameservers': true, "
				       "'edns0MaxPayloadSize': 4096, 'resolvers': [" SERVER "], 'dnsResolverOptions': "
				       "{'useTcpForDnsLookups': true}, 'filterUnroutableFamilies': true"));
	assert_int_equal(c->dns->servers.count, 1);
	assert_true(c->dns->servers.fallback);
	assert_true(c->dns->servers.rotate);
	assert_true(c->dns->servers.use_tcp);
	assert_int_equal(c->dns->servers.timeout_s, 3);
	assert_int_equal(c->dns->servers.tries, 2);
	assert_int_equal(c->dns->servers.edns_bytes, 4096);
	assert_non_null(strstr(decode_fixture_warnings(*state), "filter_unroutable_families"));
	mesh_config_object_release(c);
	c = decode(*state, "'type': 'STRICT_DNS', 'typedDnsResolverConfig': {'name': 'r', 'typedConfig': {'@type': "
			   "'envoy.extensions.network.dns_resolver.getaddrinfo.v3.GetAddrInfoDnsResolverConfig'}}");
	assert_int_equal(c->kind, CLUSTER_STRICT_DNS);
	assert_int_equal(c->dns->servers.count, 0);
	mesh_config_object_release(c);
}

static void extension(void **state)
{
	struct cluster_config *c = decode(
		*state,
		EXTENSION(
			", 'dnsRefreshRate': '9s', 'dnsLookupFamily': 'ALL', 'respectDnsTtl': true, 'dnsJitter': '1s', "
			"'dnsFailureRefreshRate': {'baseInterval': '1s', 'maxInterval': '3s'}, " CARES(
				", 'queryTries': 5")) ", 'dnsRefreshRate': '1s', 'dnsLookupFamily': 'V6_ONLY'");

	assert_int_equal(c->kind, CLUSTER_STRICT_DNS);
	assert_int_equal(c->dns->refresh_ns, 9 * MESH_DECODE_NS);
	assert_int_equal(c->dns->family, DNS_ALL);
	assert_int_equal(c->dns->failure_max_ns, 3 * MESH_DECODE_NS);
	assert_int_equal(c->dns->servers.tries, 5);
	mesh_config_object_release(c);
	c = decode(*state, EXTENSION(", 'allAddressesInSingleEndpoint': true"));
	assert_int_equal(c->kind, CLUSTER_LOGICAL_DNS);
	assert_int_equal(c->dns->family, DNS_AUTO);
	mesh_config_object_release(c);
}

static void logical_has_one(void **state)
{
	struct decode_fixture *f = *state;
	struct cluster_config *c = cluster_fixture_json(f, "'name': 'c', 'type': 'LOGICAL_DNS', 'loadAssignment': "
							   "{'clusterName': 'c', 'endpoints': [{'priority': 3, "
							   "'lbEndpoints': [" ENDPOINT("a.example") "]}]}");

	assert_non_null(c);
	assert_int_equal(c->inline_endpoints->localities[0].priority, 0);
	assert_int_equal(c->inline_endpoints->priority_count, 1);
	mesh_config_object_release(c);
	assert_null(cluster_fixture_json(
		f, "'name': 'c', 'type': 'LOGICAL_DNS', 'loadAssignment': {'clusterName': 'c', 'endpoints': "
		   "[{}, {'lbEndpoints': [" ENDPOINT("a.example") "]}]}"));
	assert_non_null(strstr(f->d.why.text, "load_assignment: must have one locality with one endpoint"));
	assert_null(cluster_fixture_json(f, "'name': 'c', 'type': 'LOGICAL_DNS'"));
}

static void wrong(void **state)
{
	static const struct {
		const char *rest, *path, *what;
	} cases[] = {
		{"'type': 'STRICT_DNS', 'dnsRefreshRate': '0.001s'", "dns_refresh_rate", "greater than 1 ms"},
		{"'type': 'STRICT_DNS', 'dnsRefreshRate': '-1s'", "dns_refresh_rate", "negative"},
		{"'type': 'STRICT_DNS', 'dnsJitter': '-1s'", "dns_jitter", "negative"},
		{"'type': 'STRICT_DNS', 'dnsFailureRefreshRate': {}", "dns_failure_refresh_rate.base_interval",
		 "is required"},
		{"'type': 'STRICT_DNS', 'dnsFailureRefreshRate': {'baseInterval': '0s'}",
		 "dns_failure_refresh_rate.base_interval", "greater than 1 ms"},
		{"'type': 'STRICT_DNS', 'dnsFailureRefreshRate': {'baseInterval': '2s', 'maxInterval': '1s'}",
		 "dns_failure_refresh_rate.max_interval", "base_interval"},
		{"'type': 'STRICT_DNS', 'dnsResolvers': [" SERVER
		 ", {'socketAddress': {'address': 'ns.example', 'portValue': 53}}]",
		 "dns_resolvers[1].socket_address.address", "\"ns.example\": not an IP address"},
		{"'type': 'STRICT_DNS', 'dnsResolvers': [{'pipe': {'path': '/x'}}]", "dns_resolvers[0].socket_address",
		 "is required"},
		{"'type': 'STRICT_DNS', 'dnsResolvers': [{'socketAddress': {'address': '::1', 'namedPort': 'domain'}}]",
		 "dns_resolvers[0].socket_address.named_port", "number"},
		{"'type': 'STRICT_DNS', 'dnsResolvers': [{'socketAddress': {'address': '::1', 'portValue': 65536}}]",
		 "dns_resolvers[0].socket_address.port_value", "65536"},
		{"'type': 'STRICT_DNS', 'dnsResolutionConfig': {}", "dns_resolution_config.resolvers", "is required"},
		{"'type': 'STRICT_DNS', 'typedDnsResolverConfig': {'name': 'r'}",
		 "typed_dns_resolver_config.typed_config", "is required"},
		{"'type': 'STRICT_DNS', " CARES(", 'queryTries': 0"),
		 "typed_dns_resolver_config.typed_config.query_tries", "at least 1"},
		{"'type': 'STRICT_DNS', " CARES(", 'queryTimeoutSeconds': 0"), "typed_config.query_timeout_seconds",
		 "at least 1"},
		{"'type': 'STRICT_DNS', " CARES(", 'edns0MaxPayloadSize': 511"), "typed_config.edns0_max_payload_size",
		 "511"},
		{EXTENSION(", 'dnsRefreshRate': '0s'"), "cluster_type.typed_config.dns_refresh_rate",
		 "greater than 1 ms"},
		{"'type': 'STRICT_DNS', 'dnsResolvers': [" SERVER "," SERVER "," SERVER "," SERVER "," SERVER "," SERVER
		 "," SERVER "," SERVER "," SERVER "," SERVER "," SERVER "," SERVER "," SERVER "," SERVER "," SERVER
		 "," SERVER "," SERVER "]",
		 "dns_resolvers", "16"},
	};
	struct decode_fixture *f = *state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		refused(f, cases[i].rest, cases[i].path, cases[i].what);
	assert_null(cluster_fixture_json(f, "'name': 'c', 'type': 'STRICT_DNS', 'loadAssignment': {'clusterName': 'c', "
					    "'endpoints': [{'lbEndpoints': "
					    "[{'endpoint': {'address': {'socketAddress': {'address': 'a', 'portValue': "
					    "80, 'resolverName': 'x'}}}}]}]}"));
	assert_non_null(strstr(f->d.why.text, "socket_address.resolver_name: \"x\""));
}

static void unknown_closes(void **state)
{
	static const char *const cases[] = {
		"'type': 'STRICT_DNS', 'typedDnsResolverConfig': {'name': 'r', 'typedConfig': {'@type': "
		"'envoy.config.cluster.v3.Cluster'}}",
		EXTENSION(", 'typedDnsResolverConfig': {'name': 'r', 'typedConfig': {'@type': "
			  "'envoy.config.cluster.v3.Cluster'}}"),
	};

	for (size_t i = 0; i < 2; i++) {
		struct cluster_config *c = decode(*state, cases[i]);

		assert_int_equal(c->kind, CLUSTER_UNSUPPORTED);
		assert_non_null(
			strstr(decode_fixture_notes(*state),
			       "typed_dns_resolver_config: \"envoy.config.cluster.v3.Cluster\": unknown DNS resolver"));
		mesh_config_object_release(c);
	}
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(defaults),        TEST(own_fields), TEST(resolvers),      TEST(extension),
		TEST(logical_has_one), TEST(wrong),      TEST(unknown_closes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
