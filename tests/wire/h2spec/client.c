/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A libmesh client for test programs of others: h2_client http://127.0.0.1:PORT/ asks once by HTTP/2 with prior knowledge, says
 * how it went, and stays as long as the server keeps the connection, at most a second.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <mesh/mesh.h>

#include "support/data_plane.h"

static void speak_http2(struct data_plane *plane, struct cluster_config *cluster)
{
	cluster->protocol = UPSTREAM_HTTP2;
}

static unsigned counter(struct buf *stats, const char *name)
{
	struct mesh_slice text = mesh_buf_slice(stats);
	const char *at = memmem(text.data, text.len, name, strlen(name));

	return at ? (unsigned)strtoul(at + strlen(name), NULL, 10) : 0;
}

static bool connected(struct mesh *mesh)
{
	struct buf stats;
	bool is = false;

	mesh_buf_init(&stats, &mesh_mem_default, 0);
	if (!mesh_registry_stats(&mesh->registry, &stats))
		is = counter(&stats, "upstream_cx_total: ") > counter(&stats, "upstream_cx_destroy: ");
	mesh_buf_free(&stats);
	return is;
}

int main(int argc, char **argv)
{
	const struct timespec pause = {.tv_nsec = 5000000};
	const char *colon = argc > 1 ? strrchr(argv[1], ':') : NULL;
	struct mesh_request request = {.size = sizeof(request), .authority = {"reviews:9080", 12}, .timeout_ms = 1000};
	const struct mesh_result *result;
	struct data_plane plane;
	struct mesh_call *call;

	if (!colon || data_plane_open(&plane, 1, NULL))
		return 2;
	plane.timeout_ns = -1;
	plane.edit_cluster = speak_http2;
	plane.ports[plane.port_count++] = (uint16_t)atoi(colon + 1);
	data_plane_publish(&plane);
	if (mesh_worker_library(plane.mesh, &request.worker) ||
	    mesh_call_start(plane.mesh, &request, NULL, NULL, &call))
		return 2;
	mesh_call_wait(call, -1);
	result = mesh_call_result(call);
	printf("%s %d %.*s\n", mesh_error_name(result->status), result->http_status, (int)result->why.len,
	       result->why.len ? result->why.data : "");
	mesh_call_release(call);
	for (int i = 0; i < 200 && connected(plane.mesh); i++)
		nanosleep(&pause, NULL);
	data_plane_close(&plane);
	return 0;
}
