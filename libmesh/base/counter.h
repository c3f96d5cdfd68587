/* SPDX-License-Identifier: Apache-2.0 */
/* A counter with one writing thread and any reader: no locked instruction on the warm path. */
#ifndef MESH_BASE_COUNTER_H
#define MESH_BASE_COUNTER_H

#include <stdatomic.h>
#include <stdint.h>

struct counter {
	_Atomic uint64_t value;
};

static inline void mesh_counter_add(struct counter *counter, uint64_t amount)
{
	uint64_t value = atomic_load_explicit(&counter->value, memory_order_relaxed);

	atomic_store_explicit(&counter->value, value + amount, memory_order_relaxed);
}

static inline uint64_t mesh_counter_read(const struct counter *counter)
{
	return atomic_load_explicit(&((struct counter *)counter)->value, memory_order_relaxed);
}

#endif
