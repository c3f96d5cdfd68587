/* SPDX-License-Identifier: Apache-2.0 */
/* Certificate chains looked at before they are believed. */
#ifndef MESH_IDENTITY_CHAIN_H
#define MESH_IDENTITY_CHAIN_H

#include "base/buf.h"
#include "base/why.h"

struct chain_facts {
	int64_t not_before_ms, not_after_ms; /* of the leaf, wall clock */
	char spiffe_id[1024];                /* of the leaf; "" when it names nobody */
};

/*
 * The leaf must carry the key, name a SPIFFE id of `ns` and `service_account` (NULL: any) and be valid now. CERTIFICATE
 * with words that name what is wrong.
 */
int mesh_chain_check(struct mesh_slice chain_pem, struct mesh_slice key_pem, const char *ns, const char *service_account,
		     int64_t now_ms, struct chain_facts *facts, struct why *why);
/* The leaf must carry the key, whatever else it says. CERTIFICATE with words. */
int mesh_chain_carries(struct mesh_slice chain_pem, struct mesh_slice key_pem, struct why *why);
/*
 * Appends those certificates of `more` that `pem` does not hold yet. CERTIFICATE with words when it holds none, too many
 * or a malformed one; NOMEM.
 */
int mesh_chain_merge(struct buf *pem, struct mesh_slice more, const char *what, struct why *why);

#endif
