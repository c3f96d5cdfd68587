/* SPDX-License-Identifier: Apache-2.0 */
/*
 * <mesh/grpc.h>: decides what becomes of received bytes: cut into messages, decompressed, unpacked, handed on one by one or
 * kept until they are asked for, with the peer slowed down meanwhile. Refuses to know how a broken one is answered.
 */
#include "api/grpc_call.h"

#include "control/message.h"

/* Unpacked, many small messages take more room than their bytes; past this factor they are refused. */
static const size_t unpacked_factor = 16;
static const size_t unpacked_extra = 64 * 1024;

static void fail(struct mesh_grpc_call *call, int code, const char *words)
{
	call->in.refused = true;
	mesh_buf_clear(&call->in.pending);
	if (call->server)
		mesh_grpc_answer_failure(call, code, words);
	else
		mesh_grpc_client_failed(call, code, words);
}

static int fail_error(struct mesh_grpc_call *call, int error, const char *what)
{
	bool too_much = error == MESH_ERROR_TOO_LARGE || error == MESH_ERROR_NOMEM;

	if (error == MESH_ERROR_TOO_LARGE)
		mesh_why(&call->why, error, "%s: larger than message_bytes_max %zu", what, call->in.reader.max);
	else if (error == MESH_ERROR_NOMEM)
		mesh_why(&call->why, error, "%s: no memory for it", what);
	else
		mesh_why(&call->why, error, "%s", what);
	fail(call, too_much ? MESH_GRPC_RESOURCE_EXHAUSTED : MESH_GRPC_INTERNAL, call->why.text);
	return error;
}

bool mesh_grpc_take_encoding(struct mesh_grpc_call *call, struct mesh_slice encoding)
{
	call->in.gzipped = mesh_slice_equal(encoding, MESH_SLICE("gzip"));
	return !encoding.len || call->in.gzipped || mesh_slice_equal(encoding, MESH_SLICE("identity"));
}

MESH_EXPORT bool mesh_grpc_was_compressed(const struct mesh_grpc_call *call)
{
	return call && call->in.was_compressed;
}

static int decompress(struct mesh_grpc_call *call, struct mesh_slice *bytes)
{
	struct grpc_input *in = &call->in;
	int rc;

	if (!in->gzipped)
		return fail_error(call, MESH_ERROR_PROTOCOL, "a compressed message, but no grpc-encoding");
	mesh_buf_clear(&in->plain);
	rc = mesh_grpc_inflate(&in->gzip, &call->mesh->mem, *bytes, in->reader.max, &in->plain);
	if (rc)
		return fail_error(call, rc, "a compressed message");
	*bytes = mesh_buf_len(&in->plain) ? mesh_buf_slice(&in->plain) : MESH_SLICE("");
	return 0;
}

static int unpack(struct mesh_grpc_call *call, struct mesh_slice bytes, const ProtobufCMessage **message)
{
	struct grpc_input *in = &call->in;
	struct arena *arena = in->single ? call->arena : &in->message;
	struct why why = {{0}};
	ProtobufCMessage *unpacked = NULL;
	int rc;

	if (!in->single)
		mesh_arena_reset(arena);
	arena->limit = arena->total + in->reader.max * unpacked_factor + unpacked_extra;
	rc = mesh_message_unpack(call->receives, bytes, 0, arena, &why, &unpacked);
	arena->limit = 0;
	*message = unpacked;
	return rc ? fail_error(call, rc, why.text) : 0;
}

/* 1: a message; 0: not yet; < 0: broken, and that was dealt with. */
static int next_message(struct mesh_grpc_call *call, struct mesh_slice *data, const ProtobufCMessage **message,
			struct mesh_slice *bytes)
{
	struct grpc_frame frame;
	int rc = mesh_grpc_reader_next(&call->in.reader, data, &frame);

	*message = NULL;
	if (rc < 0)
		return fail_error(call, rc, rc == MESH_ERROR_PROTOCOL ? "malformed prefix of a message" : "a message");
	if (!rc)
		return 0;
	*bytes = frame.bytes;
	call->in.was_compressed = frame.compressed;
	if (frame.compressed) {
		rc = decompress(call, bytes);
		if (rc)
			return rc;
	}
	if (call->in.single && call->in.count) {
		fail(call, MESH_GRPC_UNIMPLEMENTED, "more than one message where one is due");
		return MESH_ERROR_PROTOCOL;
	}
	rc = call->receives ? unpack(call, *bytes, message) : 0;
	call->in.count++;
	return rc ? rc : 1;
}

static int keep(struct mesh_grpc_call *call, const ProtobufCMessage *message, struct mesh_slice bytes)
{
	bool failed = false;

	call->in.kept = message;
	if (!message)
		call->in.kept_bytes = mesh_arena_slice(call->arena, bytes, &failed);
	return failed ? fail_error(call, MESH_ERROR_NOMEM, "a message") : 0;
}

/* Hands on what is whole of *data; leaves the rest when paused. */
static void deliver(struct mesh_grpc_call *call, struct mesh_slice *data)
{
	const ProtobufCMessage *message;
	struct mesh_slice bytes;

	while (!call->in.paused && !call->in.refused && next_message(call, data, &message, &bytes) > 0) {
		if (call->in.single && keep(call, message, bytes))
			break;
		if (!call->in.single && call->events.message)
			call->events.message(call, message, bytes, call->user);
	}
}

/* Nobody is called for each message: they are fetched with mesh_grpc_receive. */
static bool is_pulled(const struct mesh_grpc_call *call)
{
	return !call->server && !call->in.single && !call->events.message;
}

static void take_later(struct mesh_grpc_call *call, struct mesh_slice data)
{
	struct grpc_input *in = &call->in;

	if (in->refused)
		return;
	if (mesh_buf_append(&in->pending, data))
		fail_error(call, MESH_ERROR_NOMEM, "a message");
	else if (is_pulled(call) && mesh_grpc_reader_due(&in->reader, mesh_buf_slice(&in->pending)))
		mesh_call_pause(call->transport);
}

void mesh_grpc_take(struct mesh_grpc_call *call, struct mesh_slice data)
{
	struct grpc_input *in = &call->in;

	if (in->refused || in->foreign)
		return;
	if (!is_pulled(call) && !in->paused && !mesh_buf_len(&in->pending))
		deliver(call, &data);
	if (data.len)
		take_later(call, data);
}

/* All messages were handed on. */
static void drained(struct mesh_grpc_call *call)
{
	struct grpc_input *in = &call->in;

	if (!in->ended || in->told_end || in->refused || mesh_buf_len(&in->pending))
		return;
	in->told_end = true;
	if (!call->server)
		mesh_grpc_client_drained(call);
	else if (mesh_grpc_reader_inside(&in->reader, (struct mesh_slice){NULL, 0}))
		fail_error(call, MESH_ERROR_PROTOCOL, "the request ends inside a message");
	else if (in->single)
		mesh_grpc_dispatch(call);
	else if (call->events.end)
		call->events.end(call, call->user);
}

void mesh_grpc_take_end(struct mesh_grpc_call *call)
{
	call->in.ended = true;
	drained(call);
}

static void drain_pending(struct mesh_grpc_call *call)
{
	struct buf *pending = &call->in.pending;
	struct mesh_slice rest = mesh_buf_slice(pending);

	/* nothing is appended meanwhile: data comes from the loop, never from inside a callback */
	deliver(call, &rest);
	if (!call->in.refused)
		mesh_buf_consume(pending, mesh_buf_len(pending) - rest.len);
}

void mesh_grpc_resumed(struct loop_task *task)
{
	struct mesh_grpc_call *call = MESH_CONTAINER(task, struct mesh_grpc_call, go_on);

	mesh_grpc_retain(call);
	if (!call->in.paused && !is_pulled(call))
		drain_pending(call);
	if (!call->in.paused && !call->transport_over)
		mesh_call_resume(call->transport);
	drained(call);
	mesh_grpc_drop(call);
}

/* ---- asked for ---- */

static bool message_there(const struct mesh_grpc_call *call)
{
	const struct grpc_input *in = &call->in;

	return call->transport_over || in->ended || mesh_grpc_reader_due(&in->reader, mesh_buf_slice(&in->pending));
}

static int hold(struct mesh_grpc_call *call, struct mesh_slice *bytes)
{
	struct buf *held = &call->in.held;

	mesh_buf_clear(held);
	if (mesh_buf_append(held, *bytes))
		return fail_error(call, MESH_ERROR_NOMEM, "a message");
	*bytes = bytes->len ? mesh_buf_slice(held) : MESH_SLICE("");
	return 0;
}

MESH_EXPORT int mesh_grpc_receive(struct mesh_grpc_call *call, int64_t timeout_ms,
				  const struct ProtobufCMessage **message, struct mesh_slice *bytes)
{
	struct mesh_slice rest, one = {NULL, 0};
	const ProtobufCMessage *unpacked = NULL;
	int rc;

	if (!call)
		return MESH_ERROR_INVALID;
	if (!is_pulled(call))
		return MESH_ERROR_STATE;
	if (call->transport->worker->kind == WORKER_LIBRARY) /* what is there is that thread's */
		return MESH_ERROR_THREAD;
	if (!message_there(call))
		mesh_call_resume(call->transport);
	rc = mesh_grpc_drive(call, timeout_ms, message_there);
	if (rc)
		return rc;
	rest = mesh_buf_slice(&call->in.pending);
	rc = next_message(call, &rest, &unpacked, &one);
	if (rc > 0 && bytes && hold(call, &one))
		rc = 0;
	if (!call->in.refused)
		mesh_buf_consume(&call->in.pending, mesh_buf_len(&call->in.pending) - rest.len);
	drained(call);
	if (!message_there(call)) /* what follows may be the end, which nobody has to ask for */
		mesh_call_resume(call->transport);
	if (message)
		*message = rc > 0 ? unpacked : NULL;
	if (bytes)
		*bytes = rc > 0 ? one : (struct mesh_slice){NULL, 0};
	return rc > 0;
}
