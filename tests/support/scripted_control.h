/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A control plane that says what a test tells it to: `struct control_ops` without a network. What is opened and sent is
 * kept for the test to look at; what the test says arrives on the owner's loop. It also watches the contract of
 * control_stream.h: everything opened is closed once, before stop.
 */
#ifndef TESTS_SUPPORT_SCRIPTED_CONTROL_H
#define TESTS_SUPPORT_SCRIPTED_CONTROL_H

#include <pthread.h>

#include "control/control_stream.h"

struct scripted_control {
	struct control_ops ops; /* hand out &script.ops */
	struct loop *pump;      /* run while waiting when the test itself owns the loop; NULL: another thread does */
	int wait_ms;            /* how long waits last at most; 20 s */
	struct {
		pthread_mutex_t lock;
		pthread_cond_t changed;
		struct control_stream *streams; /* all ever opened, newest first */
		struct loop_mail *mail;         /* all ever posted */
		int open_error, send_error;     /* returned by the next `open`s and `send`s when not 0 */
		unsigned opened, closed, refused; /* refused: by open_error */
		unsigned started, stopped;
	} shared;
};

/* A stream as it was opened; may be looked at until the script is freed. */
struct control_stream {
	struct scripted_control *script;
	struct control_stream *next;
	struct control_handler *handler;
	const struct mesh_mem *mem;
	struct loop *loop;
	void *held; /* a block of the owner's memory, so that running out and forgetting to close both show */
	char *address, *server_name, *roots_pem, *chain_pem, *key_pem, *method; /* NULL as given */
	char *headers;            /* "name: value" lines */
	size_t message_bytes_max;
	uint32_t timeout_ms;
	struct sent_message *sent; /* in order */
	unsigned sent_count, taken;
	bool claimed, last, ended, closed;
};

void scripted_control_init(struct scripted_control *script);
void scripted_control_free(struct scripted_control *script); /* after stop */
/* Everything was closed and stopped as it should be. */
bool scripted_control_clean(struct scripted_control *script);
void scripted_control_fail(struct scripted_control *script, int open_error, int send_error);

/* The next stream not returned yet whose method contains `method`; NULL when none comes. */
struct control_stream *scripted_wait_open(struct scripted_control *script, const char *method);
/* The next message the owner sent, in *bytes; false when none comes. */
bool scripted_wait_sent(struct control_stream *stream, struct mesh_slice *bytes);
bool scripted_wait_closed(struct control_stream *stream);
bool scripted_is_closed(struct control_stream *stream);
/* Waits for `open` having been refused that often. */
bool scripted_wait_refused(struct scripted_control *script, unsigned count);
/* Sent already and not taken yet, without waiting. */
unsigned scripted_sent_left(struct control_stream *stream);
/* From any thread while the loop lives; what comes after the stream was closed is lost, as with a network. */
void scripted_say(struct control_stream *stream, struct mesh_slice bytes);
void scripted_end(struct control_stream *stream, int status, const char *text);

#endif
