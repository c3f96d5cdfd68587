/* SPDX-License-Identifier: Apache-2.0 */
/* xoroshiro128+; seeded through splitmix64 so that any seed is a good one. */
#include "base/rand.h"

#include <sys/random.h>

static uint64_t rotate(uint64_t x, int by)
{
	return (x << by) | (x >> (64 - by));
}

static uint64_t split(uint64_t *seed)
{
	uint64_t z = *seed += 0x9e3779b97f4a7c15u;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

void mesh_rand_seed(struct rand *rand, uint64_t seed)
{
	rand->state[0] = split(&seed);
	rand->state[1] = split(&seed);
}

void mesh_rand_seed_system(struct rand *rand)
{
	uint64_t seed;

	if (getrandom(&seed, sizeof(seed), 0) != sizeof(seed))
		seed = (uint64_t)(uintptr_t)rand;
	mesh_rand_seed(rand, seed);
}

uint64_t mesh_rand_next(struct rand *rand)
{
	uint64_t a = rand->state[0], b = rand->state[1], result = a + b;

	b ^= a;
	rand->state[0] = rotate(a, 24) ^ b ^ (b << 16);
	rand->state[1] = rotate(b, 37);
	return result;
}

uint64_t mesh_rand_below(struct rand *rand, uint64_t bound)
{
	unsigned __int128 product = (unsigned __int128)mesh_rand_next(rand) * bound;

	/* Lemire: the high half of a product, refusing the few values that would favour some results; the division that
	 * tells which is needed almost never */
	if ((uint64_t)product < bound) {
		uint64_t threshold = (0 - bound) % bound;

		while ((uint64_t)product < threshold)
			product = (unsigned __int128)mesh_rand_next(rand) * bound;
	}
	return (uint64_t)(product >> 64);
}
