/* SPDX-License-Identifier: Apache-2.0 */
/* Secrets: a certificate with its key, or roots, in place; whatever else is refused, without a word of what it holds.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <mesh/error.h>

#include "support/decode_fixture.h"
#include "support/wiped_mem.h"

#define CHAIN "'certificateChain': {'inlineString': 'CHAIN'}"
#define KEY   "'privateKey': {'inlineString': '" WIPED_MEM_SECRET "'}"

enum { NESTING_MAX = 100 };

struct fixture {
	struct arena arena;
	struct decode d;
};

static struct fixture fixture;

/* Memory that ends the program when the key is given back in it. */
static int setup(void **state)
{
	mesh_arena_init(&fixture.arena, &mesh_mem_default, 0);
	mesh_decode_init(&fixture.d, &wiped_mem, NESTING_MAX, NULL, NULL);
	*state = &fixture;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	mesh_decode_free(&f->d);
	mesh_arena_free(&f->arena);
	return 0;
}

static struct mesh_slice pack(struct fixture *f, const char *rest)
{
	return xds_sample_json(&f->arena, "1", "{'@type': 'envoy.extensions.transport_sockets.tls.v3.Secret', %s}",
			       rest)
		.bytes;
}

static void certificate(void **state)
{
	struct fixture *f = *state;
	struct secret *secret =
		mesh_decode_secret(&f->d, pack(f, "'name': 'default', 'tlsCertificate': {" CHAIN ", " KEY "}"));
	struct secret *next;

	assert_non_null(secret);
	assert_text(secret->item.name, "default");
	assert_text(secret->chain_pem, "CHAIN");
	assert_text(secret->key_pem, WIPED_MEM_SECRET);
	assert_absent(secret->roots_pem);
	next = mesh_decode_secret(&f->d, pack(f, "'name': 'default', 'tlsCertificate': {" CHAIN ", " KEY "}"));
	assert_non_null(next);
	assert_true(next->serial > secret->serial);
	mesh_secret_release(next);
	mesh_secret_release(secret);
}

static void roots(void **state)
{
	struct fixture *f = *state;
	struct secret *secret = mesh_decode_secret(
		&f->d, pack(f, "'name': 'ROOTCA', 'validationContext': {'trustedCa': {'inlineBytes': 'Uk9PVFM='}}"));

	assert_non_null(secret);
	assert_text(secret->item.name, "ROOTCA");
	assert_text(secret->roots_pem, "ROOTS");
	assert_absent(secret->chain_pem);
	assert_absent(secret->key_pem);
	mesh_secret_release(secret);
}

static void refused(void **state)
{
	static const struct {
		const char *rest, *path, *what;
	} cases[] = {
		{"'name': '', 'tlsCertificate': {" CHAIN ", " KEY "}", "name", "empty"},
		{"'name': 's'", "type", "must be tls_certificate or validation_context"},
		{"'name': 's', 'sessionTicketKeys': {}", "type", "must be"},
		{"'name': 's', 'genericSecret': {'secret': {'inlineString': '" WIPED_MEM_SECRET "'}}", "type",
		 "must be"},
		{"'name': 's', 'tlsCertificate': {" KEY "}", "tls_certificate.certificate_chain", "required"},
		{"'name': 's', 'tlsCertificate': {" CHAIN "}", "tls_certificate.private_key", "required"},
		{"'name': 's', 'tlsCertificate': {" CHAIN ", 'privateKey': {'filename': '/k'}}",
		 "tls_certificate.private_key", "inline"},
		{"'name': 's', 'tlsCertificate': {" CHAIN ", 'privateKey': {'environmentVariable': 'K'}}",
		 "tls_certificate.private_key", "inline"},
		{"'name': 's', 'tlsCertificate': {" KEY ", 'certificateChain': {'inlineString': ''}}",
		 "tls_certificate.certificate_chain", "not empty"},
		{"'name': 's', 'tlsCertificate': {" CHAIN ", " KEY ", 'password': {'inlineString': '" WIPED_MEM_SECRET
		 "'}}",
		 "tls_certificate.password", "not supported"},
		{"'name': 's', 'tlsCertificate': {" CHAIN ", " KEY ", 'pkcs12': {'inlineString': 'p'}}",
		 "tls_certificate.pkcs12", "not supported"},
		{"'name': 's', 'tlsCertificate': {" CHAIN ", " KEY ", 'privateKeyProvider': {'providerName': 'p'}}",
		 "tls_certificate.private_key_provider", "not supported"},
		{"'name': 's', 'validationContext': {}", "validation_context.trusted_ca", "required"},
		{"'name': 's', 'validationContext': {'trustedCa': {'filename': '/ca'}}",
		 "validation_context.trusted_ca", "inline"},
		{"'name': 's', 'validationContext': {'trustedCa': {'inlineString': 'r'}, 'crl': {'inlineString': 'c'}}",
		 "validation_context.crl", "not supported"},
		{"'name': 's', 'validationContext': {'trustedCa': {'inlineString': 'r'}, 'matchSubjectAltNames': "
		 "[{'exact': 'a'}]}",
		 "validation_context", "only trusted_ca"},
		{"'name': 's', 'validationContext': {'trustedCa': {'inlineString': 'r'}, 'verifyCertificateHash': "
		 "['aa']}",
		 "validation_context", "only trusted_ca"},
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_null(mesh_decode_secret(&f->d, pack(f, cases[i].rest)));
		assert_int_equal(f->d.rc, MESH_ERROR_INVALID);
		if (!strstr(f->d.why.text, cases[i].path) || !strstr(f->d.why.text, cases[i].what))
			fail_msg("case %zu says: %s", i, f->d.why.text);
		assert_null(strstr(f->d.why.text, WIPED_MEM_SECRET));
	}
}

/* Cut anywhere it is refused, but where the fields that are there make a whole; what was unpacked by then is wiped. */
static void truncated_anywhere(void **state)
{
	struct fixture *f = *state;
	struct mesh_slice whole = pack(f, "'name': 'default', 'tlsCertificate': {" CHAIN ", " KEY "}");

	for (size_t cut = 0; cut < whole.len; cut++) {
		char *piece = malloc(cut + 1); /* its own block: reading past the end shows */

		assert_non_null(piece);
		memcpy(piece, whole.data, cut);
		assert_null(mesh_decode_secret(&f->d, mesh_slice_make(piece, cut)));
		assert_int_equal(f->d.rc, MESH_ERROR_INVALID);
		assert_true(f->d.why.text[0] != '\0');
		assert_null(strstr(f->d.why.text, WIPED_MEM_SECRET));
		free(piece);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(certificate, setup, teardown),
		cmocka_unit_test_setup_teardown(roots, setup, teardown),
		cmocka_unit_test_setup_teardown(refused, setup, teardown),
		cmocka_unit_test_setup_teardown(truncated_anywhere, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
