/* SPDX-License-Identifier: Apache-2.0 */
/* Greets the first by a unary call, then all of them in a stream. */
#include <mesh/grpc.h>
#include <mesh/mesh.h>

#include <greeter.pb-c.h>
#include <stdio.h>

static const char usage[] =
	"usage: greeter-client HOST:PORT NAME..\n"
	"Has the first greeted by a unary call and then all of them in a stream, in the mesh that the environment says\n"
	"(README.md, \"Joining\"). Exit status: 0 all were, 1 not, 2 the command line or the joining failed.\n";

static int tell(const char *what, struct mesh_grpc_call *call, int code)
{
	const struct mesh_grpc_result *result = mesh_grpc_result(call);

	if (code < 0)
		printf("%s: %s\n", what, mesh_error_text(code));
	else if (code)
		printf("%s: %s %.*s\n", what, mesh_grpc_code_name(code), (int)result->message.len,
		       result->message.data);
	return code != MESH_GRPC_OK;
}

static int greet_one(struct mesh *mesh, struct mesh_grpc_request *to, char *name)
{
	Greeter__HelloRequest request = GREETER__HELLO_REQUEST__INIT;
	struct mesh_grpc_call *call;
	int code;

	to->method = "SayHello";
	request.name = name;
	code = mesh_grpc_unary(mesh, to, &request.base, &call);
	if (code == MESH_GRPC_OK)
		printf("%s\n", ((const Greeter__HelloReply *)mesh_grpc_reply(call))->text);
	code = tell("SayHello", call, code);
	mesh_grpc_release(call);
	return code;
}

static int greet_all(struct mesh *mesh, struct mesh_grpc_request *to, char **names)
{
	Greeter__HelloRequest request = GREETER__HELLO_REQUEST__INIT;
	const struct ProtobufCMessage *reply;
	struct mesh_grpc_call *call = NULL;
	int rc;

	to->method = "SayHelloToAll";
	rc = mesh_grpc_call_start(mesh, to, NULL, NULL, &call);
	for (; *names && !rc; names++) {
		request.name = *names;
		rc = mesh_grpc_send(call, &request.base);
		if (!rc && mesh_grpc_receive(call, 5000, &reply, NULL) == 1)
			printf("%s was greeted\n", ((const Greeter__HelloReply *)reply)->text);
	}
	if (!rc)
		rc = mesh_grpc_end(call);
	if (!rc)
		rc = mesh_grpc_wait(call, 5000);
	rc = tell("SayHelloToAll", call, rc);
	mesh_grpc_release(call);
	return rc;
}

int main(int argc, char **argv)
{
	struct mesh_grpc_request to = {
		.size = sizeof(to), .service = &greeter__greeter__descriptor, .deadline_ms = 5000};
	char why[512] = "";
	struct mesh_options join = {.size = sizeof(join), .error_buffer = why, .error_buffer_bytes = sizeof(why)};
	struct mesh *mesh = NULL;
	int rc;

	if (argc < 3)
		return fputs(usage, stderr), 2;
	to.authority = mesh_slice_of(argv[1]);
	rc = mesh_open(&join, &mesh);
	if (!rc) {
		rc = mesh_wait_ready(mesh, 30000);
		mesh_status_text(mesh, why, sizeof(why));
	}
	if (rc) {
		fprintf(stderr, "greeter-client: %s: %s\n", mesh_error_text(rc), why);
		rc = 2;
	} else {
		rc = greet_one(mesh, &to, argv[2]) | greet_all(mesh, &to, argv + 2) ? 1 : 0;
	}
	mesh_close(mesh);
	return rc;
}
