/* SPDX-License-Identifier: Apache-2.0 */
/* A mesh without a control plane: tests publish hand-made snapshots of one service on loopback. */
#ifndef MESH_TESTS_SUPPORT_DATA_PLANE_H
#define MESH_TESTS_SUPPORT_DATA_PLANE_H

#include "call/mesh.h"

enum data_plane_inbound {
	DATA_PLANE_DISABLE,    /* plaintext alone */
	DATA_PLANE_STRICT,     /* mutual TLS alone */
	DATA_PLANE_PERMISSIVE, /* either, told apart by the first bytes */
};

/* A further cluster, with one endpoint or none. */
struct data_plane_cluster {
	const char *name;
	uint16_t port; /* 0: none */
};

struct data_plane {
	struct mesh *mesh;
	uint64_t version;
	uint16_t ports[8]; /* endpoints of the cluster */
	size_t port_count;
	struct data_plane_cluster more[4]; /* beside it */
	size_t more_count;
	struct retry_config *retry; /* of its only route; NULL: none */
	int64_t timeout_ns;
	struct circuit_breaker breaker;
	/* TLS: certificate and roots of both sides, borrowed; without them the secrets are there but cannot be used */
	enum data_plane_inbound inbound;
	struct secret *certificate, *roots;
	const struct tls_config *server_tls; /* of the inbound TLS chain; NULL: as Istio sets it up */
	const struct tls_config *client_tls; /* of the cluster; NULL: plaintext */
	/* last word on what is published; any may be NULL */
	void (*edit_chain)(struct data_plane *plane, struct chain *chain, struct arena *arena, bool inbound);
	void (*edit_listener)(struct data_plane *plane, struct listener_config *listener, bool inbound);
	void (*edit_routes)(struct data_plane *plane, struct route_config *routes, bool inbound);
	void (*edit_cluster)(struct data_plane *plane, struct cluster_config *cluster);
	void (*edit_endpoints)(struct data_plane *plane, struct endpoint_set *set);
	void *user; /* for the above */
};

/* Mutual TLS as Istio sets it up in a cluster: the server's exact identity, ALPN "istio", our certificate shown. */
extern const struct tls_config data_plane_istio_client, data_plane_istio_server;

#define DATA_PLANE_ALICE "spiffe://cluster.local/ns/default/sa/alice"

/* An edit_chain: inbound, an authorization rule lets in who shows that identity, and nobody else. */
void data_plane_admit_alice(struct data_plane *plane, struct chain *chain, struct arena *arena, bool inbound);

/* Opens a mesh with `workers` library workers and everything unlimited. */
int data_plane_open(struct data_plane *plane, unsigned workers, const struct mesh_mem *mem);
/* Publishes: port 9080 routes "reviews" to the endpoints, any inbound port takes HTTP as `inbound` says. */
void data_plane_publish(struct data_plane *plane);
/* The same, of the first cluster's endpoints alone: all else is what was published last. */
void data_plane_publish_endpoints(struct data_plane *plane);
void data_plane_close(struct data_plane *plane);

#endif
