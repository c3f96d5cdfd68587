/* SPDX-License-Identifier: Apache-2.0 */
/* Decides how a test names the cluster it wants. Refuses to know what a cluster is. */
#include "support/cluster_fixture.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <mesh/error.h>

#define EDS "'name': 'c', 'type': 'EDS', 'edsClusterConfig': {'edsConfig': {'ads': {}}}"

struct mesh_slice cluster_fixture_bytes(struct decode_fixture *f, const char *path, const char *name)
{
	struct mesh_slice found = {NULL, 0};
	struct xds_resource *all;
	size_t count;

	all = xds_sample_load(&f->arena, path, &count);
	for (size_t i = 0; i < count; i++) {
		struct cluster_config *cluster = mesh_decode_cluster(&f->d, all[i].bytes);

		if (!cluster)
			fail_msg("%s, resource %zu: %s", path, i, f->d.why.text);
		if (mesh_slice_equal(cluster->object.item.name, mesh_slice_of(name))) {
			assert_null(found.data);
			found = all[i].bytes;
		}
		mesh_config_object_release(cluster);
	}
	if (!found.data)
		fail_msg("%s: no %s", path, name);
	decode_fixture_warnings(f);
	return found;
}

struct cluster_config *cluster_fixture_recorded(struct decode_fixture *f, const char *path, const char *name)
{
	struct cluster_config *cluster = mesh_decode_cluster(&f->d, cluster_fixture_bytes(f, path, name));

	assert_non_null(cluster);
	assert_text(cluster->object.item.name, name);
	return cluster;
}

struct cluster_config *cluster_fixture_json(struct decode_fixture *f, const char *rest)
{
	struct xds_resource resource =
		xds_sample_json(&f->arena, "1", "{'@type': 'envoy.config.cluster.v3.Cluster', %s}", rest);

	return mesh_decode_cluster(&f->d, resource.bytes);
}

static struct cluster_config *eds(struct decode_fixture *f, const char *rest)
{
	return cluster_fixture_json(f, mesh_arena_printf(&f->arena, "%s%s%s", EDS, rest[0] ? ", " : "", rest).data);
}

struct cluster_config *cluster_fixture_eds(struct decode_fixture *f, const char *rest)
{
	struct cluster_config *cluster = eds(f, rest);

	if (!cluster)
		fail_msg("%s in %s", f->d.why.text, rest);
	return cluster;
}

void cluster_fixture_refused(struct decode_fixture *f, const char *rest, const char *path, const char *what)
{
	struct cluster_config *cluster = eds(f, rest);

	if (cluster)
		fail_msg("taken: %s", rest);
	assert_int_equal(f->d.rc, MESH_ERROR_INVALID);
	if (!strstr(f->d.why.text, path) || !strstr(f->d.why.text, what))
		fail_msg("%s says: %s", rest, f->d.why.text);
}

size_t cluster_fixture_wrap(unsigned char *bytes, size_t at, size_t end, unsigned tag)
{
	unsigned char head[12];
	size_t len = end - at, count = 0;

	while (tag > 0x7f) {
		head[count++] = (unsigned char)(tag | 0x80);
		tag >>= 7;
	}
	head[count++] = (unsigned char)tag;
	while (len > 0x7f) {
		head[count++] = (unsigned char)(len | 0x80);
		len >>= 7;
	}
	head[count++] = (unsigned char)len;
	for (size_t i = count; i-- > 0;)
		bytes[--at] = head[i];
	return at;
}
