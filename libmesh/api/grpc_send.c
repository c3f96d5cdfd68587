/* SPDX-License-Identifier: Apache-2.0 */
/*
 * <mesh/grpc.h>: decides how a message becomes bytes: packed right behind its prefix, or compressed there. Refuses to know
 * how an answer begins and ends (grpc_answer.c).
 */
#include "api/grpc_call.h"

static const size_t kept_bytes = 64 * 1024; /* of a buffer, for the next message */

static void forget(struct buf *buf)
{
	mesh_buf_clear(buf);
	if (buf->room > kept_bytes)
		mesh_buf_free(buf);
}

void mesh_grpc_sent(struct mesh_grpc_call *call)
{
	forget(&call->transport->scratch);
	forget(&call->out.packed);
}

static int pack_into(struct buf *out, const ProtobufCMessage *message, struct mesh_slice bytes, size_t len)
{
	char *at;

	if (!message)
		return mesh_buf_append(out, bytes);
	at = mesh_buf_reserve(out, len);
	if (!at)
		return MESH_ERROR_NOMEM;
	mesh_buf_commit(out, protobuf_c_message_pack(message, (uint8_t *)at));
	return 0;
}

static int compress(struct mesh_grpc_call *call, const ProtobufCMessage *message, struct mesh_slice bytes, size_t len)
{
	struct grpc_output *out = &call->out;
	int rc;

	if (message) {
		mesh_buf_clear(&out->packed);
		rc = pack_into(&out->packed, message, bytes, len);
		if (rc)
			return rc;
		bytes = mesh_buf_slice(&out->packed);
	}
	return mesh_grpc_deflate(&out->gzip, &call->mesh->mem, bytes, &call->transport->scratch);
}

int mesh_grpc_pack(struct mesh_grpc_call *call, const ProtobufCMessage *message, struct mesh_slice bytes,
		   struct mesh_slice *frame)
{
	struct buf *out = &call->transport->scratch;
	bool compressed = call->out.compress;
	size_t len = bytes.len;
	char *prefix;
	int rc;

	if (message && message->descriptor != call->sends)
		return MESH_ERROR_INVALID;
	if (message)
		len = protobuf_c_message_get_packed_size(message);
	if (len > UINT32_MAX / 4)
		return MESH_ERROR_TOO_LARGE;
	mesh_buf_clear(out);
	prefix = mesh_buf_reserve(out, MESH_GRPC_PREFIX_BYTES + (compressed ? 0 : len));
	if (!prefix)
		return MESH_ERROR_NOMEM;
	mesh_buf_commit(out, MESH_GRPC_PREFIX_BYTES);
	rc = compressed ? compress(call, message, bytes, len) : pack_into(out, message, bytes, len);
	if (rc)
		return rc;
	*frame = mesh_buf_slice(out);
	mesh_grpc_prefix((char *)frame->data, compressed, (uint32_t)(frame->len - MESH_GRPC_PREFIX_BYTES));
	return 0;
}

static int send_locked(struct mesh_grpc_call *call, const ProtobufCMessage *message, struct mesh_slice bytes)
{
	struct mesh_slice frame;
	int rc = call->out.ended || call->out.answered ? MESH_ERROR_STATE : 0;

	if (!rc && call->server && !call->out.head)
		rc = mesh_grpc_answer_head(call, NULL, 0);
	if (!rc)
		rc = mesh_grpc_pack(call, message, bytes, &frame);
	if (!rc)
		rc = mesh_call_send(call->transport, frame, false);
	if (!rc)
		mesh_grpc_sent(call);
	return rc;
}

static int send_message(struct mesh_grpc_call *call, const ProtobufCMessage *message, struct mesh_slice bytes)
{
	int rc;

	pthread_mutex_lock(&call->out.lock);
	rc = send_locked(call, message, bytes);
	pthread_mutex_unlock(&call->out.lock);
	return rc;
}

MESH_EXPORT int mesh_grpc_send(struct mesh_grpc_call *call, const struct ProtobufCMessage *message)
{
	return call && message ? send_message(call, message, (struct mesh_slice){NULL, 0}) : MESH_ERROR_INVALID;
}

MESH_EXPORT int mesh_grpc_send_bytes(struct mesh_grpc_call *call, struct mesh_slice bytes)
{
	return call && (!bytes.len || bytes.data) ? send_message(call, NULL, bytes) : MESH_ERROR_INVALID;
}

MESH_EXPORT int mesh_grpc_compress(struct mesh_grpc_call *call, bool on)
{
	int rc = 0;

	if (!call)
		return MESH_ERROR_INVALID;
	pthread_mutex_lock(&call->out.lock);
	/* a server says how it compresses in its head */
	if (on && call->server && call->out.head && !call->out.head_gzip)
		rc = MESH_ERROR_STATE;
	if (on && !call->out.may_compress)
		rc = MESH_ERROR_STATE;
	if (!rc)
		call->out.compress = on;
	pthread_mutex_unlock(&call->out.lock);
	return rc;
}

MESH_EXPORT int mesh_grpc_end(struct mesh_grpc_call *call)
{
	int rc;

	if (!call || call->server)
		return MESH_ERROR_INVALID;
	pthread_mutex_lock(&call->out.lock);
	rc = call->out.ended ? MESH_ERROR_STATE : mesh_call_send(call->transport, (struct mesh_slice){NULL, 0}, true);
	call->out.ended |= !rc;
	pthread_mutex_unlock(&call->out.lock);
	return rc;
}
