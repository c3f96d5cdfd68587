/* SPDX-License-Identifier: Apache-2.0 */
/* Endpoint sets (ClusterLoadAssignment), compiled. Immutable. */
#ifndef MESH_CONFIG_ENDPOINT_H
#define MESH_CONFIG_ENDPOINT_H

#include "base/address.h"
#include "config/object.h"

struct label;
struct lb_label;

enum endpoint_health {
	ENDPOINT_HEALTHY, /* UNKNOWN too */
	ENDPOINT_UNHEALTHY,
	ENDPOINT_DRAINING,
	ENDPOINT_DEGRADED,
};

/* How active health checks of one endpoint differ. */
struct endpoint_check {
	bool off;                   /* it is not checked, and healthy for that */
	struct address address;     /* len 0: the endpoint's */
	uint16_t port;              /* 0: that of the address */
	struct mesh_slice hostname; /* absent: the endpoint's */
};

struct endpoint_config {
	struct mesh_slice text;     /* "ip:port"; "host:port" for DNS clusters */
	uint32_t hash;              /* of text */
	struct address address;     /* len 0: a name to resolve (DNS clusters) */
	struct mesh_slice hostname; /* endpoint.hostname; in DNS clusters, without one, the name */
	uint16_t port;
	enum endpoint_health health;
	uint32_t weight;            /* >= 1 */
	struct label *transport_labels; /* metadata envoy.transport_socket_match */
	size_t transport_label_count;
	struct lb_label *lb_labels; /* metadata envoy.lb, sorted by key */
	size_t lb_label_count;
	struct mesh_slice hash_key; /* metadata envoy.lb hash_key; absent: name or text, as the cluster says */
	struct mesh_slice workload; /* metadata istio.workload "name;ns;canonical;revision;cluster" */
	struct endpoint_check *check; /* NULL: active checks go where requests go */
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
	struct mesh_slice reason; /* why there is no endpoint, where that is known */
	bool weighted_priority_health; /* a priority is as healthy as the weight of its healthy endpoints */
};

#endif
