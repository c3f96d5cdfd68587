/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides which outbound listener and chain a request takes: the one a sidecar would have caught it on after the name was
 * resolved to an address. Mostly configuration says which listener is whose; where it does not, the address is asked for
 * first (egress.c).
 */
#include "call/call.h"

#include <stdio.h>

#include "call/worker.h"
#include "policy/chain_match.h"

enum { HOST_BYTES_MAX = 253 }; /* of a DNS name */

bool mesh_authority_split(struct mesh_slice authority, struct mesh_slice *host, uint16_t *port)
{
	ptrdiff_t colon = mesh_slice_find_last(authority, ':');
	uint64_t number = 80;

	*host = authority;
	if (authority.len && authority.data[0] == '[') {
		ptrdiff_t close = mesh_slice_find(authority, ']');

		if (close < 0)
			return false;
		if (colon < close)
			colon = -1;
		*host = mesh_slice_make(authority.data + 1, (size_t)close - 1);
	} else if (colon >= 0) {
		host->len = (size_t)colon;
	}
	if (colon >= 0) {
		struct mesh_slice digits = mesh_slice_make(authority.data + colon + 1, authority.len - (size_t)colon - 1);

		if (!mesh_slice_to_u64(digits, &number) || number == 0 || number > 65535)
			return false;
	}
	*port = (uint16_t)number;
	return host->len > 0;
}

/* What an inspector would find the application to speak in plaintext. */
static bool sniffs_as(const struct chain *chain, enum mesh_http_version version)
{
	struct mesh_slice name = version == MESH_HTTP_2 ? MESH_SLICE("h2c") : MESH_SLICE("http/1.1");

	for (size_t i = 0; i < chain->match.alpn_count; i++)
		if (mesh_slice_equal(chain->match.alpn[i], name))
			return true;
	return false;
}

static bool plaintext_http(const struct chain *chain)
{
	if (chain->kind != CHAIN_HTTP && chain->kind != CHAIN_FAIL_CLOSED)
		return false;
	return !chain->match.transport.len || mesh_slice_equal(chain->match.transport, MESH_SLICE("raw_buffer"));
}

/* As a sidecar: a chain for what was sniffed goes before one for everything, which goes before the default one. */
static const struct chain *http_chain(const struct listener_config *listener, enum mesh_http_version version)
{
	const struct chain *any = NULL;

	for (size_t i = 0; i < listener->chain_count; i++) {
		const struct chain *chain = &listener->chains[i];

		if (!chain->match.alpn_count) {
			any = any || !plaintext_http(chain) ? any : chain;
			continue;
		}
		if (listener->http_inspector && plaintext_http(chain) && sniffs_as(chain, version))
			return chain;
	}
	if (any)
		return any;
	return listener->default_chain && plaintext_http(listener->default_chain) ? listener->default_chain : NULL;
}

/* A connection manager that was told which version to expect takes no other. */
static bool codec_takes(const struct http_config *http, enum mesh_http_version version)
{
	return http->codec == HTTP_CODEC_AUTO || (http->codec == HTTP_CODEC_HTTP2) == (version == MESH_HTTP_2);
}

/* The name in lower case, without the dot of a whole name; absent when it is too long to be one. */
static struct mesh_slice lower_host(struct mesh_slice host, char room[HOST_BYTES_MAX + 1])
{
	if (host.len > 1 && host.data[host.len - 1] == '.')
		host.len--;
	if (host.len > HOST_BYTES_MAX)
		return (struct mesh_slice){NULL, 0};
	for (size_t i = 0; i < host.len; i++)
		room[i] = mesh_char_lower(host.data[i]);
	return mesh_slice_make(room, host.len);
}

/* A service whose listener is its own, by name: as the resolver in a pod completes names, from the namespace outwards. */
static const struct listener_config *find_named(const struct snapshot *snapshot, struct mesh_slice host, uint16_t port,
						const char *ns)
{
	char room[HOST_BYTES_MAX + 1], whole[2 * HOST_BYTES_MAX + 32], own[HOST_BYTES_MAX + 32];
	struct mesh_slice name = lower_host(host, room);
	const char *const search[] = {own, "svc.cluster.local", "cluster.local"};
	const struct listener_config *found = name.data ? mesh_snapshot_outbound_named(snapshot, name, port) : NULL;

	snprintf(own, sizeof(own), "%.*s.svc.cluster.local", HOST_BYTES_MAX, ns);
	for (size_t i = 0; name.data && !found && i < sizeof(search) / sizeof(search[0]); i++) {
		int len = snprintf(whole, sizeof(whole), "%.*s.%s", (int)name.len, name.data, search[i]);

		found = mesh_snapshot_outbound_named(snapshot, mesh_slice_make(whole, (size_t)len), port);
	}
	return found;
}

/* Chains for some addresses alone: which one it is cannot be told without. */
static bool asks_for_address(const struct listener_config *listener)
{
	for (size_t i = 0; i < listener->chain_count; i++)
		if (listener->chains[i].match.destination_count)
			return true;
	return false;
}

/* A chain that takes the connection as bytes, whatever is spoken on it. */
static const struct chain *bytes_chain(const struct listener_config *listener, const struct address *destination, uint16_t port,
				       enum mesh_http_version version)
{
	const struct mesh_slice spoken = version == MESH_HTTP_2 ? MESH_SLICE("h2c") : MESH_SLICE("http/1.1");
	struct chain_request request = {.port = port, .destination = destination->len ? destination : NULL};

	if (listener->http_inspector) {
		request.alpn = &spoken;
		request.alpn_count = 1;
	}
	return mesh_chain_find(listener, &request);
}

static const struct listener_config *find_listener(const struct mesh_call *call, struct mesh_slice host, uint16_t port, bool known)
{
	const struct snapshot *snapshot = call->client.snapshot;
	const struct listener_config *listener = NULL;

	if (!known && mesh_snapshot_has_named(snapshot, port))
		listener = find_named(snapshot, host, port, call->worker->mesh->pod_namespace);
	return listener ? listener : mesh_snapshot_outbound(snapshot, host, port);
}

static int no_chain(struct mesh_call *call, uint16_t port)
{
	return mesh_why(&call->why, MESH_ERROR_NO_ROUTE, "no outbound HTTP listener for port %u", port);
}

static int closed(struct mesh_call *call, const struct listener_config *listener, const struct chain *chain)
{
	return mesh_why(&call->why, MESH_ERROR_FAIL_CLOSED, "listener %.*s: %.*s", (int)listener->object.item.name.len,
			listener->object.item.name.data, (int)chain->reason.len, chain->reason.data);
}

static int take_bytes(struct mesh_call *call, const struct listener_config *listener, const struct chain *chain, uint16_t port)
{
	if (!chain)
		return no_chain(call, port);
	switch (chain->kind) {
	case CHAIN_TCP:
		if (chain->tunnel)
			return mesh_why(&call->why, MESH_ERROR_FAIL_CLOSED, "listener %.*s: calls through a tunnel are not supported",
					(int)listener->object.item.name.len, listener->object.item.name.data);
		return mesh_egress_carry(call, chain);
	case CHAIN_FAIL_CLOSED:
		return closed(call, listener, chain);
	case CHAIN_BLACKHOLE:
		if (chain->tcp_cluster.len)
			return mesh_why(&call->why, MESH_ERROR_NO_ENDPOINT,
					"nothing in the mesh is at %.*s, and nothing else may be called",
					(int)call->request.authority.len, call->request.authority.data);
		break;
	case CHAIN_HTTP: /* for something else than what is spoken here */
		break;
	}
	return no_chain(call, port);
}

/* No chain of HTTP takes it: where a sidecar would send the bytes it is made of. */
static int find_bytes(struct mesh_call *call, const struct listener_config *listener, struct mesh_slice host, uint16_t port)
{
	const struct snapshot *snapshot = call->client.snapshot;
	bool unknown = listener == snapshot->virtual_outbound && mesh_snapshot_has_bound(snapshot, port);
	struct address destination;

	/* by another name it may be the address of one of the listeners of this port */
	if (mesh_address_parse(&destination, host, port) && (unknown || asks_for_address(listener)))
		return MESH_ERROR_AGAIN;
	return take_bytes(call, listener, bytes_chain(listener, &destination, port, call->client.version), port);
}

int mesh_client_find_listener(struct mesh_call *call)
{
	struct client_call *client = &call->client;
	const struct listener_config *listener;
	const struct chain *chain = NULL;
	char room[MESH_ADDRESS_TEXT_BYTES];
	struct mesh_slice host, ip;
	uint16_t port;

	if (!mesh_authority_split(call->request.authority, &host, &port))
		return mesh_why(&call->why, MESH_ERROR_INVALID, "authority: \"%.*s\": expected host or host:port",
				(int)call->request.authority.len, call->request.authority.data);
	ip = mesh_egress_ip(call, room);
	listener = find_listener(call, ip.len ? ip : host, port, ip.len);
	if (!listener)
		return no_chain(call, port);
	chain = http_chain(listener, client->version);
	if (!chain)
		return find_bytes(call, listener, ip.len ? ip : host, port);
	if (chain->kind == CHAIN_FAIL_CLOSED)
		return closed(call, listener, chain);
	if (!codec_takes(chain->http, client->version))
		return mesh_why(&call->why, MESH_ERROR_DOWNSTREAM_PROTOCOL, "listener %.*s is for the other version of HTTP",
				(int)listener->object.item.name.len, listener->object.item.name.data);
	client->http = chain->http;
	return 0;
}
