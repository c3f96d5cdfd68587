/* SPDX-License-Identifier: Apache-2.0 */
/* Authorization rules (Envoy RBAC), compiled. Immutable. */
#ifndef MESH_CONFIG_AUTHZ_H
#define MESH_CONFIG_AUTHZ_H

#include "config/match.h"

enum authz_action {
	AUTHZ_ALLOW, /* no policy matches: denied */
	AUTHZ_DENY,  /* a policy matches: denied */
	AUTHZ_LOG,   /* never denies */
};

/* Permissions and principals are one tree of rules. */
enum authz_rule_kind {
	AUTHZ_ANY,
	AUTHZ_NEVER,              /* a rule that is not understood where it would have granted something */
	AUTHZ_AND,
	AUTHZ_OR,
	AUTHZ_NOT,
	AUTHZ_HEADER,
	AUTHZ_URL_PATH,           /* path without query and fragment */
	AUTHZ_DESTINATION_IP,
	AUTHZ_DESTINATION_PORT,
	AUTHZ_DESTINATION_PORT_RANGE, /* from <= port < to */
	AUTHZ_SERVER_NAME,        /* requested SNI */
	AUTHZ_AUTHENTICATED,      /* a verified peer; with `string`: one of its URI SANs (else DNS SANs, else subject) matches */
	AUTHZ_SOURCE_IP,          /* as downstream remote address */
	AUTHZ_DIRECT_REMOTE_IP,
	AUTHZ_REMOTE_IP,
	AUTHZ_METADATA,           /* dynamic metadata by filter and path (JWT claims); absent metadata does not match */
	AUTHZ_FILTER_STATE,       /* io.istio.peer_principal: matches the peer's identity, the whole URI with "spiffe://" */
	AUTHZ_URI_TEMPLATE,       /* path template of Envoy's uri_template matcher, as a regex */
};

struct authz_rule {
	enum authz_rule_kind kind;
	struct authz_rule *items; /* AND, OR: count of them; NOT: one */
	size_t count;
	struct header_match header;
	struct string_match string;
	bool has_string;
	struct cidr cidr;
	uint32_t port_from, port_to;
	struct mesh_slice metadata_filter; /* METADATA */
	struct mesh_slice *metadata_path;
	size_t metadata_path_count;
	bool metadata_list;   /* the value may be one of a list */
	bool metadata_invert;
	struct mesh_slice key; /* FILTER_STATE */
};

struct authz_policy {
	struct mesh_slice name;
	struct authz_rule *permissions; /* one must match */
	size_t permission_count;
	struct authz_rule *principals;  /* and one of these */
	size_t principal_count;
};

struct authz_rules {
	enum authz_action action;
	struct authz_policy *policies; /* sorted by name, as Envoy evaluates them */
	size_t count;
};

struct authz_config {
	struct authz_rules *rules;  /* NULL: nothing enforced */
	struct authz_rules *shadow; /* counted, never enforced */
	struct mesh_slice stat_prefix;
	struct mesh_slice shadow_prefix;
};

#endif
