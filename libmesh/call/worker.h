/* SPDX-License-Identifier: Apache-2.0 */
/* A worker: a loop with the clusters, connections and calls that live on it. */
#ifndef MESH_CALL_WORKER_H
#define MESH_CALL_WORKER_H

#include "call/lookup.h"
#include "call/mesh.h"
#include "cluster/cluster.h"

struct health_checks;

enum worker_kind {
	WORKER_LIBRARY,  /* a thread of ours */
	WORKER_BORROWED, /* driven by the application */
	WORKER_IMPLICIT, /* driven while its thread blocks */
};

struct mesh_worker {
	struct mesh *mesh;
	atomic_uint refs;         /* its own while it can work and one of each call: they may outlive it */
	atomic_bool ending;       /* takes no call any more; what hangs on it is ended or gone */
	enum worker_kind kind;
	_Atomic pthread_t driver; /* the thread that drives it */
	struct cluster_env env;   /* loop, snapshot, clusters */
	struct lookup *lookup;    /* names it asked for; NULL: none yet */
	struct link calls;        /* running, struct mesh_call */
	struct link spare;        /* calls to reuse: a warm call allocates nothing */
	unsigned spare_count;
	unsigned shadows;         /* among `calls`, mirror.c */
	struct link inbound;      /* struct inbound */
	struct link streams;      /* running, struct mesh_stream */
	struct {
		struct link link; /* mesh->shared.workers */
	} shared;
	char date[29];            /* of the Date header */
	int64_t date_s;
	struct health_checks *checks; /* of the one that makes them (checker.c); else NULL */
	atomic_bool stop;
	atomic_bool waking;       /* `wake` is on its way */
	struct loop_mail wake;
	struct loop_mail last;    /* wakes it to see `stop` */
	pthread_t thread;         /* WORKER_LIBRARY */
};

int mesh_worker_make(struct mesh *mesh, enum worker_kind kind, struct mesh_worker **worker);
/* On its thread, or after that ended. The struct alone stays while calls refer to it. */
void mesh_worker_destroy(struct mesh_worker *worker);
void mesh_worker_drop(struct mesh_worker *worker); /* gives a reference back; any thread */
int mesh_worker_implicit(struct mesh *mesh, struct mesh_worker **worker); /* the calling thread's */
int mesh_workers_start(struct mesh *mesh); /* all library workers; harmless when running */
void mesh_workers_stop(struct mesh *mesh); /* joins the library's, destroys those and the implicit ones */
/* "Tue, 24 Nov 2026 15:00:00 GMT", made once a second. */
struct mesh_slice mesh_worker_date(struct mesh_worker *worker);
/* A new snapshot is there: workers with connections waiting for one look again. Any thread. */
void mesh_workers_wake(struct mesh *mesh);
/* The present snapshot is in worker->env.snapshot afterwards, NULL before the first. */
void mesh_worker_refresh(struct mesh_worker *worker);

static inline bool mesh_worker_here(const struct mesh_worker *worker)
{
	return pthread_equal(atomic_load_explicit(&((struct mesh_worker *)worker)->driver, memory_order_relaxed),
			     pthread_self());
}

#endif
