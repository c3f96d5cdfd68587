/* SPDX-License-Identifier: Apache-2.0 */
/* Endpoint sets (ClusterLoadAssignment), compiled. Immutable. */
#ifndef MESH_CONFIG_ENDPOINT_H
#define MESH_CONFIG_ENDPOINT_H

#include "base/address.h"
#include "config/object.h"

struct label;

enum endpoint_health {
	ENDPOINT_HEALTHY, /* UNKNOWN too */
	ENDPOINT_UNHEALTHY,
	ENDPOINT_DRAINING,
	ENDPOINT_DEGRADED,
};

struct endpoint_config {
	struct mesh_slice text;     /* "ip:port"; "host:port" for DNS clusters */
	uint32_t hash;              /* of text */
	struct address address;     /* len 0: a name to resolve (DNS clusters) */
	struct mesh_slice hostname; /* DNS clusters, or endpoint.hostname */
	uint16_t port;
	enum endpoint_health health;
	uint32_t weight;            /* >= 1 */
	struct label *transport_labels; /* metadata envoy.transport_socket_match */
	size_t transport_label_count;
	struct mesh_slice hash_key; /* metadata envoy.lb hash_key; absent: name or text, as the cluster says */
	struct mesh_slice workload; /* metadata istio.workload "name;ns;canonical;revision;cluster" */
	bool unsupported;           /* an address we cannot dial (pipe, internal listener) */
};

struct locality {
	struct mesh_slice region, zone, subzone;
	uint32_t priority;
	uint32_t weight; /* 0: takes no traffic when locality weighted */
	struct endpoint_config *endpoints;
	size_t count;
};

struct endpoint_set {
	struct config_object object; /* name: the cluster's service name */
	struct locality *localities; /* sorted by priority */
	size_t count;
	uint32_t priority_count;
	uint32_t endpoint_count;
	uint32_t overprovisioning; /* percent, 140 */
};

#endif
