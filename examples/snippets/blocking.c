/* SPDX-License-Identifier: Apache-2.0 */
/* A blocking call: the calling thread does all the work itself. */
#include <mesh/mesh.h>
#include <stdio.h>

int main(void)
{
	char why[512] = "";
	struct mesh_options options = {.size = sizeof(options), .error_buffer = why, .error_buffer_bytes = sizeof(why)};
	struct mesh_request request = {.size = sizeof(request), .authority = mesh_slice_of("reviews:9080"),
				       .path = mesh_slice_of("/reviews/1")};
	struct mesh_call *call;
	struct mesh *mesh;
	int rc = mesh_open(&options, &mesh);

	if (rc)
		return fprintf(stderr, "%s\n", why), 1;
	rc = mesh_wait_ready(mesh, 30000);
	if (rc && mesh_status_text(mesh, why, sizeof(why)) >= 0)
		fprintf(stderr, "%s: %s\n", mesh_error_text(rc), why);
	if (!rc)
		rc = mesh_call_start(mesh, &request, NULL, NULL, &call);
	if (!rc) {
		rc = mesh_call_wait(call, -1);
		printf("%d %.*s\n", mesh_call_http_status(call), (int)mesh_call_body(call).len, mesh_call_body(call).data);
		printf("%s %.*s\n", mesh_error_name(rc), (int)mesh_call_result(call)->why.len, mesh_call_result(call)->why.data);
		mesh_call_release(call);
	}
	mesh_close(mesh);
	return rc ? 1 : 0;
}
