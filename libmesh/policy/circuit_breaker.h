/* SPDX-License-Identifier: Apache-2.0 */
/* Circuit breakers of one cluster, shared by all workers of the process: counts against configured limits. */
#ifndef MESH_POLICY_CIRCUIT_BREAKER_H
#define MESH_POLICY_CIRCUIT_BREAKER_H

#include <stdatomic.h>

#include "config/cluster.h"

struct breaker_use {
	atomic_uint connections, pending, requests, retries;
};

/* Takes one under the limit; false: open. Approximately bounded across threads as in Envoy, never below the limit. */
bool mesh_breaker_take(atomic_uint *use, uint32_t limit);
void mesh_breaker_give(atomic_uint *use);
/* Limit for retries in force: the configured number, or the budget's share of active + pending requests. */
uint32_t mesh_breaker_retry_limit(const struct circuit_breaker *config, const struct breaker_use *use);

#endif
