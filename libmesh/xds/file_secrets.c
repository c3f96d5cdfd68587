/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides when a file is read: when a resource begins to name it, and when it was replaced since. One that cannot be read is
 * said so once, as is a certificate that is not of its key, and what was read of it before stays in force; without any,
 * whatever needs it fails closed. Refuses to know what else is in it.
 */
#include "xds/file_secrets.h"

#include <mesh/error.h>

#include "base/buf.h"
#include "control/file.h"
#include "identity/chain.h"

static const uint64_t look_ns = 5000000000u;
enum { KEY_ROOM = 128 * 1024 }; /* reserved at once: a buffer that grows leaves copies of the key behind */

struct secret_file {
	struct mesh_slice name; /* of the secret */
	const char *path, *key; /* key NULL: roots */
	struct file_stamp stamp, key_stamp;
	bool wanted; /* scratch of a round */
	char text[];
};

/* Where systems keep the authorities they trust, as Istio's agent looks for them. */
static const char *system_roots(void)
{
	static const char *const paths[] = {
		"/etc/ssl/certs/ca-certificates.crt",
		"/etc/pki/tls/certs/ca-bundle.crt",
		"/etc/ssl/ca-bundle.pem",
		"/etc/pki/tls/cacert.pem",
		"/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
		"/etc/ssl/cert.pem",
	};
	struct file_stamp stamp, none = {0};

	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		mesh_file_stamp(paths[i], &stamp);
		if (!mesh_file_stamp_equal(&stamp, &none))
			return paths[i];
	}
	return paths[0];
}

/* "file-root:<path>", "file-cert:<chain>~<key>". NULL: no memory. A name that is neither has no path. */
static struct secret_file *file_new(const struct mesh_mem *mem, struct mesh_slice name)
{
	struct secret_file *file = mesh_mem_zalloc(mem, sizeof(*file) + 2 * (name.len + 1));
	char *path;

	if (!file)
		return NULL;
	memcpy(file->text, name.data, name.len);
	file->name = mesh_slice_make(file->text, name.len);
	path = file->text + name.len + 1;
	memcpy(path, name.data, name.len);
	if (mesh_slice_prefix(name, MESH_SLICE("file-root:"))) {
		file->path = path + strlen("file-root:");
		if (strcmp(file->path, "system") == 0)
			file->path = system_roots();
	} else if (strchr(path, '~')) {
		file->path = path + strlen("file-cert:");
		file->key = strchr(path, '~') + 1;
		*strchr(path, '~') = '\0';
	}
	return file;
}

static int make_secret(struct file_secrets *files, const struct secret_file *file, struct secret **secret,
		       struct why *why)
{
	const struct mesh_slice none = {NULL, 0};
	struct buf pem, key;
	struct why unfit = {{0}};
	int rc;

	mesh_buf_init(&pem, files->mem, 0);
	mesh_buf_init(&key, files->mem, 0);
	if (!file->path || !file->path[0])
		rc = mesh_why(why, MESH_ERROR_CONFIG, "secret \"%s\" names no file", file->text);
	else
		rc = mesh_file_read(file->path, file->key ? "certificate" : "root certificate", &pem, why);
	if (!rc && file->key && !mesh_buf_reserve(&key, KEY_ROOM))
		rc = MESH_ERROR_NOMEM;
	if (!rc && file->key)
		rc = mesh_file_read(file->key, "private key", &key, why);
	if (!rc && file->key && mesh_chain_carries(mesh_buf_slice(&pem), mesh_buf_slice(&key), &unfit)) /* half replaced, mostly */
		rc = mesh_why(why, MESH_ERROR_CERTIFICATE, "secret \"%s~%s\": %s", file->path, file->key, unfit.text);
	if (!rc)
		rc = mesh_secret_new(files->mem, file->name, file->key ? mesh_buf_slice(&pem) : none,
				     file->key ? mesh_buf_slice(&key) : none, file->key ? none : mesh_buf_slice(&pem),
				     secret);
	if (mesh_buf_len(&key))
		mesh_mem_wipe((char *)mesh_buf_slice(&key).data, mesh_buf_len(&key));
	mesh_buf_free(&key);
	mesh_buf_free(&pem);
	return rc;
}

static int load(struct file_secrets *files, struct secret_file *file)
{
	struct secret *secret = NULL;
	struct why why = {{0}};
	int rc;

	mesh_file_stamp(file->path, &file->stamp);
	mesh_file_stamp(file->key, &file->key_stamp);
	rc = make_secret(files, file, &secret, &why);
	if (rc == MESH_ERROR_NOMEM)
		return rc;
	if (rc) {
		MESH_LOG_W(files->log, "secret", "%s", why.text);
		return mesh_resource_cache_absent_secret(files->cache, file->name);
	}
	rc = mesh_resource_cache_set_secret(files->cache, secret);
	mesh_secret_release(secret);
	return rc;
}

static bool replaced(const struct secret_file *file)
{
	struct file_stamp stamp, key;

	mesh_file_stamp(file->path, &stamp);
	mesh_file_stamp(file->key, &key);
	return !mesh_file_stamp_equal(&stamp, &file->stamp) || !mesh_file_stamp_equal(&key, &file->key_stamp);
}

static void look_again(struct file_secrets *files)
{
	if (files->files.count && !mesh_timer_running(&files->look)) /* without memory for it: with the next response */
		mesh_timer_start(files->loop, &files->look, look_ns);
}

static void look_due(struct loop_timer *timer)
{
	struct file_secrets *files = MESH_CONTAINER(timer, struct file_secrets, look);
	bool changed = false;

	MESH_MAP_EACH(slot, &files->files) {
		struct secret_file *file = slot->value;

		if (!replaced(file))
			continue;
		if (load(files, file))
			memset(&file->stamp, 0, sizeof(file->stamp)); /* in the next round */
		changed = true;
	}
	look_again(files);
	if (changed)
		files->changed(files->user);
}

static int add(struct file_secrets *files, struct mesh_slice name)
{
	struct secret_file *file = file_new(files->mem, name);
	int rc = file ? mesh_map_put(&files->files, file->name, file, NULL) : MESH_ERROR_NOMEM;

	if (rc) {
		mesh_mem_free(files->mem, file);
		return rc;
	}
	file->wanted = true;
	rc = load(files, file);
	if (rc) {
		mesh_map_remove(&files->files, file->name);
		mesh_mem_free(files->mem, file);
	}
	return rc;
}

void mesh_file_secrets_init(struct file_secrets *files)
{
	mesh_map_init(&files->files, files->mem);
	files->look.due = look_due;
}

int mesh_file_secrets_follow(struct file_secrets *files)
{
	const struct mesh_slice *names;
	size_t count, at = 0;
	int rc = mesh_resource_cache_files(files->cache, &names, &count);

	MESH_MAP_EACH(slot, &files->files)
		((struct secret_file *)slot->value)->wanted = false;
	for (size_t i = 0; !rc && i < count; i++) {
		struct secret_file *file = mesh_map_get(&files->files, names[i]);

		if (file)
			file->wanted = true;
		else
			rc = add(files, names[i]);
	}
	while (!rc && at < files->files.room) {
		struct secret_file *file = files->files.slots[at].value;

		if (!file || file->wanted) {
			at++;
			continue;
		}
		mesh_map_remove(&files->files, file->name);
		mesh_mem_free(files->mem, file);
	}
	look_again(files);
	return rc;
}

void mesh_file_secrets_free(struct file_secrets *files)
{
	if (files->loop)
		mesh_timer_stop(files->loop, &files->look);
	MESH_MAP_EACH(slot, &files->files)
		mesh_mem_free(files->mem, slot->value);
	if (files->mem)
		mesh_map_free(&files->files);
}
