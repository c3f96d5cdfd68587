/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides what a request is answered with: a description of it, shaped by ?status=, ?delay_ms= and ?bytes=. Refuses to
 * know listeners. Whoever may call is untrusted still, so each of the three is bounded, and so is how many may wait.
 */
#include "echo.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "call_json.h"

enum { DELAY_MS_MAX = 60000, BYTES_MAX = 64 * 1024 * 1024, WAITING_MAX = 256 };

struct answer {
	struct echo *echo;
	struct mesh_call *call;
	long status;
	long delay_ms;
	long bytes; /* -1: the description is the body */
	char *body;
	size_t len;
};

/* ---- the query */

static bool to_number(struct mesh_slice digits, long *number)
{
	*number = 0;
	for (size_t i = 0; i < digits.len; i++) {
		if (digits.data[i] < '0' || digits.data[i] > '9' || *number > BYTES_MAX)
			return false;
		*number = *number * 10 + (digits.data[i] - '0');
	}
	return digits.len > 0;
}

/* Takes a parameter if it is there. False when its value is none of `min` to `max`. */
static bool take(struct mesh_slice path, const char *name, long min, long max, long *number)
{
	const char *at = memchr(path.data, '?', path.len), *end = path.data + path.len;
	size_t len = strlen(name);

	while (at && ++at < end) {
		const char *next = memchr(at, '&', (size_t)(end - at));

		if ((size_t)(end - at) > len && !memcmp(at, name, len) && at[len] == '=')
			return to_number((struct mesh_slice){at + len + 1, (size_t)((next ? next : end) - at) - len - 1}, number) &&
			       *number >= min && *number <= max;
		at = next;
	}
	return true;
}

/* NULL, or what is wrong. */
static const char *take_query(struct answer *answer, struct mesh_slice path)
{
	if (!take(path, "status", 200, 599, &answer->status))
		return "status: a number from 200 to 599 was expected\n";
	if (!take(path, "delay_ms", 0, DELAY_MS_MAX, &answer->delay_ms))
		return "delay_ms: a number from 0 to 60000 was expected\n";
	if (!take(path, "bytes", 0, BYTES_MAX, &answer->bytes))
		return "bytes: a number from 0 to 67108864 was expected\n";
	return NULL;
}

/* ---- the body */

static char *describe(const struct echo *echo, const struct mesh_call *call)
{
	static const struct mesh_peer nobody = {.size = sizeof(nobody)};
	const struct mesh_peer *peer = mesh_call_peer(call) ? mesh_call_peer(call) : &nobody;
	json_t *object = json_object();
	char *body;

	json_object_set_new(object, "name", json_string(echo->name));
	json_object_set_new(object, "method", call_json_text(mesh_call_method(call)));
	json_object_set_new(object, "path", call_json_text(mesh_call_path(call)));
	json_object_set_new(object, "authority", call_json_text(mesh_call_authority(call)));
	json_object_set_new(object, "headers", call_json_headers(call));
	json_object_set_new(object, "body_bytes", json_integer((json_int_t)mesh_call_body(call).len));
	json_object_set_new(object, "peer_identity", call_json_text(peer->identity));
	json_object_set_new(object, "protocol", call_json_text(peer->protocol));
	json_object_set_new(object, "tls", call_json_text(peer->tls_version));
	body = json_dumps(object, JSON_COMPACT);
	json_decref(object);
	return body;
}

/* False when out of memory. */
static bool fill(struct answer *answer)
{
	if (answer->bytes < 0) {
		answer->body = describe(answer->echo, answer->call);
		answer->len = answer->body ? strlen(answer->body) : 0;
		return answer->body;
	}
	answer->len = (size_t)answer->bytes;
	answer->body = malloc(answer->len + 1);
	if (answer->body)
		memset(answer->body, 'x', answer->len);
	return answer->body;
}

/* ---- sending it */

static void refuse(struct mesh_call *call, int status, const char *words)
{
	mesh_call_respond(call, status, NULL, 0, mesh_slice_of(words), true);
}

/* From any thread: the call is a library worker's. */
static void send_answer(struct answer *answer)
{
	struct mesh_header type = {mesh_slice_of("content-type"),
				   mesh_slice_of(answer->bytes < 0 ? "application/json" : "text/plain")};

	mesh_call_respond(answer->call, (int)answer->status, &type, 1, (struct mesh_slice){answer->body, answer->len}, true);
	free(answer->body);
	answer->body = NULL;
}

static void *answer_late(void *argument)
{
	struct answer *answer = argument;
	struct echo *echo = answer->echo;
	struct timespec end;

	clock_gettime(CLOCK_REALTIME, &end);
	end.tv_sec += answer->delay_ms / 1000;
	end.tv_nsec += answer->delay_ms % 1000 * 1000000;
	if (end.tv_nsec >= 1000000000) {
		end.tv_sec++;
		end.tv_nsec -= 1000000000;
	}
	pthread_mutex_lock(&echo->lock);
	while (!echo->ending && pthread_cond_timedwait(&echo->changed, &echo->lock, &end) != ETIMEDOUT)
		;
	pthread_mutex_unlock(&echo->lock);
	send_answer(answer);
	mesh_call_release(answer->call);
	free(answer);
	pthread_mutex_lock(&echo->lock);
	echo->waiting--;
	pthread_cond_broadcast(&echo->changed);
	pthread_mutex_unlock(&echo->lock);
	return NULL;
}

/* The worker must go on serving others, so another thread waits. Takes what `answer` holds, or returns false. */
static bool start_late(const struct answer *answer)
{
	struct answer *late = malloc(sizeof(*late));
	struct echo *echo = answer->echo;
	pthread_t thread;
	bool started;

	if (!late)
		return false;
	*late = *answer;
	mesh_call_retain(late->call);
	pthread_mutex_lock(&echo->lock);
	started = echo->waiting < WAITING_MAX && !pthread_create(&thread, NULL, answer_late, late);
	echo->waiting += started;
	pthread_mutex_unlock(&echo->lock);
	if (started)
		return pthread_detach(thread), true;
	mesh_call_release(late->call);
	free(late);
	return false;
}

void echo_answer(struct mesh_call *call, void *user)
{
	struct answer answer = {.echo = user, .call = call, .status = 200, .bytes = -1};
	const char *wrong = take_query(&answer, mesh_call_path(call));

	if (wrong) {
		refuse(call, 400, wrong);
	} else if (!fill(&answer)) {
		refuse(call, 500, "out of memory\n");
	} else if (answer.delay_ms == 0) {
		send_answer(&answer);
	} else if (!start_late(&answer)) {
		refuse(call, 503, "too many requests wait already\n");
		free(answer.body);
	}
}

void echo_open(struct echo *echo)
{
	pthread_mutex_init(&echo->lock, NULL);
	pthread_cond_init(&echo->changed, NULL);
}

void echo_end(struct echo *echo)
{
	pthread_mutex_lock(&echo->lock);
	echo->ending = true;
	pthread_cond_broadcast(&echo->changed);
	pthread_mutex_unlock(&echo->lock);
}

void echo_close(struct echo *echo)
{
	pthread_mutex_lock(&echo->lock);
	while (echo->waiting > 0)
		pthread_cond_wait(&echo->changed, &echo->lock);
	pthread_mutex_unlock(&echo->lock);
	pthread_cond_destroy(&echo->changed);
	pthread_mutex_destroy(&echo->lock);
}
