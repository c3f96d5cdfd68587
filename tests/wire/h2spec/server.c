/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A libmesh server for test programs of others: one port on loopback, plaintext and TLS told apart by the first bytes,
 * HTTP/1.1 and HTTP/2 by ALPN or preface; with the argument "h2" plaintext is HTTP/2 alone. Prints the port, serves until its
 * input ends, and says what the mesh kept: 0 bytes.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <mesh/mesh.h>

#include "support/data_plane.h"
#include "support/failing_mem.h"
#include "support/test_ca.h"

static const struct tls_config anyone = {
	.min = TLS_VERSION_1_2,
	.alpn = {"\x02h2\x08http/1.1", 12},
	.certificate_name = {"default", 7},
};

/* "/bytes/N" is answered with N bytes, all else with a line of text. */
static void answer(struct mesh_call *call, void *user)
{
	static char bytes[1 << 20];
	struct mesh_slice path = mesh_call_path(call), body = mesh_slice_of("a mesh in a process\n");

	if (path.len > 7 && !memcmp(path.data, "/bytes/", 7))
		body = mesh_slice_make(bytes, strtoul(path.data + 7, NULL, 10) % (sizeof(bytes) + 1));
	mesh_call_respond(call, 200, NULL, 0, body, true);
}

static void plaintext_is_http2(struct data_plane *plane, struct chain *chain, struct arena *arena, bool inbound)
{
	if (inbound && !chain->tls)
		chain->http->codec = HTTP_CODEC_HTTP2;
}

int main(int argc, char **argv)
{
	struct mesh_listen_options options = {.size = sizeof(options),
					      .handler = answer,
					      .address = "127.0.0.1",
					      .request_bytes_max = 1 << 20,
					      .grace_ms = 1000};
	struct mesh_listener *listener;
	struct failing_mem mem;
	struct data_plane plane;
	struct test_ca ca;
	char waste[64];

	failing_mem_init(&mem, 0);
	test_ca_make(&ca);
	if (data_plane_open(&plane, 1, &mem.mem))
		return 1;
	plane.inbound = DATA_PLANE_PERMISSIVE;
	plane.server_tls = &anyone;
	if (argc > 1 && !strcmp(argv[1], "h2"))
		plane.edit_chain = plaintext_is_http2;
	plane.certificate = test_ca_secret(&ca, &(struct test_leaf){.uri = "spiffe://cluster.local/ns/default/sa/bob"});
	plane.roots = test_ca_roots(&ca);
	data_plane_publish(&plane);
	if (mesh_listen(plane.mesh, &options, &listener))
		return 1;
	printf("%u\n", mesh_listener_port(listener));
	fflush(stdout);
	while (read(0, waste, sizeof(waste)) > 0)
		;
	mesh_listener_close(listener);
	data_plane_close(&plane);
	mesh_secret_release(plane.certificate);
	mesh_secret_release(plane.roots);
	test_ca_free(&ca);
	printf("kept %zu bytes\n", atomic_load(&mem.bytes));
	return atomic_load(&mem.bytes) != 0;
}
