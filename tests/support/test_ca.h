/* SPDX-License-Identifier: Apache-2.0 */
/* A certificate authority for tests: workload certificates as Istio makes them, and broken ones. Texts are PEM, to free(). */
#ifndef MESH_TESTS_SUPPORT_TEST_CA_H
#define MESH_TESTS_SUPPORT_TEST_CA_H

#include <openssl/evp.h>
#include <openssl/x509.h>

#include "config/secret.h"

struct test_ca {
	EVP_PKEY *key;
	X509 *root;
	char *root_pem;
};

struct test_leaf {
	const char *uri;        /* critical URI SAN; NULL: no SAN at all */
	const char *dns;        /* DNS SAN; NULL: none */
	long not_before_s, not_after_s; /* from now; both 0: -60 .. 3600 */
	bool rsa;
};

void test_ca_make(struct test_ca *ca);
void test_ca_free(struct test_ca *ca);
void test_ca_issue(const struct test_ca *ca, const struct test_leaf *leaf, char **chain_pem, char **key_pem);
/* Answers a request in PEM: a certificate for its key, with what `leaf` says (rsa aside). */
void test_ca_sign(const struct test_ca *ca, const struct test_leaf *leaf, const char *csr_pem, char **chain_pem);
/* A secret "default" with such a certificate, and "ROOTCA" trusting the authority. */
struct secret *test_ca_secret(const struct test_ca *ca, const struct test_leaf *leaf);
struct secret *test_ca_roots(const struct test_ca *ca);

#endif
