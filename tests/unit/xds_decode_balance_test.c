/* SPDX-License-Identifier: Apache-2.0 */
/* What clusters and endpoints say of balancing beyond the algorithm: slow start, zones, subsets, bounds; and wrong values. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <mesh/error.h>

#include "config/route.h"
#include "support/cluster_fixture.h"

#define SECOND INT64_C(1000000000)
#define POLICY(type, members)                                                                                          \
	"{'typedExtensionConfig': {'name': 'p', 'typedConfig': {'@type': "                                             \
	"'envoy.extensions.load_balancing_policies." type "'" members "}}}"
#define TYPED(type, members) "'loadBalancingPolicy': {'policies': [" POLICY(type, members) "]}"
#define SUBSET(members)      "'lbSubsetConfig': {" members "}"
#define KEYS(members)        SUBSET("'subsetSelectors': [{" members "}]")

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

static bool is(struct mesh_slice text, const char *wanted)
{
	return mesh_slice_equal(text, mesh_slice_of(wanted));
}

/* As istiod writes a DestinationRule's warmup, and as the extensions have it. */
static void slow_start(void **state)
{
	struct decode_fixture *f = *state;
	struct cluster_config *c = cluster_fixture_eds(
		f,
		"'lbPolicy': 'LEAST_REQUEST', 'leastRequestLbConfig': {'slowStartConfig': {'slowStartWindow': '30s', "
		"'aggression': {'defaultValue': 1.5, 'runtimeKey': '('}, 'minWeightPercent': {'value': 25}}}");

	assert_int_equal(c->balance.slow_start.window_ns, 30 * SECOND);
	assert_true(c->balance.slow_start.aggression == 1.5 && c->balance.slow_start.least == 0.25);
	mesh_config_object_release(c);
	c = cluster_fixture_eds(f,
				TYPED("round_robin.v3.RoundRobin", ", 'slowStartConfig': {'slowStartWindow': '1s'}"));
	assert_int_equal(c->balance.slow_start.window_ns, SECOND);
	assert_true(c->balance.slow_start.aggression == 1 && c->balance.slow_start.least == 0.1);
	mesh_config_object_release(c);
	c = cluster_fixture_eds(f, "'roundRobinLbConfig': {'slowStartConfig': {'slowStartWindow': '1s', 'aggression': "
				   "{'defaultValue': 'NaN', 'runtimeKey': 'k'}}}");
	assert_true(c->balance.slow_start.aggression == 0); /* as 1 */
	assert_non_null(strstr(decode_fixture_warnings(f), "aggression"));
	mesh_config_object_release(c);
	cluster_fixture_refused(f, "'roundRobinLbConfig': {'slowStartConfig': {'slowStartWindow': '-1s'}}",
				"round_robin_lb_config.slow_start_config.slow_start_window", "-1s");
	cluster_fixture_refused(f, "'roundRobinLbConfig': {'slowStartConfig': {'minWeightPercent': {'value': 101}}}",
				"slow_start_config.min_weight_percent", "101");
}

static void least_request(void **state)
{
	static const struct {
		const char *members;
		bool full;
	} cases[] = {{"", false},
		     {", 'selectionMethod': 'FULL_SCAN'", true},
		     {", 'selectionMethod': 'N_CHOICES'", false},
		     {", 'enableFullScan': true", true}};
	struct decode_fixture *f = *state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char text[512];
		struct cluster_config *c;

		snprintf(text, sizeof(text), TYPED("least_request.v3.LeastRequest", "%s"), cases[i].members);
		c = cluster_fixture_eds(f, text);
		assert_int_equal(c->lb, LB_LEAST_REQUEST);
		assert_int_equal(c->balance.full_scan, cases[i].full);
		mesh_config_object_release(c);
	}
	cluster_fixture_refused(f, TYPED("least_request.v3.LeastRequest", ", 'selectionMethod': 7"), "selection_method",
				"7");
}

static void zones(void **state)
{
	struct decode_fixture *f = *state;
	struct cluster_config *c = cluster_fixture_eds(f, "'commonLbConfig': {'zoneAwareLbConfig': {}}");

	assert_true(c->balance.zone.on && !c->balance.zone.force_local);
	assert_int_equal(c->balance.zone.routing_percent, 100);
	assert_int_equal(c->balance.zone.min_cluster_size, 6);
	mesh_config_object_release(c);
	c = cluster_fixture_eds(f,
				TYPED("least_request.v3.LeastRequest",
				      ", 'localityLbConfig': {'zoneAwareLbConfig': {'routingEnabled': {'value': 49.5}, "
				      "'minClusterSize': '1', "
				      "'failTrafficOnPanic': true, 'forceLocalZone': {'minSize': 3}, 'localityBasis': "
				      "'HEALTHY_HOSTS_WEIGHT'}}"));
	assert_int_equal(c->balance.zone.routing_percent, 50);
	assert_int_equal(c->balance.zone.min_cluster_size, 1);
	assert_true(c->balance.zone.force_local && c->balance.zone.by_weight && c->fail_traffic_on_panic);
	assert_int_equal(c->balance.zone.force_min, 3);
	mesh_config_object_release(c);
	c = cluster_fixture_eds(f, "");
	assert_false(c->balance.zone.on);
	mesh_config_object_release(c);
	cluster_fixture_refused(f, "'commonLbConfig': {'zoneAwareLbConfig': {'routingEnabled': {'value': -1}}}",
				"common_lb_config.zone_aware_lb_config.routing_enabled", "-1");
	cluster_fixture_refused(
		f, TYPED("random.v3.Random", ", 'localityLbConfig': {'zoneAwareLbConfig': {'localityBasis': 9}}"),
		"locality_basis", "9: unknown");
}

static void subsets(void **state)
{
	struct decode_fixture *f = *state;
	const struct subset_config *subset;
	struct cluster_config *c = cluster_fixture_eds(
		f, SUBSET("'fallbackPolicy': 'DEFAULT_SUBSET', 'defaultSubset': {'v': '1', 'n': 2, 'a': true}, "
			  "'listAsAny': true, "
			  "'panicModeAny': true, 'metadataFallbackPolicy': 'FALLBACK_LIST', 'subsetSelectors': "
			  "[{'keys': ['z', 'a', "
			  "'z'], 'fallbackPolicy': 'KEYS_SUBSET', 'fallbackKeysSubset': ['a']}, {'keys': ['a'], "
			  "'singleHostPerSubset': true}]"));

	subset = c->balance.subset;
	assert_non_null(subset);
	assert_int_equal(subset->fallback, SUBSET_DEFAULT);
	assert_true(subset->list_as_any && subset->panic_any && subset->fallback_list && !subset->redundant_keys);
	assert_int_equal(subset->default_label_count, 3);
	assert_true(is(subset->default_labels[0].key, "a") && is(subset->default_labels[2].value, "1"));
	assert_true(mesh_slice_equal(subset->default_labels[1].value, mesh_slice_make("\0"
										      "2",
										      2)));
	assert_int_equal(subset->selector_count, 2);
	assert_int_equal(subset->selectors[0].key_count, 2);
	assert_true(is(subset->selectors[0].keys[0], "a") && is(subset->selectors[0].keys[1], "z"));
	assert_int_equal(subset->selectors[0].fallback, SUBSET_KEYS);
	assert_true(is(subset->selectors[0].fallback_keys[0], "a"));
	assert_true(subset->selectors[1].single);
	assert_int_equal(subset->selectors[1].fallback, SUBSET_UNDEFINED);
	mesh_config_object_release(c);
	c = cluster_fixture_eds(f, SUBSET("'fallbackPolicy': 'ANY_ENDPOINT'")); /* without selectors it says nothing */
	assert_null(c->balance.subset);
	mesh_config_object_release(c);
	c = cluster_fixture_eds(f, TYPED("subset.v3.Subset",
					 ", 'fallbackPolicy': 'ANY_ENDPOINT', 'allowRedundantKeys': true, "
					 "'subsetSelectors': [{'keys': ['a']}], 'subsetLbPolicy': {'policies': "
					 "[" POLICY("random.v3.Random", "") "]}"));
	assert_int_equal(c->lb, LB_RANDOM);
	assert_int_equal(c->balance.subset->fallback, SUBSET_ANY);
	assert_true(c->balance.subset->redundant_keys);
	mesh_config_object_release(c);
}

static void subsets_refused(void **state)
{
	static const struct {
		const char *rest, *path, *what;
	} cases[] = {
		{KEYS("'keys': []"), "lb_subset_config.subset_selectors[0].keys", "must not be empty"},
		{KEYS("'keys': ['a', 'b'], 'singleHostPerSubset': true"), "single_host_per_subset", "one key"},
		{KEYS("'keys': ['a'], 'fallbackKeysSubset': ['a']"), "fallback_keys_subset", "KEYS_SUBSET only"},
		{KEYS("'keys': ['a'], 'fallbackPolicy': 'KEYS_SUBSET'"), "fallback_keys_subset", "must not be empty"},
		{KEYS("'keys': ['a', 'b'], 'fallbackPolicy': 'KEYS_SUBSET', 'fallbackKeysSubset': ['c']"),
		 "fallback_keys_subset", "\"c\": is not"},
		{KEYS("'keys': ['a'], 'fallbackPolicy': 'KEYS_SUBSET', 'fallbackKeysSubset': ['a']"),
		 "fallback_keys_subset", "fewer keys"},
		{KEYS("'keys': ['a'], 'fallbackPolicy': 5"), "fallback_policy", "5: unknown"},
		{SUBSET("'fallbackPolicy': 3, 'subsetSelectors': [{'keys': ['a']}]"),
		 "lb_subset_config.fallback_policy", "3"},
		{SUBSET("'localityWeightAware': true, 'subsetSelectors': [{'keys': ['a']}]"), "locality_weight_aware",
		 "locality_weighted_lb_config"},
		{SUBSET("'metadataFallbackPolicy': 2, 'subsetSelectors': [{'keys': ['a']}]"),
		 "metadata_fallback_policy", "2"},
		{TYPED("random.v3.Random", "") ", " KEYS("'keys': ['a']"), "lb_subset_config", "load_balancing_policy"},
		{TYPED("random.v3.Random", "") ", 'commonLbConfig': {'zoneAwareLbConfig': {}}", "common_lb_config",
		 "load_balancing_policy"},
		{TYPED("subset.v3.Subset", ", 'subsetSelectors': [{'keys': ['a']}]"), "subset_lb_policy.policies",
		 "no known"},
	};
	struct decode_fixture *f = *state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		cluster_fixture_refused(f, cases[i].rest, cases[i].path, cases[i].what);
}

/* The first that is known, and policies around others. */
static void policies(void **state)
{
	struct decode_fixture *f = *state;
	struct cluster_config *c = cluster_fixture_eds(
		f, TYPED("override_host.v3.OverrideHost",
			 ", 'overrideHostSources': [{'header': 'x'}], 'fallbackPolicy': {'policies': [" POLICY(
				 "maglev.v3.Maglev", "") "]}"));

	assert_int_equal(c->lb, LB_MAGLEV);
	assert_non_null(strstr(decode_fixture_warnings(f), "override_host"));
	mesh_config_object_release(c);
	c = cluster_fixture_eds(
		f, "'loadBalancingPolicy': {'policies': [{'typedExtensionConfig': {'name': 'n', 'typedConfig': "
		   "{'@type': 'envoy.config.cluster.v3.Cluster'}}}, " POLICY(
			   "peak_ewma.v3alpha.PeakEwma", ", 'decayTime': '4s', 'defaultRtt': '0.2s'") "]}");
	assert_int_equal(c->lb, LB_LEAST_REQUEST);
	assert_true(c->balance.ewma.on);
	assert_int_equal(c->balance.ewma.decay_ns, 4 * SECOND);
	assert_int_equal(c->balance.ewma.unknown_ns, SECOND / 5);
	mesh_config_object_release(c);
	cluster_fixture_refused(f, TYPED("peak_ewma.v3alpha.PeakEwma", ", 'decayTime': '0s'"), "decay_time", "0s");
}

static void hashing(void **state)
{
	struct decode_fixture *f = *state;
	struct cluster_config *c = cluster_fixture_eds(f, TYPED("ring_hash.v3.RingHash",
								", 'consistentHashingLbConfig': {'hashBalanceFactor': "
								"150, 'hashPolicy': [{'header': {'headerName': "
								"'X-User'}}, {'cookie': {'name': 'c', 'ttl': '60s', "
								"'path': '/p', 'attributes': [{'name': 'Secure'}, "
								"{'name': 'SameSite', 'value': 'Lax'}]}}, {'cookie': "
								"{'name': 'd', 'ttl': '0s'}}, {'cookie': {'name': "
								"'e'}}]}"));

	assert_int_equal(c->balance.hash_balance_factor, 150);
	assert_int_equal(c->balance.hash_policy_count, 4);
	assert_true(is(c->balance.hash_policies[0].name, "x-user"));
	assert_true(
		is(c->balance.hash_policies[1].cookie_tail, "; Max-Age=60; Path=/p; Secure; SameSite=Lax; HttpOnly"));
	assert_true(is(c->balance.hash_policies[2].cookie_tail, "; HttpOnly")); /* for the session */
	assert_null(c->balance.hash_policies[3].cookie_tail.data);              /* none is made */
	mesh_config_object_release(c);
	cluster_fixture_refused(f,
				TYPED("maglev.v3.Maglev", ", 'consistentHashingLbConfig': {'hashBalanceFactor': 99}"),
				"hash_balance_factor", "99: must be 100");
	cluster_fixture_refused(f,
				TYPED("maglev.v3.Maglev",
				      ", 'consistentHashingLbConfig': {'hashPolicy': [{'cookie': {'name': 'c', "
				      "'ttl': '1s', 'path': '/;a'}}]}"),
				"hash_policy[0].cookie.path", "\"/;a\"");
	cluster_fixture_refused(f,
				TYPED("maglev.v3.Maglev",
				      ", 'consistentHashingLbConfig': {'hashPolicy': [{'cookie': {'name': 'c', "
				      "'ttl': '1s', 'attributes': [{'name': 'a\\nb'}]}}]}"),
				"attributes[0].name", "control characters");
}

/* Values of every kind: equal texts only for equal values. */
static void endpoint_labels(void **state)
{
	struct decode_fixture *f = *state;
	struct cluster_config *c = cluster_fixture_json(
		f, "'name': 'c', 'type': 'STATIC', 'loadAssignment': {'clusterName': 'c', 'policy': "
		   "{'weightedPriorityHealth': true}, 'endpoints': [{'lbEndpoints': [{'endpoint': {'address': "
		   "{'socketAddress': {'address': '10.0.0.1', 'portValue': 80}}}, 'metadata': {'filterMetadata': "
		   "{'envoy.lb': {'text': '1', 'number': 1, 'truth': true, 'word': 'true', 'none': null, 'list': "
		   "['1', 1], 'map': {'b': 1, 'a': '2'}, 'same': {'a': '2', 'b': 1}}}}}]}]}");
	const struct endpoint_config *endpoint;
	const struct lb_label *at;

	assert_non_null(c);
	assert_true(c->inline_endpoints->weighted_priority_health);
	endpoint = &c->inline_endpoints->localities[0].endpoints[0];
	assert_int_equal(endpoint->lb_label_count, 8);
	for (size_t i = 1; i < 8; i++)
		assert_true(mesh_slice_compare(endpoint->lb_labels[i - 1].key, endpoint->lb_labels[i].key) < 0);
	for (size_t i = 0; i < 8; i++)
		for (size_t k = 0; k < i; k++) {
			bool maps = is(endpoint->lb_labels[k].key, "map") && is(endpoint->lb_labels[i].key, "same");

			assert_int_equal(mesh_slice_equal(endpoint->lb_labels[i].value, endpoint->lb_labels[k].value),
					 maps);
		}
	at = &endpoint->lb_labels[0];
	assert_true(is(at->key, "list") && at->list);
	assert_int_equal(at->item_count, 2);
	assert_true(is(at->items[0], "1"));
	assert_false(mesh_slice_equal(at->items[0], at->items[1]));
	mesh_config_object_release(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(slow_start, setup, teardown),
		cmocka_unit_test_setup_teardown(least_request, setup, teardown),
		cmocka_unit_test_setup_teardown(zones, setup, teardown),
		cmocka_unit_test_setup_teardown(subsets, setup, teardown),
		cmocka_unit_test_setup_teardown(subsets_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(policies, setup, teardown),
		cmocka_unit_test_setup_teardown(hashing, setup, teardown),
		cmocka_unit_test_setup_teardown(endpoint_labels, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
