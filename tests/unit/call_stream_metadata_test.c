/* SPDX-License-Identifier: Apache-2.0 */
/* TCP metadata exchange: our own is read back, and a peer that lies gets no further than the bounds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <stdio.h>

#include "call/stream_metadata.h"
#include "xds/bootstrap.h"
#include "xds/node.h"

/* Feeds all of it in steps; what was left over is the application's. */
static size_t feed(struct stream_metadata *metadata, struct arena *arena, struct mesh_slice bytes, size_t step)
{
	size_t at = 0;

	mesh_stream_metadata_init(metadata, arena);
	while (metadata->state == STREAM_METADATA_MORE && at < bytes.len) {
		size_t room, n;
		char *into = mesh_stream_metadata_room(metadata, &room);

		assert_true(room > 0);
		n = room < step ? room : step;
		n = n < bytes.len - at ? n : bytes.len - at;
		memcpy(into, bytes.data + at, n);
		mesh_stream_metadata_take(metadata, n);
		at += n;
	}
	return at;
}

static void assert_slice(struct mesh_slice slice, const char *text)
{
	assert_non_null(slice.data);
	assert_int_equal(slice.len, strlen(text));
	assert_memory_equal(slice.data, text, slice.len);
}

static const char *const environment[] = {
	"POD_NAME=sleep-1", "POD_NAMESPACE=sleeping", "INSTANCE_IP=10.1.2.3", "SERVICE_ACCOUNT=sleep", "TRUST_DOMAIN=example.org",
	"ISTIO_META_CLUSTER_ID=east", "ISTIO_META_WORKLOAD_NAME=sleep",
	"ISTIO_META_OWNER=kubernetes://apis/apps/v1/namespaces/sleeping/deployments/sleep",
	"PROXY_CONFIG={\"discoveryAddress\":\"istiod.istio-system.svc:15010\"}", NULL};

static void greeting(struct buf *out)
{
	struct mesh_options options = {.size = sizeof(options)};
	struct bootstrap *bootstrap;
	struct why why = {{0}};
	char token[] = "/tmp/mesh-token-XXXXXX";
	FILE *file = fdopen(mkstemp(token), "w");

	fputs("token", file);
	fclose(file);
	options.token_file = token;
	options.labels_json = "{\"app\":\"sleep\",\"version\":\"v1\",\"service.istio.io/canonical-name\":\"zzz\","
			      "\"service.istio.io/canonical-revision\":\"v2\",\"secret\":\"not for peers\"}";
	options.ca_address = "127.0.0.1:1";
	options.root_cert_file = token;
	if (mesh_bootstrap_new(&mesh_mem_default, &options, environment, &bootstrap, &why))
		fail_msg("%s", why.text);
	mesh_buf_init(out, &mesh_mem_default, 0);
	assert_int_equal(mesh_node_greeting(bootstrap, out, &why), 0);
	mesh_bootstrap_free(bootstrap);
	remove(token);
}

static void test_ours_is_read_back(void **state)
{
	struct stream_metadata metadata;
	struct arena arena;
	struct buf out;

	greeting(&out);
	assert_int_equal(mesh_buf_append(&out, MESH_SLICE("GET")), 0);
	assert_memory_equal(out.data, "\x3d\x23\x04\x67\0\0", 6);
	assert_true(mesh_buf_len(&out) < 2048);
	mesh_arena_init(&arena, &mesh_mem_default, 0);
	for (size_t step = 1; step < 4096; step *= 3) {
		assert_int_equal(feed(&metadata, &arena, mesh_buf_slice(&out), step), mesh_buf_len(&out) - 3);
		assert_int_equal(metadata.state, STREAM_METADATA_DONE);
		assert_true(metadata.understood);
		assert_slice(metadata.workload.id, "sidecar~10.1.2.3~sleep-1.sleeping~sleeping.svc.cluster.local");
		assert_slice(metadata.workload.name, "sleep-1");
		assert_slice(metadata.workload.ns, "sleeping");
		assert_slice(metadata.workload.workload, "sleep");
		assert_slice(metadata.workload.cluster, "east");
		assert_slice(metadata.workload.owner, "kubernetes://apis/apps/v1/namespaces/sleeping/deployments/sleep");
		assert_slice(metadata.workload.identity, "spiffe://example.org/ns/sleeping/sa/sleep");
		assert_slice(metadata.workload.app, "sleep");
		assert_slice(metadata.workload.version, "v1");
		assert_slice(metadata.workload.canonical_name, "zzz");
		assert_slice(metadata.workload.canonical_revision, "v2");
	}
	assert_false(mesh_slice_contains(mesh_buf_slice(&out), MESH_SLICE("not for peers")));
	mesh_arena_free(&arena);
	mesh_buf_free(&out);
}

/* Cut anywhere it asks for more, and never for what is behind its end. */
static void test_cut_short(void **state)
{
	struct stream_metadata metadata;
	struct arena arena;
	struct buf out;

	greeting(&out);
	mesh_arena_init(&arena, &mesh_mem_default, 0);
	for (size_t len = 0; len < mesh_buf_len(&out); len++) {
		assert_int_equal(feed(&metadata, &arena, mesh_slice_make(out.data, len), 4096), len);
		assert_int_equal(metadata.state, STREAM_METADATA_MORE);
	}
	mesh_arena_free(&arena);
	mesh_buf_free(&out);
}

static void expect(const char *bytes, size_t len, enum stream_metadata_state state, size_t taken, bool understood)
{
	struct stream_metadata metadata;
	struct arena arena;

	mesh_arena_init(&arena, &mesh_mem_default, 0);
	for (size_t step = 1; step <= 64; step *= 64) {
		size_t used = feed(&metadata, &arena, mesh_slice_make(bytes, len), step);

		assert_int_equal(metadata.state, state);
		assert_int_equal(metadata.understood, understood);
		if (state == STREAM_METADATA_ABSENT)
			assert_int_equal(metadata.have, used);
		else
			assert_int_equal(used, taken);
	}
	mesh_arena_free(&arena);
}

#define BYTES(text) text, sizeof(text) - 1

static void test_peers_that_lie(void **state)
{
	/* no magic: the application's bytes, known with the first that differs */
	expect(BYTES("G"), STREAM_METADATA_ABSENT, 0, false);
	expect(BYTES("\x3d\x23\x04\x68\0\0\0\x01x"), STREAM_METADATA_ABSENT, 0, false);
	/* nothing announced, nothing said */
	expect(BYTES("\x3d\x23\x04\x67\0\0\0\0rest"), STREAM_METADATA_DONE, 8, false);
	/* more than anybody has to say of himself */
	expect(BYTES("\x3d\x23\x04\x67\0\1\0\1"), STREAM_METADATA_BROKEN, 8, false);
	expect(BYTES("\x3d\x23\x04\x67\xff\xff\xff\xff"), STREAM_METADATA_BROKEN, 8, false);
	/* not protobuf, groups, a length past the end, a number that never ends, an Any of another type */
	expect(BYTES("\x3d\x23\x04\x67\0\0\0\x04rest"), STREAM_METADATA_DONE, 12, false);
	expect(BYTES("\x3d\x23\x04\x67\0\0\0\x02\x0b\x0c"), STREAM_METADATA_DONE, 10, false);
	expect(BYTES("\x3d\x23\x04\x67\0\0\0\x03\x0a\x7fx"), STREAM_METADATA_DONE, 11, false);
	expect(BYTES("\x3d\x23\x04\x67\0\0\0\x0b\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"), STREAM_METADATA_DONE, 19, false);
	expect(BYTES("\x3d\x23\x04\x67\0\0\0\x08\x0a\x06" "a/b.Cd"), STREAM_METADATA_DONE, 16, false);
}

static bool parse(const char *object, size_t len, struct stream_workload *workload)
{
	static char any[1024];
	static const char type[] = "x/google.protobuf.Struct";

	any[0] = 0x0a;
	any[1] = sizeof(type) - 1;
	memcpy(any + 2, type, sizeof(type) - 1);
	any[sizeof(type) + 1] = 0x12;
	any[sizeof(type) + 2] = (char)len;
	memcpy(any + sizeof(type) + 3, object, len);
	return mesh_stream_metadata_parse(mesh_slice_make(any, sizeof(type) + 3 + len), workload);
}

static void test_values_of_the_wrong_kind(void **state)
{
	struct stream_workload workload;

	/* an id that is a number, and one with a line end in it: as if it were not there */
	assert_true(parse(BYTES("\x0a\x25\x0a\x18x-envoy-peer-metadata-id\x12\x09\x11\0\0\0\0\0\0\0\0"), &workload));
	assert_null(workload.id.data);
	assert_true(parse(BYTES("\x0a\x1f\x0a\x18x-envoy-peer-metadata-id\x12\x03\x1a\x01\n"), &workload));
	assert_null(workload.id.data);
	/* the last of two counts, as in any protobuf map */
	assert_true(parse(BYTES("\x0a\x1f\x0a\x18x-envoy-peer-metadata-id\x12\x03\x1a\x01" "a"
				"\x0a\x1f\x0a\x18x-envoy-peer-metadata-id\x12\x03\x1a\x01" "b"), &workload));
	assert_slice(workload.id, "b");
	/* the metadata as a text, and as a struct that is not sound */
	assert_true(parse(BYTES("\x0a\x1c\x0a\x15x-envoy-peer-metadata\x12\x03\x1a\x01" "a"), &workload));
	assert_null(workload.ns.data);
	assert_false(parse(BYTES("\x0a\x1c\x0a\x15x-envoy-peer-metadata\x12\x03\x2a\x01\x0a"), &workload));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ours_is_read_back),
		cmocka_unit_test(test_cut_short),
		cmocka_unit_test(test_peers_that_lie),
		cmocka_unit_test(test_values_of_the_wrong_kind),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
