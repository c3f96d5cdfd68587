/* SPDX-License-Identifier: Apache-2.0 */
/* Two meshes in one process, a TCP service between them: "reviews:9080" of the client is a listener of the server. */
#ifndef MESH_TESTS_SUPPORT_TCP_PAIR_H
#define MESH_TESTS_SUPPORT_TCP_PAIR_H

#include <mesh/mesh.h>

#include "support/data_plane.h"
#include "support/test_ca.h"

#define TCP_PAIR_SERVER "spiffe://cluster.local/ns/default/sa/bob"
#define TCP_PAIR_CLIENT "spiffe://cluster.local/ns/default/sa/alice"

struct tcp_pair {
	struct test_ca ca;
	struct data_plane client, server;
	struct mesh_listener *listener;
	/* what configuration says; tcp_pair_publish brings it into force */
	bool plaintext;
	bool exchange;           /* metadata, with "istio-peer-exchange" */
	int64_t idle_ns, duration_ns; /* of either side's chain: -1 and 0 as Envoy's defaults */
	uint32_t attempts;
	void (*edit_chain)(struct tcp_pair *pair, struct chain *chain, struct arena *arena, bool inbound);
	void (*edit_listener)(struct tcp_pair *pair, struct listener_config *listener, bool inbound);
	void (*edit_cluster)(struct tcp_pair *pair, struct cluster_config *cluster);
	/* what the server does with a connection: NULL: sends back what comes and ends when the client did */
	mesh_stream_handler_fn *handler;
	const char *first;       /* the echo begins by saying this */
	void *user;
	/* what the echo saw last, and counted */
	char identity[256], workload_id[256];
	bool mutual;
	int result;
	atomic_int accepted, closed, ended;
	atomic_size_t bytes;
};

/* One library worker each. `mem`: the client's, NULL: the C library's. */
void tcp_pair_open(struct tcp_pair *pair, const struct mesh_mem *mem);
void tcp_pair_publish(struct tcp_pair *pair);
void tcp_pair_close(struct tcp_pair *pair);
/* Dials "reviews:9080" from the calling thread. */
struct mesh_stream *tcp_pair_dial(struct tcp_pair *pair);
/* Blocking; each gives up after 10 s. 0 or the error; *got < bytes: the end came. */
int tcp_pair_write(struct mesh_stream *stream, const void *data, size_t bytes);
int tcp_pair_read(struct mesh_stream *stream, void *buffer, size_t bytes, size_t *got);
int tcp_pair_shutdown(struct mesh_stream *stream);
/* cmocka's: a pair over mutual TLS, or without, and its end. */
int tcp_pair_setup(void **state);
int tcp_pair_setup_plain(void **state);
int tcp_pair_teardown(void **state);
void tcp_pair_nap(long ms);
struct mesh_worker *tcp_pair_worker(struct tcp_pair *pair); /* a borrowed one of the client's */
void tcp_pair_drive(struct mesh_worker *worker, atomic_int *counter, int value); /* until the counter is there; asserts */
bool tcp_pair_until(atomic_int *counter, int value); /* false: not within 10 s */

#endif
