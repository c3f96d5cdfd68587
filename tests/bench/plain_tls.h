/* SPDX-License-Identifier: Apache-2.0 */
/* Mutual TLS of what the mesh is compared with. */
#ifndef MESH_TESTS_BENCH_PLAIN_TLS_H
#define MESH_TESTS_BENCH_PLAIN_TLS_H

#include <openssl/ssl.h>
#include <stdbool.h>

/*
 * TLS 1.3 AES-128-GCM, both certificates shown and verified. DIR holds ca.pem and each side's .pem and .key.
 * `protocol`, as in ALPN's wire format: offered by a client, the only one a server takes; NULL: none. Ends the program
 * when it cannot.
 */
SSL_CTX *plain_tls_context(const char *dir, bool server, const char *protocol);
/* On a connected socket, after a blocking handshake. */
SSL *plain_tls_open(SSL_CTX *ctx, int fd, bool server);

#endif
