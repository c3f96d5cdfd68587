/* SPDX-License-Identifier: Apache-2.0 */
/* Are sizes checked, is memory zeroed, copied and wiped, and does the failing allocator see what it claims to see? */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <mesh/error.h>

#include "support/failing_mem.h"

#include "base/slice.h"

static void sizes(void **state)
{
	void *none = mesh_mem_alloc(&mesh_mem_default, 0);
	char *zero = mesh_mem_zalloc(&mesh_mem_default, 33);
	uint32_t *array = mesh_mem_array(&mesh_mem_default, 5, sizeof(*array));

	assert_non_null(none);
	for (int i = 0; i < 33; i++)
		assert_int_equal(zero[i], 0);
	for (int i = 0; i < 5; i++)
		assert_int_equal(array[i], 0);
	assert_null(mesh_mem_array(&mesh_mem_default, SIZE_MAX / 2, 3));
	none = mesh_mem_resize(&mesh_mem_default, none, 0);
	assert_non_null(none);
	mesh_mem_free(&mesh_mem_default, none);
	mesh_mem_free(&mesh_mem_default, zero);
	mesh_mem_free(&mesh_mem_default, array);
	mesh_mem_free(&mesh_mem_default, NULL);
	none = mesh_mem_resize(&mesh_mem_default, NULL, 7); /* of nothing: allocates */
	assert_non_null(none);
	mesh_mem_free(&mesh_mem_default, none);
}

static void texts(void **state)
{
	char *text = mesh_mem_text(&mesh_mem_default, mesh_slice_make("one\0two", 7));

	assert_memory_equal(text, "one\0two", 8);
	mesh_mem_free(&mesh_mem_default, text);
	text = mesh_mem_text(&mesh_mem_default, mesh_slice_make(NULL, 0));
	assert_string_equal(text, "");
	mesh_mem_free(&mesh_mem_default, text);
	assert_null(mesh_mem_text(&mesh_mem_default, mesh_slice_make("", SIZE_MAX)));
}

static void wiping(void **state)
{
	char secret[] = "secret";

	mesh_mem_wipe(secret, 3);
	assert_memory_equal(secret, "\0\0\0ret", 7);
	mesh_mem_wipe(NULL, 0);
}

static void failing_counts(void **state)
{
	struct failing_mem failing;
	char *a, *b;

	failing_mem_init(&failing, 2);
	a = mesh_mem_alloc(&failing.mem, 10);
	assert_non_null(a);
	assert_int_equal((uint8_t)a[9], 0xa5);
	memcpy(a, "0123456789", 10);
	assert_null(mesh_mem_alloc(&failing.mem, 10));
	b = mesh_mem_resize(&failing.mem, a, 20);
	assert_ptr_not_equal(a, b);
	assert_memory_equal(b, "0123456789", 10);
	assert_int_equal(failing.calls, 3);
	assert_int_equal(failing.failed, 1);
	assert_int_equal(failing.blocks, 1);
	assert_int_equal(failing.bytes, 20);
	mesh_mem_free(&failing.mem, b);
	assert_int_equal(failing.blocks, 0);
	assert_int_equal(failing.bytes, 0);
}

enum flaw { RIGHT, LEAKS, WRONG_ERROR, NOMEM_FOR_NOTHING, IDLE };

struct flawed {
	enum flaw flaw;
	void *leaked[16];
	const struct mesh_mem *mem;
	int count;
};

static int flawed(const struct mesh_mem *mem, void *user)
{
	struct flawed *f = user;
	void *a, *b;

	if (f->flaw == IDLE)
		return 0;
	a = mesh_mem_alloc(mem, 8);
	b = mesh_mem_alloc(mem, 8);
	if (!b && f->flaw == LEAKS) {
		f->leaked[f->count++] = a;
		return MESH_ERROR_NOMEM;
	}
	mesh_mem_free(mem, a);
	mesh_mem_free(mem, b);
	if (f->flaw == NOMEM_FOR_NOTHING)
		return MESH_ERROR_NOMEM;
	return a && b ? 0 : f->flaw == WRONG_ERROR ? MESH_ERROR_SYSTEM : MESH_ERROR_NOMEM;
}

/* The blocks begin a header before what was given out; they are freed here so that the leak sanitizer is content. */
static int verdict(enum flaw flaw)
{
	struct flawed f = {.flaw = flaw};
	int result = oom_run(flawed, &f);
	struct failing_mem spare;

	failing_mem_init(&spare, 0);
	for (int i = 0; i < f.count; i++)
		mesh_mem_free(&spare.mem, f.leaked[i]);
	return result;
}

static void oom_run_judges(void **state)
{
	assert_int_equal(verdict(RIGHT), 2);
	assert_int_equal(verdict(LEAKS), -1);
	assert_int_equal(verdict(WRONG_ERROR), -1);
	assert_int_equal(verdict(NOMEM_FOR_NOTHING), -1);
	assert_int_equal(verdict(IDLE), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sizes),	  cmocka_unit_test(texts),	    cmocka_unit_test(wiping),
		cmocka_unit_test(failing_counts), cmocka_unit_test(oom_run_judges),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
