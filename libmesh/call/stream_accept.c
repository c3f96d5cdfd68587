/* SPDX-License-Identifier: Apache-2.0 */
/* Makes a stream of an accepted connection that policies let in. Refuses to know how it was chosen and secured. */
#include "call/stream.h"

#include "call/inbound.h"

static int begin(struct mesh_stream *stream, struct inbound *inbound)
{
	const struct chain *chain = inbound->chain;
	bool failed = false;

	stream->head = mesh_arena_slice(&stream->arena, mesh_buf_slice(&inbound->head), &failed);
	if (failed)
		return MESH_ERROR_NOMEM;
	mesh_stream_limit(stream, chain->tcp_idle_timeout_ns, chain->tcp_duration_max_ns);
	return mesh_stream_open(stream, inbound->transport, &inbound->remote, chain->metadata_exchange,
				chain->metadata_exchange_protocol);
}

int mesh_stream_accept(struct inbound *inbound)
{
	struct mesh_listener *listener = inbound->listener;
	struct mesh_worker *worker = inbound->worker;
	struct mesh_stream *stream = mesh_stream_new(worker, true);
	int rc;

	if (!stream)
		return MESH_ERROR_NOMEM;
	mesh_timer_stop(worker->env.loop, &inbound->timer);
	if (inbound->io.fd >= 0)
		mesh_loop_unwatch(worker->env.loop, &inbound->io);
	mesh_stream_attach(stream);
	rc = begin(stream, inbound);
	if (rc) { /* nobody heard of it */
		mesh_stream_release(stream);
		return rc;
	}
	mesh_buf_free(&inbound->head);
	inbound->state = INBOUND_STREAMING;
	inbound->stream = stream;
	stream->inbound = inbound;
	mesh_listener_count(&listener->stats.tcp_cx_total);
	stream->telling++;
	listener->stream_handler(stream, listener->user);
	stream->telling--;
	mesh_stream_settle(stream);
	return 0;
}
