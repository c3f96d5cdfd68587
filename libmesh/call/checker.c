/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides when the thread of active health checks starts and ends: no application's thread can be relied on to drive them.
 * Refuses to know what is checked.
 */
#include "call/checker.h"

#include "loop/thread.h"

static void *checker_main(void *argument)
{
	struct checker *checker = argument;
	struct mesh_worker *worker = checker->worker;

	atomic_store(&worker->driver, pthread_self());
	mesh_worker_refresh(worker);
	mesh_health_checks_follow(&checker->checks);
	while (!atomic_load_explicit(&worker->stop, memory_order_acquire))
		mesh_loop_run(worker->env.loop, -1);
	return NULL;
}

static int start(struct mesh *mesh)
{
	struct checker *checker = mesh_mem_zalloc(&mesh->mem, sizeof(*checker));
	int rc = checker ? mesh_worker_make(mesh, WORKER_LIBRARY, &checker->worker) : MESH_ERROR_NOMEM;

	if (rc) {
		mesh_mem_free(&mesh->mem, checker);
		return rc;
	}
	mesh_health_checks_init(&checker->checks, &checker->worker->env);
	checker->worker->checks = &checker->checks;
	rc = mesh_thread_start(&checker->worker->thread, "mesh-checker", checker_main, checker);
	if (rc) {
		checker->worker->checks = NULL;
		mesh_worker_destroy(checker->worker);
		mesh_mem_free(&mesh->mem, checker);
		return rc;
	}
	mesh->checker = checker;
	return 0;
}

void mesh_checker_published(struct mesh *mesh)
{
	struct snapshot *snapshot;
	int rc = 0;

	if (mesh->checker)
		return;
	snapshot = mesh_publisher_get(&mesh->publisher);
	if (snapshot && snapshot->checked)
		rc = start(mesh);
	mesh_snapshot_release(snapshot);
	if (rc)
		MESH_LOG_W(&mesh->log, "health", "active health checks cannot start: %s", mesh_error_text(rc));
}

static void nothing(struct loop_mail *mail)
{
}

void mesh_checker_stop(struct mesh *mesh)
{
	struct checker *checker = mesh->checker;
	struct mesh_worker *worker;

	if (!checker)
		return;
	worker = checker->worker;
	worker->last.run = nothing;
	atomic_store_explicit(&worker->stop, true, memory_order_release);
	mesh_loop_post(worker->env.loop, &worker->last);
	pthread_join(worker->thread, NULL);
	worker->checks = NULL;
	mesh_health_checks_end(&checker->checks);
	mesh_worker_destroy(worker);
	mesh_mem_free(&mesh->mem, checker);
	mesh->checker = NULL;
}
