/* SPDX-License-Identifier: Apache-2.0 */
/* mesh-echo: serves a port of the mesh and tells what it received. Ends on SIGTERM or SIGINT, draining first. */
#include "echo.h"

#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

static const size_t request_bytes_max = 64 * 1024 * 1024;
static const char usage[] = "usage: mesh-echo --port P [--address IP] [--name N] [--workers N] [--ready-ms T] [-v]\n";

static void log_line(void *user, enum mesh_log_level level, const char *subject, const char *text)
{
	fprintf(stderr, "mesh-echo: %s: %s\n", subject, text);
}

static int serve(struct echo *echo, struct mesh_listen_options *listen, unsigned ready_ms, sigset_t *ends)
{
	struct mesh_listener *listener;
	char why[512];
	int rc, signal_number;

	listen->handler = echo_answer;
	listen->user = echo;
	listen->request_bytes_max = request_bytes_max;
	rc = mesh_listen(echo->mesh, listen, &listener);
	if (rc) {
		fprintf(stderr, "mesh-echo: port %u: %s\n", listen->port, mesh_error_text(rc));
		return 2;
	}
	rc = mesh_wait_ready(echo->mesh, ready_ms);
	if (rc) {
		mesh_status_text(echo->mesh, why, sizeof(why));
		fprintf(stderr, "mesh-echo: not ready after %u ms: %s: %s\n", ready_ms, mesh_error_text(rc), why);
	}
	printf("%s: %s on port %u\n", echo->name, rc ? "waiting for the mesh" : "ready", mesh_listener_port(listener));
	fflush(stdout);
	sigwait(ends, &signal_number);
	mesh_drain(echo->mesh, 5000);
	mesh_listener_close(listener);
	return 0;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"port", required_argument, NULL, 'p'}, {"address", required_argument, NULL, 'a'},
		{"name", required_argument, NULL, 'n'}, {"workers", required_argument, NULL, 'w'},
		{"ready-ms", required_argument, NULL, 'r'}, {NULL, 0, NULL, 0},
	};
	char why[512] = "";
	struct mesh_options mesh = {.size = sizeof(mesh), .log = log_line, .error_buffer = why, .error_buffer_bytes = sizeof(why)};
	struct mesh_listen_options listen = {.size = sizeof(listen)};
	struct echo echo = {.name = "echo"};
	unsigned ready_ms = 30000;
	sigset_t ends;
	int option, rc;

	while ((option = getopt_long(argc, argv, "v", options, NULL)) != -1) {
		if (option == 'p')
			listen.port = (uint16_t)atoi(optarg);
		else if (option == 'a')
			listen.address = optarg;
		else if (option == 'n')
			echo.name = optarg;
		else if (option == 'w')
			mesh.library_workers = (uint32_t)atoi(optarg);
		else if (option == 'r')
			ready_ms = (unsigned)atoi(optarg);
		else if (option == 'v')
			mesh.log_level = MESH_LOG_DEBUG;
		else
			return fputs(usage, stderr), 2;
	}
	if (!listen.port || optind != argc)
		return fputs(usage, stderr), 2;
	sigemptyset(&ends);
	sigaddset(&ends, SIGTERM);
	sigaddset(&ends, SIGINT);
	pthread_sigmask(SIG_BLOCK, &ends, NULL);
	rc = mesh_open(&mesh, &echo.mesh);
	if (rc) {
		fprintf(stderr, "mesh-echo: %s: %s\n", mesh_error_text(rc), why);
		return 2;
	}
	rc = serve(&echo, &listen, ready_ms, &ends);
	mesh_close(echo.mesh);
	return rc;
}
