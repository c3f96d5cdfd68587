/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides which outbound listener and chain a request takes: the one a sidecar would have caught it on after the name was
 * resolved to an address. Refuses to resolve names: configuration says which listener is whose.
 */
#include "call/call.h"

#include <stdio.h>

#include "call/worker.h"

enum { HOST_BYTES_MAX = 253 }; /* of a DNS name */

/* "host:port", "host", "[v6]:port": the host without brackets, and the port or 80. */
static bool split_authority(struct mesh_slice authority, struct mesh_slice *host, uint16_t *port)
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

int mesh_client_find_listener(struct mesh_call *call)
{
	struct client_call *client = &call->client;
	const struct listener_config *listener;
	const struct chain *chain = NULL;
	struct mesh_slice host;
	uint16_t port;

	if (!split_authority(call->request.authority, &host, &port))
		return mesh_why(&call->why, MESH_ERROR_INVALID, "authority: \"%.*s\": expected host or host:port",
				(int)call->request.authority.len, call->request.authority.data);
	listener = mesh_snapshot_has_named(client->snapshot, port)
			   ? find_named(client->snapshot, host, port, call->worker->mesh->pod_namespace)
			   : NULL;
	if (!listener)
		listener = mesh_snapshot_outbound(client->snapshot, host, port);
	if (listener)
		chain = http_chain(listener, client->version);
	if (!chain)
		return mesh_why(&call->why, MESH_ERROR_NO_ROUTE, "no outbound HTTP listener for port %u", port);
	if (chain->kind == CHAIN_FAIL_CLOSED)
		return mesh_why(&call->why, MESH_ERROR_FAIL_CLOSED, "listener %.*s: %.*s", (int)listener->object.item.name.len,
				listener->object.item.name.data, (int)chain->reason.len, chain->reason.data);
	if (!codec_takes(chain->http, client->version))
		return mesh_why(&call->why, MESH_ERROR_DOWNSTREAM_PROTOCOL, "listener %.*s is for the other version of HTTP",
				(int)listener->object.item.name.len, listener->object.item.name.data);
	client->http = chain->http;
	return 0;
}
