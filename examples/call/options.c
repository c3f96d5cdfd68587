/* SPDX-License-Identifier: Apache-2.0 */
/* The command line of mesh-call. */
#include "call.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] =
	"usage: mesh-call [-X METHOD] [-H 'name: value'].. [-d BODY|@FILE] [-n COUNT] [-c CONCURRENCY] [--interval-ms T]\n"
	"                 [--timeout-ms T] [--ready-ms T] [--http2] [--explain] [--json] [--stats] [--config-dump FILE] [-v]\n"
	"                 http://HOST[:PORT][/PATH]\n"
	"--explain: tells what the mesh would do with the request, and why, without sending it; as JSON with --json.\n"
	"--http2: as an application that speaks HTTP/2, for ports where the mesh leaves the version to it (README.md, \"HTTP\n"
	"versions\"). Calls a service of the mesh from inside this process, joined as the environment says (README.md, \"Joining\").\n"
	"Exit status: 0 every call got a response, 1 some did not, 2 the command line or the joining failed.\n";

enum { DAY_MS = 86400000 };

enum { OPT_TIMEOUT = 256, OPT_JSON, OPT_INTERVAL, OPT_READY, OPT_HTTP2, OPT_EXPLAIN, OPT_STATS, OPT_DUMP, OPT_HELP };

static const struct option long_options[] = {
	{"timeout-ms", required_argument, NULL, OPT_TIMEOUT}, {"json", no_argument, NULL, OPT_JSON},
	{"interval-ms", required_argument, NULL, OPT_INTERVAL}, {"ready-ms", required_argument, NULL, OPT_READY},
	{"stats", no_argument, NULL, OPT_STATS}, {"config-dump", required_argument, NULL, OPT_DUMP},
	{"http2", no_argument, NULL, OPT_HTTP2}, {"explain", no_argument, NULL, OPT_EXPLAIN},
	{"help", no_argument, NULL, OPT_HELP}, {NULL, 0, NULL, 0},
};

/* Says what is wrong with the command line; -1. */
static int bad(const char *what, const char *value)
{
	fprintf(stderr, "mesh-call: %s: \"%s\"\n", what, value);
	return -1;
}

static int take_number(const char *name, const char *text, unsigned long min, unsigned long max, unsigned long *value)
{
	char *end;

	*value = strtoul(text, &end, 10);
	if (*text >= '0' && *text <= '9' && !*end && *value >= min && *value <= max)
		return 0;
	fprintf(stderr, "mesh-call: %s: \"%s\" is not a number from %lu to %lu\n", name, text, min, max);
	return -1;
}

static int add_header(struct options *options, const char *text)
{
	const char *colon = strchr(text, ':');
	struct mesh_header *headers;

	if (!colon || colon == text)
		return bad("-H: expected 'name: value'", text);
	headers = realloc(options->headers, (options->header_count + 1) * sizeof(*headers));
	if (!headers)
		return bad("-H", "out of memory");
	options->headers = headers;
	headers[options->header_count].name = (struct mesh_slice){text, (size_t)(colon - text)};
	for (colon++; *colon == ' ' || *colon == '\t'; colon++)
		;
	headers[options->header_count++].value = mesh_slice_of(colon);
	return 0;
}

static int read_file(struct options *options, FILE *file)
{
	size_t room = 0, n;

	do {
		char *body = realloc(options->body, room += 65536);

		if (!body)
			return -1;
		options->body = body;
		n = fread(body + options->body_len, 1, room - options->body_len, file);
		options->body_len += n;
	} while (n);
	return ferror(file) ? -1 : 0;
}

static int take_body(struct options *options, const char *argument)
{
	FILE *file;
	int rc;

	free(options->body);
	options->body = NULL;
	options->body_len = 0;
	if (*argument != '@') {
		options->body = strdup(argument);
		options->body_len = strlen(argument);
		return options->body ? 0 : bad("-d", "out of memory");
	}
	file = fopen(argument + 1, "rb");
	rc = file ? read_file(options, file) : -1;
	if (rc)
		fprintf(stderr, "mesh-call: -d: %s: %s\n", argument + 1, strerror(errno));
	if (file)
		fclose(file);
	return rc;
}

static int split_url(struct options *options, const char *url)
{
	size_t len;

	if (strncmp(url, "http://", 7))
		return bad("URL: http://HOST[:PORT][/PATH] was expected (the mesh adds the encryption)", url);
	url += 7;
	len = strcspn(url, "/?#");
	options->authority = (struct mesh_slice){url, len};
	options->path = url[len] ? mesh_slice_of(url + len) : mesh_slice_of("/");
	if (!len || memchr(url, '@', len))
		return bad("URL: HOST or HOST:PORT was expected after http://", url);
	if (url[len] && url[len] != '/')
		return bad("URL: '/' was expected after the host", url);
	return strchr(url, '#') ? bad("URL: a fragment (#) is never sent", url) : 0;
}

static int set_number(const char *name, unsigned long min, unsigned long max, unsigned *value)
{
	unsigned long wide;
	int rc = take_number(name, optarg, min, max, &wide);

	*value = (unsigned)wide;
	return rc;
}

static int one_option(struct options *options, int option)
{
	switch (option) {
	case 'X':
		options->method = mesh_slice_of(optarg);
		return 0;
	case 'H':
		return add_header(options, optarg);
	case 'd':
		if (!options->method.data)
			options->method = mesh_slice_of("POST");
		return take_body(options, optarg);
	case 'n':
		return take_number("-n", optarg, 1, 1000000000, &options->count);
	case 'c':
		return set_number("-c", 1, CONCURRENCY_MAX, &options->concurrency);
	case 'v':
		options->verbose = true;
		return 0;
	case OPT_TIMEOUT:
		return set_number("--timeout-ms", 0, DAY_MS, &options->timeout_ms);
	case OPT_INTERVAL:
		return set_number("--interval-ms", 0, DAY_MS, &options->interval_ms);
	case OPT_READY:
		return set_number("--ready-ms", 0, DAY_MS, &options->ready_ms);
	case OPT_EXPLAIN:
		options->explain = true;
		return 0;
	case OPT_HTTP2:
		options->version = MESH_HTTP_2;
		return 0;
	case OPT_JSON:
		options->json = true;
		return 0;
	case OPT_STATS:
		options->stats = true;
		return 0;
	case OPT_DUMP:
		options->dump = optarg;
		return 0;
	case OPT_HELP:
		options->help = true;
		return fputs(usage, stdout) < 0 ? -1 : 0;
	default:
		fputs(usage, stderr);
		return -1;
	}
}

int options_parse(struct options *options, int argc, char **argv)
{
	int option;

	memset(options, 0, sizeof(*options));
	options->count = 1;
	options->concurrency = 1;
	options->ready_ms = 30000;
	while ((option = getopt_long(argc, argv, "X:H:d:n:c:v", long_options, NULL)) != -1)
		if (one_option(options, option))
			return -1;
	if (options->help)
		return 0;
	if (optind + 1 != argc) {
		fprintf(stderr, "mesh-call: %s\n%s", optind < argc ? "one URL was expected" : "the URL is missing", usage);
		return -1;
	}
	return split_url(options, argv[optind]);
}

void options_free(struct options *options)
{
	free(options->headers);
	free(options->body);
}
