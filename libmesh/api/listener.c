/* SPDX-License-Identifier: Apache-2.0 */
/* <mesh/listener.h>: argument checks around call/listener.h. */
#include <mesh/listener.h>

#include "call/listener.h"

MESH_EXPORT int mesh_listen(struct mesh *mesh, const struct mesh_listen_options *options, struct mesh_listener **listener)
{
	struct mesh_listen_options all = {0};
	int rc;

	if (!mesh || !listener || !options || !options->size)
		return MESH_ERROR_INVALID;
	*listener = NULL;
	memcpy(&all, options, options->size < sizeof(all) ? options->size : sizeof(all));
	if (!all.handler && !all.stream_handler)
		return MESH_ERROR_INVALID;
	if (atomic_load(&mesh->draining))
		return MESH_ERROR_DRAINING;
	if (all.worker && all.worker->kind != WORKER_BORROWED)
		return MESH_ERROR_INVALID;
	if (!all.worker) {
		rc = mesh_workers_start(mesh);
		if (rc)
			return rc;
	}
	return mesh_listener_make(mesh, &all, listener);
}

MESH_EXPORT uint16_t mesh_listener_port(const struct mesh_listener *listener)
{
	return listener ? listener->port : 0;
}

MESH_EXPORT void mesh_listener_close(struct mesh_listener *listener)
{
	if (listener)
		mesh_listener_destroy(listener);
}
