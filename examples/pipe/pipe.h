/* SPDX-License-Identifier: Apache-2.0 */
/* mesh-pipe: a netcat for the mesh. copy.c is its client, echo.c its server. */
#ifndef MESH_EXAMPLES_PIPE_H
#define MESH_EXAMPLES_PIPE_H

#include <mesh/mesh.h>

struct pipe_options {
	const char *target;      /* client: HOST:PORT */
	const char *server_name; /* client: SNI of TLS that goes through */
	const char *first;       /* server: says this first */
	bool server_first;       /* client: waits for the peer's first words */
	bool listen;
	unsigned port;
	unsigned ready_ms;
	bool verbose;
};

/* Copies standard input to a stream and the stream to standard output until the peer ends. An exit status. */
int copy_run(struct mesh *mesh, const struct pipe_options *options);
/* Sends back what comes, on every connection; events do it. */
void echo_stream(struct mesh_stream *stream, void *options);
/* "peer: identity, address, workload" on standard error. */
void print_peer(struct mesh_stream *stream);

#endif
