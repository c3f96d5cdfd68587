/* SPDX-License-Identifier: Apache-2.0 */
/* One side of a libmesh pair as a mesh would set it up, published without a control plane. */
#ifndef MESH_TESTS_BENCH_MESH_PLANE_H
#define MESH_TESTS_BENCH_MESH_PLANE_H

#include "support/data_plane.h"

enum mesh_plane_protocol { MESH_PLANE_HTTP1, MESH_PLANE_HTTP2 };

/*
 * Opens a client's or server's side with its certificate from DIR (ca.pem, client.pem, client.key, server.pem,
 * server.key): routing, balancing, mutual TLS and RBAC for one service, called with `protocol`. Publishing it is the
 * caller's. Ends the program when it cannot.
 */
void mesh_plane_open(struct data_plane *plane, const char *dir, bool server, enum mesh_plane_protocol protocol,
		     const struct mesh_mem *mem);
void mesh_plane_close(struct data_plane *plane);
/* Publishes and opens a listener on any port of loopback. */
struct mesh_listener *mesh_plane_listen(struct data_plane *plane, mesh_handler_fn *handler, void *user,
					size_t request_bytes_max);
/* The same, prints the port and serves until the input ends. */
void mesh_plane_serve(struct data_plane *plane, mesh_handler_fn *handler, void *user, size_t request_bytes_max);

#endif
