/* SPDX-License-Identifier: Apache-2.0 */
/* Tokens like those Kubernetes projects into a pod: JWTs (ES256) that say which service account holds them. */
#ifndef CP_TOKEN_H
#define CP_TOKEN_H

#include <openssl/evp.h>

#include "base/buf.h"
#include "base/why.h"
#include "identity.h"

#define CP_TOKEN_KEY "token-key.pem"

/* Appends a token for `identity` that ends `ttl_s` seconds after `now_s` (Unix time). MESH_ERROR_INVALID: bad names. */
int cp_token_make(struct buf *out, EVP_PKEY *key, const struct cp_identity *identity, int64_t now_s, int64_t ttl_s);
/* MESH_ERROR_CONTROL_AUTH with the reason in `why`. */
int cp_token_check(EVP_PKEY *key, struct mesh_slice token, int64_t now_s, struct cp_identity *identity,
		   struct why *why);

#endif
