/* SPDX-License-Identifier: Apache-2.0 */
/* Callbacks on one of the library's own threads. */
#include <mesh/mesh.h>
#include <stdio.h>

static void data(struct mesh_call *call, struct mesh_slice piece, void *user)
{
	fwrite(piece.data, 1, piece.len, user);
}

static void done(struct mesh_call *call, void *user)
{
	fprintf(user, "\n%d %s\n", mesh_call_http_status(call), mesh_error_name(mesh_call_result(call)->status));
}

int main(void)
{
	const struct mesh_call_events events = {.size = sizeof(events), .data = data, .done = done};
	struct mesh_request request = {.size = sizeof(request), .authority = mesh_slice_of("reviews:9080")};
	struct mesh_call *call;
	struct mesh *mesh;
	int rc = mesh_open(NULL, &mesh);

	if (rc)
		return 1;
	rc = mesh_wait_ready(mesh, 30000);
	if (!rc)
		rc = mesh_worker_library(mesh, &request.worker);
	if (!rc)
		rc = mesh_call_start(mesh, &request, &events, stdout, &call);
	if (!rc) {
		rc = mesh_call_wait(call, -1); /* or do something else meanwhile */
		mesh_call_release(call);
	}
	mesh_close(mesh);
	return rc ? 1 : 0;
}
