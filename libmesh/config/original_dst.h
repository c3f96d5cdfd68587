/* SPDX-License-Identifier: Apache-2.0 */
/* Where a cluster of type ORIGINAL_DST sends: to the address asked for, unless this says otherwise. */
#ifndef MESH_CONFIG_ORIGINAL_DST_H
#define MESH_CONFIG_ORIGINAL_DST_H

#include "base/slice.h"

struct original_dst_config {
	struct mesh_slice header; /* a request header, lower case, with an "ip:port" that goes first; absent: none */
	uint16_t port;            /* instead of the port asked for; 0: none */
	int64_t cleanup_ns;       /* an address without connections is kept for one to two of it */
};

/* Names of TLS that come from the request, for clusters whose tls_config has upstream_auto_sni or upstream_auto_san. */
struct request_names {
	bool wanted;
	struct mesh_slice header; /* whose value goes before the host, lower case; absent: none */
};

#endif
