/* SPDX-License-Identifier: Apache-2.0 */
/* The thread that makes a mesh's active health checks: it is there from the first cluster on that has any. */
#ifndef MESH_CALL_CHECKER_H
#define MESH_CALL_CHECKER_H

#include "call/worker.h"
#include "cluster/health_check.h"

struct checker {
	struct mesh_worker *worker;
	struct health_checks checks;
};

/* After each publication, on the publishing thread. Without memory or a thread, endpoints to be checked stay unhealthy. */
void mesh_checker_published(struct mesh *mesh);
void mesh_checker_stop(struct mesh *mesh); /* harmless when there is none */

#endif
