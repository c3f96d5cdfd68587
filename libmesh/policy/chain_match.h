/* SPDX-License-Identifier: Apache-2.0 */
/* Which filter chain of a listener a connection takes, in Envoy's order of criteria. */
#ifndef MESH_POLICY_CHAIN_MATCH_H
#define MESH_POLICY_CHAIN_MATCH_H

#include "base/address.h"
#include "config/listener.h"

struct chain_request {
	uint16_t port;                   /* destination port, as the mesh knows it */
	const struct address *destination;
	const struct address *source;
	struct mesh_slice server_name;   /* SNI, absent when none */
	bool tls;
	const struct mesh_slice *alpn;   /* offered by the client, or "http/1.1" / "h2c" sniffed */
	size_t alpn_count;
};

/* NULL: none. */
const struct chain *mesh_chain_find(const struct listener_config *listener, const struct chain_request *request);
enum {
	CHAIN_LOOKS_FOR_TLS = 1,
	CHAIN_LOOKS_FOR_HTTP = 2,
};

/*
 * What has to be known of a connection's first bytes before it is clear which chain takes it, of what the listener's
 * inspectors find out: without one, TLS is bytes like others, and HTTP too. 0: nothing.
 */
unsigned mesh_chain_looks_for(const struct listener_config *listener, uint16_t port);

#endif
