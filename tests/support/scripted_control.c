/* SPDX-License-Identifier: Apache-2.0 */
/* Records what the owner does and delivers what the test says. Knows no protocol. */
#include "support/scripted_control.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <mesh/error.h>

#include "base/slice.h"

struct sent_message {
	struct sent_message *next;
	size_t len;
	char data[];
};

struct scripted_instance {
	const struct control_ops *ops; /* first */
	struct scripted_control *script;
	const struct mesh_mem *mem;
	struct loop *loop;
};

/* What the test says, on its way to the loop. */
struct said {
	struct loop_mail mail;
	struct loop_mail *all; /* every one ever, to free */
	struct control_stream *stream;
	int status; /* -1: a message */
	size_t len;
	char data[];
};

static void must(bool condition)
{
	if (!condition) {
		fprintf(stderr, "scripted_control: contract broken or out of memory\n");
		abort();
	}
}

static char *copy_text(const char *text)
{
	char *copy = text ? strdup(text) : NULL;

	must(!text || copy);
	return copy;
}

/* ---- the owner's side ---- */

static int script_start(const struct control_ops *ops, const struct mesh_mem *mem, const struct log *log, struct loop *loop,
			struct control **control)
{
	struct scripted_control *script = ops->user;
	struct scripted_instance *instance = mesh_mem_zalloc(mem, sizeof(*instance));

	if (!instance)
		return MESH_ERROR_NOMEM;
	*instance = (struct scripted_instance){ops, script, mem, loop};
	pthread_mutex_lock(&script->shared.lock);
	script->shared.started++;
	pthread_mutex_unlock(&script->shared.lock);
	*control = (struct control *)instance;
	return 0;
}

static void script_stop(struct control *control)
{
	struct scripted_instance *instance = (struct scripted_instance *)control;
	struct scripted_control *script = instance->script;

	pthread_mutex_lock(&script->shared.lock);
	must(script->shared.opened == script->shared.closed);
	script->shared.stopped++;
	pthread_mutex_unlock(&script->shared.lock);
	mesh_mem_free(instance->mem, instance);
}

static char *join_headers(const struct mesh_header *headers, size_t count)
{
	char *text = calloc(1, 1), *longer;

	for (size_t i = 0; i < count; i++) {
		must(asprintf(&longer, "%s%.*s: %.*s\n", text, (int)headers[i].name.len, headers[i].name.data,
			      (int)headers[i].value.len, headers[i].value.data) >= 0);
		free(text);
		text = longer;
	}
	return text;
}

static int script_open(struct control *control, const struct control_target *target, const char *method,
		       const struct mesh_header *headers, size_t header_count, uint32_t timeout_ms,
		       struct control_handler *handler, struct control_stream **result)
{
	struct scripted_instance *instance = (struct scripted_instance *)control;
	struct scripted_control *script = instance->script;
	struct control_stream *stream;
	void *held;
	int error;

	pthread_mutex_lock(&script->shared.lock);
	error = script->shared.open_error;
	script->shared.refused += error != 0;
	pthread_cond_broadcast(&script->shared.changed);
	pthread_mutex_unlock(&script->shared.lock);
	held = error ? NULL : mesh_mem_alloc(instance->mem, 16);
	if (!held)
		return error ? error : MESH_ERROR_NOMEM;
	stream = calloc(1, sizeof(*stream));
	must(stream);
	*stream = (struct control_stream){
		.script = script, .handler = handler, .mem = instance->mem, .loop = instance->loop, .held = held,
		.address = copy_text(target->address), .server_name = copy_text(target->server_name),
		.roots_pem = copy_text(target->roots_pem), .chain_pem = copy_text(target->chain_pem),
		.key_pem = copy_text(target->key_pem), .method = copy_text(method),
		.headers = join_headers(headers, header_count), .message_bytes_max = target->message_bytes_max,
		.timeout_ms = timeout_ms,
	};
	pthread_mutex_lock(&script->shared.lock);
	script->shared.opened++;
	stream->next = script->shared.streams;
	script->shared.streams = stream;
	pthread_cond_broadcast(&script->shared.changed);
	pthread_mutex_unlock(&script->shared.lock);
	*result = stream;
	return 0;
}

static int script_send(struct control_stream *stream, struct mesh_slice bytes, bool last)
{
	struct scripted_control *script = stream->script;
	struct sent_message *message, **end = &stream->sent;
	void *probe = mesh_mem_alloc(stream->mem, bytes.len);
	int error;

	if (!probe)
		return MESH_ERROR_NOMEM;
	mesh_mem_free(stream->mem, probe);
	pthread_mutex_lock(&script->shared.lock);
	must(!stream->closed && !stream->last);
	error = stream->ended ? MESH_ERROR_STATE : script->shared.send_error;
	if (!error) {
		message = malloc(sizeof(*message) + bytes.len + 1);
		must(message);
		message->next = NULL;
		message->len = bytes.len;
		memcpy(message->data, bytes.len ? bytes.data : "", bytes.len);
		message->data[bytes.len] = '\0';
		while (*end)
			end = &(*end)->next;
		*end = message;
		stream->sent_count++;
		stream->last = last;
		pthread_cond_broadcast(&script->shared.changed);
	}
	pthread_mutex_unlock(&script->shared.lock);
	return error;
}

static void script_close(struct control_stream *stream)
{
	if (!stream)
		return;
	pthread_mutex_lock(&stream->script->shared.lock);
	must(!stream->closed);
	stream->closed = true;
	stream->script->shared.closed++;
	pthread_cond_broadcast(&stream->script->shared.changed);
	pthread_mutex_unlock(&stream->script->shared.lock);
	mesh_mem_free(stream->mem, stream->held);
}

static void deliver(struct loop_mail *mail)
{
	struct said *said = MESH_CONTAINER(mail, struct said, mail);
	struct control_stream *stream = said->stream;

	if (stream->closed || stream->ended)
		return;
	if (said->status < 0) {
		/* a block of its own size, gone afterwards: borrowing it for longer shows */
		char *bytes = malloc(said->len ? said->len : 1);

		must(bytes);
		memcpy(bytes, said->data, said->len);
		stream->handler->message(stream->handler, mesh_slice_make(bytes, said->len));
		free(bytes);
		return;
	}
	pthread_mutex_lock(&stream->script->shared.lock);
	stream->ended = true;
	pthread_mutex_unlock(&stream->script->shared.lock);
	stream->handler->closed(stream->handler, said->status, said->data);
}

/* ---- the test's side ---- */

void scripted_control_init(struct scripted_control *script)
{
	memset(script, 0, sizeof(*script));
	script->ops = (struct control_ops){script_start, script_stop, script_open, script_send, script_close, script};
	script->wait_ms = 20000;
	must(!pthread_mutex_init(&script->shared.lock, NULL) && !pthread_cond_init(&script->shared.changed, NULL));
}

static void stream_free(struct control_stream *stream)
{
	while (stream->sent) {
		struct sent_message *message = stream->sent;

		stream->sent = message->next;
		free(message);
	}
	free(stream->address);
	free(stream->server_name);
	free(stream->roots_pem);
	free(stream->chain_pem);
	free(stream->key_pem);
	free(stream->method);
	free(stream->headers);
	free(stream);
}

void scripted_control_free(struct scripted_control *script)
{
	while (script->shared.streams) {
		struct control_stream *stream = script->shared.streams;

		script->shared.streams = stream->next;
		stream_free(stream);
	}
	while (script->shared.mail) {
		struct said *said = MESH_CONTAINER(script->shared.mail, struct said, mail);

		script->shared.mail = said->all;
		free(said);
	}
	pthread_mutex_destroy(&script->shared.lock);
	pthread_cond_destroy(&script->shared.changed);
}

bool scripted_control_clean(struct scripted_control *script)
{
	return script->shared.opened == script->shared.closed && script->shared.started == script->shared.stopped;
}

void scripted_control_fail(struct scripted_control *script, int open_error, int send_error)
{
	pthread_mutex_lock(&script->shared.lock);
	script->shared.open_error = open_error;
	script->shared.send_error = send_error;
	pthread_mutex_unlock(&script->shared.lock);
}

static struct timespec in_ns(uint64_t left_ns)
{
	struct timespec at;

	clock_gettime(CLOCK_REALTIME, &at);
	left_ns = (left_ns > INT64_MAX ? 0 : left_ns) + (uint64_t)at.tv_nsec;
	return (struct timespec){at.tv_sec + (time_t)(left_ns / 1000000000), (long)(left_ns % 1000000000)};
}

/* Something to wait for, looked at with the lock. */
typedef bool condition_fn(struct scripted_control *script, void *what);

static bool wait_for(struct scripted_control *script, condition_fn *condition, void *what)
{
	uint64_t until_ns = mesh_time_now_ns() + (uint64_t)script->wait_ms * 1000000;
	struct timespec slice;
	bool met;

	pthread_mutex_lock(&script->shared.lock);
	while (!(met = condition(script, what)) && mesh_time_now_ns() < until_ns) {
		if (script->pump) {
			pthread_mutex_unlock(&script->shared.lock);
			must(mesh_loop_run(script->pump, 20) >= 0);
			pthread_mutex_lock(&script->shared.lock);
			continue;
		}
		slice = in_ns(until_ns - mesh_time_now_ns());
		pthread_cond_timedwait(&script->shared.changed, &script->shared.lock, &slice);
	}
	pthread_mutex_unlock(&script->shared.lock);
	return met;
}

struct wanted_stream {
	const char *method;
	struct control_stream *found;
};

/* The oldest: a list has the newest first. */
static bool is_open(struct scripted_control *script, void *what)
{
	struct wanted_stream *wanted = what;

	wanted->found = NULL;
	for (struct control_stream *stream = script->shared.streams; stream; stream = stream->next)
		if (!stream->claimed && strstr(stream->method, wanted->method))
			wanted->found = stream;
	if (wanted->found)
		wanted->found->claimed = true;
	return wanted->found;
}

static bool is_sent(struct scripted_control *script, void *what)
{
	struct control_stream *stream = what;

	return stream->taken < stream->sent_count;
}

static bool is_closed(struct scripted_control *script, void *what)
{
	return ((struct control_stream *)what)->closed;
}

static bool is_refused(struct scripted_control *script, void *what)
{
	return script->shared.refused >= *(unsigned *)what;
}

struct control_stream *scripted_wait_open(struct scripted_control *script, const char *method)
{
	struct wanted_stream wanted = {method, NULL};

	return wait_for(script, is_open, &wanted) ? wanted.found : NULL;
}

bool scripted_wait_sent(struct control_stream *stream, struct mesh_slice *bytes)
{
	struct sent_message *message;

	if (!wait_for(stream->script, is_sent, stream))
		return false;
	pthread_mutex_lock(&stream->script->shared.lock);
	message = stream->sent;
	for (unsigned i = 0; i < stream->taken; i++)
		message = message->next;
	stream->taken++;
	*bytes = mesh_slice_make(message->data, message->len);
	pthread_mutex_unlock(&stream->script->shared.lock);
	return true;
}

bool scripted_wait_closed(struct control_stream *stream)
{
	return wait_for(stream->script, is_closed, stream);
}

bool scripted_is_closed(struct control_stream *stream)
{
	bool closed;

	pthread_mutex_lock(&stream->script->shared.lock);
	closed = stream->closed;
	pthread_mutex_unlock(&stream->script->shared.lock);
	return closed;
}

bool scripted_wait_refused(struct scripted_control *script, unsigned count)
{
	return wait_for(script, is_refused, &count);
}

unsigned scripted_sent_left(struct control_stream *stream)
{
	unsigned left;

	pthread_mutex_lock(&stream->script->shared.lock);
	left = stream->sent_count - stream->taken;
	pthread_mutex_unlock(&stream->script->shared.lock);
	return left;
}

static void post(struct control_stream *stream, int status, struct mesh_slice bytes)
{
	struct said *said = calloc(1, sizeof(*said) + bytes.len + 1);

	must(said);
	said->mail.run = deliver;
	said->stream = stream;
	said->status = status;
	said->len = bytes.len;
	if (bytes.len)
		memcpy(said->data, bytes.data, bytes.len);
	pthread_mutex_lock(&stream->script->shared.lock);
	said->all = stream->script->shared.mail;
	stream->script->shared.mail = &said->mail;
	pthread_mutex_unlock(&stream->script->shared.lock);
	mesh_loop_post(stream->loop, &said->mail);
}

void scripted_say(struct control_stream *stream, struct mesh_slice bytes)
{
	post(stream, -1, bytes);
}

void scripted_end(struct control_stream *stream, int status, const char *text)
{
	post(stream, status, mesh_slice_of(text));
}
