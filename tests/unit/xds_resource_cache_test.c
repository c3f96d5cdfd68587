/* SPDX-License-Identifier: Apache-2.0 */
/* What a response changes and what it leaves as it was: what is taken, shared, asked for, handed over and removed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>
#include <mesh/error.h>

#include "support/failing_mem.h"
#include "support/resource_fixture.h"

static void recorded(void **state)
{
	static const char *const version = "2026-11-24T04:40:31Z/1";
	struct resource_fixture f;
	const struct xds_held *held;
	size_t count;

	fixture_begin(&f, NULL);
	assert_false(fixture_snapshot(&f)->complete);
	assert_int_equal(fixture_apply_sample(&f, XDS_CLUSTER, SAMPLE("secure.cds")), 8);
	fixture_assert_wanted(
		&f, XDS_ENDPOINT,
		"outbound|9080|v1|reviews.default.svc.cluster.local,outbound|9080|v2|reviews.default.svc.cluster.local,"
		"outbound|9080|v3|reviews.default.svc.cluster.local,outbound|9080||reviews.default.svc.cluster.local");
	fixture_apply_sample(&f, XDS_ENDPOINT, SAMPLE("secure.eds"));
	assert_false(fixture_snapshot(&f)->complete);
	fixture_apply_sample(&f, XDS_LISTENER, SAMPLE("secure.lds"));
	fixture_assert_wanted(&f, XDS_ROUTE, "9080");
	fixture_assert_wanted(&f, XDS_SECRET, "");
	fixture_assert_wanted(&f, XDS_CLUSTER, "");
	assert_false(fixture_snapshot(&f)->complete);
	fixture_apply_sample(&f, XDS_ROUTE, SAMPLE("secure.rds"));
	assert_true(fixture_snapshot(&f)->complete);
	assert_int_equal(mesh_table_count(f.snapshot->clusters), 8);
	assert_int_equal(mesh_table_count(f.snapshot->endpoints), 4);
	assert_int_equal(mesh_table_count(f.snapshot->listeners), 3);
	assert_int_equal(mesh_table_count(f.snapshot->routes), 1);
	assert_non_null(f.snapshot->virtual_inbound);
	assert_non_null(f.snapshot->virtual_outbound);
	assert_int_equal(mesh_resource_cache_held(f.cache, XDS_CLUSTER, &held, &count), 0);
	assert_int_equal(count, 8);
	assert_true(mesh_slice_equal(held[0].name, MESH_SLICE("BlackHoleCluster")));
	for (size_t i = 0; i < count; i++)
		assert_true(mesh_slice_equal(held[i].version, mesh_slice_of(version)));
	fixture_end(&f);
}

/* Asked for though nothing names it, and still asked for when all that is named came and went. */
static void for_its_own_sake(void **state)
{
	struct resource_fixture f;

	fixture_begin(&f, NULL);
	assert_int_equal(mesh_resource_cache_want(f.cache, XDS_ENDPOINT, MESH_SLICE(MESH_LOCAL_CLUSTER)), 0);
	fixture_assert_wanted(&f, XDS_ENDPOINT, MESH_LOCAL_CLUSTER);
	fixture_apply_sample(&f, XDS_CLUSTER, SAMPLE("secure.cds"));
	fixture_apply_sample(&f, XDS_ENDPOINT, SAMPLE("secure.eds"));
	fixture_apply_sample(&f, XDS_LISTENER, SAMPLE("secure.lds"));
	fixture_apply_sample(&f, XDS_ROUTE, SAMPLE("secure.rds"));
	assert_false(fixture_snapshot(&f)->complete);
	assert_int_equal(mesh_resource_cache_give_up(f.cache), 0); /* an istiod that does not know it */
	assert_true(fixture_snapshot(&f)->complete);
	fixture_end(&f);
}

/* Whatever istiod sent is taken as it is, but for filters that libmesh has to refuse. */
static void recorded_all(void **state)
{
	static const struct {
		enum xds_type type;
		const char *path;
	} samples[] = {
		{XDS_CLUSTER, SAMPLE("k8s-sidecar.cds")},
		{XDS_ENDPOINT, SAMPLE("k8s-sidecar.eds")},
		{XDS_LISTENER, SAMPLE("k8s-sidecar.lds")},
		{XDS_ROUTE, SAMPLE("k8s-sidecar.rds")},
		{XDS_CLUSTER, PACKED("strict.client.sotw.cds")},
		{XDS_ENDPOINT, PACKED("strict.client.delta.eds")},
		{XDS_LISTENER, PACKED("strict.reviews-v1.sotw.lds")},
		{XDS_ROUTE, PACKED("strict.client.sotw.rds")},
		{XDS_CLUSTER, PACKED("mixed.client.delta.cds")},
		{XDS_ENDPOINT, PACKED("mixed.client.delta.eds")},
		{XDS_LISTENER, PACKED("disable.echo-v1.delta.lds")},
		{XDS_LISTENER, PACKED("unknown/mixed.client.delta.lds")}, /* with a mongo_proxy, which only counts */
		{XDS_ROUTE, PACKED("mixed.client.delta.rds")},
	};
	struct resource_fixture f;
	struct xds_resource *all;
	size_t count;

	fixture_begin(&f, NULL);
	for (size_t i = 0; i < sizeof(samples) / sizeof(samples[0]); i++)
		assert_true(fixture_apply_sample(&f, samples[i].type, samples[i].path) > 0);
	all = xds_sample_load(&f.arena, PACKED("unknown/unknown-filter.echo-v1.delta.lds"), &count);
	assert_int_equal(fixture_apply_rc(&f, XDS_LISTENER, all, count, false), 0);
	assert_true(mesh_slice_prefix(mesh_buf_slice(&f.rejects), MESH_SLICE("virtualInbound: filter_chains[")));
	assert_true(mesh_slice_contains(mesh_buf_slice(&f.rejects), MESH_SLICE("\"example.lua\"")));
	assert_non_null(fixture_snapshot(&f)->virtual_inbound);
	mesh_buf_clear(&f.rejects);
	all = xds_sample_load(&f.arena, PACKED("unknown/guarded.echo-v1.delta.lds"), &count);
	assert_int_equal(fixture_apply_rc(&f, XDS_LISTENER, all, count, false), 0);
	assert_true(mesh_slice_contains(mesh_buf_slice(&f.rejects), MESH_SLICE("tokens cannot be verified")));
	assert_true(mesh_slice_contains(mesh_buf_slice(&f.rejects), MESH_SLICE("ext_authz")));
	fixture_end(&f);
}

/* The same again changes nothing that a worker sees; the versions told are the newest. */
static void unchanged(void **state)
{
	struct resource_fixture f;
	struct xds_resource *again;
	struct snapshot *before;
	size_t count;

	fixture_begin(&f, NULL);
	fixture_apply_sample(&f, XDS_CLUSTER, SAMPLE("secure.cds"));
	fixture_apply_sample(&f, XDS_ENDPOINT, SAMPLE("secure.eds"));
	fixture_apply_sample(&f, XDS_LISTENER, SAMPLE("secure.lds"));
	fixture_apply_sample(&f, XDS_ROUTE, SAMPLE("secure.rds"));
	before = mesh_snapshot_retain(fixture_snapshot(&f));
	again = xds_sample_load(&f.arena, SAMPLE("secure.cds"), &count);
	for (size_t i = 0; i < count; i++)
		again[i].version = MESH_SLICE("2");
	fixture_apply(&f, XDS_CLUSTER, again, count, true);
	fixture_apply_sample(&f, XDS_LISTENER, SAMPLE("secure.lds"));
	fixture_apply_sample(&f, XDS_ROUTE, SAMPLE("secure.rds"));
	fixture_apply_sample(&f, XDS_ENDPOINT, SAMPLE("secure.eds"));
	assert_ptr_equal(fixture_snapshot(&f)->clusters, before->clusters);
	assert_ptr_equal(f.snapshot->endpoints, before->endpoints);
	assert_ptr_equal(f.snapshot->listeners, before->listeners);
	assert_ptr_equal(f.snapshot->routes, before->routes);
	assert_ptr_equal(f.snapshot->index, before->index);
	assert_true(f.snapshot->complete);
	mesh_snapshot_release(before);
	fixture_apply(&f, XDS_CLUSTER, again, 1, true);
	fixture_assert_held(&f, XDS_CLUSTER, "outbound|9080||reviews.default.svc.cluster.local=2");
	fixture_end(&f);
}

/* A push that changes one of many costs one: what is copied is a path, not the tables. */
static void one_of_many(void **state)
{
	enum { COUNT = 3000 };
	struct failing_mem counted;
	struct resource_fixture f;
	struct xds_resource *all;
	size_t calls, blocks;
	char name[32];

	fixture_begin(&f, NULL);
	mesh_resource_cache_free(f.cache);
	failing_mem_init(&counted, 0);
	assert_int_equal(mesh_resource_cache_new(&counted.mem, &f.log, NULL, &f.cache), 0);
	all = mesh_arena_array(&f.arena, COUNT, sizeof(*all));
	for (int i = 0; i < COUNT; i++) {
		snprintf(name, sizeof(name), "c%d", i);
		all[i] = sample_eds_cluster(&f, "1", name, name);
	}
	fixture_apply(&f, XDS_CLUSTER, all, COUNT, true);
	fixture_snapshot(&f);
	calls = atomic_load(&counted.calls);
	blocks = atomic_load(&counted.blocks);
	all[7] = sample_eds_cluster(&f, "2", "c7", "other");
	fixture_apply(&f, XDS_CLUSTER, &all[7], 1, false);
	fixture_snapshot(&f);
	assert_true(atomic_load(&counted.calls) - calls < 80);
	assert_true(atomic_load(&counted.blocks) - blocks < 20);
	fixture_assert_held(&f, XDS_ENDPOINT, "");
	fixture_end(&f);
	assert_int_equal(atomic_load(&counted.blocks), 0);
}

static void warned_once(void **state)
{
	struct resource_fixture f;
	struct xds_resource all[2];

	fixture_begin(&f, NULL);
	for (int i = 0; i < 2; i++)
		all[i] = xds_sample_json(
			&f.arena, "1",
			"{'@type': 'envoy.config.cluster.v3.Cluster', 'name': 'c%d', 'upstreamConfig': {}}", i);
	fixture_apply(&f, XDS_CLUSTER, all, 2, true);
	assert_int_equal(f.lines, 1);
	assert_int_equal(mesh_resource_cache_warnings(f.cache), 2);
	fixture_apply(&f, XDS_CLUSTER, all, 2, true); /* not decoded again */
	assert_int_equal(f.lines, 1);
	assert_int_equal(mesh_resource_cache_warnings(f.cache), 2);
	fixture_end(&f);
}

static void never_asked_for(void **state)
{
	struct resource_fixture f;
	struct xds_resource all[2], cluster;

	fixture_begin(&f, NULL);
	cluster = sample_eds_cluster(&f, "1", "c", "s");
	fixture_apply(&f, XDS_CLUSTER, &cluster, 1, true);
	all[0] = sample_endpoints(&f, "1", "other");
	all[1] = sample_endpoints(&f, "1", "other"); /* not even refused for coming twice */
	fixture_apply(&f, XDS_ENDPOINT, all, 2, false);
	fixture_assert_held(&f, XDS_ENDPOINT, "");
	assert_null(fixture_object(&f, XDS_ENDPOINT, "other"));
	all[0] = sample_endpoints(&f, "1", "s");
	fixture_apply(&f, XDS_ENDPOINT, all, 2, false);
	fixture_assert_held(&f, XDS_ENDPOINT, "s=1");
	fixture_apply(&f, XDS_CLUSTER, NULL, 0, true);
	fixture_assert_wanted(&f, XDS_ENDPOINT, "");
	fixture_assert_held(&f, XDS_ENDPOINT, "");
	assert_null(fixture_object(&f, XDS_ENDPOINT, "s"));
	fixture_end(&f);
}

/* What one lets go of and another asks for in the same response stays: it will not be sent again. */
static void handed_over(void **state)
{
	struct resource_fixture f;
	struct xds_resource first, second, change[2];
	const void *set;

	fixture_begin(&f, NULL);
	first = sample_eds_cluster(&f, "1", "a", "s");
	fixture_apply(&f, XDS_CLUSTER, &first, 1, true);
	second = sample_endpoints(&f, "1", "s");
	fixture_apply(&f, XDS_ENDPOINT, &second, 1, false);
	fixture_apply(&f, XDS_LISTENER, NULL, 0, true);
	set = fixture_object(&f, XDS_ENDPOINT, "s");
	assert_true(f.snapshot->complete);
	change[0] = sample_eds_cluster(&f, "2", "b", "s");
	fixture_apply(&f, XDS_CLUSTER, change, 1, true); /* a goes, b comes */
	assert_ptr_equal(fixture_object(&f, XDS_ENDPOINT, "s"), set);
	assert_true(f.snapshot->complete);
	change[0] = sample_eds_cluster(&f, "3", "b", "t");
	change[1] = sample_eds_cluster(&f, "3", "c", "s");
	fixture_apply(&f, XDS_CLUSTER, change, 2, true); /* b lets go before c asks */
	assert_ptr_equal(fixture_object(&f, XDS_ENDPOINT, "s"), set);
	fixture_assert_wanted(&f, XDS_ENDPOINT, "s,t");
	assert_false(f.snapshot->complete);
	fixture_end(&f);
}

static void answered(void **state)
{
	struct resource_fixture f;
	struct xds_resource c[2], bad, r;

	fixture_begin(&f, NULL);
	c[0] = sample_eds_cluster(&f, "1", "a", "s");
	c[1] = sample_eds_cluster(&f, "1", "b", "t");
	fixture_apply(&f, XDS_CLUSTER, c, 2, true);
	r = sample_listener(&f, "1", "l", "r", "");
	assert_true(mesh_resource_cache_listeners_complete(f.cache)); /* clusters may wait */
	fixture_apply(&f, XDS_LISTENER, &r, 1, true);
	assert_false(mesh_resource_cache_listeners_complete(f.cache));
	fixture_remove(&f, XDS_ENDPOINT, "s"); /* said to be gone */
	fixture_remove(&f, XDS_ENDPOINT, "never-heard-of");
	assert_false(fixture_snapshot(&f)->complete);
	bad = sample_endpoints(&f, "1", "t"); /* refused is answered too */
	bad.bytes = MESH_SLICE("\x0a\x01t\x12");
	assert_int_equal(fixture_apply_rc(&f, XDS_ENDPOINT, &bad, 1, false), 0);
	assert_true(mesh_buf_len(&f.rejects) > 0);
	assert_false(fixture_snapshot(&f)->complete);
	r = sample_routes(&f, "1", "r");
	fixture_apply(&f, XDS_ROUTE, &r, 1, false);
	assert_true(fixture_snapshot(&f)->complete);
	assert_true(mesh_resource_cache_listeners_complete(f.cache));
	c[0] = sample_endpoints(&f, "2", "s"); /* it is still asked for */
	fixture_apply(&f, XDS_ENDPOINT, c, 1, false);
	fixture_assert_held(&f, XDS_ENDPOINT, "s=2");
	fixture_remove(&f, XDS_ENDPOINT, "s");
	fixture_assert_held(&f, XDS_ENDPOINT, "");
	assert_true(fixture_snapshot(&f)->complete);
	fixture_assert_wanted(&f, XDS_ENDPOINT, "s,t");
	c[0] = sample_eds_cluster(&f, "2", "c", "u");
	fixture_apply(&f, XDS_CLUSTER, c, 1, false);
	assert_false(fixture_snapshot(&f)->complete);
	assert_int_equal(mesh_resource_cache_give_up(f.cache), 0);
	assert_true(fixture_snapshot(&f)->complete);
	fixture_end(&f);
}

static struct secret *own_secret(const char *name, const char *chain, const char *key, const char *roots)
{
	struct secret *secret;

	assert_int_equal(mesh_secret_new(&mesh_mem_default, mesh_slice_of(name),
					 mesh_slice_make(chain, chain ? strlen(chain) : 0),
					 mesh_slice_make(key, key ? strlen(key) : 0),
					 mesh_slice_make(roots, roots ? strlen(roots) : 0), &secret),
			 0);
	return secret;
}

static struct xds_resource sent_secret(struct resource_fixture *f, const char *version, const char *name,
				       const char *chain)
{
	return xds_sample_json(&f->arena, version,
			       "{'@type': 'envoy.extensions.transport_sockets.tls.v3.Secret', 'name': '%s',"
			       " 'tlsCertificate': {'certificateChain': {'inlineString': '%s'},"
			       " 'privateKey': {'inlineString': 'key'}}}",
			       name, chain);
}

static void our_secrets(void **state)
{
	struct resource_fixture f;
	struct secret *mine = own_secret("default", "chain", "key", NULL),
		      *newer = own_secret("default", "chain2", "key2", NULL);
	struct secret *roots = own_secret("ROOTCA", NULL, NULL, "roots");
	struct xds_resource theirs;

	fixture_begin(&f, NULL);
	assert_int_equal(mesh_resource_cache_set_secret(f.cache, mine), 0);
	assert_int_equal(mesh_resource_cache_set_secret(f.cache, roots), 0);
	assert_ptr_equal(fixture_object(&f, XDS_SECRET, "default"), mine);
	assert_ptr_equal(fixture_object(&f, XDS_SECRET, "ROOTCA"), roots);
	assert_int_equal(mesh_resource_cache_set_secret(f.cache, newer), 0);
	assert_ptr_equal(fixture_object(&f, XDS_SECRET, "default"), newer);
	theirs = sent_secret(&f, "1", "default", "forged");
	fixture_apply(&f, XDS_SECRET, &theirs, 1, false);
	fixture_remove(&f, XDS_SECRET, "default");
	assert_ptr_equal(fixture_object(&f, XDS_SECRET, "default"), newer);
	fixture_assert_held(&f, XDS_SECRET, "");
	fixture_assert_wanted(&f, XDS_SECRET, "");
	mesh_secret_release(mine);
	mesh_secret_release(newer);
	mesh_secret_release(roots);
	fixture_end(&f);
}

static void sent_secrets(void **state)
{
	struct resource_fixture f;
	struct xds_resource cluster, secret;
	const void *first;

	fixture_begin(&f, NULL);
	cluster = xds_sample_json(
		&f.arena, "1",
		"{'@type': 'envoy.config.cluster.v3.Cluster', 'name': 'c', 'transportSocket': {"
		" 'name': 'envoy.transport_sockets.tls', 'typedConfig': {"
		"  '@type': 'envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext', 'commonTlsContext': {"
		"   'tlsCertificateSdsSecretConfigs': [{'name': 'kubernetes://a', 'sdsConfig': {'ads': {}}}],"
		"   'validationContextSdsSecretConfig': {'name': 'kubernetes://a-cacert', 'sdsConfig': {'ads': "
		"{}}}}}}}");
	fixture_apply(&f, XDS_CLUSTER, &cluster, 1, true);
	fixture_apply(&f, XDS_LISTENER, NULL, 0, true);
	fixture_assert_wanted(&f, XDS_SECRET, "kubernetes://a,kubernetes://a-cacert");
	secret = sent_secret(&f, "1", "kubernetes://a", "chain");
	fixture_apply(&f, XDS_SECRET, &secret, 1, false);
	first = fixture_object(&f, XDS_SECRET, "kubernetes://a");
	assert_non_null(first);
	assert_false(f.snapshot->complete);
	assert_true(mesh_resource_cache_listeners_complete(f.cache)); /* a cluster's secret */
	secret = sent_secret(&f, "2", "kubernetes://a", "chain"); /* the same contents */
	fixture_apply(&f, XDS_SECRET, &secret, 1, false);
	assert_ptr_equal(fixture_object(&f, XDS_SECRET, "kubernetes://a"), first);
	fixture_assert_held(&f, XDS_SECRET, "kubernetes://a=2");
	secret = sent_secret(&f, "3", "kubernetes://a", "");
	fixture_apply_says(&f, XDS_SECRET, &secret, 1, false,
			   "kubernetes://a: tls_certificate.certificate_chain: must be inline and not empty\n");
	assert_ptr_equal(fixture_object(&f, XDS_SECRET, "kubernetes://a"), first);
	fixture_remove(&f, XDS_SECRET, "kubernetes://a-cacert");
	assert_true(fixture_snapshot(&f)->complete);
	fixture_end(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(for_its_own_sake), cmocka_unit_test(recorded),	cmocka_unit_test(recorded_all), cmocka_unit_test(unchanged),
		cmocka_unit_test(one_of_many),	cmocka_unit_test(warned_once),	cmocka_unit_test(never_asked_for),
		cmocka_unit_test(handed_over),	cmocka_unit_test(answered),	cmocka_unit_test(our_secrets),
		cmocka_unit_test(sent_secrets),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
