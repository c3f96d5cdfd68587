/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Secrets: a certificate with its key, or roots, given inline. Everything unpacked on the way is wiped before its memory
 * is given back.
 */
#include "xds/decode.h"

#include <mesh/error.h>

#include "envoy/config/core/v3/base.pb-c.h"
#include "envoy/extensions/transport_sockets/tls/v3/secret.pb-c.h"

typedef Envoy__Extensions__TransportSockets__Tls__V3__Secret secret_message;

/* ---- memory that is wiped when it is released ---- */

struct wiped {
	size_t bytes;
	_Alignas(16) char data[];
};

static void *wiping_alloc(void *user, size_t bytes)
{
	struct wiped *block = bytes > SIZE_MAX - sizeof(*block) ? NULL : mesh_mem_alloc(user, sizeof(*block) + bytes);

	if (!block)
		return NULL;
	block->bytes = bytes;
	return block->data;
}

static void wiping_release(void *user, void *memory)
{
	struct wiped *block = memory ? (struct wiped *)((char *)memory - offsetof(struct wiped, data)) : NULL;

	if (!block)
		return;
	mesh_mem_wipe(block->data, block->bytes);
	mesh_mem_free(user, block);
}

static void *wiping_resize(void *user, void *memory, size_t bytes)
{
	const struct wiped *before = memory ? (struct wiped *)((char *)memory - offsetof(struct wiped, data)) : NULL;
	void *grown = wiping_alloc(user, bytes);

	if (grown && before)
		memcpy(grown, before->data, before->bytes < bytes ? before->bytes : bytes);
	if (grown)
		wiping_release(user, memory);
	return grown;
}

/* ---- the message ---- */

static struct mesh_slice inline_source(struct decode *d, const char *field, const Envoy__Config__Core__V3__DataSource *source)
{
	struct mesh_slice bytes;

	if (!mesh_decode_source(source, &bytes) || bytes.len == 0)
		mesh_decode_fail_field(d, field, source ? "must be inline and not empty" : "is required");
	return bytes;
}

static struct secret *certificate(struct decode *d, const secret_message *message)
{
	const Envoy__Extensions__TransportSockets__Tls__V3__TlsCertificate *certificate = message->tls_certificate;
	struct mesh_slice chain, key;
	struct secret *secret = NULL;

	mesh_decode_push(d, "tls_certificate");
	chain = inline_source(d, "certificate_chain", certificate->certificate_chain);
	key = inline_source(d, "private_key", certificate->private_key);
	if (certificate->pkcs12)
		mesh_decode_fail_field(d, "pkcs12", "not supported");
	if (certificate->private_key_provider)
		mesh_decode_fail_field(d, "private_key_provider", "not supported");
	if (certificate->password)
		mesh_decode_fail_field(d, "password", "not supported");
	mesh_decode_pop(d);
	if (d->rc == 0 && mesh_secret_new(d->mem, mesh_slice_of(message->name), chain, key, mesh_slice_make(NULL, 0), &secret) < 0)
		mesh_decode_nomem(d);
	return secret;
}

static struct secret *roots(struct decode *d, const secret_message *message)
{
	const Envoy__Extensions__TransportSockets__Tls__V3__CertificateValidationContext *context = message->validation_context;
	struct mesh_slice none = {NULL, 0}, pem;
	struct secret *secret = NULL;

	mesh_decode_push(d, "validation_context");
	pem = inline_source(d, "trusted_ca", context->trusted_ca);
	if (context->crl)
		mesh_decode_fail_field(d, "crl", "not supported");
	if (context->n_verify_certificate_spki || context->n_verify_certificate_hash || context->custom_validator_config ||
	    context->n_match_subject_alt_names || context->n_match_typed_subject_alt_names || context->base.n_unknown_fields)
		mesh_decode_fail(d, "only trusted_ca is supported");
	mesh_decode_pop(d);
	if (d->rc == 0 && mesh_secret_new(d->mem, mesh_slice_of(message->name), none, none, pem, &secret) < 0)
		mesh_decode_nomem(d);
	return secret;
}

static struct secret *decode(struct decode *d, struct mesh_slice bytes)
{
	secret_message *message;

	message = mesh_decode_unpack(d, bytes, &envoy__extensions__transport_sockets__tls__v3__secret__descriptor);
	if (!message)
		return NULL;
	if (message->name[0] == '\0') {
		mesh_decode_fail_field(d, "name", "must not be empty");
		return NULL;
	}
	switch (message->type_case) {
	case ENVOY__EXTENSIONS__TRANSPORT_SOCKETS__TLS__V3__SECRET__TYPE_TLS_CERTIFICATE:
		return certificate(d, message);
	case ENVOY__EXTENSIONS__TRANSPORT_SOCKETS__TLS__V3__SECRET__TYPE_VALIDATION_CONTEXT:
		return roots(d, message);
	default:
		mesh_decode_fail_field(d, "type", "must be tls_certificate or validation_context");
		return NULL;
	}
}

struct secret *mesh_decode_secret(struct decode *d, struct mesh_slice bytes)
{
	struct mesh_mem wiping = {wiping_alloc, wiping_resize, wiping_release, (void *)d->mem};
	struct arena outer;
	struct secret *secret;

	mesh_decode_begin(d);
	outer = d->scratch;
	mesh_arena_init(&d->scratch, &wiping, 0);
	secret = decode(d, bytes);
	mesh_arena_free(&d->scratch);
	d->scratch = outer;
	return secret;
}
