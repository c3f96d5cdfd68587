/* SPDX-License-Identifier: Apache-2.0 */
/* Clusters, compiled. Immutable. */
#ifndef MESH_CONFIG_CLUSTER_H
#define MESH_CONFIG_CLUSTER_H

#include "config/balance.h"
#include "config/dns.h"
#include "config/endpoint.h"
#include "config/health_check.h"
#include "config/http2.h"
#include "config/object.h"
#include "config/original_dst.h"
#include "config/tls.h"

enum cluster_kind {
	CLUSTER_EDS,
	CLUSTER_STATIC,
	CLUSTER_STRICT_DNS,
	CLUSTER_LOGICAL_DNS,
	CLUSTER_ORIGINAL_DST,
	CLUSTER_UNSUPPORTED, /* a custom type: calls to it fail, nothing else does */
};

enum lb_kind {
	LB_ROUND_ROBIN,
	LB_LEAST_REQUEST,
	LB_RANDOM,
	LB_RING_HASH,
	LB_MAGLEV,
	LB_CLUSTER_PROVIDED, /* original destination */
};

struct label {
	struct mesh_slice key;
	struct mesh_slice value;
};

/* One of transport_socket_matches, or the cluster's plain transport_socket. */
struct transport_choice {
	struct mesh_slice name;
	struct label *match; /* all must be in the endpoint's transport labels */
	size_t match_count;
	struct tls_config *tls; /* NULL: raw */
	bool unsupported;       /* tunnel (hbone), names by host and others: an endpoint that selects it cannot be used */
};

struct circuit_breaker {
	uint32_t connections, pending, requests, retries; /* UINT32_MAX: no limit */
	bool has_budget;
	double budget_percent;
	uint32_t budget_min;
	bool track_remaining;
	uint32_t host_connections; /* to one endpoint, where `host_limited` */
	bool host_limited;
};

struct outlier_config {
	bool on;
	uint32_t consecutive_5xx, consecutive_gateway, consecutive_local;
	uint32_t enforcing_5xx, enforcing_gateway, enforcing_local; /* percent */
	uint32_t enforcing_success_rate, success_rate_minimum_hosts, success_rate_request_volume, success_rate_stdev_factor;
	uint32_t enforcing_failure, failure_threshold, failure_minimum_hosts, failure_request_volume;
	uint32_t enforcing_local_success_rate, enforcing_local_failure;
	int64_t interval_ns, base_ejection_ns, max_ejection_ns, max_ejection_jitter_ns;
	uint32_t max_ejection_percent;
	bool split_local;
	bool always_eject_one;
	bool check_unejects; /* an active check that succeeds brings an ejected endpoint back */
};

enum upstream_protocol {
	UPSTREAM_HTTP1,
	UPSTREAM_HTTP2,
	UPSTREAM_DOWNSTREAM, /* use_downstream_protocol_config */
	UPSTREAM_AUTO,       /* by ALPN */
};

struct cluster_config {
	struct config_object object; /* name */
	uint32_t hash;               /* mesh_slice_hash(name) */
	enum cluster_kind kind;
	struct mesh_slice eds_name;  /* service name to ask for; the cluster's name by default */
	struct mesh_slice stat_name; /* alt_stat_name: what command operators call it; absent: its name */
	struct endpoint_set *inline_endpoints; /* STATIC and DNS (names): load_assignment; a reference held */
	struct dns_config *dns;      /* STRICT_DNS, LOGICAL_DNS */
	enum lb_kind lb;
	uint32_t least_request_choices; /* 2 */
	double least_request_bias;      /* 1.0 */
	uint64_t ring_min, ring_max;    /* 1024, 8 Mi */
	bool ring_murmur;               /* MURMUR_HASH_2 instead of XX_HASH */
	uint64_t maglev_size;           /* prime; 65537 */
	bool hash_by_hostname;          /* consistent hashing places endpoints by name */
	double panic_percent;           /* 50 */
	bool locality_weighted;         /* locality_weighted_lb_config or wrr_locality */
	bool fail_traffic_on_panic;
	struct balance_config balance;
	int64_t connect_timeout_ns;     /* default 5 s */
	struct transport_choice *matches;
	size_t match_count;
	struct transport_choice fallback; /* transport_socket, else raw */
	struct circuit_breaker breaker, breaker_high; /* of requests of default and of high priority */
	struct outlier_config outlier;
	double preconnect;              /* connections for each that is needed, 1..3; 0: as 1 */
	double preconnect_ahead;        /* the same of the cluster as a whole, to the endpoints that come next */
	enum upstream_protocol protocol;
	struct http2_config http2;
	bool metadata_exchange;         /* filters[]: istio.metadata_exchange for TCP */
	struct mesh_slice metadata_exchange_protocol; /* ALPN under which both sides send it */
	uint64_t requests_per_connection_max; /* 0: any */
	int64_t idle_timeout_ns;        /* of pooled connections; -1: 1 h; 0 none */
	int64_t connection_duration_max_ns; /* 0 none */
	uint32_t header_count_max;      /* 0: 100 */
	struct original_dst_config original_dst;
	struct request_names names;     /* of TLS, from the request */
	bool close_on_health_failure, ignore_health_on_removal;
	struct health_check_config *health_check; /* active; NULL: none */
	bool close_on_set_change;       /* any change of the set of endpoints ends pooled connections to all of them */
	bool ignore_unchecked;          /* new endpoints do not count until they were checked (ignore_new_hosts_until_first_hc) */
	bool alpn_override;             /* metadata istio.alpn_override != "false" */
	struct mesh_slice metadata_istio_services; /* "host;name;ns" of metadata.filter_metadata.istio.services[0], absent */
	struct address bind;            /* connections come from there; len 0: as the system chooses */
	bool bind_anywhere;             /* though it may be none of ours (freebind) */
	bool tcp_keepalive;
	uint32_t tcp_keepalive_probes, tcp_keepalive_time_s, tcp_keepalive_interval_s;
};

#endif
