/* SPDX-License-Identifier: Apache-2.0 */
/* Private keys: made in this process, kept in its memory. */
#ifndef MESH_IDENTITY_KEY_H
#define MESH_IDENTITY_KEY_H

#include <mesh/mesh.h>

#include "base/buf.h"
#include "base/why.h"

struct key; /* an OpenSSL key */

int mesh_key_new(enum mesh_key_type type, struct key **key, struct why *why); /* SYSTEM, NOMEM */
void mesh_key_free(struct key *key);                                         /* NULL allowed */
/* Appends PKCS#8 PEM. The caller wipes the buffer. NOMEM. */
int mesh_key_pem(const struct key *key, struct buf *out);
/* A PKCS#10 request in PEM, signed by the key, with the SPIFFE id as critical URI SAN and an empty subject. */
int mesh_key_csr(const struct key *key, const char *spiffe_id, struct buf *out, struct why *why);

#endif
