/* SPDX-License-Identifier: Apache-2.0 */
/* Secrets that are files: read when something names them, again when they were replaced, and never asked of the control plane. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <stdio.h>
#include <unistd.h>

#include "support/file.h"
#include "support/resource_fixture.h"
#include "support/test_ca.h"
#include "xds/file_secrets.h"

struct scene {
	struct resource_fixture f;
	struct loop *loop;
	struct file_secrets files;
	unsigned changes;
	char dir[64], chain[96], key[96], roots[96];
};

static void changed(void *user)
{
	((struct scene *)user)->changes++;
}

static int begin(void **state)
{
	struct scene *scene = calloc(1, sizeof(*scene));

	fixture_begin(&scene->f, NULL);
	assert_int_equal(mesh_loop_new(&mesh_mem_default, &scene->loop), 0);
	snprintf(scene->dir, sizeof(scene->dir), "/tmp/mesh-secrets-XXXXXX");
	assert_non_null(mkdtemp(scene->dir));
	snprintf(scene->chain, sizeof(scene->chain), "%s/chain.pem", scene->dir);
	snprintf(scene->key, sizeof(scene->key), "%s/key.pem", scene->dir);
	snprintf(scene->roots, sizeof(scene->roots), "%s/roots.pem", scene->dir);
	scene->files = (struct file_secrets){.mem = &mesh_mem_default,
					     .log = &scene->f.log,
					     .loop = scene->loop,
					     .cache = scene->f.cache,
					     .changed = changed,
					     .user = scene};
	mesh_file_secrets_init(&scene->files);
	*state = scene;
	return 0;
}

static int end(void **state)
{
	struct scene *scene = *state;

	mesh_file_secrets_free(&scene->files);
	fixture_end(&scene->f);
	mesh_loop_free(scene->loop);
	unlink(scene->chain);
	unlink(scene->key);
	unlink(scene->roots);
	rmdir(scene->dir);
	free(scene);
	return 0;
}

static struct xds_resource cluster(struct scene *scene, const char *version, const char *certificate, const char *roots)
{
	return xds_sample_json(
		&scene->f.arena, version,
		"{'@type': 'envoy.config.cluster.v3.Cluster', 'name': 'c', 'transportSocket': {'name': "
		"'envoy.transport_sockets.tls', 'typedConfig': {'@type': "
		"'type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext', "
		"'commonTlsContext': {'tlsCertificateSdsSecretConfigs': [{'name': '%s'}], "
		"'combinedValidationContext': {'defaultValidationContext': {}, 'validationContextSdsSecretConfig': "
		"{'name': '%s'}}}}}}",
		certificate, roots);
}

static const struct secret *held(struct scene *scene, const char *name)
{
	return mesh_snapshot_secret(fixture_snapshot(&scene->f), mesh_slice_of(name));
}

static void pair_and_roots(void **state)
{
	struct scene *scene = *state;
	static const struct test_leaf leaf = {.dns = "client.test"};
	char certificate[256], roots[128], *chains[2], *keys[2];
	struct test_ca ca;
	struct xds_resource resource;
	const struct secret *secret;

	test_ca_make(&ca);
	for (int i = 0; i < 2; i++)
		test_ca_issue(&ca, &leaf, &chains[i], &keys[i]);
	file_write(scene->chain, chains[0]);
	file_write(scene->key, keys[0]);
	file_write(scene->roots, "roots");
	snprintf(certificate, sizeof(certificate), "file-cert:%s~%s", scene->chain, scene->key);
	snprintf(roots, sizeof(roots), "file-root:%s", scene->roots);
	resource = cluster(scene, "1", certificate, roots);
	fixture_apply(&scene->f, XDS_CLUSTER, &resource, 1, true);
	fixture_assert_wanted(&scene->f, XDS_SECRET, ""); /* nobody else is asked */
	assert_int_equal(mesh_file_secrets_follow(&scene->files), 0);
	secret = held(scene, certificate);
	assert_non_null(secret);
	assert_string_equal(secret->chain_pem.data, chains[0]);
	assert_string_equal(secret->key_pem.data, keys[0]);
	assert_string_equal(held(scene, roots)->roots_pem.data, "roots");
	/* replaced: seen when it is looked at again */
	file_write(scene->roots, "other roots");
	mesh_timer_stop(scene->loop, &scene->files.look);
	scene->files.look.due(&scene->files.look);
	assert_int_equal(scene->changes, 1);
	assert_string_equal(held(scene, roots)->roots_pem.data, "other roots");
	/* gone: what was read stays in force */
	unlink(scene->roots);
	scene->files.look.due(&scene->files.look);
	assert_string_equal(held(scene, roots)->roots_pem.data, "other roots");
	/* one of the two was replaced and the other not yet: what fits together stays in force */
	file_write(scene->chain, chains[1]);
	scene->files.look.due(&scene->files.look);
	assert_string_equal(held(scene, certificate)->chain_pem.data, chains[0]);
	assert_string_equal(held(scene, certificate)->key_pem.data, keys[0]);
	file_write(scene->key, keys[1]);
	scene->files.look.due(&scene->files.look);
	assert_string_equal(held(scene, certificate)->chain_pem.data, chains[1]);
	assert_string_equal(held(scene, certificate)->key_pem.data, keys[1]);
	for (int i = 0; i < 2; i++) {
		free(chains[i]);
		free(keys[i]);
	}
	test_ca_free(&ca);
	/* nothing names them any more */
	fixture_apply(&scene->f, XDS_CLUSTER, NULL, 0, true);
	assert_int_equal(mesh_file_secrets_follow(&scene->files), 0);
	assert_int_equal(scene->files.files.count, 0);
}

static void not_there(void **state)
{
	struct scene *scene = *state;
	struct xds_resource resource = cluster(scene, "1", "file-cert:no-tilde", "file-root:/nowhere/roots.pem");

	fixture_apply(&scene->f, XDS_CLUSTER, &resource, 1, true);
	fixture_apply(&scene->f, XDS_LISTENER, NULL, 0, true);
	assert_false(fixture_snapshot(&scene->f)->complete); /* not looked for yet */
	assert_int_equal(mesh_file_secrets_follow(&scene->files), 0);
	assert_null(held(scene, "file-root:/nowhere/roots.pem"));
	assert_null(held(scene, "file-cert:no-tilde"));
	assert_int_equal(scene->f.lines, 2);
	assert_true(fixture_snapshot(&scene->f)->complete); /* and nothing waits for what is not to be had */
	scene->files.look.due(&scene->files.look);
	assert_int_equal(scene->f.lines, 2); /* said once */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(pair_and_roots, begin, end),
		cmocka_unit_test_setup_teardown(not_there, begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
