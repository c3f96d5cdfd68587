/* SPDX-License-Identifier: Apache-2.0 */
/* Fast pseudo-random numbers for balancing and jitter; never for keys. Seeded, so tests repeat. */
#ifndef MESH_BASE_RAND_H
#define MESH_BASE_RAND_H

#include <stdint.h>

struct rand {
	uint64_t state[2];
};

void mesh_rand_seed(struct rand *rand, uint64_t seed);
void mesh_rand_seed_system(struct rand *rand); /* from getrandom() */
uint64_t mesh_rand_next(struct rand *rand);
uint64_t mesh_rand_below(struct rand *rand, uint64_t bound); /* 0..bound-1 without bias; 0 for bound 0 */

#endif
