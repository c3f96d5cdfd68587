/* SPDX-License-Identifier: Apache-2.0 */
/* The gRPC server: ports, who calls, which method, and what all streams share. */
#ifndef CP_SERVER_H
#define CP_SERVER_H

#include <grpc/grpc.h>

#include "base/list.h"
#include "ca.h"
#include "resources.h"

#define CP_VERSION_TEXT_BYTES 40

/* What a completion queue gives back. */
struct cp_event {
	void (*done)(struct cp_event *event, bool ok);
};

struct cp_options {
	const char *address;  /* to bind to */
	int port;             /* plaintext; -1: none, 0: any free one */
	int tls_port;         /* the same for TLS; needs a ca */
	int max_connection_age_s; /* 0: no limit */
};

struct cp_server {
	grpc_server *grpc;
	grpc_completion_queue *queue;
	struct cp_ca *ca;    /* NULL: no certificates, no TLS */
	EVP_PKEY *token_key; /* NULL with it */
	struct cp_catalog catalog;
	char version[CP_VERSION_TEXT_BYTES]; /* of the catalog */
	uint64_t generation;
	struct link streams; /* of ads_server.c */
	unsigned streams_made;
	size_t calls; /* not yet released */
	int port, tls_port;
	bool stopping;
};

/* Who calls, as far as the connection and the token tell. */
struct cp_caller {
	bool secure;        /* by TLS, so that who it is matters */
	bool known;
	struct cp_identity identity;
	struct why why;     /* why it is not known */
};

int cp_server_start(struct cp_server *server, const struct cp_options *options, struct why *why);
/* Handles what happens within `ms`. */
void cp_server_step(struct cp_server *server, int ms);
/* Takes a new catalog over (its owner from now on) and pushes what changed. */
void cp_server_set_catalog(struct cp_server *server, struct cp_catalog *catalog);
void cp_server_stop(struct cp_server *server);

#endif
