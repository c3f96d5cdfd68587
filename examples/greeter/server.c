/* SPDX-License-Identifier: Apache-2.0 */
/* Says hello, once (a generated service) and to everybody in a stream, and tells of its health. */
#include <mesh/grpc.h>
#include <mesh/mesh.h>

#include <greeter.pb-c.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

static const char usage[] =
	"usage: greeter-server [PORT]\n"
	"Serves greeter.Greeter and grpc.health.v1.Health on that port (9090; 0: any free one) of the mesh that the environment\n"
	"says (README.md, \"Joining\"), until SIGTERM. Exit status: 0 after that, 1 it could not join or listen, 2 the command line.\n";

static void say_hello(Greeter__Greeter_Service *service, const Greeter__HelloRequest *request,
		      Greeter__HelloReply_Closure closure, void *closure_data)
{
	Greeter__HelloReply reply = GREETER__HELLO_REPLY__INIT;
	char text[300];

	snprintf(text, sizeof(text), "hello, %s", request->name);
	reply.text = text;
	closure(&reply, closure_data); /* now or later; closure_data is the struct mesh_grpc_call */
}

/* SayHelloToAll is a stream: the stub of the service is not called for it. */
static void message(struct mesh_grpc_call *call, const struct ProtobufCMessage *one, struct mesh_slice bytes,
		    void *user)
{
	Greeter__HelloReply reply = GREETER__HELLO_REPLY__INIT;

	reply.text = ((const Greeter__HelloRequest *)one)->name;
	if (mesh_grpc_send(call, &reply.base) ==
	    MESH_ERROR_AGAIN) /* a longer stream would pause, and go on when writable */
		mesh_grpc_finish(call, &(struct mesh_grpc_result){.size = sizeof(struct mesh_grpc_result),
								  .code = MESH_GRPC_RESOURCE_EXHAUSTED});
}

static void end(struct mesh_grpc_call *call, void *user)
{
	mesh_grpc_finish(call, NULL);
}

static void say_hello_to_all(struct mesh_grpc_call *call, void *user)
{
	static const struct mesh_grpc_events events = {.size = sizeof(events), .message = message, .end = end};

	mesh_grpc_on(call, &events, NULL);
}

static int take_port(const char *text, uint16_t *port)
{
	char *end;
	unsigned long value = strtoul(text, &end, 10);

	*port = (uint16_t)value;
	return *text >= '0' && *text <= '9' && !*end && value <= 65535 ? 0 : -1;
}

int main(int argc, char **argv)
{
	char why[512] = "";
	struct mesh_options join = {.size = sizeof(join), .error_buffer = why, .error_buffer_bytes = sizeof(why)};
	Greeter__Greeter_Service service = {.base = GREETER__GREETER__BASE_INIT, .say_hello = say_hello};
	struct mesh_listen_options listen = {.size = sizeof(listen), .port = 9090, .handler = mesh_grpc_handle};
	struct mesh_grpc_server *server = NULL;
	struct mesh_listener *listener = NULL;
	struct mesh *mesh = NULL;
	sigset_t ends;
	int rc, number;

	if (argc > 2 || (argc == 2 && take_port(argv[1], &listen.port)))
		return fputs(usage, stderr), 2;
	sigemptyset(&ends);
	sigaddset(&ends, SIGTERM);
	pthread_sigmask(SIG_BLOCK, &ends, NULL); /* before there are threads */
	rc = mesh_open(&join, &mesh);
	if (!rc)
		rc = mesh_grpc_server_new(mesh, NULL, &server);
	if (!rc)
		rc = mesh_grpc_server_on(server, &greeter__greeter__descriptor, "SayHelloToAll", say_hello_to_all,
					 NULL);
	if (!rc)
		rc = mesh_grpc_server_add(server, &service.base);
	if (!rc)
		rc = mesh_grpc_health_add(server);
	listen.user = server;
	if (!rc)
		rc = mesh_listen(mesh, &listen, &listener);
	if (rc) {
		fprintf(stderr, "greeter-server: %s%s%s\n", mesh_error_text(rc), *why ? ": " : "", why);
	} else {
		printf("listening on port %u\n", mesh_listener_port(listener));
		fflush(stdout);
		sigwait(&ends, &number);
		mesh_drain(mesh, 5000);
	}
	mesh_listener_close(listener);
	mesh_grpc_server_free(server);
	mesh_close(mesh);
	return rc ? 1 : 0;
}
