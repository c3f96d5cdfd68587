/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Workers: who runs the work.
 *
 * A worker is an event loop with its connections and calls; they stay on it for life. Three kinds:
 * - the implicit worker of a thread that blocks: pass no worker, call mesh_call_wait; no hand-over to another thread;
 * - a borrowed worker: mesh_worker_new, then drive it from your own loop by descriptor;
 * - the library's own threads: mesh_worker_library; callbacks come on those threads.
 */
#ifndef MESH_WORKER_H
#define MESH_WORKER_H

#include <mesh/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Makes a borrowed worker for the thread that will drive it.
 * Thread: any; afterwards only one thread at a time may use it. Owns: *worker is the caller's, free before mesh_close.
 * Errors: INVALID, NOMEM, SYSTEM. Since: 0.1
 */
MESH_EXPORT int mesh_worker_new(struct mesh *mesh, struct mesh_worker **worker);

/*
 * A descriptor that polls readable when mesh_worker_run has something to do, timers included. Add it to your own loop.
 * Thread: the worker's. Owns: the descriptor stays the worker's; do not close it. Errors: INVALID. Since: 0.1
 */
MESH_EXPORT int mesh_worker_fd(struct mesh_worker *worker);

/*
 * Does what is due and returns the number of events handled. Waits up to timeout_ms for a first one (0: not at all, < 0:
 * for ever). Callbacks run inside it.
 * Thread: the worker's. Owns: nothing. Errors: THREAD (called from inside a callback of this worker), SYSTEM. Since: 0.1
 */
MESH_EXPORT int mesh_worker_run(struct mesh_worker *worker, int timeout_ms);

/*
 * Ends a borrowed worker: its calls end with CANCELLED, its connections close, a listener that accepts on it accepts no
 * more and is still the caller's to close, or mesh_close's. NULL is allowed.
 * Thread: the worker's, outside its callbacks. Owns: `worker` is gone. Errors: none. Since: 0.1
 */
MESH_EXPORT void mesh_worker_free(struct mesh_worker *worker);

/*
 * One of the library's own workers, started when first needed; successive calls go round.
 * Thread: any. Owns: the mesh's, never free it. Errors: INVALID, NOMEM, SYSTEM. Since: 0.1
 */
MESH_EXPORT int mesh_worker_library(struct mesh *mesh, struct mesh_worker **worker);

#ifdef __cplusplus
}
#endif
#endif
