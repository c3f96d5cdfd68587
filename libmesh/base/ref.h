/* SPDX-License-Identifier: Apache-2.0 */
/* Shared ownership by an atomic count. */
#ifndef MESH_BASE_REF_H
#define MESH_BASE_REF_H

#include <stdatomic.h>
#include <stdbool.h>

struct ref {
	atomic_uint count;
	void (*destroy)(struct ref *ref); /* called when the last reference is given back */
};

static inline void mesh_ref_init(struct ref *ref, void (*destroy)(struct ref *ref))
{
	atomic_init(&ref->count, 1);
	ref->destroy = destroy;
}

static inline void mesh_ref_take(struct ref *ref)
{
	atomic_fetch_add_explicit(&ref->count, 1, memory_order_relaxed);
}

static inline void mesh_ref_drop(struct ref *ref) /* NULL allowed */
{
	if (!ref)
		return;
	if (atomic_fetch_sub_explicit(&ref->count, 1, memory_order_acq_rel) == 1)
		ref->destroy(ref);
}

#endif
