/* SPDX-License-Identifier: Apache-2.0 */
/* Without memory: a request for a certificate unwinds, the store keeps what it has and tries again, bootstrap says so. */
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
#include <mesh/error.h>

#include "identity/cert_store.h"
#include "security/v1alpha1/ca.pb-c.h"
#include "support/failing_mem.h"
#include "support/file.h"
#include "support/scripted_control.h"
#include "support/test_ca.h"
#include "xds/bootstrap.h"
#include "xds/node.h"

#define SPIFFE_ID "spiffe://cluster.local/ns/default/sa/reviews"

enum { ATTEMPTS = 3 };

static struct test_ca ca;
static char folder[64], token[96], root[96], cert[96], key[96];
static struct log silent;

struct scene {
	struct loop *loop;
	struct scripted_control script;
	struct control *control;
	struct control_peer peer;
	int changes, failures, done, rc, wrong;
};

static void begin(struct scene *s, const struct mesh_mem *mem)
{
	memset(s, 0, sizeof(*s));
	assert_int_equal(mesh_loop_new(&mesh_mem_default, &s->loop), 0);
	scripted_control_init(&s->script);
	s->script.pump = s->loop;
	s->rc = s->script.ops.start(&s->script.ops, mem, &silent, s->loop, &s->control);
	s->peer = (struct control_peer){.address = "istiod:15012", .server_name = "istiod.istio-system.svc", .root_file = root,
					.token_file = token, .cluster_id = "Kubernetes"};
}

static int end(struct scene *s)
{
	if (s->control)
		mesh_control_ops(s->control)->stop(s->control);
	assert_true(scripted_control_clean(&s->script));
	scripted_control_free(&s->script);
	mesh_loop_free(s->loop);
	return s->wrong ? MESH_ERROR_STATE : s->rc;
}

/* Answers every request that was sent whole. */
static void serve(struct scene *s)
{
	Istio__V1__Auth__IstioCertificateResponse response = ISTIO__V1__AUTH__ISTIO_CERTIFICATE_RESPONSE__INIT;
	Istio__V1__Auth__IstioCertificateRequest *request;
	struct control_stream *stream;
	char *list[2] = {NULL, ca.root_pem}, *room;
	struct mesh_slice bytes;

	s->script.wait_ms = 1;
	stream = scripted_wait_open(&s->script, "CreateCertificate");
	if (!stream || !scripted_sent_left(stream) || !scripted_wait_sent(stream, &bytes))
		return;
	request = istio__v1__auth__istio_certificate_request__unpack(NULL, bytes.len, (const uint8_t *)bytes.data);
	test_ca_sign(&ca, &(struct test_leaf){.uri = SPIFFE_ID}, request->csr, &list[0]);
	istio__v1__auth__istio_certificate_request__free_unpacked(request, NULL);
	response.cert_chain = list;
	response.n_cert_chain = 2;
	room = malloc(istio__v1__auth__istio_certificate_response__get_packed_size(&response));
	scripted_say(stream, mesh_slice_make(room, istio__v1__auth__istio_certificate_response__pack(&response, (uint8_t *)room)));
	scripted_end(stream, CONTROL_OK, "");
	free(room);
	free(list[0]);
}

static void on_done(void *user, int error, const struct ca_answer *answer, const char *why)
{
	struct scene *s = user;

	s->done++;
	s->rc = error;
	s->wrong |= !error != (answer != NULL);
}

static int ask_once(const struct mesh_mem *mem, void *user)
{
	struct ca_client *client = NULL;
	struct why why = {{0}};
	struct scene s;

	begin(&s, mem);
	if (!s.rc) {
		struct ca_request request = {.mem = mem, .peer = &s.peer, .control = s.control, .spiffe_id = SPIFFE_ID,
					     .ns = "default", .service_account = "reviews", .ttl_s = 3600};

		s.rc = mesh_ca_client_start(&request, on_done, &s, &client, &why);
		s.wrong |= s.rc && client;
		for (int i = 0; !s.rc && !s.done && i < 1000; i++) {
			serve(&s);
			s.wrong |= mesh_loop_run(s.loop, 1) < 0;
		}
		s.wrong |= client && s.done != 1;
		mesh_ca_client_free(client);
	}
	return end(&s);
}

static int on_changed(void *user, struct secret *certificate, struct secret *roots)
{
	((struct scene *)user)->changes++;
	return 0;
}

static void on_failed(void *user, int error, const char *why)
{
	struct scene *s = user;

	s->failures++;
	if (error != MESH_ERROR_NOMEM || !why[0])
		fprintf(stderr, "failed with %d: %s\n", error, why);
	s->wrong |= error != MESH_ERROR_NOMEM || !why[0];
}

/* Fails and comes round by itself, unless there is no memory any more at all. */
static int store(const struct mesh_mem *mem, bool files)
{
	struct cert_store *store = NULL;
	struct scene s;

	begin(&s, mem);
	if (!s.rc) {
		struct cert_store_options options = {
			.mem = mem, .log = &silent, .loop = s.loop, .control = s.control, .ca = files ? NULL : &s.peer,
			.cert_file = cert, .key_file = key, .root_file = root, .trust_domain = "cluster.local", .ns = "default",
			.service_account = "reviews", .backoff_base_ms = 1, .backoff_max_ms = 1, .changed = on_changed,
			.failed = on_failed, .user = &s};

		s.rc = mesh_cert_store_start(&options, &store);
		for (int i = 0; !s.rc && !s.changes && s.failures < ATTEMPTS && i < 1000; i++) {
			s.wrong |= mesh_loop_run(s.loop, 1) < 0;
			serve(&s);
		}
		if (!s.rc && !s.changes)
			s.rc = s.failures >= ATTEMPTS ? MESH_ERROR_NOMEM : MESH_ERROR_STATE;
		if (!s.rc)
			s.wrong |= !mesh_cert_store_expires_ms(store);
		mesh_cert_store_stop(store);
	}
	return end(&s);
}

static int store_asks(const struct mesh_mem *mem, void *user)
{
	return store(mem, false);
}

static int store_reads(const struct mesh_mem *mem, void *user)
{
	return store(mem, true);
}

static int boot(const struct mesh_mem *mem, void *user)
{
	static const char *const environment[] = {"POD_NAME=p", "POD_NAMESPACE=n", "INSTANCE_IP=10.0.0.7", "SERVICE_ACCOUNT=s",
						  "PROXY_CONFIG={\"discoveryAddress\":\"[::1]:15010\"}", NULL};
	struct mesh_options options = {.size = sizeof(options), .token_file = token, .root_cert_file = root, .labels_file = token};
	struct bootstrap *b = NULL;
	struct why why = {{0}};
	struct buf out;
	int rc = mesh_bootstrap_new(mem, &options, environment, &b, &why);

	if (rc)
		return !b && why.text[0] ? rc : MESH_ERROR_STATE;
	mesh_buf_init(&out, mem, 0);
	rc = mesh_node_encode(b, &out, &why);
	if (!rc)
		rc = mesh_node_dump(b, &out);
	mesh_buf_free(&out);
	mesh_bootstrap_free(b);
	return rc;
}

static void runs_out(void **state)
{
	assert_true(oom_run(boot, NULL) > 10);
	assert_true(oom_run(ask_once, NULL) > 10);
	assert_true(oom_run(store_asks, NULL) > 20);
	assert_true(oom_run(store_reads, NULL) > 10);
}

static int make_files(void **state)
{
	char *chain_pem, *key_pem;

	snprintf(folder, sizeof(folder), "/tmp/mesh_identity_oom_XXXXXX");
	if (!mkdtemp(folder))
		return -1;
	snprintf(token, sizeof(token), "%s/token", folder);
	snprintf(root, sizeof(root), "%s/root", folder);
	snprintf(cert, sizeof(cert), "%s/cert", folder);
	snprintf(key, sizeof(key), "%s/key", folder);
	test_ca_make(&ca);
	test_ca_issue(&ca, &(struct test_leaf){.uri = SPIFFE_ID}, &chain_pem, &key_pem);
	file_write(token, "token=\"x\""); /* also read as labels */
	file_write(root, ca.root_pem);
	file_write(cert, chain_pem);
	file_write(key, key_pem);
	free(chain_pem);
	free(key_pem);
	return 0;
}

static int drop_files(void **state)
{
	test_ca_free(&ca);
	unlink(token);
	unlink(root);
	unlink(cert);
	unlink(key);
	return rmdir(folder);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(runs_out)};

	return cmocka_run_group_tests(tests, make_files, drop_files);
}
