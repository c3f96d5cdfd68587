/* SPDX-License-Identifier: Apache-2.0 */
/* How long to wait before the next attempt: doubling, jittered, bounded. */
#ifndef MESH_CONTROL_BACKOFF_H
#define MESH_CONTROL_BACKOFF_H

#include "base/rand.h"

struct backoff {
	struct rand rand;
	uint32_t base_ms;
	uint32_t max_ms;
	unsigned failures; /* in a row */
};

void mesh_backoff_init(struct backoff *backoff, uint32_t base_ms, uint32_t max_ms); /* 0: 500 ms, 30 s */
uint64_t mesh_backoff_failed_ns(struct backoff *backoff);  /* counts a failure: from half of the step to all of it */
uint64_t mesh_backoff_soon_ns(struct backoff *backoff);    /* forgets failures: from 0 to the base */

#endif
