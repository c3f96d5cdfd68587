/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides in which order the batches of a server call go and when the call may be released. Refuses to know what its
 * messages say.
 */
#include "call.h"

#include <grpc/byte_buffer.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/slice.h>

#define CALL_OF(event, member) MESH_CONTAINER(event, struct cp_call, member)

static const struct mesh_mem *const mem = &mesh_mem_default;

static bool start(struct cp_call *call, const grpc_op *ops, size_t count, struct cp_event *event)
{
	if (grpc_call_start_batch(call->grpc, ops, count, event, NULL) != GRPC_CALL_OK)
		return false;
	call->pending++;
	return true;
}

/* After each batch: the last one releases the call. */
static void settle(struct cp_call *call)
{
	if (--call->pending > 0)
		return;
	call->ops->gone(call);
	if (call->incoming)
		grpc_byte_buffer_destroy(call->incoming);
	if (call->outgoing)
		grpc_byte_buffer_destroy(call->outgoing);
	grpc_call_unref(call->grpc);
	call->server->calls--;
	mesh_mem_free(mem, call);
}

static void read_next(struct cp_call *call)
{
	grpc_op op = {.op = GRPC_OP_RECV_MESSAGE};

	op.data.recv_message.recv_message = &call->incoming;
	start(call, &op, 1, &call->received);
}

static void on_opened(struct cp_event *event, bool ok)
{
	(void)ok;
	settle(CALL_OF(event, opened));
}

static void on_received(struct cp_event *event, bool ok)
{
	struct cp_call *call = CALL_OF(event, received);
	grpc_byte_buffer_reader reader;
	grpc_slice slice;

	if (!ok || !call->incoming) {
		cp_call_finish(call, GRPC_STATUS_OK, "");
		settle(call);
		return;
	}
	if (grpc_byte_buffer_reader_init(&reader, call->incoming)) {
		slice = grpc_byte_buffer_reader_readall(&reader);
		if (!call->finishing)
			call->ops->message(call,
					   mesh_slice_make(GRPC_SLICE_START_PTR(slice), GRPC_SLICE_LENGTH(slice)));
		grpc_slice_unref(slice);
		grpc_byte_buffer_reader_destroy(&reader);
	} else {
		cp_call_finish(call, GRPC_STATUS_INTERNAL, "unreadable message");
	}
	grpc_byte_buffer_destroy(call->incoming);
	call->incoming = NULL;
	if (!call->finishing)
		read_next(call);
	settle(call);
}

static void on_sent(struct cp_event *event, bool ok)
{
	struct cp_call *call = CALL_OF(event, sent);

	grpc_byte_buffer_destroy(call->outgoing);
	call->outgoing = NULL;
	call->sending = false;
	if (ok && !call->finishing)
		call->ops->sent(call);
	settle(call);
}

/* Comes once, when the call is over for whatever reason. */
static void on_closed(struct cp_event *event, bool ok)
{
	struct cp_call *call = CALL_OF(event, closed);

	(void)ok;
	call->finishing = true;
	settle(call);
}

static void on_finished(struct cp_event *event, bool ok)
{
	(void)ok;
	settle(CALL_OF(event, finished));
}

struct cp_call *cp_call_start(struct cp_server *server, grpc_call *grpc, const struct cp_call_ops *ops, void *user)
{
	struct cp_call *call = mesh_mem_zalloc(mem, sizeof(*call));
	grpc_op open = {.op = GRPC_OP_SEND_INITIAL_METADATA};
	grpc_op close = {.op = GRPC_OP_RECV_CLOSE_ON_SERVER};

	if (!call) {
		grpc_call_unref(grpc);
		return NULL;
	}
	*call = (struct cp_call){
		.server = server,
		.ops = ops,
		.user = user,
		.grpc = grpc,
		.opened = {on_opened},
		.received = {on_received},
		.sent = {on_sent},
		.closed = {on_closed},
		.finished = {on_finished},
	};
	close.data.recv_close_on_server.cancelled = &call->cancelled;
	if (!start(call, &close, 1, &call->closed)) {
		grpc_call_unref(grpc);
		mesh_mem_free(mem, call);
		return NULL;
	}
	server->calls++;
	start(call, &open, 1, &call->opened);
	read_next(call);
	return call;
}

void cp_call_send(struct cp_call *call, struct mesh_slice message)
{
	grpc_slice slice = grpc_slice_from_copied_buffer(message.data, message.len);
	grpc_op op = {.op = GRPC_OP_SEND_MESSAGE};

	call->outgoing = grpc_raw_byte_buffer_create(&slice, 1);
	grpc_slice_unref(slice);
	op.data.send_message.send_message = call->outgoing;
	call->sending = start(call, &op, 1, &call->sent);
	if (call->sending)
		return;
	grpc_byte_buffer_destroy(call->outgoing);
	call->outgoing = NULL;
}

void cp_call_finish(struct cp_call *call, grpc_status_code status, const char *words)
{
	grpc_slice details = grpc_slice_from_copied_string(words);
	grpc_op op = {.op = GRPC_OP_SEND_STATUS_FROM_SERVER};

	op.data.send_status_from_server.status = status;
	op.data.send_status_from_server.status_details = &details;
	if (!call->finishing)
		start(call, &op, 1, &call->finished);
	call->finishing = true;
	grpc_slice_unref(details);
}
