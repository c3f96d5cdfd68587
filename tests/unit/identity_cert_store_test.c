/* SPDX-License-Identifier: Apache-2.0 */
/* Does a certificate come, go over into the next one, and stay when the next one does not; by request and from files? */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "identity/cert_store.h"
#include "security/v1alpha1/ca.pb-c.h"
#include "support/file.h"
#include "support/scripted_control.h"
#include "support/test_ca.h"
#include "support/wiped_mem.h"

#define SPIFFE_ID "spiffe://cluster.local/ns/default/sa/reviews"
#define CA_METHOD "CreateCertificate"

struct fixture {
	char folder[64], token[96], root[96], cert[96], key[96];
	struct test_ca ca;
	struct log log;
	char logged[16384];
	struct loop *loop;
	struct scripted_control script;
	struct control *control;
	struct control_peer peer;
	struct cert_store_options options;
	struct cert_store *store;
	struct secret *certificate, *roots; /* the last ones told */
	int changes, failures, change_rc;
	int error;
	char why[320];
};

static void log_line(void *user, enum mesh_log_level level, const char *subject, const char *text)
{
	struct fixture *f = user;
	size_t used = strlen(f->logged);

	snprintf(f->logged + used, sizeof(f->logged) - used, "%d %s: %s\n", level, subject, text);
}

static int on_changed(void *user, struct secret *certificate, struct secret *roots)
{
	struct fixture *f = user;
	int rc = f->change_rc;

	f->change_rc = 0;
	if (rc)
		return rc;
	f->changes++;
	mesh_secret_release(f->certificate);
	mesh_secret_release(f->roots);
	f->certificate = mesh_secret_retain(certificate);
	f->roots = mesh_secret_retain(roots);
	return 0;
}

static void on_failed(void *user, int error, const char *why)
{
	struct fixture *f = user;

	f->failures++;
	f->error = error;
	snprintf(f->why, sizeof(f->why), "%s", why);
}

static void begin(struct fixture *f)
{
	memset(f, 0, sizeof(*f));
	snprintf(f->folder, sizeof(f->folder), "/tmp/mesh_cert_store_test_XXXXXX");
	assert_non_null(mkdtemp(f->folder));
	snprintf(f->token, sizeof(f->token), "%s/token", f->folder);
	snprintf(f->root, sizeof(f->root), "%s/root", f->folder);
	snprintf(f->cert, sizeof(f->cert), "%s/cert", f->folder);
	snprintf(f->key, sizeof(f->key), "%s/key", f->folder);
	test_ca_make(&f->ca);
	file_write(f->token, WIPED_MEM_SECRET);
	file_write(f->root, f->ca.root_pem);
	f->log = (struct log){log_line, f, MESH_LOG_DEBUG};
	assert_int_equal(mesh_loop_new(&mesh_mem_default, &f->loop), 0);
	scripted_control_init(&f->script);
	f->script.pump = f->loop;
	assert_int_equal(f->script.ops.start(&f->script.ops, &wiped_mem, &f->log, f->loop, &f->control), 0);
	f->peer = (struct control_peer){.address = "istiod:15012", .server_name = "istiod.istio-system.svc", .root_file = f->root,
					.token_file = f->token, .message_bytes_max = 1000};
	f->options = (struct cert_store_options){
		.mem = &wiped_mem, .log = &f->log, .loop = f->loop, .control = f->control, .ca = &f->peer, .root_file = f->root,
		.trust_domain = "cluster.local", .ns = "default", .service_account = "reviews", .ttl_s = 86400,
		.backoff_base_ms = 1, .backoff_max_ms = 2, .changed = on_changed, .failed = on_failed, .user = f};
}

static void start(struct fixture *f)
{
	assert_int_equal(mesh_cert_store_start(&f->options, &f->store), 0);
	assert_int_equal(f->changes + f->failures, 0); /* never inside start */
	assert_int_equal(mesh_cert_store_expires_ms(f->store), 0);
}

static void start_from_files(struct fixture *f)
{
	f->options.ca = NULL;
	f->options.cert_file = f->cert;
	f->options.key_file = f->key;
	start(f);
}

static void end(struct fixture *f)
{
	mesh_cert_store_stop(f->store);
	mesh_secret_release(f->certificate);
	mesh_secret_release(f->roots);
	mesh_control_ops(f->control)->stop(f->control);
	assert_true(scripted_control_clean(&f->script));
	scripted_control_free(&f->script);
	mesh_loop_free(f->loop);
	test_ca_free(&f->ca);
	assert_null(strstr(f->logged, "PRIVATE KEY"));
	assert_null(strstr(f->logged, WIPED_MEM_SECRET));
	unlink(f->token);
	unlink(f->root);
	unlink(f->cert);
	unlink(f->key);
	assert_int_equal(rmdir(f->folder), 0);
}

/* Runs the loop until a count was reached; nothing here depends on how long that takes. */
static void until(struct fixture *f, const int *count, int value)
{
	for (int i = 0; i < 2000 && *count < value; i++)
		assert_true(mesh_loop_run(f->loop, 10) >= 0);
	assert_true(*count >= value);
}

static void answer(struct fixture *f, struct control_stream *stream, const struct test_ca *root, const struct test_leaf *leaf)
{
	Istio__V1__Auth__IstioCertificateResponse response = ISTIO__V1__AUTH__ISTIO_CERTIFICATE_RESPONSE__INIT;
	Istio__V1__Auth__IstioCertificateRequest *request;
	char *list[2] = {NULL, root->root_pem}, *room;
	struct mesh_slice bytes;

	assert_non_null(stream);
	assert_true(scripted_wait_sent(stream, &bytes));
	request = istio__v1__auth__istio_certificate_request__unpack(NULL, bytes.len, (const uint8_t *)bytes.data);
	assert_int_equal(request->validity_duration, 86400);
	test_ca_sign(&f->ca, leaf, request->csr, &list[0]);
	istio__v1__auth__istio_certificate_request__free_unpacked(request, NULL);
	response.cert_chain = list;
	response.n_cert_chain = 2;
	room = malloc(istio__v1__auth__istio_certificate_response__get_packed_size(&response));
	scripted_say(stream, mesh_slice_make(room, istio__v1__auth__istio_certificate_response__pack(&response, (uint8_t *)room)));
	scripted_end(stream, CONTROL_OK, "");
	free(room);
	free(list[0]);
}

static struct control_stream *request(struct fixture *f)
{
	struct control_stream *stream = scripted_wait_open(&f->script, CA_METHOD);

	assert_non_null(stream);
	return stream;
}

static void give(struct fixture *f, const struct test_leaf *leaf)
{
	answer(f, request(f), &f->ca, leaf);
}

/* ---- by request ---- */

static void first_certificate(void **state)
{
	struct fixture f;

	begin(&f);
	start(&f);
	give(&f, &(struct test_leaf){.uri = SPIFFE_ID});
	until(&f, &f.changes, 1);
	assert_int_equal(f.failures, 0);
	assert_true(mesh_slice_equal(f.certificate->item.name, MESH_SLICE("default")));
	assert_true(mesh_slice_contains(f.certificate->chain_pem, MESH_SLICE("BEGIN CERTIFICATE")));
	assert_true(mesh_slice_contains(f.certificate->key_pem, MESH_SLICE("PRIVATE KEY")));
	assert_null(f.certificate->roots_pem.data);
	assert_true(mesh_slice_equal(f.roots->item.name, MESH_SLICE("ROOTCA")));
	assert_true(mesh_slice_equal(f.roots->roots_pem, mesh_slice_of(f.ca.root_pem))); /* once, though it came twice */
	assert_null(f.roots->key_pem.data);
	assert_true(llabs(mesh_cert_store_expires_ms(f.store) - mesh_time_wall_ms() - 3600000) < 60000);
	assert_non_null(strstr(f.logged, "certificate of " SPIFFE_ID " in force"));
	end(&f);
}

static void roots_of_file_and_authority(void **state)
{
	struct test_ca other;
	struct fixture f;

	begin(&f);
	test_ca_make(&other);
	start(&f);
	answer(&f, request(&f), &other, &(struct test_leaf){.uri = SPIFFE_ID});
	until(&f, &f.changes, 1);
	assert_true(mesh_slice_contains(f.roots->roots_pem, mesh_slice_of(f.ca.root_pem)));
	assert_true(mesh_slice_contains(f.roots->roots_pem, mesh_slice_of(other.root_pem)));
	test_ca_free(&other);
	end(&f);
}

static void renewed_before_it_ends(void **state)
{
	struct secret *first;
	struct fixture f;

	begin(&f);
	start(&f);
	/* dated back by much more than it lasts, as authorities do for clocks that are late */
	give(&f, &(struct test_leaf){.uri = SPIFFE_ID, .not_before_s = -3600, .not_after_s = 3});
	until(&f, &f.changes, 1);
	first = mesh_secret_retain(f.certificate);
	give(&f, &(struct test_leaf){.uri = SPIFFE_ID});
	until(&f, &f.changes, 2);
	assert_int_equal(f.failures, 0);
	assert_ptr_not_equal(f.certificate, first);
	assert_false(mesh_slice_equal(f.certificate->key_pem, first->key_pem));
	assert_true(mesh_cert_store_expires_ms(f.store) > mesh_time_wall_ms() + 3000000);
	mesh_secret_release(first);
	end(&f);
}

/* Not before its time either: a day's certificate dated back by a day is not asked for again at once. */
static void not_renewed_early(void **state)
{
	struct fixture f;

	begin(&f);
	start(&f);
	give(&f, &(struct test_leaf){.uri = SPIFFE_ID, .not_before_s = -200000, .not_after_s = 3600});
	until(&f, &f.changes, 1);
	f.script.wait_ms = 2500; /* two looks at the clocks */
	assert_null(scripted_wait_open(&f.script, CA_METHOD));
	end(&f);
}

static void failed_renewal_keeps_what_there_is(void **state)
{
	struct secret *first;
	struct control_stream *stream;
	struct fixture f;

	begin(&f);
	start(&f);
	give(&f, &(struct test_leaf){.uri = SPIFFE_ID, .not_after_s = 3, .not_before_s = -1});
	until(&f, &f.changes, 1);
	first = mesh_secret_retain(f.certificate);
	for (int i = 1; i <= 4; i++) { /* tried again and again, each time with a token read anew */
		char token[32], header[64];

		snprintf(token, sizeof(token), "token-%d", i);
		file_write(f.token, token);
		/* the request under way may have been opened before the token was written; the one after it was not */
		if (i == 1) {
			stream = request(&f);
			scripted_end(stream, CONTROL_UNAVAILABLE, "away");
			until(&f, &f.failures, 1);
		}
		stream = request(&f);
		snprintf(header, sizeof(header), "authorization: Bearer %s\n", token);
		assert_string_equal(stream->headers, header);
		file_write(f.token, "");
		scripted_end(stream, CONTROL_UNAVAILABLE, "away");
		until(&f, &f.failures, f.failures + 2); /* this one, and one without a token */
	}
	assert_int_equal(f.error, MESH_ERROR_BOOTSTRAP);
	assert_int_equal(f.changes, 1);
	assert_ptr_equal(f.certificate, first);
	assert_non_null(strstr(f.logged, "1 identity: no new certificate, the present one ends in "));
	file_write(f.token, "good");
	give(&f, &(struct test_leaf){.uri = SPIFFE_ID});
	until(&f, &f.changes, 2);
	mesh_secret_release(first);
	end(&f);
}

static void unfit_answer_is_a_failure(void **state)
{
	struct fixture f;

	begin(&f);
	start(&f);
	give(&f, &(struct test_leaf){.uri = "spiffe://cluster.local/ns/other/sa/reviews"});
	until(&f, &f.failures, 1);
	assert_int_equal(f.error, MESH_ERROR_CERTIFICATE);
	assert_int_equal(f.changes, 0);
	assert_int_equal(mesh_cert_store_expires_ms(f.store), 0);
	assert_non_null(strstr(f.logged, "no new certificate: certificate: subject alternative name"));
	give(&f, &(struct test_leaf){.uri = SPIFFE_ID});
	until(&f, &f.changes, 1);
	end(&f);
}

/* The one it is for has no memory for it: not in force, so it is tried anew. */
static void nobody_can_take_it(void **state)
{
	struct fixture f;

	begin(&f);
	f.change_rc = MESH_ERROR_NOMEM;
	start(&f);
	give(&f, &(struct test_leaf){.uri = SPIFFE_ID});
	until(&f, &f.failures, 1);
	assert_int_equal(f.error, MESH_ERROR_NOMEM);
	assert_string_equal(f.why, "out of memory");
	assert_int_equal(mesh_cert_store_expires_ms(f.store), 0);
	give(&f, &(struct test_leaf){.uri = SPIFFE_ID});
	until(&f, &f.changes, 1);
	end(&f);
}

static void root_file_replaced(void **state)
{
	struct secret *certificate;
	struct test_ca other;
	struct fixture f;

	begin(&f);
	test_ca_make(&other);
	start(&f);
	give(&f, &(struct test_leaf){.uri = SPIFFE_ID});
	until(&f, &f.changes, 1);
	certificate = f.certificate;
	file_write(f.root, other.root_pem);
	until(&f, &f.changes, 2);
	assert_ptr_equal(f.certificate, certificate); /* the same, no request for it */
	assert_true(mesh_slice_contains(f.roots->roots_pem, mesh_slice_of(other.root_pem)));
	assert_true(mesh_slice_contains(f.roots->roots_pem, mesh_slice_of(f.ca.root_pem))); /* the authority's own */
	/* a bad one leaves those in force */
	file_write(f.root, "no certificate");
	until(&f, &f.failures, 1);
	assert_int_equal(f.error, MESH_ERROR_CERTIFICATE);
	assert_int_equal(f.changes, 2);
	/* no memory for a good one: tried again although the file stays as it is */
	f.change_rc = MESH_ERROR_NOMEM;
	file_write(f.root, f.ca.root_pem);
	until(&f, &f.failures, 2);
	assert_int_equal(f.error, MESH_ERROR_NOMEM);
	until(&f, &f.changes, 3);
	assert_true(mesh_slice_equal(f.roots->roots_pem, mesh_slice_of(f.ca.root_pem)));
	test_ca_free(&other);
	end(&f);
}

static void no_root_no_certificate(void **state)
{
	char words[200];
	struct fixture f;

	begin(&f);
	start(&f);
	unlink(f.root);
	until(&f, &f.failures, 1);
	snprintf(words, sizeof(words), "root certificate file %s: cannot be opened: No such file or directory", f.root);
	assert_string_equal(f.why, words);
	assert_int_equal(f.error, MESH_ERROR_BOOTSTRAP);
	file_write(f.root, f.ca.root_pem);
	give(&f, &(struct test_leaf){.uri = SPIFFE_ID});
	until(&f, &f.changes, 1);
	end(&f);
}

static void stopped_at_every_stage(void **state)
{
	struct control_stream *stream;
	struct fixture f;

	for (int stage = 0; stage < 5; stage++) {
		begin(&f);
		start(&f);
		stream = stage >= 1 ? request(&f) : NULL;
		if (stage == 2)
			answer(&f, stream, &f.ca, &(struct test_leaf){.uri = SPIFFE_ID}); /* on its way */
		if (stage == 3) {
			scripted_end(stream, CONTROL_UNAVAILABLE, "");
			until(&f, &f.failures, 1);
		}
		if (stage == 4) {
			answer(&f, stream, &f.ca, &(struct test_leaf){.uri = SPIFFE_ID});
			until(&f, &f.changes, 1);
		}
		end(&f);
	}
}

/* ---- from files ---- */

static void write_pair(struct fixture *f, bool cert, bool key, char **chain_pem, char **key_pem)
{
	test_ca_issue(&f->ca, &(struct test_leaf){.uri = SPIFFE_ID}, chain_pem, key_pem);
	if (cert)
		file_write(f->cert, *chain_pem);
	if (key)
		file_write(f->key, *key_pem);
}

static void files_replaced(void **state)
{
	char *chain, *key, *next_chain, *next_key;
	struct fixture f;

	begin(&f);
	write_pair(&f, true, true, &chain, &key);
	start_from_files(&f);
	until(&f, &f.changes, 1);
	assert_true(mesh_slice_equal(f.certificate->chain_pem, mesh_slice_of(chain)));
	assert_true(mesh_slice_equal(f.certificate->key_pem, mesh_slice_of(key)));
	/* the certificate comes first, its key later: never the one with the other's key */
	write_pair(&f, true, false, &next_chain, &next_key);
	until(&f, &f.failures, 1);
	assert_int_equal(f.error, MESH_ERROR_CERTIFICATE);
	assert_string_equal(f.why, "certificate: made for another private key");
	assert_true(mesh_slice_equal(f.certificate->chain_pem, mesh_slice_of(chain)));
	assert_int_equal(f.changes, 1);
	file_write(f.key, next_key);
	until(&f, &f.changes, 2);
	assert_true(mesh_slice_equal(f.certificate->chain_pem, mesh_slice_of(next_chain)));
	assert_true(mesh_slice_equal(f.certificate->key_pem, mesh_slice_of(next_key)));
	/* the key alone, for a moment half written */
	file_write(f.key, "-----BEGIN");
	until(&f, &f.failures, f.failures + 1);
	assert_string_equal(f.why, "certificate: made for another private key");
	file_write(f.key, next_key);
	until(&f, &f.changes, 3);
	assert_true(mesh_slice_equal(f.certificate->key_pem, mesh_slice_of(next_key)));
	/* gone altogether: the last pair stays */
	unlink(f.cert);
	unlink(f.key);
	until(&f, &f.failures, f.failures + 1);
	assert_int_equal(f.error, MESH_ERROR_BOOTSTRAP);
	assert_int_equal(f.changes, 3);
	assert_int_equal(f.script.shared.opened, 0); /* nobody was asked */
	free(chain);
	free(key);
	free(next_chain);
	free(next_key);
	end(&f);
}

static void files_come_late(void **state)
{
	char *chain, *key;
	struct fixture f;

	begin(&f);
	start_from_files(&f);
	until(&f, &f.failures, 3);
	assert_int_equal(f.error, MESH_ERROR_BOOTSTRAP);
	write_pair(&f, true, true, &chain, &key);
	until(&f, &f.changes, 1);
	free(chain);
	free(key);
	end(&f);
}

static void expired_file(void **state)
{
	char *chain, *key;
	struct fixture f;

	begin(&f);
	test_ca_issue(&f.ca, &(struct test_leaf){.uri = SPIFFE_ID, .not_before_s = -20, .not_after_s = -10}, &chain, &key);
	file_write(f.cert, chain);
	file_write(f.key, key);
	start_from_files(&f);
	until(&f, &f.failures, 1);
	assert_int_equal(f.error, MESH_ERROR_CERTIFICATE);
	assert_int_equal(strncmp(f.why, "certificate: expired 1", 22), 0);
	assert_int_equal(f.changes, 0);
	free(chain);
	free(key);
	end(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(first_certificate),
		cmocka_unit_test(roots_of_file_and_authority),
		cmocka_unit_test(renewed_before_it_ends),
		cmocka_unit_test(not_renewed_early),
		cmocka_unit_test(failed_renewal_keeps_what_there_is),
		cmocka_unit_test(unfit_answer_is_a_failure),
		cmocka_unit_test(nobody_can_take_it),
		cmocka_unit_test(root_file_replaced),
		cmocka_unit_test(no_root_no_certificate),
		cmocka_unit_test(stopped_at_every_stage),
		cmocka_unit_test(files_replaced),
		cmocka_unit_test(files_come_late),
		cmocka_unit_test(expired_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
