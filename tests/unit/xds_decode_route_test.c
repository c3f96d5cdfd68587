/* SPDX-License-Identifier: Apache-2.0 */
/* Route configurations come out as istiod meant them: recorded responses, value by value. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "support/route_fixture.h"

#define SAMPLES MESH_TEST_SOURCE_DIR "/tests/xds/samples/"
#define SECOND	1000000000ll
#define MS	1000000ll

/* what istiod sends where nobody said anything */
enum {
	RETRY_DEFAULT = RETRY_CONNECT_FAILURE | RETRY_REFUSED_STREAM | RETRY_GRPC_UNAVAILABLE | RETRY_GRPC_CANCELLED |
			RETRY_RETRIABLE_STATUS_CODES,
};

/* The resource of that name out of a recorded response; nothing in it may fail closed. */
static struct route_config *recorded(struct route_fixture *f, const char *file, const char *name)
{
	size_t count;
	struct xds_resource *resources = xds_sample_load(&f->arena, file, &count);

	for (size_t i = 0; i < count; i++) {
		struct route_config *config = route_fixture_decode(f, resources[i].bytes);

		assert_int_equal(mesh_buf_len(&f->d.notes), 0);
		if (mesh_slice_equal(config->object.item.name, mesh_slice_of(name)))
			return config;
	}
	fail_msg("no %s in %s", name, file);
	return NULL;
}

static void assert_default_retry(const struct retry_config *retry, bool previous_hosts)
{
	assert_non_null(retry);
	assert_int_equal(retry->on, RETRY_DEFAULT);
	assert_int_equal(retry->retries, 2);
	assert_int_equal(retry->status_code_count, 0);
	assert_int_equal(retry->host_selection_attempts, 5);
	assert_int_equal(retry->previous_hosts, previous_hosts);
	assert_false(retry->previous_priorities);
	assert_int_equal(retry->per_try_timeout_ns, 0);
	assert_int_equal(retry->per_try_idle_timeout_ns, 0);
	assert_int_equal(retry->backoff_base_ns, 25 * MS);
	assert_int_equal(retry->backoff_max_ns, 250 * MS);
}

static void recorded_secure(void **state)
{
	struct route_config *config = recorded(*state, SAMPLES "secure.rds.json", "9080");
	const struct virtual_host *reviews = &config->hosts[0], *any = &config->hosts[1];
	const struct route *jason = &reviews->routes[0], *rest = &reviews->routes[1];

	assert_true(config->ignore_port);
	assert_int_equal(config->host_count, 2);
	assert_int_equal(config->exact_count, 6);
	assert_int_equal(config->suffix_count + config->prefix_count, 0);
	assert_ptr_equal(config->any, any);
	assert_slice(config->exact[0].text, "10.96.0.11"); /* sorted */
	for (size_t i = 0; i < config->exact_count; i++) {
		assert_ptr_equal(config->exact[i].host, reviews);
		assert_int_equal(config->exact[i].hash, mesh_slice_hash(config->exact[i].text));
	}
	assert_slice(reviews->name, "reviews.default.svc.cluster.local:9080");
	assert_int_equal(reviews->domain_count, 6);
	assert_true(reviews->include_attempt_count);
	assert_false(reviews->include_attempt_count_response);
	assert_null(reviews->retry);
	assert_int_equal(reviews->route_count, 2);

	assert_int_equal(jason->kind, ROUTE_CLUSTER);
	assert_slice(jason->cluster, "outbound|9080|v2|reviews.default.svc.cluster.local");
	assert_int_equal(jason->cluster_hash, mesh_slice_hash(jason->cluster));
	assert_int_equal(jason->timeout_ns, 0);
	assert_int_equal(jason->idle_timeout_ns, -1);
	assert_int_equal(jason->max_stream_duration_ns, -1);
	assert_int_equal(jason->grpc_timeout_max_ns, 0);
	assert_int_equal(jason->match.header_count, 1);
	assert_slice(jason->match.headers[0].name, "end-user");
	assert_default_retry(jason->retry, true);

	assert_int_equal(rest->weighted_count, 2);
	assert_int_equal(rest->weighted_total, 100);
	assert_slice(rest->weighted[0].name, "outbound|9080|v1|reviews.default.svc.cluster.local");
	assert_slice(rest->weighted[1].name, "outbound|9080|v3|reviews.default.svc.cluster.local");
	assert_int_equal(rest->weighted[1].weight, 50);
	assert_int_equal(rest->weighted[1].hash, mesh_slice_hash(rest->weighted[1].name));
	assert_null(rest->cluster.data);
	assert_int_equal(rest->timeout_ns, 10 * SECOND);
	assert_int_equal(rest->retry->on, RETRY_5XX | RETRY_RESET);
	assert_int_equal(rest->retry->retries, 3);
	assert_int_equal(rest->retry->per_try_timeout_ns, 2 * SECOND);

	assert_slice(any->routes[0].name, "allow_any");
	assert_slice(any->routes[0].cluster, "PassthroughCluster");
	assert_null(any->routes[0].retry);
}

static void recorded_matches(void **state)
{
	struct route_config *config = recorded(*state, SAMPLES "strict.client.sotw.rds.pb", "9080");
	const struct route *routes = config->hosts[0].routes;
	const struct header_match *headers = routes[1].match.headers;
	const struct query_match *queries = routes[1].match.queries;

	assert_int_equal(config->hosts[0].route_count, 9);
	assert_int_equal(routes[0].match.kind, PATH_MATCH_EXACT);
	assert_slice(routes[0].match.path, "/exact");
	assert_slice(routes[0].match.headers[0].name, ":method");
	assert_int_equal(routes[0].timeout_ns, 3 * SECOND);
	assert_null(routes[0].retry); /* istiod sends none where attempts are 0 */

	assert_int_equal(routes[1].match.kind, PATH_MATCH_PREFIX);
	assert_false(routes[1].match.ignore_case);
	assert_int_equal(routes[1].match.header_count, 6);
	assert_slice(headers[0].name, "x-absent");
	assert_true(headers[0].kind == HEADER_MATCH_PRESENT && headers[0].invert);
	assert_true(headers[2].kind == HEADER_MATCH_STRING && headers[2].invert && headers[2].missing_as_empty);
	assert_slice(headers[2].string.text, "no");
	assert_int_equal(headers[3].string.kind, STRING_MATCH_PREFIX);
	assert_true(headers[4].kind == HEADER_MATCH_PRESENT && !headers[4].invert);
	assert_true(headers[5].string.kind == STRING_MATCH_REGEX && headers[5].string.regex);
	assert_int_equal(routes[1].match.query_count, 3);
	assert_int_equal(queries[0].string.kind, STRING_MATCH_PREFIX);
	assert_int_equal(queries[1].string.kind, STRING_MATCH_REGEX);
	assert_int_equal(queries[2].string.kind, STRING_MATCH_EXACT);
	assert_slice(queries[2].name, "exact");
	assert_true(routes[2].match.ignore_case);
	assert_true(routes[3].match.kind == PATH_MATCH_REGEX && routes[3].match.regex);
}

static void recorded_actions(void **state)
{
	struct route_config *config = recorded(*state, SAMPLES "strict.client.sotw.rds.json", "9080");
	const struct route *routes = config->hosts[0].routes;
	const struct header_mutations *mutations = &routes[1].mutations;

	assert_true(routes[1].has_prefix_rewrite);
	assert_slice(routes[1].prefix_rewrite, "/rewritten");
	assert_int_equal(mutations->request_add_count, 3);
	assert_slice(mutations->request_add[1].name, "x-set");
	assert_slice(mutations->request_add[1].value, "1");
	assert_int_equal(mutations->request_add[1].how, HEADER_OVERWRITE_OR_ADD);
	assert_int_equal(mutations->request_add[2].how, HEADER_APPEND);
	assert_int_equal(mutations->request_remove_count, 1);
	assert_slice(mutations->request_remove[0], "x-gone");
	assert_int_equal(mutations->response_add_count, 2);
	assert_int_equal(mutations->response_add[1].how, HEADER_APPEND);
	assert_slice(mutations->response_remove[0], "x-rgone");

	assert_non_null(routes[3].regex_rewrite);
	assert_slice(routes[3].regex_rewrite_with, "/\\2?v=\\1");
	assert_slice(routes[3].host_rewrite, "other.example");
	assert_default_retry(routes[3].retry, false);
	assert_int_equal(routes[4].kind, ROUTE_REDIRECT);
	assert_int_equal(routes[4].redirect_status, 308);
	assert_slice(routes[4].redirect_host, "new.example");
	assert_slice(routes[4].redirect_path, "/new");
	assert_false(routes[4].redirect_prefix);
	assert_int_equal(routes[5].kind, ROUTE_DIRECT_RESPONSE);
	assert_int_equal(routes[5].direct_status, 418);
	assert_slice(routes[5].direct_body, "short and stout");
	assert_int_equal(routes[6].kind, ROUTE_CLUSTER);
	assert_int_equal(routes[6].fault->delay_ns, 1000 * MS);
	assert_int_equal(routes[6].fault->delay_share.numerator, 100000);
	assert_int_equal(routes[6].fault->abort_status, 503);
	assert_int_equal(routes[6].fault->abort_share.numerator, 55000);
	assert_int_equal(routes[7].kind, ROUTE_CLUSTER); /* a mirror is passed over */
	assert_int_equal(routes[7].cors->origin_count, 2);
	assert_slice(routes[7].cors->methods, "GET,POST");
	assert_int_equal(routes[7].cors->forward, CORS_YES);
	assert_int_equal(routes[8].weighted_count, 3);
	assert_int_equal(routes[8].weighted_total, 100);
	assert_int_equal(routes[8].weighted[2].weight, 50);
	assert_int_equal(routes[8].retry->on, RETRY_GATEWAY_ERROR | RETRY_CONNECT_FAILURE | RETRY_REFUSED_STREAM |
						      RETRY_RESET | RETRY_RETRIABLE_STATUS_CODES);
	assert_int_equal(routes[8].retry->status_code_count, 1);
	assert_int_equal(routes[8].retry->status_codes[0], 503);
	assert_true(routes[8].retry->previous_priorities);
	assert_int_equal(routes[8].retry->previous_priorities_update, 2);
	assert_int_equal(routes[8].retry->backoff_base_ns, 50 * MS);
	assert_int_equal(routes[8].retry->backoff_max_ns, 500 * MS);
	assert_false(routes[8].retry->previous_hosts);
}

/* Whatever istiod was recorded to send is taken, and fails closed nowhere. */
static void recorded_all(void **state)
{
	static const char *const files[] = {
		"k8s-sidecar.rds.json",		 "mixed.client.delta.rds.json", "mixed.client.delta.rds.pb",
		"removed.client.delta.rds.json", "removed.client.delta.rds.pb", "secure.rds.json",
		"strict.client.sotw.rds.json",	 "strict.client.sotw.rds.pb",
	};
	size_t total = 0;

	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		struct route_fixture *f = *state;
		char path[256];
		size_t count;
		struct xds_resource *resources;

		snprintf(path, sizeof(path), SAMPLES "%s", files[i]);
		resources = xds_sample_load(&f->arena, path, &count);
		for (size_t k = 0; k < count; k++) {
			struct route_config *config = route_fixture_decode(f, resources[k].bytes);

			assert_non_null(config->any);
			if (mesh_buf_len(&f->d.notes))
				fail_msg("%s: %.*s", files[i], (int)mesh_buf_len(&f->d.notes),
					 mesh_buf_slice(&f->d.notes).data);
			for (size_t h = 0; h < config->host_count; h++) {
				assert_true(config->hosts[h].include_attempt_count);
				for (size_t r = 0; r < config->hosts[h].route_count; r++)
					assert_int_not_equal(config->hosts[h].routes[r].kind, ROUTE_FAIL_CLOSED);
			}
			total++;
		}
	}
	assert_int_equal(total, 1 + 5 + 5 + 2 + 2 + 1 + 6 + 6);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(recorded_secure, route_fixture_setup, route_fixture_teardown),
		cmocka_unit_test_setup_teardown(recorded_matches, route_fixture_setup, route_fixture_teardown),
		cmocka_unit_test_setup_teardown(recorded_actions, route_fixture_setup, route_fixture_teardown),
		cmocka_unit_test_setup_teardown(recorded_all, route_fixture_setup, route_fixture_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
