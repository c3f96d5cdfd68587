/* SPDX-License-Identifier: Apache-2.0 */
/* Does base and loop unwind cleanly, leak nothing and stay usable whichever allocation fails? */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include <mesh/error.h>

#include "support/failing_mem.h"

#include "base/buf.h"
#include "base/header.h"
#include "base/heap.h"
#include "base/map.h"
#include "base/regex.h"
#include "base/table.h"
#include "base/text.h"
#include "loop/loop.h"

/* Something that is untrue here means a wrong answer, not a lack of memory. */
#define EXPECT(truth)                                                                                                  \
	do {                                                                                                           \
		if (!(truth) && rc != MESH_ERROR_STATE) {                                                              \
			fprintf(stderr, "line %d: not so: %s\n", __LINE__, #truth);                                    \
			rc = MESH_ERROR_STATE;                                                                         \
		}                                                                                                      \
	} while (0)

static int use_arena(const struct mesh_mem *mem, void *user)
{
	struct arena arena;
	int rc = 0;

	mesh_arena_init(&arena, mem, 1 << 20);
	for (int round = 0; round < 3; round++) {
		for (size_t bytes = 1; bytes < 20000 && !rc; bytes = bytes * 2 + 1) {
			bool failed = false;
			struct mesh_slice text = mesh_arena_printf(&arena, "%0*d", (int)(bytes % 500) + 1, 7);
			struct mesh_slice copy = mesh_arena_slice(&arena, text, &failed);

			if (!text.data || failed || !mesh_arena_zalloc(&arena, bytes) ||
			    !mesh_arena_array(&arena, bytes, 3))
				rc = MESH_ERROR_NOMEM;
			EXPECT(failed || mesh_slice_equal(text, copy));
		}
		mesh_arena_reset(&arena);
	}
	mesh_arena_free(&arena);
	EXPECT(arena.total == 0);
	return rc;
}

static int use_buf(const struct mesh_mem *mem, void *user)
{
	struct buf buf;
	size_t len = 0;
	int rc = 0;

	mesh_buf_init(&buf, mem, 0);
	for (int i = 0; i < 200 && !rc; i++) {
		rc = mesh_buf_append(&buf, MESH_SLICE("0123456789"));
		len += rc ? 0 : 10;
		EXPECT(mesh_buf_len(&buf) == len);
		if (!rc && !mesh_buf_reserve(&buf, 100))
			rc = MESH_ERROR_NOMEM;
		rc = rc ? rc : mesh_buf_printf(&buf, "%05d", i);
		len = mesh_buf_len(&buf);
		if (i % 3 == 0 && len > 5) {
			mesh_buf_consume(&buf, 5);
			len -= 5;
		}
	}
	EXPECT(mesh_buf_len(&buf) == len);
	mesh_buf_free(&buf);
	return rc;
}

static int use_text(const struct mesh_mem *mem, void *user)
{
	struct buf plain, coded, back;
	int rc = 0;

	mesh_buf_init(&plain, mem, 0);
	mesh_buf_init(&coded, mem, 0);
	mesh_buf_init(&back, mem, 0);
	for (int i = 0; i < 100 && !rc; i++)
		rc = mesh_buf_printf(&plain, "%d\n\"\xff", i);
	rc = rc ? rc : mesh_text_base64_append(&coded, mesh_buf_slice(&plain));
	rc = rc ? rc : mesh_text_base64_decode(&back, mesh_buf_slice(&coded));
	if (!rc)
		EXPECT(mesh_slice_equal(mesh_buf_slice(&back), mesh_buf_slice(&plain)));
	mesh_buf_free(&back);
	rc = rc ? rc : mesh_text_json_append(&back, mesh_buf_slice(&plain));
	mesh_buf_free(&back);
	rc = rc ? rc : mesh_text_percent_decode(&back, mesh_buf_slice(&coded));
	mesh_buf_free(&plain);
	mesh_buf_free(&coded);
	mesh_buf_free(&back);
	return rc;
}

static int use_map(const struct mesh_mem *mem, void *user)
{
	static char names[100][16];
	struct map map;
	size_t count = 0;
	int rc = 0;

	mesh_map_init(&map, mem);
	for (int i = 0; i < 100 && !rc; i++) {
		snprintf(names[i], sizeof(names[i]), "n%d", i);
		rc = mesh_map_put(&map, mesh_slice_of(names[i]), names[i], NULL);
		count += !rc;
		EXPECT(map.count == count);
	}
	for (size_t i = 0; i < count; i++) /* whatever failed, what went in is there */
		EXPECT(mesh_map_get(&map, mesh_slice_of(names[i])) == names[i]);
	for (size_t i = 0; i < count; i++)
		EXPECT(mesh_map_remove(&map, mesh_slice_of(names[i])) == names[i]);
	mesh_map_free(&map);
	return rc;
}

struct item {
	struct table_item item;
	const struct mesh_mem *mem;
	char name[16];
};

static void item_destroy(struct ref *ref)
{
	struct item *item = (struct item *)ref;

	mesh_mem_free(item->mem, item);
}

static int put_item(const struct mesh_mem *mem, struct table **table, int number)
{
	struct item *item = mesh_mem_zalloc(mem, sizeof(*item));
	struct table *next;
	int rc;

	if (!item)
		return MESH_ERROR_NOMEM;
	mesh_ref_init(&item->item.ref, item_destroy);
	item->mem = mem;
	snprintf(item->name, sizeof(item->name), "n%d", number);
	item->item.name = mesh_slice_of(item->name);
	rc = mesh_table_put(mem, *table, &item->item, &next);
	mesh_ref_drop(&item->item.ref);
	if (rc)
		return rc;
	mesh_table_release(*table);
	*table = next;
	return 0;
}

static int use_table(const struct mesh_mem *mem, void *user)
{
	struct table *table = NULL, *half = NULL, *next;
	size_t count = 0;
	char name[16];
	int rc = 0;

	for (int i = 0; i < 60 && !rc; i++) {
		rc = put_item(mem, &table, i);
		count += !rc;
		if (i == 30 && !rc)
			half = mesh_table_retain(table);
	}
	EXPECT(mesh_table_count(table) == count); /* a failed put leaves the old table as it was */
	rc = rc ? rc : put_item(mem, &table, 3);
	for (int i = 0; i < 60 && !rc; i += 2) {
		snprintf(name, sizeof(name), "n%d", i);
		rc = mesh_table_remove(mem, table, mesh_slice_of(name), &next);
		if (rc) {
			EXPECT(mesh_table_get(table, mesh_slice_of(name)));
			break;
		}
		mesh_table_release(table);
		table = next;
		EXPECT(!mesh_table_get(table, mesh_slice_of(name)));
	}
	if (half)
		EXPECT(mesh_table_count(half) == 31);
	mesh_table_release(table);
	mesh_table_release(half);
	return rc;
}

static int use_headers(const struct mesh_mem *mem, void *user)
{
	struct headers headers;
	struct arena arena;
	bool failed = false;
	char name[16];
	int rc = 0;

	mesh_headers_clear(&headers);
	mesh_arena_init(&arena, mem, 0);
	for (int i = 0; i < 200 && !rc; i++) {
		snprintf(name, sizeof(name), "x-%d", i % 150);
		rc = mesh_headers_add_copy(&headers, &arena, mesh_slice_of(name), MESH_SLICE("value"));
	}
	rc = rc ? rc : mesh_headers_set(&headers, &arena, MESH_SLICE("X-1"), MESH_SLICE("other"));
	rc = rc ? rc : mesh_headers_set(&headers, &arena, MESH_SLICE("x-new"), MESH_SLICE("other"));
	for (int i = 0; i < 300 && !rc; i++) {
		struct mesh_slice joined = mesh_headers_joined(&headers, &arena, MESH_SLICE("x-2"), &failed);

		rc = failed ? MESH_ERROR_NOMEM : 0;
		EXPECT(failed || mesh_slice_equal(joined, MESH_SLICE("value,value")));
	}
	mesh_arena_free(&arena);
	return rc;
}

static int use_heap(const struct mesh_mem *mem, void *user)
{
	struct heap_item items[100] = {0};
	struct heap heap;
	size_t count = 0;
	int rc = 0;

	mesh_heap_init(&heap, mem);
	for (size_t i = 0; i < 100 && !rc; i++) {
		rc = mesh_heap_put(&heap, &items[i], 1000 - i);
		EXPECT((items[i].place != 0) == !rc);
		count += !rc;
	}
	for (size_t i = 0; i < count; i++) {
		EXPECT(mesh_heap_first(&heap)->key == 1000 - (count - 1 - i));
		mesh_heap_remove(&heap, mesh_heap_first(&heap));
	}
	EXPECT(!mesh_heap_first(&heap));
	mesh_heap_free(&heap);
	return rc;
}

static int rings, ran;

static void ring(struct loop_timer *timer)
{
	rings++;
}

static void run(struct loop_task *task)
{
	ran++;
}

static int use_loop(const struct mesh_mem *mem, void *user)
{
	struct loop_timer timers[100] = {{.due = ring}};
	struct loop_task task = {.run = run};
	struct loop *loop = NULL;
	int started = 0, rc = mesh_loop_new(mem, &loop);

	rings = ran = 0;
	EXPECT(!rc == (loop != NULL));
	if (rc)
		return rc;
	if (mesh_loop_fd(loop) < 0)
		rc = MESH_ERROR_SYSTEM;
	for (int i = 0; i < 100 && !rc; i++) {
		timers[i].due = ring;
		rc = mesh_timer_start(loop, &timers[i], 0);
		EXPECT(mesh_timer_running(&timers[i]) == !rc);
		started += !rc;
	}
	mesh_loop_defer(loop, &task);
	while (rc != MESH_ERROR_STATE && (rings < started || !ran))
		EXPECT(mesh_loop_run(loop, 1000) > 0);
	EXPECT(ran == 1);
	mesh_loop_free(loop);
	return rc;
}

static int use_regex(const struct mesh_mem *mem, void *user)
{
	struct regex *regex;
	struct why why = {""};
	struct buf out;
	int rc = mesh_regex_new(MESH_SLICE("a(b*)"), &regex, &why);

	if (rc)
		return MESH_ERROR_STATE; /* what it allocates is not ours, and is there */
	mesh_buf_init(&out, mem, 0);
	for (int i = 0; i < 100 && !rc; i++)
		rc = mesh_regex_replace(regex, MESH_SLICE("abb abbb"), MESH_SLICE("\\1c"), &out);
	mesh_buf_free(&out);
	mesh_regex_free(regex);
	return rc;
}

/* At least as many allocations as are known to be in it: a scenario that stopped short would prove nothing. */
static void arena(void **state)
{
	assert_true(oom_run(use_arena, NULL) >= 5);
}

static void buf(void **state)
{
	assert_true(oom_run(use_buf, NULL) >= 4);
}

static void text(void **state)
{
	assert_true(oom_run(use_text, NULL) >= 5);
}

static void map(void **state)
{
	assert_true(oom_run(use_map, NULL) >= 5);
}

static void table(void **state)
{
	assert_true(oom_run(use_table, NULL) >= 250);
}

static void headers(void **state)
{
	assert_true(oom_run(use_headers, NULL) >= 4);
}

static void heap(void **state)
{
	assert_true(oom_run(use_heap, NULL) >= 4);
}

static void loop(void **state)
{
	assert_true(oom_run(use_loop, NULL) >= 5);
}

static void regex(void **state)
{
	assert_true(oom_run(use_regex, NULL) >= 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(arena), cmocka_unit_test(buf),	  cmocka_unit_test(text),
		cmocka_unit_test(map),	 cmocka_unit_test(table), cmocka_unit_test(headers),
		cmocka_unit_test(heap),	 cmocka_unit_test(loop),  cmocka_unit_test(regex),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
