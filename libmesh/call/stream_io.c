/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Moves the application's bytes: straight between its memory and the transport, after our metadata went out and the peer's
 * was taken off. Decides what is watched for and when the application is told. Refuses to know how the stream came about.
 */
#include "call/stream.h"

/* ---- before the application's bytes */

/* Inside a round its time is good enough; else the clock is read when it stops. */
static void bytes_moved(struct mesh_stream *stream)
{
	struct loop *loop = stream->worker->env.loop;

	if (mesh_loop_running(loop))
		stream->active_ns = mesh_loop_now_ns(loop);
	else
		stream->moved = true;
}

static int64_t write_some(struct mesh_stream *stream, struct mesh_slice data)
{
	int64_t n = stream->transport->ops->write(stream->transport, data);

	if (n >= 0) {
		stream->moved_out += (uint64_t)n;
		bytes_moved(stream);
		return n;
	}
	if (n == MESH_ERROR_AGAIN)
		stream->write_wants = stream->transport->wants;
	else
		mesh_stream_finish(stream, (int)n, stream->transport->why.text);
	return n;
}

int mesh_stream_flush(struct mesh_stream *stream)
{
	struct buf *first = &stream->client.first;

	if (stream->state != STREAM_OPEN)
		return 0;
	while (stream->greeting.len) {
		int64_t n = write_some(stream, stream->greeting);

		if (n < 0)
			return (int)n;
		stream->greeting.data += n;
		stream->greeting.len -= (size_t)n;
	}
	while (mesh_buf_len(first)) {
		int64_t n = write_some(stream, mesh_buf_slice(first));

		if (n < 0)
			return (int)n;
		mesh_buf_consume(first, (size_t)n);
	}
	mesh_buf_shrink(first);
	return 0;
}

static bool unsent(const struct mesh_stream *stream)
{
	return stream->greeting.len || mesh_buf_len(&stream->client.first);
}

/* > 0, 0 the end, AGAIN; or it is over. */
static int64_t read_some(struct mesh_stream *stream, char *buffer, size_t bytes)
{
	int64_t n;

	/* the last read said so; inside the loop nothing is lost by asking the system again only when it reports more */
	if (stream->drained && mesh_loop_running(stream->worker->env.loop)) {
		stream->drained = false;
		stream->read_wants = LOOP_READ;
		return MESH_ERROR_AGAIN;
	}
	n = stream->transport->ops->read(stream->transport, buffer, bytes, &stream->drained);
	if (n > 0) {
		stream->moved_in += (uint64_t)n;
		bytes_moved(stream);
	} else if (n == 0) {
		stream->peer_ended = true;
	} else if (n == MESH_ERROR_AGAIN) {
		stream->read_wants = stream->transport->wants;
	} else {
		mesh_stream_finish(stream, (int)n, stream->transport->why.text);
	}
	return n;
}

static void keep_workload(struct mesh_stream *stream, const struct stream_workload *workload)
{
	stream->peer.workload_id = workload->id;
	stream->peer.workload = workload->workload.data ? workload->workload : workload->name;
	stream->peer.workload_namespace = workload->ns;
}

/* The peer's metadata came, or is known not to come. */
static int metadata_over(struct mesh_stream *stream)
{
	struct stream_metadata *metadata = stream->metadata;

	switch (metadata->state) {
	case STREAM_METADATA_ABSENT:
		stream->head = mesh_slice_make(metadata->head, metadata->have);
		break;
	case STREAM_METADATA_DONE:
		keep_workload(stream, &metadata->workload);
		if (!metadata->understood)
			MESH_LOG_I(&stream->mesh->log, "stream", "%s: the peer's metadata is not understood",
				   stream->address_text);
		break;
	default:
		stream->metadata = NULL;
		mesh_stream_finish(stream, MESH_ERROR_PROTOCOL, metadata->why.text);
		return MESH_ERROR_PROTOCOL;
	}
	stream->metadata = NULL;
	return 0;
}

/* Reads no byte too many, so that what follows goes to where the application wants it. 0: the application's turn. */
static int64_t read_metadata(struct mesh_stream *stream)
{
	struct stream_metadata *metadata = stream->metadata;

	while (metadata->state == STREAM_METADATA_MORE) {
		size_t room;
		char *into = mesh_stream_metadata_room(metadata, &room);
		int64_t n = read_some(stream, into, room);

		if (n < 0)
			return n;
		if (n > 0) {
			mesh_stream_metadata_take(metadata, (size_t)n);
		} else if (!metadata->in_body) {
			metadata->state =
				STREAM_METADATA_ABSENT; /* too short to be one: it is all the peer had to say */
		} else {
			mesh_stream_finish(stream, MESH_ERROR_PROTOCOL, "the peer ended in the middle of its metadata");
			return MESH_ERROR_PROTOCOL;
		}
	}
	return metadata_over(stream);
}

/* ---- the application's */

/* The clock is read when it stops, not for each piece. Over too, when that was longer ago than allowed and nobody looked. */
static int64_t nothing_yet(struct mesh_stream *stream)
{
	uint64_t now = stream->idle_ns ? mesh_time_now_ns() : 0;

	if (stream->moved) {
		stream->moved = false;
		stream->active_ns = now;
	} else if (stream->idle_ns && now > stream->active_ns && now - stream->active_ns >= stream->idle_ns &&
		   !mesh_loop_running(stream->worker->env.loop)) {
		mesh_stream_finish(stream, MESH_ERROR_IDLE_TIMEOUT, "nothing moved within idle_timeout");
		return MESH_ERROR_IDLE_TIMEOUT;
	}
	mesh_stream_arm(stream);
	return MESH_ERROR_AGAIN;
}

/* Where nobody drives the clock. */
static bool too_long(struct mesh_stream *stream)
{
	if (!stream->duration_ns || mesh_loop_running(stream->worker->env.loop) ||
	    mesh_time_now_ns() - stream->opened_ns < stream->duration_ns)
		return false;
	mesh_stream_finish(stream, MESH_ERROR_DURATION, "max_downstream_connection_duration is over");
	return true;
}

int64_t mesh_stream_take(struct mesh_stream *stream, char *buffer, size_t bytes)
{
	int64_t n = too_long(stream) ? MESH_ERROR_DURATION : mesh_stream_flush(stream);

	if (n < 0 && n != MESH_ERROR_AGAIN)
		return n;
	stream->read_wants = 0;
	n = stream->metadata ? read_metadata(stream) : 0;
	if (!n && stream->head.len) {
		n = (int64_t)(stream->head.len < bytes ? stream->head.len : bytes);
		memcpy(buffer, stream->head.data, (size_t)n);
		stream->head.data += n;
		stream->head.len -= (size_t)n;
	} else if (!n && !stream->peer_ended) {
		n = read_some(stream, buffer, bytes);
	}
	if (n > 0)
		stream->result.received_bytes += (uint64_t)n;
	return n == MESH_ERROR_AGAIN ? nothing_yet(stream) : n;
}

int64_t mesh_stream_give(struct mesh_stream *stream, struct mesh_slice data)
{
	int64_t n = too_long(stream) ? MESH_ERROR_DURATION : mesh_stream_flush(stream);

	if (!n) {
		stream->write_wants = 0;
		n = write_some(stream, data);
		stream->write_pending = n == MESH_ERROR_AGAIN;
	}
	if (n > 0)
		stream->result.sent_bytes += (uint64_t)n;
	return n == MESH_ERROR_AGAIN ? nothing_yet(stream) : n;
}

int mesh_stream_end(struct mesh_stream *stream)
{
	int rc = too_long(stream) ? MESH_ERROR_DURATION : mesh_stream_flush(stream);

	if (!rc) {
		stream->write_wants = 0;
		rc = stream->transport->ops->finish(stream->transport);
		if (rc == MESH_ERROR_AGAIN)
			stream->write_wants = stream->transport->wants;
		else if (rc)
			mesh_stream_finish(stream, rc, stream->transport->why.text);
		else
			stream->ended = true;
	}
	return rc == MESH_ERROR_AGAIN ? (int)nothing_yet(stream) : rc;
}

/* ---- waiting */

static unsigned waited_for(const struct mesh_stream *stream)
{
	unsigned wants = 0;

	if (stream->waited || stream->events.readable)
		wants |= stream->read_wants;
	if (stream->waited || stream->events.writable || stream->leaving || unsent(stream))
		wants |= stream->write_wants;
	return wants;
}

/* What is watched and not waited for stays: who read to the end of it is likely to wait next. */
void mesh_stream_arm(struct mesh_stream *stream)
{
	struct loop *loop = stream->worker->env.loop;
	unsigned wants = stream->state == STREAM_OPEN ? waited_for(stream) : 0;

	if (!wants)
		return;
	if (stream->io.fd >= 0)
		mesh_loop_change(loop, &stream->io, wants);
	else if (mesh_loop_watch(loop, &stream->io, stream->transport->fd, wants))
		mesh_stream_finish(stream, MESH_ERROR_SYSTEM, "cannot watch the socket");
}

/* An event nobody waited for: it would come again and again. */
static void disarm(struct mesh_stream *stream)
{
	if (stream->io.fd >= 0 && !waited_for(stream))
		mesh_loop_unwatch(stream->worker->env.loop, &stream->io);
}

/* One callback; false: the stream was closed in it, or before. */
static bool tell(struct mesh_stream *stream, void (*what)(struct mesh_stream *stream, void *user))
{
	if (stream->closed)
		return false;
	if (what)
		what(stream, stream->user);
	return !stream->closed;
}

static void tell_all(struct mesh_stream *stream)
{
	unsigned due = stream->due;
	bool going_on = true;

	stream->due = 0;
	stream->telling++;
	if (due & STREAM_TELL_OPENED && !stream->server)
		going_on = tell(stream, stream->events.opened);
	if (going_on && due & STREAM_TELL_READABLE && stream->state == STREAM_OPEN)
		going_on = tell(stream, stream->events.readable);
	if (going_on && due & STREAM_TELL_WRITABLE && stream->state == STREAM_OPEN)
		going_on = tell(stream, stream->events.writable);
	if (going_on && due & STREAM_TELL_CLOSED) {
		stream->told_closed = true;
		tell(stream, stream->events.closed);
	}
	stream->telling--;
}

/* The application has left; what it gave us goes out, then the end. */
static void go_on_leaving(struct mesh_stream *stream)
{
	if (stream->leaving && stream->state == STREAM_OPEN && !mesh_stream_end(stream))
		mesh_stream_finish(stream, 0, NULL);
}

void mesh_stream_tell(struct loop_task *task)
{
	struct mesh_stream *stream = MESH_CONTAINER(task, struct mesh_stream, tell);

	if (stream->due & STREAM_TELL_OPENED)
		mesh_stream_flush(stream);
	tell_all(stream);
	if (!stream->closed)
		mesh_stream_arm(stream);
	go_on_leaving(stream);
	mesh_stream_settle(stream);
}

void mesh_stream_ready(struct loop_io *io, unsigned what)
{
	struct mesh_stream *stream = MESH_CONTAINER(io, struct mesh_stream, io);

	if (stream->read_wants && what & (stream->read_wants | LOOP_ERROR)) {
		stream->read_wants = 0;
		stream->drained = false;
		stream->due |= STREAM_TELL_READABLE;
	}
	if (stream->write_wants && what & (stream->write_wants | LOOP_ERROR)) {
		stream->write_wants = 0;
		if (!mesh_stream_flush(stream)) /* else it is over, or what goes first waits again */
			stream->due |= STREAM_TELL_WRITABLE;
	}
	tell_all(stream);
	if (!stream->closed && !stream->waited) { /* who waits comes again: what is watched stays as it is */
		mesh_stream_arm(stream);
		disarm(stream);
	}
	go_on_leaving(stream);
	mesh_stream_settle(stream);
}
