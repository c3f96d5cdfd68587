/* SPDX-License-Identifier: Apache-2.0 */
/* A set of methods behind a listener; between grpc_server.c, grpc_serve.c and grpc_health.c. */
#ifndef MESH_API_GRPC_SERVER_H
#define MESH_API_GRPC_SERVER_H

#include "api/grpc_call.h"
#include "base/map.h"

struct grpc_health;

struct grpc_method {
	struct mesh_slice path;
	const ProtobufCMethodDescriptor *descriptor; /* NULL: bytes */
	ProtobufCService *service; /* whose function is called with the whole request; NULL: `handler` */
	unsigned index;
	mesh_grpc_method_fn *handler;
	void *user;
};

struct mesh_grpc_server {
	struct mesh *mesh;
	struct mesh_grpc_server_options options;
	struct arena arena;
	struct map methods; /* by path */
	struct grpc_health *health;
};

void mesh_grpc_health_free(struct grpc_health *health); /* grpc_health.c; NULL allowed */

#endif
