/* SPDX-License-Identifier: Apache-2.0 */
/* Listeners, filter chains and the HTTP connection manager, compiled. Immutable. */
#ifndef MESH_CONFIG_LISTENER_H
#define MESH_CONFIG_LISTENER_H

#include "config/authz.h"
#include "config/http2.h"
#include "config/object.h"
#include "config/route.h"
#include "config/tls.h"
#include "config/tunnel.h"

enum http_filter_kind {
	HTTP_FILTER_AUTHZ,
	HTTP_FILTER_ALPN,          /* istio.alpn: alpn lists by upstream protocol */
	HTTP_FILTER_PEER_METADATA, /* istio.metadata_exchange */
	HTTP_FILTER_FAULT,
	HTTP_FILTER_CORS,
	HTTP_FILTER_STATS,
	HTTP_FILTER_FAIL_CLOSED,   /* security-like and not understood: 503 from here on */
	HTTP_FILTER_ROUTER,
};

struct http_filter {
	enum http_filter_kind kind;
	struct mesh_slice name;
	struct authz_config *authz;
	struct fault_config *fault; /* FAULT; NULL: none but those of routes */
	struct mesh_slice reason; /* FAIL_CLOSED: what was not understood */
	struct mesh_slice alpn_http10, alpn_http11, alpn_http2; /* ALPN: wire format */
	bool suppress_envoy_headers; /* ROUTER */
};

enum escaped_slashes {
	ESCAPED_SLASHES_KEEP,
	ESCAPED_SLASHES_REJECT,              /* 400 */
	ESCAPED_SLASHES_UNESCAPE_REDIRECT,   /* 307 to the unescaped path */
	ESCAPED_SLASHES_UNESCAPE_FORWARD,
};

enum forward_client_cert {
	FORWARD_CERT_SANITIZE,
	FORWARD_CERT_FORWARD_ONLY,
	FORWARD_CERT_APPEND_FORWARD,
	FORWARD_CERT_SANITIZE_SET,
	FORWARD_CERT_ALWAYS_FORWARD_ONLY,
};

enum http_codec {
	HTTP_CODEC_AUTO, /* by ALPN, else by the first bytes */
	HTTP_CODEC_HTTP1,
	HTTP_CODEC_HTTP2,
};

struct http_config {
	struct mesh_slice stat_prefix;
	struct mesh_slice route_name;       /* RDS name; absent when inline */
	struct route_config *inline_routes; /* a reference held by the listener */
	struct http_filter *filters;        /* in order */
	size_t filter_count;
	bool normalize_path, merge_slashes;
	enum escaped_slashes escaped_slashes;
	enum forward_client_cert forward_cert;
	bool xfcc_subject, xfcc_dns, xfcc_uri, xfcc_cert, xfcc_chain;
	struct mesh_slice server_name;      /* "istio-envoy" */
	bool server_overwrite;              /* replaces the application's own Server header (Envoy's default) */
	bool use_remote_address;            /* we are the first to see the client: x-forwarded-* is ours to write */
	bool skip_xff_append;
	uint32_t xff_trusted_hops;
	bool generate_request_id;           /* default true */
	bool preserve_request_id;
	uint32_t request_head_kb_max;       /* 0: 60 */
	uint32_t header_count_max;          /* 0: 100 */
	uint64_t requests_per_connection_max;
	int64_t idle_timeout_ns;            /* of a keep-alive connection; -1: 1 h */
	int64_t stream_idle_timeout_ns;     /* -1: 5 min; 0 none */
	int64_t request_timeout_ns;         /* whole request received; 0 none */
	int64_t request_headers_timeout_ns; /* 0 none */
	int64_t drain_timeout_ns;           /* -1: 5 s */
	int64_t connection_duration_max_ns; /* then it takes no more requests; 0 none */
	int64_t stream_duration_max_ns;     /* from a request's first byte to its answer's last; 0 none */
	bool accept_http_10;
	bool reject_underscores, drop_underscores; /* headers_with_underscores_action */
	bool proxy_100_continue;
	bool suppress_envoy_headers;        /* its router adds no x-envoy-* of its own accord */
	bool strip_host_port, strip_any_host_port;
	enum http_codec codec;
	struct http2_config http2;
	struct mesh_slice *upgrades;        /* protocols requests may change to, lower case ("websocket") */
	size_t upgrade_count;
	struct mesh_slice *closed_upgrades; /* with filters of their own, which are not run: refused whatever a route says */
	size_t closed_upgrade_count;
};

enum chain_kind {
	CHAIN_HTTP,
	CHAIN_TCP,
	CHAIN_BLACKHOLE,   /* goes to no cluster that exists: close */
	CHAIN_FAIL_CLOSED, /* security-like and not understood: close at once */
};

struct chain_match {
	uint16_t destination_port; /* 0: any */
	struct cidr *destinations;
	size_t destination_count;
	struct mesh_slice *server_names; /* lower case, "*.suffix" allowed */
	size_t server_name_count;
	struct mesh_slice transport; /* "tls", "raw_buffer", absent: any */
	struct mesh_slice *alpn;     /* "http/1.1", "h2c" for sniffed plaintext */
	size_t alpn_count;
	struct cidr *sources;
	size_t source_count;
	struct cidr *direct_sources;
	size_t direct_source_count;
	uint16_t *source_ports;
	size_t source_port_count;
	unsigned source_type; /* 0 any, 1 same ip or loopback, 2 external */
};

struct chain {
	struct mesh_slice name;
	struct chain_match match;
	enum chain_kind kind;
	struct tls_config *tls;         /* NULL: plaintext */
	struct authz_config *authz;     /* network RBAC filters, in order */
	size_t authz_count;
	struct http_config *http;       /* CHAIN_HTTP */
	struct mesh_slice tcp_cluster;  /* CHAIN_TCP; absent when weighted */
	struct weighted_cluster *tcp_weighted;
	size_t tcp_weighted_count;
	uint32_t tcp_weighted_total;
	bool tcp_hash_source;           /* connections are balanced by where they come from, where the cluster balances by hash */
	uint32_t tcp_connect_attempts;  /* max_connect_attempts; 0: 1 */
	int64_t tcp_idle_timeout_ns;    /* -1: 1 h; 0 none */
	int64_t tcp_duration_max_ns;    /* max_downstream_connection_duration; 0 none */
	struct tunnel_config *tunnel;   /* NULL: bytes go to the endpoint itself */
	struct mesh_slice tcp_stat_prefix;
	bool metadata_exchange;         /* istio.metadata_exchange on the network level */
	struct mesh_slice metadata_exchange_protocol; /* ALPN under which both sides send it ("istio-peer-exchange") */
	struct mesh_slice reason;       /* CHAIN_FAIL_CLOSED */
	int64_t transport_timeout_ns;   /* TLS handshake; 0 none */
};

struct listener_config {
	struct config_object object; /* name */
	struct mesh_slice address;   /* "0.0.0.0", "10.96.0.1", .. */
	uint32_t port;
	bool inbound;                /* traffic_direction INBOUND */
	bool outbound;
	bool use_original_dst;       /* virtualOutbound: catch-all chains */
	bool tls_inspector, http_inspector;
	int64_t filters_timeout_ns;  /* listener_filters_timeout; 0 none */
	bool continue_on_timeout;
	struct chain *chains;
	size_t chain_count;
	struct chain *default_chain;
};

#endif
