/* SPDX-License-Identifier: Apache-2.0 */
/* Decides how keys are made and how a certificate is asked for. Refuses to know who signs it. */
#include "identity/key.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>

static EVP_PKEY *pkey_of(const struct key *key)
{
	return (EVP_PKEY *)key;
}

int mesh_key_new(enum mesh_key_type type, struct key **key, struct why *why)
{
	EVP_PKEY *pkey = type == MESH_KEY_RSA_2048 ? EVP_RSA_gen(2048) : EVP_EC_gen("P-256");

	if (!pkey) {
		ERR_clear_error();
		return mesh_why(why, MESH_ERROR_SYSTEM, "cannot generate a private key");
	}
	*key = (struct key *)pkey;
	return 0;
}

void mesh_key_free(struct key *key)
{
	EVP_PKEY_free(pkey_of(key));
}

static int append_bio(BIO *bio, struct buf *out)
{
	char *data;
	long len = BIO_get_mem_data(bio, &data);
	int rc = len < 0 ? MESH_ERROR_NOMEM : mesh_buf_append(out, mesh_slice_make(data, (size_t)len));

	if (len > 0)
		mesh_mem_wipe(data, (size_t)len);
	return rc;
}

int mesh_key_pem(const struct key *key, struct buf *out)
{
	BIO *bio = BIO_new(BIO_s_secmem());
	int rc = MESH_ERROR_NOMEM;

	if (bio && PEM_write_bio_PKCS8PrivateKey(bio, pkey_of(key), NULL, NULL, 0, NULL, NULL))
		rc = append_bio(bio, out);
	BIO_free(bio);
	ERR_clear_error();
	return rc;
}

static bool add_san(X509_REQ *request, const char *spiffe_id)
{
	STACK_OF(X509_EXTENSION) *extensions = sk_X509_EXTENSION_new_null();
	GENERAL_NAMES *names = sk_GENERAL_NAME_new_null();
	GENERAL_NAME *name = GENERAL_NAME_new();
	ASN1_IA5STRING *uri = ASN1_IA5STRING_new();
	bool good = extensions && names && name && uri && ASN1_STRING_set(uri, spiffe_id, -1);

	if (good) {
		GENERAL_NAME_set0_value(name, GEN_URI, uri);
		uri = NULL;
		good = sk_GENERAL_NAME_push(names, name) > 0;
	}
	if (good) {
		name = NULL;
		good = X509V3_add1_i2d(&extensions, NID_subject_alt_name, names, 1, X509V3_ADD_DEFAULT) == 1 &&
		       X509_REQ_add_extensions(request, extensions) == 1;
	}
	ASN1_IA5STRING_free(uri);
	GENERAL_NAME_free(name);
	GENERAL_NAMES_free(names);
	sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
	return good;
}

int mesh_key_csr(const struct key *key, const char *spiffe_id, struct buf *out, struct why *why)
{
	X509_REQ *request = X509_REQ_new();
	BIO *bio = BIO_new(BIO_s_mem());
	int rc = MESH_ERROR_NOMEM;

	if (request && bio && X509_REQ_set_version(request, X509_REQ_VERSION_1) && X509_REQ_set_pubkey(request, pkey_of(key)) &&
	    add_san(request, spiffe_id) && X509_REQ_sign(request, pkey_of(key), EVP_sha256()) > 0 &&
	    PEM_write_bio_X509_REQ(bio, request))
		rc = append_bio(bio, out);
	if (rc)
		mesh_why(why, rc, "cannot make a certificate signing request for %s", spiffe_id);
	X509_REQ_free(request);
	BIO_free(bio);
	ERR_clear_error();
	return rc;
}
