/* SPDX-License-Identifier: Apache-2.0 */
/* A response that runs out of memory leaves what was held, asked for and said as it was, and can be tried again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>
#include <mesh/error.h>

#include "support/failing_mem.h"
#include "support/xds_sample.h"
#include "xds/resource_state.h"

#define EXPECT(condition)                                                                                              \
	do {                                                                                                           \
		if (!(condition)) {                                                                                    \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                                \
			rc = MESH_ERROR_STATE;                                                                         \
		}                                                                                                      \
	} while (0)

enum { STEPS_MAX = 8 };

struct step {
	enum xds_type type;
	struct xds_resource resources[3];
	size_t count;
	bool whole;
	bool refused; /* something is */
};

struct scenario {
	struct arena arena;
	struct step steps[STEPS_MAX];
	size_t count;
	struct log log;
};

static struct xds_resource cluster(struct scenario *s, const char *version, const char *name, const char *service,
				   const char *timeout)
{
	return xds_sample_json(&s->arena, version,
			       "{'@type': 'envoy.config.cluster.v3.Cluster', 'name': '%s', 'type': 'EDS',"
			       " 'connectTimeout': '%s', 'upstreamConfig': {},"
			       " 'edsClusterConfig': {'edsConfig': {'ads': {}}, 'serviceName': '%s'}}",
			       name, timeout, service);
}

static struct xds_resource tls_cluster(struct scenario *s)
{
	return xds_sample_json(&s->arena, "1",
			       "{'@type': 'envoy.config.cluster.v3.Cluster', 'name': 'tls', 'transportSocket': {"
			       " 'name': 'envoy.transport_sockets.tls', 'typedConfig': {"
			       "  '@type': 'envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext',"
			       "  'commonTlsContext': {'tlsCertificateSdsSecretConfigs': ["
			       "   {'name': 'kubernetes://a', 'sdsConfig': {'ads': {}}}]}}}}");
}

static struct xds_resource endpoints(struct scenario *s, const char *name)
{
	return xds_sample_json(&s->arena, "1",
			       "{'@type': 'envoy.config.endpoint.v3.ClusterLoadAssignment', 'clusterName': '%s',"
			       " 'endpoints': [{'lbEndpoints': [{'endpoint': {"
			       "  'address': {'socketAddress': {'address': '10.0.0.1', 'portValue': 80}}}}]}]}",
			       name);
}

static struct xds_resource listener(struct scenario *s, const char *routes)
{
	return xds_sample_json(
		&s->arena, "1",
		"{'@type': 'envoy.config.listener.v3.Listener', 'name': 'l',"
		" 'address': {'socketAddress': {'address': '0.0.0.0', 'portValue': 80}},"
		" 'filterChains': [{'filters': [{'name': 'http', 'typedConfig': {"
		"  '@type': 'envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager',"
		"  'statPrefix': 'p', %s, 'httpFilters': ["
		"   {'name': 'guard', 'typedConfig': {'@type': 'envoy.extensions.filters.http.wasm.v3.Wasm'}},"
		"   {'name': 'router', 'typedConfig': {'@type': "
		"'envoy.extensions.filters.http.router.v3.Router'}}]}}]}]}",
		routes);
}

static struct xds_resource routes(struct scenario *s)
{
	return xds_sample_json(&s->arena, "1", "{'@type': 'envoy.config.route.v3.RouteConfiguration', 'name': 'r'}");
}

static struct xds_resource secret(struct scenario *s)
{
	return xds_sample_json(&s->arena, "1",
			       "{'@type': 'envoy.extensions.transport_sockets.tls.v3.Secret', 'name': 'kubernetes://a',"
			       " 'tlsCertificate': {'certificateChain': {'inlineString': 'chain'},"
			       " 'privateKey': {'inlineString': 'key'}}}");
}

static void add_step(struct scenario *s, enum xds_type type, bool whole, bool refused, size_t count,
		     const struct xds_resource *resources)
{
	struct step *step = &s->steps[s->count++];

	*step = (struct step){.type = type, .count = count, .whole = whole, .refused = refused};
	memcpy(step->resources, resources, count * sizeof(*resources));
}

static void make_steps(struct scenario *s)
{
	const struct xds_resource clusters[] = {cluster(s, "1", "a", "s", "1s"), cluster(s, "1", "b", "t", "1s"),
						tls_cluster(s)};
	const struct xds_resource sets[] = {endpoints(s, "s"), endpoints(s, "t")};
	const struct xds_resource by_name = listener(s, "'rds': {'routeConfigName': 'r', 'configSource': {'ads': {}}}");
	const struct xds_resource with_inline = listener(s, "'routeConfig': {'name': 'inline'}");
	const struct xds_resource rds = routes(s), sds = secret(s);
	/* a is refused, b lets go of t, the other goes */
	const struct xds_resource changed[] = {cluster(s, "2", "a", "s", "0s"), cluster(s, "2", "b", "u", "1s")};

	add_step(s, XDS_CLUSTER, true, false, 3, clusters);
	add_step(s, XDS_ENDPOINT, false, false, 2, sets);
	add_step(s, XDS_LISTENER, true, true, 1, &by_name);
	add_step(s, XDS_ROUTE, false, false, 1, &rds);
	add_step(s, XDS_SECRET, false, false, 1, &sds);
	add_step(s, XDS_LISTENER, true, true, 1, &with_inline);
	add_step(s, XDS_CLUSTER, true, true, 2, changed);
}

/* Applies a step until there is memory for it: what fails in between must not show. */
static int apply_step(struct resource_cache *cache, const struct step *step, struct buf *rejects)
{
	struct resource_state before = cache->state;
	size_t said = mesh_buf_len(rejects);
	int rc = mesh_resource_cache_apply(cache, step->type, step->resources, step->count, NULL, 0, step->whole,
					   rejects);

	if (rc < 0) {
		EXPECT(memcmp(&before, &cache->state, sizeof(before)) == 0);
		EXPECT(mesh_buf_len(rejects) == said);
		return rc;
	}
	EXPECT(step->refused == (mesh_buf_len(rejects) > said));
	return rc;
}

static int look(struct resource_cache *cache, struct buf *out)
{
	struct snapshot *snapshot = NULL;
	const struct mesh_slice *names;
	const struct xds_held *held;
	size_t count, before = mesh_buf_len(out);
	int rc = mesh_resource_cache_snapshot(cache, 1, &snapshot);

	mesh_snapshot_release(snapshot);
	for (enum xds_type type = 0; type < XDS_TYPES && rc == 0; type++) {
		rc = mesh_resource_cache_wanted(cache, type, &names, &count);
		rc = rc ? rc : mesh_resource_cache_held(cache, type, &held, &count);
	}
	if (rc == 0) {
		rc = mesh_resource_cache_dump(cache, MESH_SLICE("{}"), out);
		EXPECT(rc == 0 || mesh_buf_len(out) == before);
	}
	return rc;
}

static int set_own(struct resource_cache *cache, const struct mesh_mem *mem)
{
	struct resource_state before = cache->state;
	struct secret *own = NULL;
	int rc = mesh_secret_new(mem, MESH_SLICE("default"), MESH_SLICE("chain"), MESH_SLICE("key"),
				 mesh_slice_make(NULL, 0), &own);

	if (rc == 0)
		rc = mesh_resource_cache_set_secret(cache, own);
	if (rc < 0)
		EXPECT(memcmp(&before, &cache->state, sizeof(before)) == 0);
	mesh_secret_release(own);
	return rc;
}

/* However often memory was short on the way. */
static int look_at_end(struct resource_cache *cache)
{
	static const char *const names[] = {"s", "u"};
	const struct mesh_slice *wanted;
	const struct xds_held *held;
	struct snapshot *snapshot = NULL;
	size_t count;
	int rc = mesh_resource_cache_wanted(cache, XDS_ENDPOINT, &wanted, &count);

	for (size_t i = 0; rc == 0 && i < 2; i++)
		EXPECT(count == 2 && mesh_slice_equal(wanted[i], mesh_slice_of(names[i])));
	rc = rc ? rc : mesh_resource_cache_held(cache, XDS_CLUSTER, &held, &count);
	if (rc == 0)
		EXPECT(count == 2 && mesh_slice_equal(held[0].version, MESH_SLICE("1")) &&
		       mesh_slice_equal(held[1].version, MESH_SLICE("2")));
	rc = rc ? rc : mesh_resource_cache_held(cache, XDS_ROUTE, &held, &count);
	if (rc == 0)
		EXPECT(count == 0);
	rc = rc ? rc : mesh_resource_cache_snapshot(cache, 2, &snapshot);
	if (rc == 0)
		EXPECT(snapshot->complete && mesh_table_count(snapshot->endpoints) == 1 &&
		       mesh_table_count(snapshot->secrets) == 1);
	mesh_snapshot_release(snapshot);
	return rc;
}

static int use_cache(const struct mesh_mem *mem, void *user)
{
	const struct scenario *s = user;
	struct resource_cache *cache = NULL;
	struct buf rejects, out;
	int rc = mesh_resource_cache_new(mem, &s->log, NULL, &cache);

	mesh_buf_init(&rejects, mem, 0);
	mesh_buf_init(&out, mem, 0);
	rc = rc ? rc : set_own(cache, mem);
	for (size_t i = 0; i < s->count && rc == 0; i++) {
		rc = apply_step(cache, &s->steps[i], &rejects);
		if (rc == MESH_ERROR_NOMEM)
			rc = apply_step(cache, &s->steps[i], &rejects);
		rc = rc ? rc : look(cache, &out);
		if (rc == MESH_ERROR_NOMEM)
			rc = look(cache, &out);
	}
	if (rc == 0)
		rc = mesh_resource_cache_give_up(cache);
	if (rc == 0)
		rc = look_at_end(cache);
	mesh_buf_free(&rejects);
	mesh_buf_free(&out);
	mesh_resource_cache_free(cache);
	return rc;
}

static void cache(void **state)
{
	struct scenario s = {.log = {NULL, NULL, MESH_LOG_ERROR}};

	mesh_arena_init(&s.arena, &mesh_mem_default, 0);
	make_steps(&s);
	assert_true(oom_run(use_cache, &s) >= 300);
	mesh_arena_free(&s.arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(cache)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
