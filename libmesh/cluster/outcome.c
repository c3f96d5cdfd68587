/* SPDX-License-Identifier: Apache-2.0 */
/* Decides what a finished try means for its endpoint. Refuses to know whether it is tried again. */
#include "cluster/cluster.h"

void mesh_endpoint_report(struct endpoint *endpoint, const struct endpoint_outcome *outcome)
{
	if (outcome->connect_failed || outcome->error || outcome->status >= 500)
		atomic_fetch_add_explicit(&endpoint->shared->rq_error, 1, memory_order_relaxed);
}
