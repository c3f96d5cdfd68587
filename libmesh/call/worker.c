/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides who runs a worker and when it starts and ends: library threads, application loops, or whichever thread blocks.
 * Refuses to know what runs on it beyond its lists.
 */
#include "call/worker.h"

#include <stdio.h>
#include <time.h>

#include "call/call.h"
#include "call/checker.h"
#include "call/inbound.h"
#include "call/stream.h"
#include "loop/thread.h"

struct mesh_slice mesh_worker_date(struct mesh_worker *worker)
{
	static const char days[7][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
	static const char months[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
	int64_t now_s = mesh_time_wall_ms() / 1000;
	time_t now = (time_t)now_s;
	char text[64];
	struct tm tm;

	if (now_s != worker->date_s && gmtime_r(&now, &tm)) {
		snprintf(text, sizeof(text), "%s, %02d %s %04d %02d:%02d:%02d GMT", days[tm.tm_wday], tm.tm_mday,
			 months[tm.tm_mon], tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec);
		memcpy(worker->date, text, sizeof(worker->date));
		worker->date_s = now_s;
	}
	return mesh_slice_make(worker->date, sizeof(worker->date));
}

void mesh_worker_refresh(struct mesh_worker *worker)
{
	mesh_publisher_refresh(&worker->mesh->publisher, &worker->env.snapshot);
}

static void wake(struct loop_mail *mail)
{
	struct mesh_worker *worker = MESH_CONTAINER(mail, struct mesh_worker, wake);

	atomic_store(&worker->waking, false);
	mesh_worker_refresh(worker);
	mesh_inbound_retry(worker);
	if (worker->checks)
		mesh_health_checks_follow(worker->checks);
}

void mesh_workers_wake(struct mesh *mesh)
{
	pthread_mutex_lock(&mesh->shared.lock);
	MESH_LIST_EACH(at, &mesh->shared.workers) {
		struct mesh_worker *worker = MESH_CONTAINER(at, struct mesh_worker, shared.link);

		/* only who serves must hear of it unasked; a caller looks when it calls */
		if (worker->kind != WORKER_IMPLICIT && !atomic_exchange(&worker->waking, true))
			mesh_loop_post(worker->env.loop, &worker->wake);
	}
	pthread_mutex_unlock(&mesh->shared.lock);
}

int mesh_worker_make(struct mesh *mesh, enum worker_kind kind, struct mesh_worker **result)
{
	struct mesh_worker *worker = mesh_mem_zalloc(&mesh->mem, sizeof(*worker));
	int rc;

	if (!worker)
		return MESH_ERROR_NOMEM;
	worker->mesh = mesh;
	atomic_store(&worker->refs, 1);
	worker->kind = kind;
	worker->wake.run = wake;
	atomic_store(&worker->driver, pthread_self());
	mesh_list_init(&worker->calls);
	mesh_list_init(&worker->spare);
	mesh_list_init(&worker->inbound);
	mesh_list_init(&worker->streams);
	worker->env.mem = &mesh->mem;
	worker->env.log = &mesh->log;
	worker->env.tls = mesh->tls;
	worker->env.registry = &mesh->registry;
	worker->env.warm = mesh->warm;
	worker->env.peak_ewma = mesh->peak_ewma;
	if (mesh->locality[0])
		mesh_cluster_env_zone(&worker->env, mesh_slice_of(mesh->locality));
	rc = mesh_loop_new(&mesh->mem, &worker->env.loop);
	if (!rc)
		rc = mesh_cluster_env_init(&worker->env);
	if (rc) {
		mesh_loop_free(worker->env.loop);
		mesh_mem_free(&mesh->mem, worker);
		return rc;
	}
	pthread_mutex_lock(&mesh->shared.lock);
	mesh_list_push(&mesh->shared.workers, &worker->shared.link);
	pthread_mutex_unlock(&mesh->shared.lock);
	*result = worker;
	return 0;
}

void mesh_worker_drop(struct mesh_worker *worker)
{
	if (atomic_fetch_sub_explicit(&worker->refs, 1, memory_order_acq_rel) == 1)
		mesh_mem_free(&worker->mesh->mem, worker);
}

void mesh_worker_destroy(struct mesh_worker *worker)
{
	struct mesh *mesh = worker->mesh;

	atomic_store(&worker->ending, true); /* nothing is started by a `done` below, and no call put back */
	pthread_mutex_lock(&mesh->shared.lock);
	mesh_list_remove(&worker->shared.link);
	pthread_mutex_unlock(&mesh->shared.lock);
	atomic_store(&worker->driver, pthread_self());
	mesh_listeners_leave(worker);
	mesh_streams_end(worker);
	while (!mesh_list_empty(&worker->inbound))
		mesh_inbound_kill(MESH_CONTAINER(worker->inbound.next, struct inbound, link));
	MESH_LIST_EACH_SAFE(at, &worker->calls) {
		struct mesh_call *call = MESH_CONTAINER(at, struct mesh_call, link);

		call->in_api = true; /* `done` comes from the round below */
		mesh_call_finish(call, MESH_ERROR_CANCELLED, "its worker ended");
	}
	while (mesh_loop_run(worker->env.loop, 0) > 0)
		;
	while (!mesh_list_empty(&worker->spare)) {
		struct mesh_call *call = MESH_CONTAINER(worker->spare.next, struct mesh_call, link);

		mesh_list_remove(&call->link);
		atomic_store(&call->refs, 1);
		mesh_call_drop(call);
	}
	mesh_lookup_free(worker->lookup);
	mesh_cluster_env_destroy(&worker->env);
	mesh_loop_free(worker->env.loop);
	mesh_snapshot_release(worker->env.snapshot);
	mesh_worker_drop(worker);
}

int mesh_worker_implicit(struct mesh *mesh, struct mesh_worker **worker)
{
	int rc;

	*worker = pthread_getspecific(mesh->implicit);
	if (*worker)
		return 0;
	rc = mesh_worker_make(mesh, WORKER_IMPLICIT, worker);
	if (rc)
		return rc;
	if (!pthread_setspecific(mesh->implicit, *worker))
		return 0;
	mesh_worker_destroy(*worker);
	return MESH_ERROR_NOMEM;
}

static void *library_main(void *argument)
{
	struct mesh_worker *worker = argument;

	atomic_store(&worker->driver, pthread_self());
	while (!atomic_load_explicit(&worker->stop, memory_order_acquire))
		mesh_loop_run(worker->env.loop, -1);
	return NULL;
}

int mesh_workers_start(struct mesh *mesh)
{
	int rc = 0;

	pthread_mutex_lock(&mesh->shared.start);
	while (mesh->shared.library_count < mesh->shared.library_room && !rc) {
		struct mesh_worker *worker;

		rc = mesh_worker_make(mesh, WORKER_LIBRARY, &worker);
		if (rc)
			break;
		rc = mesh_thread_start(&worker->thread, "mesh-worker", library_main, worker);
		if (rc) {
			mesh_worker_destroy(worker);
		} else {
			atomic_store(&worker->driver, worker->thread);
			mesh->shared.library[mesh->shared.library_count++] = worker;
		}
	}
	pthread_mutex_unlock(&mesh->shared.start);
	return rc;
}

static void nothing(struct loop_mail *mail)
{
}

void mesh_workers_stop(struct mesh *mesh)
{
	mesh_checker_stop(mesh);
	for (unsigned i = 0; i < mesh->shared.library_count; i++) {
		struct mesh_worker *worker = mesh->shared.library[i];

		worker->last.run = nothing;
		atomic_store_explicit(&worker->stop, true, memory_order_release);
		mesh_loop_post(worker->env.loop, &worker->last);
		pthread_join(worker->thread, NULL);
		mesh_worker_destroy(worker);
	}
	mesh->shared.library_count = 0;
	while (!mesh_list_empty(&mesh->shared.workers)) /* implicit ones of threads that are done with the mesh */
		mesh_worker_destroy(MESH_CONTAINER(mesh->shared.workers.next, struct mesh_worker, shared.link));
}
