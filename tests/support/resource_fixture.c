/* SPDX-License-Identifier: Apache-2.0 */
/* Feeds a resource cache and looks at what came of it. Refuses to know why. */
#include "support/resource_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static void count_line(void *user, enum mesh_log_level level, const char *subject, const char *line)
{
	((struct resource_fixture *)user)->lines++;
}

void fixture_begin(struct resource_fixture *f, const struct xds_limits *limits)
{
	memset(f, 0, sizeof(*f));
	f->log = (struct log){count_line, f, MESH_LOG_WARNING};
	mesh_arena_init(&f->arena, &mesh_mem_default, 0);
	mesh_buf_init(&f->rejects, &mesh_mem_default, 0);
	assert_int_equal(mesh_resource_cache_new(&mesh_mem_default, &f->log, limits, &f->cache), 0);
}

void fixture_end(struct resource_fixture *f)
{
	mesh_snapshot_release(f->snapshot);
	mesh_resource_cache_free(f->cache);
	mesh_buf_free(&f->rejects);
	mesh_arena_free(&f->arena);
}

int fixture_apply_rc(struct resource_fixture *f, enum xds_type type, const struct xds_resource *resources, size_t count,
		     bool whole)
{
	mesh_buf_clear(&f->rejects);
	return mesh_resource_cache_apply(f->cache, type, resources, count, NULL, 0, whole, &f->rejects);
}

void fixture_apply_says(struct resource_fixture *f, enum xds_type type, const struct xds_resource *resources,
			size_t count, bool whole, const char *rejects)
{
	assert_int_equal(fixture_apply_rc(f, type, resources, count, whole), 0);
	if (!mesh_slice_equal(mesh_buf_slice(&f->rejects), mesh_slice_of(rejects)))
		fail_msg("said \"%.*s\", not \"%s\"", (int)mesh_buf_len(&f->rejects), mesh_buf_slice(&f->rejects).data,
			 rejects);
}

void fixture_apply(struct resource_fixture *f, enum xds_type type, const struct xds_resource *resources, size_t count,
		   bool whole)
{
	fixture_apply_says(f, type, resources, count, whole, "");
}

void fixture_remove(struct resource_fixture *f, enum xds_type type, const char *name)
{
	struct mesh_slice removed = mesh_slice_of(name);

	mesh_buf_clear(&f->rejects);
	assert_int_equal(mesh_resource_cache_apply(f->cache, type, NULL, 0, &removed, 1, false, &f->rejects), 0);
	assert_int_equal(mesh_buf_len(&f->rejects), 0);
}

const struct snapshot *fixture_snapshot(struct resource_fixture *f)
{
	mesh_snapshot_release(f->snapshot);
	f->snapshot = NULL;
	assert_int_equal(mesh_resource_cache_snapshot(f->cache, 7, &f->snapshot), 0);
	assert_int_equal(f->snapshot->version, 7);
	return f->snapshot;
}

void fixture_assert_wanted(struct resource_fixture *f, enum xds_type type, const char *expected)
{
	const struct mesh_slice *names;
	size_t count;
	struct buf text;

	mesh_buf_init(&text, &mesh_mem_default, 0);
	assert_int_equal(mesh_resource_cache_wanted(f->cache, type, &names, &count), 0);
	for (size_t i = 0; i < count; i++)
		mesh_buf_printf(&text, "%s%.*s", i ? "," : "", (int)names[i].len, names[i].data);
	mesh_buf_append(&text, mesh_slice_make("", 1));
	assert_string_equal(mesh_buf_slice(&text).data, expected);
	mesh_buf_free(&text);
}

void fixture_assert_held(struct resource_fixture *f, enum xds_type type, const char *expected)
{
	const struct xds_held *held;
	size_t count;
	struct buf text;

	mesh_buf_init(&text, &mesh_mem_default, 0);
	assert_int_equal(mesh_resource_cache_held(f->cache, type, &held, &count), 0);
	for (size_t i = 0; i < count; i++)
		mesh_buf_printf(&text, "%s%.*s=%.*s", i ? "," : "", (int)held[i].name.len, held[i].name.data,
				(int)held[i].version.len, held[i].version.data);
	mesh_buf_append(&text, mesh_slice_make("", 1));
	assert_string_equal(mesh_buf_slice(&text).data, expected);
	mesh_buf_free(&text);
}

const void *fixture_object(struct resource_fixture *f, enum xds_type type, const char *name)
{
	const struct snapshot *s = fixture_snapshot(f);
	struct table *const tables[XDS_TYPES] = {
		[XDS_CLUSTER] = s->clusters, [XDS_ENDPOINT] = s->endpoints, [XDS_LISTENER] = s->listeners,
		[XDS_ROUTE] = s->routes,     [XDS_SECRET] = s->secrets,
	};

	return mesh_table_get(tables[type], mesh_slice_of(name));
}

struct xds_resource sample_eds_cluster(struct resource_fixture *f, const char *version, const char *name,
				       const char *service)
{
	return xds_sample_json(&f->arena, version,
			       "{'@type': 'envoy.config.cluster.v3.Cluster', 'name': '%s', 'type': 'EDS',"
			       " 'edsClusterConfig': {'edsConfig': {'ads': {}}, 'serviceName': '%s'}}",
			       name, service);
}

struct xds_resource sample_static_cluster(struct resource_fixture *f, const char *version, const char *name,
					  const char *timeout)
{
	return xds_sample_json(&f->arena, version,
			       "{'@type': 'envoy.config.cluster.v3.Cluster', 'name': '%s', 'connectTimeout': '%s'}",
			       name, timeout);
}

struct xds_resource sample_endpoints(struct resource_fixture *f, const char *version, const char *name)
{
	return xds_sample_json(&f->arena, version,
			       "{'@type': 'envoy.config.endpoint.v3.ClusterLoadAssignment', 'clusterName': '%s'}",
			       name);
}

struct xds_resource sample_routes(struct resource_fixture *f, const char *version, const char *name)
{
	return xds_sample_json(&f->arena, version,
			       "{'@type': 'envoy.config.route.v3.RouteConfiguration', 'name': '%s'}", name);
}

struct xds_resource sample_listener(struct resource_fixture *f, const char *version, const char *name,
				    const char *route, const char *filter)
{
	return xds_sample_json(
		&f->arena, version,
		"{'@type': 'envoy.config.listener.v3.Listener', 'name': '%s',"
		" 'address': {'socketAddress': {'address': '0.0.0.0', 'portValue': 80}},"
		" 'filterChains': [{'filters': [{'name': 'envoy.filters.network.http_connection_manager', "
		"'typedConfig': {"
		"  '@type': 'envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager',"
		"  'statPrefix': 'p', 'rds': {'routeConfigName': '%s', 'configSource': {'ads': {}}},"
		"  'httpFilters': [%s {'name': 'envoy.filters.http.router',"
		"   'typedConfig': {'@type': 'envoy.extensions.filters.http.router.v3.Router'}}]}}]}]}",
		name, route, filter);
}

size_t fixture_apply_sample(struct resource_fixture *f, enum xds_type type, const char *path)
{
	size_t count;
	struct xds_resource *resources = xds_sample_load(&f->arena, path, &count);

	fixture_apply(f, type, resources, count, type == XDS_CLUSTER || type == XDS_LISTENER);
	return count;
}
