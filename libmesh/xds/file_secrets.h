/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Secrets that are files of the pod: beside a sidecar its agent serves them by names the control plane gives ("file-root:<path>",
 * "file-root:system", "file-cert:<chain>~<key>"). The control thread's only.
 */
#ifndef MESH_XDS_FILE_SECRETS_H
#define MESH_XDS_FILE_SECRETS_H

#include "base/map.h"
#include "loop/loop.h"
#include "xds/resource_cache.h"

struct file_secrets {
	const struct mesh_mem *mem;
	const struct log *log;
	struct loop *loop;
	struct resource_cache *cache;
	void (*changed)(void *user); /* another one is held than before */
	void *user;
	struct map files;       /* struct secret_file, by secret name */
	struct loop_timer look; /* while there are any */
};

void mesh_file_secrets_init(struct file_secrets *files); /* after all but the last two were set */
/* Reads what is asked for now and was not before. NOMEM */
int mesh_file_secrets_follow(struct file_secrets *files);
void mesh_file_secrets_free(struct file_secrets *files);

#endif
