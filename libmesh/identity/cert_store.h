/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Our own certificate and the roots we trust, kept fresh: asked of istiod and asked anew at half the lifetime, or read
 * from files that somebody else replaces. What is good stays in force until something better is there. The loop's thread.
 */
#ifndef MESH_IDENTITY_CERT_STORE_H
#define MESH_IDENTITY_CERT_STORE_H

#include "config/secret.h"
#include "identity/ca_client.h"

struct cert_store;

struct cert_store_options {
	const struct mesh_mem *mem;
	const struct log *log;
	struct loop *loop;
	struct control *control;
	const struct control_peer *ca; /* NULL: from files */
	const char *cert_file, *key_file;
	const char *root_file;         /* also next to a CA: its roots and the CA's are trusted together */
	const char *trust_domain, *ns, *service_account;
	enum mesh_key_type key_type;
	uint32_t ttl_s;
	uint32_t backoff_base_ms, backoff_max_ms; /* 0: 500 ms, 30 s */
	/*
	 * A new pair to use; both borrowed, to be retained. Never inside start. What it returns, other than 0, makes the attempt
	 * a failed one: what was in force is said to be so still.
	 */
	int (*changed)(void *user, struct secret *certificate, struct secret *roots);
	/* An attempt failed; another follows. */
	void (*failed)(void *user, int error, const char *why);
	void *user;
};

/* Strings of the options must outlive the store. NOMEM. */
int mesh_cert_store_start(const struct cert_store_options *options, struct cert_store **store);
void mesh_cert_store_stop(struct cert_store *store); /* NULL allowed */

/* The wall clock time the certificate in force ends, ms since 1970; 0: there is none. */
int64_t mesh_cert_store_expires_ms(const struct cert_store *store);

#endif
