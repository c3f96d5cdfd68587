/* SPDX-License-Identifier: Apache-2.0 */
/* Delays between attempts. Decides numbers only: the caller has the timer. */
#include "control/backoff.h"

enum { BASE_MS = 500, MAX_MS = 30000 };

void mesh_backoff_init(struct backoff *backoff, uint32_t base_ms, uint32_t max_ms)
{
	mesh_rand_seed_system(&backoff->rand);
	backoff->base_ms = base_ms ? base_ms : BASE_MS;
	backoff->max_ms = max_ms ? max_ms : MAX_MS;
	if (backoff->max_ms < backoff->base_ms)
		backoff->max_ms = backoff->base_ms;
	backoff->failures = 0;
}

uint64_t mesh_backoff_failed_ns(struct backoff *backoff)
{
	unsigned doublings = backoff->failures < 16 ? backoff->failures : 16;
	uint64_t step_ms = (uint64_t)backoff->base_ms << doublings;

	if (step_ms > backoff->max_ms)
		step_ms = backoff->max_ms;
	backoff->failures++;
	return step_ms * 500000 + mesh_rand_below(&backoff->rand, step_ms * 500000 + 1);
}

uint64_t mesh_backoff_soon_ns(struct backoff *backoff)
{
	backoff->failures = 0;
	return mesh_rand_below(&backoff->rand, (uint64_t)backoff->base_ms * 1000000);
}
