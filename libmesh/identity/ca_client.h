/* SPDX-License-Identifier: Apache-2.0 */
/* Asks istiod for a certificate: one request at a time, the answer checked before it is believed. */
#ifndef MESH_IDENTITY_CA_CLIENT_H
#define MESH_IDENTITY_CA_CLIENT_H

#include <mesh/mesh.h>

#include "base/buf.h"
#include "control/peer.h"
#include "identity/chain.h"

struct ca_client; /* one request under way */

struct ca_request {
	const struct mesh_mem *mem;
	const struct control_peer *peer;
	struct control *control;
	const char *spiffe_id;
	const char *ns, *service_account; /* what the certificate must name */
	enum mesh_key_type key_type;
	uint32_t ttl_s;
};

/* The chain without its root, the key, the root; borrowed during the call. */
struct ca_answer {
	struct mesh_slice chain_pem, key_pem, root_pem;
	struct chain_facts facts;
};

/* `done` comes once, never inside start: 0 with the answer, else an error with words. Free the client then or before. */
typedef void ca_done_fn(void *user, int error, const struct ca_answer *answer, const char *why);

/* Everything in `request` must outlive the client. */
int mesh_ca_client_start(const struct ca_request *request, ca_done_fn *done, void *user, struct ca_client **client,
			 struct why *why);
void mesh_ca_client_free(struct ca_client *client); /* NULL allowed; a request under way is given up */

#endif
