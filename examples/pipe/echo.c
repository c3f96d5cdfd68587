/* SPDX-License-Identifier: Apache-2.0 */
/* The server: events move the bytes, and what did not go out yet keeps more from being read. */
#include "pipe.h"

#include <stdio.h>
#include <stdlib.h>

struct echo {
	const struct pipe_options *options;
	size_t at, end; /* of `data`, what is to go out */
	bool over;      /* the peer ended */
	bool named;
	char data[65536];
};

void print_peer(struct mesh_stream *stream)
{
	const struct mesh_peer *peer = mesh_stream_peer(stream);

	fprintf(stderr, "mesh-pipe: peer %.*s, %.*s%s%.*s%s%.*s\n", peer->identity.len ? (int)peer->identity.len : 7,
		peer->identity.len ? peer->identity.data : "nobody ", (int)peer->address.len, peer->address.data,
		peer->tls_version.len ? ", " : "", (int)peer->tls_version.len,
		peer->tls_version.len ? peer->tls_version.data : "", peer->workload_id.len ? ", " : "",
		(int)peer->workload_id.len, peer->workload_id.len ? peer->workload_id.data : "");
}

static void end(struct mesh_stream *stream, struct echo *echo)
{
	const struct mesh_stream_result *result = mesh_stream_result(stream);

	if (echo->options->verbose)
		fprintf(stderr, "mesh-pipe: %s, received %llu bytes\n", mesh_error_name(result->status),
			(unsigned long long)result->received_bytes);
	mesh_stream_close(stream);
	free(echo);
}

/* False: not all of it, more when there is room. */
static bool send(struct mesh_stream *stream, struct echo *echo)
{
	while (echo->at < echo->end) {
		int64_t n = mesh_stream_write(stream, (struct mesh_slice){echo->data + echo->at, echo->end - echo->at});

		if (n < 0)
			return false;
		echo->at += (size_t)n;
	}
	echo->at = echo->end = 0;
	return true;
}

/* Both ways: whatever became possible, what is left is done in order. */
static void go_on(struct mesh_stream *stream, void *user)
{
	struct echo *echo = user;

	while (send(stream, echo)) {
		int64_t n;

		if (echo->over) {
			if (mesh_stream_shutdown(stream) == 0)
				end(stream, echo);
			return;
		}
		n = mesh_stream_read(stream, echo->data, sizeof(echo->data));
		if (n < 0) /* later, or never: then `closed` follows */
			return;
		if (!echo->named && echo->options->verbose)
			print_peer(stream);
		echo->named = true;
		echo->end = (size_t)n;
		echo->over = n == 0;
	}
}

static void closed(struct mesh_stream *stream, void *user)
{
	end(stream, user);
}

void echo_stream(struct mesh_stream *stream, void *options)
{
	static const struct mesh_stream_events events = {
		.size = sizeof(events), .readable = go_on, .writable = go_on, .closed = closed};
	struct echo *echo = calloc(1, sizeof(*echo));
	size_t first;

	if (!echo || mesh_stream_on(stream, &events, echo)) {
		mesh_stream_close(stream);
		free(echo);
		return;
	}
	echo->options = options;
	if (!echo->options->first)
		return;
	first = strlen(echo->options->first);
	echo->end = first < sizeof(echo->data) ? first : sizeof(echo->data);
	memcpy(echo->data, echo->options->first, echo->end);
	send(stream, echo);
}
