/* SPDX-License-Identifier: Apache-2.0 */
/*
 * <mesh/grpc.h>, one call on a server: decides whether a request is gRPC, whose it is, how long it may take, and when its
 * function is called. Refuses to know how answers are written (grpc_answer.c).
 */
#include "api/grpc_server.h"

#include "grpc/metadata.h"
#include "grpc/timeout.h"

static void on_data(struct mesh_call *transport, struct mesh_slice data, void *user)
{
	mesh_grpc_take(user, data);
}

static void on_end(struct mesh_call *transport, void *user)
{
	mesh_grpc_take_end(user);
}

static void on_writable(struct mesh_call *transport, void *user)
{
	mesh_grpc_answer_writable(user);
}

/* What was answered, or that nobody waits for it any more. */
static void on_done(struct mesh_call *transport, void *user)
{
	struct mesh_grpc_call *call = user;
	const struct mesh_result *result = mesh_call_result(transport);
	bool left;

	mesh_timer_stop(transport->worker->env.loop, &call->deadline);
	pthread_mutex_lock(&call->out.lock);
	left = call->finished < 0;
	pthread_mutex_unlock(&call->out.lock);
	mesh_grpc_settle(call, left ? MESH_GRPC_CANCELLED : call->finished,
			 left && result ? result->why : (struct mesh_slice){NULL, 0});
	mesh_grpc_ended(call);
}

static const struct mesh_call_events transport_events = {
	.size = sizeof(transport_events),
	.data = on_data,
	.end = on_end,
	.writable = on_writable,
	.done = on_done,
};

static void deadline_due(struct loop_timer *timer)
{
	struct mesh_grpc_call *call = MESH_CONTAINER(timer, struct mesh_grpc_call, deadline);

	pthread_mutex_lock(&call->out.lock);
	if (call->finished >= 0) { /* on its way already */
		pthread_mutex_unlock(&call->out.lock);
		return;
	}
	pthread_mutex_unlock(&call->out.lock);
	mesh_grpc_answer_failure(call, MESH_GRPC_DEADLINE_EXCEEDED, "the deadline passed on the server");
}

static bool start_deadline(struct mesh_grpc_call *call, struct mesh_slice text)
{
	struct loop *loop = call->transport->worker->env.loop;
	uint64_t ns, now = mesh_loop_now_ns(loop);

	if (!text.data)
		return true;
	if (!mesh_grpc_timeout_parse(text, &ns)) {
		mesh_grpc_answer_failure(call, MESH_GRPC_INTERNAL, "malformed grpc-timeout");
		return false;
	}
	atomic_store(&call->deadline_ns, now + ns);
	call->deadline.due = deadline_due;
	if (ns && !mesh_timer_start_at(loop, &call->deadline, now + ns))
		return true;
	if (ns)
		mesh_grpc_answer_failure(call, MESH_GRPC_RESOURCE_EXHAUSTED, "no memory for the deadline");
	else
		mesh_grpc_answer_failure(call, MESH_GRPC_DEADLINE_EXCEEDED,
					 "the deadline passed before the call arrived");
	return false;
}

MESH_EXPORT int64_t mesh_grpc_deadline_ms(const struct mesh_grpc_call *call)
{
	uint64_t at = call ? atomic_load(&((struct mesh_grpc_call *)call)->deadline_ns) : 0, now = mesh_time_now_ns();

	if (!at)
		return -1;
	return at > now ? (int64_t)((at - now + 999999) / 1000000) : 0;
}

MESH_EXPORT int mesh_grpc_on(struct mesh_grpc_call *call, const struct mesh_grpc_events *events, void *user)
{
	if (!call || !call->server || !events || !events->size)
		return MESH_ERROR_INVALID;
	if (call->registered || call->done_told)
		return MESH_ERROR_STATE;
	mesh_grpc_set_events(call, events, user);
	call->registered = true;
	return 0;
}

/* The request of a service's function is whole. */
void mesh_grpc_dispatch(struct mesh_grpc_call *call)
{
	const struct grpc_method *method = call->method;

	if (!call->in.count) {
		mesh_grpc_answer_failure(call, MESH_GRPC_UNIMPLEMENTED, "no message where one is due");
		return;
	}
	mesh_grpc_retain(call);
	atomic_store(&call->owed, true);
	method->service->invoke(method->service, method->index, call->in.kept, mesh_grpc_answer_closure, call);
}

static void run_handler(struct mesh_grpc_call *call)
{
	const struct grpc_method *method = call->method;
	bool ended;

	method->handler(call, method->user);
	pthread_mutex_lock(&call->out.lock);
	ended = call->out.ended;
	pthread_mutex_unlock(&call->out.lock);
	/* the transport's and the one held here */
	if (!ended && !call->registered && atomic_load(&call->refs) == 2)
		mesh_grpc_answer_failure(call, MESH_GRPC_INTERNAL, "the method gave no answer");
}

/* Has anything that speaks against serving it, the deadline included, been answered? */
static bool refuse(struct mesh_grpc_call *call)
{
	const struct headers *fields = mesh_call_received(call->transport);

	if (!call->method)
		mesh_grpc_answer_failure(call, MESH_GRPC_UNIMPLEMENTED, "unknown service or method");
	else if (!mesh_grpc_take_encoding(call, mesh_headers_get(fields, MESH_SLICE("grpc-encoding"))))
		mesh_grpc_answer_failure(call, MESH_GRPC_UNIMPLEMENTED, "grpc-encoding is neither identity nor gzip");
	else
		return !start_deadline(call, mesh_headers_get(fields, MESH_SLICE("grpc-timeout")));
	return true;
}

static bool is_grpc(struct mesh_call *transport)
{
	return mesh_slice_equal(mesh_call_method(transport), MESH_SLICE("POST")) &&
	       mesh_grpc_content_type(mesh_call_header(transport, "content-type"));
}

static void not_grpc(struct mesh_call *transport, const struct mesh_grpc_server *server)
{
	if (server->options.fallback)
		server->options.fallback(transport, server->options.fallback_user);
	else
		mesh_call_respond(transport, 415, NULL, 0, MESH_SLICE("this port serves gRPC\n"), true);
}

/* In the transport's arena: a warm call allocates nothing for it. */
static struct mesh_grpc_call *make(struct mesh_call *transport, const struct mesh_grpc_server *server)
{
	struct mesh_grpc_call *call = mesh_arena_zalloc(&transport->arena, sizeof(*call));
	struct mesh_slice path = mesh_call_path(transport);
	ptrdiff_t query = mesh_slice_find(path, '?');

	if (!call)
		return NULL;
	mesh_grpc_call_setup(call, mesh_call_retain(transport), server->options.message_bytes_max);
	call->server = true;
	call->path = query < 0 ? path : mesh_slice_make(path.data, (size_t)query);
	call->method = mesh_map_get(&server->methods, call->path);
	if (call->method && call->method->descriptor) {
		call->receives = call->method->descriptor->input;
		call->sends = call->method->descriptor->output;
	}
	call->in.single = call->method && call->method->service && !call->method->handler;
	call->out.may_compress =
		mesh_grpc_encoding_listed(mesh_call_header(transport, "grpc-accept-encoding"), MESH_SLICE("gzip"));
	call->out.compress = call->out.may_compress && server->options.compress;
	return call;
}

MESH_EXPORT void mesh_grpc_handle(struct mesh_call *transport, void *user)
{
	struct mesh_grpc_server *server = user;
	struct mesh_grpc_call *call;

	if (!is_grpc(transport)) {
		not_grpc(transport, server);
		return;
	}
	call = make(transport, server);
	if (!call || mesh_call_on(transport, &transport_events, call)) {
		mesh_call_respond(transport, 503, NULL, 0, (struct mesh_slice){NULL, 0}, true);
		if (call)
			mesh_grpc_drop(call);
		return;
	}
	mesh_grpc_retain(call);
	if (!refuse(call) && !call->in.single)
		run_handler(call);
	/* a listener that collects requests has the body already */
	if (mesh_call_body(transport).len)
		mesh_grpc_take(call, mesh_call_body(transport));
	if (transport->received_end)
		mesh_grpc_take_end(call);
	mesh_grpc_drop(call);
}
