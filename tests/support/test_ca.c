/* SPDX-License-Identifier: Apache-2.0 */
#include "support/test_ca.h"

#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>

#define MUST(condition) \
	do { \
		if (!(condition)) { \
			fprintf(stderr, "test_ca: %s\n", #condition); \
			abort(); \
		} \
	} while (0)

static EVP_PKEY *make_key(bool rsa)
{
	EVP_PKEY *key = rsa ? EVP_RSA_gen(2048) : EVP_EC_gen("P-256");

	MUST(key);
	return key;
}

static char *text_of(BIO *bio)
{
	char *data, *text;
	long len = BIO_get_mem_data(bio, &data);

	text = malloc((size_t)len + 1);
	MUST(text);
	memcpy(text, data, (size_t)len);
	text[len] = '\0';
	BIO_free(bio);
	return text;
}

static char *certificate_pem(X509 *certificate)
{
	BIO *bio = BIO_new(BIO_s_mem());

	MUST(bio && PEM_write_bio_X509(bio, certificate));
	return text_of(bio);
}

static void add_extension(X509 *certificate, X509 *issuer, int nid, const char *value)
{
	X509V3_CTX context;
	X509_EXTENSION *extension;

	X509V3_set_ctx(&context, issuer, certificate, NULL, NULL, 0);
	extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
	MUST(extension && X509_add_ext(certificate, extension, -1));
	X509_EXTENSION_free(extension);
}

static X509 *begin(EVP_PKEY *key, long from, long until)
{
	static long serial = 1;
	X509 *certificate = X509_new();

	MUST(certificate && X509_set_version(certificate, X509_VERSION_3));
	ASN1_INTEGER_set(X509_get_serialNumber(certificate), serial++);
	X509_gmtime_adj(X509_getm_notBefore(certificate), from);
	X509_gmtime_adj(X509_getm_notAfter(certificate), until);
	X509_set_pubkey(certificate, key);
	return certificate;
}

void test_ca_make(struct test_ca *ca)
{
	X509_NAME *name;

	ca->key = make_key(false);
	ca->root = begin(ca->key, -3600, 86400);
	name = X509_get_subject_name(ca->root);
	X509_NAME_add_entry_by_txt(name, "O", MBSTRING_ASC, (const unsigned char *)"cluster.local", -1, -1, 0);
	X509_set_issuer_name(ca->root, name);
	add_extension(ca->root, ca->root, NID_basic_constraints, "critical,CA:TRUE");
	add_extension(ca->root, ca->root, NID_key_usage, "critical,keyCertSign,cRLSign");
	add_extension(ca->root, ca->root, NID_subject_key_identifier, "hash");
	MUST(X509_sign(ca->root, ca->key, EVP_sha256()));
	ca->root_pem = certificate_pem(ca->root);
}

void test_ca_free(struct test_ca *ca)
{
	X509_free(ca->root);
	EVP_PKEY_free(ca->key);
	free(ca->root_pem);
}

static char *issue(const struct test_ca *ca, const struct test_leaf *leaf, EVP_PKEY *key)
{
	bool dated = leaf->not_before_s || leaf->not_after_s;
	X509 *certificate = begin(key, dated ? leaf->not_before_s : -60, dated ? leaf->not_after_s : 3600);
	char value[512], *pem;

	X509_set_issuer_name(certificate, X509_get_subject_name(ca->root));
	if (leaf->uri && leaf->dns)
		snprintf(value, sizeof(value), "critical,URI:%s,DNS:%s", leaf->uri, leaf->dns);
	else
		snprintf(value, sizeof(value), "critical,%s:%s", leaf->uri ? "URI" : "DNS", leaf->uri ? leaf->uri : leaf->dns);
	if (leaf->uri || leaf->dns)
		add_extension(certificate, ca->root, NID_subject_alt_name, value);
	add_extension(certificate, ca->root, NID_basic_constraints, "critical,CA:FALSE");
	add_extension(certificate, ca->root, NID_key_usage, "critical,digitalSignature,keyEncipherment");
	add_extension(certificate, ca->root, NID_ext_key_usage, "serverAuth,clientAuth");
	MUST(X509_sign(certificate, ca->key, EVP_sha256()));
	pem = certificate_pem(certificate);
	X509_free(certificate);
	return pem;
}

void test_ca_issue(const struct test_ca *ca, const struct test_leaf *leaf, char **chain_pem, char **key_pem)
{
	EVP_PKEY *key = make_key(leaf->rsa);
	BIO *bio = BIO_new(BIO_s_mem());

	*chain_pem = issue(ca, leaf, key);
	MUST(bio && PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL));
	*key_pem = text_of(bio);
	EVP_PKEY_free(key);
}

void test_ca_sign(const struct test_ca *ca, const struct test_leaf *leaf, const char *csr_pem, char **chain_pem)
{
	BIO *bio = BIO_new_mem_buf(csr_pem, -1);
	X509_REQ *request = bio ? PEM_read_bio_X509_REQ(bio, NULL, NULL, NULL) : NULL;

	MUST(request && X509_REQ_verify(request, X509_REQ_get0_pubkey(request)) == 1);
	*chain_pem = issue(ca, leaf, X509_REQ_get0_pubkey(request));
	X509_REQ_free(request);
	BIO_free(bio);
}

struct secret *test_ca_secret(const struct test_ca *ca, const struct test_leaf *leaf)
{
	struct secret *secret;
	char *chain, *key;

	test_ca_issue(ca, leaf, &chain, &key);
	MUST(!mesh_secret_new(&mesh_mem_default, MESH_SLICE("default"), mesh_slice_of(chain), mesh_slice_of(key),
			      (struct mesh_slice){NULL, 0}, &secret));
	free(chain);
	free(key);
	return secret;
}

struct secret *test_ca_roots(const struct test_ca *ca)
{
	struct mesh_slice none = {NULL, 0};
	struct secret *secret;

	MUST(!mesh_secret_new(&mesh_mem_default, MESH_SLICE("ROOTCA"), none, none, mesh_slice_of(ca->root_pem), &secret));
	return secret;
}
