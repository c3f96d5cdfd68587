/* SPDX-License-Identifier: Apache-2.0 */
/* Are messages cut out of a body wherever its pieces end, and none longer than allowed? */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <mesh/error.h>

#include "grpc/frame.h"

/* "", "abc" compressed, "0123456789" */
static const char body[] = "\0\0\0\0\0"
			   "\1\0\0\0\3abc"
			   "\0\0\0\0\x0a"
			   "0123456789";
static const struct mesh_slice whole = {body, sizeof(body) - 1};
static const char *const expected[] = {"", "abc", "0123456789"};

static struct grpc_reader reader;

static void begin(size_t max)
{
	mesh_grpc_reader_init(&reader, &mesh_mem_default, max);
}

static size_t take_all(struct mesh_slice piece, size_t count)
{
	struct grpc_frame frame;

	for (;;) {
		bool due = mesh_grpc_reader_due(&reader, piece);
		int rc = mesh_grpc_reader_next(&reader, &piece, &frame);

		assert_int_equal(rc, due);
		if (!rc)
			break;
		assert_true(count < 3);
		assert_true(mesh_slice_equal(frame.bytes, mesh_slice_of(expected[count])));
		assert_int_equal(frame.compressed, count == 1);
		count++;
	}
	assert_int_equal(piece.len, 0);
	return count;
}

static void every_cut(void **state)
{
	for (size_t first = 0; first <= whole.len; first++)
		for (size_t second = first; second <= whole.len; second++) {
			size_t count;

			begin(10);
			count = take_all(mesh_slice_make(body, first), 0);
			count = take_all(mesh_slice_make(body + first, second - first), count);
			assert_int_equal(take_all(mesh_slice_make(body + second, whole.len - second), count), 3);
			assert_false(mesh_grpc_reader_inside(&reader, (struct mesh_slice){NULL, 0}));
			mesh_grpc_reader_free(&reader);
		}
}

static void byte_by_byte(void **state)
{
	size_t count = 0;

	begin(10);
	for (size_t i = 0; i < whole.len; i++)
		count = take_all(mesh_slice_make(body + i, 1), count);
	assert_int_equal(count, 3);
	mesh_grpc_reader_free(&reader);
}

static void whole_is_not_copied(void **state)
{
	struct mesh_slice in = whole;
	struct grpc_frame frame;

	begin(10);
	while (mesh_grpc_reader_next(&reader, &in, &frame) == 1)
		assert_true(!frame.bytes.len || (frame.bytes.data > body && frame.bytes.data < body + whole.len));
	assert_null(reader.body.data);
	mesh_grpc_reader_free(&reader);
}

static void too_long(void **state)
{
	struct mesh_slice in = MESH_SLICE("\0\0\0\0\x0b" "xy"), most = MESH_SLICE("\0\xff\xff\xff\xff");
	struct grpc_frame frame;

	begin(10);
	assert_int_equal(mesh_grpc_reader_next(&reader, &in, &frame), MESH_ERROR_TOO_LARGE);
	assert_null(reader.body.data); /* nothing is reserved for it */
	mesh_grpc_reader_free(&reader);
	begin(10);
	assert_int_equal(mesh_grpc_reader_next(&reader, &most, &frame), MESH_ERROR_TOO_LARGE);
	mesh_grpc_reader_free(&reader);
}

static void bad_flag(void **state)
{
	struct mesh_slice in = MESH_SLICE("\2\0\0\0\0");
	struct grpc_frame frame;

	begin(10);
	assert_int_equal(mesh_grpc_reader_next(&reader, &in, &frame), MESH_ERROR_PROTOCOL);
	mesh_grpc_reader_free(&reader);
}

static void cut_off(void **state)
{
	for (size_t len = 1; len < 8; len++) {
		struct mesh_slice in = {body + 5, len};
		struct grpc_frame frame;

		begin(10);
		assert_int_equal(mesh_grpc_reader_next(&reader, &in, &frame), 0);
		assert_true(mesh_grpc_reader_inside(&reader, (struct mesh_slice){NULL, 0}));
		mesh_grpc_reader_free(&reader);
	}
}

static void prefix(void **state)
{
	char text[MESH_GRPC_PREFIX_BYTES];

	mesh_grpc_prefix(text, true, 0x01020304);
	assert_memory_equal(text, "\1\1\2\3\4", 5);
	mesh_grpc_prefix(text, false, 0xffffffff);
	assert_memory_equal(text, "\0\xff\xff\xff\xff", 5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_cut), cmocka_unit_test(byte_by_byte), cmocka_unit_test(whole_is_not_copied),
		cmocka_unit_test(too_long),  cmocka_unit_test(bad_flag),     cmocka_unit_test(cut_off),
		cmocka_unit_test(prefix),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
