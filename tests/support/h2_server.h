/* SPDX-License-Identifier: Apache-2.0 */
/* A listener that serves HTTP/2 in plaintext to scripted clients, and what its handler saw. */
#ifndef MESH_TESTS_SUPPORT_H2_SERVER_H
#define MESH_TESTS_SUPPORT_H2_SERVER_H

#include <stdatomic.h>

#include <mesh/mesh.h>

#include "support/data_plane.h"
#include "support/failing_mem.h"
#include "support/h2_script.h"

/*
 * The handler answers by path: "/hold" not at all until the call ends, "/large" with as many bytes as `large_bytes` says as
 * there is room for them, "/pause" as "/hold" and without taking its body, "/nobody" without a body, all others with "METHOD path|body|trailer x-end".
 */
struct h2_server {
	struct failing_mem mem; /* never fails: counts what the mesh holds */
	struct data_plane plane;
	struct mesh_listener *listener;
	uint16_t port;
	/* set before h2_server_listen */
	struct http2_config http2;
	enum http_codec codec;
	int64_t stream_idle_ns; /* 0: none */
	size_t body_max;        /* > 0: the handler is called with the whole body */
	size_t large_bytes;
	uint32_t head_kb_max, header_count_max;
	/* what the handler saw */
	atomic_uint calls, done, failed;
	atomic_size_t taken; /* body bytes it was given as they came */
	atomic_int error;    /* of the last that failed */
	char why[256];       /* of the same; read it once `failed` has grown */
	size_t marked;
};

int h2_server_open(void **state);
int h2_server_close(void **state); /* fails the test when the mesh kept memory */
void h2_server_listen(struct h2_server *server);
/* A connection that has said `line`, which begins with its preface. */
void h2_server_connect(struct h2_server *server, struct h2_peer *peer, const char *line);
void h2_server_disconnect(struct h2_peer *peer);
/* A new connection is served whatever happened to others. */
void h2_server_assert_serves(struct h2_server *server);
/* Waits until `counter` is at least `value`. */
void h2_server_await(atomic_uint *counter, unsigned value);
/* What the mesh holds may grow by so much at most from here on, until it is asked. */
void h2_server_mark_memory(struct h2_server *server);
size_t h2_server_grown(struct h2_server *server);

#endif
