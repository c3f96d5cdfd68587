/* SPDX-License-Identifier: Apache-2.0 */
/* OpenSSL as any program would set it up; knows nothing of what is sent through it. */
#include "plain_tls.h"

#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void fail(const char *what)
{
	fprintf(stderr, "%s failed\n", what);
	ERR_print_errors_fp(stderr);
	exit(1);
}

static int choose(SSL *ssl, const unsigned char **out, unsigned char *len, const unsigned char *offered,
		  unsigned offered_len, void *protocol)
{
	const unsigned char *ours = protocol;

	return SSL_select_next_proto((unsigned char **)out, len, ours, ours[0] + 1u, offered, offered_len) ==
			       OPENSSL_NPN_NEGOTIATED
		       ? SSL_TLSEXT_ERR_OK
		       : SSL_TLSEXT_ERR_ALERT_FATAL;
}

SSL_CTX *plain_tls_context(const char *dir, bool server, const char *protocol)
{
	SSL_CTX *ctx = SSL_CTX_new(server ? TLS_server_method() : TLS_client_method());
	const char *who = server ? "server" : "client";
	char ca[512], pem[512], key[512];

	snprintf(ca, sizeof(ca), "%s/ca.pem", dir);
	snprintf(pem, sizeof(pem), "%s/%s.pem", dir, who);
	snprintf(key, sizeof(key), "%s/%s.key", dir, who);
	if (!ctx || SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) != 1 ||
	    SSL_CTX_set_ciphersuites(ctx, "TLS_AES_128_GCM_SHA256") != 1 ||
	    SSL_CTX_use_certificate_chain_file(ctx, pem) != 1 ||
	    SSL_CTX_use_PrivateKey_file(ctx, key, SSL_FILETYPE_PEM) != 1 ||
	    SSL_CTX_load_verify_locations(ctx, ca, NULL) != 1)
		fail("TLS context");
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
	SSL_CTX_set_read_ahead(ctx, 1);
	SSL_CTX_set_mode(ctx, SSL_MODE_AUTO_RETRY);
	if (protocol && server)
		SSL_CTX_set_alpn_select_cb(ctx, choose, (void *)protocol);
	else if (protocol && SSL_CTX_set_alpn_protos(ctx, (const unsigned char *)protocol, (unsigned)strlen(protocol)))
		fail("ALPN");
	return ctx;
}

SSL *plain_tls_open(SSL_CTX *ctx, int fd, bool server)
{
	SSL *ssl = SSL_new(ctx);

	if (!ssl || SSL_set_fd(ssl, fd) != 1 || (server ? SSL_accept(ssl) : SSL_connect(ssl)) != 1)
		fail("TLS handshake");
	return ssl;
}
