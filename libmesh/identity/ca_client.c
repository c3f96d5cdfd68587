/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One CreateCertificate call: a fresh key, a CSR, the answer taken apart and checked. Refuses to know when certificates
 * are wanted and what is done with them.
 */
#include "identity/ca_client.h"

#include "control/message.h"
#include "identity/key.h"
#include "security/v1alpha1/ca.pb-c.h"

static const char method[] = "/istio.v1.auth.IstioCertificateService/CreateCertificate";
static const uint32_t timeout_ms = 20000;
static const size_t answer_bytes_max = 1024 * 1024;
enum { CHAIN_MAX = 16 };

struct ca_client {
	struct control_handler handler;
	struct ca_request request;
	struct control_stream *stream;
	ca_done_fn *done;
	void *user;
	struct buf key_pem, chain_pem, root_pem;
	struct chain_facts facts;
	bool answered;
	int error;
	struct why why;
};

static int take_chain(struct ca_client *client, const Istio__V1__Auth__IstioCertificateResponse *response)
{
	int rc = 0;

	if (response->n_cert_chain < 1 || response->n_cert_chain > CHAIN_MAX)
		return mesh_why(&client->why, MESH_ERROR_CERTIFICATE, "cert_chain: %zu certificates, expected 1 to %d",
				response->n_cert_chain, CHAIN_MAX);
	for (size_t i = 0; i < response->n_cert_chain && !rc; i++) {
		struct mesh_slice pem = mesh_slice_of(response->cert_chain[i]);
		bool root = i && i + 1 == response->n_cert_chain;

		rc = mesh_chain_merge(root ? &client->root_pem : &client->chain_pem, pem, "cert_chain", &client->why);
	}
	return rc;
}

static int take_answer(struct ca_client *client, struct mesh_slice bytes)
{
	ProtobufCMessage *message;
	struct arena arena;
	int rc;

	if (bytes.len > answer_bytes_max)
		return mesh_why(&client->why, MESH_ERROR_CERTIFICATE, "certificate request: an answer of %zu bytes, at most %zu",
				bytes.len, answer_bytes_max);
	mesh_arena_init(&arena, client->request.mem, 8 * answer_bytes_max);
	rc = mesh_message_unpack(&istio__v1__auth__istio_certificate_response__descriptor, bytes, 0, &arena, &client->why, &message);
	if (rc == MESH_ERROR_NOMEM && arena.full)
		rc = MESH_ERROR_CERTIFICATE; /* a small message that takes much memory */
	if (!rc)
		rc = take_chain(client, (const Istio__V1__Auth__IstioCertificateResponse *)message);
	if (!rc)
		rc = mesh_chain_check(mesh_buf_slice(&client->chain_pem), mesh_buf_slice(&client->key_pem), client->request.ns,
				      client->request.service_account, mesh_time_wall_ms(), &client->facts, &client->why);
	mesh_arena_free(&arena);
	return rc == MESH_ERROR_INVALID ? MESH_ERROR_CERTIFICATE : rc;
}

static void on_message(struct control_handler *handler, struct mesh_slice bytes)
{
	struct ca_client *client = (struct ca_client *)handler;

	if (client->answered)
		return;
	client->answered = true;
	client->error = take_answer(client, bytes);
}

static void on_closed(struct control_handler *handler, int status, const char *text)
{
	struct ca_client *client = (struct ca_client *)handler;
	struct ca_answer answer = {.chain_pem = mesh_buf_slice(&client->chain_pem), .key_pem = mesh_buf_slice(&client->key_pem),
				   .root_pem = mesh_buf_slice(&client->root_pem), .facts = client->facts};

	if (status != CONTROL_OK)
		client->error = mesh_control_peer_failed(client->request.peer, "certificate request", status, text, &client->why);
	else if (!client->answered)
		client->error = mesh_why(&client->why, MESH_ERROR_CERTIFICATE, "certificate request: an empty answer");
	if (client->error)
		mesh_why(&client->why, 0, "certificate request: %s", mesh_error_text(client->error));
	client->done(client->user, client->error, client->error ? NULL : &answer, client->why.text);
}

static int send_csr(struct ca_client *client, struct why *why)
{
	Istio__V1__Auth__IstioCertificateRequest message = ISTIO__V1__AUTH__ISTIO_CERTIFICATE_REQUEST__INIT;
	const struct mesh_mem *mem = client->request.mem;
	struct key *key = NULL;
	struct buf csr, packed;
	int rc = mesh_key_new(client->request.key_type, &key, why);

	mesh_buf_init(&csr, mem, 0);
	mesh_buf_init(&packed, mem, 0);
	if (!rc)
		rc = mesh_key_pem(key, &client->key_pem);
	if (!rc)
		rc = mesh_key_csr(key, client->request.spiffe_id, &csr, why);
	if (!rc)
		rc = mesh_buf_append(&csr, mesh_slice_make("", 1));
	if (!rc) {
		size_t len;
		char *at;

		message.csr = (char *)mesh_buf_slice(&csr).data;
		message.validity_duration = client->request.ttl_s;
		len = istio__v1__auth__istio_certificate_request__get_packed_size(&message);
		at = mesh_buf_reserve(&packed, len);
		rc = at ? 0 : MESH_ERROR_NOMEM;
		if (at)
			mesh_buf_commit(&packed, istio__v1__auth__istio_certificate_request__pack(&message, (uint8_t *)at));
	}
	if (!rc)
		rc = mesh_control_ops(client->request.control)->send(client->stream, mesh_buf_slice(&packed), true);
	mesh_key_free(key);
	mesh_buf_free(&csr);
	mesh_buf_free(&packed);
	return rc;
}

int mesh_ca_client_start(const struct ca_request *request, ca_done_fn *done, void *user, struct ca_client **result,
			 struct why *why)
{
	struct ca_client *client = mesh_mem_zalloc(request->mem, sizeof(*client));
	struct control_peer peer = *request->peer;
	int rc;

	if (!client)
		return MESH_ERROR_NOMEM;
	client->handler.message = on_message;
	client->handler.closed = on_closed;
	client->request = *request;
	client->done = done;
	client->user = user;
	mesh_buf_init(&client->key_pem, request->mem, 65536);
	mesh_buf_init(&client->chain_pem, request->mem, answer_bytes_max);
	mesh_buf_init(&client->root_pem, request->mem, answer_bytes_max);
	peer.message_bytes_max = answer_bytes_max;
	rc = mesh_control_peer_open(&peer, request->control, request->mem, method, timeout_ms, &client->handler,
				    &client->stream, why);
	if (!rc)
		rc = send_csr(client, why);
	if (rc) {
		mesh_ca_client_free(client);
		return rc;
	}
	*result = client;
	return 0;
}

void mesh_ca_client_free(struct ca_client *client)
{
	if (!client)
		return;
	mesh_control_ops(client->request.control)->close(client->stream);
	if (client->key_pem.data)
		mesh_mem_wipe(client->key_pem.data, client->key_pem.room);
	mesh_buf_free(&client->key_pem);
	mesh_buf_free(&client->chain_pem);
	mesh_buf_free(&client->root_pem);
	mesh_mem_free(client->request.mem, client);
}
