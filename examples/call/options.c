/* SPDX-License-Identifier: Apache-2.0 */
/* The command line of mesh-call. */
#include "call.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] =
	"usage: mesh-call [-X METHOD] [-H 'name: value'].. [-d BODY|@FILE] [-n COUNT] [-c CONCURRENCY] [--interval-ms T]\n"
	"                 [--timeout-ms T] [--ready-ms T] [--json] [--stats] [-v] http://HOST[:PORT][/PATH]\n"
	"Calls a service of the mesh from inside this process, joined as the environment says (README.md, \"Joining\").\n"
	"Exit status: 0 every call got a response, 1 some did not, 2 the command line or the joining failed.\n";

enum { OPT_TIMEOUT = 256, OPT_JSON, OPT_INTERVAL, OPT_READY, OPT_STATS, OPT_HELP };

static const struct option long_options[] = {
	{"timeout-ms", required_argument, NULL, OPT_TIMEOUT}, {"json", no_argument, NULL, OPT_JSON},
	{"interval-ms", required_argument, NULL, OPT_INTERVAL}, {"ready-ms", required_argument, NULL, OPT_READY},
	{"stats", no_argument, NULL, OPT_STATS}, {"help", no_argument, NULL, OPT_HELP}, {NULL, 0, NULL, 0},
};

static int bad(const char *what, const char *value)
{
	fprintf(stderr, "mesh-call: %s: \"%s\"\n%s", what, value, usage);
	return -1;
}

static int number(const char *text, unsigned long max, unsigned long *value)
{
	char *end;

	*value = strtoul(text, &end, 10);
	return *text >= '0' && *text <= '9' && !*end && *value <= max ? 0 : -1;
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

static int read_body(struct options *options, const char *argument)
{
	FILE *file;
	size_t room = 0, n;

	free(options->body);
	if (*argument != '@') {
		options->body = strdup(argument);
		options->body_len = strlen(argument);
		return options->body ? 0 : -1;
	}
	file = fopen(argument + 1, "rb");
	if (!file)
		return bad("-d: cannot read", argument + 1);
	options->body = NULL;
	options->body_len = 0;
	do {
		char *body = realloc(options->body, room += 65536);

		if (!body)
			break;
		options->body = body;
		n = fread(body + options->body_len, 1, room - options->body_len, file);
		options->body_len += n;
	} while (n);
	fclose(file);
	return 0;
}

static int split_url(struct options *options, const char *url)
{
	const char *slash;

	if (strncmp(url, "http://", 7))
		return bad("URL: expected http://HOST[:PORT][/PATH] (the mesh adds the encryption)", url);
	url += 7;
	slash = strchr(url, '/');
	options->authority = slash ? (struct mesh_slice){url, (size_t)(slash - url)} : mesh_slice_of(url);
	options->path = slash ? mesh_slice_of(slash) : mesh_slice_of("/");
	return options->authority.len ? 0 : bad("URL: no host", url);
}

static int set_number(const char *name, const char *text, unsigned long max, unsigned *value)
{
	unsigned long wide;

	if (number(text, max, &wide))
		return bad(name, text);
	*value = (unsigned)wide;
	return 0;
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
		return read_body(options, optarg);
	case 'n':
		return number(optarg, 1000000000, &options->count) ? bad("-n", optarg) : 0;
	case 'c':
		return set_number("-c", optarg, 1024, &options->concurrency);
	case 'v':
		options->verbose = true;
		return 0;
	case OPT_TIMEOUT:
		return set_number("--timeout-ms", optarg, 86400000, &options->timeout_ms);
	case OPT_INTERVAL:
		return set_number("--interval-ms", optarg, 86400000, &options->interval_ms);
	case OPT_READY:
		return set_number("--ready-ms", optarg, 86400000, &options->ready_ms);
	case OPT_JSON:
		options->json = true;
		return 0;
	case OPT_STATS:
		options->stats = true;
		return 0;
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
	if (optind + 1 != argc) {
		fputs(usage, stderr);
		return -1;
	}
	if (!options->concurrency)
		options->concurrency = 1;
	return split_url(options, argv[optind]);
}

void options_free(struct options *options)
{
	free(options->headers);
	free(options->body);
}
