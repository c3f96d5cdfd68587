/* SPDX-License-Identifier: Apache-2.0 */
/* The embedded control plane without its sockets: resource files, ADS protocol, tokens, certificates. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <errno.h>
#include <ftw.h>
#include <jansson.h>
#include <limits.h>
#include <mesh/error.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ca.h"
#include "control/message.h"
#include "files.h"
#include "resources.h"
#include "session.h"
#include "token.h"
#include "xds/json.h"
#include "xds/type_registry.h"
#include "yaml_json.h"

#define CDS "type.googleapis.com/envoy.config.cluster.v3.Cluster"
#define EDS "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"
#define LDS "type.googleapis.com/envoy.config.listener.v3.Listener"
#define RDS "type.googleapis.com/envoy.config.route.v3.RouteConfiguration"
#define NODE                                                                                                           \
	"\"node\":{\"id\":\"sidecar~10.0.0.1~web-1.shop~shop.svc.cluster.local\",\"metadata\":{\"LABELS\":{\"app\":"   \
	"\"web\"}}}"

static char dir[64];

static int remove_one(const char *path, const struct stat *info, int type, struct FTW *ftw)
{
	(void)info;
	(void)type;
	(void)ftw;
	return remove(path);
}

static int set_up(void **state)
{
	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/mesh-controlplane-test.XXXXXX");
	return mkdtemp(dir) ? 0 : -1;
}

static int tear_down(void **state)
{
	(void)state;
	return nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* `name` may hold directories, made on the way. */
static void put_file(const char *name, const char *text)
{
	char path[PATH_MAX];
	FILE *file;

	for (const char *slash = strchr(name, '/'); slash; slash = strchr(slash + 1, '/')) {
		snprintf(path, sizeof(path), "%s/%.*s", dir, (int)(slash - name), name);
		assert_true(mkdir(path, 0755) == 0 || errno == EEXIST);
	}
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	file = fopen(path, "w");
	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
}

static void load(struct cp_catalog *catalog)
{
	struct why why = {""};

	if (cp_catalog_load(catalog, dir, &why) < 0)
		fail_msg("%s", why.text);
}

static void expect_load_failure(const char *words)
{
	struct cp_catalog catalog;
	struct why why = {""};

	assert_true(cp_catalog_load(&catalog, dir, &why) < 0);
	if (!strstr(why.text, words))
		fail_msg("\"%s\" does not say \"%s\"", why.text, words);
	cp_catalog_free(&catalog);
}

/* ---- files ---- */

static void test_forms_of_files(void **state)
{
	struct cp_catalog catalog;
	struct cp_view view;
	struct cp_node node = {"sidecar~10.0.0.1~web-1.shop~x", ""};

	(void)state;
	put_file("a.json", "{\"@type\":\"" CDS "\",\"name\":\"one\"}");
	put_file("b.json",
		 "[{\"@type\":\"" CDS "\",\"name\":\"two\"},{\"@type\":\"" EDS "\",\"clusterName\":\"two\"}]");
	put_file("common/c.json", "{\"versionInfo\":\"7\",\"resources\":[{\"@type\":\"" CDS "\",\"name\":\"three\"}]}");
	put_file("common/d.yaml",
		 "\"@type\": " CDS "\nname: four\nconnect_timeout: 2s\n---\n- {\"@type\": " CDS ", name: five}\n"
		 "---\n# nothing\n");
	put_file("common/.hidden.json", "not JSON");
	put_file("common/notes.txt", "not a resource");
	load(&catalog);
	assert_int_equal(catalog.count, 6);
	assert_int_equal(cp_view_make(&view, &catalog, &node), 0);
	assert_non_null(cp_view_find(&view, CDS, "one"));
	assert_non_null(cp_view_find(&view, EDS, "two"));
	assert_non_null(cp_view_find(&view, CDS, "five"));
	assert_null(cp_view_find(&view, EDS, "one"));
	cp_view_free(&view);
	cp_catalog_free(&catalog);
}

static void test_bad_files(void **state)
{
	(void)state;
	put_file("x.json", "{\"@type\":\"" CDS "\",\"nane\":\"one\"}");
	expect_load_failure("x.json: resource 1: resource.nane: no such field");
	put_file("x.json", "[1");
	expect_load_failure("x.json: line 1: ");
	put_file("x.json", "[{\"@type\":\"" CDS "\",\"name\":\"a\"},{}]");
	expect_load_failure("resource 2: resource: \"@type\" with a type URL is missing");
	put_file("x.json", "");
	expect_load_failure("x.json: line 1: ");
	put_file("x.json", "[]");
	put_file("y.yaml", "a: [");
	expect_load_failure("y.yaml: line ");
	put_file("y.yaml", "[]");
	put_file("z.json", "{\"@type\":\"" CDS "\",\"name\":\"a\"}");
	put_file("common/z.json", "{\"@type\":\"" CDS "\",\"name\":\"a\"}");
	expect_load_failure("two resources are named \"a\"");
}

static const char *timeout_of(const struct cp_view *view, const char *name)
{
	static char text[32];
	const struct cp_resource *resource = cp_view_find(view, CDS, name);
	struct buf out;
	json_t *json;

	if (!resource)
		return "absent";
	mesh_buf_init(&out, &mesh_mem_default, 0);
	assert_int_equal(mesh_json_encode_any(&out, mesh_slice_of(CDS), resource->bytes, 0, 0, NULL), 0);
	json = json_loadb(mesh_buf_slice(&out).data, mesh_buf_len(&out), 0, NULL);
	snprintf(text, sizeof(text), "%s", json_string_value(json_object_get(json, "connectTimeout")));
	json_decref(json);
	mesh_buf_free(&out);
	return text;
}

static void test_scopes(void **state)
{
	const char *form = "{\"@type\":\"" CDS "\",\"name\":\"%s\",\"connectTimeout\":\"%s\"}";
	const char *const files[][3] = {
		{"common/a.json", "a", "1s"},	   {"common/b.json", "b", "1s"},
		{"nodes/web/a.json", "a", "2s"},   {"nodes/web-1/b.json", "b", "3s"},
		{"nodes/web-1/c.json", "c", "3s"}, {"nodes/sidecar~10.0.0.1~web-1.shop~x/c.json", "c", "4s"},
	};
	struct cp_node node = {"sidecar~10.0.0.1~web-1.shop~x", "web"};
	struct cp_node other = {"sidecar~10.0.0.2~api-1.shop~x", "api"};
	struct cp_catalog catalog;
	struct cp_view view;
	char text[256];

	(void)state;
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		snprintf(text, sizeof(text), form, files[i][1], files[i][2]);
		put_file(files[i][0], text);
	}
	load(&catalog);
	assert_int_equal(cp_view_make(&view, &catalog, &node), 0);
	assert_string_equal(timeout_of(&view, "a"), "2s");
	assert_string_equal(timeout_of(&view, "b"), "3s");
	assert_string_equal(timeout_of(&view, "c"), "4s");
	cp_view_free(&view);
	assert_int_equal(cp_view_make(&view, &catalog, &other), 0);
	assert_string_equal(timeout_of(&view, "a"), "1s");
	assert_string_equal(timeout_of(&view, "b"), "1s");
	assert_string_equal(timeout_of(&view, "c"), "absent");
	cp_view_free(&view);
	cp_catalog_free(&catalog);
}

static void test_yaml(void **state)
{
	static const struct {
		const char *yaml, *json; /* NULL: refused */
	} cases[] = {
		{"a: 1\nb: -2.5\nc: 1e3\nd: 010\ne: 0x1f\n",
		 "[{\"a\":1,\"b\":-2.5,\"c\":1000.0,\"d\":\"010\",\"e\":\"0x1f\"}]"},
		{"[yes, true, 'true', null, ~, \"~\", ]", "[[\"yes\",true,\"true\",null,null,\"~\"]]"},
		{"a: &x {k: [1]}\nb: *x\n", "[{\"a\":{\"k\":[1]},\"b\":{\"k\":[1]}}]"},
		{"t: |\n  one\n  two\n", "[{\"t\":\"one\\ntwo\\n\"}]"},
		{"1.5s", "[\"1.5s\"]"},
		{"", "[]"},
		{"? [a]\n: 1\n", NULL},
		{"a: 1\na: 2\n", NULL},
		{"a: &x {k: 1}\nb: {<<: *x}\n", NULL},
		{"a: \"\\0\"\n", NULL},
		{"a: &x [*x]\n", NULL},
		{"\xff", NULL},
		{"a: b: c", NULL},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct why why = {""};
		json_t *have = cp_yaml_load(mesh_slice_of(cases[i].yaml), &why);
		json_t *want = cases[i].json ? json_loads(cases[i].json, 0, NULL) : NULL;

		if (!cases[i].json) {
			assert_null(have);
			assert_true(strncmp(why.text, "line ", 5) == 0);
		} else if (!json_equal(have, want)) {
			fail_msg("%s", cases[i].yaml);
		}
		json_decref(have);
		json_decref(want);
	}
}

/* Nine levels of ten aliases each: a thousand million nodes when written out. */
static void test_yaml_bomb(void **state)
{
	struct why why = {""};
	char text[4096];
	size_t len = (size_t)snprintf(text, sizeof(text), "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");

	(void)state;
	for (int i = 1; i < 9; i++) {
		len += (size_t)snprintf(text + len, sizeof(text) - len, "a%d: &a%d [", i, i);
		for (int j = 0; j < 10; j++)
			len += (size_t)snprintf(text + len, sizeof(text) - len, "%s*a%d", j ? "," : "", i - 1);
		len += (size_t)snprintf(text + len, sizeof(text) - len, "]\n");
	}
	assert_null(cp_yaml_load(mesh_slice_make(text, len), &why));
	assert_non_null(strstr(why.text, "too large"));
}

/* ---- the protocol ---- */

static void load_texts(struct cp_catalog *catalog, const char *resources)
{
	put_file("r.json", resources);
	load(catalog);
}

static int request(struct cp_session *session, const char *json, struct why *why)
{
	const char *name = session->delta ? "envoy.service.discovery.v3.DeltaDiscoveryRequest"
					  : "envoy.service.discovery.v3.DiscoveryRequest";
	json_t *parsed = json_loads(json, 0, NULL);
	struct buf bytes;
	int rc;

	mesh_buf_init(&bytes, &mesh_mem_default, 0);
	if (!parsed || mesh_json_decode(&bytes, mesh_type_find(mesh_slice_of(name)), parsed, 0, why) < 0)
		fail_msg("%s: %s", json, why->text);
	rc = cp_session_request(session, mesh_buf_slice(&bytes), why);
	mesh_buf_free(&bytes);
	json_decref(parsed);
	return rc;
}

/* The next response in short: "<type> +<name>.. -<name>..", "" when none is due. */
static const char *next(struct cp_session *session)
{
	static char text[512];
	const char *name = session->delta ? "envoy.service.discovery.v3.DeltaDiscoveryResponse"
					  : "envoy.service.discovery.v3.DiscoveryResponse";
	struct buf bytes, out;
	ProtobufCMessage *message;
	struct arena arena;
	json_t *json, *item;
	size_t len, i;
	int rc;

	mesh_buf_init(&bytes, &mesh_mem_default, 0);
	mesh_buf_init(&out, &mesh_mem_default, 0);
	mesh_arena_init(&arena, &mesh_mem_default, 0);
	text[0] = '\0';
	rc = cp_session_next(session, &bytes);
	assert_true(rc >= 0);
	if (rc > 0) {
		assert_int_equal(mesh_message_unpack(mesh_type_find(mesh_slice_of(name)), mesh_buf_slice(&bytes), 0,
						  &arena, NULL, &message),
				 0);
		assert_int_equal(mesh_json_encode(&out, message, 0, NULL), 0);
		json = json_loadb(mesh_buf_slice(&out).data, mesh_buf_len(&out), 0, NULL);
		len = (size_t)snprintf(text, sizeof(text), "%s",
				       cp_type_name(json_string_value(json_object_get(json, "typeUrl"))));
		json_array_foreach(json_object_get(json, "resources"), i, item)
		{
			const json_t *label = json_object_get(item, "name");

			len += (size_t)snprintf(
				text + len, sizeof(text) - len, " +%s",
				json_string_value(label ? label : json_object_get(item, "clusterName")));
		}
		json_array_foreach(json_object_get(json, "removedResources"), i, item) len +=
			(size_t)snprintf(text + len, sizeof(text) - len, " -%s", json_string_value(item));
		json_decref(json);
	}
	mesh_arena_free(&arena);
	mesh_buf_free(&bytes);
	mesh_buf_free(&out);
	return text;
}

static const char *nonce_of(const struct cp_session *session, const char *type_url)
{
	for (const struct cp_subscription *s = session->subscriptions; s; s = s->next) {
		if (strcmp(s->type_url, type_url) == 0)
			return s->nonce;
	}
	return "none";
}

/* A request with the nonce of the last response of its type. */
static void answer(struct cp_session *session, const char *type_url, const char *rest)
{
	struct why why = {""};
	char text[512];

	snprintf(text, sizeof(text), "{\"typeUrl\":\"%s\",\"responseNonce\":\"%s\"%s}", type_url,
		 nonce_of(session, type_url), rest);
	if (request(session, text, &why) < 0)
		fail_msg("%s", why.text);
}

static void ask(struct cp_session *session, const struct cp_catalog *catalog, const char *json)
{
	struct why why = {""};
	bool first = !session->has_node;

	if (request(session, json, &why) < 0)
		fail_msg("%s", why.text);
	if (first)
		assert_int_equal(cp_session_refresh(session, catalog, "1"), 0);
}

static void replace(struct cp_session *session, struct cp_catalog *catalog, const char *resources)
{
	struct cp_catalog fresh;

	load_texts(&fresh, resources);
	assert_int_equal(cp_session_refresh(session, &fresh, "2"), 0);
	cp_catalog_free(catalog);
	*catalog = fresh;
}

#define CLUSTER(name, timeout) "{\"@type\":\"" CDS "\",\"name\":\"" name "\",\"connectTimeout\":\"" timeout "\"}"
#define ENDPOINTS(name, number)                                                                                        \
	"{\"@type\":\"" EDS "\",\"clusterName\":\"" name "\",\"policy\":{\"overprovisioningFactor\":" number "}}"
#define LISTENER(name, text) "{\"@type\":\"" LDS "\",\"name\":\"" name "\",\"statPrefix\":\"" text "\"}"
#define ROUTE(name, number)                                                                                            \
	"{\"@type\":\"" RDS "\",\"name\":\"" name "\",\"maxDirectResponseBodySizeBytes\":" number "}"

static void test_whole_state(void **state)
{
	struct cp_catalog catalog;
	struct cp_session s;

	(void)state;
	load_texts(&catalog,
		   "[" CLUSTER("a", "1s") "," CLUSTER("b", "1s") "," ENDPOINTS("a", "1") "," ENDPOINTS("b", "1") "]");
	cp_session_open(&s, 1, false);
	ask(&s, &catalog, "{" NODE ",\"typeUrl\":\"" CDS "\"}");
	assert_string_equal(next(&s), "envoy.config.cluster.v3.Cluster +a +b");
	assert_string_equal(next(&s), "");
	answer(&s, CDS, "");
	assert_string_equal(next(&s), "");
	ask(&s, &catalog, "{\"typeUrl\":\"" EDS "\",\"resourceNames\":[\"a\"]}");
	assert_string_equal(next(&s), "envoy.config.endpoint.v3.ClusterLoadAssignment +a");
	answer(&s, EDS, ",\"resourceNames\":[\"a\",\"b\",\"c\"]");
	assert_string_equal(next(&s), "envoy.config.endpoint.v3.ClusterLoadAssignment +b");
	answer(&s, EDS, ",\"resourceNames\":[\"a\",\"b\",\"c\"]");
	assert_string_equal(next(&s), "");
	/* Clusters are always complete, endpoints only what changed; a new name that was asked for comes when it
	 * exists. */
	replace(&s, &catalog,
		"[" CLUSTER("b", "2s") "," CLUSTER("c", "1s") "," ENDPOINTS("a", "2") "," ENDPOINTS(
			"b", "1") "," ENDPOINTS("c", "1") "]");
	assert_string_equal(next(&s), "envoy.config.cluster.v3.Cluster +b +c");
	assert_string_equal(next(&s), "envoy.config.endpoint.v3.ClusterLoadAssignment +a +c");
	assert_string_equal(next(&s), "");
	answer(&s, CDS, ",\"errorDetail\":{\"code\":3,\"message\":\"no\"}");
	assert_string_equal(next(&s), "");
	replace(&s, &catalog, "[]");
	assert_string_equal(next(&s), "envoy.config.cluster.v3.Cluster");
	assert_string_equal(next(&s), "");
	cp_session_close(&s);
	cp_catalog_free(&catalog);
}

static void test_stale_nonce(void **state)
{
	struct cp_catalog catalog;
	struct cp_session s;

	(void)state;
	load_texts(&catalog, "[" ENDPOINTS("a", "1") "," ENDPOINTS("b", "1") "]");
	cp_session_open(&s, 1, false);
	ask(&s, &catalog, "{" NODE ",\"typeUrl\":\"" EDS "\",\"resourceNames\":[\"a\"]}");
	assert_string_equal(next(&s), "envoy.config.endpoint.v3.ClusterLoadAssignment +a");
	ask(&s, &catalog, "{\"typeUrl\":\"" EDS "\",\"resourceNames\":[\"b\"],\"responseNonce\":\"1-0\"}");
	assert_string_equal(next(&s), "");
	answer(&s, EDS, ",\"resourceNames\":[\"b\"]");
	assert_string_equal(next(&s), "envoy.config.endpoint.v3.ClusterLoadAssignment +b");
	cp_session_close(&s);
	cp_catalog_free(&catalog);
}

static void test_order_of_pushes(void **state)
{
	struct cp_catalog catalog;
	struct cp_session s;

	(void)state;
	load_texts(&catalog,
		   "[" ROUTE("r", "1") "," LISTENER("l", "x") "," ENDPOINTS("e", "1") "," CLUSTER("c", "1s") "]");
	cp_session_open(&s, 1, true);
	ask(&s, &catalog, "{" NODE ",\"typeUrl\":\"" RDS "\",\"resourceNamesSubscribe\":[\"r\"]}");
	ask(&s, &catalog, "{\"typeUrl\":\"" LDS "\"}");
	ask(&s, &catalog, "{\"typeUrl\":\"" EDS "\",\"resourceNamesSubscribe\":[\"e\"]}");
	ask(&s, &catalog, "{\"typeUrl\":\"" CDS "\"}");
	for (int round = 0; round < 2; round++) {
		assert_string_equal(next(&s), "envoy.config.cluster.v3.Cluster +c");
		assert_string_equal(next(&s), "envoy.config.endpoint.v3.ClusterLoadAssignment +e");
		assert_string_equal(next(&s), "envoy.config.listener.v3.Listener +l");
		assert_string_equal(next(&s), "envoy.config.route.v3.RouteConfiguration +r");
		assert_string_equal(next(&s), "");
		replace(&s, &catalog,
			"[" ROUTE("r", "2") "," LISTENER("l", "y") "," ENDPOINTS("e", "2") "," CLUSTER("c", "2s") "]");
	}
	cp_session_close(&s);
	cp_catalog_free(&catalog);
}

static void test_delta(void **state)
{
	struct cp_catalog catalog;
	struct cp_session s;

	(void)state;
	load_texts(&catalog,
		   "[" CLUSTER("a", "1s") "," CLUSTER("b", "1s") "," ENDPOINTS("a", "1") "," ENDPOINTS("b", "1") "]");
	cp_session_open(&s, 1, true);
	ask(&s, &catalog, "{" NODE ",\"typeUrl\":\"" CDS "\"}");
	assert_string_equal(next(&s), "envoy.config.cluster.v3.Cluster +a +b");
	answer(&s, CDS, "");
	ask(&s, &catalog, "{\"typeUrl\":\"" EDS "\",\"resourceNamesSubscribe\":[\"a\",\"gone\"]}");
	assert_string_equal(next(&s), "envoy.config.endpoint.v3.ClusterLoadAssignment +a -gone");
	assert_string_equal(next(&s), "");
	/* Asked for again: sent again. An old nonce does not make a subscription void. */
	ask(&s, &catalog, "{\"typeUrl\":\"" EDS "\",\"resourceNamesSubscribe\":[\"a\",\"b\"],\"responseNonce\":\"0\"}");
	assert_string_equal(next(&s), "envoy.config.endpoint.v3.ClusterLoadAssignment +a +b");
	answer(&s, EDS, ",\"resourceNamesUnsubscribe\":[\"b\"]");
	assert_string_equal(next(&s), "");
	replace(&s, &catalog,
		"[" CLUSTER("b", "1s") "," CLUSTER("c", "1s") "," ENDPOINTS("b", "2") "," ENDPOINTS("gone", "1") "]");
	assert_string_equal(next(&s), "envoy.config.cluster.v3.Cluster +c -a");
	assert_string_equal(next(&s), "envoy.config.endpoint.v3.ClusterLoadAssignment +gone -a");
	assert_string_equal(next(&s), "");
	cp_session_close(&s);
	cp_catalog_free(&catalog);
}

static void test_delta_reconnect(void **state)
{
	struct cp_catalog catalog;
	struct cp_session s;
	const struct cp_resource **items;
	struct cp_node node = {"sidecar~1~p.n~d", ""};
	struct cp_view view;
	char text[512];

	(void)state;
	load_texts(&catalog, "[" CLUSTER("a", "1s") "," CLUSTER("b", "1s") "," CLUSTER("c", "1s") "]");
	assert_int_equal(cp_view_make(&view, &catalog, &node), 0);
	assert_int_equal(cp_view_range(&view, CDS, &items), 3);
	snprintf(text, sizeof(text),
		 "{" NODE ",\"typeUrl\":\"" CDS
		 "\",\"initialResourceVersions\":{\"a\":\"%s\",\"b\":\"old\",\"d\":\"x\"}}",
		 items[0]->version);
	cp_session_open(&s, 1, true);
	ask(&s, &catalog, text);
	assert_string_equal(next(&s), "envoy.config.cluster.v3.Cluster +b +c -d");
	assert_string_equal(next(&s), "");
	cp_session_close(&s);
	/* Nothing changed: the client is told so. */
	snprintf(text, sizeof(text),
		 "{" NODE ",\"typeUrl\":\"" CDS
		 "\",\"initialResourceVersions\":{\"a\":\"%s\",\"b\":\"%s\",\"c\":\"%s\"}}",
		 items[0]->version, items[1]->version, items[2]->version);
	cp_session_open(&s, 2, true);
	ask(&s, &catalog, text);
	assert_string_equal(next(&s), "envoy.config.cluster.v3.Cluster");
	assert_string_equal(next(&s), "");
	cp_session_close(&s);
	cp_view_free(&view);
	cp_catalog_free(&catalog);
}

static void test_bad_requests(void **state)
{
	struct cp_session s;
	struct why why = {""};

	(void)state;
	cp_session_open(&s, 1, true);
	assert_int_equal(request(&s, "{\"typeUrl\":\"" CDS "\"}", &why), MESH_ERROR_INVALID);
	assert_non_null(strstr(why.text, "missing node"));
	assert_int_equal(cp_session_request(&s, MESH_SLICE("\x0a\x7f"), &why), MESH_ERROR_INVALID);
	assert_string_equal(next(&s), "");
	cp_session_close(&s);
}

/* ---- identity ---- */

static void test_tokens(void **state)
{
	const struct cp_identity identity = {"shop", "web"};
	EVP_PKEY *key = EVP_EC_gen("P-256");
	EVP_PKEY *other = EVP_EC_gen("P-256");
	struct cp_identity read;
	struct why why = {""};
	struct buf token;
	char *text;

	(void)state;
	mesh_buf_init(&token, &mesh_mem_default, 0);
	/* names that could end the text they are put into */
	assert_int_equal(cp_token_make(&token, key, &(struct cp_identity){"shop", "we\"b"}, 1000, 60), MESH_ERROR_INVALID);
	assert_int_equal(cp_token_make(&token, key, &(struct cp_identity){"", "web"}, 1000, 60), MESH_ERROR_INVALID);
	assert_int_equal(mesh_buf_len(&token), 0);
	assert_int_equal(cp_token_make(&token, key, &identity, 1000, 60), 0);
	assert_int_equal(cp_token_check(key, mesh_buf_slice(&token), 1059, &read, &why), 0);
	assert_string_equal(read.namespace_name, "shop");
	assert_string_equal(read.account, "web");
	assert_int_equal(cp_token_check(key, mesh_buf_slice(&token), 1060, &read, &why), MESH_ERROR_CONTROL_AUTH);
	assert_non_null(strstr(why.text, "expired"));
	assert_int_equal(cp_token_check(other, mesh_buf_slice(&token), 1000, &read, NULL), MESH_ERROR_CONTROL_AUTH);
	assert_int_equal(cp_token_check(key, MESH_SLICE(""), 1000, &read, NULL), MESH_ERROR_CONTROL_AUTH);
	assert_int_equal(cp_token_check(key, MESH_SLICE("a.b"), 1000, &read, NULL), MESH_ERROR_CONTROL_AUTH);
	/* {"alg":"none"} and no signature */
	assert_int_equal(cp_token_check(key, MESH_SLICE("eyJhbGciOiJub25lIn0.e30."), 1000, &read, NULL),
			 MESH_ERROR_CONTROL_AUTH);
	text = token.data + token.start;
	for (size_t i = 0; i + 2 < mesh_buf_len(&token); i++) { /* the last digits hold bits that mean nothing */
		text[i] ^= 1;
		assert_int_equal(cp_token_check(key, mesh_buf_slice(&token), 1000, &read, NULL),
				 MESH_ERROR_CONTROL_AUTH);
		text[i] ^= 1;
	}
	mesh_buf_free(&token);
	EVP_PKEY_free(key);
	EVP_PKEY_free(other);
	ERR_clear_error();
}

/* A request that asks for somebody else's name. */
static void make_csr(EVP_PKEY *key, char *pem, size_t room)
{
	X509_REQ *csr = X509_REQ_new();
	STACK_OF(X509_EXTENSION) *extensions = sk_X509_EXTENSION_new_null();
	BIO *bio = BIO_new(BIO_s_mem());
	int len;

	sk_X509_EXTENSION_push(extensions, X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name,
							       "URI:spiffe://cluster.local/ns/other/sa/admin"));
	X509_REQ_add_extensions(csr, extensions);
	X509_NAME_add_entry_by_txt(X509_REQ_get_subject_name(csr), "CN", MBSTRING_ASC, (const uint8_t *)"admin", -1, -1,
				   0);
	X509_REQ_set_pubkey(csr, key);
	assert_true(X509_REQ_sign(csr, key, EVP_sha256()) > 0);
	PEM_write_bio_X509_REQ(bio, csr);
	len = BIO_read(bio, pem, (int)room - 1);
	assert_true(len > 0);
	pem[len] = '\0';
	sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
	X509_REQ_free(csr);
	BIO_free(bio);
}

static void check_leaf(struct mesh_slice pem, const struct cp_ca *ca, int64_t ttl_s)
{
	BIO *bio = BIO_new_mem_buf(pem.data, (int)pem.len);
	X509 *leaf = PEM_read_bio_X509(bio, NULL, NULL, NULL);
	GENERAL_NAMES *names = NULL;
	int critical = 0;
	int days, seconds;

	assert_non_null(leaf);
	assert_int_equal(X509_verify(leaf, ca->key), 1);
	assert_int_equal(X509_NAME_entry_count(X509_get_subject_name(leaf)), 0);
	names = X509_get_ext_d2i(leaf, NID_subject_alt_name, &critical, NULL);
	assert_int_equal(critical, 1);
	assert_int_equal(sk_GENERAL_NAME_num(names), 1);
	assert_string_equal(
		(const char *)ASN1_STRING_get0_data(sk_GENERAL_NAME_value(names, 0)->d.uniformResourceIdentifier),
		"spiffe://test.domain/ns/shop/sa/web");
	assert_int_equal(ASN1_TIME_diff(&days, &seconds, NULL, X509_get0_notAfter(leaf)), 1);
	assert_in_range(days * 86400 + seconds, ttl_s - 5, ttl_s);
	GENERAL_NAMES_free(names);
	X509_free(leaf);
	BIO_free(bio);
}

static void test_certificates(void **state)
{
	const struct cp_identity identity = {"shop", "web"};
	EVP_PKEY *key = EVP_EC_gen("P-256");
	EVP_PKEY *weak = EVP_RSA_gen(1024);
	struct why why = {""};
	struct cp_ca ca, again;
	struct buf out;
	char pem[4096];

	(void)state;
	mesh_buf_init(&out, &mesh_mem_default, 0);
	assert_int_equal(cp_ca_open(&ca, dir, "test.domain", 3600, &why), 0);
	make_csr(key, pem, sizeof(pem));
	assert_int_equal(cp_ca_sign(&ca, mesh_slice_of(pem), &identity, 60, &out, &why), 0);
	check_leaf(mesh_buf_slice(&out), &ca, 60);
	mesh_buf_clear(&out);
	assert_int_equal(cp_ca_sign(&ca, mesh_slice_of(pem), &identity, 86400, &out, &why), 0);
	check_leaf(mesh_buf_slice(&out), &ca, 3600);
	mesh_buf_clear(&out);
	assert_int_equal(cp_ca_sign(&ca, mesh_slice_of(pem), &identity, 0, &out, &why), 0);
	check_leaf(mesh_buf_slice(&out), &ca, 3600);
	make_csr(weak, pem, sizeof(pem));
	assert_int_equal(cp_ca_sign(&ca, mesh_slice_of(pem), &identity, 60, &out, &why), MESH_ERROR_INVALID);
	assert_non_null(strstr(why.text, "too weak"));
	assert_int_equal(cp_ca_sign(&ca, MESH_SLICE("no PEM"), &identity, 60, &out, NULL), MESH_ERROR_INVALID);
	/* The root outlives the process. */
	assert_int_equal(cp_ca_open(&again, dir, "test.domain", 3600, &why), 0);
	assert_true(mesh_slice_equal(mesh_buf_slice(&ca.root_pem), mesh_buf_slice(&again.root_pem)));
	cp_ca_close(&again);
	cp_ca_close(&ca);
	mesh_buf_free(&out);
	EVP_PKEY_free(key);
	EVP_PKEY_free(weak);
	ERR_clear_error();
}

static void test_keys_are_private(void **state)
{
	struct why why = {""};
	EVP_PKEY *first = cp_file_key(dir, "k.pem", &why);
	EVP_PKEY *second = cp_file_key(dir, "k.pem", &why);
	char path[PATH_MAX];
	struct stat info;

	(void)state;
	assert_non_null(first);
	assert_int_equal(EVP_PKEY_eq(first, second), 1);
	snprintf(path, sizeof(path), "%s/k.pem", dir);
	assert_int_equal(stat(path, &info), 0);
	assert_int_equal(info.st_mode & 0777, 0600);
	EVP_PKEY_free(first);
	EVP_PKEY_free(second);
	put_file("k.pem", "damaged");
	assert_null(cp_file_key(dir, "k.pem", &why));
	assert_non_null(strstr(why.text, "not a private key"));
	ERR_clear_error();
}

/* A damaged root is an error: a new one in its place would leave every workload without its peers. */
static void test_damaged_root(void **state)
{
	struct why why = {""};
	struct cp_ca ca;

	(void)state;
	put_file(CP_CA_ROOT, "damaged");
	assert_int_equal(cp_ca_open(&ca, dir, "test.domain", 3600, &why), MESH_ERROR_CERTIFICATE);
	assert_non_null(strstr(why.text, CP_CA_ROOT ": not a certificate"));
	cp_ca_close(&ca);
	ERR_clear_error();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_forms_of_files, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_bad_files, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_scopes, set_up, tear_down),
		cmocka_unit_test(test_yaml),
		cmocka_unit_test(test_yaml_bomb),
		cmocka_unit_test_setup_teardown(test_whole_state, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_stale_nonce, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_order_of_pushes, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_delta, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_delta_reconnect, set_up, tear_down),
		cmocka_unit_test(test_bad_requests),
		cmocka_unit_test(test_tokens),
		cmocka_unit_test_setup_teardown(test_certificates, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_keys_are_private, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_damaged_root, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
