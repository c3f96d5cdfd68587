/* SPDX-License-Identifier: Apache-2.0 */
/* Is what we ask a certificate with what an authority can read, for either kind of key; is a key only ever ours? */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "identity/key.h"

#define SPIFFE_ID "spiffe://cluster.local/ns/default/sa/reviews"

static X509_REQ *request_of(const struct key *key)
{
	struct why why = {{0}};
	X509_REQ *request;
	struct buf pem;
	BIO *bio;

	mesh_buf_init(&pem, &mesh_mem_default, 0);
	assert_int_equal(mesh_key_csr(key, SPIFFE_ID, &pem, &why), 0);
	bio = BIO_new_mem_buf(mesh_buf_slice(&pem).data, (int)mesh_buf_len(&pem));
	request = PEM_read_bio_X509_REQ(bio, NULL, NULL, NULL);
	assert_non_null(request);
	BIO_free(bio);
	mesh_buf_free(&pem);
	return request;
}

static EVP_PKEY *private_of(const struct key *key)
{
	struct buf pem;
	EVP_PKEY *pkey;
	BIO *bio;

	mesh_buf_init(&pem, &mesh_mem_default, 0);
	assert_int_equal(mesh_key_pem(key, &pem), 0);
	assert_true(mesh_slice_prefix(mesh_buf_slice(&pem), MESH_SLICE("-----BEGIN PRIVATE KEY-----\n"))); /* PKCS#8 */
	bio = BIO_new_mem_buf(mesh_buf_slice(&pem).data, (int)mesh_buf_len(&pem));
	pkey = PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);
	assert_non_null(pkey);
	BIO_free(bio);
	mesh_mem_wipe(pem.data, pem.room);
	mesh_buf_free(&pem);
	return pkey;
}

static void check_san(X509_REQ *request)
{
	STACK_OF(X509_EXTENSION) *extensions = X509_REQ_get_extensions(request);
	X509_EXTENSION *extension;
	const GENERAL_NAME *name;
	GENERAL_NAMES *names;

	assert_int_equal(sk_X509_EXTENSION_num(extensions), 1);
	extension = sk_X509_EXTENSION_value(extensions, 0);
	assert_int_equal(OBJ_obj2nid(X509_EXTENSION_get_object(extension)), NID_subject_alt_name);
	assert_int_equal(X509_EXTENSION_get_critical(extension), 1); /* as it must be when there is no subject */
	names = X509V3_EXT_d2i(extension);
	assert_int_equal(sk_GENERAL_NAME_num(names), 1);
	name = sk_GENERAL_NAME_value(names, 0);
	assert_int_equal(name->type, GEN_URI);
	assert_int_equal(ASN1_STRING_length(name->d.uniformResourceIdentifier), strlen(SPIFFE_ID));
	assert_memory_equal(ASN1_STRING_get0_data(name->d.uniformResourceIdentifier), SPIFFE_ID, strlen(SPIFFE_ID));
	GENERAL_NAMES_free(names);
	sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
}

static void check_request(enum mesh_key_type type, int kind, int bits)
{
	struct key *key = NULL;
	struct why why = {{0}};
	X509_REQ *request;
	EVP_PKEY *own, *asked;

	assert_int_equal(mesh_key_new(type, &key, &why), 0);
	request = request_of(key);
	asked = X509_REQ_get0_pubkey(request);
	assert_int_equal(X509_REQ_get_version(request), X509_REQ_VERSION_1);
	assert_int_equal(X509_NAME_entry_count(X509_REQ_get_subject_name(request)), 0);
	assert_int_equal(EVP_PKEY_get_base_id(asked), kind);
	assert_int_equal(EVP_PKEY_get_bits(asked), bits);
	assert_int_equal(X509_REQ_verify(request, asked), 1); /* signed by the key itself */
	check_san(request);
	own = private_of(key);
	assert_int_equal(EVP_PKEY_eq(own, asked), 1);
	EVP_PKEY_free(own);
	X509_REQ_free(request);
	mesh_key_free(key);
}

static void elliptic(void **state)
{
	struct key *key = NULL;
	struct why why = {{0}};
	EVP_PKEY *own;
	char group[32];

	check_request(MESH_KEY_ECDSA_P256, EVP_PKEY_EC, 256);
	assert_int_equal(mesh_key_new(MESH_KEY_ECDSA_P256, &key, &why), 0);
	own = private_of(key);
	assert_int_equal(EVP_PKEY_get_group_name(own, group, sizeof(group), NULL), 1);
	assert_string_equal(group, "prime256v1");
	EVP_PKEY_free(own);
	mesh_key_free(key);
}

static void rsa(void **state)
{
	check_request(MESH_KEY_RSA_2048, EVP_PKEY_RSA, 2048);
}

static void no_two_keys_are_equal(void **state)
{
	struct key *a = NULL, *b = NULL;
	EVP_PKEY *x, *y;

	assert_int_equal(mesh_key_new(MESH_KEY_ECDSA_P256, &a, NULL), 0);
	assert_int_equal(mesh_key_new(MESH_KEY_ECDSA_P256, &b, NULL), 0);
	x = private_of(a);
	y = private_of(b);
	assert_int_equal(EVP_PKEY_eq(x, y), 0);
	EVP_PKEY_free(x);
	EVP_PKEY_free(y);
	mesh_key_free(a);
	mesh_key_free(b);
	mesh_key_free(NULL);
}

static void no_room(void **state)
{
	struct key *key = NULL;
	struct why why = {{0}};
	struct buf small;

	assert_int_equal(mesh_key_new(MESH_KEY_ECDSA_P256, &key, NULL), 0);
	mesh_buf_init(&small, &mesh_mem_default, 16);
	assert_int_equal(mesh_key_pem(key, &small), MESH_ERROR_TOO_LARGE);
	assert_int_equal(mesh_key_csr(key, SPIFFE_ID, &small, &why), MESH_ERROR_TOO_LARGE);
	assert_string_equal(why.text, "cannot make a certificate signing request for " SPIFFE_ID);
	assert_int_equal(mesh_buf_len(&small), 0);
	mesh_buf_free(&small);
	mesh_key_free(key);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(elliptic),
		cmocka_unit_test(rsa),
		cmocka_unit_test(no_two_keys_are_equal),
		cmocka_unit_test(no_room),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
