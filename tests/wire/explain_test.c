/* SPDX-License-Identifier: Apache-2.0 */
/* What would become of a request is told as a call decides it, and nothing is sent for it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include <mesh/mesh.h>

#include "config/mirror.h"
#include "support/data_plane.h"
#include "support/raw_peer.h"

enum { WAIT_MS = 10000 };

struct scene {
	struct data_plane plane;
	struct raw_server server;
	atomic_uint arrived;
};

static struct scene *the_scene;

static void serve(struct raw_server *server, int fd, unsigned number)
{
	char request[4096];

	while (raw_response(fd, request, sizeof(request))) {
		atomic_fetch_add(&the_scene->arrived, 1);
		raw_say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
	}
}

/* Four routes: for a header, for a path, an answer of its own, and the one of the fixture with changes. */
static void edit_routes(struct data_plane *plane, struct route_config *routes, bool inbound)
{
	static struct header_match header[] = {
		{.name = {"x-user", 6}, .kind = HEADER_MATCH_STRING, .string = {.kind = STRING_MATCH_EXACT, .text = {"bob", 3}}}};
	static struct header_mutation add[] = {{.how = HEADER_OVERWRITE_OR_ADD, .name = {"x-added", 7}, .value = {"yes", 3}}};
	static struct mesh_slice removed[] = {{"x-secret", 8}};
	static struct route four[4];
	struct route *last;

	if (inbound)
		return;
	memset(four, 0, sizeof(four));
	for (size_t i = 0; i < 4; i++)
		four[i] = routes->hosts[0].routes[0];
	four[0].name = MESH_SLICE("for-bob");
	four[0].match.headers = header;
	four[0].match.header_count = 1;
	four[1].name = MESH_SLICE("for-v2");
	four[1].match.kind = PATH_MATCH_PREFIX;
	four[1].match.path = MESH_SLICE("/v2");
	four[2].name = MESH_SLICE("teapot");
	four[2].match.kind = PATH_MATCH_EXACT;
	four[2].match.path = MESH_SLICE("/tea");
	four[2].kind = ROUTE_DIRECT_RESPONSE;
	four[2].direct_status = 418;
	last = &four[3];
	last->name = MESH_SLICE("rest");
	last->host_rewrite = MESH_SLICE("other.example");
	last->mutations.request_add = add;
	last->mutations.request_add_count = 1;
	last->mutations.request_remove = removed;
	last->mutations.request_remove_count = 1;
	routes->hosts[0].routes = four;
	routes->hosts[0].route_count = 4;
}

static int open_scene(void **state)
{
	struct scene *scene = calloc(1, sizeof(*scene));

	the_scene = scene;
	assert_int_equal(data_plane_open(&scene->plane, 1, &mesh_mem_default), 0);
	scene->plane.user = scene;
	scene->plane.edit_routes = edit_routes;
	scene->server.serve = serve;
	raw_server_start(&scene->server);
	scene->plane.ports[scene->plane.port_count++] = scene->server.port;
	data_plane_publish(&scene->plane);
	*state = scene;
	return 0;
}

static int close_scene(void **state)
{
	struct scene *scene = *state;

	data_plane_close(&scene->plane);
	raw_server_stop(&scene->server);
	free(scene);
	return 0;
}

static int keep(void *user, struct mesh_slice text)
{
	char **kept = user;

	*kept = strndup(text.data, text.len);
	return *kept ? 0 : MESH_ERROR_NOMEM;
}

static struct mesh_request ask(const char *authority, const char *path, const struct mesh_header *headers, size_t count)
{
	return (struct mesh_request){.size = sizeof(struct mesh_request), .authority = mesh_slice_of(authority),
				     .path = mesh_slice_of(path), .headers = headers, .header_count = count};
}

static json_t *explain(struct scene *scene, const struct mesh_request *request)
{
	char *text = NULL;
	json_t *told;

	assert_int_equal(mesh_explain(scene->plane.mesh, request, MESH_EXPLAIN_JSON, keep, &text), 0);
	told = json_loads(text, 0, NULL);
	if (!told)
		print_error("%s\n", text);
	assert_non_null(told);
	free(text);
	return told;
}

/* The value at "a.b.0.c". */
static json_t *at(json_t *tree, const char *path)
{
	char copy[128], *rest = copy, *word;

	snprintf(copy, sizeof(copy), "%s", path);
	while (tree && (word = strsep(&rest, ".")))
		tree = json_is_array(tree) ? json_array_get(tree, strtoul(word, NULL, 10)) : json_object_get(tree, word);
	return tree;
}

static void assert_says(json_t *tree, const char *path, const char *expected)
{
	json_t *value = at(tree, path);

	if (!json_is_string(value))
		print_error("no text at %s\n", path);
	assert_true(json_is_string(value));
	assert_string_equal(json_string_value(value), expected);
}

static void a_route_is_told_with_all_before_it(void **state)
{
	struct scene *scene = *state;
	const struct mesh_header headers[] = {{MESH_SLICE("x-user"), MESH_SLICE("alice")},
					      {MESH_SLICE("x-secret"), MESH_SLICE("hunter2")},
					      {MESH_SLICE("x-kept"), MESH_SLICE("hunter3")}};
	struct mesh_request request = ask("reviews:9080", "/v1?q=1", headers, 3);
	json_t *told = explain(scene, &request);
	char endpoint[32], *text = NULL;

	assert_says(told, "request.path", "/v1?q=1");
	assert_says(told, "routes_passed_over.0.name", "for-bob");
	assert_says(told, "routes_passed_over.0.because", "header x-user: wanted exactly \"bob\"");
	assert_says(told, "routes_passed_over.1.because", "path: wanted prefix /v2");
	assert_says(told, "routes_passed_over.2.because", "path: wanted exact /tea");
	assert_null(at(told, "routes_passed_over.3"));
	assert_says(told, "route.name", "rest");
	assert_says(told, "route.action", "to a cluster");
	assert_says(told, "request_as_sent.authority", "other.example");
	assert_says(told, "request_as_sent.headers_removed.0", "x-secret");
	snprintf(endpoint, sizeof(endpoint), "127.0.0.1:%u", scene->server.port);
	assert_says(told, "cluster.endpoints.0.address", endpoint);
	assert_says(told, "cluster.endpoints.0.health", "healthy");
	assert_true(json_is_true(at(told, "cluster.endpoints.0.chosen")));
	assert_says(told, "connection.endpoint", endpoint);
	assert_says(told, "connection.tls", "plaintext");
	assert_null(at(told, "error"));
	json_decref(told);
	/* the other form says the same, and what the application's headers hold is nobody's to read */
	assert_int_equal(mesh_explain(scene->plane.mesh, &request, MESH_EXPLAIN_TEXT, keep, &text), 0);
	assert_non_null(strstr(text, "because: path: wanted prefix /v2\n"));
	assert_non_null(strstr(text, "    - x-added: yes\n"));
	assert_null(strstr(text, "hunter"));
	free(text);
	assert_int_equal(atomic_load(&scene->arrived), 0);
}

static void it_is_what_a_call_does(void **state)
{
	static const char *const paths[] = {"/", "/v2", "/v2/x?y", "/tea", "/tea/"};
	struct scene *scene = *state;

	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		struct mesh_request request = ask("reviews:9080", paths[i], NULL, 0);
		json_t *told = explain(scene, &request);
		struct mesh_call *call;
		struct mesh_slice route;

		assert_int_equal(mesh_call_start(scene->plane.mesh, &request, NULL, NULL, &call), 0);
		assert_int_equal(mesh_call_wait(call, WAIT_MS), 0);
		route = mesh_call_result(call)->route;
		assert_int_equal(route.len, strlen(json_string_value(at(told, "route.name"))));
		assert_memory_equal(route.data, json_string_value(at(told, "route.name")), route.len);
		if (mesh_call_result(call)->local_status)
			assert_int_equal(json_integer_value(at(told, "answer.status")), mesh_call_result(call)->local_status);
		else
			assert_says(told, "connection.tls", "plaintext");
		mesh_call_release(call);
		json_decref(told);
	}
}

static int collect(void *user, struct mesh_slice text)
{
	return mesh_buf_append(user, text);
}

static void nothing_is_counted(void **state)
{
	struct scene *scene = *state;
	struct mesh_request request = ask("reviews:9080", "/", NULL, 0);
	struct buf before, after;

	json_decref(explain(scene, &request)); /* from here on the cluster is known to the worker */
	mesh_buf_init(&before, &mesh_mem_default, 0);
	mesh_buf_init(&after, &mesh_mem_default, 0);
	assert_int_equal(mesh_admin_stats(scene->plane.mesh, collect, &before), 0);
	json_decref(explain(scene, &request));
	assert_int_equal(mesh_admin_stats(scene->plane.mesh, collect, &after), 0);
	assert_int_equal(mesh_buf_len(&before), mesh_buf_len(&after));
	assert_memory_equal(mesh_buf_slice(&before).data, mesh_buf_slice(&after).data, mesh_buf_len(&before));
	mesh_buf_free(&before);
	mesh_buf_free(&after);
	assert_int_equal(atomic_load(&scene->arrived), 0);
}

static void what_would_fail_is_told(void **state)
{
	struct scene *scene = *state;
	struct mesh_request request = ask("nobody.example:9080", "/", NULL, 0);
	json_t *told = explain(scene, &request);

	assert_says(told, "error.name", "NO_ROUTE");
	assert_says(told, "error.flag", "NR");
	json_decref(told);
	scene->plane.port_count = 0;
	data_plane_publish(&scene->plane);
	request.authority = MESH_SLICE("reviews:9080");
	told = explain(scene, &request);
	assert_says(told, "route.name", "rest");
	assert_says(told, "error.name", "NO_ENDPOINT");
	json_decref(told);
	request.authority = MESH_SLICE("reviews:0");
	told = explain(scene, &request);
	assert_says(told, "error.name", "INVALID");
	json_decref(told);
}

static void edit_cluster(struct data_plane *plane, struct cluster_config *cluster)
{
	cluster->kind = CLUSTER_ORIGINAL_DST;
}

/* Nothing is resolved for an explanation. */
static void an_address_is_left_open(void **state)
{
	struct scene *scene = *state;
	struct mesh_request request = ask("reviews:9080", "/", NULL, 0);
	json_t *told;

	scene->plane.edit_cluster = edit_cluster;
	data_plane_publish(&scene->plane);
	told = explain(scene, &request);
	assert_says(told, "cluster.type", "ORIGINAL_DST");
	assert_says(told, "cluster.destination", "the address of the host, which is resolved at the call");
	assert_null(at(told, "error"));
	json_decref(told);
}

static struct mirror_policy shadow = {.cluster = {"outbound|9080||other", 20}, .share = {25, 100}};
static struct mirror_config shadows = {&shadow, 1};

static void edit_rare(struct data_plane *plane, struct route_config *routes, bool inbound)
{
	struct route *route = &routes->hosts[0].routes[0];

	if (inbound)
		return;
	route->mirrors = &shadows;
	route->high_priority = true;
	routes->hosts[0].tls_route = NULL;
}

static void copies_and_priority_are_told(void **state)
{
	struct scene *scene = *state;
	struct mesh_request request = ask("reviews:9080", "/", NULL, 0);
	json_t *told;

	scene->plane.edit_routes = edit_rare;
	data_plane_publish(&scene->plane);
	told = explain(scene, &request);
	assert_says(told, "mirrors.0.cluster", "outbound|9080||other");
	assert_says(told, "mirrors.0.share", "25 of 100 requests");
	assert_says(told, "cluster.circuit_breaker.priority", "high");
	json_decref(told);
}

/* What must come over TLS is sent there before any route is asked. */
static struct route to_tls = {.name = {"to-tls", 6}, .kind = ROUTE_REDIRECT, .redirect_to_tls = true, .redirect_scheme = {"https", 5}};

static void edit_tls(struct data_plane *plane, struct route_config *routes, bool inbound)
{
	if (!inbound)
		routes->hosts[0].tls_route = &to_tls;
}

static void the_way_to_tls_is_told(void **state)
{
	struct scene *scene = *state;
	struct mesh_request request = ask("reviews:9080", "/x", NULL, 0);
	json_t *told;

	scene->plane.edit_routes = edit_tls;
	data_plane_publish(&scene->plane);
	told = explain(scene, &request);
	assert_says(told, "route.name", "to-tls");
	assert_null(at(told, "routes_passed_over.0"));
	assert_non_null(strstr(json_string_value(at(told, "answer.location")), "https://reviews"));
	json_decref(told);
}

static int refuse(void *user, struct mesh_slice text)
{
	return MESH_ERROR_CLOSED;
}

static void bad_use_is_refused(void **state)
{
	struct scene *scene = *state;
	struct mesh_request request = ask("reviews:9080", "no-slash", NULL, 0);

	assert_int_equal(mesh_explain(scene->plane.mesh, &request, MESH_EXPLAIN_JSON, refuse, NULL), MESH_ERROR_INVALID);
	request.path = MESH_SLICE("/");
	assert_int_equal(mesh_explain(scene->plane.mesh, &request, MESH_EXPLAIN_JSON, refuse, NULL), MESH_ERROR_CLOSED);
	assert_int_equal(mesh_explain(scene->plane.mesh, &request, (enum mesh_explain_format)7, refuse, NULL), MESH_ERROR_INVALID);
	assert_int_equal(mesh_explain(scene->plane.mesh, &request, MESH_EXPLAIN_TEXT, NULL, NULL), MESH_ERROR_INVALID);
	assert_int_equal(mesh_explain(NULL, &request, MESH_EXPLAIN_TEXT, refuse, NULL), MESH_ERROR_INVALID);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_route_is_told_with_all_before_it, open_scene, close_scene),
		cmocka_unit_test_setup_teardown(it_is_what_a_call_does, open_scene, close_scene),
		cmocka_unit_test_setup_teardown(nothing_is_counted, open_scene, close_scene),
		cmocka_unit_test_setup_teardown(what_would_fail_is_told, open_scene, close_scene),
		cmocka_unit_test_setup_teardown(an_address_is_left_open, open_scene, close_scene),
		cmocka_unit_test_setup_teardown(copies_and_priority_are_told, open_scene, close_scene),
		cmocka_unit_test_setup_teardown(the_way_to_tls_is_told, open_scene, close_scene),
		cmocka_unit_test_setup_teardown(bad_use_is_refused, open_scene, close_scene),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
