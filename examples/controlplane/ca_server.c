/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides who gets a certificate: whoever proved an identity, for that identity. Refuses to know how it was proven and
 * what a certificate looks like.
 */
#include <stdio.h>

#include "call.h"
#include "services.h"
#include "control/message.h"

#include "security/v1alpha1/ca.pb-c.h"

#define REQUEST_ARENA_BYTES_MAX ((size_t)1 << 20)

static const struct mesh_mem *const mem = &mesh_mem_default;

/* False when out of memory or when the call is over. */
static bool reply(struct cp_call *call, char *leaf, char *root)
{
	Istio__V1__Auth__IstioCertificateResponse response = ISTIO__V1__AUTH__ISTIO_CERTIFICATE_RESPONSE__INIT;
	char *chain[] = {leaf, root};
	struct buf out;
	char *room;

	response.cert_chain = chain;
	response.n_cert_chain = 2;
	mesh_buf_init(&out, mem, 0);
	room = mesh_buf_reserve(&out, protobuf_c_message_get_packed_size(&response.base));
	if (room) {
		mesh_buf_commit(&out, protobuf_c_message_pack(&response.base, (uint8_t *)room));
		cp_call_send(call, mesh_buf_slice(&out));
	}
	mesh_buf_free(&out);
	return call->sending;
}

/* Sends the chain or gives words why there is none. */
static grpc_status_code answer(struct cp_call *call, const Istio__V1__Auth__IstioCertificateRequest *request,
			       struct why *why)
{
	const struct cp_caller *caller = call->user;
	struct cp_ca *ca = call->server->ca;
	char *leaf_text, *root_text;
	struct buf leaf;
	int rc;

	mesh_buf_init(&leaf, mem, 0);
	rc = cp_ca_sign(ca, mesh_slice_of(request->csr), &caller->identity, request->validity_duration, &leaf, why);
	leaf_text = mesh_mem_text(mem, mesh_buf_slice(&leaf));
	root_text = mesh_mem_text(mem, mesh_buf_slice(&ca->root_pem));
	if (rc == 0 && !(leaf_text && root_text && reply(call, leaf_text, root_text)))
		rc = mesh_why(why, MESH_ERROR_NOMEM, "cannot send the chain");
	mesh_mem_free(mem, leaf_text);
	mesh_mem_free(mem, root_text);
	mesh_buf_free(&leaf);
	if (rc == 0)
		return GRPC_STATUS_OK;
	return rc == MESH_ERROR_INVALID ? GRPC_STATUS_INVALID_ARGUMENT : GRPC_STATUS_INTERNAL;
}

static void on_message(struct cp_call *call, struct mesh_slice message)
{
	const struct cp_caller *caller = call->user;
	grpc_status_code status = GRPC_STATUS_INVALID_ARGUMENT;
	ProtobufCMessage *request;
	struct why why = {""};
	struct arena arena;

	mesh_arena_init(&arena, mem, REQUEST_ARENA_BYTES_MAX);
	if (mesh_message_unpack(&istio__v1__auth__istio_certificate_request__descriptor, message, 0, &arena, &why,
			     &request) == 0)
		status = answer(call, (const void *)request, &why);
	mesh_arena_free(&arena);
	fprintf(stderr, "certificate for %s/%s: %s\n", caller->identity.namespace_name, caller->identity.account,
		status == GRPC_STATUS_OK ? "issued" : why.text);
	if (status != GRPC_STATUS_OK)
		cp_call_finish(call, status, why.text);
}

static void on_sent(struct cp_call *call)
{
	cp_call_finish(call, GRPC_STATUS_OK, "");
}

static void on_gone(struct cp_call *call)
{
	mesh_mem_free(mem, call->user);
}

void cp_csr_start(struct cp_server *server, grpc_call *grpc, const struct cp_caller *caller)
{
	static const struct cp_call_ops ops = {on_message, on_sent, on_gone};
	struct cp_caller *copy = mesh_mem_zalloc(mem, sizeof(*copy));
	struct cp_call *call;

	if (!copy) {
		grpc_call_unref(grpc);
		return;
	}
	*copy = *caller;
	call = cp_call_start(server, grpc, &ops, copy);
	if (!call) {
		mesh_mem_free(mem, copy);
		return;
	}
	if (server->ca && caller->known)
		return;
	fprintf(stderr, "certificate refused: %s\n", server->ca ? caller->why.text : "no certificate authority");
	if (server->ca)
		cp_call_finish(call, GRPC_STATUS_UNAUTHENTICATED, "request authenticate failure");
	else
		cp_call_finish(call, GRPC_STATUS_UNIMPLEMENTED, "no certificate authority here");
}
