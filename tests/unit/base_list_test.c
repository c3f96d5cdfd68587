/* SPDX-License-Identifier: Apache-2.0 */
/* Do the header-only pieces hold: lists in order, references given back once, counters read while written? */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdbool.h>

#include "base/counter.h"
#include "base/list.h"
#include "base/ref.h"

struct thing {
	int number;
	struct link link;
};

static int order_of(struct link *head)
{
	int order = 0;

	MESH_LIST_EACH(at, head)
		order = order * 10 + MESH_CONTAINER(at, struct thing, link)->number;
	return order;
}

static void lists(void **state)
{
	struct thing things[4] = {{1, {0}}, {2, {0}}, {3, {0}}, {4, {0}}};
	struct link head;

	mesh_list_init(&head);
	assert_true(mesh_list_empty(&head));
	mesh_list_push(&head, &things[1].link);
	mesh_list_push(&head, &things[2].link);
	mesh_list_push_front(&head, &things[0].link);
	mesh_list_insert_after(&things[0].link, &things[3].link);
	assert_int_equal(order_of(&head), 1423);
	mesh_list_remove(&things[3].link);
	mesh_list_remove(&things[3].link); /* harmless */
	assert_int_equal(order_of(&head), 123);
	MESH_LIST_EACH_SAFE(at, &head)
		if (MESH_CONTAINER(at, struct thing, link)->number != 2)
			mesh_list_remove(at);
	assert_int_equal(order_of(&head), 2);
	mesh_list_remove(head.next);
	assert_true(mesh_list_empty(&head));
}

struct owned {
	struct ref ref;
	atomic_int destroyed;
};

static void owned_destroy(struct ref *ref)
{
	atomic_fetch_add(&((struct owned *)ref)->destroyed, 1);
}

static void *take_and_drop(void *user)
{
	struct owned *owned = user;

	for (int i = 0; i < 20000; i++) {
		mesh_ref_take(&owned->ref);
		mesh_ref_drop(&owned->ref);
	}
	mesh_ref_drop(&owned->ref);
	return NULL;
}

static void references(void **state)
{
	struct owned owned = {.destroyed = 0};
	pthread_t threads[3];

	mesh_ref_drop(NULL);
	mesh_ref_init(&owned.ref, owned_destroy);
	for (int i = 0; i < 3; i++) {
		mesh_ref_take(&owned.ref);
		assert_int_equal(pthread_create(&threads[i], NULL, take_and_drop, &owned), 0);
	}
	for (int i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(owned.destroyed, 0);
	mesh_ref_drop(&owned.ref);
	assert_int_equal(owned.destroyed, 1);
}

static void *count_up(void *user)
{
	for (int i = 0; i < 100000; i++)
		mesh_counter_add(user, 2);
	return NULL;
}

static void counters(void **state)
{
	struct counter counter = {0};
	uint64_t last = 0;
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, count_up, &counter), 0);
	for (int i = 0; i < 1000; i++) {
		uint64_t now = mesh_counter_read(&counter);

		assert_true(now >= last && now % 2 == 0);
		last = now;
	}
	pthread_join(thread, NULL);
	assert_int_equal(mesh_counter_read(&counter), 200000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lists),
		cmocka_unit_test(references),
		cmocka_unit_test(counters),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
