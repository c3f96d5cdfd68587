/* SPDX-License-Identifier: Apache-2.0 */
/* A server: the mesh decides who may call, the handler answers. */
#include <mesh/mesh.h>
#include <signal.h>

static void hello(struct mesh_call *call, void *user)
{
	const struct mesh_peer *peer = mesh_call_peer(call);

	mesh_call_respond(call, 200, NULL, 0, peer->identity.len ? peer->identity : mesh_slice_of("somebody"), true);
}

int main(void)
{
	struct mesh_listen_options options = {.size = sizeof(options), .port = 9080, .handler = hello, .request_bytes_max = 65536};
	struct mesh_listener *listener = NULL;
	struct mesh *mesh = NULL;
	sigset_t ends;
	int rc, number;

	sigemptyset(&ends);
	sigaddset(&ends, SIGTERM);
	sigprocmask(SIG_BLOCK, &ends, NULL); /* before there are threads, for sigwait */
	rc = mesh_open(NULL, &mesh);
	if (!rc)
		rc = mesh_listen(mesh, &options, &listener);
	if (!rc && !sigwait(&ends, &number))
		mesh_drain(mesh, 5000);
	mesh_listener_close(listener);
	mesh_close(mesh);
	return rc ? 1 : 0;
}
