/* SPDX-License-Identifier: Apache-2.0 */
/* mesh-call: a curl for the mesh. Every concurrent caller is a thread that blocks, with connections of its own. */
#include "call.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include <mesh/admin.h>

struct run {
	const struct options *options;
	struct mesh *mesh;
	atomic_ulong next;
	atomic_bool broken;   /* a call could not even start */
	pthread_mutex_t lock; /* of the output and the tally */
	struct tally tally;
};

static void log_line(void *user, enum mesh_log_level level, const char *subject, const char *text)
{
	fprintf(stderr, "mesh-call: %s: %s\n", subject, text);
}

static int print_text(void *user, struct mesh_slice text)
{
	return fwrite(text.data, 1, text.len, user) == text.len ? 0 : MESH_ERROR_SYSTEM;
}

static struct mesh_request request_of(const struct options *options)
{
	return (struct mesh_request){
		.size = sizeof(struct mesh_request),
		.method = options->method,
		.authority = options->authority,
		.path = options->path,
		.headers = options->headers,
		.header_count = options->header_count,
		.body = {options->body, options->body_len},
		.timeout_ms = options->timeout_ms,
		.version = options->version,
	};
}

static void refused(struct run *run, int rc)
{
	fprintf(stderr, "mesh-call: the request is refused: %s%s\n", mesh_error_text(rc),
		rc == MESH_ERROR_INVALID ? " (method, header or URL)" : "");
	atomic_store(&run->broken, true);
}

/* 0, or -1 when it makes no sense to go on: the request itself is refused. */
static int one_call(struct run *run)
{
	const struct options *options = run->options;
	struct mesh_request request = request_of(options);
	struct mesh_call *call;
	int rc = mesh_call_start(run->mesh, &request, NULL, NULL, &call);

	if (rc) {
		refused(run, rc);
		return -1;
	}
	mesh_call_wait(call, -1);
	pthread_mutex_lock(&run->lock);
	tally_add(&run->tally, call);
	if (mesh_call_result(call)->status < 0)
		report_failure(stderr, call);
	if (options->json)
		report_json(stdout, call);
	else if (options->count == 1)
		report_text(stdout, call);
	pthread_mutex_unlock(&run->lock);
	mesh_call_release(call);
	return 0;
}

static void *caller(void *argument)
{
	struct run *run = argument;
	unsigned ms = run->options->interval_ms;

	while (atomic_fetch_add(&run->next, 1) < run->options->count) {
		if (one_call(run) < 0)
			break;
		if (ms)
			nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000}, NULL);
	}
	return NULL;
}

/* What the mesh would do with the request, instead of doing it. */
static void explain(struct run *run)
{
	struct mesh_request request = request_of(run->options);
	int rc = mesh_explain(run->mesh, &request, run->options->json ? MESH_EXPLAIN_JSON : MESH_EXPLAIN_TEXT, print_text,
			      stdout);

	if (rc)
		refused(run, rc);
}

/* The configuration as received, into a file; 0, or 1 after saying why not. */
static int dump_config(struct run *run)
{
	FILE *file = fopen(run->options->dump, "w");
	int rc = file ? mesh_admin_config_dump(run->mesh, print_text, file) : MESH_ERROR_SYSTEM;

	if (file && fclose(file) && !rc)
		rc = MESH_ERROR_SYSTEM;
	if (rc)
		fprintf(stderr, "mesh-call: %s: %s\n", run->options->dump, mesh_error_text(rc));
	return rc ? 1 : 0;
}

static uint64_t now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static void call_all(struct run *run)
{
	const struct options *options = run->options;
	pthread_t threads[CONCURRENCY_MAX];
	unsigned started = 0;
	uint64_t start = now_us();

	while (started + 1 < options->concurrency && !pthread_create(&threads[started], NULL, caller, run))
		started++;
	if (started + 1 < options->concurrency)
		fprintf(stderr, "mesh-call: only %u callers, no more threads can be started\n", started + 1);
	caller(run);
	for (unsigned i = 0; i < started; i++)
		pthread_join(threads[i], NULL);
	if (!options->json && options->count > 1)
		tally_print(stdout, &run->tally, now_us() - start);
}

static int run_all(struct run *run)
{
	const struct options *options = run->options;
	int rc = 0;

	if (options->explain)
		explain(run);
	else
		call_all(run);
	if (options->stats)
		mesh_admin_stats(run->mesh, print_text, stderr);
	if (options->dump)
		rc = dump_config(run);
	if (run->broken)
		return 2;
	return run->tally.failed ? 1 : rc;
}

int main(int argc, char **argv)
{
	struct options options;
	struct run run = {.options = &options, .lock = PTHREAD_MUTEX_INITIALIZER};
	char why[512] = "";
	struct mesh_options mesh_options = {.size = sizeof(mesh_options), .error_buffer = why, .error_buffer_bytes = sizeof(why)};
	int rc;

	if (options_parse(&options, argc, argv)) {
		options_free(&options);
		return 2;
	}
	if (options.help)
		return 0;
	/* whoever paces the calls reads them as they come */
	if (options.interval_ms)
		setvbuf(stdout, NULL, _IOLBF, 0);
	mesh_options.log = log_line;
	mesh_options.log_level = options.verbose ? MESH_LOG_DEBUG : MESH_LOG_WARNING;
	rc = mesh_open(&mesh_options, &run.mesh);
	if (rc) {
		fprintf(stderr, "mesh-call: %s: %s\n", mesh_error_text(rc), why);
		options_free(&options);
		return 2;
	}
	rc = mesh_wait_ready(run.mesh, options.ready_ms);
	if (rc) {
		mesh_status_text(run.mesh, why, sizeof(why));
		fprintf(stderr, "mesh-call: not ready after %u ms: %s: %s\n", options.ready_ms, mesh_error_text(rc), why);
		rc = 2;
	} else {
		rc = run_all(&run);
	}
	mesh_close(run.mesh);
	options_free(&options);
	return rc;
}
