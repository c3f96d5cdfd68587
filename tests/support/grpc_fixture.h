/* SPDX-License-Identifier: Apache-2.0 */
/* A gRPC server with methods of every shape and a mesh to call it over HTTP/2; one at a time. */
#ifndef MESH_TESTS_SUPPORT_GRPC_FIXTURE_H
#define MESH_TESTS_SUPPORT_GRPC_FIXTURE_H

#include <pthread.h>

#include <mesh/grpc.h>
#include <mesh/mesh.h>

#include "grpc/testing/test.pb-c.h"
#include "support/data_plane.h"

#define GRPC_TEST_SERVICE (&grpc__testing__test_service__descriptor)

struct grpc_fixture {
	struct data_plane plane;
	struct mesh_grpc_server *server;
	struct mesh_listener *listener;
	Grpc__Testing__TestService_Service service;
	struct {
		pthread_mutex_t lock;
		pthread_cond_t changed;
		int done_code; /* of the last call that told; -1: none */
		unsigned late;
	} seen;
};

extern struct grpc_fixture *grpc_now; /* of the test that runs */

/*
 * UnaryCall echoes, with metadata and what response_status says; EmptyCall answers from another thread after 20 ms;
 * FullDuplexCall echoes; StreamingOutputCall sends `size` messages of 10000 bytes; HalfDuplexCall does nothing;
 * UnimplementedCall waits for ever; /raw.Bytes/Count counts bytes. A request that is not gRPC is answered "plain".
 */
int grpc_fixture_setup(void **state);
int grpc_fixture_teardown(void **state);

int grpc_wait_done(void);  /* the code the server was told, of echoes and waits */
void grpc_wait_late(void); /* EmptyCall has answered */
struct mesh_grpc_request grpc_request_to(const char *method);
/* UnaryCall with a payload of that size; the echo is checked unless another size was asked for */
struct mesh_grpc_call *grpc_unary_with(const struct mesh_grpc_request *request, size_t bytes, int32_t response_size);
void grpc_assert_code(struct mesh_grpc_call *call, int code);

#endif
