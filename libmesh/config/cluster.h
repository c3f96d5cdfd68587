/* SPDX-License-Identifier: Apache-2.0 */
/* Clusters, compiled. Immutable. */
#ifndef MESH_CONFIG_CLUSTER_H
#define MESH_CONFIG_CLUSTER_H

#include "config/endpoint.h"
#include "config/http2.h"
#include "config/object.h"
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
};

struct outlier_config {
	bool on;
	uint32_t consecutive_5xx, consecutive_gateway, consecutive_local;
	uint32_t enforcing_5xx, enforcing_gateway, enforcing_local; /* percent */
	uint32_t enforcing_success_rate, success_rate_minimum_hosts, success_rate_request_volume, success_rate_stdev_factor;
	uint32_t enforcing_failure, failure_threshold, failure_minimum_hosts, failure_request_volume;
	int64_t interval_ns, base_ejection_ns, max_ejection_ns, max_ejection_jitter_ns;
	uint32_t max_ejection_percent;
	bool split_local;
	bool always_eject_one;
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
	struct endpoint_set *inline_endpoints; /* STATIC and DNS: load_assignment; a reference held */
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
	int64_t slow_start_ns;          /* 0: off */
	int64_t connect_timeout_ns;     /* default 5 s */
	struct transport_choice *matches;
	size_t match_count;
	struct transport_choice fallback; /* transport_socket, else raw */
	struct circuit_breaker breaker;   /* default priority */
	struct outlier_config outlier;
	enum upstream_protocol protocol;
	struct http2_config http2;
	bool metadata_exchange;         /* filters[]: istio.metadata_exchange for TCP */
	struct mesh_slice metadata_exchange_protocol; /* ALPN under which both sides send it */
	uint64_t requests_per_connection_max; /* 0: any */
	int64_t idle_timeout_ns;        /* of pooled connections; -1: 1 h; 0 none */
	int64_t connection_duration_max_ns; /* 0 none */
	uint32_t header_count_max;      /* 0: 100 */
	bool close_on_health_failure, ignore_health_on_removal;
	bool alpn_override;             /* metadata istio.alpn_override != "false" */
	struct mesh_slice metadata_istio_services; /* "host;name;ns" of metadata.filter_metadata.istio.services[0], absent */
	bool tcp_keepalive;
	uint32_t tcp_keepalive_probes, tcp_keepalive_time_s, tcp_keepalive_interval_s;
};

#endif
