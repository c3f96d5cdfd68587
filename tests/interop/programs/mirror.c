/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A server of the lab that sends back what it gets while it gets it: request bodies of any size in bounded memory, and
 * TCP connections, which it greets first on ports that ask for it. Ends on SIGTERM or SIGINT, draining first.
 *
 *	lab-mirror NAME PORT[:first]..
 */
#include <mesh/mesh.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PORTS_MAX = 16, DRAIN_MS = 10000, READ_BYTES = 65536 };

static const char greeting[] = "220 the lab greets you\r\n";

/* What could not be sent yet, of a call or a stream. */
struct pending {
	char *data;
	size_t len;
	bool ended; /* nothing follows it */
};

static bool keep(struct pending *pending, struct mesh_slice data)
{
	char *grown = realloc(pending->data, pending->len + data.len + 1);

	if (!grown)
		return false;
	memcpy(grown + pending->len, data.data, data.len);
	pending->data = grown;
	pending->len += data.len;
	return true;
}

static void drop(struct pending *pending, size_t len)
{
	memmove(pending->data, pending->data + len, pending->len - len);
	pending->len -= len;
}

static void forget(struct pending *pending)
{
	free(pending->data);
	free(pending);
}

/* ---- HTTP */

static void on_data(struct mesh_call *call, struct mesh_slice data, void *user)
{
	struct pending *pending = user;

	if (!pending->len && mesh_call_send(call, data, false) >= 0)
		return;
	if (!keep(pending, data))
		mesh_call_cancel(call);
	mesh_call_pause(call);
}

static void on_writable(struct mesh_call *call, void *user)
{
	struct pending *pending = user;

	if (pending->len && mesh_call_send(call, (struct mesh_slice){pending->data, pending->len}, false) < 0)
		return;
	pending->len = 0;
	if (pending->ended)
		mesh_call_send(call, (struct mesh_slice){0}, true);
	else
		mesh_call_resume(call);
}

static void on_end(struct mesh_call *call, void *user)
{
	struct pending *pending = user;

	pending->ended = true;
	if (!pending->len)
		mesh_call_send(call, (struct mesh_slice){0}, true);
}

static void on_done(struct mesh_call *call, void *user)
{
	forget(user);
}

/* The answer begins with who asks, as far as the server knows, and goes on with the request's body. */
static void serve_call(struct mesh_call *call, void *user)
{
	static const struct mesh_call_events events = {
		.size = sizeof(events), .data = on_data, .end = on_end, .writable = on_writable, .done = on_done};
	const struct mesh_peer *peer = mesh_call_peer(call);
	struct mesh_header headers[] = {
		{mesh_slice_of("lab-client"), peer ? peer->identity : (struct mesh_slice){0}},
		{mesh_slice_of("lab-protocol"), peer ? peer->protocol : (struct mesh_slice){0}}};
	struct pending *pending = calloc(1, sizeof(*pending));

	for (size_t i = 0; i < sizeof(headers) / sizeof(*headers); i++)
		if (!headers[i].value.len)
			headers[i].value = mesh_slice_of("none");
	if (!pending || mesh_call_on(call, &events, pending) < 0) {
		free(pending);
		mesh_call_cancel(call);
		return;
	}
	mesh_call_respond(call, 200, headers, sizeof(headers) / sizeof(*headers), (struct mesh_slice){0}, false);
}

/* ---- TCP */

static void end_stream(struct mesh_stream *stream, struct pending *pending)
{
	mesh_stream_close(stream);
	forget(pending);
}

/* Writes what is pending. 1: all of it, 0: `writable` goes on, < 0: over. */
static int flush(struct mesh_stream *stream, struct pending *pending)
{
	while (pending->len) {
		int64_t n = mesh_stream_write(stream, (struct mesh_slice){pending->data, pending->len});

		if (n < 0)
			return n == MESH_ERROR_AGAIN ? 0 : (int)n;
		drop(pending, (size_t)n);
	}
	if (pending->ended) {
		int rc = mesh_stream_shutdown(stream);

		return rc == MESH_ERROR_AGAIN ? 0 : rc < 0 ? rc : 1;
	}
	return 1;
}

static void mirror(struct mesh_stream *stream, void *user)
{
	struct pending *pending = user;
	char data[READ_BYTES];

	for (;;) {
		int rc = flush(stream, pending);
		int64_t n;

		if (rc == 0)
			return;
		if (rc < 0 || pending->ended)
			break;
		n = mesh_stream_read(stream, data, sizeof(data));
		if (n == MESH_ERROR_AGAIN)
			return;
		if (n < 0 || (n > 0 && !keep(pending, (struct mesh_slice){data, (size_t)n})))
			break;
		pending->ended = n == 0;
	}
	end_stream(stream, pending);
}

static void on_closed(struct mesh_stream *stream, void *user)
{
	end_stream(stream, user);
}

static void serve_stream(struct mesh_stream *stream, void *user)
{
	static const struct mesh_stream_events events = {
		.size = sizeof(events), .readable = mirror, .writable = mirror, .closed = on_closed};
	const bool *first = user;
	struct pending *pending = calloc(1, sizeof(*pending));

	if (!pending || (*first && !keep(pending, mesh_slice_of(greeting))) ||
	    mesh_stream_on(stream, &events, pending) < 0) {
		mesh_stream_close(stream);
		if (pending)
			forget(pending);
		return;
	}
	if (*first)
		mirror(stream, pending);
}

/* ---- the program */

static void log_line(void *user, enum mesh_log_level level, const char *subject, const char *text)
{
	fprintf(stderr, "lab-mirror: %s: %s\n", subject, text);
}

static int listen_on(struct mesh *mesh, const char *word, bool *first, struct mesh_listener **listener)
{
	struct mesh_listen_options options = {.size = sizeof(options),
					      .handler = serve_call,
					      .stream_handler = serve_stream,
					      .user = first,
					      .grace_ms = DRAIN_MS};
	char *end;
	int rc;

	options.port = (uint16_t)strtoul(word, &end, 10);
	*first = !strcmp(end, ":first");
	rc = *end && !*first ? MESH_ERROR_INVALID : mesh_listen(mesh, &options, listener);
	if (rc)
		fprintf(stderr, "lab-mirror: %s: %s\n", word, mesh_error_text(rc));
	return rc;
}

int main(int argc, char **argv)
{
	struct mesh_options options = {.size = sizeof(options), .log = log_line};
	struct mesh_listener *listeners[PORTS_MAX] = {NULL};
	bool first[PORTS_MAX];
	struct mesh *mesh;
	sigset_t ends;
	int count = 0, number, rc;

	if (argc < 3 || argc > PORTS_MAX + 2) {
		fprintf(stderr, "usage: lab-mirror NAME PORT[:first]..\n");
		return 2;
	}
	sigemptyset(&ends);
	sigaddset(&ends, SIGTERM);
	sigaddset(&ends, SIGINT);
	pthread_sigmask(SIG_BLOCK, &ends, NULL); /* before the library starts threads, which inherit it */
	rc = mesh_open(&options, &mesh);
	if (rc) {
		fprintf(stderr, "lab-mirror: %s\n", mesh_error_text(rc));
		return 2;
	}
	while (!rc && count < argc - 2) {
		rc = listen_on(mesh, argv[count + 2], &first[count], &listeners[count]);
		count++;
	}
	if (!rc)
		sigwait(&ends, &number);
	if (!rc)
		mesh_drain(mesh, DRAIN_MS);
	while (count)
		mesh_listener_close(listeners[--count]);
	mesh_close(mesh);
	return rc ? 2 : 0;
}
