/* SPDX-License-Identifier: Apache-2.0 */
/* mesh-echo: serves a port of the mesh and tells what it received. Ends on SIGTERM or SIGINT, draining first. */
#include "echo.h"

#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { REQUEST_BYTES_MAX = 64 * 1024 * 1024, WORKERS_MAX = 256 };

enum { DRAIN_MS = 5000, LOOK_MS = 100, READY_MS_MAX = 86400000 };

static const char usage[] =
	"usage: mesh-echo --port P [--address IP] [--name N] [--workers N] [--ready-ms T] [-v]\n"
	"Answers every request to port P (0: any free one) with JSON that says what arrived. In the query: status=200..599,\n"
	"delay_ms=0..60000, bytes=0..67108864 shape the answer. Joins as the environment says (README.md, \"Joining\").\n"
	"Exit status: 0 after SIGTERM or SIGINT, 2 the command line or the joining failed.\n";

struct settings {
	struct mesh_options mesh;
	struct mesh_listen_options listen;
	unsigned ready_ms;
	bool has_port;
};

static void log_line(void *user, enum mesh_log_level level, const char *subject, const char *text)
{
	fprintf(stderr, "mesh-echo: %s: %s\n", subject, text);
}

/* ---- the command line */

static int take_number(const char *name, const char *text, unsigned long min, unsigned long max, unsigned long *value)
{
	char *end;

	*value = strtoul(text, &end, 10);
	if (*text >= '0' && *text <= '9' && !*end && *value >= min && *value <= max)
		return 0;
	fprintf(stderr, "mesh-echo: %s: \"%s\" is not a number from %lu to %lu\n", name, text, min, max);
	return -1;
}

static int take_option(struct settings *settings, struct echo *echo, int option)
{
	unsigned long number = 0;
	int rc = 0;

	switch (option) {
	case 'p':
		rc = take_number("--port", optarg, 0, 65535, &number);
		settings->listen.port = (uint16_t)number;
		settings->has_port = true;
		return rc;
	case 'a':
		settings->listen.address = optarg;
		return 0;
	case 'n':
		echo->name = optarg;
		return 0;
	case 'w':
		rc = take_number("--workers", optarg, 1, WORKERS_MAX, &number);
		settings->mesh.library_workers = (uint32_t)number;
		return rc;
	case 'r':
		rc = take_number("--ready-ms", optarg, 0, READY_MS_MAX, &number);
		settings->ready_ms = (unsigned)number;
		return rc;
	case 'v':
		settings->mesh.log_level = MESH_LOG_DEBUG;
		return 0;
	case 'h':
		exit(fputs(usage, stdout) < 0);
	default:
		fputs(usage, stderr);
		return -1;
	}
}

static int take_options(struct settings *settings, struct echo *echo, int argc, char **argv)
{
	static const struct option options[] = {
		{"port", required_argument, NULL, 'p'}, {"address", required_argument, NULL, 'a'},
		{"name", required_argument, NULL, 'n'}, {"workers", required_argument, NULL, 'w'},
		{"ready-ms", required_argument, NULL, 'r'}, {"help", no_argument, NULL, 'h'}, {NULL, 0, NULL, 0},
	};
	int option;

	while ((option = getopt_long(argc, argv, "vh", options, NULL)) != -1)
		if (take_option(settings, echo, option))
			return -1;
	if (settings->has_port && optind == argc)
		return 0;
	fprintf(stderr, "mesh-echo: %s\n%s", settings->has_port ? "too many arguments" : "--port is missing", usage);
	return -1;
}

/* ---- serving */

/* Waits until the mesh is ready, for at most ready_ms. 1: a signal came instead, 0: ready, < 0: it is not. */
static int wait_ready(const struct echo *echo, unsigned ready_ms, const sigset_t *ends)
{
	unsigned waited = 0;
	int rc;

	do {
		unsigned left = ready_ms - waited;

		rc = mesh_wait_ready(echo->mesh, left < LOOK_MS ? left : LOOK_MS);
		if (rc < 0 && sigtimedwait(ends, NULL, &(struct timespec){0}) > 0)
			return 1;
		waited += left < LOOK_MS ? left : LOOK_MS;
	} while (rc < 0 && waited < ready_ms);
	return rc;
}

static void serve(struct echo *echo, struct mesh_listener *listener, unsigned ready_ms, const sigset_t *ends)
{
	int rc = wait_ready(echo, ready_ms, ends), signal_number;
	char why[512];

	if (rc < 0) {
		mesh_status_text(echo->mesh, why, sizeof(why));
		fprintf(stderr, "mesh-echo: not ready after %u ms: %s: %s\n", ready_ms, mesh_error_text(rc), why);
	}
	if (rc > 0)
		return;
	printf("%s: %s on port %u\n", echo->name, rc ? "waiting for the mesh" : "ready", mesh_listener_port(listener));
	fflush(stdout);
	sigwait(ends, &signal_number);
}

int main(int argc, char **argv)
{
	char why[512] = "";
	struct settings settings = {
		.mesh = {.size = sizeof(settings.mesh), .log = log_line, .error_buffer = why, .error_buffer_bytes = sizeof(why)},
		.listen = {.size = sizeof(settings.listen), .handler = echo_answer, .request_bytes_max = REQUEST_BYTES_MAX},
		.ready_ms = 30000,
	};
	struct echo echo = {.name = "echo"};
	struct mesh_listener *listener;
	sigset_t ends;
	int rc;

	if (take_options(&settings, &echo, argc, argv))
		return 2;
	/* before the library starts threads, which inherit it */
	sigemptyset(&ends);
	sigaddset(&ends, SIGTERM);
	sigaddset(&ends, SIGINT);
	pthread_sigmask(SIG_BLOCK, &ends, NULL);
	rc = mesh_open(&settings.mesh, &echo.mesh);
	if (rc) {
		fprintf(stderr, "mesh-echo: %s: %s\n", mesh_error_text(rc), why);
		return 2;
	}
	echo_open(&echo);
	settings.listen.user = &echo;
	rc = mesh_listen(echo.mesh, &settings.listen, &listener);
	if (rc) {
		fprintf(stderr, "mesh-echo: port %u: %s\n", settings.listen.port, mesh_error_text(rc));
	} else {
		serve(&echo, listener, settings.ready_ms, &ends);
		echo_end(&echo);
		mesh_drain(echo.mesh, DRAIN_MS);
		mesh_listener_close(listener);
	}
	echo_close(&echo);
	mesh_close(echo.mesh);
	return rc ? 2 : 0;
}
