/* SPDX-License-Identifier: Apache-2.0 */
/* A blocking call: the calling thread does all the work itself. */
#include <mesh/mesh.h>
#include <stdio.h>

int main(void)
{
	struct mesh_request request = {
		.size = sizeof(request),
		.authority = mesh_slice_of("reviews:9080"),
		.path = mesh_slice_of("/reviews/1"),
	};
	struct mesh *mesh;
	struct mesh_call *call;
	int rc = mesh_open(NULL, &mesh);

	if (rc)
		return fprintf(stderr, "%s\n", mesh_error_text(rc)), 1;
	rc = mesh_wait_ready(mesh, 30000);
	if (!rc)
		rc = mesh_call_start(mesh, &request, NULL, NULL, &call);
	if (!rc) {
		rc = mesh_call_wait(call, -1);
		printf("%d %.*s\n", mesh_call_http_status(call), (int)mesh_call_body(call).len, mesh_call_body(call).data);
		mesh_call_release(call);
	}
	if (rc)
		fprintf(stderr, "%s\n", mesh_error_text(rc));
	mesh_close(mesh);
	return rc ? 1 : 0;
}
