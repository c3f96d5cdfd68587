/* SPDX-License-Identifier: Apache-2.0 */
/* SPIFFE identities: spiffe://<trust domain>/ns/<namespace>/sa/<service account>. */
#ifndef MESH_NET_SPIFFE_H
#define MESH_NET_SPIFFE_H

#include "base/slice.h"

struct spiffe {
	struct mesh_slice trust_domain;
	struct mesh_slice ns;              /* absent when the path has another form */
	struct mesh_slice service_account;
};

bool mesh_spiffe_parse(struct mesh_slice uri, struct spiffe *spiffe); /* false: not a well-formed SPIFFE id */

#endif
