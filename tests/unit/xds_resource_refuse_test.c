/* SPDX-License-Identifier: Apache-2.0 */
/* What is refused, in which words, and that it harms nothing else: bad, repeated, nameless and hostile resources. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <mesh/error.h>

#include "support/resource_fixture.h"

/* A filter that is not understood, and may be there for security. */
static const char wasm[] = "{'name': 'guard', 'typedConfig': {'@type': 'envoy.extensions.filters.http.wasm.v3.Wasm'}},";

static void last_good(void **state)
{
	struct resource_fixture f;
	struct xds_resource first[3], second[3], third;
	const void *a, *b;

	fixture_begin(&f, NULL);
	first[0] = sample_static_cluster(&f, "1", "a", "1s");
	first[1] = sample_static_cluster(&f, "1", "b", "1s");
	first[2] = sample_static_cluster(&f, "1", "gone", "1s");
	fixture_apply(&f, XDS_CLUSTER, first, 3, true);
	a = fixture_object(&f, XDS_CLUSTER, "a");
	b = fixture_object(&f, XDS_CLUSTER, "b");
	second[0] = sample_static_cluster(&f, "2", "a", "0s");
	second[1] = sample_static_cluster(&f, "2", "b", "2s");
	second[2] = sample_static_cluster(&f, "2", "new", "0s");
	fixture_apply_says(
		&f, XDS_CLUSTER, second, 3, true,
		"a: connect_timeout: 0s: must be greater than 0\nnew: connect_timeout: 0s: must be greater than 0\n");
	assert_ptr_equal(fixture_object(&f, XDS_CLUSTER, "a"), a);
	assert_ptr_not_equal(fixture_object(&f, XDS_CLUSTER, "b"), b);
	assert_null(fixture_object(&f, XDS_CLUSTER, "gone"));
	assert_null(fixture_object(&f, XDS_CLUSTER, "new"));
	fixture_assert_held(&f, XDS_CLUSTER, "a=1,b=2");
	third = sample_static_cluster(&f, "3", "a", "1s"); /* the same bytes as the last good one */
	fixture_apply(&f, XDS_CLUSTER, &third, 1, false);
	assert_ptr_equal(fixture_object(&f, XDS_CLUSTER, "a"), a);
	fixture_assert_held(&f, XDS_CLUSTER, "a=3,b=2");
	fixture_end(&f);
}

static void repeated(void **state)
{
	struct resource_fixture f;
	struct xds_resource all[3];
	struct mesh_slice removed = MESH_SLICE("b");
	const void *a;

	fixture_begin(&f, NULL);
	all[0] = sample_static_cluster(&f, "1", "a", "1s");
	all[1] = sample_static_cluster(&f, "1", "b", "1s");
	fixture_apply(&f, XDS_CLUSTER, all, 2, true);
	a = fixture_object(&f, XDS_CLUSTER, "a");
	all[0] = sample_static_cluster(&f, "2", "a", "2s");
	all[1] = sample_static_cluster(&f, "2", "b", "2s");
	all[2] = sample_static_cluster(&f, "2", "a", "3s");
	fixture_apply_says(&f, XDS_CLUSTER, all, 3, true, "a: name: comes 2 times in one response\n");
	assert_ptr_equal(fixture_object(&f, XDS_CLUSTER, "a"), a);
	fixture_assert_held(&f, XDS_CLUSTER, "a=1,b=2");
	all[1] = sample_static_cluster(&f, "3", "b", "3s");
	mesh_buf_clear(&f.rejects);
	assert_int_equal(mesh_resource_cache_apply(f.cache, XDS_CLUSTER, &all[1], 1, &removed, 1, false, &f.rejects),
			 0);
	mesh_buf_append(&f.rejects, mesh_slice_make("", 1));
	assert_string_equal(mesh_buf_slice(&f.rejects).data, "b: name: is among the removed ones too\n");
	fixture_assert_held(&f, XDS_CLUSTER, "a=1,b=2");
	fixture_end(&f);
}

static void names_and_types(void **state)
{
	struct resource_fixture f;
	struct xds_resource all[2];

	fixture_begin(&f, NULL);
	all[0] = sample_static_cluster(&f, "1", "a", "1s");
	all[0].name = MESH_SLICE("b");
	fixture_apply_says(&f, XDS_CLUSTER, all, 1, false, "b: name: \"a\": must be the name it was sent under\n");
	all[0] = sample_static_cluster(&f, "1", "", "1s");
	fixture_apply_says(&f, XDS_CLUSTER, all, 1, false, "resources[0]: name: must be 1..4096 bytes of text\n");
	all[0].name = MESH_SLICE("");
	fixture_apply_says(&f, XDS_CLUSTER, all, 1, false, "resources[0]: name: must be 1..4096 bytes of text\n");
	all[0].name = MESH_SLICE("c");
	fixture_apply_says(&f, XDS_CLUSTER, all, 1, false, "c: name: must not be empty\n");
	all[0] = sample_static_cluster(&f, "1", "d", "1s");
	all[1] = sample_routes(&f, "1", "e");
	fixture_apply_says(
		&f, XDS_CLUSTER, all, 2, false,
		"resources[1]: type_url: \"type.googleapis.com/envoy.config.route.v3.RouteConfiguration\": must be "
		"type.googleapis.com/envoy.config.cluster.v3.Cluster\n");
	all[1].name = MESH_SLICE("e");
	fixture_apply_says(&f, XDS_CLUSTER, all, 2, false,
			   "e: type_url: \"type.googleapis.com/envoy.config.route.v3.RouteConfiguration\": must be "
			   "type.googleapis.com/envoy.config.cluster.v3.Cluster\n");
	fixture_assert_held(&f, XDS_CLUSTER, "d=1");
	assert_int_equal(mesh_xds_type_of(mesh_slice_of(mesh_xds_type_urls[XDS_SECRET])), XDS_SECRET);
	assert_int_equal(mesh_xds_type_of(MESH_SLICE("type.googleapis.com/envoy.config.cluster.v3.Clusters")), -1);
	fixture_end(&f);
}

/* One line of text for a protobuf string, whatever the name is made of. */
static void strange_names(void **state)
{
	struct resource_fixture f;
	struct xds_resource bad = {.version = MESH_SLICE("1"),
				   .type_url = mesh_slice_of(mesh_xds_type_urls[XDS_CLUSTER])};

	fixture_begin(&f, NULL);
	bad.bytes = MESH_SLICE("\x0a\x08"
			       "a\nb\xff\xe2\x82\xac"
			       "c"
			       "\xff"); /* a name, then no field */
	fixture_apply_says(&f, XDS_CLUSTER, &bad, 1, false,
			   "a?b?\xe2\x82\xac"
			   "c: Cluster.name: not UTF-8 text, or with a NUL inside\n");
	bad.bytes = MESH_SLICE("\x0a\x02"
			       "a\0");
	fixture_apply_says(&f, XDS_CLUSTER, &bad, 1, false, "resources[0]: name: must be 1..4096 bytes of text\n");
	fixture_assert_held(&f, XDS_CLUSTER, "");
	fixture_end(&f);
}

/* One whose name cannot be told may be any of those that are not named. */
static void nameless_in_whole(void **state)
{
	struct resource_fixture f;
	struct xds_resource all[2];

	fixture_begin(&f, NULL);
	all[0] = sample_static_cluster(&f, "1", "a", "1s");
	all[1] = sample_static_cluster(&f, "1", "b", "1s");
	fixture_apply(&f, XDS_CLUSTER, all, 2, true);
	all[0] = sample_static_cluster(&f, "2", "a", "2s");
	all[1].bytes = MESH_SLICE("\x0a\x7f");
	fixture_apply_says(&f, XDS_CLUSTER, all, 2, true, "resources[1]: name: must be 1..4096 bytes of text\n");
	fixture_assert_held(&f, XDS_CLUSTER, "a=2,b=1");
	fixture_apply(&f, XDS_CLUSTER, all, 1, true);
	fixture_assert_held(&f, XDS_CLUSTER, "a=2");
	fixture_apply(&f, XDS_CLUSTER, NULL, 0, true);
	fixture_assert_held(&f, XDS_CLUSTER, "");
	fixture_end(&f);
}

static void limits(void **state)
{
	const struct xds_limits few = {.resource_bytes_max = 100, .resources_max = 2};
	struct resource_fixture f;
	struct xds_resource all[3];
	char name[96];

	fixture_begin(&f, &few);
	for (int i = 0; i < 3; i++) {
		snprintf(name, sizeof(name), "c%d", i);
		all[i] = sample_static_cluster(&f, "1", name, "1s");
	}
	fixture_apply_says(&f, XDS_CLUSTER, all, 3, true, "c2: there are resources_max (2) resources already\n");
	fixture_assert_held(&f, XDS_CLUSTER, "c0=1,c1=1");
	fixture_apply(&f, XDS_CLUSTER, &all[1], 2, true); /* what goes makes room */
	fixture_assert_held(&f, XDS_CLUSTER, "c1=1,c2=1");
	all[1].bytes = mesh_slice_make(memset(mesh_arena_alloc(&f.arena, 101), 0, 101), 101);
	memcpy((char *)all[1].bytes.data,
	       "\x0a\x02"
	       "c1",
	       4);
	fixture_apply_says(&f, XDS_CLUSTER, &all[1], 1, false, "c1: 101 bytes: more than resource_bytes_max (100)\n");
	fixture_assert_held(&f, XDS_CLUSTER, "c1=1,c2=1");
	fixture_end(&f);
}

/* "\x0a\x01n" and then `count` times an empty virtual host. */
static void bomb(struct resource_fixture *f, struct xds_resource *resource, size_t count)
{
	char *bytes = mesh_arena_alloc(&f->arena, 3 + 2 * count);

	memcpy(bytes, "\x0a\x01n", 3);
	for (size_t i = 0; i < count; i++)
		memcpy(bytes + 3 + 2 * i, "\x12\x00", 2);
	*resource = (struct xds_resource){.version = MESH_SLICE("2"),
					  .type_url = mesh_slice_of(mesh_xds_type_urls[XDS_ROUTE]),
					  .bytes = mesh_slice_make(bytes, 3 + 2 * count)};
}

/* It is the resource's fault and not the memory's: the others are applied. */
static void inflating(void **state)
{
	struct resource_fixture f;
	struct xds_resource all[2], list[2];

	fixture_begin(&f, NULL);
	list[0] = sample_listener(&f, "1", "x", "n", "");
	list[1] = sample_listener(&f, "1", "y", "o", "");
	fixture_apply(&f, XDS_LISTENER, list, 2, true);
	bomb(&f, &all[0], 100000);
	all[1] = sample_routes(&f, "2", "o");
	assert_int_equal(fixture_apply_rc(&f, XDS_ROUTE, all, 2, false), 0);
	assert_true(mesh_slice_prefix(mesh_buf_slice(&f.rejects), MESH_SLICE("n: unpacks to more than ")));
	fixture_assert_held(&f, XDS_ROUTE, "o=2");
	fixture_end(&f);
}

static void nested(void **state)
{
	static const char tags[] = {0x0a, 0x12, 0x2a};	/* fields, value, struct_value: around and around */
	static const char outer[] = {0x32, 0x0a, 0x12}; /* metadata, filter_metadata, value */
	struct xds_resource good, bad = {.version = MESH_SLICE("2"),
					 .name = MESH_SLICE("l"),
					 .type_url = mesh_slice_of(mesh_xds_type_urls[XDS_LISTENER])};
	struct resource_fixture f;
	char bytes[4096];
	size_t at = sizeof(bytes);

	fixture_begin(&f, NULL);
	good = sample_listener(&f, "1", "l", "r", "");
	fixture_apply(&f, XDS_LISTENER, &good, 1, true);
	for (int i = 1002; i-- > 0;) {
		size_t len = sizeof(bytes) - at;

		bytes[--at] = (char)(len >> 7);
		bytes[--at] = (char)((len & 0x7f) | 0x80);
		bytes[--at] = i < 3 ? outer[i] : tags[i % 3];
	}
	bad.bytes = mesh_slice_make(bytes + at, sizeof(bytes) - at);
	assert_int_equal(fixture_apply_rc(&f, XDS_LISTENER, &bad, 1, false), 0);
	assert_true(mesh_slice_prefix(mesh_buf_slice(&f.rejects), MESH_SLICE("l: Listener.metadata.")) ||
		    mesh_slice_prefix(mesh_buf_slice(&f.rejects), MESH_SLICE("l: ...")));
	assert_true(mesh_slice_suffix(mesh_buf_slice(&f.rejects), MESH_SLICE(": nested too deep\n")));
	fixture_assert_held(&f, XDS_LISTENER, "l=1");
	fixture_end(&f);
}

/* Every cut of a good resource is taken or refused by name, and never harms the one before. */
static void truncated(void **state)
{
	struct resource_fixture f;
	struct xds_resource whole;

	fixture_begin(&f, NULL);
	whole = sample_listener(&f, "1", "l", "r", "");
	for (size_t len = 3; len < whole.bytes.len; len++) {
		struct xds_resource cut = whole;
		char *copy = malloc(len); /* so that the sanitizer sees a read past it */

		memcpy(copy, whole.bytes.data, len);
		cut.bytes = mesh_slice_make(copy, len);
		fixture_apply(&f, XDS_LISTENER, &whole, 1, true);
		assert_int_equal(fixture_apply_rc(&f, XDS_LISTENER, &cut, 1, true), 0);
		free(copy);
		if (mesh_buf_len(&f.rejects)) {
			assert_true(mesh_slice_prefix(mesh_buf_slice(&f.rejects), MESH_SLICE("l: ")));
			fixture_assert_wanted(&f, XDS_ROUTE, "r");
		}
		assert_non_null(fixture_object(&f, XDS_LISTENER, "l"));
	}
	fixture_end(&f);
}

static void many_rejects(void **state)
{
	struct resource_fixture f;
	struct xds_resource *all;
	struct mesh_slice text;
	struct buf small;
	char name[32];

	fixture_begin(&f, NULL);
	all = mesh_arena_array(&f.arena, 1000, sizeof(*all));
	for (int i = 0; i < 1000; i++) {
		snprintf(name, sizeof(name), "c%03d", i);
		all[i] = sample_static_cluster(&f, "1", name, "0s");
	}
	assert_int_equal(fixture_apply_rc(&f, XDS_CLUSTER, all, 1000, true), 0);
	text = mesh_buf_slice(&f.rejects);
	assert_true(text.len > 16000 && text.len < 16500);
	assert_true(mesh_slice_prefix(text, MESH_SLICE("c000: connect_timeout: ")));
	assert_true(mesh_slice_contains(text, MESH_SLICE("\nand ")) && mesh_slice_suffix(text, MESH_SLICE(" more\n")));
	mesh_buf_init(&small, &mesh_mem_default, 10); /* no room for a line: must not read as nothing refused */
	assert_int_equal(mesh_resource_cache_apply(f.cache, XDS_CLUSTER, all, 1, NULL, 0, false, &small),
			 MESH_ERROR_TOO_LARGE);
	assert_int_equal(mesh_buf_len(&small), 0);
	mesh_buf_free(&small);
	fixture_end(&f);
}

static void fails_closed(void **state)
{
	struct resource_fixture f;
	struct xds_resource l;
	char line[200] = "";

	fixture_begin(&f, NULL);
	l = sample_listener(&f, "1", "l", "r", wasm);
	assert_int_equal(fixture_apply_rc(&f, XDS_LISTENER, &l, 1, true), 0);
	assert_true(mesh_buf_len(&f.rejects) < sizeof(line));
	memcpy(line, mesh_buf_slice(&f.rejects).data, mesh_buf_len(&f.rejects));
	assert_non_null(strstr(line, "l: filter_chains[0].filters[0]"));
	assert_non_null(strstr(line, "guard"));
	assert_non_null(fixture_object(&f, XDS_LISTENER, "l"));
	fixture_assert_held(&f, XDS_LISTENER, "l=1");
	fixture_apply_says(&f, XDS_LISTENER, &l, 1, true, line); /* each time */
	l.version = MESH_SLICE("2");
	fixture_apply_says(&f, XDS_LISTENER, &l, 1, true, line);
	l = sample_listener(&f, "3", "l", "r", "");
	fixture_apply(&f, XDS_LISTENER, &l, 1, true);
	fixture_end(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(last_good),	     cmocka_unit_test(repeated),
		cmocka_unit_test(names_and_types),   cmocka_unit_test(strange_names),
		cmocka_unit_test(nameless_in_whole), cmocka_unit_test(limits),
		cmocka_unit_test(inflating),	     cmocka_unit_test(nested),
		cmocka_unit_test(truncated),	     cmocka_unit_test(many_rejects),
		cmocka_unit_test(fails_closed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
