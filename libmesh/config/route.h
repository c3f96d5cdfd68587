/* SPDX-License-Identifier: Apache-2.0 */
/* Route configurations, compiled. Immutable. Times in ns; -1 = not set, 0 = none/disabled. */
#ifndef MESH_CONFIG_ROUTE_H
#define MESH_CONFIG_ROUTE_H

#include "config/cors.h"
#include "config/fault.h"
#include "config/format.h"
#include "config/internal_redirect.h"
#include "config/mirror.h"
#include "config/object.h"
#include "config/retry.h"

enum path_match_kind {
	PATH_MATCH_PREFIX,
	PATH_MATCH_EXACT,
	PATH_MATCH_SEPARATED_PREFIX,
	PATH_MATCH_REGEX,
};

enum tls_match {
	TLS_MATCH_ANY,
	TLS_MATCH_YES,
	TLS_MATCH_NO,
};

struct metadata_match;

struct route_match {
	enum path_match_kind kind;
	bool ignore_case; /* of the path */
	struct mesh_slice path;
	struct regex *regex;
	struct header_match *headers;
	size_t header_count;
	struct query_match *queries;
	size_t query_count;
	struct fraction runtime_fraction; /* denominator 0: all */
	struct cookie_match *cookies;
	size_t cookie_count;
	const struct metadata_match *metadata;
	size_t metadata_count;
	bool grpc_only;
	bool never; /* a condition that no request here meets */
	bool no_parameters; /* of the path: what is behind a ";" is not looked at */
	bool asks_tls;     /* one of the next two is given */
	enum tls_match presented, validated; /* the client's certificate */
};

enum header_append {
	HEADER_APPEND,             /* append to what is there, or add */
	HEADER_ADD_IF_ABSENT,
	HEADER_OVERWRITE_OR_ADD,
	HEADER_OVERWRITE_IF_EXISTS,
};

struct header_mutation {
	enum header_append how;
	struct mesh_slice name;
	struct mesh_slice value;
	bool keep_empty;
	const struct format *format; /* in place of `value`, for each request; NULL: none */
};

struct header_mutations {
	struct header_mutation *request_add;
	size_t request_add_count;
	struct mesh_slice *request_remove;
	size_t request_remove_count;
	struct header_mutation *response_add;
	size_t response_add_count;
	struct mesh_slice *response_remove;
	size_t response_remove_count;
};

struct weighted_cluster {
	struct mesh_slice name;
	uint32_t hash; /* mesh_slice_hash(name) */
	uint32_t weight;
	struct header_mutations mutations;
	struct mesh_slice host_rewrite;
	struct mesh_slice cluster_header; /* names the cluster where `name` is absent */
	const struct subset_wish *subset; /* the route's with its own over them; NULL: the route's */
	struct fault_config *fault; /* these four as in struct route; NULL: the route's */
	struct mesh_slice fault_filter;
	struct cors_config *cors;
	struct mesh_slice cors_filter;
};

enum route_kind {
	ROUTE_CLUSTER,
	ROUTE_REDIRECT,
	ROUTE_DIRECT_RESPONSE,
	ROUTE_NON_FORWARDING, /* inbound to the application */
	ROUTE_FAIL_CLOSED,    /* an action or per-route filter not understood: 503 */
};

enum hash_source {
	HASH_HEADER,
	HASH_COOKIE,
	HASH_SOURCE_IP,
	HASH_QUERY,
};

/* What of a request chooses its endpoint where the cluster balances by hash. */
struct hash_policy {
	enum hash_source source;
	bool terminal;          /* once there is a hash, what follows is not asked */
	struct mesh_slice name; /* header (lower case), cookie or query parameter */
	struct regex *rewrite;  /* HASH_HEADER: of each value first; NULL: none */
	struct mesh_slice rewrite_with;
	struct mesh_slice cookie_tail; /* HASH_COOKIE with a ttl: what follows the value in Set-Cookie; absent: none is made */
};

struct route_upgrade {
	struct mesh_slice protocol; /* lower case */
	bool allowed;
};

struct route {
	struct mesh_slice name;
	struct route_match match;
	enum route_kind kind;
	/* ROUTE_CLUSTER */
	struct mesh_slice cluster; /* single; absent when weighted or by header */
	uint32_t cluster_hash;
	struct mesh_slice cluster_header;
	struct weighted_cluster *weighted;
	size_t weighted_count;
	uint32_t weighted_total;
	struct mesh_slice weighted_header; /* its number draws among them; absent: chance does */
	bool weighted_by_hash;             /* hash_policies draw, where they find something */
	const struct subset_wish *subset;  /* metadata_match; NULL: any endpoint */
	int64_t timeout_ns;            /* -1: Envoy's default of 15 s */
	int64_t idle_timeout_ns;       /* -1: the listener's */
	/* max_stream_duration: where it is said, timeout_ns is not in force, as in Envoy */
	bool has_stream_limits;
	int64_t max_stream_duration_ns; /* -1: the listener's; 0 none */
	int64_t grpc_timeout_max_ns;   /* of grpc-timeout that is heeded (max_grpc_timeout without the above); 0 any, -1 none */
	int64_t grpc_timeout_offset_ns;
	struct route_upgrade *upgrades;
	size_t upgrade_count;
	struct hash_policy *hash_policies;
	size_t hash_policy_count;
	struct retry_config *retry;    /* NULL: the virtual host's, else none */
	enum hedge hedge;
	bool high_priority;            /* its requests have circuit breakers and connections of their own */
	struct header_mutations mutations;
	bool has_prefix_rewrite;
	struct mesh_slice prefix_rewrite;
	struct regex *regex_rewrite;
	struct mesh_slice regex_rewrite_with;
	const struct format *path_format;  /* of these four at most one */
	struct mesh_slice host_rewrite;
	struct mesh_slice host_rewrite_header; /* whose first value is the host, if there is one */
	struct regex *host_rewrite_regex;  /* of the path */
	struct mesh_slice host_rewrite_with;
	const struct format *host_format;
	bool auto_host_rewrite;
	bool append_forwarded_host;
	uint32_t cluster_not_found_status; /* 503 */
	const struct mirror_config *mirrors; /* the route's, else the virtual host's, else the configuration's; NULL: none */
	const struct internal_redirect_config *internal_redirect; /* NULL: redirects are the application's */
	/* ROUTE_REDIRECT */
	uint32_t redirect_status;
	struct mesh_slice redirect_host, redirect_path, redirect_scheme;
	uint32_t redirect_port;
	bool redirect_prefix, redirect_strip_query;
	bool redirect_to_tls;          /* require_tls: the same address but for its scheme, and nothing else is said */
	struct regex *redirect_regex;  /* of the path, becomes redirect_path */
	const struct format *redirect_format; /* of the path */
	/* ROUTE_DIRECT_RESPONSE */
	uint32_t direct_status;
	struct mesh_slice direct_body;
	const struct format *direct_format; /* of the body; NULL: as it stands */
	bool direct_omits_empty;            /* what is not known is nothing there, not "-" */
	struct mesh_slice direct_type;      /* content-type; absent: text/plain */
	struct mesh_slice fail_reason; /* ROUTE_FAIL_CLOSED */
	struct authz_config *authz;    /* rules of this route for one RBAC filter (NULL: it is switched off) */
	struct mesh_slice authz_filter; /* the name of that filter; absent: the listener's rules are in force */
	struct fault_config *fault;    /* for the filter of that name; NULL: the listener's */
	struct mesh_slice fault_filter;
	struct cors_config *cors;      /* for the filter of that name; NULL: none */
	struct mesh_slice cors_filter;
};

struct virtual_host {
	struct mesh_slice name;
	struct mesh_slice *domains;
	size_t domain_count;
	struct route *routes;
	size_t route_count;
	struct retry_config *retry;
	enum hedge hedge;
	struct header_mutations mutations;
	bool include_timeout_retry;          /* x-envoy-is-timeout-retry on requests of retries */
	bool include_attempt_count;          /* x-envoy-attempt-count on requests */
	bool include_attempt_count_response;
	struct route *tls_route;             /* taken by what did not come over TLS; NULL: it may */
	uint32_t retry_shadow_buffer_bytes;  /* per_request_buffer_limit_bytes, 0: default */
};

/* A domain of one of the virtual hosts, by kind, for lookup in Envoy's order: exact, "*suffix" (longest), "prefix*" (longest), "*". */
struct domain_entry {
	struct mesh_slice text; /* lower case, without the star */
	uint32_t hash;          /* of text */
	struct virtual_host *host;
};

struct route_config {
	struct config_object object; /* name: "9080", "inbound|9080||", .. */
	struct virtual_host *hosts;
	size_t host_count;
	struct domain_entry *exact; /* sorted by text */
	size_t exact_count;
	struct domain_entry *suffix; /* longest first */
	size_t suffix_count;
	struct domain_entry *prefix; /* longest first */
	size_t prefix_count;
	struct virtual_host *any; /* "*" */
	bool ignore_port;         /* ignore_port_in_host_matching */
	bool specific_wins;       /* changes of the most specific level come last: most_specific_header_mutations_wins */
	struct mesh_slice host_header; /* virtual hosts are found by its value; absent: by the authority */
	struct header_mutations mutations;
	struct mesh_slice *internal_only_headers;
	size_t internal_only_header_count;
};

#endif
