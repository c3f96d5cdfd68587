/* SPDX-License-Identifier: Apache-2.0 */
/* One server of the control plane with the credentials we show it, all read from their files at every connect. */
#ifndef MESH_CONTROL_PEER_H
#define MESH_CONTROL_PEER_H

#include "base/why.h"
#include "control/control_stream.h"

struct control_peer {
	const char *address;
	const char *server_name; /* NULL: plaintext, and then no credential is ever sent */
	const char *root_file;
	const char *token_file;  /* NULL: no token */
	const char *cert_file;   /* shown as client certificate when there is no token; NULL: none */
	const char *key_file;
	const char *cluster_id;  /* sent as "clusterid"; NULL: not sent */
	size_t message_bytes_max;
};

/*
 * Opens a stream with fresh credentials. BOOTSTRAP with words that name the file (a missing or empty token, an unreadable
 * root), INVALID, NOMEM.
 */
int mesh_control_peer_open(const struct control_peer *peer, struct control *control, const struct mesh_mem *mem,
			   const char *method, uint32_t timeout_ms, struct control_handler *handler,
			   struct control_stream **stream, struct why *why);
/* Words for an ended stream, and CONTROL_AUTH, CONTROL_PLANE. `what` is who we talked to: "ADS", "certificate request". */
int mesh_control_peer_failed(const struct control_peer *peer, const char *what, int status, const char *text,
			     struct why *why);

#endif
