/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A program outside this repository. It opens a mesh although nothing of a pod is there: that must fail, and the words
 * must name the file that is missing.
 */
#include <mesh/admin.h>
#include <mesh/mesh.h>
#include <stdio.h>
#include <string.h>

static int names_the_missing_file(void)
{
	char words[256] = "";
	struct mesh_options options = {
		.size = sizeof(options),
		.pod_name = "consumer",
		.pod_namespace = "default",
		.instance_ip = "127.0.0.1",
		.service_account = "default",
		.discovery_address = "127.0.0.1:1",
		.root_cert_file = "no-such-file.pem",
		.token_file = "no-such-file.jwt",
		.error_buffer = words,
		.error_buffer_bytes = sizeof(words),
	};
	struct mesh *mesh = NULL;
	int rc = mesh_open(&options, &mesh);

	if (rc >= 0) {
		rc = mesh_wait_ready(mesh, 300);
		mesh_status_text(mesh, words, sizeof(words));
		mesh_close(mesh);
	}
	if (rc >= 0 || !strstr(words, "no-such-file")) {
		fprintf(stderr, "expected a failure that names no-such-file: %d \"%s\"\n", rc, words);
		return 1;
	}
	printf("%s: %s\n", mesh_error_name(rc), words);
	return 0;
}

int main(void)
{
	if (strcmp(mesh_version(), MESH_VERSION) != 0) {
		fprintf(stderr, "headers of %s, library of %s\n", MESH_VERSION, mesh_version());
		return 1;
	}
	printf("libmesh %s\n", mesh_version());
	return names_the_missing_file();
}
