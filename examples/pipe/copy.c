/* SPDX-License-Identifier: Apache-2.0 */
/* The client: one loop over poll(), for which a stream looks like any other descriptor. */
#include "pipe.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

struct copy {
	struct mesh_stream *stream;
	char out[65536];  /* read from standard input */
	size_t at, end;   /* of it, what was not written yet */
	bool input_ended; /* and `out` may still hold something */
	bool told;        /* our end */
	bool over;        /* the peer's */
	bool broken;      /* standard input or output */
	bool verbose;
};

/* All of it, whatever standard output is. */
static bool put_out(const char *data, size_t bytes)
{
	while (bytes) {
		ssize_t n = write(STDOUT_FILENO, data, bytes);

		if (n < 0 && errno == EAGAIN) {
			poll(&(struct pollfd){.fd = STDOUT_FILENO, .events = POLLOUT}, 1, -1);
			continue;
		}
		if (n < 0 && errno != EINTR)
			return false;
		data += n > 0 ? n : 0;
		bytes -= n > 0 ? (size_t)n : 0;
	}
	return true;
}

/* Whatever the stream has. Its errors are read from the result later. */
static void take_in(struct copy *copy)
{
	char in[65536];
	int64_t n;

	while ((n = mesh_stream_read(copy->stream, in, sizeof(in))) > 0 && !copy->broken)
		copy->broken = !put_out(in, (size_t)n);
	if (n >= 0 || n != MESH_ERROR_AGAIN)
		copy->over = true;
}

static void give_out(struct copy *copy)
{
	while (copy->at < copy->end) {
		int64_t n = mesh_stream_write(copy->stream,
					      (struct mesh_slice){copy->out + copy->at, copy->end - copy->at});

		if (n < 0)
			return;
		copy->at += (size_t)n;
	}
	copy->at = copy->end = 0;
	if (copy->input_ended && !copy->told)
		copy->told = mesh_stream_shutdown(copy->stream) == 0;
}

static void read_input(struct copy *copy)
{
	ssize_t n = read(STDIN_FILENO, copy->out, sizeof(copy->out));

	if (n > 0)
		copy->end = (size_t)n;
	else if (n == 0)
		copy->input_ended = true;
	else if (errno != EINTR && errno != EAGAIN)
		copy->broken = true;
}

static void run(struct copy *copy)
{
	while (!copy->over && !copy->broken) {
		struct pollfd fds[2] = {{.fd = STDIN_FILENO, .events = POLLIN}, {.fd = -1}};

		give_out(copy);
		take_in(copy);
		if (copy->over)
			break;
		if (copy->verbose && mesh_stream_peer(copy->stream)) {
			print_peer(copy->stream);
			copy->verbose = false;
		}
		fds[1].fd = mesh_stream_fd(copy->stream);
		fds[1].events = (short)mesh_stream_wants(copy->stream);
		if (copy->input_ended || copy->end)
			fds[0].fd = -1; /* nothing more to read, or not before this went out */
		if (poll(fds, 2, -1) < 0 && errno != EINTR)
			copy->broken = true;
		if (fds[0].revents)
			read_input(copy);
	}
}

int copy_run(struct mesh *mesh, const struct pipe_options *options)
{
	struct mesh_stream_options to = {.size = sizeof(to),
					 .target = mesh_slice_of(options->target),
					 .server_name = mesh_slice_of(options->server_name),
					 .server_first = options->server_first};
	static struct copy copy;
	const struct mesh_stream_result *result;
	int rc = mesh_stream_dial(mesh, &to, NULL, NULL, &copy.stream);

	if (rc) {
		fprintf(stderr, "mesh-pipe: %s: %s\n", options->target, mesh_error_text(rc));
		return 2;
	}
	copy.verbose = options->verbose;
	run(&copy);
	result = mesh_stream_result(copy.stream);
	rc = result->status;
	if (rc)
		fprintf(stderr, "mesh-pipe: %s: %s (%s): %.*s\n", options->target, mesh_error_name(rc), result->flag,
			(int)result->why.len, result->why.data);
	if (copy.broken)
		perror("mesh-pipe: standard input or output");
	if (options->verbose)
		fprintf(stderr, "mesh-pipe: sent %llu, received %llu bytes, %u attempts, endpoint %.*s\n",
			(unsigned long long)result->sent_bytes, (unsigned long long)result->received_bytes,
			result->attempts, (int)result->endpoint.len, result->endpoint.len ? result->endpoint.data : "");
	mesh_stream_close(copy.stream);
	return rc || copy.broken ? 1 : 0;
}
