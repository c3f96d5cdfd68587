/* SPDX-License-Identifier: Apache-2.0 */
/* mesh-pipe: reads its command line, joins the mesh, then pipes or listens. */
#include "pipe.h"

#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

static const char usage[] =
	"usage: mesh-pipe [options] HOST:PORT      copies standard input there and what comes back to standard output\n"
	"       mesh-pipe [options] --listen PORT  sends back what comes, on every connection; 0: any free port\n"
	"  --server-first   HOST:PORT: the peer speaks first; asked for where the port's protocol is found out\n"
	"  --sni NAME       HOST:PORT: standard input is TLS for that server\n"
	"  --first TEXT     --listen: says TEXT and a line end first\n"
	"  --ready-ms N     how long to wait for the mesh (30000)\n"
	"  -v, --verbose    who the peer is, and a log, on standard error\n"
	"Joins as the environment says (README.md, \"Joining\"). Exit status: 0 the peer ended in order, 1 the stream "
	"failed,\n"
	"2 the command line or the joining failed; --listen ends on SIGTERM or SIGINT.\n";

static void log_line(void *user, enum mesh_log_level level, const char *subject, const char *text)
{
	fprintf(stderr, "mesh-pipe: %s: %s\n", subject, text);
}

static bool take_number(const char *text, unsigned max, unsigned *number)
{
	char *end;
	unsigned long value = strtoul(text, &end, 10);

	*number = (unsigned)value;
	return *text >= '0' && *text <= '9' && !*end && value <= max;
}

static bool take_option(struct pipe_options *options, int option)
{
	static char first[4096];

	switch (option) {
	case 'l':
		options->listen = true;
		return take_number(optarg, 65535, &options->port);
	case 'f':
		snprintf(first, sizeof(first), "%s\n", optarg);
		options->first = first;
		return true;
	case 's':
		options->server_name = optarg;
		return true;
	case 'S':
		options->server_first = true;
		return true;
	case 'r':
		return take_number(optarg, 86400000, &options->ready_ms);
	case 'v':
		options->verbose = true;
		return true;
	case 'h':
		exit(fputs(usage, stdout) < 0);
	default:
		return false;
	}
}

static bool take_options(struct pipe_options *options, int argc, char **argv)
{
	static const struct option names[] = {
		{"listen", required_argument, NULL, 'l'},   {"first", required_argument, NULL, 'f'},
		{"sni", required_argument, NULL, 's'},      {"server-first", no_argument, NULL, 'S'},
		{"ready-ms", required_argument, NULL, 'r'}, {"verbose", no_argument, NULL, 'v'},
		{"help", no_argument, NULL, 'h'},           {NULL, 0, NULL, 0},
	};
	int option;

	while ((option = getopt_long(argc, argv, "vh", names, NULL)) != -1)
		if (!take_option(options, option))
			return false;
	if (optind < argc)
		options->target = argv[optind++];
	return optind == argc && !options->target == options->listen;
}

static int serve(struct mesh *mesh, struct pipe_options *options, const sigset_t *ends)
{
	struct mesh_listen_options at = {
		.size = sizeof(at), .port = (uint16_t)options->port, .stream_handler = echo_stream, .user = options};
	struct mesh_listener *listener;
	int rc = mesh_listen(mesh, &at, &listener), number;

	if (rc) {
		fprintf(stderr, "mesh-pipe: port %u: %s\n", options->port, mesh_error_text(rc));
		return 2;
	}
	printf("ready on port %u\n", mesh_listener_port(listener));
	fflush(stdout);
	sigwait(ends, &number);
	mesh_drain(mesh, 5000);
	mesh_listener_close(listener);
	return 0;
}

int main(int argc, char **argv)
{
	struct pipe_options options = {.ready_ms = 30000};
	char why[512] = "";
	struct mesh_options join = {
		.size = sizeof(join), .log = log_line, .error_buffer = why, .error_buffer_bytes = sizeof(why)};
	struct mesh *mesh;
	sigset_t ends;
	int rc;

	if (!take_options(&options, argc, argv)) {
		fputs(usage, stderr);
		return 2;
	}
	if (options.listen) { /* before the library starts threads, which inherit it */
		sigemptyset(&ends);
		sigaddset(&ends, SIGTERM);
		sigaddset(&ends, SIGINT);
		pthread_sigmask(SIG_BLOCK, &ends, NULL);
	}
	join.log_level = options.verbose ? MESH_LOG_DEBUG : MESH_LOG_WARNING;
	rc = mesh_open(&join, &mesh);
	if (rc) {
		fprintf(stderr, "mesh-pipe: %s: %s\n", mesh_error_text(rc), why);
		return 2;
	}
	rc = mesh_wait_ready(mesh, options.ready_ms);
	if (rc) {
		mesh_status_text(mesh, why, sizeof(why));
		fprintf(stderr, "mesh-pipe: not ready after %u ms: %s: %s\n", options.ready_ms, mesh_error_text(rc),
			why);
		rc = 2;
	} else {
		rc = options.listen ? serve(mesh, &options, &ends) : copy_run(mesh, &options);
	}
	mesh_close(mesh);
	return rc;
}
