/* SPDX-License-Identifier: Apache-2.0 */
/*
 * XXH64 and MurmurHash2 of a run of bytes. Not for tables that strangers fill: neither is keyed (mesh_slice_hash is).
 */
#include "base/hash.h"

#include <xxhash.h>

#define MURMUR_FACTOR 0xc6a4a7935bd1e995u
#define MURMUR_SEED   0xc70f6907u

uint64_t mesh_hash_xx64(struct mesh_slice bytes, uint64_t seed)
{
	return XXH64(bytes.len ? bytes.data : "", bytes.len, seed);
}

static uint64_t little_endian(const char *at, size_t len)
{
	uint64_t word = 0;

	while (len--)
		word = word << 8 | (unsigned char)at[len];
	return word;
}

static uint64_t fold(uint64_t word)
{
	return word ^ word >> 47;
}

uint64_t mesh_hash_murmur2(struct mesh_slice bytes)
{
	uint64_t hash = MURMUR_SEED ^ bytes.len * MURMUR_FACTOR;
	size_t at = 0;

	for (; bytes.len - at >= 8; at += 8)
		hash = (hash ^ fold(little_endian(bytes.data + at, 8) * MURMUR_FACTOR) * MURMUR_FACTOR) * MURMUR_FACTOR;
	if (at < bytes.len)
		hash = (hash ^ little_endian(bytes.data + at, bytes.len - at)) * MURMUR_FACTOR;
	return fold(fold(hash) * MURMUR_FACTOR);
}
