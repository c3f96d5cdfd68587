/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Transport sockets of clusters and filter chains: raw, or TLS with certificates by secret name. A setting that is not
 * understood is never passed over: it gives a reason, and the owner fails closed.
 */
#include <mesh/error.h>

#include "xds/decode.h"

#include "envoy/config/core/v3/base.pb-c.h"
#include "envoy/config/core/v3/config_source.pb-c.h"
#include "envoy/extensions/transport_sockets/internal_upstream/v3/internal_upstream.pb-c.h"
#include "envoy/extensions/transport_sockets/raw_buffer/v3/raw_buffer.pb-c.h"
#include "envoy/extensions/transport_sockets/tls/v3/tls.pb-c.h"
#include "google/protobuf/any.pb-c.h"
#include "google/protobuf/wrappers.pb-c.h"

typedef Envoy__Extensions__TransportSockets__Tls__V3__CommonTlsContext common_context;
typedef Envoy__Extensions__TransportSockets__Tls__V3__CertificateValidationContext validation_context;
typedef Envoy__Extensions__TransportSockets__Tls__V3__TlsParameters tls_parameters;

static void not_understood(struct decode *d, struct mesh_slice *reason, const char *field, const char *what)
{
	struct mesh_slice note;

	mesh_decode_push(d, field);
	note = mesh_decode_note(d, "%s", what);
	mesh_decode_pop(d);
	if (!reason->data)
		*reason = note;
}

static enum tls_version version(struct decode *d, const char *field, int value)
{
	switch (value) {
	case ENVOY__EXTENSIONS__TRANSPORT_SOCKETS__TLS__V3__TLS_PARAMETERS__TLS_PROTOCOL__TLS_AUTO:
		return TLS_VERSION_AUTO;
	case ENVOY__EXTENSIONS__TRANSPORT_SOCKETS__TLS__V3__TLS_PARAMETERS__TLS_PROTOCOL__TLSv1_2:
		return TLS_VERSION_1_2;
	case ENVOY__EXTENSIONS__TRANSPORT_SOCKETS__TLS__V3__TLS_PARAMETERS__TLS_PROTOCOL__TLSv1_3:
		return TLS_VERSION_1_3;
	case ENVOY__EXTENSIONS__TRANSPORT_SOCKETS__TLS__V3__TLS_PARAMETERS__TLS_PROTOCOL__TLSv1_0:
	case ENVOY__EXTENSIONS__TRANSPORT_SOCKETS__TLS__V3__TLS_PARAMETERS__TLS_PROTOCOL__TLSv1_1:
		mesh_decode_fail_field(d, field, "older than TLSv1_2");
		return TLS_VERSION_AUTO;
	default:
		mesh_decode_fail_field(d, field, "%d: unknown", value);
		return TLS_VERSION_AUTO;
	}
}

/* Envoy writes groups of equal preference as "[A|B]"; OpenSSL's list has no such groups. */
static struct mesh_slice cipher_list(struct decode *d, const tls_parameters *message)
{
	struct mesh_slice list = {NULL, 0};
	struct buf joined;
	int rc = 0;

	mesh_buf_init(&joined, d->mem, 16384);
	for (size_t i = 0; i < message->n_cipher_suites && rc == 0; i++) {
		rc = mesh_buf_printf(&joined, "%s", i ? ":" : "");
		for (const char *c = message->cipher_suites[i]; *c && rc == 0; c++) {
			if (*c != '[' && *c != ']')
				rc = mesh_buf_printf(&joined, "%c", *c == '|' ? ':' : *c);
		}
	}
	if (rc == MESH_ERROR_NOMEM)
		mesh_decode_nomem(d);
	else if (rc < 0)
		mesh_decode_fail_field(d, "cipher_suites", "too long");
	else
		list = mesh_decode_bytes(d, mesh_buf_slice(&joined));
	mesh_buf_free(&joined);
	return list;
}

static void parameters(struct decode *d, const tls_parameters *message, struct tls_config *tls, struct mesh_slice *reason)
{
	if (!message)
		return;
	mesh_decode_push(d, "tls_params");
	tls->min = version(d, "tls_minimum_protocol_version", (int)message->tls_minimum_protocol_version);
	tls->max = version(d, "tls_maximum_protocol_version", (int)message->tls_maximum_protocol_version);
	if (tls->min != TLS_VERSION_AUTO && tls->max != TLS_VERSION_AUTO && tls->min > tls->max)
		mesh_decode_fail_field(d, "tls_maximum_protocol_version", "lower than the minimum");
	tls->ciphers = cipher_list(d, message);
	if (message->n_ecdh_curves)
		not_understood(d, reason, "ecdh_curves", "not supported");
	if (message->n_signature_algorithms)
		not_understood(d, reason, "signature_algorithms", "not supported");
	if (message->n_compliance_policies)
		not_understood(d, reason, "compliance_policies", "not supported");
	if (message->base.n_unknown_fields)
		not_understood(d, reason, "(unknown field)", "not supported");
	mesh_decode_pop(d);
}

static struct mesh_slice alpn_list(struct decode *d, const common_context *message)
{
	size_t bytes = 0;
	char *list;

	for (size_t i = 0; i < message->n_alpn_protocols; i++) {
		size_t len = strlen(message->alpn_protocols[i]);

		if (len == 0 || len > 255) {
			mesh_decode_push_item(d, "alpn_protocols", i);
			mesh_decode_fail(d, "must have 1..255 bytes");
			mesh_decode_pop(d);
		}
		bytes += len + 1;
	}
	if (bytes > UINT16_MAX)
		mesh_decode_fail_field(d, "alpn_protocols", "too long");
	list = mesh_decode_array(d, bytes, 1);
	for (size_t i = 0, at = 0; list && i < message->n_alpn_protocols; i++) {
		size_t len = strlen(message->alpn_protocols[i]);

		list[at] = (char)len;
		memcpy(list + at + 1, message->alpn_protocols[i], len);
		at += len + 1;
	}
	return mesh_slice_make(list, list ? bytes : 0);
}

/*
 * Names are compared without regard to their type, so a typed matcher is taken only where its text can be of no other
 * type: an exact URI has a colon, an exact DNS name has none.
 */
static bool san_type_fits(const Envoy__Extensions__TransportSockets__Tls__V3__SubjectAltNameMatcher *typed)
{
	const char *exact;

	if (!typed->matcher ||
	    typed->matcher->match_pattern_case != ENVOY__TYPE__MATCHER__V3__STRING_MATCHER__MATCH_PATTERN_EXACT)
		return false;
	exact = typed->matcher->exact;
	if (typed->san_type == ENVOY__EXTENSIONS__TRANSPORT_SOCKETS__TLS__V3__SUBJECT_ALT_NAME_MATCHER__SAN_TYPE__URI)
		return strchr(exact, ':') != NULL;
	if (typed->san_type == ENVOY__EXTENSIONS__TRANSPORT_SOCKETS__TLS__V3__SUBJECT_ALT_NAME_MATCHER__SAN_TYPE__DNS)
		return strchr(exact, ':') == NULL && strchr(exact, '@') == NULL;
	return false;
}

static void sans(struct decode *d, const validation_context *message, struct tls_config *tls, struct mesh_slice *reason)
{
	size_t typed = message->n_match_typed_subject_alt_names;
	size_t count = typed ? typed : message->n_match_subject_alt_names; /* as Envoy: the older list counts alone only */

	tls->sans = mesh_decode_array(d, count, sizeof(*tls->sans));
	tls->san_count = tls->sans ? count : 0;
	for (size_t i = 0; i < tls->san_count && d->rc == 0; i++) {
		bool fits = !typed || san_type_fits(message->match_typed_subject_alt_names[i]);

		mesh_decode_push_item(d, typed ? "match_typed_subject_alt_names" : "match_subject_alt_names", i);
		if (!fits || !mesh_decode_string_match(d,
						       typed ? message->match_typed_subject_alt_names[i]->matcher
							     : message->match_subject_alt_names[i],
						       &tls->sans[i]))
			not_understood(d, reason, "matcher", "this kind of name matcher is not supported");
		mesh_decode_pop(d);
	}
}

/* `roots`: the roots come from a secret; then those given in place would only add to them. */
static void validation(struct decode *d, const char *field, const validation_context *message, bool roots,
		       struct tls_config *tls, struct mesh_slice *reason)
{
	if (!message)
		return;
	mesh_decode_push(d, field);
	sans(d, message, tls, reason);
	if (message->trusted_ca && !roots)
		not_understood(d, reason, "trusted_ca", "roots in place are not supported: name a secret");
	else if (message->trusted_ca)
		mesh_decode_warning(d, "trusted_ca beside a secret with roots: passed over");
	if (message->ca_certificate_provider_instance || message->system_root_certs)
		not_understood(d, reason, "ca_certificate_provider_instance", "not supported: name a secret");
	if (message->n_verify_certificate_spki)
		not_understood(d, reason, "verify_certificate_spki", "not supported");
	if (message->n_verify_certificate_hash)
		not_understood(d, reason, "verify_certificate_hash", "not supported");
	if (message->require_signed_certificate_timestamp && message->require_signed_certificate_timestamp->value)
		not_understood(d, reason, "require_signed_certificate_timestamp", "not supported");
	if (message->crl)
		not_understood(d, reason, "crl", "not supported");
	if (message->custom_validator_config)
		not_understood(d, reason, "custom_validator_config", "not supported");
	if (message->max_verify_depth)
		not_understood(d, reason, "max_verify_depth", "not supported");
	if (message->base.n_unknown_fields)
		not_understood(d, reason, "(unknown field)", "not supported");
	if (message->allow_expired_certificate || message->trust_chain_verification)
		mesh_decode_warning(d, "a TLS context that accepts expired or untrusted certificates: they are refused all the same");
	mesh_decode_pop(d);
}

static struct mesh_slice secret_name(struct decode *d, const char *field,
				     const Envoy__Extensions__TransportSockets__Tls__V3__SdsSecretConfig *config)
{
	struct mesh_slice name;

	mesh_decode_push(d, field);
	name = mesh_decode_required(d, "name", config ? config->name : "");
	mesh_decode_pop(d);
	return name;
}

static void trust(struct decode *d, const common_context *message, struct tls_config *tls, struct mesh_slice *reason)
{
	switch (message->validation_context_type_case) {
	case ENVOY__EXTENSIONS__TRANSPORT_SOCKETS__TLS__V3__COMMON_TLS_CONTEXT__VALIDATION_CONTEXT_TYPE__NOT_SET:
		return;
	case ENVOY__EXTENSIONS__TRANSPORT_SOCKETS__TLS__V3__COMMON_TLS_CONTEXT__VALIDATION_CONTEXT_TYPE_VALIDATION_CONTEXT:
		validation(d, "validation_context", message->validation_context, false, tls, reason);
		if (tls->san_count > 0)
			not_understood(d, reason, "validation_context", "names to check without roots to check them by");
		return;
	case ENVOY__EXTENSIONS__TRANSPORT_SOCKETS__TLS__V3__COMMON_TLS_CONTEXT__VALIDATION_CONTEXT_TYPE_VALIDATION_CONTEXT_SDS_SECRET_CONFIG:
		tls->roots_name = secret_name(d, "validation_context_sds_secret_config",
					      message->validation_context_sds_secret_config);
		return;
	case ENVOY__EXTENSIONS__TRANSPORT_SOCKETS__TLS__V3__COMMON_TLS_CONTEXT__VALIDATION_CONTEXT_TYPE_COMBINED_VALIDATION_CONTEXT:
		break;
	default:
		not_understood(d, reason, "validation_context_type", "not supported: name a secret");
		return;
	}
	mesh_decode_push(d, "combined_validation_context");
	if (message->combined_validation_context->validation_context_certificate_provider ||
	    message->combined_validation_context->validation_context_certificate_provider_instance)
		not_understood(d, reason, "validation_context_certificate_provider", "not supported: name a secret");
	else
		tls->roots_name = secret_name(d, "validation_context_sds_secret_config",
					      message->combined_validation_context->validation_context_sds_secret_config);
	validation(d, "default_validation_context", message->combined_validation_context->default_validation_context, true,
		   tls, reason);
	mesh_decode_pop(d);
}

static void common(struct decode *d, const common_context *message, struct tls_config *tls, struct mesh_slice *reason)
{
	if (!message)
		return;
	mesh_decode_push(d, "common_tls_context");
	parameters(d, message->tls_params, tls, reason);
	tls->alpn = alpn_list(d, message);
	if (message->n_tls_certificate_sds_secret_configs > 0) {
		mesh_decode_push_item(d, "tls_certificate_sds_secret_configs", 0);
		tls->certificate_name =
			mesh_decode_required(d, "name", message->tls_certificate_sds_secret_configs[0]->name);
		mesh_decode_pop(d);
	}
	if (message->n_tls_certificate_sds_secret_configs > 1)
		not_understood(d, reason, "tls_certificate_sds_secret_configs", "more than one certificate is not supported");
	if (message->n_tls_certificates)
		not_understood(d, reason, "tls_certificates", "certificates in place are not supported: name a secret");
	if (message->tls_certificate_provider_instance || message->tls_certificate_certificate_provider ||
	    message->tls_certificate_certificate_provider_instance)
		not_understood(d, reason, "tls_certificate_provider_instance", "not supported: name a secret");
	if (message->custom_tls_certificate_selector)
		not_understood(d, reason, "custom_tls_certificate_selector", "not supported");
	if (message->custom_handshaker)
		not_understood(d, reason, "custom_handshaker", "not supported");
	if (message->base.n_unknown_fields)
		not_understood(d, reason, "(unknown field)", "not supported");
	if (message->key_log)
		mesh_decode_warning(d, "key_log: keys are never written");
	trust(d, message, tls, reason);
	mesh_decode_pop(d);
}

static struct tls_config *upstream_tls(struct decode *d, const Google__Protobuf__Any *any, struct mesh_slice *reason)
{
	struct tls_config *tls = mesh_decode_array(d, 1, sizeof(*tls));
	Envoy__Extensions__TransportSockets__Tls__V3__UpstreamTlsContext *message;

	message = mesh_decode_any_open(d, "typed_config", any,
				       &envoy__extensions__transport_sockets__tls__v3__upstream_tls_context__descriptor);
	if (tls && message) {
		if (strlen(message->sni) > 255)
			mesh_decode_fail_field(d, "sni", "longer than 255 bytes");
		tls->sni = mesh_decode_text(d, message->sni);
		tls->upstream_auto_sni = message->auto_host_sni;
		tls->upstream_auto_san = message->auto_sni_san_validation;
		if (tls->upstream_auto_sni)
			not_understood(d, reason, "auto_host_sni", "not supported: set sni");
		if (tls->upstream_auto_san)
			not_understood(d, reason, "auto_sni_san_validation", "not supported: set subject names");
		common(d, message->common_tls_context, tls, reason);
		if (message->base.n_unknown_fields)
			not_understood(d, reason, "(unknown field)", "not supported");
	}
	mesh_decode_any_close(d);
	return tls;
}

static struct tls_config *downstream_tls(struct decode *d, const Google__Protobuf__Any *any, struct mesh_slice *reason)
{
	struct tls_config *tls = mesh_decode_array(d, 1, sizeof(*tls));
	Envoy__Extensions__TransportSockets__Tls__V3__DownstreamTlsContext *message;

	message = mesh_decode_any_open(d, "typed_config", any,
				       &envoy__extensions__transport_sockets__tls__v3__downstream_tls_context__descriptor);
	if (tls && message) {
		tls->require_client_certificate = mesh_decode_bool(message->require_client_certificate, false);
		common(d, message->common_tls_context, tls, reason);
		if (mesh_decode_bool(message->require_sni, false))
			not_understood(d, reason, "require_sni", "not supported");
		if (message->ocsp_staple_policy)
			not_understood(d, reason, "ocsp_staple_policy", "not supported");
		if (message->base.n_unknown_fields)
			not_understood(d, reason, "(unknown field)", "not supported");
		if (tls->require_client_certificate && !tls->roots_name.data)
			not_understood(d, reason, "require_client_certificate", "no roots to check it by");
	}
	mesh_decode_any_close(d);
	return tls;
}

struct tls_config *mesh_decode_transport(struct decode *d, const char *field,
					 const Envoy__Config__Core__V3__TransportSocket *socket, bool upstream,
					 struct mesh_slice *reason)
{
	const Google__Protobuf__Any *any = socket ? socket->typed_config : NULL;
	struct tls_config *tls = NULL;

	*reason = mesh_slice_make(NULL, 0);
	if (!socket)
		return NULL;
	if (socket->config_type_case != ENVOY__CONFIG__CORE__V3__TRANSPORT_SOCKET__CONFIG_TYPE_TYPED_CONFIG)
		any = NULL;
	mesh_decode_push(d, field);
	mesh_decode_required(d, "name", socket->name);
	if (!any && strcmp(socket->name, "envoy.transport_sockets.raw_buffer") == 0)
		tls = NULL;
	else if (mesh_decode_any_is(any, &envoy__extensions__transport_sockets__raw_buffer__v3__raw_buffer__descriptor))
		tls = NULL;
	else if (upstream &&
		 mesh_decode_any_is(any, &envoy__extensions__transport_sockets__tls__v3__upstream_tls_context__descriptor))
		tls = upstream_tls(d, any, reason);
	else if (!upstream &&
		 mesh_decode_any_is(any, &envoy__extensions__transport_sockets__tls__v3__downstream_tls_context__descriptor))
		tls = downstream_tls(d, any, reason);
	else if (mesh_decode_any_is(
			 any, &envoy__extensions__transport_sockets__internal_upstream__v3__internal_upstream_transport__descriptor))
		*reason = mesh_decode_text(d, "tunnels are not supported"); /* known, so no note: nobody need use it */
	else
		*reason = mesh_decode_note(d, "\"%.80s\" (%.100s): unknown transport socket", socket->name,
					   any ? any->type_url : "no typed_config");
	mesh_decode_pop(d);
	return tls;
}
