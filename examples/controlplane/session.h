/* SPDX-License-Identifier: Apache-2.0 */
/* The protocol of one ADS stream, either form, without the stream: requests in, responses out. */
#ifndef CP_SESSION_H
#define CP_SESSION_H

#include "base/buf.h"
#include "base/map.h"
#include "base/why.h"
#include "identity.h"
#include "resources.h"

#define CP_NONCE_BYTES 40
#define CP_NODE_ID_BYTES 1024

/* What the client wants or has of a type. */
struct cp_entry {
	bool wanted; /* subscribed to by name */
	bool asked;  /* to be answered even if nothing changed */
	bool sent;   /* the client has it, as `version` */
	bool listed; /* in the list just received */
	char version[CP_VERSION_BYTES + 48]; /* initial versions may be another control plane's */
	char name[];
};

struct cp_subscription {
	char *type_url;
	unsigned rank;  /* place in the order of pushes */
	bool wildcard;
	bool named;     /* has asked for names: an empty list no longer means all */
	bool respond;   /* the request is to be answered even if there is nothing */
	char nonce[CP_NONCE_BYTES]; /* of the last response */
	struct map entries; /* cp_entry by name */
	struct cp_subscription *next;
};

struct cp_session {
	unsigned number;
	bool delta;
	bool has_node;
	char node_id[CP_NODE_ID_BYTES];
	char app[CP_NAME_BYTES];
	struct cp_identity claims; /* what the node says of itself; "" where it does not */
	char version[CP_NONCE_BYTES]; /* of the catalog */
	uint64_t responses;
	struct cp_view view;
	struct cp_subscription *subscriptions; /* by rank */
	size_t subscription_count;
};

void cp_session_open(struct cp_session *session, unsigned number, bool delta);
void cp_session_close(struct cp_session *session);
/* What is in force from now on; the view borrows from `catalog`. */
int cp_session_refresh(struct cp_session *session, const struct cp_catalog *catalog, const char *version);
/* Takes one packed (Delta)DiscoveryRequest. MESH_ERROR_INVALID: the stream is to end with the words in `why`. */
int cp_session_request(struct cp_session *session, struct mesh_slice message, struct why *why);
/* Appends the next response that is due and returns 1; 0: none is. */
int cp_session_next(struct cp_session *session, struct buf *out);

/* What follows the last '/' of a type URL. */
static inline const char *cp_type_name(const char *type_url)
{
	const char *slash = strrchr(type_url, '/');

	return slash ? slash + 1 : type_url;
}

/* ---- between session.c and response.c ---- */

/* Made if need be; NULL when out of memory or too many. */
struct cp_entry *cp_subscription_entry(struct cp_subscription *subscription, struct mesh_slice name);
void cp_subscription_prune(struct cp_subscription *subscription); /* forgets entries neither wanted nor sent */

#endif
