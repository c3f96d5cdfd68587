/* SPDX-License-Identifier: Apache-2.0 */
/* Decides whether a chain is fit for use as our own. Refuses to know where it came from and when it is renewed. */
#include "identity/chain.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <time.h>

#include "net/spiffe.h"

enum { CERTIFICATES_MAX = 1024 };

/* With no password at hand OpenSSL would ask the terminal of the process for one. */
static char no_password[] = "";

static X509 *read_first(struct mesh_slice pem)
{
	BIO *bio = BIO_new_mem_buf(pem.data, pem.len > INT32_MAX ? 0 : (int)pem.len);
	X509 *certificate = bio ? PEM_read_bio_X509(bio, NULL, NULL, no_password) : NULL;

	BIO_free(bio);
	ERR_clear_error();
	return certificate;
}

static int64_t time_ms(const ASN1_TIME *time)
{
	struct tm tm = {0};

	return ASN1_TIME_to_tm(time, &tm) == 1 ? (int64_t)timegm(&tm) * 1000 : 0;
}

static void read_id(X509 *leaf, struct chain_facts *facts)
{
	GENERAL_NAMES *names = X509_get_ext_d2i(leaf, NID_subject_alt_name, NULL, NULL);

	for (int i = 0; i < sk_GENERAL_NAME_num(names) && !facts->spiffe_id[0]; i++) {
		const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
		const ASN1_STRING *uri = name->type == GEN_URI ? name->d.uniformResourceIdentifier : NULL;
		size_t len = uri ? (size_t)ASN1_STRING_length(uri) : 0;

		if (!len || len >= sizeof(facts->spiffe_id) || memchr(ASN1_STRING_get0_data(uri), '\0', len))
			continue;
		memcpy(facts->spiffe_id, ASN1_STRING_get0_data(uri), len);
		facts->spiffe_id[len] = '\0';
	}
	GENERAL_NAMES_free(names);
}

static int check_id(const struct chain_facts *facts, const char *ns, const char *service_account, struct why *why)
{
	struct spiffe id;

	if (!facts->spiffe_id[0])
		return mesh_why(why, MESH_ERROR_CERTIFICATE, "certificate: subject alternative name: expected a SPIFFE URI, there is none");
	if (!mesh_spiffe_parse(mesh_slice_of(facts->spiffe_id), &id))
		return mesh_why(why, MESH_ERROR_CERTIFICATE, "certificate: subject alternative name: \"%s\" is not a SPIFFE id",
				facts->spiffe_id);
	if (ns && (!mesh_slice_equal(id.ns, mesh_slice_of(ns)) ||
		   !mesh_slice_equal(id.service_account, mesh_slice_of(service_account))))
		return mesh_why(why, MESH_ERROR_CERTIFICATE,
				"certificate: subject alternative name: \"%s\", expected namespace %s and service account %s",
				facts->spiffe_id, ns, service_account);
	return 0;
}

static int check_dates(const struct chain_facts *facts, int64_t now_ms, struct why *why)
{
	if (facts->not_after_ms <= facts->not_before_ms)
		return mesh_why(why, MESH_ERROR_CERTIFICATE, "certificate: ends before it begins");
	if (now_ms >= facts->not_after_ms)
		return mesh_why(why, MESH_ERROR_CERTIFICATE, "certificate: expired %lld s ago",
				(long long)(now_ms - facts->not_after_ms) / 1000);
	if (now_ms + 60000 < facts->not_before_ms) /* clocks differ a little */
		return mesh_why(why, MESH_ERROR_CERTIFICATE, "certificate: valid only in %lld s: is this clock wrong?",
				(long long)(facts->not_before_ms - now_ms) / 1000);
	return 0;
}

static bool carries(X509 *leaf, struct mesh_slice key_pem)
{
	BIO *bio = BIO_new_mem_buf(key_pem.data, key_pem.len > INT32_MAX ? 0 : (int)key_pem.len);
	EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, NULL, no_password) : NULL;
	bool same = key && X509_check_private_key(leaf, key) == 1;

	EVP_PKEY_free(key);
	BIO_free(bio);
	ERR_clear_error();
	return same;
}

int mesh_chain_carries(struct mesh_slice chain_pem, struct mesh_slice key_pem, struct why *why)
{
	X509 *leaf = read_first(chain_pem);
	int rc = 0;

	if (!leaf)
		return mesh_why(why, MESH_ERROR_CERTIFICATE, "certificate: not a PEM certificate");
	if (!carries(leaf, key_pem))
		rc = mesh_why(why, MESH_ERROR_CERTIFICATE, "certificate: made for another private key");
	X509_free(leaf);
	return rc;
}

int mesh_chain_check(struct mesh_slice chain_pem, struct mesh_slice key_pem, const char *ns, const char *service_account,
		     int64_t now_ms, struct chain_facts *facts, struct why *why)
{
	X509 *leaf = read_first(chain_pem);
	int rc = 0;

	memset(facts, 0, sizeof(*facts));
	if (!leaf)
		return mesh_why(why, MESH_ERROR_CERTIFICATE, "certificate: not a PEM certificate");
	facts->not_before_ms = time_ms(X509_get0_notBefore(leaf));
	facts->not_after_ms = time_ms(X509_get0_notAfter(leaf));
	read_id(leaf, facts);
	if (!carries(leaf, key_pem))
		rc = mesh_why(why, MESH_ERROR_CERTIFICATE, "certificate: made for another private key");
	if (!rc)
		rc = check_id(facts, ns, service_account, why);
	if (!rc)
		rc = check_dates(facts, now_ms, why);
	X509_free(leaf);
	return rc;
}

/* A certificate as it stands in PEM, appended unless it is there. */
static int merge_one(struct buf *pem, X509 *certificate)
{
	BIO *bio = BIO_new(BIO_s_mem());
	char *data;
	long len;
	int rc = MESH_ERROR_NOMEM;

	if (bio && PEM_write_bio_X509(bio, certificate)) {
		len = BIO_get_mem_data(bio, &data);
		rc = mesh_slice_contains(mesh_buf_slice(pem), mesh_slice_make(data, (size_t)len))
			     ? 0
			     : mesh_buf_append(pem, mesh_slice_make(data, (size_t)len));
	}
	BIO_free(bio);
	return rc;
}

int mesh_chain_merge(struct buf *pem, struct mesh_slice more, const char *what, struct why *why)
{
	BIO *bio = BIO_new_mem_buf(more.data, more.len > INT32_MAX ? 0 : (int)more.len);
	int count = 0, rc = bio ? 0 : MESH_ERROR_NOMEM;

	while (!rc) {
		X509 *certificate = PEM_read_bio_X509(bio, NULL, NULL, no_password);

		if (!certificate) {
			if (ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE)
				rc = mesh_why(why, MESH_ERROR_CERTIFICATE, "%s: certificate %d of it is malformed", what, count + 1);
			break;
		}
		if (count++ < CERTIFICATES_MAX)
			rc = merge_one(pem, certificate);
		else
			rc = mesh_why(why, MESH_ERROR_CERTIFICATE, "%s: more than %d certificates", what, CERTIFICATES_MAX);
		X509_free(certificate);
	}
	BIO_free(bio);
	ERR_clear_error();
	if (!rc && !count)
		rc = mesh_why(why, MESH_ERROR_CERTIFICATE, "%s: no PEM certificate in it", what);
	return rc;
}
