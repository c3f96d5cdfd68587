/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides how files are read, replaced and created only once. Refuses to know what is in them, but that a key is a key.
 */
#include "files.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/pem.h>

int cp_file_read(struct buf *out, const char *path, struct why *why)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	int rc = 0;

	if (fd < 0)
		return mesh_why(why, MESH_ERROR_SYSTEM, "%s: %s", path, strerror(errno));
	for (;;) {
		char bytes[16384];
		ssize_t got = read(fd, bytes, sizeof(bytes));

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			rc = mesh_why(why, MESH_ERROR_SYSTEM, "%s: %s", path, strerror(errno));
		if (got <= 0)
			break;
		rc = mesh_buf_append(out, mesh_slice_make(bytes, (size_t)got));
		if (rc < 0) {
			mesh_why(why, rc, "%s: %s", path, rc == MESH_ERROR_TOO_LARGE ? "too large" : "out of memory");
			break;
		}
	}
	close(fd);
	return rc;
}

static int write_all(int fd, struct mesh_slice bytes)
{
	while (bytes.len > 0) {
		ssize_t put = write(fd, bytes.data, bytes.len);

		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0)
			return -1;
		bytes = mesh_slice_make(bytes.data + put, bytes.len - (size_t)put);
	}
	return 0;
}

/* `once`: an existing file stays, and that is no failure. */
static int put_file(const char *path, struct mesh_slice bytes, unsigned mode, bool once, struct why *why)
{
	char beside[PATH_MAX];
	int fd, rc = -1;

	if (snprintf(beside, sizeof(beside), "%s.%ld.tmp", path, (long)getpid()) >= (int)sizeof(beside))
		return mesh_why(why, MESH_ERROR_INVALID, "%s: name too long", path);
	unlink(beside);
	fd = open(beside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
	if (fd >= 0) {
		rc = write_all(fd, bytes);
		if (close(fd) < 0)
			rc = -1;
	}
	if (rc == 0 && once)
		rc = link(beside, path) < 0 && errno != EEXIST ? -1 : 0;
	else if (rc == 0)
		rc = rename(beside, path);
	if (rc < 0)
		mesh_why(why, MESH_ERROR_SYSTEM, "%s: %s", path, strerror(errno));
	if (fd >= 0 && (once || rc < 0))
		unlink(beside);
	return rc < 0 ? MESH_ERROR_SYSTEM : 0;
}

int cp_file_write(const char *path, struct mesh_slice bytes, unsigned mode, struct why *why)
{
	return put_file(path, bytes, mode, false, why);
}

static EVP_PKEY *read_key(const char *path, struct why *why)
{
	struct buf text;
	EVP_PKEY *key = NULL;
	BIO *bio;

	mesh_buf_init(&text, &mesh_mem_default, 64 * 1024);
	if (cp_file_read(&text, path, why) == 0) {
		bio = BIO_new_mem_buf(text.data, (int)mesh_buf_len(&text));
		key = bio ? PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL) : NULL;
		BIO_free(bio);
		if (!key)
			mesh_why(why, MESH_ERROR_INVALID, "%s: not a private key in PEM", path);
	}
	if (text.data)
		mesh_mem_wipe(text.data, text.room);
	mesh_buf_free(&text);
	return key;
}

static int make_key(const char *path, struct why *why)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	BIO *bio = BIO_new(BIO_s_secmem());
	char *text = NULL;
	long len = 0;
	int rc;

	if (key && bio && PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL) == 1)
		len = BIO_get_mem_data(bio, &text);
	if (len > 0)
		rc = put_file(path, mesh_slice_make(text, (size_t)len), 0600, true, why);
	else
		rc = mesh_why(why, MESH_ERROR_NOMEM, "%s: cannot make a key", path);
	BIO_free(bio);
	EVP_PKEY_free(key);
	return rc;
}

EVP_PKEY *cp_file_key(const char *dir, const char *name, struct why *why)
{
	char path[PATH_MAX];

	if (mkdir(dir, 0755) < 0 && errno != EEXIST) {
		mesh_why(why, MESH_ERROR_SYSTEM, "%s: %s", dir, strerror(errno));
		return NULL;
	}
	if (snprintf(path, sizeof(path), "%s/%s", dir, name) >= (int)sizeof(path)) {
		mesh_why(why, MESH_ERROR_INVALID, "%s: name too long", dir);
		return NULL;
	}
	if (access(path, F_OK) < 0 && make_key(path, why) < 0)
		return NULL;
	return read_key(path, why);
}
