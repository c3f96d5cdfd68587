/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides who may have an ADS stream and when its next response is sent: one at a time, so that a slow client is told
 * the newest state and not every state. Refuses to know what requests and responses say.
 */
#include <stdio.h>

#include "call.h"
#include "services.h"
#include "session.h"

static const struct mesh_mem *const mem = &mesh_mem_default;

struct stream {
	struct link node; /* in server->streams */
	struct cp_call *call;
	struct cp_caller caller;
	struct cp_session session;
};

static void pump(struct stream *stream)
{
	struct buf out;
	int rc;

	if (stream->call->sending || stream->call->finishing)
		return;
	mesh_buf_init(&out, mem, 0);
	rc = cp_session_next(&stream->session, &out);
	if (rc > 0)
		cp_call_send(stream->call, mesh_buf_slice(&out));
	else if (rc < 0)
		cp_call_finish(stream->call, GRPC_STATUS_RESOURCE_EXHAUSTED, "out of memory");
	mesh_buf_free(&out);
}

/* "namespace" of "type~ip~pod.namespace~domain", unless the metadata says it. */
static struct mesh_slice claimed_namespace(const struct cp_session *session)
{
	struct mesh_slice rest = mesh_slice_of(session->node_id);

	if (session->claims.namespace_name[0])
		return mesh_slice_of(session->claims.namespace_name);
	mesh_slice_cut(&rest, '~');
	mesh_slice_cut(&rest, '~');
	rest = mesh_slice_cut(&rest, '~');
	mesh_slice_cut(&rest, '.');
	return rest;
}

/* A caller whose identity is known may only be a node of that identity. */
static bool is_allowed(const struct stream *stream)
{
	const struct cp_identity *identity = &stream->caller.identity;
	const char *account = stream->session.claims.account;

	if (!stream->caller.secure)
		return true;
	if (!mesh_slice_equal(claimed_namespace(&stream->session), mesh_slice_of(identity->namespace_name)))
		return false;
	return !account[0] || strcmp(account, identity->account) == 0;
}

static void on_message(struct cp_call *call, struct mesh_slice message)
{
	struct stream *stream = call->user;
	bool first = !stream->session.has_node;
	struct why why = {""};

	if (cp_session_request(&stream->session, message, &why) < 0) {
		fprintf(stderr, "stream %u: %s\n", stream->session.number, why.text);
		cp_call_finish(call, GRPC_STATUS_INVALID_ARGUMENT, why.text);
		return;
	}
	if (first && !is_allowed(stream)) {
		fprintf(stderr, "stream %u %s: not allowed to %s/%s\n", stream->session.number, stream->session.node_id,
			stream->caller.identity.namespace_name, stream->caller.identity.account);
		cp_call_finish(call, GRPC_STATUS_PERMISSION_DENIED,
			       "authorization failed: the node is of another identity");
		return;
	}
	if (first && cp_session_refresh(&stream->session, &call->server->catalog, call->server->version) < 0) {
		cp_call_finish(call, GRPC_STATUS_RESOURCE_EXHAUSTED, "out of memory");
		return;
	}
	pump(stream);
}

static void on_sent(struct cp_call *call)
{
	pump(call->user);
}

static void on_gone(struct cp_call *call)
{
	struct stream *stream = call->user;

	fprintf(stderr, "stream %u %s: closed\n", stream->session.number, stream->session.node_id);
	mesh_list_remove(&stream->node);
	cp_session_close(&stream->session);
	mesh_mem_free(mem, stream);
}

void cp_ads_start(struct cp_server *server, grpc_call *grpc, const struct cp_caller *caller, bool delta)
{
	static const struct cp_call_ops ops = {on_message, on_sent, on_gone};
	struct stream *stream = mesh_mem_zalloc(mem, sizeof(*stream));

	if (!stream) {
		grpc_call_unref(grpc);
		return;
	}
	stream->caller = *caller;
	cp_session_open(&stream->session, ++server->streams_made, delta);
	stream->call = cp_call_start(server, grpc, &ops, stream);
	if (!stream->call) {
		mesh_mem_free(mem, stream);
		return;
	}
	mesh_list_push(&server->streams, &stream->node);
	fprintf(stderr, "stream %u: opened, %s, %s%s%s\n", stream->session.number,
		delta ? "delta" : "state of the world",
		!caller->secure ? "plaintext"
		: caller->known ? caller->identity.namespace_name
				: "refused",
		caller->known ? "/" : "", caller->known ? caller->identity.account : "");
	if (caller->secure && !caller->known)
		cp_call_finish(stream->call, GRPC_STATUS_UNAUTHENTICATED, caller->why.text);
}

void cp_ads_push(struct cp_server *server)
{
	MESH_LIST_EACH(node, &server->streams) {
		struct stream *stream = MESH_CONTAINER(node, struct stream, node);

		if (cp_session_refresh(&stream->session, &server->catalog, server->version) < 0)
			cp_call_finish(stream->call, GRPC_STATUS_RESOURCE_EXHAUSTED, "out of memory");
		else
			pump(stream);
	}
}
