/* SPDX-License-Identifier: Apache-2.0 */
/* Is a byte queue a queue under any mix of operations, within its limit, and cheap when nearly full? */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <mesh/error.h>

#include "support/failing_mem.h"

#include "base/buf.h"
#include "base/rand.h"

static void queue(void **state)
{
	struct buf buf;

	mesh_buf_init(&buf, &mesh_mem_default, 0);
	assert_int_equal(mesh_buf_len(&buf), 0);
	assert_null(mesh_buf_slice(&buf).data);
	assert_int_equal(mesh_buf_append(&buf, mesh_slice_make(NULL, 0)), 0);
	assert_null(buf.data);
	assert_int_equal(mesh_buf_append(&buf, MESH_SLICE("hello ")), 0);
	assert_int_equal(mesh_buf_printf(&buf, "%s %d", "world", 7), 0);
	assert_true(mesh_slice_equal(mesh_buf_slice(&buf), MESH_SLICE("hello world 7")));
	mesh_buf_consume(&buf, 6);
	assert_true(mesh_slice_equal(mesh_buf_slice(&buf), MESH_SLICE("world 7")));
	mesh_buf_shrink(&buf); /* not empty: stays */
	assert_int_equal(mesh_buf_len(&buf), 7);
	mesh_buf_consume(&buf, 7);
	assert_int_equal(buf.start, 0);
	assert_non_null(buf.data);
	mesh_buf_shrink(&buf);
	assert_null(buf.data);
	memcpy(mesh_buf_reserve(&buf, 3), "abc", 3);
	assert_int_equal(mesh_buf_len(&buf), 0); /* reserved is not there yet */
	mesh_buf_commit(&buf, 2);
	assert_true(mesh_slice_equal(mesh_buf_slice(&buf), MESH_SLICE("ab")));
	mesh_buf_clear(&buf);
	assert_int_equal(mesh_buf_len(&buf), 0);
	mesh_buf_free(&buf);
	assert_non_null(mesh_buf_reserve(&buf, 0)); /* NULL would mean no memory */
	mesh_buf_free(&buf);
}

/* The NUL that printf writes has room behind every length, and is not kept. */
static void printing(void **state)
{
	struct buf buf;

	for (int len = 0; len < 600; len++) {
		mesh_buf_init(&buf, &mesh_mem_default, 0);
		assert_int_equal(mesh_buf_printf(&buf, "%.*s", len, ""), 0);
		assert_int_equal(mesh_buf_len(&buf), 0);
		assert_int_equal(mesh_buf_printf(&buf, "%*d", len + 1, 7), 0);
		assert_int_equal(mesh_buf_len(&buf), len + 1);
		assert_int_equal(mesh_buf_printf(&buf, "%s", "x"), 0);
		assert_int_equal(mesh_buf_slice(&buf).data[len + 1], 'x');
		mesh_buf_free(&buf);
	}
}

static void limits(void **state)
{
	struct buf buf;

	mesh_buf_init(&buf, &mesh_mem_default, 10);
	assert_int_equal(mesh_buf_append(&buf, MESH_SLICE("12345678901")), MESH_ERROR_TOO_LARGE);
	assert_int_equal(mesh_buf_len(&buf), 0);
	assert_int_equal(mesh_buf_append(&buf, MESH_SLICE("1234567890")), 0);
	assert_int_equal(mesh_buf_append(&buf, MESH_SLICE("1")), MESH_ERROR_TOO_LARGE);
	assert_int_equal(mesh_buf_printf(&buf, "1"), MESH_ERROR_TOO_LARGE);
	assert_null(mesh_buf_reserve(&buf, 1));
	assert_true(mesh_slice_equal(mesh_buf_slice(&buf), MESH_SLICE("1234567890")));
	mesh_buf_consume(&buf, 4); /* what was consumed counts no more */
	assert_int_equal(mesh_buf_printf(&buf, "abcd"), 0);
	assert_true(mesh_slice_equal(mesh_buf_slice(&buf), MESH_SLICE("567890abcd")));
	assert_null(mesh_buf_reserve(&buf, SIZE_MAX));
	mesh_buf_free(&buf);
	mesh_buf_init(&buf, &mesh_mem_default, 0);
	assert_null(mesh_buf_reserve(&buf, SIZE_MAX - 3));
	mesh_buf_free(&buf);
}

static void against_model(void **state)
{
	static unsigned char model[1 << 20];
	size_t start = 0, end = 0;
	struct failing_mem failing; /* moves at every resize */
	struct rand rand;
	struct buf buf;

	failing_mem_init(&failing, 0);
	mesh_rand_seed(&rand, 3);
	mesh_buf_init(&buf, &failing.mem, 5000);
	for (int n = 0; n < 20000 && end < sizeof(model) - 600; n++) {
		char bytes[600];
		size_t len = mesh_rand_below(&rand, sizeof(bytes)), held = end - start;

		if (mesh_rand_below(&rand, 5) < 2 || held > 4000) {
			len = mesh_rand_below(&rand, held + 1);
			mesh_buf_consume(&buf, len);
			start += len;
		} else {
			for (size_t i = 0; i < len; i++)
				bytes[i] = (char)mesh_rand_next(&rand);
			assert_int_equal(mesh_buf_append(&buf, mesh_slice_make(bytes, len)), 0);
			memcpy(model + end, bytes, len);
			end += len;
		}
		assert_int_equal(mesh_buf_len(&buf), end - start);
		assert_true(mesh_slice_equal(mesh_buf_slice(&buf), mesh_slice_make(model + start, end - start)));
	}
	assert_true(end > sizeof(model) / 2);
	assert_true(buf.room <= 16384); /* bounded by what it holds, not by what went through */
	mesh_buf_free(&buf);
	assert_int_equal(failing.blocks, 0);
}

/* A queue that is kept nearly full must not move all of it for every byte. */
static void nearly_full_is_cheap(void **state)
{
	size_t moves = 0;
	struct buf buf;

	mesh_buf_init(&buf, &mesh_mem_default, 0);
	for (int i = 0; i < 4096; i++)
		mesh_buf_append(&buf, MESH_SLICE("x"));
	for (int i = 0; i < 100000; i++) {
		size_t before;

		mesh_buf_consume(&buf, 1);
		before = buf.start;
		mesh_buf_append(&buf, MESH_SLICE("x"));
		moves += buf.start < before;
	}
	assert_true(moves <= 100000 / 4000);
	mesh_buf_free(&buf);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(queue),
		cmocka_unit_test(printing),
		cmocka_unit_test(limits),
		cmocka_unit_test(against_model),
		cmocka_unit_test(nearly_full_is_cheap),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
