/* SPDX-License-Identifier: Apache-2.0 */
/* A TCP connection through the mesh: it reads and writes like a socket, secured and routed as a sidecar would. */
#include <mesh/mesh.h>
#include <stdio.h>

int main(void)
{
	struct mesh_stream_options options = {.size = sizeof(options), .target = mesh_slice_of("redis:6379")};
	struct mesh_stream *stream = NULL;
	struct mesh *mesh = NULL;
	char answer[256];
	int64_t n;
	int rc = mesh_open(NULL, &mesh);

	if (!rc)
		rc = mesh_wait_ready(mesh, 30000);
	if (!rc)
		rc = mesh_stream_dial(mesh, &options, NULL, NULL, &stream);
	while (!rc && (n = mesh_stream_write(stream, mesh_slice_of("PING\r\n"))) < 0)
		rc = n != MESH_ERROR_AGAIN ? (int)n : mesh_stream_wait(stream, MESH_STREAM_WRITABLE, -1) < 0;
	while (!rc && (n = mesh_stream_read(stream, answer, sizeof(answer))) < 0)
		rc = n != MESH_ERROR_AGAIN ? (int)n : mesh_stream_wait(stream, MESH_STREAM_READABLE, -1) < 0;
	if (!rc)
		printf("%.*s", (int)n, answer);
	else if (stream)
		printf("%.*s\n", (int)mesh_stream_result(stream)->why.len, mesh_stream_result(stream)->why.data);
	mesh_stream_close(stream);
	mesh_close(mesh);
	return rc ? 1 : 0;
}
