/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides which listener, chain and cluster a client's stream takes: what a sidecar would have caught it on after the name
 * was resolved to an address. Mostly configuration says which listener is whose; where it does not, it says that an address
 * is needed.
 */
#include <stdio.h>

#include "call/stream.h"
#include "policy/chain_match.h"

enum { HOST_BYTES_MAX = 253 }; /* of a DNS name */

bool mesh_stream_target_split(struct mesh_slice target, struct mesh_slice *host, uint16_t *port)
{
	ptrdiff_t colon = mesh_slice_find_last(target, ':');
	uint64_t number;

	if (colon <= 0 ||
	    !mesh_slice_to_u64(mesh_slice_make(target.data + colon + 1, target.len - (size_t)colon - 1), &number) ||
	    !number || number > UINT16_MAX)
		return false;
	*port = (uint16_t)number;
	*host = mesh_slice_make(target.data, (size_t)colon);
	if (host->data[0] == '[') {
		if (host->len < 3 || host->data[host->len - 1] != ']')
			return false;
		*host = mesh_slice_make(host->data + 1, host->len - 2);
	} else if (mesh_slice_find(*host, ':') >= 0) {
		return false; /* which colon is the port's? */
	}
	for (size_t i = 0; i < host->len; i++)
		if (host->data[i] <= ' ' || host->data[i] > '~' || host->data[i] == '/')
			return false;
	return host->len <= HOST_BYTES_MAX;
}

/* The whole names a name may stand for, as the resolver in a pod completes them, from the namespace outwards. */
struct names {
	char whole[4][2 * HOST_BYTES_MAX + 32];
	struct mesh_slice name[4];
	size_t count;
};

static void complete(const struct mesh_stream *stream, struct names *names)
{
	static const char *const domains[] = {"svc.cluster.local", "cluster.local"};
	struct mesh_slice host = stream->client.host;
	int len;

	if (host.len > 1 && host.data[host.len - 1] == '.')
		host.len--;
	names->count = 4;
	for (size_t i = 0; i < names->count; i++) {
		if (i == 0)
			len = snprintf(names->whole[i], sizeof(names->whole[i]), "%.*s", (int)host.len, host.data);
		else if (i == 1)
			len = snprintf(names->whole[i], sizeof(names->whole[i]), "%.*s.%s.%s", (int)host.len, host.data,
				       stream->mesh->pod_namespace, domains[0]);
		else
			len = snprintf(names->whole[i], sizeof(names->whole[i]), "%.*s.%s", (int)host.len, host.data,
				       domains[i - 2]);
		for (int j = 0; j < len; j++)
			names->whole[i][j] = mesh_char_lower(names->whole[i][j]);
		names->name[i] = mesh_slice_make(names->whole[i], (size_t)len);
	}
}

/* The host of "outbound|9000|v1|host"; absent when it is another name. */
static struct mesh_slice cluster_host(struct mesh_slice cluster)
{
	ptrdiff_t bar = mesh_slice_find_last(cluster, '|');

	if (bar < 0 || !mesh_slice_prefix(cluster, MESH_SLICE("outbound|")))
		return mesh_slice_make(NULL, 0);
	return mesh_slice_make(cluster.data + bar + 1, cluster.len - (size_t)bar - 1);
}

static bool chain_is_of(const struct chain *chain, struct mesh_slice name)
{
	if (chain->kind == CHAIN_TCP && mesh_slice_equal(cluster_host(chain->tcp_cluster), name))
		return true;
	for (size_t i = 0; i < chain->tcp_weighted_count; i++)
		if (mesh_slice_equal(cluster_host(chain->tcp_weighted[i].name), name))
			return true;
	for (size_t i = 0; i < chain->match.server_name_count; i++)
		if (mesh_slice_equal(chain->match.server_names[i], name))
			return true;
	return false;
}

/* One listener for many addresses: the chain that is for this name. */
static const struct chain *chain_named(const struct listener_config *listener, const struct names *names)
{
	for (size_t n = 0; n < names->count; n++) {
		for (size_t i = 0; i < listener->chain_count; i++)
			if (chain_is_of(&listener->chains[i], names->name[n]))
				return &listener->chains[i];
		if (listener->default_chain && chain_is_of(listener->default_chain, names->name[n]))
			return listener->default_chain;
	}
	return NULL;
}

/* An address the service has, so that chains can be told apart by it. */
static void destination_of(struct stream_client *client, const struct chain *chain)
{
	static const struct mesh_slice wildcards[] = {{"0.0.0.0", 7}, {"::", 2}};
	const struct cidr *cidr = chain && chain->match.destination_count ? &chain->match.destinations[0] : NULL;
	struct address *to = &client->destination;

	if (!cidr) {
		if (mesh_slice_equal(client->listener->address, wildcards[0]) ||
		    mesh_slice_equal(client->listener->address, wildcards[1]) ||
		    mesh_address_parse(to, client->listener->address, client->port))
			to->len = 0;
		return;
	}
	memset(to, 0, sizeof(*to));
	to->any.sa_family = cidr->v6 ? AF_INET6 : AF_INET;
	to->len = cidr->v6 ? sizeof(to->v6) : sizeof(to->v4);
	if (cidr->v6) {
		memcpy(&to->v6.sin6_addr, cidr->bytes, 16);
		to->v6.sin6_port = htons(client->port);
	} else {
		memcpy(&to->v4.sin_addr, cidr->bytes, 4);
		to->v4.sin_port = htons(client->port);
	}
}

/* What takes connections to any address of that port. AGAIN: some address of it may be another's. */
static int find_for_any(struct mesh_stream *stream, const struct listener_config *shared, struct why *why)
{
	struct stream_client *client = &stream->client;

	if (!shared)
		return mesh_why(why, MESH_ERROR_NO_ROUTE,
				"the mesh configuration has no TCP service \"%.*s\" on port %u", (int)client->host.len,
				client->host.data, client->port);
	if (mesh_snapshot_has_bound(client->snapshot, client->port))
		return MESH_ERROR_AGAIN;
	for (size_t i = 0; i < shared->chain_count; i++)
		if (shared->chains[i].match.destination_count)
			return MESH_ERROR_AGAIN;
	client->listener = shared;
	return 0;
}

static int find_by_name(struct mesh_stream *stream, struct why *why)
{
	static const struct mesh_slice no_ip = {NULL, 0};
	struct stream_client *client = &stream->client;
	const struct listener_config *shared = mesh_snapshot_outbound(client->snapshot, no_ip, client->port);
	const struct chain *chain = NULL;
	struct names names;

	complete(stream, &names);
	for (size_t i = 0; i < names.count && !client->listener; i++)
		client->listener = mesh_snapshot_outbound_named(client->snapshot, names.name[i], client->port);
	if (!client->listener && shared && shared != client->snapshot->virtual_outbound) {
		chain = chain_named(shared, &names);
		/* a port that is HTTP for all its services says so below */
		if (chain || (shared->chain_count && shared->chains[0].kind == CHAIN_HTTP))
			client->listener = shared;
	}
	if (!client->listener)
		return find_for_any(stream, shared, why);
	destination_of(client, chain);
	return 0;
}

int mesh_stream_find_listener(struct mesh_stream *stream, struct why *why)
{
	struct stream_client *client = &stream->client;

	char room[MESH_ADDRESS_TEXT_BYTES];
	struct mesh_slice host = client->host;
	uint16_t port;

	if (client->by_address) /* found out since */
		mesh_address_split(mesh_slice_make(room, mesh_address_text(&client->destination, room)), &host, &port);
	else if (mesh_address_parse(&client->destination, client->host, client->port))
		return find_by_name(stream, why);
	client->by_address = true;
	client->listener = mesh_snapshot_outbound(client->snapshot, host, client->port);
	if (client->listener)
		return 0;
	return mesh_why(why, MESH_ERROR_NO_ROUTE, "no outbound listener for %.*s", (int)client->target.len,
			client->target.data);
}

unsigned mesh_stream_looks_for(const struct mesh_stream *stream)
{
	return mesh_chain_looks_for(stream->client.listener, stream->client.port);
}

int mesh_stream_find_chain(struct mesh_stream *stream, const struct stream_speech *speech, struct why *why)
{
	struct stream_client *client = &stream->client;
	struct mesh_slice name = client->listener->object.item.name;
	struct chain_request request = {
		.port = client->port,
		.destination = client->destination.len ? &client->destination : NULL,
		.server_name = speech->server_name,
		.tls = speech->tls,
		.alpn = speech->alpn,
		.alpn_count = speech->alpn_count,
	};
	const struct chain *chain = mesh_chain_find(client->listener, &request);

	if (!chain)
		return mesh_why(why, MESH_ERROR_NO_ROUTE, "no filter chain of listener %.*s takes the connection%s%.*s",
				(int)name.len, name.data, speech->server_name.len ? ", server name " : "",
				(int)speech->server_name.len, speech->server_name.len ? speech->server_name.data : "");
	client->chain = chain;
	switch (chain->kind) {
	case CHAIN_TCP:
		return 0;
	case CHAIN_HTTP:
		return mesh_why(why, MESH_ERROR_PROTOCOL,
				"listener %.*s handles this connection as HTTP: it is for mesh_call_start",
				(int)name.len, name.data);
	case CHAIN_FAIL_CLOSED:
		return mesh_why(why, MESH_ERROR_FAIL_CLOSED, "listener %.*s: %.*s", (int)name.len, name.data,
				(int)chain->reason.len, chain->reason.data);
	case CHAIN_BLACKHOLE:
		if (chain->tcp_cluster.len) /* a cluster without endpoints, as Envoy has it */
			return mesh_why(why, MESH_ERROR_NO_ENDPOINT,
					"listener %.*s: nothing in the mesh is at %.*s, and nothing else may be reached",
					(int)name.len, name.data, (int)client->target.len, client->target.data);
		break;
	}
	return mesh_why(why, MESH_ERROR_NO_ROUTE, "listener %.*s leads nowhere for %.*s", (int)name.len, name.data,
			(int)client->target.len, client->target.data);
}

struct mesh_slice mesh_stream_cluster(struct mesh_stream *stream, uint32_t *hash)
{
	const struct chain *chain = stream->client.chain;
	uint64_t drawn;

	if (!chain->tcp_weighted_count) {
		*hash = mesh_slice_hash(chain->tcp_cluster);
		return chain->tcp_cluster;
	}
	drawn = mesh_rand_below(&stream->worker->env.rand, chain->tcp_weighted_total);
	for (size_t i = 0;; i++) {
		const struct weighted_cluster *cluster = &chain->tcp_weighted[i];

		if (drawn < cluster->weight || i + 1 == chain->tcp_weighted_count) {
			*hash = cluster->hash;
			return cluster->name;
		}
		drawn -= cluster->weight;
	}
}
