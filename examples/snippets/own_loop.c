/* SPDX-License-Identifier: Apache-2.0 */
/* A worker in the application's own event loop: add its descriptor, run it when it is readable. */
#include <mesh/mesh.h>
#include <poll.h>
#include <stdio.h>

static void done(struct mesh_call *call, void *user)
{
	*(int *)user = 1;
	printf("%d %s\n", mesh_call_http_status(call), mesh_error_name(mesh_call_result(call)->status));
}

int main(void)
{
	const struct mesh_call_events events = {.size = sizeof(events), .done = done};
	struct mesh_request request = {.size = sizeof(request), .authority = mesh_slice_of("reviews:9080")};
	struct mesh_call *call = NULL;
	struct mesh *mesh;
	int finished = 0, rc = mesh_open(NULL, &mesh);

	if (rc)
		return 1;
	rc = mesh_wait_ready(mesh, 30000);
	if (!rc)
		rc = mesh_worker_new(mesh, &request.worker);
	if (!rc)
		rc = mesh_call_start(mesh, &request, &events, &finished, &call);
	while (!rc && !finished) {
		struct pollfd io = {.fd = mesh_worker_fd(request.worker), .events = POLLIN};

		poll(&io, 1, -1); /* among the application's own descriptors */
		mesh_worker_run(request.worker, 0);
	}
	mesh_call_release(call);
	mesh_worker_free(request.worker);
	mesh_close(mesh);
	return rc ? 1 : 0;
}
