/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLS settings and credentials made ready for use, shared by all connections that need the same ones: few contexts even
 * for ten thousand clusters, because SNI, ALPN and SANs belong to the connection.
 */
#ifndef MESH_NET_TLS_CONTEXT_H
#define MESH_NET_TLS_CONTEXT_H

#include "base/log.h"
#include "base/why.h"
#include "config/secret.h"
#include "config/tls.h"

struct tls_context;
struct tls_store; /* the contexts of one mesh, by settings and secrets */

int mesh_tls_store_new(const struct mesh_mem *mem, const struct log *log, struct tls_store **store);
void mesh_tls_store_free(struct tls_store *store);
/*
 * A context for `config` with the given secrets (NULL where the configuration needs none). Any thread; cheap when one
 * exists for the same settings and the same secret objects. Contexts of superseded secrets go with their last connection.
 * CERTIFICATE, CONFIG or NOMEM with words.
 */
int mesh_tls_store_get(struct tls_store *store, const struct tls_config *config, bool server,
		       const struct secret *certificate, const struct secret *roots,
		       struct tls_context **context, struct why *why);
struct tls_context *mesh_tls_context_retain(struct tls_context *context);
void mesh_tls_context_release(struct tls_context *context); /* NULL allowed */

#endif
