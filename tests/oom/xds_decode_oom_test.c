/* SPDX-License-Identifier: Apache-2.0 */
/* Every recorded resource decodes, and a decoder that runs out of memory gives back what it took and says so. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>
#include <mesh/error.h>

#include "support/failing_mem.h"
#include "support/resource_fixture.h"
#include "xds/decode.h"

enum { NESTING_MAX = 100 };

struct scenario {
	enum xds_type type;
	struct mesh_slice bytes;
};

static void *decode_as(struct decode *d, const struct scenario *s)
{
	switch (s->type) {
	case XDS_CLUSTER:
		return mesh_decode_cluster(d, s->bytes);
	case XDS_ENDPOINT:
		return mesh_decode_endpoints(d, s->bytes);
	case XDS_LISTENER:
		return mesh_decode_listener(d, s->bytes);
	case XDS_ROUTE:
		return mesh_decode_routes(d, s->bytes);
	default:
		return mesh_decode_secret(d, s->bytes);
	}
}

static int decode_once(const struct mesh_mem *mem, void *user)
{
	const struct scenario *s = user;
	struct decode d;
	void *object;
	int rc;

	mesh_decode_init(&d, mem, NESTING_MAX, NULL, NULL);
	object = decode_as(&d, s);
	rc = d.rc;
	if (rc < 0 && rc != MESH_ERROR_NOMEM)
		fprintf(stderr, "refused: %s\n", d.why.text);
	if (!object != (rc != 0))
		rc = MESH_ERROR_STATE;
	mesh_config_object_release(object);
	mesh_decode_free(&d);
	return rc;
}

/* Returns how many allocations were failed in turn. */
static size_t decode_sample(enum xds_type type, const char *path)
{
	size_t failed = 0;
	struct arena arena;
	struct xds_resource *resources;
	size_t count;

	mesh_arena_init(&arena, &mesh_mem_default, 0);
	resources = xds_sample_load(&arena, path, &count);
	assert_true(count > 0);
	for (size_t i = 0; i < count; i++) {
		struct scenario s = {type, resources[i].bytes};

		int times = oom_run(decode_once, &s);

		if (times < 1)
			fail_msg("%s: resource %zu", path, i);
		failed += (size_t)times;
	}
	mesh_arena_free(&arena);
	return failed;
}

static void decode_samples(enum xds_type type, const char *const *paths, size_t count)
{
	size_t failed = 0;

	for (size_t i = 0; i < count; i++)
		failed += decode_sample(type, paths[i]);
	assert_true(failed >= 10 * count);
}

static void clusters(void **state)
{
	static const char *const paths[] = {
		PACKED("mixed.client.delta.cds"),
		PACKED("removed.client.delta.cds"),
		PACKED("disable.client.delta.cds"),
		PACKED("strict.client.sotw.cds"),
		SAMPLE("k8s-sidecar.cds"),
		SAMPLE("secure.cds"),
	};

	decode_samples(XDS_CLUSTER, paths, sizeof(paths) / sizeof(paths[0]));
}

static void endpoints(void **state)
{
	static const char *const paths[] = {
		PACKED("mixed.client.delta.eds"),
		PACKED("removed.client.delta.eds"),
		PACKED("strict.client.delta.eds"),
		PACKED("strict.client.sotw.eds"),
		SAMPLE("k8s-sidecar.eds"),
		SAMPLE("secure.eds"),
	};

	decode_samples(XDS_ENDPOINT, paths, sizeof(paths) / sizeof(paths[0]));
}

static void listeners(void **state)
{
	static const char *const paths[] = {
		PACKED("disable.echo-v1.delta.lds"),
		PACKED("removed.client.delta.lds"),
		PACKED("strict.reviews-v1.sotw.lds"),
		SAMPLE("k8s-sidecar.lds"),
		SAMPLE("secure.lds"),
	};

	decode_samples(XDS_LISTENER, paths, sizeof(paths) / sizeof(paths[0]));
}

static void routes(void **state)
{
	static const char *const paths[] = {
		PACKED("mixed.client.delta.rds"),
		PACKED("removed.client.delta.rds"),
		PACKED("strict.client.sotw.rds"),
		SAMPLE("k8s-sidecar.rds"),
		SAMPLE("secure.rds"),
	};

	decode_samples(XDS_ROUTE, paths, sizeof(paths) / sizeof(paths[0]));
}

/* What no recorded route has. */
static void copies_and_redirects(void **state)
{
	struct arena arena;
	struct scenario s = {.type = XDS_ROUTE};

	mesh_arena_init(&arena, &mesh_mem_default, 0);
	s.bytes = xds_sample_json(
			  &arena, "1",
			  "{'@type': 'envoy.config.route.v3.RouteConfiguration', 'name': 'r', 'requestMirrorPolicies': "
			  "[{'clusterHeader': 'x'}], 'virtualHosts': [{'name': 'h', 'domains': ['*'], 'routes': ["
			  "{'match': {'prefix': '/a'}, 'route': {'cluster': 'c'}},"
			  "{'match': {'prefix': '/'}, 'route': {'cluster': 'c', 'requestMirrorPolicies': [{'cluster': 'd',"
			  " 'hostRewriteLiteral': 'e', 'requestHeadersMutations': [{'remove': 'x-a'}, {'append': {'header':"
			  " {'key': 'x-b', 'value': 'b'}}}, {'removeOnMatch': {'keyMatcher': {'safeRegex': {'regex': 'x-c.*'}}}}]}],"
			  " 'internalRedirectPolicy': {'responseHeadersToCopy': ['x-d'], 'predicates': [{'name': 'p', 'typedConfig':"
			  " {'@type': 'envoy.extensions.internal_redirect.allow_listed_routes.v3.AllowListedRoutesConfig',"
			  " 'allowedRouteNames': ['a', 'b']}}]}}}]}]}")
			  .bytes;
	assert_true(oom_run(decode_once, &s) >= 1);
	mesh_arena_free(&arena);
}

/* What no recorded cluster has: how its names are asked for, in either form. */
static void names(void **state)
{
	static const char cares[] = "{'name': 'r', 'typedConfig': {'@type': "
				    "'envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig', 'resolvers': "
				    "[{'socketAddress': {'address': '10.0.0.10', 'portValue': 53}}]}}";
	static const char assigned[] = "'loadAssignment': {'clusterName': 'c', 'endpoints': [{'lbEndpoints': [{'endpoint': "
				       "{'hostname': 'b', 'address': {'socketAddress': {'address': 'A.example', 'portValue': 80}}}}]}]}";
	struct scenario s = {.type = XDS_CLUSTER};
	struct arena arena;

	mesh_arena_init(&arena, &mesh_mem_default, 0);
	s.bytes = xds_sample_json(&arena, "1",
				  "{'@type': 'envoy.config.cluster.v3.Cluster', 'name': 'c', 'type': 'STRICT_DNS', "
				  "'typedDnsResolverConfig': %s, %s}",
				  cares, assigned)
			  .bytes;
	assert_true(oom_run(decode_once, &s) >= 5);
	s.bytes = xds_sample_json(&arena, "1",
				  "{'@type': 'envoy.config.cluster.v3.Cluster', 'name': 'c', 'clusterType': {'name': 'd', "
				  "'typedConfig': {'@type': 'envoy.extensions.clusters.dns.v3.DnsCluster', "
				  "'allAddressesInSingleEndpoint': true, 'typedDnsResolverConfig': %s}}, %s}",
				  cares, assigned)
			  .bytes;
	assert_true(oom_run(decode_once, &s) >= 5);
	mesh_arena_free(&arena);
}

/* What no recorded route has: text put together, conditions on what filters say, wishes for endpoints, templates. */
static void rare_routes(void **state)
{
	struct scenario s = {.type = XDS_ROUTE};
	struct arena arena;

	mesh_arena_init(&arena, &mesh_mem_default, 0);
	s.bytes = xds_sample_json(
			  &arena, "1",
			  "{'@type': 'envoy.config.route.v3.RouteConfiguration', 'name': 'r', 'virtualHosts': [{'name': 'h', 'domains':"
			  " ['*'], 'requireTls': 'ALL', 'routes': [{'match': {%s}, 'route': {%s}, 'requestHeadersToAdd': [%s]},"
			  " {'match': {'prefix': '/', %s}, 'directResponse': {'status': 200, 'bodyFormat': {'textFormat': '%s'}}}]}]}",
			  "'pathMatchPolicy': {'name': 'x', 'typedConfig': {'@type':"
			  " 'envoy.extensions.path.match.uri_template.v3.UriTemplateMatchConfig', 'pathTemplate': '/a/{b}'}}",
			  "'cluster': 'c', 'metadataMatch': {'filterMetadata': {'envoy.lb': {'v': '1', 'fallback_list': [{'w': '2'}]}}},"
			  " 'pathRewritePolicy': {'name': 'y', 'typedConfig': {'@type':"
			  " 'envoy.extensions.path.rewrite.uri_template.v3.UriTemplateRewriteConfig', 'pathTemplateRewrite': '/{b}'}},"
			  " 'hostRewrite': '%REQ(X-A)%'",
			  "{'header': {'key': 'a', 'value': 'x%REQ(A?B):3%%DYNAMIC_METADATA(a:b:c)%%START_TIME%'}}",
			  "'cookies': [{'name': 'a', 'stringMatch': {'exact': '1'}}], 'dynamicMetadata': [{'filter': 'f', 'path': [{'key':"
			  " 'a'}], 'value': {'orMatch': {'valueMatchers': [{'stringMatch': {'exact': 'x'}}, {'nullMatch': {}}]}}}]",
			  "<%LOCAL_REPLY_BODY%>")
			  .bytes;
	assert_true(oom_run(decode_once, &s) >= 1);
	mesh_arena_free(&arena);
}

static void secrets(void **state)
{
	struct arena arena;
	struct scenario s = {.type = XDS_SECRET};

	mesh_arena_init(&arena, &mesh_mem_default, 0);
	s.bytes = xds_sample_json(&arena, "1",
				  "{'@type': 'envoy.extensions.transport_sockets.tls.v3.Secret', 'name': 'a',"
				  " 'tlsCertificate': {'certificateChain': {'inlineString': 'chain'},"
				  " 'privateKey': {'inlineString': 'key'}}}")
			  .bytes;
	assert_true(oom_run(decode_once, &s) >= 1);
	mesh_arena_free(&arena);
}

/* Subsets with a default one, and endpoints that say of what they are. */
static void subsets(void **state)
{
	struct scenario s = {.type = XDS_CLUSTER};
	struct arena arena;

	mesh_arena_init(&arena, &mesh_mem_default, 0);
	s.bytes = xds_sample_json(&arena, "1",
			  "{'@type': 'envoy.config.cluster.v3.Cluster', 'name': 'c', 'type': 'STATIC', 'lbSubsetConfig': "
			  "{'fallbackPolicy': 'DEFAULT_SUBSET', 'defaultSubset': {'v': [1, 'a']}, 'subsetSelectors': [{'keys': ['v', "
			  "'w'], 'fallbackPolicy': 'KEYS_SUBSET', 'fallbackKeysSubset': ['w']}]}, 'loadAssignment': {'clusterName': "
			  "'c', 'endpoints': [{'lbEndpoints': [{'endpoint': {'address': {'socketAddress': {'address': '10.0.0.1', "
			  "'portValue': 80}}}, 'metadata': {'filterMetadata': {'envoy.lb': {'v': ['x', {'y': 1}], 'w': true}}}}]}]}}")
			  .bytes;
	assert_true(oom_run(decode_once, &s) >= 5);
	mesh_arena_free(&arena);
}

static void health_checks(void **state)
{
	struct scenario s = {.type = XDS_CLUSTER};
	struct arena arena;

	mesh_arena_init(&arena, &mesh_mem_default, 0);
	s.bytes = xds_sample_json(&arena, "1",
				  "{'@type': 'envoy.config.cluster.v3.Cluster', 'name': 'c', 'outlierDetection': {}, 'healthChecks': [{"
				  "'timeout': '1s', 'interval': '1s', 'unhealthyThreshold': 1, 'healthyThreshold': 1, 'tlsOptions': "
				  "{'alpnProtocols': ['h2']}, 'transportSocketMatchCriteria': {'a': 'b'}, 'httpHealthCheck': {'path': '/',"
				  "'host': 'h', 'receive': [{'text': '61'}], 'expectedStatuses': [{'start': 200, 'end': 300}],"
				  "'requestHeadersToAdd': [{'header': {'key': 'a', 'value': 'b'}}], 'serviceNameMatcher': {'exact': 's'}}}]}")
			  .bytes;
	assert_true(oom_run(decode_once, &s) >= 5);
	mesh_arena_free(&arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(clusters), cmocka_unit_test(names), cmocka_unit_test(subsets), cmocka_unit_test(endpoints), cmocka_unit_test(listeners),
		cmocka_unit_test(routes),   cmocka_unit_test(copies_and_redirects), cmocka_unit_test(rare_routes),
		cmocka_unit_test(secrets),  cmocka_unit_test(health_checks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
