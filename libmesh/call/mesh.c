/* SPDX-License-Identifier: Apache-2.0 */
/* Puts together and takes apart what the workers of a mesh share. Refuses to know where configuration comes from. */
#include "call/mesh.h"

#include <errno.h>
#include <time.h>

#include "call/checker.h"
#include "call/listener.h"
#include "call/worker.h"
#include "loop/thread.h"

void mesh_notify(struct mesh *mesh)
{
	if (!atomic_load_explicit(&mesh->waiting, memory_order_seq_cst))
		return;
	pthread_mutex_lock(&mesh->shared.lock);
	pthread_cond_broadcast(&mesh->shared.changed);
	pthread_mutex_unlock(&mesh->shared.lock);
}

static void published(void *user)
{
	mesh_checker_published(user);
	mesh_workers_wake(user);
}

/* A thread ends: so does the worker it drove. */
static void implicit_end(void *argument)
{
	struct mesh_worker *worker = argument;
	struct mesh *mesh = worker->mesh;

	/* a `done` that starts the next call finds this one, which takes none, instead of making another */
	pthread_setspecific(mesh->implicit, worker);
	mesh_worker_destroy(worker);
	pthread_setspecific(mesh->implicit, NULL);
}

static int init_threads(struct mesh *mesh)
{
	mesh->start_made = !pthread_mutex_init(&mesh->shared.start, NULL);
	if (!mesh->start_made || pthread_mutex_init(&mesh->shared.lock, NULL))
		return MESH_ERROR_SYSTEM;
	mesh->lock_made = true;
	mesh->changed_made = !mesh_cond_init(&mesh->shared.changed);
	if (!mesh->changed_made)
		return MESH_ERROR_SYSTEM;
	mesh->implicit_made = !pthread_key_create(&mesh->implicit, implicit_end);
	return mesh->implicit_made ? 0 : MESH_ERROR_SYSTEM;
}

int mesh_setup(const struct mesh_mem *mem, const struct log *log, unsigned library_workers, struct mesh **result)
{
	struct mesh *mesh = mesh_mem_zalloc(mem, sizeof(*mesh));
	int rc;

	if (!mesh)
		return MESH_ERROR_NOMEM;
	mesh->mem = *mem;
	mesh_buf_init(&mesh->greeting, &mesh->mem, 0);
	mesh->log = *log;
	mesh_list_init(&mesh->shared.workers);
	mesh_list_init(&mesh->shared.listeners);
	mesh->shared.library_room = library_workers ? library_workers : 1;
	mesh->shared.library = mesh_mem_array(&mesh->mem, mesh->shared.library_room, sizeof(struct mesh_worker *));
	rc = mesh->shared.library ? init_threads(mesh) : MESH_ERROR_NOMEM;
	if (!rc)
		rc = mesh_publisher_init(&mesh->publisher);
	mesh->publisher_made = !rc;
	if (!rc)
		rc = mesh_registry_init(&mesh->registry, &mesh->mem);
	mesh->registry_made = !rc;
	if (!rc)
		rc = mesh_tls_store_new(&mesh->mem, &mesh->log, &mesh->tls);
	if (rc) {
		mesh_teardown(mesh);
		return rc;
	}
	mesh->publisher.changed = published;
	mesh->publisher.user = mesh;
	*result = mesh;
	return 0;
}

void mesh_teardown(struct mesh *mesh)
{
	struct mesh_mem mem;

	if (!mesh)
		return;
	mem = mesh->mem;
	MESH_LIST_EACH_SAFE(at, &mesh->shared.listeners) /* those of a borrowed worker that is left end with it */
		mesh_listener_destroy(MESH_CONTAINER(at, struct mesh_listener, link));
	if (mesh->implicit_made)
		pthread_key_delete(mesh->implicit); /* from here on no thread's end reaches us */
	if (mesh->lock_made)
		mesh_workers_stop(mesh);
	mesh_tls_store_free(mesh->tls);
	if (mesh->registry_made)
		mesh_registry_destroy(&mesh->registry);
	if (mesh->publisher_made)
		mesh_publisher_destroy(&mesh->publisher);
	if (mesh->changed_made)
		pthread_cond_destroy(&mesh->shared.changed);
	if (mesh->lock_made)
		pthread_mutex_destroy(&mesh->shared.lock);
	if (mesh->start_made)
		pthread_mutex_destroy(&mesh->shared.start);
	mesh_buf_free(&mesh->greeting); /* by its own copy of `mem`, while there is one */
	mesh_mem_free(&mem, mesh->shared.library);
	mesh_mem_free(&mem, mesh);
}

/* Until no call runs, or the time is up. */
static int wait_calls(struct mesh *mesh, uint32_t ms)
{
	uint64_t until = mesh_time_now_ns() + (uint64_t)ms * 1000000;
	struct timespec at = {.tv_sec = (time_t)(until / 1000000000), .tv_nsec = (long)(until % 1000000000)};
	int rc = 0;

	atomic_fetch_add(&mesh->waiting, 1);
	pthread_mutex_lock(&mesh->shared.lock);
	while (atomic_load(&mesh->running) && rc != ETIMEDOUT)
		rc = pthread_cond_timedwait(&mesh->shared.changed, &mesh->shared.lock, &at);
	pthread_mutex_unlock(&mesh->shared.lock);
	atomic_fetch_sub(&mesh->waiting, 1);
	return atomic_load(&mesh->running) ? MESH_ERROR_TIMEOUT : 0;
}

/* A listener nobody drains yet, held; NULL: none. The lock is the caller's. */
static struct mesh_listener *hold_next(struct mesh *mesh)
{
	MESH_LIST_EACH(at, &mesh->shared.listeners) {
		struct mesh_listener *listener = MESH_CONTAINER(at, struct mesh_listener, link);

		if (atomic_load(&listener->draining))
			continue;
		listener->held++;
		return listener;
	}
	return NULL;
}

int mesh_drain_all(struct mesh *mesh, uint32_t grace_ms)
{
	struct mesh_listener *listener;

	pthread_mutex_lock(&mesh->shared.lock);
	while ((listener = hold_next(mesh)) != NULL) {
		pthread_mutex_unlock(&mesh->shared.lock); /* draining waits for workers, which may want it */
		mesh_listener_drain(listener);
		pthread_mutex_lock(&mesh->shared.lock);
		listener->held--;
		pthread_cond_broadcast(&mesh->shared.changed);
	}
	pthread_mutex_unlock(&mesh->shared.lock);
	return wait_calls(mesh, grace_ms);
}
