/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides what a certificate says: an identity from the caller's token as the only (critical) name, an empty subject, a
 * lifetime up to the cap. Refuses to know who asks and how that was proven.
 */
#include "ca.h"

#include <limits.h>
#include <stdio.h>
#include <unistd.h>

#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "files.h"

#define ROOT_TTL_S   (10 * 365 * 86400L)
#define SERVER_TTL_S (365 * 86400L)
#define BACKDATE_S   120 /* for clocks that are behind ours */
#define SERVER_NAMES                                                                                                   \
	"DNS:istiod.istio-system.svc,DNS:istiod.istio-system.svc.cluster.local,DNS:istiod,DNS:localhost,IP:127.0.0.1"

static int append_pem(struct buf *out, X509 *certificate)
{
	BIO *bio = BIO_new(BIO_s_mem());
	char *text;
	long len = 0;
	int rc = MESH_ERROR_NOMEM;

	if (bio && PEM_write_bio_X509(bio, certificate) == 1)
		len = BIO_get_mem_data(bio, &text);
	if (len > 0)
		rc = mesh_buf_append(out, mesh_slice_make(text, (size_t)len));
	BIO_free(bio);
	return rc;
}

static bool add_extension(X509 *certificate, X509 *issuer, int nid, const char *value)
{
	X509V3_CTX ctx;
	X509_EXTENSION *extension;
	bool ok;

	X509V3_set_ctx(&ctx, issuer, certificate, NULL, NULL, 0);
	extension = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	ok = extension && X509_add_ext(certificate, extension, -1) == 1;
	X509_EXTENSION_free(extension);
	return ok;
}

static bool set_serial(X509 *certificate)
{
	BIGNUM *serial = BN_new();
	bool ok = serial && BN_rand(serial, 127, BN_RAND_TOP_ANY, BN_RAND_BOTTOM_ANY) == 1 &&
		  BN_to_ASN1_INTEGER(serial, X509_get_serialNumber(certificate));

	BN_free(serial);
	return ok;
}

/* A version 3 certificate with a serial number, a lifetime and a key; NULL when out of memory. */
static X509 *start_certificate(EVP_PKEY *key, int64_t ttl_s)
{
	X509 *certificate = X509_new();
	bool ok = certificate && X509_set_version(certificate, X509_VERSION_3) == 1 && set_serial(certificate) &&
		  X509_gmtime_adj(X509_getm_notBefore(certificate), -BACKDATE_S) &&
		  X509_gmtime_adj(X509_getm_notAfter(certificate), (long)ttl_s) &&
		  X509_set_pubkey(certificate, key) == 1;

	if (ok)
		return certificate;
	X509_free(certificate);
	return NULL;
}

static X509 *make_root(EVP_PKEY *key, const char *trust_domain)
{
	X509 *root = start_certificate(key, ROOT_TTL_S);
	X509_NAME *name = root ? X509_get_subject_name(root) : NULL;
	bool ok = name &&
		  X509_NAME_add_entry_by_txt(name, "O", MBSTRING_UTF8, (const uint8_t *)trust_domain, -1, -1, 0) == 1 &&
		  X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const uint8_t *)"Development root", -1, -1,
					     0) == 1 &&
		  X509_set_issuer_name(root, name) == 1 &&
		  add_extension(root, root, NID_basic_constraints, "critical,CA:TRUE") &&
		  add_extension(root, root, NID_key_usage, "critical,keyCertSign,cRLSign") &&
		  add_extension(root, root, NID_subject_key_identifier, "hash") &&
		  X509_sign(root, key, EVP_sha256()) > 0;

	if (ok)
		return root;
	X509_free(root);
	return NULL;
}

static X509 *make_leaf(struct cp_ca *ca, EVP_PKEY *key, const char *names, const char *usage, int64_t ttl_s)
{
	X509 *leaf = start_certificate(key, ttl_s);
	bool ok = leaf && X509_set_issuer_name(leaf, X509_get_subject_name(ca->root)) == 1 &&
		  add_extension(leaf, ca->root, NID_basic_constraints, "critical,CA:FALSE") &&
		  add_extension(leaf, ca->root, NID_key_usage, "critical,digitalSignature,keyEncipherment") &&
		  add_extension(leaf, ca->root, NID_ext_key_usage, usage) &&
		  add_extension(leaf, ca->root, NID_authority_key_identifier, "keyid") &&
		  add_extension(leaf, ca->root, NID_subject_alt_name, names) &&
		  X509_sign(leaf, ca->key, EVP_sha256()) > 0;

	if (ok)
		return leaf;
	X509_free(leaf);
	return NULL;
}

static X509 *read_root(const char *path, struct why *why)
{
	X509 *root = NULL;
	struct buf text;
	BIO *bio;

	mesh_buf_init(&text, &mesh_mem_default, 64 * 1024);
	if (cp_file_read(&text, path, why) == 0) {
		bio = BIO_new_mem_buf(text.data, (int)mesh_buf_len(&text));
		root = bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
		BIO_free(bio);
		if (!root)
			mesh_why(why, MESH_ERROR_INVALID, "%s: not a certificate in PEM", path);
	}
	mesh_buf_free(&text);
	return root;
}

int cp_ca_open(struct cp_ca *ca, const char *dir, const char *trust_domain, int64_t ttl_max_s, struct why *why)
{
	char path[PATH_MAX];
	struct why wrong = {""};
	int rc;

	*ca = (struct cp_ca){.ttl_max_s = ttl_max_s};
	mesh_buf_init(&ca->root_pem, &mesh_mem_default, 0);
	if (snprintf(ca->trust_domain, sizeof(ca->trust_domain), "%s", trust_domain) >= (int)sizeof(ca->trust_domain) ||
	    snprintf(path, sizeof(path), "%s/" CP_CA_ROOT, dir) >= (int)sizeof(path))
		return mesh_why(why, MESH_ERROR_INVALID, "name too long");
	ca->key = cp_file_key(dir, CP_CA_KEY, why);
	if (!ca->key)
		return MESH_ERROR_SYSTEM;
	ca->root = read_root(path, &wrong);
	if (!ca->root && access(path, F_OK) == 0)
		return mesh_why(why, MESH_ERROR_CERTIFICATE, "%s", wrong.text);
	if (ca->root && X509_check_private_key(ca->root, ca->key) != 1)
		return mesh_why(why, MESH_ERROR_CERTIFICATE, "%s is not the certificate of " CP_CA_KEY, path);
	if (ca->root)
		return append_pem(&ca->root_pem, ca->root);
	ca->root = make_root(ca->key, trust_domain);
	if (!ca->root)
		return mesh_why(why, MESH_ERROR_SYSTEM, "cannot make a root certificate");
	rc = append_pem(&ca->root_pem, ca->root);
	return rc < 0 ? rc : cp_file_write(path, mesh_buf_slice(&ca->root_pem), 0644, why);
}

void cp_ca_close(struct cp_ca *ca)
{
	EVP_PKEY_free(ca->key);
	X509_free(ca->root);
	mesh_buf_free(&ca->root_pem);
}

/* The request's key, once the request proves to hold it and it is strong enough. */
static EVP_PKEY *request_key(struct mesh_slice csr_pem, struct why *why)
{
	BIO *bio = csr_pem.len <= INT_MAX ? BIO_new_mem_buf(csr_pem.data, (int)csr_pem.len) : NULL;
	X509_REQ *request = bio ? PEM_read_bio_X509_REQ(bio, NULL, NULL, NULL) : NULL;
	EVP_PKEY *key = request ? X509_REQ_get_pubkey(request) : NULL;
	const char *wrong = NULL;

	if (!request)
		wrong = "not a PEM certificate request";
	else if (!key || X509_REQ_verify(request, key) != 1)
		wrong = "not signed by its own key";
	else if (EVP_PKEY_get_security_bits(key) < 112)
		wrong = "its key is too weak";
	X509_REQ_free(request);
	BIO_free(bio);
	ERR_clear_error();
	if (!wrong)
		return key;
	EVP_PKEY_free(key);
	mesh_why(why, MESH_ERROR_INVALID, "CSR: %s", wrong);
	return NULL;
}

int cp_ca_sign(struct cp_ca *ca, struct mesh_slice csr_pem, const struct cp_identity *identity, int64_t ttl_s,
	       struct buf *out, struct why *why)
{
	char name[3 * CP_NAME_BYTES + 64];
	EVP_PKEY *key = request_key(csr_pem, why);
	X509 *leaf;
	int rc;

	if (!key)
		return MESH_ERROR_INVALID;
	if (ttl_s <= 0 || ttl_s > ca->ttl_max_s)
		ttl_s = ca->ttl_max_s;
	snprintf(name, sizeof(name), "critical,URI:spiffe://%s/ns/%s/sa/%s", ca->trust_domain, identity->namespace_name,
		 identity->account);
	leaf = make_leaf(ca, key, name, "serverAuth,clientAuth", ttl_s);
	rc = leaf ? append_pem(out, leaf) : mesh_why(why, MESH_ERROR_SYSTEM, "cannot sign");
	X509_free(leaf);
	EVP_PKEY_free(key);
	return rc;
}

int cp_ca_serve(struct cp_ca *ca, struct buf *key_pem, struct buf *chain_pem, struct why *why)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *leaf = key ? make_leaf(ca, key, SERVER_NAMES, "serverAuth", SERVER_TTL_S) : NULL;
	BIO *bio = BIO_new(BIO_s_secmem());
	char *text = NULL;
	long len = 0;
	int rc = MESH_ERROR_SYSTEM;

	if (leaf && bio && PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL) == 1)
		len = BIO_get_mem_data(bio, &text);
	if (len > 0)
		rc = mesh_buf_append(key_pem, mesh_slice_make(text, (size_t)len));
	if (rc == 0)
		rc = append_pem(chain_pem, leaf);
	if (rc == 0)
		rc = mesh_buf_append(chain_pem, mesh_buf_slice(&ca->root_pem));
	X509_free(leaf);
	EVP_PKEY_free(key);
	BIO_free(bio);
	return rc < 0 ? mesh_why(why, rc, "cannot make the control plane's certificate") : 0;
}
