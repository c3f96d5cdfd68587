/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Latency of an endpoint as it was of late: a moving average that believes a rise at once and a fall only in time. One word,
 * which all workers write without a lock.
 */
#ifndef MESH_LB_LATENCY_H
#define MESH_LB_LATENCY_H

#include "lb/lb.h"

#define MESH_LATENCY_DECAY_NS   10000000000ll /* when nothing is said */
#define MESH_LATENCY_UNKNOWN_NS 10000000ll
#define MESH_LATENCY_FAILED_NS  1000000000ull /* what a failure counts as, at least */

/* A request took that long; one that failed counts as MESH_LATENCY_FAILED_NS or what it took, whichever is more. */
void mesh_latency_add(struct lb_latency *latency, uint64_t took_ns, bool failed, uint64_t now_ns, int64_t decay_ns);
/* Nanoseconds, sinking while nothing is heard; 0: never heard of. */
double mesh_latency_now(const struct lb_latency *latency, uint64_t now_ns, int64_t decay_ns);

#endif
