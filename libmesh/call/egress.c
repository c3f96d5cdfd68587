/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides to which address a call goes whose cluster sends to the one asked for, and under which name its TLS is made where
 * that comes from the request. Asks for an address only when the way that was chosen needs one. Refuses to know how names
 * are resolved (lookup.c) and which listener is whose (outbound.c).
 */
#include "call/egress.h"

#include "call/call.h"

enum { HOST_BYTES_MAX = 253 }; /* of a DNS name */

static struct egress *egress_of(struct mesh_call *call)
{
	struct client_call *client = &call->client;

	if (!client->egress)
		client->egress = mesh_arena_zalloc(&call->arena, sizeof(*client->egress));
	if (client->egress)
		client->egress->call = call;
	return client->egress;
}

struct mesh_slice mesh_egress_server_name(const struct mesh_call *call)
{
	return call->client.egress ? call->client.egress->server_name : (struct mesh_slice){NULL, 0};
}

bool mesh_egress_opaque(const struct mesh_call *call)
{
	return call->client.egress && call->client.egress->opaque;
}

struct mesh_slice mesh_egress_ip(const struct mesh_call *call, char room[MESH_ADDRESS_TEXT_BYTES])
{
	const struct egress *egress = call->client.egress;
	struct mesh_slice host = {NULL, 0};
	uint16_t port;

	if (egress && egress->destination.len &&
	    !mesh_address_split(mesh_slice_make(room, mesh_address_text(&egress->destination, room)), &host, &port))
		host.len = 0;
	return host;
}

/* ---- the address */

static void go_on(struct egress *egress)
{
	struct mesh_call *call = egress->call;
	struct cluster *cluster = call->client.cluster;

	if (egress->early) {
		mesh_client_begin(call);
		return;
	}
	/* the endpoints of now, the decisions of then: as after a back-off */
	mesh_worker_refresh(call->worker);
	if (mesh_cluster_get(&call->worker->env, cluster->name, mesh_slice_hash(cluster->name), &cluster))
		mesh_call_finish(call, MESH_ERROR_NO_ENDPOINT, "the cluster left the configuration while an address was looked up");
	else
		mesh_client_set_out(call);
}

static void found(struct lookup_waiter *waiter, int error, const struct address *address, const char *why)
{
	struct egress *egress = MESH_CONTAINER(waiter, struct egress, waiter);

	mesh_timer_stop(egress->call->worker->env.loop, &egress->limit);
	if (error) {
		mesh_call_finish(egress->call, error, why);
		return;
	}
	egress->destination = *address;
	go_on(egress);
}

static void limit_due(struct loop_timer *timer)
{
	struct egress *egress = MESH_CONTAINER(timer, struct egress, limit);

	mesh_call_finish(egress->call, MESH_ERROR_TIMEOUT, "no address was found for the host in time");
}

/* What the application asked for, whatever the route made of it. 0: it is known; AGAIN: `found` follows. */
static int ask(struct mesh_call *call, struct mesh_slice authority)
{
	struct egress *egress = egress_of(call);
	struct mesh_slice host;
	uint16_t port;

	if (!egress)
		return MESH_ERROR_NOMEM;
	if (!mesh_authority_split(authority, &host, &port)) /* refused before */
		return MESH_ERROR_INVALID;
	egress->waiter.found = found;
	return mesh_lookup_ask(call->worker, host, port, &egress->waiter, &egress->destination, &call->why);
}

void mesh_egress_begin(struct mesh_call *call)
{
	int rc = ask(call, call->request.authority);
	uint64_t limit_ns = (uint64_t)call->client.timeout_ms * 1000000u;

	if (!rc || rc == MESH_ERROR_AGAIN)
		call->client.egress->early = true;
	if (rc == MESH_ERROR_AGAIN && limit_ns) {
		call->client.egress->limit.due = limit_due;
		rc = mesh_timer_start(call->worker->env.loop, &call->client.egress->limit, limit_ns);
		rc = rc ? rc : MESH_ERROR_AGAIN;
	}
	if (!rc)
		mesh_client_begin(call);
	else if (rc != MESH_ERROR_AGAIN)
		mesh_call_finish(call, rc, NULL);
}

/* A header that names one goes first, as in Envoy; one that is none does not count. */
static bool header_address(const struct mesh_call *call, struct address *address)
{
	const struct original_dst_config *config = &call->client.cluster->config->original_dst;
	struct mesh_slice value, host;
	uint16_t port;

	if (!config->header.len)
		return false;
	value = mesh_headers_get(&call->request.headers, config->header);
	return value.len && mesh_address_split(value, &host, &port) && !mesh_address_parse(address, host, port);
}

static bool by_address(const struct mesh_call *call)
{
	return call->client.cluster->config->kind == CLUSTER_ORIGINAL_DST;
}

bool mesh_egress_wait(struct mesh_call *call)
{
	struct address address;
	int rc;

	if (!by_address(call) || (call->client.egress && call->client.egress->destination.len) ||
	    header_address(call, &address))
		return false;
	rc = ask(call, call->client.match.authority);
	if (!rc)
		return false;
	call->client.egress->early = false;
	if (rc != MESH_ERROR_AGAIN)
		mesh_call_finish(call, rc, NULL);
	return true;
}

int mesh_egress_pick(struct mesh_call *call, struct endpoint **endpoint, struct why *why)
{
	const struct egress *egress = call->client.egress;
	struct cluster *cluster = call->client.cluster;
	struct address address = {.len = 0};

	if (!header_address(call, &address) && egress)
		address = egress->destination;
	if (!address.len)
		return mesh_why(why, MESH_ERROR_NO_ENDPOINT, "no address to send to for cluster %.*s",
				(int)cluster->name.len, cluster->name.data);
	if (cluster->config->original_dst.port)
		mesh_address_set_port(&address, cluster->config->original_dst.port);
	return mesh_cluster_pick_address(cluster, &address, endpoint, why);
}

void mesh_egress_stop(struct mesh_call *call)
{
	struct egress *egress = call->client.egress;

	if (!egress)
		return;
	mesh_lookup_cancel(&egress->waiter);
	mesh_timer_stop(call->worker->env.loop, &egress->limit);
}

/* ---- the name */

static bool name_valid(struct mesh_slice name)
{
	struct address address;

	if (!name.len || name.len > HOST_BYTES_MAX)
		return false;
	if (!mesh_address_parse(&address, name, 0))
		return true;
	for (size_t i = 0; i < name.len; i++) {
		char c = mesh_char_lower(name.data[i]);

		if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '-' && c != '.' && c != '_')
			return false;
	}
	return true;
}

/* The host, or what a header says in its place when it says something. */
static struct mesh_slice name_source(const struct mesh_call *call)
{
	struct mesh_slice header = call->client.cluster->config->names.header, value = {NULL, 0};

	if (header.len && !mesh_slice_equal(header, MESH_SLICE(":authority")) &&
	    !mesh_slice_equal(header, MESH_SLICE("host")))
		value = mesh_headers_get(&call->request.headers, header);
	return value.len ? value : call->request.authority;
}

int mesh_egress_name(struct mesh_call *call)
{
	struct mesh_slice source = name_source(call), host = source;
	struct egress *egress;
	uint16_t port;
	char *name;

	if (!call->client.cluster->config->names.wanted) {
		if (call->client.egress) /* of another cluster, before a redirect that was followed */
			call->client.egress->server_name = (struct mesh_slice){NULL, 0};
		return 0;
	}
	if (!mesh_authority_split(source, &host, &port) || !name_valid(host))
		return mesh_why(&call->why, MESH_ERROR_INVALID, "\"%.*s\" gives no name for the TLS of cluster %.*s",
				(int)(source.len < 300 ? source.len : 300), source.data ? source.data : "",
				(int)call->client.cluster->name.len, call->client.cluster->name.data);
	egress = egress_of(call);
	name = egress ? mesh_arena_alloc(&call->arena, host.len + 1) : NULL;
	if (!name)
		return MESH_ERROR_NOMEM;
	for (size_t i = 0; i < host.len; i++)
		name[i] = mesh_char_lower(host.data[i]);
	name[host.len] = '\0';
	egress->server_name = mesh_slice_make(name, host.len);
	return 0;
}

/* ---- calls as bytes */

/* What a TCP proxy does to a request: nothing, in as much time as it takes. */
struct opaque {
	struct http_config http;
	struct route_config routes;
	struct virtual_host host;
	struct route route;
};

static void fill(struct opaque *opaque, const struct chain *chain)
{
	opaque->http.stat_prefix = chain->tcp_stat_prefix;
	opaque->host.name = opaque->route.name = chain->name;
	opaque->route.kind = ROUTE_CLUSTER;
	opaque->route.cluster = chain->tcp_cluster;
	opaque->route.cluster_hash = mesh_slice_hash(chain->tcp_cluster);
	opaque->route.weighted = chain->tcp_weighted;
	opaque->route.weighted_count = chain->tcp_weighted_count;
	opaque->route.weighted_total = chain->tcp_weighted_total;
	opaque->route.max_stream_duration_ns = opaque->route.grpc_timeout_max_ns = -1;
	opaque->route.cluster_not_found_status = 503;
}

int mesh_egress_carry(struct mesh_call *call, const struct chain *chain)
{
	struct client_call *client = &call->client;
	struct egress *egress = egress_of(call);
	struct opaque *opaque = egress ? mesh_arena_zalloc(&call->arena, sizeof(*opaque)) : NULL;

	if (!opaque)
		return MESH_ERROR_NOMEM;
	fill(opaque, chain);
	egress->opaque = chain;
	client->http = &opaque->http;
	client->chosen = (struct rewrite){.config = &opaque->routes, .host = &opaque->host, .route = &opaque->route};
	client->match.authority = call->request.authority;
	client->match.random = mesh_rand_next(&call->worker->env.rand);
	client->target =
		mesh_route_cluster(&opaque->route, &client->match, &client->target_hash, &client->chosen.weighted);
	call->result.route = chain->name;
	return 0;
}
