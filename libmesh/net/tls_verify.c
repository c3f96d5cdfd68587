/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who the peer is, read from its certificate after every handshake, resumed ones included: the chain was verified by
 * OpenSSL (now or when the session began), names and dates are checked here. Refuses to know policies above names.
 */
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "net/tls.h"

enum { SANS_MAX = 64 };

static struct mesh_slice ia5(const ASN1_STRING *string)
{
	return mesh_slice_make(ASN1_STRING_get0_data(string), (size_t)ASN1_STRING_length(string));
}

/* A name with a NUL inside is an attempt to be taken for another. */
static bool sound(struct mesh_slice name)
{
	return name.len && !memchr(name.data, '\0', name.len);
}

struct mesh_slice mesh_tls_first_uri(X509 *certificate, struct arena *arena)
{
	GENERAL_NAMES *names = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
	struct mesh_slice uri = {NULL, 0};

	for (int i = 0; i < sk_GENERAL_NAME_num(names) && !uri.data; i++) {
		const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);

		if (name->type == GEN_URI && sound(ia5(name->d.uniformResourceIdentifier)))
			uri = mesh_arena_slice(arena, ia5(name->d.uniformResourceIdentifier), NULL);
	}
	GENERAL_NAMES_free(names);
	return uri;
}

static int read_sans(struct transport *transport, X509 *certificate)
{
	GENERAL_NAMES *names = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
	struct peer_info *peer = &transport->peer;
	bool failed = false;
	int count = sk_GENERAL_NAME_num(names);

	if (count < 0)
		count = 0;
	if (count > SANS_MAX) {
		GENERAL_NAMES_free(names);
		return mesh_why(&transport->why, MESH_ERROR_TLS, "peer certificate has %d names, at most %d are accepted", count,
				SANS_MAX);
	}
	peer->uri_sans = mesh_arena_array(&transport->arena, (size_t)count + 1, sizeof(*peer->uri_sans));
	peer->dns_sans = mesh_arena_array(&transport->arena, (size_t)count + 1, sizeof(*peer->dns_sans));
	for (int i = 0; i < count && peer->uri_sans && peer->dns_sans; i++) {
		const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);

		if (name->type == GEN_URI && sound(ia5(name->d.uniformResourceIdentifier)))
			peer->uri_sans[peer->uri_san_count++] =
				mesh_arena_slice(&transport->arena, ia5(name->d.uniformResourceIdentifier), &failed);
		if (name->type == GEN_DNS && sound(ia5(name->d.dNSName)))
			peer->dns_sans[peer->dns_san_count++] =
				mesh_arena_slice(&transport->arena, ia5(name->d.dNSName), &failed);
	}
	GENERAL_NAMES_free(names);
	if (failed || !peer->uri_sans || !peer->dns_sans)
		return MESH_ERROR_NOMEM;
	if (peer->uri_san_count)
		peer->identity = peer->uri_sans[0];
	return 0;
}

static int read_subject(struct transport *transport, X509 *certificate)
{
	static const char hex[] = "0123456789abcdef";
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned digest_len = 0;
	char *text = mesh_arena_alloc(&transport->arena, 2 * sizeof(digest) + 1), *data;
	BIO *bio = BIO_new(BIO_s_mem());
	long len;

	if (!text || !bio || X509_digest(certificate, EVP_sha256(), digest, &digest_len) != 1) {
		BIO_free(bio);
		return MESH_ERROR_NOMEM;
	}
	for (unsigned i = 0; i < digest_len; i++) {
		text[2 * i] = hex[digest[i] >> 4];
		text[2 * i + 1] = hex[digest[i] & 15];
	}
	transport->peer.sha256 = mesh_slice_make(text, 2 * (size_t)digest_len);
	X509_NAME_print_ex(bio, X509_get_subject_name(certificate), 0, XN_FLAG_RFC2253);
	len = BIO_get_mem_data(bio, &data);
	transport->peer.subject = mesh_arena_slice(&transport->arena, mesh_slice_make(data ? data : "", (size_t)len), NULL);
	BIO_free(bio);
	return 0;
}

/* Characters of PEM that would end a value or be taken for others where values are escaped. */
static const char *pem_escape(char c)
{
	switch (c) {
	case '\n':
		return "%0A";
	case ' ':
		return "%20";
	case '+':
		return "%2B";
	case '/':
		return "%2F";
	case '=':
		return "%3D";
	default:
		return NULL;
	}
}

static struct mesh_slice escape_pem(struct arena *arena, const char *pem, size_t len)
{
	size_t room = len, at = 0;
	char *text;

	for (size_t i = 0; i < len; i++)
		room += pem_escape(pem[i]) ? 2 : 0;
	text = mesh_arena_alloc(arena, room + 1);
	if (!text)
		return mesh_slice_make(NULL, 0);
	for (size_t i = 0; i < len; i++) {
		const char *escape = pem_escape(pem[i]);

		if (escape)
			memcpy(text + at, escape, 3);
		else
			text[at] = pem[i];
		at += escape ? 3 : 1;
	}
	return mesh_slice_make(text, at);
}

int mesh_tls_peer_pem(SSL *ssl, bool chain, struct arena *arena, struct mesh_slice *pem)
{
	X509 *own = SSL_get0_peer_certificate(ssl);
	STACK_OF(X509) *sent = chain ? SSL_get_peer_cert_chain(ssl) : NULL;
	BIO *bio;
	char *data;
	long len;
	int rc = MESH_ERROR_NOMEM;

	if (!own)
		return 0;
	bio = BIO_new(BIO_s_mem());
	if (!bio || !PEM_write_bio_X509(bio, own))
		goto out;
	/* a server is given the chain without the peer's own certificate, a client with it */
	for (int i = SSL_is_server(ssl) ? 0 : 1; i < sk_X509_num(sent); i++)
		if (!PEM_write_bio_X509(bio, sk_X509_value(sent, i)))
			goto out;
	len = BIO_get_mem_data(bio, &data);
	*pem = escape_pem(arena, data, (size_t)len);
	rc = pem->data ? 0 : MESH_ERROR_NOMEM;
out:
	if (rc)
		ERR_clear_error();
	BIO_free(bio);
	return rc;
}

static bool any_matches(const struct mesh_slice *names, size_t count, const struct string_match *match)
{
	for (size_t i = 0; i < count; i++)
		if (mesh_string_matches(match, names[i]))
			return true;
	return false;
}

static int check_names(struct transport *transport, const struct string_match *sans, size_t san_count)
{
	const struct peer_info *peer = &transport->peer;

	for (size_t i = 0; i < san_count; i++)
		if (any_matches(peer->uri_sans, peer->uri_san_count, &sans[i]) ||
		    any_matches(peer->dns_sans, peer->dns_san_count, &sans[i]))
			return 0;
	if (!san_count)
		return 0;
	return mesh_why(&transport->why, MESH_ERROR_PEER_IDENTITY, "peer identity \"%.*s\" is not %s\"%.*s\"%s",
			(int)peer->identity.len, peer->identity.data ? peer->identity.data : "",
			sans[0].kind == STRING_MATCH_PREFIX ? "under " : "", (int)sans[0].text.len, sans[0].text.data,
			san_count > 1 ? " nor another accepted one" : "");
}

static int check_dates(struct transport *transport, X509 *certificate)
{
	if (X509_cmp_current_time(X509_get0_notAfter(certificate)) < 0)
		return mesh_why(&transport->why, MESH_ERROR_TLS, "peer certificate has expired");
	return 0;
}

int mesh_tls_peer_check(struct transport *transport, SSL *ssl, bool verified, bool shown, const struct string_match *sans,
			size_t san_count)
{
	X509 *certificate = SSL_get0_peer_certificate(ssl);
	struct peer_info *peer = &transport->peer;
	const unsigned char *alpn;
	unsigned alpn_len;
	const char *sni;
	int rc;

	peer->tls = true;
	peer->resumed = SSL_session_reused(ssl);
	peer->tls_version = mesh_slice_of(SSL_get_version(ssl));
	peer->tls_cipher = mesh_slice_of(SSL_get_cipher_name(ssl));
	SSL_get0_alpn_selected(ssl, &alpn, &alpn_len);
	if (alpn_len)
		peer->alpn = mesh_arena_slice(&transport->arena, mesh_slice_make(alpn, alpn_len), NULL);
	sni = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
	if (sni && SSL_is_server(ssl))
		peer->sni = mesh_arena_slice(&transport->arena, mesh_slice_of(sni), NULL);
	if (!certificate)
		return san_count && verified ? mesh_why(&transport->why, MESH_ERROR_PEER_IDENTITY, "the peer showed no certificate") : 0;
	if (!verified) /* anybody can write any name into a certificate of his own */
		return 0;
	rc = read_sans(transport, certificate);
	if (!rc)
		rc = read_subject(transport, certificate);
	if (rc)
		return rc;
	if (SSL_get_verify_result(ssl) != X509_V_OK)
		return mesh_why(&transport->why, MESH_ERROR_TLS, "peer certificate: %s",
				X509_verify_cert_error_string(SSL_get_verify_result(ssl)));
	rc = check_dates(transport, certificate);
	if (!rc)
		rc = check_names(transport, sans, san_count);
	peer->mutual = !rc && shown;
	return rc;
}

int mesh_tls_handshake_error(struct transport *transport, SSL *ssl, int ssl_error, int saved_errno)
{
	long verify = SSL_get_verify_result(ssl);
	unsigned long error = ERR_peek_last_error();
	const char *text = ERR_reason_error_string(error);

	if (ssl_error == SSL_ERROR_SYSCALL || ssl_error == SSL_ERROR_ZERO_RETURN ||
	    (ssl_error == SSL_ERROR_SSL && ERR_GET_REASON(error) == SSL_R_UNEXPECTED_EOF_WHILE_READING))
		return mesh_why(&transport->why, MESH_ERROR_TLS, "TLS handshake: %s",
				saved_errno ? strerror(saved_errno) : "the peer closed the connection");
	if (verify != X509_V_OK)
		return mesh_why(&transport->why, MESH_ERROR_TLS, "TLS handshake: certificate verify failed: %s",
				X509_verify_cert_error_string(verify));
	return mesh_why(&transport->why, MESH_ERROR_TLS, "TLS handshake: %s", text ? text : "failed");
}
