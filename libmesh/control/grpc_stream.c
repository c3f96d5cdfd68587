/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Control streams over gRPC core, the one file that includes grpc headers. A private thread waits on gRPC's completion
 * queue and does nothing but post each completion to the owner's loop; all decisions are made there, on the owner's
 * thread. Every stream has a channel of its own, so gRPC's reconnecting, its pooling and its backoff never come into play.
 */
#include "control/control_stream.h"

#include <grpc/byte_buffer.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <grpc/slice.h>
#include <grpc/support/alloc.h>
#include <grpc/support/time.h>
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "base/buf.h"
#include "loop/thread.h"

enum {
	HEADERS_MAX = 8,
	TEXT_BYTES = 512,
	KEEPALIVE_MS = 30000,
	KEEPALIVE_TIMEOUT_MS = 10000,
	CONNECT_TIMEOUT_MS = 10000,
	LEAVE_MS_MAX = 500,
};

struct grpc_control {
	const struct control_ops *ops; /* first */
	const struct mesh_mem *mem;
	const struct log *log;
	struct loop *loop;
	grpc_completion_queue *queue;
	pthread_t thread;
	bool guest;     /* somebody in this process had started gRPC before */
	size_t streams; /* not freed yet */
	/*
	 * Counted before a completion is gRPC's, read when it comes back: gRPC's locks order what both threads write, but no
	 * thread sanitizer sees them. Not in the completion, whose own memory this is about.
	 */
	atomic_uint lent;
};

enum completion_kind { STARTED, RECEIVED, SENT, ENDED, COMPLETIONS };

/* One batch under way at most per kind; the tag gRPC gives back. */
struct completion {
	struct loop_mail mail;
	struct control_stream *stream;
	struct loop *loop;
	enum completion_kind kind;
	bool pending;
};

struct outgoing {
	struct link link;
	grpc_byte_buffer *bytes;
	bool last;
};

struct control_stream {
	struct grpc_control *control;
	struct control_handler *handler;
	grpc_channel *channel;
	grpc_call *call;
	struct completion completions[COMPLETIONS];
	unsigned pending; /* completions not yet seen by the loop */
	struct link outgoing;
	grpc_byte_buffer *incoming;
	grpc_metadata headers[HEADERS_MAX];
	size_t header_count;
	grpc_metadata_array initial, trailing;
	grpc_status_code status;
	grpc_slice status_text;
	bool started, sending, last_queued;
	bool ended;  /* gRPC told the status */
	bool told;   /* the owner knows */
	bool closed; /* by the owner: nothing is told any more */
	bool busy;   /* inside a completion: do not free */
};

/* ---- the queue's thread */

static void *queue_main(void *argument)
{
	struct grpc_control *control = argument;

	for (;;) {
		grpc_event event = grpc_completion_queue_next(control->queue, gpr_inf_future(GPR_CLOCK_REALTIME), NULL);
		struct completion *completion = event.tag;

		if (event.type == GRPC_QUEUE_SHUTDOWN)
			return NULL;
		if (event.type != GRPC_OP_COMPLETE)
			continue;
		atomic_load_explicit(&control->lent, memory_order_acquire);
		mesh_loop_post(completion->loop, &completion->mail);
	}
}

/*
 * A channel is freed some time after its last stream, on one of gRPC's own threads, and keeps gRPC up until then. Nothing of
 * ours may outlive mesh_close, so wait for that; not where gRPC stays up for somebody else.
 */
static void leave_grpc(const struct grpc_control *control)
{
	const struct timespec step = {.tv_nsec = 1000000};

	grpc_shutdown_blocking();
	for (int ms = 0; ms < LEAVE_MS_MAX && !control->guest && grpc_is_initialized(); ms++)
		nanosleep(&step, NULL);
}

static int grpc_control_start(const struct control_ops *ops, const struct mesh_mem *mem, const struct log *log,
			      struct loop *loop, struct control **result)
{
	struct grpc_control *control = mesh_mem_zalloc(mem, sizeof(*control));
	int rc;

	if (!control)
		return MESH_ERROR_NOMEM;
	control->ops = ops;
	control->mem = mem;
	control->log = log;
	control->loop = loop;
	control->guest = grpc_is_initialized();
	grpc_init();
	control->queue = grpc_completion_queue_create_for_next(NULL);
	rc = mesh_thread_start(&control->thread, "mesh-grpc", queue_main, control);
	if (rc) {
		grpc_completion_queue_shutdown(control->queue);
		grpc_completion_queue_destroy(control->queue);
		leave_grpc(control);
		mesh_mem_free(mem, control);
		return rc;
	}
	*result = (struct control *)control;
	return 0;
}

static void grpc_control_stop(struct control *base)
{
	struct grpc_control *control = (struct grpc_control *)base;

	grpc_completion_queue_shutdown(control->queue);
	pthread_join(control->thread, NULL);
	/* every completion has been posted by now: let the last of them free their streams */
	while (control->streams && mesh_loop_run(control->loop, 0) > 0)
		;
	grpc_completion_queue_destroy(control->queue);
	leave_grpc(control);
	mesh_mem_free(control->mem, control);
}

/* ---- channels */

/* "dns:///" keeps gRPC from reading "host:15012" as a scheme; brackets of IPv6 are not allowed in a URI's path. */
static int target_uri(struct buf *uri, const char *address)
{
	int rc = mesh_buf_append(uri, MESH_SLICE("dns:///"));

	for (; *address && !rc; address++) {
		if (*address == '[' || *address == ']' || *address == '%')
			rc = mesh_buf_printf(uri, "%%%02X", (unsigned char)*address);
		else
			rc = mesh_buf_append(uri, mesh_slice_make(address, 1));
	}
	return rc ? rc : mesh_buf_append(uri, mesh_slice_make("", 1));
}

static grpc_channel_credentials *channel_credentials(const struct control_target *target)
{
	grpc_ssl_pem_key_cert_pair pair = {target->key_pem, target->chain_pem};

	if (!target->server_name)
		return grpc_insecure_credentials_create();
	return grpc_ssl_credentials_create(target->roots_pem, target->chain_pem ? &pair : NULL, NULL, NULL);
}

static grpc_arg number(const char *key, int value)
{
	grpc_arg arg = {.type = GRPC_ARG_INTEGER, .key = (char *)key};

	arg.value.integer = value;
	return arg;
}

static int channel_new(const struct mesh_mem *mem, const struct control_target *target, grpc_channel **channel)
{
	size_t max = target->message_bytes_max < INT32_MAX ? target->message_bytes_max : INT32_MAX;
	grpc_arg args[] = {
		number(GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, (int)max),
		number(GRPC_ARG_KEEPALIVE_TIME_MS, KEEPALIVE_MS),
		number(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, KEEPALIVE_TIMEOUT_MS),
		number(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0),
		number(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, CONNECT_TIMEOUT_MS), /* the time one attempt has */
		number(GRPC_ARG_DNS_ARES_QUERY_TIMEOUT_MS, CONNECT_TIMEOUT_MS),
		number(GRPC_ARG_ENABLE_HTTP_PROXY, 0),
		number(GRPC_ARG_SERVICE_CONFIG_DISABLE_RESOLUTION, 1),
		number(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1), /* nothing shared with the application's own gRPC */
		number(GRPC_ARG_ENABLE_RETRIES, 0),
		number(GRPC_ARG_ENABLE_CHANNELZ, 0),
		{.type = GRPC_ARG_STRING, .key = (char *)GRPC_SSL_TARGET_NAME_OVERRIDE_ARG},
	};
	grpc_channel_args list = {sizeof(args) / sizeof(args[0]), args};
	grpc_channel_credentials *credentials;
	struct buf uri;
	int rc;

	args[list.num_args - 1].value.string = (char *)target->server_name;
	if (!target->server_name)
		list.num_args--;
	mesh_buf_init(&uri, mem, 0);
	rc = target_uri(&uri, target->address);
	credentials = rc ? NULL : channel_credentials(target);
	if (credentials)
		*channel = grpc_channel_create(mesh_buf_slice(&uri).data, credentials, &list);
	else if (!rc)
		rc = MESH_ERROR_INVALID; /* roots, certificate or key are no PEM */
	if (credentials)
		grpc_channel_credentials_release(credentials);
	mesh_buf_free(&uri);
	return rc;
}

/* ---- streams, on the owner's thread from here on */

static void stream_free(struct control_stream *stream)
{
	struct grpc_control *control = stream->control;

	MESH_LIST_EACH_SAFE(at, &stream->outgoing) {
		struct outgoing *out = MESH_CONTAINER(at, struct outgoing, link);

		grpc_byte_buffer_destroy(out->bytes);
		mesh_mem_free(control->mem, out);
	}
	if (stream->incoming)
		grpc_byte_buffer_destroy(stream->incoming);
	if (stream->call)
		grpc_call_unref(stream->call);
	if (stream->channel)
		grpc_channel_destroy(stream->channel);
	for (size_t i = 0; i < stream->header_count; i++) {
		grpc_slice_unref(stream->headers[i].key);
		grpc_slice_unref(stream->headers[i].value);
	}
	grpc_metadata_array_destroy(&stream->initial);
	grpc_metadata_array_destroy(&stream->trailing);
	grpc_slice_unref(stream->status_text);
	control->streams--;
	mesh_mem_free(control->mem, stream);
}

static int start_batch(struct control_stream *stream, enum completion_kind kind, const grpc_op *ops, size_t count)
{
	struct completion *completion = &stream->completions[kind];
	grpc_call_error error;

	atomic_fetch_add_explicit(&stream->control->lent, 1, memory_order_release);
	error = grpc_call_start_batch(stream->call, ops, count, completion, NULL);
	if (error != GRPC_CALL_OK)
		return error == GRPC_CALL_ERROR_INVALID_METADATA ? MESH_ERROR_INVALID : MESH_ERROR_STATE;
	completion->pending = true;
	stream->pending++;
	return 0;
}

static void receive_next(struct control_stream *stream)
{
	grpc_op op = {.op = GRPC_OP_RECV_MESSAGE};

	op.data.recv_message.recv_message = &stream->incoming;
	start_batch(stream, RECEIVED, &op, 1);
}

/* Messages go out one at a time, as gRPC wants. */
static void send_next(struct control_stream *stream)
{
	grpc_op ops[2] = {{.op = GRPC_OP_SEND_MESSAGE}, {.op = GRPC_OP_SEND_CLOSE_FROM_CLIENT}};
	struct outgoing *out;

	/* once closed nothing may begin: the queue may be shut down already, and gRPC aborts on that */
	if (!stream->started || stream->sending || stream->ended || stream->closed || mesh_list_empty(&stream->outgoing))
		return;
	out = MESH_CONTAINER(stream->outgoing.next, struct outgoing, link);
	ops[0].data.send_message.send_message = out->bytes;
	if (!start_batch(stream, SENT, ops, out->last ? 2 : 1))
		stream->sending = true;
}

static void sent(struct control_stream *stream)
{
	struct outgoing *out = MESH_CONTAINER(stream->outgoing.next, struct outgoing, link);

	mesh_list_remove(&out->link);
	grpc_byte_buffer_destroy(out->bytes);
	mesh_mem_free(stream->control->mem, out);
	stream->sending = false;
	send_next(stream);
}

static void received(struct control_stream *stream)
{
	grpc_byte_buffer *incoming = stream->incoming;
	grpc_byte_buffer_reader reader;

	stream->incoming = NULL;
	if (!incoming)
		return; /* the end: its status follows */
	if (!stream->closed && grpc_byte_buffer_reader_init(&reader, incoming)) {
		grpc_slice whole = grpc_byte_buffer_reader_readall(&reader);

		grpc_byte_buffer_reader_destroy(&reader);
		grpc_byte_buffer_destroy(incoming);
		stream->handler->message(stream->handler, mesh_slice_make(GRPC_SLICE_START_PTR(whole),
									  GRPC_SLICE_LENGTH(whole)));
		grpc_slice_unref(whole);
	} else {
		grpc_byte_buffer_destroy(incoming);
	}
	if (!stream->closed)
		receive_next(stream);
}

/* The status is told when no message can come before it any more. */
static void tell_end(struct control_stream *stream)
{
	char text[TEXT_BYTES];
	size_t len = GRPC_SLICE_LENGTH(stream->status_text);

	if (!stream->ended || stream->told || stream->closed || stream->completions[RECEIVED].pending)
		return;
	if (len >= sizeof(text))
		len = sizeof(text) - 1;
	memcpy(text, GRPC_SLICE_START_PTR(stream->status_text), len);
	text[len] = '\0';
	stream->told = true;
	stream->handler->closed(stream->handler, (int)stream->status, text);
}

static void completed(struct loop_mail *mail)
{
	struct completion *completion = MESH_CONTAINER(mail, struct completion, mail);
	struct control_stream *stream = completion->stream;

	completion->pending = false;
	stream->pending--;
	stream->busy = true;
	switch (completion->kind) {
	case STARTED:
		stream->started = true;
		send_next(stream);
		break;
	case RECEIVED:
		received(stream);
		break;
	case SENT:
		sent(stream);
		break;
	default:
		stream->ended = true;
	}
	tell_end(stream);
	stream->busy = false;
	if (stream->closed && !stream->pending)
		stream_free(stream);
}

/* Puts the three batches under way that every call has. They cannot fail but for headers that cannot be sent. */
static int start_call(struct control_stream *stream)
{
	grpc_op start = {.op = GRPC_OP_SEND_INITIAL_METADATA};
	grpc_op end[2] = {{.op = GRPC_OP_RECV_INITIAL_METADATA}, {.op = GRPC_OP_RECV_STATUS_ON_CLIENT}};
	int rc;

	start.data.send_initial_metadata.metadata = stream->headers;
	start.data.send_initial_metadata.count = stream->header_count;
	end[0].data.recv_initial_metadata.recv_initial_metadata = &stream->initial;
	end[1].data.recv_status_on_client.trailing_metadata = &stream->trailing;
	end[1].data.recv_status_on_client.status = &stream->status;
	end[1].data.recv_status_on_client.status_details = &stream->status_text;
	rc = start_batch(stream, STARTED, &start, 1);
	if (!rc)
		rc = start_batch(stream, ENDED, end, 2);
	if (!rc)
		receive_next(stream);
	return rc;
}

static int add_header(struct control_stream *stream, const struct mesh_header *header)
{
	grpc_metadata *metadata = &stream->headers[stream->header_count];
	grpc_slice key = grpc_slice_from_copied_buffer(header->name.data, header->name.len);
	grpc_slice value = grpc_slice_from_copied_buffer(header->value.data, header->value.len);

	metadata->key = key;
	metadata->value = value;
	stream->header_count++;
	return grpc_header_key_is_legal(key) && grpc_header_nonbin_value_is_legal(value) ? 0 : MESH_ERROR_INVALID;
}

static void stream_init(struct control_stream *stream, struct grpc_control *control, struct control_handler *handler)
{
	stream->control = control;
	stream->handler = handler;
	stream->status_text = grpc_empty_slice();
	mesh_list_init(&stream->outgoing);
	grpc_metadata_array_init(&stream->initial);
	grpc_metadata_array_init(&stream->trailing);
	for (unsigned i = 0; i < COMPLETIONS; i++)
		stream->completions[i] = (struct completion){
			.mail.run = completed, .stream = stream, .loop = control->loop, .kind = i};
	control->streams++;
}

static void grpc_stream_close(struct control_stream *stream)
{
	if (!stream)
		return;
	stream->closed = true;
	if (stream->call && !stream->ended)
		grpc_call_cancel(stream->call, NULL);
	if (!stream->pending && !stream->busy)
		stream_free(stream);
}

static int grpc_stream_open(struct control *base, const struct control_target *target, const char *method,
			    const struct mesh_header *headers, size_t header_count, uint32_t timeout_ms,
			    struct control_handler *handler, struct control_stream **result)
{
	struct grpc_control *control = (struct grpc_control *)base;
	gpr_timespec deadline = gpr_inf_future(GPR_CLOCK_REALTIME);
	struct control_stream *stream;
	grpc_slice path;
	int rc = 0;

	if (header_count > HEADERS_MAX)
		return MESH_ERROR_INVALID;
	stream = mesh_mem_zalloc(control->mem, sizeof(*stream));
	if (!stream)
		return MESH_ERROR_NOMEM;
	stream_init(stream, control, handler);
	for (size_t i = 0; i < header_count && !rc; i++)
		rc = add_header(stream, &headers[i]);
	if (!rc)
		rc = channel_new(control->mem, target, &stream->channel);
	if (rc)
		goto fail;
	if (timeout_ms)
		deadline = gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_millis(timeout_ms, GPR_TIMESPAN));
	path = grpc_slice_from_copied_string(method);
	stream->call = grpc_channel_create_call(stream->channel, NULL, GRPC_PROPAGATE_DEFAULTS, control->queue, path,
						NULL, deadline, NULL);
	grpc_slice_unref(path);
	rc = stream->call ? start_call(stream) : MESH_ERROR_NOMEM;
	if (rc)
		goto fail;
	*result = stream;
	return 0;
fail:
	grpc_stream_close(stream);
	return rc;
}

static int grpc_stream_send(struct control_stream *stream, struct mesh_slice bytes, bool last)
{
	struct outgoing *out;
	grpc_slice slice;

	if (stream->ended || stream->closed || stream->last_queued)
		return MESH_ERROR_STATE;
	out = mesh_mem_zalloc(stream->control->mem, sizeof(*out));
	if (!out)
		return MESH_ERROR_NOMEM;
	slice = grpc_slice_from_copied_buffer(bytes.data, bytes.len);
	out->bytes = grpc_raw_byte_buffer_create(&slice, 1);
	grpc_slice_unref(slice);
	out->last = stream->last_queued = last;
	mesh_list_push(&stream->outgoing, &out->link);
	send_next(stream);
	return 0;
}

const struct control_ops mesh_control_grpc = {
	.start = grpc_control_start,
	.stop = grpc_control_stop,
	.open = grpc_stream_open,
	.send = grpc_stream_send,
	.close = grpc_stream_close,
};
