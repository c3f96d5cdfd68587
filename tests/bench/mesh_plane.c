/* SPDX-License-Identifier: Apache-2.0 */
/* Sets up what a control plane would: identities, one RBAC rule, one cluster. Knows nothing of what is called. */
#include "mesh_plane.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void fail(const char *what, const char *why)
{
	fprintf(stderr, "mesh_plane: %s: %s\n", what, why);
	exit(1);
}

static struct mesh_slice read_file(const char *dir, const char *name)
{
	static char text[8][16384];
	static size_t used;
	char path[512], *into = text[used++];
	size_t n;
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	file = fopen(path, "r");
	if (!file)
		fail(path, "cannot be read");
	n = fread(into, 1, sizeof(text[0]), file);
	fclose(file);
	return (struct mesh_slice){into, n};
}

static void edit_cluster(struct data_plane *plane, struct cluster_config *cluster)
{
	const enum mesh_plane_protocol *protocol = plane->user;

	cluster->connect_timeout_ns = 20000000000; /* valgrind takes its time */
	cluster->protocol = *protocol == MESH_PLANE_HTTP2 ? UPSTREAM_HTTP2 : UPSTREAM_HTTP1;
}

/* As istiod writes it for a cluster that speaks HTTP/2. */
static const struct tls_config *http2_tls(void)
{
	static struct tls_config tls;

	tls = data_plane_istio_client;
	tls.alpn = (struct mesh_slice){"\x05istio\x02h2", 9};
	return &tls;
}

void mesh_plane_open(struct data_plane *plane, const char *dir, bool server, enum mesh_plane_protocol protocol,
		     const struct mesh_mem *mem)
{
	static enum mesh_plane_protocol protocols[2];
	const char *who = server ? "server" : "client";
	char pem[32], key[32];
	struct mesh_slice none = {NULL, 0};

	snprintf(pem, sizeof(pem), "%s.pem", who);
	snprintf(key, sizeof(key), "%s.key", who);
	if (data_plane_open(plane, 1, mem) ||
	    mesh_secret_new(&mesh_mem_default, mesh_slice_of("default"), read_file(dir, pem), read_file(dir, key), none,
			    &plane->certificate) ||
	    mesh_secret_new(&mesh_mem_default, mesh_slice_of("ROOTCA"), none, none, read_file(dir, "ca.pem"),
			    &plane->roots))
		fail("mesh", "cannot be opened");
	plane->inbound = DATA_PLANE_STRICT;
	plane->edit_chain = data_plane_admit_alice;
	plane->client_tls = protocol == MESH_PLANE_HTTP2 ? http2_tls() : &data_plane_istio_client;
	plane->edit_cluster = edit_cluster;
	protocols[server] = protocol;
	plane->user = &protocols[server];
}

void mesh_plane_close(struct data_plane *plane)
{
	data_plane_close(plane);
	mesh_secret_release(plane->certificate);
	mesh_secret_release(plane->roots);
}

struct mesh_listener *mesh_plane_listen(struct data_plane *plane, mesh_handler_fn *handler, void *user,
					size_t request_bytes_max)
{
	struct mesh_listen_options options = {.size = sizeof(options),
					      .handler = handler,
					      .user = user,
					      .address = "127.0.0.1",
					      .request_bytes_max = request_bytes_max,
					      .grace_ms = 100};
	struct mesh_listener *listener;

	data_plane_publish(plane);
	if (mesh_listen(plane->mesh, &options, &listener))
		fail("listener", "cannot be opened");
	return listener;
}

void mesh_plane_serve(struct data_plane *plane, mesh_handler_fn *handler, void *user, size_t request_bytes_max)
{
	struct mesh_listener *listener = mesh_plane_listen(plane, handler, user, request_bytes_max);
	char byte;

	printf("%u\n", mesh_listener_port(listener));
	fflush(stdout);
	while (read(STDIN_FILENO, &byte, 1) > 0)
		;
	mesh_listener_close(listener);
}
