/* SPDX-License-Identifier: Apache-2.0 */
/* A certificate with its key, or roots, by secret name. Immutable; the key is wiped when the last reference goes. */
#ifndef MESH_CONFIG_SECRET_H
#define MESH_CONFIG_SECRET_H

#include "base/table.h"

struct secret {
	struct table_item item; /* name: "default", "ROOTCA", "kubernetes://.." */
	const struct mesh_mem *mem;
	struct mesh_slice chain_pem; /* leaf first; absent for roots */
	struct mesh_slice key_pem;   /* never logged, never dumped */
	struct mesh_slice roots_pem; /* absent for a certificate */
	int64_t not_before_ms;       /* wall clock, of the leaf; 0 unknown */
	int64_t not_after_ms;
	uint64_t serial;             /* grows with each new secret of this process: identity for caches */
};

/* Copies everything. NOMEM. One reference. */
int mesh_secret_new(const struct mesh_mem *mem, struct mesh_slice name, struct mesh_slice chain_pem,
		    struct mesh_slice key_pem, struct mesh_slice roots_pem, struct secret **secret);

bool mesh_secret_same(const struct secret *a, const struct secret *b); /* in what they hold */

static inline struct secret *mesh_secret_retain(const struct secret *secret)
{
	if (secret)
		mesh_ref_take(&((struct secret *)secret)->item.ref);
	return (struct secret *)secret;
}

static inline void mesh_secret_release(const struct secret *secret)
{
	if (secret)
		mesh_ref_drop(&((struct secret *)secret)->item.ref);
}

#endif
