/* SPDX-License-Identifier: Apache-2.0 */
/* A mesh without a control plane: tests publish hand-made snapshots. Plaintext, one service on loopback. */
#ifndef MESH_TESTS_SUPPORT_DATA_PLANE_H
#define MESH_TESTS_SUPPORT_DATA_PLANE_H

#include "call/mesh.h"

struct data_plane {
	struct mesh *mesh;
	uint64_t version;
	uint16_t ports[8]; /* endpoints of the cluster */
	size_t port_count;
	struct retry_config *retry; /* of its only route; NULL: none */
	int64_t timeout_ns;
	struct circuit_breaker breaker;
};

/* Opens a mesh with `workers` library workers and everything unlimited. */
int data_plane_open(struct data_plane *plane, unsigned workers, const struct mesh_mem *mem);
/* Publishes: port 9080 routes "reviews" to the endpoints, any inbound port takes plaintext HTTP. */
void data_plane_publish(struct data_plane *plane);
void data_plane_close(struct data_plane *plane);

#endif
