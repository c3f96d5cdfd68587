/* SPDX-License-Identifier: Apache-2.0 */
/* The config dump: against a golden one, by status, read back as resources, and without what must never be shown. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <jansson.h>
#include <mesh/error.h>

#include "support/xds_sample.h"

#define SAMPLE(name) MESH_TEST_SOURCE_DIR "/tests/xds/samples/" name ".json"
#define GOLDEN	     MESH_TEST_SOURCE_DIR "/tests/xds/golden/config_dump.json"
#define WRITTEN	     MESH_TEST_BINARY_DIR "/config_dump.json"
#define ADMIN	     "type.googleapis.com/envoy.admin.v3."
#define BOOTSTRAP    MESH_SLICE("{\"node\":{\"id\":\"sidecar~10.0.0.1~a.b~b.svc.cluster.local\"}}")

static const struct log quiet = {NULL, NULL, MESH_LOG_ERROR};

struct fixture {
	struct resource_cache *cache;
	struct arena arena;
	struct buf out;
};

static void begin(struct fixture *f)
{
	mesh_arena_init(&f->arena, &mesh_mem_default, 0);
	mesh_buf_init(&f->out, &mesh_mem_default, 0);
	assert_int_equal(mesh_resource_cache_new(&mesh_mem_default, &quiet, NULL, &f->cache), 0);
}

static void end(struct fixture *f)
{
	mesh_resource_cache_free(f->cache);
	mesh_arena_free(&f->arena);
	mesh_buf_free(&f->out);
}

static void apply(struct fixture *f, enum xds_type type, const struct xds_resource *resources, size_t count)
{
	bool whole = type == XDS_CLUSTER || type == XDS_LISTENER;
	struct buf rejects;

	mesh_buf_init(&rejects, &mesh_mem_default, 0);
	assert_int_equal(mesh_resource_cache_apply(f->cache, type, resources, count, NULL, 0, whole, &rejects), 0);
	mesh_buf_free(&rejects);
}

static void apply_sample(struct fixture *f, enum xds_type type, const char *path)
{
	size_t count;
	const struct xds_resource *resources = xds_sample_load(&f->arena, path, &count);

	apply(f, type, resources, count);
}

static void set_secret(struct fixture *f, const char *name, const char *chain, const char *key, const char *roots)
{
	struct secret *secret;

	assert_int_equal(mesh_secret_new(&mesh_mem_default, mesh_slice_of(name),
					 mesh_slice_make(chain, chain ? strlen(chain) : 0),
					 mesh_slice_make(key, key ? strlen(key) : 0),
					 mesh_slice_make(roots, roots ? strlen(roots) : 0), &secret),
			 0);
	assert_int_equal(mesh_resource_cache_set_secret(f->cache, secret), 0);
	mesh_secret_release(secret);
}

static struct mesh_slice dump_text(struct fixture *f)
{
	mesh_buf_clear(&f->out);
	assert_int_equal(mesh_resource_cache_dump(f->cache, BOOTSTRAP, &f->out), 0);
	return mesh_buf_slice(&f->out);
}

static json_t *dump(struct fixture *f)
{
	struct mesh_slice text = dump_text(f);
	json_error_t error;
	json_t *json = json_loadb(text.data, text.len, JSON_REJECT_DUPLICATES, &error);

	if (!json)
		fail_msg("not JSON, line %d: %s", error.line, error.text);
	return json;
}

/* The group of a section; NULL when it is left out. */
static json_t *group(const json_t *dumped, const char *section, const char *name)
{
	json_t *list = json_object_get(dumped, "configs"), *config;
	char type[100];
	size_t i;

	snprintf(type, sizeof(type), "%s%s", ADMIN, section);
	json_array_foreach(list, i, config)
	{
		if (strcmp(json_string_value(json_object_get(config, "@type")), type) == 0)
			return json_object_get(config, name);
	}
	fail_msg("no %s", section);
	return NULL;
}

/* A text by the names on the way to it; "" when it is not there. */
static const char *text_at(const json_t *object, const char *first, const char *second)
{
	const json_t *at = json_object_get(object, first);

	if (second)
		at = json_object_get(at, second);
	return json_string_value(at) ? json_string_value(at) : "";
}

/* All times become one, all else stays. */
static void mask(json_t *json)
{
	const char *key;
	json_t *value;
	size_t i;

	json_array_foreach(json, i, value) mask(value);
	json_object_foreach(json, key, value)
	{
		if (strcmp(key, "last_updated") == 0 || strcmp(key, "last_update_attempt") == 0) {
			assert_true(json_string_length(value) >= strlen("2026-01-01T00:00:00Z"));
			json_string_set(value, "2026-01-01T00:00:00Z");
		}
		mask(value);
	}
}

/* ---- golden ---- */

static const char bad_cluster[] = "{'@type': 'envoy.config.cluster.v3.Cluster', 'name': 'BlackHoleCluster', 'type': "
				  "'STATIC', 'connectTimeout': '0s'}";
static const char inline_cluster[] =
	"{'@type': 'envoy.config.cluster.v3.Cluster', 'name': 'inline', 'type': 'STATIC', 'loadAssignment': {"
	" 'clusterName': 'inline', 'endpoints': [{'lbEndpoints': [{'endpoint': {"
	"  'address': {'socketAddress': {'address': '10.0.0.9', 'portValue': 80}}}}]}]}}";

/* All that istiod sent a sidecar, one cluster of it refused later, one route configuration not there yet. */
static void fill(struct fixture *f)
{
	struct xds_resource more[2] = {xds_sample_json(&f->arena, "2", "%s", bad_cluster),
				       xds_sample_json(&f->arena, "2", "%s", inline_cluster)};
	struct buf rejects;

	apply_sample(f, XDS_CLUSTER, SAMPLE("secure.cds"));
	apply_sample(f, XDS_ENDPOINT, SAMPLE("secure.eds"));
	apply_sample(f, XDS_LISTENER, SAMPLE("secure.lds"));
	apply_sample(f, XDS_ROUTE, SAMPLE("secure.rds"));
	mesh_buf_init(&rejects, &mesh_mem_default, 0);
	assert_int_equal(mesh_resource_cache_apply(f->cache, XDS_CLUSTER, more, 2, NULL, 0, false, &rejects), 0);
	mesh_buf_free(&rejects);
	set_secret(f, "default", "chain", "private", NULL);
	set_secret(f, "ROOTCA", NULL, NULL, "roots");
}

static void golden(void **state)
{
	struct fixture f;
	json_t *dumped, *wanted;
	json_error_t error;

	begin(&f);
	fill(&f);
	dumped = dump(&f);
	mask(dumped);
	json_dump_file(dumped, WRITTEN, JSON_INDENT(1));
	wanted = json_load_file(GOLDEN, 0, &error);
	if (!wanted || !json_equal(dumped, wanted))
		fail_msg("the dump is not " GOLDEN " any more: if it is right as it is now, copy " WRITTEN " there");
	json_decref(wanted);
	json_decref(dumped);
	end(&f);
}

/* ---- read back ---- */

static struct xds_resource resource_of(struct fixture *f, const json_t *item, const json_t *holder, const char *field)
{
	char *text = json_dumps(json_object_get(holder, field), 0);
	struct xds_resource resource = xds_sample_json(&f->arena, text_at(holder, "version_info", NULL), "%s", text);

	free(text);
	return resource;
}

static void apply_group(struct fixture *to, const json_t *dumped, enum xds_type type, const char *section,
			const char *name, const char *field)
{
	json_t *list = group(dumped, section, name), *item;
	struct xds_resource *all = mesh_arena_array(&to->arena, json_array_size(list), sizeof(*all));
	size_t i;

	assert_true(json_array_size(list) > 0);
	json_array_foreach(list, i, item)
	{
		json_t *active = json_object_get(item, "active_state");

		all[i] = resource_of(to, item, active ? active : item, field);
	}
	apply(to, type, all, json_array_size(list));
}

/* What is shown is what was sent: taken as resources again it shows the same. */
static void read_back(void **state)
{
	struct fixture from, to;
	json_t *before, *after;

	begin(&from);
	begin(&to);
	apply_sample(&from, XDS_CLUSTER, SAMPLE("secure.cds"));
	apply_sample(&from, XDS_ENDPOINT, SAMPLE("secure.eds"));
	apply_sample(&from, XDS_LISTENER, SAMPLE("secure.lds"));
	apply_sample(&from, XDS_ROUTE, SAMPLE("secure.rds"));
	before = dump(&from);
	apply_group(&to, before, XDS_CLUSTER, "ClustersConfigDump", "dynamic_active_clusters", "cluster");
	apply_group(&to, before, XDS_ENDPOINT, "EndpointsConfigDump", "dynamic_endpoint_configs", "endpoint_config");
	apply_group(&to, before, XDS_LISTENER, "ListenersConfigDump", "dynamic_listeners", "listener");
	apply_group(&to, before, XDS_ROUTE, "RoutesConfigDump", "dynamic_route_configs", "route_config");
	after = dump(&to);
	mask(before);
	mask(after);
	assert_true(json_equal(before, after));
	assert_true(json_array_size(group(after, "RoutesConfigDump", "static_route_configs")) >= 2);
	json_decref(before);
	json_decref(after);
	end(&from);
	end(&to);
}

/* ---- status ---- */

static struct xds_resource eds_cluster(struct fixture *f, const char *version, const char *name, const char *service,
				       const char *timeout)
{
	return xds_sample_json(&f->arena, version,
			       "{'@type': 'envoy.config.cluster.v3.Cluster', 'name': '%s', 'type': 'EDS',"
			       " 'connectTimeout': '%s',"
			       " 'edsClusterConfig': {'edsConfig': {'ads': {}}, 'serviceName': '%s'}}",
			       name, timeout, service);
}

static void status(void **state)
{
	struct mesh_slice removed = MESH_SLICE("gone");
	struct xds_resource clusters[3];
	struct fixture f;
	struct buf rejects;
	json_t *dumped, *list, *error;

	begin(&f);
	clusters[0] = eds_cluster(&f, "1", "a", "gone", "1s");
	clusters[1] = eds_cluster(&f, "1", "b", "late", "1s");
	clusters[2] = eds_cluster(&f, "1", "c", "late", "0s");
	apply(&f, XDS_CLUSTER, clusters, 3);
	clusters[0] = eds_cluster(&f, "2", "a", "gone", "0s");
	apply(&f, XDS_CLUSTER, clusters, 3);
	mesh_buf_init(&rejects, &mesh_mem_default, 0);
	assert_int_equal(mesh_resource_cache_apply(f.cache, XDS_ENDPOINT, NULL, 0, &removed, 1, false, &rejects), 0);
	mesh_buf_free(&rejects);
	dumped = dump(&f);
	list = group(dumped, "ClustersConfigDump", "dynamic_active_clusters");
	assert_int_equal(json_array_size(list), 2);
	assert_string_equal(text_at(json_array_get(list, 0), "client_status", NULL), "NACKED");
	assert_string_equal(text_at(json_array_get(list, 0), "version_info", NULL), "1");
	assert_string_equal(text_at(json_array_get(list, 0), "cluster", "connect_timeout"), "1s");
	error = json_object_get(json_array_get(list, 0), "error_state");
	assert_string_equal(text_at(error, "details", NULL), "connect_timeout: 0s: must be greater than 0");
	assert_string_equal(text_at(error, "version_info", NULL), "2");
	assert_string_equal(text_at(error, "failed_configuration", "connect_timeout"), "0s");
	assert_int_equal(strlen(text_at(error, "last_update_attempt", NULL)), strlen("2026-01-01T00:00:00.000Z"));
	assert_string_equal(text_at(json_array_get(list, 1), "client_status", NULL), "ACKED");
	assert_null(json_object_get(json_array_get(list, 1), "error_state"));
	list = group(dumped, "ClustersConfigDump", "dynamic_warming_clusters");
	assert_int_equal(json_array_size(list), 1);
	assert_string_equal(text_at(json_array_get(list, 0), "cluster", "name"), "c");
	assert_string_equal(text_at(json_array_get(list, 0), "client_status", NULL), "NACKED");
	assert_null(json_object_get(json_array_get(list, 0), "last_updated"));
	list = group(dumped, "EndpointsConfigDump", "dynamic_endpoint_configs");
	assert_int_equal(json_array_size(list), 2);
	assert_string_equal(text_at(json_array_get(list, 0), "endpoint_config", "cluster_name"), "gone");
	assert_string_equal(text_at(json_array_get(list, 0), "client_status", NULL), "DOES_NOT_EXIST");
	assert_string_equal(text_at(json_array_get(list, 1), "endpoint_config", "cluster_name"), "late");
	assert_string_equal(text_at(json_array_get(list, 1), "client_status", NULL), "REQUESTED");
	json_decref(dumped);
	end(&f);
}

/* A listener that was never good has its name and the error, and no state that a reader could take for one in force. */
static void never_good(void **state)
{
	struct xds_resource bad = {.version = MESH_SLICE("1"),
				   .type_url = mesh_slice_of(mesh_xds_type_urls[XDS_LISTENER]),
				   .bytes = MESH_SLICE("\x0a\x01l\x12")};
	struct fixture f;
	json_t *dumped, *only;

	begin(&f);
	apply(&f, XDS_LISTENER, &bad, 1);
	dumped = dump(&f);
	only = json_array_get(group(dumped, "ListenersConfigDump", "dynamic_listeners"), 0);
	assert_string_equal(text_at(only, "name", NULL), "l");
	assert_string_equal(text_at(only, "client_status", NULL), "NACKED");
	assert_null(json_object_get(only, "active_state"));
	assert_string_equal(text_at(json_object_get(only, "error_state"), "failed_configuration", "@type"),
			    mesh_xds_type_urls[XDS_LISTENER]);
	json_decref(dumped);
	bad.type_url = mesh_slice_of(mesh_xds_type_urls[XDS_ROUTE]); /* what it is not cannot be shown as what it is */
	bad.name = MESH_SLICE("l");
	apply(&f, XDS_LISTENER, &bad, 1);
	dumped = dump(&f);
	only = json_array_get(group(dumped, "ListenersConfigDump", "dynamic_listeners"), 0);
	assert_non_null(json_object_get(only, "error_state"));
	assert_null(json_object_get(json_object_get(only, "error_state"), "failed_configuration"));
	json_decref(dumped);
	end(&f);
}

/* ---- what must not be shown, or stop the rest ---- */

static struct xds_resource tls_cluster(struct fixture *f, const char *version, const char *context)
{
	return xds_sample_json(&f->arena, version,
			       "{'@type': 'envoy.config.cluster.v3.Cluster', 'name': 'tls', 'transportSocket': {"
			       " 'name': 'envoy.transport_sockets.tls', 'typedConfig': {"
			       "  '@type': 'envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext',"
			       "  'commonTlsContext': {%s}}}}",
			       context);
}

static struct xds_resource sent_secret(struct fixture *f, const char *version, const char *chain)
{
	return xds_sample_json(&f->arena, version,
			       "{'@type': 'envoy.extensions.transport_sockets.tls.v3.Secret', 'name': 'kubernetes://a',"
			       " 'tlsCertificate': {'certificateChain': {'inlineString': '%s'},"
			       " 'privateKey': {'inlineString': 'MANDRAKE'}}}",
			       chain);
}

static void no_keys(void **state)
{
	static const char *const forms[] = {"MANDRAKE", "TUFORFJBS0U",
					    "NQU5EUkFLR"}; /* also in base64, as it may be cut */
	struct fixture f;
	struct xds_resource r;
	struct mesh_slice text;

	begin(&f);
	set_secret(&f, "default", "chain", "MANDRAKE", NULL);
	r = tls_cluster(&f, "1",
			"'tlsCertificateSdsSecretConfigs': [{'name': 'kubernetes://a', 'sdsConfig': {'ads': {}}}]");
	apply(&f, XDS_CLUSTER, &r, 1);
	r = sent_secret(&f, "1", "chain");
	apply(&f, XDS_SECRET, &r, 1);
	r = sent_secret(&f, "2", ""); /* refused */
	apply(&f, XDS_SECRET, &r, 1);
	text = dump_text(&f);
	assert_true(mesh_slice_contains(text, MESH_SLICE("W3JlZGFjdGVkXQ==")));
	assert_true(mesh_slice_contains(text, MESH_SLICE("\"Y2hhaW4=\"")));
	assert_true(mesh_slice_contains(text, MESH_SLICE("must be inline and not empty")));
	for (size_t i = 0; i < 3; i++)
		assert_false(mesh_slice_contains(text, mesh_slice_of(forms[i])));
	r = tls_cluster(&f, "2",
			"'tlsCertificates': [{'certificateChain': {'inlineString': 'chain'},"
			" 'privateKey': {'inlineString': 'MANDRAKE'}}]");
	apply(&f, XDS_CLUSTER, &r, 1); /* a key inside a cluster */
	text = dump_text(&f);
	assert_true(mesh_slice_contains(text, MESH_SLICE("\"[redacted]\"")));
	for (size_t i = 0; i < 3; i++)
		assert_false(mesh_slice_contains(text, mesh_slice_of(forms[i])));
	end(&f);
}

static void too_large(void **state)
{
	struct fixture f;
	struct buf small;

	begin(&f);
	fill(&f);
	for (size_t limit = 1; limit < 3000; limit += 7) {
		mesh_buf_init(&small, &mesh_mem_default, limit);
		mesh_buf_append(&small, MESH_SLICE("x"));
		assert_int_equal(mesh_resource_cache_dump(f.cache, BOOTSTRAP, &small), MESH_ERROR_TOO_LARGE);
		assert_int_equal(mesh_buf_len(&small), 1);
		mesh_buf_free(&small);
	}
	end(&f);
}

struct packed {
	char bytes[8192];
	size_t at; /* built from the end */
};

static void prepend(struct packed *p, const void *bytes, size_t len)
{
	p->at -= len;
	memcpy(p->bytes + p->at, bytes, len);
}

/* All so far becomes field `id`. */
static void wrap(struct packed *p, unsigned id)
{
	size_t len = sizeof(p->bytes) - p->at;
	char head[3] = {(char)(id << 3 | 2), (char)((len & 0x7f) | 0x80), (char)(len >> 7)};

	prepend(p, head, sizeof(head));
}

static void wrap_any(struct packed *p, const char *type)
{
	char url[200], head[2] = {0x0a};

	wrap(p, 2);
	snprintf(url, sizeof(url), "type.googleapis.com/envoy.extensions.filters.%s", type);
	head[1] = (char)strlen(url);
	prepend(p, url, strlen(url));
	prepend(p, head, 2);
	wrap(p, 4); /* typed_config */
}

/* Deeper than JSON readers stand, though not too deep as protobuf: shown by name, and the others in full. */
static void too_deep(void **state)
{
	struct packed p = {.at = sizeof(p.bytes)};
	struct xds_resource deep = {.version = MESH_SLICE("1"),
				    .type_url = mesh_slice_of(mesh_xds_type_urls[XDS_LISTENER])};
	struct fixture f;
	json_t *dumped, *only, *shown;

	for (int i = 0; i < 29; i++) {
		wrap(&p, 1); /* rules */
		wrap(&p, 1); /* and_rules */
	}
	wrap(&p, 1); /* permissions */
	wrap(&p, 2);
	wrap(&p, 2); /* policies */
	wrap(&p, 1); /* rules */
	wrap_any(&p, "http.rbac.v3.RBAC");
	prepend(&p, "\x0a\x01r", 3);
	wrap(&p, 5); /* http_filters */
	prepend(&p, "\x12\x01p", 3);
	wrap_any(&p, "network.http_connection_manager.v3.HttpConnectionManager");
	prepend(&p, "\x0a\x01h", 3);
	wrap(&p, 3); /* filters */
	wrap(&p, 3); /* filter_chains */
	prepend(&p, "\x0a\x01l", 3);
	deep.bytes = mesh_slice_make(p.bytes + p.at, sizeof(p.bytes) - p.at);
	begin(&f);
	apply(&f, XDS_LISTENER, &deep, 1);
	dumped = dump(&f);
	only = json_array_get(group(dumped, "ListenersConfigDump", "dynamic_listeners"), 0);
	assert_string_equal(text_at(only, "name", NULL), "l");
	shown = json_object_get(json_object_get(only, "error_state"), "failed_configuration");
	if (!shown)
		shown = json_object_get(json_object_get(only, "active_state"), "listener");
	assert_string_equal(text_at(shown, "name", NULL), "l");
	assert_null(json_object_get(shown, "filter_chains"));
	json_decref(dumped);
	end(&f);
}

/* One that was refused for what it unpacks to does not keep the others from being shown. */
static void inflating(void **state)
{
	enum { HOSTS = 1500000 };
	struct xds_resource listener;
	struct xds_resource bomb = {.version = MESH_SLICE("2"),
				    .type_url = mesh_slice_of(mesh_xds_type_urls[XDS_ROUTE])};
	struct fixture f;
	json_t *dumped, *only;
	char *bytes;

	begin(&f);
	listener = xds_sample_json(
		&f.arena, "1",
		"{'@type': 'envoy.config.listener.v3.Listener', 'name': 'l', 'apiListener': {'apiListener': {"
		" '@type': 'envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager',"
		" 'statPrefix': 'p', 'rds': {'routeConfigName': 'n', 'configSource': {'ads': {}}}, 'httpFilters': ["
		"  {'name': 'router', 'typedConfig': {'@type': 'envoy.extensions.filters.http.router.v3.Router'}}]}}}");
	apply(&f, XDS_LISTENER, &listener, 1);
	bytes = mesh_arena_alloc(&f.arena, 3 + 2 * HOSTS);
	memcpy(bytes, "\x0a\x01n", 3);
	for (size_t i = 0; i < HOSTS; i++)
		memcpy(bytes + 3 + 2 * i, "\x12\x00", 2);
	bomb.bytes = mesh_slice_make(bytes, 3 + 2 * HOSTS);
	apply(&f, XDS_ROUTE, &bomb, 1);
	dumped = dump(&f);
	only = json_array_get(group(dumped, "RoutesConfigDump", "dynamic_route_configs"), 0);
	assert_string_equal(text_at(only, "client_status", NULL), "NACKED");
	assert_string_equal(text_at(json_object_get(only, "error_state"), "failed_configuration", "name"), "n");
	assert_null(json_object_get(json_object_get(json_object_get(only, "error_state"), "failed_configuration"),
				    "virtual_hosts"));
	json_decref(dumped);
	end(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(golden),     cmocka_unit_test(read_back), cmocka_unit_test(status),
		cmocka_unit_test(never_good), cmocka_unit_test(no_keys),   cmocka_unit_test(too_large),
		cmocka_unit_test(too_deep),   cmocka_unit_test(inflating),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
