/* SPDX-License-Identifier: Apache-2.0 */
/* What is asked of the authority, and that no answer but a fit one is believed. */
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

#include "identity/ca_client.h"
#include "security/v1alpha1/ca.pb-c.h"
#include "support/scripted_control.h"
#include "support/test_ca.h"
#include "support/wiped_mem.h"

#define SPIFFE_ID "spiffe://cluster.local/ns/default/sa/reviews"

static struct test_ca ca;

struct fixture {
	char token[64];
	struct log log;
	struct loop *loop;
	struct scripted_control script;
	struct control *control;
	struct control_peer peer;
	struct ca_request request;
	struct ca_client *client;
	struct control_stream *stream;
	int done, error;
	char why[320];
	char *chain, *key, *root; /* of the answer */
	struct chain_facts facts;
};

static char *copy(struct mesh_slice slice)
{
	return strndup(slice.data ? slice.data : "", slice.len);
}

static void on_done(void *user, int error, const struct ca_answer *answer, const char *why)
{
	struct fixture *f = user;

	f->done++;
	f->error = error;
	snprintf(f->why, sizeof(f->why), "%s", why);
	assert_true(!error == (answer != NULL));
	if (!answer)
		return;
	f->chain = copy(answer->chain_pem);
	f->key = copy(answer->key_pem);
	f->root = copy(answer->root_pem);
	f->facts = answer->facts;
}

static void begin(struct fixture *f)
{
	struct why why = {{0}};
	FILE *file;
	int fd;

	memset(f, 0, sizeof(*f));
	snprintf(f->token, sizeof(f->token), "/tmp/mesh_ca_client_test_XXXXXX");
	fd = mkstemp(f->token);
	file = fdopen(fd, "w");
	fputs(WIPED_MEM_SECRET, file);
	fclose(file);
	assert_int_equal(mesh_loop_new(&mesh_mem_default, &f->loop), 0);
	scripted_control_init(&f->script);
	f->script.pump = f->loop;
	assert_int_equal(f->script.ops.start(&f->script.ops, &wiped_mem, &f->log, f->loop, &f->control), 0);
	/* the roots are not what is looked at here; plaintext needs none */
	f->peer = (struct control_peer){.address = "istiod:15012", .token_file = f->token, .message_bytes_max = 1 << 30};
	f->request = (struct ca_request){.mem = &wiped_mem, .peer = &f->peer, .control = f->control, .spiffe_id = SPIFFE_ID,
					 .ns = "default", .service_account = "reviews", .ttl_s = 3600};
	assert_int_equal(mesh_ca_client_start(&f->request, on_done, f, &f->client, &why), 0);
	assert_int_equal(f->done, 0);
	f->stream = scripted_wait_open(&f->script, "/istio.v1.auth.IstioCertificateService/CreateCertificate");
	assert_non_null(f->stream);
}

static void end(struct fixture *f)
{
	mesh_ca_client_free(f->client);
	mesh_control_ops(f->control)->stop(f->control);
	assert_true(scripted_control_clean(&f->script));
	scripted_control_free(&f->script);
	mesh_loop_free(f->loop);
	free(f->chain);
	free(f->key);
	free(f->root);
	unlink(f->token);
}

static Istio__V1__Auth__IstioCertificateRequest *request_of(struct fixture *f)
{
	Istio__V1__Auth__IstioCertificateRequest *request;
	struct mesh_slice bytes;

	assert_true(scripted_wait_sent(f->stream, &bytes));
	request = istio__v1__auth__istio_certificate_request__unpack(NULL, bytes.len, (const uint8_t *)bytes.data);
	assert_non_null(request);
	return request;
}

static char *sign(struct fixture *f, const struct test_leaf *leaf)
{
	Istio__V1__Auth__IstioCertificateRequest *request = request_of(f);
	char *chain;

	test_ca_sign(&ca, leaf, request->csr, &chain);
	istio__v1__auth__istio_certificate_request__free_unpacked(request, NULL);
	return chain;
}

static void say_chain(struct fixture *f, char **list, size_t count)
{
	Istio__V1__Auth__IstioCertificateResponse response = ISTIO__V1__AUTH__ISTIO_CERTIFICATE_RESPONSE__INIT;
	char *room;

	response.cert_chain = list;
	response.n_cert_chain = count;
	room = malloc(istio__v1__auth__istio_certificate_response__get_packed_size(&response) + 1);
	scripted_say(f->stream, mesh_slice_make(room, istio__v1__auth__istio_certificate_response__pack(&response, (uint8_t *)room)));
	free(room);
}

static void finish(struct fixture *f, int status, const char *text)
{
	scripted_end(f->stream, status, text);
	for (int i = 0; i < 100 && !f->done; i++)
		assert_true(mesh_loop_run(f->loop, 10) >= 0);
	assert_int_equal(f->done, 1);
	if (f->error)
		assert_null(f->chain);
}

static void good(void **state)
{
	Istio__V1__Auth__IstioCertificateRequest *request;
	struct test_ca middle;
	struct fixture f;
	char *list[3];

	begin(&f);
	request = request_of(&f);
	assert_int_equal(request->validity_duration, 3600);
	assert_true(f.stream->last); /* one request, and nothing after it */
	assert_int_equal(f.stream->timeout_ms, 20000);
	assert_int_equal(f.stream->message_bytes_max, 1024 * 1024); /* whatever streams of resources may carry */
	test_ca_make(&middle); /* anything that is a certificate */
	test_ca_sign(&ca, &(struct test_leaf){.uri = SPIFFE_ID}, request->csr, &list[0]);
	istio__v1__auth__istio_certificate_request__free_unpacked(request, NULL);
	list[1] = middle.root_pem;
	list[2] = ca.root_pem;
	say_chain(&f, list, 3);
	finish(&f, CONTROL_OK, "");
	assert_int_equal(f.error, 0);
	assert_string_equal(f.facts.spiffe_id, SPIFFE_ID);
	assert_non_null(strstr(f.chain, list[0]));
	assert_non_null(strstr(f.chain, middle.root_pem));
	assert_null(strstr(f.chain, ca.root_pem)); /* the root is not sent to peers */
	assert_string_equal(f.root, ca.root_pem);
	assert_int_equal(strncmp(f.key, "-----BEGIN PRIVATE KEY-----", 27), 0);
	free(list[0]);
	test_ca_free(&middle);
	end(&f);
}

static void only_a_leaf(void **state)
{
	struct fixture f;
	char *list[1];

	begin(&f);
	list[0] = sign(&f, &(struct test_leaf){.uri = SPIFFE_ID});
	say_chain(&f, list, 1);
	finish(&f, CONTROL_OK, "");
	assert_int_equal(f.error, 0);
	assert_string_equal(f.chain, list[0]);
	assert_string_equal(f.root, "");
	free(list[0]);
	end(&f);
}

/* `count` certificates, the first signed for our key as `leaf` says. */
static void refused(const struct test_leaf *leaf, size_t count, const char *words)
{
	struct fixture f;
	char *list[17];

	begin(&f);
	list[0] = sign(&f, leaf);
	for (size_t i = 1; i < 17; i++)
		list[i] = ca.root_pem;
	say_chain(&f, list, count);
	finish(&f, CONTROL_OK, "");
	assert_int_equal(f.error, MESH_ERROR_CERTIFICATE);
	if (strncmp(f.why, words, strlen(words)))
		fail_msg("\"%s\", expected \"%s\"", f.why, words);
	free(list[0]);
	end(&f);
}

static void unfit_answers(void **state)
{
	const struct test_leaf fit = {.uri = SPIFFE_ID};

	refused(&fit, 0, "cert_chain: 0 certificates, expected 1 to 16");
	refused(&fit, 17, "cert_chain: 17 certificates, expected 1 to 16");
	refused(&(struct test_leaf){.uri = NULL}, 2,
		"certificate: subject alternative name: expected a SPIFFE URI, there is none");
	refused(&(struct test_leaf){.uri = "spiffe://cluster.local/ns/kube-system/sa/reviews"}, 2,
		"certificate: subject alternative name: \"spiffe://cluster.local/ns/kube-system/sa/reviews\", expected namespace "
		"default and service account reviews");
	refused(&(struct test_leaf){.uri = SPIFFE_ID, .not_before_s = -100, .not_after_s = -10}, 2, "certificate: expired 1");
	refused(&(struct test_leaf){.uri = SPIFFE_ID, .not_before_s = 1000, .not_after_s = 2000}, 2, "certificate: valid only in ");
}

static void another_key(void **state)
{
	struct fixture f;
	char *list[2] = {NULL, ca.root_pem}, *key;

	begin(&f);
	test_ca_issue(&ca, &(struct test_leaf){.uri = SPIFFE_ID}, &list[0], &key);
	say_chain(&f, list, 2);
	finish(&f, CONTROL_OK, "");
	assert_int_equal(f.error, MESH_ERROR_CERTIFICATE);
	assert_string_equal(f.why, "certificate: made for another private key");
	free(list[0]);
	free(key);
	end(&f);
}

static void no_answers(void **state)
{
	char *list[2] = {(char *)"no certificate", ca.root_pem}, *large;
	struct fixture f;

	begin(&f);
	finish(&f, CONTROL_OK, "");
	assert_int_equal(f.error, MESH_ERROR_CERTIFICATE);
	assert_string_equal(f.why, "certificate request: an empty answer");
	end(&f);

	begin(&f);
	scripted_say(f.stream, MESH_SLICE("\x0a\x7f short"));
	finish(&f, CONTROL_OK, "");
	assert_int_equal(f.error, MESH_ERROR_CERTIFICATE);
	assert_string_equal(f.why, "IstioCertificateResponse: malformed protobuf: truncated or of a wrong wire type");
	end(&f);

	begin(&f);
	say_chain(&f, list, 2);
	finish(&f, CONTROL_OK, "");
	assert_int_equal(f.error, MESH_ERROR_CERTIFICATE);
	assert_string_equal(f.why, "cert_chain: no PEM certificate in it");
	end(&f);

	begin(&f);
	large = calloc(1, 1024 * 1024 + 2);
	scripted_say(f.stream, mesh_slice_make(large, 1024 * 1024 + 1));
	finish(&f, CONTROL_OK, "");
	assert_int_equal(f.error, MESH_ERROR_CERTIFICATE);
	assert_string_equal(f.why, "certificate request: an answer of 1048577 bytes, at most 1048576");
	end(&f);

	begin(&f); /* within the bound, but unpacked it would not be: 500 000 empty texts */
	for (size_t i = 0; i < 500000; i++)
		large[2 * i] = 0x0a, large[2 * i + 1] = 0;
	scripted_say(f.stream, mesh_slice_make(large, 1000000));
	finish(&f, CONTROL_OK, "");
	assert_int_equal(f.error, MESH_ERROR_CERTIFICATE);
	assert_string_not_equal(f.why, "");
	free(large);
	end(&f);
}

static void refused_or_away(void **state)
{
	struct fixture f;
	char *list[2] = {NULL, ca.root_pem};

	begin(&f);
	finish(&f, CONTROL_UNAUTHENTICATED, "bad token");
	assert_int_equal(f.error, MESH_ERROR_CONTROL_AUTH);
	assert_string_equal(f.why, "certificate request to istiod:15012: refused our identity (status 16): bad token");
	end(&f);
	begin(&f);
	finish(&f, CONTROL_DEADLINE_EXCEEDED, "too slow");
	assert_int_equal(f.error, MESH_ERROR_CONTROL_PLANE);
	end(&f);
	/* a good answer with a bad end is none */
	begin(&f);
	list[0] = sign(&f, &(struct test_leaf){.uri = SPIFFE_ID});
	say_chain(&f, list, 2);
	finish(&f, CONTROL_INTERNAL, "after all not");
	assert_int_equal(f.error, MESH_ERROR_CONTROL_PLANE);
	free(list[0]);
	end(&f);
}

/* A second answer to one request does not replace the first. */
static void two_answers(void **state)
{
	struct fixture f;
	char *list[2] = {NULL, ca.root_pem};

	begin(&f);
	list[0] = sign(&f, &(struct test_leaf){.uri = SPIFFE_ID});
	say_chain(&f, list, 2);
	scripted_say(f.stream, MESH_SLICE("\xff"));
	finish(&f, CONTROL_OK, "");
	assert_int_equal(f.error, 0);
	assert_string_equal(f.chain, list[0]);
	free(list[0]);
	end(&f);
}

static void given_up(void **state)
{
	struct fixture f;

	begin(&f);
	scripted_say(f.stream, MESH_SLICE("\xff"));
	scripted_end(f.stream, CONTROL_OK, "");
	mesh_ca_client_free(f.client);
	f.client = NULL;
	while (mesh_loop_run(f.loop, 0) > 0)
		;
	assert_int_equal(f.done, 0); /* nothing comes afterwards */
	end(&f);
}

static void start_fails(void **state)
{
	struct ca_client *client = NULL;
	struct why why = {{0}};
	struct fixture f;

	begin(&f);
	scripted_control_fail(&f.script, MESH_ERROR_SYSTEM, 0);
	assert_int_equal(mesh_ca_client_start(&f.request, on_done, &f, &client, &why), MESH_ERROR_SYSTEM);
	assert_string_equal(why.text, "istiod:15012: the operating system refused");
	scripted_control_fail(&f.script, 0, MESH_ERROR_STATE);
	assert_int_equal(mesh_ca_client_start(&f.request, on_done, &f, &client, &why), MESH_ERROR_STATE);
	assert_null(client);
	assert_int_equal(f.done, 0);
	end(&f);
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
		cmocka_unit_test(good),	       cmocka_unit_test(only_a_leaf), cmocka_unit_test(unfit_answers),
		cmocka_unit_test(another_key), cmocka_unit_test(no_answers),  cmocka_unit_test(refused_or_away),
		cmocka_unit_test(two_answers), cmocka_unit_test(given_up),    cmocka_unit_test(start_fails),
	};

	return cmocka_run_group_tests(tests, make_ca, drop_ca);
}
