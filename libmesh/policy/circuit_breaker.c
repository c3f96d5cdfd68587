/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counts what a cluster has in use against its limits. Decides only yes or no; what a refusal means (overflow, wait) is
 * the caller's. Any thread may take and give.
 */
#include "policy/circuit_breaker.h"

bool mesh_breaker_take(atomic_uint *use, uint32_t limit)
{
	unsigned now = atomic_load_explicit(use, memory_order_relaxed);

	/* Not add-then-look: a refused one must not make another be refused that would have fitted. */
	do {
		if (now >= limit)
			return false;
	} while (!atomic_compare_exchange_weak_explicit(use, &now, now + 1, memory_order_relaxed, memory_order_relaxed));
	return true;
}

void mesh_breaker_give(atomic_uint *use)
{
	atomic_fetch_sub_explicit(use, 1, memory_order_relaxed);
}

uint32_t mesh_breaker_retry_limit(const struct circuit_breaker *config, const struct breaker_use *use)
{
	uint64_t active;
	double share;

	if (!config->has_budget)
		return config->retries;
	active = (uint64_t)atomic_load_explicit(&use->requests, memory_order_relaxed) +
		 atomic_load_explicit(&use->pending, memory_order_relaxed);
	share = config->budget_percent / 100.0 * (double)active;
	if (!(share > config->budget_min)) /* a share that is not a number too */
		return config->budget_min;
	return share >= (double)UINT32_MAX ? UINT32_MAX : (uint32_t)share;
}
