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
	atomic_ulong failed;
	pthread_mutex_t print;
};

static void log_line(void *user, enum mesh_log_level level, const char *subject, const char *text)
{
	fprintf(stderr, "mesh-call: %s: %s\n", subject, text);
}

static int print_text(void *user, struct mesh_slice text)
{
	return fwrite(text.data, 1, text.len, user) == text.len ? 0 : MESH_ERROR_SYSTEM;
}

static void one_call(struct run *run)
{
	const struct options *options = run->options;
	struct mesh_request request = {
		.size = sizeof(request),
		.method = options->method,
		.authority = options->authority,
		.path = options->path,
		.headers = options->headers,
		.header_count = options->header_count,
		.body = {options->body, options->body_len},
		.timeout_ms = options->timeout_ms,
	};
	struct mesh_call *call;
	int rc = mesh_call_start(run->mesh, &request, NULL, NULL, &call);

	if (rc) {
		fprintf(stderr, "mesh-call: %s\n", mesh_error_text(rc));
		atomic_fetch_add(&run->failed, 1);
		return;
	}
	if (mesh_call_wait(call, -1) < 0)
		atomic_fetch_add(&run->failed, 1);
	pthread_mutex_lock(&run->print);
	if (options->json)
		report_json(stdout, call);
	else if (options->count == 1)
		report_text(stdout, call);
	pthread_mutex_unlock(&run->print);
	mesh_call_release(call);
}

static void *caller(void *argument)
{
	struct run *run = argument;
	unsigned ms = run->options->interval_ms;

	while (atomic_fetch_add(&run->next, 1) < run->options->count) {
		one_call(run);
		if (ms)
			nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000}, NULL);
	}
	return NULL;
}

static int run_all(struct run *run)
{
	pthread_t threads[1024];
	unsigned started = 0;

	for (unsigned i = 1; i < run->options->concurrency; i++)
		if (!pthread_create(&threads[started], NULL, caller, run))
			started++;
	caller(run);
	for (unsigned i = 0; i < started; i++)
		pthread_join(threads[i], NULL);
	if (!run->options->json && run->options->count > 1)
		printf("%lu calls, %lu failed\n", run->options->count, atomic_load(&run->failed));
	if (run->options->stats)
		mesh_admin_stats(run->mesh, print_text, stderr);
	return atomic_load(&run->failed) ? 1 : 0;
}

int main(int argc, char **argv)
{
	struct options options;
	struct run run = {.options = &options, .print = PTHREAD_MUTEX_INITIALIZER};
	char why[512] = "";
	struct mesh_options mesh_options = {.size = sizeof(mesh_options), .error_buffer = why, .error_buffer_bytes = sizeof(why)};
	int rc;

	if (options_parse(&options, argc, argv))
		return 2;
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
