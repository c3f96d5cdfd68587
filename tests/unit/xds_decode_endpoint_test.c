/* SPDX-License-Identifier: Apache-2.0 */
/* Endpoint sets come out with the values that were meant, and what is wrong is named with its path and value. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <mesh/error.h>

#include "support/xds_sample.h"
#include "xds/decode.h"

#define ADDRESS "'endpoint': {'address': {'socketAddress': {'address': '10.0.0.1', 'portValue': 80}}}"
#define OTHER   "'endpoint': {'address': {'socketAddress': {'address': '10.0.0.2', 'portValue': 80}}}"

enum { NESTING_MAX = 100 };

static void assert_text(struct mesh_slice slice, const char *expected)
{
	assert_int_equal(slice.len, strlen(expected));
	assert_memory_equal(slice.data, expected, slice.len);
}

static struct mesh_slice pack(struct arena *arena, const char *rest)
{
	return xds_sample_json(arena, "1",
			       "{'@type': 'envoy.config.endpoint.v3.ClusterLoadAssignment', 'clusterName': 's', %s}", rest)
		.bytes;
}

static void values(void **state)
{
	struct decode d;
	struct arena arena;
	struct endpoint_set *set;

	mesh_arena_init(&arena, &mesh_mem_default, 0);
	mesh_decode_init(&d, &mesh_mem_default, NESTING_MAX, NULL, NULL);
	set = mesh_decode_endpoints(
		&d, pack(&arena, "'endpoints': ["
				 "{'priority': 1, 'lbEndpoints': [{" OTHER ", 'healthStatus': 'DRAINING'}]},"
				 "{'locality': {'region': 'r', 'zone': 'z', 'subZone': 's'}, 'loadBalancingWeight': 7,"
				 " 'lbEndpoints': [{" ADDRESS ", 'loadBalancingWeight': 3, 'metadata': {'filterMetadata': {"
				 "  'envoy.transport_socket_match': {'tlsMode': 'istio'},"
				 "  'envoy.lb': {'hash_key': 'shard-7'}, 'istio': {'workload': 'w;ns;c;v1;k'}}}}]}]"));
	assert_non_null(set);
	assert_int_equal(set->count, 2);
	assert_int_equal(set->priority_count, 2);
	assert_int_equal(set->endpoint_count, 2);
	assert_int_equal(set->overprovisioning, 140);
	assert_int_equal(set->localities[0].priority, 0);
	assert_int_equal(set->localities[0].weight, 7);
	assert_text(set->localities[0].region, "r");
	assert_text(set->localities[0].zone, "z");
	assert_text(set->localities[0].subzone, "s");
	assert_text(set->localities[0].endpoints[0].text, "10.0.0.1:80");
	assert_int_equal(set->localities[0].endpoints[0].weight, 3);
	assert_int_equal(set->localities[0].endpoints[0].health, ENDPOINT_HEALTHY);
	assert_int_equal(set->localities[0].endpoints[0].transport_label_count, 1);
	assert_text(set->localities[0].endpoints[0].workload, "w;ns;c;v1;k");
	assert_text(set->localities[0].endpoints[0].hash_key, "shard-7");
	assert_null(set->localities[1].endpoints[0].hash_key.data);
	assert_int_equal(set->localities[1].priority, 1);
	assert_int_equal(set->localities[1].weight, 0);
	assert_int_equal(set->localities[1].endpoints[0].weight, 1);
	assert_int_equal(set->localities[1].endpoints[0].health, ENDPOINT_DRAINING);
	mesh_config_object_release(set);
	mesh_decode_free(&d);
	mesh_arena_free(&arena);
}

/* As Envoy: the first counts, in the order they came in, which is not that of priorities. */
static void an_address_counts_once(void **state)
{
	struct decode d;
	struct arena arena;
	struct endpoint_set *set;

	mesh_arena_init(&arena, &mesh_mem_default, 0);
	mesh_decode_init(&d, &mesh_mem_default, NESTING_MAX, NULL, NULL);
	set = mesh_decode_endpoints(
		&d, pack(&arena, "'endpoints': ["
				 "{'priority': 1, 'lbEndpoints': [{" ADDRESS ", 'loadBalancingWeight': 5}, {" ADDRESS "}]},"
				 "{'lbEndpoints': [{" ADDRESS "}, {" OTHER ", 'loadBalancingWeight': 3}, {" OTHER "}]}]"));
	assert_non_null(set);
	assert_int_equal(set->endpoint_count, 2);
	assert_int_equal(set->localities[0].count, 1);
	assert_text(set->localities[0].endpoints[0].text, "10.0.0.2:80");
	assert_int_equal(set->localities[0].endpoints[0].weight, 3);
	assert_int_equal(set->localities[1].count, 1);
	assert_text(set->localities[1].endpoints[0].text, "10.0.0.1:80");
	assert_int_equal(set->localities[1].endpoints[0].weight, 5);
	mesh_config_object_release(set);
	mesh_decode_free(&d);
	mesh_arena_free(&arena);
}

static void refused(void **state)
{
	static const struct {
		const char *rest, *path, *what;
	} cases[] = {
		{"'endpoints': [{'priority': 129}]", "endpoints[0].priority", "129"},
		{"'endpoints': [{'lbEndpoints': [{}]}]", "endpoints[0].lb_endpoints[0].endpoint", "is required"},
		{"'endpoints': [{'loadBalancingWeight': 0}]", "endpoints[0].load_balancing_weight", "0: must"},
		{"'endpoints': [{'loadBalancingWeight': 4294967295}, {'loadBalancingWeight': 1}]", "endpoints", "4294967295"},
		{"'endpoints': [{'lbEndpoints': [{" ADDRESS ", 'loadBalancingWeight': 0}]}]",
		 "endpoints[0].lb_endpoints[0].load_balancing_weight", "0: must"},
		{"'endpoints': [{'lbEndpoints': [{'endpoint': {'address': {'socketAddress': {'address': '10.0.0.1',"
		 " 'portValue': 65536}}}}]}]",
		 "endpoints[0].lb_endpoints[0].endpoint.address.socket_address.port_value", "65536"},
		{"'endpoints': [{'lbEndpoints': [{'endpoint': {'address': {'socketAddress': {'address': 'name',"
		 " 'portValue': 1}}}}]}]",
		 "endpoints[0].lb_endpoints[0].endpoint.address.socket_address.address", "\"name\""},
		{"'policy': {'overprovisioningFactor': 0}", "policy.overprovisioning_factor", "0: must"},
	};
	struct decode d;
	struct arena arena;

	mesh_arena_init(&arena, &mesh_mem_default, 0);
	mesh_decode_init(&d, &mesh_mem_default, NESTING_MAX, NULL, NULL);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_null(mesh_decode_endpoints(&d, pack(&arena, cases[i].rest)));
		assert_int_equal(d.rc, MESH_ERROR_INVALID);
		if (!strstr(d.why.text, cases[i].path) || !strstr(d.why.text, cases[i].what))
			fail_msg("case %zu says: %s", i, d.why.text);
	}
	mesh_decode_free(&d);
	mesh_arena_free(&arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(values), cmocka_unit_test(an_address_counts_once),
					   cmocka_unit_test(refused)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
