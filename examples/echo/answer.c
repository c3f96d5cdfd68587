/* SPDX-License-Identifier: Apache-2.0 */
/* Answers a request with what arrived of it; ?status=, ?delay_ms= and ?bytes= shape the answer. */
#include "echo.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <jansson.h>

static const long bytes_max = 1L << 30;

/* A number given in the query, or `otherwise`. */
static long query_number(struct mesh_slice path, const char *name, long otherwise)
{
	const char *at = memchr(path.data, '?', path.len), *end = path.data + path.len;
	size_t len = strlen(name);

	while (at && ++at < end) {
		if ((size_t)(end - at) > len && !memcmp(at, name, len) && at[len] == '=') {
			long value = 0;

			for (at += len + 1; at < end && *at >= '0' && *at <= '9' && value < bytes_max; at++)
				value = value * 10 + (*at - '0');
			return value;
		}
		at = memchr(at, '&', (size_t)(end - at));
	}
	return otherwise;
}

static json_t *text(struct mesh_slice slice)
{
	json_t *value = slice.data ? json_stringn(slice.data, slice.len) : NULL;

	return value ? value : json_string("");
}

static json_t *headers_of(const struct mesh_call *call)
{
	json_t *object = json_object();
	struct mesh_header header;

	for (size_t i = 0; header = mesh_call_header_at(call, i), header.name.data; i++) {
		char name[256];

		snprintf(name, sizeof(name), "%.*s", (int)header.name.len, header.name.data);
		json_object_set_new(object, name, text(header.value));
	}
	return object;
}

static char *describe(const struct echo *echo, const struct mesh_call *call)
{
	const struct mesh_peer *peer = mesh_call_peer(call);
	json_t *object = json_object();
	char *body;

	json_object_set_new(object, "name", json_string(echo->name));
	json_object_set_new(object, "method", text(mesh_call_method(call)));
	json_object_set_new(object, "path", text(mesh_call_path(call)));
	json_object_set_new(object, "authority", text(mesh_call_authority(call)));
	json_object_set_new(object, "headers", headers_of(call));
	json_object_set_new(object, "body_bytes", json_integer((json_int_t)mesh_call_body(call).len));
	json_object_set_new(object, "peer_identity", text(peer->identity));
	json_object_set_new(object, "protocol", text(peer->protocol));
	json_object_set_new(object, "tls", text(peer->tls_version));
	body = json_dumps(object, JSON_COMPACT);
	json_decref(object);
	return body;
}

static void send_answer(const struct echo *echo, struct mesh_call *call)
{
	struct mesh_header type = {mesh_slice_of("content-type"), mesh_slice_of("application/json")};
	struct mesh_slice path = mesh_call_path(call);
	long status = query_number(path, "status", 200), bytes = query_number(path, "bytes", -1);
	char *body = bytes >= 0 ? malloc((size_t)bytes + 1) : describe(echo, call);
	size_t len;

	if (!body || status < 200 || status > 599) {
		mesh_call_respond(call, body ? 400 : 500, NULL, 0, mesh_slice_of(body ? "status: expected 200..599\n" : ""), true);
		free(body);
		return;
	}
	if (bytes >= 0)
		memset(body, 'x', (size_t)bytes);
	len = bytes >= 0 ? (size_t)bytes : strlen(body);
	mesh_call_respond(call, (int)status, &type, 1, (struct mesh_slice){body, len}, true);
	free(body);
}

struct late {
	const struct echo *echo;
	struct mesh_call *call;
	long ms;
};

static void *answer_late(void *argument)
{
	struct late *late = argument;

	nanosleep(&(struct timespec){.tv_sec = late->ms / 1000, .tv_nsec = (late->ms % 1000) * 1000000}, NULL);
	send_answer(late->echo, late->call);
	mesh_call_release(late->call);
	free(late);
	return NULL;
}

void echo_answer(struct mesh_call *call, void *user)
{
	const struct echo *echo = user;
	long ms = query_number(mesh_call_path(call), "delay_ms", 0);
	struct late *late = ms > 0 ? malloc(sizeof(*late)) : NULL;
	pthread_t thread;

	if (!late) {
		send_answer(echo, call);
		return;
	}
	/* the worker must go on serving others: another thread waits */
	*late = (struct late){echo, mesh_call_retain(call), ms};
	if (!pthread_create(&thread, NULL, answer_late, late)) {
		pthread_detach(thread);
		return;
	}
	mesh_call_respond(call, 503, NULL, 0, mesh_slice_of("no thread"), true);
	mesh_call_release(call);
	free(late);
}
