/* SPDX-License-Identifier: Apache-2.0 */
/* Does a table agree with an array, do old versions stay as they were, do changes share, are collisions told apart? */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include <stdlib.h>

#include "support/failing_mem.h"

#include "base/rand.h"
#include "base/table.h"

enum { NAMES = 400, VERSIONS = 12 };

struct item {
	struct table_item item;
	const struct mesh_mem *mem;
	char name[24];
};

static void item_destroy(struct ref *ref)
{
	struct item *item = (struct item *)ref;

	mesh_mem_free(item->mem, item);
}

static struct item *item_new(const struct mesh_mem *mem, unsigned number)
{
	struct item *item = mesh_mem_zalloc(mem, sizeof(*item));

	assert_non_null(item);
	mesh_ref_init(&item->item.ref, item_destroy);
	item->mem = mem;
	snprintf(item->name, sizeof(item->name), "cluster-%u", number);
	item->item.name = mesh_slice_of(item->name);
	return item;
}

static struct mesh_slice name_of(unsigned number, char text[24])
{
	return mesh_slice_make(text, (size_t)snprintf(text, 24, "cluster-%u", number));
}

/* Replaces *table by itself with the item put in; gives the item away. */
static void put(const struct mesh_mem *mem, struct table **table, struct item *item)
{
	struct table *next;

	assert_int_equal(mesh_table_put(mem, *table, &item->item, &next), 0);
	mesh_ref_drop(&item->item.ref);
	mesh_table_release(*table);
	*table = next;
}

static void cut(const struct mesh_mem *mem, struct table **table, unsigned number)
{
	struct table *next;
	char text[24];

	assert_int_equal(mesh_table_remove(mem, *table, name_of(number, text), &next), 0);
	mesh_table_release(*table);
	*table = next;
}

static int count_one(struct table_item *item, void *user)
{
	++*(size_t *)user;
	return 0;
}

static int stop_at_third(struct table_item *item, void *user)
{
	return ++*(size_t *)user == 3 ? 42 : 0;
}

static void empty(void **state)
{
	struct table *table = NULL, *next;
	size_t count = 0;

	assert_int_equal(mesh_table_count(NULL), 0);
	assert_null(mesh_table_get(NULL, MESH_SLICE("a")));
	assert_int_equal(mesh_table_each(NULL, count_one, &count), 0);
	assert_null(mesh_table_retain(NULL));
	mesh_table_release(NULL);
	assert_int_equal(mesh_table_remove(&mesh_mem_default, NULL, MESH_SLICE("a"), &next), 0);
	assert_null(next);
	put(&mesh_mem_default, &table, item_new(&mesh_mem_default, 1));
	cut(&mesh_mem_default, &table, 1);
	assert_int_equal(mesh_table_count(table), 0);
	assert_int_equal(mesh_table_each(table, count_one, &count), 0);
	assert_int_equal(count, 0);
	put(&mesh_mem_default, &table, item_new(&mesh_mem_default, 2)); /* an emptied one can be filled again */
	assert_int_equal(mesh_table_count(table), 1);
	mesh_table_release(table);
}

struct version {
	struct table *table;
	struct table_item *model[NAMES];
	size_t count;
};

static void check(const struct version *version)
{
	size_t seen = 0;
	char text[24];

	assert_int_equal(mesh_table_count(version->table), version->count);
	for (unsigned i = 0; i < NAMES; i++) {
		struct mesh_slice name = name_of(i, text);

		assert_ptr_equal(mesh_table_get(version->table, name), version->model[i]);
		assert_ptr_equal(mesh_table_get_hashed(version->table, name, mesh_slice_hash(name)), version->model[i]);
	}
	assert_int_equal(mesh_table_each(version->table, count_one, &seen), 0);
	assert_int_equal(seen, version->count);
}

/* Random changes to random old versions; every version must go on showing what it showed. */
static void against_model(void **state)
{
	static struct version versions[VERSIONS];
	struct failing_mem failing;
	struct rand rand;

	failing_mem_init(&failing, 0);
	mesh_rand_seed(&rand, 5);
	for (int n = 0; n < 8000; n++) {
		struct version *from = &versions[mesh_rand_below(&rand, VERSIONS)];
		struct version *to = &versions[mesh_rand_below(&rand, VERSIONS)], next = *from;
		unsigned i = (unsigned)mesh_rand_below(&rand, NAMES);

		next.table = mesh_table_retain(from->table);
		if (mesh_rand_below(&rand, 3)) {
			struct item *item = item_new(&failing.mem, i);

			next.count += !next.model[i];
			next.model[i] = &item->item;
			put(&failing.mem, &next.table, item);
		} else {
			next.count -= next.model[i] != NULL;
			next.model[i] = NULL;
			cut(&failing.mem, &next.table, i);
		}
		mesh_table_release(to->table);
		*to = next;
		if (n % 100 == 0)
			for (int v = 0; v < VERSIONS; v++)
				check(&versions[v]);
	}
	for (int v = 0; v < VERSIONS; v++) {
		check(&versions[v]);
		mesh_table_release(versions[v].table);
	}
	assert_int_equal(failing.blocks, 0); /* items too: a table gives its references back */
}

static void visiting_stops(void **state)
{
	struct table *table = NULL;
	size_t seen = 0;

	for (unsigned i = 0; i < 10; i++)
		put(&mesh_mem_default, &table, item_new(&mesh_mem_default, i));
	assert_int_equal(mesh_table_each(table, stop_at_third, &seen), 42);
	assert_int_equal(seen, 3);
	mesh_table_release(table);
}

/* What a change costs does not depend on how much is in the table. */
static void changes_share(void **state)
{
	struct failing_mem failing;
	struct table *table = NULL, *before;
	size_t calls, bytes;

	failing_mem_init(&failing, 0);
	for (unsigned i = 0; i < 20000; i++)
		put(&failing.mem, &table, item_new(&mesh_mem_default, i));
	before = mesh_table_retain(table);
	calls = failing.calls;
	bytes = failing.bytes;
	put(&failing.mem, &table, item_new(&mesh_mem_default, 777));
	assert_true(failing.calls - calls <= 8);
	assert_true(failing.bytes - bytes <= 4096);
	mesh_table_release(table);
	assert_int_equal(failing.bytes, bytes);
	mesh_table_release(before);
	assert_int_equal(failing.blocks, 0);
}

/* No branch stays behind when the last name under it goes. */
static void emptied_holds_nothing(void **state)
{
	struct failing_mem failing;
	struct table *table = NULL;

	failing_mem_init(&failing, 0);
	for (unsigned i = 0; i < 3000; i++)
		put(&failing.mem, &table, item_new(&failing.mem, i));
	for (unsigned i = 0; i < 3000; i++)
		cut(&failing.mem, &table, i);
	assert_int_equal(mesh_table_count(table), 0);
	assert_int_equal(failing.blocks, 1); /* the table itself */
	mesh_table_release(table);
	assert_int_equal(failing.blocks, 0);
}

static void absent_removal_is_the_same(void **state)
{
	struct table *table = NULL, *same;

	put(&mesh_mem_default, &table, item_new(&mesh_mem_default, 1));
	assert_int_equal(mesh_table_remove(&mesh_mem_default, table, MESH_SLICE("other"), &same), 0);
	assert_ptr_equal(same, table);
	mesh_table_release(same);
	mesh_table_release(table);
}

struct hashed {
	uint32_t hash;
	unsigned number;
};

static int by_hash(const void *a, const void *b)
{
	uint32_t x = ((const struct hashed *)a)->hash, y = ((const struct hashed *)b)->hash;

	return (x > y) - (x < y);
}

/* Hash bits are used from the low end: names that agree there meet deepest. Sorted by the bits turned round. */
static uint32_t turned(uint32_t bits)
{
	uint32_t result = 0;

	for (int i = 0; i < 32; i++)
		result |= (bits >> i & 1) << (31 - i);
	return result;
}

static void pair_behaves(unsigned a, unsigned b)
{
	struct table *table = NULL, *both;
	char text[24];

	put(&mesh_mem_default, &table, item_new(&mesh_mem_default, a));
	put(&mesh_mem_default, &table, item_new(&mesh_mem_default, b));
	both = mesh_table_retain(table);
	put(&mesh_mem_default, &table, item_new(&mesh_mem_default, a)); /* replaces */
	assert_int_equal(mesh_table_count(table), 2);
	assert_non_null(mesh_table_get(table, name_of(b, text)));
	cut(&mesh_mem_default, &table, a);
	assert_int_equal(mesh_table_count(table), 1);
	assert_null(mesh_table_get(table, name_of(a, text)));
	assert_non_null(mesh_table_get(table, name_of(b, text)));
	cut(&mesh_mem_default, &table, b);
	assert_int_equal(mesh_table_count(table), 0);
	assert_non_null(mesh_table_get(both, name_of(a, text)));
	assert_non_null(mesh_table_get(both, name_of(b, text)));
	mesh_table_release(table);
	mesh_table_release(both);
}

/* 400,000 names: about 19 pairs of equal hashes and 56 that part only at the last two bits. The key of the hash is
 * drawn per process, so which they are differs; that there are none of either has a probability below one in ten
 * million. */
static void collisions(void **state)
{
	enum { MANY = 400000 };
	struct hashed *all = mesh_mem_array(&mesh_mem_default, MANY, sizeof(*all));
	unsigned equal = 0, deep = 0;
	char text[24];

	assert_non_null(all);
	for (unsigned i = 0; i < MANY; i++)
		all[i] = (struct hashed){turned(mesh_slice_hash(name_of(i, text))), i};
	qsort(all, MANY, sizeof(*all), by_hash);
	for (unsigned i = 1; i < MANY; i++) {
		uint32_t differ = all[i].hash ^ all[i - 1].hash;

		if (differ > 3)
			continue;
		equal += differ == 0;
		deep += differ != 0;
		pair_behaves(all[i - 1].number, all[i].number);
	}
	assert_true(equal > 0);
	assert_true(deep > 0);
	mesh_mem_free(&mesh_mem_default, all);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(empty),
		cmocka_unit_test(against_model),
		cmocka_unit_test(visiting_stops),
		cmocka_unit_test(changes_share),
		cmocka_unit_test(emptied_holds_nothing),
		cmocka_unit_test(absent_removal_is_the_same),
		cmocka_unit_test(collisions),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
