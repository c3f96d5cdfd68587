/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The client of tcp_peer.py, through the mesh: sends, half-closes, and compares the echo.
 *
 *	lab-stream HOST:PORT [first]     first: the server greets before anything is sent
 *
 * One line of JSON; exit status: 0 all went well, 1 it did not, 2 the command line or the joining failed.
 */
#include <mesh/mesh.h>

#include <stdio.h>
#include <string.h>

enum { BYTES = 300000, READY_MS = 30000, STEP_MS = 10000 };

static const char greeting[] = "220 the lab greets you\r\n";

static char sent[BYTES], came[BYTES + 1];

/* Waits until `what` may do more; 0, or why not. */
static int await(struct mesh_stream *stream, int what)
{
	int rc = mesh_stream_wait(stream, what, STEP_MS);

	return rc < 0 ? rc : 0;
}

/* Reads until `least` bytes or the end: how many, or < 0. */
static int64_t read_some(struct mesh_stream *stream, size_t least)
{
	size_t len = 0;

	while (len < least) {
		int64_t n = mesh_stream_read(stream, came + len, least - len);

		if (n == 0)
			break;
		if (n > 0)
			len += (size_t)n;
		else if (n != MESH_ERROR_AGAIN || (n = await(stream, MESH_STREAM_READABLE)) < 0)
			return n;
	}
	return (int64_t)len;
}

/* Sends everything and reads its echo, both as there is room. 0, or < 0. */
static int exchange(struct mesh_stream *stream, size_t *received)
{
	size_t out = 0;
	bool half = false, ended = false;

	while (!half || !ended) {
		int64_t n;
		int what = 0, rc;

		if (!half) {
			n = out < BYTES ? mesh_stream_write(stream, (struct mesh_slice){sent + out, BYTES - out})
					: mesh_stream_shutdown(stream);
			if (n < 0 && n != MESH_ERROR_AGAIN)
				return (int)n;
			half = out == BYTES && n >= 0;
			if (n > 0)
				out += (size_t)n;
			what |= n == MESH_ERROR_AGAIN ? MESH_STREAM_WRITABLE : 0;
		}
		if (!ended && *received <= BYTES) {
			n = mesh_stream_read(stream, came + *received, BYTES + 1 - *received);
			if (n < 0 && n != MESH_ERROR_AGAIN)
				return (int)n;
			ended = n == 0;
			if (n > 0)
				*received += (size_t)n;
			what |= n == MESH_ERROR_AGAIN ? MESH_STREAM_READABLE : 0;
		} else {
			ended = true;
		}
		/* wait only when neither direction got on */
		if ((what & MESH_STREAM_READABLE) && (half || (what & MESH_STREAM_WRITABLE)) &&
		    (rc = await(stream, what)) < 0)
			return rc;
	}
	return 0;
}

static void report(struct mesh_stream *stream, int rc, size_t received, const char *why)
{
	const struct mesh_peer *peer = mesh_stream_peer(stream);
	const struct mesh_stream_result *result = mesh_stream_result(stream);
	struct mesh_slice identity = peer ? peer->identity : (struct mesh_slice){0};

	printf("{\"ok\": %s, \"received\": %zu, \"peer_identity\": \"%.*s\", \"status\": \"%s\", \"flag\": \"%s\", "
	       "\"why\": \"%s\"}\n",
	       *why ? "false" : "true", received, (int)identity.len, identity.data ? identity.data : "",
	       mesh_error_name(rc), result->flag, why);
	if (result->why.len)
		fprintf(stderr, "lab-stream: %.*s\n", (int)result->why.len, result->why.data);
}

static int call(struct mesh *mesh, const char *target, bool first)
{
	struct mesh_stream_options options = {
		.size = sizeof(options), .target = mesh_slice_of(target), .server_first = first};
	struct mesh_stream *stream;
	const char *why = "";
	size_t received = 0;
	int64_t n = 0;
	int rc = mesh_stream_dial(mesh, &options, NULL, NULL, &stream);

	if (rc) {
		fprintf(stderr, "lab-stream: %s: %s\n", target, mesh_error_text(rc));
		return 2;
	}
	if (first)
		n = read_some(stream, sizeof(greeting) - 1);
	if (first && (n != sizeof(greeting) - 1 || memcmp(came, greeting, sizeof(greeting) - 1) != 0))
		rc = n < 0 ? (int)n : 0, why = "no greeting";
	if (!*why && (rc = exchange(stream, &received)) < 0)
		why = "broken off";
	if (!*why && (received != BYTES || memcmp(sent, came, BYTES) != 0))
		why = "not an echo";
	report(stream, rc, received, why);
	mesh_stream_close(stream);
	return *why ? 1 : 0;
}

static void log_line(void *user, enum mesh_log_level level, const char *subject, const char *text)
{
	fprintf(stderr, "lab-stream: %s: %s\n", subject, text);
}

int main(int argc, char **argv)
{
	struct mesh_options options = {.size = sizeof(options), .log = log_line};
	bool first = argc == 3 && !strcmp(argv[2], "first");
	struct mesh *mesh;
	int rc;

	if (argc != 2 && !first) {
		fprintf(stderr, "usage: lab-stream HOST:PORT [first]\n");
		return 2;
	}
	for (int i = 0; i < BYTES; i++)
		sent[i] = (char)(i * 7 % 251);
	rc = mesh_open(&options, &mesh);
	if (!rc)
		rc = mesh_wait_ready(mesh, READY_MS);
	if (rc)
		fprintf(stderr, "lab-stream: %s\n", mesh_error_text(rc));
	rc = rc ? 2 : call(mesh, argv[1], first);
	mesh_close(mesh);
	return rc;
}
