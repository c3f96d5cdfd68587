/* SPDX-License-Identifier: Apache-2.0 */
/* Endpoints that stay after configuration forgot them: the merged set is whole or not there. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cluster/health.h"
#include "support/failing_mem.h"

static struct endpoint_set *set_of(const char *const *names, size_t count)
{
	struct endpoint_set *set = mesh_config_object_new(&mesh_mem_default, sizeof(*set), MESH_SLICE("c"));
	struct arena *arena = &set->object.arena;

	set->localities = mesh_arena_array(arena, count, sizeof(*set->localities));
	set->count = set->endpoint_count = (uint32_t)count;
	for (size_t i = 0; i < count; i++) {
		struct locality *locality = &set->localities[i];
		struct endpoint_config *config = mesh_arena_array(arena, 1, sizeof(*config));

		locality->region = mesh_slice_of("r");
		locality->priority = (uint32_t)i;
		locality->endpoints = config;
		locality->count = 1;
		config->text = mesh_slice_of(names[i]);
		config->hostname = mesh_slice_of("h");
		config->transport_labels = mesh_arena_array(arena, 1, sizeof(struct label));
		config->transport_label_count = 1;
		config->transport_labels[0] = (struct label){mesh_slice_of("k"), mesh_slice_of("v")};
		config->lb_labels = mesh_arena_array(arena, 1, sizeof(struct lb_label));
		config->lb_label_count = 1;
		config->lb_labels[0].key = mesh_slice_of("version");
		config->lb_labels[0].value = mesh_slice_of("1");
		config->lb_labels[0].list = true;
		config->lb_labels[0].items = mesh_arena_array(arena, 1, sizeof(struct mesh_slice));
		config->lb_labels[0].items[0] = mesh_slice_of("item");
		config->lb_labels[0].item_count = 1;
		config->check = mesh_arena_array(arena, 1, sizeof(*config->check));
		config->check->hostname = mesh_slice_of("checked");
	}
	set->priority_count = (uint32_t)count;
	return set;
}

struct scene {
	struct endpoint_set *old, *wanted;
};

static int merge(const struct mesh_mem *mem, void *user)
{
	struct scene *scene = user;
	struct endpoint_shared shared[3] = {{0}};
	struct endpoint endpoints[3] = {{.shared = &shared[0]}, {.shared = &shared[1]}, {.shared = &shared[2]}};
	struct endpoint *active[3] = {&endpoints[0], &endpoints[1], &endpoints[2]};
	struct cluster_env env = {.mem = mem};
	struct cluster cluster = {.env = &env, .set = scene->old, .active = active, .count = 3};
	struct endpoint_set *both;
	int rc;

	atomic_store(&shared[2].health, HEALTH_FAILED_CHECK); /* so it does not stay */
	rc = mesh_cluster_linger(&cluster, scene->wanted, &both);
	if (rc)
		return both ? MESH_ERROR_STATE : rc;
	/* "b" is wanted alone; "a" stays, of the same locality and behind it */
	if (!both || both->count != 1 || both->endpoint_count != 2 || !mesh_slice_equal(both->localities[0].endpoints->text, MESH_SLICE("b")) ||
	    !mesh_slice_equal(both->localities[0].endpoints[1].text, MESH_SLICE("a")) ||
	    both->localities[0].endpoints[1].text.data == scene->old->localities[0].endpoints->text.data ||
	    !mesh_slice_equal(both->localities[0].endpoints[1].check->hostname, MESH_SLICE("checked")) ||
	    !mesh_slice_equal(both->localities[0].endpoints[1].lb_labels->items[0], MESH_SLICE("item")))
		rc = MESH_ERROR_STATE;
	mesh_config_object_release(both);
	return rc;
}

static void merged(void **state)
{
	static const char *const before[] = {"a", "b", "c"}, *const after[] = {"b"};
	struct scene scene = {set_of(before, 3), set_of(after, 1)};

	assert_true(oom_run(merge, &scene) >= 3);
	mesh_config_object_release(scene.old);
	mesh_config_object_release(scene.wanted);
}

/* However many stay, their locality weighs what it weighed; one that is wanted no more weighs nothing, as in Envoy. */
static void weights(void **state)
{
	static const char *const before[] = {"a", "b", "c"}, *const after[] = {"d"};
	struct endpoint_set *old = set_of(before, 3), *wanted = set_of(after, 1), *both;
	struct endpoint_shared shared[3] = {{0}};
	struct endpoint endpoints[3] = {{.shared = &shared[0]}, {.shared = &shared[1]}, {.shared = &shared[2]}};
	struct endpoint *active[3] = {&endpoints[0], &endpoints[1], &endpoints[2]};
	struct cluster_env env = {.mem = &mesh_mem_default};
	struct cluster cluster = {.env = &env, .set = old, .active = active, .count = 3};

	for (size_t i = 0; i < 3; i++) {
		old->localities[i].priority = 0;
		old->localities[i].weight = 50;
	}
	old->priority_count = 1;
	old->localities[2].region = mesh_slice_of("gone");
	wanted->localities[0].weight = 40;
	assert_int_equal(mesh_cluster_linger(&cluster, wanted, &both), 0);
	assert_non_null(both);
	assert_int_equal(both->count, 2);
	assert_int_equal(both->endpoint_count, 4);
	assert_int_equal(both->localities[0].count, 3);
	assert_int_equal(both->localities[0].weight, 40);
	assert_int_equal(both->localities[1].count, 1);
	assert_int_equal(both->localities[1].weight, 0);
	assert_int_equal(wanted->localities[0].count, 1);
	mesh_config_object_release(both);
	mesh_config_object_release(old);
	mesh_config_object_release(wanted);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(merged), cmocka_unit_test(weights)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
