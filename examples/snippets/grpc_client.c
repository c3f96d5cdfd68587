/* SPDX-License-Identifier: Apache-2.0 */
/* A unary gRPC call with generated messages (examples/greeter/greeter.proto). */
#include <greeter.pb-c.h>
#include <mesh/grpc.h>
#include <mesh/mesh.h>
#include <stdio.h>

int main(void)
{
	Greeter__HelloRequest request = GREETER__HELLO_REQUEST__INIT;
	struct mesh_grpc_request to = {.size = sizeof(to),
				       .authority = mesh_slice_of("greeter:9090"),
				       .service = &greeter__greeter__descriptor,
				       .method = "SayHello",
				       .deadline_ms = 1000};
	struct mesh_grpc_call *call;
	struct mesh *mesh;
	int code = mesh_open(NULL, &mesh);

	if (code)
		return fprintf(stderr, "%s\n", mesh_error_text(code)), 1;
	request.name = "you";
	code = mesh_wait_ready(mesh, 30000);
	if (!code)
		code = mesh_grpc_unary(mesh, &to, &request.base, &call);
	if (code < 0)
		fprintf(stderr, "%s\n", mesh_error_text(code));
	else if (code == MESH_GRPC_OK)
		printf("%s\n", ((const Greeter__HelloReply *)mesh_grpc_reply(call))->text);
	else
		printf("%s %.*s\n", mesh_grpc_code_name(code), (int)mesh_grpc_result(call)->message.len,
		       mesh_grpc_result(call)->message.data);
	if (code >= 0)
		mesh_grpc_release(call);
	mesh_close(mesh);
	return code ? 1 : 0;
}
