/* SPDX-License-Identifier: Apache-2.0 */
/* What routes, virtual hosts and configurations say beyond their matches comes out in every form a recording lacks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "config/authz.h"
#include "config/cluster.h"
#include "config/subset_wish.h"
#include "support/route_fixture.h"

#define SECOND	1000000000ll
#define MS	1000000ll
#define CENTURY (100ll * 366 * 86400 * SECOND)
#define CLUSTER "'route': {'cluster': 'c'}"

static void defaults(void **state)
{
	const struct route *route = route_fixture_action(*state, CLUSTER);
	struct route_fixture *f = *state;

	assert_int_equal(route->kind, ROUTE_CLUSTER);
	assert_slice(route->cluster, "c");
	assert_int_equal(route->timeout_ns, -1); /* absent is not 0 */
	assert_int_equal(route->idle_timeout_ns, -1);
	assert_false(route->has_stream_limits);
	assert_int_equal(route->max_stream_duration_ns, -1);
	assert_int_equal(route->grpc_timeout_max_ns, -1);
	assert_int_equal(route->upgrade_count, 0);
	assert_int_equal(route->cluster_not_found_status, 503);
	assert_null(route->retry);
	assert_null(route->name.data);
	assert_false(route->has_prefix_rewrite || route->regex_rewrite || route->host_rewrite.data ||
		     route->auto_host_rewrite);
	assert_null(route->authz_filter.data);
	assert_null(route->fail_reason.data);
	assert_false(f->config->ignore_port);
	assert_false(f->config->hosts[0].include_attempt_count);
	assert_null(f->config->hosts[0].retry);
	assert_int_equal(f->config->hosts[0].retry_shadow_buffer_bytes, 0);
	assert_int_equal(f->warnings, 0);
}

static void times(void **state)
{
	const struct route *route = route_fixture_action(
		*state,
		"'name': 'n', 'route': {'cluster': 'c', 'timeout': '0s', 'idleTimeout': '1.000000001s',"
		" 'maxStreamDuration': {'maxStreamDuration': '7s'}, 'clusterNotFoundResponseCode': 'NOT_FOUND'}");

	assert_slice(route->name, "n");
	assert_int_equal(route->timeout_ns, 0);
	assert_int_equal(route->idle_timeout_ns, SECOND + 1);
	assert_true(route->has_stream_limits);
	assert_int_equal(route->max_stream_duration_ns, 7 * SECOND);
	assert_int_equal(route->grpc_timeout_max_ns, -1);
	assert_int_equal(route->cluster_not_found_status, 404);
	route = route_fixture_action(*state, "'route': {'cluster': 'c', 'timeout': '315576000000s',"
					     " 'clusterNotFoundResponseCode': 'INTERNAL_SERVER_ERROR'}");
	assert_false(route->has_stream_limits);
	assert_int_equal(route->timeout_ns, CENTURY); /* so that a clock added to it does not overflow */
	assert_int_equal(route->cluster_not_found_status, 500);
}

static void grpc_times(void **state)
{
	const struct route *route = route_fixture_action(
		*state, "'route': {'cluster': 'c', 'maxGrpcTimeout': '0s', 'grpcTimeoutOffset': '0.010s'}");

	assert_false(route->has_stream_limits);
	assert_int_equal(route->grpc_timeout_max_ns, 0); /* any, which is not none */
	assert_int_equal(route->grpc_timeout_offset_ns, 10 * MS);
	/* the newer fields say it all where they are there */
	route = route_fixture_action(*state, "'route': {'cluster': 'c', 'maxGrpcTimeout': '9s', 'maxStreamDuration': "
					     "{'grpcTimeoutHeaderMax': '2s', 'grpcTimeoutHeaderOffset': '0.5s'}}");
	assert_true(route->has_stream_limits);
	assert_int_equal(route->max_stream_duration_ns, -1);
	assert_int_equal(route->grpc_timeout_max_ns, 2 * SECOND);
	assert_int_equal(route->grpc_timeout_offset_ns, 500 * MS);
}

static void upgrades(void **state)
{
	const struct route *route = route_fixture_action(
		*state, "'route': {'cluster': 'c', 'upgradeConfigs': [{'upgradeType': 'WebSocket', 'enabled': false}, "
			"{'upgradeType': 'spdy/3.1'}]}");

	assert_int_equal(route->upgrade_count, 2);
	assert_slice(route->upgrades[0].protocol, "websocket");
	assert_false(route->upgrades[0].allowed);
	assert_slice(route->upgrades[1].protocol, "spdy/3.1");
	assert_true(route->upgrades[1].allowed);
}

static void hash_policies(void **state)
{
	struct route_fixture *f = *state;
	const struct route *route = route_fixture_action(
		f, "'route': {'cluster': 'c', 'hashPolicy': [{'header': {'headerName': 'X-User'}, 'terminal': true},"
		   " {'header': {'headerName': ':path', 'regexRewrite': {'pattern': {'regex': '^/(a)'}, 'substitution': '\\\\1'}}},"
		   " {'connectionProperties': {}}, {'connectionProperties': {'sourceIp': true}},"
		   " {'cookie': {'name': 'Session'}}, {'queryParameter': {'name': 'Key'}, 'terminal': true}]}");

	assert_int_equal(f->warnings, 0);
	assert_int_equal(route->hash_policy_count, 5);
	assert_int_equal(route->hash_policies[0].source, HASH_HEADER);
	assert_slice(route->hash_policies[0].name, "x-user");
	assert_true(route->hash_policies[0].terminal);
	assert_null(route->hash_policies[0].rewrite);
	assert_slice(route->hash_policies[1].name, ":path");
	assert_false(route->hash_policies[1].terminal);
	assert_non_null(route->hash_policies[1].rewrite);
	assert_slice(route->hash_policies[1].rewrite_with, "\\1");
	assert_int_equal(route->hash_policies[2].source, HASH_SOURCE_IP);
	assert_int_equal(route->hash_policies[3].source, HASH_COOKIE);
	assert_slice(route->hash_policies[3].name, "Session");
	assert_int_equal(route->hash_policies[4].source, HASH_QUERY);
	assert_slice(route->hash_policies[4].name, "Key");
	assert_true(route->hash_policies[4].terminal);
}

static void destinations(void **state)
{
	const struct route *route = route_fixture_action(*state, "'route': {'clusterHeader': 'X-To'}");

	assert_slice(route->cluster_header, "x-to");
	assert_null(route->cluster.data);
	route = route_fixture_action(
		*state,
		"'route': {'weightedClusters': {'totalWeight': 5, 'clusters': ["
		"{'name': 'a', 'weight': 0}, {'name': 'b', 'weight': 4294967295, 'hostRewriteLiteral': 'b.example',"
		" 'requestHeadersToAdd': [{'header': {'key': 'X-B', 'value': '1'}}],"
		" 'responseHeadersToRemove': ['X-Gone'],"
		" 'metadataMatch': {'filterMetadata': {'envoy.lb': {'version': 'v1'}}}}]}}");
	assert_int_equal(route->weighted_count, 2);
	assert_int_equal(route->weighted_total, UINT32_MAX);
	assert_int_equal(route->weighted[0].weight, 0);
	assert_null(route->weighted[0].subset);
	assert_slice(route->weighted[1].host_rewrite, "b.example");
	assert_int_equal(route->weighted[1].subset->match.label_count, 1);
	assert_slice(route->weighted[1].subset->match.labels[0].key, "version");
	assert_slice(route->weighted[1].subset->match.labels[0].value, "v1");
	assert_slice(route->weighted[1].mutations.request_add[0].name, "x-b");
	assert_slice(route->weighted[1].mutations.response_remove[0], "x-gone");
}

static void rewrites(void **state)
{
	const struct route *route =
		route_fixture_action(*state, "'route': {'cluster': 'c', 'prefixRewrite': '/b', 'autoHostRewrite': "
					     "true, 'appendXForwardedHost': true}");

	assert_true(route->has_prefix_rewrite && route->auto_host_rewrite && route->append_forwarded_host);
	assert_slice(route->prefix_rewrite, "/b");
	route = route_fixture_action(*state, "'route': {'cluster': 'c', 'autoHostRewrite': false}");
	assert_false(route->auto_host_rewrite || route->append_forwarded_host);
	route = route_fixture_action(
		*state, "'route': {'cluster': 'c', 'hostRewriteLiteral': 'b.example',"
			" 'regexRewrite': {'pattern': {'regex': '^/(a)'}, 'substitution': '/\\\\1/\\\\0'}}");
	assert_slice(route->host_rewrite, "b.example");
	assert_slice(route->regex_rewrite_with, "/\\1/\\0");
	assert_int_equal(route->kind, ROUTE_CLUSTER);
}

static void redirects(void **state)
{
	static const struct {
		const char *code;
		uint32_t status;
	} codes[] = {{"MOVED_PERMANENTLY", 301},
		     {"FOUND", 302},
		     {"SEE_OTHER", 303},
		     {"TEMPORARY_REDIRECT", 307},
		     {"PERMANENT_REDIRECT", 308}};
	const struct route *route;

	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
		struct route_fixture *f = *state;

		route = route_fixture_action(
			f, mesh_arena_printf(&f->arena, "'redirect': {'responseCode': '%s'}", codes[i].code).data);
		assert_int_equal(route->kind, ROUTE_REDIRECT);
		assert_int_equal(route->redirect_status, codes[i].status);
		assert_null(route->redirect_scheme.data);
		assert_null(route->redirect_host.data);
		assert_null(route->redirect_path.data);
	}
	route = route_fixture_action(*state,
				     "'redirect': {'httpsRedirect': true, 'portRedirect': 8443, 'stripQuery': true,"
				     " 'prefixRewrite': '/b'}");
	assert_slice(route->redirect_scheme, "https");
	assert_int_equal(route->redirect_port, 8443);
	assert_true(route->redirect_strip_query && route->redirect_prefix);
	assert_slice(route->redirect_path, "/b");
	route = route_fixture_action(*state, "'redirect': {'httpsRedirect': false}");
	assert_null(route->redirect_scheme.data);
	route = route_fixture_action(
		*state, "'redirect': {'schemeRedirect': 'http', 'hostRedirect': 'h', 'pathRedirect': '/p?q'}");
	assert_slice(route->redirect_scheme, "http");
	assert_slice(route->redirect_host, "h");
	assert_slice(route->redirect_path, "/p?q");
	assert_false(route->redirect_prefix || route->redirect_strip_query);
}

static void direct_responses(void **state)
{
	struct route_fixture *f = *state;
	const struct route *route = route_fixture_action(f, "'directResponse': {'status': 200}");
	char *body = mesh_arena_zalloc(&f->arena, 4098);
	struct mesh_slice action;

	assert_int_equal(route->kind, ROUTE_DIRECT_RESPONSE);
	assert_null(route->direct_body.data);
	assert_int_equal(route->timeout_ns, -1);
	assert_int_equal(route->idle_timeout_ns, -1);
	route = route_fixture_action(f, "'directResponse': {'status': 599, 'body': {'inlineBytes': 'AGE='}}");
	assert_int_equal(route->direct_status, 599);
	assert_int_equal(route->direct_body.len, 2);
	assert_memory_equal(route->direct_body.data, "\0a", 2);

	assert_non_null(body);
	memset(body, 'a', 4097);
	action = mesh_arena_printf(&f->arena, "'directResponse': {'status': 200, 'body': {'inlineString': '%s'}}",
				   body + 1);
	assert_int_equal(route_fixture_action(f, action.data)->direct_body.len,
			 4096); /* as many without a word about it */
	action =
		mesh_arena_printf(&f->arena, "'directResponse': {'status': 200, 'body': {'inlineString': '%s'}}", body);
	assert_null(route_fixture_try(f, route_fixture_pack_route(f, "'prefix': '/'", action.data)));
	assert_non_null(strstr(f->d.why.text, "direct_response.body: 4097 bytes: longer than"));
	action = mesh_arena_printf(
		&f->arena,
		"'maxDirectResponseBodySizeBytes': 4097, 'virtualHosts': [{'name': 'h', 'domains': ['*'],"
		" 'routes': [{'match': {'prefix': '/'}, %s}]}]",
		action.data);
	assert_int_equal(route_fixture_decode(f, route_fixture_pack(f, action.data))->hosts->routes->direct_body.len,
			 4097);
	route = route_fixture_action(f, "'nonForwardingAction': {}");
	assert_int_equal(route->kind, ROUTE_NON_FORWARDING);
}

static const struct retry_config *retry(struct route_fixture *f, const char *members)
{
	struct mesh_slice action =
		mesh_arena_printf(&f->arena, "'route': {'cluster': 'c', 'retryPolicy': {%s}}", members);
	const struct retry_config *made = route_fixture_action(f, action.data)->retry;

	assert_non_null(made);
	return made;
}

static void retries(void **state)
{
	const struct retry_config *made = retry(*state, "");

	assert_int_equal(made->on, 0);
	assert_int_equal(made->retries, 1);
	assert_int_equal(made->host_selection_attempts, 1);
	assert_false(made->previous_hosts || made->previous_priorities);
	made = retry(*state, "'retryOn': ' 5xx , unheard-of,envoy-ratelimited,retriable-4xx,reset-before-request,"
			     "retriable-headers,deadline-exceeded,internal,resource-exhausted', 'numRetries': 0,"
			     " 'retriableStatusCodes': [503, 429], 'perTryTimeout': '0.25s', 'perTryIdleTimeout': '3s',"
			     " 'retriableHeaders': [{'name': 'X-Again', 'presentMatch': true}],"
			     " 'retriableRequestHeaders': [{'name': ':method', 'stringMatch': {'exact': 'GET'}}]");
	assert_int_equal(made->on, RETRY_5XX | RETRY_ENVOY_RATELIMITED | RETRY_RETRIABLE_4XX |
					   RETRY_RESET_BEFORE_REQUEST | RETRY_RETRIABLE_HEADERS |
					   RETRY_GRPC_DEADLINE_EXCEEDED | RETRY_GRPC_INTERNAL |
					   RETRY_GRPC_RESOURCE_EXHAUSTED);
	assert_int_equal(made->retries, 0);
	assert_int_equal(made->status_code_count, 2);
	assert_int_equal(made->status_codes[1], 429);
	assert_int_equal(made->per_try_timeout_ns, 250 * MS);
	assert_int_equal(made->per_try_idle_timeout_ns, 3 * SECOND);
	assert_int_equal(made->retriable_header_count, 1);
	assert_slice(made->retriable_headers[0].name, "x-again");
	assert_slice(made->retriable_request_headers[0].name, ":method");
	made = retry(*state, "'retryOn': '503,reset'"); /* a code is no word: istiod sends it in its own field */
	assert_int_equal(made->on, RETRY_RESET);
	assert_int_equal(made->status_code_count, 0);
}

static void backoffs(void **state)
{
	const struct retry_config *made =
		retry(*state, "'retryBackOff': {'baseInterval': '0.1s', 'maxInterval': '0.1s'}");

	assert_int_equal(made->backoff_base_ns, 100 * MS);
	assert_int_equal(made->backoff_max_ns, 100 * MS);
	made = retry(*state, "'retryBackOff': {'baseInterval': '0.1s'}");
	assert_int_equal(made->backoff_max_ns, SECOND);
	/* below a millisecond both are rounded up to it */
	made = retry(*state, "'retryBackOff': {'baseInterval': '0.0005s', 'maxInterval': '0.0006s'}");
	assert_int_equal(made->backoff_base_ns, MS);
	assert_int_equal(made->backoff_max_ns, MS);
}

static void retry_extensions(void **state)
{
	struct route_fixture *f = *state;
	const struct retry_config *made = retry(
		f, "'retryHostPredicate': [{'name': 'mine', 'typedConfig': {'@type': 'envoy.extensions.retry.host."
		   "previous_hosts.v3.PreviousHostsPredicate'}}], 'hostSelectionRetryMaxAttempts': '5000000000'");

	assert_true(made->previous_hosts); /* the type decides, too */
	assert_int_equal(made->host_selection_attempts, UINT32_MAX);
	assert_int_equal(f->warnings, 0);
	made = retry(f, "'retryHostPredicate': [{'name': 'unheard-of'}], 'hostSelectionRetryMaxAttempts': '-3'");
	assert_false(made->previous_hosts);
	assert_int_equal(made->host_selection_attempts, 1);
	assert_int_equal(f->warnings, 1);
	assert_string_equal(f->warning, "retry_host_predicate \"unheard-of\": passed over");
	assert_int_equal(mesh_buf_len(&f->d.notes), 0);
	made = retry(f, "'retryPriority': {'name': 'unheard-of'}");
	assert_false(made->previous_priorities);
	assert_string_equal(f->warning, "retry_priority \"unheard-of\": passed over");
}

/* Both levels have one: which holds is decided when a call is made. */
static void virtual_hosts(void **state)
{
	struct virtual_host *host = route_fixture_host(
		*state, "'includeRequestAttemptCount': true, 'includeAttemptCountInResponse': true,"
			" 'perRequestBufferLimitBytes': 1024, 'retryPolicy': {'retryOn': 'reset', 'numRetries': 7},"
			" 'routes': [{'match': {'prefix': '/a'}, 'route': {'cluster': 'c', 'retryPolicy': {}}},"
			" {'match': {'prefix': '/'}, " CLUSTER "}]");

	assert_true(host->include_attempt_count && host->include_attempt_count_response);
	assert_int_equal(host->retry_shadow_buffer_bytes, 1024);
	assert_int_equal(host->retry->on, RETRY_RESET);
	assert_int_equal(host->retry->retries, 7);
	assert_int_equal(host->routes[0].retry->on, 0);
	assert_null(host->routes[1].retry);
	host = route_fixture_host(*state, "'requestBodyBufferLimit': '5000000000'");
	assert_int_equal(host->retry_shadow_buffer_bytes, UINT32_MAX);
}

static void mutations(void **state)
{
	struct route_config *config = route_fixture_decode(
		*state,
		route_fixture_pack(
			*state,
			"'internalOnlyHeaders': ['X-In'], 'requestHeadersToAdd': ["
			"{'header': {'key': 'X-A', 'value': '100%%'}, 'keepEmptyValue': true},"
			"{'header': {'key': 'b', 'value': 'v'}, 'append': false},"
			"{'header': {'key': 'c', 'value': 'v'}, 'append': true},"
			"{'header': {'key': 'd', 'value': 'v'}, 'appendAction': 'ADD_IF_ABSENT'},"
			"{'header': {'key': 'e', 'rawValue': 'dw=='}, 'appendAction': 'OVERWRITE_IF_EXISTS'},"
			"{'header': {'key': 'f'}}]"));
	const struct header_mutation *add = config->mutations.request_add;

	assert_slice(config->internal_only_headers[0], "x-in");
	assert_int_equal(config->mutations.request_add_count, 6);
	assert_slice(add[0].name, "x-a");
	assert_slice(add[0].value, "100%");
	assert_true(add[0].keep_empty && !add[1].keep_empty);
	assert_int_equal(add[0].how, HEADER_APPEND);
	assert_int_equal(add[1].how, HEADER_OVERWRITE_OR_ADD);
	assert_int_equal(add[2].how, HEADER_APPEND);
	assert_int_equal(add[3].how, HEADER_ADD_IF_ABSENT);
	assert_int_equal(add[4].how, HEADER_OVERWRITE_IF_EXISTS);
	assert_slice(add[4].value, "w");
	assert_int_equal(add[5].value.len, 0);
}

#define RBAC(rules) "{'@type': 'envoy.extensions.filters.http.rbac.v3.RBACPerRoute'" rules "}"
#define DENY_ALL                                                                                                       \
	", 'rbac': {'rules': {'action': 'DENY', 'policies': {'p': {'permissions': [{'any': true}],"                    \
	" 'principals': [{'any': true}]}}}}"

/* The nearest level decides, one without rules turns that filter off, and rules for two filters are refused. */
static void authorization(void **state)
{
	struct virtual_host *host = route_fixture_host(
		*state, "'typedPerFilterConfig': {'envoy.filters.http.rbac': " RBAC(
				DENY_ALL) "}, 'routes': ["
					  "{'match': {'prefix': '/a'}, " CLUSTER "},"
					  "{'match': {'prefix': '/'}, " CLUSTER
					  ", 'typedPerFilterConfig': {'envoy.filters.http.rbac': " RBAC("") "}},"
					  "{'match': {'prefix': '/b'}, " CLUSTER
					  ", 'typedPerFilterConfig': {'another': " RBAC("") "}}]");

	assert_slice(host->routes[0].authz_filter, "envoy.filters.http.rbac");
	assert_int_equal(host->routes[0].authz->rules->action, AUTHZ_DENY);
	assert_int_equal(host->routes[0].authz->rules->count, 1);
	assert_slice(host->routes[0].authz->rules->policies[0].name, "p");
	assert_non_null(host->routes[1].authz_filter.data);
	assert_null(host->routes[1].authz);
	assert_int_equal(host->routes[1].kind, ROUTE_CLUSTER);
	assert_int_equal(host->routes[2].kind, ROUTE_FAIL_CLOSED);
	assert_non_null(host->routes[2].authz); /* and what is in force stays */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(defaults, route_fixture_setup, route_fixture_teardown),
		cmocka_unit_test_setup_teardown(hash_policies, route_fixture_setup, route_fixture_teardown),
		cmocka_unit_test_setup_teardown(grpc_times, route_fixture_setup, route_fixture_teardown),
		cmocka_unit_test_setup_teardown(upgrades, route_fixture_setup, route_fixture_teardown),
		cmocka_unit_test_setup_teardown(times, route_fixture_setup, route_fixture_teardown),
		cmocka_unit_test_setup_teardown(destinations, route_fixture_setup, route_fixture_teardown),
		cmocka_unit_test_setup_teardown(rewrites, route_fixture_setup, route_fixture_teardown),
		cmocka_unit_test_setup_teardown(redirects, route_fixture_setup, route_fixture_teardown),
		cmocka_unit_test_setup_teardown(direct_responses, route_fixture_setup, route_fixture_teardown),
		cmocka_unit_test_setup_teardown(retries, route_fixture_setup, route_fixture_teardown),
		cmocka_unit_test_setup_teardown(backoffs, route_fixture_setup, route_fixture_teardown),
		cmocka_unit_test_setup_teardown(retry_extensions, route_fixture_setup, route_fixture_teardown),
		cmocka_unit_test_setup_teardown(virtual_hosts, route_fixture_setup, route_fixture_teardown),
		cmocka_unit_test_setup_teardown(mutations, route_fixture_setup, route_fixture_teardown),
		cmocka_unit_test_setup_teardown(authorization, route_fixture_setup, route_fixture_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
