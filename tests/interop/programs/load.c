/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client of the lab that asks at a fixed rate whatever becomes of the answers (an open loop), and tells how many failed and
 * how long the others took, counted from when each was due.
 *
 *	lab-load [--plain IP:PORT] [--rate PER_SECOND] [--seconds S] [--timeout-ms T] [--keys HEADER] http://HOST[:PORT]/PATH
 *
 * --keys: each request carries its number in that header. The report lists the x-server of each answer.
 * Through libmesh, or with --plain from a program that knows no mesh, over kept connections to that address: what an
 * application beside a sidecar does. One line of JSON. Exit status: 0, whatever failed; 2 the command line or the joining.
 */
#include <mesh/mesh.h>

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "load.h"

enum { READY_MS = 30000 };

uint64_t load_now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

void load_count(struct load *load, const struct turn *turn, int status, unsigned server, const char *why)
{
	load->open--;
	if (status >= 100 && status < 600)
		load->statuses[status]++;
	else
		load->broken++;
	if (status == 200)
		load->took_us[load->good++] = load_now_us() - turn->due_us;
	else if (status <= 0)
		snprintf(load->why, sizeof(load->why), "%s", why);
	load->servers[turn->number] = server;
}

/* ---- through libmesh ---- */

struct asked {
	struct load *load;
	struct mesh_call *call;
	struct turn turn;
};

static void on_done(struct mesh_call *call, void *user)
{
	struct asked *asked = user;
	const struct mesh_result *result = mesh_call_result(call);
	struct mesh_slice server = mesh_call_header(call, "x-server");
	char why[256], number[16] = "";

	snprintf(number, sizeof(number), "%.*s", (int)server.len, server.data ? server.data : "");
	snprintf(why, sizeof(why), "%s: %.*s", mesh_error_name(result->status), (int)result->why.len,
		 result->why.data ? result->why.data : "");
	/* what a sidecar would have answered in our place is what its application counts */
	load_count(asked->load, &asked->turn, result->http_status ? result->http_status : result->local_status,
		   (unsigned)strtoul(number, NULL, 10), why);
	mesh_call_release(call);
	free(asked);
}

static int ask_mesh(struct load *load, struct mesh *mesh, struct mesh_worker *worker, uint64_t due_us)
{
	const struct mesh_call_events events = {.size = sizeof(events), .done = on_done};
	struct mesh_request request = {.size = sizeof(request), .authority = mesh_slice_of(load->authority),
				       .path = mesh_slice_of(load->path), .timeout_ms = load->timeout_ms, .worker = worker};
	struct asked *asked = malloc(sizeof(*asked));
	struct mesh_header header;
	char key[24];

	if (!asked)
		return -1;
	*asked = (struct asked){.load = load, .turn = {load->asked, due_us}};
	if (load->keys) {
		snprintf(key, sizeof(key), "%lu", load->asked);
		header = (struct mesh_header){mesh_slice_of(load->keys), mesh_slice_of(key)};
		request.headers = &header;
		request.header_count = 1;
	}
	if (mesh_call_start(mesh, &request, &events, asked, &asked->call)) {
		free(asked);
		return -1;
	}
	load->asked++;
	load->open++;
	return 0;
}

static int through_mesh(struct load *load)
{
	struct mesh_options options = {.size = sizeof(options), .error_buffer = load->why,
				       .error_buffer_bytes = sizeof(load->why)};
	struct mesh_worker *worker = NULL;
	struct mesh *mesh;
	uint64_t start, due;
	int rc = mesh_open(&options, &mesh);

	if (rc)
		return rc;
	rc = mesh_wait_ready(mesh, READY_MS);
	if (!rc)
		rc = mesh_worker_new(mesh, &worker);
	start = due = load_now_us();
	while (!rc) {
		uint64_t now = load_now_us();
		bool over = (double)(due - start) >= load->seconds * 1e6;

		if (over && !load->open)
			break;
		if (!over && now >= due) {
			rc = ask_mesh(load, mesh, worker, due);
			due += (uint64_t)(1e6 / load->rate);
			continue;
		}
		if (mesh_worker_run(worker, over ? 100 : (int)((due - now + 999) / 1000)) < 0)
			rc = -1;
	}
	mesh_worker_free(worker);
	mesh_close(mesh);
	return rc;
}

/* ---- the command line and the report ---- */

static int by_size(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static uint64_t share_us(const struct load *load, double share)
{
	return load->good ? load->took_us[(size_t)(share * (double)(load->good - 1))] : 0;
}

static void report(struct load *load)
{
	qsort(load->took_us, load->good, sizeof(*load->took_us), by_size);
	printf("{\"asked\": %lu, \"good\": %lu, \"broken\": %lu, \"p50_us\": %llu, \"p90_us\": %llu, \"p99_us\": %llu, "
	       "\"max_us\": %llu, \"statuses\": {", load->asked, load->good, load->broken,
	       (unsigned long long)share_us(load, 0.5), (unsigned long long)share_us(load, 0.9),
	       (unsigned long long)share_us(load, 0.99), (unsigned long long)share_us(load, 1));
	for (unsigned i = 0, first = 1; i < 600; i++)
		if (load->statuses[i]) {
			printf("%s\"%u\": %lu", first ? "" : ", ", i, load->statuses[i]);
			first = 0;
		}
	for (char *c = load->why; *c; c++)
		if (*c == '"' || *c == '\\' || (unsigned char)*c < ' ')
			*c = '\'';
	printf("}, \"servers\": [");
	for (unsigned long i = 0; i < load->asked; i++)
		printf("%s%u", i ? ", " : "", load->servers[i]);
	printf("], \"why\": \"%s\"}\n", load->why);
}

static int take_url(struct load *load, const char *url)
{
	size_t len;

	if (!url || strncmp(url, "http://", 7))
		return -1;
	len = strcspn(url + 7, "/");
	if (!len || len >= sizeof(load->authority))
		return -1;
	memcpy(load->authority, url + 7, len);
	load->path = url[7 + len] ? url + 7 + len : "/";
	return 0;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {{"plain", required_argument, NULL, 'p'},
						{"rate", required_argument, NULL, 'r'},
						{"seconds", required_argument, NULL, 's'},
						{"timeout-ms", required_argument, NULL, 't'},
						{"keys", required_argument, NULL, 'k'}, {NULL, 0, NULL, 0}};
	struct load load = {.rate = 100, .seconds = 5, .timeout_ms = 5000};
	int option, rc = 0;

	while ((option = getopt_long(argc, argv, "", options, NULL)) >= 0) {
		if (option == 'p')
			load.plain = optarg;
		else if (option == 'r')
			load.rate = strtod(optarg, NULL);
		else if (option == 'k')
			load.keys = optarg;
		else if (option == 's')
			load.seconds = strtod(optarg, NULL);
		else if (option == 't')
			load.timeout_ms = (unsigned)strtoul(optarg, NULL, 10);
		else
			rc = -1;
	}
	if (rc || take_url(&load, argv[optind]) || !(load.rate > 0 && load.rate <= 100000) ||
	    !(load.seconds > 0 && load.seconds <= 3600)) {
		fprintf(stderr, "usage: lab-load [--plain IP:PORT] [--rate PER_SECOND] [--seconds S] [--timeout-ms T] [--keys HEADER] URL\n");
		return 2;
	}
	load.took_us = calloc((size_t)(load.rate * load.seconds) + 2, sizeof(*load.took_us));
	load.servers = calloc((size_t)(load.rate * load.seconds) + 2, sizeof(*load.servers));
	if (!load.took_us || !load.servers)
		return 2;
	rc = load.plain ? load_plain(&load) : through_mesh(&load);
	if (rc)
		fprintf(stderr, "lab-load: %s\n", load.why[0] ? load.why : "cannot begin");
	else
		report(&load);
	free(load.took_us);
	free(load.servers);
	return rc ? 2 : 0;
}
