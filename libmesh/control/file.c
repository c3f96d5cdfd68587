/* SPDX-License-Identifier: Apache-2.0 */
/* Reads small files as Kubernetes mounts them. Decides bounds and words; refuses to know what is in them. */
#include "control/file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CHUNK = 4096 };

static const char *reason(int error, char *room, size_t bytes)
{
	return strerror_r(error, room, bytes);
}

static int no_memory(const char *path, const char *what, struct why *why)
{
	return mesh_why(why, MESH_ERROR_NOMEM, "no memory for the %s file %s", what, path);
}

static int too_large(const char *path, const char *what, struct why *why)
{
	return mesh_why(why, MESH_ERROR_BOOTSTRAP, "%s file %s: larger than %d bytes", what, path, MESH_FILE_BYTES_MAX);
}

static int read_all(int fd, const char *path, const char *what, struct buf *out, struct why *why)
{
	size_t before = mesh_buf_len(out);
	char words[64];

	for (;;) {
		char *room = mesh_buf_reserve(out, CHUNK);
		ssize_t got;

		if (!room)
			return no_memory(path, what, why);
		got = read(fd, room, CHUNK - 1);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return mesh_why(why, MESH_ERROR_BOOTSTRAP, "%s file %s: cannot be read: %s", what, path,
					reason(errno, words, sizeof(words)));
		room[got] = '\0';
		if (got == 0)
			break;
		mesh_buf_commit(out, (size_t)got);
		if (mesh_buf_len(out) - before > MESH_FILE_BYTES_MAX)
			return too_large(path, what, why);
	}
	if (mesh_buf_len(out) == before)
		return mesh_why(why, MESH_ERROR_BOOTSTRAP, "%s file %s: is empty", what, path);
	return 0;
}

int mesh_file_read(const char *path, const char *what, struct buf *out, struct why *why)
{
	char words[64];
	struct stat status;
	int fd, rc;

	/* not to hang on a FIFO that somebody put there */
	do
		fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	while (fd < 0 && errno == EINTR);
	if (fd < 0)
		return mesh_why(why, MESH_ERROR_BOOTSTRAP, "%s file %s: cannot be opened: %s", what, path,
				reason(errno, words, sizeof(words)));
	if (fstat(fd, &status) || !S_ISREG(status.st_mode))
		rc = mesh_why(why, MESH_ERROR_BOOTSTRAP, "%s file %s: is not a regular file", what, path);
	else if (status.st_size > MESH_FILE_BYTES_MAX)
		rc = too_large(path, what, why);
	else if (!mesh_buf_reserve(out, (size_t)status.st_size + 2 * CHUNK))
		rc = no_memory(path, what, why); /* one block: growing would leave copies of a secret behind */
	else
		rc = read_all(fd, path, what, out, why);
	close(fd);
	return rc;
}

void mesh_file_stamp(const char *path, struct file_stamp *stamp)
{
	struct stat status;

	memset(stamp, 0, sizeof(*stamp));
	if (!path || stat(path, &status))
		return;
	stamp->device = status.st_dev;
	stamp->inode = status.st_ino;
	stamp->bytes = (uint64_t)status.st_size;
	stamp->modified_ns = (int64_t)status.st_mtim.tv_sec * 1000000000 + status.st_mtim.tv_nsec;
	stamp->changed_ns = (int64_t)status.st_ctim.tv_sec * 1000000000 + status.st_ctim.tv_nsec;
}

bool mesh_file_stamp_equal(const struct file_stamp *a, const struct file_stamp *b)
{
	return a->device == b->device && a->inode == b->inode && a->bytes == b->bytes &&
	       a->modified_ns == b->modified_ns && a->changed_ns == b->changed_ns;
}
