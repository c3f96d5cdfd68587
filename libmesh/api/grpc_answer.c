/* SPDX-License-Identifier: Apache-2.0 */
/*
 * <mesh/grpc.h>, the server's answers: decides what of head, message and trailers goes when, from whichever thread it comes.
 * Refuses to know which method it is.
 */
#include "api/grpc_call.h"

#include "base/text.h"
#include "grpc/code.h"
#include "grpc/metadata.h"
#include "grpc/words.h"

#define FIELDS_MAX 16 /* on the stack; more go to the heap */

/* Fields to send and what they lie in. */
struct answer_fields {
	struct mesh_header room[FIELDS_MAX];
	struct headers list;
	struct arena arena;
	char code[20];
};

static void fields_init(struct answer_fields *fields, const struct mesh_grpc_call *call)
{
	fields->list = (struct headers){.items = fields->room, .room = FIELDS_MAX};
	mesh_arena_init(&fields->arena, &call->mesh->mem, 0);
}

static int add(struct answer_fields *fields, const char *name, struct mesh_slice value)
{
	return mesh_headers_add(&fields->list, &fields->arena, mesh_slice_of(name), value);
}

static int add_head(struct mesh_grpc_call *call, struct answer_fields *fields)
{
	int rc = add(fields, "content-type", MESH_SLICE("application/grpc"));

	call->out.head_gzip = call->out.compress;
	if (!rc && call->out.compress)
		rc = add(fields, "grpc-encoding", MESH_SLICE("gzip"));
	return rc;
}

static int add_status(struct answer_fields *fields, const struct mesh_grpc_result *result)
{
	struct mesh_slice text;
	int rc = add(fields, "grpc-status",
		     mesh_slice_make(fields->code, mesh_text_u64(fields->code, (uint64_t)result->code)));

	if (!rc && result->message.len) {
		rc = mesh_grpc_words_encode(&fields->arena, result->message, &text);
		if (!rc)
			rc = add(fields, "grpc-message", text);
	}
	if (!rc && result->details.data) {
		rc = mesh_grpc_bin_encode(&fields->arena, result->details, &text);
		if (!rc)
			rc = add(fields, "grpc-status-details-bin", text);
	}
	return rc ? rc
		  : mesh_grpc_metadata_encode(&fields->arena, result->metadata, result->metadata_count, &fields->list);
}

int mesh_grpc_answer_head(struct mesh_grpc_call *call, const struct mesh_header *metadata, size_t count)
{
	struct answer_fields fields;
	int rc;

	if (call->out.head)
		return MESH_ERROR_STATE;
	fields_init(&fields, call);
	rc = add_head(call, &fields);
	if (!rc)
		rc = mesh_grpc_metadata_encode(&fields.arena, metadata, count, &fields.list);
	if (!rc)
		rc = mesh_call_respond(call->transport, 200, fields.list.items, fields.list.count,
				       (struct mesh_slice){NULL, 0}, false);
	call->out.head = !rc;
	mesh_arena_free(&fields.arena);
	return rc;
}

/* Trailers, or a head that is all there is. Under the lock. */
static int end_locked(struct mesh_grpc_call *call, const struct mesh_grpc_result *result)
{
	struct answer_fields fields;
	int rc;

	if (call->out.ended)
		return MESH_ERROR_STATE;
	fields_init(&fields, call);
	rc = call->out.head ? 0 : add_head(call, &fields);
	if (!rc && !call->out.head && result->code == MESH_GRPC_UNIMPLEMENTED)
		rc = add(&fields, "grpc-accept-encoding", MESH_SLICE("identity,gzip"));
	if (!rc)
		rc = add_status(&fields, result);
	if (!rc && call->out.head)
		rc = mesh_call_send_trailers(call->transport, fields.list.items, fields.list.count);
	else if (!rc)
		rc = mesh_call_respond(call->transport, 200, fields.list.items, fields.list.count,
				       (struct mesh_slice){NULL, 0}, true);
	mesh_arena_free(&fields.arena);
	if (rc)
		return rc;
	call->out.ended = call->out.head = true;
	call->finished = result->code;
	return 0;
}

/* Sends the message that waits, and OK behind it. AGAIN: `writable` goes on. */
static int flush_locked(struct mesh_grpc_call *call)
{
	static const struct mesh_grpc_result ok = {.size = sizeof(ok)};
	int rc = 0;

	if (mesh_buf_len(&call->transport->scratch)) {
		rc = mesh_call_send(call->transport, mesh_buf_slice(&call->transport->scratch), false);
		if (rc)
			return rc;
		mesh_grpc_sent(call);
	}
	rc = end_locked(call, &ok);
	call->out.answered = rc == MESH_ERROR_AGAIN;
	return rc;
}

static int answer_locked(struct mesh_grpc_call *call, const ProtobufCMessage *message)
{
	struct mesh_slice frame;
	int rc = call->out.ended || call->out.answered ? MESH_ERROR_STATE : 0;

	if (!rc && !call->out.head)
		rc = mesh_grpc_answer_head(call, NULL, 0);
	if (!rc)
		rc = mesh_grpc_pack(call, message, (struct mesh_slice){NULL, 0}, &frame);
	if (rc)
		return rc;
	call->out.answered = true;
	rc = flush_locked(call);
	return rc == MESH_ERROR_AGAIN ? 0 : rc;
}

void mesh_grpc_answer_writable(struct mesh_grpc_call *call)
{
	bool answered;

	pthread_mutex_lock(&call->out.lock);
	answered = call->out.answered;
	if (answered && flush_locked(call) == MESH_ERROR_AGAIN)
		answered = true;
	pthread_mutex_unlock(&call->out.lock);
	if (!answered && call->events.writable && !call->done_told)
		call->events.writable(call, call->user);
}

/* A service's function answered: the reference it had goes. */
static void paid(struct mesh_grpc_call *call)
{
	if (atomic_exchange(&call->owed, false))
		mesh_grpc_drop(call);
}

void mesh_grpc_answer_closure(const ProtobufCMessage *message, void *closure_data)
{
	struct mesh_grpc_call *call = closure_data;
	struct mesh_grpc_result failed = {
		.size = sizeof(failed), .code = MESH_GRPC_INTERNAL, .message = MESH_SLICE("the method gave no answer")};
	int rc;

	pthread_mutex_lock(&call->out.lock);
	rc = message ? answer_locked(call, message) : MESH_ERROR_INVALID;
	if (rc) /* where it ended before, this changes nothing */
		end_locked(call, &failed);
	pthread_mutex_unlock(&call->out.lock);
	paid(call);
}

MESH_EXPORT int mesh_grpc_send_metadata(struct mesh_grpc_call *call, const struct mesh_header *metadata, size_t count)
{
	int rc;

	if (!call || !call->server || (count && !metadata))
		return MESH_ERROR_INVALID;
	pthread_mutex_lock(&call->out.lock);
	rc = call->out.ended ? MESH_ERROR_STATE : mesh_grpc_answer_head(call, metadata, count);
	pthread_mutex_unlock(&call->out.lock);
	return rc;
}

MESH_EXPORT int mesh_grpc_finish(struct mesh_grpc_call *call, const struct mesh_grpc_result *given)
{
	struct mesh_grpc_result result = {0};
	int rc;

	if (!call || !call->server || (given && !given->size))
		return MESH_ERROR_INVALID;
	if (given)
		memcpy(&result, given, given->size < sizeof(result) ? given->size : sizeof(result));
	if (result.code < 0 || (result.metadata_count && !result.metadata))
		return MESH_ERROR_INVALID;
	pthread_mutex_lock(&call->out.lock);
	rc = call->out.answered ? MESH_ERROR_STATE : end_locked(call, &result);
	pthread_mutex_unlock(&call->out.lock);
	if (rc != MESH_ERROR_INVALID && rc != MESH_ERROR_NOMEM && rc != MESH_ERROR_AGAIN)
		paid(call);
	return rc;
}

void mesh_grpc_answer_failure(struct mesh_grpc_call *call, int code, const char *words)
{
	struct mesh_grpc_result failed = {.size = sizeof(failed), .code = code, .message = mesh_slice_of(words)};
	int rc;

	call->in.refused = true;
	pthread_mutex_lock(&call->out.lock);
	rc = end_locked(call, &failed);
	call->out.answered = false;
	call->out.ended = true;
	pthread_mutex_unlock(&call->out.lock);
	if (rc && rc != MESH_ERROR_STATE) /* what waits to be sent has no room: this has to do */
		mesh_call_cancel(call->transport);
	mesh_grpc_settle(call, code, failed.message);
}
