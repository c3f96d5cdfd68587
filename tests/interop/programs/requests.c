/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes through libmesh the requests that standard input describes, and tells what became of them: one JSON object a line
 * each way. It knows nothing of what was to be expected; tests/interop/differential compares.
 *
 *	lab-requests [-c CALLERS]
 *
 * in:  {"id": 7, "method": "GET", "authority": "a.test", "path": "/x", "headers": [["x-a", "1"], ..], "body": "", "lane": 0,
 *       "version": 2}
 * out: {"id": 7, "status": 200, "answered": true, "flag": "-", "attempts": 1, "route": "", "cluster": "", "why": "",
 *       "headers": [["x-b", "2"], ..], "body_bytes": 12, "body": "hello, world"}, or {"id": 7, "refused": "invalid"} for what cannot be sent.
 * `status` is the response's, or with "answered" false what a sidecar would have answered in our place. A lane is one caller:
 * its requests are made one after the other. Ends with the end of its input; exit status 2 when it could not join.
 */
#include <mesh/mesh.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "call_json.h"

enum { READY_MS = 30000, CALLERS_MAX = 64, HEADERS_MAX = 128, WAITING_MAX = 4096, CALL_MS = 20000 };

struct lane {
	pthread_t thread;
	struct requests *requests;
	pthread_cond_t filled;
	json_t *waiting[WAITING_MAX];
	size_t first, count;
	bool closed;
};

struct requests {
	struct mesh *mesh;
	pthread_mutex_t lock; /* of the lanes and the output */
	unsigned callers;
	struct lane lanes[CALLERS_MAX];
};

static struct mesh_slice text_of(json_t *value)
{
	return (struct mesh_slice){json_string_value(value), json_string_length(value)};
}

static json_t *pair_of(struct mesh_header header)
{
	json_t *pair = json_array();

	json_array_append_new(pair, call_json_text(header.name));
	json_array_append_new(pair, call_json_text(header.value));
	return pair;
}

static json_t *answer_of(const struct mesh_call *call)
{
	const struct mesh_result *result = mesh_call_result(call);
	json_t *answer = json_object(), *headers = json_array();
	struct mesh_header header;

	for (size_t i = 0; header = mesh_call_header_at(call, i), header.name.data; i++)
		json_array_append_new(headers, pair_of(header));
	json_object_set_new(answer, "status", json_integer(result->http_status ? result->http_status : result->local_status));
	json_object_set_new(answer, "answered", json_boolean(result->http_status != 0));
	json_object_set_new(answer, "error", json_string(mesh_error_name(result->status)));
	json_object_set_new(answer, "flag", json_string(result->flag));
	json_object_set_new(answer, "attempts", json_integer(result->attempts));
	json_object_set_new(answer, "route", call_json_text(result->route));
	json_object_set_new(answer, "cluster", call_json_text(result->cluster));
	json_object_set_new(answer, "why", call_json_text(result->why));
	json_object_set_new(answer, "headers", headers);
	json_object_set_new(answer, "body_bytes", json_integer((json_int_t)mesh_call_body(call).len));
	json_object_set_new(answer, "body", call_json_text(mesh_call_body(call)));
	return answer;
}

/* Makes one request; what became of it. */
static json_t *ask(struct mesh *mesh, json_t *asked)
{
	struct mesh_header headers[HEADERS_MAX];
	struct mesh_request request = {.size = sizeof(request), .method = text_of(json_object_get(asked, "method")),
				       .authority = text_of(json_object_get(asked, "authority")),
				       .path = text_of(json_object_get(asked, "path")), .headers = headers,
				       .body = text_of(json_object_get(asked, "body")), .timeout_ms = CALL_MS,
				       .version = json_integer_value(json_object_get(asked, "version")) == 2 ? MESH_HTTP_2
													    : MESH_HTTP_1_1};
	json_t *list = json_object_get(asked, "headers"), *answer;
	struct mesh_call *call;
	int rc;

	for (; request.header_count < json_array_size(list) && request.header_count < HEADERS_MAX; request.header_count++) {
		json_t *pair = json_array_get(list, request.header_count);

		headers[request.header_count] = (struct mesh_header){.name = text_of(json_array_get(pair, 0)),
								     .value = text_of(json_array_get(pair, 1))};
	}
	rc = mesh_call_start(mesh, &request, NULL, NULL, &call);
	if (rc)
		return json_pack("{s:s}", "refused", mesh_error_name(rc));
	mesh_call_wait(call, -1);
	answer = answer_of(call);
	mesh_call_release(call);
	return answer;
}

static json_t *take(struct lane *lane)
{
	struct requests *requests = lane->requests;
	json_t *asked = NULL;

	pthread_mutex_lock(&requests->lock);
	while (!lane->count && !lane->closed)
		pthread_cond_wait(&lane->filled, &requests->lock);
	if (lane->count) {
		asked = lane->waiting[lane->first];
		lane->first = (lane->first + 1) % WAITING_MAX;
		lane->count--;
	}
	pthread_mutex_unlock(&requests->lock);
	return asked;
}

static void *caller(void *argument)
{
	struct lane *lane = argument;
	json_t *asked;

	while ((asked = take(lane))) {
		json_t *answer = ask(lane->requests->mesh, asked);
		char *line;

		json_object_set(answer, "id", json_object_get(asked, "id"));
		line = json_dumps(answer, JSON_COMPACT);
		pthread_mutex_lock(&lane->requests->lock);
		puts(line ? line : "{}");
		fflush(stdout);
		pthread_mutex_unlock(&lane->requests->lock);
		free(line);
		json_decref(answer);
		json_decref(asked);
	}
	return NULL;
}

/* Gives the request on that line to its lane; 0, or -1 after saying what is wrong with it. */
static int give(struct requests *requests, const char *line)
{
	json_error_t error;
	json_t *asked = json_loads(line, 0, &error);
	struct lane *lane;
	int rc = -1;

	if (!asked) {
		fprintf(stderr, "lab-requests: not JSON: %s: %s", error.text, line);
		return -1;
	}
	lane = &requests->lanes[(size_t)json_integer_value(json_object_get(asked, "lane")) % requests->callers];
	pthread_mutex_lock(&requests->lock);
	if (lane->count < WAITING_MAX) {
		lane->waiting[(lane->first + lane->count++) % WAITING_MAX] = asked;
		pthread_cond_signal(&lane->filled);
		rc = 0;
	}
	pthread_mutex_unlock(&requests->lock);
	if (rc) {
		fprintf(stderr, "lab-requests: more than %d requests wait in one lane\n", WAITING_MAX);
		json_decref(asked);
	}
	return rc;
}

static int run(struct requests *requests)
{
	unsigned started = 0;
	char *line = NULL;
	size_t room = 0;
	int rc = 0;

	for (; started < requests->callers; started++) {
		struct lane *lane = &requests->lanes[started];

		lane->requests = requests;
		pthread_cond_init(&lane->filled, NULL);
		if (pthread_create(&lane->thread, NULL, caller, lane))
			break;
	}
	rc = started < requests->callers ? -1 : 0;
	puts("{\"ready\": true}");
	fflush(stdout);
	while (!rc && getline(&line, &room, stdin) > 0)
		rc = give(requests, line);
	free(line);
	for (unsigned i = 0; i < started; i++) {
		pthread_mutex_lock(&requests->lock);
		requests->lanes[i].closed = true;
		pthread_cond_signal(&requests->lanes[i].filled);
		pthread_mutex_unlock(&requests->lock);
		pthread_join(requests->lanes[i].thread, NULL);
	}
	return rc ? 1 : 0;
}

static void log_line(void *user, enum mesh_log_level level, const char *subject, const char *text)
{
	fprintf(stderr, "lab-requests: %s: %s\n", subject, text);
}

int main(int argc, char **argv)
{
	static struct requests requests = {.lock = PTHREAD_MUTEX_INITIALIZER, .callers = 4};
	char why[512] = "";
	struct mesh_options options = {.size = sizeof(options), .error_buffer = why, .error_buffer_bytes = sizeof(why),
				       .log = log_line, .log_level = MESH_LOG_WARNING};
	int option, rc;

	while ((option = getopt(argc, argv, "c:")) != -1) {
		if (option == 'c')
			requests.callers = (unsigned)strtoul(optarg, NULL, 10);
		if (option != 'c' || requests.callers < 1 || requests.callers > CALLERS_MAX) {
			fprintf(stderr, "usage: lab-requests [-c CALLERS], 1 to %d\n", CALLERS_MAX);
			return 2;
		}
	}
	rc = mesh_open(&options, &requests.mesh);
	if (rc) {
		fprintf(stderr, "lab-requests: %s: %s\n", mesh_error_text(rc), why);
		return 2;
	}
	rc = mesh_wait_ready(requests.mesh, READY_MS);
	if (rc)
		fprintf(stderr, "lab-requests: not ready: %s\n", mesh_error_text(rc));
	rc = rc ? 2 : run(&requests);
	mesh_close(requests.mesh);
	return rc;
}
