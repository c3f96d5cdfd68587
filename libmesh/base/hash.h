/* SPDX-License-Identifier: Apache-2.0 */
/* Hashes whose values other programs compute too: the same bytes give the same number in every process and release. */
#ifndef MESH_BASE_HASH_H
#define MESH_BASE_HASH_H

#include "base/slice.h"

uint64_t mesh_hash_xx64(struct mesh_slice bytes, uint64_t seed); /* XXH64 */
uint64_t mesh_hash_murmur2(struct mesh_slice bytes); /* 64 bits, with the seed of libstdc++'s std::hash, as Envoy has it */

#endif
