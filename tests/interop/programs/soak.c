/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client of the lab that asks for much and checks all of what comes back, from a server that mirrors bodies.
 *
 *	lab-soak [--http2] body URL BYTES       one call, its body streamed there and back
 *	lab-soak [--http2] many URL COUNT       so many calls, one after the other
 *	lab-soak [--http2] streams URL COUNT    so many calls, all of them open at once
 *
 * One line of JSON: calls that went well, connections made, and what it cost in memory and descriptors. Exit status: 0 all
 * went well, 1 something did not, 2 the command line or the joining failed.
 */
#include <mesh/mesh.h>

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
	READY_MS = 30000,
	CALL_MS = 600000,
	CHUNK_BYTES = 16384,
	CALL_BYTES = 3000,
	HOLD_S = 2,
	STREAMS_MAX = 100000,
	PERIOD = 251
};

struct run {
	struct mesh *mesh;
	struct mesh_request request;
	unsigned long calls;
	unsigned long good;
	unsigned long connections;
	unsigned long open; /* heads that came of calls that are not over */
	unsigned long open_most;
	char why[256]; /* of the first that failed */
};

/* One call, and how far its echo was checked. */
struct check {
	struct run *run;
	struct mesh_call *call;
	uint64_t sent;
	uint64_t received;
	bool wrong;
	bool head;
};

/* ---- what it costs */

/* A line of /proc/self/status ("VmHWM:"), in KiB. */
static long status_kib(const char *name)
{
	FILE *file = fopen("/proc/self/status", "r");
	char line[256];
	long kib = -1;

	while (file && fgets(line, sizeof(line), file))
		if (!strncmp(line, name, strlen(name)))
			kib = strtol(line + strlen(name), NULL, 10);
	if (file)
		fclose(file);
	return kib;
}

static unsigned descriptors(void)
{
	DIR *folder = opendir("/proc/self/fd");
	unsigned count = 0;

	while (folder && readdir(folder))
		count++;
	if (folder)
		closedir(folder);
	return count;
}

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* ---- the pattern: byte i of every body is i mod PERIOD, so that any piece of it can be taken from one table */

static char pattern[CHUNK_BYTES + PERIOD];

static const char *pattern_at(uint64_t offset)
{
	return pattern + offset % PERIOD;
}

static void on_head(struct mesh_call *call, void *user)
{
	struct check *check = user;
	struct run *run = check->run;

	check->head = true;
	if (++run->open > run->open_most)
		run->open_most = run->open;
}

static void on_data(struct mesh_call *call, struct mesh_slice data, void *user)
{
	struct check *check = user;

	for (size_t done = 0; done < data.len && !check->wrong;) {
		size_t len = data.len - done < CHUNK_BYTES ? data.len - done : CHUNK_BYTES;

		check->wrong = memcmp(data.data + done, pattern_at(check->received), len) != 0;
		check->received += len;
		done += len;
	}
}

static const struct mesh_call_events events = {.size = sizeof(events), .head = on_head, .data = on_data};

static int start(struct check *check, struct run *run)
{
	*check = (struct check){.run = run};
	run->calls++;
	return mesh_call_start(run->mesh, &run->request, &events, check, &check->call);
}

/* Sends `bytes` more of the pattern, blocking while there is no room. */
static int send_body(struct check *check, uint64_t bytes, bool end)
{
	uint64_t until = check->sent + bytes;
	int rc = 0;

	while (rc >= 0 && check->sent < until) {
		uint64_t left = until - check->sent;
		size_t len = left < CHUNK_BYTES ? (size_t)left : CHUNK_BYTES;

		rc = mesh_call_send(check->call, (struct mesh_slice){pattern_at(check->sent), len}, end && len == left);
		if (rc == MESH_ERROR_AGAIN)
			rc = mesh_call_wait_writable(check->call, CALL_MS);
		else
			check->sent += len;
	}
	return rc;
}

/* Waits for the end and counts what came of it; `rc` is what went wrong before. */
static void finish(struct check *check, int rc)
{
	struct run *run = check->run;
	const struct mesh_result *result = NULL;

	if (check->call && rc < 0)
		mesh_call_cancel(check->call);
	if (check->call) {
		mesh_call_wait(check->call, CALL_MS);
		result = mesh_call_result(check->call);
	}
	run->open -= check->head;
	run->connections += result && result->connect_us != 0;
	if (rc >= 0 && result && result->http_status == 200 && !result->status && !check->wrong &&
	    check->received == check->sent)
		run->good++;
	else if (!*run->why)
		snprintf(run->why, sizeof(run->why), "call %lu: %s, %s (%s), HTTP %d, sent %llu, received %llu%s: %.*s",
			 run->calls, mesh_error_name(rc < 0 ? rc : 0),
			 result ? mesh_error_name(result->status) : "not started", result ? result->flag : "-",
			 result ? result->http_status : 0, (unsigned long long)check->sent,
			 (unsigned long long)check->received, check->wrong ? ", not what was sent" : "",
			 result ? (int)result->why.len : 0, result && result->why.data ? result->why.data : "");
	mesh_call_release(check->call);
}

/* ---- what it does */

static void one_call(struct run *run, uint64_t bytes)
{
	struct check check;
	int rc = start(&check, run);

	if (!rc)
		rc = send_body(&check, bytes, true);
	finish(&check, rc);
}

/* Opens all and sends each a beginning, and the rest only when all were answered or, by a server that does not, in time. */
static int many_at_once(struct run *run, unsigned long count)
{
	struct check *checks = calloc(count, sizeof(*checks));
	unsigned long i;

	if (!checks)
		return -1;
	for (i = 0; i < count; i++)
		if (start(&checks[i], run) < 0)
			snprintf(run->why, sizeof(run->why), "call %lu could not start", i);
	for (i = 0; i < count; i++)
		if (checks[i].call)
			send_body(&checks[i], CALL_BYTES / 2, false);
	for (double until = now() + HOLD_S; run->open < count && now() < until;)
		mesh_call_wait(checks[0].call, 10);
	for (i = 0; i < count; i++)
		finish(&checks[i], checks[i].call ? send_body(&checks[i], CALL_BYTES / 2, true) : MESH_ERROR_STATE);
	free(checks);
	return 0;
}

static void work(struct run *run, const char *what, unsigned long number)
{
	if (!strcmp(what, "body"))
		one_call(run, number);
	else if (!strcmp(what, "streams"))
		many_at_once(run, number);
	else
		while (number-- && !*run->why)
			one_call(run, CALL_BYTES);
}

static void measure(struct run *run, const char *what, unsigned long number)
{
	long rss, peak;
	unsigned before, after;
	double began;

	one_call(run, CALL_BYTES); /* so that what is made once is there before anything is measured */
	run->calls = run->good = run->connections = 0;
	run->open_most = 0;
	rss = status_kib("VmRSS:");
	before = descriptors();
	began = now();
	if (!*run->why)
		work(run, what, number);
	peak = status_kib("VmHWM:");
	after = descriptors();
	printf("{\"calls\": %lu, \"good\": %lu, \"connections\": %lu, \"open\": %lu, \"seconds\": %.3f, \"rss_kib\": "
	       "%ld, "
	       "\"peak_kib\": %ld, \"fds\": %u, \"fds_after\": %u}\n",
	       run->calls, run->good, run->connections, run->open_most, now() - began, rss, peak, before, after);
	if (*run->why)
		fprintf(stderr, "lab-soak: %s\n", run->why);
}

static void log_line(void *user, enum mesh_log_level level, const char *subject, const char *text)
{
	fprintf(stderr, "lab-soak: %s: %s\n", subject, text);
}

int main(int argc, char **argv)
{
	struct mesh_options options = {.size = sizeof(options), .log = log_line};
	struct run run = {.request = {.size = sizeof(run.request),
				      .method = mesh_slice_of("POST"),
				      .more_body = true,
				      .timeout_ms = CALL_MS}};
	unsigned long number = argc > 3 ? strtoul(argv[argc - 1], NULL, 10) : 0;
	const char *what = argc > 3 ? argv[argc - 3] : "", *url = argc > 3 ? argv[argc - 2] : "", *slash;
	int rc;

	if (argc == 5 && !strcmp(argv[1], "--http2"))
		run.request.version = MESH_HTTP_2;
	else if (argc != 4)
		number = 0;
	if (!number || strncmp(url, "http://", 7) || (!strcmp(what, "streams") && number > STREAMS_MAX)) {
		fprintf(stderr, "usage: lab-soak [--http2] body|many|streams http://HOST:PORT/ NUMBER\n");
		return 2;
	}
	slash = strchrnul(url + 7, '/');
	run.request.authority = (struct mesh_slice){url + 7, (size_t)(slash - url) - 7};
	for (size_t i = 0; i < sizeof(pattern); i++)
		pattern[i] = (char)(i % PERIOD);
	rc = mesh_open(&options, &run.mesh);
	if (!rc)
		rc = mesh_wait_ready(run.mesh, READY_MS);
	if (rc)
		fprintf(stderr, "lab-soak: %s\n", mesh_error_text(rc));
	else
		measure(&run, what, number);
	mesh_close(run.mesh);
	return rc ? 2 : *run.why ? 1 : 0;
}
