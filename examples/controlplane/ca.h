/* SPDX-License-Identifier: Apache-2.0 */
/* A development certificate authority: one self-signed root that signs workloads and the control plane itself. */
#ifndef CP_CA_H
#define CP_CA_H

#include <openssl/x509.h>

#include "base/buf.h"
#include "base/why.h"
#include "identity.h"

#define CP_CA_KEY "ca-key.pem"
#define CP_CA_ROOT "root-cert.pem"

struct cp_ca {
	EVP_PKEY *key;
	X509 *root;
	struct buf root_pem;
	char trust_domain[CP_NAME_BYTES];
	int64_t ttl_max_s; /* what a request may get at most, and gets when it asks for nothing */
};

/* Takes the key and root of `dir`, made when there are none. `ca` is to be closed in either case. */
int cp_ca_open(struct cp_ca *ca, const char *dir, const char *trust_domain, int64_t ttl_max_s, struct why *why);
void cp_ca_close(struct cp_ca *ca);
/* Signs the key of a PEM request for `identity`; whatever else the request asks for is not looked at. Appends PEM. */
int cp_ca_sign(struct cp_ca *ca, struct mesh_slice csr_pem, const struct cp_identity *identity, int64_t ttl_s,
	       struct buf *out, struct why *why);
/* A key and a chain for the control plane's own port, as PEM. */
int cp_ca_serve(struct cp_ca *ca, struct buf *key_pem, struct buf *chain_pem, struct why *why);

#endif
