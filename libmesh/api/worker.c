/* SPDX-License-Identifier: Apache-2.0 */
/* <mesh/worker.h>: argument checks around call/worker.h. */
#include <mesh/worker.h>

#include "call/worker.h"

MESH_EXPORT int mesh_worker_new(struct mesh *mesh, struct mesh_worker **worker)
{
	int rc;

	if (!mesh || !worker)
		return MESH_ERROR_INVALID;
	*worker = NULL;
	rc = mesh_worker_make(mesh, WORKER_BORROWED, worker);
	if (rc)
		return rc;
	rc = mesh_loop_fd((*worker)->env.loop); /* from now on everything due shows on the descriptor */
	if (rc >= 0)
		return 0;
	mesh_worker_destroy(*worker);
	*worker = NULL;
	return rc;
}

MESH_EXPORT int mesh_worker_fd(struct mesh_worker *worker)
{
	if (!worker || worker->kind != WORKER_BORROWED)
		return MESH_ERROR_INVALID;
	return mesh_loop_fd(worker->env.loop);
}

MESH_EXPORT int mesh_worker_run(struct mesh_worker *worker, int timeout_ms)
{
	if (!worker || worker->kind != WORKER_BORROWED)
		return MESH_ERROR_INVALID;
	if (mesh_loop_running(worker->env.loop))
		return MESH_ERROR_THREAD;
	atomic_store_explicit(&worker->driver, pthread_self(), memory_order_relaxed);
	return mesh_loop_run(worker->env.loop, timeout_ms);
}

MESH_EXPORT void mesh_worker_free(struct mesh_worker *worker)
{
	if (worker && worker->kind == WORKER_BORROWED)
		mesh_worker_destroy(worker);
}

MESH_EXPORT int mesh_worker_library(struct mesh *mesh, struct mesh_worker **worker)
{
	int rc;

	if (!mesh || !worker)
		return MESH_ERROR_INVALID;
	*worker = NULL;
	rc = mesh_workers_start(mesh);
	if (rc)
		return rc;
	pthread_mutex_lock(&mesh->shared.lock);
	*worker = mesh->shared.library[mesh->shared.library_next++ % mesh->shared.library_count];
	pthread_mutex_unlock(&mesh->shared.lock);
	return 0;
}
