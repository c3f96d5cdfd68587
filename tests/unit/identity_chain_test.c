/* SPDX-License-Identifier: Apache-2.0 */
/* Is every certificate that is not fit to be ours refused, in words that say what is wrong with it? */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/pem.h>

#include "identity/chain.h"
#include "loop/loop.h"
#include "support/test_ca.h"

#define SPIFFE_ID "spiffe://cluster.local/ns/default/sa/reviews"

static struct test_ca ca;

static int check_as(const char *chain, const char *key, const char *ns, const char *service_account, struct chain_facts *facts,
		    struct why *why)
{
	memset(why, 0, sizeof(*why));
	return mesh_chain_check(mesh_slice_of(chain), mesh_slice_of(key), ns, service_account, mesh_time_wall_ms(), facts, why);
}

/* A leaf made so is refused, in these words up to the first number. */
static void refused(struct test_leaf leaf, const char *words)
{
	struct chain_facts facts;
	struct why why;
	char *chain, *key;

	test_ca_issue(&ca, &leaf, &chain, &key);
	assert_int_equal(check_as(chain, key, "default", "reviews", &facts, &why), MESH_ERROR_CERTIFICATE);
	if (strncmp(why.text, words, strlen(words)))
		fail_msg("\"%s\", expected \"%s\"", why.text, words);
	free(chain);
	free(key);
}

static void good(void **state)
{
	int64_t now_ms = mesh_time_wall_ms();
	struct chain_facts facts;
	struct why why;
	char *chain, *key;

	for (int rsa = 0; rsa < 2; rsa++) {
		test_ca_issue(&ca, &(struct test_leaf){.uri = SPIFFE_ID, .rsa = rsa}, &chain, &key);
		assert_int_equal(check_as(chain, key, "default", "reviews", &facts, &why), 0);
		assert_string_equal(facts.spiffe_id, SPIFFE_ID);
		assert_true(llabs(facts.not_before_ms - (now_ms - 60000)) < 30000);
		assert_true(llabs(facts.not_after_ms - (now_ms + 3600000)) < 30000);
		assert_int_equal(check_as(chain, key, NULL, NULL, &facts, &why), 0);
		free(chain);
		free(key);
	}
}

static void wrong_names(void **state)
{
	static char long_uri[1100];
	struct chain_facts facts;
	struct why why;
	char *chain, *key;

	refused((struct test_leaf){.uri = NULL},
		"certificate: subject alternative name: expected a SPIFFE URI, there is none");
	refused((struct test_leaf){.dns = "reviews.default.svc"},
		"certificate: subject alternative name: expected a SPIFFE URI, there is none");
	refused((struct test_leaf){.uri = "spiffe://cluster.local/ns/other/sa/reviews"},
		"certificate: subject alternative name: \"spiffe://cluster.local/ns/other/sa/reviews\", expected namespace default "
		"and service account reviews");
	refused((struct test_leaf){.uri = "spiffe://cluster.local/ns/default/sa/other"},
		"certificate: subject alternative name: \"spiffe://cluster.local/ns/default/sa/other\", expected namespace default "
		"and service account reviews");
	refused((struct test_leaf){.uri = "spiffe://cluster.local/something/else"},
		"certificate: subject alternative name: \"spiffe://cluster.local/something/else\", expected namespace default");
	refused((struct test_leaf){.uri = "https://cluster.local/ns/default/sa/reviews"},
		"certificate: subject alternative name: \"https://cluster.local/ns/default/sa/reviews\" is not a SPIFFE id");
	/* without expectations it must be an identity all the same */
	test_ca_issue(&ca, &(struct test_leaf){.uri = "http://reviews"}, &chain, &key);
	assert_int_equal(check_as(chain, key, NULL, NULL, &facts, &why), MESH_ERROR_CERTIFICATE);
	free(chain);
	free(key);
	snprintf(long_uri, sizeof(long_uri), "spiffe://cluster.local/ns/default/sa/%01060d", 0);
	long_uri[300] = '\0'; /* what a certificate of this test may carry */
	refused((struct test_leaf){.uri = long_uri}, "certificate: subject alternative name: \"spiffe://cluster.local/ns/default/sa/00");
}

static void wrong_dates(void **state)
{
	struct chain_facts facts;
	struct why why = {{0}};
	char *chain, *key;

	refused((struct test_leaf){.uri = SPIFFE_ID, .not_before_s = -7200, .not_after_s = -3600}, "certificate: expired 36");
	refused((struct test_leaf){.uri = SPIFFE_ID, .not_before_s = 3600, .not_after_s = 7200},
		"certificate: valid only in 3");
	refused((struct test_leaf){.uri = SPIFFE_ID, .not_before_s = 50, .not_after_s = 20}, "certificate: ends before it begins");
	/* both ends exactly, on a clock of our own; clocks may differ by a minute at the beginning */
	test_ca_issue(&ca, &(struct test_leaf){.uri = SPIFFE_ID}, &chain, &key);
	assert_int_equal(check_as(chain, key, NULL, NULL, &facts, &why), 0);
	for (int64_t off = -1; off <= 1; off++) {
		struct chain_facts again;

		memset(&why, 0, sizeof(why));
		assert_int_equal(mesh_chain_check(mesh_slice_of(chain), mesh_slice_of(key), NULL, NULL, facts.not_after_ms + off,
						  &again, &why), off < 0 ? 0 : MESH_ERROR_CERTIFICATE);
		memset(&why, 0, sizeof(why));
		assert_int_equal(mesh_chain_check(mesh_slice_of(chain), mesh_slice_of(key), NULL, NULL,
						  facts.not_before_ms - 60000 + off, &again, &why),
				 off < 0 ? MESH_ERROR_CERTIFICATE : 0);
	}
	free(chain);
	free(key);
}

static void wrong_key(void **state)
{
	struct chain_facts facts;
	struct why why;
	char *chain, *key, *other_chain, *other_key;

	test_ca_issue(&ca, &(struct test_leaf){.uri = SPIFFE_ID}, &chain, &key);
	test_ca_issue(&ca, &(struct test_leaf){.uri = SPIFFE_ID}, &other_chain, &other_key);
	assert_int_equal(check_as(chain, other_key, NULL, NULL, &facts, &why), MESH_ERROR_CERTIFICATE);
	assert_string_equal(why.text, "certificate: made for another private key");
	assert_int_equal(check_as(chain, "", NULL, NULL, &facts, &why), MESH_ERROR_CERTIFICATE);
	assert_int_equal(check_as(chain, "no key", NULL, NULL, &facts, &why), MESH_ERROR_CERTIFICATE);
	assert_int_equal(check_as("", key, NULL, NULL, &facts, &why), MESH_ERROR_CERTIFICATE);
	assert_string_equal(why.text, "certificate: not a PEM certificate");
	assert_int_equal(check_as(key, key, NULL, NULL, &facts, &why), MESH_ERROR_CERTIFICATE);
	assert_string_equal(why.text, "certificate: not a PEM certificate");
	assert_null(strstr(why.text, "PRIVATE"));
	free(chain);
	free(key);
	free(other_chain);
	free(other_key);
}

/* A key under a password is of no use: refused, and nobody is asked for the password on the terminal. */
static void password(void **state)
{
	EVP_PKEY *pkey = EVP_EC_gen("P-256");
	BIO *bio = BIO_new(BIO_s_mem());
	struct chain_facts facts;
	struct why why;
	char *chain, *key, *data, *locked;
	long len;

	assert_int_equal(PEM_write_bio_PKCS8PrivateKey(bio, pkey, EVP_aes_128_cbc(), "sesame", 6, NULL, NULL), 1);
	len = BIO_get_mem_data(bio, &data);
	locked = strndup(data, (size_t)len);
	assert_non_null(strstr(locked, "ENCRYPTED"));
	test_ca_issue(&ca, &(struct test_leaf){.uri = SPIFFE_ID}, &chain, &key);
	assert_int_equal(check_as(chain, locked, NULL, NULL, &facts, &why), MESH_ERROR_CERTIFICATE);
	assert_string_equal(why.text, "certificate: made for another private key");
	free(chain);
	free(key);
	free(locked);
	BIO_free(bio);
	EVP_PKEY_free(pkey);
}

/* Cut anywhere: refused or whole, never read past its end. */
static void cut_chain(void **state)
{
	struct chain_facts facts;
	char *chain, *key;
	size_t len, whole = 0;

	test_ca_issue(&ca, &(struct test_leaf){.uri = SPIFFE_ID}, &chain, &key);
	len = strlen(chain);
	for (size_t cut = 0; cut <= len; cut++) {
		char *piece = malloc(cut ? cut : 1);
		struct why why = {{0}};

		memcpy(piece, chain, cut);
		if (!mesh_chain_check(mesh_slice_make(piece, cut), mesh_slice_of(key), NULL, NULL, mesh_time_wall_ms(), &facts, &why))
			whole++;
		else
			assert_string_not_equal(why.text, "");
		free(piece);
	}
	assert_in_range(whole, 1, 2); /* with and without the last line end */
	free(chain);
	free(key);
}

/* ---- merging ---- */

static size_t count_of(const struct buf *pem)
{
	struct mesh_slice rest = mesh_buf_slice(pem);
	size_t count = 0;

	while (rest.data) {
		struct mesh_slice line = mesh_slice_cut(&rest, '\n');

		count += mesh_slice_equal(line, MESH_SLICE("-----BEGIN CERTIFICATE-----"));
	}
	return count;
}

static int merge(struct buf *pem, const char *more, struct why *why)
{
	memset(why, 0, sizeof(*why));
	return mesh_chain_merge(pem, mesh_slice_of(more), "roots.pem", why);
}

static void merging(void **state)
{
	struct test_ca other;
	struct why why;
	struct buf pem;
	char text[8192];

	test_ca_make(&other);
	mesh_buf_init(&pem, &mesh_mem_default, 0);
	assert_int_equal(merge(&pem, ca.root_pem, &why), 0);
	assert_int_equal(merge(&pem, ca.root_pem, &why), 0);
	assert_int_equal(count_of(&pem), 1);
	/* in any dress: words around it, Windows line ends */
	snprintf(text, sizeof(text), "# mesh root\r\n%s\nand another\n%s", ca.root_pem, other.root_pem);
	assert_int_equal(merge(&pem, text, &why), 0);
	assert_int_equal(count_of(&pem), 2);
	assert_int_equal(merge(&pem, "", &why), MESH_ERROR_CERTIFICATE);
	assert_string_equal(why.text, "roots.pem: no PEM certificate in it");
	assert_int_equal(merge(&pem, "no certificate", &why), MESH_ERROR_CERTIFICATE);
	/* one of two is malformed: not taken for a file with one root */
	snprintf(text, sizeof(text), "%s-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", other.root_pem);
	assert_int_equal(merge(&pem, text, &why), MESH_ERROR_CERTIFICATE);
	assert_string_equal(why.text, "roots.pem: certificate 2 of it is malformed");
	mesh_buf_free(&pem);
	test_ca_free(&other);
}

static void too_many(void **state)
{
	size_t len = strlen(ca.root_pem);
	char *text = malloc(len * 1025 + 1);
	struct why why;
	struct buf pem;

	for (int i = 0; i < 1025; i++)
		memcpy(text + (size_t)i * len, ca.root_pem, len);
	text[len * 1024] = '\0';
	mesh_buf_init(&pem, &mesh_mem_default, 0);
	assert_int_equal(merge(&pem, text, &why), 0);
	assert_int_equal(count_of(&pem), 1);
	text[len * 1024] = ca.root_pem[0];
	text[len * 1025] = '\0';
	assert_int_equal(merge(&pem, text, &why), MESH_ERROR_CERTIFICATE);
	assert_string_equal(why.text, "roots.pem: more than 1024 certificates");
	mesh_buf_free(&pem);
	free(text);
}

static int make_ca(void **state)
{
	test_ca_make(&ca);
	return 0;
}

static int drop_ca(void **state)
{
	test_ca_free(&ca);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good),	    cmocka_unit_test(wrong_names), cmocka_unit_test(wrong_dates),
		cmocka_unit_test(wrong_key), cmocka_unit_test(password),    cmocka_unit_test(cut_chain),
		cmocka_unit_test(merging),   cmocka_unit_test(too_many),
	};

	return cmocka_run_group_tests(tests, make_ca, drop_ca);
}
