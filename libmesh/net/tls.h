/* SPDX-License-Identifier: Apache-2.0 */
/* What the TLS files of this folder share. Nobody else includes it. */
#ifndef MESH_NET_TLS_H
#define MESH_NET_TLS_H

#include <openssl/ssl.h>
#include <pthread.h>

#include "base/list.h"
#include "net/tls_context.h"
#include "net/transport.h"

struct tls_roots; /* one certificate store for all contexts that trust the same roots */

struct tls_context {
	struct ref ref;
	struct link link; /* in the store, under its lock */
	struct tls_store *store;
	SSL_CTX *ctx;
	bool server;
	/* the key it is found by */
	enum tls_version min, max;
	struct mesh_slice ciphers, alpn;
	bool require_client;
	uint64_t certificate_serial, roots_serial;
	struct mesh_slice certificate_name, roots_name;
	/* server: names to accept */
	struct string_match *sans;
	size_t san_count;
	struct mesh_slice local_uri;
	struct config_object *memory; /* holds the slices and matchers above */
};

struct tls_store {
	const struct mesh_mem *mem;
	const struct log *log;
	BIO_METHOD *bio; /* our socket calls: no SIGPIPE */
	pthread_mutex_t lock;
	struct link contexts;
	struct link roots; /* struct tls_roots */
};

struct tls_session {
	struct ref ref;
	const struct mesh_mem *mem;
	SSL_SESSION *session;
	bool shown; /* our certificate, when it began */
};

/*
 * tls_verify.c: everything known of the peer after a handshake, checked against `sans`; no name of it unless its chain was
 * `verified`. `shown`: the peer was given our certificate. 0, TLS, PEER_IDENTITY, NOMEM.
 */
int mesh_tls_peer_check(struct transport *transport, SSL *ssl, bool verified, bool shown, const struct string_match *sans,
			size_t san_count);
/* tls_name.c: PEER_IDENTITY with words unless the verified certificate is for that name or address. */
bool mesh_tls_name_matches(struct mesh_slice pattern, struct mesh_slice name); /* a DNS SAN; of a host that is no address */
int mesh_tls_name_check(struct transport *transport, SSL *ssl, bool verified, struct mesh_slice name);
/* What mesh_transport_peer_pem gives; in `arena`. */
int mesh_tls_peer_pem(SSL *ssl, bool chain, struct arena *arena, struct mesh_slice *pem);
/* First URI SAN of a certificate, absent when none; in `arena`. */
struct mesh_slice mesh_tls_first_uri(X509 *certificate, struct arena *arena);
/* Words for a handshake that failed. */
int mesh_tls_handshake_error(struct transport *transport, SSL *ssl, int ssl_error, int saved_errno);
/* transport_tls.c: reads and writes of a transport's socket; NULL: no memory. */
BIO_METHOD *mesh_tls_bio_method(void);
/* transport_tls.c: tickets of a client context go to their transport. */
int mesh_tls_session_arrived(SSL *ssl, SSL_SESSION *session);

#endif
