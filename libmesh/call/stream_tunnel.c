/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Asks a proxy of HTTP/1.1 for a tunnel (CONNECT) and says when it is there. Refuses to know what goes through it, and any
 * other version of HTTP.
 */
#include "call/stream_tunnel.h"

enum { HEAD_BYTES_MAX = 16384, HEADERS_MAX = 100, CHUNK = 4096 };

static struct stream_tunnel *tunnel_of(struct dial *dial)
{
	struct stream_dial *one = MESH_CONTAINER(dial, struct stream_dial, dial);

	return one->stream ? one->stream->client.tunnel : NULL;
}

static void over(struct stream_tunnel *tunnel, int error, struct mesh_slice rest, const char *why)
{
	struct stream_dial *one = tunnel->one;
	struct mesh_stream *stream = one->stream;
	struct mesh_slice kept = mesh_arena_slice(&stream->arena, rest, NULL);

	if (rest.len && !kept.data)
		error = MESH_ERROR_NOMEM;
	mesh_timer_stop(one->dial.env->loop, &one->dial.timer);
	mesh_stream_tunnel_end(stream);
	tunnel->done(one, error, kept, error == MESH_ERROR_NOMEM ? "no memory" : why);
}

static void failed(struct stream_tunnel *tunnel, int error, const char *why)
{
	over(tunnel, error, (struct mesh_slice){NULL, 0}, why);
}

static void refused(struct stream_tunnel *tunnel, int status)
{
	struct why why = {{0}};

	mesh_why(&why, MESH_ERROR_CONNECT, "the proxy answered %d to CONNECT", status);
	failed(tunnel, MESH_ERROR_CONNECT, why.text);
}

/* Not the answer yet. True: it may still come, and the parser is ready for it. */
static bool pass_interim(struct stream_tunnel *tunnel, size_t head_bytes)
{
	mesh_buf_consume(&tunnel->answer, head_bytes);
	mesh_http1_parser_init(&tunnel->parser, HEAD_BYTES_MAX, HEADERS_MAX, true);
	tunnel->interim += head_bytes; /* together as long as one head at most */
	if (tunnel->interim <= HEAD_BYTES_MAX)
		return true;
	failed(tunnel, MESH_ERROR_PROTOCOL, "the proxy sends interim responses to CONNECT without end");
	return false;
}

/*
 * RFC 9110 9.3.6: any 2xx is the tunnel, and what its head says of a body is nothing. True: the head was not the answer, and
 * more is to be heard.
 */
static bool judge(struct stream_tunnel *tunnel, size_t head_bytes)
{
	struct mesh_slice all = mesh_buf_slice(&tunnel->answer);
	struct http_head head = {0};
	int rc = mesh_http1_parse_response(&tunnel->parser, mesh_slice_make(all.data, head_bytes), true,
					   &tunnel->one->stream->arena, &head);

	if (!rc && head.status < 200 && head.status != 101)
		return pass_interim(tunnel, head_bytes);
	if (rc)
		failed(tunnel, rc, tunnel->parser.why.text);
	else if (head.status < 200 || head.status > 299)
		refused(tunnel, head.status);
	else
		over(tunnel, 0, mesh_slice_make(all.data + head_bytes, all.len - head_bytes), "");
	return false;
}

/* 0: all of it is out. */
static int say(struct stream_tunnel *tunnel)
{
	struct transport *transport = tunnel->one->dial.transport;

	while (tunnel->request.len) {
		ssize_t n = transport->ops->write(transport, tunnel->request);

		if (n < 0)
			return (int)n;
		tunnel->request.data += n;
		tunnel->request.len -= (size_t)n;
	}
	return 0;
}

/* > 0: the head is whole, of so many bytes. */
static ssize_t hear(struct stream_tunnel *tunnel)
{
	struct transport *transport = tunnel->one->dial.transport;
	ssize_t n;

	while (!(n = mesh_http1_find_head(&tunnel->parser, mesh_buf_slice(&tunnel->answer)))) {
		char *room = mesh_buf_reserve(&tunnel->answer, CHUNK);
		bool drained;
		ssize_t got = room ? transport->ops->read(transport, room, CHUNK, &drained) : MESH_ERROR_NOMEM;

		if (got <= 0)
			return got ? got : MESH_ERROR_RESET;
		mesh_buf_commit(&tunnel->answer, (size_t)got);
	}
	return n;
}

static void go_on(struct stream_tunnel *tunnel)
{
	struct dial *dial = &tunnel->one->dial;
	ssize_t n = say(tunnel);

	if (n == 0)
		n = hear(tunnel);
	while (n > 0) {
		if (!judge(tunnel, (size_t)n))
			return;
		n = hear(tunnel);
	}
	if (n == MESH_ERROR_AGAIN)
		mesh_loop_change(dial->env->loop, &dial->io, dial->transport->wants);
	else
		failed(tunnel, (int)n,
		       tunnel->parser.why.text[0] ? tunnel->parser.why.text : "the proxy closed the connection");
}

static void ready(struct loop_io *io, unsigned what)
{
	struct stream_tunnel *tunnel = tunnel_of(MESH_CONTAINER(io, struct dial, io));

	(void)what;
	if (tunnel)
		go_on(tunnel);
}

static void too_late(struct loop_timer *timer)
{
	struct stream_tunnel *tunnel = tunnel_of(MESH_CONTAINER(timer, struct dial, timer));

	if (tunnel)
		failed(tunnel, MESH_ERROR_CONNECT_TIMEOUT, "the proxy did not answer CONNECT in time");
}

static int write_request(struct mesh_stream *stream, const struct tunnel_config *config, struct mesh_slice *request)
{
	struct arena *arena = &stream->arena;
	struct mesh_slice text =
		mesh_arena_printf(arena, "CONNECT %.*s HTTP/1.1\r\nhost: %.*s\r\n", (int)config->target.len,
				  config->target.data, (int)config->target.len, config->target.data);

	for (size_t i = 0; text.data && i < config->header_count; i++) {
		const struct tunnel_header *header = &config->headers[i];

		text = mesh_arena_printf(arena, "%.*s%.*s: %.*s\r\n", (int)text.len, text.data, (int)header->name.len,
					 header->name.data, (int)header->value.len,
					 header->value.data ? header->value.data : "");
	}
	if (text.data)
		text = mesh_arena_printf(arena, "%.*s\r\n", (int)text.len, text.data);
	*request = text;
	return text.data ? 0 : MESH_ERROR_NOMEM;
}

int mesh_stream_tunnel_begin(struct stream_dial *one,
			     void (*done)(struct stream_dial *, int, struct mesh_slice, const char *), struct why *why)
{
	struct mesh_stream *stream = one->stream;
	struct loop *loop = one->dial.env->loop;
	struct stream_tunnel *tunnel;
	int rc;

	if (one->dial.config->protocol != UPSTREAM_HTTP1)
		return mesh_why(why, MESH_ERROR_NO_ENDPOINT,
				"a tunnel over another version than HTTP/1.1 is not supported");
	tunnel = mesh_arena_zalloc(&stream->arena, sizeof(*tunnel));
	if (!tunnel)
		return MESH_ERROR_NOMEM;
	tunnel->one = one;
	tunnel->done = done;
	mesh_http1_parser_init(&tunnel->parser, HEAD_BYTES_MAX, HEADERS_MAX, true);
	mesh_buf_init(&tunnel->answer, one->dial.env->mem, 2 * HEAD_BYTES_MAX);
	rc = write_request(stream, stream->client.chain->tunnel, &tunnel->request);
	one->dial.timer.due = too_late;
	if (!rc && stream->idle_ns)
		rc = mesh_timer_start(loop, &one->dial.timer, stream->idle_ns);
	if (rc)
		return rc;
	stream->client.tunnel = tunnel;
	one->dial.io.ready = ready;
	mesh_loop_change(loop, &one->dial.io, LOOP_READ | LOOP_WRITE);
	return 0;
}

void mesh_stream_tunnel_end(struct mesh_stream *stream)
{
	if (stream->client.tunnel)
		mesh_buf_free(&stream->client.tunnel->answer);
	stream->client.tunnel = NULL;
}
