/* SPDX-License-Identifier: Apache-2.0 */
/* Slow start: which part of its weight an endpoint has while it is new. */
#ifndef MESH_LB_SLOW_START_H
#define MESH_LB_SLOW_START_H

#include "lb/lb.h"

/* 1 when it is not new, or not healthy. In whole milliseconds, as Envoy. */
double mesh_slow_start_factor(const struct slow_start_config *config, const struct lb_endpoint *endpoint,
			      uint64_t now_ns);

#endif
