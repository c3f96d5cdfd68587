/* SPDX-License-Identifier: Apache-2.0 */
/* Active health checks of a cluster, compiled. Immutable. */
#ifndef MESH_CONFIG_HEALTH_CHECK_H
#define MESH_CONFIG_HEALTH_CHECK_H

#include "config/match.h"

struct label;
struct route;

enum health_check_kind {
	HEALTH_CHECK_HTTP,
	HEALTH_CHECK_TCP,
	HEALTH_CHECK_GRPC,
};

struct status_range {
	int first, last; /* inclusive */
};

struct health_check_config {
	enum health_check_kind kind;
	int64_t timeout_ns, interval_ns;
	int64_t initial_jitter_ns, interval_jitter_ns;
	uint32_t interval_jitter_percent;
	uint32_t unhealthy_threshold, healthy_threshold;
	int64_t no_traffic_ns, no_traffic_healthy_ns; /* between checks while nobody ever connected to the cluster */
	int64_t unhealthy_ns, unhealthy_edge_ns, healthy_edge_ns;
	uint16_t alt_port;          /* 0: the endpoint's */
	bool reuse_connection;
	struct mesh_slice alpn;     /* wire format; absent: the transport socket's */
	bool has_criteria;          /* labels of its own choose the transport socket, instead of the endpoint's */
	struct label *criteria;     /* sorted by key */
	size_t criteria_count;
	/* HTTP and TCP */
	struct mesh_slice send;
	struct mesh_slice *receive; /* pieces that must come in this order */
	size_t receive_count;
	/* HTTP */
	bool http2;
	struct mesh_slice method, path;
	size_t response_max;        /* bytes of the body looked at; 0: no bound but ours */
	struct status_range *expected, *retriable;
	size_t expected_count, retriable_count;
	struct string_match *service_name; /* of x-envoy-upstream-healthchecked-cluster; NULL: any */
	/* HTTP and gRPC */
	struct mesh_slice authority; /* absent: the endpoint's host name, else the cluster's name */
	struct route *changes;       /* of the request's headers: nothing else of it is filled in; NULL: none */
	/* gRPC */
	struct mesh_slice service;
};

#endif
