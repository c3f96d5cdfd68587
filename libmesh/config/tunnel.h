/* SPDX-License-Identifier: Apache-2.0 */
/* A TCP proxy whose connections go through a proxy of HTTP, which is asked for them by CONNECT. */
#ifndef MESH_CONFIG_TUNNEL_H
#define MESH_CONFIG_TUNNEL_H

#include "base/slice.h"

struct tunnel_header {
	struct mesh_slice name, value;
};

struct tunnel_config {
	struct mesh_slice target;      /* "host:port" */
	struct tunnel_header *headers; /* of the request, besides */
	size_t header_count;
};

#endif
