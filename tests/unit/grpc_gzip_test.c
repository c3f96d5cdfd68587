/* SPDX-License-Identifier: Apache-2.0 */
/* Does gzip give back what went in, refuse what is none, and keep to the bound whatever comes? */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include <mesh/error.h>

#include "grpc/gzip.h"

static struct grpc_gzip *gzip;
static struct buf packed, plain;
static char *text;
static const size_t text_bytes = 300000;

static int setup(void **state)
{
	gzip = NULL;
	mesh_buf_init(&packed, &mesh_mem_default, 0);
	mesh_buf_init(&plain, &mesh_mem_default, 0);
	text = malloc(text_bytes);
	for (size_t i = 0; i < text_bytes; i++)
		text[i] = (char)(i * i >> 7);
	return 0;
}

static int teardown(void **state)
{
	mesh_grpc_gzip_free(gzip);
	mesh_buf_free(&packed);
	mesh_buf_free(&plain);
	free(text);
	return 0;
}

static int deflate_text(size_t len)
{
	mesh_buf_clear(&packed);
	return mesh_grpc_deflate(&gzip, &mesh_mem_default, mesh_slice_make(text, len), &packed);
}

static int inflate_max(struct mesh_slice in, size_t max)
{
	mesh_buf_clear(&plain);
	return mesh_grpc_inflate(&gzip, &mesh_mem_default, in, max, &plain);
}

static void there_and_back(void **state)
{
	const size_t lengths[] = {0, 1, 1000, 16383, 16384, 16385, 300000, 5};

	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		assert_int_equal(deflate_text(lengths[i]), 0);
		assert_memory_equal(mesh_buf_slice(&packed).data, "\x1f\x8b", 2);
		assert_int_equal(inflate_max(mesh_buf_slice(&packed), lengths[i]), 0);
		assert_true(mesh_slice_equal(mesh_buf_slice(&plain), mesh_slice_make(text, lengths[i])));
	}
}

static void bound(void **state)
{
	assert_int_equal(deflate_text(text_bytes), 0);
	assert_int_equal(inflate_max(mesh_buf_slice(&packed), text_bytes - 1), MESH_ERROR_TOO_LARGE);
	assert_int_equal(inflate_max(mesh_buf_slice(&packed), 0), MESH_ERROR_TOO_LARGE);
}

static void bomb(void **state)
{
	memset(text, 0, text_bytes);
	assert_int_equal(deflate_text(text_bytes), 0);
	assert_true(mesh_buf_len(&packed) < text_bytes / 500);
	assert_int_equal(inflate_max(mesh_buf_slice(&packed), 1000), MESH_ERROR_TOO_LARGE);
	assert_true(plain.room < 64 * 1024);
}

static void members(void **state)
{
	struct buf two;

	mesh_buf_init(&two, &mesh_mem_default, 0);
	assert_int_equal(deflate_text(1000), 0);
	mesh_buf_append(&two, mesh_buf_slice(&packed));
	mesh_buf_append(&two, mesh_buf_slice(&packed));
	assert_int_equal(inflate_max(mesh_buf_slice(&two), 2000), 0);
	assert_int_equal(mesh_buf_len(&plain), 2000);
	assert_int_equal(inflate_max(mesh_buf_slice(&two), 1999), MESH_ERROR_TOO_LARGE);
	mesh_buf_append(&two, MESH_SLICE("x"));
	assert_int_equal(inflate_max(mesh_buf_slice(&two), 5000), MESH_ERROR_INVALID);
	mesh_buf_free(&two);
}

static void broken(void **state)
{
	struct mesh_slice whole;

	assert_int_equal(deflate_text(1000), 0);
	whole = mesh_buf_slice(&packed);
	for (size_t len = 0; len < whole.len; len++)
		assert_int_equal(inflate_max(mesh_slice_make(whole.data, len), 1000), MESH_ERROR_INVALID);
	((char *)whole.data)[whole.len - 5] ^= 1; /* the checksum */
	assert_int_equal(inflate_max(whole, 1000), MESH_ERROR_INVALID);
	assert_int_equal(inflate_max(MESH_SLICE("plain text is no gzip"), 1000), MESH_ERROR_INVALID);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(there_and_back, setup, teardown),
		cmocka_unit_test_setup_teardown(bound, setup, teardown),
		cmocka_unit_test_setup_teardown(bomb, setup, teardown),
		cmocka_unit_test_setup_teardown(members, setup, teardown),
		cmocka_unit_test_setup_teardown(broken, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
