/* SPDX-License-Identifier: Apache-2.0 */
/* Are files read whole or refused with a reason, within bounds, and without leaving copies of what is in them? */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "control/file.h"
#include "support/failing_mem.h"

static char folder[64], path[96];

static void write_bytes(const char *bytes, size_t len)
{
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	assert_int_equal(fwrite(bytes, 1, len, file), len);
	assert_int_equal(fclose(file), 0);
}

static void refused(const char *where, int error, const char *format)
{
	struct why why = {{0}};
	char words[320];
	struct buf out;

	mesh_buf_init(&out, &mesh_mem_default, 0);
	assert_int_equal(mesh_file_read(where, "token", &out, &why), error);
	snprintf(words, sizeof(words), format, where);
	assert_string_equal(why.text, words);
	mesh_buf_free(&out);
}

static void read_whole(void **state)
{
	static const size_t sizes[] = {1, 2, 4095, 4096, 4097, 100000, MESH_FILE_BYTES_MAX};
	char *bytes = malloc(MESH_FILE_BYTES_MAX + 1);
	struct why why = {{0}};
	struct buf out;

	for (size_t i = 0; i < MESH_FILE_BYTES_MAX + 1; i++)
		bytes[i] = (char)(i * 31 % 251);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		write_bytes(bytes, sizes[i]);
		mesh_buf_init(&out, &mesh_mem_default, 0);
		assert_int_equal(mesh_buf_append(&out, MESH_SLICE("before")), 0);
		assert_int_equal(mesh_file_read(path, "token", &out, &why), 0);
		assert_int_equal(mesh_buf_len(&out), 6 + sizes[i]);
		assert_memory_equal(mesh_buf_slice(&out).data, "before", 6);
		assert_memory_equal(mesh_buf_slice(&out).data + 6, bytes, sizes[i]);
		assert_int_equal(mesh_buf_slice(&out).data[mesh_buf_len(&out)], '\0');
		mesh_buf_free(&out);
	}
	write_bytes(bytes, MESH_FILE_BYTES_MAX + 1);
	refused(path, MESH_ERROR_BOOTSTRAP, "token file %s: larger than 1048576 bytes");
	refused("/dev/zero", MESH_ERROR_BOOTSTRAP, "token file %s: is not a regular file");
	free(bytes);
}

static void refusals(void **state)
{
	refused("/nowhere/token", MESH_ERROR_BOOTSTRAP, "token file %s: cannot be opened: No such file or directory");
	refused(folder, MESH_ERROR_BOOTSTRAP, "token file %s: is not a regular file");
	write_bytes("", 0);
	refused(path, MESH_ERROR_BOOTSTRAP, "token file %s: is empty");
	unlink(path);
	assert_int_equal(mkfifo(path, 0600), 0);
	refused(path, MESH_ERROR_BOOTSTRAP, "token file %s: is not a regular file"); /* without hanging on it */
	unlink(path);
	assert_int_equal(symlink(path, path), 0);
	refused(path, MESH_ERROR_BOOTSTRAP, "token file %s: cannot be opened: Too many levels of symbolic links");
	unlink(path);
	write_bytes("x", 1);
	if (geteuid() != 0) {
		assert_int_equal(chmod(path, 0), 0);
		refused(path, MESH_ERROR_BOOTSTRAP, "token file %s: cannot be opened: Permission denied");
		assert_int_equal(chmod(path, 0600), 0);
	}
}

/* A secret that moved while it was read would stay behind in freed memory. */
static void one_block(void **state)
{
	struct failing_mem mem;
	struct buf out;
	char bytes[9000];

	memset(bytes, 'k', sizeof(bytes));
	write_bytes(bytes, sizeof(bytes));
	failing_mem_init(&mem, 0);
	mesh_buf_init(&out, &mem.mem, 0);
	assert_int_equal(mesh_file_read(path, "key", &out, NULL), 0);
	assert_int_equal(atomic_load(&mem.calls), 1);
	mesh_buf_free(&out);
	failing_mem_init(&mem, 1);
	mesh_buf_init(&out, &mem.mem, 0);
	assert_int_equal(mesh_file_read(path, "key", &out, NULL), MESH_ERROR_NOMEM);
	mesh_buf_free(&out);
}

static void stamps(void **state)
{
	struct file_stamp a, b;
	char other[128];

	mesh_file_stamp(NULL, &a);
	mesh_file_stamp("/nowhere/at/all", &b);
	assert_true(mesh_file_stamp_equal(&a, &b));
	assert_int_equal(a.inode, 0);
	write_bytes("one", 3);
	mesh_file_stamp(path, &a);
	assert_int_not_equal(a.inode, 0);
	assert_false(mesh_file_stamp_equal(&a, &b)); /* it is there now */
	mesh_file_stamp(path, &b);
	assert_true(mesh_file_stamp_equal(&a, &b));
	write_bytes("more", 4);
	mesh_file_stamp(path, &b);
	assert_false(mesh_file_stamp_equal(&a, &b));
	/* replaced by one of equal size, as the kubelet does it */
	snprintf(other, sizeof(other), "%s.new", path);
	assert_int_equal(rename(path, other), 0);
	write_bytes("less", 4);
	mesh_file_stamp(path, &a);
	assert_int_equal(rename(other, path), 0);
	mesh_file_stamp(path, &b);
	assert_false(mesh_file_stamp_equal(&a, &b));
}

static int make_folder(void **state)
{
	snprintf(folder, sizeof(folder), "/tmp/mesh_file_test_XXXXXX");
	if (!mkdtemp(folder))
		return -1;
	snprintf(path, sizeof(path), "%s/file", folder);
	return 0;
}

static int drop_folder(void **state)
{
	unlink(path);
	return rmdir(folder);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(read_whole),
		cmocka_unit_test(refusals),
		cmocka_unit_test(one_block),
		cmocka_unit_test(stamps),
	};

	return cmocka_run_group_tests(tests, make_folder, drop_folder);
}
