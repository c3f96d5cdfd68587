/* SPDX-License-Identifier: Apache-2.0 */
/* A gRPC server: the generated service (examples/greeter/greeter.proto) behind a port of the mesh. */
#include <greeter.pb-c.h>
#include <mesh/grpc.h>
#include <mesh/mesh.h>
#include <signal.h>

static void say_hello(Greeter__Greeter_Service *service, const Greeter__HelloRequest *request,
		      Greeter__HelloReply_Closure closure, void *closure_data)
{
	Greeter__HelloReply reply = GREETER__HELLO_REPLY__INIT;

	reply.text = request->name;
	closure(&reply, closure_data); /* now or later, also from another thread */
}

int main(void)
{
	Greeter__Greeter_Service service = {.base = GREETER__GREETER__BASE_INIT, .say_hello = say_hello};
	struct mesh_listen_options options = {.size = sizeof(options), .port = 9090, .handler = mesh_grpc_handle};
	struct mesh_grpc_server *server = NULL;
	struct mesh_listener *listener = NULL;
	struct mesh *mesh = NULL;
	sigset_t ends;
	int rc = sigemptyset(&ends) | sigaddset(&ends, SIGTERM), number;

	sigprocmask(SIG_BLOCK, &ends, NULL); /* before there are threads, for sigwait */
	rc = rc ? rc : mesh_open(NULL, &mesh);
	rc = rc ? rc : mesh_grpc_server_new(mesh, NULL, &server);
	rc = rc ? rc : mesh_grpc_server_add(server, &service.base);
	options.user = server;
	rc = rc ? rc : mesh_listen(mesh, &options, &listener);
	if (!rc && !sigwait(&ends, &number))
		mesh_drain(mesh, 5000);
	mesh_listener_close(listener);
	mesh_grpc_server_free(server);
	mesh_close(mesh);
	return rc ? 1 : 0;
}
