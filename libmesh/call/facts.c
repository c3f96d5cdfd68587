/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tells what is known of a call to text that is put together from it (command operators of routes). Decides nothing, and is
 * asked only where a route has such text.
 */
#include "call/facts.h"

#include "base/text.h"
#include "call/inbound.h"
#include "cluster/connection.h"

static bool put(struct mesh_slice text, struct arena *arena, struct mesh_slice *value)
{
	*value = text.data ? mesh_arena_slice(arena, text, NULL) : text;
	return !text.data || value->data;
}

static bool put_number(uint64_t number, struct arena *arena, struct mesh_slice *value)
{
	char text[20];

	return put(mesh_slice_make(text, mesh_text_u64(text, number)), arena, value);
}

enum part { WHOLE, ADDRESS, PORT };

/* A port that is not known is 0: then there is no address with one. */
static bool put_address(const struct address *address, enum part part, struct arena *arena, struct mesh_slice *value)
{
	char text[MESH_ADDRESS_TEXT_BYTES];
	struct mesh_slice whole;
	ptrdiff_t colon;

	if (!address || !address->len || (part != ADDRESS && !mesh_address_port(address)))
		return true;
	if (part == PORT)
		return put_number(mesh_address_port(address), arena, value);
	whole = mesh_slice_make(text, mesh_address_text(address, text));
	colon = mesh_slice_find_last(whole, ':');
	if (part == ADDRESS && colon > 0)
		whole.len = (size_t)colon;
	if (part == ADDRESS && whole.len > 2 && whole.data[0] == '[')
		whole = mesh_slice_make(whole.data + 1, whole.len - 2);
	return put(whole, arena, value);
}

static bool put_names(const struct mesh_slice *names, size_t count, struct arena *arena, struct mesh_slice *value)
{
	size_t len = 0;
	char *text;

	for (size_t i = 0; i < count; i++)
		len += names[i].len + 1;
	text = count ? mesh_arena_alloc(arena, len) : NULL;
	if (!text)
		return !count;
	*value = mesh_slice_make(text, len - 1);
	for (size_t i = 0; i < count; i++) {
		memcpy(text, names[i].data, names[i].len);
		text += names[i].len;
		*text++ = ',';
	}
	return true;
}

static bool ask_peer(const struct peer_info *peer, enum format_op op, struct arena *arena, struct mesh_slice *value)
{
	switch (op) {
	case FORMAT_SERVER_NAME:
		return put(peer->sni.len ? peer->sni : (struct mesh_slice){NULL, 0}, arena, value);
	case FORMAT_PEER_URI_SAN:
		return put_names(peer->uri_sans, peer->uri_san_count, arena, value);
	case FORMAT_PEER_DNS_SAN:
		return put_names(peer->dns_sans, peer->dns_san_count, arena, value);
	case FORMAT_PEER_SUBJECT:
		return put(peer->subject.len ? peer->subject : (struct mesh_slice){NULL, 0}, arena, value);
	case FORMAT_PEER_FINGERPRINT:
		return put(peer->sha256, arena, value);
	case FORMAT_PEER_CERT:
		return put(peer->pem[0], arena, value);
	case FORMAT_LOCAL_URI_SAN:
		return put(peer->local_uri, arena, value);
	case FORMAT_TLS_VERSION:
		return put(peer->tls_version, arena, value);
	case FORMAT_TLS_CIPHER:
		return put(peer->tls_cipher, arena, value);
	default:
		return true;
	}
}

/* What both sides know in the same way. */
static bool ask_call(const struct mesh_call *call, enum format_op op, struct arena *arena, struct mesh_slice *value)
{
	char uuid[MESH_UUID_BYTES];

	switch (op) {
	case FORMAT_RESPONSE_CODE:
		return put_number(call->response.status > 0 ? (uint64_t)call->response.status : 0, arena, value);
	case FORMAT_RESPONSE_FLAGS:
		return put(mesh_slice_of(call->result.flag ? call->result.flag : "-"), arena, value);
	case FORMAT_ROUTE_NAME:
		return put(call->result.route.len ? call->result.route : (struct mesh_slice){NULL, 0}, arena, value);
	case FORMAT_BYTES_RECEIVED:
		return put_number(call->result.received_bytes, arena, value);
	case FORMAT_BYTES_SENT:
		return put_number(call->result.sent_bytes, arena, value);
	case FORMAT_DURATION:
		return put_number((mesh_loop_now_ns(call->worker->env.loop) - call->started_ns) / 1000000, arena, value);
	case FORMAT_UNIQUE_ID:
		mesh_text_uuid(&call->worker->env.rand, uuid);
		return put(mesh_slice_make(uuid, sizeof(uuid)), arena, value);
	case FORMAT_STREAM_ID:
		return put(mesh_headers_get(&call->request.headers, MESH_SLICE("x-request-id")), arena, value);
	default:
		return true;
	}
}

/* Of the try that brought the answer; none before there is one. */
static bool ask_upstream(const struct mesh_call *call, enum format_op op, struct arena *arena, struct mesh_slice *value)
{
	const struct attempt *attempt = call->client.current;
	const struct endpoint *endpoint = call->response.status && attempt ? attempt->endpoint : NULL;

	if (!endpoint)
		return true;
	switch (op) {
	case FORMAT_UPSTREAM_HOST:
	case FORMAT_UPSTREAM_HOST_NAME:
		return put_address(&endpoint->address, WHOLE, arena, value);
	case FORMAT_UPSTREAM_ADDRESS_ONLY:
		return put_address(&endpoint->address, ADDRESS, arena, value);
	case FORMAT_UPSTREAM_PORT:
		return put_address(&endpoint->address, PORT, arena, value);
	case FORMAT_UPSTREAM_PROTOCOL:
		return put(attempt->connection && attempt->connection->shares ? MESH_SLICE("HTTP/2") : MESH_SLICE("HTTP/1.1"), arena,
			   value);
	default:
		return true;
	}
}

static bool ask_client(const struct format_facts *facts, enum format_op op, struct arena *arena, struct mesh_slice *value)
{
	const struct mesh_call *call = facts->from;
	const struct client_call *client = &call->client;
	bool local = client->chosen.route->kind != ROUTE_CLUSTER;
	struct mesh_slice host;
	struct address own;
	uint16_t port;

	switch (op) {
	case FORMAT_PROTOCOL: /* of the application */
		return put(client->version == MESH_HTTP_2 ? MESH_SLICE("HTTP/2") : MESH_SLICE("HTTP/1.1"), arena, value);
	case FORMAT_RESPONSE_CODE: /* a route's own answer has none yet when its headers are written */
		return local ? put(MESH_SLICE("0"), arena, value) : ask_call(call, op, arena, value);
	case FORMAT_LOCAL_PORT: /* the one that was dialled */
		return !mesh_authority_split(client->match.authority, &host, &port) || put_number(port, arena, value);
	case FORMAT_RESPONSE_CODE_DETAILS:
		return put(local ? MESH_SLICE("direct_response")
				 : call->response.status ? MESH_SLICE("via_upstream") : (struct mesh_slice){NULL, 0},
			   arena, value);
	case FORMAT_UPSTREAM_CLUSTER:
		if (client->cluster && client->cluster->config->stat_name.len)
			return put(client->cluster->config->stat_name, arena, value);
		return put(client->target.len ? client->target : (struct mesh_slice){NULL, 0}, arena, value);
	case FORMAT_UPSTREAM_CLUSTER_RAW:
		return put(client->target.len ? client->target : (struct mesh_slice){NULL, 0}, arena, value);
	case FORMAT_ATTEMPT_COUNT:
		return local || put_number(call->result.attempts ? call->result.attempts : 1, arena, value);
	case FORMAT_REMOTE_ONLY:
	case FORMAT_DIRECT_REMOTE_ONLY:
		if (mesh_address_parse(&own, mesh_slice_of(call->mesh->pod_ip), 0))
			return true;
		return put_address(&own, ADDRESS, arena, value);
	default:
		return ask_upstream(call, op, arena, value) && (value->data || ask_call(call, op, arena, value));
	}
}

static bool ask_server(const struct format_facts *facts, enum format_op op, struct arena *arena, struct mesh_slice *value)
{
	const struct mesh_call *call = facts->from;
	const struct server_call *serve = &call->serve;
	const struct inbound *inbound = serve->inbound;

	switch (op) {
	case FORMAT_PROTOCOL:
		return put(inbound->http2 ? MESH_SLICE("HTTP/2")
					  : call->request.minor ? MESH_SLICE("HTTP/1.1") : MESH_SLICE("HTTP/1.0"),
			   arena, value);
	case FORMAT_RESPONSE_CODE_DETAILS:
		return put(serve->chosen.route->kind == ROUTE_DIRECT_RESPONSE ? MESH_SLICE("direct_response")
			   : call->response.status			       ? MESH_SLICE("via_upstream")
									       : (struct mesh_slice){NULL, 0},
			   arena, value);
	case FORMAT_UPSTREAM_CLUSTER:
	case FORMAT_UPSTREAM_CLUSTER_RAW:
		return put(serve->chosen.weighted ? serve->chosen.weighted->name : serve->chosen.route->cluster, arena, value);
	case FORMAT_ATTEMPT_COUNT:
		return put_number(1, arena, value);
	case FORMAT_REMOTE:
		return put_address(&serve->remote, WHOLE, arena, value);
	case FORMAT_REMOTE_ONLY:
		return put_address(&serve->remote, ADDRESS, arena, value);
	case FORMAT_REMOTE_PORT:
		return put_address(&serve->remote, PORT, arena, value);
	case FORMAT_DIRECT_REMOTE:
		return put_address(&inbound->remote, WHOLE, arena, value);
	case FORMAT_DIRECT_REMOTE_ONLY:
		return put_address(&inbound->remote, ADDRESS, arena, value);
	case FORMAT_DIRECT_REMOTE_PORT:
		return put_address(&inbound->remote, PORT, arena, value);
	case FORMAT_LOCAL:
		return put_address(&inbound->local, WHOLE, arena, value);
	case FORMAT_LOCAL_ONLY:
		return put_address(&inbound->local, ADDRESS, arena, value);
	case FORMAT_LOCAL_PORT:
		return put_address(&inbound->local, PORT, arena, value);
	default:
		return ask_peer(&inbound->transport->peer, op, arena, value) && (value->data || ask_call(call, op, arena, value));
	}
}

static void fill(const struct mesh_call *call, struct mesh_slice scheme, struct format_facts *facts)
{
	uint64_t now = (uint64_t)mesh_time_wall_ms() * 1000000;
	uint64_t age = mesh_loop_now_ns(call->worker->env.loop) - call->started_ns;

	facts->method = call->request.method;
	facts->scheme = scheme;
	facts->authority = &call->request.authority;
	facts->path = &call->request.path;
	facts->request = &call->request.headers;
	facts->now_ns = now;
	facts->start_ns = age < now ? now - age : now;
	facts->from = call;
}

void mesh_facts_client(const struct rewrite *rewrite, struct format_facts *facts)
{
	const struct mesh_call *call = MESH_CONTAINER(rewrite, struct mesh_call, client.chosen);

	fill(call, call->client.match.scheme, facts);
	facts->metadata = call->client.match.metadata;
	facts->ask = ask_client;
}

void mesh_facts_server(const struct rewrite *rewrite, struct format_facts *facts)
{
	const struct mesh_call *call = MESH_CONTAINER(rewrite, struct mesh_call, serve.chosen);

	fill(call, call->peer.tls ? MESH_SLICE("https") : MESH_SLICE("http"), facts);
	facts->ask = ask_server;
}
